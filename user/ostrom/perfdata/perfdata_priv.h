/* SPDX-License-Identifier: MIT
 *
 * What open.c, stream.c and sample.c share.
 */
#ifndef PERFDATA_PRIV_H
#define PERFDATA_PRIV_H

#include "perfdata.h"

#define PD_EVENTS 0x7fff /* order.h numbers them */

struct pd_section {
	u64 offset, size;
};

struct pd_ids { /* open addressing, slots mask + 1 */
	struct id_slot {
		u64 id;
		struct pd_event *event;
	} * slots;
	u64 mask;
};

struct pd_file {
	int fd;
	const u8 *map;
	u64 map_bytes;
	bool is_pipe;   /* its form: no sections */
	bool is_copied; /* map is memory of ours, not the file's: pages that are given back are lost */
	struct pd_section data;
	struct pd_section features[PD_FEAT_MAX];
	struct pd_event *events; /* nr_events */
	u32 nr_events;
	struct pd_tracing tracing;
	struct pd_ids ids;
	int id_offset;   /* of the id in a sample, -1: one event */
	int time_offset; /* of the time in a sample, as the first event has it; 0: none */
	bool times_differ;
	char damage[256];
	int percent; /* progress.c: last told */
	bool told;
	/* directory form: further data files, each a stream of records */
	struct pd_part {
		const u8 *map;
		u64 bytes;
	} * parts;
	u32 nr_parts;
};

/* Notes the first damage found; later ones are consequences. */
void pd_note(struct pd_file *f, const char *fmt, ...) __printf(2, 3);
static inline struct pd_event *pd_event_of_id(const struct pd_ids *ids, u64 id)
{
	const struct id_slot *slot = &ids->slots[id & ids->mask];

	while (slot->event && slot->id != id)
		slot = &ids->slots[(slot - ids->slots + 1) & ids->mask];
	return slot->event;
}

/* Tells a person at a terminal how far a long reading is; end erases the line. */
void pd_progress(struct pd_file *f, u64 done, u64 total);
void pd_progress_end(struct pd_file *f);
void pd_layout_event(struct pd_event *e);
void pd_clear_sample(struct pd_sample *s);
/* Fills in what the event's attribute says is in the record; 0, or -EINVAL if that is more than its size. s was
 * cleared, or holds an earlier sample of the same sample_type: what such samples do not have is left alone. */
int pd_parse_sample(const struct pd_event *e, const u8 *rec, struct pd_sample *s);
/* The same of a record that is no sample; s may be as it is. */
int pd_parse_trailer(const struct pd_event *e, const u8 *rec, struct pd_sample *s);

static inline bool pd_has_brief(const struct pd_event *e, const u8 *rec, u16 size)
{
	const struct pd_brief_at *at = &e->brief;
	u32 raw_bytes;

	if (!at->end || size < at->end)
		return false;
	raw_bytes = pd_u32(rec + at->raw);
	return raw_bytes >= at->raw_least && raw_bytes <= size - at->raw - 4u;
}

static inline void pd_take_brief(const struct pd_event *e, const u8 *rec, struct pd_brief *b)
{
	const struct pd_brief_at *at = &e->brief;

	memcpy(&b->pid, rec + at->tid, 8); /* and tid */
	b->cpu = pd_u32(rec + at->cpu);
	for (u32 i = 0; i < PD_BRIEF_VALUES; i++)
		b->value[i] = pd_u32(rec + at->value[i]);
}

/* True if a whole record lies at p. */
static inline bool pd_record_at(const u8 *p, u64 left, u32 *type, u16 *size)
{
	if (left < 8)
		return false;
	*type = pd_u32(p);
	*size = pd_u16(p + 6);
	return *size >= 8 && *size <= left;
}

#endif
