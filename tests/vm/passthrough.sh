#!/bin/bash
# A whole PCI device for a guest, behind QEMU's intel-iommu. An NVMe disk is taken from the host's driver by the files of
# /sys/bus/pci, given to guests of `ostrom vm` (one without a kernel, one that turns the disk on its host, Ostrom; in the long
# run Debian's Linux) and comes back with what they wrote; the host's own disk beside it never notices. Pins and tables go
# with a guest that is killed. Without an IOMMU nothing is given. Then a GPU of its own against a virtual one on the same work.
cd "$(dirname "$0")/../.." || exit 2
. tests/vm/lib/check.sh
on_failure='tail -40 "$dir/out"; tail -20 "$dir/err"'
make -s kernel build/user/init build/user/ostrom-vm build/programs/vfiopci || exit 1
make -s kernel DEBUG=1 || exit 1
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
for g in nvme pictures; do tests/vm/guest/build $g "$dir/$g" || exit 1; done
truncate -s 32M "$dir/own" "$dir/given"
disks="-drive file=$dir/own,if=none,format=raw,id=own,cache=unsafe -device nvme,drive=own,serial=own1 -drive file=$dir/given,if=none,format=raw,id=given,cache=unsafe -device nvme,drive=given,serial=pass1"
strip -o "$dir/kernel" build/ostrom.elf
cat > "$dir/inside" <<'S'
for m in /m/*.ko; do [ ! -e $m ] || insmod $m; done
for i in 1 2 3 4 5 6 7 8 9 10; do [ -b /dev/nvme0n1 ] && break; sleep 1; done
echo "the guest has $(cat /sys/class/nvme/nvme0/serial)"
tr '\0' G < /dev/zero | dd of=/dev/nvme0n1 bs=4k seek=100 count=64 iflag=fullblock 2> /dev/null; sync
[ "$(dd if=/dev/nvme0n1 bs=4k skip=100 count=64 iflag=direct 2> /dev/null | tr -d G | wc -c)" = 0 ] && exit 7
S
tools/mkinitrd "$dir/guest" --init build/user/init --busybox "$(command -v busybox || echo /bin/busybox)" --add "$dir/inside:/inside" --cmd sh /inside
: > "$dir/vmlinux" # Debian's Linux takes its time: in the long run
: > "$dir/linux"
linux=
[ "$TEST_MODE" != all ] || linux=$(tools/linux-guest --fetch 2> /dev/null)
if [ -n "$linux" ]; then
	tools/extract-vmlinux "$linux"/boot/vmlinuz-* "$dir/vmlinux" && strip "$dir/vmlinux"
	drivers=$(echo "$linux"/lib/modules/*/kernel) n=10 add=()
	for m in lib/crc64 lib/crc64-rocksoft crypto/crct10dif_common crypto/crct10dif_generic lib/crc-t10dif crypto/crc64_rocksoft_generic block/t10-pi \
		drivers/nvme/host/nvme-core drivers/nvme/host/nvme; do
		add+=(--add "$drivers/$m.ko:/m/$n.ko"); n=$((n + 1))
	done
	tools/mkinitrd "$dir/linux" --init build/user/init --busybox "$(command -v busybox || echo /bin/busybox)" --add "$dir/inside:/inside" "${add[@]}" --cmd sh /inside
fi
cat > "$dir/script" <<'S'
free_kb() { while read -r k v rest; do [ "$k" = MemFree: ] && echo "$v"; done < /proc/meminfo; }
serial() { for c in /sys/class/nvme/nvme*; do [ "$(cat $c/serial 2> /dev/null)" = "$1" ] && echo $c; done; }
used() { cat /sys/class/iommu/dmar0/intel-iommu/domains_used; }
vm() { /ostrom vm run --vfio $a "$@"; echo "status $?"; }
hold() { # a guest that has it until it is killed
	: > /log.hold # the last one's
	/ostrom vm run --vfio $a --kernel /kernel --initrd /waiting --mem 48M --append 'console=ttyS0' > /log.hold 2>&1 & p=$!
	for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do grep -q '^waiting' /log.hold && break; sleep 0.5; done
}
a=$(cat $(serial pass1)/address) own=/dev/$(basename $(serial own1))n1
dev=/sys/bus/pci/devices/$a
echo "$a $own"
dd if=/dev/urandom of=/random bs=64k count=16 2> /dev/null
dd if=/random of=$own bs=64k oflag=direct 2> /dev/null
echo $a > $dev/driver/unbind; echo "taken $? $(serial pass1)"
echo vfio-pci > $dev/driver_override; echo $a > /sys/bus/pci/drivers_probe
echo "given $(basename $(readlink $dev/driver)) $(ls $dev/iommu_group/devices) $(ls /dev/vfio | wc -l)"
/vfiopci $a
echo "USE"; vm --kernel /nvme --mem 32M --append u
echo "HOSTILE"
(while [ ! -f /stop ]; do cmp /random $own -n 1048576 || echo "own disk differs"; dd if=/random of=$own bs=64k oflag=direct 2> /dev/null; done) & own_job=$!
vm --kernel /nvme --mem 32M --append h
touch /stop; wait $own_job
echo "faults $(cat /sys/class/iommu/dmar0/intel-iommu/faults)"
cmp -n 1048576 /random $own && echo "the host's disk is whole"
echo "OSTROM"; vm --kernel /kernel --initrd /guest --mem 64M --append 'console=ttyS0'
[ -s /vmlinux ] && { echo "LINUX"; vm --kernel /vmlinux --initrd /linux --mem 400M --append 'console=ttyS0 quiet'; }
hold; kill -9 $p; wait $p; before=$(free_kb)
hold
echo "held $(used)"
/ostrom vm run --vfio $a --kernel /nvme --mem 16M > /log.second 2>&1; echo "second $?"
echo $a > $dev/driver/unbind; echo "unbind $?"
kill -9 $p; wait $p
hold; kill -9 $p; wait $p
echo "MEMORY $before $(free_kb) domains $(used)"
echo $a > $dev/driver/unbind; echo > $dev/driver_override
echo $a > /sys/bus/pci/drivers_probe; echo "back $(basename $(readlink $dev/driver)) $(ls /dev/vfio)"
disk=/dev/$(basename $(serial pass1))n1
[ "$(dd if=$disk bs=4k skip=100 count=64 iflag=direct 2> /dev/null | tr -d G | wc -c)" = 0 ] && echo "what the guest wrote is there"
dd if=/random of=$disk bs=64k oflag=direct 2> /dev/null; cmp -n 1048576 /random $disk && echo "the host uses it again"
S
tools/mkinitrd "$dir/waiting" --init build/user/init --busybox "$(command -v busybox || echo /bin/busybox)" --cmd sh -c 'echo waiting; sleep 1000'
run() {
	timeout 300 tools/qemu-run --timeout 290 --mem 1G --append "$accept" --add build/user/ostrom-vm:/ostrom --add build/programs/vfiopci:/vfiopci --add "$dir/nvme:/nvme" --add "$dir/kernel:/kernel" --add "$dir/guest:/guest" \
		--add "$dir/waiting:/waiting" --add "$dir/vmlinux:/vmlinux" --add "$dir/linux:/linux" --add "$dir/script:/script" "$@" -- sh /script > "$dir/out" 2> "$dir/err"
}
part() { sed -n "/^$1/,/^status/p" "$dir/out"; }
judge() { # WHAT
	check "the host's driver lets go, and the device is given$1" "grep -q '^taken 0 \$' $dir/out && grep -q '^given vfio-pci 0000:.* 2\$' $dir/out"
	check "a program has it: registers, messages, addresses, pins, resets$1" "! grep -q '^not ok' $dir/out && sed '/^USE/q' $dir/out | grep -c '^ok' | grep -q '^25\$'"
	check "a guest without a kernel uses it: commands, data, interrupts$1" "part USE | grep -q '^ok used' && part USE | grep -q '^status 0'"
	check "what is not the guest's is refused, and reported$1" "part HOSTILE | grep -q '^ok read where' && grep -q 'iommu: .* may not write' $dir/err && grep -q 'iommu: .* may not read' $dir/err"
	check "but not for ever$1" "grep -q 'no more of these are reported' $dir/err && [ \$(grep -c 'iommu: .* may not' $dir/err) -le 20 ]"
	check "the hostile guest itself goes on$1" "part HOSTILE | grep -q '^ok used again' && part HOSTILE | grep -q '^status 0'"
	check "and nobody is hurt$1" "grep -q \"^the host's disk is whole\" $dir/out && ! grep -q 'differs' $dir/out"
	check "Ostrom as a guest drives it$1" "part OSTROM | grep -q '^the guest has pass1' && part OSTROM | grep -q '^status 7'"
	[ ! -s "$dir/vmlinux" ] || check "Debian's Linux as a guest drives it$1" "part LINUX | grep -q '^the guest has pass1' && part LINUX | grep -q '^status 7'"
	check "one owner at a time$1" "grep -q '^held 1' $dir/out && grep -q '^second 1' $dir/out && grep -q '^unbind 1' $dir/out"
	read -r before after < <(sed -n 's/^MEMORY \([0-9]*\) \([0-9]*\) domains 0/\1 \2/p' "$dir/out")
	check "a killed guest leaves nothing (${before:-none} KB free, then ${after:-none})$1" "[ ${before:-9999999} -lt $((${after:-0} + 1024)) ]"
	check "the device comes back$1" "grep -q '^back nvme vfio\$' $dir/out && grep -q '^what the guest wrote is there' $dir/out && grep -q '^the host uses it again' $dir/out"
}
accept=vfio_iommu_type1.allow_unsafe_interrupts=1
run --qemu "-device intel-iommu $disks"
judge ""
run --debug-kernel --qemu "-device intel-iommu $disks"
judge ", with all checks"
check "no check has failed" "! grep -q 'panic:' $dir/err"

cat > "$dir/script" <<'S'
d=$(basename /sys/bus/pci/drivers/nvme/0000*)
echo $d > /sys/bus/pci/drivers/nvme/unbind
echo vfio-pci > /sys/bus/pci/devices/$d/driver_override; echo $d > /sys/bus/pci/drivers/vfio-pci/bind; echo "bind $?"
/ostrom vm run --vfio $d --kernel /nvme --mem 32M --append u; echo "vm $?"
S
given="-drive file=$dir/given,if=none,format=raw,id=given,cache=unsafe -device nvme,drive=given,serial=pass1"
run --qemu "$given"
check "without an IOMMU nothing is given" "grep -q '^bind 1' $dir/out && grep -q '^vm 1' $dir/out && ! grep -q '^used' $dir/out"
accept=
run --qemu "-device intel-iommu $given"
check "nor where nobody has accepted that interrupts are not remapped" "grep -q '^bind 0' $dir/out && grep -q '^vm 1' $dir/out && grep -q 'allow_unsafe' $dir/err"

# Who is given: a function right behind a root port; not one behind a switch, whose ports may pass requests to each other, and
# not the port itself.
cat > "$dir/script" <<'S'
give() { # WHAT ADDRESS
	[ ! -e /sys/bus/pci/devices/$2/driver ] || echo $2 > /sys/bus/pci/devices/$2/driver/unbind
	echo vfio-pci > /sys/bus/pci/devices/$2/driver_override; echo $2 > /sys/bus/pci/drivers/vfio-pci/bind; echo "give $1 $?"
}
for c in /sys/class/nvme/nvme*; do give $(cat $c/serial) $(cat $c/address); done
for d in /sys/bus/pci/devices/0000:00:*; do [ $(cat $d/class) != 0x060400 ] || bridge=$(basename $d); done
give bridge $bridge
S
run --qemu "-device intel-iommu -device pcie-root-port,id=p1,chassis=1 -device nvme,bus=p1,drive=own,serial=port1 -device pcie-root-port,id=p2,chassis=2 \
	-device x3130-upstream,bus=p2,id=up -device xio3130-downstream,bus=up,id=down,chassis=3 -device nvme,bus=down,drive=given,serial=switch1 \
	-drive file=$dir/own,if=none,format=raw,id=own,cache=unsafe -drive file=$dir/given,if=none,format=raw,id=given,cache=unsafe"
check "behind a root port a function is given, behind a switch it is not" "grep -q '^give port1 *0' $dir/out && grep -q '^give switch1 *1' $dir/out"
check "nor is a bridge" "grep -q '^give bridge 1' $dir/out && grep -q 'it is a bridge' $dir/err"

# The same pictures by a whole GPU and by a virtual one; time is the instructions of this machine's processor.
cat > "$dir/script" <<'S'
show() { # N ARGS: a guest that shows N pictures and then sleeps
	n=$1; shift; : > /log
	/ostrom vm run --kernel /pictures --mem 16M --append $n "$@" > /log 2>&1 & p=$!
	for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do sleep 0.2; grep -q '^holding' /log && break; done
	echo "SHOWN $n $(sed -n 's/^pictures.*cycles \([0-9]*\).*/\1/p' /log) $(/ostrom vm stat $p | cut -d ' ' -f 4) host $(ls /dev/dri 2> /dev/null | wc -l)"
	kill -9 $p; wait $p; sleep 0.2
}
if [ -d /sys/class/mdev_bus/gpu0 ]; then what="--gpu 100%"; else what="--vfio $(basename /sys/bus/pci/drivers/vfio-pci/0000*)"; fi
show 0 $what; show 200 $what
S
compare() { # QEMU-RUN-ARGS: exits of 400 requests, instructions a picture, DRM nodes of the host meanwhile
	timeout 100 tools/qemu-run --icount --timeout 90 --add build/user/ostrom-vm:/ostrom --add "$dir/pictures:/pictures" --add "$dir/script:/script" "$@" -- sh /script \
		> "$dir/out" 2> "$dir/err"
	sed -n 's/^SHOWN \([0-9]*\) \([0-9]*\) \([0-9]*\) host \([0-9]*\)/\1 \2 \3 \4/p' "$dir/out" | { read -r _ _ e0 _; read -r _ c e h; echo "$((e - e0)) ${c:-0} ${h:-none}"; }
}
read -r exits cycles host < <(compare --gpu 2d)
echo "# a virtual GPU: $exits exits for 400 requests, $cycles instructions a picture; the host's nodes meanwhile: $host"
check "a virtual GPU: two exits a request, and the host keeps its GPU" "[ $exits -ge 400 ] && [ $exits -le 820 ] && [ $host = 2 ]"
read -r exits cycles host < <(compare --append "vfio_iommu_type1.allow_unsafe_interrupts=1 vfio-pci.ids=1af4:1050" \
	--qemu "-device intel-iommu -device virtio-gpu-pci,iommu_platform=on")
echo "# a whole GPU: $exits exits for 400 requests, $cycles instructions a picture; the host's nodes meanwhile: $host"
check "a whole GPU: the doorbell is no exit, and the host has none" "[ $exits -ge 300 ] && [ $exits -le 440 ] && [ $host = 0 ]"
exit $failed
