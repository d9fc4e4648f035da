/* SPDX-License-Identifier: MIT
 *
 * Problem: what a guest draws must be what its host sees.
 *
 * Idea: the virtual GPU, driven without a kernel: a picture of stripes and a square (made from the pixel's place and a
 * colour of the guest's, the first letter of the command line) goes to the scanout, part of it in a second transfer;
 * then what a driver does at its end, and again.
 *
 * Contract: prints `ok NAME` a part and `doorbells N`, the number of its requests; status 0 or 1. The host knows the
 * same formula: pixel (x, y) is x, y and colour in the three bytes; in the square from (8, 8) to (24, 24) it is white.
 *
 * Locks: none.
 */
#include "virtio_gpu.h"

#define WIDTH  64
#define HEIGHT 48
#define BYTES  (WIDTH * HEIGHT * 4)
#define FORMAT 2 /* B8G8R8X8 */

static uint32_t pixel(unsigned x, unsigned y, unsigned colour)
{
	if (x >= 8 && x < 24 && y >= 8 && y < 24)
		return 0xffffff;
	return x << 16 | y << 8 | colour;
}

/* The backing's entries are pages in reverse order. */
static uint32_t *at(unsigned x, unsigned y)
{
	unsigned offset = (y * WIDTH + x) * 4, pages = BYTES / 4096;

	return (uint32_t *)(PIXELS + (pages - 1 - offset / 4096) * 4096UL + offset % 4096);
}

static void draw(unsigned colour)
{
	for (unsigned y = 0; y < HEIGHT; y++)
		for (unsigned x = 0; x < WIDTH; x++)
			*at(x, y) = pixel(x, y, colour);
}

static void show(unsigned colour)
{
	check(gpu_create(7, FORMAT, WIDTH, HEIGHT) == VIRTIO_GPU_RESP_OK_NODATA, "create");
	check(gpu_create(7, FORMAT, 8, 8) == VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER, "create twice");
	check(gpu_attach(7, PIXELS, BYTES, 4096) == VIRTIO_GPU_RESP_OK_NODATA, "attach");
	check(gpu_scanout(7, WIDTH, HEIGHT) == VIRTIO_GPU_RESP_OK_NODATA, "scanout");
	draw(0);
	check(gpu_transfer(7, 0, 0, WIDTH, HEIGHT, 0) == VIRTIO_GPU_RESP_OK_NODATA, "transfer");
	draw(colour);
	/* the right half, then the left one: each must touch its own columns only */
	check(gpu_transfer(7, WIDTH / 2, 0, WIDTH / 2, HEIGHT, WIDTH / 2 * 4) == VIRTIO_GPU_RESP_OK_NODATA, "a part");
	check(gpu_transfer(7, 0, 0, WIDTH / 2, HEIGHT, 0) == VIRTIO_GPU_RESP_OK_NODATA, "the other part");
	check(gpu_flush(7, WIDTH, HEIGHT) == VIRTIO_GPU_RESP_OK_NODATA, "flush");
}

static int bare_main(void)
{
	const struct virtio_gpu_resp_display_info *d = (void *)ANSWER;
	unsigned colour;

	gpu_find(0);
	check(gpu_start(0) != 0, "features without version 1 are refused");
	check(gpu_start(1ULL << 32) == 0, "features");
	check(gpu.config->num_scanouts == 1, "one scanout");
	check(gpu_do(struct virtio_gpu_ctrl_hdr, .type = VIRTIO_GPU_CMD_GET_DISPLAY_INFO) ==
		      VIRTIO_GPU_RESP_OK_DISPLAY_INFO,
	      "display info");
	check(d->pmodes[0].enabled && d->pmodes[0].r.width >= 1024, "a display");
	say("ok found\n");
	colour = (uint8_t)bare_command()[0];
	show(colour);
	say("ok drawn\n");
	check(gpu_unref(7) == VIRTIO_GPU_RESP_OK_NODATA, "unref");
	check(gpu_flush(7, WIDTH, HEIGHT) == VIRTIO_GPU_RESP_ERR_INVALID_RESOURCE_ID, "gone");
	check(gpu_start(1ULL << 32) == 0, "again after a reset");
	show(colour);
	say("ok drawn again\nrequests %u interrupts %u\n", gpu.requests, bare_count[1]);
	if (bare_command()[1] == ' ' && bare_command()[2] == 'h') {
		say("holding\n");
		for (;;)
			check(gpu_transfer(7, 0, 0, WIDTH, HEIGHT, 0) == VIRTIO_GPU_RESP_OK_NODATA &&
				      gpu_flush(7, WIDTH, HEIGHT) == VIRTIO_GPU_RESP_OK_NODATA,
			      "a frame");
	}
	return 0;
}
