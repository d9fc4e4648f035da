/* SPDX-License-Identifier: MIT
 *
 * The record of what reached a disk, and the disks that a power cut could have left behind.
 *
 * A log is a file: a header, then records in the order in which the operations completed. A record is a header of 32
 * bytes, little endian, followed by the data of a write. A record that the end of the file cuts is ignored.
 *
 *      header   "OSTRCUTS"  u32 version 1  u32 0  u64 disk bytes  u64 0
 *      record   u32 magic  u16 type  u16 flags  u64 offset  u64 length  u64 time_ns
 *
 * The model of a disk with a volatile cache: what was written before a flush that completed is safe; a write with FUA
 * is safe when it completes; of the others each 512-byte sector may or may not have arrived, in any combination.
 *
 * Threading: none; single process.
 */
#ifndef CUTS_H
#define CUTS_H

#include <lib/types.h>

enum cuts_type { CUTS_WRITE = 1, CUTS_ZERO, CUTS_TRIM, CUTS_FLUSH, CUTS_MARK };
#define CUTS_FUA 1

struct cuts_op {
	enum cuts_type type;
	bool fua;
	u64 offset, length; /* of the disk; a mark's text length */
	u64 time_ns;
	u64 data_at; /* in the log file: data of a write, text of a mark */
};

struct cuts_log {
	int fd;
	u64 disk_bytes;
	u64 end; /* bytes of whole records */
	/* reading */
	struct cuts_op *ops;
	size_t nr_ops;
};

/* All: 0 or -errno. */
int cuts_log_create(struct cuts_log *log, const char *path, u64 disk_bytes);
int cuts_log_append(struct cuts_log *log, enum cuts_type type, bool fua, u64 offset, u64 length, const void *data);
int cuts_log_open(struct cuts_log *log, const char *path); /* reads all headers */
void cuts_log_close(struct cuts_log *log);

/* How a cut treats sectors that no flush had made safe. */
enum cuts_loss { CUTS_KEEP_ALL, CUTS_DROP_ALL, CUTS_TORN };

/* Writes into fd (the base image's content, at least disk_bytes) what the disk holds after a cut behind the first
 * nr_ops operations. seed chooses for CUTS_TORN. */
int cuts_replay(const struct cuts_log *log, size_t nr_ops, enum cuts_loss loss, u64 seed, int fd);

/* The last mark among the first nr_ops operations, into text (size > 0); "" if there is none. */
int cuts_last_mark(const struct cuts_log *log, size_t nr_ops, char *text, size_t size);

/* Copies a file, holes stay holes. */
int cuts_copy(const char *from, const char *to);

struct cuts_server {
	const char *socket; /* unix socket path, or NULL */
	int port;           /* of 127.0.0.1, if no socket */
	int disk_fd;        /* the working copy */
	bool once;          /* stop when the last client leaves */
	struct cuts_log *log;
};

/* Serves NBD, and marks on SOCKET.mark, until SIGINT, SIGTERM or (once) the last client has left. */
int cuts_serve(struct cuts_server *s);

#endif
