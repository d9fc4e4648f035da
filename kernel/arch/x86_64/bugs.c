/* SPDX-License-Identifier: MIT
 *
 * Problem: some processors let a program read what it may not; each needs its own defence, none is free, and people
 * want to see which hold.
 *
 * Idea: at boot CPUID and the vendor's MSR go into the pure core (lib/x86_bugs.h), which says what this processor has.
 * The command line may overrule it:
 *
 *   pti=on|off|auto, nopti    page-table isolation against Meltdown
 *   mitigations=off           none of them
 *
 * Contract: cpu_bug_* of arch/cpu.h.
 *
 * Locks: none; written on the boot CPU before others run, constant afterwards.
 */
#include <arch/boot.h>
#include <arch/cpu.h>
#include <lib/printf.h>
#include <lib/string.h>
#include <lib/x86_bugs.h>
#include "x86_priv.h"

#define MSR_ARCH_CAPABILITIES 0x10a

static u32 bugs;
static struct x86_defences defences;

/* What the command line wants of a defence: name=on|off, noname, mitigations=off; `need` otherwise. */
static bool wanted(const char *name, const char *no_name, bool need)
{
	char value[8];

	if (boot_param("mitigations", value, sizeof(value)) && !strcmp(value, "off"))
		need = false;
	if (boot_param(no_name, value, sizeof(value)))
		need = false;
	if (boot_param(name, value, sizeof(value)) && strcmp(value, "auto"))
		need = !strcmp(value, "on");
	return need;
}

static void choose_pti(void)
{
	if (!wanted("pti", "nopti", bugs & BIT(X86_BUG_MELTDOWN)))
		return;
	pti_on = defences.pti = true;
	pti_patch();
	cpu_init_tables(0); /* again, with the other entry */
}

void bugs_init(void)
{
	struct x86_facts f;

	x86_facts_read(&f, cpuid);
	if (f.flags & X86_FACT_ARCH_CAPS)
		f.arch_caps = msr_read(MSR_ARCH_CAPABILITIES);
	bugs = x86_bugs(&f);
	defences.hypervisor = f.flags & X86_FACT_HYPERVISOR;
	choose_pti();
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
