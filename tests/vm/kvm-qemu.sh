#!/bin/bash
# SPDX-License-Identifier: MIT
# Debian's unmodified qemu-system-x86_64 with -accel kvm inside Ostrom: its firmware and PC boot Ostrom (two CPUs, a disk and a
# network card behind irqfd and ioeventfd) and Debian's Linux. Interrupt
# controllers are split between QEMU and us, or all ours.
cd "$(dirname "$0")/../.." || exit 2
. tests/vm/lib/check.sh
on_failure='tail -20 "$dir/out"'
make -s kernel build/user/init || exit 1
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
strip -o "$dir/kernel" build/ostrom.elf
busybox=$(command -v busybox || echo /bin/busybox)
guest() { tools/mkinitrd "$dir/guest" --init build/user/init --busybox "$busybox" --cmd sh -c "$1"; }
firmware=()
for f in bios-256k.bin bios-microvm.bin pvh.bin linuxboot_dma.bin kvmvapic.bin efi-virtio.rom; do
	path=$(find -L /usr/share/seabios /usr/share/qemu /usr/lib/ipxe/qemu -name "$f" 2> /dev/null | head -1)
	[ -z "$path" ] || firmware+=(--add "$(readlink -f "$path"):/usr/share/qemu/$f")
done
vm() { # MACHINE OPTIONS: one run of QEMU in the outer machine; the guest's debug port is in /log, QEMU's status 1 if the guest said one
	cat > "$dir/script" <<S
dd if=/dev/zero of=/disk bs=1M count=8 2> /dev/null
echo sector-zero | dd of=/disk conv=notrunc 2> /dev/null
qemu-system-x86_64 -M $1,accel=kvm -cpu host $2 -nodefaults -display none -vga none -no-reboot -serial stdio \\
	-kernel /kernel -initrd /initrd -device isa-debugcon,iobase=0xe9,chardev=l -chardev file,id=l,path=/log < /dev/null
grep OSTROM-EXIT /log || tail /log
dd if=/disk bs=512 skip=1 count=1 2> /dev/null | grep written-in-guest
S
	timeout 400 tools/qemu-run --mem 1500M --timeout 380 --program qemu-system-x86_64 "${firmware[@]}" --add "$dir/kernel:/kernel" \
		--add "$dir/guest:/initrd" --add "$dir/script:/script" -- sh /script > "$dir/out" 2>&1
}
disk="-drive file=/disk,format=raw,if=none,id=d -device virtio-blk-pci,drive=d"
card="-netdev user,id=n -device virtio-net-pci,netdev=n"

guest 'uname -sr; grep -c ^processor /proc/cpuinfo; dd if=/dev/vda bs=512 count=1 2> /dev/null | grep sector-zero
echo written-in-guest | dd of=/dev/vda bs=512 seek=1 conv=notrunc,fsync 2> /dev/null; ip -4 addr show eth0 | grep inet; exit 7'
vm q35,kernel-irqchip=split "-m 256M -smp 2 $disk $card -append 'console=ttyS0 ip=dhcp panic=-1'"
check "QEMU on q35 (kernel-irqchip=split) boots Ostrom with two CPUs" "grep -q '^Linux 6.1.0-ostrom' $dir/out && grep -q '^2' $dir/out && grep -q '^OSTROM-EXIT 7' $dir/out"
check "its disk and its network card work" "grep -q '^sector-zero' $dir/out && grep -q '^written-in-guest' $dir/out && grep -q 'inet 10.0.2.15' $dir/out"

guest 'uname -sr; exit 6'
vm microvm "-m 256M -append 'console=ttyS0 panic=-1'"
check "QEMU on microvm boots Ostrom" "grep -q '^Linux 6.1.0-ostrom' $dir/out && grep -q '^OSTROM-EXIT 6' $dir/out"

if linux=$(tools/linux-guest --fetch 2> /dev/null); then
	cp "$linux"/boot/vmlinuz-* "$dir/kernel"
	guest 'uname -sv; grep -c ^processor /proc/cpuinfo; dd if=/dev/zero of=/tmp/x bs=1M count=16 2> /dev/null; ls -l /tmp/x; exit 5'
	irqchips=on
	[ "$TEST_MODE" != all ] || irqchips="on split"
	for k in $irqchips; do
		vm q35,kernel-irqchip=$k "-m 400M -smp 2 -append 'console=ttyS0 quiet panic=-1'"
		check "QEMU boots Debian's Linux with two CPUs, kernel-irqchip=$k" \
			"grep -q '^Linux.*Debian' $dir/out && grep -q '^2' $dir/out && grep -q 16777216 $dir/out && grep -q '^OSTROM-EXIT 5' $dir/out"
	done
else
	echo "skipped: no kernel of Debian's to be had"
fi
exit $failed
