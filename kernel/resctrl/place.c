/* SPDX-License-Identifier: MIT
 *
 * Problem: without CAT a class of cache use is a set of page colours: new pages must come from them, and pages that a
 * program has already must move there, without stopping it.
 *
 * Idea: colouring in the page allocator is switched on by the first mask that leaves a colour out, and off when the
 * last one is full again, so that a mounted but unused resctrl costs nothing. Moving is the work of the pool: it goes
 * over all processes, asks for the class of each, and lets mm copy what has a wrong colour. A change that comes
 * meanwhile makes it start again.
 *
 *      progress (info/recolouring):  idle | running   rounds, pages moved, pages that could not move
 *
 * Geometry: L2 of CPU 0 as CPUID gives it. An L3's index is hashed on most machines and nobody says how, so it has
 * colours only if the command line describes it:
 *      resctrl.l3=BYTES,WAYS[,SLICES]  resctrl.l2=...  (BYTES with K or M), resctrl.kernel=COLOURS
 *      resctrl.hostpage=BYTES  in a virtual machine: how large the host's pages are, which decides what colours mean
 * The kernel's own pages and the page cache prefer the lowest colours (an eighth, shareable_bits).
 *
 * Contract: colour_allocator_ops. Tasks of the default group count as CPU 0's group, since memory is one for all CPUs.
 *
 * Locks: set, start and stop come under resctrl_lock; the work takes it for looking up a mask only. `again` and the
 * counters are atomic.
 */
#include <arch/boot.h>
#include <arch/cpu.h>
#include <arch/rdt.h>
#include <core/log.h>
#include <lib/err.h>
#include <lib/string.h>
#include <mm/mm.h>
#include <process/process.h>
#include <task/sched.h>
#include <task/tenant.h>
#include <task/work.h>
#include "kernel.h"

static struct {
	unsigned nr_colours;
	u64 all, kernel;
	u64 mask[COLOUR_CLASSES]; /* resctrl_lock */
	unsigned partial;         /* classes whose mask is not full; resctrl_lock */
	struct work work;
	atomic_t again; /* somebody has asked since the last round began */
	atomic_t running;
	atomic64_t rounds, moved, left;
} place;

static unsigned class_of_current(void)
{
	return resctrl_class_of(resctrl_machine, cpu_id(), READ_ONCE(current->cache_group));
}

/* ---- the allocator's side ---------------------------------------------------------------------------------- */

static int start(void *ctx, unsigned nr_colours)
{
	place.nr_colours = nr_colours;
	place.all = nr_colours == 64 ? ~0ULL : BIT(nr_colours) - 1;
	place.kernel = place.all;
	for (unsigned c = 0; c < COLOUR_CLASSES; c++)
		place.mask[c] = place.all;
	return 0;
}

static void switch_on(void)
{
	page_colouring_start(place.nr_colours, class_of_current);
	page_colouring_set(COLOUR_KERNEL, place.kernel);
}

static void set(void *ctx, unsigned cls, u64 mask)
{
	bool was, is = mask != place.all;

	if (cls == COLOUR_KERNEL) {
		place.kernel = mask;
		return;
	}
	was = place.mask[cls] != place.all;
	place.mask[cls] = mask;
	if (is && !was && !place.partial++)
		switch_on();
	if (place.partial)
		page_colouring_set(cls, mask);
	if (was && !is && !--place.partial)
		page_colouring_stop();
}

static void stop(void *ctx)
{
	ensure(!place.partial);
}

/* ---- moving what is resident ------------------------------------------------------------------------------- */

static void recolour_process(struct process *p)
{
	struct mm_recolour r = { .nr_colours = place.nr_colours };
	struct task *t = p->leader;
	struct mm *m = t ? mm_of_task(t) : NULL;

	if (!m)
		return;
	mutex_lock(&resctrl_lock);
	r.mask = place.mask[host_class_of_group(READ_ONCE(t->cache_group))];
	mutex_unlock(&resctrl_lock);
	if (r.mask != place.all && mm_recolour(m, &r))
		log_warn("resctrl: no page of the colours of %s is left; it keeps others", t->comm);
	mm_put(m);
	atomic_add(&place.moved, r.moved);
	atomic_add(&place.left, r.left);
}

static void recolour_all(struct work *w)
{
	struct process *p;

	atomic_set(&place.running, 1);
	while (atomic_xchg(&place.again, 0)) {
		atomic_add(&place.rounds, 1);
		atomic_set(&place.left, 0);
		for (int nr = 1; (p = process_next(&nr)); nr++) {
			recolour_process(p);
			process_put(p);
		}
	}
	atomic_set(&place.running, 0);
}

void place_again(void)
{
	atomic_set(&place.again, 1);
	if (place.partial)
		work_queue(&place.work);
}

static void recolour(void *ctx, unsigned cls, u64 mask)
{
	place_again();
}

static bool is_moving(void)
{
	return atomic_read(&place.running) || (READ_ONCE(place.partial) && atomic_read(&place.again));
}

static void progress(void *ctx, struct strbuf *out)
{
	strbuf_add(out, "%s\nrounds %llu\nmoved %llu\nkept %llu\n", is_moving() ? "running" : "idle",
		   (unsigned long long)atomic_read(&place.rounds), (unsigned long long)atomic_read(&place.moved),
		   (unsigned long long)atomic_read(&place.left));
}

static const struct colour_allocator_ops allocator_ops = {
	.start = start, .set = set, .stop = stop, .recolour = recolour, .progress = progress
};

static bool is_his(u16 owner, const void *tenant)
{
	return owner && tenant_page_is_below(owner, tenant);
}

void place_show(const struct tenant *t, struct strbuf *out)
{
	u64 pages[COLOUR_MAX] = { 0 };

	if (!place.nr_colours)
		return;
	for (unsigned i = 0; page_colouring_count(i, place.nr_colours, is_his, t, pages); i++)
		resched_point();
	for (unsigned c = 0; c < place.nr_colours; c++)
		strbuf_add(out, "pages.%u %llu\n", c, (unsigned long long)pages[c]);
	strbuf_add(out, "recolouring.running %d\nrecolouring.moved %llu\nrecolouring.kept %llu\n", is_moving(),
		   (unsigned long long)atomic_read(&place.moved), (unsigned long long)atomic_read(&place.left));
}

/* ---- geometry ---------------------------------------------------------------------------------------------- */

/* One number and what follows it: K and M multiply; *at moves behind a comma, to NULL at the end. */
static int take_size(const char **at, u64 *out)
{
	const char *p = *at;
	u64 v = 0;

	if (!p || *p < '0' || *p > '9')
		return -EINVAL;
	for (; *p >= '0' && *p <= '9' && v < BIT(40); p++)
		v = v * 10 + (u64)(*p - '0');
	if (*p == 'K' || *p == 'M')
		v <<= *p++ == 'K' ? 10 : 20;
	if (*p && *p != ',')
		return -EINVAL;
	*at = *p ? p + 1 : NULL;
	*out = v;
	return 0;
}

static void read_param(const char *name, struct colour_cache *c)
{
	u64 bytes, ways, slices = 1;
	const char *at;
	char text[48];

	if (!boot_param(name, text, sizeof(text)))
		return;
	at = text;
	if (take_size(&at, &bytes) || take_size(&at, &ways) || (at && take_size(&at, &slices)) || at) {
		log_warn("resctrl: cannot use %s=%s: BYTES,WAYS[,SLICES]", name, text);
		return;
	}
	*c = (struct colour_cache){ bytes, (unsigned)ways, 64, (unsigned)slices, true };
}

static void find_places(unsigned level, struct colour_places *out)
{
	struct cpu_cache c;
	unsigned cpu, i;

	for_each_cpu (cpu, cpu_online_mask())
		for (unsigned n = 0; cpu_cache(cpu, n, &c); n++) {
			if (c.level != level || c.type == CACHE_CODE)
				continue;
			for (i = 0; i < out->nr && out->at[i].id != c.id; i++)
				;
			if (i == ARRAY_SIZE(out->at))
				continue;
			out->at[i].id = c.id;
			out->at[i].cpus = c.shared;
			out->nr = max(out->nr, i + 1);
		}
}

static void find_caches(struct colour_machine *m)
{
	struct cpu_cache c;

	for (unsigned n = 0; cpu_cache(0, n, &c); n++)
		if (c.level == 2 && c.type != CACHE_CODE)
			m->l2 = (struct colour_cache){ c.bytes, c.ways, c.line, 1, true };
		else if (c.level == 3)
			m->l3 = (struct colour_cache){ c.bytes, c.ways, c.line, 1, false };
	find_places(2, &m->l2_at);
	find_places(3, &m->l3_at);
	read_param("resctrl.l2", &m->l2);
	read_param("resctrl.l3", &m->l3);
}

int place_create(struct resctrl_backend **out)
{
	struct colour_machine m = { .cpus = cpu_online_mask(), .is_guest = cpu_has(CPU_HYPERVISOR) };
	struct colour_backend *b;
	unsigned most;
	char text[24] = "";
	const char *at = text;
	u64 n;
	int err;

	find_caches(&m);
	if (boot_param("resctrl.hostpage", text, sizeof(text)) && (take_size(&at, &n) || at))
		log_warn("resctrl: cannot use resctrl.hostpage=%s", text);
	else if (text[0])
		m.host_page_bytes = n;
	most = max(colour_count(&m.l2), colour_count(&m.l3));
	m.kernel_colours = most >= 8 ? most / 8 : 0;
	m.kernel_colours = (unsigned)boot_param_u64("resctrl.kernel", most ? most - 1 : 0, m.kernel_colours);
	work_init(&place.work, recolour_all);
	err = colour_backend_create(&m, &allocator_ops, NULL, &b);
	if (!err)
		*out = colour_backend_get(b);
	return err;
}
