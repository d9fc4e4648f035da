/* SPDX-License-Identifier: MIT
 *
 * Problem: hardware has few classes of service (4 to 16, half of that with code and data apart),
 * and on Linux each directory takes one, so container stacks run out and break each other.
 *
 * Idea: a group is a name and a number; a class is a set of values. Groups with equal values share
 * a class, so a class is taken only by a write that makes a set of values that nobody has. A task
 * carries its group's number and nothing else; label[] maps it, so that moving a group to
 * another class is one store and a nudge to the CPUs that run it. A monitor group is a group with a parent: it has
 * the parent's class and a tag of its own.
 *
 *      group (directory) --label--> class --set()--> back end
 *                              '--> tag   <-count()--
 *      class 0 always belongs to the default group; a class with no group keeps its last values, so
 * that the back end is written only where a value really changes.
 *
 * Contract: resctrl.h. resctrl_group_set_values: all or nothing; the only failure is ENOSPC.
 *
 * Locks: the caller's; label and group_of_cpu are read without it, one word each: a reader
 * sees the old or the new class, and refresh() brings it to the new one.
 */
#include <alloc/slab.h>
#include <core/log.h>
#include <lib/err.h>
#include <lib/string.h>
#include "resctrl_priv.h"

int resctrl_refuse(struct resctrl *r, int err, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	str_vformat(r->status, sizeof(r->status), fmt, ap);
	va_end(ap);
	return fail(err, "resctrl: %s", r->status);
}

u32 resctrl_row_full(struct resctrl *r, unsigned row)
{
	struct resctrl_resource *res = row_resource(r, row);

	return r->row[row].id == RESCTRL_MB ? res->bw_max : (u32)(BIT(res->width) - 1);
}

int resctrl_domain_after(const struct resctrl_resource *res, int d)
{
	s64 floor = d < 0 ? -1 : (s64)res->domain[d].id;
	int best = -1;

	for (unsigned i = 0; i < res->nr_domains; i++)
		if (res->domain[i].cpus && res->domain[i].id > floor &&
		    (best < 0 || res->domain[i].id < res->domain[best].id))
			best = i;
	return best;
}

/* ---- rows: which lines schemata has, set at mount ----------------------------------------------
 */

static void add_row(struct resctrl *r, enum resctrl_resource_id id, enum resctrl_half half)
{
	static const char *const name[RESCTRL_NR] = { "L3", "L2", "MB" };
	static const char *const suffix[] = { "", "DATA", "CODE" };
	struct row *row = &r->row[r->nr_rows++];

	*row = (struct row){ .id = id, .half = half, .peer = -1 };
	str_format(row->name, sizeof(row->name), "%s%s", name[id], suffix[half]);
}

static void make_rows(struct resctrl *r)
{
	r->nr_rows = 0;
	r->nr_classes = RESCTRL_MAX_CLASSES;
	for (int id = RESCTRL_NR - 1; id >= 0; id--) { /* the order of Linux's lines */
		struct resctrl_resource *res = &r->be->res[id];

		if (!res->present)
			continue;
		r->nr_classes = min(r->nr_classes, (unsigned)res->num_classes >> res->cdp_on);
		if (!res->cdp_on) {
			add_row(r, id, RESCTRL_BOTH);
			continue;
		}
		add_row(r, id, RESCTRL_DATA);
		add_row(r, id, RESCTRL_CODE);
		r->row[r->nr_rows - 2].peer = r->nr_rows - 1;
		r->row[r->nr_rows - 1].peer = r->nr_rows - 2;
	}
}

/* ---- classes -----------------------------------------------------------------------------------
 */

static bool same_values(struct resctrl *r, const value_set a, const value_set b)
{
	for (unsigned row = 0; row < r->nr_rows; row++)
		if (memcmp(a[row], b[row], row_resource(r, row)->nr_domains * sizeof(u32)))
			return false;
	return true;
}

static int find_class(struct resctrl *r, const value_set value, unsigned except)
{
	for (unsigned c = 0; c < r->nr_classes; c++)
		if (c != except && r->cls[c].groups && same_values(r, r->cls[c].value, value))
			return c;
	return -1;
}

static int find_free_class(struct resctrl *r)
{
	for (unsigned c = 1; c < r->nr_classes; c++)
		if (!r->cls[c].groups)
			return c;
	return -1;
}

/* Brings a class to these values, telling the back end of differences only. */
static void write_class(struct resctrl *r, unsigned c, const value_set value)
{
	bool changed = false;

	for (unsigned row = 0; row < r->nr_rows; row++)
		for (unsigned d = 0; d < row_resource(r, row)->nr_domains; d++) {
			u32 *now = &r->cls[c].value[row][d];

			if (*now == value[row][d])
				continue;
			*now = value[row][d];
			r->be->ops->set(r->be, c, r->row[row].id, r->row[row].half, d, *now);
			changed = true;
		}
	if (changed && r->be->ops->commit)
		r->be->ops->commit(r->be, c);
}

static void full_values(struct resctrl *r, value_set out)
{
	memset(out, 0, sizeof(value_set));
	for (unsigned row = 0; row < r->nr_rows; row++)
		for (unsigned d = 0; d < RESCTRL_MAX_DOMAINS; d++)
			out[row][d] = resctrl_row_full(r, row);
}

#define LABEL_FOLLOWS BIT(15) /* of the default group: the CPU's class comes first */

static void publish_one(struct resctrl *r, const struct group *g)
{
	u32 follows = r->control[g->id] ? 0 : LABEL_FOLLOWS;

	WRITE_ONCE(r->label[g->id], g->cls | follows | (u32)g->tag << 16);
}

/* Tells the context switch what the group and its monitor groups are now. */
static void publish(struct resctrl *r, const struct group *g)
{
	publish_one(r, g);
	for (unsigned i = 0; i < RESCTRL_MAX_GROUPS; i++)
		if (r->group[i] && r->group[i]->parent == g->id) {
			r->group[i]->cls = g->cls;
			publish_one(r, r->group[i]);
		}
}

static void move_group(struct resctrl *r, struct group *g, unsigned c)
{
	r->cls[g->cls].groups--;
	r->cls[c].groups++;
	g->cls = c;
	publish(r, g);
	r->host->refresh(r->ctx, g->id, g->cpus);
}

static void move_sharers(struct resctrl *r, const struct group *keep, unsigned from, unsigned to)
{
	for (unsigned i = 0; i < RESCTRL_MAX_GROUPS; i++)
		if (r->group[i] && r->group[i] != keep && !is_monitor_group(r->group[i]) && r->group[i]->cls == from)
			move_group(r, r->group[i], to);
}

/* The default group keeps class 0: those who share it leave with the old values, those who have the
 * new ones join. */
static int set_default_values(struct resctrl *r, struct group *g, const value_set value)
{
	int equal = find_class(r, value, 0);

	if (r->cls[0].groups > 1) {
		int fresh = find_free_class(r);

		if (fresh < 0)
			return resctrl_refuse(r, ENOSPC, "all %u classes are in use by groups with different masks",
					      r->nr_classes);
		write_class(r, fresh, (const u32(*)[RESCTRL_MAX_DOMAINS])r->cls[0].value);
		move_sharers(r, g, 0, fresh);
	}
	write_class(r, 0, value);
	if (equal > 0)
		move_sharers(r, g, equal, 0);
	return 0;
}

int resctrl_group_set_values(struct resctrl *r, struct group *g, const value_set value)
{
	int c;

	if (same_values(r, r->cls[g->cls].value, value))
		return 0;
	if (g->id == 0)
		return set_default_values(r, g, value);
	c = find_class(r, value, g->cls);
	if (c < 0 && r->cls[g->cls].groups == 1) {
		write_class(r, g->cls, value);
		return 0;
	}
	if (c < 0) {
		c = find_free_class(r);
		if (c < 0)
			return resctrl_refuse(r, ENOSPC, "all %u classes are in use by groups with different masks",
					      r->nr_classes);
		write_class(r, c, value);
	}
	move_group(r, g, c);
	return 0;
}

u32 resctrl_others_hold(struct resctrl *r, const struct group *g, unsigned row, unsigned domain, bool exclusive_only)
{
	int peer = r->row[row].peer;
	u32 held = 0;

	for (unsigned i = 0; i < RESCTRL_MAX_GROUPS; i++) {
		const struct group *o = r->group[i];

		if (!o || o == g || is_monitor_group(o) || (exclusive_only && o->mode != MODE_EXCLUSIVE))
			continue;
		held |= r->cls[o->cls].value[row][domain];
		if (peer >= 0)
			held |= r->cls[o->cls].value[peer][domain];
	}
	return held;
}

/* ---- groups ------------------------------------------------------------------------------------
 */

/* A group that nobody is in yet. */
static int add_group(struct resctrl *r, const char *name, u16 parent, struct group **out)
{
	struct group *g;
	unsigned id;

	for (id = 0; id < RESCTRL_MAX_GROUPS && r->group[id]; id++)
		;
	if (id == RESCTRL_MAX_GROUPS)
		return resctrl_refuse(r, ENOSPC, "%u groups is the limit", RESCTRL_MAX_GROUPS);
	g = kzalloc(sizeof(*g), ALLOC_KERNEL);
	if (!g)
		return -ENOMEM;
	if (id && is_monitored(r)) {
		int err = resctrl_tag_take(r, &g->tag);

		if (err) {
			kfree(g);
			return err;
		}
	}
	str_copy(g->name, name, sizeof(g->name));
	g->id = id;
	g->parent = parent;
	r->group[id] = g;
	r->generation[id]++;
	WRITE_ONCE(r->control[id], parent == GROUP_NONE ? id : parent);
	*out = g;
	return 0;
}

/* Which group each CPU counts for: a monitor group before the one above it. */
static void assign_cpus(struct resctrl *r)
{
	u16 of[64] = { 0 };

	for (int monitors = 0; monitors < 2; monitors++)
		for (unsigned i = 0; i < RESCTRL_MAX_GROUPS; i++)
			for (unsigned cpu = 0; r->group[i] && is_monitor_group(r->group[i]) == monitors && cpu < 64;
			     cpu++)
				if (r->group[i]->cpus >> cpu & 1)
					of[cpu] = i;
	for (unsigned cpu = 0; cpu < 64; cpu++)
		WRITE_ONCE(r->group_of_cpu[cpu], of[cpu]);
}

void resctrl_set_cpus(struct resctrl *r, struct group *g, u64 cpus)
{
	u64 changed = g->cpus ^ cpus;

	for (unsigned i = 0; i < RESCTRL_MAX_GROUPS; i++) {
		struct group *o = r->group[i];

		/* from its like; and from the monitor groups of a group that loses them, or is given anew */
		if (o && o != g && !(is_monitor_group(g) && o->parent != g->parent))
			o->cpus &= o->parent == g->id ? 0 : ~cpus;
	}
	if (!is_monitor_group(g))
		r->group[0]->cpus |= g->cpus & ~cpus;
	g->cpus = cpus;
	assign_cpus(r);
	if (changed)
		r->host->refresh(r->ctx, g->id, changed);
}

/* Its tasks and CPUs go to the group `to`. */
static void drop_group(struct resctrl *r, struct group *g, struct group *to)
{
	u64 cpus = g->cpus;

	for (unsigned i = 0; i < RESCTRL_MAX_GROUPS; i++)
		if (r->group[i] && r->group[i]->parent == g->id)
			drop_group(r, r->group[i], to);
	r->group[g->id] = NULL;
	r->generation[g->id]++;
	to->cpus |= cpus;
	assign_cpus(r);
	r->host->tasks_move_all(r->ctx, g->id, to->id);
	WRITE_ONCE(r->label[g->id], r->label[0]);
	WRITE_ONCE(r->control[g->id], 0);
	r->host->refresh(r->ctx, to->id, cpus);
	if (!is_monitor_group(g))
		r->cls[g->cls].groups--;
	if (g->tag)
		resctrl_tag_give(r, g->tag);
	kfree(g);
}

struct group *resctrl_find_named(struct resctrl *r, u16 parent, const char *name, size_t len)
{
	struct slice s = { name, len };

	for (unsigned i = 1; i < RESCTRL_MAX_GROUPS; i++)
		if (r->group[i] && r->group[i]->parent == parent && resctrl_slice_is(s, r->group[i]->name))
			return r->group[i];
	return NULL;
}

int resctrl_group_find(struct resctrl *r, const char *name)
{
	struct group *g = resctrl_find_named(r, GROUP_NONE, name, strlen(name));

	return g ? g->id : -ENOENT;
}

void resctrl_show_group(const struct resctrl *r, u16 group, struct strbuf *out)
{
	const struct group *g = r->mounted ? r->group[group] : NULL;
	bool monitor = g && is_monitor_group(g);
	const struct group *control = monitor ? r->group[g->parent] : g;

	strbuf_add(out, "res:%s%s\nmon:%s\n", control && !control->id ? "/" : "", control ? control->name : "",
		   monitor ? g->name : "");
}

u32 resctrl_mask_of(const struct resctrl *r, u16 group, enum resctrl_resource_id id, unsigned domain)
{
	unsigned row = 0;

	while (r->row[row].id != id)
		row++;
	return r->cls[r->group[group]->cls].value[row][domain];
}

void resctrl_group_read(struct resctrl *r, u16 group, struct strbuf *out)
{
	ensure(!resctrl_schemata_show(r, r->group[group], out));
}

int resctrl_group_write(struct resctrl *r, u16 group, const char *text, size_t len)
{
	return resctrl_schemata_store(r, r->group[group], text, len);
}

static int check_name(struct resctrl *r, const struct resctrl_node *dir, const char *name)
{
	struct resctrl_node n;

	if (strlen(name) > RESCTRL_NAME_MAX)
		return -ENAMETOOLONG;
	if (strchr(name, '\n'))
		return resctrl_refuse(r, EINVAL, "a group's name has no newline");
	if (!*name || strchr(name, '/') || !strcmp(name, ".") || !strcmp(name, ".."))
		return -EINVAL;
	return resctrl_child(r, dir, name, &n) == 0 ? -EEXIST : 0;
}

static int make_group(struct resctrl *r, const char *name)
{
	value_set value;
	struct group *g;
	int err = add_group(r, name, GROUP_NONE, &g);

	if (err)
		return err;
	/* It starts in class 0 with no task, so nothing is enforced until it has values of its own.
	 */
	r->cls[0].groups++;
	publish(r, g);
	err = resctrl_initial_values(r, g, value);
	if (!err)
		err = resctrl_group_set_values(r, g, (const u32(*)[RESCTRL_MAX_DOMAINS])value);
	if (err)
		drop_group(r, g, r->group[0]);
	return err;
}

static int make_monitor_group(struct resctrl *r, struct group *parent, const char *name)
{
	struct group *g;
	/* as Linux has it: this name would make another folder of such groups */
	int err = strcmp(name, "mon_groups") ? add_group(r, name, parent->id, &g) : -EPERM;

	if (!err)
		publish(r, parent);
	return err;
}

static bool is_live(struct resctrl *r, const struct resctrl_node *n)
{
	return r->mounted && n->group != GROUP_NONE && r->generation[n->group] == n->generation && r->group[n->group];
}

int resctrl_mkdir(struct resctrl *r, const struct resctrl_node *dir, const char *name)
{
	bool root = dir->dir == DIR_GROUP && !dir->group && !dir->file && r->nr_rows;
	int err;

	if (!root && dir->dir != DIR_MON_GROUPS)
		return -EPERM;
	if (!is_live(r, dir))
		return -ENOENT;
	r->status[0] = '\0';
	err = check_name(r, dir, name);
	if (err)
		return err;
	return root ? make_group(r, name) : make_monitor_group(r, r->group[dir->group], name);
}

int resctrl_rmdir(struct resctrl *r, const struct resctrl_node *n)
{
	struct group *g;

	if (n->file)
		return -ENOTDIR;
	if (n->dir != DIR_GROUP || !n->group)
		return -EPERM;
	if (!is_live(r, n))
		return -ENOENT;
	g = r->group[n->group];
	drop_group(r, g, r->group[is_monitor_group(g) ? g->parent : 0]);
	return 0;
}

/* ---- mount --------------------------------------------------------------------------------------
 */

static int parse_options(struct resctrl *r, const char *options, bool *l3, bool *l2)
{
	struct slice rest = resctrl_slice_of(options, strlen(options)), word;

	*l3 = *l2 = false;
	while (rest.n) {
		resctrl_slice_cut(&rest, ',', &word);
		if (resctrl_slice_is(word, "cdp"))
			*l3 = true;
		else if (resctrl_slice_is(word, "cdpl2"))
			*l2 = true;
		else if (word.n)
			return fail(EINVAL, "resctrl: unknown mount option '%.*s'", (int)word.n, word.p);
	}
	if (*l3 && !(r->be->res[RESCTRL_L3].present && r->be->res[RESCTRL_L3].cdp_capable))
		return fail(EINVAL, "resctrl: the L3 cache cannot hold code and data apart");
	if (*l2 && !(r->be->res[RESCTRL_L2].present && r->be->res[RESCTRL_L2].cdp_capable))
		return fail(EINVAL, "resctrl: the L2 cache cannot hold code and data apart");
	return 0;
}

static int set_cdp(struct resctrl *r, enum resctrl_resource_id id, bool on)
{
	struct resctrl_resource *res = &r->be->res[id];
	int err;

	if (res->cdp_on == on)
		return 0;
	err = r->be->ops->set_cdp(r->be, id, on);
	if (!err)
		res->cdp_on = on;
	return err;
}

/* With the number of rows the meaning of a class changes; what is enforced is full masks at that
 * moment. */
static void start_classes(struct resctrl *r)
{
	make_rows(r);
	for (unsigned c = 0; c < RESCTRL_MAX_CLASSES; c++) {
		r->cls[c].groups = 0;
		full_values(r, r->cls[c].value);
	}
}

int resctrl_mount(struct resctrl *r, const char *options)
{
	struct group *def;
	bool l3, l2;
	int err;

	if (r->mounted)
		return -EBUSY;
	err = parse_options(r, options, &l3, &l2);
	if (err)
		return err;
	err = set_cdp(r, RESCTRL_L3, l3);
	if (!err)
		err = set_cdp(r, RESCTRL_L2, l2);
	if (!err && is_monitored(r))
		err = resctrl_monitor_begin(r);
	if (!err)
		err = add_group(r, "", GROUP_NONE, &def);
	if (err) {
		resctrl_monitor_end(r);
		ensure(!set_cdp(r, RESCTRL_L3, false) && !set_cdp(r, RESCTRL_L2, false));
		return err;
	}
	start_classes(r);
	r->cls[0].groups = 1;
	def->cpus = r->online;
	publish(r, def);
	r->status[0] = '\0';
	r->mounted = true;
	return 0;
}

void resctrl_umount(struct resctrl *r)
{
	value_set full;

	if (!r->mounted)
		return;
	for (unsigned i = 1; i < RESCTRL_MAX_GROUPS; i++)
		if (r->group[i])
			drop_group(r, r->group[i], r->group[0]);
	full_values(r, full);
	for (unsigned c = 0; c < r->nr_classes; c++)
		write_class(r, c, (const u32(*)[RESCTRL_MAX_DOMAINS])full);
	kfree(r->group[0]);
	r->group[0] = NULL;
	r->generation[0]++;
	resctrl_monitor_end(r);
	ensure(!set_cdp(r, RESCTRL_L3, false) && !set_cdp(r, RESCTRL_L2, false));
	r->mounted = false;
}

void resctrl_reset(struct resctrl *r, bool (*keep)(u16 group))
{
	value_set full;

	for (unsigned i = 1; i < RESCTRL_MAX_GROUPS; i++)
		if (r->group[i] && !keep(r->control[i]))
			drop_group(r, r->group[i], r->group[0]);
	full_values(r, full);
	r->group[0]->mode = MODE_SHAREABLE;
	if (resctrl_group_set_values(r, r->group[0], (const u32(*)[RESCTRL_MAX_DOMAINS])full))
		log_warn("resctrl: the default group keeps its masks: %s", r->status);
	resctrl_set_cpus(r, r->group[0], r->online);
}

void resctrl_show_options(struct resctrl *r, struct strbuf *out)
{
	if (r->be->res[RESCTRL_L3].cdp_on)
		strbuf_add(out, ",cdp");
	if (r->be->res[RESCTRL_L2].cdp_on)
		strbuf_add(out, ",cdpl2");
}

int resctrl_create(struct resctrl_backend *be, const struct resctrl_host_ops *host, void *ctx, unsigned nr_cpus,
		   u64 online, struct resctrl **out)
{
	struct resctrl *r = kzalloc(sizeof(*r), ALLOC_KERNEL);

	if (!r)
		return -ENOMEM;
	r->cls = kcalloc(RESCTRL_MAX_CLASSES, sizeof(*r->cls), ALLOC_KERNEL);
	if (!r->cls) {
		kfree(r);
		return -ENOMEM;
	}
	r->be = be;
	r->host = host;
	r->ctx = ctx;
	r->nr_cpus = nr_cpus;
	r->online = online;
	start_classes(r);
	*out = r;
	return 0;
}

void resctrl_destroy(struct resctrl *r)
{
	resctrl_umount(r);
	kfree(r->cls);
	kfree(r);
}

/* ---- CPUs ---------------------------------------------------------------------------------------
 */

void resctrl_cpu_online(struct resctrl *r, unsigned cpu)
{
	r->online |= BIT(cpu);
	if (!r->mounted)
		return;
	r->group[0]->cpus |= BIT(cpu);
	r->host->refresh(r->ctx, 0, BIT(cpu));
}

void resctrl_cpu_offline(struct resctrl *r, unsigned cpu)
{
	r->online &= ~BIT(cpu);
	for (unsigned i = 0; i < RESCTRL_MAX_GROUPS; i++)
		if (r->group[i])
			r->group[i]->cpus &= ~BIT(cpu);
	WRITE_ONCE(r->group_of_cpu[cpu], 0);
}

struct resctrl_label resctrl_label_of(const struct resctrl *r, unsigned cpu, u16 task_group)
{
	u32 own = READ_ONCE(r->label[task_group]), its = own;

	if (own & LABEL_FOLLOWS)
		its = READ_ONCE(r->label[READ_ONCE(r->group_of_cpu[cpu])]);
	return (struct resctrl_label){ .cls = its & (LABEL_FOLLOWS - 1), .tag = own >> 16 ? own >> 16 : its >> 16 };
}

u16 resctrl_control_of(const struct resctrl *r, u16 group)
{
	return READ_ONCE(r->control[group]);
}
