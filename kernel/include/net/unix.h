/* SPDX-License-Identifier: MIT
 *
 * AF_UNIX sockets for those who show them (sock_diag, /proc/net/unix).
 *
 * Threading: any thread; fn runs with the names' lock held, may allocate, and may not call a socket. Views are copies.
 * Numbers of states: those of TCP (linux/unix_diag.h uses them too).
 */
#ifndef NET_UNIX_H
#define NET_UNIX_H

#include <net/net.h>
#include <net/socket.h>

struct unix_socket_view {
	struct sock_addr name; /* len 0: none; behind the family the path, or a NUL and an abstract name */
	u64 inode, peer_inode; /* 0: none, or one that was not accepted yet */
	u64 file_inode;        /* of a path */
	u32 file_dev, uid;
	u32 receive_bytes, send_bytes; /* of a listener: calls that wait, and how many may */
	u32 references;
	int type;
	u8 state, shut; /* shut: 1 receive, 2 send */
	bool listening;
	const void *cookie;
};
/* Until fn returns non-zero. */
void unix_sockets_show(struct net *n, int (*fn)(const struct unix_socket_view *v, void *arg), void *arg);

#endif
