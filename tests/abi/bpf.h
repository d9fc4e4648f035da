/* SPDX-License-Identifier: MIT
 *
 * bpf(2) for tests: the call with its attributes, loading with the log's text, small wrappers.
 */
#ifndef TESTS_ABI_BPF_H
#define TESTS_ABI_BPF_H

#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <net/if.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
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

static inline int verdict(int type, int attach, int r)
{
	return LOAD(type, attach, MOV(0, r), EXIT());
}

/* ---- cgroups ---- */

static char tree[] = "/tmp/cgroup.XXXXXX";

static inline int folder(const char *name)
{
	char path[128];

	snprintf(path, sizeof(path), "%s/%s", tree, name);
	mkdir(path, 0755);
	return open(path, O_RDONLY | O_DIRECTORY);
}

static inline int attach(int cg, int prog, int type, int flags)
{
	return bpf(BPF_PROG_ATTACH,
		   ATTR(.target_fd = cg, .attach_bpf_fd = prog, .attach_type = type, .attach_flags = flags));
}

static inline int detach(int cg, int prog, int type)
{
	return bpf(BPF_PROG_DETACH, ATTR(.target_fd = cg, .attach_bpf_fd = prog, .attach_type = type));
}

static inline void loopback_up(void)
{
	int s = socket(AF_INET, SOCK_DGRAM, 0);
	struct ifreq r = { .ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING };

	ioctl(s, SIOCSIFFLAGS, &r);
	close(s);
}

/* In a child that belongs to the cgroup: fn's result. */
static inline int in_cgroup(const char *name, int (*fn)(void))
{
	char path[128];
	int status, pid = fork();

	if (!pid) {
		snprintf(path, sizeof(path), "%s/%s/cgroup.procs", tree, name);
		int fd = open(path, O_WRONLY);

		_exit(fd < 0 || write(fd, "0", 1) != 1 ? 200 : fn());
	}
	waitpid(pid, &status, 0);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 201;
}

#endif
