/* SPDX-License-Identifier: MIT
 *
 * BTF: types of programs and map values as BPF_BTF_LOAD takes them (format: the kernel's documentation,
 * Documentation/bpf/btf.rst; structures in the UAPI header <linux/btf.h>). A loaded object is checked whole and
 * immutable.
 *
 * Threading: immutable after bpf_btf_new. Lifetime: get/put.
 */
#ifndef BPF_BTF_H
#define BPF_BTF_H

#include <linux/btf.h>
#include <lib/atomic.h>
#include <lib/types.h>

struct bpf_btf;

/* Copies and checks. 0, or -EINVAL, -E2BIG, -ENOMEM; why (may be NULL) gets the reason. */
int __must_check bpf_btf_new(const void *data, u32 size, struct bpf_btf **out, char *why, u32 why_size);
void bpf_btf_get(struct bpf_btf *btf);
void bpf_btf_put(struct bpf_btf *btf);
refcount_t *bpf_btf_refs(struct bpf_btf *btf);

const char *bpf_btf_string(const struct bpf_btf *btf, u32 off); /* NULL outside the section */
const struct btf_type *bpf_btf_type(const struct bpf_btf *btf, u32 id);
u32 bpf_btf_types(const struct bpf_btf *btf); /* ids are 1 .. types - 1 */
const void *bpf_btf_data(const struct bpf_btf *btf, u32 *size);
u32 bpf_btf_id(const struct bpf_btf *btf);
void bpf_btf_set_id(struct bpf_btf *btf, u32 id);

const struct btf_type *bpf_btf_plain(const struct bpf_btf *btf,
				     u32 id); /* behind typedefs and qualifiers; NULL: void */
/* Size in bytes of a type through typedefs and qualifiers, or -EINVAL. */
s64 bpf_btf_size(const struct bpf_btf *btf, u32 id);
/* Offset of the member of struct type `name` (such as bpf_spin_lock) in a map value: -ENOENT without, -E2BIG if there
 * are two, -EINVAL. */
s32 bpf_btf_find_member(const struct bpf_btf *btf, u32 id, const char *name, u32 bytes, u32 align);

#endif
