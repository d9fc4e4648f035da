/* SPDX-License-Identifier: MIT
 *
 * Problem: what a compiler inlines has no frame in a call chain, so that its time seems to be its caller's.
 *
 * Idea: debug information says which inlined functions cover an address, one inside the other; they become frames
 * between the function and what it called. A caller's address is that of the return, one byte behind the call. Every
 * address is looked up once.
 *
 * Contract: inline.h. DWARF 5, section 3.3.8: DW_TAG_inlined_subroutine. Locks: none.
 */
#include <dwarf.h>
#include <stdio.h>
#include <stdlib.h>
#include "inline.h"

#define INLINED_MOST 32

static const char *intern(struct inlines *in, const char *name)
{
	struct inline_name *n;
	u32 h = 5381;

	for (const char *p = name; *p; p++)
		h = h * 33 + (u8)*p;
	h %= ARRAY_SIZE(in->names);
	for (n = in->names[h]; n; n = n->next)
		if (!strncmp(n->text, name, strlen(name)) && !strcmp(n->text + strlen(name), " (inlined)"))
			return n->text;
	n = malloc(sizeof(*n) + strlen(name) + sizeof(" (inlined)"));
	if (!n)
		return NULL;
	sprintf(n->text, "%s (inlined)", name);
	n->next = in->names[h];
	in->names[h] = n;
	return n->text;
}

/* The entries around a link address, innermost first, as they lie in each other; to be freed. Their number. */
static int scopes_at(struct image *im, u64 vaddr, Dwarf_Die **out)
{
	Dwarf_Die unit, *lexical = NULL;
	int n = image_unit(im, vaddr, &unit) ? dwarf_getscopes(&unit, vaddr, &lexical) : 0;

	*out = NULL;
	if (n > 0) /* these go on with where the inlined function was written, not with where it was put */
		n = dwarf_getscopes_die(&lexical[0], out);
	free(lexical);
	return n;
}

/* The names of what is inlined at a link address, innermost first; their number. */
static u32 find(struct inlines *in, struct image *im, u64 vaddr, const char *names[INLINED_MOST])
{
	Dwarf_Die *scopes;
	int n = scopes_at(im, vaddr, &scopes);
	u32 nr = 0;

	for (int i = 0; i < n && nr < INLINED_MOST; i++) {
		bool is_inlined = dwarf_tag(&scopes[i]) == DW_TAG_inlined_subroutine;
		const char *name = is_inlined ? dwarf_diename(&scopes[i]) : NULL;

		name = name ? intern(in, name) : NULL;
		if (name)
			names[nr++] = name;
	}
	free(scopes);
	return nr;
}

const struct inline_place *inlines_at(struct inlines *in, struct places *p, const struct place *where, bool is_caller)
{
	u64 addr = where->addr - is_caller;
	u32 h = (addr ^ addr >> 10 ^ (uintptr_t)where->file >> 4) % ARRAY_SIZE(in->places), nr;
	const char *names[INLINED_MOST];
	struct inline_place *i = in->places[h];
	struct image *im;

	if (where->level == 'k' || !where->symbol || !where->file->path)
		return NULL;
	while (i && (i->file != where->file || i->addr != addr))
		i = i->next;
	if (i)
		return i;
	im = image_get(&p->images, where->file->path);
	nr = im ? find(in, im, image_vaddr_at(im, addr), names) : 0;
	i = malloc(sizeof(*i) + nr * sizeof(i->names[0]));
	if (!i)
		return NULL;
	*i = (struct inline_place){ in->places[h], where->file, addr, nr };
	memcpy(i->names, names, nr * sizeof(names[0]));
	in->places[h] = i;
	return i;
}

void inlines_free(struct inlines *in)
{
	for (u32 h = 0; h < ARRAY_SIZE(in->places); h++)
		while (in->places[h]) {
			struct inline_place *i = in->places[h];

			in->places[h] = i->next;
			free(i);
		}
	for (u32 h = 0; h < ARRAY_SIZE(in->names); h++)
		while (in->names[h]) {
			struct inline_name *n = in->names[h];

			in->names[h] = n->next;
			free(n);
		}
}
