/* SPDX-License-Identifier: MIT
 *
 * What a host program (unit test, fuzzer) that links kernel parts calls. hosted_start gives the calling thread a task
 * with root's credentials and `pages` pages of memory to the page allocator; hosted_thread_begin/end do the same for
 * further threads. hosted_rcu_drain runs deferred RCU callbacks; no other thread may be inside a read side then.
 * User memory is the process's own memory.
 */
#ifndef ARCH_HOSTED_H
#define ARCH_HOSTED_H

#include <lib/types.h>

struct task;

void hosted_start(size_t pages);
struct task *hosted_thread_begin(const char *name); /* of the calling thread; shares nothing with others */
void hosted_thread_end(void);
void hosted_rcu_drain(void);
size_t hosted_pages_in_use(void);
u64 hosted_refaults(void);            /* that were counted so far */
void hosted_fail_alloc_after(long n); /* the n-th page allocation from now on and all later ones fail; -1: never */

#endif
