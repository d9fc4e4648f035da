/* SPDX-License-Identifier: MIT
 *
 * Problem: the directory tree of resctrl is an interface that pqos, libvirt and container runtimes
 * walk, and it must not depend on any file system type.
 *
 * Idea: a table of files (name, mode, show, store) for each kind of directory. Which directories there are is
 * paths.c's, what is counted monitor.c's.
 *
 *      /                 cpus cpus_list tasks schemata mode size
 *      /GROUP/           the same six files; a monitor group has the first three
 *      /info/            last_cmd_status, backend, recolouring
 *      /info/L3/         num_closids cbm_mask min_cbm_bits shareable_bits bit_usage
 *      /info/MB/         num_closids min_bandwidth bandwidth_gran delay_linear thread_throttle_mode
 *
 * Contract: resctrl.h.
 * info/backend and info/recolouring are ours, plain files, which clients that look for directories pass over.
 *
 * Locks: the caller's.
 */
#include <lib/err.h>
#include <lib/string.h>
#include "resctrl_priv.h"

/* ---- files of a group ------------------------------------------------------------------------------------ */

static int show_schemata(struct resctrl *r, struct group *g, unsigned row, struct strbuf *out)
{
	return resctrl_schemata_show(r, g, out);
}

static int show_size(struct resctrl *r, struct group *g, unsigned row, struct strbuf *out)
{
	return resctrl_size_show(r, g, out);
}

static int show_mode(struct resctrl *r, struct group *g, unsigned row, struct strbuf *out)
{
	strbuf_add(out, "%s\n", g->mode == MODE_EXCLUSIVE ? "exclusive" : "shareable");
	return 0;
}

static int show_cpus(struct resctrl *r, struct group *g, unsigned row, struct strbuf *out)
{
	resctrl_cpus_show_mask(g->cpus, r->nr_cpus, out);
	return 0;
}

static int show_cpus_list(struct resctrl *r, struct group *g, unsigned row, struct strbuf *out)
{
	resctrl_cpus_show_list(g->cpus, out);
	return 0;
}

static int show_tasks(struct resctrl *r, struct group *g, unsigned row, struct strbuf *out)
{
	s32 tid = 0;

	while (r->host->task_next(r->ctx, g->id, &tid))
		strbuf_add(out, "%d\n", tid);
	return 0;
}

static int store_parsed_cpus(struct resctrl *r, struct group *g, int err, u64 cpus)
{
	if (err)
		return resctrl_refuse(r, -err, "not a set of CPUs");
	if (cpus & ~r->online)
		return resctrl_refuse(r, EINVAL, "only CPUs that are online can be assigned");
	if (!g->id && (g->cpus & ~cpus))
		return resctrl_refuse(r, EINVAL, "a CPU leaves the default group by joining another");
	if (is_monitor_group(g) && (cpus & ~r->group[g->parent]->cpus))
		return resctrl_refuse(r, EINVAL, "a monitor group has CPUs of the group above it only");
	resctrl_set_cpus(r, g, cpus);
	return 0;
}

static int store_cpus(struct resctrl *r, struct group *g, const char *text, size_t len)
{
	u64 cpus = 0;
	int err;

	r->status[0] = '\0';
	err = resctrl_cpus_parse_mask(resctrl_slice_of(text, len), r->nr_cpus, &cpus);
	return store_parsed_cpus(r, g, err, cpus);
}

static int store_cpus_list(struct resctrl *r, struct group *g, const char *text, size_t len)
{
	u64 cpus = 0;
	int err;

	r->status[0] = '\0';
	err = resctrl_cpus_parse_list(resctrl_slice_of(text, len), r->nr_cpus, &cpus);
	return store_parsed_cpus(r, g, err, cpus);
}

static int store_tasks(struct resctrl *r, struct group *g, const char *text, size_t len)
{
	s64 tid;
	int err;

	r->status[0] = '\0';
	if (resctrl_slice_signed(resctrl_slice_trim(resctrl_slice_of(text, len)), 0, &tid) || tid < 0 ||
	    tid > INT32_MAX)
		return -EINVAL;
	err = r->host->task_move(r->ctx, (s32)tid, g->id, g->parent);
	if (err == -EXDEV)
		return resctrl_refuse(r, EINVAL, "task %d is not in the group above this monitor group", (int)tid);
	if (err == -ESRCH)
		return resctrl_refuse(r, ESRCH, "no task %d", (int)tid);
	if (err == -EPERM)
		return resctrl_refuse(r, EPERM, "task %d belongs to another user", (int)tid);
	return err;
}

#define MONITOR_GROUP_FILES 3 /* the first of these */
static const struct resctrl_file group_files[] = {
	{ "cpus", 0644, show_cpus, store_cpus, 0 },
	{ "cpus_list", 0644, show_cpus_list, store_cpus_list, 0 },
	{ "tasks", 0644, show_tasks, store_tasks, 0 },
	{ "schemata", 0644, show_schemata, resctrl_schemata_store, 0 },
	{ "mode", 0644, show_mode, resctrl_mode_store, 0 },
	{ "size", 0444, show_size, NULL, 0 },
};

/* ---- info ------------------------------------------------------------------------------------------------ */

static int show_status(struct resctrl *r, struct group *g, unsigned row, struct strbuf *out)
{
	strbuf_add(out, "%s\n", r->status[0] ? r->status : "ok");
	return 0;
}

static int show_backend(struct resctrl *r, struct group *g, unsigned row, struct strbuf *out)
{
	r->be->ops->describe(r->be, out);
	return 0;
}

static int show_recolouring(struct resctrl *r, struct group *g, unsigned row, struct strbuf *out)
{
	if (r->be->ops->progress)
		r->be->ops->progress(r->be, out);
	else
		strbuf_add(out, "nothing to move\n");
	return 0;
}

static int show_num_closids(struct resctrl *r, struct group *g, unsigned row, struct strbuf *out)
{
	struct resctrl_resource *res = row_resource(r, row);

	strbuf_add(out, "%u\n", res->num_classes >> res->cdp_on);
	return 0;
}

static int show_cbm_mask(struct resctrl *r, struct group *g, unsigned row, struct strbuf *out)
{
	strbuf_add(out, "%x\n", resctrl_row_full(r, row));
	return 0;
}

static int show_min_cbm_bits(struct resctrl *r, struct group *g, unsigned row, struct strbuf *out)
{
	strbuf_add(out, "%u\n", row_resource(r, row)->min_bits);
	return 0;
}

static int show_shareable_bits(struct resctrl *r, struct group *g, unsigned row, struct strbuf *out)
{
	strbuf_add(out, "%x\n", row_resource(r, row)->shared_bits);
	return 0;
}

/* One letter a portion, highest first: 0 unused, S shareable, E exclusive, H hardware, X hardware
 * and software. */
static char usage_letter(u32 bit, u32 hardware, u32 shareable, u32 exclusive)
{
	if (hardware & bit)
		return shareable & bit ? 'X' : 'H';
	if (shareable & bit)
		return 'S';
	return exclusive & bit ? 'E' : '0';
}

static int show_bit_usage(struct resctrl *r, struct group *g, unsigned row, struct strbuf *out)
{
	struct resctrl_resource *res = row_resource(r, row);
	const char *sep = "";

	for (int d = resctrl_domain_after(res, -1); d >= 0; d = resctrl_domain_after(res, d)) {
		u32 exclusive = resctrl_others_hold(r, NULL, row, d, true);
		u32 shareable = resctrl_others_hold(r, NULL, row, d, false) & ~exclusive;

		strbuf_add(out, "%s%u=", sep, res->domain[d].id);
		for (int bit = res->width - 1; bit >= 0; bit--) {
			char c = usage_letter(1u << bit, res->shared_bits, shareable, exclusive);

			strbuf_put(out, &c, 1);
		}
		sep = ";";
	}
	strbuf_put(out, "\n", 1);
	return 0;
}

static int show_min_bandwidth(struct resctrl *r, struct group *g, unsigned row, struct strbuf *out)
{
	strbuf_add(out, "%u\n", row_resource(r, row)->bw_min);
	return 0;
}

static int show_bandwidth_gran(struct resctrl *r, struct group *g, unsigned row, struct strbuf *out)
{
	strbuf_add(out, "%u\n", row_resource(r, row)->bw_gran);
	return 0;
}

static int show_delay_linear(struct resctrl *r, struct group *g, unsigned row, struct strbuf *out)
{
	strbuf_add(out, "%u\n", row_resource(r, row)->bw_linear);
	return 0;
}

static int show_throttle(struct resctrl *r, struct group *g, unsigned row, struct strbuf *out)
{
	strbuf_add(out, "%s\n", row_resource(r, row)->bw_throttle);
	return 0;
}

static const struct resctrl_file info_files[] = {
	{ "last_cmd_status", 0444, show_status, NULL, 0 },
	{ "backend", 0444, show_backend, NULL, 0 },
	{ "recolouring", 0444, show_recolouring, NULL, 0 },
};
static const struct resctrl_file cache_files[] = {
	{ "num_closids", 0444, show_num_closids, NULL, 0 },   { "cbm_mask", 0444, show_cbm_mask, NULL, 0 },
	{ "min_cbm_bits", 0444, show_min_cbm_bits, NULL, 0 }, { "shareable_bits", 0444, show_shareable_bits, NULL, 0 },
	{ "bit_usage", 0444, show_bit_usage, NULL, 0 },
};
static const struct resctrl_file bandwidth_files[] = {
	{ "num_closids", 0444, show_num_closids, NULL, 0 },
	{ "min_bandwidth", 0444, show_min_bandwidth, NULL, 0 },
	{ "bandwidth_gran", 0444, show_bandwidth_gran, NULL, 0 },
	{ "delay_linear", 0444, show_delay_linear, NULL, 0 },
	{ "thread_throttle_mode", 0444, show_throttle, NULL, 0 }, /* last: not on every processor */
};

struct file_table {
	const struct resctrl_file *files;
	unsigned n;
};

static struct file_table row_table(struct resctrl *r, unsigned row)
{
	struct resctrl_resource *res = row_resource(r, row);

	if (r->row[row].id == RESCTRL_MB)
		return (struct file_table){ bandwidth_files, ARRAY_SIZE(bandwidth_files) - !res->bw_throttle };
	return (struct file_table){ cache_files, ARRAY_SIZE(cache_files) };
}

static struct file_table table_of(struct resctrl *r, const struct resctrl_node *dir)
{
	bool monitor = dir->group != GROUP_NONE && r->control[dir->group] != dir->group;

	switch (dir->dir) {
	case DIR_GROUP:
		return (struct file_table){ group_files, monitor ? MONITOR_GROUP_FILES : ARRAY_SIZE(group_files) };
	case DIR_INFO: return (struct file_table){ info_files, ARRAY_SIZE(info_files) };
	case DIR_ROW: return row_table(r, dir->index);
	case DIR_MONITOR: return (struct file_table){ resctrl_monitor_files, MONITOR_FILES };
	case DIR_MON_DOMAIN: return (struct file_table){ resctrl_event_files, EVENT_FILES };
	default: return (struct file_table){ NULL, 0 };
	}
}

const struct resctrl_file *resctrl_files(struct resctrl *r, const struct resctrl_node *dir, unsigned *n)
{
	struct file_table t = table_of(r, dir);

	*n = t.n;
	return t.files;
}
