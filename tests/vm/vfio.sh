#!/bin/bash
# VFIO and mediated devices: the ABI test on the kernel's sample device (one CPU, and two with the debug kernel's checks), and
# Debian's mdevctl, which lists types and starts, lists and stops a device.
cd "$(dirname "$0")/../.." || exit 2
make -s kernel build/user/init abi || exit 1
make -s kernel DEBUG=1 || exit 1
dir=$(mktemp -d) failed=0
trap 'rm -rf "$dir"' EXIT
check() { if eval "$2"; then echo "ok $1"; else echo "not ok $1"; failed=1; tail -30 "$dir/out"; fi; }
run() { timeout 100 tools/qemu-run --timeout 80 --append mdev_sample=1 "$@" > "$dir/out" 2>&1; }

run --add build/abi/vfio:/vfio -- /vfio
check "the device, its group, container, memory and interrupts" "[ \$(grep -c '^ok ' $dir/out) = 16 ] && ! grep -q '^not ok' $dir/out"
run --debug-kernel --cpus 2 --add build/abi/vfio:/vfio -- /vfio
check "the same with all checks and two CPUs" "[ \$(grep -c '^ok ' $dir/out) = 16 ] && ! grep -qE '^not ok|panic:' $dir/out"

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
exit $failed
