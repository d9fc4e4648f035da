#!/bin/bash
# SPDX-License-Identifier: MIT
# The mounted resctrl, by Debian's pqos and rdtset and by hand, on the build with all checks: allocation, association and
# reset; what is wrong is refused with its reason and changes nothing; pages move to the colours of their group; a group
# that goes away gives its tasks back; after umount nothing is left. Then the measured effect, by the cache model; with TEST_MODE=all in
# caches of other kinds, too.
cd "$(dirname "$0")/../.." || exit 2
command -v qemu-system-x86_64 > /dev/null || { echo "skip: no qemu-system-x86_64"; exit 77; }
command -v pqos > /dev/null || { echo "skip: no pqos"; exit 77; }
dir=$(mktemp -d) || exit 1
trap 'rm -rf "$dir"' EXIT
cat > "$dir/guest.sh" <<'G'
mkdir -p /var/lock
r=/sys/fs/resctrl
ok() { # what: of the command that follows
	what=$1
	shift
	if "$@"; then echo "ok $what"; else echo "not ok $what"; fi
}
refused() { # text: as the schemata of web
	before=$(cat $r/web/schemata)
	printf "$1" 2> /dev/null > $r/web/schemata && echo "not ok '$1' was taken"
	ok "refused: $(cat $r/info/last_cmd_status)" [ "$before" = "$(cat $r/web/schemata)" ]
}
idle() { until grep -q idle $r/info/recolouring; do sleep 0.05; done; }
moved() { sed -n 's/^moved //p' $r/info/recolouring; }
ok "pqos divides" pqos -I -e 'llc:1=0xff00;llc:2=0x00fc'
pqos -I -s > /tmp/s
ok "pqos shows it" grep -q 'L3CA COS1 => MASK 0xff00' /tmp/s
sleep 100 &
ok "pqos moves a process" pqos -I -a "pid:1=$!"
ok "which is there" [ "$(cat $r/COS1/tasks)" = $! ]
ok "pqos resets" pqos -I -R
ok "which is not there any more" [ -z "$(cat $r/COS1/tasks)" ]
kill $!
ok "rdtset runs a command in a class" rdtset -I -t 'l3=0xf0' -c 0 sh -c 'grep -l "^$$\$" /sys/fs/resctrl/*/tasks'
mkdir $r/web $r/batch
refused 'L3:0=0\n'
refused 'L3:0=10000\n'
refused 'L3:9=f\n'
refused 'L4:0=f\n'
refused 'L3:0=f'
refused 'L3:0=f;0=f\n'
refused 'L2:0=f;1=3\n'
refused 'L3:0=f0\nL2:0=f\nL3:0=zz\n'
ok "a mask with a hole" sh -c "echo L3:0=f0f0 > $r/web/schemata"
ok "for both L2 at once" sh -c "echo L2:1=f0 > $r/web/schemata; grep -q '0=00f0;1=00f0' $r/web/schemata"
ok "and apart from it" sh -c "echo L3:0=0f00 > $r/batch/schemata"
sh -c 'a=$(seq 1000000 1060000); echo ready > /tmp/ready; sleep 100; :' &
until [ -e /tmp/ready ]; do sleep 0.1; done
idle
before=$(moved)
echo $! > $r/web/tasks
idle
ok "resident pages move: $(($(moved) - before))" [ $(($(moved) - before)) -gt 20 ]
kill $!
mkdir $r/one $r/two
ok "equal masks share a class" sh -c "i=0; while [ \$i -lt 40 ]; do mkdir $r/many\$i || exit 1; i=\$((i+1)); done"
i=0 made=0
while [ $i -lt 40 ]; do
	printf 'L3:0=%x\n' $((i + 1)) 2> /dev/null > $r/many$i/schemata && made=$((made + 1))
	i=$((i + 1))
done
ok "different ones are 16 at most: $made more, $(cat $r/info/last_cmd_status)" [ $made -gt 5 -a $made -lt 16 ]
sleep 100 &
echo $! > $r/web/tasks
ok "a group goes" rmdir $r/web
ok "its tasks come back" grep -q "^$!\$" $r/tasks
kill $!
rmdir $r/many*
cg=/sys/fs/cgroup
mount -t cgroup2 cgroup2 $cg
echo +cache > $cg/cgroup.subtree_control
mkdir $cg/a $cg/b $cg/b/below
sleep 100 &
sleeper=$!
echo $sleeper > $cg/b/below/cgroup.procs
says() { [ "$(cat $1)" = "$2" ]; }
put() { echo "$1" 2> /dev/null > $2; }
ok "a tenant without a share has max" says $cg/a/cache.l3 max
ok "weights of a cache" sh -c "echo weight 100 > $cg/a/cache.l3 && echo weight 300 > $cg/b/cache.l3"
ok "are parts of it, apart" sh -c "grep -q L3:0=000f $r/cgroup:a/schemata && grep -q L3:0=fff0 $r/cgroup:b/schemata"
ok "for the tasks that are there and below" says $r/cgroup:b/tasks $sleeper
ok "a mask of hers" put 'mask ff00' $cg/b/cache.l3
ok "is one of the group" grep -q L3:0=ff00 $r/cgroup:b/schemata
ok "and the other way round" sh -c "echo L3:0=f000 > $r/cgroup:b/schemata"
ok "both views show it" says $cg/b/cache.l3 'mask 0=f000'
echo $$ > $cg/b/below/cgroup.procs
ok "who comes is in it" grep -q "^$$\$" $r/cgroup:b/tasks
ok "cache.stat says what and how large" sh -c "grep -q 'l3.0.mask f000' $cg/b/cache.stat && grep -q 'l3.0.bytes 262144' $cg/b/cache.stat"
pages() { sed -n "s/^pages.[$1] //p" $cg/b/cache.stat | { sum=0; while read -r n; do sum=$((sum + n)); done; echo $sum; }; }
before=$(pages 01)
dd if=/dev/zero of=/tmp/big bs=64k count=64 2> /dev/null # paid for by b, as all that it reads and writes
ok "the page cache is with the kernel, in its colours: $(($(pages 01) - before)) pages" [ $(($(pages 01) - before)) -gt 900 ]
rm /tmp/big
huge() { # of whom: its huge pages, once it has all its memory
	until [ "$(sed -n 's/^Rss: *\([0-9]*\) kB/\1/p' /proc/$1/smaps | sort -n | tail -1)" -gt 8000 ]; do sleep 0.1; done
	sed -n 's/^AnonHugePages: *\([0-9]*\) kB/\1/p' /proc/$1/smaps | sort -n | tail -1
}
hog() { dd if=/dev/zero of=/dev/null bs=16M count=100000000 2> /dev/null & }
hog
ok "huge pages are refused to it: $(huge $!) KiB" [ "$(huge $!)" = 0 ]
kill $!
echo $$ > $cg/cgroup.procs
hog
ok "and given to others: $(huge $!) KiB" [ "$(huge $!)" -gt 8000 ]
kill $!
ok "who leaves is not" sh -c "! grep -q '^$$\$' $r/cgroup:b/tasks"
for wrong in 'mask 0' 'mask 10000' 'mask' 'mask 9=f' 'mask L2:0=f' 'mask f;f' 'weight 0' 'weight 10001' 'weight' 'weight x' 'most' ''; do
	put "$wrong" $cg/b/cache.l3 && echo "not ok '$wrong' was taken"
	ok "refused: $wrong" says $cg/b/cache.l3 'mask 0=f000'
done
ok "resctrl cannot remove it" sh -c "! rmdir $r/cgroup:b 2> /dev/null"
kill $sleeper
wait $sleeper
umount $r
ok "it outlives resctrl's mount" says $cg/b/cache.l3 'mask 0=f000'
rmdir $cg/b/below $cg/b
ok "what a tenant had is the others'" grep -q 'l3.0.mask ffff' $cg/a/cache.stat
rmdir $cg/a
ok "umount leaves nothing" [ -z "$(ls $r)" ]
mount -t resctrl resctrl $r
ok "and a new mount starts afresh" [ "$(grep L3 $r/schemata)" = "L3:0=ffff" -a ! -e $r/batch ]
G
timeout 120 tools/qemu-run --cpus 2 --mem 256M --timeout 100 --debug-kernel --program pqos --program rdtset --add "$dir/guest.sh:/guest.sh" \
	--append 'resctrl=colour resctrl.l3=1M,16' --qemu="-cpu max,xlevel=0x8000001e" -- sh /guest.sh > "$dir/out" 2> "$dir/log"
status=$?
grep -E '^(ok|not ok|skip)' "$dir/out"
if [ $status -ne 0 ] || grep -q '^not ok' "$dir/out" || ! grep -q '^ok and a new mount' "$dir/out"; then
	grep -vE '^(ok|NOTE)' "$dir/out" | tail -20
	tail -20 "$dir/log"
	exit 1
fi
effect() { # VARIABLES: of the demo
	env "$@" bash tests/demo/cache.sh > "$dir/effect" 2>&1 || { tail -20 "$dir/effect"; exit 1; }
	tail -1 "$dir/effect"
}
effect POLICY=lru
[ "$TEST_MODE" = all ] || exit 0
effect POLICY=plru
effect WAYS=8 SLICES=2
effect POLICY=plru WAYS=8 SLICES=2
