/* SPDX-License-Identifier: MIT
 *
 * Problem: any user who may write a control file may write anything into it, and a partition that
 * is half applied or that two views tell differently is worse than a refusal.
 *
 * Idea: the input is a script of operations: make and remove groups, write raw bytes or generated
 * lines into the files. After every operation the properties hold: a refused write left every text
 * and every enforced value as it was; CPUs are in exactly one group; what the back end was told
 * equals what the files say; exclusive groups overlap nobody.
 *
 * Contract: libFuzzer entry; aborts on a broken property. Locks: none.
 */
#include <stdlib.h>
#include <core/log.h>
#include <lib/err.h>
#include <lib/string.h>
#include <resctrl/resctrl.h>

#define CPUS 6

struct model {
	struct resctrl_backend be;
	u32 told[RESCTRL_MAX_CLASSES][RESCTRL_NR][3][RESCTRL_MAX_DOMAINS];
	u16 task[8];
};

static void set(struct resctrl_backend *be, unsigned cls, enum resctrl_resource_id id, enum resctrl_half half,
		unsigned domain, u32 value)
{
	struct model *m = container_of(be, struct model, be);

	ensure(cls < (unsigned)be->res[id].num_classes >> be->res[id].cdp_on);
	ensure(domain < be->res[id].nr_domains);
	ensure(m->told[cls][id][half][domain] != value);
	m->told[cls][id][half][domain] = value;
}

static int set_cdp(struct resctrl_backend *be, enum resctrl_resource_id id, bool on)
{
	struct model *m = container_of(be, struct model, be);

	/* registers change their meaning while all are full */
	for (int cls = 0; cls < RESCTRL_MAX_CLASSES; cls++)
		for (int half = 0; half < 3; half++)
			for (int d = 0; d < RESCTRL_MAX_DOMAINS; d++)
				ensure(m->told[cls][id][half][d] == BIT(be->res[id].width) - 1);
	return 0;
}

static void describe(struct resctrl_backend *be, struct strbuf *out)
{
	strbuf_add(out, "model\n");
}

static int count(struct resctrl_backend *be, unsigned tag, unsigned domain, enum resctrl_event e, u64 *bytes)
{
	ensure(tag < be->mon.num_tags && be->mon.events >> e & 1);
	*bytes = tag * 100;
	return tag == 3 ? -EIO : 0;
}

static void forget(struct resctrl_backend *be, unsigned tag)
{
	ensure(tag < be->mon.num_tags);
}

static const struct resctrl_backend_ops be_ops = {
	.set = set, .set_cdp = set_cdp, .describe = describe, .count = count, .forget = forget
};

static int task_move(void *ctx, s32 tid, u16 group, u16 within)
{
	struct model *m = ctx;

	if (tid >= 8)
		return -ESRCH;
	m->task[tid] = group;
	return 0;
}

static void tasks_move_all(void *ctx, u16 from, u16 to)
{
	struct model *m = ctx;

	for (int i = 0; i < 8; i++)
		if (m->task[i] == from)
			m->task[i] = to;
}

static bool task_next(void *ctx, u16 group, s32 *tid)
{
	struct model *m = ctx;

	for (s32 t = *tid + 1; t < 8; t++)
		if (m->task[t] == group) {
			*tid = t;
			return true;
		}
	return false;
}

static void refresh(void *ctx, u16 group, u64 cpus)
{
}

static const struct resctrl_host_ops host_ops = { task_move, tasks_move_all, task_next, refresh };

static const char *const group_names[] = { "", "a/", "b/", "c/", "d/", "e/" };
static const char *const monitor_names[] = { "mon_groups/m/", "a/mon_groups/m/", "b/mon_groups/m/" };
static const char *const file_names[] = { "schemata", "cpus", "cpus_list", "tasks", "mode" };

static void read_file(struct resctrl *r, const char *dir, const char *file, struct strbuf *out)
{
	struct resctrl_node n;
	char path[32];

	str_format(path, sizeof(path), "%s%s", dir, file);
	if (!resctrl_lookup(r, path, &n))
		ensure(!resctrl_show(r, &n, out));
}

static void snapshot(struct resctrl *r, struct strbuf *out)
{
	for (unsigned g = 0; g < ARRAY_SIZE(group_names); g++)
		for (unsigned f = 0; f < ARRAY_SIZE(file_names); f++)
			read_file(r, group_names[g], file_names[f], out);
	for (unsigned g = 0; g < ARRAY_SIZE(monitor_names); g++)
		for (unsigned f = 1; f < 4; f++)
			read_file(r, monitor_names[g], file_names[f], out);
	read_file(r, "", "info/L3/bit_usage", out);
	read_file(r, "a/", "mon_data/mon_L3_00/llc_occupancy", out);
	ensure(!out->truncated);
}

static u64 cpus_of(struct resctrl *r, const char *dir)
{
	char text[32] = "0";
	struct strbuf sb;
	u64 v;

	strbuf_init(&sb, text, sizeof(text));
	read_file(r, dir, "cpus", &sb);
	ensure(!*text || !str_to_u64(text, 16, &v));
	return *text ? v : 0;
}

/* Reading a schemata line back must give what the back end was told for the group's class. */
static void check_told(struct resctrl *r, struct model *m, const char *dir, const char *row, int id, int half)
{
	char text[512], name[8];
	struct strbuf sb;
	const char *line, *p;
	unsigned cls, gid = 0;

	if (*dir) {
		str_format(name, sizeof(name), "%.*s", (int)strlen(dir) - 1, dir);
		if (resctrl_group_find(r, name) < 0)
			return;
		gid = resctrl_group_find(r, name);
	}
	cls = gid ? resctrl_class_of(r, 0, gid) : 0;
	strbuf_init(&sb, text, sizeof(text));
	read_file(r, dir, "schemata", &sb);
	line = strstr(text, row);
	if (!line)
		return;
	p = strchr(line, ':');
	for (unsigned d = 0; d < m->be.res[id].nr_domains; d++) {
		p = strchr(p, '=') + 1;
		ensure(strtoul(p, NULL, 16) == m->told[cls][id][half][d]);
	}
}

static void check(struct resctrl *r, struct model *m)
{
	u64 all = 0;

	for (unsigned g = 0; g < ARRAY_SIZE(group_names); g++) {
		u64 cpus = cpus_of(r, group_names[g]);

		ensure(!(all & cpus));
		all |= cpus;
		check_told(r, m, group_names[g], "L3:", RESCTRL_L3, RESCTRL_BOTH);
		check_told(r, m, group_names[g], "L3DATA:", RESCTRL_L3, RESCTRL_DATA);
		check_told(r, m, group_names[g], "L3CODE:", RESCTRL_L3, RESCTRL_CODE);
		check_told(r, m, group_names[g], "L2:", RESCTRL_L2, RESCTRL_BOTH);
	}
	ensure(all == BIT(CPUS) - 1);
	for (unsigned g = 0; g < ARRAY_SIZE(monitor_names); g++)
		ensure(!(cpus_of(r, monitor_names[g]) & ~cpus_of(r, group_names[g])));
}

struct input {
	const u8 *p, *end;
};

static u8 take(struct input *in)
{
	return in->p < in->end ? *in->p++ : 0;
}

/* A line that is nearly right. */
static void generate(struct input *in, struct strbuf *out)
{
	static const char *const row[] = { "L3", "L3DATA", "L3CODE", "L2", "MB", " L3 ", "" };
	static const char *const sep[] = { ";", ";", ";", "", ";;", "\n", "," };
	unsigned n = take(in) % 4;

	strbuf_add(out, "%s:", row[take(in) % ARRAY_SIZE(row)]);
	for (unsigned i = 0; i < n; i++) {
		unsigned first = take(in) % 12, bits = take(in) % 12;
		u32 mask = ((1u << bits) - 1) << first;

		strbuf_add(out, "%u=%x%s", take(in) % 3, mask, i + 1 < n ? sep[take(in) % ARRAY_SIZE(sep)] : "");
	}
	strbuf_add(out, take(in) % 16 ? "\n" : "");
}

static void write_something(struct resctrl *r, struct input *in)
{
	static char before[16384], after[16384];
	u8 where = take(in);
	const char *dir = where & 0x80 ? monitor_names[where % ARRAY_SIZE(monitor_names)]
				       : group_names[where % ARRAY_SIZE(group_names)];
	u8 how = take(in);
	char path[32], text[256];
	struct resctrl_node n;
	struct strbuf sb, a, b;
	size_t len;

	str_format(path, sizeof(path), "%s%s", dir, file_names[how % ARRAY_SIZE(file_names)]);
	if (resctrl_lookup(r, path, &n))
		return;
	strbuf_init(&sb, text, sizeof(text));
	if (how & 0x80) {
		len = min((size_t)take(in) % 64, (size_t)(in->end - in->p));
		strbuf_put(&sb, (const char *)in->p, len);
		in->p += len;
	} else if (how % ARRAY_SIZE(file_names) == 4) {
		strbuf_add(&sb, "%s", take(in) & 1 ? "exclusive\n" : "shareable\n");
	} else if (how % ARRAY_SIZE(file_names)) {
		strbuf_add(&sb, "%x\n", take(in));
	} else {
		generate(in, &sb);
	}
	strbuf_init(&a, before, sizeof(before));
	snapshot(r, &a);
	if (!resctrl_store(r, &n, text, sb.len))
		return;
	strbuf_init(&b, after, sizeof(after));
	snapshot(r, &b);
	ensure(!strcmp(before, after));
}

static void run(struct resctrl *r, struct model *m, struct input *in)
{
	while (in->p < in->end) {
		u8 op = take(in);
		char name[2] = { "abcde"[op / 8 % 5], 0 };
		struct resctrl_node n;

		if (op % 8 == 0 && !resctrl_lookup(r, "", &n))
			(void)!resctrl_mkdir(r, &n, name);
		else if (op % 8 == 2 && !resctrl_lookup(r, op & 8 ? "a/mon_groups" : "mon_groups", &n))
			(void)!resctrl_mkdir(r, &n, "m");
		else if (op % 8 == 3 && !resctrl_lookup(r, op & 8 ? "a/mon_groups/m" : "mon_groups/m", &n))
			(void)!resctrl_rmdir(r, &n);
		else if (op % 8 == 1 && !resctrl_lookup(r, name, &n))
			(void)!resctrl_rmdir(r, &n);
		else
			write_something(r, in);
		check(r, m);
	}
}

int LLVMFuzzerTestOneInput(const u8 *data, size_t size);
int LLVMFuzzerTestOneInput(const u8 *data, size_t size)
{
	static struct model m;
	struct input in = { data, data + size };
	u8 flags = take(&in);
	struct resctrl *r;

	m = (struct model){ .be.ops = &be_ops };
	m.be.res[RESCTRL_L3] = (struct resctrl_resource){ .present = true,
							  .cdp_capable = true,
							  .width = 11,
							  .min_bits = 1 + (flags >> 2 & 1),
							  .num_classes = 6,
							  .shared_bits = 0x600,
							  .nr_domains = 2,
							  .domain = { { 0, 7, 1 << 20 }, { 1, 56, 1 << 20 } } };
	m.be.res[RESCTRL_L2] = (struct resctrl_resource){ .present = flags & 2,
							  .sparse = true,
							  .width = 8,
							  .tied = flags & 8,
							  .num_classes = 4,
							  .nr_domains = 2,
							  .domain = { { 0, 15, 1 << 20 }, { 3, 48, 1 << 20 } } };
	if (flags & 16)
		m.be.mon = (struct resctrl_monitor){ .events = 6, .num_tags = 6, .unit = 64, .l3_bytes = 1200 };
	for (int id = 0; id < RESCTRL_MB; id++)
		for (int i = 0; i < RESCTRL_MAX_CLASSES * 3 * RESCTRL_MAX_DOMAINS; i++)
			m.told[i / (3 * RESCTRL_MAX_DOMAINS)][id][i / RESCTRL_MAX_DOMAINS % 3]
			      [i % RESCTRL_MAX_DOMAINS] = BIT(m.be.res[id].width) - 1;
	if (resctrl_create(&m.be, &host_ops, &m, CPUS, BIT(CPUS) - 1, &r))
		return 0;
	ensure(!resctrl_mount(r, flags & 1 ? "cdp" : ""));
	run(r, &m, &in);
	resctrl_destroy(r);
	for (int i = 0; i < 8; i++)
		ensure(m.task[i] == 0);
	return 0;
}
