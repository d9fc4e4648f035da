/* SPDX-License-Identifier: MIT
 *
 * Problem: a sampled access says what was touched, not where the line was; the kernel must say so at once, in bounded
 * memory.
 *
 * Idea: the order of samples plays the line's ownership. A set-associative table remembers the lines that were sampled
 * last: lines that are fought over come back every few samples, so what is forgotten was not contended. A line that
 * is merely handed over (filled by one thread, used by another) travels once or twice; only from the third time on is
 * it called fought over.
 *
 * Contract: perf/owner.h. Locks: none; the caller's.
 */
#include <lib/string.h>
#include <perf/owner.h>

#define TRAVELS_TO_FIGHT 3

bool line_owner_touch(struct line_owner *o, u32 cpu, bool is_write)
{
	u64 me = 1ull << (cpu % 64);
	bool moved;

	if (is_write) {
		moved = (o->is_modified && o->cpu != cpu) || (o->was_written && (o->holders & ~me));
		o->is_modified = true;
		o->was_written = true;
		o->cpu = cpu;
		o->holders = me;
		return moved;
	}
	moved = o->is_modified && o->cpu != cpu && !(o->holders & me);
	o->holders |= me;
	return moved;
}

/* The line's slot, or the one that was used least recently. */
static struct owner_slot *find(struct owner_slot *set, u64 key, u32 clock)
{
	struct owner_slot *oldest = set;

	for (unsigned w = 0; w < OWNER_WAYS; w++) {
		if (set[w].key == key)
			return &set[w];
		if (!set[w].key || clock - set[w].used > clock - oldest->used)
			oldest = &set[w];
		if (!set[w].key)
			break;
	}
	return oldest;
}

enum owner_verdict owner_touch(struct owner_table *t, u64 key, u32 cpu, bool is_write, u32 *from)
{
	struct owner_slot *s = find(t->slots[(key * 0x9e3779b97f4a7c15ull) >> 54], key, ++t->clock);
	bool is_new = s->key != key;

	_Static_assert(OWNER_SETS == 1 << 10, "ten bits of the hash");
	if (is_new)
		*s = (struct owner_slot){ .key = key };
	s->used = t->clock;
	*from = s->owner.was_written ? s->owner.cpu : cpu;
	if (!line_owner_touch(&s->owner, cpu, is_write))
		return is_new ? OWNER_UNKNOWN : OWNER_HERE;
	if (s->travels < TRAVELS_TO_FIGHT)
		s->travels++;
	return s->travels < TRAVELS_TO_FIGHT ? OWNER_HANDED : OWNER_FOUGHT;
}
