/* SPDX-License-Identifier: MIT
 *
 * Problem: a container's root must be somebody powerless outside, and programs inside must see only numbers that make
 * sense there.
 *
 * Idea: the kernel knows one number a user. A namespace has two tables of ranges that say which of them have a number
 * inside; they are filled by one write each and never change. A capability counts over what belongs to the namespace of
 * the one who has it, or to one below; who made a namespace has all over it.
 *
 * Contract: task/user_ns.h; user_namespaces(7), "Defining user and group ID mappings", "Interaction ... capabilities".
 *
 * Locks: maps_lock (RANK_LEAF_SPIN) when a table or deny_setgroups is set; readers take none.
 */
#include <alloc/page.h>
#include <alloc/slab.h>
#include <core/log.h>
#include <lib/err.h>
#include <lib/printf.h>
#include <lib/string.h>
#include <linux/capability.h>
#include <linux/sched.h>
#include <task/user_ns.h>
#include "task_priv.h"

#define LEVELS_MAX 32
#define NOBODY     65534
#define PAGES_A_NS 32 /* of the machine, for the limits at boot */

static const struct id_map whole = { 1, { { 0, 0, ~0U } } };
static struct spinlock maps_lock = SPIN_INIT(RANK_LEAF_SPIN);

struct user_ns user_ns_first = {
	.ns = { .refs = { ATOMIC_INIT(1) }, .kind = NS_USER },
	.uids = &whole,
	.gids = &whole,
};

/* ---- life ---- */

void user_ns_get(struct user_ns *u)
{
	ns_get(&u->ns);
}

void user_ns_put(struct user_ns *u)
{
	if (u)
		ns_put(&u->ns);
}

static void free_user_ns(struct ns *n)
{
	struct user_ns *u = container_of(n, struct user_ns, ns);

	ensure(!u->counts);
	kfree(u->uids);
	kfree(u->gids);
	kfree(u);
}

static struct ns *parent_of(struct ns *n)
{
	struct user_ns *parent = container_of(n, struct user_ns, ns)->parent;

	return parent ? &parent->ns : NULL;
}

static const struct ns_kind_ops kind_ops = {
	.name = "user", .flag = CLONE_NEWUSER, .first = &user_ns_first.ns, .free = free_user_ns, .parent = parent_of
};

void user_ns_init(void)
{
	struct page_stats s;

	page_stats(&s);
	for (int k = 0; k < NS_NR; k++)
		user_ns_first.max[k] = (u32)max(s.total / (2 * PAGES_A_NS), (u64)10);
	ns_kind_register(NS_USER, &kind_ops);
	user_ns_first.ns.owner = NULL;
}

/* Replaces c's namespace. */
static void enter(struct cred *c, struct user_ns *u)
{
	struct user_ns *old = c->user_ns;

	c->user_ns = u;
	c->securebits = 0;
	c->cap_inheritable = c->cap_ambient = 0;
	c->cap_permitted = c->cap_effective = c->cap_bounding = BIT(CAP_LAST_CAP + 1) - 1;
	user_ns_put(old);
}

int user_ns_create(struct cred *c)
{
	struct user_ns *parent = c->user_ns, *u;
	int err;

	if (parent->level >= LEVELS_MAX)
		return -ENOSPC;
	if (user_ns_uid_out(parent, c->euid) == ID_NONE || user_ns_gid_out(parent, c->egid) == ID_NONE)
		return -EPERM;
	err = ns_limit_charge(parent, c->euid, NS_USER);
	if (err)
		return err;
	u = kzalloc(sizeof(*u), ALLOC_CHARGED);
	if (!u) {
		ns_limit_uncharge(parent, c->euid, NS_USER);
		return -ENOMEM;
	}
	ns_init(&u->ns, NS_USER, parent);
	u->ns.maker = c->euid;
	u->ns.counts = true;
	for (int k = 0; k < NS_NR; k++)
		u->max[k] = INT32_MAX;
	u->parent = parent;
	u->level = parent->level + 1;
	u->owner = c->euid;
	u->group = c->egid;
	u->deny_setgroups = parent->deny_setgroups;
	enter(c, u);
	return 0;
}

void user_ns_enter(struct cred *c, struct user_ns *u)
{
	user_ns_get(u);
	enter(c, u);
}

/* ---- numbers ---- */

static u32 map_out(const struct id_map *m, u32 kernel_id)
{
	if (m == &whole)
		return kernel_id;
	for (unsigned i = 0; m && i < m->nr; i++)
		if (kernel_id - m->range[i].kernel_first < m->range[i].count)
			return m->range[i].first + (kernel_id - m->range[i].kernel_first);
	return ID_NONE;
}

static u32 map_in(const struct id_map *m, u32 id)
{
	if (m == &whole)
		return id;
	for (unsigned i = 0; m && i < m->nr; i++)
		if (id - m->range[i].first < m->range[i].count)
			return m->range[i].kernel_first + (id - m->range[i].first);
	return ID_NONE;
}

u32 user_ns_uid_out(const struct user_ns *u, kuid_t k)
{
	return map_out(READ_ONCE(u->uids), k.v);
}

u32 user_ns_gid_out(const struct user_ns *u, kgid_t k)
{
	return map_out(READ_ONCE(u->gids), k.v);
}

kuid_t user_ns_uid_in(const struct user_ns *u, u32 id)
{
	return KUID(map_in(READ_ONCE(u->uids), id));
}

kgid_t user_ns_gid_in(const struct user_ns *u, u32 id)
{
	return KGID(map_in(READ_ONCE(u->gids), id));
}

u32 user_out(kuid_t k)
{
	u32 id = user_ns_uid_out(current->cred->user_ns, k);

	return id == ID_NONE ? NOBODY : id;
}

u32 group_out(kgid_t k)
{
	u32 id = user_ns_gid_out(current->cred->user_ns, k);

	return id == ID_NONE ? NOBODY : id;
}

kuid_t user_in(u32 id)
{
	return id == ID_NONE ? KUID(id) : user_ns_uid_in(current->cred->user_ns, id);
}

kgid_t group_in(u32 id)
{
	return id == ID_NONE ? KGID(id) : user_ns_gid_in(current->cred->user_ns, id);
}

/* ---- capabilities ---- */

static bool has_cap(const struct cred *c, const struct user_ns *u, int cap)
{
	for (; u; u = u->parent) {
		if (u == c->user_ns)
			return c->cap_effective >> cap & 1;
		if (u->level <= c->user_ns->level)
			return false;
		if (u->parent == c->user_ns && uid_eq(u->owner, c->euid))
			return true;
	}
	return false;
}

bool ns_capable(const struct user_ns *u, int cap)
{
	return has_cap(current->cred, u, cap);
}

bool cred_capable(const struct cred *c, int cap)
{
	return has_cap(c, &user_ns_first, cap);
}

bool capable(int cap)
{
	return cred_capable(current->cred, cap);
}

bool capable_over(kuid_t uid, kgid_t gid, int cap)
{
	const struct user_ns *u = current->cred->user_ns;

	return capable_here(cap) && user_ns_uid_out(u, uid) != ID_NONE && user_ns_gid_out(u, gid) != ID_NONE;
}

bool user_ns_may_setgroups(void)
{
	const struct user_ns *u = current->cred->user_ns;

	return capable_here(CAP_SETGID) && READ_ONCE(u->gids) && !READ_ONCE(u->deny_setgroups);
}

/* ---- the files of /proc/PID ---- */

/* The second column is as the reader counts; in the namespace itself, as its parent does. */
int user_ns_show_map(const struct user_ns *u, bool group, struct strbuf *out)
{
	const struct id_map *m = group ? READ_ONCE(u->gids) : READ_ONCE(u->uids);
	const struct user_ns *as = current->cred->user_ns;

	if (as == u && u->parent)
		as = u->parent;
	for (unsigned i = 0; m && i < m->nr; i++)
		strbuf_add(out, "%10u %10u %10u\n", m->range[i].first,
			   map_out(group ? as->gids : as->uids, m->range[i].kernel_first), m->range[i].count);
	return 0;
}

static bool overlaps(u32 a, u32 b, u32 a_count, u32 b_count)
{
	return a < (u64)b + b_count && b < (u64)a + a_count;
}

/* "first outside count", into range i of m. */
static int parse_range(char *line, struct id_map *m)
{
	struct id_range *r = &m->range[m->nr];
	u64 v[3];

	for (int i = 0; i < 3; i++) {
		char *word = str_trim(line), *end = word;

		while (*end && *end != ' ' && *end != '\t')
			end++;
		line = end + (*end != '\0');
		*end = '\0';
		if (str_to_u64(word, 10, &v[i]) || v[i] > ID_NONE)
			return -EINVAL;
	}
	if (*str_trim(line) || !v[2] || v[0] + v[2] > ID_NONE || v[1] + v[2] > ID_NONE)
		return -EINVAL;
	*r = (struct id_range){ (u32)v[0], (u32)v[1], (u32)v[2] };
	for (unsigned i = 0; i < m->nr; i++)
		if (overlaps(m->range[i].first, r->first, m->range[i].count, r->count) ||
		    overlaps(m->range[i].kernel_first, r->kernel_first, m->range[i].count, r->count))
			return -EINVAL;
	m->nr++;
	return 0;
}

static int parse_map(char *text, struct id_map *m)
{
	while (*text) {
		char *end = strchr(text, '\n'), *next = end ? end + 1 : text + strlen(text);
		int err;

		if (end)
			*end = '\0';
		if (m->nr == ID_MAP_MAX)
			return -EINVAL;
		err = parse_range(text, m);
		if (err)
			return err;
		text = next;
	}
	return m->nr ? 0 : -EINVAL;
}

/* Everyone may map himself; others only who could become them outside. */
static bool may_map(const struct user_ns *u, bool group, const struct id_map *m)
{
	const struct cred *c = current->cred;

	if (m->nr == 1 && m->range[0].count == 1 && uid_eq(u->owner, c->euid)) {
		u32 outside = m->range[0].kernel_first;

		if (!group && uid_eq(user_ns_uid_in(u->parent, outside), c->euid))
			return true;
		if (group && u->deny_setgroups && gid_eq(user_ns_gid_in(u->parent, outside), c->egid))
			return true;
	}
	return ns_capable(u->parent, group ? CAP_SETGID : CAP_SETUID);
}

/* From the parent's numbers to the machine's: a range must lie in one of the parent's. */
static int to_machine(const struct id_map *parent, struct id_map *m)
{
	for (unsigned i = 0; i < m->nr; i++) {
		struct id_range *r = &m->range[i];
		u32 first = map_in(parent, r->kernel_first), last = map_in(parent, r->kernel_first + r->count - 1);

		if (first == ID_NONE || last == ID_NONE || last - first != r->count - 1)
			return -EPERM;
		r->kernel_first = first;
	}
	return 0;
}

int user_ns_set_map(struct user_ns *u, bool group, char *text)
{
	const struct user_ns *me = current->cred->user_ns;
	const struct id_map **at = group ? &u->gids : &u->uids;
	struct id_map *m;
	int err = 0;

	if (!u->parent || *at || !ns_capable(u, CAP_SYS_ADMIN) || (me != u && me != u->parent))
		return -EPERM;
	m = kzalloc(sizeof(*m) + ID_MAP_MAX * sizeof(m->range[0]), ALLOC_CHARGED);
	if (!m)
		return -ENOMEM;
	err = parse_map(text, m);
	if (!err && !may_map(u, group, m))
		err = -EPERM;
	if (!err)
		err = to_machine(group ? u->parent->gids : u->parent->uids, m);
	spin_lock(&maps_lock);
	if (!err && *at)
		err = -EPERM;
	if (!err)
		WRITE_ONCE(*at, m);
	spin_unlock(&maps_lock);
	if (err)
		kfree(m);
	return err;
}

int user_ns_set_setgroups(struct user_ns *u, bool allow)
{
	int err = 0;

	if (!ns_capable(u, CAP_SYS_ADMIN))
		return -EPERM;
	spin_lock(&maps_lock);
	if (allow ? u->deny_setgroups : u->gids != NULL)
		err = -EPERM;
	else
		u->deny_setgroups = !allow;
	spin_unlock(&maps_lock);
	return err;
}
