/* SPDX-License-Identifier: MIT
 *
 * Problem: a buffered writer fills the device's queue with requests that nobody waits for, and each read then waits for
 * all of them.
 *
 * Idea: a control loop over windows of about 100 ms. The measure is how many reads of the window were slower than the
 * target (Linux looks at the fastest read, which one cached read makes look well). More than a tenth slow, or a
 * read stuck: halve the depth for writes. Good windows widen it again, the more patiently the more often widening was
 * punished. Windows with writes only widen it beyond the start, and the first read that comes takes that back at once.
 *
 *      verdict    reads?  slow > 1/10 or stuck   -> TOO_SLOW   step + 1 (+ 2 when four times over)
 *                 reads, fine                    -> GOOD       step - 1 after `patience` windows; at 0 and below, if
 *                                                              reads are twice as fast as need be, one window on
 *                                                              trial: kept if writes gained a twentieth
 *                 writes only                    -> WRITES     step - 1
 *                 nothing                        -> IDLE       step towards 0 after five
 *      depth      min(16, queue) shifted by step, at most 3/4 of the queue
 *      limit      urgent depth, normal 1/2, background 1/4; normal counts as background while foreground I/O is recent
 *      window     100 ms / sqrt(step + 1) when tightened, so that it reacts faster the worse it is
 *
 * Contract: block/wbt.h. The law of steps and limits follows Linux 4.10 (block/blk-wbt.c, its head comment) where
 * nothing else is said; verdict, patience and snapping back are ours.
 *
 * Locks: the queue's.
 */
#include <lib/err.h>
#include <lib/string.h>
#include <block/wbt.h>

#define WINDOW_NS      (100 * NSEC_PER_MSEC)
#define RECENT_NS      (100 * NSEC_PER_MSEC)
#define DIRTY_NS       NSEC_PER_SEC
#define START_DEPTH    16u
#define MAX_PATIENCE   32u
#define HOLD_WINDOWS   64
#define IDLE_WINDOWS   5
#define SSD_TARGET_NS  (2 * NSEC_PER_MSEC)
#define DISK_TARGET_NS (75 * NSEC_PER_MSEC)

enum verdict { TOO_SLOW, GOOD, WRITES, IDLE };

static unsigned isqrt(unsigned v)
{
	unsigned r = 0;

	while ((r + 1) * (r + 1) <= v)
		r++;
	return r;
}

static unsigned depth_at(const struct wbt *w, int step)
{
	unsigned depth = max(min(START_DEPTH, w->queue_depth), 1u);

	if (step > 0)
		return 1 + ((depth - 1) >> min(step, 31));
	if (step < 0)
		return min(1 + ((depth - 1) << min(-step, 16)), max(w->queue_depth * 3 / 4, depth));
	return depth;
}

static void set_step(struct wbt *w, int step)
{
	unsigned depth = depth_at(w, step);

	w->step = step;
	w->limit[WBT_URGENT] = depth;
	w->limit[WBT_NORMAL] = (depth + 1) / 2;
	w->limit[WBT_BACKGROUND] = (depth + 3) / 4;
	w->window_ns = step > 0 ? WINDOW_NS * 16 / isqrt((step + 1) * 256) : WINDOW_NS;
}

static void start_window(struct wbt *w)
{
	w->reads = w->slow_reads = w->writes = 0;
	w->worst_read_ns = 0;
}

void wbt_init(struct wbt *w, unsigned queue_depth, bool rotational)
{
	*w = (struct wbt){ .queue_depth = queue_depth, .patience = 1 };
	w->default_target_ns = rotational ? DISK_TARGET_NS : SSD_TARGET_NS;
	w->target_ns = w->default_target_ns;
	set_step(w, 0);
}

int wbt_parse_target(const struct wbt *w, const char *text, u64 *target_ns)
{
	s64 us;

	if (str_to_s64(text, 10, &us) || us < -1 || us > INT32_MAX)
		return -EINVAL;
	*target_ns = us < 0 ? w->default_target_ns : us * NSEC_PER_USEC;
	return 0;
}

void wbt_set_target(struct wbt *w, u64 target_ns)
{
	w->target_ns = target_ns;
	w->patience = 1;
	w->good_windows = w->idle_windows = 0;
	set_step(w, 0);
	start_window(w);
}

enum wbt_class wbt_classify(unsigned flags)
{
	if (flags & WBT_DIRECT)
		return WBT_EXEMPT;
	if (flags & (WBT_SYNC | WBT_META | WBT_RECLAIM))
		return WBT_URGENT;
	return flags & WBT_PERIODIC ? WBT_BACKGROUND : WBT_NORMAL;
}

static bool is_recent(u64 then_ns, u64 now_ns, u64 span_ns)
{
	return then_ns && now_ns - then_ns < span_ns;
}

static unsigned limit_now(const struct wbt *w, enum wbt_class cls, u64 now_ns)
{
	/* a writer asleep on dirty limits waits for these very writes */
	if (cls == WBT_URGENT || is_recent(w->last_dirty_wait_ns, now_ns, DIRTY_NS))
		return w->limit[WBT_URGENT];
	if (cls == WBT_NORMAL && is_recent(w->last_foreground_ns, now_ns, RECENT_NS))
		return w->limit[WBT_BACKGROUND];
	return w->limit[cls];
}

bool wbt_may_start(struct wbt *w, enum wbt_class cls, u64 now_ns)
{
	if (cls == WBT_EXEMPT) {
		wbt_foreground(w, now_ns);
		return true;
	}
	if (w->target_ns && w->inflight >= limit_now(w, cls, now_ns))
		return false;
	w->inflight++;
	return true;
}

void wbt_done(struct wbt *w, enum wbt_class cls)
{
	if (cls == WBT_EXEMPT)
		return;
	w->writes++;
	w->inflight--;
}

void wbt_foreground(struct wbt *w, u64 now_ns)
{
	w->last_foreground_ns = now_ns;
}

void wbt_dirty_wait(struct wbt *w, u64 now_ns)
{
	w->last_dirty_wait_ns = now_ns;
}

void wbt_read_issued(struct wbt *w, const void *id, u64 now_ns)
{
	wbt_foreground(w, now_ns);
	if (w->step < 0 && w->blind)
		set_step(w, 0);
	w->blind = false;
	if (!w->tracked) {
		w->tracked = id;
		w->tracked_since_ns = now_ns;
	}
}

void wbt_read_done(struct wbt *w, const void *id, u64 issued_ns, u64 now_ns)
{
	u64 took = now_ns - issued_ns;

	wbt_foreground(w, now_ns);
	if (w->tracked == id)
		w->tracked = NULL;
	w->reads++;
	w->slow_reads += took > w->target_ns;
	w->worst_read_ns = max(w->worst_read_ns, took);
}

static enum verdict judge(const struct wbt *w, u64 now_ns)
{
	u64 stuck = w->tracked ? now_ns - w->tracked_since_ns : 0;

	if (stuck > w->window_ns || (stuck > w->target_ns && !w->reads))
		return TOO_SLOW;
	if (w->reads)
		return w->slow_reads * 10 > w->reads ? TOO_SLOW : GOOD;
	return w->writes || w->inflight ? WRITES : IDLE;
}

static void tighten(struct wbt *w)
{
	int by = w->worst_read_ns > 4 * w->target_ns ? 2 : 1;

	w->trial = false;
	w->hold = HOLD_WINDOWS;
	if (w->step < 0) {
		set_step(w, w->blind ? 0 : w->step + 1);
		return;
	}
	/* Widening was punished: wait longer next time. */
	if (w->good_windows == 0 && w->patience < MAX_PATIENCE)
		w->patience *= 2;
	w->good_windows = 0;
	while (by-- && w->limit[WBT_URGENT] > 1)
		set_step(w, w->step + 1);
}

static void widen(struct wbt *w)
{
	if (depth_at(w, w->step - 1) != w->limit[WBT_URGENT])
		set_step(w, w->step - 1);
}

/* Reads are served in time with the depth at its start or wider. Is the device wide enough to use more? */
static void try_wider(struct wbt *w, u64 now_ns)
{
	u64 span = max(now_ns - w->window_start_ns, (u64)1), rate = w->writes * NSEC_PER_SEC / span;

	if (w->trial) {
		w->trial = false;
		if (rate < w->trial_rate + w->trial_rate / 20) {
			set_step(w, w->step + 1);
			w->hold = HOLD_WINDOWS;
		}
		return;
	}
	if (w->hold && w->hold--)
		return;
	if (!w->writes || 2 * w->worst_read_ns > w->target_ns)
		return;
	w->trial = depth_at(w, w->step - 1) != w->limit[WBT_URGENT];
	w->trial_rate = rate;
	widen(w);
}

static void adjust(struct wbt *w, enum verdict v, u64 now_ns)
{
	if (v != IDLE)
		w->idle_windows = 0;
	switch (v) {
	case TOO_SLOW: tighten(w); break;
	case GOOD:
		if (w->step <= 0) {
			try_wider(w, now_ns);
		} else if (++w->good_windows >= w->patience) {
			w->good_windows = 0;
			widen(w);
		}
		break;
	case WRITES:
		w->patience = max(w->patience / 2, 1u);
		w->blind = true;
		w->trial = false;
		widen(w);
		break;
	case IDLE:
		if (++w->idle_windows < IDLE_WINDOWS)
			break;
		w->idle_windows = 0;
		w->patience = 1;
		if (w->step)
			set_step(w, w->step + (w->step < 0 ? 1 : -1));
		break;
	}
}

u64 wbt_tick(struct wbt *w, u64 now_ns)
{
	if (!w->target_ns)
		return 0;
	adjust(w, judge(w, now_ns), now_ns);
	start_window(w);
	w->window_start_ns = now_ns;
	return w->step || w->inflight || w->tracked ? now_ns + w->window_ns : 0;
}
