/* SPDX-License-Identifier: MIT
 *
 * Problem: a stream must arrive whole and in order, and both ends must come to their end, whatever the network does.
 *
 * Idea: two hosts on a simulated wire with a clock of its own: it delays, drops, doubles and reorders by a seeded
 * generator, or on command. Programs at both ends write and read in pieces of random sizes; every byte is compared.
 * Single cases set up what is rare: closed windows, refusals, crossed calls, dead peers, a forged reset.
 *
 * Contract: runs under ASan and UBSan; all memory is given back at the end. Locks: none.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdlib.h>
#include <cmocka.h>
#include <alloc/slab.h>
#include <lib/err.h>
#include <lib/string.h>
#include <net/tcp.h>

struct flying {
	struct list link;
	u64 at;
	struct packet *p;
	struct ip_addr source, destination;
	struct tcp_host *to;
};

static struct wire {
	u64 now, seed;
	u32 loss, twice, jitter_us; /* loss and twice: of 1,000 */
	u32 mtu;
	bool cut;
	u64 alarm[2];
	struct list flying;
	struct tcp_host host[2];
	u64 carried, events, forgotten, opened;
} w;

static u32 rnd(void)
{
	w.seed = w.seed * 6364136223846793005ULL + 1442695040888963407ULL;
	return (u32)(w.seed >> 33);
}

static u64 sim_now(void)
{
	return w.now;
}
static u64 sim_random(void)
{
	return (u64)rnd() << 32 | rnd();
}
static struct ip_addr addr_of(int host)
{
	return ip_addr_v4(net_host32(0x0a000001U + (u32)host));
}

static void fly(struct packet *p, const struct ip_addr *s, const struct ip_addr *d)
{
	struct flying *f = calloc(1, sizeof(*f)), *o;
	struct ip_addr second = addr_of(1);
	struct list *before = &w.flying;

	*f = (struct flying){ .p = p, .source = *s, .destination = *d, .at = w.now + 1000000 };
	f->at += w.jitter_us ? rnd() % w.jitter_us * 1000ULL : 0;
	f->to = &w.host[ip_addr_equal(d, &second)];
	list_for_each_entry (o, &w.flying, link)
		if (o->at > f->at) {
			before = &o->link;
			break;
		}
	list_add_tail(&f->link, before);
}

static void sim_output(struct tcp_host *h, struct tcp *t, struct packet *p, const struct ip_addr *s,
		       const struct ip_addr *d)
{
	w.carried++;
	if (w.cut || rnd() % 1000 < w.loss) {
		packet_free(p);
		return;
	}
	if (rnd() % 1000 < w.twice) {
		struct packet *q = packet_alloc(packet_len(p), ALLOC_ATOMIC);

		memcpy(packet_put(q, packet_len(p)), p->data, packet_len(p));
		fly(q, s, d);
	}
	fly(p, s, d);
}

static bool sim_allow(struct tcp *t, struct packet *p)
{
	return true;
}
static u32 sim_device(struct tcp *t)
{
	(void)t;
	return 0;
}

static u32 sim_mtu(struct tcp_host *h, struct tcp *t)
{
	return w.mtu;
}
static void sim_event(struct tcp *t)
{
	w.events++;
}
static u64 urgent_signals;
static void sim_urgent(struct tcp *t)
{
	urgent_signals++;
}
static void sim_alarm(struct tcp_host *h, u64 at)
{
	w.alarm[h != &w.host[0]] = at;
}
static int sim_child(struct tcp *l, struct tcp *child)
{
	w.opened++;
	return 0;
}
static void sim_forget(struct tcp *t)
{
	w.forgotten++;
	kfree(t);
}
static const struct tcp_host_ops sim_ops = { sim_now,   sim_random, sim_output, sim_allow, sim_mtu,    sim_device,
					     sim_event, sim_urgent, sim_alarm,  sim_child, sim_forget, NULL };

static int setup(void **state)
{
	w = (struct wire){ .seed = 4711, .mtu = 1500, .now = 1000000000ULL, .alarm = { ~0ULL, ~0ULL } };
	list_init(&w.flying);
	tcp_host_init(&w.host[0], &sim_ops, NULL);
	tcp_host_init(&w.host[1], &sim_ops, NULL);
	return 0;
}

/* The next thing that happens, not after `until`; false: nothing. */
static bool step(u64 until)
{
	struct flying *f = list_first_or_null(&w.flying, struct flying, link);
	u64 alarm = min(w.alarm[0], w.alarm[1]);
	int h;

	if (f && f->at <= alarm) {
		if (f->at > until)
			return false;
		w.now = max(w.now, f->at);
		list_del(&f->link);
		tcp_input(f->to, f->p, &f->source, &f->destination);
		free(f);
		return true;
	}
	if (alarm == ~0ULL || alarm > until)
		return false;
	h = w.alarm[1] < w.alarm[0];
	w.now = max(w.now, alarm);
	w.alarm[h] = ~0ULL;
	tcp_host_alarm(&w.host[h]);
	return true;
}

static void run_for(u64 ns)
{
	u64 until = w.now + ns;

	while (step(until))
		;
	w.now = until;
}

static int owner_mark;

static struct tcp *open_one(int host)
{
	struct tcp *t;

	w.opened++;
	assert_int_equal(tcp_open(&w.host[host], &owner_mark, false, &t), 0);
	return t;
}

static struct tcp *listen_at(u16 port, u32 backlog)
{
	struct tcp *l = open_one(1);
	struct ip_addr any = ip_addr_v4(0);

	assert_int_equal(tcp_bind(l, &any, net_host16(port)), 0);
	assert_int_equal(tcp_listen(l, backlog), 0);
	return l;
}

static struct tcp *call(u16 port)
{
	struct tcp *t = open_one(0);
	struct ip_addr from = addr_of(0), to = addr_of(1);

	assert_int_equal(tcp_connect(t, &from, &to, net_host16(port)), 0);
	return t;
}

/* Everything ends and nothing is left. */
static void finish(void)
{
	w.cut = false;
	w.loss = 0;
	run_for(4000 * NSEC_PER_SEC);
	assert_int_equal(w.forgotten, w.opened);
	assert_true(list_empty(&w.flying));
	assert_int_equal(w.host[0].nr_orphans + w.host[1].nr_orphans, 0);
}

static void connect_two(struct tcp **a, struct tcp **b)
{
	struct tcp *l = listen_at(80, 5);

	*a = call(80);
	for (int i = 0; i < 100000 && !(*b = tcp_accept(l, &owner_mark)); i++)
		if (!step(~0ULL))
			break;
	assert_non_null(*b);
	for (int i = 0; i < 100000 && (*a)->state != TS_ESTABLISHED; i++)
		assert_true(step(~0ULL));
	tcp_close(l, false);
}

/* ---- streams
 * ---------------------------------------------------------------------------------------------------------- */

static u8 byte_at(u64 n, u8 salt)
{
	return (u8)(n * 31 + (n >> 8) * 7 + (n >> 16) + salt);
}

static u64 write_some(struct tcp *t, u64 done, u64 total, u8 salt)
{
	ssize_t room = tcp_send_room(t);
	struct tcp_chunk *c;
	u32 n;

	assert_true(room >= 0);
	n = (u32)min((u64)min((ssize_t)(1 + rnd() % (rnd() % 4 ? TCP_CHUNK_MAX : 20)), room), total - done);
	if (!n)
		return 0;
	c = tcp_chunk_alloc(n);
	c->len = n;
	for (u32 i = 0; i < n; i++)
		c->data[i] = byte_at(done + i, salt);
	assert_int_equal(tcp_append(t, c, rnd() % 8 == 0), 0);
	return n;
}

static u64 read_some(struct tcp *t, u64 done, u8 salt)
{
	u32 n = 0;
	const u8 *at = tcp_readable(t, 0, &n);

	if (!at)
		return 0;
	n = min(n, 1 + rnd() % 20000);
	for (u32 i = 0; i < n; i++)
		if (at[i] != byte_at(done + i, salt))
			fail_msg("byte %llu is wrong", (unsigned long long)(done + i));
	tcp_consume(t, n);
	return n;
}

static void tell(const char *name, const struct tcp *t)
{
	print_message("  %s: state %u error %d una %u nxt %u max %u write %u wnd %u cwnd %u mss %u; received %u edge "
		      "+%u queued %u "
		      "memory %u; retries %u recovery %u sacked %u\n",
		      name, t->state, t->error, t->snd_una - t->iss, t->snd_nxt - t->iss, t->snd_max - t->iss,
		      t->write_seq - t->iss, t->snd_wnd, t->cwnd, t->mss, t->rcv_nxt - t->irs, t->rcv_edge - t->rcv_nxt,
		      t->queued, t->memory, t->retries, t->in_recovery, t->nr_sacked);
}

static u64 exchange(struct tcp *a, struct tcp *b, u64 total, u32 reader_sleeps)
{
	u64 out[2] = { 0, 0 }, in[2] = { 0, 0 }, start = w.now;
	struct tcp *t[2] = { a, b };

	while (in[0] < total || in[1] < total) {
		bool did = false;

		for (int i = 0; i < 2; i++) {
			u64 n = out[i] < total ? write_some(t[i], out[i], total, (u8)i) : 0;

			out[i] += n;
			did |= n != 0;
			if (rnd() % (reader_sleeps + 1))
				continue;
			n = read_some(t[i], in[i], (u8)!i);
			in[i] += n;
			did |= n != 0;
		}
		if (!step(~0ULL) && !did && !reader_sleeps)
			fail_msg("stuck at %llu and %llu of %llu", (unsigned long long)in[0], (unsigned long long)in[1],
				 (unsigned long long)total);
		if (w.now - start > 3600 * NSEC_PER_SEC) {
			tell("a", a);
			tell("b", b);
			fail_msg("stuck at %llu and %llu of %llu", (unsigned long long)in[0], (unsigned long long)in[1],
				 (unsigned long long)total);
		}
	}
	return w.now - start;
}

static void close_both(struct tcp *a, struct tcp *b)
{
	tcp_close(a, false);
	run_for(50000000);
	tcp_close(b, false);
	finish();
}

static void stream(u64 total, u32 reader_sleeps)
{
	struct tcp *a, *b;
	u64 ns, sent;

	connect_two(&a, &b);
	sent = w.carried;
	ns = exchange(a, b, total, reader_sleeps);
	print_message("  %llu KiB each way in %llu ms, %llu packets, %u repeated\n", (unsigned long long)total >> 10,
		      (unsigned long long)ns / 1000000, (unsigned long long)(w.carried - sent),
		      a->total_retransmits + b->total_retransmits);
	close_both(a, b);
}

static void clean_stream(void **state)
{
	struct tcp *a, *b;

	connect_two(&a, &b);
	exchange(a, b, 3 << 20, 0);
	assert_int_equal(a->total_retransmits + b->total_retransmits, 0);
	assert_true(a->sack_ok && a->time_ok && a->snd_scale == 7 && a->mss == 1448);
	close_both(a, b);
}

static void lossy_stream(void **state)
{
	w.loss = 50;
	stream(4 << 20, 0);
}
static void lossy_small_segments(void **state)
{
	w.loss = 100;
	w.mtu = 296;
	stream(512 << 10, 0);
}
static void shuffled_stream(void **state)
{
	w.jitter_us = 8000;
	w.twice = 50;
	stream(2 << 20, 0);
}
static void everything_wrong(void **state)
{
	for (u64 seed = 1; seed <= 12; seed++) {
		setup(state);
		w.seed = seed;
		w.loss = 80;
		w.twice = 80;
		w.jitter_us = 5000;
		stream(256 << 10, (u32)seed % 4);
	}
}
static void big_segments(void **state)
{
	w.mtu = 65536;
	stream(32 << 20, 0);
}

/* Neither selective acknowledgements nor timestamps: as with a very old peer. */
static void plain_peer(void **state)
{
	for (int loss = 0; loss <= 50; loss += 50) {
		struct tcp *a, *b;

		setup(state);
		connect_two(&a, &b);
		a->sack_ok = b->sack_ok = a->time_ok = b->time_ok = false;
		w.loss = (u32)loss;
		exchange(a, b, 1 << 20, 0);
		close_both(a, b);
	}
}

/* A reader that stops closes the window; it opens again without a byte lost, also when that news gets lost. */
static void closed_window(void **state)
{
	struct tcp *a, *b;
	u64 out = 0, in = 0, n;

	connect_two(&a, &b);
	while ((n = write_some(a, out, 8 << 20, 0))) {
		out += n;
		run_for(1000000);
	}
	run_for(NSEC_PER_SEC);
	assert_int_equal(a->snd_wnd, 0);
	assert_true(out > b->queued);
	run_for(600 * NSEC_PER_SEC);
	assert_int_equal(a->state, TS_ESTABLISHED); /* probed for ten minutes, and not given up */
	w.cut = true;
	while (b->queued)
		in += read_some(b, in, 0);
	run_for(NSEC_PER_SEC);
	w.cut = false;
	for (int i = 0; i < 1000 && in < out; i++) {
		run_for(NSEC_PER_SEC);
		while ((n = read_some(b, in, 0)))
			in += n;
	}
	assert_int_equal(in, out);
	close_both(a, b);
}

/* ---- life and death
 * --------------------------------------------------------------------------------------------------------- */

static void refused(void **state)
{
	struct tcp *a = call(81);

	run_for(NSEC_PER_SEC);
	assert_int_equal(a->state, TS_CLOSE);
	assert_int_equal(a->error, ECONNREFUSED);
	tcp_close(a, false);
	finish();
}

static void nobody_there(void **state)
{
	struct tcp *a;

	w.cut = true;
	a = call(80);
	run_for(30 * NSEC_PER_SEC);
	assert_int_equal(a->state, TS_SYN_SENT);
	run_for(200 * NSEC_PER_SEC);
	assert_int_equal(a->error, ETIMEDOUT);
	tcp_close(a, false);
	finish();
}

static void orderly_close(void **state)
{
	struct tcp *a, *b;
	u64 in = 0, n;

	connect_two(&a, &b);
	(void)write_some(a, 0, 1000, 0);
	tcp_shutdown(a, false, true);
	assert_int_equal(tcp_send_room(a), -EPIPE);
	run_for(100000000);
	assert_int_equal(a->state, TS_FIN_WAIT2);
	assert_int_equal(b->state, TS_CLOSE_WAIT);
	assert_true(b->fin_received);
	n = b->queued;
	while (b->queued)
		in += read_some(b, in, 0);
	assert_int_equal(in, n);
	assert_int_equal(write_some(b, 0, 5, 1) > 0, 1); /* the other way is still open */
	run_for(100000000);
	assert_true(a->queued > 0);
	(void)read_some(a, 0, 1);
	tcp_close(b, false);
	run_for(100000000);
	assert_int_equal(a->state, TS_TIME_WAIT);
	tcp_close(a, false);
	run_for(59 * NSEC_PER_SEC);
	assert_int_equal(w.opened - w.forgotten, 1);
	run_for(2 * NSEC_PER_SEC);
	assert_int_equal(w.opened, w.forgotten);
	finish();
}

static void both_close_at_once(void **state)
{
	struct tcp *a, *b;

	connect_two(&a, &b);
	run_for(100000000);
	tcp_shutdown(a, false, true);
	tcp_shutdown(b, false, true);
	run_for(100000000);
	assert_int_equal(a->state, TS_TIME_WAIT);
	assert_int_equal(b->state, TS_TIME_WAIT);
	tcp_close(a, false);
	tcp_close(b, false);
	finish();
}

static void unread_data_resets(void **state)
{
	struct tcp *a, *b;

	connect_two(&a, &b);
	(void)write_some(a, 0, 1000, 0);
	run_for(100000000);
	tcp_close(b, false);
	run_for(100000000);
	assert_int_equal(a->error, ECONNRESET);
	assert_int_equal(tcp_send_room(a), -ECONNRESET);
	tcp_close(a, false);
	finish();
}

/* One urgent byte behind plain ones, over a wire that loses a third. */
static void urgent_byte(void **state)
{
	struct tcp_chunk *c;
	struct tcp *a, *b;
	u8 byte = 0;
	u32 len = 0;

	connect_two(&a, &b);
	w.loss = 300;
	assert_int_equal(tcp_take_urgent(b, false, &byte), -EINVAL);
	c = tcp_chunk_alloc(3000);
	c->len = 3000;
	memset(c->data, 'a', 2999);
	c->data[2999] = 'U';
	urgent_signals = 0;
	assert_int_equal(tcp_append(a, c, TCP_URGENT), 0);
	c = tcp_chunk_alloc(1);
	c->len = 1;
	c->data[0] = 'z';
	assert_int_equal(tcp_append(a, c, 0), 0);
	for (int i = 0; i < 10000 && b->queued < 3001; i++)
		assert_true(step(~0ULL));
	assert_int_equal(urgent_signals, 1);
	assert_int_equal(tcp_plain_bytes(b), 2999);
	for (u32 done = 0; done < 2999; done += len) {
		assert_non_null(tcp_readable(b, 0, &len));
		assert_int_equal(tcp_mark(b, 0, &len), MARK_PLAIN);
		tcp_consume(b, len);
	}
	assert_true(tcp_at_mark(b));
	assert_int_equal(tcp_take_urgent(b, true, &byte), 1);
	assert_int_equal(tcp_take_urgent(b, false, &byte), 1);
	assert_int_equal(byte, 'U');
	assert_int_equal(tcp_take_urgent(b, false, &byte), -EINVAL);
	assert_int_equal(tcp_mark(b, 0, &len), MARK_URGENT);
	tcp_consume(b, 1);
	assert_int_equal(*tcp_readable(b, 0, &len), 'z');
	assert_int_equal(tcp_mark(b, 0, &len), MARK_PLAIN);
	tcp_consume(b, 1);
	close_both(a, b);
}

static void dead_peer(void **state)
{
	struct tcp *a, *b;

	connect_two(&a, &b);
	run_for(NSEC_PER_SEC);
	a->keep_idle_s = 10;
	a->keep_interval_s = 5;
	a->keep_count = 3;
	tcp_set_flags(a, -1, -1, 1);
	run_for(100 * NSEC_PER_SEC);
	assert_int_equal(a->state, TS_ESTABLISHED); /* the peer answers */
	w.cut = true;
	run_for(40 * NSEC_PER_SEC);
	assert_int_equal(a->error, ETIMEDOUT);
	(void)write_some(b, 0, 100, 1);
	run_for(3000 * NSEC_PER_SEC);
	assert_int_equal(b->error, ETIMEDOUT);
	tcp_close(a, false);
	tcp_close(b, false);
	finish();
}

static void crossed_calls(void **state)
{
	struct ip_addr at[2] = { addr_of(0), addr_of(1) };
	struct tcp *t[2];

	for (int i = 0; i < 2; i++) {
		t[i] = open_one(i);
		assert_int_equal(tcp_bind(t[i], &at[i], net_host16(700)), 0);
	}
	for (int i = 0; i < 2; i++)
		assert_int_equal(tcp_connect(t[i], &at[i], &at[!i], net_host16(700)), 0);
	run_for(NSEC_PER_SEC);
	assert_int_equal(t[0]->state, TS_ESTABLISHED);
	assert_int_equal(t[1]->state, TS_ESTABLISHED);
	exchange(t[0], t[1], 100000, 0);
	close_both(t[0], t[1]);
}

static void full_backlog(void **state)
{
	struct tcp *l = listen_at(80, 2), *a[5], *b[5];
	int n = 0;

	for (int i = 0; i < 5; i++)
		a[i] = call(80);
	run_for(100000000);
	assert_int_equal(l->nr_ready, 3); /* Linux: one more than asked for */
	while ((b[n] = tcp_accept(l, &owner_mark)))
		n++;
	assert_int_equal(n, 3);
	run_for(20 * NSEC_PER_SEC); /* the others call again */
	while (n < 5 && (b[n] = tcp_accept(l, &owner_mark)))
		n++;
	assert_int_equal(n, 5);
	for (int i = 0; i < 5; i++) {
		tcp_close(a[i], i & 1);
		tcp_close(b[i], false);
	}
	a[0] = call(80);
	run_for(NSEC_PER_SEC);
	assert_int_equal(l->nr_ready, 1);
	tcp_close(l, false); /* who was not accepted is reset */
	run_for(NSEC_PER_SEC);
	assert_int_equal(a[0]->error, ECONNRESET);
	tcp_close(a[0], false);
	finish();
}

static void ports(void **state)
{
	struct ip_addr any = ip_addr_v4(0), one = addr_of(1), any6 = { { 0, 0, 0, 0 } };
	struct tcp *l = listen_at(80, 1), *x = open_one(1), *y = open_one(1), *z;
	u16 port = net_host16(80);

	assert_int_equal(tcp_bind(x, &any, port), -EADDRINUSE);
	assert_int_equal(tcp_bind(x, &one, port), -EADDRINUSE);
	x->reuse_addr = l->reuse_addr = true;
	assert_int_equal(tcp_bind(x, &one, port), -EADDRINUSE); /* it listens */
	x->is_v6 = true;
	assert_int_equal(tcp_bind(x, &any6, port), -EADDRINUSE);
	x->only_v6 = true;
	assert_int_equal(tcp_bind(x, &any6, port), 0);
	assert_int_equal(tcp_bind(x, &any6, port), -EINVAL);
	x->reuse_addr = y->reuse_addr = false;
	x->reuse_port = y->reuse_port = true;
	y->is_v6 = y->only_v6 = true;
	y->uid = 7;
	assert_int_equal(tcp_bind(y, &any6, port), -EADDRINUSE); /* somebody else's */
	y->uid = 0;
	assert_int_equal(tcp_bind(y, &any6, port), 0);
	assert_int_equal(tcp_listen(x, 1), 0);
	assert_int_equal(tcp_listen(y, 1), 0);
	z = open_one(1);
	assert_int_equal(tcp_bind(z, &any, 0), 0);
	assert_true(net_host16(z->local_port) >= 32768);
	tcp_close(x, false);
	tcp_close(y, false);
	tcp_close(z, false);
	tcp_close(l, false);
	finish();
}

/* ---- forgery
 * ----------------------------------------------------------------------------------------------------------------- */

static void forge(struct tcp *to, u32 seq, u8 flags)
{
	struct packet *p = packet_alloc(20, ALLOC_ATOMIC);
	u8 *h = packet_put(p, 20);
	u32 be = net_host32(seq), ack = net_host32(to->snd_max);

	memset(h, 0, 20);
	memcpy(h, &to->remote_port, 2);
	memcpy(h + 2, &to->local_port, 2);
	memcpy(h + 4, &be, 4);
	memcpy(h + 8, &ack, 4);
	h[12] = 5 << 4;
	h[13] = flags;
	tcp_input(to->host, p, &to->remote, &to->local);
}

/* ---- a flood of calls */

/* A call from an invented address. */
static void call_from(struct tcp *l, u32 n)
{
	struct packet *p = packet_alloc(20, ALLOC_ATOMIC);
	struct ip_addr from = ip_addr_v4(net_host32(0xc6336400U + n)), to = addr_of(1);
	u16 port = net_host16((u16)(1024 + n));
	u8 *h = packet_put(p, 20);

	memset(h, 0, 20);
	memcpy(h, &port, 2);
	memcpy(h + 2, &l->local_port, 2);
	memcpy(h + 4, &n, 4);
	h[12] = 5 << 4;
	h[13] = 2;
	h[14] = 16;
	tcp_input(l->host, p, &from, &to);
}

static void cookies(void **state)
{
	struct tcp *l = listen_at(80, 5), *a, *b, *late;

	w.cut = true;
	for (u32 n = 0; n < 400; n++)
		call_from(l, n);
	assert_int_equal(l->nr_children, 129);
	assert_int_equal(w.host[1].cookies_sent, 400 - 129);
	w.cut = false;
	a = call(80);
	run_for(NSEC_PER_SEC);
	b = tcp_accept(l, &owner_mark);
	assert_non_null(b);
	assert_int_equal(w.host[1].cookies_taken, 1);
	assert_true(b->sack_ok && b->time_ok && b->snd_scale && b->rcv_scale == 7 && b->mss == a->mss);
	exchange(a, b, 1000000, 0);
	forge(l, 1, 16); /* no cookie */
	assert_int_equal(l->nr_ready, 0);
	w.host[1].cookies = 0; /* now the queue is a wall again */
	w.cut = true;
	for (u32 n = 400; n < 600; n++)
		call_from(l, n);
	w.cut = false;
	late = call(80);
	run_for(NSEC_PER_SEC / 2);
	assert_int_equal(late->state, TS_SYN_SENT);
	tcp_close(late, true);
	tcp_close(a, false);
	tcp_close(b, false);
	tcp_close(l, false);
	finish();
}

static void forged_segments(void **state)
{
	struct tcp *a, *b;

	connect_two(&a, &b);
	run_for(NSEC_PER_SEC);
	forge(b, b->rcv_nxt + 1000, 4); /* in the window, but not the number */
	forge(b, b->rcv_nxt - 1, 4);
	forge(b, b->rcv_nxt + 10, 2 | 16);
	forge(b, b->rcv_nxt, 2);
	assert_int_equal(b->state, TS_ESTABLISHED);
	run_for(NSEC_PER_SEC);
	exchange(a, b, 10000, 0);
	forge(b, b->rcv_nxt, 4);
	assert_int_equal(b->error, ECONNRESET);
	tcp_close(a, true);
	tcp_close(b, true);
	finish();
}

static void malformed_options(void **state)
{
	struct tcp_options o;

	assert_false(tcp_parse_options((u8[]){ 2, 0 }, 2, true, &o));
	assert_false(tcp_parse_options((u8[]){ 2, 1, 0 }, 3, true, &o));
	assert_false(tcp_parse_options((u8[]){ 1, 1, 8 }, 3, true, &o));
	assert_false(tcp_parse_options((u8[]){ 5, 10, 0, 0 }, 4, true, &o));
	assert_true(tcp_parse_options((u8[]){ 2, 4, 5, 180, 1, 3, 3, 200, 0, 99 }, 10, true, &o));
	assert_int_equal(o.mss, 1460);
	assert_int_equal(o.scale, 14); /* more than the greatest is the greatest (RFC 7323, 2.3) */
	assert_true(tcp_parse_options((u8[]){ 2, 4, 5, 180 }, 4, false, &o));
	assert_false(o.has_mss); /* only a SYN has one */
}

#define T(f) cmocka_unit_test_setup(f, setup)

int main(void)
{
	const struct CMUnitTest tests[] = { T(clean_stream),       T(lossy_stream),     T(lossy_small_segments),
					    T(shuffled_stream),    T(everything_wrong), T(big_segments),
					    T(plain_peer),         T(closed_window),    T(refused),
					    T(nobody_there),       T(orderly_close),    T(both_close_at_once),
					    T(unread_data_resets), T(urgent_byte),      T(dead_peer),
					    T(crossed_calls),      T(full_backlog),     T(ports),
					    T(forged_segments),    T(cookies),          T(malformed_options) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
