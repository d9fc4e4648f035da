/* SPDX-License-Identifier: MIT
 *
 * What a display says of itself: VESA's EDID 1.4, one block, for displays that are none.
 *
 * Threading: a pure function.
 */
#ifndef VIRT_VGPU_EDID_H
#define VIRT_VGPU_EDID_H

#include <lib/types.h>

#define EDID_BYTES 128

/* A display of that many pixels, 60 times a second, at 96 dots an inch. width, height: up to 4095. */
void vgpu_edid_make(u32 width, u32 height, u8 out[EDID_BYTES]);

#endif
