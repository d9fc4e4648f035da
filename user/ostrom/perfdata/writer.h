/* SPDX-License-Identifier: MIT
 *
 * Writing perf.data: header, ids, attributes, then records as they come, then the feature sections. In the directory
 * form that is the file "data", and records of one ring each go into data.0, data.1, ...
 *
 *   pw_open | pw_open_dir, (pw_compress,) pw_event ..., pw_begin, pw_write ..., pw_put ..., pw_finish
 *
 * Until pw_finish the header says "data size 0", which readers take as a recording that was not closed. Errors stick:
 * the first one is told by pw_finish. Threading: one thread a writer.
 */
#ifndef PERFDATA_WRITER_H
#define PERFDATA_WRITER_H

#include "perfdata.h"

struct pw_event {
	struct perf_event_attr attr;
	char name[128];
	u64 *ids;
	u32 nr_ids;
};

struct pw_feature {
	u8 *bytes;
	size_t n, room;
};

struct pw {
	int fd;
	int error;
	struct pw_event *events;
	u32 nr_events;
	u64 data_offset, data_bytes;
	u8 *buf; /* not yet written */
	size_t buffered;
	struct pw_feature features[PD_FEAT_MAX];
	struct pack *pack; /* NULL: not compressed */
	int *parts;        /* of the directory form: descriptors; NULL: the file form */
	u32 nr_parts;
};

int __must_check pw_open(struct pw *w, const char *path);
/* A directory with so many parts; a recording of that name, in either form, is replaced. Not to be compressed. */
int __must_check pw_open_dir(struct pw *w, const char *path, u32 nr_parts);
void pw_write_part(struct pw *w, u32 part, const void *bytes, size_t n);
int __must_check pw_event(struct pw *w, const struct perf_event_attr *attr, const char *name, const u64 *ids,
			  u32 nr_ids);
int __must_check pw_begin(struct pw *w);
void pw_write(struct pw *w, const void *bytes, size_t n);
/* pack.c. After pw_open: what pw_write_records is given is compressed at this level of zstd. */
int __must_check pw_compress(struct pw *w, int level);
/* A stretch of what a ring delivered; consecutive stretches may split a record. */
void pw_write_records(struct pw *w, const void *bytes, size_t n);
void pw_finish_pack(struct pw *w); /* by pw_finish */
/* Feature contents, appended in the order of the calls. */
void pw_put(struct pw *w, enum pd_feature feat, const void *bytes, size_t n);
void pw_put_u32(struct pw *w, enum pd_feature feat, u32 v);
void pw_put_u64(struct pw *w, enum pd_feature feat, u64 v);
void pw_put_string(struct pw *w, enum pd_feature feat, const char *s);
/* What every recording says about its machine: host, release, CPUs, memory, topology, kernel build id. */
void pw_machine_features(struct pw *w, int argc, char **argv);
void pw_event_desc(struct pw *w);
/* Formats of the tracepoints in the list of events. */
void pw_tracing_data(struct pw *w, const char *tracefs);
/* 0, or the first error; closes the file in any case. */
int pw_finish(struct pw *w);

#endif
