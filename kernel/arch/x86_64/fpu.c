/* SPDX-License-Identifier: MIT
 *
 * Problem: user programs own the x87, SSE and AVX registers; kernel threads and many short programs
 * never touch them.
 *
 * Idea: a task gets a save area at its first FPU instruction (#NM, since CR0.TS is set for tasks
 * without one). From then on its registers are saved and restored at each switch, eagerly: there is
 * no state of one task left behind for another. The kernel itself uses these registers only
 * between simd_begin and simd_end, so a kernel thread leaves them as they are.
 *
 * Contract: x86_priv.h, arch/thread.h. Source: Intel SDM volume 1, chapter 13 (XSAVE), standard
 * format.
 *
 * Locks: none; areas belong to their task. Loading and saving happen with IRQs off.
 */
#include <alloc/slab.h>
#include <arch/simd.h>
#include <arch/svm.h>
#include <arch/thread.h>
#include <arch/user.h>
#include <core/irq.h>
#include <core/log.h>
#include <lib/err.h>
#include <lib/string.h>
#include <task/task.h>
#include "fpu_priv.h"
#include "x86_priv.h"

#define XFEATURES_WANTED 0xe7 /* x87, SSE, AVX, AVX-512 */

int xrstor_checked(void *area, u64 mask);
int fxrstor_checked(void *area);
int user_xsave(void __user *area, u64 mask);
int user_xrstor(const void __user *area, u64 mask);

static struct kcache *cache;
static size_t area_bytes = 512;
static u64 xfeatures = 3;
static DEFINE_PER_CPU(bool, ts_set);

static void set_ts(bool on)
{
	if (this_cpu_read(ts_set) == on)
		return;
	this_cpu_write(ts_set, on);
	if (on)
		cr0_write(cr0_read() | CR0_TS);
	else
		__asm__ volatile("clts");
}

static void save(struct fpu_area *a)
{
	u32 lo = (u32)xfeatures, hi = (u32)(xfeatures >> 32);

	if (cpu_has(CPU_XSAVEOPT))
		__asm__ volatile("xsaveopt64 (%0)" : : "r"(a), "a"(lo), "d"(hi) : "memory");
	else if (cpu_has(CPU_XSAVE))
		__asm__ volatile("xsave64 (%0)" : : "r"(a), "a"(lo), "d"(hi) : "memory");
	else
		__asm__ volatile("fxsave64 (%0)" : : "r"(a) : "memory");
}

static int restore(struct fpu_area *a)
{
	return cpu_has(CPU_XSAVE) ? xrstor_checked(a, xfeatures) : fxrstor_checked(a);
}

static void reset_area(struct fpu_area *a)
{
	memset(a, 0, area_bytes);
	a->fcw = 0x37f;
	a->mxcsr = 0x1f80;
}

void fpu_init_cpu(void)
{
	if (cpu_has(CPU_XSAVE))
		__asm__ volatile("xsetbv" : : "c"(0), "a"((u32)xfeatures), "d"((u32)(xfeatures >> 32)));
	this_cpu_write(ts_set, false);
	set_ts(true);
}

void fpu_init(void)
{
	u32 r[4];

	if (cpu_has(CPU_XSAVE)) {
		cpuid(13, 0, r);
		xfeatures = (((u64)r[3] << 32) | r[0]) & XFEATURES_WANTED;
	}
	fpu_init_cpu();
	if (cpu_has(CPU_XSAVE)) {
		cpuid(13, 0, r);
		area_bytes = max(r[1], 576U);
	}
	cache = kcache_create("fpu", area_bytes, 64, NULL);
}

int fpu_first_use(void)
{
	struct arch_thread *a = &current->arch;
	ulong flags;

	if (!a->fpu) {
		struct fpu_area *area = kcache_alloc(cache, 0);

		if (!area)
			return -ENOMEM;
		reset_area(area);
		a->fpu = area;
	}
	flags = irq_save();
	set_ts(false);
	(void)restore(a->fpu);
	irq_restore(flags);
	return 0;
}

void fpu_switch(struct task *prev, struct task *next)
{
	if (prev->arch.fpu)
		save(prev->arch.fpu);
	if (next->arch.fpu) {
		set_ts(false);
		(void)restore(next->arch.fpu);
	} else if (next->arch.pt) {
		set_ts(true);
	}
}

/* The area of t with its registers in it, if t is current; NULL: it has none. */
struct fpu_area *fpu_sync(struct task *t)
{
	if (t == current && t->arch.fpu) {
		ulong flags = irq_save();

		save(t->arch.fpu);
		irq_restore(flags);
	}
	return t->arch.fpu;
}

int fpu_copy(struct task *to, struct task *from)
{
	struct fpu_area *a, *src = fpu_sync(from);

	to->arch.fpu = NULL;
	if (!src)
		return 0;
	a = kcache_alloc(cache, 0);
	if (!a)
		return -ENOMEM;
	memcpy(a, src, area_bytes);
	to->arch.fpu = a;
	return 0;
}

void fpu_free(struct task *t)
{
	ulong flags = irq_save();
	struct fpu_area *a = t->arch.fpu;

	t->arch.fpu = NULL;
	if (t == current)
		set_ts(true);
	irq_restore(flags);
	if (a)
		kcache_free(cache, a);
}

/* The registers are current's (or nobody's): a kernel section borrows them. */
void simd_begin(void)
{
	ulong flags = irq_save();

	assert(!in_irq());
	if (current->arch.fpu)
		save(current->arch.fpu);
	set_ts(false);
	irq_restore(flags);
}

void simd_end(void)
{
	ulong flags = irq_save();

	if (current->arch.fpu)
		(void)restore(current->arch.fpu);
	else
		set_ts(true);
	irq_restore(flags);
}

/* ---- guests: another set of registers for current ---- */

void *arch_fpu_alloc(void)
{
	struct fpu_area *a = kcache_alloc(cache, 0);

	if (a)
		reset_area(a);
	return a;
}

void arch_fpu_free_area(void *area)
{
	if (area)
		kcache_free(cache, area);
}

int arch_fpu_swap(void **area)
{
	ulong flags;

	if (!current->arch.fpu && fpu_first_use())
		return -ENOMEM;
	flags = irq_save();
	save(current->arch.fpu);
	swap(current->arch.fpu, *area);
	(void)restore(current->arch.fpu);
	irq_restore(flags);
	return 0;
}

u64 arch_fpu_features(void)
{
	return xfeatures;
}

size_t arch_fpu_bytes(void)
{
	return area_bytes;
}

u64 fpu_features(void)
{
	return xfeatures;
}

int arch_fpu_get(struct task *t, void *buf, size_t bytes)
{
	struct fpu_area *a = fpu_sync(t);

	memset(buf, 0, bytes);
	if (a) {
		memcpy(buf, a, min(bytes, area_bytes));
	} else if (bytes >= 32) {
		((struct fpu_area *)buf)->fcw = 0x37f;
		((struct fpu_area *)buf)->mxcsr = 0x1f80;
	}
	return 0;
}

static bool header_ok(const struct fpu_area *a, size_t bytes)
{
	if (a->mxcsr & ~0xffffU)
		return false;
	if (bytes < 576)
		return true;
	if (a->xcomp_bv) /* compacted: the CPU would refuse it at a switch, where it is too late */
		return false;
	for (unsigned i = 0; i < ARRAY_SIZE(a->header_zero); i++)
		if (a->header_zero[i])
			return false;
	return !(a->xstate_bv & ~xfeatures);
}

int arch_fpu_area_set(void *area, const void *image, size_t bytes)
{
	struct fpu_area *a = area;

	bytes = min(bytes, area_bytes);
	if (bytes < 512 || !header_ok(image, bytes))
		return -EINVAL;
	memcpy(a, image, bytes);
	if (bytes < 576)
		a->xstate_bv |= 3;
	return 0;
}

struct fpu_area *fpu_alloc(void)
{
	return kcache_alloc(cache, 0);
}

void fpu_discard(struct fpu_area *a)
{
	kcache_free(cache, a);
}

/* bytes 512: the legacy area only; else the whole area. The image is tried on the CPU before it counts. */
int fpu_adopt(struct task *t, struct fpu_area *fresh, size_t bytes)
{
	struct fpu_area *old;
	ulong flags;
	int err = 0;

	if (bytes < 512 || !header_ok(fresh, bytes)) {
		fpu_discard(fresh);
		return -EINVAL;
	}
	memset((char *)fresh + bytes, 0, area_bytes - bytes);
	if (bytes < 576 && area_bytes >= 576) /* a frame without the header, as FXSAVE makes it */
		fresh->xstate_bv = 3;
	flags = irq_save();
	old = t->arch.fpu;
	t->arch.fpu = fresh;
	if (t == current) {
		set_ts(false);
		err = restore(fresh);
		if (err) {
			reset_area(fresh);
			(void)restore(fresh);
		}
	}
	irq_restore(flags);
	if (old)
		fpu_discard(old);
	return err ? -EINVAL : 0;
}

/* XSAVE leaves most of the header as it is. */
int fpu_save_user(void __user *at)
{
	static const u64 header[8];
	char __user *to = at;

	if ((ulong)at > USER_END - area_bytes)
		return -EFAULT;
	if (user_put(to + offsetof(struct fpu_area, xstate_bv), header, sizeof(header)))
		return -EFAULT;
	return user_xsave(at, xfeatures);
}

int fpu_restore_user(const void __user *at)
{
	ulong flags;

	if ((ulong)at > USER_END - area_bytes)
		return -EFAULT;
	if (!current->arch.fpu && fpu_first_use())
		return -ENOMEM;
	if (likely(!user_xrstor(at, xfeatures)))
		return 0;
	flags = irq_save();
	reset_area(current->arch.fpu);
	(void)restore(current->arch.fpu);
	irq_restore(flags);
	return -EFAULT;
}

int arch_fpu_set(struct task *t, const void *buf, size_t bytes)
{
	struct fpu_area *fresh = fpu_alloc();

	if (!fresh)
		return -ENOMEM;
	bytes = min(bytes, area_bytes);
	memcpy(fresh, buf, bytes);
	return fpu_adopt(t, fresh, bytes);
}
