/* SPDX-License-Identifier: MIT
 *
 * Problem: programs are tested and timed without traffic (BPF_PROG_TEST_RUN).
 *
 * Idea: build the context that the hook would build from the caller's bytes, with room before and after the packet,
 * run as often as asked, hand back verdict, packet and time. As in Linux 6.1 a packet starts with an Ethernet header,
 * which only traffic control and XDP programs see.
 *
 * Contract: bpf/syscall.h. EINVAL for fewer than 14 bytes, ENOTSUPP for types without a packet (they need a raw
 * context).
 *
 * Locks: none.
 */
#include <bpf/ctx.h>
#include "storage_priv.h"
#include "sys_priv.h"

#define HEADROOM 256
#define TAILROOM 320
#define MAX_DATA (PAGE_SIZE - HEADROOM - TAILROOM)
#define ETHERNET 14

union context {
	struct bpf_skb_ctx skb;
	struct bpf_xdp_ctx xdp;
};

static bool is_skb(u32 type)
{
	switch (type) {
	case BPF_PROG_TYPE_SOCKET_FILTER:
	case BPF_PROG_TYPE_SCHED_CLS:
	case BPF_PROG_TYPE_SCHED_ACT:
	case BPF_PROG_TYPE_CGROUP_SKB:
	case BPF_PROG_TYPE_LWT_IN:
	case BPF_PROG_TYPE_LWT_OUT:
	case BPF_PROG_TYPE_LWT_XMIT:
	case BPF_PROG_TYPE_LWT_SEG6LOCAL: return true;
	}
	return false;
}

static bool sees_link(u32 type)
{
	return type == BPF_PROG_TYPE_SCHED_CLS || type == BPF_PROG_TYPE_SCHED_ACT;
}

static void fill(union context *c, u32 type, u8 *page, u32 bytes)
{
	u8 *frame = page + HEADROOM;

	memset(c, 0, sizeof(*c));
	if (type == BPF_PROG_TYPE_XDP) {
		c->xdp = (struct bpf_xdp_ctx){ .data = frame,
					       .data_end = frame + bytes,
					       .data_meta = frame,
					       .room = page + 40,
					       .tail = page + PAGE_SIZE - TAILROOM,
					       .ingress_ifindex = 1 };
		return;
	}
	c->skb = (struct bpf_skb_ctx){ .data = frame + (sees_link(type) ? 0 : ETHERNET),
				       .data_end = frame + bytes,
				       .mac = frame,
				       .net = frame + ETHERNET,
				       .room = page,
				       .tail = page + PAGE_SIZE - TAILROOM,
				       .ifindex = 1,
				       .ingress_ifindex = 1 };
	c->skb.data_meta = c->skb.data;
	c->skb.len = (u32)(c->skb.data_end - c->skb.data);
	memcpy(&c->skb.protocol, frame + 12, 2);
}

static void give_packet(const union context *c, u32 type, struct bpf_test_run *run)
{
	const u8 *from = type == BPF_PROG_TYPE_XDP ? c->xdp.data : c->skb.mac;
	const u8 *end = type == BPF_PROG_TYPE_XDP ? c->xdp.data_end : c->skb.data_end;
	u32 bytes = (u32)(end - from);

	if (run->data_out)
		memcpy(run->data_out, from, min(bytes, run->data_out_bytes));
	run->data_out_bytes = bytes;
}

/* The storage that a program has in a cgroup: here each test run has its own. */
static int make_storage(const struct bpf_prog *prog, struct bpf_cgroup_item *item)
{
	*item = (struct bpf_cgroup_item){ .prog = (struct bpf_prog *)prog };
	for (u32 k = 0; k < BPF_STORAGE_KINDS; k++) {
		struct bpf_map *map = bpf_prog_storage_map(prog, k);

		item->storage[k] = map ? bpf_storage_alone(map) : NULL;
		if (map && !item->storage[k])
			return -ENOMEM;
	}
	return 0;
}

static void free_storage(struct bpf_cgroup_item *item)
{
	for (u32 k = 0; k < BPF_STORAGE_KINDS; k++)
		bpf_storage_free(item->storage[k]);
}

/* Returns how long one run took. */
static u32 run_on_packet(const struct bpf_prog *prog, struct bpf_test_run *run, union context *c, u8 *page,
			 const struct bpf_cgroup_item *item)
{
	u32 repeat = run->repeat ? run->repeat : 1;
	s32 retval = 0;
	struct bpf_cgroup_run outer = { .retval = &retval, .item = item };
	u64 start;

	fill(c, prog->type, page, run->data_in_bytes);
	start = bpf_env.now_ns();
	for (u32 i = 0; i < repeat; i++) {
		if (prog->type == BPF_PROG_TYPE_XDP)
			fill(c, prog->type, page, run->data_in_bytes);
		bpf_cgroup_run_begin(&outer);
		run->retval = (u32)bpf_prog_run(prog, c);
		bpf_cgroup_run_end(&outer);
		if (i % 256 == 255)
			bpf_env.relax();
	}
	return (u32)((bpf_env.now_ns() - start) / repeat);
}

int bpf_test_run(const struct bpf_prog *prog, struct bpf_test_run *run)
{
	struct bpf_cgroup_item item;
	union context c;
	u8 *page;
	int err;

	if (prog->type == BPF_PROG_TYPE_RAW_TRACEPOINT) {
		run->retval = (u32)bpf_prog_run(prog, run->ctx);
		return 0;
	}
	if (!is_skb(prog->type) && prog->type != BPF_PROG_TYPE_XDP)
		return -ENOTSUPP;
	if (run->data_in_bytes < ETHERNET || run->data_in_bytes > MAX_DATA)
		return fail(EINVAL, "packet of %u bytes", run->data_in_bytes);
	page = kzalloc(PAGE_SIZE, 0);
	err = page ? make_storage(prog, &item) : -ENOMEM;
	if (!err) {
		memcpy(page + HEADROOM, run->data_in, run->data_in_bytes);
		run->duration_ns = run_on_packet(prog, run, &c, page, &item);
		give_packet(&c, prog->type, run);
	}
	if (page)
		free_storage(&item);
	kfree(page);
	return err;
}

int bpf_sys_test_run(const struct sys *s, union bpf_attr *a)
{
	struct bpf_prog *prog;
	struct bpf_test_run run = { .repeat = a->test.repeat, .data_in_bytes = a->test.data_size_in };
	void *in = NULL, *out = NULL;
	u32 room;
	int err = 0;

	if (!rest_is_zero(a, test.batch_size) || a->test.flags || a->test.cpu || a->test.batch_size)
		return -EINVAL;
	if ((a->test.ctx_size_in && !a->test.ctx_in) || (a->test.ctx_size_out && !a->test.ctx_out))
		return -EINVAL;
	prog = bpf_sys_object(s, (s32)a->test.prog_fd, BPF_OBJ_PROG);
	if (!prog)
		return -EBADF;
	room = a->test.data_size_out;
	if (a->test.data_size_in) {
		if (a->test.data_size_in > MAX_DATA)
			return -EINVAL;
		err = bpf_sys_read(s, a->test.data_in, a->test.data_size_in, &in);
	}
	if (!err && prog->type == BPF_PROG_TYPE_RAW_TRACEPOINT && a->test.ctx_size_in)
		err = s->ops->copy_in(run.ctx, a->test.ctx_in, min(a->test.ctx_size_in, (u32)sizeof(run.ctx)));
	run.data_in = in;
	if (!err && a->test.data_out)
		out = kzalloc(PAGE_SIZE, 0);
	run.data_out = out;
	run.data_out_bytes = PAGE_SIZE;
	err = err ? err : bpf_test_run(prog, &run);
	if (!err && out)
		err = s->ops->copy_out(a->test.data_out, out,
				       room ? min(room, run.data_out_bytes) : run.data_out_bytes);
	if (!err && room && out && room < run.data_out_bytes)
		err = -ENOSPC;
	a->test.retval = run.retval;
	a->test.duration = run.duration_ns;
	a->test.data_size_out = run.data_out_bytes;
	big_free(in);
	kfree(out);
	if (err && err != -ENOSPC)
		return err;
	if (s->ops->copy_out(s->uattr + offsetof(union bpf_attr, test), &a->test,
			     offsetof(union bpf_attr, test.repeat) - offsetof(union bpf_attr, test)) ||
	    s->ops->copy_out(s->uattr + offsetof(union bpf_attr, test.duration), &a->test.duration, 4))
		return -EFAULT;
	return err;
}
