/* SPDX-License-Identifier: MIT
 *
 * A client of a render node that needs no GL: submissions of a stated number of draws, memory, transfers, with the
 * ioctls of <drm/virtgpu_drm.h> alone. For the software GPU (`swgpu`), whose time is the draws'.
 *
 *   gpujobs frames SECONDS DRAWS [INFLIGHT]   submits frames for that long; prints how many were finished
 *   gpujobs count N DRAWS                     submits N and waits; exit 1 if one fails
 *   gpujobs flood N DRAWS                     submits N and waits for the last only; prints how many were finished
 *   gpujobs memory BYTES SIZE                 makes buffers of SIZE until refused or BYTES are there; prints the sum
 *   gpujobs pixels                            what is sent to the device comes back
 *   gpujobs hold BYTES                        holds a buffer until standard input ends
 *   gpujobs display                           shows two pictures on the card, flips, and asks the software GPU what it
 * shows; hands one to another file by PRIME
 */
#include <drm/drm.h>
#include <drm/drm_mode.h>
#include <drm/virtgpu_drm.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define DRAW_HEADER                                                                                                    \
	(8u | 12u << 16) /* VIRGL_CCMD_DRAW_VBO and its length: virglrenderer 0.10.4, src/virgl_protocol.h */
#define MAX_FLIGHT 16

static int fd;

static int create(uint32_t width, uint32_t height, uint32_t size, struct drm_virtgpu_resource_create *c)
{
	*c = (struct drm_virtgpu_resource_create){ .target = 2,
						   .format = 1,
						   .bind = 2,
						   .width = width,
						   .height = height,
						   .depth = 1,
						   .array_size = 1,
						   .size = size };
	return ioctl(fd, DRM_IOCTL_VIRTGPU_RESOURCE_CREATE, c) ? -errno : 0;
}

/* A fence's descriptor, or -errno. */
static int submit(unsigned draws)
{
	static uint32_t words[13 * 4096];
	struct drm_virtgpu_execbuffer e = { .flags = VIRTGPU_EXECBUF_FENCE_FD_OUT,
					    .size = draws * 13 * 4,
					    .command = (uintptr_t)words,
					    .fence_fd = -1 };

	for (unsigned i = 0; i < draws; i++) {
		memset(words + i * 13, 0, 13 * 4);
		words[i * 13] = DRAW_HEADER;
		words[i * 13 + 2] = 3; /* vertices */
		words[i * 13 + 5] = 1; /* instances */
	}
	return ioctl(fd, DRM_IOCTL_VIRTGPU_EXECBUFFER, &e) ? -errno : e.fence_fd;
}

/* Waits; the fence's status: 1, or -errno of the job. */
static int finish(int fence)
{
	struct pollfd p = { fence, POLLIN, 0 };
	struct {
		char name[32];
		int32_t status;
		uint32_t flags, num, pad;
		uint64_t info;
	} info = { .status = 0 };

	while (poll(&p, 1, -1) < 0 && errno == EINTR)
		;
	if (ioctl(fence, _IOWR('>', 4, info), &info))
		info.status = -errno;
	close(fence);
	return info.status;
}

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec + t.tv_nsec * 1e-9;
}

static int frames(double seconds, unsigned draws, unsigned flight)
{
	int fences[MAX_FLIGHT];
	unsigned long done = 0, sent = 0;
	double end = now() + seconds;

	while (now() < end) {
		int f = submit(draws);

		if (f < 0) {
			printf("lost %lu\n", done);
			return 1;
		}
		fences[sent++ % flight] = f;
		if (sent >= flight && finish(fences[sent % flight]) == 1)
			done++;
	}
	printf("%lu\n", done);
	return 0;
}

static int count(unsigned n, unsigned draws)
{
	for (unsigned i = 0; i < n; i++) {
		int f = submit(draws), status = f < 0 ? f : finish(f);

		if (status != 1) {
			printf("job %u: %s\n", i, strerror(-status));
			return 1;
		}
	}
	printf("%u\n", n);
	return 0;
}

static int flood(unsigned n, unsigned draws)
{
	unsigned sent = 0;
	int last = -1;

	for (int f; sent < n && (f = submit(draws)) >= 0; sent++) {
		close(last);
		last = f;
	}
	if (sent && finish(last) != 1)
		sent--;
	printf("%u\n", sent);
	return 0;
}

/* Buffers of SIZE: half of it is the device's (32-bit texels), half the memory behind it. */
static int memory(unsigned long bytes, unsigned long size)
{
	struct drm_virtgpu_resource_create c;
	unsigned long sum = 0;

	while (sum < bytes && !create(1024, size / 2 / 4096, size / 2, &c))
		sum += size;
	printf("%lu\n", sum);
	return 0;
}

static int transfer(struct drm_virtgpu_resource_create *c, unsigned long code)
{
	struct drm_virtgpu_3d_transfer_to_host t = { .bo_handle = c->bo_handle,
						     .box = { 0, 0, 0, c->width, c->height, 1 } };
	struct drm_virtgpu_3d_wait w = { .handle = c->bo_handle };

	return ioctl(fd, code, &t) || ioctl(fd, DRM_IOCTL_VIRTGPU_WAIT, &w);
}

static int pixels(void)
{
	struct drm_virtgpu_resource_create c;
	struct drm_virtgpu_map m;
	uint32_t *p;

	if (create(64, 64, 64 * 64 * 4, &c))
		return 1;
	m = (struct drm_virtgpu_map){ .handle = c.bo_handle };
	if (ioctl(fd, DRM_IOCTL_VIRTGPU_MAP, &m))
		return 2;
	p = mmap(NULL, 64 * 64 * 4, PROT_READ | PROT_WRITE, MAP_SHARED, fd, m.offset);
	if (p == MAP_FAILED)
		return 3;
	for (uint32_t i = 0; i < 64 * 64; i++)
		p[i] = i * 2654435761u;
	if (transfer(&c, DRM_IOCTL_VIRTGPU_TRANSFER_TO_HOST))
		return 4;
	memset(p, 0, 64 * 64 * 4);
	if (transfer(&c, DRM_IOCTL_VIRTGPU_TRANSFER_FROM_HOST))
		return 5;
	for (uint32_t i = 0; i < 64 * 64; i++)
		if (p[i] != i * 2654435761u)
			return 6;
	printf("same\n");
	return 0;
}

static int hold(unsigned long bytes)
{
	struct drm_virtgpu_resource_create c;
	char buf[64];

	if (create(1024, bytes / 2 / 4096, bytes / 2, &c)) {
		printf("refused\n");
		return 1;
	}
	printf("held\n");
	fflush(stdout);
	while (read(0, buf, sizeof(buf)) > 0)
		;
	return 0;
}

struct picture {
	struct drm_mode_create_dumb dumb;
	struct drm_mode_fb_cmd fb;
	uint32_t *pixels;
};

static int paint(struct picture *p, uint32_t seed)
{
	struct drm_mode_map_dumb m;

	p->dumb = (struct drm_mode_create_dumb){ .width = 1024, .height = 768, .bpp = 32 };
	if (ioctl(fd, DRM_IOCTL_MODE_CREATE_DUMB, &p->dumb))
		return -1;
	m = (struct drm_mode_map_dumb){ .handle = p->dumb.handle };
	if (ioctl(fd, DRM_IOCTL_MODE_MAP_DUMB, &m))
		return -1;
	p->pixels = mmap(NULL, p->dumb.size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, m.offset);
	if (p->pixels == MAP_FAILED)
		return -1;
	for (uint32_t i = 0; i < 1024 * 768; i++)
		p->pixels[i] = (i + seed) * 2654435761u;
	p->fb = (struct drm_mode_fb_cmd){
		.width = 1024, .height = 768, .pitch = p->dumb.pitch, .bpp = 32, .depth = 24, .handle = p->dumb.handle
	};
	return ioctl(fd, DRM_IOCTL_MODE_ADDFB, &p->fb);
}

/* CRC32C without inversions, as the software GPU's file has it. */
static uint32_t sum_of(const struct picture *p)
{
	const uint8_t *at = (const uint8_t *)p->pixels;
	uint32_t crc = ~0u;

	for (size_t n = 1024 * 768 * 4; n--;) {
		crc ^= *at++;
		for (int k = 0; k < 8; k++)
			crc = crc >> 1 ^ (crc & 1 ? 0x82f63b78 : 0);
	}
	return crc;
}

static int is_shown(const struct picture *p)
{
	unsigned sum = 0, width = 0, height = 0;
	FILE *f = fopen("/sys/module/swgpu/parameters/scanout", "r");
	int n = f ? fscanf(f, "%x %u %u", &sum, &width, &height) : 0;

	if (f)
		fclose(f);
	return n == 3 && sum == sum_of(p) && width == 1024 && height == 768;
}

/* What another file gets by a descriptor is the same memory. */
static int shared_by_prime(const struct picture *p)
{
	struct drm_prime_handle a = { .handle = p->dumb.handle, .flags = DRM_CLOEXEC | DRM_RDWR };
	struct drm_mode_map_dumb m;
	int other = open("/dev/dri/card0", O_RDWR | O_CLOEXEC);
	uint32_t *pixels;

	if (ioctl(fd, DRM_IOCTL_PRIME_HANDLE_TO_FD, &a) || ioctl(other, DRM_IOCTL_PRIME_FD_TO_HANDLE, &a))
		return 0;
	if (lseek(a.fd, 0, SEEK_END) != 1024 * 768 * 4)
		return 0;
	m = (struct drm_mode_map_dumb){ .handle = a.handle };
	if (ioctl(other, DRM_IOCTL_MODE_MAP_DUMB, &m))
		return 0;
	pixels = mmap(NULL, 4096, PROT_READ, MAP_SHARED, other, m.offset);
	close(other);
	close(a.fd);
	return pixels != MAP_FAILED && !memcmp(pixels, p->pixels, 4096); /* the mapping holds it */
}

static int display(void)
{
	struct drm_mode_modeinfo modes[16];
	uint32_t id, encoder;
	struct drm_mode_card_res res = { .crtc_id_ptr = (uintptr_t)&id, .count_crtcs = 1 };
	struct drm_mode_get_connector c = { .modes_ptr = (uintptr_t)modes,
					    .count_modes = 16,
					    .encoders_ptr = (uintptr_t)&encoder,
					    .count_encoders = 1 };
	struct drm_mode_crtc crtc = { .count_connectors = 1, .mode_valid = 1 };
	struct drm_mode_crtc_page_flip flip = { .flags = DRM_MODE_PAGE_FLIP_EVENT, .user_data = 42 };
	struct drm_event_vblank e = { .user_data = 0 };
	struct picture a, b;
	uint32_t connector;

	res.connector_id_ptr = (uintptr_t)&connector;
	res.count_connectors = 1;
	if (ioctl(fd, DRM_IOCTL_MODE_GETRESOURCES, &res) || res.count_crtcs != 1 || res.count_connectors != 1)
		return 1;
	c.connector_id = crtc.crtc_id = connector;
	if (ioctl(fd, DRM_IOCTL_MODE_GETCONNECTOR, &c) || c.connection != 1 || c.count_modes < 1 || c.count_modes > 16)
		return 2;
	if (paint(&a, 1) || paint(&b, 2))
		return 3;
	crtc.crtc_id = flip.crtc_id = id;
	crtc.set_connectors_ptr = (uintptr_t)&connector;
	crtc.mode = modes[0];
	crtc.fb_id = a.fb.fb_id;
	flip.fb_id = b.fb.fb_id;
	if (!ioctl(fd, DRM_IOCTL_MODE_PAGE_FLIP, &flip)) /* nothing is shown yet */
		return 4;
	if (ioctl(fd, DRM_IOCTL_MODE_SETCRTC, &crtc))
		return 5;
	if (ioctl(fd, DRM_IOCTL_MODE_PAGE_FLIP, &flip) || read(fd, &e, sizeof(e)) != sizeof(e))
		return 6;
	if (e.base.type != DRM_EVENT_FLIP_COMPLETE || e.user_data != 42 || e.crtc_id != id || !is_shown(&b))
		return 7;
	flip.fb_id = a.fb.fb_id;
	if (is_shown(&a) || ioctl(fd, DRM_IOCTL_MODE_PAGE_FLIP, &flip) || read(fd, &e, sizeof(e)) != sizeof(e))
		return 8;
	if (!is_shown(&a))
		return 9;
	if (!shared_by_prime(&a))
		return 10;
	printf("shown\n");
	return 0;
}

int main(int argc, char **argv)
{
	const char *what = argc > 1 ? argv[1] : "";
	unsigned long a = argc > 2 ? strtoul(argv[2], NULL, 0) : 0, b = argc > 3 ? strtoul(argv[3], NULL, 0) : 1;

	const char *node = strcmp(what, "display") ? "/dev/dri/renderD128" : "/dev/dri/card0";

	fd = open(node, O_RDWR | O_CLOEXEC);
	if (fd < 0) {
		perror(node);
		return 2;
	}
	if (!strcmp(what, "frames"))
		return frames(atof(argv[2]), b, argc > 4 ? strtoul(argv[4], NULL, 0) : 2);
	if (!strcmp(what, "count"))
		return count(a, b);
	if (!strcmp(what, "flood"))
		return flood(a, b);
	if (!strcmp(what, "memory"))
		return memory(a, b);
	if (!strcmp(what, "pixels"))
		return pixels();
	if (!strcmp(what, "hold"))
		return hold(a);
	if (!strcmp(what, "display"))
		return display();
	return 2;
}
