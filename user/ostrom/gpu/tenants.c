/* SPDX-License-Identifier: MIT
 *
 * Problem: a tenant is a socket in the file system, an account, an entity of the scheduler and a process that may die
 * at any moment, and they must come and go together.
 *
 * Idea: the worker starts with the first client and is bound to the tenant by one socket pair. Messages to it are
 * queued and written when it takes them, so that a stuck worker never blocks the broker; what comes back is parsed as
 * from a stranger. Whatever goes wrong with the worker ends in one place, tenant_reset: its process is killed, its
 * clients are sent away, its account is empty again; the next client gets a new one.
 *
 * Contract: gpu.h. Locks: none; called from the broker's loop.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
#include "gpu.h"
#include "virt/vgpu/virgl.h"
#include "wire.h"

extern char **environ;

struct tenant *tenant_find(struct broker *b, const char *name)
{
	struct tenant *t;

	list_for_each_entry (t, &b->tenants, link)
		if (!strcmp(t->name, name))
			return t;
	return NULL;
}

/* ---- clients ---- */

static void client_arrived(struct tenant *t, int listener, void (*accept_client)(struct tenant *t, int fd))
{
	int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	if (fd < 0)
		return;
	if (!t->pid && tenant_start_worker(t)) {
		say_error("tenant %s: cannot start a worker: %s", t->name, strerror(errno));
		close(fd);
		return;
	}
	accept_client(t, fd);
}

static void process_arrived(struct watch *w, u32 events)
{
	client_arrived(container_of(w, struct tenant, listener), w->fd, vtest_accept);
}

static void machine_arrived(struct watch *w, u32 events)
{
	client_arrived(container_of(w, struct tenant, vm_listener), w->fd, vm_accept);
}

/* ---- to the worker ---- */

static void want_write(struct tenant *t)
{
	watch_set(t->broker, &t->worker, EPOLLIN | (list_empty(&t->sends) ? 0 : EPOLLOUT));
}

#define MESSAGES_AT_ONCE 64

/* Messages from the first queued one on that can go together: a descriptor goes with the first byte of its message. */
static u32 gather(struct tenant *t, struct iovec *iov)
{
	struct op *op;
	u32 n = 0;

	list_for_each_entry (op, &t->sends, link) {
		if (n == MESSAGES_AT_ONCE || (n && op->fd >= 0))
			break;
		iov[n++] = (struct iovec){ op->data + op->start, op->bytes - op->start };
	}
	return n;
}

static ssize_t send_some(struct tenant *t)
{
	struct op *first = list_first_entry(&t->sends, struct op, link);
	struct iovec iov[MESSAGES_AT_ONCE];
	ssize_t n = send_pieces(t->worker.fd, iov, gather(t, iov), first->fd);

	if (n >= 0 && first->fd >= 0) {
		close(first->fd);
		first->fd = -1;
	}
	return n;
}

void tenant_flush(struct tenant *t)
{
	while (!list_empty(&t->sends)) {
		ssize_t n = send_some(t);

		if (n < 0)
			break; /* full, or gone: the loop will hear of that */
		while (n) {
			struct op *op = list_first_entry(&t->sends, struct op, link);
			u32 part = min((u64)n, (u64)op->bytes - op->start);

			op->start += part;
			n -= part;
			if (op->start < op->bytes)
				break;
			list_del(&op->link);
			op_free(op);
		}
	}
	want_write(t);
}

void tenant_send(struct tenant *t, struct op *op)
{
	op->start = 0;
	list_add_tail(&op->link, &t->sends);
}

/* ---- from the worker ---- */

static bool take_hello(struct tenant *t, const u8 *data, u32 bytes)
{
	u32 sizes[2];
	struct conn *c, *next;

	if (t->ready || bytes < 8)
		return false;
	memcpy(sizes, data, 8);
	if (sizes[0] > 65536 || sizes[1] > 65536 || bytes != 8 + sizes[0] + sizes[1])
		return false;
	for (u32 set = 1; set <= 2; set++) {
		t->caps[set] = malloc(sizes[set - 1] + 1);
		if (!t->caps[set])
			return false;
		memcpy(t->caps[set], data + 8 + (set == 2 ? sizes[0] : 0), sizes[set - 1]);
		t->caps_bytes[set] = sizes[set - 1];
		vgpu_virgl_mask_caps(set, t->caps[set], sizes[set - 1]);
	}
	t->ready = true;
	if (!t->broker->render_node)
		meter_open(&t->meter, t->pid);
	list_for_each_entry_safe (c, next, &t->conns, link)
		c->front->resume(c);
	return true;
}

static bool has_ctx(const struct conn *c, u32 host_id)
{
	const struct vgpu_ctx *x;

	list_for_each_entry (x, &c->space.contexts, link)
		if (x->host_id == host_id)
			return true;
	return false;
}

static void take_failure(struct tenant *t, u32 ctx, u32 what)
{
	static const char *const names[] = { [WIRE_CTX_CREATE] = "a context",
					     [WIRE_RES_CREATE] = "a resource",
					     [WIRE_SUBMIT] = "a command stream",
					     [WIRE_TRANSFER] = "a transfer" };
	const char *name = what < ARRAY_SIZE(names) && names[what] ? names[what] : "something";
	char why[80];
	struct conn *c, *next;

	snprintf(why, sizeof(why), "the renderer refused %s", name);
	/* A refused transfer concerns one resource's contents; the context stays whole. */
	if (what == WIRE_TRANSFER)
		return;
	list_for_each_entry_safe (c, next, &t->conns, link)
		if (!c->ended && has_ctx(c, ctx)) {
			if (c->front->failed)
				c->front->failed(c, ctx);
			else
				conn_end(c, why);
		}
}

static bool take_message(struct tenant *t, const struct wire_header *h, const u8 *data)
{
	switch (h->type) {
	case WIRE_HELLO: return take_hello(t, data, h->bytes);
	case WIRE_DONE: device_done(t, h->arg); return true;
	case WIRE_FAILED: take_failure(t, h->ctx, h->arg); return true;
	default: return false;
	}
}

/* Handles whole messages; false if one makes no sense. */
static bool take_input(struct tenant *t)
{
	u32 at = 0;

	while (t->in_len - at >= sizeof(struct wire_header)) {
		struct wire_header h;

		memcpy(&h, t->in + at, sizeof(h));
		if (h.bytes > t->in_size - sizeof(h))
			return false;
		if (t->in_len - at < sizeof(h) + h.bytes)
			break;
		if (!take_message(t, &h, t->in + at + sizeof(h)))
			return false;
		at += sizeof(h) + h.bytes;
	}
	t->in_len -= at;
	memmove(t->in, t->in + at, t->in_len);
	return true;
}

static void worker_ready(struct watch *w, u32 events)
{
	struct tenant *t = container_of(w, struct tenant, worker);
	ssize_t n;

	if (events & EPOLLOUT)
		tenant_flush(t);
	n = recv(w->fd, t->in + t->in_len, t->in_size - t->in_len, MSG_DONTWAIT);
	if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR)) {
		tenant_reset(t, "its worker died");
		return;
	}
	t->in_len += max(n, 0);
	if (!take_input(t))
		tenant_reset(t, "its worker talks nonsense");
}

static void __noreturn become_worker(struct broker *b, int fd)
{
	char *argv[] = { "ostrom", "gpu", "worker", "3", NULL, NULL };
	char *env[16] = { "EGL_PLATFORM=surfaceless", "MESA_SHADER_CACHE_DISABLE=true" };
	int n = 2, node = -1, null = open("/dev/null", O_RDWR);

	if (b->render_node) {
		node = open(b->render_node, O_RDWR | O_CLOEXEC);
		if (node < 0)
			_exit(1);
		argv[4] = "4";
	} else {
		env[n++] = "LIBGL_ALWAYS_SOFTWARE=1";
	}
	for (char **e = environ; *e && n < 14; e++)
		if (str_starts(*e, "LP_NUM_THREADS=") || str_starts(*e, "OSTROM_WHY=") ||
		    str_starts(*e, "LD_LIBRARY_PATH="))
			env[n++] = *e;
	/* 0 to 2 are /dev/null (2 stays for debugging), 3 the socket, 4 the GPU. */
	if (fcntl(fd, F_DUPFD, 10) < 0 || (fd = fcntl(fd, F_DUPFD, 10)) < 0 ||
	    (node >= 0 && (node = fcntl(node, F_DUPFD, 10)) < 0))
		_exit(1);
	dup2(null, 0);
	dup2(null, 1);
	if (!getenv("OSTROM_WHY"))
		dup2(null, 2);
	dup2(fd, 3);
	if (node >= 0)
		dup2(node, 4);
	close_range(node >= 0 ? 5 : 4, ~0u, 0);
	execve("/proc/self/exe", argv, env);
	_exit(1);
}

int tenant_start_worker(struct tenant *t)
{
	int pair[2], size = 1 << 20;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair))
		return -errno;
	setsockopt(pair[0], SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
	cgroup_create(t);
	t->pid = fork();
	if (!t->pid) {
		cgroup_enter(t);
		become_worker(t->broker, pair[1]);
	}
	close(pair[1]);
	if (t->pid < 0) {
		t->pid = 0;
		close(pair[0]);
		return -errno;
	}
	t->worker = (struct watch){ .ready = worker_ready, .fd = pair[0] };
	t->in_len = 0;
	vgpu_ids_init(&t->ids, t->account.seed);
	vgpu_ids_init(&t->ctx_ids, t->account.seed);
	return watch_add(t->broker, &t->worker, EPOLLIN);
}

void tenant_reset(struct tenant *t, const char *why)
{
	if (why && t->broker->verbose)
		say_error("tenant %s reset: %s", t->name, why);
	t->resets += !!why;
	device_forget(t);
	while (!list_empty(&t->conns))
		conn_free(list_first_entry(&t->conns, struct conn, link));
	vgpu_sched_unqueue(&t->broker->sched, &t->entity);
	t->last_served = NULL;
	if (t->pid) {
		kill(t->pid, SIGKILL);
		while (waitpid(t->pid, NULL, 0) < 0 && errno == EINTR)
			;
		watch_close(t->broker, &t->worker);
		meter_close(&t->meter);
		cgroup_remove(t);
		vgpu_ids_free(&t->ids);
		vgpu_ids_free(&t->ctx_ids);
	}
	while (!list_empty(&t->sends)) {
		struct op *op = list_first_entry(&t->sends, struct op, link);

		list_del(&op->link);
		op_free(op);
	}
	for (u32 set = 1; set <= 2; set++) {
		free(t->caps[set]);
		t->caps[set] = NULL;
	}
	t->pid = 0;
	t->ready = false;
	device_kick(t->broker);
}

/* ---- life ---- */

static bool good_name(const char *name)
{
	size_t n = strlen(name);

	if (!n || n >= NAME_MAX_BYTES || name[0] == '.')
		return false;
	return strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.") == n;
}

static int open_sockets(struct tenant *t)
{
	t->listener = (struct watch){ .ready = process_arrived, .fd = listen_unix(t->path, 0600) };
	if (t->listener.fd < 0)
		return t->listener.fd;
	t->vm_listener = (struct watch){ .ready = machine_arrived, .fd = listen_unix(t->vm_path, 0600) };
	if (t->vm_listener.fd < 0) {
		close(t->listener.fd);
		unlink(t->path);
		return t->vm_listener.fd;
	}
	watch_add(t->broker, &t->listener, EPOLLIN);
	watch_add(t->broker, &t->vm_listener, EPOLLIN);
	return 0;
}

int tenant_create(struct broker *b, const char *name, const struct vgpu_share *share, u64 memory, struct tenant **out)
{
	struct vgpu_limits l = b->limits;
	struct tenant *t;
	int rc;

	if (!good_name(name))
		return -EINVAL;
	if (tenant_find(b, name))
		return -EEXIST;
	t = calloc(1, sizeof(*t));
	if (!t)
		return -ENOMEM;
	t->in_size = 128 << 10;
	t->in = malloc(t->in_size);
	t->broker = b;
	str_copy(t->name, name, sizeof(t->name));
	list_init(&t->conns);
	list_init(&t->sends);
	l.memory_bytes = memory ? memory : l.memory_bytes;
	l.resource_bytes = min(l.resource_bytes, l.memory_bytes);
	vgpu_tenant_init(&t->account, &l, random_seed());
	rc = t->in ? -ENAMETOOLONG : -ENOMEM;
	if (!t->in || snprintf(t->path, sizeof(t->path), "%s/tenants/%s", b->dir, name) >= (int)sizeof(t->path) ||
	    snprintf(t->vm_path, sizeof(t->vm_path), "%s/machines/%s", b->dir, name) >= (int)sizeof(t->vm_path))
		goto free;
	rc = vgpu_sched_add(&b->sched, &t->entity, NULL, share, device_now(b));
	if (rc)
		goto free;
	rc = open_sockets(t);
	if (rc) {
		vgpu_sched_remove(&b->sched, &t->entity);
		goto free;
	}
	list_add_tail(&t->link, &b->tenants);
	b->nr_tenants++;
	*out = t;
	return 0;
free:
	free(t->in);
	free(t);
	return rc;
}

void tenant_destroy(struct tenant *t)
{
	struct broker *b = t->broker;

	tenant_reset(t, NULL);
	vgpu_sched_remove(&b->sched, &t->entity);
	watch_close(b, &t->listener);
	watch_close(b, &t->vm_listener);
	unlink(t->path);
	unlink(t->vm_path);
	list_del(&t->link);
	b->nr_tenants--;
	free(t->in);
	free(t);
}
