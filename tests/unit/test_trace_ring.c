/* SPDX-License-Identifier: MIT
 *
 * Problem: the ring's pages are an interface: clients decode them by the documented layout, after any mixture of
 * writing, consuming and taking; and a record's text must follow its print line.
 *
 * Idea: a model (a plain queue) beside the ring, random operations, and a decoder of pages written from the
 * documentation alone; print lines with each construct.
 *
 * Contract: runs under ASan and UBSan. Locks: none.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>
#include "../../kernel/fs/tracefs/print.h"
#include "../../kernel/fs/tracefs/ring.h"

#define PAGES 5
#define MOST  100000

struct entry {
	u64 ns;
	u32 serial, bytes;
};

static struct entry model[MOST];
static u32 model_from, model_to;
static struct trace_ring ring;

static void make_ring(void)
{
	static struct trace_page *pages[PAGES];
	static u16 counts[PAGES];

	for (unsigned i = 0; i < PAGES; i++)
		pages[i] = pages[i] ? pages[i] : malloc(sizeof(*pages[i]));
	trace_ring_setup(&ring, pages, counts, PAGES);
	model_from = model_to = 0;
	ring.last_ns = 0;
}

static void free_pages(void)
{
	for (unsigned i = 0; i < PAGES; i++) {
		free(ring.pages[i]);
		ring.pages[i] = NULL;
	}
}

/* The first word of each record is its serial number. */
static void put(u64 ns, u32 bytes)
{
	u32 data[TRACE_DATA_MOST / 4];
	u64 gone = ring.overrun;

	memset(data, 0xab, sizeof(data));
	data[0] = model_to;
	if (!trace_ring_write(&ring, ns, data, bytes)) {
		assert_true(ring.keep_old);
		return;
	}
	model[model_to] = (struct entry){ ns, model_to, bytes };
	model_to++;
	model_from += (u32)(ring.overrun - gone);
	assert_int_equal(trace_ring_entries(&ring), model_to - model_from);
}

static void expect(const void *data, u32 bytes, u64 ns)
{
	struct entry *e = &model[model_from];
	u32 serial;

	assert_true(model_from < model_to);
	memcpy(&serial, data, 4);
	assert_int_equal(serial, e->serial);
	assert_int_equal(bytes, (e->bytes + 3) / 4 * 4);
	assert_int_equal(ns, e->ns);
	model_from++;
}

/* Documentation/trace/ring-buffer-map and header_event: written without a look at ring.c. */
static u32 decode(const u8 *page)
{
	u64 ns, commit;
	u32 at = 16, n = 0;

	memcpy(&ns, page, 8);
	memcpy(&commit, page + 8, 8);
	while (at < 16 + (commit & 0xfffffff)) {
		u32 head, word = 0, type;

		memcpy(&head, page + at, 4);
		if (at + 8 <= 4096)
			memcpy(&word, page + at + 4, 4);
		type = head & 31;
		ns += head >> 5;
		if (type == 30) {
			ns += (u64)word << 27;
			at += 8;
		} else if (type) {
			expect(page + at + 4, type * 4, ns);
			at += 4 + type * 4;
			n++;
		} else {
			expect(page + at + 8, word - 4, ns);
			at += 4 + word;
			n++;
		}
	}
	return n;
}

static void take_all(void)
{
	struct trace_page *spare = malloc(sizeof(*spare)), *p;

	while ((p = trace_ring_take(&ring, spare, false)) != NULL) {
		assert_true(decode((const u8 *)p) > 0);
		spare = p;
	}
	free(spare);
	assert_int_equal(model_from, model_to);
}

static void any_mixture(void **state)
{
	u64 ns = 1000;

	for (unsigned seed = 0; seed < 40; seed++) {
		srandom(seed);
		make_ring();
		ring.keep_old = seed % 4 == 3;
		for (unsigned i = 0; i < 3000; i++) {
			struct trace_found f;

			switch (random() % 8) {
			case 0:
				if (trace_ring_peek(&ring, &f)) {
					expect(f.data, f.bytes, f.ns);
					trace_ring_consume(&ring);
				} else {
					assert_int_equal(model_from, model_to);
				}
				break;
			case 1:
				if (random() % 100 == 0)
					take_all();
				break;
			default:
				ns += random() % 50 ? (u64)(random() % 5000) : (u64)random() * 7;
				put(ns, random() % 20 ? 4 + (u32)random() % 120
						      : 4 + (u32)random() % (TRACE_DATA_MOST - 4));
			}
		}
		take_all();
	}
	free_pages();
}

static void lost_events_are_told(void **state)
{
	struct trace_page *spare = malloc(sizeof(*spare)), *p;
	u64 lost;

	make_ring();
	for (unsigned i = 0; i < 1000; i++)
		put(i, 100);
	assert_true(ring.overrun > 0);
	p = trace_ring_take(&ring, spare, true);
	assert_non_null(p);
	assert_true(p->commit & TRACE_MISSED);
	assert_true(p->commit & TRACE_MISSED_NR);
	memcpy(&lost, p->data + (p->commit & 0xfffffff), 8);
	assert_int_equal(lost, ring.overrun);
	spare = trace_ring_take(&ring, p, true);
	assert_non_null(spare);
	assert_false(spare->commit & TRACE_MISSED); /* told once */
	free(spare);
	free_pages();
}

static void looking_on_consumes_nothing(void **state)
{
	struct trace_cursor c = { 0 };
	struct trace_found f;
	u32 n = 0;

	make_ring();
	for (unsigned i = 0; i < 100; i++)
		put(i * 10, 60);
	while (trace_ring_next(&ring, &c, &f))
		assert_int_equal(f.ns, 10 * n++);
	assert_int_equal(n, 100);
	assert_int_equal(trace_ring_entries(&ring), 100);
	free_pages();
}

/* ---- text ---- */

static const struct trace_field fields[] = {
	{ "char comm[16]", "comm", 8, 16, 1, TRACE_CHARS },
	{ "int pid", "pid", 24, 4, 1, TRACE_NUMBER },
	{ "unsigned long args[2]", "args", 32, 16, 0, TRACE_NUMBER },
	{ "__data_loc char[] name", "name", 48, 4, 1, TRACE_DYNAMIC },
	{ "u64 flags", "flags", 56, 8, 0, TRACE_NUMBER },
};
struct record {
	struct trace_common common;
	char comm[16];
	s32 pid, pad;
	u64 args[2];
	u32 name, pad2;
	u64 flags;
	char text[16];
};

static void prints(const char *line, const char *want)
{
	struct trace_event e = { "test", "event", line, ARRAY_SIZE(fields), fields };
	struct record r = {
		.comm = "sh", .pid = -7, .args = { 0x10, 20 }, .name = 6 << 16 | 64, .flags = 5, .text = "hello"
	};
	char text[256];
	struct strbuf out;

	strbuf_init(&out, text, sizeof(text));
	trace_print(&e, &r, sizeof(r), &out);
	assert_string_equal(text, want);
}

static void print_lines(void **state)
{
	prints("\"comm=%s pid=%d\", REC->comm, REC->pid", "comm=sh pid=-7");
	prints("\"%s %03u%%\\n\", __get_str(name), (unsigned int)REC->args[1]", "hello 020%\n");
	prints("\"%lx %Lu %p\", REC->args[0], (unsigned long long)REC->args[1], (void *)REC->args[0]", "10 20 0x10");
	prints("\"%s\", REC->flags & 4 ? \"yes\" : \"no\"", "yes");
	prints("\"%s\", __print_flags(REC->flags, \"|\", { 1, \"A\" }, { 2, \"B\" }, { 4, \"C\" })", "A|C");
	prints("\"%s\", __print_flags(REC->flags, \"|\", { 1, \"A\" })", "A|0x4");
	prints("\"%s %s\", __print_symbolic(REC->flags, { 5, \"five\" }, { 6, \"six\" }), REC->comm", "five sh");
	prints("\"%s\", __print_symbolic(REC->pid, { 5, \"five\" })", "0xfffffffffffffff9");
	prints("\"%d %d\", ((unsigned int) ((REC->flags) >> 1)), ((unsigned int) (REC->args[1] & ((1U << 4) - 1)))",
	       "2 4");
	prints("\"%d\", 2 + 3 * 4 - 10 / 3 % 2 << 1", "26");
	prints("\"%d%d%d\", !REC->flags, -REC->pid == 7 && 1 || 0, ~0 != 1 ? 8 : 9", "018");
	prints("\"%d\", REC->args[9]", "0");
	prints("\"a %d b\", nonsense(1)", "a 0");
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(any_mixture), cmocka_unit_test(lost_events_are_told),
					    cmocka_unit_test(looking_on_consumes_nothing),
					    cmocka_unit_test(print_lines) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
