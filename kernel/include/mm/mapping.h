/* SPDX-License-Identifier: MIT
 *
 * What a VMA maps. mm knows neither files nor inodes: it asks a mapping for pages. The page cache of an inode is one
 * implementation (vfs), a device's memory, a perf ring, a KVM vcpu page are others. Anonymous memory has no mapping.
 *
 * Threading: ops may sleep; they are called without page-table locks. fill, fill_around, dirty, map and unmap run with
 * the mm lock held, so they take no lock of a rank up to RANK_MAPPING (not the inode's); put and sync run without any
 * lock.
 *
 * Truncation: a page in a mapping has page->owner == the mapping (its head, for a large page). The fault checks that
 * under the page-table lock, so an implementation that takes pages away 1. makes fill fail for them, 2. clears owner of
 * each page,
 * 3. calls mapping_unmap_range: no page table refers to them afterwards.
 */
#ifndef MM_MAPPING_H
#define MM_MAPPING_H

#include <lib/list.h>
#include <lib/types.h>
#include <task/mutex.h>

struct page;
struct vma;
struct mapping;

struct mapping_name { /* for /proc/PID/maps and perf's mmap records */
	char path[256];
	u64 dev, ino;
};

struct mapping_ops {
	/* The page at index, up to date, with a reference for the caller. write: it will be written through a shared
	 * mapping (so the implementation allocates blocks, starts dirty accounting, may throttle). -EFAULT/-ENXIO
	 * beyond the end (SIGBUS), -ENOMEM, -EIO. */
	int (*fill)(struct mapping *m, u64 index, bool write, struct page **out);
	/* Instead of fill, of device memory, which has no page descriptors: the frame at index. It stays until
	 * mapping_unmap_range. Only shared VMAs; errors as fill. NULL: there are pages. */
	int (*frame)(struct mapping *m, u64 index, pfn_t *out);
	/* Fault-around: stores up to n already present pages from index on (each with a reference, NULL for holes)
	 * without sleeping for I/O; returns how many slots it filled. NULL: none. */
	unsigned (*fill_around)(struct mapping *m, u64 index, unsigned n, struct page **out);
	/* A page was found dirty in a page table (unmap, msync). */
	void (*dirty)(struct mapping *m, struct page *p);
	void (*get)(struct mapping *m); /* a VMA is made (mmap, split, fork) */
	void (*put)(struct mapping *m);
	/* A VMA is about to be made: may refuse, or take VMA_MAY* from its flags. NULL: accept. Not for the pieces of a
	 * split VMA. */
	int (*map)(struct mapping *m, struct vma *v);
	void (*unmap)(struct mapping *m, struct vma *v); /* NULL allowed */
	void (*describe)(struct mapping *m, struct mapping_name *out);
	/* msync(MS_SYNC): writes back [index, index+count) and waits. NULL: nothing to do. */
	int (*sync)(struct mapping *m, u64 index, u64 count);
};

struct mapping {
	const struct mapping_ops *ops;
	struct mutex lock; /* RANK_MAPPING: vmas */
	struct list vmas;  /* that map it (vma->mapping_link); their bounds change under this lock too; used to unmap
			      pages on truncate and reclaim */
	atomic_t writable; /* shared writable VMAs */
	void *owner;       /* the implementation's object */
};

void mapping_init(struct mapping *m, const struct mapping_ops *ops, void *owner);
/* Removes [index, index+count) from all page tables (truncate, hole punch). private_too: also the private copies. */
void mapping_unmap_range(struct mapping *m, u64 index, u64 count, bool private_too);
/* Write-protects and collects dirtiness of one page in all page tables (before writeback). True: it was dirty. */
bool mapping_clean_page(struct mapping *m, struct page *p);

#endif
