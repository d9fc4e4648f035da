/* SPDX-License-Identifier: MIT
 *
 * Storage of cgroups (map_cgroup.c), for who attaches and runs programs. Private to kernel/bpf.
 */
#ifndef BPF_STORAGE_PRIV_H
#define BPF_STORAGE_PRIV_H

#include <bpf/cgroup.h>

/* The map of that kind among a program's maps (the verifier lets it have one of each), or NULL. */
struct bpf_map *bpf_prog_storage_map(const struct bpf_prog *prog, enum bpf_storage_kind kind);

/* The map's entry for a cgroup (and, in a map whose keys have one, an attach type), made when missing. It lives as long
 * as map and cgroup. -ENOMEM. */
int __must_check bpf_storage_make(struct bpf_map *map, u64 cgroup, u32 attach_type, struct bpf_storage **out);
void bpf_storage_drop(u64 cgroup); /* the cgroup has gone: its entries in all maps */
/* An entry in no map, for a test run; bpf_storage_free. NULL: no memory. */
struct bpf_storage *bpf_storage_alone(struct bpf_map *map);
void bpf_storage_free(struct bpf_storage *s);
void *bpf_storage_value(const struct bpf_storage *s); /* for a program on this CPU */

#endif
