/* SPDX-License-Identifier: MIT
 *
 * Problem: a shader that never ends holds a renderer that nobody can interrupt; whether it ends cannot be known of any
 * program, but can of nearly all that people write.
 *
 * Idea: the text is walked once, with what is known of each scalar of TEMP: a range, "what scalar b was when this round
 * of the loop began, plus so much", or a fact (true, or false, for certain once b has passed a limit). A break under
 * such a fact in the loop's own level bounds it, if at the loop's end b is itself plus a step that is never zero and
 * always of one sign. Paths are joined after branches; after a loop everything that it wrote is unknown. What is not
 * understood is unknown, and a loop without a bound makes the shader one without.
 *
 *	BGNLOOP                       counter: b + [0, 0]
 *	  ISGE t, counter, limit      t: true once b >= limit
 *	  UIF t / BRK / ENDIF         the loop's exit
 *	  UADD counter, counter, 1    counter: b + [1, 1]
 *	ENDLOOP                       trips: (limit - start) / 1 + 1
 *
 * Numbers stay below 2^28 in size, or are unknown: nothing here or in the shader wraps around.
 *
 * Contract: virt/vgpu/shader.h. Locks: none, pure functions.
 */
#include <alloc/slab.h>
#include <lib/err.h>
#include <lib/string.h>
#include <virt/vgpu/shader.h>
#include "tgsi.h"

#define TEMPS      128 /* of which something is known */
#define SCALARS    (TEMPS * 4)
#define IMMEDIATES 512
#define DEPTH      24
#define EXITS      4
#define NUMBER_MAX (1 << 28)
#define NO_UNIFORM (-1)
#define TEXT_MAX   (128u << 10) /* bytes; and branches and loops: what measuring itself may cost */
#define PUSHES_MAX 2048

enum kind { UNKNOWN, RANGE, LINEAR, FACT };
enum direction { UP, DOWN, EQUAL };

struct value {
	u8 kind, direction;
	bool when_false, is_unsigned; /* FACT */
	s16 uniform;                  /* whose value the range stands for */
	u16 base;                     /* LINEAR, FACT: the scalar */
	s32 lo, hi; /* RANGE, LINEAR; FACT: the limit, and what was added to base for the comparison */
};

struct state {
	bool dead; /* no path comes here */
	struct value v[SCALARS];
};

struct frame {
	bool is_loop, has_else, first, cont;
	struct state *saved;  /* loop: at its begin; branch: at its begin, then at the end of the first part */
	struct state *joined; /* loop: of its CONTs */
	struct value fact;    /* branch: what it asks */
	struct value exit[EXITS];
	u32 nr_exits;
	u64 cost; /* before the loop */
	u8 written[SCALARS / 8];
};

struct walk {
	struct state now;
	struct frame frame[DEPTH];
	u32 depth, pushes;
	u32 nr_scalars; /* of those TEMPs that the text names */
	u64 cost;
	s32 uniform_max;
	s32 imm[IMMEDIATES][4];
	bool known[IMMEDIATES];
	u32 nr_imm;
	struct vgpu_shader *out;
};

static const struct value unknown = { .uniform = NO_UNIFORM };

/* ---- values ---- */

static struct value range(s64 lo, s64 hi, s16 uniform)
{
	if (lo <= -NUMBER_MAX || hi >= NUMBER_MAX)
		return unknown;
	return (struct value){ .kind = RANGE, .uniform = uniform, .lo = (s32)lo, .hi = (s32)hi };
}

static struct value linear(u32 base, s64 lo, s64 hi)
{
	if (lo <= -NUMBER_MAX || hi >= NUMBER_MAX)
		return unknown;
	return (struct value){ .kind = LINEAR, .uniform = NO_UNIFORM, .base = (u16)base, .lo = (s32)lo, .hi = (s32)hi };
}

static bool same(const struct value *a, const struct value *b)
{
	return !memcmp(a, b, sizeof(*a));
}

/* What is known if it is one of both. */
static struct value join(const struct value *a, const struct value *b)
{
	s32 lo = min(a->lo, b->lo), hi = max(a->hi, b->hi);

	if (same(a, b))
		return *a;
	if (a->kind == RANGE && b->kind == RANGE && a->uniform == NO_UNIFORM && b->uniform == NO_UNIFORM)
		return range(lo, hi, NO_UNIFORM);
	if (a->kind == LINEAR && b->kind == LINEAR && a->base == b->base)
		return linear(a->base, lo, hi);
	return unknown;
}

static void copy_state(const struct walk *w, struct state *to, const struct state *from)
{
	to->dead = from->dead;
	memcpy(to->v, from->v, w->nr_scalars * sizeof(to->v[0]));
}

static void join_state(const struct walk *w, struct state *to, const struct state *from)
{
	if (from->dead)
		return;
	if (to->dead)
		copy_state(w, to, from);
	for (u32 i = 0; i < w->nr_scalars; i++)
		to->v[i] = join(&to->v[i], &from->v[i]);
}

static struct value add(const struct value *a, const struct value *b)
{
	s64 lo = (s64)a->lo + b->lo, hi = (s64)a->hi + b->hi;

	if (a->kind == RANGE && b->kind == RANGE && (a->uniform == NO_UNIFORM || b->uniform == NO_UNIFORM))
		return range(lo, hi, a->uniform == NO_UNIFORM ? b->uniform : a->uniform);
	if (a->kind == LINEAR && b->kind == RANGE && b->uniform == NO_UNIFORM)
		return linear(a->base, lo, hi);
	if (a->kind == RANGE && b->kind == LINEAR && a->uniform == NO_UNIFORM)
		return linear(b->base, lo, hi);
	return unknown;
}

static struct value fact(const struct value *counter, const struct value *limit, u32 direction, s64 at)
{
	if (at <= -NUMBER_MAX || at >= NUMBER_MAX)
		return unknown;
	return (struct value){ .kind = FACT,
			       .direction = (u8)direction,
			       .uniform = limit->uniform,
			       .base = counter->base,
			       .lo = (s32)at,
			       .hi = counter->lo };
}

/* a >= b */
static struct value not_less(const struct value *a, const struct value *b)
{
	if (a->kind == LINEAR && b->kind == RANGE)
		return fact(a, b, UP, (s64)b->hi - a->lo);
	if (a->kind == RANGE && b->kind == LINEAR)
		return fact(b, a, DOWN, (s64)a->lo - b->hi);
	return unknown;
}

static struct value equal(const struct value *a, const struct value *b)
{
	if (a->kind == RANGE && b->kind == LINEAR)
		return equal(b, a);
	if (a->kind == LINEAR && b->kind == RANGE && a->lo == a->hi && b->lo == b->hi && b->uniform == NO_UNIFORM)
		return fact(a, b, EQUAL, (s64)b->lo - a->lo);
	return unknown;
}

static struct value negated(struct value v)
{
	v.when_false = !v.when_false;
	return v.kind == FACT ? v : unknown;
}

/* A limit is the same number with and without a sign. */
static struct value not_below(const struct value *a, const struct value *b)
{
	struct value v = not_less(a, b);
	const struct value *limit = a->kind == RANGE ? a : b;

	v.is_unsigned = true;
	return v.kind == FACT && limit->lo >= 0 ? v : unknown;
}

/* Of two conditions under `and` (false if either is) or `or`. */
static struct value either(const struct value *a, const struct value *b, bool when_false)
{
	if (a->kind == FACT && a->when_false == when_false)
		return *a;
	return b->kind == FACT && b->when_false == when_false ? *b : unknown;
}

/* ---- operands ---- */

static struct value read_operand(const struct walk *w, const struct tgsi_line *l, u32 n, u32 component)
{
	const struct tgsi_operand *o = &l->operand[n];
	u32 c = o->component[component];

	if (n >= l->nr || !o->plain || o->nr_components != 4)
		return unknown;
	if (o->file == TGSI_TEMP && o->index < TEMPS)
		return w->now.v[o->index * 4 + c];
	if (o->file == TGSI_IMM && o->index < w->nr_imm && w->known[o->index])
		return range(w->imm[o->index][c], w->imm[o->index][c], NO_UNIFORM);
	if (o->file == TGSI_CONST && o->index < VGPU_SHADER_CONSTS)
		return range(-w->uniform_max, w->uniform_max, (s16)(o->index * 4 + c));
	return unknown;
}

static struct value compute(const struct walk *w, const struct tgsi_line *l, u32 c)
{
	struct value a = read_operand(w, l, 1, c), b = read_operand(w, l, 2, c), d;

	if (l->modified)
		return unknown;
	if (!strcmp(l->op, "MOV"))
		return a;
	if (!strcmp(l->op, "UADD"))
		return add(&a, &b);
	if (!strcmp(l->op, "ISGE"))
		return not_less(&a, &b);
	if (!strcmp(l->op, "ISLT"))
		return negated(not_less(&a, &b));
	if (!strcmp(l->op, "USGE"))
		return not_below(&a, &b);
	if (!strcmp(l->op, "USLT"))
		return negated(not_below(&a, &b));
	if (!strcmp(l->op, "USEQ"))
		return equal(&a, &b);
	if (!strcmp(l->op, "USNE"))
		return negated(equal(&a, &b));
	if (!strcmp(l->op, "NOT"))
		return negated(a);
	if (!strcmp(l->op, "AND"))
		return either(&a, &b, true);
	if (!strcmp(l->op, "OR"))
		return either(&a, &b, false);
	if (!strcmp(l->op, "UCMP")) {
		d = read_operand(w, l, 3, c);
		return join(&b, &d);
	}
	return unknown;
}

static void write(struct walk *w, u32 scalar, const struct value *v)
{
	w->now.v[scalar] = *v;
	for (u32 i = 0; i < w->depth; i++)
		if (w->frame[i].is_loop)
			w->frame[i].written[scalar / 8] |= (u8)(1u << scalar % 8);
}

static void write_operand(struct walk *w, const struct tgsi_operand *o, const struct value *v)
{
	if (o->file != TGSI_TEMP)
		return;
	if (o->plain && o->index < TEMPS) {
		for (u32 i = 0; i < o->nr_components; i++)
			write(w, o->index * 4 + o->component[i], &v[o->component[i]]);
		return;
	}
	for (u32 i = 0; !o->plain && i < w->nr_scalars; i++) /* anywhere */
		write(w, i, &unknown);
}

static void assign(struct walk *w, const struct tgsi_line *l)
{
	static const struct value none[4] = { { .uniform = NO_UNIFORM },
					      { .uniform = NO_UNIFORM },
					      { .uniform = NO_UNIFORM },
					      { .uniform = NO_UNIFORM } };
	struct value v[4];

	if (!l->nr)
		return;
	for (u32 c = 0; c < 4; c++)
		v[c] = compute(w, l, c);
	if (!strcmp(l->op, "DFRACEXP") && l->nr > 1) /* the one with two results */
		write_operand(w, &l->operand[1], none);
	write_operand(w, &l->operand[0], v);
}

/* ---- loops ---- */

static bool note_uniform(struct vgpu_shader *s, s16 uniform)
{
	if (uniform == NO_UNIFORM)
		return true;
	for (u32 i = 0; i < s->nr_uniforms; i++)
		if (s->uniforms[i] == uniform)
			return true;
	if (s->nr_uniforms == VGPU_SHADER_UNIFORMS)
		return false;
	s->uniforms[s->nr_uniforms++] = (u16)uniform;
	return true;
}

/* Unsigned comparisons are as signed ones while everything compared is not negative. */
static bool stays_positive(const struct value *exit, const struct value *start, const struct value *step)
{
	if (!exit->is_unsigned)
		return true;
	if (start->lo < 0 || (s64)start->lo + exit->hi < 0 || exit->lo < 0)
		return false;
	return exit->direction != DOWN || (s64)exit->lo + 1 + step->lo + min(exit->hi, 0) >= 0;
}

/* How often the loop can go round before this exit is taken. */
static u64 trips(struct walk *w, const struct value *exit, const struct value *start, const struct value *step)
{
	s64 way, least;

	if (start->kind != RANGE || step->kind != LINEAR || step->base != exit->base ||
	    !stays_positive(exit, start, step))
		return VGPU_UNBOUNDED;
	if (exit->direction == EQUAL) {
		if (step->lo != step->hi || !step->lo || start->lo != start->hi || start->uniform != NO_UNIFORM)
			return VGPU_UNBOUNDED;
		way = (s64)exit->lo - start->lo;
		return way % step->lo || way / step->lo < 0 ? VGPU_UNBOUNDED : (u64)(way / step->lo) + 1;
	}
	way = exit->direction == UP ? (s64)exit->lo - start->lo : (s64)start->hi - exit->lo;
	least = exit->direction == UP ? step->lo : -(s64)step->hi;
	if (least < 1)
		return VGPU_UNBOUNDED;
	if (!note_uniform(w->out, exit->uniform) || !note_uniform(w->out, start->uniform))
		return VGPU_UNBOUNDED;
	return (u64)((max(way, (s64)0) + least - 1) / least) + 1;
}

static u64 times(u64 a, u64 b)
{
	u64 v;

	return __builtin_mul_overflow(a, b, &v) ? VGPU_UNBOUNDED : v;
}

static u64 plus(u64 a, u64 b)
{
	u64 v;

	return __builtin_add_overflow(a, b, &v) ? VGPU_UNBOUNDED : v;
}

static struct frame *top(struct walk *w)
{
	return w->depth ? &w->frame[w->depth - 1] : NULL;
}

static struct frame *innermost_loop(struct walk *w)
{
	for (u32 i = w->depth; i; i--)
		if (w->frame[i - 1].is_loop)
			return &w->frame[i - 1];
	return NULL;
}

static int push(struct walk *w, bool is_loop)
{
	struct frame *f = &w->frame[w->depth];

	if (w->depth == DEPTH || w->pushes++ == PUSHES_MAX)
		return -EINVAL;
	memset(f, 0, sizeof(*f));
	f->is_loop = is_loop;
	f->saved = kmalloc(sizeof(*f->saved), ALLOC_KERNEL);
	f->joined = is_loop ? kzalloc(sizeof(*f->joined), ALLOC_KERNEL) : NULL;
	w->depth++; /* the frame's memory goes with the walk */
	if (!f->saved || (is_loop && !f->joined))
		return -ENOMEM;
	copy_state(w, f->saved, &w->now);
	return 0;
}

static void pop(struct walk *w)
{
	struct frame *f = &w->frame[--w->depth];

	kfree(f->saved);
	kfree(f->joined);
}

static int begin_loop(struct walk *w)
{
	int err = push(w, true);

	if (err)
		return err;
	top(w)->joined->dead = true;
	top(w)->cost = w->cost;
	w->cost = 0;
	for (u32 i = 0; i < w->nr_scalars; i++)
		w->now.v[i] = linear(i, 0, 0);
	w->now.dead = false;
	return 0;
}

static int end_loop(struct walk *w)
{
	struct frame *f = top(w);
	u64 most = VGPU_UNBOUNDED;

	if (!f || !f->is_loop)
		return -EINVAL;
	join_state(w, &w->now, f->joined);
	for (u32 i = 0; i < f->nr_exits; i++) {
		const struct value *exit = &f->exit[i];

		most = min(most, trips(w, exit, &f->saved->v[exit->base], &w->now.v[exit->base]));
	}
	if (w->now.dead)
		most = 1; /* no second round */
	w->cost = plus(f->cost, times(most, plus(w->cost, 1)));
	copy_state(w, &w->now, f->saved);
	w->now.dead = false;
	for (u32 i = 0; i < w->nr_scalars; i++)
		if (f->written[i / 8] & 1u << i % 8)
			w->now.v[i] = unknown;
	pop(w);
	return 0;
}

/* ---- branches ---- */

static int begin_branch(struct walk *w, const struct tgsi_line *l)
{
	struct value asks = strcmp(l->op, "UIF") ? unknown : read_operand(w, l, 0, 0);
	int err = push(w, false);

	if (err)
		return err;
	top(w)->first = true;
	top(w)->fact = asks;
	return 0;
}

static int other_branch(struct walk *w)
{
	struct frame *f = top(w);
	bool dead;

	if (!f || f->is_loop || f->has_else)
		return -EINVAL;
	dead = f->saved->dead;
	f->saved->dead = w->now.dead;
	w->now.dead = dead;
	for (u32 i = 0; i < w->nr_scalars; i++) {
		struct value v = f->saved->v[i];

		f->saved->v[i] = w->now.v[i];
		w->now.v[i] = v;
	}
	f->fact = negated(f->fact);
	f->has_else = f->first = true;
	return 0;
}

static int end_branch(struct walk *w)
{
	struct frame *f = top(w);

	if (!f || f->is_loop)
		return -EINVAL;
	join_state(w, &w->now, f->saved);
	pop(w);
	return 0;
}

/* The exit of a loop if it is the first thing in a branch at the loop's own level that every round comes by. */
static int leave_loop(struct walk *w, bool first)
{
	struct frame *loop = innermost_loop(w), *f = top(w);

	if (!loop)
		return -EINVAL;
	if (f != loop && f - 1 == loop && first && f->fact.kind == FACT && !f->fact.when_false && !loop->cont &&
	    loop->nr_exits < EXITS)
		loop->exit[loop->nr_exits++] = f->fact;
	w->now.dead = true;
	return 0;
}

static int go_on(struct walk *w)
{
	struct frame *loop = innermost_loop(w);

	if (!loop)
		return -EINVAL;
	loop->cont = true;
	join_state(w, loop->joined, &w->now);
	w->now.dead = true;
	return 0;
}

static int step(struct walk *w, const struct tgsi_line *l)
{
	static const char *const refused[] = { "CAL",     "BGNSUB",    "ENDSUB", "SWITCH", "CASE",
					       "DEFAULT", "ENDSWITCH", "CALLNZ", "REP",    "ENDREP" };
	bool first = top(w) && top(w)->first;

	if (top(w))
		top(w)->first = false;
	for (u32 i = 0; i < ARRAY_SIZE(refused); i++)
		if (!strcmp(l->op, refused[i]))
			return -EINVAL;
	w->cost = plus(w->cost, 1);
	if (!strcmp(l->op, "BGNLOOP"))
		return begin_loop(w);
	if (!strcmp(l->op, "ENDLOOP"))
		return end_loop(w);
	if (!strcmp(l->op, "IF") || !strcmp(l->op, "UIF"))
		return begin_branch(w, l);
	if (!strcmp(l->op, "ELSE"))
		return other_branch(w);
	if (!strcmp(l->op, "ENDIF"))
		return end_branch(w);
	if (!strcmp(l->op, "BRK"))
		return leave_loop(w, first);
	if (!strcmp(l->op, "CONT"))
		return go_on(w);
	assign(w, l);
	return 0;
}

static void immediate(struct walk *w, const struct tgsi_line *l)
{
	if (w->nr_imm < IMMEDIATES) {
		w->known[w->nr_imm] = l->known && l->operand[0].index == w->nr_imm;
		memcpy(w->imm[w->nr_imm], l->value, sizeof(l->value));
		w->nr_imm++;
	}
}

static int count_temps(struct walk *w, const char *text, const char *end)
{
	struct tgsi_line l;
	int err = 0;

	while (text < end && !err) {
		err = tgsi_read_line(&text, end, &l);
		for (u32 i = 0; i < l.nr && !err; i++)
			if (l.operand[i].file == TGSI_TEMP && l.operand[i].index < TEMPS)
				w->nr_scalars = max(w->nr_scalars, (l.operand[i].index + 1) * 4);
	}
	return err;
}

static int walk(struct walk *w, const char *text, const char *end)
{
	struct tgsi_line l;
	int err = end - text > TEXT_MAX ? -EINVAL : count_temps(w, text, end);

	for (u32 i = 0; i < w->nr_scalars; i++)
		w->now.v[i] = unknown;
	while (text < end && !err) {
		err = tgsi_read_line(&text, end, &l);
		if (!err && l.kind == TGSI_IMMEDIATE)
			immediate(w, &l);
		if (!err && l.kind == TGSI_INSTRUCTION)
			err = step(w, &l);
	}
	if (!err && w->depth)
		err = -EINVAL;
	while (w->depth)
		pop(w);
	return err;
}

s32 vgpu_uniform_size(u32 i)
{
	static const s32 sizes[VGPU_SIZES] = { 32, 512, 4096 };

	return sizes[i];
}

/* With uniforms of one size. -ENOMEM; -EINVAL: no bound. */
static int measure(const char *text, const char *end, u32 size, struct vgpu_shader *out)
{
	struct walk *w = kzalloc(sizeof(*w), ALLOC_KERNEL);
	int err;

	if (!w)
		return -ENOMEM;
	w->out = out;
	w->uniform_max = vgpu_uniform_size(size);
	err = walk(w, text, end);
	if (!err)
		out->cost[size] = w->cost;
	kfree(w);
	return err;
}

int vgpu_shader_measure(const char *text, size_t n, struct vgpu_shader *out)
{
	const char *nul = memchr(text, 0, n), *end = nul ? nul : text + n;
	int err = 0;

	*out = (struct vgpu_shader){ .nr_uniforms = 0 };
	for (u32 i = 0; i < VGPU_SIZES; i++)
		out->cost[i] = VGPU_UNBOUNDED;
	for (u32 i = 0; i < VGPU_SIZES && !err; i++)
		if (!i || out->nr_uniforms)
			err = measure(text, end, i, out);
	if (!out->nr_uniforms)
		for (u32 i = 1; i < VGPU_SIZES; i++)
			out->cost[i] = out->cost[0];
	return err == -ENOMEM ? err : 0;
}
