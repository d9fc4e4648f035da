/* SPDX-License-Identifier: MIT
 *
 * The run-time side of helpers, for the interpreter and the compiler. Private to kernel/bpf.
 */
#ifndef BPF_HELPER_PRIV_H
#define BPF_HELPER_PRIV_H

#include <bpf/cgroup.h>
#include <bpf/helper.h>
#include <bpf/prog.h>

bpf_helper_fn bpf_helper_code(u32 id); /* never NULL */
void bpf_helpers_install_cgroup(void); /* by bpf_helpers_install */
void bpf_helpers_install_text(void);   /* so too */

/* Whether so many arguments are enough for a format that bpf_snprintf understands; -EINVAL. */
int __must_check bpf_format_check(const char *format, u32 nargs);

/* Classic packet loads: the value in host order, or negative when the packet is too short. */
s64 bpf_packet_load(const void *ctx, u32 off, u32 bytes);

/* The programs that a program array takes, and that may use it: all of one kind, the first one's. */
struct tail_kind {
	bool known, jited;
	u32 type, attach_type;
	struct bpf_map *storage[BPF_STORAGE_KINDS]; /* counted */
};

/* Maps that are arrays of objects; the compiler reads slots. */
struct fd_array {
	struct bpf_map map;
	void **slots;
	struct bpf_lock lock;  /* kind */
	struct tail_kind kind; /* of a program array */
};

/* First value and distance of an array map's elements. */
u8 *bpf_array_layout(struct bpf_map *map, u32 *stride);

/* The program, which is compiled as far as it ever will be, is about to get into the program array, or uses it.
 * -EINVAL: a tail call between it and the others would not be what the verifier saw. */
int __must_check bpf_tail_admit(struct bpf_map *map, const struct bpf_prog *prog);

/* The program behind a slot of a program array, or NULL. */
struct bpf_prog *bpf_tail_call_target(struct bpf_map *map, u64 index);

#endif
