/* SPDX-License-Identifier: MIT
 *
 * User namespaces: other numbers for users and groups, and capabilities that count only over what belongs to the
 * namespace. Source: user_namespaces(7), capabilities(7).
 *
 * A kuid_t is a user of the machine, whatever its number is inside; user_in and user_out convert for current at the
 * border of the kernel. Maps are written once and then constant, so nobody locks to read them.
 */
#ifndef TASK_USER_NS_H
#define TASK_USER_NS_H

#include <task/cred.h>
#include <task/ns.h>

struct strbuf;

#define ID_MAP_MAX 340
#define ID_NONE    (~0U)

struct id_range {
	u32 first, kernel_first, count; /* inside; the machine's */
};
struct id_map {
	unsigned nr;
	struct id_range range[];
};
struct user_ns {
	struct ns ns;
	struct user_ns *parent; /* NULL: the first. Counted (as ns.owner) */
	unsigned level;
	kuid_t owner; /* who made it */
	kgid_t group;
	const struct id_map *uids, *gids; /* NULL: not written yet. Set once under maps_lock */
	bool deny_setgroups;              /* maps_lock */
	u32 max[NS_NR];                   /* namespaces a user may make here. Single words */
	struct ns_count *counts;          /* ns_limit.c: NULL when nothing that was made here lives */
};
extern struct user_ns user_ns_first;

void user_ns_get(struct user_ns *u);
void user_ns_put(struct user_ns *u);
/* A child of c's namespace, owned by c's user; c (not yet anybody's) becomes all-powerful in it. -EPERM, -ENOSPC,
 * -ENOMEM. */
int __must_check user_ns_create(struct cred *c);
/* One more namespace made by uid in this user namespace: counts there and for owners all the way up. -ENOSPC: one too
 * many; -ENOMEM. */
int __must_check ns_limit_charge(struct user_ns *in, kuid_t uid, enum ns_kind kind);
void ns_limit_uncharge(struct user_ns *in, kuid_t uid, enum ns_kind kind);
void user_ns_enter(struct cred *c, struct user_ns *u); /* c gets its own capabilities there; takes a reference */

u32 user_ns_uid_out(const struct user_ns *u, kuid_t k); /* ID_NONE: has no number there */
u32 user_ns_gid_out(const struct user_ns *u, kgid_t k);
kuid_t user_ns_uid_in(const struct user_ns *u, u32 id); /* .v ID_NONE: not mapped */
kgid_t user_ns_gid_in(const struct user_ns *u, u32 id);
/* For current. out: 65534 for those that have no number. in: ID_NONE stays, and what is not mapped becomes it. */
u32 user_out(kuid_t k);
u32 group_out(kgid_t k);
kuid_t user_in(u32 id);
kgid_t group_in(u32 id);

bool ns_capable(const struct user_ns *u, int cap);  /* current has CAP_* over what belongs to u */
static inline bool capable_here(int cap);           /* in its own namespace */
bool capable_over(kuid_t uid, kgid_t gid, int cap); /* over a file of these: in its own, where both have numbers */
bool user_ns_may_setgroups(void);

/* The files of /proc/PID. group: gid_map. text is changed. */
int user_ns_show_map(const struct user_ns *u, bool group, struct strbuf *out);
int __must_check user_ns_set_map(struct user_ns *u, bool group, char *text);
int __must_check user_ns_set_setgroups(struct user_ns *u, bool allow);

#include <task/task.h>
static inline bool capable_here(int cap)
{
	return current->cred->cap_effective >> cap & 1;
}

#endif
