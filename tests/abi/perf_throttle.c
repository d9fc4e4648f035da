/* SPDX-License-Identifier: MIT
 *
 * Problem: a clock event that samples faster than kernel.perf_event_max_sample_rate must be held back, and say so.
 *
 * Idea: the limit is set low, a loop is sampled ten times as fast; the ring tells of each holding back and of its end,
 * in turn, and holds no more samples than the limit allows.
 *
 * Contract: abi.h. Root. The limit is put back.
 *
 * Locks: none.
 */
#include <fcntl.h>
#include <linux/perf_event.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include "abi.h"

#define LIMIT  "/proc/sys/kernel/perf_event_max_sample_rate"
#define PAGES  64
#define LOOP_S 0.2

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static int set_limit(int hz)
{
	char text[16];
	int fd = open(LIMIT, O_WRONLY), n = snprintf(text, sizeof(text), "%d\n", hz), done;

	if (fd < 0)
		return -1;
	done = write(fd, text, (size_t)n) == n;
	close(fd);
	return done ? 0 : -1;
}

static int limit(void)
{
	char text[16] = "";
	int fd = open(LIMIT, O_RDONLY);

	if (fd < 0 || read(fd, text, sizeof(text) - 1) < 1)
		return -1;
	close(fd);
	return atoi(text);
}

struct seen {
	int samples, throttles, unthrottles, out_of_turn;
};

static void look(struct seen *s, const struct perf_event_mmap_page *page)
{
	const char *data = (const char *)page + 4096;
	unsigned long at = 0, end = page->data_head;

	while (at + sizeof(struct perf_event_header) <= end) {
		const struct perf_event_header *h = (const void *)(data + at);

		s->samples += h->type == PERF_RECORD_SAMPLE;
		if (h->type == PERF_RECORD_THROTTLE) {
			s->out_of_turn += s->throttles++ != s->unthrottles;
		} else if (h->type == PERF_RECORD_UNTHROTTLE) {
			s->unthrottles++;
			s->out_of_turn += s->throttles != s->unthrottles;
		}
		at += h->size;
	}
}

CASE(holds_back)
{
	struct perf_event_attr a = { .type = PERF_TYPE_SOFTWARE,
				     .size = sizeof(a),
				     .config = PERF_COUNT_SW_CPU_CLOCK,
				     .sample_period = 50000,
				     .sample_type = PERF_SAMPLE_IP | PERF_SAMPLE_TIME,
				     .disabled = 1 };
	int was = limit(), fd;
	struct seen s = { 0 };
	void *page;
	double start;

	want(was > 0 && !set_limit(2000));
	fd = (int)syscall(SYS_perf_event_open, &a, 0, -1, -1, 0);
	page = mmap(NULL, (1 + PAGES) * 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	want(fd >= 0 && page != MAP_FAILED);
	ioctl(fd, PERF_EVENT_IOC_ENABLE, 0);
	for (start = now(); now() < start + LOOP_S;)
		;
	ioctl(fd, PERF_EVENT_IOC_DISABLE, 0);
	want(!set_limit(was));
	look(&s, page);
	want(s.throttles >= 3 && s.unthrottles >= s.throttles - 1 && !s.out_of_turn);
	want(s.samples > 10 && s.samples < 20 * LOOP_S * 1000);
}

int main(void)
{
	RUN(holds_back);
	return abi_status();
}
