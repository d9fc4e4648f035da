/* SPDX-License-Identifier: MIT
 *
 * Problem: Intel's 82574 network card, as it is in many machines and in virtual ones (QEMU's e1000e).
 *
 * Idea: a ring of legacy descriptors each way. Every receive descriptor always has a packet: a frame goes up only if a
 * fresh packet can take its place, else it is dropped and its packet used again. The card judges the checksums of what
 * it receives. Sent frames are given back when the next one goes out; only a full ring asks for an interrupt. One
 * message interrupt: reading ICR clears all causes, so the handler looks after each that it finds, masked or not.
 *
 *      hardware: [head ... tail)    ours: [tail ... head), filled and waiting to be shown, or done (DD)
 *
 * Contract: net/device.h. Registers and descriptors: Intel 82574 GbE Controller Family Datasheet, sections 4.6
 * (initialisation), 7.1.4 and 7.2.10 (legacy descriptors), 10.2 (registers).
 *
 * Locks: tx_lock (RANK_DRIVER, irqsave) around the transmit ring; the receive ring belongs to its deferred job;
 * net_config_lock for the link.
 */
#include <alloc/kmap.h>
#include <alloc/page.h>
#include <arch/io.h>
#include <core/clock.h>
#include <core/init.h>
#include <core/irq.h>
#include <core/log.h>
#include <core/spin.h>
#include <device/pci.h>
#include <lib/err.h>
#include <lib/string.h>
#include <net/device.h>
#include <net/net.h>
#include <task/sched.h>
#include <task/task.h>
#include <task/work.h>

#define VENDOR_INTEL   0x8086
#define DEVICE_82574L  0x10d3
#define DEVICE_82574LA 0x10f6

#define REG_CTRL   0x0000
#define REG_STATUS 0x0008
#define REG_EECD   0x0010
#define REG_ICR    0x00c0
#define REG_IMS    0x00d0
#define REG_IMC    0x00d8
#define REG_RCTL   0x0100
#define REG_TCTL   0x0400
#define REG_RX     0x2800 /* of the ring: RING_* */
#define REG_TX     0x3800
#define REG_TXDCTL 0x3828
#define REG_MPC    0x4010
#define REG_RXCSUM 0x5000
#define REG_RFCTL  0x5008
#define REG_RAL    0x5400
#define REG_RAH    0x5404

#define RING_BASE 0x00
#define RING_LEN  0x08
#define RING_HEAD 0x10
#define RING_TAIL 0x18

#define CTRL_MASTER_OFF  BIT(2)
#define CTRL_LINK_UP     BIT(6)
#define CTRL_RESET       BIT(26)
#define STATUS_LINK      BIT(1)
#define STATUS_MASTER    BIT(19)
#define EECD_LOADED      BIT(9)
#define CAUSE_SENT       BIT(0)
#define CAUSE_LINK       BIT(2)
#define CAUSE_OVERRUN    BIT(6)
#define CAUSES_RECEIVED  (BIT(4) | BIT(6) | BIT(7)) /* few left, overrun, timer */
#define RCTL_ON          BIT(1)
#define RCTL_MULTICAST   BIT(4)
#define RCTL_BROADCAST   BIT(15)
#define RCTL_STRIP_CRC   BIT(26) /* buffers of 2048 bytes, no long frames: zeros */
#define TCTL_ON          BIT(1)
#define TCTL_PAD         BIT(3)
#define TXDCTL_EACH      (BIT(24) | BIT(22) | 1 << 16) /* written back one by one; bit 22 is to be set */
#define RXCSUM_TRANSPORT BIT(9)
#define RXCSUM_IP        BIT(8)
#define RAH_VALID        BIT(31)

struct rx_desc {
	u64 address;
	u16 len, sum;
	u8 status, errors;
	u16 vlan;
};
#define RX_DONE    BIT(0)
#define RX_LAST    BIT(1)
#define RX_NO_SUM  BIT(2)
#define RX_SUM     (BIT(4) | BIT(5)) /* of UDP, TCP: looked at */
#define RX_BAD     (BIT(0) | BIT(1) | BIT(2) | BIT(7))
#define RX_BAD_SUM (BIT(5) | BIT(6))

struct tx_desc {
	u64 address;
	u16 len;
	u8 sum_at, command, status, sum_from;
	u16 vlan;
};
#define TX_LAST   BIT(0)
#define TX_CRC    BIT(1)
#define TX_REPORT BIT(3)
#define TX_DONE   BIT(0)

#define RING     256
#define BUFFER   2048
#define WAITING  512 /* frames that wait for room in the ring */
#define BUDGET   64
#define RESET_MS 100

_Static_assert(RING * sizeof(struct rx_desc) == PAGE_SIZE && sizeof(struct tx_desc) == sizeof(struct rx_desc),
	       "a ring is a page");

struct nic {
	struct net_device dev;
	struct pci_dev *pci;
	void *regs;
	struct deferred receive, sent;
	struct work link;

	struct rx_desc *rx;
	struct packet *rx_packets[RING];
	unsigned rx_next; /* to be looked at */

	struct spinlock tx_lock;
	struct tx_desc *tx; /* tx_lock from here */
	struct packet *tx_packets[RING];
	unsigned tx_next, tx_oldest;
	struct list waiting;
	u32 nr_waiting;
};

static u32 get(const struct nic *n, unsigned reg)
{
	return mmio_read32(n->regs + reg);
}

static void set(struct nic *n, unsigned reg, u32 value)
{
	mmio_write32(n->regs + reg, value);
}

/* ---- receiving ----------------------------------------------------------------------------------------------------
 */

static void arm(struct nic *n, unsigned i, struct packet *p)
{
	n->rx_packets[i] = p;
	n->rx[i] = (struct rx_desc){ .address = virt_to_phys(p->data) };
}

static void take_frame(struct nic *n, unsigned i)
{
	const struct rx_desc d = n->rx[i];
	struct packet *p = n->rx_packets[i], *fresh;

	if (d.errors & RX_BAD || !(d.status & RX_LAST) || d.len < ETHERNET_HEADER || d.len > BUFFER) {
		__atomic_fetch_add(&n->dev.in.errors, 1, __ATOMIC_RELAXED);
		arm(n, i, p);
		return;
	}
	fresh = packet_alloc(BUFFER, ALLOC_ATOMIC);
	if (!fresh) {
		net_count_drop(&n->dev.in);
		arm(n, i, p);
		return;
	}
	arm(n, i, fresh);
	p->tail = p->data + d.len;
	p->sum_ok = d.status & RX_SUM && !(d.status & RX_NO_SUM) && !(d.errors & RX_BAD_SUM);
	net_device_receive(&n->dev, p);
}

static void receive(struct deferred *d)
{
	struct nic *n = container_of(d, struct nic, receive);
	unsigned taken = 0;

	while (taken < BUDGET && smp_load_acquire(&n->rx[n->rx_next].status) & RX_DONE) {
		take_frame(n, n->rx_next);
		n->rx_next = (n->rx_next + 1) % RING;
		taken++;
	}
	if (taken) {
		smp_wmb();
		set(n, REG_RX + RING_TAIL, (n->rx_next + RING - 1) % RING);
	}
	if (taken == BUDGET)
		deferred_queue(d);
	else
		set(n, REG_IMS, CAUSES_RECEIVED); /* what came meanwhile interrupts at once */
}

/* ---- sending -------------------------------------------------------------------------------------------------------
 */

static void free_sent(struct nic *n)
{
	assert_held(&n->tx_lock);
	while (n->tx_oldest != n->tx_next && smp_load_acquire(&n->tx[n->tx_oldest].status) & TX_DONE) {
		packet_free(n->tx_packets[n->tx_oldest]);
		n->tx_oldest = (n->tx_oldest + 1) % RING;
	}
}

/* False: the ring is full. */
static bool put(struct nic *n, struct packet *p)
{
	unsigned i = n->tx_next, next = (i + 1) % RING;

	assert_held(&n->tx_lock);
	if (next == n->tx_oldest)
		return false;
	n->tx_packets[i] = p;
	n->tx[i] = (struct tx_desc){ .address = virt_to_phys(p->data),
				     .len = (u16)packet_len(p),
				     .command = TX_LAST | TX_CRC | TX_REPORT };
	n->tx_next = next;
	return true;
}

static void show(struct nic *n)
{
	smp_wmb();
	set(n, REG_TX + RING_TAIL, n->tx_next);
}

static void transmit(struct net_device *d, struct packet *p)
{
	struct nic *n = d->priv;
	ulong irq = spin_lock_irqsave(&n->tx_lock);

	free_sent(n);
	if (list_empty(&n->waiting) && put(n, p)) {
		show(n);
	} else if (n->nr_waiting >= WAITING) {
		net_count_drop(&d->out);
		packet_free(p);
	} else {
		list_add_tail(&p->link, &n->waiting);
		n->nr_waiting++;
		set(n, REG_IMS, CAUSE_SENT);
	}
	spin_unlock_irqrestore(&n->tx_lock, irq);
}

static void sent(struct deferred *d)
{
	struct nic *n = container_of(d, struct nic, sent);
	ulong irq = spin_lock_irqsave(&n->tx_lock);
	unsigned before = n->tx_next;
	struct packet *p;

	free_sent(n);
	while ((p = list_first_or_null(&n->waiting, struct packet, link)) && put(n, p)) {
		list_del(&p->link);
		n->nr_waiting--;
	}
	if (n->tx_next != before)
		show(n);
	if (n->nr_waiting)
		set(n, REG_IMS, CAUSE_SENT);
	spin_unlock_irqrestore(&n->tx_lock, irq);
}

/* ---- interrupts and the link ---------------------------------------------------------------------------------------
 */

static void interrupt(void *arg)
{
	struct nic *n = arg;
	u32 causes = get(n, REG_ICR);

	if (causes & CAUSES_RECEIVED) {
		set(n, REG_IMC, CAUSES_RECEIVED);
		deferred_queue(&n->receive);
	}
	if (causes & CAUSE_OVERRUN)
		__atomic_fetch_add(&n->dev.in.dropped, get(n, REG_MPC), __ATOMIC_RELAXED);
	if (causes & CAUSE_SENT) {
		set(n, REG_IMC, CAUSE_SENT);
		deferred_queue(&n->sent);
	}
	if (causes & CAUSE_LINK)
		work_queue(&n->link);
}

static void look_at_link(struct work *w)
{
	struct nic *n = container_of(w, struct nic, link);

	mutex_lock(&net_config_lock);
	net_device_set_carrier(&n->dev, get(n, REG_STATUS) & STATUS_LINK);
	mutex_unlock(&net_config_lock);
}

/* ---- life
 * ------------------------------------------------------------------------------------------------------------ */

static const struct net_device_ops ops = { .transmit = transmit };

static int wait_for(struct nic *n, unsigned reg, u32 mask, u32 value)
{
	u64 deadline = clock_ns() + RESET_MS * NSEC_PER_MSEC;

	while ((get(n, reg) & mask) != value) {
		if (clock_ns() > deadline)
			return -ETIMEDOUT;
		sched_nap(NSEC_PER_MSEC);
	}
	return 0;
}

/* Section 4.6.2: the card is quiet, then as after power on, its address read from its EEPROM. */
static int reset(struct nic *n)
{
	int err;

	set(n, REG_IMC, ~0U);
	set(n, REG_RCTL, 0);
	set(n, REG_TCTL, TCTL_PAD);
	set(n, REG_CTRL, get(n, REG_CTRL) | CTRL_MASTER_OFF);
	if (wait_for(n, REG_STATUS, STATUS_MASTER, 0))
		log_warn("e1000e: requests of the card do not end");
	set(n, REG_CTRL, get(n, REG_CTRL) | CTRL_RESET);
	sched_nap(NSEC_PER_MSEC); /* before the first access */
	err = wait_for(n, REG_EECD, EECD_LOADED, EECD_LOADED);
	set(n, REG_IMC, ~0U);
	(void)get(n, REG_ICR);
	return err ? fail(EIO, "e1000e: no end of the reset") : 0;
}

static int read_address(struct nic *n)
{
	u32 low = get(n, REG_RAL), high = get(n, REG_RAH);

	if (!(high & RAH_VALID))
		return fail(EIO, "e1000e: the card has no address");
	memcpy(n->dev.address, &low, 4);
	memcpy(n->dev.address + 4, &high, 2);
	return 0;
}

static void start_ring(struct nic *n, unsigned reg, const void *ring)
{
	set(n, reg + RING_BASE, (u32)virt_to_phys(ring));
	set(n, reg + RING_BASE + 4, virt_to_phys(ring) >> 32);
	set(n, reg + RING_LEN, PAGE_SIZE);
	set(n, reg + RING_HEAD, 0);
	set(n, reg + RING_TAIL, 0);
}

static int make_rings(struct nic *n)
{
	struct page *rx = page_alloc(0, ALLOC_ZERO, NULL), *tx = page_alloc(0, ALLOC_ZERO, NULL);

	n->rx = rx ? page_virt(rx) : NULL;
	n->tx = tx ? page_virt(tx) : NULL;
	for (unsigned i = 0; rx && i < RING; i++) {
		struct packet *p = packet_alloc(BUFFER, ALLOC_KERNEL);

		if (!p)
			return -ENOMEM;
		arm(n, i, p);
	}
	return rx && tx ? 0 : -ENOMEM;
}

/* Only for a card that has not been told of them. */
static void free_nic(struct nic *n)
{
	for (unsigned i = 0; i < RING; i++)
		if (n->rx_packets[i])
			packet_free(n->rx_packets[i]);
	if (n->rx)
		page_put(virt_to_page(n->rx));
	if (n->tx)
		page_put(virt_to_page(n->tx));
	io_unmap(n->regs);
	kfree(n);
}

/* It sends; what it receives is dropped. */
static void start(struct nic *n)
{
	set(n, REG_RFCTL, 0); /* legacy descriptors */
	set(n, REG_RXCSUM, RXCSUM_TRANSPORT | RXCSUM_IP);
	start_ring(n, REG_RX, n->rx);
	start_ring(n, REG_TX, n->tx);
	set(n, REG_TXDCTL, TXDCTL_EACH);
	set(n, REG_TCTL, get(n, REG_TCTL) | TCTL_ON | TCTL_PAD);
}

static void start_receiving(struct nic *n)
{
	set(n, REG_RCTL, RCTL_ON | RCTL_MULTICAST | RCTL_BROADCAST | RCTL_STRIP_CRC);
	set(n, REG_RX + RING_TAIL, RING - 1);
	set(n, REG_CTRL, get(n, REG_CTRL) | CTRL_LINK_UP);
	set(n, REG_IMS, CAUSES_RECEIVED | CAUSE_LINK);
}

static bool match(const struct pci_dev *d)
{
	return d->vendor == VENDOR_INTEL && (d->device == DEVICE_82574L || d->device == DEVICE_82574LA);
}

static void init(struct nic *n, struct pci_dev *d)
{
	n->pci = d;
	d->priv = n;
	net_device_init_card(&n->dev, &ops, n);
	spin_init(&n->tx_lock, RANK_DRIVER);
	list_init(&n->waiting);
	deferred_init(&n->receive, receive);
	deferred_init(&n->sent, sent);
	work_init(&n->link, look_at_link);
}

static int probe(struct pci_dev *d)
{
	struct nic *n = kzalloc(sizeof(*n), ALLOC_KERNEL);
	int err;

	if (!n)
		return -ENOMEM;
	init(n, d);
	pci_enable(d);
	n->regs = pci_map_bar(d, 0, 0, 0);
	err = n->regs ? reset(n) : -ENODEV;
	if (!err)
		err = read_address(n);
	if (!err)
		err = make_rings(n);
	if (!err)
		err = min(pci_msi_request(d, interrupt, n, 0, "e1000e"), 0);
	if (err) {
		free_nic(n);
		return err;
	}
	start(n); /* from its registration on it may be told to send */
	mutex_lock(&net_config_lock);
	net_device_set_carrier(&n->dev, get(n, REG_STATUS) & STATUS_LINK);
	err = net_device_register(&n->dev, &net_init_ns);
	mutex_unlock(&net_config_lock);
	if (err) {
		pci_msi_disable(d);
		if (!reset(n)) /* else the rings may still be the card's */
			free_nic(n);
		return err;
	}
	start_receiving(n);
	return 0;
}

static struct pci_driver driver = { .name = "e1000e", .match = match, .probe = probe };

static void e1000e_register(void)
{
	pci_register(&driver);
}
PART_INIT(core, e1000e_register);
