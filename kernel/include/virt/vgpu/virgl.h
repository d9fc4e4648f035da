/* SPDX-License-Identifier: MIT
 *
 * The virgl command stream: what SUBMIT_3D of virtio-gpu and VCMD_SUBMIT_CMD of vtest carry.
 *
 * A stream is 32-bit words in host order. Each command is a header (8 bits opcode, 8 bits object type, 16 bits
 * number of words that follow) and its words. Numbers and layouts: virglrenderer 0.10.4, src/virgl_protocol.h; limits
 * on slots: its src/gallium/include/pipe/p_state.h.
 *
 * vgpu_virgl_admit gets a private copy of a client's stream (the client must not be able to change it afterwards),
 * refuses it or makes it safe to hand to a renderer that serves other tenants: every opcode known, every length and
 * slot in range, every resource id translated to the host's, objects and sub-contexts charged, commands that only
 * debug the renderer blanked. Refused are video, blob resources and memory information: the capability set that the
 * client sees must not offer them (vgpu_virgl_mask_caps).
 *
 * Threading: the owner of the context serialises. Errors: -EINVAL malformed, -ENOENT unknown or unattached resource
 * or sub-context, -EOPNOTSUPP refused opcode, -E2BIG over a limit on size or work, -EDQUOT over a limit of the tenant.
 * A refused stream leaves the context lost: nothing of it may be run, and every later stream is refused with -EIO.
 */
#ifndef VIRT_VGPU_VIRGL_H
#define VIRT_VGPU_VIRGL_H

#include <virt/vgpu/tenant.h>

/* What an admitted stream asks for. */
struct vgpu_stream {
	u32 commands, draws, dispatches, transfers;
};

int __must_check vgpu_virgl_admit(struct vgpu_ctx *c, u32 *words, u32 n, struct vgpu_stream *info);

/* The length in words of the longest prefix of an admitted stream with at most `work` draws, dispatches and
 * transfers (at least one command): where a long submission may be cut so that others get a turn. */
u32 vgpu_virgl_cut(const u32 *words, u32 n, u32 work);

/* Takes out of a capability set (id 1 or 2, as the renderer filled it) what vgpu_virgl_admit refuses. */
void vgpu_virgl_mask_caps(u32 set, void *caps, u32 bytes);

const char *vgpu_virgl_name(u32 header); /* of a command, for messages and counters */

#endif
