#!/bin/bash
# Hardware counters, of which emulated processors have none: a machine without says so, and on the debug kernel two played ones (counters=model) are shared out to whoever
# asks, by Debian's unmodified perf: whole groups in turns, pinned ones always, counts scaled by the time that they ran.
cd "$(dirname "$0")/../.." || exit 2
. tests/vm/lib/check.sh
command -v perf > /dev/null || { echo "skip: no perf on this machine"; exit 77; }
make -s kernel build/user/init build/programs/perf/cost && make -s kernel DEBUG=1 || exit 1
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cat > "$dir/none.sh" << 'END'
perf stat -x, -e cycles,instructions,r00c0,task-clock true 2>&1
ls /sys/devices/cpu/events
END
timeout 100 tools/qemu-run --timeout 90 --program perf --add "$dir/none.sh:/in.sh" -- sh /in.sh > "$dir/none" 2> "$dir/log"
check "the machine without counters ends well" "[ $? = 0 ]" || tail "$dir/log"
check "it does not support hardware events, and says so" "[ \$(grep -c '^<not supported>,,\(cycles\|instructions\|r00c0\),' '$dir/none') = 3 ]" || cat "$dir/none"
check "it counts the others" "grep -q '^[0-9.]*,msec,task-clock,' '$dir/none'"
check "its sysfs offers memory events alone" "grep -q mem-loads '$dir/none' && ! grep -q cpu-cycles '$dir/none'"

cat > "$dir/in.sh" << 'END'
mkdir /tmp/out; cd /tmp/out; exec 3>&1 > stdout 2>&1
work="/cost loop 300000000"
stat() { name=$1; shift; perf stat -x, -o $name "$@"; }
cat /sys/devices/cpu/events/cpu-cycles > sysfs
stat two -e cycles,instructions $work
stat four -e r00,r01,r04,r05 $work
stat groups -e '{r00,r01},{r04,r05},{r08,r09,task-clock}' $work
stat pinned -e r00:D -e r01 -e r02 $work
stat toomany -e r00:D -e r01:D -e r02:D $work
stat wide -e '{r00,r01,r02}' $work
stat weak -e '{r00,r01,r04}:W' $work
stat children -e r00,r01,r04 sh -c "$work & $work; wait"
perf stat -x, -a -e r00,r01,r04 -o everywhere perf stat -x, -e r00,r04 -o beside $work
perf record -q -e r00 -c 1000000 -o data $work
perf script -i data -F comm,period > script
perf record -q -F 500 -e r00 -e r01 -e r04 -o data $work
perf script -i data -F event | sort | uniq -c > events
for i in 1 2 3 4 5 6; do perf stat -x, -a -e '{r00,r01},r04,r05' -o /dev/null $work & done; wait
stat after -e r00,r01 $work
tar cf - . >&3
END
timeout 250 tools/qemu-run --debug-kernel --cpus 2 --timeout 240 --append counters=model --program perf --add build/programs/perf/cost:/cost --add "$dir/in.sh:/in.sh" -- sh /in.sh > "$dir/out.tar" 2> "$dir/log"
check "the guest ends well" "[ $? = 0 ]" || tail -20 "$dir/log"
mkdir "$dir/out" && tar xf "$dir/out.tar" -C "$dir/out" 2> /dev/null
cd "$dir/out" || exit 1
count() { awk -F, -v e="$2" '$3 == e { print $1 }' "$1"; }
share() { awk -F, -v e="$2" '$3 == e { print int($5) }' "$1"; }
between() { [ -n "$2" ] && [ "$2" -ge "$1" ] && [ "$2" -le "$3" ]; }
check "sysfs has the numbers of generic events" "grep -q 'event=0x3c,umask=0x00' sysfs"
check "two events on two counters always run" "[ \$(share two cycles) = 100 ] && [ \$(share two instructions) = 100 ] && [ \$(count two cycles) -gt 1000000 ]" || cat two
check "four take turns, each about half the time" "for e in r00 r01 r04 r05; do between 35 \$(share four \$e) 65 || exit 1; done" || cat four
check "scaled counts of equal events are equal, whatever their turns" "between 70 \$((\$(count four r04) * 100 / \$(count four r00))) 130 && between 35 \$((\$(count four r01) * 100 / \$(count four r00))) 65" || cat four
check "groups are on and off as a whole" "between 22 \$(share groups r00) 45 && between 22 \$(share groups task-clock) 45 && [ \$(share groups r00) = \$(share groups r01) ] && [ \$(share groups r08) = \$(share groups r09) ]" || cat groups
check "a pinned event always runs, the others share what is left" "[ \$(share pinned r00:D) = 100 ] && between 35 \$(share pinned r01) 65 && between 35 \$(share pinned r02) 65" || cat pinned
check "a pinned event that does not fit is not counted" "grep -q '^<not counted>,,r02' toomany" || cat toomany
check "a group that could never fit is refused" "grep -q 'not \(supported\|counted\)' wide" || cat wide
check "perf breaks such a group up if it may" "between 50 \$(share weak r00) 80" || cat weak
check "children are counted, in turns" "between 45 \$(share children r00) 85 && [ \$(count children r00) -gt \$(count two cycles) ]" || cat children two
check "events of CPUs and of tasks share the counters" "between 10 \$(share everywhere r00) 90 && between 10 \$(share beside r00) 90" || cat everywhere beside
check "a period of a million is sampled where it is over" "[ \$(grep -c 'cost *1000000' script) -gt 50 ] && ! grep -v 'cost *1000000\|perf' script" || head -3 script
check "frequencies give samples of events that take turns" "[ \$(wc -l < events) = 3 ]" || cat events
check "nothing stays behind" "[ \$(share after r00) = 100 ]" || cat after
exit $failed
