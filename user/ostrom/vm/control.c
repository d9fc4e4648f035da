/* SPDX-License-Identifier: MIT
 *
 * Problem: another program wants to know something of a machine that runs.
 *
 * Idea: the monitor listens at a socket named by its process number. A client sends one line and gets the answer until
 * the end of the stream.
 *
 * Contract: vm.h. Only the same user and root are answered. The reply to "picture" is width and height, a line, and the
 * pixels in three bytes each; to "stat" lines of text: of each CPU how often it left the guest, for what, as KVM counts
 * (KVM_GET_STATS_FD; 0 where there is none), and how often that came to the monitor; of each virtio device its requests
 * and how many exits to the monitor they took (reading and acknowledging interrupts; notifications take none).
 *
 * Locks: none; the thread that feeds the console serves.
 */
#include <errno.h>
#include <linux/kvm.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>
#include "ostrom.h"
#include "virtio.h"

#define STATS_BYTES 16384 /* of KVM's file of counts, at most */

static socklen_t name_of(struct sockaddr_un *a, int pid)
{
	*a = (struct sockaddr_un){ .sun_family = AF_UNIX };
	return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 +
			   (size_t)snprintf(a->sun_path + 1, sizeof(a->sun_path) - 1, "ostrom-vm-%d", pid));
}

int vm_control(void)
{
	struct sockaddr_un a;
	socklen_t n = name_of(&a, getpid());
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd >= 0 && (bind(fd, (struct sockaddr *)&a, n) || listen(fd, 4))) {
		close(fd);
		fd = -1;
	}
	return fd;
}

static bool send_all(int fd, const void *data, size_t n)
{
	while (n) {
		ssize_t sent = send(fd, data, n, MSG_NOSIGNAL);

		if (sent <= 0)
			return false;
		data = (const char *)data + sent;
		n -= (size_t)sent;
	}
	return true;
}

/* One of a CPU's counts, by the descriptions in KVM's own file; 0: KVM does not count it. */
static uint64_t kvm_count(const char *file, size_t bytes, const char *name)
{
	struct kvm_stats_header h;
	uint64_t value = 0;

	if (bytes < sizeof(h))
		return 0;
	memcpy(&h, file, sizeof(h));
	for (uint32_t i = 0; i < h.num_desc; i++) {
		size_t at = h.desc_offset + i * (sizeof(struct kvm_stats_desc) + h.name_size);
		struct kvm_stats_desc d;

		if (at + sizeof(d) + h.name_size > bytes)
			return 0;
		memcpy(&d, file + at, sizeof(d));
		if (strncmp(file + at + sizeof(d), name, h.name_size))
			continue;
		at = (size_t)h.data_offset + d.offset;
		if (at + sizeof(value) <= bytes)
			memcpy(&value, file + at, sizeof(value));
		break;
	}
	return value;
}

static bool send_cpus(struct vm *vm, int fd)
{
	static const char *const kinds[][2] = { { "io", "io_exits" },
						{ "mmio", "mmio_exits" },
						{ "halt", "halt_exits" },
						{ "irq", "irq_exits" },
						{ "injected", "irq_injections" } };
	static char file[STATS_BYTES];
	char line[256];

	for (unsigned i = 0; i < vm->nr_cpus; i++) {
		ssize_t got = vm->cpu[i].stats_fd < 0 ? 0 : pread(vm->cpu[i].stats_fd, file, sizeof(file), 0);
		size_t bytes = got > 0 ? (size_t)got : 0;
		int n = sprintf(line, "cpu %u exits %llu monitor %llu", i,
				(unsigned long long)kvm_count(file, bytes, "exits"),
				(unsigned long long)__atomic_load_n(&vm->cpu[i].returns, __ATOMIC_RELAXED));

		for (size_t k = 0; k < sizeof(kinds) / sizeof(kinds[0]); k++)
			n += sprintf(line + n, " %s %llu", kinds[k][0],
				     (unsigned long long)kvm_count(file, bytes, kinds[k][1]));
		line[n++] = '\n';
		if (!send_all(fd, line, (size_t)n))
			return false;
	}
	return true;
}

static void send_stat(struct vm *vm, int fd)
{
	char line[160];

	if (!send_cpus(vm, fd))
		return;
	for (unsigned i = 0;; i++) {
		const struct virtio_device *d = virtio_nth(i);
		int n;

		if (!d)
			return;
		n = sprintf(line, "%s %u requests %llu exits %llu a-request %.2f interrupts %llu\n", d->kind->name, i,
			    (unsigned long long)d->requests, (unsigned long long)d->exits,
			    d->requests ? (double)d->exits / (double)d->requests : 0.0,
			    (unsigned long long)d->interrupts);
		if (!send_all(fd, line, (size_t)n))
			return;
	}
}

static void answer(struct vm *vm, int fd)
{
	char line[32] = "", head[32];
	struct vm_picture p;
	ssize_t n = recv(fd, line, sizeof(line) - 1, 0);

	if (n > 0 && !strcmp(line, "stat\n"))
		send_stat(vm, fd);
	if (n <= 0 || strcmp(line, "picture\n") || vm_picture(&p))
		return;
	sprintf(head, "%u %u\n", p.width, p.height);
	if (send_all(fd, head, strlen(head)))
		send_all(fd, p.rgb, 3ULL * p.width * p.height);
	free(p.rgb);
}

void vm_control_serve(struct vm *vm)
{
	struct timeval limit = { .tv_sec = 2 }; /* a client that is slow shall not stop the console */
	struct ucred who = { 0 };
	socklen_t n = sizeof(who);
	int fd = accept(vm->control_fd, NULL, NULL);

	if (fd < 0)
		return;
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &n) == 0 && (who.uid == 0 || who.uid == geteuid()))
		answer(vm, fd);
	close(fd);
}

static int receive(int fd, struct vm_picture *p)
{
	char head[32] = "";
	size_t n = 0, got = 0, all;

	while (n < sizeof(head) - 1 && recv(fd, head + n, 1, 0) == 1 && head[n] != '\n')
		n++;
	if (sscanf(head, "%u %u", &p->width, &p->height) != 2 || !p->width || !p->height || p->width > 1U << 14 ||
	    p->height > 1U << 14)
		return -1;
	all = 3ULL * p->width * p->height;
	p->rgb = malloc(all);
	while (p->rgb && got < all) {
		ssize_t part = recv(fd, p->rgb + got, all - got, 0);

		if (part <= 0)
			return -1;
		got += (size_t)part;
	}
	return p->rgb ? 0 : -1;
}

/* A connection on which the question has been sent; -1. */
static int ask(int pid, const char *question)
{
	struct sockaddr_un a;
	socklen_t n = name_of(&a, pid);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd >= 0 && connect(fd, (struct sockaddr *)&a, n) == 0 && send_all(fd, question, strlen(question)))
		return fd;
	say_error("machine %d: %s", pid, strerror(errno));
	if (fd >= 0)
		close(fd);
	return -1;
}

int vm_screenshot(int pid, const char *path)
{
	struct vm_picture p = { 0 };
	int fd = ask(pid, "picture\n"), err = -1;
	FILE *f;

	if (fd < 0)
		return -1;
	if (receive(fd, &p))
		say_error("machine %d shows no picture", pid);
	else if (!(f = fopen(path, "wb")))
		say_error("%s: %s", path, strerror(errno));
	else
		err = vm_write_picture(&p, path, f);
	close(fd);
	free(p.rgb);
	return err;
}

int vm_stat(int pid)
{
	char text[256];
	ssize_t n;
	int fd = ask(pid, "stat\n");

	if (fd < 0)
		return -1;
	while ((n = recv(fd, text, sizeof(text), 0)) > 0)
		fwrite(text, 1, (size_t)n, stdout);
	close(fd);
	return 0;
}
