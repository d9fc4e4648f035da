/* SPDX-License-Identifier: MIT
 *
 * Problem: ps, top, pgrep, debuggers and libraries read what a process is and does from the files of /proc/PID.
 *
 * Idea: one function a file, called with a counted task; one table. A field that Ostrom has no counterpart for is 0 in
 * files that are read by column (stat, statm), and left out where they are searched by name (status).
 *
 * Contract: proc(5). Files that show memory or environment need the right to trace the task.
 *
 * Locks: mm->lock for walking VMAs; process_list_lock for family numbers.
 */
#include <alloc/slab.h>
#include <arch/cpu.h>
#include <cgroup/cgroup.h>
#include <core/clock.h>
#include <lib/err.h>
#include <lib/string.h>
#include <linux/capability.h>
#include <linux/fcntl.h>
#include <linux/sched.h>
#include <mm/mm.h>
#include <process/oom.h>
#include <process/ptrace.h>
#include <resctrl/task.h>
#include <task/sched.h>
#include <vfs/mount.h>
#include <vfs/uapi.h>

#include <task/user_ns.h>

#include "proc_priv.h"

/* A kernel thread has no signals that could wake it: it sleeps for work, unless it says that it waits for a device. */
static bool is_idle(const struct task *t)
{
	return (t->flags & TASK_F_KTHREAD) && !(t->flags & TASK_F_IO_WAIT);
}

static char state_letter(const struct task *t)
{
	switch (READ_ONCE(t->state)) {
	case TASK_RUNNING: return 'R';
	case TASK_INTERRUPTIBLE:
	case TASK_FROZEN: return 'S';
	case TASK_STOPPED: return 'T';
	case TASK_TRACED: return 't';
	case TASK_DEAD: return 'Z';
	default: return is_idle(t) ? 'I' : 'D';
	}
}

/* The bits of stat's flags that programs look at: systemd leaves kernel threads alone by them. */
#define PF_EXITING    0x00000004
#define PF_FORKNOEXEC 0x00000040
#define PF_KTHREAD    0x00200000

static unsigned linux_flags(const struct task *t)
{
	return (t->flags & TASK_F_EXITING ? PF_EXITING : 0) | (t->flags & TASK_F_FORKED ? PF_FORKNOEXEC : 0) |
	       (t->flags & TASK_F_KTHREAD ? PF_KTHREAD : 0);
}

struct family {
	int ppid, pgrp, session, threads, tracer;
};

/* process_list_lock held. */
static int tracer_of(const struct task *t)
{
	const struct ptrace_link *l = t->ptrace;

	return ptrace_is_traced(t) ? pid_nr(l->tracer->pid) : 0;
}

static struct family family_of(struct task *t)
{
	struct process *p = t->process;
	struct family f;
	ulong irq;

	if (!p)
		return (struct family){ .ppid = kthread_parent_nr(t), .threads = 1 };
	irq = process_list_begin();
	f = (struct family){ p->parent ? pid_nr(p->parent->pid) : 0, pid_nr(p->pgrp), pid_nr(p->session), p->nr_threads,
			     tracer_of(t) };
	process_list_end(irq);
	return f;
}

struct memory {
	u64 total, peak, rss, file, swap, data, stack, exec, locked, peak_rss;
	ulong code_start, code_end, stack_start;
};

static struct memory memory_of(struct task *t)
{
	struct mm *mm = mm_of_task(t);
	struct memory m = { 0 };

	if (!mm)
		return m;
	m = (struct memory){ .total = mm->total_pages,
			     .peak = mm->peak_pages,
			     .data = mm->data_pages,
			     .stack = mm->stack_pages,
			     .exec = mm->exec_pages };
	m.file = max((s64)atomic_read(&mm->rss_file), (s64)0);
	m.swap = max((s64)atomic_read(&mm->rss_swap), (s64)0);
	m.rss = m.file + max((s64)atomic_read(&mm->rss_anon), (s64)0);
	m.locked = mm->locked_pages;
	m.peak_rss = max(m.rss, mm->hiwater_rss);
	m.code_start = mm->code_start;
	m.code_end = mm->code_end;
	m.stack_start = mm->stack_start;
	mm_put(mm);
	return m;
}

static int show_stat(struct task *t, struct strbuf *out)
{
	struct family f = family_of(t);
	struct memory m = memory_of(t);
	struct process_usage own = { 0 }, children = { 0 };

	if (t->process)
		process_usage(t->process, &own, &children);
	strbuf_add(out, "%d (%s) %c %d %d %d 0 -1 %u %llu %llu %llu %llu ", pid_nr(t->pid), t->comm, state_letter(t),
		   f.ppid, f.pgrp, f.session, linux_flags(t), (unsigned long long)own.min_faults,
		   (unsigned long long)children.min_faults, (unsigned long long)own.maj_faults,
		   (unsigned long long)children.maj_faults);
	strbuf_add(out, "%llu %llu %llu %llu %d %d %d 0 %llu %llu %llu %llu ", TICKS(own.user_ns), TICKS(own.system_ns),
		   TICKS(children.user_ns), TICKS(children.system_ns), 20 + t->nice, t->nice, f.threads,
		   TICKS(t->start_ns), (unsigned long long)m.total << PAGE_SHIFT, (unsigned long long)m.rss, ~0ULL);
	strbuf_add(out, "%lu %lu %lu 0 0 %llu %llu 0 0 0 0 0 %d %u %u %u 0 0 0 0 0 0 0 0 0 0 0\n", m.code_start,
		   m.code_end, m.stack_start, (unsigned long long)(t->sig_pending & 0x7fffffff),
		   (unsigned long long)(t->sig_blocked & 0x7fffffff), t->process ? t->process->exit_signal : 0, t->cpu,
		   t->rt_priority, t->policy);
	return 0;
}

static int show_statm(struct task *t, struct strbuf *out)
{
	struct memory m = memory_of(t);

	strbuf_add(out, "%llu %llu %llu %llu 0 %llu 0\n", (unsigned long long)m.total, (unsigned long long)m.rss,
		   (unsigned long long)m.file, (unsigned long long)m.exec, (unsigned long long)(m.data + m.stack));
	return 0;
}

static const char *state_name(char letter)
{
	switch (letter) {
	case 'R': return "R (running)";
	case 'S': return "S (sleeping)";
	case 'T': return "T (stopped)";
	case 't': return "t (tracing stop)";
	case 'Z': return "Z (zombie)";
	case 'I': return "I (idle)";
	default: return "D (disk sleep)";
	}
}

static void add_ids(struct task *t, struct strbuf *out)
{
	const struct cred *c;

	rcu_read_lock();
	c = rcu_deref(t->cred);
	strbuf_add(out, "Uid:\t%u\t%u\t%u\t%u\nGid:\t%u\t%u\t%u\t%u\n", user_out(c->uid), user_out(c->euid),
		   user_out(c->suid), user_out(c->fsuid), group_out(c->gid), group_out(c->egid), group_out(c->sgid),
		   group_out(c->fsgid));
	strbuf_add(out,
		   "CapInh:\t%016llx\nCapPrm:\t%016llx\nCapEff:\t%016llx\nCapBnd:\t%016llx\nCapAmb:\t%"
		   "016llx\nNoNewPrivs:\t%d\nSeccomp:\t%d\n",
		   (unsigned long long)c->cap_inheritable, (unsigned long long)c->cap_permitted,
		   (unsigned long long)c->cap_effective, (unsigned long long)c->cap_bounding,
		   (unsigned long long)c->cap_ambient, c->no_new_privs, t->seccomp_mode);
	rcu_read_unlock();
}

static void add_actions(struct task *t, struct strbuf *out)
{
	u64 ignored = 0, caught = 0;

	for (int sig = 1; t->process && t->process->sighand && sig <= 64; sig++) {
		ulong h = process_signal_handler(t->process, sig);

		ignored |= h == 1 ? SIGMASK(sig) : 0;
		caught |= h > 1 ? SIGMASK(sig) : 0;
	}
	strbuf_add(out, "SigIgn:\t%016llx\nSigCgt:\t%016llx\n", (unsigned long long)ignored,
		   (unsigned long long)caught);
}

/* libnuma reads the masks; that of nodes is as wide as on Debian's Linux. */
static void add_allowed(struct task *t, struct strbuf *out)
{
	cpumask_t cpus = t->affinity & cpu_online_mask();
	nodemask_t mems = task_mems(t);

	strbuf_add(out, "Cpus_allowed:\t");
	strbuf_add_mask(out, cpus, cpu_count());
	strbuf_add(out, "\nCpus_allowed_list:\t");
	strbuf_add_set(out, cpus);
	strbuf_add(out, "\nMems_allowed:\t");
	for (unsigned i = 0; i < 31; i++)
		strbuf_add(out, "00000000,");
	strbuf_add(out, "%08x\nMems_allowed_list:\t", (u32)mems);
	strbuf_add_set(out, mems);
	strbuf_add(out, "\n");
}

static int show_status(struct task *t, struct strbuf *out)
{
	struct family f = family_of(t);
	struct memory m = memory_of(t);

	strbuf_add(out, "Name:\t%s\nState:\t%s\nTgid:\t%d\nNgid:\t0\nPid:\t%d\nPPid:\t%d\nTracerPid:\t%d\n", t->comm,
		   state_name(state_letter(t)), t->process ? pid_nr(t->process->pid) : pid_nr(t->pid), pid_nr(t->pid),
		   f.ppid, f.tracer);
	add_ids(t, out);
	if (m.total)
		strbuf_add(out, "VmPeak:\t%8llu kB\nVmLck:\t%8llu kB\nVmHWM:\t%8llu kB\n", KIB(m.peak), KIB(m.locked),
			   KIB(m.peak_rss));
	if (m.total)
		strbuf_add(out,
			   "VmSize:\t%8llu kB\nVmRSS:\t%8llu kB\nRssAnon:\t%8llu kB\nRssFile:\t%8llu "
			   "kB\nVmData:\t%8llu kB\nVmStk:\t%8llu kB\nVmExe:\t%8llu kB\nVmSwap:\t%8llu kB\n",
			   KIB(m.total), KIB(m.rss), KIB(m.rss - m.file), KIB(m.file), KIB(m.data), KIB(m.stack),
			   KIB(m.exec), KIB(m.swap));
	strbuf_add(out, "Threads:\t%d\nSigPnd:\t%016llx\nShdPnd:\t%016llx\nSigBlk:\t%016llx\n", f.threads,
		   (unsigned long long)t->sig_pending, (unsigned long long)(t->process ? t->process->sig_pending : 0),
		   (unsigned long long)t->sig_blocked);
	add_actions(t, out);
	add_allowed(t, out);
	strbuf_add(out, "voluntary_ctxt_switches:\t%llu\nnonvoluntary_ctxt_switches:\t%llu\n",
		   (unsigned long long)t->voluntary_switches, (unsigned long long)t->preempted_switches);
	return 0;
}

static int show_comm(struct task *t, struct strbuf *out)
{
	strbuf_add(out, "%s\n", t->comm);
	return 0;
}

static int set_comm(struct task *t, char *text, size_t len)
{
	if (!t->process || t->process != current->process)
		return -EINVAL;
	if (len && text[len - 1] == '\n')
		text[len - 1] = '\0';
	task_set_name(t, text, false);
	return 0;
}

/* A range of the task's memory as it is: arguments, environment. */
static int show_range(struct task *t, struct strbuf *out, bool environment)
{
	struct mm *mm = mm_of_task(t);
	ulong at, end;
	char *page;
	ssize_t n = 0;

	if (!mm)
		return 0;
	page = kmalloc(PAGE_SIZE, ALLOC_KERNEL);
	at = environment ? mm->env_start : mm->arg_start;
	end = environment ? mm->env_end : mm->arg_end;
	while (page && at < end) {
		n = mm_access(mm, at, page, min(end - at, PAGE_SIZE), false, false);
		if (n <= 0)
			break;
		strbuf_put(out, page, n);
		at += n;
	}
	kfree(page);
	mm_put(mm);
	return page ? 0 : -ENOMEM;
}

static int show_cmdline(struct task *t, struct strbuf *out)
{
	return show_range(t, out, false);
}

static int show_environ(struct task *t, struct strbuf *out)
{
	return process_may_look(t) ? show_range(t, out, true) : -EACCES;
}

const char *proc_vma_label(const struct vma *v, struct mapping_name *name)
{
	const struct mm *mm = v->mm;

	*name = (struct mapping_name){ .dev = 0 };
	if (v->mapping && v->mapping->ops->describe)
		v->mapping->ops->describe(v->mapping, name);
	if (name->path[0])
		return name->path;
	if (!v->name && v->start <= mm->brk && v->end > mm->brk_start)
		return "[heap]";
	if (!v->name && v->start <= mm->stack_start && v->end > mm->stack_start)
		return "[stack]";
	return v->name;
}

void proc_add_vma(struct strbuf *out, const struct vma *v, struct mapping_name *name)
{
	const char *label = proc_vma_label(v, name);

	strbuf_add(out, "%lx-%lx %c%c%c%c %08llx %02llx:%02llx %llu", v->start, v->end, v->flags & VMA_READ ? 'r' : '-',
		   v->flags & VMA_WRITE ? 'w' : '-', v->flags & VMA_EXEC ? 'x' : '-', v->flags & VMA_SHARED ? 's' : 'p',
		   (unsigned long long)(v->mapping ? v->index << PAGE_SHIFT : 0), (unsigned long long)name->dev >> 8,
		   (unsigned long long)name->dev & 255, (unsigned long long)name->ino);
	strbuf_add(out, label ? "                    %s\n" : "%s\n", label ? label : "");
}

static int show_maps(struct task *t, struct strbuf *out)
{
	struct mapping_name *name = kmalloc(sizeof(*name), ALLOC_KERNEL);
	struct mm *mm;

	if (!name)
		return -ENOMEM;
	mm = process_may_look(t) ? mm_of_task(t) : NULL;
	if (mm) {
		read_lock(&mm->lock);
		for (struct vma *v = mm_find_vma(mm, 0); v; v = mm_next_vma(v))
			proc_add_vma(out, v, name);
		read_unlock(&mm->lock);
		mm_put(mm);
	}
	kfree(name);
	return 0;
}

static int show_limits(struct task *t, struct strbuf *out)
{
	static const struct {
		const char *name, *unit;
	} rows[RLIM_NLIMITS] = {
		{ "Max cpu time", "seconds" },     { "Max file size", "bytes" },
		{ "Max data size", "bytes" },      { "Max stack size", "bytes" },
		{ "Max core file size", "bytes" }, { "Max resident set", "bytes" },
		{ "Max processes", "processes" },  { "Max open files", "files" },
		{ "Max locked memory", "bytes" },  { "Max address space", "bytes" },
		{ "Max file locks", "locks" },     { "Max pending signals", "signals" },
		{ "Max msgqueue size", "bytes" },  { "Max nice priority", "" },
		{ "Max realtime priority", "" },   { "Max realtime timeout", "us" },
	};
	strbuf_add(out, "%-25s %-20s %-20s %-10s\n", "Limit", "Soft Limit", "Hard Limit", "Units");
	for (unsigned i = 0; t->process && i < RLIM_NLIMITS; i++) {
		const struct rlimit *l = &t->process->rlimits[i];
		const ulong values[2] = { l->rlim_cur, l->rlim_max };

		strbuf_add(out, "%-25s ", rows[i].name);
		for (unsigned k = 0; k < 2; k++)
			if (values[k] == RLIM_INFINITY)
				strbuf_add(out, "%-20s ", "unlimited");
			else
				strbuf_add(out, "%-20lu ", values[k]);
		strbuf_add(out, "%-10s\n", rows[i].unit);
	}
	return 0;
}

static int show_mount_table(struct task *t, struct strbuf *out, bool info)
{
	struct path root;
	int err = fs_path_of_task(t, true, &root);

	if (err)
		return err;
	err = root.mnt->ns ? mount_show(root.mnt->ns, &root, info, out) : 0;
	path_put(&root);
	return err;
}

static int show_mounts(struct task *t, struct strbuf *out)
{
	return show_mount_table(t, out, false);
}

static int show_mountinfo(struct task *t, struct strbuf *out)
{
	return show_mount_table(t, out, true);
}

static int show_oom_score_adj(struct task *t, struct strbuf *out)
{
	strbuf_add(out, "%d\n", t->process ? t->process->oom_score_adj : 0);
	return 0;
}

static int set_oom_score_adj(struct task *t, char *text, size_t len)
{
	s64 v;
	int err = str_to_s64(text, 10, &v);

	if (err || v < -1000 || v > 1000 || !t->process)
		return -EINVAL;
	if (v < t->process->oom_score_adj && !capable(CAP_SYS_RESOURCE))
		return -EACCES;
	t->process->oom_score_adj = v;
	return 0;
}

static int show_core_filter(struct task *t, struct strbuf *out)
{
	struct mm *mm = mm_of_task(t);

	if (mm) {
		strbuf_add(out, "%08x\n", READ_ONCE(mm->core_filter));
		mm_put(mm);
	}
	return 0;
}

/* Bits that mean nothing are dropped, as on Linux. */
static int set_core_filter(struct task *t, char *text, size_t len)
{
	struct mm *mm;
	u64 v;
	int err = str_to_u64(str_trim(text), 0, &v);

	if (err || v > UINT32_MAX)
		return err ? err : -ERANGE;
	mm = mm_of_task(t);
	if (!mm)
		return -ESRCH;
	WRITE_ONCE(mm->core_filter, v & MM_CORE_ALL);
	mm_put(mm);
	return 0;
}

static int show_oom_score(struct task *t, struct strbuf *out)
{
	strbuf_add(out, "%llu\n", t->process ? (unsigned long long)oom_score(t->process) : 0);
	return 0;
}

static int show_cache_group(struct task *t, struct strbuf *out)
{
	resctrl_show_task(t, out);
	return 0;
}

static int show_cgroup(struct task *t, struct strbuf *out)
{
	struct tenant *tenant;

	rcu_read_lock();
	tenant = rcu_deref(t->tenant);
	tenant_get(tenant); /* held by t, which is counted */
	rcu_read_unlock();
	strbuf_add(out, "0::");
	cgroup_path(tenant, out);
	strbuf_add(out, "\n");
	tenant_put(tenant);
	return 0;
}

static int show_schedstat(struct task *t, struct strbuf *out)
{
	strbuf_add(out, "%llu %llu %llu\n", (unsigned long long)t->runtime_ns, (unsigned long long)t->run_delay_ns,
		   (unsigned long long)(t->voluntary_switches + t->preempted_switches));
	return 0;
}

/* ---- namespaces ------------------------------------------------------------------------------------------ */

static struct user_ns *user_ns_get_of(struct task *t)
{
	return container_of(ns_of_task(t, NS_USER), struct user_ns, ns);
}

static int show_map(struct task *t, bool group, struct strbuf *out)
{
	struct user_ns *u = user_ns_get_of(t);
	int err = user_ns_show_map(u, group, out);

	user_ns_put(u);
	return err;
}

static int set_map(struct task *t, bool group, char *text)
{
	struct user_ns *u = user_ns_get_of(t);
	int err = user_ns_set_map(u, group, text);

	user_ns_put(u);
	return err;
}

static int show_uid_map(struct task *t, struct strbuf *out)
{
	return show_map(t, false, out);
}

static int show_gid_map(struct task *t, struct strbuf *out)
{
	return show_map(t, true, out);
}

static int set_uid_map(struct task *t, char *text, size_t len)
{
	return set_map(t, false, text);
}

static int set_gid_map(struct task *t, char *text, size_t len)
{
	return set_map(t, true, text);
}

static int show_setgroups(struct task *t, struct strbuf *out)
{
	struct user_ns *u = user_ns_get_of(t);

	strbuf_add(out, "%s\n", u->deny_setgroups ? "deny" : "allow");
	user_ns_put(u);
	return 0;
}

static int set_setgroups(struct task *t, char *text, size_t len)
{
	struct user_ns *u = user_ns_get_of(t);
	bool allow;
	int err;

	text = str_trim(text);
	allow = !strcmp(text, "allow");
	err = allow || !strcmp(text, "deny") ? user_ns_set_setgroups(u, allow) : -EINVAL;
	user_ns_put(u);
	return err;
}

/* ---- links ---------------------------------------------------------------------------------------------- */

static int follow_cwd(struct task *t, struct path *out)
{
	return process_may_look(t) ? fs_path_of_task(t, false, out) : -EACCES;
}

static int follow_root(struct task *t, struct path *out)
{
	return process_may_look(t) ? fs_path_of_task(t, true, out) : -EACCES;
}

static int follow_exe(struct task *t, struct path *out)
{
	bool may = process_may_look(t);
	struct mm *mm = may ? mm_of_task(t) : NULL;
	struct file *f = mm ? mm->exe_file : NULL;

	if (f) {
		*out = f->path;
		path_get(out);
	}
	if (mm)
		mm_put(mm);
	return f ? 0 : may ? -ENOENT : -EACCES;
}

const struct task_file proc_task_files[] = {
	{ .name = "auxv", .mode = S_IFREG | 0400, .show = proc_show_auxv },
	{ .name = "cgroup", .mode = S_IFREG | 0444, .show = show_cgroup },
	{ .name = "cpu_resctrl_groups", .mode = S_IFREG | 0444, .show = show_cache_group },
	{ .name = "cmdline", .mode = S_IFREG | 0444, .show = show_cmdline },
	{ .name = "comm", .mode = S_IFREG | 0644, .show = show_comm, .set = set_comm },
	{ .name = "coredump_filter", .mode = S_IFREG | 0644, .show = show_core_filter, .set = set_core_filter },
	{ .name = "cwd", .mode = S_IFLNK | 0777, .follow = follow_cwd },
	{ .name = "environ", .mode = S_IFREG | 0400, .show = show_environ },
	{ .name = "exe", .mode = S_IFLNK | 0777, .follow = follow_exe },
	{ .name = "gid_map", .mode = S_IFREG | 0644, .show = show_gid_map, .set = set_gid_map },
	{ .name = "limits", .mode = S_IFREG | 0444, .show = show_limits },
	{ .name = "maps", .mode = S_IFREG | 0444, .show = show_maps },
	{ .name = "mem", .mode = S_IFREG | 0600, .ops = &proc_mem_ops },
	{ .name = "mountinfo", .mode = S_IFREG | 0444, .show = show_mountinfo, .mounts = true },
	{ .name = "mounts", .mode = S_IFREG | 0444, .show = show_mounts, .mounts = true },
	{ .name = "numa_maps", .mode = S_IFREG | 0444, .show = proc_show_numa_maps },
	{ .name = "oom_score", .mode = S_IFREG | 0444, .show = show_oom_score },
	{ .name = "oom_score_adj", .mode = S_IFREG | 0644, .show = show_oom_score_adj, .set = set_oom_score_adj },
	{ .name = "pagemap", .mode = S_IFREG | 0400, .ops = &proc_pagemap_ops },
	{ .name = "root", .mode = S_IFLNK | 0777, .follow = follow_root },
	{ .name = "schedstat", .mode = S_IFREG | 0444, .show = show_schedstat },
	{ .name = "setgroups", .mode = S_IFREG | 0644, .show = show_setgroups, .set = set_setgroups },
	{ .name = "smaps", .mode = S_IFREG | 0444, .show = proc_show_smaps },
	{ .name = "smaps_rollup", .mode = S_IFREG | 0444, .show = proc_show_smaps_rollup },
	{ .name = "stat", .mode = S_IFREG | 0444, .show = show_stat },
	{ .name = "statm", .mode = S_IFREG | 0444, .show = show_statm },
	{ .name = "status", .mode = S_IFREG | 0444, .show = show_status },
	{ .name = "uid_map", .mode = S_IFREG | 0644, .show = show_uid_map, .set = set_uid_map },
	{ .name = NULL },
};
