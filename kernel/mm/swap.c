/* SPDX-License-Identifier: MIT
 *
 * Problem: private pages that nobody uses shall leave memory for a device and come back unharmed, while relatives
 * after fork share them, and while fork, exit and faults of other CPUs use the same entries.
 *
 * Idea: a slot counts who refers to it: page table entries, and those who move it. A page on its way is the slot's
 * cached page; it holds what the slot holds, or will, so it is never writable. Relatives meet there: whoever faults
 * takes the cached page instead of reading a second copy.
 *
 *      private --swap_enter--> cached, dirty --swap_write--> cached, clean --nobody maps it--> on the device alone
 *         ^----------swap_claim, last entry-----------'-----------------------swap_in-------------------'
 *
 * Contract: mm_priv.h, mm/swap.h. A tenant pays for the slots of its pages (RES_SWAP).
 *
 * Locks: swap_lock (RANK_SUBSYS_SPIN) for slots, for whether a page is cached and for the table of areas. Never while a
 * device works.
 */
#include <alloc/kmap.h>
#include <lib/printf.h>
#include <lib/string.h>
#include <mm/swap.h>
#include <task/sched.h>
#include <task/tenant.h>
#include "mm_priv.h"

#define MAX_AREAS   16
#define TYPE_SHIFT  40
#define CHUNK_SLOTS 4096
#define AHEAD       8 /* pages read together */
#define MAX_COUNT   0x7fffffffU

struct slot {
	u32 count; /* page table entries and holds; 0: free */
	u32 pfn;   /* the cached page, 0: none */
	u16 tenant;
};

struct area {
	struct swap_backing backing;
	u64 slots, used, cached;
	u64 reserved; /* of used: the header's slot and bad ones */
	u64 hand, cache_hand;
	struct slot **chunks;
	bool open; /* takes new pages */
	s32 prio;
	char name[64];
};

static struct area *areas[MAX_AREAS];
static struct spinlock swap_lock = SPIN_INIT(RANK_SUBSYS_SPIN);
static struct waitq moved = WAITQ_INIT(moved); /* a page is no longer LOCKED */
static struct swap_kind *kinds;
static u64 free_slots; /* swap_lock; of open areas */
static s32 next_prio = -2;

static pte_t entry_of(unsigned type, u64 slot)
{
	return pte_make_swap((u64)type << TYPE_SHIFT | slot);
}

/* From a slot's entry to that of the i-th behind it. */
static pte_t next_entry(pte_t e, u64 i)
{
	return pte_make_swap(pte_swap_payload(e) + i);
}

static struct area *area_of(pte_t e)
{
	return areas[pte_swap_payload(e) >> TYPE_SHIFT];
}

static u64 index_of(pte_t e)
{
	return pte_swap_payload(e) & (BIT(TYPE_SHIFT) - 1);
}

static struct slot *slot_at(struct area *a, u64 i)
{
	return &a->chunks[i / CHUNK_SLOTS][i % CHUNK_SLOTS];
}

static struct slot *slot_of(pte_t e)
{
	return slot_at(area_of(e), index_of(e));
}

/* ---- slots: swap_lock held -------------------------------------------------------------------------------------- */

/* A page leaves the cache; its reference is the caller's to put. */
static struct page *uncache(struct area *a, struct slot *s)
{
	struct page *p = pfn_to_page(s->pfn);

	s->pfn = 0;
	a->cached--;
	p->owner = NULL;
	(void)page_test_clear_flag(p, PAGE_SWAPPED | PAGE_DIRTY);
	return p;
}

static void pay(struct slot *s, struct tenant *t)
{
	s->tenant = t->id;
	tenant_get(t);
}

static void unpay(struct slot *s)
{
	struct tenant *t = s->tenant ? tenant_by_id(s->tenant) : NULL;

	s->tenant = 0;
	if (!t)
		return;
	tenant_uncharge(t, RES_SWAP, 1);
	tenant_put(t);
}

static void drop(pte_t e)
{
	struct area *a = area_of(e);
	struct slot *s = slot_of(e);

	ensure(s->count);
	if (--s->count)
		return;
	if (s->pfn)
		page_put(uncache(a, s));
	unpay(s);
	a->used--;
	free_slots += a->open;
}

void swap_drop(pte_t e)
{
	spin_lock(&swap_lock);
	drop(e);
	spin_unlock(&swap_lock);
}

void swap_dup(pte_t e)
{
	spin_lock(&swap_lock);
	ensure(slot_of(e)->count < MAX_COUNT);
	slot_of(e)->count++;
	spin_unlock(&swap_lock);
}

bool swap_has_room(void)
{
	return READ_ONCE(free_slots) != 0;
}

/* From the hand on, at most once around. */
static unsigned take_from_area(unsigned type, pte_t *out, unsigned n)
{
	struct area *a = areas[type];
	unsigned got = 0;

	for (u64 seen = 0; got < n && seen < a->slots && a->used < a->slots; seen++) {
		struct slot *s;

		if (++a->hand >= a->slots)
			a->hand = 1;
		s = slot_at(a, a->hand);
		if (s->count || s->pfn)
			continue;
		s->count = 1;
		a->used++;
		free_slots--;
		out[got++] = entry_of(type, a->hand);
	}
	return got;
}

unsigned swap_take(pte_t *out, unsigned n)
{
	unsigned got = 0;

	spin_lock(&swap_lock);
	while (got < n && free_slots) {
		int best = -1;

		for (unsigned i = 0; i < MAX_AREAS; i++)
			if (areas[i] && areas[i]->open && areas[i]->used < areas[i]->slots &&
			    (best < 0 || areas[i]->prio > areas[best]->prio))
				best = (int)i;
		if (best < 0)
			break;
		got += take_from_area((unsigned)best, out + got, n - got);
	}
	spin_unlock(&swap_lock);
	return got;
}

/* ---- the cache -------------------------------------------------------------------------------------------------- */

static pte_t entry_of_page(const struct page *p)
{
	const struct area *a = p->owner;
	unsigned type = 0;

	while (areas[type] != a)
		type++;
	return entry_of(type, p->index);
}

static void cache(pte_t e, struct page *p, u16 flags)
{
	struct area *a = area_of(e);

	slot_of(e)->pfn = (u32)page_to_pfn(p);
	a->cached++;
	p->owner = a;
	p->index = (u32)index_of(e);
	(void)page_test_set_flag(p, PAGE_SWAPPED);
	if (flags)
		(void)page_test_set_flag(p, flags);
}

bool swap_enter(struct page *p, pte_t *e, bool *was_in)
{
	struct tenant *t;
	bool ok = true;

	spin_lock(&swap_lock);
	*was_in = p->flags & PAGE_SWAPPED;
	if (*was_in) {
		*e = entry_of_page(p);
		slot_of(*e)->count++;
		spin_unlock(&swap_lock);
		return true;
	}
	rcu_read_lock();
	t = p->tenant ? tenant_by_id(p->tenant) : NULL;
	if (t && tenant_charge(t, RES_SWAP, 1, -ENOMEM)) {
		tenant_memory_event(t, MEMORY_SWAP_MAX);
		ok = false;
	} else {
		if (t)
			pay(slot_of(*e), t);
		cache(*e, p, PAGE_DIRTY);
	}
	rcu_read_unlock();
	spin_unlock(&swap_lock);
	return ok;
}

bool swap_claim(pte_t e, struct page *p)
{
	bool same;

	spin_lock(&swap_lock);
	same = slot_of(e)->pfn == page_to_pfn(p);
	if (same)
		drop(e);
	spin_unlock(&swap_lock);
	return same;
}

/* A cached page that nobody maps and nobody moves. */
static bool is_idle(const struct slot *s)
{
	struct page *p = s->pfn ? pfn_to_page(s->pfn) : NULL;

	return p && atomic_read(&p->refs) == 1 && !(p->flags & (PAGE_WRITEBACK | PAGE_LOCKED));
}

/* Marks what is to be written; clean pages go at once. Returns how many went. */
static u64 begin_write(const pte_t *e, unsigned n, struct page **pages)
{
	u64 freed = 0;

	spin_lock(&swap_lock);
	for (unsigned i = 0; i < n; i++) {
		struct slot *s = slot_of(e[i]);
		struct page *p = s->pfn ? pfn_to_page(s->pfn) : NULL;

		pages[i] = NULL;
		if (!is_idle(s))
			continue;
		if (!(p->flags & PAGE_DIRTY)) {
			page_put(uncache(area_of(e[i]), s));
			freed++;
			continue;
		}
		(void)page_test_set_flag(p, PAGE_WRITEBACK);
		page_get(p);
		s->count++;
		pages[i] = p;
	}
	spin_unlock(&swap_lock);
	return freed;
}

static u64 end_write(const pte_t *e, unsigned n, struct page **pages, int err)
{
	u64 freed = 0;

	spin_lock(&swap_lock);
	for (unsigned i = 0; i < n; i++) {
		struct slot *s = slot_of(e[i]);
		struct page *p = pages[i];

		(void)page_test_clear_flag(p, PAGE_WRITEBACK);
		if (!err)
			(void)page_test_clear_flag(p, PAGE_DIRTY);
		if (!err && s->pfn == page_to_pfn(p) && atomic_read(&p->refs) == 2) {
			page_put(uncache(area_of(e[i]), s));
			freed++;
		}
		drop(e[i]);
	}
	spin_unlock(&swap_lock);
	for (unsigned i = 0; i < n; i++)
		page_put(pages[i]);
	page_stat_add(PAGE_EVENT_SWAP_OUT, err ? 0 : (s64)n);
	return freed;
}

/* How many from i on are neighbours on the device. */
static unsigned run_length(const pte_t *e, struct page **pages, unsigned i, unsigned n)
{
	unsigned len = 1;

	while (i + len < n && pages[i + len] && area_of(e[i + len]) == area_of(e[i]) &&
	       index_of(e[i + len]) == index_of(e[i]) + len)
		len++;
	return len;
}

u64 swap_write(const pte_t *e, unsigned n)
{
	struct page *pages[SWAP_BATCH];
	u64 freed;

	if (!n)
		return 0;
	freed = begin_write(e, n, pages);
	for (unsigned i = 0, len; i < n; i += len) {
		struct area *a = area_of(e[i]);

		len = 1;
		if (!pages[i])
			continue;
		len = run_length(e, pages, i, n);
		freed += end_write(e + i, len, pages + i,
				   a->backing.ops->rw(a->backing.priv, true, index_of(e[i]), pages + i, len));
	}
	return freed;
}

/* Up to n entries of one area with idle pages of top's tenants. */
static unsigned find_idle(unsigned type, const struct tenant *top, pte_t *out, unsigned n)
{
	struct area *a = areas[type];
	unsigned got = 0;

	for (u64 seen = 0, met = 0; a && got < n && seen < a->slots && met < a->cached; seen++) {
		struct slot *s;

		if (++a->cache_hand >= a->slots)
			a->cache_hand = 1;
		s = slot_at(a, a->cache_hand);
		met += s->pfn != 0;
		if (is_idle(s) && tenant_page_is_below(pfn_to_page(s->pfn)->tenant, top))
			out[got++] = entry_of(type, a->cache_hand);
	}
	return got;
}

u64 swap_shrink_cache(struct tenant *top, u64 want)
{
	pte_t idle[SWAP_BATCH];
	u64 freed = 0;

	for (unsigned type = 0; type < MAX_AREAS && freed < want; type++) {
		unsigned n = 0;

		if (!READ_ONCE(areas[type]))
			continue;
		spin_lock(&swap_lock);
		if (areas[type])
			n = find_idle(type, top, idle, SWAP_BATCH);
		for (unsigned i = 0; i < n; i++)
			slot_of(idle[i])->count++; /* so that the slots stay ours */
		spin_unlock(&swap_lock);
		freed += swap_write(idle, n);
		for (unsigned i = 0; i < n; i++)
			swap_drop(idle[i]);
	}
	return freed;
}

/* ---- coming back --------------------------------------------------------------------------------------------------
 */

/* The cached page with a reference; NULL: none, and `fresh`, if there is one, has become it, LOCKED. -EAGAIN: the slot
 * is not in use. */
static int look_up(pte_t e, struct page *fresh, struct page **out)
{
	struct area *a;
	struct slot *s;
	int err = 0;

	*out = NULL;
	spin_lock(&swap_lock);
	a = area_of(e);
	s = a && index_of(e) < a->slots ? slot_of(e) : NULL;
	if (!s || !s->count) {
		err = -EAGAIN;
	} else if (s->pfn) {
		*out = pfn_to_page(s->pfn);
		page_get(*out);
	} else if (fresh) {
		page_get(fresh); /* the cache's */
		cache(e, fresh, PAGE_LOCKED);
		s->count++; /* until it is read */
	}
	spin_unlock(&swap_lock);
	return err;
}

/* Slots behind e that belong to the same tenant and are not cached become cached, LOCKED pages: what was written
 * together is often wanted together. Only with memory that is to be had for nothing. How many pages there are now, e's
 * included. */
static unsigned add_ahead(pte_t e, struct tenant *payer, struct page **pages)
{
	struct area *a = area_of(e);
	unsigned n = 1;

	for (; n < AHEAD && payer; n++) {
		struct page *p = page_alloc(0, ALLOC_USER | ALLOC_TRY, payer);
		struct slot *s = NULL;

		if (!p)
			break;
		page_set_anon(p);
		spin_lock(&swap_lock);
		if (index_of(e) + n < a->slots)
			s = slot_at(a, index_of(e) + n);
		if (s && s->count && !s->pfn && s->tenant == payer->id) {
			cache(next_entry(e, n), p, PAGE_LOCKED);
			page_get(p);
			s->count++;
			pages[n] = p;
		} else {
			s = NULL;
		}
		spin_unlock(&swap_lock);
		if (!s) {
			page_put(p);
			break;
		}
	}
	return n;
}

/* Fills LOCKED pages of the slots from e on. References of all but the first are dropped. */
static int read_in(pte_t e, struct page **pages, unsigned n)
{
	struct area *a = area_of(e);
	int err = a->backing.ops->rw(a->backing.priv, false, index_of(e), pages, n);

	spin_lock(&swap_lock);
	for (unsigned i = 0; i < n; i++) {
		pte_t at = next_entry(e, i);

		if (err && slot_of(at)->pfn == page_to_pfn(pages[i]))
			page_put(uncache(a, slot_of(at)));
		(void)page_test_clear_flag(pages[i], PAGE_LOCKED);
		drop(at);
	}
	spin_unlock(&swap_lock);
	waitq_wake_all(&moved);
	for (unsigned i = 1; i < n; i++)
		page_put(pages[i]);
	page_stat_add(PAGE_EVENT_SWAP_IN, n);
	return err;
}

int swap_in(pte_t e, struct tenant *payer, struct page **out, bool *read)
{
	struct page *fresh = NULL, *p, *pages[AHEAD];
	int err;

	while (!(err = look_up(e, fresh, &p)) && !p && !fresh) {
		fresh = page_alloc(0, ALLOC_USER, payer);
		if (!fresh)
			return -ENOMEM;
		page_set_anon(fresh);
	}
	if (!err && !p) {
		*read = true;
		tenant_memory_count(fresh->tenant, MEMORY_REFAULT_ANON, 1);
		pages[0] = fresh;
		psi_stall_begin();
		err = read_in(e, pages, add_ahead(e, payer, pages));
		psi_stall_end();
		p = fresh;
	} else if (fresh) {
		page_put(fresh);
	}
	if (err) {
		if (p)
			page_put(p);
		return err;
	}
	wait_event(&moved, !(READ_ONCE(p->flags) & PAGE_LOCKED));
	*out = p;
	return 0;
}

/* ---- areas --------------------------------------------------------------------------------------------------------
 */

void swap_kind_register(struct swap_kind *k)
{
	k->next = kinds;
	kinds = k;
}

static void free_area(struct area *a)
{
	for (u64 i = 0; a->chunks && i < DIV_ROUND_UP(a->slots, CHUNK_SLOTS); i++)
		vmem_free(a->chunks[i]);
	kfree(a->chunks);
	if (a->backing.ops)
		a->backing.ops->release(a->backing.priv);
	kfree(a);
}

static int open_backing(struct file *f, bool take, struct swap_backing *b)
{
	int err = -ENXIO;

	for (struct swap_kind *k = kinds; k && err == -ENXIO; k = k->next)
		err = k->open(f, take, b);
	if (err)
		*b = (struct swap_backing){ 0 }; /* nothing to release */
	return err == -ENXIO ? -EINVAL : err;
}

/* union swap_header, version 1: boot bits, version, last page, number of bad pages ... list of bad pages at 1536. */
struct header {
	u32 version, last_page, nr_bad;
};

static int read_header(struct area *a, struct page *page, struct header *h)
{
	const char *at = page_virt(page);
	int err = a->backing.ops->rw(a->backing.priv, false, 0, &page, 1);

	if (err)
		return err;
	memcpy(h, at + 1024, sizeof(*h));
	if (memcmp(at + PAGE_SIZE - 10, "SWAPSPACE2", 10) || h->version != 1 || !h->last_page ||
	    h->last_page >= a->backing.slots || h->nr_bad > (PAGE_SIZE - 1536 - 10) / 4)
		return fail(EINVAL, "%s: no swap header", a->name);
	for (u32 i = 0; i < h->nr_bad; i++) {
		u32 bad;

		memcpy(&bad, at + 1536 + 4 * i, sizeof(bad));
		if (!bad || bad > h->last_page)
			return -EINVAL;
	}
	return 0;
}

static int make_slots(struct area *a, struct page *page, const struct header *h)
{
	u64 chunks;

	a->slots = h->last_page + 1ULL;
	chunks = DIV_ROUND_UP(a->slots, CHUNK_SLOTS);
	a->chunks = kcalloc(chunks, sizeof(*a->chunks), 0);
	for (u64 i = 0; a->chunks && i < chunks; i++) {
		a->chunks[i] = vmem_alloc(CHUNK_SLOTS * sizeof(struct slot));
		if (!a->chunks[i])
			return -ENOMEM;
	}
	if (!a->chunks)
		return -ENOMEM;
	a->used = a->reserved = 1;
	slot_at(a, 0)->count = 1;
	for (u32 i = 0; i < h->nr_bad; i++) {
		u32 bad;

		memcpy(&bad, (char *)page_virt(page) + 1536 + 4 * i, sizeof(bad));
		if (slot_at(a, bad)->count)
			continue;
		slot_at(a, bad)->count = 1;
		a->used = ++a->reserved;
	}
	return 0;
}

static int fill_area(struct area *a, struct file *f)
{
	struct page *page = page_alloc(0, 0, NULL);
	struct header h;
	int err;

	if (!page)
		return -ENOMEM;
	err = open_backing(f, true, &a->backing);
	if (!err)
		err = read_header(a, page, &h);
	if (!err)
		err = make_slots(a, page, &h);
	page_put(page);
	return err;
}

/* Finds a place for it and opens it. */
static int install(struct area *a, unsigned flags)
{
	int place = -1, err = 0;

	spin_lock(&swap_lock);
	for (int i = MAX_AREAS - 1; i >= 0; i--) {
		if (!areas[i])
			place = i;
		else if (areas[i]->backing.id == a->backing.id)
			err = -EBUSY;
	}
	if (!err && place < 0)
		err = -EPERM;
	if (!err) {
		a->prio = flags & SWAP_FLAG_PREFER ? (s32)(flags & SWAP_FLAG_PRIO_MASK) : next_prio--;
		a->open = true;
		areas[place] = a;
		free_slots += a->slots - a->used;
	}
	spin_unlock(&swap_lock);
	return err;
}

int swap_on(struct file *f, const char *name, unsigned flags)
{
	struct area *a = kzalloc(sizeof(*a), 0);
	int err;

	if (!a)
		return -ENOMEM;
	str_copy(a->name, name, sizeof(a->name));
	err = fill_area(a, f);
	if (!err)
		err = install(a, flags);
	if (err)
		free_area(a);
	return err;
}

/* ---- taking one away ------------------------------------------------------------------------------------------------
 */

/* Touches every entry of the area in one address space. */
static int bring_back(struct mm *m, void *arg)
{
	const struct area *a = arg;
	ulong va = 0, next;
	int err = 0;

	if (!atomic_read(&m->rss_swap) || !mm_get_live(m))
		return 0;
	while (!err && va < USER_END) {
		struct pt_leaf leaf;
		pte_t e;
		int code;

		if (pt_leaf_get(&m->pt, va, false, &leaf, &next)) {
			va = next;
			continue;
		}
		e = pte_read(leaf.entry);
		if (pte_is_swap(e) && area_of(e) == a) {
			err = fault_in_mm(m, va, ACCESS_FORCE, &code);
			if (err == -EACCES || err == -EFAULT)
				err = 0; /* unmapped meanwhile */
		}
		va = leaf.huge ? ALIGN_DOWN(va, HUGE_SIZE) + HUGE_SIZE : va + PAGE_SIZE;
		resched_point();
		if (fatal_signal_pending(current))
			err = -EINTR;
	}
	mm_put(m);
	return err;
}

static struct area *close_area(u64 id, unsigned *type)
{
	struct area *a = NULL;

	spin_lock(&swap_lock);
	for (*type = 0; *type < MAX_AREAS; ++*type) {
		a = areas[*type];
		if (a && a->backing.id == id && a->open)
			break;
		a = NULL;
	}
	if (a) {
		a->open = false;
		free_slots -= a->slots - a->used;
	}
	spin_unlock(&swap_lock);
	return a;
}

int swap_off(struct file *f)
{
	struct swap_backing b;
	struct area *a;
	unsigned type;
	int err = open_backing(f, false, &b);

	if (err)
		return err;
	a = close_area(b.id, &type);
	if (!a)
		return -EINVAL;
	for (int tries = 0; !err && READ_ONCE(a->used) != a->reserved; tries++)
		err = tries < 8 ? mm_for_each(bring_back, a) : -ENOMEM;
	spin_lock(&swap_lock);
	if (err) {
		a->open = true;
		free_slots += a->slots - a->used;
	} else {
		areas[type] = NULL;
	}
	spin_unlock(&swap_lock);
	if (!err)
		free_area(a);
	return err;
}

/* ---- telling --------------------------------------------------------------------------------------------------------
 */

void swap_show(struct strbuf *out)
{
	strbuf_add(out, "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n");
	spin_lock(&swap_lock);
	for (unsigned i = 0; i < MAX_AREAS; i++) {
		const struct area *a = areas[i];

		if (a)
			strbuf_add(out, "%-39s %s\t%llu\t\t%llu\t\t%d\n", a->name,
				   a->backing.is_device ? "partition" : "file\t",
				   (unsigned long long)(a->slots - a->reserved) * (PAGE_SIZE / 1024),
				   (unsigned long long)(a->used - a->reserved) * (PAGE_SIZE / 1024), a->prio);
	}
	spin_unlock(&swap_lock);
}

void swap_totals(struct swap_totals *out)
{
	*out = (struct swap_totals){ 0 };
	spin_lock(&swap_lock);
	for (unsigned i = 0; i < MAX_AREAS; i++)
		if (areas[i]) {
			out->total += areas[i]->slots - areas[i]->reserved;
			out->used += areas[i]->used - areas[i]->reserved;
			out->cached += areas[i]->cached;
		}
	spin_unlock(&swap_lock);
}
