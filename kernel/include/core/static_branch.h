/* SPDX-License-Identifier: MIT
 *
 * Branches that cost a 5-byte nop while nobody uses the feature (principle 5). Keys count their users.
 */
#ifndef CORE_STATIC_BRANCH_H
#define CORE_STATIC_BRANCH_H

#include <lib/types.h>
#include <arch/static_branch_impl.h>

/* From static_branch_impl.h:
 *   struct static_key; DEFINE_STATIC_KEY(name); DECLARE_STATIC_KEY(name);
 *   static_branch(&name)  false, and a nop, while no user; a patched jump otherwise
 */
void static_key_inc(struct static_key *key); /* may sleep: patches code on all CPUs at the first user */
void static_key_dec(struct static_key *key);

#endif
