/* SPDX-License-Identifier: MIT
 *
 * Problem: in software rendering the GPU is the machine's processors, and others use them, too. A job's time by the
 * clock then holds the time that its worker waited for a processor: whoever's worker waits longer pays for what others
 * did, and a share of time is no longer a share of frames.
 *
 * Idea: Linux counts for each thread how long it ran and how long it was ready and waited
 * (/proc/PID/task/TID/schedstat). What the job would have taken alone is the clock's time, less the part that the
 * worker's threads waited of all the time that they wanted to run; never less than its processor time spread over all
 * processors, never more than that of one.
 *
 *      busy = clock * ran / (ran + waited), within [ran / processors, ran]
 *
 * The counters are read when jobs of LOOK_NS have been done since the last look; the jobs between two looks are taken
 * to have waited in the same proportion as before.
 *
 * On a real GPU a worker mostly sleeps, and the clock's time is the time on the GPU.
 *
 * Contract: gpu.h. Locks: none; called from the broker's loop.
 */
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "gpu.h"

#define LOOK_NS          (4 * NSEC_PER_MSEC)
#define LOOKS_UNTIL_SCAN 256

static void forget_threads(struct meter *m)
{
	while (m->n)
		close(m->fds[--m->n]);
}

/* Opens the counters of all threads that the worker has now. */
static void scan(struct meter *m, int pid)
{
	char path[320];
	struct dirent *e;
	DIR *d;

	forget_threads(m);
	snprintf(path, sizeof(path), "/proc/%d/task", pid);
	d = opendir(path);
	while (d && (e = readdir(d)) && m->n < ARRAY_SIZE(m->fds)) {
		int fd;

		if (e->d_name[0] == '.')
			continue;
		snprintf(path, sizeof(path), "/proc/%d/task/%s/schedstat", pid, e->d_name);
		fd = open(path, O_RDONLY | O_CLOEXEC);
		if (fd >= 0)
			m->fds[m->n++] = fd;
	}
	if (d)
		closedir(d);
}

static void read_all(const struct meter *m, u64 *ran, u64 *waited)
{
	*ran = *waited = 0;
	for (u32 i = 0; i < m->n; i++) {
		char s[64];
		ssize_t n = pread(m->fds[i], s, sizeof(s) - 1, 0);
		char *end;

		if (n <= 0)
			continue;
		s[n] = 0;
		*ran += strtoull(s, &end, 10);
		*waited += strtoull(end, NULL, 10);
	}
}

void meter_open(struct meter *m, int pid)
{
	scan(m, pid);
	read_all(m, &m->ran, &m->waited);
	m->unseen_ns = 0;
	m->part = VGPU_ONE;
}

void meter_close(struct meter *m)
{
	forget_threads(m);
}

/* The part of the clock's time that counts, by what happened since the last look. */
static void look(struct meter *m, int pid)
{
	static u64 processors;
	u64 ran, waited, busy;

	if (!processors)
		processors = max(sysconf(_SC_NPROCESSORS_ONLN), 1l);
	if (++m->looks % LOOKS_UNTIL_SCAN == 0) { /* its driver may have made threads */
		scan(m, pid);
		read_all(m, &m->ran, &m->waited);
		return;
	}
	read_all(m, &ran, &waited);
	if (ran <= m->ran || waited < m->waited)
		return;
	ran -= m->ran;
	waited -= m->waited;
	m->ran += ran;
	m->waited += waited;
	busy = (double)m->unseen_ns * ran / (ran + waited);
	busy = max(min(busy, ran), ran / processors);
	m->part = min((double)busy * VGPU_ONE / m->unseen_ns, (double)VGPU_ONE);
}

u64 meter_busy(struct meter *m, int pid, u64 clock_ns)
{
	m->unseen_ns += clock_ns;
	if (m->unseen_ns >= LOOK_NS) {
		look(m, pid);
		m->unseen_ns = 0;
	}
	return (double)clock_ns * m->part / VGPU_ONE;
}
