/* SPDX-License-Identifier: MIT
 *
 * The idle many among which an operation is measured: whether its cost grows with what it has nothing to do with.
 */
#ifndef BENCHMARKS_CROWD_H
#define BENCHMARKS_CROWD_H

/* Makes what `spec` says, WHAT=N: N sleeping tasks (processes), mounts, open descriptors of this process, vmas of it,
 * or entries of folder, which is made if it is not there. 0, or -1 with errno. They stay until this process ends. */
int crowd(const char *spec, const char *folder);

#endif
