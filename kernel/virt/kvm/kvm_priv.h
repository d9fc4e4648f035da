/* SPDX-License-Identifier: MIT
 *
 * What the files of this part share. The interface to programs is Linux's (linux/kvm.h, asm/kvm.h; the kernel's
 * api documentation, virt/kvm/api.rst); the processor's is in arch/svm.h.
 *
 * A virtual machine lives as long as its file, the files of its CPUs, or its event descriptors refer to it.
 * Lock letters: L vm->lock (RANK_SUBSYS, configuration); S vm->spin (memory slots and nested tables); V vcpu->lock
 * (RANK_VCPU, held by the thread that runs the CPU); a atomic; I constant after creation.
 */
#ifndef KVM_PRIV_H
#define KVM_PRIV_H

#include <arch/mmu.h>
#include <arch/svm.h>
#include <asm/kvm.h>
#include <core/rcu.h>
#include <core/spin.h>
#include <lib/atomic.h>
#include <lib/cpumask.h>
#include <lib/list.h>
#include <linux/kvm.h>
#include <mm/mapping.h>
#include <task/mutex.h>
#include <task/timer.h>
#include "insn.h"
#include "lapic.h"

#define KVM_VCPUS       64
#define KVM_SLOTS       128
#define KVM_CPUID_MAX   256
#define KVM_GSIS        1024
#define KVM_RUN_PAGES   3 /* run structure, port data, and one that clients reserve for coalesced writes */
#define KVM_MCE_BANKS   32
#define KVM_MTRR_VALUES 29 /* fixed ranges, default type, eight variable pairs */

struct file;
struct page;
struct tenant;

struct kvm_slot {
	u32 id, flags;
	u64 gpa, bytes, hva;
	ulong *dirty; /* a bit a page, while KVM_MEM_LOG_DIRTY_PAGES is set */
};

struct kvm_routes { /* RCU */
	struct rcu_head rcu;
	unsigned nr;
	struct kvm_irq_routing_entry entry[];
};

struct kvm_vm {
	refcount_t refs;
	struct mm *mm;         /* I; held */
	struct tenant *tenant; /* I; counted: pays for tables and control blocks */
	struct mutex lock;
	struct spinlock spin;
	struct kvm_slot slots[KVM_SLOTS]; /* S */
	unsigned nr_slots;                /* S */
	u64 *root;                        /* I: nested level-4 table; entries S */
	u64 table_pages;                  /* S */
	u64 invalidations;                /* S: raised by each; a fault that raced with one starts over */
	u64 flush_gen;                    /* a: raised when nested entries lost rights */
	cpumask_t running;                /* a: CPUs that are in the guest, or about to enter it */
	struct pt_shadow shadow;
	struct kvm_vcpu *vcpu[KVM_VCPUS];    /* I once below nr_vcpus */
	unsigned nr_vcpus;                   /* L; release */
	ulong max_id;                        /* L: numbers of CPUs are below it; 0: not said */
	ulong boot_cpu;                      /* L; before the first CPU: who starts by itself */
	bool has_apic;                       /* L; before the first CPU: local APICs are here */
	struct kvm_chip *chip;               /* release; before the first CPU: all other controllers are here, too */
	struct kvm_pit *pit;                 /* release: the interval timer, where it is ours */
	bool has_vfio;                       /* L */
	struct kvm_routes *routes;           /* RCU; L */
	struct kvm_msr_filters *msr_filters; /* RCU; L */
	u32 msr_exits;                       /* L: KVM_MSR_EXIT_REASON_* that go to the VMM */
	u32 quirks_off;                      /* L: KVM_X86_QUIRK_* */
	bool hides_platform;                 /* L: MSR_PLATFORM_INFO is not the guest's to read */
	struct list irqfds, ioeventfds;      /* L; ioeventfds also under io_lock */
	struct spinlock io_lock;
	s64 clock_offset_ns; /* kvmclock: added to clock_ns */
};

enum kvm_stat {
	STAT_EXITS,
	STAT_IO_EXITS,
	STAT_MMIO_EXITS,
	STAT_HALT_EXITS,
	STAT_HALT_WAKEUPS,
	STAT_IRQ_EXITS,
	STAT_WINDOW_EXITS,
	STAT_SIGNAL_EXITS,
	STAT_PAGE_FAULTS,
	STAT_IRQS_INJECTED,
	STAT_NMIS_INJECTED,
	STAT_HYPERCALLS,
	STAT_EMULATED,
	STAT_NOT_EMULATED,
	STAT_TLB_FLUSHES,
	STAT_PREEMPTED,
	KVM_STATS
};

enum kvm_request { REQ_TIMER, REQ_NMI, REQ_INIT, REQ_STARTUP, REQ_CLOCK, REQ_SHUTDOWN, REQ_MSR_MAP };

enum kvm_completion { DONE, PORT_IN, PORT_STRING_IN, PORT_OUT, MMIO_READ, MMIO_WRITE, MSR_READ, MSR_WRITE };

struct kvm_vcpu {
	struct kvm_vm *vm; /* I */
	unsigned id;       /* I: as user space numbers it */
	struct mutex lock;
	struct task *runner;    /* RCU: who is in KVM_RUN, NULL: nobody */
	struct page *pages;     /* I: four of one block: the run area, then the control block */
	struct mapping mapping; /* of the run pages */
	struct file *file;      /* not counted: the mapping's get and put */
	struct kvm_run *run;
	struct svm_guest g; /* V */
	void *fpu;          /* V: the guest's while the runner is not inside, else the runner's own */
	struct lapic apic;
	struct timer timer;
	ulong requests;    /* a: BIT(enum kvm_request) */
	ulong eoi[4];      /* V: level-triggered vectors whose end the VMM must hear of */
	u32 mp_state;      /* V */
	u32 startup;       /* a: vector of the last start-up message */
	u64 flush_seen;    /* V */
	unsigned last_cpu; /* V */
	int guest_cpu;     /* a: where it is in the guest, or about to enter; -1: nowhere */
	u64 asid_gen;      /* V */
	bool nmi_masked;   /* V: between an NMI and its IRET */
	bool nmi_queued;   /* V */
	int ext_irq;       /* V: from KVM_INTERRUPT, -1: none */
	struct {
		bool pending, has_code;
		u8 vector;
		u32 code;
	} exception; /* V */
	struct {
		enum kvm_completion what;
		struct insn insn;
		u64 gpa;
		u64 next_rip;
		u32 count; /* of a string at a port */
		u16 port;
	} io;      /* V: what the VMM was asked to do; never read back from the run area, which the VMM can change */
	u32 debug; /* V: KVM_GUESTDBG_*; 0: no debugger */
	struct {
		u64 addr[4], status, control; /* DR0 to DR3, DR6, DR7 */
	} dr, dr_host;     /* V: the guest's own; the VMM's, in force while KVM_GUESTDBG_USE_HW_BP is set */
	u64 soft_rip;      /* V: behind the INT n that is being delivered */
	unsigned nr_cpuid; /* V */
	struct kvm_cpuid_entry2 *cpuid;
	u64 misc_enable;
	u64 tsc_adjust; /* V: what the guest itself has added to its counter */
	u64 mcg_cap, mcg_status, mcg_ctl;
	u64 mce[4 * KVM_MCE_BANKS]; /* four words a bank (mce.c) */
	u64 mtrr[KVM_MTRR_VALUES];
	u64 clock_msr, wall_msr;      /* kvmclock: guest addresses with an enable bit */
	u64 eoi_msr;                  /* V: likewise, of the word by which it may end an interrupt */
	bool eoi_offered;             /* V: for the next run; never outside of KVM_RUN */
	u64 power_ctl, platform_info; /* V: remembered */
	u64 steal_msr;                /* V: likewise, of the record of stolen time */
	u64 steal_seen_ns;            /* V: what of the runner's waiting is in it */
	bool steal_marked;            /* V: the record says that the CPU is off */
	bool enforce_pv;              /* V: what leaf KVM_CPUID_FEATURES does not name is not there */
	u64 stats[KVM_STATS];         /* V */
};

static inline struct kvm_vcpu *vcpu_of_apic(struct lapic *l)
{
	return container_of(l, struct kvm_vcpu, apic);
}

/* vm.c */
extern const struct file_ops kvm_vm_ops;
int __must_check kvm_vm_create(struct kvm_vm **out);
void kvm_vm_put(struct kvm_vm *vm);
long kvm_check_extension(struct kvm_vm *vm, ulong cap);

/* memory.c: memory of the guest by its physical addresses. */
int __must_check kvm_set_slot(struct kvm_vm *vm, const struct kvm_userspace_memory_region *r);
int __must_check kvm_dirty_log(struct kvm_vm *vm, u32 id, void __user *bitmap);
/* Copies; -EFAULT where no memory is. The caller runs in the VMM's address space. */
int __must_check kvm_read(struct kvm_vm *vm, u64 gpa, void *buf, size_t n);
int __must_check kvm_write(struct kvm_vm *vm, u64 gpa, const void *buf, size_t n);
/* A nested fault: 0 mapped; 1 no memory there (or a write to read-only memory): a device; -errno. */
int __must_check kvm_map(struct kvm_vm *vm, u64 gpa, bool write);
void kvm_memory_init(struct kvm_vm *vm);
void kvm_memory_free(struct kvm_vm *vm);
static inline size_t vm_bitmap_bytes(u64 bytes)
{
	return ALIGN_UP(bytes >> PAGE_SHIFT, 64) / 8;
}
/* Every CPU of the machine leaves the guest once. */
void kvm_flush(struct kvm_vm *vm);

/* npt.c: the nested tables. vm->spin held. */
int __must_check npt_set(struct kvm_vm *vm, u64 gpa, pfn_t pfn, bool writable, bool is_device);
bool npt_clear(struct kvm_vm *vm, u64 gpa, u64 bytes);   /* true: something was there */
bool npt_protect(struct kvm_vm *vm, u64 gpa, u64 bytes); /* takes the right to write */
int __must_check npt_create(struct kvm_vm *vm);
void npt_destroy(struct kvm_vm *vm);

/* walk.c: addresses as the guest's program sees them. */
enum kvm_access { GUEST_READ, GUEST_WRITE, GUEST_FETCH };
u64 kvm_linear(struct kvm_vcpu *v, const struct svm_segment *s, bool fs_gs, u64 offset);
enum x86_mode kvm_mode(const struct kvm_vcpu *v);
int __must_check kvm_translate(struct kvm_vcpu *v, u64 linear, enum kvm_access a, u64 *gpa); /* -EFAULT: not mapped */
int __must_check kvm_read_linear(struct kvm_vcpu *v, u64 linear, void *buf, size_t n, enum kvm_access a);
int __must_check kvm_write_linear(struct kvm_vcpu *v, u64 linear, const void *buf, size_t n);
unsigned kvm_fetch(struct kvm_vcpu *v, u8 out[15]); /* bytes of the instruction at rip that could be read */

/* vcpu.c */
int __must_check kvm_vcpu_create(struct kvm_vm *vm, ulong id); /* a descriptor */
void kvm_vcpu_free(struct kvm_vcpu *v);
void kvm_vcpu_reset(struct kvm_vcpu *v, bool by_init);
void kvm_use_msr_map(struct kvm_vcpu *v); /* as the machine's filter wants */
void kvm_kick(struct kvm_vcpu *v);        /* it looks at its requests soon; any context */
void kvm_request(struct kvm_vcpu *v, enum kvm_request r);

/* run.c */
int __must_check kvm_run(struct kvm_vcpu *v);

/* exits.c: 1 go on in the guest, 0 back to the VMM (v->run says why), -errno. */
int kvm_halt(struct kvm_vcpu *v); /* HLT: 1 to go on, 0 for the VMM */
int __must_check kvm_handle_exit(struct kvm_vcpu *v);
void kvm_throw(struct kvm_vcpu *v, u8 vector, bool has_code, u32 code);
void kvm_skip(struct kvm_vcpu *v, unsigned opcode_bytes);

/* io.c: ports and device memory. */
int __must_check kvm_port_exit(struct kvm_vcpu *v);
int __must_check kvm_mmio(struct kvm_vcpu *v, u64 gpa, bool write);
int __must_check kvm_complete_io(struct kvm_vcpu *v);
int __must_check kvm_ioeventfd(struct kvm_vm *vm, const struct kvm_ioeventfd *e);
void kvm_ioeventfds_free(struct kvm_vm *vm);

/* debug.c */
#define KVM_DEBUG_KNOWN                                                                                                \
	((u32)(KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_SINGLESTEP | KVM_GUESTDBG_USE_SW_BP | KVM_GUESTDBG_USE_HW_BP |       \
	       KVM_GUESTDBG_INJECT_DB | KVM_GUESTDBG_INJECT_BP | KVM_GUESTDBG_BLOCKIRQ))
static inline bool kvm_is_stepping(const struct kvm_vcpu *v)
{
	return v->debug & KVM_GUESTDBG_SINGLESTEP;
}
int kvm_debug_set(struct kvm_vcpu *v, void *buf); /* a row of state.c */
void kvm_debug_reset(struct kvm_vcpu *v);
void kvm_debug_load(struct kvm_vcpu *v);    /* v->dr has changed */
int kvm_debug_register(struct kvm_vcpu *v); /* MOV from or to one, as an exit */
u64 kvm_debug_flags(const struct kvm_vcpu *v, u64 rflags, bool to_guest);
int kvm_debug_exit(struct kvm_vcpu *v, u8 vector, u64 status);
int kvm_debug_step(struct kvm_vcpu *v); /* an instruction was done here while stepping */
int kvm_debug_exception(struct kvm_vcpu *v, u8 vector);
int kvm_soft_interrupt(struct kvm_vcpu *v);

/* msr_filter.c */
int __must_check kvm_set_msr_filter(struct kvm_vm *vm, const struct kvm_msr_filter *k);
void kvm_msr_filters_free(struct kvm_vm *vm);
int __must_check kvm_msr_exit(struct kvm_vcpu *v);
int __must_check kvm_complete_msr(struct kvm_vcpu *v, bool write);

/* msr.c, cpuid.c, state.c: -EINVAL where the guest gets #GP, -ENXIO for a register that is not there. */
int __must_check kvm_msr_read(struct kvm_vcpu *v, u32 msr, u64 *out, bool host);
int __must_check kvm_msr_write(struct kvm_vcpu *v, u32 msr, u64 value, bool host);
int __must_check kvm_msr_list(struct kvm_msr_list __user *list);
int __must_check kvm_msr_feature_list(struct kvm_msr_list __user *list);
long __must_check kvm_msr_features(struct kvm_msrs __user *arg); /* as kvm_msr_each */
/* Calls fn for each register of a list, which changes *value if it reads. Ends where fn does not return 0: how many
 * were good. -E2BIG, -EFAULT. */
typedef int kvm_msr_fn(void *ctx, u32 msr, u64 *value);
long __must_check kvm_msr_each(struct kvm_msrs __user *arg, kvm_msr_fn *fn, void *ctx);
void kvm_msr_pass(u8 *bitmap);
bool kvm_cpuid(struct kvm_vcpu *v, u32 leaf, u32 sub, u32 out[4]); /* false: the list has no such leaf */
int __must_check kvm_cpuid_supported(struct kvm_cpuid2 __user *list);
int __must_check kvm_cpuid_set(struct kvm_vcpu *v, const struct kvm_cpuid2 __user *list);
int __must_check kvm_cpuid_get(struct kvm_vcpu *v, struct kvm_cpuid2 __user *list);
/* What the VMM put into the run area, and wants there (KVM_CAP_SYNC_REGS). */
int __must_check kvm_sync_in(struct kvm_vcpu *v);
void kvm_sync_out(struct kvm_vcpu *v);
long kvm_state_ioctl(struct kvm_vcpu *v, unsigned cmd, void __user *arg); /* -ENOTTY: not one of these */
bool kvm_efer_ok(u64 efer);
bool kvm_cr4_ok(struct kvm_vcpu *v, u64 cr4);

/* chip.c: the machine's interrupt controllers but for local APICs; only where vm->chip is. */
int __must_check kvm_chip_create(struct kvm_vm *vm);
void kvm_chip_free(struct kvm_vm *vm);
bool kvm_chip_has(const struct kvm_irq_routing_irqchip *to);                               /* there is such an input */
int kvm_chip_line(struct kvm_vm *vm, const struct kvm_irq_routing_irqchip *to, bool high); /* any context */
void kvm_chip_eoi(struct kvm_vm *vm, u8 vector);
bool kvm_pic_waits(const struct kvm_vcpu *v); /* also without a chip: false */
u8 kvm_pic_acknowledge(struct kvm_vcpu *v);
bool kvm_chip_port(struct kvm_vcpu *v, u16 port, bool in, u8 bytes); /* false: not one of its ports; also without */
bool kvm_chip_memory(struct kvm_vm *vm, u64 gpa);                    /* likewise */
u32 kvm_chip_read(struct kvm_vm *vm, u64 gpa);
void kvm_chip_write(struct kvm_vm *vm, u64 gpa, u32 value);
int __must_check kvm_chip_state(struct kvm_vm *vm, struct kvm_irqchip *k, bool set);

/* pit.c: likewise. */
int __must_check kvm_pit_create(struct kvm_vm *vm, const struct kvm_pit_config *k);
void kvm_pit_free(struct kvm_vm *vm);
bool kvm_pit_port(struct kvm_vcpu *v, u16 port, bool in, u8 bytes);
int __must_check kvm_pit_state(struct kvm_vm *vm, struct kvm_pit_state2 *k, bool set);

/* mce.c */
int __must_check kvm_mce_read(struct kvm_vcpu *v, u32 msr, u64 *out, bool host);
int __must_check kvm_mce_write(struct kvm_vcpu *v, u32 msr, u64 value, bool host);
u64 kvm_mce_supported(void);
int kvm_mce_setup(struct kvm_vcpu *v, void *buf); /* rows of state.c */
int kvm_mce_raise(struct kvm_vcpu *v, void *buf);

/* irq.c */
void kvm_apic_send(struct kvm_vm *vm, struct kvm_vcpu *from, const struct lapic_message *m);
int kvm_signal_msi(struct kvm_vm *vm, u64 address, u32 data); /* CPUs reached; any context */
int __must_check kvm_set_routes(struct kvm_vm *vm, const struct kvm_irq_routing __user *r);
int kvm_set_gsi(struct kvm_vm *vm, u32 gsi, bool high); /* whom it reached, -1: nobody; any context */
int __must_check kvm_irq_line(struct kvm_vm *vm, struct kvm_irq_level *l);
int __must_check kvm_irqfd(struct kvm_vm *vm, const struct kvm_irqfd *f);
void kvm_irqfds_free(struct kvm_vm *vm);
bool kvm_wants_eoi(struct kvm_vm *vm, u8 vector); /* a routed level-triggered interrupt */

/* eoi.c: the end of an interrupt without an exit. */
int __must_check kvm_eoi_enable(struct kvm_vcpu *v, u64 value);
void kvm_eoi_offer(struct kvm_vcpu *v);   /* before a run, when the end is quiet (lapic.h) */
void kvm_eoi_collect(struct kvm_vcpu *v); /* after an offer, whether the guest ran or not */

/* vfio.c */
int __must_check kvm_create_device(struct kvm_vm *vm, struct kvm_create_device __user *arg);

/* stats.c: a descriptor of the machine's statistics, or of a CPU's */
int __must_check kvm_stats_fd(struct kvm_vm *vm, struct kvm_vcpu *v);

/* hypercall.c */
#define KVM_QUIRKS                                                                                                     \
	((u32)(KVM_X86_QUIRK_MISC_ENABLE_NO_MWAIT | KVM_X86_QUIRK_FIX_HYPERCALL_INSN |                                 \
	       KVM_X86_QUIRK_MWAIT_NEVER_UD_FAULTS))
int kvm_hypercall(struct kvm_vcpu *v);                 /* as an exit */
bool kvm_fix_hypercall(struct kvm_vcpu *v);            /* the other maker's instruction: made ours, to be run again */
bool kvm_pv_has(struct kvm_vcpu *v, unsigned feature); /* KVM_FEATURE_*: the guest may use it */
int __must_check kvm_steal_enable(struct kvm_vcpu *v, u64 value);
void kvm_steal_mark(struct kvm_vcpu *v);   /* the CPU is about to be taken from the runner */
void kvm_steal_update(struct kvm_vcpu *v); /* it runs again */

/* clock.c */
u64 kvm_guest_tsc(const struct kvm_vcpu *v);
u64 kvm_tsc_khz(void);
void kvm_clock_update(struct kvm_vcpu *v);
void kvm_wall_write(struct kvm_vcpu *v);

#endif
