/* SPDX-License-Identifier: MIT
 *
 * The first stack of a program, built before its address space (exec_stack.c). Functions give 0, -E2BIG, -ENOMEM or
 * -EFAULT.
 */
#ifndef PROCESS_EXEC_STACK_H
#define PROCESS_EXEC_STACK_H

#include "process_priv.h"

struct exec_stack {
	ulong top, pos;      /* addresses in the new program */
	struct page **pages; /* [0] is the topmost */
	unsigned nr_pages;
	char *bounce;
	size_t bounce_bytes;
};

struct exec_strings { /* one of the two */
	const char __user *const __user *user;
	const char *const *kernel;
};

struct exec_layout {
	ulong strings; /* in: the address of argv[0]'s string */
	ulong sp, arg_start, arg_end, env_start, env_end;
};

int __must_check exec_stack_init(struct exec_stack *s, ulong top); /* page aligned */
void exec_stack_free(struct exec_stack *s);
int __must_check exec_stack_push(struct exec_stack *s, const void *data, size_t n); /* below what is there: s->pos */
int __must_check exec_stack_push_string(struct exec_stack *s, const char *str);
int __must_check exec_strings_count(const struct exec_strings *a, unsigned *out);
int __must_check exec_stack_push_all(struct exec_stack *s, const struct exec_strings *a, unsigned n);
void exec_stack_drop_first(struct exec_stack *s); /* the lowest string */
int __must_check exec_stack_finish(struct exec_stack *s, unsigned argc, unsigned envc, const ulong *auxv,
				   unsigned auxv_words, struct exec_layout *out);
int __must_check exec_stack_install(struct exec_stack *s, struct mm *m); /* the stack VMA exists */

#endif
