/* SPDX-License-Identifier: MIT
 *
 * Problem: `bpftool map list` walks all objects by id, and a descriptor can be had from an id, while objects die.
 *
 * Idea: a table of pointers for each kind, the id is the index; an object takes itself out when its last reference
 * goes. A look-up by id takes a reference only from an object that still has one.
 *
 * Contract: sys_priv.h; ids start at 1 and are not reused before the table has been gone round.
 *
 * Locks: one for all tables, held for a few instructions; nothing sleeps under it.
 */
#include "sys_priv.h"

struct table {
	void **slots;
	u32 size, next;
};

static struct table tables[BPF_OBJ_KINDS];
static struct bpf_lock lock;

static refcount_t *refs_of(enum bpf_object kind, void *obj)
{
	return kind == BPF_OBJ_MAP    ? &((struct bpf_map *)obj)->refs
	       : kind == BPF_OBJ_PROG ? &((struct bpf_prog *)obj)->refs
	       : kind == BPF_OBJ_LINK ? &((struct bpf_link *)obj)->refs
				      : bpf_btf_refs(obj);
}

static u32 free_slot(const struct table *t)
{
	for (u32 n = 0; n + 1 < t->size; n++) {
		u32 i = 1 + (t->next + n) % (t->size - 1);

		if (!t->slots[i])
			return i;
	}
	return 0;
}

int bpf_object_add(enum bpf_object kind, void *obj, u32 *id)
{
	struct table *t = &tables[kind];
	ulong flags = bpf_lock(&lock);
	u32 i = free_slot(t), size = t->size ? t->size * 2 : 64;
	void **bigger;

	if (!i) {
		bigger = kcalloc(size, sizeof(*bigger), ALLOC_ATOMIC);
		if (!bigger) {
			bpf_unlock(&lock, flags);
			return -ENOMEM;
		}
		if (t->size)
			memcpy(bigger, t->slots, t->size * sizeof(*bigger));
		kfree(t->slots);
		i = t->size ? t->size : 1;
		t->slots = bigger;
		t->size = size;
	}
	t->slots[i] = obj;
	t->next = i;
	*id = i;
	bpf_unlock(&lock, flags);
	return 0;
}

void bpf_object_drop(enum bpf_object kind, u32 id)
{
	struct table *t = &tables[kind];
	ulong flags = bpf_lock(&lock);

	if (id && id < t->size)
		t->slots[id] = NULL;
	bpf_unlock(&lock, flags);
}

void *bpf_object_get(enum bpf_object kind, u32 id)
{
	struct table *t = &tables[kind];
	ulong flags = bpf_lock(&lock);
	void *obj = id && id < t->size ? t->slots[id] : NULL;

	if (obj && !refcount_inc_not_zero(refs_of(kind, obj)))
		obj = NULL;
	bpf_unlock(&lock, flags);
	return obj;
}

int bpf_object_next(enum bpf_object kind, u32 after, u32 *id)
{
	struct table *t = &tables[kind];
	ulong flags = bpf_lock(&lock);
	int err = -ENOENT;

	for (u64 i = (u64)after + 1; i < t->size; i++)
		if (t->slots[i]) {
			*id = (u32)i;
			err = 0;
			break;
		}
	bpf_unlock(&lock, flags);
	return err;
}

int bpf_link_number(struct bpf_link *l)
{
	return bpf_object_add(BPF_OBJ_LINK, l, &l->id);
}

static void link_put(struct bpf_link *l)
{
	if (!refcount_dec_and_test(&l->refs))
		return;
	if (l->id)
		bpf_object_drop(BPF_OBJ_LINK, l->id);
	l->ops->release(l);
}

void bpf_object_hold(enum bpf_object kind, void *obj)
{
	refcount_inc(refs_of(kind, obj));
}

void bpf_object_put(enum bpf_object kind, void *obj)
{
	switch (kind) {
	case BPF_OBJ_MAP: bpf_map_put(obj); break;
	case BPF_OBJ_PROG: bpf_prog_put(obj); break;
	case BPF_OBJ_BTF: bpf_btf_put(obj); break;
	case BPF_OBJ_LINK: link_put(obj); break;
	default: panic("no such kind of eBPF object: %d", (int)kind);
	}
}
