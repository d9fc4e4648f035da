/* SPDX-License-Identifier: MIT
 *
 * Problem: records of any length go from the kernel to a reader that may be slow, absent, or malicious, without a
 * system call a record; and a reader must learn what it has missed, and where.
 *
 * Idea: head is counted in bytes for ever; the reader publishes how far it has read. A record that does not fit is
 * counted, and the first one that fits again is preceded by a LOST record, so losses stand at their place in the
 * order and carry a time. The kernel keeps its own head and never believes the page that it shares.
 *
 *        tail (reader)            head (we)
 *   ------|=======================|--------    used = head - tail, modulo the size
 *
 * Backward rings begin at head 0 and move it down, so that a reader that stops the writer finds the newest first.
 *
 * Contract: perf/ring.h; linux/perf_event.h, struct perf_event_mmap_page. head is stored with release order; the
 * reader's tail is loaded with acquire order before its bytes are overwritten.
 *
 * Locks: the caller's.
 */
#include <lib/string.h>
#include <perf/ring.h>

void perf_ring_setup(struct perf_ring_data *r, void *user_page, void **pages, u32 nr_pages, bool overwrite,
		     bool backward, u32 watermark)
{
	u64 bytes = (u64)nr_pages << PAGE_SHIFT;

	*r = (struct perf_ring_data){ .user = user_page,
				      .pages = pages,
				      .nr_pages = nr_pages,
				      .overwrite = overwrite,
				      .backward = backward,
				      .watermark = watermark ? (u32)min((u64)watermark, bytes) : (u32)(bytes / 2) };
	r->user->version = 0;
	r->user->compat_version = 0;
	r->user->data_offset = PAGE_SIZE;
	r->user->data_size = bytes;
	r->user->size = offsetof(struct perf_event_mmap_page, __reserved);
	r->user->cap_bit0_is_deprecated = 1;
}

bool perf_ring_begin(struct perf_ring_data *r, u32 bytes, u32 lost_bytes, struct perf_ring_write *w)
{
	u64 size = perf_ring_bytes(r), total = bytes;

	if (!r->nr_pages || r->paused) {
		r->lost += r->nr_pages != 0;
		return false;
	}
	*w = (struct perf_ring_write){ .ring = r };
	if (!r->overwrite) {
		u64 tail = __atomic_load_n(&r->user->data_tail, __ATOMIC_ACQUIRE);
		u64 used = (r->head - tail) & (size - 1);

		if (r->lost)
			total += lost_bytes;
		if (used + total >= size) {
			r->lost++;
			return false;
		}
		w->lost = r->lost;
		r->lost = 0;
	} else if (total > size) {
		r->lost++;
		return false;
	}
	w->at = r->backward ? r->head - total : r->head;
	w->new_head = r->backward ? w->at : w->at + total;
	return true;
}

static void write_at(struct perf_ring_write *w, const char *from, u32 bytes)
{
	struct perf_ring_data *r = w->ring;
	u64 mask = perf_ring_bytes(r) - 1;

	while (bytes) {
		u64 at = w->at & mask;
		u32 offset = at & (PAGE_SIZE - 1), n = min(bytes, (u32)PAGE_SIZE - offset);
		char *to = (char *)r->pages[at >> PAGE_SHIFT] + offset;

		if (from) {
			memcpy(to, from, n);
			from += n;
		} else {
			memset(to, 0, n);
		}
		w->at += n;
		bytes -= n;
	}
}

void perf_ring_put(struct perf_ring_write *w, const void *data, u32 bytes)
{
	write_at(w, data, bytes);
}

void perf_ring_skip(struct perf_ring_write *w, u32 bytes)
{
	write_at(w, NULL, bytes);
}

bool perf_ring_end(struct perf_ring_write *w)
{
	struct perf_ring_data *r = w->ring;
	u64 moved;

	r->head = w->new_head;
	__atomic_store_n(&r->user->data_head, r->head, __ATOMIC_RELEASE);
	moved = r->backward ? r->wake_head - r->head : r->head - r->wake_head;
	if (moved <= r->watermark)
		return false;
	r->wake_head = r->head;
	return true;
}
