/* SPDX-License-Identifier: MIT
 *
 * Problem: after a broken invariant nothing can be trusted, yet the report must come out: what,
 * where, and what every other CPU was doing.
 *
 * Idea: the first CPU that panics wins; it takes the log without its lock, prints its own story,
 * then stops the others by NMI, each of which prints its own. A second panic on the same CPU (the
 * report itself failed) ends the machine at once.
 *
 * Contract: core/log.h. panic=N: reboot after N seconds; panic=-1: at once; otherwise power off
 * with exit code 62, which QEMU's debug-exit device turns into exit status 125; without that device
 * the machine stops with the report on screen.
 *
 * Locks: none.
 */
#include <arch/boot.h>
#include <arch/cpu.h>
#include <core/clock.h>
#include <lib/printf.h>
#include <lib/string.h>
#include <task/task.h>
#include "core_priv.h"

#define EXIT_PANIC 62

static int panic_cpu = -1;

static void __noreturn end_machine(void)
{
	char value[16];
	s64 seconds = 0;

	if (boot_param("panic", value, sizeof(value)) && str_to_s64(value, 10, &seconds) == 0 && seconds) {
		u64 until = clock_ns() + (seconds > 0 ? (u64)seconds * NSEC_PER_SEC : 0);

		while (clock_ns() < until)
			cpu_relax();
		machine_reboot();
	}
	machine_debug_exit(EXIT_PANIC);
	log_err("panic: stopped; reset the machine by hand");
	for (;;)
		cpu_wait_for_irq();
}

static void __noreturn vpanic(const struct regs *r, const char *fmt, va_list ap)
{
	int expected = -1, me = (int)cpu_id();
	char text[256];

	irq_disable();
	if (!__atomic_compare_exchange_n(&panic_cpu, &expected, me, false, __ATOMIC_SEQ_CST, __ATOMIC_RELAXED)) {
		if (expected == me)
			machine_debug_exit(EXIT_PANIC);
		for (;;)
			cpu_wait_for_irq();
	}
	log_lockless = true;
	log_level = 8;
	str_vformat(text, sizeof(text), fmt, ap);
	log_print(LOG_EMERG, "panic: %s", text);
	log_print(LOG_EMERG, "CPU %u, task %s", cpu_id(), current ? current->comm : "(boot)");
	regs_print(r);
	backtrace_print(r->ip, r->bp);
	cpu_stop_others();
	end_machine();
}

void panic(const char *fmt, ...)
{
	struct regs r;
	va_list ap;

	regs_capture(&r);
	va_start(ap, fmt);
	vpanic(&r, fmt, ap);
}

void panic_regs(const struct regs *r, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vpanic(r, fmt, ap);
}
