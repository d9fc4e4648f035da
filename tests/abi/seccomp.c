/* SPDX-License-Identifier: MIT
 *
 * Problem: a program must find the same behaviour here as on Linux, at its borders too.
 *
 * Idea: seccomp: strict mode, filters that refuse, trap and kill, chains, inheritance by fork and by threads.
 *
 * Contract: prints `ok NAME` or `not ok NAME: why` a case and exits 0 or 1; the same on Linux, which is the oracle.
 *
 * Locks: none.
 */
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include "abi.h"

/* The call nr gets `verdict`, all others are allowed. */
static long filter(int nr, unsigned verdict, unsigned flags)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, AUDIT_ARCH_X86_64, 0, 3),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)nr, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, verdict),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog p = { sizeof(code) / sizeof(code[0]), code };

	return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &p);
}

/* Runs fn in a child; its status as wait gives it. */
static int in_child(void (*fn)(void))
{
	int status;
	pid_t pid = fork();

	if (!pid) {
		prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
		fn();
		_exit(0);
	}
	waitpid(pid, &status, 0);
	return status;
}

static void be_strict(void)
{
	want(!prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT));
	write(-1, "", 0);
	syscall(SYS_exit, 7);
}

static void break_strict(void)
{
	prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT);
	getpid();
}

CASE(strict)
{
	int status = in_child(be_strict);

	want(WIFEXITED(status) && WEXITSTATUS(status) == 7);
	status = in_child(break_strict);
	want(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

static void refuse(void)
{
	int status;
	pid_t pid;

	want(!filter(SYS_getppid, SECCOMP_RET_ERRNO | 77, 0));
	want_errno(syscall(SYS_getppid), 77);
	want(prctl(PR_GET_SECCOMP) == SECCOMP_MODE_FILTER);
	want(!filter(SYS_getppid, SECCOMP_RET_ERRNO | 78, 0));
	want_errno(syscall(SYS_getppid), 78); /* of equal verdicts the newest counts */
	want(!filter(SYS_getppid, SECCOMP_RET_ALLOW, 0));
	want_errno(syscall(SYS_getppid), 78);
	pid = fork();
	if (!pid)
		_exit(syscall(SYS_getppid) == -1 && errno == 78 ? 0 : 1);
	want(waitpid(pid, &status, 0) == pid && !status);
	want_errno(prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT), EINVAL);
}

CASE(verdicts_refuse_and_are_inherited)
{
	want(in_child(refuse) == 0);
}

static volatile int trapped, trap_errno, trap_call;

static void on_trap(int sig, siginfo_t *info, void *context)
{
	trapped = info->si_code;
	trap_errno = info->si_errno;
	trap_call = info->si_syscall;
}

static void trap(void)
{
	struct sigaction sa = { .sa_sigaction = on_trap, .sa_flags = SA_SIGINFO };

	sigaction(SIGSYS, &sa, NULL);
	want(!filter(SYS_getppid, SECCOMP_RET_TRAP | 5, 0));
	syscall(SYS_getppid);
	want(trapped == 1 && trap_errno == 5 && trap_call == SYS_getppid);
}

static void be_killed(void)
{
	filter(SYS_getppid, SECCOMP_RET_KILL_PROCESS, 0);
	syscall(SYS_getppid);
}

CASE(verdicts_trap_and_kill)
{
	int status;

	want(in_child(trap) == 0);
	status = in_child(be_killed);
	want(WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS);
}

static pthread_barrier_t start, go;
static long thread_saw;

static void *thread(void *arg)
{
	pthread_barrier_wait(&start);
	pthread_barrier_wait(&go);
	thread_saw = syscall(SYS_getppid) == -1 ? errno : 0;
	return NULL;
}

static void synchronise(void)
{
	pthread_t t;

	pthread_barrier_init(&start, NULL, 2);
	pthread_barrier_init(&go, NULL, 2);
	want(!pthread_create(&t, NULL, thread, NULL));
	pthread_barrier_wait(&start);
	want(!filter(SYS_getppid, SECCOMP_RET_ERRNO | 66, SECCOMP_FILTER_FLAG_TSYNC));
	pthread_barrier_wait(&go);
	pthread_join(t, NULL);
	want(thread_saw == 66);
}

CASE(all_threads_at_once)
{
	want(in_child(synchronise) == 0);
}

static void ask_wrongly(void)
{
	struct sock_fprog empty = { 0, NULL };
	unsigned action = SECCOMP_RET_ERRNO, unknown = 0x12340000;

	want_errno(syscall(SYS_seccomp, SECCOMP_SET_MODE_STRICT, 1, NULL), EINVAL);
	want_errno(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &empty), EINVAL);
	want_errno(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, NULL), EFAULT);
	want_errno(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 1U << 30, &empty), EINVAL);
	want_errno(syscall(SYS_seccomp, 99, 0, NULL), EINVAL);
	want(!syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &action));
	want_errno(syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &unknown), EOPNOTSUPP);
}

CASE(wrong_arguments)
{
	want(in_child(ask_wrongly) == 0);
}

int main(void)
{
	RUN(strict);
	RUN(verdicts_refuse_and_are_inherited);
	RUN(verdicts_trap_and_kill);
	RUN(all_threads_at_once);
	RUN(wrong_arguments);
	return abi_status();
}
