/* SPDX-License-Identifier: MIT
 *
 * The frame of an ABI test: cases that say `ok NAME` or `not ok NAME: why`, the same on Linux and on Ostrom.
 *
 *   CASE(name) { want(1 + 1 == 2); }      defines a case; a failed want ends it
 *   int main(void) { RUN(name); return abi_status(); }
 */
#ifndef TESTS_ABI_H
#define TESTS_ABI_H

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static jmp_buf abi_out;
static int abi_failed;
static char abi_why[256];
static int abi_pid; /* a child that fails says so by its exit status, not by jumping into its parent's case */

#define CASE(name) static void case_##name(void)
#define RUN(name)  abi_run(#name, case_##name)

static inline void abi_run(const char *name, void (*fn)(void))
{
	abi_pid = getpid();
	if (!setjmp(abi_out)) {
		fn();
		printf("ok %s\n", name);
	} else {
		printf("not ok %s: %s\n", name, abi_why);
		abi_failed = 1;
	}
	fflush(stdout);
}

static inline int abi_status(void)
{
	return abi_failed;
}

__attribute__((noreturn, format(printf, 1, 2))) static inline void abi_fail(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(abi_why, sizeof(abi_why), fmt, ap);
	va_end(ap);
	if (getpid() != abi_pid) {
		dprintf(2, "child: %s\n", abi_why);
		_exit(99);
	}
	longjmp(abi_out, 1);
}

#define want(c)                                                                                                        \
	do {                                                                                                           \
		errno = 0;                                                                                             \
		if (!(c))                                                                                              \
			abi_fail("line %d: %s (errno %d)", __LINE__, #c, errno);                                       \
	} while (0)
#define want_eq(a, b)                                                                                                  \
	do {                                                                                                           \
		long long a_ = (long long)(a), b_ = (long long)(b);                                                    \
		if (a_ != b_)                                                                                          \
			abi_fail("line %d: %s is %lld, not %lld (errno %d)", __LINE__, #a, a_, b_, errno);             \
	} while (0)
/* The call fails with this error. */
#define want_errno(call, e)                                                                                            \
	do {                                                                                                           \
		errno = 0;                                                                                             \
		long r_ = (long)(call);                                                                                \
		if (r_ != -1 || errno != (e))                                                                          \
			abi_fail("line %d: %s gives %ld, errno %d, not %d", __LINE__, #call, r_, errno, (e));          \
	} while (0)

#endif
