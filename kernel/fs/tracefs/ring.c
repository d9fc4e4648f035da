/* SPDX-License-Identifier: MIT
 *
 * Problem: trace clients (trace-cmd, kernelshark) copy pages of the ring as they are into their file, so the layout in
 * memory is an interface; others read it event by event; the writer must not wait for any of them.
 *
 * Idea: pages are numbered for ever and page n lies in slot n % nr. The writer fills the last page; when it needs a new
 * one and the ring is full, the first page's events are gone (or the new event is). A reader that takes a page
 * puts an empty one into its slot: also the page being written may be taken, then the writer begins anew on the empty
 * one. What was consumed event by event is cut off a page that is taken.
 *
 *   type_len 1..28: 4 * type_len bytes follow     0: their number + 4 follows, then they     30: a long time: 59 bits
 *
 * Contract: ring.h. Locks: the caller's.
 */
#include "ring.h"
#include <lib/string.h>

#define DELTA_BITS  27
#define DELTA_MOST  ((1ULL << DELTA_BITS) - 1)
#define SHORT_MOST  112u /* bytes that type_len can say */
#define TYPE_PAD    29u
#define TYPE_EXTEND 30u
#define TYPE_STAMP  31u

void trace_ring_setup(struct trace_ring *r, struct trace_page **pages, u16 *counts, u32 nr)
{
	*r = (struct trace_ring){ .pages = pages, .counts = counts, .nr = nr };
	trace_ring_clear(r);
}

void trace_ring_clear(struct trace_ring *r)
{
	for (u32 i = 0; i < r->nr; i++) {
		r->pages[i]->commit = 0;
		r->counts[i] = 0;
	}
	r->first = r->last = 0;
	r->read = 0;
	r->written = r->read_events = r->overrun = r->dropped = r->missed = 0;
}

static struct trace_page *page(const struct trace_ring *r, u64 n)
{
	return r->pages[n % r->nr];
}

/* ---- writing ---------------------------------------------------------------------------------------------------- */

static u32 events_left(const struct trace_ring *r)
{
	struct trace_found f;
	u64 ns = r->read_ns;
	u32 n = 0;

	for (u32 at = r->read; trace_page_next(page(r, r->first), &at, &ns, &f);)
		n++;
	return n;
}

static bool new_page(struct trace_ring *r)
{
	if (r->last - r->first == r->nr - 1) {
		u32 gone;

		if (r->keep_old)
			return false;
		gone = r->read ? events_left(r) : r->counts[r->first % r->nr];
		r->overrun += gone;
		r->missed += gone;
		r->first++;
		r->read = 0;
	}
	r->last++;
	page(r, r->last)->commit = 0;
	r->counts[r->last % r->nr] = 0;
	return true;
}

static void put_word(struct trace_page *p, u32 v)
{
	memcpy(p->data + p->commit, &v, sizeof(v));
	p->commit += sizeof(v);
}

bool trace_ring_write(struct trace_ring *r, u64 ns, const void *data, u32 n)
{
	u32 padded = n ? ALIGN_UP(n, 4u) : 4, need = padded + (padded > SHORT_MOST ? 8 : 4);
	struct trace_page *p = page(r, r->last);
	u64 delta;

	ns = max(ns, r->last_ns);
	delta = p->commit ? ns - r->last_ns : 0;
	if (p->commit + need + (delta > DELTA_MOST ? 8 : 0) > TRACE_PAGE_DATA) {
		if (!new_page(r)) {
			r->dropped++;
			return false;
		}
		p = page(r, r->last);
		delta = 0;
	}
	if (!p->commit)
		p->time_ns = ns;
	if (delta > DELTA_MOST) {
		put_word(p, TYPE_EXTEND | (u32)(delta & DELTA_MOST) << 5);
		put_word(p, (u32)(delta >> DELTA_BITS));
		delta = 0;
	}
	put_word(p, (padded > SHORT_MOST ? 0 : padded / 4) | (u32)delta << 5);
	if (padded > SHORT_MOST)
		put_word(p, padded + 4);
	memcpy(p->data + p->commit, data, n);
	memset(p->data + p->commit + n, 0, padded - n);
	p->commit += padded;
	r->last_ns = ns;
	r->counts[r->last % r->nr]++;
	r->written++;
	return true;
}

/* ---- reading ---------------------------------------------------------------------------------------------------- */

bool trace_page_next(const struct trace_page *p, u32 *at, u64 *ns, struct trace_found *out)
{
	u64 commit = p->commit & (TRACE_MISSED_NR - 1);

	if (!*at)
		*ns = p->time_ns;
	while (*at + 8 <= commit) {
		u32 head[2], type;

		memcpy(head, p->data + *at, sizeof(head));
		type = head[0] & 31;
		*ns += head[0] >> 5;
		if (type == TYPE_EXTEND) {
			*ns += (u64)head[1] << DELTA_BITS;
			*at += 8;
			continue;
		}
		*out = (struct trace_found){ *ns, p->data + *at + 4, type * 4 };
		if (!type) {
			out->data = p->data + *at + 8;
			out->bytes = head[1] - 4;
		}
		*at = (u32)((const u8 *)out->data - p->data) + out->bytes;
		return true;
	}
	return false;
}

bool trace_ring_next(const struct trace_ring *r, struct trace_cursor *c, struct trace_found *out)
{
	if (c->page < r->first || (c->page == r->first && c->at < r->read))
		*c = (struct trace_cursor){ r->first, r->read_ns, r->read };
	while (!trace_page_next(page(r, c->page), &c->at, &c->ns, out)) {
		if (c->page == r->last)
			return false;
		c->page++;
		c->at = 0;
	}
	return true;
}

bool trace_ring_peek(const struct trace_ring *r, struct trace_found *out)
{
	struct trace_cursor c = { 0 };

	return trace_ring_next(r, &c, out);
}

void trace_ring_consume(struct trace_ring *r)
{
	struct trace_cursor c = { 0 };
	struct trace_found f;

	if (!trace_ring_next(r, &c, &f))
		return;
	r->first = c.page;
	r->read = c.at;
	r->read_ns = c.ns;
	r->read_events++;
}

u64 trace_ring_bytes(const struct trace_ring *r)
{
	u64 n = 0;

	for (u64 p = r->first; p <= r->last; p++)
		n += page(r, p)->commit;
	return n - r->read;
}

static void cut(struct trace_ring *r, struct trace_page *p)
{
	if (!r->read)
		return;
	p->commit -= r->read;
	memmove(p->data, p->data + r->read, p->commit);
	p->time_ns = r->read_ns;
}

/* The time of the page is that of its first event, so the first one's own delta must be 0 again. */
static void rebase(struct trace_page *p)
{
	u32 head[2];
	u64 delta;

	memcpy(head, p->data, sizeof(head));
	delta = head[0] >> 5;
	if ((head[0] & 31) == TYPE_EXTEND) {
		delta += (u64)head[1] << DELTA_BITS;
		head[1] = 0;
	}
	p->time_ns += delta;
	head[0] &= 31;
	memcpy(p->data, head, sizeof(head));
}

struct trace_page *trace_ring_take(struct trace_ring *r, struct trace_page *empty, bool full)
{
	struct trace_page *p;
	u64 commit;

	while (page(r, r->first)->commit == r->read && r->first != r->last) {
		r->first++;
		r->read = 0;
	}
	p = page(r, r->first);
	if (p->commit == r->read || (full && r->first == r->last))
		return NULL;
	r->read_events += r->read ? events_left(r) : r->counts[r->first % r->nr];
	if (r->read) {
		cut(r, p);
		rebase(p);
	}
	empty->commit = 0;
	r->pages[r->first % r->nr] = empty;
	r->counts[r->first % r->nr] = 0;
	r->read = 0;
	if (r->first != r->last)
		r->first++;
	commit = p->commit;
	memset(p->data + commit, 0, TRACE_PAGE_DATA - commit);
	if (r->missed) {
		p->commit |= TRACE_MISSED;
		if (commit + 8 <= TRACE_PAGE_DATA) {
			memcpy(p->data + commit, &r->missed, 8);
			p->commit |= TRACE_MISSED_NR;
		}
		r->missed = 0;
	}
	return p;
}
