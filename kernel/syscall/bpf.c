/* SPDX-License-Identifier: MIT
 *
 * Problem: bpf(2).
 *
 * Idea: the part bpf_glue does all of it.
 *
 * Contract: bpf(2).
 *
 * Locks: none.
 */
#include <abi/syscalls.h>
#include <bpf_glue/bpf.h>

long sys_bpf(int cmd, void __user *attr, u32 size)
{
	return bpf_call((u32)cmd, (u64)(ulong)attr, size);
}
