/* SPDX-License-Identifier: MIT
 *
 * Problem: a processor does not simply say which leaks it has. The vendors list models; later models, and the
 * hypervisors below, take bugs back by bits.
 *
 * Idea: a table of models says what is known of each: bugs that most have and this one lacks (`lacks`), and bugs that
 * only some have and this one has (`has`). A model that nobody listed has all of the first kind and none of the second.
 * Then the bits take back. What a file says is one row of another table.
 *
 * Contract: lib/x86_bugs.h, which names the sources.
 *
 * Locks: none.
 */
#include <lib/printf.h>
#include <lib/string.h>
#include <lib/x86_bugs.h>

#define MELTDOWN BIT(X86_BUG_MELTDOWN)
#define SPECTRES (BIT(X86_BUG_SPECTRE_V1) | BIT(X86_BUG_SPECTRE_V2))
#define V2       BIT(X86_BUG_SPECTRE_V2)
#define SSB      BIT(X86_BUG_SSB)
#define L1TF     BIT(X86_BUG_L1TF)
#define MDS      BIT(X86_BUG_MDS)
#define MSBDS    BIT(X86_BUG_MSBDS_ONLY)
#define SWAPGS   BIT(X86_BUG_SWAPGS)
#define TAA      BIT(X86_BUG_TAA)
#define ITLB     BIT(X86_BUG_ITLB_MULTIHIT)
#define SRBDS    BIT(X86_BUG_SRBDS)
#define MMIO     BIT(X86_BUG_MMIO)
#define MMIO_OLD BIT(X86_BUG_MMIO_UNKNOWN)
#define RETBLEED BIT(X86_BUG_RETBLEED)
#define PBRSB    BIT(X86_BUG_EIBRS_PBRSB)
#define SMT_RSB  BIT(X86_BUG_SMT_RSB)
#define GDS      BIT(X86_BUG_GDS)
#define BHI      BIT(X86_BUG_BHI)
#define SRSO     BIT(X86_BUG_SRSO)
#define RFDS     BIT(X86_BUG_RFDS)
#define ITS      BIT(X86_BUG_ITS)
#define TSA      BIT(X86_BUG_TSA)
#define VMSCAPE  BIT(X86_BUG_VMSCAPE)

/* What every processor that speculates has, unless it is known to lack it. */
#define COMMON (MELTDOWN | SPECTRES | SSB | L1TF | MDS | SWAPGS | ITLB | MMIO_OLD | PBRSB | BHI)
#define NONE   (COMMON | TAA)
/* AMD: reads check rights first, no hyper-threads that share load buffers. */
#define AMD (MELTDOWN | L1TF | MDS | SWAPGS | ITLB | MMIO_OLD | PBRSB | BHI)

#define ANY       255
#define OLD_SMALL (SSB | L1TF | SWAPGS | ITLB) /* Silvermont and its kin */
#define GOLDMONT  (MDS | L1TF | SWAPGS | ITLB | MMIO_OLD)
#define SKYLAKE   (MMIO | RETBLEED | GDS | SRBDS | VMSCAPE)
#define ICE       (MMIO | RETBLEED | GDS | ITS)

struct model {
	u8 vendor, family, model, last_stepping;
	u32 lacks, has;
};
#define INTEL(m, lacks, has)                                                                                           \
	{                                                                                                              \
		X86_INTEL, 6, m, 15, lacks, has                                                                        \
	}
#define INTEL_TO(m, to, lacks, has)                                                                                    \
	{                                                                                                              \
		X86_INTEL, 6, m, to, lacks, has                                                                        \
	}

static const struct model models[] = {
	/* the first that fits */
	{ X86_INTEL, 5, ANY, 15, NONE, 0 },
	INTEL(0x1c, NONE, 0),
	INTEL(0x26, NONE, 0),
	INTEL(0x27, NONE, 0),
	INTEL(0x35, NONE, 0),
	INTEL(0x36, NONE, 0),
	INTEL(0x0e, SSB, 0),
	INTEL(0x37, OLD_SMALL, MSBDS),
	INTEL(0x4a, OLD_SMALL, MSBDS),
	INTEL(0x4c, OLD_SMALL, MSBDS),
	INTEL(0x4d, OLD_SMALL, MSBDS),
	INTEL(0x57, OLD_SMALL, MSBDS),
	INTEL(0x85, OLD_SMALL, MSBDS),
	INTEL(0x5a, OLD_SMALL & ~SSB, MSBDS),
	INTEL(0x75, OLD_SMALL & ~SSB, 0),
	INTEL(0x5c, GOLDMONT, RFDS),
	INTEL(0x5f, GOLDMONT, RFDS),
	INTEL(0x7a, GOLDMONT | PBRSB, RFDS),
	INTEL(0x96, PBRSB, MMIO | RFDS),
	INTEL(0x9c, PBRSB, MMIO | RFDS),
	INTEL(0x86, ITLB | PBRSB, MMIO | RFDS),
	INTEL(0x2a, 0, VMSCAPE),
	INTEL(0x2d, 0, VMSCAPE), /* Sandy Bridge */
	INTEL(0x3a, 0, SRBDS | VMSCAPE),
	INTEL(0x3e, 0, VMSCAPE), /* Ivy Bridge */
	INTEL(0x3c, 0, SRBDS | VMSCAPE),
	INTEL(0x45, 0, SRBDS | VMSCAPE), /* Haswell */
	INTEL(0x46, 0, SRBDS | VMSCAPE),
	INTEL(0x3f, 0, MMIO | VMSCAPE),
	INTEL(0x3d, 0, SRBDS | VMSCAPE),
	INTEL(0x47, 0, SRBDS | VMSCAPE), /* Broadwell */
	INTEL(0x4f, 0, MMIO | VMSCAPE),
	INTEL(0x56, 0, MMIO | VMSCAPE),
	INTEL(0x4e, 0, SKYLAKE),
	INTEL(0x5e, 0, SKYLAKE),
	INTEL_TO(0x55, 5, 0, SKYLAKE & ~SRBDS),
	INTEL(0x55, 0, (SKYLAKE & ~SRBDS) | ITS),
	INTEL_TO(0x8e, 0xb, 0, SKYLAKE),
	INTEL(0x8e, 0, SKYLAKE | ITS), /* Kaby Lake */
	INTEL_TO(0x9e, 0xc, 0, SKYLAKE),
	INTEL(0x9e, 0, SKYLAKE | ITS),
	INTEL(0x66, 0, RETBLEED | VMSCAPE), /* Cannon Lake */
	INTEL(0x7e, 0, ICE),
	INTEL(0x6a, 0, ICE & ~RETBLEED),
	INTEL(0x6c, 0, ICE & ~RETBLEED),
	INTEL(0xa5, 0, ICE | VMSCAPE),
	INTEL_TO(0xa6, 0, 0, (ICE & ~GDS) | VMSCAPE),
	INTEL(0xa6, 0, ICE | VMSCAPE),
	INTEL(0x8a, 0, MMIO | RETBLEED),
	INTEL(0xa7, 0, ICE), /* Lakefield, Rocket Lake */
	INTEL(0x8c, MMIO_OLD, GDS | ITS),
	INTEL(0x8d, MMIO_OLD, GDS | ITS), /* Tiger Lake */
	INTEL(0x97, MMIO_OLD, RFDS | VMSCAPE),
	INTEL(0x9a, MMIO_OLD, RFDS | VMSCAPE), /* Alder Lake */
	INTEL(0xbe, 0, RFDS | VMSCAPE),
	INTEL(0xb7, 0, RFDS | VMSCAPE),
	INTEL(0xba, 0, RFDS | VMSCAPE),
	INTEL(0xbf, 0, RFDS | VMSCAPE),
	INTEL(0x8f, 0, VMSCAPE),
	INTEL(0xcf, 0, VMSCAPE),
	INTEL(0xad, 0, VMSCAPE), /* Sapphire Rapids and after */
	INTEL(0xaa, 0, VMSCAPE),
	INTEL(0xac, 0, VMSCAPE),
	INTEL(0xbd, 0, VMSCAPE),
	INTEL(0xc5, 0, VMSCAPE),
	INTEL(0xb5, 0, VMSCAPE),
	INTEL(0xc6, 0, VMSCAPE),
	{ X86_AMD, 0x0f, ANY, 15, AMD | SSB, 0 },
	{ X86_AMD, 0x10, ANY, 15, AMD | SSB, 0 },
	{ X86_AMD, 0x11, ANY, 15, AMD | SSB, 0 },
	{ X86_AMD, 0x12, ANY, 15, AMD | SSB, 0 },
	{ X86_AMD, 0x15, ANY, 15, AMD, RETBLEED },
	{ X86_AMD, 0x16, ANY, 15, AMD, RETBLEED },
	{ X86_AMD, 0x17, ANY, 15, AMD, RETBLEED | SMT_RSB | SRSO | VMSCAPE },
	{ X86_HYGON, 0x18, ANY, 15, AMD, RETBLEED | SMT_RSB | SRSO | VMSCAPE },
	{ X86_AMD, 0x19, ANY, 15, AMD, SRSO | TSA | VMSCAPE },
	{ X86_AMD, 0x1a, ANY, 15, AMD, SRSO | VMSCAPE },
	{ X86_AMD, ANY, ANY, 15, AMD, 0 },
	{ X86_HYGON, ANY, ANY, 15, AMD, 0 },
	{ X86_CENTAUR, 5, ANY, 15, NONE, 0 },
	{ X86_CENTAUR, 7, ANY, 15, V2 | SWAPGS | MMIO_OLD | BHI, 0 },
	{ X86_ZHAOXIN, 7, ANY, 15, V2 | SWAPGS | MMIO_OLD | BHI, 0 },
};

/* ---- facts ----------------------------------------------------------------------------------------------- */

static enum x86_vendor vendor_of(const u32 r[4])
{
	static const struct {
		char text[13];
		enum x86_vendor v;
	} names[] = {
		{ "GenuineIntel", X86_INTEL },   { "AuthenticAMD", X86_AMD },     { "HygonGenuine", X86_HYGON },
		{ "CentaurHauls", X86_CENTAUR }, { "  Shanghai  ", X86_ZHAOXIN },
	};
	const u32 text[3] = { r[1], r[3], r[2] };

	for (unsigned i = 0; i < ARRAY_SIZE(names); i++)
		if (!memcmp(text, names[i].text, 12))
			return names[i].v;
	return X86_OTHER;
}

static void set_if(struct x86_facts *f, bool set, u32 fact)
{
	if (set)
		f->flags |= fact;
}

static void read_leaf_1(struct x86_facts *f, const u32 r[4])
{
	f->stepping = r[0] & 15;
	f->family = r[0] >> 8 & 15;
	f->model = r[0] >> 4 & 15;
	if (f->family == 6 || f->family == 15)
		f->model |= r[0] >> 12 & 0xf0;
	if (f->family == 15)
		f->family += r[0] >> 20 & 255;
	set_if(f, r[2] & BIT(31), X86_FACT_HYPERVISOR);
	set_if(f, r[2] & BIT(30), X86_FACT_RANDOM);
	set_if(f, r[2] & BIT(28), X86_FACT_AVX);
}

void x86_facts_read(struct x86_facts *f, void (*cpuid)(u32 leaf, u32 sub, u32 r[4]))
{
	u32 r[4], max;

	memset(f, 0, sizeof(*f));
	cpuid(0, 0, r);
	max = r[0];
	f->vendor = vendor_of(r);
	cpuid(1, 0, r);
	read_leaf_1(f, r);
	if (max >= 7) {
		u32 subs;

		cpuid(7, 0, r);
		subs = r[0];
		set_if(f, r[1] & BIT(11), X86_FACT_RTM);
		set_if(f, r[1] & BIT(18), X86_FACT_RANDOM);
		set_if(f, r[3] & BIT(26), X86_FACT_SPEC_CTRL | X86_FACT_IBPB);
		set_if(f, r[3] & BIT(29), X86_FACT_ARCH_CAPS);
		cpuid(7, 2, r);
		set_if(f, subs >= 2 && r[3] & BIT(4), X86_FACT_BHI_CTRL);
	}
	cpuid(0x80000000, 0, r);
	max = r[0];
	if (max >= 0x80000008) {
		cpuid(0x80000008, 0, r);
		set_if(f, r[1] & BIT(12), X86_FACT_IBPB);
		set_if(f, r[1] & BIT(26), X86_FACT_SSB_NO);
		set_if(f, r[1] & BIT(29), X86_FACT_BTC_NO);
	}
	if (max >= 0x80000021) {
		cpuid(0x80000021, 0, r);
		set_if(f, r[0] & BIT(8), X86_FACT_AUTO_IBRS);
		set_if(f, r[0] & BIT(29), X86_FACT_SRSO_NO);
		set_if(f, (r[2] & 6) == 6, X86_FACT_TSA_NO); /* L1 and store queue */
	}
}

/* ---- bugs ------------------------------------------------------------------------------------------------ */

static const struct model *model_of(const struct x86_facts *f)
{
	static const struct model unknown;

	for (const struct model *m = models; m < models + ARRAY_SIZE(models); m++)
		if (m->vendor == f->vendor && (m->family == ANY || m->family == f->family) &&
		    (m->model == ANY || m->model == f->model) && f->stepping <= m->last_stepping)
			return m;
	return &unknown;
}

/* Bugs that bits of MSR 10AH take back. */
static u32 taken_back(u64 caps)
{
	static const struct {
		u64 bits; /* all of them */
		u32 bugs;
	} rows[] = {
		{ BIT(0), MELTDOWN | L1TF },
		{ BIT(4), SSB },
		{ BIT(5), MDS | MSBDS },
		{ BIT(6), ITLB },
		{ BIT(8), TAA },
		{ BIT(13) | BIT(14) | BIT(15), MMIO | MMIO_OLD },
		{ BIT(20), BHI },
		{ BIT(24), PBRSB },
		{ BIT(26), GDS },
		{ BIT(27), RFDS },
		{ BIT(62), ITS },
	};
	u32 bugs = 0;

	for (unsigned i = 0; i < ARRAY_SIZE(rows); i++)
		if ((caps & rows[i].bits) == rows[i].bits)
			bugs |= rows[i].bugs;
	return bugs;
}

u32 x86_bugs(const struct x86_facts *f)
{
	const struct model *m = model_of(f);
	bool guest = f->flags & X86_FACT_HYPERVISOR, intel = f->vendor == X86_INTEL;
	u32 bugs;

	if ((m->lacks & COMMON) == COMMON)
		return 0;
	bugs = (COMMON & ~m->lacks) | m->has;
	if (f->flags & X86_FACT_RTM || f->arch_caps & BIT(7)) /* or TSX could be switched on */
		bugs |= TAA;
	if (f->arch_caps & BIT(2)) /* returns may use the branch predictor */
		bugs |= RETBLEED;
	if (f->arch_caps & BIT(28)) /* a hypervisor that may move us says: clear the registers */
		bugs |= RFDS;
	if (intel && guest) /* may be moved to one that has it */
		bugs |= ITS;
	bugs &= ~taken_back(f->arch_caps);
	if (!(bugs & MELTDOWN))
		bugs &= ~L1TF;
	if (bugs & MMIO)
		bugs &= ~MMIO_OLD;
	if (!(bugs & MDS))
		bugs &= ~MSBDS;
	if (guest) /* the hypervisor below defends itself */
		bugs &= ~VMSCAPE;
	if (!intel || f->flags & X86_FACT_BHI_CTRL)
		bugs &= ~ITS;
	if (!(f->arch_caps & X86_CAP_IBRS_ALL))
		bugs &= ~PBRSB;
	if (!intel)
		bugs &= ~(BHI | PBRSB);
	bugs &= ~(f->flags & X86_FACT_RANDOM ? 0 : SRBDS);
	bugs &= ~(f->flags & X86_FACT_AVX ? 0 : GDS);
	bugs &= ~(f->flags & X86_FACT_SSB_NO ? SSB : 0);
	bugs &= ~(f->flags & X86_FACT_BTC_NO ? RETBLEED : 0);
	bugs &= ~(f->flags & X86_FACT_SRSO_NO ? SRSO : 0);
	return bugs & ~(f->flags & X86_FACT_TSA_NO ? TSA : 0);
}

/* ---- words ----------------------------------------------------------------------------------------------- */

static const char *const names[X86_BUGS] = {
	"cpu_meltdown", "spectre_v1",    "spectre_v2",  "spec_store_bypass",
	"l1tf",         "mds",           "msbds_only",  "swapgs",
	"taa",          "itlb_multihit", "srbds",       "mmio_stale_data",
	"mmio_unknown", "retbleed",      "eibrs_pbrsb", "smt_rsb",
	"gds",          "bhi",           "srso",        "rfds",
	"its",          "tsa",           "vmscape",
};

static const struct {
	const char *name;
	u32 bugs;
} files[] = {
	{ "gather_data_sampling", GDS },
	{ "indirect_target_selection", ITS },
	{ "itlb_multihit", ITLB },
	{ "l1tf", L1TF },
	{ "mds", MDS },
	{ "meltdown", MELTDOWN },
	{ "mmio_stale_data", MMIO | MMIO_OLD },
	{ "reg_file_data_sampling", RFDS },
	{ "retbleed", RETBLEED },
	{ "spec_rstack_overflow", SRSO },
	{ "spec_store_bypass", SSB },
	{ "spectre_v1", BIT(X86_BUG_SPECTRE_V1) },
	{ "spectre_v2", V2 },
	{ "srbds", SRBDS },
	{ "tsa", TSA },
	{ "tsx_async_abort", TAA },
	{ "vmscape", VMSCAPE },
};

const char *x86_bug_name(enum x86_bug b)
{
	return names[b];
}

const char *x86_bug_file(unsigned i)
{
	return i < ARRAY_SIZE(files) ? files[i].name : NULL;
}

static const char *against_spectre_v1(const struct x86_defences *d)
{
	if (!d->masked_user)
		return "Vulnerable";
	return d->swapgs_fence
		       ? "Mitigation: usercopy/swapgs barriers and __user pointer sanitization"
		       : "Vulnerable: __user pointer sanitization and usercopy barriers only; no swapgs barriers";
}

static void against_spectre_v2(const struct x86_defences *d, struct strbuf *out)
{
	strbuf_add(out, "Mitigation: %s%s%s; RSB filling", d->branches, d->branch_barrier ? "; IBPB: always-on" : "",
		   d->stibp_off ? "; STIBP: disabled" : "");
}

void x86_bug_show(unsigned i, u32 bugs, const struct x86_defences *d, struct strbuf *out)
{
	u32 bug = files[i].bugs & bugs;
	const char *text = "Vulnerable";

	if (!bug)
		text = "Not affected";
	else if (bug == MELTDOWN && d->pti)
		text = "Mitigation: PTI";
	else if (bug == BIT(X86_BUG_SPECTRE_V1))
		text = against_spectre_v1(d);
	else if (bug == V2 && d->branches)
		return against_spectre_v2(d, out);
	else if (bug == ITLB)
		text = "KVM: Mitigation: VMX unsupported"; /* by us */
	else if (bug == MMIO_OLD)
		text = "Unknown: No mitigations";
	else if (bug & (SRBDS | GDS) && d->hypervisor)
		text = "Unknown: Dependent on hypervisor status";
	strbuf_add(out, "%s", text);
}
