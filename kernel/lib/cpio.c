/* SPDX-License-Identifier: MIT
 *
 * Problem: the first files come in a cpio archive that a loader put into memory; it may be cut off, wrong or made of
 * several archives, some compressed.
 *
 * Idea: a cursor that hands out members and checks every length against what is left before it uses it. A trailer ends
 * one archive; zero bytes are skipped; then the next begins or the cursor stops, so that the caller may look whether
 * something compressed follows.
 *
 * Contract: lib/cpio.h. Names may carry further zero bytes behind their terminator (archives aligned to pages do).
 *
 * Locks: none. Pure.
 */
#include <lib/cpio.h>
#include <lib/err.h>
#include <lib/string.h>

#define HEADER_BYTES 110
#define FIELDS       13

void cpio_begin(struct cpio *c, const void *data, size_t size)
{
	*c = (struct cpio){ .data = data, .size = size };
}

static bool parse_hex8(const u8 *p, u32 *out)
{
	u32 v = 0;

	for (int i = 0; i < 8; i++) {
		u8 ch = p[i];

		if (ch >= '0' && ch <= '9')
			ch -= '0';
		else if ((ch | 32) >= 'a' && (ch | 32) <= 'f')
			ch = (ch | 32) - 'a' + 10;
		else
			return false;
		v = v << 4 | ch;
	}
	*out = v;
	return true;
}

static void skip_zeros(struct cpio *c)
{
	while (c->at < c->size && !c->data[c->at])
		c->at++;
}

static int parse_member(struct cpio *c, struct cpio_member *m)
{
	const u8 *h = c->data + c->at;
	size_t left = c->size - c->at, name_end, data_end;
	u32 f[FIELDS];

	for (int i = 0; i < FIELDS; i++)
		if (!parse_hex8(h + 6 + 8 * i, &f[i]))
			return -EINVAL;
	name_end = ALIGN_UP(HEADER_BYTES + (size_t)f[11], 4);
	data_end = name_end + ALIGN_UP((size_t)f[6], 4);
	if (!f[11] || f[11] > 65536 || name_end > left || name_end + f[6] > left)
		return -EINVAL;
	m->name = (const char *)h + HEADER_BYTES;
	m->name_len = strnlen(m->name, f[11]);
	if (m->name_len == f[11])
		return -EINVAL;
	m->ino = f[0];
	m->mode = f[1];
	m->uid = f[2];
	m->gid = f[3];
	m->nlink = f[4];
	m->mtime = f[5];
	m->dev_major = f[7];
	m->dev_minor = f[8];
	m->rdev_major = f[9];
	m->rdev_minor = f[10];
	m->data = h + name_end;
	m->size = f[6];
	c->at += min(data_end, left);
	return 1;
}

int cpio_next(struct cpio *c, struct cpio_member *m)
{
	for (;;) {
		int r;

		skip_zeros(c);
		if (c->size - c->at < HEADER_BYTES || memcmp(c->data + c->at, "07070", 5))
			return 0;
		if (c->data[c->at + 5] != '1' && c->data[c->at + 5] != '2')
			return 0;
		r = parse_member(c, m);
		if (r < 0 || strcmp(m->name, "TRAILER!!!"))
			return r;
	}
}
