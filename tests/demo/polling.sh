# Row: one program reads a device with a known service time (50 us) in three modes: interrupt, classic polling, hybrid polling.
# Guest time is instructions (-icount), so the figures repeat. Bars: latency at most 1.1 of classic polling's, CPU time at most
# 0.55 of it, not slower than interrupts (within 1 %).
set -e
mkdir -p build/demo
make -s build/programs/block/blockload
cat > build/demo/polling-guest.sh <<'G'
q=/sys/block/nullb0/queue
echo 50000 > /sys/block/nullb0/service/read_ns
echo "interrupt $(/blockload poll /dev/nullb0 2000 plain)"
echo 1 > $q/io_poll
echo -1 > $q/io_poll_delay
echo "classic $(/blockload poll /dev/nullb0 2000 hipri)"
echo 0 > $q/io_poll_delay
echo "hybrid $(/blockload poll /dev/nullb0 2000 hipri)"
cat $q/poll_stat
G
tools/qemu-run --icount --timeout 100 --append nullblk=1 --add build/programs/block/blockload:/blockload \
	--add build/demo/polling-guest.sh:/guest.sh -- /bin/sh /guest.sh | tee build/demo/polling.out
field() { sed -n "s/^$1 .*$2=\([0-9]*\).*/\1/p" build/demo/polling.out; }
il=$(field interrupt latency) ic=$(field interrupt cpu) cl=$(field classic latency)
cc=$(field classic cpu) hl=$(field hybrid latency) hc=$(field hybrid cpu)
echo "measured: at 50 us, latency and CPU time a read: interrupt $il and $ic ns, classic polling $cl and $cc ns, hybrid $hl and $hc ns"
echo "bars: latency of a read, ns|interrupt=$il|classic polling=$cl|hybrid polling=$hl"
echo "bars: CPU time of a read, ns|interrupt=$ic|classic polling=$cc|hybrid polling=$hc"
[ $((hl * 10)) -le $((cl * 11)) ] && [ $((hc * 100)) -le $((cc * 55)) ] && [ $((hl * 100)) -le $((il * 101)) ]
