/* SPDX-License-Identifier: MIT
 *
 * Problem: what programs do with files has a rule and an errno for every corner, and real programs depend on them.
 *
 * Idea: each rule once, in a fresh folder under /tmp: open, vectors, holes, names, renames, attributes, listing,
 * descriptors, O_PATH, openat2, locks, copying, sealed memfds, shared mappings.
 *
 * Contract: prints ok or not ok for each case, with the same result on Linux, which is the oracle.
 *
 * Locks: none.
 */
#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <linux/openat2.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include "abi.h"

static int make(const char *name, const char *text)
{
	int fd = open(name, O_RDWR | O_CREAT | O_TRUNC, 0644);

	want(fd >= 0);
	want_eq(write(fd, text, strlen(text)), (long)strlen(text));
	return fd;
}

static void expect(const char *name, const char *text)
{
	char buf[256];
	int fd = open(name, O_RDONLY);
	long n;

	want(fd >= 0);
	n = read(fd, buf, sizeof(buf));
	want_eq(n, (long)strlen(text));
	want(!memcmp(buf, text, n));
	close(fd);
}

CASE(open_flags)
{
	struct stat st;
	int fd;

	want_errno(open("none", O_RDONLY), ENOENT);
	close(make("f", "abc"));
	want_errno(open("f", O_CREAT | O_EXCL | O_WRONLY, 0600), EEXIST);
	want_errno(open("f", O_RDONLY | O_DIRECTORY), ENOTDIR);
	want_errno(open(".", O_WRONLY), EISDIR);
	want_errno(open(".", O_RDONLY | O_CREAT, 0600), EISDIR);
	want_errno(open("f/", O_RDONLY), ENOTDIR);
	want_errno(open("new/", O_CREAT | O_WRONLY, 0600), EISDIR);
	want_errno(open((char *)8, O_RDONLY), EFAULT);
	umask(027);
	fd = open("masked", O_CREAT | O_WRONLY, 0666);
	umask(022);
	want(fd >= 0 && !fstat(fd, &st));
	want_eq(st.st_mode & 07777, 0640);
	close(fd);
	fd = open("f", O_WRONLY | O_APPEND);
	want_eq(write(fd, "d", 1), 1);
	want_eq(pwrite(fd, "e", 1, 0), 1); /* O_APPEND wins over the position */
	want_eq(fcntl(fd, F_GETFL) & (O_ACCMODE | O_APPEND), O_WRONLY | O_APPEND);
	want_errno(read(fd, &st, 1), EBADF);
	close(fd);
	expect("f", "abcde");
	fd = open("f", O_RDONLY);
	want_errno(write(fd, "x", 1), EBADF);
	close(fd);
	fd = open("f", O_RDWR | O_TRUNC);
	want(!fstat(fd, &st) && st.st_size == 0);
	close(fd);
}

CASE(read_write_vectors)
{
	int fd = make("v", "0123456789");
	char a[4], b[20];
	struct iovec iov[3] = { { a, 4 }, { b, 0 }, { b, 20 } };

	want_eq(lseek(fd, 2, SEEK_SET), 2);
	want_eq(readv(fd, iov, 3), 8);
	want(!memcmp(a, "2345", 4) && !memcmp(b, "6789", 4));
	want_eq(preadv(fd, iov, 1, 8), 2);
	want_errno(preadv(fd, iov, 1, -1), EINVAL);
	want_errno(readv(fd, iov, -1), EINVAL);
	want_errno(readv(fd, iov, IOV_MAX + 1), EINVAL);
	iov[1].iov_base = (void *)16;
	iov[1].iov_len = 4;
	lseek(fd, 0, SEEK_SET);
	want_eq(readv(fd, iov, 2), 4); /* what came before the bad segment counts */
	want_eq(lseek(fd, 0, SEEK_CUR), 4);
	want_errno(read(fd, (void *)16, 1), EFAULT);
	want_errno(write(fd, (void *)16, 1), EFAULT);
	want_eq(read(fd, (void *)16, 0), 0);
	want_errno(read(999, a, 1), EBADF);
	close(fd);
}

CASE(seek_and_holes)
{
	int fd = make("h", "");
	char page[4096];

	memset(page, 'p', sizeof(page));
	want_errno(lseek(fd, -1, SEEK_SET), EINVAL);
	want_errno(lseek(fd, 0, 9), EINVAL);
	want_eq(lseek(fd, 65536, SEEK_END), 65536);
	want_eq(write(fd, page, 4096), 4096);
	want_eq(pread(fd, page, 4096, 0), 4096);
	for (int i = 0; i < 4096; i++)
		want_eq(page[i], 0);
	want_eq(lseek(fd, 0, SEEK_DATA), 65536);
	want_eq(lseek(fd, 65536, SEEK_HOLE), 69632);
	want_errno(lseek(fd, 69632, SEEK_DATA), ENXIO);
	want_eq(ftruncate(fd, 10), 0);
	want_errno(ftruncate(fd, -1), EINVAL);
	want_eq(lseek(fd, 0, SEEK_END), 10);
	want_eq(fallocate(fd, 0, 0, 8192), 0);
	want_eq(lseek(fd, 0, SEEK_END), 8192);
	want_errno(fallocate(fd, 0, 0, 0), EINVAL);
	close(fd);
	want_eq(truncate("h", 3), 0);
	want_errno(truncate(".", 3), EISDIR);
	want_errno(truncate("nope", 3), ENOENT);
}

/* Beyond RLIMIT_FSIZE nothing grows: an error, and a signal. */
CASE(size_limit)
{
	struct rlimit l = { 4096, 4096 };
	int fd = make("limited", "abc"), status;
	pid_t child = fork();

	if (!child) {
		signal(SIGXFSZ, SIG_IGN);
		want_eq(setrlimit(RLIMIT_FSIZE, &l), 0);
		want_eq(fallocate(fd, 0, 0, 4096), 0);
		want_errno(fallocate(fd, 0, 4000, 97), EFBIG);
		want_errno(ftruncate(fd, 4097), EFBIG);
		want_errno(pwrite(fd, "x", 1, 4096), EFBIG);
		want_eq(fallocate(fd, FALLOC_FL_KEEP_SIZE, 4096, 4096), 0);
		signal(SIGXFSZ, SIG_DFL);
		fallocate(fd, 0, 8192, 1);
		_exit(1);
	}
	want_eq(waitpid(child, &status, 0), child);
	want(WIFSIGNALED(status) && WTERMSIG(status) == SIGXFSZ);
	close(fd);
}

CASE(names)
{
	char buf[300], cwd[PATH_MAX];

	want_eq(mkdir("d", 0755), 0);
	want_errno(mkdir("d", 0755), EEXIST);
	want_errno(mkdir("x/y", 0755), ENOENT);
	want_errno(rmdir("d/."), EINVAL);
	close(make("d/f", "1"));
	want_errno(rmdir("d"), ENOTEMPTY);
	want_errno(unlink("d"), EISDIR);
	want_errno(rmdir("d/f"), ENOTDIR);
	memset(buf, 'n', sizeof(buf));
	buf[256] = 0;
	want_errno(mkdir(buf, 0755), ENAMETOOLONG);
	want_eq(symlink("d/f", "ln"), 0);
	want_errno(symlink("d/f", "ln"), EEXIST);
	want_eq(readlink("ln", buf, 3), 3);
	want_errno(readlink("d", buf, 10), EINVAL);
	expect("ln", "1");
	want_errno(open("ln", O_RDONLY | O_NOFOLLOW), ELOOP);
	want_eq(symlink("loop", "loop"), 0);
	want_errno(open("loop", O_RDONLY), ELOOP);
	want_eq(link("d/f", "hard"), 0);
	want_errno(link("d", "dirlink"), EPERM);
	want_errno(link("d/f", "hard"), EEXIST);
	want_eq(chdir("d"), 0);
	want(getcwd(cwd, sizeof(cwd)) && !strcmp(strrchr(cwd, '/'), "/d"));
	want_errno(syscall(SYS_getcwd, cwd, 2), ERANGE);
	want_eq(chdir(".."), 0);
	want_errno(chdir("hard"), ENOTDIR);
	want_eq(unlink("d/f"), 0);
	expect("hard", "1");
	want_eq(rmdir("d"), 0);
	want_errno(unlink("d"), ENOENT);
	want_errno(open("", O_RDONLY), ENOENT);
}

CASE(renames)
{
	want_eq(mkdir("r1", 0755), 0);
	want_eq(mkdir("r1/in", 0755), 0);
	want_eq(mkdir("r2", 0755), 0);
	close(make("ra", "a"));
	close(make("rb", "b"));
	want_errno(rename("r1", "r1/in/x"), EINVAL);
	want_errno(rename("ra", "r1"), EISDIR);
	want_errno(rename("r1", "ra"), ENOTDIR);
	want_errno(rename("r2", "r1"), ENOTEMPTY);
	want_errno(rename("none", "x"), ENOENT);
	want_eq(rename("ra", "rb"), 0);
	expect("rb", "a");
	want_errno(access("ra", F_OK), ENOENT);
	close(make("ra", "c"));
	want_errno(syscall(SYS_renameat2, AT_FDCWD, "ra", AT_FDCWD, "rb", 1), EEXIST);
	want_eq(syscall(SYS_renameat2, AT_FDCWD, "ra", AT_FDCWD, "rb", 2), 0);
	expect("ra", "a");
	expect("rb", "c");
	want_errno(syscall(SYS_renameat2, AT_FDCWD, "ra", AT_FDCWD, "rb", 3), EINVAL);
	want_eq(rename("r1", "r2"), 0);
	want_eq(access("r2/in", F_OK), 0);
}

CASE(attributes)
{
	struct timespec ts[2] = { { 1000, 5 }, { 2000, 6 } };
	struct stat st, ls;
	struct statfs fs;
	int fd = make("at", "12345");

	want_eq(fchmod(fd, 04751), 0);
	want_eq(fstat(fd, &st), 0);
	want_eq(st.st_mode, S_IFREG | 04751);
	want_eq(st.st_size, 5);
	want_eq(st.st_nlink, 1);
	want_eq(futimens(fd, ts), 0);
	want_eq(stat("at", &st), 0);
	want_eq(st.st_mtim.tv_sec, 2000);
	want_eq(st.st_atim.tv_nsec, 5);
	want_eq(symlink("at", "atl"), 0);
	want_eq(lstat("atl", &ls), 0);
	want(S_ISLNK(ls.st_mode));
	want_eq(ls.st_size, 2);
	want_eq(stat("atl", &ls), 0);
	want_eq(ls.st_ino, st.st_ino);
	want_errno(fstatat(fd, "x", &st, 0), ENOTDIR);
	want_eq(fstatat(fd, "", &st, AT_EMPTY_PATH), 0);
	want_errno(fstatat(AT_FDCWD, "", &st, 0), ENOENT);
	want_errno(fstatat(AT_FDCWD, "at", &st, 0x40000), EINVAL);
	want_eq(statfs(".", &fs), 0);
	want(fs.f_bsize >= 512 && fs.f_namelen == 255);
	want_eq(access("at", R_OK | W_OK | X_OK), 0);
	want_errno(access("at", 8), EINVAL);
	want_errno(utimensat(AT_FDCWD, "at", (struct timespec[2]){ { 0, 1000000000 }, { 0, 0 } }, 0), EINVAL);
	close(fd);
}

CASE(listing)
{
	int seen = 0, count = 0;
	struct dirent *e;
	char name[300];
	DIR *d;
	int fd;

	want_eq(mkdir("ls", 0755), 0);
	for (int i = 0; i < 500; i++) {
		snprintf(name, sizeof(name), "ls/file%d", i);
		close(make(name, ""));
	}
	want((d = opendir("ls")));
	while ((e = readdir(d))) {
		if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, ".."))
			seen++;
		else
			count++;
		if (count % 7 == 3 && e->d_name[0] == 'f') { /* removing on the way must lose nothing */
			snprintf(name, sizeof(name), "ls/%s", e->d_name);
			want_eq(unlink(name), 0);
		}
	}
	want_eq(seen, 2);
	want_eq(count, 500);
	closedir(d);
	fd = open("ls", O_RDONLY);
	want_errno(syscall(SYS_getdents64, fd, name, 10), EINVAL);
	want_errno(read(fd, name, 1), EISDIR);
	close(fd);
}

CASE(descriptors)
{
	struct rlimit old, few = { 200, 200 };
	int fd = make("dup", "x"), d;

	d = fcntl(fd, F_DUPFD, 100);
	want_eq(d, 100);
	want_eq(fcntl(d, F_GETFD), 0);
	want_eq(fcntl(fd, F_DUPFD_CLOEXEC, 100), 101);
	want_eq(fcntl(101, F_GETFD), FD_CLOEXEC);
	want_eq(lseek(d, 0, SEEK_CUR), 1); /* one position */
	want_eq(dup2(fd, fd), fd);
	want_errno(dup3(fd, fd, 0), EINVAL);
	want_errno(dup2(999, 5), EBADF);
	want_errno(dup2(fd, -1), EBADF);
	want_eq(dup3(fd, 101, 0), 101);
	want_eq(fcntl(101, F_GETFD), 0);
	want_eq(close(100), 0);
	want_errno(close(100), EBADF);
	getrlimit(RLIMIT_NOFILE, &old);
	few.rlim_max = old.rlim_max;
	want_eq(setrlimit(RLIMIT_NOFILE, &few), 0);
	while ((d = dup(fd)) >= 0)
		;
	want_eq(errno, EMFILE);
	want_errno(fcntl(fd, F_DUPFD, 200), EINVAL);
	setrlimit(RLIMIT_NOFILE, &old);
	want_eq(syscall(SYS_close_range, fd, ~0U, 0), 0);
	want_errno(fcntl(fd, F_GETFD), EBADF);
}

CASE(path_descriptors)
{
	char info[64];
	int info_fd;
	struct stat st;
	int p, fd;
	char link[64], buf[8];

	close(make("op", "path"));
	p = open("op", O_PATH);
	want(p >= 0);
	want_errno(read(p, buf, 1), EBADF);
	want_errno(syscall(SYS_fchmod, p, 0600), EBADF);
	want_eq(fstat(p, &st), 0);
	want_eq(fcntl(p, F_GETFL) & O_PATH, O_PATH);
	snprintf(info, sizeof(info), "/proc/self/fdinfo/%d", p);
	info_fd = open(info, O_RDONLY);
	want(read(info_fd, info, sizeof(info)) > 10 && !strncmp(info, "pos:\t0\n", 7));
	close(info_fd);
	snprintf(link, sizeof(link), "/proc/self/fd/%d", p);
	fd = open(link, O_RDONLY);
	want(fd >= 0);
	want_eq(read(fd, buf, 8), 4);
	close(fd);
	close(p);
	fd = open(".", O_TMPFILE | O_RDWR, 0600);
	if (fd >= 0) {
		want_eq(fstat(fd, &st), 0);
		want_eq(st.st_nlink, 0);
		snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
		want_eq(linkat(AT_FDCWD, link, AT_FDCWD, "named", AT_SYMLINK_FOLLOW), 0);
		want_eq(access("named", F_OK), 0);
		close(fd);
	}
}

static int at2(int dir, const char *path, unsigned long resolve)
{
	struct open_how how = { .flags = O_RDONLY, .resolve = resolve };

	return syscall(SYS_openat2, dir, path, &how, sizeof(how));
}

CASE(openat2_resolve)
{
	struct open_how how = { .flags = O_RDONLY, .mode = 0600 };
	int dir, fd;

	want_eq(mkdir("o2", 0755), 0);
	close(make("o2/f", "f"));
	want_eq(symlink("/etc", "o2/abs"), 0);
	want_eq(symlink("f", "o2/rel"), 0);
	dir = open("o2", O_RDONLY | O_DIRECTORY);
	want((fd = at2(dir, "f", RESOLVE_BENEATH)) >= 0);
	close(fd);
	want_errno(at2(dir, "..", RESOLVE_BENEATH), EXDEV);
	want_errno(at2(dir, "/etc", RESOLVE_BENEATH), EXDEV);
	want_errno(at2(dir, "abs", RESOLVE_BENEATH), EXDEV);
	want((fd = at2(dir, "../../f", RESOLVE_IN_ROOT)) >= 0);
	close(fd);
	want_errno(at2(dir, "rel", RESOLVE_NO_SYMLINKS), ELOOP);
	want_errno(at2(dir, "f", RESOLVE_BENEATH | RESOLVE_IN_ROOT), EINVAL);
	want_errno(syscall(SYS_openat2, dir, "f", &how, sizeof(how)), EINVAL); /* a mode without O_CREAT */
	want_errno(syscall(SYS_openat2, dir, "f", &how, 8), EINVAL);
	close(dir);
}

CASE(record_locks)
{
	struct flock l = { .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 10, .l_len = 10 };
	int fd = make("lk", "x"), other, status;

	want_eq(fcntl(fd, F_SETLK, &l), 0);
	if (!fork()) {
		struct flock t = { .l_type = F_RDLCK, .l_whence = SEEK_SET, .l_start = 15, .l_len = 1 };

		abi_pid = -1;
		want_eq(fcntl(fd, F_GETLK, &t), 0);
		want_eq(t.l_type, F_WRLCK);
		want_eq(t.l_start, 10);
		want_eq(t.l_pid, getppid());
		t = (struct flock){ .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 0, .l_len = 11 };
		want(fcntl(fd, F_SETLK, &t) == -1 && (errno == EAGAIN || errno == EACCES));
		t.l_len = 10;
		want_eq(fcntl(fd, F_SETLK, &t), 0);
		_exit(0);
	}
	want(wait(&status) > 0 && status == 0);
	want_eq(flock(fd, LOCK_EX), 0);
	other = open("lk", O_RDWR);
	want_errno(flock(other, LOCK_SH | LOCK_NB), EWOULDBLOCK);
	want_eq(flock(fd, LOCK_UN), 0);
	want_eq(flock(other, LOCK_SH | LOCK_NB), 0);
	want_errno(flock(other, 0), EINVAL);
	close(other);
	close(fd);
}

CASE(copying)
{
	int in = make("ci", "0123456789"), out = make("co", "");
	off_t pos = 3;
	char buf[16];

	want_eq(sendfile(out, in, &pos, 4), 4);
	want_eq(pos, 7);
	want_eq(lseek(in, 0, SEEK_CUR), 10);
	lseek(in, 8, SEEK_SET);
	want_eq(sendfile(out, in, NULL, 100), 2);
	want_eq(pread(out, buf, 16, 0), 6);
	want(!memcmp(buf, "345689", 6));
	{
		int p[2];

		want_eq(pipe(p), 0);
		want_eq(write(p[1], "abc", 3), 3);
		want_errno(sendfile(out, p[0], NULL, 3), EINVAL); /* what is read cannot be put back */
		want_eq(read(p[0], buf, 16), 3);
		close(p[0]);
		close(p[1]);
	}
	{
		loff_t a = 0, b = 20;

		want_eq(syscall(SYS_copy_file_range, in, &a, out, &b, 5, 0), 5);
		want_eq(b, 25);
		want_eq(pread(out, buf, 16, 19), 6);
		want(!memcmp(buf,
			     "\0"
			     "01234",
			     6));
	}
	close(in);
	close(out);
}

CASE(memfd_seals)
{
	int fd = syscall(SYS_memfd_create, "x", 2);
	char *p;

	want(fd >= 0);
	want_eq(ftruncate(fd, 4096), 0);
	p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	want(p != MAP_FAILED);
	strcpy(p, "shared");
	want_eq(fcntl(fd, F_GET_SEALS), 0);
	want_errno(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE), EBUSY);
	want_eq(munmap(p, 4096), 0);
	want_eq(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW), 0);
	want_errno(write(fd, "y", 1), EPERM);
	want_errno(ftruncate(fd, 100), EPERM);
	want_errno(ftruncate(fd, 9000), EPERM);
	want(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) == MAP_FAILED);
	want_eq(errno, EPERM);
	p = mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 0); /* Linux has this since 6.7 */
	want(p == MAP_FAILED || (mprotect(p, 4096, PROT_READ | PROT_WRITE) && !munmap(p, 4096)));
	want_eq(fcntl(fd, F_ADD_SEALS, F_SEAL_SEAL), 0);
	want_errno(fcntl(fd, F_ADD_SEALS, F_SEAL_GROW), EPERM);
	close(fd);
	fd = syscall(SYS_memfd_create, "y", 0);
	want_eq(fcntl(fd, F_GET_SEALS), F_SEAL_SEAL);
	close(fd);
	want_errno(syscall(SYS_memfd_create, "z", 0x1000), EINVAL);
}

CASE(mapped_files)
{
	int fd = make("mm", "mapped");
	char *p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0), buf[8];

	want(p != MAP_FAILED);
	want(!memcmp(p, "mapped\0", 7));
	p[0] = 'M';
	want_eq(pread(fd, buf, 6, 0), 6);
	want_eq(buf[0], 'M');
	want_eq(pwrite(fd, "X", 1, 1), 1);
	want_eq(p[1], 'X');
	munmap(p, 4096);
	close(fd);
}

int main(void)
{
	char dir[] = "/tmp/abi-files-XXXXXX";

	if (!mkdtemp(dir) || chdir(dir)) {
		printf("not ok folder: %s\n", strerror(errno));
		return 1;
	}
	RUN(open_flags);
	RUN(read_write_vectors);
	RUN(seek_and_holes);
	RUN(size_limit);
	RUN(names);
	RUN(renames);
	RUN(attributes);
	RUN(listing);
	RUN(descriptors);
	RUN(path_descriptors);
	RUN(openat2_resolve);
	RUN(record_locks);
	RUN(copying);
	RUN(memfd_seals);
	RUN(mapped_files);
	return abi_status();
}
