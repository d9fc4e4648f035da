/* SPDX-License-Identifier: MIT
 *
 * Problem: people compare timehist's rows with perf's and feed them to scripts: every blank counts.
 *
 * Idea: one function a kind of row, each writing its columns left to right with the out_ functions.
 * The width of the task column grows with the longest label seen so far, as perf's does.
 *
 *   time(15) [cpu] (CPU picture) task(30..)  wait  delay  run  (state) (next)
 *
 * Contract: timehist.h. Locks: none.
 */
#include <stdio.h>
#include "timehist.h"

static const char idle_state = 'I', unknown_state = '?';

const char *th_label(struct timehist *th, struct pd_thread *t)
{
	const char *label = pd_thread_label(t);

	th->comm_width = max(th->comm_width, (int)t->label_len);
	return label;
}

/* Labels are shorter than their array, and comm_width is never more than the longest. */
static void put_label(struct timehist *th, struct pd_thread *t)
{
	const char *label = th_label(th, t);
	char *p = out_begin(&th->out);

	*p++ = ' ';
	memcpy(p, label, sizeof(t->label));
	memset(p + t->label_len, ' ', sizeof(t->label));
	out_end(&th->out, p + th->comm_width + 1);
}

static void put_place(struct timehist *th, u64 time, u32 cpu)
{
	char *p;

	out_time_us(&th->out, time, 15);
	p = out_begin(&th->out);
	memcpy(p, " [0000] ", 8);
	for (int i = 5; cpu; i--, cpu /= 10) /* below TH_MAX_CPUS: four digits */
		p[i] = '0' + cpu % 10;
	out_end(&th->out, p + 8);
}

/* One column a CPU, a mark at this one. */
static void put_picture(struct timehist *th, u32 cpu, char mark)
{
	out_fill(&th->out, ' ', cpu);
	out_char(&th->out, mark);
	out_fill(&th->out, ' ', (int)th->max_cpu - (int)cpu);
}

static char state_letter(const struct pd_thread *t, int state)
{
	static const char letters[] = "RSDTtZXxKWP";
	unsigned bit = state ? __builtin_ffs(state) : 0;

	if (t->tid == 0)
		return idle_state;
	return bit < sizeof(letters) - 1 ? letters[bit] : unknown_state;
}

void th_print_header(struct timehist *th)
{
	u32 ncpus = th->max_cpu + 1;
	struct out *o = &th->out;

	out_printf(o, "%15s %6s ", "time", "cpu");
	if (th->opt.cpu_visual) {
		out_char(o, ' ');
		for (u32 i = 0; i < ncpus; i++)
			out_char(o, "0123456789abcdef"[i % 16]);
		out_char(o, ' ');
	}
	out_printf(o, " %-*s  %9s  %9s  %9s", th->comm_width, "task name", "wait time", "sch delay", "run time");
	out_str(o, th->opt.state ? "  state\n" : "\n");
	out_printf(o, "%15s %-6s ", "", "");
	if (th->opt.cpu_visual)
		out_fill(o, ' ', ncpus + 2);
	out_printf(o, " %-*s  %9s  %9s  %9s", th->comm_width, "[tid/pid]", "(msec)", "(msec)", "(msec)");
	out_str(o, th->opt.state ? "       \n" : "\n");
	out_fill(o, '-', 15);
	out_str(o, " ------ ");
	if (th->opt.cpu_visual) {
		out_char(o, ' ');
		out_fill(o, '-', ncpus);
		out_char(o, ' ');
	}
	out_char(o, ' ');
	out_fill(o, '-', th->comm_width);
	out_str(o, "  ---------  ---------  ---------");
	out_str(o, th->opt.state ? "  -----\n" : "\n");
}

static void put_next(struct timehist *th, const struct th_seen *x)
{
	char comm[64], next[30];
	int n;

	pd_field_str(x->e->next_comm, x->s->raw, x->s->raw_bytes, comm, sizeof(comm));
	n = snprintf(next, sizeof(next), "next: %s[%d]", comm, x->b->value[TH_NEXT_PID]);
	out_char(&th->out, ' ');
	out_pad(&th->out, next, min(n, (int)sizeof(next) - 1), th->comm_width);
}

/* The kernel's part by name, the scheduler's own frames left out; user frames have no names here, as in perf. */
static void put_chain(struct timehist *th, const struct pd_sample *s)
{
	u32 n = pd_chain_length(s, min(th->opt.max_stack, 1u << 20) + 2);
	bool in_kernel = false, first = true;
	const struct ksyms *names = places_kernel(&th->places);
	struct out *o = &th->out;

	for (u32 i = 0; i < n; i++) {
		u64 ip = pd_u64(s->chain + i * 8);
		struct ksym *k;

		if (ip >= (u64)PERF_CONTEXT_MAX) {
			in_kernel = ip == (u64)PERF_CONTEXT_KERNEL;
			continue;
		}
		k = in_kernel ? ksyms_find(names, ip) : NULL;
		if (k && k->is_ignored)
			continue;
		out_str(o, first ? " " : " <- ");
		out_str(o, k ? names->names + k->name : "[unknown]");
		first = false;
	}
}

void th_print_switch(struct timehist *th, const struct th_seen *x, struct pd_thread *t, u64 time)
{
	const struct th_runtime *r = t->priv;
	struct out *o = &th->out;

	if (!th_cpu_listed(th, x->b->cpu))
		return;
	put_place(th, time, x->b->cpu);
	if (th->opt.cpu_visual) {
		out_char(o, ' ');
		put_picture(th, x->b->cpu, t->tid == 0 ? 'i' : 's');
		out_char(o, ' ');
	}
	put_label(th, t);
	out_ms(o, r->dt_wait, 6);
	out_ms(o, r->dt_delay, 6);
	out_ms(o, r->dt_run, 6);
	if (th->opt.state) {
		out_fill(o, ' ', 5);
		out_char(o, state_letter(t, x->b->value[TH_PREV_STATE]));
		out_char(o, ' ');
	}
	if (th->opt.next)
		put_next(th, x);
	if (th->opt.wakeups && !th->opt.next)
		out_fill(o, ' ', th->comm_width + 2);
	if (t->tid != 0 && th->opt.callchain) {
		out_bytes(o, "  ", 2);
		put_chain(th, x->s);
	}
	out_char(o, '\n');
}

/* The columns that wake-ups and migrations share: who did it, and blanks where times would be. */
static void put_actor(struct timehist *th, struct pd_thread *actor)
{
	put_label(th, actor);
	out_fill(&th->out, ' ', 2 + 9 + 2 + 9 + 2 + 9 + 1);
}

void th_print_wakeup(struct timehist *th, const struct th_seen *x, struct pd_thread *awakened)
{
	struct pd_thread *actor = pd_thread_get(&th->threads, x->b->pid, x->b->tid);
	const char *label;

	if (!actor || (th_skip(th, actor, x) && th_skip(th, awakened, x)))
		return;
	put_place(th, x->time, x->b->cpu);
	if (th->opt.cpu_visual)
		out_fill(&th->out, ' ', th->max_cpu + 1 + 2);
	put_actor(th, actor);
	label = th_label(th, awakened);
	out_bytes(&th->out, "awakened: ", 10);
	out_bytes(&th->out, label, awakened->label_len);
	out_char(&th->out, '\n');
}

void th_print_migration(struct timehist *th, const struct th_seen *x, struct pd_thread *migrated)
{
	struct pd_thread *actor = pd_thread_get(&th->threads, x->b->pid, x->b->tid);

	if (!actor || (th_skip(th, actor, x) && th_skip(th, migrated, x)))
		return;
	put_place(th, x->time, x->b->cpu);
	if (th->opt.cpu_visual) {
		out_bytes(&th->out, "  ", 2);
		put_picture(th, x->b->cpu, 'm');
		out_bytes(&th->out, "  ", 2);
	}
	put_actor(th, actor);
	out_printf(&th->out, "migrated: %s cpu %d => %d\n", th_label(th, migrated),
		   (s32)pd_field_int(x->e->orig_cpu, x->s->raw, x->s->raw_bytes),
		   (s32)pd_field_int(x->e->dest_cpu, x->s->raw, x->s->raw_bytes));
}

void th_print_lost(struct timehist *th, const struct pd_sample *s)
{
	if (s->size < 24)
		return;
	out_time_us(&th->out, s->time, 15);
	out_printf(&th->out, " lost %llu events on cpu %d\n", (unsigned long long)pd_u64(s->rec + 16), (s32)s->cpu);
}
