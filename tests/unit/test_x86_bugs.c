/* SPDX-License-Identifier: MIT
 *
 * Problem: what a processor is said to suffer from decides which defences run, and nobody here has thirty processors.
 *
 * Idea: CPUID answers of known machines go in; out come the words that Linux 6.1 says in /proc/cpuinfo on the same
 * machine (recorded in QEMU with -cpu of that name, and for real ones from the vendors' tables). Then single bits of
 * the MSR take single bugs back.
 *
 * Contract: lib/x86_bugs.h.
 *
 * Locks: none.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>
#include <lib/printf.h>
#include <lib/x86_bugs.h>

static struct {
	const char *vendor;
	u32 signature, ecx1, ebx7, edx7, ebx8, eax21, ecx21;
} cpu;

static void fake_cpuid(u32 leaf, u32 sub, u32 r[4])
{
	memset(r, 0, 16);
	switch (leaf) {
	case 0:
		r[0] = 13;
		memcpy(&r[1], cpu.vendor, 4);
		memcpy(&r[3], cpu.vendor + 4, 4);
		memcpy(&r[2], cpu.vendor + 8, 4);
		break;
	case 1:
		r[0] = cpu.signature;
		r[2] = cpu.ecx1;
		break;
	case 7:
		r[1] = sub ? 0 : cpu.ebx7;
		r[3] = sub ? 0 : cpu.edx7;
		break;
	case 0x80000000: r[0] = 0x80000021; break;
	case 0x80000008: r[1] = cpu.ebx8; break;
	case 0x80000021:
		r[0] = cpu.eax21;
		r[2] = cpu.ecx21;
		break;
	}
}

static u32 bugs_with(u64 arch_caps)
{
	struct x86_facts f;

	x86_facts_read(&f, fake_cpuid);
	f.arch_caps = arch_caps;
	return x86_bugs(&f);
}

static void expect(const char *vendor, u32 signature, u64 arch_caps, const char *words)
{
	char text[400];
	struct strbuf sb;
	u32 bugs;

	cpu.vendor = vendor;
	cpu.signature = signature;
	bugs = bugs_with(arch_caps);
	strbuf_init(&sb, text, sizeof(text));
	for (unsigned b = 0; b < X86_BUGS; b++)
		if (bugs >> b & 1)
			strbuf_add(&sb, "%s%s", sb.len ? " " : "", x86_bug_name(b));
	assert_string_equal(text, words);
}

#define GUEST  (1U << 31)
#define RDRAND (1U << 30)
#define AVX    (1U << 28)

/* QEMU's processors as Debian's Linux 6.1.0-57 names their bugs. */
static void as_linux_in_qemu(void **state)
{
	memset(&cpu, 0, sizeof(cpu));
	cpu.ecx1 = GUEST | RDRAND | AVX;
	expect("AuthenticAMD", 0x60fb1, 0, "spectre_v1 spectre_v2"); /* max: family 15, model 107 */
	expect("GenuineIntel", 0x506e3, 0,
	       "cpu_meltdown spectre_v1 spectre_v2 spec_store_bypass l1tf mds swapgs itlb_multihit srbds "
	       "mmio_stale_data "
	       "retbleed gds bhi its");
	expect("AuthenticAMD", 0x800f12, 0, "spectre_v1 spectre_v2 spec_store_bypass retbleed smt_rsb srso");
	expect("GenuineIntel", 0x80660, 0,
	       "cpu_meltdown spectre_v1 spectre_v2 spec_store_bypass l1tf mds swapgs mmio_stale_data bhi rfds its");
	expect("GenuineIntel", 0x50656, 0,
	       "cpu_meltdown spectre_v1 spectre_v2 spec_store_bypass l1tf mds swapgs itlb_multihit mmio_stale_data "
	       "retbleed gds "
	       "bhi its");
	expect("GenuineIntel", 0x306c4, 0,
	       "cpu_meltdown spectre_v1 spectre_v2 spec_store_bypass l1tf mds swapgs itlb_multihit srbds mmio_unknown "
	       "bhi its");
}

/* Real ones: nobody below them. */
static void bare_machines(void **state)
{
	memset(&cpu, 0, sizeof(cpu));
	expect("GenuineIntel", 0x106ca, 0, ""); /* Atom in order */
	expect("GenuineIntel", 0x30678, 0, "cpu_meltdown spectre_v1 spectre_v2 mds msbds_only mmio_unknown bhi");
	expect("GenuineIntel", 0x906ec, 0,
	       "cpu_meltdown spectre_v1 spectre_v2 spec_store_bypass l1tf mds swapgs "
	       "itlb_multihit mmio_stale_data retbleed bhi vmscape");
	cpu.ecx1 = RDRAND | AVX;
	expect("GenuineIntel", 0x906ed, 0,
	       "cpu_meltdown spectre_v1 spectre_v2 spec_store_bypass l1tf mds swapgs "
	       "itlb_multihit srbds mmio_stale_data retbleed gds bhi its vmscape");
	expect("AuthenticAMD", 0xa20f10, 0, "spectre_v1 spectre_v2 spec_store_bypass srso tsa vmscape"); /* Zen 3 */
	expect("HygonGenuine", 0x900f01, 0, "spectre_v1 spectre_v2 spec_store_bypass retbleed smt_rsb srso vmscape");
	expect("CentaurHauls", 0x6f2, 0,
	       "cpu_meltdown spectre_v1 spectre_v2 spec_store_bypass l1tf mds swapgs itlb_multihit mmio_unknown");
	expect("NobodysChips", 0x506e3, 0,
	       "cpu_meltdown spectre_v1 spectre_v2 spec_store_bypass l1tf mds swapgs itlb_multihit mmio_unknown");
}

static void bits_take_back(void **state)
{
	static const struct {
		u64 caps;
		u32 gone;
	} rows[] = {
		{ 1 << 0, BIT(X86_BUG_MELTDOWN) | BIT(X86_BUG_L1TF) },
		{ 1 << 4, BIT(X86_BUG_SSB) },
		{ 1 << 5, BIT(X86_BUG_MDS) },
		{ 1 << 6, BIT(X86_BUG_ITLB_MULTIHIT) },
		{ 1 << 8, BIT(X86_BUG_TAA) },
		{ 1 << 13 | 1 << 14, 0 },
		{ 1 << 13 | 1 << 14 | 1 << 15, BIT(X86_BUG_MMIO) },
		{ 1 << 20, BIT(X86_BUG_BHI) },
		{ 1 << 26, BIT(X86_BUG_GDS) },
		{ 1ULL << 62, BIT(X86_BUG_ITS) },
	};
	u32 all;

	memset(&cpu, 0, sizeof(cpu));
	cpu.vendor = "GenuineIntel";
	cpu.signature = 0x906ed;
	cpu.ecx1 = RDRAND | AVX;
	cpu.ebx7 = 1 << 11; /* RTM */
	all = bugs_with(0);
	assert_true(all & BIT(X86_BUG_TAA));
	for (unsigned i = 0; i < ARRAY_SIZE(rows); i++)
		assert_int_equal(bugs_with(rows[i].caps), all & ~rows[i].gone);
	assert_int_equal(bugs_with(1 << 1), all | BIT(X86_BUG_EIBRS_PBRSB)); /* IBRS_ALL */
	assert_int_equal(bugs_with(1 << 1 | 1 << 24), all);
	cpu.ecx1 = 0;
	assert_int_equal(bugs_with(0), all & ~(BIT(X86_BUG_SRBDS) | BIT(X86_BUG_GDS)));
	cpu.vendor = "AuthenticAMD";
	cpu.signature = 0xa20f10;
	cpu.ebx8 = 1 << 26 | 1 << 29;
	cpu.eax21 = 1 << 29;
	cpu.ecx21 = 6;
	assert_int_equal(bugs_with(0) & (BIT(X86_BUG_SSB) | BIT(X86_BUG_SRSO) | BIT(X86_BUG_TSA)), 0);
	cpu.ecx21 = 2;
	assert_true(bugs_with(0) & BIT(X86_BUG_TSA));
}

static const char *file_says(const char *name, u32 bugs, const struct x86_defences *d)
{
	static char text[200];
	struct strbuf sb;

	strbuf_init(&sb, text, sizeof(text));
	for (unsigned i = 0; x86_bug_file(i); i++)
		if (!strcmp(x86_bug_file(i), name))
			x86_bug_show(i, bugs, d, &sb);
	return text;
}

static void words(void **state)
{
	struct x86_defences d = { 0 };
	u32 all = ~0U & ~BIT(X86_BUG_MMIO);

	for (unsigned i = 0; x86_bug_file(i); i++)
		assert_string_equal(file_says(x86_bug_file(i), 0, &d), "Not affected");
	assert_string_equal(file_says("meltdown", all, &d), "Vulnerable");
	assert_string_equal(file_says("spectre_v1", all, &d), "Vulnerable");
	assert_string_equal(file_says("spectre_v2", all, &d), "Vulnerable");
	assert_string_equal(file_says("mmio_stale_data", all, &d), "Unknown: No mitigations");
	assert_string_equal(file_says("mmio_stale_data", all | BIT(X86_BUG_MMIO), &d), "Vulnerable");
	assert_string_equal(file_says("srbds", all, &d), "Vulnerable");
	assert_string_equal(file_says("itlb_multihit", all, &d), "KVM: Mitigation: VMX unsupported");
	d = (struct x86_defences){ .hypervisor = true, .pti = true, .masked_user = true, .branches = "Retpolines" };
	assert_string_equal(file_says("meltdown", all, &d), "Mitigation: PTI");
	assert_string_equal(file_says("spectre_v2", all, &d), "Mitigation: Retpolines; RSB filling");
	d.stibp_off = d.branch_barrier = true;
	assert_string_equal(file_says("spectre_v2", all, &d),
			    "Mitigation: Retpolines; IBPB: always-on; STIBP: disabled; RSB filling");
	assert_string_equal(file_says("srbds", all, &d), "Unknown: Dependent on hypervisor status");
	assert_string_equal(file_says("l1tf", all, &d), "Vulnerable");
	assert_string_equal(file_says("spectre_v1", all, &d),
			    "Vulnerable: __user pointer sanitization and usercopy barriers only; no swapgs barriers");
	d.swapgs_fence = true;
	assert_string_equal(file_says("spectre_v1", all, &d),
			    "Mitigation: usercopy/swapgs barriers and __user pointer sanitization");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(as_linux_in_qemu),
		cmocka_unit_test(bare_machines),
		cmocka_unit_test(bits_take_back),
		cmocka_unit_test(words),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
