#!/bin/bash
# SPDX-License-Identifier: MIT
# `ostrom bpfcheck` on objects that clang made (tests/programs/bpf/check.bpf.c): the verdict of each, and the line of C that is to blame.
# ORACLE=1: the same verdicts from Debian's Linux, through bpftool.
cd "$(dirname "$0")/../.." || exit 2
command -v clang > /dev/null || { echo "skip: no clang"; exit 77; }
tmp=$(mktemp -d) && trap 'rm -rf "$tmp"' EXIT
make -s user || exit 1
source=tests/programs/bpf/check.bpf.c failed=0
cases=$(sed -nE 's/^#(el)?if CASE == ([0-9]+).*/\2/p' $source)
wanted() { sed -nE "s/^#(el)?if CASE == $1 .. (accepted|refused):.*/\2/p" $source; }

for i in $cases; do
	clang -O2 -g -target bpf -DCASE="$i" -I/usr/include/x86_64-linux-gnu -c $source -o "$tmp/$i.o" || exit 1
	build/user/ostrom bpfcheck "$tmp/$i.o" > "$tmp/said"
	grep -q ": program (sched_cls): $(wanted "$i")" "$tmp/said" || { failed=1; echo "case $i, not $(wanted "$i"):"; cat "$tmp/said"; }
	if [ "$(wanted "$i")" != refused ] || [ "$i" = 5 ]; then continue; fi # what a type says has no line
	line=$(sed -nE 's/.*check.bpf.c:([0-9]+):.*/\1/p' "$tmp/said")
	sed -n "${line:-1}p" $source | grep -q 'BLAME' || { failed=1; echo "case $i blames line ${line:-none}"; cat "$tmp/said"; }
done
if [ -n "$ORACLE" ]; then
	for i in $cases; do
		echo "bpftool prog load /o/$i.o /sys/fs/bpf/p$i > /dev/null 2>&1 && echo $i accepted || echo $i refused"
	done > "$tmp/guest"
	mkdir "$tmp/o" && cp "$tmp"/*.o "$tmp/o"
	tools/linux-guest -b /usr/sbin/bpftool -f "$tmp/guest:/guest" -f "$tmp/o:/o" -- "mount -t bpf bpf /sys/fs/bpf; sh /guest" > "$tmp/linux"
	for i in $cases; do
		grep -q "^$i $(wanted "$i")$" "$tmp/linux" || { failed=1; echo "Linux thinks otherwise of case $i"; }
	done
fi
[ $failed = 0 ] && echo "ok $(echo "$cases" | wc -w) objects"
exit $failed
