/* SPDX-License-Identifier: MIT
 *
 * Problem: a guest writes the registers and rings of the monitor's random generator.
 *
 * Idea: vm_virtio.h; it has no events.
 *
 * Contract: libFuzzer's; an input ends without a report of ASan or UBSan.
 *
 * Locks: none.
 */
// links: user/ostrom/vm/virtio.c user/ostrom/vm/rng.c
#include <stdint.h>
#include "vm_virtio.h"

static void event(const uint8_t *bytes, size_t n)
{
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	memory = malloc(BYTES);
	return !memory || vm_rng(&machine);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	play(virtio_nth(0), data, size, event);
	return 0;
}
