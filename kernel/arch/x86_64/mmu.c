/* SPDX-License-Identifier: MIT
 *
 * Problem: the tables of head.S map too much, writable and executable. The kernel needs its image
 * mapped with the rights of each section, all RAM in the direct map, and a way to map ranges later.
 *
 * Idea: one kernel root with five top-level slots filled at boot (direct map, vmem, per-CPU, page
 * descriptors, image). User roots copy those slots, so a later kernel mapping shows up in every
 * address space without any work. The direct map uses 1 GiB and 2 MiB pages; the blocks that hold
 * the image are mapped by 4 KiB pages, so that text and rodata are not writable through the alias
 * either (W^X).
 *
 * Contract: arch/mmu.h, kernel half. kernel_map refuses to map over an existing page (-EEXIST).
 *
 * Locks: `kmap_lock` (RANK_KMAP) serialises changes of kernel tables.
 */
#include <alloc/page.h>
#include <core/log.h>
#include <core/spin.h>
#include <lib/err.h>
#include <lib/string.h>
#include "mmu_priv.h"
#include "x86_priv.h"

static struct spinlock kmap_lock = SPIN_INIT(RANK_KMAP);
paddr_t kernel_root;
u64 pte_nx;
static bool alloc_ready;

paddr_t early_page(void)
{
	struct boot_info *info = (struct boot_info *)boot_info();
	struct boot_range *best = NULL;

	for (unsigned i = 0; i < info->nr_ram; i++) {
		struct boot_range *r = &info->ram[i];

		if (r->bytes >= PAGE_SIZE && r->base + r->bytes <= 1ULL << 32 && (!best || r->bytes > best->bytes))
			best = r;
	}
	if (!best)
		panic("no memory for the first page tables");
	best->bytes -= PAGE_SIZE;
	best->base += PAGE_SIZE;
	memset(phys_to_virt(best->base - PAGE_SIZE), 0, PAGE_SIZE);
	return best->base - PAGE_SIZE;
}

void mmu_alloc_ready(void)
{
	alloc_ready = true;
}

static paddr_t new_table(void)
{
	struct page *p;

	if (!alloc_ready)
		return early_page();
	p = page_alloc(0, ALLOC_ZERO | ALLOC_ATOMIC, NULL);
	return p ? page_phys(p) : 0;
}

/* The entry for va at `level` (0: leaf) below root; NULL: no memory, or a large page is in the way.
 */
static u64 *walk(paddr_t root, ulong va, int level, bool create)
{
	u64 *table = phys_to_virt(root);

	for (int l = 3;; l--) {
		u64 *e = &table[va >> (12 + 9 * l) & 511];

		if (l == level)
			return e;
		if (!(*e & PTE_PRESENT)) {
			paddr_t t = create ? new_table() : 0;

			if (!t)
				return NULL;
			*e = t | PTE_PRESENT | PTE_WRITE;
		} else if (*e & PTE_LARGE) {
			return NULL;
		}
		table = phys_to_virt(*e & PTE_ADDRESS);
	}
}

int table_map(paddr_t root, ulong va, paddr_t pa, size_t bytes, u64 bits, bool large)
{
	while (bytes) {
		int level = 0;
		u64 *e;

		if (large && cpu_has(CPU_HUGE_1G) && !((va | pa) & (BIT(30) - 1)) && bytes >= BIT(30))
			level = 2;
		else if (large && !((va | pa) & (HUGE_SIZE - 1)) && bytes >= HUGE_SIZE)
			level = 1;
		e = walk(root, va, level, true);
		if (!e)
			return -ENOMEM;
		if (*e & PTE_PRESENT)
			return -EEXIST;
		*e = pa | bits | (level ? PTE_LARGE : 0);
		va += PAGE_SIZE << (9 * level);
		pa += PAGE_SIZE << (9 * level);
		bytes -= PAGE_SIZE << (9 * level);
	}
	return 0;
}

paddr_t virt_to_phys(const void *va)
{
	ulong a = (ulong)va;

#ifdef OSTROM_DEBUG
	ensure(a >= KERNEL_BASE || (a >= DIRECT_MAP_BASE && a - DIRECT_MAP_BASE < 1UL << 46)); /* not a stack */
#endif
	return a >= KERNEL_BASE ? a - KERNEL_BASE : a - DIRECT_MAP_BASE;
}

u64 pte_bits(unsigned rights)
{
	u64 bits = rights & PT_READ ? PTE_PRESENT : PTE_NOACCESS;

	if ((rights & (PT_READ | PT_WRITE)) == (PT_READ | PT_WRITE))
		bits |= PTE_WRITE;
	if (!(rights & PT_EXEC))
		bits |= pte_nx;
	if (rights & PT_USER)
		bits |= PTE_USER;
	if (rights & PT_NOCACHE)
		bits |= PTE_PCD | PTE_PWT;
	if (rights & PT_WC)
		bits |= PTE_PWT; /* PAT entry 1, set to write-combining in mmu_init_cpu */
	if (rights & PT_GLOBAL)
		bits |= PTE_GLOBAL;
	if (rights & PT_DIRTY)
		bits |= PTE_DIRTY;
	if (rights & PT_YOUNG)
		bits |= PTE_ACCESSED;
	if (rights & PT_SPECIAL)
		bits |= PTE_SPECIAL;
	return bits;
}

static unsigned image_rights(paddr_t pa)
{
	ulong va = pa + KERNEL_BASE;

	if (va >= (ulong)text_start && va < (ulong)text_end)
		return PT_READ | PT_EXEC | PT_GLOBAL;
	if ((va >= (ulong)text_end && va < (ulong)rodata_end) || va >= (ulong)bss_end)
		return PT_READ | PT_GLOBAL;
	return PT_READ | PT_WRITE | PT_GLOBAL;
}

/* One block of the direct map, in small pages where the image lies in it. */
static void map_direct(paddr_t start, paddr_t end)
{
	paddr_t image = ALIGN_DOWN((ulong)image_start - KERNEL_BASE, HUGE_SIZE);
	paddr_t image_to = ALIGN_UP((ulong)image_end - KERNEL_BASE, HUGE_SIZE);
	paddr_t a = (ulong)image_start - KERNEL_BASE, b = (ulong)image_end - KERNEL_BASE;
	u64 rw = pte_bits(PT_READ | PT_WRITE | PT_GLOBAL) | PTE_DIRTY | PTE_ACCESSED;

	while (start < end) {
		paddr_t stop = end;
		ulong va = DIRECT_MAP_BASE + start;

		if (start < image)
			stop = min(end, image);
		if (start >= image && start < image_to) {
			u64 bits = rw;

			stop = start + PAGE_SIZE;
			if (start >= a && start < b)
				bits = pte_bits(image_rights(start) & ~PT_EXEC);
			if (table_map(kernel_root, va, start, PAGE_SIZE, bits, false))
				panic("direct map");
		} else if (table_map(kernel_root, va, start, stop - start, rw, true)) {
			panic("direct map");
		}
		start = stop;
	}
}

/* Outward to 2 MiB: firmware tables beside RAM become readable. Ranges may then touch, never
 * overlap. */
static void map_all_ram(void)
{
	paddr_t done = 0;

	for (unsigned i = 0; i < boot_info()->nr_ram_all; i++) {
		paddr_t start = ALIGN_DOWN(boot_info()->ram_all[i].base, HUGE_SIZE);
		paddr_t end = ALIGN_UP(boot_info()->ram_all[i].base + boot_info()->ram_all[i].bytes, HUGE_SIZE);

		start = max(start, done);
		if (start < end)
			map_direct(start, end);
		done = max(done, end);
	}
}

static void map_image(void)
{
	for (ulong va = (ulong)image_start; va < (ulong)image_end; va += PAGE_SIZE) {
		paddr_t pa = va - KERNEL_BASE;

		if (table_map(kernel_root, va, pa, PAGE_SIZE, pte_bits(image_rights(pa)), false))
			panic("image map");
	}
}

/* Leaf tables for the descriptors of all RAM: page_alloc fills them in while it holds its own lock.
 */
static void prepare_memmap(void)
{
	const struct boot_info *b = boot_info();

	for (unsigned i = 0; i < b->nr_ram_all; i++) {
		ulong from = PAGES_BASE + ALIGN_DOWN(b->ram_all[i].base >> PAGE_SHIFT, 1024UL) * 32;
		ulong to = PAGES_BASE + ALIGN_UP((b->ram_all[i].base + b->ram_all[i].bytes) >> PAGE_SHIFT, 1024UL) * 32;

		for (ulong va = ALIGN_DOWN(from, HUGE_SIZE); va < to; va += HUGE_SIZE)
			if (!walk(kernel_root, va, 0, true))
				panic("page descriptor tables");
	}
}

void memmap_map(const void *va, paddr_t pa, size_t bytes)
{
	u64 bits = pte_bits(PT_READ | PT_WRITE | PT_GLOBAL);

	for (size_t i = 0; i < bytes; i += PAGE_SIZE)
		*walk(kernel_root, (ulong)va + i, 0, false) = (pa + i) | bits;
}

/* PAT: entry 1 becomes write-combining (it is write-through at reset); the others stay. */
void mmu_init_cpu(void)
{
	msr_write(0x277, 0x0007040600070106ULL);
	cr3_write(kernel_root);
}

void mmu_init(void)
{
	static const ulong slots[] = { VMEM_BASE, PAGES_BASE };
	u64 *root, *old = phys_to_virt(cr3_read() & PTE_ADDRESS);

	pte_nx = cpu_has(CPU_NX) ? PTE_NX : 0;
	kernel_root = early_page();
	if (pti_on && kernel_root & PAGE_SIZE) /* entry code clears that bit; the next page is even */
		kernel_root = early_page();
	root = phys_to_virt(kernel_root);
	for (unsigned i = 0; i < ARRAY_SIZE(slots); i++)
		root[slots[i] >> 39 & 511] = early_page() | PTE_PRESENT | PTE_WRITE;
	root[PERCPU_BASE >> 39 & 511] = old[PERCPU_BASE >> 39 & 511];
	map_all_ram();
	map_image();
	prepare_memmap();
	mmu_init_cpu();
}

void *early_map(paddr_t pa, size_t bytes)
{
	paddr_t end = ALIGN_UP(pa + bytes, PAGE_SIZE);

	for (paddr_t p = pa & PAGE_MASK; p < end; p += PAGE_SIZE)
		(void)!table_map(kernel_root, DIRECT_MAP_BASE + p, p, PAGE_SIZE,
				 pte_bits(PT_READ | PT_WRITE | PT_GLOBAL), false);
	return phys_to_virt(pa);
}

int kernel_map(ulong va, paddr_t pa, size_t bytes, unsigned rights)
{
	ulong flags = spin_lock_irqsave(&kmap_lock);
	int err = table_map(kernel_root, va, pa, bytes, pte_bits(rights), false);

	spin_unlock_irqrestore(&kmap_lock, flags);
	return err;
}

struct unmap_range {
	ulong va;
	size_t bytes;
};

static void flush_range(void *arg)
{
	struct unmap_range *u = arg;

	if (u->bytes > 64 * PAGE_SIZE) { /* global pages too */
		ulong cr4 = cr4_read();

		cr4_write(cr4 ^ CR4_PGE); /* either way */
		cr4_write(cr4);
		return;
	}
	for (size_t i = 0; i < u->bytes; i += PAGE_SIZE)
		__asm__ volatile("invlpg (%0)" : : "r"(u->va + i) : "memory");
}

void kernel_unmap(ulong va, size_t bytes)
{
	struct unmap_range u = { va, bytes };
	ulong flags = spin_lock_irqsave(&kmap_lock);

	for (size_t i = 0; i < bytes; i += PAGE_SIZE) {
		u64 *e = walk(kernel_root, va + i, 0, false);

		if (e)
			WRITE_ONCE(*e, 0);
	}
	spin_unlock_irqrestore(&kmap_lock, flags);
	cpu_call(cpu_online_mask(), flush_range, &u);
}

void kernel_protect(ulong va, size_t bytes, unsigned rights)
{
	struct unmap_range u = { va, bytes };
	ulong flags = spin_lock_irqsave(&kmap_lock);

	for (size_t i = 0; i < bytes; i += PAGE_SIZE) {
		u64 *e = walk(kernel_root, va + i, 0, false);

		ensure(e && *e & PTE_PRESENT);
		WRITE_ONCE(*e, (*e & PTE_ADDRESS) | pte_bits(rights));
	}
	spin_unlock_irqrestore(&kmap_lock, flags);
	cpu_call(cpu_online_mask(), flush_range, &u);
}

/* The page behind a kernel address of the vmem area; 0: none. */
paddr_t kernel_phys(ulong va)
{
	u64 *e = walk(kernel_root, va, 0, false);

	return e && (*e & PTE_PRESENT) ? (*e & PTE_ADDRESS) | (va & (PAGE_SIZE - 1)) : 0;
}
