/* SPDX-License-Identifier: MIT
 *
 * Problem: the log is the verifier's user interface: people and libbpf read it, tests compare it.
 *
 * Idea: the text form of Linux 6.1: each instruction with the registers that it changed behind it, whole states after
 * a jump, statistics in the last line; source lines (from BTF line info) in between, after "; ".
 *
 * Contract: vlog appends and never fails; a full buffer sets log_full and the load ends with ENOSPC, after the
 * verdict. The buffer is always terminated.
 *
 * Locks: none (one load, one thread).
 */
#include <lib/printf.h>
#include "verify_priv.h"

#define TEXT_COLUMN 40

/* Empties the window; false: there is no one to take it, or he failed. */
static bool drain(struct venv *env)
{
	const struct bpf_load *l = env->load;

	if (!l->drain || env->log_error)
		return false;
	env->log_error = l->drain(l->arg, env->log_start, env->log, env->log_len - env->log_start);
	env->log_start = env->log_len;
	env->log[0] = 0;
	return !env->log_error;
}

void vlog_finish(struct venv *env)
{
	if (env->log)
		(void)drain(env);
}

void vlog_rewind(struct venv *env, u32 len)
{
	env->log_len = len;
	env->log_start = min(env->log_start, len);
	env->log_full = false;
}

static void vlog_append(struct venv *env, const char *fmt, va_list ap)
{
	u32 used = env->log_len - env->log_start, left = env->log_size - env->log_len, room;
	va_list again;
	int n;

	if (!env->log_level || !env->log || env->log_full)
		return;
	va_copy(again, ap);
	room = min(left, env->log_window - used);
	n = str_vformat(env->log + used, room, fmt, ap);
	if (n >= 0 && (u32)n >= room && room < left) {
		env->log[used] = 0;
		if (drain(env)) {
			room = min(left, env->log_window);
			n = str_vformat(env->log, room, fmt, again);
		}
	}
	va_end(again);
	env->log_full = n < 0 || (u32)n >= room;
	env->log_len += env->log_full ? room - 1 : (u32)n;
}

void vlog(struct venv *env, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vlog_append(env, fmt, ap);
	va_end(ap);
}

const char *vkind_text(u8 kind)
{
	static const char *const names[V_KINDS] = {
		[V_NONE] = "?",
		[V_SCALAR] = "scalar",
		[V_CTX] = "ctx",
		[V_MAP_PTR] = "map_ptr",
		[V_MAP_VALUE] = "map_value",
		[V_MAP_KEY] = "map_key",
		[V_STACK] = "fp",
		[V_PKT_META] = "pkt_meta",
		[V_PKT] = "pkt",
		[V_PKT_END] = "pkt_end",
		[V_FLOW_KEYS] = "flow_keys",
		[V_SOCK] = "sock",
		[V_SOCK_COMMON] = "sock_common",
		[V_TCP_SOCK] = "tcp_sock",
		[V_XDP_SOCK] = "xdp_sock",
		[V_TP_BUFFER] = "tp_buffer",
		[V_MEM] = "mem",
		[V_BUF] = "buf",
		[V_FUNC] = "func",
		[V_BTF_ID] = "ptr_",
	};

	return names[kind];
}

const char *vreg_type_text(const struct vreg *reg, char buf[40])
{
	str_format(buf, 40, "%s%s%s",
		   reg->alloc    ? "alloc_"
		   : reg->rdonly ? "rdonly_"
				 : "",
		   vkind_text(reg->kind), reg->null_ok ? "_or_null" : "");
	return buf;
}

/* One attribute of a register, with the comma that separates it from the one before. */
struct attributes {
	struct venv *env;
	bool any;
};

static void attribute(struct attributes *a, const char *fmt, ...) __printf(2, 3);
static void attribute(struct attributes *a, const char *fmt, ...)
{
	va_list ap;

	if (a->any)
		vlog(a->env, ",");
	a->any = true;
	va_start(ap, fmt);
	vlog_append(a->env, fmt, ap);
	va_end(ap);
}

static void log_ranges(struct attributes *a, const struct scalar *v)
{
	char text[48];

	if (v->w.smin != (s64)v->w.umin && v->w.smin != INT64_MIN)
		attribute(a, "smin=%lld", (long long)v->w.smin);
	if (v->w.smax != (s64)v->w.umax && v->w.smax != INT64_MAX)
		attribute(a, "smax=%lld", (long long)v->w.smax);
	if (v->w.umin)
		attribute(a, "umin=%llu", (unsigned long long)v->w.umin);
	if (v->w.umax != UINT64_MAX)
		attribute(a, "umax=%llu", (unsigned long long)v->w.umax);
	if (v->bits.mask != ~0ULL) {
		tnum_text(text, sizeof(text), v->bits);
		attribute(a, "var_off=%s", text);
	}
	if (v->h.smin != v->w.smin && v->h.smin != INT32_MIN)
		attribute(a, "s32_min=%d", (int)v->h.smin);
	if (v->h.smax != v->w.smax && v->h.smax != INT32_MAX)
		attribute(a, "s32_max=%d", (int)v->h.smax);
	if (v->h.umin != v->w.umin && v->h.umin)
		attribute(a, "u32_min=%d", (int)v->h.umin);
	if (v->h.umax != v->w.umax && v->h.umax != UINT32_MAX)
		attribute(a, "u32_max=%d", (int)v->h.umax);
}

static void log_reg(struct venv *env, const struct vreg *r)
{
	struct attributes a = { .env = env };
	char text[40];

	if ((r->kind == V_SCALAR || r->kind == V_STACK) && scalar_is_const(&r->v)) {
		vlog(env, "%s%lld", r->kind == V_STACK ? "fp" : "", (long long)(r->v.bits.value + r->off));
		return;
	}
	vlog(env, "%s(", vreg_type_text(r, text));
	if (r->id)
		attribute(&a, "id=%u", r->id);
	if (r->ref_id)
		attribute(&a, "ref_obj_id=%u", r->ref_id);
	if (r->kind != V_SCALAR)
		attribute(&a, "off=%d", r->off);
	if (vreg_is_packet(r))
		attribute(&a, "r=%d", r->range);
	else if (r->map && (r->kind == V_MAP_PTR || r->kind == V_MAP_KEY || r->kind == V_MAP_VALUE))
		attribute(&a, "ks=%u,vs=%u", r->map->key_size, r->map->value_size);
	if (scalar_is_const(&r->v))
		attribute(&a, "imm=%llx", (unsigned long long)r->v.bits.value);
	else
		log_ranges(&a, &r->v);
	vlog(env, ")");
}

static void log_slot(struct venv *env, const struct vslot *s, u32 n)
{
	static const char letters[] = "?rm0";
	char text[40], bytes[9] = "";
	bool any = false;

	for (int i = 0; i < 8; i++) {
		any |= s->byte[i] != B_NONE;
		bytes[7 - i] = letters[s->byte[i]];
	}
	if (!any)
		return;
	vlog(env, " fp%d=", -8 * (int)(n + 1));
	if (s->byte[0] != B_SPILL)
		vlog(env, "%s", bytes);
	else if (s->reg.kind == V_SCALAR && scalar_is_const(&s->reg.v))
		vlog(env, "%lld", (long long)s->reg.v.bits.value);
	else
		vlog(env, "%s", s->reg.kind == V_SCALAR ? "" : vreg_type_text(&s->reg, text));
}

void vlog_state(struct venv *env, const struct vframe *f, bool all)
{
	u32 regs = all ? ~0U : env->scratched_regs;
	u64 slots = all ? ~0ULL : env->scratched_slots;

	if (f->no)
		vlog(env, " frame%u:", f->no);
	for (u32 i = 0; i < NR_REGS; i++) {
		if (f->regs[i].kind == V_NONE || !(regs >> i & 1))
			continue;
		vlog(env, " R%u%s=", i, f == vcur(env) && env->cur->regs_wrote >> i & 1 ? "_w" : "");
		log_reg(env, &f->regs[i]);
	}
	for (u32 i = 0; i < f->nslots; i++)
		if (slots >> i & 1)
			log_slot(env, &f->slots[i], i);
	if (env->cur->nrefs)
		vlog(env, " refs=%u", env->cur->refs[0].id);
	for (u32 i = 1; i < env->cur->nrefs; i++)
		vlog(env, ",%u", env->cur->refs[i].id);
	vlog(env, "\n");
	env->scratched_regs = 0;
	env->scratched_slots = 0;
}

/* The source line of an instruction, when it differs from the one printed last. */
void vlog_line(struct venv *env, u32 insn)
{
	const struct bpf_load *l = env->load;
	s32 best = -1;
	const char *text;

	for (u32 i = 0; l->btf && i < l->nr_lines && l->lines[i].insn_off <= insn; i++)
		best = i;
	if (best < 0 || best == env->last_line)
		return;
	env->last_line = best;
	text = bpf_btf_string(l->btf, l->lines[best].line_off);
	while (text && (*text == ' ' || *text == '\t'))
		text++;
	if (text)
		vlog(env, "; %s\n", text);
}

/* What the instruction before changed goes behind its text, if nothing else was printed since. */
void vlog_changes(struct venv *env)
{
	u32 column;

	if (!env->scratched_regs && !env->scratched_slots)
		return;
	if (env->insn_text_len && env->log_len == env->insn_text_end && !env->log_full) {
		vlog_rewind(env, env->log_len - 1); /* the newline */
		column = ALIGN_UP(max(env->insn_text_len + 8, (u32)TEXT_COLUMN), 8U);
		vlog(env, "%*s;", (int)(column - env->insn_text_len), "");
	} else {
		vlog(env, "%u:", env->insn);
	}
	vlog_state(env, vcur(env), false);
}

void vlog_insn(struct venv *env)
{
	char text[128];
	u32 start;

	if (!(env->log_level & 3))
		return;
	vlog_changes(env);
	vlog_line(env, env->insn);
	start = env->log_len;
	bpf_insn_text(&env->insns[env->insn], env->allow_leaks, text, sizeof(text));
	vlog(env, "%u: %s\n", env->insn, text);
	env->insn_text_len = env->log_len - start;
	env->insn_text_end = env->log_len;
}

void vlog_stats(struct venv *env)
{
	u32 depth = 0;

	if (env->log_level & 4) {
		vlog(env, "stack depth ");
		for (u32 i = 0; i < env->nr_subs; i++, depth++)
			vlog(env, "%s%u", i ? "+" : "", env->subs[i].stack);
		vlog(env, "\n");
	}
	vlog(env, "processed %u insns (limit %u) max_states_per_insn %u total_states %u peak_states %u mark_read %u\n",
	     env->processed, BPF_MAX_INSNS, env->max_states_per_insn, env->states, env->peak_states, 0);
}
