/* SPDX-License-Identifier: MIT
 *
 * Problem: every perf tool stands on the reader; an order that is wrong by one record makes all their numbers wrong.
 *
 * Idea: write small files with the project's own writer (perf reads what it writes: tests/tools/) and read them back:
 * order across rounds, records without time, damage at each byte, threads and mappings.
 *
 * Contract: runs under ASan and UBSan, and (the line "threads" below) under TSan, since reading has a thread. Locks:
 * none.
 */
// threads
// links: user/ostrom/perfdata/open.c user/ostrom/perfdata/stream.c user/ostrom/perfdata/order.c
// links: user/ostrom/perfdata/progress.c
// links: user/ostrom/perfdata/sample.c user/ostrom/perfdata/tracefmt.c
// links: user/ostrom/perfdata/threads.c user/ostrom/perfdata/maps.c
// links: user/ostrom/perfdata/writer.c user/ostrom/perfdata/out.c user/ostrom/perfdata/pack.c
// libs: -lzstd
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <zstd.h>
#include "perfdata/maps.h"
#include "perfdata/out.h"
#include "perfdata/threads.h"
#include "perfdata/writer.h"

static char path[64];

static int setup(void **state)
{
	int fd;

	strcpy(path, "/tmp/ostrom-test-XXXXXX");
	fd = mkstemp(path);
	return fd < 0 ? -1 : close(fd);
}

static int teardown(void **state)
{
	return unlink(path);
}

struct sample_rec {
	struct perf_event_header h;
	u64 id, ip;
	u32 pid, tid;
	u64 time;
	u32 cpu, res;
};

static const struct perf_event_attr clock_attr = {
	.type = PERF_TYPE_SOFTWARE,
	.size = sizeof(struct perf_event_attr),
	.sample_type = PERF_SAMPLE_IDENTIFIER | PERF_SAMPLE_IP | PERF_SAMPLE_TID | PERF_SAMPLE_TIME | PERF_SAMPLE_CPU,
	.sample_id_all = 1,
};

static void put_sample_of(struct pw *w, u64 id, u64 time, u64 ip)
{
	struct sample_rec r = { { PERF_RECORD_SAMPLE, PERF_RECORD_MISC_USER, sizeof(r) }, id, ip, 10, 11, time, 3, 0 };

	pw_write(w, &r, sizeof(r));
}

static void put_sample(struct pw *w, u64 time, u64 ip)
{
	put_sample_of(w, 7, time, ip);
}

static void put_round(struct pw *w)
{
	struct perf_event_header h = { PD_FINISHED_ROUND, 0, sizeof(h) };

	pw_write(w, &h, sizeof(h));
}

static void begin(struct pw *w)
{
	u64 id = 7;

	assert_int_equal(pw_open(w, path), 0);
	assert_int_equal(pw_event(w, &clock_attr, "cpu-clock", &id, 1), 0);
	assert_int_equal(pw_begin(w), 0);
}

static void finish(struct pw *w)
{
	pw_put_string(w, PD_FEAT_HOSTNAME, "here");
	pw_put_u32(w, PD_FEAT_NRCPUS, 8);
	pw_put_u32(w, PD_FEAT_NRCPUS, 4);
	pw_event_desc(w);
	assert_int_equal(pw_finish(w), 0);
}

struct seen {
	u64 ips[64];
	u32 nr;
};

static int collect(void *arg, const struct pd_sample *s)
{
	struct seen *seen = arg;

	if (s->type == PERF_RECORD_SAMPLE && seen->nr < 64)
		seen->ips[seen->nr++] = s->ip;
	return 0;
}

static void order(void **state)
{
	static const u64 want[] = { 99, 1, 2, 3, 4, 5, 6, 7, 8 };
	struct seen seen = { .nr = 0 };
	struct pd_consumer c = { .record = collect, .arg = &seen };
	struct pd_file *f;
	char why[256], host[16];
	struct pw w;

	begin(&w);
	put_sample(&w, 100, 1); /* CPU 0 of round 1 */
	put_sample(&w, 300, 4);
	put_sample(&w, 200, 2); /* CPU 1 of round 1 */
	put_sample(&w, 200, 3); /* the same time: the order of the file holds */
	put_sample(&w, 0, 99);  /* no time: at once */
	put_round(&w);
	put_sample(&w, 500, 7);
	put_sample(&w, 400, 5); /* older than what its round has, newer than round 1 */
	put_round(&w);
	put_sample(&w, 450, 6);
	put_sample(&w, 600, 8);
	finish(&w);
	assert_int_equal(pd_open(&f, path, why, sizeof(why)), 0);
	assert_int_equal(pd_nr_events(f), 1);
	assert_string_equal(pd_event(f, 0)->name, "cpu-clock");
	assert_int_equal(pd_cpus_available(f), 8);
	assert_int_equal(pd_cpus_online(f), 4);
	pd_feature_str(f, PD_FEAT_HOSTNAME, host, sizeof(host));
	assert_string_equal(host, "here");
	assert_int_equal(pd_for_each(f, &c), 0);
	assert_string_equal(pd_damage(f), "");
	assert_int_equal(seen.nr, ARRAY_SIZE(want));
	for (u32 i = 0; i < seen.nr; i++)
		assert_int_equal(seen.ips[i], want[i]);
	pd_close(f);
}

struct march { /* checks that records come in order */
	u64 time, ip, nr, stop_at;
};

static int step(void *arg, const struct pd_sample *s)
{
	struct march *m = arg;

	assert_true(s->time > m->time || (s->time == m->time && s->ip > m->ip));
	assert_int_equal(s->id, 7);
	m->time = s->time;
	m->ip = s->ip;
	return ++m->nr == m->stop_at ? 5 : 0;
}

static void march_over(const char *from, u64 stop_at)
{
	struct march m = { .stop_at = stop_at };
	struct pd_consumer c = { .record = step, .arg = &m };
	struct pd_file *f;
	char why[256];

	assert_int_equal(pd_open(&f, from, why, sizeof(why)), 0);
	pd_event(f, 1)->unwanted = true;
	assert_int_equal(pd_for_each(f, &c), stop_at ? 5 : 0);
	assert_int_equal(m.nr, stop_at ? stop_at : 16000);
	assert_string_equal(pd_damage(f), "");
	pd_close(f);
}

/* Many rounds of several CPUs and two events, one of them unwanted, as recordings have them: all come, in order, also
 * while reading is far ahead; and nobody hangs when the consumer has had enough. */
static void rounds(void **state)
{
	static const u64 stops[] = { 0, 1, 2, 1000, 15999, 16000 };
	struct perf_event_attr attr = clock_attr;
	u64 ids[] = { 7, 8 }, ip = 0;
	char from[100];
	struct pw w;
	FILE *cat;

	assert_int_equal(pw_open(&w, path), 0);
	assert_int_equal(pw_event(&w, &attr, "cpu-clock", &ids[0], 1), 0);
	assert_int_equal(pw_event(&w, &attr, "other", &ids[1], 1), 0);
	assert_int_equal(pw_begin(&w), 0);
	for (u64 round = 0; round < 200; round++) {
		for (u64 cpu = 0; cpu < 4; cpu++)
			for (u64 i = 0; i < 20; i++) {
				put_sample_of(&w, 7, 1000 + round * 100 + i * 10 + (ip * 7919 >> 3) % 10, ip + 1);
				put_sample_of(&w, 8, 1000 + round * 100 + i * 10 + 9, 0);
				ip++;
			}
		put_sample_of(&w, 9, 1, 0); /* an id that nobody has */
		put_round(&w);
	}
	finish(&w);
	for (u32 i = 0; i < ARRAY_SIZE(stops); i++)
		march_over(path, stops[i]);
	snprintf(from, sizeof(from), "cat %s", path);
	cat = popen(from, "r");
	assert_non_null(cat);
	snprintf(from, sizeof(from), "/dev/fd/%d", fileno(cat));
	march_over(from, 0); /* what a pipe held is nowhere else */
	pclose(cat);
}

/* Compressed records: the blocks hold several rounds and cut records; what is delivered late must still be there. */
static void packed(void **state)
{
	static u8 plain[40000], squeezed[60000];
	struct seen seen = { .nr = 0 };
	struct pd_consumer c = { .record = collect, .arg = &seen };
	struct perf_event_header round = { PD_FINISHED_ROUND, 0, sizeof(round) };
	ZSTD_CStream *z = ZSTD_createCStream();
	size_t n = 0;
	struct pd_file *f;
	char why[256];
	struct pw w;

	begin(&w);
	for (u64 i = 0; i < 30; i++) { /* each round: one record that is due, one that waits for two rounds */
		struct sample_rec r = { { PERF_RECORD_SAMPLE, 0, sizeof(r) }, 7, i, 10, 11, 1000 + i * 10, 3, 0 };

		memcpy(plain + n, &r, sizeof(r));
		r.ip = 100 + i;
		r.time += 15;
		memcpy(plain + n + sizeof(r), &r, sizeof(r));
		memcpy(plain + n + 2 * sizeof(r), &round, sizeof(round));
		n += 2 * sizeof(r) + sizeof(round);
	}
	for (size_t at = 0; at < n; at += 333) { /* cut anywhere */
		ZSTD_inBuffer in = { plain + at, min(n - at, (size_t)333), 0 };
		ZSTD_outBuffer out = { squeezed, sizeof(squeezed), 0 };
		struct perf_event_header h = { PD_COMPRESSED, 0, 0 };

		while (in.pos < in.size)
			assert_false(ZSTD_isError(ZSTD_compressStream(z, &out, &in)));
		assert_int_equal(ZSTD_flushStream(z, &out), 0);
		h.size = sizeof(h) + out.pos;
		pw_write(&w, &h, sizeof(h));
		pw_write(&w, squeezed, out.pos);
	}
	ZSTD_freeCStream(z);
	finish(&w);
	assert_int_equal(pd_open(&f, path, why, sizeof(why)), 0);
	assert_int_equal(pd_for_each(f, &c), 0);
	assert_string_equal(pd_damage(f), "");
	assert_int_equal(seen.nr, 60);
	assert_int_equal(seen.ips[0], 0);
	assert_int_equal(seen.ips[1], 1);
	for (u32 i = 2; i < 59; i += 2) { /* 1010 + 10 i and 1015 + 10 i alternate */
		assert_int_equal(seen.ips[i], 100 + i / 2 - 1);
		if (i < 58)
			assert_int_equal(seen.ips[i + 1], i / 2 + 1);
	}
	pd_close(f);
}

struct raw_rec {
	struct perf_event_header h;
	u64 id;
	u32 pid, tid;
	u64 time;
	u32 cpu, res, raw_bytes;
	u8 raw[28];
};

static const struct pd_field raw_fields[] = {
	{ .name = "near", .offset = 4, .size = 4, .is_signed = true },
	{ .name = "far", .offset = 20, .size = 8, .is_signed = true },
};

static void put_raw(struct pw *w, u64 id, u64 time, u32 cpu, u32 raw_bytes)
{
	struct raw_rec r = {
		{ PERF_RECORD_SAMPLE, 0, sizeof(r) }, id, time / 3, time / 5, time, cpu, 0, raw_bytes, { 0 }
	};

	for (u32 i = 0; i < sizeof(r.raw); i++)
		r.raw[i] = time * (i + 1);
	pw_write(w, &r, sizeof(r));
}

static void put_comm(struct pw *w, u64 time)
{
	struct {
		struct perf_event_header h;
		u32 pid, tid;
		char comm[8];
		u32 pid_again, tid_again;
		u64 time;
		u32 cpu, res;
		u64 id;
	} r = { { PERF_RECORD_COMM, 0, sizeof(r) }, 1, 1, "name", 1, 1, time, 0, 0, 7 };

	pw_write(w, &r, sizeof(r));
}

/* More than reading takes at a time; among it what is no brief: another event, short raw bytes, side-band records. */
static void write_raw(void)
{
	struct perf_event_attr attr = clock_attr;
	u64 ids[] = { 7, 8, 9 };
	struct pw w;

	attr.sample_type =
		PERF_SAMPLE_IDENTIFIER | PERF_SAMPLE_TID | PERF_SAMPLE_TIME | PERF_SAMPLE_CPU | PERF_SAMPLE_RAW;
	assert_int_equal(pw_open(&w, path), 0);
	for (u32 i = 0; i < ARRAY_SIZE(ids); i++)
		assert_int_equal(pw_event(&w, &attr, "event", &ids[i], 1), 0);
	assert_int_equal(pw_begin(&w), 0);
	for (u64 round = 0; round < 60; round++) {
		for (u32 cpu = 0; cpu < 3; cpu++)
			for (u64 i = 0; i < 30; i++) {
				u64 time = 1000 + round * 300 + i * 10 + (i * 7 + cpu * 4) % 10;

				put_raw(&w, 7 + (i + cpu) % 3, time, cpu, i % 11 == 5 ? 24 : i % 17 == 3 ? 29 : 28);
				if (i == 20)
					put_comm(&w, time);
			}
		put_round(&w);
	}
	finish(&w);
}

struct tale { /* what was told, and a number that depends on all of it and its order */
	u64 hash, samples, briefs, others;
};

static void tell(struct tale *t, const u64 *words, u32 nr)
{
	for (u32 i = 0; i < nr; i++)
		t->hash = (t->hash ^ words[i]) * 0x100000001b3;
}

static int tell_brief(void *arg, const struct pd_event *e, u64 time, const struct pd_brief *b)
{
	u64 words[] = { e->index, time, b->pid, b->tid, b->cpu, (u32)b->value[0], (u32)b->value[1] };

	tell(arg, words, ARRAY_SIZE(words));
	((struct tale *)arg)->briefs++;
	return 0;
}

static int tell_record(void *arg, const struct pd_sample *s)
{
	u64 words[] = { s->event->index, s->time, s->pid, s->tid, s->cpu, 0, 0 };
	bool is_sample = s->type == PERF_RECORD_SAMPLE;

	for (u32 i = 0; i < 2 && is_sample; i++)
		words[5 + i] = (u32)pd_field_int(&raw_fields[i], s->raw, s->raw_bytes);
	tell(arg, words, ARRAY_SIZE(words));
	*(is_sample ? &((struct tale *)arg)->samples : &((struct tale *)arg)->others) += 1;
	return 0;
}

static struct tale listen(const char *from, bool to_briefs)
{
	const struct pd_field *fields[] = { &raw_fields[0], &raw_fields[1] };
	struct tale t = { 0 };
	struct pd_consumer c = { .record = tell_record, .brief = to_briefs ? tell_brief : NULL, .arg = &t };
	struct pd_file *f;
	char why[256];

	assert_int_equal(pd_open(&f, from, why, sizeof(why)), 0);
	for (u32 i = 0; i < 2 && to_briefs; i++) /* the third event has none */
		assert_true(pd_ask_brief(pd_event(f, i), fields, 2));
	assert_int_equal(pd_for_each(f, &c), 0);
	assert_true(*pd_damage(f)); /* some raw bytes are longer than their record */
	pd_close(f);
	return t;
}

/* The same is told in the same order, whether samples come whole or as briefs, from a file or a pipe. */
static void briefs(void **state)
{
	struct tale whole, brief, piped;
	char command[100];
	FILE *cat;

	write_raw();
	whole = listen(path, false);
	brief = listen(path, true);
	snprintf(command, sizeof(command), "cat %s", path);
	cat = popen(command, "r");
	assert_non_null(cat);
	snprintf(command, sizeof(command), "/dev/fd/%d", fileno(cat));
	piped = listen(command, true);
	pclose(cat);
	assert_int_equal(whole.briefs, 0);
	assert_true(brief.briefs > 2500 && brief.samples > 1500 && brief.others == 180);
	assert_int_equal(whole.samples, brief.samples + brief.briefs);
	assert_true(whole.hash == brief.hash);
	assert_memory_equal(&piped, &brief, sizeof(brief));
}

static void no_briefs(void **state)
{
	const struct pd_field narrow = { .offset = 0, .size = 2, .is_signed = true }, *fields[] = { &narrow };
	struct pd_file *f;
	char why[256];

	write_raw();
	assert_int_equal(pd_open(&f, path, why, sizeof(why)), 0);
	assert_false(pd_ask_brief(pd_event(f, 0), fields, 1));
	fields[0] = NULL;
	assert_false(pd_ask_brief(pd_event(f, 0), fields, 1));
	assert_true(pd_ask_brief(pd_event(f, 0), fields, 0));
	pd_close(f);
}

static void unwanted(void **state)
{
	struct seen seen = { .nr = 0 };
	struct pd_consumer c = { .record = collect, .arg = &seen };
	struct pd_file *f;
	char why[256];
	struct pw w;

	begin(&w);
	put_sample(&w, 100, 1);
	finish(&w);
	assert_int_equal(pd_open(&f, path, why, sizeof(why)), 0);
	pd_event(f, 0)->unwanted = true;
	assert_int_equal(pd_for_each(f, &c), 0);
	assert_int_equal(seen.nr, 0);
	pd_close(f);
}

/* Cut at every length: refused with a reason, or read up to the cut with damage noted; whole records only. */
static void cut(void **state)
{
	struct pw w;
	off_t whole;
	FILE *file;

	begin(&w);
	for (int i = 1; i <= 3; i++)
		put_sample(&w, i * 100, i);
	finish(&w);
	file = fopen(path, "r");
	assert_non_null(file);
	fseek(file, 0, SEEK_END);
	whole = ftell(file);
	fclose(file);
	for (off_t n = whole - 1; n >= 0; n--) {
		struct seen seen = { .nr = 0 };
		struct pd_consumer c = { .record = collect, .arg = &seen };
		struct pd_file *f;
		char why[256] = "";

		assert_int_equal(truncate(path, n), 0);
		if (pd_open(&f, path, why, sizeof(why))) {
			assert_true(*why);
			continue;
		}
		assert_int_equal(pd_for_each(f, &c), 0);
		assert_true(*pd_damage(f));
		for (u32 i = 0; i < seen.nr; i++)
			assert_int_equal(seen.ips[i], i + 1);
		pd_close(f);
	}
}

static void formats(void **state)
{
	static const char text[] = "name: sched_migrate_task\nID: 371\nformat:\n"
				   "\tfield:unsigned short common_type;\toffset:0;\tsize:2;\tsigned:0;\n\n"
				   "\tfield:__data_loc char[] comm;\toffset:8;\tsize:4;\tsigned:0;\n"
				   "\tfield:pid_t pid;\toffset:12;\tsize:4;\tsigned:1;\n"
				   "\tfield:char old[16];\toffset:16;\tsize:16;\tsigned:0;\n\nprint fmt: \"x\"\n";
	u8 raw[40] = { 0 };
	struct pd_tracepoint tp = { 0 };
	char out[8];

	assert_int_equal(pd_format_parse(&tp, text, sizeof(text) - 1), 0);
	assert_string_equal(tp.name, "sched_migrate_task");
	assert_int_equal(tp.id, 371);
	assert_int_equal(tp.nr_fields, 4);
	assert_true(pd_tracepoint_field(&tp, "comm")->is_dyn);
	assert_true(pd_tracepoint_field(&tp, "old")->is_string);
	memcpy(raw + 8, (u32[]){ 4 << 16 | 32 }, 4);
	memcpy(raw + 12, (s32[]){ -5 }, 4);
	memcpy(raw + 16, "0123456789abcdef", 16);
	memcpy(raw + 32, "dyn", 4);
	assert_int_equal(pd_field_int(pd_tracepoint_field(&tp, "pid"), raw, sizeof(raw)), -5);
	assert_int_equal(pd_field_int(pd_tracepoint_field(&tp, "pid"), raw, 15), 0); /* outside: 0 */
	pd_field_str(pd_tracepoint_field(&tp, "comm"), raw, sizeof(raw), out, sizeof(out));
	assert_string_equal(out, "dyn");
	pd_field_str(pd_tracepoint_field(&tp, "comm"), raw, 34, out, sizeof(out));
	assert_string_equal(out, "");
	pd_field_str(pd_tracepoint_field(&tp, "old"), raw, sizeof(raw), out, sizeof(out));
	assert_string_equal(out, "0123456");
	free(tp.fields);
}

static struct pd_sample task_record(u8 *rec, u32 type, const u32 *words, u32 nr, const char *text)
{
	struct perf_event_header h = { type, 0, 8 + nr * 4 + (text ? 16 : 0) };

	memset(rec, 0, 64);
	memcpy(rec, &h, sizeof(h));
	memcpy(rec + 8, words, nr * 4);
	if (text)
		strcpy((char *)rec + 8 + nr * 4, text);
	return (struct pd_sample){ .rec = rec, .type = type, .size = h.size };
}

static void threads(void **state)
{
	struct pd_threads t;
	struct pd_thread *th;
	struct pd_sample s;
	u8 rec[64];
	u32 nr;

	assert_int_equal(pd_threads_init(&t), 0);
	assert_string_equal(pd_thread_find(&t, 0)->comm, "swapper");
	th = pd_thread_get(&t, 0, 50); /* seen by a wake-up: process unknown */
	assert_string_equal(pd_thread_label(th), ":50");
	s = task_record(rec, PERF_RECORD_COMM, (u32[]){ 40, 40 }, 2, "parent");
	assert_int_equal(pd_threads_record(&t, &s), 0);
	s = task_record(rec, PERF_RECORD_FORK, (u32[]){ 50, 40, 50, 40, 0, 0 }, 6, NULL);
	assert_int_equal(pd_threads_record(&t, &s), 0);
	assert_ptr_not_equal(pd_thread_find(&t, 50), th); /* the old one was replaced */
	assert_true(th->removed);
	th = pd_thread_find(&t, 50);
	assert_string_equal(pd_thread_label(th), "parent[50]");
	assert_int_equal(th->ppid, 40);
	s = task_record(rec, PERF_RECORD_EXIT, (u32[]){ 50, 40, 50, 40, 0, 0 }, 6, NULL);
	assert_int_equal(pd_threads_record(&t, &s), 0);
	assert_true(th->dead);
	th = pd_thread_get(&t, 40, 300); /* 300 and 44 share a bucket of perf's order */
	assert_string_equal(pd_thread_label(th), ":300[300/40]");
	pd_thread_get(&t, 44, 44);
	struct pd_thread **list = pd_threads_in_order(&t, &nr);

	for (u32 i = 0; i + 1 < nr; i++)
		if (list[i]->tid == 44)
			assert_int_equal(list[i + 1]->tid, 300);
	free(list);
	pd_threads_free(&t);
}

static void add_mapping(struct pd_spaces *s, u64 start, u64 bytes, u64 pgoff, const char *name)
{
	u8 rec[128] = { 0 };
	struct perf_event_header h = { PERF_RECORD_MMAP, 0, 40 + 16 };
	struct pd_sample r = { .rec = rec, .type = h.type, .size = h.size };

	memcpy(rec, &h, sizeof(h));
	memcpy(rec + 8, (u32[]){ 9, 9 }, 8);
	memcpy(rec + 16, (u64[]){ start, bytes, pgoff }, 24);
	strcpy((char *)rec + 40, name);
	assert_int_equal(pd_spaces_record(s, &r), 0);
}

static void mappings(void **state)
{
	struct pd_spaces s = { 0 };
	const struct pd_map *m;

	add_mapping(&s, 0x1000, 0x9000, 0, "/a");
	add_mapping(&s, 0x4000, 0x1000, 0, "/b"); /* cuts /a in two */
	m = pd_space_find(&s, 9, 0x3fff);
	assert_string_equal(m->path, "/a");
	assert_int_equal(m->end, 0x4000);
	assert_string_equal(pd_space_find(&s, 9, 0x4000)->path, "/b");
	m = pd_space_find(&s, 9, 0x5000);
	assert_string_equal(m->path, "/a");
	assert_int_equal(m->start, 0x5000);
	assert_int_equal(m->pgoff, 0x4000);
	assert_null(pd_space_find(&s, 9, 0xa000));
	assert_null(pd_space_find(&s, 8, 0x1000));
	pd_spaces_free(&s);
}

static void numbers(void **state)
{
	static const struct {
		u64 ns;
		int width;
	} cases[] = { { 0, 6 },          { 999, 6 },     { 1000, 6 }, { 123456789, 6 }, { 99999999999999, 6 },
		      { UINT64_MAX, 2 }, { 5000000, 12 } };
	struct out *o = malloc(sizeof(*o));
	char want[64];

	assert_non_null(o);
	for (u32 i = 0; i < ARRAY_SIZE(cases); i++) {
		u64 us = cases[i].ns / 1000;

		out_init(o, -1);
		out_ms(o, cases[i].ns, cases[i].width);
		snprintf(want, sizeof(want), "%*llu.%03llu ", cases[i].width, (unsigned long long)us / 1000,
			 (unsigned long long)us % 1000);
		assert_int_equal(o->len, strlen(want));
		assert_memory_equal(o->buf, want, o->len);
		out_init(o, -1);
		out_time_us(o, cases[i].ns, 15);
		snprintf(want, sizeof(want), "%llu.%06llu", (unsigned long long)us / 1000000,
			 (unsigned long long)us % 1000000);
		assert_int_equal(o->len, max(strlen(want), (size_t)15));
		assert_memory_equal(o->buf + o->len - strlen(want), want, strlen(want));
		out_init(o, -1);
		out_u64(o, cases[i].ns, 3);
		snprintf(want, sizeof(want), "%3llu", (unsigned long long)cases[i].ns);
		assert_int_equal(o->len, strlen(want));
		assert_memory_equal(o->buf, want, o->len);
	}
	free(o);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(order, setup, teardown),
		cmocka_unit_test_setup_teardown(rounds, setup, teardown),
		cmocka_unit_test_setup_teardown(packed, setup, teardown),
		cmocka_unit_test_setup_teardown(briefs, setup, teardown),
		cmocka_unit_test_setup_teardown(no_briefs, setup, teardown),
		cmocka_unit_test_setup_teardown(unwanted, setup, teardown),
		cmocka_unit_test_setup_teardown(cut, setup, teardown),
		cmocka_unit_test(formats),
		cmocka_unit_test(threads),
		cmocka_unit_test(mappings),
		cmocka_unit_test(numbers),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
