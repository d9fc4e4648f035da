/* SPDX-License-Identifier: MIT
 *
 * Problem: the vtest front end reads whatever a client's socket brings, in pieces of any size, into a process that
 * serves all tenants.
 *
 * Idea: the front end itself (vtest.c) with a real socket pair; the device is played here: it takes commands from the
 * queue as device.c would and checks that each is a whole wire message. The input is cut into pieces of varying length.
 * At the end the connection is freed and the account must be zero and no descriptor left.
 *
 * Contract: libFuzzer target, ASan and UBSan. Input: bytes of a client; the first says how they are cut. Locks: none.
 */
// links: user/ostrom/gpu/vtest.c user/ostrom/gpu/conn.c
#include <fcntl.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>
#include "../../user/ostrom/gpu/gpu.h"
#include "../../user/ostrom/gpu/wire.h"

int LLVMFuzzerTestOneInput(const u8 *data, size_t size);

static void must(bool c)
{
	if (!c)
		abort();
}

/* ---- what the front end needs of the rest of the broker ---- */

void say_error(const char *fmt, ...)
{
}

int watch_add(struct broker *b, struct watch *w, u32 events)
{
	return 0;
}

void watch_set(struct broker *b, struct watch *w, u32 events)
{
}

void watch_close(struct broker *b, struct watch *w)
{
	close(w->fd);
	w->fd = -1;
}

void device_forget_conn(struct conn *c)
{
}

static bool busy;

/* Takes what is queued and finishes it at once. */
static void play_device(struct tenant *t)
{
	struct conn *c;

	if (busy)
		return;
	busy = true;
	while (!list_empty(&t->conns) && (c = list_first_entry(&t->conns, struct conn, link), conn_runnable(c))) {
		c->jobs = 1;
		c->last_job++;
		while (conn_pass_replies(c), !list_empty(&c->ops)) {
			struct op *op = list_first_entry(&c->ops, struct op, link);
			struct wire_header h;

			must(op->bytes >= sizeof(h));
			memcpy(&h, op->data, sizeof(h));
			must(op->bytes == sizeof(h) + h.bytes && h.type >= WIRE_CTX_CREATE && h.type < WIRE_END);
			must((op->fd >= 0) <= (h.type == WIRE_RES_CREATE));
			op_free(conn_pop(c));
		}
		c->jobs = 0;
		conn_progress(c, c->last_job);
	}
	busy = false;
}

static struct tenant *served;

void device_kick(struct broker *b)
{
	play_device(served);
}

/* ---- one client ---- */

static void feed(struct tenant *t, int fd, const u8 *data, size_t size, u32 piece)
{
	u8 sink[4096];

	while (size && !list_empty(&t->conns)) {
		struct conn *c = list_first_entry(&t->conns, struct conn, link);
		size_t n = min(size, (size_t)piece);

		n = max(send(fd, data, n, MSG_DONTWAIT | MSG_NOSIGNAL), 0l);
		data += n;
		size -= n;
		c->watch.ready(&c->watch, EPOLLIN | EPOLLOUT);
		if (piece % 3) /* some clients never read */
			while (recv(fd, sink, sizeof(sink), MSG_DONTWAIT) > 0)
				;
		else if (!n)
			break;
	}
}

static const u32 greeting[] = { 4, 8, 0x7a7a7566, 1, 11, 2, 11, 12, 1, 2, 67, 10, 64, 64, 1, 1, 0, 0, 16384 };

int LLVMFuzzerTestOneInput(const u8 *data, size_t size)
{
	struct broker b = { .epoll = -1 };
	struct tenant t = { .broker = &b, .ready = true };
	struct vgpu_limits l = vgpu_default_limits;
	u8 caps[1376] = { 0 };
	int pair[2];

	if (!size || socketpair(AF_UNIX, SOCK_STREAM, 0, pair))
		return 0;
	l.memory_bytes = 8 << 20;
	l.submit_bytes = 64 << 10;
	vgpu_tenant_init(&t.account, &l, 3);
	vgpu_ids_init(&t.ids, 3);
	vgpu_ids_init(&t.ctx_ids, 3);
	list_init(&t.conns);
	t.caps[1] = t.caps[2] = caps;
	t.caps_bytes[1] = 308;
	t.caps_bytes[2] = sizeof(caps);
	served = &t;
	vtest_accept(&t, pair[0]);
	if (data[0] & 0x80) /* a client that has already said who it is and owns a texture */
		feed(&t, pair[1], (const u8 *)greeting, sizeof(greeting), 4096);
	feed(&t, pair[1], data + 1, size - 1, 1 + (data[0] & 0x7f) * 32);
	close(pair[1]);
	if (!list_empty(&t.conns)) {
		struct conn *c = list_first_entry(&t.conns, struct conn, link);

		if (!c->ended)
			conn_end(c, NULL);
	}
	while (!list_empty(&t.conns))
		conn_free(list_first_entry(&t.conns, struct conn, link));
	must(!t.account.memory && !t.account.resources && !t.account.contexts && !t.account.objects &&
	     !t.ids.used.count);
	vgpu_ids_free(&t.ids);
	vgpu_ids_free(&t.ctx_ids);
	pair[1] = open("/dev/null", O_RDONLY);
	must(pair[1] < 64); /* descriptors do not pile up */
	close(pair[1]);
	return 0;
}
