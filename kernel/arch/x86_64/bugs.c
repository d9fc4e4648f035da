/* SPDX-License-Identifier: MIT
 *
 * Problem: some processors let a program read what it may not; each needs its own defence, none is free, and people
 * want to see which hold.
 *
 * Idea: at boot CPUID and the vendor's MSR go into the pure core (lib/x86_bugs.h), which says what this processor has.
 * The command line may overrule it:
 *
 *   pti=on|off|auto, nopti                 page-table isolation against Meltdown
 *   spectre_v2=on|off|auto, nospectre_v2   the CPU's own way if it has one (a bit set once), else retpoline.S; and, if
 *                                          it has the barrier, one before another program's tables are loaded (tlb.c)
 *   nospectre_v1                           no fences behind SWAPGS; masks of indices and pointers stay
 *   mitigations=off                        none of them
 *
 * What is not needed is patched away before anything runs: thunks' calls become the plain branch, in place.
 *
 * Contract: cpu_bug_* of arch/cpu.h.
 *
 * Locks: none; written on the boot CPU before others run, constant afterwards.
 */
#include <arch/boot.h>
#include <arch/cpu.h>
#include <core/log.h>
#include <lib/printf.h>
#include <lib/string.h>
#include <lib/x86_bugs.h>
#include "x86_priv.h"

struct jump_site { /* entry.S */
	ulong at, target;
};

static u32 bugs, facts;
static enum { BRANCHES_FREE, BRANCHES_IBRS, BRANCHES_AUTO_IBRS, BRANCHES_THUNKS } branches = BRANCHES_THUNKS;
static struct x86_defences defences;
bool cpu_branch_barrier;

/* What the command line wants of a defence: name=on|off, noname, mitigations=off; `need` otherwise. */
static bool wanted(const char *name, const char *no_name, bool need)
{
	char value[8];

	if (boot_param("mitigations", value, sizeof(value)) && !strcmp(value, "off"))
		need = false;
	if (boot_param(no_name, value, sizeof(value)))
		need = false;
	if (boot_param(name, value, sizeof(value)) && strcmp(value, "auto"))
		need = strcmp(value, "off");
	return need;
}

static void patch_jumps(const struct jump_site *s, const struct jump_site *end)
{
	for (; s < end; s++) {
		s32 rel = (s32)(s->target - (s->at + 5));

		*(u8 *)s->at = 0xe9;
		memcpy((u8 *)s->at + 1, &rel, 4);
	}
}

static void choose_pti(void)
{
	extern const struct jump_site pti_sites_start[], pti_sites_end[];

	if (!wanted("pti", "nopti", bugs & BIT(X86_BUG_MELTDOWN)))
		return;
	pti_on = defences.pti = true;
	patch_jumps(pti_sites_start, pti_sites_end);
	cpu_init_tables(0); /* again, with the other entry */
}

static void choose_fences(void)
{
	extern const ulong fence_sites_start[], fence_sites_end[];

	defences.masked_user = true;
	defences.swapgs_fence = !(bugs & BIT(X86_BUG_SWAPGS));
	if (!wanted("spectre_v1", "nospectre_v1", !defences.swapgs_fence))
		return;
	defences.swapgs_fence = true;
	for (const ulong *s = fence_sites_start; s < fence_sites_end; s++)
		memcpy((void *)*s, "\x0f\xae\xe8", 3); /* LFENCE */
}

/* A call (e8) or jump (e9) to the thunk of a register, five bytes, becomes the branch by that register (ff /2, ff /4)
 * behind as many prefixes without effect as fill it up. */
static void branch_directly(u8 *code)
{
	extern const char indirect_thunks[], indirect_thunks_end[];
	s32 rel;
	ulong reg;
	bool call = code[0] == 0xe8;

	memcpy(&rel, code + 1, 4);
	reg = ((ulong)code + 5 + (long)rel - (ulong)indirect_thunks) / 32;
	ensure((call || code[0] == 0xe9) && reg < (ulong)(indirect_thunks_end - indirect_thunks) / 32);
	memset(code, 0x2e, 3); /* CS: */
	if (reg >= 8)
		code[2] = 0x41; /* REX.B */
	code[3] = 0xff;
	code[4] = (u8)((call ? 0xd0 : 0xe0) | (reg & 7));
}

static void patch_thunks_away(void)
{
	extern const u32 thunk_sites_start[], thunk_sites_end[];

	for (const u32 *s = thunk_sites_start; s < thunk_sites_end; s++)
		branch_directly((u8 *)text_start + *s - 1);
}

static void choose_branches(u64 arch_caps)
{
	extern const struct jump_site fill_sites_start[], fill_sites_end[];

	if (!wanted("spectre_v2", "nospectre_v2", bugs & BIT(X86_BUG_SPECTRE_V2)))
		branches = BRANCHES_FREE;
	else if (facts & X86_FACT_AUTO_IBRS)
		branches = BRANCHES_AUTO_IBRS;
	else if (arch_caps & X86_CAP_IBRS_ALL && facts & X86_FACT_SPEC_CTRL)
		branches = BRANCHES_IBRS;
	if (branches != BRANCHES_THUNKS)
		patch_thunks_away();
	if (branches != BRANCHES_FREE)
		patch_jumps(fill_sites_start, fill_sites_end);
	if (branches == BRANCHES_FREE)
		return;
	defences.branches = branches == BRANCHES_THUNKS ? "Retpolines" : "Enhanced / Automatic IBRS";
	defences.stibp_off = branches == BRANCHES_THUNKS;
	cpu_branch_barrier = defences.branch_barrier = facts & X86_FACT_IBPB;
}

bool cpu_indirect_thunks(void)
{
	return branches == BRANCHES_THUNKS;
}

void bugs_init_cpu(void)
{
	if (branches == BRANCHES_IBRS)
		msr_write(MSR_SPEC_CTRL, 1); /* for good: "enhanced" needs no change at entries */
	if (branches == BRANCHES_AUTO_IBRS)
		msr_write(MSR_EFER, msr_read(MSR_EFER) | EFER_AUTO_IBRS);
}

void bugs_init(void)
{
	struct x86_facts f;

	x86_facts_read(&f, cpuid);
	if (f.flags & X86_FACT_ARCH_CAPS)
		f.arch_caps = msr_read(MSR_ARCH_CAPS);
	bugs = x86_bugs(&f);
	defences.hypervisor = f.flags & X86_FACT_HYPERVISOR;
	facts = f.flags;
	choose_pti();
	choose_fences();
	choose_branches(f.arch_caps);
	bugs_init_cpu();
}

const char *cpu_bug_file(unsigned i)
{
	return x86_bug_file(i);
}

void cpu_bug_show(unsigned i, struct strbuf *out)
{
	x86_bug_show(i, bugs, &defences, out);
}

void cpu_bugs_list(struct strbuf *out)
{
	for (unsigned b = 0; b < X86_BUGS; b++)
		if (bugs >> b & 1)
			strbuf_add(out, " %s", x86_bug_name(b));
}
