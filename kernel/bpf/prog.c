/* SPDX-License-Identifier: MIT
 *
 * Problem: loading a program is many steps that can fail; nothing may be half loaded, and what was verified must be
 * what runs.
 *
 * Idea: check the request, work on a private copy, verify, fix up, then build the program object; on any error
 * everything is freed and only the log remains. The object keeps references on its maps and BTF.
 *
 * Contract: bpf/prog.h.
 *
 * Locks: none; the object is immutable once returned and counted by refs.
 */
#include <alloc/slab.h>
#include <core/log.h>
#include "sys_priv.h"
#include "verify_priv.h"

#define BIND_MOST 4 /* maps that BPF_PROG_BIND_MAP may add */

static int check_request(const struct bpf_load *l)
{
	if (l->flags & ~(u32)BPF_LOAD_FLAGS)
		return fail(EINVAL, "unknown program flags: %#x", l->flags);
	if (l->len == 0 || l->len > (l->rights.bpf ? BPF_MAX_INSNS : BPF_MAXINSNS))
		return fail(E2BIG, "program length: %u", l->len);
	if (!bpf_type_rules(l->type))
		return fail(EINVAL, "unknown program type: %u", l->type);
	if (l->log && (l->log_size < 128 || l->log_size > UINT32_MAX >> 2 || !l->log_level || l->log_level & ~7U))
		return fail(EINVAL, "log size %u or level %u", l->log_size, l->log_level);
	return 0;
}

static struct venv *venv_new(const struct bpf_load *l)
{
	struct venv *env = kzalloc(sizeof(*env), 0);

	if (!env)
		return NULL;
	env->load = l;
	env->rules = bpf_type_rules(l->type);
	env->len = l->len;
	env->allow_leaks = l->rights.perfmon;
	env->bpf_capable = l->rights.bpf;
	env->strict = l->flags & BPF_F_STRICT_ALIGNMENT;
	env->log = l->log;
	env->log_size = l->log_size;
	env->log_window = l->drain ? l->log_window : l->log_size;
	env->log_level = l->log ? l->log_level : 0;
	env->last_line = -1;
	if (env->log)
		env->log[0] = 0;
	env->insns = big_alloc(l->len + 1, sizeof(*env->insns));
	env->aux = big_alloc(l->len + 1, sizeof(*env->aux));
	if (!env->insns || !env->aux) {
		big_free(env->insns);
		big_free(env->aux);
		kfree(env);
		return NULL;
	}
	memcpy(env->insns, l->insns, l->len * sizeof(*env->insns));
	for (u32 i = 0; i < l->len; i++)
		env->aux[i].new_size = 0xff;
	return env;
}

static void venv_free(struct venv *env)
{
	big_free(env->insns);
	big_free(env->aux);
	kfree(env);
}

/* Readers look without a lock: a slot is filled before it counts. */
int bpf_prog_bind(struct bpf_prog *prog, struct bpf_map *map)
{
	static struct bpf_lock lock;
	ulong irq = bpf_lock(&lock);
	u32 n = prog->nr_maps, i = 0;
	int err = 0;

	while (i < n && prog->maps[i] != map)
		i++;
	if (i == n && n == prog->maps_room) {
		err = -E2BIG;
	} else if (i == n) {
		bpf_map_get(map);
		prog->maps[n] = map;
		smp_store_release(&prog->nr_maps, n + 1);
	}
	bpf_unlock(&lock, irq);
	return err;
}

static int fill_maps(struct bpf_prog *prog, const struct venv *env)
{
	prog->maps_room = env->nr_maps + BIND_MOST;
	prog->maps = kcalloc(prog->maps_room, sizeof(*prog->maps), 0);
	prog->call_maps = big_alloc(env->len, sizeof(*prog->call_maps));
	if (!env->allow_leaks)
		prog->alu_limits = big_alloc(env->len, sizeof(*prog->alu_limits));
	if (!prog->maps || !prog->call_maps || (!env->allow_leaks && !prog->alu_limits))
		return -ENOMEM;
	for (u32 i = 0; prog->alu_limits && i < env->len; i++)
		prog->alu_limits[i] = (struct bpf_alu_limit){ env->aux[i].alu_limit, env->aux[i].alu_state };
	for (u32 i = 0; i < env->nr_maps; i++) {
		bpf_map_get(env->maps[i]);
		prog->maps[prog->nr_maps++] = env->maps[i];
	}
	for (u32 i = 0; i < env->len; i++)
		if (is_helper_call(&env->insns[i]))
			prog->call_maps[i] = env->aux[i].map;
	return 0;
}

static int fill_code(struct bpf_prog *prog, struct venv *env)
{
	prog->subs = kcalloc(env->nr_subs, sizeof(*prog->subs), 0);
	if (!prog->subs)
		return -ENOMEM;
	prog->nr_subs = env->nr_subs;
	for (u32 i = 0; i < env->nr_subs; i++) {
		prog->subs[i].start = env->subs[i].start;
		prog->subs[i].stack = env->subs[i].stack;
	}
	prog->insns = env->insns;
	env->insns = NULL;
	prog->len = env->len;
	return 0;
}

static int build(struct venv *env, struct bpf_prog **out)
{
	const struct bpf_load *l = env->load;
	struct bpf_prog *prog = kzalloc(sizeof(*prog), 0);
	int err = prog ? fill_maps(prog, env) : -ENOMEM;

	err = err ? err : fill_code(prog, env);
	if (err) {
		if (prog) {
			refcount_set(&prog->refs, 1);
			bpf_prog_put(prog);
		}
		return err;
	}
	refcount_set(&prog->refs, 1);
	prog->type = l->type;
	prog->attach_type = l->attach_type;
	prog->gpl = l->gpl;
	prog->uses_ctx_write = env->ctx_written;
	prog->has_tail_call = env->has_tail_call;
	prog->hook_only = env->hook_only;
	prog->verified_insns = env->processed;
	prog->ctx_fields = env->ctx_fields;
	prog->max_pkt_off = env->max_pkt_off;
	prog->max_ctx_off = env->max_ctx_off;
	prog->load_ns = bpf_env.boot_ns();
	if (l->btf) {
		bpf_btf_get(l->btf);
		prog->btf = l->btf;
	}
	*out = prog;
	return 0;
}

int bpf_prog_new(const struct bpf_load *load, struct bpf_prog **out)
{
	int err = check_request(load);
	struct venv *env;

	if (err)
		return err;
	env = venv_new(load);
	if (!env)
		return -ENOMEM;
	err = bpf_verify(env);
	vlog_finish(env);
	if (env->log_error)
		err = env->log_error;
	else if (env->log_full)
		err = -ENOSPC;
	if (!err) {
		bpf_fixup(env);
		err = build(env, out);
	}
	venv_free(env);
	return err;
}

static void free_now(void *obj)
{
	struct bpf_prog *prog = obj;

	if (prog->free_image)
		prog->free_image(prog);
	for (u32 i = 0; i < prog->nr_maps; i++)
		bpf_map_put(prog->maps[i]);
	if (prog->btf)
		bpf_btf_put(prog->btf);
	big_free(prog->funcs);
	big_free(prog->lines);
	big_free(prog->line_code);
	kfree(prog->maps);
	big_free(prog->call_maps);
	big_free(prog->alu_limits);
	kfree(prog->subs);
	big_free(prog->insns);
	kfree(prog);
}

void bpf_prog_get(struct bpf_prog *prog)
{
	refcount_inc(&prog->refs);
}

void bpf_prog_put(struct bpf_prog *prog)
{
	if (!prog || !refcount_dec_and_test(&prog->refs))
		return;
	if (prog->id)
		bpf_object_drop(BPF_OBJ_PROG, prog->id);
	bpf_env.call_rcu(prog, free_now);
}

bool bpf_stats_on;

u64 bpf_prog_run_counted(struct bpf_prog *prog, const void *ctx)
{
	u64 start = bpf_env.now_ns(), r = prog->jited ? prog->jited(ctx) : bpf_interpret(prog, ctx);

	__atomic_fetch_add(&prog->stats.ns, bpf_env.now_ns() - start, __ATOMIC_RELAXED);
	__atomic_fetch_add(&prog->stats.runs, 1, __ATOMIC_RELAXED);
	return r;
}
