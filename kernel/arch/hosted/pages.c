/* SPDX-License-Identifier: MIT
 *
 * Problem: the page cache, pipes and tmpfs work on struct page and the direct map; a host program has neither.
 *
 * Idea: one anonymous mapping stands for all memory, with a descriptor a page beside it. Blocks are handed out
 * from a bump pointer and per-order free lists: no merging, since tests are short.
 *
 * Contract: alloc/page.h, as far as parts above alloc use it; the memory of a free page is poisoned for
 * AddressSanitizer, so use after page_put is seen. hosted_fail_alloc_after makes exhaustion testable.
 *
 * Locks: one spin lock over everything.
 */
#include <stdlib.h>
#include <sys/mman.h>
#include <alloc/kmap.h>
#include <alloc/page.h>
#include <mm/mm.h>
#include <task/tenant.h>
#include <arch/boot.h>
#include <arch/hosted.h>
#include <core/log.h>
#include <core/spin.h>
#include <lib/string.h>

#ifdef __has_feature
#if __has_feature(address_sanitizer)
#define __SANITIZE_ADDRESS__ 1
#endif
#endif
#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(p, n)   ((void)(p), (void)(n))
#define ASAN_UNPOISON_MEMORY_REGION(p, n) ((void)(p), (void)(n))
#endif

char *hosted_memory;
struct page *hosted_pages;
static size_t total_pages, next_page, used_pages;
static u32 free_lists[PAGE_MAX_ORDER + 1];
static long allocs_left = -1;
static atomic64_t refaults;
static struct spinlock lock = SPIN_INIT(RANK_PAGES);

void hosted_pages_init(size_t pages);

void hosted_pages_init(size_t pages)
{
	if (hosted_memory)
		return;
	hosted_memory = mmap(NULL, pages * PAGE_SIZE, PROT_READ | PROT_WRITE,
			     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	hosted_pages = calloc(pages, sizeof(*hosted_pages));
	ensure(hosted_memory != MAP_FAILED && hosted_pages);
	total_pages = pages;
	next_page = 1; /* page 0 ends lists */
	ASAN_POISON_MEMORY_REGION(hosted_memory, pages * PAGE_SIZE);
}

static u32 take_block(unsigned order)
{
	size_t n = 1UL << order, at = ALIGN_UP(next_page, n);
	u32 pfn = free_lists[order];

	if (pfn) {
		free_lists[order] = hosted_pages[pfn].next;
		return pfn;
	}
	if (at + n > total_pages)
		return 0;
	next_page = at + n;
	return at;
}

struct page *page_alloc(unsigned order, unsigned flags, struct tenant *tenant)
{
	struct page *p;
	u32 pfn = 0;

	spin_lock(&lock);
	if (allocs_left > 0)
		allocs_left--;
	if (allocs_left)
		pfn = take_block(order);
	if (pfn)
		used_pages += 1UL << order;
	spin_unlock(&lock);
	if (!pfn)
		return NULL;
	p = &hosted_pages[pfn];
	*p = (struct page){ .flags = order };
	for (size_t i = 1; i < 1UL << order; i++)
		p[i] = (struct page){ .flags = PAGE_TAIL, .owner = p };
	atomic_set(&p->refs, 1);
	ASAN_UNPOISON_MEMORY_REGION(page_virt(p), PAGE_SIZE << order);
	if (flags & ALLOC_ZERO)
		memset(page_virt(p), 0, PAGE_SIZE << order);
	return p;
}

struct page *page_alloc_node(unsigned node, unsigned order, unsigned flags, struct tenant *tenant)
{
	return page_alloc(order, flags, tenant);
}

void page_put(struct page *p)
{
	unsigned order;
	int left;

	p = page_head(p);
	left = atomic_sub_return(&p->refs, 1);
	ensure(left >= 0);
	if (left)
		return;
	order = page_order(p);
	ASAN_POISON_MEMORY_REGION(page_virt(p), PAGE_SIZE << order);
	spin_lock(&lock);
	p->flags |= PAGE_FREE;
	p->next = free_lists[order];
	free_lists[order] = p - hosted_pages;
	used_pages -= 1UL << order;
	spin_unlock(&lock);
}

struct page *pfn_to_page(pfn_t pfn)
{
	return pfn < total_pages ? &hosted_pages[pfn] : NULL;
}

paddr_t virt_to_phys(const void *va)
{
	return (const char *)va - hosted_memory;
}

bool page_test_set_flag(struct page *p, u16 flag)
{
	return __atomic_fetch_or(&p->flags, flag, __ATOMIC_SEQ_CST) & flag;
}

bool page_test_clear_flag(struct page *p, u16 flag)
{
	return __atomic_fetch_and(&p->flags, (u16)~flag, __ATOMIC_SEQ_CST) & flag;
}

/* The test filled a block from page_alloc; each page of it becomes a unit of its own. */
struct page *page_adopt(paddr_t base)
{
	struct page *p = pfn_to_page(base >> PAGE_SHIFT);

	if (p->flags & PAGE_TAIL || page_order(p))
		*p = (struct page){ .refs = ATOMIC_INIT(1) };
	return p;
}

void page_donate(paddr_t base, u64 bytes)
{
	for (u64 at = 0; at < bytes; at += PAGE_SIZE)
		page_put(page_adopt(base + at));
}

void page_stats(struct page_stats *out)
{
	*out = (struct page_stats){ .total = total_pages, .free = total_pages - used_pages };
}

size_t hosted_pages_in_use(void)
{
	return used_pages;
}

void hosted_fail_alloc_after(long n)
{
	allocs_left = n;
}

void *vmem_alloc(size_t bytes)
{
	return calloc(1, bytes);
}

void vmem_free(void *p)
{
	free(p);
}

void *big_alloc(size_t n, size_t size)
{
	return calloc(n ? n : 1, size ? size : 1);
}

void big_free(const void *p)
{
	free((void *)p);
}

/* No loader: no initrd, no memory map, no command line. */
const struct boot_info *boot_info(void)
{
	static const struct boot_info none = { .cmdline = "" };

	return &none;
}

void page_stat_add(enum page_stat s, s64 pages)
{
}

/* One tenant, no address spaces: tests of reclaim see the page cache alone. */
bool tenant_page_is_below(u16 id, const struct tenant *top)
{
	return true;
}

void tenant_protect(struct tenant *top)
{
}

u64 tenant_file_pages(struct tenant *top)
{
	return 0;
}

bool tenant_may_reclaim(u16 id, const struct tenant *top, bool low)
{
	return true;
}

bool upcall_alloc_is_dying(void)
{
	return false;
}

void tenant_memory_event(struct tenant *t, enum memory_event e)
{
}

void tenant_memory_count(u16 id, enum memory_count c, u64 pages)
{
	if (c == MEMORY_REFAULT_FILE)
		atomic_add(&refaults, pages);
}

u64 hosted_refaults(void)
{
	return atomic_read(&refaults);
}

void tenant_memory_kind(u16 id, enum memory_kind k, s64 pages)
{
}

u64 mm_reclaim(struct tenant *top, u64 want, unsigned urgency, u64 *unmapped)
{
	*unmapped = 0;
	return 0;
}
