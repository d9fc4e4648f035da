# Row: a writer floods a slow device through the page cache while another program reads it; p99 of the reads with and without
# throttling (queue/wbt_lat_usec). Guest time is instructions.
set -e
make -s build/programs/block/blockload
cat > build/demo/writeback-guest.sh <<'G'
q=/sys/block/nullb0/queue
echo 100000 > /sys/block/nullb0/service/read_ns
echo 1500000 > /sys/block/nullb0/service/write_ns
echo 0 > $q/wbt_lat_usec
echo "off $(/blockload flood /dev/nullb0 4000)"
sync
echo 2000 > $q/wbt_lat_usec
echo "on $(/blockload flood /dev/nullb0 4000)"
G
tools/qemu-run --icount --mem 256M --timeout 110 --append nullblk=1 --add build/programs/block/blockload:/blockload --add build/demo/writeback-guest.sh:/guest.sh -- \
	/bin/sh /guest.sh | tee build/demo/writeback.out
field() { sed -n "s/^$1 .*$2=\([0-9]*\).*/\1/p" build/demo/writeback.out; }
off=$(field off p99) on=$(field on p99) woff=$(field off written) won=$(field on written)
echo "measured: p99 of reads under a flood $((off / 1000)) us without, $((on / 1000)) us with throttling; writer $((won * 100 / woff)) % of unthrottled"
echo "bars: p99 of reads under a writer's flood, us|without throttling=$((off / 1000))|with throttling=$((on / 1000))"
[ $((on * 5)) -le "$off" ] && [ $((won * 10)) -ge $((woff * 9)) ]
