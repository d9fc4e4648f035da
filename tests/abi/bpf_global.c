/* SPDX-License-Identifier: MIT
 *
 * Problem: functions that the compiler calls global are verified once, for all arguments that their types allow; static
 * ones at each call.
 *
 * Idea: a main program and one function, with types and records of functions as a compiler makes them; each rule just
 * inside and just outside, with what the log says of it.
 *
 * Contract: prints ok or not ok for each case, with the same result on Linux, which is the oracle. Needs root.
 *
 * Locks: none.
 */
#include <linux/btf.h>
#include "bpf.h"

#define STATIC     BTF_FUNC_STATIC
#define GLOBAL     BTF_FUNC_GLOBAL
#define NOTHING    -1 /* as a result */
#define INFO(k, n) ((unsigned)(k) << 24 | (n))

enum type { VOID, INT, PAIR, P_PAIR, SKB, P_SKB, P_VOID, PAIRS, MAIN_PROTO, MAIN, PROTO, FUNC };

/* names: offsets into this */
static const char names[] = "\0int\0pair\0a\0b\0__sk_buff\0main\0sub\0x";
enum name { N_INT = 1, N_PAIR = 5, N_A = 10, N_B = 12, N_SKB = 14, N_MAIN = 24, N_SUB = 29, N_X = 33 };

static unsigned words[256], nwords;

static void put(unsigned v)
{
	words[nwords++] = v;
}

static void type(unsigned name, unsigned info, unsigned size_or_type)
{
	put(name);
	put(info);
	put(size_or_type);
}

/* A program's types; the function has these arguments. */
static int types(int linkage, int result, int nargs, const int *args)
{
	static char blob[4096];
	struct btf_header h = { .magic = BTF_MAGIC, .version = 1, .hdr_len = sizeof(h) };

	nwords = 0;
	type(N_INT, INFO(BTF_KIND_INT, 0), 4);
	put(BTF_INT_SIGNED << 24 | 32);
	type(N_PAIR, INFO(BTF_KIND_STRUCT, 2), 8);
	put(N_A), put(INT), put(0);
	put(N_B), put(INT), put(32);
	type(0, INFO(BTF_KIND_PTR, 0), PAIR);
	type(N_SKB, INFO(BTF_KIND_STRUCT, 1), 4);
	put(N_A), put(INT), put(0);
	type(0, INFO(BTF_KIND_PTR, 0), SKB);
	type(0, INFO(BTF_KIND_PTR, 0), VOID);
	type(0, INFO(BTF_KIND_ARRAY, 0), 0);
	put(PAIR), put(INT), put(2);
	type(0, INFO(BTF_KIND_FUNC_PROTO, 1), INT);
	put(N_X), put(P_SKB);
	type(N_MAIN, INFO(BTF_KIND_FUNC, GLOBAL), MAIN_PROTO);
	type(0, INFO(BTF_KIND_FUNC_PROTO, nargs), result);
	for (int i = 0; i < nargs; i++)
		put(N_X), put(args[i]);
	type(N_SUB, INFO(BTF_KIND_FUNC, linkage), PROTO);
	h.type_len = h.str_off = nwords * 4;
	h.str_len = sizeof(names);
	memcpy(blob, &h, sizeof(h));
	memcpy(blob + sizeof(h), words, nwords * 4);
	memcpy(blob + sizeof(h) + nwords * 4, names, sizeof(names));
	return bpf(BPF_BTF_LOAD, ATTR(.btf = PTR(blob), .btf_size = sizeof(h) + nwords * 4 + sizeof(names)));
}

struct program {
	struct bpf_insn main[24], sub[24];
	int linkage, result, nargs, args[6]; /* result 0: INT */
};

static int length(const struct bpf_insn *insns)
{
	int n = 0;

	while (insns[n].code != (BPF_JMP | BPF_EXIT) || insns[n + 1].code)
		n++;
	return n + 1;
}

/* main calls the function where it has a call. */
static int load(const struct program *p, int btf, int nfuncs, int type)
{
	static struct bpf_insn insns[64];
	int n = length(p->main), m = length(p->sub);
	struct bpf_func_info funcs[] = { { 0, MAIN }, { (unsigned)n, FUNC } };

	memcpy(insns, p->main, n * sizeof(*insns));
	memcpy(insns + n, p->sub, m * sizeof(*insns));
	for (int i = 0; i < n; i++)
		if (insns[i].code == (BPF_JMP | BPF_CALL) && insns[i].src_reg == BPF_PSEUDO_CALL)
			insns[i].imm = n - i - 1;
	bpf_log[0] = 0;
	return bpf(BPF_PROG_LOAD,
		   ATTR(.prog_type = type, .insns = PTR(insns), .insn_cnt = n + m, .license = PTR("GPL"),
			.log_level = 2, .log_buf = PTR(bpf_log), .log_size = sizeof(bpf_log), .prog_btf_fd = btf,
			.func_info = PTR(funcs), .func_info_cnt = nfuncs, .func_info_rec_size = sizeof(funcs[0])));
}

/* text: what the log says; error 0: accepted. */
static void verdict_of(int line, const struct program *p, int error, const char *text)
{
	int btf = types(p->linkage,
			p->result == NOTHING ? VOID
			: p->result          ? p->result
					     : INT,
			p->nargs, p->args),
	    fd, e;

	if (btf < 0)
		abi_fail("line %d: no types, errno %d", line, errno);
	fd = load(p, btf, 2, BPF_PROG_TYPE_SCHED_CLS);
	e = fd < 0 ? errno : 0;
	if (e != error || !strstr(bpf_log, text))
		abi_fail("line %d: errno %d, not %d; log ends: %s", line, e, error,
			 bpf_log + (strlen(bpf_log) > 150 ? strlen(bpf_log) - 150 : 0));
	if (fd >= 0)
		close(fd);
	close(btf);
}
#define REFUSED(error, text, ...) verdict_of(__LINE__, &(struct program){ __VA_ARGS__ }, error, text)
#define ACCEPTED(text, ...)       verdict_of(__LINE__, &(struct program){ __VA_ARGS__ }, 0, text)
#define CODE(...)                                                                                                      \
	{                                                                                                              \
		__VA_ARGS__                                                                                            \
	}
#define DONE MOV(0, 0), EXIT()

CASE(numbers)
{
	/* Any number: a static function may count on the caller's, a global one not. */
	ACCEPTED("", .main = CODE(MOVR(6, 1), MOV(1, -8), CALLSUB(0), DONE), .linkage = STATIC, .nargs = 1,
		 .args = { INT }, .sub = CODE(MOVR(2, 10), ALUR(ADD, 2, 1), ST(D, 2, 0, 1), DONE));
	REFUSED(EINVAL, "unbounded min value", .main = CODE(MOVR(6, 1), MOV(1, -8), CALLSUB(0), DONE),
		.linkage = GLOBAL, .nargs = 1, .args = { INT },
		.sub = CODE(MOVR(2, 10), ALUR(ADD, 2, 1), ST(D, 2, 0, 1), DONE));
	ACCEPTED("Func#1 is safe for any args that match its prototype", .main = CODE(MOV(1, 8), CALLSUB(0), DONE),
		 .linkage = GLOBAL, .nargs = 1, .args = { INT }, .sub = CODE(MOVR(0, 1), EXIT()));
	ACCEPTED("Func#1 is global and valid. Skipping.", .main = CODE(MOV(1, 8), CALLSUB(0), DONE), .linkage = GLOBAL,
		 .nargs = 1, .args = { INT }, .sub = CODE(MOVR(0, 1), EXIT()));
	ACCEPTED("Validating sub() func#1...", .main = CODE(MOV(1, 8), CALLSUB(0), DONE), .linkage = GLOBAL, .nargs = 1,
		 .args = { INT }, .sub = CODE(MOVR(0, 1), EXIT()));
	REFUSED(EINVAL, "R1 is not a scalar", .main = CODE(CALLSUB(0), DONE), .linkage = GLOBAL, .nargs = 1,
		.args = { INT }, .sub = CODE(MOVR(0, 1), EXIT()));
	REFUSED(EINVAL, "R2 is not a scalar", .main = CODE(MOV(1, 1), CALLSUB(0), DONE), .linkage = GLOBAL, .nargs = 2,
		.args = { INT, INT }, .sub = CODE(MOVR(0, 1), EXIT()));
	/* The result is any number: no way through it that only the function knows to be closed. */
	REFUSED(EINVAL, "unbounded min value",
		.main = CODE(CALLSUB(0), MOVR(2, 10), ALUR(ADD, 2, 0), ST(D, 2, 0, 1), DONE), .linkage = GLOBAL,
		.sub = CODE(MOV(0, -8), EXIT()));
	ACCEPTED("", .main = CODE(CALLSUB(0), MOVR(2, 10), ALUR(ADD, 2, 0), ST(D, 2, 0, 1), DONE), .linkage = STATIC,
		 .sub = CODE(MOV(0, -8), EXIT()));
}

CASE(memory)
{
	/* A pointer may be NULL in the function, whatever the caller has. */
	REFUSED(EACCES, "R1 invalid mem access 'mem_or_null'",
		.main = CODE(ST(D, 10, -8, 0), MOVR(1, 10), ALU(ADD, 1, -8), CALLSUB(0), DONE), .linkage = GLOBAL,
		.nargs = 1, .args = { P_PAIR }, .sub = CODE(LDX(W, 0, 1, 0), EXIT()));
	ACCEPTED("", .main = CODE(ST(D, 10, -8, 0), MOVR(1, 10), ALU(ADD, 1, -8), CALLSUB(0), DONE), .linkage = GLOBAL,
		 .nargs = 1, .args = { P_PAIR }, .sub = CODE(MOV(0, 0), JMP(JEQ, 1, 0, 1), LDX(W, 0, 1, 4), EXIT()));
	ACCEPTED("", .main = CODE(ST(D, 10, -8, 0), MOVR(1, 10), ALU(ADD, 1, -8), CALLSUB(0), DONE), .linkage = STATIC,
		 .nargs = 1, .args = { P_PAIR }, .sub = CODE(LDX(W, 0, 1, 0), EXIT()));
	REFUSED(EACCES, "", .main = CODE(ST(D, 10, -8, 0), MOVR(1, 10), ALU(ADD, 1, -8), CALLSUB(0), DONE),
		.linkage = GLOBAL, .nargs = 1, .args = { P_PAIR },
		.sub = CODE(MOV(0, 0), JMP(JEQ, 1, 0, 1), LDX(W, 0, 1, 8), EXIT()));
	ACCEPTED("", .main = CODE(MOV(1, 0), CALLSUB(0), DONE), .linkage = GLOBAL, .nargs = 1, .args = { P_PAIR },
		 .sub = CODE(DONE));
	REFUSED(EINVAL, "Caller passes invalid args into func#1", .main = CODE(MOV(1, 1), CALLSUB(0), DONE),
		.linkage = GLOBAL, .nargs = 1, .args = { P_PAIR }, .sub = CODE(DONE));
	REFUSED(EINVAL, "Caller passes invalid args into func#1",
		.main = CODE(ST(D, 10, -8, 0), MOVR(1, 10), ALU(ADD, 1, -4), CALLSUB(0), DONE), .linkage = GLOBAL,
		.nargs = 1, .args = { P_PAIR }, .sub = CODE(DONE));
	REFUSED(EINVAL, "Caller passes invalid args into func#1", .main = CODE(CALLSUB(0), DONE), .linkage = GLOBAL,
		.nargs = 1, .args = { P_PAIR }, .sub = CODE(DONE));
	REFUSED(EINVAL, "size cannot be determined", .main = CODE(MOV(1, 0), CALLSUB(0), DONE), .linkage = GLOBAL,
		.nargs = 1, .args = { P_VOID }, .sub = CODE(DONE));
	/* What the function may write, the caller no longer knows. */
	REFUSED(EINVAL, "unbounded min value",
		.main = CODE(ST(D, 10, -8, -8), MOVR(1, 10), ALU(ADD, 1, -8), CALLSUB(0), LDX(D, 2, 10, -8),
			     MOVR(1, 10), ALUR(ADD, 1, 2), ST(D, 1, 0, 0), DONE),
		.linkage = GLOBAL, .nargs = 1, .args = { P_PAIR }, .sub = CODE(DONE));
	ACCEPTED("",
		 .main = CODE(ST(D, 10, -8, -8), MOVR(1, 10), ALU(ADD, 1, -8), CALLSUB(0), LDX(D, 2, 10, -8),
			      MOVR(1, 10), ALUR(ADD, 1, 2), ST(D, 1, 0, 0), DONE),
		 .linkage = STATIC, .nargs = 1, .args = { P_PAIR }, .sub = CODE(DONE));
}

CASE(contexts)
{
	ACCEPTED("", .main = CODE(CALLSUB(0), DONE), .linkage = GLOBAL, .nargs = 1, .args = { P_SKB },
		 .sub = CODE(LDX(W, 0, 1, 0), EXIT()));
	REFUSED(EINVAL, "arg#0 expected pointer to ctx, but got PTR", .main = CODE(MOV(1, 0), CALLSUB(0), DONE),
		.linkage = GLOBAL, .nargs = 1, .args = { P_SKB }, .sub = CODE(LDX(W, 0, 1, 0), EXIT()));
	REFUSED(EACCES, "Caller passes invalid args", .main = CODE(ALU(ADD, 1, 4), CALLSUB(0), DONE), .linkage = GLOBAL,
		.nargs = 1, .args = { P_SKB }, .sub = CODE(DONE));
	REFUSED(EINVAL, "Caller passes invalid args into func#1", .main = CODE(CALLSUB(0), DONE), .linkage = GLOBAL,
		.nargs = 1, .args = { P_PAIR }, .sub = CODE(DONE));
}

CASE(prototypes)
{
	REFUSED(EINVAL, "Global function sub() doesn't return scalar. Only those are supported.",
		.main = CODE(CALLSUB(0), DONE), .linkage = GLOBAL, .result = NOTHING, .sub = CODE(DONE));
	REFUSED(EINVAL, "doesn't return scalar", .main = CODE(CALLSUB(0), DONE), .linkage = GLOBAL, .result = P_PAIR,
		.sub = CODE(DONE));
	ACCEPTED("", .main = CODE(CALLSUB(0), DONE), .linkage = STATIC, .result = NOTHING, .sub = CODE(DONE));
	REFUSED(EINVAL, "args. Buggy compiler.", .main = CODE(CALLSUB(0), DONE), .linkage = GLOBAL, .nargs = 6,
		.args = { INT, INT, INT, INT, INT, INT }, .sub = CODE(DONE));
	REFUSED(EINVAL, "type STRUCT in sub() is not supported yet.", .main = CODE(CALLSUB(0), DONE), .linkage = GLOBAL,
		.nargs = 1, .args = { PAIR }, .sub = CODE(DONE));
	REFUSED(EACCES, "", .main = CODE(CALLSUB(0), DONE), .linkage = GLOBAL, .sub = CODE(EXIT()));
	REFUSED(EINVAL, "At subprogram exit the register R0 is not a scalar value", .main = CODE(CALLSUB(0), DONE),
		.linkage = GLOBAL, .nargs = 1, .args = { P_SKB }, .sub = CODE(MOVR(0, 1), EXIT()));
}

/* A function that nobody gets to is verified all the same. */
CASE(unreached)
{
	REFUSED(EACCES, "", .main = CODE(MOV(1, 0), JMP(JEQ, 1, 0, 1), CALLSUB(0), DONE), .linkage = GLOBAL,
		.sub = CODE(LDX(D, 0, 10, 8), EXIT()));
	ACCEPTED("", .main = CODE(MOV(1, 0), JMP(JEQ, 1, 0, 1), CALLSUB(0), DONE), .linkage = STATIC,
		 .sub = CODE(LDX(D, 0, 10, 8), EXIT()));
}

CASE(records)
{
	struct program p = { .main = CODE(CALLSUB(0), DONE), .sub = CODE(DONE) };
	struct program tail = { .main = CODE(CALLSUB(0), DONE), .sub = CODE(MOVR(6, 1), LDABS(B, 0), EXIT()) };
	int btf = types(GLOBAL, INT, 0, NULL), skb = types(STATIC, INT, 1, (int[]){ P_SKB }),
	    none = types(STATIC, VOID, 1, (int[]){ P_SKB }), fd;

	want(btf >= 0 && skb >= 0 && none >= 0);
	fd = load(&p, btf, 2, BPF_PROG_TYPE_SCHED_CLS);
	want(fd >= 0);
	close(fd);
	want_errno(load(&p, btf, 1, BPF_PROG_TYPE_SCHED_CLS), EINVAL);
	want(strstr(bpf_log, "number of funcs in func_info doesn't match number of subprogs"));
	fd = load(&p, btf, 0, BPF_PROG_TYPE_SCHED_CLS);
	want(fd >= 0);
	close(fd);
	want_errno(load(&tail, btf, 0, BPF_PROG_TYPE_SCHED_CLS), EINVAL);
	want(strstr(bpf_log, "LD_ABS is not allowed in subprogs without BTF"));
	want_errno(load(&tail, none, 2, BPF_PROG_TYPE_SCHED_CLS), EINVAL);
	want(strstr(bpf_log, "LD_ABS is only allowed in functions that return 'int'."));
	fd = load(&tail, skb, 2, BPF_PROG_TYPE_SCHED_CLS);
	want(fd >= 0);
	close(fd);
	close(btf);
	close(skb);
	close(none);
}

/* At level 1 of the log only what failed remains of the functions. */
CASE(logs)
{
	int btf = types(GLOBAL, INT, 0, NULL);
	struct bpf_insn insns[] = { CALLSUB(2), MOV(0, 0), EXIT(), MOV(0, 0), EXIT() };
	struct bpf_func_info funcs[] = { { 0, MAIN }, { 3, FUNC } };
	int fd;

	want(btf >= 0);
	memset(bpf_log, 0, sizeof(bpf_log));
	fd = bpf(BPF_PROG_LOAD,
		 ATTR(.prog_type = BPF_PROG_TYPE_SCHED_CLS, .insns = PTR(insns), .insn_cnt = 5, .license = PTR("GPL"),
		      .log_level = 1, .log_buf = PTR(bpf_log), .log_size = sizeof(bpf_log), .prog_btf_fd = btf,
		      .func_info = PTR(funcs), .func_info_cnt = 2, .func_info_rec_size = sizeof(funcs[0])));
	want(fd >= 0);
	want(!strncmp(bpf_log, "processed 5 insns", 17));
	close(fd);
	close(btf);
}

int main(void)
{
	RUN(numbers);
	RUN(memory);
	RUN(contexts);
	RUN(prototypes);
	RUN(unreached);
	RUN(records);
	RUN(logs);
	return abi_status();
}
