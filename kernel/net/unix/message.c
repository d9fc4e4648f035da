/* SPDX-License-Identifier: MIT
 *
 * Problem: a message carries bytes, and may carry open files and the sender's identity from one process to another.
 *
 * Idea: a message is one object with its bytes behind it; files are counted while they travel, and become descriptors
 * of the receiver when he takes the message.
 *
 * Contract: unix(7), cmsg(3): SCM_RIGHTS, SCM_CREDENTIALS. At most MAX_FDS files. A sender may claim other ids only
 * with the capability for it.
 *
 * Locks: none; the message belongs to whoever holds it.
 */
#include <alloc/slab.h>
#include <lib/err.h>
#include <lib/string.h>
#include <linux/capability.h>
#include <linux/fcntl.h>
#include <process/process.h>
#include "unix_priv.h"

#define SCM_RIGHTS      1
#define SCM_CREDENTIALS 2
#define LEVEL_SOCKET    1

struct control { /* struct cmsghdr of cmsg(3) */
	size_t len;
	int level, type;
	u8 data[];
};

static size_t aligned(size_t n)
{
	return ALIGN_UP(n, sizeof(size_t));
}

static int take_files(struct unix_msg *msg, const struct control *c)
{
	size_t n = (c->len - sizeof(*c)) / sizeof(int);
	const int *fds = (const int *)c->data;
	struct file **more;

	if (n > MAX_FDS - msg->nr_files) /* of all control messages together */
		return -EINVAL;
	if (!n)
		return 0;
	more = kcalloc(msg->nr_files + n, sizeof(*more), ALLOC_CHARGED);
	if (!more)
		return -ENOMEM;
	memcpy(more, msg->files, msg->nr_files * sizeof(*more));
	kfree(msg->files);
	msg->files = more;
	for (size_t i = 0; i < n; i++) {
		struct fd_ref r = fd_get_path(fds[i]);

		if (!r.file)
			return -EBADF;
		file_get(r.file);
		msg->files[msg->nr_files++] = r.file;
		fd_put(r);
	}
	return 0;
}

static bool id_allowed(u32 id, u32 a, u32 b, u32 c, int cap)
{
	return id == a || id == b || id == c || capable(cap);
}

static int take_cred(struct unix_msg *msg, const struct control *c)
{
	const struct cred *me = current->cred;
	struct ucred_msg u;

	if (c->len != sizeof(*c) + sizeof(u))
		return -EINVAL;
	memcpy(&u, c->data, sizeof(u));
	if ((u.pid != pid_nr(current->process->pid) && !capable(CAP_SYS_ADMIN)) ||
	    !id_allowed(u.uid, me->uid.v, me->euid.v, me->suid.v, CAP_SETUID) ||
	    !id_allowed(u.gid, me->gid.v, me->egid.v, me->sgid.v, CAP_SETGID))
		return -EPERM;
	msg->cred = u;
	msg->has_cred = true;
	return 0;
}

static int parse_control(struct unix_msg *msg, const u8 *control, size_t len)
{
	size_t at = 0;

	while (len - at >= sizeof(struct control)) {
		const struct control *c = (const struct control *)(control + at);
		int err = -EINVAL;

		if (c->len < sizeof(*c) || c->len > len - at)
			return -EINVAL;
		if (c->level == LEVEL_SOCKET && c->type == SCM_RIGHTS)
			err = take_files(msg, c);
		else if (c->level == LEVEL_SOCKET && c->type == SCM_CREDENTIALS)
			err = take_cred(msg, c);
		if (err)
			return err;
		at += min(aligned(c->len), len - at);
	}
	return 0;
}

int unix_msg_make(struct socket *s, struct sock_msg *m, size_t len, bool with_control, struct unix_msg **out)
{
	struct unix_msg *msg = kmalloc(sizeof(*msg) + len, ALLOC_CHARGED);
	int err = 0;

	if (!msg)
		return -ENOMEM;
	memset(msg, 0, sizeof(*msg));
	msg->len = len;
	msg->cred =
		(struct ucred_msg){ pid_nr_global(current->process->pid), current->cred->uid.v, current->cred->gid.v };
	if (with_control && m->control_len)
		err = parse_control(msg, m->control, m->control_len);
	if (!err && iter_copy_in(msg->data, len, &m->iter) < len)
		err = -EFAULT;
	if (err) {
		unix_msg_free(msg);
		return err;
	}
	unix_name(unix_of(s), &msg->from);
	*out = msg;
	return 0;
}

void unix_msg_free(struct unix_msg *msg)
{
	for (unsigned i = 0; i < msg->nr_files; i++)
		file_put(msg->files[i]);
	kfree(msg->files);
	kfree(msg);
}

static void give_files(struct unix_msg *msg, struct sock_msg *m)
{
	size_t room = m->control_room - m->control_len, n;
	unsigned flags = m->flags & MSG_CMSG_CLOEXEC ? O_CLOEXEC : 0;
	int fds[MAX_FDS], got = 0;

	n = room > sizeof(struct control) ? min((room - sizeof(struct control)) / sizeof(int), (size_t)msg->nr_files)
					  : 0;
	while ((size_t)got < n) {
		int fd = fd_reserve(flags, 0);

		if (fd < 0)
			break;
		file_get(msg->files[got]);
		fd_install(fd, msg->files[got]);
		fds[got++] = fd;
	}
	if ((unsigned)got < msg->nr_files)
		m->out_flags |= MSG_CTRUNC;
	if (got)
		socket_put_control(m, LEVEL_SOCKET, SCM_RIGHTS, fds, got * sizeof(int));
}

void unix_msg_deliver(struct socket *s, struct unix_msg *msg, struct sock_msg *m)
{
	if (s->pass_cred)
		socket_put_control(m, LEVEL_SOCKET, SCM_CREDENTIALS, &msg->cred, sizeof(msg->cred));
	if (!msg->nr_files)
		return;
	give_files(msg, m);
	if (m->flags & MSG_PEEK)
		return;
	for (unsigned i = 0; i < msg->nr_files; i++)
		file_put(msg->files[i]);
	msg->nr_files = 0;
}
