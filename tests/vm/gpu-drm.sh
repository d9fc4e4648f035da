#!/bin/bash
# SPDX-License-Identifier: MIT
# The GPU of QEMU in the kernel: /dev/dri with 2D and with virgl; Debian's unmodified Mesa renders and computes through it (tests/gpu/
# gles.c, surfaceless EGL), in two control groups at once, each with its account, and a group's memory limit is GL's error.
cd "$(dirname "$0")/../.." || exit 2
. tests/vm/lib/check.sh
on_failure='tail -40 "$dir/out"'
make -s kernel build/user/init build/programs/gpujobs gpuclients || exit 1
L=/usr/lib/x86_64-linux-gnu
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT

# --add options for programs and libraries of this machine, with what they are linked to
adds() {
	for f in "$@"; do
		case $f in build/*) echo "$PWD/$f /bin/$(basename "$f")" ;; *) echo "$(readlink -f "$f") $f" ;; esac
		ldd "$f" | sed -n 's,.* \(/[^ ]*\) (0x.*,\1,p; s,^\t\(/[^ ]*\) (0x.*,\1,p' | while read -r l; do echo "$(readlink -f "$l") $l"; done
	done | sort -u | sed 's,\(.*\) \(.*\),--add \1:\2,'
}

timeout 60 tools/qemu-run --gpu 2d --timeout 50 --add build/programs/gpujobs:/bin/gpujobs -- \
	/bin/sh -c 'cat /sys/class/drm/card0/device/../uevent; ls /dev/dri; gpujobs count 1 1 || echo no 3D' > "$dir/out" 2>&1
check "a 2D device has its nodes, and says that it has no 3D" "grep -q PCI_ID=1AF4:1050 $dir/out && grep -q renderD128 $dir/out && grep -q 'no 3D' $dir/out"

if ! SDL_VIDEODRIVER=offscreen timeout 20 qemu-system-x86_64 -nodefaults -display sdl,gl=on -device virtio-gpu-gl-pci -S -monitor stdio \
	< <(sleep 2; echo quit) > "$dir/out" 2>&1; then
	echo "no GL for QEMU here"
	[ $failed = 0 ] && exit 77
	exit 1
fi
cat > "$dir/guest.sh" <<'EOF'
gpujobs pixels
gles --color 3050f0 && echo rendered
mount -t cgroup2 none /sys/fs/cgroup
cd /sys/fs/cgroup
echo +gpu > cgroup.subtree_control
mkdir a b
(echo 0 > a/cgroup.procs; gles --color ff0000 && echo a rendered) &
(echo 0 > b/cgroup.procs; gles --color 00ff00 && echo b rendered) &
wait
for g in a b; do
	[ $(sed -n 's/usage_usec //p' $g/gpu.stat) -gt 0 ] && [ $(cat $g/gpu.memory.peak) -gt 65536 ] && [ $(cat $g/gpu.memory.current) = 0 ] && echo $g charged
done
kmscube -D /dev/dri/card0 -c 10 && echo flipped
kmscube -A -D /dev/dri/card0 -c 10 > /tmp/cube 2>&1 && echo flipped atomically; sed 's/^/# atomic: /' /tmp/cube | tail -3
modetest -M virtio_gpu -a -c -p > /tmp/modes 2>&1; grep -c 'EDID:\|IN_FENCE_FD:\|MODE_ID:' /tmp/modes | sed 's/^/properties: /'
modetest -M virtio_gpu -a -s 34@32:1024x768 -P 31@32:1024x768 < /dev/null > /tmp/mode 2>&1; echo "modetest $? $(grep -v gamma /tmp/mode | grep -c -i fail)"; sed 's/^/# /' /tmp/mode
echo "eglinfo $(eglinfo -B 2> /dev/null | grep -c '^EGL driver name: virtio_gpu')"
if command -v glmark2-es2-drm > /dev/null; then
	timeout 60 glmark2-es2-drm --validate -b build:use-vbo=true > /tmp/mark 2>&1
	echo "glmark2 $? $(grep -c 'Validation: Success' /tmp/mark) $(grep -c 'Validation: Failure' /tmp/mark) $(grep -c 'GL_RENDERER: *virgl' /tmp/mark)"; sed 's/^/# /' /tmp/mark | tail -4
	# Of these it knows what a pixel is in a window of 800x600, but on a card it takes the largest mode: software must say the same
	for b in texture shading:shading=phong; do
		for software in 0 1; do
			GBM_ALWAYS_SOFTWARE=$software timeout 80 glmark2-es2-drm --debug --validate -b $b 2>&1 | grep -o 'Actual: 0x[0-9a-f]*\|GL_RENDERER: *[a-z]*' > /tmp/pixel.$software
		done
		grep -q virgl /tmp/pixel.0 && grep -q llvmpipe /tmp/pixel.1 && [ "$(grep Actual /tmp/pixel.0)" = "$(grep Actual /tmp/pixel.1)" ] && echo "as in software: $b $(grep Actual /tmp/pixel.0)"
	done
fi
gles --loops 300 | tail -1; gles --loops 5000 | tail -1 # the second one asks for more than anyone may
gles --loops 30 | tail -1
echo 24M > a/gpu.memory.max
(echo 0 > a/cgroup.procs; gles --hog 64)
EOF
mark=()
[ ! -d /usr/share/glmark2 ] || mark=(--add /usr/share/glmark2:/usr/share/glmark2)
# shellcheck disable=SC2046
timeout 380 tools/qemu-run --gpu 3d --mem 1G --timeout 360 "${mark[@]}" $(adds build/gpu/gles /usr/bin/kmscube $(command -v modetest eglinfo glmark2-es2-drm) $L/libEGL_mesa.so.0 $L/libEGL.so.1 $L/dri/{virtio_gpu,kms_swrast}_dri.so) \
	--add /usr/share/glvnd/egl_vendor.d/50_mesa.json:/usr/share/glvnd/egl_vendor.d/50_mesa.json \
	--add build/programs/gpujobs:/bin/gpujobs --add "$dir/guest.sh:/guest.sh" -- /bin/sh /guest.sh > "$dir/out" 2>&1
check "what is sent to the GPU comes back" "grep -qx same $dir/out"
check "Mesa finds virgl" "grep -q '^# virgl' $dir/out"
check "a triangle and a compute shader are right" "grep -qx rendered $dir/out && [ \$(grep -c '^ok triangle' $dir/out) -ge 3 ] && [ \$(grep -c '^ok compute' $dir/out) -ge 3 ]"
check "kmscube flips pages on the card" "grep -qx flipped $dir/out && grep -q 'Rendered 9 frames' $dir/out"
check "and by the atomic interface, with fences" "grep -qx 'flipped atomically' $dir/out && [ \$(grep -c 'Rendered 9 frames' $dir/out) = 2 ]"
check "modetest finds properties and EDID, and sets mode and plane together" "grep -qx 'properties: 3' $dir/out && grep -qx 'modetest 0 0' $dir/out"
check "eglinfo finds the driver by gbm, and without a surface" "grep -qx 'eglinfo [2-9]' $dir/out"
! command -v glmark2-es2-drm > /dev/null || check "glmark2 draws on the card by KMS, and its pixels are valid" "grep -qx 'glmark2 0 1 0 1' $dir/out"
! command -v glmark2-es2-drm > /dev/null || check "its textures and lights are those of the same Mesa in software" "[ \$(grep -c '^as in software: .*Actual: 0x' $dir/out) = 2 ]"
check "a loop that a uniform bounds is right, one too long is refused and harms nobody" "[ \$(grep -cx 'ok loops' $dir/out) = 2 ] && grep -q '^not ok loops' $dir/out"
check "two groups at once" "grep -qx 'a rendered' $dir/out && grep -qx 'b rendered' $dir/out"
check "each has its account, empty at the end" "grep -qx 'a charged' $dir/out && grep -qx 'b charged' $dir/out"
hog=$(sed -n 's/^hog \([0-9]*\) MiB.*/\1/p' "$dir/out")
check "a limit of memory is GL's error ($hog MiB in 24)" "[ ${hog:-0} -ge 4 ] && [ ${hog:-0} -lt 24 ]"
exit $failed
