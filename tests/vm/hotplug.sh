#!/bin/bash
# SPDX-License-Identifier: MIT
# Disks pulled out of a running machine and plugged in again (QEMU's device_del and device_add at PCI Express root ports): a virtio
# disk and an NVMe one, idle, read and written, and with a file system mounted.
cd "$(dirname "$0")/../.." || exit 2
for p in qemu-system-x86_64 fio mke2fs nvme python3; do
	PATH=$PATH:/usr/sbin:/sbin command -v $p > /dev/null || { echo "skip: no $p"; exit 77; }
done
export PATH=$PATH:/usr/sbin:/sbin
tmp=$(mktemp -d) || exit 1
trap 'rm -rf "$tmp"' EXIT
truncate -s 64M "$tmp/d0" "$tmp/n0"
mke2fs -q -F -t ext4 "$tmp/d0" 24M && mke2fs -q -F -t ext4 "$tmp/n0" 24M || exit 1 # behind it is room for fio

# Passes on what the guest says; its lines "monitor WORDS" go to QEMU's monitor.
cat > "$tmp/relay" <<'END'
import socket, sys
monitor = None
for line in sys.stdin:
    if line.startswith("monitor "):
        if not monitor:
            monitor = socket.socket(socket.AF_UNIX)
            monitor.connect(sys.argv[1])
        monitor.sendall(line.strip()[8:].encode() + b"\n")
    else:
        print(line, end="", flush=True)
END
cat > "$tmp/run" <<'END'
ok() { what=$1; shift; if "$@" > /tmp/said 2>&1; then echo "ok $what"; else echo "not ok $what: $(tail -3 /tmp/said)"; fi; }
no() { what=$1; shift; if "$@" > /tmp/said 2>&1; then echo "not ok $what"; else echo "ok $what"; fi; }
is() { if [ "$2" = "$3" ]; then echo "ok $1"; else echo "not ok $1: '$2', not '$3'"; fi; }
until_it() { n=0; until "$@"; do n=$((n + 1)); [ $n -lt 300 ] || return 1; sleep 0.1; done; }
gone() { [ ! -e /sys/block/$1 ] && [ ! -e /dev/$1 ] && ! grep -q $1 /proc/partitions; }
there() { [ -e /sys/block/$1 ] && [ -b /dev/$1 ]; }
pull() { echo "monitor device_del $2"; ok "$1 is gone" until_it gone $1; }
# QEMU may take its time to forget the device of the same name: asked again.
plug() {
	tries=0
	until there $1 || [ $tries -eq 100 ]; do
		echo "monitor device_add $2"
		tries=$((tries + 1))
		sleep 0.5
	done
	ok "$1 is there again" there $1
	there $1 || exit
}

# Of the disk, reads (1) or writes (5) since it came.
transfers() { tr -s ' ' < /sys/block/$d/stat | sed 's/^ //' | cut -d ' ' -f $1; }
more_than() { [ "$(transfers $1)" -gt $2 ]; }

# DISK ID DEVICE...: what device_add is told.
everything() {
	d=$1 id=$2 device=$3
	pull $d $id
	plug $d "$device"
	ok "$d is read" dd if=/dev/$d of=/dev/null bs=64k iflag=direct
	exec 5< /dev/$d
	busy() { fio --name=x --thread --filename=/dev/$d --allow_file_create=0 --ioengine=$1 --iodepth=8 --direct=1 --offset=32m --size=24m --rw=$2 --time_based --runtime=90; }
	first=$(transfers 1)
	busy psync read > /tmp/busy1 2>&1 &
	until_it more_than 1 $((first + 50))
	busy libaio randwrite > /tmp/busy2 2>&1 &
	until_it more_than 5 50
	pull $d $id
	wait
	is "$d: what is in flight ends with EIO" "$(grep -l 'Input/output error' /tmp/busy1 /tmp/busy2 | wc -l)" 2
	no "$d: an open file has nothing behind it" dd of=/dev/null bs=4k count=1 iflag=direct <&5
	exec 5<&-
	plug $d "$device"
	ok "$d: mounted" mount -t ext4 /dev/$d /m
	grep -q " /m " /proc/mounts || exit
	echo kept > /m/kept && sync
	(while dd if=/dev/urandom of=/m/big bs=64k count=64 conv=fsync 2> /tmp/fs; do :; done; echo over > /tmp/filed) &
	sleep 0.5
	pull $d $id
	wait
	is "$d: a writer of a file is told" "$(cat /tmp/filed)" over
	ok "$d: by EIO, or the file system is read-only" grep -E 'Input/output error|Read-only' /tmp/fs
	no "$d: no name is made any more" sh -c "echo x > /m/new && sync /m/new"
	ok "$d: umount" timeout 20 umount /m
	plug $d "$device"
	ok "$d: mounted again" mount -t ext4 /dev/$d /m
	is "$d: what was safe is there" "$(cat /m/kept)" kept
	umount /m
	ok "$d: written and verified" fio --name=x --thread --filename=/dev/$d --ioengine=libaio --iodepth=16 --direct=1 --bs=4k --offset=32m --size=4m --rw=randwrite --verify=crc32c --verify_fatal=1
}
mkdir /m
everything vda d0 virtio-blk-pci,bus=rp0,id=d0,drive=x0
everything nvme0n1 n0 nvme,bus=rp1,id=n0,serial=ostrom1,drive=x1
is "the controller is known" "$(nvme list | grep -c 'ostrom1 .*QEMU NVMe Ctrl')" 1
exec 6< /dev/nvme0
pull nvme0n1 n0
no "its node is gone" [ -e /dev/nvme0 -o -e /sys/class/nvme/nvme0 ]
no "who has it open is told" nvme id-ctrl /proc/self/fd/6
exec 6<&-
n=0
while [ $n -lt 2 ]; do
	plug nvme0n1 nvme,bus=rp1,id=n0,serial=ostrom1,drive=x1
	pull nvme0n1 n0
	n=$((n + 1))
done
echo finished
END
disk() { echo "-blockdev driver=raw,node-name=$1,file.driver=file,file.filename=$2"; }
timeout 170 tools/qemu-run --debug-kernel --cpus 2 --timeout 160 --program nvme --program fio --add "$tmp/run:/run.sh" --qemu "-global \
ICH9-LPC.acpi-pci-hotplug-with-bridge-support=off -monitor unix:$tmp/monitor,server=on,wait=off $(disk x0 "$tmp/d0") $(disk x1 "$tmp/n0") -device \
pcie-root-port,id=rp0,chassis=1 -device pcie-root-port,id=rp1,chassis=2 -device virtio-blk-pci,bus=rp0,id=d0,drive=x0 -device \
nvme,bus=rp1,id=n0,serial=ostrom1,drive=x1" -- sh /run.sh 2> "$tmp/log" | python3 "$tmp/relay" "$tmp/monitor" > "$tmp/out"
[ -z "$SHOW" ] || cat "$tmp/log" "$tmp/out"
grep -E '^(ok|not ok) ' "$tmp/out"
if grep -q '^not ok' "$tmp/out" || ! grep -q '^finished' "$tmp/out"; then
	tail -n 20 "$tmp/log"
	exit 1
fi
