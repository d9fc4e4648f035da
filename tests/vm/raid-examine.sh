#!/bin/bash
# first
# SPDX-License-Identifier: MIT
# Arrays of every level and superblock place, made by mdadm on Debian's kernel: `ostrom raid examine` says exactly
# what `mdadm --examine` says, for whole and degraded arrays, journals, bitmaps, PPL, spares, failfast and write-mostly.
set -eu
cd "$(dirname "$0")/../.."
command -v mdadm > /dev/null || { echo "no mdadm"; exit 77; }
command -v qemu-system-x86_64 > /dev/null || { echo "no qemu"; exit 77; }
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
args=()
for i in 0 1 2 3 4; do truncate -s 12M "$tmp/d$i"; args+=(-d "$tmp/d$i"); done
checked=0
# The guest makes one array after the other and copies what a member's front and end hold to a sixth disk.
truncate -s 960M "$tmp/out"
cat > "$tmp/run" <<'END'
export MDADM_NO_UDEV=1
n=0
all="/dev/vda /dev/vdb /dev/vdc /dev/vdd /dev/vde"
make() {
	for d in $all; do dd if=/dev/zero of=$d bs=1M 2> /dev/null; done
	mdadm -CR /dev/md0 "$@" > /tmp/log 2>&1 || { cat /tmp/log; exit 1; }
	[ -z "${fail:-}" ] || mdadm /dev/md0 -f $fail > /dev/null 2>&1
	mdadm --wait /dev/md0 > /dev/null 2>&1
	mdadm -S /dev/md0 > /dev/null 2>&1
	for d in $all; do dd if=$d of=/dev/vdf bs=1M count=12 seek=$((12 * n)) 2> /dev/null; n=$((n + 1)); done
}
make -l5 -n4 /dev/vda /dev/vdb /dev/vdc /dev/vdd -x1 /dev/vde
make -l5 -n3 -e1.0 -c64 --layout=ra /dev/vda /dev/vdb /dev/vdc
make -l5 -n3 -e1.1 --bitmap=internal /dev/vda /dev/vdb /dev/vdc
make -l5 -n3 -e1.0 --bitmap=internal --bitmap-chunk=64K /dev/vda /dev/vdb /dev/vdc
make -l5 -n4 --write-journal /dev/vde /dev/vda /dev/vdb /dev/vdc /dev/vdd
fail=/dev/vdb make -l6 -n5 $all
fail=
make -l6 -n4 --layout=ddf-N-continue /dev/vda /dev/vdb /dev/vdc /dev/vdd
make -l5 -n3 --consistency-policy=ppl /dev/vda /dev/vdb /dev/vdc
make -l1 -n2 --failfast /dev/vda --write-mostly /dev/vdb
make -l10 -n4 --layout=f2 /dev/vda /dev/vdb /dev/vdc /dev/vdd
make -l10 -n3 --layout=o2 /dev/vda /dev/vdb missing
make -l0 -n2 /dev/vda /dev/vdb
make -l4 -n3 /dev/vda /dev/vdb /dev/vdc
make -llinear -n2 /dev/vda /dev/vdb
make -l5 -n3 --assume-clean missing /dev/vdb /dev/vdc
echo arrays $n
END
# ./test without --all makes those whose superblocks differ most.
[ "${TEST_MODE:-all}" = all ] || sed -i -E '/^make .*(layout=ra|-e1.1|layout=ddf|layout=o2|-l0|-l4|-llinear|assume-clean)/d' "$tmp/run"
arrays=$(grep -c 'make -' "$tmp/run")
tools/linux-guest -t 300 -m raid456 -m raid1 -m raid10 -m raid0 -m linear -b mdadm -f "$tmp/run:/run.sh" "${args[@]}" \
	-d "$tmp/out" -- 'sh /run.sh' | tee "$tmp/said"
n=$(sed -n 's/^arrays //p' "$tmp/said")
[ "$n" = $((5 * arrays)) ] || { echo "guest made ${n:-0} of $((5 * arrays)) members"; exit 1; }
for i in $(seq 0 $((n - 1))); do
	dd if="$tmp/out" of="$tmp/m" bs=1M count=12 skip=$((12 * i)) 2> /dev/null
	mdadm --examine "$tmp/m" > "$tmp/want" 2> /dev/null || continue
	build/user/ostrom raid examine "$tmp/m" > "$tmp/got"
	diff -u "$tmp/want" "$tmp/got" || { echo "member $i differs"; exit 1; }
	checked=$((checked + 1))
done
[ $checked -ge $((3 * arrays)) ] || { echo "only $checked members had superblocks"; exit 1; }
echo "ok: $checked members, examine equals mdadm's"
