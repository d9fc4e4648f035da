#!/bin/bash
# SPDX-License-Identifier: MIT
# ext4 read and write in the kernel: a tree made by Ostrom's programs is judged by e2fsck, read by Debian's Linux and by
# debugfs, and the reverse, by a manifest of names, modes, owners, times, links, attributes and contents. The build with all checks.
# Arguments: names of cases to run (default: all; TEST_MODE=all: also ext2, ext3, small blocks and inline data).
cd "$(dirname "$0")/../.." || exit 2
. tests/vm/lib/check.sh
export PATH=$PATH:/usr/sbin:/sbin
for tool in mke2fs e2fsck debugfs qemu-system-x86_64; do command -v $tool > /dev/null || { echo "skip: no $tool"; exit 77; }; done
make -s kernel DEBUG=1 build/user/init || exit 1
tmp=$(mktemp -d) || exit 1
trap 'rm -rf "$tmp"' EXIT
clean() { e2fsck -fn "$2" > "$tmp/fsck" 2>&1 || cat "$tmp/fsck"; is "$1: e2fsck finds nothing" "$(e2fsck -fn "$2" > /dev/null 2>&1; echo $?)" 0; }
image() { rm -f "$tmp/disk"; truncate -s "$1" "$tmp/disk"; shift; mke2fs -q -F "$@" "$tmp/disk" || exit 1; }

cat > "$tmp/work.sh" <<'G'
mkdir -p /mnt && mount -t ${2:-ext4} /dev/vda /mnt && cd /mnt || exit 3
umask 022
mkdir -p dir/sub/deep many gone
i=0; while [ $i -lt ${1:-700} ]; do echo "contents $i" > many/name-$i; i=$((i + 1)); done
i=0; while [ $i -lt ${1:-700} ]; do [ $((i % 3)) -ne 0 ] || gone="$gone many/name-$i"; i=$((i + 1)); done
rm $gone || exit 4
cp /bin/busybox dir/program && ln dir/program dir/sub/hard && ln -s /a/target short && ln -s $(printf %0150d 1) long || exit 5
mkfifo dir/fifo && mknod dir/null c 1 3 && mknod dir/far b 300 70000 || exit 6
chmod 4711 dir/program; chown 1234:70000 dir/sub; touch -d '2033-03-04 05:06:07' dir/sub/deep
dd if=/bin/busybox of=sparse bs=1000 seek=3000 count=100 conv=fsync 2> /dev/null || exit 7
truncate -s 5000 sparse && truncate -s 2000000 sparse && echo end >> sparse || exit 8
echo first > swap-a; echo second > swap-b; mv swap-a swap-c; mv -f swap-b swap-c; mv dir/sub/deep gone/; rmdir gone 2> /dev/null && exit 9
dd if=/dev/zero of=zeros bs=64k count=60 2> /dev/null; echo text | dd of=zeros bs=1 seek=100000 conv=notrunc 2> /dev/null
exec 5<> open-file; echo kept >&5; rm open-file
[ "$(stat -c '%s %h' dir/program)" = "$(stat -c %s /bin/busybox) 2" ] && cmp dir/program /bin/busybox || exit 10
mkdir full; rmdir full/nothing 2> /dev/null && exit 11; mv dir/sub/hard dir/sub/harder
sync; exec 5>&-
cd / && umount /mnt || exit 12
mount -t ${2:-ext4} /dev/vda /mnt && cmp /mnt/dir/program /bin/busybox && [ "$(ls /mnt/many | wc -l)" = $((${1:-700} - (${1:-700} + 2) / 3)) ] || exit 13
cached() { sed -n 's/^Cached: *\([0-9]*\).*/\1/p' /proc/meminfo; }
cat /mnt/dir/program > /dev/null; before=$(cached); echo 3 > /proc/sys/vm/drop_caches; after=$(cached)
[ $((before - after)) -gt 500 ] && cmp /mnt/dir/program /bin/busybox || { echo "cached $before $after"; exit 15; }
mount -o remount,ro /mnt && ! touch /mnt/x 2> /dev/null && mount -o remount,rw /mnt && touch /mnt/x && rm /mnt/x || exit 14
umount /mnt && echo finished
G
# Everything that two systems must agree about, one line a name.
cat > "$tmp/look.sh" <<'G'
mkdir -p /mnt && mount -t ext4 -o ro /dev/vda /mnt && cd /mnt || exit 3
find . -path ./lost+found -prune -o -exec stat -c '%n %f %u %g %h %Y %t %T' {} + | sort
find . -type f -exec md5sum {} + | sort -k 2
for l in short long; do echo "./$l $(readlink $l)"; done
cd / && umount /mnt
G
guest() { tools/qemu-run --debug-kernel --timeout 100 --disk "$tmp/disk" --add "$tmp/$1.sh:/t.sh" -- sh /t.sh "${@:2}" 2> "$tmp/log"; }
linux() { tools/linux-guest -t 100 -m crc32c_generic -m ext4 -f "$tmp/$1.sh" -D "file=$tmp/disk,format=raw" -- sh "/$1.sh" "${@:2}" 2> "$tmp/log.linux"; }

both_ways() { # NAME TYPE SIZE MKE2FS-OPTIONS...
	local name=$1 type=$2
	image "${@:3}"
	is "$name: Ostrom's work" "$(guest work 700 "$type" | tail -1)" finished
	[ $failed = 0 ] || tail -15 "$tmp/log"
	clean "$name" "$tmp/disk"
	guest look > "$tmp/ours"
	linux look > "$tmp/theirs"
	is "$name: Linux reads the same" "$(cmp "$tmp/ours" "$tmp/theirs" && [ "$(wc -l < "$tmp/ours")" -gt 900 ] && echo same)" same
}

reverse() {
	image 48M -t ext4
	is "Linux's work" "$(linux work | grep -c finished)" 1
	guest look > "$tmp/ours"
	linux look > "$tmp/theirs"
	is "Ostrom reads what Linux wrote" "$(cmp "$tmp/ours" "$tmp/theirs" && [ "$(wc -l < "$tmp/ours")" -gt 900 ] && echo same)" same
}

wanted=${*:-default reverse}
[ -z "$*" ] && [ "$TEST_MODE" = all ] && wanted="default reverse ext3 ext2 small inline"
for case in $wanted; do
	case $case in
	default) both_ways default ext4 64M -t ext4 -b 4096 ;;
	reverse) reverse ;;
	ext3) both_ways ext3 ext3 64M -t ext3 ;;
	ext2) both_ways ext2 ext2 64M -t ext2 -b 4096 ;;
	small) both_ways "1 KiB blocks" ext4 64M -t ext4 -b 1024 -g 2048 ;;
	inline) both_ways "inline data" ext4 64M -t ext4 -O inline_data -b 4096 ;;
	esac
done
exit $failed
