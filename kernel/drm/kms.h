/* SPDX-License-Identifier: MIT
 *
 * The display of a card: one plane on one CRTC, one encoder, one connector. Shared by kms.c, kms_events.c and file.c.
 *
 * Locks: kms->lock (RANK_SUBSYS): frame buffers and what is shown; client->lock nests in it.
 */
#ifndef DRM_KMS_H
#define DRM_KMS_H

#include <drm/drm_mode.h>
#include "drm_priv.h"

enum { KMS_PLANE = 31, KMS_CRTC, KMS_ENCODER, KMS_CONNECTOR, KMS_FIRST_FB = 64 };

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
	struct list fbs;
	u32 next_fb;
	struct drm_fb *shown; /* counted; NULL: dark */
	struct drm_mode_modeinfo mode;
	u32 x, y;
};

int __must_check drm_kms_create(struct gpu_dev *gpu, struct drm_kms **out);
void drm_kms_file_closes(struct drm_file *f);

/* kms_events.c */
struct gpu_done *__must_check drm_flip_new(struct drm_file *f, u64 user_data); /* NULL: no memory, too many */
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
	X(properties, DRM_IOCTL_MODE_OBJ_GETPROPERTIES)
#define DECLARE_KMS_(name, code) long drm_kms_##name(struct drm_file *f, void *arg);
KMS_IOCTLS(DECLARE_KMS_)
#undef DECLARE_KMS_

#endif
