/* SPDX-License-Identifier: MIT
 *
 * Problem: lsblk, udev and their kin read a disk's maker and model from its folder "device".
 *
 * Idea: SATA disks look like SCSI ones to programs, as on Linux: vendor is "ATA", the model is the first 16 characters
 * of the disk's own (SCSI/ATA Translation, SAT-3, 10.3.2), and the folder's name is host:0:0:0 with a host a port.
 *
 * Contract: names and texts as Linux 6.1: /sys/bus/scsi/devices/H:0:0:0, /sys/block/sdX/device.
 *
 * Locks: none; what is shown is constant after probe, but for the state.
 */
#include <core/log.h>
#include <lib/printf.h>
#include <lib/string.h>

#include "ahci_priv.h"

enum { VENDOR, MODEL, REVISION, TYPE, LEVEL };

static struct attr_dir *scsi_devices;

/* The firmware's second half, if the disk uses it. */
static const char *revision(const struct ahci_port *p)
{
	return strlen(p->firmware) > 4 ? p->firmware + 4 : p->firmware;
}

static int show_text(struct attr_dir *dir, const struct attr *a, struct strbuf *out)
{
	const struct ahci_port *p = dir->owner;

	switch (a->data) {
	case VENDOR: strbuf_add(out, "%-8s\n", "ATA"); break;
	case MODEL: strbuf_add(out, "%-16.16s\n", p->model); break;
	case REVISION: strbuf_add(out, "%-4.4s\n", revision(p)); break;
	case TYPE: strbuf_add(out, "0\n"); break;
	case LEVEL: strbuf_add(out, "6\n"); break;
	}
	return 0;
}

static int show_state(struct attr_dir *dir, const struct attr *a, struct strbuf *out)
{
	const struct ahci_port *p = dir->owner;

	strbuf_add(out, "%s\n", READ_ONCE(p->dead) ? "offline" : "running");
	return 0;
}

static int show_depth(struct attr_dir *dir, const struct attr *a, struct strbuf *out)
{
	const struct ahci_port *p = dir->owner;

	strbuf_add(out, "%u\n", p->ncq ? p->slots : 1);
	return 0;
}

static int show_timeout(struct attr_dir *dir, const struct attr *a, struct strbuf *out)
{
	const struct ahci_port *p = dir->owner;

	strbuf_add(out, "%llu\n", (unsigned long long)(p->hba->timeout_ns / NSEC_PER_SEC));
	return 0;
}

#define TEXT(id, file, what)  static const struct attr attr_##id = { file, 0444, show_text, NULL, NULL, what }
#define VALUE(id, file, show) static const struct attr attr_##id = { file, 0444, show, NULL, NULL, 0 }
TEXT(vendor, "vendor", VENDOR);
TEXT(model, "model", MODEL);
TEXT(revision, "rev", REVISION);
TEXT(type, "type", TYPE);
TEXT(level, "scsi_level", LEVEL);
VALUE(state, "state", show_state);
VALUE(depth, "queue_depth", show_depth);
VALUE(timeout, "timeout", show_timeout);

static const struct attr *const attrs[] = { &attr_vendor, &attr_model, &attr_revision, &attr_type, &attr_level,
					    &attr_state,  &attr_depth, &attr_timeout,  NULL };

void ahci_files_add(struct ahci_port *p)
{
	int err = scsi_devices ? 0 : attr_shared_dir(&attr_sys_root, "bus/scsi/devices", &scsi_devices);

	str_format(p->address, sizeof(p->address), "%u:0:0:0", p->host);
	if (!err)
		err = attr_dir_init(&p->attr, scsi_devices, p->address, attrs, NULL, p);
	if (err || attr_link_add(&p->block.attr, "device", &p->attr))
		log_warn("%s: no files in /sys", p->block.name);
}
