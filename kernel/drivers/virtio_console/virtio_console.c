/* SPDX-License-Identifier: MIT
 *
 * Problem: a virtual machine's terminal without a serial port, which costs an exit a byte.
 *
 * Idea: a terminal hvcN over two queues. Output goes into a ring of bytes; what waits there goes to the device as one
 * chain, and the next chain leaves when that one is back, so bytes gather while the device is busy. Input stands
 * ready in buffers that go back when the terminal has taken their bytes: a full terminal stops the host, nothing is
 * lost.
 *
 *      out:  ...free | tail [ flying: the device's | waiting ] head | free...
 *
 * The kernel's log uses the same ring and waits until it is empty, so that lines come out before the machine stops.
 *
 * Contract: tty/tty.h, core/log.h. Format: VIRTIO 1.2, section 5.3; the first port of a device only (no MULTIPORT).
 *
 * Locks: port->lock (RANK_CONSOLE, irqsave) guards both queues and rings; terminal and log call with theirs held.
 */
#include <alloc/page.h>
#include <alloc/slab.h>
#include <arch/boot.h>
#include <arch/cpu.h>
#include <arch/mmu.h>
#include <core/clock.h>
#include <core/init.h>
#include <core/irq.h>
#include <core/log.h>
#include <core/spin.h>
#include <device/virtio.h>
#include <lib/err.h>
#include <lib/printf.h>
#include <linux/virtio_console.h>
#include <linux/virtio_ids.h>
#include <tty/tty.h>
#include <vfs/device.h>

#define OUT_BYTES  PAGE_SIZE
#define IN_BUFFERS 64 /* many small ones: a key takes one */
#define IN_BYTES   (PAGE_SIZE / IN_BUFFERS)
#define LOG_WAIT   (100 * NSEC_PER_MSEC) /* for the device, a line */
#define TRIES      1000000               /* for the lock, whose holder may have been stopped by a panic */

struct port {
	struct tty tty;
	struct log_console log;
	struct virtio_dev *virtio;
	struct virtqueue *rx, *tx;
	struct spinlock lock;
	struct deferred job;
	u8 *out, *in; /* a page each */
	unsigned head, tail, flying;
	u8 *buffer; /* of `in`, whose bytes are being taken; NULL: none */
	u32 taken, filled;
	bool receiving, again, throttled;
};

static unsigned nr_ports;

/* ---- output -------------------------------------------------------------------------------------------------------
 */

/* Under the lock: takes back what the device has written, hands over what waits. */
static void transmit(struct port *p)
{
	struct virtio_buf b[2];
	unsigned at, n, first;

	if (p->flying && virtqueue_get(p->tx, NULL)) {
		p->tail += p->flying;
		p->flying = 0;
	}
	n = p->head - p->tail;
	if (p->flying || !n)
		return;
	at = p->tail % OUT_BYTES;
	first = min(n, (unsigned)OUT_BYTES - at);
	b[0] = (struct virtio_buf){ virt_to_phys(p->out + at), first, false };
	b[1] = (struct virtio_buf){ virt_to_phys(p->out), n - first, false };
	if (virtqueue_add(p->tx, b, n > first ? 2 : 1, p))
		return;
	p->flying = n;
	virtqueue_kick(p->tx);
}

static size_t put(struct port *p, const u8 *bytes, size_t n)
{
	size_t done;

	for (done = 0; done < n && p->head - p->tail < OUT_BYTES; done++)
		p->out[p->head++ % OUT_BYTES] = bytes[done];
	return done;
}

static size_t console_write(struct tty *t, const u8 *bytes, size_t n)
{
	struct port *p = t->priv;
	ulong irq = spin_lock_irqsave(&p->lock);
	size_t done = put(p, bytes, n);

	transmit(p);
	spin_unlock_irqrestore(&p->lock, irq);
	return done;
}

static size_t console_pending(struct tty *t)
{
	struct port *p = t->priv;

	return READ_ONCE(p->head) - READ_ONCE(p->tail);
}

static size_t console_room(struct tty *t)
{
	return OUT_BYTES - console_pending(t);
}

static void console_flush(struct tty *t)
{
	struct port *p = t->priv;
	ulong irq = spin_lock_irqsave(&p->lock);

	p->head = p->tail + p->flying;
	spin_unlock_irqrestore(&p->lock, irq);
}

static void on_sent(struct virtqueue *vq)
{
	struct port *p = vq->priv;
	ulong irq = spin_lock_irqsave(&p->lock);

	transmit(p);
	spin_unlock_irqrestore(&p->lock, irq);
	deferred_queue(&p->job);
}

/* ---- the kernel's log ----------------------------------------------------------------------------------------------
 */

/* Under the lock: polls until at most `left` bytes wait, or the time is over. */
static void drain(struct port *p, unsigned left, u64 until)
{
	for (transmit(p); p->head - p->tail > left && clock_ns() < until; transmit(p))
		cpu_relax();
}

static void log_write(struct log_console *c, const char *text, size_t n)
{
	struct port *p = container_of(c, struct port, log);
	u64 until = clock_ns() + LOG_WAIT;
	ulong irq = irq_save();
	bool locked = false;

	for (unsigned i = 0; i < TRIES && !(locked = spin_trylock(&p->lock)); i++)
		cpu_relax();
	for (; n; n--, text++) {
		if (p->head - p->tail > OUT_BYTES - 2)
			drain(p, 0, until);
		(void)put(p, (const u8 *)"\r", *text == '\n');
		(void)put(p, (const u8 *)text, 1);
	}
	drain(p, 0, until);
	if (locked)
		spin_unlock(&p->lock);
	irq_restore(irq);
}

/* ---- input ---------------------------------------------------------------------------------------------------------
 */

/* Under the lock: an empty buffer for the device. */
static void offer(struct port *p, u8 *buffer)
{
	struct virtio_buf b = { virt_to_phys(buffer), IN_BYTES, true };

	ensure(!virtqueue_add(p->rx, &b, 1, buffer));
	virtqueue_kick(p->rx);
}

/* Under the lock: the next buffer with bytes in it. False: none, and the device will interrupt. */
static bool next_buffer(struct port *p)
{
	do {
		p->buffer = virtqueue_get(p->rx, &p->filled);
	} while (!p->buffer && !virtqueue_irq_on(p->rx));
	p->filled = min(p->filled, (u32)IN_BYTES);
	p->taken = 0;
	return p->buffer != NULL;
}

/* Under the lock: bytes that the terminal has room for. 0: none came, or it is full and unthrottle goes on. */
static size_t next_bytes(struct port *p, const u8 **bytes)
{
	size_t n;

	while (!p->buffer || p->taken == p->filled) {
		if (p->buffer)
			offer(p, p->buffer);
		if (!next_buffer(p))
			return 0;
	}
	n = min(tty_receive_room(&p->tty), (size_t)(p->filled - p->taken));
	p->throttled = !n;
	*bytes = p->buffer + p->taken;
	p->taken += n;
	return n;
}

/* One at a time feeds the terminal; who comes meanwhile leaves word. */
static void receive(struct port *p)
{
	const u8 *bytes = NULL;
	ulong irq = spin_lock_irqsave(&p->lock);
	size_t n;

	p->again = true;
	if (!p->receiving) {
		p->receiving = true;
		while (p->again) {
			p->again = false;
			while ((n = next_bytes(p, &bytes))) {
				spin_unlock_irqrestore(&p->lock, irq);
				tty_receive(&p->tty, bytes, n);
				irq = spin_lock_irqsave(&p->lock);
			}
		}
		p->receiving = false;
	}
	spin_unlock_irqrestore(&p->lock, irq);
}

static void console_job(struct deferred *d)
{
	struct port *p = container_of(d, struct port, job);

	receive(p);
	if (console_pending(&p->tty) < OUT_BYTES / 2)
		tty_write_room(&p->tty);
}

static void on_received(struct virtqueue *vq)
{
	struct port *p = vq->priv;

	virtqueue_irq_off(vq);
	deferred_queue(&p->job);
}

static void console_unthrottle(struct tty *t)
{
	struct port *p = t->priv;

	if (READ_ONCE(p->throttled))
		receive(p);
}

/* ---- life ----------------------------------------------------------------------------------------------------------
 */

static const struct tty_driver console_driver = {
	.name = "hvc",
	.write = console_write,
	.room = console_room,
	.pending = console_pending,
	.flush_output = console_flush,
	.unthrottle = console_unthrottle,
};

/* Named by console=, or the only one there is. */
static bool wants_log(const struct port *p)
{
	char name[32];

	return tty_console_place(&p->tty) || (tty_is_console(&p->tty) && !boot_param("console", name, sizeof(name)));
}

static int create_queues(struct port *p)
{
	struct page *in = page_alloc(0, ALLOC_ZERO, NULL), *out = page_alloc(0, ALLOC_ZERO, NULL);
	int err = in && out ? virtqueue_create(p->virtio, 0, IN_BUFFERS, 0, on_received, &p->rx) : -ENOMEM;

	if (!err)
		err = virtqueue_create(p->virtio, 1, 4, 0, on_sent, &p->tx);
	if (err)
		return err; /* as with the rings: the device may know these pages */
	p->in = page_virt(in);
	p->out = page_virt(out);
	p->rx->priv = p->tx->priv = p;
	return 0;
}

static void read_size(struct port *p)
{
	struct virtio_console_config c;

	if (!virtio_has(p->virtio, VIRTIO_CONSOLE_F_SIZE))
		return;
	virtio_config(p->virtio, 0, &c, offsetof(struct virtio_console_config, max_nr_ports));
	p->tty.winsize = (struct tty_winsize){ .rows = c.rows, .columns = c.cols };
}

static int probe(struct virtio_dev *d)
{
	struct port *p = kzalloc(sizeof(*p), ALLOC_KERNEL);
	char name[16];
	int err;

	if (!p)
		return -ENOMEM;
	p->virtio = d;
	d->priv = p;
	str_format(name, sizeof(name), "hvc%u", nr_ports);
	tty_setup(&p->tty, &console_driver, name, DEV(TTY_HVC_MAJOR, nr_ports));
	p->tty.priv = p;
	spin_init(&p->lock, RANK_CONSOLE);
	deferred_init(&p->job, console_job);
	err = nr_ports < TTY_HVC_MAX ? create_queues(p) : -ENOSPC;
	if (err)
		return err;
	nr_ports++;
	read_size(p);
	virtio_ready(d);
	for (u8 *b = p->in; b < p->in + min((unsigned)p->rx->size, IN_BUFFERS) * IN_BYTES; b += IN_BYTES)
		offer(p, b);
	tty_register(&p->tty);
	if (wants_log(p)) {
		p->log = (struct log_console){ .name = p->tty.name, .write = log_write, .level = 8 };
		log_console_register(&p->log);
	}
	return 0;
}

static struct virtio_driver virtio_console = {
	.name = "virtio_console",
	.id = VIRTIO_ID_CONSOLE,
	.features = BIT(VIRTIO_CONSOLE_F_SIZE),
	.probe = probe,
};

static void virtio_console_register(void)
{
	virtio_register(&virtio_console);
}
PART_INIT(core, virtio_console_register);
