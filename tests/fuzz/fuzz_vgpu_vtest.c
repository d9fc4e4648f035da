/* SPDX-License-Identifier: MIT
 *
 * Problem: the vtest front end reads whatever a client's socket brings, in pieces of any size, into a process that
 * serves all tenants.
 *
 * Idea: the front end itself (vtest.c) with a real socket pair; vgpu_broker.h plays the device: it takes commands from
 * the queue as device.c would and checks that each is a whole wire message. The input is cut into pieces of varying
 * length. At the end the connection is freed and the account must be zero and no descriptor left.
 *
 * Contract: libFuzzer target, ASan and UBSan. Input: bytes of a client; the first says how they are cut. Locks: none.
 */
// links: user/ostrom/gpu/vtest.c user/ostrom/gpu/conn.c
#include <sys/epoll.h>
#include "vgpu_broker.h"

static bool may_queue(u32 type, bool has_fd)
{
	return type >= WIRE_CTX_CREATE && type < WIRE_END && has_fd <= (type == WIRE_RES_CREATE);
}

/* ---- one client ---- */

static void feed(struct tenant *t, int fd, const u8 *data, size_t size, u32 piece)
{
	u8 sink[4096];

	while (size && !list_empty(&t->conns)) {
		struct conn *c = list_first_entry(&t->conns, struct conn, link);
		size_t n = min(size, (size_t)piece);

		n = max(send(fd, data, n, MSG_DONTWAIT | MSG_NOSIGNAL), 0l);
		data += n;
		size -= n;
		c->watch.ready(&c->watch, EPOLLIN | EPOLLOUT);
		if (piece % 3) /* some clients never read */
			while (recv(fd, sink, sizeof(sink), MSG_DONTWAIT) > 0)
				;
		else if (!n)
			break;
	}
}

static const u32 greeting[] = { 4, 8, 0x7a7a7566, 1, 11, 2, 11, 12, 1, 2, 67, 10, 64, 64, 1, 1, 0, 0, 16384 };

int LLVMFuzzerTestOneInput(const u8 *data, size_t size)
{
	struct broker b;
	struct tenant t;
	int pair[2];

	if (!size || socketpair(AF_UNIX, SOCK_STREAM, 0, pair))
		return 0;
	tenant_begin(&t, &b);
	vtest_accept(&t, pair[0]);
	if (data[0] & 0x80) /* a client that has already said who it is and owns a texture */
		feed(&t, pair[1], (const u8 *)greeting, sizeof(greeting), 4096);
	feed(&t, pair[1], data + 1, size - 1, 1 + (data[0] & 0x7f) * 32);
	close(pair[1]);
	tenant_end(&t);
	return 0;
}
