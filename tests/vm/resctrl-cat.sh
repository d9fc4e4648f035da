#!/bin/bash
# first
# SPDX-License-Identifier: MIT
# resctrl on a processor with Cache Allocation Technology, on the build with all checks. QEMU emulates none: tools/cpuid-guest
# tells the kernel that its processor has it (two L3 of 20 ways, four L2, bandwidth, 32 monitoring tags); the registers take what
# is written and read as 0. Debian's pqos shows, divides, associates, monitors and resets; 3,998 right and wrong texts get Linux
# 6.1's answers (tests/unit/resctrl_grammar.h). `resctrl-cat.sh record` asks Debian's Linux for those answers; with
# TEST_MODE=all what each file says and what exclusive groups may is compared with Linux, too.
cd "$(dirname "$0")/../.." || exit 2
command -v qemu-system-x86_64 > /dev/null || { echo "skip: no qemu-system-x86_64"; exit 77; }
command -v pqos > /dev/null || { echo "skip: no pqos"; exit 77; }
make -s build/programs/resctrl/grammar || exit 1
dir=$(mktemp -d) || exit 1
trap 'rm -rf "$dir"' EXIT
cpu="-cpu max,vendor=GenuineIntel,level=0x1f,xlevel=0x8000001e -smp 4,sockets=2,cores=2 -S -gdb unix:$dir/gdb,server=on,wait=off"
processor() { # ELF
	tools/cpuid-guest "$dir/gdb" "$1" '7.0|=0,9000,0,0' 10.0=0,e,0,0 10.1=13,c0000,4,f 10.2=7,0,0,7 10.3=59,0,4,7 f.0=0,1f,0,2 f.1=8,10000,1f,7
}
linux() { # SCRIPT OUTPUT
	local packaged
	packaged=$(tools/linux-guest --fetch) && tools/extract-vmlinux "$packaged"/boot/vmlinuz-* "$dir/vmlinux" || return 1
	timeout 600 tools/linux-guest -t 580 -c 4 -M 1G -f "$1:/guest.sh" -f build/programs/resctrl/grammar:/grammar -k "$dir/linux.log" \
		-a nokaslr -q "$cpu" -- 'sh /guest.sh' > "$2" &
	processor "$dir/vmlinux"
	wait $!
}
cat > "$dir/record.sh" <<'G'
mount -t resctrl resctrl /sys/fs/resctrl && /grammar record
G
if [ "$1" = record ]; then
	linux "$dir/record.sh" tests/unit/resctrl_answers.h
	exit
fi
cat > "$dir/tree.sh" <<'G'
mount -t resctrl resctrl /sys/fs/resctrl || exit 1
cd /sys/fs/resctrl
mkdir a a/mon_groups/m
printf 'L3:0=f;1=ff0\nMB:1=35\n' > a/schemata
echo 2-3 > a/cpus_list
echo 4 > a/mon_groups/m/cpus
for f in $(find . -type f ! -name tasks ! -name backend ! -name recolouring | sort); do echo "== $f"; cat $f; done
try() { # FILE TEXT
	printf "$2" 2> /dev/null > $1 && echo "good: $2 into $1" || echo "refused: $2 into $1"
}
mkdir x y
try x/mode 'exclusive\n' # everybody has everything
try schemata 'L3:0=ff;1=ff\nL2:0=3;1=3;2=3;3=3\n'
try a/schemata 'L3:0=f;1=f\nL2:0=1;1=1;2=1;3=1\n'
try y/schemata 'L3:0=1;1=1\nL2:0=1;1=1;2=1;3=1\n'
try x/schemata 'L3:0=f00;1=f00\nL2:0=f0;1=f0;2=f0;3=f0\n'
try x/mode 'exclusive\n'
try x/mode 'exclusive\n'
try a/schemata 'L3:0=100\n'
try x/schemata 'L3:0=180\n'
try x/schemata 'L3:1=c0000\n' # the processor's own
try x/schemata 'L3:1=3f00\n'
cat x/mode info/L3/bit_usage info/L2/bit_usage
mkdir z
cat z/schemata z/size
try x/mode 'pseudo-locksetup\n'
try x/mode 'shareable\n'
try a/schemata 'L3:0=100\n'
mkdir "x
y" 2> /dev/null || echo "no newline in a name"
mkdir a/b 2> /dev/null || echo "no group in a group"
mkdir mon_groups/mon_groups 2> /dev/null || echo "not this name"
rmdir info 2> /dev/null || echo "info stays"
mv a c 2> /dev/null || echo "a keeps its name"
mkdir -p /mnt; mount -t resctrl resctrl /mnt 2> /dev/null || echo "one mount"
rmdir x y z
cat info/L3/bit_usage cpus a/cpus_list
mkdir a/mon_groups/n
for g in . a a/mon_groups/n; do
	echo $$ > $g/tasks
	cat /proc/$$/cpu_resctrl_groups
done
cd /sys/devices/system/cpu
for f in id level type size ways_of_associativity number_of_sets coherency_line_size physical_line_partition shared_cpu_list shared_cpu_map; do
	for i in cpu*/cache/index*/$f; do echo "$i $(cat $i 2>&1)"; done
done
grep -o ' \(rdt_a\|cat_l[23]\|cdp_l[23]\|cqm[a-z_]*\|mba\)\b' /proc/cpuinfo | sort | uniq -c
G
cat > "$dir/guest.sh" <<'G'
ok() { # what: of the command that follows
	what=$1
	shift
	if "$@"; then echo "ok $what"; else echo "not ok $what"; fi
}
shows() { grep -q "$1" /tmp/out; }
mkdir -p /var/lock
r=/sys/fs/resctrl
sh /tree.sh > /tree
umount $r
pqos -I -d > /tmp/out
ok "pqos finds L3 CAT" shows 'L3 CAT'
ok "L2 CAT" shows 'L2 CAT'
ok "MBA" shows 'Memory Bandwidth Allocation (MBA)'
ok "and monitoring" shows 'Cache Monitoring Technology (CMT)'
ok "pqos divides by socket" pqos -I -e 'llc@0:1=0x00f;llc@1:1=0xff0;l2:2=0x3;mba:1=35'
pqos -I -s > /tmp/out
ok "and shows it" shows 'L3CA COS1 => MASK 0xff0'
ok "in steps of the processor" shows 'MBA COS1 => 40%'
ok "pqos associates CPUs" pqos -I -a 'llc:1=1,3'
pqos -I -s > /tmp/out
ok "and shows those" shows 'Core 3.*=> COS1'
ok "pqos resets, code and data apart" pqos -I -R l3cdp-on
ok "which the mount says" sh -c "grep -q resctrl.*,cdp /proc/mounts; grep -q L3CODE $r/schemata"
ok "and resets" pqos -I -R l3cdp-off
sleep 100 &
ok "pqos monitors a process" sh -c "pqos -I -p all:$! -t 1 | grep -q LLC"
ok "in a monitor group, gone after that" [ -z "$(ls $r/mon_groups)" ]
ok "rdtset runs a command" rdtset -I -t 'l3=0xf;l2=0x3' -c 1 sh -c 'grep -l "^$$\$" /sys/fs/resctrl/*/tasks'
kill $!
umount $r
ok "code and data of the L2 are one here" sh -c "! mount -t resctrl -o cdpl2 resctrl $r 2> /dev/null"
mount -t resctrl resctrl $r
/grammar
mount -t cgroup2 cgroup2 /sys/fs/cgroup
cd /sys/fs/cgroup
echo +cache > cgroup.subtree_control
mkdir web batch
echo weight 300 > web/cache.l3
echo weight 100 > batch/cache.l3
ok "a weight is a run of ways: $(cat $r/cgroup:web/schemata | grep L3)" grep -q 'L3:0=07fff;1=07fff' $r/cgroup:web/schemata
ok "cache.stat shows what is in use" grep -q 'l3.1.used 0' web/cache.stat
echo "end"
G
timeout 280 tools/qemu-run --mem 512M --timeout 260 --debug-kernel --program pqos --program rdtset --add "$dir/guest.sh:/guest.sh" \
	--add "$dir/tree.sh:/tree.sh" --add build/programs/resctrl/grammar:/grammar --qemu="$cpu" -- sh -c 'sh /guest.sh; echo TREE; cat /tree' \
	> "$dir/out" 2> "$dir/log" &
processor build/debug/ostrom.elf
wait $!
status=$?
grep -aE '^(ok|not ok|skip)' "$dir/out"
if [ $status -ne 0 ] || grep -aq '^not ok' "$dir/out" || ! grep -aq '^end' "$dir/out"; then
	tail -20 "$dir/out"
	tail -20 "$dir/log"
	exit 1
fi
[ "$TEST_MODE" = all ] || exit 0
sed '1,/^TREE/d' "$dir/out" > "$dir/ours"
linux "$dir/tree.sh" "$dir/theirs" && diff "$dir/ours" "$dir/theirs" && echo "ok every file reads as on Linux: $(grep -c '^==' "$dir/ours")"
