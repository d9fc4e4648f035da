#!/bin/bash
# first
# SPDX-License-Identifier: MIT
# Debian 12's sqlite3 (WAL, two processes), git, gcc, make, stress-ng, hackbench, perf bench, busybox on Ostrom, unmodified, each judged. With
# TEST_MODE=all gcc and make -j build Lua from its source.
. "$(dirname "$0")/debian/host.sh"
limit=540
[ "$TEST_MODE" != all ] || limit=1700
{ echo "all=$([ "$TEST_MODE" = all ] && echo yes)"; cat <<'GUEST'; } | debian_run $limit --cpus 2
check sqlite-wal $'wal\n1000' 'sqlite3 a.db "pragma journal_mode=wal; create table t(x); with recursive c(n) as (select 1 union all select n+1 from c limit 1000) insert into t select n from c; select count(*) from t;"'
check sqlite-two-writers 1400 'for i in 1 2; do (for k in $(seq 200); do echo "insert into t values($k);"; done | sqlite3 -cmd ".timeout 20000" a.db) & done; wait; sqlite3 a.db "select count(*) from t"'
check sqlite-integrity ok 'sqlite3 a.db "pragma integrity_check"'
export GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@b GIT_COMMITTER_NAME=a GIT_COMMITTER_EMAIL=a@b
check git-commit '*2 files changed*' 'git init -q r && cd r && echo a > a && echo b > b && git add . && git commit -m first'
check git-branch-merge 'second' 'cd r && git checkout -q -b x && echo c >> a && git commit -qam second && git checkout -q master && git merge -q x && git log -1 --format=%s'
check git-clone 'second' 'git clone -q r r2 && cd r2 && git log -1 --format=%s'
passes git-gc-fsck 'cd r && git gc -q && git fsck --strict'
cat > h.c <<'C'
#include <stdio.h>
#include <math.h>
int f(int);
int main(void) { printf("hello %d %.3f\n", f(41), sqrt(2.0)); return 0; }
C
echo 'int f(int x) { return x + 1; }' > f.c
printf 'h: h.o f.o\n\tgcc -o $@ $^ -lm\n%%.o: %%.c\n\tgcc -O2 -c $< -o $@\n' > Makefile
LIMIT=120 check make-gcc '*hello 42 1.414' 'make -j2 && ./h'
check gcc-threads-asan '*499500' 'cat > t.c <<C
#include <pthread.h>
#include <stdio.h>
static long s; static pthread_mutex_t m = PTHREAD_MUTEX_INITIALIZER;
static void *g(void *p) { pthread_mutex_lock(&m); s += (long)p; pthread_mutex_unlock(&m); return 0; }
int main(void) { for (long i = 0; i < 1000; i++) { pthread_t t; pthread_create(&t, 0, g, (void *)i); pthread_join(t, 0); } printf("%ld\n", s); }
C
gcc -g -pthread t.c -o t && ./t'
check hackbench '*Time:*' 'hackbench -l 20 -g 2'
check hackbench-threads '*Time:*' 'hackbench -T -p -l 20 -g 2'
for s in cpu vm fork pipe switch futex mmap sem timer sigq poll dentry shm msg sysbadaddr; do
	check stress-ng-$s '*successful run completed*' "stress-ng --$s 2 --timeout 2 --no-rand-seed ${s:+}"
done
check perf-bench-sched-pipe '*usecs/op*' 'perf bench sched pipe -l 500'
check perf-bench-sched-messaging '*Total time:*' 'perf bench sched messaging -g 2 -l 20'
check perf-bench-syscall '*usecs/op*' 'perf bench syscall basic -l 20000'
check perf-bench-mem-memcpy '*B/sec*' 'perf bench mem memcpy -s 1MB -l 4'
check perf-bench-mem-memset '*B/sec*' 'perf bench mem memset -s 1MB -l 4'
check perf-bench-futex-hash '*operations/sec*' 'perf bench futex hash -r 1 -t 2 -f 16'
check perf-bench-futex-wake '*Wokeup 4 of 4 threads*' 'perf bench futex wake -t 4'
check perf-bench-futex-wake-parallel '*Avg per-thread latency*' 'perf bench futex wake-parallel -t 4 -w 2'
check perf-bench-futex-requeue '*Requeued 4 of 4 threads*' 'perf bench futex requeue -t 4'
check perf-bench-futex-lock-pi '*operations/sec*' 'perf bench futex lock-pi -r 1 -t 2'
check perf-bench-epoll-wait '*operations/sec*' 'perf bench epoll wait -r 1 -t 2 -f 4'
check perf-bench-epoll-ctl '*operations*' 'perf bench epoll ctl -r 1 -t 2 -f 4'
check busybox '[[]a b[]] 3 ok' 'busybox sh -c "echo -n \"[a b] \"; seq 3 | busybox awk \"END{printf NR}\"; echo x | busybox gzip | busybox gunzip | busybox sed \"s/x/ ok/\""'
if [ -n "$all" ]; then
	LIMIT=1200
	check lua-builds '*Lua 5.4*' 'tar xzf /usr/src/lua.tar.gz && cd lua-5.4*/src && make -s -j2 posix > log 2>&1; ./lua -v || tail log'
	check lua-runs '6765 Lua' 'cd lua-5.4*/src && ./lua -e "local function f(n) return n < 2 and n or f(n-1)+f(n-2) end print(f(20)..\" \".._VERSION:sub(1,3))"'
	LIMIT=60
fi
check less-vim 'ok' 'echo ok | less'
check vim-ex 'changed' 'echo old > v; vim.tiny -es -c "%s/old/changed/" -c wq v; cat v'
check lsof '*/dev/null*' 'lsof -p $$ < /dev/null'
check numactl '*available: 1 nodes (0)*' 'numactl -H'
check file '*ELF 64-bit LSB pie executable*' 'file -L /bin/bash'
check bc '1267650600228229401496703205376' 'echo "2^100" | bc'
GUEST
