# Row: Debian's Linux writes to a journaled RAID5 in write-back mode and loses power in the middle; Ostrom's kernel, by mdadm,
# recovers the array: every acknowledged write is there and parity is consistent. It writes on, is switched off while the
# journal alone has data, and Linux recovers that. Then a failfast member fails at once (engine test), and a short crash
# matrix cuts a recorded run at every kind of point.
set -e
mkdir -p build/demo
make -s kernel user build/unit/test_md_engine build/unit/test_md_crash
bash tests/vm/md.sh back | tee build/demo/raid5.out
grep -q '^ok raid5 write-back, crashed' build/demo/raid5.out
build/unit/test_md_engine 2>&1 | grep '\[       OK \] failfast_member_goes_at_once'
OSTROM_CUTS=${OSTROM_CUTS:-30} build/unit/test_md_crash > build/demo/raid5-crash.out 2>&1
points=$(grep -c . build/demo/raid5-crash.out)
echo "measured: $(sed -n 's/^ok //p' build/demo/raid5.out); a failfast member left at once; crash matrix clean"
[ "$points" -gt 0 ]
