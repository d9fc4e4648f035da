/* SPDX-License-Identifier: MIT
 *
 * The run-time side of helpers, for the interpreter and the compiler. Private to kernel/bpf.
 */
#ifndef BPF_HELPER_PRIV_H
#define BPF_HELPER_PRIV_H

#include <bpf/helper.h>
#include <bpf/prog.h>

bpf_helper_fn bpf_helper_code(u32 id); /* never NULL */

/* Classic packet loads: the value in host order, or negative when the packet is too short. */
s64 bpf_packet_load(const void *ctx, u32 off, u32 bytes);

/* Maps that are arrays of objects; the compiler reads slots. */
struct fd_array {
	struct bpf_map map;
	void **slots;
};

/* First value and distance of an array map's elements. */
u8 *bpf_array_layout(struct bpf_map *map, u32 *stride);

/* The program behind a slot of a program array, or NULL. */
struct bpf_prog *bpf_tail_call_target(struct bpf_map *map, u64 index);

#endif
