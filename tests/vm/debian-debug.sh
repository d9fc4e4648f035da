#!/bin/bash
# SPDX-License-Identifier: MIT
# Debian's strace and gdb on Ostrom, unmodified: system calls with children and threads, breakpoints, watchpoints, steps, calls, attach.
. "$(dirname "$0")/debian/host.sh"
debian_run 300 <<'GUEST'
cat > h.c <<'C'
#include <stdio.h>
#include <math.h>
int f(int);
int main(void) { printf("hello %d %.3f\n", f(41), sqrt(2.0)); return 0; }
C
echo 'int f(int x) { return x + 1; }' > f.c
LIMIT=20
check strace '*execve("/bin/true"*exit_group(0)*' 'strace -f /bin/true'
check strace-follow '*execve("/bin/ls"*+++ exited with 0 +++*' 'strace -f sh -c "/bin/ls /; true"'
check strace-summary '*write*' 'strace -c -f sh -c "echo x; ls /" '
check strace-attach '*SIGTERM*killed by SIGTERM*' 'sleep 30 & strace -p $! -o o & sleep 1; kill %1; wait %2; cat o'
check strace-threads '*clone3*exited*' 'strace -f python3 -c "import threading; t=threading.Thread(target=print); t.start(); t.join()"'
check gdb-breakpoint '*Breakpoint 1, f*x=41*42*hello 42*exited normally*' 'gcc -g -O0 h.c f.c -lm -o hg && gdb -batch -ex "break f" -ex run -ex "p x" -ex finish -ex c ./hg'
check gdb-step-watch '*Hardware watchpoint*Old value*' 'printf "int g; int main(void){ for (int i = 0; i < 5; i++) g += i; return g; }" > w.c; gcc -g w.c -o w && gdb -batch -ex "break main" -ex run -ex "watch g" -ex c -ex "info registers rip" -ex si -ex "bt" ./w'
check gdb-threads '*Thread*' 'cat > t.c <<C
#include <pthread.h>
#include <stdio.h>
static void *g(void *p) { return p; }
int main(void) { pthread_t t; for (int i = 0; i < 5; i++) { pthread_create(&t, 0, g, 0); pthread_join(t, 0); } puts("end"); }
C
gcc -g -pthread t.c -o t && gdb -batch -ex "break g" -ex run -ex "info threads" -ex "thread apply all bt" -ex delete -ex c ./t'
check gdb-core '*Program terminated with signal SIGSEGV*x=7*main*' 'printf "int *volatile p; int g(int x) { *p = x; return x; } int main(void) { return g(7); }" > k.c; gcc -g -O0 k.c -o k; (ulimit -c unlimited; ./k); gdb -batch -ex bt ./k core'
check gdb-attach '*detached*' 'sleep 20 & gdb -batch -p $! -ex bt -ex detach; kill %1'
check gdb-call '*= 8*' 'gdb -batch -ex "break main" -ex run -ex "p f(7)" ./hg'
GUEST
