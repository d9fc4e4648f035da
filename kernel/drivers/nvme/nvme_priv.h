/* SPDX-License-Identifier: MIT
 *
 * NVM Express as the driver needs it: registers, commands, completions.
 * Source: NVM Express Base Specification, revision 1.4, sections 3.1 (registers), 4.2 (submission entry), 4.6
 * (completion entry), 5 (admin commands), 6 (NVM commands).
 */
#ifndef NVME_PRIV_H
#define NVME_PRIV_H

#include <block/block.h>
#include <core/irq.h>
#include <device/pci.h>
#include <lib/types.h>
#include <task/mutex.h>
#include <task/work.h>

#define REG_CAP       0x00
#define REG_CC        0x14
#define REG_CSTS      0x1c
#define REG_AQA       0x24
#define REG_ASQ       0x28
#define REG_ACQ       0x30
#define REG_DOORBELLS 0x1000

#define CC_ENABLE    BIT(0)
#define CC_IOSQES(n) ((n) << 16)
#define CC_IOCQES(n) ((n) << 20)
#define CSTS_READY   BIT(0)
#define CSTS_FATAL   BIT(1)

#define STATUS_DNR BIT(14) /* do not retry */

enum admin_opcode {
	ADMIN_CREATE_SQ = 0x01,
	ADMIN_CREATE_CQ = 0x05,
	ADMIN_IDENTIFY = 0x06,
	ADMIN_ABORT = 0x08,
	ADMIN_SET_FEATURES = 0x09
};
enum nvm_opcode {
	NVM_FLUSH = 0x00,
	NVM_WRITE = 0x01,
	NVM_READ = 0x02,
	NVM_COMPARE = 0x05,
	NVM_WRITE_ZEROES = 0x08,
	NVM_DSM = 0x09
};
#define FEATURE_QUEUES 0x07
#define CQ_CONTIGUOUS  1
#define CQ_INTERRUPT   2
#define NVM_FUA        BIT(30) /* in command dword 12 */
#define DSM_DEALLOCATE BIT(2)

struct nvme_command {
	u8 opcode, flags;
	u16 id;
	u32 nsid;
	u64 reserved, metadata;
	u64 prp1, prp2;
	u32 cdw10, cdw11, cdw12, cdw13, cdw14, cdw15;
};
_Static_assert(sizeof(struct nvme_command) == 64, "submission entries have 64 bytes");

struct nvme_completion {
	u32 result, reserved;
	u16 sq_head, sq_id;
	u16 id;
	u16 status; /* bit 0: phase */
};
_Static_assert(sizeof(struct nvme_completion) == 16, "completion entries have 16 bytes");

struct nvme;

struct nvme_sync { /* somebody waits for a command of his own */
	bool done; /* queue's lock */
	u16 status;
	u32 result;
};

struct nvme_queue {
	struct nvme *ctrl;
	u16 id, depth;
	struct nvme_command *sq;
	struct nvme_completion *cq;
	u16 sq_tail, cq_head;
	u8 phase;
	void *sq_doorbell, *cq_doorbell;
	struct spinlock lock;   /* RANK_DRIVER, irqsave: both rings */
	struct nvme_sync *sync; /* of the one command that is not a bio's */
	atomic_t reapers;       /* who take completions just now */
	bool stopped;           /* nobody may */
	bool polled;            /* the controller does not interrupt for it */
	struct deferred reap;
};

/* A command's id: the namespace's slot, and the tag of its bio; or NVME_SYNC_ID. Rings of 256 have room for all tags.
 */
#define NVME_MAX_QUEUES    8
#define NVME_DEPTH         256
#define NVME_MAX_NS        16
#define NVME_TAGS          252 /* of all namespaces together, in each queue */
#define NVME_NS_TAGS       63  /* of one at most */
#define NVME_ID(slot, tag) ((u16)((slot) << 8 | (tag)))
#define NVME_SYNC_ID       0xffff

enum nvme_state { NVME_LIVE, NVME_RESETTING, NVME_DEAD, NVME_GONE }; /* GONE: pulled out */

struct nvme {
	refcount_t refs; /* the driver's, each namespace's, open nodes', folders of /sys */
	struct pci_dev *pci;
	void *regs;
	u32 doorbell_stride; /* bytes */
	u64 ready_timeout_ns;
	struct nvme_queue admin;
	struct mutex lock;     /* RANK_DEVICE: commands that are not bios', resets */
	enum nvme_state state; /* lock; any reader */
	struct work overdue;
	struct nvme_queue queues[NVME_MAX_QUEUES];
	unsigned nr_queues, nr_poll, queue_depth; /* nr_poll: the last of them */
	struct nvme_namespace *ns[NVME_MAX_NS];   /* constant between probe and removal */
	unsigned nr_ns;
	u32 max_transfer;
	bool write_cache, can_zero, can_discard;
	unsigned index, cntlid;
	char model[41], serial[21], firmware[9], nqn[224];
	u64 timeout_ns;
	struct attr_dir attr, subsystem; /* /sys/class/nvme/nvmeN, /sys/class/nvme-subsystem/nvme-subsysN */
	char name[16], subsystem_name[24], address[16];
};

struct nvme_namespace {
	struct block_dev block;
	struct nvme *ctrl;
	u32 id;
	unsigned slot;
	u8 block_shift;               /* of a logical block */
	u64 **lists[NVME_MAX_QUEUES]; /* by tag: a page of page addresses */
	u64 *told_ns;                 /* by queue and tag: when the controller was told to abort it. ctrl->lock */
	unsigned depth;               /* tags in each queue */
};

extern const struct block_driver nvme_block_driver;

/* ctrl.c */
/* c->lock held. Everything in flight is sent again. -EIO: it is dead; -ENODEV: it was pulled out */
int __must_check nvme_reset(struct nvme *c);
void nvme_put(struct nvme *c);
void nvme_namespace_free(struct block_dev *d);
void nvme_rescan(struct nvme *c);                                               /* namespaces of another size */
int __must_check nvme_identify(struct nvme *c, u32 nsid, u32 what, void *page); /* as nvme_command */
/* queue.c */
int __must_check nvme_queue_alloc(struct nvme *c, struct nvme_queue *q, u16 id, u16 depth);
void nvme_queue_free(struct nvme_queue *q);  /* its rings */
void nvme_queue_begin(struct nvme_queue *q); /* empty rings */
void nvme_queue_stop(struct nvme_queue *q);  /* afterwards nobody takes completions */
int nvme_queue_reap(struct nvme_queue *q);
void nvme_queue_interrupt(void *queue);
/* Sends a command and waits. 0, the status that the controller gave (> 0), or -ETIMEDOUT: it may still be at work;
 * reset it. c->lock is held, or nobody else knows the controller. */
int __must_check nvme_command(struct nvme_queue *q, struct nvme_command *cmd, u64 timeout_ns, u32 *result);
/* passthru.c */
int nvme_block_ioctl(struct block_dev *d, unsigned cmd, ulong arg);
unsigned nvme_node_free_index(void);
int __must_check nvme_node_add(struct nvme *c); /* /dev/nvmeN */
void nvme_node_remove(struct nvme *c);
/* sysfs.c */
int __must_check nvme_files_add(struct nvme *c);
void nvme_files_remove(struct nvme *c);
void nvme_namespace_files_add(struct nvme_namespace *ns);
void nvme_namespace_files_remove(struct nvme_namespace *ns);

#endif
