/* SPDX-License-Identifier: MIT
 *
 * Problem: people divide a disk among tenants by the files io.*, and scripts depend on what Linux makes of odd values.
 *
 * Idea: values belong to a node, a tenant at a disk (tenants.c); the default weight is the tenant's. Texts are read as
 * Linux reads them, by its scanf's rules: a number ends where digits end, and wraps around.
 *
 * Contract: cgroup-v2.rst, "IO Interface Files":
 *   io.stat     a line a disk: MAJ:MIN rbytes= wbytes= rios= wios= dbytes= dios=, with all below; the root's is the
 * disk's io.weight   "[default] N" or "MAJ:MIN N|default", 1 to 10000 io.max      MAJ:MIN and some of rbps= wbps=
 * riops= wiops=, each a number or max io.latency  MAJ:MIN target=MICROSECONDS|max EINVAL, ERANGE; ENODEV: no such disk,
 * or a partition of one.
 *
 * Locks: share->lock for a node; block_shares_lock while the shares are walked.
 */
#include <core/clock.h>
#include <core/init.h>
#include <lib/err.h>
#include <lib/string.h>
#include <vfs/device.h>

#include "block_priv.h"
#include "tenants.h"

#define ULL(v) ((unsigned long long)(v))

static const char *const limit_names[IO_LIMITS] = { "rbps", "wbps", "riops", "wiops" };

/* ---- texts ------------------------------------------------------------------------------------------------------ */

static bool is_blank(char c)
{
	return c == ' ' || (c >= '\t' && c <= '\r');
}

static char *skip_blanks(char *s)
{
	while (is_blank(*s))
		s++;
	return s;
}

static bool number(char **at, u64 *v)
{
	char *s = skip_blanks(*at);

	if (*s < '0' || *s > '9')
		return false;
	for (*v = 0; *s >= '0' && *s <= '9'; s++)
		*v = *v * 10 + (u64)(*s - '0');
	*at = s;
	return true;
}

/* "MAJ:MIN " and what follows. The disk is counted. */
static int parse_disk(char *text, struct block_dev **disk, char **rest)
{
	u64 major, minor;
	struct block_dev *d;

	if (!number(&text, &major) || *text++ != ':' || !number(&text, &minor) || !is_blank(*text))
		return -EINVAL;
	*rest = skip_blanks(text);
	d = (u32)major < 4096 && (u32)minor < 1 << 20 ? block_find(DEV((u32)major, (u32)minor)) : NULL;
	if (d && d->whole != d) {
		block_put(d);
		d = NULL;
	}
	*disk = d;
	return d ? 0 : -ENODEV;
}

/* The next word, cut off at a blank; NULL: no more. */
static char *next_word(char **at)
{
	char *word = skip_blanks(*at), *end = word;

	while (*end && !is_blank(*end))
		end++;
	*at = *end ? end + 1 : end;
	*end = '\0';
	return *word ? word : NULL;
}

/* ---- nodes ------------------------------------------------------------------------------------------------------- */

/* Calls fn for each disk at which t has a node, with its lock held. */
static void for_each_node(struct tenant *t, void (*fn)(struct block_share *s, struct tenant_disk *d, void *arg),
			  void *arg)
{
	struct block_share *s;

	spin_lock(&block_shares_lock);
	list_for_each_entry (s, &block_shares, link) {
		ulong irq = spin_lock_irqsave(&s->lock);
		struct tenant_disk *d = block_tenant_find(s, t->id);

		if (d)
			fn(s, d, arg);
		spin_unlock_irqrestore(&s->lock, irq);
	}
	spin_unlock(&block_shares_lock);
}

/* Changes a tenant's node at a disk, and lets go what may now. */
static int change(struct tenant *t, struct block_dev *disk,
		  void (*fn)(struct block_share *s, struct tenant_disk *d, const u64 *v), const u64 *v)
{
	struct block_share *s = disk->share;
	ulong irq = spin_lock_irqsave(&s->lock);
	struct tenant_disk *d = block_tenant_node(s, t);

	if (d)
		fn(s, d, v);
	spin_unlock_irqrestore(&s->lock, irq);
	block_tenants_run(s);
	block_put(disk);
	return d ? 0 : -ENOMEM;
}

static void add_number(const struct block_share *s, struct strbuf *out)
{
	strbuf_add(out, "%u:%u", DEV_MAJOR(s->dev->rdev), DEV_MINOR(s->dev->rdev));
}

/* ---- io.stat ------------------------------------------------------------------------------------------------------
 */

static void show_stats(const struct block_share *s, const struct io_stats *n, struct strbuf *out)
{
	u64 any = 0;

	for (unsigned k = 0; k < IO_STATS; k++)
		any |= n->bytes[k] | n->ops[k];
	if (!any)
		return;
	add_number(s, out);
	strbuf_add(out, " rbytes=%llu wbytes=%llu rios=%llu wios=%llu dbytes=%llu dios=%llu\n",
		   ULL(n->bytes[IO_STAT_READ]), ULL(n->bytes[IO_STAT_WRITE]), ULL(n->ops[IO_STAT_READ]),
		   ULL(n->ops[IO_STAT_WRITE]), ULL(n->bytes[IO_STAT_DISCARD]), ULL(n->ops[IO_STAT_DISCARD]));
}

static void stat_node(struct block_share *s, struct tenant_disk *d, void *out)
{
	show_stats(s, &d->stats, out);
}

static int show_stat(struct attr_dir *d, const struct attr *a, struct strbuf *out)
{
	for_each_node(cgroup_tenant(d), stat_node, out);
	return 0;
}

static int show_root_stat(struct attr_dir *dir, const struct attr *a, struct strbuf *out)
{
	struct block_share *s;

	spin_lock(&block_shares_lock);
	list_for_each_entry (s, &block_shares, link) {
		const struct block_stats *b = &s->dev->stats; /* rows: read, write, discard */
		struct io_stats n;

		for (unsigned k = 0; k < IO_STATS; k++) {
			static const u8 row[IO_STATS] = {
				[IO_STAT_READ] = 0, [IO_STAT_WRITE] = 1, [IO_STAT_DISCARD] = 2
			};

			n.bytes[k] = (u64)atomic_read(&b->sectors[row[k]]) << SECTOR_SHIFT;
			n.ops[k] = (u64)atomic_read(&b->ios[row[k]]);
		}
		show_stats(s, &n, out);
	}
	spin_unlock(&block_shares_lock);
	return 0;
}

/* ---- io.weight ----------------------------------------------------------------------------------------------------
 */

static void show_own_weight(struct block_share *s, struct tenant_disk *d, void *out)
{
	if (!d->weight)
		return;
	add_number(s, out);
	strbuf_add(out, " %u\n", d->weight);
}

static int show_weight(struct attr_dir *d, const struct attr *a, struct strbuf *out)
{
	strbuf_add(out, "default %llu\n", ULL(cgroup_tenant(d)->share[RES_IO].weight));
	for_each_node(cgroup_tenant(d), show_own_weight, out);
	return 0;
}

static bool is_weight(u64 v)
{
	return v >= 1 && v <= 10000;
}

static void set_own_weight(struct block_share *s, struct tenant_disk *d, const u64 *v)
{
	d->weight = (u32)v[0];
	io_set_weight(&d->node, (u32)(v[0] ? v[0] : v[1]));
}

static void follow_default(struct block_share *s, struct tenant_disk *d, void *weight)
{
	if (!d->weight)
		io_set_weight(&d->node, *(u32 *)weight);
}

static int set_default_weight(struct tenant *t, char *text)
{
	u32 weight;
	u64 v;

	if (!strncmp(text, "default", 7))
		text += 7;
	if (!number(&text, &v) || !is_weight((u32)v))
		return -EINVAL;
	t->share[RES_IO].weight = weight = (u32)v;
	for_each_node(t, follow_default, &weight);
	return 0;
}

static int set_weight(struct attr_dir *dir, const struct attr *a, char *text, size_t len)
{
	struct tenant *t = cgroup_tenant(dir);
	u64 v[2] = { 0, t->share[RES_IO].weight };
	struct block_dev *disk;
	int err;

	if (!strchr(text, ':'))
		return set_default_weight(t, text);
	err = parse_disk(text, &disk, &text);
	if (err)
		return err;
	if (strncmp(text, "default", 7) && (!number(&text, &v[0]) || !is_weight(v[0] = (u32)v[0]))) {
		block_put(disk);
		return -EINVAL;
	}
	return change(t, disk, set_own_weight, v);
}

/* ---- io.max ---------------------------------------------------------------------------------------------------------
 */

static void show_limits(struct block_share *s, struct tenant_disk *d, void *out)
{
	bool any = false;

	for (enum io_limit l = 0; l < IO_LIMITS; l++)
		any |= d->node.limit[l].rate != IO_NO_LIMIT;
	if (!any)
		return;
	add_number(s, out);
	for (enum io_limit l = 0; l < IO_LIMITS; l++)
		if (d->node.limit[l].rate == IO_NO_LIMIT)
			strbuf_add(out, " %s=max", limit_names[l]);
		else
			strbuf_add(out, " %s=%llu", limit_names[l], ULL(d->node.limit[l].rate));
	strbuf_add(out, "\n");
}

static int show_max(struct attr_dir *d, const struct attr *a, struct strbuf *out)
{
	for_each_node(cgroup_tenant(d), show_limits, out);
	return 0;
}

static void set_limits(struct block_share *s, struct tenant_disk *d, const u64 *v)
{
	for (enum io_limit l = 0; l < IO_LIMITS; l++)
		if (v[l])
			io_set_limit(&s->q, &d->node, l, v[l], clock_ns());
}

/* "rbps=N": v[IO_READ_BYTES]. */
static int parse_limit(char *word, u64 *v)
{
	char *value = strchr(word, '='), *end;
	u64 n = IO_NO_LIMIT;

	if (strlen(word) > 26 || !value)
		return -EINVAL;
	*value++ = '\0';
	end = value;
	if (!number(&end, &n) && strcmp(value, "max"))
		return -EINVAL;
	if (!n)
		return -ERANGE;
	if (!strcmp(word, "idle") || !strcmp(word, "latency"))
		return 0; /* Linux takes them, for a limit that it does not have either */
	for (enum io_limit l = 0; l < IO_LIMITS; l++)
		if (!strcmp(word, limit_names[l]) && n > 1) {
			v[l] = l >= IO_READ_OPS && n >= UINT32_MAX ? IO_NO_LIMIT : n;
			return 0;
		}
	return -EINVAL;
}

static int set_max(struct attr_dir *dir, const struct attr *a, char *text, size_t len)
{
	u64 v[IO_LIMITS] = { 0 };
	struct block_dev *disk;
	char *word;
	int err = parse_disk(text, &disk, &text);

	if (err)
		return err;
	while (!err && (word = next_word(&text)))
		err = parse_limit(word, v);
	if (err) {
		block_put(disk);
		return err;
	}
	return change(cgroup_tenant(dir), disk, set_limits, v);
}

/* ---- io.latency -----------------------------------------------------------------------------------------------------
 */

static void show_target(struct block_share *s, struct tenant_disk *d, void *out)
{
	if (!d->node.target_ns)
		return;
	add_number(s, out);
	strbuf_add(out, " target=%llu\n", ULL(d->node.target_ns / NSEC_PER_USEC));
}

static int show_latency(struct attr_dir *d, const struct attr *a, struct strbuf *out)
{
	for_each_node(cgroup_tenant(d), show_target, out);
	return 0;
}

static void set_target(struct block_share *s, struct tenant_disk *d, const u64 *v)
{
	d->node.target_ns = *v;
}

static int set_latency(struct attr_dir *dir, const struct attr *a, char *text, size_t len)
{
	struct block_dev *disk;
	u64 us = 0;
	char *word;
	int err = parse_disk(text, &disk, &text);

	if (err)
		return err;
	for (unsigned n = 0; !err && ((word = next_word(&text)) || !n); n++) {
		char *value = word && !strncmp(word, "target=", 7) ? word + 7 : NULL;

		if (!value || (strcmp(value, "max") && !number(&value, &us)))
			err = -EINVAL;
	}
	if (err) {
		block_put(disk);
		return err;
	}
	us = min(us, ~0ULL / NSEC_PER_USEC) * NSEC_PER_USEC;
	return change(cgroup_tenant(dir), disk, set_target, &us);
}

/* ---- the tables
 * ------------------------------------------------------------------------------------------------------ */

#define FILE(id, text, bits, get, put)                                                                                 \
	static const struct attr id = { .name = text, .mode = bits, .show = get, .set = put }
FILE(file_stat, "io.stat", 0444, show_stat, NULL);
FILE(file_root_stat, "io.stat", 0444, show_root_stat, NULL);
FILE(file_weight, "io.weight", 0644, show_weight, set_weight);
FILE(file_max, "io.max", 0644, show_max, set_max);
FILE(file_latency, "io.latency", 0644, show_latency, set_latency);

static void reset(struct tenant *t)
{
	t->share[RES_IO].weight = IO_WEIGHT_DEFAULT;
	block_tenant_gone(t);
}

static const struct attr *const files[] = { &file_stat, &file_weight, &file_max, &file_latency, NULL };
static const struct attr *const root_files[] = { &file_root_stat, NULL };
struct cgroup_controller block_controller = {
	.name = "io", .files = files, .root_files = root_files, .disabled = reset, .used = block_tenants_use
};
static struct tenant_watcher watcher = { .removed = block_tenant_gone };

static void block_cgroup_init(void)
{
	cgroup_controller_register(&block_controller);
	tenant_watcher_register(&watcher);
}
PART_INIT(fs, block_cgroup_init);
