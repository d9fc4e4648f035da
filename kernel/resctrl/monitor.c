/* SPDX-License-Identifier: MIT
 *
 * Problem: each group wants to know what it has in the cache and what it moves to memory; the hardware counts by tag,
 * has few tags, and a tag whose group has gone still owns lines for a while.
 *
 * Idea: tags that are free wait in a queue, longest unused first. Whoever needs one takes the first that has next to
 * nothing cached any more (busy_bytes, in every cache); that is asked then, so nothing has to watch meanwhile.
 *
 *      mon_data/mon_L3_00/   llc_occupancy mbm_total_bytes mbm_local_bytes: the group's and its monitor groups' sum
 *      info/L3_MON/          num_rmids mon_features max_threshold_occupancy (busy_bytes, to be set)
 *
 * Contract: resctrl.h, "Text follows Linux": `Unavailable` and `Error` where the processor says so for all tags.
 *
 * Locks: the caller's.
 */
#include <alloc/slab.h>
#include <lib/err.h>
#include <lib/string.h>
#include "resctrl_priv.h"

/* ---- tags ------------------------------------------------------------------------------------------------ */

static u64 whole_units(const struct resctrl_monitor *m, u64 bytes)
{
	return m->unit ? bytes / m->unit * m->unit : bytes;
}

int resctrl_monitor_begin(struct resctrl *r)
{
	const struct resctrl_monitor *m = &r->be->mon;

	r->free_tags = kcalloc(m->num_tags, sizeof(*r->free_tags), ALLOC_KERNEL);
	if (!r->free_tags)
		return -ENOMEM;
	r->nr_free_tags = 0;
	for (u16 tag = 1; tag < m->num_tags; tag++)
		r->free_tags[r->nr_free_tags++] = tag;
	if (!r->busy_bytes)
		r->busy_bytes = whole_units(m, m->l3_bytes / m->num_tags);
	r->be->ops->forget(r->be, 0);
	return 0;
}

void resctrl_monitor_end(struct resctrl *r)
{
	kfree(r->free_tags);
	r->free_tags = NULL;
}

static bool is_clean(struct resctrl *r, u16 tag)
{
	const struct resctrl_resource *l3 = &r->be->res[RESCTRL_L3];
	u64 bytes;

	if (!(r->be->mon.events >> RESCTRL_OCCUPANCY & 1))
		return true;
	for (int d = resctrl_domain_after(l3, -1); d >= 0; d = resctrl_domain_after(l3, d))
		if (r->be->ops->count(r->be, tag, (unsigned)d, RESCTRL_OCCUPANCY, &bytes) || bytes > r->busy_bytes)
			return false;
	return true;
}

int resctrl_tag_take(struct resctrl *r, u16 *out)
{
	for (unsigned i = 0; i < r->nr_free_tags; i++) {
		u16 tag = r->free_tags[i];

		if (!is_clean(r, tag))
			continue;
		memmove(&r->free_tags[i], &r->free_tags[i + 1], (--r->nr_free_tags - i) * sizeof(tag));
		r->be->ops->forget(r->be, tag);
		*out = tag;
		return 0;
	}
	if (r->nr_free_tags)
		return resctrl_refuse(r, EBUSY, "the free monitoring tags still have something in a cache");
	return resctrl_refuse(r, ENOSPC, "all %u monitoring tags are in use", r->be->mon.num_tags);
}

void resctrl_tag_give(struct resctrl *r, u16 tag)
{
	r->free_tags[r->nr_free_tags++] = tag;
}

/* ---- counts ---------------------------------------------------------------------------------------------- */

void resctrl_monitor_tick(struct resctrl *r)
{
	const struct resctrl_resource *l3 = &r->be->res[RESCTRL_L3];
	u64 ignored;

	for (unsigned i = 0; r->mounted && i < RESCTRL_MAX_GROUPS; i++)
		for (int d = resctrl_domain_after(l3, -1); r->group[i] && d >= 0; d = resctrl_domain_after(l3, d))
			for (int e = RESCTRL_MBM_TOTAL; e <= RESCTRL_MBM_LOCAL; e++)
				if (r->be->mon.events >> e & 1)
					(void)r->be->ops->count(r->be, r->group[i]->tag, (unsigned)d, e, &ignored);
}

/* Of the group and its monitor groups, as far as there is something to be had. */
static int sum_up(struct resctrl *r, const struct group *g, unsigned domain, enum resctrl_event e, u64 *sum)
{
	bool any = false;
	u64 bytes;
	int own = 0;

	*sum = 0;
	for (unsigned i = 0; i < RESCTRL_MAX_GROUPS; i++) {
		const struct group *o = r->group[i];
		int err = o && (o == g || o->parent == g->id) ? r->be->ops->count(r->be, o->tag, domain, e, &bytes) : 1;

		if (!err)
			*sum += bytes;
		any |= !err;
		own = o == g ? err : own;
	}
	return any ? 0 : own;
}

int resctrl_occupancy(struct resctrl *r, u16 group, unsigned domain, u64 *bytes)
{
	if (!r->mounted || !(r->be->mon.events >> RESCTRL_OCCUPANCY & 1))
		return -EINVAL;
	return sum_up(r, r->group[group], domain, RESCTRL_OCCUPANCY, bytes);
}

static int show_event(struct resctrl *r, struct group *g, unsigned domain, enum resctrl_event e, struct strbuf *out)
{
	u64 sum;
	int err = sum_up(r, g, domain, e, &sum);

	if (err)
		strbuf_add(out, err == -EIO ? "Error\n" : "Unavailable\n");
	else
		strbuf_add(out, "%llu\n", (unsigned long long)sum);
	return 0;
}

static int show_occupancy(struct resctrl *r, struct group *g, unsigned domain, struct strbuf *out)
{
	return show_event(r, g, domain, RESCTRL_OCCUPANCY, out);
}

static int show_total(struct resctrl *r, struct group *g, unsigned domain, struct strbuf *out)
{
	return show_event(r, g, domain, RESCTRL_MBM_TOTAL, out);
}

static int show_local(struct resctrl *r, struct group *g, unsigned domain, struct strbuf *out)
{
	return show_event(r, g, domain, RESCTRL_MBM_LOCAL, out);
}

const struct resctrl_file resctrl_event_files[EVENT_FILES] = {
	{ "llc_occupancy", 0444, show_occupancy, NULL, RESCTRL_OCCUPANCY },
	{ "mbm_total_bytes", 0444, show_total, NULL, RESCTRL_MBM_TOTAL },
	{ "mbm_local_bytes", 0444, show_local, NULL, RESCTRL_MBM_LOCAL },
};

/* ---- info ------------------------------------------------------------------------------------------------ */

static int show_num_rmids(struct resctrl *r, struct group *g, unsigned index, struct strbuf *out)
{
	strbuf_add(out, "%u\n", r->be->mon.num_tags);
	return 0;
}

static int show_features(struct resctrl *r, struct group *g, unsigned index, struct strbuf *out)
{
	for (unsigned i = 0; i < EVENT_FILES; i++)
		if (r->be->mon.events >> resctrl_event_files[i].event & 1)
			strbuf_add(out, "%s\n", resctrl_event_files[i].name);
	return 0;
}

static int show_threshold(struct resctrl *r, struct group *g, unsigned index, struct strbuf *out)
{
	strbuf_add(out, "%llu\n", (unsigned long long)r->busy_bytes);
	return 0;
}

static int store_threshold(struct resctrl *r, struct group *g, const char *text, size_t len)
{
	u64 bytes;
	int err = str_to_u64(text, 0, &bytes);

	if (!err && bytes > UINT32_MAX)
		err = -ERANGE;
	if (!err && bytes > r->be->mon.l3_bytes)
		err = -EINVAL;
	if (!err)
		r->busy_bytes = whole_units(&r->be->mon, bytes);
	return err;
}

const struct resctrl_file resctrl_monitor_files[MONITOR_FILES] = {
	{ "num_rmids", 0444, show_num_rmids, NULL, 0 },
	{ "mon_features", 0444, show_features, NULL, 0 },
	{ "max_threshold_occupancy", 0644, show_threshold, store_threshold, RESCTRL_OCCUPANCY },
};
