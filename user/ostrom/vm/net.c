/* SPDX-License-Identifier: MIT
 *
 * Problem: the guest's network.
 *
 * Idea: virtio-net on a packet socket of one of the host's interfaces: the guest is one more station on that wire, with
 * an address of its own. What it sends goes out as it is, what comes for its address or for many is copied to it.
 *
 *      guest --queue 1--> sendmsg --> [interface] --> recvmsg --queue 0--> guest      12 bytes of header, all zero
 *
 * Contract: vm.h; no offloads are offered, so every frame is complete. A frame that comes while the guest has no room
 * waits in the socket's buffer. The host itself and the guest do not hear each other on the wire, as with every station
 * that shares a port. Needs CAP_NET_RAW when it is opened, not later. Source: VIRTIO 1.2, 5.1; packet(7).
 *
 * Locks: vm->lock, held by every caller.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/virtio_net.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>
#include "ostrom.h"
#include "virtio.h"

#define HEADER    12 /* struct virtio_net_hdr_v1 */
#define FRAME_MAX 65536
#define BATCH     64
enum { RX, TX };

static struct nic {
	struct virtio_chain waiting; /* taken, and no frame for it yet */
	bool has_waiting;
} nic;
static uint8_t frame[HEADER + FRAME_MAX];

/* ---- to the wire ---- */

static void send_chain(struct virtio_device *d, struct virtio_chain *c)
{
	size_t n = virtio_copy_out(c, 0, frame, sizeof(frame));

	if (n >= HEADER + ETH_HLEN && n == virtio_bytes(c->out, c->nr_out))
		(void)!send(d->fd, frame + HEADER, n - HEADER, MSG_DONTWAIT); /* a wire may lose a frame */
}

/* ---- from the wire ---- */

static bool for_us(const struct virtio_device *d, const struct sockaddr_ll *from)
{
	return from->sll_pkttype != PACKET_OUTGOING &&
	       ((frame[HEADER] & 1) || !memcmp(frame + HEADER, d->config, ETH_ALEN));
}

static bool next_room(struct virtio_device *d)
{
	if (!nic.has_waiting)
		nic.has_waiting = virtio_take(d, RX, &nic.waiting);
	return nic.has_waiting;
}

static void deliver(struct virtio_device *d, size_t n)
{
	memset(frame, 0, HEADER);
	frame[10] = 1; /* num_buffers */
	if (virtio_bytes(nic.waiting.in, nic.waiting.nr_in) < HEADER + n)
		return; /* larger than the guest takes: lost */
	virtio_copy_in(&nic.waiting, 0, frame, HEADER + n);
	virtio_give(d, RX, &nic.waiting, (uint32_t)(HEADER + n));
	nic.has_waiting = false;
}

static void ready(struct virtio_device *d)
{
	bool any = false;

	for (int i = 0; i < BATCH; i++) {
		struct sockaddr_ll from = { 0 };
		socklen_t len = sizeof(from);
		ssize_t n;

		d->full = !next_room(d);
		if (d->full)
			break;
		n = recvfrom(d->fd, frame + HEADER, FRAME_MAX, MSG_DONTWAIT, (struct sockaddr *)&from, &len);
		if (n < 0)
			break;
		if (n < ETH_HLEN || !for_us(d, &from))
			continue;
		deliver(d, (size_t)n);
		any |= !nic.has_waiting;
	}
	if (any)
		virtio_tell(d, RX);
}

static void kick(struct virtio_device *d, unsigned queue)
{
	struct virtio_chain c;
	bool any = false;

	if (queue == RX) {
		if (d->full)
			vm_wake(d->vm);
		d->full = false; /* there is room again */
		return;
	}
	while (virtio_take(d, TX, &c)) {
		send_chain(d, &c);
		virtio_give(d, TX, &c, 0);
		any = true;
	}
	if (any)
		virtio_tell(d, TX);
}

static void reset(struct virtio_device *d)
{
	nic.has_waiting = false;
}

static const struct virtio_kind kind = {
	.name = "net", .id = 1, .features = 1ULL << VIRTIO_NET_F_MAC, .kick = kick, .ready = ready, .reset = reset
};

/* ---- life ---- */

static int open_interface(const char *name)
{
	struct packet_mreq all = { .mr_ifindex = (int)if_nametoindex(name), .mr_type = PACKET_MR_PROMISC };
	struct sockaddr_ll at = { .sll_family = AF_PACKET,
				  .sll_protocol = htons(ETH_P_ALL),
				  .sll_ifindex = all.mr_ifindex };
	int fd = all.mr_ifindex ? socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, htons(ETH_P_ALL)) : -1;

	if (fd >= 0 && bind(fd, (struct sockaddr *)&at, sizeof(at)) == 0) {
		/* some interfaces hear everything anyhow, and refuse */
		(void)!setsockopt(fd, SOL_PACKET, PACKET_ADD_MEMBERSHIP, &all, sizeof(all));
		return fd;
	}
	say_error("--net %s: %s", name, strerror(errno));
	if (fd >= 0)
		close(fd);
	return -1;
}

int vm_net_device(struct vm *vm, int fd)
{
	struct virtio_device *d = virtio_add(vm, &kind, &nic, 2);

	if (!d || getrandom(d->config, ETH_ALEN, 0) != ETH_ALEN)
		return -1;
	d->config[0] = (uint8_t)((d->config[0] & ~1) | 2); /* one station's, given locally */
	d->fd = fd;
	return 0;
}

int vm_net(struct vm *vm, const char *interface)
{
	int fd = open_interface(interface);

	return fd < 0 ? -1 : vm_net_device(vm, fd);
}
