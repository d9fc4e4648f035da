/* SPDX-License-Identifier: MIT
 *
 * Problem: "0x55d8e0c4a088" means nothing to people; "stats.hits, written by worker()" does.
 *
 * Idea: three sources, best first. A global: the symbol table gives the object around the address, DWARF its type. A
 * pointer: DWARF says which variable lives in the base register of the instruction at that point of code; if it is a
 * pointer to a struct, displacement gives the member, so that heap objects get their type's name without any help of
 * the allocator. Otherwise: the kind of memory. Members are found by walking the type to the offset: struct members,
 * array elements, typedefs and qualifiers.
 *
 * Contract: c2c.h. Locks: none. Facts of DWARF: version 5 specification, sections 2.5, 2.6, 5.7; register numbers:
 * System V x86-64 ABI, figure 3.36.
 */
#include <asm/perf_regs.h>
#include <dwarf.h>
#include <stdio.h>
#include <stdlib.h>
#include "c2c.h"

static bool real_type(Dwarf_Die *type, Dwarf_Die *out)
{
	Dwarf_Attribute a;

	*out = *type;
	for (int i = 0; i < 32; i++) {
		int tag = dwarf_tag(out);

		if (tag != DW_TAG_typedef && tag != DW_TAG_const_type && tag != DW_TAG_volatile_type &&
		    tag != DW_TAG_atomic_type && tag != DW_TAG_restrict_type)
			return true;
		if (!dwarf_attr_integrate(out, DW_AT_type, &a) || !dwarf_formref_die(&a, out))
			return false;
	}
	return false;
}

static bool type_of(Dwarf_Die *die, Dwarf_Die *out)
{
	Dwarf_Attribute a;
	Dwarf_Die t;

	return dwarf_attr_integrate(die, DW_AT_type, &a) && dwarf_formref_die(&a, &t) && real_type(&t, out);
}

/* As it is declared: "struct stats", or the name of the typedef. */
static void type_name(Dwarf_Die *declared, char *out, size_t n)
{
	Dwarf_Die real;
	const char *name = dwarf_diename(declared);
	bool is_struct;

	if (!real_type(declared, &real))
		return;
	is_struct = dwarf_tag(declared) == DW_TAG_structure_type;
	if (!name && (name = dwarf_diename(&real)))
		is_struct = dwarf_tag(&real) == DW_TAG_structure_type;
	if (name)
		snprintf(out, n, "%s%s", is_struct ? "struct " : "", name);
}

static u64 type_bytes(Dwarf_Die *type)
{
	Dwarf_Word n = 0;

	return dwarf_aggregate_size(type, &n) ? 0 : n;
}

static void append(char *path, size_t n, const char *fmt, ...) __printf(3, 4);
static void append(char *path, size_t n, const char *fmt, ...)
{
	size_t len = strlen(path);
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(path + len, n - len, fmt, ap);
	va_end(ap);
}

/* The member of a struct or union that covers *offset; *offset becomes relative to it. */
static bool step_member(Dwarf_Die *type, u64 *offset, Dwarf_Die *member)
{
	if (dwarf_child(type, member))
		return false;
	do {
		Dwarf_Attribute a;
		Dwarf_Word at = 0;
		Dwarf_Die t;

		if (dwarf_tag(member) != DW_TAG_member)
			continue;
		if (dwarf_attr(member, DW_AT_data_member_location, &a))
			dwarf_formudata(&a, &at);
		if (type_of(member, &t) && *offset >= at && *offset < at + type_bytes(&t)) {
			*offset -= at;
			return true;
		}
	} while (!dwarf_siblingof(member, member));
	return false;
}

/* Writes ".a.b[3]" for the offset in the type. */
static void describe(Dwarf_Die *type, u64 offset, char *path, size_t n)
{
	Dwarf_Die t = *type, member, next;

	for (int depth = 0; depth < 16; depth++) {
		int tag = dwarf_tag(&t);

		if (tag == DW_TAG_structure_type || tag == DW_TAG_union_type || tag == DW_TAG_class_type) {
			if (!step_member(&t, &offset, &member) || !type_of(&member, &next))
				return;
			if (dwarf_diename(&member))
				append(path, n, ".%s", dwarf_diename(&member));
		} else if (tag == DW_TAG_array_type) {
			u64 bytes;

			if (!type_of(&t, &next) || !(bytes = type_bytes(&next)))
				return;
			append(path, n, "[%llu]", (unsigned long long)(offset / bytes));
			offset %= bytes;
		} else {
			return;
		}
		t = next;
	}
}

static void name_place(struct image *im, u64 vaddr, struct field_name *out)
{
	struct image_sym *f = image_symbol(im, vaddr, false);

	if (f)
		snprintf(out->function, sizeof(out->function), "%s", image_symbol_name(f));
	image_source(im, vaddr, out->source, sizeof(out->source));
}

/* ---- globals ---- */

static bool at_address(Dwarf_Die *var, u64 vaddr)
{
	Dwarf_Attribute a;
	Dwarf_Op *ops;
	size_t n;

	return dwarf_tag(var) == DW_TAG_variable && dwarf_attr_integrate(var, DW_AT_location, &a) &&
	       !dwarf_getlocation(&a, &ops, &n) && n == 1 && ops[0].atom == DW_OP_addr && ops[0].number == vaddr;
}

static bool find_global(Dwarf *dw, u64 vaddr, Dwarf_Die *var)
{
	Dwarf_CU *unit = NULL;
	Dwarf_Half version;
	Dwarf_Die cu;
	u8 kind;

	while (!dwarf_get_units(dw, unit, &unit, &version, &kind, &cu, NULL)) {
		if (dwarf_child(&cu, var))
			continue;
		do
			if (at_address(var, vaddr))
				return true;
		while (!dwarf_siblingof(var, var));
	}
	return false;
}

static bool name_global(struct image *im, u64 vaddr, u64 addr, struct field_name *out)
{
	const struct image_sym *s = image_symbol(im, vaddr, true);
	Dwarf_Attribute a;
	Dwarf_Die var, declared, type;

	if (!s)
		return false;
	snprintf(out->object, sizeof(out->object), "%s", s->name);
	out->offset = vaddr - s->start;
	out->object_addr = addr - out->offset;
	out->object_bytes = s->end - s->start;
	if (!image_dwarf(im) || !find_global(im->dwarf, s->start, &var) || !type_of(&var, &type)) {
		if (out->offset)
			snprintf(out->field, sizeof(out->field), "+%u", out->offset);
		return true;
	}
	if (dwarf_attr_integrate(&var, DW_AT_type, &a) && dwarf_formref_die(&a, &declared))
		type_name(&declared, out->type, sizeof(out->type));
	describe(&type, out->offset, out->field, sizeof(out->field));
	return true;
}

/* ---- pointers ---- */

static int perf_reg_of_dwarf(u64 n)
{
	static const u8 low[] = { PERF_REG_X86_AX, PERF_REG_X86_DX, PERF_REG_X86_CX, PERF_REG_X86_BX,
				  PERF_REG_X86_SI, PERF_REG_X86_DI, PERF_REG_X86_BP, PERF_REG_X86_SP };

	return n < 8 ? low[n] : n < 16 ? PERF_REG_X86_R8 + (int)n - 8 : -1;
}

/* True if the variable's value is register base plus *plus at pc. */
static bool lives_in(Dwarf_Die *var, u64 pc, int base, s64 *plus)
{
	Dwarf_Attribute a;
	Dwarf_Op *ops;
	size_t n;

	*plus = 0;
	if (!dwarf_attr_integrate(var, DW_AT_location, &a) || dwarf_getlocation_addr(&a, pc, &ops, &n, 1) < 1 || !n)
		return false;
	if (n == 1 && ops[0].atom >= DW_OP_reg0 && ops[0].atom <= DW_OP_reg31)
		return perf_reg_of_dwarf(ops[0].atom - DW_OP_reg0) == base;
	if (n == 2 && ops[1].atom == DW_OP_stack_value && ops[0].atom >= DW_OP_breg0 && ops[0].atom <= DW_OP_breg31) {
		*plus = (s64)ops[0].number;
		return perf_reg_of_dwarf(ops[0].atom - DW_OP_breg0) == base;
	}
	return false;
}

static bool pointed_at(Dwarf_Die *var, Dwarf_Die *declared, Dwarf_Die *type)
{
	Dwarf_Attribute a;
	Dwarf_Die ptr;

	return type_of(var, &ptr) && dwarf_tag(&ptr) == DW_TAG_pointer_type &&
	       dwarf_attr_integrate(&ptr, DW_AT_type, &a) && dwarf_formref_die(&a, declared) &&
	       real_type(declared, type);
}

static bool name_variable(Dwarf_Die *var, u64 pc, const struct operand *op, u64 addr, struct field_name *out)
{
	Dwarf_Die declared, type;
	s64 plus, offset;
	u64 bytes;

	if ((dwarf_tag(var) != DW_TAG_variable && dwarf_tag(var) != DW_TAG_formal_parameter) ||
	    !lives_in(var, pc, op->base, &plus) || !pointed_at(var, &declared, &type) || !dwarf_diename(var))
		return false;
	bytes = type_bytes(&type);
	offset = op->disp - plus;
	if (!bytes)
		return false;
	if (op->has_index || offset < 0 || (u64)offset >= bytes)
		offset = ((offset % (s64)bytes) + (s64)bytes) % (s64)bytes;
	else
		out->object_addr = addr - offset;
	snprintf(out->object, sizeof(out->object), "*%s", dwarf_diename(var));
	out->offset = offset;
	out->object_bytes = bytes;
	type_name(&declared, out->type, sizeof(out->type));
	describe(&type, offset, out->field, sizeof(out->field));
	return true;
}

static bool name_pointer(Dwarf_Die *cu, u64 pc, const struct operand *op, u64 addr, struct field_name *out)
{
	Dwarf_Die *scopes = NULL, var;
	int n = dwarf_getscopes(cu, pc, &scopes);
	bool found = false;

	for (int i = 0; i < n && !found; i++) {
		if (dwarf_child(&scopes[i], &var))
			continue;
		do
			found = name_variable(&var, pc, op, addr, out);
		while (!found && !dwarf_siblingof(&var, &var));
	}
	free(scopes);
	return found;
}

static void name_memory(const struct pd_map *data, struct field_name *out)
{
	const char *p = data ? data->path : "unmapped memory";

	if (!strcmp(p, "//anon"))
		p = "anonymous memory";
	else if (!strcmp(p, "[heap]"))
		p = "heap";
	else if (!strcmp(p, "[stack]"))
		p = "stack";
	else if (strrchr(p, '/'))
		p = strrchr(p, '/') + 1;
	snprintf(out->object, sizeof(out->object), "%s", p);
}

static bool operand_at(struct images *images, const struct pd_map *code, u64 ip, struct operand *op)
{
	struct image *im = image_get(images, code->path);
	struct operand_insn insn;
	u64 start, bytes;
	bool exact;
	const u8 *p = im ? image_code(im, code, ip, &start, &exact, &bytes) : NULL;

	if (!p || operand_decode(p + (ip - start), min(bytes - (ip - start), (u64)15), ip, NULL, &insn) < 0 || !insn.nr)
		return false;
	*op = insn.op[0];
	return true;
}

void name_code(struct image *im, u64 vaddr, struct field_name *out)
{
	memset(out, 0, sizeof(*out));
	name_place(im, vaddr, out);
}

void name_access(struct images *images, const struct pd_map *code, u64 ip, const struct pd_map *data, u64 addr,
		 struct field_name *out)
{
	struct image *im = code ? image_get(images, code->path) : NULL;
	struct operand op;
	Dwarf_Die cu;
	bool has_cu;
	u64 vaddr;

	memset(out, 0, sizeof(*out));
	if (!im)
		return name_memory(data, out);
	vaddr = image_vaddr(im, code, ip);
	has_cu = image_unit(im, vaddr, &cu);
	name_place(im, vaddr, out);
	/* globals of the program that the code belongs to, its zeroed data included: same distance as linked */
	if (name_global(im, addr - (ip - vaddr), addr, out))
		return;
	if (data && *data->path == '/' && data->path[1] != '/' && (im = image_get(images, data->path)) &&
	    name_global(im, image_vaddr(im, data, addr), addr, out))
		return;
	if (has_cu && operand_at(images, code, ip, &op) && op.base >= 0 && name_pointer(&cu, vaddr, &op, addr, out))
		return;
	name_memory(data, out);
}
