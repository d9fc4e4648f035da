/* SPDX-License-Identifier: MIT
 *
 * Problem: people give shares of the GPU as they give shares of the CPU: by files of a control group.
 *
 * Idea: the files write the tenant's share and tell the devices; a guarantee is a part of the parent's guarantee (of
 * the whole GPU, in the first level), so it is refused if it is not there.
 *
 * Contract, as files of cgroup2 with the controller `gpu`; they take effect at the next job:
 *
 *   gpu.weight          1 to 10000, 100 is normal
 *   gpu.min             percent of the GPU that it gets whenever it wants them (up to four decimals), 0 is none.
 *                       ENOSPC: the parent has not so much left; EBUSY: its children have been promised more
 *   gpu.max             percent that it never exceeds, or max
 *   gpu.memory.max, .current, .peak   bytes of GPU memory, by the charge rule of virt/vgpu/resource.h
 *   gpu.memory.events   max N: charges refused
 *   gpu.stat            usage_usec, jobs, wait_usec (queued while others were served), throttled_usec (by its cap),
 *                       hangs
 *   gpu.pressure        as cpu.pressure: some (a part of the group waits while the GPU serves others, or for its cap),
 *                       full (and no part of it is served); thresholds can be polled for
 *
 * Locks: the tree's, while guarantees are added up.
 */
#include <cgroup/cgroup.h>
#include <core/init.h>
#include <core/log.h>
#include <lib/err.h>
#include <lib/string.h>
#include "gpu_priv.h"

static struct share *share_of(struct attr_dir *d)
{
	return &cgroup_tenant(d)->share[RES_GPU];
}

static int show_weight(struct attr_dir *d, const struct attr *a, struct strbuf *out)
{
	strbuf_add(out, "%llu\n", (unsigned long long)share_of(d)->weight);
	return 0;
}

/* Stores the value and tells the devices, or leaves everything as it was. Tree locked. */
static int change(struct tenant *t, u64 *field, u64 v)
{
	u64 old = *field;
	int err;

	WRITE_ONCE(*field, v);
	err = gpu_tenant_changed(t);
	if (err) {
		WRITE_ONCE(*field, old);
		ensure(!gpu_tenant_changed(t));
	}
	return err;
}

static int set_weight(struct attr_dir *d, const struct attr *a, char *text, size_t len)
{
	u64 v;
	int err = str_to_u64(str_trim(text), 10, &v);

	if (err)
		return err;
	if (v < 1 || v > VGPU_WEIGHT_MAX)
		return -ERANGE;
	cgroup_tree_lock();
	err = change(cgroup_tenant(d), &share_of(d)->weight, v);
	cgroup_tree_unlock();
	return err;
}

/* ---- percents ---- */

static void show_percent(struct strbuf *out, u64 millionths)
{
	strbuf_add(out, "%u.%04u\n", (u32)(millionths / 10000), (u32)(millionths % 10000));
}

/* "12.5", "12.5%": millionths. */
static int parse_percent(char *text, u64 *out)
{
	u64 whole = 0, part = 0, unit = 10000;
	char *p = str_trim(text);

	if (*p < '0' || *p > '9')
		return -EINVAL;
	for (; *p >= '0' && *p <= '9'; p++)
		if ((whole = whole * 10 + (*p - '0')) > 100)
			return -ERANGE;
	if (*p == '.')
		for (p++; *p >= '0' && *p <= '9' && unit > 1; p++)
			part += (*p - '0') * (unit /= 10);
	if (*p == '%')
		p++;
	if (*p)
		return -EINVAL;
	*out = whole * 10000 + part;
	return *out > VGPU_ONE ? -ERANGE : 0;
}

static u64 promised_below(struct tenant *t, const struct tenant *but)
{
	struct attr_dir *child;
	u64 sum = 0;

	list_for_each_entry (child, &cgroup_dir(t)->children, sibling)
		if (child->owner != but)
			sum += cgroup_tenant(child)->share[RES_GPU].guarantee;
	return sum;
}

static int check_min(struct tenant *t, u64 v)
{
	const struct share *s = &t->share[RES_GPU];
	u64 room = t->parent->parent ? t->parent->share[RES_GPU].guarantee : VGPU_ONE;

	if (s->cap && v > s->cap)
		return fail(EINVAL, "more than gpu.max");
	if (promised_below(t->parent, t) + v > room)
		return fail(ENOSPC, "the parent has not so much left");
	if (promised_below(t, NULL) > v)
		return fail(EBUSY, "the children have been promised more");
	return 0;
}

static int show_min(struct attr_dir *d, const struct attr *a, struct strbuf *out)
{
	show_percent(out, share_of(d)->guarantee);
	return 0;
}

static int set_min(struct attr_dir *d, const struct attr *a, char *text, size_t len)
{
	struct tenant *t = cgroup_tenant(d);
	u64 v;
	int err = parse_percent(text, &v);

	if (err)
		return err;
	cgroup_tree_lock();
	err = check_min(t, v);
	if (!err)
		err = change(t, &share_of(d)->guarantee, v);
	cgroup_tree_unlock();
	return err;
}

static int show_max(struct attr_dir *d, const struct attr *a, struct strbuf *out)
{
	if (share_of(d)->cap)
		show_percent(out, share_of(d)->cap);
	else
		strbuf_add(out, "max\n");
	return 0;
}

static int set_max(struct attr_dir *d, const struct attr *a, char *text, size_t len)
{
	u64 v = 0;
	int err = 0;

	text = str_trim(text);
	if (strcmp(text, "max")) {
		err = parse_percent(text, &v);
		if (!err && !v)
			err = -ERANGE; /* none at all is no share */
	}
	if (err)
		return err;
	cgroup_tree_lock();
	if (v && v < share_of(d)->guarantee)
		err = fail(EINVAL, "less than gpu.min");
	if (!err)
		err = change(cgroup_tenant(d), &share_of(d)->cap, v);
	cgroup_tree_unlock();
	return err;
}

/* ---- memory ---- */

static int show_memory(struct attr_dir *d, const struct attr *a, struct strbuf *out)
{
	const atomic64_t *v = a->data ? &share_of(d)->peak : &share_of(d)->use;

	strbuf_add(out, "%llu\n", (unsigned long long)atomic_read(v));
	return 0;
}

static int show_memory_max(struct attr_dir *d, const struct attr *a, struct strbuf *out)
{
	cgroup_show_limit(out, READ_ONCE(share_of(d)->limit), 1);
	return 0;
}

static int set_memory_max(struct attr_dir *d, const struct attr *a, char *text, size_t len)
{
	u64 pages;
	int err = cgroup_parse_limit(text, PAGE_SIZE, &pages);

	if (err)
		return err;
	WRITE_ONCE(share_of(d)->limit, pages == ~0ull ? pages : pages * PAGE_SIZE);
	return 0;
}

static int show_memory_events(struct attr_dir *d, const struct attr *a, struct strbuf *out)
{
	strbuf_add(out, "max %llu\n", (unsigned long long)atomic_read(&share_of(d)->failures));
	return 0;
}

static int show_stat(struct attr_dir *d, const struct attr *a, struct strbuf *out)
{
	struct gpu_totals sum;

	gpu_tenant_totals(cgroup_tenant(d), &sum);
	strbuf_add(out, "usage_usec %llu\njobs %llu\nwait_usec %llu\nthrottled_usec %llu\nhangs %llu\n",
		   (unsigned long long)atomic_read(&share_of(d)->total) / NSEC_PER_USEC, (unsigned long long)sum.jobs,
		   (unsigned long long)(sum.wait_ns / NSEC_PER_USEC),
		   (unsigned long long)(sum.capped_ns / NSEC_PER_USEC), (unsigned long long)sum.hangs);
	return 0;
}

#define FILE(id, text, bits, get, put, value)                                                                          \
	static const struct attr id = { .name = text, .mode = bits, .show = get, .set = put, .data = value }

FILE(weight, "gpu.weight", 0644, show_weight, set_weight, 0);
FILE(guarantee, "gpu.min", 0644, show_min, set_min, 0);
FILE(cap, "gpu.max", 0644, show_max, set_max, 0);
FILE(memory_max, "gpu.memory.max", 0644, show_memory_max, set_memory_max, 0);
FILE(memory_current, "gpu.memory.current", 0444, show_memory, NULL, 0);
FILE(memory_peak, "gpu.memory.peak", 0444, show_memory, NULL, 1);
FILE(memory_events, "gpu.memory.events", 0444, show_memory_events, NULL, 0);
FILE(stat, "gpu.stat", 0444, show_stat, NULL, 0);

static const struct attr pressure = {
	.name = "gpu.pressure", .mode = 0644, .file_ops = &cgroup_pressure_file_ops, .data = PSI_GPU
};

static const struct attr *const files[] = { &weight,      &guarantee,     &cap,  &memory_max, &memory_current,
					    &memory_peak, &memory_events, &stat, &pressure,   NULL };

/* The tree is locked. */
static void disabled(struct tenant *t)
{
	struct share *s = &t->share[RES_GPU];

	s->weight = VGPU_WEIGHT_NORMAL;
	s->guarantee = s->cap = 0;
	s->limit = ~0ull;
	if (gpu_tenant_changed(t))
		log_warn("gpu: a virtual GPU's guarantee outlives its group's");
}

static struct cgroup_controller controller = { .name = "gpu", .files = files, .disabled = disabled };

static void gpu_cgroup_init(void)
{
	cgroup_controller_register(&controller);
}
PART_INIT(bus, gpu_cgroup_init);
