/* SPDX-License-Identifier: MIT
 *
 * A program that has a whole PCI function through vfio-pci, an NVMe controller, and looks at the borders of what it was
 * given: registers, the table of messages, addresses, pins, resets. The interface is Linux's, so are the answers.
 *
 *   vfiopci ADDRESS        prints `ok NAME` or `not ok NAME`; exit 1 if one fails
 *
 * At its end it gives up CAP_IPC_LOCK, to see the limit.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/pci_regs.h>
#include <linux/vfio.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define PAGE    4096UL
#define IOVA    0x100000UL
#define VERSION 8    /* NVMe's registers */
#define CONTROL 0x14 /* that a reset clears */

static int container, group, fd, failed;
static struct vfio_region_info bar, config;

static void ok(bool good, const char *name)
{
	printf("%s %s\n", good ? "ok" : "not ok", name);
	failed |= !good;
}

static int number_of(const char *path, int base)
{
	char text[32] = "";
	int f = open(path, O_RDONLY);

	if (f < 0 || read(f, text, sizeof(text) - 1) < 0)
		return -1;
	close(f);
	return (int)strtol(text, NULL, base);
}

static int open_all(const char *address)
{
	char path[160], link[256] = "";

	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/iommu_group", address);
	if (readlink(path, link, sizeof(link) - 1) < 0)
		return -1;
	snprintf(path, sizeof(path), "/dev/vfio/%s", strrchr(link, '/') + 1);
	container = open("/dev/vfio/vfio", O_RDWR);
	group = open(path, O_RDWR);
	if (container < 0 || group < 0 || ioctl(group, VFIO_GROUP_SET_CONTAINER, &container) ||
	    ioctl(container, VFIO_SET_IOMMU, VFIO_TYPE1v2_IOMMU))
		return -1;
	fd = ioctl(group, VFIO_GROUP_GET_DEVICE_FD, address);
	return fd < 0 ? -1 : 0;
}

static uint32_t get(const struct vfio_region_info *r, unsigned at, unsigned n)
{
	uint32_t v = 0;

	return pread(fd, &v, n, (off_t)(r->offset + at)) == (ssize_t)n ? v : 0xdeadbeef;
}

static bool find_region(struct vfio_region_info *r, unsigned n)
{
	*r = (struct vfio_region_info){ .argsz = sizeof(*r), .index = n };
	return ioctl(fd, VFIO_DEVICE_GET_REGION_INFO, r) == 0;
}

static void information(const char *address)
{
	struct vfio_device_info d = { .argsz = sizeof(d) };
	uint32_t all = VFIO_REGION_INFO_FLAG_READ | VFIO_REGION_INFO_FLAG_WRITE | VFIO_REGION_INFO_FLAG_MMAP;
	char path[96];

	ok(ioctl(fd, VFIO_DEVICE_GET_INFO, &d) == 0 && d.flags == (VFIO_DEVICE_FLAGS_PCI | VFIO_DEVICE_FLAGS_RESET) &&
		   d.num_regions == VFIO_PCI_NUM_REGIONS && d.num_irqs == VFIO_PCI_NUM_IRQS,
	   "device");
	ok(find_region(&bar, 0) && (bar.flags & all) == all && bar.size >= 4 * PAGE &&
		   find_region(&config, VFIO_PCI_CONFIG_REGION_INDEX) && config.size >= 256 &&
		   !(config.flags & VFIO_REGION_INFO_FLAG_MMAP),
	   "regions");
	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/vendor", address);
	ok((int)get(&config, PCI_VENDOR_ID, 2) == number_of(path, 16), "identity");
}

static unsigned table_offset(void)
{
	unsigned at = get(&config, PCI_CAPABILITY_LIST, 1);

	while (at && get(&config, at, 1) != PCI_CAP_ID_MSIX)
		at = get(&config, at + 1, 1);
	return at ? get(&config, at + PCI_MSIX_TABLE, 4) & PCI_MSIX_TABLE_OFFSET : 0;
}

static volatile uint32_t *map_page(unsigned long at, int flags)
{
	void *p = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, flags, fd, (off_t)(bar.offset + at));

	return p == MAP_FAILED ? NULL : p;
}

static void registers(void)
{
	volatile uint32_t *reg = map_page(0, MAP_SHARED);
	unsigned table = table_offset();

	ok(reg && reg[VERSION / 4] == get(&bar, VERSION, 4) && reg[VERSION / 4] >> 16,
	   "mapped registers are registers");
	ok(!map_page(0, MAP_PRIVATE) && errno == EINVAL, "there are no private copies of them");
	ok(table && !map_page(table & ~(PAGE - 1), MAP_SHARED) && errno == EINVAL && get(&bar, table, 4) == ~0U,
	   "the table of messages is out of reach");
	if (!reg)
		return;
	reg[CONTROL / 4] = 0x460000;
	ok(get(&bar, CONTROL, 4) == 0x460000, "written");
	ok(ioctl(fd, VFIO_DEVICE_RESET) == 0 && reg[CONTROL / 4] == 0, "reset");
	munmap((void *)reg, PAGE);
}

/* What a program may do to memory it may do to registers, as far as they can follow. */
static void rights(void)
{
	volatile uint32_t *reg = map_page(0, MAP_SHARED);
	int status = -1;
	pid_t child;

	if (!reg)
		return;
	ok(mprotect((void *)reg, PAGE, PROT_READ) == 0 && reg[VERSION / 4] == get(&bar, VERSION, 4), "only to be read");
	mprotect((void *)reg, PAGE, PROT_READ | PROT_WRITE);
	reg[CONTROL / 4] = 0x460000;
	ok(reg[CONTROL / 4] == 0x460000, "written again");
	child = fork();
	if (child == 0)
		_exit(reg[CONTROL / 4] == 0x460000 ? 0 : 1);
	ok(child > 0 && waitpid(child, &status, 0) == child && status == 0, "a child has them, too");
	ok(mremap((void *)reg, PAGE, 4 * PAGE, MREMAP_MAYMOVE) == MAP_FAILED, "no more than was asked for");
	munmap((void *)reg, PAGE);
}

/* A child reads registers all the time, while the function is reset; and after the descriptors are gone. */
static void beside_resets(void)
{
	volatile uint32_t *reg = map_page(0, MAP_SHARED);
	bool all = true;
	int status = -1;
	pid_t child;

	if (!reg)
		return;
	child = fork();
	if (child == 0)
		for (;;)
			(void)reg[VERSION / 4];
	for (int i = 0; i < 20; i++)
		all &= ioctl(fd, VFIO_DEVICE_RESET) == 0 && get(&bar, VERSION, 4) == reg[VERSION / 4];
	ok(child > 0 && all && waitpid(child, &status, WNOHANG) == 0, "resets while others read registers");
	kill(child, SIGKILL);
	waitpid(child, &status, 0);
	munmap((void *)reg, PAGE);
}

/* The last of all: a mapping alone keeps the device. */
static void after_closing(const char *address)
{
	volatile uint32_t *reg = map_page(0, MAP_SHARED);
	uint32_t version = get(&bar, VERSION, 4);
	char path[96];
	int f;

	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/driver/unbind", address);
	close(fd);
	close(group);
	close(container);
	ok(reg && reg[VERSION / 4] == version, "registers, the descriptors being closed");
	f = open(path, O_WRONLY);
	ok(write(f, address, strlen(address)) < 0 && errno == EBUSY && reg[VERSION / 4] == version,
	   "it stays while it is mapped");
	close(f);
	munmap((void *)reg, PAGE);
}

static int map_dma(uint64_t iova, void *at, uint64_t bytes)
{
	struct vfio_iommu_type1_dma_map m = { .argsz = sizeof(m),
					      .flags = VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE,
					      .vaddr = (uintptr_t)at,
					      .iova = iova,
					      .size = bytes };

	return ioctl(container, VFIO_IOMMU_MAP_DMA, &m) ? errno : 0;
}

static int pinned(void)
{
	char path[64], text[512] = "";
	int f;

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", container);
	f = open(path, O_RDONLY);
	if (f < 0 || read(f, text, sizeof(text) - 1) < 0 || !strstr(text, "pinned_pages:"))
		return -1;
	close(f);
	return atoi(strstr(text, "pinned_pages:") + 13);
}

static void drop_ipc_lock(void)
{
	struct __user_cap_header_struct h = { _LINUX_CAPABILITY_VERSION_3, 0 };
	struct __user_cap_data_struct c[2];

	syscall(SYS_capget, &h, c);
	c[0].effective &= ~(1U << CAP_IPC_LOCK);
	syscall(SYS_capset, &h, c);
}

static void memory(void)
{
	char *p = mmap(NULL, 64 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct vfio_iommu_type1_dma_unmap u = { .argsz = sizeof(u), .iova = IOVA, .size = 64 * PAGE };
	struct rlimit small = { 16 * PAGE, 16 * PAGE };
	volatile uint32_t *reg = map_page(0, MAP_SHARED);

	ok(map_dma(0xfee00000, p, PAGE) == EINVAL && map_dma(1ULL << 60, p, PAGE) == EINVAL, "addresses beyond");
	ok(map_dma(IOVA, (void *)reg, PAGE) == EFAULT && pinned() == 0, "registers are no memory");
	ok(map_dma(IOVA, p, 64 * PAGE) == 0 && pinned() == 64, "all that is mapped is pinned");
	ok(ioctl(container, VFIO_IOMMU_UNMAP_DMA, &u) == 0 && u.size == 64 * PAGE && pinned() == 0, "and given back");
	setrlimit(RLIMIT_MEMLOCK, &small);
	drop_ipc_lock();
	ok(map_dma(IOVA, p, 64 * PAGE) == ENOMEM && pinned() == 0, "not above the limit, and then nothing of it");
	ok(map_dma(IOVA, p, 16 * PAGE) == 0 && pinned() == 16, "up to the limit");
}

static void interrupts(void)
{
	struct {
		struct vfio_irq_set s;
		int32_t event;
	} set = { .s = { .argsz = sizeof(set),
			 .flags = VFIO_IRQ_SET_ACTION_TRIGGER | VFIO_IRQ_SET_DATA_EVENTFD,
			 .index = VFIO_PCI_MSIX_IRQ_INDEX,
			 .count = 1 },
		  .event = eventfd(0, EFD_NONBLOCK) };
	struct vfio_irq_info q = { .argsz = sizeof(q), .index = VFIO_PCI_INTX_IRQ_INDEX };
	struct pollfd p = { .events = POLLIN };
	uint64_t n;

	ok(ioctl(fd, VFIO_DEVICE_GET_IRQ_INFO, &q) == 0 && q.count == 0, "no line");
	ok(ioctl(fd, VFIO_DEVICE_SET_IRQS, &set) == 0, "a listener");
	set.s.flags = VFIO_IRQ_SET_ACTION_TRIGGER | VFIO_IRQ_SET_DATA_NONE;
	p.fd = set.event;
	ok(ioctl(fd, VFIO_DEVICE_SET_IRQS, &set) == 0 && poll(&p, 1, 5000) == 1 &&
		   read(set.event, &n, sizeof(n)) == sizeof(n) && n == 1,
	   "told");
	set.s.count = 0;
	ok(ioctl(fd, VFIO_DEVICE_SET_IRQS, &set) == 0 && read(set.event, &n, sizeof(n)) < 0, "no more");
}

int main(int argc, char **argv)
{
	if (argc != 2 || open_all(argv[1])) {
		printf("not ok open: %s\n", strerror(errno));
		return 1;
	}
	information(argv[1]);
	registers();
	rights();
	beside_resets();
	interrupts();
	memory();
	after_closing(argv[1]);
	return failed;
}
