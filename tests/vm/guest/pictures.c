/* SPDX-License-Identifier: MIT
 *
 * Problem: what a GPU of its own is worth to a guest shows against a virtual one only on the same work.
 *
 * Idea: pictures of 320 by 240, each brought to the GPU and shown, one request after the other, each answered by an
 * interrupt. Then the guest sleeps, so that the host can count what happened until now.
 *
 * Contract: the command line begins with the number of pictures; prints `pictures N cycles C a picture`, then
 * `holding`. Locks: none.
 */
#include "virtio_gpu.h"

#define WIDTH  320
#define HEIGHT 240
#define BYTES  (WIDTH * HEIGHT * 4)
#define OK     VIRTIO_GPU_RESP_OK_NODATA

static uint64_t cycles(void)
{
	uint32_t low, high;

	__asm__ volatile("rdtsc" : "=a"(low), "=d"(high));
	return (uint64_t)high << 32 | low;
}

static void sleep_on(void)
{
	for (;;)
		__asm__ volatile("hlt");
}

static int bare_main(void)
{
	unsigned n = 0;
	uint64_t start;

	for (const char *c = bare_command(); *c >= '0' && *c <= '9'; c++)
		n = n * 10 + (unsigned)(*c - '0');
	gpu_find(0);
	check(gpu_start(1UL << 32) == 0, "features");
	check(gpu_create(1, 2, WIDTH, HEIGHT) == OK && gpu_attach(1, PIXELS, BYTES, 4096) == OK &&
		      gpu_scanout(1, WIDTH, HEIGHT) == OK,
	      "a picture");
	start = cycles();
	for (unsigned i = 0; i < n; i++) {
		*(volatile uint32_t *)(PIXELS + 4 * i) = 0xffffff;
		check(gpu_transfer(1, 0, 0, WIDTH, HEIGHT, 0) == OK && gpu_flush(1, WIDTH, HEIGHT) == OK, "shown");
	}
	say("pictures %u cycles %l a picture\n", n, n ? (unsigned long)((cycles() - start) / n) : 0UL);
	say("holding\n");
	sleep_on();
	return 0;
}
