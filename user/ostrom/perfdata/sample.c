/* SPDX-License-Identifier: MIT
 *
 * Problem: the body of a sample has no tags: which fields it holds, in which order, follows from
 * the attribute of the event that it belongs to, and a damaged file lies about all of it.
 *
 * Idea: the fields up to the period have fixed sizes, so their offsets are laid out once an event and one comparison
 * says that all are there. For what follows, one cursor with a bound walks the bits of sample_type in the order that
 * perf_event_open(2) gives.
 *
 * Contract: perfdata.h. Locks: none.
 */
#include <errno.h>
#include "perfdata_priv.h"

#define FIXED_BITS                                                                                                     \
	(PERF_SAMPLE_IDENTIFIER | PERF_SAMPLE_IP | PERF_SAMPLE_TID | PERF_SAMPLE_TIME | PERF_SAMPLE_ADDR |             \
	 PERF_SAMPLE_ID | PERF_SAMPLE_STREAM_ID | PERF_SAMPLE_CPU | PERF_SAMPLE_PERIOD)
#define HEAD_BITS (FIXED_BITS | PERF_SAMPLE_READ | PERF_SAMPLE_CALLCHAIN | PERF_SAMPLE_RAW)

struct cursor {
	const u8 *p;
	u64 left;
	bool bad;
};

static inline u64 word(struct cursor *c)
{
	u64 v;

	if (c->left < 8) {
		c->bad = true;
		c->left = 0;
		return 0;
	}
	v = pd_u64(c->p);
	c->p += 8;
	c->left -= 8;
	return v;
}

/* n bytes, n from the file. */
static inline const u8 *bytes(struct cursor *c, u64 n)
{
	const u8 *p = c->p;

	if (n > c->left) {
		c->bad = true;
		c->left = 0;
		return NULL;
	}
	c->p += n;
	c->left -= n;
	return p;
}

static const u8 *words(struct cursor *c, u64 n)
{
	return bytes(c, n > c->left / 8 ? c->left + 1 : n * 8);
}

static void skip_read(struct cursor *c, u64 format)
{
	u64 extra = !!(format & PERF_FORMAT_ID) + !!(format & (1U << 4)); /* ID, LOST */
	u64 times = !!(format & PERF_FORMAT_TOTAL_TIME_ENABLED) + !!(format & PERF_FORMAT_TOTAL_TIME_RUNNING);
	u64 nr;

	if (!(format & PERF_FORMAT_GROUP)) {
		words(c, 1 + times + extra);
		return;
	}
	nr = word(c);
	words(c, times);
	words(c, nr > c->left ? c->left + 1 : nr * (1 + extra));
}

static inline void take_raw(struct cursor *c, struct pd_sample *s)
{
	const u8 *p = bytes(c, 4);
	u32 n;

	if (!p)
		return;
	n = pd_u32(p);
	s->raw = bytes(c, n);
	s->raw_bytes = s->raw ? n : 0;
}

static void take_stack(struct cursor *c)
{
	u64 n = word(c);

	bytes(c, n);
	if (n)
		word(c); /* dyn_size */
}

static void take_regs(struct cursor *c, u64 mask, u64 *abi, const u8 **regs)
{
	*abi = word(c);
	*regs = *abi ? words(c, __builtin_popcountll(mask)) : NULL;
}

static void take_branches(struct cursor *c, u64 branch_type)
{
	u64 nr = word(c);

	if (branch_type & PERF_SAMPLE_BRANCH_HW_INDEX)
		word(c);
	words(c, nr > c->left ? c->left + 1 : nr * 3);
}

static void take_tail(struct cursor *c, const struct perf_event_attr *a, struct pd_sample *s)
{
	u64 t = a->sample_type;
	u64 abi;
	const u8 *regs;

	if (t & PERF_SAMPLE_BRANCH_STACK)
		take_branches(c, a->branch_sample_type);
	if (t & PERF_SAMPLE_REGS_USER)
		take_regs(c, a->sample_regs_user, &s->regs_abi, &s->regs);
	if (t & PERF_SAMPLE_STACK_USER)
		take_stack(c);
	if (t & PERF_SAMPLE_WEIGHT_TYPE)
		s->weight = word(c);
	if (t & PERF_SAMPLE_WEIGHT_STRUCT)
		s->weight = (u32)s->weight;
	if (t & PERF_SAMPLE_DATA_SRC)
		s->data_src = word(c);
	if (t & PERF_SAMPLE_TRANSACTION)
		word(c);
	if (t & PERF_SAMPLE_REGS_INTR)
		take_regs(c, a->sample_regs_intr, &abi, &regs);
	if (t & PERF_SAMPLE_PHYS_ADDR)
		s->phys_addr = word(c);
}

void pd_clear_sample(struct pd_sample *s)
{
	memset(s, 0, sizeof(*s));
	s->time = s->id = UINT64_MAX;
	s->pid = s->tid = s->cpu = UINT32_MAX;
}

static inline void set_record(struct pd_sample *s, const struct pd_event *e, const u8 *rec)
{
	u64 head = pd_u64(rec);

	s->rec = rec;
	s->type = head;
	s->misc = head >> 32;
	s->size = head >> 48;
	s->event = (struct pd_event *)e;
}

/* What has no fixed place: it begins at the end of the fixed fields. */
static bool take_rest(const struct perf_event_attr *a, const u8 *from, u64 left, struct pd_sample *s)
{
	struct cursor c = { from, left, false };
	u64 t = a->sample_type, n;

	if (t & PERF_SAMPLE_READ)
		skip_read(&c, a->read_format);
	if (t & PERF_SAMPLE_CALLCHAIN) {
		n = word(&c);
		s->chain = words(&c, n);
		s->chain_nr = s->chain ? n : 0;
	}
	if (t & PERF_SAMPLE_RAW)
		take_raw(&c, s);
	if (t & ~(u64)HEAD_BITS)
		take_tail(&c, a, s);
	return !c.bad;
}

int pd_parse_sample(const struct pd_event *e, const u8 *rec, struct pd_sample *s)
{
	const struct pd_layout *at = &e->at;

	set_record(s, e, rec);
	if (s->size < at->end)
		return -EINVAL;
	if (at->id)
		s->id = pd_u64(rec + at->id);
	if (at->ip)
		s->ip = pd_u64(rec + at->ip);
	if (at->tid) {
		s->pid = pd_u32(rec + at->tid);
		s->tid = pd_u32(rec + at->tid + 4);
	}
	if (at->time)
		s->time = pd_u64(rec + at->time);
	if (at->addr)
		s->addr = pd_u64(rec + at->addr);
	if (at->cpu)
		s->cpu = pd_u32(rec + at->cpu);
	s->period = at->period ? pd_u64(rec + at->period) : e->attr.sample_period;
	if (e->rest_is_raw) {
		struct cursor c = { rec + at->end, s->size - at->end, false };

		take_raw(&c, s);
		return c.bad ? -EINVAL : 0;
	}
	return !e->has_rest || take_rest(&e->attr, rec + at->end, s->size - at->end, s) ? 0 : -EINVAL;
}

/* The sample_id that closes every record but a sample when sample_id_all is set. */
int pd_parse_trailer(const struct pd_event *e, const u8 *rec, struct pd_sample *s)
{
	u64 t = e->attr.sample_type & (PERF_SAMPLE_TID | PERF_SAMPLE_TIME | PERF_SAMPLE_ID | PERF_SAMPLE_STREAM_ID |
				       PERF_SAMPLE_CPU | PERF_SAMPLE_IDENTIFIER);
	unsigned n = __builtin_popcountll(t) * 8;
	struct cursor c;
	u64 v;

	pd_clear_sample(s);
	set_record(s, e, rec);
	if (!e->attr.sample_id_all)
		return 0;
	if (s->size < 8 + n)
		return -EINVAL;
	c = (struct cursor){ rec + s->size - n, n, false };
	if (t & PERF_SAMPLE_TID) {
		v = word(&c);
		s->pid = v;
		s->tid = v >> 32;
	}
	if (t & PERF_SAMPLE_TIME)
		s->time = word(&c);
	if (t & PERF_SAMPLE_ID)
		s->id = word(&c);
	if (t & PERF_SAMPLE_STREAM_ID)
		word(&c);
	if (t & PERF_SAMPLE_CPU)
		s->cpu = word(&c);
	if (t & PERF_SAMPLE_IDENTIFIER)
		s->id = word(&c);
	return 0;
}

u32 pd_chain_length(const struct pd_sample *s, u32 frames)
{
	u32 i;

	for (i = 0; i < s->chain_nr && frames; i++) {
		u64 ip = pd_u64(s->chain + i * 8);

		if (ip < (u64)PERF_CONTEXT_MAX)
			frames--;
		else if (ip != (u64)PERF_CONTEXT_KERNEL && ip != (u64)PERF_CONTEXT_USER && ip != (u64)PERF_CONTEXT_HV)
			return 0;
	}
	return i;
}

/* The offset of the next fixed field, 0 if the event has no such. */
static u16 place(u16 *end, u64 sample_type, u64 bits)
{
	u16 at = *end;

	if (!(sample_type & bits))
		return 0;
	*end += 8;
	return at;
}

void pd_layout_event(struct pd_event *e)
{
	u64 t = e->attr.sample_type;
	struct pd_layout *at = &e->at;
	u16 end = 8, late_id;

	at->id = place(&end, t, PERF_SAMPLE_IDENTIFIER);
	at->ip = place(&end, t, PERF_SAMPLE_IP);
	at->tid = place(&end, t, PERF_SAMPLE_TID);
	at->time = place(&end, t, PERF_SAMPLE_TIME);
	at->addr = place(&end, t, PERF_SAMPLE_ADDR);
	late_id = place(&end, t, PERF_SAMPLE_ID);
	at->id = late_id ? late_id : at->id;
	place(&end, t, PERF_SAMPLE_STREAM_ID);
	at->cpu = place(&end, t, PERF_SAMPLE_CPU);
	at->period = place(&end, t, PERF_SAMPLE_PERIOD);
	at->end = end;
	e->has_rest = t & ~(u64)FIXED_BITS;
	e->rest_is_raw = (t & ~(u64)FIXED_BITS) == PERF_SAMPLE_RAW;
	e->trailer_time = 0;
	if ((t & PERF_SAMPLE_TIME) && e->attr.sample_id_all)
		e->trailer_time = 8 * (1 + !!(t & PERF_SAMPLE_ID) + !!(t & PERF_SAMPLE_STREAM_ID) +
				       !!(t & PERF_SAMPLE_CPU) + !!(t & PERF_SAMPLE_IDENTIFIER));
}

bool pd_ask_brief(struct pd_event *e, const struct pd_field *const *fields, u32 nr)
{
	struct pd_brief_at at = { .tid = e->at.tid, .cpu = e->at.cpu, .raw = e->at.end };

	if (!e->rest_is_raw || !at.tid || !e->at.time || !at.cpu || nr > PD_BRIEF_VALUES)
		return false;
	for (u32 i = 0; i < nr; i++) {
		const struct pd_field *f = fields[i];

		if (!f || !f->is_signed || (f->size != 4 && f->size != 8) || f->offset > 4096)
			return false;
		at.value[i] = at.raw + 4 + f->offset;
		at.raw_least = max((u32)at.raw_least, f->offset + f->size);
	}
	at.end = at.raw + 4 + at.raw_least;
	e->brief = at;
	return true;
}
