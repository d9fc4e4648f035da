/* SPDX-License-Identifier: MIT
 *
 * Problem: bring a SATA host bus adapter from where firmware left it to disks.
 *
 * Idea: the steps of AHCI 10.1.2: take the HBA from the firmware, AHCI mode on, and each implemented port stopped,
 * given memory and started. A port without a link costs one register read. What answers with a disk's signature is
 * identified (ACS-3, 7.12.7) and becomes a block device sdX; packet devices (CD drives) and port multipliers are left
 * alone. The HBA has one message interrupt for all ports; its handler acknowledges the port, then the HBA (section
 * 5.5.3).
 *
 *      PxCMD.ST = 0, FRE = 0 -> PxCLB, PxFB -> FRE = 1, link up, not busy -> ST = 1 -> IDENTIFY -> block_add
 *
 * Contract: pci_driver of device/pci.h. ahci.io_timeout=SECONDS sets when a request is overdue.
 *
 * Locks: none; probe is one task.
 */
#include <alloc/kmap.h>
#include <alloc/page.h>
#include <arch/boot.h>
#include <arch/cpu.h>
#include <arch/io.h>
#include <core/clock.h>
#include <core/init.h>
#include <core/log.h>
#include <lib/err.h>
#include <lib/printf.h>
#include <lib/string.h>
#include <vfs/device.h>

#include "ahci_priv.h"

#define CLASS_AHCI    0x010601
#define BAR_AHCI      5
#define ENGINE_MS     500
#define HANDOFF_MS    2000
#define IDENTIFY_MS   10000
#define IO_TIMEOUT_S  30
#define MAJOR_SD      8
#define MINORS_SD     16
#define NOT_ROTATING  1
#define DISCARD_BYTES (1ULL << 30)

static unsigned nr_disks, nr_hosts;

static void interrupt(void *arg)
{
	struct ahci *c = arg;
	u32 ports = mmio_read32(c->regs + HBA_IS);

	for (u32 left = ports & c->implemented; left; left &= left - 1) {
		unsigned i = (unsigned)__builtin_ctz(left);

		if (c->ports[i])
			ahci_interrupt(c->ports[i]);
		else
			mmio_write32(c->regs + HBA_PORTS + i * PORT_SIZE + PORT_IS, ~0U);
	}
	mmio_write32(c->regs + HBA_IS, ports);
}

/* ---- what a disk says of itself ------------------------------------------------------------------------------------
 */

/* Text has two characters a word, the first in the upper half, and blanks behind. */
static void copy_text(char *dst, const u16 *words, unsigned nr)
{
	unsigned len = 2 * nr;

	for (unsigned i = 0; i < nr; i++) {
		dst[2 * i] = (char)(words[i] >> 8);
		dst[2 * i + 1] = (char)words[i];
	}
	dst[len] = '\0';
	while (len && dst[len - 1] == ' ')
		dst[--len] = '\0';
}

static void read_block_sizes(struct block_limits *l, const u16 *id)
{
	l->logical_block = l->physical_block = SECTOR_SIZE;
	if ((id[106] & 0xc000) != 0x4000)
		return;
	if (id[106] & BIT(12))
		l->logical_block = 2 * (id[117] | (u32)id[118] << 16);
	l->physical_block = l->logical_block << (id[106] & BIT(13) ? id[106] & 15 : 0);
}

static int read_identity(struct ahci_port *p, const u16 *id)
{
	struct block_limits *l = &p->block.limits;
	u64 blocks = id[100] | (u64)id[101] << 16 | (u64)id[102] << 32 | (u64)id[103] << 48;
	bool words_84 = (id[84] & 0xc000) == 0x4000;

	copy_text(p->serial, id + 10, 10);
	copy_text(p->firmware, id + 23, 4);
	copy_text(p->model, id + 27, 20);
	read_block_sizes(l, id);
	if (!(id[83] & BIT(10)) || !blocks || l->logical_block < SECTOR_SIZE || l->logical_block > PAGE_SIZE ||
	    l->logical_block & (l->logical_block - 1))
		return fail(EOPNOTSUPP, "ata%u: %s: blocks of %u bytes, 48-bit addresses %d", p->host + 1, p->model,
			    l->logical_block, !!(id[83] & BIT(10)));
	p->block.sectors = blocks * (l->logical_block / SECTOR_SIZE);
	p->ncq = p->hba->cap & CAP_NCQ && id[76] != 0xffff && id[76] & BIT(8);
	p->slots = CAP_SLOTS(p->hba->cap);
	if (p->ncq)
		p->slots = min(p->slots, (id[75] & 31U) + 1);
	l->max_vecs = AHCI_REGIONS;
	l->max_bytes = AHCI_REGIONS * PAGE_SIZE; /* also of single pages */
	l->write_cache = id[85] & BIT(5);
	l->has_fua = words_84 && id[84] & BIT(6);
	l->rotational = id[217] != NOT_ROTATING;
	l->max_discard_bytes = id[169] & BIT(0) ? DISCARD_BYTES : 0;
	l->timeout_ns = p->hba->timeout_ns;
	return 0;
}

/* ---- ports ---------------------------------------------------------------------------------------------------------
 */

static void *zeroed_page(void)
{
	struct page *p = page_alloc(0, ALLOC_ZERO, NULL);

	return p ? page_virt(p) : NULL;
}

static void free_port(struct ahci_port *p)
{
	for (unsigned i = 0; i < AHCI_SLOTS; i++)
		if (p->tables[i])
			page_put(virt_to_page(p->tables[i]));
	if (p->memory)
		page_put(virt_to_page(p->memory));
	kfree(p);
}

/* The port uses our memory from now on. */
static int set_memory(struct ahci_port *p)
{
	u32 command = mmio_read32(p->regs + PORT_CMD);
	int err = ahci_port_stop(p);

	if (!err) {
		mmio_write32(p->regs + PORT_CMD, command & ~(u32)(CMD_START | CMD_FIS));
		err = ahci_port_wait(p, PORT_CMD, CMD_FIS_RUNNING, 0, ENGINE_MS);
	}
	if (err)
		return err;
	mmio_write32(p->regs + PORT_CLB, (u32)virt_to_phys(p->memory->list));
	mmio_write32(p->regs + PORT_CLB + 4, virt_to_phys(p->memory->list) >> 32);
	mmio_write32(p->regs + PORT_FB, (u32)virt_to_phys(p->memory->received));
	mmio_write32(p->regs + PORT_FB + 4, virt_to_phys(p->memory->received) >> 32);
	return 0;
}

static int identify(struct ahci_port *p)
{
	static const struct ata_task task = { .command = ATA_IDENTIFY };
	int err = ahci_command(p, &task, IDENTIFY_MS);

	if (!err)
		err = read_identity(p, (const u16 *)p->memory->data);
	for (unsigned i = 1; !err && i < p->slots; i++) {
		p->tables[i] = zeroed_page();
		if (!p->tables[i])
			err = -ENOMEM;
	}
	return err;
}

static void set_name(struct ahci_port *p)
{
	unsigned n = nr_disks++;

	block_name_by_letters(&p->block, "sd", n);
	if (n < 256 / MINORS_SD) {
		p->block.rdev = DEV(MAJOR_SD, n * MINORS_SD);
		p->block.minors = MINORS_SD;
	}
}

static int add_disk(struct ahci_port *p)
{
	int err;

	p->block.priv = p;
	p->block.driver = &ahci_block_driver;
	deferred_init(&p->reap, ahci_reap_deferred);
	work_init(&p->recover, ahci_recover);
	if (nr_disks == BLOCK_MOST_LETTERED)
		return -ENOSPC;
	set_name(p);
	err = block_prepare(&p->block, 1, p->slots);
	if (err)
		return err;
	p->hba->ports[p->index] = p;
	mmio_write32(p->regs + PORT_IS, ~0U);
	mmio_write32(p->regs + PORT_IE, PORT_DONE | PORT_ERRORS);
	log_info("%s: %s, serial %s, %s of %u", p->block.name, p->model, p->serial,
		 p->ncq ? "NCQ with a depth" : "no NCQ, slots", p->slots);
	err = block_add(&p->block);
	if (!err)
		ahci_files_add(p);
	return err;
}

/* Whether anything is connected: what firmware has not spun up gets the time to say so. */
static bool has_device(struct ahci_port *p)
{
	u32 command = mmio_read32(p->regs + PORT_CMD);

	if (p->hba->cap & CAP_STAGGERED && !(command & CMD_SPIN_UP)) {
		mmio_write32(p->regs + PORT_CMD, command | CMD_SPIN_UP);
		return !ahci_port_wait(p, PORT_SSTS, SSTS_DET, DET_UP, 100);
	}
	return (mmio_read32(p->regs + PORT_SSTS) & SSTS_DET) >= DET_PRESENT;
}

static int bring_up(struct ahci_port *p)
{
	u32 signature;
	int err;

	p->memory = zeroed_page();
	p->tables[0] = zeroed_page();
	if (!p->memory || !p->tables[0])
		return -ENOMEM;
	err = set_memory(p);
	if (!err)
		err = ahci_port_start(p);
	if (err)
		return err;
	signature = mmio_read32(p->regs + PORT_SIG);
	if (signature != SIG_DISK) {
		log_info("ata%u: %s: left alone", p->host + 1,
			 signature == SIG_PACKET ? "a packet device" : "neither a disk nor a packet device");
		return -ENODEV;
	}
	err = identify(p);
	return err ? err : add_disk(p);
}

static int add_port(struct ahci *c, unsigned i)
{
	struct ahci_port *p = kzalloc(sizeof(*p), ALLOC_KERNEL);
	int err;

	if (!p)
		return -ENOMEM;
	p->hba = c;
	p->index = i;
	p->host = nr_hosts++;
	p->regs = c->regs + HBA_PORTS + i * PORT_SIZE;
	mmio_write32(p->regs + PORT_IE, 0);
	err = has_device(p) ? bring_up(p) : -ENODEV;
	if (!err)
		return 0;
	if (err != -ENODEV)
		log_warn("ata%u: error %d", p->host + 1, -err);
	/* Freed only if the port surely uses it no more; a disk that others know of stays. */
	if (!c->ports[i] && (!p->memory || (!ahci_port_stop(p) && !ahci_port_wait(p, PORT_CMD, CMD_FIS_RUNNING, 0, 0))))
		free_port(p);
	return 0;
}

/* ---- the adapter --------------------------------------------------------------------------------------------------
 */

static void take_from_firmware(struct ahci *c)
{
	u64 deadline = clock_ns() + HANDOFF_MS * NSEC_PER_MSEC;

	if (!(mmio_read32(c->regs + HBA_CAP2) & CAP2_HANDOFF))
		return;
	mmio_write32(c->regs + HBA_BOHC, mmio_read32(c->regs + HBA_BOHC) | BOHC_SYSTEM);
	while (mmio_read32(c->regs + HBA_BOHC) & BOHC_FIRMWARE && clock_ns() < deadline)
		cpu_relax();
}

static bool match(const struct pci_dev *d)
{
	return d->class == CLASS_AHCI;
}

static u64 io_timeout_ns(void)
{
	return max(boot_param_u64("ahci.io_timeout", 3600, IO_TIMEOUT_S), 1UL) * NSEC_PER_SEC;
}

static int start(struct ahci *c)
{
	int err;

	take_from_firmware(c);
	mmio_write32(c->regs + HBA_GHC, mmio_read32(c->regs + HBA_GHC) | GHC_AHCI);
	c->cap = mmio_read32(c->regs + HBA_CAP);
	c->implemented = mmio_read32(c->regs + HBA_PI);
	if (!(c->cap & CAP_64BIT))
		return fail(EOPNOTSUPP, "ahci: cannot reach all memory");
	err = pci_msi_request(c->pci, interrupt, c, 0, "ahci");
	if (err < 0)
		return err;
	mmio_write32(c->regs + HBA_IS, ~0U);
	mmio_write32(c->regs + HBA_GHC, GHC_AHCI | GHC_IRQ);
	err = 0;
	for (unsigned i = 0; i < 32 && !err; i++)
		if (c->implemented >> i & 1)
			err = add_port(c, i);
	return err;
}

static int probe(struct pci_dev *d)
{
	struct ahci *c = kzalloc(sizeof(*c), ALLOC_KERNEL);
	int err;

	if (!c)
		return -ENOMEM;
	c->pci = d;
	d->priv = c;
	c->timeout_ns = io_timeout_ns();
	pci_enable(d);
	c->regs = pci_map_bar(d, BAR_AHCI, 0, 0);
	err = c->regs ? start(c) : -ENODEV;
	if (!err || d->msi_vector)
		return 0; /* the ports that serve go on */
	io_unmap(c->regs);
	kfree(c);
	return err;
}

static struct pci_driver driver = { .name = "ahci", .match = match, .probe = probe };

static void ahci_register(void)
{
	pci_register(&driver);
}
PART_INIT(core, ahci_register);
