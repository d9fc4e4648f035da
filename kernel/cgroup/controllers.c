/* SPDX-License-Identifier: MIT
 *
 * Problem: tasks, memory and CPU time are counted in the tenant (task/tenant.h); people read and limit them by files.
 *
 * Idea: a share's fields are files. What a limit means is the charging code's; here a write only stores a number.
 * Memory has files of its own (memory.c).
 *
 * Contract: cgroup-v2.rst, "PID", "CPU". A limit below the present use is legal: it refuses what comes next.
 *
 * Locks: fields are single words; sums over the tree take cgroup_lock.
 */
#include <core/init.h>
#include <core/log.h>
#include <lib/err.h>
#include <lib/string.h>
#include <task/sched.h>
#include "cgroup_priv.h"

static struct cgroup_controller cpu; /* below: its bit decides what cpu.stat shows */

enum field { USE, PEAK, LIMIT, FAILURES };
#define SHARE_FIELD(resource, field) ((ulong)(resource) << 8 | (field))

static struct share *share_of(struct attr_dir *d, const struct attr *a)
{
	return &cgroup_tenant(d)->share[a->data >> 8];
}

static int show_field(struct attr_dir *d, const struct attr *a, struct strbuf *out)
{
	struct share *s = share_of(d, a);

	switch (a->data & 0xff) {
	case LIMIT: cgroup_show_limit(out, READ_ONCE(s->limit), 1); break;
	case PEAK: strbuf_add(out, "%llu\n", (unsigned long long)((u64)atomic_read(&s->peak))); break;
	case FAILURES: strbuf_add(out, "max %llu\n", (unsigned long long)atomic_read(&s->failures)); break;
	default: strbuf_add(out, "%llu\n", (unsigned long long)((u64)atomic_read(&s->use)));
	}
	return 0;
}

/* ---- tasks ---- */

static int set_pids_max(struct attr_dir *d, const struct attr *a, char *text, size_t len)
{
	u64 v;
	int err = cgroup_parse_limit(text, 1, &v);

	if (err)
		return err;
	if (v != ~0ULL && v > 4194304)
		return -EINVAL;
	WRITE_ONCE(share_of(d, a)->limit, v);
	return 0;
}

#define FILE(id, text, bits, get, put, value)                                                                          \
	static const struct attr file_##id = { .name = text, .mode = bits, .show = get, .set = put, .data = value }

FILE(pids_current, "pids.current", 0444, show_field, NULL, SHARE_FIELD(RES_PIDS, USE));
FILE(pids_peak, "pids.peak", 0444, show_field, NULL, SHARE_FIELD(RES_PIDS, PEAK));
FILE(pids_max, "pids.max", 0644, show_field, set_pids_max, SHARE_FIELD(RES_PIDS, LIMIT));
FILE(pids_events, "pids.events", 0444, show_field, NULL, SHARE_FIELD(RES_PIDS, FAILURES));

static void reset_pids(struct tenant *t)
{
	WRITE_ONCE(t->share[RES_PIDS].limit, ~0ULL);
}

static const struct attr *const pids_files[] = { &file_pids_current, &file_pids_peak, &file_pids_max, &file_pids_events,
						 NULL };
static struct cgroup_controller pids = {
	.name = "pids", .files = pids_files, .threaded = true, .disabled = reset_pids
};

/* ---- CPU time ---- */

void cgroup_add_use(struct tenant *t, struct tenant_use *sum)
{
	struct attr_dir *child;

	tenant_add_use(t, sum);
	list_for_each_entry (child, &cgroup_of(t)->dir.children, sibling)
		cgroup_add_use(child->owner, sum);
}

static int show_cpu_stat(struct attr_dir *d, const struct attr *a, struct strbuf *out)
{
	struct tenant_bandwidth *b = &cgroup_tenant(d)->bandwidth;
	struct tenant_use u = { 0 };

	mutex_lock(&cgroup_lock);
	cgroup_add_use(d->owner, &u);
	mutex_unlock(&cgroup_lock);
	strbuf_add(out, "usage_usec %llu\nuser_usec %llu\nsystem_usec %llu\n",
		   (unsigned long long)(u.ns / NSEC_PER_USEC), (unsigned long long)(u.user_ns / NSEC_PER_USEC),
		   (unsigned long long)(u.system_ns / NSEC_PER_USEC));
	if (cgroup_of(d->owner)->enabled & cpu.bit)
		strbuf_add(out,
			   "nr_periods %llu\nnr_throttled %llu\nthrottled_usec %llu\nnr_bursts %llu\nburst_usec %llu\n",
			   (unsigned long long)b->periods, (unsigned long long)b->throttled_times,
			   (unsigned long long)(b->throttled_ns / NSEC_PER_USEC), (unsigned long long)b->bursts,
			   (unsigned long long)(b->burst_used_ns / NSEC_PER_USEC));
	return 0;
}

FILE(cpu_stat, "cpu.stat", 0444, show_cpu_stat, NULL, 0);
const struct attr *const cgroup_stat_files[] = { &file_cpu_stat, NULL };

static int show_weight(struct attr_dir *d, const struct attr *a, struct strbuf *out)
{
	strbuf_add(out, "%llu\n", (unsigned long long)cgroup_tenant(d)->share[RES_CPU].weight);
	return 0;
}

static int set_weight(struct attr_dir *d, const struct attr *a, char *text, size_t len)
{
	u64 v;

	int err = str_to_u64(text, 0, &v);

	if (err)
		return err;
	if (v < 1 || v > 10000)
		return -ERANGE;
	if (cgroup_tenant(d)->cpu_idle)
		return -EINVAL;
	tenant_set_cpu_weight(d->owner, (u32)v);
	return 0;
}

/* The nice value whose weight is nearest. */
static int show_weight_nice(struct attr_dir *d, const struct attr *a, struct strbuf *out)
{
	u64 weight = cgroup_tenant(d)->share[RES_CPU].weight * 1024 / 100, best = ~0ULL;
	int nice = 0;

	for (int n = -20; n < 20; n++) {
		u64 w = sched_weight[n + 20], off = w > weight ? w - weight : weight - w;

		if (off < best) {
			best = off;
			nice = n;
		}
	}
	strbuf_add(out, "%d\n", nice);
	return 0;
}

static int set_weight_nice(struct attr_dir *d, const struct attr *a, char *text, size_t len)
{
	s64 nice;

	int err = str_to_s64(text, 0, &nice);

	if (err)
		return err;
	if (nice < -20 || nice > 19)
		return -ERANGE;
	if (cgroup_tenant(d)->cpu_idle)
		return -EINVAL;
	tenant_set_cpu_weight(d->owner, clamp((u32)(sched_weight[nice + 20] * 100ULL / 1024), 1U, 10000U));
	return 0;
}

static int show_idle(struct attr_dir *d, const struct attr *a, struct strbuf *out)
{
	strbuf_add(out, "%d\n", cgroup_tenant(d)->cpu_idle);
	return 0;
}

static int set_idle(struct attr_dir *d, const struct attr *a, char *text, size_t len)
{
	s64 v;
	int err = str_to_s64(text, 0, &v);

	if (err)
		return err;
	if (v != 0 && v != 1)
		return -EINVAL;
	if (cgroup_tenant(d)->cpu_idle != (bool)v)
		tenant_set_cpu_idle(d->owner, v);
	return 0;
}

static int show_max(struct attr_dir *d, const struct attr *a, struct strbuf *out)
{
	struct tenant_bandwidth *b = &cgroup_tenant(d)->bandwidth;

	if (b->quota_ns == ~0ULL)
		strbuf_add(out, "max %llu\n", (unsigned long long)(b->period_ns / NSEC_PER_USEC));
	else
		strbuf_add(out, "%llu %llu\n", (unsigned long long)(b->quota_ns / NSEC_PER_USEC),
			   (unsigned long long)(b->period_ns / NSEC_PER_USEC));
	return 0;
}

/* Decimal digits, as many as there are: *out is left alone if there are none. */
static bool digits(const char *at, u64 *out)
{
	if (*at < '0' || *at > '9')
		return false;
	for (*out = 0; *at >= '0' && *at <= '9'; at++)
		*out = min(*out, ~0ULL / 16) * 10 + (u64)(*at - '0');
	return true;
}

/* "QUOTA|max [PERIOD]", microseconds; without a period, or with a word that is none, it stays. */
static int set_max(struct attr_dir *d, const struct attr *a, char *text, size_t len)
{
	struct tenant_bandwidth *b = &cgroup_tenant(d)->bandwidth;
	u64 quota = ~0ULL, period = b->period_ns / NSEC_PER_USEC;
	char *second;

	text = str_trim(text);
	for (second = text; *second && *second != ' ' && *second != '\t' && *second != '\n';)
		second++;
	if (*second) {
		*second++ = '\0';
		(void)digits(str_trim(second), &period);
	}
	if (!digits(text, &quota) && strcmp(text, "max"))
		return -EINVAL;
	if ((quota != ~0ULL && quota > ~0ULL / NSEC_PER_USEC) || period > ~0ULL / NSEC_PER_USEC)
		return -EINVAL;
	return tenant_set_cpu_max(d->owner, quota == ~0ULL ? quota : quota * NSEC_PER_USEC, period * NSEC_PER_USEC,
				  b->burst_ns);
}

static int show_burst(struct attr_dir *d, const struct attr *a, struct strbuf *out)
{
	strbuf_add(out, "%llu\n", (unsigned long long)(cgroup_tenant(d)->bandwidth.burst_ns / NSEC_PER_USEC));
	return 0;
}

static int set_burst(struct attr_dir *d, const struct attr *a, char *text, size_t len)
{
	struct tenant_bandwidth *b = &cgroup_tenant(d)->bandwidth;
	u64 burst;
	int err = str_to_u64(text, 0, &burst);

	if (err || burst > ~0ULL / NSEC_PER_USEC)
		return err ? err : -EINVAL;
	return tenant_set_cpu_max(d->owner, b->quota_ns, b->period_ns, burst * NSEC_PER_USEC);
}

FILE(cpu_weight, "cpu.weight", 0644, show_weight, set_weight, 0);
FILE(cpu_weight_nice, "cpu.weight.nice", 0644, show_weight_nice, set_weight_nice, 0);
FILE(cpu_idle, "cpu.idle", 0644, show_idle, set_idle, 0);
FILE(cpu_max, "cpu.max", 0644, show_max, set_max, 0);
FILE(cpu_max_burst, "cpu.max.burst", 0644, show_burst, set_burst, 0);

static void reset_cpu(struct tenant *t)
{
	tenant_set_cpu_idle(t, false);
	ensure(!tenant_set_cpu_max(t, ~0ULL, 100 * NSEC_PER_MSEC, 0));
}

static const struct attr *const cpu_files[] = { &file_cpu_weight, &file_cpu_weight_nice, &file_cpu_idle,
						&file_cpu_max,    &file_cpu_max_burst,   NULL };
static struct cgroup_controller cpu = { .name = "cpu", .files = cpu_files, .threaded = true, .disabled = reset_cpu };

static void controllers_init(void)
{
	cgroup_controller_register(&cpu);
	cgroup_controller_register(&cgroup_memory);
	cgroup_controller_register(&pids);
}
PART_INIT(fs, controllers_init);
