#!/bin/bash
# SPDX-License-Identifier: MIT
# A newer machine: UEFI firmware (OVMF), a SATA disk, Intel's card. Started by QEMU's -kernel with an initrd that firmware offers, with
# little memory and much; and from a disk's FAT file system by the firmware's shell, which also sees a start that fails.
cd "$(dirname "$0")/../.." || exit 2
export PATH=$PATH:/usr/sbin:/sbin
firmware=/usr/share/ovmf/OVMF.fd
[ -f $firmware ] || { echo "skip: no $firmware"; exit 77; }
for p in qemu-system-x86_64 mke2fs e2fsck; do
	command -v $p > /dev/null || { echo "skip: no $p"; exit 77; }
done
. tests/vm/net/host.sh
tmp=$(mktemp -d) && trap 'rm -rf "$tmp"' EXIT
# The firmware's own words come first on the same line.
said() { tr -d '\r' < "$tmp/said" | grep -c -- "$1\$"; }

mkdir "$tmp/tree"
echo "a file of this machine" > "$tmp/tree/file"
truncate -s 32M "$tmp/disk"
mke2fs -q -F -t ext4 -d "$tmp/tree" "$tmp/disk" || exit 1
cat > "$tmp/guest" <<'GUEST'
echo
echo "cpus $(nproc)"
mount -t ext4 /dev/sda /mnt && cat /mnt/file
echo "written in the guest" > /mnt/ours
umount /mnt
ifconfig eth0 | grep -q 'inet addr:10.0.2.15 ' && ping -c 1 -W 5 10.0.2.2 | grep -q ' 1 packets received' && echo "network ok"
exit 7
GUEST
timeout 100 tools/qemu-run --uefi --debug-kernel --cpus 2 --timeout 90 --add "$tmp/guest:/guest" --append ip=dhcp --qemu "-drive file=$tmp/disk,if=none,format=raw,id=d \
-device ide-hd,bus=ide.0,drive=d -netdev user,id=n -device e1000e,netdev=n" -- sh /guest > "$tmp/said" 2> "$tmp/log"
is "exit status" 7 $?
is "all CPUs" 1 "$(said '^cpus 2')"
is "the SATA disk" 1 "$(said '^a file of this machine')"
is "the network" 1 "$(said '^network ok')"
is "what it wrote is on the disk" "written in the guest" "$(debugfs -R 'cat /ours' "$tmp/disk" 2> /dev/null)"
e2fsck -fn "$tmp/disk" > "$tmp/fsck" 2>&1
is "e2fsck" 0 $?
[ $failures = 0 ] || tail -n 20 "$tmp/said" "$tmp/log"

for mib in 128 6144; do
	timeout 100 tools/qemu-run --uefi --mem ${mib}M --timeout 90 -- sh -c "read a n b < /proc/meminfo; echo; [ \$n -le $((mib << 10)) ] && [ \$n -ge $((mib * 896)) ] && echo fits" > "$tmp/said" 2> "$tmp/log"
	is "$mib MiB, nearly all of it ours" 1 "$(said '^fits')"
done

mkdir "$tmp/esp"
cp build/ostrom.efi "$tmp/esp/"
tools/mkinitrd "$tmp/esp/initrd" --busybox "$(command -v busybox)" --init build/user/init --cmd sh -c 'echo; echo "from the disk"; cat /proc/cmdline' || exit 1
printf '%s\r\n' 'fs0:\ostrom.efi initrd=/missing' 'fs0:\ostrom.efi console=debugcon ostrom.tty=ttyS0 panic=-1 initrd=/initrd a=b' > "$tmp/esp/startup.nsh"
timeout 100 qemu-system-x86_64 -no-reboot -m 256M -nodefaults -vga none -accel tcg -cpu max -M q35 -bios $firmware -display none -device isa-debug-exit,iobase=0x501,iosize=2 \
	-drive "file=fat:rw:$tmp/esp,format=raw,if=none,id=esp" -device ide-hd,bus=ide.0,drive=esp -serial stdio < /dev/null > "$tmp/said" 2> "$tmp/log"
is "a start that fails says why" 1 "$(said 'ostrom: the initrd cannot be read')"
is "and one from the disk does not" 1 "$(said '^from the disk')"
is "with its words" 1 "$(said '^fs0:.ostrom.efi console=debugcon ostrom.tty=ttyS0 panic=-1 initrd=/initrd a=b')"
[ $failures = 0 ] || tail -n 30 "$tmp/said" "$tmp/log"
exit $((failures != 0))
