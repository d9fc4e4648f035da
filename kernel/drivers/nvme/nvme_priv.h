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

enum admin_opcode { ADMIN_CREATE_SQ = 0x01, ADMIN_CREATE_CQ = 0x05, ADMIN_IDENTIFY = 0x06, ADMIN_SET_FEATURES = 0x09 };
enum nvm_opcode { NVM_FLUSH = 0x00, NVM_WRITE = 0x01, NVM_READ = 0x02, NVM_WRITE_ZEROES = 0x08, NVM_DSM = 0x09 };
#define FEATURE_QUEUES 0x07
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

struct nvme_queue {
	struct nvme *ctrl;
	u16 id, depth;
	struct nvme_command *sq;
	struct nvme_completion *cq;
	u16 sq_tail, cq_head;
	u8 phase;
	void *sq_doorbell, *cq_doorbell;
	struct spinlock lock;  /* RANK_DRIVER, irqsave: both rings */
	struct block_hwq *hwq; /* NULL: admin queue */
	u64 **prp_lists;       /* by tag: a page of page addresses */
	struct deferred reap;
};

#define NVME_MAX_QUEUES 8
#define NVME_DEPTH      64

struct nvme {
	struct pci_dev *pci;
	void *regs;
	u32 doorbell_stride; /* bytes */
	u64 ready_timeout_ns;
	struct nvme_queue admin;
	struct mutex admin_lock; /* one admin command at a time */
	struct completion admin_done;
	u16 admin_status;
	u32 admin_result;
	struct nvme_queue queues[NVME_MAX_QUEUES];
	unsigned nr_queues;
	u32 max_transfer;
	bool write_cache, can_zero, can_discard;
	unsigned index;
	char model[41], serial[21], firmware[9];
};

struct nvme_namespace {
	struct block_dev block;
	struct nvme *ctrl;
	u32 id;
	u8 block_shift; /* of a logical block */
};

extern const struct block_driver nvme_block_driver;

/* ctrl.c. An admin command with a 4 KiB buffer (or NULL); 0, -EIO, -ETIMEDOUT; *result: dword 0 of the completion. */
int __must_check nvme_admin(struct nvme *c, struct nvme_command *cmd, void *buffer, u32 *result);
/* queue.c */
int __must_check nvme_queue_init(struct nvme *c, struct nvme_queue *q, u16 id, u16 depth);
void nvme_queue_submit(struct nvme_queue *q, const struct nvme_command *cmd);
int nvme_queue_reap(struct nvme_queue *q);
void nvme_queue_interrupt(void *queue);

#endif
