/* SPDX-License-Identifier: MIT
 *
 * Problem: tcp(7) has some thirty options with units and limits of their own, and TCP_INFO shows the inside.
 *
 * Idea: the plain numbers are a table of field, least and greatest; what acts at once is a case.
 *
 * Contract: tcp(7); struct tcp_info of linux/tcp.h, cut to the caller's length. What is not built is -ENOPROTOOPT.
 *
 * Locks: single stores; the core takes its own lock where something must be sent.
 */
#include <asm/socket.h>
#include <lib/err.h>
#include <lib/string.h>
#include <linux/bpf.h>
#include <linux/in.h>
#include <linux/tcp.h>

#include "stream.h"

struct number {
	int name, least, most;
	size_t field; /* of struct tcp, u32 */
};
#define NUMBER(name, least, most, field)                                                                               \
	{                                                                                                              \
		name, least, most, offsetof(struct tcp, field)                                                         \
	}
static const struct number numbers[] = {
	NUMBER(TCP_KEEPINTVL, 1, 32767, keep_interval_s),
	NUMBER(TCP_KEEPCNT, 1, 127, keep_count),
	NUMBER(TCP_KEEPIDLE, 1, 32767, keep_idle_s),
	NUMBER(TCP_SYNCNT, 1, 127, syn_retries),
	NUMBER(TCP_USER_TIMEOUT, 0, 0x7fffffff, user_timeout_ms),
};

static const struct number *find(int name)
{
	for (unsigned i = 0; i < ARRAY_SIZE(numbers); i++)
		if (numbers[i].name == name)
			return &numbers[i];
	return NULL;
}

static u32 *field_of(struct tcp *t, const struct number *n)
{
	return (u32 *)((u8 *)t + n->field);
}

void stream_option_changed(struct socket *s, int name)
{
	struct tcp *t = stream_of(s)->tcp;

	if (name == SO_KEEPALIVE)
		tcp_set_flags(t, -1, -1, s->keep_alive);
	if (name == SO_SNDBUF) {
		t->send_buffer_fixed = true;
		t->send_buffer = s->send_buffer;
	}
	if (name == SO_RCVBUF) {
		t->receive_buffer_fixed = true;
		t->receive_buffer = s->receive_buffer / 2; /* as Linux: the other half is bookkeeping */
	}
	if (name == SO_REUSEADDR || name == SO_REUSEPORT) {
		t->reuse_addr = s->reuse_addr;
		t->reuse_port = s->reuse_port;
	}
}

static int set_algorithm(struct tcp *t, const char *name, int len)
{
	char text[16] = { 0 };

	memcpy(text, name, min((size_t)len, sizeof(text) - 1));
	if (strcmp(text, "reno") && strcmp(text, "cubic"))
		return -ENOENT;
	t->reno = text[0] == 'r';
	return 0;
}

static int set_number(struct tcp *t, const struct number *n, int v)
{
	if (v < n->least || v > n->most)
		return -EINVAL;
	*field_of(t, n) = (u32)v;
	if (n->name == TCP_KEEPIDLE && t->keep_alive)
		tcp_set_flags(t, -1, -1, true); /* the time starts again */
	return 0;
}

#define FIRST_TIMEOUT_S 1
#define LAST_TIMEOUT_S  120
#define CLAMP_LEAST     1152

/* TCP_DEFER_ACCEPT is in seconds, and counts in timeouts that double. */
static u32 timeouts_in(int seconds)
{
	int timeout = FIRST_TIMEOUT_S, sum = timeout;
	u32 n = seconds > 0;

	for (; seconds > sum && n < 255; n++) {
		timeout = min(timeout * 2, LAST_TIMEOUT_S);
		sum += timeout;
	}
	return n;
}

static u32 seconds_of(u32 timeouts)
{
	u32 timeout = FIRST_TIMEOUT_S, sum = timeouts ? timeout : 0;

	for (u32 n = 1; n < timeouts; n++) {
		timeout = min(timeout * 2, (u32)LAST_TIMEOUT_S);
		sum += timeout;
	}
	return sum;
}

static int set_clamp(struct tcp *t, int v)
{
	if (!v && t->state != TS_CLOSE)
		return -EINVAL;
	t->window_clamp = v ? max((u32)v, (u32)CLAMP_LEAST) : 0;
	return 0;
}

static int set_tcp(struct socket *s, int name, const void *value, int len)
{
	struct tcp *t = stream_of(s)->tcp;
	const struct number *n = find(name);
	int v;

	if (name == TCP_CONGESTION)
		return len < 1 ? -EINVAL : set_algorithm(t, value, len);
	if (len < (int)sizeof(v))
		return -EINVAL;
	memcpy(&v, value, sizeof(v));
	if (n)
		return set_number(t, n, v);
	switch (name) {
	case TCP_NODELAY: tcp_set_flags(t, v != 0, -1, -1); return 0;
	case TCP_CORK: tcp_set_flags(t, -1, v != 0, -1); return 0;
	case TCP_QUICKACK: tcp_quick_ack(t, v & 1); return 0;
	case TCP_LINGER2: t->linger2_s = v < 0 ? 0 : v == 0 ? 60 : min((u32)v, 120U); return 0;
	case TCP_DEFER_ACCEPT: t->defer_tries = timeouts_in(v); return 0;
	case TCP_WINDOW_CLAMP: return set_clamp(t, v);
	case TCP_MAXSEG:
		if (v && (v < 88 || v > 32767))
			return -EINVAL;
		t->user_mss = (u32)v;
		return 0;
	}
	return -ENOPROTOOPT;
}

int stream_setsockopt(struct socket *s, int level, int name, const void *value, int len)
{
	if (level == IPPROTO_TCP)
		return set_tcp(s, name, value, len);
	if (level == IPPROTO_IP || level == IPPROTO_IPV6)
		return inet_set_option(s, &stream_of(s)->common, level, name, value, len);
	return -ENOPROTOOPT;
}

/* ---- for programs -----------------------------------------------------------------------------------------------
 */

static int program_window(struct tcp *t, int name, u32 segments)
{
	if (!segments || segments > 0xffff)
		return -EINVAL;
	if (name == TCP_BPF_IW && t->snd_max == t->iss + 1)
		t->cwnd = segments * t->mss; /* nothing has been sent yet */
	else if (name == TCP_BPF_SNDCWND_CLAMP)
		t->cwnd_most = segments;
	else
		return -EINVAL;
	return 0;
}

int inet_tcp_program_set(struct tcp *t, int level, int name, const void *value, int len)
{
	const struct number *n = find(name);
	int v;

	if (level == IPPROTO_TCP && name == TCP_CONGESTION)
		return len < 1 ? -EINVAL : set_algorithm(t, value, len);
	if (len < (int)sizeof(v))
		return -EINVAL;
	memcpy(&v, value, sizeof(v));
	if (level == SOL_SOCKET && name == SO_RCVBUF) {
		t->receive_buffer_fixed = true;
		t->receive_buffer = (u32)clamp(v, 1152, 6 << 20);
	} else if (level == SOL_SOCKET && name == SO_SNDBUF) {
		t->send_buffer_fixed = true;
		t->send_buffer = (u32)clamp(v, 2304, 2 << 20) * 2;
	} else if (level != IPPROTO_TCP) {
		return -EINVAL;
	} else if (n) {
		if (v < n->least || v > n->most)
			return -EINVAL;
		*field_of(t, n) = (u32)v;
	} else if (name == TCP_NODELAY) {
		t->no_delay = v != 0;
	} else {
		return program_window(t, name, (u32)v);
	}
	return 0;
}

struct tcp *inet_tcp_of(const struct socket *s)
{
	bool stream = (s->family == PF_INET || s->family == PF_INET6) && s->type == SOCK_STREAM;

	if (s->is_connection)
		return container_of(s, struct stream_tag, socket)->tcp;
	return stream && s->proto ? ((struct stream *)s->proto)->tcp : NULL;
}

int inet_tcp_program_get(struct tcp *t, int level, int name, void *value, int len)
{
	const struct number *n = find(name);
	u32 v;

	memset(value, 0, (size_t)len);
	if (level != IPPROTO_TCP)
		return -EINVAL;
	if (name == TCP_CONGESTION) {
		str_copy(value, inet_tcp_algorithm(t), (size_t)len);
		return 0;
	}
	if (len != sizeof(v) || (!n && name != TCP_NODELAY))
		return -EINVAL;
	v = n ? *field_of(t, n) : t->no_delay;
	memcpy(value, &v, sizeof(v));
	return 0;
}

/* ---- reading -------------------------------------------------------------------------------------------------------
 */

static u32 us(u64 ns)
{
	return (u32)(ns / NSEC_PER_USEC);
}

static void fill_info(const struct tcp *t, struct tcp_info *i)
{
	*i = (struct tcp_info){ .tcpi_state = t->state == TS_TIME_WAIT ? TS_CLOSE : t->state,
				.tcpi_ca_state = t->in_loss       ? 4
						 : t->in_recovery ? 3
								  : 0,
				.tcpi_retransmits = (u8)t->retries,
				.tcpi_backoff = (u8)t->backoff,
				.tcpi_options = (t->time_ok ? TCPI_OPT_TIMESTAMPS : 0) |
						(t->sack_ok ? TCPI_OPT_SACK : 0) | (t->rcv_scale ? TCPI_OPT_WSCALE : 0),
				.tcpi_snd_wscale = t->snd_scale & 15,
				.tcpi_rcv_wscale = t->rcv_scale & 15,
				.tcpi_rto = us(t->rto_ns),
				.tcpi_ato = 40000,
				.tcpi_snd_mss = t->mss,
				.tcpi_rcv_mss = t->rcv_mss,
				.tcpi_rtt = us(t->srtt_ns),
				.tcpi_rttvar = us(t->rttvar_ns),
				.tcpi_snd_ssthresh = t->ssthresh == ~0U ? 0x7fffffff : t->ssthresh / max(t->mss, 1U),
				.tcpi_snd_cwnd = t->cwnd / max(t->mss, 1U),
				.tcpi_advmss = t->advertised_mss,
				.tcpi_rcv_space = t->receive_buffer,
				.tcpi_total_retrans = t->total_retransmits,
				.tcpi_bytes_received = t->bytes_in,
				.tcpi_bytes_sent = t->bytes_out,
				.tcpi_snd_wnd = t->snd_wnd };
	if (t->state == TS_LISTEN) {
		i->tcpi_unacked = t->nr_ready;
		i->tcpi_sacked = t->backlog;
	} else if (t->state != TS_CLOSE) {
		i->tcpi_unacked = (t->snd_max - t->snd_una + t->mss - 1) / t->mss;
		i->tcpi_sacked = t->nr_sacked;
		i->tcpi_notsent_bytes = (s32)(t->write_seq - t->snd_nxt) > 0 ? t->write_seq - t->snd_nxt : 0;
	}
}

void inet_tcp_info(const void *tcp, struct tcp_info *out)
{
	fill_info(tcp, out);
}

const char *inet_tcp_algorithm(const void *tcp)
{
	return ((const struct tcp *)tcp)->reno ? "reno" : "cubic";
}

static int get_bytes(const void *from, size_t size, void *value, int *len)
{
	*len = min(*len, (int)size);
	memcpy(value, from, *len);
	return 0;
}

static int get_tcp(struct socket *s, int name, void *value, int *len)
{
	struct tcp *t = stream_of(s)->tcp;
	const struct number *n = find(name);
	char algorithm[16] = { 0 };
	struct tcp_info info;
	u32 v;

	switch (name) {
	case TCP_INFO: fill_info(t, &info); return get_bytes(&info, sizeof(info), value, len);
	case TCP_CONGESTION:
		str_copy(algorithm, inet_tcp_algorithm(t), sizeof(algorithm));
		return get_bytes(algorithm, sizeof(algorithm), value, len);
	case TCP_NODELAY: v = t->no_delay; break;
	case TCP_CORK: v = t->cork; break;
	case TCP_QUICKACK: v = t->quick_ack; break;
	case TCP_LINGER2: v = t->linger2_s; break;
	case TCP_DEFER_ACCEPT: v = seconds_of(t->defer_tries); break;
	case TCP_WINDOW_CLAMP: v = t->window_clamp; break;
	case TCP_MAXSEG: v = t->user_mss && t->state == TS_CLOSE ? t->user_mss : t->mss; break;
	default:
		if (!n)
			return -ENOPROTOOPT;
		v = *field_of(t, n);
	}
	return get_bytes(&v, sizeof(v), value, len);
}

int stream_getsockopt(struct socket *s, int level, int name, void *value, int *len)
{
	int listens = stream_of(s)->tcp->state == TS_LISTEN;

	if (level == SOL_SOCKET && name == SO_ACCEPTCONN)
		return get_bytes(&listens, sizeof(listens), value, len);
	if (level == IPPROTO_TCP)
		return get_tcp(s, name, value, len);
	if (level == IPPROTO_IP || level == IPPROTO_IPV6)
		return inet_get_option(s, &stream_of(s)->common, level, name, value, len);
	return -ENOPROTOOPT;
}
