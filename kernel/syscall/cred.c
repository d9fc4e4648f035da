/* SPDX-License-Identifier: MIT
 *
 * Problem: users and groups of a thread change under rules that grew over forty years.
 *
 * Idea: each call makes a copy of the credentials, edits it by its rule, adjusts the capabilities as a
 * change of user ids demands, and commits the copy. Linux changes one thread alone; C libraries do
 * the others.
 *
 * Contract: credentials(7), setuid(2) and its family, capabilities(7), capget(2).
 *
 * Locks: none: credentials are immutable once published.
 */
#include <abi/syscalls.h>
#include <alloc/slab.h>
#include <arch/user.h>
#include <lib/string.h>
#include <linux/capability.h>
#include <linux/limits.h>
#include <linux/securebits.h>
#include <mm/mm.h>
#include <process/process.h>
#include <task/account.h>
#include <task/user_ns.h>

#define KEEP (~0U)

static struct cred *edit(void)
{
	return cred_prepare();
}

/* capabilities(7), "Effect of user ID changes on capabilities". */
static void adjust_caps(struct cred *c, const struct cred *old)
{
	u32 root = user_in(0).v; /* of its namespace; nobody, if it has no number there */
	bool had_root = old->uid.v == root || old->euid.v == root || old->suid.v == root;
	bool has_root = c->uid.v == root || c->euid.v == root || c->suid.v == root;

	if (c->securebits & SECBIT_NO_SETUID_FIXUP)
		return;
	if (had_root && !has_root) {
		if (!(c->securebits & SECBIT_KEEP_CAPS))
			c->cap_permitted = c->cap_effective = 0;
		c->cap_ambient = 0;
	}
	if (old->euid.v == root && c->euid.v != root)
		c->cap_effective = 0;
	if (old->euid.v != root && c->euid.v == root)
		c->cap_effective = c->cap_permitted;
}

static long commit(struct cred *c)
{
	adjust_caps(c, current->cred);
	if (!uid_eq(c->uid, current->cred->uid)) { /* cannot be refused, for programs do not look: exec is */
		current->flags &= ~TASK_F_OVER_NPROC;
		if (c->uid.v && account_read(c->uid, ACCOUNT_TASKS) > process_rlimit(RLIMIT_NPROC))
			current->flags |= TASK_F_OVER_NPROC;
	}
	if (!uid_eq(c->euid, current->cred->euid) || !gid_eq(c->egid, current->cred->egid))
		current->mm->dumpable = 0;
	cred_commit(c);
	return 0;
}

static long refuse(struct cred *c, int err)
{
	cred_put(c);
	return err;
}

/* From the caller's numbers to the machine's; KEEP stays. False: nobody has this number. */
static bool inside_user(u32 *id)
{
	bool keep = *id == KEEP;

	*id = user_in(*id).v;
	return keep || *id != KEEP;
}

static bool inside_group(u32 *id)
{
	bool keep = *id == KEEP;

	*id = group_in(*id).v;
	return keep || *id != KEEP;
}

long sys_getuid(void)
{
	return user_out(current->cred->uid);
}

long sys_geteuid(void)
{
	return user_out(current->cred->euid);
}

long sys_getgid(void)
{
	return group_out(current->cred->gid);
}

long sys_getegid(void)
{
	return group_out(current->cred->egid);
}

long sys_setuid(u32 uid)
{
	struct cred *c = edit();

	if (!c)
		return -ENOMEM;
	if (!inside_user(&uid))
		return refuse(c, -EINVAL);
	if (uid == KEEP)
		return refuse(c, -EINVAL);
	if (capable_here(CAP_SETUID))
		c->uid = c->suid = KUID(uid);
	else if (uid != c->uid.v && uid != c->suid.v)
		return refuse(c, -EPERM);
	c->euid = c->fsuid = KUID(uid);
	return commit(c);
}

long sys_setgid(u32 gid)
{
	struct cred *c = edit();

	if (!c)
		return -ENOMEM;
	if (!inside_group(&gid))
		return refuse(c, -EINVAL);
	if (gid == KEEP)
		return refuse(c, -EINVAL);
	if (capable_here(CAP_SETGID))
		c->gid = c->sgid = KGID(gid);
	else if (gid != c->gid.v && gid != c->sgid.v)
		return refuse(c, -EPERM);
	c->egid = c->fsgid = KGID(gid);
	return commit(c);
}

long sys_setreuid(u32 ruid, u32 euid)
{
	struct cred *c = edit();
	const struct cred *old = current->cred;
	bool any = capable_here(CAP_SETUID);

	if (!c)
		return -ENOMEM;
	if (!inside_user(&ruid) || !inside_user(&euid))
		return refuse(c, -EINVAL);
	if (!any && ruid != KEEP && ruid != old->uid.v && ruid != old->euid.v)
		return refuse(c, -EPERM);
	if (!any && euid != KEEP && euid != old->uid.v && euid != old->euid.v && euid != old->suid.v)
		return refuse(c, -EPERM);
	if (ruid != KEEP)
		c->uid = KUID(ruid);
	if (euid != KEEP)
		c->euid = KUID(euid);
	if (ruid != KEEP || (euid != KEEP && euid != old->uid.v))
		c->suid = c->euid;
	c->fsuid = c->euid;
	return commit(c);
}

long sys_setregid(u32 rgid, u32 egid)
{
	struct cred *c = edit();
	const struct cred *old = current->cred;
	bool any = capable_here(CAP_SETGID);

	if (!c)
		return -ENOMEM;
	if (!inside_group(&rgid) || !inside_group(&egid))
		return refuse(c, -EINVAL);
	if (!any && rgid != KEEP && rgid != old->gid.v && rgid != old->egid.v)
		return refuse(c, -EPERM);
	if (!any && egid != KEEP && egid != old->gid.v && egid != old->egid.v && egid != old->sgid.v)
		return refuse(c, -EPERM);
	if (rgid != KEEP)
		c->gid = KGID(rgid);
	if (egid != KEEP)
		c->egid = KGID(egid);
	if (rgid != KEEP || (egid != KEEP && egid != old->gid.v))
		c->sgid = c->egid;
	c->fsgid = c->egid;
	return commit(c);
}

static bool one_of(u32 want, u32 a, u32 b, u32 c)
{
	return want == KEEP || want == a || want == b || want == c;
}

long sys_setresuid(u32 ruid, u32 euid, u32 suid)
{
	const struct cred *o = current->cred;
	struct cred *c = edit();

	if (!c)
		return -ENOMEM;
	if (!inside_user(&ruid) || !inside_user(&euid) || !inside_user(&suid))
		return refuse(c, -EINVAL);
	if (!capable_here(CAP_SETUID) &&
	    !(one_of(ruid, o->uid.v, o->euid.v, o->suid.v) && one_of(euid, o->uid.v, o->euid.v, o->suid.v) &&
	      one_of(suid, o->uid.v, o->euid.v, o->suid.v)))
		return refuse(c, -EPERM);
	if (ruid != KEEP)
		c->uid = KUID(ruid);
	if (euid != KEEP)
		c->euid = KUID(euid);
	if (suid != KEEP)
		c->suid = KUID(suid);
	c->fsuid = c->euid;
	return commit(c);
}

long sys_setresgid(u32 rgid, u32 egid, u32 sgid)
{
	const struct cred *o = current->cred;
	struct cred *c = edit();

	if (!c)
		return -ENOMEM;
	if (!inside_group(&rgid) || !inside_group(&egid) || !inside_group(&sgid))
		return refuse(c, -EINVAL);
	if (!capable_here(CAP_SETGID) &&
	    !(one_of(rgid, o->gid.v, o->egid.v, o->sgid.v) && one_of(egid, o->gid.v, o->egid.v, o->sgid.v) &&
	      one_of(sgid, o->gid.v, o->egid.v, o->sgid.v)))
		return refuse(c, -EPERM);
	if (rgid != KEEP)
		c->gid = KGID(rgid);
	if (egid != KEEP)
		c->egid = KGID(egid);
	if (sgid != KEEP)
		c->sgid = KGID(sgid);
	c->fsgid = c->egid;
	return commit(c);
}

static long put3(u32 __user *a, u32 __user *b, u32 __user *c, u32 x, u32 y, u32 z)
{
	return user_put(a, &x, 4) || user_put(b, &y, 4) || user_put(c, &z, 4) ? -EFAULT : 0;
}

long sys_getresuid(u32 __user *ruid, u32 __user *euid, u32 __user *suid)
{
	const struct cred *c = current->cred;

	return put3(ruid, euid, suid, user_out(c->uid), user_out(c->euid), user_out(c->suid));
}

long sys_getresgid(u32 __user *rgid, u32 __user *egid, u32 __user *sgid)
{
	const struct cred *c = current->cred;

	return put3(rgid, egid, sgid, group_out(c->gid), group_out(c->egid), group_out(c->sgid));
}

/* These two give the old value, also when they change nothing: setfsuid(2). */
long sys_setfsuid(u32 uid)
{
	const struct cred *o = current->cred;
	const u64 fs_caps = BIT(CAP_CHOWN) | BIT(CAP_DAC_OVERRIDE) | BIT(CAP_DAC_READ_SEARCH) | BIT(CAP_FOWNER) |
			    BIT(CAP_FSETID) | BIT(CAP_LINUX_IMMUTABLE) | BIT(CAP_MKNOD) | BIT(CAP_MAC_OVERRIDE);
	u32 old = o->fsuid.v, shown = user_out(o->fsuid);
	struct cred *c;

	if (!inside_user(&uid) || uid == KEEP ||
	    (!one_of(uid, o->uid.v, o->euid.v, o->suid.v) && uid != old && !capable_here(CAP_SETUID)))
		return shown;
	c = edit();
	if (!c)
		return shown;
	c->fsuid = KUID(uid);
	if (!(c->securebits & SECBIT_NO_SETUID_FIXUP)) {
		if (old == user_in(0).v && uid != old)
			c->cap_effective &= ~fs_caps;
		if (old != user_in(0).v && uid == user_in(0).v)
			c->cap_effective |= fs_caps & c->cap_permitted;
	}
	cred_commit(c);
	return shown;
}

long sys_setfsgid(u32 gid)
{
	const struct cred *o = current->cred;
	u32 old = o->fsgid.v, shown = group_out(o->fsgid);
	struct cred *c;

	if (!inside_group(&gid) || gid == KEEP ||
	    (!one_of(gid, o->gid.v, o->egid.v, o->sgid.v) && gid != old && !capable_here(CAP_SETGID)))
		return shown;
	c = edit();
	if (!c)
		return shown;
	c->fsgid = KGID(gid);
	cred_commit(c);
	return shown;
}

/* ---- supplementary groups --------------------------------------------------------------------------------- */

long sys_getgroups(int size, u32 __user *list)
{
	const struct group_list *g = current->cred->groups;
	int count = g ? g->count : 0;

	if (size < 0 || (size && size < count))
		return -EINVAL;
	for (int i = 0; size && i < count; i++) {
		u32 id = group_out(g->ids[i]);

		if (user_put(list + i, &id, sizeof(id)))
			return -EFAULT;
	}
	return count;
}

long sys_setgroups(int size, const u32 __user *list)
{
	struct group_list *g, *old;
	struct cred *c;

	if (!user_ns_may_setgroups())
		return -EPERM;
	if (size < 0 || size > NGROUPS_MAX)
		return -EINVAL;
	g = kmalloc(sizeof(*g) + size * sizeof(g->ids[0]), ALLOC_CHARGED);
	c = g ? edit() : NULL;
	if (!c) {
		kfree(g);
		return -ENOMEM;
	}
	refcount_set(&g->refs, 1);
	g->count = size;
	if (user_get(g->ids, list, size * sizeof(g->ids[0]))) {
		kfree(g);
		return refuse(c, -EFAULT);
	}
	for (int n = 0; n < size; n++) {
		if (g->ids[n].v != KEEP && inside_group(&g->ids[n].v))
			continue;
		kfree(g);
		return refuse(c, -EINVAL);
	}
	old = c->groups;
	c->groups = g;
	if (old && refcount_dec_and_test(&old->refs))
		kfree(old);
	cred_commit(c);
	return 0;
}

/* ---- capabilities --------------------------------------------------------------------------------------------- */

static int header_words(void __user *header, struct __user_cap_header_struct *h, int *words)
{
	u32 version = _LINUX_CAPABILITY_VERSION_3;

	if (user_get(h, header, sizeof(*h)))
		return -EFAULT;
	*words = h->version == _LINUX_CAPABILITY_VERSION_1 ? 1 : 2;
	if (h->version == _LINUX_CAPABILITY_VERSION_1 || h->version == _LINUX_CAPABILITY_VERSION_2 ||
	    h->version == _LINUX_CAPABILITY_VERSION_3)
		return 0;
	return user_put(header, &version, sizeof(version)) ? -EFAULT : -EINVAL;
}

long sys_capget(void __user *header, void __user *data)
{
	struct __user_cap_header_struct h;
	struct __user_cap_data_struct d[2];
	const struct cred *c = current->cred;
	struct task *t = NULL;
	int words, err = header_words(header, &h, &words);

	if (err)
		return err == -EINVAL && !data ? 0 : err;
	if (h.pid < 0)
		return -EINVAL;
	if (h.pid) {
		t = task_find_get(h.pid);
		if (!t)
			return -ESRCH;
		c = t->cred;
	}
	for (int i = 0; i < 2; i++)
		d[i] = (struct __user_cap_data_struct){ c->cap_effective >> 32 * i, c->cap_permitted >> 32 * i,
							c->cap_inheritable >> 32 * i };
	if (t)
		task_put(t);
	return data && user_put(data, d, words * sizeof(d[0])) ? -EFAULT : 0;
}

static u64 join(u32 low, u32 high)
{
	return ((u64)high << 32 | low) & (BIT(CAP_LAST_CAP + 1) - 1);
}

long sys_capset(void __user *header, const void __user *data)
{
	struct __user_cap_header_struct h;
	struct __user_cap_data_struct d[2];
	const struct cred *old = current->cred;
	u64 effective, permitted, inheritable;
	struct cred *c;
	int words, err = header_words(header, &h, &words);

	if (err)
		return err;
	if (h.pid && h.pid != pid_nr(current->pid))
		return -EPERM;
	memset(d, 0, sizeof(d));
	if (user_get(d, data, words * sizeof(d[0])))
		return -EFAULT;
	effective = join(d[0].effective, d[1].effective);
	permitted = join(d[0].permitted, d[1].permitted);
	inheritable = join(d[0].inheritable, d[1].inheritable);
	if ((permitted & ~old->cap_permitted) || (effective & ~permitted) ||
	    (inheritable & ~(old->cap_inheritable | old->cap_bounding)) ||
	    (!capable_here(CAP_SETPCAP) && (inheritable & ~(old->cap_inheritable | old->cap_permitted))))
		return -EPERM;
	c = edit();
	if (!c)
		return -ENOMEM;
	c->cap_effective = effective;
	c->cap_permitted = permitted;
	c->cap_inheritable = inheritable;
	c->cap_ambient &= permitted & inheritable;
	cred_commit(c);
	return 0;
}
