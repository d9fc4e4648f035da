#!/bin/bash
# first
# SPDX-License-Identifier: MIT
# MD arrays in the kernel, by Debian's mdadm: made, watched, degraded, mended, stopped and started again, on the build with
# all checks; and moved: written by Linux, which loses power in the middle, recovered by this kernel; written by this kernel,
# which is switched off in the middle, recovered by Linux.
# Arguments: names of cases to run (default: all; two cases in `./test` without --all).
cd "$(dirname "$0")/../.." || exit 2
. tests/vm/raid/moves.sh

images() { # NAME...
	for d in "$@"; do rm -f "$tmp/$d"; truncate -s "${size:-24M}" "$tmp/$d"; done
}

ostrom_guest() { # DISKS SCRIPT [OPTIONS]
	local d args=() list=$1 script=$2
	shift 2
	for d in $list; do args+=(--disk "$tmp/$d"); done
	tools/qemu-run --cpus 2 --timeout 300 --program mdadm --add "$script:/run.sh" --add "$tmp/data:/data" \
		--add "$tmp/places:/places" "${args[@]}" "$@" -- sh /run.sh
}

manage() { # LEVEL MEMBERS LOSES
	local level=$1 n=$2 loses=$3 disks="" i
	for i in $(seq 0 "$n"); do disks="$disks d$i"; done
	# shellcheck disable=SC2086
	images $disks j
	: > "$tmp/data"
	: > "$tmp/places"
	cat > "$tmp/run" <<END
export MDADM_NO_UDEV=1
m=/sys/block/md0/md
ok() { what=\$1; shift; if "\$@" > /tmp/said 2>&1; then echo "ok \$what"; else echo "not ok \$what: \$(tail -2 /tmp/said)"; fi; }
no() { what=\$1; shift; if "\$@" > /tmp/said 2>&1; then echo "not ok \$what"; else echo "ok \$what"; fi; }
members=\$(ls /dev/vd? | head -$n) spare=\$(ls /dev/vd? | tail -2 | head -1) journal=\$(ls /dev/vd? | tail -1)
lost=\$(ls /dev/vd? | head -$loses)
same() { dd if=/dev/md0 bs=64k count=160 iflag=direct 2> /dev/null | cmp - /tmp/x; }
ok "create" mdadm -CR /dev/md0 -l$level -n$n -c64 --write-journal \$journal \$members
mdadm --wait /dev/md0
ok "whole after the first recovery" [ "\$(cat \$m/degraded) \$(cat \$m/array_state)" = "0 clean" ]
no "no second array on these devices" mdadm -CR /dev/md1 -l5 -n3 \$members
ok "write-back" sh -c "echo write-back > \$m/journal_mode"
no "no such mode" sh -c "echo write-behind > \$m/journal_mode"
dd if=/dev/urandom of=/tmp/x bs=64k count=160 2> /dev/null
ok "write" dd if=/tmp/x of=/dev/md0 bs=64k oflag=direct
ok "read" same
g=/sys/fs/cgroup; mount -t cgroup2 none \$g 2> /dev/null; echo +io > \$g/cgroup.subtree_control; mkdir \$g/t
paid() { for d in \$members; do grep -q "^\$(cat /sys/block/\${d#/dev/}/dev) .*\$1=[1-9]" \$g/t/io.stat || return; done; }
ok "write as a tenant" sh -c "echo 0 > \$g/t/cgroup.procs; exec dd if=/tmp/x of=/dev/md0 bs=64k oflag=direct"
ok "who pays for the members' writes" paid wbytes
ok "read as a tenant" sh -c "echo 0 > \$g/t/cgroup.procs; exec dd if=/dev/md0 of=/dev/null bs=64k count=160 iflag=direct"
ok "who pays for the members' reads" paid rbytes
mdadm --monitor --oneshot --scan > /dev/null 2>&1
T=/sys/kernel/tracing; mount -t tracefs none \$T 2> /dev/null; echo 1 > \$T/events/md/enable
for d in \$lost; do ok "fail \$d" mdadm /dev/md0 --fail \$d; done
ok "degraded" [ "\$(cat \$m/degraded)" = $loses ]
ok "read while degraded" same
echo 0 > \$T/events/md/md_member_io/enable
no "the last copy does not fail" mdadm /dev/md0 --fail \$(ls /dev/vd? | head -$n | tail -1)
for d in \$lost; do no "\$d is taken while it is listed" mdadm --zero-superblock \$d; done
for d in \$lost; do ok "remove \$d" mdadm /dev/md0 --remove \$d; mdadm --zero-superblock \$d; done
ok "a spare takes over" mdadm /dev/md0 --add \$spare
mdadm --wait /dev/md0
for d in \$(echo \$lost | cut -d' ' -f2-); do [ $loses = 1 ] || ok "and another" mdadm /dev/md0 --add \$d; done
mdadm --wait /dev/md0
ok "whole again" [ "\$(cat \$m/degraded)" = 0 ]
ok "read what was rebuilt" same
ok "check" sh -c "echo check > \$m/sync_action"
mdadm --wait /dev/md0
ok "nothing differs" [ "\$(cat \$m/mismatch_cnt)" = 0 ]
echo 0 > \$T/events/md/enable
ok "events of members that fail" [ \$(grep -c 'md_member_failed: 9,0 member [0-9]*,[0-9]* role=[0-9]' \$T/trace) = $loses ]
ok "events of passes" [ \$(grep -c 'md_sync_start: 9,0 \(recover\|check\)' \$T/trace) -ge 2 ] && ok "that end" grep -q 'md_sync_end: 9,0 check done' \$T/trace
ok "events of what members are asked" [ \$(grep -c 'md_member_io: 9,0 member [0-9]*,[0-9]* role=[0-9]* R [0-9]* + [1-9]' \$T/trace) -gt 10 ]
ok "read-only" mdadm -o /dev/md0
no "refuses writes" dd if=/tmp/x of=/dev/md0 bs=4k count=1
ok "read-write" mdadm -w /dev/md0
(exec 3< /dev/md0; no "not stopped while it is open" mdadm -S /dev/md0)
ok "stop" mdadm -S /dev/md0
no "a foreign device is refused" mdadm -A /dev/md0 /dev/vda /dev/null
ok "assemble" mdadm -A /dev/md0 \$(for d in /dev/vd?; do mdadm -E \$d > /dev/null 2>&1 && echo \$d; done)
ok "read after that" same
ok "detail" sh -c "mdadm -D /dev/md0 | grep -q 'State : clean \$'"
printf '\0\0\0\0\203\0\0\0\0\010\0\0\0\020\0\0' | dd of=/dev/md0 bs=1 seek=446 conv=notrunc 2> /dev/null
dd if=/dev/zero of=/dev/md0 bs=1 seek=462 count=48 conv=notrunc 2> /dev/null
printf '\125\252' | dd of=/dev/md0 bs=1 seek=510 conv=notrunc 2> /dev/null
ok "stop" mdadm -S /dev/md0
ok "assemble" mdadm -A /dev/md0 \$(for d in /dev/vd?; do mdadm -E \$d > /dev/null 2>&1 && echo \$d; done)
ok "a partition" [ "\$(cat /sys/block/md0/md0p1/start) \$(cat /sys/block/md0/md0p1/size)" = "2048 4096" ]
(exec 3< /dev/md0p1; no "not stopped while a partition is open" mdadm -S /dev/md0)
ok "stop again" mdadm -S /dev/md0
no "no partition" [ -e /sys/block/md0/md0p1 ]
echo finished
END
	ostrom_guest "$disks j" "$tmp/run" --debug-kernel > "$tmp/out" 2> "$tmp/log" || { cat "$tmp/out" "$tmp/log" | tail -n 40; exit 1; }
	sed "s/^/raid$level: /" "$tmp/out"
	if grep -q '^not ok' "$tmp/out" || ! grep -q '^finished' "$tmp/out"; then
		tail -20 "$tmp/log"
		exit 1
	fi
}

# Levels without parity: mirrors, striped mirrors, stripes and linear, on one set of disks one after the other.
copies() {
	local long=()
	[ "${TEST_MODE:-all}" != all ] || long=(--add "$tmp/data:/long")
	images d0 d1 d2 d3 d4
	: > "$tmp/data"
	: > "$tmp/places"
	cat > "$tmp/run" <<'END'
export MDADM_NO_UDEV=1
m=/sys/block/md0/md
ok() { what="$level: $1"; shift; if "$@" > /tmp/said 2>&1; then echo "ok $what"; else echo "not ok $what: $(tail -2 /tmp/said)"; fi; }
no() { what="$level: $1"; shift; if "$@" > /tmp/said 2>&1; then echo "not ok $what"; else echo "ok $what"; fi; }
set -- $(ls /dev/vd? | head -4)
spare=$(ls /dev/vd? | tail -1)
dd if=/dev/urandom of=/tmp/x bs=64k count=100 2> /dev/null
same() { dd if=/dev/md0 bs=64k count=100 iflag=direct 2> /dev/null | cmp - /tmp/x; }
redundant() { # OPTIONS MEMBERS...
	options=$1
	shift
	ok "create" mdadm -CR /dev/md0 $options -n$# --failfast $*
	mdadm --wait /dev/md0
	ok "whole after the first resync" [ "$(cat $m/degraded) $(cat $m/array_state)" = "0 clean" ]
	ok "write" dd if=/tmp/x of=/dev/md0 bs=64k oflag=direct
	ok "failfast members" sh -c "[ \$(grep -l failfast $m/dev-*/state | wc -l) = $# ]"
	ok "nothing differs" sh -c "echo check > $m/sync_action; mdadm --wait /dev/md0; [ \$(cat $m/mismatch_cnt) = 0 ]"
	ok "fail" mdadm /dev/md0 --fail $1
	ok "read while degraded" same
	ok "remove" mdadm /dev/md0 --remove $1
	ok "a spare takes over" mdadm /dev/md0 --add $spare
	mdadm --wait /dev/md0
	ok "whole again" [ "$(cat $m/degraded)" = 0 ]
	ok "nothing differs after that" sh -c "echo check > $m/sync_action; mdadm --wait /dev/md0; [ \$(cat $m/mismatch_cnt) = 0 ]"
	finish $* $spare
}
finish() {
	ok "read" same
	ok "detail" sh -c "mdadm -D /dev/md0 | grep -q 'State : clean'"
	ok "stop" mdadm -S /dev/md0
	ok "assemble" mdadm -A /dev/md0 $*
	ok "read after that" same
	ok "mdstat" grep "^md0 : active $level" /proc/mdstat
	cat /proc/mdstat | grep -A1 ^md0
	mdadm -S /dev/md0
	mdadm --zero-superblock $* 2> /dev/null
}
plain() { # MEMBERS...
	ok "create" mdadm -CR /dev/md0 -l$level -n$# $*
	ok "write" dd if=/tmp/x of=/dev/md0 bs=64k oflag=direct
	no "nothing to compare" sh -c "echo check > $m/sync_action"
	no "no member can be spared" mdadm /dev/md0 --fail $1
	finish $*
}
level=raid1; redundant "-l1" $1 $2
level=raid10; redundant "-l10 -c64" $1 $2 $3 $4
if [ -e /long ]; then
	redundant "-l10 -c64 --layout=f2" $1 $2 $3
	redundant "-l10 -c64 --layout=o2" $1 $2 $3
	level=linear; plain $1 $2
fi
level=raid0; plain $1 $2 $3
level=raid1
mdadm -CR /dev/md0 -l1 -n2 $1 $2 > /dev/null 2>&1
mdadm --wait /dev/md0
mdadm /dev/md0 --fail $1 > /dev/null
no "the last copy does not fail" mdadm /dev/md0 --fail $2
mdadm -S /dev/md0
echo finished
END
	ostrom_guest "d0 d1 d2 d3 d4" "$tmp/run" --debug-kernel "${long[@]}" > "$tmp/out" 2> "$tmp/log" || { cat "$tmp/out" "$tmp/log" | tail -n 40; exit 1; }
	cat "$tmp/out"
	if grep -q '^not ok' "$tmp/out" || ! grep -q '^finished' "$tmp/out"; then
		tail -20 "$tmp/log"
		exit 1
	fi
}

# A write-intent bitmap: a member comes back by it, it comes and goes while the array runs, passes are slowed down and ended;
# arrays grow by size, mirrors by number.
bitmap() {
	size=12M images d0 d1 d2 d3
	: > "$tmp/data"
	: > "$tmp/places"
	cat > "$tmp/run" <<'END'
export MDADM_NO_UDEV=1
m=/sys/block/md0/md
ok() { what="bitmap: $1"; shift; if "$@" > /tmp/said 2>&1; then echo "ok $what"; else echo "not ok $what: $(tail -2 /tmp/said)"; fi; }
no() { what="bitmap: $1"; shift; if "$@" > /tmp/said 2>&1; then echo "not ok $what"; else echo "ok $what"; fi; }
dirty() { mdadm -X $1 | sed -n 's/.* \([0-9]*\) dirty.*/\1/p'; }
same() { dd if=/dev/md0 bs=64k count=${1:-160} iflag=direct 2> /dev/null | cmp - /tmp/x; }
agrees() { echo check > $m/sync_action; mdadm --wait /dev/md0; [ "$(cat $m/mismatch_cnt) $(cat $m/degraded)" = "0 0" ]; }
soon() { for i in $(seq 300); do "$@" && return; sleep 0.1; done; return 1; }
none_dirty() { [ "$(dirty $1)" = 0 ]; }
set -- $(ls /dev/vd?)
dd if=/dev/urandom of=/tmp/x bs=64k count=160 2> /dev/null
ok "create" mdadm -CR /dev/md0 -l5 -n3 -c64 --bitmap=internal --bitmap-chunk=64K $1 $2 $3
mdadm --wait /dev/md0
ok "policy" grep bitmap $m/consistency_policy
ok "detail" sh -c "mdadm -D /dev/md0 | grep -q 'Intent Bitmap : Internal'"
ok "mdstat" grep 'bitmap: ./1 pages \[.KB\], 64KB chunk' /proc/mdstat
ok "write" dd if=/tmp/x of=/dev/md0 bs=64k oflag=direct
no "bits while it is written" none_dirty $1
ok "no bits later" soon none_dirty $1
mdadm /dev/md0 --fail $2 --remove $2 > /dev/null 2>&1
dd if=/dev/urandom of=/tmp/x bs=64k count=2 seek=7 conv=notrunc 2> /dev/null
ok "write while degraded" dd if=/tmp/x of=/dev/md0 bs=64k oflag=direct count=2 skip=7 seek=7
ok "bits of what the member misses" [ "$(dirty $1)" -le 4 ]
ok "stop" mdadm -S /dev/md0
ok "start degraded" mdadm -AR /dev/md0 $1 $3
ok "the bits are still there" [ "$(dirty $1)" -ge 1 ]
before=$(awk '$3 == "'${2#/dev/}'" { print $10 }' /proc/diskstats)
ok "re-add" mdadm /dev/md0 --re-add $2
mdadm --wait /dev/md0
ok "only these were written" [ $(($(awk '$3 == "'${2#/dev/}'" { print $10 }' /proc/diskstats) - before)) -lt 2000 ]
ok "whole, and agrees" agrees
ok "read" same
ok "no bits after that" soon none_dirty $1
ok "a member that fails and comes back in place" sh -c "echo faulty > $m/dev-${3#/dev/}/state; for i in \$(seq 100); do echo re-add > $m/dev-${3#/dev/}/state && exit; sleep 0.1; done 2> /dev/null; exit 1"
mdadm --wait /dev/md0
ok "whole again" agrees
ok "taken away" mdadm --grow --bitmap=none /dev/md0
ok "gone" grep resync $m/consistency_policy
mdadm /dev/md0 --fail $2 --remove $2 > /dev/null 2>&1
dd if=/tmp/x of=/dev/md0 bs=64k count=1 oflag=direct 2> /dev/null
no "no re-add without a bitmap" mdadm /dev/md0 --re-add $2
ok "but a new member" mdadm /dev/md0 --add $2
mdadm --wait /dev/md0
ok "a bitmap again" mdadm --grow --bitmap=internal /dev/md0
ok "there" grep bitmap $m/consistency_policy
ok "read with it" same
ok "a slow pass" sh -c "echo 200 > $m/sync_speed_max; echo check > $m/sync_action; sleep 2; [ \$(cat $m/sync_speed) -lt 400 ]"
ok "ended" sh -c "echo idle > $m/sync_action; grep idle $m/sync_action"
ok "as fast as it can" sh -c "echo system > $m/sync_speed_max; grep system $m/sync_speed_max"
ok "system-wide" sh -c "echo 12345 > /proc/sys/dev/raid/speed_limit_max; grep 12345 $m/sync_speed_max"
echo 200000 > /proc/sys/dev/raid/speed_limit_max
mdadm -S /dev/md0
mdadm --zero-superblock $1 $2 $3
ok "small mirrors" mdadm -CR /dev/md0 -l1 -n2 --size=4M --bitmap=internal $1 $2
mdadm --wait /dev/md0
dd if=/tmp/x of=/dev/md0 bs=64k count=60 oflag=direct 2> /dev/null
ok "larger" mdadm --grow --size=max /dev/md0
mdadm --wait /dev/md0
ok "the block device, too" [ "$(cat /sys/block/md0/size)" -gt 20000 ]
mdadm /dev/md0 --add $3 > /dev/null 2>&1
ok "a third mirror" mdadm --grow /dev/md0 -n3
mdadm --wait /dev/md0
ok "three that agree" agrees
ok "three" [ "$(cat $m/raid_disks)" = 3 ]
mdadm /dev/md0 --fail $1 --remove $1 > /dev/null 2>&1
head -c $((60 * 65536)) /tmp/x > /tmp/y && mv /tmp/y /tmp/x
ok "read" same 60
ok "stop at last" mdadm -S /dev/md0
mdadm --zero-superblock $1 $2 $3
ok "create" mdadm -CR /dev/md0 -l5 -n3 -c64 --bitmap=none $1 $2 $3
mdadm --wait /dev/md0
mdadm -S /dev/md0
ok "room for a log" mdadm -A --update=no-bbl /dev/md0 $1 $2 $3
ok "write" dd if=/tmp/x of=/dev/md0 bs=64k count=60 oflag=direct
ok "a partial parity log" mdadm --grow --consistency-policy=ppl /dev/md0
ok "which is its policy" grep ppl $m/consistency_policy
ok "write with it" dd if=/tmp/x of=/dev/md0 bs=64k count=60 oflag=direct
ok "agrees with it" agrees
no "no spare whose log lies on its data" mdadm /dev/md0 --add $4
ok "is left alone" [ "$(cat $m/degraded) $(ls -d $m/dev-* | wc -l)" = "0 3" ]
ok "taken away" mdadm --grow --consistency-policy=resync /dev/md0
ok "said" grep resync $m/consistency_policy
ok "given again" mdadm --grow --consistency-policy=ppl /dev/md0
ok "read after that" same 60
ok "stop" mdadm -S /dev/md0
ok "assemble" mdadm -A /dev/md0 $1 $2 $3
ok "still there" grep ppl $m/consistency_policy
echo 0 > $m/suspend_lo; echo 256 > $m/suspend_hi
dd if=/tmp/x of=/dev/md0 bs=64k count=1 oflag=direct 2> /dev/null &
ok "writes elsewhere go on while a range is suspended" dd if=/tmp/x of=/dev/md0 bs=64k count=4 skip=20 seek=20 oflag=direct
ok "and reads in it" dd if=/dev/md0 of=/dev/null bs=64k count=1 iflag=direct
ok "a write in it waits" kill -0 $!
echo 0 > $m/suspend_hi
ok "and then ends" wait $!
ok "taken away again" mdadm --grow --consistency-policy=resync /dev/md0
no "no journal while it is written to" mdadm /dev/md0 --add-journal $4
ok "read-only" mdadm -o /dev/md0
ok "its first journal" mdadm /dev/md0 --add-journal $4
ok "which is its policy" grep journal $m/consistency_policy
ok "needs no resync" [ "$(cat $m/sync_action) $(cat $m/degraded)" = "idle 0" ]
ok "write-back" sh -c "echo write-back > $m/journal_mode"
ok "write with it" dd if=/tmp/x of=/dev/md0 bs=64k count=60 oflag=direct
ok "stop" mdadm -S /dev/md0
ok "assemble" mdadm -A /dev/md0 $*
ok "the journal is there" [ -n "$(cat $m/journal_mode)" ]
ok "read after that" same 60
ok "stop" mdadm -S /dev/md0
mdadm --zero-superblock $*
ok "create with room before the data" mdadm -CR /dev/md0 -l5 -n3 -c64 --bitmap=none --data-offset=2M $1 $2 $3
mdadm --wait /dev/md0
mdadm -S /dev/md0
mdadm -A --update=no-bbl /dev/md0 $1 $2 $3
ok "write" dd if=/tmp/x of=/dev/md0 bs=64k count=60 oflag=direct
ok "a partial parity log" mdadm --grow --consistency-policy=ppl /dev/md0
ok "a spare with one" mdadm /dev/md0 --add $4
ok "takes over" sh -c "mdadm /dev/md0 --fail $1 && mdadm --wait /dev/md0; [ \$(cat $m/degraded) = 0 ]"
ok "write after that" dd if=/tmp/x of=/dev/md0 bs=64k count=60 oflag=direct
ok "which agrees" agrees
ok "stop" mdadm -S /dev/md0
ok "assemble" mdadm -A /dev/md0 $2 $3 $4
ok "with its log" sh -c "grep ppl $m/consistency_policy; mdadm -E $4 | grep -i 'ppl :'"
ok "read what was rebuilt" same 60
ok "stop" mdadm -S /dev/md0
echo finished
END
	ostrom_guest "d0 d1 d2 d3" "$tmp/run" --debug-kernel > "$tmp/out" 2> "$tmp/log" || { cat "$tmp/out" "$tmp/log" | tail -n 40; exit 1; }
	cat "$tmp/out"
	if grep -q '^not ok' "$tmp/out" || ! grep -q '^finished' "$tmp/out"; then
		tail -20 "$tmp/log"
		exit 1
	fi
}

# This kernel takes over what Linux left in $disks, checks it, writes more in MODE, and is switched off in the middle.
kernel_moves() { # NAME MEMBERS CREATE-OPTIONS BLOCKS MODE END(of Linux)
	local name=$1 blocks=$4 mode=$5 disks
	linux_writes "$@"
	sha256sum < "$tmp/want" > "$tmp/sum"
	cp "$tmp/want" "$tmp/before"
	manifest $((RANDOM)) "$blocks" 150
	merge
	cat > "$tmp/run" <<END
export MDADM_NO_UDEV=1
mdadm -A /dev/md0 \$(ls /dev/vd?) > /tmp/log 2>&1 || { cat /tmp/log; exit 1; }
mdadm --wait /dev/md0 > /dev/null 2>&1
[ "\$(sha256sum < /dev/md0)" = "$(cat "$tmp/sum")" ] || { echo "other contents"; exit 1; }
echo check > /sys/block/md0/md/sync_action
mdadm --wait /dev/md0 > /dev/null 2>&1
[ "\$(cat /sys/block/md0/md/mismatch_cnt)" = 0 ] || { echo "parity differs"; exit 1; }
[ "$mode" = - ] || echo $mode > /sys/block/md0/md/journal_mode
i=0
while read p; do
	dd if=/data of=/dev/md0 bs=4096 skip=\$i seek=\$p count=1 oflag=direct conv=notrunc 2> /tmp/dd || { cat /tmp/dd; exit 1; }
	i=\$((i + 1))
done < /places
echo "written \$i, \$(cat /sys/block/md0/md/stripe_cache_active) stripes in the journal only"
poweroff -f
END
	ostrom_guest "$disks" "$tmp/run" > "$tmp/out" 2> "$tmp/log" || true
	grep -q '^written' "$tmp/out" || { cat "$tmp/out"; tail -20 "$tmp/log"; echo "not ok $name: on Ostrom"; exit 1; }
	linux_checks "$name" "$disks"
	echo "ok $name: Linux to this kernel ($(grep -o 'journal: .*' "$tmp/log" || echo no journal)) and back ($(cat "$tmp/out"))"
}

# An array of Linux's goes on here without its journal, gets another one, loses that too, gets a third, and is switched off
# with data in the journal only; Linux recovers it.
journal() {
	local disks blocks=17664
	linux_writes "another journal" 4 "-l5 -c64" $blocks write-back stop
	sha256sum < "$tmp/want" > "$tmp/sum"
	cp "$tmp/want" "$tmp/before"
	manifest $((RANDOM)) $blocks 150
	merge
	images k l
	cat > "$tmp/run" <<END
export MDADM_NO_UDEV=1
m=/sys/block/md0/md
ok() { what=\$1; shift; if "\$@" > /tmp/said 2>&1; then echo "ok another journal: \$what"; else echo "not ok another journal: \$what: \$(tail -2 /tmp/said)"; fi; }
no() { what=\$1; shift; if "\$@" > /tmp/said 2>&1; then echo "not ok another journal: \$what"; else echo "ok another journal: \$what"; fi; }
state() { grep -q "\$1" \$m/array_state; }
soon() { for t in \$(seq 300); do "\$@" && return; sleep 0.1; done; return 1; }
one() { dd if=/data of=/dev/md0 bs=4096 skip=\$1 seek=\$2 count=1 oflag=direct conv=notrunc; }
set -- \$(ls /dev/vd?)
ok "assembled without one" mdadm -A --force --run /dev/md0 \$1 \$2 \$3 \$4
ok "read-only" state readonly
ok "the policy is still journal" grep -q journal \$m/consistency_policy
no "no writes" one 0 0
ok "contents" [ "\$(sha256sum < /dev/md0)" = "$(cat "$tmp/sum")" ]
ok "added" mdadm /dev/md0 --add-journal \$6
ok "writable" soon state clean
mdadm --wait /dev/md0
ok "parity agrees" sh -c "echo check > \$m/sync_action; mdadm --wait /dev/md0; [ \$(cat \$m/mismatch_cnt) = 0 ]"
no "one is enough" mdadm /dev/md0 --add-journal \$7
ok "write-back" sh -c "echo write-back > \$m/journal_mode"
i=0
while read p; do
	if [ \$i = 75 ]; then
		ok "the journal fails" mdadm /dev/md0 --fail \$6
		ok "read-only again" soon state readonly
		no "no writes without it" one 0 0
		ok "removed" soon mdadm /dev/md0 --remove \$6
		ok "a third one" mdadm /dev/md0 --add-journal \$7
		ok "write-back again" sh -c "echo write-back > \$m/journal_mode"
	fi
	one \$i \$p > /tmp/dd 2>&1 || { cat /tmp/dd; exit 1; }
	i=\$((i + 1))
done < /places
echo "written \$i, \$(cat \$m/stripe_cache_active) stripes in the journal only"
poweroff -f
END
	ostrom_guest "$disks k l" "$tmp/run" --debug-kernel > "$tmp/out" 2> "$tmp/log" || true
	cat "$tmp/out"
	if grep -q '^not ok' "$tmp/out" || ! grep -q '^written' "$tmp/out"; then
		tail -20 "$tmp/log"
		exit 1
	fi
	linux_checks "another journal" "d0 d1 d2 d3 l"
	echo "ok another journal: recovered by Linux"
}

# A member that works is replaced: by the next spare, by one that is named, and fails in the middle of that.
replace() {
	local long=()
	[ "${TEST_MODE:-all}" != all ] || long=(--add "$tmp/data:/long")
	images d0 d1 d2 d3 d4
	: > "$tmp/data"
	: > "$tmp/places"
	cat > "$tmp/run" <<'END'
export MDADM_NO_UDEV=1
m=/sys/block/md0/md
ok() { what="replace, raid$level: $1"; shift; if "$@" > /tmp/said 2>&1; then echo "ok $what"; else echo "not ok $what: $(tail -2 /tmp/said)"; fi; }
no() { what="replace, raid$level: $1"; shift; if "$@" > /tmp/said 2>&1; then echo "not ok $what"; else echo "ok $what"; fi; }
same() { dd if=/dev/md0 bs=64k count=100 iflag=direct 2> /dev/null | cmp - /tmp/x; }
soon() { for t in $(seq 300); do "$@" && return; sleep 0.1; done; return 1; }
is() { grep -q "$2" $m/dev-${1#/dev/}/state; }
agrees() { echo check > $m/sync_action; mdadm --wait /dev/md0; [ "$(cat $m/mismatch_cnt) $(cat $m/degraded)" = "0 0" ]; }
slow() { echo 100 > $m/sync_speed_min; echo $1 > $m/sync_speed_max; }
life() { # OPTIONS
	options=$1
	set -- $(ls /dev/vd?)
	dd if=/dev/urandom of=/tmp/x bs=64k count=100 2> /dev/null
	ok "create" mdadm -CR /dev/md0 -l$level -n3 $options --assume-clean $1 $2 $3
	ok "write" dd if=/tmp/x of=/dev/md0 bs=64k oflag=direct
	ok "repair" sh -c "echo repair > $m/sync_action; mdadm --wait /dev/md0"
	slow 400
	ok "wanted" mdadm /dev/md0 --replace $2
	ok "said" is $2 want_replacement
	ok "a spare is added" mdadm /dev/md0 --add $4
	ok "which replaces it" soon is $4 spare,replacement
	ok "mdstat" grep "${4#/dev/}\[[0-9]*\](R)" /proc/mdstat
	ok "the array is whole all the time" [ "$(cat $m/degraded)" = 0 ]
	ok "write meanwhile" dd if=/tmp/x of=/dev/md0 bs=64k oflag=direct skip=50 seek=50 count=20
	slow 200000
	mdadm --wait /dev/md0
	ok "the old one is out" soon is $2 faulty
	ok "the new one is in" is $4 in_sync
	ok "remove" soon mdadm /dev/md0 --remove $2
	no "the new one is not removed" mdadm /dev/md0 --remove $4
	ok "read" same
	ok "agrees" agrees
	mdadm --zero-superblock $2
	ok "two spares" mdadm /dev/md0 --add $2 $5
	ok "one is named" mdadm /dev/md0 --replace $1 --with $2
	mdadm --wait /dev/md0
	ok "and was taken" soon is $2 in_sync
	ok "the other is still a spare" is $5 spare
	ok "remove" soon mdadm /dev/md0 --remove $1
	ok "agrees" agrees
	slow 400
	ok "another" mdadm /dev/md0 --replace $4
	ok "has begun" soon is $5 replacement
	ok "which fails in the middle" mdadm /dev/md0 --fail $4
	slow 200000
	ok "its heir has its slot" soon is $5 in_sync
	ok "read" same
	ok "agrees after that" agrees
	ok "stop" mdadm -S /dev/md0
	ok "assemble" mdadm -A /dev/md0 $2 $3 $5
	ok "read after that" same
	mdadm -S /dev/md0
	mdadm --zero-superblock $* 2> /dev/null
}
level=5; life -c64
level=10; life -c64
[ ! -e /long ] || { level=1; life --bitmap=internal; level=5; life "-c64 --consistency-policy=ppl"; }
echo finished
END
	ostrom_guest "d0 d1 d2 d3 d4" "$tmp/run" --debug-kernel "${long[@]}" > "$tmp/out" 2> "$tmp/log" || { cat "$tmp/out" "$tmp/log" | tail -n 40; exit 1; }
	cat "$tmp/out"
	if grep -q '^not ok' "$tmp/out" || ! grep -q '^finished' "$tmp/out"; then
		tail -20 "$tmp/log"
		exit 1
	fi
}

# Linux is replacing a member when it stops (or loses power); this kernel goes on with that, begins with another, and stops (or
# is switched off) in the middle of it; Linux ends it.
half() { # NAME MEMBERS CREATE-OPTIONS BLOCKS MODE END
	local name=$1 blocks=$4 end=$6 disks
	linux_writes "$@" "$replacing"
	sha256sum < "$tmp/want" > "$tmp/sum"
	cp "$tmp/want" "$tmp/before"
	manifest $((RANDOM)) "$blocks" 100
	merge
	cat > "$tmp/run" <<END
export MDADM_NO_UDEV=1
m=/sys/block/md0/md
soon() { for t in \$(seq 600); do "\$@" && return; sleep 0.1; done; echo "not soon: \$*"; cat /proc/mdstat; exit 1; }
is() { grep -q "\$2" \$m/dev-\$1/state; }
must() { "\$@" > /tmp/log 2>&1 || { echo "failed: \$*"; cat /tmp/log /proc/mdstat; exit 1; }; }
extra=\$(ls /dev/vd? | tail -1)
must mdadm -A /dev/md0 \$(ls /dev/vd?)
must is \${extra#/dev/} replacement
[ "\$(sha256sum < /dev/md0)" = "$(cat "$tmp/sum")" ] || { echo "other contents"; exit 1; }
soon is vda faulty
mdadm --wait /dev/md0 > /dev/null 2>&1
must mdadm /dev/md0 --remove /dev/vda
echo check > \$m/sync_action
mdadm --wait /dev/md0 > /dev/null 2>&1
[ "\$(cat \$m/mismatch_cnt) \$(cat \$m/degraded)" = "0 0" ] || { echo "parity differs"; exit 1; }
mdadm --zero-superblock /dev/vda
echo 100 > \$m/sync_speed_min; echo 400 > \$m/sync_speed_max
must mdadm /dev/md0 --add /dev/vda
must mdadm /dev/md0 --replace /dev/vdb --with /dev/vda
soon is vda replacement
i=0
while read p; do
	must dd if=/data of=/dev/md0 bs=4096 skip=\$i seek=\$p count=1 oflag=direct conv=notrunc
	i=\$((i + 1))
done < /places
must is vda replacement
[ $end = crash ] || must mdadm -S /dev/md0
echo "written \$i"
poweroff -f
END
	ostrom_guest "$disks" "$tmp/run" > "$tmp/out" 2> "$tmp/log" || true
	grep -q '^written' "$tmp/out" || { cat "$tmp/out"; tail -20 "$tmp/log"; echo "not ok $name: on Ostrom"; exit 1; }
	linux_checks "$name" "$disks"
	grep -q "mismatches 0" "$tmp/linux" || { cat "$tmp/linux"; echo "not ok $name: degraded on Linux"; exit 1; }
	echo "ok $name: begun by Linux, ended by this kernel, begun again, ended by Linux"
}

# What the array must hold after the manifest's writes over the contents of before.
merge() {
	python3 - "$tmp" <<'END'
import sys
tmp = sys.argv[1]
want = bytearray(open(tmp + '/before', 'rb').read())
data = open(tmp + '/data', 'rb').read()
for i, p in enumerate(map(int, open(tmp + '/places'))):
    want[p * 4096:p * 4096 + 4096] = data[i * 4096:i * 4096 + 4096]
open(tmp + '/want', 'wb').write(want)
END
}

all="manage5 manage6 bitmap copies replace half half10 halfback journal plain marked marked10 layouts through back back6 ppl mirror ten far offset stripes linear"
[ "${TEST_MODE:-all}" = all ] || all="manage5 bitmap replace back ten" # the others take minutes
for c in ${*:-$all}; do
	case $c in
	manage5) manage 5 3 1 ;;
	manage6) manage 6 4 2 ;;
	plain) kernel_moves "raid5" 3 "-l5 -c64" 11776 - stop ;;
	layouts) kernel_moves "raid5 right-asymmetric 1.0" 4 "-l5 -c32 -e1.0 --layout=ra" 18408 - stop ;;
	through) kernel_moves "raid5 write-through, crashed" 3 "-l5 -c64" 11776 write-through crash ;;
	back) kernel_moves "raid5 write-back, crashed" 4 "-l5 -c64" 17664 write-back crash ;;
	ppl) kernel_moves "raid5 with a partial parity log, crashed" 4 "-l5 -c64 --consistency-policy=ppl" 16896 - crash ;;
	back6) kernel_moves "raid6 write-back, crashed" 4 "-l6 -c64" 11776 write-back crash ;;
	copies) copies ;;
	bitmap) bitmap ;;
	replace) replace ;;
	half) half "raid5, replacing, stopped" 3 "-l5 -c64" 11776 - stop ;;
	half10) half "raid10, replacing, crashed" 4 "-l10 -c64" 11776 - crash ;;
	halfback) half "raid5 write-back, replacing, crashed" 3 "-l5 -c64" 11776 write-back crash ;;
	journal) journal ;;
	marked) kernel_moves "raid5 with a bitmap, crashed" 4 "-l5 -c64 --bitmap=internal --bitmap-chunk=64K" 17664 - crash ;;
	marked10) kernel_moves "raid10 with a bitmap, crashed" 4 "-l10 -c64 --bitmap=internal --bitmap-chunk=64K" 11776 - crash ;;
	mirror) kernel_moves "raid1, crashed" 3 "-l1" 5888 - crash ;;
	ten) kernel_moves "raid10, crashed" 4 "-l10 -c64" 11776 - crash ;;
	far) kernel_moves "raid10 far" 4 "-l10 -c64 --layout=f2" 11776 - stop ;;
	offset) kernel_moves "raid10 offset" 3 "-l10 -c64 --layout=o2" 8832 - stop ;;
	stripes) kernel_moves "raid0" 3 "-l0 -c64" 17664 - stop ;;
	linear) kernel_moves "linear" 2 "-l linear" 11776 - stop ;;
	*) echo "no case $c"; exit 2 ;;
	esac
done
