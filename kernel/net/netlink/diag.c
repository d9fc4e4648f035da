/* SPDX-License-Identifier: MIT
 *
 * Problem: ss(8) shows thousands of sockets with their timers and the inside of TCP, chosen by state, family and port.
 *
 * Idea: the walk of net/inet.h makes one view a socket; what fits the request becomes a message. Filter programs inside
 * the request (by port, by address) are ss' own business: it filters what it gets as well.
 *
 * Contract: sock_diag(7), SOCK_DIAG_BY_FAMILY with struct inet_diag_req_v2 for TCP, UDP and raw, struct unix_diag_req
 * for local sockets. Packet and netlink sockets: ENOENT, and ss reads /proc/net.
 *
 * Locks: the walk holds the tables' spin lock.
 */
#include <linux/in.h>
#include <linux/inet_diag.h>
#include <linux/sock_diag.h>
#include <linux/tcp.h>
#include <linux/unix_diag.h>
#include <net/tcp.h>
#include <net/unix.h>

#include "netlink_priv.h"

struct listing {
	struct nl_reply *r;
	struct inet_diag_req_v2 q;
	u16 flags;
	bool exact; /* the one that the request names */
	unsigned nr;
};

static void put_addr(__be32 *out, const struct ip_addr *a, u8 family)
{
	if (family == PF_INET)
		out[0] = a->w[3];
	else
		memcpy(out, a, sizeof(*a));
}

static bool is_named(const struct inet_diag_sockid *id, const struct inet_socket_view *v)
{
	struct ip_addr from = ip_addr_v4(id->idiag_src[0]), to = ip_addr_v4(id->idiag_dst[0]);

	if (v->family == PF_INET6) {
		memcpy(&from, id->idiag_src, sizeof(from));
		memcpy(&to, id->idiag_dst, sizeof(to));
	}
	return id->idiag_sport == v->local_port && id->idiag_dport == v->remote_port &&
	       ip_addr_equal(&from, &v->local) && ip_addr_equal(&to, &v->remote);
}

static void put_extensions(struct listing *l, const struct inet_socket_view *v)
{
	u32 memory[SK_MEMINFO_VARS] = { [SK_MEMINFO_RMEM_ALLOC] = v->receive_bytes,
					[SK_MEMINFO_RCVBUF] = 212992,
					[SK_MEMINFO_SNDBUF] = 212992,
					[SK_MEMINFO_DROPS] = (u32)v->drops };
	struct tcp_info info;

	if (l->q.idiag_ext & 1 << (INET_DIAG_SKMEMINFO - 1))
		nl_put(l->r, INET_DIAG_SKMEMINFO, memory, sizeof(memory));
	if (!v->tcp)
		return;
	if (l->q.idiag_ext & 1 << (INET_DIAG_INFO - 1)) {
		inet_tcp_info(v->tcp, &info);
		nl_put(l->r, INET_DIAG_INFO, &info, sizeof(info));
	}
	if (l->q.idiag_ext & 1 << (INET_DIAG_CONG - 1))
		nl_put_text(l->r, INET_DIAG_CONG, inet_tcp_algorithm(v->tcp));
}

static int show(const struct inet_socket_view *v, void *arg)
{
	struct listing *l = arg;
	struct inet_diag_msg *m;

	if (v->family != l->q.sdiag_family || !(l->q.idiag_states >> v->state & 1))
		return 0;
	if (l->exact && !is_named(&l->q.id, v))
		return 0;
	if (!l->exact && ((l->q.id.idiag_sport && l->q.id.idiag_sport != v->local_port) ||
			  (l->q.id.idiag_dport && l->q.id.idiag_dport != v->remote_port)))
		return 0;
	m = nl_begin(l->r, SOCK_DIAG_BY_FAMILY, l->flags, sizeof(*m));
	*m = (struct inet_diag_msg){ .idiag_family = (u8)v->family,
				     .idiag_state = v->state,
				     .idiag_timer = (u8)v->timer,
				     .idiag_retrans = (u8)v->retransmits,
				     .idiag_expires = v->timer_ms,
				     .idiag_rqueue = v->receive_bytes,
				     .idiag_wqueue = v->state == TS_LISTEN ? v->backlog : v->send_bytes,
				     .idiag_uid = v->uid,
				     .idiag_inode = (u32)v->inode };
	m->id.idiag_sport = v->local_port;
	m->id.idiag_dport = v->remote_port;
	m->id.idiag_if = v->ifindex;
	memcpy(m->id.idiag_cookie, &v->cookie, sizeof(v->cookie));
	put_addr(m->id.idiag_src, &v->local, (u8)v->family);
	put_addr(m->id.idiag_dst, &v->remote, (u8)v->family);
	put_extensions(l, v);
	nl_end(l->r);
	l->nr++;
	return l->exact;
}

/* ---- local sockets ---------------------------------------------------------------------------------------------- */

struct local_listing {
	struct nl_reply *r;
	struct unix_diag_req q;
	u16 flags;
	bool exact;
	unsigned nr;
};

static void put_local(struct local_listing *l, const struct unix_socket_view *v)
{
	struct unix_diag_vfs file = { .udiag_vfs_ino = (u32)v->file_inode, .udiag_vfs_dev = v->file_dev };
	struct unix_diag_rqlen queues = { .udiag_rqueue = v->receive_bytes, .udiag_wqueue = v->send_bytes };
	u32 memory[SK_MEMINFO_VARS] = {
		[SK_MEMINFO_RMEM_ALLOC] = v->receive_bytes, [SK_MEMINFO_RCVBUF] = 212992, [SK_MEMINFO_SNDBUF] = 212992
	};

	if (l->q.udiag_show & UDIAG_SHOW_NAME && v->name.len > 2)
		nl_put(l->r, UNIX_DIAG_NAME, v->name.bytes + 2, (size_t)v->name.len - 2);
	if (l->q.udiag_show & UDIAG_SHOW_VFS && v->file_inode)
		nl_put(l->r, UNIX_DIAG_VFS, &file, sizeof(file));
	if (l->q.udiag_show & UDIAG_SHOW_PEER && v->peer_inode)
		nl_put_u32(l->r, UNIX_DIAG_PEER, (u32)v->peer_inode);
	if (l->q.udiag_show & UDIAG_SHOW_RQLEN)
		nl_put(l->r, UNIX_DIAG_RQLEN, &queues, sizeof(queues));
	if (l->q.udiag_show & UDIAG_SHOW_MEMINFO)
		nl_put(l->r, UNIX_DIAG_MEMINFO, memory, sizeof(memory));
	if (l->q.udiag_show & UDIAG_SHOW_UID)
		nl_put_u32(l->r, UNIX_DIAG_UID, v->uid);
	nl_put_u8(l->r, UNIX_DIAG_SHUTDOWN, v->shut);
}

static int show_local(const struct unix_socket_view *v, void *arg)
{
	struct local_listing *l = arg;
	struct unix_diag_msg *m;

	if (l->exact ? l->q.udiag_ino != (u32)v->inode || !v->inode : !(l->q.udiag_states >> v->state & 1))
		return 0;
	m = nl_begin(l->r, SOCK_DIAG_BY_FAMILY, l->flags, sizeof(*m));
	*m = (struct unix_diag_msg){
		.udiag_family = PF_UNIX, .udiag_type = (u8)v->type, .udiag_state = v->state, .udiag_ino = (u32)v->inode
	};
	memcpy(m->udiag_cookie, &v->cookie, sizeof(v->cookie));
	put_local(l, v);
	nl_end(l->r);
	l->nr++;
	return l->exact;
}

static int local_request(const struct nl_request *q, struct nl_reply *r)
{
	struct local_listing l = { .r = r, .exact = (q->h->nlmsg_flags & NLM_F_DUMP) != NLM_F_DUMP };

	if (q->len < sizeof(l.q))
		return -EINVAL;
	memcpy(&l.q, q->body, sizeof(l.q));
	if (l.q.sdiag_protocol || (l.exact && !l.q.udiag_ino))
		return -EINVAL;
	l.flags = l.exact ? 0 : NLM_F_MULTI;
	unix_sockets_show(q->net, show_local, &l);
	return l.exact && !l.nr ? -ENOENT : 0;
}

int diag_request(const struct nl_request *q, struct nl_reply *r)
{
	struct listing l = { .r = r };

	if (q->h->nlmsg_type != SOCK_DIAG_BY_FAMILY)
		return fail(EINVAL, "sock_diag message %u", q->h->nlmsg_type);
	if (q->len && *(const u8 *)q->body == PF_UNIX)
		return local_request(q, r);
	if (q->len < sizeof(l.q))
		return q->len && (*(const u8 *)q->body == PF_INET || *(const u8 *)q->body == PF_INET6) ? -EINVAL
												       : -ENOENT;
	memcpy(&l.q, q->body, sizeof(l.q));
	if (l.q.sdiag_family != PF_INET && l.q.sdiag_family != PF_INET6)
		return -ENOENT;
	l.exact = (q->h->nlmsg_flags & NLM_F_DUMP) != NLM_F_DUMP;
	l.flags = l.exact ? 0 : NLM_F_MULTI;
	if (l.exact)
		l.q.idiag_states = ~0U;
	inet_sockets_show(q->net, l.q.sdiag_protocol, show, &l);
	return l.exact && !l.nr ? -ENOENT : 0;
}
