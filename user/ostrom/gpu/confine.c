/* SPDX-License-Identifier: MIT
 *
 * Problem: whoever takes over a worker by a flaw in renderer, shader compiler or driver must gain nothing by it.
 *
 * Idea: before the driver is loaded: namespaces of its own (network, IPC, host name), another user where we are root,
 * no new privileges, no core files, no tracing by its peers. After it is loaded and its threads run: a list of the
 * system calls that rendering needs, for all threads; all others fail with EPERM (a library that probes for something
 * goes on without it). Threads may be made, processes not; descriptors come only over the socket.
 *
 * Contract: 0 or -1. The calls that may fail without harm (no user namespaces here) do so silently.
 *
 * Locks: none; called before and after initialisation by the worker's only thread of ours.
 */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <sched.h>
#include <seccomp.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>
#include "gpu.h"

#define NOBODY 65534

int confine_before(void)
{
	struct rlimit none = { 0, 0 }, files = { 128, 128 };

	if (geteuid() == 0) {
		if (unshare(CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS) && errno != EPERM)
			return -1;
		if (setgroups(0, NULL) || setresgid(NOBODY, NOBODY, NOBODY) || setresuid(NOBODY, NOBODY, NOBODY))
			return -1;
	} else {
		(void)!unshare(CLONE_NEWUSER | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS);
	}
	if (setrlimit(RLIMIT_CORE, &none) || setrlimit(RLIMIT_NOFILE, &files))
		return -1;
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_DUMPABLE, 0, 0, 0, 0))
		return -1;
	return prctl(PR_SET_PDEATHSIG, 9, 0, 0, 0);
}

static const int allowed[] = {
	SCMP_SYS(read),
	SCMP_SYS(write),
	SCMP_SYS(readv),
	SCMP_SYS(writev),
	SCMP_SYS(recvmsg),
	SCMP_SYS(recvfrom),
	SCMP_SYS(sendmsg),
	SCMP_SYS(sendto),
	SCMP_SYS(close),
	SCMP_SYS(dup),
	SCMP_SYS(fstat),
	SCMP_SYS(lseek),
	SCMP_SYS(poll),
	SCMP_SYS(ppoll),
	SCMP_SYS(epoll_wait),
	SCMP_SYS(epoll_ctl),
	SCMP_SYS(eventfd2),
	SCMP_SYS(mmap),
	SCMP_SYS(munmap),
	SCMP_SYS(mremap),
	SCMP_SYS(mprotect),
	SCMP_SYS(madvise),
	SCMP_SYS(brk),
	SCMP_SYS(futex),
	SCMP_SYS(sched_yield),
	SCMP_SYS(sched_getaffinity),
	SCMP_SYS(sched_setaffinity),
	SCMP_SYS(nanosleep),
	SCMP_SYS(clock_nanosleep),
	SCMP_SYS(clock_gettime),
	SCMP_SYS(clock_getres),
	SCMP_SYS(gettimeofday),
	SCMP_SYS(getcpu),
	SCMP_SYS(getpid),
	SCMP_SYS(gettid),
	SCMP_SYS(getrandom),
	SCMP_SYS(rt_sigaction),
	SCMP_SYS(rt_sigprocmask),
	SCMP_SYS(rt_sigreturn),
	SCMP_SYS(sigaltstack),
	SCMP_SYS(set_robust_list),
	SCMP_SYS(rseq),
	SCMP_SYS(membarrier),
	SCMP_SYS(restart_syscall),
	SCMP_SYS(sysinfo),
	SCMP_SYS(exit),
	SCMP_SYS(exit_group),
};

static int add_rules(scmp_filter_ctx f, bool render_node)
{
	int rc = 0;

	for (u32 i = 0; i < ARRAY_SIZE(allowed) && !rc; i++)
		rc = seccomp_rule_add(f, SCMP_ACT_ALLOW, allowed[i], 0);
	/* Threads of this process, and nothing else that clone can make. */
	if (!rc)
		rc = seccomp_rule_add(f, SCMP_ACT_ALLOW, SCMP_SYS(clone), 1,
				      SCMP_A0(SCMP_CMP_MASKED_EQ, CLONE_THREAD | CLONE_NEWUSER, CLONE_THREAD));
	/* clone3 passes its flags in memory, where a filter cannot look; the C library then uses clone. */
	if (!rc)
		rc = seccomp_rule_add(f, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0);
	if (!rc)
		rc = seccomp_rule_add(f, SCMP_ACT_ALLOW, SCMP_SYS(prctl), 1, SCMP_A0(SCMP_CMP_EQ, PR_SET_NAME, 0));
	if (!rc && render_node)
		rc = seccomp_rule_add(f, SCMP_ACT_ALLOW, SCMP_SYS(ioctl), 0);
	return rc;
}

int confine_after(bool render_node)
{
	scmp_filter_ctx f = seccomp_init(SCMP_ACT_ERRNO(EPERM));
	int rc;

	if (!f)
		return -1;
	rc = seccomp_attr_set(f, SCMP_FLTATR_CTL_TSYNC, 1);
	if (!rc)
		rc = add_rules(f, render_node);
	if (!rc)
		rc = seccomp_load(f);
	seccomp_release(f);
	return rc ? -1 : 0;
}
