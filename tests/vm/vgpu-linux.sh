#!/bin/bash
# SPDX-License-Identifier: MIT
# For the long run: Debian's Linux with Debian's Mesa in two virtual machines and a program of the host, all three on one GPU by
# virgl at once. Each draws a triangle, computes and compares every pixel and number; the host reads what the guests show; what each
# got of the GPU is reported (QEMU's GPU works in its main loop, so its shares are shown, not judged: tests/vm/vgpu.sh judges them on the
# software GPU). PICTURE=FILE.png keeps the three pictures, each over its part. Then a GStreamer pipeline in one guest: upload, convert, scale
# and download by GL, encoded by x264; the host makes the same film. VGPU_PARTS="share film" says which of the two run.
cd "$(dirname "$0")/../.." || exit 2
. tests/vm/lib/check.sh
on_failure='grep -vE "^ ([0-9a-f]{2} ?)+" "$dir/out" | tail -60'
parts=${VGPU_PARTS:-share film}
[ "$TEST_MODE" = all ] || { echo "skip: only with --all"; exit 77; }
make -s kernel build/user/init build/user/ostrom-vm gpuclients || exit 1
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
linux=$(tools/linux-guest --fetch 2> /dev/null) || { echo "skip: no kernel of Debian's to be had"; exit 77; }
L=/usr/lib/x86_64-linux-gnu

# --add options for files of this machine, with what they are linked to
adds() {
	for f in "$@"; do
		case $f in build/*) echo "$PWD/$f /bin/$(basename "$f")" ;; *) echo "$(readlink -f "$f") $f" ;; esac
		ldd "$f" | sed -n 's,.* \(/[^ ]*\) (0x.*,\1,p; s,^\t\(/[^ ]*\) (0x.*,\1,p' | while read -r l; do echo "$(readlink -f "$l") $l"; done
	done | sort -u | sed 's,\(.*\) \(.*\),--add \1:\2,'
}
# shellcheck disable=SC2046
mesa=($(adds build/gpu/gles $L/libEGL_mesa.so.0 $L/libEGL.so.1 $L/libGLESv2.so.2 $L/dri/virtio_gpu_dri.so)
	--add /usr/share/glvnd/egl_vendor.d/50_mesa.json:/usr/share/glvnd/egl_vendor.d/50_mesa.json)
film=()
case $parts in *film*)
	if command -v gst-launch-1.0 > /dev/null && [ -e $L/gstreamer-1.0/libgstx264.so ] && [ -e $L/gstreamer-1.0/libgstopengl.so ]; then
		# shellcheck disable=SC2046
		film=($(adds "$(command -v gst-launch-1.0)" $L/gstreamer-1.0/libgst{coreelements,videotestsrc,videoconvertscale,opengl,x264}.so))
	else
		parts=${parts%film}
	fi ;;
esac
tools/extract-vmlinux "$linux"/boot/vmlinuz-* "$dir/vmlinux" && strip "$dir/vmlinux"
drivers=$(echo "$linux"/lib/modules/*/kernel/drivers) n=10 modules=()
for m in virtio/virtio_ring virtio/virtio virtio/virtio_pci_modern_dev virtio/virtio_pci_legacy_dev virtio/virtio_pci virtio/virtio_dma_buf \
	gpu/drm/drm gpu/drm/drm_kms_helper gpu/drm/drm_shmem_helper gpu/drm/virtio/virtio-gpu; do
	modules+=(--add "$drivers/$m.ko:/m/$n.ko"); n=$((n + 1))
done
cat > "$dir/film" <<'S'
export GST_PLUGIN_SYSTEM_PATH=/usr/lib/x86_64-linux-gnu/gstreamer-1.0 GST_GL_PLATFORM=egl GST_GL_WINDOW=egl-device GST_GL_API=gles2 GST_REGISTRY_FORK=no HOME=/tmp
gst-launch-1.0 -q videotestsrc num-buffers=12 ! video/x-raw,width=320,height=240,framerate=30/1 ! glupload ! glcolorconvert ! glcolorscale ! \
	"video/x-raw(memory:GLMemory),width=160,height=120" ! glcolorconvert ! gldownload ! video/x-raw,format=RGBA ! videoconvert ! \
	x264enc threads=1 ! video/x-h264,stream-format=byte-stream ! filesink location=/tmp/film > /dev/null
echo "film $? $(stat -c %s /tmp/film) $(md5sum < /tmp/film)"
S
# The guest does what the words on its serial line say.
cat > "$dir/guest-script" <<'S'
for m in /m/*.ko; do insmod $m; done
for w in $(cat /proc/cmdline); do case $w in color=*) color=${w#color=} ;; esac; done
mkdir -p /tmp; cat /sys/class/graphics/fb0/name
alone() { gles --seconds 8 "$@" | sed -n "s/^frames\|^dispatches/$color: alone &/p; s/^not ok/guest: &/p"; }
echo "$color: ready"
while read -r word < /dev/ttyS0; do
	case $word in
	alone) gles --color $color | sed 's/^/guest: /'; alone --load 400; alone --load 1 --size 64; alone --loops 300 ;;
	share) gles --color $color --seconds 45 --load 100 --async --scene --fb /dev/fb0 | sed 's/^/guest: /' ;;
	film) sh /film ;;
	esac
	echo "$color: ends $word"
done
S
tools/mkinitrd "$dir/guest" --init build/user/init --busybox "$(command -v busybox || echo /bin/busybox)" "${mesa[@]}" "${film[@]}" "${modules[@]}" \
	--add "$dir/film:/film" --add "$dir/guest-script:/s" --cmd sh /s
cat > "$dir/script" <<'S'
mount -t cgroup2 none /sys/fs/cgroup; cd /sys/fs/cgroup; echo +gpu > cgroup.subtree_control; mkdir red green host
start() { # GROUP COLOUR PERCENT INPUT: its number in $p
	(echo 0 > $1/cgroup.procs; exec /ostrom vm run --kernel /vmlinux --initrd /initrd --mem 1000M --gpu "$3" --append "console=ttyS0 quiet color=$2") < $4 > /log.$1 2>&1 & p=$!
}
until_says() { # SECONDS WHAT LOG
	for i in $(seq $1); do grep -q "$2" $3 && return; sleep 1; done; echo "never said: $2"; tail -5 $3
}
usage() { for c in red green host; do sed -n 's/usage_usec //p' $c/gpu.stat; done; }
mkfifo /in.red /in.green; exec 7<> /in.red 8<> /in.green
: > /log.red; : > /log.green; tail -f /log.red /log.green & t=$!
start red e05030 25% /in.red; r=$p; until_says 300 'e05030: ready' /log.red
share() {
	for o in "--load 400" "--load 1 --size 64" "--loops 300"; do gles --seconds 8 $o | sed -n 's/^frames\|^dispatches/host: alone &/p'; done
	echo alone >&7; until_says 300 'e05030: ends alone' /log.red
	start green 30a050 50% /in.green; g=$p; until_says 300 '30a050: ready' /log.green
	echo alone >&8; until_says 300 '30a050: ends alone' /log.green
	echo share >&7; echo share >&8
	(echo 0 > host/cgroup.procs; exec gles --color 3070e0 --seconds 40 --load 100 --async --scene --ppm /host.ppm) > /log.host 2>&1 & h=$!
	sleep 10; u1=$(usage); sleep 20; u2=$(usage)
	echo "USAGE" $u1 $u2
	wait $h; echo "host $?"
	until_says 200 'e05030: ends share' /log.red; until_says 200 '30a050: ends share' /log.green
	cat /log.host
	/ostrom vm screenshot $r /0.ppm && /ostrom vm screenshot $g /1.ppm; mv /host.ppm /2.ppm
	for i in 0 1 2; do dd if=/$i.ppm of=/dev/vda bs=4M seek=$i 2> /dev/null; done; sync
	kill -9 $g
}
film() {
	echo "host: $(sh /film)"
	echo film >&7; until_says 400 'e05030: ends film' /log.red
}
for part in "$@"; do $part; done
sleep 2; kill $t
kill -9 $r
S
# shellcheck disable=SC2086
truncate -s 16M "$dir/pictures"
timeout 1500 tools/qemu-run --gpu 3d --disk "$dir/pictures" --mem 4G --timeout 1480 "${mesa[@]}" "${film[@]}" --add "$dir/film:/film" --add build/user/ostrom-vm:/ostrom --add "$dir/vmlinux:/vmlinux" \
	--add "$dir/guest:/initrd" --add "$dir/script:/script" -- sh /script $parts > "$dir/out" 2> "$dir/err"
case $parts in *film*)
	made=$(sed -n 's/^host: \(film 0 [1-9][0-9][0-9].*\)/\1/p' "$dir/out")
	check "GStreamer's pipeline by GL runs on the host and in a guest, and makes the same film" "[ -n '$made' ] && grep -q '^$made' $dir/out" ;;
esac
case $parts in *share*) ;; *) exit $failed ;; esac
check "Debian's Linux drives it in two guests" "[ \$(grep -c '^virtio_gpudrmfb' $dir/out) = 2 ]"
check "Mesa in the guests is on virgl" "[ \$(grep -c '^guest: # virgl' $dir/out) = 4 ]"
awk '/ alone / { print "# " $3 " a second, alone: " $1, $4 / $6 }' "$dir/out"
check "triangles and compute shaders of both are right" "! grep -q 'not ok' $dir/out && [ \$(grep -c '^guest: ok triangle' $dir/out) -ge 4 ] && [ \$(grep -c '^guest: ok compute' $dir/out) = 4 ]"
check "and those of the host's program beside them" "grep -q '^host 0' $dir/out && grep -q '^ok triangle' $dir/out && grep -q '^ok compute' $dir/out"
read -r r1 g1 h1 r2 g2 h2 < <(sed -n 's/^USAGE //p' "$dir/out")
echo "# of the GPU's time, ms in 20 s: guest of 25 % $(((r2 - r1) / 1000)), guest of 50 % $(((g2 - g1) / 1000)), host $(((h2 - h1) / 1000))"
check "all three were on the GPU at the same time" "[ $((r2 - r1)) -gt 100000 ] && [ $((g2 - g1)) -gt 100000 ] && [ $((h2 - h1)) -gt 100000 ]"
if [ -n "$PICTURE" ]; then
	python3 - "$dir/pictures" "$dir" << 'P'
import sys
for n in range(3):  # the upper left corner, where gles draws
    with open(sys.argv[1], "rb") as f:
        f.seek(n << 22)
        magic, (w, h), _ = f.readline(), map(int, f.readline().split()), f.readline()
        rows = [f.read(3 * w)[:768] for _ in range(256)]
    with open(f"{sys.argv[2]}/{n}.ppm", "wb") as f:
        f.write(b"P6\n256 256\n255\n" + b"".join(rows))
P
	total=$((r2 - r1 + g2 - g1 + h2 - h1))
	part() { awk -v a="$1" -v b="$total" 'BEGIN { print a / b }'; }
	tools/ppm-panel "$PICTURE" "$dir/0.ppm=$(part $((r2 - r1))):#e05030" "$dir/1.ppm=$(part $((g2 - g1))):#30a050" "$dir/2.ppm=$(part $((h2 - h1))):#3070e0"
fi
exit $failed
