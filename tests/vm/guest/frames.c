/* SPDX-License-Identifier: MIT
 *
 * Problem: how a GPU is divided shows only while everybody wants it.
 *
 * Idea: a guest that shows a picture of its own colour (the first letter of the command line: R, G or B), then always
 * has three frames of nine draws each at its virtual GPU, until it is killed; the host counts those that are finished.
 * A second word on the command line makes it a driver that expects to lose the device: it resets it and begins again.
 *
 * Contract: prints `holding` when it has begun, and `lost` when a frame failed. Locks: none.
 */
#include "virtio_gpu.h"

#define DRAWS     9
#define IN_FLIGHT 3
#define OK        VIRTIO_GPU_RESP_OK_NODATA

struct frame {
	struct virtio_gpu_cmd_submit s;
	uint32_t words[DRAWS * 13];
};

static void make(struct frame *f)
{
	memset(f, 0, sizeof(*f));
	f->s.hdr.type = VIRTIO_GPU_CMD_SUBMIT_3D;
	f->s.hdr.ctx_id = 1;
	f->s.size = sizeof(f->words);
	for (unsigned i = 0; i < DRAWS; i++) {
		f->words[13 * i] = 8 | 12 << 16; /* draw_vbo */
		f->words[13 * i + 2] = 3;        /* three vertices */
	}
}

static void offer(unsigned slot)
{
	uintptr_t at = REQUEST + 0x1000UL * slot;

	gpu.desc[2 * slot] =
		(struct vring_desc){ at, sizeof(struct frame), VRING_DESC_F_NEXT, (uint16_t)(2 * slot + 1) };
	gpu.desc[2 * slot + 1] = (struct vring_desc){ ANSWER + 64UL * slot, 64, VRING_DESC_F_WRITE, 0 };
	gpu_ring((uint16_t)(2 * slot));
}

/* Rings in the colour, 128 by 96. */
static void show(unsigned shift)
{
	uint32_t *p = (void *)PIXELS;

	for (int y = 0; y < 96; y++)
		for (int x = 0; x < 128; x++) {
			int r = (x - 64) * (x - 64) + (y - 48) * (y - 48);

			p[y * 128 + x] = (uint32_t)(r / 24 % 128 + 127) << shift | 0x202020;
		}
	check(gpu_create(1, 2, 128, 96) == OK && gpu_attach(1, PIXELS, 128 * 96 * 4, 4096 * 12) == OK &&
		      gpu_transfer(1, 0, 0, 128, 96, 0) == OK && gpu_scanout(1, 128, 96) == OK &&
		      gpu_flush(1, 128, 96) == OK,
	      "a picture");
}

/* What comes back is offered again, until all have failed. */
static void go_round(uint16_t seen)
{
	for (unsigned failed = 0; failed < IN_FLIGHT;) {
		__asm__ volatile("cli");
		while (seen == gpu.used->idx)
			__asm__ volatile("sti; hlt; cli");
		__asm__ volatile("sti");
		for (; seen != gpu.used->idx; seen++) {
			unsigned slot = gpu.used->ring[seen % QUEUE].id / 2;

			if (((struct virtio_gpu_ctrl_hdr *)(ANSWER + 64UL * slot))->type != OK)
				failed++;
			else
				offer(slot);
		}
	}
}

static void draw(char colour)
{
	uint16_t seen;

	check(gpu_start(1ULL << 32 | 1) == 0, "3D");
	check(gpu_do(struct virtio_gpu_ctx_create, .hdr = { .type = VIRTIO_GPU_CMD_CTX_CREATE, .ctx_id = 1 }) == OK,
	      "context");
	show(colour == 'R' ? 16 : colour == 'G' ? 8 : 0);
	say("holding\n");
	seen = gpu.used->idx;
	for (unsigned i = 0; i < IN_FLIGHT; i++) {
		make((struct frame *)(REQUEST + 0x1000UL * i));
		offer(i);
	}
	go_round(seen);
	say("lost\n");
}

static int bare_main(void)
{
	const char *command = bare_command();

	gpu_find(0);
	do
		draw(command[0]);
	while (command[0] && command[1] == ' ');
	return 1;
}
