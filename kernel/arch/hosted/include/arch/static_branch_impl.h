/* SPDX-License-Identifier: MIT
 *
 * arch/hosted: a static branch is a load and a test; code is not patched in a host process.
 */
#ifndef ARCH_STATIC_BRANCH_IMPL_H
#define ARCH_STATIC_BRANCH_IMPL_H

#include <lib/atomic.h>

struct static_key {
	atomic_t users;
};
#define DEFINE_STATIC_KEY(name)  struct static_key name
#define DECLARE_STATIC_KEY(name) extern struct static_key name
#define static_branch(key)       unlikely(atomic_read(&(key)->users) > 0)

#endif
