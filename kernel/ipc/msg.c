/* SPDX-License-Identifier: MIT
 *
 * Problem: messages with types wait in a queue with a limit of bytes; readers choose by type, writers sleep while it is
 * full, and all must wake when the queue is removed.
 *
 * Idea: a list in order of arrival, and two wait queues. A message is copied in before the queue is locked and copied
 * out after it has been taken.
 *
 * Contract: msgsnd(2), msgrcv(2), msgctl(2), msgget(2). MSG_COPY peeks at a message by its place.
 *
 * Locks: object->lock for the list and the counts.
 */
#include <abi/syscalls.h>
#include <asm/msgbuf.h>
#include <linux/msg.h>
#include <task/wait.h>
#include "ipc_priv.h"

struct message {
	struct list link;
	long type;
	size_t bytes;
	char text[];
};

struct msg_queue {
	struct ipc_object o;
	struct list messages; /* o.lock, like all below */
	u64 bytes, count, limit;
	u64 arrivals; /* messages that ever came */
	s64 send_time, receive_time;
	struct pid *sender, *receiver; /* counted; the last ones */
	struct waitq writers, readers;
};

static struct msg_queue *queue_of(struct ipc_object *o)
{
	return container_of(o, struct msg_queue, o);
}

static int check_any(struct ipc_object *o, const void *arg)
{
	return 0;
}

static int make(struct ipc_ns *ns, const void *arg, struct ipc_object **out)
{
	struct msg_queue *q = kzalloc(sizeof(*q), ALLOC_CHARGED);

	if (!q)
		return -ENOMEM;
	list_init(&q->messages);
	waitq_init(&q->writers);
	waitq_init(&q->readers);
	q->limit = ns->msg_queue_bytes;
	*out = &q->o;
	return 0;
}

void msg_free(struct ipc_object *o)
{
	struct msg_queue *q = queue_of(o);
	struct message *m, *n;

	list_for_each_entry_safe (m, n, &q->messages, link)
		kfree(m);
	pid_put(q->sender);
	pid_put(q->receiver);
	kfree(q);
}

long sys_msgget(int key, int flags)
{
	struct ipc_ns *ns = ipc_ns_current();
	struct ipc_wish w = { .key = key, .flags = flags, .limit = ns->msg_queues, .check = check_any, .make = make };

	return ipc_get(ns, IPC_MSG, &w);
}

/* ---- sending ------------------------------------------------------------------------------------------------- */

static int copy_in(const void __user *msg, size_t size, struct message **out)
{
	const char __user *text = (const char __user *)msg + sizeof(long);
	struct message *m;
	long type;

	if (user_get(&type, msg, sizeof(type)))
		return -EFAULT;
	if (type < 1)
		return -EINVAL;
	m = kmalloc(sizeof(*m) + size, ALLOC_CHARGED);
	if (!m)
		return -ENOMEM;
	m->type = type;
	m->bytes = size;
	if (user_get(m->text, text, size)) {
		kfree(m);
		return -EFAULT;
	}
	*out = m;
	return 0;
}

static bool has_room(const struct msg_queue *q, size_t bytes)
{
	return READ_ONCE(q->bytes) + bytes <= READ_ONCE(q->limit) && READ_ONCE(q->count) + 1 <= READ_ONCE(q->limit);
}

static void note_pid(struct pid **where)
{
	pid_get(current->process->pid);
	pid_put(*where);
	*where = current->process->pid;
}

static void append(struct msg_queue *q, struct message *m)
{
	list_add_tail(&m->link, &q->messages);
	WRITE_ONCE(q->bytes, q->bytes + m->bytes);
	WRITE_ONCE(q->count, q->count + 1);
	WRITE_ONCE(q->arrivals, q->arrivals + 1);
	q->send_time = ipc_now();
	note_pid(&q->sender);
}

static int send(struct msg_queue *q, struct message *m, int flags)
{
	int err;

	for (;;) {
		spin_lock(&q->o.lock);
		err = q->o.removed ? -EIDRM : ipc_may(&q->o, 0222);
		if (!err && !has_room(q, m->bytes))
			err = -EAGAIN;
		if (!err)
			append(q, m);
		spin_unlock(&q->o.lock);
		if (err != -EAGAIN || flags & IPC_NOWAIT)
			break;
		err = wait_event_interruptible(&q->writers, has_room(q, m->bytes) || READ_ONCE(q->o.removed));
		if (err)
			return -ERESTARTNOHAND;
	}
	if (!err)
		waitq_wake_all(&q->readers);
	return err;
}

long sys_msgsnd(int msqid, const void __user *msg, size_t size, int flags)
{
	struct ipc_ns *ns = ipc_ns_current();
	struct ipc_object *o;
	struct message *m;
	long type;
	int err;

	if (user_get(&type, msg, sizeof(type)))
		return -EFAULT;
	if (size > ns->msg_bytes || (long)size < 0 || msqid < 0)
		return -EINVAL;
	err = copy_in(msg, size, &m);
	if (err)
		return err;
	err = ipc_find(ns, IPC_MSG, msqid, &o);
	if (!err) {
		err = send(queue_of(o), m, flags);
		ipc_put(o);
	}
	if (err)
		kfree(m);
	return err;
}

/* ---- receiving ------------------------------------------------------------------------------------------------- */

struct choice {
	long type;
	int flags;
	size_t size;
};

static struct message *choose(struct msg_queue *q, const struct choice *c)
{
	struct message *m, *best = NULL;
	long place = 0;

	list_for_each_entry (m, &q->messages, link) {
		if (c->flags & MSG_COPY) {
			if (place++ == c->type)
				return m;
		} else if (c->type >= 0) {
			if (!c->type || (m->type == c->type) != !!(c->flags & MSG_EXCEPT))
				return m;
		} else if (m->type <= (c->type < -INT64_MAX ? INT64_MAX : -c->type) &&
			   (!best || m->type < best->type)) {
			best = m;
		}
	}
	return best;
}

static void take(struct msg_queue *q, struct message *m)
{
	list_del(&m->link);
	WRITE_ONCE(q->bytes, q->bytes - m->bytes);
	WRITE_ONCE(q->count, q->count - 1);
	q->receive_time = ipc_now();
	note_pid(&q->receiver);
}

/* One look, the queue locked: the message (with MSG_COPY, copied into *copy), or -ENOMSG, -E2BIG ... */
static int look(struct msg_queue *q, const struct choice *c, struct message *copy, struct message **out)
{
	struct message *m;
	int err = q->o.removed ? -EIDRM : ipc_may(&q->o, 0444);

	if (err)
		return err;
	m = choose(q, c);
	if (!m)
		return -ENOMSG;
	if (m->bytes > c->size && !(c->flags & MSG_NOERROR))
		return -E2BIG;
	if (copy) {
		copy->type = m->type;
		copy->bytes = min(m->bytes, c->size);
		memcpy(copy->text, m->text, copy->bytes);
		m = copy;
	} else {
		take(q, m);
	}
	*out = m;
	return 0;
}

static int receive(struct msg_queue *q, const struct choice *c, struct message *copy, struct message **out)
{
	for (;;) {
		u64 seen;
		int err;

		spin_lock(&q->o.lock);
		err = look(q, c, copy, out);
		seen = q->arrivals;
		spin_unlock(&q->o.lock);
		if (err != -ENOMSG || c->flags & IPC_NOWAIT) {
			if (!err && !copy)
				waitq_wake_all(&q->writers);
			return err;
		}
		err = wait_event_interruptible(&q->readers, READ_ONCE(q->arrivals) != seen || READ_ONCE(q->o.removed));
		if (err)
			return -ERESTARTNOHAND;
	}
}

static ssize_t copy_out(void __user *msg, const struct message *m, size_t size)
{
	size_t n = min(size, m->bytes);

	if (user_put(msg, &m->type, sizeof(m->type)) || user_put((char __user *)msg + sizeof(long), m->text, n))
		return -EFAULT;
	return n;
}

long sys_msgrcv(int msqid, void __user *msg, size_t size, long type, int flags)
{
	struct ipc_ns *ns = ipc_ns_current();
	struct choice c = { type, flags, size };
	struct message *m, *copy = NULL;
	struct ipc_object *o;
	long result;

	if (msqid < 0 || (long)size < 0)
		return -EINVAL;
	if (flags & MSG_COPY) {
		if (flags & MSG_EXCEPT || !(flags & IPC_NOWAIT))
			return -EINVAL;
		copy = kmalloc(sizeof(*copy) + min(size, (size_t)ns->msg_bytes), 0);
		if (!copy)
			return -ENOMEM;
		c.size = min(size, (size_t)ns->msg_bytes);
	}
	result = ipc_find(ns, IPC_MSG, msqid, &o);
	if (!result) {
		result = receive(queue_of(o), &c, copy, &m);
		ipc_put(o);
	}
	if (!result) {
		result = copy_out(msg, m, size);
		if (m != copy)
			kfree(m);
	}
	kfree(copy);
	return result;
}

/* ---- control ----------------------------------------------------------------------------------------------------- */

void msg_fill(struct ipc_object *o, struct msqid64_ds *d)
{
	struct msg_queue *q = queue_of(o);

	memset(d, 0, sizeof(*d));
	spin_lock(&q->o.lock);
	ipc_fill_perm(&q->o, &d->msg_perm);
	d->msg_stime = q->send_time;
	d->msg_rtime = q->receive_time;
	d->msg_ctime = q->o.changed;
	d->msg_cbytes = q->bytes;
	d->msg_qnum = q->count;
	d->msg_qbytes = q->limit;
	d->msg_lspid = pid_nr(q->sender);
	d->msg_lrpid = pid_nr(q->receiver);
	spin_unlock(&q->o.lock);
}

static long stat(struct ipc_ns *ns, int id, int cmd, void __user *buf)
{
	struct msqid64_ds d;
	struct ipc_object *o;
	int err = cmd == IPC_STAT ? ipc_find(ns, IPC_MSG, id, &o) : ipc_find_slot(ns, IPC_MSG, id, &o);
	long result;

	if (err)
		return err;
	result = cmd == IPC_STAT ? 0 : o->id;
	if (cmd != MSG_STAT_ANY)
		err = ipc_may(o, 0444);
	if (!err) {
		msg_fill(o, &d);
		if (user_put(buf, &d, sizeof(d)))
			err = -EFAULT;
	}
	ipc_put(o);
	return err ? err : result;
}

static void add_usage(struct ipc_object *o, void *arg)
{
	struct msginfo *i = arg;

	i->msgmap += READ_ONCE(queue_of(o)->count);
	i->msgtql += READ_ONCE(queue_of(o)->bytes);
}

static long info(struct ipc_ns *ns, int cmd, void __user *buf)
{
	struct msginfo i = { .msgmax = ns->msg_bytes,
			     .msgmnb = ns->msg_queue_bytes,
			     .msgmni = ns->msg_queues,
			     .msgpool = MSGPOOL,
			     .msgmap = MSGMAP,
			     .msgtql = MSGTQL,
			     .msgssz = MSGSSZ,
			     .msgseg = MSGSEG };

	if (cmd == MSG_INFO) {
		i.msgpool = ns->table[IPC_MSG].used;
		i.msgmap = i.msgtql = 0;
		ipc_for_each(IPC_MSG, add_usage, &i);
	}
	return user_put(buf, &i, sizeof(i)) ? -EFAULT : ipc_highest_slot(&ns->table[IPC_MSG]);
}

static int change(struct msg_queue *q, int cmd, const struct msqid64_ds *d)
{
	struct ipc_ns *ns = q->o.table->ns;
	int err;

	spin_lock(&q->o.lock);
	err = q->o.removed ? -EIDRM : ipc_may_change(&q->o);
	if (!err && cmd == IPC_SET && d->msg_qbytes > ns->msg_queue_bytes &&
	    !ns_capable(ns->ns.owner, CAP_SYS_RESOURCE))
		err = -EPERM;
	if (!err && cmd == IPC_SET)
		err = ipc_set_perm(&q->o, &d->msg_perm);
	if (!err && cmd == IPC_SET)
		WRITE_ONCE(q->limit, d->msg_qbytes);
	if (!err && cmd == IPC_RMID)
		WRITE_ONCE(q->o.removed, true);
	spin_unlock(&q->o.lock);
	if (err)
		return err;
	waitq_wake_all(&q->writers);
	waitq_wake_all(&q->readers);
	if (cmd == IPC_RMID)
		ipc_take_out(&q->o);
	return 0;
}

long sys_msgctl(int msqid, int cmd, void __user *buf)
{
	struct ipc_ns *ns = ipc_ns_current();
	struct msqid64_ds d = { .msg_stime = 0 };
	struct ipc_object *o;
	int err;

	if (msqid < 0 || cmd < 0)
		return -EINVAL;
	switch (cmd) {
	case IPC_INFO:
	case MSG_INFO: return info(ns, cmd, buf);
	case IPC_STAT:
	case MSG_STAT:
	case MSG_STAT_ANY: return stat(ns, msqid, cmd, buf);
	case IPC_SET:
		if (user_get(&d, buf, sizeof(d)))
			return -EFAULT;
		break;
	case IPC_RMID: break;
	default: return -EINVAL;
	}
	err = ipc_find(ns, IPC_MSG, msqid, &o);
	if (err)
		return err;
	err = change(queue_of(o), cmd, &d);
	ipc_put(o);
	return err;
}
