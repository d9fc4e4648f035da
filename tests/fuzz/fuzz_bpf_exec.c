/* SPDX-License-Identifier: MIT
 *
 * Problem: a program that the verifier accepts must never leave its objects, and interpreter and compiler must agree.
 *
 * Idea: bytes become a near-valid program (initialised registers, forward and bounded backward jumps, pointers into
 * stack, packet, map values with variable offsets, spills, subprograms). If it is accepted, three evaluators run it on
 * the same input: the interpreter (under ASan), the compiled code, and a third one written here, that checks every
 * access against a table of the objects. Results, packet, map value and context must be the same. The programs of the
 * privileged may compute with addresses and with stack that nobody wrote, which differ from run to run: the third
 * evaluator follows through registers and bytes what came from there, and only that is not compared. Raw bytes as
 * instructions are tried as well, they need only not crash.
 *
 * Contract: libFuzzer; aborts at a disagreement. Locks: none.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <bpf/asm.h>
#include <bpf/ctx.h>
#include <bpf/helper.h>
#include <bpf/prog.h>
#include <core/log.h>

#define MAP      3
#define VALUE    64
#define PACKET   48
#define PREAMBLE 29 /* instructions */
#define MAX      220

int LLVMFuzzerTestOneInput(const u8 *data, size_t size);

/* For tests/unit/test_bpf_agree.c. */
extern u64 fuzz_accepted, fuzz_compared;
extern u32 fuzz_budget;
u64 fuzz_accepted, fuzz_compared;
u32 fuzz_budget; /* of the verifier */

static struct bpf_map *map;
static u8 *code;

struct gen {
	const u8 *p, *end;
	struct bpf_insn out[MAX + 64];
	u32 n;
	bool privileged; /* what others may never do is mostly left out: it would only be refused */
};

static u32 take(struct gen *g)
{
	return g->p < g->end ? *g->p++ : 0;
}

static void emit(struct gen *g, struct bpf_insn i)
{
	if (g->n < MAX + 60)
		g->out[g->n++] = i;
}

static s32 number(struct gen *g)
{
	static const s32 edges[] = { 0,  1,  -1,  2,   7,    8,         15,        16, 31,   32,
				     63, 64, 255, 256, 4096, INT32_MAX, INT32_MIN, -8, -512, 48 };
	u32 t = take(g);

	return t < 160 ? edges[t % ARRAY_SIZE(edges)] : (s32)(take(g) | take(g) << 8 | take(g) << 16 | take(g) << 24);
}

/* r0, r2-r5 are numbers or dead after calls; r6 ctx, r7 map value, r8 packet, r9 number. */
static u32 any_reg(struct gen *g)
{
	static const u8 numbers[] = { 0, 2, 3, 4, 5, 9 }, pointers[] = { 1, 6, 7, 8 };
	u32 t = take(g);

	return t < 2 ? pointers[t * 2 + (g->n & 1)] : numbers[t % 6];
}

static void one_alu(struct gen *g)
{
	static const u8 ops[] = { BPF_ADD, BPF_SUB, BPF_MUL, BPF_DIV,  BPF_OR,  BPF_AND, BPF_LSH, BPF_RSH,
				  BPF_MOD, BPF_XOR, BPF_MOV, BPF_ARSH, BPF_AND, BPF_AND, BPF_RSH, BPF_NEG };
	u8 op = ops[take(g) & 15], class = take(g) & 1 ? BPF_ALU64 : BPF_ALU;
	u32 d = any_reg(g), s = any_reg(g);
	s32 imm = number(g);

	if (op == BPF_LSH || op == BPF_RSH || op == BPF_ARSH)
		imm &= class == BPF_ALU64 ? 63 : 31;
	if ((op == BPF_DIV || op == BPF_MOD) && !imm)
		imm = 3;
	if (op == BPF_NEG)
		emit(g, BI(class | BPF_NEG, d, 0, 0, 0));
	else if (take(g) & 1)
		emit(g, BI(class | op | BPF_X, d, s, 0, 0));
	else
		emit(g, BI(class | op | BPF_K, d, 0, 0, imm));
}

static void one_swap(struct gen *g)
{
	static const s32 bits[] = { 16, 32, 64, 16 };

	emit(g, BI(BPF_ALU | BPF_END | (take(g) & 1 ? BPF_TO_BE : BPF_TO_LE), any_reg(g), 0, 0, bits[take(g) & 3]));
}

/* mark, priority, tc_index and cb[] may be written; the length may be read. */
static void one_context(struct gen *g)
{
	static const u8 fields[] = { 8, 32, 44, 48, 52, 56, 60, 64, 0 };
	u32 field = fields[take(g) % ARRAY_SIZE(fields)], r = any_reg(g);

	if (take(g) & 1 || !field)
		emit(g, BI(BPF_LDX | BPF_MEM | BPF_W, r, 6, (s16)field, 0));
	else
		emit(g, BI(BPF_STX | BPF_MEM | BPF_W, 6, r, (s16)field, 0));
}

static void one_branch(struct gen *g)
{
	static const u8 ops[] = { BPF_JEQ,  BPF_JGT, BPF_JGE, BPF_JSET, BPF_JNE, BPF_JSGT,
				  BPF_JSGE, BPF_JLT, BPF_JLE, BPF_JSLT, BPF_JSLE };
	u8 op = ops[take(g) % ARRAY_SIZE(ops)], class = take(g) & 1 ? BPF_JMP : BPF_JMP32;
	u32 d = any_reg(g), s = any_reg(g);
	s16 off = 1 + take(g) % 12;

	if (take(g) & 1)
		emit(g, BI(class | op | BPF_X, d, s, off, 0));
	else
		emit(g, BI(class | op | BPF_K, d, 0, off, number(g)));
}

static void one_stack(struct gen *g)
{
	static const u8 sizes[] = { BPF_B, BPF_H, BPF_W, BPF_DW };
	u32 z = g->privileged || take(g) < 8 ? take(g) & 3 : 3, step = 1 << z;
	s16 off = -(s16)((1 + take(g) % (48 >> z)) * step);
	u32 r = any_reg(g);

	switch (take(g) % (g->privileged || take(g) < 8 ? 4 : 3)) {
	case 0: emit(g, BI(BPF_STX | BPF_MEM | sizes[z], 10, r, off, 0)); break;
	case 1: emit(g, BI(BPF_ST | BPF_MEM | sizes[z], 10, 0, off, number(g))); break;
	case 2: emit(g, BI(BPF_LDX | BPF_MEM | sizes[z], r, 10, off, 0)); break;
	case 3: { /* variable offset */
		u32 by = any_reg(g);

		emit(g, ALU(AND, by, 15 & ~(step - 1)));
		emit(g, MOVR(1, 10));
		emit(g, ALU(ADD, 1, -32));
		emit(g, ALUR(ADD, 1, by));
		emit(g, take(g) & 1 ? BI(BPF_STX | BPF_MEM | sizes[z], 1, r, 0, 0)
				    : BI(BPF_LDX | BPF_MEM | sizes[z], r, 1, 0, 0));
	}
	}
}

/* Through the map value (r7) or the packet (r8), bounded or not: the verifier decides. */
static void one_object(struct gen *g)
{
	static const u8 sizes[] = { BPF_B, BPF_H, BPF_W, BPF_DW };
	u32 base = take(g) & 1 ? 7 : 8, z = take(g) & 3, r = any_reg(g), by = any_reg(g), w = 0;
	u32 t = take(g), shapes = base == 7 || t == 7 ? 4 : 3; /* atomics belong to maps */
	s16 off = t < 4 ? (s16)(t * 20) - 4 : (s16)(t % 3 * 8);

	if (take(g) & 1 && (g->privileged || base == 7 || t == 8)) {
		emit(g, MOVR(1, base));
		if (take(g) & 1)
			emit(g, ALU(AND, by, t == 5 ? 63 : 15));
		else
			emit(g, JMP(JGT, by, t == 6 ? 40 : 14, 3));
		emit(g, ALUR(ADD, 1, by));
		base = 1;
	}
	switch (take(g) % shapes) {
	case 0: emit(g, BI(BPF_STX | BPF_MEM | sizes[z], base, r, off, 0)); break;
	case 1: emit(g, BI(BPF_ST | BPF_MEM | sizes[z], base, 0, off, number(g))); break;
	case 2: emit(g, BI(BPF_LDX | BPF_MEM | sizes[z], r, base, off, 0)); break;
	case 3: {
		static const s32 ops[] = { BPF_ADD,
					   BPF_AND,
					   BPF_OR,
					   BPF_XOR,
					   BPF_ADD | BPF_FETCH,
					   BPF_AND | BPF_FETCH,
					   BPF_OR | BPF_FETCH,
					   BPF_XOR | BPF_FETCH,
					   BPF_XCHG,
					   BPF_CMPXCHG };
		w = take(g) & 1;
		emit(g, BI(BPF_STX | BPF_ATOMIC | (w ? BPF_DW : BPF_W), base, r, off & (w ? ~7 : ~3),
			   ops[take(g) % ARRAY_SIZE(ops)]));
	}
	}
}

static void one_loop(struct gen *g)
{
	s32 rounds = 1 + take(g) % 9;
	u32 start, r = any_reg(g);

	emit(g, ST(D, 10, -56, 0));
	start = g->n;
	emit(g, LDX(D, 1, 10, -56));
	emit(g, ALU(ADD, 1, 1));
	emit(g, STX(D, 10, -56, 1));
	one_alu(g);
	emit(g, take(g) & 1 ? ALUR(ADD, r, 1) : ALUR(XOR, r, 1));
	emit(g, LDX(D, 1, 10, -56));
	emit(g, JMP(JLT, 1, rounds, (s16)(start - g->n - 1)));
}

static void preamble(struct gen *g)
{
	const struct bpf_insn head[PREAMBLE] = {
		MOVR(6, 1),
		LDX(W, 8, 6, 76),
		LDX(W, 3, 6, 80),
		MOVR(4, 8),
		ALU(ADD, 4, 40),
		JMPR(JGT, 4, 3, 9),
		ST(W, 10, -4, 0),
		MOVR(2, 10),
		ALU(ADD, 2, -4),
		LDMAP(1, MAP),
		CALL(map_lookup_elem),
		JMP(JNE, 0, 0, 2),
		MOV(0, 0),
		EXIT(),
		MOVR(7, 0),
		LDX(W, 9, 6, 8),
		LDX(D, 0, 7, 0),
		LDX(W, 2, 8, 0),
		LDX(B, 3, 8, 9),
		LDX(H, 4, 7, 8),
		MOV(5, 5),
		ST(D, 10, -8, 1),
		ST(D, 10, -16, 2),
		ST(D, 10, -24, 3),
		ST(D, 10, -32, 4),
		ST(D, 10, -40, 5),
		ST(D, 10, -48, 6),
		MOV(1, 1),
	};

	for (u32 i = 0; i < ARRAY_SIZE(head); i++)
		emit(g, head[i]);
	g->out[5].off = 7; /* to the early exit */
}

static void generate(struct gen *g)
{
	bool sub = take(g) & 1;
	u32 body = 0;

	preamble(g);
	if (sub) {
		emit(g, CALLSUB(0));
		body = g->n;
		for (u32 r = 1; r <= 5; r++) /* they died in the call */
			emit(g, LDX(B, r, 8, (s16)(r * 5)));
	}
	for (u32 k = 0; k < 40 && g->p < g->end && g->n < MAX; k++) {
		switch (take(g) % 10) {
		case 0:
		case 1:
		case 2: one_alu(g); break;
		case 3: one_branch(g); break;
		case 4: one_stack(g); break;
		case 5:
		case 6: one_object(g); break;
		case 7: one_loop(g); break;
		case 8: one_swap(g); break;
		case 9: one_context(g); break;
		}
	}
	for (int i = 0; i < 13; i++) /* wherever a jump ends */
		emit(g, MOV(1, i));
	emit(g, EXIT());
	if (sub) {
		g->out[body - 1].imm = (s32)(g->n - body);
		for (u32 k = 0; k < 6; k++) {
			emit(g, ALU(MUL, 1, 3));
			emit(g, BI(BPF_ALU64 | BPF_ADD | BPF_K, 1, 0, 0, number(g)));
		}
		emit(g, MOVR(0, 1));
		emit(g, MOV(1, 0));
		emit(g, EXIT());
	}
}

/* ---- the third evaluator ------------------------------------------------------------------------------------ */

/* What a register or a byte has of what differs from run to run: nothing; it is an address, or part of one; or who
 * knows, as stack that nobody wrote, and what was computed from it or from an address. */
enum { KNOWN, ADDRESS, ANYTHING };

/* `has` says it for each byte. */
struct object {
	u8 *at, *has;
	u64 bytes;
};

struct world {
	struct bpf_skb_ctx skb;
	u8 packet[PACKET];
	u8 value[VALUE];
};

/* Of a world, and of the result. */
struct blots {
	u8 skb[sizeof(struct bpf_skb_ctx)], packet[PACKET], value[VALUE], result;
};

struct third {
	const struct bpf_prog *prog;
	struct object objects[12];
	u32 nobjects;
	u64 steps;
	bool led; /* what differs decided which way was taken, or which bytes were accessed */
};

/* One call of a function. */
struct frame {
	u64 r[11];
	u8 has[11];
};

static u8 *shadow(struct third *t, u64 at, u32 bytes, u8 **has)
{
	for (u32 i = 0; i < t->nobjects; i++) {
		const struct object *o = &t->objects[i];

		if (at >= (u64)o->at && at + bytes <= (u64)o->at + o->bytes) {
			*has = o->has + (at - (u64)o->at);
			return (u8 *)at;
		}
	}
	panic("accepted program reaches %llx, %u bytes, outside its objects", (unsigned long long)at, bytes);
}

/* Of a number that is made of these bytes. */
static u8 joined(const u8 *has, u32 bytes)
{
	u32 addresses = 0;

	for (u32 i = 0; i < bytes; i++) {
		if (has[i] == ANYTHING)
			return ANYTHING;
		addresses += has[i] == ADDRESS;
	}
	return !addresses ? KNOWN : addresses == 8 ? ADDRESS : ANYTHING;
}

static u64 get(const u8 *p, u32 bytes)
{
	u64 v = 0;

	while (bytes--)
		v = v << 8 | p[bytes];
	return v;
}

static void put(u8 *p, u64 v, u32 bytes)
{
	for (; bytes--; v >>= 8)
		*p++ = (u8)v;
}

static u64 sext(u64 v, bool w)
{
	return w ? v : (u64)(s64)(s32)v;
}

static u64 compute(u8 op, u64 a, u64 b, bool w)
{
	u64 mask = w ? ~0ULL : UINT32_MAX, n = b & (w ? 63 : 31), r = 0;

	a &= mask;
	b &= mask;
	switch (op >> 4) {
	case 0: r = a + b; break;
	case 1: r = a - b; break;
	case 2: r = a * b; break;
	case 3: r = b ? a / b : 0; break;
	case 4: r = a | b; break;
	case 5: r = a & b; break;
	case 6: r = a << n; break;
	case 7: r = a >> n; break;
	case 8: r = 0 - a; break;
	case 9: r = b ? a - a / b * b : a; break;
	case 10: r = a ^ b; break;
	case 11: r = b; break;
	case 12: r = (u64)((s64)sext(a, w) >> n); break;
	}
	return r & mask;
}

static bool taken(u8 op, u64 a, u64 b, bool w)
{
	s64 x = (s64)sext(a, w), y = (s64)sext(b, w);

	if (!w) {
		a &= UINT32_MAX;
		b &= UINT32_MAX;
	}
	switch (op >> 4) {
	case 1: return a == b;
	case 2: return a > b;
	case 3: return a >= b;
	case 4: return (a & b) != 0;
	case 5: return a != b;
	case 6: return x > y;
	case 7: return x >= y;
	case 10: return a < b;
	case 11: return a <= b;
	case 12: return x < y;
	case 13: return x <= y;
	}
	abort();
}

static u64 swapped(u64 v, s32 bits, bool big)
{
	u64 mask = bits == 64 ? ~0ULL : (1ULL << bits) - 1, out = 0;

	if (!big)
		return v & mask;
	for (s32 i = 0; i < bits; i += 8)
		out = out << 8 | (v >> i & 255);
	return out;
}

/* Through a register. */
static u8 *reach(struct third *t, const struct frame *f, u32 reg, s16 off, u32 bytes, u8 **has)
{
	t->led |= f->has[reg] == ANYTHING;
	return shadow(t, f->r[reg] + off, bytes, has);
}

static void exchange(struct third *t, const struct bpf_insn *i, struct frame *f, u32 bytes)
{
	u8 *has, *p = reach(t, f, i->dst_reg, i->off, bytes, &has), was = joined(has, bytes);
	u64 old = get(p, bytes), operand = f->r[i->src_reg], mask = bytes == 8 ? ~0ULL : UINT32_MAX, now = 0;
	bool is = was || f->has[i->src_reg] || (i->imm == BPF_CMPXCHG && f->has[0]);

	memset(has, is ? ANYTHING : KNOWN, bytes);
	if (i->imm == BPF_CMPXCHG) {
		if (old == (f->r[0] & mask))
			put(p, operand, bytes);
		f->r[0] = old;
		f->has[0] = was ? ANYTHING : KNOWN;
		return;
	}
	switch (i->imm & ~BPF_FETCH) {
	case BPF_ADD: now = old + operand; break;
	case BPF_AND: now = old & operand; break;
	case BPF_OR: now = old | operand; break;
	case BPF_XOR: now = old ^ operand; break;
	default: now = operand;
	}
	put(p, now, bytes);
	if (i->imm & BPF_FETCH) {
		f->r[i->src_reg] = old;
		f->has[i->src_reg] = was ? ANYTHING : KNOWN;
	}
}

static void access_memory(struct third *t, const struct bpf_insn *i, struct frame *f)
{
	static const u8 width[] = { 4, 2, 1, 8 };
	u32 bytes = width[BPF_SIZE(i->code) >> 3];
	u8 *has, *p;

	if (BPF_CLASS(i->code) == BPF_STX && BPF_MODE(i->code) == BPF_ATOMIC) {
		exchange(t, i, f, bytes);
	} else if (BPF_CLASS(i->code) == BPF_LDX) {
		p = reach(t, f, i->src_reg, i->off, bytes, &has);
		f->r[i->dst_reg] = get(p, bytes);
		f->has[i->dst_reg] = joined(has, bytes);
	} else {
		bool stx = BPF_CLASS(i->code) == BPF_STX;

		p = reach(t, f, i->dst_reg, i->off, bytes, &has);
		put(p, stx ? f->r[i->src_reg] : (u64)(s64)i->imm, bytes);
		memset(has, !stx ? KNOWN : bytes == 8 || !f->has[i->src_reg] ? f->has[i->src_reg] : ANYTHING, bytes);
	}
}

static void arithmetic(const struct bpf_insn *i, struct frame *f)
{
	u8 op = BPF_OP(i->code);
	bool wide = BPF_CLASS(i->code) == BPF_ALU64, x = BPF_SRC(i->code) && op != BPF_END && op != BPF_NEG;
	u64 *d = &f->r[i->dst_reg], b = x ? f->r[i->src_reg] : (u64)(s64)i->imm;
	u8 d_has = f->has[i->dst_reg], s = x ? f->has[i->src_reg] : KNOWN;

	*d = op == BPF_END ? swapped(*d, i->imm, BPF_SRC(i->code)) : compute(op, *d, b, wide);
	if (op == BPF_MOV)
		f->has[i->dst_reg] = s && !wide ? ANYTHING : s;
	else if (wide && (op == BPF_ADD || op == BPF_SUB) && !(d_has && s))
		f->has[i->dst_reg] = d_has | s;
	else
		f->has[i->dst_reg] = d_has || s ? ANYTHING : KNOWN;
}

static u64 evaluate(struct third *t, u32 pc, u64 r1, u8 *has);

/* Returns how far the program goes on from the next instruction. */
static s32 jump(struct third *t, const struct bpf_insn *i, struct frame *f, u32 pc)
{
	u8 op = BPF_OP(i->code), has = f->has[1], *key;
	u64 b = BPF_SRC(i->code) ? f->r[i->src_reg] : (u64)(s64)i->imm;

	if (op == BPF_JA)
		return i->off;
	if (op == BPF_CALL && i->src_reg) {
		f->r[0] = evaluate(t, pc + 1 + i->imm, f->r[1], &has);
		f->has[0] = has;
		return 0;
	}
	if (op == BPF_CALL) {
		f->r[0] = (u64)map->ops->lookup(map, shadow(t, f->r[2], 4, &key));
		f->has[0] = ADDRESS;
		return 0;
	}
	/* The preamble's comparisons end the same way wherever packet and value are. */
	t->led |= pc >= PREAMBLE && (f->has[i->dst_reg] || (BPF_SRC(i->code) && f->has[i->src_reg]));
	return taken(op, f->r[i->dst_reg], b, BPF_CLASS(i->code) == BPF_JMP) ? i->off : 0;
}

/* *has: in, what r1 has; out, the result. */
static u64 evaluate(struct third *t, u32 pc, u64 r1, u8 *has)
{
	u8 stack[BPF_STACK_BYTES] = { 0 }, of_stack[BPF_STACK_BYTES];
	struct frame f = { .r = { [1] = r1, [10] = (u64)(stack + BPF_STACK_BYTES) },
			   .has = { [1] = *has, [10] = ADDRESS } };

	memset(of_stack, ANYTHING, sizeof(of_stack));
	t->objects[t->nobjects++] = (struct object){ stack, of_stack, sizeof(stack) };
	for (;; pc++) {
		const struct bpf_insn *i = &t->prog->insns[pc];

		if (++t->steps > 2000000)
			panic("accepted program does not end");
		switch (BPF_CLASS(i->code)) {
		case BPF_ALU:
		case BPF_ALU64: arithmetic(i, &f); break;
		case BPF_LDX:
		case BPF_ST:
		case BPF_STX: access_memory(t, i, &f); break;
		case BPF_LD:
			f.r[i->dst_reg] = (u64)(u32)i[1].imm << 32 | (u32)i->imm;
			f.has[i->dst_reg] = ADDRESS;
			pc++;
			break;
		default:
			if (BPF_OP(i->code) == BPF_EXIT) {
				t->nobjects--;
				*has = f.has[0];
				return f.r[0];
			}
			pc += jump(t, i, &f, pc);
		}
	}
}

/* ---- comparison -------------------------------------------------------------------------------------------------- */

static struct bpf_map *find_map(void *arg, s32 idx, bool by_index)
{
	return idx == MAP && !by_index ? map : NULL;
}

static void fill(struct world *w, const u8 *data, size_t size)
{
	static u8 packet[PACKET];

	memset(w, 0, sizeof(*w));
	for (u32 i = 0; i < sizeof(packet); i++)
		packet[i] = size ? data[i % size] : 0;
	w->skb.data = w->skb.mac = w->skb.net = packet;
	w->skb.data_end = packet + PACKET;
	w->skb.len = PACKET;
	w->skb.mark = size > 4 ? data[4] * 0x01010101U : 1;
	for (u32 i = 0; i < VALUE; i++)
		((u8 *)map->ops->lookup(map, &(u32){ 0 }))[i] = (u8)(i * 7 + size);
}

static void keep(struct world *w)
{
	memcpy(w->packet, w->skb.data, sizeof(w->packet));
	memcpy(w->value, map->ops->lookup(map, &(u32){ 0 }), VALUE);
}

static bool third_run(const struct bpf_prog *prog, struct world *w, struct blots *blots, u64 *result)
{
	struct third t = { .prog = prog, .nobjects = 3 };
	static const u8 pointers[] = { offsetof(struct bpf_skb_ctx, data), offsetof(struct bpf_skb_ctx, data_end),
				       offsetof(struct bpf_skb_ctx, mac), offsetof(struct bpf_skb_ctx, net) };

	memset(blots, 0, sizeof(*blots));
	for (u32 i = 0; i < ARRAY_SIZE(pointers); i++)
		memset(blots->skb + pointers[i], ADDRESS, sizeof(void *));
	t.objects[0] = (struct object){ (u8 *)&w->skb, blots->skb, sizeof(w->skb) };
	t.objects[1] = (struct object){ w->skb.data, blots->packet, PACKET };
	t.objects[2] = (struct object){ map->ops->lookup(map, &(u32){ 0 }), blots->value, VALUE };
	blots->result = ADDRESS; /* as r1 */
	*result = evaluate(&t, 0, (u64)&w->skb, &blots->result);
	return !t.led;
}

static u64 compiled_run(const struct bpf_prog *prog, const struct world *w, bool blind)
{
	u32 tail;
	int len;

	mprotect(code, 1 << 16, PROT_READ | PROT_WRITE);
	len = bpf_jit_x86(prog, code, 1 << 16, (u64)code, &tail, blind);
	mprotect(code, 1 << 16, PROT_READ | PROT_EXEC);
	if (len < 0)
		panic("the compiler refuses: %d", len);
	return ((u64(*)(const void *))code)(&w->skb);
}

static void compare(const void *a, const void *b, const void *c, const u8 *blots, size_t bytes, const char *what)
{
	for (size_t i = 0; i < bytes; i++)
		if (!blots[i] && (((const u8 *)a)[i] != ((const u8 *)b)[i] || ((const u8 *)a)[i] != ((const u8 *)c)[i]))
			panic("%s differs", what);
}

static void run_all(struct bpf_prog *prog, const u8 *data, size_t size)
{
	static struct world a, b, c;
	struct blots blots;
	u64 ra, rb, rc;

	fill(&a, data, size);
	ra = bpf_interpret(prog, &a.skb);
	keep(&a);
	fill(&b, data, size);
	rb = compiled_run(prog, &b, size & 1);
	keep(&b);
	fill(&c, data, size);
	if (!third_run(prog, &c, &blots, &rc))
		return;
	keep(&c);
	fuzz_compared++;
	if (!blots.result && (ra != rb || ra != rc))
		panic("results differ: interpreter %llx compiler %llx third %llx", (unsigned long long)ra,
		      (unsigned long long)rb, (unsigned long long)rc);
	compare(a.packet, b.packet, c.packet, blots.packet, PACKET, "packet");
	compare(a.value, b.value, c.value, blots.value, VALUE, "map value");
	compare(&a.skb, &b.skb, &c.skb, blots.skb, sizeof(a.skb), "context");
}

static u64 tried;

static void report(void)
{
	fprintf(stderr, "programs %llu accepted %llu\n", (unsigned long long)tried, (unsigned long long)fuzz_accepted);
}

static void setup(void)
{
	union bpf_attr attr = { .map_type = BPF_MAP_TYPE_ARRAY, .key_size = 4, .value_size = VALUE, .max_entries = 1 };

	if (bpf_map_new(&attr, NULL, &map))
		abort();
	code = mmap(NULL, 1 << 16, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	bpf_helpers_install();
	atexit(report);
}

int LLVMFuzzerTestOneInput(const u8 *data, size_t size)
{
	static struct gen g;
	static char log[1 << 14];
	struct bpf_prog *prog;
	struct bpf_load l = { .type = BPF_PROG_TYPE_SCHED_CLS, .gpl = true, .find_map = find_map, .insns = g.out };

	if (!map)
		setup();
	if (size < 2)
		return 0;
	l.rights = (struct bpf_rights){ true, data[0] & 1, true, false };
	l.budget = fuzz_budget;
	if (data[0] & 2) {
		l.log = log;
		l.log_size = sizeof(log);
		l.log_level = 1 + (data[0] >> 2 & 1);
	}
	memset(&g, 0, sizeof(g));
	g.p = data + 1;
	g.end = data + size;
	if (data[0] >= 250) { /* raw bytes */
		l.len = (u32)min((size - 1) / 8, (size_t)MAX);
		memcpy(g.out, data + 1, l.len * 8);
		if (!bpf_prog_new(&l, &prog))
			bpf_prog_put(prog);
		return 0;
	}
	g.privileged = l.rights.perfmon;
	generate(&g);
	l.len = g.n;
	tried++;
	if (bpf_prog_new(&l, &prog))
		return 0;
	fuzz_accepted++;
	run_all(prog, data, size);
	bpf_prog_put(prog);
	return 0;
}
