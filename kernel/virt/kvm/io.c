/* SPDX-License-Identifier: MIT
 *
 * Problem: a guest's access to a port or a device register is answered by the VMM, a trip through user space later, in
 * the middle of an instruction; some are answered here at once.
 *
 * Idea: an instruction that needs the VMM is kept, decoded, in the CPU with what remains to be done. KVM_RUN begins by
 * finishing it with the VMM's answer. Reads of a read-modify-write finish into a write, which may be a second trip.
 *
 *      exit --> local APIC? event descriptor? --yes--> done, next instruction
 *                        |no
 *                        v
 *      v->io = what remains, v->run = the question --> VMM --> KVM_RUN --> kvm_complete_io --> next instruction
 *
 * Contract: KVM_EXIT_IO, KVM_EXIT_MMIO and KVM_IOEVENTFD of virt/kvm/api.rst. Format of the I/O exit: AMD64 manual
 * volume 2, 15.10.2.
 *
 * Locks: vm->io_lock for the list of event descriptors, which is read at each exit and changed rarely.
 */
#include <alloc/slab.h>
#include <lib/err.h>
#include <lib/string.h>
#include <vfs/eventfd.h>
#include <vfs/vfs.h>
#include "kvm_priv.h"
#include "trace.h"

#define IO_IN     BIT(0)
#define IO_STRING BIT(2)
#define IO_REPEAT BIT(3)
#define FLAG_DF   0x400ULL
#define NPF_FETCH BIT(4)
#define NPF_TABLE BIT(33)
#define PORT_DATA PAGE_SIZE /* offset in the run area */
#define APIC_EOI  0xb0      /* offset in the local APIC's page */

/* ---- event descriptors ---- */

struct ioeventfd {
	struct list link;
	bool port, match;
	u64 address, data;
	u32 bytes; /* 0: any */
	struct file *file;
};

static bool signal_event(struct kvm_vm *vm, bool port, u64 address, u32 bytes, u64 data)
{
	struct ioeventfd *e;
	bool found = false;

	if (list_empty(&vm->ioeventfds))
		return false;
	spin_lock(&vm->io_lock);
	list_for_each_entry (e, &vm->ioeventfds, link) {
		if (e->port == port && e->address == address && (!e->bytes || e->bytes == bytes) &&
		    (!e->match || e->data == data)) {
			eventfd_signal(eventfd_of(e->file), 1);
			found = true;
			break;
		}
	}
	spin_unlock(&vm->io_lock);
	return found;
}

static struct ioeventfd *find_event(struct kvm_vm *vm, const struct kvm_ioeventfd *a)
{
	struct ioeventfd *e;

	list_for_each_entry (e, &vm->ioeventfds, link)
		if (e->port == !!(a->flags & KVM_IOEVENTFD_FLAG_PIO) && e->address == a->addr &&
		    (!e->bytes || !a->len || e->bytes == a->len) &&
		    (!e->match || !(a->flags & KVM_IOEVENTFD_FLAG_DATAMATCH) || e->data == a->datamatch))
			return e;
	return NULL;
}

static int add_event(struct kvm_vm *vm, const struct kvm_ioeventfd *a, struct file *f)
{
	struct ioeventfd *e;

	if (find_event(vm, a))
		return -EEXIST;
	e = kzalloc(sizeof(*e), ALLOC_CHARGED);
	if (!e)
		return -ENOMEM;
	*e = (struct ioeventfd){ .port = a->flags & KVM_IOEVENTFD_FLAG_PIO,
				 .match = a->flags & KVM_IOEVENTFD_FLAG_DATAMATCH,
				 .address = a->addr,
				 .data = a->datamatch,
				 .bytes = a->len,
				 .file = f };
	file_get(f);
	spin_lock(&vm->io_lock);
	list_add_tail(&e->link, &vm->ioeventfds);
	spin_unlock(&vm->io_lock);
	return 0;
}

static void drop_event(struct kvm_vm *vm, struct ioeventfd *e)
{
	spin_lock(&vm->io_lock);
	list_del(&e->link);
	spin_unlock(&vm->io_lock);
	file_put(e->file);
	kfree(e);
}

static int remove_event(struct kvm_vm *vm, const struct kvm_ioeventfd *a, struct file *f)
{
	struct ioeventfd *e = find_event(vm, a);

	if (!e || e->file != f)
		return -ENOENT;
	drop_event(vm, e);
	return 0;
}

int kvm_ioeventfd(struct kvm_vm *vm, const struct kvm_ioeventfd *a)
{
	u32 known = KVM_IOEVENTFD_FLAG_DATAMATCH | KVM_IOEVENTFD_FLAG_PIO | KVM_IOEVENTFD_FLAG_DEASSIGN;
	struct fd_ref ref;
	int err;

	if ((a->flags & ~known) || (a->len & (a->len - 1)) || a->len > 8 || a->addr + a->len < a->addr ||
	    (!a->len && (a->flags & KVM_IOEVENTFD_FLAG_DATAMATCH)))
		return -EINVAL;
	ref = fd_get(a->fd);
	if (!ref.file)
		return -EBADF;
	if (!eventfd_of(ref.file))
		err = -EINVAL;
	else
		err = a->flags & KVM_IOEVENTFD_FLAG_DEASSIGN ? remove_event(vm, a, ref.file)
							     : add_event(vm, a, ref.file);
	fd_put(ref);
	return err;
}

void kvm_ioeventfds_free(struct kvm_vm *vm)
{
	struct ioeventfd *e, *next;

	list_for_each_entry_safe (e, next, &vm->ioeventfds, link)
		drop_event(vm, e);
}

/* ---- ports ---- */

static void *port_data(struct kvm_vcpu *v)
{
	return (char *)v->run + PORT_DATA;
}

static int ask_port(struct kvm_vcpu *v, bool in, u16 port, u8 bytes, u32 count, enum kvm_completion what)
{
	v->run->exit_reason = KVM_EXIT_IO;
	v->run->io.direction = in ? KVM_EXIT_IO_IN : KVM_EXIT_IO_OUT;
	v->run->io.size = bytes;
	v->run->io.port = port;
	v->run->io.count = count;
	v->run->io.data_offset = PORT_DATA;
	v->io.what = what;
	v->io.count = count;
	v->io.insn.bytes = bytes;
	v->io.port = port;
	return 0;
}

static u64 width_mask(unsigned bytes)
{
	return bytes == 8 ? ~0ULL : (1ULL << bytes * 8) - 1;
}

static void step(u64 *reg, u64 by, u64 mask)
{
	*reg = mask == 0xffffffff ? (*reg + by) & mask : (*reg & ~mask) | ((*reg + by) & mask);
}

/* After `count` pieces of a string instruction. */
static void step_string(struct kvm_vcpu *v, u64 *index, u32 count)
{
	u64 mask = width_mask(v->io.insn.address_bytes), bytes = (u64)v->io.insn.bytes * count;

	step(index, v->g.vmcb->rflags & FLAG_DF ? -bytes : bytes, mask);
	if (v->io.insn.rep)
		step(&v->g.regs.rcx, -(u64)count, mask);
	if (!v->io.insn.rep || !(v->g.regs.rcx & mask))
		v->g.vmcb->rip = v->io.next_rip;
}

static struct svm_segment *segment(struct kvm_vcpu *v, unsigned n)
{
	struct svm_segment *s[] = { &v->g.vmcb->es, &v->g.vmcb->cs, &v->g.vmcb->ss,
				    &v->g.vmcb->ds, &v->g.vmcb->fs, &v->g.vmcb->gs };

	return s[n < 6 ? n : 3];
}

static u64 string_source(struct kvm_vcpu *v)
{
	unsigned s = v->io.insn.segment == 0xff ? 3 : v->io.insn.segment;

	return kvm_linear(v, segment(v, s), s >= 4, v->g.regs.rsi & width_mask(v->io.insn.address_bytes));
}

static u64 string_target(struct kvm_vcpu *v)
{
	return kvm_linear(v, segment(v, 0), false, v->g.regs.rdi & width_mask(v->io.insn.address_bytes));
}

/* INS and OUTS: as many pieces as fit in the page of data and do not cross one of the guest's. Backwards: one. */
static int string_port(struct kvm_vcpu *v, u16 port, bool in)
{
	struct insn *i = &v->io.insn;
	u64 mask = width_mask(i->address_bytes), linear = in ? string_target(v) : string_source(v);
	u64 left = i->rep ? v->g.regs.rcx & mask : 1;
	u32 count = (u32)min(left, (PAGE_SIZE - linear % PAGE_SIZE) / i->bytes);

	if (!left) {
		v->g.vmcb->rip = v->io.next_rip;
		return 1;
	}
	if ((v->g.vmcb->rflags & FLAG_DF) || !count)
		count = 1;
	if (!in && kvm_read_linear(v, linear, port_data(v), (size_t)count * i->bytes, GUEST_READ)) {
		v->g.vmcb->cr2 = linear;
		kvm_throw(v, 14, true, 0);
		return 1;
	}
	if (trace_on(kvm_pio) && !in)
		kvm_trace_pio(true, port, i->bytes, count, port_data(v));
	if (!in)
		step_string(v, &v->g.regs.rsi, count);
	return ask_port(v, in, port, i->bytes, count, in ? PORT_STRING_IN : PORT_OUT);
}

int kvm_port_exit(struct kvm_vcpu *v)
{
	u64 info = v->g.vmcb->exit_info1;
	u16 port = (u16)(info >> 16);
	u8 bytes = info >> 4 & 7;
	bool in = info & IO_IN;

	v->io.next_rip = v->g.vmcb->exit_info2;
	v->stats[STAT_IO_EXITS]++;
	if (info & IO_STRING) {
		u8 code[15];
		unsigned n = kvm_fetch(v, code);

		v->io.insn = (struct insn){ .bytes = bytes,
					    .address_bytes = info >> 7 & 1   ? 2
							     : info >> 8 & 1 ? 4
									     : 8,
					    .rep = info & IO_REPEAT,
					    .segment = 0xff };
		for (unsigned i = 0; i < insn_prefixes(code, n, kvm_mode(v)); i++)
			v->io.insn.segment = code[i] == 0x26   ? 0
					     : code[i] == 0x2e ? 1
					     : code[i] == 0x36 ? 2
					     : code[i] == 0x64 ? 4
					     : code[i] == 0x65 ? 5
							       : v->io.insn.segment;
		return string_port(v, port, in);
	}
	if (trace_on(kvm_pio) && !in)
		kvm_trace_pio(true, port, bytes, 1, &v->g.vmcb->rax);
	if (kvm_chip_port(v, port, in, bytes) || kvm_pit_port(v, port, in, bytes)) {
		if (trace_on(kvm_pio) && in)
			kvm_trace_pio(false, port, bytes, 1, &v->g.vmcb->rax);
		v->g.vmcb->rip = v->io.next_rip;
		return 1;
	}
	if (in)
		return ask_port(v, true, port, bytes, 1, PORT_IN);
	v->g.vmcb->rip = v->io.next_rip;
	if (signal_event(v->vm, true, port, bytes, v->g.vmcb->rax & width_mask(bytes)))
		return 1;
	memcpy(port_data(v), &v->g.vmcb->rax, bytes);
	return ask_port(v, false, port, bytes, 1, PORT_OUT);
}

static int finish_port_in(struct kvm_vcpu *v)
{
	u64 value = 0, mask = width_mask(v->io.insn.bytes);

	memcpy(&value, port_data(v), v->io.insn.bytes);
	if (trace_on(kvm_pio))
		kvm_trace_pio(false, v->io.port, v->io.insn.bytes, 1, &value);
	v->g.vmcb->rax = mask == 0xffffffff ? value : (v->g.vmcb->rax & ~mask) | (value & mask);
	v->g.vmcb->rip = v->io.next_rip;
	return 1;
}

static int finish_string_in(struct kvm_vcpu *v)
{
	u64 linear = string_target(v), left = v->g.regs.rcx & width_mask(v->io.insn.address_bytes);
	u32 count = v->io.insn.rep ? (u32)min((u64)v->io.count, left) : 1; /* the VMM may have changed RCX */

	if (trace_on(kvm_pio))
		kvm_trace_pio(false, v->io.port, v->io.insn.bytes, count, port_data(v));
	if (kvm_write_linear(v, linear, port_data(v), (size_t)count * v->io.insn.bytes)) {
		v->g.vmcb->cr2 = linear;
		kvm_throw(v, 14, true, 2);
		return 1;
	}
	step_string(v, &v->g.regs.rdi, count);
	return 1;
}

/* ---- device memory ---- */

static bool local_apic(struct kvm_vcpu *v, u64 gpa)
{
	return v->vm->has_apic && (v->apic.base & (LAPIC_BASE_ENABLE | LAPIC_BASE_X2)) == LAPIC_BASE_ENABLE &&
	       (gpa & PAGE_MASK) == (v->apic.base & PAGE_MASK & ((1ULL << 52) - 1));
}

static int ask_mmio(struct kvm_vcpu *v, bool write, u64 data)
{
	v->stats[STAT_MMIO_EXITS]++;
	if (trace_on(kvm_mmio) && !write)
		kvm_trace_mmio(KVM_MMIO_ASKED, v->io.insn.bytes, v->io.gpa, 0);
	v->run->exit_reason = KVM_EXIT_MMIO;
	v->run->mmio.phys_addr = v->io.gpa;
	v->run->mmio.len = v->io.insn.bytes;
	v->run->mmio.is_write = write;
	memcpy(v->run->mmio.data, &data, 8);
	v->io.what = write ? MMIO_WRITE : MMIO_READ;
	return 0;
}

static void get_registers(const struct kvm_vcpu *v, u64 g[16])
{
	const struct svm_regs *r = &v->g.regs;
	u64 all[16] = { v->g.vmcb->rax, r->rcx, r->rdx, r->rbx, v->g.vmcb->rsp, r->rbp, r->rsi, r->rdi,
			r->r8,          r->r9,  r->r10, r->r11, r->r12,         r->r13, r->r14, r->r15 };

	memcpy(g, all, sizeof(all));
}

static void set_registers(struct kvm_vcpu *v, const u64 g[16])
{
	v->g.vmcb->rax = g[0];
	v->g.vmcb->rsp = g[4];
	v->g.regs = (struct svm_regs){ .rcx = g[1],
				       .rdx = g[2],
				       .rbx = g[3],
				       .rbp = g[5],
				       .rsi = g[6],
				       .rdi = g[7],
				       .r8 = g[8],
				       .r9 = g[9],
				       .r10 = g[10],
				       .r11 = g[11],
				       .r12 = g[12],
				       .r13 = g[13],
				       .r14 = g[14],
				       .r15 = g[15] };
}

static int store(struct kvm_vcpu *v, u64 value)
{
	if (trace_on(kvm_mmio))
		kvm_trace_mmio(KVM_MMIO_WRITTEN, v->io.insn.bytes, v->io.gpa, value);
	if (local_apic(v, v->io.gpa)) {
		if (trace_on(kvm_eoi) && (v->io.gpa & 0xfff) == APIC_EOI)
			kvm_trace_eoi(&v->apic, lapic_in_service(&v->apic));
		if (!(v->io.gpa & 15))
			lapic_write(&v->apic, v->io.gpa & 0xfff, (u32)value);
		return 1;
	}
	if (kvm_chip_memory(v->vm, v->io.gpa)) {
		kvm_chip_write(v->vm, v->io.gpa, (u32)value);
		return 1;
	}
	if (signal_event(v->vm, false, v->io.gpa, v->io.insn.bytes, value & width_mask(v->io.insn.bytes)))
		return 1;
	return ask_mmio(v, true, value);
}

/* STOS and LODS step by themselves in insn_apply; the count and the next instruction are left. */
static void next_instruction(struct kvm_vcpu *v)
{
	struct insn *i = &v->io.insn;
	u64 mask = width_mask(i->address_bytes);

	if (i->rep && i->op >= INSN_MOVS) {
		step(&v->g.regs.rcx, -1ULL, mask);
		if (v->g.regs.rcx & mask)
			return;
	}
	v->g.vmcb->rip = v->io.next_rip;
}

/* The operand's value is known: the instruction takes effect. */
static int finish(struct kvm_vcpu *v, u64 memory)
{
	u64 g[16], out;

	get_registers(v, g);
	out = insn_apply(&v->io.insn, g, &v->g.vmcb->rflags, memory);
	set_registers(v, g);
	next_instruction(v);
	return insn_writes(&v->io.insn) ? store(v, out) : 1;
}

/* MOVS between memory and a device: the memory side is copied here. */
static int move_string(struct kvm_vcpu *v, bool write)
{
	struct insn *i = &v->io.insn;
	u64 value = 0, mask = width_mask(i->address_bytes),
	    by = v->g.vmcb->rflags & FLAG_DF ? -(u64)i->bytes : i->bytes;

	if (!write)
		return ask_mmio(v, false, 0);
	if (kvm_read_linear(v, string_source(v), &value, i->bytes, GUEST_READ))
		return -EFAULT;
	step(&v->g.regs.rsi, by, mask);
	step(&v->g.regs.rdi, by, mask);
	next_instruction(v);
	return store(v, value);
}

static int finish_move(struct kvm_vcpu *v, u64 value)
{
	struct insn *i = &v->io.insn;
	u64 mask = width_mask(i->address_bytes), by = v->g.vmcb->rflags & FLAG_DF ? -(u64)i->bytes : i->bytes;

	if (kvm_write_linear(v, string_target(v), &value, i->bytes))
		return -EFAULT;
	step(&v->g.regs.rsi, by, mask);
	step(&v->g.regs.rdi, by, mask);
	next_instruction(v);
	return 1;
}

static int cannot_emulate(struct kvm_vcpu *v, const u8 *code, unsigned n)
{
	v->stats[STAT_NOT_EMULATED]++;
	v->run->exit_reason = KVM_EXIT_INTERNAL_ERROR;
	v->run->internal.suberror = KVM_INTERNAL_ERROR_EMULATION;
	v->run->internal.ndata = 2;
	v->run->internal.data[0] = n;
	v->run->internal.data[1] = 0;
	memcpy(&v->run->internal.data[1], code, min(n, 8U));
	return 0;
}

/* A register that was read here or by the VMM. */
static int finish_read(struct kvm_vcpu *v, u64 value)
{
	if (trace_on(kvm_mmio))
		kvm_trace_mmio(KVM_MMIO_READ, v->io.insn.bytes, v->io.gpa, value);
	return v->io.insn.op == INSN_MOVS ? finish_move(v, value) : finish(v, value);
}

int kvm_mmio(struct kvm_vcpu *v, u64 gpa, bool write)
{
	struct insn *i = &v->io.insn;
	u8 code[15];
	unsigned n = kvm_fetch(v, code);

	v->stats[STAT_EMULATED]++;
	if (!n && (v->g.vmcb->exit_info1 & (NPF_FETCH | NPF_TABLE)))
		return cannot_emulate(v, code, 0); /* code or tables where no memory is */
	if (!n)
		return 1; /* its page has gone: the guest faults on it by itself */
	if (insn_decode(code, n, kvm_mode(v), i))
		return cannot_emulate(v, code, n);
	v->io.gpa = gpa;
	v->io.next_rip = v->g.vmcb->rip + i->length;
	if (i->op == INSN_MOVS)
		return move_string(v, write) < 0 ? cannot_emulate(v, code, n) : v->io.what == DONE;
	if (!insn_reads(i))
		return finish(v, 0);
	if (local_apic(v, gpa))
		return finish_read(v, lapic_read(&v->apic, gpa & 0xfff));
	if (kvm_chip_memory(v->vm, gpa))
		return finish_read(v, kvm_chip_read(v->vm, gpa));
	return ask_mmio(v, false, 0);
}

int kvm_complete_io(struct kvm_vcpu *v)
{
	enum kvm_completion what = v->io.what;
	u64 data;

	v->io.what = DONE;
	switch (what) {
	case PORT_IN: return finish_port_in(v);
	case PORT_STRING_IN: return finish_string_in(v);
	case MMIO_READ:
		memcpy(&data, v->run->mmio.data, 8);
		data &= width_mask(v->io.insn.bytes);
		return finish_read(v, data);
	case MSR_READ:
	case MSR_WRITE: return kvm_complete_msr(v, what == MSR_WRITE);
	default: return 1;
	}
}
