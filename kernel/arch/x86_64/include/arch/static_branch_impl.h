/* SPDX-License-Identifier: MIT
 *
 * Static branches on x86-64: a 5-byte nop (AMD64 Architecture Programmer's Manual volume 3, NOP)
 * that is patched into `jmp rel32`. Each site leaves (address, target, key) in .static_branches.
 */
#ifndef ARCH_STATIC_BRANCH_IMPL_H
#define ARCH_STATIC_BRANCH_IMPL_H

#include <lib/types.h>

struct static_key {
	int users; /* guarded by the lock in static_branch.c */
};

struct static_branch_site {
	ulong at, target;
	struct static_key *key;
};

#define DEFINE_STATIC_KEY(name)  struct static_key name
#define DECLARE_STATIC_KEY(name) extern struct static_key name

#ifdef __CHECKER__
#define static_branch(key) ((key)->users > 0)
#else
static __always_inline bool static_branch(struct static_key *const key)
{
	__asm__ goto("1: .byte 0x0f, 0x1f, 0x44, 0x00, 0x00\n"
		     ".pushsection .static_branches, \"aw\"\n"
		     ".balign 8\n"
		     ".quad 1b, %l[yes], %c0\n"
		     ".popsection"
		     :
		     : "i"(key)
		     :
		     : yes);
	return false;
yes:
	return true;
}
#endif

#endif
