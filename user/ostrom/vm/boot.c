/* SPDX-License-Identifier: MIT
 *
 * Problem: a kernel file must come to lie where it wants to, and be told of memory, command line, initrd and firmware
 * tables.
 *
 * Idea: the PVH protocol: an ELF file whose note names a 32-bit entry, and one structure with pointers to the rest.
 * What we make lies in the first megabyte, the initrd as high as it goes below 3 GiB.
 *
 *      0x6000 start info   0x6100 modules   0x6200 memory map   0x7000 command line   0xe0000 ACPI   ...initrd end of
 * RAM
 *
 * Contract: vm_load: 0, or -1 with a message that names the file and what is wrong with it. Every offset and size of
 * the file is checked against the file and the guest's memory. Sources: Xen's docs/misc/pvh.pandoc and
 * public/arch-x86/hvm/start_info.h (layout); ELF-64 object file format.
 *
 * Locks: none; before the CPUs run.
 */
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <lib/pvh.h>
#include "ostrom.h"
#include "virtio.h"

#define START_INFO  0x6000
#define MODULES     0x6100
#define MEMORY_MAP  0x6200
#define CMDLINE     0x7000
#define CMDLINE_MAX 0x1000
#define ACPI        0xe0000
#define NOTE_ENTRY  18

struct file {
	const uint8_t *data;
	size_t bytes;
};

static int open_file(const char *path, struct file *f)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct stat st;

	if (fd < 0 || fstat(fd, &st)) {
		say_error("%s: %s", path, strerror(errno));
		if (fd >= 0)
			close(fd);
		return -1;
	}
	f->bytes = (size_t)st.st_size;
	f->data = f->bytes ? mmap(NULL, f->bytes, PROT_READ, MAP_PRIVATE, fd, 0) : NULL;
	close(fd);
	if (!f->data || f->data == MAP_FAILED) {
		say_error("%s: cannot be read", path);
		return -1;
	}
	return 0;
}

static bool inside(const struct file *f, uint64_t offset, uint64_t bytes)
{
	return offset <= f->bytes && bytes <= f->bytes - offset;
}

/* ---- the kernel ---- */

static uint32_t find_entry(const struct file *f, const Elf64_Phdr *p)
{
	for (uint64_t at = 0; at + sizeof(Elf64_Nhdr) <= p->p_filesz;) {
		const Elf64_Nhdr *n = (const void *)(f->data + p->p_offset + at);
		uint64_t name = at + sizeof(*n), desc = name + ((n->n_namesz + 3ULL) & ~3ULL);
		uint32_t entry;

		if (desc + n->n_descsz > p->p_filesz)
			return 0;
		if (n->n_type == NOTE_ENTRY && n->n_namesz == 4 && n->n_descsz >= 4 &&
		    !memcmp(f->data + p->p_offset + name, "Xen", 4)) {
			memcpy(&entry, f->data + p->p_offset + desc, sizeof(entry));
			return entry;
		}
		at = desc + ((n->n_descsz + 3ULL) & ~3ULL);
	}
	return 0;
}

static int load_segment(struct vm *vm, const struct file *f, const Elf64_Phdr *p, const char *path)
{
	uint8_t *to = vm_memory(vm, p->p_paddr, p->p_memsz);

	if (!inside(f, p->p_offset, p->p_filesz) || p->p_filesz > p->p_memsz) {
		say_error("%s: a segment lies beyond the file's end", path);
		return -1;
	}
	if (!to) {
		say_error("%s: needs more memory (a segment at %#llx)", path, (unsigned long long)p->p_paddr);
		return -1;
	}
	memcpy(to, f->data + p->p_offset, p->p_filesz);
	return 0;
}

static int load_kernel(struct vm *vm, const char *path)
{
	const Elf64_Ehdr *e;
	struct file f;
	int err = 0;

	if (open_file(path, &f))
		return -1;
	e = (const void *)f.data;
	if (f.bytes < sizeof(*e) || memcmp(e->e_ident, ELFMAG, SELFMAG) || e->e_ident[EI_CLASS] != ELFCLASS64 ||
	    e->e_machine != EM_X86_64 || e->e_phentsize != sizeof(Elf64_Phdr) ||
	    !inside(&f, e->e_phoff, (uint64_t)e->e_phnum * sizeof(Elf64_Phdr))) {
		say_error("%s: not a 64-bit ELF file for x86 (of Linux, take vmlinux, not vmlinuz)", path);
		err = -1;
	}
	for (unsigned i = 0; !err && i < e->e_phnum; i++) {
		const Elf64_Phdr *p = (const void *)(f.data + e->e_phoff + i * sizeof(*p));

		if (p->p_type == PT_LOAD && p->p_memsz)
			err = load_segment(vm, &f, p, path);
		else if (p->p_type == PT_NOTE && inside(&f, p->p_offset, p->p_filesz) && !vm->entry)
			vm->entry = find_entry(&f, p);
	}
	munmap((void *)f.data, f.bytes);
	if (!err && !vm->entry) {
		say_error("%s: no PVH entry", path);
		err = -1;
	}
	return err;
}

/* ---- the rest ---- */

static int load_initrd(struct vm *vm, const char *path, struct pvh_module *m)
{
	uint64_t low = vm->bytes < VM_LOW_LIMIT ? vm->bytes : VM_LOW_LIMIT;
	struct file f;

	if (open_file(path, &f))
		return -1;
	if (f.bytes > low / 2) {
		say_error("%s: %zu bytes do not fit beside the kernel", path, f.bytes);
		munmap((void *)f.data, f.bytes);
		return -1;
	}
	*m = (struct pvh_module){ .paddr = (low - f.bytes) & ~0xfffULL, .size = f.bytes };
	memcpy(vm_memory(vm, m->paddr, m->size), f.data, f.bytes);
	munmap((void *)f.data, f.bytes);
	return 0;
}

static unsigned write_map(struct vm *vm, struct pvh_memmap *m)
{
	uint64_t low = vm->bytes < VM_LOW_LIMIT ? vm->bytes : VM_LOW_LIMIT;
	unsigned n = 0;

	m[n++] = (struct pvh_memmap){ 0, 0xa0000, PVH_TYPE_RAM, 0 };
	m[n++] = (struct pvh_memmap){ ACPI, 0x20000, PVH_TYPE_RESERVED, 0 };
	m[n++] = (struct pvh_memmap){ 0x100000, low - 0x100000, PVH_TYPE_RAM, 0 };
	if (vm->bytes > low)
		m[n++] = (struct pvh_memmap){ VM_HIGH, vm->bytes - low, PVH_TYPE_RAM, 0 };
	return n;
}

static int write_cmdline(struct vm *vm, const struct vm_options *o)
{
	char *to = vm_memory(vm, CMDLINE, CMDLINE_MAX), devices[VIRTIO_MAX * 64] = "";
	const char *dashes = strstr(o->append, " -- ");
	int before = dashes ? (int)(dashes - o->append) : (int)strlen(o->append), n;

	for (unsigned i = 0; virtio_nth(i); i++)
		sprintf(devices + strlen(devices), " virtio_mmio.device=0x%llx@0x%llx:%u", VIRTIO_STEP,
			(unsigned long long)virtio_base(i), virtio_nth(i)->irq);
	n = snprintf(to, CMDLINE_MAX, "%.*s%s%s", before, o->append, devices, o->append + before);
	if (n >= CMDLINE_MAX) {
		say_error("the command line is longer than %d bytes", CMDLINE_MAX);
		return -1;
	}
	return 0;
}

int vm_load(struct vm *vm, const struct vm_options *o)
{
	struct pvh_start_info *s = vm_memory(vm, START_INFO, sizeof(*s));
	struct pvh_module *m = vm_memory(vm, MODULES, sizeof(*m));

	if (load_kernel(vm, o->kernel) || write_cmdline(vm, o) || (o->initrd && load_initrd(vm, o->initrd, m)))
		return -1;
	*s = (struct pvh_start_info){ .magic = PVH_MAGIC,
				      .version = 1,
				      .nr_modules = o->initrd != NULL,
				      .modules = o->initrd ? MODULES : 0,
				      .cmdline = CMDLINE,
				      .rsdp = vm_acpi(vm, ACPI),
				      .memmap = MEMORY_MAP };
	s->memmap_entries = write_map(vm, vm_memory(vm, MEMORY_MAP, 0x400));
	vm->start_info = START_INFO;
	return 0;
}
