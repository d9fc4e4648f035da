# Row: Linux writes to a journaled RAID5 in write-back mode and loses power in the middle; Ostrom's cores recover the array; every
# acknowledged write is there, parity is consistent, and Linux assembles it again. Then a failfast member fails at once (engine
# test), and a short crash matrix cuts a recorded run at every kind of point.
set -e
make -s user build/unit/test_md_engine build/unit/test_md_crash
bash tests/vm/raid-move.sh cut | tee build/demo/raid5.out
grep -q '^ok linux to ostrom' build/demo/raid5.out
build/unit/test_md_engine 2>&1 | grep '\[       OK \] failfast_member_goes_at_once'
OSTROM_CUTS=${OSTROM_CUTS:-30} build/unit/test_md_crash > build/demo/raid5-crash.out 2>&1
points=$(grep -c . build/demo/raid5-crash.out)
echo "measured: $(sed -n 's/^ok linux to ostrom: //p' build/demo/raid5.out); Linux assembles it again; a failfast member left at once; crash matrix clean"
[ "$points" -gt 0 ]
