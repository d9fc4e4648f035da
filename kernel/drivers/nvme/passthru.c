/* SPDX-License-Identifier: MIT
 *
 * Problem: nvme-cli sends commands of its own to the controller and its namespaces.
 *
 * Idea: the program's buffer is copied through pages of ours, listed for the controller as PRPs, so that nothing of the
 * program is at a device's mercy. One such command at a time; it waits by polling. One that does not come back in its
 * time is answered by a reset, since the controller might still write into the pages.
 *
 * Contract: linux/nvme_ioctl.h. The result of an ioctl is the controller's status (0: well done), or -errno. All but
 * NVME_IOCTL_ID need CAP_SYS_ADMIN (EACCES). Metadata buffers: EINVAL.
 *
 * Locks: c->lock around a command; nodes_lock (RANK_LEAF_SPIN) around the table of controllers.
 */
#include <alloc/page.h>
#include <alloc/slab.h>
#include <arch/user.h>
#include <core/log.h>
#include <lib/err.h>
#include <linux/capability.h>
#include <linux/ioctl.h>
#include <linux/nvme_ioctl.h>
#include <linux/stat.h>
#include <task/user_ns.h>
#include <vfs/device.h>

#include "nvme_priv.h"

#define NVME_MAJOR   241
#define MAX_CTRLS    64
#define DEFAULT_WAIT (60 * NSEC_PER_SEC)
#define TO_DEVICE    BIT(0) /* of an opcode: section 4.2 of the specification, data transfer */
#define FROM_DEVICE  BIT(1)

struct buffer {
	unsigned nr;
	u64 *list; /* page addresses behind the first */
	struct page **pages;
};

static struct spinlock nodes_lock = SPIN_INIT(RANK_LEAF_SPIN);
static struct nvme *controllers[MAX_CTRLS];

static void buffer_free(struct buffer *b)
{
	for (unsigned i = 0; i < b->nr; i++)
		page_put(b->pages[i]);
	kfree(b->pages);
	if (b->list)
		page_put(virt_to_page(b->list));
}

static int buffer_alloc(struct buffer *b, u32 bytes, struct nvme_command *cmd)
{
	unsigned n = DIV_ROUND_UP(bytes, PAGE_SIZE);
	struct page *list = n > 2 ? page_alloc(0, ALLOC_ZERO, NULL) : NULL;

	*b = (struct buffer){ .pages = kcalloc(max(n, 1U), sizeof(*b->pages), ALLOC_KERNEL) };
	b->list = list ? page_virt(list) : NULL;
	if (!b->pages || (n > 2 && !list))
		return -ENOMEM;
	for (; b->nr < n; b->nr++) {
		b->pages[b->nr] = page_alloc(0, ALLOC_ZERO, NULL);
		if (!b->pages[b->nr])
			return -ENOMEM;
		if (!b->nr)
			cmd->prp1 = page_phys(b->pages[0]);
		else if (n == 2)
			cmd->prp2 = page_phys(b->pages[1]);
		else
			b->list[b->nr - 1] = page_phys(b->pages[b->nr]);
	}
	if (b->list)
		cmd->prp2 = virt_to_phys(b->list);
	return 0;
}

static int buffer_copy(struct buffer *b, ulong user, u32 bytes, bool out)
{
	for (unsigned i = 0; i < b->nr; i++) {
		u32 n = min(bytes, (u32)PAGE_SIZE);
		void __user *at = (void __user *)(user + i * PAGE_SIZE);

		if (out ? user_put(at, page_virt(b->pages[i]), n) : user_get(page_virt(b->pages[i]), at, n))
			return -EFAULT;
		bytes -= n;
	}
	return 0;
}

static int send_locked(struct nvme *c, struct nvme_queue *q, struct nvme_command *cmd, u32 timeout_ms, u32 *result)
{
	int status;

	if (c->state >= NVME_DEAD)
		return -EIO;
	status = nvme_command(q, cmd, timeout_ms ? timeout_ms * NSEC_PER_MSEC : DEFAULT_WAIT, result);
	if (status == -ETIMEDOUT && nvme_reset(c))
		log_warn("nvme%u: pages of a command that hangs are kept", c->index);
	return status;
}

static int pass(struct nvme *c, struct nvme_queue *q, struct nvme_command *cmd, const struct nvme_passthru_cmd64 *p,
		u64 *result)
{
	struct buffer b;
	u32 answer = 0;
	int status;

	if (p->metadata_len || p->flags)
		return fail(EINVAL, "nvme: no metadata, no fused commands");
	if (p->data_len > c->max_transfer)
		return fail(EINVAL, "nvme: %u bytes at a time", p->data_len);
	status = buffer_alloc(&b, p->data_len, cmd);
	if (!status && cmd->opcode & TO_DEVICE)
		status = buffer_copy(&b, p->addr, p->data_len, false);
	if (!status) {
		mutex_lock(&c->lock);
		status = send_locked(c, q, cmd, p->timeout_ms, &answer);
		if (c->state == NVME_DEAD && status == -ETIMEDOUT)
			b = (struct buffer){ 0 }; /* it may still have them */
		mutex_unlock(&c->lock);
		*result = answer;
		if (status >= 0 && cmd->opcode & FROM_DEVICE && b.nr && buffer_copy(&b, p->addr, p->data_len, true))
			status = -EFAULT;
	}
	buffer_free(&b);
	return status;
}

static struct nvme_command command_of(const struct nvme_passthru_cmd64 *p)
{
	return (struct nvme_command){ .opcode = p->opcode,
				      .nsid = p->nsid,
				      .reserved = p->cdw2 | (u64)p->cdw3 << 32,
				      .cdw10 = p->cdw10,
				      .cdw11 = p->cdw11,
				      .cdw12 = p->cdw12,
				      .cdw13 = p->cdw13,
				      .cdw14 = p->cdw14,
				      .cdw15 = p->cdw15 };
}

static int pass_user(struct nvme *c, struct nvme_queue *q, void __user *arg, bool wide)
{
	struct nvme_passthru_cmd64 p = { 0 };
	struct nvme_command cmd;
	u64 result = 0;
	int status;

	/* The two forms are one up to where the narrow one has its result. */
	if (user_get(&p, arg, wide ? sizeof(p) : sizeof(struct nvme_passthru_cmd)))
		return -EFAULT;
	cmd = command_of(&p);
	status = pass(c, q, &cmd, &p, &result);
	if (status < 0)
		return status;
	if (wide ? user_put(&((struct nvme_passthru_cmd64 __user *)arg)->result, &result, 8)
		 : user_put(&((struct nvme_passthru_cmd __user *)arg)->result, &result, 4))
		return -EFAULT;
	return status;
}

static int submit_io(struct nvme_namespace *ns, const void __user *arg)
{
	struct nvme_user_io io;
	struct nvme_passthru_cmd64 p = { 0 };
	struct nvme_command cmd;
	u64 result;

	if (user_get(&io, arg, sizeof(io)))
		return -EFAULT;
	if (io.flags || io.metadata || (io.opcode != NVM_READ && io.opcode != NVM_WRITE && io.opcode != NVM_COMPARE))
		return -EINVAL;
	p.addr = io.addr;
	p.data_len = ((u32)io.nblocks + 1) << ns->block_shift;
	cmd = (struct nvme_command){ .opcode = io.opcode,
				     .nsid = ns->id,
				     .cdw10 = (u32)io.slba,
				     .cdw11 = (u32)(io.slba >> 32),
				     .cdw12 = io.nblocks | (u32)io.control << 16,
				     .cdw13 = io.dsmgmt,
				     .cdw14 = io.reftag,
				     .cdw15 = io.apptag | (u32)io.appmask << 16 };
	return pass(ns->ctrl, &ns->ctrl->queues[0], &cmd, &p, &result);
}

static int reset(struct nvme *c)
{
	int err;

	mutex_lock(&c->lock);
	err = nvme_reset(c);
	mutex_unlock(&c->lock);
	return err;
}

static int controller_ioctl(struct nvme *c, unsigned cmd, ulong arg)
{
	void __user *u = (void __user *)arg;

	if (!capable(CAP_SYS_ADMIN))
		return -EACCES;
	switch (cmd) {
	case NVME_IOCTL_ADMIN_CMD: return pass_user(c, &c->admin, u, false);
	case NVME_IOCTL_ADMIN64_CMD: return pass_user(c, &c->admin, u, true);
	case NVME_IOCTL_IO_CMD: return pass_user(c, &c->queues[0], u, false);
	case NVME_IOCTL_IO64_CMD: return pass_user(c, &c->queues[0], u, true);
	case NVME_IOCTL_RESET: return reset(c);
	case NVME_IOCTL_RESCAN:
		mutex_lock(&c->lock);
		nvme_rescan(c);
		mutex_unlock(&c->lock);
		return 0;
	}
	return -ENOTTY;
}

int nvme_block_ioctl(struct block_dev *d, unsigned cmd, ulong arg)
{
	struct nvme_namespace *ns = d->whole->priv;

	if (cmd == NVME_IOCTL_ID)
		return (int)ns->id;
	if (cmd == NVME_IOCTL_SUBMIT_IO)
		return capable(CAP_SYS_ADMIN) ? submit_io(ns, (const void __user *)arg) : -EACCES;
	if (cmd == NVME_IOCTL_RESET || cmd == NVME_IOCTL_RESCAN) /* the controller's own node has these */
		return -ENOTTY;
	return controller_ioctl(ns->ctrl, cmd, arg);
}

/* ---- /dev/nvmeN ---------------------------------------------------------------------------------------------------
 */

static int node_open(struct inode *i, struct file *f)
{
	struct nvme *c;

	spin_lock(&nodes_lock);
	c = DEV_MINOR(i->rdev) < MAX_CTRLS ? controllers[DEV_MINOR(i->rdev)] : NULL;
	if (c)
		refcount_inc(&c->refs);
	spin_unlock(&nodes_lock);
	f->priv = c;
	return c ? 0 : -ENXIO;
}

static void node_release(struct file *f)
{
	nvme_put(f->priv);
}

static long node_ioctl(struct file *f, unsigned cmd, ulong arg)
{
	return controller_ioctl(f->priv, cmd, arg);
}

static const struct file_ops node_ops = {
	.open = node_open, .release = node_release, .ioctl = node_ioctl, .llseek = no_llseek
};
static struct chrdev node_dev = { .dev = DEV(NVME_MAJOR, 0), .count = MAX_CTRLS, .name = "nvme", .ops = &node_ops };

unsigned nvme_node_free_index(void)
{
	unsigned n = 0;

	while (n < MAX_CTRLS && controllers[n])
		n++;
	return n;
}

int nvme_node_add(struct nvme *c)
{
	if (c->index >= MAX_CTRLS)
		return -ENOSPC;
	if (!node_dev.link.next)
		chrdev_register(&node_dev);
	controllers[c->index] = c;
	return devnode_add(c->name, S_IFCHR | 0600, DEV(NVME_MAJOR, c->index));
}

void nvme_node_remove(struct nvme *c)
{
	devnode_remove(c->name);
	spin_lock(&nodes_lock);
	controllers[c->index] = NULL;
	spin_unlock(&nodes_lock);
}
