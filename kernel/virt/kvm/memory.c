/* SPDX-License-Identifier: MIT
 *
 * Problem: a guest's memory is memory of the VMM's process, in slots, and that process may unmap, copy on write, move
 * or lose any page of it at any moment, while the guest runs on other CPUs.
 *
 * Idea: the nested tables shadow the process's own. A fault pins the page of the process, enters it, and unpins: the
 * process's entry keeps it. Memory of a device that was given to the process is entered the same way. When that entry
 * changes, the flush of the process's tables calls us first (pt_shadow), we clear our entries and make every CPU that
 * is in the guest leave it once. A fault that pinned an old page notices by the count of invalidations and starts over.
 *
 *      fault:       count --> pin --> [spin: count the same? enter]
 *      invalidate:  process's entry gone --> [spin: count + 1, clear] --> flush_gen + 1 --> CPUs in the guest leave
 *
 * Contract: kvm_priv.h; KVM_SET_USER_MEMORY_REGION and KVM_GET_DIRTY_LOG of virt/kvm/api.rst.
 *
 * Locks: vm->spin for slots and tables; slot changes are serialised by vm->lock.
 */
#include <alloc/page.h>
#include <alloc/slab.h>
#include <arch/cpu.h>
#include <arch/user.h>
#include <core/log.h>
#include <lib/err.h>
#include <lib/string.h>
#include <mm/mm.h>
#include <task/task.h>
#include "kvm_priv.h"

#define SLOT_FLAGS (KVM_MEM_LOG_DIRTY_PAGES | KVM_MEM_READONLY)
#define GPA_LIMIT  (1ULL << 46)
#define SLOT_MAX   (1ULL << 40)

static struct kvm_slot *find(struct kvm_vm *vm, u64 gpa)
{
	for (unsigned i = 0; i < vm->nr_slots; i++)
		if (gpa - vm->slots[i].gpa < vm->slots[i].bytes)
			return &vm->slots[i];
	return NULL;
}

static struct kvm_slot *by_id(struct kvm_vm *vm, u32 id)
{
	for (unsigned i = 0; i < vm->nr_slots; i++)
		if (vm->slots[i].id == id)
			return &vm->slots[i];
	return NULL;
}

/* ---- flushing ---- */

static void leave_guest(void *arg)
{
}

/* An interrupt is enough: it ends the run, and the next entry compares flush_gen. */
void kvm_flush(struct kvm_vm *vm)
{
	cpumask_t mask;

	__atomic_fetch_add(&vm->flush_gen, 1, __ATOMIC_SEQ_CST);
	mask = __atomic_load_n(&vm->running, __ATOMIC_SEQ_CST);
	if (mask)
		cpu_call(mask, leave_guest, NULL);
}

static void invalidate(struct pt_shadow *shadow, ulong start, ulong end)
{
	struct kvm_vm *vm = container_of(shadow, struct kvm_vm, shadow);
	bool changed = false;

	spin_lock(&vm->spin);
	vm->invalidations++;
	for (unsigned i = 0; i < vm->nr_slots; i++) {
		struct kvm_slot *s = &vm->slots[i];
		u64 from = max((u64)start, s->hva), to = min((u64)end, s->hva + s->bytes);

		if (from < to)
			changed |= npt_clear(vm, s->gpa + (from - s->hva), to - from);
	}
	spin_unlock(&vm->spin);
	if (changed)
		kvm_flush(vm);
}

/* ---- slots ---- */

static bool overlaps(struct kvm_vm *vm, const struct kvm_userspace_memory_region *r)
{
	for (unsigned i = 0; i < vm->nr_slots; i++) {
		struct kvm_slot *s = &vm->slots[i];

		if (s->id != r->slot && r->guest_phys_addr < s->gpa + s->bytes &&
		    s->gpa < r->guest_phys_addr + r->memory_size)
			return true;
	}
	return false;
}

static int check_region(struct kvm_vm *vm, const struct kvm_userspace_memory_region *r, const struct kvm_slot *old)
{
	if ((r->guest_phys_addr | r->memory_size | r->userspace_addr) & (PAGE_SIZE - 1) || (r->flags & ~SLOT_FLAGS) ||
	    r->memory_size > SLOT_MAX || r->guest_phys_addr > GPA_LIMIT - r->memory_size)
		return -EINVAL;
	if (r->userspace_addr > USER_END - r->memory_size)
		return -EINVAL;
	if (r->slot >= KVM_SLOTS)
		return -EINVAL;
	if (!r->memory_size)
		return old ? 0 : -EINVAL;
	if (old && (old->bytes != r->memory_size || old->hva != r->userspace_addr ||
		    ((old->flags ^ r->flags) & KVM_MEM_READONLY)))
		return -EINVAL; /* a slot may move or change its log; else it is deleted and made anew */
	return overlaps(vm, r) ? -EEXIST : 0;
}

static ulong *dirty_map(const struct kvm_userspace_memory_region *r)
{
	return vm_bitmap_bytes(r->memory_size) ? kzalloc(vm_bitmap_bytes(r->memory_size), ALLOC_CHARGED) : NULL;
}

/* The old slot's entries go, then the slot changes, in one step for every fault. */
static void install(struct kvm_vm *vm, struct kvm_slot *old, const struct kvm_slot *new)
{
	bool changed = false;

	spin_lock(&vm->spin);
	vm->invalidations++;
	if (old)
		changed = npt_clear(vm, old->gpa, old->bytes);
	if (!old)
		vm->slots[vm->nr_slots++] = *new;
	else if (new)
		*old = *new;
	else
		*old = vm->slots[--vm->nr_slots];
	spin_unlock(&vm->spin);
	if (changed)
		kvm_flush(vm);
}

int kvm_set_slot(struct kvm_vm *vm, const struct kvm_userspace_memory_region *r)
{
	struct kvm_slot *old = by_id(vm, r->slot);
	struct kvm_slot new = { r->slot, r->flags, r->guest_phys_addr, r->memory_size, r->userspace_addr, NULL };
	ulong *was = old ? old->dirty : NULL;
	int err = check_region(vm, r, old);

	if (err)
		return err;
	if (!old && vm->nr_slots == KVM_SLOTS)
		return -EINVAL;
	if (r->memory_size && (r->flags & KVM_MEM_LOG_DIRTY_PAGES)) {
		new.dirty = was ? was : dirty_map(r);
		if (!new.dirty)
			return -ENOMEM;
	}
	install(vm, old, r->memory_size ? &new : NULL);
	if (was != new.dirty)
		kfree(was);
	return 0;
}

int kvm_dirty_log(struct kvm_vm *vm, u32 id, void __user *bitmap)
{
	struct kvm_slot *s = by_id(vm, id);
	size_t bytes = s ? vm_bitmap_bytes(s->bytes) : 0;
	bool changed = false;
	ulong *copy;
	int err;

	if (!s || !s->dirty)
		return -ENOENT;
	copy = kzalloc(bytes, 0);
	if (!copy)
		return -ENOMEM;
	spin_lock(&vm->spin);
	for (u64 word = 0; word < bytes / sizeof(ulong); word++) {
		u64 first = word * 64 * PAGE_SIZE;

		swap(copy[word], s->dirty[word]);
		if (copy[word])
			changed |= npt_protect(vm, s->gpa + first, min(64 * PAGE_SIZE, s->bytes - first));
	}
	spin_unlock(&vm->spin);
	if (changed)
		kvm_flush(vm);
	err = user_put(bitmap, copy, bytes);
	kfree(copy);
	return err;
}

/* ---- faults ---- */

/* 0 and the address in the process; 1: no memory. */
static int look_up(struct kvm_vm *vm, u64 gpa, bool write, ulong *hva, u64 *count)
{
	struct kvm_slot *s;
	int ret = 1;

	spin_lock(&vm->spin);
	s = find(vm, gpa);
	if (s && !(write && (s->flags & KVM_MEM_READONLY))) {
		*hva = s->hva + (gpa - s->gpa);
		ret = 0;
	}
	*count = vm->invalidations;
	spin_unlock(&vm->spin);
	return ret;
}

static void note_dirty(struct kvm_vm *vm, u64 gpa)
{
	struct kvm_slot *s = find(vm, gpa);

	if (s && s->dirty)
		atomic_test_and_set_bit(s->dirty, (gpa - s->gpa) >> PAGE_SHIFT);
}

/* page NULL: device memory, at pfn. */
static int enter(struct kvm_vm *vm, u64 gpa, const struct page *page, pfn_t pfn, bool write, u64 count)
{
	int err = -EAGAIN;

	spin_lock(&vm->spin);
	if (vm->invalidations == count) {
		err = npt_set(vm, gpa & PAGE_MASK, page ? page_to_pfn(page) : pfn, write, !page);
		if (!err && write)
			note_dirty(vm, gpa);
	}
	spin_unlock(&vm->spin);
	return err;
}

int kvm_map(struct kvm_vm *vm, u64 gpa, bool write)
{
	struct page *page;
	pfn_t pfn = 0;
	ulong hva;
	u64 count;
	int err;

	do {
		err = look_up(vm, gpa, write, &hva, &count);
		if (err)
			return err;
		err = mm_pin_user(vm->mm, hva & PAGE_MASK, 1, write, &page);
		if (err < 0) {
			page = NULL;
			err = err == -EFAULT ? mm_device_frame(vm->mm, hva & PAGE_MASK, write, &pfn) : err;
		}
		if (err < 0)
			return err;
		err = enter(vm, gpa, page, pfn, write, count);
		if (page)
			page_put(page_head(page));
	} while (err == -EAGAIN && !fatal_signal_pending(current));
	return err == -EAGAIN ? -EINTR : err;
}

/* ---- copies ---- */

int kvm_read(struct kvm_vm *vm, u64 gpa, void *buf, size_t n)
{
	while (n) {
		size_t part = min(n, PAGE_SIZE - gpa % PAGE_SIZE);
		ulong hva;
		u64 count;

		if (look_up(vm, gpa, false, &hva, &count) || user_get(buf, (const void __user *)hva, part))
			return -EFAULT;
		buf = (char *)buf + part;
		gpa += part;
		n -= part;
	}
	return 0;
}

int kvm_write(struct kvm_vm *vm, u64 gpa, const void *buf, size_t n)
{
	while (n) {
		size_t part = min(n, PAGE_SIZE - gpa % PAGE_SIZE);
		ulong hva;
		u64 count;

		if (look_up(vm, gpa, true, &hva, &count) || user_put((void __user *)hva, buf, part))
			return -EFAULT;
		spin_lock(&vm->spin);
		note_dirty(vm, gpa);
		spin_unlock(&vm->spin);
		buf = (const char *)buf + part;
		gpa += part;
		n -= part;
	}
	return 0;
}

void kvm_memory_init(struct kvm_vm *vm)
{
	spin_init(&vm->spin, RANK_SUBSYS_SPIN);
	vm->shadow.invalidate = invalidate;
	pt_shadow_add(&vm->mm->pt, &vm->shadow);
}

void kvm_memory_free(struct kvm_vm *vm)
{
	pt_shadow_remove(&vm->mm->pt, &vm->shadow);
	for (unsigned i = 0; i < vm->nr_slots; i++)
		kfree(vm->slots[i].dirty);
	npt_destroy(vm);
}
