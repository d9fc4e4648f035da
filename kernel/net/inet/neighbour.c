/* SPDX-License-Identifier: MIT
 *
 * Problem: a packet for 10.0.2.2 needs the link address of that neighbour, which may have to be asked for, may be out
 * of date, or may never answer.
 *
 * Idea: a table of neighbours with the states of RFC 4861, 7.3.2, for ARP alike. While an answer is awaited a few
 * packets wait at the entry. One timer a namespace ticks only while some entry waits for something.
 *
 *      (send) -> INCOMPLETE -answer-> REACHABLE -30 s-> STALE -send-> DELAY -5 s-> PROBE -3 questions-> gone
 *                    '-3 questions-> gone, the packets' senders are told            '-answer-> REACHABLE
 *
 * Contract: inet_priv.h, net/inet.h.
 *
 * Locks: neighbour_lock; questions and packets go out after it is dropped.
 */
#include <core/clock.h>
#include <lib/err.h>
#include <lib/string.h>
#include <linux/if.h>
#include <linux/if_ether.h>
#include <linux/neighbour.h>

#include "inet_priv.h"

#define ASK_NS       NSEC_PER_SEC
#define REACHABLE_NS (30 * NSEC_PER_SEC)
#define DELAY_NS     (5 * NSEC_PER_SEC)
#define PROBES       3
#define WAITING_MOST 64
#define ENTRIES_MOST 1024
#define NUD_KNOWN    (NUD_REACHABLE | NUD_STALE | NUD_DELAY | NUD_PROBE | NUD_PERMANENT | NUD_NOARP)
#define NUD_WAITING  (NUD_INCOMPLETE | NUD_DELAY | NUD_PROBE)

struct neighbour {
	struct list link;
	struct net_device *dev;
	struct ip_addr addr;
	u8 mac[ETHERNET_ADDRESS];
	u16 state;
	u32 probes, nr_waiting;
	u64 due; /* of NUD_WAITING: when something must happen */
	u64 confirmed, used, updated;
	struct list waiting;
};

struct question { /* what has to be sent when the lock is dropped */
	struct net_device *dev;
	struct ip_addr addr;
	u8 mac[ETHERNET_ADDRESS];
	bool has_mac;
};

static struct list *bucket(struct inet_net *i, const struct ip_addr *a)
{
	u32 x = (a->w[3] ^ a->w[2] ^ a->w[1]) * 0x9e3779b1U;

	return &i->neighbours[x >> 26];
}

static struct neighbour *find(struct inet_net *i, const struct net_device *d, const struct ip_addr *a)
{
	struct neighbour *n;

	assert_held(&i->neighbour_lock);
	list_for_each_entry (n, bucket(i, a), link)
		if (n->dev == d && ip_addr_equal(&n->addr, a))
			return n;
	return NULL;
}

static void drop(struct inet_net *i, struct neighbour *n, struct list *packets)
{
	list_del(&n->link);
	list_splice_tail_init(&n->waiting, packets);
	i->nr_neighbours--;
	kfree(n);
}

/* Room for another: the one that was used least lately goes. */
static void make_room(struct inet_net *i, struct list *packets)
{
	struct neighbour *n, *oldest = NULL;

	if (i->nr_neighbours < ENTRIES_MOST)
		return;
	for (unsigned b = 0; b < NEIGHBOUR_BUCKETS; b++)
		list_for_each_entry (n, &i->neighbours[b], link)
			if (!(n->state & NUD_PERMANENT) && (!oldest || n->used < oldest->used))
				oldest = n;
	if (oldest)
		drop(i, oldest, packets);
}

static struct neighbour *create(struct inet_net *i, struct net_device *d, const struct ip_addr *a, struct list *packets)
{
	struct neighbour *n = kzalloc(sizeof(*n), ALLOC_ATOMIC);

	if (!n)
		return NULL;
	make_room(i, packets);
	n->dev = d;
	n->addr = *a;
	n->updated = n->used = clock_ns();
	list_init(&n->waiting);
	list_add(&n->link, bucket(i, a));
	i->nr_neighbours++;
	return n;
}

static void ask(const struct question *q)
{
	if (ip_addr_is_v4(&q->addr))
		arp_ask(q->dev, &q->addr, q->has_mac ? q->mac : NULL);
	else
		ndisc_ask(q->dev, &q->addr, q->has_mac ? q->mac : NULL);
}

static struct question question_of(struct neighbour *n)
{
	struct question q = { .dev = n->dev, .addr = n->addr, .has_mac = n->state == NUD_PROBE };

	memcpy(q.mac, n->mac, sizeof(q.mac));
	return q;
}

static void free_packets(struct list *packets)
{
	struct packet *p, *next;

	list_for_each_entry_safe (p, next, packets, link)
		packet_free(p);
}

static void tell_senders(struct net *net, struct list *packets)
{
	struct packet *p, *next;

	list_for_each_entry_safe (p, next, packets, link) {
		icmp_complain(net, p, WHY_NO_HOST, 0);
		packet_free(p);
	}
}

/* ---- sending -------------------------------------------------------------------------------------------------------
 */

/* The link address of a group (RFC 1112, 6.4; RFC 2464, 7). */
static void group_mac(const struct ip_addr *a, u8 *mac)
{
	const u8 *b = (const u8 *)a;

	if (ip_addr_is_v4(a)) {
		u8 m[ETHERNET_ADDRESS] = { 1, 0, 0x5e, b[13] & 0x7f, b[14], b[15] };

		memcpy(mac, m, sizeof(m));
	} else {
		u8 m[ETHERNET_ADDRESS] = { 0x33, 0x33, b[12], b[13], b[14], b[15] };

		memcpy(mac, m, sizeof(m));
	}
}

/* False: p waits at the entry (or was dropped for lack of room, *p NULL). */
static bool resolve(struct inet_net *i, struct net_device *d, const struct ip_addr *hop, struct packet **p, u8 *mac,
		    struct question *q, bool *must_ask, struct list *dropped)
{
	struct neighbour *n = find(i, d, hop);
	u64 now = clock_ns();

	if (!n) {
		n = create(i, d, hop, dropped);
		if (!n)
			return false;
		n->state = NUD_INCOMPLETE;
		n->probes = 1;
		n->due = now + ASK_NS;
		*q = question_of(n);
		*must_ask = true;
	}
	n->used = now;
	if (n->state & NUD_KNOWN) {
		memcpy(mac, n->mac, ETHERNET_ADDRESS);
		if (n->state == NUD_REACHABLE && now - n->confirmed > REACHABLE_NS)
			n->state = NUD_STALE;
		if (n->state == NUD_STALE) {
			n->state = NUD_DELAY;
			n->due = now + DELAY_NS;
		}
		return true;
	}
	if (n->nr_waiting < WAITING_MOST) {
		list_add_tail(&(*p)->link, &n->waiting);
		n->nr_waiting++;
		*p = NULL;
	}
	return false;
}

void neighbour_send(struct net_device *d, const struct ip_addr *hop, struct packet *p)
{
	struct inet_net *i = inet_of(d->net);
	u8 mac[ETHERNET_ADDRESS];
	bool must_ask = false, known;
	struct question q;
	LIST(dropped);
	ulong irq;

	if (addr_is_multicast(hop)) {
		group_mac(hop, mac);
		net_device_send(d, p, mac);
		return;
	}
	p->dev = d;
	irq = spin_lock_irqsave(&i->neighbour_lock);
	known = resolve(i, d, hop, &p, mac, &q, &must_ask, &dropped);
	spin_unlock_irqrestore(&i->neighbour_lock, irq);
	free_packets(&dropped);
	if (known)
		net_device_send(d, p, mac);
	else if (p)
		packet_free(p);
	if (must_ask)
		ask(&q);
	inet_tick_soon(i);
}

/* ---- learning
 * --------------------------------------------------------------------------------------------------------- */

static void learn(struct neighbour *n, const u8 *mac, bool sure, struct list *ready)
{
	bool changed = memcmp(n->mac, mac, ETHERNET_ADDRESS);

	memcpy(n->mac, mac, ETHERNET_ADDRESS);
	n->updated = clock_ns();
	if (sure) {
		n->state = NUD_REACHABLE;
		n->confirmed = n->updated;
	} else if (changed || n->state == NUD_INCOMPLETE || !n->state) {
		n->state = NUD_STALE;
	}
	n->probes = 0;
	n->nr_waiting = 0;
	list_splice_tail_init(&n->waiting, ready);
}

void neighbour_heard(struct net_device *d, const struct ip_addr *addr, const u8 *mac, bool may_create, bool sure,
		     bool replace)
{
	struct inet_net *i = inet_of(d->net);
	struct packet *p, *next;
	struct neighbour *n;
	LIST(dropped);
	LIST(ready);
	ulong irq;

	if (mac[0] & 1 || ip_addr_is_any(addr))
		return;
	irq = spin_lock_irqsave(&i->neighbour_lock);
	n = find(i, d, addr);
	if (!n && may_create)
		n = create(i, d, addr, &dropped);
	if (n && !(n->state & (NUD_PERMANENT | NUD_NOARP)) &&
	    (replace || !(n->state & NUD_KNOWN) || !memcmp(n->mac, mac, ETHERNET_ADDRESS)))
		learn(n, mac, sure, &ready);
	spin_unlock_irqrestore(&i->neighbour_lock, irq);
	free_packets(&dropped);
	list_for_each_entry_safe (p, next, &ready, link)
		net_device_send(d, p, mac);
}

/* ---- time
 * --------------------------------------------------------------------------------------------------------------- */

/* The next entry whose time has come; what to do about it. False: none. */
static bool next_due(struct inet_net *i, u64 now, struct question *q, bool *must_ask, struct list *failed, bool *waits)
{
	struct neighbour *n, *next;

	for (unsigned b = 0; b < NEIGHBOUR_BUCKETS; b++)
		list_for_each_entry_safe (n, next, &i->neighbours[b], link) {
			if (!(n->state & NUD_WAITING))
				continue;
			if (n->due > now) {
				*waits = true;
				continue;
			}
			if (n->state == NUD_DELAY) {
				n->state = NUD_PROBE;
				n->probes = 0;
			}
			*must_ask = n->probes < PROBES;
			if (*must_ask) {
				n->probes++;
				n->due = now + ASK_NS;
				*q = question_of(n);
			} else {
				drop(i, n, failed);
			}
			return true;
		}
	return false;
}

static void tick(struct deferred *job)
{
	struct inet_net *i = container_of(job, struct inet_net, tick_job);
	u64 now = clock_ns();
	bool waits = false;

	rcu_read_lock();
	WRITE_ONCE(i->ticking, false);
	for (;;) {
		struct question q;
		bool must_ask, found;
		LIST(failed);
		ulong irq = spin_lock_irqsave(&i->neighbour_lock);

		waits = false;
		found = next_due(i, now, &q, &must_ask, &failed, &waits);
		spin_unlock_irqrestore(&i->neighbour_lock, irq);
		if (!found)
			break;
		if (must_ask)
			ask(&q);
		tell_senders(i->net, &failed);
	}
	if (ip_fragments_expire(i, now) || waits)
		inet_tick_soon(i);
	rcu_read_unlock();
}

static void on_timer(struct timer *t)
{
	deferred_queue(&container_of(t, struct inet_net, tick)->tick_job);
}

void inet_tick_soon(struct inet_net *i)
{
	if (READ_ONCE(i->ticking) || __atomic_exchange_n(&i->ticking, true, __ATOMIC_SEQ_CST))
		return;
	timer_arm(&i->tick, clock_ns() + ASK_NS / 2, NSEC_PER_MSEC * 10);
}

void neighbours_init(struct inet_net *i)
{
	spin_init(&i->neighbour_lock, RANK_NEIGHBOUR);
	for (unsigned b = 0; b < NEIGHBOUR_BUCKETS; b++)
		list_init(&i->neighbours[b]);
	list_init(&i->fragments);
	timer_init(&i->tick, on_timer);
	deferred_init(&i->tick_job, tick);
}

/* ---- for those who configure
 * ------------------------------------------------------------------------------------------- */

void neighbours_drop(struct inet_net *i, const struct net_device *d)
{
	struct neighbour *n, *next;
	LIST(packets);
	ulong irq = spin_lock_irqsave(&i->neighbour_lock);

	for (unsigned b = 0; b < NEIGHBOUR_BUCKETS; b++)
		list_for_each_entry_safe (n, next, &i->neighbours[b], link)
			if (!d || n->dev == d)
				drop(i, n, &packets);
	spin_unlock_irqrestore(&i->neighbour_lock, irq);
	free_packets(&packets);
}

void neighbours_show(struct net *net, int (*fn)(const struct neighbour_view *v, void *arg), void *arg)
{
	struct inet_net *i = inet_of(net);
	struct neighbour_view *views = kcalloc(ENTRIES_MOST + 1, sizeof(*views), ALLOC_KERNEL);
	struct neighbour *n;
	unsigned nr = 0;
	ulong irq;

	if (!views)
		return;
	irq = spin_lock_irqsave(&i->neighbour_lock);
	for (unsigned b = 0; b < NEIGHBOUR_BUCKETS; b++)
		list_for_each_entry (n, &i->neighbours[b], link) {
			if (nr > ENTRIES_MOST)
				break;
			views[nr] = (struct neighbour_view){ .addr = n->addr,
							     .dev = n->dev,
							     .state = n->state,
							     .probes = n->probes,
							     .confirmed_ns = n->confirmed,
							     .used_ns = n->used,
							     .updated_ns = n->updated };
			if (n->state == NUD_REACHABLE && clock_ns() - n->confirmed > REACHABLE_NS)
				views[nr].state = NUD_STALE;
			memcpy(views[nr++].mac, n->mac, ETHERNET_ADDRESS);
		}
	spin_unlock_irqrestore(&i->neighbour_lock, irq);
	for (unsigned k = 0; k < nr && !fn(&views[k], arg); k++)
		;
	kfree(views);
}

int neighbour_set(struct net_device *d, const struct ip_addr *addr, const u8 *mac, u16 state)
{
	struct inet_net *i = inet_of(d->net);
	struct packet *p, *next;
	struct neighbour *n;
	LIST(dropped);
	LIST(ready);
	ulong irq = spin_lock_irqsave(&i->neighbour_lock);

	n = find(i, d, addr);
	n = n ? n : create(i, d, addr, &dropped);
	if (n) {
		learn(n, mac, true, &ready);
		n->state = state ? state : NUD_PERMANENT;
	}
	spin_unlock_irqrestore(&i->neighbour_lock, irq);
	free_packets(&dropped);
	list_for_each_entry_safe (p, next, &ready, link)
		net_device_send(d, p, mac);
	return n ? 0 : -ENOMEM;
}

int neighbour_forget(struct net_device *d, const struct ip_addr *addr)
{
	struct inet_net *i = inet_of(d->net);
	LIST(packets);
	ulong irq = spin_lock_irqsave(&i->neighbour_lock);
	struct neighbour *n = find(i, d, addr);

	if (n)
		drop(i, n, &packets);
	spin_unlock_irqrestore(&i->neighbour_lock, irq);
	free_packets(&packets);
	return n ? 0 : -ENOENT;
}
