#!/bin/bash
# first
# SPDX-License-Identifier: MIT
# Tenants divide one CPU: cpu.weight 1:2:4 among busy tenants with different numbers of tasks and with sleepers, cpu.max, and
# limits on tasks and memory that leave a neighbour alone. Judged by the CPU time that each got, by counts of instructions. Then two CPUs
# (of a machine that others use, too): 1:2:4 with four busy tasks each, and a weight that is more than one task can use.
cd "$(dirname "$0")/../.." || exit 2
. tests/vm/lib/check.sh
make -s kernel build/user/init || exit 1
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cat > "$dir/lib.sh" <<'G'
cd /sys/fs/cgroup && mount -t cgroup2 none . 2> /dev/null; cd /sys/fs/cgroup
echo "+cpu +memory +pids" > cgroup.subtree_control
usage() { while read -r k v; do [ "$k" = usage_usec ] && echo "$v"; done < "$1/cpu.stat"; }
spin() { sh -c "echo 0 > $1/cgroup.procs; exec sh -c 'while :; do :; done'" & }
parts() { # NAME SECONDS
	sleep 1; a=$(usage a) b=$(usage b) c=$(usage c); sleep $2; echo "$1 $(( $(usage a) - a )) $(( $(usage b) - b )) $(( $(usage c) - c ))"; }
gone() { for t in "$@"; do echo 1 > $t/cgroup.kill; done; sleep 0.3; rmdir "$@"; }
naps() { sh -c "echo 0 > $1/cgroup.procs; while :; do i=0; while [ \$i -lt 2000 ]; do i=\$((i+1)); done; sleep 0.01; done" & }
mkdir a b c
echo 100 > a/cpu.weight; echo 200 > b/cpu.weight; echo 400 > c/cpu.weight
G
cat > "$dir/guest.sh" <<'G'
. /lib.sh
spin a; spin b; spin b; spin c; spin c; spin c; naps a; naps c
parts weights 10
gone a b c
mkdir limited free
echo "20000 100000" > limited/cpu.max
spin limited; spin limited; spin free
sleep 0.5
l=$(usage limited) f=$(usage free)
sleep 5
echo "max $(( $(usage limited) - l )) $(( $(usage free) - f ))"
grep nr_throttled limited/cpu.stat
echo max > limited/cpu.max
l=$(usage limited)
sleep 2
echo "unlimited $(( $(usage limited) - l ))"
gone limited free
mkdir bomb
echo 20 > bomb/pids.max
(echo 0 > bomb/cgroup.procs; i=0; while [ $i -lt 100 ]; do sleep 1 & i=$((i+1)); done) 2> /dev/null
echo "bomb peak $(cat bomb/pids.peak) $(cat bomb/pids.events)"
sh -c 'exit 0' && echo "neighbour forks"
mkdir glutton
echo 16M > glutton/memory.max
sh -c 'echo 0 > glutton/cgroup.procs; exec dd if=/dev/zero of=/tmp/flood bs=1M count=64' 2> /dev/null
echo "flood $? peak $(cat glutton/memory.peak)"
dd if=/dev/zero of=/tmp/mine bs=1M count=32 2> /dev/null && echo "neighbour writes"
G
cat > "$dir/two.sh" <<'G'
. /lib.sh
for i in 1 2 3 4; do spin a; spin b; spin c; done
parts two 4
gone a b c
mkdir a b c
echo 1000 > c/cpu.weight
spin a; spin a; spin a; spin b; spin c
parts heavy 2
G
timeout 280 tools/qemu-run --icount --mem 512M --timeout 260 --add "$dir/lib.sh:/lib.sh" --add "$dir/guest.sh:/guest.sh" -- sh /guest.sh > "$dir/out" 2>&1
timeout 60 tools/qemu-run --cpus 2 --mem 256M --timeout 50 --add "$dir/lib.sh:/lib.sh" --add "$dir/two.sh:/two.sh" -- sh /two.sh >> "$dir/out" 2>&1
cat "$dir/out" | grep -v '^\['
read -r _ a b c < <(grep '^weights' "$dir/out")
sum=$((a + b + c))
near() { d=$(( $1 * 1000 / $2 - $3 )); [ ${d#-} -le $4 ]; } # part of a whole in thousandths, within
check "weights 1:2:4 within 2 %" "near ${a:-0} ${sum:-1} 143 3 && near ${b:-0} ${sum:-1} 286 6 && near ${c:-0} ${sum:-1} 571 12"
read -r _ l f < <(grep '^max' "$dir/out")
check "cpu.max of a fifth within 2 %" "near ${l:-0} 5000000 200 4"
check "the rest is the neighbour's" "[ ${f:-0} -gt 3900000 ]"
check "without a limit half again" "[ $(sed -n 's/^unlimited //p' "$dir/out") -gt 950000 ]"
check "a fork bomb stays below pids.max" "grep -q '^bomb peak 20 max' $dir/out && grep -q '^neighbour forks' $dir/out"
# Eight pages more: what is made where nobody may wait goes above the limit until its maker returns to user mode.
check "a flood stays below memory.max" "[ \$(sed -n 's/^flood [0-9]* peak //p' $dir/out) -le 16809984 ] && grep -q '^neighbour writes' $dir/out"
read -r _ a b c < <(grep '^two' "$dir/out")
sum=$((a + b + c))
check "on two CPUs, too, within 5 %" "near ${a:-0} ${sum:-1} 143 7 && near ${b:-0} ${sum:-1} 286 14 && near ${c:-0} ${sum:-1} 571 28"
read -r _ a b c < <(grep '^heavy' "$dir/out")
check "who may have more than a CPU and has one task gets one, and the others the other" "near ${c:-0} $((a + b + c)) 500 30 && near ${a:-0} $((a + b + c)) 250 30"
exit $failed
