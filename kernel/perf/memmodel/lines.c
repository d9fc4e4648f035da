/* SPDX-License-Identifier: MIT
 *
 * Problem: sampled accesses are a few thousand of billions; which lines are fought over, and by which fields?
 *
 * Idea: two threads that hammer one line interleave in the samples as well: about every second sample finds the line
 * written by another CPU. Lines that are merely handed over (initialised by one thread, used by another) travel
 * once. So the count of travels ranks lines, and the sites (thread, bytes, instruction) that took part name the pair.
 *
 * Contract: perf/lines.h. Threads on one CPU do not make a line travel, however they interleave.
 *
 * Locks: none.
 */
#include <alloc/slab.h>
#include <lib/err.h>
#include <lib/string.h>
#include <perf/lines.h>

int lines_init(struct lines *m)
{
	memset(m, 0, sizeof(*m));
	m->nr_buckets = 4096;
	m->buckets = kcalloc(m->nr_buckets, sizeof(*m->buckets), ALLOC_KERNEL);
	return m->buckets ? 0 : -ENOMEM;
}

void lines_free(struct lines *m)
{
	for (u32 i = 0; m->buckets && i < m->nr_buckets; i++)
		while (m->buckets[i]) {
			struct line *l = m->buckets[i];

			m->buckets[i] = l->next;
			kfree(l->sites);
			kfree(l);
		}
	kfree(m->buckets);
	memset(m, 0, sizeof(*m));
}

static u32 hash(u64 space, u64 addr, u32 buckets)
{
	return ((addr / LINE_BYTES ^ space * 0x9e3779b97f4a7c15ull) * 0xff51afd7ed558ccdull >> 32) & (buckets - 1);
}

static void grow(struct lines *m)
{
	u32 n = m->nr_buckets * 4;
	struct line **b = kcalloc(n, sizeof(*b), ALLOC_KERNEL);

	if (!b)
		return; /* longer chains, still right */
	for (u32 i = 0; i < m->nr_buckets; i++)
		while (m->buckets[i]) {
			struct line *l = m->buckets[i];
			u32 h = hash(l->space, l->addr, n);

			m->buckets[i] = l->next;
			l->next = b[h];
			b[h] = l;
		}
	kfree(m->buckets);
	m->buckets = b;
	m->nr_buckets = n;
}

static struct line *get_line(struct lines *m, const struct line_access *a)
{
	u64 addr = ALIGN_DOWN(a->addr, (u64)LINE_BYTES);
	u32 h = hash(a->space, addr, m->nr_buckets);
	struct line *l;

	for (l = m->buckets[h]; l; l = l->next)
		if (l->addr == addr && l->space == a->space)
			return l;
	if (m->nr++ > m->nr_buckets) {
		grow(m);
		h = hash(a->space, addr, m->nr_buckets);
	}
	l = kzalloc(sizeof(*l), ALLOC_KERNEL);
	if (!l)
		return NULL;
	l->space = a->space;
	l->addr = addr;
	l->first_tid = a->tid;
	l->next = m->buckets[h];
	m->buckets[h] = l;
	return l;
}

static struct line_site *get_site(struct line *l, const struct line_access *a)
{
	u16 offset = a->addr % LINE_BYTES, bytes = min((u32)a->bytes, LINE_BYTES - offset);
	struct line_site *s;

	for (u32 i = 0; i < l->nr_sites; i++) {
		s = &l->sites[i];
		if (s->ip == a->ip && s->tid == a->tid && s->offset == offset && s->is_write == a->is_write)
			return s;
	}
	if (!(l->nr_sites & (l->nr_sites - 1))) { /* room is the next power of two */
		s = krealloc(l->sites, max(l->nr_sites * 2, 1u) * sizeof(*s), ALLOC_KERNEL);
		if (!s)
			return NULL;
		l->sites = s;
	}
	s = &l->sites[l->nr_sites++];
	*s = (struct line_site){
		.ip = a->ip, .tid = a->tid, .offset = offset, .bytes = bytes, .is_write = a->is_write
	};
	return s;
}

int lines_add(struct lines *m, const struct line_access *a)
{
	struct line *l = get_line(m, a);
	struct line_site *s = l ? get_site(l, a) : NULL;
	bool moved;

	if (!s)
		return -ENOMEM;
	moved = line_owner_touch(&l->owner, a->cpu, a->is_write);
	l->writes += a->is_write;
	l->many_threads |= l->first_tid != a->tid;
	l->samples++;
	s->samples++;
	s->cpus |= 1ull << (a->cpu % 64);
	m->samples++;
	l->travels += moved;
	s->travels += moved;
	m->travels += moved;
	return moved;
}

static bool overlap(const struct line_site *a, const struct line_site *b)
{
	return a->offset < b->offset + b->bytes && b->offset < a->offset + a->bytes;
}

enum line_sharing line_classify(const struct line *l)
{
	u64 apart = 0, together = 0;

	if (!l->many_threads)
		return LINE_PRIVATE;
	for (u32 i = 0; i < l->nr_sites; i++)
		for (u32 k = i + 1; k < l->nr_sites; k++) {
			const struct line_site *a = &l->sites[i], *b = &l->sites[k];
			u64 weight = min(a->samples, b->samples);

			if (a->tid == b->tid || !(a->is_write || b->is_write))
				continue;
			if (overlap(a, b))
				together += weight;
			else
				apart += weight;
		}
	if (!apart && !together)
		return LINE_READ_SHARED;
	return together >= apart ? LINE_TRUE_SHARING : LINE_FALSE_SHARING;
}

static void sift(struct line **v, u32 at, u32 n)
{
	for (u32 child = at * 2 + 1; child < n; at = child, child = at * 2 + 1) {
		if (child + 1 < n && v[child + 1]->travels < v[child]->travels)
			child++;
		if (v[at]->travels <= v[child]->travels)
			return;
		swap(v[at], v[child]);
	}
}

int lines_ranked(const struct lines *m, u64 min_travels, struct line ***out, u32 *nr)
{
	struct line **v = kcalloc(max(m->nr, 1u), sizeof(*v), ALLOC_KERNEL);
	u32 n = 0;

	if (!v)
		return -ENOMEM;
	for (u32 i = 0; i < m->nr_buckets; i++)
		for (struct line *l = m->buckets[i]; l; l = l->next)
			if (l->travels >= min_travels)
				v[n++] = l;
	for (u32 i = n / 2; i-- > 0;)
		sift(v, i, n);
	for (u32 left = n; left > 1; left--) { /* a min-heap: the smallest goes to the end */
		swap(v[0], v[left - 1]);
		sift(v, 0, left - 1);
	}
	*out = v;
	*nr = n;
	return 0;
}
