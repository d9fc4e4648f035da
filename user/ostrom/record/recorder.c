/* SPDX-License-Identifier: MIT
 *
 * Problem: record everything that the kernel delivers, on all CPUs, at rates of a million events a second, without
 * disturbing what is recorded.
 *
 * Idea: per CPU the first event owns a ring, the others write into it (SET_OUTPUT). The loop sleeps until a ring is
 * half full, writes the filled stretches of all rings to the file as they are, ends the round with FINISHED_ROUND,
 * which lets readers sort with little memory, and moves the tails. A command is forked first and waits for the start on
 * a pipe, so that the events see it from its exec on.
 *
 * Contract: recorder.h.
 *
 * Locks: none; signals are blocked except in ppoll.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <lib/atomic.h>
#include "recorder_priv.h"

struct ring {
	int fd; /* the event that owns it, -1: CPU offline */
	struct perf_event_mmap_page *page;
	u64 bytes;
};

struct recorder {
	const struct rec_options *o;
	struct pw w;
	u32 ncpus;
	struct ring *rings;
	s32 *tids; /* targets; {-1} is the whole machine */
	u32 nr_tids;
	int *fds; /* [event][cpu][tid] */
	u64 *ids; /* [event][cpu * tid], dense */
	u32 nr_ids[REC_MAX_EVENTS];
	unsigned trailer;
	pid_t child;
	int start_pipe;
	u32 rounds;
	u64 part_bytes; /* written into files of the directory form */
	char *why;
	size_t why_bytes;
};

static volatile sig_atomic_t stopped;

static void on_signal(int sig)
{
	stopped = 1;
}

static int refuse(struct recorder *r, int err, const char *what)
{
	const char *hint = "";

	if (err == EACCES || err == EPERM)
		hint = "; be root, or lower /proc/sys/kernel/perf_event_paranoid";
	else if (err == EMFILE)
		hint = "; raise the limit of open files (ulimit -n)";
	snprintf(r->why, r->why_bytes, "%s: %s%s", what, strerror(err), hint);
	return -err;
}

/* ---- the command ---- */

static int fork_command(struct recorder *r)
{
	int go[2];
	char c;

	if (pipe2(go, O_CLOEXEC))
		return -errno;
	r->child = fork();
	if (r->child < 0)
		return -errno;
	if (!r->child) {
		sigset_t none;

		close(go[1]);
		if (read(go[0], &c, 1) != 1)
			_exit(127);
		sigemptyset(&none);
		sigprocmask(SIG_SETMASK, &none, NULL);
		execvp(r->o->command[0], r->o->command);
		fprintf(stderr, "%s: %s\n", r->o->command[0], strerror(errno));
		_exit(127);
	}
	close(go[0]);
	r->start_pipe = go[1];
	return 0;
}

/* ---- targets ---- */

static int add_tid(struct recorder *r, s32 tid)
{
	s32 *grown = realloc(r->tids, (r->nr_tids + 1) * sizeof(*grown));

	if (!grown)
		return -ENOMEM;
	r->tids = grown;
	grown[r->nr_tids++] = tid;
	return 0;
}

static int find_targets(struct recorder *r)
{
	if (r->o->system_wide)
		return add_tid(r, -1);
	if (r->o->command && add_tid(r, r->child))
		return -ENOMEM;
	for (u32 i = 0; i < r->o->nr_pids; i++) {
		char path[64];
		struct dirent *d;
		DIR *dir;

		snprintf(path, sizeof(path), "/proc/%d/task", r->o->pids[i]);
		dir = opendir(path);
		if (!dir) {
			snprintf(path, sizeof(path), "process %d", r->o->pids[i]);
			return refuse(r, ESRCH, path);
		}
		while ((d = readdir(dir)))
			if (atoi(d->d_name) > 0 && add_tid(r, atoi(d->d_name)))
				break;
		closedir(dir);
	}
	return r->nr_tids ? 0 : refuse(r, EINVAL, "nothing to record: give a command, -p or -a");
}

/* ---- opening ---- */

static int *fd_slot(struct recorder *r, u32 event, u32 cpu, u32 tid)
{
	return &r->fds[(event * r->ncpus + cpu) * r->nr_tids + tid];
}

static int map_ring(struct recorder *r, u32 cpu, int fd)
{
	struct ring *g = &r->rings[cpu];
	void *p;

	g->bytes = r->o->ring_pages * PAGE_SIZE;
	p = mmap(NULL, g->bytes + PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (p == MAP_FAILED)
		return refuse(r, errno, "mapping a ring (fewer pages with -m?)");
	g->page = p;
	g->fd = fd;
	return 0;
}

static int open_one(struct recorder *r, u32 event, u32 cpu, u32 tid)
{
	struct perf_event_attr a = r->o->events[event].attr;
	int fd, *slot = fd_slot(r, event, cpu, tid);
	u64 id;

	a.disabled = 1;
	a.watermark = 1;
	a.wakeup_watermark = r->o->ring_pages * PAGE_SIZE / 2;
	a.enable_on_exec = r->o->command && !r->o->system_wide;
	fd = syscall(SYS_perf_event_open, &a, r->tids[tid], cpu, -1, PERF_FLAG_FD_CLOEXEC);
	if (fd < 0 && errno == ENODEV)
		return 0; /* the CPU is offline */
	if (fd < 0 && errno == ESRCH && r->nr_tids > 1)
		return 0; /* the thread has ended meanwhile */
	if (fd < 0)
		return refuse(r, errno, r->o->events[event].name);
	*slot = fd;
	if (ioctl(fd, PERF_EVENT_IOC_ID, &id))
		return refuse(r, errno, "reading an event's id");
	r->ids[event * r->ncpus * r->nr_tids + r->nr_ids[event]++] = id;
	if (r->rings[cpu].fd < 0)
		return map_ring(r, cpu, fd);
	if (ioctl(fd, PERF_EVENT_IOC_SET_OUTPUT, r->rings[cpu].fd))
		return refuse(r, errno, "sharing a ring");
	return 0;
}

static int open_events(struct recorder *r)
{
	size_t n = (size_t)r->o->nr_events * r->ncpus * r->nr_tids;
	struct rlimit lim;

	if (!getrlimit(RLIMIT_NOFILE, &lim) && lim.rlim_cur < lim.rlim_max) {
		lim.rlim_cur = lim.rlim_max;
		setrlimit(RLIMIT_NOFILE, &lim);
	}
	r->rings = calloc(r->ncpus, sizeof(*r->rings));
	r->fds = malloc(n * sizeof(*r->fds));
	r->ids = calloc(n, sizeof(*r->ids));
	if (!r->rings || !r->fds || !r->ids)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++)
		r->fds[i] = -1;
	for (u32 cpu = 0; cpu < r->ncpus; cpu++)
		r->rings[cpu].fd = -1;
	for (u32 cpu = 0; cpu < r->ncpus; cpu++)
		for (u32 e = 0; e < r->o->nr_events; e++)
			for (u32 t = 0; t < r->nr_tids; t++) {
				int err = open_one(r, e, cpu, t);

				if (err)
					return err;
			}
	return 0;
}

static void for_all_events(struct recorder *r, ulong request)
{
	size_t n = (size_t)r->o->nr_events * r->ncpus * r->nr_tids;

	for (size_t i = 0; i < n; i++)
		if (r->fds[i] >= 0)
			ioctl(r->fds[i], request, 0);
}

/* ---- the file ---- */

static unsigned trailer_bytes(const struct perf_event_attr *a)
{
	u64 t = a->sample_type & (PERF_SAMPLE_TID | PERF_SAMPLE_TIME | PERF_SAMPLE_ID | PERF_SAMPLE_STREAM_ID |
				  PERF_SAMPLE_CPU | PERF_SAMPLE_IDENTIFIER);

	return a->sample_id_all ? __builtin_popcountll(t) * 8 : 0;
}

static int begin_file(struct recorder *r)
{
	int err = r->o->directory ? pw_open_dir(&r->w, r->o->output, r->ncpus) : pw_open(&r->w, r->o->output);

	if (!err && r->o->zstd_level)
		err = pw_compress(&r->w, r->o->zstd_level);
	if (err)
		return refuse(r, -err, r->o->output);
	for (u32 e = 0; e < r->o->nr_events && !err; e++)
		err = pw_event(&r->w, &r->o->events[e].attr, r->o->events[e].name,
			       r->ids + (size_t)e * r->ncpus * r->nr_tids, r->nr_ids[e]);
	if (!err)
		err = pw_begin(&r->w);
	if (err)
		return refuse(r, -err, r->o->output);
	r->trailer = trailer_bytes(&r->o->events[0].attr);
	synth_kernel(&r->w, r->trailer);
	if (r->o->system_wide)
		synth_all(&r->w, r->o->data_maps, r->trailer);
	for (u32 i = 0; i < r->o->nr_pids && !r->o->system_wide; i++)
		synth_process(&r->w, r->o->pids[i], r->o->data_maps, r->trailer);
	return 0;
}

static void write_stretch(struct recorder *r, const struct ring *g, const u8 *bytes, u64 n)
{
	if (!r->o->directory) {
		pw_write_records(&r->w, bytes, n);
		return;
	}
	pw_write_part(&r->w, (u32)(g - r->rings), bytes, n);
	r->part_bytes += n;
}

/* Writes what one ring holds; the bytes. */
static u64 drain_ring(struct recorder *r, struct ring *g)
{
	u64 head, tail, at, part;
	const u8 *data = (const u8 *)g->page + PAGE_SIZE;

	if (!g->page)
		return 0;
	head = smp_load_acquire(&g->page->data_head);
	tail = g->page->data_tail;
	if (head == tail)
		return 0;
	at = tail & (g->bytes - 1);
	part = min(head - tail, g->bytes - at);
	write_stretch(r, g, data + at, part);
	write_stretch(r, g, data, head - tail - part);
	smp_store_release(&g->page->data_tail, head);
	return head - tail;
}

static void drain(struct recorder *r)
{
	static const struct perf_event_header round = { PD_FINISHED_ROUND, 0, sizeof(round) };
	u64 n = 0;

	for (u32 cpu = 0; cpu < r->ncpus; cpu++)
		n += drain_ring(r, &r->rings[cpu]);
	if (!n)
		return;
	if (!r->o->directory) /* there each file is in order, and readers look at all of them */
		pw_write(&r->w, &round, sizeof(round));
	r->rounds++;
}

/* ---- the run ---- */

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec + t.tv_nsec / 1e9;
}

/* With -p only: the recording ends with the last of the processes. */
static bool targets_gone(const struct recorder *r)
{
	if (r->o->system_wide || r->o->command)
		return false;
	for (u32 i = 0; i < r->o->nr_pids; i++)
		if (!kill(r->o->pids[i], 0))
			return false;
	return true;
}

static void wait_and_drain(struct recorder *r, const sigset_t *open_mask)
{
	struct pollfd fds[1024];
	double end = r->o->seconds > 0 ? now() + r->o->seconds : 0;
	u32 n = 0;

	for (u32 cpu = 0; cpu < r->ncpus && n < ARRAY_SIZE(fds); cpu++)
		if (r->rings[cpu].fd >= 0)
			fds[n++] = (struct pollfd){ .fd = r->rings[cpu].fd, .events = POLLIN };
	while (!stopped && (!end || now() < end)) {
		struct timespec wait = { 0, 100 * NSEC_PER_MSEC };

		ppoll(fds, n, &wait, open_mask);
		for (u32 i = 0; i < n; i++)
			if (fds[i].revents & (POLLHUP | POLLERR))
				fds[i].fd = -1; /* its thread has ended; other threads may still write into the ring */
		drain(r);
		if (r->w.error || targets_gone(r))
			break;
	}
}

static int run(struct recorder *r, int *status)
{
	sigset_t block, old;
	struct sigaction act = { .sa_handler = on_signal }, was_int, was_child;

	sigemptyset(&block);
	sigaddset(&block, SIGINT);
	sigaddset(&block, SIGTERM);
	sigaddset(&block, SIGCHLD);
	sigprocmask(SIG_BLOCK, &block, &old);
	sigaction(SIGINT, &act, &was_int);
	sigaction(SIGTERM, &act, NULL);
	sigaction(SIGCHLD, &act, &was_child);
	stopped = 0;
	if (r->o->system_wide || !r->o->command)
		for_all_events(r, PERF_EVENT_IOC_ENABLE);
	if (r->o->command && write(r->start_pipe, "", 1) != 1)
		stopped = 1;
	wait_and_drain(r, &old);
	for_all_events(r, PERF_EVENT_IOC_DISABLE);
	drain(r);
	if (r->child > 0) {
		if (r->o->seconds > 0 && !stopped)
			kill(r->child, SIGTERM);
		waitpid(r->child, status, 0);
		r->child = 0;
	}
	sigaction(SIGINT, &was_int, NULL);
	sigaction(SIGCHLD, &was_child, NULL);
	sigprocmask(SIG_SETMASK, &old, NULL);
	return 0;
}

static void close_all(struct recorder *r)
{
	size_t n = r->fds ? (size_t)r->o->nr_events * r->ncpus * r->nr_tids : 0;

	if (r->child > 0) {
		close(r->start_pipe); /* it reads the end of the pipe and exits */
		waitpid(r->child, NULL, 0);
	} else if (r->start_pipe > 0) {
		close(r->start_pipe);
	}
	for (u32 cpu = 0; r->rings && cpu < r->ncpus; cpu++)
		if (r->rings[cpu].page)
			munmap(r->rings[cpu].page, r->rings[cpu].bytes + PAGE_SIZE);
	for (size_t i = 0; i < n; i++)
		if (r->fds[i] >= 0)
			close(r->fds[i]);
	free(r->rings);
	free(r->fds);
	free(r->ids);
	free(r->tids);
}

static int finish_file(struct recorder *r)
{
	const char *tracefs = rec_tracefs();
	int err;

	pw_machine_features(&r->w, r->o->argc, r->o->argv);
	if (tracefs)
		pw_tracing_data(&r->w, tracefs);
	err = pw_finish(&r->w);
	return err ? refuse(r, -err, r->o->output) : 0;
}

int rec_record(const struct rec_options *o, struct rec_result *res, char *why, size_t why_bytes)
{
	struct recorder r = { .o = o, .why = why, .why_bytes = why_bytes, .w.fd = -1 };
	int err = 0;

	memset(res, 0, sizeof(*res));
	snprintf(why, why_bytes, "out of memory");
	r.ncpus = sysconf(_SC_NPROCESSORS_CONF);
	if (o->command)
		err = fork_command(&r);
	if (!err)
		err = find_targets(&r);
	if (!err)
		err = open_events(&r);
	if (!err)
		err = begin_file(&r);
	res->command_pid = r.child;
	if (!err) {
		err = run(&r, &res->command_status);
		res->bytes = r.w.data_bytes + r.part_bytes;
		res->rounds = r.rounds;
		err = finish_file(&r);
	} else if (r.w.buf) {
		pw_finish(&r.w);
	}
	close_all(&r);
	return err;
}
