#!/bin/bash
# SPDX-License-Identifier: MIT
# Virtual machines as tenants of `ostrom gpu`, by QEMU's vhost-user-gpu. First tests/gpu/machine.c is QEMU and guest at once: pixels of
# 2D and of virgl, pause, reboot, forged memory, rings and requests. Then the real ones: Debian's kernel in QEMU, its unmodified
# driver and Mesa, in the machine that QEMU gives it. Debian 12's QEMU takes this device only with KVM: there the long run
# (TEST_MODE=all) has a Debian in which QEMU runs with KVM, nested; a QEMU from 8.1 on is used directly.
cd "$(dirname "$0")/../.." || exit 2
. tests/vm/lib/check.sh
make -s user gpuclients || exit 1
L=/usr/lib/x86_64-linux-gnu
[ -e $L/libvirglrenderer.so.1 ] || { echo "skip: no virglrenderer"; exit 77; }
dir=$(mktemp -d)
ostrom() { timeout 100 build/user/ostrom gpu "$1" --dir "$dir" "${@:2}"; }
field() { ostrom list --json | sed -n 's/.*"name":"'"$1"'".*"'"$2"'":\([0-9]*\).*/\1/p'; }
timeout 900 build/user/ostrom gpu serve --dir "$dir" --verbose 2> "$dir/server.log" &
server=$!
trap 'kill $server 2> /dev/null; wait $server 2> /dev/null; rm -rf "$dir"' EXIT
for _ in $(seq 100); do [ -S "$dir/control" ] && break; sleep 0.05; done
ostrom create vm memory=64M > /dev/null

timeout 100 build/gpu/machine "$dir/machines/vm" pixels; check "pixels of a machine" "[ $? = 0 ]"
timeout 100 build/gpu/machine "$dir/machines/vm" forged; check "a forged machine" "[ $? = 0 ]"
timeout 300 build/gpu/machine "$dir/machines/vm" random "${GPU_REQUESTS:-20000}" "${GPU_SEED:-1}"; check "random requests" "[ $? = 0 ]"
for _ in $(seq 50); do [ "$(field vm clients)" = 0 ] && [ "$(field vm memory_bytes)" = 0 ] && break; sleep 0.1; done
check "the account is empty in the end" "[ $(field vm memory_bytes) = 0 ] && [ $(field vm resources) = 0 ] && [ $(field vm contexts) = 0 ]"
check "it never had more than its limit" "[ $(field vm memory_peak_bytes) -le $((64 << 20)) ]"
check "the broker lives" "kill -0 $server"

with_libs() { for f in "$@"; do echo "$f"; ldd "$f" | grep -o '/[^ ]*'; done | sort -u | sed 's,.*,-f &:&,'; }
mesa() { with_libs $L/libEGL_mesa.so.0 $L/libEGL.so.1 $L/libGLESv2.so.2 $L/dri/virtio_gpu_dri.so; echo "-f /usr/share/glvnd/egl_vendor.d/50_mesa.json:/usr/share/glvnd/egl_vendor.d/50_mesa.json"; }
machine="-object memory-backend-memfd,id=mem,size=768M,share=on -machine memory-backend=mem -chardev socket,id=vg,path=$dir/machines/vm -device vhost-user-gpu-pci,chardev=vg"
guest='ls /dev/dri; gles --color 3050f0 && echo rendered; gles --frames 50 --size 64 --load 10; kmscube -D /dev/dri/card0 -c 10 && echo flipped; dmesg | grep "cap set"'
judge() {
	check "the guest's driver finds virgl" "grep -q 'cap set 1: id 2' $1"
	check "Debian's Mesa renders and computes in the machine" "grep -qx rendered $1 && grep -q '^# virgl' $1 && grep -q '^ok triangle' $1 && grep -q '^ok compute' $1"
}
# Debian's QEMU with KVM inside Debian's kernel on emulated SVM: ostrom, QEMU and the guest as on a stock machine.
nested() {
	local linux qemu=$L/qemu f
	linux=$(tools/linux-guest --fetch) || return 77
	# shellcheck disable=SC2046
	tools/linux-guest -o "$dir/initrd" -m virtio_pci -m virtio_gpu -b build/gpu/gles -b kmscube $(mesa) -- "$guest" || return 1
	cat > "$dir/host" <<-END
		grep -c svm /proc/cpuinfo; ls /dev/kvm
		OSTROM_WHY=1 ostrom gpu serve --dir /run/g --verbose --hang-ms 300000 2> /run/server.log &
		while ! [ -S /run/g/control ]; do sleep 0.2; done
		ostrom gpu create --dir /run/g vm share=50% memory=256M
		QEMU_MODULE_DIR=$qemu qemu-system-x86_64 -L /usr/share/qemu -accel kvm,kernel-irqchip=split -cpu host -M q35 -m 768M -nodefaults -display none -no-reboot \\
			${machine//"$dir"//run/g} -kernel /vmlinuz -initrd /initrd2 -append "console=ttyS0 quiet no_timer_check panic=-1 random.trust_cpu=on" \\
			-serial file:/run/console -serial file:/run/out -device isa-debug-exit
		cat /run/out; tail -5 /run/console; ostrom gpu list --dir /run/g; cat /run/server.log
	END
	local files=(-f "$(echo "$linux"/boot/vmlinuz-*):/vmlinuz" -f "$dir/initrd:/initrd2")
	for f in "$qemu"/hw-display-virtio-gpu*.so /usr/share/seabios/bios-256k.bin /usr/share/qemu/kvmvapic.bin /usr/share/qemu/linuxboot_dma.bin; do
		[ ! -e "$f" ] || files+=(-f "$f:$(case $f in *.so) echo "$f" ;; *) echo "/usr/share/qemu/${f##*/}" ;; esac)")
	done
	# shellcheck disable=SC2046
	timeout 900 tools/linux-guest -t 880 -M 4G -m kvm_amd -q "-cpu max,+svm,+npt" -b build/user/ostrom -b qemu-system-x86_64 "${files[@]}" \
		$(with_libs $L/libvirglrenderer.so.1 $L/libEGL_mesa.so.0 $L/libEGL.so.1 $L/libGL.so.1 $L/libGLESv2.so.2 $L/dri/swrast_dri.so) \
		-f /usr/share/glvnd/egl_vendor.d/50_mesa.json:/usr/share/glvnd/egl_vendor.d/50_mesa.json -- "$(cat "$dir/host")"
}
if echo quit | timeout 20 qemu-system-x86_64 -nodefaults -display none -S -monitor stdio ${machine//768M/16M} -m 16M > "$dir/probe" 2>&1 && ! grep -q 'requires kvm' "$dir/probe"; then
	ostrom set vm memory=256M > /dev/null
	# shellcheck disable=SC2046
	timeout 150 tools/linux-guest -t 140 -M 768M -m virtio_pci -m virtio_gpu -b build/gpu/gles -b kmscube $(mesa) -q "$machine" -- "$guest" > "$dir/out" 2>&1
	cat "$dir/out"
	judge "$dir/out"
elif [ "$TEST_MODE" = all ]; then
	nested > "$dir/out" 2>&1
	cat "$dir/out"
	judge "$dir/out"
fi
exit $failed
