/* SPDX-License-Identifier: MIT
 *
 * Problem: exec replaces a program by another: other memory, one thread, perhaps other rights. It may
 * fail for many reasons, and then the old program must not notice.
 *
 * Idea: everything that can fail happens beside the old program: the file is found and parsed, a whole
 * new address space is built, the credentials are computed. Only then comes the point of no return:
 * the other threads end, memory is exchanged, and what exec resets is reset.
 *   open -> (script: open its interpreter, up to 5 times) -> parse -> build mm -> commit
 *
 * Contract: process/clone.h, process/process.h; execve(2). A signal that kills arrives after the
 * return.
 *
 * Locks: none while building; siglock and process_list_lock where threads and numbers are exchanged.
 */
#include <task/user_ns.h>
#include "elf.h"
#include "exec_stack.h"
#include "process_trace.h"
#include <task/account.h>
#include <task/hooks.h>
#include <alloc/page.h>
#include <arch/cpu.h>
#include <arch/user.h>
#include <arch/vdso.h>
#include <process/vdso.h>
#include <core/random.h>
#include <lib/printf.h>
#include <lib/string.h>
#include <linux/auxvec.h>
#include <linux/capability.h>
#include <linux/fcntl.h>
#include <linux/mman.h>
#include <linux/mount.h>
#include <linux/securebits.h>
#include <linux/stat.h>
#include <mm/upcalls.h>
#include <process/ptrace.h>
#include <vfs/vfs.h>

#define HEAD_BYTES   256
#define SCRIPT_DEPTH 5
#define PIE_BASE     0x555555554000UL
#define STACK_EXTRA  (128UL << 10) /* mapped below the image at once */
#define RANDOM_PAGES 0x3fff        /* of stack and mmap base: up to 64 MiB */
#define PIE_RANDOM   0xfffffffUL   /* pages: up to 1 TiB */

struct exec {
	struct file *file; /* what is loaded */
	char *name;        /* what was asked for: AT_EXECFN, comm */
	char head[HEAD_BYTES + 1];
	unsigned head_bytes;
	struct exec_stack stack;
	struct exec_strings argv, envp;
	unsigned argc, envc;
	struct mm *mm;
	struct cred *cred;
	struct sighand *sighand; /* of our own, if the present one is shared */
	struct elf_image *image, *interp;
	ulong bias, interp_base, start;
	bool secure;
};

/* ---- the file ----------------------------------------------------------------------------------------- */

/* *out is set on success alone. */
static int open_program(int dirfd, const char *path, unsigned lookup, struct file **out)
{
	struct file *f;
	int err = file_open_at(dirfd, path, lookup & LOOKUP_FOLLOW ? O_RDONLY : O_RDONLY | O_NOFOLLOW, 0, lookup, &f);

	if (err)
		return err;
	if (!S_ISREG(f->inode->mode))
		err = -EACCES;
	else if (f->path.mnt->flags & MS_NOEXEC)
		err = -EACCES;
	else
		err = inode_permission(f->inode, MAY_EXEC);
	if (!err)
		err = file_deny_write(f);
	if (err)
		file_put(f);
	else
		*out = f;
	return err;
}

void exe_file_share(struct file *f)
{
	file_get(f);
	atomic_dec(&f->inode->write_count); /* below 0 already */
}

static void close_program(struct file *f)
{
	file_allow_write(f);
	file_put(f);
}

static int read_head(struct exec *e)
{
	ssize_t n = file_read_at(e->file, e->head, HEAD_BYTES, 0);

	if (n < 0)
		return n;
	e->head_bytes = n;
	e->head[n] = 0;
	return 0;
}

static char *skip_blanks(char *s)
{
	while (*s == ' ' || *s == '\t')
		s++;
	return s;
}

/* "#! interpreter [one argument]": the arguments become interpreter, argument, script, old arguments but the first. */
static int take_script_line(struct exec *e, const char *script, char **interp)
{
	char *line = e->head + 2, *end = strchr(line, '\n'), *arg;
	int err;

	if (!end && e->head_bytes == HEAD_BYTES)
		return fail(ENOEXEC, "script: the first line is longer than %u bytes", HEAD_BYTES);
	if (end)
		*end = 0;
	for (end = line + strlen(line); end > line && (end[-1] == ' ' || end[-1] == '\t');)
		*--end = 0;
	line = skip_blanks(line);
	if (!*line)
		return -ENOEXEC;
	for (arg = line; *arg && *arg != ' ' && *arg != '\t';)
		arg++;
	if (*arg) {
		*arg++ = 0;
		arg = skip_blanks(arg);
	}
	if (e->argc) {
		exec_stack_drop_first(&e->stack);
		e->argc--;
	}
	err = exec_stack_push_string(&e->stack, script);
	if (!err && *arg)
		err = exec_stack_push_string(&e->stack, arg);
	if (!err)
		err = exec_stack_push_string(&e->stack, line);
	e->argc += *arg ? 3 : 2;
	*interp = line;
	return err;
}

/* Follows scripts until file is a binary. */
static int resolve_scripts(struct exec *e)
{
	char name[HEAD_BYTES + 1];
	const char *script = e->name;

	for (int depth = 0;; depth++) {
		struct file *next;
		char *interp = NULL;
		int err = read_head(e);

		if (err)
			return err;
		if (e->head_bytes < 2 || e->head[0] != '#' || e->head[1] != '!')
			return 0;
		if (depth == SCRIPT_DEPTH)
			return -ELOOP;
		err = take_script_line(e, script, &interp);
		if (err)
			return err;
		str_copy(name, interp, sizeof(name));
		script = name;
		err = open_program(AT_FDCWD, name, LOOKUP_FOLLOW, &next);
		if (err)
			return err;
		close_program(e->file);
		e->file = next;
	}
}

static int parse_file(struct file *f, const void *head, size_t head_bytes, struct elf_image **out)
{
	struct elf_image *image = kmalloc(sizeof(*image), 0);
	size_t bytes;
	void *ph = NULL;
	int err;

	if (!image)
		return -ENOMEM;
	err = elf_parse_header(head, head_bytes, &image->header);
	bytes = err ? 0 : image->header.ph_count * ELF_PHDR_BYTES;
	if (!err) {
		ph = kmalloc(bytes, 0);
		err = ph ? 0 : -ENOMEM;
	}
	if (!err) {
		ssize_t n = file_read_at(f, ph, bytes, image->header.ph_offset);

		err = n < 0 ? (int)n : n < (ssize_t)bytes ? -ENOEXEC : elf_parse_segments(ph, image);
	}
	kfree(ph);
	if (err)
		kfree(image);
	else
		*out = image;
	return err;
}

/* ---- loading ---------------------------------------------------------------------------------------------- */

static int map_file_part(struct mm *m, struct file *f, const struct elf_segment *s, ulong at)
{
	ulong start = at & PAGE_MASK, bytes = s->file_bytes + at % PAGE_SIZE;
	u64 index = s->offset >> PAGE_SHIFT;
	struct mapping *mapping;
	int err;

	if (!f->ops->mmap)
		return -ENOEXEC;
	err = f->ops->mmap(f, s->prot, MAP_PRIVATE, &index, bytes, &mapping);
	if (err)
		return err;
	return mm_map(m, &start, bytes, s->prot, MAP_PRIVATE | MAP_FIXED, mapping, index, 0);
}

/* The rest of a segment beyond the file's bytes is zero: the tail of the last page, then anonymous pages. */
static int map_zero_part(struct mm *m, const struct elf_segment *s, ulong at)
{
	static const char zeros[PAGE_SIZE];
	ulong from = at + s->file_bytes, to = at + s->mem_bytes;
	ulong page_end = s->file_bytes ? ALIGN_UP(from, PAGE_SIZE) : from & PAGE_MASK;
	ulong end = ALIGN_UP(to, PAGE_SIZE);

	if (s->file_bytes && from < page_end && to > from && (s->prot & PROT_WRITE)) {
		ssize_t n = mm_access(m, from, (void *)zeros, page_end - from, true, false);

		if (n < 0)
			return n;
	}
	if (end <= page_end)
		return 0;
	return mm_map(m, &page_end, end - page_end, s->prot, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, NULL, 0, 0);
}

static int map_segments(struct mm *m, struct file *f, const struct elf_image *image, ulong bias)
{
	int err = 0;

	for (unsigned i = 0; i < image->nr && !err; i++) {
		const struct elf_segment *s = &image->segments[i];
		ulong at = s->vaddr + bias;

		if (s->file_bytes)
			err = map_file_part(m, f, s, at);
		if (!err && s->mem_bytes > s->file_bytes)
			err = map_zero_part(m, s, at);
	}
	return err;
}

/* Room for all segments of a position-independent file: found by mapping it, then given back for the segments. */
static int find_room(struct mm *m, const struct elf_image *image, ulong hint, ulong *base)
{
	size_t span = image->high - image->low;
	ulong at = hint;
	int err = mm_map(m, &at, span + image->align - PAGE_SIZE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, NULL, 0, 0);

	if (err)
		return err;
	*base = ALIGN_UP(at, image->align);
	return mm_unmap(m, at, span + image->align - PAGE_SIZE);
}

static int load_program(struct exec *e)
{
	struct elf_image *image = e->image;
	ulong hint = PIE_BASE + ((random_u64() & PIE_RANDOM) << PAGE_SHIFT);
	int err = 0;

	if (image->header.is_pie) {
		ulong base;

		err = find_room(e->mm, image, ALIGN_DOWN(hint, image->align), &base);
		if (err)
			return err;
		e->bias = base - image->low;
	} else if (image->low < PAGE_SIZE * 16) {
		return fail(EPERM, "elf: program at address %#llx", (unsigned long long)image->low);
	}
	err = map_segments(e->mm, e->file, image, e->bias);
	e->start = image->header.entry + e->bias;
	return err;
}

static int load_interpreter(struct exec *e)
{
	struct elf_image *image = e->image;
	char head[ELF_HEADER_BYTES], *path;
	struct file *f = NULL;
	ulong base;
	ssize_t n;
	int err;

	if (!image->interp_bytes)
		return 0;
	path = kzalloc(image->interp_bytes + 1, 0);
	if (!path)
		return -ENOMEM;
	n = file_read_at(e->file, path, image->interp_bytes, image->interp_offset);
	err = n < 0 ? (int)n : n < (ssize_t)image->interp_bytes || path[n - 1] ? -ENOEXEC : 0;
	if (!err)
		err = open_program(AT_FDCWD, path, LOOKUP_FOLLOW, &f);
	kfree(path);
	if (err)
		return err;
	n = file_read_at(f, head, sizeof(head), 0);
	err = n < 0 ? (int)n : parse_file(f, head, n, &e->interp);
	if (err == -ENOEXEC)
		err = -ELIBBAD;
	if (!err && e->interp->header.is_pie)
		err = find_room(e->mm, e->interp, 0, &base);
	else
		base = err ? 0 : e->interp->low;
	if (!err) {
		e->interp_base = base - e->interp->low;
		e->start = e->interp->header.entry + e->interp_base;
		err = map_segments(e->mm, f, e->interp, e->interp_base);
	}
	close_program(f);
	return err;
}

static void note_layout(struct exec *e)
{
	struct mm *m = e->mm;
	ulong end = e->image->high + e->bias;

	m->code_start = ~0UL;
	for (unsigned i = 0; i < e->image->nr; i++) {
		const struct elf_segment *s = &e->image->segments[i];
		ulong at = s->vaddr + e->bias;

		if (s->prot & PROT_EXEC) {
			m->code_start = min(m->code_start, at);
			m->code_end = max(m->code_end, at + s->file_bytes);
		}
		if (s->prot & PROT_WRITE) {
			m->data_start = m->data_start ? m->data_start : at;
			m->data_end = max(m->data_end, at + s->file_bytes);
		}
	}
	m->brk_start = m->brk = end + ((random_u64() & 0x1fff) << PAGE_SHIFT);
}

/* ---- stack ---------------------------------------------------------------------------------------------------- */

static int map_stack(struct exec *e)
{
	ulong start = ((e->stack.pos - STACK_EXTRA) & PAGE_MASK), bytes = e->stack.top - start;
	unsigned prot = PROT_READ | PROT_WRITE | (e->image->exec_stack ? PROT_EXEC : 0);

	return mm_map(e->mm, &start, bytes, prot, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_GROWSDOWN, NULL, 0, 0);
}

struct auxv {
	ulong *words;
	unsigned n;
};

static void aux(struct auxv *a, ulong type, ulong value)
{
	a->words[a->n++] = type;
	a->words[a->n++] = value;
}

static void fill_auxv(struct exec *e, ulong platform, ulong random, ulong execfn)
{
	const struct cred *c = e->cred;
	struct auxv a = { e->mm->auxv, 0 };

	if (e->mm->vdso)
		aux(&a, AT_SYSINFO_EHDR, e->mm->vdso);
	aux(&a, AT_MINSIGSTKSZ, arch_min_sigstack());
	aux(&a, AT_HWCAP, arch_hwcap());
	aux(&a, AT_PAGESZ, PAGE_SIZE);
	aux(&a, AT_CLKTCK, 100);
	aux(&a, AT_PHDR, e->image->phdr_vaddr ? e->image->phdr_vaddr + e->bias : 0);
	aux(&a, AT_PHENT, ELF_PHDR_BYTES);
	aux(&a, AT_PHNUM, e->image->header.ph_count);
	aux(&a, AT_BASE, e->interp_base);
	aux(&a, AT_FLAGS, 0);
	aux(&a, AT_ENTRY, e->image->header.entry + e->bias);
	aux(&a, AT_UID, user_out(c->uid));
	aux(&a, AT_EUID, user_out(c->euid));
	aux(&a, AT_GID, group_out(c->gid));
	aux(&a, AT_EGID, group_out(c->egid));
	aux(&a, AT_SECURE, e->secure);
	aux(&a, AT_RANDOM, random);
	aux(&a, AT_HWCAP2, arch_hwcap2());
	aux(&a, AT_EXECFN, execfn);
	aux(&a, AT_PLATFORM, platform);
	aux(&a, AT_NULL, 0);
	e->mm->auxv_words = a.n;
}

static int finish_stack(struct exec *e, ulong execfn)
{
	struct exec_layout l = { .strings = e->stack.pos };
	struct exec_stack *s = &e->stack;
	ulong platform, random;
	u8 bytes[16];
	int err;

	err = exec_stack_push_string(s, "x86_64");
	platform = s->pos;
	random_get(bytes, sizeof(bytes));
	if (!err)
		err = exec_stack_push(s, bytes, sizeof(bytes));
	random = s->pos;
	if (err)
		return err;
	fill_auxv(e, platform, random, execfn);
	err = exec_stack_finish(s, e->argc, e->envc, e->mm->auxv, e->mm->auxv_words, &l);
	if (!err)
		err = map_stack(e);
	if (!err)
		err = exec_stack_install(s, e->mm);
	e->mm->stack_start = l.sp;
	e->mm->arg_start = l.arg_start;
	e->mm->arg_end = l.arg_end;
	e->mm->env_start = l.env_start;
	e->mm->env_end = l.env_end;
	return err;
}

static ulong stack_top(void)
{
	return USER_END - PAGE_SIZE - ((random_u64() & RANDOM_PAGES) << PAGE_SHIFT);
}

static void set_mmap_base(struct mm *m, ulong top)
{
	ulong gap = clamp(process_rlimit(RLIMIT_STACK), 128UL << 20, USER_END / 6 * 5);

	m->mmap_base = ALIGN_DOWN(top - gap - ((random_u64() & RANDOM_PAGES) << PAGE_SHIFT), PAGE_SIZE);
	m->gap_hint = m->mmap_base;
	m->gap_bytes = 0;
}

/* ---- rights ---------------------------------------------------------------------------------------------- */

static int prepare_rights(struct exec *e)
{
	int err;

	e->cred = cred_prepare();
	if (!e->cred)
		return -ENOMEM;
	err = exec_rights(e->file, e->cred, &e->secure);
	if (err)
		return err;
	if (atomic_read(&current->process->sighand->refs.n) > 1) {
		e->sighand = sighand_create(current->process->sighand);
		if (!e->sighand)
			return -ENOMEM;
	}
	return 0;
}

/* ---- the point of no return ------------------------------------------------------------------------------ */

/* Takes the process's own number over from a first thread that has ended. */
static void become_leader(struct process *p)
{
	ulong irq = process_list_begin();
	struct task *old = p->leader;
	struct pid *mine = current->pid;

	if (old == current) {
		process_list_end(irq);
		return;
	}
	current->pid = p->pid;
	current->tid = pid_nr_global(p->pid);
	old->pid = mine;
	old->tid = pid_nr_global(mine);
	rcu_assign(p->pid->task, current);
	rcu_assign(mine->task, NULL);
	pid_check_unused(mine);
	p->leader = current;
	task_get(current);
	process_list_end(irq);
	task_put(old); /* the process's reference of its leader */
}

/* Only current remains. -EAGAIN or a signal: another thread is faster, or kills us. */
static int end_other_threads(struct process *p)
{
	ulong irq = spin_lock_irqsave(&p->siglock);
	int err = 0;

	if (p->group_exiting || p->exec_thread)
		err = -EAGAIN;
	else
		p->exec_thread = current;
	if (!err)
		signal_kill_others(p);
	spin_unlock_irqrestore(&p->siglock, irq);
	if (err)
		return err;
	err = wait_event_killable(&p->child_wait, READ_ONCE(p->nr_threads) == 1);
	if (!err)
		become_leader(p);
	irq = spin_lock_irqsave(&p->siglock);
	p->exec_thread = NULL;
	spin_unlock_irqrestore(&p->siglock, irq);
	return err;
}

static void exchange_memory(struct exec *e)
{
	struct mm *old = current->mm;

	exe_file_share(e->file);
	e->mm->exe_file = e->file;
	if (old)
		exit_release_mm();
	mm_switch(e->mm);
	e->mm = NULL;
	if (old) {
		u64 rss = atomic_read(&old->rss_anon) + atomic_read(&old->rss_file);

		current->process->max_rss_pages = max(current->process->max_rss_pages, rss);
		mm_put(old);
	}
}

static void reset_signals(struct exec *e, struct process *p)
{
	struct sighand *old = NULL;
	ulong irq = spin_lock_irqsave(&p->siglock);

	if (e->sighand) {
		old = p->sighand;
		p->sighand = e->sighand;
		e->sighand = NULL;
	}
	for (unsigned i = 0; i < 64; i++) {
		struct sigaction_kernel *a = &p->sighand->actions[i];

		*a = (struct sigaction_kernel){ .handler = a->handler == 1 ? 1 : 0 };
	}
	spin_unlock_irqrestore(&p->siglock, irq);
	sighand_put(old);
	current->altstack_sp = current->altstack_size = 0;
	current->altstack_flags = SS_DISABLE;
	current->sig_restore = false;
}

static void set_name(const struct exec *e)
{
	const char *slash = strrchr(e->name, '/');

	task_set_name(current, slash ? slash + 1 : e->name, true);
}

static void reset_rest(struct exec *e, struct process *p)
{
	timers_exec(p);
	files_close_on_exec();
	current->robust_list = NULL;
	current->rseq = NULL;
	current->restart.fn = NULL;
	current->flags &= ~(TASK_F_FORKED | TASK_F_KTHREAD);
	p->did_exec = true;
	p->exit_signal = SIGCHLD;
	if (e->secure)
		p->death_signal = 0;
	set_name(e);
}

static int commit(struct exec *e)
{
	struct process *p = current->process;
	int old_tid = current->tid, err = end_other_threads(p);

	if (!err)
		err = files_unshare();
	if (err)
		return err;
	e->mm->dumpable = e->secure || inode_permission(e->file->inode, MAY_READ) ? 0 : 1;
	if (current->mm)
		e->mm->core_filter = READ_ONCE(current->mm->core_filter);
	exchange_memory(e);
	reset_signals(e, p);
	reset_rest(e, p);
	cred_commit(e->cred);
	e->cred = NULL;
	arch_exec_regs(current, e->start, current->mm->stack_start);
	if (static_branch(&task_life_key))
		task_hooks->exec();
	if (trace_on(sched_process_exec))
		process_trace_exec(e->name, old_tid);
	return 0;
}

/* ---- the whole ------------------------------------------------------------------------------------------- */

static int build_memory(struct exec *e, ulong execfn)
{
	int err = load_program(e);

	if (!err)
		err = load_interpreter(e);
	if (err)
		return err;
	note_layout(e);
	e->mm->vdso = vdso_map(e->mm);
	return finish_stack(e, execfn);
}

static int push_strings(struct exec *e)
{
	int err = exec_strings_count(&e->argv, &e->argc);

	if (!err)
		err = exec_strings_count(&e->envp, &e->envc);
	if (!err)
		err = exec_stack_push_string(&e->stack, e->name);
	return err;
}

static int run(struct exec *e, int dirfd, unsigned lookup, const char *path)
{
	ulong execfn;
	int err = open_program(dirfd, path, lookup, &e->file);

	if (err)
		return err;
	err = exec_stack_init(&e->stack, stack_top());
	if (!err)
		err = push_strings(e);
	execfn = e->stack.pos;
	if (!err)
		err = exec_stack_push_all(&e->stack, &e->envp, e->envc);
	if (!err)
		err = exec_stack_push_all(&e->stack, &e->argv, e->argc);
	if (!err && !e->argc) { /* programs rely on argv[0] */
		err = exec_stack_push_string(&e->stack, "");
		e->argc = 1;
	}
	if (!err)
		err = resolve_scripts(e);
	if (!err)
		err = parse_file(e->file, e->head, e->head_bytes, &e->image);
	if (!err)
		err = prepare_rights(e);
	if (!err)
		err = mm_create(&e->mm);
	if (err)
		return err;
	set_mmap_base(e->mm, e->stack.top);
	err = build_memory(e, execfn);
	return err ? err : commit(e);
}

static void release(struct exec *e)
{
	if (e->mm)
		mm_put(e->mm);
	if (e->cred)
		cred_put(e->cred);
	sighand_put(e->sighand);
	kfree(e->image);
	kfree(e->interp);
	exec_stack_free(&e->stack);
	if (e->file)
		close_program(e->file);
	kfree(e);
}

static int exec_common(int dirfd, unsigned lookup, const char *path, char *name, const struct exec_strings *argv,
		       const struct exec_strings *envp)
{
	struct exec *e;
	int err;

	if ((current->flags & TASK_F_OVER_NPROC) &&
	    account_read(current->cred->uid, ACCOUNT_TASKS) > process_rlimit(RLIMIT_NPROC))
		return fail(EAGAIN, "exec: RLIMIT_NPROC of user %u", current->cred->uid.v);
	current->flags &= ~TASK_F_OVER_NPROC;
	e = kzalloc(sizeof(*e), 0);
	if (!e)
		return -ENOMEM;
	e->name = name;
	e->argv = *argv;
	e->envp = *envp;
	err = run(e, dirfd, lookup, path);
	release(e);
	if (!err)
		ptrace_exec(pid_nr(current->pid));
	return err;
}

/* What a program that was opened by descriptor is called: /dev/fd/N or /dev/fd/N/path (execveat(2)). */
static char *name_of_fd(int dirfd, const char *path)
{
	char *name = kmalloc(strlen(path) + 32, 0);

	if (name)
		str_format(name, strlen(path) + 32, *path ? "/dev/fd/%d/%s" : "/dev/fd/%d%s", dirfd, path);
	return name;
}

int process_execve(int dirfd, const char __user *upath, const char __user *const __user *argv,
		   const char __user *const __user *envp, int flags)
{
	unsigned lookup =
		(flags & AT_SYMLINK_NOFOLLOW ? 0 : LOOKUP_FOLLOW) | (flags & AT_EMPTY_PATH ? LOOKUP_EMPTY : 0);
	struct exec_strings a = { .user = argv }, en = { .user = envp };
	char *path, *name;
	int err;

	if (flags & ~(AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH))
		return -EINVAL;
	path = path_copy(upath, lookup, &err);
	if (!path)
		return err;
	name = dirfd == AT_FDCWD || *path == '/' ? path : name_of_fd(dirfd, path);
	err = name ? exec_common(dirfd, lookup, path, name, &a, &en) : -ENOMEM;
	if (name != path)
		kfree(name);
	path_free(path);
	return err;
}

int process_exec(const char *path, const char *const argv[], const char *const envp[])
{
	struct exec_strings a = { .kernel = argv }, en = { .kernel = envp };

	return exec_common(AT_FDCWD, LOOKUP_FOLLOW, path, (char *)path, &a, &en);
}

void upcall_mm_release(struct mm *m)
{
	if (m->exe_file)
		close_program(m->exe_file);
	m->exe_file = NULL;
}
