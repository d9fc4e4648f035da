/* SPDX-License-Identifier: MIT
 *
 * Problem: a machine with UEFI firmware starts an EFI application, not an ELF file at a PVH entry.
 *
 * Idea: this is that application: it carries the kernel's file. It puts the kernel where that is linked, at 1 MiB,
 * makes the same start info of what firmware knows (memory map, ACPI tables, command line, initrd) as a PVH loader
 * would, leaves boot services and goes to the kernel's one entry. So everything behind knows one way to start.
 *
 *      options ─> command line    LoadFile2 (Linux's initrd media path), or initrd=FILE on our volume ─> initrd
 *      configuration table ─> RSDP    memory map, neighbours joined ─> map of the start info
 *
 * Contract: UEFI 2.10. On failure the firmware gets an error back, and a line stands on its console; boot services are
 * then still there. The start info and all that it names lie below 4 GiB, in memory that counts as free: the kernel
 * copies them before it allocates.
 *
 * Locks: none; there is one CPU. No variables: all is position independent without relocations.
 */
#include <lib/pvh.h>
#include <linux/elf.h>

#include "efi.h"

#define MAP_MOST  128
#define BELOW_4G  0xffffffffUL
#define MAP_BYTES (64 * 1024UL)

struct handover { /* below 4 GiB; executable */
	u8 code[256];
	u64 gdt[3];
	struct {
		u16 limit;
		u64 base;
	} __packed gdt_pointer;
	struct pvh_start_info info;
	struct pvh_module initrd;
	struct pvh_memmap map[MAP_MOST];
	char cmdline[4096];
	u8 firmware_map[MAP_BYTES];
};

struct path { /* of the initrd: a vendor's media path, and its end */
	u8 type, subtype;
	u16 bytes;
	struct efi_guid vendor;
	u8 end_type, end_subtype;
	u16 end_bytes;
} __packed;

/* Hidden, or their addresses may be made absolute by the linker. */
#pragma GCC visibility push(hidden)
extern const u8 efi_kernel[], efi_leave_code[], efi_leave_code_end[];
void __noreturn efi_leave(u64 start_info, u64 entry, const void *code, const void *gdt_pointer);
u64 EFIAPI efi_main(void *image, struct efi_system_table *system);
#pragma GCC visibility pop

static void copy(void *to, const void *from, u64 bytes)
{
	__asm__ volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(bytes) : : "memory");
}

static void zero(void *to, u64 bytes)
{
	__asm__ volatile("rep stosb" : "+D"(to), "+c"(bytes) : "a"(0) : "memory");
}

static bool same(const struct efi_guid *a, const struct efi_guid *b)
{
	const u64 *x = (const u64 *)a, *y = (const u64 *)b;

	return x[0] == y[0] && x[1] == y[1];
}

/* The firmware wants 16 bits a character. */
static void print(struct efi_system_table *system, const char *text)
{
	u16 one[2] = { 0 };

	for (; *text; text++) {
		one[0] = (u8)*text;
		system->output->print(system->output, one);
	}
}

static u64 failed(struct efi_system_table *system, const char *why)
{
	print(system, "ostrom: ");
	print(system, why);
	print(system, "\r\n");
	return EFI_LOAD_ERROR;
}

static void *allocate(struct efi_system_table *system, u32 type, u64 bytes)
{
	u64 at = BELOW_4G, pages = (bytes + EFI_PAGE - 1) / EFI_PAGE;

	return system->boot->allocate_pages(EFI_ALLOCATE_BELOW, type, pages, &at) ? NULL : (void *)at;
}

static struct efi_loaded_image *loaded_image(void *image, struct efi_system_table *system)
{
	const struct efi_guid protocol = {
		0x5b1b31a1, 0x9562, 0x11d2, { 0x8e, 0x3f, 0, 0xa0, 0xc9, 0x69, 0x72, 0x3b }
	};
	struct efi_loaded_image *loaded = NULL;

	return system->boot->handle_protocol(image, &protocol, (void **)&loaded) ? NULL : loaded;
}

/* The options are text of 16-bit characters; what is not ASCII becomes a question mark. */
static void take_options(const struct efi_loaded_image *loaded, struct handover *h)
{
	for (unsigned n = 0; loaded && n < loaded->options_bytes / 2 && n < sizeof(h->cmdline) - 1; n++) {
		u16 c = loaded->options[n];

		if (!c)
			break;
		h->cmdline[n] = c < 128 ? (char)c : '?';
	}
	h->info.cmdline = (u64)h->cmdline;
}

static void set_initrd(struct handover *h, const void *at, u64 bytes)
{
	h->initrd.paddr = (u64)at;
	h->initrd.size = bytes;
	h->info.modules = (u64)&h->initrd;
	h->info.nr_modules = 1;
}

/* From whoever started us and offers one. 1; 0: nobody does; -1: it cannot be read. */
static int initrd_offered(struct efi_system_table *system, struct handover *h)
{
	const struct efi_guid protocol = {
		0x4006c0c1, 0xfcb3, 0x403e, { 0x99, 0x6d, 0x4a, 0x6c, 0x87, 0x24, 0xe0, 0x6d }
	};
	struct path path = { 4,    3,
			     20,   { 0x5568e427, 0x68fc, 0x4f3d, { 0xac, 0x74, 0xca, 0x55, 0x52, 0x31, 0xcc, 0x68 } },
			     0x7f, 0xff,
			     4 };
	struct efi_load_file *file;
	void *at = &path, *handle, *buffer;
	u64 bytes = 0;

	if (system->boot->locate_device_path(&protocol, &at, &handle) ||
	    system->boot->handle_protocol(handle, &protocol, (void **)&file) ||
	    file->load(file, at, 0, &bytes, NULL) != EFI_BUFFER_TOO_SMALL)
		return 0;
	buffer = allocate(system, EFI_LOADER_DATA, bytes);
	if (!buffer || file->load(file, at, 0, &bytes, buffer))
		return -1;
	set_initrd(h, buffer, bytes);
	return 1;
}

/* The word behind initrd= as firmware names files. False: there is none. */
static bool initrd_name(const char *cmdline, u16 *name, unsigned size)
{
	static const char key[] = "initrd=";
	const char *s = cmdline;
	unsigned n = 0;

	for (; *s; s++) {
		for (n = 0; key[n] && s[n] == key[n]; n++)
			;
		if (!key[n] && (s == cmdline || s[-1] == ' '))
			break;
	}
	if (!*s)
		return false;
	for (s += sizeof(key) - 1, n = 0; s[n] && s[n] != ' ' && n < size - 1; n++)
		name[n] = s[n] == '/' ? '\\' : (u16)s[n];
	name[n] = 0;
	return true;
}

/* The file of that name on the volume that we come from. False: it cannot be read. */
static bool initrd_of_volume(struct efi_loaded_image *loaded, struct efi_system_table *system, struct handover *h)
{
	const struct efi_guid protocol = {
		0x964e5b22, 0x6459, 0x11d2, { 0x8e, 0x39, 0, 0xa0, 0xc9, 0x69, 0x72, 0x3b }
	};
	struct efi_volume *volume;
	struct efi_file *root, *file;
	u16 name[256];
	void *buffer;
	u64 bytes;

	if (!loaded || !initrd_name(h->cmdline, name, 256))
		return true;
	if (system->boot->handle_protocol(loaded->device, &protocol, (void **)&volume) || volume->open(volume, &root) ||
	    root->open(root, &file, name, EFI_FILE_READ, 0) || file->seek(file, EFI_FILE_END) ||
	    file->position(file, &bytes) || file->seek(file, 0))
		return false;
	buffer = allocate(system, EFI_LOADER_DATA, bytes);
	if (!buffer || file->read(file, &bytes, buffer))
		return false;
	set_initrd(h, buffer, bytes);
	return true;
}

static void take_acpi(const struct efi_system_table *system, struct handover *h)
{
	const struct efi_guid new = { 0x8868e871, 0xe4f1, 0x11d3, { 0xbc, 0x22, 0, 0x80, 0xc7, 0x3c, 0x88, 0x81 } };
	const struct efi_guid old = { 0xeb9d2d30, 0x2d88, 0x11d3, { 0x9a, 0x16, 0, 0x90, 0x27, 0x3f, 0xc1, 0x4d } };

	for (u64 i = 0; i < system->nr_tables; i++) {
		const struct efi_table *t = &system->tables[i];

		if (same(&t->guid, &new) || (same(&t->guid, &old) && !h->info.rsdp))
			h->info.rsdp = (u64)t->address;
	}
}

/* The kernel to its place. False: firmware needs the memory there. */
static bool place_kernel(struct efi_system_table *system)
{
	const Elf64_Ehdr *e = (const Elf64_Ehdr *)efi_kernel;
	const Elf64_Phdr *p = (const Elf64_Phdr *)(efi_kernel + e->e_phoff);
	u64 first = ~0UL, end = 0;

	for (unsigned i = 0; i < e->e_phnum; i++)
		if (p[i].p_type == PT_LOAD) {
			first = p[i].p_paddr < first ? p[i].p_paddr : first;
			end = p[i].p_paddr + p[i].p_memsz > end ? p[i].p_paddr + p[i].p_memsz : end;
		}
	if (system->boot->allocate_pages(EFI_ALLOCATE_AT, EFI_LOADER_DATA, (end - first + EFI_PAGE - 1) / EFI_PAGE,
					 &first))
		return false;
	for (unsigned i = 0; i < e->e_phnum; i++)
		if (p[i].p_type == PT_LOAD) {
			copy((void *)p[i].p_paddr, efi_kernel + p[i].p_offset, p[i].p_filesz);
			zero((void *)(p[i].p_paddr + p[i].p_filesz), p[i].p_memsz - p[i].p_filesz);
		}
	return true;
}

static bool is_free(u32 type)
{
	return type == EFI_CONVENTIONAL || (type >= EFI_LOADER_CODE && type <= EFI_BOOT_DATA);
}

static void make_map(struct handover *h, u64 bytes, u64 stride)
{
	unsigned n = 0;

	for (u64 at = 0; at + stride <= bytes; at += stride) {
		const struct efi_memory_descriptor *d = (const void *)(h->firmware_map + at);

		if (!is_free(d->type))
			continue;
		if (n && h->map[n - 1].addr + h->map[n - 1].size == d->physical)
			h->map[n - 1].size += d->pages * EFI_PAGE;
		else if (n < MAP_MOST)
			h->map[n++] = (struct pvh_memmap){ .addr = d->physical,
							   .size = d->pages * EFI_PAGE,
							   .type = PVH_TYPE_RAM };
	}
	h->info.memmap = (u64)h->map;
	h->info.memmap_entries = n;
}

/* The map is that of the moment: if firmware has changed it since we asked, we ask again. */
static bool leave_boot_services(void *image, struct efi_system_table *system, struct handover *h)
{
	for (int tries = 0; tries < 8; tries++) {
		u64 bytes = sizeof(h->firmware_map), key, stride;
		u32 version;

		if (system->boot->get_memory_map(&bytes, h->firmware_map, &key, &stride, &version))
			return false;
		if (!system->boot->exit_boot_services(image, key)) {
			make_map(h, bytes, stride);
			return true;
		}
	}
	return false;
}

u64 EFIAPI efi_main(void *image, struct efi_system_table *system)
{
	struct efi_loaded_image *loaded = loaded_image(image, system);
	struct handover *h = allocate(system, EFI_LOADER_CODE, sizeof(*h));
	int offered;

	if (!h)
		return failed(system, "no memory below 4 GiB");
	zero(h, sizeof(*h));
	copy(h->code, efi_leave_code, (u64)(efi_leave_code_end - efi_leave_code));
	h->gdt[1] = 0x00cf9b000000ffff; /* 32-bit code, data, of 4 GiB */
	h->gdt[2] = 0x00cf93000000ffff;
	h->gdt_pointer.limit = sizeof(h->gdt) - 1;
	h->gdt_pointer.base = (u64)h->gdt;
	h->info.magic = PVH_MAGIC;
	h->info.version = 1;
	take_options(loaded, h);
	take_acpi(system, h);
	offered = initrd_offered(system, h);
	if (offered < 0 || (!offered && !initrd_of_volume(loaded, system, h)))
		return failed(system, "the initrd cannot be read");
	if (!place_kernel(system))
		return failed(system, "the memory at 1 MiB is not free");
	if (!leave_boot_services(image, system, h))
		return failed(system, "firmware does not let go");
	efi_leave((u64)&h->info, ((const Elf64_Ehdr *)efi_kernel)->e_entry, h->code, &h->gdt_pointer);
}
