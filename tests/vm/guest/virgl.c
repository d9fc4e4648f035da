/* SPDX-License-Identifier: MIT
 *
 * Problem: 3D of a guest goes through the mediator as a command stream whose ids it changes; the right resource must
 * get the right pixels.
 *
 * Idea: a recorded stream, the smallest that draws: a surface of a texture, a frame buffer of it, a clear. Then the
 * texture comes back into the guest's memory. Twice, with two resources and contexts of the same guest in the other
 * order, so that ids that were not translated would show. And streams that must be refused.
 *
 * Contract: prints `ok NAME` a part, or `skip: no 3D`; status 0 or 1. Numbers: virglrenderer 0.10.4,
 * src/virgl_protocol.h.
 *
 * Locks: none.
 */
#include "virtio_gpu.h"

#define SIZE   32
#define BYTES  (SIZE * SIZE * 4)
#define FORMAT 1 /* B8G8R8A8 */
#define OK     VIRTIO_GPU_RESP_OK_NODATA

#define CMD(op, object, n) ((uint32_t)(op) | (uint32_t)(object) << 8 | (uint32_t)(n) << 16)

static unsigned submit(uint32_t ctx, const uint32_t *words, uint32_t n)
{
	struct virtio_gpu_cmd_submit *s = (void *)REQUEST;

	memset(s, 0, sizeof(*s));
	s->hdr.type = VIRTIO_GPU_CMD_SUBMIT_3D;
	s->hdr.ctx_id = ctx;
	s->hdr.flags = VIRTIO_GPU_FLAG_FENCE;
	s->hdr.fence_id = 1000 + ctx;
	s->size = n * 4;
	memcpy(s + 1, words, n * 4);
	return gpu_send((uint32_t)sizeof(*s) + n * 4);
}

static unsigned context(uint32_t type, uint32_t ctx, uint32_t resource)
{
	return gpu_do(struct virtio_gpu_ctx_resource, .hdr = { .type = type, .ctx_id = ctx }, .resource_id = resource);
}

static void prepare(uint32_t ctx, uint32_t resource, uintptr_t pixels)
{
	check(gpu_do(struct virtio_gpu_ctx_create, .hdr = { .type = VIRTIO_GPU_CMD_CTX_CREATE, .ctx_id = ctx }) == OK,
	      "context");
	check(gpu_do(struct virtio_gpu_resource_create_3d, HDR(VIRTIO_GPU_CMD_RESOURCE_CREATE_3D),
		     .resource_id = resource, .target = 2, .format = FORMAT, .bind = 2 | 8, .width = SIZE,
		     .height = SIZE, .depth = 1, .array_size = 1) == OK,
	      "texture");
	check(gpu_attach(resource, pixels, BYTES, 1024) == OK, "its memory");
	check(context(VIRTIO_GPU_CMD_CTX_ATTACH_RESOURCE, ctx, resource) == OK, "attached");
}

static unsigned clear(uint32_t ctx, uint32_t resource, float red, float green, float blue)
{
	uint32_t w[] = { CMD(1, 8, 5), 5, resource, FORMAT, 0, 0, CMD(5, 0, 3), 1, 0, 5, CMD(7, 0, 8), 4, 0, 0, 0,
			 0x3f800000,   0, 0,        0 };

	memcpy(&w[12], &red, 4);
	memcpy(&w[13], &green, 4);
	memcpy(&w[14], &blue, 4);
	return submit(ctx, w, sizeof(w) / 4);
}

static void read_back(uint32_t ctx, uint32_t resource)
{
	check(gpu_do(struct virtio_gpu_transfer_host_3d,
		     .hdr = { .type = VIRTIO_GPU_CMD_TRANSFER_FROM_HOST_3D,
			      .ctx_id = ctx,
			      .flags = VIRTIO_GPU_FLAG_FENCE,
			      .fence_id = 2000 },
		     .box = { 0, 0, 0, SIZE, SIZE, 1 }, .resource_id = resource, .stride = SIZE * 4) == OK,
	      "read back");
	check(((struct virtio_gpu_ctrl_hdr *)ANSWER)->fence_id == 2000, "the fence");
}

/* Pieces of 1024 bytes lie backwards: all have the same colour, so that each may be looked at. */
static bool all(uintptr_t at, uint32_t want)
{
	for (unsigned i = 0; i < BYTES / 4; i++)
		if (((volatile uint32_t *)at)[i] != want)
			return false;
	return true;
}

static int bare_main(void)
{
	static const uint32_t foreign[] = { CMD(1, 8, 5), 6, 12, FORMAT, 0, 0 }, unknown[] = { CMD(200, 0, 0) };
	uintptr_t a = PIXELS, b = PIXELS + BYTES;

	gpu_find(0);
	if (gpu_start(1ULL << 32 | 1)) {
		say("skip: no 3D\n");
		return 0;
	}
	prepare(1, 11, a);
	prepare(2, 12, b);
	check(clear(2, 12, 0, 1, 0) == OK && clear(1, 11, 1, 0, 0) == OK, "streams");
	check(((struct virtio_gpu_ctrl_hdr *)ANSWER)->fence_id == 1001, "the fence of a stream");
	read_back(1, 11);
	read_back(2, 12);
	check(all(a, 0xffff0000), "red");
	check(all(b, 0xff00ff00), "green");
	say("ok two contexts draw\n");
	check(submit(1, foreign, 6) >= VIRTIO_GPU_RESP_ERR_UNSPEC, "another context's texture");
	check(clear(1, 11, 0, 0, 1) >= VIRTIO_GPU_RESP_ERR_UNSPEC, "that context is lost");
	check(clear(2, 12, 0, 0, 1) == OK, "the other is not");
	read_back(2, 12);
	check(all(b, 0xff0000ff), "blue");
	check(submit(2, unknown, 1) >= VIRTIO_GPU_RESP_ERR_UNSPEC, "an unknown command");
	say("ok forged streams are refused\n");
	check(gpu_scanout(12, SIZE, SIZE) == OK, "the texture is shown"); /* the host reads it at the end */
	return 0;
}
