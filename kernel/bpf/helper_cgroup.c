/* SPDX-License-Identifier: MIT
 *
 * Problem: programs at hooks of cgroups ask about the run that they are in: the result so far, their cgroup's storage,
 * the control file of /proc/sys that is read or written.
 *
 * Idea: the run of a hook (bpf/cgroup.h) and its context have it all; each helper is a few lines over them.
 *
 * Contract: bpf/helper.h; behaviour and error numbers of bpf-helpers(7).
 *
 * Locks: none.
 */
#include <bpf/ctx.h>
#include <lib/err.h>
#include <lib/string.h>
#include "helper_priv.h"
#include "storage_priv.h"

#define ERR(e) ((u64)(s64)(e))
#define FN(n)  static u64 n(u64 r1, u64 r2, u64 r3, u64 r4, u64 r5)

FN(get_local_storage)
{
	const struct bpf_cgroup_run *run = bpf_cgroup_running();
	const struct bpf_map *map = (const struct bpf_map *)r1;

	return (u64)(ulong)bpf_storage_value(
		run->item->storage[map->type == BPF_MAP_TYPE_PERCPU_CGROUP_STORAGE ? BPF_STORAGE_PERCPU
										   : BPF_STORAGE_SHARED]);
}

FN(get_retval)
{
	return ERR(*bpf_cgroup_running()->retval);
}

FN(set_retval)
{
	*bpf_cgroup_running()->retval = (s32)r1;
	return 0;
}

/* ---- /proc/sys -----------------------------------------------------------------------------------------------------
 */

FN(sysctl_get_name)
{
	const struct bpf_sysctl_ctx *c = (const struct bpf_sysctl_ctx *)r1;
	const char *name = c->name, *base = strrchr(name, '/');
	size_t len;

	if (r4 & BPF_F_SYSCTL_BASE_NAME && base)
		name = base + 1;
	len = str_copy((char *)r2, name, r3);
	return len >= r3 ? ERR(-E2BIG) : len;
}

/* A text as a program gets it: cut, or filled up with zeros. Its length, -E2BIG, or -EINVAL: there is none. */
static u64 give(char *to, u64 room, const char *text, u32 len)
{
	u64 n = text ? min(room, (u64)len) : 0;

	memcpy(to, text, n);
	memset(to + n, 0, room - n);
	if (!text || !len)
		return ERR(-EINVAL);
	if (len < room)
		return len;
	to[room - 1] = 0;
	return ERR(-E2BIG);
}

FN(sysctl_get_current_value)
{
	const struct bpf_sysctl_ctx *c = (const struct bpf_sysctl_ctx *)r1;

	return give((char *)r2, r3, c->value, c->value_len);
}

FN(sysctl_get_new_value)
{
	const struct bpf_sysctl_ctx *c = (const struct bpf_sysctl_ctx *)r1;

	return give((char *)r2, r3, c->write ? c->new_value : NULL, c->new_len);
}

FN(sysctl_set_new_value)
{
	struct bpf_sysctl_ctx *c = (struct bpf_sysctl_ctx *)r1;

	if (!c->write || !c->new_value || !c->new_len || !r3)
		return ERR(-EINVAL);
	if (r3 > c->new_size - 1)
		return ERR(-E2BIG);
	memcpy(c->new_value, (const char *)r2, r3);
	c->new_value[r3] = 0;
	c->new_len = (u32)r3;
	c->new_set = true;
	return 0;
}

void bpf_helpers_install_cgroup(void)
{
	bpf_helper_set(BPF_FUNC_get_local_storage, get_local_storage);
	bpf_helper_set(BPF_FUNC_get_retval, get_retval);
	bpf_helper_set(BPF_FUNC_set_retval, set_retval);
	bpf_helper_set(BPF_FUNC_sysctl_get_name, sysctl_get_name);
	bpf_helper_set(BPF_FUNC_sysctl_get_current_value, sysctl_get_current_value);
	bpf_helper_set(BPF_FUNC_sysctl_get_new_value, sysctl_get_new_value);
	bpf_helper_set(BPF_FUNC_sysctl_set_new_value, sysctl_set_new_value);
}
