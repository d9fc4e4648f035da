/* SPDX-License-Identifier: MIT
 *
 * Problem: who has found a way to make the kernel jump or write where he wants still needs to know where things are,
 * and every copy of one build has them at the same addresses.
 *
 * Idea: at each boot the image gets one of 448 places in its GiB, by the CPU's random numbers and its clock; head.S
 * maps it there and raises every address in it. The physical place stays. `nokaslr` on the command line keeps the
 * linked addresses, which a debugger knows.
 *
 * Contract: called once by head.S, on the boot tables and at the linked addresses, before anything that keeps an
 * address. So nothing here may leave one behind, nor use per-CPU variables.
 *
 * Locks: none.
 */
#include <lib/string.h>
#include "x86_priv.h"

#define PLACE_BYTES HUGE_SIZE
#define PLACES                                                                                                         \
	((BIT(30) - 2 * KASLR_IMAGE_MAX) / PLACE_BYTES) /* the first KASLR_IMAGE_MAX bytes are where it is linked */

static bool has_word(const char *text, const char *word)
{
	size_t n = strlen(word);

	for (const char *s = text; *s; s++)
		if (!strncmp(s, word, n) && (s == text || s[-1] == ' ') && (!s[n] || s[n] == ' '))
			return true;
	return false;
}

static u64 chance(void)
{
	u64 v = __builtin_ia32_rdtsc(), drawn = 0;
	u32 r[4];

	cpuid(1, 0, r);
	if (r[2] & BIT(30))
		__asm__ volatile("rdrand %0" : "+r"(drawn) : : "cc"); /* 0 if it fails */
	v ^= drawn;
	v *= 0x9e3779b97f4a7c15ULL; /* every bit into the upper ones */
	return v ^ v >> 32;
}

/* Bytes by which the image shall be moved upwards; 0: not at all. */
ulong kaslr_choose(paddr_t start_info)
{
	const char *words = boot_words(start_info);

	if ((ulong)image_end - KERNEL_BASE > KASLR_IMAGE_MAX || (words && has_word(words, "nokaslr")))
		return 0;
	return KASLR_IMAGE_MAX + (chance() >> 8) % PLACES * PLACE_BYTES;
}
