/* SPDX-License-Identifier: MIT
 *
 * Problem: the first serial port is the console of a virtual machine, the second a line for whoever needs one: bytes
 * come in bursts, and output must not hold up programs at a byte a port access more than it has to.
 *
 * Idea: the interrupt handler moves received bytes into a small ring and queues a deferred job, which hands them to the
 * terminal; output goes into another ring, from which the handler fills the chip's FIFO whenever it is empty.
 *
 * Contract: tty/tty.h. Registers: PC16550D data sheet (National Semiconductor, 1995). The kernel's own log goes to the
 * first port by polling (arch console) and may stand between a program's bytes.
 *
 * Locks: port->lock (RANK_DRIVER, irqsave) guards both rings and the registers.
 */
#include <arch/boot.h>
#include <arch/io.h>
#include <core/init.h>
#include <core/irq.h>
#include <core/log.h>
#include <lib/err.h>
#include <lib/string.h>
#include <linux/major.h>
#include <vfs/device.h>
#include "tty_priv.h"

#define TX_BYTES 4096
#define RX_BYTES 1024
#define FIFO     16

enum { DATA, IER, IIR_FCR, LCR, MCR, LSR, MSR, SCRATCH };
#define IER_RX      0x01
#define IER_TX      0x02
#define IER_LINE    0x04
#define FCR_ON      0xc7 /* enable, clear both, trigger at 14 bytes */
#define LCR_8N1     0x03
#define MCR_READY   0x0b /* DTR, RTS, and OUT2, which lets interrupts through */
#define LSR_DATA    0x01
#define LSR_BREAK   0x10
#define LSR_TX_FREE 0x20
#define LSR_TX_DONE 0x40

struct port {
	u16 base; /* I: of its registers */
	u8 gsi;   /* I */
	const char *name;
	struct tty tty;
	struct spinlock lock;
	u8 tx[TX_BYTES], rx[RX_BYTES];
	unsigned tx_head, tx_tail, rx_head, rx_tail;
	bool tx_active, got_break;
	struct deferred job;
};

static struct port ports[] = {
	{ .base = 0x3f8, .gsi = 4, .name = "ttyS0" },
	{ .base = 0x2f8, .gsi = 3, .name = "ttyS1" },
};

static u8 reg_get(const struct port *p, unsigned r)
{
	return port_in8(p->base + r);
}

static void reg_set(const struct port *p, unsigned r, u8 v)
{
	port_out8(p->base + r, v);
}

/* Under the lock: feeds the FIFO, and keeps its interrupt on while there is more. */
static void transmit(struct port *p)
{
	bool more;

	if (reg_get(p, LSR) & LSR_TX_FREE)
		for (int i = 0; i < FIFO && p->tx_tail != p->tx_head; i++)
			reg_set(p, DATA, p->tx[p->tx_tail++ % TX_BYTES]);
	more = p->tx_tail != p->tx_head;
	if (more != p->tx_active) {
		p->tx_active = more;
		reg_set(p, IER, IER_RX | IER_LINE | (more ? IER_TX : 0));
	}
}

static void receive(struct port *p)
{
	u8 status;

	while ((status = reg_get(p, LSR)) & LSR_DATA) {
		u8 c = reg_get(p, DATA);

		if (status & LSR_BREAK)
			p->got_break = true;
		else if (p->rx_head - p->rx_tail < RX_BYTES)
			p->rx[p->rx_head++ % RX_BYTES] = c;
	}
}

static void serial_irq(void *arg)
{
	struct port *p = arg;
	ulong irq = spin_lock_irqsave(&p->lock);

	(void)reg_get(p, IIR_FCR);
	receive(p);
	transmit(p);
	spin_unlock_irqrestore(&p->lock, irq);
	deferred_queue(&p->job);
}

static void serial_job(struct deferred *d)
{
	struct port *p = container_of(d, struct port, job);

	for (;;) {
		u8 buf[64];
		size_t n = 0;
		bool brk;
		ulong irq = spin_lock_irqsave(&p->lock);

		while (n < sizeof(buf) && p->rx_tail != p->rx_head)
			buf[n++] = p->rx[p->rx_tail++ % RX_BYTES];
		brk = p->got_break;
		p->got_break = false;
		spin_unlock_irqrestore(&p->lock, irq);
		if (brk)
			tty_break(&p->tty);
		if (!n)
			break;
		tty_receive(&p->tty, buf, n);
	}
	if (p->tx_head - p->tx_tail < TX_BYTES / 2)
		tty_write_room(&p->tty);
}

static size_t serial_write(struct tty *t, const u8 *bytes, size_t n)
{
	struct port *p = t->priv;
	ulong irq = spin_lock_irqsave(&p->lock);
	size_t done;

	for (done = 0; done < n && p->tx_head - p->tx_tail < TX_BYTES; done++)
		p->tx[p->tx_head++ % TX_BYTES] = bytes[done];
	if (!p->tx_active)
		transmit(p);
	spin_unlock_irqrestore(&p->lock, irq);
	return done;
}

static size_t in_ring(const struct port *p)
{
	return READ_ONCE(p->tx_head) - READ_ONCE(p->tx_tail);
}

/* What the chip still holds counts as one byte: a machine that is switched off would lose it. */
static size_t serial_pending(struct tty *t)
{
	struct port *p = t->priv;
	ulong irq = spin_lock_irqsave(&p->lock);
	u8 status = reg_get(p, LSR);

	if (status & LSR_BREAK) /* reading forgets it */
		p->got_break = true;
	spin_unlock_irqrestore(&p->lock, irq);
	return in_ring(p) + !(status & LSR_TX_DONE);
}

static size_t serial_room(struct tty *t)
{
	return TX_BYTES - in_ring(t->priv);
}

static void serial_flush(struct tty *t)
{
	struct port *p = t->priv;
	ulong irq = spin_lock_irqsave(&p->lock);

	p->tx_tail = p->tx_head;
	spin_unlock_irqrestore(&p->lock, irq);
}

static const struct tty_driver serial_driver = {
	.name = "serial",
	.write = serial_write,
	.room = serial_room,
	.pending = serial_pending,
	.flush_output = serial_flush,
};

static bool present(const struct port *p)
{
	reg_set(p, SCRATCH, 0x5a);
	return reg_get(p, SCRATCH) == 0x5a;
}

static void start(struct port *p, unsigned minor)
{
	int vector, err;

	if (!present(p))
		return;
	tty_setup(&p->tty, &serial_driver, p->name, DEV(TTY_MAJOR, minor));
	p->tty.priv = p;
	spin_init(&p->lock, RANK_DRIVER);
	deferred_init(&p->job, serial_job);
	vector = irq_alloc(serial_irq, p, 0, p->name);
	err = vector < 0 ? vector : irq_route_gsi(p->gsi, vector, false, false);
	if (err) {
		log_err("%s: no interrupt: error %d", p->name, -err);
		return;
	}
	reg_set(p, LCR, LCR_8N1);
	reg_set(p, IIR_FCR, FCR_ON);
	reg_set(p, MCR, MCR_READY);
	reg_set(p, IER, IER_RX | IER_LINE);
	tty_register(&p->tty);
}

void serial_init(void)
{
	for (unsigned i = 0; i < ARRAY_SIZE(ports); i++)
		start(&ports[i], 64 + i);
}

PART_INIT(core, tty_init);
