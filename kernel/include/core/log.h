/* SPDX-License-Identifier: MIT
 *
 * The kernel log, failures with a reason, and assertions. Any context, NMI excepted.
 *
 * log_X appends a line to the ring that dmesg reads and prints it on consoles whose level allows.
 * fail() is how a parser says why it refuses: it returns -errno and leaves the text to whoever
 * listens (the fail tracepoint; on the host, stderr when OSTROM_WHY is set). ensure() guards an
 * invariant in all builds and panics; assert() only in the debug build. Exhaustion and bad input
 * are never either of them.
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

/* A place where the log is printed. write may be called with any locks held, from any context; it
 * polls its device. Lines with a level below `level` are printed; registering prints what the ring
 * already holds. */
struct log_console {
	const char *name;
	void (*write)(struct log_console *c, const char *text, size_t n);
	int level;
	struct log_console *next;
};
void log_console_register(struct log_console *c);
#define LOG_LEVEL_DEFAULT 7
extern int log_level; /* consoles print lines below it: loglevel=, quiet, syslog(2) */

/* Reading the ring (dmesg, /dev/kmsg). *pos starts at 0, or at log_end() for new lines only. Copies
 * the next record and moves *pos behind it. Returns the length of the text (without terminator or
 * newline), or -EAGAIN: none yet. Lines that were overwritten are skipped; seq then jumps. */
struct log_line {
	u64 seq, time_ns;
	enum log_level level;
	char text[512];
};
int log_read(u64 *pos, struct log_line *out);
u64 log_end(void);
/* Called, IRQs off, after each line: wakes readers. Set once by whoever offers /dev/kmsg. */
extern void (*log_wake)(void);
void log_init(void); /* boot: loglevel=, quiet */

/* return fail(EINVAL, "offset not sector aligned: %llu", off); errno is given positive. */
int fail(int err, const char *fmt, ...) __printf(2, 3);

void __noreturn panic(const char *fmt, ...) __printf(1, 2);
#ifdef __OSTROM_KERNEL__
struct regs;
void __noreturn panic_regs(const struct regs *r, const char *fmt, ...) __printf(2, 3); /* of a trap */
/* Frames from bp on: symbol+offset, one a log line. */
void backtrace_print(ulong ip, ulong bp);
/* "symbol+0x12", or the plain address. */
void symbol_format(char *buf, size_t size, ulong address);
/* The n-th symbol of the kernel's text by address; NULL: no more. */
const char *symbol_at(u64 n, ulong *address);
#endif

#define ensure(c)                                                                                                      \
	do {                                                                                                           \
		if (unlikely(!(c)))                                                                                    \
			panic("%s:%d: broken invariant: %s", __FILE__, __LINE__, #c);                                  \
	} while (0)

#if defined(OSTROM_DEBUG) || defined(__OSTROM_HOSTED__)
#define assert(c) ensure(c)
#else
#define assert(c) ((void)sizeof(c))
#endif

#endif
