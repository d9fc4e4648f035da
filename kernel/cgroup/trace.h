/* SPDX-License-Identifier: MIT
 *
 * What the tenant tree tells to listeners; each call stands behind trace_on of its event. Fields are Linux 6.1's
 * (events/cgroup).
 */
#ifndef CGROUP_TRACE_H
#define CGROUP_TRACE_H

#include <core/trace.h>

struct cgroup;
struct task;

void cgroup_trace(enum trace_id event, struct cgroup *c); /* cgroup_mkdir, rmdir, freeze, unfreeze */
void cgroup_tell_name(struct cgroup *c);                  /* to perf, behind task_life_key */
void cgroup_trace_attach(struct cgroup *to, const struct task *t);

#endif
