#!/bin/bash
# first
# SPDX-License-Identifier: MIT
# Tenants divide a disk: io.weight 1:2:4, io.max for reads, writes and buffered writing, a neighbour beside a writer whose writeback
# is limited, io.latency beside a flood, io.stat and io.pressure. Debian's fio is the load, a disk of known service time the judge.
cd "$(dirname "$0")/../.." || exit 2
. tests/vm/lib/check.sh
make -s kernel build/user/init build/abi/cgroup_values || exit 1
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cat > "$dir/guest.sh" <<'G'
mount -t cgroup2 none /sys/fs/cgroup 2> /dev/null; cd /sys/fs/cgroup
echo "+io +memory" > cgroup.subtree_control
s=/sys/block/nullb0/service; echo 1000000 > $s/read_ns; echo 1000000 > $s/write_ns; echo 4 > $s/servers
dev=$(cat /sys/block/nullb0/dev)
now() { sed -n "s/^$dev .*$2=\([0-9]*\).*/\1/p" $1/io.stat | grep . || echo 0; }
load() { t=$1; shift; sh -c "echo 0 > $t/cgroup.procs; exec fio --name=$t --filename=/dev/nullb0 --direct=1 --ioengine=libaio --time_based --runtime=100 --size=1g --bs=4k $* > /tmp/$t.log 2>&1" & }
stop() { for t; do echo 1 > $t/cgroup.kill; done; sleep 0.5; rmdir "$@"; echo "rmdir $?"; }
mkdir a b c; echo 100 > a/io.weight; echo 200 > b/io.weight; echo 400 > c/io.weight
for t in a b c; do load $t --rw=randread --iodepth=24; done
sleep 1; a=$(now a rios) b=$(now b rios) c=$(now c rios)
sleep 4; echo "weights $(( $(now a rios) - a )) $(( $(now b rios) - b )) $(( $(now c rios) - c ))"
echo "$dev rbps=1048576" > a/io.max; echo "$dev riops=500" > b/io.max
a=$(now a rbytes) b=$(now b rios) c=$(now c rios)
sleep 4; echo "max $(( $(now a rbytes) - a )) $(( $(now b rios) - b )) $(( $(now c rios) - c ))"
stop a b c
mkdir flood victim
load flood --rw=randread --iodepth=64; load victim --rw=randread --iodepth=1
sleep 1; v=$(now victim rios); sleep 2; echo "without $(( $(now victim rios) - v ))"
echo "$dev target=1200" > victim/io.latency
sleep 1; v=$(now victim rios) f=$(now flood rios); sleep 2; echo "with $(( $(now victim rios) - v )) $(( $(now flood rios) - f ))"
stop flood victim
mkdir w n; echo "$dev wbps=2097152" > w/io.max
echo 50 > /proc/sys/vm/dirty_writeback_centisecs; echo 50 > /proc/sys/vm/dirty_expire_centisecs; cat w/io.pressure > /dev/null
sh -c "echo 0 > w/cgroup.procs; exec dd if=/dev/zero of=/dev/nullb0 bs=64k count=100000" 2> /dev/null &
sleep 1; a=$(now w wbytes); sleep 4; echo "buffered $(( $(now w wbytes) - a )) $(sed -n 's/^file_writeback //p' w/memory.stat)"
echo "pressure $(sed -n 's/^some.*total=//p' w/io.pressure)"
sh -c "echo 0 > n/cgroup.procs; exec dd if=/dev/zero of=/dev/nullb0 bs=64k seek=8000 count=256" 2> /dev/null
sleep 2; echo "neighbour $(sed -n 's/^file_dirty //p' n/memory.stat) $(sed -n 's/^file_writeback //p' n/memory.stat) $(now n wbytes)"
stop w n
echo "values $(/cgroup_values | grep -c '^not ok')" # here io.max finds a disk
G
timeout 230 tools/qemu-run --icount --mem 512M --timeout 220 --program fio --append nullblk=1 --add build/abi/cgroup_values:/cgroup_values --add "$dir/guest.sh:/guest.sh" -- sh /guest.sh > "$dir/out" 2>&1
grep -v '^\[' "$dir/out"
field() { sed -n "s/^$1 //p" "$dir/out" | cut -d' ' -f"$2"; }
near() { d=$(( $1 * 1000 / $2 - $3 )); [ ${d#-} -le $4 ]; } # part of a whole in thousandths, within
a=$(field weights 1) b=$(field weights 2) c=$(field weights 3) sum=$((a + b + c))
check "io.weight 1:2:4 within 2 %" "near ${a:-0} $sum 143 3 && near ${b:-0} $sum 286 6 && near ${c:-0} $sum 571 12"
check "the disk is never idle" "near $sum 16000 1000 10"
check "io.max of bytes within 2 %" "near $(field max 1) 4194304 1000 20"
check "io.max of transfers within 2 %" "near $(field max 2) 2000 1000 20"
check "the rest is the neighbour's" "[ $(field max 3) -gt 12500 ]"
check "io.latency: the victim's reads are faster, the flood goes on" "[ $(field with 1) -gt $(( $(field without 1) * 2 )) ] && [ $(field with 2) -gt 2000 ]"
check "buffered writing is charged and limited within 2 %" "near $(field buffered 1) 8388608 1000 20"
check "dirty pages of the limited writer stay few" "[ $(field buffered 2) -le 2097152 ] && [ $(field pressure 1) -gt 3000000 ]"
check "a neighbour's writeback does not wait for it" "[ $(field neighbour 1) -eq 0 ] && [ $(field neighbour 2) -eq 0 ] && [ $(field neighbour 3) -eq 16777216 ]"
check "odd values of all control files are answered as by Linux" "[ $(field values 1) -eq 0 ]"
check "tenants with transfers can be removed" "[ \$(grep -c '^rmdir 0' $dir/out) -eq 3 ]"
exit $failed
