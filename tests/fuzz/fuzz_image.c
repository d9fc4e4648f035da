/* SPDX-License-Identifier: MIT
 *
 * Problem: a recording names program files, and their symbol tables and debug information are read without trusting
 * them.
 *
 * Idea: the input is a program file; every function, object, address and line that a report would ask for is asked for.
 *
 * Contract: no crash, no leak, no read outside. Locks: none.
 */
// links: user/ostrom/perfdata/image.c user/ostrom/c2c/names.c
// libs: -lelf -ldw -lZydis -liberty
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>
#include "c2c/c2c.h"

int LLVMFuzzerTestOneInput(const u8 *data, size_t size);

static u64 ask(struct images *images, const struct pd_map *m, u64 addr)
{
	struct image *im = image_get(images, m->path);
	const struct image_sym *sym;
	struct field_name name;
	u64 start, bytes, sum = 0, vaddr;
	const u8 *code;
	bool exact;

	if (!im)
		return 0;
	vaddr = image_vaddr(im, m, addr);
	for (int object = 0; object < 2; object++) {
		sym = image_symbol(im, vaddr, object);
		sum += sym ? strlen(sym->name) : 0;
	}
	code = image_code(im, m, addr, &start, &exact, &bytes);
	for (u64 i = 0; code && i < bytes && i < 512; i++)
		sum += code[i];
	name_code(im, vaddr, &name);
	name_access(images, m, addr, m, addr, &name);
	return sum + strlen(name.field);
}

int LLVMFuzzerTestOneInput(const u8 *data, size_t size)
{
	struct images images = { 0 };
	int fd = memfd_create("fuzz", MFD_CLOEXEC);
	char path[64];
	struct pd_map m = { .start = 0x400000, .end = 0x500000, .path = path, .is_file = true };

	if (fd < 0 || write(fd, data, size) != (ssize_t)size)
		abort();
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	for (u64 at = 0; at < 0x8000; at += at < 0x2000 ? 0x3f1 : 0x1777)
		(void)ask(&images, &m, m.start + at);
	images_free(&images);
	close(fd);
	return 0;
}
