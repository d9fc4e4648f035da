/* SPDX-License-Identifier: MIT
 *
 * Problem: a program has exponentially many paths; the verifier has to walk each of them in effect, within a budget.
 *
 * Idea: paths wait on a stack (vstate_push, vstate_pop). At joins a checkpoint of the state is kept; a later path
 * that arrives with a state that the checkpoint covers is done, because whatever may happen to it happened to the
 * checkpoint's continuation, which was found safe. A covers B if every fact of A that the continuation can depend on
 * holds in B: dead registers and slots that no continuation read are ignored, imprecise scalars may differ.
 *
 *      checkpoint --parent--> checkpoint --parent--> ... --> start
 *         ^ read: slots that continuations read      ^ wrote: slots overwritten on the way to the next checkpoint
 *
 * A read of a slot is marked in all checkpoints back to the one before which it was written. `branches` counts paths
 * that are still open below a checkpoint: while it is not 0 the checkpoint proves nothing, and meeting it again
 * unchanged is an endless loop.
 *
 * Contract: verify_priv.h. Heuristics (when to keep a checkpoint, when to retire one) have Linux 6.1's thresholds, so
 * that the same programs fit the budget.
 *
 * Locks: none (one load, one thread).
 */
#include <alloc/slab.h>
#include "verify_priv.h"

#define MAX_STATES_UNPRIVILEGED 64

struct vframe *vframe_new(u32 no, u32 subprog, u32 callsite)
{
	struct vframe *f = kzalloc(sizeof(*f), 0);

	if (!f)
		return NULL;
	f->no = no;
	f->subprog = subprog;
	f->callsite = callsite;
	vreg_set_pointer(&f->regs[FP], V_STACK);
	f->regs[FP].frame = no;
	return f;
}

void vframe_free(struct vframe *f)
{
	if (f)
		kfree(f->slots);
	kfree(f);
}

struct vslot *vframe_slots(struct vframe *f, u32 n)
{
	struct vslot *bigger;

	if (n <= f->nslots)
		return f->slots;
	bigger = krealloc(f->slots, n * sizeof(*bigger), 0);
	if (!bigger)
		return NULL;
	memset(bigger + f->nslots, 0, (n - f->nslots) * sizeof(*bigger));
	f->slots = bigger;
	f->nslots = n;
	return bigger;
}

void vstate_free(struct vstate *st)
{
	if (!st)
		return;
	for (u32 i = 0; i < BPF_MAX_FRAMES; i++)
		vframe_free(st->frames[i]);
	kfree(st->refs);
	kfree(st);
}

static struct vframe *frame_copy(const struct vframe *from)
{
	struct vframe *f = kmalloc(sizeof(*f), 0);

	if (!f)
		return NULL;
	*f = *from;
	f->slots = NULL;
	if (!from->nslots)
		return f;
	f->slots = kmalloc(from->nslots * sizeof(*f->slots), 0);
	if (!f->slots) {
		kfree(f);
		return NULL;
	}
	memcpy(f->slots, from->slots, from->nslots * sizeof(*f->slots));
	return f;
}

/* Fills dst, which is zeroed memory, with a copy; on failure dst can be freed. */
static int state_copy(struct vstate *dst, const struct vstate *src)
{
	*dst = *src;
	memset(dst->frames, 0, sizeof(dst->frames));
	dst->refs = NULL;
	for (u32 i = 0; i <= src->cur; i++) {
		dst->frames[i] = frame_copy(src->frames[i]);
		if (!dst->frames[i])
			return -ENOMEM;
	}
	if (!src->nrefs)
		return 0;
	dst->refs = kmalloc(src->nrefs * sizeof(*dst->refs), 0);
	if (!dst->refs)
		return -ENOMEM;
	memcpy(dst->refs, src->refs, src->nrefs * sizeof(*dst->refs));
	return 0;
}

int vstate_push(struct venv *env, u32 insn, u32 prev, struct vstate **out)
{
	struct vpending *p = kzalloc(sizeof(*p), 0);
	struct vstate *st = kzalloc(sizeof(*st), 0);
	int err = p && st ? state_copy(st, env->cur) : -ENOMEM;

	if (!err && env->nr_pending >= MAX_PENDING) {
		vlog(env, "The sequence of %u jumps is too complex.\n", env->nr_pending);
		err = -E2BIG;
	}
	if (err) {
		vstate_free(st);
		kfree(p);
		return err;
	}
	*p = (struct vpending){ .st = st, .insn = insn, .prev = prev, .log_len = env->log_len, .next = env->pending };
	st->branches = 0;
	if (st->parent)
		st->parent->branches++;
	env->pending = p;
	env->nr_pending++;
	*out = st;
	return 0;
}

/* The current path is over: checkpoints without open paths below become proofs. */
static void close_path(struct vstate *st)
{
	for (struct vstate *p = st->parent; p; p = p->parent)
		if (--p->branches)
			break;
}

int vstate_pop(struct venv *env)
{
	struct vpending *p = env->pending;

	close_path(env->cur);
	vstate_free(env->cur);
	env->cur = NULL;
	if (!p)
		return 0;
	env->cur = p->st;
	env->insn = p->insn;
	env->prev = p->prev;
	if (!(env->log_level & 2)) /* level 1 shows only the path that fails */
		vlog_rewind(env, p->log_len);
	env->insn_text_len = 0;
	env->pending = p->next;
	env->nr_pending--;
	kfree(p);
	return 1;
}

int vstate_acquire(struct venv *env)
{
	struct vstate *st = env->cur;
	struct vref *more = krealloc(st->refs, (st->nrefs + 1) * sizeof(*more), 0);

	if (!more)
		return -ENOMEM;
	st->refs = more;
	more[st->nrefs++] = (struct vref){ .id = ++env->ids, .insn = env->insn };
	return (int)env->ids;
}

int vstate_release(struct venv *env, u32 id)
{
	struct vstate *st = env->cur;

	for (u32 i = 0; i < st->nrefs; i++) {
		if (st->refs[i].id != id)
			continue;
		st->refs[i] = st->refs[--st->nrefs];
		return 0;
	}
	return -EINVAL;
}

void vstate_mark_read(struct venv *env, u32 frame, u64 slots)
{
	struct vstate *st = env->cur;

	for (; st->parent; st = st->parent) {
		slots &= ~st->wrote[frame];
		if (!(slots & ~st->parent->read[frame]))
			break; /* whoever marked it before went all the way up */
		st->parent->read[frame] |= slots;
	}
}

/* ---- does an older state cover the current one? ---------------------------------------------------- */

struct idpair {
	u32 old, cur;
};

struct cover {
	struct venv *env;
	bool exact; /* nothing may be ignored */
	struct idpair ids[NR_REGS + NR_SLOTS + 1];
	u32 nids, unnamed;
};

/* Objects that are the same in the old state must be the same in the current one. */
static bool ids_match(struct cover *c, u32 old, u32 cur)
{
	if (!cur)
		cur = ~0U - c->unnamed++; /* not linked to anything */
	for (u32 i = 0; i < c->nids; i++)
		if (c->ids[i].old == old || c->ids[i].cur == cur)
			return c->ids[i].old == old && c->ids[i].cur == cur;
	if (c->nids == ARRAY_SIZE(c->ids))
		return false;
	c->ids[c->nids++] = (struct idpair){ old, cur };
	return true;
}

static bool same_shape(const struct vreg *a, const struct vreg *b)
{
	return a->kind == b->kind && a->null_ok == b->null_ok && a->rdonly == b->rdonly && a->alloc == b->alloc &&
	       a->off == b->off && a->mem_size == b->mem_size && a->map_uid == b->map_uid && a->map == b->map;
}

static bool same_exactly(const struct vreg *a, const struct vreg *b)
{
	return same_shape(a, b) && a->id == b->id && a->ref_id == b->ref_id && !memcmp(&a->v, &b->v, sizeof(a->v));
}

static bool packet_covers(struct cover *c, const struct vreg *old, const struct vreg *cur)
{
	if (old->off != cur->off)
		return false;
	if (old->range < 0 || cur->range < 0 ? old->range != cur->range : old->range > cur->range)
		return false;
	if (old->id && !ids_match(c, old->id, cur->id))
		return false;
	return scalar_within(&old->v, &cur->v);
}

static bool scalar_covers(struct cover *c, const struct vreg *old, const struct vreg *cur, bool precise)
{
	if (c->env->explore_limits) /* another number may need another mask (verify_spec.c) */
		return same_exactly(old, cur);
	if (!precise)
		return true;
	if (old->id && !ids_match(c, old->id, cur->id))
		return false;
	return scalar_within(&old->v, &cur->v);
}

static bool reg_covers(struct cover *c, const struct vreg *old, const struct vreg *cur, bool precise)
{
	if (old->kind == V_NONE)
		return true;
	if (cur->kind != old->kind || cur->null_ok != old->null_ok)
		return false;
	switch (old->kind) {
	case V_SCALAR: return scalar_covers(c, old, cur, precise);
	case V_PKT:
	case V_PKT_META: return packet_covers(c, old, cur);
	case V_MAP_VALUE:
	case V_MAP_KEY:
	case V_MEM:
	case V_BUF:
	case V_TP_BUFFER:
		if (!same_shape(old, cur) || !scalar_within(&old->v, &cur->v))
			return false;
		if (old->null_ok || (old->map && old->map->spin_lock_off >= 0))
			if (old->id && !ids_match(c, old->id, cur->id))
				return false;
		return !old->ref_id == !cur->ref_id && (!old->ref_id || ids_match(c, old->ref_id, cur->ref_id));
	case V_STACK: return same_shape(old, cur) && !memcmp(&old->v, &cur->v, sizeof(old->v));
	}
	if (!same_shape(old, cur) || memcmp(&old->v, &cur->v, sizeof(old->v)))
		return false;
	if (old->id && !ids_match(c, old->id, cur->id))
		return false;
	return !old->ref_id == !cur->ref_id && (!old->ref_id || ids_match(c, old->ref_id, cur->ref_id));
}

static bool slot_covers(struct cover *c, const struct vslot *old, const struct vslot *cur, bool precise)
{
	for (int b = 0; b < 8; b++) {
		u8 o = old->byte[b], n = cur ? cur->byte[b] : B_NONE;

		if (o == B_NONE || (o == B_MISC && c->env->allow_leaks && !c->exact) || (o == B_MISC && n == B_ZERO))
			continue;
		if (o != n)
			return false;
	}
	return old->byte[0] != B_SPILL || reg_covers(c, &old->reg, &cur->reg, precise);
}

static bool frame_covers(struct cover *c, const struct vstate *old, const struct vstate *cur, u32 n)
{
	const struct vframe *fo = old->frames[n], *fc = cur->frames[n];
	bool top = n == old->cur;
	const struct vinsn *aux = &c->env->aux[top ? old->insn : old->frames[n + 1]->callsite + 1];
	u16 live = aux->live, precise = aux->precise;
	u64 precise_slots = c->env->all_slots_precise ? ~0ULL : aux->precise_slots;

	if (!c->env->bpf_capable) /* as Linux: nothing of theirs is imprecise */
		precise = 0x3ff, precise_slots = ~0ULL;
	if (c->exact) {
		live = precise = 0x3ff;
		precise_slots = ~0ULL;
	}
	if (!top)
		live &= 0x3c0; /* the call gave up the others */
	if (fo->callsite != fc->callsite || fo->subprog != fc->subprog || fo->callback != fc->callback)
		return false;
	for (u32 r = 0; r < FP; r++)
		if (live >> r & 1 && !reg_covers(c, &fo->regs[r], &fc->regs[r], precise >> r & 1))
			return false;
	for (u32 s = 0; s < fo->nslots; s++) {
		if (!c->exact && !(old->read[n] >> s & 1))
			continue;
		if (!slot_covers(c, &fo->slots[s], s < fc->nslots ? &fc->slots[s] : NULL, precise_slots >> s & 1))
			return false;
	}
	return true;
}

static bool refs_match(struct cover *c, const struct vstate *old, const struct vstate *cur)
{
	if (old->nrefs != cur->nrefs)
		return false;
	for (u32 i = 0; i < old->nrefs; i++)
		if (!ids_match(c, old->refs[i].id, cur->refs[i].id))
			return false;
	return true;
}

static bool state_covers(struct venv *env, const struct vstate *old, const struct vstate *cur, bool exact)
{
	struct cover c = { .env = env, .exact = exact };

	if (old->speculative && !cur->speculative)
		return false;
	if (old->cur != cur->cur || !old->lock_id != !cur->lock_id)
		return false;
	if (old->lock_id && !ids_match(&c, old->lock_id, cur->lock_id))
		return false;
	if (!refs_match(&c, old, cur))
		return false;
	for (u32 i = 0; i <= old->cur; i++)
		if (!frame_covers(&c, old, cur, i))
			return false;
	return true;
}

/* An open checkpoint met again with all registers of the running frame unchanged. */
static bool same_registers(const struct vstate *old, const struct vstate *cur)
{
	if (old->cur != cur->cur)
		return false;
	for (u32 r = 0; r < NR_REGS; r++)
		if (!same_exactly(&old->frames[old->cur]->regs[r], &cur->frames[cur->cur]->regs[r]))
			return false;
	return true;
}

/* ---- checkpoints ------------------------------------------------------------------------------------- */

static int add_checkpoint(struct venv *env)
{
	struct vcheckpoint *cp = kzalloc(sizeof(*cp), 0);
	int err = cp ? state_copy(&cp->st, env->cur) : -ENOMEM;

	if (err) {
		for (u32 i = 0; cp && i < BPF_MAX_FRAMES; i++)
			vframe_free(cp->st.frames[i]);
		if (cp)
			kfree(cp->st.refs);
		kfree(cp);
		return err;
	}
	env->states++;
	env->peak_states++;
	env->seen_jumps = env->jumps;
	env->seen_processed = env->processed;
	cp->st.insn = env->insn;
	cp->st.branches = 1;
	memset(cp->st.read, 0, sizeof(cp->st.read));
	cp->next = env->table[env->insn];
	env->table[env->insn] = cp;
	env->cur->parent = &cp->st;
	memset(env->cur->wrote, 0, sizeof(env->cur->wrote));
	env->cur->regs_wrote = 0;
	return 0;
}

static void retire(struct venv *env, struct vcheckpoint **at)
{
	struct vcheckpoint *cp = *at;

	*at = cp->next;
	cp->next = env->retired;
	env->retired = cp;
	env->peak_states--;
	/* It may be the parent of open paths; only its marks matter from here on. */
	for (u32 i = 0; i < BPF_MAX_FRAMES; i++) {
		vframe_free(cp->st.frames[i]);
		cp->st.frames[i] = NULL;
	}
}

/* What the proof read, this path reads as well. */
static void inherit_reads(struct venv *env, const struct vstate *old)
{
	for (u32 i = 0; i <= old->cur; i++)
		if (old->read[i])
			vstate_mark_read(env, i, old->read[i]);
}

static bool worth_keeping(const struct venv *env)
{
	return env->load->flags & BPF_F_TEST_STATE_FREQ || env->aux[env->insn].calls_back ||
	       (env->jumps - env->seen_jumps >= 2 && env->processed - env->seen_processed >= 8);
}

int vstate_visit(struct venv *env)
{
	struct vcheckpoint **at = &env->table[env->insn];
	bool keep = worth_keeping(env);
	u32 count = 0;

	if (!env->aux[env->insn].join)
		return 0;
	while (*at) {
		struct vcheckpoint *cp = *at;

		count++;
		if (cp->st.branches) {
			if (env->aux[env->insn].calls_back) {
				if (!state_covers(env, &cp->st, env->cur, true))
					goto miss;
				/* The next round of a callback brings nothing new. What the walk from here
				 * reads is not known yet, so it counts as everything. */
				for (u32 i = 0; i <= env->cur->cur; i++)
					vstate_mark_read(env, i, ~0ULL);
				return 1;
			}
			if (same_registers(&cp->st, env->cur) && state_covers(env, &cp->st, env->cur, false)) {
				vlog_line(env, env->insn);
				vlog(env, "infinite loop detected at insn %u\n", env->insn);
				return -EINVAL;
			}
			/* Iterations differ: keep only some of them. */
			if (env->jumps - env->seen_jumps < 20 && env->processed - env->seen_processed < 100)
				keep = false;
		} else if (state_covers(env, &cp->st, env->cur, false)) {
			cp->hits++;
			inherit_reads(env, &cp->st);
			return 1;
		}
miss:
		if (keep && ++cp->misses > cp->hits * 3 + 3) {
			retire(env, at);
			continue;
		}
		at = &cp->next;
	}
	env->max_states_per_insn = max(env->max_states_per_insn, count);
	if (!keep || (!env->bpf_capable && count > MAX_STATES_UNPRIVILEGED))
		return 0;
	return add_checkpoint(env);
}

static void free_list(struct vcheckpoint *cp)
{
	while (cp) {
		struct vcheckpoint *next = cp->next;

		for (u32 i = 0; i < BPF_MAX_FRAMES; i++)
			vframe_free(cp->st.frames[i]);
		kfree(cp->st.refs);
		kfree(cp);
		cp = next;
	}
}

void vstate_free_all(struct venv *env)
{
	vstate_free(env->cur);
	while (env->pending) {
		struct vpending *next = env->pending->next;

		vstate_free(env->pending->st);
		kfree(env->pending);
		env->pending = next;
	}
	for (u32 i = 0; env->table && i < env->len; i++)
		free_list(env->table[i]);
	free_list(env->retired);
	big_free(env->table);
	env->cur = NULL;
	env->retired = NULL;
	env->table = NULL;
	env->nr_pending = 0;
}
