/* SPDX-License-Identifier: MIT
 *
 * Problem: no program of Debian uses the older of the two structures that describe a loop device; LTP and old programs
 * do.
 *
 * Idea: `loopstatus DEVICE` reads a bound device's, changes offset and name, and reads it again by both.
 *
 * Contract: exit status 0 and nothing printed if all agrees; else a line that says what does not. The device keeps
 * the offset of 4096 bytes.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/loop.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>

static int is(int holds, const char *what)
{
	if (!holds)
		printf("%s: errno %d\n", what, errno);
	return !holds;
}

int main(int argc, char **argv)
{
	int fd = argc == 2 ? open(argv[1], O_RDWR) : -1, wrong = 0;
	struct loop_info64 wide = { 0 };
	struct loop_info old;

	if (fd < 0) {
		perror("usage: loopstatus DEVICE");
		return 2;
	}
	memset(&old, 0xff, sizeof(old));
	wrong |= is(!ioctl(fd, LOOP_GET_STATUS, &old) && !old.lo_offset && old.lo_inode, "reads");
	old.lo_offset = 4096;
	strcpy(old.lo_name, "renamed");
	wrong |= is(!ioctl(fd, LOOP_SET_STATUS, &old), "changes");
	wrong |= is(!ioctl(fd, LOOP_GET_STATUS64, &wide) && wide.lo_offset == 4096, "offset in the other structure");
	wrong |= is(!strcmp((char *)wide.lo_file_name, "renamed") && wide.lo_inode == old.lo_inode, "name, file");
	old.lo_offset = -1;
	wrong |= is(ioctl(fd, LOOP_SET_STATUS, &old) < 0 && errno == EOVERFLOW, "a negative offset");
	wide.lo_offset = 1UL << 32;
	wrong |= is(!ioctl(fd, LOOP_SET_STATUS64, &wide) && ioctl(fd, LOOP_GET_STATUS, &old) < 0 && errno == EOVERFLOW,
		    "an offset that does not fit");
	wide.lo_offset = 4096;
	wrong |= is(!ioctl(fd, LOOP_SET_STATUS64, &wide), "changes back");
	return wrong;
}
