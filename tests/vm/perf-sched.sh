#!/bin/bash
# Debian's unmodified perf inside Ostrom: it counts, records the scheduler, and reads its recording back. The same file says
# the same outside: to the host's perf and, byte for byte, to `ostrom timehist`.
cd "$(dirname "$0")/../.." || exit 2
. tests/vm/lib/check.sh
command -v perf > /dev/null || { echo "skip: no perf on this machine"; exit 77; }
make -s kernel build/user/init build/user/ostrom || exit 1
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cat > "$dir/in.sh" << 'END'
mkdir /tmp/out; cd /tmp/out
work='for i in 1 2 3 4 5; do sleep 0.01; ls / > /dev/null; done'
perf stat -x, -e task-clock,context-switches,cpu-migrations,page-faults,sched:sched_switch,raw_syscalls:sys_enter sh -c "$work" 2> stat
perf sched record -o data -- sh -c "$work" > record 2>&1
perf sched timehist -i data > timehist 2> errors
perf sched timehist -i data -MVw --state --next > wide 2>> errors
perf sched latency -i data > latency 2>> errors
perf script -i data > script 2>> errors
perf record -q -o samples -F 2000 -- sh -c 'i=0; while [ $i -lt 30000 ]; do i=$((i+1)); done' > /dev/null 2>&1
perf report -i samples --stdio -q --sort comm > report 2>> errors
perf stat -x, -e sched:sched_process_exec --filter 'filename ~ "/proc/*" && pid > 1' sh -c "$work" 2> filtered
perf record -q -o lossy -m 1 -e raw_syscalls:sys_enter -c 1 -- sh -c 'i=0; while [ $i -lt 3000 ]; do : < /dev/null; i=$((i+1)); done' > lossy.log 2>&1
perf script -i lossy --show-lost-events > lossy.txt 2>> errors
tar cf - .
END
timeout 200 tools/qemu-run --cpus 2 --timeout 150 --program perf --add "$dir/in.sh:/in.sh" -- sh /in.sh > "$dir/out.tar" 2> "$dir/log"
status=$?
mkdir "$dir/out" && tar xf "$dir/out.tar" -C "$dir/out" 2> /dev/null
check "the guest ends well" "[ $status = 0 ]" || tail -20 "$dir/log"
cd "$dir/out" || exit 1
value() { grep ",$1," "$2" | cut -d, -f1; }
check "perf stat counts every kind" "[ \$(grep -c '^[0-9]' stat) = 6 ]"
check "a shell that starts ten programs faults, switches and calls" "[ $(value page-faults stat) -gt 500 ] && [ $(value context-switches stat) -ge 10 ] && [ $(value raw_syscalls:sys_enter stat) -gt 300 ]"
check "switches counted twice are the same" "[ $(value context-switches stat) = $(value sched:sched_switch stat) ]"
check "a filter counts the five programs that are run by exec, not the shell" "[ $(value sched:sched_process_exec filtered) = 5 ]"
check "nothing is lost in big rings" "! grep -qi lost record"
check "timehist has a row a turn" "[ \$(grep -c ' sleep\\[' timehist) -ge 5 ] && grep -q '<idle>' timehist"
check "latency lists the programs" "grep -q 'sleep:' latency && grep -q 'ls:' latency"
check "script prints every tracepoint" "grep -q 'sched:sched_switch: .* ==> ' script && grep -q 'sched_waking: comm=' script && grep -q 'child_comm=' script"
perf sched timehist -i data > host 2> /dev/null
check "the host's perf reads the same" "cmp timehist host"
"$OLDPWD/build/user/ostrom" timehist -i data > ours 2> /dev/null
check "ostrom timehist prints the same bytes" "cmp timehist ours"
"$OLDPWD/build/user/ostrom" timehist -i data -MVw --state --next > ours 2> /dev/null
check "also with migrations, wake-ups, states and successors" "cmp wide ours"
check "a clock finds the loop" "grep -Eq '(9[0-9]|100)\\.[0-9]*%.*sh' report"
check "a ring of one page loses, and says so where it did" "grep -q 'PERF_RECORD_LOST' lossy.txt"
exit $failed
