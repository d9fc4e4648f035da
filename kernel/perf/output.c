/* SPDX-License-Identifier: MIT
 *
 * Problem: a sample is a record whose fields depend on two bit masks, whose parts (call chain, stack, raw data) have
 * lengths known only when it happens, and it is written with interrupts off on paths as hot as a context switch.
 *
 * Idea: three passes. Gather what is asked for into one struct on the stack (the call chain goes to the CPU's own
 * array), add up the length, reserve it in the ring, copy piece by piece. Other records get their trailing ids the
 * same way. Wake-ups of readers go through a deferred job, since the run queue may be locked here.
 *
 * Contract: perf_priv.h. Order of the fields: perf_event_open(2), "MMAP layout"; linux/perf_event.h.
 *
 * Locks: ring->lock (RANK_PERF_RING), IRQs off throughout.
 */
#include "perf_priv.h"
#include <arch/cpu.h>
#include <arch/mmu.h>
#include <arch/thread.h>
#include <arch/user.h>
#include <asm/perf_regs.h>
#include <cgroup/cgroup.h>
#include <core/clock.h>
#include <lib/err.h>
#include <lib/string.h>
#include <linux/eventpoll.h>
#include <linux/time.h>
#include <perf/output.h>
#include <process/process.h>
#include <vfs/vfs.h>

#define DATA_UNKNOWN                                                                                                   \
	(PERF_MEM_S(OP, NA) | PERF_MEM_S(LVL, NA) | PERF_MEM_S(SNOOP, NA) | PERF_MEM_S(LOCK, NA) | PERF_MEM_S(TLB, NA))
#define CHUNK 256

static struct perf_event *owner_of(struct perf_event *e)
{
	return e->parent ? e->parent : e;
}

u64 perf_time(const struct perf_event *e)
{
	if (!e->attr.use_clockid)
		return clock_ns();
	return e->attr.clockid == CLOCK_REALTIME || e->attr.clockid == CLOCK_TAI ? clock_real_ns() : clock_ns();
}

/* ---- ids: the same fields lead a sample and trail other records --------------------------------------------- */

struct ids {
	u32 pid, tid;
	u64 time, id, stream;
	u32 cpu, reserved;
};

static void fill_ids(struct ids *i, struct perf_event *e)
{
	struct task *t = current;

	i->tid = (u32)t->tid;
	i->pid = t->process ? (u32)pid_nr_global(t->process->pid) : i->tid;
	i->time = perf_time(e);
	i->id = owner_of(e)->id;
	i->stream = e->id;
	i->cpu = cpu_id();
	i->reserved = 0;
}

static void put(struct perf_ring_write *w, const void *data, u32 n)
{
	perf_ring_put(w, data, n);
}

static void put_trailer(struct perf_ring_write *w, const struct perf_event *e, const struct ids *i)
{
	u64 t = e->attr.sample_type;

	if (!e->attr.sample_id_all)
		return;
	if (t & PERF_SAMPLE_TID)
		put(w, &i->pid, 8);
	if (t & PERF_SAMPLE_TIME)
		put(w, &i->time, 8);
	if (t & PERF_SAMPLE_ID)
		put(w, &i->id, 8);
	if (t & PERF_SAMPLE_STREAM_ID)
		put(w, &i->stream, 8);
	if (t & PERF_SAMPLE_CPU)
		put(w, &i->cpu, 8);
	if (t & PERF_SAMPLE_IDENTIFIER)
		put(w, &i->id, 8);
}

/* ---- the ring -------------------------------------------------------------------------------------------- */

static void put_lost(struct perf_ring_write *w, struct perf_event *e, u64 lost)
{
	struct {
		struct perf_event_header h;
		u64 id, lost;
	} r = { { PERF_RECORD_LOST, 0, (u16)(sizeof(r) + perf_attr_id_bytes(&e->attr)) }, owner_of(e)->id, lost };
	struct ids ids;

	fill_ids(&ids, e);
	put(w, &r, sizeof(r));
	put_trailer(w, e, &ids);
}

/* The ring of e with room for `bytes`, locked; false: none, or no room. IRQs off. */
static bool ring_begin(struct perf_record *r, struct perf_event *e, u32 bytes)
{
	struct perf_event *owner = owner_of(e);
	struct perf_ring *ring = rcu_deref(owner->ring);

	if (!ring)
		return false;
	*r = (struct perf_record){ .ring = ring, .event = e };
	spin_lock(&ring->lock);
	if (!perf_ring_begin(&ring->data, bytes, 24 + perf_attr_id_bytes(&e->attr), &r->w)) {
		owner->lost++;
		spin_unlock(&ring->lock);
		return false;
	}
	if (r->w.lost)
		put_lost(&r->w, e, r->w.lost);
	return true;
}

static void ring_end(struct perf_record *r, bool sample)
{
	struct perf_event *owner = owner_of(r->event);
	bool wake = perf_ring_end(&r->w);

	if (sample && !owner->attr.watermark && owner->attr.wakeup_events &&
	    ++owner->wake_count >= owner->attr.wakeup_events) {
		owner->wake_count = 0;
		wake = true;
	}
	spin_unlock(&r->ring->lock);
	if (wake)
		perf_wake(owner, r->ring);
}

void perf_wake(struct perf_event *e, struct perf_ring *ring)
{
	__atomic_store_n(&ring->ready, EPOLLIN | EPOLLRDNORM, __ATOMIC_SEQ_CST);
	if (__atomic_exchange_n(&ring->waking, true, __ATOMIC_SEQ_CST))
		return;
	ring_get(ring); /* the job drops it */
	deferred_queue(&ring->wake);
}

bool perf_record_begin(struct perf_record *r, struct perf_event *e, u32 type, u16 misc, u32 body_bytes)
{
	struct perf_event_header h = { type, misc, (u16)(sizeof(h) + body_bytes + perf_attr_id_bytes(&e->attr)) };

	if (!ring_begin(r, e, h.size))
		return false;
	put(&r->w, &h, sizeof(h));
	return true;
}

void perf_record_end(struct perf_record *r)
{
	struct ids ids;

	fill_ids(&ids, r->event);
	put_trailer(&r->w, r->event, &ids);
	ring_end(r, false);
}

/* ---- samples --------------------------------------------------------------------------------------------- */

struct gathered {
	const struct perf_sample *s;
	struct ids ids;
	const u64 *chain;
	u32 chain_bytes, read_bytes, regs_user_bytes, regs_intr_bytes, stack_bytes, raw_bytes;
	const struct regs *user;
	u64 stack_at;
};

static u64 register_value(const struct regs *r, unsigned n)
{
	switch (n) {
	case PERF_REG_X86_AX: return r->ax;
	case PERF_REG_X86_BX: return r->bx;
	case PERF_REG_X86_CX: return r->cx;
	case PERF_REG_X86_DX: return r->dx;
	case PERF_REG_X86_SI: return r->si;
	case PERF_REG_X86_DI: return r->di;
	case PERF_REG_X86_BP: return r->bp;
	case PERF_REG_X86_SP: return r->sp;
	case PERF_REG_X86_IP: return r->ip;
	case PERF_REG_X86_FLAGS: return r->flags;
	case PERF_REG_X86_CS: return r->cs;
	case PERF_REG_X86_SS: return r->ss;
	case PERF_REG_X86_R8: return r->r8;
	case PERF_REG_X86_R9: return r->r9;
	case PERF_REG_X86_R10: return r->r10;
	case PERF_REG_X86_R11: return r->r11;
	case PERF_REG_X86_R12: return r->r12;
	case PERF_REG_X86_R13: return r->r13;
	case PERF_REG_X86_R14: return r->r14;
	case PERF_REG_X86_R15: return r->r15;
	default: return 0;
	}
}

static u32 regs_bytes(const struct regs *r, u64 mask)
{
	return 8 + (r ? 8 * (u32)__builtin_popcountll(mask) : 0);
}

static void put_regs(struct perf_ring_write *w, const struct regs *r, u64 mask)
{
	u64 abi = r ? PERF_SAMPLE_REGS_ABI_64 : PERF_SAMPLE_REGS_ABI_NONE;

	put(w, &abi, 8);
	for (unsigned n = 0; r && n < PERF_REG_X86_64_MAX; n++)
		if (mask & (1ULL << n)) {
			u64 v = register_value(r, n);

			put(w, &v, 8);
		}
}

/* What can be taken of the user stack: up to 64 KiB of record in all, and not above the stack's mapping. */
static void gather_stack(struct gathered *g, const struct perf_event *e, u32 so_far)
{
	u32 room = so_far + 16 < 65528 ? 65528 - 16 - so_far : 0;

	g->stack_bytes = 0;
	if (!g->user)
		return;
	g->stack_at = g->user->sp;
	g->stack_bytes = min(e->attr.sample_stack_user, room) & ~7U;
	if (g->stack_at >= USER_END)
		g->stack_bytes = 0;
	else
		g->stack_bytes = (u32)min((u64)g->stack_bytes, (USER_END - g->stack_at) & ~7ULL);
}

static void put_stack(struct perf_ring_write *w, const struct gathered *g)
{
	u64 size = g->stack_bytes, copied = 0;
	char chunk[CHUNK];
	bool more = true;

	put(w, &size, 8);
	if (!size)
		return;
	for (u64 at = 0; at < size; at += CHUNK) {
		u32 n = (u32)min((u64)CHUNK, size - at);
		size_t missing = n;

		if (more)
			missing = user_copy_in_nofault(chunk, (const void __user *)(g->stack_at + at), n);
		memset(chunk + (n - missing), 0, missing);
		put(w, chunk, n);
		copied += more ? n - missing : 0;
		more = more && !missing;
	}
	put(w, &copied, 8);
}

static u32 gather(struct gathered *g, struct perf_event *e, const struct perf_sample *s)
{
	u64 t = e->attr.sample_type;
	/* One word each: ip, tid, time, addr, id, cpu, period, stream, weight, data_src, identifier, transaction,
	 * phys_addr, data and code page size, weight struct, cgroup. */
	const u64 words = PERF_SAMPLE_IP | PERF_SAMPLE_TID | PERF_SAMPLE_TIME | PERF_SAMPLE_ADDR | PERF_SAMPLE_ID |
			  PERF_SAMPLE_CPU | PERF_SAMPLE_PERIOD | PERF_SAMPLE_STREAM_ID | PERF_SAMPLE_WEIGHT |
			  PERF_SAMPLE_DATA_SRC | PERF_SAMPLE_IDENTIFIER | PERF_SAMPLE_TRANSACTION |
			  PERF_SAMPLE_PHYS_ADDR | PERF_SAMPLE_DATA_PAGE_SIZE | PERF_SAMPLE_CODE_PAGE_SIZE |
			  PERF_SAMPLE_WEIGHT_STRUCT | PERF_SAMPLE_CGROUP;
	u32 bytes = sizeof(struct perf_event_header) + 8 * (u32)__builtin_popcountll(t & words);

	*g = (struct gathered){ .s = s };
	fill_ids(&g->ids, e);
	if (t & PERF_SAMPLE_READ)
		bytes += g->read_bytes = perf_attr_read_bytes(&e->attr, 1 + e->leader->nr_siblings);
	if (t & PERF_SAMPLE_CALLCHAIN) {
		u64 *chain = this_cpu_ptr(&perf_cpu)->chain;

		g->chain = chain;
		chain[0] = perf_callchain(e, s->regs, chain + 1, ARRAY_SIZE(this_cpu_ptr(&perf_cpu)->chain) - 1);
		bytes += g->chain_bytes = 8 * (u32)(1 + chain[0]);
	}
	if (t & PERF_SAMPLE_RAW)
		bytes += g->raw_bytes = ALIGN_UP(4 + s->raw_bytes, 8U);
	if (t & PERF_SAMPLE_BRANCH_STACK)
		bytes += 8 + (e->attr.branch_sample_type & PERF_SAMPLE_BRANCH_HW_INDEX ? 8 : 0);
	if (t & (PERF_SAMPLE_REGS_USER | PERF_SAMPLE_STACK_USER))
		g->user = perf_user_regs(s->regs);
	if (t & PERF_SAMPLE_REGS_USER)
		bytes += g->regs_user_bytes = regs_bytes(g->user, e->attr.sample_regs_user);
	if (t & PERF_SAMPLE_REGS_INTR)
		bytes += g->regs_intr_bytes = regs_bytes(s->regs, e->attr.sample_regs_intr);
	if (t & PERF_SAMPLE_AUX)
		bytes += 8;
	if (t & PERF_SAMPLE_STACK_USER) {
		gather_stack(g, e, bytes);
		bytes += 8 + (g->stack_bytes ? g->stack_bytes + 8 : 0);
	}
	return bytes;
}

static void put_one_value(struct perf_ring_write *w, struct perf_event *e, u64 format, bool times)
{
	struct event_values v;
	u64 out[5];
	u32 n = 0;

	event_values_here(e, &v);
	out[n++] = v.count;
	if (times && (format & PERF_FORMAT_TOTAL_TIME_ENABLED))
		out[n++] = v.enabled_ns;
	if (times && (format & PERF_FORMAT_TOTAL_TIME_RUNNING))
		out[n++] = v.running_ns;
	if (format & PERF_FORMAT_ID)
		out[n++] = owner_of(e)->id;
	if (format & PERF_FORMAT_LOST)
		out[n++] = owner_of(e)->lost;
	put(w, out, 8 * n);
}

/* The event's or its group's values, as read(2) gives them but without ended children. The group is active here. */
static void put_read(struct perf_ring_write *w, struct perf_event *e, u32 bytes)
{
	u64 f = e->attr.read_format;
	struct perf_event *leader = e->leader, *m;
	struct event_values v;
	u64 head[3];
	u32 n = 0;

	if (!(f & PERF_FORMAT_GROUP)) {
		put_one_value(w, e, f, true);
		return;
	}
	event_values_here(leader, &v);
	head[n++] = 1 + leader->nr_siblings;
	if (f & PERF_FORMAT_TOTAL_TIME_ENABLED)
		head[n++] = v.enabled_ns;
	if (f & PERF_FORMAT_TOTAL_TIME_RUNNING)
		head[n++] = v.running_ns;
	put(w, head, 8 * n);
	put_one_value(w, leader, f, false);
	list_for_each_entry (m, &leader->siblings, sibling_link)
		put_one_value(w, m, f, false);
}

static void put_raw(struct perf_ring_write *w, const struct gathered *g)
{
	u32 size = g->raw_bytes - 4;

	put(w, &size, 4);
	put(w, g->s->raw, g->s->raw_bytes);
	perf_ring_skip(w, size - g->s->raw_bytes);
}

static void put_word(struct perf_ring_write *w, bool wanted, u64 v)
{
	if (wanted)
		put(w, &v, 8);
}

static void put_first_half(struct perf_ring_write *w, struct perf_event *e, const struct gathered *g)
{
	u64 t = e->attr.sample_type;

	put_word(w, t & PERF_SAMPLE_IDENTIFIER, g->ids.id);
	put_word(w, t & PERF_SAMPLE_IP, g->s->regs->ip);
	if (t & PERF_SAMPLE_TID)
		put(w, &g->ids.pid, 8);
	put_word(w, t & PERF_SAMPLE_TIME, g->ids.time);
	put_word(w, t & PERF_SAMPLE_ADDR, g->s->addr);
	put_word(w, t & PERF_SAMPLE_ID, g->ids.id);
	put_word(w, t & PERF_SAMPLE_STREAM_ID, g->ids.stream);
	if (t & PERF_SAMPLE_CPU)
		put(w, &g->ids.cpu, 8);
	put_word(w, t & PERF_SAMPLE_PERIOD, g->s->period);
	if (t & PERF_SAMPLE_READ)
		put_read(w, e, g->read_bytes);
	if (t & PERF_SAMPLE_CALLCHAIN)
		put(w, g->chain, g->chain_bytes);
	if (t & PERF_SAMPLE_RAW)
		put_raw(w, g);
	if (t & PERF_SAMPLE_BRANCH_STACK)
		perf_ring_skip(w, 8 + (e->attr.branch_sample_type & PERF_SAMPLE_BRANCH_HW_INDEX ? 8 : 0));
}

static void put_pages(struct perf_ring_write *w, u64 t, const struct perf_sample *s)
{
	u64 phys = 0, code;
	size_t bytes = 0;

	if (t & (PERF_SAMPLE_PHYS_ADDR | PERF_SAMPLE_DATA_PAGE_SIZE))
		bytes = perf_translate(s->addr, &phys);
	put_word(w, t & PERF_SAMPLE_PHYS_ADDR, phys);
	if (t & PERF_SAMPLE_CGROUP)
		put_word(w, true, cgroup_id(current->tenant));
	put_word(w, t & PERF_SAMPLE_DATA_PAGE_SIZE, bytes);
	if (t & PERF_SAMPLE_CODE_PAGE_SIZE)
		put_word(w, true, perf_translate(s->regs->ip, &code));
}

static void put_second_half(struct perf_ring_write *w, struct perf_event *e, const struct gathered *g)
{
	u64 t = e->attr.sample_type;

	if (t & PERF_SAMPLE_REGS_USER)
		put_regs(w, g->user, e->attr.sample_regs_user);
	if (t & PERF_SAMPLE_STACK_USER)
		put_stack(w, g);
	put_word(w, t & (PERF_SAMPLE_WEIGHT | PERF_SAMPLE_WEIGHT_STRUCT), g->s->weight);
	put_word(w, t & PERF_SAMPLE_DATA_SRC, g->s->data_source ? g->s->data_source : DATA_UNKNOWN);
	put_word(w, t & PERF_SAMPLE_TRANSACTION, 0);
	if (t & PERF_SAMPLE_REGS_INTR)
		put_regs(w, g->s->regs, e->attr.sample_regs_intr);
	put_pages(w, t, g->s);
	put_word(w, t & PERF_SAMPLE_AUX, 0);
}

static void output(struct perf_event *e, const struct perf_sample *s)
{
	struct perf_event_header h = { .type = PERF_RECORD_SAMPLE };
	struct perf_record r;
	struct gathered g;

	if (!rcu_deref(owner_of(e)->ring))
		return;
	h.size = (u16)gather(&g, e, s);
	h.misc = regs_user(s->regs) ? PERF_RECORD_MISC_USER : PERF_RECORD_MISC_KERNEL;
	if (!ring_begin(&r, e, h.size))
		return;
	put(&r.w, &h, sizeof(h));
	put_first_half(&r.w, e, &g);
	put_second_half(&r.w, e, &g);
	ring_end(&r, true);
}

#define RAW_MOST 60000

int perf_send_raw(struct perf_event *e, const void *data, u32 bytes)
{
	struct perf_caller caller;
	struct perf_sample s = { .regs = PERF_CALLER_REGS(&caller), .raw = data, .raw_bytes = bytes };
	struct perf_cpu *c;
	int err = 0;
	ulong irq;

	if (e->attr.type != PERF_TYPE_SOFTWARE || e->attr.config != PERF_COUNT_SW_BPF_OUTPUT)
		return -EINVAL;
	if (bytes > RAW_MOST)
		return -E2BIG;
	irq = irq_save();
	c = this_cpu_ptr(&perf_cpu);
	if (READ_ONCE(e->state) != PERF_ACTIVE || e->on_cpu != cpu_id()) {
		err = -EOPNOTSUPP;
	} else if (c->busy) {
		err = -EBUSY;
	} else {
		c->busy = true;
		output(e, &s);
		c->busy = false;
	}
	irq_restore(irq);
	return err;
}

/* ---- when to take one ---------------------------------------------------------------------------------------- */

/* Not at once: the lists of active events are being walked. */
void perf_settle(struct perf_cpu *c)
{
	while (unlikely(!list_empty(&c->to_stop))) {
		struct perf_event *e = list_first_entry(&c->to_stop, struct perf_event, stop_link);
		struct perf_ring *ring = rcu_deref(owner_of(e)->ring);

		list_del_init(&e->stop_link);
		spin_lock(&e->ctx->lock);
		event_off_locked(e, PERF_OFF);
		spin_unlock(&e->ctx->lock);
		e->hung_up = EPOLLHUP;
		if (ring)
			perf_wake(e, ring);
	}
}

void perf_overflow(struct perf_event *e, const struct perf_sample *s)
{
	const struct bpf_prog *program = rcu_deref(owner_of(e)->program);
	bool is_last = READ_ONCE(e->limit) && !__atomic_sub_fetch(&e->limit, 1, __ATOMIC_SEQ_CST);

	if (likely(!program) || e->kind == &perf_kind_tracepoint ||
	    perf_program_wants(this_cpu_ptr(&perf_cpu), program, s))
		output(e, s);
	if (is_last && list_empty(&e->stop_link))
		list_add_tail(&e->stop_link, &this_cpu_ptr(&perf_cpu)->to_stop);
	if (s->may_tell)
		perf_tell(e, s->addr, is_last ? EPOLLHUP : EPOLLIN);
}

bool perf_excluded(const struct perf_event *e, const struct regs *regs)
{
	return regs_user(regs) ? e->attr.exclude_user : e->attr.exclude_kernel;
}

/* Samples a second as asked: the period follows the time between the last two, half way each. */
static void adapt_period(struct perf_event *e)
{
	u64 now = clock_ns(), passed = now - e->freq_stamp, wanted;

	e->freq_stamp = now;
	if (!passed || passed > NSEC_PER_SEC)
		return;
	wanted = e->period * (NSEC_PER_SEC / e->attr.sample_freq) / passed;
	e->period = max((e->period + min(wanted, e->period * 8) + 1) / 2, 1ULL);
}

void perf_take_sample(struct perf_event *e, struct perf_sample *s)
{
	s->period = e->period;
	if (e->attr.freq)
		adapt_period(e);
	e->left += (s64)e->period;
	if (e->left <= 0)
		e->left = (s64)e->period;
	perf_overflow(e, s);
}

void perf_deliver(struct perf_event *e, u64 n, struct perf_sample *s)
{
	bool each;

	if (perf_excluded(e, s->regs))
		return;
	WRITE_ONCE(e->count, e->count + n);
	if (!perf_attr_samples(&e->attr))
		return;
	each = !e->attr.freq && ((e->attr.sample_type & PERF_SAMPLE_PERIOD) || (n == 1 && e->period == 1));
	if (each && e->kind->type == PERF_TYPE_TRACEPOINT) {
		s->period = n;
		perf_overflow(e, s);
		return;
	}
	e->left -= (s64)n;
	if (e->left <= 0)
		perf_take_sample(e, s);
}
