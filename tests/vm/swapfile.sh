#!/bin/bash
# SPDX-License-Identifier: MIT
# Swap on a file of ext4: mkswap and swapon by Debian's programs, pages go out and come back, the file system agrees with us about
# where the file lies (debugfs, filefrag), nobody may write to the file or remove it meanwhile, and the disk is clean afterwards.
cd "$(dirname "$0")/../.." || exit 2
. tests/vm/lib/check.sh
make -s kernel build/user/init || exit 1
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
musl-gcc -static -O1 -o "$dir/hog" tests/programs/memory/hog.c || exit 1
truncate -s 160M "$dir/disk"
mke2fs -q -F -t ext4 -b 4096 "$dir/disk" || exit 1
cat > "$dir/guest.sh" <<'G'
export PATH=$PATH:/usr/sbin:/sbin
mkdir -p /m; mount -t ext4 /dev/vda /m
i=0; while [ $i -lt 200 ]; do echo $i > /m/small.$i; i=$((i+1)); done
i=0; while [ $i -lt 200 ]; do rm /m/small.$i; i=$((i+2)); done; sync
dd if=/dev/zero of=/m/swap bs=1M count=96 2> /dev/null; chmod 600 /m/swap
truncate -s 8M /m/holes; mkswap /m/holes > /dev/null 2>&1
swapon /m/holes 2> /dev/null; echo "holes $?"
swapon /m/swap 2> /dev/null; echo "plain $?"
mkswap /m/swap > /dev/null 2>&1; echo "mkswap $?"
umount /m; mount -t ext4 /dev/vda /m # nothing of it in the page cache
exec 3>> /m/swap
swapon /dev/vda 2> /dev/null; echo "mounted $?"
swapon /m/swap; echo "swapon $? $(sed -n 2p /proc/swaps)"
swapon /m/swap 2> /dev/null; echo "again $?"
(echo x >> /m/swap) 2> /dev/null; echo "write $?"
(echo x >&3) 2> /dev/null; echo "open $?"
exec 3>&-
truncate -s 1M /m/swap 2> /dev/null; echo "truncate $?"
rm -f /m/swap 2> /dev/null; echo "remove $?"
umount /m 2> /dev/null; echo "umount $?"
/hog 36 2 fork
echo "swapped $(sed -n 's/^pswpout //p' /proc/vmstat) $(sed -n 's/^pswpin //p' /proc/vmstat)"
swapoff /m/swap; echo "swapoff $?"
(echo x > /m/swap.new) && rm /m/swap.new && echo "alive"
filefrag -v /m/swap > /tmp/frag; echo "frag $(grep -c '^ *[0-9]*: ' /tmp/frag) $(sed -n 's/^ *0: *0\.\. *[0-9]*: *\([0-9]*\)\.\..*/\1/p' /tmp/frag)"
filefrag -B /m/swap > /tmp/bmap; echo "bmap $(sed 's/.*: \([0-9]*\) extent.*/\1/' /tmp/bmap)"
umount /m; echo "end $?"
G
timeout 200 tools/qemu-run --mem 48M --timeout 190 --disk "$dir/disk" --program filefrag --add "$dir/hog:/hog" --add "$dir/guest.sh:/guest.sh" \
	-- sh /guest.sh > "$dir/out" 2> "$dir/log"
cat "$dir/out"
grep -a 'panic' "$dir/log"
line() { grep -q -E "^$1\$" "$dir/out"; }
field() { sed -n "s/^$1 //p" "$dir/out" | cut -d' ' -f"$2"; }
check "a file with holes is refused" "line 'holes [1-9][0-9]*'"
check "a file without a header is refused" "line 'plain [1-9][0-9]*'"
check "nor does who had it open" "line 'open [1-9][0-9]*'"
check "a mounted disk is refused" "line 'mounted [1-9][0-9]*'"
check "a file becomes swap" "grep -q -E '^swapon 0 /m/swap[[:space:]]+file[[:space:]]+98300' $dir/out"
check "once" "line 'again [1-9][0-9]*'"
check "nobody writes to it, cuts it or removes it" "line 'write [1-9]' && line 'truncate [1-9]' && line 'remove [1-9]'"
check "its file system stays mounted" "line 'umount [1-9][0-9]*'"
check "pages come back unharmed" "line 'hog: fine' && [ $(field swapped 1) -gt 3000 ] && [ $(field swapped 2) -gt 3000 ]"
check "it can be taken away" "line 'swapoff 0' && line alive && line 'end 0'"
check "debugfs finds the file where filefrag did" "[ \"$(field frag 2)\" = \"$(debugfs -R 'blocks /swap' "$dir/disk" 2> /dev/null | cut -d' ' -f1)\" ]"
check "the runs are as many as those by block" "[ \"$(field frag 1)\" -ge 1 ] && [ \"$(field bmap 1)\" -ge 1 ]"
e2fsck -fn "$dir/disk" > "$dir/fsck" 2>&1 || cat "$dir/fsck"
check "e2fsck finds nothing" "e2fsck -fn $dir/disk > /dev/null 2>&1"
exit $failed
