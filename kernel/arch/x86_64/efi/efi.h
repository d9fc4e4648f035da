/* SPDX-License-Identifier: MIT
 *
 * What the stub uses of firmware, and what it hands to the kernel.
 * Sources: UEFI Specification 2.10, sections 4.3 (system table), 4.4 (boot services), 7.2 (memory), 7.3 and 9.1
 * (protocols), 10.3.5.3 (vendor media path), 13.2 (LoadFile2), 13.4 and 13.5 (files); start info: see boot.c.
 */
#ifndef EFI_H
#define EFI_H

#include <lib/types.h>

#define EFIAPI               __attribute__((ms_abi))
#define EFI_ERROR            (1UL << 63)
#define EFI_LOAD_ERROR       (EFI_ERROR | 1)
#define EFI_BUFFER_TOO_SMALL (EFI_ERROR | 5)
#define EFI_PAGE             4096UL

struct efi_guid {
	u32 a;
	u16 b, c;
	u8 d[8];
};

enum efi_memory { /* the types that are free once boot services are left, and ours */
		  EFI_LOADER_CODE = 1,
		  EFI_LOADER_DATA = 2,
		  EFI_BOOT_CODE = 3,
		  EFI_BOOT_DATA = 4,
		  EFI_CONVENTIONAL = 7
};
enum efi_allocate { EFI_ALLOCATE_ANY, EFI_ALLOCATE_BELOW, EFI_ALLOCATE_AT };

struct efi_memory_descriptor {
	u32 type;
	u64 physical, virtual, pages, attributes;
};

struct efi_output {
	void *reset;
	u64(EFIAPI *print)(struct efi_output *o, const u16 *text);
};

struct efi_boot_services {
	u8 header[24];
	void *task_priority[2];
	u64(EFIAPI *allocate_pages)(u32 how, u32 type, u64 pages, u64 *address);
	void *free_pages;
	u64(EFIAPI *get_memory_map)(u64 *bytes, void *map, u64 *key, u64 *stride, u32 *version);
	void *pool[2], *events[6], *interfaces[3];
	u64(EFIAPI *handle_protocol)(void *handle, const struct efi_guid *protocol, void **interface);
	void *reserved, *notify, *locate_handle;
	u64(EFIAPI *locate_device_path)(const struct efi_guid *protocol, void **path, void **handle);
	void *install, *images[4];
	u64(EFIAPI *exit_boot_services)(void *image, u64 key);
};

struct efi_table {
	struct efi_guid guid;
	void *address;
};

struct efi_system_table {
	u8 header[24];
	void *vendor;
	u64 revision;
	void *input_handle, *input, *output_handle;
	struct efi_output *output;
	void *error_handle, *error, *runtime;
	struct efi_boot_services *boot;
	u64 nr_tables;
	struct efi_table *tables;
};

struct efi_loaded_image {
	u64 revision;
	void *parent, *system, *device, *path, *reserved;
	u32 options_bytes;
	u16 *options;
};

struct efi_load_file {
	u64(EFIAPI *load)(struct efi_load_file *f, void *path, u8 boot_policy, u64 *bytes, void *buffer);
};

struct efi_file {
	u64 revision;
	u64(EFIAPI *open)(struct efi_file *f, struct efi_file **out, const u16 *name, u64 mode, u64 attributes);
	void *close, *remove;
	u64(EFIAPI *read)(struct efi_file *f, u64 *bytes, void *buffer);
	void *write;
	u64(EFIAPI *position)(struct efi_file *f, u64 *out);
	u64(EFIAPI *seek)(struct efi_file *f, u64 to);
};
#define EFI_FILE_READ 1
#define EFI_FILE_END  (~0UL)

struct efi_volume {
	u64 revision;
	u64(EFIAPI *open)(struct efi_volume *v, struct efi_file **root);
};

#endif
