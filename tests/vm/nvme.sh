#!/bin/bash
# SPDX-License-Identifier: MIT
# NVMe by Debian's nvme-cli: two namespaces listed, identified, read and written through the passthrough, and a controller that
# is reset while a program writes and verifies; one with a single interrupt vector, and queues that are polled.
# A slow disk: what is overdue is aborted, then the controller is reset, and all comes to its end.
cd "$(dirname "$0")/../.." || exit 2
for p in qemu-system-x86_64 nvme fio; do
	PATH=$PATH:/usr/sbin command -v $p > /dev/null || { echo "skip: no $p"; exit 77; }
done
export PATH=$PATH:/usr/sbin
tmp=$(mktemp -d) || exit 1
trap 'rm -rf "$tmp"' EXIT
truncate -s 48M "$tmp/n1"
truncate -s 32M "$tmp/n2"
truncate -s 16M "$tmp/n3" "$tmp/n4"
cat > "$tmp/run" <<'END'
ok() { what=$1; shift; if "$@" > /tmp/said 2>&1; then echo "ok $what"; else echo "not ok $what: $(tail -3 /tmp/said)"; fi; }
no() { what=$1; shift; if "$@" > /tmp/said 2>&1; then echo "not ok $what"; else echo "ok $what"; fi; }
is() { if [ "$2" = "$3" ]; then echo "ok $1"; else echo "not ok $1: '$2', not '$3'"; fi; }
is "nvme list" "$(nvme list | grep -c 'ostrom1 .*QEMU NVMe Ctrl')" 2
is "id-ctrl" "$(nvme id-ctrl /dev/nvme0 | sed -n 's/^sn *: //p' | tr -d ' ')" ostrom1
is "id-ns" "$(nvme id-ns /dev/nvme0n2 | sed -n 's/^nsze *: //p')" 0x10000
ok "smart-log" sh -c "nvme smart-log /dev/nvme0 | grep -q '^critical_warning.*: 0'"
head -c 12288 /dev/urandom > /tmp/y
ok "a write of its own" nvme write /dev/nvme0n2 --start-block=8 --block-count=23 --data-size=12288 --data=/tmp/y
is "is on the disk" "$(dd if=/dev/nvme0n2 bs=4k skip=1 count=3 iflag=direct 2> /dev/null | sha256sum)" "$(sha256sum < /tmp/y)"
ok "a read of its own" nvme read /dev/nvme0n2 --start-block=8 --block-count=23 --data-size=12288 --data=/tmp/z
ok "the same" cmp /tmp/y /tmp/z
is "the other namespace is untouched" "$(dd if=/dev/nvme0n1 bs=64k count=1 2> /dev/null | sha256sum)" "$(dd if=/dev/zero bs=64k count=1 2> /dev/null | sha256sum)"
no "an unknown command has the controller's status" nvme admin-passthru /dev/nvme0 -o 0xff
ok "reset" nvme reset /dev/nvme0
is "live again" "$(cat /sys/class/nvme/nvme0/state)" live
dd if=/dev/urandom of=/tmp/random bs=64k count=64 2> /dev/null
(n=0; while [ $n -lt 3 ] || [ ! -f /tmp/stop ]; do echo 1 > /sys/class/nvme/nvme0/reset_controller; n=$((n + 1)); sleep 0.1; done) &
for i in 1 2 3 4; do
	ok "written while it is reset, $i" dd if=/tmp/random of=/dev/nvme0n$((i % 2 + 1)) bs=16k seek=$((i * 256)) oflag=direct conv=notrunc
done
touch /tmp/stop
wait
for i in 1 2 3 4; do
	is "and all of it is there, $i" "$(dd if=/dev/nvme0n$((i % 2 + 1)) bs=16k skip=$((i * 256)) count=256 iflag=direct 2> /dev/null | sha256sum)" "$(sha256sum < /tmp/random)"
done
before=$(sed -n 's/^ *[0-9]*: *\([0-9]*\) *\([0-9]*\).*nvme.*/\1 \2/p' /proc/interrupts | tr '\n' ' ')
echo 1 > /sys/block/nvme0n1/queue/io_poll && echo -1 > /sys/block/nvme0n1/queue/io_poll_delay
for size in 4k 512k; do
	ok "polled in a queue of its own, $size" fio --name=x --thread --filename=/dev/nvme0n1 --ioengine=pvsync2 --hipri --direct=1 --bs=$size --size=4m --numjobs=2 --offset_increment=8m --rw=randwrite --verify=crc32c --verify_fatal=1
done
is "without an interrupt" "$(sed -n 's/^ *[0-9]*: *\([0-9]*\) *\([0-9]*\).*nvme.*/\1 \2/p' /proc/interrupts | tr '\n' ' ')" "$before"
echo 0 > /sys/block/nvme0n1/queue/io_poll_delay
ok "adaptive: where the interrupts are" fio --name=x --thread --filename=/dev/nvme0n1 --ioengine=pvsync2 --hipri --direct=1 --bs=4k --size=2m --rw=randwrite --verify=crc32c --verify_fatal=1
dd if=/tmp/random of=/dev/nvme1n1 bs=4k count=4 oflag=direct 2> /dev/null
ok "requests of a slow disk" fio --name=x --thread --filename=/dev/nvme1n1 --ioengine=libaio --iodepth=8 --direct=1 --bs=4k --size=32k --rw=randwrite --verify=crc32c --verify_fatal=1
echo finished
END
cat > "$tmp/small" <<'END'
is() { if [ "$2" = "$3" ]; then echo "ok $1"; else echo "not ok $1: '$2', not '$3'"; fi; }
dd if=/dev/urandom of=/tmp/random bs=64k count=16 2> /dev/null
dd if=/tmp/random of=/dev/nvme0n1 bs=16k oflag=direct 2> /dev/null
is "one vector: written and read" "$(dd if=/dev/nvme0n1 bs=16k count=64 iflag=direct 2> /dev/null | sha256sum)" "$(sha256sum < /tmp/random)"
is "one vector: its queues, with the admin queue" "$(cat /sys/class/nvme/nvme0/queue_count)" 4
echo 1 > /sys/block/nvme0n1/queue/io_poll && echo -1 > /sys/block/nvme0n1/queue/io_poll_delay
fio --name=x --thread --filename=/dev/nvme0n1 --ioengine=pvsync2 --hipri --direct=1 --bs=4k --size=2m --rw=randwrite --verify=crc32c --verify_fatal=1 > /dev/null
is "one vector: polled" "$?" 0
echo finished
END
timeout 70 tools/qemu-run --debug-kernel --cpus 2 --timeout 60 --program fio --append nvme.poll_queues=2 --add "$tmp/small:/run.sh" --qemu "-drive \
file=$tmp/n3,if=none,format=raw,id=n3 -device nvme,serial=small,drive=n3,msix_qsize=1,max_ioqpairs=4" -- sh /run.sh > "$tmp/out" 2> "$tmp/log"
grep -E '^(ok|not ok) ' "$tmp/out"
if grep -q '^not ok' "$tmp/out" || ! grep -q '^finished' "$tmp/out"; then
	tail -n 20 "$tmp/log"
	exit 1
fi
timeout 170 tools/qemu-run --debug-kernel --cpus 2 --timeout 160 --program nvme --program fio --append "nvme.poll_queues=1 nvme.io_timeout=1" --add "$tmp/run:/run.sh" --qemu "-drive \
file=$tmp/n1,if=none,format=raw,id=n1 -drive file=$tmp/n2,if=none,format=raw,id=n2 -device nvme,id=nv,serial=ostrom1 -device \
nvme-ns,drive=n1,bus=nv,nsid=1 -device nvme-ns,drive=n2,bus=nv,nsid=2 -drive file=$tmp/n4,if=none,format=raw,id=n4,throttling.iops-total=4 -device nvme,serial=slow,drive=n4" -- sh /run.sh > "$tmp/out" 2> "$tmp/log"
grep -E '^(ok|not ok) ' "$tmp/out"
if grep -q '^not ok' "$tmp/out" || ! grep -q '^finished' "$tmp/out"; then
	tail -n 20 "$tmp/log"
	exit 1
fi
[ "$(grep -c 'was reset' "$tmp/log")" -ge 4 ] || { echo "not ok resets"; exit 1; } # nvme-cli's, and the loop's
grep -q 'is overdue: ' "$tmp/log" || { echo "not ok no abort"; exit 1; }
