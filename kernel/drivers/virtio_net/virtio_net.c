/* SPDX-License-Identifier: MIT
 *
 * Problem: the network card of most virtual machines.
 *
 * Idea: one queue each way. Received frames land in packets that stand ready in the receive ring, a small header in
 * front (in the packet's headroom, so that one buffer does); the interrupt queues a deferred job that hands them up and
 * puts new ones in. Sent frames are given back without an interrupt, when the next one goes out; only a full ring asks
 * for one.
 *
 *      [virtio_net_hdr][Ethernet][IP]...      one descriptor, of packet->head's memory
 *
 * Contract: net/device.h. Format: VIRTIO 1.2, section 5.1. Checksums are left to the device where it offers that.
 *
 * Locks: tx_lock (RANK_DRIVER, irqsave) around the transmit ring; the receive ring belongs to its deferred job.
 */
#include <alloc/slab.h>
#include <arch/cpu.h>
#include <arch/mmu.h>
#include <core/init.h>
#include <core/irq.h>
#include <core/log.h>
#include <core/random.h>
#include <core/spin.h>
#include <device/virtio.h>
#include <lib/err.h>
#include <lib/string.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/virtio_ids.h>
#include <linux/virtio_net.h>
#include <net/device.h>
#include <net/net.h>

#define RING       256
#define FRAME_MOST 1518 /* and 4 of a VLAN's tag */
#define HEADER     sizeof(struct virtio_net_hdr_mrg_rxbuf)
#define WAITING    512 /* frames that wait for room in the ring */
#define BUDGET     64

struct nic {
	struct net_device dev;
	struct virtio_dev *virtio;
	struct virtqueue *rx, *tx;
	struct deferred receive, sent;
	struct spinlock tx_lock;
	struct list waiting; /* tx_lock */
	u32 nr_waiting;
	bool device_sums;
};

/* ---- receiving ----------------------------------------------------------------------------------------------------
 */

/* Puts fresh packets into the ring. True: it has some. */
static bool refill(struct nic *n)
{
	bool any = false;

	while (n->rx->nr_free) {
		struct packet *p = packet_alloc(HEADER + FRAME_MOST + 4, ALLOC_ATOMIC);
		struct virtio_buf b;

		if (!p)
			break;
		b = (struct virtio_buf){ virt_to_phys(p->data), (u32)(p->end - p->data), true };
		if (virtqueue_add(n->rx, &b, 1, p)) {
			packet_free(p);
			break;
		}
		any = true;
	}
	if (any)
		virtqueue_kick(n->rx);
	return n->rx->nr_free != n->rx->size;
}

static void take_frame(struct nic *n, struct packet *p, u32 len)
{
	struct virtio_net_hdr_v1 h;

	if (len < HEADER + ETHERNET_HEADER || len > (u32)(p->end - p->data)) {
		__atomic_fetch_add(&n->dev.in.errors, 1, __ATOMIC_RELAXED);
		packet_free(p);
		return;
	}
	memcpy(&h, p->data, sizeof(h));
	p->tail = p->data + len;
	p->data += HEADER;
	/* NEEDS_CSUM: it comes from this very machine's neighbour, undone; DATA_VALID: the device has looked. */
	p->sum_ok = h.flags & (VIRTIO_NET_HDR_F_DATA_VALID | VIRTIO_NET_HDR_F_NEEDS_CSUM);
	p->sum_later = h.flags & VIRTIO_NET_HDR_F_NEEDS_CSUM;
	net_device_receive(&n->dev, p);
}

static void receive(struct deferred *d)
{
	struct nic *n = container_of(d, struct nic, receive);
	int budget = BUDGET;
	struct packet *p;
	u32 len;

	do {
		while (budget-- && (p = virtqueue_get(n->rx, &len)))
			take_frame(n, p, len);
		if (!refill(n))
			log_warn("%s: no memory to receive", n->dev.name);
		if (budget < 0) {
			deferred_queue(d);
			return;
		}
	} while (!virtqueue_irq_on(n->rx));
}

static void on_receive(struct virtqueue *vq)
{
	struct nic *n = vq->priv;

	virtqueue_irq_off(vq);
	deferred_queue(&n->receive);
}

/* ---- sending -------------------------------------------------------------------------------------------------------
 */

/* Where the transport's header begins, counted from the frame. 0: not a packet whose checksum the device can do. */
static u16 transport_at(const struct packet *p, u8 *protocol)
{
	const struct iphdr *h4 = (const struct iphdr *)(p->data + ETHERNET_HEADER);
	const struct ipv6hdr *h6 = (const struct ipv6hdr *)h4;

	if (h4->version == 4) {
		*protocol = h4->protocol;
		return (u16)(ETHERNET_HEADER + h4->ihl * 4);
	}
	*protocol = h6->nexthdr;
	return ETHERNET_HEADER + sizeof(*h6);
}

static u16 pseudo_sum(const struct packet *p, u16 at, u8 protocol)
{
	const u8 *ip = p->data + ETHERNET_HEADER;
	u32 len = (u32)packet_len(p) - at;
	u64 sum = (u64)__builtin_bswap16(protocol) + __builtin_bswap16((u16)len);
	bool v4 = *ip >> 4 == 4;
	const u8 *from = ip + (v4 ? 12 : 8);

	for (unsigned i = 0; i < (v4 ? 8U : 32U); i += 2) {
		u16 word;

		memcpy(&word, from + i, sizeof(word));
		sum += word;
	}
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (u16)sum;
}

/* The header in front of the frame. What the transport left undone the device finishes, from the pseudo header's sum
 * on. */
static void push_header(struct packet *p)
{
	struct virtio_net_hdr_v1 h = { .num_buffers = 0 };

	if (p->sum_later) {
		u8 protocol;
		u16 at = transport_at(p, &protocol), sum = pseudo_sum(p, at, protocol);

		h.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM;
		h.csum_start = at;
		h.csum_offset = protocol == IPPROTO_TCP ? 16 : 6;
		memcpy(p->data + at + h.csum_offset, &sum, sizeof(sum));
	}
	memcpy(packet_push(p, HEADER), &h, sizeof(h));
}

static void free_sent(struct nic *n)
{
	struct packet *p;

	assert_held(&n->tx_lock);
	while ((p = virtqueue_get(n->tx, NULL)))
		packet_free(p);
}

/* Into the ring, or into the queue that waits for room in it. Consumes p. */
static void put(struct nic *n, struct packet *p)
{
	struct virtio_buf b = { virt_to_phys(p->data), (u32)packet_len(p), false };

	if (list_empty(&n->waiting) && !virtqueue_add(n->tx, &b, 1, p))
		return;
	if (n->nr_waiting >= WAITING) {
		net_count_drop(&n->dev.out);
		packet_free(p);
		return;
	}
	list_add_tail(&p->link, &n->waiting);
	n->nr_waiting++;
	if (virtqueue_irq_on(n->tx))
		return;
	deferred_queue(&n->sent);
}

static void transmit(struct net_device *d, struct packet *p)
{
	struct nic *n = d->priv;
	ulong irq;

	if (p->data - p->head < (ssize_t)HEADER) {
		packet_free(p);
		return;
	}
	push_header(p);
	irq = spin_lock_irqsave(&n->tx_lock);
	free_sent(n);
	put(n, p);
	virtqueue_kick(n->tx);
	spin_unlock_irqrestore(&n->tx_lock, irq);
}

static void sent(struct deferred *d)
{
	struct nic *n = container_of(d, struct nic, sent);
	ulong irq = spin_lock_irqsave(&n->tx_lock);
	struct packet *p;

	free_sent(n);
	while ((p = list_first_or_null(&n->waiting, struct packet, link))) {
		struct virtio_buf b = { virt_to_phys(p->data), (u32)packet_len(p), false };

		if (virtqueue_add(n->tx, &b, 1, p))
			break;
		list_del(&p->link);
		n->nr_waiting--;
	}
	virtqueue_kick(n->tx);
	if (!list_empty(&n->waiting) && !virtqueue_irq_on(n->tx))
		deferred_queue(d);
	spin_unlock_irqrestore(&n->tx_lock, irq);
}

static void on_sent(struct virtqueue *vq)
{
	struct nic *n = vq->priv;

	virtqueue_irq_off(vq);
	deferred_queue(&n->sent);
}

/* ---- life
 * ------------------------------------------------------------------------------------------------------------ */

static const struct net_device_ops ops = { .transmit = transmit };

static void read_config(struct nic *n)
{
	struct virtio_dev *d = n->virtio;
	u64 address = random_u64();

	memcpy(n->dev.address, &address, ETHERNET_ADDRESS);
	n->dev.address[0] = (n->dev.address[0] & 0xfe) | 2;
	if (virtio_has(d, VIRTIO_NET_F_MAC))
		virtio_config(d, offsetof(struct virtio_net_config, mac), n->dev.address, ETHERNET_ADDRESS);
	n->dev.sums_later = virtio_has(d, VIRTIO_NET_F_CSUM);
}

static int create_queues(struct nic *n)
{
	int err = virtqueue_create(n->virtio, 0, RING, 0, on_receive, &n->rx);

	if (!err)
		err = virtqueue_create(n->virtio, 1, RING, cpu_count() > 1, on_sent, &n->tx);
	if (err)
		return err;
	n->rx->priv = n->tx->priv = n;
	virtqueue_irq_off(n->tx);
	return 0;
}

static int probe(struct virtio_dev *d)
{
	struct nic *n = kzalloc(sizeof(*n), ALLOC_KERNEL);
	int err;

	if (!n)
		return -ENOMEM;
	n->virtio = d;
	d->priv = n;
	net_device_init_card(&n->dev, &ops, n);
	read_config(n);
	spin_init(&n->tx_lock, RANK_DRIVER);
	list_init(&n->waiting);
	deferred_init(&n->receive, receive);
	deferred_init(&n->sent, sent);
	err = create_queues(n);
	if (err)
		return err; /* the device stays in FAILED; its rings may still be known to it and are not freed */
	virtio_ready(d);
	(void)!refill(n);
	mutex_lock(&net_config_lock);
	err = net_device_register(&n->dev, &net_init_ns);
	mutex_unlock(&net_config_lock);
	return err;
}

static struct virtio_driver virtio_net = {
	.name = "virtio_net",
	.id = VIRTIO_ID_NET,
	.features = BIT(VIRTIO_NET_F_MAC) | BIT(VIRTIO_NET_F_CSUM) | BIT(VIRTIO_NET_F_GUEST_CSUM),
	.probe = probe,
};

static void virtio_net_register(void)
{
	virtio_register(&virtio_net);
}
PART_INIT(core, virtio_net_register);
