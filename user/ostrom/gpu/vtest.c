/* SPDX-License-Identifier: MIT
 *
 * Problem: unmodified Mesa speaks vtest: a stream of commands over a Unix socket, written for a test server that trusts
 * its one client.
 *
 * Idea: each command is received whole, checked by the core and turned into messages for the tenant's worker, queued at
 * the connection until the scheduler sends them. What needs no GPU is answered at once: capabilities, versions, and
 * shared memory, which is made here and sealed, so that a client cannot pull it from under the worker. A wait is a
 * reply queued behind the work it waits for; nothing more is read until it is answered.
 *
 *   in bytes -> take_command -> ops of the connection -> (device.c) worker
 *                            -> replies
 *
 * Contract: gpu.h; protocol version 2 of virglrenderer 0.10.4, vtest/vtest_protocol.h (Mesa 19 and newer). Commands are
 * a length in words, an id and the words. A client that breaks the rules is sent away; one that wants more memory than
 * it may have gets a reply without a descriptor, which Mesa reports as GL_OUT_OF_MEMORY.
 *
 * Locks: none; called from the broker's loop.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>
#include "gpu.h"
#include "virt/vgpu/virgl.h"
#include "wire.h"

#define CONNS_MAX      64
#define SUBMITS_QUEUED 4
#define OPS_QUEUED     1024
#define BYTES_QUEUED   (4u << 20)
#define HEADER_BYTES   8
#define VERSION        2u

enum {
	GET_CAPS = 1,
	RESOURCE_UNREF = 3,
	SUBMIT_CMD = 6,
	RESOURCE_BUSY_WAIT = 7,
	CREATE_RENDERER = 8,
	GET_CAPS2 = 9,
	PING_PROTOCOL_VERSION = 10,
	PROTOCOL_VERSION = 11,
	RESOURCE_CREATE2 = 12,
	TRANSFER_GET2 = 13,
	TRANSFER_PUT2 = 14,
	COMMANDS,
};

/* A connection of a process. */
struct vtest {
	struct conn conn;
	struct vgpu_ctx *ctx; /* NULL until the client named itself */
	u8 *in;               /* received and not yet understood */
	u32 in_len, in_size;
	u8 *out; /* replies not yet taken by the client */
	u32 out_len, out_size;
};

static struct vtest *vtest_of(struct conn *c)
{
	return container_of(c, struct vtest, conn);
}

static void enqueue(struct vtest *v, enum op_kind kind, u32 type, const void *payload, u32 bytes, int fd)
{
	conn_enqueue(&v->conn, op_wire(kind, type, v->ctx->host_id, payload, bytes, fd));
}

/* ---- the client's socket ---- */

static bool full(const struct vtest *c)
{
	return c->conn.nr_replies || c->conn.nr_due || c->conn.nr_submits >= SUBMITS_QUEUED ||
	       c->conn.nr_ops >= OPS_QUEUED || c->conn.op_bytes > BYTES_QUEUED;
}

/* Input is watched for while it can be taken. A client that waits for an answer sends nothing, so the set is not
 * changed for that time: input that comes nevertheless stops the watching (client_ready). */
static void want(struct vtest *c)
{
	u32 in = c->conn.tenant->ready && !full(c) ? EPOLLIN : 0;

	if (!c->conn.ended)
		watch_set(c->conn.tenant->broker, &c->conn.watch,
			  (in | (c->conn.nr_due ? c->conn.watch.events & EPOLLIN : 0)) | (c->out_len ? EPOLLOUT : 0));
}

static void flush(struct vtest *c)
{
	ssize_t n = send(c->conn.watch.fd, c->out, c->out_len, MSG_NOSIGNAL | MSG_DONTWAIT);

	if (n <= 0)
		return;
	c->out_len -= n;
	memmove(c->out, c->out + n, c->out_len);
}

static bool reply(struct vtest *c, const void *data, u32 bytes)
{
	if (c->out_len + bytes > c->out_size) {
		u8 *bigger = realloc(c->out, c->out_len + bytes);

		if (!bigger || c->out_len + bytes > 64 << 10)
			return false;
		c->out = bigger;
		c->out_size = c->out_len + bytes;
	}
	memcpy(c->out + c->out_len, data, bytes);
	c->out_len += bytes;
	flush(c);
	return true;
}

static bool reply_word(struct vtest *c, u32 id, u32 word)
{
	u32 r[3] = { 1, id, word };

	return reply(c, r, sizeof(r));
}

/* One byte with a descriptor, or without one: the client's request for memory is refused. */
static bool reply_fd(struct vtest *c, int fd)
{
	char byte = 0;
	struct iovec iov = { &byte, 1 };

	if (c->out_len)
		return false; /* it does not read its replies */
	return send_pieces(c->conn.watch.fd, &iov, 1, fd) == 1;
}

/* ---- commands: each returns NULL, or why the client is sent away ---- */

static const char *reason(int rc)
{
	switch (-rc) {
	case EDQUOT: return "it wants more than it may have";
	case E2BIG: return "a command is too big";
	case ENOENT: return "a command names what it does not own";
	case EOPNOTSUPP: return "a command is not offered";
	case ENOMEM: return "out of memory";
	default: return "a command is malformed";
	}
}

static const char *create_renderer(struct vtest *c, const u8 *name, u32 bytes)
{
	int rc;

	if (c->ctx)
		return "it named itself twice";
	snprintf(c->conn.name, sizeof(c->conn.name), "%.*s", (int)min(bytes, (u32)sizeof(c->conn.name) - 1),
		 (const char *)name);
	rc = conn_ctx_create(&c->conn, 1, &c->ctx);
	if (rc)
		return reason(rc);
	enqueue(c, OP_WIRE, WIRE_CTX_CREATE, c->conn.name, strlen(c->conn.name), -1);
	return NULL;
}

static const char *get_caps(struct vtest *c, u32 set)
{
	struct tenant *t = c->conn.tenant;
	u32 h[2] = { t->caps_bytes[set] + 1, set };

	if (!t->caps_bytes[set])
		return "a capability set does not exist";
	return reply(c, h, sizeof(h)) && reply(c, t->caps[set], t->caps_bytes[set]) ? NULL : "it does not read";
}

static const char *protocol_version(struct vtest *c, u32 version)
{
	if (version < VERSION)
		return "its Mesa is too old";
	return reply_word(c, PROTOCOL_VERSION, VERSION) ? NULL : "it does not read";
}

/* Memory that client and worker share; its size is sealed. */
static int shared_memory(u32 bytes)
{
	int fd = memfd_create("gpu", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	if (fd < 0)
		return -errno;
	if (ftruncate(fd, bytes) || fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL)) {
		close(fd);
		return -ENOMEM;
	}
	return fd;
}

static const char *create_resource(struct vtest *c, const u32 *w)
{
	struct wire_create m = {
		.shm_bytes = w[10],
		.args = { .target = w[1],
			  .format = w[2],
			  .bind = w[3],
			  .width = w[4],
			  .height = w[5],
			  .depth = w[6],
			  .layers = w[7],
			  .last_level = w[8],
			  .samples = w[9] },
	};
	struct vgpu_res *r = NULL;
	int fd = -1, rc = vgpu_res_create(&c->conn.space, w[0], &m.args, m.shm_bytes, &r);

	if (!rc && m.shm_bytes) {
		rc = fd = shared_memory(m.shm_bytes);
		rc = min(rc, 0);
	}
	if (!rc)
		rc = vgpu_ctx_attach(c->ctx, r);
	if (rc) {
		if (r)
			vgpu_res_destroy(&c->conn.space, r);
		if (fd >= 0)
			close(fd);
		c->conn.space.tenant->refused++;
		if (rc != -EDQUOT && rc != -E2BIG && rc != -ENOMEM)
			return reason(rc);
		return m.shm_bytes && reply_fd(c, -1) ? NULL : reason(rc);
	}
	if (m.shm_bytes && !reply_fd(c, fd)) {
		close(fd);
		return "it does not read";
	}
	m.host_id = r->host_id;
	enqueue(c, OP_WIRE, WIRE_RES_CREATE, &m, sizeof(m), fd);
	return NULL;
}

static const char *unref(struct vtest *c, u32 id)
{
	struct vgpu_res *r = vgpu_res_find(&c->conn.space, id);

	if (!r) /* one that was refused when it was made */
		return NULL;
	/* Host ids are not used again before all others were, so this may wait in the queue. */
	enqueue(c, OP_WIRE, WIRE_RES_DESTROY, &r->host_id, sizeof(r->host_id), -1);
	vgpu_res_destroy(&c->conn.space, r);
	return NULL;
}

static const char *transfer(struct vtest *c, const u32 *w, bool to_host)
{
	struct wire_transfer m = {
		.to_host = to_host, .level = w[1], .offset = w[9], .box = { w[2], w[3], w[4], w[5], w[6], w[7] }
	};
	struct vgpu_res *r = vgpu_res_find(&c->conn.space, w[0]);
	int rc = r ? vgpu_res_check_box(&r->args, m.level, &m.box) : -ENOENT;

	if (!rc && m.offset >= r->backing)
		rc = -EINVAL;
	if (rc)
		return reason(rc);
	m.host_id = r->host_id;
	enqueue(c, OP_WORK, WIRE_TRANSFER, &m, sizeof(m), -1);
	return NULL;
}

static const char *submit(struct vtest *c, const void *words, u32 n)
{
	struct op *op = op_wire(OP_SUBMIT, WIRE_SUBMIT, c->ctx->host_id, words, n * 4, -1);
	struct vgpu_stream info;
	int rc = vgpu_virgl_admit(c->ctx, (u32 *)(op->data + sizeof(struct wire_header)), n, &info);

	if (rc) {
		op_free(op);
		return reason(rc);
	}
	op->work = info.draws + info.dispatches + info.transfers;
	conn_enqueue(&c->conn, op);
	return NULL;
}

static const char *busy_wait(struct vtest *c, bool wait)
{
	u32 r[3] = { 1, RESOURCE_BUSY_WAIT, 0 };
	bool busy = conn_busy(&c->conn);
	struct op *op;

	if (!wait || !busy)
		return reply_word(c, RESOURCE_BUSY_WAIT, busy) ? NULL : "it does not read";
	op = op_new(OP_REPLY, sizeof(r), -1);
	memcpy(op->data, r, sizeof(r));
	op->ahead = !device_shared(c->conn.tenant);
	conn_enqueue(&c->conn, op);
	return NULL;
}

/* Words after the header, by id; ANY for a submission, NOT_OFFERED for the rest. */
#define ANY         0xffff
#define NOT_OFFERED 0xfffe
static const u16 lengths[COMMANDS] = {
	NOT_OFFERED, 0, NOT_OFFERED, 1, NOT_OFFERED, NOT_OFFERED, ANY, 2, NOT_OFFERED, 0, 0, 1, 11, 10, 10,
};

static const char *dispatch(struct vtest *c, u32 id, const u8 *body, u32 n)
{
	u32 w[11];

	if (id == SUBMIT_CMD)
		return submit(c, body, n);
	memcpy(w, body, lengths[id] * 4); /* it may lie anywhere in the buffer */
	switch (id) {
	case GET_CAPS: return get_caps(c, 1);
	case GET_CAPS2: return get_caps(c, 2);
	case RESOURCE_UNREF: return unref(c, w[0]);
	case RESOURCE_BUSY_WAIT: return busy_wait(c, w[1] & 1);
	case PING_PROTOCOL_VERSION:
		return reply(c, (u32[2]){ 0, PING_PROTOCOL_VERSION }, 8) ? NULL : "it does not read";
	case PROTOCOL_VERSION: return protocol_version(c, w[0]);
	case RESOURCE_CREATE2: return create_resource(c, w);
	default: return transfer(c, w, id == TRANSFER_PUT2);
	}
}

/* Bytes of a command after its header, or -1 for one that is not allowed now. */
static s64 body_bytes(const struct vtest *c, u32 words, u32 id)
{
	if (id == CREATE_RENDERER) /* the only one whose length is in bytes */
		return words && words <= 4096 ? (s64)words : -1;
	if (!c->ctx || id >= COMMANDS || lengths[id] == NOT_OFFERED)
		return -1;
	if (lengths[id] == ANY)
		return words <= c->conn.space.tenant->limits.submit_bytes / 4 ? (s64)words * 4 : -1;
	return lengths[id] * 4;
}

/* Handles one whole command at `in`; returns the bytes it took, 0 if it is not whole yet, -1 if the client must go. */
static s64 take_command(struct vtest *c, const u8 *in, u32 len, const char **why)
{
	u32 h[2];
	s64 body;

	if (len < HEADER_BYTES)
		return 0;
	memcpy(h, in, HEADER_BYTES);
	body = body_bytes(c, h[0], h[1]);
	if (body < 0) {
		*why = "a command is not offered or too long";
		return -1;
	}
	if (len < HEADER_BYTES + body)
		return 0;
	if (h[1] == CREATE_RENDERER)
		*why = create_renderer(c, in + HEADER_BYTES, body);
	else
		*why = dispatch(c, h[1], in + HEADER_BYTES, h[0]);
	return *why ? -1 : HEADER_BYTES + body;
}

/* Handles what has come, as far as the queue lets it; false if the client was sent away. */
static bool take_input(struct vtest *c)
{
	const char *why = NULL;
	u32 at = 0;

	while (!full(c)) {
		s64 n = take_command(c, c->in + at, c->in_len - at, &why);

		if (n < 0) {
			conn_end(&c->conn, why);
			return false;
		}
		if (!n)
			break;
		at += n;
	}
	c->in_len -= at;
	memmove(c->in, c->in + at, c->in_len);
	return true;
}

static bool make_room(struct vtest *c)
{
	u32 most = HEADER_BYTES + c->conn.space.tenant->limits.submit_bytes, size = c->in_size;
	u8 *bigger;

	if (c->in_len < size)
		return true;
	size = min(max(size * 2, 16384u), most);
	bigger = size > c->in_len ? realloc(c->in, size) : NULL;
	if (!bigger)
		return false;
	c->in = bigger;
	c->in_size = size;
	return true;
}

static void client_ready(struct watch *w, u32 events)
{
	struct vtest *c = container_of(w, struct vtest, conn.watch);
	struct broker *b = c->conn.tenant->broker;
	ssize_t n;

	if (events & EPOLLOUT)
		flush(c);
	if ((events & EPOLLIN) && !(events & (EPOLLHUP | EPOLLERR)) && full(c)) {
		watch_set(b, w, w->events & ~EPOLLIN);
		return;
	}
	if (events & (EPOLLIN | EPOLLHUP | EPOLLERR)) {
		if (!make_room(c)) {
			conn_end(&c->conn, "out of memory");
			return;
		}
		n = recv(w->fd, c->in + c->in_len, c->in_size - c->in_len, MSG_DONTWAIT);
		if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR)) {
			conn_end(&c->conn, NULL);
			return;
		}
		c->in_len += max(n, 0);
		if (!take_input(c))
			return;
	}
	want(c);
	device_kick(b);
}

/* ---- life ---- */

static void answer(struct conn *c, struct op *op)
{
	reply(vtest_of(c), op->data, op->bytes);
}

static void resume(struct conn *c)
{
	struct vtest *v = vtest_of(c);

	if (take_input(v))
		want(v);
}

static void end(struct conn *c)
{
}

static void release(struct conn *c)
{
	struct vtest *v = vtest_of(c);

	free(v->in);
	free(v->out);
	free(v);
}

static const struct front front = {
	.ready = client_ready, .resume = resume, .answer = answer, .end = end, .free = release
};

void vtest_accept(struct tenant *t, int fd)
{
	struct vtest *v = calloc(1, sizeof(*v));
	u32 count = 0;
	struct conn *other;

	list_for_each_entry (other, &t->conns, link)
		count++;
	if (!v || count >= CONNS_MAX) {
		free(v);
		close(fd);
		return;
	}
	conn_init(&v->conn, &front, t, fd);
}
