/* SPDX-License-Identifier: MIT
 *
 * Between the files of TCP's sockets.
 *
 * A socket's state has two halves: `struct stream`, which lives as long as the socket, and `struct stream_tag`, which
 * lives as long as the connection and says for whom it speaks after the socket is gone or before it exists.
 */
#ifndef STREAM_H
#define STREAM_H

#include <net/tcp.h>
#include <task/mutex.h>

#include "inet_priv.h"

struct stream {
	struct inet_common common;
	struct tcp *tcp;
	struct mutex reading; /* one reader at a time: RANK_STREAM */
	bool connecting;      /* a connect has begun whose outcome nobody has seen */
	bool was_connected;
};

struct stream_tag {
	struct rcu_head rcu;
	struct tcp *tcp;
	struct socket socket; /* identity only: family, type, tenant, mark, priority; no ops */
	struct inet_common common;
};

static inline struct stream *stream_of(struct socket *s)
{
	return s->proto;
}

/* The socket's options to its connection, before it binds, calls or listens. */
void stream_apply_options(struct socket *s);
bool stream_is_connected(const struct tcp *t);

/* stream_options.c */
int stream_setsockopt(struct socket *s, int level, int name, const void *value, int len);
int stream_getsockopt(struct socket *s, int level, int name, void *value, int *len);
void stream_option_changed(struct socket *s, int name);

#endif
