/* SPDX-License-Identifier: MIT
 *
 * The kernel log, failures with a reason, and assertions. Any context, NMI excepted.
 *
 * log_X appends a line to the ring that dmesg reads and prints it on consoles whose level allows. fail() is how
 * a parser says why it refuses: it returns -errno and leaves the text to whoever listens (the fail tracepoint;
 * on the host, stderr when OSTROM_WHY is set). ensure() guards an invariant in all builds and panics; assert()
 * only in the debug build. Exhaustion and bad input are never either of them.
 */
#ifndef CORE_LOG_H
#define CORE_LOG_H

#include <lib/types.h>

enum log_level { LOG_EMERG, LOG_ALERT, LOG_CRIT, LOG_ERR, LOG_WARN, LOG_NOTICE, LOG_INFO, LOG_DEBUG };

void log_print(enum log_level level, const char *fmt, ...) __printf(2, 3);
#define log_err(...)   log_print(LOG_ERR, __VA_ARGS__)
#define log_warn(...)  log_print(LOG_WARN, __VA_ARGS__)
#define log_info(...)  log_print(LOG_INFO, __VA_ARGS__)
#define log_debug(...) log_print(LOG_DEBUG, __VA_ARGS__)

/* return fail(EINVAL, "offset not sector aligned: %llu", off); errno is given positive. */
int fail(int err, const char *fmt, ...) __printf(2, 3);

void __noreturn panic(const char *fmt, ...) __printf(1, 2);

#define ensure(c)                                                                                  \
	do {                                                                                       \
		if (unlikely(!(c)))                                                                \
			panic("%s:%d: broken invariant: %s", __FILE__, __LINE__, #c);              \
	} while (0)

#if defined(OSTROM_DEBUG) || defined(__OSTROM_HOSTED__)
#define assert(c) ensure(c)
#else
#define assert(c) ((void)sizeof(c))
#endif

#endif
