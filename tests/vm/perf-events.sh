#!/bin/bash
# Events that belong to something else than a task or a CPU, by Debian's unmodified perf: those of a cgroup count while its tasks run, also when one moves in
# while it runs, and give its times.
cd "$(dirname "$0")/../.." || exit 2
. tests/vm/lib/check.sh
command -v perf > /dev/null || { echo "skip: no perf on this machine"; exit 77; }
make -s kernel build/user/init build/programs/perf/cost || exit 1
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cat > "$dir/in.sh" << 'END'
mkdir /tmp/out; cd /tmp/out; exec 3>&1 > stdout 2>&1
C=/sys/fs/cgroup; mount -t cgroup2 none $C 2> /dev/null; mkdir $C/busy $C/busy/below $C/quiet
sh -c "echo \$\$ > $C/busy/below/cgroup.procs; exec /cost loop 4000000000" & inside=$!
/cost loop 4000000000 & outside=$!
perf stat -x, -a -e task-clock,context-switches --for-each-cgroup busy,quiet -o stat.txt sleep 0.5
perf record -q -a -e cpu-clock -G busy -o data sleep 0.5; perf script -i data -F comm,pid > script.txt 2> log
(sleep 0.3; echo $outside > $C/quiet/cgroup.procs) &
perf stat -x, -a -e task-clock -G quiet -o moved.txt sleep 0.8
perf stat -a -e task-clock -G nowhere true 2> nowhere.txt
kill $inside $outside
echo $inside > inside.txt
tar cf - . >&3
END
timeout 120 tools/qemu-run --cpus 2 --timeout 100 --program perf --add build/programs/perf/cost:/cost --add "$dir/in.sh:/in.sh" -- sh /in.sh > "$dir/out.tar" 2> "$dir/log"
check "the guest ends well" "[ $? = 0 ]" || tail "$dir/log"
mkdir "$dir/out" && tar xf "$dir/out.tar" -C "$dir/out" 2> /dev/null
cd "$dir/out" || exit 1
ms() { awk -F, -v event="$2" -v group="$3" '$3 == event && $0 ~ "," group "," { print int($1) }' "$1"; }
check "a busy cgroup counts the CPU time of its tasks below" "[ \$(ms stat.txt task-clock busy) -gt 100 ]" || cat stat.txt
check "a cgroup without tasks counts nothing" "grep -q 'not counted.*quiet' stat.txt"
check "samples come from the cgroup alone" "[ \$(wc -l < script.txt) -gt 100 ] && ! grep -qv ' *cost *'\$(cat inside.txt) script.txt" || head -3 script.txt
check "a task that moves in while it runs counts from then on" "[ \$(ms moved.txt task-clock quiet) -gt 50 ]" || cat moved.txt
check "a cgroup that is none is refused" "grep -q 'no access to cgroup' nowhere.txt" || cat nowhere.txt
exit $failed
