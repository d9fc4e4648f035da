/* SPDX-License-Identifier: MIT
 *
 * The display of a card: one plane on one CRTC, one encoder, one connector. Shared by kms.c, props.c, atomic.c,
 * kms_events.c and file.c.
 *
 * Locks: kms->lock (RANK_SUBSYS): frame buffers and what is shown; client->lock nests in it.
 */
#ifndef DRM_KMS_H
#define DRM_KMS_H

#include <drm/drm_mode.h>
#include "drm_priv.h"

/* Ids of the one name space that programs see. */
enum {
	KMS_PLANE = 31,
	KMS_CRTC,
	KMS_ENCODER,
	KMS_CONNECTOR,
	KMS_EDID_BLOB,
	KMS_MODE_BLOB,
	KMS_FIRST_PROP = 40,
	KMS_FIRST_FREE = 96, /* of frame buffers and blobs */
};

enum kms_prop {
	KMS_P_TYPE,
	KMS_P_FB,
	KMS_P_PLANE_CRTC,
	KMS_P_SRC_X,
	KMS_P_SRC_Y,
	KMS_P_SRC_W,
	KMS_P_SRC_H,
	KMS_P_CRTC_X,
	KMS_P_CRTC_Y,
	KMS_P_CRTC_W,
	KMS_P_CRTC_H,
	KMS_P_IN_FENCE,
	KMS_P_ACTIVE,
	KMS_P_MODE,
	KMS_P_OUT_FENCE,
	KMS_P_CONNECTOR_CRTC,
	KMS_P_EDID,
	KMS_NR_PROPS
};

#define KMS_BLOBS_MAX 64 /* of one file */

struct kms_blob {
	struct list link; /* kms->blobs */
	u32 id, bytes;
	struct drm_file *owner;
	u8 data[];
};

/* What is switched on; the picture is kms->shown. */
struct kms_state {
	bool is_active, has_mode, is_connected;
};

struct drm_fb {
	struct list link; /* kms->fbs */
	u32 id, width, height, pitch, format;
	struct drm_object *object; /* counted */
	struct drm_file *owner;
	refcount_t refs;
};

struct drm_kms {
	struct gpu_dev *gpu;
	struct mutex lock;
	struct list fbs, blobs;
	u32 next_id;
	struct kms_state state;
	struct drm_fb *shown; /* counted; NULL: dark */
	struct drm_mode_modeinfo mode;
	u32 x, y;
};

int __must_check drm_kms_create(struct gpu_dev *gpu, struct drm_kms **out);
void drm_kms_file_closes(struct drm_file *f);

/* kms.c; kms->lock held. The pixels of fb become the picture in the mode that is set; done is told when they are. */
struct drm_fb *kms_find_fb(struct drm_kms *k, u32 id);
int __must_check kms_show(struct drm_kms *k, struct drm_fb *fb, struct gpu_done *done);
void kms_go_dark(struct drm_kms *k);

/* props.c */
u32 kms_prop_object(u32 prop); /* 0: no such property */
bool kms_prop_is_fixed(u32 prop);
bool kms_prop_takes(u32 prop, u64 v);
int __must_check drm_kms_put_properties(struct drm_file *f, u32 object, u64 ids, u64 values, u32 *count);
struct kms_blob *kms_find_blob(struct drm_kms *k, u32 id);
void kms_drop_blobs(struct drm_kms *k, struct drm_file *f);

/* kms_events.c. fence (NULL: none) signals with it, and is cancelled with it. NULL: no memory, too many. */
struct gpu_done *__must_check drm_flip_new(struct drm_file *f, u64 user_data, struct drm_fence *fence);
void drm_flip_cancel(struct gpu_done *d);
void drm_kms_drop_events(struct drm_file *f);
ssize_t drm_kms_read(struct io *io);
unsigned drm_kms_poll(struct file *f, struct poll_table *pt);

#define KMS_IOCTLS(X)                                                                                                  \
	X(resources, DRM_IOCTL_MODE_GETRESOURCES)                                                                      \
	X(get_crtc, DRM_IOCTL_MODE_GETCRTC)                                                                            \
	X(set_crtc, DRM_IOCTL_MODE_SETCRTC)                                                                            \
	X(encoder, DRM_IOCTL_MODE_GETENCODER)                                                                          \
	X(connector, DRM_IOCTL_MODE_GETCONNECTOR)                                                                      \
	X(add_fb, DRM_IOCTL_MODE_ADDFB)                                                                                \
	X(add_fb2, DRM_IOCTL_MODE_ADDFB2)                                                                              \
	X(remove_fb, DRM_IOCTL_MODE_RMFB)                                                                              \
	X(page_flip, DRM_IOCTL_MODE_PAGE_FLIP)                                                                         \
	X(dirty_fb, DRM_IOCTL_MODE_DIRTYFB)                                                                            \
	X(planes, DRM_IOCTL_MODE_GETPLANERESOURCES)                                                                    \
	X(plane, DRM_IOCTL_MODE_GETPLANE)                                                                              \
	X(properties, DRM_IOCTL_MODE_OBJ_GETPROPERTIES)                                                                \
	X(property, DRM_IOCTL_MODE_GETPROPERTY)                                                                        \
	X(get_blob, DRM_IOCTL_MODE_GETPROPBLOB)                                                                        \
	X(create_blob, DRM_IOCTL_MODE_CREATEPROPBLOB)                                                                  \
	X(destroy_blob, DRM_IOCTL_MODE_DESTROYPROPBLOB)                                                                \
	X(atomic, DRM_IOCTL_MODE_ATOMIC)
#define DECLARE_KMS_(name, code) long drm_kms_##name(struct drm_file *f, void *arg);
KMS_IOCTLS(DECLARE_KMS_)
#undef DECLARE_KMS_

#endif
