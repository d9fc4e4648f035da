/* SPDX-License-Identifier: MIT
 *
 * Problem: somebody must own the GPU on behalf of all who use it.
 *
 * Idea: `ostrom gpu serve` is one thread around one epoll set: tenants' sockets, clients, workers, the control socket.
 * The loop sleeps until one of them speaks or the device wants to look at the clock (a cap that ends, a job that
 * hangs).
 *
 * Contract: `ostrom gpu serve [--dir DIR] [--render-node PATH] [--policy best-effort|equal|fixed:SLOTS] [--memory
 * BYTES]
 * [--hang-ms N] [--quantum-ms N] [--cgroup DIR] [--verbose]`. Sockets are made in DIR with mode 0600. Ends at SIGINT or
 * SIGTERM, removing them.
 *
 * Locks: none; one thread.
 */
#include <errno.h>
#include <getopt.h>
#include <linux/sched.h>
#include <linux/sched/types.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>
#include "gpu.h"

static struct broker broker;

u64 now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * NSEC_PER_SEC + t.tv_nsec;
}

u64 random_seed(void)
{
	u64 seed = 0;

	if (getrandom(&seed, sizeof(seed), 0) != sizeof(seed))
		seed = now_ns();
	return seed;
}

void ask_short_slice(void)
{
	struct sched_attr a;

	/* How nice it is, and a policy that somebody chose for it, stay. */
	if (syscall(SYS_sched_getattr, 0, &a, sizeof(a), 0) || a.sched_policy != SCHED_NORMAL)
		return;
	a.sched_runtime = 200 * NSEC_PER_USEC;
	(void)!syscall(SYS_sched_setattr, 0, &a, 0); /* Linux before 6.12 ignores it */
}

/* ---- the epoll set ---- */

int watch_add(struct broker *b, struct watch *w, u32 events)
{
	struct epoll_event e = { .events = events, .data.ptr = w };

	w->events = events;
	return epoll_ctl(b->epoll, EPOLL_CTL_ADD, w->fd, &e) ? -errno : 0;
}

void watch_set(struct broker *b, struct watch *w, u32 events)
{
	struct epoll_event e = { .events = events, .data.ptr = w };

	if (w->events == events)
		return;
	w->events = events;
	epoll_ctl(b->epoll, EPOLL_CTL_MOD, w->fd, &e);
}

void watch_close(struct broker *b, struct watch *w)
{
	epoll_ctl(b->epoll, EPOLL_CTL_DEL, w->fd, NULL);
	close(w->fd);
	w->fd = -1;
	w->ready = NULL;
}

int listen_unix(const char *path, mode_t mode)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), rc;
	mode_t old;

	if (fd < 0)
		return -errno;
	if (str_copy(a.sun_path, path, sizeof(a.sun_path)) >= sizeof(a.sun_path)) {
		close(fd);
		return -ENAMETOOLONG;
	}
	unlink(path);
	old = umask(0777 & ~mode);
	rc = bind(fd, (struct sockaddr *)&a, sizeof(a)) || listen(fd, 64) ? -errno : 0;
	umask(old);
	if (rc) {
		close(fd);
		return rc;
	}
	return fd;
}

/* ---- the loop ---- */

static void stop(int sig)
{
	broker.stop = true;
}

static int timeout_ms(u64 when)
{
	u64 now = now_ns();

	if (when == ~0ull)
		return 1000; /* a signal between check and sleep is seen then */
	return when <= now ? 0 : (int)min((when - now) / NSEC_PER_MSEC, (u64)1000);
}

/* Waits with the precision of the clock: a cap or an expected job may end in tens of microseconds. */
static int wait_events(struct broker *b, struct epoll_event *e, int n, u64 when)
{
	u64 now = now_ns();
	struct timespec t;

	if (when == ~0ull || when <= now)
		return epoll_wait(b->epoll, e, n, timeout_ms(when));
	now = min(when - now, (u64)NSEC_PER_SEC);
	t = (struct timespec){ .tv_sec = now / NSEC_PER_SEC, .tv_nsec = now % NSEC_PER_SEC };
	return epoll_pwait2(b->epoll, e, n, &t, NULL);
}

static void loop(struct broker *b)
{
	while (!b->stop) {
		struct epoll_event e[1];
		int n = wait_events(b, e, 1, device_check(b));

		/* One at a time: handling one may free what another is about. */
		if (n == 1) {
			struct watch *w = e[0].data.ptr;

			w->ready(w, e[0].events);
		}
	}
}

/* ---- start ---- */

static int parse_policy(struct broker *b, const char *s)
{
	u64 slots;

	if (!strcmp(s, "best-effort"))
		return vgpu_sched_set_policy(&b->sched, VGPU_BEST_EFFORT, 0);
	if (!strcmp(s, "equal"))
		return vgpu_sched_set_policy(&b->sched, VGPU_EQUAL_SHARE, 0);
	if (str_starts(s, "fixed:") && !str_to_u64(s + 6, 10, &slots) && slots <= 1000)
		return vgpu_sched_set_policy(&b->sched, VGPU_FIXED_SHARE, slots);
	return -EINVAL;
}

static int parse_ms(const char *s, u64 *ns)
{
	int rc = str_to_u64(s, 10, ns);

	if (rc || !*ns || *ns > 600000)
		return -EINVAL;
	*ns *= NSEC_PER_MSEC;
	return 0;
}

static int parse_option(struct broker *b, int opt)
{
	struct vgpu_share ignored;
	u64 memory = 0;
	int rc = 0;

	switch (opt) {
	case 'd': b->dir = optarg; break;
	case 'r': b->render_node = optarg; break;
	case 'c': b->cgroup = optarg; break;
	case 'p': rc = parse_policy(b, optarg); break;
	case 'm':
		rc = parse_share("memory", optarg, &ignored, &memory);
		b->limits.memory_bytes = memory;
		break;
	case 'h': rc = parse_ms(optarg, &b->hang_ns); break;
	case 'q': rc = parse_ms(optarg, &b->quantum_ns); break;
	case 'v': b->verbose = true; break;
	default: rc = -EINVAL;
	}
	return rc;
}

static int parse_args(struct broker *b, int argc, char **argv)
{
	static const struct option options[] = {
		{ "dir", required_argument, NULL, 'd' },
		{ "render-node", required_argument, NULL, 'r' },
		{ "policy", required_argument, NULL, 'p' },
		{ "memory", required_argument, NULL, 'm' },
		{ "hang-ms", required_argument, NULL, 'h' },
		{ "quantum-ms", required_argument, NULL, 'q' },
		{ "verbose", no_argument, NULL, 'v' },
		{ "cgroup", required_argument, NULL, 'c' },
		{ NULL, 0, NULL, 0 },
	};
	int opt;

	while ((opt = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (opt == '?' || parse_option(b, opt)) {
			say_error("usage: ostrom gpu serve [--dir DIR] [--render-node PATH] [--verbose] "
				  "[--policy best-effort|equal|fixed:SLOTS] [--memory BYTES] [--hang-ms N] "
				  "[--quantum-ms N] [--cgroup DIR]");
			return -EINVAL;
		}
	}
	return optind == argc ? 0 : -EINVAL;
}

static int make_dirs(const char *dir)
{
	static const char *const below[] = { "", "/tenants", "/machines" };
	char path[128];

	for (u32 i = 0; i < ARRAY_SIZE(below); i++) {
		if (snprintf(path, sizeof(path), "%s%s", dir, below[i]) >= (int)sizeof(path))
			return -ENAMETOOLONG;
		if (mkdir(path, 0755) && errno != EEXIST)
			return -errno;
	}
	return 0;
}

int gpu_serve(int argc, char **argv)
{
	struct broker *b = &broker;
	struct rlimit files = { 65536, 65536 };
	struct sigaction sa = { .sa_handler = stop };
	int rc;

	b->dir = default_dir();
	b->limits = vgpu_default_limits;
	b->hang_ns = 10 * NSEC_PER_SEC;
	b->quantum_ns = 2 * NSEC_PER_MSEC;
	b->seed = random_seed();
	b->retry_ns = ~0ull;
	b->clock_at_ns = now_ns();
	b->part = VGPU_ONE;
	list_init(&b->tenants);
	vgpu_sched_init(&b->sched, device_now(b));
	if (parse_args(b, argc, argv))
		return 2;
	setrlimit(RLIMIT_NOFILE, &files); /* a descriptor a client and one a resource in flight */
	sigaction(SIGINT, &sa, NULL);
	sigaction(SIGTERM, &sa, NULL);
	signal(SIGPIPE, SIG_IGN);
	ask_short_slice();
	cgroup_open(b);
	b->epoll = epoll_create1(EPOLL_CLOEXEC);
	rc = make_dirs(b->dir);
	if (!rc)
		rc = control_open(b);
	if (rc) {
		say_error("%s: %s", b->dir, strerror(-rc));
		return 1;
	}
	fprintf(stderr, "ostrom gpu: serving in %s on %s\n", b->dir,
		b->render_node ? b->render_node : "software rendering");
	loop(b);
	while (!list_empty(&b->tenants))
		tenant_destroy(list_first_entry(&b->tenants, struct tenant, link));
	return 0;
}
