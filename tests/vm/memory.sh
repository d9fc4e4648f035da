#!/bin/bash
# SPDX-License-Identifier: MIT
# Memory that runs out: private pages go to swap and come back unharmed, also when relatives share them; limits of a tenant
# reclaim, swap and kill within it; the OOM killer takes the right one and the shell goes on.
cd "$(dirname "$0")/../.." || exit 2
. tests/vm/lib/check.sh
make -s kernel build/user/init || exit 1
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
musl-gcc -static -O1 -o "$dir/hog" tests/programs/memory/hog.c || exit 1
truncate -s 96M "$dir/swap"
chmod 600 "$dir/swap"
mkswap "$dir/swap" > "$dir/mkswap" 2>&1 || exit 1
cat > "$dir/guest.sh" <<'G'
mount -t cgroup2 none /sys/fs/cgroup 2> /dev/null; cd /sys/fs/cgroup
echo "+memory +pids" > cgroup.subtree_control
event() { sed -n "s/^$2 //p" "$1/memory.events"; }
into() { sh -c "echo 0 > $1/cgroup.procs; shift; exec \"\$@\"" sh "$@"; }
swapon /dev/vda && echo "swap $(sed -n 2p /proc/swaps)"
/hog 40 2 fork
echo "swapped $(sed -n 's/^pswpout //p' /proc/vmstat) $(sed -n 's/^pswpin //p' /proc/vmstat)"
mkdir a
echo 8M > a/memory.max
into a /hog 16 2 && echo "a-max $(event a oom_kill) peak $(cat a/memory.peak)"
echo "a-empty $(cat a/memory.current) $(cat a/memory.swap.current)"
echo 0 > a/memory.swap.max
into a /hog 16 1 2> /dev/null; echo "a-noswap $? $(event a oom_kill)"
swapoff /dev/vda; echo "swapoff $? $(sed -n 's/^SwapTotal: *//p' /proc/meminfo)"
mkdir high group tmp low
echo 6M > high/memory.high
sh -c 'echo 0 > high/cgroup.procs; exec dd if=/dev/vda of=/dev/null bs=64k count=256' 2> /dev/null
echo "high $? $(cat high/memory.peak) $(event high high)"
echo 8M > group/memory.max; echo 1 > group/memory.oom.group
sh -c 'echo 0 > group/cgroup.procs; sleep 100 & exec /hog 16 1' 2> /dev/null
echo "group $? $(event group oom_kill) $(event group oom_group_kill) left $(cat group/pids.current)"
echo 8M > tmp/memory.max
into tmp dd if=/dev/zero of=/tmp/f bs=1M count=20 2> /dev/null; echo "tmpfs $? $(event tmp oom_kill)"
rm /tmp/f
echo 1 > /proc/sys/vm/overcommit_memory # more than the machine has is promised only so
/hog 300 1 2> /dev/null; echo "global $? $(sed -n 's/^oom_kill //p' /proc/vmstat)"
sh -c 'echo 1000 > /proc/self/oom_score_adj; echo 0 > /tmp/ready; exec sleep 100' & 
small=$!
until [ -e /tmp/ready ]; do sleep 0.1; done
echo "score $(cat /proc/$small/oom_score) $(cat /proc/1/oom_score)"
/hog 300 1 2> /dev/null
wait $small; echo "adjusted $?"
rmdir a high group tmp low; echo "gone $?"
G
timeout 290 tools/qemu-run --mem 48M --timeout 280 --disk "$dir/swap" --add "$dir/hog:/hog" --add "$dir/guest.sh:/guest.sh" \
	-- sh /guest.sh > "$dir/out" 2> "$dir/log"
cat "$dir/out"
grep -a 'Killed process\|panic' "$dir/log"
line() { grep -q -E "^$1\$" "$dir/out"; }
field() { sed -n "s/^$1 //p" "$dir/out" | cut -d' ' -f"$2"; }
check "a device becomes swap" "grep -q -E '^swap /dev/vda[[:space:]]+partition[[:space:]]+98300[[:space:]]+0[[:space:]]+-2' $dir/out"
check "pages come back unharmed, shared ones too" "line 'hog: fine' && [ $(field swapped 1) -gt 3000 ] && [ $(field swapped 2) -gt 3000 ]"
check "memory.max swaps within the tenant" "line 'a-max 0 peak [0-9]+' && [ $(field a-max 3) -le 8454144 ]"
check "nothing stays charged but names that are cached" "line 'a-empty [0-9]+ 0' && [ $(field a-empty 1) -le 32768 ]"
check "without swap it kills there" "line 'a-noswap 137 1'"
check "swapoff brings everything back" "line 'swapoff 0 0 kB'"
check "memory.high reclaims the page cache" "line 'high 0 [0-9]+ [1-9][0-9]*' && [ $(field high 2) -le 6815744 ]"
check "memory.oom.group kills all" "line 'group 137 2 1 left 0'"
check "a tenant that fills tmpfs is stopped" "line 'tmpfs 137 1'"
check "the machine's memory runs out: the largest dies" "line 'global 137 [0-9]+'"
check "oom_score knows who is next" "[ $(field score 1) -ge 900 ] && [ $(field score 2) -eq 0 ]"
check "oom_score_adj decides" "line 'adjusted 137'"
check "tenants can be removed" "line 'gone 0'"
exit $failed
