#!/bin/bash
# SPDX-License-Identifier: MIT
# ./run --debug: gdb before the first instruction, and its commands on a live kernel: tasks, klog, vmas, locks, a backtrace of every CPU.
set -u
cd "$(dirname "$0")/../.."
command -v gdb > /dev/null || { echo "skip: no gdb"; exit 77; }
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
printf 'int main(void)\n{\n\tfor (;;)\n\t\t;\n}\n' > "$tmp/spin.c"
musl-gcc -static -o "$tmp/spin" "$tmp/spin.c" || exit 1
# stdin closes gdb's session: `kill` ends the machine. The lock is the terminal's, taken where output is processed.
timeout 150 tools/qemu-run --debug --debug-kernel --cpus 2 --add "$tmp/spin" > "$tmp/out" 2>&1 <<'GDB'
set pagination off
set confirm off
print "first instruction"
info registers rip
hbreak process_start_init
continue
delete
hbreak n_tty_output
continue
print "stopped while the shell writes"
locks
tasks
klog
vmas 1
thread apply all backtrace
kill
quit
GDB
failed=0
check() { # NAME PATTERN
	# shellcheck disable=SC2254 # it is a pattern
	case $(cat "$tmp/out") in
	$2) echo "ok $1" ;;
	*) echo "not ok $1"; tail -60 "$tmp/out"; failed=1 ;;
	esac
}
check "gdb waits at the first instruction" '*"first instruction"*rip *0x*'
check "breakpoints" '*Breakpoint 1, process_start_init*Breakpoint 2, n_tty_output*'
check "locks" '*"stopped while the shell writes"*cpu    [01]  TTY *'
check "tasks" '* 1 *cpu  [01]  *init*'
check "klog" '*initrd: * files, 0 left out*'
check "vmas" '*-* r-x mapping 0x*-* rw- mapping *'
check "a backtrace of every CPU" '*Thread 2*#0 *Thread 1*#0 *'
exit $failed
