/* SPDX-License-Identifier: MIT
 *
 * System V IPC: what segments, semaphore sets and message queues share: a table of objects by number and by key in each
 * namespace, their owners and rights. Source: sysvipc(7), shmget(2), semget(2), msgget(2), linux/ipc.h.
 *
 * Locks: table->lock (RANK_ICACHE) for a table's contents; object->lock (RANK_SUBSYS_SPIN) for one object's. Never
 * both. An object is counted: by its table until it is removed, by whoever works on it.
 */
#ifndef IPC_PRIV_H
#define IPC_PRIV_H

#include <alloc/slab.h>
#include <arch/user.h>
#include <asm/ipcbuf.h>
#include <core/clock.h>
#include <core/log.h>
#include <core/spin.h>
#include <lib/err.h>
#include <lib/string.h>
#include <lib/xarray.h>
#include <linux/capability.h>
#include <linux/ipc.h>
#include <process/process.h>
#include <task/ns.h>
#include <task/user_ns.h>
#include <vfs/vfs.h>

#define IPC_SLOTS 32768 /* objects of a kind in a namespace; a number is turn * IPC_SLOTS + slot */

struct ipc_ns;
struct ipc_table;

struct ipc_object {
	refcount_t refs;
	struct spinlock lock; /* RANK_SUBSYS_SPIN: all that changes */
	struct ipc_table *table;
	bool removed;
	int id, key; /* I; the key of a removed segment that is still attached becomes IPC_PRIVATE */
	unsigned turn;
	kuid_t uid, cuid;
	kgid_t gid, cgid;
	u16 mode;    /* and flags of the kind above the nine bits */
	s64 changed; /* seconds of the wall clock */
};

struct ipc_table {
	struct spinlock lock;
	struct xarray by_slot, by_key;
	unsigned used, last, turn;
	int next_id; /* the wish of /proc/sys/kernel/X_next_id; -1: none */
	struct ipc_ns *ns;
	void (*free)(struct ipc_object *o); /* the last reference has gone */
};

enum { IPC_SHM, IPC_SEM, IPC_MSG, IPC_KINDS };

struct ipc_ns {
	struct ns ns;
	struct ipc_table table[IPC_KINDS];
	u64 shm_max_bytes, shm_max_pages;
	u32 shm_max, shm_remove_orphans;
	u32 sem_per_set, sem_total, sem_ops, sem_sets;
	u32 msg_bytes, msg_queue_bytes, msg_queues;
	u32 mq_queues, mq_messages, mq_bytes, mq_messages_default, mq_bytes_default;
	u64 shm_pages;     /* table[IPC_SHM].lock */
	u32 sem_used;      /* table[IPC_SEM].lock */
	atomic_t mq_count; /* POSIX queues that exist */
	struct path mq_root;
};
struct ipc_ns *ipc_ns_current(void);

/* ---- ns.c ---- */
struct ipc_wish {
	int key, flags;
	u32 limit;                                           /* of objects of the kind */
	int (*check)(struct ipc_object *o, const void *arg); /* may this one be had? */
	int (*make)(struct ipc_ns *ns, const void *arg,
		    struct ipc_object **out); /* owner and mode are filled in later */
	const void *arg;
};
/* The get call of a kind: the number, or -errno. */
long ipc_get(struct ipc_ns *ns, unsigned kind, const struct ipc_wish *w);
/* Counted; -EINVAL: no such number. -EIDRM is seen by whoever then finds it removed. */
int __must_check ipc_find(struct ipc_ns *ns, unsigned kind, int id, struct ipc_object **out);
int __must_check ipc_find_slot(struct ipc_ns *ns, unsigned kind, int slot, struct ipc_object **out); /* X_STAT */
void ipc_put(struct ipc_object *o);
int __must_check ipc_may(const struct ipc_object *o, unsigned mode); /* 0400, 0200 or both; -EACCES */
int __must_check ipc_may_change(const struct ipc_object *o);         /* owner or creator; -EPERM */
void ipc_take_out(struct ipc_object *o);                             /* no longer found; drops the table's reference */
void ipc_drop_key(struct ipc_object *o);
void ipc_fill_perm(const struct ipc_object *o, struct ipc64_perm *out);
int __must_check ipc_set_perm(struct ipc_object *o, const struct ipc64_perm *in); /* o locked */
int ipc_highest_slot(struct ipc_table *t);                                        /* 0 for none */
/* Calls fn for each object of the caller's namespace, unlocked. */
void ipc_for_each(unsigned kind, void (*fn)(struct ipc_object *o, void *arg), void *arg);
static inline s64 ipc_now(void)
{
	return clock_real_ns() / NSEC_PER_SEC;
}

/* ---- the kinds ---- */
struct shmid64_ds;
struct semid64_ds;
struct msqid64_ds;
u64 shm_fill(struct ipc_object *o, struct shmid64_ds *d); /* as IPC_STAT; the bytes in memory */
void sem_fill(struct ipc_object *o, struct semid64_ds *d);
void msg_fill(struct ipc_object *o, struct msqid64_ds *d);
void shm_free(struct ipc_object *o);
void sem_free(struct ipc_object *o);
void msg_free(struct ipc_object *o);
int __must_check mq_ns_init(struct ipc_ns *ns);
void mq_ns_end(struct ipc_ns *ns);

#endif
