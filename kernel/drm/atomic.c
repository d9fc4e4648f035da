/* SPDX-License-Identifier: MIT
 *
 * Problem: a compositor changes mode, picture and position together, and wants to know beforehand whether it can.
 *
 * Idea: what is to be is a copy of what is, with each property of the request put in; then it is checked as a whole,
 *and only then, in one step, does the display change. A test ends before that step.
 *
 *	what is --copy--> next --each property--> next --check--> shown, or dark
 *
 * Contract: DRM_IOCTL_MODE_ATOMIC of <drm/drm_mode.h>. The plane fills the CRTC: no scaling, no part of it. Without
 * NONBLOCK it returns when the picture is there. -EINVAL; -ENOENT; -EBUSY is not used: flips wait for each other.
 *
 * Locks: kms->lock.
 */
#include <alloc/slab.h>
#include <arch/user.h>
#include <core/log.h>
#include <lib/err.h>
#include <lib/string.h>
#include "kms.h"

#define OBJECTS_MAX 16
#define PROPS_MAX   64

struct next {
	struct kms_state state;
	struct drm_mode_modeinfo mode;
	struct drm_fb *fb; /* kms->lock */
	u32 plane_crtc;
	u64 src[4], crtc[4]; /* x, y, width, height; src in 1/65536 */
	s32 in_fence;
	u64 out_fence; /* where a program wants its descriptor; 0: nowhere */
	bool is_modeset, names_crtc;
};

/* The request as it came: object, property, value. */
struct change {
	u32 object, prop;
	u64 value;
};

static int read_changes(const struct drm_mode_atomic *a, struct change *out, u32 *nr)
{
	u32 objects[OBJECTS_MAX], counts[OBJECTS_MAX], props[PROPS_MAX];
	u64 values[PROPS_MAX];
	u32 n = 0;

	if (a->count_objs > OBJECTS_MAX)
		return fail(EINVAL, "%u objects", a->count_objs);
	if (user_get(objects, (const void __user *)(ulong)a->objs_ptr, a->count_objs * sizeof(u32)) ||
	    user_get(counts, (const void __user *)(ulong)a->count_props_ptr, a->count_objs * sizeof(u32)))
		return -EFAULT;
	for (u32 i = 0; i < a->count_objs; i++) {
		if (counts[i] > PROPS_MAX - n)
			return fail(EINVAL, "more than %u properties", PROPS_MAX);
		for (u32 p = 0; p < counts[i]; p++)
			out[n++].object = objects[i];
	}
	if (user_get(props, (const void __user *)(ulong)a->props_ptr, n * sizeof(u32)) ||
	    user_get(values, (const void __user *)(ulong)a->prop_values_ptr, n * sizeof(u64)))
		return -EFAULT;
	for (u32 i = 0; i < n; i++) {
		out[i].prop = props[i] - KMS_FIRST_PROP;
		out[i].value = values[i];
	}
	*nr = n;
	return 0;
}

static void begin(struct drm_kms *k, struct next *n)
{
	memset(n, 0, sizeof(*n));
	n->state = k->state;
	n->mode = k->mode;
	n->in_fence = -1;
	n->fb = k->shown;
	n->plane_crtc = k->shown ? KMS_CRTC : 0;
	n->src[0] = (u64)k->x << 16;
	n->src[1] = (u64)k->y << 16;
	n->src[2] = (u64)k->mode.hdisplay << 16;
	n->src[3] = (u64)k->mode.vdisplay << 16;
	n->crtc[2] = k->mode.hdisplay;
	n->crtc[3] = k->mode.vdisplay;
}

static int set_mode(struct drm_kms *k, struct next *n, u32 id)
{
	struct kms_blob *b = kms_find_blob(k, id);

	n->state.has_mode = id;
	if (!id || (id == KMS_MODE_BLOB && k->state.has_mode))
		return 0;
	if (!b || b->bytes != sizeof(n->mode))
		return fail(EINVAL, "blob %u is no mode", id);
	memcpy(&n->mode, b->data, sizeof(n->mode));
	n->mode.name[sizeof(n->mode.name) - 1] = 0;
	return n->mode.hdisplay && n->mode.vdisplay ? 0 : fail(EINVAL, "a mode of no size");
}

static int crtc_of(u64 id, u32 *out)
{
	if (id && id != KMS_CRTC)
		return fail(EINVAL, "CRTC %llu", (unsigned long long)id);
	*out = (u32)id;
	return 0;
}

static int put_in(struct drm_kms *k, struct next *n, const struct change *c)
{
	u32 crtc = 0;
	int err = 0;

	if (c->object < KMS_PLANE || c->object > KMS_CONNECTOR)
		return -ENOENT;
	if (kms_prop_object(c->prop) != c->object)
		return -ENOENT;
	if (kms_prop_is_fixed(c->prop) || !kms_prop_takes(c->prop, c->value))
		return fail(EINVAL, "property %u", c->prop);
	n->names_crtc |= c->object == KMS_CRTC;
	switch (c->prop) {
	case KMS_P_FB: n->fb = c->value ? kms_find_fb(k, (u32)c->value) : NULL; return n->fb || !c->value ? 0 : -EINVAL;
	case KMS_P_PLANE_CRTC: return crtc_of(c->value, &n->plane_crtc);
	case KMS_P_IN_FENCE: n->in_fence = (s32)c->value; return 0;
	case KMS_P_ACTIVE: n->state.is_active = c->value; return 0;
	case KMS_P_MODE: return set_mode(k, n, (u32)c->value);
	case KMS_P_OUT_FENCE: n->out_fence = c->value; return 0;
	case KMS_P_CONNECTOR_CRTC:
		err = crtc_of(c->value, &crtc);
		n->state.is_connected = crtc;
		return err;
	default:
		if (c->prop >= KMS_P_SRC_X && c->prop <= KMS_P_SRC_H)
			n->src[c->prop - KMS_P_SRC_X] = c->value;
		else
			n->crtc[c->prop - KMS_P_CRTC_X] = c->value;
		return 0;
	}
}

static int check_plane(const struct next *n)
{
	u32 w = n->mode.hdisplay, h = n->mode.vdisplay;

	if (!n->fb != !n->plane_crtc)
		return fail(EINVAL, "a picture without a CRTC, or the other way round");
	if (!n->fb)
		return 0;
	if (!n->state.has_mode)
		return fail(EINVAL, "a picture on a CRTC without mode");
	if (n->crtc[0] || n->crtc[1] || n->crtc[2] != w || n->crtc[3] != h)
		return fail(EINVAL, "the plane does not fill the CRTC");
	if (n->src[2] != (u64)w << 16 || n->src[3] != (u64)h << 16)
		return fail(ERANGE, "scaling");
	if ((n->src[0] >> 16) + w > n->fb->width || (n->src[1] >> 16) + h > n->fb->height)
		return fail(ENOSPC, "outside of the frame buffer");
	return 0;
}

static int check(const struct drm_kms *k, struct next *n, u32 flags)
{
	const struct kms_state *s = &n->state, *old = &k->state;

	if (s->is_active && !s->has_mode)
		return fail(EINVAL, "active without a mode");
	if (s->has_mode != s->is_connected)
		return fail(EINVAL, "a mode without a connector, or the other way round");
	n->is_modeset = s->is_active != old->is_active || s->has_mode != old->has_mode ||
			s->is_connected != old->is_connected ||
			(s->has_mode && memcmp(&n->mode, &k->mode, sizeof(n->mode)));
	if (n->is_modeset && !(flags & DRM_MODE_ATOMIC_ALLOW_MODESET))
		return fail(EINVAL, "a mode is set without leave");
	if (flags & DRM_MODE_PAGE_FLIP_EVENT && !(s->is_active || old->is_active))
		return fail(EINVAL, "an event of a CRTC that is off");
	return check_plane(n);
}

/* The step. done is told in any case. kms->lock held. */
static int apply(struct drm_kms *k, const struct next *n, struct gpu_done *done)
{
	struct drm_mode_modeinfo old = k->mode;
	u32 x = k->x, y = k->y;
	int err = 0;

	k->mode = n->mode;
	k->x = (u32)(n->src[0] >> 16);
	k->y = (u32)(n->src[1] >> 16);
	if (n->fb && n->state.is_active) {
		err = kms_show(k, n->fb, done);
	} else {
		kms_go_dark(k);
		if (done)
			done->fn(done, 0);
	}
	if (!err) {
		k->state = n->state;
		return 0;
	}
	k->mode = old;
	k->x = x;
	k->y = y;
	return err;
}

/* ---- ends: an event, a fence, a wait ---- */

struct ends {
	struct drm_fence *fence; /* one reference is ours; NULL: nobody asks for one */
	struct gpu_done *flip, *done;
	int fd;
};

static void drop_ends(struct ends *e)
{
	if (e->flip)
		drm_flip_cancel(e->flip);
	else if (e->fence)
		drm_fence_cancel(e->fence);
}

static int make_ends(struct drm_file *f, const struct drm_mode_atomic *a, const struct next *n, struct ends *e)
{
	bool waits = !(a->flags & DRM_MODE_ATOMIC_NONBLOCK);

	e->fd = -1;
	if (n->out_fence || waits) {
		e->fence = drm_fence_new();
		if (!e->fence)
			return -ENOMEM;
		e->done = &e->fence->done;
	}
	if (!(a->flags & DRM_MODE_PAGE_FLIP_EVENT))
		return 0;
	e->flip = drm_flip_new(f, a->user_data, e->fence);
	if (!e->flip) {
		drop_ends(e);
		return -ENOMEM;
	}
	e->done = e->flip;
	return 0;
}

/* The display has changed: what can fail now changes nothing any more. */
static int finish(const struct next *n, const struct drm_mode_atomic *a, struct ends *e)
{
	int err = 0;

	if (n->out_fence) {
		e->fd = drm_sync_file_create(e->fence);
		if (e->fd < 0 || user_put((void __user *)(ulong)n->out_fence, &e->fd, sizeof(s32)))
			err = e->fd < 0 ? e->fd : -EFAULT;
	}
	if (!err && !(a->flags & DRM_MODE_ATOMIC_NONBLOCK))
		err = drm_fence_wait(e->fence, ~0ull);
	drm_fence_put(e->fence);
	return err == -ERESTARTSYS ? 0 : err; /* it will be there */
}

static int prepare(struct drm_kms *k, const struct change *changes, u32 nr, u32 flags, struct next *n)
{
	int err = 0;

	begin(k, n);
	for (u32 i = 0; i < nr && !err; i++)
		err = put_in(k, n, &changes[i]);
	return err ? err : check(k, n, flags);
}

static int commit(struct drm_file *f, const struct drm_mode_atomic *a, const struct change *changes, u32 nr)
{
	struct drm_kms *k = f->dev->kms;
	struct ends ends = { 0 };
	struct next n;
	int err;

	mutex_lock(&k->lock);
	err = prepare(k, changes, nr, a->flags, &n);
	mutex_unlock(&k->lock);
	if (err || a->flags & DRM_MODE_ATOMIC_TEST_ONLY)
		return err;
	if (n.in_fence >= 0)
		err = drm_sync_file_wait(n.in_fence);
	if (!err)
		err = make_ends(f, a, &n, &ends);
	if (err)
		return err;
	mutex_lock(&k->lock);
	err = prepare(k, changes, nr, a->flags, &n); /* it may have changed meanwhile */
	if (!err)
		err = apply(k, &n, ends.done);
	mutex_unlock(&k->lock);
	if (!err)
		return finish(&n, a, &ends);
	drop_ends(&ends);
	return err;
}

long drm_kms_atomic(struct drm_file *f, void *arg)
{
	const struct drm_mode_atomic *a = arg;
	struct change changes[PROPS_MAX];
	u32 nr = 0;
	int err;

	if (!f->is_atomic || a->reserved || a->flags & ~DRM_MODE_ATOMIC_FLAGS || a->flags & DRM_MODE_PAGE_FLIP_ASYNC)
		return -EINVAL;
	if (a->flags & DRM_MODE_ATOMIC_TEST_ONLY && a->flags & DRM_MODE_PAGE_FLIP_EVENT)
		return -EINVAL;
	err = read_changes(a, changes, &nr);
	return err ? err : commit(f, a, changes, nr);
}
