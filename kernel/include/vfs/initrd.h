/* SPDX-License-Identifier: MIT
 *
 * Unpacking an initrd image into current's root. adopt: the image lies on page boundaries in pages that page_adopt
 * takes; adopted then has a bit a page, set for those that files took over.
 */
#ifndef VFS_INITRD_H
#define VFS_INITRD_H

#include <lib/types.h>

int __must_check initrd_unpack(const void *data, size_t size, bool adopt, u8 *adopted);

#endif
