/* SPDX-License-Identifier: MIT
 *
 * Problem: the memory calls: mmap, brk and their family.
 *
 * Idea: check the arguments and the file's rights here; mm does the rest.
 *
 * Contract: mmap(2), mremap(2), madvise(2), mincore(2), mlock(2), msync(2), memfd is the vfs's.
 *
 * Locks: none.
 */
#include <abi/syscalls.h>
#include <alloc/slab.h>
#include <arch/cpu.h>
#include <arch/user.h>
#include <core/log.h>
#include <fs/fs.h>
#include <linux/capability.h>
#include <linux/membarrier.h>
#include <linux/fcntl.h>
#include <linux/mman.h>
#include <linux/mount.h>
#include <linux/uio.h>
#include <mm/commit.h>
#include <mm/mm.h>
#include <process/process.h>
#include <vfs/names.h>
#include <vfs/vfs.h>

#define KNOWN_FLAGS                                                                                                    \
	(MAP_SHARED | MAP_PRIVATE | MAP_FIXED | MAP_ANONYMOUS | MAP_POPULATE | MAP_NONBLOCK | MAP_STACK |              \
	 MAP_HUGETLB | MAP_FIXED_NOREPLACE | MAP_GROWSDOWN | MAP_DENYWRITE | MAP_EXECUTABLE | MAP_LOCKED |             \
	 MAP_NORESERVE | MAP_32BIT)

static int file_rights(struct file *f, ulong prot, bool shared, unsigned *may)
{
	bool noexec = f->path.mnt && (f->path.mnt->flags & MS_NOEXEC);
	/* mprotect(2) asks nobody later. */
	bool sealed = INODE_SEALS(f->inode->flags) & (F_SEAL_WRITE | F_SEAL_FUTURE_WRITE);

	if (!(f->mode & FMODE_READ))
		return -EACCES;
	if (shared && (prot & PROT_WRITE) && !(f->mode & FMODE_WRITE))
		return -EACCES;
	if (noexec && (prot & PROT_EXEC))
		return -EPERM;
	if (!f->ops->mmap)
		return -ENODEV;
	*may = VMA_MAYREAD;
	if (!shared || (f->mode & FMODE_WRITE && !sealed))
		*may |= VMA_MAYWRITE;
	if (!noexec)
		*may |= VMA_MAYEXEC;
	return 0;
}

static long map_file(ulong addr, size_t len, ulong prot, ulong flags, struct file *f, s64 offset)
{
	bool shared = (flags & MAP_TYPE) != MAP_PRIVATE;
	u64 index = (u64)offset >> PAGE_SHIFT;
	struct mapping *mapping;
	unsigned may;
	int err;

	err = file_rights(f, prot, shared, &may);
	if (!err)
		err = f->ops->mmap(f, prot, flags, &index, len, &mapping);
	if (!err)
		err = mm_map(current->mm, &addr, len, prot, flags, mapping, index, may);
	return err ? err : (long)addr;
}

/* Shared anonymous memory is a file without a name: fork's child maps the same one. */
static long map_shared_anon(ulong addr, size_t len, ulong prot, ulong flags)
{
	struct file *f;
	long result;
	int err;

	if (!(flags & MAP_NORESERVE) && !commit_allows(current->mm, ALIGN_UP(len, PAGE_SIZE) >> PAGE_SHIFT))
		return -ENOMEM;
	err = memfd_file("dev/zero", 0, &f);
	if (err)
		return err;
	result = inode_set_size(f->inode, ALIGN_UP(len, PAGE_SIZE));
	if (!result)
		result = map_file(addr, len, prot, flags & ~(ulong)MAP_ANONYMOUS, f, 0);
	file_put(f);
	return result;
}

static int check_map(ulong addr, size_t len, ulong flags, s64 offset)
{
	ulong type = flags & MAP_TYPE;

	if (!len)
		return -EINVAL;
	if (type != MAP_SHARED && type != MAP_PRIVATE && type != MAP_SHARED_VALIDATE)
		return -EINVAL;
	if (type == MAP_SHARED_VALIDATE && (flags & ~(ulong)(KNOWN_FLAGS | MAP_TYPE)))
		return -EOPNOTSUPP;
	if ((flags & (MAP_FIXED | MAP_FIXED_NOREPLACE)) && !IS_ALIGNED(addr, PAGE_SIZE))
		return -EINVAL;
	if ((u64)offset + len < (u64)offset)
		return -EOVERFLOW;
	if (flags & MAP_HUGETLB)
		return fail(ENOMEM, "mmap: no pool of huge pages");
	if ((flags & MAP_LOCKED) && !process_rlimit(RLIMIT_MEMLOCK) && !capable(CAP_IPC_LOCK))
		return -EPERM;
	return 0;
}

long sys_mmap(ulong addr, size_t len, ulong prot, ulong flags, int fd, s64 offset)
{
	bool shared = (flags & MAP_TYPE) != MAP_PRIVATE;
	struct fd_ref ref;
	long result;
	int err;

	if (!IS_ALIGNED(offset, PAGE_SIZE))
		return -EINVAL;
	if (!(flags & MAP_ANONYMOUS)) {
		ref = fd_get(fd);
		if (!ref.file)
			return -EBADF;
		err = check_map(addr, len, flags, offset);
		result = err ? err : map_file(addr, len, prot, flags, ref.file, offset);
		fd_put(ref);
		return result;
	}
	err = check_map(addr, len, flags, offset);
	if (err)
		return err;
	if (shared)
		return map_shared_anon(addr, len, prot, flags);
	err = mm_map(current->mm, &addr, len, prot, flags, NULL, 0, 0);
	return err ? err : (long)addr;
}

/* A window of shared file memory shows another part of the file: what the old call did by page tables, done by mapping
 * it anew, as remap_file_pages(2) now is on Linux. */
static int remap_window(ulong start, size_t size, struct mapping **map, unsigned *prot, unsigned *may)
{
	struct mm *m = current->mm;
	struct vma *v;
	int err = -EINVAL;

	read_lock(&m->lock);
	v = mm_find_vma(m, start);
	if (v && v->start <= start && v->end >= start + size && v->flags & VMA_SHARED && v->mapping) {
		*map = v->mapping;
		if ((*map)->ops->get)
			(*map)->ops->get(*map);
		*prot = v->flags & (VMA_READ | VMA_WRITE | VMA_EXEC);
		*may = v->flags & (VMA_MAYREAD | VMA_MAYWRITE | VMA_MAYEXEC);
		err = 0;
	}
	read_unlock(&m->lock);
	return err;
}

long sys_remap_file_pages(ulong start, size_t size, ulong prot, ulong pgoff, ulong flags)
{
	struct mapping *map;
	unsigned rights, may;
	int err;

	start = ALIGN_DOWN(start, PAGE_SIZE);
	size = ALIGN_DOWN(size, PAGE_SIZE);
	if (prot || start + size <= start || pgoff + (size >> PAGE_SHIFT) < pgoff)
		return -EINVAL;
	err = remap_window(start, size, &map, &rights, &may);
	if (err)
		return err;
	err = mm_map(current->mm, &start, size, rights, MAP_SHARED | MAP_FIXED | (flags & MAP_NONBLOCK), map, pgoff,
		     may);
	if (map->ops->put)
		map->ops->put(map);
	return err;
}

long sys_munmap(ulong addr, size_t len)
{
	return mm_unmap(current->mm, addr, len);
}

long sys_mprotect(ulong addr, size_t len, ulong prot)
{
	return mm_protect(current->mm, addr, len, prot);
}

long sys_pkey_mprotect(ulong addr, size_t len, ulong prot, int pkey)
{
	return pkey == -1 ? mm_protect(current->mm, addr, len, prot) : -EINVAL;
}

long sys_brk(ulong brk)
{
	ulong now;
	int err = mm_brk(current->mm, brk, &now);

	return err ? (long)current->mm->brk : (long)now;
}

long sys_mremap(ulong addr, size_t old_len, size_t new_len, ulong flags, ulong new_addr)
{
	ulong out;
	int err = mm_remap(current->mm, addr, old_len, new_len, flags, new_addr, &out);

	return err ? err : (long)out;
}

long sys_madvise(ulong addr, size_t len, int advice)
{
	return mm_advise(current->mm, addr, len, advice);
}

long sys_msync(ulong addr, size_t len, int flags)
{
	return mm_sync(current->mm, addr, len, flags);
}

long sys_mlock(ulong addr, size_t len)
{
	return mm_lock_range(current->mm, addr, len, true, false);
}

long sys_mlock2(ulong addr, size_t len, int flags)
{
	if (flags & ~MLOCK_ONFAULT)
		return -EINVAL;
	return mm_lock_range(current->mm, addr, len, true, flags & MLOCK_ONFAULT);
}

long sys_munlock(ulong addr, size_t len)
{
	return mm_lock_range(current->mm, addr, len, false, false);
}

long sys_mlockall(int flags)
{
	if (!flags)
		return -EINVAL;
	return mm_lock_all(current->mm, flags);
}

long sys_munlockall(void)
{
	return mm_lock_all(current->mm, 0);
}

long sys_mincore(ulong addr, size_t len, u8 __user *vec)
{
	u64 pages = ALIGN_UP(len, PAGE_SIZE) >> PAGE_SHIFT;
	u8 part[256];

	if (!IS_ALIGNED(addr, PAGE_SIZE))
		return -EINVAL;
	if (addr >= USER_END || len > USER_END - addr)
		return -ENOMEM;
	for (u64 done = 0; done < pages;) {
		unsigned n = min(pages - done, (u64)sizeof(part));
		int err = mm_resident(current->mm, addr + (done << PAGE_SHIFT), n, part);

		if (err)
			return err;
		if (user_put(vec + done, part, n))
			return -EFAULT;
		done += n;
	}
	return 0;
}

/* ---- other processes' memory ------------------------------------------------------------------------------- */

#define MAX_SEGMENTS 1024

struct segments {
	struct iovec *vec;
	ulong n, at;
	size_t skip;
};

static int segments_get(struct segments *s, const void __user *vec, ulong n)
{
	*s = (struct segments){ .n = n };
	if (n > MAX_SEGMENTS)
		return -EINVAL;
	s->vec = kcalloc(n + 1, sizeof(*s->vec), 0);
	if (!s->vec)
		return -ENOMEM;
	if (user_get(s->vec, vec, n * sizeof(*s->vec)))
		return -EFAULT;
	for (ulong i = 0; i < n; i++)
		if ((ssize_t)s->vec[i].iov_len < 0)
			return -EINVAL;
	return 0;
}

/* What is left of the present segment; moves to the next when it is used up. */
static size_t segment_left(struct segments *s)
{
	while (s->at < s->n && s->skip == s->vec[s->at].iov_len) {
		s->at++;
		s->skip = 0;
	}
	return s->at < s->n ? s->vec[s->at].iov_len - s->skip : 0;
}

static ssize_t copy_part(struct mm *m, struct segments *here, struct segments *there, char *page, size_t n, bool write)
{
	char __user *mine = (char __user *)here->vec[here->at].iov_base + here->skip;
	ulong theirs = (ulong)there->vec[there->at].iov_base + there->skip;
	ssize_t done;

	if (write && user_get(page, mine, n))
		return -EFAULT;
	done = mm_access(m, theirs, page, n, write, false);
	if (done > 0 && !write && user_put(mine, page, done))
		return -EFAULT;
	return done;
}

static ssize_t copy_segments(struct mm *m, struct segments *here, struct segments *there, bool write)
{
	char *page = kmalloc(PAGE_SIZE, 0);
	ssize_t total = 0, part = 0;

	if (!page)
		return -ENOMEM;
	for (;;) {
		size_t n = min(segment_left(here), segment_left(there));

		n = min(n, PAGE_SIZE);
		if (!n)
			break;
		part = copy_part(m, here, there, page, n, write);
		if (part <= 0)
			break;
		total += part;
		here->skip += part;
		there->skip += part;
		if ((size_t)part < n)
			break;
	}
	kfree(page);
	return total ? total : part;
}

static long process_vm(int pid, const void __user *lvec, ulong ln, const void __user *rvec, ulong rn, ulong flags,
		       bool write)
{
	struct segments here = { 0 }, there = { 0 };
	struct mm *m = NULL;
	struct task *t;
	long result;

	if (flags)
		return -EINVAL;
	result = segments_get(&here, lvec, ln);
	if (!result)
		result = segments_get(&there, rvec, rn);
	if (!result && !segment_left(&here))
		goto out;
	t = result ? NULL : task_find_get(pid);
	if (t) {
		result = process_may_look(t) ? 0 : -EPERM;
		m = result ? NULL : mm_of_task(t);
		task_put(t);
	}
	if (m) {
		result = copy_segments(m, &here, &there, write);
		mm_put(m);
	} else if (!result) {
		result = -ESRCH;
	}
out:
	kfree(here.vec);
	kfree(there.vec);
	return result;
}

long sys_process_vm_readv(int pid, const void __user *lvec, ulong liovcnt, const void __user *rvec, ulong riovcnt,
			  ulong flags)
{
	return process_vm(pid, lvec, liovcnt, rvec, riovcnt, flags, false);
}

long sys_process_vm_writev(int pid, const void __user *lvec, ulong liovcnt, const void __user *rvec, ulong riovcnt,
			   ulong flags)
{
	return process_vm(pid, lvec, liovcnt, rvec, riovcnt, flags, true);
}

/* ---- membarrier ------------------------------------------------------------------------------------------------ */

static void barrier_here(void *unused)
{
	smp_mb();
}

/* What runs here begins its restartable sequence anew. */
static void restart_here(void *m)
{
	if (current->mm == m && current->rseq)
		task_set_work(current, WORK_RSEQ);
	smp_mb();
}

#define MEMBARRIER_REGISTERS                                                                                           \
	(MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED | MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED |                        \
	 MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED_SYNC_CORE | MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED_RSEQ)
/* Each needs to be registered before, by the command of twice its number. */
#define MEMBARRIER_PRIVATE                                                                                             \
	(MEMBARRIER_CMD_PRIVATE_EXPEDITED | MEMBARRIER_CMD_PRIVATE_EXPEDITED_SYNC_CORE |                               \
	 MEMBARRIER_CMD_PRIVATE_EXPEDITED_RSEQ)
#define MEMBARRIER_KNOWN                                                                                               \
	(MEMBARRIER_CMD_GLOBAL | MEMBARRIER_CMD_GLOBAL_EXPEDITED | MEMBARRIER_REGISTERS | MEMBARRIER_PRIVATE)

/* Every command is served by an interrupt to the CPUs that may run the program: more than the weakest one asks for. */
long sys_membarrier(int cmd, u32 flags, int cpu_id)
{
	struct mm *m = current->mm;
	cpumask_t where = cpu_online_mask();

	if (flags && (cmd != MEMBARRIER_CMD_PRIVATE_EXPEDITED_RSEQ || flags != MEMBARRIER_CMD_FLAG_CPU))
		return -EINVAL;
	if (cmd == MEMBARRIER_CMD_QUERY)
		return MEMBARRIER_KNOWN;
	if (!(cmd & MEMBARRIER_KNOWN) || (cmd & (cmd - 1)))
		return -EINVAL;
	if (cmd & MEMBARRIER_REGISTERS) {
		__atomic_fetch_or(&m->membarrier, (u16)cmd, __ATOMIC_SEQ_CST);
		return 0;
	}
	if (cmd & MEMBARRIER_PRIVATE && !(READ_ONCE(m->membarrier) & cmd << 1))
		return -EPERM;
	if (flags)
		where = cpu_id >= 0 && cpu_id < 64 ? where & BIT(cpu_id) : where;
	cpu_call(where, cmd == MEMBARRIER_CMD_PRIVATE_EXPEDITED_RSEQ ? restart_here : barrier_here, m);
	return 0;
}
