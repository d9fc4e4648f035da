#!/bin/bash
# SPDX-License-Identifier: MIT
# The cache-model plug-in on a bare-metal guest whose accesses are known in advance: it loads, counts exactly, shows the
# effect of page colours, and sees two CPUs pass a line to each other.
cd "$(dirname "$0")/../.." || exit 2
command -v qemu-system-x86_64 > /dev/null || { echo "skip: no qemu-system-x86_64"; exit 77; }
make -s build/plugins/cachemodel.so || exit 1
dir=$(mktemp -d) || exit 1
trap 'rm -rf "$dir"' EXIT
gcc -m32 -nostdlib -static -no-pie -Wl,-Ttext=0x100000,--build-id=none,-z,noexecstack -o "$dir/guest.elf" \
	tests/vm/cachemodel/guest.S || exit 1

run() { # arguments of the plug-in; the reports land in $dir/report
	timeout 30 qemu-system-x86_64 -machine pc -m 128M -smp 2 -display none -serial none -monitor none -nodefaults \
		-no-reboot -accel "tcg,thread=${2:-single}" -device isa-debug-exit -kernel "$dir/guest.elf" \
		-plugin "build/plugins/cachemodel.so,tag=0x9000,out=$dir/report,$1"
	[ $? -eq 33 ] || { echo "not ok: the guest did not finish"; exit 1; }
}
report() { awk -v want="$1" 'BEGIN { n = 1 } /^end/ { n++; next } n == want' "$dir/report"; }
field() { report "$1" | sed -n "s/^$2.* $3=\([0-9]*\).*/\1/p"; }
status=0
expect() { # what actual test value
	if [ -n "$2" ] && [ "$2" "$3" "$4" ]; then echo "ok $1: $2"; else echo "not ok $1: '$2', wanted $3 $4"; status=1; fi
}

for policy in lru plru; do
	run "policy=$policy"
	# 64 pages of 64 lines, 4 passes; each page and pass also touches the stack line(s) for calls
	expect "$policy alone: misses are the first pass" "$(field 1 'requestor 1' misses)" -le 4100
	expect "$policy alone: and all of it" "$(field 1 'requestor 1' misses)" -ge 4096
	expect "$policy alone: accesses" "$(field 1 'requestor 1' accesses)" -ge 16384
	expect "$policy beside an aggressor: three of four passes and more miss" "$(field 2 'requestor 1' misses)" -ge 12288
	expect "$policy beside an aggressor of other colours: next to none" "$(field 3 'requestor 1' misses)" -le 100
	expect "$policy the aggressor still streams" "$(field 3 'requestor 2' misses)" -ge 262144
	expect "$policy coloured: aggressor stays out of colour 0" "$(field 3 'colour 0' misses)" -le 20
	expect "locked operations of CPU 0" "$(field 4 'cpu 0' locked)" -eq 1000
	expect "locked operations of CPU 1" "$(field 4 'cpu 1' locked)" -eq 1000
	line=$(report 4 | grep '^line 0x800000 ')
	hitm=$(echo "$line" | sed 's/.*hitm_loads=\([0-9]*\).*/\1/')
	expect "a load takes the line at every turn" "$hitm" -ge 1999
	expect "and nothing else does" "$hitm" -le 2001
	expect "at the word's own bytes" "$(echo "$line" | grep -c 'written=000000000000000f')" -eq 1
done
# CPUs on threads of their own: the order of callbacks is less exact, the operations are not.
run "policy=lru" multi
expect "threads: locked operations of CPU 1" "$(field 4 'cpu 1' locked)" -eq 1000

# A partition by ways instead of colours: the aggressor gets 4 of 16, the victim the others.
run "policy=lru,ways1=fff0,ways2=000f"
expect "ways: the victim keeps its lines" "$(field 2 'requestor 1' misses)" -le 20
# What it cannot use, it refuses.
timeout 20 qemu-system-x86_64 -machine none -display none -plugin build/plugins/cachemodel.so,ways=3x 2> "$dir/err"
expect "a bad argument is refused" "$(grep -c "cannot use 'ways=3x'" "$dir/err")" -eq 1
exit $status
