/* SPDX-License-Identifier: MIT
 *
 * Problem: each of the guest's virtio devices has the same registers and the same rings, all of it written by the
 * guest.
 *
 * Idea: virtio-mmio with one set of registers a device, and chains handed to the device as two lists of pieces. Where
 * KVM can, a notification is an eventfd that the device thread waits for: the CPU stays in the guest.
 *
 * Contract: virtio.h. Everything that the guest wrote (addresses, lengths, indexes) is checked before it is used: a
 * chain that makes no sense is given back empty, a ring that makes none is left alone. Source: VIRTIO 1.2, 2.7 (split
 * rings), 4.2 (MMIO, version 2).
 *
 * Locks: vm->lock, held by every caller.
 */
#include <linux/virtio_config.h>
#include <linux/virtio_mmio.h>
#include <linux/virtio_ring.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include "ostrom.h"
#include "virtio.h"

#define QUEUE_MAX 256

static struct virtio_device devices[VIRTIO_MAX];
static pthread_cond_t idle = PTHREAD_COND_INITIALIZER;
static unsigned nr;

/* ---- rings ---- */

/* Into the list that it belongs to; false: it makes no sense. */
static bool add_piece(struct virtio_device *d, struct virtio_chain *c, const struct vring_desc *x)
{
	void *at = vm_memory(d->vm, x->addr, x->len);
	bool in = x->flags & VRING_DESC_F_WRITE;

	if (!at || (x->flags & VRING_DESC_F_INDIRECT) || c->nr_out + c->nr_in == VIRTIO_CHAIN || (!in && c->nr_in))
		return false;
	if (in)
		c->in[c->nr_in++] = (struct iovec){ at, x->len };
	else
		c->out[c->nr_out++] = (struct iovec){ at, x->len };
	return true;
}

static bool gather(struct virtio_device *d, const struct virtio_queue *q, struct virtio_chain *c)
{
	const struct vring_desc *table = vm_memory(d->vm, q->desc, q->size * sizeof(*table));

	for (uint16_t i = c->head;;) {
		struct vring_desc x;

		if (!table || i >= q->size)
			return false;
		x = table[i]; /* once: the guest may change it meanwhile */
		if (!add_piece(d, c, &x))
			return false;
		if (!(x.flags & VRING_DESC_F_NEXT))
			return true;
		i = x.next;
	}
}

static uint16_t *avail_ring(struct virtio_device *d, const struct virtio_queue *q)
{
	return q->ready && q->size && !(q->avail & 1) ? vm_memory(d->vm, q->avail, 4 + q->size * 2) : NULL;
}

static struct vring_used *used_ring(struct virtio_device *d, const struct virtio_queue *q)
{
	return q->used & 3 ? NULL : vm_memory(d->vm, q->used, 4 + q->size * sizeof(struct vring_used_elem));
}

bool virtio_take(struct virtio_device *d, unsigned queue, struct virtio_chain *c)
{
	struct virtio_queue *q = &d->queue[queue];
	uint16_t *avail = avail_ring(d, q);

	while (avail && used_ring(d, q) && q->next != __atomic_load_n(&avail[1], __ATOMIC_ACQUIRE)) {
		c->head = avail[2 + q->next % q->size];
		c->nr_in = c->nr_out = 0;
		q->next++;
		d->requests++;
		if (gather(d, q, c))
			return true;
		virtio_give(d, queue, c, 0);
		virtio_tell(d, queue);
	}
	return false;
}

void virtio_give(struct virtio_device *d, unsigned queue, const struct virtio_chain *c, uint32_t written)
{
	struct virtio_queue *q = &d->queue[queue];
	struct vring_used *used = used_ring(d, q);

	if (!used || !q->size)
		return;
	used->ring[used->idx % q->size] = (struct vring_used_elem){ c->head, written };
	__atomic_store_n(&used->idx, (uint16_t)(used->idx + 1), __ATOMIC_RELEASE);
}

void virtio_begin(struct virtio_device *d)
{
	d->busy++;
	pthread_mutex_unlock(&d->vm->lock);
}

void virtio_end(struct virtio_device *d)
{
	pthread_mutex_lock(&d->vm->lock);
	if (!--d->busy)
		pthread_cond_broadcast(&idle);
}

void virtio_tell(struct virtio_device *d, unsigned queue)
{
	uint16_t *avail = avail_ring(d, &d->queue[queue]);

	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	if (!avail || (__atomic_load_n(&avail[0], __ATOMIC_RELAXED) & VRING_AVAIL_F_NO_INTERRUPT))
		return;
	d->interrupts++;
	d->interrupt |= VIRTIO_MMIO_INT_VRING;
	vm_irq(d->vm, d->irq, false); /* edge-triggered: what was raised and not yet acknowledged is raised again */
	vm_irq(d->vm, d->irq, true);
}

size_t virtio_bytes(const struct iovec *v, unsigned n)
{
	size_t sum = 0;

	for (unsigned i = 0; i < n; i++)
		sum += v[i].iov_len;
	return sum;
}

static size_t copy(const struct iovec *v, unsigned n, size_t at, char *buf, size_t bytes, bool in)
{
	size_t done = 0;

	for (unsigned i = 0; i < n && done < bytes; i++) {
		size_t part = v[i].iov_len - at;

		if (at >= v[i].iov_len) {
			at -= v[i].iov_len;
			continue;
		}
		part = part < bytes - done ? part : bytes - done;
		if (in)
			memcpy((char *)v[i].iov_base + at, buf + done, part);
		else
			memcpy(buf + done, (char *)v[i].iov_base + at, part);
		done += part;
		at = 0;
	}
	return done;
}

size_t virtio_copy_out(const struct virtio_chain *c, size_t at, void *to, size_t n)
{
	return copy(c->out, c->nr_out, at, to, n, false);
}

size_t virtio_copy_in(const struct virtio_chain *c, size_t at, const void *from, size_t n)
{
	return copy(c->in, c->nr_in, at, (char *)from, n, true);
}

/* ---- registers ---- */

static uint32_t get(struct virtio_device *d, uint64_t offset)
{
	uint64_t features = d->kind->features | 1ULL << VIRTIO_F_VERSION_1;
	bool there = d->queue_index < d->nr_queues;

	switch (offset) {
	case VIRTIO_MMIO_MAGIC_VALUE: return 0x74726976;
	case VIRTIO_MMIO_VERSION: return 2;
	case VIRTIO_MMIO_DEVICE_ID: return d->kind->id;
	case VIRTIO_MMIO_VENDOR_ID: return 0x5254534f;
	case VIRTIO_MMIO_DEVICE_FEATURES: return d->feature_page < 2 ? (uint32_t)(features >> d->feature_page * 32) : 0;
	case VIRTIO_MMIO_QUEUE_NUM_MAX: return there ? QUEUE_MAX : 0;
	case VIRTIO_MMIO_QUEUE_READY: return there ? d->queue[d->queue_index].ready : 0;
	case VIRTIO_MMIO_INTERRUPT_STATUS: return d->interrupt;
	case VIRTIO_MMIO_STATUS: return d->status;
	default: return 0;
	}
}

static void set_half(uint64_t *v, uint64_t high, uint32_t half)
{
	*v = high ? (*v & 0xffffffff) | (uint64_t)half << 32 : (*v & ~0xffffffffULL) | half;
}

/* The lock is let go meanwhile; on_access keeps the other CPUs from setting up what is not yet idle. */
static void reset(struct virtio_device *d)
{
	d->resetting = true;
	d->interrupt = 0;
	for (unsigned i = 0; i < VIRTIO_QUEUES; i++) {
		struct virtio_queue *q = &d->queue[i];

		*q = (struct virtio_queue){
			.device = d, .kick = q->kick, .thread = q->thread, .has_thread = q->has_thread
		};
	}
	while (d->busy) /* what is on its way finds no ring to come back to, but it still uses the guest's memory */
		pthread_cond_wait(&idle, &d->vm->lock);
	d->full = false;
	if (d->kind->reset)
		d->kind->reset(d);
	vm_irq(d->vm, d->irq, false);
	d->resetting = false;
	pthread_cond_broadcast(&idle);
}

static void set_status(struct virtio_device *d, uint32_t v)
{
	d->status = v;
	if (!v)
		reset(d);
}

static void set_queue(struct virtio_device *d, uint64_t offset, uint32_t v)
{
	struct virtio_queue *q;

	if (d->queue_index >= d->nr_queues)
		return;
	q = &d->queue[d->queue_index];
	switch (offset) {
	case VIRTIO_MMIO_QUEUE_NUM: q->size = v && v <= QUEUE_MAX && !(v & (v - 1)) ? v : 0; break;
	case VIRTIO_MMIO_QUEUE_READY:
		q->ready = v & 1;
		q->next = 0;
		break;
	case VIRTIO_MMIO_QUEUE_DESC_LOW:
	case VIRTIO_MMIO_QUEUE_DESC_HIGH: set_half(&q->desc, offset & 4, v); break;
	case VIRTIO_MMIO_QUEUE_AVAIL_LOW:
	case VIRTIO_MMIO_QUEUE_AVAIL_HIGH: set_half(&q->avail, offset & 4, v); break;
	case VIRTIO_MMIO_QUEUE_USED_LOW:
	case VIRTIO_MMIO_QUEUE_USED_HIGH: set_half(&q->used, offset & 4, v); break;
	default: break;
	}
}

static void set(struct virtio_device *d, uint64_t offset, uint32_t v)
{
	switch (offset) {
	case VIRTIO_MMIO_DEVICE_FEATURES_SEL: d->feature_page = v; break;
	case VIRTIO_MMIO_DRIVER_FEATURES_SEL: d->driver_page = v; break;
	case VIRTIO_MMIO_DRIVER_FEATURES:
		if (d->driver_page < 2)
			set_half(&d->features, d->driver_page, v);
		break;
	case VIRTIO_MMIO_QUEUE_SEL: d->queue_index = v; break;
	case VIRTIO_MMIO_QUEUE_NOTIFY:
		if (v < d->nr_queues)
			d->kind->kick(d, v);
		break;
	case VIRTIO_MMIO_INTERRUPT_ACK:
		d->interrupt &= ~v;
		vm_irq(d->vm, d->irq, d->interrupt);
		break;
	case VIRTIO_MMIO_STATUS: set_status(d, v); break;
	default: set_queue(d, offset, v);
	}
}

static void on_access(void *dev, uint64_t offset, void *data, unsigned len, bool write)
{
	struct virtio_device *d = dev;
	uint64_t at = offset - VIRTIO_MMIO_CONFIG;
	uint32_t v = 0;

	d->exits++;
	while (d->resetting)
		pthread_cond_wait(&idle, &d->vm->lock);
	if (write && offset < VIRTIO_MMIO_CONFIG) {
		memcpy(&v, data, len < 4 ? len : 4);
		set(d, offset, v);
	}
	if (write)
		return;
	memset(data, 0, len);
	if (offset >= VIRTIO_MMIO_CONFIG) {
		if (at + len <= sizeof(d->config))
			memcpy(data, d->config + at, len);
		return;
	}
	v = get(d, offset);
	memcpy(data, &v, len < 4 ? len : 4);
}

/* ---- life ---- */

static int make_kick(struct vm *vm, uint64_t base, unsigned queue)
{
	int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	struct kvm_ioeventfd e = { .datamatch = queue,
				   .addr = base + VIRTIO_MMIO_QUEUE_NOTIFY,
				   .len = 4,
				   .fd = fd,
				   .flags = KVM_IOEVENTFD_FLAG_DATAMATCH };

	if (fd >= 0 && ioctl(vm->fd, KVM_IOEVENTFD, &e) == 0)
		return fd;
	if (fd >= 0)
		close(fd);
	return -1;
}

struct virtio_device *virtio_add(struct vm *vm, const struct virtio_kind *k, void *own, unsigned queues)
{
	struct virtio_device *d = &devices[nr];
	static const uint8_t irqs[VIRTIO_MAX] = {
		5, 6, 7, 10, 11, 12
	}; /* ISA numbers, so edge-triggered; 9 is ACPI's */
	uint64_t base = virtio_base(nr);

	if (nr == VIRTIO_MAX) {
		say_error("at most %d disks, network cards, consoles and generators", VIRTIO_MAX);
		return NULL;
	}
	*d = (struct virtio_device){ .vm = vm, .kind = k, .own = own, .fd = -1, .irq = irqs[nr], .nr_queues = queues };
	for (unsigned i = 0; i < VIRTIO_QUEUES; i++)
		d->queue[i] = (struct virtio_queue){ .device = d, .kick = i < queues ? make_kick(vm, base, i) : -1 };
	vm_add_mmio(vm, (struct vm_range){ base, VIRTIO_STEP, on_access, d });
	nr++;
	return d;
}

struct virtio_device *virtio_nth(unsigned n)
{
	return n < nr ? &devices[n] : NULL;
}
