# Row: allocation of L2 and L3 caches, on a processor without CAT. Debian's pqos divides a cache between a victim and an
# aggressor by page colours; a model of the cache, fed with every access of the machine, counts their misses: the victim
# alone, beside the aggressor, and with a part of its own. POLICY=plru, and WAYS=8 SLICES=2 (the slice by a hash of the
# address) are other caches of the same size and as many colours.
set -e
policy=${POLICY:-lru} ways=${WAYS:-16} slices=${SLICES:-1}
dir=build/demo/cache
mkdir -p $dir
make -s build/plugins/cachemodel.so build/programs/cache/cacheload
cat > $dir/guest.sh <<'G'
set -e
mkdir -p /var/lock
victim() { /cacheload victim 0 192; }
aggressor() { rm -f /tmp/going; /cacheload aggressor 1 4096 > /tmp/going & }
going() { until [ -s /tmp/going ]; do sleep 0.1; done; }
victim
aggressor
going
victim
kill $!
pqos -I -e 'llc:1=0xff00;llc:2=0x00fc' > /dev/null
pqos -I -s | grep -E 'L3CA COS[0-2] '
aggressor
pqos -I -a "pid:2=$!;pid:1=$$" > /dev/null
going
until grep -q idle /sys/fs/resctrl/info/recolouring; do sleep 0.1; done
cat /sys/fs/resctrl/info/backend /sys/fs/resctrl/info/recolouring
victim
kill $!
pqos -I -R > /dev/null
G
tools/qemu-run --cpus 2 --mem 256M --timeout 170 --program pqos --add build/programs/cache/cacheload:/cacheload \
	--add $dir/guest.sh:/guest.sh --append "resctrl=colour resctrl.l3=1M,$ways,$slices" \
	--qemu="-accel tcg,thread=multi -cpu max,xlevel=0x8000001e -plugin build/plugins/cachemodel.so,bytes=1048576,ways=$ways,slices=$slices,policy=$policy,kernel=1,vtag=0x100000000000,out=$dir/report" \
	-- sh /guest.sh | tee $dir/out
loads=$((6 * (192 * 16 + 384))) # of the victim's measured rounds, the same each time; the kernel fills the cache too, but is counted apart
rate() { awk -v loads=$loads -v n="$1" 'BEGIN { k = 1 } /^end/ { k++ } k == n && /^requestor 1 / { for (i = 1; i <= NF; i++) { split($i, a, "="); v[a[1]] = a[2] }
	printf "%.3f", 100 * v["misses"] / loads }' $dir/report; }
alone=$(rate 1) beside=$(rate 2) apart=$(rate 3)
echo "measured: ($policy, $ways ways, slices: $slices) the victim misses $alone % of its loads alone, $beside % beside the aggressor, $apart % beside it with 8 of 16 colours of its own"
echo "bars: read misses of the victim, % of its loads|alone=$alone|beside the aggressor=$beside|beside it, with colours of its own=$apart"
awk -v a="$alone" -v b="$beside" -v c="$apart" 'BEGIN { exit !(a > 0 && b >= 3 * a && c <= 1.05 * a && c >= 0.95 * a) }'
