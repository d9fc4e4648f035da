/* SPDX-License-Identifier: MIT
 *
 * Problem: a chain of return addresses says nothing to a person.
 *
 * Idea: the second link puts a sorted table of text symbols at the end of the image
 * (tools/gen-ksyms). Frames are followed by frame pointer; a chain must grow upwards by less than a
 * stack, so a broken one ends instead of faulting.
 *
 * Contract: core/log.h. Any context, NMI and panic included.
 *
 * Locks: none; the table is constant.
 */
#include <core/log.h>
#include <lib/printf.h>
#include <lib/types.h>

extern const u64 ksyms_base, ksyms_count;
extern const u32 ksyms_offsets[], ksyms_name_at[];
extern const char ksyms_names[];
extern const char text_start[], text_end[];

#define STACK_SPAN (16 * 1024UL)
#define MAX_FRAMES 32

static bool is_text(ulong a)
{
	return a >= (ulong)text_start && a < (ulong)text_end;
}

void symbol_format(char *buf, size_t size, ulong address)
{
	u64 lo = 0, hi = ksyms_count;

	if (!is_text(address) || !hi) {
		str_format(buf, size, "%#lx", address);
		return;
	}
	while (hi - lo > 1) {
		u64 mid = (lo + hi) / 2;

		if (ksyms_base + ksyms_offsets[mid] <= address)
			lo = mid;
		else
			hi = mid;
	}
	str_format(buf, size, "%s+%#lx", ksyms_names + ksyms_name_at[lo],
		   address - (ulong)(ksyms_base + ksyms_offsets[lo]));
}

const char *symbol_at(u64 n, ulong *address)
{
	if (n >= ksyms_count)
		return NULL;
	*address = ksyms_base + ksyms_offsets[n];
	return ksyms_names + ksyms_name_at[n];
}

static void print_frame(ulong ip)
{
	char text[96];

	symbol_format(text, sizeof(text), ip);
	log_print(LOG_EMERG, "  %#lx %s", ip, text);
}

void backtrace_print(ulong ip, ulong bp)
{
	ulong start = bp;

	if (ip)
		print_frame(ip);
	for (int i = 0; i < MAX_FRAMES && bp >= start && bp - start < STACK_SPAN && !(bp & 7) && bp >> 63; i++) {
		const ulong *frame = (const ulong *)bp;

		if (!is_text(frame[1]))
			break;
		print_frame(frame[1]);
		if (frame[0] <= bp)
			break;
		bp = frame[0];
	}
}
