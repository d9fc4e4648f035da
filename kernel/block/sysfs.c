/* SPDX-License-Identifier: MIT
 *
 * Problem: lsblk, fio, iostat, mdadm and udev learn what a disk can do from files under /sys/block, and tune it there.
 *
 * Idea: one table of files a disk or partition, one for its queue/ folder. Most of them are one number found at an
 * offset in struct block_dev, so that a row of the table is all there is to write.
 *
 * Contract: names and formats of Documentation/ABI/stable/sysfs-block of Linux 6.1. Files of features that are not
 * there (dax, zones) say so as Linux does.
 *
 * Locks: none; numbers are single words, counters atomic.
 */
#include <block/block.h>
#include <core/log.h>
#include <lib/err.h>
#include <lib/string.h>
#include <vfs/device.h>

#include "block_priv.h"

static struct block_dev *dev_of(struct attr_dir *dir)
{
	return dir->owner;
}

/* ---- the disk's or partition's own files -------------------------------------------------------- */

static int show_dev(struct attr_dir *dir, const struct attr *a, struct strbuf *out)
{
	u32 rdev = dev_of(dir)->rdev;

	strbuf_add(out, "%u:%u\n", DEV_MAJOR(rdev), DEV_MINOR(rdev));
	return 0;
}

static int show_size(struct attr_dir *dir, const struct attr *a, struct strbuf *out)
{
	strbuf_add(out, "%llu\n", (unsigned long long)dev_of(dir)->sectors);
	return 0;
}

static int show_start(struct attr_dir *dir, const struct attr *a, struct strbuf *out)
{
	strbuf_add(out, "%llu\n", (unsigned long long)dev_of(dir)->start);
	return 0;
}

static int show_partition(struct attr_dir *dir, const struct attr *a, struct strbuf *out)
{
	strbuf_add(out, "%u\n", dev_of(dir)->partition);
	return 0;
}

static int show_read_only(struct attr_dir *dir, const struct attr *a, struct strbuf *out)
{
	strbuf_add(out, "%d\n", block_is_read_only(dev_of(dir)));
	return 0;
}

/* A file whose content never changes: the table's data is the text. */
static int show_text(struct attr_dir *dir, const struct attr *a, struct strbuf *out)
{
	strbuf_add(out, "%s\n", (const char *)a->data);
	return 0;
}

static u64 count(const atomic64_t *c, unsigned row)
{
	return atomic_read(&c[row]);
}

void block_stat_line(struct block_dev *d, struct strbuf *out)
{
	static const u8 order[] = { 0, 1, 2 };
	const struct block_stats *s = &d->stats;

	for (unsigned i = 0; i < ARRAY_SIZE(order); i++) {
		unsigned r = order[i];

		strbuf_add(out, "%llu %llu %llu %llu ", (unsigned long long)count(s->ios, r),
			   (unsigned long long)count(s->merges, r), (unsigned long long)count(s->sectors, r),
			   (unsigned long long)count(s->ns, r) / NSEC_PER_MSEC);
		if (r == 1) /* the totals stand between writes and discards */
			strbuf_add(out, "%llu %llu %llu ", (unsigned long long)atomic_read(&s->in_flight),
				   (unsigned long long)atomic_read(&s->busy_ns) / NSEC_PER_MSEC,
				   (unsigned long long)(count(s->ns, 0) + count(s->ns, 1) + count(s->ns, 2) +
							count(s->ns, 3)) /
					   NSEC_PER_MSEC);
	}
	strbuf_add(out, "%llu %llu\n", (unsigned long long)count(s->ios, 3),
		   (unsigned long long)count(s->ns, 3) / NSEC_PER_MSEC);
}

static int show_inflight(struct attr_dir *dir, const struct attr *a, struct strbuf *out)
{
	const struct block_stats *s = &dev_of(dir)->stats;
	s64 writes = atomic_read(&s->writes_in_flight), all = atomic_read(&s->in_flight);

	strbuf_add(out, "%8lld %8lld\n", (long long)max(all - writes, (s64)0), (long long)writes);
	return 0;
}

static int show_uevent(struct attr_dir *dir, const struct attr *a, struct strbuf *out)
{
	const struct block_dev *d = dev_of(dir);

	strbuf_add(out, "MAJOR=%u\nMINOR=%u\nDEVNAME=%s\nDEVTYPE=%s\n", DEV_MAJOR(d->rdev), DEV_MINOR(d->rdev), d->name,
		   d->partition ? "partition" : "disk");
	if (d->partition)
		strbuf_add(out, "PARTN=%u\n", d->partition);
	return 0;
}

/* Nobody listens for events of devices: what is written is taken as done. */
static int set_nothing(struct attr_dir *dir, const struct attr *a, char *text, size_t len)
{
	return 0;
}

static int show_diskseq(struct attr_dir *dir, const struct attr *a, struct strbuf *out)
{
	strbuf_add(out, "%llu\n", (unsigned long long)dev_of(dir)->sequence);
	return 0;
}

static int show_stat(struct attr_dir *dir, const struct attr *a, struct strbuf *out)
{
	block_stat_line(dev_of(dir), out);
	return 0;
}

#define RO(id, file, fn)     static const struct attr attr_##id = { file, 0444, fn, NULL, NULL, 0 }
#define TEXT(id, file, text) static const struct attr attr_##id = { file, 0444, show_text, NULL, NULL, (ulong)(text) }

RO(dev, "dev", show_dev);
RO(size, "size", show_size);
RO(start, "start", show_start);
RO(partition, "partition", show_partition);
RO(ro, "ro", show_read_only);
RO(stat, "stat", show_stat);
RO(inflight, "inflight", show_inflight);
RO(diskseq, "diskseq", show_diskseq);
static const struct attr attr_uevent = { "uevent", 0644, show_uevent, set_nothing, NULL, 0 };
TEXT(capability, "capability", "0");
TEXT(events, "events", "");
TEXT(discard_alignment, "discard_alignment", "0");
TEXT(removable, "removable", "0");
TEXT(hidden, "hidden", "0");
TEXT(range, "range", "16");
TEXT(ext_range, "ext_range", "256");
TEXT(alignment, "alignment_offset", "0");

static const struct attr *const disk_attrs[] = {
	&attr_dev,     &attr_size,   &attr_ro,        &attr_stat,       &attr_removable,
	&attr_range,   &attr_hidden, &attr_ext_range, &attr_alignment,  &attr_inflight,
	&attr_diskseq, &attr_uevent, &attr_events,    &attr_capability, &attr_discard_alignment,
	NULL
};
static const struct attr *const partition_attrs[] = { &attr_dev,
						      &attr_size,
						      &attr_ro,
						      &attr_stat,
						      &attr_start,
						      &attr_partition,
						      &attr_alignment,
						      &attr_inflight,
						      &attr_uevent,
						      &attr_discard_alignment,
						      NULL };

/* ---- queue/ ---------------------------------------------------------------------------------------- */

enum queue_value {
	LOGICAL_BLOCK,
	PHYSICAL_BLOCK,
	MAX_KB,
	MAX_SEGMENTS,
	ROTATIONAL,
	NR_REQUESTS,
	FUA,
	DISCARD_MAX,
	DISCARD_GRANULARITY,
	ZEROES_MAX,
	MAX_HW_KB,
	OPTIMAL,
	BOUNDARY,
	DMA_ALIGNMENT,
	READ_AHEAD_KB,
	NOMERGES,
	TIMEOUT_MS,
};

static u64 queue_value(const struct block_dev *d, enum queue_value v)
{
	const struct block_limits *l = &d->limits;

	switch (v) {
	case LOGICAL_BLOCK: return l->logical_block;
	case PHYSICAL_BLOCK: return l->physical_block;
	case MAX_KB: return min(l->max_bytes, 1U << 30) >> 10;
	case MAX_SEGMENTS: return l->max_vecs;
	case ROTATIONAL: return l->rotational;
	case NR_REQUESTS: return d->hwqs ? d->hwqs[0].depth : 0;
	case FUA: return l->has_fua;
	case DISCARD_MAX: return l->max_discard_bytes;
	case DISCARD_GRANULARITY: return l->max_discard_bytes ? l->logical_block : 0;
	case ZEROES_MAX: return l->max_zeroes_bytes;
	case MAX_HW_KB: return min(d->max_bytes_hw, 1U << 30) >> 10;
	case OPTIMAL: return l->optimal_bytes;
	case BOUNDARY: return l->boundary ? l->boundary - 1 : 0;
	case DMA_ALIGNMENT: return min(l->logical_block, SECTOR_SIZE) - 1;
	case READ_AHEAD_KB: return d->read_ahead_bytes >> 10;
	case NOMERGES: return d->nomerges;
	case TIMEOUT_MS: return l->timeout_ns / NSEC_PER_MSEC;
	}
	return 0;
}

static int show_queue(struct attr_dir *dir, const struct attr *a, struct strbuf *out)
{
	strbuf_add(out, "%llu\n", (unsigned long long)queue_value(dev_of(dir), a->data));
	return 0;
}

static int set_queue(struct attr_dir *dir, const struct attr *a, char *text, size_t len)
{
	struct block_dev *d = dev_of(dir);
	u64 v;
	int err = str_to_u64(text, 10, &v);

	if (err)
		return err;
	switch (a->data) {
	case MAX_KB:
		if (v < PAGE_SIZE >> 10 || v > d->max_bytes_hw >> 10)
			return fail(EINVAL, "%s: %llu KiB are not possible", d->name, (unsigned long long)v);
		WRITE_ONCE(d->limits.max_bytes, ALIGN_DOWN((u32)v << 10, d->limits.logical_block));
		return 0;
	case READ_AHEAD_KB:
		if (v > 1 << 20)
			return fail(EINVAL, "%s: more than a GiB", d->name);
		WRITE_ONCE(d->read_ahead_bytes, (u32)v << 10);
		return 0;
	case NOMERGES: WRITE_ONCE(d->nomerges, min(v, (u64)2)); return 0;
	case ROTATIONAL: WRITE_ONCE(d->limits.rotational, v != 0); return 0;
	}
	return -EINVAL;
}

static int set_write_cache(struct attr_dir *dir, const struct attr *a, char *text, size_t len)
{
	struct block_dev *d = dev_of(dir);

	if (str_starts(text, "write back"))
		WRITE_ONCE(d->limits.write_cache, true);
	else if (str_starts(text, "write through") || str_starts(text, "none"))
		WRITE_ONCE(d->limits.write_cache, false);
	else
		return fail(EINVAL, "not \"write back\" or \"write through\"");
	return 0;
}

static int set_scheduler(struct attr_dir *dir, const struct attr *a, char *text, size_t len)
{
	return str_starts(text, "none") ? 0 : fail(EINVAL, "%s: there is no such scheduler", dev_of(dir)->name);
}

static int show_write_cache(struct attr_dir *dir, const struct attr *a, struct strbuf *out)
{
	strbuf_add(out, "%s\n", dev_of(dir)->limits.write_cache ? "write back" : "write through");
	return 0;
}

#define QUEUE(id, file, value) static const struct attr attr_q_##id = { file, 0444, show_queue, NULL, NULL, value }
#define QUEUE_SET(id, file, value)                                                                                     \
	static const struct attr attr_q_##id = { file, 0644, show_queue, set_queue, NULL, value }
QUEUE(logical, "logical_block_size", LOGICAL_BLOCK);
QUEUE(hw, "hw_sector_size", LOGICAL_BLOCK);
QUEUE(physical, "physical_block_size", PHYSICAL_BLOCK);
QUEUE(minimum, "minimum_io_size", PHYSICAL_BLOCK);
QUEUE_SET(max_kb, "max_sectors_kb", MAX_KB);
QUEUE(max_hw_kb, "max_hw_sectors_kb", MAX_HW_KB);
QUEUE(segments, "max_segments", MAX_SEGMENTS);
QUEUE_SET(rotational, "rotational", ROTATIONAL);
QUEUE(requests, "nr_requests", NR_REQUESTS);
QUEUE(fua, "fua", FUA);
QUEUE(discard_max, "discard_max_bytes", DISCARD_MAX);
QUEUE(discard_grain, "discard_granularity", DISCARD_GRANULARITY);
QUEUE(zeroes_max, "write_zeroes_max_bytes", ZEROES_MAX);
QUEUE(discard_max_hw, "discard_max_hw_bytes", DISCARD_MAX);
QUEUE(optimal, "optimal_io_size", OPTIMAL);
QUEUE(boundary, "virt_boundary_mask", BOUNDARY);
QUEUE(dma_alignment, "dma_alignment", DMA_ALIGNMENT);
QUEUE(timeout, "io_timeout", TIMEOUT_MS);
QUEUE_SET(read_ahead, "read_ahead_kb", READ_AHEAD_KB);
QUEUE_SET(nomerges, "nomerges", NOMERGES);
static const struct attr attr_q_write_cache = { "write_cache", 0644, show_write_cache, set_write_cache, NULL, 0 };
static const struct attr attr_q_scheduler = { "scheduler", 0644, show_text, set_scheduler, NULL, (ulong) "[none]" };
static const struct attr attr_q_iostats = { "iostats", 0644, show_text, set_nothing, NULL, (ulong) "1" };
static const struct attr attr_q_add_random = { "add_random", 0644, show_text, set_nothing, NULL, (ulong) "0" };
static const struct attr attr_q_rq_affinity = { "rq_affinity", 0644, show_text, set_nothing, NULL, (ulong) "1" };
TEXT(q_zoned, "zoned", "none");
TEXT(q_dax, "dax", "0");
TEXT(q_nr_zones, "nr_zones", "0");
TEXT(q_chunk, "chunk_sectors", "0");
TEXT(q_discard_zeroes, "discard_zeroes_data", "0");
TEXT(q_discard_segments, "max_discard_segments", "1");
TEXT(q_segment_size, "max_segment_size", "4294967295");
TEXT(q_stable, "stable_writes", "0");
TEXT(q_write_same, "write_same_max_bytes", "0");

static const struct attr *const queue_attrs[] = { &attr_q_logical,
						  &attr_q_hw,
						  &attr_q_physical,
						  &attr_q_minimum,
						  &attr_q_max_kb,
						  &attr_q_max_hw_kb,
						  &attr_q_segments,
						  &attr_q_rotational,
						  &attr_q_requests,
						  &attr_q_fua,
						  &attr_q_discard_max,
						  &attr_q_discard_max_hw,
						  &attr_q_discard_grain,
						  &attr_q_zeroes_max,
						  &attr_q_write_cache,
						  &attr_q_optimal,
						  &attr_q_scheduler,
						  &attr_q_zoned,
						  &attr_q_dax,
						  &attr_q_iostats,
						  &attr_q_nomerges,
						  &attr_q_add_random,
						  &attr_q_boundary,
						  &attr_q_dma_alignment,
						  &attr_q_timeout,
						  &attr_q_read_ahead,
						  &attr_q_rq_affinity,
						  &attr_q_nr_zones,
						  &attr_q_chunk,
						  &attr_q_discard_zeroes,
						  &attr_q_segment_size,
						  &attr_q_discard_segments,
						  &attr_q_stable,
						  &attr_q_write_same,
						  &block_attr_io_poll,
						  &block_attr_io_poll_delay,
						  &block_attr_wbt_lat_usec,
						  &block_attr_poll_stat,
						  NULL };

int block_attrs_add(struct block_dev *d, struct attr_dir *parent)
{
	int err = attr_dir_init(&d->attr, parent, d->name, d->partition ? partition_attrs : disk_attrs, &block_attr_ops,
				d);

	if (!err) /* who is built on it: empty for now, but lsblk opens it */
		err = attr_dir_init(&d->holders, &d->attr, "holders", NULL, NULL, d);
	if (err || d->partition)
		return err;
	err = attr_dir_init(&d->slaves, &d->attr, "slaves", NULL, NULL, d);
	return err ? err : attr_dir_init(&d->queue_attr, &d->attr, "queue", queue_attrs, NULL, d);
}
