/* SPDX-License-Identifier: MIT
 *
 * Requests that a grammar makes from a seed, the same everywhere, and answers as a letter each.
 */
#ifndef TESTS_LETTERS_H
#define TESTS_LETTERS_H

#include <errno.h>

static unsigned long long seed;

static inline unsigned rnd(unsigned below)
{
	seed = seed * 6364136223846793005ULL + 1442695040888963407ULL;
	return (unsigned)(seed >> 33) % below;
}

/* A letter an answer: . no error, else one an errno. */
static inline char letter(int err)
{
	static const int known[] = { 0,      EINVAL, EACCES, EPERM,  ENOENT,    EOPNOTSUPP, E2BIG,
				     ESRCH,  ENODEV, EBADF,  EFAULT, EOVERFLOW, EBUSY,      EMFILE,
				     ENOMEM, ENOSYS, ENOTTY, ENOSPC, ENXIO };
	static const char letters[] = ".vapnoezdbfwumystcx";

	for (unsigned i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		if (known[i] == err)
			return letters[i];
	return '?';
}

#endif
