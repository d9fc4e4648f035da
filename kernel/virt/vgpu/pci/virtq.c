/* SPDX-License-Identifier: MIT
 *
 * Problem: a driver describes its requests by addresses in its own memory, in chains that may be loops, run out of the
 * table, mix directions, or change while they are read.
 *
 * Idea: each descriptor is copied once, then checked: its number, its direction (all to be read come first), how many
 * there are. A chain that breaks a rule stops the device until it is reset, as the specification lets it.
 *
 *      available ring --> head --> descriptors (perhaps one that names a table) --> struct virtq_chain
 *      struct virtq_chain, answered --> used ring
 *
 * Contract: virtq.h. Locks: none.
 */
#include <lib/err.h>
#include <lib/string.h>
#include <linux/virtio_config.h>
#include <linux/virtio_pci.h>
#include <linux/virtio_ring.h>
#include <virt/vgpu/virtq.h>

/* ---- requests ---- */

static int add_piece(struct virtq_chain *c, const struct vring_desc *d)
{
	u32 n = c->nr_in + c->nr_out;

	if (n == VIRTQ_CHAIN)
		return -EINVAL;
	c->piece[n] = (struct virtq_piece){ d->addr, d->len };
	if (d->flags & VRING_DESC_F_WRITE) {
		c->nr_out++;
		c->out_bytes += d->len;
		return 0;
	}
	if (c->nr_out)
		return -EINVAL;
	c->nr_in++;
	c->in_bytes += d->len;
	return 0;
}

/* Descriptors of one table, from number at on. *indirect, if not NULL: where one of them may name another table. */
static int walk(u64 table, u32 size, u32 at, const struct virtq_mem *mem, struct virtq_chain *c,
		struct vring_desc *indirect)
{
	for (u32 steps = 0; steps < size; steps++) {
		struct vring_desc d;

		if (at >= size || mem->read(mem->ctx, table + (u64)at * sizeof(d), &d, sizeof(d)))
			return -EINVAL;
		if (d.flags & VRING_DESC_F_INDIRECT) {
			if (!indirect || steps || (d.flags & (VRING_DESC_F_NEXT | VRING_DESC_F_WRITE)))
				return -EINVAL;
			*indirect = d;
			return 0;
		}
		if (add_piece(c, &d))
			return -EINVAL;
		if (!(d.flags & VRING_DESC_F_NEXT))
			return 0;
		at = d.next;
	}
	return -EINVAL; /* a loop */
}

int virtq_next(struct virtq *q, const struct virtq_mem *mem, struct virtq_chain *c)
{
	struct vring_desc indirect = { 0 };
	u16 idx, head;
	int err;

	if (mem->read(mem->ctx, q->avail + 2, &idx, sizeof(idx)))
		return -EINVAL;
	if (idx == q->next)
		return 0;
	if ((u16)(idx - q->next) > q->size)
		return -EINVAL;
	if (mem->read(mem->ctx, q->avail + 4 + 2ULL * (q->next % q->size), &head, sizeof(head)) || head >= q->size)
		return -EINVAL;
	c->head = head;
	c->nr_in = c->nr_out = 0;
	c->in_bytes = c->out_bytes = 0;
	err = walk(q->desc, q->size, head, mem, c, &indirect);
	if (!err && indirect.len) {
		u32 n = indirect.len / sizeof(indirect);

		if (indirect.len % sizeof(indirect) || n > VIRTQ_CHAIN)
			return -EINVAL;
		err = walk(indirect.addr, n, 0, mem, c, NULL);
	} else if (!err && (indirect.flags & VRING_DESC_F_INDIRECT)) {
		err = -EINVAL;
	}
	if (err)
		return err;
	q->next++;
	return 1;
}

int virtq_done(struct virtq *q, const struct virtq_mem *mem, u16 head, u32 written, bool *interrupt)
{
	struct vring_used_elem e = { head, written };
	u16 flags = 0, idx = (u16)(q->used_next + 1);

	if (mem->write(mem->ctx, q->used + 4 + (u64)(q->used_next % q->size) * sizeof(e), &e, sizeof(e)) ||
	    mem->write(mem->ctx, q->used + 2, &idx, sizeof(idx)) ||
	    mem->read(mem->ctx, q->avail, &flags, sizeof(flags)))
		return -EINVAL;
	q->used_next = idx;
	*interrupt = !(flags & VRING_AVAIL_F_NO_INTERRUPT);
	return 0;
}

int virtq_read(const struct virtq_chain *c, const struct virtq_mem *mem, void *buf, size_t n)
{
	size_t done = 0;

	if (n > c->in_bytes)
		return -EINVAL;
	for (u32 i = 0; done < n; i++) {
		size_t part = min((size_t)c->piece[i].bytes, n - done);

		if (mem->read(mem->ctx, c->piece[i].address, (char *)buf + done, part))
			return -EFAULT;
		done += part;
	}
	return 0;
}

u32 virtq_write(const struct virtq_chain *c, const struct virtq_mem *mem, u64 from, const void *buf, size_t n)
{
	size_t done = 0;

	for (u32 i = c->nr_in; done < n && i < c->nr_in + c->nr_out; i++) {
		size_t part = min((u64)n - done, c->piece[i].bytes - min(from, (u64)c->piece[i].bytes));

		if (part && mem->write(mem->ctx, c->piece[i].address + from, (const char *)buf + done, part))
			break;
		from -= min(from, (u64)c->piece[i].bytes);
		done += part;
	}
	return (u32)done;
}

/* ---- registers ---- */

void vdev_init(struct vdev *v, u64 offered)
{
	v->offered = offered;
	vdev_reset(v);
}

void vdev_reset(struct vdev *v)
{
	u64 offered = v->offered;
	u8 generation = (u8)(v->generation + 1);

	memset(v, 0, sizeof(*v));
	v->offered = offered;
	v->generation = generation;
	v->config_vector = VIRTQ_NONE;
	for (unsigned i = 0; i < VDEV_QUEUES; i++) {
		v->queue[i].size = VIRTQ_SIZE;
		v->queue[i].vector = VIRTQ_NONE;
	}
}

static struct virtq *selected(struct vdev *v)
{
	return v->queue_select < VDEV_QUEUES ? &v->queue[v->queue_select] : NULL;
}

static void read_queue(struct vdev *v, struct virtio_pci_common_cfg *c)
{
	const struct virtq *q = selected(v);

	if (!q)
		return;
	c->queue_size = q->size;
	c->queue_msix_vector = q->vector;
	c->queue_enable = q->enabled;
	c->queue_notify_off = v->queue_select;
	c->queue_desc_lo = (u32)q->desc;
	c->queue_desc_hi = (u32)(q->desc >> 32);
	c->queue_avail_lo = (u32)q->avail;
	c->queue_avail_hi = (u32)(q->avail >> 32);
	c->queue_used_lo = (u32)q->used;
	c->queue_used_hi = (u32)(q->used >> 32);
}

void vdev_read_common(struct vdev *v, u32 offset, void *buf, size_t n)
{
	struct virtio_pci_common_cfg c = { .device_feature_select = v->device_select,
					   .guest_feature_select = v->driver_select,
					   .msix_config = v->config_vector,
					   .num_queues = VDEV_QUEUES,
					   .device_status = v->status,
					   .config_generation = v->generation,
					   .queue_select = v->queue_select };

	if (v->device_select < 2)
		c.device_feature = (u32)(v->offered >> v->device_select * 32);
	if (v->driver_select < 2)
		c.guest_feature = (u32)(v->features >> v->driver_select * 32);
	read_queue(v, &c);
	memset(buf, 0, n);
	if (offset < sizeof(c))
		memcpy(buf, (char *)&c + offset, min(n, sizeof(c) - offset));
}

static enum vdev_event set_status(struct vdev *v, u8 status)
{
	u8 was = v->status;

	if (!status) {
		vdev_reset(v);
		return VDEV_RESET;
	}
	if ((status & VIRTIO_CONFIG_S_FEATURES_OK) &&
	    ((v->features & ~v->offered) || !(v->features & 1ULL << VIRTIO_F_VERSION_1)))
		status &= (u8)~VIRTIO_CONFIG_S_FEATURES_OK;
	v->status = status | (was & VIRTIO_CONFIG_S_NEEDS_RESET);
	return (status & ~was & VIRTIO_CONFIG_S_DRIVER_OK) ? VDEV_READY : VDEV_NOTHING;
}

static void set_half(u64 *v, bool high, u32 half)
{
	*v = high ? (*v & 0xffffffff) | (u64)half << 32 : (*v & ~0xffffffffULL) | half;
}

static void write_queue(struct vdev *v, u32 offset, u32 value)
{
	struct virtq *q = selected(v);

	if (!q)
		return;
	if (offset == VIRTIO_PCI_COMMON_Q_MSIX) {
		q->vector = (u16)value;
		return;
	}
	if (q->enabled)
		return; /* only a reset takes it back */
	switch (offset) {
	case VIRTIO_PCI_COMMON_Q_SIZE:
		if (value && value <= VIRTQ_SIZE && !(value & (value - 1)))
			q->size = (u16)value;
		break;
	case VIRTIO_PCI_COMMON_Q_ENABLE: q->enabled = value == 1; break;
	case VIRTIO_PCI_COMMON_Q_DESCLO:
	case VIRTIO_PCI_COMMON_Q_DESCHI: set_half(&q->desc, offset & 4, value); break;
	case VIRTIO_PCI_COMMON_Q_AVAILLO:
	case VIRTIO_PCI_COMMON_Q_AVAILHI: set_half(&q->avail, offset & 4, value); break;
	case VIRTIO_PCI_COMMON_Q_USEDLO:
	case VIRTIO_PCI_COMMON_Q_USEDHI: set_half(&q->used, offset & 4, value); break;
	default: break;
	}
}

static void set_features(struct vdev *v, u32 value)
{
	if (v->driver_select < 2 && !(v->status & VIRTIO_CONFIG_S_FEATURES_OK))
		set_half(&v->features, v->driver_select, value);
}

enum vdev_event vdev_write_common(struct vdev *v, u32 offset, const void *buf, size_t n)
{
	u32 value = 0, high;

	memcpy(&value, buf, min(n, sizeof(value)));
	switch (offset) {
	case VIRTIO_PCI_COMMON_DFSELECT: v->device_select = value; break;
	case VIRTIO_PCI_COMMON_GFSELECT: v->driver_select = value; break;
	case VIRTIO_PCI_COMMON_GF: set_features(v, value); break;
	case VIRTIO_PCI_COMMON_MSIX: v->config_vector = (u16)value; break;
	case VIRTIO_PCI_COMMON_STATUS: return set_status(v, (u8)value);
	case VIRTIO_PCI_COMMON_Q_SELECT: v->queue_select = (u16)value; break;
	default: write_queue(v, offset, value);
	}
	if (n == 8) { /* an address in one piece */
		memcpy(&high, (const char *)buf + 4, sizeof(high));
		write_queue(v, offset + 4, high);
	}
	return VDEV_NOTHING;
}
