/* SPDX-License-Identifier: MIT
 *
 * Problem: maps hold perf events, through which programs send samples to a process, and cgroups, by which they tell
 * tasks apart.
 *
 * Idea: a slot holds the event's file, or the tenant, counted. A helper takes it from the slot under RCU.
 *
 * Contract: bpf-helpers(7), Linux 6.1: bpf_perf_event_output with up to 64 KiB, and for packets with the packet's first
 * bytes behind them; bpf_skb_under_cgroup, bpf_current_task_under_cgroup.
 *
 * Locks: none; slots are exchanged atomically (map_fd.c).
 */
#include <alloc/slab.h>
#include <bpf/cgroup.h>
#include <bpf/ctx.h>
#include <bpf/helper.h>
#include <bpf/prog.h>
#include <cgroup/cgroup.h>
#include <core/log.h>
#include <core/rcu.h>
#include <lib/err.h>
#include <lib/string.h>
#include <net/socket.h>
#include <perf/output.h>
#include <task/task.h>

#include "glue_priv.h"

#define ERR(e) ((u64)(s64)(e))
#define FN(n)  static u64 n(u64 r1, u64 r2, u64 r3, u64 r4, u64 r5)

/* The socket; its file is what is counted. */
static struct socket *hold_socket(s32 fd, int *err)
{
	struct fd_ref r = fd_get(fd);
	struct socket *s = r.file ? socket_of_file(r.file) : NULL;

	*err = s ? 0 : r.file ? -ENOTSOCK : -EBADF;
	if (s) {
		file_get(r.file);
		s->has_storage = true; /* perhaps, soon */
	}
	if (r.file)
		fd_put(r);
	return s;
}

void *bpf_held_get(u32 map_type, s32 fd, int *err)
{
	struct tenant *t = NULL;
	struct fd_ref r;

	if (map_type == BPF_MAP_TYPE_CGROUP_ARRAY) {
		*err = cgroup_tenant_of_fd(fd, &t);
		return *err ? NULL : t;
	}
	if (map_type == BPF_MAP_TYPE_SK_STORAGE)
		return hold_socket(fd, err);
	r = fd_get(fd);
	*err = r.file && perf_event_of(r.file) ? 0 : -EBADF;
	if (!*err)
		file_get(r.file);
	if (r.file)
		fd_put(r);
	return *err ? NULL : r.file;
}

void bpf_held_drop(u32 map_type, void *obj)
{
	if (map_type == BPF_MAP_TYPE_CGROUP_ARRAY) {
		tenant_put(obj);
		return;
	}
	if (map_type == BPF_MAP_TYPE_SK_STORAGE) {
		file_put(((struct socket *)obj)->file);
		return;
	}
	rcu_synchronize(); /* programs that took it from its slot */
	file_put(obj);
}

/* ---- samples -------------------------------------------------------------------------------------------------------
 */

static int send(struct bpf_map *map, u32 index, const void *data, u32 bytes)
{
	struct file *f;

	if (index == (u32)BPF_F_CURRENT_CPU)
		index = bpf_env.cpu_id();
	if (index >= map->max_entries)
		return -E2BIG;
	f = map->ops->lookup(map, &index);
	return f ? perf_send_raw(perf_event_of(f), data, bytes) : -ENOENT;
}

/* The data, then the packet's first bytes, in memory of their own. */
static int send_with_packet(const struct bpf_skb_ctx *c, struct bpf_map *map, u32 index, const void *data, u32 bytes,
			    u32 more)
{
	u8 *both;
	int err;

	if (more > (u64)(c->data_end - c->data))
		return -EFAULT;
	both = kmalloc(bytes + more, ALLOC_ATOMIC);
	if (!both)
		return -ENOMEM;
	memcpy(both, data, bytes);
	memcpy(both + bytes, c->data, more);
	err = send(map, index, both, bytes + more);
	kfree(both);
	return err;
}

static bool has_packet(void)
{
	const struct bpf_cgroup_run *run = bpf_cgroup_running();

	return !run || run->item->prog->type == BPF_PROG_TYPE_CGROUP_SKB ||
	       run->item->prog->type == BPF_PROG_TYPE_SOCKET_FILTER || run->item->prog->type == BPF_PROG_TYPE_SCHED_CLS;
}

FN(event_output)
{
	u32 more = (u32)((r3 & BPF_F_CTXLEN_MASK) >> 32);

	if (r3 & ~(u64)(BPF_F_INDEX_MASK | (has_packet() ? BPF_F_CTXLEN_MASK : 0)))
		return ERR(-EINVAL);
	if (more)
		return ERR(send_with_packet((const struct bpf_skb_ctx *)r1, (struct bpf_map *)r2, (u32)r3,
					    (const void *)r4, (u32)r5, more));
	return ERR(send((struct bpf_map *)r2, (u32)r3, (const void *)r4, (u32)r5));
}

/* ---- cgroups -------------------------------------------------------------------------------------------------------
 */

static int is_under(const struct tenant *t, struct bpf_map *map, u32 index)
{
	const struct tenant *top;

	if (index >= map->max_entries)
		return -E2BIG;
	top = map->ops->lookup(map, &index);
	if (!top)
		return -EAGAIN;
	while (t && t != top)
		t = t->parent;
	return t != NULL;
}

FN(packet_under)
{
	const struct bpf_sock_view *v = ((const struct bpf_skb_ctx *)r1)->sk;

	return v ? ERR(is_under(((const struct socket *)v->socket)->tenant, (struct bpf_map *)r2, (u32)r3))
		 : ERR(-ENOENT);
}

FN(task_under)
{
	return ERR(is_under(current->tenant, (struct bpf_map *)r1, (u32)r2));
}

/* ---- programs on events ---------------------------------------------------------------------------------------- */

/* Where a tracepoint fires nothing can be allocated: run queues may be locked. */
static bool allocates(const struct bpf_prog *p)
{
	for (u32 i = 0; i < p->nr_maps; i++)
		if ((p->maps[i]->type == BPF_MAP_TYPE_HASH || p->maps[i]->type == BPF_MAP_TYPE_PERCPU_HASH ||
		     p->maps[i]->type == BPF_MAP_TYPE_LPM_TRIE) &&
		    (p->maps[i]->flags & BPF_F_NO_PREALLOC))
			return true;
	return false;
}

static int program_get(int fd, bool for_tracepoint, struct bpf_prog **out, u32 *reads)
{
	struct fd_ref r = fd_get(fd);
	enum bpf_object kind;
	struct bpf_prog *p;
	u32 flags;
	int err;

	if (!r.file)
		return -EBADF;
	p = bpf_file_object(r.file, &kind, &flags);
	err = !p || kind != BPF_OBJ_PROG ? -EINVAL : 0;
	if (!err && p->type != (for_tracepoint ? BPF_PROG_TYPE_TRACEPOINT : BPF_PROG_TYPE_PERF_EVENT))
		err = fail(EINVAL, "perf: a program of type %u", p->type);
	if (!err && allocates(p))
		err = fail(EINVAL, "perf: the program's maps allocate when it runs");
	if (!err) {
		bpf_prog_get(p);
		*out = p;
		*reads = p->max_ctx_off;
	}
	fd_put(r);
	return err;
}

static u32 program_id(const struct bpf_prog *p)
{
	return p->id;
}

static const struct perf_program_ops program_ops = {
	.get = program_get, .put = bpf_prog_put, .run = bpf_prog_run, .id = program_id
};

void bpf_held_init(void)
{
	perf_programs_set(&program_ops);
	bpf_helper_set(BPF_FUNC_perf_event_output, event_output);
	bpf_helper_set(BPF_FUNC_skb_under_cgroup, packet_under);
	bpf_helper_set(BPF_FUNC_current_task_under_cgroup, task_under);
}
