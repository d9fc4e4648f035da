#!/bin/bash
# SPDX-License-Identifier: MIT
# SATA disks behind QEMU's ich9-ahci: a file system that this machine makes and judges, direct and queued transfers verified, trims;
# a disk with sectors that cannot be read or written, while others of it are; a slow one whose requests are overdue; a CD drive.
cd "$(dirname "$0")/../.." || exit 2
export PATH=$PATH:/usr/sbin:/sbin
for p in qemu-system-x86_64 fio mke2fs e2fsck debugfs sfdisk lsblk; do
	command -v $p > /dev/null || { echo "skip: no $p"; exit 77; }
done
tmp=$(mktemp -d) || exit 1
trap 'rm -rf "$tmp"' EXIT
truncate -s 96M "$tmp/d0"
truncate -s 64M "$tmp/d1" "$tmp/d2" "$tmp/d3"
mkdir "$tmp/tree"
head -c 5000000 /dev/urandom > "$tmp/tree/theirs"
printf 'label: gpt\nstart=2048,size=131072\nstart=135168\n' | sfdisk -q "$tmp/d0" || exit 1
mke2fs -q -F -t ext4 -d "$tmp/tree" -E offset=1048576 "$tmp/d0" 64M || exit 1
cat > "$tmp/run" <<'END'
ok() { what=$1; shift; if "$@" > /tmp/said 2>&1; then echo "ok $what"; else echo "not ok $what: $(tail -3 /tmp/said)"; fi; }
no() { what=$1; shift; if "$@" > /tmp/said 2>&1; then echo "not ok $what"; else echo "ok $what"; fi; }
is() { if [ "$2" = "$3" ]; then echo "ok $1"; else echo "not ok $1: '$2', not '$3'"; fi; }
until_it() { n=0; until "$@"; do n=$((n + 1)); [ $n -lt 300 ] || return 1; sleep 0.1; done; }
dd() { /bin/cdd "$@"; } # busybox' has no oflag=direct
job() { what=$1 on=$2; shift 2; ok "$what" fio --name=x --thread --filename=/dev/$on --allow_file_create=0 --direct=1 --verify_fatal=1 "$@"; }

is "disks and their maker" "$(lsblk -dno NAME,VENDOR,MODEL,TYPE | grep sd | tr -s ' ' | sed 's/ $//')" "$(for d in a b c d; do echo "sd$d ATA QEMU HARDDISK disk"; done)"
is "numbers" "$(cat /sys/block/sda/dev /sys/block/sdb/dev /sys/block/sda/sda2/dev | tr '\n' ' ')" "8:0 8:16 8:2 "
is "depth" "$(cat /sys/block/sda/device/queue_depth)" 32
is "partitions" "$(cat /sys/block/sda/sda1/size)" 131072
ok "mount" mount -t ext4 /dev/sda1 /mnt
is "this machine's file" "$(sha256sum < /mnt/theirs)" "THEIRS  -"
dd if=/dev/urandom of=/mnt/ours bs=64k count=100 2> /dev/null
cp /mnt/theirs /mnt/copy
for i in 0 1 2 3 4 5 6 7 8 9; do mkdir /mnt/d$i && cp /mnt/ours /mnt/d$i/x && rm -r /mnt/d$i; done
ok "sync" sync
echo "said $(sha256sum < /mnt/ours)"
ok "umount" umount /mnt

job "queued, 32 deep" sdb --ioengine=libaio --iodepth=32 --bs=4k --size=8m --numjobs=2 --offset_increment=16m --rw=randwrite --verify=crc32c
job "all sizes" sdb --ioengine=libaio --iodepth=16 --bsrange=512-256k --bs_unaligned=0 --blockalign=512 --size=16m --rw=randrw --verify=crc32c
job "long requests" sdb --ioengine=psync --bs=4m --size=16m --rw=write --verify=crc32c
job "flushes among it" sdb --ioengine=libaio --iodepth=8 --fsync=8 --bs=16k --size=4m --rw=randwrite --verify=crc32c
dd if=/dev/urandom of=/tmp/random bs=64k count=32 2> /dev/null
ok "dd, direct" dd if=/tmp/random of=/dev/sdb bs=64k oflag=direct conv=notrunc
is "and back" "$(dd if=/dev/sdb bs=4k count=512 iflag=direct 2> /dev/null | sha256sum)" "$(sha256sum < /tmp/random)"
ok "trim" blkdiscard -o 0 -l 1048576 /dev/sdb
is "reads as zeros" "$(dd if=/dev/sdb bs=64k count=16 iflag=direct 2> /dev/null | sha256sum)" "$(dd if=/dev/zero bs=64k count=16 2> /dev/null | sha256sum)"
is "and nothing more" "$(dd if=/dev/sdb bs=64k skip=16 count=16 iflag=direct 2> /dev/null | sha256sum)" "$(dd if=/tmp/random bs=64k skip=16 2> /dev/null | sha256sum)"

# Sector 4100 cannot be read, 8200 cannot be written; the disk serves others meanwhile, and they are to see nothing of it.
fio --name=x --thread --filename=/dev/sdc --allow_file_create=0 --direct=1 --verify_fatal=1 --ioengine=libaio --iodepth=32 --bs=4k --offset=16m --size=8m --rw=randrw --verify=crc32c --time_based --runtime=6 > /tmp/fio 2>&1 &
ok "it is at work" until_it grep -q ' sdc [1-9]' /proc/diskstats
for i in 1 2 3; do
	no "a sector that cannot be read, $i" dd if=/dev/sdc of=/dev/null bs=512 skip=4100 count=1 iflag=direct
	no "one that cannot be written, $i" dd if=/dev/zero of=/dev/sdc bs=512 seek=8200 count=1 oflag=direct conv=notrunc
	ok "their neighbours, $i" dd if=/dev/sdc of=/dev/null bs=512 skip=4101 count=1 iflag=direct
done
is "it is an I/O error" "$(dd if=/dev/sdc of=/dev/null bs=4k skip=512 count=4 2>&1 | grep -c 'Input/output error')" 1
ok "the others go on" wait $!
grep -q 'err= 0' /tmp/fio && echo "ok and were verified" || echo "not ok and were verified: $(tail -3 /tmp/fio)"
job "and the disk is as before" sdc --ioengine=libaio --iodepth=32 --bs=4k --offset=32m --size=4m --rw=randwrite --verify=crc32c
is "running" "$(cat /sys/block/sdc/device/state)" running

fio --name=x --thread --filename=/dev/sdd --allow_file_create=0 --direct=1 --verify_fatal=1 --ioengine=libaio --iodepth=8 --bs=4k --size=48k --rw=randwrite --verify=crc32c > /tmp/fio 2>&1 &
deep() { [ "$(tr -s ' ' < /sys/block/sdd/inflight | cut -d ' ' -f 3)" -ge 6 ]; }
ok "several requests are in the disk" until_it deep
ok "overdue ones come to their end" wait $!
grep -q 'err= 0' /tmp/fio && echo "ok as they should" || echo "not ok as they should: $(tail -3 /tmp/fio)"
echo finished
END
sed -i "s/THEIRS/$(sha256sum < "$tmp/tree/theirs" | cut -d ' ' -f 1)/" "$tmp/run"
bad="-blockdev driver=raw,node-name=bad,discard=unmap,file.driver=blkdebug,file.image.driver=file,file.image.filename=$tmp/d2"
n=0
for what in read,file.inject-error.0.sector=4100 write,file.inject-error.1.sector=8200; do
	bad+=",file.inject-error.$n.event=none,file.inject-error.$n.iotype=$what"
	n=$((n + 1))
done
drive() { echo "-drive file=$tmp/d$1,if=none,format=raw,discard=unmap,id=d$1$2 -device ide-hd,bus=a.$1,drive=d$1"; }
timeout 170 tools/qemu-run --debug-kernel --cpus 2 --timeout 160 --program fio --program lsblk --program dd:/bin/cdd --append "ahci.io_timeout=1" --add "$tmp/run:/run.sh" \
	--qemu "-device ich9-ahci,id=a $(drive 0) $(drive 1) $bad -device ide-hd,bus=a.2,drive=bad $(drive 3 ,throttling.iops-total=4) -device ide-cd,bus=a.4" \
	-- sh /run.sh > "$tmp/out" 2> "$tmp/log"
grep -E '^(ok|not ok) ' "$tmp/out"
judge() { if [ "$2" = "$3" ]; then echo "ok $1"; else echo "not ok $1: '$2', not '$3'"; failed=1; fi; }
failed=0
fs="$tmp/d0?offset=1048576"
e2fsck -fn "$fs" > "$tmp/fsck" 2>&1 || { echo "not ok e2fsck here: $(tail -3 "$tmp/fsck")"; failed=1; }
judge "their file is here as they said" "$(debugfs -R 'cat /ours' "$fs" 2> /dev/null | sha256sum)" "$(sed -n 's/^said //p' "$tmp/out" | tr -d '\r')"
judge "and ours came back" "$(debugfs -R 'cat /copy' "$fs" 2> /dev/null | sha256sum)" "$(sha256sum < "$tmp/tree/theirs")"
judge "the CD drive is left alone" "$(grep -c 'a packet device: left alone' "$tmp/log")" 1
grep -q 'sdc: port restarted: a request failed' "$tmp/log" && grep -q 'sdd: port restarted: a request is overdue' "$tmp/log" || { echo "not ok restarts in the log"; failed=1; }
if [ $failed = 1 ] || grep -q '^not ok' "$tmp/out" || ! grep -q '^finished' "$tmp/out"; then
	tail -n 30 "$tmp/log"
	exit 1
fi
