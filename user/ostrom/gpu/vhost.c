/* SPDX-License-Identifier: MIT
 *
 * Problem: QEMU hands us a guest: its memory by descriptors, its rings by addresses, its doorbells by event
 * descriptors. Any of it may be wrong, and neither QEMU nor guest may harm the broker.
 *
 * Idea: the messages of vhost-user are read one at a time, each with its descriptors, and checked before anything is
 * taken over. Memory must be a sealed memfd (QEMU's memory-backend-memfd is one), so that nobody can shrink it under
 * our feet; the worker gets the same descriptors and maps them for itself. Rings are walked by the kernel's virtq.c.
 *
 *   message: u32 request, u32 flags (version 1; 4: a reply; 8: a reply is wanted), u32 bytes of payload
 *
 * A ring runs from the moment it is enabled until QEMU asks for its base; that is answered when the last of its
 * requests is. A control ring that starts at its beginning is a driver that knows nothing of what was before: the
 * machine's resources are destroyed.
 *
 * Contract: vm.h. A client that breaks the rules is sent away. Locks: none; called from the broker's loop.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <linux/vhost_types.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>
#include "vm.h"
#include "wire.h"

enum {
	GET_FEATURES = 1,
	SET_FEATURES,
	SET_OWNER,
	RESET_OWNER,
	SET_MEM_TABLE,
	SET_VRING_NUM = 8,
	SET_VRING_ADDR,
	SET_VRING_BASE,
	GET_VRING_BASE,
	SET_VRING_KICK,
	SET_VRING_CALL,
	SET_VRING_ERR,
	GET_PROTOCOL_FEATURES,
	SET_PROTOCOL_FEATURES,
	SET_VRING_ENABLE = 18,
	GET_CONFIG = 24,
	SET_CONFIG,
	GPU_SET_SOCKET = 33,
	RESET_DEVICE,
};

#define HEADER_BYTES       12
#define VERSION            1u
#define REPLY              4u
#define NEED_REPLY         8u
#define PROTOCOL_REPLY_ACK 3
#define PROTOCOL_CONFIG    9
#define PROTOCOL_RESET     13
#define F_PROTOCOL         30 /* feature bit: vhost-user's own protocol features */
#define CONFIG_BYTES       256

#define OFFERED                                                                                                        \
	(1ull << VIRTIO_F_VERSION_1 | 1ull << F_PROTOCOL | 1ull << VIRTIO_RING_F_INDIRECT_DESC |                       \
	 1ull << VIRTIO_RING_F_EVENT_IDX | 1ull << VIRTIO_GPU_F_VIRGL)

/* What the transport offers by itself and does not need us for. */
#define ACCEPTED                                                                                                       \
	(OFFERED | 1ull << VIRTIO_F_RING_RESET | 1ull << VIRTIO_F_ANY_LAYOUT | 1ull << VIRTIO_F_NOTIFY_ON_EMPTY)

/* ---- the guest's memory ---- */

const struct vm_region *vm_region_of(const struct vm *v, u64 gpa, u64 bytes)
{
	for (u32 i = 0; i < v->nr_regions; i++) {
		const struct vm_region *r = &v->regions[i];

		if (gpa >= r->gpa && bytes <= r->size && gpa - r->gpa <= r->size - bytes)
			return r;
	}
	return NULL;
}

static int mem_copy(struct vm *v, u64 gpa, void *buf, size_t n, bool write)
{
	while (n) {
		const struct vm_region *r = vm_region_of(v, gpa, 1);
		size_t part;

		if (!r)
			return -EFAULT;
		part = min((u64)n, r->size - (gpa - r->gpa));
		if (write)
			memcpy(r->map + (gpa - r->gpa), buf, part);
		else
			memcpy(buf, r->map + (gpa - r->gpa), part);
		gpa += part;
		buf = (u8 *)buf + part;
		n -= part;
	}
	/* Ring indices and what they announce: in program order (x86), and not reordered by the compiler. */
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	return 0;
}

static int mem_read(void *ctx, u64 gpa, void *buf, size_t n)
{
	return mem_copy(ctx, gpa, buf, n, false);
}

static int mem_write(void *ctx, u64 gpa, const void *buf, size_t n)
{
	return mem_copy(ctx, gpa, (void *)buf, n, true);
}

struct virtq_mem vm_mem(struct vm *v)
{
	return (struct virtq_mem){ mem_read, mem_write, v };
}

static void unmap_all(struct vm *v)
{
	for (u32 i = 0; i < v->nr_regions; i++) {
		munmap(v->regions[i].map, v->regions[i].size);
		close(v->regions[i].fd);
	}
	v->nr_regions = 0;
}

/* It cannot shrink, and touching it cannot fail: a file in memory, in pages of the usual size. */
static bool is_sealed_memory(int fd, u64 end)
{
	int seals = fcntl(fd, F_GET_SEALS);
	struct statfs fs;
	struct stat st;

	return seals >= 0 && (seals & F_SEAL_SHRINK) && !fstat(fd, &st) && (u64)st.st_size >= end &&
	       !fstatfs(fd, &fs) && fs.f_type == TMPFS_MAGIC;
}

static const char *map_region(struct vm *v, const u64 *w, int fd)
{
	struct vm_region *r = &v->regions[v->nr_regions];
	u64 end;

	*r = (struct vm_region){ .gpa = w[0], .size = w[1], .user = w[2], .offset = w[3], .fd = fd };
	if (!r->size || r->size % PAGE_SIZE || r->offset % PAGE_SIZE ||
	    __builtin_add_overflow(r->offset, r->size, &end) || r->gpa + r->size < r->gpa ||
	    r->user + r->size < r->user)
		return "a memory region is malformed";
	if (!is_sealed_memory(fd, end))
		return "the guest's memory is not a sealed memfd";
	r->map = mmap(NULL, r->size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, r->offset);
	if (r->map == MAP_FAILED)
		return "the guest's memory cannot be mapped";
	v->nr_regions++;
	return NULL;
}

static void tell_worker(struct vm *v)
{
	for (u32 i = 0; i < v->nr_regions; i++) {
		struct wire_memory m = {
			.index = i, .count = v->nr_regions, .offset = v->regions[i].offset, .bytes = v->regions[i].size
		};

		conn_enqueue(&v->conn, op_wire(OP_WIRE, WIRE_MEMORY, 0, &m, sizeof(m),
					       fcntl(v->regions[i].fd, F_DUPFD_CLOEXEC, 0)));
	}
}

static const char *set_mem_table(struct vm *v, const u8 *payload, u32 bytes)
{
	const char *why = NULL;
	u32 n;

	memcpy(&n, payload, 4);
	if (!n || n > VM_REGIONS || n != v->nr_fds || bytes < 8 + n * 32)
		return "a memory table is malformed";
	unmap_all(v);
	for (u32 i = 0; i < n && !why; i++) {
		u64 w[4];

		memcpy(w, payload + 8 + i * 32, 32);
		why = map_region(v, w, v->fds[i]);
		v->fds[i] = why ? v->fds[i] : -1;
	}
	if (!why)
		tell_worker(v);
	return why;
}

/* ---- rings ---- */

static bool to_guest(const struct vm *v, u64 user, u64 *gpa)
{
	for (u32 i = 0; i < v->nr_regions; i++) {
		const struct vm_region *r = &v->regions[i];

		if (user >= r->user && user - r->user < r->size) {
			*gpa = r->gpa + (user - r->user);
			return true;
		}
	}
	return false;
}

static bool wants_event_index(const struct vm *v)
{
	return v->features & 1ull << VIRTIO_RING_F_EVENT_IDX;
}

void vm_complete(struct vm *v, u32 ring, u16 head, u32 written)
{
	struct vm_ring *r = &v->rings[ring];
	struct virtq_mem mem = vm_mem(v);
	bool interrupt;
	u64 one = 1;

	if (!r->running)
		return;
	if (virtq_done(&r->q, &mem, head, written, &interrupt)) {
		r->running = false;
		return;
	}
	if (interrupt && r->call >= 0)
		(void)!write(r->call, &one, sizeof(one));
}

/* Asks to be told of the next request; true if one has come meanwhile. */
static bool rearm(struct vm *v, struct vm_ring *r)
{
	struct virtq_mem mem = vm_mem(v);
	u16 idx = r->q.next;

	if (wants_event_index(v) && mem.write(mem.ctx, r->q.used + 4 + 8ull * r->q.size, &idx, sizeof(idx)))
		return false;
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	return !mem.read(mem.ctx, r->q.avail + 2, &idx, sizeof(idx)) && idx != r->q.next;
}

static void say_base(struct vm *v);

void vm_serve(struct vm *v)
{
	if (v->conn.ended || !v->conn.tenant->ready)
		return;
	for (u32 i = 0; i < VM_RINGS && !v->ended_ring; i++) {
		struct vm_ring *r = &v->rings[i];

		do
			while (r->running && vm_take(v, i))
				;
		while (r->running && !v->asking && rearm(v, r) && vm_take(v, i));
	}
	if (v->ended_ring && !v->conn.nr_replies && !v->conn.nr_due)
		say_base(v);
	watch_set(v->conn.tenant->broker, &v->conn.watch, v->ended_ring ? 0 : EPOLLIN);
	device_kick(v->conn.tenant->broker);
}

static void kicked(struct watch *w, u32 events)
{
	struct vm_ring *r = container_of(w, struct vm_ring, kick);
	struct vm *v = r->q.vector ? container_of(r, struct vm, rings[1]) : container_of(r, struct vm, rings[0]);
	u64 count;

	(void)!read(w->fd, &count, sizeof(count));
	vm_serve(v);
}

static const char *start_ring(struct vm *v, u32 i)
{
	struct vm_ring *r = &v->rings[i];
	struct virtq_mem mem = vm_mem(v);

	if (r->running || !r->enabled || r->kick.fd < 0)
		return NULL;
	if (!r->q.size || !to_guest(v, r->desc, &r->q.desc) || !to_guest(v, r->avail, &r->q.avail) ||
	    !to_guest(v, r->used, &r->q.used) || mem.read(mem.ctx, r->q.used + 2, &r->q.used_next, 2))
		return "a ring is not in the guest's memory";
	if (!i && !r->q.next && !r->q.used_next) {
		vm_forget(v);
		tell_worker(v);
	}
	r->running = true;
	vm_serve(v);
	return NULL;
}

/* fd: an event descriptor, or -1. */
static void set_descriptor(struct vm *v, struct vm_ring *r, bool kick, int fd)
{
	struct broker *b = v->conn.tenant->broker;

	if (!kick) {
		if (r->call >= 0)
			close(r->call);
		r->call = fd;
		return;
	}
	if (r->kick.fd >= 0)
		watch_close(b, &r->kick);
	r->kick = (struct watch){ .ready = kicked, .fd = fd };
	if (fd >= 0) {
		fcntl(fd, F_SETFL, O_NONBLOCK);
		watch_add(b, &r->kick, EPOLLIN);
	}
}

static void say(struct vm *v, u32 request, const void *payload, u32 n)
{
	u8 m[HEADER_BYTES + 12 + CONFIG_BYTES];
	u32 h[3] = { request, VERSION | REPLY, n };

	memcpy(m, h, sizeof(h));
	memcpy(m + sizeof(h), payload, n);
	(void)!send(v->conn.watch.fd, m, sizeof(h) + n, MSG_NOSIGNAL | MSG_DONTWAIT); /* QEMU waits for it */
}

static void say_base(struct vm *v)
{
	struct vm_ring *r = &v->rings[v->ended_ring - 1];
	u32 m[2] = { v->ended_ring - 1, r->q.next };

	r->running = false;
	v->ended_ring = 0;
	say(v, GET_VRING_BASE, m, sizeof(m));
}

/* ---- messages: each returns NULL, or why the client is sent away ---- */

static const char *get_config(struct vm *v, const u8 *payload, u32 bytes)
{
	const struct tenant *t = v->conn.tenant;
	struct virtio_gpu_config c = { .num_scanouts = 1, .num_capsets = !!t->caps_bytes[1] + !!t->caps_bytes[2] };
	u8 m[12 + CONFIG_BYTES] = { 0 };
	u32 w[3];

	if (bytes < sizeof(w))
		return "a request of the configuration is malformed";
	memcpy(w, payload, sizeof(w));
	if (w[1] > CONFIG_BYTES || w[0] > CONFIG_BYTES)
		return "a request of the configuration is malformed";
	memcpy(m, w, sizeof(w));
	if (w[0] < sizeof(c))
		memcpy(m + 12, (u8 *)&c + w[0], min((u64)w[1], sizeof(c) - w[0]));
	say(v, GET_CONFIG, m, 12 + w[1]);
	return NULL;
}

static const char *set_vring(struct vm *v, u32 request, const u8 *payload)
{
	struct vhost_vring_addr a;
	struct vm_ring *r;
	u32 w[2];

	memcpy(w, payload, sizeof(w));
	if (w[0] >= VM_RINGS)
		return "a ring does not exist";
	r = &v->rings[w[0]];
	if (request == SET_VRING_ENABLE) {
		r->enabled = w[1];
		r->running &= r->enabled;
		return start_ring(v, w[0]);
	}
	if (request == GET_VRING_BASE) {
		v->ended_ring = w[0] + 1;
		if (v->asking)
			vm_answer_display(v, NULL);
		vm_serve(v);
		return NULL;
	}
	if (r->running)
		return "a ring is changed while it runs";
	switch (request) {
	case SET_VRING_NUM:
		if (!w[1] || w[1] > 1024 || (w[1] & (w[1] - 1)))
			return "a ring has a strange size";
		r->q.size = w[1];
		break;
	case SET_VRING_BASE: r->q.next = w[1]; break;
	default:
		memcpy(&a, payload, sizeof(a));
		r->desc = a.desc_user_addr;
		r->avail = a.avail_user_addr;
		r->used = a.used_user_addr;
	}
	return NULL;
}

/* Nothing else: reading or writing another kind of file could make the broker wait for whoever stands behind it. */
static bool is_eventfd(int fd)
{
	char path[32], target[32] = "";

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	return readlink(path, target, sizeof(target) - 1) > 0 && !strcmp(target, "anon_inode:[eventfd]");
}

static const char *set_vring_fd(struct vm *v, u32 request, const u8 *payload)
{
	u64 w;
	u32 i;
	int fd = -1;

	memcpy(&w, payload, sizeof(w));
	i = w & 0xff;
	if (i >= VM_RINGS || v->nr_fds != !(w & 0x100))
		return "a ring's descriptor is missing";
	if (v->nr_fds && !is_eventfd(v->fds[0]))
		return "a ring's descriptor is no event descriptor";
	if (request == SET_VRING_ERR)
		return NULL;
	if (v->nr_fds) {
		fd = v->fds[0];
		v->fds[0] = -1;
	}
	set_descriptor(v, &v->rings[i], request == SET_VRING_KICK, fd);
	if (request == SET_VRING_KICK && !(v->features & 1ull << F_PROTOCOL))
		v->rings[i].enabled = true;
	return start_ring(v, i);
}

static const char *reset_device(struct vm *v)
{
	for (u32 i = 0; i < VM_RINGS; i++)
		v->rings[i].running = v->rings[i].enabled = false;
	v->asking = false;
	vm_forget(v);
	tell_worker(v);
	return NULL;
}

static const char *run_message(struct vm *v, u32 request, const u8 *payload, u32 bytes)
{
	u64 offered = OFFERED, word = 0;

	memcpy(&word, payload, min(bytes, 8u));
	switch (request) {
	case GET_FEATURES: say(v, request, &offered, sizeof(offered)); return NULL;
	case SET_FEATURES: v->features = word; return word & ~ACCEPTED ? "it wants what is not offered" : NULL;
	case GET_PROTOCOL_FEATURES:
		word = 1ull << PROTOCOL_CONFIG | 1ull << PROTOCOL_REPLY_ACK | 1ull << PROTOCOL_RESET;
		say(v, request, &word, sizeof(word));
		return NULL;
	case SET_PROTOCOL_FEATURES:
	case SET_OWNER:
	case SET_CONFIG: return NULL;
	case RESET_OWNER:
	case RESET_DEVICE: return reset_device(v);
	case SET_MEM_TABLE: return set_mem_table(v, payload, bytes);
	case SET_VRING_NUM:
	case SET_VRING_ADDR:
	case SET_VRING_BASE:
	case GET_VRING_BASE:
	case SET_VRING_ENABLE: return set_vring(v, request, payload);
	case SET_VRING_KICK:
	case SET_VRING_CALL:
	case SET_VRING_ERR: return set_vring_fd(v, request, payload);
	case GET_CONFIG: return get_config(v, payload, bytes);
	case GPU_SET_SOCKET:
		if (v->nr_fds != 1)
			return "the display's socket is missing";
		fcntl(v->fds[0], F_SETFL, O_NONBLOCK);
		display_open(v, v->fds[0]);
		v->fds[0] = -1;
		return NULL;
	default: return "a message is not known";
	}
}

/* The least payload of a message. */
static u32 least_bytes(u32 request)
{
	switch (request) {
	case SET_VRING_ADDR: return sizeof(struct vhost_vring_addr);
	case SET_FEATURES:
	case SET_PROTOCOL_FEATURES:
	case SET_MEM_TABLE:
	case SET_VRING_NUM:
	case SET_VRING_BASE:
	case GET_VRING_BASE:
	case SET_VRING_ENABLE:
	case SET_VRING_KICK:
	case SET_VRING_CALL:
	case SET_VRING_ERR: return 8;
	default: return 0;
	}
}

static void drop_fds(struct vm *v)
{
	for (u32 i = 0; i < v->nr_fds; i++)
		if (v->fds[i] >= 0)
			close(v->fds[i]);
	v->nr_fds = 0;
}

static bool has_own_reply(u32 request)
{
	return request == GET_FEATURES || request == GET_PROTOCOL_FEATURES || request == GET_VRING_BASE ||
	       request == GET_CONFIG;
}

/* One whole message. False: the client was sent away. */
static bool take_message(struct vm *v, const u32 *h)
{
	const char *why = "a message is too short";
	u64 fine = 0;

	if (h[2] >= least_bytes(h[0]))
		why = run_message(v, h[0], v->in + HEADER_BYTES, h[2]);
	v->in_len = 0;
	drop_fds(v);
	if (why) {
		conn_end(&v->conn, why);
		return false;
	}
	if ((h[1] & NEED_REPLY) && !has_own_reply(h[0]))
		say(v, h[0], &fine, sizeof(fine));
	return true;
}

/* Reads up to the end of a message, never further: what descriptors come belong to it. */
static ssize_t receive(struct vm *v, u32 want)
{
	char control[CMSG_SPACE(sizeof(int) * VM_REGIONS)];
	struct iovec iov = { v->in + v->in_len, want - v->in_len };
	struct msghdr m = {
		.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control)
	};
	ssize_t n = recvmsg(v->conn.watch.fd, &m, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);

	for (struct cmsghdr *c = n > 0 ? CMSG_FIRSTHDR(&m) : NULL; c; c = CMSG_NXTHDR(&m, c)) {
		u32 count = c->cmsg_type == SCM_RIGHTS ? (c->cmsg_len - CMSG_LEN(0)) / sizeof(int) : 0;

		for (u32 i = 0; i < count; i++) {
			int fd;

			memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof(int));
			if (v->nr_fds < VM_REGIONS)
				v->fds[v->nr_fds++] = fd;
			else
				close(fd);
		}
	}
	return n;
}

static void vm_ready(struct watch *w, u32 events)
{
	struct vm *v = container_of(w, struct vm, conn.watch);

	for (;;) {
		u32 h[3] = { 0 }, want = HEADER_BYTES;
		ssize_t n;

		memcpy(h, v->in, min(v->in_len, (u32)sizeof(h)));
		if (v->in_len >= HEADER_BYTES)
			want += h[2];
		if (h[2] > sizeof(v->in) - HEADER_BYTES) {
			conn_end(&v->conn, "a message is too long");
			return;
		}
		if (v->in_len >= HEADER_BYTES && v->in_len == want) {
			if (!take_message(v, h) || v->ended_ring)
				return;
			continue;
		}
		n = receive(v, want);
		if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR)) {
			conn_end(&v->conn, NULL);
			return;
		}
		if (n < 0)
			return;
		v->in_len += n;
	}
}

/* ---- life ---- */

static void resume(struct conn *c)
{
	vm_serve(vm_of(c));
}

static void failed(struct conn *c, u32 host_ctx)
{
	struct vgpu_ctx *x;

	c->space.tenant->refused++;
	list_for_each_entry (x, &c->space.contexts, link)
		x->lost |= x->host_id == host_ctx;
}

static void end(struct conn *c)
{
	struct vm *v = vm_of(c);

	drop_fds(v);
	v->asking = false;
	display_close(v);
	for (u32 i = 0; i < VM_RINGS; i++) {
		v->rings[i].running = false;
		set_descriptor(v, &v->rings[i], true, -1);
		set_descriptor(v, &v->rings[i], false, -1);
	}
	unmap_all(v);
	vm_free_screens(v);
}

static void release(struct conn *c)
{
	free(vm_of(c)->display.out);
	free(vm_of(c));
}

static const struct front front = {
	.ready = vm_ready, .resume = resume, .answer = vm_answer, .failed = failed, .end = end, .free = release
};

void vm_accept(struct tenant *t, int fd)
{
	struct vm *v = calloc(1, sizeof(*v));
	struct conn *c;

	list_for_each_entry (c, &t->conns, link)
		if (c->front == &front && !c->ended)
			goto refuse; /* a virtual GPU is one machine's */
	if (!v)
		goto refuse;
	v->display.watch.fd = -1;
	for (u32 i = 0; i < VM_RINGS; i++) {
		v->rings[i].kick.fd = v->rings[i].call = -1;
		v->rings[i].q.vector = i;
	}
	str_copy(v->conn.name, "virtual machine", sizeof(v->conn.name));
	conn_init(&v->conn, &front, t, fd);
	return;
refuse:
	free(v);
	close(fd);
}
