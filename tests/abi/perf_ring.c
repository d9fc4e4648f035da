/* SPDX-License-Identifier: MIT
 *
 * Problem: a program must find the same behaviour here as on Linux, at its borders too.
 *
 * Idea: Memory of perf's rings: a user's rings together may have perf_event_mlock_kb for each CPU, and what is unmapped
 * counts no more; root is not bound.
 *
 * Contract: prints `ok NAME` or `not ok NAME: why` a case and exits 0 or 1; the same on Linux, which is the oracle.
 * Needs root.
 *
 * Locks: none.
 */
#include <fcntl.h>
#include <linux/perf_event.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include "abi.h"

#define MOST 64

struct ring {
	int fd;
	void *at;
};

static int make(struct ring *r, unsigned pages)
{
	struct perf_event_attr a = {
		.type = PERF_TYPE_SOFTWARE, .size = sizeof(a), .config = PERF_COUNT_SW_DUMMY, .exclude_kernel = 1
	};

	r->fd = (int)syscall(SYS_perf_event_open, &a, 0, -1, -1, 0);
	if (r->fd < 0)
		return -1;
	r->at = mmap(NULL, (1 + pages) * 4096, PROT_READ | PROT_WRITE, MAP_SHARED, r->fd, 0);
	if (r->at != MAP_FAILED)
		return 0;
	close(r->fd);
	return -1;
}

static void unmake(struct ring *r, unsigned pages)
{
	munmap(r->at, (1 + pages) * 4096);
	close(r->fd);
}

/* How many rings of 1 + 64 pages there may be before EPERM. */
static unsigned fill(struct ring *r)
{
	unsigned n = 0;

	while (n < MOST && !make(&r[n], 64))
		n++;
	if (n < MOST)
		want_eq(errno, EPERM);
	return n;
}

static int allowed_pages(void)
{
	char text[16] = "";
	int fd = open("/proc/sys/kernel/perf_event_mlock_kb", O_RDONLY);

	want(fd >= 0 && read(fd, text, sizeof(text) - 1) > 0);
	close(fd);
	return atoi(text) / 4 * (int)sysconf(_SC_NPROCESSORS_ONLN);
}

static void set_paranoid(const char *level)
{
	int fd = open("/proc/sys/kernel/perf_event_paranoid", O_WRONLY);

	want(fd >= 0 && write(fd, level, strlen(level)) == (ssize_t)strlen(level));
	close(fd);
}

static void as_user(int pages)
{
	const struct rlimit none = { 0, 0 };
	struct ring r[MOST + 1];
	unsigned n;

	want(!setrlimit(RLIMIT_MEMLOCK, &none) && !setuid(4242));
	n = fill(r);
	want_eq(n, pages / 65);
	unmake(&r[0], 64);
	unmake(&r[1], 64);
	want(!make(&r[0], 64));
	for (unsigned i = 2; i < n; i++)
		unmake(&r[i], 64);
	unmake(&r[0], 64);
	want_eq(fill(r), n);
}

CASE(a_users_rings_are_summed_up)
{
	int pages = allowed_pages(), st;
	pid_t child;

	if (pages / 65 < 2) /* one CPU: too few to tell */
		return;
	set_paranoid("2\n"); /* Debian's Linux begins above: no events for users at all */
	child = fork();
	if (!child) {
		as_user(pages);
		_exit(0);
	}
	want_eq(waitpid(child, &st, 0), child);
	want_eq(st, 0);
}

CASE(root_is_not_bound)
{
	struct ring r[MOST + 1];
	unsigned n = fill(r);

	want_eq(n, MOST);
	for (unsigned i = 0; i < n; i++)
		unmake(&r[i], 64);
}

int main(void)
{
	RUN(a_users_rings_are_summed_up);
	RUN(root_is_not_bound);
	return abi_status();
}
