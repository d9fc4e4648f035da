/* SPDX-License-Identifier: MIT
 *
 * Problem: one door for every system call, cheap enough for getpid, that never forgets an unknown
 * number and can show what a program asks.
 *
 * Idea: the table (kernel/abi/syscalls.tbl) becomes an array of function addresses in which a call
 * that no part defines is 0 (a weak symbol). Arguments are in the right registers for a C call
 * already, so there are no wrappers: an int parameter reads the low half of its register, as the
 * ABI of C and of system calls agree. Tracing and seccomp stand behind one test of the task's work
 * bits.
 *
 * Contract: upcall_syscall of arch/upcalls.h. `strace` on the kernel's command line prints each
 * call of each program with its arguments and its result to the log; a program that uses an absent
 * call is named there once for each call.
 *
 * Locks: none. IRQs on.
 */
#include <abi/syscalls.h>
#include <arch/boot.h>
#include <arch/upcalls.h>
#include <core/log.h>
#include <core/trace.h>
#include <lib/err.h>
#include <lib/nospec.h>
#include <lib/printf.h>
#include <linux/ptrace.h>
#include <process/ptrace.h>
#include <seccomp/seccomp.h>
#include <syscall/syscall.h>
#include <task/task.h>

typedef long (*syscall_fn)(ulong, ulong, ulong, ulong, ulong, ulong);

extern const syscall_fn syscall_table[SYSCALL_COUNT];

static const struct {
	const char *name;
	const char *args; /* one letter each, see tools/gen-syscalls */
} names[SYSCALL_COUNT] = {
#include <abi/syscall_names.h>
};

static bool trace_all;

const char *syscall_name(ulong nr)
{
	return nr < SYSCALL_COUNT ? names[nr].name : NULL;
}

static void log_absent(ulong nr)
{
	static ulong seen[(SYSCALL_COUNT + 63) / 64];
	const char *name = syscall_name(nr);

	if (nr < SYSCALL_COUNT && atomic_test_and_set_bit(seen, nr))
		return;
	log_info("%s: system call %lu (%s) is not implemented", current->comm, nr, name ? name : "unknown");
}

static void trace_print(const struct regs *r, ulong nr, long result)
{
	const ulong args[] = { r->di, r->si, r->dx, r->r10, r->r8, r->r9 };
	const char *kinds = nr < SYSCALL_COUNT && names[nr].args ? names[nr].args : "xxxxxx";
	char line[160];
	struct strbuf sb;

	strbuf_init(&sb, line, sizeof(line));
	for (unsigned i = 0; kinds[i]; i++) {
		const char *sep = i ? ", " : "";

		if (kinds[i] == 'd')
			strbuf_add(&sb, "%s%d", sep, (int)args[i]);
		else if (kinds[i] == 'u' || kinds[i] == 'z' || kinds[i] == 'l')
			strbuf_add(&sb, "%s%ld", sep, (long)args[i]);
		else
			strbuf_add(&sb, "%s%#lx", sep, args[i]);
	}
	log_info("%s: %s(%s) = %ld", current->comm, syscall_name(nr) ? syscall_name(nr) : "?", line, result);
}

static long dispatch(const struct regs *r, ulong nr)
{
	if (unlikely(nr >= SYSCALL_COUNT || !syscall_table[nr])) {
		log_absent(nr);
		return -ENOSYS;
	}
	nr = index_nospec(nr, SYSCALL_COUNT);
	return syscall_table[nr](r->di, r->si, r->dx, r->r10, r->r8, r->r9);
}

/* A tracer may change the number or, with -1, skip the call; the result is then what it left. */
static void watched(struct regs *r)
{
	if (current->syscall_work & SYSCALL_WORK_TRACE)
		ptrace_syscall(r, PTRACE_SYSCALL_INFO_ENTRY);
	current->syscall_nr = r->orig_ax;
	if ((int)r->orig_ax != -1 && (!(current->syscall_work & SYSCALL_WORK_SECCOMP) || seccomp_allows(r)))
		r->ax = dispatch(r, r->orig_ax);
	if (current->syscall_work & SYSCALL_WORK_TRACE)
		ptrace_syscall(r, PTRACE_SYSCALL_INFO_EXIT);
}

static __noinline void trace_enter(const struct regs *r, ulong nr)
{
	struct trace_sys_enter rec = { .id = (s64)nr, .args = { r->di, r->si, r->dx, r->r10, r->r8, r->r9 } };

	trace_emit(TRACE_sys_enter, &rec, sizeof(rec));
	trace_syscall(nr, false, (const u64 *)rec.args);
}

static __noinline void trace_exit(const struct regs *r, ulong nr)
{
	struct trace_sys_exit rec = { .id = (s64)nr, .ret = (s64)r->ax };

	trace_emit(TRACE_sys_exit, &rec, sizeof(rec));
	trace_syscall(nr, true, (const u64 *)&rec.ret);
}

void upcall_syscall(struct regs *r)
{
	ulong nr = r->orig_ax;

	current->syscall_nr = nr;
	if (trace_on(sys_enter))
		trace_enter(r, nr);
	if (unlikely(current->syscall_work))
		watched(r);
	else
		r->ax = dispatch(r, nr);
	if (trace_on(sys_exit))
		trace_exit(r, nr);
	if (unlikely(trace_all))
		trace_print(r, nr, r->ax);
}

void syscall_init(void)
{
	char value[4];

	trace_all = boot_param("strace", value, sizeof(value));
}
