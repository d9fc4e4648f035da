/* SPDX-License-Identifier: MIT
 *
 * Problem: who shares a machine gives cache as he gives CPU time: by a file of a control group, for all its tasks at
 * once, now and in future. resctrl's groups are another tree, with one task a write.
 *
 * Idea: a tenant that has a share of its own is bound to a resctrl group, which is named after it and carries its
 * masks; all its tasks carry the group's number (tenant_set_cache_group), in one step. What is written here becomes
 * lines of the group's schemata, and goes through the same parser: both views show one truth.
 *
 *      cache.l3, cache.l2
 *              max              no share of its own: that of the nearest tenant above that has one, or the default
 * group's weight N         1 to 10000: of the portions of the tenant above, which are divided among its children that
 * have a weight, without overlap mask M           these portions of every cache, hexadecimal; or "mask 0=M;1=M" as in
 * schemata cache.stat               by cache what it may fill and how large that is; what it has there, where the
 * processor counts; with page colours, its pages by colour and how moving them goes
 *
 * A group whose masks were changed through resctrl shows them here as a mask. Groups of tenants are there with resctrl
 * mounted or not, survive its umount, and cannot be removed there.
 *
 * Contract: cgroup2, controller `cache`. EINVAL: not of this form, or no such mask here (info/last_cmd_status says
 * why); ERANGE: the weight; ENOSPC: more children than portions, or no class is left; EEXIST: a group of that name is
 * somebody else's; EOPNOTSUPP: no such cache can be divided. A refused write changes nothing.
 *
 * Locks: the tenant tree's, then resctrl_lock.
 */
#include <alloc/slab.h>
#include <cgroup/cgroup.h>
#include <core/init.h>
#include <core/log.h>
#include <lib/err.h>
#include <lib/string.h>
#include "kernel.h"

#define TEXT_MAX 4096 /* of a group's schemata */

enum kind { KIND_MAX, KIND_WEIGHT, KIND_MASK };

struct part {
	enum kind kind;
	u32 weight;
};

struct binding {
	struct list link;
	struct tenant *tenant;
	u16 group;
	struct part part[RESCTRL_MB]; /* by enum resctrl_resource_id: L3, L2 */
};

static LIST(bindings); /* resctrl_lock */

static struct binding *binding_of(const struct tenant *t)
{
	struct binding *b;

	list_for_each_entry (b, &bindings, link)
		if (b->tenant == t)
			return b;
	return NULL;
}

static enum kind kind_of(const struct tenant *t, int id)
{
	const struct binding *b = binding_of(t);

	return b ? b->part[id].kind : KIND_MAX;
}

bool tenant_owns_group(u16 group)
{
	struct binding *b;

	list_for_each_entry (b, &bindings, link)
		if (b->group == group)
			return true;
	return false;
}

static struct resctrl_resource *resource(int id)
{
	return &resctrl_backend->res[id];
}

static u32 mask_of(const struct binding *b, int id, unsigned domain)
{
	return resctrl_mask_of(resctrl_machine, b->group, id, domain);
}

/* The tenants below top, those above before those below them. Tree locked. */
static struct tenant *next_below(struct tenant *t, const struct tenant *top)
{
	struct list *children = &cgroup_dir(t)->children;

	if (!list_empty(children))
		return cgroup_tenant(container_of(children->next, struct attr_dir, sibling));
	for (; t != top; t = t->parent) {
		struct list *next = cgroup_dir(t)->sibling.next;

		if (next != &cgroup_dir(t->parent)->children)
			return cgroup_tenant(container_of(next, struct attr_dir, sibling));
	}
	return NULL;
}

/* ---- portions ---------------------------------------------------------------------------------------------- */

/* The portions that are given out below t: of the nearest at or above it that has some of its own. */
static u32 portions_of(const struct tenant *t, int id, unsigned domain)
{
	while (t && kind_of(t, id) == KIND_MAX)
		t = t->parent;
	return t ? mask_of(binding_of(t), id, domain) : (u32)(BIT(resource(id)->width) - 1);
}

/* The portions first..last-1 of those in `from`, counted from the lowest. */
static u32 take_portions(u32 from, unsigned first, unsigned last)
{
	u32 taken = 0;

	for (unsigned n = 0; from; n++, from &= from - 1)
		if (n >= first && n < last)
			taken |= from & -from;
	return taken;
}

/* What the weights of a tenant's children come to. */
static void add_up(const struct tenant *parent, int id, u64 *sum, unsigned *nr)
{
	struct attr_dir *d;

	*sum = *nr = 0;
	list_for_each_entry (d, &cgroup_dir((struct tenant *)parent)->children, sibling)
		if (kind_of(cgroup_tenant(d), id) == KIND_WEIGHT) {
			*sum += binding_of(cgroup_tenant(d))->part[id].weight;
			++*nr;
		}
}

/* The portions of the tenant above are dealt out to its children in their order: to each what its weight is of the
 * weights still to come, but not less than the cache's least. 0: there are not so many. */
static u32 portions_of_weight(const struct binding *b, int id, unsigned domain)
{
	const struct tenant *parent = b->tenant->parent;
	u32 from = portions_of(parent, id, domain);
	unsigned left = (unsigned)__builtin_popcount(from), least = max((unsigned)resource(id)->min_bits, 1U), at = 0,
		 nr;
	struct attr_dir *d;
	u64 sum;

	add_up(parent, id, &sum, &nr);
	if (left < nr * least)
		return 0;
	list_for_each_entry (d, &cgroup_dir(b->tenant->parent)->children, sibling) {
		const struct binding *s = binding_of(cgroup_tenant(d));
		unsigned width;

		if (!s || s->part[id].kind != KIND_WEIGHT)
			continue;
		width = (unsigned)((left * (u64)s->part[id].weight + sum / 2) / sum);
		width = clamp(width, least, left - (nr - 1) * least);
		if (s == b)
			return take_portions(from, at, at + width);
		at += width;
		left -= width;
		sum -= s->part[id].weight;
		nr--;
	}
	return 0;
}

/* ---- changing several groups, or none ---------------------------------------------------------------------- */

struct undo {
	struct list link;
	u16 group;
	size_t len;
	char text[TEXT_MAX]; /* the group's schemata before */
};

/* One write: what it has changed, and room for the text of one group. */
struct round {
	int id;
	struct list undos;
	struct strbuf domains;
	char text[TEXT_MAX], lines[2 * TEXT_MAX + 32];
};

/* Writes "0=ff;1=ff", which r->domains holds, into the group's schemata, and remembers what it was. Code and data apart
 * get the same. */
static int change(struct round *r, u16 group)
{
	static const char *const name[] = { "L3", "L2" };
	const char *res = name[r->id], *domains = r->domains.buf;
	struct undo *u = kmalloc(sizeof(*u), 0);
	struct strbuf sb;
	int err;

	if (!u)
		return -ENOMEM;
	strbuf_init(&sb, u->text, sizeof(u->text));
	resctrl_group_read(resctrl_machine, group, &sb);
	u->group = group;
	u->len = sb.len;
	strbuf_init(&sb, r->lines, sizeof(r->lines));
	if (resource(r->id)->cdp_on)
		strbuf_add(&sb, "%sDATA:%s\n%sCODE:%s\n", res, domains, res, domains);
	else
		strbuf_add(&sb, "%s:%s\n", res, domains);
	err = resctrl_group_write(resctrl_machine, group, sb.buf, sb.len);
	if (err)
		kfree(u);
	else
		list_add(&u->link, &r->undos);
	return err;
}

static void settle(struct round *r, int err)
{
	struct undo *u, *next;

	list_for_each_entry_safe (u, next, &r->undos, link) { /* the last change first */
		if (err)
			ensure(!resctrl_group_write(resctrl_machine, u->group, u->text, u->len));
		kfree(u);
	}
}

static void add_domain(struct round *r, unsigned domain, u32 mask)
{
	strbuf_add(&r->domains, "%s%u=%x", r->domains.len ? ";" : "", resource(r->id)->domain[domain].id, mask);
}

/* Gives a bound tenant what its weight comes to, or the portions of the tenant above; a mask must be part of those.
 * -ENOSPC, -EBUSY. */
static int follow(struct round *r, const struct binding *b)
{
	enum kind kind = b->part[r->id].kind;

	strbuf_init(&r->domains, r->text, sizeof(r->text));
	for (unsigned d = 0; d < resource(r->id)->nr_domains; d++) {
		u32 above = portions_of(b->tenant->parent, r->id, d);
		u32 mask = kind == KIND_WEIGHT ? portions_of_weight(b, r->id, d) : above;

		if (!resource(r->id)->domain[d].cpus)
			continue;
		if (!mask)
			return fail(ENOSPC, "resctrl: more tenants than portions");
		if (kind == KIND_MASK && mask_of(b, r->id, d) & ~above)
			return fail(EBUSY, "resctrl: the mask of a tenant below would lie outside");
		add_domain(r, d, mask);
	}
	return kind == KIND_MASK ? 0 : change(r, b->group);
}

static int spread(struct round *r, struct tenant *top)
{
	int err = 0;

	for (struct tenant *t = next_below(top, top); t && !err; t = next_below(t, top)) {
		const struct binding *b = binding_of(t);

		if (b)
			err = follow(r, b);
	}
	return err;
}

/* ---- bindings ---------------------------------------------------------------------------------------------- */

/* The group's name: "cgroup:web:db". Before any lock is taken. */
static int group_name(struct tenant *t, char *out, size_t size)
{
	struct strbuf sb;

	strbuf_init(&sb, out, size);
	strbuf_add(&sb, "cgroup");
	cgroup_path(t, &sb);
	for (char *p = out; *p; p++)
		*p = *p == '/' ? ':' : *p == '\n' ? '?' : *p;
	return sb.truncated ? -ENAMETOOLONG : 0;
}

static int bind(struct tenant *t, const char *name, struct binding **out)
{
	struct binding *b = kzalloc(sizeof(*b), 0);
	int err = b ? resctrl_begin() : -ENOMEM;

	if (!err) {
		err = resctrl_group_make(name, &b->group);
		if (err)
			resctrl_end();
	}
	if (err) {
		kfree(b);
		return err;
	}
	b->tenant = t;
	list_add_tail(&b->link, &bindings);
	tenant_set_cache_group(t, b->group);
	host_tasks_changed(b->group);
	*out = b;
	return 0;
}

static void unbind(struct binding *b)
{
	tenant_set_cache_group(b->tenant, 0);
	resctrl_group_drop(b->group);
	list_del_init(&b->link);
	kfree(b);
	resctrl_end();
}

static bool is_idle(const struct binding *b)
{
	return b->part[RESCTRL_L3].kind == KIND_MAX && b->part[RESCTRL_L2].kind == KIND_MAX;
}

/* ---- writing ----------------------------------------------------------------------------------------------- */

/* "max", "weight N", "mask M" or "mask 0=M;1=M": then *masks is what follows the word. */
static int parse(char *text, struct part *out, const char **masks)
{
	u64 weight;
	int err;

	text = str_trim(text);
	*out = (struct part){ KIND_MAX, 0 };
	if (!strcmp(text, "max"))
		return 0;
	if (!strncmp(text, "mask ", 5)) {
		out->kind = KIND_MASK;
		*masks = str_trim(text + 5);
		return **masks && !strchr(*masks, ':') && !strchr(*masks, '\n') ? 0 : -EINVAL;
	}
	if (strncmp(text, "weight ", 7))
		return -EINVAL;
	err = str_to_u64(str_trim(text + 7), 10, &weight);
	if (err)
		return err;
	if (weight < 1 || weight > 10000)
		return -ERANGE;
	*out = (struct part){ KIND_WEIGHT, (u32)weight };
	return 0;
}

static int set_mask(struct round *r, const struct binding *b, const char *masks)
{
	const struct resctrl_resource *res = resource(r->id);
	int err;

	strbuf_init(&r->domains, r->text, sizeof(r->text));
	if (strchr(masks, '='))
		strbuf_add(&r->domains, "%s", masks);
	for (unsigned d = 0; !strchr(masks, '=') && d < res->nr_domains; d++)
		if (res->domain[d].cpus)
			strbuf_add(&r->domains, "%s%u=%s", r->domains.len ? ";" : "", res->domain[d].id, masks);
	err = r->domains.truncated ? -EINVAL : change(r, b->group);
	for (unsigned d = 0; !err && d < res->nr_domains; d++)
		if (mask_of(b, r->id, d) & ~portions_of(b->tenant->parent, r->id, d))
			err = fail(EINVAL, "resctrl: the mask is not part of what the tenant above has");
	return err;
}

/* Both locks held. */
static int apply(struct round *r, struct tenant *t, const struct part *want, const char *masks, const char *name)
{
	struct binding *b = binding_of(t);
	struct part had = { KIND_MAX, 0 };
	int err = 0;

	if (want->kind == KIND_MAX && !b)
		return 0;
	if (b)
		had = b->part[r->id];
	else
		err = bind(t, name, &b);
	if (err)
		return err;
	b->part[r->id] = *want;
	if (want->kind == KIND_MASK)
		err = set_mask(r, b, masks);
	if (!err)
		err = spread(r, t->parent);
	settle(r, err);
	if (err)
		b->part[r->id] = had;
	if (is_idle(b))
		unbind(b);
	return err;
}

static struct round *round_begin(int id)
{
	struct round *r = kmalloc(sizeof(*r), 0);

	if (r) {
		r->id = id;
		list_init(&r->undos);
	}
	return r;
}

static int set_part(struct attr_dir *d, const struct attr *a, char *text, size_t len)
{
	char name[RESCTRL_NAME_MAX + 1];
	const char *masks = "";
	struct round *r;
	struct part want;
	int err = parse(text, &want, &masks);

	if (err)
		return err;
	if (!resctrl_machine || !resource((int)a->data)->present)
		return -EOPNOTSUPP;
	err = group_name(cgroup_tenant(d), name, sizeof(name));
	if (err)
		return err;
	r = round_begin((int)a->data);
	if (!r)
		return -ENOMEM;
	cgroup_tree_lock();
	mutex_lock(&resctrl_lock);
	err = apply(r, cgroup_tenant(d), &want, masks, name);
	mutex_unlock(&resctrl_lock);
	cgroup_tree_unlock();
	kfree(r);
	return err;
}

/* Its cgroup goes, or the controller is switched off: what it had is its siblings' again. Tree locked. */
static void take_back(struct tenant *t)
{
	struct binding *b;

	mutex_lock(&resctrl_lock);
	b = binding_of(t);
	if (b)
		unbind(b);
	for (int id = RESCTRL_L3; b && id <= RESCTRL_L2; id++) {
		struct round *r = resource(id)->present ? round_begin(id) : NULL;
		int err = r ? spread(r, t->parent) : 0;

		if (r)
			settle(r, err);
		kfree(r);
	}
	mutex_unlock(&resctrl_lock);
}

/* ---- reading ----------------------------------------------------------------------------------------------- */

/* Somebody may have changed the group's schemata. */
static bool is_as_weighed(const struct binding *b, int id)
{
	for (unsigned d = 0; d < resource(id)->nr_domains; d++)
		if (mask_of(b, id, d) != portions_of_weight(b, id, d))
			return false;
	return true;
}

static void show_masks(const struct binding *b, int id, struct strbuf *out)
{
	const char *sep = "mask ";

	for (unsigned d = 0; d < resource(id)->nr_domains; d++)
		if (resource(id)->domain[d].cpus) {
			strbuf_add(out, "%s%u=%x", sep, resource(id)->domain[d].id, mask_of(b, id, d));
			sep = ";";
		}
	strbuf_add(out, "\n");
}

static int show_part(struct attr_dir *d, const struct attr *a, struct strbuf *out)
{
	struct binding *b;
	int id = (int)a->data;

	cgroup_tree_lock();
	mutex_lock(&resctrl_lock);
	b = binding_of(cgroup_tenant(d));
	if (!b || b->part[id].kind == KIND_MAX)
		strbuf_add(out, "max\n");
	else if (b->part[id].kind == KIND_WEIGHT && is_as_weighed(b, id))
		strbuf_add(out, "weight %u\n", b->part[id].weight);
	else
		show_masks(b, id, out);
	mutex_unlock(&resctrl_lock);
	cgroup_tree_unlock();
	return 0;
}

static void show_share(u16 group, int id, struct strbuf *out)
{
	static const char *const name[] = { "l3", "l2" };
	const struct resctrl_resource *res = resource(id);
	u64 used;

	for (unsigned d = 0; d < res->nr_domains; d++) {
		u32 mask = resctrl_mask_of(resctrl_machine, group, id, d);

		if (!res->domain[d].cpus)
			continue;
		strbuf_add(out, "%s.%u.mask %x\n%s.%u.bytes %llu\n", name[id], res->domain[d].id, mask, name[id],
			   res->domain[d].id,
			   (unsigned long long)(res->domain[d].cache_bytes / res->width * __builtin_popcount(mask)));
		if (id == RESCTRL_L3 && !resctrl_occupancy(resctrl_machine, group, d, &used))
			strbuf_add(out, "%s.%u.used %llu\n", name[id], res->domain[d].id, (unsigned long long)used);
	}
}

static int show_stat(struct attr_dir *d, const struct attr *a, struct strbuf *out)
{
	struct tenant *t = cgroup_tenant(d);

	if (!resctrl_machine)
		return 0;
	mutex_lock(&resctrl_lock);
	for (int id = RESCTRL_L3; id <= RESCTRL_L2; id++)
		if (resource(id)->present)
			show_share(t->cache_group, id, out);
	mutex_unlock(&resctrl_lock);
	place_show(t, out);
	return 0;
}

#define FILE(id, text, bits, get, put, value)                                                                          \
	static const struct attr id = { .name = text, .mode = bits, .show = get, .set = put, .data = value }

FILE(l3, "cache.l3", 0644, show_part, set_part, RESCTRL_L3);
FILE(l2, "cache.l2", 0644, show_part, set_part, RESCTRL_L2);
FILE(stat, "cache.stat", 0444, show_stat, NULL, 0);

static const struct attr *const files[] = { &l3, &l2, &stat, NULL };
static struct cgroup_controller controller = { .name = "cache", .files = files, .disabled = take_back };
static struct tenant_watcher watcher = { .removed = take_back };

static void tenant_cache_init(void)
{
	cgroup_controller_register(&controller);
	tenant_watcher_register(&watcher);
}
PART_INIT(bus, tenant_cache_init);
