/* SPDX-License-Identifier: MIT
 *
 * TCP as a pure core. A tcp_host is one network's connections, listeners and ports; what it needs of the world (time,
 * random numbers, sending, waking, an alarm) it asks through tcp_host_ops, so that the kernel and a test on the host
 * run the same code.
 *
 * Sources: RFC 9293 (states, segments), 7323 (window scale, timestamps, PAWS), 2018 and 6675 (SACK, recovery), 5681 and
 * 6582 (NewReno), 9438 (CUBIC), 6298 (retransmission timer), 5961 (challenge ACKs), 1122 4.2.3.6 (keepalive). Defaults:
 * tcp(7).
 *
 * Units: sequence numbers and windows in bytes, times in clock nanoseconds, ports in network order. Threading: any
 * context; one lock a host (h->lock, RANK_SOCKET, irqsave). The ops are called with it held and must not call back.
 * Ownership: a tcp belongs to its owner until tcp_close; after that it ends and frees itself.
 */
#ifndef NET_TCP_H
#define NET_TCP_H

#include <core/spin.h>
#include <core/static_branch.h>
#include <lib/list.h>
#include <lib/rbtree.h>
#include <net/addr.h>
#include <net/packet.h>

enum tcp_state { /* the numbers of /proc/net/tcp and TCP_INFO */
		 TS_ESTABLISHED = 1,
		 TS_SYN_SENT,
		 TS_SYN_RECV,
		 TS_FIN_WAIT1,
		 TS_FIN_WAIT2,
		 TS_TIME_WAIT,
		 TS_CLOSE,
		 TS_CLOSE_WAIT,
		 TS_LAST_ACK,
		 TS_LISTEN,
		 TS_CLOSING,
};

#define TCP_BUCKETS     1024
#define TCP_SACK_RANGES 32
#define TCP_SEGMENT_MAX 32256 /* payload: with headers and descriptor it fits 32 KiB */
#define TCP_CHUNK_MAX   16320 /* with its head 16 KiB */

struct tcp;
struct tcp_host;

struct tcp_host_ops {
	u64 (*now)(void);
	u64 (*random)(void);
	/* data is at the TCP header, its checksum 0. t: whose segment, NULL: nobody's (a reset). Consumes p. */
	void (*output)(struct tcp_host *h, struct tcp *t, struct packet *p, const struct ip_addr *source,
		       const struct ip_addr *destination);
	bool (*allow_input)(struct tcp *t, struct packet *p); /* programs of the owner's tenant */
	u32 (*mtu)(struct tcp_host *h, struct tcp *t);        /* of the way to t's peer */
	u32 (*device)(struct tcp *t);                         /* the ifindex that it is bound to; 0: none */
	void (*event)(struct tcp *t);  /* something became true that t's owner may wait for; not called without owner */
	void (*urgent)(struct tcp *t); /* urgent data are on their way; t has an owner */
	void (*alarm)(struct tcp_host *h, u64 at);             /* call tcp_host_alarm then; ~0: not needed */
	int (*child)(struct tcp *listener, struct tcp *child); /* a connection begins: it takes on its listener's tag */
	void (*forget)(struct tcp *t); /* it is over, and in no table: frees it, when nobody looks at it any more */
	/* Programs of the owner's tenant are told (BPF_SOCK_OPS_* of linux/bpf.h): their answer, -1: none. Called only
	 * while tcp_program_key has users. */
	int (*program)(struct tcp *t, u32 op, const u32 args[3]);
};
DECLARE_STATIC_KEY(tcp_program_key);

struct tcp_host {
	struct spinlock lock;
	const struct tcp_host_ops *ops;
	void *priv;
	struct rb_root alarms;
	u64 armed; /* what ops->alarm was last told */
	u32 nr_orphans;
	u64 cookie_key[2], cookies_until; /* until: after the last cookie that may still come back */
	u32 cookies;                      /* net.ipv4.tcp_syncookies: 0 never, 1 when a queue is full, 2 always */
	u64 cookies_sent, cookies_taken, overflows, timeouts;
	u64 in_segments, out_segments, retransmits, resets_sent, bad_segments;
	struct list connections[TCP_BUCKETS]; /* by both ends */
	struct list ports[TCP_BUCKETS];       /* by local port: all that hold one */
};

struct tcp_chunk { /* bytes to be sent, as the user gave them */
	struct list link;
	u32 len, room;
	u8 data[];
};

enum tcp_urgent { URGENT_NONE, URGENT_ANNOUNCED, URGENT_THERE, URGENT_READ };

struct tcp_range {
	u32 start, end;
};

struct tcp_options { /* of one received segment */
	bool has_mss, has_scale, has_time, sack_ok;
	u16 mss;
	u8 scale, nr_sack;
	u32 time, echo;
	struct tcp_range sack[4];
};

/* All fields: host lock, but those set by the owner before use. Names, state, owner, tag and numbers may also be read
 * under RCU. */
struct tcp {
	struct tcp_host *host;
	void *owner;        /* NULL: not accepted yet, or closed */
	struct tcp *parent; /* the listener, until accepted */
	void *tag;          /* the user's; outlives the owner, ends with ops->forget */
	enum tcp_state state;
	int error;      /* positive; why it ended */
	int soft_error; /* positive; what the network said last: why a timeout ends it */
	struct list hash_link, port_link, child_link;
	struct list children; /* a listener's: SYN_RECV, and `ready` ones */
	u32 nr_children, nr_ready, backlog;
	bool ready;    /* may be accepted */
	bool orphaned; /* its owner closed it */

	/* names */
	struct ip_addr local, remote;
	u16 local_port, remote_port;
	bool is_v6, only_v6; /* the socket's family */
	bool port_locked;    /* named by bind, not chosen by connect */
	bool reuse_addr, reuse_port;
	u32 defer_tries; /* of a listener: bare acknowledgements of children are ignored for so many timeouts; 0: off */
	u32 window_clamp; /* bytes that the window never exceeds; 0: none */
	u32 first_window; /* bytes that it has in the SYN, a program's limit; 0: none */
	u32 uid;
	u8 program_flags; /* BPF_SOCK_OPS_*_CB_FLAG: what programs want to be told of */

	/* sending */
	struct list chunks;
	u32 chunk_seq;          /* of the first byte in the first chunk */
	struct tcp_chunk *hint; /* where the last look-up ended, at hint_seq; NULL: nowhere */
	u32 hint_seq;
	u32 snd_small; /* end of the last short segment sent (Minshall's form of Nagle) */
	u32 iss, snd_una, snd_nxt, snd_max, write_seq, snd_wnd, snd_wl1, snd_wl2, max_wnd;
	u32 mss; /* payload a segment */
	u32 advertised_mss, user_mss;
	u8 snd_scale, rcv_scale;
	u32 send_buffer;
	bool fin_queued, shut_write, no_delay, cork, push_now, send_buffer_fixed;

	/* congestion, recovery */
	u32 cwnd_most; /* segments, a program's limit; 0: none */
	u32 cwnd, ssthresh, dup_acks, recover, high_rxt;
	u64 cwnd_credit;
	bool reno;                              /* TCP_CONGESTION; else CUBIC */
	u32 cubic_wmax, cubic_k_ms, cubic_west; /* cubic.c */
	u64 cubic_epoch;                        /* 0: it begins with the next acknowledgement */
	bool in_recovery, in_loss;
	struct tcp_range sacked[TCP_SACK_RANGES];
	u32 nr_sacked;
	u64 rtt_start;
	u32 rtt_seq;
	bool rtt_timing;
	u64 srtt_ns, rttvar_ns, rto_ns;
	u32 backoff, retries, total_retransmits;
	u64 first_failure; /* when the retries began, 0: none */

	/* receiving */
	struct list received, out_of_order;
	u32 irs, rcv_nxt, rcv_edge, last_ack, rcv_mss;
	u32 receive_buffer, queued, memory, consumed, ooo_last; /* consumed: since the buffer grew */
	u64 rude_ack_at; /* when a segment outside the window was last answered */
	bool fin_received, shut_read, quick_ack, need_ack, receive_buffer_fixed;

	/* urgent data: one byte in each direction (RFC 6093) */
	bool urgent_out, stale_urgent; /* stale: the byte at stale_seq was urgent, unread when the next one came */
	u32 snd_up;                    /* behind the urgent byte that we sent last */
	u32 urgent_seq, stale_seq;
	enum tcp_urgent urgent;
	u8 urgent_byte;

	/* options agreed upon */
	bool sack_ok, time_ok;
	u32 ts_recent, ts_offset;

	/* times, 0: off */
	struct rb_node alarm_node;
	u64 alarm_at, rexmit_at, delack_at, keep_at, wait_at, cork_at;
	bool probing; /* rexmit_at is for a closed window */
	bool keep_alive;
	u32 keep_probes, keep_idle_s, keep_interval_s, keep_count, syn_retries, user_timeout_ms, linger2_s;
	u64 last_received;
	u64 bytes_in, bytes_out;
};

void tcp_host_init(struct tcp_host *h, const struct tcp_host_ops *ops, void *priv);
/* A packet with data at the TCP header, checksum already judged. Consumes it. */
void tcp_input(struct tcp_host *h, struct packet *p, const struct ip_addr *source, const struct ip_addr *destination);
void tcp_host_alarm(struct tcp_host *h);
/* The network ends: connections without owner are dropped. All others must have been closed. */
void tcp_host_stop(struct tcp_host *h);
/* fn (with the lock held) for each connection and listener that has a port, until it returns non-zero. */
void tcp_host_each(struct tcp_host *h, int (*fn)(struct tcp *t, void *arg), void *arg);
/* Whom a segment from remote to local would reach: a connection, else a listener. Under RCU, without the lock: what is
 * found may be changing or ending. */
struct tcp *tcp_look_up(struct tcp_host *h, const struct ip_addr *local, u16 local_port, const struct ip_addr *remote,
			u16 remote_port, u32 ifindex, u32 vrf);
struct tcp_quote { /* the network reports an error about a segment that we sent */
	struct ip_addr local, remote;
	u16 local_port, remote_port;
	u32 ifindex, vrf; /* where the report came in */
	u32 seq;
	int error; /* positive */
	bool hard;
	u32 mtu; /* of EMSGSIZE: what fits; 0: not told */
};
void tcp_error(struct tcp_host *h, const struct tcp_quote *q);
/* Options of a header; false: malformed. */
bool __must_check tcp_parse_options(const u8 *at, size_t len, bool syn, struct tcp_options *out);

/* ---- what a socket does. Each takes the host's lock. ---- */
int __must_check tcp_open(struct tcp_host *h, void *owner, bool is_v6, struct tcp **out);
int __must_check tcp_bind(struct tcp *t, const struct ip_addr *addr, u16 port); /* port 0: any */
int __must_check tcp_listen(struct tcp *t, u32 backlog);
/* Sends the SYN: the outcome comes by event. source: what to call from when not bound. */
int __must_check tcp_connect(struct tcp *t, const struct ip_addr *source, const struct ip_addr *addr, u16 port);
struct tcp *tcp_accept(struct tcp *t, void *owner); /* NULL: none waits */
/* Bytes that may be queued now; -EPIPE, or the positive error of t, negated. */
ssize_t tcp_send_room(struct tcp *t);
struct tcp_chunk *__must_check tcp_chunk_alloc(u32 len);
#define TCP_MORE   1U /* hold a last short segment back */
#define TCP_URGENT 2U /* the chunk's last byte is urgent */
/* Takes over the chunk. */
int __must_check tcp_append(struct tcp *t, struct tcp_chunk *c, unsigned how);
/* The bytes that wait from offset on (NULL: none). One reader at a time: they stay until tcp_consume. */
const u8 *tcp_readable(struct tcp *t, u32 offset, u32 *len);
void tcp_consume(struct tcp *t, u32 len);
/* What the byte at offset is; *len is cut so that it ends before the next one that is not plain. MARK_URGENT: reads
 * stop here, and leave it out unless it is to be in line. MARK_STALE: left out in any case but that. */
enum tcp_mark { MARK_PLAIN, MARK_URGENT, MARK_STALE };
enum tcp_mark tcp_mark(struct tcp *t, u32 offset, u32 *len);
/* 1: *byte is it; -EAGAIN: announced only; -EINVAL: there is none; 0: and none will come. keep: as if unread. */
int tcp_take_urgent(struct tcp *t, bool keep, u8 *byte);
bool tcp_at_mark(const struct tcp *t);
u32 tcp_plain_bytes(const struct tcp *t); /* that can be read up to the urgent one */
void tcp_shutdown(struct tcp *t, bool read, bool write);
void tcp_close(struct tcp *t, bool abort);                                 /* t is gone for its owner */
void tcp_set_flags(struct tcp *t, int no_delay, int cork, int keep_alive); /* -1: as it is */
void tcp_quick_ack(struct tcp *t, bool on);
void tcp_unbind(struct tcp *t);    /* right after a tcp_bind */
int tcp_disconnect(struct tcp *t); /* back to the state after tcp_open, or after tcp_bind */
/* bpf_setsockopt and bpf_getsockopt in a program that tcp_host_ops.program runs: the lock is held. In net/inet. */
int inet_tcp_program_set(struct tcp *t, int level, int name, const void *value, int len);
int inet_tcp_program_get(struct tcp *t, int level, int name, void *value, int len);
/* The connection of a TCP socket, or that a socket which is none stands for; NULL: another kind. In net/inet. */
struct socket;
struct tcp *inet_tcp_of(const struct socket *s);
bool tcp_is_connected(const struct tcp *t); /* has a peer: ESTABLISHED and what follows up to TIME_WAIT */

#endif
