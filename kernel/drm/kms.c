/* SPDX-License-Identifier: MIT
 *
 * Problem: programs that bring pictures to a screen find it by a chain of connector, encoder, CRTC and plane, make
 * frame buffers of objects, and show them.
 *
 * Idea: the chain is constant: one of each. Showing a frame buffer is three requests of its object's client: the pixels
 * go to the device (dumb buffers; the rest is there already), the scanout is set to it, the picture is flushed. The
 * client whose buffer is shown holds the device's display.
 *
 * Contract: <drm/drm_mode.h>, the legacy half (atomic.c has the other one). Modes are the display's own and a list of
 * usual ones that fit it.
 *
 * Locks: kms->lock. Frame buffers are counted: what is shown stays until something else is.
 */
#include <alloc/slab.h>
#include <arch/user.h>
#include <core/log.h>
#include <lib/err.h>
#include <lib/printf.h>
#include <lib/string.h>
#include "kms.h"

#define REFRESH 60

static const struct {
	u16 width, height;
} usual[] = { { 1920, 1080 }, { 1280, 1024 }, { 1280, 720 }, { 1024, 768 }, { 800, 600 }, { 640, 480 } };
#define MODES_MAX (1 + ARRAY_SIZE(usual))

static const u32 formats[] = { DRM_FORMAT_XRGB8888, DRM_FORMAT_ARGB8888 };

/* ---- modes ---- */

static void make_mode(struct drm_mode_modeinfo *m, u32 width, u32 height, bool preferred)
{
	*m = (struct drm_mode_modeinfo){
		.clock = (width + 160) * (height + 30) * REFRESH / 1000,
		.hdisplay = width,
		.hsync_start = width + 48,
		.hsync_end = width + 80,
		.htotal = width + 160,
		.vdisplay = height,
		.vsync_start = height + 3,
		.vsync_end = height + 8,
		.vtotal = height + 30,
		.vrefresh = REFRESH,
		.type = DRM_MODE_TYPE_DRIVER | (preferred ? DRM_MODE_TYPE_PREFERRED : 0),
	};
	str_format(m->name, sizeof(m->name), "%ux%u", width, height);
}

static u32 list_modes(const struct gpu_dev *g, struct drm_mode_modeinfo *out)
{
	u32 n = 0, width = g->width ? g->width : 1024, height = g->height ? g->height : 768;

	make_mode(&out[n++], width, height, true);
	for (u32 i = 0; i < ARRAY_SIZE(usual); i++)
		if (usual[i].width != width || usual[i].height != height)
			make_mode(&out[n++], usual[i].width, usual[i].height, false);
	return n;
}

/* ---- answers: a list goes to the program if it fits, its length always ---- */

static int put_list(u64 to, u32 *count, const void *list, u32 nr, size_t each)
{
	u32 room = *count;

	*count = nr;
	return room >= nr && nr && to ? user_put((void __user *)(ulong)to, list, nr * each) : 0;
}

static int put_id(u64 to, u32 *count, u32 id)
{
	return put_list(to, count, &id, 1, sizeof(id));
}

long drm_kms_resources(struct drm_file *f, void *arg)
{
	struct drm_mode_card_res *a = arg;
	int err = put_id(a->crtc_id_ptr, &a->count_crtcs, KMS_CRTC);

	if (!err)
		err = put_id(a->encoder_id_ptr, &a->count_encoders, KMS_ENCODER);
	if (!err)
		err = put_id(a->connector_id_ptr, &a->count_connectors, KMS_CONNECTOR);
	a->count_fbs = 0;
	a->min_width = a->min_height = 32;
	a->max_width = a->max_height = 8192;
	return err;
}

long drm_kms_encoder(struct drm_file *f, void *arg)
{
	struct drm_mode_get_encoder *a = arg;

	if (a->encoder_id != KMS_ENCODER)
		return -ENOENT;
	*a = (struct drm_mode_get_encoder){ KMS_ENCODER, DRM_MODE_ENCODER_VIRTUAL, KMS_CRTC, BIT(0), 0 };
	return 0;
}

long drm_kms_connector(struct drm_file *f, void *arg)
{
	struct drm_mode_get_connector *a = arg;
	struct drm_mode_modeinfo *modes;
	u32 nr;
	int err;

	if (a->connector_id != KMS_CONNECTOR)
		return -ENOENT;
	modes = kcalloc(MODES_MAX, sizeof(*modes), ALLOC_KERNEL);
	if (!modes)
		return -ENOMEM;
	nr = list_modes(f->dev->gpu, modes);
	err = put_list(a->modes_ptr, &a->count_modes, modes, nr, sizeof(*modes));
	kfree(modes);
	if (!err)
		err = put_id(a->encoders_ptr, &a->count_encoders, KMS_ENCODER);
	if (!err)
		err = drm_kms_put_properties(f, KMS_CONNECTOR, a->props_ptr, a->prop_values_ptr, &a->count_props);
	a->encoder_id = KMS_ENCODER;
	a->connector_type = DRM_MODE_CONNECTOR_VIRTUAL;
	a->connector_type_id = 1;
	a->connection = 1; /* DRM_MODE_CONNECTED of the kernel's list, which no header has */
	a->mm_width = f->dev->gpu->width * 254 / 960;
	a->mm_height = f->dev->gpu->height * 254 / 960;
	a->subpixel = 1; /* unknown, of the same list */
	return err;
}

long drm_kms_planes(struct drm_file *f, void *arg)
{
	struct drm_mode_get_plane_res *a = arg;

	/* A program that does not ask for universal planes is shown overlays only: there are none. */
	if (f->universal_planes)
		return put_id(a->plane_id_ptr, &a->count_planes, KMS_PLANE);
	a->count_planes = 0;
	return 0;
}

long drm_kms_plane(struct drm_file *f, void *arg)
{
	struct drm_mode_get_plane *a = arg;
	struct drm_kms *k = f->dev->kms;

	if (a->plane_id != KMS_PLANE)
		return -ENOENT;
	mutex_lock(&k->lock);
	a->crtc_id = k->shown ? KMS_CRTC : 0;
	a->fb_id = k->shown ? k->shown->id : 0;
	mutex_unlock(&k->lock);
	a->possible_crtcs = BIT(0);
	a->gamma_size = 0;
	return put_list(a->format_type_ptr, &a->count_format_types, formats, ARRAY_SIZE(formats), sizeof(formats[0]));
}

/* ---- frame buffers ---- */

static void put_fb(struct drm_fb *fb)
{
	if (!fb || !refcount_dec_and_test(&fb->refs))
		return;
	drm_object_put(fb->object);
	kfree(fb);
}

/* kms->lock held. */
struct drm_fb *kms_find_fb(struct drm_kms *k, u32 id)
{
	struct drm_fb *fb;

	list_for_each_entry (fb, &k->fbs, link)
		if (fb->id == id)
			return fb;
	return NULL;
}

static bool fits(const struct drm_object *o, const struct drm_mode_fb_cmd2 *a)
{
	return a->width && a->height && a->width <= o->width && a->height <= o->height && !a->offsets[0] &&
	       (!o->pitch || a->pitches[0] == o->pitch);
}

static int add(struct drm_file *f, struct drm_mode_fb_cmd2 *a)
{
	struct drm_kms *k = f->dev->kms;
	struct drm_object *o = drm_object_find(f->client, a->handles[0]);
	struct drm_fb *fb;

	if (!o)
		return -ENOENT;
	fb = kzalloc(sizeof(*fb), ALLOC_CHARGED);
	if (!fb || !fits(o, a)) {
		kfree(fb);
		drm_object_put(o);
		return fb ? fail(EINVAL, "a frame buffer larger than its object") : -ENOMEM;
	}
	*fb = (struct drm_fb){ .width = a->width,
			       .height = a->height,
			       .pitch = a->pitches[0],
			       .format = a->pixel_format,
			       .object = o,
			       .owner = f };
	refcount_set(&fb->refs, 1);
	mutex_lock(&k->lock);
	a->fb_id = fb->id = k->next_id++;
	list_add_tail(&fb->link, &k->fbs);
	mutex_unlock(&k->lock);
	return 0;
}

long drm_kms_add_fb2(struct drm_file *f, void *arg)
{
	struct drm_mode_fb_cmd2 *a = arg;

	if (a->flags)
		return fail(EINVAL, "no modifiers");
	for (u32 i = 0; i < ARRAY_SIZE(formats); i++)
		if (a->pixel_format == formats[i])
			return add(f, a);
	return fail(EINVAL, "format %#x", a->pixel_format);
}

long drm_kms_add_fb(struct drm_file *f, void *arg)
{
	struct drm_mode_fb_cmd *a = arg;
	struct drm_mode_fb_cmd2 b = { .width = a->width,
				      .height = a->height,
				      .pixel_format = a->depth == 32 ? DRM_FORMAT_ARGB8888 : DRM_FORMAT_XRGB8888,
				      .handles = { a->handle },
				      .pitches = { a->pitch } };
	int err;

	if (a->bpp != 32 || (a->depth != 24 && a->depth != 32))
		return -EINVAL;
	err = add(f, &b);
	a->fb_id = b.fb_id;
	return err;
}

/* ---- showing ---- */

static int request(struct drm_fb *fb, u32 type, u32 width, u32 height, u32 x, u32 y, struct gpu_done *done)
{
	struct vgpu_request r = { .type = type,
				  .resource = fb->object->resource,
				  .box = { x, y, 0, width, height, 1 },
				  .offset = ((u64)y * fb->object->width + x) * 4 };

	return gpu_request(fb->object->client->gpu, &r, NULL, done);
}

/* The pixels of fb become the picture; done is told when they are. kms->lock held. */
int kms_show(struct drm_kms *k, struct drm_fb *fb, struct gpu_done *done)
{
	u32 w = k->mode.hdisplay, h = k->mode.vdisplay;
	int err = 0;

	if (k->x + w > fb->width || k->y + h > fb->height)
		return fail(ENOSPC, "the mode is larger than the frame buffer");
	if (k->shown && k->shown->object->client != fb->object->client)
		gpu_client_drop_display(k->shown->object->client->gpu);
	err = gpu_client_take_display(fb->object->client->gpu);
	if (!err && fb->object->is_dumb)
		err = request(fb, VIRTIO_GPU_CMD_TRANSFER_TO_HOST_2D, w, h, k->x, k->y, NULL);
	if (!err)
		err = request(fb, VIRTIO_GPU_CMD_SET_SCANOUT, w, h, k->x, k->y, NULL);
	if (!err)
		err = request(fb, VIRTIO_GPU_CMD_RESOURCE_FLUSH, w, h, k->x, k->y, done);
	if (err || k->shown == fb)
		return err;
	put_fb(k->shown);
	refcount_inc(&fb->refs);
	k->shown = fb;
	return 0;
}

/* kms->lock held. */
void kms_go_dark(struct drm_kms *k)
{
	struct vgpu_request r = { .type = VIRTIO_GPU_CMD_SET_SCANOUT };
	struct gpu_client *c;

	if (!k->shown)
		return;
	c = k->shown->object->client->gpu;
	if (gpu_request(c, &r, NULL, NULL))
		log_debug("drm: the picture goes with its client");
	gpu_client_drop_display(c);
	put_fb(k->shown);
	k->shown = NULL;
}

/* kms->lock held. */
static void switch_off(struct drm_kms *k)
{
	kms_go_dark(k);
	k->state = (struct kms_state){ false, false, false };
}

long drm_kms_get_crtc(struct drm_file *f, void *arg)
{
	struct drm_mode_crtc *a = arg;
	struct drm_kms *k = f->dev->kms;

	if (a->crtc_id != KMS_CRTC)
		return -ENOENT;
	mutex_lock(&k->lock);
	a->fb_id = k->shown ? k->shown->id : 0;
	a->x = k->x;
	a->y = k->y;
	a->mode_valid = k->shown != NULL;
	a->mode = k->mode;
	mutex_unlock(&k->lock);
	a->gamma_size = 0;
	return 0;
}

/* kms->lock held. */
static int set_mode(struct drm_kms *k, const struct drm_mode_crtc *a)
{
	struct drm_fb *fb = a->fb_id == ~0u ? k->shown : kms_find_fb(k, a->fb_id);
	struct drm_kms old = *k;
	int err;

	if (!fb)
		return -ENOENT;
	if (!a->mode.hdisplay || !a->mode.vdisplay)
		return -EINVAL;
	k->mode = a->mode;
	k->x = a->x;
	k->y = a->y;
	err = kms_show(k, fb, NULL);
	if (err) {
		k->mode = old.mode;
		k->x = old.x;
		k->y = old.y;
		return err;
	}
	k->state = (struct kms_state){ true, true, true };
	return 0;
}

long drm_kms_set_crtc(struct drm_file *f, void *arg)
{
	const struct drm_mode_crtc *a = arg;
	struct drm_kms *k = f->dev->kms;
	u32 connector;
	int err = 0;

	if (a->crtc_id != KMS_CRTC)
		return -ENOENT;
	if (a->mode_valid && a->count_connectors != 1)
		return -EINVAL;
	if (a->mode_valid && user_get(&connector, (const void __user *)(ulong)a->set_connectors_ptr, sizeof(connector)))
		return -EFAULT;
	if (a->mode_valid && connector != KMS_CONNECTOR)
		return -ENOENT;
	mutex_lock(&k->lock);
	if (a->mode_valid)
		err = set_mode(k, a);
	else
		switch_off(k);
	mutex_unlock(&k->lock);
	return err;
}

long drm_kms_page_flip(struct drm_file *f, void *arg)
{
	const struct drm_mode_crtc_page_flip *a = arg;
	struct drm_kms *k = f->dev->kms;
	struct gpu_done *flip = NULL;
	struct drm_fb *fb;
	int err;

	if (a->crtc_id != KMS_CRTC)
		return -ENOENT;
	if (a->flags & ~DRM_MODE_PAGE_FLIP_EVENT || a->reserved)
		return -EINVAL;
	if (a->flags & DRM_MODE_PAGE_FLIP_EVENT && !(flip = drm_flip_new(f, a->user_data, NULL)))
		return -ENOMEM;
	mutex_lock(&k->lock);
	fb = kms_find_fb(k, a->fb_id);
	err = !fb ? -ENOENT : !k->shown ? -EBUSY : kms_show(k, fb, flip);
	mutex_unlock(&k->lock);
	if (err && flip)
		drm_flip_cancel(flip);
	return err;
}

long drm_kms_dirty_fb(struct drm_file *f, void *arg)
{
	const struct drm_mode_fb_dirty_cmd *a = arg;
	struct drm_kms *k = f->dev->kms;
	struct drm_fb *fb;
	int err = 0;

	mutex_lock(&k->lock);
	fb = kms_find_fb(k, a->fb_id);
	if (!fb)
		err = -ENOENT;
	else if (fb == k->shown)
		err = kms_show(k, fb, NULL);
	mutex_unlock(&k->lock);
	return err;
}

/* kms->lock held. */
static void remove(struct drm_kms *k, struct drm_fb *fb)
{
	list_del(&fb->link);
	if (k->shown == fb)
		switch_off(k);
	put_fb(fb);
}

long drm_kms_remove_fb(struct drm_file *f, void *arg)
{
	struct drm_kms *k = f->dev->kms;
	struct drm_fb *fb;

	mutex_lock(&k->lock);
	fb = kms_find_fb(k, *(u32 *)arg);
	if (fb && fb->owner == f)
		remove(k, fb);
	else
		fb = NULL;
	mutex_unlock(&k->lock);
	return fb ? 0 : -ENOENT;
}

void drm_kms_file_closes(struct drm_file *f)
{
	struct drm_kms *k = f->dev->kms;
	struct drm_fb *fb, *next;

	if (!k)
		return;
	mutex_lock(&k->lock);
	list_for_each_entry_safe (fb, next, &k->fbs, link)
		if (fb->owner == f)
			remove(k, fb);
	kms_drop_blobs(k, f);
	mutex_unlock(&k->lock);
	drm_kms_drop_events(f);
}

int drm_kms_create(struct gpu_dev *gpu, struct drm_kms **out)
{
	struct drm_kms *k = kzalloc(sizeof(*k), ALLOC_KERNEL);

	if (!k)
		return -ENOMEM;
	k->gpu = gpu;
	mutex_init(&k->lock, RANK_SUBSYS);
	list_init(&k->fbs);
	list_init(&k->blobs);
	k->next_id = KMS_FIRST_FREE;
	*out = k;
	return 0;
}
