/* SPDX-License-Identifier: MIT
 *
 * Problem: a rescued array is of use only when programs can reach it as a disk.
 *
 * Idea: the NBD protocol (fixed newstyle, simple replies; github.com/NetworkBlockDevice/nbd doc/proto.md): Linux's
 * nbd driver, qemu and nbdkit's tools speak it. Several clients at once, or one with several connections: a flush is
 * one of the whole array. Requests that have arrived are all submitted before the engine runs, so that they share
 * journal flushes; replies go out as they finish. Greetings and requests are read whole: who stops in the middle of one
 * is let go after a few seconds.
 *
 * Contract: listens on a unix socket, or on a port of the loopback address only. SIGINT and SIGTERM stop the array
 * cleanly; killed, it is what a power failure is. Exit status 0, 1 on failure, 2 wrong usage.
 *
 * Locks: none.
 */
#include <endian.h>
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include <lib/string.h>
#include "ostrom.h"
#include "raid/raid_priv.h"

#define NBD_MAGIC        0x4e42444d41474943ULL
#define NBD_OPT_MAGIC    0x49484156454f5054ULL
#define NBD_OPT_REPLY    0x3e889045565a9ULL
#define NBD_REQUEST      0x25609513
#define NBD_REPLY        0x67446698
#define NBD_FIXED        3 /* fixed newstyle, no zeroes */
#define NBD_OPT_EXPORT   1
#define NBD_OPT_ABORT    2
#define NBD_OPT_INFO     6
#define NBD_OPT_GO       7
#define NBD_REP_ACK      1
#define NBD_REP_INFO     3
#define NBD_REP_UNSUP    0x80000001u
#define NBD_REP_INVALID  0x80000003u
#define NBD_F_HAS_FLAGS  1
#define NBD_F_READ_ONLY  2
#define NBD_F_FLUSH      4
#define NBD_F_FUA        8
#define NBD_F_MULTI_CONN 256
#define NBD_CMD_FLAG_FUA 1

#define MAX_CLIENTS  16
#define MAX_INFLIGHT 64 /* of a client */
#define MAX_BYTES    (32u << 20)
#define IDLE_MS      1000
#define PATIENCE_S   5

enum { CMD_READ, CMD_WRITE, CMD_DISC, CMD_FLUSH };

struct client {
	struct raid *r;
	int fd; /* -1: nobody */
	bool read_only, broken;
	u32 inflight;
};

struct request {
	struct md_io io;
	struct md_vec vec;
	struct client *c;
	u64 handle;
	u8 data[];
};

static volatile sig_atomic_t stopping;

static void on_signal(int sig)
{
	stopping = 1;
}

static bool get(int fd, void *buf, size_t n)
{
	for (size_t done = 0; done < n;) {
		ssize_t k = read(fd, (char *)buf + done, n - done);

		if (k == 0 || (k < 0 && errno != EINTR) || (k < 0 && stopping)) /* EAGAIN: for too long */
			return false;
		done += k > 0 ? k : 0;
	}
	return true;
}

static bool put(int fd, const void *buf, size_t n)
{
	for (size_t done = 0; done < n;) {
		ssize_t k = send(fd, (const char *)buf + done, n - done, MSG_NOSIGNAL);

		if (k < 0 && errno != EINTR)
			return false;
		done += k > 0 ? k : 0;
	}
	return true;
}

/* ---- negotiation ---- */

static u16 export_flags(const struct client *c)
{
	return NBD_F_HAS_FLAGS | NBD_F_FLUSH | NBD_F_FUA | NBD_F_MULTI_CONN | (c->read_only ? NBD_F_READ_ONLY : 0);
}

static bool reply_option(const struct client *c, u32 option, u32 type, const void *data, u32 n)
{
	struct {
		u64 magic;
		u32 option, type, length;
	} __packed h = { htobe64(NBD_OPT_REPLY), htobe32(option), htobe32(type), htobe32(n) };

	return put(c->fd, &h, sizeof(h)) && put(c->fd, data, n);
}

static bool send_info(const struct client *c, u32 option)
{
	struct {
		u16 type;
		u64 size;
		u16 flags;
	} __packed info = { 0, htobe64(c->r->geo.sectors * 512), htobe16(export_flags(c)) };

	return reply_option(c, option, NBD_REP_INFO, &info, sizeof(info)) &&
	       reply_option(c, option, NBD_REP_ACK, NULL, 0);
}

static bool send_export(const struct client *c)
{
	struct {
		u64 size;
		u16 flags;
	} __packed e = { htobe64(c->r->geo.sectors * 512), htobe16(export_flags(c)) };

	return put(c->fd, &e, sizeof(e));
}

/* Until the client has chosen; false when it leaves. Any export name is this array. */
static bool negotiate(const struct client *c)
{
	struct {
		u64 magic, opt;
		u16 flags;
	} __packed hello = { htobe64(NBD_MAGIC), htobe64(NBD_OPT_MAGIC), htobe16(NBD_FIXED) };
	struct {
		u64 magic;
		u32 option, length;
	} __packed o;
	char data[4096];
	u32 flags;

	if (!put(c->fd, &hello, sizeof(hello)) || !get(c->fd, &flags, sizeof(flags)))
		return false;
	while (get(c->fd, &o, sizeof(o))) {
		u32 option = be32toh(o.option), n = be32toh(o.length);

		if (be64toh(o.magic) != NBD_OPT_MAGIC || n > sizeof(data) || !get(c->fd, data, n))
			return false;
		if (option == NBD_OPT_EXPORT)
			return (be32toh(flags) & 2) && send_export(c);
		if (option == NBD_OPT_ABORT) {
			reply_option(c, option, NBD_REP_ACK, NULL, 0);
			return false;
		}
		if (option == NBD_OPT_GO || option == NBD_OPT_INFO) {
			if (n < 6) {
				reply_option(c, option, NBD_REP_INVALID, NULL, 0);
				continue;
			}
			if (!send_info(c, option))
				return false;
			if (option == NBD_OPT_GO)
				return true;
			continue;
		}
		if (!reply_option(c, option, NBD_REP_UNSUP, NULL, 0))
			return false;
	}
	return false;
}

/* ---- requests ---- */

static void answer(struct client *c, u64 handle, int err, const void *data, u32 n)
{
	struct {
		u32 magic, error;
		u64 handle;
	} __packed h = { htobe32(NBD_REPLY), htobe32(err ? -err : 0), handle };

	if (err == -EROFS)
		h.error = htobe32(EPERM); /* the protocol's word for it */
	if (!put(c->fd, &h, sizeof(h)) || (!err && n && !put(c->fd, data, n)))
		c->broken = true;
}

static void request_done(struct md_io *io, int err)
{
	struct request *q = io->owner;

	answer(q->c, q->handle, err, q->data, io->dir == MD_READ ? q->vec.bytes : 0);
	q->c->inflight--;
	free(q);
}

/* Reads one request and submits it; false ends the connection. */
static bool take_request(struct client *c)
{
	struct {
		u32 magic;
		u16 flags, type;
		u64 handle, offset;
		u32 length;
	} __packed h;
	struct request *q;
	u32 n, type;

	if (!get(c->fd, &h, sizeof(h)) || be32toh(h.magic) != NBD_REQUEST)
		return false;
	type = be16toh(h.type);
	n = type == CMD_READ || type == CMD_WRITE ? be32toh(h.length) : 0;
	if (type == CMD_DISC || n > MAX_BYTES)
		return false;
	q = malloc(sizeof(*q) + n);
	if (!q || (type == CMD_WRITE && !get(c->fd, q->data, n))) {
		free(q);
		return false;
	}
	if (type > CMD_FLUSH || n % 512 || be64toh(h.offset) % 512 || (type != CMD_FLUSH && !n)) {
		answer(c, h.handle, -EINVAL, NULL, 0);
		free(q);
		return true;
	}
	q->c = c;
	q->handle = h.handle;
	q->vec = (struct md_vec){ q->data, n };
	q->io = (struct md_io){
		.dir = type == CMD_READ    ? MD_READ
		       : type == CMD_WRITE ? MD_WRITE
					   : MD_FLUSH,
		.flags = be16toh(h.flags) & NBD_CMD_FLAG_FUA ? MD_FUA : 0,
		.sector = be64toh(h.offset) / 512,
		.sectors = n / 512,
		.vec = &q->vec,
		.nvec = 1,
		.done = request_done,
		.owner = q,
	};
	if (type == CMD_FLUSH)
		q->io.sector = 0;
	c->inflight++;
	md_submit(c->r->e, &q->io);
	return true;
}

/* ---- the socket ---- */

static int listen_unix(const char *path)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (strlen(path) >= sizeof(a.sun_path)) {
		errno = ENAMETOOLONG;
		return -1;
	}
	strcpy(a.sun_path, path);
	unlink(path);
	return fd < 0 || bind(fd, (void *)&a, sizeof(a)) < 0 || listen(fd, 4) < 0 ? -1 : fd;
}

static int listen_port(const char *port)
{
	struct sockaddr_in a = { .sin_family = AF_INET,
				 .sin_port = htons(atoi(port)),
				 .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;

	if (fd >= 0)
		setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	return fd < 0 || bind(fd, (void *)&a, sizeof(a)) < 0 || listen(fd, 4) < 0 ? -1 : fd;
}

/* ---- all clients ---- */

struct server {
	struct raid *r;
	int listener;
	bool read_only, once;
	struct client client[MAX_CLIENTS];
};

static void welcome(struct server *s)
{
	struct timeval patience = { .tv_sec = PATIENCE_S };
	int fd = accept4(s->listener, NULL, NULL, SOCK_CLOEXEC);
	struct client *c = s->client;

	while (c < s->client + MAX_CLIENTS && c->fd >= 0)
		c++;
	if (fd < 0 || c == s->client + MAX_CLIENTS) {
		if (fd >= 0)
			close(fd);
		return;
	}
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
	*c = (struct client){ .r = s->r, .fd = fd, .read_only = s->read_only };
	c->broken = !negotiate(c);
}

/* Waits until somebody wants something, at most ms; takes one request of each who does. What poll says. */
static int take_requests(struct server *s, int ms)
{
	struct pollfd p[MAX_CLIENTS + 1];
	int n;

	for (int i = 0; i < MAX_CLIENTS; i++) {
		const struct client *c = &s->client[i];

		p[i] = (struct pollfd){ .fd = c->broken || c->inflight == MAX_INFLIGHT ? -1 : c->fd, .events = POLLIN };
	}
	p[MAX_CLIENTS] = (struct pollfd){ .fd = s->listener, .events = POLLIN };
	n = poll(p, MAX_CLIENTS + 1, ms);
	for (int i = 0; n > 0 && i < MAX_CLIENTS; i++)
		if (p[i].revents && !take_request(&s->client[i]))
			s->client[i].broken = true;
	if (n > 0 && p[MAX_CLIENTS].revents)
		welcome(s);
	return n;
}

/* Requests on the way; those who have left and have none are forgotten. */
static u32 look_after(struct server *s, u32 *clients)
{
	u32 inflight = 0;

	*clients = 0;
	for (struct client *c = s->client; c < s->client + MAX_CLIENTS; c++) {
		if (c->fd >= 0 && c->broken && !c->inflight) {
			close(c->fd);
			c->fd = -1;
		}
		inflight += c->inflight;
		*clients += c->fd >= 0;
	}
	return inflight;
}

static void serve(struct server *s)
{
	bool idle = false, served = false;
	u32 clients, inflight;

	for (int i = 0; i < MAX_CLIENTS; i++)
		s->client[i].fd = -1;
	while (!stopping) {
		inflight = look_after(s, &clients);
		served |= clients;
		if (s->once && served && !clients)
			return;
		if (take_requests(s, inflight ? 0 : idle ? -1 : IDLE_MS) > 0) {
			idle = false;
		} else if (inflight) {
			raid_pump(s->r);
			if (look_after(s, &clients)) {
				say_error("requests are stuck");
				return;
			}
		} else {
			if (!idle && !s->r->has_log && !s->read_only) /* nothing came for a while: mark it clean */
				raid_stop(s->r);
			idle = true;
		}
	}
	raid_pump(s->r);
}

struct serve_args {
	struct raid_options o;
	bool once;
	const char *socket, *port;
};

/* Index of the first device, or -1 after the usage. */
static int parse(int argc, char **argv, struct serve_args *a)
{
	static const struct option options[] = {
		{ "socket", required_argument, NULL, 's' },  { "port", required_argument, NULL, 'p' },
		{ "read-only", no_argument, NULL, 'r' },     { "write-back", no_argument, NULL, 'b' },
		{ "force", no_argument, NULL, 'f' },         { "once", no_argument, NULL, '1' },
		{ "stripes", required_argument, NULL, 'n' }, { 0 }
	};
	u64 n;
	int c;

	*a = (struct serve_args){ .o.write = true };
	optind = 1;
	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (c) {
		case 's': a->socket = optarg; break;
		case 'p': a->port = optarg; break;
		case 'r': a->o.write = false; break;
		case 'b': a->o.mode = MD_WRITE_BACK; break;
		case 'f': a->o.force = true; break;
		case '1': a->once = true; break;
		case 'n':
			if (str_to_u64(optarg, 10, &n) < 0 || n < 16 || n > 1 << 20) {
				say_error("--stripes %s: 16 to 1048576", optarg);
				return -1;
			}
			a->o.stripes = n;
			break;
		default: return -1;
		}
	}
	if (optind < argc && !a->socket != !a->port)
		return optind;
	say_error("usage: ostrom raid serve --socket PATH | --port N [--read-only] [--write-back] [--stripes N] "
		  "[--force] "
		  "[--once] DEVICE...");
	return -1;
}

int raid_serve(int argc, char **argv)
{
	struct sigaction sa = { .sa_handler = on_signal };
	struct serve_args a;
	struct raid r;
	int first = parse(argc, argv, &a), listener, err;

	if (first < 0)
		return 2;
	err = raid_open(&r, argv + first, argc - first, a.o.write);
	if (!err)
		err = raid_start(&r, &a.o);
	if (err) {
		raid_close(&r);
		return 1;
	}
	sigaction(SIGINT, &sa, NULL);
	sigaction(SIGTERM, &sa, NULL);
	listener = a.socket ? listen_unix(a.socket) : listen_port(a.port);
	if (listener < 0) {
		say_error("%s: %s", a.socket ? a.socket : a.port, strerror(errno));
		err = -errno;
	} else {
		raid_print_plan(&r);
		printf("serving %" PRIu64 " sectors by NBD on %s\n", r.geo.sectors, a.socket ? a.socket : a.port);
		fflush(stdout);
		serve(&(struct server){ .r = &r, .listener = listener, .read_only = !a.o.write, .once = a.once });
		close(listener);
		if (a.socket)
			unlink(a.socket);
	}
	if (a.o.write && raid_stop(&r) < 0)
		err = -EIO;
	raid_close(&r);
	return err ? 1 : 0;
}
