/* SPDX-License-Identifier: MIT
 *
 * Problem: a tenant may be anybody. Its socket is all it has, and it will write anything into it.
 *
 * Idea: three attacks on one tenant's socket. `forged`: each known trick once (ids of others, work without end, memory
 * without end, refused commands, broken framing), each on a connection of its own, with what must come of it: sent
 * away, refused memory, or ignored. `random`: streams made of plausible commands with random contents, so that many
 * pass the check and reach the renderer. `flood`: requests whose replies are never read. Another tenant's pixels,
 * checked by its own program at the same time, say whether any of it got out.
 *
 * Contract: hostile SOCKET forged | random COUNT SEED | flood. Prints `ok NAME` or `not ok NAME: why`, exit 0 if all is
 * as it must be. Uses nothing but the protocol (vtest version 2).
 *
 * Locks: none; one thread.
 */
#include <errno.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

typedef uint32_t u32;

#define HDR(op, type, len) ((op) | (type) << 8 | (u32)(len) << 16)

enum {
	UNREF = 3,
	SUBMIT = 6,
	BUSY_WAIT = 7,
	RENDERER = 8,
	CAPS2 = 9,
	PING = 10,
	VERSION = 11,
	CREATE = 12,
	GET = 13,
	PUT = 14
};

static const char *path;
static int failures;

static void verdict(const char *name, int ok, const char *why)
{
	failures += !ok;
	printf(ok ? "ok %s\n" : "not ok %s: %s\n", name, why);
	fflush(stdout);
}

/* ---- the protocol ---- */

static int dial(void)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	strncpy(a.sun_path, path, sizeof(a.sun_path) - 1);
	for (int i = 0; i < 100; i++) {
		if (!connect(fd, (struct sockaddr *)&a, sizeof(a)))
			return fd;
		usleep(20000);
	}
	fprintf(stderr, "hostile: %s: %s\n", path, strerror(errno));
	exit(1);
}

static int put(int fd, const void *p, size_t n)
{
	while (n) {
		ssize_t k = send(fd, p, n, MSG_NOSIGNAL);

		if (k <= 0)
			return -1;
		p = (const char *)p + k;
		n -= k;
	}
	return 0;
}

static int command(int fd, u32 id, const u32 *w, u32 n)
{
	u32 h[2] = { n, id };

	return put(fd, h, 8) || put(fd, w, n * 4);
}

/* Reads n bytes within five seconds; 0, or -1 at the end of the connection. */
static int get(int fd, void *p, size_t n)
{
	while (n) {
		struct pollfd f = { fd, POLLIN, 0 };
		ssize_t k = poll(&f, 1, 5000) == 1 ? recv(fd, p, n, 0) : -1;

		if (k <= 0)
			return -1;
		p = (char *)p + k;
		n -= k;
	}
	return 0;
}

static int greet(void)
{
	u32 two = 2, r[3];
	int fd = dial();

	put(fd, (u32[]){ 5, RENDERER }, 8);
	put(fd, "evil", 5);
	command(fd, VERSION, &two, 1);
	if (!get(fd, r, 12) && r[2] == 2)
		return fd;
	close(fd);
	return -1;
}

/* What an earlier connection took is this tenant's until its worker has given it back: that may take a moment. */
static int open_client(void)
{
	int fd = greet();

	for (int i = 0; fd < 0 && i < 100; i++) {
		usleep(100000);
		fd = greet();
	}
	return fd;
}

/* Creates a texture of 64 x 64 with 16 KiB behind it; whether a descriptor came. */
static int create(int fd, u32 handle, u32 w, u32 h, u32 layers, u32 bytes)
{
	u32 a[11] = { handle, layers > 1 ? 7 : 2, 67, 10, w, h, 1, layers, 0, 0, bytes };
	char byte, control[CMSG_SPACE(sizeof(int))];
	struct iovec iov = { &byte, 1 };
	struct msghdr m = {
		.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control)
	};
	struct cmsghdr *c;
	int got = -1;

	if (command(fd, CREATE, a, 11) || recvmsg(fd, &m, 0) != 1)
		return -1;
	c = CMSG_FIRSTHDR(&m);
	if (!c)
		return 0;
	memcpy(&got, CMSG_DATA(c), sizeof(int));
	close(got);
	return 1;
}

/* Whether the connection still answers after all that was sent. */
static int lives(int fd)
{
	u32 w[2] = { 0, 1 }, r[3];

	return !command(fd, BUSY_WAIT, w, 2) && !get(fd, r, 12) && r[1] == BUSY_WAIT;
}

/* ---- forged commands ---- */

struct stream {
	const char *name;
	u32 words[24];
	u32 n;
	int lives;
};

static const struct stream streams[] = {
	{ "a right stream", { HDR(24, 0, 1), ~0u }, 2, 1 },
	{ "surface of another's resource", { HDR(1, 8, 5), 9, 77 }, 6, 0 },
	{ "surface of a host id", { HDR(1, 8, 5), 9, 2 }, 6, 0 },
	{ "vertex buffer of another's", { HDR(6, 0, 3), 16, 0, 77 }, 4, 0 },
	{ "copy from another's", { HDR(17, 0, 13), 1, 0, 0, 0, 0, 77 }, 14, 0 },
	{ "unknown opcode", { HDR(200, 0, 0) }, 1, 0 },
	{ "video", { HDR(53, 0, 8) }, 9, 0 },
	{ "blob resource", { HDR(48, 0, 11), 2, 1, 2, 64, 64, 1, 1 }, 12, 0 },
	{ "memory information", { HDR(50, 0, 1), 1 }, 2, 0 },
	{ "command past the end", { HDR(24, 0, 50), 1 }, 2, 0 },
	{ "slot past the end", { HDR(10, 0, 3), 0, 1000, 0 }, 4, 0 },
	{ "stage that does not exist", { HDR(12, 0, 3), 90, 0, 0 }, 4, 0 },
	{ "four thousand million vertices", { HDR(8, 0, 12), 0, ~0u, 4, 0, ~0u }, 13, 0 },
	{ "65535 cubed groups", { HDR(37, 0, 8), 1024, 1, 1, 65535, 65535, 65535 }, 9, 0 },
	{ "shader of 2 GiB", { HDR(1, 4, 5), 9, 0, 0x7fffffff, 100, 0 }, 6, 0 },
	{ "shader of 2^30 tokens", { HDR(1, 4, 5), 9, 0, 100, 1 << 30, 0 }, 6, 0 },
	{ "sub-context of nobody", { HDR(28, 0, 1), 12345 }, 2, 0 },
};

static void forged_streams(void)
{
	for (u32 i = 0; i < sizeof(streams) / sizeof(*streams); i++) {
		const struct stream *s = &streams[i];
		int fd = open_client();

		if (fd < 0 || create(fd, 1, 64, 64, 1, 16384) != 1) {
			verdict(s->name, 0, "cannot even begin");
			continue;
		}
		command(fd, SUBMIT, s->words, s->n);
		verdict(s->name, lives(fd) == s->lives, s->lives ? "was sent away" : "was let through");
		close(fd);
	}
}

/* Whether as many textures as before fit, once the connection that had them is gone. */
static int comes_back(u32 big)
{
	for (int i = 0; i < 100; i++) {
		int fd = open_client();
		u32 n = 0;

		while (n < big && create(fd, 10 + n, 512, 512, 1, 4096) == 1)
			n++;
		close(fd);
		if (n == big)
			return 1;
		usleep(100000);
	}
	return 0;
}

static void forged_sizes(void)
{
	int fd = open_client();
	u32 big = 0;

	verdict("16384 x 16384 x 2048 layers", create(fd, 1, 16384, 16384, 2048, 4096) == 0, "memory was given");
	verdict("an impossible texture", create(fd, 2, 20000, 20000, 1, 4096) == 0, "memory was given");
	verdict("after refused memory", lives(fd), "was sent away");
	while (big < 100000 && create(fd, 10 + big, 512, 512, 1, 4096) == 1)
		big++;
	printf("# %u textures of 1 MiB before the limit\n", big);
	verdict("memory ends", big && big < 100000 && lives(fd), "it does not");
	close(fd);
	verdict("memory comes back", comes_back(big), "it does not");
	verdict("memory comes back again", comes_back(big), "it does not");
}

static void endless(const char *name, u32 op, u32 type, u32 len)
{
	int fd = open_client(), ended = 0;
	u32 w[16] = { HDR(op, type, len) };

	for (u32 i = 1; i < 300000 && !ended; i++) {
		w[1] = i;
		ended = command(fd, SUBMIT, w, len + 1);
	}
	verdict(name, ended || !lives(fd), "has no end");
	close(fd);
}

static void forged_framing(void)
{
	u32 huge[2] = { 2 << 20, SUBMIT }, w[11] = { 1, 0, 60, 60, 0, 64, 64, 1, 0, 0 };
	int fd = dial();

	put(fd, (u32[]){ 1, SUBMIT, 0 }, 12);
	verdict("a command before its name", !lives(fd), "was let through");
	close(fd);
	fd = open_client();
	put(fd, huge, 8);
	verdict("a stream of 8 MiB", !lives(fd), "was let through");
	close(fd);
	fd = open_client();
	create(fd, 1, 64, 64, 1, 16384);
	command(fd, PUT, w, 10);
	verdict("a transfer outside its texture", !lives(fd), "was let through");
	close(fd);
	fd = open_client();
	create(fd, 1, 64, 64, 1, 16384);
	w[2] = w[3] = 0;
	w[9] = 16384;
	command(fd, GET, w, 10);
	verdict("a transfer outside its memory", !lives(fd), "was let through");
	close(fd);
	fd = open_client();
	put(fd, (u32[]){ 100, SUBMIT, HDR(0, 0, 5) }, 12);
	close(fd);                   /* in the middle of a command */
	for (int i = 0; i < 40; i++) /* half a greeting */
		close(dial());
	fd = open_client();
	verdict("after hanging up in the middle", lives(fd), "was sent away");
	close(fd);
}

/* ---- random streams ---- */

#define MENDED_ONE_IN   256 /* such streams go deep, and crash or hang a worker often; a new one takes its time */
#define STREAMS_AT_ONCE 32  /* each under 1024 words with what frames it */

static uint64_t rng;

static u32 rnd(u32 n)
{
	rng ^= rng << 13;
	rng ^= rng >> 7;
	rng ^= rng << 17;
	return (rng >> 20) % n;
}

static u32 word(void)
{
	switch (rnd(6)) {
	case 0: return 0;
	case 1: return 1 + rnd(4); /* a resource or object that exists */
	case 2: return rnd(64);
	case 3: return 0x3f800000; /* 1.0 */
	case 4: return rnd(1 << 16);
	default: return rnd(~0u);
	}
}

/* Lengths of commands in words by opcode; 255: various. */
static const unsigned char lengths[53] = { 3, 255, 1, 1, 7,  3,  3, 8,  12, 14, 4, 3,  6,  1,  4, 3, 21, 13,
					   4, 1,   1, 2, 32, 32, 1, 2,  3,  5,  1, 1,  1,  2,  6, 1, 5,  7,
					   1, 8,   2, 1, 4,  3,  6, 13, 0,  14, 2, 12, 11, 12, 1, 3, 6 };
static const unsigned char object_lengths[12] = { 0, 11, 9, 5, 16, 5, 6, 9, 5, 4, 4, 6 };

/* Where commands have resource ids (two positions), a shader stage and a first slot, by opcode; of objects, an id. */
static const unsigned char places[53][4] = {
	[4] = { 0, 0, 0, 1 },  [6] = { 3 },           [8] = { 0 },           [9] = { 1 },
	[10] = { 0, 0, 1, 2 }, [11] = { 1 },          [12] = { 0, 0, 1 },    [15] = { 0, 0, 0, 1 },
	[16] = { 4, 13 },      [17] = { 1, 6 },       [18] = { 0, 0, 1, 2 }, [27] = { 5, 0, 1, 2 },
	[31] = { 0, 0, 2 },    [34] = { 5, 0, 1, 2 }, [35] = { 7, 0, 1, 2 }, [37] = { 7 },
	[40] = { 4, 0, 0, 1 }, [42] = { 2 },          [43] = { 1 },          [45] = { 1, 12 },
	[47] = { 1 },
};
static const unsigned char object_ids[12] = { [6] = 2, [8] = 2, [9] = 4, [10] = 2, [11] = 2 };

/* Makes most of what the service would refuse at a glance right, so that the renderer gets to see the rest. */
static void mend(u32 *w, u32 op, u32 type)
{
	static const unsigned char bindable[4] = { 1, 2, 3, 5 };
	const unsigned char *p = places[op];

	for (int i = 0; i < 2; i++)
		if (p[i])
			w[p[i]] = 1 + rnd(4);
	if (p[2])
		w[p[2]] = rnd(6);
	if (p[3])
		w[p[3]] = rnd(16);
	switch (op) {
	case 1:
		if (object_ids[type])
			w[object_ids[type]] = 1 + rnd(4);
		if (type == 5)
			w[4] = rnd(32);
		if (type == 7)
			w[2] &= ~(1u << 11);
		if (type == 11)
			w[6] = rnd(5);
		break;
	case 2: w[0] = HDR(2, bindable[rnd(4)], 1); break;
	case 5: w[1] = lengths[5] - 2; break;
	case 11: w[2] = 1 << rnd(3); break;
	case 28: w[1] = 0; break;
	case 43: w[13] = 1 + rnd(2); break;
	case 46: w[1] = rnd(3); break;
	}
}

static u32 make_command(u32 *w, int mended)
{
	u32 op = rnd(53), type = 1 + rnd(11), n = lengths[op];

	if (op == 48 || op == 49 || op == 50)
		op = 24, n = 1;
	if (n == 255)
		n = object_lengths[type];
	w[0] = HDR(op, op <= 3 ? type : 0, n);
	for (u32 i = 1; i <= n; i++)
		w[i] = word();
	if (op == 1 && !w[1])
		w[1] = 1;
	if (mended)
		mend(w, op, type);
	if (op == 1 && type == 4) { /* a shader with some text */
		w[2] = rnd(6);
		w[3] = 44;
		w[4] = 20;
		w[5] = 0;
		memcpy(w + 6,
		       rnd(2) ? "FRAG\nDCL OUT[0], COLOR\n  0: MOV OUT[0], IMM\n"
			      : "VERT\n  0: END\n garbage garbage garbage garbage",
		       44);
	}
	if (op == 8)
		w[2] = rnd(100), w[5] = 1;
	if (op == 37)
		for (int i = 1; i <= 6; i++)
			w[i] = 1 + rnd(4);
	return n + 1;
}

/* A stream, and behind it a question that is answered at once if the stream was let through. */
static u32 make_stream(u32 *out)
{
	u32 n = 0, commands = 1 + rnd(6), *words = out + 2;
	int mended = !rnd(MENDED_ONE_IN);

	while (commands--)
		n += make_command(words + n, mended);
	if (!rnd(20))
		words[rnd(n)] ^= 1u << rnd(32);
	out[0] = n;
	out[1] = SUBMIT;
	words[n] = 0;
	words[n + 1] = PING;
	return n + 4;
}

/* What a connection begins with: a name, the version, four textures of which one has memory behind it. */
static u32 make_prologue(u32 *out)
{
	u32 *w = out;

	*w++ = 4;
	*w++ = RENDERER;
	memcpy(w++, "evil", 4);
	memcpy(w, (u32[]){ 1, VERSION, 2 }, 12);
	w += 3;
	for (u32 k = 1; k <= 4; k++, w += 13)
		memcpy(w, (u32[]){ 11, CREATE, k, 2, 67, 10, 64, 64, 1, 1, 0, 0, k == 1 ? 16384 : 0 }, 13 * 4);
	return w - out;
}

#define PROLOGUE_REPLY 13 /* bytes: the version, and one with a descriptor */

static ssize_t receive(int fd, void *p, size_t n)
{
	char control[CMSG_SPACE(sizeof(int))];
	struct iovec iov = { p, n };
	struct msghdr m = {
		.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control)
	};
	struct pollfd f = { fd, POLLIN, 0 };
	ssize_t k = poll(&f, 1, 60000) == 1 ? recvmsg(fd, &m, 0) : -1;
	struct cmsghdr *c = k > 0 ? CMSG_FIRSTHDR(&m) : NULL;
	int got;

	if (c) {
		memcpy(&got, CMSG_DATA(c), sizeof(int));
		close(got);
	}
	return k;
}

/* How many of n streams were judged by the service: those that it let through, and the one it sent us away for. */
static u32 judged(int fd, u32 n, u32 before, int *away)
{
	u32 r[2 * STREAMS_AT_ONCE + PROLOGUE_REPLY], got = 0;

	*away = 0;
	while (got < before + n * 8 && !*away) {
		ssize_t k = receive(fd, (char *)r + got, before + n * 8 - got);

		*away = k <= 0;
		got += *away ? 0 : k;
	}
	if (got < before) {
		usleep(1000); /* its worker was just ended; the next try gets a new one */
		return 0;
	}
	return (got - before) / 8 + *away;
}

static void random_streams(u32 count, u32 seed)
{
	static u32 words[128 + STREAMS_AT_ONCE * 1024], *streams = words + 128;
	u32 at[STREAMS_AT_ONCE + 1] = { 0 }, made = 0, first = 0, done = 0, sent_away = 0,
				 prologue = make_prologue(words);
	int fd = -1, away;

	rng = seed * 0x9e3779b97f4a7c15ull + 1;
	while (done < count) {
		u32 n, before = 0;

		if (first == made)
			for (first = made = 0; made < STREAMS_AT_ONCE && made < count - done; made++)
				at[made + 1] = at[made] + make_stream(streams + at[made]);
		if (fd < 0) {
			fd = dial();
			before = put(fd, words, prologue * 4) ? 0 : PROLOGUE_REPLY;
		}
		put(fd, streams + at[first], (at[made] - at[first]) * 4); /* all, or until we are sent away */
		n = judged(fd, made - first, before, &away);
		first += n;
		done += n;
		if (away || (done / STREAMS_AT_ONCE % 8 == 0 && !lives(fd))) {
			sent_away += !!n;
			close(fd);
			fd = -1;
		}
	}
	printf("# %u streams judged, %u times sent away\n", done, sent_away);
	if (fd >= 0)
		close(fd);
	sleep(1);
	fd = open_client();
	verdict("after random streams", fd >= 0 && lives(fd), "the service does not answer");
}

static void flood(void)
{
	int fd = open_client(), sent = 0;
	struct timespec t0, t1;

	clock_gettime(CLOCK_MONOTONIC, &t0);
	do {
		struct pollfd f = { fd, POLLOUT, 0 };

		if (poll(&f, 1, 200) != 1 || command(fd, CAPS2, NULL, 0))
			break;
		clock_gettime(CLOCK_MONOTONIC, &t1);
	} while (++sent < 1000000 && t1.tv_sec - t0.tv_sec < 20);
	printf("# %d requests before the end\n", sent);
	close(fd);
	fd = open_client();
	verdict("after a flood", fd >= 0 && lives(fd), "the service does not answer");
}

int main(int argc, char **argv)
{
	if (argc < 3)
		return 2;
	path = argv[1];
	if (!strcmp(argv[2], "forged")) {
		forged_streams();
		forged_sizes();
		endless("objects", 1, 5, 1);
		endless("sub-contexts", 29, 0, 1);
		forged_framing();
	} else if (!strcmp(argv[2], "random") && argc == 5) {
		random_streams(atoi(argv[3]), atoi(argv[4]));
	} else {
		flood();
	}
	return failures ? 1 : 0;
}
