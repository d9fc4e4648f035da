/* SPDX-License-Identifier: MIT
 *
 * Between the files of this part: the unit, its tables in memory, its queue of invalidations.
 * Source: Intel Virtualization Technology for Directed I/O 3.3, in its legacy mode: chapters 3 (translation), 6
 * (caches), 7 (faults), 9 (tables) and 11 (registers).
 *
 *      source ID --> root[bus] --> context[slot, function] --> domain's tables, four or three levels --> page
 *                                        '--> passed through
 *
 * Locks: L vtd.lock (RANK_DRIVER, irqsave); I constant after the start; D the domain's caller.
 */
#ifndef VTD_PRIV_H
#define VTD_PRIV_H

#include <core/spin.h>
#include <device/iommu.h>
#include <lib/types.h>

#define REG_CAP           0x08
#define REG_ECAP          0x10
#define REG_COMMAND       0x18
#define REG_STATUS        0x1c
#define REG_ROOT          0x20
#define REG_FAULT_STATUS  0x34
#define REG_FAULT_CONTROL 0x38 /* then data, address, upper address */
#define REG_QUEUE_TAIL    0x88
#define REG_QUEUE         0x90

/* Of command and status alike. */
#define GCMD_TRANSLATE BIT(31)
#define GCMD_SET_ROOT  BIT(30)
#define GCMD_QUEUE     BIT(26)
#define GCMD_KEPT      0x96ffffffU /* of the status: what stays set only if it is written again */

#define FAULT_OVERFLOW BIT(0)
#define FAULT_PENDING  BIT(1)  /* a record is filled */
#define FAULT_QUEUE    0x70U   /* an error of the queue */
#define RECORD_F       BIT(63) /* of the upper half: a fault is recorded */
#define RECORD_READ    BIT(62)

#define ROOT_PRESENT    BIT(0)
#define CONTEXT_PRESENT BIT(0)
#define CONTEXT_SILENT  BIT(1) /* its faults are not reported */
#define CONTEXT_PASS    (2ULL << 2)

#define VTD_DOMAINS   256
#define VTD_BYPASS_ID 1 /* 0 is the unit's own where it caches what is not there */
#define VTD_FIRST_ID  2

struct vtd_entry { /* of root and context tables, and of the queue */
	u64 low, high;
};

struct iommu_domain {
	u64 *root;
	unsigned levels;
	u16 id;
	struct tenant *tenant; /* counted */
};

struct vtd {
	void *regs;      /* I */
	u64 cap, ecap;   /* I */
	unsigned levels; /* I */
	struct spinlock lock;
	struct vtd_entry *root;      /* L */
	struct vtd_entry *bypass;    /* I: contexts of the buses that have no table of their own */
	struct vtd_entry *own[256];  /* L: the others' */
	struct vtd_entry *queue;     /* L */
	unsigned tail;               /* L */
	u32 *done;                   /* the unit writes it */
	ulong ids[VTD_DOMAINS / 64]; /* L */
	u8 *reports;                 /* by source ID: how often its faults were reported since it was attached */
	u64 faults;
};

extern struct vtd vtd;

/* Memory that the unit reads: what was stored is seen. */
void vtd_publish(const void *p, size_t bytes);

/* A function's faults are no longer reported, until it is attached anew. */
void vtd_silence(unsigned source);

/* queue.c: each returns when it is done. The lock is held. */
void vtd_queue_start(void);
void vtd_forget_contexts(void); /* of all functions, and all translations */
void vtd_forget_domain(u16 id);

/* table.c */
int vtd_domain_create(struct tenant *t, struct iommu_domain **out);
void vtd_domain_destroy(struct iommu_domain *d);
int vtd_map(struct iommu_domain *d, u64 iova, paddr_t pa, unsigned rights);
void vtd_unmap(struct iommu_domain *d, u64 iova, u64 bytes);
paddr_t vtd_find(struct iommu_domain *d, u64 iova);

/* fault.c */
int vtd_faults_start(void);

#endif
