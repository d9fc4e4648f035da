#!/bin/bash
# ostrom's perf tools beside Debian's perf, on the same files in one run: time and peak memory. Writes
# benchmarks/results/perf-tools.txt.
#   perf-tools.sh [--big]      --big adds recordings of ten million events
# Both programs read a file in turn, N times; cpu is the median of user and system seconds (other load on the machine counts
# little), wall the median of elapsed seconds, KB the highest peak. Recordings are real loads: hackbench and stress-ng.
# Rows: timehist (rows, summary), c2c report, overhead of `c2c record` in PAIRS short runs.
# PARTS names some of timehist, c2c, overhead; OUT another file for the results.
set -u
cd "$(dirname "$0")/.." || exit 2
OSTROM=$PWD/build/user/ostrom
out=${OUT:-benchmarks/results/perf-tools.txt}
dir=$(mktemp -d) || exit 2
trap 'rm -rf "$dir"' EXIT
N=${N:-7}
PAIRS=${PAIRS:-25}
mkdir -p benchmarks/results
for p in perf hackbench stress-ng; do
	command -v $p > /dev/null || { echo "skip: no $p (apt install linux-perf rt-tests stress-ng)"; exit 77; }
done

gcc -O2 -o "$dir/usage" benchmarks/usage.c || exit 2
once() { # file of results, command...
	"$dir/usage" "$dir/$1" "${@:2}"
}

median() { # file, awk expression of a line
	awk "{ print $2 }" "$dir/$1" | sort -n | awk '{ v[NR] = $1 } END { print v[int((NR + 1) / 2)] }'
}

row() { # name, file, perf's command --, ostrom's command
	local name=$1 events p=() o=() side=p
	events=$(perf report -i "$2" --stats 2> /dev/null | awk '/SAMPLE events/ { print $3; exit }')
	shift 2
	for w in "$@"; do [ "$w" = -- ] && { side=o; continue; }; [ $side = p ] && p+=("$w") || o+=("$w"); done
	rm -f "$dir/p" "$dir/o"
	for _ in $(seq "$N"); do once p "${p[@]}"; once o "${o[@]}"; done
	for side in p o; do echo "$(median $side '$1 + $2') $(median $side '$3') $(sort -k4,4n "$dir/$side" | tail -1 | cut -d' ' -f4)"; done |
		paste -sd' ' | awk -v n="$name" -v e="${events:-0}" 'function by(a, b) { return a / b }
			{ printf "%-26s %9d %7.0f %7.0f %8d %7.1f %7.1f %8d %6.1f %6.1f %6.1f\n",
			n, e, $1 * 1000, $2 * 1000, $3, $4 * 1000, $5 * 1000, $6, by($1, $4), by($2, $5), by($3, $6) }' | tee -a "$out"
}

{
	echo "# $(date -u +%F), $(uname -r), $(nproc) CPUs, $(sed -n 's/model name.*: //p' /proc/cpuinfo | head -1), $(perf --version), load $(cut -d' ' -f1 /proc/loadavg)"
	printf "%-26s %9s %7s %7s %8s %7s %7s %8s %6s %6s %6s\n" "row (times in ms)" events perf_cpu wall KB our_cpu wall KB cpu_x wall_x KB_x
} | tee "$out"
hack() { hackbench -g 5 -l "$1"; }
stress() { stress-ng --switch 2 --switch-ops "$1" -q; stress-ng --pipe 2 --pipe-ops "$1" -q; }
export -f hack stress
loads=("hack 400" "stress 13000" "hack 8000" "stress 130000")
[ "${1:-}" = --big ] && loads+=("hack 80000" "stress 1300000")
for p in regression queue counters control; do
	gcc -O2 -g -o "$dir/$p" tests/programs/c2c/$p.c -lpthread || exit 2
done

timehist() {
	for l in "${loads[@]}"; do
		perf sched record -o "$dir/sched" -- bash -c "$l" > /dev/null 2>&1 || exit 77
		row "timehist-${l% *}" "$dir/sched" perf sched timehist -i "$dir/sched" -- "$OSTROM" sched timehist -i "$dir/sched"
		row "timehist-summary-${l% *}" "$dir/sched" perf sched timehist -s -i "$dir/sched" -- "$OSTROM" sched timehist -s -i "$dir/sched"
	done
}

c2c() {
	for f in 2000 20000; do
		for p in regression queue; do
			"$OSTROM" c2c record -q -F $f -o "$dir/c2c" "$dir/$p" 500000000 2> /dev/null || exit 1
			row "c2c-report-$p" "$dir/c2c" perf c2c report --stdio -i "$dir/c2c" -- "$OSTROM" c2c report --stdio -i "$dir/c2c"
		done
	done
}

# What sampling costs a program, its own user and system seconds, told in two ways: short runs alone and recorded in turn
# (pairs.py), and the samples of a second times what c2c record found that one costs.
overhead() {
	for p in control counters regression; do
		rm -f "$dir/p" "$dir/o" "$dir/err"
		alone() { once p "$dir/$p" 50000000; }
		recorded() { "$OSTROM" c2c record -o "$dir/c2c" "$dir/usage" "$dir/o" "$dir/$p" 50000000 > /dev/null 2>> "$dir/err"; }
		for i in $(seq "$PAIRS"); do
			if [ $((i % 2)) = 0 ]; then alone; recorded; else recorded; alone; fi
		done
		read -r mean low high < <(benchmarks/pairs.py "$dir/p" "$dir/o")
		samples=$(awk '/ samples, / { for (i = 1; i < NF; i++) if ($(i + 1) == "samples,") n += $i } END { print n }' "$dir/err")
		price=$(sed -n 's/.*(\([0-9.]*\) us each).*/\1/p' "$dir/err" | sort -n | awk '{ v[NR] = $1 } END { print v[int((NR + 1) / 2)] }')
		awk -v n="$samples" -v us="$price" -v of="overhead-$p" -v m="$mean" -v l="$low" -v h="$high" -v pairs="$PAIRS" '{ s += $1 + $2 }
			END { printf "%-26s %s %% [%s, %s] in %d pairs; %.0f samples a second of %.1f us: %.1f %%\n", of, m, l, h, pairs, n / s, us, n / s * us / 10000 }' \
			"$dir/o" | tee -a "$out"
	done
}

for part in ${PARTS:-timehist c2c overhead}; do $part; done
