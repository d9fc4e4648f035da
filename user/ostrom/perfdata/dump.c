/* SPDX-License-Identifier: MIT
 *
 * Problem: when a report and the data disagree, one wants to see the data.
 *
 * Idea: perf's -D: each record with its offset in the file, size, type and bytes, in time order, and what of it is the
 * same in all: time, CPU, ids.
 *
 * Contract: dump.h. Locks: none.
 */
#include <errno.h>
#include "dump.h"

static const char *const kinds[] = {
	[PERF_RECORD_MMAP] = "MMAP",
	[PERF_RECORD_LOST] = "LOST",
	[PERF_RECORD_COMM] = "COMM",
	[PERF_RECORD_EXIT] = "EXIT",
	[PERF_RECORD_THROTTLE] = "THROTTLE",
	[PERF_RECORD_UNTHROTTLE] = "UNTHROTTLE",
	[PERF_RECORD_FORK] = "FORK",
	[PERF_RECORD_READ] = "READ",
	[PERF_RECORD_SAMPLE] = "SAMPLE",
	[PERF_RECORD_MMAP2] = "MMAP2",
	[PERF_RECORD_AUX] = "AUX",
	[PERF_RECORD_LOST_SAMPLES] = "LOST_SAMPLES",
	[PERF_RECORD_SWITCH] = "SWITCH",
	[PERF_RECORD_SWITCH_CPU_WIDE] = "SWITCH_CPU_WIDE",
	[PERF_RECORD_NAMESPACES] = "NAMESPACES",
	[PERF_RECORD_KSYMBOL] = "KSYMBOL",
	[PERF_RECORD_BPF_EVENT] = "BPF_EVENT",
	[PERF_RECORD_CGROUP] = "CGROUP",
	[PERF_RECORD_TEXT_POKE] = "TEXT_POKE",
};

static void put_bytes(struct out *o, const u8 *p, u32 n)
{
	for (u32 at = 0; at < n; at += 16) {
		u32 part = min(n - at, 16u);

		out_printf(o, ".  %04x: ", at);
		for (u32 i = 0; i < 16; i++)
			if (i < part)
				out_printf(o, " %02x", p[at + i]);
			else
				out_str(o, "   ");
		out_str(o, "  ");
		for (u32 i = 0; i < part; i++)
			out_char(o, p[at + i] > 0x1f && p[at + i] < 0x7f ? (char)p[at + i] : '.');
		out_fill(o, '.', 16 - (int)part);
		out_char(o, '\n');
	}
}

struct dump {
	const struct pd_file *file;
	struct out *out;
};

static int put_record(void *arg, const struct pd_sample *s)
{
	const char *kind = s->type < ARRAY_SIZE(kinds) && kinds[s->type] ? kinds[s->type] : "?";
	const struct dump *d = arg;
	u64 offset = pd_offset(d->file, s->rec);
	struct out *o = d->out;

	out_printf(o, "\n%#llx [%#x]: event: %u\n.\n. ... raw event: size %u bytes\n", (unsigned long long)offset,
		   s->size, s->type, s->size);
	put_bytes(o, s->rec, s->size);
	out_printf(o, "\n%d %llu %#llx [%#x]: PERF_RECORD_%s", (s32)s->cpu, (unsigned long long)s->time,
		   (unsigned long long)offset, s->size, kind);
	if (s->type == PERF_RECORD_SAMPLE)
		out_printf(o, "(IP, %#x): %d/%d: %#llx period: %llu addr: %llx", s->misc, (s32)s->pid, (s32)s->tid,
			   (unsigned long long)s->ip, (unsigned long long)s->period, (unsigned long long)s->addr);
	out_char(o, '\n');
	return o->error;
}

int pd_dump(struct pd_file *f, struct out *o)
{
	struct dump d = { f, o };
	struct pd_consumer c = { .record = put_record, .arg = &d };
	int err = pd_for_each(f, &c);

	return err == -EPIPE ? 0 : err;
}
