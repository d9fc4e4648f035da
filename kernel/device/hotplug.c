/* SPDX-License-Identifier: MIT
 *
 * Problem: a card is pulled out of a running machine, or plugged in.
 *
 * Idea: a PCI Express port with a hot-plug slot interrupts when its button is pressed or a card comes or goes; a work
 * looks at the slot's state and acts. The button of a powered slot: its drivers let go, then the power is switched
 * off and the card may be taken. Power comes back when there is a card in a dark slot; the port's windows, which
 * firmware has set aside, are dealt out to the card's base address registers.
 *
 *      dark --card is there--> power on, link, scan, probe --> lit --button--> drivers' remove, power off --> dark
 *                                          ^                    '--card is gone: drivers' remove, power off--'
 *                                          '--drivers' remove---'--card is another one
 *
 * The specification lets the button's finger think again for five seconds; here, where a program presses it, we act at
 * once. A driver that cannot let go leaves its slot lit.
 *
 * Contract: device/pci.h; PCI Express Base Specification 4.0, section 6.7. Only ports with MSI-X.
 *
 * Locks: pci_lock around all that is done.
 */
#include <alloc/slab.h>
#include <core/clock.h>
#include <core/log.h>
#include <lib/err.h>
#include <linux/pci_regs.h>
#include <task/mutex.h>
#include <task/sched.h>
#include <task/work.h>

#include "device_priv.h"

#define EVENTS          (PCI_EXP_SLTSTA_ABP | PCI_EXP_SLTSTA_PDC)
#define COMMAND_WAIT_NS NSEC_PER_SEC
#define LINK_WAIT_NS    NSEC_PER_SEC
#define SETTLE_NS       (100 * NSEC_PER_MSEC) /* section 6.6.1: from the link's start to the first request */

struct slot {
	struct pci_dev *port;
	u8 cap, bus; /* the port's PCI Express capability; the bus behind it */
	bool lit;    /* lock: what is there has been scanned */
	struct work work;
};

struct window { /* what a port passes on */
	u64 next, end;
};

static u16 read_port(const struct slot *s, unsigned reg)
{
	return pci_read16(s->port, s->cap + reg);
}

/* True: the bits came up in time. */
static bool wait_for(const struct slot *s, unsigned reg, u16 bits, u64 timeout_ns)
{
	u64 deadline = clock_ns() + timeout_ns;

	while (!(read_port(s, reg) & bits)) {
		if (clock_ns() > deadline)
			return false;
		sched_nap(NSEC_PER_MSEC);
	}
	return true;
}

/* Changes the slot's control; the next command has to wait for this one. */
static void command(const struct slot *s, u16 mask, u16 value)
{
	u16 control = read_port(s, PCI_EXP_SLTCTL);

	pci_write16(s->port, s->cap + PCI_EXP_SLTCTL, (control & ~mask) | value);
	if (pci_read32(s->port, s->cap + PCI_EXP_SLTCAP) & PCI_EXP_SLTCAP_NCCS)
		return;
	if (!wait_for(s, PCI_EXP_SLTSTA, PCI_EXP_SLTSTA_CC, COMMAND_WAIT_NS))
		log_warn("pci slot %02x: does not confirm a command", s->bus);
	pci_write16(s->port, s->cap + PCI_EXP_SLTSTA, PCI_EXP_SLTSTA_CC);
}

static void set_power(const struct slot *s, bool on)
{
	command(s, PCI_EXP_SLTCTL_PCC | PCI_EXP_SLTCTL_PIC,
		on ? PCI_EXP_SLTCTL_PWR_ON | PCI_EXP_SLTCTL_PWR_IND_ON
		   : PCI_EXP_SLTCTL_PWR_OFF | PCI_EXP_SLTCTL_PWR_IND_OFF);
}

/* ---- addresses ------------------------------------------------------------------------------------------------- */

static struct window memory_window(const struct pci_dev *port)
{
	u64 base = pci_read16(port, PCI_MEMORY_BASE) & PCI_MEMORY_RANGE_MASK;
	u64 limit = pci_read16(port, PCI_MEMORY_LIMIT) & PCI_MEMORY_RANGE_MASK;

	return (struct window){ base << 16, (limit << 16) + 0x100000 };
}

static struct window prefetch_window(const struct pci_dev *port)
{
	u16 low = pci_read16(port, PCI_PREF_MEMORY_BASE);
	bool wide = (low & PCI_PREF_RANGE_TYPE_MASK) == PCI_PREF_RANGE_TYPE_64;
	u64 base = (u64)(low & PCI_PREF_RANGE_MASK) << 16;
	u64 limit = (u64)(pci_read16(port, PCI_PREF_MEMORY_LIMIT) & PCI_PREF_RANGE_MASK) << 16;

	if (wide) {
		base |= (u64)pci_read32(port, PCI_PREF_BASE_UPPER32) << 32;
		limit |= (u64)pci_read32(port, PCI_PREF_LIMIT_UPPER32) << 32;
	}
	return (struct window){ base, limit + 0x100000 };
}

/* A closed window ends before it begins: nothing fits. */
static bool take(struct window *w, u64 bytes, u64 below, u64 *out)
{
	u64 at = ALIGN_UP(w->next, bytes);

	if (!w->next || at < w->next || at >= w->end || bytes > w->end - at || at + bytes > below)
		return false;
	*out = at;
	w->next = at + bytes;
	return true;
}

static void place_bar(struct pci_dev *d, unsigned n, struct window *memory, struct window *prefetch)
{
	unsigned offset = PCI_BASE_ADDRESS_0 + 4 * n;
	u32 kind = pci_read32(d, offset) & ~PCI_BASE_ADDRESS_MEM_MASK;
	bool wide = (kind & PCI_BASE_ADDRESS_MEM_TYPE_MASK) == PCI_BASE_ADDRESS_MEM_TYPE_64;
	u64 below = wide ? ~0ULL : 1ULL << 32, at;

	if (!(kind & PCI_BASE_ADDRESS_MEM_PREFETCH && take(prefetch, d->bar[n].bytes, below, &at)) &&
	    !take(memory, d->bar[n].bytes, below, &at)) {
		log_warn("pci %s: no room for register %u", d->name, n);
		return;
	}
	pci_write32(d, offset, (u32)at);
	if (wide)
		pci_write32(d, offset + 4, at >> 32);
	d->bar[n].base = at;
}

/* ---- cards ----------------------------------------------------------------------------------------------------- */

static bool is_occupied(const struct slot *s)
{
	struct pci_dev *d;

	list_for_each_entry (d, &pci_devices, link)
		if (d->bus == s->bus)
			return true;
	return false;
}

static void turn_on(struct slot *s)
{
	struct window memory = memory_window(s->port), prefetch = prefetch_window(s->port);
	struct pci_dev *d, *next;

	set_power(s, true);
	if (pci_read32(s->port, s->cap + PCI_EXP_LNKCAP) & PCI_EXP_LNKCAP_DLLLARC &&
	    !wait_for(s, PCI_EXP_LNKSTA, PCI_EXP_LNKSTA_DLLLA, LINK_WAIT_NS))
		log_warn("pci slot %02x: no link", s->bus);
	sched_nap(SETTLE_NS);
	pci_scan_slot(s->bus, 0); /* a port has one device behind it */
	s->lit = true;
	list_for_each_entry_safe (d, next, &pci_devices, link) {
		if (d->bus != s->bus)
			continue;
		for (unsigned n = 0; n < ARRAY_SIZE(d->bar); n++)
			if (d->bar[n].bytes && !d->bar[n].is_port)
				place_bar(d, n, &memory, &prefetch);
		log_info("pci %s: %04x:%04x plugged in", d->name, d->vendor, d->device);
		pci_probe(d);
	}
}

static int let_go(struct pci_dev *d)
{
	int err = pci_unbind(d);

	if (err)
		return err;
	log_info("pci %s: %04x:%04x removed", d->name, d->vendor, d->device);
	list_del(&d->link);
	pci_files_remove(d); /* with it goes d */
	return 0;
}

/* True: its drivers have let go of all that was in the slot. */
static bool clear(struct slot *s)
{
	struct pci_dev *d, *next;

	list_for_each_entry_safe (d, next, &pci_devices, link)
		if (d->bus == s->bus && let_go(d))
			log_warn("pci %s: its driver cannot let it go", d->name);
	s->lit = is_occupied(s);
	return !s->lit;
}

/* What was scanned is what is there. A card that came meanwhile, be it the same one, has not been given its addresses.
 */
static bool is_unchanged(const struct slot *s)
{
	struct pci_dev *d;

	list_for_each_entry (d, &pci_devices, link) {
		if (d->bus != s->bus)
			continue;
		if (pci_read16(d, PCI_VENDOR_ID) != d->vendor || pci_read16(d, PCI_DEVICE_ID) != d->device)
			return false;
		for (unsigned n = 0; n < ARRAY_SIZE(d->bar); n++)
			if (d->bar[n].base && !d->bar[n].is_port &&
			    (pci_read32(d, PCI_BASE_ADDRESS_0 + 4 * n) & PCI_BASE_ADDRESS_MEM_MASK) !=
				    (u32)d->bar[n].base)
				return false;
	}
	return true;
}

static void act(struct slot *s, u16 status)
{
	bool there = status & PCI_EXP_SLTSTA_PDS;

	if (s->lit && (status & PCI_EXP_SLTSTA_ABP || !there)) {
		if (clear(s))
			set_power(s, false);
		return;
	}
	if (s->lit && !is_unchanged(s)) /* one went and one came before we looked */
		clear(s);
	if (!s->lit && there)
		turn_on(s);
}

static void serve(struct work *w)
{
	struct slot *s = container_of(w, struct slot, work);
	u16 status;

	mutex_lock(&pci_lock);
	/* An interrupt comes only when the first of the events comes up: so until all are down. */
	while ((status = read_port(s, PCI_EXP_SLTSTA)) & EVENTS && status != 0xffff) {
		pci_write16(s->port, s->cap + PCI_EXP_SLTSTA, status & EVENTS);
		act(s, status);
	}
	mutex_unlock(&pci_lock);
}

static void on_interrupt(void *slot)
{
	work_queue(&((struct slot *)slot)->work);
}

/* ---- ports ----------------------------------------------------------------------------------------------------- */

static bool has_slot(const struct pci_dev *d, u8 cap)
{
	u16 flags = cap ? pci_read16(d, cap + PCI_EXP_FLAGS) : 0;
	unsigned type = (flags & PCI_EXP_FLAGS_TYPE) >> 4;

	return (type == PCI_EXP_TYPE_ROOT_PORT || type == PCI_EXP_TYPE_DOWNSTREAM) && flags & PCI_EXP_FLAGS_SLOT &&
	       pci_read32(d, cap + PCI_EXP_SLTCAP) & PCI_EXP_SLTCAP_HPC;
}

static int start(struct slot *s)
{
	unsigned message = (read_port(s, PCI_EXP_FLAGS) & PCI_EXP_FLAGS_IRQ) >> 9;
	int err;

	pci_enable(s->port);
	err = pci_msix_enable(s->port);
	if (err)
		return err;
	err = pci_msix_request(s->port, message, on_interrupt, s, 0, "pciehp");
	if (err < 0)
		return err;
	command(s, PCI_EXP_SLTCTL_CCIE, PCI_EXP_SLTCTL_ABPE | PCI_EXP_SLTCTL_PDCE | PCI_EXP_SLTCTL_HPIE);
	return 0;
}

void pci_hotplug_init(void)
{
	struct pci_dev *d;

	list_for_each_entry (d, &pci_devices, link) {
		u8 cap = d->class >> 8 == CLASS_BRIDGE ? pci_find_cap(d, PCI_CAP_ID_EXP, 0) : 0;
		struct slot *s = has_slot(d, cap) ? kzalloc(sizeof(*s), ALLOC_KERNEL) : NULL;
		int err;

		if (!s)
			continue;
		s->port = d;
		s->cap = cap;
		s->bus = pci_read8(d, PCI_SECONDARY_BUS);
		s->lit = is_occupied(s);
		work_init(&s->work, serve);
		err = start(s);
		if (err)
			log_warn("pci slot %02x: no hot-plug: error %d", s->bus, -err);
		else
			work_queue(&s->work); /* for what has happened before */
	}
}
