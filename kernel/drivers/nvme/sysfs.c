/* SPDX-License-Identifier: MIT
 *
 * Problem: `nvme list` and its kin find controllers, subsystems and namespaces by folders of /sys.
 *
 * Idea: one folder a controller and one a subsystem (each controller is its own), with links between them and the
 * disks.
 *
 * Contract: names and texts as Linux 6.1 without multipath: /sys/class/nvme/nvmeN,
 * /sys/class/nvme-subsystem/nvme-subsysN, /sys/block/nvmeNnM/device.
 *
 * Locks: none; what is shown is constant after probe, but for the state.
 */
#include <core/log.h>
#include <lib/err.h>
#include <lib/printf.h>
#include <lib/string.h>

#include "nvme_priv.h"

static struct attr_dir *class_nvme, *class_subsystem;

enum { MODEL, SERIAL, FIRMWARE, NQN, ADDRESS };

static int show_text(struct attr_dir *dir, const struct attr *a, struct strbuf *out)
{
	const struct nvme *c = dir->owner;
	const char *text = "";

	switch (a->data) {
	case MODEL: text = c->model; break;
	case SERIAL: text = c->serial; break;
	case FIRMWARE: text = c->firmware; break;
	case NQN: text = c->nqn; break;
	case ADDRESS: text = c->address; break;
	}
	strbuf_add(out, "%s\n", text);
	return 0;
}

static int show_constant(struct attr_dir *dir, const struct attr *a, struct strbuf *out)
{
	strbuf_add(out, "%s\n", (const char *)a->data);
	return 0;
}

static int show_state(struct attr_dir *dir, const struct attr *a, struct strbuf *out)
{
	static const char *const names[] = { "live", "resetting", "dead", "deleting" };

	strbuf_add(out, "%s\n", names[READ_ONCE(((const struct nvme *)dir->owner)->state)]);
	return 0;
}

static int show_queues(struct attr_dir *dir, const struct attr *a, struct strbuf *out)
{
	strbuf_add(out, "%u\n", ((const struct nvme *)dir->owner)->nr_queues + 1); /* and the admin queue */
	return 0;
}

static int show_depth(struct attr_dir *dir, const struct attr *a, struct strbuf *out)
{
	strbuf_add(out, "%u\n", ((const struct nvme *)dir->owner)->queue_depth - 1);
	return 0;
}

static int show_cntlid(struct attr_dir *dir, const struct attr *a, struct strbuf *out)
{
	strbuf_add(out, "%u\n", ((const struct nvme *)dir->owner)->cntlid);
	return 0;
}

static int set_reset(struct attr_dir *dir, const struct attr *a, char *text, size_t len)
{
	struct nvme *c = dir->owner;
	int err;

	mutex_lock(&c->lock);
	err = nvme_reset(c);
	mutex_unlock(&c->lock);
	return err;
}

static int set_rescan(struct attr_dir *dir, const struct attr *a, char *text, size_t len)
{
	struct nvme *c = dir->owner;

	mutex_lock(&c->lock);
	nvme_rescan(c);
	mutex_unlock(&c->lock);
	return 0;
}

static void folder_gone(struct attr_dir *dir)
{
	nvme_put(dir->owner);
}

static const struct attr_dir_ops folder_ops = { .release = folder_gone };

static int add_folder(struct nvme *c, struct attr_dir *d, struct attr_dir *parent, const char *name,
		      const struct attr *const *attrs)
{
	int err;

	refcount_inc(&c->refs);
	err = attr_dir_init(d, parent, name, attrs, &folder_ops, c);
	if (err)
		nvme_put(c);
	return err;
}

#define TEXT(id, file, what) static const struct attr attr_##id = { file, 0444, show_text, NULL, NULL, what }
#define CONST(id, file, text)                                                                                          \
	static const struct attr attr_##id = { file, 0444, show_constant, NULL, NULL, (ulong)(text) }
#define VALUE(id, file, show) static const struct attr attr_##id = { file, 0444, show, NULL, NULL, 0 }
#define ACTION(id, file, set) static const struct attr attr_##id = { file, 0200, NULL, set, NULL, 0 }
TEXT(model, "model", MODEL);
TEXT(serial, "serial", SERIAL);
TEXT(firmware, "firmware_rev", FIRMWARE);
TEXT(nqn, "subsysnqn", NQN);
TEXT(address, "address", ADDRESS);
CONST(transport, "transport", "pcie");
CONST(type, "cntrltype", "io");
CONST(dctype, "dctype", "none");
CONST(node, "numa_node", "-1");
CONST(subsystype, "subsystype", "nvm");
VALUE(state, "state", show_state);
VALUE(queues, "queue_count", show_queues);
VALUE(depth, "sqsize", show_depth);
VALUE(cntlid, "cntlid", show_cntlid);
ACTION(reset, "reset_controller", set_reset);
ACTION(rescan, "rescan_controller", set_rescan);

static const struct attr *const controller_attrs[] = { &attr_model,   &attr_serial,    &attr_firmware, &attr_nqn,
						       &attr_address, &attr_transport, &attr_type,     &attr_dctype,
						       &attr_node,    &attr_state,     &attr_queues,   &attr_depth,
						       &attr_cntlid,  &attr_reset,     &attr_rescan,   NULL };
static const struct attr *const subsystem_attrs[] = { &attr_model, &attr_serial,     &attr_firmware,
						      &attr_nqn,   &attr_subsystype, NULL };

int nvme_files_add(struct nvme *c)
{
	int err = 0;

	if (!class_nvme)
		err = attr_shared_dir(&attr_sys_root, "class/nvme", &class_nvme);
	if (!err && !class_subsystem)
		err = attr_shared_dir(&attr_sys_root, "class/nvme-subsystem", &class_subsystem);
	str_format(c->name, sizeof(c->name), "nvme%u", c->index);
	str_format(c->subsystem_name, sizeof(c->subsystem_name), "nvme-subsys%u", c->index);
	str_copy(c->address, c->pci->name, sizeof(c->address));
	if (!err)
		err = add_folder(c, &c->attr, class_nvme, c->name, controller_attrs);
	if (!err)
		err = add_folder(c, &c->subsystem, class_subsystem, c->subsystem_name, subsystem_attrs);
	return err ? err : attr_link_add(&c->subsystem, c->name, &c->attr);
}

void nvme_files_remove(struct nvme *c)
{
	attr_link_remove(&c->subsystem, c->name);
	attr_dir_remove(&c->subsystem);
	attr_dir_remove(&c->attr);
}

void nvme_namespace_files_add(struct nvme_namespace *ns)
{
	if (attr_link_add(&ns->ctrl->attr, ns->block.name, &ns->block.attr) ||
	    attr_link_add(&ns->block.attr, "device", &ns->ctrl->attr))
		log_warn("%s: no links in /sys", ns->block.name);
}

void nvme_namespace_files_remove(struct nvme_namespace *ns)
{
	attr_link_remove(&ns->ctrl->attr, ns->block.name);
	attr_link_remove(&ns->block.attr, "device");
}
