/* SPDX-License-Identifier: MIT
 *
 * Helper functions: what each takes and returns (for the verifier), which program types may call it, and its code.
 * Numbers and names come from the UAPI header, prototypes from bpf-helpers(7), permissions from the behaviour of
 * Linux 6.1.
 *
 * A helper without code (fn NULL) is known to the verifier, so that `ostrom bpfcheck` judges programs for all hooks;
 * a call of one at run time gives -EOPNOTSUPP.
 */
#ifndef BPF_HELPER_H
#define BPF_HELPER_H

#include <linux/bpf.h>
#include <lib/types.h>

enum bpf_arg {
	ARG_NONE,
	ARG_ANY, /* any initialised value */
	ARG_CTX,
	ARG_MAP,
	ARG_KEY,   /* key_size readable bytes */
	ARG_VALUE, /* value_size readable bytes */
	ARG_UNINIT_VALUE,
	ARG_MEM,        /* readable bytes, their number in the next argument */
	ARG_UNINIT_MEM, /* bytes that the helper writes */
	ARG_SIZE,
	ARG_SIZE0, /* may be 0 */
	ARG_SPIN_LOCK,
	ARG_SOCK_COMMON,
	ARG_SOCK,
	ARG_INT,  /* 4 bytes to write */
	ARG_LONG, /* 8 bytes to write */
	ARG_RINGBUF_MEM,
	ARG_ALLOC_SIZE, /* a constant: the size of what the helper returns */
	ARG_FUNC,
	ARG_STACK,
	ARG_CONST_STR,
	ARG_TIMER,
	ARG_BTF_ID, /* a pointer that only BTF describes */
	ARG_KIND = 0x3f,
	ARG_NULL_OK = 0x40,
	ARG_RELEASE = 0x80,
};

enum bpf_ret {
	RET_INT,
	RET_VOID,
	RET_MAP_VALUE,
	RET_MAP_VALUE_NULL,
	RET_SOCK_NULL,
	RET_SOCK_COMMON_NULL,
	RET_TCP_SOCK_NULL,
	RET_RINGBUF_MEM_NULL,
	RET_BTF_ID,
};

typedef u64 (*bpf_helper_fn)(u64 r1, u64 r2, u64 r3, u64 r4, u64 r5);

struct bpf_helper {
	const char *name; /* without bpf_ */
	u8 args[5];
	u8 ret;
	bool gpl_only, packet_access, changes_packet, known;
	bpf_helper_fn fn;
};

const struct bpf_helper *bpf_helper_get(u32 id); /* NULL beyond the last one */
const char *bpf_helper_name(u32 id);             /* "unknown" beyond */
bool bpf_helper_allowed(u32 id, u32 prog_type, u32 attach_type, bool perfmon, bool bpf);
void bpf_helper_set(u32 id, bpf_helper_fn fn); /* at boot: the part that owns the object brings the code */
void bpf_helpers_install(void);                /* at boot, first: what needs no other part */

#endif
