/* SPDX-License-Identifier: MIT
 *
 * Problem: shared memory that is named by a number, lives until it is removed and nobody has it attached, and knows how
 * often it is.
 *
 * Idea: a segment is a file without a name whose page cache is the memory; attaching maps it. The cache tells each VMA
 * that comes or goes (also by fork, by a split, by exit), which is what shm_nattch counts. While it is attached, a
 * segment keeps a reference of itself and of its namespace.
 *
 * Contract: shmget(2), shmat(2), shmctl(2), asm/shmbuf.h. There is no pool of huge pages: SHM_HUGETLB gives ENOMEM.
 *
 * Locks: object->lock for times, counts and mode.
 */
#include <abi/syscalls.h>
#include <asm/resource.h>
#include <asm/shmbuf.h>
#include <lib/printf.h>
#include <linux/mman.h>
#include <mm/commit.h>
#include <mm/mm.h>
#include <vfs/cache.h>
#include <vfs/uapi.h>
#include "ipc_priv.h"
#include "shm_numbers.h"

struct shm {
	struct ipc_object o;
	struct file *file;
	u64 bytes;
	unsigned attached; /* o.lock, like all below */
	s64 attach_time, detach_time;
	struct pid *creator, *last; /* counted */
};

static struct shm *shm_of(struct ipc_object *o)
{
	return container_of(o, struct shm, o);
}

static u64 pages_of(u64 bytes)
{
	return DIV_ROUND_UP(bytes, PAGE_SIZE);
}

/* ---- attachment ------------------------------------------------------------------------------------------ */

static void set_last(struct shm *s)
{
	struct pid *mine = current->process->pid;

	if (s->last == mine)
		return;
	pid_put(s->last);
	pid_get(mine);
	s->last = mine;
}

static bool wants_to_go(const struct shm *s)
{
	return !s->attached && (s->o.mode & SHM_DEST || s->o.table->ns->shm_remove_orphans);
}

static void shm_mapped(struct page_cache *c, int by)
{
	struct shm *s = c->host->priv;
	bool first, last, goes;

	spin_lock(&s->o.lock);
	s->attached += by;
	first = by > 0 && s->attached == 1;
	last = by < 0 && !s->attached;
	if (by > 0)
		s->attach_time = ipc_now();
	else
		s->detach_time = ipc_now();
	set_last(s);
	goes = last && wants_to_go(s);
	if (goes)
		s->o.removed = true;
	spin_unlock(&s->o.lock);
	if (first) {
		refcount_inc(&s->o.refs);
		ns_get(&s->o.table->ns->ns);
	}
	if (goes)
		ipc_take_out(&s->o);
	if (last) {
		struct ns *ns = &s->o.table->ns->ns;

		ipc_put(&s->o);
		ns_put(ns);
	}
}

static const struct cache_ops shm_cache_ops = { .mapped = shm_mapped };
static const struct file_ops shm_file_ops = { .mmap = cache_mmap, .llseek = no_llseek };

/* ---- life ------------------------------------------------------------------------------------------------- */

struct size_wish {
	u64 bytes;
	int key, flags;
};

static int check_size(struct ipc_object *o, const void *arg)
{
	const struct size_wish *w = arg;

	return w->bytes > shm_of(o)->bytes ? -EINVAL : 0;
}

static int charge(struct ipc_ns *ns, u64 pages)
{
	int err = 0;

	spin_lock(&ns->table[IPC_SHM].lock);
	if (ns->shm_pages + pages < pages || ns->shm_pages + pages > ns->shm_max_pages)
		err = -ENOSPC;
	else
		ns->shm_pages += pages;
	spin_unlock(&ns->table[IPC_SHM].lock);
	return err;
}

static void uncharge(struct ipc_ns *ns, u64 pages)
{
	spin_lock(&ns->table[IPC_SHM].lock);
	ns->shm_pages -= pages;
	spin_unlock(&ns->table[IPC_SHM].lock);
}

static int open_memory(struct shm *s, const struct size_wish *w)
{
	struct inode *i = anon_inode(S_IFREG | (w->flags & 0777), NULL);
	char name[24];
	int err;

	if (!i)
		return -ENOMEM;
	i->priv = s;
	i->size = w->bytes;
	i->nlink = 0;
	err = cache_create(i, &shm_cache_ops);
	if (err) {
		inode_put(i);
		return err;
	}
	str_format(name, sizeof(name), "SYSV%08x", (unsigned)w->key);
	return file_on_inode(i, name, &shm_file_ops, s, 2 /* O_RDWR */, &s->file);
}

static int make(struct ipc_ns *ns, const void *arg, struct ipc_object **out)
{
	const struct size_wish *w = arg;
	struct shm *s;
	int err;

	if (!w->bytes || w->bytes > ns->shm_max_bytes)
		return -EINVAL;
	if (pages_of(w->bytes) << PAGE_SHIFT < w->bytes)
		return -ENOSPC;
	if (w->flags & SHM_HUGETLB)
		return fail(ENOMEM, "shmget: no pool of huge pages");
	if (!(w->flags & SHM_NORESERVE) && !commit_allows(NULL, pages_of(w->bytes)))
		return -ENOMEM;
	err = charge(ns, pages_of(w->bytes));
	if (err)
		return err;
	s = kzalloc(sizeof(*s), ALLOC_CHARGED);
	err = s ? open_memory(s, w) : -ENOMEM;
	if (err) {
		kfree(s);
		uncharge(ns, pages_of(w->bytes));
		return err;
	}
	s->bytes = w->bytes;
	s->creator = current->process->pid;
	pid_get(s->creator);
	*out = &s->o;
	return 0;
}

void shm_free(struct ipc_object *o)
{
	struct shm *s = shm_of(o);

	uncharge(o->table->ns, pages_of(s->bytes));
	file_put(s->file);
	pid_put(s->creator);
	pid_put(s->last);
	kfree(s);
}

long sys_shmget(int key, size_t size, int flags)
{
	struct ipc_ns *ns = ipc_ns_current();
	struct size_wish wish = { size, key, flags };
	struct ipc_wish w = {
		.key = key, .flags = flags, .limit = ns->shm_max, .check = check_size, .make = make, .arg = &wish
	};

	return ipc_get(ns, IPC_SHM, &w);
}

/* ---- attaching and detaching ------------------------------------------------------------------------------- */

static int attach_address(ulong *addr, int flags)
{
	if (!*addr)
		return flags & SHM_REMAP ? -EINVAL : 0;
	if (*addr % PAGE_SIZE) {
		if (!(flags & SHM_RND))
			return -EINVAL;
		*addr = ALIGN_DOWN(*addr, PAGE_SIZE);
		if (!*addr && flags & SHM_REMAP)
			return -EINVAL;
	}
	return 0;
}

static long map_segment(struct shm *s, ulong addr, int flags)
{
	unsigned prot = PROT_READ, may = VMA_MAYREAD | VMA_MAYEXEC, map = MAP_SHARED;
	int err;

	if (!(flags & SHM_RDONLY)) {
		prot |= PROT_WRITE;
		may |= VMA_MAYWRITE;
	}
	if (flags & SHM_EXEC)
		prot |= PROT_EXEC;
	if (addr)
		map |= flags & SHM_REMAP ? MAP_FIXED : MAP_FIXED_NOREPLACE;
	err = mm_map(current->mm, &addr, s->bytes, prot, map, &s->file->inode->cache->map, 0, may);
	return err == -EEXIST ? -EINVAL : err ? err : (long)addr;
}

long sys_shmat(int shmid, ulong addr, int flags)
{
	unsigned rights = 0444 | (flags & SHM_RDONLY ? 0 : 0222) | (flags & SHM_EXEC ? 0111 : 0);
	struct ipc_object *o;
	long result;
	int err;

	if (shmid < 0)
		return -EINVAL;
	err = attach_address(&addr, flags);
	if (!err)
		err = ipc_find(ipc_ns_current(), IPC_SHM, shmid, &o);
	if (err)
		return err;
	spin_lock(&o->lock);
	result = o->removed ? -EIDRM : ipc_may(o, rights);
	spin_unlock(&o->lock);
	if (!result)
		result = map_segment(shm_of(o), addr, flags);
	ipc_put(o);
	return result;
}

/* The next piece at or after *at of an attachment that began at addr; of *found once that is known. */
static bool next_piece(struct mm *m, ulong addr, ulong *at, struct page_cache **found, ulong *end)
{
	bool got = false;

	read_lock(&m->lock);
	for (struct vma *v = mm_find_vma(m, *at); v && !got; v = mm_next_vma(v)) {
		struct page_cache *c = cache_of_mapping(v->mapping);

		if (*found && v->start - addr >= pages_of((*found)->host->size) << PAGE_SHIFT)
			break;
		if (v->start < addr || !c || c->ops != &shm_cache_ops || (*found && c != *found) ||
		    v->start - addr != v->index << PAGE_SHIFT)
			continue;
		*found = c;
		*at = v->start;
		*end = v->end;
		got = true;
	}
	read_unlock(&m->lock);
	return got;
}

long sys_shmdt(ulong addr)
{
	struct page_cache *found = NULL;
	struct inode *held = NULL;
	ulong at = addr, end;
	int err = -EINVAL;

	if (addr % PAGE_SIZE)
		return -EINVAL;
	while (next_piece(current->mm, addr, &at, &found, &end)) {
		if (!held) {
			held = found->host;
			inode_get(held);
		}
		err = mm_unmap(current->mm, at, end - at);
		if (err)
			break;
		at = end;
	}
	inode_put(held);
	return err;
}

/* ---- control ------------------------------------------------------------------------------------------------- */

u64 shm_fill(struct ipc_object *o, struct shmid64_ds *d)
{
	struct shm *s = shm_of(o);

	memset(d, 0, sizeof(*d));
	spin_lock(&s->o.lock);
	ipc_fill_perm(&s->o, &d->shm_perm);
	d->shm_segsz = s->bytes;
	d->shm_atime = s->attach_time;
	d->shm_dtime = s->detach_time;
	d->shm_ctime = s->o.changed;
	d->shm_cpid = pid_nr(s->creator);
	d->shm_lpid = pid_nr(s->last);
	d->shm_nattch = s->attached;
	spin_unlock(&s->o.lock);
	return READ_ONCE(s->file->inode->cache->nr_pages) << PAGE_SHIFT;
}

static long stat(struct ipc_ns *ns, int id, int cmd, void __user *buf)
{
	struct shmid64_ds d;
	struct ipc_object *o;
	int err = cmd == IPC_STAT ? ipc_find(ns, IPC_SHM, id, &o) : ipc_find_slot(ns, IPC_SHM, id, &o);
	long result;

	if (err)
		return err;
	result = cmd == IPC_STAT ? 0 : o->id;
	if (cmd != SHM_STAT_ANY)
		err = ipc_may(o, 0444);
	if (!err) {
		(void)shm_fill(o, &d);
		if (user_put(buf, &d, sizeof(d)))
			err = -EFAULT;
	}
	ipc_put(o);
	return err ? err : result;
}

static void add_usage(struct ipc_object *o, void *arg)
{
	struct shm_usage *u = arg;

	u->shm_tot += pages_of(shm_of(o)->bytes);
	u->shm_rss += READ_ONCE(shm_of(o)->file->inode->cache->nr_pages);
}

static long info(struct ipc_ns *ns, int cmd, void __user *buf)
{
	struct shminfo64 limits = { .shmmax = ns->shm_max_bytes,
				    .shmmin = 1,
				    .shmmni = ns->shm_max,
				    .shmseg = ns->shm_max,
				    .shmall = ns->shm_max_pages };
	struct shm_usage usage = { .used_ids = ns->table[IPC_SHM].used };
	int err;

	if (cmd == SHM_INFO) {
		ipc_for_each(IPC_SHM, add_usage, &usage);
		err = user_put(buf, &usage, sizeof(usage));
	} else {
		err = user_put(buf, &limits, sizeof(limits));
	}
	return err ? err : ipc_highest_slot(&ns->table[IPC_SHM]);
}

static int change(struct ipc_object *o, int cmd, const struct shmid64_ds *d)
{
	bool goes = false;
	int err;

	spin_lock(&o->lock);
	err = o->removed ? -EIDRM : ipc_may_change(o);
	if (!err && cmd == IPC_SET) {
		err = ipc_set_perm(o, &d->shm_perm);
	} else if (!err) {
		o->mode |= SHM_DEST;
		goes = !shm_of(o)->attached;
		o->removed = goes;
	}
	spin_unlock(&o->lock);
	if (!err && cmd == IPC_RMID)
		ipc_drop_key(o);
	if (goes)
		ipc_take_out(o);
	return err;
}

static int lock_segment(struct ipc_object *o, int cmd)
{
	const struct cred *c = current->cred;
	int err = 0;

	if (!ns_capable(o->table->ns->ns.owner, CAP_IPC_LOCK)) {
		if (!uid_eq(c->euid, o->uid) && !uid_eq(c->euid, o->cuid))
			return -EPERM;
		if (cmd == SHM_LOCK && !process_rlimit(RLIMIT_MEMLOCK))
			return -EPERM;
	}
	spin_lock(&o->lock);
	if (o->removed)
		err = -EIDRM;
	else if (cmd == SHM_LOCK)
		o->mode |= SHM_LOCKED;
	else
		o->mode &= ~SHM_LOCKED;
	spin_unlock(&o->lock);
	return err;
}

long sys_shmctl(int shmid, int cmd, void __user *buf)
{
	struct ipc_ns *ns = ipc_ns_current();
	struct shmid64_ds d = { .shm_perm.mode = 0 };
	struct ipc_object *o;
	int err;

	if (shmid < 0 || cmd < 0)
		return -EINVAL;
	switch (cmd) {
	case IPC_INFO:
	case SHM_INFO: return info(ns, cmd, buf);
	case IPC_STAT:
	case SHM_STAT:
	case SHM_STAT_ANY: return stat(ns, shmid, cmd, buf);
	case IPC_SET:
		if (user_get(&d, buf, sizeof(d)))
			return -EFAULT;
		break;
	case IPC_RMID:
	case SHM_LOCK:
	case SHM_UNLOCK: break;
	default: return -EINVAL;
	}
	err = ipc_find(ns, IPC_SHM, shmid, &o);
	if (err)
		return err;
	err = cmd == SHM_LOCK || cmd == SHM_UNLOCK ? lock_segment(o, cmd) : change(o, cmd, &d);
	ipc_put(o);
	return err;
}
