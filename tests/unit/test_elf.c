/* SPDX-License-Identifier: MIT
 *
 * Problem: code that everything stands on must be right at its borders before it ever boots.
 *
 * Idea: The ELF parser: this very test program as a good example, then each rule broken once.
 *
 * Contract: cmocka, under ASan and UBSan; one case a property.
 *
 * Locks: none.
 */
#include <elf.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>
#include <lib/err.h>
#include "../../kernel/process/elf.h"

struct file {
	Elf64_Ehdr h;
	Elf64_Phdr p[4];
};

static struct file good(void)
{
	struct file f = { .h = { .e_type = ET_EXEC,
				 .e_machine = EM_X86_64,
				 .e_version = 1,
				 .e_entry = 0x401000,
				 .e_phoff = 64,
				 .e_ehsize = 64,
				 .e_phentsize = 56,
				 .e_phnum = 4 } };

	memcpy(f.h.e_ident, "\177ELF\2\1\1", 7);
	f.p[0] = (Elf64_Phdr){ .p_type = PT_LOAD,
			       .p_flags = PF_R | PF_X,
			       .p_vaddr = 0x400000,
			       .p_filesz = 0x1800,
			       .p_memsz = 0x1800,
			       .p_align = 4096 };
	f.p[1] = (Elf64_Phdr){ .p_type = PT_LOAD,
			       .p_flags = PF_R | PF_W,
			       .p_offset = 0x1800,
			       .p_vaddr = 0x402800,
			       .p_filesz = 0x100,
			       .p_memsz = 0x3000,
			       .p_align = 4096 };
	f.p[2] = (Elf64_Phdr){ .p_type = PT_INTERP, .p_offset = 0x300, .p_filesz = 28 };
	f.p[3] = (Elf64_Phdr){ .p_type = PT_GNU_STACK, .p_flags = PF_R | PF_W };
	return f;
}

static int parse(const struct file *f, struct elf_image *out)
{
	int err = elf_parse_header(&f->h, sizeof(f->h), &out->header);

	return err ? err : elf_parse_segments(f->p, out);
}

static void test_good(void **state)
{
	struct file f = good();
	struct elf_image i;

	assert_int_equal(parse(&f, &i), 0);
	assert_int_equal(i.nr, 2);
	assert_int_equal(i.low, 0x400000);
	assert_int_equal(i.high, 0x406000);
	assert_int_equal(i.phdr_vaddr, 0x400040);
	assert_int_equal(i.interp_offset, 0x300);
	assert_int_equal(i.interp_bytes, 28);
	assert_int_equal(i.segments[1].prot, 3);
	assert_false(i.exec_stack);
	assert_false(i.header.is_pie);
}

static void test_self(void **state)
{
	static char bytes[1 << 16];
	struct elf_image i;
	FILE *in = fopen("/proc/self/exe", "rb");

	assert_non_null(in);
	assert_true(fread(bytes, 1, sizeof(bytes), in) > 4096);
	fclose(in);
	assert_int_equal(elf_parse_header(bytes, sizeof(bytes), &i.header), 0);
	assert_int_equal(elf_parse_segments(bytes + i.header.ph_offset, &i), 0);
	assert_true(i.nr >= 2);
	assert_string_equal(bytes + i.interp_offset, "/lib64/ld-linux-x86-64.so.2");
}

#define REFUSES(error, change)                                                                                         \
	do {                                                                                                           \
		struct file f = good();                                                                                \
		struct elf_image i;                                                                                    \
		change;                                                                                                \
		assert_int_equal(parse(&f, &i), -(error));                                                             \
	} while (0)

static void test_refusals(void **state)
{
	REFUSES(ENOEXEC, f.h.e_ident[0] = 0);
	REFUSES(ENOEXEC, f.h.e_ident[EI_CLASS] = ELFCLASS32);
	REFUSES(ENOEXEC, f.h.e_ident[EI_DATA] = ELFDATA2MSB);
	REFUSES(ENOEXEC, f.h.e_machine = EM_AARCH64);
	REFUSES(ENOEXEC, f.h.e_type = ET_REL);
	REFUSES(ENOEXEC, f.h.e_phentsize = 32);
	REFUSES(ENOEXEC, f.h.e_phnum = 0);
	REFUSES(ENOEXEC, f.h.e_phnum = 0xffff);
	REFUSES(ENOEXEC, f.h.e_phoff = ~0ULL);
	REFUSES(EINVAL, f.p[0].p_filesz = 0x2000);
	REFUSES(EINVAL, f.p[0].p_vaddr = 0x800000000000);
	REFUSES(EINVAL, f.p[0].p_memsz = ~0ULL);
	REFUSES(EINVAL, f.p[0].p_offset = 12);
	REFUSES(EINVAL, f.p[1].p_offset = ~0ULL - 0x7ff);
	REFUSES(EINVAL, f.p[1].p_vaddr = 0x400800);
	REFUSES(EINVAL, f.p[1].p_vaddr = 0x3ff800);
	REFUSES(ENOEXEC, f.p[2].p_filesz = 1);
	REFUSES(ENOEXEC, f.p[2].p_filesz = 5000);
	REFUSES(ENOEXEC, f.p[0].p_type = f.p[1].p_type = PT_NULL);
	REFUSES(ENOEXEC, f.p[0].p_memsz = f.p[0].p_filesz = f.p[1].p_memsz = f.p[1].p_filesz = 0);
}

static void test_short(void **state)
{
	struct file f = good();
	struct elf_image i;

	for (size_t n = 0; n < sizeof(f.h); n++)
		assert_int_equal(elf_parse_header(&f.h, n, &i.header), -ENOEXEC);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_good),
		cmocka_unit_test(test_self),
		cmocka_unit_test(test_refusals),
		cmocka_unit_test(test_short),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
