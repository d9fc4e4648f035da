/* SPDX-License-Identifier: MIT
 *
 * Problem: every program gets the vDSO's code and, right before it, its page of parameters.
 *
 * Idea: both are pages of the kernel's image, which have descriptors like any other, behind one mapping: first the
 * code, so that offsets are those of its ELF file, then the parameters. Two VMAs, since their rights differ; both
 * read-only.
 *
 * Contract: process/vdso.h. Without memory or address space the program simply gets none.
 *
 * Locks: none; the mapping is constant.
 */
#include <alloc/page.h>
#include <arch/vdso.h>
#include <lib/err.h>
#include <lib/string.h>
#include <mm/mm.h>
#include <process/vdso.h>
#include "process_priv.h"

static struct mapping mapping;
static struct arch_vdso vdso;

static u64 code_pages(void)
{
	return vdso.code_bytes / PAGE_SIZE;
}

static int fill(struct mapping *m, u64 index, bool write, struct page **out)
{
	paddr_t pa = index < code_pages() ? vdso.code + index * PAGE_SIZE : vdso.data;

	if (write || index > code_pages())
		return -EFAULT;
	*out = pfn_to_page(pa >> PAGE_SHIFT);
	page_get(*out);
	return 0;
}

static void keep(struct mapping *m)
{
}

static void describe(struct mapping *m, struct mapping_name *out)
{
	memset(out, 0, sizeof(*out));
}

static const struct mapping_ops ops = { .fill = fill, .get = keep, .put = keep, .describe = describe };

void vdso_init(void)
{
	struct page *page;

	arch_vdso(&vdso);
	mapping_init(&mapping, &ops, NULL);
	for (u64 i = 0; fill(&mapping, i, false, &page) == 0; i++)
		page->owner = &mapping; /* mm asks whether a page still belongs to what it maps */
}

ulong vdso_map(struct mm *m)
{
	ulong data = 0, code;

	if (mm_map_special(m, &data, PAGE_SIZE + vdso.code_bytes, VMA_READ | VMA_MAYREAD | VMA_VDSO, &mapping,
			   code_pages(), "[vvar]"))
		return 0;
	code = data + PAGE_SIZE;
	if (mm_unmap(m, code, vdso.code_bytes) ||
	    mm_map_special(m, &code, vdso.code_bytes, VMA_READ | VMA_EXEC | VMA_MAYREAD | VMA_MAYEXEC | VMA_VDSO,
			   &mapping, 0, "[vdso]"))
		return 0;
	return code == data + PAGE_SIZE ? code : 0;
}
