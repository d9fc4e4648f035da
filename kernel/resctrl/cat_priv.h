/* SPDX-License-Identifier: MIT
 *
 * What the two halves of the CAT back end share: allocation (cat.c) and monitoring (cat_monitor.c).
 */
#ifndef RESCTRL_CAT_PRIV_H
#define RESCTRL_CAT_PRIV_H

#include <resctrl/cat.h>

/* What has passed by a tag in a domain, by one event. */
struct cat_traffic {
	u64 units, last; /* since forget(); the register when it was read last */
};

struct cat {
	struct resctrl_backend be; /* first: the core hands it back */
	const struct cat_machine_ops *ops;
	void *ctx;
	enum cat_vendor vendor;
	bool divides; /* it has something besides monitoring */
	u32 bw_max_delay;
	u32 *reg[RESCTRL_NR];        /* [register number * RESCTRL_MAX_DOMAINS + domain] */
	u32 pqr[64];                 /* what is in each CPU's association register: class, tag << 16 */
	struct cat_traffic *traffic; /* [(event * tags + tag) * RESCTRL_MAX_DOMAINS + domain]; NULL: none is counted */
	unsigned width;              /* bits of a traffic counter */
};

static inline unsigned cat_any_cpu(u64 cpus)
{
	return __builtin_ctzll(cpus);
}

/* cat_monitor.c */
void cat_find_monitor(struct cat *c);
int cat_make_traffic(struct cat *c); /* -ENOMEM */
int cat_count(struct resctrl_backend *be, unsigned tag, unsigned domain, enum resctrl_event e, u64 *bytes);
void cat_forget(struct resctrl_backend *be, unsigned tag);

#endif
