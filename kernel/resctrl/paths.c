/* SPDX-License-Identifier: MIT
 *
 * Problem: clients walk the directories of resctrl: a group's, those of info, of monitor groups and of what is counted
 * in each cache. Groups come and go under them.
 *
 * Idea: a node is a kind of directory, a group and an index, and perhaps a file in it. One function lists the
 * directories that a directory has besides groups; looking up a name and reading a directory both go through it.
 *
 *      /                 info/  mon_groups/ mon_data/  one directory a group
 *      /GROUP/           mon_groups/ mon_data/
 *      .../mon_groups/   one directory a monitor group
 *      .../mon_data/     mon_L3_00/ and so on, one a domain of the L3
 *      /info/            one directory a row, L3_MON/
 *
 * Those with mon in their names are there where the processor counts.
 *
 * Contract: resctrl.h. A node of a removed group gives ENOENT: nodes carry the group's generation.
 *
 * Locks: the caller's.
 */
#include <lib/err.h>
#include <lib/string.h>
#include "resctrl_priv.h"

#define DIR_MODE   0040555
#define GROUP_MODE 0040755
#define FILE_MODE  0100000

static void make_dir(struct resctrl *r, enum dir_kind dir, u16 group, unsigned index, struct resctrl_node *out)
{
	*out = (struct resctrl_node){ .mode = dir == DIR_MON_GROUPS || (dir == DIR_GROUP && group) ? GROUP_MODE
												   : DIR_MODE,
				      .group = group,
				      .generation = r->generation[group == GROUP_NONE ? 0 : group],
				      .dir = dir,
				      .index = index };
}

/* The n-th directory of info. */
static const char *info_dir(struct resctrl *r, unsigned n, struct resctrl_node *out)
{
	if (n < r->nr_rows) {
		make_dir(r, DIR_ROW, GROUP_NONE, n, out);
		return r->row[n].name;
	}
	if (n > r->nr_rows || !is_monitored(r))
		return NULL;
	make_dir(r, DIR_MONITOR, GROUP_NONE, 0, out);
	return "L3_MON";
}

/* The n-th directory of a mon_data. */
static const char *domain_dir(struct resctrl *r, u16 group, unsigned n, struct resctrl_node *out)
{
	const struct resctrl_resource *l3 = &r->be->res[RESCTRL_L3];
	int d = resctrl_domain_after(l3, -1);

	while (d >= 0 && n--)
		d = resctrl_domain_after(l3, d);
	if (d < 0)
		return NULL;
	make_dir(r, DIR_MON_DOMAIN, group, (unsigned)d, out);
	str_format(r->scratch, sizeof(r->scratch), "mon_L3_%02u", l3->domain[d].id);
	return r->scratch;
}

/* The n-th directory of a group that is not a group. */
static const char *group_dir(struct resctrl *r, u16 group, unsigned n, struct resctrl_node *out)
{
	bool monitor = r->control[group] != group;

	if (!group && !n--) {
		make_dir(r, DIR_INFO, GROUP_NONE, 0, out);
		return "info";
	}
	if (!is_monitored(r))
		return NULL;
	if (!n--) {
		make_dir(r, DIR_MON_DATA, group, 0, out);
		return "mon_data";
	}
	if (n || monitor)
		return NULL;
	make_dir(r, DIR_MON_GROUPS, group, 0, out);
	return "mon_groups";
}

static const char *fixed_dir(struct resctrl *r, const struct resctrl_node *dir, unsigned n, struct resctrl_node *out)
{
	switch (dir->dir) {
	case DIR_GROUP: return group_dir(r, dir->group, n, out);
	case DIR_INFO: return info_dir(r, n, out);
	case DIR_MON_DATA: return domain_dir(r, dir->group, n, out);
	default: return NULL;
	}
}

/* Does the directory hold groups, and below which parent? */
static bool holds_groups(const struct resctrl_node *dir, u16 *parent)
{
	*parent = dir->dir == DIR_MON_GROUPS ? dir->group : GROUP_NONE;
	return dir->dir == DIR_MON_GROUPS || (dir->dir == DIR_GROUP && !dir->group);
}

static bool is_counted(const struct resctrl *r, const struct resctrl_file *f)
{
	return !f->event || r->be->mon.events >> f->event & 1;
}

static void make_file(const struct resctrl_node *dir, const struct resctrl_file *f, struct resctrl_node *out)
{
	*out = *dir;
	out->file = f;
	out->mode = FILE_MODE | f->perm;
}

/* One name in a directory. */
static int step(struct resctrl *r, const struct resctrl_node *dir, struct slice name, struct resctrl_node *out)
{
	unsigned nr;
	const struct resctrl_file *files = resctrl_files(r, dir, &nr);
	struct group *g;
	const char *fixed;
	u16 parent;

	for (unsigned i = 0; i < nr; i++)
		if (resctrl_slice_is(name, files[i].name) && is_counted(r, &files[i])) {
			make_file(dir, &files[i], out);
			return 0;
		}
	for (unsigned n = 0; (fixed = fixed_dir(r, dir, n, out)); n++)
		if (resctrl_slice_is(name, fixed))
			return 0;
	g = holds_groups(dir, &parent) ? resctrl_find_named(r, parent, name.p, name.n) : NULL;
	if (!g)
		return -ENOENT;
	make_dir(r, DIR_GROUP, g->id, 0, out);
	return 0;
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
	make_dir(r, DIR_GROUP, 0, 0, &at);
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

bool resctrl_readdir(struct resctrl *r, const struct resctrl_node *dir, unsigned n, const char **name,
		     struct resctrl_node *out)
{
	unsigned nr, nr_dirs = 0;
	const struct resctrl_file *files = resctrl_files(r, dir, &nr);
	u16 parent;

	for (unsigned i = 0; i < nr; i++)
		if (is_counted(r, &files[i]) && !n--) {
			make_file(dir, &files[i], out);
			*name = files[i].name;
			return true;
		}
	*name = fixed_dir(r, dir, n, out);
	if (*name)
		return true;
	while (fixed_dir(r, dir, nr_dirs, out))
		nr_dirs++;
	n -= nr_dirs;
	for (unsigned i = 1; holds_groups(dir, &parent) && i < RESCTRL_MAX_GROUPS; i++)
		if (r->group[i] && r->group[i]->parent == parent && !n--) {
			make_dir(r, DIR_GROUP, i, 0, out);
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
	return n->file ? n->file->show(r, g, n->index, out) : -EISDIR;
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
