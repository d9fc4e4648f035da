/* SPDX-License-Identifier: MIT
 *
 * Problem: how much of a machine's memory can a program have? What a kernel says of itself is not proof.
 *
 * Idea: children touch every page of more and more memory, read it back, and end; one too many is killed for it.
 * `touch` prints the MiB of the last one that lived.
 *
 * Contract: runs on Ostrom and Linux. Steps of 2 MiB from the first argument on. Locks: none.
 */
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

static void touch(size_t bytes)
{
	char *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED)
		_exit(1);
	for (size_t i = 0; i < bytes; i += 4096)
		p[i] = (char)(i >> 12 | 1);
	for (size_t i = 0; i < bytes; i += 4096)
		if (p[i] != (char)(i >> 12 | 1))
			_exit(2);
	_exit(0);
}

int main(int argc, char **argv)
{
	size_t mib = argc > 1 ? strtoul(argv[1], NULL, 0) : 2, lived = 0;
	int status = 0;

	for (; !status; mib += 2) {
		pid_t child = fork();

		if (!child)
			touch(mib << 20);
		if (child < 0 || waitpid(child, &status, 0) < 0)
			break;
		if (!status)
			lived = mib;
	}
	printf("%zu\n", lived);
	return 0;
}
