/* SPDX-License-Identifier: MIT
 *
 * A virtual machine as a client: QEMU's vhost-user-gpu device.
 *
 *   QEMU --vhost-user socket--> vhost.c    features, the guest's memory, rings, kicks
 *        guest's requests ----> vm.c       one request: parsed, admitted, queued, answered
 *        <--display socket----- display.c  pictures and the pointer, as rectangles of pixels
 *
 * Everything is called from the broker's loop. Sources: QEMU's docs/interop/vhost-user.rst and vhost-user-gpu.rst;
 * VIRTIO 1.2, 5.7.
 */
#ifndef GPU_VM_H
#define GPU_VM_H

#include <linux/virtio_gpu.h>
#include <virt/vgpu/ctrl.h>
#include <virt/vgpu/virtq.h>
#include "gpu.h"

#define VM_REGIONS  8
#define VM_RINGS    2 /* control and cursor */
#define VM_SCANOUTS VIRTIO_GPU_MAX_SCANOUTS
#define VM_CURSOR   VM_SCANOUTS /* the screen that holds the pointer's picture */
#define VM_NO_RING  (~0u)

/* Part of the guest's memory. */
struct vm_region {
	u64 gpa, size; /* as the guest sees it */
	u64 user;      /* as QEMU sees it: addresses of rings */
	u64 offset;    /* in fd */
	u8 *map;
	int fd;
};

struct vm_ring {
	struct virtq q;
	u64 desc, avail, used; /* as QEMU names them */
	struct watch kick;     /* fd -1: none */
	int call;
	bool enabled, running;
};

/* Pixels that QEMU shows: memory shared with the worker, which reads resources back into it. */
struct vm_screen {
	u32 resource; /* 0: off */
	struct vgpu_box box;
	u32 *pixels; /* box.w * box.h, or NULL */
	u64 bytes;
	struct vgpu_box dirty; /* not yet sent to QEMU; w 0: nothing */
};

struct vm_display {
	struct watch watch; /* fd -1: none */
	u8 in[512];
	u32 in_len;
	u8 *out;
	u32 out_len, out_size, out_at;
};

/* How a request is answered later. */
struct vm_answer {
	u32 ring; /* VM_NO_RING: nobody is told */
	u32 head, nr;
	struct virtq_piece piece[4];
	struct virtio_gpu_ctrl_hdr h;
	bool shows; /* then `box` of `screen` has new pixels */
	u32 screen;
	struct vgpu_box box;
};

struct vm {
	struct conn conn;
	u8 in[12 + 512]; /* one message */
	u32 in_len;
	int fds[VM_REGIONS];
	u32 nr_fds;
	u64 features;
	u32 ended_ring; /* 1 + the ring whose end QEMU waits for; 0: none */
	struct vm_region regions[VM_REGIONS];
	u32 nr_regions;
	struct vm_ring rings[VM_RINGS];
	struct vm_screen screens[VM_SCANOUTS + 1];
	struct vm_display display;
	bool asking; /* QEMU, what the display is; the guest waits for `asked` */
	struct vm_answer asked;
	struct virtio_gpu_update_cursor cursor;
};

static inline struct vm *vm_of(struct conn *c)
{
	return container_of(c, struct vm, conn);
}

/* vhost.c */
struct virtq_mem vm_mem(struct vm *v);
/* The region in which all of it lies, or NULL. */
const struct vm_region *vm_region_of(const struct vm *v, u64 gpa, u64 bytes);
void vm_complete(struct vm *v, u32 ring, u16 head, u32 written);
void vm_serve(struct vm *v); /* takes requests as long as there is room */

/* vm.c: takes one request; false: there is none, or no room. A ring that makes no sense is stopped. */
bool vm_take(struct vm *v, u32 ring);
void vm_answer(struct conn *c, struct op *op);
void vm_answer_display(struct vm *v, const struct virtio_gpu_resp_display_info *info); /* what QEMU said */
void vm_free_screens(struct vm *v);
void vm_forget(struct vm *v); /* the device was reset */

/* display.c */
void display_open(struct vm *v, int fd);
void display_close(struct vm *v);
bool display_ask(struct vm *v); /* false: there is nobody to ask */
bool display_full(const struct vm *v);
void display_size(struct vm *v, u32 scanout, u32 w, u32 h);
void display_dirty(struct vm *v, u32 screen, const struct vgpu_box *box);
void display_cursor(struct vm *v, bool moved_only);

#endif
