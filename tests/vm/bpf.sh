#!/bin/bash
# SPDX-License-Identifier: MIT
# eBPF at cgroups with Debian's bpftool (libbpf), unmodified: programs that clang compiled for every kind of hook are loaded,
# pinned, attached, shown and counted; maps of every kind are made, filled and dumped; code with its lines; feature probe. And
# crun's device control: a container's program refuses the devices that the container may not open.
cd "$(dirname "$0")/../.." || exit 2
command -v clang > /dev/null || { echo "skip: no clang"; exit 77; }
. tests/vm/net/host.sh
tmp=$(mktemp -d) && trap 'rm -rf "$tmp"' EXIT
make -s kernel build/user/init build/programs/bpf/datagrams || exit 1
clang -O2 -g -target bpf -I/usr/include/x86_64-linux-gnu -c tests/programs/bpf/hooks.bpf.c -o "$tmp/hooks.bpf.o" || exit 1

cat > "$tmp/guest" <<'GUEST'
cg=/sys/fs/cgroup pin=/sys/fs/bpf
mount | grep -q cgroup2 || mount -t cgroup2 cgroup2 $cg
mount | grep -q ' bpf ' || mount -t bpf bpf $pin
mkdir $cg/tenant
bpftool prog loadall /hooks.bpf.o $pin/hooks pinmaps $pin/maps && echo "ok loaded"
attach() { bpftool cgroup attach $cg/tenant $1 pinned $pin/hooks/$2 multi && echo "attached $1"; }
attach ingress ingress; attach egress egress; attach sock_create sock_create; attach sock_release sock_release
attach post_bind4 post_bind4; attach bind4 bind4; attach connect4 connect4; attach sendmsg4 sendmsg4
attach getsockname4 getsockname4; attach setsockopt setsockopt; attach getsockopt getsockopt; attach sock_ops sock_ops
attach device device; attach sysctl sysctl
echo "shown $(bpftool cgroup show $cg/tenant | grep -c multi)"
echo "tree $(bpftool cgroup tree | grep -c multi) $(bpftool cgroup tree | grep -c tenant)"
echo "effective $(bpftool cgroup show $cg/tenant effective | grep -cE '(egress|device|sysctl)')"
(echo 0 > $cg/tenant/cgroup.procs; exec /datagrams 3)
bpftool map dump pinned $pin/maps/uses | grep -q '"value": [1-9]' && echo "ok counted"
(echo 0 > $cg/tenant/cgroup.procs; cat /proc/sys/kernel/ostype > /dev/null; : < /dev/null) && echo "ok files"
bpftool prog dump xlated pinned $pin/hooks/egress linum | grep -q 'hooks.bpf.c line_num' && echo "ok lines"
bpftool prog dump xlated pinned $pin/hooks/egress | grep -q 'bpf_get_local_storage' && echo "ok code"
bpftool cgroup detach $cg/tenant egress pinned $pin/hooks/egress && echo "left $(bpftool cgroup show $cg/tenant | grep -c multi)"
for kind in hash array percpu_hash percpu_array lru_hash lru_percpu_hash; do
	bpftool map create $pin/$kind type $kind key 4 value 8 entries 16 name m && bpftool map show pinned $pin/$kind | grep -q " $kind " &&
		echo "map $kind"
done
bpftool map create $pin/lpm type lpm_trie key 8 value 8 entries 16 name m flags 1 && echo "map lpm_trie"
bpftool map create $pin/q type queue value 8 entries 16 name m && echo "map queue"
bpftool map create $pin/st type stack value 8 entries 16 name m && echo "map stack"
bpftool map create $pin/rb type ringbuf entries 4096 name m && echo "map ringbuf"
bpftool map create $pin/pa type prog_array key 4 value 4 entries 4 name m && echo "map prog_array"
bpftool map create $pin/pe type perf_event_array key 4 value 4 entries 4 name m && echo "map perf_event_array"
bpftool map create $pin/ca type cgroup_array key 4 value 4 entries 4 name m && echo "map cgroup_array"
bpftool map create $pin/cs type percpu_cgroup_storage key 16 value 8 entries 0 name m && echo "map percpu_cgroup_storage"
bpftool map create $pin/hm type hash_of_maps key 4 value 4 entries 4 name m inner_map pinned $pin/hash && echo "map hash_of_maps"
bpftool map create $pin/am type array_of_maps key 4 value 4 entries 4 name m inner_map pinned $pin/hash && echo "map array_of_maps"
for i in 0 1 2; do bpftool map update pinned $pin/lpm key $((i * 8)) 0 0 0 $i 0 0 0 value $i 0 0 0 0 0 0 0; done
echo "walked $(bpftool map dump pinned $pin/lpm | tail -1)"
bpftool feature probe kernel > /probe
# crun
export XDG_RUNTIME_DIR=/run
mkdir -p /run /box/rootfs/bin && cp /bin/busybox /box/rootfs/bin/busybox && cd /box
for c in sh cat mknod sleep; do ln -s busybox rootfs/bin/$c; done
crun spec
sed -i 's/"CAP_AUDIT_WRITE"/"CAP_AUDIT_WRITE", "CAP_MKNOD"/; s/"terminal": true/"terminal": false/' config.json
sed -i 's|"sh"|"sh", "-c", "mknod /dev/x c 1 11; mknod /dev/y c 1 3; cat /dev/x 2>\&1; cat /dev/y \&\& echo null; sleep 100"|' config.json
crun --cgroup-manager=cgroupfs run box &
for _ in 1 2 3 4 5 6 7 8 9 10; do crun state box 2> /dev/null | grep -q running && break; sleep 0.3; done
sleep 0.5
bpftool cgroup show /sys/fs/cgroup/box | grep -q device && echo "ok device program"
crun kill box KILL
wait
echo "probed $(grep -c 'program_type cgroup.* is available' /probe) $(grep -c 'program_type sock_ops is available' /probe)"
GUEST

tools/qemu-run --timeout 170 --program bpftool --program crun --add "$tmp/guest:/guest" --add "$tmp/hooks.bpf.o:/hooks.bpf.o" \
	--add build/programs/bpf/datagrams:/datagrams -- /bin/sh /guest > "$tmp/said" 2> "$tmp/log" < /dev/null
is "exit status" 0 $?
tr -d '\r' < "$tmp/said" > "$tmp/text"
is "attached to every hook" 14 "$(grep -c '^attached ' "$tmp/text")"
is "shown" "shown 14" "$(grep '^shown' "$tmp/text")"
is "tree" "tree 14 1" "$(grep '^tree' "$tmp/text")"
is "after detaching one" "left 13" "$(grep '^left' "$tmp/text")"
is "traffic" "sent 3 refused 0 received 3" "$(grep '^sent' "$tmp/text")"
is "kinds of maps" 16 "$(grep -c '^map ' "$tmp/text")"
is "walk of a trie" "walked Found 3 elements" "$(grep '^walked' "$tmp/text")"
is "crun: a device that is not allowed" "cat: can't open '/dev/x': Operation not permitted" "$(grep '/dev/x' "$tmp/text")"
is "crun: one that is" 1 "$(grep -cx null "$tmp/text")"
is "probe" "probed 6 1" "$(grep '^probed' "$tmp/text")"
for what in loaded counted files lines code "device program"; do
	is "$what" 1 "$(grep -cx "ok $what" "$tmp/text")"
done
[ $failures = 0 ] || cat "$tmp/text" "$tmp/log"
exit $((failures != 0))
