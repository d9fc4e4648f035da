/* SPDX-License-Identifier: MIT
 *
 * Problem: older programs bring filters of another machine: an accumulator A, an index X, sixteen words of memory
 * (SO_ATTACH_FILTER for packets, seccomp for system calls).
 *
 * Idea: check the filter by the rules of that machine, write the same as eBPF and let the verifier judge it like any
 * other program. Two passes: the first only learns where each instruction's translation begins.
 *
 *      A is r0, X is r7, the context r6, a copy of A while a helper runs r8; word n of the memory is at fp-4(n+1)
 *
 * Contract: bpf_from_classic and bpf_prog_classic of bpf/prog.h. Rules of a filter: Linux's
 * Documentation/networking/filter.rst; codes and ancillary offsets: <linux/filter.h>. A load outside the packet ends
 * the filter with 0, as does a division by X when X is 0.
 *
 * Locks: none.
 */
#include <bpf/asm.h>
#include <linux/filter.h>
#include <linux/seccomp.h>

#include "sys_priv.h"

#define A   0
#define X   7
#define CTX 6
#define TMP 8

struct out {
	struct bpf_insn *insns; /* NULL: only count */
	u32 max, len;
	const u32 *start; /* of each classic instruction */
	bool *reached;    /* by instruction; what no way leads to is left out, eBPF does not allow it */
	bool seccomp;
};

/* ---- the rules -------------------------------------------------------------------------------------------------- */

static bool is_known(u16 code)
{
	static const u16 others[] = {
		BPF_ALU | BPF_NEG,
		BPF_LD | BPF_W | BPF_ABS,
		BPF_LD | BPF_H | BPF_ABS,
		BPF_LD | BPF_B | BPF_ABS,
		BPF_LD | BPF_W | BPF_LEN,
		BPF_LD | BPF_W | BPF_IND,
		BPF_LD | BPF_H | BPF_IND,
		BPF_LD | BPF_B | BPF_IND,
		BPF_LD | BPF_IMM,
		BPF_LD | BPF_MEM,
		BPF_LDX | BPF_W | BPF_LEN,
		BPF_LDX | BPF_B | BPF_MSH,
		BPF_LDX | BPF_IMM,
		BPF_LDX | BPF_MEM,
		BPF_ST,
		BPF_STX,
		BPF_MISC | BPF_TAX,
		BPF_MISC | BPF_TXA,
		BPF_RET | BPF_K,
		BPF_RET | BPF_A,
		BPF_JMP | BPF_JA,
	};
	u16 op = BPF_OP(code), rest = code & ~(u16)(0xf0 | BPF_X);

	if (code <= 0xff && rest == BPF_ALU && op <= BPF_XOR && op != BPF_NEG)
		return true;
	if (code <= 0xff && rest == BPF_JMP && op >= BPF_JEQ && op <= BPF_JSET)
		return true;
	for (u32 i = 0; i < ARRAY_SIZE(others); i++)
		if (code == others[i])
			return true;
	return false;
}

/* Of a system call a filter sees aligned words. */
static bool seccomp_allows(const struct sock_filter *f)
{
	switch (BPF_CLASS(f->code)) {
	case BPF_LD:
		if (BPF_MODE(f->code) == BPF_ABS)
			return BPF_SIZE(f->code) == BPF_W && f->k < sizeof(struct seccomp_data) && f->k % 4 == 0;
		return BPF_MODE(f->code) != BPF_IND;
	case BPF_LDX: return BPF_MODE(f->code) != BPF_MSH;
	case BPF_ALU: return BPF_OP(f->code) != BPF_MOD;
	}
	return true;
}

static bool is_ancillary(const struct sock_filter *f)
{
	return BPF_CLASS(f->code) == BPF_LD && BPF_MODE(f->code) == BPF_ABS && f->k >= (u32)SKF_AD_OFF;
}

static bool ancillary_known(u32 k)
{
	switch (k - (u32)SKF_AD_OFF) {
	case SKF_AD_PROTOCOL:
	case SKF_AD_PKTTYPE:
	case SKF_AD_IFINDEX:
	case SKF_AD_MARK:
	case SKF_AD_QUEUE:
	case SKF_AD_RXHASH:
	case SKF_AD_CPU:
	case SKF_AD_ALU_XOR_X:
	case SKF_AD_VLAN_TAG:
	case SKF_AD_VLAN_TAG_PRESENT:
	case SKF_AD_VLAN_TPID:
	case SKF_AD_RANDOM: return true;
	}
	return false;
}

static int check_one(const struct sock_filter *f, u32 at, u32 len, bool seccomp)
{
	u32 left = len - at - 1;
	u16 op = BPF_OP(f->code);

	if (!is_known(f->code) || (seccomp && !seccomp_allows(f)))
		return fail(EINVAL, "filter instruction %u: code %#x", at, f->code);
	if (is_ancillary(f) && !seccomp && !ancillary_known(f->k))
		return fail(EINVAL, "filter instruction %u: no ancillary field %d", at, (s32)f->k);
	switch (BPF_CLASS(f->code)) {
	case BPF_ALU:
		if (BPF_SRC(f->code) == BPF_X)
			return 0;
		return ((op == BPF_DIV || op == BPF_MOD) && !f->k) || ((op == BPF_LSH || op == BPF_RSH) && f->k > 31)
			       ? -EINVAL
			       : 0;
	case BPF_LD:
	case BPF_LDX: return BPF_MODE(f->code) == BPF_MEM && f->k >= BPF_MEMWORDS ? -EINVAL : 0;
	case BPF_ST:
	case BPF_STX: return f->k >= BPF_MEMWORDS ? -EINVAL : 0;
	case BPF_JMP:
		if (op == BPF_JA)
			return f->k >= left ? -EINVAL : 0;
		return f->jt >= left || f->jf >= left ? -EINVAL : 0;
	}
	return 0;
}

/* Each word of the memory that is read was written before, on every way: which ones are, by instruction. */
static int check_memory(const struct sock_filter *in, u32 len)
{
	u16 *valid = kmalloc(len * sizeof(*valid), 0), now = 0xffff;
	int err = valid ? 0 : -ENOMEM;

	if (valid)
		memset(valid, 0xff, len * sizeof(*valid));
	now = 0;
	for (u32 i = 0; !err && i < len; i++) {
		const struct sock_filter *f = &in[i];
		u8 class = BPF_CLASS(f->code);

		now &= valid[i];
		if (class == BPF_ST || class == BPF_STX) {
			now |= 1U << f->k;
		} else if ((class == BPF_LD || class == BPF_LDX) && BPF_MODE(f->code) == BPF_MEM) {
			if (!(now >> f->k & 1))
				err = fail(EINVAL, "filter instruction %u reads word %u before it is written", i, f->k);
		} else if (f->code == (BPF_JMP | BPF_JA)) {
			valid[i + 1 + f->k] &= now;
			now = 0xffff;
		} else if (class == BPF_JMP) {
			valid[i + 1 + f->jt] &= now;
			valid[i + 1 + f->jf] &= now;
			now = 0xffff;
		}
	}
	kfree(valid);
	return err;
}

static int check(const struct sock_filter *in, u32 len, bool seccomp)
{
	u16 last = len ? in[len - 1].code : 0;

	if (!len || len > BPF_MAXINSNS)
		return fail(EINVAL, "filter of %u instructions", len);
	for (u32 i = 0; i < len; i++) {
		int err = check_one(&in[i], i, len, seccomp);

		if (err)
			return err;
	}
	if (last != (BPF_RET | BPF_K) && last != (BPF_RET | BPF_A))
		return fail(EINVAL, "the filter does not end in a return");
	return check_memory(in, len);
}

/* ---- the translation --------------------------------------------------------------------------------------------- */

static void put(struct out *o, struct bpf_insn insn)
{
	if (o->insns && o->len < o->max)
		o->insns[o->len] = insn;
	o->len++;
}

static s16 word_at(u32 k)
{
	return -(s16)(4 * (k + 1));
}

static s16 to(const struct out *o, u32 target)
{
	o->reached[target] = true;
	return o->start ? (s16)((s32)o->start[target] - (s32)(o->len + 1)) : 0;
}

static void field(struct out *o, u32 off)
{
	put(o, LDX(W, A, CTX, (s16)off));
}

#define SKB(m) offsetof(struct __sk_buff, m)

static void ancillary(struct out *o, u32 what)
{
	switch (what) {
	case SKF_AD_PROTOCOL:
	case SKF_AD_VLAN_TPID:
		field(o, what == SKF_AD_PROTOCOL ? SKB(protocol) : SKB(vlan_proto));
		put(o, BSWAP(A, 16));
		break;
	case SKF_AD_PKTTYPE: field(o, SKB(pkt_type)); break;
	case SKF_AD_IFINDEX: field(o, SKB(ifindex)); break;
	case SKF_AD_MARK: field(o, SKB(mark)); break;
	case SKF_AD_QUEUE: field(o, SKB(queue_mapping)); break;
	case SKF_AD_RXHASH: field(o, SKB(hash)); break;
	case SKF_AD_VLAN_TAG: field(o, SKB(vlan_tci)); break;
	case SKF_AD_VLAN_TAG_PRESENT: field(o, SKB(vlan_present)); break;
	case SKF_AD_CPU: put(o, CALL(get_smp_processor_id)); break;
	case SKF_AD_RANDOM: put(o, CALL(get_prandom_u32)); break;
	case SKF_AD_ALU_XOR_X: put(o, ALUR32(XOR, A, X)); break;
	}
}

static void load(struct out *o, const struct sock_filter *f)
{
	u32 dst = BPF_CLASS(f->code) == BPF_LDX ? X : A;

	switch (BPF_MODE(f->code)) {
	case BPF_IMM: put(o, MOV32(dst, (s32)f->k)); return;
	case BPF_MEM: put(o, LDX(W, dst, BPF_REG_10, word_at(f->k))); return;
	case BPF_LEN:
		if (o->seccomp)
			put(o, MOV32(dst, sizeof(struct seccomp_data)));
		else
			put(o, LDX(W, dst, CTX, offsetof(struct __sk_buff, len)));
		return;
	case BPF_MSH: /* the length of an IP header, from its first byte */
		put(o, MOVR(TMP, A));
		put(o, LDABS(B, (s32)f->k));
		put(o, ALU32(AND, A, 0xf));
		put(o, ALU32(LSH, A, 2));
		put(o, MOVR(X, A));
		put(o, MOVR(A, TMP));
		return;
	case BPF_IND: put(o, BI(BPF_LD | BPF_IND | BPF_SIZE(f->code), 0, X, 0, (s32)f->k)); return;
	}
	if (o->seccomp)
		put(o, LDX(W, A, CTX, (s16)f->k));
	else if (is_ancillary(f))
		ancillary(o, f->k - (u32)SKF_AD_OFF);
	else
		put(o, BI(BPF_LD | BPF_ABS | BPF_SIZE(f->code), 0, 0, 0, (s32)f->k));
}

static void arithmetic(struct out *o, const struct sock_filter *f)
{
	u8 op = BPF_OP(f->code);

	if (BPF_SRC(f->code) != BPF_X) {
		put(o, BI(BPF_ALU | op | BPF_K, A, 0, 0, op == BPF_NEG ? 0 : (s32)f->k));
		return;
	}
	if (op == BPF_DIV || op == BPF_MOD) {
		put(o, JMP32(JNE, X, 0, 2));
		put(o, MOV32(A, 0));
		put(o, EXIT());
	}
	put(o, BI(BPF_ALU | op | BPF_X, A, X, 0, 0));
}

static void jump(struct out *o, const struct sock_filter *f, u32 i)
{
	u8 op = BPF_OP(f->code);
	bool with_x = BPF_SRC(f->code) == BPF_X;

	if (op == BPF_JA) {
		put(o, BI(BPF_JMP | BPF_JA, 0, 0, to(o, i + 1 + f->k), 0));
		return;
	}
	o->reached[i + 1 + f->jf] = true;
	put(o, BI(BPF_JMP32 | op | (with_x ? BPF_X : BPF_K), A, with_x ? X : 0, to(o, i + 1 + f->jt),
		  with_x ? 0 : (s32)f->k));
	if (f->jf)
		put(o, BI(BPF_JMP | BPF_JA, 0, 0, to(o, i + 1 + f->jf), 0));
}

static void translate_one(struct out *o, const struct sock_filter *f, u32 i)
{
	switch (BPF_CLASS(f->code)) {
	case BPF_LD:
	case BPF_LDX: load(o, f); return;
	case BPF_ST: put(o, STX(W, BPF_REG_10, word_at(f->k), A)); return;
	case BPF_STX: put(o, STX(W, BPF_REG_10, word_at(f->k), X)); return;
	case BPF_ALU: arithmetic(o, f); return;
	case BPF_JMP: jump(o, f, i); return;
	case BPF_RET:
		if (BPF_RVAL(f->code) == BPF_K)
			put(o, MOV32(A, (s32)f->k));
		put(o, EXIT());
		return;
	}
	if (BPF_MISCOP(f->code) == BPF_TAX)
		put(o, MOVR32(X, A));
	else
		put(o, MOVR32(A, X));
}

static bool falls_through(const struct sock_filter *f)
{
	u8 class = BPF_CLASS(f->code);

	return class != BPF_RET && class != BPF_JMP;
}

static void translate(struct out *o, const struct sock_filter *in, u32 len, u32 *start)
{
	o->len = 0;
	put(o, MOVR(CTX, BPF_REG_1));
	put(o, MOV32(A, 0));
	put(o, MOV32(X, 0));
	o->reached[0] = true;
	for (u32 i = 0; i < len; i++) {
		start[i] = o->len;
		if (!o->reached[i])
			continue;
		if (falls_through(&in[i]))
			o->reached[i + 1] = true;
		translate_one(o, &in[i], i);
	}
}

int bpf_from_classic(const struct sock_filter *in, u32 len, bool seccomp, struct bpf_insn *out, u32 max)
{
	struct out o = { .seccomp = seccomp };
	int err = check(in, len, seccomp);
	u32 *start;

	if (err)
		return err;
	start = kzalloc(len * (sizeof(*start) + sizeof(*o.reached)), 0);
	if (!start)
		return -ENOMEM;
	o.reached = (bool *)(start + len);
	translate(&o, in, len, start);
	if (out) {
		o.insns = out;
		o.max = max;
		o.start = start;
		translate(&o, in, len, start);
	}
	kfree(start);
	return (int)o.len;
}

int bpf_prog_classic(const struct sock_filter *in, u32 len, bool seccomp, struct bpf_prog **out)
{
	struct bpf_load l = { .type = seccomp ? BPF_PROG_TYPE_UNSPEC : BPF_PROG_TYPE_SOCKET_FILTER,
			      .rights = { true, true, true, true } };
	int n = bpf_from_classic(in, len, seccomp, NULL, 0);
	struct bpf_insn *insns;

	if (n < 0)
		return n;
	insns = big_alloc(n, sizeof(*insns));
	if (!insns)
		return -ENOMEM;
	l.insns = insns;
	l.len = (u32)bpf_from_classic(in, len, seccomp, insns, n);
	n = bpf_prog_new(&l, out);
	big_free(insns);
	return n;
}
