#!/bin/bash
# SPDX-License-Identifier: MIT
# The machines of the contract: q35 and microvm (with and without ACPI), 1 to 64 CPUs, 16 MiB to 64 GiB, each with busybox's shell; the words
# of the command line; what a panic prints, and the exit statuses of ./run.
set -u
cd "$(dirname "$0")/../.."
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
failed=0
check() { # NAME WANTED-STATUS WANTED-PATTERN OPTIONS...
	local name=$1 status=$2 pattern=$3 got
	shift 3
	timeout 110 tools/qemu-run --timeout 100 "$@" > "$tmp/out" 2> "$tmp/log" && got=0 || got=$?
	# shellcheck disable=SC2254 # it is a pattern
	case $got:$(cat "$tmp/out" "$tmp/log") in
	$status:$pattern) echo "ok $name" ;;
	*) echo "not ok $name: status $got, wanted $status and $pattern"; cat "$tmp/out" "$tmp/log" | tail -40; failed=1 ;;
	esac
}
# MemTotal in KiB lies between 7/8 of the memory and all of it.
size() { # NAME CPUS KIB OPTIONS...
	local name=$1 cpus=$2 kib=$3
	shift 3
	check "$name" 0 "$cpus cpus fits*" --cpus "$cpus" "$@" -- sh -c "read a n b < /proc/meminfo
		[ \$n -le $kib ] && [ \$n -ge \$(($kib - $kib / 8)) ] && echo \$(nproc) cpus fits"
}
printf '#!/bin/sh\necho words: $*\nexec /init\n' > "$tmp/first"
chmod +x "$tmp/first"
for m in q35 microvm; do
	size "$m 16M" 1 16384 --machine $m --mem 16M
	size "$m 16M, 2 CPUs" 2 16384 --machine $m --mem 16M
	size "$m 128M, 64 CPUs" 64 131072 --machine $m --mem 128M
	size "$m 5G, 7 CPUs" 7 $((5 << 20)) --machine $m --mem 5G
	size "$m 64G, 64 CPUs" 64 $((64 << 20)) --machine $m --mem 64G
done
size "microvm with ACPI" 3 262144 --machine microvm --mem 256M --qemu "-M microvm,acpi=on,pit=on,rtc=on,isa-serial=on"

check "maxcpus, quiet, osrelease" 0 "2 5.10.1" --cpus 4 --append "maxcpus=2 quiet osrelease=5.10.1" -- sh -c 'echo $(nproc) $(uname -r)'
check "loglevel" 0 "in" --append "loglevel=1" -- echo in
check "bootchart" 0 "*bootchart: * us  alloc_init()*bootchart: * us  init_run()*" --append bootchart -- true
tools/mkinitrd "$tmp/root" --busybox "$(command -v busybox)" --init build/user/init
gzip -k "$tmp/root"; zstd -qk -19 "$tmp/root"; xz -k "$tmp/root"
for p in gz zst; do check "initrd: $p" 0 "unpacked*, 0 left out*" --root "$tmp/root.$p" -- echo unpacked; done
check "initrd: one that is not known" 125 "*no archive that we know at byte 0*" --root "$tmp/root.xz" -- true
check "words behind -- are init's" 0 "*words: one two*ran*" --add "$tmp/first:/first" --append "init=/first -- one two" -- echo ran
check "no init" 125 "*panic: init=/nowhere cannot be run*" --append init=/nowhere -- true
check "a panic: registers and a backtrace of every CPU" 125 "*panic: init has ended*CPU *ip *cr3 *panic*process_exit_group+*CPU *ip *cr3 *cpu_wait_for_irq+*CPU *ip *cr3 *cpu_wait_for_irq+*" \
	--cpus 3 --append init=/bin/false -- true
check "status of a command" 7 "*" -- sh -c 'exit 7'
check "status of a signal" 139 "*" -- sh -c 'kill -SEGV $$'
check "a command that is not there" 127 "*" -- /nowhere
check "a file that is no program" 126 "*" --add README.md:/readme -- /readme
exit $failed
