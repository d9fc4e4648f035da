#!/bin/bash
# SPDX-License-Identifier: MIT
# Arrays that move between Linux and Ostrom: what raid-move.sh (the cores as a program) and md.sh (the kernel) share. To be
# sourced at the top of the tree. A manifest says what every block of the array must hold.
set -eu
for p in mdadm qemu-system-x86_64 qemu-io python3; do
	command -v $p > /dev/null || { echo "no $p"; exit 77; }
done
ostrom=$PWD/build/user/ostrom
tmp=$(mktemp -d)
server=
trap '[ -z "$server" ] || kill -9 $server 2> /dev/null; rm -rf "$tmp"' EXIT
export MDADM_NO_UDEV=1

guest() { # DISKS COMMAND-FILE...
	local d args=()
	for d in $1; do args+=(-d "$tmp/$d"); done
	tools/linux-guest -t 240 -m raid456 -m raid1 -m raid10 -m raid0 -m linear -b mdadm -f "$tmp/data:/data" -f "$tmp/places:/places" -f "$2:/run.sh" \
		"${args[@]}" -- sh /run.sh
}

# places: where (in 4 KiB blocks) block i of data goes; some places are written more than once, the last wins.
manifest() { # SEED BLOCKS-OF-ARRAY COUNT
	python3 - "$tmp" "$@" <<'END'
import random, sys
tmp, seed, blocks, count = sys.argv[1], *map(int, sys.argv[2:])
r = random.Random(seed)
hot = r.randrange(blocks - 64)
places = [r.randrange(blocks) if r.random() < 0.5 else hot + r.randrange(64) for _ in range(count)]
data = r.randbytes(4096 * count)
want = bytearray(4096 * blocks)
for i, p in enumerate(places):
    want[p * 4096:p * 4096 + 4096] = data[i * 4096:i * 4096 + 4096]
open(tmp + '/places', 'w').write('\n'.join(map(str, places)) + '\n')
open(tmp + '/data', 'wb').write(data)
open(tmp + '/want', 'wb').write(want)
END
}

# For linux_writes: $extra is to replace the first member, and has little of it yet.
replacing="echo 100 > /sys/block/md0/md/sync_speed_min; echo 400 > /sys/block/md0/md/sync_speed_max
mdadm /dev/md0 --add \$extra > /dev/null 2>&1
mdadm /dev/md0 --replace /dev/vda --with \$extra > /dev/null 2>&1
sleep 6
grep -q '(R)' /proc/mdstat || { cat /proc/mdstat; exit 1; }"

# linux_writes NAME MEMBERS CREATE-OPTIONS BLOCKS JOURNAL-MODE(or -) END(stop|crash|fail) [COMMANDS]. Leaves the names in $disks.
# COMMANDS come after the writes, and have one more device, $extra.
linux_writes() {
	local name=$1 n=$2 options=$3 blocks=$4 mode=$5 end=$6 after=${7:-} i
	disks=""
	manifest $((RANDOM)) "$blocks" 150
	for i in $(seq 0 $((n - 1))); do rm -f "$tmp/d$i"; truncate -s 24M "$tmp/d$i"; disks="$disks d$i"; done
	[ "$mode" = - ] || { rm -f "$tmp/j"; truncate -s 24M "$tmp/j"; disks="$disks j"; }
	[ -z "$after" ] || { rm -f "$tmp/x"; truncate -s 24M "$tmp/x"; disks="$disks x"; }
	cat > "$tmp/run" <<END
set -e
export MDADM_NO_UDEV=1
members=\$(ls /dev/vd? | head -$n)
journal=\$(ls /dev/vd? | sed -n $((n + 1))p)
extra=\$(ls /dev/vd? | tail -1)
[ "$mode" != - ] && opt="--write-journal \$journal" || opt=""
mdadm -CR /dev/md0 $options -n$n --assume-clean \$opt \$members > /tmp/log 2>&1 || { cat /tmp/log; exit 1; }
[ "$mode" = - ] || echo $mode > /sys/block/md0/md/journal_mode
[ \$((\$(cat /sys/block/md0/size) / 8)) = $blocks ] || { echo "size \$(cat /sys/block/md0/size)"; exit 1; }
i=0
while read p; do
	[ "$end\$i" != fail60 ] || mdadm /dev/md0 -f /dev/vdb > /dev/null 2>&1
	dd if=/data of=/dev/md0 bs=4096 skip=\$i seek=\$p count=1 oflag=direct conv=notrunc 2> /tmp/dd || { cat /tmp/dd; exit 1; }
	i=\$((i + 1))
done < /places
$after
[ $end != crash ] || crash
mdadm -S /dev/md0 > /dev/null 2>&1
END
	local status=0
	guest "$disks" "$tmp/run" || status=$?
	[ $status = 0 ] || { [ $end = crash ] && [ $status = 99 ]; } || { echo "not ok $name: Linux: $status"; exit 1; }
}

linux_to_ostrom() { # as linux_writes
	local name=$1 end=$6 used="" i disks
	linux_writes "$@"
	for i in $disks; do used="$used $tmp/$i"; done
	# shellcheck disable=SC2086
	{
		$ostrom raid recover $used > "$tmp/said" 2>&1 || { cat "$tmp/said"; echo "not ok $name: recover"; exit 1; }
		$ostrom raid cat $used > "$tmp/got"
		cmp "$tmp/want" "$tmp/got" || { cat "$tmp/said"; echo "not ok $name: contents"; exit 1; }
		[ $end = fail ] || $ostrom raid verify $used > "$tmp/verify" 2>&1 || { cat "$tmp/verify"; exit 1; }
	}
	linux_checks "$name" "$disks"
	echo "ok linux to ostrom: $name ($(grep -c . "$tmp/places") writes; $(grep journal: "$tmp/said" || echo no journal))"
}

# Linux assembles what is there, reads it and checks parity.
linux_checks() { # NAME DISKS
	cat > "$tmp/check" <<'END'
export MDADM_NO_UDEV=1
mdadm -A /dev/md0 /dev/vd? > /tmp/log 2>&1 || { cat /tmp/log; exit 1; }
mdadm --wait /dev/md0 > /dev/null 2>&1
sha256sum < /dev/md0
if [ "$(cat /sys/block/md0/md/degraded)" = 0 ]; then
	echo check > /sys/block/md0/md/sync_action
	mdadm --wait /dev/md0 > /dev/null 2>&1
	echo mismatches $(cat /sys/block/md0/md/mismatch_cnt)
else
	echo degraded
fi
mdadm -S /dev/md0 > /dev/null 2>&1
END
	guest "$2" "$tmp/check" > "$tmp/linux" || { cat "$tmp/linux"; echo "not ok $1: Linux does not assemble it"; exit 1; }
	[ "$(head -1 "$tmp/linux")" = "$(sha256sum < "$tmp/want")" ] || { cat "$tmp/linux"; echo "not ok $1: Linux reads other data"; exit 1; }
	grep -qE 'mismatches 0|degraded' "$tmp/linux" || { cat "$tmp/linux"; echo "not ok $1: parity"; exit 1; }
}

# Goes on with the array of the case before: Ostrom writes, is killed, Linux recovers.
ostrom_to_linux() { # NAME DISKS BLOCKS SERVE-OPTIONS END(kill|stop)
	local name=$1 disks=$2 blocks=$3 options=$4 end=$5 used="" i
	for i in $disks; do used="$used $tmp/$i"; done
	cp "$tmp/want" "$tmp/before"
	manifest $((RANDOM)) "$blocks" 400
	# shellcheck disable=SC2086
	$ostrom raid serve --socket "$tmp/nbd" $options $used > "$tmp/server" 2>&1 &
	server=$!
	for i in $(seq 100); do [ -S "$tmp/nbd" ] && break; sleep 0.1; done
	python3 - "$tmp" > "$tmp/io" <<'END'
import sys
tmp = sys.argv[1]
want = bytearray(open(tmp + '/before', 'rb').read())
for i, p in enumerate(map(int, open(tmp + '/places'))):
    c = i % 255 + 1
    want[p * 4096:p * 4096 + 4096] = bytes([c]) * 4096
    print('write -P %d %d 4096' % (c, p * 4096))
print('flush')
open(tmp + '/want', 'wb').write(want)
END
	qemu-io -f raw "nbd+unix:///?socket=$tmp/nbd" < "$tmp/io" > "$tmp/qemu-io" 2>&1 ||
		{ tail -3 "$tmp/qemu-io"; cat "$tmp/server"; echo "not ok $name: qemu-io"; exit 1; }
	[ $end = stop ] && kill -TERM $server || kill -9 $server
	wait $server 2> /dev/null || true
	server=
	linux_checks "$name" "$disks"
	echo "ok ostrom to linux: $name"
}

