#!/bin/bash
# SPDX-License-Identifier: MIT
# What the kernel does about the processor's own leaks. The files of /sys/devices/system/cpu/vulnerabilities as Debian's spectre-meltdown-checker reads
# them; page-table isolation: what user mode's tables map, asked of QEMU's monitor while the CPU is in user mode, and the ABI tests with it; retpolines and
# what is left of them where they are not needed, in the guest's memory; the kernel's addresses at several boots; a copy to a program that gdb makes too long.
# TEST_MODE=all compares with Debian's Linux on the same -cpu: the same bugs in /proc/cpuinfo, "Not affected" in the same files.
cd "$(dirname "$0")/../.." || exit 2
make -s kernel build/user/init abi || exit 1
command -v gdb > /dev/null || { echo "skip: no gdb"; exit 77; }
checker=$(command -v spectre-meltdown-checker) || { echo "skip: no spectre-meltdown-checker"; exit 77; }
dir=$(mktemp -d) failed=0
trap 'rm -rf "$dir"' EXIT
check() { if eval "$2"; then echo "ok $1"; else echo "not ok $1: $2"; failed=1; fi; }
ostrom() { # CPU "WORDS" COMMAND...: standard output into $dir/out
	local model=$1 words=$2
	shift 2
	timeout 210 tools/qemu-run --timeout 200 --qemu "-cpu $model" --append "$words" "${more[@]}" -- "$@" > "$dir/out" 2> "$dir/log"
}
state='cd /sys/devices/system/cpu/vulnerabilities; for f in *; do echo "$f: $(cat $f)"; done; grep -m1 ^bugs /proc/cpuinfo'

# ---- the files, and their judge -------------------------------------------------------------------------------------------------------
ours="cpu_meltdown|spectre_v1|spectre_v2|spec_store_bypass|l1tf|mds|msbds_only|swapgs|taa|itlb_multihit|srbds|mmio_stale_data|mmio_unknown|retbleed"
ours="$ours|eibrs_pbrsb|smt_rsb|gds|bhi|srso|rfds|its|tsa|vmscape" # the others are slips of a CPU, not leaks
bugs() { grep ^bugs "$1" | tr ' ' '\n' | grep -xE "$ours" | sort; }
more=(--add "$checker:/checker")
for model in max Skylake-Client EPYC; do
	ostrom $model "" sh -c "$state; sh /checker --sysfs-only --no-color; echo; echo whole; sh /checker --no-color | grep SUMMARY"
	cp "$dir/out" "$dir/$model"
	# Of variant 1 --sysfs-only prints what the file says and then gives no verdict, on any kernel.
	check "$model: the checker reads each file" "[ \$(grep -c '^\* Mitigated according to the /sys interface: \(YES\|NO\|UNKNOWN\) (' $dir/$model) -ge 4 ] && ! grep -q 'interface: UNKNOWN (.*not' $dir/$model"
	check "$model: the checker on variants 1 and 3" "sed '1,/^whole/d' $dir/$model | grep -q 'SUMMARY: CVE-2017-5753:OK .* CVE-2017-5754:OK'"
	check "$model: the checker reads of retpolines" "grep -q 'interface: YES (Mitigation: Retpolines; STIBP: disabled; RSB filling)' $dir/$model"
	[ "$TEST_MODE" = all ] || continue
	tools/linux-guest -q "-cpu $model" -- "$state" > "$dir/linux" 2> "$dir/log"
	check "$model: bugs as Linux says" "diff <(bugs $dir/linux) <(bugs $dir/$model)"
	check "$model: not affected as Linux says" "diff <(grep '^[a-z0-9_]*: Not affected$' $dir/linux) <(grep '^[a-z0-9_]*: Not affected$' $dir/$model)"
done
check "Spectre v2: retpolines" "[ \$(grep -lx 'spectre_v2: Mitigation: Retpolines; STIBP: disabled; RSB filling' $dir/max $dir/Skylake-Client $dir/EPYC | wc -l) = 3 ]"
check "Spectre v1" "[ \$(grep -lx 'spectre_v1: Mitigation: usercopy/swapgs barriers and __user pointer sanitization' $dir/max $dir/Skylake-Client $dir/EPYC | wc -l) = 3 ]"
check "Meltdown where it is" "grep -qx 'meltdown: Mitigation: PTI' $dir/Skylake-Client && grep -qx 'meltdown: Not affected' $dir/max $dir/EPYC"
# Of the barrier between programs QEMU knows nothing; it takes writes to registers that it does not know.
ostrom "EPYC -S -gdb unix:$dir/gdb,server=on,wait=off" "" sh -c "$state; sh /checker --no-color --variant 2" &
tools/cpuid-guest "$dir/gdb" build/kernel/ostrom.elf '80000008.*|=0,1000,0,0'
wait $!
check "Spectre v2: with the barrier" "grep -qx 'spectre_v2: Mitigation: Retpolines; IBPB: always-on; STIBP: disabled; RSB filling' $dir/out"
check "Spectre v2: the checker sees the barrier" "grep -q 'IBPB enabled and active: *YES' $dir/out"
more=()
for words in nopti pti=off mitigations=off; do
	ostrom Skylake-Client "$words" sh -c "$state"
	check "$words" "grep -qx 'meltdown: Vulnerable' $dir/out"
done
check "mitigations=off: the others" "grep -qx 'spectre_v2: Vulnerable' $dir/out && grep -qx 'spectre_v1: Vulnerable: __user pointer sanitization and usercopy barriers only; no swapgs barriers' $dir/out"
ostrom Skylake-Client "nospectre_v2 nospectre_v1" sh -c "$state"
check "nospectre_v2, nospectre_v1" "grep -qx 'spectre_v2: Vulnerable' $dir/out && grep -q 'no swapgs barriers' $dir/out && grep -qx 'meltdown: Mitigation: PTI' $dir/out"

# ---- isolation: what the tables of user mode map ----------------------------------------------------------------------------------------
cat > "$dir/mapped.py" << 'END'
"""Of the kernel's half, while the CPU is in user mode: KiB that are mapped, ranges that user mode may touch; then the bytes at an address."""
import re, socket, sys, time
s = socket.socket(socket.AF_UNIX)
for _ in range(300):
    try:
        s.connect(sys.argv[1])
        break
    except OSError:
        time.sleep(0.1)
def ask(line):
    s.sendall(line.encode() + b"\n")
    text = b""
    while not text.rstrip().endswith(b"(qemu)"):
        text += s.recv(65536)
    return text.decode()
s.settimeout(60)
while not s.recv(65536).rstrip().endswith(b"(qemu)"):
    pass
deadline = time.time() + 60
while time.time() < deadline:
    time.sleep(0.3)
    ask("stop")
    where = re.search(r"CPL=(\d).*?RIP", ask("info registers"), re.S) or re.search(r"CPL=(\d)", ask("info registers"))
    ranges = re.findall(r"([0-9a-f]{16})-[0-9a-f]{16} ([0-9a-f]{16}) ([urwx-]+)", ask("info mem"))
    code = re.findall(r"0x([0-9a-f]{2})\b", ask(f"x /5xb {sys.argv[2]}"))
    ask("cont")
    # in user mode, and of a program: something is mapped there
    if where and where[1] == "3" and any(r.startswith("u") for _, _, r in ranges):
        print(sum(int(n, 16) for a, n, r in ranges if a[0] == "f") >> 10, sum(a[0] == "f" and r[0] == "u" for a, _, r in ranges), "".join(code[-5:]))
        sys.exit(0)
sys.exit(1)
END
mapped() { # NAME CPU WORDS
	rm -f "$dir/monitor"
	timeout 100 tools/qemu-run --timeout 90 --append "nokaslr $3" --qemu "-cpu $2 -monitor unix:$dir/monitor,server=on,wait=off" -- \
		sh -c 'sh -c "while :; do :; done" & sleep 40; kill $!' > /dev/null 2>&1 &
	local machine=$!
	python3 "$dir/mapped.py" "$dir/monitor" "$site" > "$dir/$1.kib" || echo "none none none" > "$dir/$1.kib"
	kill $machine 2> /dev/null
	wait $machine
	read -r kib users code < "$dir/$1.kib"
	echo "   $1: $kib KiB of the kernel's half mapped in user mode"
}
# A place that calls by a register: the dispatcher of system calls. It lies in the part that only the kernel maps, so it is read where that is.
site=0x$(objdump -d --no-show-raw-insn --disassemble=dispatch build/ostrom.elf | awk '/call.*__x86_indirect_thunk_/ { sub(":", "", $1); print $1; exit }')
mapped isolated Skylake-Client ""
check "with isolation user mode's tables map the entry code and little else" "[ $kib -ge 48 ] && [ $kib -le 128 ] && [ $users = 0 ]"
mapped shared max ""
check "without it, all of memory (the measure itself)" "[ $kib -ge 400000 ] && [ $users = 0 ]"
check "retpolines: a call of the thunk" "case $code in e8*) true ;; *) false ;; esac"
mapped off max "mitigations=off"
check "patched away: one call by a register, of the same length" "case $code in 2e2e2effd?|2e2e41ffd?) true ;; *) false ;; esac"

# ---- where the kernel is -----------------------------------------------------------------------------------------------------------------
linked=$(nm build/ostrom.elf | awk '$3 == "syscall_entry" { print $1 }')
for n in 1 2 3 fixed; do
	ostrom max "$([ $n = fixed ] && echo nokaslr)" sh -c 'grep " syscall_entry$" /proc/kallsyms; cd /proc; su -s /bin/sh nobody -c "grep \" syscall_entry$\" kallsyms" 2> /dev/null; true'
	awk 'NR == 1 { print $1 }' "$dir/out" >> "$dir/places"
done
check "KASLR: another place at each boot, whole large pages away" "[ \$(sort -u $dir/places | wc -l) -ge 3 ] && python3 -c 'import sys; sys.exit(any((int(a, 16) - 0x$linked) % (2 << 20) for a in open(sys.argv[1])))' $dir/places"
check "nokaslr" "[ \$(tail -1 $dir/places) = $linked ]"
ostrom max "init=/bin/false" true
check "a panic names its functions" "grep -q 'process_exit_group+' $dir/log"

# NMIs that stop CPUs in user mode, on its tables: each prints the program's registers and ends.
printf '#!/bin/sh\nmount -t devtmpfs dev /dev\nsh -c "while :; do :; done" &\nsh -c "while :; do :; done" &\nsleep 1\n' > "$dir/spin"
chmod +x "$dir/spin"
more=(--cpus 3 --add "$dir/spin:/spin")
ostrom Skylake-Client "init=/spin" true
more=()
check "NMIs in user mode" "[ \$(grep -c 'CPU [012], task' $dir/log) = 3 ] && [ \$(grep -c 'cs 0033' $dir/log) = 2 ]"

# ---- a copy that is too long ----------------------------------------------------------------------------------------------------------------
ostrom max "" sh -c 'wc -c < /proc/version'
bytes=$(grep -m1 -x '[0-9]*' "$dir/out")
rm -f "$dir/gdb"
timeout 100 tools/qemu-run --timeout 90 --qemu "-S -gdb unix:$dir/gdb,server=on,wait=off" -- \
	sh -c 'dd if=/proc/version of=/dev/null bs=64k 2>&1; echo "status $?"; dd if=/proc/version bs=64k 2> /dev/null | wc -c' > "$dir/out" 2> "$dir/log" &
machine=$!
for _ in $(seq 100); do [ -S "$dir/gdb" ] && break; sleep 0.1; done
timeout 80 gdb -nx -batch build/ostrom.elf -ex "target remote $dir/gdb" -ex "hbreak user_copy_out if \$rdx == $bytes" -ex continue \
	-ex 'set $rdx = 30000' -ex delete -ex continue > "$dir/gdb.log" 2>&1
wait $machine
check "a copy beyond its object fails, and nothing else does" "grep -q 'user copy of 30000 bytes at .*: more than one object, refused (dd)' $dir/log &&
	grep -qx 'status 1' $dir/out && grep -qx $bytes $dir/out"

# ---- the ABI on both entries ----------------------------------------------------------------------------------------------------------
cat > "$dir/run.sh" << 'END'
for t; do
	timeout 60 /abi/$t > /tmp/o 2>&1 < /dev/null
	echo "STATUS $t $? $(grep -c '^not ok' /tmp/o)"
	grep '^not ok' /tmp/o
done
END
abi() { # NAME CPU WORDS
	local programs=(machine signal process mm exec rseq)
	[ "$TEST_MODE" = all ] && mapfile -t programs < <(cd tests/abi && ls ./*.c | sed 's,^./,,; s,\.c$,,')
	more=(--cpus 2 --add build/abi:/abi --add "$dir/run.sh:/run.sh")
	ostrom "$2" "$3" sh /run.sh "${programs[@]}"
	grep '^not ok' "$dir/out"
	check "$1: ${#programs[@]} ABI tests" "[ \$(grep -c ^STATUS $dir/out) = ${#programs[@]} ] && ! grep '^STATUS' $dir/out | grep -v ' 0 0$'"
}
abi "isolated, Skylake-Client" Skylake-Client ""
[ "$TEST_MODE" = all ] && abi "isolated, max" max pti=on
exit $failed
