/* SPDX-License-Identifier: MIT
 *
 * Problem: an hour of scheduler events is tens of gigabytes.
 *
 * Idea: what comes from the rings goes through one zstd stream for the whole file, flushed at the end of each stretch,
 * and is stored in COMPRESSED records of at most 64 KiB, as `perf record -z` does. Records of the recorder's own
 * (rounds, synthesised ones) stay as they are.
 *
 * Contract: writer.h. Source: perf.data-file-format.txt, HEADER_COMPRESSED and PERF_RECORD_COMPRESSED.
 * Locks: none.
 */
#include <errno.h>
#include <stdlib.h>
#include <zstd.h>
#include "writer.h"

#define STRETCH      (512u << 10) /* bytes before compression that one record holds at most: readers make room for it */
#define RECORD_BYTES 65528u

struct pack {
	ZSTD_CStream *stream;
	u64 in, out;
	int level;
	u8 record[RECORD_BYTES];
};

int pw_compress(struct pw *w, int level)
{
	struct pack *p = calloc(1, sizeof(*p));

	if (!p)
		return -ENOMEM;
	p->level = level;
	p->stream = ZSTD_createCStream();
	if (!p->stream || ZSTD_isError(ZSTD_initCStream(p->stream, level))) {
		ZSTD_freeCStream(p->stream);
		free(p);
		return -ENOMEM;
	}
	w->pack = p;
	return 0;
}

static void pack_stretch(struct pw *w, const void *bytes, size_t n)
{
	static const u32 head = sizeof(struct perf_event_header);
	struct pack *p = w->pack;
	ZSTD_inBuffer in = { bytes, n, 0 };
	size_t left;

	do {
		ZSTD_outBuffer out = { p->record + head, RECORD_BYTES - head, 0 };
		struct perf_event_header h = { .type = PD_COMPRESSED };

		left = ZSTD_compressStream2(p->stream, &out, &in, ZSTD_e_flush);
		if (ZSTD_isError(left)) {
			w->error = w->error ? w->error : -EIO;
			return;
		}
		h.size = head + out.pos;
		memcpy(p->record, &h, head);
		if (out.pos)
			pw_write(w, p->record, h.size);
		p->out += out.pos;
	} while (left || in.pos < in.size);
	p->in += n;
}

void pw_write_records(struct pw *w, const void *bytes, size_t n)
{
	const u8 *p = bytes;

	if (!w->pack)
		pw_write(w, bytes, n);
	for (size_t at = 0; w->pack && at < n; at += STRETCH)
		pack_stretch(w, p + at, min(n - at, (size_t)STRETCH));
}

void pw_finish_pack(struct pw *w)
{
	struct pack *p = w->pack;

	if (!p)
		return;
	pw_put_u32(w, PD_FEAT_COMPRESSED, 1); /* version */
	pw_put_u32(w, PD_FEAT_COMPRESSED, 1); /* zstd */
	pw_put_u32(w, PD_FEAT_COMPRESSED, p->level);
	pw_put_u32(w, PD_FEAT_COMPRESSED, p->out ? (p->in + p->out / 2) / p->out : 1);
	pw_put_u32(w, PD_FEAT_COMPRESSED, STRETCH);
	ZSTD_freeCStream(p->stream);
	free(p);
	w->pack = NULL;
}
