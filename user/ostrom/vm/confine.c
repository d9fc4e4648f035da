/* SPDX-License-Identifier: MIT
 *
 * Problem: whoever breaks out of a guest through a flaw in a device of ours must gain nothing by it.
 *
 * Idea: once every file, socket and device is open, and before the guest's first instruction: no new privileges, no
 * core files, namespaces of its own (network, IPC, host name, mounts; a user namespace where we are not root), an empty
 * root, and a list of the system calls that running a guest needs. Threads may be made, processes not; nothing can be
 * opened, memory cannot be made executable. What is not on the list fails with EPERM.
 *
 *      the filter: architecture --> number in the list? --> clone: only a thread   mmap, mprotect: not PROT_EXEC
 *
 * Contract: 0 or -1 with a message. A kernel without these namespaces, or a sandbox that forbids them, costs only them;
 * the filter is always there. Sources: seccomp(2), linux/seccomp.h, linux/filter.h.
 *
 * Locks: none; called by the only thread.
 */
#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "ostrom.h"
#include "vm.h"

#define LOAD(field) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, field))
#define ANSWER(a)   BPF_STMT(BPF_RET | BPF_K, a)
#define ALLOW       ANSWER(SECCOMP_RET_ALLOW)
#define DENY(error) ANSWER(SECCOMP_RET_ERRNO | (error))

static const int allowed[] = {
	SYS_ioctl,
	SYS_read,
	SYS_write,
	SYS_poll,
	SYS_ppoll,
	SYS_futex,
	SYS_preadv,
	SYS_pwritev,
	SYS_pread64,
	SYS_pwrite64,
	SYS_readv,
	SYS_writev,
	SYS_fdatasync,
	SYS_recvfrom,
	SYS_sendto,
	SYS_lseek,
	SYS_getrandom,
	SYS_accept,
	SYS_accept4,
	SYS_getsockopt,
	SYS_setsockopt,
	SYS_close,
	SYS_brk,
	SYS_munmap,
	SYS_mremap,
	SYS_madvise,
	SYS_rt_sigaction,
	SYS_rt_sigreturn,
	SYS_rt_sigprocmask,
	SYS_restart_syscall,
	SYS_exit,
	SYS_exit_group,
	SYS_gettid,
	SYS_getpid,
	SYS_tkill,
	SYS_tgkill,
	SYS_sched_yield,
	SYS_eventfd2,
	SYS_fstat,
	SYS_clock_gettime,
	SYS_nanosleep,
	SYS_clock_nanosleep,
	SYS_set_robust_list,
	SYS_rseq,
	SYS_geteuid,
};
#define NR_ALLOWED (sizeof(allowed) / sizeof(allowed[0]))

/* A call with one argument that decides: allowed if the bits of `mask` in it are `want`. */
#define WITH(number, arg, mask, want)                                                                                  \
	BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, number, 0, 5), LOAD(args[arg]), BPF_STMT(BPF_ALU | BPF_AND | BPF_K, mask), \
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, want, 0, 1), ALLOW, DENY(EPERM)

static const struct sock_filter head[] = {
	LOAD(arch),
	BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, AUDIT_ARCH_X86_64, 1, 0),
	ANSWER(SECCOMP_RET_KILL_PROCESS),
	LOAD(nr),
	WITH(SYS_clone, 0, CLONE_THREAD | CLONE_VM, CLONE_THREAD | CLONE_VM),
	WITH(SYS_mmap, 2, PROT_EXEC, 0),
	WITH(SYS_mprotect, 2, PROT_EXEC, 0),
	BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_clone3, 0, 1), /* whose flags lie in memory: libraries use clone then */
	DENY(ENOSYS),
};
#define NR_HEAD (sizeof(head) / sizeof(head[0]))

static int filter(void)
{
	struct sock_filter code[NR_HEAD + 2 * NR_ALLOWED + 1];
	struct sock_fprog p = { .filter = code };

	memcpy(code, head, sizeof(head));
	p.len = NR_HEAD;
	for (size_t i = 0; i < NR_ALLOWED; i++) {
		code[p.len++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)allowed[i], 0, 1);
		code[p.len++] = (struct sock_filter)ALLOW;
	}
	code[p.len++] = (struct sock_filter)DENY(EPERM);
	return (int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &p);
}

/* An empty place that nobody can put anything into. */
static void leave_files(void)
{
	if (chroot("/proc/self/fdinfo") == 0)
		(void)!chdir("/");
}

static void namespaces(void)
{
	int mine = CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWNS;

	if (unshare(geteuid() ? mine | CLONE_NEWUSER : mine) == 0)
		leave_files();
}

int vm_confine(void)
{
	struct rlimit none = { 0, 0 };

	namespaces();
	if (setrlimit(RLIMIT_CORE, &none) == 0 && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 && filter() == 0)
		return 0;
	say_error("the monitor cannot be confined: %s", strerror(errno));
	return -1;
}
