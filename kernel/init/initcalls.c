/* SPDX-License-Identifier: MIT
 *
 * Problem: file systems and drivers come and go; kmain should not name each.
 *
 * Idea: the linker collects PART_INIT functions sorted by level; run them in that order.
 *
 * Contract: core/init.h.
 *
 * Locks: none; one thread, once.
 */
#include <core/init.h>
#include "init_priv.h"

extern const part_init_fn part_inits_start[], part_inits_end[];

void init_run(void)
{
	for (const part_init_fn *f = part_inits_start; f < part_inits_end; f++)
		(*f)();
}
