/* SPDX-License-Identifier: MIT
 *
 * Problem: a shader's text is any bytes.
 *
 * Idea: measure the input in a buffer of exactly its size; a bound is the same each time, and at least one instruction
 * a line of it where there is one.
 *
 * Contract: libFuzzer target, ASan and UBSan. Locks: none.
 */
#include <stdlib.h>
#include <lib/err.h>
#include <lib/string.h>
#include <virt/vgpu/shader.h>

int LLVMFuzzerTestOneInput(const u8 *data, size_t size);

int LLVMFuzzerTestOneInput(const u8 *data, size_t size)
{
	char *copy = malloc(size + !size);
	struct vgpu_shader a, b;

	memcpy(copy, data, size);
	if (vgpu_shader_measure(copy, size, &a) || vgpu_shader_measure(copy, size, &b) || memcmp(&a, &b, sizeof(a)))
		abort();
	if (a.nr_uniforms > VGPU_SHADER_UNIFORMS || a.cost[0] > a.cost[2])
		abort();
	free(copy);
	return 0;
}
