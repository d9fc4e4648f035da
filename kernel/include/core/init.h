/* SPDX-License-Identifier: MIT
 *
 * Parts that kmain need not know by name register a function: PART_INIT(level, fn). They run once,
 * in the first kernel thread (they may sleep), by level and within a level by link order. What is
 * usable from which level on: core    threads, memory, timers, vfs tables fs      the same: file
 * system types register here bus     file systems can be mounted: buses are scanned driver  devices
 * exist: drivers bind late    everything A failure is logged by the function itself; boot goes on.
 */
#ifndef CORE_INIT_H
#define CORE_INIT_H

#include <lib/types.h>

typedef void (*part_init_fn)(void);
#define PART_INIT_LEVEL_core   "1"
#define PART_INIT_LEVEL_fs     "2"
#define PART_INIT_LEVEL_bus    "3"
#define PART_INIT_LEVEL_driver "4"
#define PART_INIT_LEVEL_late   "5"
#define PART_INIT(level, fn)                                                                                           \
	static const part_init_fn __used __section(".part_init." PART_INIT_LEVEL_##level) part_init_##fn = fn

#endif
