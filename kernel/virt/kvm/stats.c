/* SPDX-License-Identifier: MIT
 *
 * Problem: monitors of virtual machines (QEMU's query-stats, say) want counts of exits without tracing, from a kernel
 * whose list of counts they do not know.
 *
 * Idea: a file that describes itself: head, name, a description a count, then the counts, all made anew for each read.
 * Names are Linux's where Linux counts the same.
 *
 *      head | "kvm-..." | descriptions, 64 bytes each | u64 counts
 *
 * Contract: KVM_GET_STATS_FD of virt/kvm/api.rst. The file keeps the machine.
 *
 * Locks: none; counts are words of which each is right by itself.
 */
#include <alloc/slab.h>
#include <lib/err.h>
#include <lib/printf.h>
#include <lib/string.h>
#include <task/task.h>
#include <vfs/uapi.h>
#include <vfs/vfs.h>
#include "kvm_priv.h"

#define NAME_BYTES 48

struct description {
	u32 flags;
	s16 exponent;
	u16 size;
	u32 offset, bucket_size;
	char name[NAME_BYTES];
};
_Static_assert(sizeof(struct description) == sizeof(struct kvm_stats_desc) + NAME_BYTES, "as in linux/kvm.h");

static const char *const vcpu_names[KVM_STATS] = {
	[STAT_EXITS] = "exits",
	[STAT_IO_EXITS] = "io_exits",
	[STAT_MMIO_EXITS] = "mmio_exits",
	[STAT_HALT_EXITS] = "halt_exits",
	[STAT_HALT_WAKEUPS] = "halt_wakeup",
	[STAT_IRQ_EXITS] = "irq_exits",
	[STAT_WINDOW_EXITS] = "irq_window_exits",
	[STAT_SIGNAL_EXITS] = "signal_exits",
	[STAT_PAGE_FAULTS] = "pf_taken",
	[STAT_IRQS_INJECTED] = "irq_injections",
	[STAT_NMIS_INJECTED] = "nmi_injections",
	[STAT_HYPERCALLS] = "hypercalls",
	[STAT_EMULATED] = "insn_emulation",
	[STAT_NOT_EMULATED] = "insn_emulation_fail",
	[STAT_TLB_FLUSHES] = "tlb_flush",
	[STAT_PREEMPTED] = "preemption_reported",
};
static const char *const vm_names[] = { "remote_tlb_flush", "nested_table_pages" };

struct stats {
	struct kvm_vm *vm;   /* counted */
	struct kvm_vcpu *v;  /* NULL: the machine's */
	char id[NAME_BYTES]; /* zeros behind it */
};

struct image {
	struct kvm_stats_header head;
	char id[NAME_BYTES];
	struct description d[KVM_STATS];
	u64 count[KVM_STATS];
};

static void describe(struct image *im, const struct stats *s)
{
	unsigned nr = s->v ? KVM_STATS : ARRAY_SIZE(vm_names);
	const char *const *names = s->v ? vcpu_names : vm_names;

	im->head = (struct kvm_stats_header){ .name_size = NAME_BYTES,
					      .num_desc = nr,
					      .id_offset = offsetof(struct image, id),
					      .desc_offset = offsetof(struct image, d),
					      .data_offset = offsetof(struct image, count) };
	memcpy(im->id, s->id, sizeof(im->id));
	for (unsigned i = 0; i < nr; i++) {
		im->d[i].size = 1;
		im->d[i].offset = i * (u32)sizeof(u64);
		memcpy(im->d[i].name, names[i], strlen(names[i]));
	}
	if (s->v)
		return;
	im->d[1].flags = KVM_STATS_TYPE_INSTANT;
}

static void count(struct image *im, const struct stats *s)
{
	for (unsigned i = 0; s->v && i < KVM_STATS; i++)
		im->count[i] = READ_ONCE(s->v->stats[i]);
	if (s->v)
		return;
	im->count[0] = READ_ONCE(s->vm->flush_gen);
	im->count[1] = READ_ONCE(s->vm->table_pages);
}

static ssize_t stats_read(struct io *io)
{
	const struct stats *s = io->file->priv;
	struct image *im;
	size_t end, n = 0;

	im = kzalloc(sizeof(*im), 0);
	if (!im)
		return -ENOMEM;
	describe(im, s);
	count(im, s);
	end = im->head.data_offset + im->head.num_desc * sizeof(u64);
	if ((u64)io->pos < end) {
		size_t want = min(end - (size_t)io->pos, io->iter.count);

		n = iter_copy_out((char *)im + io->pos, want, &io->iter);
		io->pos += (s64)n;
		if (want && !n)
			n = (size_t)-EFAULT;
	}
	kfree(im);
	return (ssize_t)n;
}

static void stats_release(struct file *f)
{
	struct stats *s = f->priv;

	kvm_vm_put(s->vm);
	kfree(s);
}

static const struct file_ops stats_ops = { .read = stats_read, .release = stats_release, .llseek = file_llseek };

int kvm_stats_fd(struct kvm_vm *vm, struct kvm_vcpu *v)
{
	struct stats *s = kzalloc(sizeof(*s), ALLOC_CHARGED);
	struct strbuf id;
	struct file *f;
	int err;

	if (!s)
		return -ENOMEM;
	s->vm = vm;
	s->v = v;
	strbuf_init(&id, s->id, sizeof(s->id));
	strbuf_add(&id, v ? "kvm-%d/vcpu-%u" : "kvm-%d", current->tid, v ? v->id : 0);
	err = file_anon(v ? "[kvm-vcpu-stats]" : "[kvm-vm-stats]", &stats_ops, s, O_RDONLY, &f);
	if (err) {
		kfree(s);
		return err;
	}
	refcount_inc(&vm->refs);
	return (int)fd_publish(f, O_CLOEXEC);
}
