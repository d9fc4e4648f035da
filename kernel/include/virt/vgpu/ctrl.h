/* SPDX-License-Identifier: MIT
 *
 * The control queue of virtio-gpu: one request parsed into words of the core. Formats: <linux/virtio_gpu.h> and the
 * virtio specification 1.2, section 5.7.
 *
 * vgpu_ctrl_parse looks at a private copy of the readable part of a descriptor chain and says what it asks for; it
 * has no effect. Variable parts (backing entries, a command stream) are left in place and pointed to.
 *
 * Threading: pure. Errors: -EINVAL malformed (answer RESP_ERR_INVALID_PARAMETER), -EOPNOTSUPP a command that is not
 * offered, blobs and UUIDs among them (RESP_ERR_UNSPEC), -E2BIG over a limit (RESP_ERR_OUT_OF_MEMORY).
 */
#ifndef VIRT_VGPU_CTRL_H
#define VIRT_VGPU_CTRL_H

#include <linux/virtio_gpu.h>
#include <virt/vgpu/resource.h>

#define VGPU_BACKING_MAX 16384 /* entries of one backing: 64 MiB in single pages */
#define VGPU_CURSOR      64    /* texels, width and height of a cursor image */

/* One request. `type` is VIRTIO_GPU_CMD_*; the fields after the header are those that its type has. */
struct vgpu_request {
	u32 type;
	u32 ctx;
	u32 resource; /* 0 only where that means "none" (SET_SCANOUT, UPDATE_CURSOR) */
	u32 scanout;
	bool fenced;
	u64 fence;

	struct vgpu_res_args create; /* RESOURCE_CREATE_2D and _3D */
	struct vgpu_box box;         /* transfers, flush, scanout */
	u32 level, stride, layer_stride;
	u64 offset;                 /* of a transfer in the backing */
	u32 capset, capset_version; /* index (GET_CAPSET_INFO) or id and version (GET_CAPSET) */
	u32 hot_x, hot_y, cursor_x, cursor_y;

	const struct virtio_gpu_mem_entry *entries; /* RESOURCE_ATTACH_BACKING */
	u32 nr_entries;
	u64 backing_bytes; /* their sum */
	u32 *words;        /* SUBMIT_3D: the stream, in the caller's copy */
	u32 nr_words;
};

int __must_check vgpu_ctrl_parse(void *buf, size_t bytes, struct vgpu_request *out);

/* The response type for a request that failed with -errno, and the size of a successful one's response. */
u32 vgpu_ctrl_error(int err);
u32 vgpu_ctrl_response_bytes(const struct vgpu_request *r, u32 capset_bytes);

#endif
