/* SPDX-License-Identifier: MIT
 *
 * Problem: the files named cgroup.* steer the tree itself.
 *
 * Idea: each is a function that shows and one that checks the whole text and then changes the tree under cgroup_lock.
 * Freezing is counted down the tree; the tasks are then told to look, and stop by themselves where they hold nothing.
 *
 * Contract: cgroup-v2.rst, "Core Interface Files". cgroup.events changes its version when its text does, so that poll
 * and inotify hear of it.
 *
 * Locks: cgroup_lock for what is changed.
 */
#include <lib/err.h>
#include <lib/string.h>
#include <task/task.h>
#include "cgroup_priv.h"
#include "trace.h"

/* ---- state ---- */

static int show_events(struct attr_dir *d, const struct attr *a, struct strbuf *out)
{
	struct tenant *t = d->owner;

	strbuf_add(out, "populated %d\nfrozen %d\n", atomic_read(&t->live) > 0, tenant_is_frozen(t));
	return 0;
}

static int show_stat(struct attr_dir *d, const struct attr *a, struct strbuf *out)
{
	struct cgroup *c = cgroup_of(d->owner);

	strbuf_add(out, "nr_descendants %llu\nnr_dying_descendants %llu\n", (unsigned long long)c->descendants,
		   (unsigned long long)READ_ONCE(c->dying));
	return 0;
}

static u64 *limit_of(struct attr_dir *d, const struct attr *a)
{
	struct cgroup *c = cgroup_of(d->owner);

	return a->data ? &c->max_depth : &c->max_descendants;
}

static int show_limit(struct attr_dir *d, const struct attr *a, struct strbuf *out)
{
	cgroup_show_limit(out, *limit_of(d, a), 1);
	return 0;
}

static int set_limit(struct attr_dir *d, const struct attr *a, char *text, size_t len)
{
	s64 v;
	int err;

	text = str_trim(text);
	err = strcmp(text, "max") ? str_to_s64(text, 0, &v) : 0;
	if (err)
		return err;
	if (strcmp(text, "max") && (v < 0 || v > 0x7fffffff))
		return -ERANGE;
	mutex_lock(&cgroup_lock);
	*limit_of(d, a) = strcmp(text, "max") ? (u64)v : ~0ULL;
	mutex_unlock(&cgroup_lock);
	return 0;
}

/* ---- for all tasks below ---- */

/* Parents before children. cgroup_lock held. */
static void for_each_below(struct cgroup *c, void (*fn)(struct cgroup *c, bool arg), bool arg)
{
	struct attr_dir *child;

	fn(c, arg);
	for_each_child_dir(child, c) for_each_below(cgroup_of(child->owner), fn, arg);
}

static void kill_own(struct cgroup *c, bool unused)
{
	struct cgroup_ids n;

	if (cgroup_ids_get(c->tenant, false, &n))
		return;
	for (unsigned i = 0; i < n.nr; i++) {
		struct process *p = process_of_pid(n.pid[i]);

		if (!p)
			continue;
		(void)signal_send_process(SIGKILL, NULL, p);
		process_put(p);
	}
	cgroup_ids_put(&n);
}

static int parse_switch(char *text, u64 *v)
{
	s64 n;
	int err = str_to_s64(str_trim(text), 0, &n);

	if (err)
		return err;
	if (n != 0 && n != 1)
		return -ERANGE;
	*v = (u64)n;
	return 0;
}

static void freeze_own(struct cgroup *c, bool on)
{
	struct cgroup_ids n;

	tenant_set_freezing(c->tenant, on);
	if (on && trace_on(cgroup_freeze))
		cgroup_trace(TRACE_cgroup_freeze, c);
	if (!on && trace_on(cgroup_unfreeze))
		cgroup_trace(TRACE_cgroup_unfreeze, c);
	if (cgroup_ids_get(c->tenant, true, &n))
		return; /* each still sees it at its next signal; -ENOMEM is not for who has already changed half the
			   tree */
	for (unsigned i = 0; i < n.nr; i++)
		signal_freeze_kick(n.pid[i]);
	cgroup_ids_put(&n);
}

static int show_freeze(struct attr_dir *d, const struct attr *a, struct strbuf *out)
{
	strbuf_add(out, "%d\n", cgroup_of(d->owner)->freeze);
	return 0;
}

static int apply_freeze(struct cgroup *c, bool on)
{
	if (c->freeze == on)
		return 0;
	c->freeze = on;
	for_each_below(c, freeze_own, on);
	return 0;
}

static int show_pressure(struct attr_dir *d, const struct attr *a, struct strbuf *out)
{
	strbuf_add(out, "%d\n", !cgroup_of(d->owner)->no_pressure);
	return 0;
}

static int apply_pressure(struct cgroup *c, bool on)
{
	c->no_pressure = !on;
	return cgroup_show_files(c, c->enabled);
}

static int apply_kill(struct cgroup *c, bool on)
{
	if (c->threaded)
		return -EOPNOTSUPP; /* it would kill threads of processes that are not its own */
	for_each_below(c, kill_own, true);
	return 0;
}

/* Files that take 0 or 1; kill takes 1. */
enum { FREEZE, PRESSURE, KILL };
static int (*const switches[])(struct cgroup *c, bool on) = { apply_freeze, apply_pressure, apply_kill };

static int set_switch(struct attr_dir *d, const struct attr *a, char *text, size_t len)
{
	u64 v;
	int err = parse_switch(text, &v);

	if (err || (a->data == KILL && !v))
		return err ? err : -ERANGE;
	mutex_lock(&cgroup_lock);
	err = d->removed ? -ENODEV : switches[a->data](cgroup_of(d->owner), v);
	mutex_unlock(&cgroup_lock);
	return err;
}

/* ---- the tables ---- */

#define FILE(id, text, bits, get, put, value) static CGROUP_FILE(file_##id, text, bits, get, put, value)

FILE(events, "cgroup.events", 0444, show_events, NULL, 0);
FILE(stat, "cgroup.stat", 0444, show_stat, NULL, 0);
FILE(depth, "cgroup.max.depth", 0644, show_limit, set_limit, 1);
FILE(descendants, "cgroup.max.descendants", 0644, show_limit, set_limit, 0);
FILE(freeze, "cgroup.freeze", 0644, show_freeze, set_switch, FREEZE);
FILE(pressure, "cgroup.pressure", 0644, show_pressure, set_switch, PRESSURE);
FILE(kill, "cgroup.kill", 0200, NULL, set_switch, KILL);

const struct attr *const cgroup_core_files[] = { &cgroup_file_type,
						 &cgroup_file_procs,
						 &cgroup_file_threads,
						 &cgroup_file_controllers,
						 &cgroup_file_control,
						 &file_events,
						 &file_descendants,
						 &file_depth,
						 &file_stat,
						 &file_freeze,
						 &file_kill,
						 &file_pressure,
						 NULL };
const struct attr *const cgroup_core_root_files[] = { &cgroup_file_procs,
						      &cgroup_file_threads,
						      &cgroup_file_controllers,
						      &cgroup_file_control,
						      &file_descendants,
						      &file_depth,
						      &file_stat,
						      NULL };

u64 cgroup_file_version(struct attr_dir *d, const struct attr *a)
{
	return a == &file_events ? READ_ONCE(cgroup_tenant(d)->version) + 1ULL : cgroup_memory_version(d, a);
}

/* ---- values of controllers ---- */

static int digit_of(char c)
{
	return c >= '0' && c <= '9' ? c - '0' : (c | 0x20) >= 'a' && (c | 0x20) <= 'f' ? (c | 0x20) - 'a' + 10 : 16;
}

/* Digits in C's notation, or none at all, and a suffix, each step 1024. What is too big wraps around. */
static int parse_bytes(const char *text, u64 *out)
{
	static const char steps[] = "kmgtpe";
	int base = 10;
	const char *step;
	u64 v = 0;

	if (*text == '0') {
		base = (text[1] | 0x20) == 'x' && digit_of(text[2]) < 16 ? 16 : 8;
		text += base == 16 ? 2 : 0;
	}
	for (; digit_of(*text) < base; text++)
		v = v * (u64)base + (u64)digit_of(*text);
	step = *text ? strchr(steps, *text | 0x20) : NULL;
	if (step)
		text++;
	if (*text)
		return -EINVAL;
	for (long n = step ? step - steps + 1 : 0; n > 0; n--)
		v <<= 10;
	*out = v;
	return 0;
}

int cgroup_parse_limit(char *text, u64 unit, u64 *out)
{
	u64 bytes;
	int err;

	text = str_trim(text);
	if (!strcmp(text, "max")) {
		*out = ~0ULL;
		return 0;
	}
	if (unit == 1) {
		s64 n;

		err = str_to_s64(text, 0, &n);
		if (!err && n < 0)
			err = -EINVAL;
		if (!err)
			*out = (u64)n;
		return err;
	}
	err = parse_bytes(text, &bytes);
	if (!err)
		*out = bytes > ~0ULL >> 1 ? ~0ULL : bytes / unit;
	return err;
}

void cgroup_show_limit(struct strbuf *out, u64 limit, u64 unit)
{
	if (limit > ~0ULL / unit || limit == ~0ULL)
		strbuf_add(out, "max\n");
	else
		strbuf_add(out, "%llu\n", (unsigned long long)(limit * unit));
}
