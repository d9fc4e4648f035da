#!/bin/bash
# SPDX-License-Identifier: MIT
# A hostile guest (tests/vm/guest/hostile.c) beside one that draws, each with its virtual GPU on the software GPU (VGPU_ON=virgl: on QEMU's,
# whose renderer then runs what is admitted): every forged request,
# then VGPU_FORGED of them at random (100 thousand), half of them command streams, from VGPU_SEED on (1). All are answered, the device
# lives, the neighbour's pixels are right meanwhile and afterwards, no memory is lost; the host looks at the hostile one's picture, too. VGPU_SECONDS: until it counts as hung. The long run, in parts:
#	for seed in $(seq 10); do VGPU_FORGED=1000000 VGPU_SEED=$seed tests/vm/vgpu-hostile.sh; done
cd "$(dirname "$0")/../.." || exit 2
. tests/vm/lib/check.sh
on_failure='grep -vE "^ ([0-9a-f]{2} ?)+" "$dir/out" | tail -30'
make -s kernel build/user/init build/user/ostrom-vm || exit 1
dir=$(mktemp -d) forged=${VGPU_FORGED:-100000} seed=${VGPU_SEED:-1}
limit=${VGPU_SECONDS:-$((120 + forged / 1000))} # on a busy machine more
trap 'rm -rf "$dir"' EXIT
for g in vgpu hostile; do tests/vm/guest/build $g "$dir/$g" || exit 1; done
cat > "$dir/script" <<'S'
for p in job draw other; do echo 0 > /sys/module/swgpu/parameters/${p}_ns; done 2> /dev/null
free_kb() { while read -r k v rest; do [ "$k" = MemFree: ] && echo "$v"; done < /proc/meminfo; }
picture() { /ostrom vm screenshot $good /$1.ppm; echo "PICTURE $1"; od -An -v -tx1 /$1.ppm; echo END; }
/ostrom vm run --kernel /vgpu --mem 16M --gpu 50% --append "B hold" > /log & good=$!
for i in $(seq 60); do grep -q '^holding' /log && break; sleep 0.5; done
/ostrom vm run --kernel /hostile --mem 32M --gpu 25% --append "31 9" > /dev/null
before=$(free_kb)
/ostrom vm run --kernel /hostile --mem 32M --gpu 25% --append "$1 $2" & bad=$!
sleep 3; picture DURING
while kill -0 $bad 2> /dev/null; do /ostrom vm screenshot $bad /bad.ppm 2> /dev/null; sleep 1; done # whatever it shows
wait $bad; echo "hostile $?"; sleep 0.5
echo "MEMORY $before $(free_kb)"
picture AFTER
flushes() { cat /sys/bus/mdev/devices/*/vendor/statistics | sed -n 's/flushes //p'; }
a=$(flushes); sleep 1; [ "$(flushes)" -gt "$a" ] && echo "the neighbour goes on"
kill -9 $good
S
case ${VGPU_ON:-swgpu} in swgpu) gpu=(--append swgpu) ;; *) gpu=(--gpu 3d) ;; esac
timeout $((limit + 20)) tools/qemu-run --timeout $limit "${gpu[@]}" --add build/user/ostrom-vm:/ostrom --add "$dir/vgpu:/vgpu" --add "$dir/hostile:/hostile" \
	--add "$dir/script:/script" -- sh /script "$forged" "$seed" > "$dir/out" 2> "$dir/err"
right() { tests/vm/vgpu-picture "$dir/out" "$1" B; }
check "a hostile guest is answered, stopped and goes on after a reset" "grep -q '^ok $forged requests at random' $dir/out && grep -q '^hostile 0' $dir/out"
check "the neighbour's pixels are right, meanwhile and afterwards" "right DURING && right AFTER"
check "the neighbour goes on" "grep -q '^the neighbour goes on' $dir/out"
read -r before after < <(sed -n 's/^MEMORY \([0-9]*\) \([0-9]*\)/\1 \2/p' "$dir/out")
check "it leaves nothing ($before KB free, then $after)" "[ $((before - after)) -lt 512 ]"
check "the kernel has no complaint" "! grep -qE 'panic:|BUG:|gpu0: (dead|a job)' $dir/err"
exit $failed
