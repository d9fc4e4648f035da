/* SPDX-License-Identifier: MIT
 *
 * Problem: whoever sends calls from invented addresses fills a listener's queue, and true callers find no place.
 *
 * Idea: when the queue is full, the answer to a call holds all that is to be remembered: our first sequence number is a
 * keyed hash of both ends and the minute, with the segment size in three bits, and the timestamp's low bits name the
 * other options. Nothing is kept. An acknowledgement of a number that the hash confirms makes the connection then.
 *
 * Contract: tcp_priv.h. D. J. Bernstein's SYN cookies (RFC 4987, 3.6): 5 bits of time, 3 of size, 24 of the hash. The
 * hash: SipHash-2-4 (Aumasson and Bernstein 2012). Options are lost for callers without timestamps.
 *
 * Locks: the host's lock.
 */
#include <alloc/slab.h>
#include <lib/err.h>

#include "tcp_priv.h"

#define UNIT_NS    (64 * NSEC_PER_SEC)
#define UNITS      32 /* 5 bits */
#define UNITS_LIFE 2
#define HASH_BITS  24
#define SCALE_NONE 15U
#define SCALE_BITS 4
#define SACK_BIT   16U
#define TIME_BITS  63U

static const u16 sizes[8] = { 536, 1024, 1220, 1300, 1400, 1440, 1460, 8960 };

static u64 rotate(u64 x, unsigned n)
{
	return x << n | x >> (64 - n);
}

static void sip_round(u64 v[4])
{
	v[0] += v[1];
	v[2] += v[3];
	v[1] = rotate(v[1], 13) ^ v[0];
	v[3] = rotate(v[3], 16) ^ v[2];
	v[0] = rotate(v[0], 32);
	v[2] += v[1];
	v[0] += v[3];
	v[1] = rotate(v[1], 17) ^ v[2];
	v[3] = rotate(v[3], 21) ^ v[0];
	v[2] = rotate(v[2], 32);
}

static u64 hash(const u64 key[2], const u64 *words, unsigned n)
{
	u64 v[4] = { key[0] ^ 0x736f6d6570736575ULL, key[1] ^ 0x646f72616e646f6dULL, key[0] ^ 0x6c7967656e657261ULL,
		     key[1] ^ 0x7465646279746573ULL };

	for (unsigned i = 0; i <= n; i++) {
		u64 m = i < n ? words[i] : (u64)n * 8 << 56;

		v[3] ^= m;
		sip_round(v);
		sip_round(v);
		v[0] ^= m;
	}
	v[2] ^= 0xff;
	for (int i = 0; i < 4; i++)
		sip_round(v);
	return v[0] ^ v[1] ^ v[2] ^ v[3];
}

static u32 make(struct tcp *t, u32 peer_seq, u64 unit, unsigned size)
{
	const struct ip_addr *a = &t->local, *b = &t->remote;
	u64 words[] = { (u64)a->w[0] << 32 | a->w[1],
			(u64)a->w[2] << 32 | a->w[3],
			(u64)b->w[0] << 32 | b->w[1],
			(u64)b->w[2] << 32 | b->w[3],
			(u64)t->local_port << 48 | (u64)t->remote_port << 32 | peer_seq,
			unit << 3 | size };

	return (u32)(unit % UNITS) << 27 | size << HASH_BITS |
	       ((u32)hash(t->host->cookie_key, words, ARRAY_SIZE(words)) & (BIT(HASH_BITS) - 1));
}

u32 tcp_cookie(struct tcp *t)
{
	unsigned size = ARRAY_SIZE(sizes) - 1;

	while (size && sizes[size] > t->mss + (t->time_ok ? 12 : 0))
		size--;
	return make(t, t->irs, tcp_now(t) / UNIT_NS, size);
}

void tcp_cookie_time(struct tcp *t)
{
	u32 now, wanted, bits = t->rcv_scale ? t->snd_scale : SCALE_NONE;

	t->ts_offset = (u32)t->host->cookie_key[0];
	now = tcp_time(t);
	wanted = (now & ~TIME_BITS) | bits | (t->sack_ok ? SACK_BIT : 0);
	if (seq_lt(now, wanted))
		wanted -= TIME_BITS + 1;
	t->ts_offset += wanted - now;
}

bool tcp_cookie_read(struct tcp *t, const struct segment *s, struct segment *syn)
{
	u32 cookie = s->ack - 1, size = cookie >> HASH_BITS & 7, scale = s->opt.echo & (BIT(SCALE_BITS) - 1);
	u64 now = tcp_now(t) / UNIT_NS, age = (now - (cookie >> 27)) % UNITS;

	if (age > UNITS_LIFE || age > now || make(t, s->seq - 1, now - age, size) != cookie)
		return false;
	*syn = (struct segment){ .seq = s->seq - 1, .window = s->window, .syn = true };
	syn->opt.has_mss = true;
	syn->opt.mss = sizes[size];
	if (s->opt.has_time) {
		syn->opt.has_time = true;
		syn->opt.time = s->opt.time;
		syn->opt.has_scale = scale != SCALE_NONE;
		syn->opt.scale = (u8)min(scale, (u32)MAX_SCALE);
		syn->opt.sack_ok = s->opt.echo & SACK_BIT;
	}
	t->ts_offset = (u32)t->host->cookie_key[0];
	return true;
}
