#!/bin/bash
# SPDX-License-Identifier: MIT
# Power cuts under a file system on an array: RAID5 of four members with a write-back journal, ext4 on it, all in the kernel; members and journal are
# partitions of one disk, which `ostrom cuts` records. After every cut that is tried the members (in every other one with one of them missing) are
# recovered by `ostrom raid`, and e2fsck must find the file system whole and every file that was reported as synced in it. Only in the long run, with
# OSTROM_CUTS cuts (400); tests/unit/test_md_crash.c cuts the same engine in each ./test.
cd "$(dirname "$0")/../.." || exit 2
[ "$TEST_MODE" = all ] || { echo "skip: only with TEST_MODE=all"; exit 77; }
export PATH=$PATH:/usr/sbin:/sbin
for tool in mdadm mke2fs e2fsck sfdisk qemu-system-x86_64; do command -v $tool > /dev/null || { echo "skip: no $tool"; exit 77; }; done
make -s kernel build/user/init build/user/ostrom || exit 1
root=$PWD OSTROM=$PWD/build/user/ostrom
export OSTROM
cuts=${OSTROM_CUTS:-400}
dir=$(mktemp -d) || exit 1
server=
trap '[ -n "$server" ] && kill "$server" 2> /dev/null; rm -rf "$dir"' EXIT
cd "$dir" || exit 1
. "$root/tests/vm/cuts/record.sh"

# The array and the file system, before anything is recorded.
truncate -s 42M base
printf 'label: gpt\n%s' "$(for i in 1 2 3 4 5; do echo "start=$(((1 + (i - 1) * 8) * 2048)), size=16384"; done)" | sfdisk -q base || exit 1
cat > make.sh <<'G'
export MDADM_NO_UDEV=1
for i in $(seq 50); do [ -b /dev/vda5 ] && break; sleep 0.1; done
mdadm -CR /dev/md0 -l5 -n4 -c16 --assume-clean --write-journal /dev/vda5 /dev/vda1 /dev/vda2 /dev/vda3 /dev/vda4 > /tmp/log 2>&1 || { cat /tmp/log; exit 1; }
MKE2FS -q -F -t ext4 -b 4096 -J size=4 /dev/md0 && mdadm -S /dev/md0 > /tmp/log 2>&1 || { cat /tmp/log; exit 1; }
G
sed -i "s|MKE2FS|$(command -v mke2fs)|" make.sh # not the shell's own
"$root/tools/qemu-run" --timeout 100 --program mdadm --program mke2fs --disk base --add make.sh:/t.sh -- sh /t.sh 2> guest.log || { tail -20 guest.log; exit 1; }

cat > guest.sh <<'G'
export MDADM_NO_UDEV=1
for i in $(seq 50); do [ -b /dev/vda5 ] && break; sleep 0.1; done
mdadm -A /dev/md0 /dev/vda1 /dev/vda2 /dev/vda3 /dev/vda4 /dev/vda5 > /tmp/log 2>&1 || { cat /tmp/log; exit 1; }
echo write-back > /sys/block/md0/md/journal_mode
mkdir -p /mnt && mount -t ext4 /dev/md0 /mnt && cd /mnt || exit 3
i=1
while [ $i -le 40 ]; do
	n=0; while [ $n -lt $((i * 50)) ]; do echo "file $i line $n"; n=$((n + 1)); done > all
	dd if=/dev/urandom of=noise$((i % 5)) bs=1k count=$((i * 7 % 50 + 1)) 2> /dev/null
	dd if=all of=file$i conv=fsync 2> /dev/null
	echo "mark $i"
	[ $((i % 6)) != 0 ] || rm -f noise2
	i=$((i + 1))
done
cd / && umount /mnt && mdadm -S /dev/md0 > /dev/null 2>&1 && echo finished
G
record_guest --program mdadm
cat > checker.sh <<'C'
#!/bin/bash
for i in 1 2 3 4 5; do dd if="$1" of=m$i bs=1M skip=$((1 + (i - 1) * 8)) count=8 conv=sparse 2> /dev/null; done
lost=$(($(cksum < m5 | cut -d' ' -f1) % 8)) # a member, in half of the cuts
[ "$lost" -ge 1 ] && [ "$lost" -le 4 ] && rm m$lost
"$OSTROM" raid recover m? > said 2>&1 || { cat said; exit 1; }
"$OSTROM" raid cat m? > fs 2> said || { cat said; exit 2; }
[ -e m4 ] && [ -e m3 ] && [ -e m2 ] && [ -e m1 ] && { "$OSTROM" raid verify m? > said 2>&1 || { cat said; exit 3; }; }
e2fsck -fp fs > out 2>&1 || [ $? -le 1 ] || { cat out; exit 4; }
e2fsck -fn fs > out 2>&1 || { cat out; exit 5; }
i=1
while [ $i -le ${CUTS_MARK:-0} ]; do
	"$OSTROM" ext4 cat fs file$i > got
	n=0; while [ $n -lt $((i * 50)) ]; do echo "file $i line $n"; n=$((n + 1)); done > want
	cmp -s want got || { echo "file$i is lost (mark $CUTS_MARK, without member $lost)"; exit 9; }
	i=$((i + 1))
done
C
chmod +x checker.sh
verdict=$("$OSTROM" cuts test --image base --log log --cuts "$cuts" -- ./checker.sh {})
echo "$verdict" | tail -1
status=0
[ "$(echo "$verdict" | tail -1)" = "0 of $cuts cuts failed" ] || { echo "not ok: $(echo "$verdict" | head -20)"; status=1; }
# The checker can fail: what was never reached is missed.
case $(CUTS_MARK=41 ./checker.sh base 2> /dev/null | tail -1) in "file1 is lost"*) echo "ok a mark that was never reached is missed" ;; *) echo "not ok: the checker is blind"; status=1 ;; esac
exit $status
