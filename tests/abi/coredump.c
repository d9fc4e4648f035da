/* SPDX-License-Identifier: MIT
 *
 * Problem: a program must find the same behaviour here as on Linux, at its borders too.
 *
 * Idea: Core files (core(5)): who leaves one, its name, and what is in it: a child with threads fills memory in known
 * ways and aborts, and its file is read back as a debugger would. The program is also the one that a pattern beginning
 * with | names: then it keeps what it reads, and says how it was called. Needs root, for core_pattern.
 *
 * Contract: prints `ok NAME` or `not ok NAME: why` a case and exits 0 or 1; the same on Linux, which is the oracle.
 *
 * Locks: none.
 */
#include <elf.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/procfs.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include "abi.h"

#define PATTERN "/proc/sys/kernel/core_pattern"
#define BY_PID  "/proc/sys/kernel/core_uses_pid"
#define PAGE    4096
#define THREADS 3

static char in_data[3 * PAGE] = "written in the program's data";
static char *private, *shared, *left_out, *never;
static int *volatile nowhere = (int *)24;

static void put_text(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY);

	want(fd >= 0);
	want_eq(write(fd, text, strlen(text)), strlen(text));
	close(fd);
}

static void limit(rlim_t most)
{
	struct rlimit l = { most, RLIM_INFINITY };

	want_eq(setrlimit(RLIMIT_CORE, &l), 0);
}

static char *map(int flags)
{
	char *at = mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, flags | MAP_ANONYMOUS, -1, 0);

	want(at != MAP_FAILED);
	return at;
}

static void *wait_here(void *unused)
{
	pause();
	return unused;
}

static void die(void)
{
	pthread_t t;

	for (int i = 1; i < THREADS; i++)
		want_eq(pthread_create(&t, NULL, wait_here, NULL), 0);
	strcpy(private + PAGE, "written in private memory");
	strcpy(shared, "written in shared memory");
	strcpy(left_out, "not for the file");
	want_eq(madvise(left_out, 4 * PAGE, MADV_DONTDUMP), 0);
	abort();
}

/* How a child ended that ran fn in a folder of its own with this limit. */
static int crash(rlim_t most, void (*fn)(void))
{
	pid_t child;
	int status;

	want_eq(system("rm -rf /tmp/cores && mkdir /tmp/cores"), 0);
	child = fork();
	if (!child) {
		want_eq(chdir("/tmp/cores"), 0);
		limit(most);
		fn();
		_exit(98);
	}
	want_eq(waitpid(child, &status, 0), child);
	return status;
}

static char *file;
static off_t file_bytes;

static void load(const char *path)
{
	int fd = open(path, O_RDONLY);
	struct stat s;

	want(fd >= 0);
	want_eq(fstat(fd, &s), 0);
	want_eq(s.st_mode, S_IFREG | 0600);
	file_bytes = s.st_size;
	file = mmap(NULL, s.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	want(file != MAP_FAILED);
	close(fd);
}

/* The segment that has addr; *bytes is what of it, from addr on, the file has. */
static const char *memory_at(const void *addr, size_t *bytes)
{
	Elf64_Ehdr *e = (void *)file;
	Elf64_Phdr *h = (void *)(file + e->e_phoff);
	uint64_t a = (uint64_t)addr;

	for (int i = 0; i < e->e_phnum; i++, h++) {
		if (h->p_type != PT_LOAD || a < h->p_vaddr || a >= h->p_vaddr + h->p_memsz)
			continue;
		want(h->p_offset + h->p_filesz <= (uint64_t)file_bytes);
		*bytes = a < h->p_vaddr + h->p_filesz ? h->p_vaddr + h->p_filesz - a : 0;
		return file + h->p_offset + (a - h->p_vaddr);
	}
	*bytes = 0;
	return NULL;
}

/* The n-th note of this type; NULL: there are fewer. */
static const void *note(unsigned type, int n)
{
	Elf64_Ehdr *e = (void *)file;
	Elf64_Phdr *h = (void *)(file + e->e_phoff);
	char *at = file + h->p_offset, *end = at + h->p_filesz;

	want_eq(h->p_type, PT_NOTE);
	while (at < end) {
		Elf64_Nhdr *x = (void *)at;
		char *data = at + sizeof(*x) + ((x->n_namesz + 3) & ~3U);

		if (x->n_type == type && !n--)
			return data;
		at = data + ((x->n_descsz + 3) & ~3U);
	}
	return NULL;
}

CASE(a_file_of_a_crash)
{
	const struct elf_prstatus *s;
	const struct elf_prpsinfo *i;
	const uint64_t *files;
	Elf64_Ehdr *e;
	size_t n;
	int status = crash(RLIM_INFINITY, die);

	want(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT && WCOREDUMP(status));
	load("/tmp/cores/core");
	e = (void *)file;
	want(!memcmp(e->e_ident, ELFMAG, SELFMAG) && e->e_type == ET_CORE && e->e_machine == EM_X86_64);
	want(!strcmp(memory_at(in_data, &n), in_data) && n >= sizeof(in_data));
	want(!strcmp(memory_at(private + PAGE, &n), "written in private memory") && n >= 3 * PAGE);
	want(!strcmp(memory_at(shared, &n), "written in shared memory") && n >= 4 * PAGE);
	want(memory_at(left_out, &n) && n == 0);
	for (int t = 0; t < THREADS; t++)
		want(note(NT_PRSTATUS, t) && note(NT_PRFPREG, t));
	want(!note(NT_PRSTATUS, THREADS));
	s = note(NT_PRSTATUS, 0);
	want_eq(s->pr_cursig, SIGABRT);
	want_eq(s->pr_info.si_signo, SIGABRT);
	want_eq(s->pr_ppid, getpid());
	want(memory_at((void *)s->pr_reg[19], &n) && n > 0); /* the stack pointer */
	i = note(NT_PRPSINFO, 0);
	want(i && i->pr_pid == s->pr_pid && !strcmp(i->pr_fname, "coredump"));
	want(((const siginfo_t *)note(NT_SIGINFO, 0))->si_signo == SIGABRT);
	want(note(NT_AUXV, 0));
	files = note(NT_FILE, 0);
	want(files && files[0] >= 1 && files[1] == PAGE);
	want(strstr((const char *)(files + 2 + 3 * files[0]), "coredump"));
}

CASE(none_where_none_is_wanted)
{
	int status = crash(0, die);

	want(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT && !WCOREDUMP(status));
	want_errno(access("/tmp/cores/core", F_OK), ENOENT);
}

static void die_hidden(void)
{
	want_eq(prctl(PR_SET_DUMPABLE, 0), 0);
	abort();
}

static void die_by_term(void)
{
	raise(SIGTERM);
}

CASE(none_of_who_hides_or_is_asked_to_end)
{
	want(!WCOREDUMP(crash(RLIM_INFINITY, die_hidden)));
	want_errno(access("/tmp/cores/core", F_OK), ENOENT);
	want_eq(crash(RLIM_INFINITY, die_by_term), SIGTERM);
	want_errno(access("/tmp/cores/core", F_OK), ENOENT);
}

static void die_at_link(void)
{
	want_eq(symlink("/tmp/cores/elsewhere", "core"), 0);
	abort();
}

CASE(no_file_through_a_link)
{
	struct stat s;

	want(WCOREDUMP(crash(RLIM_INFINITY, die_at_link)));
	want_eq(lstat("/tmp/cores/core", &s), 0);
	want(S_ISREG(s.st_mode));
	want_errno(access("/tmp/cores/elsewhere", F_OK), ENOENT);
}

CASE(a_file_is_cut_at_the_limit)
{
	struct stat s;

	want(WCOREDUMP(crash(3 * PAGE, die)));
	want_eq(stat("/tmp/cores/core", &s), 0);
	want(s.st_size > 0 && s.st_size <= 3 * PAGE);
}

static void fault_far(void)
{
	never = mmap(NULL, 1UL << 36, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	want(never != MAP_FAILED);
	strcpy(never + (1UL << 35), "far away");
	*nowhere = 0;
}

CASE(memory_that_was_never_used_takes_no_room)
{
	struct stat s;

	want_eq(crash(RLIM_INFINITY, fault_far), SIGSEGV | 0x80);
	want_eq(stat("/tmp/cores/core", &s), 0);
	want(s.st_size > (1LL << 36) && s.st_blocks < 4096);
	load("/tmp/cores/core");
	want(((const siginfo_t *)note(NT_SIGINFO, 0))->si_addr == nowhere);
}

CASE(names)
{
	int status;

	put_text(PATTERN, "here.%e.%s.%%.%z.%d");
	want(WCOREDUMP(crash(RLIM_INFINITY, die)));
	want_eq(access("/tmp/cores/here.coredump.6.%..1", F_OK), 0);
	put_text(PATTERN, "/tmp/cores/c-%p-%t");
	want(WCOREDUMP(crash(RLIM_INFINITY, die)));
	want_eq(system("ls /tmp/cores | grep -q '^c-[0-9]*-[0-9]*$'"), 0);
	put_text(PATTERN, "core");
	put_text(BY_PID, "1");
	status = crash(RLIM_INFINITY, die);
	put_text(BY_PID, "0");
	want(WCOREDUMP(status));
	want_eq(system("ls /tmp/cores | grep -q '^core.[0-9]*$'"), 0);
	want_errno(access("/tmp/cores/core", F_OK), ENOENT);
}

#define FILTER "/proc/self/coredump_filter"

/* What a child's file has of private and of shared memory, where the filter says this. */
static void dump_filtered(const char *filter, size_t of_private, size_t of_shared)
{
	size_t n;

	put_text(FILTER, filter);
	want(WCOREDUMP(crash(RLIM_INFINITY, die)));
	put_text(FILTER, "0x33");
	load("/tmp/cores/core");
	want(memory_at(private, &n) && n >= of_private && (of_private || !n));
	want(memory_at(shared, &n) && n >= of_shared && (of_shared || !n));
	want(note(NT_PRSTATUS, 0));
}

CASE(a_filter_says_what_is_in_the_file)
{
	int fd;

	dump_filtered("0x32", 0, 4 * PAGE);
	dump_filtered("1", 4 * PAGE, 0);
	dump_filtered("0x0", 0, 0);
	put_text(FILTER, "0xffff");
	want_eq(system("grep -q '^000001ff$' " FILTER), 0); /* fork and exec keep it */
	put_text(FILTER, "0x33");
	want_eq(system("grep -q '^00000033$' " FILTER), 0);
	fd = open(FILTER, O_WRONLY);
	want(fd >= 0);
	want_errno(write(fd, "some", 4), EINVAL);
	close(fd);
}

/* ---- a program that takes the core ---------------------------------------------------------------------------- */

#define LIMIT "/proc/sys/kernel/core_pipe_limit"
#define TAKEN "/tmp/taken"

static char me[200];

static int open_descriptors(void)
{
	int n = 0;

	for (int fd = 0; fd < 64; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

/* Whether a process that ends is still there with its memory: it gets the time to go. */
static int has_memory(const char *pid)
{
	char path[64], exe[200];

	snprintf(path, sizeof(path), "/proc/%s/exe", pid);
	usleep(300000);
	return readlink(path, exe, sizeof(exe)) > 0;
}

/* The helper: PROGRAM take GLOBAL-PID ARGS.. Writes the core, then how it was called, and only then says "done". */
static int take(int argc, char **argv)
{
	int fds = open_descriptors(), out = open(TAKEN "/core", O_WRONLY | O_CREAT | O_TRUNC, 0600);
	char cwd[64] = "";
	struct rlimit l;
	char data[4096];
	ssize_t n;
	FILE *f;

	while ((n = read(0, data, sizeof(data))) > 0)
		if (write(out, data, n) != n)
			return 1;
	f = fopen(TAKEN "/new", "w");
	if (!f || getrlimit(RLIMIT_CORE, &l) || !getcwd(cwd, sizeof(cwd)))
		return 1;
	for (int i = 3; i < argc; i++)
		fprintf(f, "%s|", argv[i]);
	fprintf(f, "\n%d %d %s %d %d %d\n", fds, environ[0] ? 1 : 0, cwd, geteuid(), (int)l.rlim_cur,
		has_memory(argv[2]));
	fclose(f);
	return rename(TAKEN "/new", TAKEN "/done");
}

/* A helper that reads nothing until it is told to go. */
static int wait_for_go(void)
{
	if (mkdir(TAKEN "/started", 0700))
		return 1;
	while (access(TAKEN "/go", F_OK))
		usleep(10000);
	return 0;
}

static void set_helper(const char *mode, const char *args)
{
	char text[256];

	snprintf(text, sizeof(text), "|%s %s %%P %s", me, mode, args);
	want(strlen(text) < 128);
	put_text(PATTERN, text);
	want_eq(system("rm -rf " TAKEN " && mkdir " TAKEN ""), 0);
}

static void wait_for(const char *path)
{
	for (int i = 0; i < 3000 && access(path, F_OK); i++)
		usleep(10000);
	want_eq(access(path, F_OK), 0);
}

/* Its two lines, once it has written them. */
static void helper_said(char *args, char *facts)
{
	FILE *f;

	wait_for(TAKEN "/done");
	f = fopen(TAKEN "/done", "r");
	want(f && fgets(args, 500, f) && fgets(facts, 500, f));
	fclose(f);
	args[strcspn(args, "\n")] = facts[strcspn(facts, "\n")] = '\0';
}

CASE(a_program_takes_the_core)
{
	char args[500], facts[500];
	size_t n;
	int status;

	set_helper("take", "");
	status = crash(0, die); /* the limit is for files */
	want(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT && WCOREDUMP(status));
	helper_said(args, facts);
	want(!strcmp(facts, "1 0 / 0 1 0"));
	load(TAKEN "/core");
	want(!strcmp(memory_at(in_data, &n), in_data) && n >= sizeof(in_data));
	want(!strcmp(memory_at(private + PAGE, &n), "written in private memory") && n >= 3 * PAGE);
	want(!strcmp(memory_at(shared, &n), "written in shared memory") && n >= 4 * PAGE);
	for (int t = 0; t < THREADS; t++)
		want(note(NT_PRSTATUS, t));
	want(!note(NT_PRSTATUS, THREADS));
}

static void die_as_user(void)
{
	want_eq(prctl(PR_SET_NAME, "a b/c"), 0);
	want_eq(setgid(12), 0);
	want_eq(setuid(34), 0);
	want_eq(prctl(PR_SET_DUMPABLE, 1), 0);
	*nowhere = 0;
}

CASE(what_a_program_is_told)
{
	char args[500], facts[500], wanted[700], host[100], escaped[200];

	set_helper("take", "%u %g %s %e %E %f %d %c %h -- %%x%");
	want_eq(gethostname(host, sizeof(host)), 0);
	want(WCOREDUMP(crash(77777, die_as_user)));
	helper_said(args, facts);
	snprintf(escaped, sizeof(escaped), "%s", me);
	for (char *c = escaped; *c; c++)
		*c = *c == '/' ? '!' : *c;
	snprintf(wanted, sizeof(wanted), "34|12|11|a b!c|%s|%s|1|77777|%s|--|%%x|", escaped, strrchr(me, '/') + 1,
		 host);
	want(!strcmp(args, wanted));
	want(!strncmp(facts, "1 0 / 0 1 ", 10));
}

CASE(a_program_sees_the_process_if_their_number_is_limited)
{
	char args[500], facts[500];
	int status;

	set_helper("take", "%p %i");
	put_text(LIMIT, "4");
	status = crash(0, die);
	put_text(LIMIT, "0");
	want(WCOREDUMP(status));
	helper_said(args, facts);
	want(!strcmp(facts, "1 0 / 0 1 1"));
}

static void die_in_a_namespace(void)
{
	pid_t child;
	int status;

	want_eq(unshare(CLONE_NEWPID), 0);
	child = fork();
	if (!child)
		abort();
	want_eq(waitpid(child, &status, 0), child);
	_exit(WIFSIGNALED(status) && WCOREDUMP(status) ? 0 : 1);
}

CASE(numbers_of_a_namespace)
{
	char args[500], facts[500];

	set_helper("take", "%p %i");
	want_eq(crash(0, die_in_a_namespace), 0);
	helper_said(args, facts);
	want(!strcmp(args, "1|1|"));
}

CASE(no_core_without_the_program)
{
	put_text(PATTERN, "|/nowhere/at/all");
	want_eq(crash(RLIM_INFINITY, die), SIGABRT);
	set_helper("take", "");
	want_eq(crash(1, die), SIGABRT); /* what helpers have */
	want_errno(access(TAKEN "/core", F_OK), ENOENT);
}

CASE(sigkill_ends_the_writing)
{
	pid_t child;
	int status;

	set_helper("wait", "");
	child = fork();
	if (!child) {
		want_eq(prctl(PR_SET_PDEATHSIG, SIGKILL), 0);
		memset(map(MAP_PRIVATE), 1, 4 * PAGE);
		memset(mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), 1, 1 << 20);
		abort();
	}
	wait_for(TAKEN "/started");
	usleep(100000); /* the pipe fills up */
	want_eq(waitpid(child, &status, WNOHANG), 0);
	want_eq(kill(child, SIGTERM), 0); /* nothing to who dies already */
	usleep(100000);
	want_eq(waitpid(child, &status, WNOHANG), 0);
	want_eq(kill(child, SIGKILL), 0);
	want_eq(waitpid(child, &status, 0), child);
	want_eq(mkdir(TAKEN "/go", 0700), 0);
	want_eq(status, SIGKILL);
}

int main(int argc, char **argv)
{
	ssize_t n = readlink("/proc/self/exe", me, sizeof(me) - 1);

	if (argc > 2)
		return !strcmp(argv[1], "take") ? take(argc, argv) : wait_for_go();
	me[n < 0 ? 0 : n] = '\0';
	put_text(PATTERN, "core");
	private = map(MAP_PRIVATE);
	shared = map(MAP_SHARED);
	left_out = map(MAP_PRIVATE);
	RUN(a_file_of_a_crash);
	RUN(none_where_none_is_wanted);
	RUN(none_of_who_hides_or_is_asked_to_end);
	RUN(no_file_through_a_link);
	RUN(a_file_is_cut_at_the_limit);
	RUN(memory_that_was_never_used_takes_no_room);
	RUN(names);
	RUN(a_filter_says_what_is_in_the_file);
	RUN(a_program_takes_the_core);
	RUN(what_a_program_is_told);
	RUN(a_program_sees_the_process_if_their_number_is_limited);
	RUN(numbers_of_a_namespace);
	RUN(no_core_without_the_program);
	RUN(sigkill_ends_the_writing);
	put_text(PATTERN, "core");
	return abi_status();
}
