/* SPDX-License-Identifier: MIT
 *
 * Problem: a program must find the same behaviour here as on Linux, at its borders too.
 *
 * Idea: Signals: handlers and masks, queues, restart of calls, the alternate stack, waiting for signals, timers that
 * send them.
 *
 * Contract: prints `ok NAME` or `not ok NAME: why` a case and exits 0 or 1; the same on Linux, which is the oracle.
 *
 * Locks: none.
 */
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include "abi.h"

#define NT_X86_XSTATE    0x202
#define FP_XSTATE_MAGIC1 0x46505853U /* asm/sigcontext.h, whose types are also musl's */

static volatile int count, last, code, value;
static volatile pid_t sender;

static void on_signal(int sig, siginfo_t *si, void *uc)
{
	count++;
	last = sig;
	code = si->si_code;
	value = si->si_value.sival_int;
	sender = si->si_pid;
}

static void handle(int sig, int flags)
{
	struct sigaction sa = { .sa_sigaction = on_signal, .sa_flags = SA_SIGINFO | flags };

	want_eq(sigaction(sig, &sa, NULL), 0);
	count = 0;
}

static void block(int how, int sig)
{
	sigset_t s;

	sigemptyset(&s);
	sigaddset(&s, sig);
	want_eq(sigprocmask(how, &s, NULL), 0);
}

static void nap(int ms)
{
	struct timespec ts = { ms / 1000, ms % 1000 * 1000000L };

	while (nanosleep(&ts, &ts) && errno == EINTR)
		;
}

static long long now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000000LL + ts.tv_nsec;
}

CASE(handlers)
{
	handle(SIGUSR1, 0);
	want_eq(kill(getpid(), SIGUSR1), 0);
	want_eq(count, 1);
	want_eq(last, SIGUSR1);
	want_eq(code, SI_USER);
	want_eq(sender, getpid());
	want_eq(raise(SIGUSR1), 0);
	want_eq(code, SI_TKILL);
	handle(SIGUSR2, SA_RESETHAND);
	raise(SIGUSR2);
	struct sigaction sa;
	sigaction(SIGUSR2, NULL, &sa);
	want(sa.sa_handler == SIG_DFL);
	want_errno(sigaction(SIGKILL, &sa, NULL), EINVAL);
	want_errno(kill(getpid(), 65), EINVAL);
	want_errno(kill(99999999, 0), ESRCH);
}

CASE(blocked_standard_signals_merge)
{
	sigset_t s;

	handle(SIGUSR1, 0);
	block(SIG_BLOCK, SIGUSR1);
	for (int i = 0; i < 5; i++)
		kill(getpid(), SIGUSR1);
	want_eq(count, 0);
	sigpending(&s);
	want(sigismember(&s, SIGUSR1));
	block(SIG_UNBLOCK, SIGUSR1);
	want_eq(count, 1);
}

CASE(realtime_signals_queue_in_order)
{
	union sigval v;
	int sig = SIGRTMIN + 3;

	handle(sig, 0);
	block(SIG_BLOCK, sig);
	for (int i = 0; i < 5; i++) {
		v.sival_int = i;
		want_eq(sigqueue(getpid(), sig, v), 0);
	}
	block(SIG_UNBLOCK, sig);
	want_eq(count, 5);
	want_eq(value, 4);
	want_eq(code, SI_QUEUE);
}

CASE(ignored_is_forgotten)
{
	block(SIG_BLOCK, SIGUSR1);
	handle(SIGUSR1, 0);
	kill(getpid(), SIGUSR1);
	signal(SIGUSR1, SIG_IGN);
	handle(SIGUSR1, 0);
	block(SIG_UNBLOCK, SIGUSR1);
	want_eq(count, 0);
}

static void nested(int sig, siginfo_t *si, void *uc)
{
	sigset_t s;

	sigprocmask(SIG_SETMASK, NULL, &s);
	count += sigismember(&s, SIGUSR1) + 2 * sigismember(&s, SIGUSR2) + 4 * sigismember(&s, SIGHUP);
}

CASE(mask_in_handler)
{
	struct sigaction sa = { .sa_sigaction = nested, .sa_flags = SA_SIGINFO };
	sigset_t s;

	sigaddset(&sa.sa_mask, SIGUSR2);
	count = 0;
	sigaction(SIGUSR1, &sa, NULL);
	raise(SIGUSR1);
	want_eq(count, 3);
	sigprocmask(SIG_SETMASK, NULL, &s);
	want(!sigismember(&s, SIGUSR1) && !sigismember(&s, SIGUSR2));
	sa.sa_flags |= SA_NODEFER;
	count = 0;
	sigaction(SIGUSR1, &sa, NULL);
	raise(SIGUSR1);
	want_eq(count, 2);
}

static void alarm_in(int ms)
{
	struct itimerval it = { .it_value = { ms / 1000, ms % 1000 * 1000 } };

	want_eq(setitimer(ITIMER_REAL, &it, NULL), 0);
}

CASE(interrupted_sleep)
{
	struct timespec ts = { 5, 0 }, rem = { 0, 0 };

	handle(SIGALRM, SA_RESTART);
	alarm_in(30);
	want_errno(nanosleep(&ts, &rem), EINTR); /* never restarted after a handler */
	want(rem.tv_sec == 4 && rem.tv_nsec > 0);
	want_eq(count, 1);
	alarm_in(30);
	want_errno(pause(), EINTR);
}

CASE(stopped_sleep_goes_on)
{
	pid_t p = fork();
	int st;

	if (!p) {
		struct timespec ts = { 0, 200000000 };
		long long t = now_ns();
		int r = nanosleep(&ts, NULL);

		_exit(r ? 1 : now_ns() - t >= 200000000 ? 0 : 2);
	}
	nap(30);
	kill(p, SIGSTOP);
	want_eq(waitpid(p, &st, WUNTRACED), p);
	nap(30);
	kill(p, SIGCONT);
	want_eq(waitpid(p, &st, 0), p);
	want_eq(st, 0);
}

CASE(wait_restarts)
{
	pid_t p;
	int st;

	handle(SIGALRM, SA_RESTART);
	p = fork();
	if (!p) {
		nap(80);
		_exit(6);
	}
	alarm_in(20);
	want_eq(waitpid(p, &st, 0), p);
	want_eq(count, 1);
	want_eq(WEXITSTATUS(st), 6);
	handle(SIGALRM, 0);
	p = fork();
	if (!p) {
		nap(2000);
		_exit(6);
	}
	alarm_in(20);
	want_errno(waitpid(p, &st, 0), EINTR);
	kill(p, SIGKILL);
	waitpid(p, &st, 0);
}

CASE(sigsuspend_restores)
{
	sigset_t none, now;

	handle(SIGUSR1, 0);
	block(SIG_BLOCK, SIGUSR1);
	kill(getpid(), SIGUSR1);
	sigemptyset(&none);
	want_errno(sigsuspend(&none), EINTR);
	want_eq(count, 1);
	sigprocmask(SIG_SETMASK, NULL, &now);
	want(sigismember(&now, SIGUSR1));
	block(SIG_UNBLOCK, SIGUSR1);
}

CASE(sigtimedwait)
{
	struct timespec ts = { 0, 20000000 };
	siginfo_t si;
	sigset_t s;

	block(SIG_BLOCK, SIGUSR1);
	sigemptyset(&s);
	sigaddset(&s, SIGUSR1);
	want_errno(sigtimedwait(&s, &si, &ts), EAGAIN);
	handle(SIGUSR1, 0);
	kill(getpid(), SIGUSR1);
	want_eq(sigtimedwait(&s, &si, &ts), SIGUSR1);
	want_eq(si.si_pid, getpid());
	want_eq(count, 0);
	if (!fork()) {
		nap(20);
		kill(getppid(), SIGUSR1);
		_exit(0);
	}
	want_eq(sigwaitinfo(&s, &si), SIGUSR1);
	wait(NULL);
	block(SIG_UNBLOCK, SIGUSR1);
	want_eq(count, 0);
}

static volatile char *stack_seen;
static char altstack[64 * 1024];

static void on_alt(int sig)
{
	char here;
	stack_t ss;

	stack_seen = &here;
	sigaltstack(NULL, &ss);
	value = ss.ss_flags;
}

CASE(alternate_stack)
{
	stack_t ss = { .ss_sp = altstack, .ss_size = sizeof(altstack) }, old;
	struct sigaction sa = { .sa_handler = on_alt, .sa_flags = SA_ONSTACK };

	want_eq(sigaltstack(&ss, NULL), 0);
	sigaction(SIGUSR1, &sa, NULL);
	raise(SIGUSR1);
	want((char *)stack_seen > altstack && (char *)stack_seen < altstack + sizeof(altstack));
	want_eq(value, SS_ONSTACK);
	want_eq(sigaltstack(NULL, &old), 0);
	want(old.ss_sp == altstack && old.ss_flags == 0);
	ss.ss_size = 100;
	want_errno(sigaltstack(&ss, NULL), ENOMEM);
	ss.ss_flags = SS_DISABLE;
	want_eq(sigaltstack(&ss, NULL), 0);
}

static sigjmp_buf out;
static void *volatile addr;

static void on_fault(int sig, siginfo_t *si, void *uc)
{
	last = sig;
	code = si->si_code;
	addr = si->si_addr;
	siglongjmp(out, 1);
}

CASE(faults)
{
	struct sigaction sa = { .sa_sigaction = on_fault, .sa_flags = SA_SIGINFO };
	volatile int zero = 0;

	sigaction(SIGSEGV, &sa, NULL);
	sigaction(SIGFPE, &sa, NULL);
	sigaction(SIGILL, &sa, NULL);
	sigaction(SIGTRAP, &sa, NULL);
	if (!sigsetjmp(out, 1))
		*(volatile int *)0x1234 = 1;
	want_eq(last, SIGSEGV);
	want_eq(code, SEGV_MAPERR);
	want(addr == (void *)0x1234);
	if (!sigsetjmp(out, 1))
		value = 10 / zero;
	want_eq(last, SIGFPE);
	want_eq(code, FPE_INTDIV);
	if (!sigsetjmp(out, 1))
		__asm__ volatile("ud2");
	want_eq(last, SIGILL);
	want_eq(code, ILL_ILLOPN);
	if (!sigsetjmp(out, 1))
		__asm__ volatile("int3");
	want_eq(last, SIGTRAP);
	if (!sigsetjmp(out, 1))
		__asm__ volatile("hlt");
	want_eq(last, SIGSEGV);
	want_eq(code, SI_KERNEL);
	signal(SIGSEGV, SIG_DFL);
}

CASE(blocked_fault_kills)
{
	pid_t p = fork();
	int st;

	if (!p) {
		block(SIG_BLOCK, SIGSEGV);
		*(volatile int *)0 = 1;
		_exit(0);
	}
	waitpid(p, &st, 0);
	want(WIFSIGNALED(st) && WTERMSIG(st) == SIGSEGV);
}

CASE(registers_survive)
{
	double d = 1.5, e;
	unsigned long r12 = 0x123456789abcdef0UL, check;

	handle(SIGALRM, 0);
	alarm_in(10);
	__asm__ volatile("movq %3, %%r12\n movsd %2, %%xmm7\n"
			 "1: cmpl $0, %4\n je 1b\n"
			 "movq %%r12, %0\n movsd %%xmm7, %1"
			 : "=r"(check), "=m"(e)
			 : "m"(d), "r"(r12), "m"(count)
			 : "r12", "xmm7", "memory", "cc");
	want(check == r12 && e == 1.5);
}

/* ---- the registers of x87, SSE and AVX in a frame ------------------------------------------------------------- */

static void (*change)(struct _fpstate *f);

static void on_frame(int sig, siginfo_t *si, void *uc)
{
	__asm__ volatile("pxor %%xmm7, %%xmm7" : : : "xmm7");
	change((struct _fpstate *)((ucontext_t *)uc)->uc_mcontext.fpregs);
}

/* What is in XMM7 after a signal that came while `before` was in it. */
static unsigned xmm7_over_a_signal(unsigned before, void (*handler)(struct _fpstate *f), int flags)
{
	struct sigaction sa = { .sa_sigaction = on_frame, .sa_flags = SA_SIGINFO | flags };
	long nr = SYS_kill;

	change = handler;
	sigaction(SIGUSR1, &sa, NULL);
	__asm__ volatile("movd %0, %%xmm7; syscall; movd %%xmm7, %0"
			 : "+r"(before), "+a"(nr)
			 : "D"((long)getpid()), "S"((long)SIGUSR1)
			 : "rcx", "r11", "xmm7", "memory");
	return before;
}

static void leave_it(struct _fpstate *f)
{
}

static void set_xmm7(struct _fpstate *f)
{
	f->_xmm[7].element[0] = 0x1234;
}

CASE(frames_keep_fpu_registers)
{
	want_eq(xmm7_over_a_signal(77, leave_it, 0), 77);
	want_eq(xmm7_over_a_signal(77, set_xmm7, 0), 0x1234);
}

/* The extended state's header: which parts there are, then words that must be 0. FXSAVE's image alone has none. */
static uint64_t *header_of(struct _fpstate *f)
{
	if (*(uint32_t *)((char *)f + 464) != FP_XSTATE_MAGIC1)
		raise(SIGSEGV);
	return (uint64_t *)((char *)f + 512);
}

static void unknown_part(struct _fpstate *f)
{
	header_of(f)[0] |= 1UL << 62;
}

static void compacted(struct _fpstate *f)
{
	header_of(f)[1] = ~0UL;
}

CASE(bad_frames_are_refused)
{
	void (*bad[])(struct _fpstate *) = { unknown_part, compacted };

	for (int i = 0; i < 2; i++) {
		int st;
		pid_t p = fork();

		if (!p) {
			xmm7_over_a_signal(1, bad[i], 0);
			_exit(0);
		}
		want_eq(waitpid(p, &st, 0), p);
		want(WIFSIGNALED(st) && WTERMSIG(st) == SIGSEGV);
	}
	want_eq(xmm7_over_a_signal(77, leave_it, 0), 77);
}

/* What the CPU would refuse at a switch must not become a stopped task's registers either. */
CASE(a_tracer_sets_no_bad_registers)
{
	static uint64_t state[1024];
	struct iovec v = { state, sizeof(state) };
	pid_t p = fork();

	if (!p) {
		ptrace(PTRACE_TRACEME, 0, NULL, NULL);
		__asm__ volatile("movd %0, %%xmm7" : : "r"(1) : "xmm7");
		raise(SIGSTOP);
		_exit(0);
	}
	want_eq(waitpid(p, NULL, 0), p);
	want_eq(ptrace(PTRACE_GETREGSET, p, NT_X86_XSTATE, &v), 0);
	want(v.iov_len >= 576);
	want_eq(ptrace(PTRACE_SETREGSET, p, NT_X86_XSTATE, &v), 0);
	state[65] = ~0UL; /* the header's word that says "compacted" */
	want_errno(ptrace(PTRACE_SETREGSET, p, NT_X86_XSTATE, &v), EINVAL);
	kill(p, SIGKILL);
	want_eq(waitpid(p, NULL, 0), p);
}

/* The alternate stack has no pages yet, and the registers' area lies across the border of two; then it may not be
 * written. */
CASE(frames_reach_fresh_pages)
{
	char *p = mmap(NULL, 65536, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	stack_t ss = { .ss_sp = p, .ss_size = 32768 + 400 }, off = { .ss_flags = SS_DISABLE };
	int st;
	pid_t child;

	want(p != MAP_FAILED);
	want_eq(sigaltstack(&ss, NULL), 0);
	want_eq(xmm7_over_a_signal(77, set_xmm7, SA_ONSTACK), 0x1234);
	child = fork();
	if (!child) {
		mprotect(p, 32768, PROT_READ);
		xmm7_over_a_signal(1, leave_it, SA_ONSTACK);
		_exit(0);
	}
	want_eq(waitpid(child, &st, 0), child);
	want(WIFSIGNALED(st) && WTERMSIG(st) == SIGSEGV);
	want_eq(sigaltstack(&off, NULL), 0);
	munmap(p, 65536);
}

CASE(interval_timer)
{
	struct itimerval it = { { 0, 5000 }, { 0, 5000 } }, old;

	handle(SIGALRM, SA_RESTART);
	want_eq(setitimer(ITIMER_REAL, &it, NULL), 0);
	while (count < 3)
		pause();
	memset(&it, 0, sizeof(it));
	want_eq(setitimer(ITIMER_REAL, &it, &old), 0);
	want_eq(old.it_interval.tv_usec, 5000);
	want_errno(setitimer(99, &it, NULL), EINVAL);
	want_eq(alarm(100), 0);
	want_eq(alarm(0), 100);
}

CASE(cpu_timer)
{
	struct itimerval it = { { 0, 0 }, { 0, 20000 } };
	volatile unsigned n = 0;

	handle(SIGVTALRM, 0);
	want_eq(setitimer(ITIMER_VIRTUAL, &it, NULL), 0);
	while (!count)
		n++;
	want_eq(count, 1);
}

CASE(posix_timer)
{
	struct sigevent ev = { .sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGRTMIN };
	struct itimerspec it = { { 0, 2000000 }, { 0, 2000000 } }, now;
	timer_t id;

	handle(SIGRTMIN, 0);
	ev.sigev_value.sival_int = 1234;
	want_eq(timer_create(CLOCK_MONOTONIC, &ev, &id), 0);
	block(SIG_BLOCK, SIGRTMIN);
	want_eq(timer_settime(id, 0, &it, NULL), 0);
	nap(30);
	block(SIG_UNBLOCK, SIGRTMIN);
	want(count >= 1);
	want_eq(code, SI_TIMER);
	want_eq(value, 1234);
	want_eq(timer_gettime(id, &now), 0);
	want(now.it_interval.tv_nsec == 2000000 && now.it_value.tv_nsec > 0);
	want_eq(timer_delete(id), 0);
	want_errno(syscall(SYS_timer_delete, 4711), EINVAL);
	want_errno(timer_create(12345, &ev, &id), EINVAL);
}

static void *thread_main(void *arg)
{
	while (!*(volatile int *)arg)
		nap(2);
	return NULL;
}

/* A signal to the process goes to a thread that does not block it. */
CASE(threads_share)
{
	int stop = 0;
	pthread_t t;

	handle(SIGUSR1, 0);
	want_eq(pthread_create(&t, NULL, thread_main, &stop), 0);
	block(SIG_BLOCK, SIGUSR1);
	kill(getpid(), SIGUSR1);
	for (int i = 0; i < 500 && !count; i++)
		nap(2);
	want_eq(count, 1);
	block(SIG_UNBLOCK, SIGUSR1);
	want_eq(pthread_kill(t, SIGUSR1), 0);
	for (int i = 0; i < 500 && count < 2; i++)
		nap(2);
	want_eq(count, 2);
	want_eq(code, SI_TKILL);
	stop = 1;
	pthread_join(t, NULL);
}

CASE(kill_ends_all_threads)
{
	int stop = 0, st;
	pid_t p = fork();
	pthread_t t;

	if (!p) {
		for (int i = 0; i < 3; i++)
			pthread_create(&t, NULL, thread_main, &stop);
		kill(getpid(), SIGTERM);
		pause();
		_exit(0);
	}
	want_eq(waitpid(p, &st, 0), p);
	want(WIFSIGNALED(st) && WTERMSIG(st) == SIGTERM);
}

int main(void)
{
	RUN(handlers);
	RUN(blocked_standard_signals_merge);
	RUN(realtime_signals_queue_in_order);
	RUN(ignored_is_forgotten);
	RUN(mask_in_handler);
	RUN(interrupted_sleep);
	RUN(stopped_sleep_goes_on);
	RUN(wait_restarts);
	RUN(sigsuspend_restores);
	RUN(sigtimedwait);
	RUN(alternate_stack);
	RUN(faults);
	RUN(blocked_fault_kills);
	RUN(registers_survive);
	RUN(frames_keep_fpu_registers);
	RUN(bad_frames_are_refused);
	RUN(a_tracer_sets_no_bad_registers);
	RUN(frames_reach_fresh_pages);
	RUN(interval_timer);
	RUN(cpu_timer);
	RUN(posix_timer);
	RUN(threads_share);
	RUN(kill_ends_all_threads);
	return abi_status();
}
