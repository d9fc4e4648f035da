/* SPDX-License-Identifier: MIT
 *
 * A second thread that brings a mapped file's pages and lines near before the reader comes to them.
 *
 * ahead_begin and what follows are for one reader. Everything works with NULL, which ahead_begin returns where a second
 * thread would not help.
 */
#ifndef PERFDATA_AHEAD_H
#define PERFDATA_AHEAD_H

#include <lib/types.h>

struct ahead;

struct ahead *ahead_begin(const u8 *map, u64 from, u64 end);
void ahead_move(struct ahead *a, u64 at); /* the reader is there */
void ahead_end(struct ahead *a);

#endif
