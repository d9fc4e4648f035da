#!/bin/bash
# first
# SPDX-License-Identifier: MIT
# A machine of 256 MiB is abused, and answers afterwards: fork bomb, memory bombs (alone, three at once, within a tenant's limit, with swap),
# every kind of object until there are no more, trinity as an unprivileged user. With TEST_MODE=all also every stressor of stress-ng, class by
# class, and half an hour of trinity, on both builds of the kernel. Judged: nothing panics or hangs, the shell still answers, what was used
# comes back (the second round of each bomb may not cost more than a little), programs are told what they lack with the right error, bombs are
# killed, and a file larger than memory that is read again and again kills nobody.
# limit: 9000
cd "$(dirname "$0")/../.." || exit 2
export PATH=$PATH:/usr/sbin:/sbin
for tool in mmdebstrap fakeroot mke2fs mkswap cpio; do command -v $tool > /dev/null || { echo "skip: no $tool"; exit 77; }; done
make -s kernel build/user/init || exit 1
kernels=(build/ostrom.elf)
trinity_seconds=${TRINITY_SECONDS:-15}
classes=
limit=230
if [ "$TEST_MODE" = all ]; then
	make -s kernel DEBUG=1 || exit 1
	kernels+=(build/debug/ostrom.elf)
	trinity_seconds=${TRINITY_SECONDS:-1800}
	classes=${CLASSES-cpu cpu-cache filesystem interrupt io memory network os pipe scheduler security vm}
	limit=4400
fi
limit=${DEBIAN_SECONDS:-$limit}
dir=$(mktemp -d) || exit 1
trap 'rm -rf "$dir"' EXIT
cat > "$dir/exhaust.py" << 'PY'
"""exhaust.py KIND: takes objects of a kind until the kernel refuses; prints the error's name."""
import errno, mmap, os, resource, select, socket, sys, tempfile, threading, time

def forever(make):
    kept = []
    try:
        while True:
            kept.append(make())
    except (OSError, RuntimeError, MemoryError) as e:
        name = errno.errorcode.get(getattr(e, "errno", 0), type(e).__name__)
        kept.clear()
        print(name)

def more_descriptors():
    resource.setrlimit(resource.RLIMIT_NOFILE, (20000, 20000))

def thread():
    t = threading.Thread(target=stop.wait, daemon=True)
    t.start()

def touched():
    m = mmap.mmap(-1, 16 << 20, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    for at in range(0, len(m), 4096):
        m[at] = 1
    return m

stop = threading.Event()
place = tempfile.mkdtemp(dir=sys.argv[2] if len(sys.argv) > 2 else None)
number = iter(range(1 << 30))
kinds = {
    "files": lambda: os.open("/etc/passwd", os.O_RDONLY),
    "pipes": os.pipe,
    "sockets": lambda: socket.socketpair(),
    "epolls": select.epoll,
    "memfds": lambda: os.memfd_create("x"),
    "ptys": os.openpty,
    "threads": thread,
    "maps": lambda: mmap.mmap(-1, 4096, prot=1 + next(number) % 2),
    "memory": touched,
    "inodes": lambda: os.close(os.open(f"{place}/{next(number)}", os.O_CREAT | os.O_WRONLY)),
    "folders": lambda: os.mkdir(f"{place}/{next(number)}"),
}
if sys.argv[1] in ("pipes", "sockets", "epolls", "memfds", "ptys"):
    more_descriptors()
forever(kinds[sys.argv[1]])
PY
{ cat tests/vm/debian/guest.sh; echo "trinity_seconds=$trinity_seconds classes='$classes'"; cat << 'GUEST'; echo 'exit $failures'; } > "$dir/script"
user() { setpriv --reuid=65534 --regid=65534 --clear-groups "$@"; }
available() { awk '/^MemFree|^Cached/ { n += $2 } END { print n }' /proc/meminfo; } # KiB
answers() { [ "$(timeout 20 bash -c 'echo $((6 * 7)) | cat')" = 42 ]; }
end_user() { for _ in $(seq 50); do user bash -c 'kill -9 -1' 2> /dev/null; [ "$(ps -u 65534 h | wc -l)" = 0 ] && return; sleep 0.2; done; }
# twice NAME COMMAND: the machine answers after both rounds, and the second one costs less than 2 MiB.
twice() {
	local name=$1 first second
	shift
	bash -c "$*" > /dev/null 2>&1 < /dev/null; end_user
	answers; verdict $? "$name" "no answer after the first round"
	sleep 0.5; first=$(available)
	bash -c "$*" > /dev/null 2>&1 < /dev/null; end_user
	answers; verdict $? "$name-again" "no answer after the second round"
	sleep 0.5; second=$(available)
	[ $((first - second)) -lt 2048 ]; verdict $? "$name-leaks-nothing" "$first KiB, then $second"
}
export -f user
export E=/mnt/exhaust.py
LIMIT=100
for kind in files:EMFILE pipes:EMFILE sockets:EMFILE epolls:EMFILE memfds:EMFILE ptys:ENOSPC maps:ENOMEM; do
	check ${kind%:*}-run-out "*${kind#*:}*" "timeout 60 python3 $E ${kind%:*}"
done
mkdir -p /tmp/few && mount -t tmpfs -o nr_inodes=500,mode=1777 none /tmp/few
check inodes-run-out ENOSPC 'python3 $E inodes /tmp/few'
umount /tmp/few
check threads-run-out '*RuntimeError' "user timeout 60 python3 $E threads"
check too-large ENOMEM 'python3 -c "
import mmap, errno
try: mmap.mmap(-1, 1 << 40)
except OSError as e: print(errno.errorcode[e.errno])"'
killed() { sed -n 's/^oom_kill //p' ${1:-/proc/vmstat}; }
LIMIT=50 check memory-runs-out '*137' "bash -c 'timeout 40 python3 $E memory'; echo \$?"
# One more within the limit of a tenant that has to read what it runs from: nobody else has it in the cache.
mount -t cgroup2 none /sys/fs/cgroup && echo +memory > /sys/fs/cgroup/cgroup.subtree_control && mkdir /sys/fs/cgroup/small && echo 24M > /sys/fs/cgroup/small/memory.max
before=$(killed); echo 3 > /proc/sys/vm/drop_caches
timeout 40 bash -c 'echo $$ > /sys/fs/cgroup/small/cgroup.procs; exec python3 $E memory' > /dev/null 2>&1
verdict $(($? != 137)) tenant-memory-runs-out "no bomb was killed"
[ $(($(killed) - before)) = 1 ] && [ "$(killed /sys/fs/cgroup/small/memory.events)" = 1 ]
verdict $? tenant-pays-alone "$before, then $(killed); $(cat /sys/fs/cgroup/small/memory.events)"
sleep 0.2; rmdir /sys/fs/cgroup/small; echo -memory > /sys/fs/cgroup/cgroup.subtree_control; umount /sys/fs/cgroup
swapon /dev/vdb
LIMIT=50 check memory-and-swap-run-out '*137' "bash -c 'timeout 40 tail /dev/zero'; echo \$?"
swapoff /dev/vdb; verdict $? swapoff "status $?"
before=$(killed)
LIMIT=100 passes large-file 'dd if=/dev/zero of=/root/large bs=1M count=280 && for i in 1 2; do cat /root/large > /dev/null || exit 1; done; rm /root/large'
[ "$(killed)" = $before ]; verdict $? large-file-kills-nobody "$before, then $(killed)"
twice fork-bomb "timeout -k 1 5 setpriv --reuid=65534 --regid=65534 --clear-groups bash -c ':(){ :|:& };:; sleep 10'"
twice memory-bombs "for i in 1 2 3; do (user timeout 60 python3 $E memory; [ \$? != 124 ] || touch /root/late) & done; wait"
[ ! -e /root/late ]; verdict $? memory-bombs-are-killed "one was still there after a minute"
twice many-files "mkdir -p /tmp/many; cd /tmp/many; seq 20000 | xargs touch; cd /; rm -rf /tmp/many"
twice full-tmpfs "mkdir -p /tmp/full; mount -t tmpfs -o size=64M none /tmp/full; cat /dev/zero > /tmp/full/a; umount /tmp/full"
twice threads "user timeout 60 python3 $E threads"
# stress-ng says 0: it ran well; 1: only with --pathological; 3: this machine lacks something; and 2: a check of its own failed.
ln -sf /proc/self/mounts /etc/mtab # where stress-ng looks for a tmpfs
seen=' '
for class in $classes; do
	ran=0 lacks= failed=
	for s in $(stress-ng --class "$class?" 2>&1 | sed 's/.*: //'); do
		case $seen in *" $s "*) continue ;; esac
		seen+="$s "
		timeout -k 5 120 stress-ng --$s 1 --timeout 1 --oomable --no-rand-seed --temp-path /tmp > /tmp/log 2>&1 < /dev/null
		case $? in
		0) ran=$((ran + 1)) ;;
		1 | 3) lacks+=" $s" ;;
		*) failed+=" $s: $(grep -E 'fail:|error:' /tmp/log | head -n 3)" ;;
		esac
		ipcrm -a 2> /dev/null
	done
	[ -z "$failed" ]; verdict $? "stress-ng-$class" "failed or did not end:$failed"
	echo "# $class: $ran ran; not possible here:${lacks:- none}"
	answers; verdict $? "stress-ng-$class-answers" "no answer"
done
if [ -n "$classes" ]; then
	stacks=$(awk '/^KernelStack/ { print $2 }' /proc/meminfo)
	[ "$stacks" -lt 2000 ]; verdict $? stress-ng-leaves-no-threads "$stacks KiB of kernel stacks"
fi
# trinity's own main process sometimes dies while it opens its sockets: then the next seed.
end=$((SECONDS + trinity_seconds)) seed=0 calls=0
while [ $SECONDS -lt $end ]; do
	seed=$((seed + 1)); ways=(-Punspec "--disable-fds=sockets" "-P UNIX" "-P INET" "-P NETLINK" "-P INET6" "-P PACKET")
	mkdir -p /tmp/trinity; chown 65534:65534 /tmp/trinity; cd /tmp/trinity
	user timeout -k 2 $(((end - SECONDS) < 120 ? (end - SECONDS) + 1 : 120)) trinity -q -l off -C 4 ${ways[1 + seed % 6]} -s $seed > /tmp/log 2>&1 < /dev/null
	end_user
	cd /; rm -rf /tmp/trinity; ipcrm -a 2> /dev/null
	[ $trinity_seconds -lt 100 ] || echo "# trinity, seed $seed: $(available) KiB available"
done
answers; verdict $? trinity "no answer after $trinity_seconds s"
check shell-answers "*12.*still here*" 'cat /etc/debian_version; ls / | grep -c . ; ps ax | grep -c .; echo still here'
GUEST
truncate -s 64M "$dir/swap" && chmod 600 "$dir/swap" && mkswap -q "$dir/swap" || exit 1
status=0
for kernel in "${kernels[@]}"; do
	echo "# $kernel"
	tools/qemu-run --root debian-disk --kernel "$kernel" --mem 256M --timeout "$limit" --disk "$dir/swap" --add "$dir/script:/script" --add "$dir/exhaust.py:/exhaust.py" \
		-- bash /mnt/script < /dev/null 2> "$dir/log" | sed -u 's/\r$//'
	[ "${PIPESTATUS[0]}" = 0 ] || { status=1; tail -n 40 "$dir/log"; }
	grep -q 'panic:' "$dir/log" && { status=1; grep -A20 'panic:' "$dir/log"; }
done
exit $status
