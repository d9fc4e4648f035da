/* SPDX-License-Identifier: MIT
 *
 * Problem: the processor counts what each tag (RMID) has in an L3 and moves past it, in registers of some 24 bits that
 * wrap within seconds and are chosen by writing another register first.
 *
 * Idea: a count is read on a CPU of the domain: QM_EVTSEL says tag and event, QM_CTR gives the number or says that it
 * has none. Traffic is summed up here, difference by difference, modulo the counter's width; occupancy is as read.
 *
 * Contract: the count and forget of resctrl_backend_ops. Sources: Intel SDM volume 3B, 18.18 (CPUID 0xF: EBX bytes a
 * count, ECX highest RMID, EDX events, EAX[7:0] bits above 24; IA32_QM_EVTSEL 0xC8D, IA32_QM_CTR 0xC8E with error in
 * bit 63, unavailable in bit 62); AMD64 APM volume 2, 19.3 (the same; 44 bits where the leaf says nothing).
 *
 * Locks: the resctrl lock.
 */
#include <alloc/slab.h>
#include <lib/err.h>
#include <lib/string.h>
#include "cat_priv.h"

enum { MSR_QM_EVTSEL = 0xc8d, MSR_QM_CTR = 0xc8e };

#define CTR_ERROR       BIT(63)
#define CTR_UNAVAILABLE BIT(62)
#define WIDTH_LEAST     24
#define WIDTH_AMD       44

void cat_find_monitor(struct cat *c)
{
	struct cat_cpuid v;
	unsigned more;

	c->ops->cpuid(c->ctx, 7, 0, &v);
	if (!(v.ebx >> 12 & 1))
		return;
	c->ops->cpuid(c->ctx, 0xf, 0, &v);
	if (!(v.edx >> 1 & 1))
		return;
	c->ops->cpuid(c->ctx, 0xf, 1, &v);
	more = v.eax & 0xff;
	c->width = WIDTH_LEAST + (more <= 62 - WIDTH_LEAST ? more : 0);
	if (c->vendor == CAT_AMD && !more)
		c->width = WIDTH_AMD;
	c->be.mon.events = (v.edx & 7) << 1;
	c->be.mon.unit = v.ebx;
	c->be.mon.num_tags = (u16)min(v.ecx, 0xfffeU) + 1;
}

static bool counts_traffic(const struct cat *c)
{
	return c->be.mon.events >> RESCTRL_MBM_TOTAL;
}

int cat_make_traffic(struct cat *c)
{
	size_t n = (size_t)c->be.mon.num_tags * RESCTRL_MAX_DOMAINS * 2;

	if (!counts_traffic(c))
		return 0;
	c->traffic = kcalloc(n, sizeof(*c->traffic), ALLOC_KERNEL);
	return c->traffic ? 0 : -ENOMEM;
}

static struct cat_traffic *traffic_of(struct cat *c, unsigned tag, unsigned domain, enum resctrl_event e)
{
	unsigned row = (e - RESCTRL_MBM_TOTAL) * c->be.mon.num_tags + tag;

	return &c->traffic[(size_t)row * RESCTRL_MAX_DOMAINS + domain];
}

static int read_counter(struct cat *c, unsigned tag, unsigned domain, enum resctrl_event e, u64 *out)
{
	u64 cpus = c->be.res[RESCTRL_L3].domain[domain].cpus;

	if (!cpus || c->ops->wrmsr_on(c->ctx, cat_any_cpu(cpus), MSR_QM_EVTSEL, (u64)tag << 32 | e) ||
	    c->ops->rdmsr_on(c->ctx, cat_any_cpu(cpus), MSR_QM_CTR, out))
		return -EIO;
	if (*out & CTR_ERROR)
		return -EIO;
	return *out & CTR_UNAVAILABLE ? -EINVAL : 0;
}

int cat_count(struct resctrl_backend *be, unsigned tag, unsigned domain, enum resctrl_event e, u64 *bytes)
{
	struct cat *c = container_of(be, struct cat, be);
	struct cat_traffic *t;
	u64 now;
	int err = read_counter(c, tag, domain, e, &now);

	if (e == RESCTRL_OCCUPANCY) {
		*bytes = now * be->mon.unit;
		return err;
	}
	t = traffic_of(c, tag, domain, e);
	if (err == -EINVAL)
		t->last = 0; /* the processor has given its counter to another tag */
	if (err)
		return err;
	t->units += (now - t->last) & (BIT(c->width) - 1);
	t->last = now;
	*bytes = t->units * be->mon.unit;
	return 0;
}

void cat_forget(struct resctrl_backend *be, unsigned tag)
{
	struct cat *c = container_of(be, struct cat, be);

	for (int e = RESCTRL_MBM_TOTAL; e < RESCTRL_EVENTS; e++)
		for (unsigned d = 0; be->mon.events >> e & 1 && d < be->res[RESCTRL_L3].nr_domains; d++) {
			struct cat_traffic *t = traffic_of(c, tag, d, e);

			*t = (struct cat_traffic){ 0 };
			if (read_counter(c, tag, d, e, &t->last))
				t->last = 0;
		}
}
