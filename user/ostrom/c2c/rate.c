/* SPDX-License-Identifier: MIT
 *
 * Problem: a sample costs half a microsecond on one machine and ten on another (a virtual one, where setting the timer
 * leaves the guest), and what sampling takes from the program must stay below a bar.
 *
 * Idea: try it. The same short loop runs with and without a clock event like the one that will be used, in turn; the
 * quickest of each are compared, since what else happens on the machine only makes them slower. The difference by the
 * samples taken is the price of one, and the rate is what BAR pays for, at most the rate wished.
 *
 *   rate = min(wished, BAR / price), at least LEAST
 *
 * Contract: c2c.h. Takes about 60 ms. Locks: none.
 */
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
#include "c2c.h"

#define BAR        0.05 /* of the program's time */
#define LEAST      100  /* Hz */
#define ROUNDS     12
#define RING_PAGES 64
#define LOOP_NS    (2 * NSEC_PER_MSEC)
#define PERIOD_NS  50021 /* short, so that a loop meets many */

static u64 now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (u64)t.tv_sec * NSEC_PER_SEC + (u64)t.tv_nsec;
}

/* What the loop takes. */
static u64 run_loop(u64 turns)
{
	u64 start = now_ns();

	for (u64 i = 0; i < turns; i++)
		__asm__ volatile("" ::: "memory");
	return now_ns() - start;
}

static int open_clock(void)
{
	struct perf_event_attr a = { .type = PERF_TYPE_SOFTWARE,
				     .size = sizeof(a),
				     .config = PERF_COUNT_SW_CPU_CLOCK,
				     .sample_period = PERIOD_NS,
				     .sample_type = C2C_CLOCK_SAMPLE,
				     .sample_regs_user = C2C_REGS,
				     .disabled = 1,
				     .exclude_kernel = 1,
				     .exclude_hv = 1,
				     .watermark = 1,
				     .wakeup_watermark = RING_PAGES * PAGE_SIZE };

	return (int)syscall(SYS_perf_event_open, &a, 0, -1, -1, PERF_FLAG_FD_CLOEXEC);
}

/* ns a sample; 0: it cannot be told. */
static u64 price_of_sample(int fd, struct perf_event_mmap_page *page)
{
	u64 turns = 1000000, plain, sampled, least_plain = UINT64_MAX, least_sampled = UINT64_MAX;

	plain = run_loop(turns);
	turns = turns * LOOP_NS / max(plain, (u64)1);
	for (int i = 0; i < ROUNDS; i++) {
		plain = run_loop(turns);
		ioctl(fd, PERF_EVENT_IOC_ENABLE, 0);
		sampled = run_loop(turns);
		ioctl(fd, PERF_EVENT_IOC_DISABLE, 0);
		page->data_tail = page->data_head; /* nothing is read: room for the next round */
		least_plain = min(least_plain, plain);
		least_sampled = min(least_sampled, sampled);
	}
	if (least_sampled <= least_plain)
		return 0;
	return (least_sampled - least_plain) * PERIOD_NS / least_sampled;
}

u64 c2c_affordable_rate(u64 wished, u64 *price_ns)
{
	int fd = open_clock();
	size_t bytes = (1 + RING_PAGES) * PAGE_SIZE;
	void *page;

	*price_ns = 0;
	if (fd < 0)
		return wished;
	page = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (page != MAP_FAILED) {
		*price_ns = price_of_sample(fd, page);
		munmap(page, bytes);
	}
	close(fd);
	if (!*price_ns)
		return wished;
	return max(min(wished, (u64)(BAR * NSEC_PER_SEC / (double)*price_ns)), (u64)LEAST);
}
