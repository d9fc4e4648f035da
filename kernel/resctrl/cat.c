/* SPDX-License-Identifier: MIT
 *
 * Problem: the same few registers per cache must be written on one CPU of each cache, only when
 * they change, in the layout that the present mode (code and data apart or not) gives them, also
 * for caches that come and go with CPUs.
 *
 * Idea: a copy of every register in memory is the truth; set() writes copy and register, and a
 * cache that appears is loaded from the copy. With code and data apart, class n has register 2n for
 * data and 2n+1 for code, so the copy is kept by register number, not by class.
 *
 *      MSR of a cache mask = base(level) + (apart ? 2*class + is_code : class)
 *      MB: register value = 100 - per cent on Intel's linear scale
 *
 * Contract: cat.h. Registers are taken to hold full masks after reset, which cat_cpu_online writes
 * anyway: firmware or a kernel before us may have left others.
 *
 * Locks: the resctrl lock; pqr[] belongs to its CPU.
 */
#include <alloc/slab.h>
#include <core/log.h>
#include <lib/err.h>
#include <lib/string.h>
#include "cat_priv.h"

enum {
	MSR_L3_CFG = 0xc81,
	MSR_L2_CFG = 0xc82,
	MSR_PQR_ASSOC = 0xc8f,
	MSR_L3_MASK = 0xc90,
	MSR_L2_MASK = 0xd10,
	MSR_MB_THROTTLE = 0xd50,
	MSR_AMD_BANDWIDTH = 0xc0000200
};

#define PQR_UNKNOWN (~0U)

static u32 msr_base(const struct cat *c, int id)
{
	if (id == RESCTRL_L3)
		return MSR_L3_MASK;
	if (id == RESCTRL_L2)
		return MSR_L2_MASK;
	return c->vendor == CAT_AMD ? MSR_AMD_BANDWIDTH : MSR_MB_THROTTLE;
}

static u32 reset_value(const struct cat *c, int id)
{
	const struct resctrl_resource *res = &c->be.res[id];

	if (id != RESCTRL_MB)
		return BIT(res->width) - 1;
	return c->vendor == CAT_AMD ? res->bw_max : 0;
}

static void write_register(struct cat *c, int id, unsigned reg, unsigned domain)
{
	u64 cpus = c->be.res[id].domain[domain].cpus;
	u32 value = c->reg[id][reg * RESCTRL_MAX_DOMAINS + domain];

	if (cpus && c->ops->wrmsr_on(c->ctx, cat_any_cpu(cpus), msr_base(c, id) + reg, value))
		log_err("resctrl: CPU %u refuses %#x in MSR %#x", cat_any_cpu(cpus), value, msr_base(c, id) + reg);
}

/* ---- back-end ops ---------------------------------------------------------------------------------------- */

static void set(struct resctrl_backend *be, unsigned cls, enum resctrl_resource_id id, enum resctrl_half half,
		unsigned domain, u32 value)
{
	struct cat *c = container_of(be, struct cat, be);
	unsigned reg = half == RESCTRL_BOTH ? cls : 2 * cls + (half == RESCTRL_CODE);

	if (id == RESCTRL_MB && c->vendor == CAT_INTEL)
		value = be->res[id].bw_linear ? 100 - value : value;
	c->reg[id][reg * RESCTRL_MAX_DOMAINS + domain] = value;
	write_register(c, id, reg, domain);
}

static int set_cdp(struct resctrl_backend *be, enum resctrl_resource_id id, bool on)
{
	struct cat *c = container_of(be, struct cat, be);
	struct resctrl_resource *res = &be->res[id];

	for (unsigned d = 0; d < res->nr_domains; d++) {
		int err = 0;

		if (res->domain[d].cpus)
			err = c->ops->wrmsr_on(c->ctx, cat_any_cpu(res->domain[d].cpus),
					       id == RESCTRL_L3 ? MSR_L3_CFG : MSR_L2_CFG, on);
		if (err)
			return fail(EIO, "resctrl: the cache of CPU %u cannot switch",
				    cat_any_cpu(res->domain[d].cpus));
	}
	return 0;
}

static void describe(struct resctrl_backend *be, struct strbuf *out)
{
	static const char *const name[RESCTRL_NR] = { "L3", "L2", "MB" };
	struct cat *c = container_of(be, struct cat, be);

	strbuf_add(out, "cache allocation by the processor (%s):", c->vendor == CAT_AMD ? "AMD" : "Intel");
	for (int id = 0; id < RESCTRL_NR; id++)
		if (be->res[id].present)
			strbuf_add(out, " %s", name[id]);
	if (be->mon.events)
		strbuf_add(out, "%s monitoring by %u tags", c->divides ? "," : "", be->mon.num_tags);
	strbuf_add(out,
		   "\nA mask limits where new lines go. Lines already cached elsewhere stay and are hit until they "
		   "are evicted.\n");
}

static const struct resctrl_backend_ops cat_backend_ops = {
	.set = set, .set_cdp = set_cdp, .describe = describe, .count = cat_count, .forget = cat_forget
};

/* ---- finding out what there is --------------------------------------------------------------------------- */

static void read_cache_leaf(struct cat *c, int id, u32 sub)
{
	struct resctrl_resource *res = &c->be.res[id];
	struct cat_cpuid v;

	c->ops->cpuid(c->ctx, 0x10, sub, &v);
	*res = (struct resctrl_resource){ .present = true,
					  .width = (v.eax & 0x1f) + 1,
					  .shared_bits = v.ebx,
					  .cdp_capable = v.ecx >> 2 & 1,
					  .sparse = c->vendor == CAT_AMD || (v.ecx >> 3 & 1),
					  .empty = c->vendor == CAT_AMD,
					  .min_bits = c->vendor == CAT_AMD ? 0 : 1,
					  .num_classes = (v.edx & 0xffff) + 1 };
}

static void read_bandwidth_leaf(struct cat *c)
{
	struct resctrl_resource *res = &c->be.res[RESCTRL_MB];
	struct cat_cpuid v;

	c->ops->cpuid(c->ctx, 0x10, 3, &v);
	c->bw_max_delay = (v.eax & 0xfff) + 1;
	if (!(v.ecx >> 2 & 1) || c->bw_max_delay >= 100)
		return; /* the non-linear scale has no per cent; Linux offers none either */
	*res = (struct resctrl_resource){ .present = true,
					  .bw_linear = true,
					  .bw_max = 100,
					  .bw_min = 100 - c->bw_max_delay,
					  .bw_gran = 100 - c->bw_max_delay,
					  .bw_throttle = v.ecx & 1 ? "per-thread" : "max",
					  .num_classes = (v.edx & 0xffff) + 1 };
}

static void read_amd_bandwidth(struct cat *c)
{
	struct cat_cpuid v;

	c->ops->cpuid(c->ctx, 0x80000000, 0, &v);
	if (v.eax < 0x80000020)
		return;
	c->ops->cpuid(c->ctx, 0x80000008, 0, &v);
	if (!(v.ebx >> 6 & 1))
		return;
	c->ops->cpuid(c->ctx, 0x80000020, 1, &v);
	c->be.res[RESCTRL_MB] = (struct resctrl_resource){
		.present = true, .bw_max = 1u << (v.eax & 0x1f), .bw_gran = 1, .num_classes = (v.edx & 0xffff) + 1
	};
}

static bool probe_haswell(struct cat *c, unsigned cpu)
{
	const u64 full = 0xfffff;
	u64 back = 0;

	if (c->ops->wrmsr_on(c->ctx, cpu, MSR_L3_MASK, full) || c->ops->rdmsr_on(c->ctx, cpu, MSR_L3_MASK, &back))
		return false;
	if ((back & full) != full)
		return false;
	c->be.res[RESCTRL_L3] = (struct resctrl_resource){
		.present = true, .width = 20, .min_bits = 2, .shared_bits = 0xc0000, .num_classes = 4
	};
	return true;
}

static bool find_resources(struct cat *c, bool haswell_server, unsigned cpu)
{
	struct cat_cpuid v, last;

	c->ops->cpuid(c->ctx, 0, 0, &last);
	if (last.eax >= 0x10) {
		c->ops->cpuid(c->ctx, 7, 0, &v);
		if (v.ebx >> 15 & 1) {
			c->ops->cpuid(c->ctx, 0x10, 0, &v);
			if (v.ebx >> 1 & 1)
				read_cache_leaf(c, RESCTRL_L3, 1);
			if (v.ebx >> 2 & 1)
				read_cache_leaf(c, RESCTRL_L2, 2);
			if (v.ebx >> 3 & 1)
				read_bandwidth_leaf(c);
		}
	}
	if (c->vendor == CAT_AMD)
		read_amd_bandwidth(c);
	if (last.eax >= 0xf)
		cat_find_monitor(c);
	for (int id = 0; id < RESCTRL_NR; id++)
		c->divides |= c->be.res[id].present;
	if (!c->divides && haswell_server)
		c->divides = probe_haswell(c, cpu);
	return c->divides || c->be.mon.events;
}

void cat_destroy(struct cat *c)
{
	for (int id = 0; id < RESCTRL_NR; id++)
		kfree(c->reg[id]);
	kfree(c->traffic);
	kfree(c);
}

/* A copy of every register, full at first. */
static int make_registers(struct cat *c, int id)
{
	struct resctrl_resource *res = &c->be.res[id];

	if (!res->present)
		return 0;
	res->num_classes = min(res->num_classes, (u16)RESCTRL_MAX_CLASSES);
	c->reg[id] = kcalloc((size_t)res->num_classes * RESCTRL_MAX_DOMAINS, sizeof(u32), ALLOC_KERNEL);
	if (!c->reg[id])
		return -ENOMEM;
	for (unsigned i = 0; i < res->num_classes * RESCTRL_MAX_DOMAINS; i++)
		c->reg[id][i] = reset_value(c, id);
	return 0;
}

int cat_create(const struct cat_machine_ops *ops, void *ctx, enum cat_vendor vendor, bool haswell_server, unsigned cpu,
	       struct cat **out)
{
	struct cat *c = kzalloc(sizeof(*c), ALLOC_KERNEL);
	int err = 0;

	if (!c)
		return -ENOMEM;
	c->be.ops = &cat_backend_ops;
	c->ops = ops;
	c->ctx = ctx;
	c->vendor = vendor;
	memset(c->pqr, 0xff, sizeof(c->pqr));
	if (!find_resources(c, haswell_server, cpu))
		err = -ENODEV;
	for (int id = 0; !err && id < RESCTRL_NR; id++)
		err = make_registers(c, id);
	if (!err)
		err = cat_make_traffic(c);
	if (err) {
		cat_destroy(c);
		return err;
	}
	*out = c;
	return 0;
}

struct resctrl_backend *cat_backend(struct cat *c)
{
	return &c->be;
}

/* ---- CPUs
 * -----------------------------------------------------------------------------------------------
 */

/* The domain of that id; a new one goes to the end, since groups hold values by index. */
static int find_or_add_domain(struct resctrl_resource *res, u32 id)
{
	for (unsigned d = 0; d < res->nr_domains; d++)
		if (res->domain[d].id == id)
			return d;
	if (res->nr_domains == RESCTRL_MAX_DOMAINS)
		return -ENOSPC;
	res->domain[res->nr_domains] = (struct resctrl_domain){ .id = id };
	return res->nr_domains++;
}

static int join_domain(struct cat *c, int id, unsigned cpu, u32 domain_id, u64 bytes)
{
	struct resctrl_resource *res = &c->be.res[id];
	int d;

	if (!res->present && !(id == RESCTRL_L3 && c->be.mon.events))
		return 0;
	d = find_or_add_domain(res, domain_id);
	if (d < 0)
		return fail(ENOSPC, "resctrl: more than %d caches", RESCTRL_MAX_DOMAINS);
	res->domain[d].cache_bytes = bytes;
	res->domain[d].cpus |= BIT(cpu);
	if (res->domain[d].cpus != BIT(cpu))
		return 0;
	if (res->cdp_capable)
		(void)c->ops->wrmsr_on(c->ctx, cpu, id == RESCTRL_L3 ? MSR_L3_CFG : MSR_L2_CFG, res->cdp_on);
	for (unsigned reg = 0; reg < res->num_classes; reg++)
		write_register(c, id, reg, d);
	return 0;
}

int cat_cpu_online(struct cat *c, unsigned cpu, const struct cat_cpu *info)
{
	int err = join_domain(c, RESCTRL_L3, cpu, info->l3_id, info->l3_bytes);

	c->be.mon.l3_bytes = info->l3_bytes;
	if (!err)
		err = join_domain(c, RESCTRL_L2, cpu, info->l2_id, info->l2_bytes);
	if (!err)
		err = join_domain(c, RESCTRL_MB, cpu, info->l3_id, 0);
	if (err)
		cat_cpu_offline(c, cpu);
	c->pqr[cpu] = PQR_UNKNOWN;
	return err;
}

void cat_cpu_offline(struct cat *c, unsigned cpu)
{
	for (int id = 0; id < RESCTRL_NR; id++)
		for (unsigned d = 0; d < c->be.res[id].nr_domains; d++)
			c->be.res[id].domain[d].cpus &= ~BIT(cpu);
	c->pqr[cpu] = PQR_UNKNOWN;
}

void cat_switch(struct cat *c, unsigned cpu, struct resctrl_label label)
{
	u32 word = label.cls | (u32)label.tag << 16;

	if (c->pqr[cpu] == word)
		return;
	c->pqr[cpu] = word;
	c->ops->wrmsr_here(c->ctx, MSR_PQR_ASSOC, (u64)label.cls << 32 | label.tag);
}
