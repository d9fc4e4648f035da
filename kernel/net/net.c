/* SPDX-License-Identifier: MIT
 *
 * Problem: addresses, ports and devices belong to a network namespace, and everything in net/ must be written as if there were
 * many, or it will have to be torn down.
 *
 * Idea: struct net is passed everywhere from the first socket on; the one made at boot is never freed.
 *
 * Contract: net/net.h.
 *
 * Locks: none.
 */
#include <net/net.h>

struct net net_init_ns = { .refs = { ATOMIC_INIT(1) } };
