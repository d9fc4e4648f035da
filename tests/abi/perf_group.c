/* SPDX-License-Identifier: MIT
 *
 * Problem: a program must find the same behaviour here as on Linux, at its borders too.
 *
 * Idea: Groups of events: what a group read gives while its task runs, after that has ended, and when the leader or a
 * member is closed before the other.
 *
 * Contract: prints `ok NAME` or `not ok NAME: why` a case and exits 0 or 1; the same on Linux, which is the oracle.
 *
 * Locks: none.
 */
#include <linux/perf_event.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include "abi.h"

struct group_read {
	unsigned long long nr, enabled, running, value[3];
};

static int open_event(unsigned config, pid_t pid, int leader)
{
	struct perf_event_attr a = { .type = PERF_TYPE_SOFTWARE,
				     .size = sizeof(a),
				     .config = config,
				     .disabled = leader < 0,
				     .read_format = PERF_FORMAT_GROUP | PERF_FORMAT_TOTAL_TIME_ENABLED |
						    PERF_FORMAT_TOTAL_TIME_RUNNING };

	return (int)syscall(SYS_perf_event_open, &a, pid, -1, leader, 0);
}

struct group {
	int fd[3], go;
	pid_t child;
};

/* A child that touches memory, gives the CPU away and ends when it is told to; three events on it. */
static struct group make_group(void)
{
	const unsigned what[3] = { PERF_COUNT_SW_TASK_CLOCK, PERF_COUNT_SW_PAGE_FAULTS,
				   PERF_COUNT_SW_CONTEXT_SWITCHES };
	struct group g;
	int go[2];
	char c;

	want(!pipe(go));
	g.child = fork();
	if (!g.child) {
		static char memory[64 * 4096];

		close(go[1]);
		(void)!read(go[0], &c, 1);
		for (unsigned i = 0; i < sizeof(memory); i += 4096)
			((volatile char *)memory)[i] = 1;
		_exit(0);
	}
	close(go[0]);
	g.go = go[1];
	for (unsigned i = 0; i < 3; i++) {
		g.fd[i] = open_event(what[i], g.child, i ? g.fd[0] : -1);
		want(g.fd[i] >= 0);
	}
	want(!ioctl(g.fd[0], PERF_EVENT_IOC_ENABLE, PERF_IOC_FLAG_GROUP));
	return g;
}

static void run_out(struct group *g)
{
	want_eq(write(g->go, "", 1), 1);
	want_eq(waitpid(g->child, NULL, 0), g->child);
	close(g->go);
}

CASE(an_ended_task_keeps_its_group)
{
	struct group g = make_group();
	struct group_read r = { 0 };

	want_eq(read(g.fd[0], &r, sizeof(r)), sizeof(r));
	want_eq(r.nr, 3);
	run_out(&g);
	want_eq(read(g.fd[0], &r, sizeof(r)), sizeof(r));
	want(r.nr == 3 && r.enabled && r.running == r.enabled);
	want(r.value[0] > 0 && r.value[1] >= 64);
	want_eq(read(g.fd[1], &r, sizeof(r)), sizeof(r));
	for (unsigned i = 0; i < 3; i++)
		close(g.fd[i]);
}

CASE(a_member_that_is_closed_leaves)
{
	struct group g = make_group();
	struct group_read r = { 0 };

	run_out(&g);
	close(g.fd[1]);
	want_eq(read(g.fd[0], &r, sizeof(r)), sizeof(r) - 8);
	want_eq(r.nr, 2);
	close(g.fd[2]);
	want_eq(read(g.fd[0], &r, sizeof(r)), sizeof(r) - 16);
	want_eq(r.nr, 1);
	close(g.fd[0]);
}

CASE(members_outlive_their_leader)
{
	struct group g = make_group();
	struct group_read r = { 0 };

	run_out(&g);
	close(g.fd[0]);
	want_eq(read(g.fd[1], &r, sizeof(r)), sizeof(r) - 16);
	want(r.nr == 1 && r.value[0] >= 64);
	want_errno(open_event(PERF_COUNT_SW_CPU_MIGRATIONS, 0, g.fd[1]), EINVAL);
	close(g.fd[2]);
	close(g.fd[1]);
}

CASE(the_same_while_it_runs)
{
	struct group g = make_group();
	struct group_read r = { 0 };

	close(g.fd[0]);
	want_eq(read(g.fd[1], &r, sizeof(r)), sizeof(r) - 16);
	close(g.fd[1]);
	run_out(&g);
	want_eq(read(g.fd[2], &r, sizeof(r)), sizeof(r) - 16);
	close(g.fd[2]);
}

int main(void)
{
	RUN(an_ended_task_keeps_its_group);
	RUN(a_member_that_is_closed_leaves);
	RUN(members_outlive_their_leader);
	RUN(the_same_while_it_runs);
	return abi_status();
}
