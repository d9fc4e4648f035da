/* SPDX-License-Identifier: MIT
 *
 * What is known of an integer: bits (tnum) and signed and unsigned intervals, of all 64 bits and of the low 32.
 * An abstract value stands for every integer that satisfies all of them. Private to kernel/bpf.
 */
#ifndef BPF_SCALAR_H
#define BPF_SCALAR_H

#include <lib/types.h>

struct tnum {
	u64 value; /* the known bits that are 1 */
	u64 mask;  /* the unknown bits; disjoint from value */
};

struct interval {
	u64 umin, umax;
	s64 smin, smax; /* of 32 bits: sign-extended */
};

struct scalar {
	struct tnum bits;
	struct interval w; /* the 64-bit value */
	struct interval h; /* the low half as a 32-bit value */
};

#define TNUM_UNKNOWN ((struct tnum){ 0, ~0ULL })

struct tnum tnum_const(u64 v);
struct tnum tnum_range(u64 lo, u64 hi);
struct tnum tnum_and_both(struct tnum a, struct tnum b); /* facts of both hold */
struct tnum tnum_low(struct tnum a, u32 bytes);
bool tnum_subset(struct tnum big, struct tnum small);
bool tnum_aligned(struct tnum a, u64 size);
int tnum_text(char *buf, size_t size, struct tnum a);
struct tnum tnum_add(struct tnum a, struct tnum b);

static inline bool tnum_is_const(struct tnum a)
{
	return a.mask == 0;
}

void scalar_set_const(struct scalar *s, u64 v);
void scalar_set_unknown(struct scalar *s);
void scalar_zero_extend(struct scalar *s); /* keep the low half, clear the high one */
void scalar_truncate(struct scalar *s, u32 bytes);
void scalar_sync(struct scalar *s); /* spread facts among the parts */
bool scalar_within(const struct scalar *big, const struct scalar *small);
bool scalar_contradicts(const struct scalar *s); /* no integer satisfies it: a path that cannot be taken */

static inline bool scalar_is_const(const struct scalar *s)
{
	return tnum_is_const(s->bits);
}

/* d = d OP s for an ALU operation (BPF_ADD ...), 64-bit or 32-bit (then the high half becomes 0). */
void scalar_alu(struct scalar *d, const struct scalar *s, u8 op, bool is64);
/* Adds or subtracts only the 64-bit facts: offsets of pointers. */
void scalar_offset(struct scalar *d, const struct scalar *a, const struct scalar *b, bool subtract);

/* Outcome of `s OP imm`: 1 always, 0 never, -1 open. */
int scalar_decide(const struct scalar *s, u64 imm, u8 op, bool is64);
/* Learns from `s OP imm` being true (taken) or false. */
void scalar_learn(struct scalar *s, u64 imm, u8 op, bool is64, bool taken);

#endif
