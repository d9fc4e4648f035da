/* SPDX-License-Identifier: MIT
 *
 * Making tasks: fork, vfork, clone and clone3 are one function with one set of arguments (clone(2); linux/sched.h).
 */
#ifndef PROCESS_CLONE_H
#define PROCESS_CLONE_H

#include <lib/types.h>

struct tenant;
struct clone_request {
	u64 flags; /* CLONE_*, without the exit signal */
	int exit_signal;
	ulong stack; /* 0: the parent's */
	ulong tls;
	int __user *parent_tid, *child_tid, *pidfd;
	int set_tid;         /* wanted number, 0: any */
	struct tenant *into; /* its tenant; NULL: the parent's */
};
/* The child's number, or -errno. Waits for the child with CLONE_VFORK. */
long process_clone(const struct clone_request *r);

/* wait4 and waitid. */
struct wait_request {
	int which; /* P_ALL, P_PID, P_PGID, P_PIDFD of linux/wait.h */
	int id;
	int options; /* WNOHANG, WEXITED, WSTOPPED, WCONTINUED, WNOWAIT, __WALL, __WCLONE */
};
struct wait_result {
	int pid, code, status, uid; /* pid 0: nobody yet. code: CLD_*; status: exit code or signal */
	int raw_status;             /* as wait4 gives it */
	u64 user_ns, system_ns, min_faults, maj_faults, nvcsw, nivcsw, max_rss_pages;
};
int process_wait(const struct wait_request *r, struct wait_result *out);

/* exec: user pointers. dirfd and flags as execveat(2). 0: the new program runs on return. */
int process_execve(int dirfd, const char __user *path, const char __user *const __user *argv,
		   const char __user *const __user *envp, int flags);

#endif
