/* SPDX-License-Identifier: MIT
 *
 * Problem: a bound that is too low lets a shader hold the device for ever, one that is too high refuses what people
 * write.
 *
 * Idea: loops as Debian's Mesa (22.3) writes them, with the exact cost; and texts that look like those and are not
 * bounded: a counter that does not move on one path, wraps around, is written through an index, a check that is passed
 * by, a second statement on a line.
 *
 * Contract: runs under ASan and UBSan. Locks: none.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdio.h>
#include <cmocka.h>
#include <lib/err.h>
#include <lib/string.h>
#include <virt/vgpu/shader.h>

#define HEAD                                                                                                           \
	"COMP\nPROPERTY CS_FIXED_BLOCK_WIDTH 8\nDCL SV[0], BLOCK_ID\nDCL BUFFER[0]\nDCL CONST[0]\nDCL TEMP[0..9]\n"    \
	"IMM[0] UINT32 {3, 2, 0, 1000}\nIMM[1] UINT32 {1069547520, 1, 4294967293, 640}\n"
#define START "  0: MOV TEMP[1].x, IMM[0].zzzz\n"
#define CHECK                                                                                                          \
	"  2:   ISGE TEMP[5].x, TEMP[1].xxxx, IMM[0].wwww\n  3:   UIF TEMP[5].xxxx :5\n  4:     BRK\n  5:   ENDIF\n"
#define STEP              "  6:   UADD TEMP[1].x, TEMP[1].xxxx, IMM[1].yyyy\n"
#define LOOP(check, step) HEAD START "  1: BGNLOOP :0\n" check step "  7: ENDLOOP :0\n  8: END\n"

static u64 cost(const char *text, struct vgpu_shader *out)
{
	struct vgpu_shader s;

	assert_int_equal(vgpu_shader_measure(text, strlen(text), &s), 0);
	if (out)
		*out = s;
	return s.cost[0];
}

static void bounded(void **state)
{
	struct vgpu_shader s;

	assert_int_equal(cost("FRAG\nDCL OUT[0], COLOR\nIMM[0] FLT32 {1.0000, 0.5e-01, -2.0, 3}\n"
			      "  0: MOV OUT[0], IMM[0]\n  1: END\n",
			      NULL),
			 3);
	/* seven instructions a round, a thousand rounds and one that leaves */
	assert_int_equal(cost(LOOP(CHECK, STEP), NULL), 4 + 1001 * 7);
	assert_int_equal(
		cost(LOOP("ISLT TEMP[5].x, TEMP[1].xxxx, IMM[0].wwww\nFSLT TEMP[6].x, TEMP[0].xxxx, IMM[1].xxxx\n"
			  "AND TEMP[7].x, TEMP[6].xxxx, TEMP[5].xxxx\nNOT TEMP[8].x, TEMP[7].xxxx\n"
			  "UIF TEMP[8].xxxx :12\nBRK\nENDIF\n",
			  STEP),
		     NULL),
		4 + 1001 * 10);
	/* both branches move the counter */
	assert_int_equal(cost(LOOP(CHECK, "UIF TEMP[6].xxxx :3\n" STEP "ELSE :3\nUIF TEMP[7].xxxx :2\nBRK\nENDIF\n" STEP
					  "ENDIF\n"),
			      NULL),
			 4 + 1001 * 14);
	/* do ... while: the check follows, the counter goes by way of others */
	assert_int_equal(
		cost(LOOP("UADD TEMP[3].x, TEMP[1].xxxx, IMM[0].yyyy\n" CHECK, "MOV TEMP[1].x, TEMP[3]\n"), NULL),
		4 + 501 * 8);
	assert_int_equal(
		cost(LOOP("USEQ TEMP[5].x, TEMP[1].xxxx, IMM[1].wwww\nUIF TEMP[5].xxxx :5\nBRK\nENDIF\n", STEP), NULL),
		4 + 641 * 7);
	/* downwards by three from a thousand */
	assert_int_equal(cost(HEAD "MOV TEMP[1].x, IMM[0].wwww\nBGNLOOP :0\nISGE TEMP[5].x, IMM[0].zzzz, TEMP[1].xxxx\n"
				   "UIF TEMP[5].xxxx :9\nBRK\nENDIF\nUADD TEMP[1].x, TEMP[1].xxxx, IMM[1].zzzz\n"
				   "ENDLOOP :0\nEND\n",
			      NULL),
			 4 + 335 * 7);
	/* a loop in a loop */
	assert_int_equal(cost(LOOP(CHECK, "MOV TEMP[2].x, IMM[0].zzzz\nBGNLOOP :0\n"
					  "USGE TEMP[5].x, TEMP[2].xxxx, IMM[1].wwww\nUIF TEMP[5].xxxx :1\nBRK\nENDIF\n"
					  "UADD TEMP[2].x, TEMP[2].xxxx, IMM[1].yyyy\nENDLOOP :0\n" STEP),
			      NULL),
			 4 + 1001 * (9 + 641 * 7));
	/* by a uniform: known when something is drawn */
	assert_int_equal(
		cost(LOOP("ISGE TEMP[5].x, TEMP[1].xxxx, CONST[3].yyyy\nUIF TEMP[5].xxxx :5\nBRK\nENDIF\n", STEP), &s),
		4 + 33 * 7);
	assert_int_equal(s.cost[2], 4 + 4097 * 7);
	assert_int_equal(s.nr_uniforms, 1);
	assert_int_equal(s.uniforms[0], 13);
}

static void unbounded(void **state)
{
	static const char *const texts[] = {
		LOOP("", STEP),
		LOOP(CHECK, ""),
		LOOP(CHECK, "UADD TEMP[1].x, TEMP[1].xxxx, IMM[1].zzzz\n"), /* away from its limit */
		LOOP(CHECK, "UIF TEMP[6].xxxx :3\n" STEP "ENDIF\n"),        /* on one path only */
		LOOP(CHECK, STEP "MOV TEMP[1].x, IMM[0].zzzz\n"),           /* set back */
		LOOP(CHECK, STEP "MOV TEMP[ADDR[0].x].x, IMM[0].zzzz\n"),   /* perhaps set back */
		LOOP(CHECK, STEP "MOV TEMP[ADDR[0].x+1](1).x, IMM[0].zzzz\n"),
		LOOP(CHECK, "UADD_SAT TEMP[1].x, TEMP[1].xxxx, IMM[1].yyyy\n"),
		LOOP(CHECK, "UADD TEMP[1].x, TEMP[1].xxxx, IMM[0].zzzz\n"), /* by nothing */
		LOOP(CHECK, "UADD TEMP[1].y, TEMP[1].xxxx, IMM[1].yyyy\n"), /* another one */
		LOOP("UIF TEMP[6].xxxx :3\nCONT\nENDIF\n" CHECK, STEP),     /* passes the check by */
		LOOP("UIF TEMP[6].xxxx :3\n" CHECK "ENDIF\n", STEP),        /* a check that is not always made */
		LOOP("ISGE TEMP[5].x, TEMP[1].xxxx, TEMP[4].xxxx\nUIF TEMP[5].xxxx :5\nBRK\nENDIF\n", STEP),
		LOOP("ISGE TEMP[5].x, TEMP[1].xxxx, IMM[0].wwww\nIF TEMP[5].xxxx :5\nBRK\nENDIF\n", STEP),
		LOOP("ISGE TEMP[5].x, TEMP[1].xxxx, -IMM[0].wwww\nUIF TEMP[5].xxxx :5\nBRK\nENDIF\n", STEP),
		LOOP("ISGE TEMP[5].x, TEMP[1].xxxx, CONST[1][0].xxxx\nUIF TEMP[5].xxxx :5\nBRK\nENDIF\n", STEP),
		LOOP("USGE TEMP[5].x, TEMP[1].xxxx, CONST[0].xxxx\nUIF TEMP[5].xxxx :5\nBRK\nENDIF\n", STEP),
		LOOP("USGE TEMP[5].x, TEMP[1].xxxx, IMM[1].zzzz\nUIF TEMP[5].xxxx :5\nBRK\nENDIF\n", STEP),
		LOOP("USEQ TEMP[5].x, TEMP[1].xxxx, IMM[1].yyyy\nUIF TEMP[5].xxxx :5\nBRK\nENDIF\n",
		     "UADD TEMP[1].x, TEMP[1].xxxx, IMM[0].yyyy\n"), /* jumps over it */
		/* a switch takes the break */
		LOOP("ISGE TEMP[5].x, TEMP[1].xxxx, IMM[0].wwww\nSWITCH TEMP[5].xxxx\nBRK\nENDSWITCH\n", STEP),
		HEAD "BGNLOOP :0\n" CHECK STEP "ENDLOOP :0\nEND\n", /* begins anywhere */
		HEAD START "BGNLOOP :0\n" CHECK STEP "END\n",       /* does not end */
		HEAD "CAL :0\nEND\n",
		/* texts that another reader reads otherwise */
		LOOP(CHECK, STEP "NOP MOV TEMP[1].x, IMM[0].zzzz\n"),
		LOOP(CHECK, STEP "NOP 9: MOV TEMP[1].x, IMM[0].zzzz\n"),
		LOOP(CHECK, STEP "mov TEMP[1].x, IMM[0].zzzz\n"),
		LOOP(CHECK, STEP "DCL TEMP[12] MOV TEMP[1].x, IMM[0].zzzz\n"),
		LOOP(CHECK, STEP "IMM[2] UINT32 {0, 0, 0, 0} MOV TEMP[1].x, IMM[0].zzzz\n"),
		LOOP(CHECK, STEP "PROPERTY A 1 MOV TEMP[1].x, IMM[0].zzzz\n"),
		LOOP(CHECK, STEP "MOV TEMP[2].x,\nTEMP[1]\n"),
		LOOP(CHECK, STEP "MOV\nTEMP[1].x, IMM[0].zzzz\n"),
		LOOP(CHECK, STEP "MOV TEMP[2].x, IMM[0].zzzz\rMOV TEMP[1].x, IMM[0].zzzz\n"),
		LOOP(CHECK, STEP "MOV TEMP [1].x, IMM[0].zzzz\n"),
	};

	for (u32 i = 0; i < ARRAY_SIZE(texts); i++)
		if (cost(texts[i], NULL) != VGPU_UNBOUNDED)
			fail_msg("text %u has a bound: %s", i, texts[i]);
}

/* ---- random programs, and a machine for them: scalars TEMP[0..3].x ---- */

enum op {
	MOVE,
	ADD,
	GE,
	LT,
	UGE,
	ULT,
	EQ,
	NE,
	INVERT,
	BOTH,
	ANY,
	SELECT,
	LOOP_BEGIN,
	LOOP_END,
	IF_BEGIN,
	IF_ELSE,
	IF_END,
	LEAVE,
	AGAIN,
	OPS
};
static const char *const names[] = { "MOV", "UADD", "ISGE",    "ISLT",    "USGE", "USLT", "USEQ",  "USNE", "NOT", "AND",
				     "OR",  "UCMP", "BGNLOOP", "ENDLOOP", "UIF",  "ELSE", "ENDIF", "BRK",  "CONT" };
static const s32 numbers[8] = { 0, 1, 2, 3, 12, -1, -3, 40 };

struct instruction {
	enum op op;
	u32 to, from[3]; /* 0 to 3: a scalar; 4 to 11: a number */
	u32 other;       /* where the block ends, or its else is; where its loop began */
};

struct program {
	struct instruction i[64];
	u32 n;
	char text[8192];
};

static u64 seed;

static u32 random_below(u32 n)
{
	seed = seed * 6364136223846793005ull + 1442695040888963407ull;
	return (u32)(seed >> 33) % n;
}

static void emit(struct program *p, enum op op, u32 to, u32 a, u32 b, u32 c)
{
	p->i[p->n++] = (struct instruction){ .op = op, .to = to, .from = { a, b, c } };
}

static void statements(struct program *p, u32 depth, bool in_loop);

static void loop(struct program *p, u32 depth)
{
	u32 counter = random_below(4), begin = p->n + 1, up = random_below(2);

	emit(p, MOVE, counter, 4 + random_below(8), 0, 0);
	emit(p, LOOP_BEGIN, 0, 0, 0, 0);
	if (random_below(4))
		statements(p, depth + 1, true);
	emit(p, (enum op)(GE + random_below(6)), 3, up ? counter : 4 + random_below(8),
	     up ? 4 + random_below(8) : counter, 0);
	if (!random_below(4))
		emit(p, INVERT, 3, 3, 0, 0);
	emit(p, IF_BEGIN, 0, 3, 0, 0);
	emit(p, LEAVE, 0, 0, 0, 0);
	emit(p, IF_END, 0, 0, 0, 0);
	p->i[p->n - 3].other = p->n - 1;
	if (random_below(2))
		statements(p, depth + 1, true);
	emit(p, ADD, counter, counter, 4 + random_below(8), 0);
	emit(p, LOOP_END, 0, 0, 0, 0);
	p->i[p->n - 1].other = begin;
	p->i[begin].other = p->n - 1;
}

static void branch(struct program *p, u32 depth, bool in_loop)
{
	u32 begin = p->n, middle = 0;

	emit(p, IF_BEGIN, 0, random_below(4), 0, 0);
	statements(p, depth + 1, in_loop);
	if (in_loop && !random_below(4))
		emit(p, random_below(2) ? LEAVE : AGAIN, 0, 0, 0, 0);
	if (random_below(2)) {
		middle = p->n;
		emit(p, IF_ELSE, 0, 0, 0, 0);
		statements(p, depth + 1, in_loop);
	}
	emit(p, IF_END, 0, 0, 0, 0);
	p->i[begin].other = middle ? middle : p->n - 1;
	if (middle)
		p->i[middle].other = p->n - 1;
}

static void statements(struct program *p, u32 depth, bool in_loop)
{
	for (u32 n = 1 + random_below(2); n && p->n < 34; n--) {
		u32 what = random_below(10);

		if (what == 0 && depth < 2)
			loop(p, depth);
		else if (what < 3 && depth < 3)
			branch(p, depth, in_loop);
		else
			emit(p, (enum op)random_below(SELECT + 1), random_below(4), random_below(12), random_below(12),
			     random_below(12));
	}
}

static int put_operand(char *at, u32 o)
{
	return o < 4 ? sprintf(at, "TEMP[%u].xxxx", o) : sprintf(at, "IMM[%u].xxxx", o - 4);
}

static void print(struct program *p)
{
	char *at = p->text + sprintf(p->text, "COMP\nDCL TEMP[0..3]\n");

	for (u32 i = 0; i < 8; i++)
		at += sprintf(at, "IMM[%u] UINT32 {%u, 0, 0, 0}\n", i, (u32)numbers[i]);
	for (u32 i = 0; i < p->n; i++) {
		const struct instruction *k = &p->i[i];
		u32 n = k->op < LOOP_BEGIN ? 1 + (k->op != MOVE && k->op != INVERT) + (k->op == SELECT) : 0;

		at += sprintf(at, "%3u: %s", i, names[k->op]);
		if (n)
			at += sprintf(at, " TEMP[%u].x", k->to);
		for (u32 o = 0; o < n; o++) {
			at += sprintf(at, ", ");
			at += put_operand(at, k->from[o]);
		}
		if (k->op == IF_BEGIN) {
			at += sprintf(at, " ");
			at += put_operand(at, k->from[0]);
		}
		at += sprintf(at, "\n");
	}
	assert_true(at < p->text + sizeof(p->text));
}

static s32 result(const struct instruction *k, const s32 *t)
{
	s32 v[3];

	for (u32 i = 0; i < 3; i++)
		v[i] = k->from[i] < 4 ? t[k->from[i]] : numbers[k->from[i] - 4];
	switch (k->op) {
	case MOVE: return v[0];
	case ADD: return (s32)((u32)v[0] + (u32)v[1]);
	case GE: return -(v[0] >= v[1]);
	case LT: return -(v[0] < v[1]);
	case UGE: return -((u32)v[0] >= (u32)v[1]);
	case ULT: return -((u32)v[0] < (u32)v[1]);
	case EQ: return -(v[0] == v[1]);
	case NE: return -(v[0] != v[1]);
	case INVERT: return ~v[0];
	case BOTH: return v[0] & v[1];
	case ANY: return v[0] | v[1];
	default: return v[0] ? v[1] : v[2];
	}
}

/* The loop that instruction i is in. */
static u32 loop_of(const struct program *p, u32 i)
{
	u32 found = 0;

	for (u32 k = 0; k < i; k++)
		if (p->i[k].op == LOOP_BEGIN && p->i[k].other > i)
			found = k;
	return found;
}

static u64 run(const struct program *p, u64 most)
{
	s32 t[4];
	u64 steps = 0;

	for (u32 i = 0; i < 4; i++)
		t[i] = random_below(2) ? (s32)random_below(50) - 25 : (s32)(random_below(1 << 16) << 16);
	for (u32 at = 0; at < p->n && steps < most; at++, steps++) {
		const struct instruction *k = &p->i[at];

		if (k->op < LOOP_BEGIN)
			t[k->to] = result(k, t);
		else if (k->op == LOOP_END)
			at = k->other;
		else if (k->op == IF_BEGIN && !t[k->from[0]])
			at = k->other;
		else if (k->op == IF_ELSE)
			at = k->other;
		else if (k->op == LEAVE)
			at = p->i[loop_of(p, at)].other;
		else if (k->op == AGAIN)
			at = loop_of(p, at);
	}
	return steps;
}

static void no_program_exceeds_its_bound(void **state)
{
	u32 with_bound = 0, loops = 0;

	for (u32 round = 0; round < 60000; round++) {
		static struct program p;
		u64 bound;

		seed = round;
		memset(&p, 0, sizeof(p));
		loop(&p, 0);
		statements(&p, 0, false);
		print(&p);
		bound = cost(p.text, NULL);
		loops++;
		if (bound == VGPU_UNBOUNDED)
			continue;
		with_bound++;
		for (u32 i = 0; i < 4; i++)
			if (run(&p, min(bound + 1, 100000ull)) > bound)
				fail_msg("more than %llu steps:\n%s", (unsigned long long)bound, p.text);
	}
	assert_true(with_bound > loops / 100); /* so that it is a test */
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(bounded), cmocka_unit_test(unbounded),
					    cmocka_unit_test(no_program_exceeds_its_bound) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
