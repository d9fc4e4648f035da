/* SPDX-License-Identifier: MIT
 *
 * Problem: programs learn what a plane, a CRTC and a connector can do from their properties, and set them together.
 *
 * Idea: one table says which object has which property, of what kind; one function says each one's value now. Values
 * that are longer than a number are blobs: the display's EDID and the mode that is set have fixed ids, others are made
 * by programs and go with their file.
 *
 * Contract: <drm/drm_mode.h>: GETPROPERTY, OBJ_GETPROPERTIES, the blob ioctls. Properties of the atomic interface are
 * listed for files that have asked for it.
 *
 * Locks: kms->lock: blobs, values.
 */
#include <alloc/slab.h>
#include <arch/user.h>
#include <core/log.h>
#include <lib/err.h>
#include <lib/string.h>
#include <virt/vgpu/edid.h>
#include "kms.h"

#define BLOB_MAX 4096u

#define RANGE    DRM_MODE_PROP_RANGE
#define NUMBER   DRM_MODE_PROP_SIGNED_RANGE
#define ENUM     DRM_MODE_PROP_ENUM
#define OBJECT   DRM_MODE_PROP_OBJECT
#define BLOB     DRM_MODE_PROP_BLOB
#define FIXED    DRM_MODE_PROP_IMMUTABLE
#define ATOMIC   DRM_MODE_PROP_ATOMIC
#define U32_MAX_ 0xffffffffull
#define S32_MIN_ (u64)(s64)(-0x7fffffff - 1)

struct property {
	const char *name;
	u32 object, flags;
	u64 from, to; /* of a range; of an object: its type */
};

static const struct property properties[KMS_NR_PROPS] = {
	[KMS_P_TYPE] = { "type", KMS_PLANE, ENUM | FIXED, 0, 0 },
	[KMS_P_FB] = { "FB_ID", KMS_PLANE, OBJECT | ATOMIC, DRM_MODE_OBJECT_FB, 0 },
	[KMS_P_PLANE_CRTC] = { "CRTC_ID", KMS_PLANE, OBJECT | ATOMIC, DRM_MODE_OBJECT_CRTC, 0 },
	[KMS_P_SRC_X] = { "SRC_X", KMS_PLANE, RANGE | ATOMIC, 0, U32_MAX_ },
	[KMS_P_SRC_Y] = { "SRC_Y", KMS_PLANE, RANGE | ATOMIC, 0, U32_MAX_ },
	[KMS_P_SRC_W] = { "SRC_W", KMS_PLANE, RANGE | ATOMIC, 0, U32_MAX_ },
	[KMS_P_SRC_H] = { "SRC_H", KMS_PLANE, RANGE | ATOMIC, 0, U32_MAX_ },
	[KMS_P_CRTC_X] = { "CRTC_X", KMS_PLANE, NUMBER | ATOMIC, S32_MIN_, 0x7fffffff },
	[KMS_P_CRTC_Y] = { "CRTC_Y", KMS_PLANE, NUMBER | ATOMIC, S32_MIN_, 0x7fffffff },
	[KMS_P_CRTC_W] = { "CRTC_W", KMS_PLANE, RANGE | ATOMIC, 0, 0x7fffffff },
	[KMS_P_CRTC_H] = { "CRTC_H", KMS_PLANE, RANGE | ATOMIC, 0, 0x7fffffff },
	[KMS_P_IN_FENCE] = { "IN_FENCE_FD", KMS_PLANE, NUMBER | ATOMIC, ~0ull, 0x7fffffff },
	[KMS_P_ACTIVE] = { "ACTIVE", KMS_CRTC, RANGE | ATOMIC, 0, 1 },
	[KMS_P_MODE] = { "MODE_ID", KMS_CRTC, BLOB | ATOMIC, 0, 0 },
	[KMS_P_OUT_FENCE] = { "OUT_FENCE_PTR", KMS_CRTC, RANGE | ATOMIC, 0, ~0ull },
	[KMS_P_CONNECTOR_CRTC] = { "CRTC_ID", KMS_CONNECTOR, OBJECT | ATOMIC, DRM_MODE_OBJECT_CRTC, 0 },
	[KMS_P_EDID] = { "EDID", KMS_CONNECTOR, BLOB | FIXED, 0, 0 },
};

static const char *const plane_types[] = { "Overlay", "Primary", "Cursor" };

u32 kms_prop_object(u32 prop)
{
	return prop < KMS_NR_PROPS ? properties[prop].object : 0;
}

bool kms_prop_is_fixed(u32 prop)
{
	return properties[prop].flags & FIXED;
}

/* A property's number without a kind: its range is checked here, whatever it refers to by who uses it. */
bool kms_prop_takes(u32 prop, u64 v)
{
	const struct property *p = &properties[prop];

	if (p->flags & RANGE)
		return v >= p->from && v <= p->to;
	if ((p->flags & DRM_MODE_PROP_EXTENDED_TYPE) == NUMBER)
		return (s64)v >= (s64)p->from && (s64)v <= (s64)p->to;
	return v <= U32_MAX_;
}

/* kms->lock held. */
static u64 value(const struct drm_kms *k, u32 prop)
{
	const struct kms_state *s = &k->state;

	switch (prop) {
	case KMS_P_TYPE: return 1; /* primary */
	case KMS_P_FB: return k->shown ? k->shown->id : 0;
	case KMS_P_PLANE_CRTC: return k->shown ? KMS_CRTC : 0;
	case KMS_P_SRC_X: return (u64)k->x << 16;
	case KMS_P_SRC_Y: return (u64)k->y << 16;
	case KMS_P_SRC_W: return k->shown ? (u64)k->mode.hdisplay << 16 : 0;
	case KMS_P_SRC_H: return k->shown ? (u64)k->mode.vdisplay << 16 : 0;
	case KMS_P_CRTC_W: return k->shown ? k->mode.hdisplay : 0;
	case KMS_P_CRTC_H: return k->shown ? k->mode.vdisplay : 0;
	case KMS_P_IN_FENCE: return ~0ull;
	case KMS_P_ACTIVE: return s->is_active;
	case KMS_P_MODE: return s->has_mode ? KMS_MODE_BLOB : 0;
	case KMS_P_CONNECTOR_CRTC: return s->is_connected ? KMS_CRTC : 0;
	case KMS_P_EDID: return k->gpu->edid ? KMS_EDID_BLOB : 0;
	default: return 0;
	}
}

/* ---- lists ---- */

int drm_kms_put_properties(struct drm_file *f, u32 object, u64 ids, u64 values, u32 *count)
{
	struct drm_kms *k = f->dev->kms;
	u32 room = *count, n = 0, id[KMS_NR_PROPS];
	u64 v[KMS_NR_PROPS];

	mutex_lock(&k->lock);
	for (u32 i = 0; i < KMS_NR_PROPS; i++) {
		if (properties[i].object != object || ((properties[i].flags & ATOMIC) && !f->is_atomic))
			continue;
		id[n] = KMS_FIRST_PROP + i;
		v[n++] = value(k, i);
	}
	mutex_unlock(&k->lock);
	*count = n;
	if (room < n || !n)
		return 0;
	if (user_put((void __user *)(ulong)ids, id, n * sizeof(id[0])) ||
	    user_put((void __user *)(ulong)values, v, n * sizeof(v[0])))
		return -EFAULT;
	return 0;
}

long drm_kms_properties(struct drm_file *f, void *arg)
{
	static const u32 types[] = { DRM_MODE_OBJECT_PLANE, DRM_MODE_OBJECT_CRTC, DRM_MODE_OBJECT_ENCODER,
				     DRM_MODE_OBJECT_CONNECTOR };
	struct drm_mode_obj_get_properties *a = arg;

	if (a->obj_id < KMS_PLANE || a->obj_id > KMS_CONNECTOR)
		return -ENOENT;
	if (a->obj_type != DRM_MODE_OBJECT_ANY && a->obj_type != types[a->obj_id - KMS_PLANE])
		return -ENOENT;
	return drm_kms_put_properties(f, a->obj_id, a->props_ptr, a->prop_values_ptr, &a->count_props);
}

static int put_enum(struct drm_mode_get_property *a)
{
	u32 room = a->count_enum_blobs, n = ARRAY_SIZE(plane_types);

	a->count_enum_blobs = a->count_values = n;
	for (u32 i = 0; i < n && room >= n && a->enum_blob_ptr; i++) {
		struct drm_mode_property_enum e = { .value = i };

		str_copy(e.name, plane_types[i], sizeof(e.name));
		if (user_put((char __user *)(ulong)a->enum_blob_ptr + i * sizeof(e), &e, sizeof(e)))
			return -EFAULT;
	}
	return 0;
}

long drm_kms_property(struct drm_file *f, void *arg)
{
	struct drm_mode_get_property *a = arg;
	const struct property *p;
	u32 room = a->count_values, n;

	if (a->prop_id < KMS_FIRST_PROP || a->prop_id >= KMS_FIRST_PROP + KMS_NR_PROPS)
		return -ENOENT;
	p = &properties[a->prop_id - KMS_FIRST_PROP];
	str_copy(a->name, p->name, sizeof(a->name));
	a->flags = p->flags;
	if (p->flags & ENUM)
		return put_enum(a);
	n = p->flags & BLOB ? 0 : (p->flags & DRM_MODE_PROP_EXTENDED_TYPE) == OBJECT ? 1 : 2;
	a->count_values = n;
	a->count_enum_blobs = 0;
	return room >= n && n && a->values_ptr
		       ? user_put((void __user *)(ulong)a->values_ptr, &p->from, n * sizeof(u64))
		       : 0;
}

/* ---- blobs ---- */

/* kms->lock held. */
struct kms_blob *kms_find_blob(struct drm_kms *k, u32 id)
{
	struct kms_blob *b;

	list_for_each_entry (b, &k->blobs, link)
		if (b->id == id)
			return b;
	return NULL;
}

long drm_kms_get_blob(struct drm_file *f, void *arg)
{
	struct drm_mode_get_blob *a = arg;
	struct drm_kms *k = f->dev->kms;
	u32 room = a->length;
	const void *data = NULL;
	struct kms_blob *b;
	int err = 0;

	mutex_lock(&k->lock);
	b = kms_find_blob(k, a->blob_id);
	if (b) {
		data = b->data;
		a->length = b->bytes;
	} else if (a->blob_id == KMS_EDID_BLOB && k->gpu->edid) {
		data = k->gpu->edid;
		a->length = EDID_BYTES;
	} else if (a->blob_id == KMS_MODE_BLOB && k->state.has_mode) {
		data = &k->mode;
		a->length = sizeof(k->mode);
	}
	if (!data)
		err = -ENOENT;
	else if (room == a->length)
		err = user_put((void __user *)(ulong)a->data, data, a->length);
	mutex_unlock(&k->lock);
	return err;
}

long drm_kms_create_blob(struct drm_file *f, void *arg)
{
	struct drm_mode_create_blob *a = arg;
	struct drm_kms *k = f->dev->kms;
	struct kms_blob *b;

	if (!a->length || a->length > BLOB_MAX)
		return -EINVAL;
	b = kzalloc(sizeof(*b) + a->length, ALLOC_KERNEL);
	if (!b)
		return -ENOMEM;
	b->bytes = a->length;
	b->owner = f;
	if (user_get(b->data, (const void __user *)(ulong)a->data, a->length)) {
		kfree(b);
		return -EFAULT;
	}
	mutex_lock(&k->lock);
	if (f->nr_blobs < KMS_BLOBS_MAX) {
		f->nr_blobs++;
		a->blob_id = b->id = k->next_id++;
		list_add_tail(&b->link, &k->blobs);
		b = NULL;
	}
	mutex_unlock(&k->lock);
	if (!b)
		return 0;
	kfree(b);
	return fail(ENOMEM, "more than %u blobs", KMS_BLOBS_MAX);
}

static void free_blob(struct kms_blob *b)
{
	b->owner->nr_blobs--;
	list_del(&b->link);
	kfree(b);
}

long drm_kms_destroy_blob(struct drm_file *f, void *arg)
{
	struct drm_mode_destroy_blob *a = arg;
	struct drm_kms *k = f->dev->kms;
	struct kms_blob *b;
	int err = 0;

	mutex_lock(&k->lock);
	b = kms_find_blob(k, a->blob_id);
	if (!b)
		err = -ENOENT;
	else if (b->owner != f)
		err = -EPERM;
	else
		free_blob(b);
	mutex_unlock(&k->lock);
	return err;
}

/* kms->lock held. */
void kms_drop_blobs(struct drm_kms *k, struct drm_file *f)
{
	struct kms_blob *b, *next;

	list_for_each_entry_safe (b, next, &k->blobs, link)
		if (b->owner == f)
			free_blob(b);
}
