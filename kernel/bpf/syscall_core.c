/* SPDX-License-Identifier: MIT
 *
 * Problem: bpf(2) is one call with forty commands on one union; clients probe it with fields that older kernels do
 * not know and rely on exact refusals.
 *
 * Idea: copy the attributes in once, check what must be zero, dispatch by a table to small functions that parse all
 * they need before anything changes. Programs are in sys_prog.c, information in sys_info.c, ids in sys_objects.c, many
 * elements at once in sys_batch.c.
 *
 * Contract: bpf/syscall.h. Error numbers as in Linux 6.1.
 *
 * Locks: none here; maps and tables have their own.
 */
#include "helper_priv.h"
#include "sys_priv.h"

int bpf_sys_read(const struct sys *s, u64 user, size_t n, void **out)
{
	void *p = big_alloc(n, 1);
	int err;

	if (!p)
		return -ENOMEM;
	err = s->ops->copy_in(p, user, n);
	if (err) {
		big_free(p);
		return err;
	}
	*out = p;
	return 0;
}

void *bpf_sys_object(const struct sys *s, s32 fd, enum bpf_object kind)
{
	enum bpf_object is = BPF_OBJ_KINDS;
	u32 flags;
	void *obj = s->ops->resolve(s->caller, fd, &is, &flags);

	return obj && is == kind ? obj : NULL;
}

int bpf_sys_map(const struct sys *s, s32 fd, u32 refused, struct bpf_map **map)
{
	enum bpf_object is = BPF_OBJ_KINDS;
	u32 flags = 0;

	*map = s->ops->resolve(s->caller, fd, &is, &flags);
	if (!*map || is != BPF_OBJ_MAP)
		return *map ? fail(EINVAL, "descriptor %d is no map", fd) : -EBADF;
	return flags & refused ? fail(EPERM, "the descriptor allows the other direction only") : 0;
}

int bpf_sys_install(const struct sys *s, enum bpf_object kind, void *obj, u32 flags)
{
	int fd = s->ops->install(kind, obj, flags);

	if (fd < 0)
		bpf_object_put(kind, obj);
	return fd;
}

/* Names: letters, digits, '_' and '.', terminated. */
int bpf_sys_name(const char *name)
{
	u32 n = 0;

	for (; n < BPF_OBJ_NAME_LEN && name[n]; n++) {
		char c = name[n];

		if (!((c >= '0' && c <= '9') || ((c | 32) >= 'a' && (c | 32) <= 'z') || c == '_' || c == '.'))
			return fail(EINVAL, "object name has a character %#x", c);
	}
	if (n == BPF_OBJ_NAME_LEN || !bytes_are_zero((const u8 *)name + n, BPF_OBJ_NAME_LEN - n))
		return fail(EINVAL, "object name is not terminated");
	return 0;
}

/* ---- maps -------------------------------------------------------------------------------------------------- */

static int apply_btf(const struct sys *s, const union bpf_attr *a, struct bpf_map *map)
{
	struct bpf_btf *btf;
	s32 off;

	if (!a->btf_key_type_id && !a->btf_value_type_id)
		return 0;
	btf = bpf_sys_object(s, (s32)a->btf_fd, BPF_OBJ_BTF);
	if (!btf)
		return fail(EBADF, "no BTF behind descriptor %u", a->btf_fd);
	if (!a->btf_value_type_id || (a->btf_key_type_id && bpf_btf_size(btf, a->btf_key_type_id) != map->key_size) ||
	    bpf_btf_size(btf, a->btf_value_type_id) != map->value_size)
		return fail(EINVAL, "BTF types do not have the sizes of key and value");
	off = bpf_btf_find_member(btf, a->btf_value_type_id, "bpf_spin_lock", 4, 4);
	if (off == -E2BIG || off == -EINVAL)
		return off;
	map->spin_lock_off = off >= 0 ? off : -1;
	off = bpf_btf_find_member(btf, a->btf_value_type_id, "bpf_timer", 16, 8);
	map->timer_off = off >= 0 ? off : -1;
	if (map->spin_lock_off >= 0 && map->type != BPF_MAP_TYPE_HASH && map->type != BPF_MAP_TYPE_ARRAY &&
	    map->type != BPF_MAP_TYPE_CGROUP_STORAGE && map->type != BPF_MAP_TYPE_SK_STORAGE)
		return fail(ENOTSUPP, "bpf_spin_lock in map type %u", map->type);
	bpf_btf_get(btf);
	map->btf = btf;
	map->btf_key_id = a->btf_key_type_id;
	map->btf_value_id = a->btf_value_type_id;
	return 0;
}

static bool map_needs_bpf(u32 type)
{
	switch (type) {
	case BPF_MAP_TYPE_HASH:
	case BPF_MAP_TYPE_ARRAY:
	case BPF_MAP_TYPE_PERCPU_HASH:
	case BPF_MAP_TYPE_PERCPU_ARRAY:
	case BPF_MAP_TYPE_PROG_ARRAY:
	case BPF_MAP_TYPE_PERF_EVENT_ARRAY:
	case BPF_MAP_TYPE_CGROUP_ARRAY:
	case BPF_MAP_TYPE_ARRAY_OF_MAPS:
	case BPF_MAP_TYPE_HASH_OF_MAPS:
	case BPF_MAP_TYPE_RINGBUF: return false;
	}
	return true;
}

static int map_create(const struct sys *s, union bpf_attr *a)
{
	bool nested = a->map_type == BPF_MAP_TYPE_ARRAY_OF_MAPS || a->map_type == BPF_MAP_TYPE_HASH_OF_MAPS;
	struct bpf_map *map, *inner = NULL;
	u32 file = a->map_flags & (BPF_F_RDONLY | BPF_F_WRONLY);
	int err;

	if (!rest_is_zero(a, map_extra))
		return fail(EINVAL, "unknown fields are not zero");
	if (a->btf_vmlinux_value_type_id || (a->map_type != BPF_MAP_TYPE_BLOOM_FILTER && a->map_extra))
		return -EINVAL;
	if (file == (BPF_F_RDONLY | BPF_F_WRONLY))
		return -EINVAL;
	if (a->map_flags & BPF_F_NUMA_NODE ? a->numa_node != 0 : 0)
		return fail(EINVAL, "NUMA node %u", a->numa_node);
	if (map_needs_bpf(a->map_type) && !s->rights.bpf)
		return -EPERM;
	err = bpf_sys_name(a->map_name);
	if (!err && nested) {
		err = bpf_sys_map(s, (s32)a->inner_map_fd, 0, &inner);
	}
	err = err ? err : bpf_map_new(a, inner, &map);
	if (err)
		return err;
	err = apply_btf(s, a, map);
	err = err ? err : bpf_object_add(BPF_OBJ_MAP, map, &map->id);
	if (err) {
		bpf_map_put(map);
		return err;
	}
	return bpf_sys_install(s, BPF_OBJ_MAP, map, file);
}

static int read_key(const struct sys *s, const struct bpf_map *map, u64 user, void **key)
{
	*key = NULL;
	if (map->key_size)
		return bpf_sys_read(s, user, map->key_size, key);
	return user ? fail(EINVAL, "key for a map without keys") : 0;
}

/* Of socket storage: the key is a descriptor; it becomes the socket, which is held until let_go. */
static int hold_owner(const struct sys *s, struct bpf_map *map, void **key, void **owner)
{
	int err = -EOPNOTSUPP;
	void *pointer;
	s32 fd;

	*owner = NULL;
	if (map->type != BPF_MAP_TYPE_SK_STORAGE)
		return 0;
	memcpy(&fd, *key, sizeof(fd));
	pointer = big_alloc(1, sizeof(*owner));
	if (!pointer)
		return -ENOMEM;
	*owner = s->ops->hold ? s->ops->hold(map->type, fd, &err) : NULL;
	memcpy(pointer, owner, sizeof(*owner));
	big_free(*key);
	*key = pointer;
	return *owner ? 0 : err;
}

static void let_go(const struct bpf_map *map, void *owner)
{
	if (owner)
		bpf_env.drop(map->type, owner);
}

static int map_lookup(const struct sys *s, union bpf_attr *a)
{
	struct bpf_map *map;
	void *key = NULL, *value = NULL, *owner = NULL;
	int err;

	if (!rest_is_zero(a, flags) || a->flags & ~(u64)BPF_F_LOCK)
		return -EINVAL;
	err = bpf_sys_map(s, (s32)a->map_fd, BPF_F_WRONLY, &map);
	err = err ? err : read_key(s, map, a->key, &key);
	if (err)
		return err;
	err = hold_owner(s, map, &key, &owner);
	if (!err)
		value = big_alloc(1, bpf_map_value_bytes(map));
	if (value && map->type == BPF_MAP_TYPE_BLOOM_FILTER) /* whether this value is in it */
		err = s->ops->copy_in(value, a->value, bpf_map_value_bytes(map));
	else
		err = err ? err : value ? 0 : -ENOMEM;
	err = err ? err : bpf_map_copy_out(map, key, value, a->flags);
	err = err ? err : s->ops->copy_out(a->value, value, bpf_map_value_bytes(map));
	let_go(map, owner);
	big_free(key);
	big_free(value);
	return err;
}

static int set_held(const struct sys *s, struct bpf_map *map, const void *key, s32 fd, u64 flags)
{
	int err = -EOPNOTSUPP;
	void *obj = s->ops->hold ? s->ops->hold(map->type, fd, &err) : NULL;

	if (!obj)
		return err;
	err = bpf_map_set_object(map, key, obj, flags);
	if (err)
		bpf_env.drop(map->type, obj);
	return err;
}

/* A descriptor as value: the object itself, with a reference for the map. */
static int set_object(const struct sys *s, struct bpf_map *map, const void *key, const void *value, u64 flags)
{
	enum bpf_object kind = map->type == BPF_MAP_TYPE_PROG_ARRAY ? BPF_OBJ_PROG : BPF_OBJ_MAP;
	enum bpf_object is = BPF_OBJ_KINDS;
	struct bpf_map *inner;
	void *obj;
	u32 limits;
	s32 fd;
	int err;

	memcpy(&fd, value, 4);
	if (kind == BPF_OBJ_MAP && !map->inner)
		return set_held(s, map, key, fd, flags);
	obj = s->ops->resolve(s->caller, fd, &is, &limits);
	if (!obj || is != kind)
		return obj ? fail(EINVAL, "descriptor %d is not what the map holds", fd) : -EBADF;
	inner = kind == BPF_OBJ_MAP ? obj : NULL;
	if (inner && (inner->type != map->inner->type || inner->key_size != map->inner->key_size ||
		      inner->value_size != map->inner->value_size || inner->flags != map->inner->flags ||
		      (inner->type == BPF_MAP_TYPE_ARRAY && inner->max_entries != map->inner->max_entries &&
		       !(inner->flags & BPF_F_INNER_MAP))))
		return fail(EINVAL, "inner map has another shape");
	if (!inner) {
		err = bpf_tail_admit(map, obj);
		if (err)
			return err;
	}
	if (inner)
		bpf_map_get(obj);
	else
		bpf_prog_get(obj);
	err = bpf_map_set_object(map, key, obj, flags);
	if (err)
		bpf_object_put(kind, obj);
	return err;
}

static int map_update(const struct sys *s, union bpf_attr *a)
{
	struct bpf_map *map;
	void *key = NULL, *value = NULL, *owner = NULL;
	int err;

	if (!rest_is_zero(a, flags))
		return -EINVAL;
	err = bpf_sys_map(s, (s32)a->map_fd, BPF_F_RDONLY, &map);
	if (err)
		return err;
	atomic_inc(&map->writers);
	err = READ_ONCE(map->frozen) ? -EPERM : read_key(s, map, a->key, &key);
	err = err ? err : hold_owner(s, map, &key, &owner);
	err = err ? err : bpf_sys_read(s, a->value, bpf_map_value_bytes(map), &value);
	if (!err)
		err = bpf_map_holds_fds(map->type) ? set_object(s, map, key, value, a->flags)
						   : bpf_map_copy_in(map, key, value, a->flags);
	atomic_dec(&map->writers);
	let_go(map, owner);
	big_free(key);
	big_free(value);
	return err;
}

static int map_delete(const struct sys *s, union bpf_attr *a)
{
	struct bpf_map *map;
	void *key, *owner;
	int err;

	if (!rest_is_zero(a, key))
		return -EINVAL;
	err = bpf_sys_map(s, (s32)a->map_fd, BPF_F_RDONLY, &map);
	if (err)
		return err;
	if (READ_ONCE(map->frozen))
		return -EPERM;
	err = read_key(s, map, a->key, &key);
	if (err)
		return err;
	err = hold_owner(s, map, &key, &owner);
	err = err ? err : map->ops->remove(map, key);
	let_go(map, owner);
	big_free(key);
	return err;
}

static int map_next(const struct sys *s, union bpf_attr *a)
{
	struct bpf_map *map;
	void *key = NULL, *next;
	int err;

	if (!rest_is_zero(a, next_key))
		return -EINVAL;
	err = bpf_sys_map(s, (s32)a->map_fd, BPF_F_WRONLY, &map);
	if (!err && a->key)
		err = read_key(s, map, a->key, &key);
	if (err)
		return err;
	next = kzalloc(map->key_size ? map->key_size : 1, 0);
	err = next ? map->ops->next_key(map, key, next) : -ENOMEM;
	err = err ? err : s->ops->copy_out(a->next_key, next, map->key_size);
	big_free(key);
	kfree(next);
	return err;
}

static int map_take(const struct sys *s, union bpf_attr *a)
{
	struct bpf_map *map;
	void *key = NULL, *value;
	int err;

	if (!rest_is_zero(a, flags) || a->flags & ~(u64)BPF_F_LOCK)
		return -EINVAL;
	err = bpf_sys_map(s, (s32)a->map_fd, BPF_F_RDONLY | BPF_F_WRONLY, &map);
	if (!err && map->frozen)
		err = -EPERM;
	err = err ? err : read_key(s, map, a->key, &key);
	if (err)
		return err;
	value = big_alloc(1, bpf_map_value_bytes(map));
	err = value ? bpf_map_pop_out(map, key, value) : -ENOMEM;
	err = err ? err : s->ops->copy_out(a->value, value, bpf_map_value_bytes(map));
	big_free(key);
	big_free(value);
	return err;
}

static int bind_map(const struct sys *s, const union bpf_attr *a)
{
	struct bpf_prog *prog;
	struct bpf_map *map;

	if (!rest_is_zero(a, prog_bind_map.flags) || a->prog_bind_map.flags)
		return -EINVAL;
	prog = bpf_sys_object(s, (s32)a->prog_bind_map.prog_fd, BPF_OBJ_PROG);
	if (!prog)
		return -EBADF;
	map = bpf_sys_object(s, (s32)a->prog_bind_map.map_fd, BPF_OBJ_MAP);
	return map ? bpf_prog_bind(prog, map) : -EBADF;
}

static int map_freeze(const struct sys *s, union bpf_attr *a)
{
	struct bpf_map *map;
	int err;

	if (!rest_is_zero(a, map_fd))
		return -EINVAL;
	err = bpf_sys_map(s, (s32)a->map_fd, BPF_F_RDONLY, &map);
	if (err)
		return err;
	if (map->timer_off >= 0)
		return -ENOTSUPP;
	if (atomic_read(&map->writers) || map->frozen || (map->view_writers && atomic_read(map->view_writers)))
		return -EBUSY;
	WRITE_ONCE(map->frozen, true);
	return 0;
}

/* ---- ids ------------------------------------------------------------------------------------------------------ */

static int next_id(const struct sys *s, union bpf_attr *a, enum bpf_object kind)
{
	u32 id;
	int err;

	if (!rest_is_zero(a, next_id) || a->start_id >= INT32_MAX)
		return -EINVAL;
	if (!s->rights.sys_admin)
		return -EPERM;
	err = bpf_object_next(kind, a->start_id, &id);
	return err ? err : s->ops->copy_out(s->uattr + offsetof(union bpf_attr, next_id), &id, 4);
}

static int fd_by_id(const struct sys *s, union bpf_attr *a, enum bpf_object kind)
{
	void *obj;

	if (!rest_is_zero(a, open_flags) || (kind != BPF_OBJ_MAP && a->open_flags))
		return -EINVAL;
	if (!s->rights.sys_admin)
		return -EPERM;
	obj = bpf_object_get(kind, a->start_id);
	return obj ? bpf_sys_install(s, kind, obj, a->open_flags) : -ENOENT;
}

/* ---- dispatch --------------------------------------------------------------------------------------------------- */

static int dispatch(const struct sys *s, u32 cmd, union bpf_attr *a)
{
	switch (cmd) {
	case BPF_MAP_CREATE: return map_create(s, a);
	case BPF_MAP_LOOKUP_ELEM: return map_lookup(s, a);
	case BPF_MAP_UPDATE_ELEM: return map_update(s, a);
	case BPF_MAP_DELETE_ELEM: return map_delete(s, a);
	case BPF_MAP_GET_NEXT_KEY: return map_next(s, a);
	case BPF_MAP_LOOKUP_AND_DELETE_ELEM: return map_take(s, a);
	case BPF_MAP_FREEZE: return map_freeze(s, a);
	case BPF_MAP_LOOKUP_BATCH:
	case BPF_MAP_LOOKUP_AND_DELETE_BATCH:
	case BPF_MAP_UPDATE_BATCH:
	case BPF_MAP_DELETE_BATCH: return bpf_sys_batch(s, cmd, a);
	case BPF_PROG_LOAD: return bpf_sys_prog_load(s, a);
	case BPF_PROG_TEST_RUN: return bpf_sys_test_run(s, a);
	case BPF_BTF_LOAD: return bpf_sys_btf_load(s, a);
	case BPF_OBJ_GET_INFO_BY_FD: return bpf_sys_info(s, a);
	case BPF_PROG_GET_NEXT_ID: return next_id(s, a, BPF_OBJ_PROG);
	case BPF_MAP_GET_NEXT_ID: return next_id(s, a, BPF_OBJ_MAP);
	case BPF_BTF_GET_NEXT_ID: return next_id(s, a, BPF_OBJ_BTF);
	case BPF_PROG_GET_FD_BY_ID: return fd_by_id(s, a, BPF_OBJ_PROG);
	case BPF_MAP_GET_FD_BY_ID: return fd_by_id(s, a, BPF_OBJ_MAP);
	case BPF_BTF_GET_FD_BY_ID: return fd_by_id(s, a, BPF_OBJ_BTF);
	case BPF_LINK_GET_NEXT_ID: return next_id(s, a, BPF_OBJ_LINK);
	case BPF_LINK_GET_FD_BY_ID: return fd_by_id(s, a, BPF_OBJ_LINK);
	case BPF_PROG_BIND_MAP: return bind_map(s, a);
	case BPF_LINK_UPDATE: return bpf_sys_link_update(s, a);
	case BPF_LINK_DETACH: return bpf_sys_link_detach(s, a);
	}
	return s->ops->other ? s->ops->other(s->caller, cmd, a, s->uattr, s->size)
			     : fail(EINVAL, "bpf command %u", cmd);
}

/* What a newer client appends must be zero. */
static int check_tail(const struct bpf_sys_ops *ops, u64 uattr, u32 size)
{
	u8 bytes[64];

	if (size > PAGE_SIZE)
		return -E2BIG;
	for (u32 off = sizeof(union bpf_attr); off < size; off += sizeof(bytes)) {
		u32 n = min(size - off, (u32)sizeof(bytes));

		if (ops->copy_in(bytes, uattr + off, n))
			return -EFAULT;
		if (!bytes_are_zero(bytes, n))
			return fail(E2BIG, "attributes that this kernel does not know");
	}
	return 0;
}

long bpf_sys(const struct bpf_sys_ops *ops, void *caller, u32 cmd, u64 uattr, u32 size)
{
	struct sys s = { .ops = ops, .caller = caller, .uattr = uattr, .size = size };
	union bpf_attr attr;
	int err;

	ops->rights(&s.rights);
	if (!s.rights.bpf && !ops->unprivileged_allowed())
		return -EPERM;
	err = check_tail(ops, uattr, size);
	if (err)
		return err;
	memset(&attr, 0, sizeof(attr));
	err = ops->copy_in(&attr, uattr, min(size, (u32)sizeof(attr)));
	return err ? err : dispatch(&s, cmd, &attr);
}
