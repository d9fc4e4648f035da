/* SPDX-License-Identifier: MIT
 *
 * Problem: the picture of a virtual machine belongs into QEMU's window, and QEMU may read slowly or not at all.
 *
 * Idea: messages over the socket that QEMU gives us at the start of the device: the size of a scanout, then rectangles
 * of pixels. A rectangle that changed is remembered, not queued: at most one message is under way, the next one is made
 * from the screen's memory when the socket takes more. However fast the guest draws, QEMU sees the newest picture and
 * the broker holds one message.
 *
 *   message: u32 request, u32 flags (4: a reply), u32 bytes of payload
 *
 * Contract: vm.h. Pixels are 32-bit words, blue in the lowest byte. Locks: none; called from the broker's loop.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>
#include "vm.h"

enum {
	GET_PROTOCOL_FEATURES = 1,
	SET_PROTOCOL_FEATURES,
	GET_DISPLAY_INFO,
	CURSOR_POS,
	CURSOR_POS_HIDE,
	CURSOR_UPDATE,
	SCANOUT,
	UPDATE,
};

#define HEADER_BYTES 12
#define UPDATE_BYTES (1u << 20) /* of pixels in one message */
#define OUT_BYTES    (UPDATE_BYTES + (128u << 10))

static void flush(struct vm *v)
{
	struct vm_display *d = &v->display;

	while (d->out_at < d->out_len) {
		ssize_t n = send(d->watch.fd, d->out + d->out_at, d->out_len - d->out_at, MSG_NOSIGNAL | MSG_DONTWAIT);

		if (n <= 0)
			break;
		d->out_at += n;
	}
	if (d->out_at == d->out_len)
		d->out_at = d->out_len = 0;
	watch_set(v->conn.tenant->broker, &d->watch, EPOLLIN | (d->out_len ? EPOLLOUT : 0));
}

/* Room for a message of n bytes after its header, or NULL: QEMU does not read. */
static u8 *message(struct vm *v, u32 request, u32 n)
{
	struct vm_display *d = &v->display;
	u32 h[3] = { request, 0, n };
	u8 *p;

	if (d->watch.fd < 0 || d->out_len + HEADER_BYTES + n > OUT_BYTES)
		return NULL;
	if (!d->out)
		d->out = malloc(OUT_BYTES);
	if (!d->out)
		return NULL;
	p = d->out + d->out_len;
	memcpy(p, h, HEADER_BYTES);
	d->out_len += HEADER_BYTES + n;
	return p + HEADER_BYTES;
}

static bool say(struct vm *v, u32 request, const void *payload, u32 n)
{
	u8 *p = message(v, request, n);

	if (!p)
		return false;
	if (n)
		memcpy(p, payload, n);
	flush(v);
	return true;
}

bool display_full(const struct vm *v)
{
	return v->display.out_len > OUT_BYTES - (96u << 10);
}

/* ---- pictures ---- */

void display_size(struct vm *v, u32 scanout, u32 w, u32 h)
{
	u32 m[3] = { scanout, w, h };

	v->screens[scanout].dirty.w = 0;
	say(v, SCANOUT, m, sizeof(m));
}

/* Puts some rows of the first dirty rectangle into a message; false if there is none. */
static bool update(struct vm *v)
{
	for (u32 i = 0; i < VM_SCANOUTS; i++) {
		struct vm_screen *s = &v->screens[i];
		struct vgpu_box *b = &s->dirty;
		u32 rows, m[5];
		u8 *p;

		if (!b->w)
			continue;
		rows = min(b->h, max(UPDATE_BYTES / (b->w * 4), 1u));
		p = message(v, UPDATE, sizeof(m) + rows * b->w * 4);
		if (!p) {
			b->w = 0; /* a row that no message can hold */
			continue;
		}
		memcpy(m, (u32[]){ i, b->x, b->y, b->w, rows }, sizeof(m));
		memcpy(p, m, sizeof(m));
		for (u32 y = 0; y < rows; y++)
			memcpy(p + sizeof(m) + y * b->w * 4, s->pixels + (u64)(b->y + y) * s->box.w + b->x, b->w * 4);
		b->y += rows;
		b->h -= rows;
		b->w = b->h ? b->w : 0;
		return true;
	}
	return false;
}

static void pump(struct vm *v)
{
	while (v->display.watch.fd >= 0 && !v->display.out_len && update(v))
		flush(v);
}

static void join(struct vgpu_box *a, const struct vgpu_box *b)
{
	u32 right = max(a->x + a->w, b->x + b->w), bottom = max(a->y + a->h, b->y + b->h);

	a->x = min(a->x, b->x);
	a->y = min(a->y, b->y);
	a->w = right - a->x;
	a->h = bottom - a->y;
}

void display_dirty(struct vm *v, u32 screen, const struct vgpu_box *box)
{
	struct vm_screen *s = &v->screens[screen];

	/* The screen may have changed since the box was asked for. */
	if (!s->pixels || box->x + box->w > s->box.w || box->y + box->h > s->box.h)
		return;
	if (s->dirty.w)
		join(&s->dirty, box);
	else
		s->dirty = *box;
	pump(v);
}

void display_cursor(struct vm *v, bool moved_only)
{
	const struct virtio_gpu_update_cursor *c = &v->cursor;
	u32 m[5 + VGPU_CURSOR * VGPU_CURSOR] = { c->pos.scanout_id, c->pos.x, c->pos.y, c->hot_x, c->hot_y };

	if (moved_only || !c->resource_id || !v->screens[VM_CURSOR].pixels) {
		say(v, c->resource_id ? CURSOR_POS : CURSOR_POS_HIDE, m, 12);
		return;
	}
	memcpy(m + 5, v->screens[VM_CURSOR].pixels, VGPU_CURSOR * VGPU_CURSOR * 4);
	say(v, CURSOR_UPDATE, m, sizeof(m));
}

/* ---- what QEMU says ---- */

bool display_ask(struct vm *v)
{
	return say(v, GET_DISPLAY_INFO, NULL, 0);
}

static void take_message(struct vm *v, u32 request, const void *payload, u32 n)
{
	struct virtio_gpu_resp_display_info info;
	u64 none = 0;

	if (request == GET_PROTOCOL_FEATURES)
		say(v, SET_PROTOCOL_FEATURES, &none, sizeof(none));
	if (request == GET_DISPLAY_INFO && n == sizeof(info)) {
		memcpy(&info, payload, sizeof(info));
		vm_answer_display(v, &info);
	}
}

static void display_ready(struct watch *w, u32 events)
{
	struct vm *v = container_of(w, struct vm, display.watch);
	struct vm_display *d = &v->display;
	ssize_t n = recv(w->fd, d->in + d->in_len, sizeof(d->in) - d->in_len, MSG_DONTWAIT);
	u32 h[3] = { 0 };

	if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR)) {
		display_close(v);
		return;
	}
	d->in_len += max(n, 0);
	while (d->in_len >= HEADER_BYTES) {
		memcpy(h, d->in, sizeof(h));
		if (h[2] > sizeof(d->in) - HEADER_BYTES) {
			display_close(v);
			return;
		}
		if (d->in_len < HEADER_BYTES + h[2])
			break;
		take_message(v, h[0], d->in + HEADER_BYTES, h[2]);
		d->in_len -= HEADER_BYTES + h[2];
		memmove(d->in, d->in + HEADER_BYTES + h[2], d->in_len);
	}
	flush(v);
	pump(v);
	vm_serve(v);
}

void display_open(struct vm *v, int fd)
{
	display_close(v);
	v->display.watch = (struct watch){ .ready = display_ready, .fd = fd };
	v->display.in_len = v->display.out_len = v->display.out_at = 0;
	watch_add(v->conn.tenant->broker, &v->display.watch, EPOLLIN);
	say(v, GET_PROTOCOL_FEATURES, NULL, 0);
	for (u32 i = 0; i < VM_SCANOUTS; i++) { /* what a machine that was paused showed */
		struct vm_screen *s = &v->screens[i];

		if (!s->resource)
			continue;
		display_size(v, i, s->box.w, s->box.h);
		display_dirty(v, i, &(struct vgpu_box){ 0, 0, 0, s->box.w, s->box.h, 1 });
	}
}

void display_close(struct vm *v)
{
	if (v->display.watch.fd < 0)
		return;
	watch_close(v->conn.tenant->broker, &v->display.watch);
	if (v->asking)
		vm_answer_display(v, NULL);
}
