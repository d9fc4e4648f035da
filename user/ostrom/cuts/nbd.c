/* SPDX-License-Identifier: MIT
 *
 * Problem: recording must work for any program on any disk without a kernel module of ours or a patched client.
 *
 * Idea: a server of the Network Block Device protocol, which QEMU, nbd-client and nbdfuse speak. One process serves all
 * clients in turn: a request is carried out on the working copy, then recorded, then answered, so that the log's order
 * is the order in which clients saw completions.
 *
 *      newstyle handshake -> options (EXPORT_NAME, INFO, GO, LIST, ABORT) -> requests
 *      a second socket, SOCKET.mark: each line becomes a mark in the log and is answered "ok"
 *
 * Contract: cuts.h. Protocol: github.com/NetworkBlockDevice/nbd, doc/proto.md. A client that breaks the protocol is
 * dropped; its disk is not touched.
 *
 * Locks: none; one thread.
 */
#include <arpa/inet.h>
#include <endian.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include "cuts.h"
#include "ostrom.h"

#define MAX_CLIENTS 16
#define MAX_REQUEST (32u << 20)
#define MAX_OPTION  4096

enum { OPT_EXPORT_NAME = 1, OPT_ABORT = 2, OPT_LIST = 3, OPT_INFO = 6, OPT_GO = 7 };
enum { REP_ACK = 1, REP_SERVER = 2, REP_INFO = 3 };
#define REP_ERR_UNSUP   (1u << 31 | 1)
#define REP_ERR_INVALID (1u << 31 | 3)
enum { CMD_READ, CMD_WRITE, CMD_DISC, CMD_FLUSH, CMD_TRIM, CMD_WRITE_ZEROES = 6 };
#define CMD_FLAG_FUA    1
#define CMD_FLAG_NOHOLE 2
#define OPTION_MAGIC    0x49484156454f5054ull
#define REPLY_MAGIC     0x0003e889045565a9ull
#define REQUEST_MAGIC   0x25609513u
#define ANSWER_MAGIC    0x67446698u
/* has flags, flush, FUA, trim, write zeroes, several connections see each other's flushes */
#define EXPORT_FLAGS (1 | 4 | 8 | 32 | 64 | 256)

struct client {
	int fd;
	bool is_mark;
	bool ready; /* handshake done */
	char line[1024];
	size_t have;
};

struct state {
	struct cuts_server *s;
	int listen_fd, mark_fd;
	struct client client[MAX_CLIENTS];
	unsigned nr_clients, nr_served;
	char *buf; /* MAX_REQUEST */
};

static volatile sig_atomic_t stopping;

static void on_signal(int sig)
{
	stopping = 1;
}

static bool get(int fd, void *data, size_t n)
{
	char *p = data;

	while (n) {
		ssize_t done = read(fd, p, n);

		if (done < 0 && errno == EINTR && !stopping)
			continue;
		if (done <= 0)
			return false;
		p += done;
		n -= done;
	}
	return true;
}

static bool put(int fd, const void *data, size_t n)
{
	const char *p = data;

	while (n) {
		ssize_t done = send(fd, p, n, MSG_NOSIGNAL);

		if (done < 0 && errno == EINTR && !stopping)
			continue;
		if (done <= 0)
			return false;
		p += done;
		n -= done;
	}
	return true;
}

/* ---- handshake -------------------------------------------------------------------------------------------- */

static bool reply_option(int fd, u32 option, u32 type, const void *data, u32 n)
{
	struct {
		u64 magic;
		u32 option, type, length;
	} __packed r = { htobe64(REPLY_MAGIC), htobe32(option), htobe32(type), htobe32(n) };

	return put(fd, &r, sizeof(r)) && put(fd, data, n);
}

static bool reply_info(struct state *st, int fd, u32 option)
{
	struct {
		u16 kind;
		u64 size;
		u16 flags;
	} __packed export = { htobe16(0), htobe64(st->s->log->disk_bytes), htobe16(EXPORT_FLAGS) };
	struct {
		u16 kind;
		u32 minimum, preferred, maximum;
	} __packed blocks = { htobe16(3), htobe32(1), htobe32(4096), htobe32(MAX_REQUEST) };

	return reply_option(fd, option, REP_INFO, &export, sizeof(export)) &&
	       reply_option(fd, option, REP_INFO, &blocks, sizeof(blocks)) &&
	       reply_option(fd, option, REP_ACK, NULL, 0);
}

static bool reply_export_name(struct state *st, int fd, bool no_zeroes)
{
	struct {
		u64 size;
		u16 flags;
		char zeroes[124];
	} __packed export = { htobe64(st->s->log->disk_bytes), htobe16(EXPORT_FLAGS), "" };

	return put(fd, &export, no_zeroes ? 10 : sizeof(export));
}

/* The server speaks first. */
static bool greet(int fd)
{
	struct {
		char magic[8];
		u64 option;
		u16 flags;
	} __packed hello = { .option = htobe64(OPTION_MAGIC), .flags = htobe16(3) };

	memcpy(hello.magic, "NBDMAGIC", 8);
	return put(fd, &hello, sizeof(hello));
}

/* The client's flags and options. True when it is ready for requests. */
static bool handshake(struct state *st, int fd)
{
	char data[MAX_OPTION];
	u32 flags;

	if (!get(fd, &flags, 4))
		return false;
	for (;;) {
		struct {
			u64 magic;
			u32 option, length;
		} __packed o;
		u32 option, n;

		if (!get(fd, &o, sizeof(o)) || be64toh(o.magic) != OPTION_MAGIC)
			return false;
		option = be32toh(o.option);
		n = be32toh(o.length);
		if (n > MAX_OPTION || !get(fd, data, n))
			return false;
		switch (option) {
		case OPT_EXPORT_NAME: return reply_export_name(st, fd, be32toh(flags) & 2);
		case OPT_GO: return n >= 6 && reply_info(st, fd, option);
		case OPT_ABORT: reply_option(fd, option, REP_ACK, NULL, 0); return false;
		case OPT_INFO:
			if (!reply_info(st, fd, option))
				return false;
			break;
		case OPT_LIST:
			if (!reply_option(fd, option, REP_SERVER, "\0\0\0\0", 4) ||
			    !reply_option(fd, option, REP_ACK, NULL, 0))
				return false;
			break;
		default:
			if (!reply_option(fd, option, REP_ERR_UNSUP, NULL, 0))
				return false;
		}
	}
}

/* ---- requests ----------------------------------------------------------------------------------------------- */

struct request {
	u32 magic;
	u16 flags, type;
	u64 handle, offset;
	u32 length;
} __packed;

static bool answer(int fd, u64 handle, int err)
{
	struct {
		u32 magic, error;
		u64 handle;
	} __packed a = { htobe32(ANSWER_MAGIC), htobe32(err), handle };

	return put(fd, &a, sizeof(a));
}

static int disk_io(int fd, bool is_write, char *buf, u64 n, u64 at)
{
	while (n) {
		ssize_t done = is_write ? pwrite(fd, buf, n, at) : pread(fd, buf, n, at);

		if (done < 0 && errno == EINTR)
			continue;
		if (done <= 0)
			return done ? errno : EIO;
		buf += done;
		at += done;
		n -= done;
	}
	return 0;
}

static int disk_zero(struct state *st, u64 n, u64 at)
{
	int err = 0;

	memset(st->buf, 0, min(n, (u64)MAX_REQUEST));
	while (n && !err) {
		u64 part = min(n, (u64)MAX_REQUEST);

		err = disk_io(st->s->disk_fd, true, st->buf, part, at);
		at += part;
		n -= part;
	}
	return err;
}

/* Carries it out and records it; 0 or an errno as the protocol has it. */
static int change_disk(struct state *st, unsigned type, bool fua, u64 offset, u64 n)
{
	static const enum cuts_type record[] = { [CMD_WRITE] = CUTS_WRITE,
						 [CMD_FLUSH] = CUTS_FLUSH,
						 [CMD_TRIM] = CUTS_TRIM,
						 [CMD_WRITE_ZEROES] = CUTS_ZERO };
	int err = 0;

	if (type == CMD_WRITE)
		err = disk_io(st->s->disk_fd, true, st->buf, n, offset);
	else if (type != CMD_FLUSH)
		err = disk_zero(st, n, offset);
	if (!err)
		err = -cuts_log_append(st->s->log, record[type], fua, offset, n, st->buf);
	return err;
}

static bool serve_request(struct state *st, struct client *c)
{
	struct request r;
	u64 offset, n;
	unsigned type;
	int err = 0;

	if (!get(c->fd, &r, sizeof(r)) || be32toh(r.magic) != REQUEST_MAGIC)
		return false;
	type = be16toh(r.type);
	offset = be64toh(r.offset);
	n = be32toh(r.length);
	if (type == CMD_DISC || (n > MAX_REQUEST && (type == CMD_READ || type == CMD_WRITE)))
		return false;
	if (type == CMD_WRITE && !get(c->fd, st->buf, n))
		return false;
	if (offset > st->s->log->disk_bytes || n > st->s->log->disk_bytes - offset)
		err = type == CMD_WRITE ? ENOSPC : EINVAL;
	else if (type == CMD_READ)
		err = disk_io(st->s->disk_fd, false, st->buf, n, offset);
	else if (type == CMD_WRITE || type == CMD_FLUSH || type == CMD_TRIM || type == CMD_WRITE_ZEROES)
		err = change_disk(st, type, be16toh(r.flags) & CMD_FLAG_FUA, offset, n);
	else
		err = EINVAL;
	if (!answer(c->fd, r.handle, err))
		return false;
	return type != CMD_READ || err || put(c->fd, st->buf, n);
}

static bool serve_mark(struct state *st, struct client *c)
{
	ssize_t n = read(c->fd, c->line + c->have, sizeof(c->line) - c->have);
	char *end;

	if (n <= 0)
		return false;
	c->have += n;
	while ((end = memchr(c->line, '\n', c->have))) {
		size_t length = end - c->line;

		if (cuts_log_append(st->s->log, CUTS_MARK, false, 0, length, c->line) || !put(c->fd, "ok\n", 3))
			return false;
		c->have -= length + 1;
		memmove(c->line, end + 1, c->have);
	}
	return c->have < sizeof(c->line);
}

/* ---- sockets -------------------------------------------------------------------------------------------------- */

static int listen_unix(const char *path)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || strlen(path) >= sizeof(a.sun_path)) {
		errno = fd < 0 ? errno : ENAMETOOLONG;
		return -1;
	}
	strcpy(a.sun_path, path);
	unlink(path);
	return bind(fd, (struct sockaddr *)&a, sizeof(a)) || listen(fd, 4) ? -1 : fd;
}

static int listen_port(int port)
{
	struct sockaddr_in a = { .sin_family = AF_INET,
				 .sin_port = htons(port),
				 .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;

	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)))
		return -1;
	return bind(fd, (struct sockaddr *)&a, sizeof(a)) || listen(fd, 4) ? -1 : fd;
}

static void accept_client(struct state *st, int listen_fd, bool is_mark)
{
	int fd = accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC);

	if (fd < 0)
		return;
	if (st->nr_clients == MAX_CLIENTS || (!is_mark && !greet(fd))) {
		close(fd);
		return;
	}
	st->client[st->nr_clients++] = (struct client){ .fd = fd, .is_mark = is_mark };
}

static bool serve_client(struct state *st, struct client *c)
{
	if (c->is_mark)
		return serve_mark(st, c);
	if (c->ready)
		return serve_request(st, c);
	c->ready = handshake(st, c->fd);
	st->nr_served += c->ready;
	return c->ready;
}

static bool has_nbd_client(const struct state *st)
{
	for (unsigned i = 0; i < st->nr_clients; i++)
		if (!st->client[i].is_mark)
			return true;
	return false;
}

static void loop(struct state *st)
{
	while (!stopping && !(st->s->once && st->nr_served && !has_nbd_client(st))) {
		struct pollfd p[MAX_CLIENTS + 2] = { { st->listen_fd, POLLIN, 0 }, { st->mark_fd, POLLIN, 0 } };
		unsigned n = st->nr_clients;

		for (unsigned i = 0; i < n; i++)
			p[i + 2] = (struct pollfd){ st->client[i].fd, POLLIN, 0 };
		if (poll(p, n + 2, -1) < 0)
			continue;
		for (unsigned i = n; i--;)
			if (p[i + 2].revents && !serve_client(st, &st->client[i])) {
				close(st->client[i].fd);
				st->client[i] = st->client[--st->nr_clients];
			}
		if (p[0].revents)
			accept_client(st, st->listen_fd, false);
		if (p[1].revents)
			accept_client(st, st->mark_fd, true);
	}
}

static void stop_on(int sig)
{
	struct sigaction sa = { .sa_handler = on_signal };

	sigaction(sig, &sa, NULL);
}

int cuts_serve(struct cuts_server *s)
{
	struct state st = { .s = s, .listen_fd = -1, .mark_fd = -1 };
	char mark_path[256];
	int err = 0;

	stopping = 0;
	stop_on(SIGINT);
	stop_on(SIGTERM);
	st.buf = malloc(MAX_REQUEST);
	st.listen_fd = s->socket ? listen_unix(s->socket) : listen_port(s->port);
	if (s->socket && st.listen_fd >= 0) {
		snprintf(mark_path, sizeof(mark_path), "%s.mark", s->socket);
		st.mark_fd = listen_unix(mark_path);
	}
	if (!st.buf)
		err = -ENOMEM;
	else if (st.listen_fd < 0 || (s->socket && st.mark_fd < 0))
		err = -errno;
	else
		loop(&st);
	for (unsigned i = 0; i < st.nr_clients; i++)
		close(st.client[i].fd);
	if (st.listen_fd >= 0)
		close(st.listen_fd);
	if (st.mark_fd >= 0)
		close(st.mark_fd);
	if (s->socket && !err) {
		unlink(s->socket);
		unlink(mark_path);
	}
	free(st.buf);
	return err;
}
