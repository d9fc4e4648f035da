/* SPDX-License-Identifier: MIT
 *
 * Problem: a large recording takes seconds, and people at a terminal wonder whether anything happens.
 *
 * Idea: for more than 64 MiB, and only where standard error is a terminal and standard output is none (the report is
 * the better sign of life), a line with the share that was read, overwritten in place and erased at the end.
 *
 * Contract: perfdata_priv.h. Locks: none.
 */
#include <stdio.h>
#include <unistd.h>
#include "perfdata_priv.h"

#define WORTH_TELLING (64ull << 20)

void pd_progress(struct pd_file *f, u64 done, u64 total)
{
	int percent = total ? done * 100 / total : 0;

	if (total < WORTH_TELLING || percent == f->percent)
		return;
	if (!f->told && (!isatty(STDERR_FILENO) || isatty(STDOUT_FILENO)))
		return;
	f->told = true;
	f->percent = percent;
	fprintf(stderr, "\rreading: %d %% of %llu MiB", percent, (unsigned long long)(total >> 20));
}

void pd_progress_end(struct pd_file *f)
{
	if (f->told)
		fprintf(stderr, "\r\033[K");
	f->told = false;
}
