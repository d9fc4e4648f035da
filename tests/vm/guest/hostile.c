/* SPDX-License-Identifier: MIT
 *
 * Problem: a guest may send its virtual GPU anything.
 *
 * Idea: each forged request of which it is known that it hurt devices: enormous and nameless resources, other guests'
 * resources, rectangles that wrap, backing that is not memory, unknown commands, wrong lengths, chains that loop or
 * lie; then requests at random, 31 a doorbell, half of them command streams of plausible commands with random contents,
 * for contexts and textures that are made and destroyed among them. The device must answer each, or stop and work again
 * after a reset.
 *
 * Contract: command line N SEED: how many at random, and which. Prints `ok NAME` a part; status 0 or 1. Locks: none.
 */
#include "virtio_gpu.h"

#define OK    VIRTIO_GPU_RESP_OK_NODATA
#define BATCH 31

static uint64_t seed = 88172645463325252ULL;

static uint32_t any(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return (uint32_t)(seed >> 16);
}

/* Small numbers, borders, and anything. */
static uint32_t odd(void)
{
	static const uint32_t borders[] = {
		0, 1, 64, 4096, 16384, 16385, 0x7fffffff, 0x80000000, 0xfffffffe, 0xffffffff
	};

	switch (any() % 4) {
	case 0: return borders[any() % 10];
	case 1: return any();
	default: return any() % 20;
	}
}

static void restart(void)
{
	check(gpu_start(1ULL << 32 | 1) == 0, "a reset brings it back");
}

static void refused(unsigned answer, const char *what)
{
	check(answer >= VIRTIO_GPU_RESP_ERR_UNSPEC, what);
}

static void forged_resources(void)
{
	refused(gpu_create(0, 1, 8, 8), "resource 0");
	refused(gpu_create(1, 1, 16384, 16384), "a gigabyte");
	refused(gpu_create(1, 1, 0xffffffff, 0xffffffff), "more than there is");
	refused(gpu_create(1, 1, 0, 8), "no width");
	refused(gpu_create(1, 9999, 8, 8), "no such format");
	refused(gpu_unref(3), "a resource of nobody");
	refused(gpu_flush(3, 1, 1), "flush of it");
	refused(gpu_scanout(3, 8, 8), "display of it");
	check(gpu_create(1, 1, 64, 64) == OK, "a good one");
	refused(gpu_transfer(1, 0, 0, 64, 64, 0), "without memory");
	refused(gpu_attach(1, 0xc0000000, 16384, 4096), "memory that is not there");
	refused(gpu_attach(1, 0x2000000 - 4096, 8192, 8192), "memory that ends");
	refused(gpu_attach(1, ~0xfffUL, 8192, 8192), "memory that wraps");
	check(gpu_attach(1, PIXELS, 16384, 4096) == OK, "good memory");
	refused(gpu_attach(1, PIXELS, 16384, 4096), "memory twice");
	refused(gpu_transfer(1, 0, 0, 65, 64, 0), "too wide");
	refused(gpu_transfer(1, 0xffffffff, 0, 2, 1, 0), "wraps");
	refused(gpu_transfer(1, 0, 0, 64, 64, 4), "runs out of its memory");
	refused(gpu_transfer(1, 0, 0, 1, 1, ~0ULL - 2), "an offset that wraps");
	refused(gpu_scanout(1, 65, 64), "more than it has");
	check(gpu_transfer(1, 0, 0, 64, 64, 0) == OK, "a good transfer");
	check(gpu_unref(1) == OK, "unref");
	for (unsigned i = 1; i < 200; i++)
		if (gpu_create(i, 1, 1024, 1024) != OK) /* four megabytes each, until the quota */
			break;
		else
			check(i < 199, "a quota");
	restart();
	check(gpu_create(1, 1, 1024, 1024) == OK, "a reset gives all back");
	restart();
	say("ok resources\n");
}

static void forged_requests(void)
{
	struct virtio_gpu_ctrl_hdr *h = (void *)REQUEST;

	for (uint32_t type = 0xf0; type < 0x310; type += type % 0x100 == 0x18 ? 0xd8 : 1) {
		memset(h, 0, 256);
		h->type = type;
		gpu_send(sizeof(*h));
	}
	for (uint32_t n = 0; n < 80; n += 3) {
		memset(h, 0xff, 256);
		h->type = VIRTIO_GPU_CMD_RESOURCE_CREATE_2D;
		refused(gpu_send(n), "a wrong length");
	}
	memset(h, 0, 64);
	h->type = VIRTIO_GPU_CMD_UPDATE_CURSOR;
	refused(gpu_send(56), "a cursor at the control queue");
	h->type = VIRTIO_GPU_CMD_GET_DISPLAY_INFO;
	gpu.desc[0] = (struct vring_desc){ REQUEST, sizeof(*h), VRING_DESC_F_NEXT, 1 };
	gpu.desc[1] = (struct vring_desc){ 0xa0000000, 4096, VRING_DESC_F_WRITE, 0 };
	gpu_ring(0); /* an answer to nowhere */
	wait_interrupt(1, ++gpu.interrupts);
	gpu.desc[1] = (struct vring_desc){ ANSWER, 3, VRING_DESC_F_WRITE, 0 };
	gpu_ring(0); /* and into three bytes */
	wait_interrupt(1, ++gpu.interrupts);
	say("ok requests\n");
}

/* The device must say that it needs a reset. */
static void stops(const char *what)
{
	unsigned before = bare_count[0];

	gpu_ring(0);
	wait_interrupt(0, before + 1);
	check(gpu_stopped(), what);
	restart();
}

static void forged_chains(void)
{
	gpu.desc[0] = (struct vring_desc){ REQUEST, 24, VRING_DESC_F_NEXT, 0 };
	stops("a loop");
	gpu.desc[0] = (struct vring_desc){ REQUEST, 24, VRING_DESC_F_NEXT, 60000 };
	stops("out of the table");
	gpu.desc[0] = (struct vring_desc){ REQUEST, 32, VRING_DESC_F_INDIRECT, 0 };
	memset((void *)REQUEST, 0xff, 4096);
	stops("a table of nonsense");
	gpu.next = (uint16_t)(gpu.next + 1000);
	stops("more than there is");
	say("ok chains\n");
}

static uint32_t header(uint32_t *w, uint32_t type, uint32_t ctx, uint32_t bytes)
{
	memset(w, 0, bytes);
	w[0] = type;
	w[4] = ctx;
	return bytes;
}

/* Commands of virgl: lengths that the protocol knows, and others. */
static uint32_t stream(uint32_t *w, uint32_t ctx)
{
	static const uint8_t lengths[] = { 1, 2, 3, 4, 5, 6, 8, 9, 11, 12, 13, 14, 20, 21 };
	uint32_t n = 0, *words = w + sizeof(struct virtio_gpu_cmd_submit) / 4;

	while (n < 200 && (!n || any() % 3)) {
		uint32_t len = any() % 16 ? lengths[any() % sizeof(lengths)] : any() % 38;
		uint32_t op = any() % 32 ? any() % 53 : any() % 256, type = op == 1 || op == 2 ? 1 + any() % 12 : 0;

		words[n++] = op | type << 8 | len << 16;
		while (len--)
			words[n++] = odd();
	}
	header(w, VIRTIO_GPU_CMD_SUBMIT_3D, ctx, sizeof(struct virtio_gpu_cmd_submit));
	w[6] = n * 4; /* size */
	return (uint32_t)sizeof(struct virtio_gpu_cmd_submit) + n * 4;
}

/* Streams, and good requests that make and destroy what they name. */
static uint32_t plausible(uint32_t *w)
{
	uint32_t ctx = 1 + any() % 3, resource = 1 + any() % 8;

	switch (any() % 16) {
	case 0: return header(w, VIRTIO_GPU_CMD_CTX_DESTROY, ctx, sizeof(struct virtio_gpu_ctx_destroy));
	case 1:
	case 2: return header(w, VIRTIO_GPU_CMD_CTX_CREATE, ctx, sizeof(struct virtio_gpu_ctx_create));
	case 3:
		header(w, VIRTIO_GPU_CMD_RESOURCE_CREATE_3D, 0, sizeof(struct virtio_gpu_resource_create_3d));
		*(struct virtio_gpu_resource_create_3d *)w =
			(struct virtio_gpu_resource_create_3d){ HDR(VIRTIO_GPU_CMD_RESOURCE_CREATE_3D),
								.resource_id = resource,
								.target = 2,
								.format = 1,
								.bind = 2 | 8,
								.width = 64,
								.height = 64,
								.depth = 1,
								.array_size = 1 };
		return sizeof(struct virtio_gpu_resource_create_3d);
	case 4:
	case 5:
		header(w, VIRTIO_GPU_CMD_CTX_ATTACH_RESOURCE, ctx, sizeof(struct virtio_gpu_ctx_resource));
		w[6] = resource;
		return sizeof(struct virtio_gpu_ctx_resource);
	default: return stream(w, ctx);
	}
}

/* A request somewhere in the batch's page of its own. */
static uint32_t random_request(uint32_t *w)
{
	static const uint16_t types[] = { 0x100, 0x101, 0x101, 0x101, 0x102, 0x103, 0x104, 0x105, 0x105,
					  0x106, 0x106, 0x107, 0x108, 0x109, 0x10a, 0x200, 0x201, 0x202,
					  0x203, 0x204, 0x205, 0x206, 0x207, 0x300, 0x301, 0x777 };
	static const uint8_t sizes[] = { 24, 40, 32, 48, 48, 56, 48, 32, 32, 32, 72, 96, 200 };
	uint32_t n = sizes[any() % sizeof(sizes)];

	for (uint32_t i = 0; i < 64; i++)
		w[i] = odd();
	w[0] = types[any() % (sizeof(types) / sizeof(types[0]))];
	w[1] = any() % 8 ? any() % 2 : any();
	if (w[0] == 0x106 && any() % 2) {
		w[7] = 1 + any() % 3;
		n = 32 + 16 * w[7];
		for (uint32_t i = 0; i < w[7]; i++) {
			w[8 + 4 * i] = (uint32_t)PIXELS + any() % 0x10000;
			w[9 + 4 * i] = 0;
			w[10 + 4 * i] = any() % 0x8000;
		}
	}
	if (w[0] == 0x101 && any() % 2)
		n = 40;
	return n;
}

static uint32_t request(uint32_t *w)
{
	return any() % 2 ? plausible(w) : random_request(w);
}

static void batch(void)
{
	unsigned stops_before = bare_count[0];

	for (uint16_t i = 0; i < BATCH; i++) {
		uint32_t *w = (void *)(REQUEST + 4096UL * i);

		gpu.desc[2 * i] =
			(struct vring_desc){ (uintptr_t)w, request(w), VRING_DESC_F_NEXT, (uint16_t)(2 * i + 1) };
		gpu.desc[2 * i + 1] = (struct vring_desc){ ANSWER, 2048, VRING_DESC_F_WRITE, 0 };
		gpu.avail->ring[(uint16_t)(gpu.next + i) % QUEUE] = (uint16_t)(2 * i);
	}
	gpu.next = (uint16_t)(gpu.next + BATCH);
	gpu.avail->idx = gpu.next;
	*gpu.bell = 0;
	for (;;) {
		__asm__ volatile("cli");
		if (gpu.used->idx == gpu.next || bare_count[0] != stops_before)
			break;
		__asm__ volatile("sti; hlt");
	}
	__asm__ volatile("sti");
	check(bare_count[0] == stops_before, "requests alone never stop it");
}

static unsigned number(const char **c)
{
	unsigned n = 0;

	for (; **c >= '0' && **c <= '9'; ++*c)
		n = n * 10 + (unsigned)(**c - '0');
	*c += **c == ' ';
	return n;
}

static int bare_main(void)
{
	const char *command = bare_command();
	unsigned n = number(&command);

	seed += number(&command);
	gpu_find(0);
	restart();
	forged_resources();
	forged_requests();
	restart();
	forged_chains();
	for (unsigned i = 0; i < n; i += BATCH) {
		if (i / BATCH % 64 == 0)
			restart();
		batch();
	}
	restart();
	check(gpu_create(1, 1, 8, 8) == OK, "still a GPU");
	say("ok %u requests at random\n", n);
	return 0;
}
