/* SPDX-License-Identifier: MIT
 *
 * The verifier's own types. Private to kernel/bpf.
 *
 * Words: a *state* is what is known at one point of one path: for each call frame registers and stack slots. A
 * *checkpoint* is a state kept at a join of paths, to end later paths that bring nothing new. A slot is eight bytes
 * of stack; slot n covers fp-8(n+1) .. fp-8n-1. `live`, `precise` and `precise_slots` of an instruction come from the
 * static pass in verify_flow.c.
 *
 * One venv belongs to one load and one thread: no locks.
 */
#ifndef BPF_VERIFY_PRIV_H
#define BPF_VERIFY_PRIV_H

#include <linux/bpf.h>
#include <alloc/kmap.h>
#include <bpf/btf.h>
#include <bpf/helper.h>
#include <bpf/map.h>
#include <bpf/prog.h>
#include <lib/err.h>
#include <lib/string.h>
#include "scalar.h"

#define NR_REGS     11
#define FP          10
#define NR_SLOTS    64
#define MAX_OFFSET  (1 << 29) /* of a pointer from its object */
#define MAX_PKT_OFF 0xffff
#define MAX_PENDING 8192 /* branches waiting to be walked */

enum vkind {
	V_NONE,
	V_SCALAR,
	V_CTX,
	V_MAP_PTR,
	V_MAP_VALUE,
	V_MAP_KEY,
	V_STACK,
	V_PKT_META,
	V_PKT,
	V_PKT_END,
	V_FLOW_KEYS,
	V_SOCK,
	V_SOCK_COMMON,
	V_TCP_SOCK,
	V_XDP_SOCK,
	V_TP_BUFFER,
	V_MEM,
	V_BUF,
	V_FUNC,
	V_BTF_ID,
	V_KINDS,
};

struct vreg {
	u8 kind;
	bool null_ok; /* may be NULL */
	bool rdonly;
	bool alloc; /* ring buffer memory */
	s32 off;    /* fixed part of a pointer's offset; v is the variable part */
	union {
		s32 range;    /* packet bytes known to exist after it; see PKT_AT_END */
		u32 mem_size; /* V_MEM */
		u32 frame;    /* V_STACK */
		u32 subprog;  /* V_FUNC */
	};
	u32 map_uid; /* which inner map: equal only for the same look-up */
	struct bpf_map *map;
	u32 id;     /* equal ids: equal values (scalars), same object (pointers) */
	u32 ref_id; /* the acquired reference that it stands on */
	struct scalar v;
};

#define PKT_AT_END     -1 /* range: pointer >= data_end is known */
#define PKT_BEYOND_END -2

enum vbyte { B_NONE, B_SPILL, B_MISC, B_ZERO };

struct vslot {
	u8 byte[8]; /* enum vbyte, in address order */
	struct vreg reg;
};

struct vframe {
	struct vreg regs[NR_REGS];
	u32 callsite, subprog, no;
	u32 nslots;
	struct vslot *slots;
	bool callback; /* entered by a helper: the return value is checked, control returns to the helper */
	u64 cb_max;    /* greatest return value of a callback */
};

struct vref {
	u32 id, insn;
};

struct vstate {
	struct vframe *frames[BPF_MAX_FRAMES];
	u32 cur; /* running frame */
	u32 insn;
	struct vstate *parent;     /* the checkpoint that this path passed last */
	u32 branches;              /* paths from here that are not walked yet */
	u64 read[BPF_MAX_FRAMES];  /* slots that paths from this checkpoint read */
	u64 wrote[BPF_MAX_FRAMES]; /* slots written whole since parent */
	u32 nrefs;
	struct vref *refs;
	u32 lock_id;      /* id of the map value whose bpf_spin_lock is held, 0 without */
	u32 rounds;       /* of callbacks walked on this path */
	u32 regs_wrote;   /* since the last checkpoint; for the log */
	bool speculative; /* only a CPU's wrong guess comes here */
	bool in_round;    /* resume by entering the callback */
};

struct vcheckpoint {
	struct vstate st;
	struct vcheckpoint *next;
	u32 hits, misses;
};

struct vpending {
	struct vstate *st;
	u32 insn, prev;
	u32 log_len;
	struct vpending *next;
};

struct vinsn {
	u16 live, precise; /* registers, before the instruction */
	u16 stack_ptrs;    /* registers that may point to a stack */
	u64 precise_slots;
	u8 kind; /* enum vkind of the pointer that it goes through */
	bool seen, join, second_slot, map_conflict, calls_back;
	u8 branch_seen;      /* 1: fell through, 2: jumped */
	s16 new_off;         /* after conversion of a context access */
	u8 new_size;         /* BPF_W ... encoded, 0xff: no conversion */
	struct bpf_map *map; /* ld_imm64: the map; call: the only map seen */
	u32 map_off;
	u8 alu_state; /* ALU_...: masking against speculation */
	u32 alu_limit;
};

struct vsub {
	u32 start;
	u16 stack; /* bytes used */
	u16 entry_live, entry_precise, entry_stack_ptrs;
	bool ret_precise, is_callback, has_tail_call, has_ld_abs;
	bool is_global;    /* verified by itself (verify_func.c) */
	bool moves_packet; /* may make pointers into it stale */
	u32 type_id;       /* of its BTF record; 0: none */
	bool walked;       /* by the check of stack depth, last entered with: */
	u32 walked_bytes, walked_frame;
};

struct bpf_type_rules;

struct venv {
	const struct bpf_load *load;
	const struct bpf_type_rules *rules;
	struct bpf_insn *insns; /* private copy */
	u32 len;
	struct vinsn *aux;
	struct vsub subs[BPF_MAX_SUBPROGS + 1];
	u32 nr_subs;
	bool stack_escapes, all_slots_precise;
	struct bpf_map *maps[BPF_MAX_MAPS];
	u32 nr_maps;
	bool allow_leaks, bpf_capable, strict;

	struct vstate *cur;
	u32 insn, prev;
	struct vpending *pending;
	u32 nr_pending;
	struct vcheckpoint **table;  /* by instruction */
	struct vcheckpoint *retired; /* out of the table, still a parent */
	u32 ids;
	u32 processed, jumps, seen_jumps, seen_processed;
	u32 states, peak_states, max_states_per_insn;

	char *log;
	u32 log_level, log_size, log_len;
	u32 log_start, log_window; /* env->log holds the text from log_start on */
	bool log_full;
	int log_error; /* of drain */
	u32 insn_text_end, insn_text_len;
	u32 scratched_regs; /* changed since the last state line of the log */
	u64 scratched_slots;
	s32 last_line;

	u64 ctx_fields;
	u32 max_pkt_off;
	u32 max_ctx_off; /* of a context that is read as it is */
	bool ctx_written, has_tail_call, changes_packet;
	bool explore_limits; /* of the unprivileged: a variable was added to a pointer */
	bool hook_only;      /* a result that only the named hook understands */
};

/* verify_log.c */
void vlog(struct venv *env, const char *fmt, ...) __printf(2, 3);
void vlog_rewind(struct venv *env, u32 len);
void vlog_finish(struct venv *env);
const char *vreg_type_text(const struct vreg *reg, char buf[40]);
const char *vkind_text(u8 kind);
void vlog_state(struct venv *env, const struct vframe *f, bool all);
void vlog_insn(struct venv *env);
void vlog_changes(struct venv *env);
void vlog_line(struct venv *env, u32 insn);
void vlog_stats(struct venv *env);

/* verify_flow.c */
int vflow_check(struct venv *env); /* subprograms, control flow */
int vflow_analyse(struct venv *env);
int vflow_stack_depth(struct venv *env);
int vflow_find_sub(const struct venv *env, u32 insn);
int vflow_next(const struct venv *env, u32 i, u32 next[2]); /* successors inside the function */

/* verify_state.c */
struct vframe *vframe_new(u32 no, u32 subprog, u32 callsite);
void vframe_free(struct vframe *f);
struct vslot *vframe_slots(struct vframe *f, u32 n); /* at least n slots, NULL without memory */
int vstate_push(struct venv *env, u32 insn, u32 prev, struct vstate **out);
int vstate_pop(struct venv *env);   /* 1: a path was taken up, 0: none left */
int vstate_visit(struct venv *env); /* 1: this path is covered by an earlier one */
void vstate_free_all(struct venv *env);
void vstate_mark_read(struct venv *env, u32 frame, u64 slots);
int vstate_acquire(struct venv *env);
int vstate_release(struct venv *env, u32 id);
void vstate_free(struct vstate *st);

/* verify_mem.c, verify_stack.c */
enum vaccess { A_READ, A_WRITE };
int vmem_access(struct venv *env, u32 regno, s32 off, u32 bytes, enum vaccess a, int value_reg);
int vmem_region(struct venv *env, u32 regno, s32 off, s32 size, u32 limit, bool zero_ok);
int vmem_map_value(struct venv *env, u32 regno, s32 off, s32 size, bool zero_ok);
int vmem_packet(struct venv *env, u32 regno, s32 off, s32 size, bool zero_ok);
int vmem_helper(struct venv *env, u32 regno, s32 size, bool zero_ok, bool writes);
int vmem_fixed_offset(struct venv *env, u32 regno, bool fixed_ok);
bool vmem_packet_allowed(struct venv *env, enum vaccess a);
int vstack_access(struct venv *env, u32 regno, s32 off, s32 size, enum vaccess a, int value_reg);
int vstack_helper(struct venv *env, u32 regno, s32 size, bool zero_ok, bool writes);
int vstack_pointer_ok(struct venv *env, u32 regno, const struct vreg *reg, s32 off);

/* verify_alu.c, verify_jmp.c, verify_call.c */
int valu_check(struct venv *env, const struct bpf_insn *insn);
int vjmp_check(struct venv *env, const struct bpf_insn *insn);
int vcall_helper(struct venv *env, const struct bpf_insn *insn);
int vcall_subprog(struct venv *env, const struct bpf_insn *insn);
int vcall_return(struct venv *env);
int vcall_check_refs(struct venv *env);
int vcall_check_offset(struct venv *env, u32 regno); /* a pointer to an object that is passed on */

/* verify_func.c: functions that are verified by themselves */
int vfunc_check(struct venv *env); /* the records of functions */
int vfunc_call(struct venv *env, u32 sub);
int vfunc_begin(struct venv *env, u32 sub); /* the frame is there: its arguments */
int vfunc_result(struct venv *env);

/* verify_spec.c */
struct vspec {
	bool active, to_left, off_is_dst;
	u8 state;
	u32 limit;
};
int vspec_before(struct venv *env, const struct bpf_insn *insn, const struct vreg *ptr, const struct vreg *off,
		 struct vspec *spec);
int vspec_after(struct venv *env, const struct bpf_insn *insn, const struct vreg *moved, const struct vspec *spec);
int vspec_scalar(struct venv *env, const struct bpf_insn *insn);
int vspec_branch(struct venv *env, u32 insn); /* the way that is not taken */

/* verifier.c */
int bpf_verify(struct venv *env);
int vreg_use(struct venv *env, u32 regno);
int vreg_def(struct venv *env, u32 regno, bool forget);

/* bpf_fixup.c */
void bpf_fixup(struct venv *env);

static inline struct vframe *vcur(struct venv *env)
{
	return env->cur->frames[env->cur->cur];
}

static inline struct vreg *vregs(struct venv *env)
{
	return vcur(env)->regs;
}

static inline void vreg_set_unknown(struct vreg *r)
{
	*r = (struct vreg){ .kind = V_SCALAR };
	scalar_set_unknown(&r->v);
}

static inline void vreg_set_const(struct vreg *r, u64 v)
{
	*r = (struct vreg){ .kind = V_SCALAR };
	scalar_set_const(&r->v, v);
}

static inline void vreg_set_pointer(struct vreg *r, u8 kind)
{
	*r = (struct vreg){ .kind = kind };
	scalar_set_const(&r->v, 0);
}

static inline bool vreg_is_packet(const struct vreg *r)
{
	return r->kind == V_PKT || r->kind == V_PKT_META;
}

static inline bool vkind_is_sock(u8 kind)
{
	return kind == V_SOCK || kind == V_SOCK_COMMON || kind == V_TCP_SOCK || kind == V_XDP_SOCK;
}

/* A value that the program must not show to others. */
static inline bool vreg_is_secret(const struct venv *env, const struct vreg *r)
{
	return !env->allow_leaks && r->kind != V_SCALAR && r->kind != V_NONE;
}

static inline bool vreg_is_zero(const struct vreg *r)
{
	return r->kind == V_SCALAR && scalar_is_const(&r->v) && r->v.bits.value == 0;
}

static inline u32 insn_bytes(u8 code)
{
	static const u8 bytes[] = { 4, 2, 1, 8 };

	return bytes[BPF_SIZE(code) >> 3];
}

static inline bool is_ld_imm64(const struct bpf_insn *i)
{
	return i->code == (BPF_LD | BPF_IMM | BPF_DW);
}

static inline bool is_subprog_call(const struct bpf_insn *i)
{
	return i->code == (BPF_JMP | BPF_CALL) && i->src_reg == BPF_PSEUDO_CALL;
}

static inline bool is_helper_call(const struct bpf_insn *i)
{
	return i->code == (BPF_JMP | BPF_CALL) && i->src_reg == 0;
}

static inline bool is_func_pointer(const struct bpf_insn *i)
{
	return is_ld_imm64(i) && i->src_reg == BPF_PSEUDO_FUNC;
}

/* Rules of program types: prog_types.c. */
/* How much less than a whole field may be read. */
enum bpf_narrow { NARROW_ANY, NARROW_START, /* only its first bytes */ NARROW_WORDS /* whole words of an array */ };

struct bpf_ctx_field {
	u16 off, bytes;
	u8 max;    /* biggest access, bytes; 0: exactly `bytes` */
	u8 narrow; /* enum bpf_narrow */
	u8 kind;   /* what a read gives: V_SCALAR or a pointer */
	bool null_ok;
	u16 real_off;         /* in the structure of bpf/ctx.h */
	u64 readers, writers; /* program types */
	u64 attach;           /* attach types, 0: any */
};

struct bpf_type_rules {
	const char *name;
	u32 ctx_bytes;
	const struct bpf_ctx_field *fields;
	u32 nr_fields;
	s32 ret_min, ret_max; /* of r0 at exit; min > max: anything */
	bool packet_read, packet_write, ld_abs;
	/* Types whose context is plain memory. */
	int (*plain)(const struct venv *env, s32 off, u32 size, enum vaccess a);
};

const struct bpf_type_rules *bpf_type_rules(u32 type);
const char *bpf_context_name(u32 type); /* of the structure, in BTF; NULL: none */
/* 0, or -EACCES; fills what the access gives and how it is rewritten. */
int bpf_ctx_access(struct venv *env, s32 off, u32 size, enum vaccess a, struct vreg *out);
int bpf_sock_access(struct venv *env, u8 kind, s32 off, u32 size);
void bpf_return_range(const struct venv *env, s64 *lo, s64 *hi); /* lo > hi: no rule */

#endif
