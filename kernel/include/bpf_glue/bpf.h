/* SPDX-License-Identifier: MIT
 *
 * bpf(2) for the system call layer.
 */
#ifndef BPF_GLUE_BPF_H
#define BPF_GLUE_BPF_H

#include <lib/types.h>

/* The call itself: a descriptor, 0 or -errno. */
long bpf_call(u32 cmd, u64 uattr, u32 size);

#endif
