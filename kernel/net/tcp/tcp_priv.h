/* SPDX-License-Identifier: MIT
 *
 * Between the files of TCP. All run with the host's lock held.
 *
 * Names: una oldest byte not acknowledged; nxt next to send (goes back after a timeout); max highest ever sent; edge
 * the right end of the window we promised.
 */
#ifndef TCP_PRIV_H
#define TCP_PRIV_H

#include <linux/bpf.h>
#include <net/tcp.h>

#define MS                NSEC_PER_MSEC
#define RTO_FIRST         (1000 * MS)
#define RTO_MIN           (200 * MS)
#define RTO_MAX           (120 * NSEC_PER_SEC)
#define DELAY_ACK         (40 * MS)
#define TIME_WAIT_NS      (60 * NSEC_PER_SEC)
#define CORK_NS           (200 * MS)
#define RETRIES           15 /* net.ipv4.tcp_retries2 */
#define ORPHAN_RETRIES    8
#define SYN_RETRIES       6
#define SYN_ACK_RETRIES   5
#define MAX_SCALE         14
#define RECEIVE_SCALE     7
#define FIRST_WINDOW_SEGS 10
#define MAX_WINDOW        0x3fff0000U
#define SEND_BUFFER       (1024U << 10)
#define RECEIVE_BUFFER    131072U /* net.ipv4.tcp_rmem's middle */
#define RECEIVE_MAX       (6U << 20)
#define RUDE_NS           (500 * MS) /* between answers to segments that fit no window */

enum tcp_option { /* RFC 9293 3.2, 7323, 2018 */
		  OPT_END,
		  OPT_NOP,
		  OPT_MSS,
		  OPT_SCALE,
		  OPT_SACK_OK,
		  OPT_SACK,
		  OPT_TIME = 8,
};
#define OPT_MSS_LEN     4
#define OPT_SCALE_LEN   3
#define OPT_SACK_OK_LEN 2
#define OPT_TIME_LEN    10

struct segment {                   /* one received segment, parsed */
	u32 seq, ack, len, window; /* len: payload only */
	bool syn, fin, rst, has_ack;
	u32 ifindex, vrf; /* where it came in */
	bool has_urgent;
	u16 urgent; /* pointer */
	struct tcp_options opt;
};

/* What the receiver notes in packet->note. */
struct tcp_note {
	u32 seq, end; /* of the payload */
	bool fin;     /* it ends with FIN, at seq `end` */
};

static inline struct tcp_note *note_of(struct packet *p)
{
	return (struct tcp_note *)p->note;
}
static inline bool seq_lt(u32 a, u32 b)
{
	return (s32)(a - b) < 0;
}
static inline bool seq_le(u32 a, u32 b)
{
	return (s32)(a - b) <= 0;
}
static inline u32 seq_max(u32 a, u32 b)
{
	return seq_lt(a, b) ? b : a;
}
static inline u32 seq_min(u32 a, u32 b)
{
	return seq_lt(a, b) ? a : b;
}
static inline u64 tcp_now(const struct tcp *t)
{
	return t->host->ops->now();
}
static inline bool tcp_has_peer_state(enum tcp_state s) /* synchronised */
{
	return s != TS_CLOSE && s != TS_LISTEN && s != TS_SYN_SENT;
}
static inline u32 tcp_send_end(const struct tcp *t) /* with our FIN */
{
	return t->write_seq + t->fin_queued;
}

/* Programs of the tenant: their answer, -1: none. */
static inline int tcp_program(struct tcp *t, u32 op, u32 a, u32 b, u32 c)
{
	const u32 args[3] = { a, b, c };

	return static_branch(&tcp_program_key) ? t->host->ops->program(t, op, args) : -1;
}
static inline void tcp_set_state(struct tcp *t, enum tcp_state s)
{
	if (t->program_flags & BPF_SOCK_OPS_STATE_CB_FLAG)
		(void)tcp_program(t, BPF_SOCK_OPS_STATE_CB, t->state, s, 0);
	t->state = s;
}

/* The next byte for the reader. */
static inline u32 tcp_copied(const struct tcp *t)
{
	return t->rcv_nxt - t->fin_received - t->queued;
}

/* table.c */
struct tcp *tcp_alloc(struct tcp_host *h, bool is_v6, const struct tcp *parent); /* whose payer pays; NULL: current's */
void tcp_hash(struct tcp *t);
void tcp_unhash(struct tcp *t);
/* ifindex, vrf: where the segment came in (net/packet.h). */
struct tcp *tcp_find(struct tcp_host *h, const struct ip_addr *local, u16 local_port, const struct ip_addr *remote,
		     u16 remote_port, u32 ifindex, u32 vrf);
struct tcp *tcp_find_listener(struct tcp_host *h, const struct ip_addr *local, u16 port, const struct ip_addr *remote,
			      u16 remote_port, u32 ifindex, u32 vrf);
int __must_check tcp_take_port(struct tcp *t, const struct ip_addr *addr, u16 port);
int __must_check tcp_check_port(struct tcp *t);
int __must_check tcp_take_any_port(struct tcp *t); /* for connect: both ends but the local port are set */
void tcp_inherit_port(struct tcp *t);
void tcp_alarm_update(struct tcp *t);
void tcp_end(struct tcp *t, int error); /* CLOSE: out of the tables, no timers; the owner learns */
void tcp_reap(struct tcp *t);           /* frees t if nobody has it any more; the last thing done with it */
void tcp_drop_child(struct tcp *child); /* takes it off its listener */
void tcp_enter_time_wait(struct tcp *t);
void tcp_event(struct tcp *t);

/* in.c */
void tcp_start_connect(struct tcp *t);

/* out.c */
void tcp_set_mss(struct tcp *t, u32 peer_mss);
void tcp_fit_mss(struct tcp *t); /* the route carries less than it did */
void tcp_send_syn(struct tcp *t);
void tcp_send_ack(struct tcp *t);
void tcp_send_probe(struct tcp *t);
void tcp_send_reset(struct tcp *t); /* of a connection that has a peer */
void tcp_reset_reply(struct tcp_host *h, const struct segment *s, const struct ip_addr *from, u16 from_port,
		     const struct ip_addr *to, u16 to_port);
void tcp_push(struct tcp *t); /* sends what windows allow */
u32 tcp_retransmit(struct tcp *t, u32 seq, u32 most);
u32 tcp_receive_edge(const struct tcp *t);
u32 tcp_time(const struct tcp *t); /* our timestamp */

/* ack.c */
bool tcp_ack(struct tcp *t, const struct segment *s); /* false: drop the segment */
u32 tcp_pipe(const struct tcp *t);                    /* bytes believed to be in the network */
u32 tcp_sacked_bytes(const struct tcp *t);
bool tcp_fill_hole(struct tcp *t); /* repeats one segment that the peer lacks; false: none, or cwnd is used up */
void tcp_loss_timeout(struct tcp *t);
void tcp_rtt_sample(struct tcp *t, u64 ns);
void tcp_free_sent(struct tcp *t, bool all);
void tcp_fail(struct tcp *t, int error); /* with a reset to the peer */

/* cookie.c: t is a child whose ends are set */
u32 tcp_cookie(struct tcp *t);       /* the first sequence number that says it all; take_syn has run */
void tcp_cookie_time(struct tcp *t); /* puts the options into its timestamps */
/* The call that s acknowledges, when its number is a cookie of ours. */
bool __must_check tcp_cookie_read(struct tcp *t, const struct segment *s, struct segment *syn);

/* cubic.c */
void tcp_cubic_grow(struct tcp *t, u32 acked);
u32 tcp_cubic_loss(struct tcp *t, u32 flight); /* the window after it */

/* data.c */
void tcp_data(struct tcp *t, struct packet *p, const struct segment *s); /* consumes p */
void tcp_keep(struct tcp *t, const struct packet *p, bool keeps);        /* among what came: its payer's memory */
void tcp_urgent(struct tcp *t, const struct packet *p, const struct segment *s);
void tcp_free_received(struct tcp *t);
void tcp_free_late(struct tcp *t);                                              /* what came out of order */
void tcp_measure_sack(const struct tcp *t, struct tcp_range *out, unsigned *n); /* what to tell the peer */

/* timers.c */
void tcp_timers(struct tcp *t, u64 now);
void tcp_arm_rexmit(struct tcp *t);
void tcp_arm_keepalive(struct tcp *t);

#endif
