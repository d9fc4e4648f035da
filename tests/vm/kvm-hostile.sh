#!/bin/bash
# SPDX-License-Identifier: MIT
# A hostile monitor and hostile guests (tests/programs/kvm_hostile.c) on the kernel with all checks: random arguments of every ioctl,
# guests of random bytes, a run area that changes meanwhile. The kernel goes on, a good guest runs, and nothing stays allocated. One CPU,
# as emulated SVM wants it.
cd "$(dirname "$0")/../.." || exit 2
. tests/vm/lib/check.sh
on_failure='tail -30 "$dir/out"'
make -s DEBUG=1 kernel && make -s build/user/init build/programs/kvm_hostile || exit 1
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cat > "$dir/script" <<'S'
free_kb() { while read -r k v rest; do [ "$k" = MemFree: ] && echo "$v"; done < /proc/meminfo; }
/hostile
before=$(free_kb)
/hostile > /dev/null
/hostile > /dev/null
after=$(free_kb)
echo "before $before after $after"
[ $((before - after)) -lt 512 ] && echo "no leak"
S
timeout 220 tools/qemu-run --debug-kernel --timeout 200 --add build/programs/kvm_hostile:/hostile --add "$dir/script:/script" -- sh /script > "$dir/out" 2>&1
status=$?
for c in random_calls random_guests run_area_under_change; do check "$c" "grep -q '^ok $c' $dir/out"; done
check "the kernel goes on, and nothing stays allocated" "[ $status = 0 ] && grep -q '^no leak' $dir/out"
exit $failed
