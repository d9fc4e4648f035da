/* SPDX-License-Identifier: MIT
 *
 * bpf(2) for tests: the call with its attributes, loading with the log's text, small wrappers.
 */
#ifndef TESTS_ABI_BPF_H
#define TESTS_ABI_BPF_H

#include <linux/bpf.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/syscall.h>
#include "../../kernel/include/bpf/asm.h"
#include "abi.h"

static char bpf_log[1 << 16];

static inline int bpf(int cmd, union bpf_attr *a)
{
	return (int)syscall(SYS_bpf, cmd, a, sizeof(*a));
}

#define ATTR(...) (&(union bpf_attr){ __VA_ARGS__ })
#define PTR(p)    ((uint64_t)(uintptr_t)(p))

static inline int map_new(int type, int key, int value, int entries, int flags)
{
	return bpf(BPF_MAP_CREATE, ATTR(.map_type = type, .key_size = key, .value_size = value, .max_entries = entries,
					.map_flags = flags));
}

static inline int map_get(int fd, const void *key, void *value)
{
	return bpf(BPF_MAP_LOOKUP_ELEM, ATTR(.map_fd = fd, .key = PTR(key), .value = PTR(value)));
}

static inline int map_set(int fd, const void *key, const void *value, uint64_t flags)
{
	return bpf(BPF_MAP_UPDATE_ELEM, ATTR(.map_fd = fd, .key = PTR(key), .value = PTR(value), .flags = flags));
}

static inline int map_del(int fd, const void *key)
{
	return bpf(BPF_MAP_DELETE_ELEM, ATTR(.map_fd = fd, .key = PTR(key)));
}

static inline int map_next(int fd, const void *key, void *next)
{
	return bpf(BPF_MAP_GET_NEXT_KEY, ATTR(.map_fd = fd, .key = PTR(key), .next_key = PTR(next)));
}

static inline int prog_load(int type, int attach, const struct bpf_insn *insns, int n)
{
	bpf_log[0] = 0;
	return bpf(BPF_PROG_LOAD,
		   ATTR(.prog_type = type, .expected_attach_type = attach, .insns = PTR(insns), .insn_cnt = n,
			.license = PTR("GPL"), .log_level = 1, .log_buf = PTR(bpf_log), .log_size = sizeof(bpf_log)));
}
#define LOAD(type, attach, ...)                                                                                        \
	prog_load(type, attach, (struct bpf_insn[]){ __VA_ARGS__ },                                                    \
		  sizeof((struct bpf_insn[]){ __VA_ARGS__ }) / sizeof(struct bpf_insn))

#endif
