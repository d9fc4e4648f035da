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
	struct vgpu_box box;
};

#define WIRE_MAX_BYTES (4u << 20)
#define WIRE_END_GPU   1u /* in the header's ctx of WIRE_END: there was GPU work, wait for it */

#endif
