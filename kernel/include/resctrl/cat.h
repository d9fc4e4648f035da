/* SPDX-License-Identifier: MIT
 *
 * Back end A: Intel's Cache Allocation Technology and AMD's equivalent. It learns resources from
 * CPUID 0x10 (or by probing on Haswell servers, which have the registers and no CPUID for them) and
 * enforces with MSRs.
 *
 * Sources: Intel SDM volume 3B chapter 18.19 (CPUID leaf 0x10, IA32_L3_QOS_MASK_n 0xC90+n,
 * IA32_L2_QOS_MASK_n 0xD10+n, IA32_L2_QoS_Ext_BW_Thrtl_n 0xD50+n, IA32_L3_QOS_CFG 0xC81,
 * IA32_L2_QOS_CFG 0xC82, IA32_PQR_ASSOC 0xC8F); AMD64 APM volume 2 chapter 19 (the same L3
 * registers; sparse and empty masks are legal).
 *
 * Threading: the resctrl lock, except cat_switch, which runs on its CPU with interrupts off.
 */
#ifndef RESCTRL_CAT_H
#define RESCTRL_CAT_H

#include <resctrl/resctrl.h>

struct cat_cpuid {
	u32 eax, ebx, ecx, edx;
};

enum cat_vendor { CAT_INTEL, CAT_AMD };

/* What a CPU knows about itself; the machine half reads it on that CPU. */
struct cat_cpu {
	u32 l3_id, l2_id; /* ids of its caches */
	u64 l3_bytes, l2_bytes;
};

struct cat_machine_ops {
	void (*cpuid)(void *ctx, u32 leaf, u32 sub, struct cat_cpuid *out);
	/* On that CPU, surviving a general protection fault: -EIO. */
	int (*wrmsr_on)(void *ctx, unsigned cpu, u32 msr, u64 value);
	int (*rdmsr_on)(void *ctx, unsigned cpu, u32 msr, u64 *value);
	/* On the calling CPU, no fault expected. */
	void (*wrmsr_here)(void *ctx, u32 msr, u64 value);
};

struct cat;

/* -ENODEV when the processor has none of it. haswell_server: family 6 model 63. */
int __must_check cat_create(const struct cat_machine_ops *ops, void *ctx, enum cat_vendor vendor, bool haswell_server,
			    unsigned cpu, struct cat **out);
void cat_destroy(struct cat *c);
struct resctrl_backend *cat_backend(struct cat *c);

/* Before resctrl_cpu_online and after resctrl_cpu_offline. The first CPU of a domain makes it
 * appear, with the masks that its classes have now; the last one takes it away. -ENOSPC beyond
 * RESCTRL_MAX_DOMAINS. */
int __must_check cat_cpu_online(struct cat *c, unsigned cpu, const struct cat_cpu *info);
void cat_cpu_offline(struct cat *c, unsigned cpu);

/* The context switch: writes the CPU's association register if the label differs from what it
 * holds. */
void cat_switch(struct cat *c, unsigned cpu, struct resctrl_label label);

#endif
