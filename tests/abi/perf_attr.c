/* SPDX-License-Identifier: MIT
 *
 * Problem: clients find out what a kernel's perf can do by asking and looking at the error, so each combination of
 * attributes must get Linux's answer, and a wrong one must not leak anything.
 *
 * Idea: a grammar makes the same requests from a seed everywhere: mostly sensible, each with one or two
 * things wrong. The answers of Debian's Linux 6.1 stand in perf_attr.h as a letter each. `perf_attr print` writes that
 * file.
 *
 * Contract: abi.h. Kinds of events that only one of the two has (breakpoints, hardware) are left out.
 *
 * Locks: none.
 */
#include <dirent.h>
#include <fcntl.h>
#include <linux/perf_event.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include "abi.h"
#include "letters.h"

#define REQUESTS 100

static const struct {
	const char *name;
	int paranoid;
	int as_user;
} rounds[] = { { "root", 2, 0 },
	       { "user at level 2", 2, 1 },
	       { "user at level 1", 1, 1 },
	       { "user at level 0", 0, 1 },
	       { "user at level -1", -1, 1 } };
#define ROUNDS (sizeof(rounds) / sizeof(rounds[0]))

static const char *const expected[ROUNDS] = {
#include "perf_attr.h"
};

static unsigned long long bits(unsigned most, unsigned of)
{
	unsigned long long v = 0;

	for (unsigned n = rnd(most + 1); n; n--)
		v |= 1ULL << rnd(of);
	return v;
}

/* Once in `one_in` a value that is wrong, else a good one. */
static unsigned long long mostly(unsigned one_in, unsigned long long good, unsigned long long wrong)
{
	return rnd(one_in) ? good : wrong;
}

struct request {
	unsigned char bytes[4200];
	int pid, cpu, group;
	unsigned long flags;
};

static void make_kind(struct perf_event_attr *a)
{
	static const unsigned types[] = { 1, 1, 1, 1, 1, 1, 2, 3, 4, 60, 1000000 };

	a->type = types[rnd(sizeof(types) / sizeof(types[0]))];
	a->config = a->type == PERF_TYPE_SOFTWARE ? (rnd(30) ? rnd(10) : 11 + rnd(100)) : 0x100000 + rnd(1000);
	if (a->type == PERF_TYPE_SOFTWARE && a->config >= 7 && a->config <= 8) /* alignment, emulation */
		a->config = PERF_COUNT_SW_PAGE_FAULTS;
}

static void make_flags(struct perf_event_attr *a)
{
	a->disabled = 1;
	a->inherit = !rnd(4);
	a->pinned = !rnd(16);
	a->exclude_user = !rnd(8);
	a->exclude_kernel = rnd(2);
	a->exclude_hv = !rnd(8);
	a->exclude_idle = !rnd(8);
	a->mmap = !rnd(6);
	a->comm = !rnd(6);
	a->freq = !rnd(4);
	a->enable_on_exec = !rnd(8);
	a->task = !rnd(8);
	a->watermark = !rnd(8);
	a->precise_ip = rnd(8) ? 0 : rnd(4);
	a->sample_id_all = rnd(2);
	a->exclude_callchain_kernel = !rnd(16);
	a->use_clockid = !rnd(10);
	a->context_switch = !rnd(10);
	a->write_backward = !rnd(16);
	a->inherit_thread = !rnd(16);
	a->remove_on_exec = !rnd(12);
	a->sigtrap = !rnd(24);
	a->__reserved_1 = mostly(60, 0, 1);
}

static void make_attr(struct perf_event_attr *a)
{
	make_kind(a);
	make_flags(a);
	a->sample_period =
		a->freq ? mostly(10, 1 + rnd(90000), 1000000000) : mostly(12, rnd(3) ? rnd(100000) : 0, 1ULL << 63);
	a->sample_type = bits(4, 20) | mostly(40, 0, 1ULL << (25 + rnd(20)));
	a->sample_type &= ~(unsigned long long)(PERF_SAMPLE_BRANCH_STACK | PERF_SAMPLE_CGROUP | PERF_SAMPLE_AUX);
	a->read_format = bits(3, 5) | mostly(40, 0, 1ULL << (5 + rnd(20)));
	a->wakeup_events = rnd(100);
	a->sample_regs_user = mostly(8, bits(3, 9), 1ULL << (12 + rnd(50)));
	a->sample_stack_user = (unsigned)mostly(8, 8 * rnd(8000), rnd(100000));
	a->clockid = (int)mostly(6, 1, rnd(30));
	a->sample_regs_intr = mostly(8, bits(3, 9), 1ULL << (12 + rnd(50)));
	a->sample_max_stack = (unsigned short)mostly(12, rnd(127), 128 + rnd(1000));
	a->__reserved_2 = (unsigned short)mostly(80, 0, 1);
	a->sig_data = a->sigtrap ? rnd(100) : 0;
}

static void make_request(struct request *r)
{
	static const unsigned sizes[] = { 0,   64,  72,  80,  96,  104, 112, 120,  128,
					  136, 128, 128, 128, 128, 10,  63,  4096, 4097 };
	static const int pids[] = { 0, 0, 0, 0, -1, -1, 1 << 21, -2 }, cpus[] = { -1, -1, 0, 0, 77, -2 };
	struct perf_event_attr *a = (struct perf_event_attr *)r->bytes;

	memset(r, 0, sizeof(*r));
	make_attr(a);
	a->size = rnd(3) ? sizeof(*a) : sizes[rnd(sizeof(sizes) / sizeof(sizes[0]))];
	if (!rnd(20))
		r->bytes[136 + rnd(100)] = 1; /* beyond what anybody knows */
	r->pid = pids[rnd(8)];
	r->cpu = cpus[rnd(6)];
	r->group = (int)mostly(20, -1ULL, rnd(3) * 400 - 2);
	r->flags = rnd(2) ? PERF_FLAG_FD_CLOEXEC : mostly(8, 0, 1UL << rnd(6));
	if (r->flags & PERF_FLAG_PID_CGROUP)
		r->flags = 0;
}

static int ask(const struct request *r)
{
	long fd = syscall(SYS_perf_event_open, r->bytes, r->pid, r->cpu, r->group, r->flags);

	if (fd < 0)
		return errno;
	close((int)fd);
	return 0;
}

static void set_paranoid(int level)
{
	int fd = open("/proc/sys/kernel/perf_event_paranoid", O_WRONLY);
	char text[8];
	int n = snprintf(text, sizeof(text), "%d\n", level);

	want(fd >= 0 && write(fd, text, (size_t)n) == n);
	close(fd);
}

static void answers(unsigned round, char *out)
{
	static struct request r;

	seed = 12345;
	for (unsigned i = 0; i < REQUESTS; i++) {
		make_request(&r);
		out[i] = letter(ask(&r));
	}
	out[REQUESTS] = 0;
}

static void in_child(unsigned round, char *out)
{
	int p[2], status;
	ssize_t n, have = 0;
	pid_t pid;

	set_paranoid(rounds[round].paranoid);
	want(pipe(p) == 0);
	fflush(stdout);
	pid = fork();
	want(pid >= 0);
	if (!pid) {
		if (rounds[round].as_user && (setgid(65534) || setuid(65534)))
			_exit(1);
		answers(round, out);
		_exit(write(p[1], out, REQUESTS) != REQUESTS);
	}
	close(p[1]);
	while (have < REQUESTS && (n = read(p[0], out + have, (size_t)(REQUESTS - have))) > 0)
		have += n;
	close(p[0]);
	want(waitpid(pid, &status, 0) == pid && status == 0 && have == REQUESTS);
	out[REQUESTS] = 0;
}

static unsigned current;

static int open_files(void)
{
	DIR *d = opendir("/proc/self/fd");
	int n = 0;

	while (d && readdir(d))
		n++;
	if (d)
		closedir(d);
	return n;
}

static void say(unsigned i, char got, char wanted)
{
	static struct request r;
	const struct perf_event_attr *a = (const struct perf_event_attr *)r.bytes;

	seed = 12345;
	for (unsigned k = 0; k <= i; k++)
		make_request(&r);
	fprintf(stderr,
		"request %u: %c, Linux %c: type %u config %llu size %u period %llu sample %llx read %llx flags %llx "
		"regs %llx %llx "
		"stack %u clock %d max_stack %u pid %d cpu %d group %d flags %lx\n",
		i, got, wanted, a->type, (unsigned long long)a->config, a->size, (unsigned long long)a->sample_period,
		(unsigned long long)a->sample_type, (unsigned long long)a->read_format,
		*(const unsigned long long *)(r.bytes + 40), (unsigned long long)a->sample_regs_user,
		(unsigned long long)a->sample_regs_intr, a->sample_stack_user, a->clockid, a->sample_max_stack, r.pid,
		r.cpu, r.group, r.flags);
}

CASE(same_answers)
{
	static char got[REQUESTS + 1];
	int files = open_files();
	unsigned differ = 0;

	in_child(current, got);
	want(expected[current] && strlen(expected[current]) == REQUESTS);
	for (unsigned i = 0; i < REQUESTS; i++)
		if (got[i] != expected[current][i] && ++differ <= 12)
			say(i, got[i], expected[current][i]);
	if (differ)
		abi_fail("%s: %u of %d answers differ", rounds[current].name, differ, REQUESTS);
	want(open_files() == files);
}

int main(int argc, char **argv)
{
	static char got[REQUESTS + 1];

	for (current = 0; current < ROUNDS; current++) {
		if (argc < 2) {
			abi_run(rounds[current].name, case_same_answers);
			continue;
		}
		in_child(current, got);
		for (unsigned i = 0; i < REQUESTS; i += 100)
			printf("%s\"%.100s\"%s\n", i ? "\t" : "\t/* a round */\n\t", got + i,
			       i + 100 < REQUESTS ? "" : ",");
	}
	set_paranoid(2);
	return abi_status();
}
