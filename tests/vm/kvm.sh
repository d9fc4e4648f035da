#!/bin/bash
# first
# SPDX-License-Identifier: MIT
# Ostrom as a host: `ostrom vm` on /dev/kvm runs Ostrom in Ostrom, to a command's output and status; with a disk; with the
# ABI tests inside; and a guest that is paused, goes on and is killed, at any moment, leaves no memory
# behind. The hypervisor runs on emulated SVM (one CPU).
cd "$(dirname "$0")/../.." || exit 2
. tests/vm/lib/check.sh
on_failure='tail -20 "$dir/out"'
make -s kernel build/user/init build/user/ostrom-vm abi || exit 1
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
strip -o "$dir/kernel" build/ostrom.elf
busybox=$(command -v busybox || echo /bin/busybox)
guest() { tools/mkinitrd "$dir/guest" --init build/user/init --busybox "$busybox" "$@"; }
host() { # COMMAND...: in the outer machine
	timeout 300 tools/qemu-run --mem ${mem:-1G} --timeout 280 --add build/user/ostrom-vm:/ostrom --add "$dir/kernel:/kernel" --add "$dir/guest:/initrd" \
		--add "$dir/script:/script" -- sh /script > "$dir/out" 2>&1
	status=$?
}

guest --cmd sh -c 'uname -sr; echo "pid $$"; exit 7'
echo '/ostrom vm run --kernel /kernel --initrd /initrd' > "$dir/script"
host
check "a command runs two kernels deep, and its status comes back" "[ $status = 7 ] && grep -q '^Linux 6.1.0-ostrom' $dir/out"

guest --cmd sh -c 'dd if=/dev/vda bs=512 count=1 2> /dev/null | grep -c sector-zero; echo written | dd of=/dev/vda bs=512 seek=1 conv=notrunc,fsync 2> /dev/null; grep -c processor /proc/cpuinfo'
cat > "$dir/script" <<'S'
dd if=/dev/zero of=/disk bs=1M count=8 2> /dev/null
echo sector-zero | dd of=/disk conv=notrunc 2> /dev/null
/ostrom vm run --kernel /kernel --initrd /initrd --disk /disk --cpus 2
echo "status $?"
dd if=/disk bs=512 skip=1 count=1 2> /dev/null | grep -c written
S
host
check "two CPUs, a disk that is read and written" "[ \"\$(grep -c '^1' $dir/out)\" -ge 2 ] && grep -q '^2' $dir/out && grep -q '^status 0' $dir/out"

guest --add build/abi:/abi --cmd sh -c 'cd /abi; n=0; for t in fileio files futex mm process signal waiting; do [ -x $t ] && { ./$t > /tmp/$t 2>&1 || { echo "BAD $t"; grep "^not" /tmp/$t; }; n=$((n+1)); }; done; echo "ran $n"'
echo '/ostrom vm run --kernel /kernel --initrd /initrd' > "$dir/script"
host
check "the ABI tests pass in the guest" "grep -q '^ran [4-9]' $dir/out && ! grep -q '^BAD' $dir/out"

if linux=$(tools/linux-guest --fetch 2> /dev/null) && tools/extract-vmlinux "$linux"/boot/vmlinuz-* "$dir/vmlinux" && strip -o "$dir/linux" "$dir/vmlinux"; then
	guest --cmd sh -c 'uname -sv; dd if=/dev/zero of=/tmp/x bs=1M count=16 2> /dev/null; ls -l /tmp/x; exit 5'
	echo '/ostrom vm run --kernel /kernel --initrd /initrd --mem 400M' > "$dir/script"
	mv "$dir/kernel" "$dir/ours"
	mv "$dir/linux" "$dir/kernel"
	mem=1500M host
	check "Debian's Linux runs a command, and its status comes back" "[ $status = 5 ] && grep -q '^Linux.*Debian' $dir/out && grep -q 16777216 $dir/out"
	mv "$dir/ours" "$dir/kernel"
else
	echo "skipped: no kernel of Debian's to be had"
fi

guest --cmd sh -c 'echo up; while :; do :; done'
cat > "$dir/script" <<'S'
free_kb() { while read -r k v rest; do [ "$k" = MemFree: ] && echo "$v"; done < /proc/meminfo; }
run() { /ostrom vm run --kernel /kernel --initrd /initrd > /log 2>&1 & p=$!; i=0; while [ $i -lt 150 ] && ! grep -q '^up' /log; do i=$((i + 1)); sleep 0.3; done; kill -9 $p; wait $p; sleep 0.3; }
cut() { /ostrom vm run --kernel /kernel --initrd /initrd --cpus 2 > /dev/null 2>&1 & p=$!; sleep $1; kill -STOP $p; sleep 0.1; kill -CONT $p; sleep 0.1; kill -9 $p; wait $p; sleep 0.3; }
run
before=$(free_kb)
run
for moment in 0 0.1 0.3 0.6 1 1.5; do cut $moment; done
after=$(free_kb)
grep -c '^up' /log
echo "before $before after $after"
[ $((before - after)) -lt 1024 ] && echo "no leak"
S
host
check "killed guests leave no memory behind" "grep -q '^no leak' $dir/out && grep -q '^1' $dir/out"
exit $failed
