/* SPDX-License-Identifier: MIT
 *
 * Problem: perf c2c needs a PMU that samples loads and stores with their addresses; virtual machines have none.
 *
 * Idea: sample by clock with the user's registers, work out afterwards which memory each sampled instruction was at,
 * and write what perf c2c would have recorded: samples with ADDR and DATA_SRC. Whether a load hit a line modified
 * elsewhere is inferred from the order of samples by the ownership model, and is marked as such by the event's name.
 * Decoding is done after the program has ended, so that it costs the program nothing.
 *
 *   FILE.clock (registers) --convert--> FILE (ADDR, DATA_SRC), readable by `ostrom c2c report` and `perf c2c report`
 *
 * Contract: exit status of the command; 1 if recording failed. Locks: none.
 */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>
#include "c2c.h"
#include "ostrom.h"
#include "perfdata/writer.h"
#include "record/recorder.h"

#define SAMPLE_TYPE                                                                                                    \
	(PERF_SAMPLE_IDENTIFIER | PERF_SAMPLE_IP | PERF_SAMPLE_TID | PERF_SAMPLE_TIME | PERF_SAMPLE_ADDR |             \
	 PERF_SAMPLE_CPU | PERF_SAMPLE_PERIOD | PERF_SAMPLE_WEIGHT | PERF_SAMPLE_DATA_SRC)
#define EVENT_NAME    "ostrom-mem-sampled"
#define ROUND_RECORDS 16384
#define DEFAULT_HZ    2000

static const char usage_text[] =
	"usage: ostrom c2c record [OPTIONS] [--] COMMAND [ARGS]\n"
	"  -F, --freq HZ      samples a second and CPU (2000, or what 5 % of the time pay for)\n"
	"  -a, --all-cpus     the whole machine\n"
	"  -p, --pid PID      attach to a process               -o, --output FILE (perf.data)\n"
	"  -q, --quiet\n";

static const struct option long_options[] = {
	{ "freq", required_argument, NULL, 'F' }, { "all-cpus", no_argument, NULL, 'a' },
	{ "pid", required_argument, NULL, 'p' },  { "output", required_argument, NULL, 'o' },
	{ "quiet", no_argument, NULL, 'q' },      { "all-user", no_argument, NULL, 'u' },
	{ "help", no_argument, NULL, 'h' },       { NULL, 0, NULL, 0 },
};

struct convert {
	struct pd_file *in;
	struct pw out;
	struct places places;
	struct lines lines;
	u64 id;
	u64 samples, decoded, touches, since_round;
};

/* ---- conversion ---- */

static u64 data_src(const struct touch *t, bool is_store, bool moved)
{
	union perf_mem_data_src d = { .val = 0 };

	d.mem_op = is_store ? PERF_MEM_OP_STORE : PERF_MEM_OP_LOAD;
	d.mem_lock = t->is_locked ? PERF_MEM_LOCK_LOCKED : PERF_MEM_LOCK_NA;
	d.mem_dtlb = PERF_MEM_TLB_NA;
	if (is_store) {
		d.mem_lvl = PERF_MEM_LVL_L1 | (moved ? PERF_MEM_LVL_MISS : PERF_MEM_LVL_HIT);
		d.mem_snoop = PERF_MEM_SNOOP_NA;
	} else {
		d.mem_lvl = PERF_MEM_LVL_HIT | (moved ? PERF_MEM_LVL_L3 : PERF_MEM_LVL_L1);
		d.mem_snoop = moved ? PERF_MEM_SNOOP_HITM : PERF_MEM_SNOOP_NONE;
	}
	return d.val;
}

static void end_round(struct convert *c)
{
	static const struct perf_event_header round = { PD_FINISHED_ROUND, 0, sizeof(round) };

	if (++c->since_round < ROUND_RECORDS)
		return;
	pw_write(&c->out, &round, sizeof(round));
	c->since_round = 0;
}

static int emit(struct convert *c, const struct pd_sample *s, const struct touch *t, bool is_store)
{
	struct line_access a = { .addr = t->op.addr,
				 .ip = t->ip,
				 .time_ns = s->time,
				 .tid = s->tid,
				 .cpu = s->cpu,
				 .bytes = t->op.bytes,
				 .is_write = is_store };
	const struct pd_map *m = pd_space_find(&c->places.spaces, s->pid, t->op.addr);
	struct {
		struct perf_event_header h;
		u64 id, ip;
		u32 pid, tid;
		u64 time, addr;
		u32 cpu, res;
		u64 period, weight, src;
	} r = { .h = { PERF_RECORD_SAMPLE, PERF_RECORD_MISC_USER, sizeof(r) },
		.id = c->id,
		.ip = t->ip,
		.pid = s->pid,
		.tid = s->tid,
		.time = s->time,
		.addr = t->op.addr,
		.cpu = s->cpu,
		.period = 1 };
	int moved;

	if (!m)
		return 0; /* the registers had changed: no such memory */
	c2c_line_key(m, s->pid, t->op.addr, &a.space, &a.addr);
	moved = lines_add(&c->lines, &a);
	if (moved < 0)
		return moved;
	r.src = data_src(t, is_store, moved);
	pw_write(&c->out, &r, sizeof(r));
	c->touches++;
	end_round(c);
	return 0;
}

static int on_sample(struct convert *c, const struct pd_sample *s)
{
	struct touch t[TOUCH_MAX];
	u32 n = c2c_touches(&c->places, s, t);
	int err = 0;

	c->samples++;
	c->decoded += n > 0;
	for (u32 i = 0; i < n && !err; i++) {
		if (t[i].op.is_read)
			err = emit(c, s, &t[i], false);
		if (t[i].op.is_write && !err)
			err = emit(c, s, &t[i], true);
	}
	return err;
}

static int on_record(void *arg, const struct pd_sample *s)
{
	struct convert *c = arg;
	int err;

	if (s->type == PERF_RECORD_SAMPLE)
		return s->event->index == 0 ? on_sample(c, s) : 0;
	err = places_follow(&c->places, s);
	pw_write(&c->out, s->rec, s->size);
	end_round(c);
	return err;
}

static int begin_output(struct convert *c, const char *path)
{
	struct pd_event *clock = pd_event(c->in, 0), *side = pd_event(c->in, 1);
	struct perf_event_attr a = clock->attr;
	int err = pw_open(&c->out, path);

	a.sample_type = SAMPLE_TYPE;
	a.sample_regs_user = 0;
	if (!err)
		err = pw_event(&c->out, &a, EVENT_NAME, clock->ids, clock->nr_ids);
	if (!err)
		err = pw_event(&c->out, &side->attr, side->name, side->ids, side->nr_ids);
	c->id = clock->nr_ids ? clock->ids[0] : 0;
	return err ? err : pw_begin(&c->out);
}

static int convert(struct convert *c, const char *from, const char *to, const struct rec_options *o)
{
	struct pd_consumer consumer = { .record = on_record, .arg = c };
	char why[512];
	int err, done;

	c->out.fd = -1;
	err = pd_open(&c->in, from, why, sizeof(why));
	if (err) {
		say_error("%s", why);
		return err;
	}
	err = places_init(&c->places);
	if (!err)
		err = lines_init(&c->lines);
	if (!err)
		err = begin_output(c, to);
	if (!err)
		err = pd_for_each(c->in, &consumer);
	if (c->out.fd >= 0) {
		pw_machine_features(&c->out, o->argc, o->argv);
		done = pw_finish(&c->out);
		err = err ? err : done;
	}
	lines_free(&c->lines);
	places_free(&c->places);
	pd_close(c->in);
	if (err)
		say_error("%s: %s", to, strerror(-err));
	return err;
}

/* ---- recording ---- */

static int parse(struct rec_options *o, s32 *pid, u64 *freq, int argc, char **argv)
{
	int c;

	optind = 0;
	while ((c = getopt_long(argc, argv, "+F:ap:o:quh", long_options, NULL)) != -1) {
		switch (c) {
		case 'F': *freq = strtoull(optarg, NULL, 0); break;
		case 'a': o->system_wide = true; break;
		case 'o': o->output = optarg; break;
		case 'q': o->quiet = true; break;
		case 'u': break; /* only user space is sampled anyway */
		case 'p':
			*pid = atoi(optarg);
			o->pids = pid;
			o->nr_pids = 1;
			break;
		default: fputs(usage_text, c == 'h' ? stdout : stderr); return c == 'h' ? -1 : 129;
		}
	}
	if (optind < argc)
		o->command = argv + optind;
	if ((o->command || o->nr_pids || o->system_wide) && *freq <= 100000)
		return 0;
	fputs(usage_text, stderr);
	return 129;
}

static int add_clock(struct rec_options *o, u64 freq, char *why, size_t n)
{
	struct perf_event_attr *a = &o->events[0].attr;
	int err = rec_add_event(o, "cpu-clock", NSEC_PER_SEC / freq | 1, 0, why, n);

	if (!err)
		err = rec_add_event(o, "dummy", 1, 0, why, n);
	if (err)
		return err;
	a->sample_type = C2C_CLOCK_SAMPLE;
	a->sample_regs_user = C2C_REGS;
	a->exclude_kernel = a->exclude_hv = 1;
	a = &o->events[1].attr;
	a->mmap = a->mmap2 = a->mmap_data = a->comm = a->comm_exec = a->task = 1;
	return 0;
}

/* Ostrom's kernel samples accesses itself, in order and with all registers as they were: nothing is left to work out.
 */
static bool kernel_samples(void)
{
	char text[16] = "";
	FILE *f = fopen("/sys/bus/event_source/devices/cpu/caps/pmu_name", "re");

	if (!f)
		return false;
	if (!fgets(text, sizeof(text), f))
		text[0] = 0;
	fclose(f);
	return !strcmp(text, "sampled\n");
}

static int add_access(struct rec_options *o, const char *name, u64 config, u64 freq, char *why, size_t n)
{
	struct rec_event *e = &o->events[o->nr_events];
	int err = rec_add_event(o, "cpu-clock", 0, freq, why, n);

	if (err)
		return err;
	e->attr.type = PERF_TYPE_RAW;
	e->attr.config = config;
	e->attr.sample_type |= PERF_SAMPLE_ADDR | PERF_SAMPLE_WEIGHT | PERF_SAMPLE_DATA_SRC;
	if (!geteuid()) /* where the memory is: nobody else may know */
		e->attr.sample_type |= PERF_SAMPLE_PHYS_ADDR;
	e->attr.exclude_kernel = e->attr.exclude_hv = 1;
	e->attr.mmap = e->attr.mmap2 = e->attr.mmap_data = e->attr.comm = e->attr.comm_exec = e->attr.task = 1;
	snprintf(e->name, sizeof(e->name), "%s", name);
	return 0;
}

static int record_accesses(struct rec_options *o, u64 freq)
{
	struct rec_result res;
	char why[512];

	if (add_access(o, "cpu/mem-loads/", 0x1cd, freq, why, sizeof(why)) ||
	    add_access(o, "cpu/mem-stores/", 0x82d0, freq, why, sizeof(why)) || rec_record(o, &res, why, sizeof(why))) {
		say_error("%s", why);
		return 1;
	}
	if (!o->quiet)
		fprintf(stderr,
			"[ ostrom c2c record: accesses sampled by the kernel, ownership of lines is inferred: %s ]\n",
			o->output);
	return WIFEXITED(res.command_status) ? WEXITSTATUS(res.command_status) : 1;
}

static int record_clock(struct rec_options *o, const char *final)
{
	struct convert c = { 0 };
	struct rec_result res;
	char why[512];
	int err;

	if (rec_record(o, &res, why, sizeof(why))) {
		say_error("%s", why);
		return 1;
	}
	err = convert(&c, o->output, final, o);
	unlink(o->output);
	if (err)
		return 1;
	if (!o->quiet)
		fprintf(stderr, "[ ostrom c2c record: %llu samples, %llu at memory, %llu accesses written to %s ]\n",
			(unsigned long long)c.samples, (unsigned long long)c.decoded, (unsigned long long)c.touches,
			final);
	return WIFEXITED(res.command_status) ? WEXITSTATUS(res.command_status) : 1;
}

static int record_and_convert(struct rec_options *o, u64 freq)
{
	const char *final = o->output;
	char clock[4096], why[512];
	u64 price_ns = 0, rate = freq ? freq : c2c_affordable_rate(DEFAULT_HZ, &price_ns);

	if (add_clock(o, rate, why, sizeof(why))) {
		say_error("%s", why);
		return 1;
	}
	snprintf(clock, sizeof(clock), "%s.clock", final);
	o->output = clock;
	if (!o->quiet)
		fprintf(stderr,
			"ostrom c2c: memory events by hardware are not used; sampling by clock %llu times a second and "
			"CPU "
			"(%.1f us each), ownership of lines is inferred\n",
			(unsigned long long)rate, (double)price_ns / 1e3);
	return record_clock(o, final);
}

int c2c_record_main(int argc, char **argv)
{
	struct rec_options *o = calloc(1, sizeof(*o));
	u64 freq = 0; /* not said */
	s32 pid;
	int status;

	if (!o)
		return 1;
	o->output = "perf.data";
	o->ring_pages = 128;
	o->data_maps = true;
	o->argc = argc;
	o->argv = argv;
	status = parse(o, &pid, &freq, argc, argv);
	if (!status)
		status = kernel_samples() ? record_accesses(o, freq ? freq : DEFAULT_HZ) : record_and_convert(o, freq);
	free(o);
	return max(status, 0);
}
