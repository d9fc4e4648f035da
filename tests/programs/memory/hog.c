/* SPDX-License-Identifier: MIT
 *
 * Problem: tests of reclaim need a program with more private memory than there is, that notices when a page comes back
 * wrong.
 *
 * Idea: `hog MIB LOOPS`: every page gets two words that depend on its place and on the loop; each later loop checks
 * what the one before wrote. With a third argument a child forked after the first loop checks that loop's values at the
 * end, so pages are shared on their way out and in.
 *
 * Contract: prints "hog: fine" and exits 0; 1 and a message if a value is wrong; 2 if there is no room to map.
 *
 * Locks: none.
 */
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define WORDS 512UL /* a page */

static unsigned long *words;
static size_t nr_pages;

static void check(unsigned long loop)
{
	for (size_t i = 0; i < nr_pages; i++) {
		const unsigned long *page = words + i * WORDS;

		if (page[0] == i * 7 + loop && page[WORDS - 1] == (i ^ loop))
			continue;
		printf("hog: page %zu is wrong in loop %lu\n", i, loop);
		exit(1);
	}
}

static void fill(unsigned long loop)
{
	for (size_t i = 0; i < nr_pages; i++) {
		words[i * WORDS] = i * 7 + loop;
		words[i * WORDS + WORDS - 1] = i ^ loop;
	}
}

int main(int argc, char **argv)
{
	unsigned long loops = argc > 2 ? strtoul(argv[2], NULL, 0) : 1;
	int go[2], status = 0;
	pid_t child = 0;

	nr_pages = argc > 1 ? strtoul(argv[1], NULL, 0) * 256 : 0;
	words = mmap(NULL, nr_pages * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (words == MAP_FAILED || pipe(go))
		return 2;
	for (unsigned long loop = 0; loop < loops; loop++) {
		if (loop)
			check(loop - 1);
		if (loop == 1 && argc > 3 && !(child = fork())) {
			char c;

			close(go[1]);
			if (read(go[0], &c, 1) == 0) /* the parent has changed its copies */
				check(0);
			_exit(0);
		}
		fill(loop);
	}
	close(go[1]);
	if (child && (waitpid(child, &status, 0) != child || status))
		return 1;
	check(loops - 1);
	puts("hog: fine");
	return 0;
}
