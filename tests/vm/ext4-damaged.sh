#!/bin/bash
# SPDX-License-Identifier: MIT
# Damaged file systems and partition tables inside: images whose superblock, groups, bitmaps, inodes, trees, directories, attributes
# or journal have wrong bytes (half of them with checksums off, so that the bytes are believed) are mounted, read, changed and
# unmounted by the build with all checks. Nothing may panic, hang or harm another file system, which e2fsck and a sum of all it has
# judge at the end. DAMAGED: how many (60; TEST_MODE=all: 600).
cd "$(dirname "$0")/../.." || exit 2
. tests/vm/lib/check.sh
export PATH=$PATH:/usr/sbin:/sbin
for tool in mke2fs e2fsck debugfs sfdisk qemu-system-x86_64; do command -v $tool > /dev/null || { echo "skip: no $tool"; exit 77; }; done
make -s kernel DEBUG=1 build/user/init build/user/ostrom || exit 1
n=${DAMAGED:-60}
[ "$TEST_MODE" = all ] && [ -z "$DAMAGED" ] && n=600
tmp=$(mktemp -d) || exit 1
trap 'rm -rf "$tmp"' EXIT

mkdir -p "$tmp/t/dir/many" "$tmp/in"
for i in $(seq 120); do echo "$i" > "$tmp/t/dir/many/a-name-that-is-long-enough-$i"; done
for i in $(seq 30); do dd if=/dev/zero of="$tmp/t/dir/sparse" bs=1k seek=$((i * 3)) count=1 conv=notrunc 2> /dev/null; done
ln -s "$(printf %070d 1)" "$tmp/t/link"; head -c 100000 /dev/urandom > "$tmp/t/data"; ln "$tmp/t/data" "$tmp/t/dir/hard"
image() { truncate -s 3M "$tmp/in/$1"; mke2fs -q -F -b 1024 -J size=1 -d "$tmp/t" "${@:2}" "$tmp/in/$1" && debugfs -wR "ea_set /data user.k value" "$tmp/in/$1" 2> /dev/null; }
image sums -t ext4 || exit 1
image plain -t ext4 -O ^metadata_csum,^64bit || exit 1
image old -t ext3 -I 128 || exit 1
image inline -t ext4 -O ^metadata_csum,inline_data || exit 1
truncate -s 4M "$tmp/table" && printf 'label: gpt\n2048,2048\n4096,1024\n' | sfdisk -q "$tmp/table" && head -c 1M "$tmp/table" > "$tmp/in/gpt"
printf 'label: dos\n64,1000,E\n128,400,83\n1100,400,83\n' | sfdisk -q --force "$tmp/table" > /dev/null 2>&1; head -c 1M "$tmp/table" > "$tmp/in/mbr"
# Each damage: which image, then places and bytes. Metadata lie in front; the superblock and what is in the journal are hit more often.
python3 - "$n" "$tmp/in/sums" > "$tmp/in/list" <<'P'
import random, sys
random.seed(5)
for i in range(int(sys.argv[1])):
    where = random.choice(["sums", "plain", "plain", "old", "inline"])
    out = [where]
    for _ in range(random.choice([1, 1, 2, 5, 20])):
        kind = random.random()
        at = random.randrange(1024, 2048) if kind < .25 else random.randrange(2048, 4096) if kind < .35 else random.randrange(4096, 200 << 10) if kind < .9 \
            else random.randrange(200 << 10, 3 << 20)
        out += [str(at), "".join("\\%03o" % random.choice([0, 0xff, 1, 0x80, random.randrange(256)]) for _ in range(random.randrange(1, 6)))]
    print(*out)
P
cat > "$tmp/one.sh" <<'G'
mount -t ext4 -o loop,${1:-rw} /tmp/image /bad || exit 0
echo mounted >> /tmp/mounted
ls -lR /bad > /dev/null 2>&1
cat /bad/data /bad/dir/* /bad/dir/many/* > /dev/null 2>&1
echo new > /bad/new; mkdir /bad/newdir; mv /bad/data /bad/newdir/moved; echo more >> /bad/dir/hard
i=0; while [ $i -lt 30 ]; do echo $i > /bad/dir/many/n$i; i=$((i + 1)); done
dd if=/dev/zero of=/bad/dir/sparse bs=1k seek=40 count=60 conv=notrunc,fsync; truncate -s 100 /bad/newdir/moved; rm -rf /bad/dir /bad/link
sync; cd /; umount /bad
G
cat > "$tmp/run.sh" <<'G'
mkdir -p /bad /good && mount -t ext4 /dev/vda /good || exit 3
done=0
while read -r where places; do
	cp /in/$where /tmp/image
	set -- $places
	while [ $# -gt 1 ]; do printf "$2" | dd of=/tmp/image bs=1 seek=$1 conv=notrunc 2> /dev/null; shift 2; done
	timeout 30 sh /one.sh > /tmp/said 2>&1
	[ $? -lt 124 ] || echo "hang $where $places"
	umount /bad 2> /dev/null
	echo "$done $where" > /good/last
	done=$((done + 1))
done < /in/list
tables=0
for table in gpt mbr; do
	i=0
	while [ $i -lt 40 ]; do
		cp /in/$table /tmp/table
		printf "\\$((i % 4))$((i % 8))$((i / 8))" | dd of=/tmp/table bs=1 seek=$((i < 20 ? 446 + i * 3 : 512 + i * 17)) conv=notrunc 2> /dev/null
		cat /tmp/table > /dev/ram0 && blockdev --rereadpt /dev/ram0; ls /sys/block/ram0 > /dev/null && tables=$((tables + 1))
		i=$((i + 1))
	done
done
find /good/tree -type f -exec md5sum {} + | sort | md5sum
echo "mounted $(wc -l < /tmp/mounted)"
umount /good && echo "finished $done $tables"
G
mkdir -p "$tmp/g/tree" && cp -r "$tmp/t/." "$tmp/g/tree"
truncate -s 16M "$tmp/disk" && mke2fs -q -F -t ext4 -d "$tmp/g" "$tmp/disk" || exit 1
adds=(); for f in "$tmp/in"/*; do adds+=(--add "$f:/in/${f##*/}"); done
timeout 900 tools/qemu-run --debug-kernel --cpus 2 --timeout 880 --disk "$tmp/disk" "${adds[@]}" --add "$tmp/one.sh:/one.sh" --add "$tmp/run.sh:/run.sh" \
	--append "brd.rd_nr=1 brd.rd_size=4096" -- sh /run.sh > "$tmp/out" 2> "$tmp/log"
is "all of it is gone through" "$(tail -1 "$tmp/out")" "finished $n 80"
is "nothing hangs" "$(grep -c ^hang "$tmp/out")" 0
[ $failed = 0 ] || { grep ^hang "$tmp/out" | head -5; tail -25 "$tmp/log"; }
mounted=$(sed -n 's/^mounted //p' "$tmp/out")
is "some are mounted, some refused" "$([ "$mounted" -gt $((n / 5)) ] && [ "$mounted" -lt "$n" ] && echo both || echo "$mounted of $n")" both
is "the other file system has what it had" "$(tail -3 "$tmp/out" | head -1)" "$(cd "$tmp/g/tree" && find . -type f -exec md5sum {} + | sed 's|  \./|  /good/tree/|' | sort | md5sum)"
is "and is clean" "$(e2fsck -fn "$tmp/disk" > /dev/null 2>&1; echo $?)" 0
exit $failed
