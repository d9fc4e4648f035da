/* SPDX-License-Identifier: MIT
 *
 * Sockets: files whose operations come from an address family. The family registers a creator; the creator sets
 * socket->ops. The socket layer copies addresses and control data between user and kernel memory, so that a family sees
 * kernel pointers only; payload goes through struct iter.
 *
 * Ownership: a socket belongs to its file and dies with it (ops->release). It keeps its creator's tenant (charges,
 * programs). Threading: ops may sleep; a family locks its own state. Results: 0, a byte count, or -errno as the system
 * call has it.
 */
#ifndef NET_SOCKET_H
#define NET_SOCKET_H

#include <core/rcu.h>
#include <lib/list.h>
#include <linux/socket.h>
#include <task/task.h>
#include <vfs/iter.h>

struct file;
struct mapping;
struct net;
struct poll_table;
struct socket;
struct tenant;

/* Numbers of socket(2), send(2) and recv(2) that no UAPI header has. */
#define SOCK_STREAM      1
#define SOCK_DGRAM       2
#define SOCK_RAW         3
#define SOCK_SEQPACKET   5
#define SOCK_MAX         11
#define SHUT_RD          0
#define SHUT_WR          1
#define SHUT_RDWR        2
#define MSG_OOB          0x1
#define MSG_PEEK         0x2
#define MSG_CTRUNC       0x8
#define MSG_TRUNC        0x20
#define MSG_DONTWAIT     0x40
#define MSG_EOR          0x80
#define MSG_WAITALL      0x100
#define MSG_ERRQUEUE     0x2000
#define MSG_NOSIGNAL     0x4000
#define MSG_MORE         0x8000
#define MSG_WAITFORONE   0x10000
#define MSG_CMSG_CLOEXEC 0x40000000
#define PF_UNIX          1
#define PF_INET          2
#define PF_INET6         10
#define PF_NETLINK       16
#define PF_PACKET        17
#define SOL_PACKET       263
#define SOL_NETLINK      270

#define SOCK_ADDR_MAX 128 /* bytes, sizeof(struct sockaddr_storage) */
#define CONTROL_MAX   20480

struct sock_addr {
	u8 bytes[SOCK_ADDR_MAX]; /* begins with sa_family_t */
	int len;                 /* 0: none */
};

struct sock_msg {
	struct sock_addr *addr; /* send: destination, NULL or len 0: connected; receive: filled in, NULL: not wanted */
	struct iter iter;
	unsigned flags; /* MSG_*; receive: MSG_TRUNC, MSG_CTRUNC ... are added to out_flags */
	unsigned out_flags;
	/* send: what the caller passed. receive: room for the family's control messages, control_len says how much was
	 * used. */
	void *control;
	size_t control_len, control_room;
};

struct socket_ops {
	void (*release)(struct socket *s);
	int (*bind)(struct socket *s, const struct sock_addr *a);
	int (*connect)(struct socket *s, const struct sock_addr *a, bool nonblock);
	int (*listen)(struct socket *s, int backlog);
	int (*accept)(struct socket *s, struct socket *fresh,
		      bool nonblock); /* fresh: made by the layer, without state */
	int (*pair)(struct socket *a, struct socket *b);
	int (*name)(struct socket *s, bool peer, struct sock_addr *out);
	ssize_t (*send)(struct socket *s, struct sock_msg *m);
	ssize_t (*receive)(struct socket *s, struct sock_msg *m);
	int (*shutdown)(struct socket *s, int how);
	unsigned (*poll)(struct socket *s, struct poll_table *pt);
	long (*ioctl)(struct socket *s, unsigned cmd, ulong arg);
	/* mmap, see vfs/vfs.h; optional. */
	int (*map)(struct socket *s, u64 *index, size_t bytes, struct mapping **out);
	/* Kernel buffers; -ENOPROTOOPT: not mine. Levels above SOL_SOCKET, and of SOL_SOCKET what the layer does not
	 * know. */
	int (*setsockopt)(struct socket *s, int level, int name, const void *value, int len);
	int (*getsockopt)(struct socket *s, int level, int name, void *value, int *len);
	void (*option_changed)(struct socket *s, int name); /* one of SOL_SOCKET's, kept by the layer; optional */
};

struct socket { /* may be read under RCU after its end */
	struct rcu_head rcu;
	const struct socket_ops *ops;
	int family, type, protocol;
	struct file *file;
	struct net *net;
	struct tenant *tenant;
	void *proto;                             /* the family's state */
	struct waitq wait;                       /* everything that poll shows */
	int error;                               /* SO_ERROR, positive; atomic exchange */
	u64 receive_timeout_ns, send_timeout_ns; /* ~0: none */
	u32 receive_buffer, send_buffer;         /* bytes */
	bool reuse_addr, reuse_port, broadcast, keep_alive, pass_cred, dont_route, oob_inline;
	bool buffer_locked[2]; /* SO_RCVBUF, SO_SNDBUF were given */
	int linger_s;          /* SO_LINGER; -1: off */
	u32 receive_low;       /* SO_RCVLOWAT */
	u32 mark, priority, bound_ifindex;
	u64 cookie;         /* SO_COOKIE: its number since boot */
	u8 stamps;          /* SO_TIMESTAMP: 1; SO_TIMESTAMPNS: 2 */
	u64 last_stamp_ns;  /* of the packet that was received last; wall time */
	bool any_port;      /* this bind may take a privileged port: a program said so */
	bool has_storage;   /* programs keep something with it: owned by net_hooks */
	bool ended;         /* nothing may be kept with it any more */
	bool is_connection; /* no socket: names for whom a connection without one speaks */
	bool filter_locked; /* SO_LOCK_FILTER */
	void *filter;       /* SO_ATTACH_FILTER: RCU; owned by net_hooks */
};

struct socket_family {
	int family;
	int (*create)(struct socket *s); /* type and protocol are set; sets ops. -EPROTONOSUPPORT, -ESOCKTNOSUPPORT */
	struct list link;
};
void socket_family_register(struct socket_family *f);

/* type without SOCK_NONBLOCK and SOCK_CLOEXEC. */
int __must_check socket_create(int family, int type, int protocol, struct socket **out);
/* For accept: a socket like l, without a family's state, owned by l's tenant. */
int __must_check socket_create_like(const struct socket *l, struct socket **out);
void socket_free(struct socket *s); /* one that never became a file */
/* A file on s; on failure s is freed. */
int __must_check socket_file(struct socket *s, unsigned flags, struct file **out);
struct socket *socket_of_file(struct file *f); /* NULL: not a socket */

/* For families: waits with the socket's timeout. 0, -EAGAIN (nonblock or timeout), -ERESTARTSYS. */
#define socket_wait(s, cond, nonblock, timeout_ns)                                                                     \
	({                                                                                                             \
		int e_ = 0;                                                                                            \
		if (!(cond)) {                                                                                         \
			e_ = (nonblock)                                                                                \
				     ? -EAGAIN                                                                         \
				     : wait_event_interruptible_until(&(s)->wait, cond, socket_deadline(timeout_ns));  \
			if (e_ == -ETIME)                                                                              \
				e_ = -EAGAIN;                                                                          \
		}                                                                                                      \
		e_;                                                                                                    \
	})
u64 socket_deadline(u64 timeout_ns);
int socket_take_error(struct socket *s); /* -errno of SO_ERROR and clears it; 0 */

/* receive: a control message (cmsg(3)); MSG_CTRUNC if it does not fit. */
void socket_put_control(struct sock_msg *m, int level, int type, const void *data, size_t len);
void socket_put_stamp(const struct socket *s, struct sock_msg *m, u64 stamp_ns); /* if the socket wants it */
/* The calls of netdevice(7), the same on every socket: set once by the internet family. */
extern long (*socket_interface_ioctl)(struct socket *s, unsigned cmd, ulong arg);
/* The socket calls' options: kernel buffers; level SOL_SOCKET is the layer's, the rest the family's. */
int socket_set_option(struct socket *s, int level, int name, const void *value, int len);
int socket_get_option(struct socket *s, int level, int name, void *value, int *len);

#endif
