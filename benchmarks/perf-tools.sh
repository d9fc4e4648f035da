#!/bin/bash
# ostrom's perf tools beside Debian's perf, on the same files in one run: time (user and system seconds of the best of N runs, so
# that other load on the machine counts little) and peak memory. Writes benchmarks/results/perf-tools.txt.
#   perf-tools.sh [--big]      --big adds the recording of ten million events
# Rows: timehist (rows, summary), c2c report, overhead of `c2c record` (run time of a program with and without it).
set -u
cd "$(dirname "$0")/.." || exit 2
OSTROM=$PWD/build/user/ostrom
out=benchmarks/results/perf-tools.txt
dir=$(mktemp -d) || exit 2
trap 'rm -rf "$dir"' EXIT
N=${N:-5}
mkdir -p benchmarks/results

# best CPU seconds and peak KB of N runs
measure() {
	for _ in $(seq "$N"); do
		/usr/bin/time -o "$dir/t" -f "%U %S %M" "$@" > /dev/null 2>&1
		cat "$dir/t"
	done | awk '{ s = $1 + $2; if (NR == 1 || s < best) best = s; if ($3 > kb) kb = $3 } END { printf "%.2f %d", best, kb }'
}

row() { # name, events, perf's command --, ostrom's command
	local name=$1 events=$2 a b
	shift 2
	local p=() o=() side=p
	for w in "$@"; do [ "$w" = -- ] && { side=o; continue; }; [ $side = p ] && p+=("$w") || o+=("$w"); done
	a=$(measure "${p[@]}")
	b=$(measure "${o[@]}")
	echo "$name $events $a $b" | awk '{ printf "%-22s %10d %9.2f %9d %9.2f %9d %8.1f %8.1f\n", $1, $2, $3, $4, $5, $6, $3 / ($5 > 0 ? $5 : 0.01), $4 / $6 }' | tee -a "$out"
}

{
	echo "# $(date -u +%F), $(uname -r), $(nproc) CPUs, $(sed -n 's/model name.*: //p' /proc/cpuinfo | head -1), $(perf --version)"
	printf "%-22s %10s %9s %9s %9s %9s %8s %8s\n" row events perf_s perf_KB ostrom_s ostrom_KB faster smaller
} | tee "$out"
loops="400 4000"
[ "${1:-}" = --big ] && loops="$loops 32000"
for l in $loops; do
	perf sched record -o "$dir/sched" -- perf bench sched messaging -g 5 -l "$l" > /dev/null 2>&1 || exit 77
	n=$(perf report -i "$dir/sched" --stats 2> /dev/null | awk '/SAMPLE events/ { print $3; exit }')
	row timehist "${n:-0}" perf sched timehist -i "$dir/sched" -- "$OSTROM" sched timehist -i "$dir/sched"
	row timehist-summary "${n:-0}" perf sched timehist -s -i "$dir/sched" -- "$OSTROM" sched timehist -s -i "$dir/sched"
done
gcc -O2 -o "$dir/regression" tests/programs/c2c/regression.c -lpthread -g || exit 2
for f in 2000 20000; do
	"$OSTROM" c2c record -q -F $f -o "$dir/c2c" "$dir/regression" 2000000000 2> /dev/null || exit 1
	n=$(perf report -i "$dir/c2c" --stats 2> /dev/null | awk '/SAMPLE events/ { print $3; exit }')
	row c2c-report "${n:-0}" perf c2c report --stdio -i "$dir/c2c" -- "$OSTROM" c2c report --stdio -i "$dir/c2c"
done
# the program's own CPU seconds (best of N), alone and while it is recorded: what sampling costs it
own() {
	for _ in $(seq "$N"); do
		"$@" /usr/bin/time -o "$dir/t" -f "%U %S" "$dir/$p" 2000000000 > /dev/null 2>&1
		cat "$dir/t"
	done | awk '{ s = $1 + $2; if (NR == 1 || s < best) best = s } END { printf "%.2f", best }'
}
for p in counters regression control; do
	gcc -O2 -o "$dir/$p" tests/programs/c2c/$p.c -lpthread || exit 2
	plain=$(own env)
	rec=$(own "$OSTROM" c2c record -q -o "$dir/c2c")
	echo "overhead-$p $plain $rec" |
		awk '{ printf "%-22s %.2f s alone, %.2f s under c2c record: %+.1f %%\n", $1, $2, $3, 100 * ($3 / $2 - 1) }' | tee -a "$out"
done
