/* SPDX-License-Identifier: MIT
 *
 * Problem: a program must find the same behaviour here as on Linux, at its borders too.
 *
 * Idea: Memory policies and moving pages among nodes. Most cases hold on a machine of one node, too; those that need
 * nodes 0 and 1, with a CPU each, say nothing where there is one only (tests/vm/numa.sh has two). Needs root.
 *
 * Contract: prints `ok NAME` or `not ok NAME: why` a case and exits 0 or 1; the same on Linux, which is the oracle.
 *
 * Locks: none.
 */
#include <fcntl.h>
#include <linux/mempolicy.h>
#include <sched.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include "abi.h"

#define PAGE  4096UL
#define HUGE  (2UL << 20)
#define PAGES 16
#ifndef SYS_set_mempolicy_home_node
#define SYS_set_mempolicy_home_node 450
#endif

static int two_nodes;

static long set_policy(int mode, unsigned long nodes)
{
	return syscall(SYS_set_mempolicy, mode, &nodes, 65L);
}

static long bind_range(void *p, size_t n, int mode, unsigned long nodes, unsigned flags)
{
	return syscall(SYS_mbind, p, n, (long)mode, &nodes, 65L, flags);
}

/* The mode of the policy, and its nodes. */
static int get_policy(unsigned long *nodes, void *addr, unsigned flags)
{
	int mode = -1;

	*nodes = ~0UL;
	want_eq(syscall(SYS_get_mempolicy, &mode, nodes, 64L, addr, flags), 0);
	return mode;
}

static int node_of(void *addr)
{
	int node = -1;

	want_eq(syscall(SYS_get_mempolicy, &node, NULL, 0L, addr, MPOL_F_NODE | MPOL_F_ADDR), 0);
	return node;
}

static char *map(size_t bytes)
{
	char *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	want(p != MAP_FAILED);
	want_eq(madvise(p, bytes, MADV_NOHUGEPAGE), 0);
	return p;
}

static void run_on(int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	want_eq(sched_setaffinity(0, sizeof(set), &set), 0);
}

static void run_anywhere(void)
{
	cpu_set_t set;

	memset(&set, 0xff, sizeof(set));
	want_eq(sched_setaffinity(0, sizeof(set), &set), 0);
}

CASE(set)
{
	unsigned long nodes = 1;

	want_errno(set_policy(MPOL_MAX, 1), EINVAL);
	want_errno(set_policy(-1, 1), EINVAL);
	want_errno(set_policy(MPOL_DEFAULT, 1), EINVAL);
	want_errno(set_policy(MPOL_LOCAL, 1), EINVAL);
	want_errno(set_policy(MPOL_BIND, 0), EINVAL);
	want_errno(set_policy(MPOL_INTERLEAVE, 0), EINVAL);
	want_errno(set_policy(MPOL_BIND, 1UL << 60), EINVAL);
	want_errno(set_policy(MPOL_BIND | MPOL_F_STATIC_NODES | MPOL_F_RELATIVE_NODES, 1), EINVAL);
	want_errno(set_policy(MPOL_PREFERRED | MPOL_F_STATIC_NODES, 0), EINVAL);
	want_errno(set_policy(MPOL_INTERLEAVE | MPOL_F_NUMA_BALANCING, 1), EINVAL);
	want_errno(syscall(SYS_set_mempolicy, MPOL_BIND, 8L, 64L), EFAULT);
	want_errno(syscall(SYS_set_mempolicy, MPOL_BIND, &nodes, 0L), EINVAL);
	want_errno(syscall(SYS_set_mempolicy, MPOL_BIND, &nodes, 1L), EINVAL);
	want_errno(syscall(SYS_set_mempolicy, MPOL_BIND, &nodes, 40000L), EINVAL);
	want_eq(set_policy(MPOL_BIND, 1UL | 1UL << 60), 0);
	want_eq(set_policy(MPOL_PREFERRED, 0), 0);
	want_eq(get_policy(&nodes, NULL, 0), MPOL_LOCAL);
	want_eq(set_policy(MPOL_BIND | MPOL_F_STATIC_NODES, 1), 0);
	want_eq(get_policy(&nodes, NULL, 0), MPOL_BIND | MPOL_F_STATIC_NODES);
	want_eq(nodes, 1);
	want_eq(set_policy(MPOL_INTERLEAVE | MPOL_F_RELATIVE_NODES, 4), 0);
	want_eq(get_policy(&nodes, NULL, 0), MPOL_INTERLEAVE | MPOL_F_RELATIVE_NODES);
	want_eq(nodes, 4);
	want_eq(set_policy(MPOL_PREFERRED_MANY, 1), 0);
	want_eq(set_policy(MPOL_DEFAULT, 0), 0);
	want_eq(get_policy(&nodes, NULL, 0), MPOL_DEFAULT);
	want_eq(nodes, 0);
}

CASE(get)
{
	unsigned long nodes;
	char *p = map(PAGE);
	int mode;

	want_errno(syscall(SYS_get_mempolicy, &mode, &nodes, 64L, NULL, 1 << 3), EINVAL);
	want_errno(syscall(SYS_get_mempolicy, &mode, &nodes, 64L, p, 0L), EINVAL);
	want_errno(syscall(SYS_get_mempolicy, &mode, &nodes, 0L, NULL, 0L), EINVAL);
	want_errno(syscall(SYS_get_mempolicy, &mode, NULL, 0L, NULL, (long)MPOL_F_NODE), EINVAL);
	want_errno(syscall(SYS_get_mempolicy, &mode, NULL, 0L, NULL, (long)(MPOL_F_NODE | MPOL_F_MEMS_ALLOWED)),
		   EINVAL);
	want_errno(syscall(SYS_get_mempolicy, 8L, NULL, 0L, NULL, 0L), EFAULT);
	want_eq(get_policy(&nodes, NULL, MPOL_F_MEMS_ALLOWED), 0);
	want_eq(nodes, two_nodes ? 3 : 1);
	want_eq(get_policy(&nodes, p, MPOL_F_ADDR), MPOL_DEFAULT);
	want(node_of(p) >= 0);
	munmap(p, PAGE);
	want_errno(syscall(SYS_get_mempolicy, &mode, NULL, 0L, p, (long)MPOL_F_ADDR), EFAULT);
	want_eq(set_policy(MPOL_INTERLEAVE, 1), 0);
	want_eq(syscall(SYS_get_mempolicy, &mode, NULL, 0L, NULL, (long)MPOL_F_NODE), 0);
	want_eq(mode, 0);
	want_eq(set_policy(MPOL_DEFAULT, 0), 0);
}

CASE(getcpu)
{
	for (int cpu = 0; cpu < (two_nodes ? 2 : 1); cpu++) {
		unsigned here = 99, node = 99;

		run_on(cpu);
		want_eq(syscall(SYS_getcpu, &here, &node, NULL), 0);
		want_eq(here, cpu);
		want_eq(node, cpu);
		want_eq(sched_getcpu(), cpu);
	}
	run_anywhere();
}

CASE(first_touch)
{
	for (int cpu = 0; cpu < 2 && two_nodes; cpu++) {
		char *p = map(PAGES * PAGE);

		run_on(cpu);
		for (int i = 0; i < PAGES; i++) {
			p[i * PAGE] = 1;
			want_eq(node_of(p + i * PAGE), cpu);
		}
		munmap(p, PAGES * PAGE);
	}
	run_anywhere();
}

CASE(placed)
{
	static const struct {
		int mode;
		unsigned long nodes;
	} policy[] = { { MPOL_BIND, 2 },
		       { MPOL_PREFERRED, 2 },
		       { MPOL_PREFERRED_MANY, 2 },
		       { MPOL_BIND, 1 },
		       { MPOL_INTERLEAVE, 2 } };

	run_on(0);
	for (unsigned k = 0; k < sizeof(policy) / sizeof(policy[0]) && two_nodes; k++) {
		char *p = map(PAGES * PAGE), *q = map(PAGES * PAGE);

		want_eq(set_policy(policy[k].mode, policy[k].nodes), 0);
		memset(p, 1, PAGES * PAGE);
		want_eq(set_policy(MPOL_DEFAULT, 0), 0);
		want_eq(bind_range(q, PAGES * PAGE, policy[k].mode, policy[k].nodes, 0), 0);
		memset(q, 1, PAGES * PAGE);
		for (int i = 0; i < PAGES; i++) {
			want_eq(node_of(p + i * PAGE), (int)policy[k].nodes - 1);
			want_eq(node_of(q + i * PAGE), (int)policy[k].nodes - 1);
		}
		munmap(p, PAGES * PAGE);
		munmap(q, PAGES * PAGE);
	}
	run_anywhere();
}

CASE(interleaved)
{
	char *p = map(PAGES * PAGE);

	if (two_nodes) {
		want_eq(bind_range(p, PAGES * PAGE, MPOL_INTERLEAVE, 3, 0), 0);
		for (int i = PAGES; i-- > 0;)
			p[i * PAGE] = 1;
		for (int i = 1; i < PAGES; i++)
			want_eq(node_of(p + i * PAGE), !node_of(p + (i - 1) * PAGE));
	}
	munmap(p, PAGES * PAGE);
}

CASE(ranges)
{
	char *p = map(4 * PAGE);
	unsigned long nodes;

	want_errno(bind_range(p + 1, PAGE, MPOL_BIND, 1, 0), EINVAL);
	want_errno(bind_range(p, PAGE, MPOL_BIND, 1, 1 << 4), EINVAL);
	want_errno(bind_range(p, PAGE, MPOL_MAX, 1, 0), EINVAL);
	want_errno(bind_range(p, -PAGE, MPOL_BIND, 1, 0), EINVAL);
	want_eq(bind_range(p, 0, MPOL_BIND, 1, 0), 0);
	want_eq(bind_range(p + PAGE, PAGE, MPOL_BIND, 1, 0), 0);
	want_eq(get_policy(&nodes, p, MPOL_F_ADDR), MPOL_DEFAULT);
	want_eq(get_policy(&nodes, p + PAGE, MPOL_F_ADDR), MPOL_BIND);
	want_eq(nodes, 1);
	want_eq(get_policy(&nodes, p + 2 * PAGE, MPOL_F_ADDR), MPOL_DEFAULT);
	want_eq(bind_range(p, 4 * PAGE, MPOL_PREFERRED, 1, 0), 0);
	want_eq(get_policy(&nodes, p + 3 * PAGE, MPOL_F_ADDR), MPOL_PREFERRED);
	munmap(p + PAGE, PAGE);
	want_errno(bind_range(p, 4 * PAGE, MPOL_BIND, 1, 0), EFAULT);
	want_eq(bind_range(p, 4 * PAGE, MPOL_DEFAULT, 0, 0), 0);
	want_eq(get_policy(&nodes, p + 3 * PAGE, MPOL_F_ADDR), MPOL_DEFAULT);
	munmap(p, 4 * PAGE);
	want_errno(bind_range(p, 4 * PAGE, MPOL_BIND, 1, 0), EFAULT);
	want_errno(bind_range(p, 4 * PAGE, MPOL_DEFAULT, 0, 0), EFAULT);
}

/* Pages on node 0, each with its number. */
static char *on_node_0(size_t bytes)
{
	char *p = map(bytes);

	run_on(0);
	for (size_t i = 0; i < bytes; i += PAGE)
		*(size_t *)(p + i) = i;
	run_anywhere();
	return p;
}

static void want_all_on(char *p, size_t bytes, int node)
{
	for (size_t i = 0; i < bytes; i += PAGE) {
		want_eq(node_of(p + i), node);
		want_eq(*(size_t *)(p + i), i);
	}
}

CASE(bind_moves)
{
	char *p;

	if (!two_nodes)
		return;
	p = on_node_0(PAGES * PAGE);
	want_eq(bind_range(p, PAGES * PAGE, MPOL_BIND, 2, 0), 0);
	want_all_on(p, PAGES * PAGE, 0);
	want_errno(bind_range(p, PAGES * PAGE, MPOL_BIND, 2, MPOL_MF_STRICT), EIO);
	want_eq(bind_range(p, PAGES * PAGE, MPOL_BIND, 1, MPOL_MF_STRICT), 0);
	want_eq(bind_range(p, PAGES * PAGE, MPOL_BIND, 2, MPOL_MF_STRICT | MPOL_MF_MOVE), 0);
	want_all_on(p, PAGES * PAGE, 1);
	munmap(p, PAGES * PAGE);
}

CASE(huge_moves)
{
	char *area, *p;

	if (!two_nodes)
		return;
	area = mmap(NULL, 2 * HUGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	want(area != MAP_FAILED);
	p = (char *)(((uintptr_t)area + HUGE - 1) & -HUGE);
	want_eq(madvise(p, HUGE, MADV_HUGEPAGE), 0);
	run_on(0);
	for (size_t i = 0; i < HUGE; i += PAGE)
		*(size_t *)(p + i) = i;
	run_anywhere();
	want_all_on(p, HUGE, 0);
	want_eq(bind_range(p, HUGE, MPOL_BIND, 2, MPOL_MF_STRICT | MPOL_MF_MOVE), 0);
	want_all_on(p, HUGE, 1);
	want_eq(bind_range(p + 16 * PAGE, 8 * PAGE, MPOL_BIND, 1, MPOL_MF_STRICT | MPOL_MF_MOVE), 0);
	for (size_t i = 16 * PAGE; i < 24 * PAGE; i += PAGE)
		want_eq(node_of(p + i), 0);
	munmap(area, 2 * HUGE);
}

CASE(move_pages)
{
	char *area = map(4 * HUGE), *p = (char *)(((uintptr_t)area + HUGE - 1) & -HUGE), *far = p + 2 * HUGE;
	void *pages[4] = { p, p + PAGE, p + 2 * PAGE, p + 3 * PAGE };
	int nodes[4] = { two_nodes, two_nodes, two_nodes, two_nodes }, status[4];
	volatile char zero;

	want_errno(syscall(SYS_move_pages, 0, 1L, pages, nodes, status, 1), EINVAL);
	want_errno(syscall(SYS_move_pages, 999999, 1L, pages, nodes, status, MPOL_MF_MOVE), ESRCH);
	want_errno(syscall(SYS_move_pages, 0, 1L, pages, nodes, 8L, MPOL_MF_MOVE), EFAULT);
	want_errno(syscall(SYS_move_pages, 0, 1L, 8L, nodes, status, MPOL_MF_MOVE), EFAULT);
	run_on(0);
	p[0] = 7;
	zero = p[PAGE];
	(void)zero;
	munmap(p + 3 * PAGE, PAGE);
	want_eq(syscall(SYS_move_pages, 0, 4L, pages, NULL, status, 0), 0);
	want_eq(status[0], 0);
	want_eq(status[1], -EFAULT);
	want_eq(status[2], -EFAULT);
	want(status[3] == -EFAULT || status[3] == -ENOENT);
	want_eq(syscall(SYS_move_pages, 0, 3L, pages, nodes, status, MPOL_MF_MOVE), 0);
	want_eq(status[0], two_nodes);
	want_eq(status[1], -EFAULT);
	want_eq(status[2], -EFAULT);
	want_eq(node_of(p), two_nodes);
	want_eq(p[0], 7);
	nodes[0] = 40;
	want_errno(syscall(SYS_move_pages, 0, 1L, pages, nodes, status, MPOL_MF_MOVE), ENODEV);
	nodes[0] = -1;
	want_errno(syscall(SYS_move_pages, 0, 1L, pages, nodes, status, MPOL_MF_MOVE), ENODEV);
	want_eq(syscall(SYS_move_pages, 0, 1L, &far, NULL, status, 0), 0);
	want_eq(status[0], -EFAULT);
	run_anywhere();
	munmap(area, 4 * HUGE);
}

/* A page that a child has, too, stays; another process's own page moves. */
CASE(move_others)
{
	int up[2], down[2], status = 99, node = 1;
	char *p, c = 0;
	pid_t child;

	if (!two_nodes)
		return;
	p = on_node_0(2 * PAGE);
	want(!pipe(up) && !pipe(down));
	child = fork();
	if (!child) {
		p[PAGE] = 1; /* a copy of its own */
		want_eq(write(up[1], &c, 1), 1);
		want_eq(read(down[0], &c, 1), 1);
		_exit(node_of(p + PAGE) * 2 + node_of(p));
	}
	want_eq(read(up[0], &c, 1), 1);
	want_eq(syscall(SYS_move_pages, 0, 1L, &p, &node, &status, MPOL_MF_MOVE), 0);
	want_eq(status, -EACCES);
	p += PAGE;
	want_eq(syscall(SYS_move_pages, child, 1L, &p, &node, &status, MPOL_MF_MOVE), 0);
	want_eq(status, 1);
	want_eq(write(down[1], &c, 1), 1);
	want_eq(waitpid(child, &status, 0), child);
	want_eq(WEXITSTATUS(status), 2);
	munmap(p - PAGE, 2 * PAGE);
}

CASE(migrate_pages)
{
	unsigned long from = 1, to = 2, none = 0;
	char *p;

	want_errno(syscall(SYS_migrate_pages, 999999, 65L, &from, &from), ESRCH);
	want_errno(syscall(SYS_migrate_pages, 0, 65L, 8L, &from), EFAULT);
	want_errno(syscall(SYS_migrate_pages, 0, 65L, &from, &none), EINVAL);
	want_eq(syscall(SYS_migrate_pages, 0, 65L, &from, &from), 0);
	if (!two_nodes)
		return;
	p = on_node_0(PAGES * PAGE);
	want(syscall(SYS_migrate_pages, 0, 65L, &from, &to) >= 0);
	want_all_on(p, PAGES * PAGE, 1);
	want(syscall(SYS_migrate_pages, 0, 65L, &to, &from) >= 0);
	want_all_on(p, PAGES * PAGE, 0);
	munmap(p, PAGES * PAGE);
}

CASE(inherited)
{
	unsigned long nodes;
	char *p = map(PAGE);
	int status;
	pid_t child;

	want_eq(set_policy(MPOL_BIND, 1), 0);
	want_eq(bind_range(p, PAGE, MPOL_INTERLEAVE, 1, 0), 0);
	child = fork();
	if (!child)
		_exit(get_policy(&nodes, NULL, 0) != MPOL_BIND ||
		      get_policy(&nodes, p, MPOL_F_ADDR) != MPOL_INTERLEAVE);
	want_eq(waitpid(child, &status, 0), child);
	want_eq(status, 0);
	want_eq(set_policy(MPOL_DEFAULT, 0), 0);
	munmap(p, PAGE);
}

CASE(home_node)
{
	char *p = map(2 * PAGE);

	want_errno(syscall(SYS_set_mempolicy_home_node, p, PAGE, 0L, 1L), EINVAL);
	want_errno(syscall(SYS_set_mempolicy_home_node, p + 1, PAGE, 0L, 0L), EINVAL);
	want_errno(syscall(SYS_set_mempolicy_home_node, p, PAGE, 900L, 0L), EINVAL);
	want_eq(syscall(SYS_set_mempolicy_home_node, p, 0L, 0L, 0L), 0);
	want_errno(syscall(SYS_set_mempolicy_home_node, p, PAGE, 0L, 0L), ENOENT); /* nothing there has a policy */
	want_eq(munmap(p + PAGE, PAGE), 0);
	want_errno(syscall(SYS_set_mempolicy_home_node, p + PAGE, PAGE, 0L, 0L), ENOENT); /* nothing is there */
	want_errno(syscall(SYS_set_mempolicy_home_node, p, -PAGE, 0L, 0L), EINVAL);
	want_eq(bind_range(p, PAGE, MPOL_INTERLEAVE, 1, 0), 0);
	want_errno(syscall(SYS_set_mempolicy_home_node, p, PAGE, 0L, 0L), EOPNOTSUPP);
	want_eq(bind_range(p, PAGE, MPOL_PREFERRED_MANY, two_nodes ? 3 : 1, 0), 0);
	want_eq(syscall(SYS_set_mempolicy_home_node, p, PAGE, (long)two_nodes, 0L), 0);
	p[0] = 1;
	want_eq(node_of(p), two_nodes);
	munmap(p, 2 * PAGE);
}

/* The line of numa_maps that begins with the address, from its second word on. */
static void line_of(const char *file, void *addr, char *out, size_t size)
{
	char key[24], line[512];
	FILE *f = fopen(file, "r");

	want(f != NULL);
	snprintf(key, sizeof(key), "%08lx ", (unsigned long)addr);
	out[0] = '\0';
	while (fgets(line, sizeof(line), f))
		if (!strncmp(line, key, strlen(key)))
			snprintf(out, size, "%s", line + strlen(key));
	fclose(f);
	out[strcspn(out, "\n")] = '\0';
}

CASE(numa_maps)
{
	char line[256], *p = map(4 * PAGE);

	want_eq(bind_range(p, 4 * PAGE, MPOL_BIND | MPOL_F_STATIC_NODES, 1, 0), 0);
	line_of("/proc/self/numa_maps", p, line, sizeof(line));
	if (strcmp(line, "bind=static:0"))
		abi_fail("empty: %s", line);
	memset(p, 1, 3 * PAGE);
	line_of("/proc/self/numa_maps", p, line, sizeof(line));
	if (strcmp(line, "bind=static:0 anon=3 dirty=3 N0=3 kernelpagesize_kB=4") &&
	    strcmp(line, "bind=static:0 anon=3 dirty=3 active=0 N0=3 kernelpagesize_kB=4"))
		abi_fail("used: %s", line);
	munmap(p, 4 * PAGE);
}

int main(void)
{
	two_nodes = !access("/sys/devices/system/node/node1/cpu1", F_OK);
	RUN(set);
	RUN(get);
	RUN(getcpu);
	RUN(first_touch);
	RUN(placed);
	RUN(interleaved);
	RUN(ranges);
	RUN(bind_moves);
	RUN(huge_moves);
	RUN(move_pages);
	RUN(move_others);
	RUN(migrate_pages);
	RUN(inherited);
	RUN(home_node);
	RUN(numa_maps);
	return abi_status();
}
