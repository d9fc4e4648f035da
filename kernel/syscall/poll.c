/* SPDX-License-Identifier: MIT
 *
 * Problem: poll, select and epoll in nine calls, with timeouts of three units and signal masks that change for the
 * duration of the call.
 *
 * Idea: timeouts become absolute deadlines at once. poll and select ask their files with a table that joins the wait
 * queues the first time and only ask afterwards. The files are kept referenced while their queues are joined.
 *
 * Contract: poll(2), select(2), epoll_wait(2), epoll_ctl(2).
 *
 * Locks: none of their own; vfs/poll.c and vfs/epoll.c do the waiting.
 */
#include <abi/syscalls.h>
#include <alloc/slab.h>
#include <arch/user.h>
#include <asm/poll.h>
#include <core/clock.h>
#include <lib/err.h>
#include <lib/string.h>
#include <linux/time_types.h>
#include <process/process.h>
#include <vfs/epoll.h>
#include <vfs/uapi.h>

#define MAX_FDS (1U << 20)
#define FEW     8 /* descriptors that need no memory of their own */

static u64 deadline_after(u64 ns)
{
	u64 at;

	return __builtin_add_overflow(clock_ns(), ns, &at) ? ~0ULL : at;
}

/* A struct timespec in user memory, NULL: for ever. A zero time gives deadline 0: do not wait. */
static int get_deadline(const void __user *uts, u64 *deadline)
{
	struct __kernel_timespec ts;

	*deadline = ~0ULL;
	if (!uts)
		return 0;
	if (user_get(&ts, uts, sizeof(ts)))
		return -EFAULT;
	if (ts.tv_sec < 0 || ts.tv_nsec < 0 || ts.tv_nsec >= (long long)NSEC_PER_SEC)
		return -EINVAL;
	if (!ts.tv_sec && !ts.tv_nsec)
		*deadline = 0;
	else if ((u64)ts.tv_sec < INT64_MAX / NSEC_PER_SEC)
		*deadline = deadline_after(ts.tv_sec * NSEC_PER_SEC + ts.tv_nsec);
	return 0;
}

/* Writes back what is left, as ppoll and pselect6 do; a bad address is ignored there too. */
static void put_left(void __user *uts, u64 deadline)
{
	u64 now = clock_ns(), left = deadline > now ? deadline - now : 0;
	struct __kernel_timespec ts = { left / NSEC_PER_SEC, left % NSEC_PER_SEC };

	if (uts && deadline != ~0ULL && user_put(uts, &ts, sizeof(ts)))
		return;
}

static u64 deadline_of_ms(int ms)
{
	return ms < 0 ? ~0ULL : ms ? deadline_after(ms * NSEC_PER_MSEC) : 0;
}

/* ---- poll ---------------------------------------------------------------------------------------------------------
 */

struct poll_set {
	struct pollfd *fds;
	struct fd_ref *files;
	u32 n;
};

/* What holds for one descriptor now; 1 if that is something. */
static __always_inline int ask_one(struct pollfd *p, struct file *f, struct poll_table *pt)
{
	unsigned wanted = (u16)p->events | POLLERR | POLLHUP;

	p->revents = 0;
	if (p->fd < 0)
		return 0;
	if (!f) {
		p->revents = POLLNVAL;
		return 1;
	}
	if (pt)
		pt->events = wanted;
	p->revents = file_poll(f, pt) & wanted;
	return p->revents != 0;
}

static int ask_all(struct poll_set *s, struct poll_table *pt)
{
	int ready = 0;

	for (u32 i = 0; i < s->n; i++) {
		ready += ask_one(&s->fds[i], s->files[i].file, pt);
		if (ready)
			pt = NULL; /* the answer is known: no need to join more queues */
	}
	return ready;
}

/* Who does not wait needs no file longer than for its question. */
static __noinline int ask_once(struct poll_set *s)
{
	int ready = 0;

	for (struct pollfd *p = s->fds, *end = p + s->n; p < end; p++) {
		struct fd_ref r = fd_get(p->fd); /* none for a negative number */

		ready += ask_one(p, r.file, NULL);
		fd_put(r);
	}
	return ready;
}

/* Waits on the set; how many are ready, 0 at the deadline, -EINTR. */
static int wait_on(struct poll_set *s, u64 deadline)
{
	struct poll_waiter *w;
	int ready = deadline ? 0 : ask_all(s, NULL), err = 0;

	if (ready || !deadline)
		return ready;
	w = poll_waiter_begin();
	if (!w)
		return -ENOMEM;
	ready = ask_all(s, poll_waiter_table(w));
	while (!ready && !err) {
		err = poll_waiter_sleep(w, deadline);
		ready = ask_all(s, NULL);
	}
	poll_waiter_end(w);
	return ready ? ready : err == -ETIME ? 0 : err;
}

static void take_files(struct poll_set *s)
{
	for (u32 i = 0; i < s->n; i++)
		s->files[i] = s->fds[i].fd < 0 ? (struct fd_ref){ 0 } : fd_get(s->fds[i].fd);
}

static void drop_files(struct poll_set *s)
{
	for (u32 i = 0; i < s->n; i++)
		fd_put(s->files[i]);
}

static int wait_on_files(struct poll_set *s, u64 deadline)
{
	struct fd_ref few[FEW];
	int r;

	s->files = s->n > FEW ? kmalloc(s->n * sizeof(*s->files), ALLOC_CHARGED) : few;
	if (!s->files)
		return -ENOMEM;
	take_files(s);
	r = wait_on(s, deadline);
	drop_files(s);
	if (s->files != few)
		kfree(s->files);
	return r;
}

static int put_revents(const struct poll_set *s, struct pollfd __user *ufds)
{
	for (u32 i = 0; i < s->n; i++)
		if (user_put(&ufds[i].revents, &s->fds[i].revents, sizeof(s->fds[i].revents)))
			return -EFAULT;
	return 0;
}

static int poll_until(struct pollfd __user *ufds, u32 n, u64 deadline)
{
	struct pollfd few[FEW];
	struct poll_set s = { few, NULL, n };
	int r;

	if (n > process_rlimit(RLIMIT_NOFILE) || n > MAX_FDS)
		return -EINVAL;
	if (n > FEW) {
		s.fds = kmalloc(n * sizeof(*s.fds), ALLOC_CHARGED);
		if (!s.fds)
			return -ENOMEM;
	}
	r = user_get(s.fds, ufds, n * sizeof(*s.fds));
	if (!r)
		r = deadline ? wait_on_files(&s, deadline) : ask_once(&s);
	if (r >= 0 && put_revents(&s, ufds))
		r = -EFAULT;
	if (s.fds != few)
		kfree(s.fds);
	return r;
}

static long restart_poll(struct task *t)
{
	int r = poll_until((struct pollfd __user *)t->restart.args[0], t->restart.args[1], t->restart.deadline_ns);

	return r == -EINTR ? -ERESTART_RESTARTBLOCK : r;
}

long sys_poll(void __user *fds, u32 nfds, int timeout_ms)
{
	u64 deadline = deadline_of_ms(timeout_ms);
	int r = poll_until(fds, nfds, deadline);

	if (r != -EINTR)
		return r;
	current->restart.fn = restart_poll;
	current->restart.deadline_ns = deadline;
	current->restart.args[0] = (ulong)fds;
	current->restart.args[1] = nfds;
	return -ERESTART_RESTARTBLOCK;
}

long sys_ppoll(void __user *fds, u32 nfds, void __user *timeout, const u64 __user *sigmask, size_t sigsetsize)
{
	u64 deadline;
	int r = get_deadline(timeout, &deadline);

	if (!r)
		r = signal_mask_begin(sigmask, sigsetsize);
	if (r)
		return r;
	r = poll_until(fds, nfds, deadline);
	signal_mask_end(r == -EINTR);
	put_left(timeout, deadline);
	return r == -EINTR ? -ERESTARTNOHAND : r;
}

/* ---- select ---------------------------------------------------------------------------------------------- */

#define SELECT_IN  (POLLRDNORM | POLLRDBAND | POLLIN | POLLHUP | POLLERR)
#define SELECT_OUT (POLLWRBAND | POLLWRNORM | POLLOUT | POLLERR)
#define SELECT_EX  POLLPRI

struct select_set {
	ulong *in, *out, *ex;
	int n;
};

static bool bit(const ulong *map, int n)
{
	return map[n / 64] >> (n % 64) & 1;
}

static int get_map(ulong *map, const void __user *u, size_t bytes)
{
	if (u)
		return user_get(map, u, bytes);
	memset(map, 0, bytes);
	return 0;
}

/* The descriptors asked for, as a poll set; memory behind s->files. */
static int to_poll_set(const struct select_set *sel, struct poll_set *s)
{
	u32 count = 0;

	for (int w = 0; w < DIV_ROUND_UP(sel->n, 64); w++)
		count += __builtin_popcountl(sel->in[w] | sel->out[w] | sel->ex[w]);
	s->n = 0;
	s->files = kmalloc((count + 1) * (sizeof(*s->files) + sizeof(*s->fds)), ALLOC_CHARGED);
	if (!s->files)
		return -ENOMEM;
	s->fds = (struct pollfd *)(s->files + count);
	for (int fd = 0; fd < sel->n; fd++) {
		short events = (bit(sel->in, fd) ? SELECT_IN : 0) | (bit(sel->out, fd) ? SELECT_OUT : 0) |
			       (bit(sel->ex, fd) ? SELECT_EX : 0);

		if (events)
			s->fds[s->n++] = (struct pollfd){ .fd = fd, .events = events };
	}
	take_files(s);
	for (u32 i = 0; i < s->n; i++) {
		if (!s->files[i].file) {
			drop_files(s);
			kfree(s->files);
			return -EBADF;
		}
	}
	return 0;
}

/* Sets the bits that are ready and were asked for; how many. */
static int to_maps(const struct poll_set *s, struct select_set *sel, const struct select_set *asked)
{
	int n = 0;

	for (u32 i = 0; i < s->n; i++) {
		int fd = s->fds[i].fd, r = s->fds[i].revents;
		ulong m = BIT(fd % 64);

		if (r & SELECT_IN && bit(asked->in, fd))
			sel->in[fd / 64] |= m, n++;
		if (r & SELECT_OUT && bit(asked->out, fd))
			sel->out[fd / 64] |= m, n++;
		if (r & SELECT_EX && bit(asked->ex, fd))
			sel->ex[fd / 64] |= m, n++;
	}
	return n;
}

/* select has no bits for what it does not watch, so a ready set always has one; poll's extra POLLHUP on an OUT-only
 * descriptor must not end the wait: masks are asked exactly. */
static int select_maps(struct select_set *asked, struct select_set *result, u64 deadline)
{
	struct poll_set s;
	int r = to_poll_set(asked, &s), n = 0;

	if (r)
		return r;
	r = wait_on(&s, deadline);
	if (r > 0)
		n = to_maps(&s, result, asked);
	drop_files(&s);
	kfree(s.files);
	return r < 0 ? r : n;
}

static int put_maps(const struct select_set *r, void __user *in, void __user *out, void __user *ex, size_t bytes)
{
	if ((in && user_put(in, r->in, bytes)) || (out && user_put(out, r->out, bytes)) ||
	    (ex && user_put(ex, r->ex, bytes)))
		return -EFAULT;
	return 0;
}

static int select_until(int n, void __user *in, void __user *out, void __user *ex, u64 deadline)
{
	size_t words, bytes;
	struct select_set asked, result;
	ulong *maps;
	int r = 0;

	if (n < 0)
		return -EINVAL;
	n = min((u64)n, min(process_rlimit(RLIMIT_NOFILE), (u64)MAX_FDS));
	words = DIV_ROUND_UP(n, 64);
	bytes = words * 8;
	maps = kzalloc(max(6 * bytes, 8UL), 0);
	if (!maps)
		return -ENOMEM;
	asked = (struct select_set){ maps, maps + words, maps + 2 * words, n };
	result = (struct select_set){ maps + 3 * words, maps + 4 * words, maps + 5 * words, n };
	if (get_map(asked.in, in, bytes) || get_map(asked.out, out, bytes) || get_map(asked.ex, ex, bytes))
		r = -EFAULT;
	if (!r)
		r = select_maps(&asked, &result, deadline);
	if (r >= 0 && put_maps(&result, in, out, ex, bytes))
		r = -EFAULT;
	kfree(maps);
	return r;
}

long sys_select(int n, void __user *readfds, void __user *writefds, void __user *exceptfds, void __user *timeout)
{
	struct __kernel_old_timeval tv;
	u64 deadline = ~0ULL, now;
	int r;

	if (timeout) {
		if (user_get(&tv, timeout, sizeof(tv)))
			return -EFAULT;
		if (tv.tv_sec < 0 || tv.tv_usec < 0)
			return -EINVAL;
		if (!tv.tv_sec && !tv.tv_usec)
			deadline = 0;
		else if ((u64)tv.tv_sec < INT64_MAX / NSEC_PER_SEC / 2 && (u64)tv.tv_usec < INT64_MAX / 2000)
			deadline = deadline_after(tv.tv_sec * NSEC_PER_SEC + tv.tv_usec * NSEC_PER_USEC);
	}
	r = select_until(n, readfds, writefds, exceptfds, deadline);
	if (timeout && deadline != ~0ULL) {
		now = clock_ns();
		now = deadline > now ? deadline - now : 0;
		tv = (struct __kernel_old_timeval){ now / NSEC_PER_SEC, now % NSEC_PER_SEC / 1000 };
		if (user_put(timeout, &tv, sizeof(tv)) && r >= 0)
			return r; /* the result counts more than the time that was left */
	}
	return r == -EINTR ? -ERESTARTNOHAND : r;
}

long sys_pselect6(int n, void __user *readfds, void __user *writefds, void __user *exceptfds, void __user *timeout,
		  void __user *sigmask)
{
	struct {
		const u64 __user *set;
		size_t size;
	} mask = { 0 };
	u64 deadline;
	int r = get_deadline(timeout, &deadline);

	if (!r && sigmask && user_get(&mask, sigmask, sizeof(mask)))
		r = -EFAULT;
	if (!r)
		r = signal_mask_begin(mask.set, mask.size);
	if (r)
		return r;
	r = select_until(n, readfds, writefds, exceptfds, deadline);
	signal_mask_end(r == -EINTR);
	put_left(timeout, deadline);
	return r == -EINTR ? -ERESTARTNOHAND : r;
}

/* ---- epoll ----------------------------------------------------------------------------------------------- */

long sys_epoll_create1(int flags)
{
	struct file *f;
	int err;

	if (flags & ~EPOLL_CLOEXEC)
		return -EINVAL;
	err = epoll_create_file(&f);
	return err ? err : fd_publish(f, flags);
}

long sys_epoll_create(int size)
{
	return size > 0 ? sys_epoll_create1(0) : -EINVAL;
}

long sys_epoll_ctl(int epfd, int op, int fd, void __user *event)
{
	struct fd_ref ep = fd_get(epfd), target = fd_get(fd);
	struct epoll_event ev = { 0 };
	long err = -EBADF;

	if (op != EPOLL_CTL_DEL && user_get(&ev, event, sizeof(ev)))
		err = -EFAULT;
	else if (ep.file && target.file)
		err = epoll_control(ep.file, op, fd, target.file, &ev);
	fd_put(target);
	fd_put(ep);
	return err;
}

static long epoll_until(int epfd, void __user *events, int max, u64 deadline)
{
	struct fd_ref ep;
	long r;

	if (max <= 0 || (ulong)max > INT32_MAX / sizeof(struct epoll_event))
		return -EINVAL;
	ep = fd_get(epfd);
	if (!ep.file)
		return -EBADF;
	r = epoll_wait_events(ep.file, events, max, deadline);
	fd_put(ep);
	return r;
}

long sys_epoll_wait(int epfd, void __user *events, int maxevents, int timeout_ms)
{
	return epoll_until(epfd, events, maxevents, deadline_of_ms(timeout_ms));
}

long sys_epoll_pwait(int epfd, void __user *events, int maxevents, int timeout_ms, const u64 __user *sigmask,
		     size_t sigsetsize)
{
	long r = signal_mask_begin(sigmask, sigsetsize);

	if (r)
		return r;
	r = epoll_until(epfd, events, maxevents, deadline_of_ms(timeout_ms));
	signal_mask_end(r == -EINTR);
	return r;
}

long sys_epoll_pwait2(int epfd, void __user *events, int maxevents, const void __user *timeout,
		      const u64 __user *sigmask, size_t sigsetsize)
{
	u64 deadline;
	long r = get_deadline(timeout, &deadline);

	if (!r)
		r = signal_mask_begin(sigmask, sigsetsize);
	if (r)
		return r;
	r = epoll_until(epfd, events, maxevents, deadline);
	signal_mask_end(r == -EINTR);
	return r;
}
