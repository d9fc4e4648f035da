/* SPDX-License-Identifier: MIT
 *
 * Problem: an access is safe only if every value that its offset can have is inside the object, so the verifier has
 * to know what arithmetic and branches say about integers, never claiming more than is true.
 *
 * Idea: three views of one value (see scalar.h), each with its own transfer functions, and scalar_sync, which lets
 * each view sharpen the others. Known bits follow the tristate-number algebra (Vishwanathan et al., "Sound, precise
 * and fast abstract interpretation with tristate numbers", CGO 2022). Intervals of both widths share one code: sums
 * are exact in 128 bits and fall back to "anything" when they leave the width.
 *
 * Contract: scalar.h. Precision is kept at Linux 6.1's level on purpose (a variable operand is tracked by add, sub
 * and and only), so that verdicts are the same.
 *
 * Locks: none; values only.
 */
#include <linux/bpf.h>
#include <lib/printf.h>
#include "scalar.h"

typedef __int128 wide;

static const struct interval full64 = { 0, UINT64_MAX, INT64_MIN, INT64_MAX };
static const struct interval full32 = { 0, UINT32_MAX, INT32_MIN, INT32_MAX };

struct tnum tnum_const(u64 v)
{
	return (struct tnum){ v, 0 };
}

struct tnum tnum_range(u64 lo, u64 hi)
{
	u64 differ = lo ^ hi, mask;

	if (!differ)
		return tnum_const(lo);
	mask = ~0ULL >> __builtin_clzll(differ);
	return (struct tnum){ lo & ~mask, mask };
}

struct tnum tnum_and_both(struct tnum a, struct tnum b)
{
	u64 mask = a.mask & b.mask;

	return (struct tnum){ (a.value | b.value) & ~mask, mask };
}

struct tnum tnum_low(struct tnum a, u32 bytes)
{
	u64 keep = bytes >= 8 ? ~0ULL : (1ULL << (bytes * 8)) - 1;

	return (struct tnum){ a.value & keep, a.mask & keep };
}

bool tnum_subset(struct tnum big, struct tnum small)
{
	return !(small.mask & ~big.mask) && big.value == (small.value & ~big.mask);
}

bool tnum_aligned(struct tnum a, u64 size)
{
	return !size || !((a.value | a.mask) & (size - 1));
}

int tnum_text(char *buf, size_t size, struct tnum a)
{
	return str_format(buf, size, "(0x%llx; 0x%llx)", (unsigned long long)a.value, (unsigned long long)a.mask);
}

/* A result bit is known if it is the same for the smallest and the largest addends, carries included. */
struct tnum tnum_add(struct tnum a, struct tnum b)
{
	u64 low = a.value + b.value, high = low + a.mask + b.mask;
	u64 mask = (low ^ high) | a.mask | b.mask;

	return (struct tnum){ low & ~mask, mask };
}

static struct tnum tnum_sub(struct tnum a, struct tnum b)
{
	u64 mid = a.value - b.value, high = mid + a.mask, low = mid - b.mask;
	u64 mask = (low ^ high) | a.mask | b.mask;

	return (struct tnum){ mid & ~mask, mask };
}

static struct tnum tnum_and(struct tnum a, struct tnum b)
{
	u64 maybe_a = a.value | a.mask, maybe_b = b.value | b.mask, v = a.value & b.value;

	return (struct tnum){ v, maybe_a & maybe_b & ~v };
}

static struct tnum tnum_or(struct tnum a, struct tnum b)
{
	u64 v = a.value | b.value;

	return (struct tnum){ v, (a.mask | b.mask) & ~v };
}

static struct tnum tnum_xor(struct tnum a, struct tnum b)
{
	u64 mask = a.mask | b.mask;

	return (struct tnum){ (a.value ^ b.value) & ~mask, mask };
}

static struct tnum tnum_lsh(struct tnum a, u32 n)
{
	return (struct tnum){ a.value << n, a.mask << n };
}

/* Long multiplication: each bit of a adds b (if known 1) or maybe b (if unknown). */
static struct tnum tnum_mul(struct tnum a, struct tnum b)
{
	struct tnum sum = tnum_const(a.value * b.value), unsure = tnum_const(0);

	for (; a.value | a.mask; a.value >>= 1, a.mask >>= 1, b = tnum_lsh(b, 1)) {
		if (a.value & 1)
			unsure = tnum_add(unsure, (struct tnum){ 0, b.mask });
		else if (a.mask & 1)
			unsure = tnum_add(unsure, (struct tnum){ 0, b.value | b.mask });
	}
	return tnum_add(sum, unsure);
}

static struct tnum tnum_sar(struct tnum a, u32 n, u32 bits)
{
	if (bits == 32)
		return (struct tnum){ (u32)((s32)a.value >> n), (u32)((s32)a.mask >> n) };
	return (struct tnum){ (u64)((s64)a.value >> n), (u64)((s64)a.mask >> n) };
}

void scalar_set_const(struct scalar *s, u64 v)
{
	s->bits = tnum_const(v);
	s->w = (struct interval){ v, v, (s64)v, (s64)v };
	s->h = (struct interval){ (u32)v, (u32)v, (s32)v, (s32)v };
}

void scalar_set_unknown(struct scalar *s)
{
	s->bits = TNUM_UNKNOWN;
	s->w = full64;
	s->h = full32;
}

/* Interval facts that known bits imply. Bits that are unknown may be all 0 or all 1; the sign bit the other way. */
static void learn_from_bits(struct interval *i, struct tnum t, u32 width)
{
	u64 sign = 1ULL << (width - 1);
	u64 smin = t.value | (t.mask & sign), smax = t.value | (t.mask & ~sign);

	i->umin = max(i->umin, t.value);
	i->umax = min(i->umax, t.value | t.mask);
	i->smin = max(i->smin, width == 32 ? (s64)(s32)smin : (s64)smin);
	i->smax = min(i->smax, width == 32 ? (s64)(s32)smax : (s64)smax);
}

/* Signed and unsigned views agree where the interval does not cross the sign boundary. */
static void learn_across_signs(struct interval *i, u32 width)
{
	u64 all = width == 32 ? UINT32_MAX : UINT64_MAX, top = 1ULL << (width - 1);

	if (i->smin >= 0 || i->smax < 0) {
		i->umin = max((u64)i->smin & all, i->umin);
		i->umax = min((u64)i->smax & all, i->umax);
		i->smin = width == 32 ? (s64)(s32)i->umin : (s64)i->umin;
		i->smax = width == 32 ? (s64)(s32)i->umax : (s64)i->umax;
		return;
	}
	if (i->umax < top) { /* never negative */
		i->smin = (s64)i->umin;
		i->smax = (s64)min(i->umax, (u64)i->smax);
		i->umax = (u64)i->smax;
	} else if (i->umin >= top) { /* always negative */
		s64 low = width == 32 ? (s64)(s32)i->umin : (s64)i->umin;
		s64 high = width == 32 ? (s64)(s32)i->umax : (s64)i->umax;

		i->smin = max(low, i->smin);
		i->smax = high;
		i->umin = (u64)i->smin & all;
	}
}

/* A 64-bit value that fits into 32 bits has the same interval in both widths. */
static void learn_half_from_whole(struct scalar *s)
{
	if (s->w.smin >= INT32_MIN && s->w.smax <= INT32_MAX) {
		s->h.smin = max(s->h.smin, s->w.smin);
		s->h.smax = min(s->h.smax, s->w.smax);
	}
	if (s->w.umax <= UINT32_MAX) {
		s->h.umin = max(s->h.umin, s->w.umin);
		s->h.umax = min(s->h.umax, s->w.umax);
	}
}

void scalar_sync(struct scalar *s)
{
	struct tnum low;

	for (int round = 0; round < 2; round++) {
		learn_from_bits(&s->w, s->bits, 64);
		learn_from_bits(&s->h, tnum_low(s->bits, 4), 32);
		learn_across_signs(&s->w, 64);
		learn_across_signs(&s->h, 32);
		if (round || scalar_contradicts(s))
			break;
		s->bits = tnum_and_both(s->bits, tnum_range(s->w.umin, s->w.umax));
		low = tnum_and_both(tnum_low(s->bits, 4), tnum_range(s->h.umin, s->h.umax));
		s->bits.value = (s->bits.value & ~(u64)UINT32_MAX) | low.value;
		s->bits.mask = (s->bits.mask & ~(u64)UINT32_MAX) | low.mask;
	}
}

bool scalar_contradicts(const struct scalar *s)
{
	return s->w.umin > s->w.umax || s->w.smin > s->w.smax || s->h.umin > s->h.umax || s->h.smin > s->h.smax;
}

static bool interval_within(const struct interval *big, const struct interval *small)
{
	return big->umin <= small->umin && big->umax >= small->umax && big->smin <= small->smin &&
	       big->smax >= small->smax;
}

bool scalar_within(const struct scalar *big, const struct scalar *small)
{
	return interval_within(&big->w, &small->w) && interval_within(&big->h, &small->h) &&
	       tnum_subset(big->bits, small->bits);
}

void scalar_zero_extend(struct scalar *s)
{
	s->bits = tnum_low(s->bits, 4);
	s->w = (struct interval){ s->h.umin, s->h.umax, 0, UINT32_MAX };
	s->w.smin = (s64)s->h.umin;
	s->w.smax = (s64)s->h.umax;
	scalar_sync(s);
}

void scalar_truncate(struct scalar *s, u32 bytes)
{
	u64 keep = bytes >= 8 ? ~0ULL : (1ULL << (bytes * 8)) - 1;

	if (bytes >= 8)
		return;
	s->bits = tnum_low(s->bits, bytes);
	if ((s->w.umin & ~keep) == (s->w.umax & ~keep)) {
		s->w.umin &= keep;
		s->w.umax &= keep;
	} else {
		s->w.umin = 0;
		s->w.umax = keep;
	}
	s->w.smin = (s64)s->w.umin;
	s->w.smax = (s64)s->w.umax;
	if (bytes < 4)
		s->h = full32;
	learn_half_from_whole(s);
	scalar_sync(s);
}

static void set_unsigned(struct interval *i, wide lo, wide hi, u32 width)
{
	bool fits = lo >= 0 && hi <= (width == 32 ? (wide)UINT32_MAX : (wide)UINT64_MAX);

	i->umin = fits ? (u64)lo : 0;
	i->umax = fits ? (u64)hi : width == 32 ? UINT32_MAX : UINT64_MAX;
}

static void set_signed(struct interval *i, wide lo, wide hi, u32 width)
{
	bool fits = lo >= (width == 32 ? INT32_MIN : INT64_MIN) && hi <= (width == 32 ? INT32_MAX : INT64_MAX);

	i->smin = fits ? (s64)lo : width == 32 ? INT32_MIN : INT64_MIN;
	i->smax = fits ? (s64)hi : width == 32 ? INT32_MAX : INT64_MAX;
}

static void interval_add(struct interval *d, const struct interval *s, u32 width)
{
	set_signed(d, (wide)d->smin + s->smin, (wide)d->smax + s->smax, width);
	set_unsigned(d, (wide)d->umin + s->umin, (wide)d->umax + s->umax, width);
}

static void interval_sub(struct interval *d, const struct interval *s, u32 width)
{
	set_signed(d, (wide)d->smin - s->smax, (wide)d->smax - s->smin, width);
	set_unsigned(d, (wide)d->umin - s->umax, (wide)d->umax - s->umin, width);
}

/* Signed views of a result that is known to be a plain unsigned interval. */
static void signed_from_unsigned(struct interval *d, u32 width)
{
	u64 top = 1ULL << (width - 1);

	if (d->umax < top)
		set_signed(d, d->umin, d->umax, width);
	else
		set_signed(d, -((wide)1 << 100), 0, width); /* does not fit: anything */
}

static void interval_mul(struct interval *d, const struct interval *s, u32 width)
{
	u64 small = width == 32 ? UINT16_MAX : UINT32_MAX;

	if (d->smin < 0 || s->smin < 0 || d->umax > small || s->umax > small) {
		*d = width == 32 ? full32 : full64;
		return;
	}
	d->umin *= s->umin;
	d->umax *= s->umax;
	signed_from_unsigned(d, width);
}

static void interval_bitwise(struct interval *d, const struct interval *s, struct tnum result, u8 op, u32 width)
{
	bool negative = d->smin < 0 || s->smin < 0;

	if (op == BPF_OR)
		d->umin = max(d->umin, s->umin);
	else
		d->umin = result.value;
	d->umax = op == BPF_AND ? min(d->umax, s->umax) : result.value | result.mask;
	if (negative)
		set_signed(d, -((wide)1 << 100), 0, width);
	else
		signed_from_unsigned(d, width);
}

static void interval_lsh(struct interval *d, u32 n, u32 width)
{
	u64 limit = (width == 32 ? UINT32_MAX : UINT64_MAX) >> n;
	bool sext32 = width == 64 && n == 32 && d->smin >= INT32_MIN && d->smax <= INT32_MAX;
	s64 smin = d->smin, smax = d->smax;

	if (d->umax > limit) {
		*d = width == 32 ? full32 : full64;
	} else {
		d->umin <<= n;
		d->umax <<= n;
		signed_from_unsigned(d, width);
	}
	if (sext32) { /* the usual prelude of a sign extension: the low half moves up whole */
		d->smin = (s64)((u64)smin << 32);
		d->smax = (s64)((u64)smax << 32);
	}
}

static void interval_rsh(struct interval *d, u32 n, u32 width)
{
	d->umin >>= n;
	d->umax >>= n;
	signed_from_unsigned(d, width);
}

static void interval_arsh(struct interval *d, u32 n, u32 width)
{
	d->smin >>= n;
	d->smax >>= n;
	d->umin = 0;
	d->umax = width == 32 ? UINT32_MAX : UINT64_MAX;
}

static struct tnum tnum_alu(struct tnum a, struct tnum b, u8 op, u32 width)
{
	u32 n = b.value & (width - 1);

	switch (op) {
	case BPF_ADD: return tnum_add(a, b);
	case BPF_SUB: return tnum_sub(a, b);
	case BPF_MUL: return tnum_mul(a, b);
	case BPF_AND: return tnum_and(a, b);
	case BPF_OR: return tnum_or(a, b);
	case BPF_XOR: return tnum_xor(a, b);
	case BPF_LSH: return tnum_lsh(a, n);
	case BPF_RSH: return (struct tnum){ a.value >> n, a.mask >> n };
	case BPF_ARSH: return tnum_sar(a, n, width);
	}
	return TNUM_UNKNOWN;
}

static void interval_alu(struct interval *d, const struct interval *s, struct tnum result, u8 op, u32 width)
{
	u32 n = s->umin & (width - 1);

	switch (op) {
	case BPF_ADD: interval_add(d, s, width); break;
	case BPF_SUB: interval_sub(d, s, width); break;
	case BPF_MUL: interval_mul(d, s, width); break;
	case BPF_AND:
	case BPF_OR:
	case BPF_XOR: interval_bitwise(d, s, result, op, width); break;
	case BPF_LSH: interval_lsh(d, n, width); break;
	case BPF_RSH: interval_rsh(d, n, width); break;
	case BPF_ARSH: interval_arsh(d, n, width); break;
	default: *d = width == 32 ? full32 : full64;
	}
}

static bool is_shift(u8 op)
{
	return op == BPF_LSH || op == BPF_RSH || op == BPF_ARSH;
}

void scalar_alu(struct scalar *d, const struct scalar *s, u8 op, bool is64)
{
	struct tnum b = is64 ? s->bits : tnum_low(s->bits, 4);
	bool known = tnum_is_const(b), oversized = is_shift(op) && b.value >= (is64 ? 64 : 32);
	struct tnum half;

	if ((!known && op != BPF_ADD && op != BPF_SUB && op != BPF_AND) || (known && oversized) || op == BPF_DIV ||
	    op == BPF_MOD) {
		scalar_set_unknown(d);
		if (!is64)
			scalar_zero_extend(d);
		return;
	}
	half = tnum_low(tnum_alu(tnum_low(d->bits, 4), tnum_low(s->bits, 4), op, 32), 4);
	if (is64) {
		d->bits = tnum_alu(d->bits, s->bits, op, 64);
		interval_alu(&d->w, &s->w, d->bits, op, 64);
		if (op == BPF_RSH || op == BPF_ARSH || (op == BPF_LSH && b.value >= 32))
			d->h = full32; /* bits of the high half move in */
		else
			interval_alu(&d->h, &s->h, half, op, 32);
		if (is_shift(op))
			learn_half_from_whole(d);
		scalar_sync(d);
	} else {
		d->bits = half;
		interval_alu(&d->h, &s->h, half, op, 32);
		scalar_zero_extend(d);
	}
}

void scalar_offset(struct scalar *d, const struct scalar *a, const struct scalar *b, bool subtract)
{
	struct scalar sum = *a;

	if (subtract) {
		interval_sub(&sum.w, &b->w, 64);
		sum.bits = tnum_sub(a->bits, b->bits);
	} else {
		interval_add(&sum.w, &b->w, 64);
		sum.bits = tnum_add(a->bits, b->bits);
	}
	sum.h = full32;
	scalar_sync(&sum);
	*d = sum;
}

int scalar_decide(const struct scalar *s, u64 imm, u8 op, bool is64)
{
	const struct interval *i = is64 ? &s->w : &s->h;
	struct tnum t = is64 ? s->bits : tnum_low(s->bits, 4);
	u64 u = is64 ? imm : (u32)imm;
	s64 v = is64 ? (s64)imm : (s64)(s32)imm;

	switch (op) {
	case BPF_JEQ:
		if (tnum_is_const(t))
			return t.value == u;
		return u < i->umin || u > i->umax || v < i->smin || v > i->smax ? 0 : -1;
	case BPF_JNE:
		if (tnum_is_const(t))
			return t.value != u;
		return u < i->umin || u > i->umax || v < i->smin || v > i->smax ? 1 : -1;
	case BPF_JSET: return t.value & u ? 1 : (t.value | t.mask) & u ? -1 : 0;
	case BPF_JGT: return i->umin > u ? 1 : i->umax <= u ? 0 : -1;
	case BPF_JGE: return i->umin >= u ? 1 : i->umax < u ? 0 : -1;
	case BPF_JLT: return i->umax < u ? 1 : i->umin >= u ? 0 : -1;
	case BPF_JLE: return i->umax <= u ? 1 : i->umin > u ? 0 : -1;
	case BPF_JSGT: return i->smin > v ? 1 : i->smax <= v ? 0 : -1;
	case BPF_JSGE: return i->smin >= v ? 1 : i->smax < v ? 0 : -1;
	case BPF_JSLT: return i->smax < v ? 1 : i->smin >= v ? 0 : -1;
	case BPF_JSLE: return i->smax <= v ? 1 : i->smin > v ? 0 : -1;
	}
	return -1;
}

static u8 negate(u8 op)
{
	switch (op) {
	case BPF_JEQ: return BPF_JNE;
	case BPF_JNE: return BPF_JEQ;
	case BPF_JGT: return BPF_JLE;
	case BPF_JGE: return BPF_JLT;
	case BPF_JLT: return BPF_JGE;
	case BPF_JLE: return BPF_JGT;
	case BPF_JSGT: return BPF_JSLE;
	case BPF_JSGE: return BPF_JSLT;
	case BPF_JSLT: return BPF_JSGE;
	case BPF_JSLE: return BPF_JSGT;
	}
	return op;
}

/* Facts about single bits: equality fixes them all, a test of a mask fixes those that it can. */
static void learn_bits(struct scalar *s, u64 u, u8 op, bool is64, bool taken)
{
	u64 scope = is64 ? ~0ULL : UINT32_MAX;

	if (op == BPF_JEQ) {
		s->bits.value = (s->bits.value & ~scope) | u;
		s->bits.mask &= ~scope;
	} else if (op == BPF_JSET && !taken) {
		s->bits.value &= ~u;
		s->bits.mask &= ~u;
	} else if (op == BPF_JSET && u && !(u & (u - 1))) {
		s->bits.value |= u;
		s->bits.mask &= ~u;
	}
}

void scalar_learn(struct scalar *s, u64 imm, u8 op, bool is64, bool taken)
{
	struct interval *i = is64 ? &s->w : &s->h;
	u64 u = is64 ? imm : (u32)imm;
	s64 v = is64 ? (s64)imm : (s64)(s32)imm;

	if (!taken)
		op = negate(op);
	switch (op) {
	case BPF_JEQ: *i = (struct interval){ u, u, v, v }; break;
	case BPF_JGT: i->umin = max(i->umin, u + 1); break;
	case BPF_JGE: i->umin = max(i->umin, u); break;
	case BPF_JLT: i->umax = min(i->umax, u - 1); break;
	case BPF_JLE: i->umax = min(i->umax, u); break;
	case BPF_JSGT: i->smin = max(i->smin, v + 1); break;
	case BPF_JSGE: i->smin = max(i->smin, v); break;
	case BPF_JSLT: i->smax = min(i->smax, v - 1); break;
	case BPF_JSLE: i->smax = min(i->smax, v); break;
	}
	learn_bits(s, u, op, is64, taken);
	if (is64)
		learn_half_from_whole(s);
	scalar_sync(s);
	/* A 32-bit fact says something of the whole when the high half is known to be 0. */
	if (!is64 && !(s->bits.mask >> 32) && !(s->bits.value >> 32)) {
		s->w.umin = max(s->w.umin, s->h.umin);
		s->w.umax = min(s->w.umax, s->h.umax);
		scalar_sync(s);
	}
}
