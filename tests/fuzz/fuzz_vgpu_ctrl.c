/* SPDX-License-Identifier: MIT
 *
 * Problem: a virtual machine writes anything into its control queue.
 *
 * Idea: parse the input as one request in a buffer of exactly its size, then touch everything that the result points
 * to; what passes must be in range. Resource requests go on to the charge rule, whose result must be bounded.
 *
 * Contract: libFuzzer target, ASan and UBSan. Locks: none.
 */
#include <stdlib.h>
#include <lib/err.h>
#include <lib/string.h>
#include <virt/vgpu/ctrl.h>

int LLVMFuzzerTestOneInput(const u8 *data, size_t size);

static void must(bool c)
{
	if (!c)
		abort();
}

int LLVMFuzzerTestOneInput(const u8 *data, size_t size)
{
	void *copy = malloc(size + !size);
	struct vgpu_request r;
	u64 sum = 0, bytes;

	memcpy(copy, data, size);
	if (!vgpu_ctrl_parse(copy, size, &r)) {
		for (u32 i = 0; i < r.nr_entries; i++)
			sum += r.entries[i].length;
		must(sum == r.backing_bytes && r.scanout < 16);
		for (u32 i = 0; i < r.nr_words; i++)
			sum += r.words[i];
		must(!r.words || (r.ctx && (u8 *)(r.words + r.nr_words) <= (u8 *)copy + size));
		if (r.create.width && !vgpu_res_charge(&r.create, &bytes)) {
			must(bytes && bytes < 1ull << 50);
			if (!vgpu_res_check_box(&r.create, r.level, &r.box))
				must(r.box.x + (u64)r.box.w <= r.create.width + 15);
		}
		must(vgpu_ctrl_response_bytes(&r, 1376) >= sizeof(struct virtio_gpu_ctrl_hdr));
	}
	free(copy);
	return 0;
}
