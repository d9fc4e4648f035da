/* SPDX-License-Identifier: MIT
 *
 * Problem: eBPF programs on events: they must run where a tracepoint fires, whatever CPU the event was opened for, see
 * its fields, and decide whether events count and samples are written.
 *
 * Idea: a program that counts in a map on syscalls:sys_enter_getppid, with its answer in the map too; the counts of the
 * map and of the event are known in advance.
 *
 * Contract: abi.h. Root; tracefs is mounted if need be.
 *
 * Locks: none.
 */
#include <linux/perf_event.h>
#include <sched.h>
#include <time.h>
#include "bpf.h"

#define ROUNDS 50

static int trace_id(const char *name)
{
	char path[256], text[16] = "";
	int fd;

	snprintf(path, sizeof(path), "/sys/kernel/tracing/events/%s/id", name);
	if (access(path, R_OK))
		mount("tracefs", "/sys/kernel/tracing", "tracefs", 0, NULL);
	fd = open(path, O_RDONLY);
	if (fd < 0 || read(fd, text, sizeof(text) - 1) < 1)
		return -1;
	close(fd);
	return atoi(text);
}

static int event(struct perf_event_attr *a, int pid, int cpu)
{
	a->size = sizeof(*a);
	return (int)syscall(SYS_perf_event_open, a, pid, cpu, -1, PERF_FLAG_FD_CLOEXEC);
}

static int point(const char *name, int pid, int cpu)
{
	struct perf_event_attr a = { .type = PERF_TYPE_TRACEPOINT, .config = trace_id(name) };

	return event(&a, pid, cpu);
}

static long long count_of(int fd)
{
	long long v = -1;

	return read(fd, &v, sizeof(v)) == sizeof(v) ? v : -1;
}

/* Adds 1 to entry 0 and returns entry 1. */
static int counter(int type, int map)
{
	return LOAD(type, 0, LDVAL(1, map, 0), MOV(2, 1), ATOMIC(D, BPF_ADD, 1, 0, 2), LDVAL(1, map, 8),
		    LDX(D, 0, 1, 0), EXIT());
}

static long long entry(int map, int n)
{
	long long v[2] = { -1, -1 };
	int zero = 0;

	map_get(map, &zero, v);
	return v[n];
}

static void set_answer(int map, long long answer)
{
	long long v[2] = { 0, answer };
	int zero = 0;

	map_set(map, &zero, v, 0);
}

CASE(tracepoint)
{
	int map = map_new(BPF_MAP_TYPE_ARRAY, 4, 16, 1, 0), prog = counter(BPF_PROG_TYPE_TRACEPOINT, map);
	int of_cpu = point("syscalls/sys_enter_getppid", -1, 0), own = point("syscalls/sys_enter_getppid", 0, -1);

	want(map >= 0 && prog >= 0 && of_cpu >= 0 && own >= 0);
	set_answer(map, 1);
	want_eq(ioctl(of_cpu, PERF_EVENT_IOC_SET_BPF, prog), 0);
	want_errno(ioctl(of_cpu, PERF_EVENT_IOC_SET_BPF, prog), EEXIST);
	for (int i = 0; i < ROUNDS; i++)
		syscall(SYS_getppid);
	want_eq(entry(map, 0), ROUNDS);
	want_eq(count_of(own), ROUNDS);
	set_answer(map, 0); /* nobody hears of it */
	for (int i = 0; i < ROUNDS; i++)
		syscall(SYS_getppid);
	want_eq(entry(map, 0), ROUNDS);
	want_eq(count_of(own), ROUNDS);
	close(of_cpu);
	for (int i = 0; i < ROUNDS; i++)
		syscall(SYS_getppid);
	want_eq(entry(map, 0), ROUNDS);
	want_eq(count_of(own), 2 * ROUNDS);
	close(own), close(prog), close(map);
}

CASE(asked)
{
	int map = map_new(BPF_MAP_TYPE_ARRAY, 4, 16, 1, 0), prog[2];
	struct perf_event_attr dummy = { .type = PERF_TYPE_SOFTWARE, .config = PERF_COUNT_SW_DUMMY };
	int e[3], other = event(&dummy, 0, -1);
	struct {
		unsigned room, nr, ids[4];
	} q = { .room = 4 };

	for (int i = 0; i < 2; i++)
		want((prog[i] = counter(BPF_PROG_TYPE_TRACEPOINT, map)) >= 0);
	for (int i = 0; i < 3; i++)
		want((e[i] = point("syscalls/sys_enter_getppid", 0, -1)) >= 0);
	want_eq(ioctl(e[0], PERF_EVENT_IOC_QUERY_BPF, &q), 0);
	want(q.nr == 0);
	for (int i = 0; i < 2; i++)
		want_eq(ioctl(e[i], PERF_EVENT_IOC_SET_BPF, prog[i]), 0);
	want_errno(ioctl(e[2], PERF_EVENT_IOC_SET_BPF, prog[0]), EEXIST); /* it is there by another event */
	want_eq(ioctl(e[2], PERF_EVENT_IOC_QUERY_BPF, &q), 0);
	want(q.nr == 2 && q.ids[0] && q.ids[1] && q.ids[0] != q.ids[1] && !q.ids[2]);
	q.room = 1;
	want_errno(ioctl(e[2], PERF_EVENT_IOC_QUERY_BPF, &q), ENOSPC);
	want(q.nr == 2);
	q.room = 0;
	want_eq(ioctl(e[2], PERF_EVENT_IOC_QUERY_BPF, &q), 0);
	q.room = 65;
	want_errno(ioctl(e[2], PERF_EVENT_IOC_QUERY_BPF, &q), E2BIG);
	want_errno(ioctl(other, PERF_EVENT_IOC_QUERY_BPF, &q), EINVAL);
	for (int i = 0; i < 3; i++)
		close(e[i]);
	close(other), close(prog[0]), close(prog[1]), close(map);
}

CASE(fields)
{
	int map = map_new(BPF_MAP_TYPE_ARRAY, 4, 16, 1, 0), prog;
	int e = point("syscalls/sys_enter_close", 0, -1);

	/* The first argument lies at 16. */
	prog = LOAD(BPF_PROG_TYPE_TRACEPOINT, 0, LDX(D, 6, 1, 16), LDVAL(1, map, 0), STX(D, 1, 0, 6), MOV(0, 1),
		    EXIT());
	want(map >= 0 && prog >= 0 && e >= 0);
	want_eq(ioctl(e, PERF_EVENT_IOC_SET_BPF, prog), 0);
	syscall(SYS_close, 777);
	want_eq(entry(map, 0), 777);
	close(e), close(prog), close(map);
}

CASE(scheduler)
{
	int map = map_new(BPF_MAP_TYPE_HASH, 4, 8, 64, 0);
	int e = point("sched/sched_switch", -1, 0), prog;
	struct timespec wait = { 0, 2000000 };
	long long n = 0;
	int key = 0;

	/* map[0] = 1 where run queues are locked. */
	prog = LOAD(BPF_PROG_TYPE_TRACEPOINT, 0, ST(W, 10, -4, 0), ST(D, 10, -16, 1), MOVR(2, 10), ALU(ADD, 2, -4),
		    MOVR(3, 10), ALU(ADD, 3, -16), MOV(4, 0), LDMAP(1, map), CALL(map_update_elem), MOV(0, 1), EXIT());
	want(map >= 0 && prog >= 0 && e >= 0);
	want_eq(ioctl(e, PERF_EVENT_IOC_SET_BPF, prog), 0);
	for (int i = 0; i < 10; i++)
		nanosleep(&wait, NULL);
	want_eq(map_get(map, &key, &n), 0);
	want_eq(n, 1);
	close(e), close(prog), close(map);
}

CASE(sample)
{
	struct perf_event_attr a = { .type = PERF_TYPE_SOFTWARE, .config = PERF_COUNT_SW_CPU_CLOCK };
	int map = map_new(BPF_MAP_TYPE_ARRAY, 4, 16, 1, 0), prog = counter(BPF_PROG_TYPE_PERF_EVENT, map);
	int e;

	a.sample_period = 1000000;
	e = event(&a, 0, -1);
	want(map >= 0 && prog >= 0 && e >= 0);
	set_answer(map, 1);
	want_eq(ioctl(e, PERF_EVENT_IOC_SET_BPF, prog), 0);
	for (volatile long i = 0; i < 1000000000 && entry(map, 0) < 3;)
		for (int k = 0; k < 100000; k++)
			i++;
	want(entry(map, 0) >= 3);
	close(e), close(prog), close(map);
}

/* What a descriptor's event has for a program: as `bpftool perf` asks. */
static int query(int pid, int fd, int room, union bpf_attr *a, char *name)
{
	memset(a, 0, sizeof(*a));
	memset(name, 'z', 64);
	a->task_fd_query.pid = (uint32_t)pid;
	a->task_fd_query.fd = (uint32_t)fd;
	a->task_fd_query.buf_len = (uint32_t)room;
	a->task_fd_query.buf = PTR(name);
	return (int)syscall(SYS_bpf, BPF_TASK_FD_QUERY, a, sizeof(a->task_fd_query));
}

CASE(who_is_there)
{
	int map = map_new(BPF_MAP_TYPE_ARRAY, 4, 16, 1, 0), prog = counter(BPF_PROG_TYPE_TRACEPOINT, map);
	int fd = point("sched/sched_switch", getpid(), -1), own = open("/", O_RDONLY);
	struct bpf_prog_info info = { 0 };
	union bpf_attr a;
	char name[64];

	want(map >= 0 && prog >= 0 && fd >= 0);
	want_errno(query(getpid(), fd, 64, &a, name), ENOENT);
	want_eq(ioctl(fd, PERF_EVENT_IOC_SET_BPF, prog), 0);
	want_eq(bpf(BPF_OBJ_GET_INFO_BY_FD,
		    ATTR(.info = { .bpf_fd = (uint32_t)prog, .info_len = sizeof(info), .info = PTR(&info) })),
		0);
	want_eq(query(getpid(), fd, 64, &a, name), 0);
	want(!strcmp(name, "sched_switch"));
	want_eq(a.task_fd_query.buf_len, 12);
	want_eq(a.task_fd_query.prog_id, info.id);
	want_eq(a.task_fd_query.fd_type, BPF_FD_TYPE_TRACEPOINT);
	want_errno(query(getpid(), fd, 6, &a, name), ENOSPC);
	want(!strcmp(name, "sched"));
	want_eq(a.task_fd_query.buf_len, 12);
	want_eq(query(getpid(), fd, 0, &a, name), 0);
	want(name[0] == 'z');
	want_errno(query(getpid(), 999, 64, &a, name), EBADF);
	want_errno(query(99999999, fd, 64, &a, name), ENOENT);
	want_errno(query(getpid(), own, 64, &a, name), 524); /* ENOTSUPP */
	close(own);
	close(fd);
	close(prog);
	close(map);
}

CASE(refusals)
{
	int map = map_new(BPF_MAP_TYPE_ARRAY, 4, 16, 1, 0), wrong = counter(BPF_PROG_TYPE_PERF_EVENT, map);
	int far = LOAD(BPF_PROG_TYPE_TRACEPOINT, 0, LDX(D, 0, 1, 4096), EXIT());
	int e = point("syscalls/sys_enter_getppid", 0, -1);

	want(map >= 0 && wrong >= 0 && far >= 0 && e >= 0);
	want_errno(ioctl(e, PERF_EVENT_IOC_SET_BPF, wrong), EINVAL);
	want_errno(ioctl(e, PERF_EVENT_IOC_SET_BPF, far), EACCES);
	want_errno(ioctl(e, PERF_EVENT_IOC_SET_BPF, map), EINVAL);
	want_errno(ioctl(e, PERF_EVENT_IOC_SET_BPF, 999), EBADF);
	close(e), close(far), close(wrong), close(map);
}

int main(void)
{
	if (trace_id("syscalls/sys_enter_getppid") < 0) {
		printf("ok all # skip: no tracepoints of system calls\n");
		return 0;
	}
	RUN(tracepoint);
	RUN(asked);
	RUN(fields);
	RUN(scheduler);
	RUN(sample);
	RUN(who_is_there);
	RUN(refusals);
	return abi_status();
}
