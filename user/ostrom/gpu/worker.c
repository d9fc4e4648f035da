/* SPDX-License-Identifier: MIT
 *
 * Problem: the renderer parses what a tenant wrote, compiles its shaders and drives a GPU driver of a million lines. It
 * will be attacked, and it will crash.
 *
 * Idea: one process a tenant, with nothing to steal: no files, no network, no other tenant's memory, a list of system
 * calls (confine.c). It gets admitted commands over one socket, runs them by libvirglrenderer on a surfaceless EGL
 * context (a render node's GPU, or llvmpipe) and says when a job is finished on the GPU. The library is loaded here and
 * only here, so that the broker never has a GL driver in its memory.
 *
 * Contract: wire.h; argv: worker FD [RENDER_NODE_FD]. Ends when the broker's end of the socket closes; any malformed
 * message ends it too.
 *
 * Locks: none; one thread of ours (the library and the driver have their own).
 */
#include <dlfcn.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>
#include <virgl/virglrenderer.h>
#include "gpu.h"
#include "wire.h"

/* The library's functions that we use, by name. */
#define FUNCTIONS(F)                                                                                                   \
	F(init)                                                                                                        \
	F(poll)                                                                                                        \
	F(get_poll_fd)                                                                                                 \
	F(context_create)                                                                                              \
	F(context_destroy)                                                                                             \
	F(resource_create)                                                                                             \
	F(resource_unref)                                                                                              \
	F(resource_attach_iov)                                                                                         \
	F(ctx_attach_resource)                                                                                         \
	F(ctx_detach_resource)                                                                                         \
	F(resource_detach_iov)                                                                                         \
	F(submit_cmd) F(transfer_read_iov) F(transfer_write_iov) F(create_fence) F(get_cap_set) F(fill_caps)

#define DECLARE(f) static __typeof__(virgl_renderer_##f) *vr_##f;
FUNCTIONS(DECLARE)

/* The library's type of a box (virgl_hw.h, which its package does not install): x, y, z, w, h, d. */
_Static_assert(sizeof(struct vgpu_box) == 24, "a box is six words");

#define IN_BYTES (WIRE_MAX_BYTES + (256u << 10))

static int sock, node_fd = -1;
static u32 fences_made, fences_done;

struct pending {
	u32 job, fence;
};
static struct pending pending[64];
static u32 nr_pending;

/* The guest's memory, if the client is a virtual machine. Resources keep the table they were backed from. */
struct table {
	u32 refs;
	struct iovec region[WIRE_REGIONS];
};
static struct table *guest;

/* Client memory behind resources, by host id. */
static struct vgpu_map shared;

struct mapping {
	struct table *table; /* NULL: the first piece is a mapping of its own */
	u32 nr;
	struct iovec iov[];
};

static struct iovec screens[WIRE_SCREENS];

static void die(const char *why)
{
	if (getenv("OSTROM_WHY"))
		fprintf(stderr, "gpu worker: %s\n", why);
	_exit(1);
}

/* Software rendering: waits for it (glFinish of whichever context is current). NULL: a GPU, which is told of by fences.
 */
static void (*finish)(void);

static void fence_written(void *cookie, u32 fence)
{
	fences_done = fence;
}

static int give_node(void *cookie)
{
	return node_fd >= 0 ? dup(node_fd) : -1;
}

static void load(void)
{
	void *lib = dlopen("libvirglrenderer.so.1", RTLD_NOW | RTLD_GLOBAL);

	if (!lib)
		die(dlerror());
#define RESOLVE(f)                                                                                                     \
	vr_##f = (__typeof__(vr_##f))dlsym(lib, "virgl_renderer_" #f);                                                 \
	if (!vr_##f)                                                                                                   \
		die("libvirglrenderer lacks " #f);
	FUNCTIONS(RESOLVE)
}

/* Where this process's own threads render, waiting for them here is cheaper than having another thread wait and tell.
 */
static void find_finish(void)
{
	void *egl = dlopen("libEGL.so.1", RTLD_NOW);
	void *(*find)(const char *) = egl ? (void *(*)(const char *))dlsym(egl, "eglGetProcAddress") : NULL;

	finish = find ? (void (*)(void))find("glFinish") : NULL;
	if (!finish)
		die("no glFinish");
}

/* ---- the socket ---- */

static void send_all(const void *data, size_t bytes)
{
	for (const char *p = data; bytes;) {
		ssize_t n = send(sock, p, bytes, MSG_NOSIGNAL);

		if (n <= 0 && errno != EINTR)
			die("the broker is gone");
		p += max(n, 0);
		bytes -= max(n, 0);
	}
}

static void tell(u32 type, u32 ctx, u32 arg)
{
	struct wire_header h = { type, 0, ctx, arg };

	send_all(&h, sizeof(h));
}

/* Input is read in large pieces. Descriptors belong to messages in the order in which both come. */
static struct {
	u8 *data; /* whole messages that are not yet run begin at `at` */
	u32 at, len;
	int fds[64];
	u32 nr_fds;
} in;

static int take_fd(void)
{
	int fd = in.nr_fds ? in.fds[0] : -1;

	if (in.nr_fds)
		memmove(in.fds, in.fds + 1, --in.nr_fds * sizeof(*in.fds));
	return fd;
}

/* Reads what is there, at least a byte. */
static void receive(void)
{
	char control[CMSG_SPACE(sizeof(int))];
	struct iovec iov = { in.data + in.len, IN_BYTES - in.len };
	struct msghdr m = {
		.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control)
	};
	ssize_t n = recvmsg(sock, &m, MSG_CMSG_CLOEXEC);
	struct cmsghdr *c = CMSG_FIRSTHDR(&m);

	if (n == 0 || (n < 0 && errno != EINTR))
		_exit(0);
	if (n > 0 && c && c->cmsg_type == SCM_RIGHTS) {
		if (in.nr_fds == ARRAY_SIZE(in.fds))
			die("too many descriptors");
		memcpy(&in.fds[in.nr_fds++], CMSG_DATA(c), sizeof(int));
	}
	in.len += max(n, 0);
}

static void hello(void)
{
	u32 sizes[3] = { 0 }, version;
	struct wire_header h = { .type = WIRE_HELLO };
	u8 *caps;

	for (u32 set = 1; set <= 2; set++)
		vr_get_cap_set(set, &version, &sizes[set]);
	h.bytes = 8 + sizes[1] + sizes[2];
	caps = calloc(1, h.bytes);
	if (!caps || !sizes[1])
		die("no capability sets");
	memcpy(caps, &sizes[1], 8);
	vr_fill_caps(1, 1, caps + 8);
	if (sizes[2])
		vr_fill_caps(2, 1, caps + 8 + sizes[1]);
	send_all(&h, sizeof(h));
	send_all(caps, h.bytes);
	free(caps);
}

/* ---- commands ---- */

static struct mapping *mapping_of(u32 host_id)
{
	u64 *v = vgpu_map_get(&shared, host_id);

	return v ? (struct mapping *)(ulong)*v : NULL;
}

static void table_put(struct table *t)
{
	if (!t || --t->refs)
		return;
	for (u32 i = 0; i < WIRE_REGIONS; i++)
		if (t->region[i].iov_base)
			munmap(t->region[i].iov_base, t->region[i].iov_len);
	free(t);
}

/* The library lets go of the memory behind a resource, then we do. */
static void unback(u32 host_id)
{
	struct mapping *m = mapping_of(host_id);
	struct iovec *iov;
	int n;

	if (!m)
		return;
	vr_resource_detach_iov(host_id, &iov, &n);
	if (m->table)
		table_put(m->table);
	else
		munmap(m->iov[0].iov_base, m->iov[0].iov_len);
	vgpu_map_del(&shared, host_id);
	free(m);
}

static void *map_passed(u64 offset, u64 bytes)
{
	int fd = take_fd();
	void *p = fd < 0 ? MAP_FAILED : mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, offset);

	if (p == MAP_FAILED)
		die("cannot map a client's memory");
	close(fd);
	return p;
}

static struct mapping *back(u32 host_id, u32 nr)
{
	struct mapping *m = calloc(1, sizeof(*m) + nr * sizeof(*m->iov));

	if (!m || vgpu_map_set(&shared, host_id, (ulong)m))
		die("out of memory");
	m->nr = nr;
	return m;
}

static void map_shared(u32 host_id, u32 bytes)
{
	struct mapping *m = back(host_id, 1);

	m->iov[0] = (struct iovec){ map_passed(0, bytes), bytes };
	vr_resource_attach_iov(host_id, m->iov, 1);
}

static void map_guest(const struct wire_memory *w)
{
	if (!w->index) {
		table_put(guest);
		guest = calloc(1, sizeof(*guest));
		if (!guest)
			die("out of memory");
		guest->refs = 1;
	}
	if (!guest || w->index >= WIRE_REGIONS || guest->region[w->index].iov_base)
		die("a strange part of memory");
	guest->region[w->index] = (struct iovec){ map_passed(w->offset, w->bytes), w->bytes };
}

static void set_backing(const struct wire_backing *w, u32 bytes)
{
	struct mapping *m;

	if (bytes != sizeof(*w) + (u64)w->nr * sizeof(*w->piece))
		die("a strange backing");
	unback(w->host_id);
	if (!w->nr)
		return;
	m = back(w->host_id, w->nr);
	m->table = guest;
	for (u32 i = 0; i < w->nr; i++) {
		const struct wire_piece *p = &w->piece[i];

		if (!guest || p->region >= WIRE_REGIONS || p->offset > guest->region[p->region].iov_len ||
		    p->bytes > guest->region[p->region].iov_len - p->offset)
			die("a backing outside of memory");
		m->iov[i] = (struct iovec){ (u8 *)guest->region[p->region].iov_base + p->offset, p->bytes };
	}
	guest->refs++;
	vr_resource_attach_iov(w->host_id, m->iov, w->nr);
}

static void create_resource(u32 ctx, const struct wire_create *c)
{
	struct virgl_renderer_resource_create_args a = {
		.handle = c->host_id,
		.target = c->args.target,
		.format = c->args.format,
		.bind = c->args.bind,
		.width = c->args.width,
		.height = c->args.height,
		.depth = c->args.depth,
		.array_size = c->args.layers,
		.last_level = c->args.last_level,
		.nr_samples = c->args.samples,
		.flags = c->args.flags,
	};

	if (vr_resource_create(&a, NULL, 0)) {
		if (c->shm_bytes)
			close(take_fd());
		tell(WIRE_FAILED, ctx, WIRE_RES_CREATE);
		return;
	}
	if (ctx)
		vr_ctx_attach_resource(ctx, c->host_id);
	if (c->shm_bytes)
		map_shared(c->host_id, c->shm_bytes);
}

static void destroy_resource(u32 host_id)
{
	unback(host_id);
	vr_resource_unref(host_id);
}

static void transfer(u32 ctx, const struct wire_transfer *t)
{
	struct vgpu_box box = t->box;
	struct virgl_box *b = (struct virgl_box *)&box;
	int rc;

	if (t->to_host)
		rc = vr_transfer_write_iov(t->host_id, ctx, t->level, t->stride, t->layer_stride, b, t->offset, NULL,
					   0);
	else
		rc = vr_transfer_read_iov(t->host_id, ctx, t->level, t->stride, t->layer_stride, b, t->offset, NULL, 0);
	if (rc)
		tell(WIRE_FAILED, ctx, WIRE_TRANSFER);
}

static void set_screen(const struct wire_screen *w)
{
	if (w->screen >= WIRE_SCREENS)
		die("a strange screen");
	if (screens[w->screen].iov_base)
		munmap(screens[w->screen].iov_base, screens[w->screen].iov_len);
	screens[w->screen] = (struct iovec){ NULL, 0 };
	if (w->bytes)
		screens[w->screen] = (struct iovec){ map_passed(0, w->bytes), w->bytes };
}

/* Blue into the lowest byte. */
static void reorder(u8 *at, const struct wire_show *w)
{
	for (u32 y = 0; y < w->box.h; y++, at += w->stride)
		for (u32 x = 0; x < w->box.w; x++) {
			u8 t[4];

			memcpy(t, at + x * 4, 4);
			for (u32 i = 0; i < 3; i++)
				at[x * 4 + i] = t[w->order >> i * 4 & 3];
		}
}

static void show(const struct wire_show *w)
{
	struct vgpu_box box = w->box;
	u64 end = w->offset + (box.h - 1ull) * w->stride + box.w * 4ull;

	if (w->screen >= WIRE_SCREENS || !box.w || !box.h || end > screens[w->screen].iov_len)
		return;
	if (vr_transfer_read_iov(w->host_id, 0, 0, w->stride, 0, (struct virgl_box *)&box, w->offset,
				 &screens[w->screen], 1))
		return;
	if (w->order != 0x210)
		reorder((u8 *)screens[w->screen].iov_base + w->offset, w);
}

static void end_job(u32 job, bool gpu)
{
	if (gpu && finish) {
		finish();
		vr_poll(); /* results of queries are written now */
	}
	if ((!gpu || finish) && !nr_pending) {
		tell(WIRE_DONE, 0, job);
		return;
	}
	if (nr_pending == ARRAY_SIZE(pending))
		die("too many jobs");
	if (gpu)
		vr_create_fence(++fences_made, 0);
	pending[nr_pending++] = (struct pending){ job, fences_made };
}

static void retire(void)
{
	u32 n = 0;

	vr_poll();
	while (n < nr_pending && (s32)(fences_done - pending[n].fence) >= 0)
		tell(WIRE_DONE, 0, pending[n++].job);
	nr_pending -= n;
	memmove(pending, pending + n, nr_pending * sizeof(*pending));
}

static void need(const struct wire_header *h, u32 bytes)
{
	if (h->bytes < bytes)
		die("a short message");
}

static void run_message(const struct wire_header *h, void *data)
{
	switch (h->type) {
	case WIRE_CTX_CREATE:
		if (vr_context_create(h->ctx, h->bytes, data))
			tell(WIRE_FAILED, h->ctx, h->type);
		break;
	case WIRE_CTX_DESTROY: vr_context_destroy(h->ctx); break;
	case WIRE_RES_CREATE:
		need(h, sizeof(struct wire_create));
		create_resource(h->ctx, data);
		break;
	case WIRE_RES_DESTROY:
		need(h, 4);
		destroy_resource(*(u32 *)data);
		break;
	case WIRE_SUBMIT:
		if (vr_submit_cmd(data, h->ctx, h->bytes / 4))
			tell(WIRE_FAILED, h->ctx, h->type);
		break;
	case WIRE_TRANSFER:
		need(h, sizeof(struct wire_transfer));
		transfer(h->ctx, data);
		break;
	case WIRE_MEMORY:
		need(h, sizeof(struct wire_memory));
		map_guest(data);
		break;
	case WIRE_BACKING:
		need(h, sizeof(struct wire_backing));
		set_backing(data, h->bytes);
		break;
	case WIRE_CTX_ATTACH:
	case WIRE_CTX_DETACH:
		need(h, 4);
		(h->type == WIRE_CTX_ATTACH ? vr_ctx_attach_resource : vr_ctx_detach_resource)(h->ctx, *(u32 *)data);
		break;
	case WIRE_SCREEN:
		need(h, sizeof(struct wire_screen));
		set_screen(data);
		break;
	case WIRE_SHOW:
		need(h, sizeof(struct wire_show));
		show(data);
		break;
	case WIRE_END: end_job(h->arg, h->ctx == WIRE_END_GPU); break;
	default: die("an unknown message");
	}
}

/* Runs the whole messages that were read. */
static void run_messages(void)
{
	while (in.len - in.at >= sizeof(struct wire_header)) {
		struct wire_header h;

		memcpy(&h, in.data + in.at, sizeof(h));
		if (h.bytes > WIRE_MAX_BYTES)
			die("a long message");
		if (in.len - in.at < sizeof(h) + h.bytes)
			break;
		/* Payloads are a multiple of four bytes but for names; structures want eight. */
		memmove(in.data + (in.at & ~7u), in.data + in.at + sizeof(h), h.bytes);
		run_message(&h, in.data + (in.at & ~7u));
		in.at += sizeof(h) + h.bytes;
	}
	in.len -= in.at;
	memmove(in.data, in.data + in.at, in.len);
	in.at = 0;
}

static void serve(void)
{
	struct pollfd fds[2] = { { .fd = sock, .events = POLLIN }, { .events = POLLIN } };

	in.data = malloc(IN_BYTES);
	if (!in.data)
		die("out of memory");
	for (;;) {
		fds[1].fd = nr_pending ? vr_get_poll_fd() : -1;
		/* Without a descriptor for fences the library must be asked. */
		poll(fds, 2, !nr_pending ? -1 : fds[1].fd < 0 ? 1 : 100);
		if (nr_pending)
			retire();
		if (!(fds[0].revents & (POLLIN | POLLHUP)))
			continue;
		receive();
		run_messages();
	}
}

int worker_main(int argc, char **argv)
{
	struct virgl_renderer_callbacks cb = { .version = 2, .write_fence = fence_written, .get_drm_fd = give_node };
	int rc;

	if (argc < 2)
		return 2;
	sock = atoi(argv[1]);
	if (argc > 2)
		node_fd = atoi(argv[2]);
	vgpu_map_init(&shared, 0);
	if (confine_before())
		die("cannot confine");
	load();
	if (node_fd < 0)
		find_finish();
	rc = vr_init(&cb,
		     VIRGL_RENDERER_USE_EGL | VIRGL_RENDERER_USE_SURFACELESS |
			     (finish ? 0 : VIRGL_RENDERER_THREAD_SYNC),
		     &cb);
	if (rc)
		die("virgl_renderer_init failed");
	if (confine_after(node_fd >= 0))
		die("cannot confine");
	hello();
	serve();
	return 0;
}
