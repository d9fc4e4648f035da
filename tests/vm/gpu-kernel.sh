#!/bin/bash
# SPDX-License-Identifier: MIT
# One GPU shared by control groups, in the kernel: shares, caps, guarantees, live changes, nested groups, exact memory, pictures, a hang and
# its reset, on the software GPU under icount, by finished frames. The client (tests/programs/gpujobs.c) speaks DRM alone.
set -eu
cd "$(dirname "$0")/../.."
make -s kernel build/user/init build/programs/gpujobs
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
cat > "$tmp/guest.sh" <<'EOF'
fail() { echo "not ok $*"; exit 1; }
near() { # name got want: within 3 % of want
	[ $(( ($2 > $3 ? $2 - $3 : $3 - $2) * 100 )) -le $(( $3 * 3 )) ] || fail "$1: $2 frames, $3 expected"
	echo "ok $1: $2 of $3"
}
P=/sys/module/swgpu/parameters
C=/sys/fs/cgroup
mount -t cgroup2 none $C
cd $C
echo +gpu > cgroup.subtree_control
group() { mkdir -p $1; }
# seconds draws in-flight group...: all at once; finished frames go to /tmp/GROUP
render() {
	s=$1 d=$2 n=$3; shift 3
	for g in "$@"; do
		(echo 0 > $g/cgroup.procs; gpujobs frames $s $d $n > /tmp/$(basename $g)) &
	done
	wait
}
got() { cat /tmp/$1; }
sum() { t=0; for g in "$@"; do t=$((t + $(got $g))); done; echo $t; }

[ "$(gpujobs pixels)" = same ] || fail "pixels"
[ "$(gpujobs display)" = shown ] || fail "display"
grep -q none $P/scanout || fail "a picture without its program"
# who runs far ahead of the device waits for it, and loses nothing
[ "$(gpujobs flood 5000 1)" = 5000 ] || fail "a flood"
for g in a b c d e f g h; do group $g; done

# weights 1:2:4, three frames in flight each (9 draws: 1.9 ms a frame)
echo 200 > b/gpu.weight; echo 400 > c/gpu.weight
render 4 9 3 a b c
t=$(sum a b c)
near "weight 100" $(got a) $((t / 7)); near "weight 200" $(got b) $((t * 2 / 7)); near "weight 400" $(got c) $((t * 4 / 7))
[ $t -ge 2000 ] || fail "the device idles: $t frames of 2100"

# frames of very different size count by time: four draws against forty
(echo 0 > a/cgroup.procs; gpujobs frames 4 4 3 > /tmp/a) & (echo 0 > d/cgroup.procs; gpujobs frames 4 40 3 > /tmp/d) & wait
near "small frames" $(( $(got a) * 14 )) $(( $(got d) * 50 ))

# eight groups, 1:2:4 and the rest alike, one frame at a time
render 5 9 1 a b c d e f g h
t=$(sum a b c d e f g h)
near "of eight, 100" $(got e) $((t / 12)); near "of eight, 200" $(got b) $((t * 2 / 12)); near "of eight, 400" $(got c) $((t * 4 / 12))

# a cap, on a device that nobody else wants; a guarantee against a weight of a hundred times
echo 25 > d/gpu.max
render 4 9 3 d
[ $(got d) -le $((4000 * 25 / 100 * 10 / 19 + 35)) ] || fail "cap of 25 %: $(got d) frames"
[ $(got d) -ge $((4000 * 25 / 100 * 10 / 19 * 95 / 100)) ] || fail "cap of 25 %: only $(got d) frames"
[ $(sed -n 's/throttled_usec //p' d/gpu.stat) -gt 1000000 ] || fail "gpu.stat does not know the cap"
echo max > d/gpu.max; [ "$(cat d/gpu.max)" = max ] || fail "gpu.max"
echo 40 > e/gpu.min; echo 10000 > f/gpu.weight; echo 1 > e/gpu.weight
render 4 9 3 e f
t=$(sum e f)
near "guarantee of 40 %" $(got e) $((t * 40 / 100))
echo 61 > f/gpu.min 2>/dev/null && fail "guarantees of 101 %"
echo 60.0001% > f/gpu.min 2>/dev/null && fail "guarantees of 100.0001 %"
echo 101 > f/gpu.max 2>/dev/null && fail "gpu.max 101"
echo 0 > f/gpu.weight 2>/dev/null && fail "gpu.weight 0"
echo 0 > e/gpu.min; echo 100 > e/gpu.weight; echo 100 > f/gpu.weight

# a change while they run: 1:1 for two seconds, then 1:3; each waits while the other is served
lost() { sed -n "s/^$2 .*total=//p" $1; }
for g in e f g; do lost $g/gpu.pressure some > /tmp/p$g; done # measuring begins when somebody looks
some=$(lost /proc/pressure/gpu some) full=$(lost /proc/pressure/gpu full)
(sleep 2; echo 300 > f/gpu.weight) &
render 4 9 3 e f
t=$(sum e f)
near "changed at run time" $(got e) $((t * 3 / 8))
waited() { echo $(( ($(lost $1/gpu.pressure ${2:-some}) - $(cat /tmp/p$1)) / 1000 )); }
near "pressure in ms, 1/2 and then 3/4 of the time" $(waited e) 2500; near "the other's, 1/2 and 1/4" $(waited f) 1500
[ $(waited e full) = $(waited e) ] && [ $(waited g) = 0 ] || fail "pressure: $(cat e/gpu.pressure g/gpu.pressure)"
near "the machine's: somebody waits" $(( ($(lost /proc/pressure/gpu some) - some) / 1000 )) 4000
[ $(( $(lost /proc/pressure/gpu full) - full )) -lt 100000 ] || fail "nobody is served: $(cat /proc/pressure/gpu)"
echo 100 > f/gpu.weight

# groups in a group: two children share what their parent gets; its cap holds for both
echo +gpu > g/cgroup.subtree_control; group g/x; group g/y
render 4 9 3 g/x g/y h
t=$(sum x y h)
near "child" $(got x) $((t / 4)); near "the other child" $(got y) $((t / 4)); near "beside their parent" $(got h) $((t / 2))
echo 30 > g/gpu.max
render 4 9 3 g/x g/y
[ $(sum x y) -le $((4000 * 30 / 100 * 10 / 19 + 70)) ] || fail "cap of a parent: $(sum x y) frames"
echo "ok caps, guarantees, groups"

# memory: exact to the byte; the limit of one is nobody else's; freed with its owner, however it dies
echo 64M > a/gpu.memory.max
m=$( (echo 0 > a/cgroup.procs; gpujobs memory 200000000 8388608) )
[ $m = 67108864 ] || fail "memory: $m"
[ $(cat a/gpu.memory.current) = 0 ] && [ $(cat a/gpu.memory.peak) = 67108864 ] || fail "memory after"
grep -q 'max 1' a/gpu.memory.events || fail "gpu.memory.events"
mkfifo /tmp/in
(echo 0 > a/cgroup.procs; exec gpujobs hold 33554432 < /tmp/in > /tmp/held) &
pid=$!
exec 9> /tmp/in
until grep -q held /tmp/held; do sleep 0.1; done
[ $(cat a/gpu.memory.current) = 33554432 ] || fail "held: $(cat a/gpu.memory.current)"
m=$( (echo 0 > b/cgroup.procs; gpujobs memory 67108864 8388608) )
[ $m = 67108864 ] || fail "another's memory: $m"
kill -9 $pid; wait $pid 2>/dev/null || true
[ $(cat a/gpu.memory.current) = 0 ] || fail "memory of the dead: $(cat a/gpu.memory.current)"
exec 9>&-
echo 16777216 > $P/memory # the device itself is small now
m=$(gpujobs memory 67108864 8388608)
[ $m = 16777216 ] || fail "device memory: $m"
echo 268435456 > $P/memory
echo "ok memory"

# a hang: its client is lost, all others finish, at the cost of the timeout
cp /bin/gpujobs /tmp/hanger
cp /bin/gpujobs /tmp/failer
echo hanger > $P/hang
used() { sed -n 's/usage_usec //p' a/gpu.stat; }
before=$(used)
(echo 0 > b/cgroup.procs; gpujobs count 200 9 > /tmp/b 2>&1; echo $? >> /tmp/b) &
(echo 0 > a/cgroup.procs; gpujobs count 200 9 > /tmp/aa 2>&1; echo $? >> /tmp/aa) & # of the same group
(echo 0 > a/cgroup.procs; /tmp/hanger count 3 9 > /tmp/a 2>&1; echo $? >> /tmp/a) &
wait
[ "$(tail -1 /tmp/a)" = 1 ] || fail "the hung one: $(cat /tmp/a)"
[ "$(cat /tmp/b)" = "200
0" ] || fail "beside the hung one: $(cat /tmp/b)"
[ "$(cat /tmp/aa)" = "200
0" ] || fail "in the group of the hung one: $(cat /tmp/aa)"
grep -q 'hangs 1' a/gpu.stat || fail "gpu.stat: $(cat a/gpu.stat)"
[ $(($(used) - before)) -gt 2000000 ] || fail "the hang costs nothing"
T=/sys/kernel/tracing
for e in job_start job_done hang; do echo 1 > $T/events/gpu/gpu_$e/enable; done
/tmp/hanger count 1 7 > /tmp/a 2>&1 || true
grep -q 'gpu_job_start: gpu0 hanger tenant=1 type=0x207 draws=7' $T/trace && grep -q 'gpu_hang: gpu0 hanger' $T/trace || fail "tracepoints"
echo > $P/hang
gpujobs count 1 10 > /tmp/a
grep -q 'gpu_job_done: gpu0 gpujobs tenant=1 type=0x207 error=0 busy_ns=2000000' $T/trace || fail "tracepoint of the end"
for e in job_start job_done hang; do echo 0 > $T/events/gpu/gpu_$e/enable; done
echo failer > $P/fail
/tmp/failer count 3 9 > /tmp/a && fail "a failing device"
gpujobs count 3 9 > /tmp/a || fail "after a failed job"
echo "ok hang"
[ $(cat $C/a/gpu.memory.current) = 0 ] && rmdir a b c && rmdir g/x && ! [ -d a ] || fail "removing groups"
echo done
EOF
tools/qemu-run --icount --timeout 240 --append swgpu --add build/programs/gpujobs:/bin/gpujobs --add "$tmp/guest.sh:/guest.sh" \
	-- /bin/sh /guest.sh > "$tmp/out" 2> "$tmp/log" || { cat "$tmp/out"; tail -20 "$tmp/log"; exit 1; }
cat "$tmp/out"
grep -qx done "$tmp/out"
