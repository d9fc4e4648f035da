/* SPDX-License-Identifier: MIT
 *
 * Problem: programs, maps, types and links are reached through descriptors; some maps are also memory to map and a
 * queue to wait at.
 *
 * Idea: one nameless file a descriptor, four tables of operations, by which an object's kind is known again. Waiting
 * for ring buffers goes through a few queues that rings share by address: a sleeper looks at its own ring again.
 *
 * Contract: /proc/PID/fdinfo as in Linux 6.1 (bpftool and libbpf read it).
 *
 * Locks: none of its own.
 */
#include <alloc/kmap.h>
#include <alloc/slab.h>
#include <arch/cpu.h>
#include <bpf/btf.h>
#include <lib/err.h>
#include <lib/printf.h>
#include <linux/eventpoll.h>
#include <linux/fcntl.h>
#include <task/wait.h>
#include <vfs/poll.h>

#include "glue_priv.h"

#define RING_QUEUES 16

static struct waitq ring_queues[RING_QUEUES];

void bpf_kind_get(enum bpf_object kind, void *obj)
{
	bpf_object_hold(kind, obj);
	if (kind == BPF_OBJ_MAP)
		bpf_map_use(obj);
}

void bpf_kind_put(enum bpf_object kind, void *obj)
{
	if (kind == BPF_OBJ_MAP)
		bpf_map_unuse(obj);
	bpf_object_put(kind, obj);
}

/* ---- fdinfo ---------------------------------------------------------------------------------------------------- */

static void add_tag(struct strbuf *out, const struct bpf_prog *p)
{
	for (u32 i = 0; i < BPF_TAG_SIZE; i++)
		strbuf_add(out, "%02x", p->tag[i]);
}

static void map_fdinfo(struct file *f, struct strbuf *out)
{
	const struct bpf_map *m = f->priv;

	strbuf_add(out, "map_type:\t%u\nkey_size:\t%u\nvalue_size:\t%u\nmax_entries:\t%u\nmap_flags:\t%#x\n", m->type,
		   m->key_size, m->value_size, m->max_entries, m->flags);
	strbuf_add(out, "map_extra:\t%#x\nmemlock:\t%llu\nmap_id:\t%u\nfrozen:\t%u\n", 0U,
		   (unsigned long long)ALIGN_UP(m->memory_bytes, PAGE_SIZE), m->id, m->frozen);
}

static void prog_fdinfo(struct file *f, struct strbuf *out)
{
	const struct bpf_prog *p = f->priv;

	strbuf_add(out, "prog_type:\t%u\nprog_jited:\t%u\nprog_tag:\t", p->type, p->jited != NULL);
	add_tag(out, p);
	strbuf_add(out, "\nmemlock:\t%llu\nprog_id:\t%u\nrun_time_ns:\t%llu\nrun_cnt:\t%llu\n",
		   (unsigned long long)ALIGN_UP((u64)p->len * 8, PAGE_SIZE), p->id, (unsigned long long)p->stats.ns,
		   (unsigned long long)p->stats.runs);
	strbuf_add(out, "recursion_misses:\t%llu\nverified_insns:\t%u\n", (unsigned long long)p->stats.misses,
		   p->verified_insns);
}

static void btf_fdinfo(struct file *f, struct strbuf *out)
{
	strbuf_add(out, "btf_id:\t%u\n", bpf_btf_id(f->priv));
}

static void link_fdinfo(struct file *f, struct strbuf *out)
{
	const struct bpf_link *l = f->priv;
	struct bpf_link_info info = { .type = l->type };

	strbuf_add(out, "link_type:\t%s\nlink_id:\t%u\n", l->type == BPF_LINK_TYPE_CGROUP ? "cgroup" : "unknown",
		   l->id);
	if (l->prog) {
		strbuf_add(out, "prog_tag:\t");
		add_tag(out, l->prog);
		strbuf_add(out, "\nprog_id:\t%u\n", l->prog->id);
	}
	l->ops->info(l, &info);
	if (l->type == BPF_LINK_TYPE_CGROUP)
		strbuf_add(out, "cgroup_id:\t%llu\nattach_type:\t%u\n", (unsigned long long)info.cgroup.cgroup_id,
			   info.cgroup.attach_type);
}

/* ---- ring buffers: waiting -------------------------------------------------------------------------------------- */

static struct waitq *queue_of(const struct bpf_map *map)
{
	return &ring_queues[(ulong)map / sizeof(*map) % RING_QUEUES];
}

void bpf_files_wake_ring(void *map)
{
	waitq_wake(queue_of(map), -1, EPOLLIN | EPOLLRDNORM);
}

static unsigned map_poll(struct file *f, struct poll_table *pt)
{
	struct bpf_map *map = f->priv;

	if (map->type != BPF_MAP_TYPE_RINGBUF)
		return EPOLLERR;
	poll_wait(f, queue_of(map), pt);
	return bpf_ringbuf_query(map, BPF_RB_AVAIL_DATA) ? EPOLLIN | EPOLLRDNORM : 0;
}

/* ---- files ------------------------------------------------------------------------------------------------------- */

static void map_release(struct file *f)
{
	bpf_kind_put(BPF_OBJ_MAP, f->priv);
}

static void prog_release(struct file *f)
{
	bpf_kind_put(BPF_OBJ_PROG, f->priv);
}

static void btf_release(struct file *f)
{
	bpf_kind_put(BPF_OBJ_BTF, f->priv);
}

static void link_release(struct file *f)
{
	bpf_kind_put(BPF_OBJ_LINK, f->priv);
}

static const struct file_ops file_ops[BPF_OBJ_KINDS] = {
	[BPF_OBJ_MAP] = { .release = map_release, .show_fdinfo = map_fdinfo, .poll = map_poll, .mmap = bpf_file_mmap },
	[BPF_OBJ_PROG] = { .release = prog_release, .show_fdinfo = prog_fdinfo },
	[BPF_OBJ_BTF] = { .release = btf_release, .show_fdinfo = btf_fdinfo },
	[BPF_OBJ_LINK] = { .release = link_release, .show_fdinfo = link_fdinfo },
};

static const char *const names[BPF_OBJ_KINDS] = {
	[BPF_OBJ_MAP] = "bpf-map", [BPF_OBJ_PROG] = "bpf-prog", [BPF_OBJ_BTF] = "btf", [BPF_OBJ_LINK] = "bpf_link"
};

int bpf_file_install(enum bpf_object kind, void *obj, u32 flags)
{
	unsigned mode = flags & BPF_F_RDONLY ? O_RDONLY : flags & BPF_F_WRONLY ? O_WRONLY : O_RDWR;
	int fd = fd_reserve(O_CLOEXEC, 0), err;
	struct file *f;

	if (fd < 0)
		return fd;
	err = file_anon(names[kind], &file_ops[kind], obj, mode, &f);
	if (err) {
		fd_release(fd);
		return err;
	}
	if (kind == BPF_OBJ_MAP)
		bpf_map_use(obj);
	fd_install(fd, f);
	return fd;
}

void *bpf_file_object(struct file *f, enum bpf_object *kind, u32 *flags)
{
	if (f->ops < file_ops || f->ops >= file_ops + BPF_OBJ_KINDS)
		return NULL;
	*kind = (enum bpf_object)(f->ops - file_ops);
	*flags = !(f->mode & FMODE_WRITE) ? BPF_F_RDONLY : !(f->mode & FMODE_READ) ? BPF_F_WRONLY : 0;
	return f->priv;
}

void bpf_files_init(void)
{
	bpf_jit_thunks = cpu_indirect_thunks();
	for (u32 i = 0; i < RING_QUEUES; i++)
		waitq_init(&ring_queues[i]);
}
