/* SPDX-License-Identifier: MIT
 *
 * Which of the CPU's own leaks of data a processor has, and what this kernel does about each, in the words of
 * /sys/devices/system/cpu/vulnerabilities and of the "bugs" line of /proc/cpuinfo (names as in Linux 6.1). Pure: CPUID
 * goes in by a function, so a test may ask about any processor. Threading: no state.
 *
 * Sources: Intel's table "Affected Processors: Transient Execution Attacks" and its guidance on
 * IA32_ARCH_CAPABILITIES (Software Developer's Manual volume 4, MSR 10AH; CPUID leaf 7); AMD's Product Security
 * Bulletins 1036, 7005, 7029, 7046 and its manual volume 3, CPUID functions 80000008h and 80000021h.
 */
#ifndef LIB_X86_BUGS_H
#define LIB_X86_BUGS_H

#include <lib/types.h>

struct strbuf;

enum x86_bug {
	X86_BUG_MELTDOWN,
	X86_BUG_SPECTRE_V1,
	X86_BUG_SPECTRE_V2,
	X86_BUG_SSB,
	X86_BUG_L1TF,
	X86_BUG_MDS,
	X86_BUG_MSBDS_ONLY, /* of MDS only the store buffer */
	X86_BUG_SWAPGS,
	X86_BUG_TAA,
	X86_BUG_ITLB_MULTIHIT,
	X86_BUG_SRBDS,
	X86_BUG_MMIO,
	X86_BUG_MMIO_UNKNOWN, /* too old: the vendor does not say */
	X86_BUG_RETBLEED,
	X86_BUG_EIBRS_PBRSB,
	X86_BUG_SMT_RSB,
	X86_BUG_GDS,
	X86_BUG_BHI,
	X86_BUG_SRSO,
	X86_BUG_RFDS,
	X86_BUG_ITS,
	X86_BUG_TSA,
	X86_BUG_VMSCAPE,
	X86_BUGS
};

enum x86_vendor { X86_INTEL, X86_AMD, X86_HYGON, X86_CENTAUR, X86_ZHAOXIN, X86_OTHER };

struct x86_facts {
	enum x86_vendor vendor;
	unsigned family, model, stepping;
	u32 flags;     /* X86_FACT_* */
	u64 arch_caps; /* MSR 10AH; 0 without X86_FACT_ARCH_CAPS */
};
#define X86_FACT_ARCH_CAPS  BIT(0) /* MSR 10AH is there */
#define X86_FACT_HYPERVISOR BIT(1)
#define X86_FACT_RTM        BIT(2)
#define X86_FACT_RANDOM     BIT(3) /* RDRAND or RDSEED */
#define X86_FACT_AVX        BIT(4)
#define X86_FACT_SPEC_CTRL  BIT(5) /* MSR 48H with IBRS */
#define X86_FACT_AUTO_IBRS  BIT(6)
#define X86_FACT_SSB_NO     BIT(7)
#define X86_FACT_BTC_NO     BIT(8)
#define X86_FACT_SRSO_NO    BIT(9)
#define X86_FACT_TSA_NO     BIT(10)
#define X86_FACT_BHI_CTRL   BIT(11)
#define X86_FACT_IBPB       BIT(12) /* MSR 49H: a barrier for the predictor of branches */

#define X86_CAP_RDCL_NO  BIT(0)
#define X86_CAP_IBRS_ALL BIT(1)

/* All but arch_caps, which the caller reads if X86_FACT_ARCH_CAPS is set. */
void x86_facts_read(struct x86_facts *f, void (*cpuid)(u32 leaf, u32 sub, u32 r[4]));
u32 x86_bugs(const struct x86_facts *f); /* BIT(enum x86_bug) */

/* What the kernel does, as it runs. */
struct x86_defences {
	bool hypervisor;      /* somebody below us may or may not defend */
	bool pti;             /* user mode runs on tables without the kernel */
	bool swapgs_fence;    /* no speculation with the wrong GS base */
	bool masked_user;     /* user pointers and indices are masked */
	const char *branches; /* against Spectre v2; NULL: nothing */
	bool branch_barrier;  /* and what a program taught the predictor is forgotten before another runs */
	bool stibp_off;       /* hyper-threads share it */
};

/* The files of the folder, NULL behind the last; the text of one, without a newline. */
const char *x86_bug_file(unsigned i);
void x86_bug_show(unsigned i, u32 bugs, const struct x86_defences *d, struct strbuf *out);
const char *x86_bug_name(enum x86_bug b); /* in /proc/cpuinfo */

#endif
