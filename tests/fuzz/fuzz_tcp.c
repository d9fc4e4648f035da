/* SPDX-License-Identifier: MIT
 *
 * Problem: every byte of a segment is a stranger's, in every state of a connection.
 *
 * Idea: a listener, a connection that calls and one that has been accepted; the input is a row of records: some move
 * the clock or act as the user, the rest are segments with header fields from the input, near the numbers that the
 * connection expects. Nothing may be read outside a packet, leak, or survive the end.
 *
 * Contract: libFuzzer. Locks: none.
 */
#include <stdlib.h>
#include <alloc/slab.h>
#include <core/log.h>
#include <lib/err.h>
#include <lib/string.h>
#include <net/tcp.h>

static struct {
	u64 now, seed;
	u64 alive;
	int depth;
} w;
static struct tcp_host host;

static u64 now(void)
{
	return w.now;
}
static u64 any(void)
{
	return w.seed = w.seed * 6364136223846793005ULL + 1442695040888963407ULL;
}
static void output(struct tcp_host *h, struct tcp *t, struct packet *p, const struct ip_addr *s,
		   const struct ip_addr *d)
{
	packet_free(p);
}
static bool allow(struct tcp *t, struct packet *p)
{
	return true;
}
static u32 device(struct tcp *t)
{
	(void)t;
	return 0;
}

static u32 mtu(struct tcp_host *h, struct tcp *t)
{
	return 1500;
}
static void event(struct tcp *t)
{
}
static void urgent(struct tcp *t)
{
}
static void set_alarm(struct tcp_host *h, u64 at)
{
}
static int child(struct tcp *l, struct tcp *c)
{
	w.alive++;
	return 0;
}
static void forget(struct tcp *t)
{
	w.alive--;
	kfree(t);
}
static const struct tcp_host_ops ops = { now,   any,    output,    allow, mtu,    device,
					 event, urgent, set_alarm, child, forget, NULL };

struct record {
	u8 what, flags;
	u16 seq, ack, window;
	u8 option_bytes, payload;
} __attribute__((packed));

static void segment(const struct record *r, const u8 *bytes, size_t left, struct tcp *near, u16 from, u16 to)
{
	struct ip_addr me = ip_addr_v4(net_host32(0x7f000001));
	size_t options = min((size_t)(r->option_bytes % 44), left), payload = min((size_t)r->payload, left - options);
	struct packet *p = packet_alloc(20 + options + payload, ALLOC_ATOMIC);
	u32 seq = net_host32((near ? near->rcv_nxt : 0) + (u32)(s16)r->seq);
	u32 ack = net_host32((near ? near->snd_una : 0) + (u32)(s16)r->ack);
	u8 *h = packet_put(p, 20 + options + payload);

	memset(h, 0, 20);
	memcpy(h, &from, 2);
	memcpy(h + 2, &to, 2);
	memcpy(h + 4, &seq, 4);
	memcpy(h + 8, &ack, 4);
	h[12] = (u8)((20 + options) / 4 << 4);
	h[13] = r->flags;
	memcpy(h + 14, &r->window, 2);
	memcpy(h + 20, bytes, options + payload);
	tcp_input(&host, p, &me, &me);
}

static void user(u8 what, struct tcp *t)
{
	struct tcp_chunk *c;
	u8 byte;
	u32 len;

	switch (what % 8) {
	case 0:
		c = tcp_chunk_alloc(3000);
		memset(c->data, 1, 3000);
		c->len = 3000;
		(void)!tcp_append(t, c, what >> 3 & (TCP_MORE | TCP_URGENT));
		break;
	case 1:
		if (tcp_readable(t, 0, &len)) {
			(void)tcp_mark(t, what >> 3, &len);
			(void)tcp_take_urgent(t, what & 8, &byte);
			(void)tcp_plain_bytes(t);
			tcp_consume(t, len);
		}
		break;
	case 2: tcp_shutdown(t, what & 8, what & 16); break;
	case 3: tcp_set_flags(t, what & 8, what & 16, what & 32); break;
	case 4: tcp_quick_ack(t, true); break;
	default: w.now += 1ULL << (what / 8 % 40); tcp_host_alarm(&host);
	}
}

int LLVMFuzzerTestOneInput(const u8 *data, size_t size);
int LLVMFuzzerTestOneInput(const u8 *data, size_t size)
{
	struct ip_addr me = ip_addr_v4(net_host32(0x7f000001));
	struct tcp *l, *c, *a = NULL;
	int owner;

	w.now = 1000000000;
	w.seed = 1;
	w.alive = 2;
	tcp_host_init(&host, &ops, NULL);
	ensure(!tcp_open(&host, &owner, false, &l) && !tcp_open(&host, &owner, false, &c));
	ensure(!tcp_bind(l, &me, 80) && !tcp_listen(l, 3) && !tcp_bind(c, &me, 81) && !tcp_connect(c, &me, &me, 82));
	while (size >= sizeof(struct record)) {
		struct record r;

		memcpy(&r, data, sizeof(r));
		data += sizeof(r);
		size -= sizeof(r);
		if (!a)
			a = tcp_accept(l, &owner);
		if (r.what & 1)
			user(r.what >> 1, a && r.what & 128 ? a : c);
		else if (r.what & 2)
			segment(&r, data, size, c, 82, 81);
		else
			segment(&r, data, size, a ? a : NULL, 90, 80);
		size_t used = min((size_t)(r.option_bytes % 44) + r.payload, size);
		data += used;
		size -= used;
	}
	tcp_close(c, false);
	if (a)
		tcp_close(a, true);
	tcp_close(l, false);
	for (int i = 0; i < 100 && w.alive; i++) {
		w.now += 1000 * NSEC_PER_SEC;
		tcp_host_alarm(&host);
	}
	ensure(!w.alive);
	return 0;
}
