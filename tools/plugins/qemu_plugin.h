/* SPDX-License-Identifier: MIT
 *
 * The part of QEMU's plug-in interface, version 1, that our plug-ins use, declared from its documentation
 * (docs/devel/tcg-plugins.rst of QEMU 7.2), since Debian ships the emulator without the header. A plug-in exports
 * qemu_plugin_version and qemu_plugin_install; the emulator resolves the rest when it loads it.
 *
 * Threading: callbacks run on the thread of the virtual CPU, several at once unless -icount or
 * -accel tcg,thread=single. Handles are valid during the callback only.
 */
#ifndef QEMU_PLUGIN_H
#define QEMU_PLUGIN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PLUGIN_EXPORT         __attribute__((visibility("default")))
#define QEMU_PLUGIN_VERSION_1 1

struct qemu_plugin_tb;
struct qemu_plugin_insn;
struct qemu_plugin_hwaddr;

struct qemu_plugin_info {
	const char *target_name;
	struct {
		int min, cur;
	} version;
	bool system_emulation;
	struct {
		int smp_vcpus, max_vcpus;
	} system;
};

enum { QEMU_PLUGIN_CB_NO_REGS };
enum { QEMU_PLUGIN_MEM_R = 1, QEMU_PLUGIN_MEM_W = 2, QEMU_PLUGIN_MEM_RW = 3 };

typedef void (*qemu_plugin_tb_fn)(uint64_t id, struct qemu_plugin_tb *tb);
typedef void (*qemu_plugin_mem_fn)(unsigned vcpu, uint32_t info, uint64_t vaddr, void *user);
typedef void (*qemu_plugin_run_fn)(unsigned vcpu, void *user);
typedef void (*qemu_plugin_vcpu_fn)(uint64_t id, unsigned vcpu);
typedef void (*qemu_plugin_user_fn)(uint64_t id, void *user);

void qemu_plugin_register_vcpu_tb_trans_cb(uint64_t id, qemu_plugin_tb_fn fn);
/* Before each run of the block. */
void qemu_plugin_register_vcpu_tb_exec_cb(struct qemu_plugin_tb *tb, qemu_plugin_run_fn fn, int flags, void *user);
void qemu_plugin_register_vcpu_mem_cb(struct qemu_plugin_insn *insn, qemu_plugin_mem_fn fn, int flags, int rw,
				      void *user);
/* It halts. */
void qemu_plugin_register_vcpu_idle_cb(uint64_t id, qemu_plugin_vcpu_fn fn);
void qemu_plugin_register_atexit_cb(uint64_t id, qemu_plugin_user_fn fn, void *user);
size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *tb);
uint64_t qemu_plugin_tb_vaddr(const struct qemu_plugin_tb *tb);
struct qemu_plugin_insn *qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *tb, size_t index);
const void *qemu_plugin_insn_data(const struct qemu_plugin_insn *insn);
size_t qemu_plugin_insn_size(const struct qemu_plugin_insn *insn);
unsigned qemu_plugin_mem_size_shift(uint32_t info);
bool qemu_plugin_mem_is_store(uint32_t info);
struct qemu_plugin_hwaddr *qemu_plugin_get_hwaddr(uint32_t info, uint64_t vaddr);
bool qemu_plugin_hwaddr_is_io(const struct qemu_plugin_hwaddr *hwaddr);
uint64_t qemu_plugin_hwaddr_phys_addr(const struct qemu_plugin_hwaddr *hwaddr);

#endif
