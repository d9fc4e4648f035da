/* SPDX-License-Identifier: MIT
 *
 * Problem: the guest's disks.
 *
 * Idea: virtio-blk behind virtio-mmio, one queue. A notification walks the ring and serves each chain at once by
 * preadv, pwritev and fdatasync, straight from and to the guest's memory.
 *
 * Contract: vm.h. Everything that the guest wrote (addresses, lengths, indexes) is checked before it is used; a chain
 * that makes no sense is answered with an I/O error, a ring that makes none is left alone. Source: VIRTIO 1.2, 2.7
 * (split rings), 4.2 (MMIO, version 2), 5.2 (block device).
 *
 * Locks: vm->lock, held by every caller.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/virtio_blk.h>
#include <linux/virtio_config.h>
#include <linux/virtio_mmio.h>
#include <linux/virtio_ring.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>
#include "ostrom.h"
#include "vm.h"

#define QUEUE_MAX 256
#define CHAIN_MAX 64
#define SECTOR    512
#define FEATURES  (1ULL << VIRTIO_F_VERSION_1 | 1ULL << VIRTIO_BLK_F_FLUSH | 1ULL << VIRTIO_BLK_F_SEG_MAX)

static struct disk {
	struct vm *vm;
	int fd;
	unsigned irq;
	uint64_t sectors, features;
	uint32_t feature_page, driver_page, status, interrupt;
	uint32_t size, ready;
	uint64_t desc, avail, used;
	uint16_t next;
} disks[VIRTIO_MAX];

struct chain {
	struct iovec v[CHAIN_MAX];
	bool writable[CHAIN_MAX];
	unsigned nr;
};

/* ---- the ring ---- */

static bool take_chain(struct disk *d, uint16_t head, struct chain *c)
{
	const struct vring_desc *table = vm_memory(d->vm, d->desc, d->size * sizeof(*table));

	c->nr = 0;
	for (uint16_t i = head;;) {
		struct vring_desc x;

		if (!table || i >= d->size || c->nr == CHAIN_MAX)
			return false;
		x = table[i];
		c->v[c->nr].iov_base = vm_memory(d->vm, x.addr, x.len);
		c->v[c->nr].iov_len = x.len;
		c->writable[c->nr] = x.flags & VRING_DESC_F_WRITE;
		if (!c->v[c->nr++].iov_base)
			return false;
		if (!(x.flags & VRING_DESC_F_NEXT))
			return true;
		i = x.next;
	}
}

static uint8_t transfer(struct disk *d, uint64_t sector, struct chain *c, bool write)
{
	ssize_t want = 0, got;

	for (unsigned i = 1; i + 1 < c->nr; i++) {
		want += (ssize_t)c->v[i].iov_len;
		if (c->writable[i] == write)
			return VIRTIO_BLK_S_IOERR;
	}
	if (sector > d->sectors || (uint64_t)want > (d->sectors - sector) * SECTOR)
		return VIRTIO_BLK_S_IOERR;
	got = write ? pwritev(d->fd, c->v + 1, (int)c->nr - 2, (off_t)(sector * SECTOR))
		    : preadv(d->fd, c->v + 1, (int)c->nr - 2, (off_t)(sector * SECTOR));
	return got == want ? VIRTIO_BLK_S_OK : VIRTIO_BLK_S_IOERR;
}

/* Header, data, one status byte. Returns the bytes that were written to the guest. */
static uint32_t serve(struct disk *d, struct chain *c)
{
	struct virtio_blk_outhdr h;
	uint8_t *status, result = VIRTIO_BLK_S_UNSUPP;
	uint32_t written = 1;

	if (c->nr < 2 || c->v[0].iov_len < sizeof(h) || c->writable[0] || !c->writable[c->nr - 1] ||
	    !c->v[c->nr - 1].iov_len)
		return 0;
	memcpy(&h, c->v[0].iov_base, sizeof(h));
	status = (uint8_t *)c->v[c->nr - 1].iov_base + c->v[c->nr - 1].iov_len - 1;
	switch (h.type) {
	case VIRTIO_BLK_T_IN:
		result = transfer(d, h.sector, c, false);
		for (unsigned i = 1; i + 1 < c->nr; i++)
			written += (uint32_t)c->v[i].iov_len;
		break;
	case VIRTIO_BLK_T_OUT: result = transfer(d, h.sector, c, true); break;
	case VIRTIO_BLK_T_FLUSH: result = fdatasync(d->fd) ? VIRTIO_BLK_S_IOERR : VIRTIO_BLK_S_OK; break;
	case VIRTIO_BLK_T_GET_ID:
		if (c->nr > 2 && c->writable[1] && c->v[1].iov_len >= VIRTIO_BLK_ID_BYTES) {
			memset(c->v[1].iov_base, 0, VIRTIO_BLK_ID_BYTES);
			sprintf(c->v[1].iov_base, "ostrom-%u", d->irq - VIRTIO_IRQ);
			result = VIRTIO_BLK_S_OK;
			written += VIRTIO_BLK_ID_BYTES;
		}
		break;
	default: break;
	}
	*status = result;
	return written;
}

static void serve_ring(struct disk *d)
{
	uint16_t *avail = vm_memory(d->vm, d->avail, 4 + d->size * 2);
	struct vring_used *used = vm_memory(d->vm, d->used, 4 + d->size * sizeof(struct vring_used_elem));
	bool any = false;

	if (!avail || !used || !d->ready || !d->size)
		return;
	while (d->next != __atomic_load_n(&avail[1], __ATOMIC_ACQUIRE)) {
		uint16_t head = avail[2 + d->next % d->size];
		struct chain c;
		uint32_t written = take_chain(d, head, &c) ? serve(d, &c) : 0;

		used->ring[used->idx % d->size] = (struct vring_used_elem){ head, written };
		__atomic_store_n(&used->idx, (uint16_t)(used->idx + 1), __ATOMIC_RELEASE);
		d->next++;
		any = true;
	}
	if (any && !(avail[0] & VRING_AVAIL_F_NO_INTERRUPT)) {
		d->interrupt |= VIRTIO_MMIO_INT_VRING;
		vm_irq(d->vm, d->irq, true);
	}
}

/* ---- registers ---- */

static void read_config(struct disk *d, uint64_t offset, void *data, unsigned len)
{
	struct virtio_blk_config c = { .capacity = d->sectors, .seg_max = CHAIN_MAX - 2 };

	memset(data, 0, len);
	if (offset + len <= sizeof(c))
		memcpy(data, (char *)&c + offset, len);
}

static uint32_t get(struct disk *d, uint64_t offset)
{
	switch (offset) {
	case VIRTIO_MMIO_MAGIC_VALUE: return 0x74726976;
	case VIRTIO_MMIO_VERSION: return 2;
	case VIRTIO_MMIO_DEVICE_ID: return 2;
	case VIRTIO_MMIO_VENDOR_ID: return 0x5254534f;
	case VIRTIO_MMIO_DEVICE_FEATURES: return d->feature_page < 2 ? (uint32_t)(FEATURES >> d->feature_page * 32) : 0;
	case VIRTIO_MMIO_QUEUE_NUM_MAX: return QUEUE_MAX;
	case VIRTIO_MMIO_QUEUE_READY: return d->ready;
	case VIRTIO_MMIO_INTERRUPT_STATUS: return d->interrupt;
	case VIRTIO_MMIO_STATUS: return d->status;
	default: return 0;
	}
}

static void set_half(uint64_t *v, unsigned high, uint32_t half)
{
	*v = high ? (*v & 0xffffffff) | (uint64_t)half << 32 : (*v & ~0xffffffffULL) | half;
}

static void set_status(struct disk *d, uint32_t v)
{
	d->status = v;
	if (!v) {
		d->ready = d->interrupt = d->size = 0;
		d->next = 0;
		vm_irq(d->vm, d->irq, false);
	}
}

static void set(struct disk *d, uint64_t offset, uint32_t v)
{
	switch (offset) {
	case VIRTIO_MMIO_DEVICE_FEATURES_SEL: d->feature_page = v; break;
	case VIRTIO_MMIO_DRIVER_FEATURES_SEL: d->driver_page = v; break;
	case VIRTIO_MMIO_DRIVER_FEATURES:
		if (d->driver_page < 2)
			set_half(&d->features, d->driver_page, v);
		break;
	case VIRTIO_MMIO_QUEUE_NUM: d->size = v && v <= QUEUE_MAX && !(v & (v - 1)) ? v : 0; break;
	case VIRTIO_MMIO_QUEUE_READY:
		d->ready = v & 1;
		d->next = 0;
		break;
	case VIRTIO_MMIO_QUEUE_NOTIFY: serve_ring(d); break;
	case VIRTIO_MMIO_INTERRUPT_ACK:
		d->interrupt &= ~v;
		vm_irq(d->vm, d->irq, d->interrupt);
		break;
	case VIRTIO_MMIO_STATUS: set_status(d, v); break;
	case VIRTIO_MMIO_QUEUE_DESC_LOW:
	case VIRTIO_MMIO_QUEUE_DESC_HIGH: set_half(&d->desc, offset & 4, v); break;
	case VIRTIO_MMIO_QUEUE_AVAIL_LOW:
	case VIRTIO_MMIO_QUEUE_AVAIL_HIGH: set_half(&d->avail, offset & 4, v); break;
	case VIRTIO_MMIO_QUEUE_USED_LOW:
	case VIRTIO_MMIO_QUEUE_USED_HIGH: set_half(&d->used, offset & 4, v); break;
	default: break;
	}
}

static void on_access(void *dev, uint64_t offset, void *data, unsigned len, bool write)
{
	struct disk *d = dev;
	uint32_t v = 0;

	if (offset >= VIRTIO_MMIO_CONFIG) {
		if (!write)
			read_config(d, offset - VIRTIO_MMIO_CONFIG, data, len);
		return;
	}
	if (write) {
		memcpy(&v, data, len < 4 ? len : 4);
		set(d, offset, v);
		return;
	}
	v = get(d, offset);
	memset(data, 0, len);
	memcpy(data, &v, len < 4 ? len : 4);
}

int vm_disk(struct vm *vm, unsigned n, const char *path)
{
	struct disk *d = &disks[n];
	struct stat st;

	*d = (struct disk){ .vm = vm, .fd = open(path, O_RDWR | O_CLOEXEC), .irq = VIRTIO_IRQ + n };
	if (d->fd < 0 || fstat(d->fd, &st)) {
		say_error("%s: %s", path, strerror(errno));
		return -1;
	}
	d->sectors = (uint64_t)st.st_size / SECTOR;
	vm_add_mmio(vm, (struct vm_range){ VIRTIO_BASE + n * VIRTIO_STEP, VIRTIO_STEP, on_access, d });
	return 0;
}
