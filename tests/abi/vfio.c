/* SPDX-License-Identifier: MIT
 *
 * Problem: a program must find the same behaviour here as on Linux, at its borders too.
 *
 * Idea: VFIO: the container by itself; then a mediated device of the kernel's sample driver (mdev_sample=1 on the
 * command line): made in sysfs, found by its group, its regions, memory, interrupts, copies and pins of our memory;
 * then the picture of a virtual GPU (swgpu), for one that shows nothing. Cases whose device or file is missing are
 * skipped: Linux has another sample.
 *
 * Contract: prints `ok NAME`, `skip NAME: why` or `not ok NAME: why` a case and exits 0 or 1.
 *
 * Locks: none.
 */
#include <fcntl.h>
#include <linux/pci_regs.h>
#include <linux/vfio.h>
#include <poll.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include "abi.h"

#define TYPES "/sys/class/mdev_bus/sample0/mdev_supported_types"
#define VGPU  "/sys/class/mdev_bus/gpu0/mdev_supported_types/ostrom_vgpu-4/create"
#define UUID  "8a0a7d2e-0b5f-4c57-9d3a-2f1f60f4a001"
#define BUS   "/sys/bus/mdev/devices/"
#define PAGE  4096UL
#define IOVA  0x100000UL

static struct {
	int container, group, fd;
} v;

static int write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY), n;

	if (fd < 0)
		return -1;
	n = (int)write(fd, text, strlen(text));
	close(fd);
	return n < 0 ? -1 : 0;
}

static int read_number(const char *path)
{
	char text[32] = "";
	int fd = open(path, O_RDONLY);

	if (fd < 0 || read(fd, text, sizeof(text) - 1) < 0)
		return -1;
	close(fd);
	return atoi(text);
}

static int open_group(const char *uuid)
{
	char path[256], link[256] = "", node[64];
	ssize_t n;

	snprintf(path, sizeof(path), BUS "%s/iommu_group", uuid);
	n = readlink(path, link, sizeof(link) - 1);
	if (n < 0)
		return -1;
	snprintf(node, sizeof(node), "/dev/vfio/%d", atoi(strrchr(link, '/') + 1));
	return open(node, O_RDWR);
}

static void attach(unsigned long type)
{
	v.container = open("/dev/vfio/vfio", O_RDWR);
	want(v.container >= 0);
	v.group = open_group(UUID);
	want(v.group >= 0);
	want_eq(ioctl(v.group, VFIO_GROUP_SET_CONTAINER, &v.container), 0);
	want_eq(ioctl(v.container, VFIO_SET_IOMMU, type), 0);
}

static void start_at(const char *create)
{
	want_eq(write_file(create, UUID), 0);
	attach(VFIO_TYPE1v2_IOMMU);
	v.fd = ioctl(v.group, VFIO_GROUP_GET_DEVICE_FD, UUID);
	want(v.fd >= 0);
}

static void start(const char *sample)
{
	char path[128];

	snprintf(path, sizeof(path), TYPES "/sample-%s/create", sample);
	start_at(path);
}

static void stop(void)
{
	close(v.fd);
	close(v.group);
	close(v.container);
	want_eq(write_file(BUS UUID "/remove", "1"), 0);
}

static uint64_t region(unsigned index)
{
	struct vfio_region_info i = { .argsz = sizeof(i), .index = index };

	want_eq(ioctl(v.fd, VFIO_DEVICE_GET_REGION_INFO, &i), 0);
	return i.offset;
}

static void put32(unsigned reg, uint32_t value)
{
	want_eq(pwrite(v.fd, &value, 4, (off_t)(region(0) + reg)), 4);
}

static uint32_t get32(unsigned reg)
{
	uint32_t value = 0;

	want_eq(pread(v.fd, &value, 4, (off_t)(region(0) + reg)), 4);
	return value;
}

static int command(uint32_t what, uint64_t address)
{
	put32(0x14, (uint32_t)address);
	put32(0x18, (uint32_t)(address >> 32));
	put32(0x1c, what);
	return (int)get32(0x20);
}

static int map(uint64_t iova, void *at, uint64_t bytes, uint32_t flags)
{
	struct vfio_iommu_type1_dma_map m = { sizeof(m), flags, (uintptr_t)at, iova, bytes };

	return ioctl(v.container, VFIO_IOMMU_MAP_DMA, &m);
}

static int64_t unmap(uint64_t iova, uint64_t bytes, uint32_t flags)
{
	struct vfio_iommu_type1_dma_unmap u = { sizeof(u), flags, iova, bytes };

	return ioctl(v.container, VFIO_IOMMU_UNMAP_DMA, &u) ? -1 : (int64_t)u.size;
}

static void *memory(unsigned pages)
{
	void *p = mmap(NULL, pages * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	want(p != MAP_FAILED);
	return p;
}

static int fired(int fd)
{
	struct pollfd p = { fd, POLLIN, 0 };
	uint64_t n;

	if (poll(&p, 1, 0) != 1)
		return 0;
	return read(fd, &n, sizeof(n)) == 8 ? (int)n : 0;
}

#define RW (VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE)

/* ---- a container by itself ---- */

CASE(container)
{
	int c = open("/dev/vfio/vfio", O_RDWR);
	struct vfio_iommu_type1_info i = { .argsz = sizeof(i) };
	struct stat st;

	want(c >= 0);
	want_eq(fstat(c, &st), 0);
	want_eq(st.st_rdev, 10 << 8 | 196);
	want_eq(ioctl(c, VFIO_GET_API_VERSION), VFIO_API_VERSION);
	want_eq(ioctl(c, VFIO_CHECK_EXTENSION, VFIO_TYPE1v2_IOMMU), 1);
	want_eq(ioctl(c, VFIO_CHECK_EXTENSION, VFIO_TYPE1_IOMMU), 1);
	want_eq(ioctl(c, VFIO_CHECK_EXTENSION, 1000), 0);
	want_errno(ioctl(c, VFIO_SET_IOMMU, VFIO_TYPE1v2_IOMMU), EINVAL); /* no group */
	want_errno(ioctl(c, VFIO_IOMMU_GET_INFO, &i), EINVAL);
	close(c);
}

/* ---- the device ---- */

CASE(life)
{
	int before = read_number(TYPES "/sample-1/available_instances");
	char link[256] = "";

	want(before > 0);
	want_errno(write_file(TYPES "/sample-1/create", "not-a-uuid"), EINVAL);
	want_errno(write_file(TYPES "/sample-1/create", "8a0a7d2e-0b5f-4c57-9d3a-2f1f60f4a0zz"), EINVAL);
	want_eq(write_file(TYPES "/sample-1/create", UUID "\n"), 0);
	want_errno(write_file(TYPES "/sample-2/create", UUID), EEXIST);
	want_eq(read_number(TYPES "/sample-1/available_instances"), before - 1);
	want_eq(access(TYPES "/sample-1/devices/" UUID, F_OK), 0);
	want_eq(access(BUS UUID "/mdev_type/available_instances", F_OK), 0);
	want(readlink(BUS UUID "/subsystem", link, sizeof(link) - 1) > 0);
	want(!strcmp(strrchr(link, '/'), "/mdev"));
	want_errno(write_file(BUS UUID "/remove", "x"), EINVAL);
	want_eq(write_file(BUS UUID "/remove", "0"), 0);
	want_eq(access(BUS UUID, F_OK), 0);
	want_eq(write_file(BUS UUID "/remove", "1\n"), 0);
	want_errno(access(BUS UUID, F_OK), ENOENT);
	want_eq(read_number(TYPES "/sample-1/available_instances"), before);
}

CASE(types_share_what_is_left)
{
	char uuid[40] = UUID, path[128];

	want_eq(read_number(TYPES "/sample-2/available_instances"), 2);
	for (int i = 0; i < 3; i++) {
		uuid[35] = (char)('1' + i);
		want_eq(write_file(TYPES "/sample-1/create", uuid), 0);
	}
	want_eq(read_number(TYPES "/sample-2/available_instances"), 0);
	uuid[35] = '9';
	want_errno(write_file(TYPES "/sample-2/create", uuid), ENOSPC);
	for (int i = 0; i < 3; i++) {
		uuid[35] = (char)('1' + i);
		snprintf(path, sizeof(path), BUS "%s/remove", uuid);
		want_eq(write_file(path, "1"), 0);
	}
}

CASE(group)
{
	struct vfio_group_status s = { .argsz = sizeof(s) };
	int bad = -1;

	want_eq(write_file(TYPES "/sample-1/create", UUID), 0);
	v.container = open("/dev/vfio/vfio", O_RDWR);
	v.group = open_group(UUID);
	want(v.group >= 0);
	want_errno(open_group(UUID), EBUSY);
	want_eq(ioctl(v.group, VFIO_GROUP_GET_STATUS, &s), 0);
	want_eq(s.flags, VFIO_GROUP_FLAGS_VIABLE);
	s.argsz = 4;
	want_errno(ioctl(v.group, VFIO_GROUP_GET_STATUS, &s), EINVAL);
	want_errno(ioctl(v.group, VFIO_GROUP_UNSET_CONTAINER), EINVAL);
	want_errno(ioctl(v.group, VFIO_GROUP_SET_CONTAINER, &bad), EBADF);
	want_errno(ioctl(v.group, VFIO_GROUP_SET_CONTAINER, &v.group), EINVAL);
	want_errno(ioctl(v.group, VFIO_GROUP_GET_DEVICE_FD, UUID), EINVAL);
	want_eq(ioctl(v.group, VFIO_GROUP_SET_CONTAINER, &v.container), 0);
	want_errno(ioctl(v.group, VFIO_GROUP_SET_CONTAINER, &v.container), EINVAL);
	want_errno(ioctl(v.container, VFIO_SET_IOMMU, 77), ENODEV);
	want_eq(ioctl(v.container, VFIO_SET_IOMMU, VFIO_TYPE1v2_IOMMU), 0);
	want_errno(ioctl(v.container, VFIO_SET_IOMMU, VFIO_TYPE1v2_IOMMU), EINVAL);
	s.argsz = sizeof(s);
	want_eq(ioctl(v.group, VFIO_GROUP_GET_STATUS, &s), 0);
	want_eq(s.flags, VFIO_GROUP_FLAGS_VIABLE | VFIO_GROUP_FLAGS_CONTAINER_SET);
	want_errno(ioctl(v.group, VFIO_GROUP_GET_DEVICE_FD, "nobody"), ENODEV);
	v.fd = ioctl(v.group, VFIO_GROUP_GET_DEVICE_FD, UUID);
	want(v.fd >= 0);
	want_errno(ioctl(v.group, VFIO_GROUP_UNSET_CONTAINER), EBUSY);
	want_errno(write_file(BUS UUID "/remove", "1"), EBUSY);
	close(v.group); /* the device keeps what it needs */
	want_eq(get32(0), 0x4c504d53);
	want_errno(open_group(UUID), EBUSY);
	v.group = -1;
	stop();
}

CASE(information)
{
	struct vfio_device_info d = { .argsz = sizeof(d) };
	struct {
		struct vfio_region_info i;
		uint8_t more[64];
	} r = { .i = { .argsz = sizeof(r.i) } };
	struct vfio_region_info_cap_sparse_mmap *sparse = (void *)r.more;
	struct vfio_irq_info q = { .argsz = sizeof(q), .index = VFIO_PCI_MSIX_IRQ_INDEX };

	start("2");
	want_eq(ioctl(v.fd, VFIO_DEVICE_GET_INFO, &d), 0);
	want(d.flags & VFIO_DEVICE_FLAGS_PCI);
	want(d.num_regions >= VFIO_PCI_CONFIG_REGION_INDEX + 1 && d.num_irqs >= VFIO_PCI_MSIX_IRQ_INDEX + 1);
	d.argsz = 8;
	want_errno(ioctl(v.fd, VFIO_DEVICE_GET_INFO, &d), EINVAL);
	want_eq(ioctl(v.fd, VFIO_DEVICE_GET_REGION_INFO, &r), 0);
	want_eq(r.i.size, 2 * PAGE);
	want(r.i.flags & VFIO_REGION_INFO_FLAG_CAPS);
	want(r.i.argsz > sizeof(r.i) && !r.i.cap_offset); /* how much it takes */
	want_eq(ioctl(v.fd, VFIO_DEVICE_GET_REGION_INFO, &r), 0);
	want_eq(r.i.cap_offset, sizeof(r.i));
	want_eq(sparse->header.id, VFIO_REGION_INFO_CAP_SPARSE_MMAP);
	want_eq(sparse->nr_areas, 1);
	want_eq(sparse->areas[0].offset, PAGE);
	want_eq(sparse->areas[0].size, PAGE);
	r.i = (struct vfio_region_info){ .argsz = sizeof(r.i), .index = 200 };
	want_errno(ioctl(v.fd, VFIO_DEVICE_GET_REGION_INFO, &r), EINVAL);
	want_eq(ioctl(v.fd, VFIO_DEVICE_GET_IRQ_INFO, &q), 0);
	want_eq(q.count, 2);
	want(q.flags & VFIO_IRQ_INFO_EVENTFD);
	q.index = 9;
	want_errno(ioctl(v.fd, VFIO_DEVICE_GET_IRQ_INFO, &q), EINVAL);
	want_errno(ioctl(v.fd, 0x3bff, &q), ENOTTY);
	stop();
}

CASE(config_space)
{
	uint64_t at;
	uint32_t bar;
	uint16_t word;
	uint8_t cap;

	start("2");
	at = region(VFIO_PCI_CONFIG_REGION_INDEX);
	want_eq(pread(v.fd, &word, 2, (off_t)at), 2);
	want_eq(word, 0x1234);
	word = 0xffff;
	want_eq(pwrite(v.fd, &word, 2, (off_t)at), 2);
	want_eq(pread(v.fd, &word, 2, (off_t)at), 2);
	want_eq(word, 0x1234);
	bar = ~0U;
	want_eq(pwrite(v.fd, &bar, 4, (off_t)(at + PCI_BASE_ADDRESS_0)), 4);
	want_eq(pread(v.fd, &bar, 4, (off_t)(at + PCI_BASE_ADDRESS_0)), 4);
	want_eq(~bar + 1, 2 * PAGE);
	want_eq(pread(v.fd, &cap, 1, (off_t)(at + PCI_CAPABILITY_LIST)), 1);
	want_eq(pread(v.fd, &word, 2, (off_t)(at + cap)), 2);
	want_eq(word & 0xff, PCI_CAP_ID_MSIX);
	want_errno(pread(v.fd, &word, 2, (off_t)region(3)), EINVAL); /* a BAR that is not there */
	want_eq(ioctl(v.fd, VFIO_DEVICE_RESET), 0);
	want_eq(pread(v.fd, &bar, 4, (off_t)(at + PCI_BASE_ADDRESS_0)), 4);
	want_eq(bar, 0);
	stop();
}

CASE(mapped_region)
{
	uint8_t *p, byte = 7;

	start("1");
	want(mmap(NULL, PAGE, PROT_READ, MAP_SHARED, v.fd, (off_t)region(0)) == MAP_FAILED);
	want(mmap(NULL, 2 * PAGE, PROT_READ, MAP_SHARED, v.fd, (off_t)(region(0) + PAGE)) == MAP_FAILED);
	p = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, v.fd, (off_t)(region(0) + PAGE));
	want(p != MAP_FAILED);
	p[100] = 42;
	want_eq(pread(v.fd, &byte, 1, (off_t)(region(0) + PAGE + 100)), 1);
	want_eq(byte, 42);
	byte = 43;
	want_eq(pwrite(v.fd, &byte, 1, (off_t)(region(0) + PAGE + 101)), 1);
	want_eq(p[101], 43);
	close(v.fd); /* the mapping keeps the device */
	want_errno(write_file(BUS UUID "/remove", "1"), EBUSY);
	p[102] = 1;
	munmap(p, PAGE);
	v.fd = -1;
	stop();
}

CASE(picture_of_a_vgpu)
{
	struct vfio_device_gfx_plane_info p = { .argsz = sizeof(p), .flags = VFIO_GFX_PLANE_TYPE_REGION };
	struct vfio_region_info i = { .argsz = sizeof(i) };
	uint8_t *at;

	start_at(VGPU);
	want_eq(ioctl(v.fd, VFIO_DEVICE_QUERY_GFX_PLANE, &p), 0);
	want_eq(p.width, 0);
	i.index = p.region_index;
	want_eq(ioctl(v.fd, VFIO_DEVICE_GET_REGION_INFO, &i), 0);
	want_eq(i.flags, VFIO_REGION_INFO_FLAG_READ | VFIO_REGION_INFO_FLAG_MMAP);
	want(mmap(NULL, i.size + PAGE, PROT_READ, MAP_SHARED, v.fd, (off_t)i.offset) == MAP_FAILED);
	want_errno((long)mmap(NULL, i.size, PROT_READ | PROT_WRITE, MAP_SHARED, v.fd, (off_t)i.offset), EACCES);
	at = mmap(NULL, i.size, PROT_READ, MAP_SHARED, v.fd, (off_t)i.offset);
	want(at != MAP_FAILED);
	want_errno(mprotect(at, PAGE, PROT_READ | PROT_WRITE), EACCES);
	for (uint64_t n = 0; n < i.size; n += PAGE)
		want_eq(at[n], 0);
	want_eq(ioctl(v.fd, VFIO_DEVICE_QUERY_GFX_PLANE, &p), 0); /* fills it again */
	want_eq(at[i.size - 1], 0);
	munmap(at, i.size);
	stop();
}

CASE(message_interrupts)
{
	struct {
		struct vfio_irq_set s;
		int32_t fd[2];
	} s = { .s = { sizeof(s), VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_TRIGGER, VFIO_PCI_MSIX_IRQ_INDEX, 0,
		       2 } };
	struct vfio_irq_set none = { sizeof(none), VFIO_IRQ_SET_DATA_NONE | VFIO_IRQ_SET_ACTION_TRIGGER,
				     VFIO_PCI_MSIX_IRQ_INDEX, 1, 1 };
	int a = eventfd(0, 0), b = eventfd(0, 0);

	start("2");
	put32(0xc, 0); /* nobody listens */
	s.fd[0] = a;
	s.fd[1] = b;
	want_eq(ioctl(v.fd, VFIO_DEVICE_SET_IRQS, &s), 0);
	put32(0xc, 1);
	want(!fired(a) && fired(b) == 1);
	want_eq(ioctl(v.fd, VFIO_DEVICE_SET_IRQS, &none), 0); /* loop-back */
	want(!fired(a) && fired(b) == 1);
	s.fd[0] = -1;
	s.s.count = 1;
	want_eq(ioctl(v.fd, VFIO_DEVICE_SET_IRQS, &s), 0);
	put32(0xc, 0);
	put32(0xc, 1);
	want(!fired(a) && fired(b) == 1);
	s.s.index = VFIO_PCI_INTX_IRQ_INDEX;
	s.fd[0] = a;
	want_errno(ioctl(v.fd, VFIO_DEVICE_SET_IRQS, &s), EINVAL); /* the other kind is in use */
	none.start = none.count = 0;
	want_eq(ioctl(v.fd, VFIO_DEVICE_SET_IRQS, &none), 0);
	put32(0xc, 1);
	want(!fired(b));
	stop();
	close(a);
	close(b);
}

CASE(wrong_interrupts)
{
	struct {
		struct vfio_irq_set s;
		int32_t fd[4];
	} s = { .s = { sizeof(s), VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_TRIGGER, VFIO_PCI_MSIX_IRQ_INDEX, 1,
		       2 } };
	struct vfio_irq_set good = s.s;

	start("2");
#define BAD(field, value)                                                                                              \
	s.s = good;                                                                                                    \
	s.s.field = value;                                                                                             \
	want_errno(ioctl(v.fd, VFIO_DEVICE_SET_IRQS, &s), EINVAL)
	BAD(count, 2); /* 1 + 2 > 2 */
	BAD(start, 2);
	BAD(count, 0xffffffff);
	BAD(index, 5);
	BAD(argsz, 4);
	BAD(flags, VFIO_IRQ_SET_DATA_EVENTFD);
	BAD(flags, VFIO_IRQ_SET_ACTION_TRIGGER);
	BAD(flags, 7 | VFIO_IRQ_SET_ACTION_TRIGGER);
	BAD(flags, 1 << 6 | VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_TRIGGER);
	good.start = 0;
	good.count = 1;
	BAD(argsz, sizeof(s.s)); /* no room for the descriptor */
	s.s = good;
	s.fd[0] = 9999;
	want_errno(ioctl(v.fd, VFIO_DEVICE_SET_IRQS, &s), EBADF);
	s.fd[0] = v.container;
	want_errno(ioctl(v.fd, VFIO_DEVICE_SET_IRQS, &s), EINVAL);
	s.s.index = VFIO_PCI_INTX_IRQ_INDEX; /* so no kind is in use yet */
	s.fd[0] = eventfd(0, EFD_NONBLOCK);
	want_eq(ioctl(v.fd, VFIO_DEVICE_SET_IRQS, &s), 0);
	close(s.fd[0]);
	stop();
}

CASE(line_interrupt)
{
	struct {
		struct vfio_irq_set s;
		int32_t fd[1];
	} s = { .s = { sizeof(s), VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_TRIGGER, VFIO_PCI_INTX_IRQ_INDEX, 0,
		       1 } };
	struct vfio_irq_set unmask = { sizeof(unmask), VFIO_IRQ_SET_DATA_NONE | VFIO_IRQ_SET_ACTION_UNMASK,
				       VFIO_PCI_INTX_IRQ_INDEX, 0, 1 };
	int e = eventfd(0, 0), again = eventfd(0, 0);
	uint64_t one = 1;

	start("1");
	s.fd[0] = e;
	want_eq(ioctl(v.fd, VFIO_DEVICE_SET_IRQS, &s), 0);
	put32(0x10, 1);
	want_eq(fired(e), 1);
	put32(0x10, 1);
	want_eq(fired(e), 0); /* masked by itself */
	want_eq(ioctl(v.fd, VFIO_DEVICE_SET_IRQS, &unmask), 0);
	want_eq(fired(e), 1); /* still high */
	put32(0x10, 0);
	want_eq(ioctl(v.fd, VFIO_DEVICE_SET_IRQS, &unmask), 0);
	want_eq(fired(e), 0);
	put32(0x10, 1);
	want_eq(fired(e), 1);
	s.s.flags = VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_UNMASK;
	s.fd[0] = again;
	want_eq(ioctl(v.fd, VFIO_DEVICE_SET_IRQS, &s), 0);
	want_eq(write(again, &one, 8), 8);
	for (int i = 0; i < 1000 && !fired(e); i++) {
		usleep(1000);
		want(i < 999);
	}
	stop();
	close(e);
	close(again);
}

CASE(device_memory_access)
{
	uint8_t *p = memory(2), *bar, got[16];

	start("1");
	bar = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, v.fd, (off_t)(region(0) + PAGE));
	want(bar != MAP_FAILED);
	want_eq(command(1, IOVA), EFAULT);
	want_eq(map(IOVA, p, 2 * PAGE, RW), 0);
	memset(p + PAGE / 2, 0x5a, PAGE);
	want_eq(command(1, IOVA + PAGE / 2), 0); /* across two pages */
	want(bar[0] == 0x5a && bar[PAGE - 1] == 0x5a);
	memset(bar, 0x33, PAGE);
	want_eq(command(2, IOVA), 0);
	want(p[0] == 0x33 && p[PAGE - 1] == 0x33 && p[PAGE] == 0x5a);
	want_eq(pread(v.fd, got, sizeof(got), (off_t)(region(0) + PAGE)), sizeof(got));
	want_eq(got[15], 0x33);
	want_eq(command(1, IOVA + PAGE + 1), EFAULT); /* runs past the end */
	want_eq(unmap(IOVA, 2 * PAGE, 0), 2 * PAGE);
	want_eq(command(1, IOVA), EFAULT);
	want_eq(map(IOVA, p, PAGE, VFIO_DMA_MAP_FLAG_READ), 0);
	want_eq(command(1, IOVA), 0);
	want_eq(command(2, IOVA), EFAULT);
	munmap(bar, PAGE);
	stop();
	munmap(p, 2 * PAGE);
}

CASE(maps)
{
	uint8_t *p = memory(4);

	start("1");
	want_eq(map(IOVA, p, 2 * PAGE, RW), 0);
	want_errno(map(IOVA, p, 2 * PAGE, RW), EEXIST);
	want_errno(map(IOVA + PAGE, p, 2 * PAGE, RW), EEXIST);
	want_errno(map(IOVA - PAGE, p, 2 * PAGE, RW), EEXIST);
	want_errno(map(IOVA + 2 * PAGE, p, 0, RW), EINVAL);
	want_errno(map(IOVA + 2 * PAGE, p, PAGE, 0), EINVAL);
	want_errno(map(IOVA + 2 * PAGE + 1, p, PAGE, RW), EINVAL);
	want_errno(map(IOVA + 2 * PAGE, p + 1, PAGE, RW), EINVAL);
	want_errno(map(IOVA + 2 * PAGE, p, PAGE, 0x80 | RW), EINVAL);
	want_errno(map(~0xfffUL, p, 2 * PAGE, RW), EINVAL);
	want_eq(map(IOVA + 2 * PAGE, p + 2 * PAGE, PAGE, RW), 0);
	want_errno(unmap(IOVA + PAGE, PAGE, 0), EINVAL); /* cuts a map */
	want_errno(unmap(IOVA, PAGE, 0), EINVAL);
	want_errno(unmap(IOVA, 0, 0), EINVAL);
	want_eq(unmap(IOVA + 8 * PAGE, PAGE, 0), 0);
	want_eq(unmap(IOVA - 4 * PAGE, 64 * PAGE, 0), 3 * PAGE);
	want_eq(map(IOVA, p, PAGE, RW), 0);
	want_eq(map(8 * IOVA, p, PAGE, RW), 0);
	want_errno(unmap(IOVA, PAGE, VFIO_DMA_UNMAP_FLAG_ALL), EINVAL);
	want_eq(unmap(0, 0, VFIO_DMA_UNMAP_FLAG_ALL), 2 * PAGE);
	stop();
	munmap(p, 4 * PAGE);
}

CASE(iommu_info)
{
	struct {
		struct vfio_iommu_type1_info i;
		uint8_t more[256];
	} i = { .i = { .argsz = sizeof(i) } };
	struct vfio_info_cap_header *h;

	start("1");
	want_eq(ioctl(v.container, VFIO_IOMMU_GET_INFO, &i), 0);
	want(i.i.flags & VFIO_IOMMU_INFO_PGSIZES);
	want(i.i.iova_pgsizes & PAGE);
	want(i.i.flags & VFIO_IOMMU_INFO_CAPS);
	h = (void *)((uint8_t *)&i + i.i.cap_offset);
	while (h->id != VFIO_IOMMU_TYPE1_INFO_DMA_AVAIL) {
		want(h->next);
		h = (void *)((uint8_t *)&i + h->next);
	}
	want_eq(((struct vfio_iommu_type1_info_dma_avail *)h)->avail, 65535);
	stop();
}

CASE(pins)
{
	uint8_t *p = memory(2);

	start("1");
	want_eq(map(IOVA, p, PAGE, RW), 0);
	want_eq(map(IOVA + PAGE, p + PAGE, PAGE, RW), 0);
	want_eq(command(3, IOVA + 1), EFAULT);
	want_eq(command(3, IOVA), 0);
	want_eq(command(3, IOVA + PAGE), 0);
	want_eq(get32(0x24), 2);
	want_eq(unmap(IOVA, PAGE, 0), PAGE); /* the driver gives it back */
	want_eq(get32(0x24), 1);
	want_eq(ioctl(v.fd, VFIO_DEVICE_RESET), 0);
	want_eq(get32(0x24), 0);
	stop();
	munmap(p, 2 * PAGE);
}

CASE(doorbell)
{
	struct vfio_device_ioeventfd e = { .argsz = sizeof(e), .flags = VFIO_DEVICE_IOEVENTFD_32, .data = 1 };
	int fd = eventfd(0, 0);
	uint64_t one = 1;

	start("1");
	e.offset = region(0) + 8;
	e.fd = fd;
	want_eq(ioctl(v.fd, VFIO_DEVICE_IOEVENTFD, &e), 0);
	want_errno(ioctl(v.fd, VFIO_DEVICE_IOEVENTFD, &e), EEXIST);
	want_eq(write(fd, &one, 8), 8);
	for (int i = 0; i < 1000 && get32(4) != 1; i++) {
		usleep(1000);
		want(i < 999);
	}
	e.fd = -1;
	want_eq(ioctl(v.fd, VFIO_DEVICE_IOEVENTFD, &e), 0);
	want_errno(ioctl(v.fd, VFIO_DEVICE_IOEVENTFD, &e), ENODEV);
	e.offset++;
	want_errno(ioctl(v.fd, VFIO_DEVICE_IOEVENTFD, &e), EINVAL);
	want_eq(write(fd, &one, 8), 8);
	want_eq(get32(4), 1);
	stop();
	close(fd);
}

CASE(goes_when_closed)
{
	start("1");
	want_eq(write_file(BUS UUID "/remove_on_close", "1"), 0);
	close(v.fd);
	close(v.group);
	close(v.container);
	for (int i = 0; i < 1000 && !access(BUS UUID, F_OK); i++) {
		usleep(1000);
		want(i < 999);
	}
	want_eq(read_number(TYPES "/sample-1/available_instances"), 4);
}

static const struct {
	const char *name;
	void (*fn)(void);
} cases[] = {
#define ROW(n)                                                                                                         \
	{                                                                                                              \
#n, case_##n                                                                                           \
	}
	ROW(life),
	ROW(types_share_what_is_left),
	ROW(group),
	ROW(information),
	ROW(config_space),
	ROW(mapped_region),
	ROW(iommu_info),
	ROW(maps),
	ROW(pins),
	ROW(device_memory_access),
	ROW(doorbell),
	ROW(message_interrupts),
	ROW(line_interrupt),
	ROW(wrong_interrupts),
	ROW(goes_when_closed),
};

int main(void)
{
	int has = access("/dev/vfio/vfio", R_OK | W_OK) == 0, sample = access(TYPES, F_OK) == 0;

	if (has)
		RUN(container);
	else
		printf("skip container: no /dev/vfio/vfio\n");
	for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		if (sample)
			abi_run(cases[i].name, cases[i].fn);
		else
			printf("skip %s: no sample device\n", cases[i].name);
	}
	if (has && !access(VGPU, F_OK))
		RUN(picture_of_a_vgpu);
	else
		printf("skip picture_of_a_vgpu: no virtual GPU\n");
	return abi_status();
}
