/* SPDX-License-Identifier: MIT
 *
 * AHCI as the driver needs it: registers, what the host bus adapter reads and writes in memory, commands of disks.
 * Sources: Serial ATA AHCI 1.3.1, sections 3 (registers), 4.2 (memory); ATA/ATAPI Command Set 3 (ACS-3), section 7
 * (commands), 9 (logs); Serial ATA 3.0, section 10.3 (FIS).
 */
#ifndef AHCI_PRIV_H
#define AHCI_PRIV_H

#include <block/block.h>
#include <core/irq.h>
#include <device/pci.h>
#include <lib/types.h>
#include <task/work.h>

#define HBA_CAP   0x00
#define HBA_GHC   0x04
#define HBA_IS    0x08
#define HBA_PI    0x0c
#define HBA_CAP2  0x24
#define HBA_BOHC  0x28
#define HBA_PORTS 0x100
#define PORT_SIZE 0x80

#define CAP_PORTS(cap) (((cap)&31) + 1)
#define CAP_SLOTS(cap) (((cap) >> 8 & 31) + 1)
#define CAP_STAGGERED  BIT(27)
#define CAP_NCQ        BIT(30)
#define CAP_64BIT      BIT(31)
#define CAP2_HANDOFF   BIT(0)
#define GHC_IRQ        BIT(1)
#define GHC_AHCI       BIT(31)
#define BOHC_FIRMWARE  BIT(0)
#define BOHC_SYSTEM    BIT(1)

#define PORT_CLB  0x00
#define PORT_FB   0x08
#define PORT_IS   0x10
#define PORT_IE   0x14
#define PORT_CMD  0x18
#define PORT_TFD  0x20
#define PORT_SIG  0x24
#define PORT_SSTS 0x28
#define PORT_SCTL 0x2c
#define PORT_SERR 0x30
#define PORT_SACT 0x34
#define PORT_CI   0x38

#define CMD_START        BIT(0)
#define CMD_SPIN_UP      BIT(1)
#define CMD_FIS          BIT(4) /* received FIS are stored */
#define CMD_FIS_RUNNING  BIT(14)
#define CMD_LIST_RUNNING BIT(15)
#define TFD_ERR          BIT(0)
#define TFD_DRQ          BIT(3)
#define TFD_BSY          BIT(7)
#define SSTS_DET         15
#define DET_PRESENT      1 /* and no communication yet */
#define DET_UP           3
#define SIG_DISK         0x00000101
#define SIG_PACKET       0xeb140101

/* PORT_IS and PORT_IE */
#define PORT_DONE   (BIT(0) | BIT(1) | BIT(3)) /* a register, PIO setup or set device bits FIS came */
#define PORT_SDB    BIT(3)
#define PORT_ERRORS (BIT(4) | BIT(6) | BIT(22) | BIT(27) | BIT(28) | BIT(29) | BIT(30)) /* link, bus, task file */

enum ata_command {
	ATA_DATA_SET_MANAGEMENT = 0x06,
	ATA_READ_DMA_EXT = 0x25,
	ATA_READ_LOG_EXT = 0x2f,
	ATA_WRITE_DMA_EXT = 0x35,
	ATA_WRITE_DMA_FUA_EXT = 0x3d,
	ATA_READ_QUEUED = 0x60,
	ATA_WRITE_QUEUED = 0x61,
	ATA_FLUSH_CACHE_EXT = 0xea,
	ATA_IDENTIFY = 0xec
};
#define ATA_LBA    0x40 /* in the device register */
#define ATA_FUA    0x80 /* there, of a queued write */
#define ATA_TRIM   1    /* feature of DATA SET MANAGEMENT */
#define LOG_QUEUED 0x10 /* which queued command failed */
#define ERROR_CRC  0x80 /* on the cable: worth another try */

struct ahci_header { /* of a command list's slot */
	u16 flags;   /* bits 0-4: length of the FIS in words of 32 bits */
	u16 regions;
	u32 moved;
	u64 table;
	u32 reserved[4];
};
#define HEADER_WRITE BIT(6)

struct ahci_region {
	u64 address;
	u32 reserved;
	u32 last; /* bytes - 1 */
};

#define AHCI_REGIONS 248
#define AHCI_SLOTS   32

struct ahci_table { /* a slot's command: a page */
	u8 fis[64];
	u8 packet[16];
	u8 reserved[48];
	struct ahci_region regions[AHCI_REGIONS];
};
_Static_assert(sizeof(struct ahci_table) == PAGE_SIZE, "a table fills a page");

struct ahci_memory { /* of a port, in one page */
	struct ahci_header list[AHCI_SLOTS];
	u8 received[256];
	u8 data[512]; /* of commands that are not bios' */
};

/* What a command says beside its data. */
struct ata_task {
	u8 command, device;
	u16 feature, count;
	u64 lba;
};

struct ahci_port {
	struct block_dev block;
	struct ahci *hba;
	void *regs;
	unsigned index, host;
	struct ahci_memory *memory;
	struct ahci_table *tables[AHCI_SLOTS];
	unsigned slots;
	bool ncq; /* disk and HBA can */

	/* of the hardware queue's lock */
	u32 issued, pending; /* slots: the HBA has them; not told of them yet */
	bool queued;         /* what is issued or pending are queued commands */
	bool halted;         /* recovery is at work or about to be */
	unsigned alone;      /* so many commands go one by one, unqueued, before queued ones go again */

	atomic_t events; /* PORT_IS as interrupts found it */
	bool overdue;    /* some request is */
	bool dead;
	struct deferred reap;
	struct work recover;
	char model[41], serial[21], firmware[9], address[16];
	struct attr_dir attr; /* /sys/bus/scsi/devices/H:0:0:0 */
};

struct ahci {
	struct pci_dev *pci;
	void *regs;
	u32 cap, implemented;
	u64 timeout_ns;
	struct ahci_port *ports[32]; /* with disks */
};

extern const struct block_driver ahci_block_driver;

/* port.c */
int __must_check ahci_port_wait(struct ahci_port *p, unsigned reg, u32 mask, u32 value, unsigned ms);
int __must_check ahci_port_stop(struct ahci_port *p);
int __must_check ahci_port_start(struct ahci_port *p);
void ahci_port_reset(struct ahci_port *p); /* the link; the port is stopped */
/* Sends a command of one's own by slot 0, which reads up to a sector into memory->data. Nothing is in flight. Sleeps.
 * 0, -EIO or -ETIMEDOUT: the port then wants to be reset. */
int __must_check ahci_command(struct ahci_port *p, const struct ata_task *t, unsigned ms);
void ahci_recover(struct work *w);
/* queue.c */
void ahci_put_command(struct ahci_port *p, unsigned slot, const struct ata_task *t, u16 regions, bool write);
void ahci_interrupt(struct ahci_port *p); /* IRQs off */
void ahci_reap_deferred(struct deferred *d);
/* sysfs.c */
void ahci_files_add(struct ahci_port *p);

#endif
