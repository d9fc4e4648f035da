#!/bin/bash
# SPDX-License-Identifier: MIT
# A machine of two memory nodes with a CPU each: the ABI tests of memory policies; numactl, numastat, memhog, migratepages and migspeed of Debian; cpusets; what
# happens when a node is full; odd machines (a node without memory, one without a CPU, three at different distances, borders in the middle of a block).
# `perf c2c` and `ostrom c2c` name the nodes of memory and CPUs. TEST_MODE=all runs the ABI tests on Debian's Linux on the same machine, too: it is the oracle.
cd "$(dirname "$0")/../.." || exit 2
. tests/vm/lib/check.sh
command -v numactl > /dev/null || { echo "skip: no numactl on this machine"; exit 77; }
make -s kernel build/user/init build/abi/numa build/abi/kvm || exit 1
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
nodes() { # SIZE CPUS...: QEMU's options for nodes of these CPUs ("-": none) and sizes (SIZE/CPUS)
	local n=0 one
	for one; do
		[ "${one%/*}" = 0 ] || printf -- '-object memory-backend-ram,id=m%d,size=%s ' $n "${one%/*}"
		printf -- '-numa node,nodeid=%d' $n
		[ "${one#*/}" = - ] || printf ',cpus=%s' "${one#*/}"
		[ "${one%/*}" = 0 ] || printf ',memdev=m%d' $n
		printf ' '
		n=$((n + 1))
	done
}
two="$(nodes 128M/0 128M/1) -numa dist,src=0,dst=1,val=21"
ostrom() { # CPUS MEM QEMU-OPTIONS COMMAND...
	local cpus=$1 mem=$2 options=$3
	shift 3
	timeout 130 tools/qemu-run --cpus "$cpus" --mem "$mem" --qemu "$options" --timeout 120 --add build/abi/numa:/numa --add build/abi/kvm:/kvm --add "$dir/in.sh:/in.sh" \
		--program numactl --program numastat --program memhog --program migratepages --program migspeed -- "$@" > "$dir/out" 2> "$dir/log"
}

cat > "$dir/in.sh" << 'END'
numactl --hardware
for p in membind=1 preferred=1 interleave=0,1 localalloc preferred-many=1; do
	echo "$p: $(numactl --cpunodebind=0 --$p cat /proc/self/numa_maps | grep -m1 heap)"
done
numactl --physcpubind=1 --show
numactl --membind=1 memhog -r1 8m > /dev/null && echo "hogged $(numastat | grep -c '^numa_hit')"
numastat -p self | tail -1
numastat -m | grep MemTotal
numactl --membind=0 sh -c 'x=$(head -c 2000000 /dev/zero | tr "\0" x); echo "before $(grep -c N1= /proc/$$/numa_maps)"; migratepages $$ 0 1; echo "after $(grep heap /proc/$$/numa_maps)"; :'
migspeed -p 1000 0 1
mkdir /tmp/cg; mount -t cgroup2 none /tmp/cg; cd /tmp/cg
echo +cpuset +memory > cgroup.subtree_control; mkdir t
echo 5 > t/cpuset.mems || echo "no node 5"
sh -c 'echo $$ > t/cgroup.procs; x=$(head -c 1000000 /dev/zero | tr "\0" x); echo 1 > t/cpuset.mems; cat t/cpuset.mems.effective
	echo "moved $(grep heap /proc/$$/numa_maps)"; grep Mems_allowed_list /proc/self/status; numactl --show | grep membind; grep ^anon t/memory.numa_stat; :'
mkdir p; echo +cpuset > p/cgroup.subtree_control; mkdir p/c
sh -c 'echo $$ > p/c/cgroup.procs; echo 0 > p/c/cpuset.mems; x=$(head -c 1000000 /dev/zero | tr "\0" x); echo "in a child $(grep heap /proc/$$/numa_maps)"
	echo 1 > p/cpuset.mems; cat p/c/cpuset.mems.effective; echo "moved from above $(grep heap /proc/$$/numa_maps)"; :'
cd /; numactl --membind=1 memhog -r1 200m > /dev/null; echo "full $?"
numactl --preferred=1 memhog -r1 200m > /dev/null; echo "spilled $? $(sed -n 's/^numa_foreign //p' /sys/devices/system/node/node1/numastat)"
END
ostrom 2 256M "$two" sh -c '/numa; echo "abi $?"; /kvm | grep host_keeps_its_number; sh /in.sh; echo end'
check "the ABI tests of policies pass on two nodes" "grep -q '^abi 0' $dir/out && [ \$(grep -c '^ok ' $dir/out) -ge 15 ] && ! grep -q '^not ok' $dir/out" || grep '^not ok' "$dir/out"
check "a CPU of the second node is still there after a guest" "grep -q '^ok host_keeps_its_number' $dir/out"
has() { check "$1" "grep -qE '$2' $dir/out" || tail -40 "$dir/out"; }
has "numactl --hardware sees CPUs and memory of both" '^node 1 cpus: 1$'
has "and the distances" '^  1:  21  10'
has "membind" '^membind=1: [0-9a-f]+ bind:1 heap .* N1='
has "preferred" '^preferred=1: [0-9a-f]+ prefer:1 heap .* N1='
has "interleave" '^interleave=0,1: [0-9a-f]+ interleave:0-1 heap .* N0=1 N1=1'
has "localalloc" '^localalloc: [0-9a-f]+ local heap .* N0='
has "preferred-many" '^preferred-many=1: [0-9a-f]+ prefer [(]many[)]:1 heap .* N1='
has "show" '^cpubind: 1'
has "memhog and numastat" '^hogged 1'
has "numastat -m" '^MemTotal  *127[.][0-9]*  *127[.][0-9]*  *255'
has "migratepages" '^after [0-9a-f]+ bind:0 heap .* N1='
has "migspeed" 'Mbyte migrated in .* secs'
has "cpuset.mems refuses nodes that are not there" '^no node 5'
has "and moves what its processes have" '^moved .* heap .* N1='
has "in a group below, too, to which nothing else is left" '^moved from above .* heap [^N]* N1='
has "and only then" '^in a child .* heap [^N]* N0='
has "Mems_allowed" '^Mems_allowed_list:	1$'
has "memory.numa_stat" '^anon N0=0 N1=[1-9]'
has "a program that is bound to a full node is killed" '^full 137'
has "one that only prefers it spills" '^spilled 0 [1-9]'
has "and the machine goes on" '^end'

cat > "$dir/in.sh" << 'END'
cd /sys/devices/system/node; numactl --hardware; cat has_memory has_cpu
memhog -r1 100m > /dev/null; echo "hog $?"; cat node*/numastat | grep foreign
awk '/MemTotal/ { print "total", $2 }' /proc/meminfo; awk '/MemTotal/ { n += $4 } END { print "nodes", n }' node*/meminfo
END
ostrom 2 192M "$(nodes 0/0 192M/1)" sh /in.sh
check "a node without memory" "grep -q '^hog 0' $dir/out && grep -q '^node 0 size: 0 MB' $dir/out" || cat "$dir/out" "$dir/log"
ostrom 1 192M "$(nodes 64M/0 128M/-)" sh /in.sh
check "a node without a CPU" "grep -q '^hog 0' $dir/out && grep -q '^node 1 cpus:\$' $dir/out" || cat "$dir/out" "$dir/log"
ostrom 3 192M "$(nodes 64M/0 64M/1 64M/2) -numa dist,src=0,dst=1,val=40 -numa dist,src=0,dst=2,val=15 -numa dist,src=1,dst=2,val=30" sh /in.sh
check "three nodes at different distances" "grep -q '^hog 0' $dir/out && grep -q '^  1:  40  10  30' $dir/out" || cat "$dir/out" "$dir/log"
ostrom 2 158M "$(nodes 79M/0 79M/1)" sh /in.sh
check "a border in the middle of a block; all memory is some node's" \
	"grep -q '^hog 0' $dir/out && [ \$(awk '/^total/ { t = \$2 } /^nodes/ { n = \$2 } END { print t == n }' $dir/out) = 1 ]" || cat "$dir/out" "$dir/log"
if command -v perf > /dev/null && make -s build/user/ostrom; then
	gcc -O2 -g -static -o "$dir/counters" tests/programs/c2c/counters.c -lpthread || exit 1
	cat > "$dir/in.sh" << 'END'
mkdir /tmp/out; cd /tmp/out
perf c2c record -q -o data -- /counters 9000000 > log 2>&1
perf c2c report -i data --stdio --no-source > perf.c2c 2>> log
ostrom c2c report -i data --stdio --no-source > ours.c2c 2>> log
ostrom c2c record -q -o data -- /counters 9000000 >> log 2>&1
perf c2c report -i data --stdio --no-source > perf2.c2c 2>> log
ostrom c2c report -i data --stdio --no-source > ours2.c2c 2>> log
tar cf - .
END
	timeout 130 tools/qemu-run --cpus 2 --mem 256M --qemu "$two" --timeout 120 --program perf --program addr2line --program "$PWD/build/user/ostrom:/bin/ostrom" \
		--add "$dir/counters:/counters" --add "$dir/in.sh:/in.sh" -- sh /in.sh > "$dir/out.tar" 2> "$dir/log"
	mkdir "$dir/out.d" && tar xf "$dir/out.tar" -C "$dir/out.d"
	check "perf c2c: the two fields are used on a node each, in memory of one, and lines come from far away" \
		"grep -q ' 0x0 .*count_a  counters   [01]\$' $dir/out.d/perf.c2c && grep -q ' 0x8 .*count_b  counters   [01]\$' $dir/out.d/perf.c2c &&
		 [ \$(awk '/Load Remote HITM/ { print \$NF }' $dir/out.d/perf.c2c) -gt 0 ] && ! grep -q 'N/A  *0  *0x4' $dir/out.d/perf.c2c"
	check "ostrom c2c prints the same bytes, of perf's recording and of its own" \
		"cmp $dir/out.d/perf.c2c $dir/out.d/ours.c2c && cmp $dir/out.d/perf2.c2c $dir/out.d/ours2.c2c" || cat "$dir/out.d/log"
fi
if [ "$TEST_MODE" = all ]; then
	tools/linux-guest -c 2 -M 256M -q "$two" -f build/abi/numa:/numa -- /numa > "$dir/linux" 2>&1
	check "the ABI tests say the same on Debian's Linux" "[ \$(grep -c '^ok ' $dir/linux) -ge 15 ] && ! grep -q '^not ok' $dir/linux" || tail "$dir/linux"
fi
exit $failed
