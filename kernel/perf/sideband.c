/* SPDX-License-Identifier: MIT
 *
 * Problem: samples name addresses and numbers; whoever reads them later must know which program, thread and file those
 * meant at the time.
 *
 * Idea: beside samples, records of what changes names: fork, exit, exec, renaming, new mappings, cgroups, switches.
 * They go to the events that are active on this CPU (its own and the current task's) and ask for them.
 *
 * Contract: PERF_RECORD_* of linux/perf_event.h. After exec: COMM, then one MMAP for each mapping of the new program.
 *
 * Locks: IRQs off while a CPU's list is walked; the mm's lock, for reading, while its VMAs are described.
 */
#include "perf_priv.h"
#include <alloc/slab.h>
#include <arch/cpu.h>
#include <lib/string.h>
#include <linux/mman.h>
#include <mm/mm.h>
#include <process/process.h>
#include <vfs/device.h>

#define MAP_GENERATION 0

bool perf_wants_sideband(const struct perf_event_attr *a)
{
	return a->mmap || a->mmap_data || a->mmap2 || a->comm || a->task || a->context_switch || a->cgroup;
}

static u32 process_number(const struct task *t)
{
	return t->process ? (u32)pid_nr_global(t->process->pid) : (u32)t->tid;
}

/* ---- switches ------------------------------------------------------------------------------------------------- */

void sideband_switch(struct perf_event *e, struct task *other, bool out, bool preempted)
{
	u16 misc = out ? PERF_RECORD_MISC_SWITCH_OUT : 0;
	bool wide = e->ctx && !e->ctx->task;
	u32 ids[2] = { process_number(other), (u32)other->tid };
	struct perf_record r;

	if (out && preempted)
		misc |= PERF_RECORD_MISC_SWITCH_OUT_PREEMPT;
	if (!perf_record_begin(&r, e, wide ? PERF_RECORD_SWITCH_CPU_WIDE : PERF_RECORD_SWITCH, misc, wide ? 8 : 0))
		return;
	if (wide)
		perf_ring_put(&r.w, ids, sizeof(ids));
	perf_record_end(&r);
}

/* ---- fork and exit --------------------------------------------------------------------------------------------- */

static bool wants_task(const struct perf_event_attr *a)
{
	return a->comm || a->mmap || a->mmap2 || a->mmap_data || a->task;
}

static void tell_task(u32 type, struct task *t, struct task *parent)
{
	struct perf_cpu *c = this_cpu_ptr(&perf_cpu);
	struct perf_event *e;

	list_for_each_entry (e, &c->sideband, side_link) {
		struct {
			u32 pid, ppid, tid, ptid;
			u64 time;
		} body = { process_number(t), process_number(parent), (u32)t->tid, (u32)parent->tid, perf_time(e) };
		struct perf_record r;

		if (!wants_task(&e->attr) || !perf_record_begin(&r, e, type, 0, sizeof(body)))
			continue;
		perf_ring_put(&r.w, &body, sizeof(body));
		perf_record_end(&r);
	}
}

int perf_hook_fork(struct task *child)
{
	return perf_inherit(child);
}

void perf_hook_fork_failed(struct task *child)
{
	perf_drop_task(child);
}

void perf_hook_forked(struct task *child)
{
	ulong irq = irq_save();

	tell_task(PERF_RECORD_FORK, child, current);
	irq_restore(irq);
}

void perf_hook_exit(void)
{
	struct process *p = current->process ? current->process->parent : NULL;
	ulong irq = irq_save();
	struct task *parent = p && p->leader ? p->leader : current;

	tell_task(PERF_RECORD_EXIT, current, parent);
	irq_restore(irq);
	if (current->perf)
		perf_drop_task(current);
}

/* ---- names ------------------------------------------------------------------------------------------------------- */

static void tell_comm(struct task *t, bool by_exec)
{
	struct perf_cpu *c = this_cpu_ptr(&perf_cpu);
	u32 ids[2] = { process_number(t), (u32)t->tid };
	char name[16] = { 0 };
	u32 bytes;
	struct perf_event *e;

	str_copy(name, t->comm, sizeof(name));
	bytes = ALIGN_UP((u32)strlen(name) + 1, 8U);
	list_for_each_entry (e, &c->sideband, side_link) {
		u16 misc = by_exec && e->attr.comm_exec ? PERF_RECORD_MISC_COMM_EXEC : 0;
		struct perf_record r;

		if (!e->attr.comm || !perf_record_begin(&r, e, PERF_RECORD_COMM, misc, sizeof(ids) + bytes))
			continue;
		perf_ring_put(&r.w, ids, sizeof(ids));
		perf_ring_put(&r.w, name, bytes);
		perf_record_end(&r);
	}
}

void perf_hook_renamed(struct task *t)
{
	ulong irq = irq_save();

	tell_comm(t, false);
	irq_restore(irq);
}

void perf_hook_tenant(u64 id, const char *path)
{
	u32 bytes = (u32)strlen(path) + 1;
	static const u8 zeros[8];
	struct perf_event *e;
	ulong irq = irq_save();

	list_for_each_entry (e, &this_cpu_ptr(&perf_cpu)->sideband, side_link) {
		struct perf_record r;

		if (!e->attr.cgroup ||
		    !perf_record_begin(&r, e, PERF_RECORD_CGROUP, 0, sizeof(id) + ALIGN_UP(bytes, 8U)))
			continue;
		perf_ring_put(&r.w, &id, sizeof(id));
		perf_ring_put(&r.w, path, bytes);
		perf_ring_put(&r.w, zeros, ALIGN_UP(bytes, 8U) - bytes);
		perf_record_end(&r);
	}
	irq_restore(irq);
}

/* ---- mappings ------------------------------------------------------------------------------------------------------
 */

struct mapping_record {
	struct {
		u32 pid, tid;
		u64 addr, len, offset;
	} head;
	struct {
		u32 major, minor;
		u64 ino, generation;
		u32 prot, flags;
	} file;
	bool exec;
	u32 name_bytes;
	struct mapping_name name;
};

static void name_vma(const struct vma *v, struct mapping_record *m)
{
	const struct mm *mm = v->mm;

	m->name.dev = m->name.ino = 0;
	m->name.path[0] = '\0';
	if (v->mapping && v->mapping->ops->describe)
		v->mapping->ops->describe(v->mapping, &m->name);
	if (m->name.path[0])
		; /* a file's, or what its mapping calls itself */
	else if (v->name)
		str_copy(m->name.path, v->name, sizeof(m->name.path));
	else if (v->start <= mm->brk && v->end > mm->brk_start)
		str_copy(m->name.path, "[heap]", sizeof(m->name.path));
	else if (v->flags & VMA_GROWSDOWN)
		str_copy(m->name.path, "[stack]", sizeof(m->name.path));
	else
		str_copy(m->name.path, "//anon", sizeof(m->name.path));
	m->name_bytes = ALIGN_UP((u32)strlen(m->name.path) + 1, 8U);
	memset(m->name.path + strlen(m->name.path), 0, m->name_bytes - strlen(m->name.path));
}

static void describe(const struct vma *v, struct mapping_record *m)
{
	name_vma(v, m);
	m->exec = v->flags & VMA_EXEC;
	m->head.pid = process_number(current);
	m->head.tid = (u32)current->tid;
	m->head.addr = v->start;
	m->head.len = v->end - v->start;
	m->head.offset = (v->mapping ? v->index : v->start >> PAGE_SHIFT) << PAGE_SHIFT;
	m->file.major = DEV_MAJOR((u32)m->name.dev);
	m->file.minor = DEV_MINOR((u32)m->name.dev);
	m->file.ino = m->name.ino;
	m->file.generation = MAP_GENERATION;
	m->file.prot = v->flags & (VMA_READ | VMA_WRITE | VMA_EXEC);
	m->file.flags = v->flags & VMA_SHARED ? MAP_SHARED : MAP_PRIVATE;
}

static bool wants_mapping(const struct perf_event_attr *a, bool exec)
{
	return exec ? a->mmap || a->mmap2 : a->mmap_data;
}

static void tell_mapping(const struct mapping_record *m)
{
	struct perf_cpu *c = this_cpu_ptr(&perf_cpu);
	u16 misc = PERF_RECORD_MISC_USER | (m->exec ? 0 : PERF_RECORD_MISC_MMAP_DATA);
	struct perf_event *e;

	list_for_each_entry (e, &c->sideband, side_link) {
		u32 extra = e->attr.mmap2 ? sizeof(m->file) : 0;
		struct perf_record r;

		if (!wants_mapping(&e->attr, m->exec) ||
		    !perf_record_begin(&r, e, extra ? PERF_RECORD_MMAP2 : PERF_RECORD_MMAP, misc,
				       sizeof(m->head) + extra + m->name_bytes))
			continue;
		perf_ring_put(&r.w, &m->head, sizeof(m->head));
		if (extra)
			perf_ring_put(&r.w, &m->file, extra);
		perf_ring_put(&r.w, m->name.path, m->name_bytes);
		perf_record_end(&r);
	}
}

static bool anybody_listens(void)
{
	bool yes;
	ulong irq = irq_save();

	yes = !list_empty(&this_cpu_ptr(&perf_cpu)->sideband);
	irq_restore(irq);
	return yes;
}

static void tell_vma(const struct vma *v, struct mapping_record *m)
{
	ulong irq;

	describe(v, m);
	irq = irq_save();
	tell_mapping(m);
	irq_restore(irq);
}

void perf_hook_mapped(struct mm *mm, ulong addr)
{
	struct mapping_record *m;
	struct vma *v;

	if (mm != current->mm || !anybody_listens())
		return;
	m = kmalloc(sizeof(*m), ALLOC_KERNEL);
	if (!m)
		return;
	read_lock(&mm->lock);
	v = mm_find_vma(mm, addr);
	if (v && v->start <= addr)
		tell_vma(v, m);
	read_unlock(&mm->lock);
	kfree(m);
}

/* ---- exec -------------------------------------------------------------------------------------------------------- */

static void enable_all(struct perf_context *ctx, void *arg)
{
	struct perf_event *e;

	list_for_each_entry (e, &ctx->events, ctx_link)
		if (e->attr.enable_on_exec) {
			e->attr.enable_on_exec = 0;
			event_enable_locked(ctx, e);
		}
}

static void remove_on_exec(struct perf_context *ctx)
{
	struct perf_event *e, *n;

	list_for_each_entry_safe (e, n, &ctx->events, ctx_link)
		if (e->attr.remove_on_exec)
			event_disable(e);
}

static void tell_program(struct mm *mm)
{
	struct mapping_record *m = kmalloc(sizeof(*m), ALLOC_KERNEL);

	if (!m)
		return;
	read_lock(&mm->lock);
	for (struct vma *v = mm_find_vma(mm, 0); v; v = mm_next_vma(v))
		tell_vma(v, m);
	read_unlock(&mm->lock);
	kfree(m);
}

void perf_hook_exec(void)
{
	ulong irq;

	mutex_lock(&perf_lock);
	if (current->perf) {
		context_call(current->perf, enable_all, NULL);
		remove_on_exec(current->perf);
	}
	mutex_unlock(&perf_lock);
	if (!anybody_listens())
		return;
	irq = irq_save();
	tell_comm(current, true);
	irq_restore(irq);
	tell_program(current->mm);
}
