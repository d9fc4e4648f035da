/* SPDX-License-Identifier: MIT
 *
 * Problem: before the first record can be read, the attributes, ids, names and tracepoint formats
 * must be known, and each of them is an offset and a size that a damaged file may get wrong.
 *
 * Idea: map the file, check every section against its length once, keep pointers into the map. A
 * pipe has no sections: it is copied into memory, and one pass over its records collects what the
 * sections would have held.
 *
 * Contract: perfdata.h. A broken header or attribute section refuses the file; a broken feature
 * section is noted as damage and left out.
 *
 * Locks: none.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include "perfdata_priv.h"

#define HEADER_BYTES      104
#define PIPE_HEADER_BYTES 16

void pd_note(struct pd_file *f, const char *fmt, ...)
{
	va_list ap;

	if (*f->damage)
		return;
	va_start(ap, fmt);
	vsnprintf(f->damage, sizeof(f->damage), fmt, ap);
	va_end(ap);
}

static int refuse(char *why, size_t n, int err, const char *fmt, ...) __printf(4, 5);
static int refuse(char *why, size_t n, int err, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(why, n, fmt, ap);
	va_end(ap);
	return -err;
}

static bool inside(const struct pd_file *f, const struct pd_section *s)
{
	return s->offset <= f->map_bytes && s->size <= f->map_bytes - s->offset;
}

/* ---- getting the bytes ---- */

/* A pipe's bytes, in anonymous memory. */
static int slurp(struct pd_file *f)
{
	u64 room = 1 << 20;
	u8 *buf = mmap(NULL, room, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ssize_t n;

	if (buf == MAP_FAILED)
		return -ENOMEM;
	f->is_copied = true;
	for (;;) {
		if (f->map_bytes == room) {
			u8 *grown = mremap(buf, room, room * 2, MREMAP_MAYMOVE);

			if (grown == MAP_FAILED) {
				munmap(buf, room);
				return -ENOMEM;
			}
			buf = grown;
			room *= 2;
		}
		n = read(f->fd, buf + f->map_bytes, room - f->map_bytes);
		if (n <= 0)
			break;
		f->map_bytes += n;
	}
	f->map = mremap(buf, room, max(f->map_bytes, (u64)1), 0);
	return n < 0 ? -errno : 0;
}

static int map_file(int fd, const u8 **map, u64 *bytes)
{
	struct stat st;
	void *p;

	if (fstat(fd, &st))
		return -errno;
	*bytes = st.st_size;
	if (!st.st_size)
		return 0;
	p = mmap(NULL, st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	if (p == MAP_FAILED)
		return -errno;
	*map = p;
	return 0;
}

/* The directory form: "data" holds the header, data.N one stream each. */
static int map_parts(struct pd_file *f, const char *dir)
{
	for (u32 i = 0; i < 4096; i++) {
		char path[4096];
		struct pd_part *grown;
		int fd;

		snprintf(path, sizeof(path), "%s/data.%u", dir, i);
		fd = open(path, O_RDONLY | O_CLOEXEC);
		if (fd < 0)
			return 0;
		grown = realloc(f->parts, (i + 1) * sizeof(*grown));
		if (!grown) {
			close(fd);
			return -ENOMEM;
		}
		f->parts = grown;
		grown[i] = (struct pd_part){ 0 };
		if (map_file(fd, &grown[i].map, &grown[i].bytes))
			pd_note(f, "%s: cannot be mapped", path);
		f->nr_parts = i + 1;
		close(fd);
	}
	return 0;
}

static int get_bytes(struct pd_file *f, const char *path, char *why, size_t n)
{
	struct stat st;
	char data[4096];
	int err;

	if (!strcmp(path, "-")) {
		f->fd = dup(0);
		err = slurp(f);
		return err ? refuse(why, n, -err, "standard input: %s", strerror(-err)) : 0;
	}
	if (!stat(path, &st) && S_ISDIR(st.st_mode)) {
		err = map_parts(f, path);
		if (err)
			return err;
		snprintf(data, sizeof(data), "%s/data", path);
		path = data;
	}
	f->fd = open(path, O_RDONLY | O_CLOEXEC);
	if (f->fd < 0)
		return refuse(why, n, errno, "%s: %s (record first, or name the file with -i)", path, strerror(errno));
	if (!fstat(f->fd, &st) && !S_ISREG(st.st_mode))
		err = slurp(f);
	else
		err = map_file(f->fd, &f->map, &f->map_bytes);
	return err ? refuse(why, n, -err, "%s: %s", path, strerror(-err)) : 0;
}

/* ---- events ---- */

static const char *software_name(u64 config)
{
	static const char *const names[] = { "cpu-clock",        "task-clock",   "page-faults",  "context-switches",
					     "cpu-migrations",   "minor-faults", "major-faults", "alignment-faults",
					     "emulation-faults", "dummy",        "bpf-output",   "cgroup-switches" };

	return config < ARRAY_SIZE(names) ? names[config] : "software";
}

static void name_event(struct pd_file *f, struct pd_event *e)
{
	for (u32 i = 0; e->attr.type == PERF_TYPE_TRACEPOINT && i < f->tracing.nr; i++)
		if (f->tracing.tps[i].id == e->attr.config)
			e->tp = &f->tracing.tps[i];
	if (e->tp)
		snprintf(e->name, sizeof(e->name), "%s:%s", e->tp->system, e->tp->name);
	else if (!*e->name && e->attr.type == PERF_TYPE_SOFTWARE)
		snprintf(e->name, sizeof(e->name), "%s", software_name(e->attr.config));
	else if (!*e->name && e->attr.type == PERF_TYPE_RAW)
		snprintf(e->name, sizeof(e->name), "raw %#llx", (unsigned long long)e->attr.config);
	else if (!*e->name)
		snprintf(e->name, sizeof(e->name), "type%u:%llx", e->attr.type, (unsigned long long)e->attr.config);
}

static struct pd_event *add_event(struct pd_file *f)
{
	struct pd_event *grown = realloc(f->events, (f->nr_events + 1) * sizeof(*grown));

	if (!grown)
		return NULL;
	f->events = grown;
	memset(&grown[f->nr_events], 0, sizeof(*grown));
	grown[f->nr_events].index = f->nr_events;
	return &grown[f->nr_events++];
}

static int set_ids(struct pd_event *e, const u8 *p, u64 bytes)
{
	e->nr_ids = bytes / 8;
	e->ids = malloc(max(bytes, (u64)8));
	if (!e->ids)
		return -ENOMEM;
	memcpy(e->ids, p, (u64)e->nr_ids * 8);
	return 0;
}

static int read_attrs(struct pd_file *f, const struct pd_section *s, u64 attr_bytes, char *why, size_t n)
{
	if (attr_bytes < PERF_ATTR_SIZE_VER0 + 16 || attr_bytes > 4096 || !inside(f, s))
		return refuse(why, n, EINVAL, "attribute section at %#llx: size %llu does not fit the file",
			      (unsigned long long)s->offset, (unsigned long long)s->size);
	for (u64 at = 0; s->size - at >= attr_bytes && f->nr_events < PD_EVENTS; at += attr_bytes) {
		const u8 *p = f->map + s->offset + at;
		struct pd_section ids = { pd_u64(p + attr_bytes - 16), pd_u64(p + attr_bytes - 8) };
		struct pd_event *e = add_event(f);

		if (!e)
			return -ENOMEM;
		memcpy(&e->attr, p, min(attr_bytes - 16, (u64)sizeof(e->attr)));
		if (!inside(f, &ids))
			return refuse(why, n, EINVAL, "ids of event %u at %#llx lie outside the file", e->index,
				      (unsigned long long)ids.offset);
		if (set_ids(e, f->map + ids.offset, ids.size))
			return -ENOMEM;
	}
	if (!f->nr_events)
		return refuse(why, n, EINVAL, "no event attribute in the file");
	return 0;
}

static int build_id_table(struct pd_file *f)
{
	u64 n = 0, size = 16;

	for (u32 i = 0; i < f->nr_events; i++)
		n += f->events[i].nr_ids;
	while (size < n * 8) /* each record is looked up: the first try should find it */
		size *= 2;
	f->ids.slots = calloc(size, sizeof(*f->ids.slots));
	if (!f->ids.slots)
		return -ENOMEM;
	f->ids.mask = size - 1;
	for (u32 i = 0; i < f->nr_events; i++)
		for (u32 k = 0; k < f->events[i].nr_ids; k++) {
			u64 id = f->events[i].ids[k], h = id & f->ids.mask;

			while (f->ids.slots[h].event && f->ids.slots[h].id != id)
				h = (h + 1) & f->ids.mask;
			f->ids.slots[h] = (struct id_slot){ id, &f->events[i] };
		}
	return 0;
}

/* What all events must agree on so that a record can be read before its event is known. */
static int layout(struct pd_file *f)
{
	u64 t0 = f->events[0].attr.sample_type;

	for (u32 i = 0; i < f->nr_events; i++) {
		pd_layout_event(&f->events[i]);
		name_event(f, &f->events[i]);
		if (f->events[i].at.time != f->events[0].at.time)
			f->times_differ = true;
	}
	f->time_offset = f->events[0].at.time;
	f->id_offset = -1;
	if (t0 & PERF_SAMPLE_IDENTIFIER)
		f->id_offset = 8;
	else if (t0 & PERF_SAMPLE_ID)
		f->id_offset = 8 + 8 * (!!(t0 & PERF_SAMPLE_IP) + !!(t0 & PERF_SAMPLE_TID) + !!(t0 & PERF_SAMPLE_TIME) +
					!!(t0 & PERF_SAMPLE_ADDR));
	return build_id_table(f);
}

/* ---- features ---- */

static void read_event_names(struct pd_file *f)
{
	size_t bytes, at = 8;
	const u8 *p = pd_feature(f, PD_FEAT_EVENT_DESC, &bytes);
	u32 nr, attr_bytes;

	if (!p || bytes < 8)
		return;
	nr = pd_u32(p);
	attr_bytes = pd_u32(p + 4);
	for (u32 i = 0; i < nr && i < f->nr_events; i++) {
		u32 ids, len;

		if (attr_bytes > bytes - at || bytes - at - attr_bytes < 8)
			return;
		at += attr_bytes;
		ids = pd_u32(p + at);
		len = pd_u32(p + at + 4);
		at += 8;
		if (len > bytes - at || (u64)ids * 8 > bytes - at - len)
			return;
		snprintf(f->events[i].name, sizeof(f->events[i].name), "%.*s", (int)min(len, 127u), p + at);
		at += len + (size_t)ids * 8;
	}
}

static void read_tracing(struct pd_file *f)
{
	size_t bytes, bad;
	const u8 *p = pd_feature(f, PD_FEAT_TRACING_DATA, &bytes);

	if (p && pd_tracing_parse(&f->tracing, (const char *)p, bytes, &bad))
		pd_note(f, "tracepoint formats: cannot be read from offset %#llx on",
			(unsigned long long)(p - f->map + bad));
}

static void read_feature_table(struct pd_file *f, const u64 *bits)
{
	u64 at = f->data.offset + f->data.size;

	for (unsigned i = 0; i < PD_FEAT_MAX; i++) {
		struct pd_section s;

		if (!(bits[i / 64] >> (i % 64) & 1))
			continue;
		if (at > f->map_bytes || f->map_bytes - at < 16) {
			pd_note(f, "feature table is cut at %#llx", (unsigned long long)at);
			return;
		}
		s = (struct pd_section){ pd_u64(f->map + at), pd_u64(f->map + at + 8) };
		at += 16;
		if (inside(f, &s))
			f->features[i] = s;
		else
			pd_note(f, "feature %u at %#llx lies outside the file", i, (unsigned long long)s.offset);
	}
}

/* ---- the two forms ---- */

static int open_file_form(struct pd_file *f, char *why, size_t n)
{
	struct pd_section attrs = { pd_u64(f->map + 24), pd_u64(f->map + 32) };
	u64 bits[4];
	int err;

	f->data = (struct pd_section){ pd_u64(f->map + 40), pd_u64(f->map + 48) };
	err = read_attrs(f, &attrs, pd_u64(f->map + 16), why, n);
	if (err)
		return err;
	memcpy(bits, f->map + 72, sizeof(bits));
	if (f->data.offset > f->map_bytes)
		return refuse(why, n, EINVAL, "data section at %#llx lies outside the file",
			      (unsigned long long)f->data.offset);
	if (!f->data.size) {
		pd_note(f, "the recording was not closed properly: no feature section, data read "
			   "to the end of the file");
		f->data.size = f->map_bytes - f->data.offset;
	} else if (!inside(f, &f->data)) {
		pd_note(f, "file is cut: data should end at %#llx, the file ends at %#llx",
			(unsigned long long)(f->data.offset + f->data.size), (unsigned long long)f->map_bytes);
		f->data.size = f->map_bytes - f->data.offset;
	} else {
		read_feature_table(f, bits);
	}
	return 0;
}

static int pipe_attr(struct pd_file *f, const u8 *p, u16 size)
{
	u32 attr_bytes = size >= 16 ? pd_u32(p + 12) : 0;
	struct pd_event *e;

	if (attr_bytes < PERF_ATTR_SIZE_VER0 || attr_bytes > size - 8u || f->nr_events >= PD_EVENTS)
		return 0;
	e = add_event(f);
	if (!e)
		return -ENOMEM;
	memcpy(&e->attr, p + 8, min(attr_bytes, (u32)sizeof(e->attr)));
	return set_ids(e, p + 8 + attr_bytes, size - 8 - attr_bytes);
}

/* In a pipe, attributes, formats and features are records: collect them before the others are read.
 */
static int open_pipe_form(struct pd_file *f, char *why, size_t n)
{
	u64 at = PIPE_HEADER_BYTES, end = f->map_bytes;
	u32 type;
	u16 size;

	f->is_pipe = true;
	f->data = (struct pd_section){ at, end - at };
	for (; at < end && pd_record_at(f->map + at, end - at, &type, &size); at += size) {
		const u8 *p = f->map + at;
		u64 extra = type == PD_TRACING_DATA && size >= 12 ? ALIGN_UP((u64)pd_u32(p + 8), 8) : 0;

		if (type == PD_HEADER_ATTR && pipe_attr(f, p, size))
			return -ENOMEM;
		if (extra && extra <= end - at - size) {
			f->features[PD_FEAT_TRACING_DATA] = (struct pd_section){ at + size, pd_u32(p + 8) };
			at += extra;
		}
		if (type == PD_HEADER_FEATURE && size >= 16 && pd_u64(p + 8) < PD_FEAT_MAX)
			f->features[pd_u64(p + 8)] = (struct pd_section){ at + 16, size - 16u };
	}
	return f->nr_events ? 0 : refuse(why, n, EINVAL, "no event attribute in the pipe");
}

static int open_mapped(struct pd_file *f, const char *path, char *why, size_t n)
{
	int err;

	if (f->map_bytes < PIPE_HEADER_BYTES)
		return refuse(why, n, EINVAL, "%s: %llu bytes are too short for perf.data", path,
			      (unsigned long long)f->map_bytes);
	if (!memcmp(f->map, "2ELIFREP", 8))
		return refuse(why, n, ENOTSUP, "%s: recorded on a big-endian machine, which is not supported", path);
	if (memcmp(f->map, "PERFILE2", 8))
		return refuse(why, n, EINVAL, "%s: not perf.data (no PERFILE2 at offset 0)", path);
	if (pd_u64(f->map + 8) == PIPE_HEADER_BYTES)
		err = open_pipe_form(f, why, n);
	else if (f->map_bytes >= HEADER_BYTES)
		err = open_file_form(f, why, n);
	else
		err = refuse(why, n, EINVAL, "%s: header is cut at %llu bytes", path, (unsigned long long)f->map_bytes);
	if (err)
		return err;
	read_event_names(f);
	read_tracing(f);
	return layout(f);
}

int pd_open(struct pd_file **out, const char *path, char *why, size_t why_bytes)
{
	struct pd_file *f = calloc(1, sizeof(*f));
	int err;

	snprintf(why, why_bytes, "out of memory");
	if (!f)
		return -ENOMEM;
	f->fd = -1;
	err = get_bytes(f, path, why, why_bytes);
	if (!err)
		err = open_mapped(f, path, why, why_bytes);
	if (err) {
		pd_close(f);
		return err;
	}
	*out = f;
	return 0;
}

void pd_close(struct pd_file *f)
{
	if (!f)
		return;
	for (u32 i = 0; i < f->nr_events; i++)
		free(f->events[i].ids);
	for (u32 i = 0; i < f->nr_parts; i++)
		if (f->parts[i].map)
			munmap((void *)f->parts[i].map, f->parts[i].bytes);
	pd_tracing_free(&f->tracing);
	free(f->parts);
	free(f->events);
	free(f->ids.slots);
	if (f->map)
		munmap((void *)f->map, max(f->map_bytes, (u64)1));
	if (f->fd >= 0)
		close(f->fd);
	free(f);
}

/* ---- look-ups ---- */

u32 pd_nr_events(const struct pd_file *f)
{
	return f->nr_events;
}

struct pd_event *pd_event(struct pd_file *f, u32 index)
{
	return index < f->nr_events ? &f->events[index] : NULL;
}

struct pd_event *pd_find_event(struct pd_file *f, const char *name)
{
	for (u32 i = 0; i < f->nr_events; i++)
		if (!strcmp(f->events[i].name, name))
			return &f->events[i];
	return NULL;
}

const struct pd_tracing *pd_tracing(const struct pd_file *f)
{
	return &f->tracing;
}

const u8 *pd_feature(const struct pd_file *f, enum pd_feature feat, size_t *bytes)
{
	*bytes = f->features[feat].size;
	return f->features[feat].offset ? f->map + f->features[feat].offset : NULL;
}

void pd_feature_str(const struct pd_file *f, enum pd_feature feat, char *out, size_t size)
{
	size_t bytes;
	const u8 *p = pd_feature(f, feat, &bytes);
	u32 n;

	*out = 0;
	if (!p || bytes < 4)
		return;
	n = pd_u32(p);
	snprintf(out, size, "%.*s", (int)min((size_t)n, min(bytes - 4, size)), p + 4);
}

static u32 nrcpus(const struct pd_file *f, unsigned at)
{
	size_t bytes;
	const u8 *p = pd_feature(f, PD_FEAT_NRCPUS, &bytes);

	return p && bytes >= 8 ? pd_u32(p + at) : 0;
}

u32 pd_cpus_available(const struct pd_file *f)
{
	return nrcpus(f, 0);
}

u32 pd_cpus_online(const struct pd_file *f)
{
	return nrcpus(f, 4);
}

const char *pd_damage(const struct pd_file *f)
{
	return f->damage;
}

u64 pd_offset(const struct pd_file *f, const u8 *rec)
{
	return rec >= f->map && rec < f->map + f->map_bytes ? rec - f->map : 0;
}
