/* SPDX-License-Identifier: MIT
 *
 * Problem: perf.data comes from other machines, cut transfers and other tools; nothing in it can be trusted.
 *
 * Idea: open the input as a file, read every record through threads and mappings, touch all that a sample points to.
 * Files and pipes are one input: the header says which.
 *
 * Contract: no crash, no leak, no read outside; errors come with a message. Locks: none.
 */
// links: user/ostrom/perfdata/open.c user/ostrom/perfdata/stream.c user/ostrom/perfdata/order.c
// links: user/ostrom/perfdata/progress.c
// links: user/ostrom/perfdata/sample.c user/ostrom/perfdata/tracefmt.c
// links: user/ostrom/perfdata/threads.c user/ostrom/perfdata/maps.c
// libs: -lzstd
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>
#include "perfdata/maps.h"
#include "perfdata/perfdata.h"
#include "perfdata/threads.h"

int LLVMFuzzerTestOneInput(const u8 *data, size_t size);

struct state {
	struct pd_threads threads;
	struct pd_spaces spaces;
	u64 sum;
};

static int on_record(void *arg, const struct pd_sample *s)
{
	struct state *st = arg;
	char text[64];

	if (s->type != PERF_RECORD_SAMPLE)
		return pd_threads_record(&st->threads, s) ? -1 : pd_spaces_record(&st->spaces, s);
	for (u32 i = 0; i < s->chain_nr; i++)
		st->sum += pd_u64(s->chain + i * 8);
	for (u32 i = 0; i < s->raw_bytes; i++)
		st->sum += s->raw[i];
	if (s->regs_abi)
		for (int i = 0; i < __builtin_popcountll(s->event->attr.sample_regs_user); i++)
			st->sum += pd_u64(s->regs + i * 8);
	for (u32 i = 0; s->event->tp && i < s->event->tp->nr_fields; i++) {
		st->sum += pd_field_int(&s->event->tp->fields[i], s->raw, s->raw_bytes);
		pd_field_str(&s->event->tp->fields[i], s->raw, s->raw_bytes, text, sizeof(text));
	}
	st->sum += pd_space_find(&st->spaces, s->pid, s->addr) != NULL;
	return 0;
}

static int on_brief(void *arg, const struct pd_event *e, u64 time, const struct pd_brief *b)
{
	struct state *st = arg;

	st->sum += e->index + time + b->pid + b->tid + b->cpu;
	for (u32 i = 0; i < PD_BRIEF_VALUES; i++)
		st->sum += b->value[i];
	return 0;
}

/* Every other event gives briefs of the first field that can be in one. */
static void ask_briefs(struct pd_file *f)
{
	for (u32 i = 0; i < pd_nr_events(f); i += 2) {
		struct pd_event *e = pd_event(f, i);

		for (u32 k = 0; e->tp && k < e->tp->nr_fields; k++) {
			const struct pd_field *field = &e->tp->fields[k];

			if (pd_ask_brief(e, &field, 1))
				break;
		}
	}
}

int LLVMFuzzerTestOneInput(const u8 *data, size_t size)
{
	struct state st = { 0 };
	struct pd_consumer c = { .record = on_record, .arg = &st, .brief = size % 2 ? on_brief : NULL };
	int fd = memfd_create("fuzz", MFD_CLOEXEC);
	char path[64], why[256] = "";
	struct pd_file *f;

	if (fd < 0 || write(fd, data, size) != (ssize_t)size)
		abort();
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	if (!pd_open(&f, path, why, sizeof(why))) {
		ask_briefs(f);
		if (!pd_threads_init(&st.threads) && pd_for_each(f, &c) > 0)
			abort();
		pd_close(f);
	} else if (!*why) {
		abort(); /* a refusal says why */
	}
	pd_threads_free(&st.threads);
	pd_spaces_free(&st.spaces);
	close(fd);
	return 0;
}
