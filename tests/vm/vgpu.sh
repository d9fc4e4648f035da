#!/bin/bash
# Virtual GPUs: `ostrom vm run --gpu`. Guests without a kernel draw, and the host reads the pixels back, at the guest's end and
# while it runs; a killed one leaves nothing (a hostile one: tests/vm/vgpu-hostile.sh);
# no submission comes to the monitor; two guests and the host share the GPU's time 1:2:1; exits of a request are
# counted; a guest alone finishes as many frames as the host does; a guest draws in 3D by virgl. In the
# long run Debian's Linux drives the device with its own driver.
cd "$(dirname "$0")/../.." || exit 2
. tests/vm/lib/check.sh
on_failure='grep -vE "^ ([0-9a-f]{2} ?)+" "$dir/out" | tail -30'
make -s kernel build/user/init build/user/ostrom-vm build/programs/gpujobs || exit 1
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
for g in vgpu frames virgl; do tests/vm/guest/build $g "$dir/$g" || exit 1; done
cat > "$dir/script" <<'S'
T=/sys/class/mdev_bus/gpu0/mdev_supported_types
free_kb() { while read -r k v rest; do [ "$k" = MemFree: ] && echo "$v"; done < /proc/meminfo; }
stat() { /ostrom vm stat "$1" | cut -d ' ' -f 4,6; cat /sys/bus/mdev/devices/*/vendor/statistics; }
picture() { echo "PICTURE $1"; od -An -v -tx1 "$2"; echo END; }
hold() { # COLOUR PERCENT: a guest that draws until it is killed; its number in $p
	: > "/log.$1" # the last one's
	/ostrom vm run --kernel /vgpu --mem 16M --gpu "$2" --append "$1 hold" > "/log.$1" 2>&1 & p=$!
	for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do grep -q '^holding' "/log.$1" && break; sleep 0.5; done
}
cat $T/*/available_instances | tr '\n' ' '; echo " before"
/ostrom vm run --kernel /vgpu --mem 16M --gpu 25% --append A --screenshot /a.ppm; echo "status $?"
picture A /a.ppm
hold B 50%; b=$p
cat $T/*/available_instances | tr '\n' ' '; echo " with one half"
/ostrom vm run --kernel /vgpu --mem 16M --gpu 75% --append C; echo "too much: $?"
stat $b > /s1; sleep 2; stat $b > /s2
echo "STAT $(head -1 /s1) $(grep requests /s1) $(head -1 /s2) $(grep requests /s2)"
/ostrom vm screenshot $b /b.ppm; picture B /b.ppm
kill -9 $b; wait $b 2> /dev/null; sleep 0.3
hold D 25%; kill -9 $p; wait $p; sleep 0.3; before=$(free_kb)
for i in 1 2 3; do hold D 25%; kill -9 $p; wait $p; sleep 0.3; done
echo "MEMORY $before $(free_kb)"
cat $T/*/available_instances | tr '\n' ' '; echo " after"
ls /sys/bus/mdev/devices | wc -l
S
timeout 110 tools/qemu-run --timeout 100 --append swgpu --add build/user/ostrom-vm:/ostrom --add "$dir/vgpu:/vgpu" \
	--add "$dir/script:/script" -- sh /script > "$dir/out" 2> "$dir/err"
tail -40 "$dir/err" >> "$dir/out.all"
right() { tests/vm/vgpu-picture "$dir/out" "$1"; }
check "the type's fractions are what is left" "grep -q '^1 16 2 4 8  before' $dir/out && grep -q '^0 8 1 2 4  with one half' $dir/out"
check "a guest draws, the host has its pixels" "grep -q '^ok drawn again' $dir/out && grep -q '^status 0' $dir/out && right A"
check "more than is left is refused" "grep -q '^too much: 1' $dir/out"
check "the pixels of a guest are right, read while it runs" "right B"
read -r e1 m1 r1 e2 m2 r2 < <(sed -n 's/^STAT \([0-9]*\) \([0-9]*\) requests \([0-9]*\) \([0-9]*\) \([0-9]*\) requests \([0-9]*\)/\1 \2 \3 \4 \5 \6/p' "$dir/out")
echo "# $((r2 - r1)) requests, $((e2 - e1)) exits, $((m2 - m1)) to the monitor"
# two, and those of the host's timer, which is fast where the emulated processor is slow
check "no request comes to the monitor, and few exits are needed for one" "[ $((r2 - r1)) -gt 50 ] && [ $((e2 - e1)) -le $(((r2 - r1) * 4)) ] && [ $((m2 - m1)) -le 2 ]"
read -r before after < <(sed -n 's/^MEMORY \([0-9]*\) \([0-9]*\)/\1 \2/p' "$dir/out")
check "killed guests leave nothing ($before KB free, then $after)" "[ $((before - after)) -lt 512 ] && grep -q '^1 16 2 4 8  after' $dir/out && tail -1 $dir/out | grep -q '^0'"

cat > "$dir/script" <<'S'
start() { # COLOUR PERCENT: its device in $d, its number in $p
	: > "/log.$1"
	/ostrom vm run --kernel /frames --mem 16M --gpu "$2" --append "$1" > "/log.$1" 2>&1 & p=$!
	for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do sleep 0.1; grep -q '^holding' "/log.$1" 2> /dev/null && break; done
	for d in /sys/bus/mdev/devices/*; do [ "$d" = "$first" ] || break; done
}
finished() { sed -n 's/finished //p' "$1/vendor/statistics"; }
exits() { /ostrom vm stat "$1" | cut -d ' ' -f 4; sed -n 's/requests //p' "$2/vendor/statistics"; }
start R 25%; a=$p first=$d
start G 50%; b=$p second=$d
gpujobs frames 4 9 3 > /host & h=$!
sleep 0.5
a1=$(finished $first) b1=$(finished $second); sleep 2; a2=$(finished $first) b2=$(finished $second)
exits $b $second > /e1; sleep 1; exits $b $second > /e2
echo EXITS $(cat /e1 /e2)
wait $h
echo "FRAMES $((a2 - a1)) $((b2 - b1)) $(cat /host)"
kill -9 $a $b; wait $a $b; sleep 0.3
alone() { # NAME: a guest that has the GPU to itself, then the host
	first=; start B 50%
	f1=$(finished $d); sleep 1; f2=$(finished $d)
	kill -9 $p; wait $p; sleep 0.3
	echo "ALONE $1 $((f2 - f1)) $(gpujobs frames 1 9 3)"
}
alone long
echo 50000 > /sys/module/swgpu/parameters/job_ns; echo 20000 > /sys/module/swgpu/parameters/draw_ns
alone short
S
timeout 200 tools/qemu-run --icount --timeout 190 --append swgpu --add build/programs/gpujobs:/bin/gpujobs --add build/user/ostrom-vm:/ostrom \
	--add "$dir/frames:/frames" --add "$dir/script:/script" -- sh /script > "$dir/out" 2>&1
read -r a b h < <(sed -n 's/^FRAMES \([0-9]*\) \([0-9]*\) \([0-9]*\)/\1 \2 \3/p' "$dir/out")
h=$((h / 2)) sum=$((a + b + h))
near() { [ $(($1 > $2 ? $1 - $2 : $2 - $1)) -le $(($2 * 3 / 100 + 1)) ]; }
echo "# finished frames in two seconds: a quarter $a, a half $b, the host $h"
check "two guests and the host get 1:2:1 of the GPU's time" "[ $sum -gt 900 ] && near $a $((sum / 4)) && near $b $((sum / 2))"

read -r e1 r1 e2 r2 < <(sed -n 's/^EXITS //p' "$dir/out")
echo "# $((r2 - r1)) requests of the second guest, $((e2 - e1)) exits"
# the guest here waits for each of its interrupts: the end of an interrupt is none, by KVM's paravirtual way
check "a request costs two exits: the doorbell and the halt" "[ $((r2 - r1)) -gt 200 ] && [ $((e2 - e1)) -le $(((r2 - r1) * 2 + 3)) ]"

for kind in long short; do
	read -r guest host < <(sed -n "s/^ALONE $kind //p" "$dir/out")
	echo "# $kind frames alone, a second: a guest $guest, the host $host"
	check "a guest alone gets 95 % of what the host gets ($kind frames)" "[ ${guest:-0} -gt 100 ] && [ $((guest * 100)) -ge $((host * 95)) ]"
done

# 3D: QEMU's GPU with virgl below, a recorded stream of the guest's above
printf 'ls /sys/class/mdev_bus\n/ostrom vm run --kernel /virgl --mem 32M --gpu 25%% --screenshot /v.ppm; echo "status $?"; od -An -v -tx1 -N 27 /v.ppm\n' > "$dir/script"
timeout 150 tools/qemu-run --gpu 3d --timeout 140 --add build/user/ostrom-vm:/ostrom --add "$dir/virgl:/virgl" --add "$dir/script:/script" -- sh /script \
	> "$dir/out" 2>&1
if grep -q '^gpu0' "$dir/out"; then
	check "two contexts of a guest draw by virgl, with right pixels" "grep -q '^ok two contexts draw' $dir/out"
	check "the host reads a texture that is shown" "grep -q '^ 50 36 0a 33 32 20 33 32 0a 32 35 35 0a 00 00 ff' $dir/out && grep -q '^ 00 00 ff 00 00 ff 00 00 ff' $dir/out"
	check "forged streams are refused" "grep -q '^ok forged streams are refused' $dir/out && grep -q '^status 0' $dir/out"
else
	echo "skipped: 3D, no driver of QEMU's GPU, or no QEMU with GL"
fi

linux=
[ "$TEST_MODE" != all ] || linux=$(tools/linux-guest --fetch 2> /dev/null)
if [ -n "$linux" ]; then
	tools/extract-vmlinux "$linux"/boot/vmlinuz-* "$dir/vmlinux" && strip "$dir/vmlinux"
	drivers=$(echo "$linux"/lib/modules/*/kernel/drivers) n=10 add=()
	for m in virtio/virtio_ring virtio/virtio virtio/virtio_pci_modern_dev virtio/virtio_pci_legacy_dev virtio/virtio_pci virtio/virtio_dma_buf \
		gpu/drm/drm gpu/drm/drm_kms_helper gpu/drm/drm_shmem_helper gpu/drm/virtio/virtio-gpu; do
		add+=(--add "$drivers/$m.ko:/m/$n.ko"); n=$((n + 1))
	done
	cat > "$dir/guest-script" <<'S'
for m in /m/*.ko; do insmod $m; done
sleep 1
cat /sys/class/graphics/fb0/name
echo "drawn by Linux's console" > /dev/tty1
sleep 1
S
	tools/mkinitrd "$dir/guest" --init build/user/init --busybox "$(command -v busybox || echo /bin/busybox)" "${add[@]}" --add "$dir/guest-script:/s" --cmd sh /s
	cat > "$dir/script" <<'S'
/ostrom vm run --kernel /vmlinux --initrd /initrd --mem 400M --gpu 12% --screenshot /p.ppm --append "console=ttyS0 quiet"; head -2 /p.ppm; tr -d '\000' < /p.ppm | head -c 200 | od -An -v -tx1
S
	timeout 400 tools/qemu-run --mem 1500M --timeout 380 --append swgpu --add build/user/ostrom-vm:/ostrom --add "$dir/vmlinux:/vmlinux" --add "$dir/guest:/initrd" \
		--add "$dir/script:/script" -- sh /script > "$dir/out" 2>&1
	check "Debian's Linux drives it with its own driver" "grep -q '^virtio_gpudrmfb' $dir/out && grep -q '^1024 768' $dir/out"
	check "the host sees its console's grey letters" "grep -q 'aa aa aa aa aa aa' $dir/out"
fi
exit $failed
