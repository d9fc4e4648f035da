# Row: a program slowed by false sharing; ostrom c2c names the fields and the padding; the time after it is applied.
# No PMU is needed. The machine must have two CPUs.
set -e
dir=build/demo/c2c
mkdir -p $dir
src=tests/programs/c2c/counters.c
rounds=400000000
gcc -O2 -g -o $dir/counters $src -lpthread
sed 's/volatile long b;/_Alignas(64) volatile long b;/' $src > $dir/padded.c
cp tests/programs/c2c/common.h $dir/
gcc -O2 -g -o $dir/padded $dir/padded.c -lpthread
ms() { local t0=$(date +%s%N); "$@" > /dev/null; echo $((($(date +%s%N) - t0) / 1000000)); }
best() { local least=999999 t; for _ in 1 2 3; do t=$(ms "$@"); [ "$t" -lt $least ] && least=$t; done; echo $least; }
build/user/ostrom c2c record -q -o $dir/data $dir/counters $rounds
build/user/ostrom c2c report -i $dir/data > $dir/report.txt
cat $dir/report.txt
grep -q 'False sharing of the line .* counters (struct counters)' $dir/report.txt
grep -q 'counters\.a' $dir/report.txt && grep -q 'counters\.b' $dir/report.txt
grep -q 'Fix: .*_Alignas(64)' $dir/report.txt
before=$(best $dir/counters $rounds)
after=$(best $dir/padded $rounds)
echo "measured: counters.a and counters.b named as sharing one line, padding proposed; $before ms before it, $after ms after"
[ "$after" -lt "$before" ]
