/* SPDX-License-Identifier: MIT
 *
 * Problem: clients learn from files what kinds of events there are, what they may do, and where the kernel's functions
 * lie.
 *
 * Idea: /sys/bus/event_source/devices names each kind with its type number; /proc/sys/kernel/perf_event_* are the
 * limits; /proc/kallsyms lists the symbols that the image carries for its backtraces, hidden from those whom
 * kptr_restrict keeps out.
 *
 * Contract: Documentation/ABI/testing/sysfs-bus-event_source-devices and admin-guide/sysctl/kernel.rst of Linux;
 * proc(5).
 *
 * Locks: none; single words.
 */
#include "perf_priv.h"
#include <alloc/slab.h>
#include <arch/cpu.h>
#include <core/attr.h>
#include <core/init.h>
#include <core/log.h>
#include <lib/err.h>
#include <lib/printf.h>
#include <lib/string.h>
#include <linux/capability.h>
#include <vfs/textfile.h>

extern const char text_start[], text_end[];

enum { PARANOID, RATE, MLOCK_KB, MAX_STACK, CPU_PERCENT, KPTR, CONTEXTS, NR_LIMITS };
static int kptr_restrict = 1, cpu_percent = 25, contexts_per_stack = 8;

static const struct {
	const char *name;
	s64 least, most;
} limits[NR_LIMITS] = {
	[PARANOID] = { "perf_event_paranoid", -1, 4 },
	[RATE] = { "perf_event_max_sample_rate", 1, 1000000 },
	[MLOCK_KB] = { "perf_event_mlock_kb", 0, 1 << 30 },
	[MAX_STACK] = { "perf_event_max_stack", PERF_MAX_STACK_DEFAULT, PERF_MAX_STACK_DEFAULT },
	[CPU_PERCENT] = { "perf_cpu_time_max_percent", 0, 100 },
	[KPTR] = { "kptr_restrict", 0, 2 },
	[CONTEXTS] = { "perf_event_max_contexts_per_stack", 8, 8 },
};

static s64 value_of(unsigned which)
{
	switch (which) {
	case PARANOID: return perf_limits.paranoid;
	case RATE: return (s64)perf_limits.max_sample_rate;
	case MLOCK_KB: return perf_mlock_kb;
	case MAX_STACK: return perf_limits.max_stack;
	case CPU_PERCENT: return cpu_percent;
	case KPTR: return kptr_restrict;
	default: return contexts_per_stack;
	}
}

static int show_limit(struct attr_dir *dir, const struct attr *a, struct strbuf *out)
{
	strbuf_add(out, "%lld\n", (long long)value_of((unsigned)a->data));
	return 0;
}

static int parse_number(const char *text, s64 *out)
{
	bool negative = *text == '-';
	s64 v = 0;

	text += negative;
	if (*text < '0' || *text > '9')
		return -EINVAL;
	for (; *text >= '0' && *text <= '9'; text++)
		if (v < 1LL << 40)
			v = v * 10 + (*text - '0');
	if (*text == '\n')
		text++;
	*out = negative ? -v : v;
	return *text ? -EINVAL : 0;
}

static int set_limit(struct attr_dir *dir, const struct attr *a, char *text, size_t len)
{
	unsigned which = (unsigned)a->data;
	s64 v;
	int err = parse_number(text, &v);

	if (err)
		return err;
	if (v < limits[which].least || v > limits[which].most)
		return fail(EINVAL, "%s: %lld", limits[which].name, (long long)v);
	switch (which) {
	case PARANOID: perf_limits.paranoid = (int)v; break;
	case RATE: perf_limits.max_sample_rate = (u64)v; break;
	case MLOCK_KB: perf_mlock_kb = (int)v; break;
	case CPU_PERCENT: cpu_percent = (int)v; break;
	case KPTR: kptr_restrict = (int)v; break;
	default: break; /* only one value is allowed */
	}
	return 0;
}

static int show_number(struct attr_dir *dir, const struct attr *a, struct strbuf *out)
{
	strbuf_add(out, "%lu\n", a->data);
	return 0;
}

/* ---- kallsyms ---------------------------------------------------------------------------------------------------- */

static bool may_see_addresses(void)
{
	if (kptr_restrict == 0)
		return perf_limits.paranoid <= 1 || capable(CAP_SYSLOG);
	return kptr_restrict == 1 && capable(CAP_SYSLOG);
}

static int show_kallsyms(struct strbuf *out)
{
	bool visible = may_see_addresses();
	const char *name;
	ulong at;

	strbuf_add(out, "%016lx T _text\n%016lx T _stext\n", visible ? (ulong)text_start : 0,
		   visible ? (ulong)text_start : 0);
	for (u64 n = 0; (name = symbol_at(n, &at)) != NULL; n++)
		strbuf_add(out, "%016lx t %s\n", visible ? at : 0, name);
	strbuf_add(out, "%016lx T _etext\n", visible ? (ulong)text_end : 0);
	return 0;
}

static int show_modules(struct strbuf *out)
{
	return 0;
}

static struct proc_file proc_files[] = { { .name = "kallsyms", .show = show_kallsyms },
					 { .name = "modules", .show = show_modules } };

/* ---- start --------------------------------------------------------------------------------------------------------
 */

static void add_limits(void)
{
	static struct attr attrs[NR_LIMITS];
	static const struct attr *list[NR_LIMITS + 1];

	for (unsigned i = 0; i < NR_LIMITS; i++) {
		attrs[i] = (struct attr){
			.name = limits[i].name, .mode = 0644, .show = show_limit, .set = set_limit, .data = i
		};
		list[i] = &attrs[i];
	}
	ensure(!attr_sysctl_add("kernel", list));
}

static void add_kind(const char *folder, u32 type)
{
	struct attr *a = kzalloc(sizeof(*a), ALLOC_KERNEL);
	const struct attr *list[] = { a, NULL };

	ensure(a);
	*a = (struct attr){ .name = "type", .mode = 0444, .show = show_number, .data = type };
	ensure(!attr_folder_add(&attr_sys_root, folder, list));
}

/* ---- the processor, and PMUs that sample memory ----------------------------------------------------------------- */

static int show_text(struct attr_dir *dir, const struct attr *a, struct strbuf *out)
{
	strbuf_add(out, "%s\n", (const char *)a->data);
	return 0;
}

#define TEXT(label, text)                                                                                              \
	&(const struct attr)                                                                                           \
	{                                                                                                              \
		.name = label, .mode = 0444, .show = show_text, .data = (ulong)(text)                                  \
	}

static const struct attr *const cpu_events[] = { TEXT("mem-loads", "event=0xcd,umask=0x1,ldlat=3"),
						 TEXT("mem-stores", "event=0xd0,umask=0x82"), NULL };
static const struct attr *const cpu_format[] = { TEXT("umask", "config:8-15"),  TEXT("ldlat", "config1:0-15"),
						 TEXT("edge", "config:18"),     TEXT("inv", "config:23"),
						 TEXT("cmask", "config:24-31"), NULL };
static const struct attr *const intel_format[] = { TEXT("event", "config:0-7"), NULL };
static const struct attr *const amd_format[] = { TEXT("event", "config:0-7,32-35"), NULL };
static const struct attr *const cpu_caps[] = { TEXT("max_precise", "3"), TEXT("pmu_name", "sampled"), NULL };
static const struct attr *const ibs_format[] = { TEXT("cnt_ctl", "config:19"), NULL };

static void add_device(const char *name, u32 type)
{
	struct attr_dir *devices, *dir;
	char folder[32];

	str_format(folder, sizeof(folder), "devices/%s", name);
	add_kind(folder, type);
	ensure(!attr_shared_dir(&attr_sys_root, folder, &dir));
	ensure(!attr_shared_dir(&attr_sys_root, "bus/event_source/devices", &devices));
	ensure(!attr_link_add(devices, name, dir));
}

/* What each generic event is on this processor. */
static const char *const generic_names[PERF_COUNT_HW_MAX] = {
	[PERF_COUNT_HW_CPU_CYCLES] = "cpu-cycles",
	[PERF_COUNT_HW_INSTRUCTIONS] = "instructions",
	[PERF_COUNT_HW_CACHE_REFERENCES] = "cache-references",
	[PERF_COUNT_HW_CACHE_MISSES] = "cache-misses",
	[PERF_COUNT_HW_BRANCH_INSTRUCTIONS] = "branch-instructions",
	[PERF_COUNT_HW_BRANCH_MISSES] = "branch-misses",
	[PERF_COUNT_HW_BUS_CYCLES] = "bus-cycles",
	[PERF_COUNT_HW_STALLED_CYCLES_FRONTEND] = "stalled-cycles-frontend",
	[PERF_COUNT_HW_STALLED_CYCLES_BACKEND] = "stalled-cycles-backend",
	[PERF_COUNT_HW_REF_CPU_CYCLES] = "ref-cycles",
};

static int show_generic(struct attr_dir *dir, const struct attr *a, struct strbuf *out)
{
	struct pmu_wish w = { .config = a->data };
	struct pmu_event e;
	int err = pmu_event(hardware_pmu(), &w, &e);

	if (!err)
		strbuf_add(out, "event=0x%02x,umask=0x%02x\n", (unsigned)e.select & 255, (unsigned)e.select >> 8 & 255);
	return err;
}

static void add_generic_events(void)
{
	static struct attr attrs[PERF_COUNT_HW_MAX];
	static const struct attr *list[PERF_COUNT_HW_MAX + 1];
	unsigned n = 0;

	for (unsigned i = 0; i < PERF_COUNT_HW_MAX; i++) {
		struct pmu_wish w = { .config = i };
		struct pmu_event e;

		if (pmu_event(hardware_pmu(), &w, &e))
			continue;
		attrs[n] = (struct attr){ .name = generic_names[i], .mode = 0444, .show = show_generic, .data = i };
		list[n] = &attrs[n];
		n++;
	}
	if (n)
		ensure(!attr_folder_add(&attr_sys_root, "devices/cpu/events", list));
}

static void add_processor_pmus(void)
{
	bool is_amd = hardware_pmu()->make == PMU_AMD;

	add_device("cpu", PERF_TYPE_RAW);
	ensure(!attr_folder_add(&attr_sys_root, "devices/cpu/events", cpu_events));
	ensure(!attr_folder_add(&attr_sys_root, "devices/cpu/format", cpu_format));
	ensure(!attr_folder_add(&attr_sys_root, "devices/cpu/format", is_amd ? amd_format : intel_format));
	ensure(!attr_folder_add(&attr_sys_root, "devices/cpu/caps", cpu_caps));
	add_generic_events();
	if (!cpu_has(CPU_AMD))
		return;
	add_device("ibs_op", PERF_TYPE_IBS_OP);
	ensure(!attr_folder_add(&attr_sys_root, "devices/ibs_op/format", ibs_format));
}

static void files_init(void)
{
	add_limits();
	add_kind("bus/event_source/devices/software", PERF_TYPE_SOFTWARE);
	add_kind("bus/event_source/devices/tracepoint", PERF_TYPE_TRACEPOINT);
	add_processor_pmus();
	for (unsigned i = 0; i < ARRAY_SIZE(proc_files); i++)
		proc_file_register(&proc_files[i]);
}
PART_INIT(late, files_init);
