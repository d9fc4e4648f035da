/* SPDX-License-Identifier: MIT
 *
 * What who starts a kernel by the PVH protocol leaves in memory for it: read by our boot code, written by the EFI
 * stub and by `ostrom vm`. Source: Xen, public/arch-x86/hvm/start_info.h (layout, version 1). Addresses are physical.
 */
#ifndef LIB_PVH_H
#define LIB_PVH_H

#include <lib/types.h>

#define PVH_MAGIC 0x336ec578U

struct pvh_start_info {
	u32 magic, version, flags, nr_modules;
	u64 modules, cmdline, rsdp, memmap; /* modules: of struct pvh_module; memmap: of struct pvh_memmap */
	u32 memmap_entries, reserved;       /* from version 1 on, as memmap */
};

struct pvh_module {
	u64 paddr, size, cmdline, reserved;
};

enum { PVH_TYPE_RAM = 1, PVH_TYPE_RESERVED = 2 }; /* as firmware's E820 */

struct pvh_memmap {
	u64 addr, size;
	u32 type, reserved;
};

#endif
