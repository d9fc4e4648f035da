#!/bin/bash
# The perf tools on this machine beside Debian's perf: the same bytes from the same files. In mode all the long ones, too: every
# combination of timehist's options, and the programs with known sharing.
set -u
cd "$(dirname "$0")/../.." || exit 2
make -s user || exit 1
jobs=(man-pages kernel-names broken-chains c2c-nodes timehist-waits report-same c2c-view)
[ "${TEST_MODE:-}" = all ] && jobs+=(timehist-matrix c2c-bar)
ran=0
for j in "${jobs[@]}"; do
	"tests/tools/$j"
	status=$?
	[ $status = 77 ] && continue
	[ $status = 0 ] || { echo "not ok $j"; exit 1; }
	ran=$((ran + 1))
done
[ $ran -gt 6 ] || { echo "skip: perf cannot record here"; exit 77; }
