/* SPDX-License-Identifier: MIT
 *
 * For eBPF: programs send samples through events of kind PERF_COUNT_SW_BPF_OUTPUT, and look at tracepoints and samples
 * (PERF_EVENT_IOC_SET_BPF).
 *
 * Lifetime: an event lives as long as its file, and then until RCU readers are through.
 */
#ifndef PERF_OUTPUT_H
#define PERF_OUTPUT_H

#include <lib/types.h>

struct bpf_prog;
struct file;
struct perf_event;

struct perf_event *perf_event_of(const struct file *f); /* NULL: another kind of file */
/* The program at an event, under RCU; NULL: none. *name: of its tracepoint; NULL: it looks at samples. */
const struct bpf_prog *perf_program_of(const struct perf_event *e, const char **name);
/* A sample with raw data, if the event is active on this CPU. Any context, under RCU. -EINVAL (another kind of event),
 * -EOPNOTSUPP (not active here), -EBUSY (inside of another sample), -E2BIG. */
int perf_send_raw(struct perf_event *e, const void *data, u32 bytes);

/* Who knows programs; set once, at boot. run: any context, IRQs off. get: the program of a descriptor, with a
 * reference, if it is for tracepoints (or else for samples) and safe where they fire; *reads: bytes of the record that
 * it looks at. -EBADF, -EINVAL. */
struct perf_program_ops {
	int (*get)(int fd, bool for_tracepoint, struct bpf_prog **out, u32 *reads);
	void (*put)(struct bpf_prog *p);
	u64 (*run)(const struct bpf_prog *p, const void *context);
	u32 (*id)(const struct bpf_prog *p);
};
void perf_programs_set(const struct perf_program_ops *ops);

#endif
