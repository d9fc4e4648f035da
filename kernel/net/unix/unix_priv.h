/* SPDX-License-Identifier: MIT
 *
 * AF_UNIX: what its files share.
 */
#ifndef UNIX_PRIV_H
#define UNIX_PRIV_H

#include <net/socket.h>
#include <vfs/vfs.h>

#define UNIX_PATH_MAX 108
#define MAX_FDS       253 /* SCM_MAX_FD, unix(7) */
#define QUEUE_BYTES   212992U
#define CHUNK_BYTES   32768U

struct ucred_msg { /* struct ucred of unix(7) */
	int pid;
	u32 uid, gid;
};

struct unix_msg {
	struct list link;
	size_t len, offset; /* offset: bytes already read (streams) */
	struct ucred_msg cred;
	bool has_cred;
	struct sock_addr from;
	unsigned nr_files;
	struct file **files; /* counted */
	u8 data[];
};

enum unix_state { UNIX_IDLE, UNIX_LISTENING, UNIX_CONNECTED };

struct unix_sock {
	refcount_t refs;
	struct spinlock lock; /* RANK_SOCKET; two: the lower address first */
	struct waitq wait;    /* poll, readers, writers, accept */
	struct waitq space;   /* senders of datagrams that wait for room here */
	int type;
	enum unix_state state; /* lock */
	bool dead;             /* lock: its socket was closed */
	bool pass_cred;
	unsigned shut;          /* lock: 1 receive, 2 send */
	struct unix_sock *peer; /* lock; counted */
	struct list queue;      /* lock: messages */
	size_t queued;          /* lock: bytes, and 1 a message */
	struct list pending;    /* lock: listener: connections to accept */
	struct list pending_link;
	unsigned backlog, nr_pending;
	struct ucred_msg cred, peer_cred;
	struct sock_addr name;     /* unix_names_lock for giving; reading: unix_name() */
	struct inode *inode;       /* unix_names_lock: bound to a path */
	struct list abstract_link; /* unix_names_lock */
	struct list all_link;      /* unix_names_lock; until it is closed */
	struct socket *socket;     /* unix_names_lock; NULL: not accepted yet, or closed */
	struct net *net;
};

static inline struct unix_sock *unix_of(struct socket *s)
{
	return s->proto;
}
void unix_get(struct unix_sock *u);
void unix_put(struct unix_sock *u);

/* names.c */
void unix_enlist(struct unix_sock *u, struct socket *s); /* a new end */
void unix_own(struct unix_sock *u, struct socket *s);    /* it is accepted */
int unix_bind(struct socket *s, const struct sock_addr *a);
int unix_auto_bind(struct unix_sock *u);
/* The socket bound to an address, counted. -ECONNREFUSED, -ENOENT, -EACCES, -EPROTOTYPE. */
int __must_check unix_find(struct unix_sock *from, const struct sock_addr *a, struct unix_sock **out);
void unix_unbind(struct unix_sock *u); /* it is closed: out of all lists */
void unix_name(struct unix_sock *u, struct sock_addr *out);

/* show.c */
struct unix_socket_view;
void unix_view(struct unix_sock *u, struct unix_socket_view *v); /* names_lock held */

/* message.c */
int __must_check unix_msg_make(struct socket *s, struct sock_msg *m, size_t len, bool with_control,
			       struct unix_msg **out);
void unix_msg_free(struct unix_msg *msg);
void unix_msg_deliver(struct socket *s, struct unix_msg *msg, struct sock_msg *m); /* control data to the receiver */

#endif
