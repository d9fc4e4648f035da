# SPDX-License-Identifier: MIT
# For scenarios of power cuts: a guest whose disk `ostrom cuts` records, with marks. Sourced in a folder of the scenario's own, $dir, which holds
# the disk `base` and the guest's program `guest.sh`; needs $root (the project) and $OSTROM. `server` is the recorder while it runs: the
# scenario's trap kills it.

# Runs the guest (arguments: more of qemu-run's) until it says "finished"; what it says as "mark N" is put into the log at once.
record_guest() {
	timeout 300 "$OSTROM" cuts record --image base --log log --socket s --once &
	server=$!
	for _ in $(seq 100); do [ -S s.mark ] && break; sleep 0.05; done
	"$root/tools/qemu-run" --timeout 250 --add guest.sh:/t.sh "$@" \
		--qemu "-drive file=nbd+unix:///?socket=$dir/s,format=raw,if=none,id=n,cache=writeback -device virtio-blk-pci,drive=n" \
		-- sh /t.sh 2> guest.log | while read -r word n; do
		[ "$word" = mark ] && { "$OSTROM" cuts mark --socket s "$n" || echo "no mark"; }
		[ "$word" = finished ] && : > finished
	done
	[ -e finished ] || { echo "not ok: the guest did not finish"; tail -20 guest.log; exit 1; }
	wait "$server"; server=
	"$OSTROM" cuts info --log log
}
