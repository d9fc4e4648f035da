#!/bin/bash
# tracefs by hand and by Debian's unmodified trace-cmd: control files, text, marks, instances, raw pages. The kernel's own text of
# each event must be the text that trace-cmd makes from the raw pages and the format files.
cd "$(dirname "$0")/../.." || exit 2
. tests/vm/lib/check.sh
command -v trace-cmd > /dev/null && command -v perf > /dev/null || { echo "skip: no trace-cmd or perf on this machine"; exit 77; }
make -s kernel build/user/init || exit 1
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cat > "$dir/in.sh" << 'END'
mkdir /tmp/out; cd /tmp/out
T=/sys/kernel/tracing
cat $T/buffer_size_kb > size; cat $T/trace_clock > clock
work() { for i in 1 2 3; do /bin/busybox true; sleep 0.01; done; }
echo 'id == 39' > $T/events/raw_syscalls/sys_enter/filter; cat $T/events/raw_syscalls/sys_enter/filter > filter
echo 'sched:sched_switch task raw_syscalls' > $T/set_event
cat $T/set_event $T/events/enable $T/events/task/enable $T/events/sched/enable > enabled
echo 'nofield == 3' > $T/events/raw_syscalls/sys_enter/filter 2> badfilter; echo $? >> badfilter
work; echo "a mark" > $T/trace_marker
echo 0 > $T/tracing_on
cat $T/trace > text; cat $T/per_cpu/cpu*/stats > stats; cat $T/saved_cmdlines > names
trace-cmd extract -o extracted > extract.log 2>&1
trace-cmd report -i extracted > report 2>> extract.log
echo 0 > $T/events/raw_syscalls/sys_enter/filter; cat $T/events/raw_syscalls/sys_enter/filter >> filter
: > $T/set_event; wc -c < $T/set_event > cleared; : > $T/trace; grep -vc '^#' $T/trace >> cleared
echo nosuch > $T/set_event 2> /dev/null; echo $? >> cleared
echo 1 > $T/tracing_on
echo task > $T/set_event; work; echo 0 > $T/tracing_on; cat $T/trace_pipe > pipe; grep -vc '^#' $T/trace > after; echo > $T/set_event; echo 1 > $T/tracing_on
mkdir $T/instances/one $T/instances/two
echo 1 > $T/instances/one/events/task/task_newtask/enable; echo 1 > $T/instances/two/events/sched/enable
work; cat $T/instances/one/trace > one; cat $T/instances/two/trace > two; grep -vc '^#' $T/trace > none
exec 3< $T/instances/one/trace_pipe; rmdir $T/instances/one 2> busy; exec 3<&-; rmdir $T/instances/one $T/instances/two; ls $T/instances > gone
trace-cmd record -e sched -e raw_syscalls -o data sh -c 'for i in 1 2 3; do /bin/busybox true; sleep 0.01; done' > record.log 2>&1
trace-cmd report -i data > data.txt 2>> record.log
echo 8 > $T/buffer_size_kb; echo 1 > $T/events/raw_syscalls/enable; i=0; while [ $i -lt 200 ]; do : < /dev/null; i=$((i+1)); done; echo 0 > $T/tracing_on
cat $T/per_cpu/cpu*/stats > small; cat $T/buffer_size_kb >> small
perf trace -o calls cat /proc/version > /dev/null 2> perf.log
perf trace -s -o summary cat /proc/version > /dev/null 2>> perf.log
perf stat -x, -o stat -e syscalls:sys_enter_openat,syscalls:sys_exit_close,raw_syscalls:sys_enter cat /proc/version > /dev/null 2>> perf.log
echo 0 > $T/tracing_on; echo > $T/set_event; echo > $T/trace; echo syscalls:sys_enter_openat > $T/set_event; echo 1 > $T/tracing_on
cat /proc/version > /dev/null; cat $T/trace > callstext
cat > work.sh << 'WORK'
mkdir /sys/fs/cgroup/a /sys/fs/cgroup/b; echo $$ > /sys/fs/cgroup/a/cgroup.procs; echo 1 > /sys/fs/cgroup/b/cgroup.freeze
echo 0 > /sys/fs/cgroup/b/cgroup.freeze; echo $$ > /sys/fs/cgroup/cgroup.procs; rmdir /sys/fs/cgroup/a /sys/fs/cgroup/b
{ dd if=/dev/zero bs=4k count=64; sleep 6; } > /dev/vda # the flusher still sleeps by its old period
dd if=/dev/zero of=/dev/vda bs=4k count=64 conv=fsync; ping -c 1 127.0.0.1
WORK
echo 10 > /proc/sys/vm/dirty_writeback_centisecs; echo 10 > /proc/sys/vm/dirty_expire_centisecs
mount -t cgroup2 c /sys/fs/cgroup 2> /dev/null; ifconfig lo up
trace-cmd record -b 6000 -e block -e writeback -e net -e cgroup -e kmem -o parts sh work.sh > parts.log 2>&1
trace-cmd report -i parts > parts.txt 2>> parts.log
tar cf - .
END
truncate -s 16M "$dir/disk"
timeout 220 tools/qemu-run --cpus 2 --timeout 200 --disk "$dir/disk" --program trace-cmd --program perf --add "$dir/in.sh:/in.sh" -- sh /in.sh > "$dir/out.tar" 2> "$dir/log"
status=$?
mkdir "$dir/out" && tar xf "$dir/out.tar" -C "$dir/out" 2> /dev/null
check "the guest ends well" "[ $status = 0 ]" || tail -20 "$dir/log"
cd "$dir/out" || exit 1
check "sizes and clocks" "[ '$(cat size)' = '7 (expanded: 1408)' ] && grep -q '^\[local\] global' clock"
check "set_event turns on events and systems" "[ \"\$(grep -v : enabled | tr -d '\n')\" = X1X ] && grep -q '^task:task_newtask' enabled"
check "a filter is kept, a wrong one refused" "[ \"\$(cat filter | tr '\n' ,)\" = 'id == 39,none,' ] && grep -q 1 badfilter"
check "a filter lets pass what it says" "! grep 'sys_enter:' text | grep -qv 'NR 39 ' && grep -q 'sys_exit: NR 59' text"
check "the mark stands in the trace" "grep -q 'tracing_mark_write: a mark$' text"
check "names are saved" "grep -q ' sh$' names"
# comm, pid, CPU, time to the microsecond, event, text: from both, without the column of flags
sed -n 's/^ *\(.*\)-\([0-9]*\) *\[\(...\)\] [^ ]* *\([0-9.]*\): \([a-z_]*\): /\1 \2 \3 \4 \5 /p' text | grep -v tracing_mark > ours
sed -n 's/^ *\(.*\)-\([0-9]*\) *\[\(...\)\] *\([0-9.]*\): \([a-z_]*\): */\1 \2 \3 \4 \5 /p' report | grep -v ' print ' > theirs
check "our text is trace-cmd's text, event by event" "[ \$(wc -l < ours) -gt 50 ] && cmp ours theirs" || { diff ours theirs | head -6; cat extract.log; }
for e in block_bio_queue block_plug block_unplug block_rq_issue block_rq_complete writeback_dirty_folio writeback_start writeback_written \
	balance_dirty_pages net_dev_queue net_dev_xmit netif_receive_skb cgroup_mkdir cgroup_rmdir cgroup_attach_task cgroup_freeze cgroup_unfreeze \
	kmalloc kfree kmem_cache_alloc kmem_cache_free mm_page_alloc mm_page_free; do
	check "trace-cmd reports $e" "grep -q ' $e: ' parts.txt"
done
check "a request's record tells who asked for what where" "grep -q 'block_rq_issue: *25[0-9],0 WS\\? [0-9]* () 0 + [0-9]* \\[' parts.txt" || grep -m3 block_rq_issue parts.txt
check "a tenant's record tells its path" "grep -q 'cgroup_mkdir: .*path=/b' parts.txt"
check "truncating clears" "[ \"\$(tr '\n' , < cleared)\" = '0,0,1,' ]"
check "the pipe consumes and ends when tracing is off" "[ \$(grep -c task_newtask pipe) -ge 3 ] && [ \$(cat after) = 0 ]"
check "instances see their own events only" "grep -q task_newtask one && ! grep -q sched_switch one && grep -q sched_switch two && ! grep -q task_newtask two && [ \$(cat none) = 0 ]"
check "an instance that is read stays, then goes" "[ -s busy ] && [ ! -s gone ]"
check "trace-cmd record loses nothing" "[ \$(grep -c sched_switch data.txt) -gt 20 ] && ! grep -qi 'lost\|overrun: [1-9]' data.txt record.log" || cat record.log
check "a small ring counts what it overwrote" "[ \$(sed -n 's/overrun: //p' small | sort -n | tail -1) -gt 100 ] && grep -q '^8$' small"
check "perf trace shows calls with names, arguments and results" "grep -q 'openat(dirfd: CWD, path: 0x[0-9a-f]*.*) *= [0-9]' calls && grep -q 'close(fd: [0-9]*) *= 0' calls" || cat perf.log
check "and adds them up" "grep -Eq '^ *openat +[1-9]' summary"
check "perf stat counts one call's events" "[ \"\$(grep -c '^[1-9][0-9]*,' stat)\" = 3 ]"
check "one call's event alone" "grep -q 'sys_openat(dirfd: ffffff9c, path: ' callstext && ! grep -q 'sys_close' callstext"
exit $failed
