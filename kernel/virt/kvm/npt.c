/* SPDX-License-Identifier: MIT
 *
 * Problem: the processor translates the guest's physical addresses to ours by a second set of page tables.
 *
 * Idea: four levels in the processor's own format, filled on demand, 4 KiB a leaf. They hold no references: a page
 * stays because the VMM's own page tables hold it, and those tell us before they let go (arch/mmu.h, pt_shadow). So
 * whatever is cleared here can always be made again.
 *
 *      gpa --> [39] --> [30] --> [21] --> [12] --> page        every entry USER, as nested walks are user accesses
 *
 * Contract: kvm_priv.h. The caller flushes (kvm_flush) when something was cleared or lost a right.
 * Source: AMD64 Architecture Programmer's Manual volume 2, 15.25.
 *
 * Locks: vm->spin held throughout.
 */
#include <alloc/page.h>
#include <lib/err.h>
#include "kvm_priv.h"

#define E_PRESENT  BIT(0)
#define E_WRITE    BIT(1)
#define E_USER     BIT(2)
#define E_UNCACHED (BIT(3) | BIT(4))
#define E_YOUNG    BIT(5)
#define E_DIRTY    BIT(6)
#define E_PFN      0x000ffffffffff000ULL

static u64 *new_table(struct kvm_vm *vm)
{
	struct page *p = page_alloc(0, ALLOC_ZERO | ALLOC_ATOMIC, vm->tenant);

	if (!p)
		return NULL;
	vm->table_pages++;
	return page_virt(p);
}

static u64 *below(u64 entry)
{
	return phys_to_virt(entry & E_PFN);
}

static unsigned index(u64 gpa, unsigned level)
{
	return gpa >> (12 + 9 * level) & 511;
}

/* The leaf table of gpa, NULL: none (without alloc), or no memory. *skip: how far the missing table would reach. */
static u64 *leaf_table(struct kvm_vm *vm, u64 gpa, bool alloc, u64 *skip)
{
	u64 *table = vm->root;

	for (unsigned level = 3; level; level--) {
		u64 *e = &table[index(gpa, level)];

		if (!(*e & E_PRESENT)) {
			u64 *fresh = alloc ? new_table(vm) : NULL;

			if (!fresh) {
				*skip = 1ULL << (12 + 9 * level);
				return NULL;
			}
			WRITE_ONCE(*e, virt_to_phys(fresh) | E_PRESENT | E_WRITE | E_USER | E_YOUNG);
		}
		table = below(*e);
	}
	return table;
}

int npt_set(struct kvm_vm *vm, u64 gpa, pfn_t pfn, bool writable, bool is_device)
{
	u64 skip, *table = leaf_table(vm, gpa, true, &skip);

	if (!table)
		return -ENOMEM;
	WRITE_ONCE(table[index(gpa, 0)], pfn << PAGE_SHIFT | E_PRESENT | E_USER | E_YOUNG |
						 (writable ? E_WRITE | E_DIRTY : 0) | (is_device ? E_UNCACHED : 0));
	return 0;
}

/* Applies `keep` to the entries of the range: the bits that stay. True: an entry changed. */
static bool change(struct kvm_vm *vm, u64 gpa, u64 bytes, u64 keep)
{
	u64 end = gpa + bytes;
	bool changed = false;

	while (gpa < end) {
		u64 skip, *table = leaf_table(vm, gpa, false, &skip);

		if (!table) {
			gpa = (gpa & ~(skip - 1)) + skip;
			continue;
		}
		do {
			u64 *e = &table[index(gpa, 0)];
			u64 was = __atomic_fetch_and(e, keep, __ATOMIC_SEQ_CST);

			changed |= was & ~keep;
			gpa += PAGE_SIZE;
		} while (gpa < end && index(gpa, 0));
	}
	return changed;
}

bool npt_clear(struct kvm_vm *vm, u64 gpa, u64 bytes)
{
	return change(vm, gpa, bytes, 0);
}

bool npt_protect(struct kvm_vm *vm, u64 gpa, u64 bytes)
{
	return change(vm, gpa, bytes, ~(E_WRITE | E_DIRTY));
}

int npt_create(struct kvm_vm *vm)
{
	vm->root = new_table(vm);
	return vm->root ? 0 : -ENOMEM;
}

static void free_table(u64 *table, unsigned level)
{
	for (unsigned i = 0; level && i < 512; i++)
		if (table[i] & E_PRESENT)
			free_table(below(table[i]), level - 1);
	page_put(virt_to_page(table));
}

void npt_destroy(struct kvm_vm *vm)
{
	if (vm->root)
		free_table(vm->root, 3);
	vm->root = NULL;
}
