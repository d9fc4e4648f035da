/* SPDX-License-Identifier: MIT
 *
 * What the files of bpf_glue share.
 */
#ifndef BPF_GLUE_PRIV_H
#define BPF_GLUE_PRIV_H

#include <bpf/syscall.h>
#include <vfs/vfs.h>

/* ---- files.c: objects as open files ---- */
int __must_check bpf_file_install(enum bpf_object kind, void *obj, u32 flags); /* bpf_sys_ops.install */
void *bpf_file_object(struct file *f, enum bpf_object *kind, u32 *flags);      /* NULL: another kind of file */
void bpf_kind_get(enum bpf_object kind, void *obj);                            /* one user more: reference and use */
void bpf_kind_put(enum bpf_object kind, void *obj);
void bpf_files_wake_ring(void *map); /* bpf_env_ops.ringbuf_wake */
void bpf_files_init(void);

/* ---- mmap.c ---- */
int bpf_file_mmap(struct file *f, unsigned prot, unsigned map_flags, u64 *index, size_t bytes, struct mapping **out);

/* ---- image.c: compiled programs ---- */
void bpf_image_make(struct bpf_prog *prog);                  /* bpf_sys_ops.compile */
extern u32 bpf_jit_enable, bpf_jit_harden, bpf_jit_kallsyms; /* /proc/sys/net/core */
extern u64 bpf_jit_limit;

/* ---- bpffs.c: names for objects ---- */
void bpffs_init(void);
int bpffs_pin(const char __user *path, enum bpf_object kind, void *obj);
int bpffs_get(const char __user *path, u32 flags); /* a descriptor */

/* ---- held.c: events and cgroups in maps ---- */
void *bpf_held_get(u32 map_type, s32 fd, int *err); /* bpf_sys_ops.hold */
void bpf_held_drop(u32 map_type, void *obj);        /* bpf_env_ops.drop */
void bpf_held_init(void);

/* ---- host.c ---- */
void bpf_host_init(void);

/* ---- main.c ---- */
struct bpf_call; /* one bpf(2): keeps the files that it looked up */
void *bpf_call_object(struct bpf_call *c, s32 fd, enum bpf_object kind, int *err); /* borrowed for the call */

/* ---- task_fd.c ---- */
int bpf_task_fd_query(const union bpf_attr *a, u64 uattr);

#endif
