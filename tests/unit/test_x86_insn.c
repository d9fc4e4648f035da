/* SPDX-License-Identifier: MIT
 *
 * Problem: a decoder is right only if it is right for every instruction that programs are made of.
 *
 * Idea: Zydis is the oracle. Both walk the code of whole libraries, and random bytes; lengths, addresses, direction and
 * size of the memory operand must be the same wherever Zydis sees an instruction.
 *
 * Contract: runs under ASan and UBSan. Locks: none.
 */
// libs: -lZydis
#include <elf.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <Zydis/Zydis.h>
#include <lib/err.h>
#include <lib/x86_insn.h>

static u64 gpr[16], seen, with_memory, wrong;

static u64 value_of(ZydisRegister r)
{
	ZydisRegister full = ZydisRegisterGetLargestEnclosing(ZYDIS_MACHINE_MODE_LONG_64, r);

	return full >= ZYDIS_REGISTER_RAX && full <= ZYDIS_REGISTER_R15 ? gpr[full - ZYDIS_REGISTER_RAX] : 0;
}

static u64 address_of(const ZydisDecodedInstruction *z, const ZydisDecodedOperandMem *m, u64 ip)
{
	u64 a = m->disp.has_displacement ? (u64)m->disp.value : 0;

	a += m->base == ZYDIS_REGISTER_RIP || m->base == ZYDIS_REGISTER_EIP ? ip + z->length : value_of(m->base);
	a += value_of(m->index) * m->scale;
	return z->address_width == 32 ? (u32)a : a;
}

static void complain(const u8 *code, const ZydisDecodedInstruction *z, const char *what, u64 ours, u64 theirs)
{
	if (++wrong > 20)
		return;
	printf("%s of %s:", what, ZydisMnemonicGetString(z->mnemonic));
	for (unsigned i = 0; i < z->length; i++)
		printf(" %02x", code[i]);
	printf(": %llx, Zydis %llx\n", (unsigned long long)ours, (unsigned long long)theirs);
}

/* Hints, cache control, shadow stacks, key locker and what always faults: no data of programs. */
static bool is_odd(ZydisMnemonic m)
{
	static const ZydisMnemonic odd[] = {
		ZYDIS_MNEMONIC_CLRSSBSY,
		ZYDIS_MNEMONIC_RSTORSSP,
		ZYDIS_MNEMONIC_CLFLUSH,
		ZYDIS_MNEMONIC_CLFLUSHOPT,
		ZYDIS_MNEMONIC_CLWB,
		ZYDIS_MNEMONIC_CLDEMOTE,
		ZYDIS_MNEMONIC_PTWRITE,
		ZYDIS_MNEMONIC_INVLPG,
		ZYDIS_MNEMONIC_PREFETCHWT1,
		ZYDIS_MNEMONIC_BNDMOV,
		ZYDIS_MNEMONIC_AESDECWIDE128KL,
		ZYDIS_MNEMONIC_AESDECWIDE256KL,
		ZYDIS_MNEMONIC_AESENCWIDE128KL,
		ZYDIS_MNEMONIC_AESENCWIDE256KL,
		ZYDIS_MNEMONIC_AESENC128KL,
		ZYDIS_MNEMONIC_AESDEC128KL,
		ZYDIS_MNEMONIC_AESENC256KL,
		ZYDIS_MNEMONIC_AESDEC256KL,
		ZYDIS_MNEMONIC_UD0,
		ZYDIS_MNEMONIC_UD1,
	};

	for (unsigned i = 0; i < ARRAY_SIZE(odd); i++)
		if (odd[i] == m)
			return true;
	return false;
}

/* The explicit operand: not the stack of push, nor the two of a string instruction. */
static const ZydisDecodedOperand *memory_of(const ZydisDecodedInstruction *z, const ZydisDecodedOperand *ops)
{
	for (unsigned i = 0; i < z->operand_count; i++)
		if (ops[i].type == ZYDIS_OPERAND_TYPE_MEMORY && ops[i].visibility == ZYDIS_OPERAND_VISIBILITY_EXPLICIT)
			return &ops[i];
	return NULL;
}

static void compare_memory(const u8 *code, const struct x86_insn *i, const ZydisDecodedInstruction *z,
			   const ZydisDecodedOperand *m, u64 ip)
{
	bool only_address = m->mem.type != ZYDIS_MEMOP_TYPE_MEM || z->meta.category == ZYDIS_CATEGORY_NOP ||
			    z->meta.category == ZYDIS_CATEGORY_WIDENOP || z->meta.category == ZYDIS_CATEGORY_PREFETCH;
	bool reads = !only_address && (m->actions & ZYDIS_OPERAND_ACTION_MASK_READ);
	bool writes = !only_address && (m->actions & ZYDIS_OPERAND_ACTION_MASK_WRITE);

	with_memory++;
	if (!i->has_no_address && x86_insn_address(i, ip, gpr) != address_of(z, &m->mem, ip))
		complain(code, z, "address", x86_insn_address(i, ip, gpr), address_of(z, &m->mem, ip));
	if (z->encoding == ZYDIS_INSTRUCTION_ENCODING_EVEX || is_odd(z->mnemonic)) /* masks, broadcasts */
		return;
	if (i->reads != reads || i->writes != writes)
		complain(code, z, "direction", i->reads + 2 * i->writes, reads + 2 * writes);
	else if ((reads || writes) && i->access_bytes && i->access_bytes != m->size / 8 && !i->has_no_address)
		complain(code, z, "size", i->access_bytes, m->size / 8);
}

/* Bytes of the instruction; 1 where Zydis sees none. */
static unsigned compare(const ZydisDecoder *d, const u8 *code, size_t n, u64 ip)
{
	ZydisDecodedOperand ops[ZYDIS_MAX_OPERAND_COUNT];
	const ZydisDecodedOperand *m;
	ZydisDecodedInstruction z;
	struct x86_insn i;
	int err = x86_insn_decode(code, (unsigned)min(n, (size_t)15), X86_CODE_64, &i);

	if (!ZYAN_SUCCESS(ZydisDecoderDecodeFull(d, code, n, &z, ops)) || z.encoding == ZYDIS_INSTRUCTION_ENCODING_XOP)
		return 1;
	seen++;
	if (err || i.length != z.length) {
		complain(code, &z, "length", err ? (u64)err : i.length, z.length);
		return z.length;
	}
	m = memory_of(&z, ops);
	if (m && !i.has_memory)
		complain(code, &z, "memory", 0, 1);
	else if (m && z.meta.category != ZYDIS_CATEGORY_STRINGOP)
		compare_memory(code, &i, &z, m, ip);
	else if (!m && i.has_memory && (i.reads || i.writes))
		complain(code, &z, "memory", 1, 0);
	return z.length;
}

static void walk(const ZydisDecoder *d, const u8 *code, size_t n)
{
	for (size_t at = 0; at + 15 < n;)
		at += compare(d, code + at, n - at, 0x400000 + at);
}

static bool walk_file(const ZydisDecoder *d, const char *path)
{
	int fd = open(path, O_RDONLY);
	const Elf64_Shdr *s;
	struct stat st;
	u8 *p;

	if (fd < 0)
		return false;
	assert_int_equal(fstat(fd, &st), 0);
	p = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	close(fd);
	assert_true(p != MAP_FAILED);
	s = (const Elf64_Shdr *)(p + ((const Elf64_Ehdr *)p)->e_shoff);
	for (unsigned k = 0; k < ((const Elf64_Ehdr *)p)->e_shnum; k++)
		if (s[k].sh_type == SHT_PROGBITS && (s[k].sh_flags & SHF_EXECINSTR))
			walk(d, p + s[k].sh_offset, min(s[k].sh_size, (u64)4 << 20));
	munmap(p, (size_t)st.st_size);
	return true;
}

static void setup(ZydisDecoder *d)
{
	ZydisDecoderInit(d, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
	for (unsigned i = 0; i < 16; i++)
		gpr[i] = 0x100000001ULL * (i * 0x1357 + 0x11);
	seen = with_memory = wrong = 0;
}

static void libraries(void **state)
{
	static const char *const files[] = { "libc.so.6", "libm.so.6", "libcrypto.so.3", "libstdc++.so.6",
					     "libz.so.1" };
	char path[128];
	unsigned found = 0;
	ZydisDecoder d;

	setup(&d);
	for (unsigned i = 0; i < ARRAY_SIZE(files); i++) {
		snprintf(path, sizeof(path), "/lib/x86_64-linux-gnu/%s", files[i]);
		found += walk_file(&d, path);
	}
	printf("%llu instructions, %llu with memory, of %u libraries: %llu differ\n", (unsigned long long)seen,
	       (unsigned long long)with_memory, found, (unsigned long long)wrong);
	assert_true(found >= 2 && seen > 200000);
	assert_int_equal(wrong, 0);
}

/* Everything that a byte can begin with, in front of random operands. */
static void every_opcode(void **state)
{
	static const u8 leads[][3] = { { 0 }, { 1, 0x0f }, { 2, 0x0f, 0x38 }, { 2, 0x0f, 0x3a } };
	static const u8 prefixes[] = { 0, 0x66, 0xf2, 0xf3 };
	ZydisDecoder d;
	u8 code[24];

	setup(&d);
	srandom(1);
	for (unsigned n = 0; n < 4 * 4 * 2 * 256 * 40; n++) {
		unsigned at = 0, lead = n % 4, prefix = n / 4 % 4, opcode = n / 32 % 256;

		for (unsigned i = 0; i < sizeof(code); i++)
			code[i] = (u8)random();
		if (prefixes[prefix])
			code[at++] = prefixes[prefix];
		if (n / 16 % 2)
			code[at++] = (u8)(0x40 | (random() & 15));
		memcpy(code + at, leads[lead] + 1, leads[lead][0]);
		at += leads[lead][0];
		code[at] = (u8)opcode;
		compare(&d, code, sizeof(code), 0x1000);
	}
	printf("%llu random instructions: %llu differ\n", (unsigned long long)seen, (unsigned long long)wrong);
	assert_true(seen > 50000);
	assert_int_equal(wrong, 0);
}

static void old_code(void **state)
{
	static const struct {
		u8 bytes[8];
		enum x86_mode mode;
		int length;
	} rows[] = {
		{ { 0xc5, 0x06, 0x34, 0x12 }, X86_CODE_16, 4 },             /* lds [0x1234], not VEX */
		{ { 0x40 }, X86_CODE_32, 1 },                               /* inc eax */
		{ { 0x66, 0xb8, 1, 2, 3, 4 }, X86_CODE_16, 6 },             /* mov eax, imm32 */
		{ { 0x9a, 1, 2, 3, 4, 5, 6 }, X86_CODE_32, 7 },             /* call far */
		{ { 0x67, 0x8b, 0x04, 0x25, 1, 2, 3, 4 }, X86_CODE_16, 8 }, /* mov ax, [disp32] */
		{ { 0x06 }, X86_CODE_64, -EINVAL },                         /* push es */
		{ { 0x0f, 0x04 }, X86_CODE_64, -EINVAL },
	};
	struct x86_insn i;

	for (unsigned r = 0; r < ARRAY_SIZE(rows); r++) {
		int err = x86_insn_decode(rows[r].bytes, 15 < sizeof(rows[r].bytes) ? 15 : 8, rows[r].mode, &i);

		assert_int_equal(err ? err : i.length, rows[r].length);
	}
	assert_int_equal(x86_insn_decode(rows[2].bytes, 5, X86_CODE_16, &i), -ENODATA);
	assert_int_equal(x86_insn_decode((const u8[15]){ [0 ... 14] = 0x66 }, 15, X86_CODE_64, &i), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(libraries), cmocka_unit_test(every_opcode),
					    cmocka_unit_test(old_code) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
