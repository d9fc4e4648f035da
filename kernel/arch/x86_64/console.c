/* SPDX-License-Identifier: MIT
 *
 * Problem: the log must come out before any driver runs, and during a panic.
 *
 * Idea: two polled consoles: the first serial port (16550) and QEMU's debug port 0xe9. `console=`
 * on the command line chooses (ttyS0, debugcon; others belong to drivers); without it the serial
 * port is used if it is there. The terminal driver for the same port takes over input and user
 * output; kernel lines keep coming this way.
 *
 * Contract: arch/boot.h console_init_early. write polls, so it may be called anywhere.
 *
 * Locks: the log's.
 */
#include <arch/boot.h>
#include <arch/cpu.h>
#include <arch/io.h>
#include <core/log.h>
#include <lib/string.h>

#define COM1 0x3f8

static void serial_put(char c)
{
	for (int i = 0; i < 100000 && !(port_in8(COM1 + 5) & 0x20); i++)
		cpu_relax();
	port_out8(COM1, (u8)c);
}

static void serial_write(struct log_console *c, const char *text, size_t n)
{
	for (; n; n--, text++) {
		if (*text == '\n')
			serial_put('\r');
		serial_put(*text);
	}
}

static void debug_write(struct log_console *c, const char *text, size_t n)
{
	for (; n; n--)
		port_out8(0xe9, (u8)*text++);
}

static struct log_console serial = { .name = "ttyS0", .write = serial_write, .level = 8 };
static struct log_console debug = { .name = "debugcon", .write = debug_write, .level = 8 };

static bool serial_present(void)
{
	port_out8(COM1 + 7, 0x5a);
	return port_in8(COM1 + 7) == 0x5a;
}

static void serial_setup(void)
{
	port_out8(COM1 + 1, 0);    /* no interrupts */
	port_out8(COM1 + 3, 0x80); /* divisor */
	port_out8(COM1, 1);        /* 115200 */
	port_out8(COM1 + 1, 0);
	port_out8(COM1 + 3, 3);    /* 8n1 */
	port_out8(COM1 + 2, 7);    /* FIFOs on and empty */
	port_out8(COM1 + 4, 0x0b); /* DTR, RTS, OUT2 */
}

void console_init_early(void)
{
	char name[32];
	bool any = false, to_serial = false, to_debug = false;

	for (unsigned n = 0; boot_param_nth("console", n, name, sizeof(name)); n++) {
		any = true;
		to_serial |= str_starts(name, "ttyS0");
		to_debug |= !strcmp(name, "debugcon");
	}
	if ((to_serial || !any) && serial_present()) {
		serial_setup();
		log_console_register(&serial);
	}
	if (to_debug)
		log_console_register(&debug);
}
