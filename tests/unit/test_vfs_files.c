/* SPDX-License-Identifier: MIT
 *
 * Problem: contents, holes, descriptors, pipes and their waiting are what every program stands on.
 *
 * Idea: each rule once on a real tmpfs and real pipes; waiting with a second thread, without any timing.
 *
 * Contract: runs under ASan and UBSan on arch/hosted. Locks: none.
 */
// threads
#include "vfs_boot.h"
#include <pthread.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <linux/inotify.h>
#include <vfs/epoll.h>
#include <vfs/inotify.h>
#include <vfs/pipe.h>

static ssize_t rw(struct file *f, void *buf, size_t len, bool write)
{
	struct io io = { .file = f, .pos = f->pos };
	ssize_t n;

	iter_user(&io.iter, buf, len);
	n = write ? f->ops->write(&io) : f->ops->read(&io);
	f->pos = io.pos;
	return n;
}

static void holes(void **state)
{
	size_t before = hosted_pages_in_use();
	char page[4096], got[4096];
	struct file *f;

	assert_int_equal(file_open_kernel("/h", O_RDWR | O_CREAT, 0644, &f), 0);
	memset(page, 'a', sizeof(page));
	assert_int_equal(file_write_at(f, page, 4096, 8192), 4096);
	assert_int_equal(file_write_at(f, page, 100, 20000), 100);
	assert_int_equal(f->inode->size, 20100);
	assert_int_equal(hosted_pages_in_use() - before, 2);
	assert_int_equal(file_read_at(f, got, 4096, 4096), 4096);
	for (int i = 0; i < 4096; i++)
		assert_int_equal(got[i], 0);
	assert_int_equal(f->ops->llseek(f, 0, SEEK_DATA), 8192);
	assert_int_equal(f->ops->llseek(f, 8192, SEEK_HOLE), 12288);
	assert_int_equal(f->ops->llseek(f, 12288, SEEK_DATA), 16384);
	assert_int_equal(f->ops->llseek(f, 16384, SEEK_HOLE), 20100);
	assert_int_equal(f->ops->llseek(f, 20100, SEEK_DATA), -ENXIO);
	assert_int_equal(f->ops->fallocate(f, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 8000, 5000), 0);
	assert_int_equal(hosted_pages_in_use() - before, 1);
	assert_int_equal(f->ops->llseek(f, 0, SEEK_DATA), 16384);
	assert_int_equal(inode_set_size(f->inode, 20050), 0);
	assert_int_equal(inode_set_size(f->inode, 20100), 0);
	assert_int_equal(file_read_at(f, got, 200, 20000), 100);
	assert_int_equal(got[49], 'a');
	assert_int_equal(got[50], 0); /* truncation cleared what lay beyond */
	assert_int_equal(file_read_at(f, got, 10, 20100), 0);
	file_put(f);
	assert_int_equal(path_unlink(AT_FDCWD, "/h"), 0);
	hosted_rcu_drain();
	assert_int_equal(hosted_pages_in_use(), before);
}

static void bad_memory(void **state)
{
	char ok[10] = "abc";
	struct iter_vec vec[2] = { { (ulong)ok, 10 }, { 0x10, 10 } };
	struct io io = { 0 };
	struct file *f;

	assert_int_equal(file_open_kernel("/b", O_RDWR | O_CREAT, 0644, &f), 0);
	assert_int_equal(rw(f, (void *)0x10, 5, true), -EFAULT);
	assert_int_equal(f->inode->size, 0);
	io.file = f;
	iter_user_vec(&io.iter, vec, 2, 20);
	assert_int_equal(f->ops->write(&io), 10);
	f->pos = 0;
	assert_int_equal(rw(f, (void *)0xffff800000000000UL, 5, false), -EFAULT);
	file_put(f);
}

static void no_space(void **state)
{
	static char big[100000];
	struct path at;
	struct file *f;

	assert_int_equal(path_mkdir(AT_FDCWD, "/small", 0755), 0);
	assert_int_equal(path_lookup(AT_FDCWD, "/small", 0, &at), 0);
	assert_int_equal(mount_new("tmpfs", "x", &at, 0, "size=64k,nr_inodes=3"), 0);
	path_put(&at);
	assert_int_equal(file_open_kernel("/small/a", O_RDWR | O_CREAT, 0644, &f), 0);
	assert_int_equal(file_write_at(f, big, sizeof(big), 0), 65536);
	assert_int_equal(file_write_at(f, big, 1, 65536), -ENOSPC);
	file_put(f);
	put_file("/small/b", "");
	assert_int_equal(file_open_kernel("/small/c", O_RDWR | O_CREAT, 0644, &f), -ENOSPC);
	assert_int_equal(path_lookup(AT_FDCWD, "/small", 0, &at), 0);
	assert_int_equal(mount_umount(&at, 0), 0);
	path_put(&at);
}

static void no_memory(void **state)
{
	struct file *f;

	assert_int_equal(file_open_kernel("/nomem", O_RDWR | O_CREAT, 0644, &f), 0);
	hosted_fail_alloc_after(0);
	assert_int_equal(file_write_at(f, "x", 1, 0), -ENOMEM);
	hosted_fail_alloc_after(-1);
	assert_int_equal(f->inode->size, 0);
	file_put(f);
}

static void descriptors(void **state)
{
	int fds[200], n = 0;
	struct fd_ref r;

	for (; n < 200; n++) {
		fds[n] = fd_open("/", O_RDONLY | (n & 1 ? O_CLOEXEC : 0), 0);
		assert_int_equal(fds[n], n);
	}
	assert_int_equal(fd_close(70), 0);
	assert_int_equal(fd_close(3), 0);
	assert_int_equal(fd_close(3), -EBADF);
	assert_int_equal(fd_open("/", O_PATH, 0), 3);
	assert_null(fd_get(3).file);
	r = fd_get_path(3);
	assert_non_null(r.file);
	assert_false(r.counted);
	fd_put(r);
	assert_int_equal(fd_reserve(0, 100), 200);
	assert_null(fd_get(200).file);
	fd_release(200);
	assert_int_equal(fd_get_cloexec(1), 1);
	files_close_on_exec();
	assert_null(fd_get(1).file);
	assert_non_null(fd_get(2).file);
	fd_close_range(0, ~0U, false);
	assert_null(fd_get(2).file);
	assert_null(fd_get(-1).file);
	assert_null(fd_get(100000).file);
}

struct ends {
	struct file *r, *w;
};

static void *reader(void *arg)
{
	struct ends *e = arg;
	struct task *main_task = current;
	ulong sum = 0;
	char buf[777];
	ssize_t n;

	(void)main_task;
	hosted_thread_begin("reader");
	while ((n = rw(e->r, buf, sizeof(buf), false)) > 0)
		for (ssize_t i = 0; i < n; i++)
			sum += (u8)buf[i];
	hosted_thread_end();
	return (void *)sum;
}

static void pipes(void **state)
{
	static char data[300000];
	struct ends e;
	pthread_t t;
	ulong sum = 0;
	void *got;
	char buf[100];

	assert_int_equal(pipe_create(0, &e.r, &e.w), 0);
	assert_int_equal(rw(e.w, "hello", 5, true), 5);
	assert_int_equal(rw(e.w, " pipe", 5, true), 5);
	assert_int_equal(rw(e.r, buf, sizeof(buf), false), 10);
	assert_memory_equal(buf, "hello pipe", 10);
	for (size_t i = 0; i < sizeof(data); i++)
		sum += (u8)(data[i] = i * 7);
	pthread_create(&t, NULL, reader, &e);
	assert_int_equal(rw(e.w, data, sizeof(data), true), sizeof(data));
	file_put(e.w);
	pthread_join(t, &got);
	assert_true((ulong)got == sum);
	file_put(e.r);
	assert_int_equal(pipe_create(O_NONBLOCK, &e.r, &e.w), 0);
	assert_int_equal(rw(e.r, buf, 1, false), -EAGAIN);
	assert_int_equal(rw(e.w, data, sizeof(data), true), 65536);
	assert_int_equal(rw(e.w, data, 1, true), -EAGAIN);
	assert_int_equal(pipe_set_size(pipe_of(e.w), 100000), 131072);
	assert_int_equal(pipe_set_size(pipe_of(e.w), 4096), -EBUSY);
	assert_int_equal(rw(e.w, data, 1, true), 1);
	file_put(e.r);
	assert_int_equal(rw(e.w, data, 1, true), -EPIPE);
	assert_true(current->sig_pending & BIT(SIGPIPE - 1));
	current->sig_pending = 0;
	file_put(e.w);
}

static void epolls(void **state)
{
	struct epoll_event ev = { .events = EPOLLIN, .data = 42 }, got[4];
	struct file *ep, *outer;
	struct ends e;
	char c;

	assert_int_equal(pipe_create(0, &e.r, &e.w), 0);
	assert_int_equal(epoll_create_file(&ep), 0);
	assert_int_equal(epoll_create_file(&outer), 0);
	assert_int_equal(epoll_control(ep, EPOLL_CTL_ADD, 5, e.r, &ev), 0);
	assert_int_equal(epoll_control(ep, EPOLL_CTL_ADD, 5, e.r, &ev), -EEXIST);
	assert_int_equal(epoll_control(outer, EPOLL_CTL_ADD, 6, ep, &ev), 0);
	assert_int_equal(epoll_control(ep, EPOLL_CTL_ADD, 7, outer, &ev), -ELOOP);
	assert_int_equal(epoll_wait_events(ep, got, 4, 0), 0);
	assert_int_equal(epoll_wait_events(outer, got, 4, 0), 0);
	assert_int_equal(rw(e.w, "a", 1, true), 1);
	assert_int_equal(epoll_wait_events(outer, got, 4, 0), 1);
	assert_int_equal(epoll_wait_events(ep, got, 4, ~0ULL), 1);
	assert_int_equal(got[0].events, EPOLLIN);
	assert_int_equal(got[0].data, 42);
	assert_int_equal(epoll_wait_events(ep, got, 4, 0), 1); /* level: still there */
	ev.events = EPOLLIN | EPOLLET;
	assert_int_equal(epoll_control(ep, EPOLL_CTL_MOD, 5, e.r, &ev), 0);
	assert_int_equal(epoll_wait_events(ep, got, 4, 0), 1);
	assert_int_equal(epoll_wait_events(ep, got, 4, 0), 0); /* edge: told once */
	assert_int_equal(rw(e.r, &c, 1, false), 1);
	assert_int_equal(rw(e.w, "b", 1, true), 1);
	assert_int_equal(epoll_wait_events(ep, got, 4, 0), 1);
	ev.events = EPOLLIN | EPOLLONESHOT;
	assert_int_equal(epoll_control(ep, EPOLL_CTL_MOD, 5, e.r, &ev), 0);
	assert_int_equal(epoll_wait_events(ep, got, 4, 0), 1);
	assert_int_equal(epoll_wait_events(ep, got, 4, 0), 0);
	ev.events = EPOLLIN;
	assert_int_equal(epoll_control(ep, EPOLL_CTL_MOD, 5, e.r, &ev), 0);
	file_put(e.w);
	assert_int_equal(epoll_wait_events(ep, got, 4, 0), 1);
	assert_int_equal(got[0].events, EPOLLIN | EPOLLHUP);
	file_put(e.r); /* leaves the epoll by itself */
	assert_int_equal(epoll_wait_events(ep, got, 4, 0), 0);
	file_put(ep);
	file_put(outer);
}

static void notify(void **state)
{
	struct file *in, *f;
	struct path p;
	char buf[512] __aligned(8);
	struct inotify_event *ev = (void *)buf;
	int wd;

	assert_int_equal(path_mkdir(AT_FDCWD, "/w", 0755), 0);
	assert_int_equal(inotify_create(O_NONBLOCK, &in), 0);
	assert_int_equal(path_lookup(AT_FDCWD, "/w", 0, &p), 0);
	wd = inotify_add(in, p.dentry->inode, IN_CREATE | IN_DELETE | IN_MOVE | IN_CLOSE_WRITE | IN_DELETE_SELF);
	assert_int_equal(wd, 1);
	path_put(&p);
	assert_int_equal(rw(in, buf, sizeof(buf), false), -EAGAIN);
	assert_int_equal(file_open_kernel("/w/f", O_WRONLY | O_CREAT, 0644, &f), 0);
	assert_int_equal(rw(in, buf, 8, false), -EINVAL);
	assert_int_equal(rw(in, buf, sizeof(buf), false), 32);
	assert_int_equal(ev->mask, IN_CREATE);
	assert_string_equal(ev->name, "f");
	file_put(f);
	assert_int_equal(rw(in, buf, sizeof(buf), false), 32);
	assert_int_equal(ev->mask, IN_CLOSE_WRITE);
	assert_int_equal(path_rename(AT_FDCWD, "/w/f", AT_FDCWD, "/w/g", 0), 0);
	assert_int_equal(rw(in, buf, sizeof(buf), false), 64);
	assert_int_equal(ev->mask, IN_MOVED_FROM);
	assert_string_equal(ev->name, "f");
	assert_int_equal(((struct inotify_event *)(buf + 32))->cookie, ev->cookie);
	assert_string_equal(((struct inotify_event *)(buf + 32))->name, "g");
	assert_int_equal(path_unlink(AT_FDCWD, "/w/g"), 0);
	assert_int_equal(path_rmdir(AT_FDCWD, "/w"), 0);
	assert_int_equal(rw(in, buf, sizeof(buf), false), 32 + 16 + 16);
	assert_int_equal(((struct inotify_event *)(buf + 48))->mask, IN_IGNORED);
	assert_int_equal(inotify_remove(in, wd), -EINVAL);
	file_put(in);
}

static void tmpfile_and_memfd(void **state)
{
	struct fs_context *fs = current->fs;
	char buf[64], *text;
	struct file *f;

	assert_int_equal(file_open_kernel("/", O_TMPFILE | O_RDWR, 0600, &f), 0);
	assert_int_equal(f->inode->nlink, 0);
	assert_int_equal(file_write_at(f, "t", 1, 0), 1);
	file_put(f);
	assert_int_equal(memfd_file("memfd:name", 0, &f), 0);
	assert_int_equal(path_string(&f->path, &fs->root, buf, sizeof(buf), &text), 1);
	assert_string_equal(text, "/memfd:name (deleted)");
	file_put(f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(holes),     cmocka_unit_test(bad_memory),  cmocka_unit_test(no_space),
		cmocka_unit_test(no_memory), cmocka_unit_test(descriptors), cmocka_unit_test(pipes),
		cmocka_unit_test(epolls),    cmocka_unit_test(notify),      cmocka_unit_test(tmpfile_and_memfd),
	};
	return cmocka_run_group_tests(tests, vfs_boot, NULL);
}
