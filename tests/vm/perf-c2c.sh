#!/bin/bash
# alone: two CPUs that really run side by side
# Debian's unmodified perf samples memory inside Ostrom, on a machine without a PMU: `perf c2c` puts the line that is fought over first
# in each program and none in the control; `perf mem` names what it saw. On Intel's processors perf asks for two events of `cpu`, on AMD's
# for one of `ibs_op`: both are recorded here.
cd "$(dirname "$0")/../.." || exit 2
. tests/vm/lib/check.sh
command -v perf > /dev/null || { echo "skip: no perf on this machine"; exit 77; }
make -s kernel build/user/init build/user/ostrom || exit 1
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
mkdir "$dir/c2c"
programs="counters flag spinlock queue control"
for p in $programs; do gcc -O2 -g -static -o "$dir/c2c/$p" "tests/programs/c2c/$p.c" -lpthread || exit 1; done
gcc -O2 -g -static -o "$dir/c2c/trapflag" tests/programs/perf/trapflag.c || exit 1
cat > "$dir/in.sh" << 'END'
mkdir /tmp/out; cd /tmp/out
for p in counters flag spinlock queue control; do
	perf c2c record -q -o data -- /c2c/$p 25000000 > $p.log 2>&1
	perf c2c report -i data --stdio --no-source > $p.c2c 2>> $p.log
done
perf record -q -W -d --phys-data --sample-cpu -e cpu/mem-loads,ldlat=30/P -e cpu/mem-stores/P -o data -- /c2c/counters 25000000 > intel.log 2>&1
perf c2c report -i data --stdio --no-source > intel.c2c 2>> intel.log
perf script -i data -F event,addr,phys_addr,data_src,weight,cpu > intel.script 2>> intel.log
perf mem record -q -o data /c2c/counters 25000000 > mem.log 2>&1
perf mem report -i data --stdio -q > mem.txt 2>> mem.log
ostrom c2c record -q -o data /c2c/counters 25000000 > ours.log 2>&1
ostrom c2c report -i data > ours.txt 2>> ours.log
ostrom c2c report -i data --stdio > ours.c2c 2>> ours.log
perf c2c report -i data --stdio > theirs.c2c 2>> ours.log
perf stat -e cpu/mem-loads/ true > stat.txt 2>&1
perf record -q -F 20000 -W -d -e cpu/mem-loads/ -e cpu/mem-stores/ -o data -- /c2c/trapflag 300000 > trapflag.txt 2>&1
perf script -i data -F addr > trapflag.script
tar cf - .
END
timeout 200 tools/qemu-run --cpus 2 --timeout 150 --program perf --program addr2line --program "$PWD/build/user/ostrom:/bin/ostrom" --add "$dir/c2c:/c2c" --add "$dir/in.sh:/in.sh" -- sh /in.sh \
	> "$dir/out.tar" 2> "$dir/log"
status=$?
mkdir "$dir/out" && tar xf "$dir/out.tar" -C "$dir/out" 2> /dev/null
check "the guest ends well" "[ $status = 0 ]" || tail -20 "$dir/log"
cd "$dir/out" || exit 1
# The line of the table that perf sorts to the top, and the one where the symbol lies.
first() { sed -n '/Shared Data Cache Line Table/,/Distribution Pareto/p' "$1" | awk '$1 == "0" { print $2; exit }'; }
line_of() { printf '0x%x' $((0x$(nm "$dir/c2c/$1" | awk -v s="$2" '$3 == s && $2 ~ /[BD]/ { print $1 }') & ~63)); }
samples() { wc -l < "$1"; }
for row in counters:counters flag:config spinlock:state queue:queue; do
	p=${row%:*}
	check "$p: the line of ${row#*:} comes first" "[ '$(first $p.c2c)' = '$(line_of $p "${row#*:}")' ]" || cat $p.log
done
check "control: no line is fought over" "[ -z '$(first control.c2c)' ] && grep -q 'Load Operations  *: *[1-9]' control.c2c"
check "two events of cpu say the same" "[ '$(first intel.c2c)' = '$(line_of counters counters)' ]" || cat intel.log
check "both fields of the line are named" "grep -q ' 0x0 .*count_a' intel.c2c && grep -q ' 0x8 .*count_b' intel.c2c"
check "ostrom c2c records by the kernel's samples and says so in words" "grep -q 'False sharing of the line .* counters' ours.txt" || cat ours.log
check "and prints perf's bytes of that file" "[ -s ours.c2c ] && cmp ours.c2c theirs.c2c"
check "samples carry level and weight" "grep -q 'mem-loads.*L3 hit|SNP HitM.* 90 ' intel.script"
check "and nearly all a physical address with the same offset" \
	"awk '{ n++; ok += substr(\$3, length(\$3) - 2) == substr(\$NF, length(\$NF) - 2) } END { exit !(n > 50 && ok > n * 0.9) }' intel.script"
check "the sampled program cannot see that it is stepped" "grep -q 'seen 0, signals [1-9].*, traps 0' trapflag.txt && [ $(samples trapflag.script) -gt 20 ]"
check "perf mem shows levels and symbols" "grep -q 'L3.*count_[ab].*counters' mem.txt"
check "what cannot be counted is not" "grep -q 'not supported' stat.txt"
exit $failed
