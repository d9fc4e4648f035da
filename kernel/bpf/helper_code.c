/* SPDX-License-Identifier: MIT
 *
 * Problem: the helpers of maps, clocks and packets need no kernel, and tests want them as they are.
 *
 * Idea: each is a few lines over bpf/map.h, bpf/env.h or the linear packet of bpf/ctx.h. Whoever runs programs calls
 * bpf_helpers_install once; parts that know better (real packets, sockets, cgroups) replace what they own through
 * bpf_helper_set.
 *
 * Contract: bpf/helper.h; behaviour and error numbers of bpf-helpers(7).
 *
 * Locks: those of the maps.
 */
#include <bpf/ctx.h>
#include <lib/err.h>
#include <lib/string.h>
#include "helper_priv.h"

#define ERR(e) ((u64)(s64)(e))
#define FN(n)  static u64 n(u64 r1, u64 r2, u64 r3, u64 r4, u64 r5)

static struct bpf_map *map_of(u64 r)
{
	return (struct bpf_map *)r;
}

static void *ptr(u64 r)
{
	return (void *)r;
}

FN(map_lookup)
{
	struct bpf_map *map = map_of(r1);

	return (u64)(ulong)map->ops->lookup(map, ptr(r2));
}

FN(map_update)
{
	return ERR(map_of(r1)->ops->update(map_of(r1), ptr(r2), ptr(r3), r4));
}

FN(map_delete)
{
	return ERR(map_of(r1)->ops->remove(map_of(r1), ptr(r2)));
}

FN(map_push)
{
	return ERR(map_of(r1)->ops->push(map_of(r1), ptr(r2), r3));
}

FN(map_pop)
{
	return ERR(map_of(r1)->ops->pop(map_of(r1), ptr(r2)));
}

FN(map_peek)
{
	return ERR(map_of(r1)->ops->peek(map_of(r1), ptr(r2)));
}

FN(map_lookup_percpu)
{
	return (u64)(ulong)map_of(r1)->ops->lookup_cpu(map_of(r1), ptr(r2), (u32)r3);
}

FN(now)
{
	return bpf_env.now_ns();
}

FN(boot_now)
{
	return bpf_env.boot_ns();
}

FN(tai_now)
{
	return bpf_env.tai_ns();
}

FN(jiffies)
{
	return bpf_env.now_ns() / (4 * NSEC_PER_MSEC); /* HZ is 250 */
}

FN(prandom)
{
	return bpf_env.random_u32();
}

FN(cpu)
{
	return bpf_env.cpu_id();
}

FN(node)
{
	return bpf_env.numa_node();
}

FN(pid_tgid)
{
	return bpf_env.pid_tgid();
}

FN(uid_gid)
{
	return bpf_env.uid_gid();
}

FN(cgroup_id)
{
	return bpf_env.cgroup_id();
}

/* There is no net_cls controller: every task is in class 0. */
FN(classid)
{
	return 0;
}

FN(comm)
{
	bpf_env.comm(ptr(r1), (u32)r2);
	return 0;
}

FN(spin_lock)
{
	bpf_map_spin_lock(ptr(r1));
	return 0;
}

FN(spin_unlock)
{
	bpf_map_spin_unlock(ptr(r1));
	return 0;
}

FN(ringbuf_output)
{
	return ERR(bpf_ringbuf_output(map_of(r1), ptr(r2), r3, r4));
}

FN(ringbuf_reserve)
{
	return (u64)(ulong)bpf_ringbuf_reserve(map_of(r1), r2, r3);
}

FN(ringbuf_submit)
{
	bpf_ringbuf_commit(ptr(r1), r2, false);
	return 0;
}

FN(ringbuf_discard)
{
	bpf_ringbuf_commit(ptr(r1), r2, true);
	return 0;
}

FN(ringbuf_query)
{
	return bpf_ringbuf_query(map_of(r1), r2);
}

/* Compiled callbacks have the C calling convention; the interpreter runs its own. */
typedef u64 (*callback)(u64, u64, u64, u64, u64);

FN(loop)
{
	callback fn = (callback)r2;

	if (r4)
		return ERR(-EINVAL);
	if ((u32)r1 > 1U << 23)
		return ERR(-E2BIG);
	for (u32 i = 0; i < (u32)r1; i++)
		if (fn(i, r3, 0, 0, 0))
			return i + 1;
	return (u32)r1;
}

struct visit {
	callback fn;
	u64 ctx;
};

static int visit_one(struct bpf_map *map, void *key, void *value, void *arg)
{
	const struct visit *v = arg;

	return (int)v->fn((u64)(ulong)map, (u64)(ulong)key, (u64)(ulong)value, v->ctx, 0);
}

FN(for_each_map_elem)
{
	struct visit v = { (callback)r2, r3 };

	if (r4 || !map_of(r1)->ops->for_each)
		return ERR(-EINVAL);
	return ERR(map_of(r1)->ops->for_each(map_of(r1), visit_one, &v));
}

/* ---- packets ------------------------------------------------------------------------------------------------ */

static const u8 *packet_at(const struct bpf_skb_ctx *skb, u32 off, u64 len)
{
	u64 have = (u64)(skb->data_end - skb->data);

	return off <= have && len <= have - off ? skb->data + off : NULL;
}

s64 bpf_packet_load(const void *ctx, u32 off, u32 bytes)
{
	const struct bpf_skb_ctx *skb = ctx;
	const u8 *p = NULL, *from = skb->data;
	u64 skip = off;

	/* Negative offsets are relative to the network (-0x100000) or link header (-0x200000). */
	if ((s32)off < 0) {
		from = off >= (u32)-0x100000 ? skb->net : off >= (u32)-0x200000 ? skb->mac : NULL;
		skip = off + (off >= (u32)-0x100000 ? 0x100000ULL : 0x200000ULL) - (1ULL << 32);
	}
	if (from && skip <= (u64)(skb->data_end - from) && bytes <= (u64)(skb->data_end - from) - skip)
		p = from + skip;
	if (!p)
		return -EFAULT;
	return bytes == 1   ? p[0]
	       : bytes == 2 ? p[0] << 8 | p[1]
			    : (s64)((u32)p[0] << 24 | p[1] << 16 | p[2] << 8 | p[3]);
}

FN(skb_load_bytes)
{
	const u8 *p = r2 > 0xffff ? NULL : packet_at(ptr(r1), (u32)r2, (u32)r4);

	if (!p) {
		memset(ptr(r3), 0, (u32)r4);
		return ERR(-EFAULT);
	}
	memcpy(ptr(r3), p, (u32)r4);
	return 0;
}

FN(skb_load_bytes_relative)
{
	const struct bpf_skb_ctx *skb = ptr(r1);
	const u8 *from = r5 == BPF_HDR_START_MAC ? skb->mac : r5 == BPF_HDR_START_NET ? skb->net : NULL;
	u64 have = from ? (u64)(skb->data_end - from) : 0;

	if (!from || r2 > 0xffff || r2 > have || (u32)r4 > have - r2) {
		memset(ptr(r3), 0, (u32)r4);
		return ERR(-EFAULT);
	}
	memcpy(ptr(r3), from + r2, (u32)r4);
	return 0;
}

FN(skb_pull_data)
{
	const struct bpf_skb_ctx *skb = ptr(r1); /* linear already */

	return (u32)r2 <= (u64)(skb->data_end - skb->data) ? 0 : ERR(-ENOMEM);
}

/* The Internet checksum's sum (RFC 1071), in 32-bit words. */
static u64 add_words(u64 sum, const u8 *p, u32 bytes, bool negate)
{
	for (u32 i = 0; i < bytes; i += 4) {
		u32 w;

		memcpy(&w, p + i, 4);
		sum += negate ? ~w : w;
	}
	return sum;
}

FN(csum_diff)
{
	u64 sum = (u32)r5;

	if (r2 % 4 || r4 % 4 || r2 + r4 > 512)
		return ERR(-EINVAL);
	sum = add_words(sum, ptr(r1), (u32)r2, true);
	sum = add_words(sum, ptr(r3), (u32)r4, false);
	while (sum >> 32)
		sum = (u32)sum + (sum >> 32);
	return sum;
}

FN(xdp_adjust_head)
{
	struct bpf_xdp_ctx *xdp = ptr(r1);
	u8 *data = xdp->data + (s32)r2;
	bool has_meta = xdp->data_meta && xdp->data_meta <= xdp->data;

	if (data < xdp->room || data > xdp->data_end - 14)
		return ERR(-EINVAL);
	if (has_meta && xdp->data_meta != xdp->data) {
		s64 meta = xdp->data - xdp->data_meta;

		if (data - meta < xdp->room)
			return ERR(-EINVAL);
		memmove(data - meta, xdp->data_meta, meta);
		xdp->data_meta = data - meta;
	} else {
		xdp->data_meta = data;
	}
	xdp->data = data;
	return 0;
}

FN(xdp_adjust_tail)
{
	struct bpf_xdp_ctx *xdp = ptr(r1);
	u8 *end = xdp->data_end + (s32)r2;

	if (end > xdp->tail || end < xdp->data + 14)
		return ERR(-EINVAL);
	if ((s32)r2 > 0)
		memset(xdp->data_end, 0, (s32)r2);
	xdp->data_end = end;
	return 0;
}

static const struct {
	u32 id;
	bpf_helper_fn fn;
} code[] = {
	{ BPF_FUNC_map_lookup_elem, map_lookup },
	{ BPF_FUNC_map_update_elem, map_update },
	{ BPF_FUNC_map_delete_elem, map_delete },
	{ BPF_FUNC_map_push_elem, map_push },
	{ BPF_FUNC_map_pop_elem, map_pop },
	{ BPF_FUNC_map_peek_elem, map_peek },
	{ BPF_FUNC_map_lookup_percpu_elem, map_lookup_percpu },
	{ BPF_FUNC_ktime_get_ns, now },
	{ BPF_FUNC_ktime_get_coarse_ns, now },
	{ BPF_FUNC_ktime_get_boot_ns, boot_now },
	{ BPF_FUNC_ktime_get_tai_ns, tai_now },
	{ BPF_FUNC_jiffies64, jiffies },
	{ BPF_FUNC_get_prandom_u32, prandom },
	{ BPF_FUNC_get_smp_processor_id, cpu },
	{ BPF_FUNC_get_numa_node_id, node },
	{ BPF_FUNC_get_current_pid_tgid, pid_tgid },
	{ BPF_FUNC_get_current_uid_gid, uid_gid },
	{ BPF_FUNC_get_current_cgroup_id, cgroup_id },
	{ BPF_FUNC_get_current_comm, comm },
	{ BPF_FUNC_get_cgroup_classid, classid },
	{ BPF_FUNC_loop, loop },
	{ BPF_FUNC_for_each_map_elem, for_each_map_elem },
	{ BPF_FUNC_spin_lock, spin_lock },
	{ BPF_FUNC_spin_unlock, spin_unlock },
	{ BPF_FUNC_ringbuf_output, ringbuf_output },
	{ BPF_FUNC_ringbuf_reserve, ringbuf_reserve },
	{ BPF_FUNC_ringbuf_submit, ringbuf_submit },
	{ BPF_FUNC_ringbuf_discard, ringbuf_discard },
	{ BPF_FUNC_ringbuf_query, ringbuf_query },
	{ BPF_FUNC_skb_load_bytes, skb_load_bytes },
	{ BPF_FUNC_skb_load_bytes_relative, skb_load_bytes_relative },
	{ BPF_FUNC_skb_pull_data, skb_pull_data },
	{ BPF_FUNC_csum_diff, csum_diff },
	{ BPF_FUNC_xdp_adjust_head, xdp_adjust_head },
	{ BPF_FUNC_xdp_adjust_tail, xdp_adjust_tail },
};

void bpf_helpers_install(void)
{
	for (u32 i = 0; i < ARRAY_SIZE(code); i++)
		bpf_helper_set(code[i].id, code[i].fn);
	bpf_helpers_install_cgroup();
	bpf_helpers_install_text();
}
