#!/bin/bash
# SPDX-License-Identifier: MIT
# memory.max holds under floods of the page cache, of dirty pages, of processes and of a tmpfs, while a neighbour keeps what it has;
# and with ten thousand tenants a context switch and a page fault cost what they cost with two. Judged by bytes and counts of
# instructions.
cd "$(dirname "$0")/../.." || exit 2
. tests/vm/lib/check.sh
make -s kernel build/user/init build/bench/micro || exit 1
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cat > "$dir/guest.sh" <<'G'
mount -t cgroup2 none /sys/fs/cgroup 2> /dev/null; cd /sys/fs/cgroup
echo "+cpu +io +memory +pids" > cgroup.subtree_control
stat() { sed -n "s/^$2 //p" $1; }
into() { sh -c "echo 0 > $1/cgroup.procs; shift; exec \"\$@\"" sh "$@"; }
costs() { into $1 /micro switch_16 touch | tr '\n' ' '; }
mkdir n; into n dd if=/dev/nullb0 of=/dev/null bs=1M count=16 2> /dev/null
into n sleep 1000 &
neighbour() { echo "$(stat n/memory.stat file) $(stat n/memory.events max)"; }
flood() { mkdir $1; echo 16M > $1/memory.max; }
ended() { echo 1 > $1/cgroup.kill; for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15; do grep -q 'populated 0' $1/cgroup.events && break; sleep 0.2; done
	echo "$1 $(cat $1/memory.peak) $(stat $1/cgroup.events populated) $(neighbour)"; }
sleep 0.1; echo "begin $(neighbour)"
flood cache; into cache dd if=/dev/nullb0 of=/dev/null bs=1M skip=100 count=100 2> /dev/null; ended cache
flood dirty; into dirty dd if=/dev/zero of=/dev/nullb1 bs=1M count=100 2> /dev/null; echo "wrote $?"; ended dirty
flood bomb; into bomb sh -c 'f() { while :; do f & f & wait; done; }; f' 2> /dev/null &
sleep 0.3; echo "forks $(stat bomb/memory.events max) $(sh -c 'echo still')"; ended bomb
flood tmpfs; into tmpfs dd if=/dev/zero of=/tmp/f bs=1M count=100 2> /dev/null; echo "filled $?"; ended tmpfs; rm -f /tmp/f
flood anon; into anon sh -c 'x=0123456789abcdef; while :; do x=$x$x; done' 2> /dev/null; ended anon
flood objects; mkdir /tmp/d; into objects sh -c 'cd /tmp/d; seq 1 200000 | xargs mkdir' 2> /dev/null
echo "folders $? $(ls /tmp/d | wc -l)"; ended objects; rm -rf /tmp/d; echo "left $(cat objects/memory.current)"
rmdir objects cache dirty bomb tmpfs anon; echo "rmdir $?"
mkdir one; echo "few $(costs one)"
mkdir many; echo "+cpu +io +memory +pids" > many/cgroup.subtree_control
read t0 _ < /proc/uptime
(cd many; seq 1 10000 | xargs mkdir; seq 1000 1000 10000 | while read t; do echo 64M > $t/memory.max; into $t sleep 1000 & done)
echo "many $(costs many/5000)"; echo "listed $(ls many | grep -c '^[0-9]')"
G
timeout 230 tools/qemu-run --icount --mem 512M --timeout 220 --append nullblk=2 --add build/bench/micro:/micro --add "$dir/guest.sh:/guest.sh" \
	-- sh /guest.sh > "$dir/out" 2> "$dir/log"
cat "$dir/out"
grep -a 'panic' "$dir/log"
# Above memory.max is room for a few pages: objects that are made where nobody may wait are charged anyway.
field() { sed -n "s/^$1 //p" "$dir/out" | cut -d' ' -f"$2"; }
held() { [ "$(field $1 1)" -le 16842752 ] && [ "$(field $1 2)" -eq 0 ] && [ "$(field $1 3)" -eq "$(field begin 1)" ] && [ "$(field $1 4)" -eq 0 ]; }
same() { d=$(( ($(field many "$1") - $(field few "$1")) * 100 / $(field few "$1") )); [ ${d#-} -lt 5 ]; }
check "memory.max under a flood of the page cache, neighbour untouched" "held cache"
check "memory.max under a flood of dirty pages" "held dirty && [ $(field wrote 1) -eq 0 ]"
check "memory.max under a fork bomb, others can fork, it can be killed" "held bomb && grep -q '^forks [1-9][0-9]* still' $dir/out"
check "memory.max when a tmpfs is filled: the filler is killed" "held tmpfs && [ $(field filled 1) -eq 137 ]"
check "memory.max under private memory that grows" "held anon"
check "memory.max counts the kernel's objects: folders without end" "[ $(field folders 1) -ne 0 ] && [ $(field objects 1) -le 16842752 ] && [ $(field left 1) -le 262144 ]"
check "the tenants can be removed" "[ $(field rmdir 1) -eq 0 ]"
check "with 10,000 tenants a context switch costs the same within 5 %" "same 2"
check "and a page fault" "same 4"
check "and they are listed" "[ $(field listed 1) -eq 10000 ]"
exit $failed
