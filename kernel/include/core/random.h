/* SPDX-License-Identifier: MIT
 *
 * Random bytes that nobody can predict: getrandom, /dev/urandom, stack and address layout. Any context, NMI excepted.
 */
#ifndef CORE_RANDOM_H
#define CORE_RANDOM_H

#include <lib/types.h>

void random_get(void *buf, size_t n);
u64 random_u64(void);
void random_add(const void *bytes, size_t n); /* mixes in what may or may not be random: it cannot hurt */

#endif
