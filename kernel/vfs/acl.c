/* SPDX-License-Identifier: MIT
 *
 * Problem: a file's mode knows one user and one group; programs want to name more.
 *
 * Idea: a list of entries in the order of acl(5), kept with the inode while somebody other than the mode has rights.
 * The mode's group bits are then the mask: the most that named users and all groups may.
 *
 *      USER_OBJ (owner)  USER id ...  GROUP_OBJ (group)  GROUP id ...  MASK  OTHER
 *      asked: a USER entry of the caller's decides, cut by the mask; else any group entry of his that grants, cut by
 * the mask; else, if he was in none of the groups, OTHER
 *
 * Contract: vfs/acl.h. The formats' source is linux/posix_acl_xattr.h.
 *
 * Locks: inode->lock for changes of inode->acl; readers under RCU.
 */
#include <alloc/slab.h>
#include <core/log.h>
#include <lib/err.h>
#include <lib/string.h>
#include <linux/posix_acl.h>
#include <linux/posix_acl_xattr.h>
#include <task/task.h>
#include <vfs/acl.h>
#include <vfs/uapi.h>

struct acl {
	struct rcu_head rcu;
	u32 n;
	struct posix_acl_xattr_entry e[];
};

#define MOST 1024 /* more do not fit a block of any file system */

/* The rank of a tag in the list's order. */
static unsigned rank(u16 tag)
{
	switch (tag) {
	case ACL_USER_OBJ: return 1;
	case ACL_USER: return 2;
	case ACL_GROUP_OBJ: return 3;
	case ACL_GROUP: return 4;
	case ACL_MASK: return 5;
	case ACL_OTHER: return 6;
	}
	return 0;
}

static bool is_named(u16 tag)
{
	return tag == ACL_USER || tag == ACL_GROUP;
}

/* Each of the three once, named ones in order and only with a mask. */
static bool is_valid(const struct acl *a)
{
	unsigned seen = 0, before = 0;

	for (u32 i = 0; i < a->n; i++) {
		unsigned r = rank(a->e[i].e_tag);

		if (!r || r < before || (r == before && !is_named(a->e[i].e_tag)) || a->e[i].e_perm > 7)
			return false;
		if (is_named(a->e[i].e_tag) && a->e[i].e_id == ACL_UNDEFINED_ID)
			return false;
		seen |= BIT(r);
		before = r;
	}
	return (seen & (BIT(1) | BIT(3) | BIT(6))) == (BIT(1) | BIT(3) | BIT(6)) &&
	       (!(seen & (BIT(2) | BIT(4))) || seen & BIT(5));
}

int acl_parse(const void *value, size_t bytes, struct acl **out)
{
	const struct posix_acl_xattr_header *h = value;
	size_t n = bytes < sizeof(*h) ? 0 : (bytes - sizeof(*h)) / sizeof(struct posix_acl_xattr_entry);
	struct acl *a;

	*out = NULL;
	if (bytes < sizeof(*h) || (bytes - sizeof(*h)) % sizeof(a->e[0]) || h->a_version != POSIX_ACL_XATTR_VERSION ||
	    n > MOST)
		return -EINVAL;
	if (!n)
		return 0;
	a = kmalloc(sizeof(*a) + n * sizeof(a->e[0]), ALLOC_KERNEL);
	if (!a)
		return -ENOMEM;
	a->n = (u32)n;
	memcpy(a->e, h + 1, n * sizeof(a->e[0]));
	if (!is_valid(a)) {
		kfree(a);
		return -EINVAL;
	}
	*out = a;
	return 0;
}

static void free_now(struct rcu_head *head)
{
	kfree(container_of(head, struct acl, rcu));
}

void acl_free(struct acl *a)
{
	if (a)
		rcu_call(&a->rcu, free_now);
}

struct acl *acl_copy(const struct acl *a)
{
	size_t bytes = sizeof(*a) + a->n * sizeof(a->e[0]);
	struct acl *copy = kmalloc(bytes, ALLOC_KERNEL);

	if (copy)
		memcpy(copy, a, bytes);
	return copy;
}

size_t acl_bytes(const struct acl *a)
{
	return sizeof(struct posix_acl_xattr_header) + a->n * sizeof(a->e[0]);
}

void acl_value(const struct acl *a, void *out)
{
	struct posix_acl_xattr_header *h = out;

	h->a_version = POSIX_ACL_XATTR_VERSION;
	memcpy(h + 1, a->e, a->n * sizeof(a->e[0]));
}

bool acl_is_minimal(const struct acl *a)
{
	return a->n == 3;
}

/* The entry whose rights are the mode's group bits. */
static struct posix_acl_xattr_entry *group_class(const struct acl *a)
{
	struct posix_acl_xattr_entry *group = NULL;

	for (u32 i = 0; i < a->n; i++) {
		struct posix_acl_xattr_entry *e = (struct posix_acl_xattr_entry *)&a->e[i];

		if (e->e_tag == ACL_MASK)
			return e;
		if (e->e_tag == ACL_GROUP_OBJ)
			group = e;
	}
	return group;
}

u16 acl_to_mode(const struct acl *a, u16 mode)
{
	return (mode & ~0777) | a->e[0].e_perm << 6 | group_class(a)->e_perm << 3 | a->e[a->n - 1].e_perm;
}

void acl_from_mode(struct acl *a, u16 mode)
{
	a->e[0].e_perm = mode >> 6 & 7;
	group_class(a)->e_perm = mode >> 3 & 7;
	a->e[a->n - 1].e_perm = mode & 7;
}

void acl_inherit(struct acl *a, u16 *mode)
{
	u16 both = acl_to_mode(a, 0) & *mode & 0777;

	acl_from_mode(a, both);
	*mode = (*mode & ~0777) | both;
}

int acl_check(const struct acl *a, const struct inode *i, unsigned may)
{
	const struct cred *c = current->cred;
	unsigned mask = group_class(a)->e_perm;
	bool member = false;

	for (u32 k = 0; k < a->n; k++) {
		const struct posix_acl_xattr_entry *e = &a->e[k];
		bool mine = false;

		switch (e->e_tag) {
		case ACL_USER:
			if (c->fsuid.v == e->e_id)
				return (e->e_perm & mask & may) == may ? 0 : -EACCES;
			break;
		case ACL_GROUP_OBJ: mine = in_group(c, i->gid); break;
		case ACL_GROUP: mine = in_group(c, KGID(e->e_id)); break;
		case ACL_OTHER: return !member && (e->e_perm & may) == may ? 0 : -EACCES;
		}
		member |= mine;
		if (mine && (e->e_perm & mask & may) == may)
			return 0;
	}
	return -EACCES;
}

void inode_set_acl(struct inode *i, struct acl *a)
{
	struct acl *old = i->acl;

	rcu_assign(i->acl, a);
	acl_free(old);
}
