/* SPDX-License-Identifier: MIT
 *
 * Problem: bpf(2)'s core knows neither user memory nor descriptors nor rights.
 *
 * Idea: one table of functions for the core. A call remembers the files that it looked up and lets go of them when it
 * returns, so that everything which the core borrows stays. What the core leaves over (pins, attachments) is dispatched
 * here.
 *
 * Contract: bpf_glue/bpf.h. Rights as in Linux 6.1: CAP_BPF and CAP_PERFMON, each implied by CAP_SYS_ADMIN.
 *
 * Locks: none.
 */
#include <arch/user.h>
#include <bpf/helper.h>
#include <bpf_glue/bpf.h>
#include <core/attr.h>
#include <core/init.h>
#include <core/log.h>
#include <lib/err.h>
#include <lib/printf.h>
#include <lib/string.h>
#include <linux/capability.h>
#include <linux/fcntl.h>
#include <task/task.h>

#include "attach_priv.h"

#define MAX_HELD 80 /* maps of a program, and a few */

struct bpf_call {
	struct fd_ref held[MAX_HELD];
	u32 nr;
};

static u32 unprivileged_disabled = 2, stats_enabled;
static u32 stats_users; /* descriptors of BPF_ENABLE_STATS. stats_lock, with bpf_stats_on */
static struct spinlock stats_lock = SPIN_INIT(RANK_LEAF_SPIN);

/* ---- the core's table ---------------------------------------------------------------------------------------- */

static int copy_in(void *dst, u64 user, size_t n)
{
	return user_get(dst, (const void __user *)(ulong)user, n);
}

static int copy_out(u64 user, const void *src, size_t n)
{
	return user_put((void __user *)(ulong)user, src, n);
}

/* The file behind fd, kept until the call ends. */
static struct file *hold(struct bpf_call *c, s32 fd)
{
	struct fd_ref r = fd_get(fd);

	if (!r.file)
		return NULL;
	for (u32 i = 0; i < c->nr; i++)
		if (c->held[i].file == r.file) {
			fd_put(r);
			return r.file;
		}
	if (c->nr == MAX_HELD) {
		fd_put(r);
		return NULL;
	}
	c->held[c->nr++] = r;
	return r.file;
}

static void *resolve(void *caller, s32 fd, enum bpf_object *kind, u32 *flags)
{
	struct file *f = hold(caller, fd);
	void *obj;

	if (!f)
		return NULL;
	obj = bpf_file_object(f, kind, flags);
	if (obj)
		return obj;
	*kind = BPF_OBJ_KINDS;
	return f;
}

void *bpf_call_object(struct bpf_call *c, s32 fd, enum bpf_object kind, int *err)
{
	enum bpf_object is;
	u32 flags;
	void *obj = resolve(c, fd, &is, &flags);

	*err = !obj ? -EBADF : is == kind ? 0 : fail(EINVAL, "descriptor %d is another kind of object", fd);
	return *err ? NULL : obj;
}

static void rights(struct bpf_rights *r)
{
	r->sys_admin = capable(CAP_SYS_ADMIN);
	r->bpf = r->sys_admin || capable(CAP_BPF);
	r->perfmon = r->sys_admin || capable(CAP_PERFMON);
	r->net_admin = capable(CAP_NET_ADMIN);
}

static bool unprivileged_allowed(void)
{
	return !READ_ONCE(unprivileged_disabled);
}

/* ---- what the core leaves over ----------------------------------------------------------------------------------- */

#define REST_IS_ZERO(a, field)                                                                                         \
	bytes_are_zero((const u8 *)(a) + offsetof(union bpf_attr, field) + sizeof((a)->field),                         \
		       sizeof(*(a)) - offsetof(union bpf_attr, field) - sizeof((a)->field))

static bool bytes_are_zero(const u8 *p, size_t n)
{
	while (n--)
		if (*p++)
			return false;
	return true;
}

static int obj_pin(struct bpf_call *c, const union bpf_attr *a)
{
	enum bpf_object kind;
	u32 flags;
	void *obj;

	if (!REST_IS_ZERO(a, file_flags) || a->file_flags)
		return -EINVAL;
	obj = resolve(c, (s32)a->bpf_fd, &kind, &flags);
	if (!obj)
		return -EBADF;
	if (kind == BPF_OBJ_KINDS || kind == BPF_OBJ_BTF)
		return fail(EINVAL, "descriptor %u cannot be pinned", a->bpf_fd);
	return bpffs_pin((const char __user *)(ulong)a->pathname, kind, obj);
}

static int obj_get(const union bpf_attr *a)
{
	if (!REST_IS_ZERO(a, file_flags) || a->bpf_fd || a->file_flags & ~(u32)(BPF_F_RDONLY | BPF_F_WRONLY) ||
	    a->file_flags == (BPF_F_RDONLY | BPF_F_WRONLY))
		return -EINVAL;
	return bpffs_get((const char __user *)(ulong)a->pathname, a->file_flags);
}

/* ---- how often and how long programs run: counted while the sysctl says so or somebody holds such a descriptor ----
 */

static void stats_change(int users, u32 enabled)
{
	spin_lock(&stats_lock);
	stats_users += (u32)users;
	stats_enabled = enabled;
	WRITE_ONCE(bpf_stats_on, stats_users || enabled);
	spin_unlock(&stats_lock);
}

static void stats_release(struct file *f)
{
	stats_change(-1, stats_enabled);
}

static int enable_stats(const union bpf_attr *a)
{
	static const struct file_ops ops = { .release = stats_release };
	struct file *f;
	int fd, err;

	if (!REST_IS_ZERO(a, enable_stats.type))
		return -EINVAL;
	if (!capable(CAP_SYS_ADMIN))
		return -EPERM;
	if (a->enable_stats.type != BPF_STATS_RUN_TIME)
		return fail(EINVAL, "statistics of kind %u", a->enable_stats.type);
	fd = fd_reserve(O_CLOEXEC, 0);
	err = fd < 0 ? fd : file_anon("bpf-stats", &ops, NULL, O_RDWR, &f);
	if (err) {
		if (fd >= 0)
			fd_release(fd);
		return err;
	}
	stats_change(1, stats_enabled);
	fd_install(fd, f);
	return fd;
}

static int other(void *caller, u32 cmd, union bpf_attr *a, u64 uattr, u32 size)
{
	switch (cmd) {
	case BPF_OBJ_PIN: return obj_pin(caller, a);
	case BPF_OBJ_GET: return obj_get(a);
	case BPF_PROG_ATTACH: return REST_IS_ZERO(a, replace_bpf_fd) ? bpf_attach(caller, a) : -EINVAL;
	case BPF_PROG_DETACH: return REST_IS_ZERO(a, attach_type) ? bpf_detach(caller, a) : -EINVAL;
	case BPF_PROG_QUERY: return REST_IS_ZERO(a, query.prog_attach_flags) ? bpf_query(a, uattr) : -EINVAL;
	case BPF_ENABLE_STATS: return enable_stats(a);
	case BPF_TASK_FD_QUERY:
		return REST_IS_ZERO(a, task_fd_query.probe_addr) ? bpf_task_fd_query(a, uattr) : -EINVAL;
	case BPF_LINK_CREATE: return REST_IS_ZERO(a, link_create.flags) ? bpf_link_create(caller, a) : -EINVAL;
	}
	return fail(EINVAL, "bpf command %u", cmd);
}

static const struct bpf_sys_ops sys_ops = {
	.copy_in = copy_in,
	.copy_out = copy_out,
	.install = bpf_file_install,
	.resolve = resolve,
	.hold = bpf_held_get,
	.rights = rights,
	.unprivileged_allowed = unprivileged_allowed,
	.compile = bpf_image_make,
	.other = other,
};

long bpf_call(u32 cmd, u64 uattr, u32 size)
{
	struct bpf_call c;
	long r;

	c.nr = 0;
	r = bpf_sys(&sys_ops, &c, cmd, uattr, size);
	while (c.nr)
		fd_put(c.held[--c.nr]);
	return r;
}

int bpf_classic_load(const struct sock_filter *code, u32 len, bool seccomp, struct bpf_prog **out)
{
	int err = bpf_prog_classic(code, len, seccomp, out);

	if (!err)
		bpf_image_make(*out);
	return err;
}

/* ---- /proc/sys ------------------------------------------------------------------------------------------------------
 */

static int parse_u32(char *text, u32 max, u32 *out)
{
	u64 v;

	if (str_to_u64(text, 0, &v))
		return -EINVAL;
	if (v > max)
		return -EINVAL;
	*out = (u32)v;
	return 0;
}

static int set_jit(struct attr_dir *dir, const struct attr *a, char *text, size_t len)
{
	u32 v;
	int err = parse_u32(text, a->data == (ulong)&bpf_jit_kallsyms ? 1 : 2, &v);

	if (!err && !capable(CAP_SYS_ADMIN))
		err = -EPERM;
	if (!err)
		WRITE_ONCE(*(u32 *)a->data, v);
	return err;
}

/* 1 is for ever. */
static int set_unprivileged(struct attr_dir *dir, const struct attr *a, char *text, size_t len)
{
	u32 v;
	int err = parse_u32(text, 2, &v);

	if (err)
		return err;
	if (!capable(CAP_SYS_ADMIN) || (unprivileged_disabled == 1 && v != 1))
		return fail(EPERM, "kernel.unprivileged_bpf_disabled stays");
	unprivileged_disabled = v;
	return 0;
}

static int set_stats(struct attr_dir *dir, const struct attr *a, char *text, size_t len)
{
	u32 v;
	int err = parse_u32(text, 1, &v);

	if (err)
		return err;
	stats_change(0, v);
	return 0;
}

static int show_limit(struct attr_dir *dir, const struct attr *a, struct strbuf *out)
{
	strbuf_add(out, "%llu\n", (unsigned long long)bpf_jit_limit);
	return 0;
}

static int set_limit(struct attr_dir *dir, const struct attr *a, char *text, size_t len)
{
	u64 v;

	if (str_to_u64(text, 0, &v) || !v)
		return -EINVAL;
	WRITE_ONCE(bpf_jit_limit, v);
	return 0;
}

static const struct attr unprivileged = { "unprivileged_bpf_disabled",  0644, attr_show_u32, set_unprivileged, NULL,
					  (ulong)&unprivileged_disabled };
static const struct attr stats = { "bpf_stats_enabled", 0644, attr_show_u32, set_stats, NULL, (ulong)&stats_enabled };
static const struct attr enable = { "bpf_jit_enable", 0644, attr_show_u32, set_jit, NULL, (ulong)&bpf_jit_enable };
static const struct attr harden = { "bpf_jit_harden", 0600, attr_show_u32, set_jit, NULL, (ulong)&bpf_jit_harden };
static const struct attr kallsyms = {
	"bpf_jit_kallsyms", 0600, attr_show_u32, set_jit, NULL, (ulong)&bpf_jit_kallsyms
};
static const struct attr limit = { "bpf_jit_limit", 0600, show_limit, set_limit, NULL, 0 };
static const struct attr *const kernel_attrs[] = { &unprivileged, &stats, NULL };
static const struct attr *const net_attrs[] = { &enable, &harden, &kallsyms, &limit, NULL };

static void bpf_glue_init(void)
{
	bpf_host_init();
	bpf_helpers_install();
	bpf_files_init();
	bpffs_init();
	bpf_hooks_init();
	bpf_attach_init();
	bpf_held_init();
	ensure(!attr_sysctl_add("kernel", kernel_attrs));
	ensure(!attr_sysctl_add("net/core", net_attrs));
}
PART_INIT(fs, bpf_glue_init);
