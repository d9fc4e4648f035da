/* SPDX-License-Identifier: MIT
 *
 * Problem: a restartable sequence must never commit after its thread lost the CPU or ran a handler in the middle.
 *
 * Idea: sequences that only spin: nothing but the abort handler, or the word that they wait for, ends them. One is
 * interrupted by a handler, one loses its CPU to another process.
 *
 * Contract: prints `ok NAME` or `not ok NAME: why` a case and exits 0 or 1; the same on Linux, which is the oracle.
 * Linked with musl, which registers nothing itself.
 *
 * Locks: none.
 */
#include <errno.h>
#include <linux/membarrier.h>
#include <linux/rseq.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>
#include "abi.h"

#define SIGNATURE 0x53053053
#define SPINS     4000000000UL

static struct rseq area;
static volatile int stop;

static long rseq(void *p, unsigned len, int flags, unsigned sig)
{
	return syscall(SYS_rseq, p, len, flags, sig);
}

/* Spins inside a sequence: 1 it reached its end (stop, or `spins` rounds), 2 it was aborted. */
static int spin(unsigned long spins)
{
	int result;

	asm volatile(".pushsection .data.rseq, \"aw\"\n"
		     ".balign 32\n"
		     "9: .long 0, 0\n"
		     ".quad 1f, 2f - 1f, 4f\n"
		     ".popsection\n"
		     "leaq 9b(%%rip), %%rax\n"
		     "movq %%rax, %[cs]\n"
		     "1: cmpl $0, %[stop]\n"
		     "jne 2f\n"
		     "decq %[spins]\n"
		     "jnz 1b\n"
		     "2: movl $1, %[result]\n"
		     "jmp 5f\n"
		     ".long 0x53053053\n"
		     "4: movl $2, %[result]\n"
		     "5:\n"
		     : [result] "=&r"(result), [spins] "+r"(spins), [cs] "=m"(area.rseq_cs)
		     : [stop] "m"(stop)
		     : "rax", "memory", "cc");
	return result;
}

CASE(registers)
{
	unsigned cpu;

	want_errno(rseq(&area, sizeof(area) - 1, 0, SIGNATURE), EINVAL);
	want_errno(rseq((char *)&area + 4, sizeof(area), 0, SIGNATURE), EINVAL);
	want_errno(rseq(&area, sizeof(area), 2, SIGNATURE), EINVAL);
	want_errno(rseq(&area, sizeof(area), RSEQ_FLAG_UNREGISTER, SIGNATURE), EINVAL);
	area.cpu_id = RSEQ_CPU_ID_UNINITIALIZED;
	want(rseq(&area, sizeof(area), 0, SIGNATURE) == 0);
	want_errno(rseq(&area, sizeof(area), 0, SIGNATURE), EBUSY);
	want_errno(rseq(&area, sizeof(area), 0, 1), EPERM);
	want(syscall(SYS_getcpu, &cpu, NULL, NULL) == 0 && area.cpu_id < 4096 && area.cpu_id_start == area.cpu_id);
	want_errno(rseq(&area, sizeof(area), RSEQ_FLAG_UNREGISTER, 1), EPERM);
}

static void on_alarm(int sig)
{
	stop = 1;
}

CASE(handler_aborts)
{
	struct itimerval soon = { .it_value.tv_usec = 20000 };
	int end;

	stop = 0;
	signal(SIGALRM, on_alarm);
	setitimer(ITIMER_REAL, &soon, NULL);
	do
		end = spin(SPINS);
	while (end == 2 && !stop); /* others may have had the CPU before */
	want(end == 2 && area.rseq_cs == 0);
}

CASE(preemption_aborts)
{
	cpu_set_t one;
	pid_t rival;

	CPU_ZERO(&one);
	CPU_SET(area.cpu_id, &one);
	sched_setaffinity(0, sizeof(one), &one);
	rival = fork();
	if (!rival)
		for (;;)
			;
	stop = 0;
	want(spin(SPINS) == 2);
	kill(rival, SIGKILL);
	waitpid(rival, NULL, 0);
}

CASE(wrong_signature_is_deadly)
{
	static struct rseq_cs cs __attribute__((aligned(32)));
	pid_t pid = fork();
	int status;

	if (!pid) {
		cs.start_ip = (unsigned long)case_registers;
		cs.post_commit_offset = 1;
		cs.abort_ip = (unsigned long)case_handler_aborts;
		area.rseq_cs = (unsigned long)&cs;
		for (int i = 0; i < 1000; i++)
			sched_yield();
		raise(SIGALRM);
		_exit(0);
	}
	waitpid(pid, &status, 0);
	want(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);
}

CASE(takes_back)
{
	want(rseq(&area, sizeof(area), RSEQ_FLAG_UNREGISTER, SIGNATURE) == 0);
	want(area.cpu_id == (unsigned)RSEQ_CPU_ID_UNINITIALIZED && area.cpu_id_start == 0);
}

static long membarrier(int cmd, unsigned flags, int cpu)
{
	return syscall(SYS_membarrier, cmd, flags, cpu);
}

CASE(barriers_are_asked_for_first)
{
	int pair[] = { MEMBARRIER_CMD_PRIVATE_EXPEDITED, MEMBARRIER_CMD_PRIVATE_EXPEDITED_SYNC_CORE,
		       MEMBARRIER_CMD_PRIVATE_EXPEDITED_RSEQ };
	int status;

	want_eq(membarrier(MEMBARRIER_CMD_QUERY, 0, 0) & 0x1ff, 0x1ff);
	want_errno(membarrier(MEMBARRIER_CMD_QUERY, 1, 0), EINVAL);
	want_errno(membarrier(3, 0, 0), EINVAL);
	want_errno(membarrier(1 << 20, 0, 0), EINVAL);
	want_errno(membarrier(-1, 0, 0), EINVAL);
	want_eq(membarrier(MEMBARRIER_CMD_GLOBAL, 0, 0), 0);
	want_eq(membarrier(MEMBARRIER_CMD_GLOBAL_EXPEDITED, 0, 0), 0);
	want_eq(membarrier(MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED, 0, 0), 0);
	for (unsigned i = 0; i < 3; i++) {
		want_errno(membarrier(pair[i], 0, 0), EPERM);
		want_eq(membarrier(pair[i] << 1, 0, 0), 0);
		want_eq(membarrier(pair[i], 0, 0), 0);
	}
	want_errno(membarrier(MEMBARRIER_CMD_PRIVATE_EXPEDITED, MEMBARRIER_CMD_FLAG_CPU, 0), EINVAL);
	want_errno(membarrier(MEMBARRIER_CMD_PRIVATE_EXPEDITED_RSEQ, 2, 0), EINVAL);
	want_eq(membarrier(MEMBARRIER_CMD_PRIVATE_EXPEDITED_RSEQ, MEMBARRIER_CMD_FLAG_CPU, 0), 0);
	want_eq(membarrier(MEMBARRIER_CMD_PRIVATE_EXPEDITED_RSEQ, MEMBARRIER_CMD_FLAG_CPU, 100000), 0);
	if (!fork())
		_exit(membarrier(MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0) != 0);
	want(wait(&status) > 0 && status == 0); /* fork keeps it, exec does not */
	if (!fork()) {
		execl("/proc/self/exe", "rseq", "unregistered", NULL);
		_exit(1);
	}
	want(wait(&status) > 0 && status == 0);
}

/* Once the main thread is in a sequence, it is told to begin anew, and only then to end. */
static void *restart(void *unused)
{
	while (!*(volatile __typeof__(area.rseq_cs) *)&area.rseq_cs)
		usleep(1000);
	usleep(10000);
	membarrier(MEMBARRIER_CMD_PRIVATE_EXPEDITED_RSEQ, 0, 0);
	stop = 1;
	return unused;
}

CASE(a_barrier_aborts)
{
	pthread_t t;

	area.rseq_cs = 0;
	stop = 0;
	want_eq(pthread_create(&t, NULL, restart, NULL), 0);
	want_eq(spin(SPINS), 2);
	stop = 1;
	want_eq(pthread_join(t, NULL), 0);
}

int main(int argc, char **argv)
{
	if (argc > 1)
		return membarrier(MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0) != -1 || errno != EPERM;
	RUN(registers);
	RUN(handler_aborts);
	RUN(barriers_are_asked_for_first);
	RUN(a_barrier_aborts);
	RUN(preemption_aborts);
	RUN(wrong_signature_is_deadly);
	RUN(takes_back);
	return abi_status();
}
