#!/bin/bash
# SPDX-License-Identifier: MIT
# The block layer by the programs that people use: fio with every engine and verification on virtio-blk, a RAM disk and a loop
# device; lsblk, blockdev, sfdisk, partx, blkdiscard, iostat, losetup, mount -o loop; and a disk that goes wrong on demand.
# On the build with all checks. Arguments: names of cases to run (default: all; fio's in short form in `./test` without --all).
cd "$(dirname "$0")/../.." || exit 2
for p in qemu-system-x86_64 fio lsblk blockdev sfdisk partx blkdiscard iostat losetup mke2fs; do
	PATH=$PATH:/usr/sbin:/sbin command -v $p > /dev/null || { echo "skip: no $p"; exit 77; }
done
export PATH=$PATH:/usr/sbin:/sbin
tmp=$(mktemp -d) || exit 1
trap 'rm -rf "$tmp"' EXIT

cat > "$tmp/common" <<'END'
ok() { what=$1; shift; if "$@" > /tmp/said 2>&1; then echo "ok $what"; else echo "not ok $what: $(tail -3 /tmp/said)"; fi; }
no() { what=$1; shift; if "$@" > /tmp/said 2>&1; then echo "not ok $what"; else echo "ok $what"; fi; }
is() { if [ "$2" = "$3" ]; then echo "ok $1"; else echo "not ok $1: '$2', not '$3'"; fi; }
sum() { dd if=$1 bs=4k skip=$2 count=$3 iflag=direct 2> /dev/null | sha256sum; }
zeros() { [ "$(dd if=$1 bs=512 skip=$2 count=$3 iflag=direct 2> /dev/null | sha256sum)" = "$(dd if=/dev/zero bs=512 count=$3 2> /dev/null | sha256sum)" ]; }
put() { dd if=/tmp/random of=$1 bs=4k seek=$2 count=$3 oflag=direct conv=notrunc 2> /dev/null; }
dd if=/dev/urandom of=/tmp/random bs=64k count=16 2> /dev/null
END

# The guest's script is the common part and what is on standard input.
guest() { # NAME [OPTIONS]
	local name=$1
	shift
	rm -f "$tmp/disk"
	truncate -s 64M "$tmp/disk"
	cat "$tmp/common" - > "$tmp/run"
	echo "echo finished" >> "$tmp/run"
	timeout 170 tools/qemu-run --debug-kernel --cpus 2 --timeout 160 --disk "$tmp/disk" --add "$tmp/run:/run.sh" "$@" -- sh /run.sh \
		> "$tmp/out" 2> "$tmp/log" || { echo "not ok $name: the guest's status is $?"; tail -n 20 "$tmp/log"; status=1; }
	sed "s/^\(ok\|not ok\) /\1 $name: /" "$tmp/out" | grep -E '^(ok|not ok) '
	if grep -q '^not ok' "$tmp/out" || ! grep -q '^finished' "$tmp/out"; then
		tail -n 20 "$tmp/log"
		status=1
	fi
}

tools() {
	guest tools --program lsblk --program blockdev --program sfdisk --program partx --program blkdiscard --program iostat \
		--program fallocate <<'END'
is "blockdev --getsize64" "$(/usr/sbin/blockdev --getsize64 /dev/vda)" 67108864
is "blockdev --getss --getpbsz" "$(/usr/sbin/blockdev --getss --getpbsz --getiomin /dev/vda | tr '\n' ' ')" "512 512 512 "
ok "sfdisk writes a GPT" sh -c "printf 'label: gpt\nsize=8M\nsize=16M\n' | /usr/sbin/sfdisk -q /dev/vda"
is "lsblk: the disk and its partitions" "$(/usr/bin/lsblk -nro NAME,SIZE,TYPE | tr ' \n' ',,')" "vda,64M,disk,vda1,8M,part,vda2,16M,part,"
ok "partx removes one" /usr/bin/partx -d --nr 1 /dev/vda
no "it is gone" grep -q vda1 /proc/partitions
ok "partx adds it" /usr/bin/partx -a --nr 1 /dev/vda
ok "it is back" grep -q vda1 /proc/partitions
(exec 3< /dev/vda1; no "a table is not read again while one is open" /usr/sbin/blockdev --rereadpt /dev/vda)
ok "afterwards it is" /usr/sbin/blockdev --rereadpt /dev/vda
put /dev/vda2 0 256
no "it holds something" zeros /dev/vda2 0 2048
ok "blkdiscard -z" /usr/sbin/blkdiscard -z -l 1048576 /dev/vda2
ok "zeros" zeros /dev/vda2 0 2048
ok "blkdiscard" /usr/sbin/blkdiscard /dev/vda2
no "not at half a sector" /usr/sbin/blkdiscard -o 100 -l 512 /dev/vda2
put /dev/vda2 0 4
ok "fallocate -z" /usr/bin/fallocate -z -o 4096 -l 4096 /dev/vda2
is "only its range" "$(sum /dev/vda2 0 1)" "$(sum /tmp/random 0 1)"
ok "zeros there" zeros /dev/vda2 8 8
ok "blockdev --setro" /usr/sbin/blockdev --setro /dev/vda2
no "not written" dd if=/tmp/random of=/dev/vda2 bs=4k count=1
is "in /sys too" "$(cat /sys/block/vda/vda2/ro)" 1
/usr/sbin/blockdev --setrw /dev/vda2
ok "iostat" sh -c "/usr/bin/iostat -x vda | grep -q '^vda '"
is "17 numbers" "$(wc -w < /sys/block/vda/stat)" 17
ok "read_ahead_kb" sh -c "echo 512 > /sys/block/vda/queue/read_ahead_kb; [ \$(/usr/sbin/blockdev --getra /dev/vda) = 1024 ]"
no "no such scheduler" sh -c "echo bfq > /sys/block/vda/queue/scheduler"
reads() { set -- $(cat /sys/block/vda/stat); echo $1; }
/usr/sbin/blockdev --flushbufs /dev/vda
before=$(reads)
dd if=/dev/vda of=/dev/null bs=4k count=2048 2> /dev/null
ok "reading ahead: 8 MiB in few transfers" [ $(($(reads) - before)) -lt 300 ]
is "and the right bytes" "$(dd if=/dev/vda2 bs=64k count=16 2> /dev/null | sha256sum)" "$(dd if=/dev/vda2 bs=64k count=16 iflag=direct 2> /dev/null | sha256sum)"
dd if=/tmp/random of=/dev/vda2 bs=1k count=1024 2> /dev/null
sync
ok "sequential pages were merged or written as one" sh -c "set -- \$(cat /sys/block/vda/stat); [ \$((\$7 / (\$5 + 1))) -ge 16 ]"
END
}

loops() {
	make -s build/programs/block/loopstatus || exit 1
	guest loop --program losetup --program sfdisk --program lsblk --program mke2fs --add build/programs/block/loopstatus:/loopstatus <<'END'
L=/usr/sbin/losetup
truncate -s 32M /tmp/image
is "losetup -f" "$($L -f)" /dev/loop0
d=$($L -f --show /tmp/image)
is "bound" "$($L -nO NAME,BACK-FILE,RO | tr -s ' ')" "/dev/loop0 /tmp/image 0"
no "not bound twice" $L /dev/loop0 /tmp/random
printf 'label: dos\nsize=8M\nsize=16M\n' | /usr/sbin/sfdisk -q $d
ok "losetup -d" $L -d $d
is "nothing bound" "$($L -n)" ""
d=$($L -fP --show /tmp/image)
is "partitions" "$(/usr/bin/lsblk -nro NAME,SIZE $d | tr ' \n' ',,')" "loop0,32M,loop0p1,8M,loop0p2,16M,"
put ${d}p1 0 16
is "a partition is where it should be" "$(sum ${d}p1 0 16)" "$(dd if=/tmp/image bs=4k skip=256 count=16 2> /dev/null | sha256sum)"
$L -d $d
d=$($L -f --show -o 1048576 --sizelimit 65536 /tmp/image)
is "offset and limit" "$(cat /sys/block/loop0/size) $(cat /sys/block/loop0/loop/offset)" "128 1048576"
is "the same bytes" "$(sum $d 0 16)" "$(sum /tmp/random 0 16)"
$L -d $d
d=$($L -f --show /tmp/image)
ok "status by the older structure" /loopstatus $d
is "its offset" "$(cat /sys/block/loop0/size)" $((65536 - 8))
$L -d $d
d=$($L -r -f --show /tmp/image)
no "read-only" dd if=/tmp/random of=$d bs=4k count=1
$L -d $d
d=$($L -b 4096 -f --show /tmp/image)
is "blocks of 4096" "$(cat /sys/block/loop0/queue/logical_block_size)" 4096
$L -d $d
d=$($L --direct-io=on -f --show /dev/vda)
is "direct" "$(cat /sys/block/loop0/loop/dio)" 1
put $d 0 256
is "through to the disk" "$(sum /dev/vda 0 256)" "$(sum /tmp/random 0 256)"
$L -d $d
no "not over itself" $L /dev/loop0 /dev/loop0
no "no direct I/O on tmpfs" sh -c "$L --direct-io=on -f /tmp/image && [ \$(cat /sys/block/loop0/loop/dio) = 1 ]"
$L -D
/usr/sbin/mke2fs -q -t ext4 /tmp/image > /dev/null 2>&1
mkdir /m
ok "mount -o loop" mount -t ext4 -o loop,ro /tmp/image /m
ok "there it is" [ -d /m/lost+found ]
is "autoclear" "$($L -nO AUTOCLEAR | tr -d ' ')" 1
umount /m
n=0
while [ -n "$($L -n)" ] && [ $n -lt 100 ]; do n=$((n + 1)); sleep 0.1; done
is "unbound by itself" "$($L -n)" ""
stacks() { awk '/^KernelStack/ { print $2 }' /proc/meminfo; }
before=$(stacks)
for i in $(seq 20); do
	mount -t ext4 -o loop /tmp/image /m && umount /m || echo "not ok mounted $i times"
	n=0
	while [ -n "$($L -n)" ] && [ $n -lt 100 ]; do n=$((n + 1)); sleep 0.1; done
done
n=0
while [ $(stacks) -gt $((before + 160)) ] && [ $n -lt 50 ]; do n=$((n + 1)); sleep 0.1; done
ok "its threads have ended: $before, $(stacks) KiB of stacks" [ $(stacks) -le $((before + 160)) ]
END
}

faults() {
	truncate -s 8M "$tmp/fs" && mke2fs -q -F -t ext4 "$tmp/fs"
	make -s build/programs/block/failsync || exit 1
	guest fault --program lsblk --add build/programs/block/failsync:/failsync --add "$tmp/fs:/fs.img" <<'END'
f=/sys/block/flt0/fault
rule() { echo clear > $f/rules; echo "$1" > $f/rules; }
rd() { dd if=/dev/flt0 of=/dev/null bs=4k skip=$1 count=$2 iflag=direct; }
wr() { dd if=/tmp/random of=/dev/flt0 bs=4k seek=$1 count=$2 oflag=direct conv=notrunc; }
no "over nothing" sh -c "echo nothing > /sys/kernel/fault_block/add"
ok "made" sh -c "echo vda > /sys/kernel/fault_block/add"
no "a disk has one user" sh -c "echo vda > /sys/kernel/fault_block/add"
is "lsblk shows what stands on what" "$(/usr/bin/lsblk -nro NAME,SIZE | tr ' \n' ',,')" "vda,64M,flt0,64M,"
ok "passes through" wr 0 16
is "both ways" "$(sum /dev/flt0 0 16)" "$(sum /dev/vda 0 16)"
rule "fail op=read sectors=8-15"
ok "beside it" rd 0 1
no "there" rd 1 1
ok "writing there" wr 1 1
no "a large read that touches it" dd if=/dev/flt0 of=/dev/null bs=64k count=1 iflag=direct
rule "fail op=write after=1 count=1 error=ENOSPC"
ok "the first" wr 0 1
no "the second" wr 0 1
ok "the third" wr 0 1
no "nonsense" sh -c "echo explode > $f/rules"
is "shown with its counts" "$(cat $f/rules)" "fail op=write after=1 count=1 error=28 # seen 3, acted 1"
dd if=/dev/zero of=/dev/flt0 bs=4k count=4 oflag=direct 2> /dev/null
rule "tear keep=3 count=1"
ok "a torn write is acknowledged" wr 0 1
is "three sectors of it" "$(dd if=/dev/vda bs=512 count=3 iflag=direct 2> /dev/null | sha256sum)" "$(dd if=/tmp/random bs=512 count=3 2> /dev/null | sha256sum)"
ok "and no more" zeros /dev/vda 3 5
rule "drop op=write count=1"
wr 3 1 2> /dev/null
ok "a lost write" zeros /dev/vda 24 8
rule "delay us=2000"
ok "late" rd 0 8
rule "cut after=1"
wr 0 1 2> /dev/null
before=$(sum /dev/flt0 0 8)
ok "after the cut all is acknowledged" wr 1 4
is "and nothing done" "$(sum /dev/flt0 0 8)" "$before"
is "it says so" "$(cat $f/cut)" drop
echo fail > $f/cut
no "or fails, as do reads" rd 0 1
echo 0 > $f/cut
rule "hang op=read"
(rd 0 1 > /dev/null 2>&1; echo done > /tmp/done) &
sleep 0.2
no "hangs" [ -f /tmp/done ]
echo clear > $f/rules
wait
ok "until it is let go" [ -f /tmp/done ]
rule "fail op=flush"
no "a failed flush is an error of fsync" dd if=/tmp/random of=/dev/flt0 bs=4k count=1 conv=fsync
rule "fail op=write sectors=0-7"
exec 3<> /dev/flt0
dd if=/tmp/random bs=4k count=1 >&3 2> /dev/null
no "a failed writeback is told by fsync" sync /dev/flt0
exec 3>&-
is "to each who has it open, once" "$(/failsync /dev/flt0)" "5 0 5 0 0 0"
echo clear > $f/rules
(exec 3< /dev/flt0; no "in use: not removed" sh -c "echo flt0 > /sys/kernel/fault_block/remove")
ok "removed" sh -c "echo flt0 > /sys/kernel/fault_block/remove"
no "gone" [ -e /sys/block/flt0 ]
cat /fs.img > /dev/vda && sync
ok "made anew" sh -c "echo vda > /sys/kernel/fault_block/add"
mkdir -p /m && mount -t ext4 /dev/flt0 /m && echo kept > /m/kept && sync
exec 4< /dev/flt0
rule "hang op=write"
(dd if=/tmp/random of=/m/big bs=64k oflag=direct 2> /dev/null; echo $? > /tmp/status) &
sleep 0.3
ok "unplugged while it is mounted and written" sh -c "echo flt0 > /sys/kernel/fault_block/unplug"
wait
is "the writer is told" "$(cat /tmp/status)" 1
no "a reader is told" dd of=/dev/null bs=4k count=1 skip=100 <&4
exec 4<&-
no "no name is made any more" sh -c "echo x > /m/new && sync /m/new"
ok "umount" timeout 20 umount /m
ok "plugged in again" sh -c "echo vda > /sys/kernel/fault_block/add"
ok "and mounted" mount -t ext4 /dev/flt0 /m
is "what was safe is there" "$(cat /m/kept)" kept
umount /m
END
}

fios() {
	local size=4m
	[ "${TEST_MODE:-all}" = all ] && size=24m
	# fio keeps its jobs in System V shared memory, whatever they do.
	git grep -q 'long sys_shmget(' -- kernel || { echo "fio is left out: the kernel has no shmget"; return; }
	sed "s/SIZE/$size/" <<'END' | guest fio --program fio --program losetup --append "brd.rd_nr=1 brd.rd_size=32768"
job() { what=$1; shift; ok "$what" fio --name=x --thread --size=SIZE --bs=4k --verify_fatal=1 "$@"; }
truncate -s 32M /tmp/image
/usr/sbin/losetup /dev/loop0 /tmp/image
for d in vda ram0 loop0; do
	job "$d libaio, 32 deep, verified" --filename=/dev/$d --ioengine=libaio --iodepth=32 --iodepth_batch=16 --direct=1 --rw=randwrite --verify=crc32c
done
job "libaio, all sizes to 256k" --filename=/dev/vda --ioengine=libaio --iodepth=16 --direct=1 --rw=randrw --bsrange=512-256k --bs_unaligned=0 --blockalign=512 --verify=crc32c
job "libaio, ring read in user space" --filename=/dev/vda --ioengine=libaio --iodepth=64 --userspace_reap --direct=1 --rw=write --verify=md5
job "libaio, buffered" --filename=/dev/vda --ioengine=libaio --iodepth=8 --rw=randwrite --verify=crc32c
job "pvsync2 --hipri" --filename=/dev/vda --ioengine=pvsync2 --hipri --direct=1 --rw=randwrite --verify=crc32c
job "psync, 1 MiB direct" --filename=/dev/vda --ioengine=psync --direct=1 --bs=1m --rw=write --verify=md5
job "sync with fsync" --filename=/dev/vda --ioengine=sync --fsync=64 --rw=randwrite --verify=crc32c
job "mmap" --filename=/dev/vda --ioengine=mmap --rw=randwrite --verify=crc32c
job "discards among it" --filename=/dev/vda --ioengine=libaio --iodepth=8 --direct=1 --rw=randtrim
END
}

# The packed ring, on two queues, one small; the first disk is the usual one.
rings() {
	truncate -s 64M "$tmp/packed" "$tmp/small"
	cat <<'END' | guest rings --program fio --qemu "-drive file=$tmp/packed,if=none,format=raw,id=p -device virtio-blk-pci,drive=p,packed=on,num-queues=2,queue-size=128 \
-drive file=$tmp/small,if=none,format=raw,id=s -device virtio-blk-pci,drive=s,packed=on,indirect_desc=off,num-queues=1,queue-size=16"
grep . /sys/block/vd?/queue/max_segments
for d in vdb vdc; do
	for how in "libaio --iodepth=32 --bs=4k" "libaio --iodepth=64 --bs=512" "psync --bs=1m" "pvsync2 --hipri --bs=16k"; do
		ok "$d packed, $how" fio --name=x --thread --filename=/dev/$d --ioengine=$how --numjobs=2 --offset_increment=8m --size=4m --direct=1 --rw=randwrite --verify=crc32c --verify_fatal=1
	done
done
ok "a long request in one piece" fio --name=x --thread --filename=/dev/vda --ioengine=psync --bs=4m --size=16m --direct=1 --rw=write --verify=crc32c --verify_fatal=1
END
}

status=0
for c in ${*:-tools loops faults fios rings}; do
	case $c in
	tools | loops | faults | fios | rings) $c ;;
	*) echo "no case $c"; exit 2 ;;
	esac
done
exit $status
