/* SPDX-License-Identifier: MIT
 *
 * Problem: the front end of virtual machines reads messages of a QEMU and rings of a guest, either of which may be
 * hostile, into a process that serves all tenants.
 *
 * Idea: the front end itself (vhost.c, vm.c, display.c) with a real socket pair, real guest memory and event
 * descriptors; vgpu_broker.h plays the device, which checks that each op is a whole wire message. The first byte says
 * whether the rest is messages of QEMU, requests of a guest, its memory with its rings, or what QEMU's display says. At
 * the end the connection is freed, the account must be zero and no descriptor left.
 *
 * Contract: libFuzzer target, ASan and UBSan. Locks: none.
 */
// links: user/ostrom/gpu/vhost.c user/ostrom/gpu/vm.c user/ostrom/gpu/display.c user/ostrom/gpu/conn.c
#include <fcntl.h>
#include <linux/vhost_types.h>
#include <linux/virtio_ring.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include "vgpu_broker.h"
#include "../../user/ostrom/gpu/vm.h"

#define MEMORY 65536

static bool may_queue(u32 type, bool has_fd)
{
	return type >= WIRE_CTX_CREATE && type <= WIRE_SHOW && has_fd <= (type == WIRE_MEMORY || type == WIRE_SCREEN);
}

/* ---- QEMU ---- */

static void say(int fd, u32 request, const void *payload, u32 n, int passed)
{
	u32 h[3] = { request, 1, n };
	struct iovec iov[2] = { { h, sizeof(h) }, { (void *)payload, n } };

	must(send_pieces(fd, iov, 2, passed) > 0);
}

static struct vm *vm_now(struct tenant *t)
{
	return list_empty(&t->conns) ? NULL : vm_of(list_first_entry(&t->conns, struct conn, link));
}

static void listen_to(struct tenant *t, int fd)
{
	struct vm *v = vm_now(t);
	u8 sink[4096];

	if (v && !v->conn.ended)
		v->conn.watch.ready(&v->conn.watch, EPOLLIN);
	while (recv(fd, sink, sizeof(sink), MSG_DONTWAIT) > 0)
		;
}

/* A machine whose rings lie at the start of its memory. */
static void start(struct tenant *t, int fd, int memory, int display)
{
	u64 features = 1ull << 32 | 1ull << 30 | 1ull << 29 | 1;
	u64 table[5] = { 1, 0, MEMORY, 0x10000000, 0 };
	int event = eventfd(0, EFD_NONBLOCK);

	say(fd, 2, &features, 8, -1);
	say(fd, 33, NULL, 0, display);
	say(fd, 5, table, sizeof(table), memory);
	for (u32 i = 0; i < 2; i++) {
		struct vhost_vring_addr a = { .index = i };
		u64 word = i;

		a.desc_user_addr = 0x10000000 + i * 1024;
		a.avail_user_addr = a.desc_user_addr + 256;
		a.used_user_addr = a.desc_user_addr + 512;
		say(fd, 8, (u32[]){ i, 16 }, 8, -1);
		say(fd, 10, (u32[]){ i, 0 }, 8, -1);
		say(fd, 9, &a, sizeof(a), -1);
		say(fd, 12, &word, 8, event);
		say(fd, 13, &word, 8, event);
		say(fd, 18, (u32[]){ i, 1 }, 8, -1);
	}
	listen_to(t, fd);
	close(event);
}

static int make_memory(u8 **map)
{
	int fd = memfd_create("fuzz", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	must(fd >= 0 && !ftruncate(fd, MEMORY) && !fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK));
	*map = mmap(NULL, MEMORY, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	return fd;
}

/* Requests in good rings: a byte (ring and length in words), then the words. */
static void ask_all(struct vm *v, u8 *map, const u8 *data, size_t size, int display)
{
	u16 idx[2] = { 0 };
	u8 sink[4096];

	while (size) {
		u32 i = data[0] & 1, n = min((size_t)(data[0] >> 1) * 4, size - 1);
		struct vring_desc d[2] = { { 0x1000, n, VRING_DESC_F_NEXT, 1 },
					   { 0x4000, 4096, VRING_DESC_F_WRITE, 0 } };

		if (v->rings[i].kick.fd < 0)
			return;
		memcpy(map + 0x1000, data + 1, n);
		memcpy(map + i * 1024, d, sizeof(d));
		idx[i]++;
		memcpy(map + i * 1024 + 256 + 2, &idx[i], 2);
		v->rings[i].kick.ready(&v->rings[i].kick, EPOLLIN);
		while (recv(display, sink, sizeof(sink), MSG_DONTWAIT) > 0)
			;
		data += n + 1;
		size -= n + 1;
	}
}

static void run(struct tenant *t, int fd, const u8 *data, size_t size)
{
	int memory, display[2];
	u8 *map, sink[4096];
	struct vm *v;

	must(!socketpair(AF_UNIX, SOCK_STREAM, 0, display));
	memory = make_memory(&map);
	if (data[0] & 3)
		start(t, fd, memory, display[1]);
	close(display[1]);
	v = vm_now(t);
	if ((data[0] & 3) == 1 && v) {
		ask_all(v, map, data + 1, size - 1, display[0]);
	} else if ((data[0] & 3) == 2) {
		memcpy(map, data + 1, min(size - 1, (size_t)MEMORY));
		for (u32 i = 0; i < 4 && v && v->rings[i & 1].kick.fd >= 0; i++) {
			v->rings[i & 1].kick.ready(&v->rings[i & 1].kick, EPOLLIN);
			while (recv(display[0], sink, sizeof(sink), MSG_DONTWAIT) > 0)
				;
		}
	} else if ((data[0] & 3) == 3) {
		(void)!send(display[0], data + 1, size - 1, MSG_DONTWAIT | MSG_NOSIGNAL);
		for (u32 i = 0; i < 16 && v && v->display.watch.fd >= 0; i++)
			v->display.watch.ready(&v->display.watch, EPOLLIN);
	} else {
		(void)!send(fd, data + 1, size - 1, MSG_DONTWAIT | MSG_NOSIGNAL);
		listen_to(t, fd);
	}
	close(display[0]);
	munmap(map, MEMORY);
	close(memory);
}

int LLVMFuzzerTestOneInput(const u8 *data, size_t size)
{
	struct broker b;
	struct tenant t;
	int pair[2];

	if (!size || socketpair(AF_UNIX, SOCK_STREAM, 0, pair))
		return 0;
	tenant_begin(&t, &b);
	vm_accept(&t, pair[0]);
	run(&t, pair[1], data, size);
	close(pair[1]);
	tenant_end(&t);
	return 0;
}
