#!/bin/bash
# SPDX-License-Identifier: MIT
# The virtio devices of `ostrom vm` on Ostrom: console, network (a station of its own on the host's wire), disk and generator, and the
# monitor that can open nothing once its guest runs; exits a request; a machine that is stopped and goes on. Debian's perf kvm
# and Debian's Linux with two CPUs.
cd "$(dirname "$0")/../.." || exit 2
. tests/vm/lib/check.sh
on_failure='tail -30 "$dir/out"'
make -s kernel build/user/init build/user/ostrom-vm || exit 1
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
strip -o "$dir/kernel" build/ostrom.elf
busybox=$(command -v busybox || echo /bin/busybox)
guest() { tools/mkinitrd "$dir/guest" --init build/user/init --busybox "$busybox" "$@"; }
host() { # [MORE OPTIONS OF tools/qemu-run...]
	timeout 300 tools/qemu-run --mem ${mem:-1G} --timeout 280 --net --add build/user/ostrom-vm:/ostrom --add "$dir/kernel:/kernel" \
		--add "$dir/guest:/initrd" --add "$dir/script:/script" "$@" -- sh /script > "$dir/out" 2>&1
}

guest --cmd sh -c 'echo "tty $(tty)"; ip -4 addr show eth0 | grep -o "inet 10.0.2.[0-9]*"; ping -c 2 -W 5 10.0.2.2 | grep received
dd if=/dev/zero of=/dev/vda bs=4k count=256 conv=fsync 2> /dev/null; echo all-done; i=0; while [ ! -e /stop ] && [ $i -lt 40 ]; do i=$((i + 1)); sleep 0.2; done
echo "still $i"; exit 9'
cat > "$dir/script" <<'S'
free_kb() { while read -r k v rest; do [ "$k" = MemFree: ] && echo "$v"; done < /proc/meminfo; }
dd if=/dev/zero of=/disk bs=1M count=8 2> /dev/null
ip -4 addr show eth0 | grep -o "inet 10.0.2.15"
/ostrom vm run --kernel /kernel --initrd /initrd --disk /disk --net eth0 --console virtio --rng --append "console=hvc0 ostrom.tty=hvc0 ip=dhcp" < /dev/null > /log 2>&1 &
p=$!
i=0
while [ $i -lt 200 ] && ! grep -q all-done /log; do i=$((i + 1)); sleep 0.2; done
grep Seccomp: /proc/$p/status
[ "$(readlink /proc/$p/ns/net)" != "$(readlink /proc/self/ns/net)" ] && [ "$(readlink /proc/$p/ns/mnt)" != "$(readlink /proc/self/ns/mnt)" ] && echo "own namespaces"
ls /proc/$p/root/bin > /dev/null 2>&1 || echo "no files"
/ostrom vm stat $p
kill -STOP $p
sleep 1
free_kb > /dev/null
kill -CONT $p
wait $p
echo "status $?"
cat /log
S
host
check "the guest has a console and an address of its own on the wire" "grep -q '^tty /dev/hvc0' $dir/out && grep -q '^inet 10.0.2.16' $dir/out && grep -q '2 packets received' $dir/out"
check "the monitor is confined" "grep -q '^Seccomp:.2' $dir/out && grep -q '^own namespaces' $dir/out && grep -q '^no files' $dir/out"
check "stat counts requests and their exits" \
	"awk '/^disk 0 requests/ && \$4 >= 8 && \$8 > 0 && \$8 < 40 {d = 1} /^net 1 requests/ && \$4 >= 4 {n = 1} /^cpu 0 exits/ && \$4 > 1000 {c = 1} END {exit !(d && n && c)}' $dir/out"
check "a machine that was stopped goes on to its end" "grep -q '^still' $dir/out && grep -q '^status 9' $dir/out"

if command -v perf > /dev/null; then
	guest --cmd sh -c 'echo up; i=0; while :; do i=$(((i + 1) % 1024)); dd if=/dev/vda of=/dev/null bs=4k skip=$i count=1 iflag=direct 2> /dev/null; echo "read $i"; done'
	cat > "$dir/script" <<'S'
dd if=/dev/zero of=/disk bs=1M count=8 2> /dev/null
/ostrom vm run --kernel /kernel --initrd /initrd --disk /disk > /log 2>&1 < /dev/null &
p=$!
i=0
while [ $i -lt 200 ] && ! grep -q '^up' /log; do i=$((i + 1)); sleep 0.2; done
/ostrom vm stat $p | sed 's/^/early /'
perf --no-pager kvm stat record -o /data -p $p sleep 2 > /record 2>&1
echo "record $?"
perf stat -x, -e kvm:kvm_set_irq,kvm:kvm_msi_set_irq,kvm:kvm_inj_virq,kvm:kvm_entry,kvm:kvm_exit,kvm:kvm_fpu,kvm:kvm_userspace_exit -p $p sleep 1 2>&1
kill $p
for e in vmexit ioport mmio; do perf --no-pager kvm -i /data stat report --event=$e 2>&1 | sed "s/^/$e /"; done
perf --no-pager script -i /data > /text 2> /dev/null
for what in 'kvm_pio: pio_write at 0x3f8 size 1 count 1 val' 'kvm_exit: vcpu 0 reason io rip' 'kvm_mmio: mmio write len 4 gpa 0xd0000064' 'kvm_entry: vcpu 0, rip'; do
	echo "lines $(grep -c "$what" /text)"
done
S
	host --program perf
	samples() { awk -v e="$1" -v k="$2" '$1 == e && $2 == k {n = $3} END {print n + 0}' "$dir/out"; }
	count() { awk -F, -v e="kvm:$1" '$3 == e {n = $1} END {print n + 0}' "$dir/out"; }
	check "perf kvm stat records the machine" "grep -q '^record 0' $dir/out"
	check "and counts exits by their reason, port and register" "[ $(samples vmexit io) -ge 20 ] && [ $(samples vmexit npf) -ge 4 ] &&
		[ $(samples ioport 0x3f8:POUT) -ge 20 ] && [ $(samples mmio 0xd0000064:W) -ge 2 ] && [ $(samples mmio 0xd0000060:R) -ge 2 ]"
	check "its events read as Linux's do" "[ \$(grep -c '^lines [1-9]' $dir/out) = 4 ]"
	check "a device's interrupt goes by its event descriptor" "[ $(count kvm_set_irq) -ge 2 ] && [ $(count kvm_set_irq) = $(count kvm_msi_set_irq) ]"
	check "each return to the monitor is one" "[ $(count kvm_userspace_exit) -ge 20 ] && [ $(count kvm_fpu) -ge $((2 * $(count kvm_userspace_exit) - 1)) ] &&
		[ $(count kvm_exit) -ge $(count kvm_userspace_exit) ]"
	check "stat tells what the exits were, and booting takes few" "awk '/^early cpu 0/ && \$5 < 50000 && \$9 > 0 && \$11 > 0 && \$17 > 0 {n = 1} END {exit !n}' $dir/out"
else
	echo "skipped: no perf on this machine"
fi

if linux=$(tools/linux-guest --fetch 2> /dev/null) && tools/extract-vmlinux "$linux"/boot/vmlinuz-* "$dir/vmlinux" && strip -o "$dir/kernel" "$dir/vmlinux"; then
	drivers="virtio/virtio_ring virtio/virtio virtio/virtio_mmio block/virtio_blk ../net/core/failover net/net_failover net/virtio_net char/virtio_console
		char/hw_random/rng-core char/hw_random/virtio-rng"
	modules=()
	for m in $drivers; do
		file=$(echo "$linux"/lib/modules/*/kernel/drivers/"$m".ko)
		[ ! -e "$file" ] || modules+=(--add "$file:/m/${m##*/}.ko")
	done
	# Its kernel reads no virtio_mmio.device= on the command line: the devices come from ACPI's tables.
	guest "${modules[@]}" --cmd sh -c "for m in $(echo $drivers); do [ ! -e /m/\${m##*/}.ko ] || insmod /m/\${m##*/}.ko; done"'
uname -sv; grep -c ^processor /proc/cpuinfo; echo "queues $(ls /sys/block/vda/mq | wc -l)"
dd if=/dev/urandom of=/random bs=64k count=16 2> /dev/null
dd if=/random of=/dev/vda bs=64k seek=64 conv=fsync 2> /dev/null; echo 3 > /proc/sys/vm/drop_caches
dd if=/dev/vda bs=64k skip=64 count=16 2> /dev/null | cmp - /random && echo "disk same"
echo "generator $(cat /sys/class/misc/hw_random/rng_current) $(head -c 64 /dev/hwrng | wc -c)"
echo "hello from hvc0" > /dev/hvc0
ifconfig eth0 10.0.2.77 up; ping -c 2 -W 5 10.0.2.2 | grep received; exit 4'
	cat > "$dir/script" <<'S'
dd if=/dev/zero of=/disk bs=1M count=8 2> /dev/null
/ostrom vm run --kernel /kernel --initrd /initrd --mem 400M --cpus 2 --disk /disk --net eth0 --console virtio --rng --append "console=ttyS0 quiet" < /dev/null
echo "status $?"
S
	mem=1500M host
	check "Debian's Linux runs with two CPUs" "grep -q '^Linux.*Debian' $dir/out && grep -q '^2\$' $dir/out && grep -q '^status 4' $dir/out"
	check "and finds disk (a queue a CPU), console, generator and network by ACPI" "grep -q '^disk same' $dir/out && grep -q '^queues 2' $dir/out &&
		grep -q '^hello from hvc0' $dir/out && tr -d '\\r\\n' < $dir/out | grep -q 'generator virtio_rng.* 64' && grep -q '2 packets received' $dir/out"
else
	echo "skipped: no kernel of Debian's to be had"
fi
exit $failed
