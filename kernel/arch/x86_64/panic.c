/* SPDX-License-Identifier: MIT
 *
 * Problem: a panic report needs the machine's state in words.
 *
 * Idea: print struct regs in rows of three, with the control registers that explain faults.
 *
 * Contract: arch/cpu.h regs_print. Any context.
 *
 * Locks: none.
 */
#include <core/log.h>
#include "x86_priv.h"

void regs_print(const struct regs *r)
{
	log_print(LOG_EMERG, "ip %016lx cs %04lx flags %08lx sp %016lx ss %04lx", r->ip, r->cs, r->flags, r->sp, r->ss);
	log_print(LOG_EMERG, "ax %016lx bx %016lx cx %016lx dx %016lx", r->ax, r->bx, r->cx, r->dx);
	log_print(LOG_EMERG, "si %016lx di %016lx bp %016lx r8 %016lx", r->si, r->di, r->bp, r->r8);
	log_print(LOG_EMERG, "r9 %016lx r10 %016lx r11 %016lx r12 %016lx", r->r9, r->r10, r->r11, r->r12);
	log_print(LOG_EMERG, "r13 %016lx r14 %016lx r15 %016lx error %lx", r->r13, r->r14, r->r15, r->orig_ax);
	log_print(LOG_EMERG, "cr0 %lx cr2 %016lx cr3 %lx cr4 %lx", cr0_read(), cr2_read(), cr3_read(), cr4_read());
}
