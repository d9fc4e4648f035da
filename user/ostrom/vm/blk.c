/* SPDX-License-Identifier: MIT
 *
 * Problem: the guest's disks.
 *
 * Idea: virtio-blk, a queue and a thread for each of the guest's CPUs (up to eight); each chain is served at once by
 * preadv, pwritev and fdatasync, straight from and to the guest's memory.
 *
 * Contract: vm.h. A request that makes no sense is answered with an I/O error where it has room for an answer. Source:
 * VIRTIO 1.2, 5.2 (block device).
 *
 * Locks: vm->lock, held by every caller, but not during the transfer.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/virtio_blk.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "ostrom.h"
#include "virtio.h"

#define SECTOR 512

static struct disk {
	int fd;
	unsigned number;
	uint64_t sectors;
} disks[VIRTIO_MAX];

/* The data pieces of a request: without the header in front, or the status byte behind. */
static uint8_t transfer(struct disk *d, uint64_t sector, struct iovec *v, unsigned n, bool write)
{
	size_t want = virtio_bytes(v, n);
	ssize_t got;

	if (sector > d->sectors || want > (d->sectors - sector) * SECTOR)
		return VIRTIO_BLK_S_IOERR;
	got = write ? pwritev(d->fd, v, (int)n, (off_t)(sector * SECTOR))
		    : preadv(d->fd, v, (int)n, (off_t)(sector * SECTOR));
	return got == (ssize_t)want ? VIRTIO_BLK_S_OK : VIRTIO_BLK_S_IOERR;
}

static uint8_t identify(struct disk *d, struct virtio_chain *c)
{
	char id[VIRTIO_BLK_ID_BYTES] = "";

	snprintf(id, sizeof(id), "ostrom-%u", d->number);
	return virtio_copy_in(c, 0, id, sizeof(id)) == sizeof(id) ? VIRTIO_BLK_S_OK : VIRTIO_BLK_S_UNSUPP;
}

/* The status byte is the last one; it is taken off the list. */
static uint8_t *take_status(struct virtio_chain *c)
{
	struct iovec *last = c->nr_in ? &c->in[c->nr_in - 1] : NULL;

	if (!last || !last->iov_len)
		return NULL;
	if (!--last->iov_len)
		c->nr_in--;
	return (uint8_t *)last->iov_base + last->iov_len;
}

static uint32_t serve(struct disk *d, struct virtio_chain *c)
{
	struct virtio_blk_outhdr h;
	size_t room = virtio_bytes(c->in, c->nr_in);
	uint8_t *status = take_status(c), result = VIRTIO_BLK_S_UNSUPP;

	if (!status || !c->nr_out || c->out[0].iov_len != sizeof(h))
		return 0;
	memcpy(&h, c->out[0].iov_base, sizeof(h));
	switch (h.type) {
	case VIRTIO_BLK_T_IN: result = transfer(d, h.sector, c->in, c->nr_in, false); break;
	case VIRTIO_BLK_T_OUT: result = transfer(d, h.sector, c->out + 1, c->nr_out - 1, true); break;
	case VIRTIO_BLK_T_FLUSH: result = fdatasync(d->fd) ? VIRTIO_BLK_S_IOERR : VIRTIO_BLK_S_OK; break;
	case VIRTIO_BLK_T_GET_ID: result = identify(d, c); break;
	default: break;
	}
	*status = result;
	return (uint32_t)room;
}

static void kick(struct virtio_device *dev, unsigned queue)
{
	struct virtio_chain c;
	bool any = false;
	uint32_t n;

	while (virtio_take(dev, queue, &c)) {
		virtio_begin(dev);
		n = serve(dev->own, &c);
		virtio_end(dev);
		virtio_give(dev, queue, &c, n);
		any = true;
	}
	if (any)
		virtio_tell(dev, queue);
}

static const struct virtio_kind kind = { .name = "disk",
					 .id = 2,
					 .threads = true,
					 .features = 1ULL << VIRTIO_BLK_F_FLUSH | 1ULL << VIRTIO_BLK_F_SEG_MAX |
						     1ULL << VIRTIO_BLK_F_MQ,
					 .kick = kick };

int vm_disk(struct vm *vm, unsigned n, const char *path)
{
	unsigned queues = vm->nr_cpus < VIRTIO_QUEUES ? vm->nr_cpus : VIRTIO_QUEUES;
	struct virtio_blk_config c = { .seg_max = VIRTIO_CHAIN - 2, .num_queues = (uint16_t)queues };
	struct disk *d = &disks[n];
	struct virtio_device *dev;
	struct stat st;

	*d = (struct disk){ .fd = open(path, O_RDWR | O_CLOEXEC), .number = n };
	if (d->fd < 0 || fstat(d->fd, &st)) {
		say_error("%s: %s", path, strerror(errno));
		return -1;
	}
	d->sectors = (uint64_t)st.st_size / SECTOR;
	dev = virtio_add(vm, &kind, d, queues);
	if (!dev)
		return -1;
	c.capacity = d->sectors;
	memcpy(dev->config, &c, sizeof(c) < sizeof(dev->config) ? sizeof(c) : sizeof(dev->config));
	return 0;
}
