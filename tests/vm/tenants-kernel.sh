#!/bin/bash
# SPDX-License-Identifier: MIT
# What a tenant makes the kernel keep for it is its own memory: 26 kinds of objects (descriptors, names, queues of sockets, messages,
# timers, signals, watches, locks, namespaces, mounts, filters ...), each made without end under memory.max of 16 MiB. Judged by the
# machine's free memory: what is missing beyond what the tenant has at most was charged to nobody. (A process that is being killed may go above
# the limit: a table of descriptors is 4 MiB.)
cd "$(dirname "$0")/../.." || exit 2
. tests/vm/lib/check.sh
make -s kernel build/user/init || exit 1
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
musl-gcc -static -O1 -idirafter /usr/include -idirafter /usr/include/x86_64-linux-gnu -o "$dir/kernel_hog" tests/programs/memory/kernel_hog.c || exit 1
cat > "$dir/guest.sh" <<'G'
mount -t cgroup2 none /sys/fs/cgroup 2> /dev/null
echo "+memory +pids" > /sys/fs/cgroup/cgroup.subtree_control
ip link set lo up
for f in fs/inotify/max_user_watches fs/inotify/max_user_instances fs/nr_open; do echo 1000000 > /proc/sys/$f; done
/kernel_hog /sys/fs/cgroup/hog
echo "left $(find /sys/fs/cgroup -type d | wc -l) $(sed -n 's/^MemFree: *\([0-9]*\).*/\1/p' /proc/meminfo)"
G
timeout 230 tools/qemu-run --mem 512M --timeout 220 --add "$dir/kernel_hog:/kernel_hog" --add "$dir/guest.sh:/guest.sh" \
	-- sh /guest.sh > "$dir/out" 2> "$dir/log"
cat "$dir/out"
grep -a -A40 'panic: ' "$dir/log"
while read -r kind _ missing _ peak _; do
	if [ "$missing" -lt $((peak + 8192)) ] && [ "$peak" -lt 36864 ]; then echo "ok $kind"; else echo "not ok $kind: $missing KiB are missing"; failed=1; fi
done < <(grep ' missing ' "$dir/out")
check "26 kinds were tried" "[ $(grep -c ' missing ' "$dir/out") -eq 26 ]"
check "the tenants can be removed, and the memory is back" "[ $(sed -n 's/^left //p' "$dir/out" | cut -d' ' -f2) -gt 490000 ]"
exit $failed
