/* SPDX-License-Identifier: MIT
 *
 * Problem: a program that crashed is gone; what a debugger needs of it must be in a file first, with the registers of
 * all its threads, each as it was when the program died.
 *
 * Idea: the thread that dies of the signal sets p->core and kills the others; each of them, on its way out, leaves its
 * registers there. When only the dying one is left, nobody else changes the memory, and it writes an ELF file of type
 * CORE: one note segment, one load segment a VMA, and of the memory what the process's filter says; unless it is
 * changed, what cannot be had elsewhere: private pages, shared memory without a name, the vDSO, and the first page of
 * mapped ELF files. Pages that were never used, and pages of zeros, are holes.
 *   running --fatal signal--> p->core set, others end --only one left--> file written --> p->core gone, exits
 * A pattern that begins with | names a program (helper.c) that reads the same bytes from a pipe, holes as zeros.
 *
 * Contract: core(5): RLIMIT_CORE (a longer file is cut there), PR_SET_DUMPABLE, MADV_DONTDUMP, /proc/sys/kernel/
 * core_pattern, core_uses_pid and core_pipe_limit. SIGKILL ends the writing, and is then what the process died of.
 * The format is that of System V's ABI (ELF) with the notes of linux/elf.h; prstatus and prpsinfo as sys/procfs.h has
 * them.
 *
 * Locks: siglock for p->core and its list; mm->lock for reading while VMAs are listed. None while writing.
 */
#include "process_priv.h"
#include <core/attr.h>
#include <core/clock.h>
#include <core/init.h>
#include <lib/printf.h>
#include <lib/string.h>
#include <linux/elf.h>
#include <linux/fcntl.h>
#include <linux/utsname.h>
#include <process/namespaces.h>
#include <process/ptrace.h>
#include <vfs/cache.h>
#include <vfs/names.h>
#include <vfs/pipe.h>
#include <vfs/uapi.h>
#include <vfs/vfs.h>

#define NAME_BYTES 128
#define TEXT_BYTES (8 * PAGE_SIZE) /* of a name or of all arguments */
#define CORE_LEAST PAGE_SIZE
#define NO_HELPER  1 /* RLIMIT_CORE of a helper */

/* ---- the notes' structures (sys/procfs.h on x86-64) -------------------------------------------------- */

struct timeval64 {
	s64 sec, usec;
};

struct prstatus {
	s32 signo, code, error;
	s16 cursig;
	u64 pending, blocked;
	s32 pid, ppid, pgrp, sid;
	struct timeval64 user, system, children_user, children_system;
	u64 words[USER_WORDS];
	s32 has_fpu;
};
_Static_assert(sizeof(struct prstatus) == 336, "elf_prstatus");

struct prpsinfo {
	u8 state, letter, zombie;
	s8 nice;
	u64 flags;
	u32 uid, gid;
	s32 pid, ppid, pgrp, sid;
	char name[16], args[80];
};
_Static_assert(sizeof(struct prpsinfo) == 136, "elf_prpsinfo");

struct core_thread {
	struct list link;
	struct prstatus status;
	u8 fpu[];
};

struct core_vma {
	ulong start, end, index;
	u32 flags, name; /* VMA_*; offset in the names + 1, 0: no file */
	bool private;    /* has pages of its own */
	size_t bytes;    /* of it in the core file */
};

struct core_dump {
	struct list threads; /* core_thread, the dying one first */
	struct file *file;
	s64 pos, limit; /* bytes written so far, holes included; RLIMIT_CORE */
	s64 piped;      /* of a pipe: without the hole that may end at pos */
	char *zeros;    /* a page of them; NULL: the file is no pipe */
	bool begun;
	struct core_vma *vmas;
	unsigned nr_vmas, nr_files;
	char *names, *page;
	size_t names_bytes, names_room;
	const siginfo_t *info;
};

static char core_pattern[NAME_BYTES] = "core";
static u32 core_uses_pid, core_pipe_limit;
static atomic_t nr_piped; /* processes that write to helpers */

/* ---- threads leave their registers ------------------------------------------------------------------------ */

static struct timeval64 timeval_of(u64 ns)
{
	return (struct timeval64){ (s64)(ns / NSEC_PER_SEC), (s64)(ns % NSEC_PER_SEC / 1000) };
}

static struct core_thread *describe_thread(int sig)
{
	struct core_thread *t = kzalloc(sizeof(*t) + arch_fpu_bytes(), ALLOC_KERNEL);
	struct process *p = current->process;

	if (!t)
		return NULL;
	t->status = (struct prstatus){
		.signo = sig,
		.cursig = (s16)sig,
		.pending = signal_pending_mask(current),
		.blocked = current->sig_blocked,
		.pid = pid_nr(current->pid),
		.ppid = process_parent_nr(),
		.pgrp = pid_nr(p->pgrp),
		.sid = pid_nr(p->session),
		.user = timeval_of(current->user_ns),
		.system = timeval_of(current->system_ns),
		.children_user = timeval_of(p->cuser_ns),
		.children_system = timeval_of(p->csystem_ns),
	};
	for (unsigned i = 0; i < USER_WORDS; i++)
		t->status.words[i] = thread_user_word(current, i);
	t->status.has_fpu = !thread_user_fpu(current, t->fpu, arch_fpu_bytes());
	return t;
}

void core_thread_ends(void)
{
	struct process *p = current->process;
	struct core_thread *t;
	ulong irq;

	t = describe_thread(0);
	if (!t)
		return;
	irq = spin_lock_irqsave(&p->siglock);
	list_add_tail(&t->link, &p->core->threads);
	spin_unlock_irqrestore(&p->siglock, irq);
}

/* Only current is left, and the others' registers are in d. False: the process ends already in another way. */
static bool gather_threads(struct core_dump *d, int sig)
{
	struct process *p = current->process;
	struct core_thread *t = describe_thread(sig);
	ulong irq;

	if (!t)
		return false;
	list_add(&t->link, &d->threads);
	irq = spin_lock_irqsave(&p->siglock);
	if (p->group_exiting) {
		spin_unlock_irqrestore(&p->siglock, irq);
		return false;
	}
	p->group_exiting = true;
	p->exit_status = sig;
	p->stop_pending = p->stopped = false;
	p->core = d;
	signal_kill_others(p);
	spin_unlock_irqrestore(&p->siglock, irq);
	wait_event(&p->child_wait, READ_ONCE(p->nr_threads) == 1);
	return true;
}

/* Only SIGKILL and the freezer interrupt what follows: all other signals are dropped from here on. */
static void ignore_signals(void)
{
	struct process *p = current->process;
	ulong irq = spin_lock_irqsave(&p->siglock);

	if (!(current->sig_pending & SIGMASK(SIGKILL)))
		task_clear_work(current, WORK_SIGNAL);
	spin_unlock_irqrestore(&p->siglock, irq);
}

static void forget_core(void)
{
	struct process *p = current->process;
	ulong irq = spin_lock_irqsave(&p->siglock);

	p->core = NULL;
	spin_unlock_irqrestore(&p->siglock, irq);
}

void core_interrupt(struct process *p)
{
	struct task *t;

	assert_held(&p->siglock);
	p->exit_status = SIGKILL;
	list_for_each_entry (t, &p->threads, thread_link) {
		t->sig_pending |= SIGMASK(SIGKILL);
		signal_wake_thread(t, true);
	}
}

/* ---- what of the memory goes in ---------------------------------------------------------------------------- */

static bool is_elf(ulong at)
{
	char magic[SELFMAG];

	return mm_access(current->mm, at, magic, SELFMAG, false, true) == SELFMAG && !memcmp(magic, ELFMAG, SELFMAG);
}

/* Shared memory without a name: no file keeps it. */
static bool is_nameless(struct mapping *m)
{
	struct page_cache *c = cache_of_mapping(m);

	return c && !READ_ONCE(c->host->nlink);
}

static size_t bytes_wanted(struct vma *v, unsigned filter)
{
	size_t all = v->end - v->start;

	if (v->flags & VMA_VDSO)
		return all;
	if (v->flags & (VMA_DONTDUMP | VMA_SPECIAL))
		return 0;
	if (v->mapping && v->flags & VMA_SHARED)
		return filter & (is_nameless(v->mapping) ? MM_CORE_SHARED : MM_CORE_FILE_SHARED) ? all : 0;
	if (filter & MM_CORE_PRIVATE && (!v->mapping || v->has_private))
		return all;
	if (!v->mapping || filter & MM_CORE_FILE_PRIVATE)
		return v->mapping ? all : 0;
	return filter & MM_CORE_ELF_HEADERS && v->index == 0 && v->flags & VMA_READ
		       ? PAGE_SIZE /* if it is ELF: looked at without the lock */
		       : 0;
}

static void add_name(struct core_dump *d, struct core_vma *out, const char *path)
{
	size_t n = strlen(path) + 1;

	if (path[0] != '/' || d->names_bytes + n > d->names_room)
		return;
	memcpy(d->names + d->names_bytes, path, n);
	out->name = d->names_bytes + 1;
	d->names_bytes += n;
	d->nr_files++;
}

static int list_vmas(struct core_dump *d)
{
	struct mapping_name *of = kmalloc(sizeof(*of), ALLOC_KERNEL);
	struct mm *m = current->mm;
	unsigned room = READ_ONCE(m->nr_vmas) + 16, filter = READ_ONCE(m->core_filter);
	int err = -ENOMEM;

	d->names_room = room * 64 + PAGE_SIZE;
	d->vmas = kcalloc(room, sizeof(*d->vmas), ALLOC_KERNEL);
	d->names = kmalloc(d->names_room, ALLOC_KERNEL);
	if (!of || !d->vmas || !d->names)
		goto out;
	read_lock(&m->lock);
	for (struct vma *v = mm_find_vma(m, 0); v && d->nr_vmas < room; v = mm_next_vma(v)) {
		struct core_vma *c = &d->vmas[d->nr_vmas++];

		of->path[0] = '\0';
		if (v->mapping && v->mapping->ops->describe)
			v->mapping->ops->describe(v->mapping, of);
		*c = (struct core_vma){
			v->start, v->end, v->index, v->flags, 0, v->has_private, bytes_wanted(v, filter)
		};
		add_name(d, c, of->path);
	}
	read_unlock(&m->lock);
	err = 0;
out:
	kfree(of);
	return err;
}

/* ---- writing -------------------------------------------------------------------------------------------------- */

static int pipe_put(struct core_dump *d, const void *data, size_t bytes)
{
	if (file_write_at(d->file, data, bytes, 0) != (ssize_t)bytes)
		return -EPIPE;
	d->piped += bytes;
	return 0;
}

static int pipe_fill(struct core_dump *d)
{
	int err = 0;

	while (d->piped < d->pos && !err)
		err = pipe_put(d, d->zeros, min(d->pos - d->piped, (s64)PAGE_SIZE));
	return err;
}

static int put(struct core_dump *d, const void *data, size_t bytes)
{
	int err = 0;

	if (d->pos + (s64)bytes > d->limit)
		return -EFBIG;
	if (fatal_signal_pending(current))
		return -EINTR;
	if (d->zeros) {
		err = pipe_fill(d);
		if (!err)
			err = pipe_put(d, data, bytes);
	} else if (file_write_at(d->file, data, bytes, d->pos) != (ssize_t)bytes) {
		err = -EIO;
	}
	d->pos += bytes;
	return err;
}

/* What is a hole up to the end. */
static int put_end(struct core_dump *d)
{
	if (d->zeros)
		return pipe_fill(d);
	return d->file->inode->size < d->pos ? inode_set_size(d->file->inode, min(d->pos, d->limit)) : 0;
}

static size_t note_bytes(const char *name, size_t bytes)
{
	return sizeof(Elf64_Nhdr) + ALIGN_UP(strlen(name) + 1, 4UL) + ALIGN_UP(bytes, 4UL);
}

static int put_note(struct core_dump *d, const char *name, u32 type, const void *data, size_t bytes)
{
	Elf64_Nhdr n = { .n_namesz = strlen(name) + 1, .n_descsz = bytes, .n_type = type };
	char padded[8] = "";
	int err;

	memcpy(padded, name, n.n_namesz);
	err = put(d, &n, sizeof(n));
	if (!err)
		err = put(d, padded, ALIGN_UP((size_t)n.n_namesz, 4UL));
	if (!err)
		err = put(d, data, bytes);
	if (!err)
		d->pos = ALIGN_UP(d->pos, 4);
	return err;
}

/* The NT_FILE note: count, page size, {start, end, page offset} each, names. */
static u64 *file_note(struct core_dump *d, size_t *bytes)
{
	u64 *note, *at;

	*bytes = (2 + 3 * d->nr_files) * sizeof(u64) + d->names_bytes;
	note = at = kmalloc(*bytes, ALLOC_KERNEL);
	if (!note)
		return NULL;
	*at++ = d->nr_files;
	*at++ = PAGE_SIZE;
	for (unsigned i = 0; i < d->nr_vmas; i++) {
		const struct core_vma *v = &d->vmas[i];

		if (!v->name)
			continue;
		*at++ = v->start;
		*at++ = v->end;
		*at++ = v->index;
	}
	memcpy(at, d->names, d->names_bytes);
	return note;
}

static void describe_process(struct prpsinfo *i)
{
	struct process *p = current->process;
	struct mm *m = current->mm;
	ssize_t n;

	*i = (struct prpsinfo){
		.letter = 'R',
		.uid = current->cred->uid.v,
		.gid = current->cred->gid.v,
		.pid = pid_nr(p->pid),
		.ppid = process_parent_nr(),
		.pgrp = pid_nr(p->pgrp),
		.sid = pid_nr(p->session),
	};
	str_copy(i->name, current->comm, sizeof(i->name));
	n = mm_access(m, m->arg_start, i->args, min(m->arg_end - m->arg_start, sizeof(i->args) - 1), false, true);
	for (ssize_t k = 0; k < n - 1; k++)
		if (!i->args[k])
			i->args[k] = ' ';
}

static int put_thread(struct core_dump *d, struct core_thread *t)
{
	int err = put_note(d, "CORE", NT_PRSTATUS, &t->status, sizeof(t->status));

	if (!err)
		err = put_note(d, "CORE", NT_PRFPREG, t->fpu, FXSAVE_BYTES);
	return err ? err : put_note(d, "LINUX", NT_X86_XSTATE, t->fpu, arch_fpu_bytes());
}

/* The dying thread's come first, then the process's, then the other threads': debuggers count on it. */
static int put_notes(struct core_dump *d, const u64 *files, size_t files_bytes)
{
	struct core_thread *first = list_first_or_null(&d->threads, struct core_thread, link), *t;
	struct mm *m = current->mm;
	struct prpsinfo info;
	int err;

	describe_process(&info);
	err = put_thread(d, first);
	if (!err)
		err = put_note(d, "CORE", NT_PRPSINFO, &info, sizeof(info));
	if (!err)
		err = put_note(d, "CORE", NT_SIGINFO, d->info, sizeof(*d->info));
	if (!err)
		err = put_note(d, "CORE", NT_AUXV, m->auxv, m->auxv_words * sizeof(m->auxv[0]));
	if (!err)
		err = put_note(d, "CORE", NT_FILE, files, files_bytes);
	list_for_each_entry (t, &d->threads, link)
		if (!err && t != first)
			err = put_thread(d, t);
	return err;
}

static size_t notes_bytes(const struct core_dump *d, size_t files_bytes)
{
	size_t n = note_bytes("CORE", sizeof(struct prpsinfo)) + note_bytes("CORE", sizeof(siginfo_t)) +
		   note_bytes("CORE", current->mm->auxv_words * sizeof(current->mm->auxv[0])) +
		   note_bytes("CORE", files_bytes);
	struct core_thread *t;

	list_for_each_entry (t, &d->threads, link)
		n += note_bytes("CORE", sizeof(t->status)) + note_bytes("CORE", FXSAVE_BYTES) +
		     note_bytes("LINUX", arch_fpu_bytes());
	return n;
}

static int put_headers(struct core_dump *d, size_t notes)
{
	u64 at = sizeof(Elf64_Ehdr) + (d->nr_vmas + 1) * sizeof(Elf64_Phdr);
	Elf64_Ehdr e = { .e_ident = { 0x7f, 'E', 'L', 'F', ELFCLASS64, ELFDATA2LSB, EV_CURRENT },
			 .e_type = ET_CORE,
			 .e_machine = EM_X86_64,
			 .e_version = EV_CURRENT,
			 .e_phoff = sizeof(e),
			 .e_ehsize = sizeof(e),
			 .e_phentsize = sizeof(Elf64_Phdr),
			 .e_phnum = d->nr_vmas + 1 };
	Elf64_Phdr h = { .p_type = PT_NOTE, .p_offset = at, .p_filesz = notes, .p_align = 4 };
	int err = put(d, &e, sizeof(e));

	if (!err)
		err = put(d, &h, sizeof(h));
	at = ALIGN_UP(at + notes, PAGE_SIZE);
	for (unsigned i = 0; i < d->nr_vmas && !err; i++) {
		const struct core_vma *v = &d->vmas[i];

		h = (Elf64_Phdr){ .p_type = PT_LOAD,
				  .p_flags = (v->flags & VMA_READ ? PF_R : 0) | (v->flags & VMA_WRITE ? PF_W : 0) |
					     (v->flags & VMA_EXEC ? PF_X : 0),
				  .p_offset = at,
				  .p_vaddr = v->start,
				  .p_filesz = v->bytes,
				  .p_memsz = v->end - v->start,
				  .p_align = PAGE_SIZE };
		at += v->bytes;
		err = put(d, &h, sizeof(h));
	}
	return err;
}

static bool is_zero(const char *page)
{
	const u64 *words = (const u64 *)page;

	for (unsigned i = 0; i < PAGE_SIZE / sizeof(u64); i++)
		if (words[i])
			return false;
	return true;
}

/* A page that cannot be read stays a hole, as on Linux. */
static int put_memory(struct core_dump *d, const struct core_vma *v)
{
	bool sparse = !(v->flags & (VMA_SHARED | VMA_VDSO)) && v->bytes == v->end - v->start && !v->name;
	s64 base = d->pos;
	int err = 0;

	for (ulong a = v->start; a < v->start + v->bytes && !err; a += PAGE_SIZE) {
		if (sparse)
			a = mm_next_used(current->mm, a, v->end);
		if (a == v->end || mm_access(current->mm, a, d->page, PAGE_SIZE, false, true) != PAGE_SIZE ||
		    is_zero(d->page))
			continue;
		d->pos = base + (s64)(a - v->start);
		err = put(d, d->page, PAGE_SIZE);
	}
	d->pos = base + (s64)v->bytes;
	return err;
}

static int write_core(struct core_dump *d)
{
	size_t files_bytes, notes;
	u64 *files = NULL;
	int err = list_vmas(d);

	d->begun = true;
	for (unsigned i = 0; i < d->nr_vmas && !err; i++) {
		struct core_vma *v = &d->vmas[i];

		if (v->name && v->bytes == PAGE_SIZE && !v->index && !v->private && !is_elf(v->start))
			v->bytes = 0;
	}
	d->page = kmalloc(PAGE_SIZE, ALLOC_KERNEL);
	if (!err)
		files = file_note(d, &files_bytes);
	if (!files || !d->page)
		err = err ? err : -ENOMEM;
	if (!err) {
		notes = notes_bytes(d, files_bytes);
		err = put_headers(d, notes);
	}
	if (!err)
		err = put_notes(d, files, files_bytes);
	d->pos = ALIGN_UP(d->pos, (s64)PAGE_SIZE);
	for (unsigned i = 0; i < d->nr_vmas && !err; i++)
		err = put_memory(d, &d->vmas[i]);
	if (!err)
		err = put_end(d);
	kfree(files);
	kfree(d->page);
	kfree(d->names);
	kfree(d->vmas);
	return err;
}

/* ---- its name ---------------------------------------------------------------------------------------------------- */

static void add_escaped(struct strbuf *out, const char *text)
{
	for (; *text; text++)
		strbuf_add(out, "%c", *text == '/' ? '!' : *text);
}

/* %E, %f: the program's path, or what follows the last slash of it. */
static void add_program(struct strbuf *out, bool whole)
{
	char path[512];
	struct strbuf to;

	strbuf_init(&to, path, sizeof(path));
	if (current->mm->exe_file)
		file_describe(current->mm->exe_file, &to);
	if (!to.len)
		add_escaped(out, current->comm);
	else if (whole)
		add_escaped(out, path);
	else
		strbuf_add(out, "%s", strrchr(path, '/') ? strrchr(path, '/') + 1 : path);
}

static void add_field(struct strbuf *out, char field, int sig)
{
	struct process *p = current->process;
	struct new_utsname uts;

	switch (field) {
	case '%': strbuf_add(out, "%%"); break;
	case 'p': strbuf_add(out, "%d", pid_nr(p->pid)); break;
	case 'P': strbuf_add(out, "%d", pid_nr_global(p->pid)); break;
	case 'i': strbuf_add(out, "%d", pid_nr(current->pid)); break;
	case 'I': strbuf_add(out, "%d", pid_nr_global(current->pid)); break;
	case 'u': strbuf_add(out, "%u", current->cred->uid.v); break;
	case 'g': strbuf_add(out, "%u", current->cred->gid.v); break;
	case 'd': strbuf_add(out, "%d", current->mm->dumpable); break;
	case 's': strbuf_add(out, "%d", sig); break;
	case 't': strbuf_add(out, "%llu", (unsigned long long)(clock_real_ns() / NSEC_PER_SEC)); break;
	case 'c': strbuf_add(out, "%llu", (unsigned long long)process_rlimit(RLIMIT_CORE)); break;
	case 'e': add_escaped(out, current->comm); break;
	case 'E':
	case 'f': add_program(out, field == 'E'); break;
	case 'h':
		uts_get(&uts);
		add_escaped(out, uts.nodename);
		break;
	default: break; /* unknown ones are dropped (core(5)) */
	}
}

/* Adds what the pattern says up to `until` or its end; where that is. */
static const char *expand(struct strbuf *out, const char *c, char until, int sig)
{
	for (; *c && *c != until; c++) {
		if (*c != '%')
			strbuf_add(out, "%c", *c);
		else if (*++c)
			add_field(out, *c, sig);
		else
			break;
	}
	return c;
}

static bool names_pid(const char *pattern)
{
	for (const char *c = pattern; *c; c++)
		if (*c == '%' && *++c == 'p')
			return true;
		else if (!*c)
			break;
	return false;
}

/* ---- to a file ------------------------------------------------------------------------------------------------- */

/* What has the name goes, if it may: no link leads a core file elsewhere, and nobody else has the file open. */
static int open_core(const char *name, struct file **out)
{
	int err = path_unlink(AT_FDCWD, name);

	if (err && err != -ENOENT)
		return err;
	return file_open_kernel(name, O_WRONLY | O_CREAT | O_EXCL | O_LARGEFILE, 0600, out);
}

static int dump_to_file(struct core_dump *d, const char *pattern, char *text, int sig)
{
	struct strbuf name;
	int err;

	strbuf_init(&name, text, TEXT_BYTES);
	expand(&name, pattern, '\0', sig);
	if (name.len && READ_ONCE(core_uses_pid) && !names_pid(pattern))
		strbuf_add(&name, ".%d", pid_nr(current->process->pid));
	err = name.truncated ? -ENAMETOOLONG : open_core(text, &d->file);
	if (err)
		return err;
	err = write_core(d);
	file_put(d->file);
	return err;
}

/* ---- to a program ---------------------------------------------------------------------------------------------- */

/* The words of the pattern, each expanded after the split: a field with blanks in it is one argument. */
static int split_command(const char *pattern, char *text, const char **argv, int sig)
{
	struct strbuf out;
	unsigned n = 0;

	strbuf_init(&out, text, TEXT_BYTES);
	for (const char *c = pattern; *c;) {
		if (*c == ' ') {
			c++;
			continue;
		}
		argv[n++] = text + out.len;
		c = expand(&out, c, ' ', sig);
		strbuf_put(&out, "", 1);
	}
	argv[n] = NULL;
	return !n ? -ENOENT : out.truncated ? -E2BIG : 0;
}

static int dump_to_pipe(struct core_dump *d, const char *const *argv)
{
	struct file *input;
	int err = pipe_create(0, &input, &d->file);

	if (err)
		return err;
	err = process_run_helper(argv, input);
	file_put(input);
	if (!err)
		err = write_core(d);
	if (!err && READ_ONCE(core_pipe_limit)) /* so long it can look into our /proc folder */
		pipe_end_and_wait(d->file);
	file_put(d->file);
	return err;
}

static int dump_to_program(struct core_dump *d, const char *pattern, char *text, int sig)
{
	const char *argv[NAME_BYTES / 2 + 1];
	u32 most = READ_ONCE(core_pipe_limit);
	int err = split_command(pattern, text, argv, sig);

	d->zeros = kzalloc(PAGE_SIZE, ALLOC_KERNEL);
	d->limit = INT64_MAX;
	if (!err && !d->zeros)
		err = -ENOMEM;
	if (!err) {
		err = -EAGAIN;
		if ((u32)atomic_add_return(&nr_piped, 1) <= most || !most)
			err = dump_to_pipe(d, argv);
		atomic_dec(&nr_piped);
	}
	kfree(d->zeros);
	return err;
}

/* ---- all ---------------------------------------------------------------------------------------------------- */

/* core_pattern as it is now, if a core file is wanted. */
static bool is_wanted(char *pattern)
{
	u64 limit = process_rlimit(RLIMIT_CORE);

	memcpy(pattern, core_pattern, NAME_BYTES);
	pattern[NAME_BYTES - 1] = '\0';
	if (READ_ONCE(current->mm->dumpable) != 1 || !pattern[0])
		return false;
	return pattern[0] == '|' ? limit != NO_HELPER : limit >= CORE_LEAST;
}

void process_dump_core(int sig, const siginfo_t *info)
{
	struct core_dump d = { .threads = LIST_INIT(d.threads), .info = info };
	struct core_thread *t, *next;
	char pattern[NAME_BYTES], *text;
	int err = -EPERM;

	if (!is_wanted(pattern))
		return;
	d.limit = (s64)min(process_rlimit(RLIMIT_CORE), (u64)INT64_MAX);
	text = kmalloc(TEXT_BYTES, ALLOC_KERNEL);
	if (gather_threads(&d, sig)) {
		ignore_signals();
		if (!text)
			err = -ENOMEM;
		else if (pattern[0] == '|')
			err = dump_to_program(&d, pattern + 1, text, sig);
		else
			err = dump_to_file(&d, pattern, text, sig);
		forget_core();
	}
	list_for_each_entry_safe (t, next, &d.threads, link)
		kfree(t);
	kfree(text);
	if (err && err != -EFBIG) /* cut at the limit is as asked for */
		log_info("core: %s (%d) left no whole core (%s): error %d", current->comm, current->tid, pattern, -err);
	if (d.begun && !fatal_signal_pending(current))
		current->process->exit_status |= 0x80;
}

/* ---- /proc/sys/kernel -------------------------------------------------------------------------------------------- */

static int show_pattern(struct attr_dir *dir, const struct attr *a, struct strbuf *out)
{
	strbuf_add(out, "%s\n", core_pattern);
	return 0;
}

static int set_pattern(struct attr_dir *dir, const struct attr *a, char *text, size_t len)
{
	if (len && text[len - 1] == '\n')
		text[--len] = '\0';
	if (len >= sizeof(core_pattern))
		len = sizeof(core_pattern) - 1; /* as Linux: the rest is dropped */
	memcpy(core_pattern, text, len);
	core_pattern[len] = '\0';
	return 0;
}

static const struct attr *const attrs[] = {
	&(const struct attr){ .name = "core_pattern", .mode = 0644, .show = show_pattern, .set = set_pattern },
	&(const struct attr){ .name = "core_uses_pid",
			      .mode = 0644,
			      .show = attr_show_u32,
			      .set = attr_set_u32,
			      .data = (ulong)&core_uses_pid },
	&(const struct attr){ .name = "core_pipe_limit",
			      .mode = 0644,
			      .show = attr_show_u32,
			      .set = attr_set_u32,
			      .data = (ulong)&core_pipe_limit },
	NULL,
};

static void coredump_init(void)
{
	ensure(!attr_sysctl_add("kernel", attrs));
}
PART_INIT(late, coredump_init);
