/* SPDX-License-Identifier: MIT
 *
 * Problem: a virtual machine's front end is judged by what the guest reads back and what QEMU shows, and QEMU's device
 * needs KVM in Debian 12.
 *
 * Idea: this program is QEMU and guest at once: it speaks vhost-user over the tenant's machine socket, with memory,
 * rings and event descriptors of its own, drives the control and cursor queues as a driver does, and keeps the picture
 * that arrives on the display socket beside the picture that it drew. `forged` sends what no driver and no QEMU sends.
 *
 * Contract: machine SOCKET pixels | forged | random COUNT SEED. Prints `ok NAME` or `not ok NAME: why`; exit 0 if all
 * is as it must be. Uses nothing but the protocols.
 *
 * Locks: none; one thread.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/vhost_types.h>
#include <linux/virtio_gpu.h>
#include <linux/virtio_ring.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

typedef uint8_t u8;
typedef uint16_t u16;
typedef uint32_t u32;
typedef uint64_t u64;

#define MEMORY   (32u << 20)
#define GPA      0x100000u /* where the guest sees its memory */
#define RING     64u
#define WIDTH    200u
#define HEIGHT   120u
#define BACKING  0x100000u /* offset of the resource's pages */
#define REQUEST  0x40000u
#define RESPONSE 0x60000u

static const char *path;
static int sock, display = -1, failures, memory_fd;
static u8 *memory;
static u32 picture[WIDTH * HEIGHT], model[WIDTH * HEIGHT], updates, cursors;

static struct ring {
	u32 at; /* offset of the table in memory */
	u16 next, seen;
	int kick, call;
} rings[2] = { { .at = 0x1000 }, { .at = 0x8000 } };

static void verdict(const char *name, int ok, const char *why)
{
	failures += !ok;
	printf(ok ? "ok %s\n" : "not ok %s: %s\n", name, why);
	fflush(stdout);
}

static u32 seed = 1;
static u32 rnd(u32 n)
{
	seed = seed * 1664525u + 1013904223u;
	return n ? (seed >> 8) % n : 0;
}

/* ---- vhost-user ---- */

static int dial(void)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	strncpy(a.sun_path, path, sizeof(a.sun_path) - 1);
	if (connect(fd, (struct sockaddr *)&a, sizeof(a))) {
		fprintf(stderr, "machine: %s: %s\n", path, strerror(errno));
		exit(1);
	}
	return fd;
}

static int tell(u32 request, const void *payload, u32 n, int fd)
{
	u32 h[3] = { request, 1, n };
	char control[CMSG_SPACE(sizeof(int))] = { 0 };
	struct iovec iov[2] = { { h, sizeof(h) }, { (void *)payload, n } };
	struct msghdr m = { .msg_iov = iov, .msg_iovlen = 2 };
	struct cmsghdr *c = (struct cmsghdr *)control;

	if (fd >= 0) {
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(c), &fd, sizeof(int));
		m.msg_control = control;
		m.msg_controllen = sizeof(control);
	}
	return sendmsg(sock, &m, MSG_NOSIGNAL) == (ssize_t)(sizeof(h) + n) ? 0 : -1;
}

static int get(int fd, void *p, size_t n)
{
	while (n) {
		struct pollfd f = { fd, POLLIN, 0 };
		ssize_t k = poll(&f, 1, 10000) == 1 ? recv(fd, p, n, 0) : -1;

		if (k <= 0)
			return -1;
		p = (char *)p + k;
		n -= k;
	}
	return 0;
}

static u64 ask(u32 request, const void *payload, u32 n)
{
	u32 h[3];
	u8 reply[300] = { 0 };
	u64 word;

	if (tell(request, payload, n, -1) || get(sock, h, sizeof(h)) || h[2] > sizeof(reply) || get(sock, reply, h[2]))
		return ~0ull;
	memcpy(&word, reply, sizeof(word));
	return word;
}

static void make_memory(int seals)
{
	memory_fd = memfd_create("guest", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (memory_fd < 0 || ftruncate(memory_fd, MEMORY) || fcntl(memory_fd, F_ADD_SEALS, seals))
		exit(1);
	memory = mmap(NULL, MEMORY, PROT_READ | PROT_WRITE, MAP_SHARED, memory_fd, 0);
}

static void start_ring(u32 i, u16 base)
{
	struct ring *r = &rings[i];
	struct vhost_vring_addr a = { .index = i };
	u64 word = i;

	a.desc_user_addr = (uintptr_t)memory + r->at;
	a.avail_user_addr = a.desc_user_addr + RING * 16;
	a.used_user_addr = a.avail_user_addr + 1024;
	tell(8, (u32[]){ i, RING }, 8, -1);
	tell(10, (u32[]){ i, base }, 8, -1);
	tell(9, &a, sizeof(a), -1);
	tell(12, &word, 8, r->kick);
	tell(13, &word, 8, r->call);
	tell(18, (u32[]){ i, 1 }, 8, -1);
}

static int start(void)
{
	u64 features = 1ull << 32 | 1ull << 30 | 1ull << VIRTIO_RING_F_EVENT_IDX | 1;
	struct {
		u32 n, pad;
		u64 gpa, size, user, offset;
	} table = { 1, 0, GPA, MEMORY, (uintptr_t)memory, 0 };
	int pair[2];

	tell(3, NULL, 0, -1);
	if ((ask(1, NULL, 0) & features) != features)
		return -1;
	ask(15, NULL, 0);
	features = 1 << 9;
	tell(16, &features, 8, -1);
	features = 1ull << 32 | 1ull << 30 | 1ull << VIRTIO_RING_F_EVENT_IDX | 1;
	tell(2, &features, 8, -1);
	socketpair(AF_UNIX, SOCK_STREAM, 0, pair);
	if (display >= 0)
		close(display);
	display = pair[0];
	tell(33, NULL, 0, pair[1]);
	close(pair[1]);
	tell(5, &table, sizeof(table), memory_fd);
	for (u32 i = 0; i < 2; i++) {
		rings[i].kick = eventfd(0, EFD_NONBLOCK);
		rings[i].call = eventfd(0, EFD_NONBLOCK);
		start_ring(i, rings[i].next);
	}
	return 0;
}

/* ---- QEMU's display ---- */

static void show(void)
{
	static u8 data[4 << 20];
	u32 h[3], w[5];

	if (get(display, h, sizeof(h)) || h[2] > sizeof(data) || get(display, data, h[2]))
		return;
	memcpy(w, data, sizeof(w) < h[2] ? sizeof(w) : h[2]);
	if (h[0] == 1)
		send(display, (u32[]){ 1, 4, 8, 0, 0 }, 20, MSG_NOSIGNAL);
	if (h[0] == 3) {
		struct virtio_gpu_resp_display_info i = { .pmodes[0] = { .r = { .width = WIDTH, .height = HEIGHT },
									 .enabled = 1 } };

		send(display, (u32[]){ 3, 4, sizeof(i) }, 12, MSG_NOSIGNAL);
		send(display, &i, sizeof(i), MSG_NOSIGNAL);
	}
	cursors += h[0] == 6;
	if (h[0] != 8)
		return;
	updates++;
	for (u32 y = 0; y < w[4]; y++)
		for (u32 x = 0; x < w[3]; x++)
			if (w[2] + y < HEIGHT && w[1] + x < WIDTH)
				memcpy(&picture[(w[2] + y) * WIDTH + w[1] + x], data + 20 + (y * w[3] + x) * 4, 4);
}

/* ---- the guest's driver ---- */

static struct vring_desc *table_of(const struct ring *r)
{
	return (struct vring_desc *)(memory + r->at);
}
static struct vring_avail *avail_of(const struct ring *r)
{
	return (struct vring_avail *)(memory + r->at + RING * 16);
}
static struct vring_used *used_of(const struct ring *r)
{
	return (struct vring_used *)(memory + r->at + RING * 16 + 1024);
}

static void kick(struct ring *r)
{
	u64 one = 1;

	(void)!write(r->kick, &one, 8);
}

/* Waits until everything was handed back; 0, or -1 after a while. */
static int wait_used(struct ring *r)
{
	volatile u16 *idx = &used_of(r)->idx;

	while (*idx != r->next) {
		struct pollfd f[3] = { { r->call, POLLIN, 0 }, { display, POLLIN, 0 }, { sock, 0, 0 } };
		u64 n;

		if (poll(f, 3, 10000) <= 0 || (f[2].revents & POLLHUP))
			return -1;
		if (f[0].revents)
			(void)!read(r->call, &n, 8);
		if (f[1].revents)
			show();
	}
	return 0;
}

static void settle(int ms)
{
	struct pollfd f = { display, POLLIN, 0 };

	while (poll(&f, 1, ms) == 1 && !(f.revents & POLLHUP))
		show();
}

/* A request of n bytes; the type of the answer, 0: none came. */
static u32 request(u32 ring, const void *p, u32 n)
{
	struct ring *r = &rings[ring];
	struct virtio_gpu_ctrl_hdr *answer = (void *)(memory + RESPONSE);

	memcpy(memory + REQUEST, p, n);
	memset(answer, 0, 2048);
	table_of(r)[0] = (struct vring_desc){ GPA + REQUEST, n, VRING_DESC_F_NEXT, 1 };
	table_of(r)[1] = (struct vring_desc){ GPA + RESPONSE, 2048, VRING_DESC_F_WRITE, 0 };
	avail_of(r)->ring[r->next % RING] = 0;
	__atomic_store_n(&avail_of(r)->idx, ++r->next, __ATOMIC_SEQ_CST);
	kick(r);
	return wait_used(r) ? 0 : answer->type;
}

#define ASK(ring, ...)                                                                                                 \
	({                                                                                                             \
		__typeof__(__VA_ARGS__) m_ = __VA_ARGS__;                                                              \
		request(ring, &m_, sizeof(m_));                                                                        \
	})
#define HDR(t, ...)                                                                                                    \
	{                                                                                                              \
		.type = VIRTIO_GPU_CMD_##t, ##__VA_ARGS__                                                              \
	}
#define OK VIRTIO_GPU_RESP_OK_NODATA

static u32 create_2d(u32 id, u32 format, u32 w, u32 h)
{
	return ASK(0, (struct virtio_gpu_resource_create_2d){ HDR(RESOURCE_CREATE_2D), id, format, w, h });
}

/* Backing of WIDTH x HEIGHT words in two pieces. */
static u32 attach(u32 id, u64 address, u32 bytes)
{
	struct {
		struct virtio_gpu_resource_attach_backing a;
		struct virtio_gpu_mem_entry e[2];
	} m = { { HDR(RESOURCE_ATTACH_BACKING), id, 2 },
		{ { address, 8192, 0 }, { address + 8192, bytes - 8192, 0 } } };

	return request(0, &m, sizeof(m));
}

static u32 *backing(void)
{
	return (u32 *)(memory + BACKING);
}

/* Draws a rectangle into the model and the backing, transfers and flushes it. */
static u32 draw(u32 x, u32 y, u32 w, u32 h, u32 color)
{
	struct virtio_gpu_rect r = { x, y, w, h };

	for (u32 j = y; j < y + h; j++)
		for (u32 i = x; i < x + w; i++)
			model[j * WIDTH + i] = backing()[j * WIDTH + i] = color + i * 3 + j * 256;
	if (ASK(0, (struct virtio_gpu_transfer_to_host_2d){ HDR(TRANSFER_TO_HOST_2D), r, (y * WIDTH + x) * 4ull, 1,
							    0 }) != OK)
		return 0;
	return ASK(0, (struct virtio_gpu_resource_flush){ HDR(RESOURCE_FLUSH), r, 1, 0 });
}

static int same(void)
{
	for (u32 i = 0; i < WIDTH * HEIGHT; i++)
		if ((picture[i] ^ model[i]) & 0xffffff) {
			printf("# %u,%u is %06x, not %06x\n", i % WIDTH, i / WIDTH, picture[i], model[i]);
			return 0;
		}
	return 1;
}

static void pixels_2d(void)
{
	u32 good = 0;

	verdict("the guest learns its display",
		ASK(0, (struct virtio_gpu_ctrl_hdr)HDR(GET_DISPLAY_INFO)) == VIRTIO_GPU_RESP_OK_DISPLAY_INFO &&
			((struct virtio_gpu_resp_display_info *)(memory + RESPONSE))->pmodes[0].r.width == WIDTH,
		"another size");
	verdict("a scanout is set up",
		create_2d(1, VIRTIO_GPU_FORMAT_B8G8R8X8_UNORM, WIDTH, HEIGHT) == OK &&
			attach(1, GPA + BACKING, WIDTH * HEIGHT * 4) == OK &&
			ASK(0, (struct virtio_gpu_set_scanout){ HDR(SET_SCANOUT), { 0, 0, WIDTH, HEIGHT }, 0, 1 }) ==
				OK,
		"refused");
	good += draw(0, 0, WIDTH, HEIGHT, 0x102030) == OK;
	for (u32 i = 0; i < 200; i++) {
		u32 x = rnd(WIDTH), y = rnd(HEIGHT), h = i % 3 ? 1 + rnd(HEIGHT - y) : 1;

		good += draw(x, y, 1 + rnd(WIDTH - x), h, rnd(0x1000000)) == OK;
	}
	settle(300);
	verdict("201 rectangles are drawn", good == 201 && updates, "some failed");
	verdict("QEMU shows what the guest drew", same(), "other pixels");
}

/* Every format of a scanout shows the same colours. */
static void pixels_formats(void)
{
	static const struct {
		u32 format, shift[3]; /* of blue, green, red in the texel */
	} formats[] = {
		{ VIRTIO_GPU_FORMAT_B8G8R8A8_UNORM, { 0, 8, 16 } },
		{ VIRTIO_GPU_FORMAT_R8G8B8A8_UNORM, { 16, 8, 0 } },
		{ VIRTIO_GPU_FORMAT_X8R8G8B8_UNORM, { 24, 16, 8 } },
	};
	int good = 1;

	for (u32 k = 0; k < 3; k++) {
		u32 id = 10 + k, at = 8 << 20, n = WIDTH * HEIGHT;
		u32 *p = (u32 *)(memory + at);

		good &= create_2d(id, formats[k].format, WIDTH, HEIGHT) == OK;
		for (u32 i = 0; i < n; i++) {
			u32 c = i * 77 + k * 1000;

			model[i] = c & 0xffffff;
			p[i] = (c & 255) << formats[k].shift[0] | (c >> 8 & 255) << formats[k].shift[1] |
			       (c >> 16 & 255) << formats[k].shift[2];
		}
		attach(id, GPA + at, n * 4);
		ASK(0, (struct virtio_gpu_set_scanout){ HDR(SET_SCANOUT), { 0, 0, WIDTH, HEIGHT }, 0, id });
		ASK(0, (struct virtio_gpu_transfer_to_host_2d){
			       HDR(TRANSFER_TO_HOST_2D), { 0, 0, WIDTH, HEIGHT }, 0, id, 0 });
		ASK(0, (struct virtio_gpu_resource_flush){ HDR(RESOURCE_FLUSH), { 0, 0, WIDTH, HEIGHT }, id, 0 });
		settle(100);
		if (!same()) {
			printf("# format %u\n", formats[k].format);
			good = 0;
		}
		ASK(0, (struct virtio_gpu_resource_unref){ HDR(RESOURCE_UNREF), id, 0 });
	}
	verdict("formats of other byte orders are shown right", good, "other pixels");
}

/* A render target cleared by a command stream comes back to the guest's memory. */
static void pixels_3d(void)
{
	u32 stream[] = {
		/* create a surface, set it as the frame buffer, clear it to (1, 0.5, 0.25, 1) */
		1 | 8 << 8 | 5 << 16, 7, 30,         67,         0,          0,          5 | 3 << 16, 1, 0, 7,
		7 | 8 << 16,          4, 0x3f800000, 0x3f000000, 0x3e800000, 0x3f800000, 0,           0, 0,
	};
	struct {
		struct virtio_gpu_cmd_submit s;
		u32 words[sizeof(stream) / 4];
	} m = { { { .type = VIRTIO_GPU_CMD_SUBMIT_3D, .ctx_id = 3, .flags = VIRTIO_GPU_FLAG_FENCE, .fence_id = 77 },
		  sizeof(stream),
		  0 },
		{ 0 } };
	struct virtio_gpu_ctrl_hdr *answer = (void *)(memory + RESPONSE);
	u32 *p = (u32 *)(memory + (12 << 20)), good, fenced;

	memcpy(m.words, stream, sizeof(stream));
	good = ASK(0, (struct virtio_gpu_get_capset_info){ HDR(GET_CAPSET_INFO), 1, 0 }) ==
		       VIRTIO_GPU_RESP_OK_CAPSET_INFO &&
	       ((struct virtio_gpu_resp_capset_info *)answer)->capset_id == 2;
	verdict("virgl is offered",
		good && ASK(0, (struct virtio_gpu_get_capset){ HDR(GET_CAPSET), 2, 2 }) == VIRTIO_GPU_RESP_OK_CAPSET,
		"no set");
	good = ASK(0, (struct virtio_gpu_ctx_create){ HDR(CTX_CREATE, .ctx_id = 3), 4, 0, "test" }) == OK &&
	       ASK(0, (struct virtio_gpu_resource_create_3d){ HDR(RESOURCE_CREATE_3D), 30, 2, 67, 2, 64, 64, 1, 1, 0, 0,
							      0, 0 }) == OK &&
	       attach(30, GPA + (12 << 20), 64 * 64 * 4) == OK &&
	       ASK(0, (struct virtio_gpu_ctx_resource){ HDR(CTX_ATTACH_RESOURCE, .ctx_id = 3), 30, 0 }) == OK;
	verdict("a context has a render target", good, "refused");
	good = request(0, &m, sizeof(m)) == OK;
	fenced = answer->flags == VIRTIO_GPU_FLAG_FENCE && answer->fence_id == 77;
	verdict("a command stream runs, and its fence comes back", good && fenced, "refused");
	good = ASK(0,
		   (struct virtio_gpu_transfer_host_3d){
			   HDR(TRANSFER_FROM_HOST_3D, .ctx_id = 3), { 0, 0, 0, 64, 64, 1 }, 0, 30, 0, 256, 0 }) == OK;
	for (u32 i = 0; i < 64 * 64; i++)
		good &= (p[i] & 0xfffefeff) == (0xff4080ff & 0xfffefeff) ||
			(p[i] & 0xfffefeff) == (0xff3f7fff & 0xfffefeff);
	printf("# pixel %08x\n", p[0]);
	verdict("its pixels come back to the guest", good, "other pixels");
	verdict("another context's resource is refused",
		ASK(0,
		    (struct virtio_gpu_transfer_host_3d){
			    HDR(TRANSFER_FROM_HOST_3D, .ctx_id = 3), { 0, 0, 0, 64, 64, 1 }, 0, 1, 0, 256, 0 }) != OK,
		"allowed");
}

static void pixels_cursor(void)
{
	u32 *p = (u32 *)(memory + (16 << 20));
	u32 good = create_2d(40, VIRTIO_GPU_FORMAT_B8G8R8A8_UNORM, 64, 64) == OK &&
		   attach(40, GPA + (16 << 20), 64 * 64 * 4) == OK;

	for (u32 i = 0; i < 64 * 64; i++)
		p[i] = 0xff000000 | i;
	good &= ASK(0, (struct virtio_gpu_transfer_to_host_2d){
			       HDR(TRANSFER_TO_HOST_2D), { 0, 0, 64, 64 }, 0, 40, 0 }) == OK;
	good &= ASK(1, (struct virtio_gpu_update_cursor){ HDR(UPDATE_CURSOR), { 0, 5, 6, 0 }, 40, 1, 2, 0 }) == OK;
	settle(300);
	verdict("the pointer's picture comes", good && cursors == 1, "none");
}

/* QEMU pauses: rings are asked for their base, and start there again with everything in place. */
static void pause_resume(void)
{
	u64 base[2];

	for (u32 i = 0; i < 2; i++)
		base[i] = ask(11, (u32[]){ i, 0 }, 8);
	verdict("a pause says where the rings are",
		base[0] == ((u64)rings[0].next << 32) && base[1] == (((u64)rings[1].next << 32) | 1), "elsewhere");
	start();
	ASK(0, (struct virtio_gpu_set_scanout){ HDR(SET_SCANOUT), { 0, 0, WIDTH, HEIGHT }, 0, 1 });
	memset(picture, 0, sizeof(picture));
	draw(0, 0, WIDTH, HEIGHT, 0x804020);
	settle(300);
	verdict("after it the guest's resources are there", same(), "other pixels");
}

/* QEMU tells of its memory again while the rings run: nothing changes for the guest. */
static void new_table(void)
{
	struct {
		u32 n, pad;
		u64 gpa, size, user, offset;
	} table = { 1, 0, GPA, MEMORY, (uintptr_t)memory, 0 };

	tell(5, &table, sizeof(table), memory_fd);
	memset(picture, 0, sizeof(picture));
	draw(0, 0, WIDTH, HEIGHT, 0x908070);
	settle(300);
	verdict("a new memory table, and the guest goes on", same(), "other pixels");
}

/* A driver that begins anew may use the same ids. */
static void restart(void)
{
	for (u32 i = 0; i < 2; i++)
		ask(11, (u32[]){ i, 0 }, 8);
	memset(memory, 0, 0x40000);
	rings[0].next = rings[1].next = 0;
	start();
	verdict("a rebooted guest begins with nothing",
		create_2d(1, VIRTIO_GPU_FORMAT_B8G8R8X8_UNORM, WIDTH, HEIGHT) == OK, "its ids are in use");
}

/* ---- what nobody sends ---- */

static void begin(void)
{
	make_memory(F_SEAL_SHRINK | F_SEAL_GROW);
	sock = dial();
	rings[0].next = rings[1].next = 0;
	if (start())
		verdict("start", 0, "features are missing");
}

static void finish(void)
{
	close(sock);
	close(display);
	for (u32 i = 0; i < 2; i++) {
		close(rings[i].kick);
		close(rings[i].call);
	}
	munmap(memory, MEMORY);
	close(memory_fd);
	display = -1;
	usleep(100000);
}

static int sent_away(void)
{
	struct pollfd f = { sock, POLLIN, 0 };
	u8 byte[512];
	ssize_t n;

	while (poll(&f, 1, 5000) == 1) {
		n = recv(sock, byte, sizeof(byte), 0);
		if (n <= 0)
			return 1;
	}
	return 0;
}

static void forged_memory(void)
{
	make_memory(0);
	sock = dial();
	rings[0].next = rings[1].next = 0;
	start();
	verdict("memory that can shrink is refused", sent_away(), "accepted");
	finish();
	begin();
	tell(9, &(struct vhost_vring_addr){ .index = 7 }, sizeof(struct vhost_vring_addr), -1);
	verdict("a ring that does not exist", sent_away(), "accepted");
	finish();
	begin();
	tell(5, (u32[8]){ 9 }, 32, memory_fd);
	verdict("a memory table of nine", sent_away(), "accepted");
	finish();
	begin();
	tell(24, (u32[]){ 0xfffffff0, 0xffff, 0 }, 12, -1);
	verdict("configuration out of range", sent_away(), "answered");
	finish();
	begin();
	tell(12, &(u64){ 0 }, 8, memory_fd);
	verdict("a doorbell that is a file", sent_away(), "accepted");
	finish();
	begin();
	tell(77, NULL, 0, -1);
	verdict("a message that nobody knows", sent_away(), "accepted");
	finish();
}

/* Each is one request's descriptors; the ring stops or an error comes, and a new start works. */
static void forged_rings(void)
{
	struct vring_desc bad[][2] = {
		{ { GPA + REQUEST, 64, VRING_DESC_F_NEXT, 0 } },     /* a loop */
		{ { GPA + REQUEST, 64, VRING_DESC_F_NEXT, 999 } },   /* out of the table */
		{ { 0xfffffffffffff000, 8192, 0, 0 } },              /* no memory */
		{ { GPA + MEMORY - 8, 4096, 0, 0 } },                /* its end */
		{ { GPA + REQUEST, 0xffffffff, 0, 0 } },             /* 4 GiB */
		{ { GPA + REQUEST, 64, VRING_DESC_F_INDIRECT, 0 } }, /* garbage as a table */
		{ { GPA + RESPONSE, 64, VRING_DESC_F_WRITE | VRING_DESC_F_NEXT, 1 },
		  { GPA, 64, 0, 0 } }, /* wrong order */
	};

	for (u32 i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		begin();
		memcpy(table_of(&rings[0]), bad[i], sizeof(bad[i]));
		avail_of(&rings[0])->ring[0] = 0;
		__atomic_store_n(&avail_of(&rings[0])->idx, 1, __ATOMIC_SEQ_CST);
		kick(&rings[0]);
		usleep(50000);
		finish();
	}
	begin();
	avail_of(&rings[0])->idx = 0x8000;
	kick(&rings[0]);
	usleep(50000);
	finish();
	begin();
	verdict("after forged rings a machine works", create_2d(1, 2, 16, 16) == OK, "it does not");
	verdict("memory of others is not attached",
		attach(1, 0x10, 65536) != OK && attach(1, GPA + MEMORY - 4096, 65536) != OK, "attached");
	verdict("a resource of 4 GiB is refused", create_2d(2, 2, 16384, 16384) != OK, "made");
	finish();
}

/* Plausible requests with random contents: each must be answered. */
static void random_requests(u32 count)
{
	static const struct {
		u32 type, words;
	} types[] = { { 0x100, 6 },  { 0x101, 10 }, { 0x102, 8 },  { 0x103, 12 }, { 0x104, 12 }, { 0x105, 14 },
		      { 0x106, 12 }, { 0x107, 8 },  { 0x108, 8 },  { 0x109, 8 },  { 0x10a, 8 },  { 0x200, 24 },
		      { 0x201, 6 },  { 0x202, 8 },  { 0x203, 8 },  { 0x204, 18 }, { 0x205, 18 }, { 0x206, 18 },
		      { 0x207, 20 }, { 0x300, 14 }, { 0x301, 14 }, { 0x999, 10 } };
	u32 answered = 0;

	begin();
	for (u32 i = 0; i < count; i++) {
		u32 m[32], k = rnd(sizeof(types) / sizeof(*types)), n = rnd(16) ? types[k].words : 6 + rnd(20);

		for (u32 w = 0; w < 32; w++)
			m[w] = rnd(4) ? rnd(8) : rnd(2) ? rnd(300) : seed;
		m[0] = types[k].type;
		m[1] = rnd(2);
		if (m[0] == 0x101 || m[0] == 0x204) /* often something that exists */
			m[7] = rnd(3) ? 1 + rnd(2) : m[7];
		if (m[0] == 0x200)
			m[6] = 4, m[7] = 0;
		if (m[0] == 0x207)
			m[6] = 48;
		if (m[0] == 0x106) {
			m[7] = 1;
			m[8] = GPA + rnd(64) * 4096;
			m[9] = 0;
			m[10] = rnd(65536);
			n = 12;
		}
		answered += request(m[0] >= 0x300, m, n * 4) != 0;
	}
	if (answered != count)
		printf("# %u of %u\n", answered, count);
	verdict("every request is answered", answered == count, "some are not");
	finish();
}

int main(int argc, char **argv)
{
	if (argc < 3)
		return 2;
	path = argv[1];
	if (!strcmp(argv[2], "pixels")) {
		begin();
		pixels_2d();
		pixels_formats();
		pixels_3d();
		pixels_cursor();
		pause_resume();
		new_table();
		restart();
		finish();
	} else if (!strcmp(argv[2], "forged")) {
		forged_memory();
		forged_rings();
	} else if (!strcmp(argv[2], "random") && argc == 5) {
		seed = atoi(argv[4]);
		random_requests(atoi(argv[3]));
	} else {
		return 2;
	}
	return failures != 0;
}
