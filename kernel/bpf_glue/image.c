/* SPDX-License-Identifier: MIT
 *
 * Problem: compiled programs must be executable and must never be writable while they are.
 *
 * Idea: compile into fresh writable pages between guard pages, turn them into code on every CPU, then publish. The rest
 * of the last page is traps. A program that cannot be compiled, or for which the limit leaves no room, is interpreted.
 *
 * Contract: bpf_sys_ops.compile. /proc/sys/net/core: bpf_jit_enable (0: interpret), bpf_jit_harden (1: hide constants
 * of the unprivileged, 2: of all), bpf_jit_limit (bytes in all).
 *
 * Locks: the account is atomic.
 */
#include <alloc/kmap.h>
#include <lib/atomic.h>
#include <lib/string.h>

#include "glue_priv.h"

#define TRAP 0xcc /* int3 */

u32 bpf_jit_enable = 1, bpf_jit_harden, bpf_jit_kallsyms = 1;
u64 bpf_jit_limit = 264241152; /* as Linux has it on a big machine */

static atomic64_t used;

static u64 room_of(u32 bytes)
{
	return ALIGN_UP((u64)bytes, PAGE_SIZE);
}

static void free_image(struct bpf_prog *prog)
{
	vmem_free(prog->image);
	atomic_sub(&used, room_of(prog->jited_bytes));
}

static bool charge(u64 bytes)
{
	if ((u64)atomic_add_return(&used, bytes) <= READ_ONCE(bpf_jit_limit))
		return true;
	atomic_sub(&used, bytes);
	return false;
}

void bpf_image_make(struct bpf_prog *prog)
{
	bool blind = bpf_jit_harden == 2 || (bpf_jit_harden == 1 && prog->alu_limits);
	int size = READ_ONCE(bpf_jit_enable) ? bpf_jit_x86(prog, NULL, 0, 0, NULL, blind) : 0, done;
	u64 room = size > 0 ? room_of(size) : 0;
	u8 *code;

	if (size <= 0 || !charge(room))
		return;
	code = vmem_alloc(room);
	done = code ? bpf_jit_x86(prog, code, size, (u64)(ulong)code, &prog->tail_off, blind) : -1;
	if (done <= 0 || room_of(done) != room) {
		vmem_free(code);
		atomic_sub(&used, room);
		return;
	}
	memset(code + done, TRAP, room - done);
	vmem_make_code(code);
	prog->image = code;
	prog->jited_bytes = done;
	prog->free_image = free_image;
	__atomic_store_n(&prog->jited, (u64(*)(const void *))code, __ATOMIC_RELEASE);
}
