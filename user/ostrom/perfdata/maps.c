/* SPDX-License-Identifier: MIT
 *
 * Problem: an address of a sample means something only together with what its process had mapped there at that time.
 *
 * Idea: one sorted array of mappings a process; a new mapping cuts away what it covers; a fork copies the parent's; an
 * exec keeps what the new program does not cover, since samples of the exec itself still speak of the old one. Paths
 * are kept once.
 *
 * Contract: maps.h. Locks: none.
 */
#include <errno.h>
#include <stdlib.h>
#include "maps.h"

static struct pd_space *find_space(const struct pd_spaces *s, s32 pid)
{
	struct pd_space *p = s->buckets[(u32)pid % ARRAY_SIZE(s->buckets)];

	while (p && p->pid != pid)
		p = p->next;
	return p;
}

static struct pd_space *get_space(struct pd_spaces *s, s32 pid)
{
	struct pd_space *p = find_space(s, pid);

	if (p)
		return p;
	p = calloc(1, sizeof(*p));
	if (!p)
		return NULL;
	p->pid = pid;
	p->next = s->buckets[(u32)pid % ARRAY_SIZE(s->buckets)];
	s->buckets[(u32)pid % ARRAY_SIZE(s->buckets)] = p;
	return p;
}

static const char *intern(struct pd_spaces *s, const char *text, size_t n)
{
	u32 h = 5381;
	struct pd_path *p;

	for (size_t i = 0; i < n; i++)
		h = h * 33 + (u8)text[i];
	h %= ARRAY_SIZE(s->paths);
	for (p = s->paths[h]; p; p = p->next)
		if (!strncmp(p->text, text, n) && !p->text[n])
			return p->text;
	p = malloc(sizeof(*p) + n + 1);
	if (!p)
		return NULL;
	memcpy(p->text, text, n);
	p->text[n] = 0;
	p->next = s->paths[h];
	s->paths[h] = p;
	return p->text;
}

/* The first mapping that ends after addr. */
static u32 position(const struct pd_space *p, u64 addr)
{
	u32 lo = 0, hi = p->nr;

	while (lo < hi) {
		u32 mid = (lo + hi) / 2;

		if (p->maps[mid].end <= addr)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

/* Puts m in, and what remains left and right of it of the mappings that it covers. */
static int insert(struct pd_space *p, const struct pd_map *m)
{
	u32 first = position(p, m->start), last = first, put = 0;
	struct pd_map parts[3];
	struct pd_map *grown;

	while (last < p->nr && p->maps[last].start < m->end)
		last++;
	if (last > first && p->maps[first].start < m->start) {
		parts[put] = p->maps[first];
		parts[put++].end = m->start;
	}
	parts[put++] = *m;
	if (last > first && p->maps[last - 1].end > m->end) {
		parts[put] = p->maps[last - 1];
		parts[put].pgoff += m->end - parts[put].start;
		parts[put++].start = m->end;
	}
	grown = realloc(p->maps, (p->nr + 3) * sizeof(*grown));
	if (!grown)
		return -ENOMEM;
	p->maps = grown;
	memmove(grown + first + put, grown + last, (p->nr - last) * sizeof(*grown));
	memcpy(grown + first, parts, put * sizeof(*parts));
	p->nr += put - (last - first);
	return 0;
}

static bool is_file(const char *path)
{
	static const char *const memory[] = { "//anon", "/dev/zero", "/anon_hugepage", "[stack", "/SYSV" };

	for (u32 i = 0; i < ARRAY_SIZE(memory); i++)
		if (!strncmp(path, memory[i], strlen(memory[i])))
			return false;
	return strcmp(path, "[heap]");
}

static int add_map(struct pd_spaces *s, const struct pd_sample *r)
{
	bool has2 = r->type == PERF_RECORD_MMAP2;
	u32 fixed = 8 + 32 + (has2 ? 32 : 0);
	const u8 *p = r->rec + 8;
	struct pd_space *space;
	struct pd_map m = { 0 };
	const char *name = (const char *)r->rec + fixed;

	if (r->size <= fixed)
		return 0;
	m.start = pd_u64(p + 8);
	m.end = m.start + pd_u64(p + 16);
	m.pgoff = pd_u64(p + 24);
	if (m.end <= m.start)
		return 0;
	if (has2) {
		m.prot = pd_u32(p + 56);
		m.flags = pd_u32(p + 60);
		if (!(r->misc & PERF_RECORD_MISC_MMAP_BUILD_ID)) {
			m.major = pd_u32(p + 32);
			m.minor = pd_u32(p + 36);
			m.inode = pd_u64(p + 40);
		}
	}
	m.path = intern(s, name, strnlen(name, r->size - fixed));
	space = get_space(s, pd_u32(p));
	if (!m.path || !space)
		return -ENOMEM;
	m.is_file = is_file(m.path);
	return insert(space, &m);
}

static int follow_fork(struct pd_spaces *s, const u8 *p)
{
	s32 pid = pd_u32(p), ppid = pd_u32(p + 4);
	struct pd_space *from, *to;

	if (pid == ppid)
		return 0;
	to = get_space(s, pid);
	if (!to)
		return -ENOMEM;
	from = find_space(s, ppid);
	to->nr = 0;
	if (!from || !from->nr)
		return 0;
	free(to->maps);
	to->maps = malloc(from->nr * sizeof(*to->maps));
	if (!to->maps)
		return -ENOMEM;
	memcpy(to->maps, from->maps, from->nr * sizeof(*to->maps));
	to->nr = from->nr;
	return 0;
}

int pd_spaces_record(struct pd_spaces *s, const struct pd_sample *r)
{
	switch (r->type) {
	case PERF_RECORD_MMAP:
	case PERF_RECORD_MMAP2: return add_map(s, r);
	case PERF_RECORD_FORK:
		if (r->size < 32 || (r->misc & (1 << 13))) /* synthesised: its mappings follow */
			return 0;
		return follow_fork(s, r->rec + 8);
	default: return 0;
	}
}

void pd_spaces_free(struct pd_spaces *s)
{
	for (u32 i = 0; i < ARRAY_SIZE(s->buckets); i++)
		while (s->buckets[i]) {
			struct pd_space *p = s->buckets[i];

			s->buckets[i] = p->next;
			free(p->maps);
			free(p);
		}
	for (u32 i = 0; i < ARRAY_SIZE(s->paths); i++)
		while (s->paths[i]) {
			struct pd_path *p = s->paths[i];

			s->paths[i] = p->next;
			free(p);
		}
}

static bool covers(const struct pd_space *p, u32 i, u64 addr)
{
	return i < p->nr && p->maps[i].start <= addr && addr < p->maps[i].end;
}

const struct pd_map *pd_space_find(const struct pd_spaces *s, s32 pid, u64 addr)
{
	struct pd_space *p = find_space(s, pid);
	u32 i;

	if (!p)
		return NULL;
	for (u32 k = 0; k < ARRAY_SIZE(p->recent); k++)
		if (covers(p, p->recent[k], addr))
			return &p->maps[p->recent[k]];
	i = position(p, addr);
	if (!covers(p, i, addr))
		return NULL;
	p->recent[1] = p->recent[0];
	p->recent[0] = i;
	return &p->maps[i];
}
