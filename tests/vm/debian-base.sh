#!/bin/bash
# SPDX-License-Identifier: MIT
# Debian 12's bash, coreutils, util-linux, procps, findutils, tar, perl, python3 on Ostrom, unmodified, each judged by its output.
. "$(dirname "$0")/debian/host.sh"
debian_run 300 <<'GUEST'
check release '12*' cat /etc/debian_version
check bash-arrays 'c b a' 'a=(a b c); echo ${a[2]} ${a[1]} ${a[0]}'
check bash-process-substitution 3 'wc -l < <(seq 3)'
check bash-coproc hello 'coproc cat; echo hello >&${COPROC[1]}; read x <&${COPROC[0]}; echo $x'
check bash-job '[[]1[]]+ *sleep*' 'set -m; sleep 5 & jobs; kill %1'
check bash-trap 'got TERM' 'trap "echo got TERM; exit" TERM; kill $$; sleep 1'
check coreutils-sort $'1\n2\n10' 'printf "10\n2\n1\n" | sort -n'
check coreutils-big-sort 100000 'seq 100000 | shuf | sort -n --parallel=2 | uniq | wc -l'
check coreutils-sha 'a948904f2f0f479b8f8197694b30184b0d2ed1c1cd2a1ec0fb85d299a192a447*' 'echo hello world | sha256sum'
check coreutils-dd '*1048576 bytes (1.0 MB, 1.0 MiB) copied*' 'dd if=/dev/zero of=z bs=64k count=16'
check coreutils-stat '1048576 regular file' 'stat -c "%s %F" z'
check coreutils-cp-ln-readlink /tmp/z2 'cp -a z z2 && ln -s z2 l && readlink -f l'
check coreutils-ls 'z2' 'ls -d z2'
check coreutils-df '*tmpfs*' 'df -h /tmp'
check coreutils-timeout 124 'timeout 0.2 sleep 5; echo $?'
check coreutils-tail-f 'two' 'touch f; (sleep 0.3; echo two >> f) & timeout 1 tail -f f'
check coreutils-id 'uid=0(root) gid=0(root) groups=0(root)' id
check coreutils-truncate-sparse '0 1073741824' 'truncate -s 1G s; stat -c "%b %s" s; rm s'
check coreutils-nproc 1 nproc
check coreutils-mktemp-mkfifo 'through' 'mkfifo p; (echo through > p &) ; cat p'
check util-linux-flock 'busy' 'flock lk sleep 1 & sleep 0.3; flock -n lk true || echo busy'
check util-linux-lscpu '*x86_64*CPU(s):*1*' lscpu
check util-linux-mount 'x' 'mkdir -p m; mount -t tmpfs none m && echo x > m/a && cat m/a && umount m'
check util-linux-findmnt 'proc' 'findmnt -n -o FSTYPE /proc'
check util-linux-setsid-getopt " -a -- b" 'setsid -w true; getopt a -a b'
check util-linux-taskset '*affinity mask: 1' 'taskset -p $$'
check util-linux-chrt '*SCHED_FIFO*5*' 'chrt -f 5 bash -c "chrt -p \$\$"'
check util-linux-chrt-deadline $'*SCHED_DEADLINE\n*5000000/10000000/20000000' 'chrt -d --sched-runtime 5000000 --sched-deadline 10000000 --sched-period 20000000 0 sleep 2 & sleep 0.3; chrt -p $! | grep -v priority'
check util-linux-ionice '*best-effort: prio 3*' 'ionice -c2 -n3 -p $$; ionice -p $$'
check util-linux-prlimit '100' 'prlimit --nofile=100 bash -c "ulimit -n"'
check util-linux-setpriv '65534' 'setpriv --reuid=65534 --regid=65534 --clear-groups id -u'
check util-linux-script 'Script started*' 'script -c "echo inside" log; head -1 log'
check util-linux-ipcs '*Shared Memory*Semaphore*' 'ipcs'
check procps-ps '*1 *' 'ps -o pid,comm -p 1'
check procps-ps-tree '*init*bash*' 'ps axf'
check procps-top '*Tasks:*%Cpu*MiB Mem*' 'top -b -n 1'
check procps-free 'Mem:' 'free | sed -n 2p | cut -c1-4'
check procps-vmstat 'procs*r*b*swpd*' vmstat
check procps-pgrep '1*' 'pgrep -x init'
check procps-pmap '*total*' 'pmap $$'
check procps-uptime '*load average:*' uptime
check procps-sysctl '*kernel.ostype = Linux' 'sysctl kernel.ostype'
check procps-slabtop-w '*USER*' w
check findutils $'a/b\na/b/c' 'mkdir -p a/b; touch a/b/c; find a -mindepth 1 | sort'
check findutils-xargs '3' 'find /etc -maxdepth 1 -name "*pass*" -o -maxdepth 1 -name group | xargs -n1 -P4 echo | sort -u | grep -c .'
check tar-gzip 'same' 'tar czf /tmp/e.tgz -C / etc && mkdir -p ex && tar xzf e.tgz -C ex && diff -r --no-dereference /etc ex/etc && echo same'
check tar-xz 'same' 'tar cJf /tmp/e.txz -C / etc/apt && rm -rf ex && mkdir ex && tar xJf e.txz -C ex && diff -r /etc/apt ex/etc/apt && echo same'
check nss-files $'root:0\nssh 22/tcp' 'getent passwd root | cut -d: -f1,3; getent services ssh | tr -s " "'
LIMIT=200 check locale '1.234.567,5 Donnerstag' 'localedef -i de_DE -f UTF-8 de_DE.UTF-8; g="env LC_ALL=de_DE.UTF-8"; $g printf "%'"'"'.1f " 1234567,5; $g date -d 1970-01-01 +%A'
check capabilities-of-a-file '*cap_net_raw=ep*' 'cp /bin/cat c && setcap cap_net_raw+ep c && getcap c && setpriv --reuid=65534 --clear-groups --regid=65534 ./c /proc/self/status | grep CapEff:.*2000'
check overcommit-guess 'no yes yes no' 'python3 -c "
import mmap
def ask(mib, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS):
    try: return mmap.mmap(-1, mib << 20, flags) and \"yes\"
    except OSError: return \"no\"
print(ask(4000), ask(1500), ask(4000, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | 0x4000), ask(4000, mmap.MAP_SHARED | mmap.MAP_ANONYMOUS))"'
check overcommit-never $'1500 no\n100 yes' 'echo 2 > /proc/sys/vm/overcommit_memory; python3 -c "
import mmap
for mib in 1500, 100:
    try: mmap.mmap(-1, mib << 20, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | 0x4000); print(mib, \"yes\")
    except OSError: print(mib, \"no\")"; echo 0 > /proc/sys/vm/overcommit_memory'
check committed '*CommitLimit:*Committed_AS:*' 'cat /proc/meminfo'
check perl '42 Linux' 'perl -MPOSIX -e "print 6*7, q( ), (uname())[0]"'
check perl-fork 'child parent' 'perl -e "\$|=1; if (!(\$p=fork)) {print qq(child ); exit} waitpid \$p,0; print qq(parent)"'
check perl-socket 'ping' 'perl -MSocket -e "socketpair(A,B,AF_UNIX,SOCK_STREAM,PF_UNSPEC); syswrite A,qq(ping); sysread B,\$x,9; print \$x"'
check python '3.11* linux' 'python3 -c "import sys; print(sys.version.split()[0], sys.platform)"'
check python-threads 4950 'python3 -c "
from concurrent.futures import ThreadPoolExecutor as T
print(sum(T(8).map(int, range(100))))"'
check python-subprocess "b'hi\\\\n'" "python3 -c \"import subprocess; print(subprocess.check_output(['echo','hi']))\""
cat > mp.py <<'PY'
import multiprocessing as m
def f(x): return x*x
if __name__ == "__main__":
    with m.Pool(2) as p: print(p.map(f, range(4)))
PY
check python-multiprocessing '[[]0, 1, 4, 9[]]' 'python3 mp.py'
check python-asyncio 'done' 'python3 -c "
import asyncio
async def f(): await asyncio.sleep(0.05); print(\"done\")
asyncio.run(f())"'
check python-mmap-signal "b'xyz' 14" 'python3 -c "
import mmap, signal
m = mmap.mmap(-1, 4096); m[:3] = b\"xyz\"
got = []
signal.signal(signal.SIGALRM, lambda n, f: got.append(n)); signal.setitimer(signal.ITIMER_REAL, 0.02); signal.pause()
print(m[:3], got[0])"'
GUEST
