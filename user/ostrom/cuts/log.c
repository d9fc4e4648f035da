/* SPDX-License-Identifier: MIT
 *
 * Problem: whether a file system or a database survives power cuts is known only by trying very many of them, at
 * every point, with every pattern of lost sectors, and getting the same one again when one fails.
 *
 * Idea: record everything once; then a cut is a pure function of (log, number of operations, seed). Operations up to
 * the last flush are applied whole; after it each sector of each write is kept or dropped by a generator that the seed
 * and the operation's number start.
 *
 *      op   W W W F W W T W | cut
 *           -- whole --^ each sector by chance
 *
 * Contract: cuts.h.
 *
 * Locks: none.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include "cuts.h"

#define RECORD_MAGIC 0x43455243 /* "CREC" */
#define SECTOR       512
#define CHUNK        (1 << 20)
#define MAX_LENGTH   (64u << 20)

struct file_header {
	char magic[8];
	u32 version, zero;
	u64 disk_bytes, zero2;
};

struct record {
	u32 magic;
	u16 type, flags;
	u64 offset, length, time_ns;
};

_Static_assert(sizeof(struct file_header) == 32 && sizeof(struct record) == 32, "format");

static int write_all(int fd, const void *data, size_t n, u64 at)
{
	const char *p = data;

	while (n) {
		ssize_t done = pwrite(fd, p, n, at);

		if (done < 0 && errno == EINTR)
			continue;
		if (done <= 0)
			return done ? -errno : -EIO;
		p += done;
		at += done;
		n -= done;
	}
	return 0;
}

static int read_all(int fd, void *data, size_t n, u64 at)
{
	char *p = data;

	while (n) {
		ssize_t done = pread(fd, p, n, at);

		if (done < 0 && errno == EINTR)
			continue;
		if (done <= 0)
			return done ? -errno : -EIO;
		p += done;
		at += done;
		n -= done;
	}
	return 0;
}

static bool has_data(unsigned type)
{
	return type == CUTS_WRITE || type == CUTS_MARK;
}

int cuts_log_create(struct cuts_log *log, const char *path, u64 disk_bytes)
{
	struct file_header h = { .magic = "OSTRCUTS", .version = 1, .disk_bytes = disk_bytes };
	int err;

	*log = (struct cuts_log){ .fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0666),
				  .disk_bytes = disk_bytes,
				  .end = sizeof(h) };
	if (log->fd < 0)
		return -errno;
	err = write_all(log->fd, &h, sizeof(h), 0);
	if (err)
		cuts_log_close(log);
	return err;
}

int cuts_log_append(struct cuts_log *log, enum cuts_type type, bool fua, u64 offset, u64 length, const void *data)
{
	struct timespec now;
	struct record r = {
		.magic = RECORD_MAGIC, .type = type, .flags = fua ? CUTS_FUA : 0, .offset = offset, .length = length
	};
	u64 n = has_data(type) ? length : 0;
	int err;

	clock_gettime(CLOCK_MONOTONIC, &now);
	r.time_ns = now.tv_sec * NSEC_PER_SEC + now.tv_nsec;
	/* data first: a header is always followed by its data */
	err = n ? write_all(log->fd, data, n, log->end + sizeof(r)) : 0;
	if (!err)
		err = write_all(log->fd, &r, sizeof(r), log->end);
	if (!err)
		log->end += sizeof(r) + n;
	return err;
}

static bool is_sound(const struct record *r, u64 disk_bytes)
{
	if (r->magic != RECORD_MAGIC || r->type < CUTS_WRITE || r->type > CUTS_MARK)
		return false;
	if (r->type == CUTS_FLUSH || r->type == CUTS_MARK)
		return r->length <= MAX_LENGTH;
	if (r->type == CUTS_WRITE && r->length > MAX_LENGTH)
		return false;
	return r->offset <= disk_bytes && r->length <= disk_bytes - r->offset;
}

static int add_op(struct cuts_log *log, const struct record *r, u64 data_at)
{
	if (!(log->nr_ops & (log->nr_ops - 1))) {
		size_t room = log->nr_ops ? log->nr_ops * 2 : 64;
		struct cuts_op *bigger = reallocarray(log->ops, room, sizeof(*bigger));

		if (!bigger)
			return -ENOMEM;
		log->ops = bigger;
	}
	log->ops[log->nr_ops++] = (struct cuts_op){ .type = r->type,
						    .fua = r->flags & CUTS_FUA,
						    .offset = r->offset,
						    .length = r->length,
						    .time_ns = r->time_ns,
						    .data_at = data_at };
	return 0;
}

int cuts_log_open(struct cuts_log *log, const char *path)
{
	struct file_header h;
	struct stat st;
	int err;

	*log = (struct cuts_log){ .fd = open(path, O_RDONLY | O_CLOEXEC), .end = sizeof(h) };
	if (log->fd < 0 || fstat(log->fd, &st))
		return -errno;
	err = read_all(log->fd, &h, sizeof(h), 0);
	if (!err && (memcmp(h.magic, "OSTRCUTS", 8) || h.version != 1))
		err = -EINVAL;
	log->disk_bytes = h.disk_bytes;
	while (!err && log->end + sizeof(struct record) <= (u64)st.st_size) {
		u64 at = log->end + sizeof(struct record), n;
		struct record r;

		err = read_all(log->fd, &r, sizeof(r), log->end);
		if (err || !r.magic)
			break; /* data without its header yet: the recorder was stopped there */
		if (!is_sound(&r, h.disk_bytes)) {
			err = -EINVAL;
			break;
		}
		n = has_data(r.type) ? r.length : 0;
		if (at + n > (u64)st.st_size)
			break;
		err = add_op(log, &r, at);
		log->end = at + n;
	}
	if (err)
		cuts_log_close(log);
	return err;
}

void cuts_log_close(struct cuts_log *log)
{
	if (log->fd >= 0)
		close(log->fd);
	free(log->ops);
	*log = (struct cuts_log){ .fd = -1 };
}

/* ---- replay ------------------------------------------------------------------------------------------------- */

static u64 next_random(u64 *s)
{
	u64 z = *s += 0x9e3779b97f4a7c15ull;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ z >> 27) * 0x94d049bb133111ebull;
	return z ^ z >> 31;
}

/* One piece of an operation onto the disk. */
static int put(const struct cuts_log *log, const struct cuts_op *op, u64 from, u64 n, int fd, char *buf)
{
	int err = 0;

	while (n && !err) {
		size_t part = min(n, (u64)CHUNK);

		if (op->type == CUTS_WRITE)
			err = read_all(log->fd, buf, part, op->data_at + from);
		else
			memset(buf, 0, part);
		if (!err)
			err = write_all(fd, buf, part, op->offset + from);
		from += part;
		n -= part;
	}
	return err;
}

/* Drops, keeps or tears one operation: half of the time all or nothing, else by runs of sectors. */
static int put_torn(const struct cuts_log *log, const struct cuts_op *op, u64 random, int fd, char *buf)
{
	u64 first = op->offset / SECTOR, last = (op->offset + op->length - 1) / SECTOR;
	int err = 0;

	if (!(random & 1))
		return random & 2 ? put(log, op, 0, op->length, fd, buf) : 0;
	for (u64 s = first; s <= last && !err;) {
		u64 r = next_random(&random), run = 1 + (r >> 8) % 16;
		u64 start = max(s * SECTOR, op->offset), end = min((s + run) * SECTOR, op->offset + op->length);

		if (r & 1)
			err = put(log, op, start - op->offset, end - start, fd, buf);
		s += run;
	}
	return err;
}

int cuts_replay(const struct cuts_log *log, size_t nr_ops, enum cuts_loss loss, u64 seed, int fd)
{
	char *buf = malloc(CHUNK);
	size_t safe = 0;
	int err = 0;

	if (!buf)
		return -ENOMEM;
	for (size_t i = 0; i < nr_ops; i++)
		if (log->ops[i].type == CUTS_FLUSH)
			safe = i;
	for (size_t i = 0; i < nr_ops && !err; i++) {
		const struct cuts_op *op = &log->ops[i];
		u64 random = seed ^ (i + 1) * 0xd1342543de82ef95ull;

		if (op->type == CUTS_FLUSH || op->type == CUTS_MARK || !op->length)
			continue;
		if (i < safe || op->fua || loss == CUTS_KEEP_ALL)
			err = put(log, op, 0, op->length, fd, buf);
		else if (loss == CUTS_TORN)
			err = put_torn(log, op, next_random(&random), fd, buf);
	}
	free(buf);
	return err;
}

int cuts_last_mark(const struct cuts_log *log, size_t nr_ops, char *text, size_t size)
{
	text[0] = '\0';
	for (size_t i = nr_ops; i--;) {
		size_t n = min((size_t)log->ops[i].length, size - 1);

		if (log->ops[i].type != CUTS_MARK)
			continue;
		text[n] = '\0';
		return read_all(log->fd, text, n, log->ops[i].data_at);
	}
	return 0;
}

/* ---- copying -------------------------------------------------------------------------------------------------- */

static int copy_range(int in, int out, u64 at, u64 end, char *buf)
{
	int err = 0;

	while (at < end && !err) {
		size_t n = min(end - at, (u64)CHUNK);

		err = read_all(in, buf, n, at);
		if (!err)
			err = write_all(out, buf, n, at);
		at += n;
	}
	return err;
}

static int copy_data(int in, int out, u64 size)
{
	char *buf = malloc(CHUNK);
	off_t at = 0;
	int err = 0;

	if (!buf)
		return -ENOMEM;
	while (!err && (u64)at < size) {
		off_t data = lseek(in, at, SEEK_DATA), hole;

		if (data < 0) {
			err = errno == ENXIO ? 0 : -errno; /* ENXIO: only a hole is left */
			break;
		}
		hole = lseek(in, data, SEEK_HOLE);
		err = hole < 0 ? -errno : copy_range(in, out, data, hole, buf);
		at = hole;
	}
	free(buf);
	return err;
}

int cuts_copy(const char *from, const char *to)
{
	int in = open(from, O_RDONLY | O_CLOEXEC), out = -1, err;
	struct stat st;

	if (in < 0)
		return -errno;
	err = fstat(in, &st) ? -errno : 0;
	if (!err)
		out = open(to, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
	if (!err && out < 0)
		err = -errno;
	if (!err && ftruncate(out, st.st_size))
		err = -errno;
	if (!err)
		err = copy_data(in, out, st.st_size);
	if (out >= 0)
		close(out);
	close(in);
	return err;
}
