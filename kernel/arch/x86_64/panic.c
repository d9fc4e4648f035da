/* SPDX-License-Identifier: MIT
 *
 * Problem: a panic report needs the machine's state in words.
 *
 * Idea: print struct regs in rows of three, with the control registers that explain faults.
 *
 * Contract: arch/cpu.h regs_print, regs_capture. Any context.
 *
 * Locks: none.
 */
#include <core/log.h>
#include "x86_priv.h"

void regs_capture(struct regs *r)
{
	*r = (struct regs){ .ip = (ulong)__builtin_return_address(0), .orig_ax = -1UL };
	__asm__ volatile(
		"mov %%rbx, %0\n mov %%r12, %1\n mov %%r13, %2\n mov %%r14, %3\n mov %%r15, %4\n mov (%%rbp), %%rax\n"
		"mov %%rax, %5\n lea 16(%%rbp), %%rax\n mov %%rax, %6\n mov %%cs, %7\n mov %%ss, %8\n pushf\n pop %9"
		: "=m"(r->bx), "=m"(r->r12), "=m"(r->r13), "=m"(r->r14), "=m"(r->r15), "=m"(r->bp), "=m"(r->sp),
		  "=m"(r->cs), "=m"(r->ss), "=m"(r->flags)
		:
		: "rax", "memory");
}

void regs_print(const struct regs *r)
{
	log_print(LOG_EMERG, "ip %016lx cs %04lx flags %08lx sp %016lx ss %04lx", r->ip, r->cs, r->flags, r->sp, r->ss);
	log_print(LOG_EMERG, "ax %016lx bx %016lx cx %016lx dx %016lx", r->ax, r->bx, r->cx, r->dx);
	log_print(LOG_EMERG, "si %016lx di %016lx bp %016lx r8 %016lx", r->si, r->di, r->bp, r->r8);
	log_print(LOG_EMERG, "r9 %016lx r10 %016lx r11 %016lx r12 %016lx", r->r9, r->r10, r->r11, r->r12);
	log_print(LOG_EMERG, "r13 %016lx r14 %016lx r15 %016lx error %lx", r->r13, r->r14, r->r15, r->orig_ax);
	log_print(LOG_EMERG, "cr0 %lx cr2 %016lx cr3 %lx cr4 %lx", cr0_read(), cr2_read(), cr3_read(), cr4_read());
}
