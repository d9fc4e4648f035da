#!/bin/bash
# SPDX-License-Identifier: MIT
# For the long run: Debian's unmodified QEMU with -device vfio-pci,host=... inside Ostrom: an NVMe disk goes whole into a guest of
# QEMU's, whose firmware looks at it first; the guest uses it, with interrupts. The disk comes back to the host's driver.
cd "$(dirname "$0")/../.." || exit 2
. tests/vm/lib/check.sh
on_failure='tail -40 "$dir/out"'
[ "$TEST_MODE" = all ] || { echo "skip: only with --all"; exit 77; }
make -s kernel build/user/init || exit 1
command -v qemu-system-x86_64 > /dev/null || { echo "skip: no QEMU"; exit 77; }
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
tests/vm/guest/build nvme "$dir/nvme" || exit 1
truncate -s 32M "$dir/disk"
firmware=()
for f in bios-256k.bin pvh.bin linuxboot_dma.bin kvmvapic.bin; do
	path=$(find -L /usr/share/seabios /usr/share/qemu -name "$f" 2> /dev/null | head -1)
	[ -z "$path" ] || firmware+=(--add "$(readlink -f "$path"):/usr/share/qemu/$f")
done
cat > "$dir/script" <<'S'
a=$(cat /sys/class/nvme/nvme0/address)
echo $a > /sys/bus/pci/devices/$a/driver/unbind
echo vfio-pci > /sys/bus/pci/devices/$a/driver_override; echo $a > /sys/bus/pci/drivers_probe
qemu-system-x86_64 -M q35,accel=kvm,kernel-irqchip=$1 -cpu host -m 64M -nodefaults -display none -vga none -no-reboot -serial file:/serial \
	-kernel /nvme -append u -device isa-debugcon,iobase=0xe9,chardev=l -chardev file,id=l,path=/log -device vfio-pci,host=$a > /errors 2>&1
cat /serial /log /errors
echo $a > /sys/bus/pci/devices/$a/driver/unbind; echo > /sys/bus/pci/devices/$a/driver_override
echo $a > /sys/bus/pci/drivers_probe; echo "back $(cat /sys/class/nvme/nvme0/serial) $(ls /dev/vfio)"
S
for irqchip in on split; do
	timeout 300 tools/qemu-run --mem 1G --timeout 280 --append vfio_iommu_type1.allow_unsafe_interrupts=1 --program qemu-system-x86_64 "${firmware[@]}" \
		--add "$dir/nvme:/nvme" --add "$dir/script:/script" \
		--qemu "-device intel-iommu -drive file=$dir/disk,if=none,format=raw,id=d,cache=unsafe -device nvme,drive=d,serial=pass1" -- sh /script $irqchip > "$dir/out" 2>&1
	check "QEMU gives a whole disk to its guest (kernel-irqchip=$irqchip)" "grep -q '^ok used' $dir/out && grep -q '^OSTROM-EXIT 0' $dir/out"
	check "and it comes back" "grep -q '^back pass1 *vfio' $dir/out"
done
exit $failed
