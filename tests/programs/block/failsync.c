/* SPDX-License-Identifier: MIT
 *
 * Problem: a failed write of the page cache must be told to everybody who had the file open, once each, whoever asks
 * first.
 *
 * Idea: two descriptors of a device that fails writes; one writes, both call fsync twice.
 *
 * Contract: failsync DEVICE: prints what the six calls give (the errors' numbers, 0: well done): first descriptor
 * twice, second twice, one that was opened after it all, and the first again.
 *
 * Locks: none.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

static int sync_error(int fd)
{
	return fsync(fd) ? errno : 0;
}

int main(int argc, char **argv)
{
	static char block[4096];
	int a = open(argv[1], O_RDWR), b = open(argv[1], O_RDWR), c, first, again, other, other_again;

	if (argc != 2 || a < 0 || b < 0 || write(a, block, sizeof(block)) != sizeof(block)) {
		perror("failsync");
		return 1;
	}
	first = sync_error(a);
	again = sync_error(a);
	other = sync_error(b);
	other_again = sync_error(b);
	c = open(argv[1], O_RDWR);
	printf("%d %d %d %d %d %d\n", first, again, other, other_again, sync_error(c), sync_error(a));
	return 0;
}
