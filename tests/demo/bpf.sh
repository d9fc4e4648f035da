# Row: eBPF hooks of cgroups. Debian's bpftool loads a program that clang compiled and attaches it to a tenant; the tenant's
# packets are counted, and refused beyond its budget, while a neighbour's are not touched. Then the same by `cgroup tree`,
# `map dump`, and after detaching.
set -e
dir=build/demo
mkdir -p $dir
make -s build/programs/bpf/datagrams
clang -O2 -g -target bpf -I/usr/include/x86_64-linux-gnu -c tests/programs/bpf/budget.bpf.c -o $dir/budget.bpf.o
cat > $dir/bpf-guest.sh <<'G'
set -e
cg=/sys/fs/cgroup pin=/sys/fs/bpf
mount | grep -q cgroup2 || mount -t cgroup2 cgroup2 $cg
mount | grep -q ' bpf ' || mount -t bpf bpf $pin
mkdir -p $cg/noisy $cg/neighbour
in_tenant() { sh -c "echo \$\$ > $cg/$1/cgroup.procs && exec /datagrams 20"; }
bpftool prog loadall /budget.bpf.o $pin/budget pinmaps $pin/maps
bpftool cgroup attach $cg/noisy egress pinned $pin/budget/sent
bpftool cgroup attach $cg/noisy ingress pinned $pin/budget/received
bpftool cgroup tree
bpftool prog list
echo "counted $(in_tenant noisy)"
echo "beside $(in_tenant neighbour)"
bpftool map dump pinned $pin/maps/traffic
bpftool map update pinned $pin/maps/limit key 0 0 0 0 value 25 0 0 0 0 0 0 0
echo "limited $(in_tenant noisy)"
echo "beside $(in_tenant neighbour)"
bpftool map dump pinned $pin/maps/traffic
bpftool cgroup detach $cg/noisy egress pinned $pin/budget/sent
bpftool cgroup detach $cg/noisy ingress pinned $pin/budget/received
echo "freed $(in_tenant noisy)"
bpftool cgroup tree
G
tools/qemu-run --timeout 100 --program bpftool --add $dir/budget.bpf.o:/budget.bpf.o --add $dir/bpf-guest.sh:/guest.sh \
	--add build/programs/bpf/datagrams:/datagrams -- /bin/sh /guest.sh | tee $dir/bpf.out
grep -q '^/sys/fs/cgroup/noisy$' $dir/bpf.out
grep -q 'egress .*sent' $dir/bpf.out && grep -q 'ingress .*received' $dir/bpf.out
grep -q '^counted sent 20 refused 0 received 20$' $dir/bpf.out
grep -q '^limited sent 5 refused 15 received 5$' $dir/bpf.out
[ "$(grep -c '^beside sent 20 refused 0 received 20$' $dir/bpf.out)" = 2 ]
grep -q '^freed sent 20 refused 0 received 20$' $dir/bpf.out
jited=$(sed -n 's/.*jited \([0-9]*\)B.*/\1/p' $dir/bpf.out | head -1)
echo "measured: bpftool's program ($jited bytes of x86-64) counted 20 of 20 packets of its tenant, then let 5 through and refused 15; the neighbour's 40 passed"
[ "$jited" -gt 0 ]
