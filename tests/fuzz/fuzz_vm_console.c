/* SPDX-License-Identifier: MIT
 *
 * Problem: a guest writes the registers and rings of the monitor's console.
 *
 * Idea: vm_virtio.h; what it prints goes nowhere, an event is typed input.
 *
 * Contract: libFuzzer's; an input ends without a report of ASan or UBSan.
 *
 * Locks: none.
 */
// links: user/ostrom/vm/virtio.c user/ostrom/vm/console.c
#include <fcntl.h>
#include <stdint.h>
#include <unistd.h>
#include "vm_virtio.h"

static void event(const uint8_t *bytes, size_t n)
{
	vm_console_input(&machine, bytes, n);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	int nowhere = open("/dev/null", O_WRONLY);

	memory = malloc(BYTES);
	return !memory || nowhere < 0 || dup2(nowhere, 1) < 0 || vm_console(&machine);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	play(virtio_nth(0), data, size, event);
	return 0;
}
