/* SPDX-License-Identifier: MIT
 *
 * For maps of eBPF: programs send samples through events of kind PERF_COUNT_SW_BPF_OUTPUT.
 *
 * Lifetime: an event lives as long as its file, and then until RCU readers are through.
 */
#ifndef PERF_OUTPUT_H
#define PERF_OUTPUT_H

#include <lib/types.h>

struct file;
struct perf_event;

struct perf_event *perf_event_of(const struct file *f); /* NULL: another kind of file */
/* A sample with raw data, if the event is active on this CPU. Any context, under RCU. -EINVAL (another kind of event),
 * -EOPNOTSUPP (not active here), -EBUSY (inside of another sample), -E2BIG. */
int perf_send_raw(struct perf_event *e, const void *data, u32 bytes);

#endif
