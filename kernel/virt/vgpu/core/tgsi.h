/* SPDX-License-Identifier: MIT
 *
 * One line of TGSI text, taken apart.
 */
#ifndef VGPU_CORE_TGSI_H
#define VGPU_CORE_TGSI_H

#include <lib/types.h>

#define TGSI_OPERANDS 8

enum tgsi_kind { TGSI_EMPTY, TGSI_DECLARATION, TGSI_IMMEDIATE, TGSI_INSTRUCTION };
enum tgsi_file { TGSI_OTHER, TGSI_TEMP, TGSI_IMM, TGSI_CONST };

struct tgsi_operand {
	u8 file;    /* enum tgsi_file */
	bool plain; /* a register by number, without modifiers */
	bool indirect;
	u8 nr_components; /* of the mask or swizzle */
	u8 component[4];  /* a mask's are in order; a swizzle's last one holds for those that are missing */
	u32 index;
};

struct tgsi_line {
	u8 kind; /* enum tgsi_kind */
	char op[24];
	bool modified; /* _SAT or another suffix */
	u32 nr;
	struct tgsi_operand operand[TGSI_OPERANDS];
	u32 value[4]; /* of an immediate */
	bool known;   /* integers */
};

/* Reads the line at *at, up to end, and moves *at behind it. -EINVAL: not as gallium writes it. */
int __must_check tgsi_read_line(const char **at, const char *end, struct tgsi_line *out);

#endif
