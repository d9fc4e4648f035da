/* SPDX-License-Identifier: MIT
 *
 * Problem: each segment must find its connection, ports are names that sockets compete for, and thousands of
 * connections have timers that mostly never fire.
 *
 * Idea: two hash tables, by both ends and by local port. A listener is the holder of its port that fits the address
 * best. Alarms are one tree; a connection whose alarm moves later stays where it is and is looked at too early once,
 * which is cheaper than moving it with every segment.
 *
 * Contract: tcp_priv.h. Port rules: ip(7), tcp(7), socket(7): two holders of one port and overlapping addresses bear
 * each other when both have SO_REUSEADDR and neither listens, or both SO_REUSEPORT and one user.
 *
 * Locks: the host's lock. Look-ups may also run under RCU alone (tcp_look_up), where ops->forget frees after a grace
 * period.
 */
#include <alloc/slab.h>
#include <lib/err.h>

#include "tcp_priv.h"

#define FIRST_FREE 32768
#define LAST_FREE  60999
#define NR_FREE    (LAST_FREE - FIRST_FREE + 1)

void tcp_host_init(struct tcp_host *h, const struct tcp_host_ops *ops, void *priv)
{
	*h = (struct tcp_host){ .ops = ops, .priv = priv, .alarms = RB_ROOT, .armed = ~0ULL };
	h->cookies = 1;
	h->cookie_key[0] = ops->random();
	h->cookie_key[1] = ops->random();
	spin_init(&h->lock, RANK_SOCKET);
	for (unsigned i = 0; i < TCP_BUCKETS; i++) {
		list_init(&h->connections[i]);
		list_init(&h->ports[i]);
	}
}

DEFINE_STATIC_KEY(tcp_program_key);

struct tcp *tcp_alloc(struct tcp_host *h, bool is_v6, const struct tcp *parent)
{
	struct tcp *t = parent ? kmalloc_paid_like(parent, sizeof(*t), ALLOC_ATOMIC | ALLOC_ZERO)
			       : kzalloc(sizeof(*t), ALLOC_ATOMIC | ALLOC_CHARGED);

	if (!t)
		return NULL;
	t->host = h;
	t->state = TS_CLOSE;
	t->is_v6 = is_v6;
	list_init(&t->hash_link);
	list_init(&t->port_link);
	list_init(&t->child_link);
	list_init(&t->children);
	list_init(&t->chunks);
	list_init(&t->received);
	list_init(&t->out_of_order);
	rb_clear(&t->alarm_node);
	if (!is_v6)
		t->local = t->remote = ip_addr_v4(0);
	t->send_buffer = SEND_BUFFER;
	t->receive_buffer = RECEIVE_BUFFER;
	t->rto_ns = RTO_FIRST;
	t->ssthresh = ~0U;
	t->mss = t->rcv_mss = 536;
	t->keep_idle_s = 7200;
	t->keep_interval_s = 75;
	t->keep_count = 9;
	t->syn_retries = SYN_RETRIES;
	t->linger2_s = 60;
	t->ts_offset = (u32)h->ops->random();
	return t;
}

/* ---- look-up ------------------------------------------------------------------------------------------------ */

static unsigned bucket_of(const struct ip_addr *local, u16 local_port, const struct ip_addr *remote, u16 remote_port)
{
	u64 x = ((u64)local->w[3] << 32 | remote->w[3]) ^ ((u64)remote->w[0] << 32 | remote->w[2]) ^
		((u64)local_port << 16 | remote_port) * 0x9e3779b97f4a7c15ULL;

	x *= 0xff51afd7ed558ccdULL;
	return (unsigned)(x >> 40) % TCP_BUCKETS;
}

static struct list *port_bucket(struct tcp_host *h, u16 port)
{
	return &h->ports[net_host16(port) % TCP_BUCKETS];
}

void tcp_hash(struct tcp *t)
{
	list_add(&t->hash_link, &t->host->connections[bucket_of(&t->local, t->local_port, &t->remote, t->remote_port)]);
}

void tcp_unhash(struct tcp *t)
{
	list_del_init(&t->hash_link);
}

static bool hears(struct tcp *t, u32 ifindex, u32 vrf)
{
	return packet_reaches(ifindex, vrf, t->host->ops->device(t));
}

struct tcp *tcp_find(struct tcp_host *h, const struct ip_addr *local, u16 local_port, const struct ip_addr *remote,
		     u16 remote_port, u32 ifindex, u32 vrf)
{
	const struct list *bucket = &h->connections[bucket_of(local, local_port, remote, remote_port)];
	struct list_walk w;
	struct tcp *t;

	do {
		w = list_walk(h->connections, TCP_BUCKETS, bucket);
		while ((t = list_walk_next(&w, struct tcp, hash_link)))
			if (t->local_port == local_port && t->remote_port == remote_port &&
			    ip_addr_equal(&t->local, local) && ip_addr_equal(&t->remote, remote) &&
			    hears(t, ifindex, vrf))
				return t;
	} while (w.lost);
	return NULL;
}

/* How well a listener fits a destination; 0: not at all. */
static int score(struct tcp *t, const struct ip_addr *local, u16 port, u32 ifindex, u32 vrf)
{
	if (t->state != TS_LISTEN || t->local_port != port || !ip_addr_overlap(&t->local, t->only_v6, local, false) ||
	    !hears(t, ifindex, vrf))
		return 0;
	return 1 + 4 * !ip_addr_is_any(&t->local) + 2 * (t->host->ops->device(t) != 0) + !t->is_v6;
}

/* Among equals that share a port the peer's address and port choose, always alike. */
struct tcp *tcp_find_listener(struct tcp_host *h, const struct ip_addr *local, u16 port, const struct ip_addr *remote,
			      u16 remote_port, u32 ifindex, u32 vrf)
{
	struct tcp *t, *best;
	int most;
	u32 equals, pick = bucket_of(local, port, remote, remote_port);
	struct list_walk w;

	do {
		w = list_walk(h->ports, TCP_BUCKETS, port_bucket(h, port));
		best = NULL;
		most = 0;
		equals = 0;
		while ((t = list_walk_next(&w, struct tcp, port_link))) {
			int points = score(t, local, port, ifindex, vrf);

			if (points > most) {
				most = points;
				best = t;
				equals = 1;
			} else if (points && points == most && t->reuse_port && pick % ++equals == 0) {
				best = t;
			}
		}
	} while (w.lost);
	return best;
}

struct tcp *tcp_look_up(struct tcp_host *h, const struct ip_addr *local, u16 local_port, const struct ip_addr *remote,
			u16 remote_port, u32 ifindex, u32 vrf)
{
	struct tcp *t = tcp_find(h, local, local_port, remote, remote_port, ifindex, vrf);

	return t ? t : tcp_find_listener(h, local, local_port, remote, remote_port, ifindex, vrf);
}

/* ---- ports --------------------------------------------------------------------------------------------------- */

static bool bear(const struct tcp *a, bool strict, const struct tcp *b)
{
	if (a->reuse_port && b->reuse_port && a->uid == b->uid)
		return true;
	return a->reuse_addr && b->reuse_addr && !strict && b->state != TS_LISTEN;
}

static bool apart(struct tcp *a, struct tcp *b)
{
	u32 x = a->host->ops->device(a), y = b->host->ops->device(b);

	return x && y && x != y;
}

static bool conflicts(struct tcp *t, const struct ip_addr *addr, u16 port, bool strict)
{
	struct tcp *o;

	list_for_each_entry (o, port_bucket(t->host, port), port_link)
		if (o != t && o->local_port == port && !apart(t, o) &&
		    ip_addr_overlap(addr, t->only_v6, &o->local, o->only_v6) && !bear(t, strict, o))
			return true;
	return false;
}

static void hold_port(struct tcp *t, u16 port)
{
	t->local_port = port;
	list_add(&t->port_link, port_bucket(t->host, port));
}

void tcp_inherit_port(struct tcp *t)
{
	hold_port(t, t->local_port);
}

int tcp_take_port(struct tcp *t, const struct ip_addr *addr, u16 port)
{
	u32 start = (u32)t->host->ops->random() % NR_FREE;

	for (u32 n = 0; !port && n < NR_FREE; n++) {
		u16 try = net_host16((u16)(FIRST_FREE + (start + n) % NR_FREE));

		if (!conflicts(t, addr, try, true))
			port = try;
	}
	if (!port || conflicts(t, addr, port, false))
		return -EADDRINUSE;
	t->local = *addr;
	hold_port(t, port);
	return 0;
}

int tcp_check_port(struct tcp *t)
{
	return conflicts(t, &t->local, t->local_port, false) ? -EADDRINUSE : 0;
}

/* A port that somebody named is his; one that connect chose serves many peers. */
static bool is_named(struct tcp_host *h, u16 port)
{
	const struct tcp *o;

	list_for_each_entry (o, port_bucket(h, port), port_link)
		if (o->local_port == port && (o->port_locked || o->state == TS_LISTEN))
			return true;
	return false;
}

int tcp_take_any_port(struct tcp *t)
{
	u32 start = (u32)t->host->ops->random() % NR_FREE;

	for (u32 n = 0; n < NR_FREE; n++) {
		u16 port = net_host16((u16)(FIRST_FREE + (start + n) % NR_FREE));

		if (is_named(t->host, port) ||
		    tcp_find(t->host, &t->local, port, &t->remote, t->remote_port, t->host->ops->device(t), 0))
			continue;
		hold_port(t, port);
		return 0;
	}
	return -EADDRNOTAVAIL;
}

/* ---- alarms ---------------------------------------------------------------------------------------------------- */

static u64 earliest(const struct tcp *t)
{
	u64 times[] = { t->rexmit_at, t->delack_at, t->keep_at, t->wait_at, t->cork_at }, at = ~0ULL;

	for (unsigned i = 0; i < ARRAY_SIZE(times); i++)
		if (times[i])
			at = min(at, times[i]);
	return at;
}

static void arm(struct tcp_host *h, u64 at)
{
	if (at >= h->armed)
		return;
	h->armed = at;
	h->ops->alarm(h, at);
}

static void alarm_remove(struct tcp *t)
{
	if (rb_is_clear(&t->alarm_node))
		return;
	rb_erase(&t->host->alarms, &t->alarm_node);
	rb_clear(&t->alarm_node);
}

void tcp_alarm_update(struct tcp *t)
{
	u64 at = earliest(t);
	struct rb_node **link = &t->host->alarms.node, *parent = NULL;

	if (at == ~0ULL || (!rb_is_clear(&t->alarm_node) && at >= t->alarm_at))
		return;
	alarm_remove(t);
	t->alarm_at = at;
	while (*link) {
		parent = *link;
		link = at < rb_entry(parent, struct tcp, alarm_node)->alarm_at ? &parent->left : &parent->right;
	}
	rb_insert(&t->host->alarms, &t->alarm_node, parent, link);
	arm(t->host, at);
}

void tcp_host_alarm(struct tcp_host *h)
{
	ulong irq = spin_lock_irqsave(&h->lock);
	u64 now = h->ops->now();
	struct rb_node *n;

	h->armed = ~0ULL;
	while ((n = rb_first(&h->alarms)) && rb_entry(n, struct tcp, alarm_node)->alarm_at <= now) {
		struct tcp *t = rb_entry(n, struct tcp, alarm_node);

		alarm_remove(t);
		tcp_timers(t, now);
		if (t->state != TS_CLOSE)
			tcp_alarm_update(t);
		tcp_reap(t);
	}
	if (n)
		arm(h, rb_entry(n, struct tcp, alarm_node)->alarm_at);
	spin_unlock_irqrestore(&h->lock, irq);
}

/* ---- the end of a connection ---------------------------------------------------------------------------------- */

void tcp_event(struct tcp *t)
{
	if (t->owner)
		t->host->ops->event(t);
	else if (t->parent && t->parent->owner)
		t->host->ops->event(t->parent);
}

void tcp_drop_child(struct tcp *child)
{
	struct tcp *l = child->parent;

	list_del_init(&child->child_link);
	l->nr_children--;
	l->nr_ready -= child->ready;
	child->parent = NULL;
}

void tcp_end(struct tcp *t, int error)
{
	tcp_set_state(t, TS_CLOSE);
	if (error)
		t->error = error;
	tcp_unhash(t);
	alarm_remove(t);
	t->rexmit_at = t->delack_at = t->keep_at = t->wait_at = t->cork_at = 0;
	if (!t->port_locked)
		list_del_init(&t->port_link);
	tcp_free_sent(t, true);
	tcp_free_late(t);
	if (t->parent && !t->ready)
		tcp_drop_child(t);
	tcp_event(t);
}

void tcp_reap(struct tcp *t)
{
	if (t->state != TS_CLOSE || t->owner || t->parent)
		return;
	list_del_init(&t->port_link);
	tcp_free_received(t);
	if (t->orphaned)
		t->host->nr_orphans--;
	t->host->ops->forget(t);
}

void tcp_enter_time_wait(struct tcp *t)
{
	tcp_set_state(t, TS_TIME_WAIT);
	t->rexmit_at = t->keep_at = t->cork_at = 0;
	t->wait_at = tcp_now(t) + TIME_WAIT_NS;
	tcp_free_sent(t, true);
	tcp_event(t);
}

/* ---- the whole table -------------------------------------------------------------------------------------------- */

void tcp_host_each(struct tcp_host *h, int (*fn)(struct tcp *t, void *arg), void *arg)
{
	ulong irq = spin_lock_irqsave(&h->lock);
	int stop = 0;

	for (unsigned i = 0; i < TCP_BUCKETS && !stop; i++) {
		struct tcp *t;

		list_for_each_entry (t, &h->ports[i], port_link) {
			stop = t->state == TS_CLOSE ? 0 : fn(t, arg);
			if (stop)
				break;
		}
	}
	spin_unlock_irqrestore(&h->lock, irq);
}

void tcp_host_stop(struct tcp_host *h)
{
	ulong irq = spin_lock_irqsave(&h->lock);

	for (unsigned i = 0; i < TCP_BUCKETS; i++) {
		struct tcp *t, *next;

		list_for_each_entry_safe (t, next, &h->ports[i], port_link) {
			tcp_end(t, 0);
			tcp_reap(t);
		}
	}
	spin_unlock_irqrestore(&h->lock, irq);
}
