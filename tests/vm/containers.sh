#!/bin/bash
# SPDX-License-Identifier: MIT
# Debian's own container programs on Ostrom, unmodified: unshare, nsenter, mount's propagation, bubblewrap, and crun with an OCI
# bundle of busybox and one of Debian, under limits of memory, tasks and CPU time. DEBIAN_KERNEL: see debian/host.sh.
. "$(dirname "$0")/debian/host.sh"
debian_run 240 --program bwrap --program crun --add /bin/busybox:/opt/busybox <<'GUEST'
mount -t cgroup2 none /sys/fs/cgroup 2> /dev/null
export XDG_RUNTIME_DIR=/run
# ---- propagation ----
mkdir -p /a /b /c
mount -t tmpfs one /a && mount --make-shared /a && mount --bind /a /b && mount --bind /a /c && mount --make-slave /c
tags() { grep -c "$1" /proc/self/mountinfo; }
check shared-group 2 'grep -E " /(a|b) " /proc/self/mountinfo | grep -o "shared:[0-9]*" | sort | uniq -c | awk "{print \$1}"'
check slave-of-it 1 'grep " /c " /proc/self/mountinfo | grep -c "master:"'
check mount-goes-to-peer-and-slave $'/a/x\n/b/x\n/c/x' 'mkdir /a/x; mount -t tmpfs in /a/x; findmnt -rno TARGET -t tmpfs | grep /x | sort'
check slave-keeps-its-own /c/y 'mkdir /a/y; mount -t tmpfs own /c/y; findmnt -rno TARGET | grep /y'
check umount-follows '' 'umount /b/x; findmnt -rno TARGET | grep /x'
check unbindable refused 'mount --make-unbindable /c; mount --bind /c /b 2> /dev/null || echo refused'
check new-namespace-is-slave 'gone' 'unshare --propagation slave -m mount -t tmpfs in /a/x; findmnt -rno TARGET | grep /a/x || echo gone'
check new-namespace-shares /a/x 'unshare --propagation unchanged -m mount -t tmpfs in /a/x; findmnt -rno TARGET | grep /a/x; umount /a/x'
check move 'moved /a' 'mkdir /m; mount --move /a /m; findmnt -rno TARGET /m > /dev/null && mount --move /m /a && echo moved /a'
check findmnt-propagation shared 'findmnt -no PROPAGATION /b'
# ---- unshare, nsenter ----
check unshare-root '0 root' 'setpriv --reuid=1000 --regid=1000 --clear-groups unshare -r bash -c "echo \$(id -u) \$(id -un)"'
check unshare-pid '1' 'unshare -pf --mount-proc bash -c "echo \$\$"'
check unshare-uts 'inside' 'unshare -u bash -c "hostname inside; hostname"'
check nsenter-all '1 box' 'unshare -pfu --mount-proc bash -c "hostname box; sleep 3; true" & sleep 1; p=$(pgrep -x sleep | tail -1); nsenter -t $p -p -u -m bash -c "echo \$(ps -o pid= -p 1) \$(hostname)"'
check time-of-namespaces 8 'ls /proc/self/ns | grep -cE "^(cgroup|ipc|mnt|net|pid|pid_for_children|user|uts)$"'
# ---- bubblewrap ----
B="bwrap --ro-bind / / --proc /proc --dev /dev --tmpfs /tmp --unshare-all"
check bwrap-pid 2 "$B bash -c 'echo \$\$'"
check bwrap-readonly '*Read-only file system' "$B touch /etc/x"
check bwrap-tmpfs fresh "$B bash -c 'ls /tmp; echo fresh > /tmp/x; cat /tmp/x'"
check bwrap-hostname box "$B --hostname box hostname"
check bwrap-dev $'full\nnull\nptmx' "$B ls /dev | grep -xE 'full|null|ptmx'"
check bwrap-user '1000 1000' "setpriv --reuid=1000 --regid=1000 --clear-groups $B bash -c 'echo \$(id -u) \$(id -g)'"
check bwrap-status 7 "$B bash -c 'exit 7'; echo \$?"
# ---- crun ----
mkdir -p /bundle/busybox/rootfs/bin /bundle/debian/rootfs
cp /opt/busybox /bundle/busybox/rootfs/bin/busybox
for c in sh cat ps hostname tail head id sleep mount; do ln -s busybox /bundle/busybox/rootfs/bin/$c; done
mount --bind / /bundle/debian/rootfs
spec() { # BUNDLE COMMAND: the default bundle without POSIX queues, with limits
	(cd /bundle/$1 && rm -f config.json && crun spec && python3 - "$2" <<'P'
import json, sys
c = json.load(open('config.json'))
c['linux']['namespaces'] += [{'type': 'cgroup'}]
c['mounts'] = [m for m in c['mounts'] if m['type'] != 'mqueue']
c['process']['terminal'] = False
c['process']['args'] = ['/bin/sh', '-c', sys.argv[1]]
c['hostname'] = 'crate'
c['linux']['resources'].update(memory={'limit': 12 << 20, 'swap': 12 << 20}, pids={'limit': 12}, cpu={'shares': 512, 'quota': 20000, 'period': 100000})
json.dump(c, open('config.json', 'w'))
P
	)
}
run() { spec "$1" "$2" && cd /bundle/$1 && crun --cgroup-manager=cgroupfs run box; }
export -f spec run
check crun-busybox $'crate\n0::/\n1' 'run busybox "hostname; cat /proc/self/cgroup; echo \$\$"'
check crun-limits $'12582912\n12\n20000 100000' 'run busybox "cd /sys/fs/cgroup; cat memory.max pids.max cpu.max"'
LIMIT=150 check crun-memory 'killed 137' 'run busybox "head -c 20000000 /dev/zero | tail -c 19000000 > /dev/null; echo killed \$?" 2>&1 | tail -1'
check crun-fork-bomb '*fork*alive' 'run busybox "i=0; while [ \$i -lt 30 ]; do sleep 1 & i=\$((i+1)); done" 2>&1 | tail -1; echo alive'
check crun-status 9 'run busybox "exit 9"; echo $?'
check crun-readonly '*Read-only*' 'run busybox "echo > /x"'
check crun-debian '12* crate' 'run debian "echo \$(cat /etc/debian_version) \$(hostname)"'
check crun-debian-python '2**64=18446744073709551616' 'run debian "python3 -c \"print(f\\\"2**64={2**64}\\\")\""'
check crun-life $'created\nrunning\ngone' 'spec busybox "exec sleep 50"; cd /bundle/busybox; crun --cgroup-manager=cgroupfs create box < /dev/null > /dev/null; s() { crun state box | sed -n "s/.*\"status\": \"\(.*\)\".*/\1/p"; }; s; crun start box; s; crun kill box KILL; sleep 0.5; crun --cgroup-manager=cgroupfs delete -f box; crun state box > /dev/null 2>&1 || echo gone'
check crun-exec 'two' 'spec busybox "exec sleep 50"; cd /bundle/busybox; crun --cgroup-manager=cgroupfs create box < /dev/null > /dev/null; crun start box; crun exec box /bin/sh -c "echo two"; crun --cgroup-manager=cgroupfs delete -f box'
GUEST
