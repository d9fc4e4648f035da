/* SPDX-License-Identifier: MIT
 *
 * Problem: the directory tree of resctrl is an interface that pqos, libvirt and container runtimes
 * walk, and it must not depend on any file system type.
 *
 * Idea: a table of files (name, mode, show, store) for each kind of directory; a path resolves to a
 * node, and a node is shown or stored. The attribute-tree adapter gives nodes inode numbers and
 * nothing more.
 *
 *      /                 schemata cpus cpus_list tasks mode size, info/, one directory a group
 *      /GROUP/           the same six files
 *      /info/            last_cmd_status, backend, recolouring, one directory a row
 *      /info/L3/         num_closids cbm_mask min_cbm_bits shareable_bits bit_usage
 *      /info/MB/         num_closids min_bandwidth bandwidth_gran delay_linear
 *
 * Contract: resctrl.h. A node of a removed group gives ENOENT: nodes carry the group's generation.
 * info/backend and info/recolouring are ours, plain files, which clients that look for directories pass over.
 *
 * Locks: the caller's.
 */
#include <lib/err.h>
#include <lib/string.h>
#include "resctrl_priv.h"

#define DIR_MODE  0040555
#define FILE_MODE 0100000

struct resctrl_file {
	const char *name;
	u16 perm;
	int (*show)(struct resctrl *r, struct group *g, unsigned row, struct strbuf *out);
	int (*store)(struct resctrl *r, struct group *g, const char *text, size_t len);
};

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

/* CPUs that this group takes or gives up. Each CPU is in exactly one group. */
static void set_cpus(struct resctrl *r, struct group *g, u64 cpus)
{
	u64 changed = g->cpus ^ cpus;

	for (unsigned i = 0; i < RESCTRL_MAX_GROUPS; i++)
		if (r->group[i] && r->group[i] != g)
			r->group[i]->cpus &= ~cpus;
	r->group[0]->cpus |= g->cpus & ~cpus;
	g->cpus = cpus;
	for (unsigned cpu = 0; cpu < 64; cpu++)
		if (changed >> cpu & 1)
			WRITE_ONCE(r->group_of_cpu[cpu], cpus >> cpu & 1 ? g->id : 0);
	if (changed)
		r->host->refresh(r->ctx, g->id, changed);
}

static int store_parsed_cpus(struct resctrl *r, struct group *g, int err, u64 cpus)
{
	if (err)
		return resctrl_refuse(r, -err, "not a set of CPUs");
	if (cpus & ~r->online)
		return resctrl_refuse(r, EINVAL, "only CPUs that are online can be assigned");
	if (!g->id && (g->cpus & ~cpus))
		return resctrl_refuse(r, EINVAL, "a CPU leaves the default group by joining another");
	set_cpus(r, g, cpus);
	return 0;
}

static int store_cpus(struct resctrl *r, struct group *g, const char *text, size_t len)
{
	u64 cpus = 0;
	int err;

	if (!len)
		return -EINVAL;
	r->status[0] = '\0';
	err = resctrl_cpus_parse_mask(resctrl_slice_of(text, len), r->nr_cpus, &cpus);
	return store_parsed_cpus(r, g, err, cpus);
}

static int store_cpus_list(struct resctrl *r, struct group *g, const char *text, size_t len)
{
	u64 cpus = 0;
	int err;

	if (!len)
		return -EINVAL;
	r->status[0] = '\0';
	err = resctrl_cpus_parse_list(resctrl_slice_of(text, len), r->nr_cpus, &cpus);
	return store_parsed_cpus(r, g, err, cpus);
}

static int store_tasks(struct resctrl *r, struct group *g, const char *text, size_t len)
{
	u64 tid;
	int err;

	r->status[0] = '\0';
	if (resctrl_slice_number(resctrl_slice_trim(resctrl_slice_of(text, len)), 0, &tid) || tid > INT32_MAX)
		return -EINVAL;
	err = r->host->task_move(r->ctx, (s32)tid, g->id);
	if (err == -ESRCH)
		return resctrl_refuse(r, ESRCH, "no task %d", (int)tid);
	if (err == -EPERM)
		return resctrl_refuse(r, EPERM, "task %d belongs to another user", (int)tid);
	return err;
}

static const struct resctrl_file group_files[] = {
	{ "cpus", 0644, show_cpus, store_cpus },         { "cpus_list", 0644, show_cpus_list, store_cpus_list },
	{ "tasks", 0644, show_tasks, store_tasks },      { "schemata", 0644, show_schemata, resctrl_schemata_store },
	{ "mode", 0644, show_mode, resctrl_mode_store }, { "size", 0444, show_size, NULL },
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
	if (exclusive & bit)
		return 'E';
	if (hardware & bit)
		return shareable & bit ? 'X' : 'H';
	return shareable & bit ? 'S' : '0';
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

static const struct resctrl_file info_files[] = {
	{ "last_cmd_status", 0444, show_status, NULL },
	{ "backend", 0444, show_backend, NULL },
	{ "recolouring", 0444, show_recolouring, NULL },
};
static const struct resctrl_file cache_files[] = {
	{ "num_closids", 0444, show_num_closids, NULL },   { "cbm_mask", 0444, show_cbm_mask, NULL },
	{ "min_cbm_bits", 0444, show_min_cbm_bits, NULL }, { "shareable_bits", 0444, show_shareable_bits, NULL },
	{ "bit_usage", 0444, show_bit_usage, NULL },
};
static const struct resctrl_file bandwidth_files[] = {
	{ "num_closids", 0444, show_num_closids, NULL },
	{ "min_bandwidth", 0444, show_min_bandwidth, NULL },
	{ "bandwidth_gran", 0444, show_bandwidth_gran, NULL },
	{ "delay_linear", 0444, show_delay_linear, NULL },
};

/* ---- paths ----------------------------------------------------------------------------------------------- */

#define ROW_NONE 0xff /* not below info/ */
#define ROW_INFO 0xfe /* info/ itself */

struct file_table {
	const struct resctrl_file *files;
	unsigned n;
};

static struct file_table table_of(struct resctrl *r, u8 row)
{
	if (row == ROW_NONE)
		return (struct file_table){ group_files, ARRAY_SIZE(group_files) };
	if (row == ROW_INFO)
		return (struct file_table){ info_files, ARRAY_SIZE(info_files) };
	if (r->row[row].id == RESCTRL_MB)
		return (struct file_table){ bandwidth_files, ARRAY_SIZE(bandwidth_files) };
	return (struct file_table){ cache_files, ARRAY_SIZE(cache_files) };
}

static void make_dir_node(struct resctrl *r, u16 group, u8 row, struct resctrl_node *out)
{
	*out = (struct resctrl_node){ .mode = group && row == ROW_NONE ? 0040755 : DIR_MODE,
				      .group = row == ROW_NONE ? group : GROUP_NONE,
				      .generation = r->generation[row == ROW_NONE ? group : 0],
				      .row = row };
}

/* One name in a directory. */
static int step(struct resctrl *r, const struct resctrl_node *dir, struct slice name, struct resctrl_node *out)
{
	struct file_table t = table_of(r, dir->row);

	for (unsigned i = 0; i < t.n; i++)
		if (resctrl_slice_is(name, t.files[i].name)) {
			*out = *dir;
			out->file = &t.files[i];
			out->mode = FILE_MODE | t.files[i].perm;
			return 0;
		}
	if (dir->row == ROW_INFO)
		for (unsigned row = 0; row < r->nr_rows; row++)
			if (resctrl_slice_is(name, r->row[row].name)) {
				make_dir_node(r, 0, row, out);
				return 0;
			}
	if (dir->row != ROW_NONE || dir->group)
		return -ENOENT;
	if (resctrl_slice_is(name, "info")) {
		make_dir_node(r, 0, ROW_INFO, out);
		return 0;
	}
	for (unsigned i = 1; i < RESCTRL_MAX_GROUPS; i++)
		if (r->group[i] && resctrl_slice_is(name, r->group[i]->name)) {
			make_dir_node(r, i, ROW_NONE, out);
			return 0;
		}
	return -ENOENT;
}

int resctrl_child(struct resctrl *r, const struct resctrl_node *dir, const char *name, struct resctrl_node *out)
{
	return r->mounted ? step(r, dir, resctrl_slice_of(name, strlen(name)), out) : -ENOENT;
}

int resctrl_lookup(struct resctrl *r, const char *path, struct resctrl_node *out)
{
	struct slice rest = resctrl_slice_of(path, strlen(path)), name;
	struct resctrl_node at;
	int err;

	if (!r->mounted)
		return -ENOENT;
	make_dir_node(r, 0, ROW_NONE, &at);
	while (rest.n) {
		resctrl_slice_cut(&rest, '/', &name);
		if (!name.n)
			continue;
		if (at.file)
			return -ENOTDIR;
		err = step(r, &at, name, out);
		if (err)
			return err;
		at = *out;
	}
	*out = at;
	return 0;
}

bool resctrl_readdir(struct resctrl *r, const struct resctrl_node *dir, unsigned n, const char **name)
{
	struct file_table t = table_of(r, dir->row);

	if (n < t.n) {
		*name = t.files[n].name;
		return true;
	}
	n -= t.n;
	if (dir->row == ROW_INFO && n < r->nr_rows) {
		*name = r->row[n].name;
		return true;
	}
	if (dir->row != ROW_NONE || dir->group)
		return false;
	if (!n--) {
		*name = "info";
		return true;
	}
	for (unsigned i = 1; i < RESCTRL_MAX_GROUPS; i++)
		if (r->group[i] && !n--) {
			*name = r->group[i]->name;
			return true;
		}
	return false;
}

/* The group that a node speaks of; NULL when it has gone. info speaks of the default group. */
static struct group *live_group(struct resctrl *r, const struct resctrl_node *n)
{
	u16 id = n->group == GROUP_NONE ? 0 : n->group;

	return r->mounted && r->generation[id] == n->generation ? r->group[id] : NULL;
}

int resctrl_show(struct resctrl *r, const struct resctrl_node *n, struct strbuf *out)
{
	struct group *g = live_group(r, n);

	if (!g)
		return -ENOENT;
	return n->file ? n->file->show(r, g, n->row, out) : -EISDIR;
}

int resctrl_store(struct resctrl *r, const struct resctrl_node *n, const char *text, size_t len)
{
	struct group *g = live_group(r, n);

	if (!g)
		return -ENOENT;
	if (!n->file)
		return -EISDIR;
	return n->file->store ? n->file->store(r, g, text, len) : -EACCES;
}
