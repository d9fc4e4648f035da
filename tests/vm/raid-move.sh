#!/bin/bash
# SPDX-License-Identifier: MIT
# Arrays move between Linux (Debian's kernel in QEMU) and Ostrom's cores and back, stopped, degraded, journaled and
# crashed in the middle; a manifest says what every block must hold.
#   1. made, written and stopped or crashed by Linux; recovered and read by `ostrom raid`; checked by Linux again
#   2. written by `ostrom raid serve` and killed; recovered, read and checked by Linux
# Arguments: names of cases to run (default: all; one case in `./test` without --all).
cd "$(dirname "$0")/../.." || exit 2
. tests/vm/raid/moves.sh

all="plain marked layouts degraded raid6 through back ppl replacing"
[ "${TEST_MODE:-all}" = all ] || all=through # the others take minutes
cases=${*:-$all}
for c in $cases; do
	case $c in
	plain)
		linux_to_ostrom "raid5" 3 "-l5 -c64" 11776 - stop
		ostrom_to_linux "raid5, stopped" "d0 d1 d2" 11776 "" stop
		ostrom_to_linux "raid5, killed" "d0 d1 d2" 11776 "" kill ;;
	marked)
		linux_to_ostrom "raid5 with a bitmap, crashed" 4 "-l5 -c64 --bitmap=internal --bitmap-chunk=64K" 17664 - crash
		ostrom_to_linux "raid5 with a bitmap, killed" "d0 d1 d2 d3" 17664 "" kill ;;
	layouts) linux_to_ostrom "raid5 right-asymmetric 1.0" 4 "-l5 -c32 -e1.0 --layout=ra" 18408 - stop ;;
	degraded)
		linux_to_ostrom "raid5, a member failed" 4 "-l5 -c64" 17664 - fail
		truncate -s 24M "$tmp/new"
		$ostrom raid recover --add "$tmp/new" "$tmp/d0" "$tmp/d1" "$tmp/d2" "$tmp/d3" > "$tmp/said" 2>&1 ||
			{ cat "$tmp/said"; echo "not ok rebuild"; exit 1; }
		linux_checks "rebuilt by Ostrom" "d0 new d2 d3"
		grep -q "mismatches 0" "$tmp/linux" || { cat "$tmp/linux"; echo "not ok rebuild: still degraded"; exit 1; }
		echo "ok rebuilt by Ostrom, whole on Linux" ;;
	raid6)
		linux_to_ostrom "raid6" 5 "-l6 -c64" 17664 - stop
		linux_to_ostrom "raid6 ddf-N-continue, a member failed" 5 "-l6 -c64 --layout=ddf-N-continue" 17664 - fail ;;
	through)
		linux_to_ostrom "raid5 write-through, crashed" 3 "-l5 -c64" 11776 write-through crash
		ostrom_to_linux "raid5 write-through, killed" "d0 d1 d2 j" 11776 "" kill ;;
	back)
		linux_to_ostrom "raid5 write-back, crashed" 4 "-l5 -c64" 17664 write-back crash
		ostrom_to_linux "raid5 write-back, killed" "d0 d1 d2 d3 j" 17664 "--write-back" kill
		linux_to_ostrom "raid6 write-back, crashed" 4 "-l6 -c64" 11776 write-back crash
		ostrom_to_linux "raid6 write-back, killed" "d0 d1 d2 d3 j" 11776 "--write-back" kill ;;
	ppl)
		linux_to_ostrom "raid5 with a partial parity log, crashed" 4 "-l5 -c64 --consistency-policy=ppl" 16896 - crash
		ostrom_to_linux "raid5 with a partial parity log, killed" "d0 d1 d2 d3" 16896 "" kill ;;
	replacing) linux_to_ostrom "raid5, a member being replaced" 3 "-l5 -c64" 11776 - stop "$replacing" ;;
	cut) linux_to_ostrom "raid5 write-back, crashed" 4 "-l5 -c64" 17664 write-back crash ;;
	*) echo "no case $c"; exit 2 ;;
	esac
done
