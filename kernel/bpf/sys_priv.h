/* SPDX-License-Identifier: MIT
 *
 * Shared by the files of bpf(2). Private to kernel/bpf.
 */
#ifndef BPF_SYS_PRIV_H
#define BPF_SYS_PRIV_H

#include <alloc/kmap.h>
#include <alloc/slab.h>
#include <bpf/syscall.h>
#include <core/log.h>
#include <lib/err.h>
#include <lib/string.h>

void bpf_sha1(const u8 *data, size_t n, u8 out[20]);

struct sys {
	const struct bpf_sys_ops *ops;
	void *caller;
	struct bpf_rights rights;
	u64 uattr;
	u32 size;
};

/* All bytes behind the last field that a command uses are zero. */
#define FIELDS_END(field)      (offsetof(union bpf_attr, field) + sizeof(((union bpf_attr *)0)->field))
#define rest_is_zero(a, field) bytes_are_zero((const u8 *)(a) + FIELDS_END(field), sizeof(*(a)) - FIELDS_END(field))

static inline bool bytes_are_zero(const u8 *p, size_t n)
{
	while (n--)
		if (*p++)
			return false;
	return true;
}

int bpf_object_add(enum bpf_object kind, void *obj, u32 *id);
void bpf_object_drop(enum bpf_object kind, u32 id);
void *bpf_object_get(enum bpf_object kind, u32 id); /* with a reference, or NULL */
int bpf_object_next(enum bpf_object kind, u32 after, u32 *id);

int bpf_sys_prog_load(const struct sys *s, const union bpf_attr *a);
int bpf_sys_btf_load(const struct sys *s, const union bpf_attr *a);
int bpf_sys_test_run(const struct sys *s, union bpf_attr *a);
int bpf_sys_link_update(const struct sys *s, const union bpf_attr *a);
int bpf_sys_link_detach(const struct sys *s, const union bpf_attr *a);
int bpf_sys_batch(const struct sys *s, u32 cmd, const union bpf_attr *a); /* the four of BPF_MAP_*_BATCH */
/* refused: what the descriptor must not be limited to (BPF_F_RDONLY for a write, BPF_F_WRONLY for a read, or 0). */
int bpf_sys_map(const struct sys *s, s32 fd, u32 refused, struct bpf_map **map);
int bpf_sys_info(const struct sys *s, union bpf_attr *a);
void *bpf_sys_object(const struct sys *s, s32 fd, enum bpf_object kind); /* borrowed, NULL if it is something else */
int bpf_sys_install(const struct sys *s, enum bpf_object kind, void *obj, u32 flags);
int bpf_sys_name(const char *name);
int bpf_sys_read(const struct sys *s, u64 user, size_t n, void **out); /* kmalloc'ed copy */

#endif
