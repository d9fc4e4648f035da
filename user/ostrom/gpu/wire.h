/* SPDX-License-Identifier: MIT
 *
 * What broker and worker say to each other over a stream socket: a header and `bytes` of payload, in host order (both
 * are the same program on the same machine).
 *
 * The worker runs messages in order and trusts them no further than it must (it checks lengths); the broker trusts
 * nothing that a worker says beyond "job N is done", and the time it takes from its own clock.
 */
#ifndef GPU_WIRE_H
#define GPU_WIRE_H

#include <virt/vgpu/resource.h>

enum wire_type {
	/* broker to worker */
	WIRE_CTX_CREATE = 1, /* payload: the client's name, for the renderer's messages */
	WIRE_CTX_DESTROY,
	WIRE_RES_CREATE,  /* struct wire_create; with a descriptor if shm_bytes */
	WIRE_RES_DESTROY, /* u32 host id */
	WIRE_SUBMIT,      /* admitted words */
	WIRE_TRANSFER,    /* struct wire_transfer */
	WIRE_END,         /* end of job `arg`: answer when all before is finished on the GPU */
	/* of a virtual machine */
	WIRE_MEMORY, /* struct wire_memory, with a descriptor: part of the guest's memory; index 0 begins a new table */
	WIRE_BACKING,    /* struct wire_backing; no pieces: none any more */
	WIRE_CTX_ATTACH, /* u32 host id */
	WIRE_CTX_DETACH,
	WIRE_SCREEN, /* struct wire_screen, with a descriptor unless there are no bytes */
	WIRE_SHOW,   /* struct wire_show */
	/* worker to broker */
	WIRE_HELLO,  /* payload: u32 bytes of set 1, u32 bytes of set 2, both sets */
	WIRE_DONE,   /* job `arg` */
	WIRE_FAILED, /* the renderer refused something of context `ctx`: it is unusable now */
};

struct wire_header {
	u32 type, bytes, ctx, arg;
};

struct wire_create {
	u32 host_id, shm_bytes;
	struct vgpu_res_args args;
};

struct wire_transfer {
	u32 host_id, to_host, level, offset;
	u32 stride, layer_stride; /* 0: as the level is */
	struct vgpu_box box;
};

#define WIRE_REGIONS 8

struct wire_memory {
	u32 index, count;
	u64 offset, bytes; /* of the descriptor */
};

struct wire_piece {
	u32 region, bytes;
	u64 offset;
};

struct wire_backing {
	u32 host_id, nr;
	struct wire_piece piece[];
};

#define WIRE_SCREENS 17

struct wire_screen {
	u32 screen, bytes;
};

/* Reads box of level 0 into a screen's memory, from its byte `offset` on. */
struct wire_show {
	u32 host_id, screen;
	u32 order; /* of bytes in a texel: positions of blue, green and red, four bits each from the lowest */
	u32 stride, offset;
	struct vgpu_box box;
};

#define WIRE_MAX_BYTES (4u << 20)
#define WIRE_END_GPU   1u /* in the header's ctx of WIRE_END: there was GPU work, wait for it */

#endif
