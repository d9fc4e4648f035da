/* SPDX-License-Identifier: MIT
 *
 * Problem: a guest writes the registers and rings of the monitor's network card, and strangers send it frames.
 *
 * Idea: vm_virtio.h; the wire is a socket pair. An event is a frame, for the card or for all.
 *
 * Contract: libFuzzer's; an input ends without a report of ASan or UBSan.
 *
 * Locks: none.
 */
// links: user/ostrom/vm/virtio.c user/ostrom/vm/net.c
#include <stdint.h>
#include <sys/socket.h>
#include <unistd.h>
#include "vm_virtio.h"

static int wire[2];

static void event(const uint8_t *bytes, size_t n)
{
	uint8_t frame[256] = { 0xff };
	static uint8_t out[1 << 16];

	memcpy(frame + 1, bytes, n < sizeof(frame) - 1 ? n : sizeof(frame) - 1);
	(void)!send(wire[1], frame, n + 1, MSG_DONTWAIT);
	virtio_nth(0)->kind->ready(virtio_nth(0));
	while (recv(wire[1], out, sizeof(out), MSG_DONTWAIT) > 0)
		continue;
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	memory = malloc(BYTES);
	return !memory || socketpair(AF_UNIX, SOCK_DGRAM, 0, wire) || vm_net_device(&machine, wire[0]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	play(virtio_nth(0), data, size, event);
	return 0;
}
