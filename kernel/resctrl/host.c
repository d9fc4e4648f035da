/* SPDX-License-Identifier: MIT
 *
 * Problem: the groups are about tasks and CPUs, and a change must hold at once, also for a task that runs right now.
 *
 * Idea: a task carries its group's number (task->cache_group), children inherit it while the process list is locked, so
 * that "all tasks of a group" is exact under that lock. With CAT, the context switch asks for the class of the next
 * task and writes the association register if it differs; a change makes every CPU ask again. With page colours
 * nothing happens at a switch: the page allocator asks for the class when it hands out a page.
 *
 * Contract: struct resctrl_host_ops and struct cat_machine_ops. Rights to move a task: root, or the task's real or
 * saved user, as on Linux.
 *
 * Locks: resctrl_lock is held by callers of the ops; process_list_lock around moving all tasks. The switch hook runs
 * with IRQs off and takes none.
 */
#include <arch/boot.h>
#include <arch/cpu.h>
#include <arch/rdt.h>
#include <core/init.h>
#include <core/log.h>
#include <lib/err.h>
#include <lib/string.h>
#include <process/process.h>
#include <resctrl/task.h>
#include <task/sched.h>
#include <task/work.h>
#include "kernel.h"

struct resctrl *resctrl_machine;
struct mutex resctrl_lock = MUTEX_INIT(resctrl_lock, RANK_RESCTRL);
struct resctrl_backend *resctrl_backend;
static struct cat *cat; /* NULL: colours */

/* ---- CAT's registers --------------------------------------------------------------------------------------- */

static void do_cpuid(void *ctx, u32 leaf, u32 sub, struct cat_cpuid *out)
{
	u32 r[4];

	cpu_cpuid(leaf, sub, r);
	*out = (struct cat_cpuid){ r[0], r[1], r[2], r[3] };
}

static int do_wrmsr(void *ctx, unsigned cpu, u32 msr, u64 value)
{
	return cpu_msr_write(cpu, msr, value);
}

static int do_rdmsr(void *ctx, unsigned cpu, u32 msr, u64 *value)
{
	return cpu_msr_read(cpu, msr, value);
}

static void do_wrmsr_here(void *ctx, u32 msr, u64 value)
{
	cpu_msr_write_here(msr, value);
}

static const struct cat_machine_ops machine_ops = {
	.cpuid = do_cpuid, .wrmsr_on = do_wrmsr, .rdmsr_on = do_rdmsr, .wrmsr_here = do_wrmsr_here
};

static void on_switch(const struct task *next)
{
	unsigned cpu = cpu_id();

	cat_switch(cat, cpu, resctrl_label_of(resctrl_machine, cpu, READ_ONCE(next->cache_group)));
}

static void ask_again(void *unused)
{
	on_switch(current);
}

/* ---- counters of traffic, which would wrap unseen ---------------------------------------------------------- */

#define TICK_NS NSEC_PER_SEC

static struct delayed_work ticker;
static bool in_use, ticking; /* resctrl_lock */

static bool counts_traffic(void)
{
	return resctrl_backend->mon.events >> RESCTRL_MBM_TOTAL;
}

/* Ends by itself, at most a second after the last user has gone. */
static void tick(struct work *w)
{
	mutex_lock(&resctrl_lock);
	ticking = in_use;
	if (ticking) {
		resctrl_monitor_tick(resctrl_machine);
		delayed_work_queue(&ticker, TICK_NS);
	}
	mutex_unlock(&resctrl_lock);
}

void host_begin(void)
{
	in_use = true;
	if (!cat)
		return;
	static_key_inc(&sched_cache_key);
	if (!ticking && counts_traffic())
		delayed_work_queue(&ticker, TICK_NS);
	ticking = counts_traffic();
}

void host_end(void)
{
	in_use = false;
	if (!cat)
		return;
	static_key_dec(&sched_cache_key);
	cpu_call(cpu_online_mask(), ask_again, NULL);
}

/* ---- tasks ------------------------------------------------------------------------------------------------- */

static void refresh(void *ctx, u16 group, u64 cpus)
{
	if (cat)
		cpu_call(cpu_online_mask(), ask_again, NULL);
	else
		place_again();
}

void host_tasks_changed(u16 group)
{
	refresh(NULL, group, 0);
}

static bool may_move(struct task *t)
{
	const struct cred *me = current->cred, *its;
	bool ok;

	rcu_read_lock();
	its = rcu_deref(t->cred);
	ok = !me->euid.v || uid_eq(me->euid, its->uid) || uid_eq(me->euid, its->suid);
	rcu_read_unlock();
	return ok;
}

static int task_move(void *ctx, s32 tid, u16 group, u16 within)
{
	struct task *t = tid ? task_find_get(tid) : current;
	int err = 0;

	if (!t)
		return -ESRCH;
	if (!tid)
		task_get(t);
	if (!may_move(t))
		err = -EPERM;
	else if (within != RESCTRL_ANY && !resctrl_lists(resctrl_machine, within, t->cache_group))
		err = -EXDEV;
	else
		WRITE_ONCE(t->cache_group, group);
	task_put(t);
	if (!err)
		refresh(ctx, group, 0);
	return err;
}

static void tasks_move_all(void *ctx, u16 from, u16 to)
{
	ulong irq = process_list_begin();
	struct task *t;

	for (int nr = 1; (t = task_next(&nr, true)); nr++) {
		if (t->cache_group == from)
			WRITE_ONCE(t->cache_group, to);
		task_put(t);
	}
	process_list_end(irq);
}

static bool task_of_group(void *ctx, u16 group, s32 *tid)
{
	struct task *t;

	for (int nr = *tid + 1; (t = task_next(&nr, false)); nr++) {
		bool found = resctrl_lists(resctrl_machine, group, t->cache_group) && !(t->flags & TASK_F_EXITING);

		task_put(t);
		if (found) {
			*tid = nr;
			return true;
		}
	}
	return false;
}

void resctrl_show_task(const struct task *t, struct strbuf *out)
{
	if (!resctrl_machine) {
		strbuf_add(out, "res:\nmon:\n");
		return;
	}
	mutex_lock(&resctrl_lock);
	resctrl_show_group(resctrl_machine, READ_ONCE(t->cache_group), out);
	mutex_unlock(&resctrl_lock);
}

static const struct resctrl_host_ops host_ops = {
	.task_move = task_move, .tasks_move_all = tasks_move_all, .task_next = task_of_group, .refresh = refresh
};

unsigned host_class_of_group(u16 group)
{
	return resctrl_class_of(resctrl_machine, 0, group);
}

/* ---- boot -------------------------------------------------------------------------------------------------- */

static void describe_cpu(unsigned cpu, struct cat_cpu *out)
{
	struct cpu_cache c;

	*out = (struct cat_cpu){ 0 };
	for (unsigned n = 0; cpu_cache(cpu, n, &c); n++) {
		if (c.level == 3) {
			out->l3_id = c.id;
			out->l3_bytes = c.bytes;
		} else if (c.level == 2) {
			out->l2_id = c.id;
			out->l2_bytes = c.bytes;
		}
	}
}

static int find_cat(struct resctrl_backend **out)
{
	u32 id[4], version[4];
	bool amd, haswell;
	unsigned cpu;
	int err;

	cpu_cpuid(0, 0, id);
	cpu_cpuid(1, 0, version);
	amd = !memcmp(&id[1], "Auth", 4);
	haswell = !memcmp(&id[1], "Genu", 4) && (version[0] & 0xfff0ff0) == 0x306f0 && !cpu_has(CPU_HYPERVISOR);
	err = cat_create(&machine_ops, NULL, amd ? CAT_AMD : CAT_INTEL, haswell, cpu_id(), &cat);
	if (err) {
		cat = NULL;
		return err;
	}
	for_each_cpu (cpu, cpu_online_mask()) {
		struct cat_cpu info;

		describe_cpu(cpu, &info);
		err = err ? err : cat_cpu_online(cat, cpu, &info);
	}
	if (err) {
		cat_destroy(cat);
		cat = NULL;
		return err;
	}
	*out = cat_backend(cat);
	sched_cache_hook = on_switch;
	return 0;
}

/* Clients look for these words in /proc/cpuinfo before they mount. */
static void tell_flags(const struct resctrl_backend *be)
{
	static const char *const word[RESCTRL_NR] = { "cat_l3", "cat_l2", "mba" };
	static const char *const counted[] = { "", "cqm_occup_llc", "cqm_mbm_total", "cqm_mbm_local" };

	for (int id = 0; id < RESCTRL_NR; id++)
		if (be->res[id].present)
			cpu_flag_add(word[id]);
	if (be->res[RESCTRL_L3].cdp_capable)
		cpu_flag_add("cdp_l3");
	if (be->res[RESCTRL_L2].cdp_capable)
		cpu_flag_add("cdp_l2");
	if (be->mon.events)
		cpu_flag_add("cqm_llc");
	for (int e = RESCTRL_OCCUPANCY; e < RESCTRL_EVENTS; e++)
		if (be->mon.events >> e & 1)
			cpu_flag_add(counted[e]);
}

/* resctrl=off|cat|colour on the command line; the default is what the processor has, else colours. */
static void resctrl_init(void)
{
	struct resctrl_backend *be = NULL;
	char want[8] = "";
	int err = -ENODEV;

	(void)boot_param("resctrl", want, sizeof(want));
	if (!strcmp(want, "off"))
		return;
	if (strcmp(want, "colour"))
		err = find_cat(&be);
	if (err && strcmp(want, "cat"))
		err = place_create(&be);
	delayed_work_init(&ticker, tick);
	resctrl_backend = be;
	if (!err)
		err = resctrl_create(be, &host_ops, NULL, cpu_count(), cpu_online_mask(), &resctrl_machine);
	if (!err)
		err = resctrl_fs_init();
	if (!err)
		tell_flags(be);
	else if (err != -ENODEV)
		log_warn("resctrl: not available: %d", err);
}
PART_INIT(driver, resctrl_init);
