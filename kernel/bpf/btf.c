/* SPDX-License-Identifier: MIT
 *
 * Problem: BTF comes from user space and is indexed by numbers in itself; everything behind relies on it being sane.
 *
 * Idea: one pass over the type section checks each record's length and fields and notes where it starts; a second
 * pass checks that references point to types that may stand there and that chains of modifiers, arrays and structures
 * end. After that, look-ups need no checks.
 *
 * Contract: bpf/btf.h. Format: Documentation/bpf/btf.rst and <linux/btf.h>.
 *
 * Locks: none; immutable after loading. refs is atomic.
 */
#include <alloc/kmap.h>
#include <alloc/slab.h>
#include <bpf/btf.h>
#include <lib/atomic.h>
#include <lib/err.h>
#include <lib/printf.h>
#include <lib/string.h>
#include "sys_priv.h"

#define MAX_BYTES (16U << 20)
#define MAX_DEPTH 32

struct bpf_btf {
	refcount_t refs;
	u32 id, size;
	u8 *data;
	struct btf_header header;
	const char *strings;
	u32 ntypes;
	u32 *offsets; /* by id, into the type section */
	u8 *depth;    /* 0 unknown, 0xff being looked at */
};

struct check {
	struct bpf_btf *btf;
	char *why;
	u32 why_size;
};

static int bad(struct check *c, const char *fmt, ...) __printf(2, 3);
static int bad(struct check *c, const char *fmt, ...)
{
	va_list ap;

	if (c->why && c->why_size) {
		va_start(ap, fmt);
		str_vformat(c->why, c->why_size, fmt, ap);
		va_end(ap);
	}
	return -EINVAL;
}

static u32 kind_of(const struct btf_type *t)
{
	return BTF_INFO_KIND(t->info);
}

static u32 count_of(const struct btf_type *t)
{
	return BTF_INFO_VLEN(t->info);
}

static int check_header(struct check *c)
{
	struct bpf_btf *b = c->btf;
	struct btf_header *h = &b->header;
	u32 total;

	if (b->size < sizeof(*h))
		return bad(c, "header is cut off");
	memcpy(h, b->data, sizeof(*h));
	if (h->magic != BTF_MAGIC)
		return bad(c, "Invalid magic");
	if (h->version != BTF_VERSION || h->flags || h->hdr_len < sizeof(*h) || h->hdr_len > b->size)
		return bad(c, "Unsupported version or flags");
	total = b->size - h->hdr_len;
	if (h->type_off % 4 || h->type_off > total || h->type_len > total - h->type_off)
		return bad(c, "types lie outside the data");
	if (h->str_off > total || h->str_len == 0 || h->str_len > total - h->str_off)
		return bad(c, "strings lie outside the data");
	if (h->type_off + h->type_len > h->str_off)
		return bad(c, "Section overlap found");
	if (h->str_off + h->str_len != total)
		return bad(c, "Total section length too long");
	b->strings = (char *)b->data + h->hdr_len + h->str_off;
	if (b->strings[0] || b->strings[h->str_len - 1])
		return bad(c, "Invalid string section");
	return 0;
}

/* Bytes that follow struct btf_type. */
static s64 extra_bytes(const struct btf_type *t)
{
	switch (kind_of(t)) {
	case BTF_KIND_INT: return 4;
	case BTF_KIND_ARRAY: return sizeof(struct btf_array);
	case BTF_KIND_STRUCT:
	case BTF_KIND_UNION: return count_of(t) * sizeof(struct btf_member);
	case BTF_KIND_ENUM: return count_of(t) * sizeof(struct btf_enum);
	case BTF_KIND_ENUM64: return count_of(t) * sizeof(struct btf_enum64);
	case BTF_KIND_FUNC_PROTO: return count_of(t) * sizeof(struct btf_param);
	case BTF_KIND_VAR: return sizeof(struct btf_var);
	case BTF_KIND_DATASEC: return count_of(t) * sizeof(struct btf_var_secinfo);
	case BTF_KIND_DECL_TAG: return sizeof(struct btf_decl_tag);
	case BTF_KIND_PTR:
	case BTF_KIND_FWD:
	case BTF_KIND_TYPEDEF:
	case BTF_KIND_VOLATILE:
	case BTF_KIND_CONST:
	case BTF_KIND_RESTRICT:
	case BTF_KIND_FUNC:
	case BTF_KIND_FLOAT:
	case BTF_KIND_TYPE_TAG: return 0;
	}
	return -1;
}

static int find_types(struct check *c)
{
	struct bpf_btf *b = c->btf;
	const u8 *types = b->data + b->header.hdr_len + b->header.type_off;
	u32 n = 1;

	for (u32 off = 0; off < b->header.type_len; n++) {
		const struct btf_type *t = (const void *)(types + off);
		s64 extra;

		if (b->header.type_len - off < sizeof(*t))
			return bad(c, "[%u] record is cut off", n);
		extra = extra_bytes(t);
		if (extra < 0 || t->info & ~0x9f00ffffU)
			return bad(c, "[%u] Invalid kind:%u", n, kind_of(t));
		if (extra > b->header.type_len - off - sizeof(*t))
			return bad(c, "[%u] record is cut off", n);
		if (t->name_off >= b->header.str_len)
			return bad(c, "[%u] Invalid name_offset:%u", n, t->name_off);
		if (b->offsets)
			b->offsets[n] = off;
		off += sizeof(*t) + (u32)extra;
	}
	b->ntypes = n;
	return 0;
}

const struct btf_type *bpf_btf_type(const struct bpf_btf *b, u32 id)
{
	if (id == 0 || id >= b->ntypes)
		return NULL;
	return (const void *)(b->data + b->header.hdr_len + b->header.type_off + b->offsets[id]);
}

const char *bpf_btf_string(const struct bpf_btf *b, u32 off)
{
	return off < b->header.str_len ? b->strings + off : NULL;
}

static bool is_modifier(u32 kind)
{
	return kind == BTF_KIND_TYPEDEF || kind == BTF_KIND_VOLATILE || kind == BTF_KIND_CONST ||
	       kind == BTF_KIND_RESTRICT || kind == BTF_KIND_TYPE_TAG;
}

static int check_ids(struct check *c, u32 id, const struct btf_type *t)
{
	const struct bpf_btf *b = c->btf;
	const void *extra = t + 1;
	u32 kind = kind_of(t), n = count_of(t);

	if (is_modifier(kind) || kind == BTF_KIND_PTR || kind == BTF_KIND_FUNC || kind == BTF_KIND_VAR ||
	    kind == BTF_KIND_DECL_TAG || kind == BTF_KIND_FUNC_PROTO)
		if (t->type >= b->ntypes)
			return bad(c, "[%u] Invalid type_id %u", id, t->type);
	if (kind == BTF_KIND_ARRAY) {
		const struct btf_array *a = extra;

		if (a->type >= b->ntypes || a->index_type >= b->ntypes || !a->type || !a->index_type)
			return bad(c, "[%u] Invalid array", id);
	}
	for (u32 i = 0; i < n; i++) {
		const struct btf_member *m = extra;
		const struct btf_param *p = extra;
		const struct btf_var_secinfo *v = extra;
		u32 ref = 0, name = 0;

		if (kind == BTF_KIND_STRUCT || kind == BTF_KIND_UNION) {
			ref = m[i].type;
			name = m[i].name_off;
			if (!ref)
				return bad(c, "[%u] member %u has no type", id, i);
		} else if (kind == BTF_KIND_FUNC_PROTO) {
			ref = p[i].type;
			name = p[i].name_off;
		} else if (kind == BTF_KIND_DATASEC) {
			ref = v[i].type;
		}
		if (ref >= b->ntypes || name >= b->header.str_len)
			return bad(c, "[%u] Invalid type_id or name of element %u", id, i);
	}
	return 0;
}

/* Depth of by-value containment; fails on a cycle. */
static int check_depth(struct check *c, u32 id, u32 level)
{
	struct bpf_btf *b = c->btf;
	const struct btf_type *t = bpf_btf_type(b, id);
	u32 kind = t ? kind_of(t) : 0;
	int err = 0;

	if (!t || b->depth[id] == 1)
		return 0;
	if (b->depth[id] == 0xff || level > MAX_DEPTH)
		return bad(c, "[%u] Loop detected", id);
	b->depth[id] = 0xff;
	if (is_modifier(kind)) {
		err = check_depth(c, t->type, level + 1);
	} else if (kind == BTF_KIND_ARRAY) {
		err = check_depth(c, ((const struct btf_array *)(t + 1))->type, level + 1);
	} else if (kind == BTF_KIND_STRUCT || kind == BTF_KIND_UNION) {
		const struct btf_member *m = (const void *)(t + 1);

		for (u32 i = 0; !err && i < count_of(t); i++)
			err = check_depth(c, m[i].type, level + 1);
	}
	b->depth[id] = 1;
	return err;
}

static int check_all(struct check *c)
{
	struct bpf_btf *b = c->btf;
	int err = check_header(c);

	err = err ? err : find_types(c);
	if (err)
		return err;
	b->offsets = big_alloc(b->ntypes + 1, sizeof(*b->offsets));
	b->depth = big_alloc(b->ntypes + 1, 1);
	if (!b->offsets || !b->depth)
		return -ENOMEM;
	err = find_types(c);
	for (u32 id = 1; !err && id < b->ntypes; id++)
		err = check_ids(c, id, bpf_btf_type(b, id));
	for (u32 id = 1; !err && id < b->ntypes; id++)
		err = check_depth(c, id, 0);
	return err;
}

static void destroy(struct bpf_btf *b)
{
	big_free(b->data);
	big_free(b->offsets);
	big_free(b->depth);
	kfree(b);
}

int bpf_btf_new(const void *data, u32 size, struct bpf_btf **out, char *why, u32 why_size)
{
	struct bpf_btf *b;
	struct check c = { .why = why, .why_size = why_size };
	int err;

	if (size > MAX_BYTES)
		return -E2BIG;
	b = kzalloc(sizeof(*b), 0);
	c.btf = b;
	if (!b)
		return -ENOMEM;
	b->size = size;
	b->data = big_alloc(size, 1);
	if (b->data)
		memcpy(b->data, data, size);
	err = b->data ? check_all(&c) : -ENOMEM;
	if (err) {
		destroy(b);
		return err;
	}
	refcount_set(&b->refs, 1);
	*out = b;
	return 0;
}

void bpf_btf_get(struct bpf_btf *btf)
{
	refcount_inc(&btf->refs);
}

void bpf_btf_put(struct bpf_btf *btf)
{
	if (!btf || !refcount_dec_and_test(&btf->refs))
		return;
	if (btf->id)
		bpf_object_drop(BPF_OBJ_BTF, btf->id);
	destroy(btf);
}

refcount_t *bpf_btf_refs(struct bpf_btf *btf)
{
	return &btf->refs;
}

u32 bpf_btf_types(const struct bpf_btf *btf)
{
	return btf->ntypes;
}

const void *bpf_btf_data(const struct bpf_btf *btf, u32 *size)
{
	*size = btf->size;
	return btf->data;
}

u32 bpf_btf_id(const struct bpf_btf *btf)
{
	return btf->id;
}

void bpf_btf_set_id(struct bpf_btf *btf, u32 id)
{
	btf->id = id;
}

const struct btf_type *bpf_btf_plain(const struct bpf_btf *b, u32 id)
{
	const struct btf_type *t = bpf_btf_type(b, id);

	while (t && is_modifier(kind_of(t)))
		t = bpf_btf_type(b, t->type);
	return t;
}

s64 bpf_btf_size(const struct bpf_btf *b, u32 id)
{
	u64 times = 1;

	for (;;) {
		const struct btf_type *t = bpf_btf_plain(b, id);

		switch (t ? kind_of(t) : 0) {
		case BTF_KIND_INT:
		case BTF_KIND_STRUCT:
		case BTF_KIND_UNION:
		case BTF_KIND_ENUM:
		case BTF_KIND_ENUM64:
		case BTF_KIND_FLOAT:
		case BTF_KIND_DATASEC: return times * t->size > INT32_MAX ? -EINVAL : (s64)(times * t->size);
		case BTF_KIND_PTR: return times * 8 > INT32_MAX ? -EINVAL : (s64)(times * 8);
		case BTF_KIND_ARRAY: {
			const struct btf_array *a = (const void *)(t + 1);

			times *= a->nelems;
			if (times > INT32_MAX)
				return -EINVAL;
			id = a->type;
			break;
		}
		default: return -EINVAL;
		}
	}
}

static bool is_named(const struct bpf_btf *b, u32 id, const char *name, u32 bytes)
{
	const struct btf_type *t = bpf_btf_plain(b, id);

	return t && kind_of(t) == BTF_KIND_STRUCT && t->size == bytes && !strcmp(bpf_btf_string(b, t->name_off), name);
}

s32 bpf_btf_find_member(const struct bpf_btf *b, u32 id, const char *name, u32 bytes, u32 align)
{
	const struct btf_type *t = bpf_btf_plain(b, id);
	u32 kind = t ? kind_of(t) : 0;
	s32 found = -ENOENT;

	for (u32 i = 0; t && i < count_of(t); i++) {
		u32 off, type;

		if (kind == BTF_KIND_STRUCT) {
			const struct btf_member *m = (const struct btf_member *)(t + 1) + i;

			off = BTF_INFO_KFLAG(t->info) ? BTF_MEMBER_BIT_OFFSET(m->offset) : m->offset;
			if (!is_named(b, m->type, name, bytes))
				continue;
			if (off % 8)
				return -EINVAL;
			off /= 8;
		} else if (kind == BTF_KIND_DATASEC) {
			const struct btf_var_secinfo *v = (const struct btf_var_secinfo *)(t + 1) + i;

			type = bpf_btf_type(b, v->type) ? bpf_btf_type(b, v->type)->type : 0;
			off = v->offset;
			if (!is_named(b, type, name, bytes))
				continue;
		} else {
			return -ENOENT;
		}
		if (found >= 0)
			return -E2BIG;
		if (off % align)
			return -EINVAL;
		found = (s32)off;
	}
	return found;
}
