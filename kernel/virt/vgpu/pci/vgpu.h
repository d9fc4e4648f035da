/* SPDX-License-Identifier: MIT
 *
 * A virtual GPU of a virtual machine: what the files of this part share.
 *
 *   device.c    a virtio-gpu PCI function behind vfio: registers, queues, one thread a device
 *   mediate.c   a request of the control queue: parsed by the core, handed to the GPU as a client's, answered in order
 *   memory.c    the guest's memory behind a resource: pinned, as pieces that the GPU can reach
 *   image.c     2D resources: the pixels that the host may look at
 *   plane.c     what is shown, to be read and to be mapped
 *   snapshot.c  3D resources: the picture is fetched from the GPU when the host looks
 *   types.c     the mediated devices' types: fractions of the GPU
 *   virtq.c     registers and queues of virtio, pure
 *
 * Locks: g->lock (RANK_VFIO_DEVICE) for all of a device but what is marked: a atomic; I constant while it is open. The
 * GPU calls us back without locks, also while it closes or resets our client: so those two run without g->lock.
 */
#ifndef VGPU_H
#define VGPU_H

#include <gpu/gpu.h>
#include <linux/virtio_gpu.h>
#include <task/mutex.h>
#include <virt/mdev.h>
#include <virt/vgpu/ctrl.h>
#include <virt/vgpu/map.h>
#include <virt/vpci.h>
#include <virt/vgpu/virtq.h>

#define VGPU_BAR      0
#define VGPU_MSIX_BAR 1
#define VGPU_VECTORS  3                    /* configuration, control queue, cursor queue */
#define VGPU_PLANE    VFIO_PCI_NUM_REGIONS /* the region that shows the scanout */
#define VGPU_PENDING  64                   /* requests taken and not yet answered: more wait in the queue */
#define VGPU_PIECES   8                    /* of memory for an answer */

struct tenant;

/* Pixels of a 2D resource, four bytes each. */
struct vgpu_image {
	u32 width, height, format;
	u32 nr_pages;
	struct page *page[];
};

/* The guest's memory behind a resource, from an accepted ATTACH_BACKING until the GPU lets go. */
struct vgpu_memory {
	struct gpu_pages pages;
	refcount_t refs; /* the object's and the GPU's */
	struct vgpu *g;
	u32 nr_pages, nr_pinned;
	struct page **page;
	u64 *iova;        /* of each page */
	struct list link; /* g->memories: memory_lock */
};

/* What we know of a guest's resource besides the GPU. */
struct vgpu_object {
	struct vgpu_image *image; /* NULL: not 2D */
	struct vgpu_res_args args;
	struct vgpu_memory *memory; /* NULL: none, or taken back */
};

struct vgpu_answer {
	union {
		struct virtio_gpu_ctrl_hdr h;
		struct virtio_gpu_resp_display_info display;
		struct virtio_gpu_resp_capset_info capset_info;
		struct virtio_gpu_resp_edid edid;
	};
	const void *more; /* behind it */
	u32 bytes, more_bytes;
};

/* A request that has been taken from a queue. Answers go out in their order. */
struct vgpu_job {
	struct gpu_done done;
	struct list link; /* g->jobs */
	struct vgpu *g;
	struct vgpu_request r;
	struct vgpu_answer a;
	struct virtq_piece piece[VGPU_PIECES];
	u32 nr_pieces;
	u16 head;
	u8 queue;
	bool over;      /* the answer is known */
	bool abandoned; /* the device was reset meanwhile: nobody waits for it */
};

struct vgpu_counts { /* since the device was opened; read without a lock */
	u64 doorbells, requests, refused, interrupts, flushes;
	u64 submits, finished; /* command streams taken, and done by the GPU */
};

struct vgpu {
	struct mdev *m;
	struct gpu_dev *gpu;
	struct vgpu_share share;
	struct vgpu_limits limits;
	u32 max_width, max_height;
	struct mutex lock;
	struct vpci pci;
	struct vdev virtio;
	struct virtio_gpu_config config;
	u8 msix_table[PAGE_SIZE];
	struct virtq_chain chain; /* the request that is being taken */
	void *request;            /* its copy: request_bytes */
	size_t request_bytes;
	struct task *thread; /* I */
	struct waitq wait;
	bool stop;                 /* a */
	ulong kicked;              /* a: a bit a queue */
	bool resetting;            /* the client is being emptied: nothing is taken */
	struct mutex reset_lock;   /* RANK_SUBSYS, nested: one reset at a time */
	struct tenant *tenant;     /* I: who opened it; counted */
	struct gpu_client *client; /* I */
	struct list jobs;
	unsigned nr_jobs;
	struct vgpu_map objects;     /* resource to struct vgpu_object */
	struct spinlock memory_lock; /* RANK_DRIVER */
	struct list memories;
	struct {
		u32 resource; /* 0: off */
		struct vgpu_box box;
	} scanout;
	struct {
		struct vgpu_image *image; /* of a texture, when the host began to read; NULL: the scanout's own */
		struct vgpu_box box;
	} shot;
	struct vgpu_image *window; /* a page of the picture's region each; NULL: nobody has mapped it */
	struct vgpu_counts counts;
};

/* device.c */
extern const struct vfio_device_ops vgpu_device_ops;
void vgpu_set_up(struct vgpu *g);
struct virtq_mem vgpu_mem(struct vgpu *g);
/* Hands a request back to the guest. */
void vgpu_complete(struct vgpu *g, unsigned queue, u16 head, u32 written);

/* mediate.c: takes the request in g->chain. False: no memory for it, try later. */
bool vgpu_take(struct vgpu *g, unsigned queue);
void vgpu_abandon(struct vgpu *g); /* no answer is sent any more to what is pending */
void vgpu_forget(struct vgpu *g);  /* every object; the client is empty */

/* memory.c */
int __must_check vgpu_memory_pin(struct vgpu *g, const struct virtio_gpu_mem_entry *e, u32 nr,
				 struct vgpu_memory **out);
void vgpu_memory_get(struct vgpu_memory *m);
void vgpu_memory_put(struct vgpu_memory *m);              /* the last one unpins */
bool vgpu_memory_in(struct vgpu *g, u64 iova, u64 bytes); /* some of it lies there */
/* n bytes from offset on. -EINVAL: there are fewer. */
int __must_check vgpu_memory_read(const struct vgpu_memory *m, u64 offset, void *buf, size_t n);

/* image.c */
struct vgpu_image *vgpu_image_create(struct vgpu *g, const struct vgpu_res_args *a); /* NULL: no memory */
void vgpu_image_free(struct vgpu_image *i);
u32 vgpu_image_format(u32 format); /* DRM's number; 0: it cannot be shown */
void vgpu_image_read(const struct vgpu_image *i, u64 offset, void *buf, size_t n); /* within it */
/* Rows of box from the guest's memory, the first byte at offset; as far as that goes. */
void vgpu_image_load(struct vgpu_object *o, const struct vgpu_box *box, u64 offset);
/* snapshot.c: g->shot becomes what a texture at the scanout shows now, or nothing. No lock held; waits for the GPU. */
void vgpu_snapshot(struct vgpu *g);
struct vgpu_object *vgpu_texture(struct vgpu *g); /* at the scanout; NULL: none that can be looked at. g->lock held */

/* plane.c: vfio's ops for the region. */
long vgpu_plane_ioctl(struct vgpu *g, unsigned cmd, void __user *arg);
int vgpu_plane_read(struct vgpu *g, u64 offset, void *buf, size_t n);
int __must_check vgpu_plane_map(struct vgpu *g); /* -ENOMEM */
int vgpu_plane_page(struct vgpu *g, u64 index, struct page **out);
void vgpu_plane_close(struct vgpu *g); /* nobody maps it any more */

#endif
