/* SPDX-License-Identifier: MIT
 *
 * Where programs attached to tenants see the use of device nodes. Unused, the hook is a patched-out branch.
 */
#ifndef VFS_HOOKS_H
#define VFS_HOOKS_H

#include <core/static_branch.h>

/* As BPF_DEVCG_ACC_* of linux/bpf.h. */
#define DEVICE_MKNOD BIT(0)
#define DEVICE_READ  BIT(1)
#define DEVICE_WRITE BIT(2)

DECLARE_STATIC_KEY(vfs_hook_device_key);
extern int (*vfs_hook_device)(u32 dev, bool block,
			      unsigned access); /* 0 or -EPERM; set once, before the key is raised */

static inline int vfs_may_use_device(u32 dev, bool block, unsigned access)
{
	return static_branch(&vfs_hook_device_key) ? vfs_hook_device(dev, block, access) : 0;
}

#endif
