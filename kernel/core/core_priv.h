/* SPDX-License-Identifier: MIT
 *
 * Between the files of core.
 */
#ifndef CORE_PRIV_H
#define CORE_PRIV_H

#include <core/log.h>

extern bool log_lockless; /* set by panic: the lock's holder may be stopped */
void log_vprint(enum log_level level, const char *fmt, va_list ap) __printf(2, 0);

#endif
