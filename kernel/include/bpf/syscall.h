/* SPDX-License-Identifier: MIT
 *
 * bpf(2) as far as it needs no kernel: attribute rules, objects and their ids, information, test runs. The kernel (or
 * a test) supplies how memory of the caller is reached, what a file descriptor is, and who may do what.
 *
 * Attribute rules (6.1): a size beyond the union is accepted only if the excess is zero (E2BIG), unused fields of a
 * command must be zero (EINVAL).
 *
 * Threading: any thread; object tables are locked inside. Lifetime: install() takes over one reference of the object,
 * the descriptor's release gives it back by bpf_object_put.
 */
#ifndef BPF_SYSCALL_H
#define BPF_SYSCALL_H

#include <linux/bpf.h>
#include <bpf/btf.h>
#include <bpf/map.h>
#include <bpf/prog.h>

enum bpf_object { BPF_OBJ_MAP, BPF_OBJ_PROG, BPF_OBJ_BTF, BPF_OBJ_LINK, BPF_OBJ_KINDS };

/* A program that is attached for as long as somebody holds the link. The kernel embeds it; ops say to what. */
struct bpf_link;
struct bpf_link_ops {
	void (*release)(struct bpf_link *l); /* the last reference is gone: detaches, frees */
	int (*detach)(struct bpf_link *l);   /* BPF_LINK_DETACH: the link stays, dead. NULL: -EOPNOTSUPP */
	int (*update)(struct bpf_link *l, struct bpf_prog *prog, struct bpf_prog *old); /* old NULL: whatever it is */
	void (*info)(const struct bpf_link *l, struct bpf_link_info *info);
};

struct bpf_link {
	const struct bpf_link_ops *ops;
	refcount_t refs;
	u32 id, type; /* BPF_LINK_TYPE_* */
	struct bpf_prog *prog;
};

int __must_check bpf_link_number(struct bpf_link *l); /* gives it an id */

struct bpf_sys_ops {
	int (*copy_in)(void *dst, u64 user, size_t n); /* 0 or -EFAULT */
	int (*copy_out)(u64 user, const void *src, size_t n);
	int (*install)(enum bpf_object kind, void *obj, u32 flags); /* a new descriptor or -errno */
	/* NULL: no such descriptor; *kind BPF_OBJ_KINDS: another file. Borrowed until bpf_sys returns, by `caller`.
	 * *flags: BPF_F_RDONLY or BPF_F_WRONLY of the descriptor. */
	void *(*resolve)(void *caller, s32 fd, enum bpf_object *kind, u32 *flags);
	/* What a descriptor stands for in maps of events and cgroups: counted, bpf_env.drop lets it go. */
	void *(*hold)(u32 map_type, s32 fd, int *err);
	void (*rights)(struct bpf_rights *out);
	bool (*unprivileged_allowed)(void); /* sysctl kernel.unprivileged_bpf_disabled is 0 */
	/* Compiles and publishes; may be NULL (interpreter only). */
	void (*compile)(struct bpf_prog *prog);
	/* Commands that need the rest of the kernel (attach, pin ...); NULL: -EINVAL. */
	int (*other)(void *caller, u32 cmd, union bpf_attr *attr, u64 uattr, u32 size);
};

long bpf_sys(const struct bpf_sys_ops *ops, void *caller, u32 cmd, u64 uattr, u32 size);
void bpf_object_hold(enum bpf_object kind, void *obj);
void bpf_object_put(enum bpf_object kind, void *obj);

/* Runs a program on bytes as BPF_PROG_TEST_RUN does; kernel memory only. */
struct bpf_test_run {
	const u8 *data_in;
	u32 data_in_bytes, repeat;
	u8 *data_out;       /* may be NULL */
	u32 data_out_bytes; /* in: room; out: bytes of the packet after the run */
	u64 ctx[64];        /* raw context of types without a packet */
	u32 retval, duration_ns;
};
int bpf_test_run(const struct bpf_prog *prog, struct bpf_test_run *run);

#endif
