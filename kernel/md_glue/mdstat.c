/* SPDX-License-Identifier: MIT
 *
 * Problem: people, mdadm and monitoring read the state of all arrays from /proc/mdstat, and wait there for changes.
 *
 * Idea: the text is made from what the arrays are now. poll tells an exception when something has changed since the
 * file was last read.
 *
 * Contract: the format of Linux 6.1, which mdadm parses:
 *
 *      Personalities : [raid6] [raid5] [raid4]
 *      md0 : active raid5 vdc[3] vdb[1] vda[0]
 *            129024 blocks super 1.2 level 5, 512k chunk, algorithm 2 [3/2] [UU_]
 *            [==>..................]  recovery = 12.6% (8192/64512) finish=0.1min speed=4096K/sec
 *
 *      unused devices: <none>
 *
 * Locks: each array's, one after the other.
 */
#include <core/clock.h>
#include <core/log.h>
#include <vfs/textfile.h>
#include "md_glue.h"

struct waitq md_stat_changed = WAITQ_INIT(md_stat_changed);
u32 md_stat_count;

static void add_disk(struct md_array *a, const struct md_disk *d, struct strbuf *out)
{
	u32 role = md_disk_role(a, d);

	strbuf_add(out, " %s[%u]", d->dev->name, d->sb.dev_number);
	if (role & 1U << MD_DISK_WRITEMOSTLY)
		strbuf_add(out, "(W)");
	if (role & 1U << MD_DISK_JOURNAL)
		strbuf_add(out, "(J)");
	if (role & 1U << MD_DISK_FAULTY)
		strbuf_add(out, "(F)");
	else if (d->slot == MD_NO_SLOT)
		strbuf_add(out, "(S)");
	else if (md_disk_is_heir(d))
		strbuf_add(out, "(R)");
}

static void add_layout(const struct md_array *a, struct strbuf *out)
{
	const struct md_geo *g = &a->geo;

	if (md_level_has_parity(g->level))
		strbuf_add(out, " level %d, %uk chunk, algorithm %u", g->level, g->chunk / 2, g->layout);
	else if (g->level == -1)
		strbuf_add(out, " %uk rounding", g->chunk / 2);
	else if (g->level != 1)
		strbuf_add(out, g->level == 0 ? " %uk chunks" : " %uK chunks", g->chunk / 2);
	if (g->level != 10)
		return;
	if (g->near > 1)
		strbuf_add(out, " %u near-copies", g->near);
	if (g->far > 1)
		strbuf_add(out, " %u %s-copies", g->far, g->offset ? "offset" : "far");
}

static void add_slots(const struct md_array *a, const struct md_status *st, struct strbuf *out)
{
	strbuf_add(out, " [%u/%u] [", a->geo.disks, (unsigned)__builtin_popcountll(st->in_sync));
	for (u32 i = 0; i < a->geo.disks; i++)
		strbuf_add(out, st->in_sync & BIT(i) ? "U" : "_");
	strbuf_add(out, "]");
}

static void add_progress(const struct md_array *a, const struct md_status *st, struct strbuf *out)
{
	u64 all = a->geo.member_sectors, at = min(st->sync_position, all), tenths = all ? at * 1000 / all : 0;
	u64 speed = md_speed(a, st);
	u64 minutes10 = (all - at) / 2 * 10 / (speed + 1) / 60;
	unsigned x = (unsigned)(tenths / 50);

	strbuf_add(out, "      [");
	for (unsigned i = 0; i < x; i++)
		strbuf_add(out, "=");
	strbuf_add(out, ">");
	for (unsigned i = x; i < 20; i++)
		strbuf_add(out, ".");
	strbuf_add(out, "]  %s =%3llu.%llu%% (%llu/%llu) finish=%llu.%llumin speed=%lluK/sec\n", md_sync_name(a, st),
		   (unsigned long long)tenths / 10, (unsigned long long)tenths % 10, (unsigned long long)at / 2,
		   (unsigned long long)all / 2, (unsigned long long)minutes10 / 10, (unsigned long long)minutes10 % 10,
		   (unsigned long long)speed);
}

/* In pages as Linux keeps it in memory: 2048 counters each. */
static void add_bitmap(const struct md_status *st, struct strbuf *out)
{
	u32 pages = DIV_ROUND_UP(st->bitmap_bits, 2048u), used = min(pages, DIV_ROUND_UP(st->bitmap_set, 2048u));

	strbuf_add(out, "bitmap: %u/%u pages [%uKB], %u%s chunk", used, pages, used * 4,
		   st->bitmap_chunk >= 1024 ? st->bitmap_chunk / 1024 : st->bitmap_chunk,
		   st->bitmap_chunk >= 1024 ? "KB" : "B");
}

static void add_array(struct md_array *a, struct strbuf *out)
{
	struct md_status st;
	struct md_disk *d;

	if (list_empty(&a->disks))
		return;
	md_snapshot(a, &st);
	strbuf_add(out, "%s : %s", a->block.name, a->running ? "active" : "inactive");
	if (a->running)
		strbuf_add(out, "%s %s", a->read_only ? " (read-only)" : "", md_level_name(a->geo.level));
	list_for_each_entry (d, &a->disks, entry)
		add_disk(a, d, out);
	strbuf_add(out, "\n");
	if (a->running) {
		strbuf_add(out, "      %llu blocks super 1.%u", (unsigned long long)a->geo.sectors / 2, a->super_minor);
		add_layout(a, out);
		if (a->geo.parity)
			add_slots(a, &st, out);
		strbuf_add(out, "\n");
		if (st.sync != MD_SYNC_NONE)
			add_progress(a, &st, out);
	}
	strbuf_add(out, "      ");
	if (st.bitmap)
		add_bitmap(&st, out);
	strbuf_add(out, "\n");
}

static int show(struct strbuf *out)
{
	strbuf_add(out, "Personalities : [linear] [raid0] [raid1] [raid10] [raid6] [raid5] [raid4] \n");
	for (unsigned i = MD_MAX_MINOR; i-- > 0;) {
		struct md_array *a = READ_ONCE(md_arrays[i]);

		if (!a)
			continue;
		mutex_lock(&a->lock);
		add_array(a, out);
		mutex_unlock(&a->lock);
	}
	strbuf_add(out, "unused devices: <none>\n");
	return 0;
}

static struct proc_file mdstat = {
	.name = "mdstat", .show = show, .changed = &md_stat_changed, .change_count = &md_stat_count
};

void md_stat_init(void)
{
	proc_file_register(&mdstat);
}
