# Row: the kernel boots and runs an unmodified Debian program. Boot time is the guest's own uptime when the program starts.
set -e
tools/qemu-run --timeout 60 -- /bin/busybox sh -c 'cat /proc/uptime; uname -sr; busybox | head -1; ls / | wc -l' > build/demo/kernel.out 2> build/demo/kernel.err
read -r up _ < build/demo/kernel.out
grep -q '^Linux 6.1.0-ostrom' build/demo/kernel.out
grep -q '^BusyBox v' build/demo/kernel.out
echo "measured: busybox of Debian runs $up s after the kernel's start under software emulation; image $(stat -L -c %s build/ostrom.elf | numfmt --to=iec)"
