#!/bin/bash
# SPDX-License-Identifier: MIT
# Power cuts of Ostrom's ext4: a guest makes, syncs, replaces, appends to and removes files while `ostrom cuts` records
# its disk. Every disk that a cut could have left is replayed by e2fsck and by us: both find nothing to complain about and the
# same files, and whatever fsync had reported is whole; what the guest never touched is untouched. OSTROM_CUTS: how many cuts
# (50; TEST_MODE=all: 1000).
cd "$(dirname "$0")/../.." || exit 2
. tests/vm/lib/check.sh
export PATH=$PATH:/usr/sbin:/sbin
for tool in mke2fs e2fsck debugfs qemu-system-x86_64; do command -v $tool > /dev/null || { echo "skip: no $tool"; exit 77; }; done
make -s kernel build/user/init build/user/ostrom || exit 1
root=$PWD OSTROM=$PWD/build/user/ostrom
export OSTROM
cuts=${OSTROM_CUTS:-50}
[ "$TEST_MODE" = all ] && [ -z "$OSTROM_CUTS" ] && cuts=1000
dir=$(mktemp -d) || exit 1
server=
trap '[ -n "$server" ] && kill "$server" 2> /dev/null; rm -rf "$dir"' EXIT
cd "$dir" || exit 1
. "$root/tests/vm/cuts/record.sh"

mkdir -p t/keep t/work
for i in $(seq 40); do for n in $(seq $i); do echo "kept $i $n"; done > t/keep/k$i; done
truncate -s 24M base && mke2fs -q -F -t ext4 -b 1024 -J size=1 -d t base || exit 1
# What is to be there, as sizes and sums.
mkdir -p w/work && cp -r t/keep w/
for i in $(seq 40); do for n in $(seq 0 $((i * 7 - 1))); do echo "file $i line $n"; done > w/work/file$i; done
truncate -s 24M want && mke2fs -q -F -t ext4 -d w want && "$OSTROM" ext4 manifest want > manifest.want || exit 1
# file N is synced before "mark N" is said; every fourth replaces another by rename, every fifth grows, every sixth goes.
cat > guest.sh <<'G'
mkdir -p /mnt && mount -t ext4 /dev/vda /mnt && cd /mnt/work || exit 3
text() { n=0; while [ $n -lt $(($1 * 7)) ]; do echo "file $1 line $n"; n=$((n + 1)); done; }
i=1
while [ $i -le 40 ]; do
	dd if=/mnt/keep/k40 of=noise$((i % 7)) bs=1k count=$((i % 9 + 1)) 2> /dev/null
	mkdir -p d$((i % 3))/sub && ln -f noise$((i % 7)) d$((i % 3))/hard$i && mv d$((i % 3))/hard$i moved$((i % 5))
	[ $((i % 4)) != 0 ] || rm -rf d1 noise$(((i + 3) % 7))
	text $i > all
	if [ $((i % 4)) = 0 ]; then
		echo old > file$i
		dd if=all of=new conv=fsync 2> /dev/null && mv new file$i && sync
	elif [ $((i % 5)) = 0 ]; then
		dd if=all of=file$i bs=100 count=1 2> /dev/null
		dd if=all of=file$i bs=100 skip=1 seek=1 conv=fsync,notrunc 2> /dev/null
	else
		dd if=all of=file$i conv=fsync 2> /dev/null
	fi
	echo "mark $i"
	[ $((i % 6)) != 0 ] || : > truncated
	i=$((i + 1))
done
cd / && umount /mnt && echo finished
G
record_guest
cat > checker.sh <<'C'
#!/bin/sh
# Journal replay by us and by e2fsck from the same disk: the same files, and both clean. Then each file up to the mark.
cp "$1" ours
"$OSTROM" ext4 replay ours > out 2>&1 || { cat out; exit 5; }
e2fsck -fp "$1" > out 2>&1 || [ $? -le 1 ] || { cat out; exit 1; }
e2fsck -fn "$1" > out 2>&1 || { cat out; exit 3; }
e2fsck -fn ours > out 2>&1 || { cat out; exit 6; }
"$OSTROM" ext4 manifest ours > manifest.ours && "$OSTROM" ext4 manifest "$1" > manifest.theirs || exit 7
cmp manifest.ours manifest.theirs || { diff manifest.ours manifest.theirs; exit 8; }
awk -v mark="${CUTS_MARK:-0}" 'NR == FNR { want[$1] = $5 " " $7; next } { got[$1] = $5 " " $7 }
	END {
		for (i = 1; i <= mark; i++)
			if (got["/work/file" i] != want["/work/file" i]) { print "file" i " is lost (mark " mark ")"; exit 9 }
		for (name in want)
			if (name ~ /^.keep.k/ && got[name] != want[name]) { print name " is damaged"; exit 10 }
	}' manifest.want manifest.ours
C
chmod +x checker.sh
verdict=$("$OSTROM" cuts test --image base --log log --cuts "$cuts" -- ./checker.sh {})
is "nothing is lost in $cuts cuts" "$(echo "$verdict" | tail -1)" "0 of $cuts cuts failed"
[ $failed = 0 ] || echo "$verdict" | head -20
"$OSTROM" cuts replay --image base --log log --at 999999 --loss none --out end
is "the end is clean" "$(e2fsck -fn end > /dev/null 2>&1; echo $?)" 0
# The checker can fail: what was never reached is missed.
is "a mark that was never reached is missed" "$(CUTS_MARK=41 ./checker.sh base 2> /dev/null | tail -1)" "file1 is lost (mark 41)"
exit $failed
