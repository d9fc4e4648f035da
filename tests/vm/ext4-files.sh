#!/bin/bash
# SPDX-License-Identifier: MIT
# Files on ext4 as databases use them: O_DIRECT that goes to the disk, AIO, RWF flags, fio with verification on files that are new,
# prepared, sparse; random operations on one file and on names beside a model (tests/abi/stress_files.c); then e2fsck
# finds nothing. The build with all checks. On ext3 and inline data only the random operations. TEST_MODE=all: longer, all of it there
# and on small blocks, too.
cd "$(dirname "$0")/../.." || exit 2
export PATH=$PATH:/usr/sbin:/sbin
for tool in mke2fs e2fsck fio fallocate qemu-system-x86_64; do command -v $tool > /dev/null || { echo "skip: no $tool"; exit 77; }; done
make -s kernel DEBUG=1 build/user/init build/abi/stress_files || exit 1
tmp=$(mktemp -d) || exit 1
trap 'rm -rf "$tmp"' EXIT
status=0
size=2m seeds="1 2" steps=1500
[ "$TEST_MODE" = all ] && size=16m seeds="1 2 3 4 5 6" steps=6000

cat > "$tmp/begin.sh" <<'G'
ok() { what=$1; shift; if "$@" > /tmp/said 2>&1; then echo "ok $what"; else echo "not ok $what: $(tail -3 /tmp/said)"; fi; }
is() { if [ "$2" = "$3" ]; then echo "ok $1"; else echo "not ok $1: '$2', not '$3'"; fi; }
written() { set -- $(cat /sys/block/vda/stat); echo $7; }
reads() { set -- $(cat /sys/block/vda/stat); echo $3; }
job() { what=$1; shift; ok "fio: $what" fio --name=x --thread --directory=/mnt --size=SIZE --bs=4k --verify_fatal=1 --fallocate=none "$@"; rm -f /mnt/x.*; }
forget() { cd / && umount /mnt && mount -t TYPE $1 /dev/vda /mnt; }
mkdir -p /mnt && mount -t TYPE /dev/vda /mnt || exit 3
G
cat > "$tmp/transfers.sh" <<'G'
dd if=/dev/urandom of=/tmp/random bs=64k count=16 2> /dev/null
before=$(written)
dd if=/tmp/random of=/mnt/f bs=64k oflag=direct 2> /dev/null
ok "a direct write is on the disk when it returns" [ $(($(written) - before)) -ge 2048 ]
before=$(reads)
dd if=/mnt/f of=/tmp/back bs=64k iflag=direct 2> /dev/null
ok "a direct read comes from the disk" [ $(($(reads) - before)) -ge 2048 ]
ok "and is what was written" cmp /tmp/random /tmp/back
dd if=/mnt/f of=/tmp/back bs=64k 2> /dev/null && dd if=/tmp/back of=/mnt/f bs=4k count=3 skip=7 seek=1 oflag=direct conv=notrunc 2> /dev/null
is "a buffered reader sees a direct write" "$(dd if=/mnt/f bs=4k skip=1 count=3 2> /dev/null | md5sum)" "$(dd if=/tmp/random bs=4k skip=7 count=3 2> /dev/null | md5sum)"
echo tail >> /mnt/f
is "the end of a file within a block" "$(dd if=/mnt/f bs=4k skip=256 iflag=direct 2> /dev/null)" tail
rm /mnt/f
job "libaio, 32 deep, new file" --ioengine=libaio --iodepth=32 --direct=1 --rw=write --verify=crc32c
job "libaio, random, holes between" --ioengine=libaio --iodepth=16 --direct=1 --rw=randwrite --verify=crc32c
job "libaio, prepared blocks" --ioengine=libaio --iodepth=16 --direct=1 --rw=randwrite --verify=crc32c --fallocate=posix
job "libaio, all sizes" --ioengine=libaio --iodepth=8 --direct=1 --rw=randrw --bsrange=512-128k --blockalign=512 --verify=crc32c
job "psync, 1 MiB direct" --ioengine=psync --direct=1 --bs=1m --rw=write --verify=md5
job "pvsync2 --hipri" --ioengine=pvsync2 --hipri --direct=1 --rw=randwrite --verify=crc32c
job "O_DIRECT and O_DSYNC" --ioengine=libaio --iodepth=4 --direct=1 --sync=dsync --rw=randwrite --verify=crc32c
job "buffered with fdatasync" --ioengine=sync --fdatasync=16 --rw=randwrite --verify=crc32c
job "mmap" --ioengine=mmap --rw=randwrite --verify=crc32c
dd if=/dev/zero of=/mnt/f bs=64k count=64 conv=fsync 2> /dev/null
stat3() { set -- $(cat /sys/block/vda/stat); echo "$1 $3"; }
between() { [ "$1" -ge "$2" ] && [ "$1" -le "$3" ] && echo "within" || echo "$1"; }
forget; a=$(stat3); dd if=/mnt/f of=/dev/null bs=4k 2> /dev/null; b=$(stat3)
is "a sequential reader gets windows" "$(between $((${b% *} - ${a% *})) 30 60)" within
forget; a=$(stat3)
fio --name=x --thread --filename=/mnt/f --size=4m --bs=4k --rw=randread --ioengine=psync --number_ios=64 --fadvise_hint=random --invalidate=0 > /dev/null; b=$(stat3)
is "one at random gets what it asks for" "$(between $((${b#* } - ${a#* })) 400 640)" within
if [ TYPE = ext4 ]; then
	a=$(cat /sys/block/vda/stat); rm /mnt/f; sync
	ok "fstrim" fstrim /mnt
	set -- $(cat /sys/block/vda/stat) $a; is "tells the device of what is free" "$([ $((${14} - ${31})) -gt 100000 ] && echo many)" many
	forget "-o discard,data=writeback"
	is "options" "$(grep -c '/mnt.*discard.*data=writeback' /proc/mounts)" 1
	dd if=/tmp/random of=/mnt/g bs=64k conv=fsync 2> /dev/null; a=$(cat /sys/block/vda/stat); rm /mnt/g; sync
	set -- $(cat /sys/block/vda/stat) $a; is "a file that goes is told of" "$([ $((${14} - ${31})) -ge 2048 ] && echo all)" all
	job "data=writeback, discards" --ioengine=libaio --iodepth=8 --direct=1 --rw=randwrite --verify=crc32c
	job "data=writeback, buffered" --ioengine=sync --fdatasync=64 --rw=randwrite --verify=crc32c
fi
G
cat > "$tmp/stress.sh" <<'G'
before=$(md5sum < /mnt/short)
ok "room for what is larger than the disk is refused" sh -c '! /usr/bin/fallocate -z -l 1G /mnt/short'
is "and has changed nothing" "$(forget && md5sum < /mnt/short)" "$before"
is "a hole in a file that may lie in its inode" "$(/usr/bin/fallocate -p -l 4096 /mnt/short && forget && tr -d '\0' < /mnt/short | wc -c)" 0
is "a hole that ends behind the file, in its last block" "$(/usr/bin/fallocate -p -l 200 /mnt/other && forget && tr -d '\0' < /mnt/other | wc -c)" 0
for seed in SEEDS; do
	mkdir /mnt/s$seed && /stress_files /mnt/s$seed $seed STEPS | sed "s/^\(ok\|not ok\) /\1 seed $seed: /"
done
G
cat > "$tmp/loop.sh" <<'G'
truncate -s 8M /mnt/image
ok "losetup --direct-io over a file" /usr/sbin/losetup --direct-io=on /dev/loop0 /mnt/image
dd if=/tmp/random of=/dev/loop0 bs=64k conv=fsync 2> /dev/null
is "what goes through it" "$(cat /sys/block/loop0/loop/dio) $(dd if=/dev/loop0 bs=64k count=16 iflag=direct 2> /dev/null | md5sum)" "1 $(md5sum < /tmp/random)"
/usr/sbin/losetup -d /dev/loop0
G
echo 'cd / && umount /mnt && echo finished' > "$tmp/end.sh"
mkdir "$tmp/files" && echo "a few bytes that fit into an inode" | tee "$tmp/files/short" > "$tmp/files/other"

everything="transfers stress loop"
on() { # PARTS NAME TYPE MKE2FS-OPTIONS...
	local parts=$1 name=$2 type=$3
	shift 3
	rm -f "$tmp/disk"; truncate -s 192M "$tmp/disk"; mke2fs -q -F -d "$tmp/files" "$@" "$tmp/disk" || exit 1
	for part in begin $parts end; do sed "s/TYPE/$type/; s/SIZE/$size/; s/SEEDS/$seeds/; s/STEPS/$steps/" "$tmp/$part.sh"; done > "$tmp/t.sh"
	timeout 500 tools/qemu-run --debug-kernel --cpus 2 --timeout 480 --disk "$tmp/disk" --add "$tmp/t.sh:/t.sh" --add build/abi/stress_files:/stress_files \
		--program fio --program losetup --program fallocate -- sh /t.sh > "$tmp/out" 2> "$tmp/log"
	grep -E '^(ok|not ok)' "$tmp/out" | sed "s/^\(ok\|not ok\) /\1 $name: /"
	if grep -q '^not ok' "$tmp/out" || ! grep -q '^finished' "$tmp/out"; then echo "not ok $name: it did not end well"; tail -20 "$tmp/log"; status=1; fi
	if e2fsck -fn "$tmp/disk" > "$tmp/fsck" 2>&1; then echo "ok $name: e2fsck finds nothing"; else head -20 "$tmp/fsck"; echo "not ok $name: e2fsck"; status=1; fi
}
on "$everything" default ext4 -t ext4 -b 4096
if [ "$TEST_MODE" = all ]; then
	on "$everything" "1 KiB blocks" ext4 -t ext4 -b 1024
	on "$everything" ext3 ext3 -t ext3
	on "$everything" "inline data" ext4 -t ext4 -O inline_data
else
	seeds=1
	on stress ext3 ext3 -t ext3
	on stress "inline data" ext4 -t ext4 -O inline_data
fi
exit $status
