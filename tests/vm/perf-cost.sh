#!/bin/bash
# What tracing costs, in guest instructions (the clock counts them: -icount). Unused tracepoints and hooks are 5-byte nops in the image, all of
# them; an enabled sched_switch, and memory sampling, stay within their budgets.
cd "$(dirname "$0")/../.." || exit 2
. tests/vm/lib/check.sh
command -v perf > /dev/null || { echo "skip: no perf on this machine"; exit 77; }
make -s kernel build/user/init build/programs/perf/cost || exit 1
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT

# Each site of a static branch: (address, target, key) between two symbols; the bytes at the address, from the image.
python3 - build/ostrom.elf > "$dir/sites" << 'P'
import struct, subprocess, sys
image = open(sys.argv[1], "rb").read()
symbols = {w[2]: int(w[0], 16) for w in (l.split() for l in subprocess.run(["nm", sys.argv[1]], capture_output=True, text=True).stdout.splitlines()) if len(w) == 3}
phoff, phsize, phnum = struct.unpack_from("<Q", image, 32)[0], *struct.unpack_from("<HH", image, 54)
loads = [struct.unpack_from("<QQQQ", image, phoff + i * phsize + 8) for i in range(phnum) if struct.unpack_from("<I", image, phoff + i * phsize)[0] == 1]
def at(va, n):
    off, start = next((o, v) for o, v, _, size in loads if v <= va < v + size)
    return image[off + va - start:off + va - start + n]
for va in range(symbols["static_branches_start"], symbols["static_branches_end"], 24):
    where = struct.unpack("<Q", at(va, 8))[0]
    print(f"{where:#x}", at(where, 5).hex())
P
check "every unused branch is one nop" "[ \$(wc -l < '$dir/sites') -gt 50 ] && ! grep -qv ' 0f1f440000\$' '$dir/sites'"
first=$(head -1 "$dir/sites" | cut -d' ' -f1)
objdump -d --start-address="$first" --stop-address=$((first + 5)) build/ostrom.elf | tail -1

cat > "$dir/in.sh" << 'END'
T=/sys/kernel/tracing
/cost switch 1000 > /dev/null
echo plain $(/cost switch 1000)
echo 1 > $T/events/sched/sched_switch/enable; echo ring $(/cost switch 1000); echo 0 > $T/events/sched/sched_switch/enable
echo after $(/cost switch 1000)
echo perf $(perf record -q -a -e sched:sched_switch -o /tmp/d -- /cost switch 1000)
echo loop $(/cost loop 10000000)
echo sampled $(perf record -q -F 1000 -e cpu/mem-loads/ -e cpu/mem-stores/ -o /tmp/d -- /cost loop 10000000)
END
timeout 120 tools/qemu-run --icount --timeout 100 --program perf --add build/programs/perf/cost:/cost --add "$dir/in.sh:/in.sh" -- sh /in.sh > "$dir/out" 2> "$dir/log"
check "the guest ends well" "[ $? = 0 ]" || tail "$dir/log"
value() { sed -n "s/^$1 //p" "$dir/out"; }
plain=$(value plain) ring=$(value ring) perf=$(value perf) after=$(value after) loop=$(value loop) sampled=$(value sampled)
echo "a switch: $plain instructions; with sched_switch into the trace ring +$((ring - plain)), into perf's +$((perf - plain)); memory sampling at 1,000 a second: $(((sampled - loop) * 1000 / loop)) of 1,000"
check "sched_switch into the ring costs at most 700 instructions" "[ $((ring - plain)) -gt 0 ] && [ $((ring - plain)) -le 700 ]"
check "into perf's ring at most 1,400" "[ $((perf - plain)) -le 1400 ]"
check "and nothing when it is off again" "[ $((after - plain)) -le 5 ]"
check "memory sampling costs at most 2 %" "[ $(((sampled - loop) * 1000 / loop)) -le 20 ] && [ $((sampled - loop)) -gt 0 ]"
exit $failed
