/* SPDX-License-Identifier: MIT
 *
 * Problem: reads, writes, mappings, direct and asynchronous transfers, truncations and holes of one file, and names
 * that many processes make and remove, meet in more orders than anybody thinks of.
 *
 * Idea: one_file: random operations on a file beside a model in memory; what is read must be the model's bytes.
 * many_names: processes create, link, rename, remove and write in a few shared directories, any of which may fail; a
 * byte of a file is zero or follows from its inode's number and its place, so at the end contents can be judged whoever
 * wrote them; each inode has as many names as it says. access_lists: who is named may, masks cut, folders hand down.
 *
 *      stress_files [DIR [SEED [OPERATIONS]]]      the same seed gives the same operations of one_file
 *
 * Contract: prints ok or not ok for each case, with the same result on Linux, which is the oracle. What a file system
 * refuses (EOPNOTSUPP, O_DIRECT) is left out.
 *
 * Locks: none.
 */
#include <dirent.h>
#include <fcntl.h>
#include <linux/aio_abi.h>
#include <linux/falloc.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include "abi.h"

#define MOST   (256 << 10)
#define SECTOR 4096
#define DEPTH  8

static const char *dir = ".";
static unsigned seed = 1, operations = 600;
static unsigned char model[MOST], buffer[MOST] __attribute__((aligned(SECTOR)));
static size_t size;
static int fd, direct_fd; /* direct_fd -1: none */
static char path[256];
static unsigned long long state;

static unsigned rnd(unsigned below)
{
	state = state * 6364136223846793005ULL + 1442695040888963407ULL;
	return (unsigned)(state >> 33) % below;
}

static void fresh(unsigned char *to, size_t n)
{
	unsigned char first = (unsigned char)(1 + rnd(255));

	for (size_t i = 0; i < n; i++)
		to[i] = (unsigned char)(first + i * 7);
}

static void open_both(void)
{
	fd = open(path, O_RDWR | O_CREAT, 0644);
	want(fd >= 0);
	direct_fd = open(path, O_RDWR | O_DIRECT);
}

static void close_both(void)
{
	close(fd);
	if (direct_fd >= 0)
		close(direct_fd);
}

static void same(const unsigned char *got, size_t at, size_t n, const char *by)
{
	for (size_t i = 0; i < n; i++)
		if (got[i] != model[at + i])
			abi_fail("%s: byte %zu of %zu is %#x, not %#x (seed %u)", by, at + i, size, got[i],
				 model[at + i], seed);
}

/* The file system may not know how. */
static void refused(int error)
{
	want_eq(error, EOPNOTSUPP);
}

static void grow(size_t to)
{
	if (to > size)
		size = to;
}

/* ---- operations on one file ------------------------------------------------------------------------------------- */

static void do_write(size_t at, size_t n)
{
	fresh(model + at, n);
	want_eq(pwrite(fd, model + at, n, (off_t)at), n);
	grow(at + n);
}

static void do_read(size_t at, size_t n)
{
	size_t there = at >= size ? 0 : n < size - at ? n : size - at;

	want_eq(pread(fd, buffer, n, (off_t)at), there);
	same(buffer, at, there, "read");
}

static void do_direct_write(size_t at, size_t n)
{
	at -= at % SECTOR;
	n = n - n % SECTOR + SECTOR;
	if (direct_fd < 0 || at + n > MOST)
		return;
	fresh(buffer, n);
	want_eq(pwrite(direct_fd, buffer, n, (off_t)at), n);
	memcpy(model + at, buffer, n);
	grow(at + n);
}

static void do_direct_read(size_t at, size_t n)
{
	size_t there;

	at -= at % SECTOR;
	n = n - n % SECTOR + SECTOR;
	if (direct_fd < 0 || at + n > MOST)
		return;
	there = at >= size ? 0 : n < size - at ? n : size - at;
	want_eq(pread(direct_fd, buffer, n, (off_t)at), there);
	same(buffer, at, there, "direct read");
}

/* Neighbouring blocks, all under way at once: some are written, some read. */
static void do_aio(size_t at, size_t n)
{
	struct iocb cb[DEPTH], *list[DEPTH];
	struct io_event event[DEPTH];
	aio_context_t ring = 0;

	at -= at % SECTOR;
	if (direct_fd < 0 || at + DEPTH * SECTOR > size || n % 2)
		return;
	want(!syscall(SYS_io_setup, DEPTH, &ring));
	for (unsigned i = 0; i < DEPTH; i++) {
		size_t off = at + i * SECTOR;

		cb[i] = (struct iocb){ .aio_fildes = direct_fd,
				       .aio_buf = (uintptr_t)(buffer + i * SECTOR),
				       .aio_nbytes = SECTOR,
				       .aio_offset = (long long)off,
				       .aio_lio_opcode = rnd(2) ? IOCB_CMD_PWRITE : IOCB_CMD_PREAD };
		list[i] = &cb[i];
		if (cb[i].aio_lio_opcode == IOCB_CMD_PWRITE)
			fresh(buffer + i * SECTOR, SECTOR);
	}
	want_eq(syscall(SYS_io_submit, ring, DEPTH, list), DEPTH);
	want_eq(syscall(SYS_io_getevents, ring, DEPTH, DEPTH, event, NULL), DEPTH);
	for (unsigned i = 0; i < DEPTH; i++) {
		want_eq(event[i].res, SECTOR);
		if (cb[i].aio_lio_opcode == IOCB_CMD_PWRITE)
			memcpy(model + at + i * SECTOR, buffer + i * SECTOR, SECTOR);
	}
	for (unsigned i = 0; i < DEPTH; i++)
		same(buffer + i * SECTOR, at + i * SECTOR, SECTOR, "asynchronous transfer");
	want(!syscall(SYS_io_destroy, ring));
}

static void do_truncate(size_t to)
{
	want(!ftruncate(fd, (off_t)to));
	if (to < size)
		memset(model + to, 0, MOST - to);
	size = to;
}

static void do_map(size_t at, size_t n, int writes)
{
	unsigned char *m;

	if (at >= size)
		return;
	if (n > size - at)
		n = size - at;
	m = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	want(m != MAP_FAILED);
	if (writes) {
		fresh(m + at, n);
		memcpy(model + at, m + at, n);
	}
	same(m + at, at, n, "mapping");
	want(!munmap(m, size));
}

static void do_fallocate(int mode, size_t at, size_t n)
{
	if (fallocate(fd, mode, (off_t)at, (off_t)n)) {
		refused(errno);
		return;
	}
	if (mode & (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE))
		memset(model + at, 0, n);
	if (!(mode & FALLOC_FL_KEEP_SIZE))
		grow(at + n);
}

/* Blocks leave the middle, or come into it. */
static void do_shift(size_t at, size_t n, int insert)
{
	size_t old = size;

	at -= at % SECTOR;
	n = n - n % SECTOR + SECTOR;
	if (at + n >= size || (insert && size + n > MOST))
		return;
	if (fallocate(fd, insert ? FALLOC_FL_INSERT_RANGE : FALLOC_FL_COLLAPSE_RANGE, (off_t)at, (off_t)n)) {
		refused(errno);
		return;
	}
	if (insert) {
		memmove(model + at + n, model + at, old - at);
		memset(model + at, 0, n);
		size += n;
	} else {
		memmove(model + at, model + at + n, old - at - n);
		memset(model + old - n, 0, n);
		size -= n;
	}
}

static void look_at_all(void)
{
	struct stat st;

	want(!fstat(fd, &st));
	want_eq(st.st_size, size);
	do_read(0, MOST);
}

static void step(void)
{
	size_t at = rnd(MOST - 1), most = MOST - at, n = 1 + rnd((unsigned)(most < 40000 ? most : 40000));

	switch (rnd(16)) {
	case 0:
	case 1: do_write(at, n); break;
	case 2: do_read(at, n); break;
	case 3: do_direct_write(at, n); break;
	case 4: do_direct_read(at, n); break;
	case 5: do_aio(at, n); break;
	case 6: do_truncate(rnd(4) ? size - (size ? rnd((unsigned)size) / 4 : 0) : at); break;
	case 7: do_map(at, n, 1); break;
	case 8: do_map(at, n, 0); break;
	case 9: do_fallocate(FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, at, n); break;
	case 10: do_fallocate(rnd(2) ? FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE : FALLOC_FL_KEEP_SIZE, at, n); break;
	case 11: do_fallocate(0, at, n); break;
	case 12: do_shift(at, n, (int)rnd(2)); break;
	case 13: want(!(rnd(2) ? fsync(fd) : fdatasync(fd))); break;
	case 14: posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED); break;
	case 15:
		close_both();
		open_both();
		break;
	}
}

CASE(one_file)
{
	snprintf(path, sizeof(path), "%s/stress-file", dir);
	unlink(path);
	state = seed;
	open_both();
	if (direct_fd >= 0 && pwrite(direct_fd, buffer + 1, 512, 0) < 0)
		refused(errno == EINVAL ? EOPNOTSUPP : errno);
	want(!ftruncate(fd, 0)); /* where direct is only a word, it was taken */
	for (unsigned i = 0; i < operations; i++) {
		step();
		if (i % 32 == 31)
			look_at_all();
	}
	want(!fsync(fd));
	posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
	look_at_all();
	close_both();
	want(!unlink(path));
}

/* ---- many names ---------------------------------------------------------------------------------------------------
 */

#define FOLDERS 4
#define NAMES   24
#define WORKERS 3

static void name(char *to, size_t room)
{
	unsigned folder = rnd(FOLDERS);

	if (folder)
		snprintf(to, room, "d%u/n%u", folder, rnd(NAMES));
	else
		snprintf(to, room, "n%u", rnd(NAMES));
}

static unsigned char byte_of(ino_t ino, size_t at)
{
	return (unsigned char)(1 + (ino * 31 + at / 64) % 255);
}

/* Every byte of a file of a number is that number's, whoever writes it. */
static void write_some(const char *to)
{
	unsigned char bytes[3000];
	int f = open(to, O_RDWR | O_CREAT | (rnd(8) ? 0 : O_TRUNC), 0644);
	size_t at = rnd(20000), n = 1 + rnd(sizeof(bytes));
	struct stat st;

	if (f < 0)
		return;
	if (!fstat(f, &st) && S_ISREG(st.st_mode)) {
		for (size_t i = 0; i < n; i++)
			bytes[i] = byte_of(st.st_ino, at + i);
		if (pwrite(f, bytes, n, (off_t)at) == (ssize_t)n && !rnd(8))
			fsync(f);
		if (!rnd(6) && ftruncate(f, rnd(24000)) && errno != EFBIG)
			_exit(3);
	}
	close(f);
}

static void work(unsigned number)
{
	char a[64], b[64];

	state = seed * 1000 + number;
	for (unsigned i = 0; i < operations; i++) {
		name(a, sizeof(a));
		name(b, sizeof(b));
		switch (rnd(12)) {
		case 0:
		case 1:
		case 2:
		case 3: write_some(a); break;
		case 4: unlink(a); break;
		case 5: rename(a, b); break;
		case 6: syscall(SYS_renameat2, AT_FDCWD, a, AT_FDCWD, b, 2 /* exchange */); break;
		case 7: link(a, b); break;
		case 8: symlink(b, a); break;
		case 9: mkdir(a, 0755); break;
		case 10: rmdir(a); break;
		case 11: chmod(a, 0600 + rnd(0100)); break;
		}
	}
	_exit(0);
}

static struct {
	ino_t ino;
	unsigned names, links;
} seen[4096];
static unsigned nr_seen;

static void judge_file(const char *at, const struct stat *st)
{
	unsigned i = 0;
	int f;

	while (i < nr_seen && seen[i].ino != st->st_ino)
		i++;
	want(i < 4096);
	seen[i].ino = st->st_ino;
	seen[i].links = (unsigned)st->st_nlink;
	if (seen[i].names++)
		return;
	nr_seen++;
	f = open(at, O_RDONLY);
	want(f >= 0);
	want_eq(read(f, buffer, MOST), st->st_size);
	for (size_t k = 0; k < (size_t)st->st_size; k++)
		if (buffer[k] && buffer[k] != byte_of(st->st_ino, k))
			abi_fail("%s: byte %zu of inode %llu is another file's", at, k, (unsigned long long)st->st_ino);
	close(f);
}

static void judge(const char *folder)
{
	unsigned folders = 0;
	struct dirent *e;
	struct stat st;
	DIR *d = opendir(folder);
	char at[512];

	want(d);
	while ((e = readdir(d))) {
		if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, ".."))
			continue;
		snprintf(at, sizeof(at), "%s/%s", folder, e->d_name);
		want(!lstat(at, &st));
		folders += S_ISDIR(st.st_mode);
		if (S_ISDIR(st.st_mode))
			judge(at);
		else if (S_ISREG(st.st_mode))
			judge_file(at, &st);
	}
	closedir(d);
	want(!stat(folder, &st));
	want(st.st_nlink == folders + 2 || st.st_nlink == 1); /* 1: the file system does not count */
}

CASE(many_names)
{
	char top[300], command[16];
	int status;

	snprintf(top, sizeof(top), "%s/stress-names", dir);
	want(!mkdir(top, 0755) || errno == EEXIST);
	want(!chdir(top));
	for (unsigned i = 1; i < FOLDERS; i++) {
		snprintf(command, sizeof(command), "d%u", i);
		want(!mkdir(command, 0755) || errno == EEXIST);
	}
	for (unsigned i = 0; i < WORKERS; i++)
		if (!fork())
			work(i);
	for (unsigned i = 0; i < WORKERS; i++) {
		want(wait(&status) > 0);
		want_eq(status, 0);
	}
	judge(".");
	for (unsigned i = 0; i < nr_seen; i++)
		want_eq(seen[i].names, seen[i].links);
	want(!chdir("/"));
}

/* ---- access lists -------------------------------------------------------------------------------------------------
 */

#define ACCESS  "system.posix_acl_access"
#define DEFAULT "system.posix_acl_default"

struct list {
	uint32_t version;
	struct {
		uint16_t tag, perm;
		uint32_t id;
	} e[5];
};

/* Owner 7, user 1000 as given, the group's, the mask's and all others' rights. */
static struct list list_of(unsigned user, unsigned group, unsigned mask, unsigned other)
{
	return (struct list){ 2,
			      { { 1, 7, -1U },
				{ 2, (uint16_t)user, 1000 },
				{ 4, (uint16_t)group, -1U },
				{ 0x10, (uint16_t)mask, -1U },
				{ 0x20, (uint16_t)other, -1U } } };
}

/* May user `uid` (of no group of the file's) open it so? */
static int may(unsigned uid, const char *file, int flags)
{
	int status;
	pid_t pid = fork();

	if (!pid) {
		if (syscall(SYS_setgroups, 0, NULL) || syscall(SYS_setresgid, 3000, 3000, 3000) ||
		    syscall(SYS_setresuid, uid, uid, uid))
			_exit(2);
		_exit(open(file, flags) < 0);
	}
	want(waitpid(pid, &status, 0) == pid && status != 2 << 8);
	return !status;
}

CASE(access_lists)
{
	struct list l = list_of(6, 4, 6, 0), got;
	char top[300], file[320], made[320];
	struct stat st;

	snprintf(top, sizeof(top), "%s/lists", dir);
	snprintf(file, sizeof(file), "%s/file", top);
	snprintf(made, sizeof(made), "%s/made", top);
	unlink(file);
	unlink(made);
	want((!mkdir(top, 0755) || errno == EEXIST) && !chmod(dir, 0755));
	want(close(open(file, O_RDWR | O_CREAT, 0600)) == 0);
	if (geteuid() || (setxattr(file, ACCESS, &l, sizeof(l), 0) && errno == EOPNOTSUPP))
		return;
	want(!stat(file, &st));
	want_eq(st.st_mode & 0777, 0760);
	want(may(1000, file, O_RDWR) && !may(1001, file, O_RDONLY));
	want(!chmod(file, 0740)); /* the group's bits are the mask */
	want(may(1000, file, O_RDONLY) && !may(1000, file, O_RDWR));
	want_eq(getxattr(file, ACCESS, &got, sizeof(got)), sizeof(got));
	want_eq(got.e[1].perm, 6);
	want_eq(got.e[3].perm, 4);
	l.e[3].tag = 0x20;
	want_errno(setxattr(file, ACCESS, &l, sizeof(l), 0), EINVAL);
	l = list_of(7, 5, 7, 1);
	want_errno(setxattr(file, DEFAULT, &l, sizeof(l), 0), EACCES);
	want(!setxattr(top, DEFAULT, &l, sizeof(l), 0));
	umask(077); /* a default list takes its place */
	want(close(open(made, O_RDWR | O_CREAT, 0664)) == 0);
	want(!stat(made, &st));
	want_eq(st.st_mode & 0777, 0660);
	want(may(1000, made, O_RDWR) && !may(1001, made, O_RDONLY));
	umask(022);
	snprintf(made, sizeof(made), "%s/folder-%u", top, seed);
	want(!mkdir(made, 0700));
	want_eq(getxattr(made, DEFAULT, &got, sizeof(got)), sizeof(got));
	want(!memcmp(&got, &l, sizeof(l)));
	want(!rmdir(made));
	l = list_of(0, 5, 7, 5); /* a named user may have less than others */
	want(!setxattr(top, ACCESS, &l, sizeof(l), 0));
	want(!may(1000, made, O_RDONLY) && may(1001, top, O_RDONLY) && !may(1000, file, O_RDONLY));
	want(!removexattr(top, ACCESS) && !removexattr(top, DEFAULT));
	want(may(1000, file, O_RDONLY));
	want_errno(getxattr(top, DEFAULT, &got, sizeof(got)), ENODATA);
	want(!removexattr(top, ACCESS) && !removexattr(top, DEFAULT)); /* the mode is a list: there always is one */
	want(!setxattr(top, ACCESS, &l, sizeof(l), XATTR_REPLACE));
	want_eq(getxattr(top, ACCESS, &got, sizeof(got)), sizeof(got));
	want(!memcmp(&got, &l, sizeof(l)) && !may(1000, file, O_RDONLY));
	l = list_of(5, 5, 7, 5);
	want(!setxattr(top, ACCESS, &l, sizeof(l), XATTR_CREATE));
	want_eq(getxattr(top, ACCESS, &got, sizeof(got)), sizeof(got));
	want(!memcmp(&got, &l, sizeof(l)) && may(1000, file, O_RDONLY) && !removexattr(top, ACCESS));
}

int main(int argc, char **argv)
{
	char here[256];

	dir = argc > 1 ? argv[1] : getcwd(here, sizeof(here));
	seed = argc > 2 ? (unsigned)atoi(argv[2]) : 1;
	operations = argc > 3 ? (unsigned)atoi(argv[3]) : 600;
	RUN(one_file);
	RUN(many_names);
	RUN(access_lists);
	return abi_status();
}
