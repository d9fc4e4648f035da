/* SPDX-License-Identifier: MIT
 *
 * Problem: call chains hold kernel addresses; /proc/kallsyms holds 150,000 names, many of them aliases.
 *
 * Idea: read it in one go, keep text and data names above the user half, sort by address, keep the last name of each
 * address in the file's order: a symbol reaches to the next one, so of several at one address only the last has a size,
 * which is why perf takes it.
 *
 * Contract: ksyms.h. Locks: none.
 */
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "ksyms.h"

static char *read_all(const char *path, size_t *bytes)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	size_t room = 1 << 20, n = 0;
	char *buf = fd < 0 ? NULL : malloc(room + 1);
	ssize_t got = 1;

	while (buf && got > 0) {
		if (n == room) {
			char *grown = realloc(buf, room * 2 + 1);

			if (!grown)
				break;
			buf = grown;
			room *= 2;
		}
		got = read(fd, buf + n, room - n);
		n += max(got, (ssize_t)0);
	}
	if (fd >= 0)
		close(fd);
	if (buf)
		buf[n] = 0;
	*bytes = n;
	return buf;
}

/* "ffffffff81000000 T _text\t[module]": fills s and cuts the name in place. */
static char *parse_line(char *p, struct ksyms *k, struct ksym *s)
{
	char *nl = strchrnul(p, '\n'), *end, *name;
	u64 addr = strtoull(p, &end, 16);
	char type;

	if (*nl)
		*nl++ = 0;
	memset(s, 0, sizeof(*s));
	if (*end != ' ' || !end[1] || end[2] != ' ')
		return nl;
	type = end[1];
	name = end + 3;
	name[strcspn(name, "\t ")] = 0;
	if (!strchr("TWDB", toupper(type)) || addr < 1ULL << 63)
		return nl;
	*s = (struct ksym){ .addr = addr, .name = name - k->names };
	return nl;
}

static int by_addr(const void *a, const void *b)
{
	const struct ksym *x = a, *y = b;

	if (x->addr != y->addr)
		return x->addr < y->addr ? -1 : 1;
	return x->name < y->name ? -1 : x->name > y->name;
}

static void mark_ignored(struct ksyms *k)
{
	static const char *const names[] = { "schedule", "__schedule", "preempt_schedule" };

	for (u32 i = 0; i < k->nr; i++)
		for (u32 n = 0; n < ARRAY_SIZE(names); n++)
			if (!strcmp(k->names + k->syms[i].name, names[n]))
				k->syms[i].is_ignored = true;
}

void ksyms_finish(struct ksyms *k)
{
	u32 n = 0;

	qsort(k->syms, k->nr, sizeof(*k->syms), by_addr);
	for (u32 i = 1; i < k->nr; i++) {
		n += k->syms[i].addr != k->syms[n].addr;
		k->syms[n] = k->syms[i];
	}
	k->nr = n + 1;
	mark_ignored(k);
}

const struct ksym *ksyms_named(const struct ksyms *k, const char *name)
{
	for (u32 i = 0; i < k->nr; i++)
		if (!strcmp(k->names + k->syms[i].name, name))
			return &k->syms[i];
	return NULL;
}

int ksyms_load(struct ksyms *k, const char *path)
{
	size_t bytes;
	u32 room = 0;
	struct ksym s;

	memset(k, 0, sizeof(*k));
	k->names = read_all(path ? path : "/proc/kallsyms", &bytes);
	if (!k->names)
		return -errno;
	for (char *p = k->names; *p;) {
		p = parse_line(p, k, &s);
		if (!s.addr)
			continue;
		if (k->nr == room) {
			struct ksym *grown = realloc(k->syms, (room = room ? room * 2 : 65536) * sizeof(s));

			if (!grown)
				return ksyms_free(k), -ENOMEM;
			k->syms = grown;
		}
		k->syms[k->nr++] = s;
	}
	if (!k->nr)
		return ksyms_free(k), -EPERM;
	ksyms_finish(k);
	return 0;
}

void ksyms_free(struct ksyms *k)
{
	free(k->syms);
	free(k->names);
	memset(k, 0, sizeof(*k));
}

struct ksym *ksyms_find(const struct ksyms *k, u64 addr)
{
	u32 lo = 0, hi = k->nr;

	while (lo < hi) {
		u32 mid = (lo + hi) / 2;

		if (k->syms[mid].addr <= addr)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo ? &k->syms[lo - 1] : NULL;
}
