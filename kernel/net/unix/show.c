/* SPDX-License-Identifier: MIT
 *
 * Problem: ss, netstat and lsof list the local sockets: names, states, who is whose peer.
 *
 * Idea: all ends are in one list from their making to their closing; a walk copies each into a view, which netlink
 * turns into messages and the file of /proc/net into lines.
 *
 * Contract: net/unix.h; proc(5), "/proc/net/unix".
 *
 * Locks: names_lock (names.c) keeps ends, their sockets and names in place; an end's lock for its queue and peer, two
 * nested only by address, so a peer's queue is read without.
 */
#include <core/init.h>
#include <lib/printf.h>
#include <lib/string.h>
#include <net/unix.h>

#include "unix_priv.h"

enum { STATE_CONNECTED = 1, STATE_IDLE = 7, STATE_LISTENING = 10 }; /* of TCP, as sock_diag numbers them */

static u64 inode_of(const struct unix_sock *u)
{
	return u->socket && u->socket->file ? u->socket->file->inode->ino : 0;
}

static u32 queued_bytes(const struct unix_sock *u)
{
	const struct unix_msg *m;
	u32 n = 0;

	list_for_each_entry (m, &u->queue, link)
		n += (u32)(m->len - m->offset);
	return n;
}

void unix_view(struct unix_sock *u, struct unix_socket_view *v)
{
	*v = (struct unix_socket_view){ .name = u->name,
					.inode = inode_of(u),
					.references = (u32)atomic_read(&u->refs.n),
					.type = u->type,
					.cookie = u };
	if (u->socket && u->socket->file)
		v->uid = u->socket->file->inode->uid.v;
	if (u->inode) {
		v->file_inode = u->inode->ino;
		v->file_dev = (u32)u->inode->super->dev;
	}
	spin_lock(&u->lock);
	v->shut = (u8)u->shut;
	v->listening = u->state == UNIX_LISTENING;
	v->state = v->listening ? STATE_LISTENING : u->state == UNIX_CONNECTED ? STATE_CONNECTED : STATE_IDLE;
	v->receive_bytes = v->listening ? u->nr_pending : queued_bytes(u);
	if (v->listening)
		v->send_bytes = u->backlog;
	else if (u->peer)
		v->send_bytes = (u32)READ_ONCE(u->peer->queued);
	v->peer_inode = u->peer ? inode_of(u->peer) : 0;
	spin_unlock(&u->lock);
}

/* ---- /proc/net/unix -------------------------------------------------------------------------------------------- */

#define FLAG_LISTENING 0x10000 /* as Linux shows it */

static void put_name(struct strbuf *out, const struct sock_addr *a)
{
	int len = a->len - 2;

	if (len <= 0)
		return;
	strbuf_add(out, " ");
	if (a->bytes[2])
		len = (int)strnlen((const char *)a->bytes + 2, (size_t)len);
	for (int i = 0; i < len; i++)
		strbuf_add(out, "%c", a->bytes[2 + i] ? a->bytes[2 + i] : '@');
}

static int line(const struct unix_socket_view *v, void *arg)
{
	struct strbuf *out = arg;
	bool connected = v->state == STATE_CONNECTED;
	unsigned state = v->inode ? connected ? 3 : 1 : connected ? 2 : 4; /* SS_* of linux/net.h */

	strbuf_add(out, "%016llx: %08X 00000000 %08X %04X %02X %5llu", 0ULL, v->references,
		   v->listening ? FLAG_LISTENING : 0, (unsigned)v->type, state, (unsigned long long)v->inode);
	put_name(out, &v->name);
	strbuf_add(out, "\n");
	return 0;
}

static int show(struct net *n, struct strbuf *out)
{
	strbuf_add(out, "Num       RefCount Protocol Flags    Type St Inode Path\n");
	unix_sockets_show(n, line, out);
	return 0;
}

static struct net_file file = { .name = "unix", .show = show };

static void unix_show_init(void)
{
	net_file_register(&file);
}
PART_INIT(core, unix_show_init);
