/* SPDX-License-Identifier: MIT
 *
 * Problem: a part of the GPU for a virtual machine shall take one word, not a UUID, a folder in sysfs and somebody who
 * cleans up; and one wants to see what the guest shows.
 *
 * Idea: of the types that the kernel offers, the smallest that holds the fraction is taken; the device gets a random
 * UUID and is told to go with its last user, so that nothing is left however we end. The picture is read from the
 * region that the device names for its plane.
 *
 * Contract: vm.h. Types are ostrom_vgpu-N, one N-th of the GPU's memory. A picture is PNG, or PPM if the file's name
 * ends with .ppm. Sources: linux/vfio.h (GFX planes); PNG specification, 2nd edition (RFC 1950 and 1951 for what is in
 * it).
 *
 * Locks: none; vm_picture may run beside the CPUs.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/vfio.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/random.h>
#include <unistd.h>
#include "ostrom.h"
#include "vm.h"

#define BUSES "/sys/class/mdev_bus"
#define TYPE  "ostrom_vgpu-"

static char uuid[37];

/* ---- the device ---- */

/* The largest N of TYPE N under the parent with 100 / N >= percent. */
static unsigned best_type(const char *parent, unsigned percent)
{
	char path[512];
	struct dirent *e;
	unsigned best = 0;
	DIR *d;

	snprintf(path, sizeof(path), BUSES "/%s/mdev_supported_types", parent);
	d = opendir(path);
	while (d && (e = readdir(d))) {
		unsigned n = !strncmp(e->d_name, TYPE, strlen(TYPE)) ? (unsigned)atoi(e->d_name + strlen(TYPE)) : 0;

		if (n > best && 100 / n >= percent)
			best = n;
	}
	if (d)
		closedir(d);
	return best;
}

static void make_uuid(void)
{
	uint8_t b[16];

	if (getrandom(b, sizeof(b), 0) != sizeof(b))
		memset(b, getpid() & 0xff, sizeof(b));
	b[6] = (b[6] & 0x0f) | 0x40;
	b[8] = (b[8] & 0x3f) | 0x80;
	for (unsigned i = 0, at = 0; i < 16; i++) {
		if (i == 4 || i == 6 || i == 8 || i == 10)
			uuid[at++] = '-';
		at += (unsigned)sprintf(uuid + at, "%02x", b[i]);
	}
}

static int create(const char *parent, unsigned n)
{
	char path[512];

	make_uuid();
	snprintf(path, sizeof(path), BUSES "/%s/mdev_supported_types/" TYPE "%u/create", parent, n);
	if (write_text(path, uuid))
		return 0;
	uuid[0] = '\0';
	say_error("a %u%% part of the GPU: %s", 100 / n, errno == ENOSPC ? "not that much is left" : strerror(errno));
	return -1;
}

int vm_gpu(struct vm *vm, unsigned percent)
{
	char path[128];
	struct dirent *e;
	DIR *d = opendir(BUSES);
	unsigned n = 0;
	int err = -1;

	while (d && !n && (e = readdir(d))) {
		n = e->d_name[0] == '.' ? 0 : best_type(e->d_name, percent);
		if (n)
			err = create(e->d_name, n);
	}
	if (d)
		closedir(d);
	if (!n)
		say_error("--gpu: this kernel offers no virtual GPUs (" BUSES ")");
	if (err || vm_vfio(vm, uuid))
		return -1;
	snprintf(path, sizeof(path), "/sys/bus/mdev/devices/%s/remove_on_close", uuid);
	if (!write_text(path, "1"))
		say_error("%s: %s", path, strerror(errno));
	return 0;
}

void vm_gpu_remove(void)
{
	char path[128];

	if (!uuid[0])
		return;
	snprintf(path, sizeof(path), "/sys/bus/mdev/devices/%s/remove", uuid);
	write_text(path, "1"); /* most often it has gone by itself */
}

/* ---- the picture ---- */

int vm_picture(struct vm_picture *p)
{
	struct vfio_device_gfx_plane_info g = { .argsz = sizeof(g), .flags = VFIO_GFX_PLANE_TYPE_REGION };
	struct vfio_region_info r = { .argsz = sizeof(r) };
	uint8_t *raw;
	int fd = vm_vfio_fd(0);

	*p = (struct vm_picture){ 0 };
	if (fd < 0 || ioctl(fd, VFIO_DEVICE_QUERY_GFX_PLANE, &g) || !g.width || !g.height || g.size > 1U << 28 ||
	    g.stride < g.width * 4ULL || (uint64_t)g.stride * g.height > g.size)
		return -1;
	r.index = g.region_index;
	raw = malloc(g.size);
	p->rgb = malloc(3ULL * g.width * g.height);
	if (!raw || !p->rgb || ioctl(fd, VFIO_DEVICE_GET_REGION_INFO, &r) ||
	    pread(fd, raw, g.size, (off_t)r.offset) != (ssize_t)g.size) {
		free(raw);
		free(p->rgb);
		p->rgb = NULL;
		return -1;
	}
	p->width = g.width;
	p->height = g.height;
	for (uint32_t y = 0; y < g.height; y++)
		for (uint32_t x = 0; x < g.width; x++) {
			const uint8_t *from = raw + (size_t)y * g.stride + 4ULL * x; /* blue, green, red, unused */
			uint8_t *to = p->rgb + 3 * ((size_t)y * g.width + x);

			to[0] = from[2];
			to[1] = from[1];
			to[2] = from[0];
		}
	free(raw);
	return 0;
}

static uint32_t crc32(uint32_t crc, const uint8_t *p, size_t n)
{
	for (crc = ~crc; n--; p++) {
		crc ^= *p;
		for (int bit = 0; bit < 8; bit++)
			crc = crc >> 1 ^ (crc & 1 ? 0xedb88320 : 0);
	}
	return ~crc;
}

static void put32(uint8_t *at, uint32_t v)
{
	for (int i = 0; i < 4; i++)
		at[i] = (uint8_t)(v >> (24 - 8 * i));
}

static void chunk(FILE *f, const char *type, const uint8_t *data, size_t n)
{
	uint8_t head[8], tail[4];

	put32(head, (uint32_t)n);
	memcpy(head + 4, type, 4);
	put32(tail, crc32(crc32(0, head + 4, 4), data, n));
	fwrite(head, 1, 8, f);
	fwrite(data, 1, n, f);
	fwrite(tail, 1, 4, f);
}

/* zlib's frame around blocks that are stored as they are; the rows begin with filter 0. */
static void pixels(FILE *f, const struct vm_picture *p)
{
	size_t row = 1 + 3ULL * p->width, raw = row * p->height, n = 0;
	uint8_t *out = malloc(raw + 5 * (raw / 65535 + 1) + 6);
	uint32_t a = 1, b = 0;

	if (!out)
		return;
	out[n++] = 0x78;
	out[n++] = 0x01;
	for (size_t at = 0; at < raw; at++) {
		uint8_t byte = at % row ? p->rgb[at / row * (row - 1) + at % row - 1] : 0;
		size_t left = raw - at, block = left < 65535 ? left : 65535;

		if (at % 65535 == 0) {
			out[n++] = left <= 65535;
			out[n++] = (uint8_t)block;
			out[n++] = (uint8_t)(block >> 8);
			out[n++] = (uint8_t)~block;
			out[n++] = (uint8_t)(~block >> 8);
		}
		out[n++] = byte;
		a = (a + byte) % 65521;
		b = (b + a) % 65521;
	}
	put32(out + n, b << 16 | a);
	chunk(f, "IDAT", out, n + 4);
	free(out);
}

void vm_keep_picture(struct vm *vm)
{
	struct vm_picture p;

	if (!vm->screenshot || vm_picture(&p))
		return;
	vm_write_picture(&p, vm->screenshot, vm->picture);
	free(p.rgb);
	vm->screenshot = NULL;
}

int vm_write_picture(const struct vm_picture *p, const char *path, FILE *f)
{
	size_t n = strlen(path);
	uint8_t head[13] = { [8] = 8, [9] = 2 };

	if (n > 4 && !strcmp(path + n - 4, ".ppm")) {
		fprintf(f, "P6\n%u %u\n255\n", p->width, p->height);
		fwrite(p->rgb, 3, (size_t)p->width * p->height, f);
	} else {
		put32(head, p->width);
		put32(head + 4, p->height);
		fwrite("\x89PNG\r\n\x1a\n", 1, 8, f);
		chunk(f, "IHDR", head, sizeof(head));
		pixels(f, p);
		chunk(f, "IEND", NULL, 0);
	}
	return fclose(f) ? -1 : 0;
}
