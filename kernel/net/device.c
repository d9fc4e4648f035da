/* SPDX-License-Identifier: MIT
 *
 * Problem: frames come from drivers in interrupts and go to protocols that do not know them; programs list, rename,
 * raise and move the devices meanwhile, and want to watch the frames.
 *
 * Idea: a list of devices a namespace, written under one mutex and read under RCU. An arriving frame is classified once
 * (EtherType, to whom), shown to the taps, and given to its protocol. A frame that may not be handled at once waits in
 * a queue of this CPU that a deferred job empties.
 *
 * Contract: net/device.h.
 *
 * Locks: net_config_lock; a CPU's backlog with IRQs off. Counters are relaxed atomics.
 */
#include <alloc/slab.h>
#include <arch/cpu.h>
#include <arch/percpu.h>
#include <core/clock.h>
#include <core/irq.h>
#include <core/log.h>
#include <core/trace.h>
#include <lib/err.h>
#include <lib/printf.h>
#include <lib/string.h>
#include <linux/if.h>
#include <linux/if_arp.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/device.h>
#include <net/net.h>

#include "net_priv.h"

#define BACKLOG_MOST 4096
#define BUDGET       64 /* frames before other deferred jobs of the CPU get their turn */
#define NAMES_MOST   4096

struct mutex net_config_lock = MUTEX_INIT(net_config_lock, RANK_NET_CONFIG);
static LIST(protocols);
static LIST(watchers);
static LIST(kinds);
static LIST(taps);
static struct spinlock taps_lock = SPIN_INIT(RANK_LEAF_SPIN);

struct backlog {
	struct list packets;
	u32 nr;
	struct deferred run;
	bool ready;
};
static DEFINE_PER_CPU(struct backlog, backlog);

void net_protocol_register(struct net_protocol *p)
{
	list_add_tail(&p->link, &protocols);
}

void net_watcher_register(struct net_watcher *w)
{
	list_add_tail(&w->link, &watchers);
}

void net_kind_register(struct net_kind *k)
{
	list_add_tail(&k->link, &kinds);
}

struct net_kind *net_kind_find(const char *name)
{
	struct net_kind *k;

	list_for_each_entry (k, &kinds, link)
		if (!strcmp(k->name, name))
			return k;
	return NULL;
}

static void tell(struct net_device *d, enum net_event e)
{
	struct net_watcher *w;

	list_for_each_entry (w, &watchers, link)
		w->event(d, e);
}

/* ---- traces (events/net of Linux 6.1) ---- */

/* The three records are alike but for net_dev_xmit's result. */
static void trace_packet(enum trace_id event, const struct net_device *d, const struct packet *p, u32 len)
{
	struct {
		struct trace_net_dev_queue r;
		char name[NET_NAME_MAX];
	} e = { .r = { .skbaddr = (ulong)p, .len = len } };
	size_t size = sizeof(e.r);

	e.r.name = trace_put_string(&e, &size, sizeof(e), d->name);
	trace_emit(event, &e, size);
}

static void trace_sent(const struct net_device *d, ulong packet, u32 len)
{
	struct {
		struct trace_net_dev_xmit r;
		char name[NET_NAME_MAX];
	} e = { .r = { .skbaddr = packet, .len = len } };
	size_t size = sizeof(e.r);

	e.r.name = trace_put_string(&e, &size, sizeof(e), d->name);
	trace_emit(TRACE_net_dev_xmit, &e, size);
}

/* ---- the list ---------------------------------------------------------------------------------------------------- */

struct net_device *net_device_find(struct net *n, u32 ifindex)
{
	struct net_device *d;

	list_for_each_entry (d, &n->devices, link)
		if (d->ifindex == ifindex)
			return d;
	return NULL;
}

struct net_device *net_device_by_name(struct net *n, const char *name)
{
	struct net_device *d;

	list_for_each_entry (d, &n->devices, link)
		if (!strcmp(d->name, name))
			return d;
	return NULL;
}

/* Replaces %d by the smallest free number. */
static int choose_name(struct net_device *d, struct net *n)
{
	char pattern[NET_NAME_MAX];
	char *mark = strstr(d->name, "%d");

	if (!mark)
		return net_device_by_name(n, d->name) ? -EEXIST : 0;
	str_copy(pattern, d->name, sizeof(pattern));
	pattern[mark - d->name] = '\0';
	for (unsigned i = 0; i < NAMES_MOST; i++) {
		str_format(d->name, sizeof(d->name), "%s%u", pattern, i);
		if (!net_device_by_name(n, d->name))
			return 0;
	}
	return -ENFILE;
}

static bool is_name(const char *name)
{
	size_t len = strnlen(name, NET_NAME_MAX);

	if (!len || len == NET_NAME_MAX || !strcmp(name, ".") || !strcmp(name, ".."))
		return false;
	for (; *name; name++)
		if (*name == '/' || *name == ':' || *name == ' ' || (*name >= '\t' && *name <= '\r'))
			return false;
	return true;
}

static void insert(struct net_device *d, struct net *n)
{
	d->net = n;
	if (!d->ifindex || net_device_find(n, d->ifindex))
		d->ifindex = ++n->last_ifindex;
	list_add_tail(&d->link, &n->devices);
}

void net_device_init_card(struct net_device *d, const struct net_device_ops *ops, void *priv)
{
	*d = (struct net_device){ .ops = ops,
				  .priv = priv,
				  .name = "eth%d",
				  .type = ARPHRD_ETHER,
				  .mtu = ETH_DATA_LEN,
				  .least_mtu = ETH_MIN_MTU,
				  .most_mtu = ETH_DATA_LEN,
				  .queue_length = 1000,
				  .flags = IFF_BROADCAST | IFF_MULTICAST };
	memset(d->broadcast, 0xff, ETHERNET_ADDRESS);
}

int net_device_register(struct net_device *d, struct net *n)
{
	int err;

	assert(mutex_is_held(&net_config_lock));
	if (!is_name(d->name))
		return -EINVAL;
	err = choose_name(d, n);
	if (err)
		return err;
	insert(d, n);
	tell(d, NET_DEVICE_NEW);
	return 0;
}

static void free_later(struct rcu_head *h)
{
	struct net_device *d = container_of(h, struct net_device, rcu);

	d->ops->release(d);
}

void net_device_unregister(struct net_device *d)
{
	assert(mutex_is_held(&net_config_lock));
	(void)!net_device_set_flags(d, 0, IFF_UP);
	d->gone = true;
	list_del(&d->link);
	rcu_assign(d->master, NULL);
	tell(d, NET_DEVICE_GONE);
	if (d->ops->removed)
		d->ops->removed(d);
	/* Frames in a backlog are looked at in the next deferred run of their CPU, before it is quiescent. */
	rcu_call(&d->rcu, free_later);
}

int net_device_move(struct net_device *d, struct net *to)
{
	int err;

	assert(mutex_is_held(&net_config_lock));
	if (d->flags & IFF_LOOPBACK || d->vrf_table)
		return fail(EINVAL, "%s stays in its namespace", d->name);
	if (d->net == to)
		return 0;
	err = choose_name(d, to);
	if (err)
		return err;
	(void)!net_device_set_flags(d, 0, IFF_UP);
	list_del(&d->link);
	rcu_assign(d->master, NULL);
	tell(d, NET_DEVICE_GONE);
	mutex_unlock(&net_config_lock);
	rcu_synchronize(); /* no reader of the old list stands on it, no frame is under way */
	mutex_lock(&net_config_lock);
	insert(d, to);
	tell(d, NET_DEVICE_NEW);
	return 0;
}

void net_devices_remove(struct net *n)
{
	struct net_device *d;

	mutex_lock(&net_config_lock);
	while ((d = list_first_or_null(&n->devices, struct net_device, link))) {
		if (d->ops->kind || d->flags & IFF_LOOPBACK) {
			net_device_unregister(d);
		} else if (net_device_move(d, &net_init_ns)) {
			str_copy(d->name, "dev%d", sizeof(d->name));
			if (net_device_move(d, &net_init_ns))
				break;
		}
	}
	mutex_unlock(&net_config_lock);
	rcu_synchronize();
}

/* ---- changes ------------------------------------------------------------------------------------------------------
 */

int net_device_set_flags(struct net_device *d, u32 flags, u32 mask)
{
	u32 wanted = (d->flags & ~mask) | (flags & mask), changed = wanted ^ d->flags;
	int err = 0;

	assert(mutex_is_held(&net_config_lock));
	if (!changed)
		return 0;
	if (changed & wanted & IFF_UP) {
		WRITE_ONCE(d->flags, wanted);
		err = d->ops->start ? d->ops->start(d) : 0;
		if (err) {
			d->flags &= ~(u32)IFF_UP;
			return err;
		}
		if (!d->ops->kind && !d->no_carrier)
			d->flags |= IFF_RUNNING;
	} else if (changed & IFF_UP) {
		WRITE_ONCE(d->flags, wanted);
		if (d->ops->stop)
			d->ops->stop(d);
		d->flags &= ~(u32)IFF_RUNNING;
	} else {
		WRITE_ONCE(d->flags, wanted);
	}
	tell(d, changed & IFF_UP ? wanted & IFF_UP ? NET_DEVICE_UP : NET_DEVICE_DOWN : NET_DEVICE_CHANGED);
	return 0;
}

void net_device_set_carrier(struct net_device *d, bool on)
{
	assert(mutex_is_held(&net_config_lock));
	if (d->no_carrier != on)
		return;
	d->no_carrier = !on;
	if (!(d->flags & IFF_UP))
		return;
	WRITE_ONCE(d->flags, on ? d->flags | IFF_RUNNING : d->flags & ~(u32)IFF_RUNNING);
	tell(d, NET_DEVICE_CHANGED);
}

/* Its addresses and routes belong to the other tables from now on: down and up again, as Linux does it. */
int net_device_set_master(struct net_device *d, struct net_device *vrf)
{
	u32 up = d->flags & IFF_UP;
	int err = 0;

	assert(mutex_is_held(&net_config_lock));
	if (d->master == vrf)
		return 0;
	if (d->flags & IFF_LOOPBACK || d->vrf_table)
		return fail(EINVAL, "%s cannot be in a VRF", d->name);
	(void)!net_device_set_flags(d, 0, IFF_UP);
	rcu_assign(d->master, vrf);
	if (up)
		err = net_device_set_flags(d, IFF_UP, IFF_UP);
	tell(d, NET_DEVICE_CHANGED);
	return err;
}

int net_device_set_mtu(struct net_device *d, u32 mtu)
{
	assert(mutex_is_held(&net_config_lock));
	if (mtu < d->least_mtu || mtu > d->most_mtu)
		return -EINVAL;
	WRITE_ONCE(d->mtu, mtu);
	tell(d, NET_DEVICE_CHANGED);
	return 0;
}

int net_device_rename(struct net_device *d, const char *name)
{
	char old[NET_NAME_MAX];
	int err;

	assert(mutex_is_held(&net_config_lock));
	if (!is_name(name))
		return -EINVAL;
	if (!strcmp(d->name, name))
		return 0;
	memcpy(old, d->name, sizeof(old));
	list_del(&d->link);
	str_copy(d->name, name, sizeof(d->name));
	err = choose_name(d, d->net);
	if (err)
		memcpy(d->name, old, sizeof(old));
	list_add_tail(&d->link, &d->net->devices);
	if (!err)
		tell(d, NET_DEVICE_CHANGED);
	return err;
}

/* ---- taps ----------------------------------------------------------------------------------------------------------
 */

void net_tap_add(struct net_tap *t)
{
	spin_lock(&taps_lock);
	if (!t->on)
		list_add_tail(&t->link, &taps);
	t->on = true;
	spin_unlock(&taps_lock);
}

void net_tap_remove(struct net_tap *t)
{
	spin_lock(&taps_lock);
	if (t->on)
		list_del(&t->link);
	t->on = false;
	spin_unlock(&taps_lock);
}

static void show_taps(const struct packet *p)
{
	struct net_tap *t;

	list_for_each_entry (t, &taps, link)
		if (t->net == p->net)
			t->frame(t, p);
}

/* ---- frames --------------------------------------------------------------------------------------------------------
 */

void net_count(struct net_counts *c, size_t bytes)
{
	__atomic_fetch_add(&c->packets, 1, __ATOMIC_RELAXED);
	__atomic_fetch_add(&c->bytes, bytes, __ATOMIC_RELAXED);
}

static u8 kind_of(const struct net_device *d, const struct ethhdr *h)
{
	if (d->flags & IFF_LOOPBACK || d->vrf_table || !memcmp(h->h_dest, d->address, ETHERNET_ADDRESS))
		return PACKET_HOST;
	if (h->h_dest[0] & 1)
		return memcmp(h->h_dest, d->broadcast, ETHERNET_ADDRESS) ? PACKET_MULTICAST : PACKET_BROADCAST;
	return PACKET_OTHERHOST;
}

/* Who takes it; NULL: nobody. Moves data behind the link header. */
static struct net_protocol *classify(struct net_device *d, struct packet *p)
{
	const struct ethhdr *h = packet_pull(p, sizeof(*h));
	struct net_protocol *proto;

	if (!h)
		return NULL;
	p->link_header = (u8 *)h;
	p->network = p->data;
	p->protocol = __builtin_bswap16(h->h_proto);
	p->kind = kind_of(d, h);
	list_for_each_entry (proto, &protocols, link)
		if (proto->type == p->protocol)
			return proto;
	return NULL;
}

/* To an IPv6 address of ours, which belongs to a device: there it came in, as on Linux. */
static void enter_own(struct packet *p)
{
	if (p->own_ifindex)
		p->ifindex = p->own_ifindex;
	p->own_ifindex = 0;
}

/* What comes in by a device of a VRF is the VRF's too: those who watch that see it. */
static void enter_vrf(struct net_device *d, struct packet *p)
{
	struct net_device *vrf = net_device_vrf(d);

	p->vrf = vrf ? vrf->ifindex : 0;
	if (!vrf || vrf == d)
		return;
	net_count(&vrf->in, packet_len(p));
	if (p->link_header && !list_empty(&taps)) {
		p->dev = vrf;
		p->ifindex = vrf->ifindex;
		show_taps(p);
		p->dev = d;
		p->ifindex = d->ifindex;
	}
}

void net_device_receive(struct net_device *d, struct packet *p)
{
	struct net_protocol *proto;

	rcu_read_lock();
	if (d->gone || !net_device_is_up(d)) {
		packet_free(p);
		rcu_read_unlock();
		return;
	}
	p->dev = d;
	p->net = d->net;
	p->ifindex = d->ifindex;
	p->socket = NULL;
	p->stamp_ns = clock_real_ns();
	net_count(&d->in, packet_len(p));
	proto = classify(d, p);
	if (trace_on(netif_receive_skb))
		trace_packet(TRACE_netif_receive_skb, d, p, packet_len(p));
	if (p->link_header && !list_empty(&taps))
		show_taps(p);
	enter_vrf(d, p);
	enter_own(p);
	if (proto && p->kind != PACKET_OTHERHOST)
		proto->input(p);
	else
		packet_free(p);
	rcu_read_unlock();
}

static struct packet *next_packet(void)
{
	ulong irq = irq_save();
	struct backlog *b = this_cpu_ptr(&backlog);
	struct packet *p = list_first_or_null(&b->packets, struct packet, link);

	if (p) {
		list_del_init(&p->link);
		b->nr--;
	}
	irq_restore(irq);
	return p;
}

static void run_backlog(struct deferred *d)
{
	struct packet *p;

	for (int i = 0; i < BUDGET; i++) {
		p = next_packet();
		if (!p)
			return;
		net_device_receive(p->dev, p);
	}
	deferred_queue(d);
}

void net_device_receive_later(struct net_device *d, struct packet *p)
{
	ulong irq = irq_save();
	struct backlog *b = this_cpu_ptr(&backlog);

	if (!b->ready) {
		list_init(&b->packets);
		deferred_init(&b->run, run_backlog);
		b->ready = true;
	}
	p->dev = d;
	if (b->nr >= BACKLOG_MOST) {
		net_count_drop(&d->in);
		packet_free(p);
	} else {
		b->nr++;
		list_add_tail(&p->link, &b->packets);
		deferred_queue(&b->run);
	}
	irq_restore(irq);
}

void net_device_send_frame(struct net_device *d, struct packet *p)
{
	u32 len;

	if (!net_device_is_up(d) || d->gone) {
		packet_free(p);
		return;
	}
	p->dev = d;
	p->net = d->net;
	p->ifindex = d->ifindex;
	net_count(&d->out, packet_len(p));
	if (!list_empty(&taps)) {
		u8 kind = p->kind;

		p->link_header = p->data;
		p->data += ETHERNET_HEADER;
		p->network = p->data;
		p->kind = PACKET_OUTGOING;
		show_taps(p);
		p->kind = kind;
		p->data -= ETHERNET_HEADER;
	}
	len = packet_len(p);
	if (trace_on(net_dev_queue))
		trace_packet(TRACE_net_dev_queue, d, p, len);
	d->ops->transmit(d, p); /* takes p */
	if (trace_on(net_dev_xmit))
		trace_sent(d, (ulong)p, len);
}

void net_device_send(struct net_device *d, struct packet *p, const u8 *to)
{
	struct ethhdr *h = packet_push(p, sizeof(*h));

	if (!h) {
		packet_free(p);
		return;
	}
	memcpy(h->h_source, d->address, ETHERNET_ADDRESS);
	if (to)
		memcpy(h->h_dest, to, ETHERNET_ADDRESS);
	else
		memset(h->h_dest, 0, ETHERNET_ADDRESS);
	h->h_proto = __builtin_bswap16(p->protocol);
	net_device_send_frame(d, p);
}
