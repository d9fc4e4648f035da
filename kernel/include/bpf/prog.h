/* SPDX-License-Identifier: MIT
 *
 * eBPF programs: loading (verify, fix up, compile) and running.
 *
 * bpf_prog_new takes instructions as bpf(2) gives them, except that map file descriptors have to be resolved by
 * `find_map`. On success the program is immutable and may run on any CPU. With a JIT buffer the caller makes the
 * buffer executable before bpf_prog_set_jited publishes it; until then the interpreter runs the program.
 *
 * Errors are those of BPF_PROG_LOAD in Linux 6.1: E2BIG (size), EACCES and EINVAL (verifier), EPERM (privilege),
 * ENOMEM, ENOSPC (log buffer too small, after a verdict was reached). The log reads like Linux's.
 *
 * Threading: loading is independent for each program; running needs the caller to keep it from being freed.
 */
#ifndef BPF_PROG_H
#define BPF_PROG_H

#include <linux/bpf.h>
#include <bpf/map.h>
#include <lib/atomic.h>
#include <lib/types.h>

#define BPF_MAX_MAPS     64
#define BPF_MAX_SUBPROGS 256
#define BPF_MAX_FRAMES   8
#define BPF_STACK_BYTES  512
#define BPF_MAX_INSNS    1000000 /* of a privileged program, and the verifier's budget */
#define BPF_TAIL_CALLS   33

/* Of prog_flags. RND_HI32 asks for garbage in upper halves that no 64-bit machine leaves undefined; XDP_HAS_FRAGS
 * allows packets in pieces, ours are linear. */
#define BPF_LOAD_FLAGS                                                                                                 \
	(BPF_F_STRICT_ALIGNMENT | BPF_F_ANY_ALIGNMENT | BPF_F_TEST_RND_HI32 | BPF_F_TEST_STATE_FREQ |                  \
	 BPF_F_XDP_HAS_FRAGS)

struct bpf_btf;

/* What the loader may do: from credentials and sysctls. */
struct bpf_rights {
	bool bpf;     /* CAP_BPF: loops, subprograms, imprecise pruning, big programs */
	bool perfmon; /* CAP_PERFMON: pointer leaks, uninitialised stack, no speculation barriers */
	bool net_admin;
	bool sys_admin;
};

struct bpf_load {
	const struct bpf_insn *insns;
	u32 len;
	u32 type, attach_type;
	u32 flags; /* BPF_F_STRICT_ALIGNMENT, BPF_F_ANY_ALIGNMENT, BPF_F_TEST_STATE_FREQ */
	bool gpl;
	struct bpf_rights rights;
	u32 budget; /* instructions that the verifier may walk (E2BIG); 0: BPF_MAX_INSNS */
	u32 log_level;
	char *log; /* kernel memory; NULL without */
	u32 log_size;
	/* With drain, log is a window of log_window bytes: text is handed over with its place in the log (which may be
	 * one that was written before), the last of it when the load ends. A failure (-errno) is the load's. */
	u32 log_window;
	int (*drain)(void *arg, u32 at, const char *text, u32 len);
	struct bpf_btf *btf;
	const struct bpf_func_info *funcs;
	u32 nr_funcs;
	const struct bpf_line_info *lines;
	u32 nr_lines;
	/* Resolves a map: idx is a file descriptor, or an index into fd_array when by_index. No reference is taken. */
	struct bpf_map *(*find_map)(void *arg, s32 idx, bool by_index);
	void *arg;
};

struct bpf_subprog_code {
	u32 start; /* first instruction */
	u32 stack; /* bytes, a multiple of 8 */
	u32 code;  /* where it begins in the compiled program */
};

/* How an addition or subtraction of an unprivileged program masks its operand (verify_spec.c). */
#define ALU_PLAIN    1 /* never moves a pointer */
#define ALU_MASK_SRC 2
#define ALU_MASK_DST 4
#define ALU_NEGATIVE 8
#define ALU_CONSTANT 16

struct bpf_alu_limit {
	u32 limit;
	u8 state;
};

struct bpf_prog_stats {
	u64 runs, ns, misses;
};

struct bpf_prog {
	u32 type, attach_type;
	u32 len;
	struct bpf_insn *insns; /* after fix-up */
	u32 nr_subs;
	struct bpf_subprog_code *subs;
	u64 (*jited)(const void *ctx);
	u32 jited_bytes, tail_off; /* tail_off: where a tail call enters */
	void *image;
	u32 id;
	u8 tag[BPF_TAG_SIZE];
	char name[BPF_OBJ_NAME_LEN];
	bool gpl, jit_requested, uses_ctx_write, has_tail_call;
	bool hook_only; /* of type CGROUP_SKB: returns what only its own attach type understands */
	u32 uid;
	u64 load_ns;
	u32 verified_insns;
	u64 ctx_fields; /* which entries of the type's field table are read */
	u32 nr_maps, maps_room;
	struct bpf_map **maps; /* those that the code uses, then those bound to it */
	u32 max_pkt_off;
	u32 max_ctx_off; /* bytes of a tracepoint's record or of registers that it may read */
	refcount_t refs;
	struct bpf_btf *btf;
	struct bpf_func_info *funcs; /* BTF records, as loaded */
	struct bpf_line_info *lines;
	u32 nr_funcs, nr_lines;
	u32 *line_code; /* by line record: where it begins in the compiled program */
	struct bpf_prog_stats stats;
	void (*free_image)(struct bpf_prog *prog);
	struct bpf_alu_limit *alu_limits; /* by instruction; NULL for the privileged */
	struct bpf_map **call_maps;       /* for the compiler only: the one map of a helper call, or NULL */
};

int __must_check bpf_prog_new(const struct bpf_load *load, struct bpf_prog **out);
void bpf_prog_get(struct bpf_prog *prog);
int __must_check bpf_prog_bind(struct bpf_prog *prog,
			       struct bpf_map *map); /* it lives as long as prog; -E2BIG: too many */
void bpf_prog_put(struct bpf_prog *prog);

u64 bpf_interpret(const struct bpf_prog *prog, const void *ctx);
extern bool bpf_stats_on; /* count runs and their time */
u64 bpf_prog_run_counted(struct bpf_prog *prog, const void *ctx);

static inline u64 bpf_prog_run(const struct bpf_prog *prog, const void *ctx)
{
	if (unlikely(bpf_stats_on))
		return bpf_prog_run_counted((struct bpf_prog *)prog, ctx);
	return prog->jited ? prog->jited(ctx) : bpf_interpret(prog, ctx);
}

extern bool bpf_jit_thunks; /* no indirect branches in what the compiler makes; set before the first program */
/* x86-64 code for the program. buf NULL: returns the bytes needed. The code runs at address `at` (buf may be another
 * mapping of it). Returns the length, -ENOTSUPP for what the compiler does not do, -ENOSPC if size is too small. */
int bpf_jit_x86(const struct bpf_prog *prog, u8 *buf, u32 size, u64 at, u32 *tail_off, bool blind);

/* Text of one instruction in the form of Linux's verifier log, without a newline. Returns its length. */
int bpf_insn_text(const struct bpf_insn *insn, bool show_pointers, char *buf, size_t size);

const char *bpf_prog_type_name(u32 type);

/* Classic filters, checked and translated: SO_ATTACH_FILTER's see a packet (type SOCKET_FILTER), seccomp's a struct
 * seccomp_data. out may be NULL to count. Returns the number of instructions, -EINVAL or -ENOMEM. */
struct sock_filter;
int bpf_from_classic(const struct sock_filter *in, u32 len, bool seccomp, struct bpf_insn *out, u32 max);
/* The same as a program that is ready to run (by the interpreter), one reference. */
int __must_check bpf_prog_classic(const struct sock_filter *in, u32 len, bool seccomp, struct bpf_prog **out);

#endif
