/* SPDX-License-Identifier: MIT
 *
 * Problem: who made, froze or left which tenant, and when.
 *
 * Idea: one record with the path for what happens to a tenant, one more for a task that moves. The path is written into
 * the record itself; a longer one than PATH_ROOM is cut.
 *
 * Contract: trace.h. Source of the fields: events/cgroup/.../format of Linux 6.1. The root has level 0; cgroup2 is
 * hierarchy 0.
 *
 * Locks: cgroup_lock is held by the callers, so paths do not change.
 */
#include <lib/printf.h>
#include <lib/string.h>
#include <task/hooks.h>
#include <task/task.h>
#include "cgroup_priv.h"
#include "trace.h"

#define PATH_ROOM 256

static int level_of(struct cgroup *c)
{
	int level = 0;

	while ((c = cgroup_parent(c)))
		level++;
	return level;
}

static void path_of(struct cgroup *c, char path[PATH_ROOM])
{
	struct strbuf text;

	strbuf_init(&text, path, PATH_ROOM);
	cgroup_add_path(c, &text);
	if (!text.len)
		strbuf_add(&text, "/");
}

static u32 put_path(void *record, size_t *size, size_t room, struct cgroup *c)
{
	char path[PATH_ROOM];

	path_of(c, path);
	return trace_put_string(record, size, room, path);
}

void cgroup_tell_name(struct cgroup *c)
{
	char path[PATH_ROOM];

	path_of(c, path);
	task_hooks->tenant_named(cgroup_id(c->tenant), path);
}

void cgroup_trace(enum trace_id event, struct cgroup *c)
{
	struct {
		struct trace_cgroup_mkdir r;
		char path[PATH_ROOM];
	} e = { .r = { .level = level_of(c), .id = cgroup_id(c->tenant) } };
	size_t size = sizeof(e.r);

	e.r.path = put_path(&e, &size, sizeof(e), c);
	trace_emit(event, &e, size);
}

void cgroup_trace_attach(struct cgroup *to, const struct task *t)
{
	struct {
		struct trace_cgroup_attach_task r;
		char text[PATH_ROOM + sizeof(t->comm)];
	} e = { .r = { .dst_level = level_of(to), .dst_id = cgroup_id(to->tenant), .pid = t->tid } };
	size_t size = sizeof(e.r);

	e.r.dst_path = put_path(&e, &size, sizeof(e), to);
	e.r.comm = trace_put_string(&e, &size, sizeof(e), t->comm);
	trace_emit(TRACE_cgroup_attach_task, &e, size);
}
