#!/bin/bash
# SPDX-License-Identifier: MIT
# For the long run: Debian's unmodified QEMU with -device vfio-pci,sysfsdev=... inside Ostrom: a virtual GPU made through mdev's sysfs
# goes into a guest of QEMU's; its firmware maps it, the guest draws, and QEMU takes part in none of it. With display=on QEMU
# shows what the guest draws, from its mapping of the picture. A killed QEMU leaves nothing.
cd "$(dirname "$0")/../.." || exit 2
. tests/vm/lib/check.sh
on_failure='grep -vE "^ ([0-9a-f]{2} ?)+" "$dir/out" | tail -40'
[ "$TEST_MODE" = all ] || { echo "skip: only with --all"; exit 77; }
make -s kernel build/user/init || exit 1
command -v qemu-system-x86_64 > /dev/null || { echo "skip: no QEMU"; exit 77; }
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
tests/vm/guest/build vgpu "$dir/vgpu" || exit 1
firmware=()
for f in bios-256k.bin pvh.bin linuxboot_dma.bin kvmvapic.bin; do
	path=$(find -L /usr/share/seabios /usr/share/qemu -name "$f" 2> /dev/null | head -1)
	[ -z "$path" ] || firmware+=(--add "$(readlink -f "$path"):/usr/share/qemu/$f")
done
cat > "$dir/script" <<'S'
u=8a0a7d2e-0b5f-4c57-9d3a-2f1f60f4a001
mkfifo /monitor
echo $u > /sys/class/mdev_bus/gpu0/mdev_supported_types/ostrom_vgpu-4/create; echo "created $?"
qemu-system-x86_64 -M q35,accel=kvm,kernel-irqchip=$1 -cpu host -m 64M -nodefaults -display none -vga none -no-reboot -serial file:/serial \
	-kernel /vgpu -append "A hold" -device isa-debugcon,iobase=0xe9,chardev=l -chardev file,id=l,path=/log \
	-device vfio-pci,sysfsdev=/sys/bus/mdev/devices/$u,display=on -monitor stdio < /monitor > /errors 2>&1 & q=$!
exec 7> /monitor
for i in $(seq 200); do grep -qs '^holding' /serial && break; sleep 1; done
flushes() { sed -n 's/flushes //p' /sys/bus/mdev/devices/$u/vendor/statistics; }
a=$(flushes); sleep 3; b=$(flushes); [ $b -gt $a ] && echo "goes on"
for shot in first second; do echo "screendump /$shot.ppm" >&7; sleep 3; echo "PICTURE $shot"; od -An -v -tx1 /$shot.ppm; echo END; done
cat /serial /log /errors /sys/bus/mdev/devices/$u/vendor/statistics
echo 1 > /sys/bus/mdev/devices/$u/remove; echo "busy $?"
kill -9 $q; wait $q; sleep 1
echo 1 > /sys/bus/mdev/devices/$u/remove; echo "removed $?"
S
for irqchip in on split; do
	timeout 400 tools/qemu-run --mem 1G --timeout 380 --append swgpu --program qemu-system-x86_64 "${firmware[@]}" --add "$dir/vgpu:/vgpu" \
		--add "$dir/script:/script" -- sh /script $irqchip > "$dir/out" 2>&1
	check "QEMU gives a virtual GPU to its guest, which draws and gets its interrupts (kernel-irqchip=$irqchip)" \
		"grep -q '^ok found' $dir/out && grep -q '^ok drawn again' $dir/out && grep -q '^holding' $dir/out && grep -q '^goes on' $dir/out"
	check "QEMU shows what its guest draws" "tests/vm/vgpu-picture $dir/out first A && tests/vm/vgpu-picture $dir/out second A"
	check "while it runs the device stays, afterwards nothing is left" "grep -q '^busy 1' $dir/out && grep -q '^removed 0' $dir/out"
done
exit $failed
