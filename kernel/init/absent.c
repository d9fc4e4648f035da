/* SPDX-License-Identifier: MIT
 *
 * Problem: the kernel must link and boot while parts above the machine layer are still on their
 * way.
 *
 * Idea: each upcall of a part that has no source yet answers here as that part would without any
 * user program. The owner of a part deletes its lines in the commit that brings the part.
 *
 * Contract: the headers included.
 *
 * Locks: none.
 */
#include <alloc/page.h>
#include <arch/boot.h>
#include <arch/upcalls.h>
#include <core/log.h>
#include <lib/err.h>
#include <mm/upcalls.h>
#include <process/process.h>
#include <task/wait.h>
#include <vfs/vfs.h>

/* mm */
u64 upcall_reclaim(u64 pages)
{
	return 0;
}

/* process */
void upcall_user_exception(struct regs *r, unsigned vector, ulong error)
{
	panic("exception %u in user mode", vector);
}
void upcall_return_to_user(struct regs *r)
{
}
bool upcall_signal_pending(struct task *t, bool fatal_only)
{
	return false;
}
void process_start_init(void)
{
	log_info("no process part yet: switching off");
	machine_power_off(0);
}

/* process */
void upcall_task_free(struct task *t)
{
}
void upcall_fault_signal(int sig, int code, ulong addr)
{
}
u64 upcall_rlimit(unsigned which)
{
	return ~0ULL;
}
void upcall_mm_release(struct mm *m)
{
}
/* vfs */
void vfs_init(void)
{
}
int vfs_unpack_initrd(void)
{
	return 0;
}
