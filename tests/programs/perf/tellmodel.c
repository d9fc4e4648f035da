/* SPDX-License-Identifier: MIT
 *
 * Problem: a script in the guest must tell the emulator's cache model (tools/plugins/cachemodel.c) when a program
 * begins and ends.
 *
 * Idea: the model listens to stores into one virtual page; this stores into word N of it.
 *
 * Contract: argument: the word. The page lies at VTAG. Locks: none.
 */
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

#define VTAG 0x100000000000UL

int main(int argc, char **argv)
{
	volatile char *p =
		mmap((void *)VTAG, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);

	if (argc != 2 || p == MAP_FAILED)
		return 1;
	p[(atoi(argv[1]) & 63) * 64] = 1;
	return 0;
}
