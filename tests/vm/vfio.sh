#!/bin/bash
# VFIO and mediated devices: the ABI test on the kernel's sample device (one CPU, and two with the debug kernel's checks);
# Debian's mdevctl, which lists types and starts, lists and stops a device; the device passed to guests of `ostrom vm`, one
# without a kernel that drives it, and Ostrom and Debian's Linux, which find it on their bus.
cd "$(dirname "$0")/../.." || exit 2
. tests/vm/lib/check.sh
on_failure='tail -30 "$dir/out"'
make -s kernel build/user/init build/user/ostrom-vm abi || exit 1
make -s kernel DEBUG=1 || exit 1
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
run() { timeout 100 tools/qemu-run --timeout 80 --append "$words" "$@" > "$dir/out" 2>&1; }

words='mdev_sample=1 swgpu'
run --add build/abi/vfio:/vfio -- /vfio
check "the device, its group, container, memory and interrupts" "[ \$(grep -c '^ok ' $dir/out) = 17 ] && ! grep -q '^not ok' $dir/out"
run --debug-kernel --cpus 2 --add build/abi/vfio:/vfio -- /vfio
check "the same with all checks and two CPUs" "[ \$(grep -c '^ok ' $dir/out) = 17 ] && ! grep -qE '^not ok|panic:' $dir/out"

words=mdev_sample=1
cat > "$dir/script" <<'S'
u=8a0a7d2e-0b5f-4c57-9d3a-2f1f60f4a001
mkdir -p /etc/mdevctl.d/scripts.d/callouts /etc/mdevctl.d/scripts.d/notifiers
mdevctl types
mdevctl start -u $u -p sample0 -t sample-2 && echo started
mdevctl list
mdevctl types | grep -A1 sample-1
mdevctl stop -u $u && echo stopped
mdevctl list
S
run --program mdevctl --add "$dir/script:/script" -- sh /script
check "mdevctl lists types" "grep -q '^  sample-1' $dir/out && grep -q 'Available instances: 4' $dir/out && grep -q 'Device API: vfio-pci' $dir/out"
check "mdevctl starts, lists and stops a device" "grep -q '^started' $dir/out && [ \$(grep -c '^8a0a7d2e.*sample0 sample-2' $dir/out) = 1 ] && grep -q '^stopped' $dir/out"
check "the types share what is left" "[ \$(grep -c 'Available instances: 2' $dir/out) = 2 ]"

tests/vm/guest/build sample "$dir/sample" || exit 1
strip -o "$dir/kernel" build/ostrom.elf
tools/mkinitrd "$dir/guest" --init build/user/init --busybox "$(command -v busybox || echo /bin/busybox)" --cmd sh -c 'cat /sys/bus/pci/devices/*/vendor 2> /dev/null; exit 3'
: > "$dir/vmlinux" # Debian's Linux takes its time: in the long run
[ "$TEST_MODE" != all ] || { linux=$(tools/linux-guest --fetch 2> /dev/null) && tools/extract-vmlinux "$linux"/boot/vmlinuz-* "$dir/vmlinux" && strip "$dir/vmlinux"; }
cat > "$dir/script" <<'S'
u=8a0a7d2e-0b5f-4c57-9d3a-2f1f60f4a001
vm() { /ostrom vm run --vfio $u "$@"; echo "status $?"; }
echo $u > /sys/class/mdev_bus/sample0/mdev_supported_types/sample-2/create
vm --kernel /sample --mem 16M
vm --kernel /kernel --initrd /guest --mem 64M --append 'console=ttyS0 loglevel=8'
[ -s /vmlinux ] && vm --kernel /vmlinux --initrd /guest --mem 400M
echo 1 > /sys/bus/mdev/devices/$u/remove; echo "removed $?"
S
run --mem 1500M --add build/user/ostrom-vm:/ostrom --add "$dir/sample:/sample" --add "$dir/kernel:/kernel" --add "$dir/guest:/guest" \
	--add "$dir/vmlinux:/vmlinux" --add "$dir/script:/script" -- sh /script
check "a guest drives the device: registers, its memory, interrupts by irqfd" "grep -q '^ok found' $dir/out && grep -q '^ok memory' $dir/out && grep -q '^ok interrupts' $dir/out"
found=$(grep -c '^0x1234' "$dir/out") # the bus's bridge and the device, in each guest
check "Ostrom as a guest finds it" "grep -q 'pci 00:01.0: 1234:4f53' $dir/out && [ $found -ge 2 ]"
[ ! -s "$dir/vmlinux" ] || check "Debian's Linux as a guest finds it" "[ $found = 4 ]"
check "nothing is left" "grep -q '^removed 0' $dir/out"
exit $failed
