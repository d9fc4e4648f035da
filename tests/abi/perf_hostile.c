/* SPDX-License-Identifier: MIT
 *
 * Problem: an event's descriptor takes calls in any order with any arguments; each must get Linux's answer, and nothing
 * may stay behind.
 *
 * Idea: a grammar makes calls from a seed on a handful of events, groups and rings: ioctls with good and bad arguments,
 * mappings of every size and kind, reads into too little, closing in the middle. The answers of Debian's Linux 6.1
 * stand in perf_hostile.h as a letter each. `perf_hostile print` writes them.
 *
 * Contract: abi.h. Software events alone. Locks: none.
 */
#include <linux/perf_event.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include "abi.h"
#include "letters.h"

#define CALLS  600
#define EVENTS 5

static const char *const expected[] = {
#include "perf_hostile.h"
};

static int event[EVENTS];
static struct {
	void *at;
	size_t bytes;
} ring[EVENTS];

static int result(long r)
{
	return r < 0 ? errno : 0;
}

static unsigned pick(void)
{
	return rnd(EVENTS);
}

static int open_one(unsigned i)
{
	static const unsigned what[] = { PERF_COUNT_SW_CPU_CLOCK, PERF_COUNT_SW_TASK_CLOCK, PERF_COUNT_SW_PAGE_FAULTS,
					 PERF_COUNT_SW_CONTEXT_SWITCHES, PERF_COUNT_SW_DUMMY };
	struct perf_event_attr a = { .type = PERF_TYPE_SOFTWARE,
				     .size = sizeof(a),
				     .config = what[rnd(5)],
				     .sample_period = rnd(2) ? 1000000000 : 0,
				     .read_format = rnd(16),
				     .disabled = rnd(2),
				     .inherit = !rnd(6),
				     .exclude_kernel = 1,
				     .write_backward = !rnd(8) };
	int leader = rnd(3) ? -1 : event[pick()];

	if (event[i] >= 0)
		return result(read(event[i], (void *)8, 0));
	event[i] = (int)syscall(SYS_perf_event_open, &a, 0, -1, leader, 0);
	return result(event[i]);
}

static int close_one(unsigned i)
{
	int fd = event[i];

	if (ring[i].at)
		munmap(ring[i].at, ring[i].bytes);
	ring[i].at = NULL;
	event[i] = -1;
	return result(close(fd));
}

static int map_one(unsigned i)
{
	static const int rights[] = { PROT_READ | PROT_WRITE, PROT_READ | PROT_WRITE, PROT_READ, PROT_NONE,
				      PROT_WRITE };
	static const int kinds[] = { MAP_SHARED, MAP_SHARED, MAP_SHARED, MAP_PRIVATE };
	size_t bytes = 4096 * (rnd(3) ? 1 + (1UL << rnd(5)) : rnd(12));
	int prot = rights[rnd(5)], kind = kinds[rnd(4)];
	off_t at = rnd(8) ? 0 : 4096 * (off_t)rnd(4);
	void *p = mmap(NULL, bytes, prot, kind, event[i], at);

	if (p == MAP_FAILED)
		return errno;
	if (ring[i].at) {
		munmap(p, bytes);
		return 0;
	}
	ring[i].at = p;
	ring[i].bytes = bytes;
	return 0;
}

static int unmap_one(unsigned i)
{
	void *at = ring[i].at;

	ring[i].at = NULL;
	return at ? result(munmap(at, ring[i].bytes)) : 0;
}

static int read_one(unsigned i)
{
	static const size_t sizes[] = { 0, 7, 8, 16, 24, 32, 64, 200, 200, 200 };
	char buffer[200];

	return result(read(event[i], rnd(10) ? buffer : (void *)8, sizes[rnd(10)]));
}

static int set_output(unsigned i)
{
	static const int wrong[] = { -1, -2, 0, 999 };

	int to = rnd(2) ? event[pick()] : wrong[rnd(4)];

	return result(ioctl(event[i], PERF_EVENT_IOC_SET_OUTPUT, (unsigned long)(unsigned)to));
}

static int set_period(unsigned i)
{
	static unsigned long long periods[] = { 0, 1000000000, 2000000000, 1ULL << 63 };

	return result(ioctl(event[i], PERF_EVENT_IOC_PERIOD, rnd(6) ? &periods[rnd(4)] : (void *)8));
}

static int modify(unsigned i)
{
	struct perf_event_attr a = { .type = rnd(2) ? PERF_TYPE_SOFTWARE : PERF_TYPE_BREAKPOINT, .size = sizeof(a) };

	if (!rnd(4))
		a.size = 10;
	return result(ioctl(event[i], PERF_EVENT_IOC_MODIFY_ATTRIBUTES, rnd(4) ? &a : (void *)8));
}

static int control(unsigned i)
{
	unsigned long long id;
	unsigned flag = rnd(3);

	switch (rnd(13)) {
	case 0: return result(ioctl(event[i], PERF_EVENT_IOC_ENABLE, flag));
	case 1: return result(ioctl(event[i], PERF_EVENT_IOC_DISABLE, flag));
	case 2: return result(ioctl(event[i], PERF_EVENT_IOC_RESET, flag));
	case 3: return result(ioctl(event[i], PERF_EVENT_IOC_REFRESH, flag));
	case 4: return set_period(i);
	case 5: return set_output(i);
	case 6: return result(ioctl(event[i], PERF_EVENT_IOC_SET_FILTER, rnd(2) ? "a == 1" : (char *)8));
	case 7: return result(ioctl(event[i], PERF_EVENT_IOC_ID, rnd(2) ? &id : (void *)8));
	case 8: return result(ioctl(event[i], PERF_EVENT_IOC_SET_BPF, flag ? 999 : 0));
	case 9: return result(ioctl(event[i], PERF_EVENT_IOC_PAUSE_OUTPUT, flag));
	case 10: return result(ioctl(event[i], PERF_EVENT_IOC_QUERY_BPF, rnd(2) ? &id : (void *)8));
	case 11: return modify(i);
	default: return result(ioctl(event[i], _IO('$', 20 + rnd(100)), flag));
	}
}

static int one_call(void)
{
	unsigned i = pick();

	switch (rnd(16)) {
	case 0:
	case 1:
	case 2:
	case 3: return open_one(i);
	case 4: return rnd(2) ? close_one(i) : 0;
	case 5:
	case 6: return map_one(i);
	case 7: return unmap_one(i);
	case 8: return read_one(i);
	default: return control(i);
	}
}

static void answers(char *out)
{
	seed = 4711;
	for (unsigned i = 0; i < EVENTS; i++) {
		event[i] = -1;
		ring[i].at = NULL;
	}
	for (unsigned i = 0; i < CALLS; i++)
		out[i] = letter(one_call());
	out[CALLS] = 0;
	for (unsigned i = 0; i < EVENTS; i++)
		if (event[i] >= 0)
			close_one(i);
}

CASE(same_answers)
{
	static char got[CALLS + 1];
	unsigned differ = 0;

	answers(got);
	want(strlen(expected[0]) == CALLS);
	for (unsigned i = 0; i < CALLS; i++)
		if (got[i] != expected[0][i] && ++differ <= 12)
			fprintf(stderr, "call %u: %c, Linux %c\n", i, got[i], expected[0][i]);
	if (differ)
		abi_fail("%u of %d answers differ", differ, CALLS);
}

int main(int argc, char **argv)
{
	static char got[CALLS + 1];

	if (argc < 2) {
		RUN(same_answers);
		return abi_status();
	}
	answers(got);
	for (unsigned i = 0; i < CALLS; i += 100)
		printf("\t\"%.100s\"%s\n", got + i, i + 100 < CALLS ? "" : ",");
	return 0;
}
