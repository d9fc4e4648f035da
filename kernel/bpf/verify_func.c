/* SPDX-License-Identifier: MIT
 *
 * Problem: a big program is verified once more at each call of each of its functions.
 *
 * Idea: a function that the compiler calls global is verified by itself, once, for all arguments that its type (BTF)
 * allows: numbers, the context, memory of the size of what a pointer points to, or NULL. A call then only checks that
 * the arguments are such, and knows of the result that it is a number. The functions' records are checked here too.
 *
 * Contract: verify_priv.h. Rules and messages as Linux 6.1; but a global function that may move the packet makes its
 * caller forget pointers into it, as newer ones do.
 *
 * Locks: none (one load, one thread).
 */
#include "verify_priv.h"

#define ARGS_MOST 5

static const char *kind_name(const struct btf_type *t)
{
	static const char *const names[] = { "UNKNOWN", "INT",      "PTR",      "ARRAY",      "STRUCT",
					     "UNION",   "ENUM",     "FWD",      "TYPEDEF",    "VOLATILE",
					     "CONST",   "RESTRICT", "FUNC",     "FUNC_PROTO", "VAR",
					     "DATASEC", "FLOAT",    "DECL_TAG", "TYPE_TAG",   "ENUM64" };

	return names[t ? BTF_INFO_KIND(t->info) : 0];
}

static const struct btf_type *plain(const struct venv *env, u32 id)
{
	return bpf_btf_plain(env->load->btf, id);
}

static bool is_kind(const struct btf_type *t, u32 kind)
{
	return t && BTF_INFO_KIND(t->info) == kind;
}

static bool is_number(const struct btf_type *t)
{
	return is_kind(t, BTF_KIND_INT) || is_kind(t, BTF_KIND_ENUM) || is_kind(t, BTF_KIND_ENUM64);
}

/* ---- the records of functions -------------------------------------------------------------------------------------
 */

struct prototype {
	const char *name;
	u32 nargs;
	const struct btf_param *args;
	u32 result;
};

static bool find_prototype(const struct venv *env, u32 sub, struct prototype *out)
{
	const struct bpf_btf *btf = env->load->btf;
	const struct btf_type *f = bpf_btf_type(btf, env->subs[sub].type_id);
	const struct btf_type *t = f ? bpf_btf_type(btf, f->type) : NULL;

	if (!is_kind(t, BTF_KIND_FUNC_PROTO))
		return false;
	*out = (struct prototype){ bpf_btf_string(btf, f->name_off), BTF_INFO_VLEN(t->info), (const void *)(t + 1),
				   t->type };
	return true;
}

/* Without a known type: these jump out of a function with a result of their own. */
static int check_nameless(struct venv *env)
{
	for (u32 i = 1; i < env->nr_subs; i++) {
		const char *what = env->subs[i].has_ld_abs ? "LD_ABS" : env->subs[i].has_tail_call ? "tail_call" : NULL;

		if (!what)
			continue;
		vlog(env, "%s is not allowed in subprogs without BTF\n", what);
		return -EINVAL;
	}
	return 0;
}

static int check_record(struct venv *env, u32 i)
{
	const struct bpf_func_info *r = &env->load->funcs[i];
	const struct btf_type *f = bpf_btf_type(env->load->btf, r->type_id), *result;
	struct vsub *s = &env->subs[i];
	struct prototype p;
	bool returns;

	if (!i && r->insn_off) {
		vlog(env, "nonzero insn_off %u for the first func info record", r->insn_off);
		return -EINVAL;
	}
	if (i && r->insn_off <= r[-1].insn_off) {
		vlog(env, "same or smaller insn offset (%u) than previous func info record (%u)", r->insn_off,
		     r[-1].insn_off);
		return -EINVAL;
	}
	if (s->start != r->insn_off) {
		vlog(env, "func_info BTF section doesn't match subprog layout in BPF program\n");
		return -EINVAL;
	}
	s->type_id = r->type_id;
	if (!is_kind(f, BTF_KIND_FUNC) || !find_prototype(env, i, &p)) {
		vlog(env, "invalid type id %u in func info", r->type_id);
		return -EINVAL;
	}
	s->is_global = i && BTF_INFO_VLEN(f->info) == BTF_FUNC_GLOBAL;
	result = plain(env, p.result);
	returns = is_number(result);
	if (i && !returns && (s->has_ld_abs || s->has_tail_call)) {
		vlog(env, "%s is only allowed in functions that return 'int'.\n",
		     s->has_ld_abs ? "LD_ABS" : "tail_call");
		return -EINVAL;
	}
	return 0;
}

/* Whether a function may move the packet, by itself or by what it calls. */
static void find_movers(struct venv *env)
{
	bool again = true;

	while (again) {
		again = false;
		for (u32 sub = 0, i = 0; i < env->len; i++) {
			const struct bpf_insn *insn = &env->insns[i];
			const struct bpf_helper *h = is_helper_call(insn) ? bpf_helper_get((u32)insn->imm) : NULL;
			int to = is_subprog_call(insn) || is_func_pointer(insn) ? vflow_find_sub(env, i + 1 + insn->imm)
										: -1;

			sub += i == env->subs[sub + 1].start;
			if (env->subs[sub].moves_packet ||
			    !((h && h->changes_packet) || (to >= 0 && env->subs[to].moves_packet)))
				continue;
			env->subs[sub].moves_packet = again = true;
		}
	}
}

int vfunc_check(struct venv *env)
{
	const struct bpf_load *l = env->load;
	int err = 0;

	if (!l->nr_funcs)
		return check_nameless(env);
	if (l->nr_funcs != env->nr_subs) {
		vlog(env, "number of funcs in func_info doesn't match number of subprogs\n");
		return -EINVAL;
	}
	for (u32 i = 0; !err && i < env->nr_subs; i++)
		err = check_record(env, i);
	find_movers(env);
	return err;
}

/* ---- arguments ----------------------------------------------------------------------------------------------------
 */

/* The context has the name that the program's type gives it. */
static bool is_context(const struct venv *env, const struct btf_type *pointer)
{
	const struct btf_type *t = plain(env, pointer->type);
	const char *name = bpf_context_name(env->load->type);

	return is_kind(t, BTF_KIND_STRUCT) && name && !strcmp(bpf_btf_string(env->load->btf, t->name_off), name);
}

/* Bytes of what a pointer points to; -EINVAL with a message. */
static s64 pointed_bytes(struct venv *env, const struct btf_type *pointer, u32 arg)
{
	const struct btf_type *t = plain(env, pointer->type);
	s64 bytes = t ? bpf_btf_size(env->load->btf, pointer->type) : -EINVAL;

	if (bytes < 0)
		vlog(env, "arg#%u reference type('%s %s') size cannot be determined: %d\n", arg, kind_name(t),
		     t ? bpf_btf_string(env->load->btf, t->name_off) : "", (int)bytes);
	return bytes;
}

/* The caller's memory may be read and written through it. */
static int check_memory(struct venv *env, u32 regno, s32 bytes)
{
	struct vreg *reg = &vregs(env)[regno], before = *reg;
	int err;

	if (vreg_is_zero(reg))
		return 0;
	reg->null_ok = false;
	err = vmem_helper(env, regno, bytes, true, false);
	err = err ? err : vmem_helper(env, regno, bytes, true, true);
	vregs(env)[regno] = before;
	return err ? -EINVAL : 0;
}

static int check_argument(struct venv *env, u32 arg, u32 type)
{
	const struct btf_type *t = plain(env, type);
	const struct vreg *reg = &vregs(env)[arg + 1];
	s64 bytes;
	int err;

	if (is_number(t)) {
		if (reg->kind == V_SCALAR)
			return 0;
		vlog(env, "R%u is not a scalar\n", arg + 1);
		return -EINVAL;
	}
	if (!is_kind(t, BTF_KIND_PTR)) {
		vlog(env, "Unrecognized arg#%u type %s\n", arg, kind_name(t));
		return -EINVAL;
	}
	err = vcall_check_offset(env, arg + 1);
	if (err)
		return err;
	if (is_context(env, t)) {
		if (reg->kind == V_CTX)
			return 0;
		vlog(env, "arg#%u expected pointer to ctx, but got %s\n", arg, kind_name(t));
		return -EINVAL;
	}
	bytes = pointed_bytes(env, t, arg);
	return bytes < 0 ? (int)bytes : check_memory(env, arg + 1, (s32)bytes);
}

int vfunc_call(struct venv *env, u32 sub)
{
	struct prototype p;
	int err = find_prototype(env, sub, &p) ? 0 : -EFAULT;

	if (!err && p.nargs > ARGS_MOST) {
		vlog(env, "Function %s has %u > %d args\n", p.name, p.nargs, ARGS_MOST);
		err = -EINVAL;
	}
	for (u32 i = 0; !err && i < p.nargs; i++)
		err = check_argument(env, i, p.args[i].type);
	if (err) {
		vlog(env, "Caller passes invalid args into func#%u\n", sub);
		return err;
	}
	if (env->log_level & 3)
		vlog(env, "Func#%u is global and valid. Skipping.\n", sub);
	return 0;
}

/* ---- a function by itself -----------------------------------------------------------------------------------------
 */

static int begin_argument(struct venv *env, const struct prototype *p, u32 arg)
{
	const struct btf_type *t = plain(env, p->args[arg].type);
	struct vreg *reg = &vregs(env)[arg + 1];
	s64 bytes;

	if (is_number(t)) {
		vreg_set_unknown(reg);
		return 0;
	}
	if (!is_kind(t, BTF_KIND_PTR)) {
		vlog(env, "Arg#%u type %s in %s() is not supported yet.\n", arg, kind_name(t), p->name);
		return -EINVAL;
	}
	if (is_context(env, t)) {
		vreg_set_pointer(reg, V_CTX);
		return 0;
	}
	bytes = pointed_bytes(env, t, arg);
	if (bytes < 0)
		return (int)bytes;
	vreg_set_pointer(reg, V_MEM);
	reg->mem_size = (u32)bytes;
	reg->null_ok = true;
	reg->id = ++env->ids;
	return 0;
}

int vfunc_begin(struct venv *env, u32 sub)
{
	struct prototype p;
	int err = 0;

	if (!find_prototype(env, sub, &p))
		return -EFAULT;
	if (env->log_level & 3)
		vlog(env, "Validating %s() func#%u...\n", p.name, sub);
	if (p.nargs > ARGS_MOST) {
		vlog(env, "Global function %s() with %u > %d args. Buggy compiler.\n", p.name, p.nargs, ARGS_MOST);
		return -EINVAL;
	}
	if (!is_number(plain(env, p.result))) {
		vlog(env, "Global function %s() doesn't return scalar. Only those are supported.\n", p.name);
		return -EINVAL;
	}
	for (u32 i = 0; !err && i < p.nargs; i++)
		err = begin_argument(env, &p, i);
	return err;
}

int vfunc_result(struct venv *env)
{
	const struct vreg *r0 = &vregs(env)[0];
	char type[40];

	if (r0->kind == V_SCALAR)
		return 0;
	vlog(env, "At subprogram exit the register R0 is not a scalar value (%s)\n", vreg_type_text(r0, type));
	return -EINVAL;
}
