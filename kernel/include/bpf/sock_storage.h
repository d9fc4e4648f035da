/* SPDX-License-Identifier: MIT
 *
 * What programs keep with a socket: values of maps of type BPF_MAP_TYPE_SK_STORAGE. An owner is any address that stays
 * the socket's until bpf_sock_storage_drop. Meaning of flags: bpf-helpers(7), bpf_sk_storage_get.
 *
 * Threading: any context, interrupts may be off. A value stays valid until the program that got it ends.
 */
#ifndef BPF_SOCK_STORAGE_H
#define BPF_SOCK_STORAGE_H

#include <lib/types.h>

struct bpf_map;

/* NULL: there is none (or no memory for it). value: of a new one; NULL: zeros. */
void *bpf_sock_storage_get(struct bpf_map *map, const void *owner, const void *value, u64 flags);
int bpf_sock_storage_delete(struct bpf_map *map, const void *owner); /* -ENOENT */
void bpf_sock_storage_drop(const void *owner);                       /* in all maps: the owner ends */

#endif
