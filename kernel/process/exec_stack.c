/* SPDX-License-Identifier: MIT
 *
 * Problem: a new program's stack holds its arguments, its environment and the auxiliary vector, read
 * from the old program's memory, before the new address space exists.
 *
 * Idea: the image of the stack's top is built downwards in loose pages, at the addresses that it will
 * have, and the pages then become the stack as they are: nothing is copied twice.
 *   top | execfn | environment strings | argument strings | platform, random | auxv envp argv argc | sp
 * A script's line replaces the first argument: the strings above it stay where they are.
 *
 * Contract: exec_stack.h. Limits: a quarter of RLIMIT_STACK, at most 6 MiB (E2BIG); 128 KiB a string.
 * Source of the layout: System V ABI for AMD64, section 3.4.1.
 *
 * Locks: none; private to the task in exec.
 */
#include "exec_stack.h"
#include <alloc/page.h>
#include <arch/user.h>
#include <lib/string.h>
#include <linux/auxvec.h>
#include <linux/binfmts.h>

#define SIZE_LIMIT (6UL << 20)

int exec_stack_init(struct exec_stack *s, ulong top)
{
	ulong bytes = min(process_rlimit(RLIMIT_STACK) / 4, (u64)SIZE_LIMIT);

	bytes = max(bytes, 32 * PAGE_SIZE);
	*s = (struct exec_stack){ .top = top, .pos = top, .nr_pages = bytes >> PAGE_SHIFT };
	s->pages = kcalloc(s->nr_pages, sizeof(s->pages[0]), 0);
	s->bounce = kmalloc(PAGE_SIZE, 0);
	s->bounce_bytes = PAGE_SIZE;
	return s->pages && s->bounce ? 0 : -ENOMEM;
}

void exec_stack_free(struct exec_stack *s)
{
	for (unsigned i = 0; s->pages && i < s->nr_pages; i++)
		if (s->pages[i])
			page_put(s->pages[i]);
	kfree(s->pages);
	kfree(s->bounce);
}

/* Bytes of the image at addr, to the end of their page. NULL: too much, or no memory. */
static char *window(struct exec_stack *s, ulong addr, int *err)
{
	ulong i = (s->top - 1 - addr) >> PAGE_SHIFT;

	*err = -E2BIG;
	if (i >= s->nr_pages)
		return NULL;
	if (!s->pages[i]) {
		s->pages[i] = page_alloc(0, ALLOC_ZERO | ALLOC_USER, current->tenant);
		*err = -ENOMEM;
		if (!s->pages[i])
			return NULL;
	}
	return (char *)page_virt(s->pages[i]) + addr % PAGE_SIZE;
}

static int put_at(struct exec_stack *s, ulong addr, const void *data, size_t n)
{
	for (size_t done = 0; done < n;) {
		size_t part = min(n - done, PAGE_SIZE - (addr + done) % PAGE_SIZE);
		int err;
		char *to = window(s, addr + done, &err);

		if (!to)
			return err;
		memcpy(to, (const char *)data + done, part);
		done += part;
	}
	return 0;
}

int exec_stack_push(struct exec_stack *s, const void *data, size_t n)
{
	int err = put_at(s, s->pos - n, data, n);

	if (!err)
		s->pos -= n;
	return err;
}

int exec_stack_push_string(struct exec_stack *s, const char *str)
{
	return exec_stack_push(s, str, strlen(str) + 1);
}

/* ---- strings of the caller -------------------------------------------------------------------------------- */

static int entry_of(const struct exec_strings *a, size_t i, ulong *out)
{
	if (a->kernel) {
		*out = (ulong)a->kernel[i];
		return 0;
	}
	return user_get(out, a->user + i, sizeof(*out));
}

int exec_strings_count(const struct exec_strings *a, unsigned *out)
{
	ulong p;

	*out = 0;
	if (!a->kernel && !a->user)
		return 0;
	for (;;) {
		if (entry_of(a, *out, &p))
			return -EFAULT;
		if (!p)
			return 0;
		if (++*out >= MAX_ARG_STRINGS)
			return -E2BIG;
	}
}

static int push_user_string(struct exec_stack *s, const char __user *str)
{
	ssize_t n = user_get_string(s->bounce, str, s->bounce_bytes);

	if (n >= (ssize_t)s->bounce_bytes) { /* rare: a long one */
		char *larger;

		if (s->bounce_bytes >= MAX_ARG_STRLEN)
			return -E2BIG;
		larger = kmalloc(MAX_ARG_STRLEN, 0);
		if (!larger)
			return -ENOMEM;
		kfree(s->bounce);
		s->bounce = larger;
		s->bounce_bytes = MAX_ARG_STRLEN;
		return push_user_string(s, str);
	}
	return n < 0 ? -EFAULT : exec_stack_push(s, s->bounce, n + 1);
}

int exec_stack_push_all(struct exec_stack *s, const struct exec_strings *a, unsigned n)
{
	int err = 0;

	while (n-- && !err) {
		ulong p;

		if (entry_of(a, n, &p))
			return -EFAULT;
		err = a->kernel ? exec_stack_push_string(s, (const char *)p)
				: push_user_string(s, (const char __user *)p);
	}
	return err;
}

/* The address after the string at addr. */
static ulong skip_string(struct exec_stack *s, ulong addr)
{
	while (addr < s->top) {
		size_t left = PAGE_SIZE - addr % PAGE_SIZE;
		int err;
		const char *c = window(s, addr, &err), *end;

		if (!c)
			break;
		end = memchr(c, 0, left);
		if (end)
			return addr + (end - c) + 1;
		addr += left;
	}
	return s->top;
}

void exec_stack_drop_first(struct exec_stack *s)
{
	s->pos = skip_string(s, s->pos);
}

/* ---- the vectors ------------------------------------------------------------------------------------------------ */

struct writer {
	struct exec_stack *s;
	ulong at;
	int err;
};

static void put_word(struct writer *w, ulong v)
{
	if (!w->err)
		w->err = put_at(w->s, w->at, &v, sizeof(v));
	w->at += sizeof(v);
}

static ulong put_pointers(struct writer *w, ulong strings, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		put_word(w, strings);
		strings = skip_string(w->s, strings);
	}
	put_word(w, 0);
	return strings;
}

int exec_stack_finish(struct exec_stack *s, unsigned argc, unsigned envc, const ulong *auxv, unsigned auxv_words,
		      struct exec_layout *out)
{
	ulong words = 1 + argc + 1 + envc + 1 + auxv_words, strings = out->strings;
	struct writer w = { .s = s };

	out->sp = ALIGN_DOWN(s->pos - words * sizeof(ulong), 16);
	w.at = out->sp;
	put_word(&w, argc);
	out->arg_start = strings;
	out->arg_end = put_pointers(&w, strings, argc);
	out->env_start = out->arg_end;
	out->env_end = put_pointers(&w, out->env_start, envc);
	for (unsigned i = 0; i < auxv_words; i++)
		put_word(&w, auxv[i]);
	s->pos = out->sp;
	return w.err;
}

int exec_stack_install(struct exec_stack *s, struct mm *m)
{
	ulong last = s->top - 1;

	for (unsigned i = 0; i < s->nr_pages; i++) {
		struct page *page = s->pages[i];
		int err;

		if (!page)
			continue;
		s->pages[i] = NULL;
		err = mm_insert_page(m, (last - (ulong)i * PAGE_SIZE) & PAGE_MASK, page);
		if (err)
			return err;
	}
	return 0;
}
