/* SPDX-License-Identifier: MIT
 *
 * perf.data as a stream of records in time order.
 *
 * pd_open maps a file (or takes a pipe) and checks its header, attributes, ids, feature sections
 * and tracepoint formats; pd_for_each then hands each record to one callback, in the order in which
 * perf processes it. Memory grows with one recording round, not with the file: what is consumed is
 * given back to the page cache. Compressed records are unpacked on the way. Everything read is
 * bounds-checked; a cut or damaged file gives a message that names the offset, and what comes
 * before it is still delivered.
 *
 * Units: times are ns of the recording's clock; sizes are bytes. Ownership: pointers in a pd_sample
 * are valid during the callback only. Threading: one thread a file; pd_for_each reads ahead in one of its own, the
 * callback runs in the caller's.
 *
 * Format: tools/perf/Documentation/perf.data-file-format.txt; record layouts: <linux/perf_event.h>.
 */
#ifndef PERFDATA_H
#define PERFDATA_H

#include <linux/perf_event.h>
#include <string.h>
#include <lib/types.h>

enum pd_user_type { /* records that the recording program adds, from type 64 on */
		    PD_USER_START = 64,
		    PD_HEADER_ATTR = 64,
		    PD_EVENT_TYPE = 65,
		    PD_TRACING_DATA = 66,
		    PD_BUILD_ID = 67,
		    PD_FINISHED_ROUND = 68,
		    PD_ID_INDEX = 69,
		    PD_AUXTRACE = 71,
		    PD_EVENT_UPDATE = 78,
		    PD_HEADER_FEATURE = 80,
		    PD_COMPRESSED = 81,
		    PD_FINISHED_INIT = 82,
		    PD_USER_END = 84,
};

enum pd_feature {
	PD_FEAT_TRACING_DATA = 1,
	PD_FEAT_BUILD_ID = 2,
	PD_FEAT_HOSTNAME = 3,
	PD_FEAT_OSRELEASE = 4,
	PD_FEAT_VERSION = 5,
	PD_FEAT_ARCH = 6,
	PD_FEAT_NRCPUS = 7,
	PD_FEAT_CPUDESC = 8,
	PD_FEAT_CPUID = 9,
	PD_FEAT_TOTAL_MEM = 10,
	PD_FEAT_CMDLINE = 11,
	PD_FEAT_EVENT_DESC = 12,
	PD_FEAT_CPU_TOPOLOGY = 13,
	PD_FEAT_NUMA_TOPOLOGY = 14,
	PD_FEAT_PMU_MAPPINGS = 16,
	PD_FEAT_CACHE = 20,
	PD_FEAT_SAMPLE_TIME = 21,
	PD_FEAT_MEM_TOPOLOGY = 22,
	PD_FEAT_DIR_FORMAT = 24,
	PD_FEAT_COMPRESSED = 27,
	PD_FEAT_MAX = 256,
};

static inline u16 pd_u16(const void *p)
{
	u16 v;
	memcpy(&v, p, sizeof(v));
	return v;
}

static inline u32 pd_u32(const void *p)
{
	u32 v;
	memcpy(&v, p, sizeof(v));
	return v;
}

static inline u64 pd_u64(const void *p)
{
	u64 v;
	memcpy(&v, p, sizeof(v));
	return v;
}

/* ---- tracepoint formats (tracefs events/.../format) ---- */

struct pd_field {
	char name[32];
	u32 offset; /* from the start of the raw record, common fields included */
	u32 size;
	bool is_signed;
	bool is_string; /* char array in place */
	bool is_dyn;    /* __data_loc: u32 of offset and length */
};

struct pd_tracepoint {
	char system[48];
	char name[64];
	u32 id;
	u32 nr_fields;
	struct pd_field *fields;
	const char *text; /* the format file inside the mapped data */
	size_t text_bytes;
};

struct pd_tracing {
	struct pd_tracepoint *tps;
	u32 nr;
	const char *header_page; /* for libtraceevent */
	size_t header_page_bytes;
	const char *printk;
	size_t printk_bytes;
	const char *cmdlines;
	size_t cmdlines_bytes;
};

/* 0 or -errno; *bad is the offset of what could not be read, tr holds what came before it. */
int pd_tracing_parse(struct pd_tracing *tr, const char *buf, size_t bytes, size_t *bad);
void pd_tracing_free(struct pd_tracing *tr);
/* Parses one format text; 0 or -EINVAL. The fields are allocated. */
int pd_format_parse(struct pd_tracepoint *tp, const char *text, size_t bytes);
const struct pd_field *pd_tracepoint_field(const struct pd_tracepoint *tp, const char *name);
s64 pd_field_any_int(const struct pd_field *f, const u8 *raw, u32 raw_bytes);
/* Value of a field; 0 when f is NULL or lies outside the record. */
static inline s64 pd_field_int(const struct pd_field *f, const u8 *raw, u32 raw_bytes)
{
	if (f && f->is_signed && f->offset + 8ULL <= raw_bytes) {
		if (f->size == 4)
			return (s32)pd_u32(raw + f->offset);
		if (f->size == 8)
			return pd_u64(raw + f->offset);
	}
	return pd_field_any_int(f, raw, raw_bytes);
}
/* Text of a field, terminated, cut to size. */
void pd_field_str(const struct pd_field *f, const u8 *raw, u32 raw_bytes, char *out, size_t size);

/* ---- the file ---- */

struct pd_layout { /* offsets of the fixed fields in a sample, 0: not there; records end in at least `end` bytes */
	u16 id, ip, tid, time, addr, cpu, period, end;
};

#define PD_BRIEF_VALUES 3
struct pd_brief { /* of a sample: all that a computation over millions of them needs */
	s32 pid, tid;
	u32 cpu;
	s32 value[PD_BRIEF_VALUES]; /* the fields that pd_ask_brief named, cut to 32 bits; others are not specified */
};

struct pd_brief_at { /* offsets in a sample; all 0: the event has no briefs */
	u16 tid, cpu, value[PD_BRIEF_VALUES];
	u16 raw, raw_least; /* where the length of the raw bytes is, and how many there must be */
	u16 end;            /* records with a brief are at least so long */
};

struct pd_event {
	struct perf_event_attr attr;
	char name[128]; /* "sched:sched_switch", "cpu-clock"; from the file, or made from the
			   attribute */
	u64 *ids;
	u32 nr_ids;
	u32 index;
	const struct pd_tracepoint *tp; /* NULL unless a tracepoint whose format is in the file */
	struct pd_layout at;
	bool has_rest;    /* fields of no fixed place follow the fixed ones */
	bool rest_is_raw; /* only the raw bytes do */
	int trailer_time; /* of TIME from the end of other records, 0 if none */
	bool unwanted;    /* set by the consumer: its samples need not be delivered */
	struct pd_brief_at brief;
};

struct pd_sample {
	const u8 *rec; /* the whole record, maybe unaligned */
	u32 type;
	u16 misc, size;
	struct pd_event *event; /* NULL for a sample of an unknown id; the first event for side-band
				   of none */
	u64 time, id, ip, addr, period, weight, data_src, phys_addr;
	u32 pid, tid, cpu; /* -1 when the record has none */
	const u8 *chain;   /* chain_nr u64 */
	u32 chain_nr;
	const u8 *raw;
	u32 raw_bytes;
	u64 regs_abi; /* user registers, in the order of the bits of attr.sample_regs_user */
	const u8 *regs;
};

struct pd_file;

struct pd_consumer {
	bool unordered;                                      /* deliver in file order */
	int (*record)(void *arg, const struct pd_sample *s); /* non-zero stops and is returned */
	/* Not NULL: samples of events with briefs come here instead, unless they are shorter than their event says. */
	int (*brief)(void *arg, const struct pd_event *e, u64 time, const struct pd_brief *b);
	void *arg;
};

/* 0 or -errno with the reason in why. path "-" is standard input. */
int __must_check pd_open(struct pd_file **out, const char *path, char *why, size_t why_bytes);
void pd_close(struct pd_file *f);
int pd_for_each(struct pd_file *f, const struct pd_consumer *c);
/* The event's samples are delivered as briefs, with these fields; false, and nothing is changed: they cannot be. The
 * file is then read through a small buffer: this is the fastest way when it is done for all events that are wanted. */
bool pd_ask_brief(struct pd_event *e, const struct pd_field *const *fields, u32 nr);

u32 pd_nr_events(const struct pd_file *f);
struct pd_event *pd_event(struct pd_file *f, u32 index);
struct pd_event *pd_find_event(struct pd_file *f, const char *name);
const struct pd_tracing *pd_tracing(const struct pd_file *f);
/* A feature section's bytes, or NULL. */
const u8 *pd_feature(const struct pd_file *f, enum pd_feature feat, size_t *bytes);
/* A feature that is one string; "" if absent. */
void pd_feature_str(const struct pd_file *f, enum pd_feature feat, char *out, size_t size);
u32 pd_cpus_online(const struct pd_file *f); /* 0 if the file does not say */
u32 pd_cpus_available(const struct pd_file *f);

/* What was wrong with the data while reading: empty if nothing. */
const char *pd_damage(const struct pd_file *f);
/* Where in the file a record lies, for messages; 0 if it was packed. */
u64 pd_offset(const struct pd_file *f, const u8 *rec);
/* How many entries of a call chain belong to its first `frames` frames, marks included; 0 if one is a mark that perf
 * does not know: it distrusts such a chain. */
u32 pd_chain_length(const struct pd_sample *s, u32 frames);

#endif
