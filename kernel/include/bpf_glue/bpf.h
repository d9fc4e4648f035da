/* SPDX-License-Identifier: MIT
 *
 * bpf(2) for the system call layer.
 */
#ifndef BPF_GLUE_BPF_H
#define BPF_GLUE_BPF_H

#include <lib/types.h>

/* The call itself: a descriptor, 0 or -errno. */
long bpf_call(u32 cmd, u64 uattr, u32 size);

/* A classic filter, checked, translated and compiled: run it by bpf_prog_run on a struct bpf_skb_ctx or (seccomp) a
 * struct seccomp_data; bpf_prog_put. -EINVAL, -ENOMEM. */
struct bpf_prog;
struct sock_filter;
int __must_check bpf_classic_load(const struct sock_filter *code, u32 len, bool seccomp, struct bpf_prog **out);

#endif
