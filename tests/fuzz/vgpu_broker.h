/* SPDX-License-Identifier: MIT
 *
 * What the fuzzers of the broker's front ends share: the rest of the broker, played. One tenant with small limits; what
 * a front end queues is taken as device.c would take it, checked to be a whole wire message, and finished at once. At
 * the end the account must be zero and no descriptor left.
 */
#ifndef FUZZ_VGPU_BROKER_H
#define FUZZ_VGPU_BROKER_H

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
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

/* The fuzzer's own: whether the front end may queue this kind of message, and with a descriptor. */
static bool may_queue(u32 type, bool has_fd);

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

bool device_shared(struct tenant *self)
{
	return true;
}

/* ---- the device ---- */

static struct tenant *served;

static void finish_next(struct conn *c)
{
	struct op *op = list_first_entry(&c->ops, struct op, link);
	struct wire_header h;

	must(op->bytes >= sizeof(h));
	memcpy(&h, op->data, sizeof(h));
	must(op->bytes == sizeof(h) + h.bytes && may_queue(h.type, op->fd >= 0));
	op_free(conn_pop(c));
}

void device_kick(struct broker *b)
{
	static bool busy;
	struct conn *c;

	if (busy)
		return;
	busy = true;
	while (!list_empty(&served->conns) &&
	       (c = list_first_entry(&served->conns, struct conn, link), conn_runnable(c))) {
		c->jobs = 1;
		c->last_job++;
		while (conn_pass_replies(c), !list_empty(&c->ops))
			finish_next(c);
		c->jobs = 0;
		conn_progress(c, c->last_job);
	}
	busy = false;
}

/* ---- the tenant ---- */

static void tenant_begin(struct tenant *t, struct broker *b)
{
	static u8 caps[1376];
	struct vgpu_limits l = vgpu_default_limits;

	*b = (struct broker){ .epoll = -1 };
	*t = (struct tenant){ .broker = b, .ready = true };
	l.memory_bytes = 8 << 20;
	l.submit_bytes = 64 << 10;
	vgpu_tenant_init(&t->account, &l, 3);
	vgpu_ids_init(&t->ids, 3);
	vgpu_ids_init(&t->ctx_ids, 3);
	list_init(&t->conns);
	t->caps[1] = t->caps[2] = caps;
	t->caps_bytes[1] = 308;
	t->caps_bytes[2] = sizeof(caps);
	served = t;
}

static void tenant_end(struct tenant *t)
{
	int fd;

	if (!list_empty(&t->conns)) {
		struct conn *c = list_first_entry(&t->conns, struct conn, link);

		if (!c->ended)
			conn_end(c, NULL);
	}
	while (!list_empty(&t->conns))
		conn_free(list_first_entry(&t->conns, struct conn, link));
	must(!t->account.memory && !t->account.resources && !t->account.contexts && !t->account.objects &&
	     !t->ids.used.count);
	vgpu_ids_free(&t->ids);
	vgpu_ids_free(&t->ctx_ids);
	fd = open("/dev/null", O_RDONLY);
	must(fd < 64); /* descriptors do not pile up */
	close(fd);
}

#endif
