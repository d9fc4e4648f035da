/* SPDX-License-Identifier: MIT
 *
 * Problem: a function that one owner leaves must come to the next without what the first one did to it.
 *
 * Idea: function-level reset where the function offers it (by its PCI Express capability, or the one for conventional
 * functions), else the sleep state D3 and back, which resets a function unless it says otherwise. Its base addresses
 * and the rest of the header are kept aside and put back; messages are written anew.
 *
 *      quiet (no new requests, old ones end) --> reset --> 100 ms --> header and messages back, bus mastering off
 *
 * Contract: device/pci.h. Sources: PCI Express Base Specification
 * 4.0, 6.6.2; Advanced Capabilities for conventional PCI ECN; PCI Power Management 1.2, 5.4.1.
 *
 * Locks: none; the function is the caller's.
 */
#include <core/clock.h>
#include <core/log.h>
#include <lib/err.h>
#include <linux/pci_regs.h>
#include <task/sched.h>

#include "device_priv.h"

#define HEADER_WORDS 16
#define PENDING_NS   (100 * NSEC_PER_MSEC)
#define RESET_NS     (100 * NSEC_PER_MSEC)
#define D3_NS        (10 * NSEC_PER_MSEC)

struct way {
	u8 express, af, power; /* offset of the one capability that is used; others 0 */
};

static struct way way_of(const struct pci_dev *d)
{
	u8 express = pci_find_cap(d, PCI_CAP_ID_EXP, 0), af = pci_find_cap(d, PCI_CAP_ID_AF, 0);
	u8 power = pci_find_cap(d, PCI_CAP_ID_PM, 0);

	if (express && pci_read32(d, express + PCI_EXP_DEVCAP) & PCI_EXP_DEVCAP_FLR)
		return (struct way){ .express = express };
	if (af && pci_read8(d, af + PCI_AF_CAP) & PCI_AF_CAP_FLR)
		return (struct way){ .af = af };
	if (power && !(pci_read16(d, power + PCI_PM_CTRL) & PCI_PM_CTRL_NO_SOFT_RESET))
		return (struct way){ .power = power };
	return (struct way){ 0 };
}

bool pci_can_reset(const struct pci_dev *d)
{
	struct way w = way_of(d);

	return w.express || w.af || w.power;
}

static void wait_quiet(const struct pci_dev *d, struct way w)
{
	u64 deadline = clock_ns() + PENDING_NS;

	while (clock_ns() < deadline &&
	       ((w.express && pci_read16(d, w.express + PCI_EXP_DEVSTA) & PCI_EXP_DEVSTA_TRPND) ||
		(w.af && pci_read8(d, w.af + PCI_AF_STATUS) & PCI_AF_STATUS_TP)))
		sched_nap(NSEC_PER_MSEC);
}

static void reset_by(const struct pci_dev *d, struct way w)
{
	u16 power = w.power ? pci_read16(d, w.power + PCI_PM_CTRL) & ~PCI_PM_CTRL_STATE_MASK : 0;

	if (w.express) {
		pci_write16(d, w.express + PCI_EXP_DEVCTL,
			    pci_read16(d, w.express + PCI_EXP_DEVCTL) | PCI_EXP_DEVCTL_BCR_FLR);
	} else if (w.af) {
		pci_write16(d, w.af + PCI_AF_CTRL, PCI_AF_CTRL_FLR);
	} else {
		pci_write16(d, w.power + PCI_PM_CTRL, power | 3);
		sched_nap(D3_NS);
		pci_write16(d, w.power + PCI_PM_CTRL, power);
	}
	sched_nap(RESET_NS);
}

int pci_reset(struct pci_dev *d)
{
	struct way w = way_of(d);
	u32 header[HEADER_WORDS];
	u16 command = pci_read16(d, PCI_COMMAND) & ~PCI_COMMAND_MASTER;

	if (!w.express && !w.af && !w.power)
		return -ENOTTY;
	pci_write16(d, PCI_COMMAND, command);
	for (unsigned i = 0; i < HEADER_WORDS; i++)
		header[i] = pci_read32(d, 4 * i);
	wait_quiet(d, w);
	reset_by(d, w);
	for (unsigned i = HEADER_WORDS - 1; i > PCI_COMMAND / 4; i--)
		pci_write32(d, 4 * i, header[i]);
	pci_write16(d, PCI_COMMAND, command);
	pci_messages_restore(d);
	return 0;
}
