/* SPDX-License-Identifier: MIT
 *
 * Attachments to cgroups and the hooks that run them.
 */
#ifndef BPF_GLUE_ATTACH_PRIV_H
#define BPF_GLUE_ATTACH_PRIV_H

#include <core/static_branch.h>

#include "glue_priv.h"

/* ---- attach.c: BPF_PROG_ATTACH and its family; attributes are checked for unused fields ---- */
int bpf_attach(struct bpf_call *c, const union bpf_attr *a);
int bpf_detach(struct bpf_call *c, const union bpf_attr *a);
int bpf_query(const union bpf_attr *a, u64 uattr);
int bpf_link_create(struct bpf_call *c, const union bpf_attr *a); /* a descriptor */
void bpf_attach_init(void);

/* ---- hooks.c ---- */
struct static_key *bpf_hook_key(u32 hook); /* the branch in front of a hook; NULL: nobody calls it */
void bpf_hooks_init(void);

#endif
