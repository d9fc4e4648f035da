/* SPDX-License-Identifier: MIT
 *
 * Shared by the driver's files: one command at the device.
 */
#ifndef VIRTIO_GPU_PRIV_H
#define VIRTIO_GPU_PRIV_H

#include <gpu/gpu.h>
#include <linux/virtio_gpu.h>

union request {
	struct virtio_gpu_ctrl_hdr hdr;
	struct virtio_gpu_resource_create_2d create_2d;
	struct virtio_gpu_resource_create_3d create_3d;
	struct virtio_gpu_transfer_to_host_2d transfer_2d;
	struct virtio_gpu_transfer_host_3d transfer_3d;
	struct virtio_gpu_resource_unref unref;
	struct virtio_gpu_resource_attach_backing attach;
	struct virtio_gpu_set_scanout scanout;
	struct virtio_gpu_resource_flush flush;
	struct virtio_gpu_ctx_create ctx_create;
	struct virtio_gpu_ctx_destroy ctx_destroy;
	struct virtio_gpu_cmd_submit submit;
	struct virtio_gpu_get_capset_info capset_info;
	struct virtio_gpu_get_capset capset;
	struct virtio_gpu_cmd_get_edid edid;
};

struct command {
	struct list link; /* while the ring has no room */
	struct gpu_job *job;
	union request request;
	struct virtio_gpu_ctrl_hdr response;
	u32 request_bytes, data_bytes;
	const void *data; /* readable, behind the request; physically contiguous */
	void *owned;      /* data, if it is the command's own */
};

/* Fills request and data for a job: the request's bytes, or -errno. */
int __must_check virtio_gpu_encode(struct command *c, const struct gpu_job *j);

#endif
