/* SPDX-License-Identifier: MIT
 *
 * Problem: a recording must be readable by perf as well, and be salvageable when the recorder is killed.
 *
 * Idea: everything that has a fixed place is written before the first record; records are appended in large writes; the
 * feature table and the true data size come last.
 *
 *   0        104       ...      ...     data_offset       data_offset + data_bytes
 *   | header | ids ... | attrs  | pad | records ...     | {offset, size} a feature | features |
 *
 * Contract: writer.h. Locks: none.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include "writer.h"

#define HEADER_BYTES 104
#define BUFFER_BYTES (1 << 20)

int pw_open(struct pw *w, const char *path)
{
	memset(w, 0, sizeof(*w));
	w->fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (w->fd < 0)
		return -errno;
	w->buf = malloc(BUFFER_BYTES);
	return w->buf ? 0 : -ENOMEM;
}

/* What an earlier recording left under this name: a file, or data and data.N in a directory. */
static int make_room(const char *path)
{
	char part[4096];

	if (unlink(path) && errno != EISDIR && errno != EPERM && errno != ENOENT)
		return -errno;
	if (mkdir(path, 0700) && errno != EEXIST)
		return -errno;
	for (u32 i = 0;; i++) {
		snprintf(part, sizeof(part), "%s/data.%u", path, i);
		if (unlink(part))
			return errno == ENOENT ? 0 : -errno;
	}
}

static int open_parts(struct pw *w, const char *path, u32 nr)
{
	char part[4096];

	w->parts = calloc(nr, sizeof(*w->parts));
	if (!w->parts)
		return -ENOMEM;
	for (; w->nr_parts < nr; w->nr_parts++) {
		int fd;

		snprintf(part, sizeof(part), "%s/data.%u", path, w->nr_parts);
		fd = open(part, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
		if (fd < 0)
			return -errno;
		w->parts[w->nr_parts] = fd;
	}
	return 0;
}

int pw_open_dir(struct pw *w, const char *path, u32 nr_parts)
{
	static const u64 version = 1;
	char data[4096];
	int err = make_room(path);

	snprintf(data, sizeof(data), "%s/data", path);
	if (!err)
		err = pw_open(w, data);
	if (!err)
		err = open_parts(w, path, nr_parts);
	if (!err)
		pw_put_u64(w, PD_FEAT_DIR_FORMAT, version);
	return err;
}

int pw_event(struct pw *w, const struct perf_event_attr *attr, const char *name, const u64 *ids, u32 nr_ids)
{
	struct pw_event *e = realloc(w->events, (w->nr_events + 1) * sizeof(*e));

	if (!e)
		return -ENOMEM;
	w->events = e;
	e += w->nr_events;
	*e = (struct pw_event){ .attr = *attr, .nr_ids = nr_ids };
	snprintf(e->name, sizeof(e->name), "%s", name);
	e->ids = malloc(max(nr_ids, 1u) * sizeof(u64));
	if (!e->ids)
		return -ENOMEM;
	memcpy(e->ids, ids, nr_ids * sizeof(u64));
	w->nr_events++;
	return 0;
}

static void write_to(struct pw *w, int fd, const u8 *p, size_t n)
{
	while (n && !w->error) {
		ssize_t done = write(fd, p, n);

		if (done < 0 && errno != EINTR)
			w->error = -errno;
		else if (done > 0) {
			p += done;
			n -= done;
		}
	}
}

static void flush(struct pw *w)
{
	write_to(w, w->fd, w->buf, w->buffered);
	w->buffered = 0;
}

void pw_write_part(struct pw *w, u32 part, const void *bytes, size_t n)
{
	write_to(w, w->parts[part], bytes, n);
}

void pw_write(struct pw *w, const void *bytes, size_t n)
{
	if (!n)
		return;
	w->data_bytes += n;
	if (n > BUFFER_BYTES - w->buffered)
		flush(w);
	if (n > BUFFER_BYTES / 4) {
		flush(w);
		write_to(w, w->fd, bytes, n);
		return;
	}
	memcpy(w->buf + w->buffered, bytes, n);
	w->buffered += n;
}

static void put_header(const struct pw *w, u8 *h, u64 attrs_offset, bool closed)
{
	static const u64 attr_bytes = sizeof(struct perf_event_attr) + 16;
	u64 words[] = { HEADER_BYTES,
			attr_bytes,
			attrs_offset,
			attr_bytes * w->nr_events,
			w->data_offset,
			closed ? w->data_bytes : 0,
			0,
			0 };

	memset(h, 0, HEADER_BYTES);
	memcpy(h, "PERFILE2", 8);
	memcpy(h + 8, words, sizeof(words));
	for (unsigned i = 0; i < PD_FEAT_MAX && closed; i++)
		if (w->features[i].n)
			h[72 + i / 8] |= 1 << (i % 8);
}

static u64 ids_bytes(const struct pw *w)
{
	u64 n = 0;

	for (u32 i = 0; i < w->nr_events; i++)
		n += w->events[i].nr_ids * 8ull;
	return n;
}

int pw_begin(struct pw *w)
{
	u64 ids_at = HEADER_BYTES, attrs_at = HEADER_BYTES + ids_bytes(w);
	u8 header[HEADER_BYTES];

	w->data_offset = attrs_at + w->nr_events * (sizeof(struct perf_event_attr) + 16);
	put_header(w, header, attrs_at, false);
	pw_write(w, header, sizeof(header));
	for (u32 i = 0; i < w->nr_events; i++)
		pw_write(w, w->events[i].ids, w->events[i].nr_ids * 8ull);
	for (u32 i = 0; i < w->nr_events; i++) {
		u64 section[2] = { ids_at, w->events[i].nr_ids * 8ull };

		pw_write(w, &w->events[i].attr, sizeof(w->events[i].attr));
		pw_write(w, section, sizeof(section));
		ids_at += section[1];
	}
	w->data_bytes = 0;
	return w->error;
}

void pw_put(struct pw *w, enum pd_feature feat, const void *bytes, size_t n)
{
	struct pw_feature *f = &w->features[feat];

	if (!n)
		return;
	if (f->n + n > f->room) {
		size_t room = max(f->room * 2, ALIGN_UP(f->n + n, (size_t)4096));
		u8 *grown = realloc(f->bytes, room);

		if (!grown) {
			w->error = w->error ? w->error : -ENOMEM;
			return;
		}
		f->bytes = grown;
		f->room = room;
	}
	memcpy(f->bytes + f->n, bytes, n);
	f->n += n;
}

void pw_put_u32(struct pw *w, enum pd_feature feat, u32 v)
{
	pw_put(w, feat, &v, sizeof(v));
}

void pw_put_u64(struct pw *w, enum pd_feature feat, u64 v)
{
	pw_put(w, feat, &v, sizeof(v));
}

/* u32 length (terminator and padding included), the text, zeros to a multiple of 64. */
void pw_put_string(struct pw *w, enum pd_feature feat, const char *s)
{
	static const u8 zeros[64];
	u32 len = strlen(s) + 1, padded = ALIGN_UP(len, 64u);

	pw_put_u32(w, feat, padded);
	pw_put(w, feat, s, len);
	pw_put(w, feat, zeros, padded - len);
}

void pw_event_desc(struct pw *w)
{
	pw_put_u32(w, PD_FEAT_EVENT_DESC, w->nr_events);
	pw_put_u32(w, PD_FEAT_EVENT_DESC, sizeof(struct perf_event_attr));
	for (u32 i = 0; i < w->nr_events; i++) {
		pw_put(w, PD_FEAT_EVENT_DESC, &w->events[i].attr, sizeof(w->events[i].attr));
		pw_put_u32(w, PD_FEAT_EVENT_DESC, w->events[i].nr_ids);
		pw_put_string(w, PD_FEAT_EVENT_DESC, w->events[i].name);
		pw_put(w, PD_FEAT_EVENT_DESC, w->events[i].ids, w->events[i].nr_ids * 8ull);
	}
}

static void write_features(struct pw *w)
{
	u64 at = w->data_offset + w->data_bytes;
	u64 kept = w->data_bytes;

	for (unsigned i = 0; i < PD_FEAT_MAX; i++)
		at += w->features[i].n ? 16 : 0;
	for (unsigned i = 0; i < PD_FEAT_MAX; i++) {
		u64 section[2] = { at, w->features[i].n };

		if (!section[1])
			continue;
		pw_write(w, section, sizeof(section));
		at += section[1];
	}
	for (unsigned i = 0; i < PD_FEAT_MAX; i++)
		pw_write(w, w->features[i].bytes, w->features[i].n);
	flush(w);
	w->data_bytes = kept;
}

int pw_finish(struct pw *w)
{
	u8 header[HEADER_BYTES];

	pw_finish_pack(w);
	if (w->fd >= 0 && w->data_offset) {
		write_features(w);
		put_header(w, header, HEADER_BYTES + ids_bytes(w), true);
		if (!w->error && pwrite(w->fd, header, sizeof(header), 0) != sizeof(header))
			w->error = -EIO;
	}
	if (w->fd >= 0 && close(w->fd) && !w->error)
		w->error = -errno;
	for (u32 i = 0; i < w->nr_parts; i++)
		if (close(w->parts[i]) && !w->error)
			w->error = -errno;
	free(w->parts);
	for (u32 i = 0; i < w->nr_events; i++)
		free(w->events[i].ids);
	for (unsigned i = 0; i < PD_FEAT_MAX; i++)
		free(w->features[i].bytes);
	free(w->events);
	free(w->buf);
	w->fd = -1;
	return w->error;
}
