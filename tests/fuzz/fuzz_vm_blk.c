/* SPDX-License-Identifier: MIT
 *
 * Problem: a guest writes the registers, rings and requests of the monitor's disk.
 *
 * Idea: vm_virtio.h on an image of sixteen sectors; whatever happens, the image keeps its size.
 *
 * Contract: libFuzzer's; an input ends without a report of ASan or UBSan.
 *
 * Locks: none.
 */
// links: user/ostrom/vm/virtio.c user/ostrom/vm/blk.c
#include <stdint.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>
#include "vm_virtio.h"

#define IMAGE 8192

static int image;

static void event(const uint8_t *bytes, size_t n)
{
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	char path[64];

	memory = malloc(BYTES);
	image = memfd_create("disk", 0);
	sprintf(path, "/proc/self/fd/%d", image);
	return !memory || ftruncate(image, IMAGE) || vm_disk(&machine, 0, path);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	play(virtio_nth(0), data, size, event);
	if (lseek(image, 0, SEEK_END) != IMAGE)
		abort();
	return 0;
}
