/* SPDX-License-Identifier: MIT
 *
 * Problem: pqos, libvirt and container runtimes depend on every corner of resctrl's files, and the
 * registers behind them cannot be watched on most machines.
 *
 * Idea: a recording machine: CPUID answers of our choice, every MSR write logged. Scripts of file
 * writes are run against it, and the table of expected register traffic, the files' texts and error
 * numbers are compared whole.
 *
 * Contract: runs under ASan and UBSan; one cmocka test a promise. Locks: none.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdlib.h>
#include <cmocka.h>
#include <lib/err.h>
#include <lib/string.h>
#include <resctrl/cat.h>
#include <resctrl/colour.h>
#include <resctrl/resctrl.h>

/* ---- the recording machine ------------------------------------------------------------------------------- */

struct machine {
	struct cat_cpuid leaf10[4], leaff; /* leaff: of 0xf, 1 */
	u64 evtsel, counter[4][8];         /* by event and tag */
	u32 max_leaf;
	bool rdt_flag;
	bool amd_bandwidth;
	bool refuses_msr;
	char log[16384]; /* "CPU:MSR=VALUE " */
	struct strbuf traffic;
	u64 hsw_reg;
	struct resctrl *r;
	/* the host's tasks: group of tid 100..109; tid 105 belongs to somebody else */
	u16 task_group[10];
	char refreshed[1024];
	struct strbuf refresh;
};

static void m_cpuid(void *ctx, u32 leaf, u32 sub, struct cat_cpuid *out)
{
	struct machine *m = ctx;

	*out = (struct cat_cpuid){ 0 };
	if (leaf == 0)
		out->eax = m->max_leaf;
	if (leaf == 7)
		out->ebx = (m->rdt_flag ? 1u << 15 : 0) | (m->leaff.edx ? 1u << 12 : 0);
	if (leaf == 0xf && !sub)
		out->edx = 1 << 1;
	if (leaf == 0xf && sub == 1)
		*out = m->leaff;
	if (leaf == 0x10 && sub < 4)
		*out = m->leaf10[sub];
	if (leaf == 0x80000000)
		out->eax = m->amd_bandwidth ? 0x80000020 : 0x80000008;
	if (leaf == 0x80000008)
		out->ebx = m->amd_bandwidth ? 1u << 6 : 0;
	if (leaf == 0x80000020)
		*out = (struct cat_cpuid){ .eax = 11, .edx = 15 };
}

static int m_wrmsr(void *ctx, unsigned cpu, u32 msr, u64 value)
{
	struct machine *m = ctx;

	if (m->refuses_msr)
		return -EIO;
	if (msr == 0xc8d)
		m->evtsel = value;
	m->hsw_reg = value;
	strbuf_add(&m->traffic, "%u:%x=%llx ", cpu, msr, (unsigned long long)value);
	assert_false(m->traffic.truncated);
	return 0;
}

static int m_rdmsr(void *ctx, unsigned cpu, u32 msr, u64 *value)
{
	struct machine *m = ctx;

	*value = msr == 0xc8e ? m->counter[m->evtsel & 3][m->evtsel >> 32 & 7] : m->hsw_reg;
	return 0;
}

static void m_wrmsr_here(void *ctx, u32 msr, u64 value)
{
	m_wrmsr(ctx, 99, msr, value);
}

static const struct cat_machine_ops machine_ops = { m_cpuid, m_wrmsr, m_rdmsr, m_wrmsr_here };

static int h_move(void *ctx, s32 tid, u16 group, u16 within)
{
	struct machine *m = ctx;

	if (!tid)
		tid = 100;
	if (tid < 100 || tid > 109)
		return -ESRCH;
	if (tid == 105)
		return -EPERM;
	if (within != RESCTRL_ANY && !resctrl_lists(m->r, within, m->task_group[tid - 100]))
		return -EXDEV;
	m->task_group[tid - 100] = group;
	return 0;
}

static void h_move_all(void *ctx, u16 from, u16 to)
{
	struct machine *m = ctx;

	for (int i = 0; i < 10; i++)
		if (m->task_group[i] == from)
			m->task_group[i] = to;
}

static bool h_next(void *ctx, u16 group, s32 *tid)
{
	struct machine *m = ctx;

	for (int t = max(*tid + 1, 100); t < 110; t++)
		if (resctrl_lists(m->r, group, m->task_group[t - 100])) {
			*tid = t;
			return true;
		}
	return false;
}

static void h_refresh(void *ctx, u16 group, u64 cpus)
{
	struct machine *m = ctx;

	strbuf_add(&m->refresh, "%u/%llx ", group, (unsigned long long)cpus);
}

static const struct resctrl_host_ops host_ops = { h_move, h_move_all, h_next, h_refresh };

static void forget(struct machine *m)
{
	strbuf_init(&m->traffic, m->log, sizeof(m->log));
	strbuf_init(&m->refresh, m->refreshed, sizeof(m->refreshed));
}

#define TRAFFIC(m, text)                                                                                               \
	do {                                                                                                           \
		assert_string_equal((m)->log, text);                                                                   \
		forget(m);                                                                                             \
	} while (0)

/* Two sockets of two CPUs, 20-way L3 of 20 MiB with CDP and two I/O ways; classes as asked. */
static void xeon(struct machine *m, unsigned classes)
{
	*m = (struct machine){ .max_leaf = 0x16, .rdt_flag = true };
	m->leaf10[0].ebx = 1 << 1;
	m->leaf10[1] = (struct cat_cpuid){ 19, 0xc0000, 1 << 2, classes - 1 };
	forget(m);
}

struct fixture {
	struct machine m;
	struct cat *cat;
	struct resctrl *r;
};

static void bring_up(struct fixture *f, unsigned cpus, enum cat_vendor vendor)
{
	assert_int_equal(cat_create(&machine_ops, &f->m, vendor, false, 0, &f->cat), 0);
	for (unsigned cpu = 0; cpu < cpus; cpu++) {
		struct cat_cpu info = { cpu / 2, cpu, 20 << 20, 1 << 20 };

		assert_int_equal(cat_cpu_online(f->cat, cpu, &info), 0);
	}
	forget(&f->m);
	assert_int_equal(resctrl_create(cat_backend(f->cat), &host_ops, &f->m, 8, BIT(cpus) - 1, &f->r), 0);
	f->m.r = f->r;
}

static void take_down(struct fixture *f)
{
	resctrl_destroy(f->r);
	cat_destroy(f->cat);
}

static int put(struct resctrl *r, const char *path, const char *text)
{
	struct resctrl_node n;
	int err = resctrl_lookup(r, path, &n);

	return err ? err : resctrl_store(r, &n, text, strlen(text));
}

static int make(struct resctrl *r, const char *dir, const char *name)
{
	struct resctrl_node n;
	int err = resctrl_lookup(r, dir, &n);

	return err ? err : resctrl_mkdir(r, &n, name);
}

static int drop(struct resctrl *r, const char *path)
{
	struct resctrl_node n;
	int err = resctrl_lookup(r, path, &n);

	return err ? err : resctrl_rmdir(r, &n);
}

static char *get(struct resctrl *r, const char *path)
{
	static char text[4096];
	struct resctrl_node n;
	struct strbuf sb;

	strbuf_init(&sb, text, sizeof(text));
	if (resctrl_lookup(r, path, &n) || resctrl_show(r, &n, &sb))
		return "(error)";
	return text;
}

static char *list(struct resctrl *r, const char *path)
{
	static char text[512];
	struct resctrl_node dir, n;
	const char *name;
	struct strbuf sb;

	strbuf_init(&sb, text, sizeof(text));
	assert_int_equal(resctrl_lookup(r, path, &dir), 0);
	for (unsigned i = 0; resctrl_readdir(r, &dir, i, &name, &n); i++)
		strbuf_add(&sb, "%s%s ", name, n.file ? "" : "/");
	return text;
}

#define LISTS(f, path, text)     assert_string_equal(list((f)->r, path), text)
#define SHOWS(f, path, text)     assert_string_equal(get((f)->r, path), text)
#define PUTS(f, path, text, err) assert_int_equal(put((f)->r, path, text), err)

/* ---- CAT
 * ------------------------------------------------------------------------------------------------
 */

static void boot_writes_full_masks_once_per_cache(void **state)
{
	struct fixture f;
	struct cat_cpu info = { 0, 0, 20 << 20, 1 << 20 };

	xeon(&f.m, 4);
	assert_int_equal(cat_create(&machine_ops, &f.m, CAT_INTEL, false, 0, &f.cat), 0);
	assert_int_equal(cat_cpu_online(f.cat, 0, &info), 0);
	TRAFFIC(&f.m, "0:c81=0 0:c90=fffff 0:c91=fffff 0:c92=fffff 0:c93=fffff ");
	assert_int_equal(cat_cpu_online(f.cat, 1, &info), 0);
	TRAFFIC(&f.m, "");
	info.l3_id = 1;
	assert_int_equal(cat_cpu_online(f.cat, 2, &info), 0);
	TRAFFIC(&f.m, "2:c81=0 2:c90=fffff 2:c91=fffff 2:c92=fffff 2:c93=fffff ");
	cat_destroy(f.cat);
}

static void schemata_reach_the_registers(void **state)
{
	struct fixture f;

	xeon(&f.m, 4);
	bring_up(&f, 4, CAT_INTEL);
	assert_int_equal(resctrl_mount(f.r, ""), 0);
	assert_int_equal(resctrl_mount(f.r, ""), -EBUSY);
	TRAFFIC(&f.m, "");
	SHOWS(&f, "schemata", "    L3:0=fffff;1=fffff\n");
	assert_int_equal(make(f.r, "", "web"), 0);
	TRAFFIC(&f.m, "");
	PUTS(&f, "web/schemata", "L3:0=f;1=ff0\n", 0);
	TRAFFIC(&f.m, "0:c91=f 2:c91=ff0 ");
	SHOWS(&f, "web/schemata", "    L3:0=0000f;1=00ff0\n");
	SHOWS(&f, "web/size", "    L3:0=4194304;1=8388608\n");
	PUTS(&f, "web/schemata", "L3:1=ff0\n", 0);
	TRAFFIC(&f.m, "");
	PUTS(&f, "web/schemata", "L3:1=ff00;0=f\n", 0);
	TRAFFIC(&f.m, "2:c91=ff00 ");
	SHOWS(&f, "schemata", "    L3:0=fffff;1=fffff\n");
	resctrl_umount(f.r);
	TRAFFIC(&f.m, "0:c91=fffff 2:c91=fffff ");
	take_down(&f);
}

static void code_and_data_apart(void **state)
{
	struct fixture f;

	xeon(&f.m, 8);
	bring_up(&f, 4, CAT_INTEL);
	assert_int_equal(resctrl_mount(f.r, "cdpl2"), -EINVAL);
	assert_int_equal(resctrl_mount(f.r, "cdp"), 0);
	TRAFFIC(&f.m, "0:c81=1 2:c81=1 ");
	SHOWS(&f, "info/L3CODE/num_closids", "4\n");
	SHOWS(&f, "schemata", "L3DATA:0=fffff;1=fffff\nL3CODE:0=fffff;1=fffff\n");
	assert_int_equal(make(f.r, "", "a"), 0);
	PUTS(&f, "a/schemata", "L3CODE:0=3\nL3DATA:0=ff;1=f\n", 0);
	TRAFFIC(&f.m, "0:c92=ff 2:c92=f 0:c93=3 ");
	PUTS(&f, "a/schemata", "L3:0=3\n", -EINVAL);
	resctrl_umount(f.r);
	TRAFFIC(&f.m, "0:c92=fffff 2:c92=fffff 0:c93=fffff 0:c81=0 2:c81=0 ");
	take_down(&f);
}

static void code_and_data_apart_in_l2(void **state)
{
	struct fixture f;

	xeon(&f.m, 8);
	f.m.leaf10[0].ebx |= 1 << 2;
	f.m.leaf10[2] = (struct cat_cpuid){ 7, 0, 1 << 2, 7 };
	bring_up(&f, 3, CAT_INTEL);
	assert_int_equal(resctrl_mount(f.r, "cdpl2"), 0);
	TRAFFIC(&f.m, "0:c82=1 1:c82=1 2:c82=1 ");
	SHOWS(&f, "schemata",
	      "L2DATA:0=000ff;1=000ff;2=000ff\nL2CODE:0=000ff;1=000ff;2=000ff\n    L3:0=fffff;1=fffff\n");
	SHOWS(&f, "info/L2DATA/num_closids", "4\n");
	assert_int_equal(make(f.r, "", "a"), 0);
	PUTS(&f, "a/schemata", "L2CODE:1=3\nL2DATA:2=c\nL3:0=f\n", 0);
	TRAFFIC(&f.m, "2:d12=c 1:d13=3 0:c91=f ");
	resctrl_umount(f.r);
	TRAFFIC(&f.m, "2:d12=ff 1:d13=ff 0:c91=fffff 0:c82=0 1:c82=0 2:c82=0 ");
	take_down(&f);
}

static void haswell_is_probed(void **state)
{
	struct fixture f;

	f.m = (struct machine){ .max_leaf = 0xf };
	forget(&f.m);
	assert_int_equal(cat_create(&machine_ops, &f.m, CAT_INTEL, false, 3, &f.cat), -ENODEV);
	TRAFFIC(&f.m, "");
	assert_int_equal(cat_create(&machine_ops, &f.m, CAT_INTEL, true, 3, &f.cat), 0);
	TRAFFIC(&f.m, "3:c90=fffff ");
	assert_int_equal(cat_backend(f.cat)->res[RESCTRL_L3].num_classes, 4);
	assert_int_equal(cat_backend(f.cat)->res[RESCTRL_L3].min_bits, 2);
	cat_destroy(f.cat);
	f.m.refuses_msr = true;
	assert_int_equal(cat_create(&machine_ops, &f.m, CAT_INTEL, true, 3, &f.cat), -ENODEV);
}

static void caches_come_and_go(void **state)
{
	struct fixture f;
	struct cat_cpu info = { 1, 2, 20 << 20, 1 << 20 };

	xeon(&f.m, 2);
	bring_up(&f, 4, CAT_INTEL);
	assert_int_equal(resctrl_mount(f.r, ""), 0);
	assert_int_equal(make(f.r, "", "a"), 0);
	PUTS(&f, "a/schemata", "L3:0=1;1=2\n", 0);
	PUTS(&f, "a/cpus", "c", 0);
	forget(&f.m);
	resctrl_cpu_offline(f.r, 2);
	cat_cpu_offline(f.cat, 2);
	PUTS(&f, "a/schemata", "L3:1=4\n", 0);
	TRAFFIC(&f.m, "3:c91=4 "); /* the other CPU of the cache */
	resctrl_cpu_offline(f.r, 3);
	cat_cpu_offline(f.cat, 3);
	SHOWS(&f, "a/schemata", "    L3:0=00001\n");
	SHOWS(&f, "a/cpus", "00\n");
	PUTS(&f, "a/schemata", "L3:1=8\n", -EINVAL);
	PUTS(&f, "a/cpus", "4", -EINVAL);
	assert_int_equal(cat_cpu_online(f.cat, 2, &info), 0);
	resctrl_cpu_online(f.r, 2);
	TRAFFIC(&f.m, "2:c81=0 2:c90=fffff 2:c91=4 ");
	SHOWS(&f, "a/schemata", "    L3:0=00001;1=00004\n");
	SHOWS(&f, "cpus", "07\n");
	take_down(&f);
}

static void the_switch_writes_only_changes(void **state)
{
	struct fixture f;

	xeon(&f.m, 4);
	bring_up(&f, 4, CAT_INTEL);
	cat_switch(f.cat, 1, (struct resctrl_label){ 0, 0 });
	TRAFFIC(&f.m, "99:c8f=0 ");
	cat_switch(f.cat, 1, (struct resctrl_label){ 0, 0 });
	TRAFFIC(&f.m, "");
	cat_switch(f.cat, 1, (struct resctrl_label){ 3, 0 });
	cat_switch(f.cat, 1, (struct resctrl_label){ 3, 0 });
	cat_switch(f.cat, 2, (struct resctrl_label){ 3, 0 });
	cat_switch(f.cat, 2, (struct resctrl_label){ 3, 17 });
	TRAFFIC(&f.m, "99:c8f=300000000 99:c8f=300000000 99:c8f=300000011 ");
	take_down(&f);
}

static void amd_has_its_own_rules(void **state)
{
	struct fixture f;

	xeon(&f.m, 16);
	f.m.leaf10[1] = (struct cat_cpuid){ 15, 0, 1 << 2, 15 };
	f.m.amd_bandwidth = true;
	bring_up(&f, 4, CAT_AMD);
	assert_int_equal(resctrl_mount(f.r, ""), 0);
	SHOWS(&f, "schemata", "    MB:0=2048;1=2048\n    L3:0=ffff;1=ffff\n");
	SHOWS(&f, "info/L3/min_cbm_bits", "0\n");
	assert_int_equal(make(f.r, "", "a"), 0);
	PUTS(&f, "a/schemata", "L3:0=a5;1=0\nMB:1=16\n", 0);
	TRAFFIC(&f.m, "2:c0000201=10 0:c91=a5 2:c91=0 ");
	PUTS(&f, "a/schemata", "MB:1=2049\n", -EINVAL);
	take_down(&f);
}

static void bandwidth_rounds_up(void **state)
{
	struct fixture f;

	xeon(&f.m, 4);
	f.m.leaf10[0].ebx |= 1 << 3;
	f.m.leaf10[3] = (struct cat_cpuid){ 89, 0, 1 << 2, 7 };
	bring_up(&f, 4, CAT_INTEL);
	assert_int_equal(resctrl_mount(f.r, ""), 0);
	SHOWS(&f, "info/MB/min_bandwidth", "10\n");
	SHOWS(&f, "info/MB/bandwidth_gran", "10\n");
	SHOWS(&f, "info/MB/delay_linear", "1\n");
	assert_int_equal(make(f.r, "", "a"), 0);
	PUTS(&f, "a/schemata", "MB:0=31\n", 0);
	TRAFFIC(&f.m, "0:d51=3c ");
	SHOWS(&f, "a/schemata", "    MB:0=   40;1=  100\n    L3:0=fffff;1=fffff\n");
	PUTS(&f, "a/schemata", "MB:0=9\n", -EINVAL);
	PUTS(&f, "a/schemata", "MB:0=101\n", -EINVAL);
	PUTS(&f, "a/schemata", "MB:0=0x20\n", -EINVAL);
	take_down(&f);
}

/* ---- monitoring
 * ------------------------------------------------------------------------------------------------ */

/* 4 tags, 64 KiB a count, 32 bits wide. */
static void monitored(struct fixture *f)
{
	xeon(&f->m, 4);
	f->m.leaff = (struct cat_cpuid){ 8, 65536, 3, 7 };
	bring_up(f, 4, CAT_INTEL);
	assert_int_equal(resctrl_mount(f->r, ""), 0);
}

static void occupancy_and_traffic(void **state)
{
	struct fixture f;

	monitored(&f);
	TRAFFIC(&f.m, "0:c8d=2 2:c8d=2 0:c8d=3 2:c8d=3 "); /* where the counters of tag 0 stand */
	SHOWS(&f, "info/L3_MON/num_rmids", "4\n");
	SHOWS(&f, "info/L3_MON/mon_features", "llc_occupancy\nmbm_total_bytes\nmbm_local_bytes\n");
	SHOWS(&f, "info/L3_MON/max_threshold_occupancy", "5242880\n");
	f.m.counter[RESCTRL_MBM_TOTAL][1] = 0xfffffff0;
	assert_int_equal(make(f.r, "", "a"), 0);
	TRAFFIC(&f.m,
		"0:c8d=100000001 2:c8d=100000001 0:c8d=100000002 2:c8d=100000002 0:c8d=100000003 2:c8d=100000003 ");
	f.m.counter[RESCTRL_OCCUPANCY][1] = 3;
	SHOWS(&f, "a/mon_data/mon_L3_01/llc_occupancy", "196608\n");
	TRAFFIC(&f.m, "2:c8d=100000001 ");
	f.m.counter[RESCTRL_MBM_TOTAL][1] = 0x10; /* has wrapped */
	SHOWS(&f, "a/mon_data/mon_L3_00/mbm_total_bytes", "2097152\n");
	f.m.counter[RESCTRL_MBM_TOTAL][1] = 0xffffffff;
	resctrl_monitor_tick(f.r);
	f.m.counter[RESCTRL_MBM_TOTAL][1] = 0;
	SHOWS(&f, "a/mon_data/mon_L3_00/mbm_total_bytes", "281474977759232\n");
	f.m.counter[RESCTRL_OCCUPANCY][1] = BIT(63);
	SHOWS(&f, "a/mon_data/mon_L3_00/llc_occupancy", "Error\n");
	f.m.counter[RESCTRL_OCCUPANCY][1] = BIT(62);
	SHOWS(&f, "a/mon_data/mon_L3_00/llc_occupancy", "Unavailable\n");
	SHOWS(&f, "a/mon_data/mon_L3_02/llc_occupancy", "(error)");
	take_down(&f);
}

static void monitor_groups(void **state)
{
	struct fixture f;
	struct resctrl_label l;
	u16 a;

	monitored(&f);
	assert_int_equal(make(f.r, "", "a"), 0);
	assert_int_equal(make(f.r, "a", "x"), -EPERM);
	assert_int_equal(make(f.r, "a/mon_groups", "x"), 0);
	assert_int_equal(make(f.r, "a/mon_groups", "x"), -EEXIST);
	assert_int_equal(make(f.r, "a/mon_groups", "mon_groups"), -EPERM);
	assert_int_equal(make(f.r, "mon_groups", "y"), 0);
	assert_int_equal(make(f.r, "mon_groups", "z"), -ENOSPC);
	SHOWS(&f, "info/last_cmd_status", "all 4 monitoring tags are in use\n");
	SHOWS(&f, "a/mon_groups/x/schemata", "(error)");
	a = resctrl_group_find(f.r, "a");
	PUTS(&f, "a/schemata", "L3:0=f\n", 0);
	PUTS(&f, "a/mon_groups/x/tasks", "103\n", -EINVAL);
	SHOWS(&f, "info/last_cmd_status", "task 103 is not in the group above this monitor group\n");
	PUTS(&f, "a/tasks", "103\n", 0);
	PUTS(&f, "a/mon_groups/x/tasks", "103\n", 0);
	PUTS(&f, "mon_groups/y/tasks", "104\n", 0);
	SHOWS(&f, "a/tasks", "103\n");
	SHOWS(&f, "mon_groups/y/tasks", "104\n");
	l = resctrl_label_of(f.r, 0, f.m.task_group[3]);
	assert_true(l.cls == 1 && l.tag == 2 && resctrl_label_of(f.r, 0, a).tag == 1);
	PUTS(&f, "a/cpus", "6\n", 0);
	PUTS(&f, "a/mon_groups/x/cpus", "8\n", -EINVAL);
	PUTS(&f, "a/mon_groups/x/cpus", "4\n", 0);
	SHOWS(&f, "a/cpus", "06\n");
	l = resctrl_label_of(f.r, 2, 0); /* the CPU's class and tag */
	assert_true(l.cls == 1 && l.tag == 2 && resctrl_label_of(f.r, 1, 0).tag == 1);
	l = resctrl_label_of(f.r, 2, f.m.task_group[4]); /* the CPU's class, the task's own tag */
	assert_true(l.cls == 1 && l.tag == 3);
	f.m.counter[RESCTRL_OCCUPANCY][1] = f.m.counter[RESCTRL_OCCUPANCY][2] = 90;
	SHOWS(&f, "a/mon_data/mon_L3_00/llc_occupancy", "11796480\n"); /* both */
	SHOWS(&f, "a/mon_groups/x/mon_data/mon_L3_00/llc_occupancy", "5898240\n");
	assert_int_equal(drop(f.r, "a/mon_groups"), -EPERM);
	SHOWS(&f, "a/mon_data/mon_L3_01/mbm_local_bytes", "0\n");
	LISTS(&f, "a", "cpus cpus_list tasks schemata mode size mon_data/ mon_groups/ ");
	LISTS(&f, "a/mon_groups", "x/ ");
	LISTS(&f, "a/mon_groups/x", "cpus cpus_list tasks mon_data/ ");
	LISTS(&f, "mon_data", "mon_L3_00/ mon_L3_01/ ");
	LISTS(&f, "mon_data/mon_L3_01", "llc_occupancy mbm_total_bytes mbm_local_bytes ");
	LISTS(&f, "info", "last_cmd_status backend recolouring L3/ L3_MON/ ");
	assert_int_equal(drop(f.r, "a"), 0);
	SHOWS(&f, "cpus", "0f\n");
	assert_int_equal(f.m.task_group[3], 0);
	assert_int_equal(make(f.r, "", "b"), -EBUSY); /* their lines are still there */
	PUTS(&f, "info/L3_MON/max_threshold_occupancy", "20971521\n", -EINVAL);
	PUTS(&f, "info/L3_MON/max_threshold_occupancy", "5900000\n", 0);
	SHOWS(&f, "info/L3_MON/max_threshold_occupancy", "5898240\n");
	assert_int_equal(make(f.r, "", "b"), 0);
	take_down(&f);
}

/* ---- groups
 * ------------------------------------------------------------------------------------------------
 */

static void groups_share_classes(void **state)
{
	struct fixture f;
	char name[8];

	xeon(&f.m, 3);
	bring_up(&f, 4, CAT_INTEL);
	assert_int_equal(resctrl_mount(f.r, ""), 0);
	for (int i = 0; i < 40; i++) {
		str_format(name, sizeof(name), "g%d", i);
		assert_int_equal(make(f.r, "", name), 0);
	}
	TRAFFIC(&f.m, "");
	PUTS(&f, "g0/schemata", "L3:0=1\n", 0);
	PUTS(&f, "g1/schemata", "L3:0=2\n", 0);
	PUTS(&f, "g2/schemata", "L3:0=1\n", 0);
	TRAFFIC(&f.m, "0:c91=1 0:c92=2 ");
	SHOWS(&f, "info/last_cmd_status", "ok\n");
	PUTS(&f, "g3/schemata", "L3:0=4\n", -ENOSPC);
	SHOWS(&f, "info/last_cmd_status", "all 3 classes are in use by groups with different masks\n");
	SHOWS(&f, "g3/schemata", "    L3:0=fffff;1=fffff\n");
	TRAFFIC(&f.m, "");
	/* g1 alone in its class: changed in place. g0 shares: needs a class that there is not. */
	PUTS(&f, "g1/schemata", "L3:0=8\n", 0);
	TRAFFIC(&f.m, "0:c92=8 ");
	PUTS(&f, "g0/schemata", "L3:0=4\n", -ENOSPC);
	PUTS(&f, "g0/schemata", "L3:0=8\n", 0);
	PUTS(&f, "g2/schemata", "L3:0=8\n", 0);
	PUTS(&f, "g0/schemata", "L3:0=4\n", 0); /* class 1 is free again */
	TRAFFIC(&f.m, "0:c91=4 ");
	take_down(&f);
}

static void the_default_group_keeps_class_0(void **state)
{
	struct fixture f;
	u16 web;

	xeon(&f.m, 4);
	bring_up(&f, 4, CAT_INTEL);
	assert_int_equal(resctrl_mount(f.r, ""), 0);
	assert_int_equal(make(f.r, "", "web"), 0);
	web = resctrl_group_find(f.r, "web");
	assert_int_equal(resctrl_class_of(f.r, 0, web), 0);
	PUTS(&f, "schemata", "L3:0=ff\n", 0);
	TRAFFIC(&f.m, "0:c90=ff ");
	assert_int_equal(resctrl_class_of(f.r, 0, web), 1); /* web keeps full masks */
	SHOWS(&f, "web/schemata", "    L3:0=fffff;1=fffff\n");
	PUTS(&f, "schemata", "L3:0=fffff\n", 0);
	assert_int_equal(resctrl_class_of(f.r, 0, web), 0); /* equal again: shared again */
	take_down(&f);
}

static void tasks_and_cpus(void **state)
{
	struct fixture f;
	u16 a;

	xeon(&f.m, 4);
	bring_up(&f, 4, CAT_INTEL);
	assert_int_equal(resctrl_mount(f.r, ""), 0);
	assert_int_equal(make(f.r, "", "a"), 0);
	assert_int_equal(make(f.r, "", "b"), 0);
	a = resctrl_group_find(f.r, "a");
	PUTS(&f, "a/schemata", "L3:0=1\n", 0);
	PUTS(&f, "a/tasks", "103\n", 0);
	PUTS(&f, "a/tasks", " 0\n", 0);
	SHOWS(&f, "a/tasks", "100\n103\n");
	PUTS(&f, "a/tasks", "99", -ESRCH);
	PUTS(&f, "a/tasks", "105", -EPERM);
	SHOWS(&f, "info/last_cmd_status", "task 105 belongs to another user\n");
	PUTS(&f, "a/tasks", "-1", -EINVAL);
	PUTS(&f, "a/tasks", "103 104", -EINVAL);
	PUTS(&f, "a/tasks", "", -EINVAL);
	PUTS(&f, "a/tasks", "4294967399", -EINVAL);
	SHOWS(&f, "cpus", "0f\n");
	PUTS(&f, "a/cpus_list", "1-2\n", 0);
	SHOWS(&f, "cpus_list", "0,3\n");
	SHOWS(&f, "a/cpus", "06\n");
	assert_int_equal(resctrl_class_of(f.r, 1, 0), 1);
	assert_int_equal(resctrl_class_of(f.r, 0, 0), 0);
	assert_int_equal(resctrl_class_of(f.r, 0, a), 1);
	PUTS(&f, "b/cpus", "4\n", 0); /* b takes CPU 2 from a */
	SHOWS(&f, "a/cpus", "02\n");
	PUTS(&f, "b/cpus", "\n", 0); /* gives it back to the default group */
	SHOWS(&f, "cpus", "0d\n");
	PUTS(&f, "cpus", "1\n", -EINVAL);
	PUTS(&f, "b/cpus", "10\n", -EINVAL);
	PUTS(&f, "b/cpus", "100\n", -EOVERFLOW);
	PUTS(&f, "b/cpus", "1,00000000\n", -EOVERFLOW);
	PUTS(&f, "b/cpus", "x\n", -EINVAL);
	PUTS(&f, "b/cpus_list", "3-2\n", -EINVAL);
	PUTS(&f, "b/cpus_list", "8\n", -ERANGE);
	PUTS(&f, "b/cpus_list", "0-3:1/2\n", 0);
	SHOWS(&f, "b/cpus_list", "0,2\n");
	assert_int_equal(drop(f.r, "a"), 0);
	SHOWS(&f, "tasks", "100\n101\n102\n103\n104\n105\n106\n107\n108\n109\n");
	SHOWS(&f, "cpus", "0a\n");
	assert_int_equal(resctrl_class_of(f.r, 1, 0), 0);
	take_down(&f);
}

static void directories(void **state)
{
	struct fixture f;
	struct resctrl_node n, old;

	xeon(&f.m, 4);
	bring_up(&f, 4, CAT_INTEL);
	assert_int_equal(resctrl_lookup(f.r, "", &n), -ENOENT);
	assert_int_equal(resctrl_mount(f.r, "nonsense"), -EINVAL);
	assert_int_equal(resctrl_mount(f.r, ""), 0);
	assert_int_equal(make(f.r, "", "a"), 0);
	assert_int_equal(make(f.r, "", "a"), -EEXIST);
	assert_int_equal(make(f.r, "", "info"), -EEXIST);
	assert_int_equal(make(f.r, "", "schemata"), -EEXIST);
	assert_int_equal(make(f.r, "", "a\nb"), -EINVAL);
	assert_int_equal(make(f.r, "a", "b"), -EPERM);
	assert_int_equal(make(f.r, "info", "b"), -EPERM);
	assert_int_equal(drop(f.r, "info"), -EPERM);
	assert_int_equal(drop(f.r, ""), -EPERM);
	assert_int_equal(drop(f.r, "tasks"), -ENOTDIR);
	assert_int_equal(resctrl_lookup(f.r, "a/schemata/x", &n), -ENOTDIR);
	assert_int_equal(resctrl_lookup(f.r, "info/L2", &n), -ENOENT);
	PUTS(&f, "a/size", "x", -EACCES);
	PUTS(&f, "a", "x", -EISDIR);
	LISTS(&f, "/", "cpus cpus_list tasks schemata mode size info/ a/ ");
	LISTS(&f, "info", "last_cmd_status backend recolouring L3/ ");
	assert_int_equal(resctrl_lookup(f.r, "a/tasks", &old), 0);
	assert_int_equal(drop(f.r, "a"), 0);
	assert_int_equal(make(f.r, "", "b"), 0); /* the same number again */
	assert_int_equal(resctrl_store(f.r, &old, "101", 3), -ENOENT);
	take_down(&f);
}

static void modes_and_usage(void **state)
{
	struct fixture f;

	xeon(&f.m, 4);
	bring_up(&f, 4, CAT_INTEL);
	assert_int_equal(resctrl_mount(f.r, ""), 0);
	SHOWS(&f, "info/L3/bit_usage", "0=XXSSSSSSSSSSSSSSSSSS;1=XXSSSSSSSSSSSSSSSSSS\n");
	SHOWS(&f, "info/L3/shareable_bits", "c0000\n");
	assert_int_equal(make(f.r, "", "a"), 0);
	PUTS(&f, "a/mode", "exclusive\n", -EINVAL);
	PUTS(&f, "a/mode", "exclusive", -EINVAL);
	PUTS(&f, "a/mode", "wild\n", -EINVAL);
	PUTS(&f, "a/mode", "pseudo-locksetup\n", -EINVAL);
	PUTS(&f, "schemata", "L3:0=ff;1=ff\n", 0);
	PUTS(&f, "a/schemata", "L3:0=f00;1=f00\n", 0);
	PUTS(&f, "a/mode", "exclusive\n", 0);
	SHOWS(&f, "a/mode", "exclusive\n");
	SHOWS(&f, "info/L3/bit_usage", "0=HH000000EEEESSSSSSSS;1=HH000000EEEESSSSSSSS\n");
	PUTS(&f, "schemata", "L3:0=1ff\n", -EINVAL);
	SHOWS(&f, "info/last_cmd_status", "mask 1ff overlaps an exclusive group\n");
	PUTS(&f, "a/schemata", "L3:0=f80\n", -EINVAL);
	PUTS(&f, "a/schemata", "L3:0=f8000\n", -EINVAL); /* I/O's ways */
	PUTS(&f, "a/schemata", "L3:0=1f00\n", 0);
	assert_int_equal(make(f.r, "", "b"), 0); /* gets the first free run */
	SHOWS(&f, "b/schemata", "    L3:0=000ff;1=000ff\n");
	PUTS(&f, "a/mode", "shareable\n", 0);
	take_down(&f);
}

static void bad_schemata_change_nothing(void **state)
{
	static const char *const bad[] = {
		"",
		"L3:0=f",
		"\n",
		"L3\n",
		"L3:\n",
		"L3:0\n",
		"L3:0=\n",
		"L3:0=g\n",
		"L3:0=0\n",
		"L3:0=100000\n",
		"L3:0=5\n",
		"L3:2=f\n",
		"L3:x=f\n",
		"L3: 0=f\n",
		"L3:0=f;0=f\n",
		"L3:0=f\nL3:0=f\n",
		"L3:0=f\n\n",
		"L2:0=f\n",
		"L3:0=3;1=q\n",
		"L3:1=3;0=f;;\n",
		"L3:0=3\nL3:1=5\n",
		"l3:0=3\n",
		"L3:0=-1\n",
		"L3:0=3\nMB:0=50\n",
		"L3:0==3\n",
		"L3:0=1ffffffffffffffff\n",
		"L3:;0=3\n",
		"L3:-0=3\n",
	};
	struct fixture f;

	xeon(&f.m, 4);
	bring_up(&f, 4, CAT_INTEL);
	assert_int_equal(resctrl_mount(f.r, ""), 0);
	assert_int_equal(make(f.r, "", "a"), 0);
	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
		PUTS(&f, "a/schemata", bad[i], -EINVAL);
		SHOWS(&f, "a/schemata", "    L3:0=fffff;1=fffff\n");
		TRAFFIC(&f.m, "");
	}
	PUTS(&f, "a/schemata", " L3 :0= 3 ;1=0xf;\n", 0); /* white space and 0x where Linux has them */
	SHOWS(&f, "a/schemata", "    L3:0=00003;1=0000f\n");
	take_down(&f);
}

/* ---- colours
 * --------------------------------------------------------------------------------------------------
 */

struct allocator {
	unsigned colours;
	u64 mask[256];
	unsigned recoloured;
	bool stopped;
};

static int a_start(void *ctx, unsigned colours)
{
	((struct allocator *)ctx)->colours = colours;
	return 0;
}

static void a_set(void *ctx, unsigned cls, u64 mask)
{
	assert_true(mask);
	((struct allocator *)ctx)->mask[cls] = mask;
}

static void a_stop(void *ctx)
{
	((struct allocator *)ctx)->stopped = true;
}

static void a_recolour(void *ctx, unsigned cls, u64 mask)
{
	((struct allocator *)ctx)->recoloured++;
}

static const struct colour_allocator_ops allocator_ops = { a_start, a_set, a_stop, a_recolour, NULL };

static void colours_from_geometry(void **state)
{
	struct colour_cache c = { 1 << 20, 16, 64, 1, true };

	assert_int_equal(colour_count(&c), 16);
	c = (struct colour_cache){ 512 << 10, 8, 64, 1, true };
	assert_int_equal(colour_count(&c), 16);
	c = (struct colour_cache){ 32 << 10, 8, 64, 1, true };
	assert_int_equal(colour_count(&c), 1);
	c = (struct colour_cache){ 20 << 20, 20, 64, 8, true };
	assert_int_equal(colour_count(&c), 32);
	c.plain_index = false;
	assert_int_equal(colour_count(&c), 1);
	c = (struct colour_cache){ 1280 << 10, 20, 64, 1, true };
	assert_int_equal(colour_count(&c), 16);
	c = (struct colour_cache){ 0 };
	assert_int_equal(colour_count(&c), 1);
}

static void colours_through_the_same_files(void **state)
{
	struct machine tasks = { 0 };
	struct colour_machine m = { .l2 = { 1 << 20, 16, 64, 1, true },
				    .l3 = { 20 << 20, 20, 64, 8, true },
				    .l2_at = { 2, { { 4, 3 }, { 5, 12 } } },
				    .cpus = 0xf,
				    .kernel_colours = 2,
				    .is_guest = true };
	struct allocator a = { 0 };
	struct fixture f;
	struct colour_backend *b;
	unsigned cls;

	forget(&tasks);
	assert_int_equal(colour_backend_create(&m, &allocator_ops, &a, &b), 0);
	assert_int_equal(a.colours, 32);
	assert_int_equal(a.mask[COLOUR_KERNEL], 3);
	assert_int_equal(resctrl_create(colour_backend_get(b), &host_ops, &tasks, 4, 0xf, &f.r), 0);
	tasks.r = f.r;
	assert_int_equal(resctrl_mount(f.r, "cdp"), -EINVAL);
	assert_int_equal(resctrl_mount(f.r, ""), 0);
	SHOWS(&f, "schemata", "L2:4=0000ffff;5=0000ffff\nL3:0=ffffffff\n");
	SHOWS(&f, "info/L3/shareable_bits", "3\n");
	assert_int_equal(make(f.r, "", "a"), 0);
	PUTS(&f, "a/schemata", "L3:0=ff00f0\n", 0); /* holes are fine */
	cls = resctrl_class_of(f.r, 0, resctrl_group_find(f.r, "a"));
	assert_int_equal(a.mask[cls], 0xff00f0);
	assert_int_equal(a.recoloured, 1);
	SHOWS(&f, "info/last_cmd_status",
	      "ok: huge pages, which hold every colour, are refused to this group and split\n");
	PUTS(&f, "schemata", "L3:0=ffffffff\n", 0);
	SHOWS(&f, "info/last_cmd_status", "ok\n");
	PUTS(&f, "a/schemata", "L2:4=00f0\n", 0); /* page colours 4-7 and 20-23 */
	SHOWS(&f, "a/schemata", "L2:4=000000f0;5=000000f0\nL3:0=00ff00f0\n");
	PUTS(&f, "a/schemata", "L2:5=0f0;4=0ff\n", -EINVAL);
	SHOWS(&f, "info/last_cmd_status", "domains 5 and 4 of L2 cannot differ here: a page has one colour\n");
	assert_int_equal(a.mask[cls], 0xf000f0);
	assert_true(colour_backend_mask(b, cls) == 0xf000f0);
	PUTS(&f, "a/schemata", "L2:4=ff00\n", -EINVAL);
	SHOWS(&f, "info/last_cmd_status", "no page has a colour that both the L3 and the L2 mask allow\n");
	assert_int_equal(a.mask[cls], 0xf000f0);
	SHOWS(&f, "a/size", "L2:4=262144;5=262144\nL3:0=7864320\n");
	assert_non_null(strstr(get(f.r, "info/backend"), "32 page colours"));
	assert_non_null(strstr(get(f.r, "info/backend"), "not known here"));
	resctrl_umount(f.r);
	assert_true(a.mask[cls] == 0xffffffff);
	resctrl_destroy(f.r);
	colour_backend_destroy(b);
	assert_true(a.stopped);
	m = (struct colour_machine){ .cpus = 1 };
	assert_int_equal(colour_backend_create(&m, &allocator_ops, &a, &b), -ENODEV);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(boot_writes_full_masks_once_per_cache),
		cmocka_unit_test(schemata_reach_the_registers),
		cmocka_unit_test(code_and_data_apart),
		cmocka_unit_test(code_and_data_apart_in_l2),
		cmocka_unit_test(occupancy_and_traffic),
		cmocka_unit_test(monitor_groups),
		cmocka_unit_test(haswell_is_probed),
		cmocka_unit_test(caches_come_and_go),
		cmocka_unit_test(the_switch_writes_only_changes),
		cmocka_unit_test(amd_has_its_own_rules),
		cmocka_unit_test(bandwidth_rounds_up),
		cmocka_unit_test(groups_share_classes),
		cmocka_unit_test(the_default_group_keeps_class_0),
		cmocka_unit_test(tasks_and_cpus),
		cmocka_unit_test(directories),
		cmocka_unit_test(modes_and_usage),
		cmocka_unit_test(bad_schemata_change_nothing),
		cmocka_unit_test(colours_from_geometry),
		cmocka_unit_test(colours_through_the_same_files),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
