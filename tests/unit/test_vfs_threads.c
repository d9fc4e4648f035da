/* SPDX-License-Identifier: MIT
 *
 * Problem: look-ups run without locks beside renames, and one wrong order of two stores shows only when threads meet.
 *
 * Idea: threads that move a file and a folder to and fro, walk through both, make and remove names in one folder,
 * change the working folder that all share, and talk through a pipe, all at once on a real tmpfs. Each checks what must
 * hold whoever comes first; at the end the tree and the number of pages must be what one thread would have left.
 *
 * Contract: runs on arch/hosted under ASan and UBSan, and (the line "threads" below) under TSan. Locks: none.
 */
// threads
#include "vfs_boot.h"
#include <pthread.h>
#include <stdio.h>
#include <linux/fs.h>
#include <vfs/pipe.h>

#define ROUNDS 400

static struct task *main_task;
static bool stop;

static void *mover(void *unused)
{
	vfs_thread_begin("mover", main_task);
	for (int i = 0; i < ROUNDS; i++) {
		assert_int_equal(path_rename(AT_FDCWD, "/t/a/ball", AT_FDCWD, "/t/b/ball", 0), 0);
		assert_int_equal(path_rename(AT_FDCWD, "/t/a/d", AT_FDCWD, "/t/b/e", RENAME_NOREPLACE), 0);
		assert_int_equal(path_rename(AT_FDCWD, "/t/b/ball", AT_FDCWD, "/t/a/ball", 0), 0);
		assert_int_equal(path_rename(AT_FDCWD, "/t/b/e", AT_FDCWD, "/t/a/d", 0), 0);
	}
	WRITE_ONCE(stop, true);
	vfs_thread_end();
	return NULL;
}

/* Whether path has been met; its contents are right if so. */
static int met(const char *path, const char *text)
{
	struct file *f;
	char got[16];
	int err = file_open_kernel(path, O_RDONLY, 0, &f);

	if (err) {
		assert_int_equal(err, -ENOENT);
		return 0;
	}
	assert_int_equal(file_read_at(f, got, sizeof(got), 0), strlen(text));
	assert_memory_equal(got, text, strlen(text));
	file_put(f);
	return 1;
}

static void *walker(void *unused)
{
	ulong times = 0;

	vfs_thread_begin("walker", main_task);
	for (int i = 0; i < ROUNDS || !READ_ONCE(stop); i++) {
		times += met("/t/a/ball", "ball") + met("/t/b/ball", "ball");
		times += met("/t/a/d/in", "inside") + met("/t/b/e/in", "inside");
		met("/t/a/d/../ball", "ball");
		met("deep/in", "inside"); /* from a working folder that may go under our feet */
		met("../c/deep/in", "inside");
		assert_int_equal(exists("/t/a/none"), -ENOENT);
		assert_int_equal(exists("/t/b/none"), -ENOENT);
	}
	vfs_thread_end();
	return (void *)times;
}

static void go_to(const char *folder)
{
	struct fs_context *fs = current->fs;
	struct path p, old;

	assert_int_equal(path_lookup(AT_FDCWD, folder, 0, &p), 0);
	spin_lock(&fs->lock);
	old = fs->cwd;
	fs->cwd = p;
	spin_unlock(&fs->lock);
	path_put(&old);
}

/* A walk begins in the working folder without a reference, and this one is removed at once. */
static void *roamer(void *unused)
{
	vfs_thread_begin("roamer", main_task);
	for (int i = 0; i < ROUNDS; i++) {
		assert_int_equal(path_mkdir(AT_FDCWD, "/t/c", 0755), 0);
		assert_int_equal(path_mkdir(AT_FDCWD, "/t/c/deep", 0755), 0);
		put_file("/t/c/in", "inside");
		assert_int_equal(path_rename(AT_FDCWD, "/t/c/in", AT_FDCWD, "/t/c/deep/in", 0),
				 0); /* all of it, or none */
		go_to("/t/c");
		assert_int_equal(path_unlink(AT_FDCWD, "/t/c/deep/in"), 0);
		assert_int_equal(path_rmdir(AT_FDCWD, "/t/c/deep"), 0);
		assert_int_equal(path_rmdir(AT_FDCWD, "/t/c"), 0);
		go_to("/");
	}
	vfs_thread_end();
	return NULL;
}

static void *maker(void *name)
{
	char mine[32], other[32];

	vfs_thread_begin(name, main_task);
	snprintf(mine, sizeof(mine), "/t/m/%s", (char *)name);
	snprintf(other, sizeof(other), "/t/m/%s.2", (char *)name);
	for (int i = 0; i < ROUNDS; i++) {
		put_file(mine, name);
		assert_int_equal(path_link(AT_FDCWD, mine, AT_FDCWD, other, 0), 0);
		expect_file(other, name);
		assert_int_equal(path_unlink(AT_FDCWD, mine), 0);
		assert_int_equal(exists(mine), -ENOENT);
		expect_file(other, name);
		assert_int_equal(path_unlink(AT_FDCWD, other), 0);
		assert_int_equal(path_mkdir(AT_FDCWD, mine, 0755), 0);
		assert_int_equal(path_rmdir(AT_FDCWD, mine), 0);
	}
	vfs_thread_end();
	return NULL;
}

static void *writer(void *pipe)
{
	struct io io = { .file = pipe };

	vfs_thread_begin("writer", main_task);
	for (u32 i = 0; i < ROUNDS * 50; i++) {
		iter_user(&io.iter, &i, sizeof(i));
		assert_int_equal(io.file->ops->write(&io), sizeof(i));
	}
	file_put(pipe);
	vfs_thread_end();
	return NULL;
}

static void read_all(struct file *f)
{
	struct io io = { .file = f };
	u32 got, next = 0;

	for (;;) {
		iter_user(&io.iter, &got, sizeof(got));
		if (!f->ops->read(&io))
			break;
		assert_int_equal(got, next++);
	}
	assert_int_equal(next, ROUNDS * 50);
	file_put(f);
}

static void all_at_once(void **state)
{
	void *(*bodies[])(void *) = { mover, walker, walker, maker, maker, writer, roamer };
	void *words[] = { NULL, NULL, NULL, "one", "two", NULL, NULL }, *times[ARRAY_SIZE(bodies)];
	pthread_t threads[ARRAY_SIZE(bodies)];
	struct file *r, *w;
	size_t before;

	main_task = current;
	for (const char **d = (const char *[]){ "/t", "/t/a", "/t/b", "/t/m", "/t/a/d", NULL }; *d; d++)
		assert_int_equal(path_mkdir(AT_FDCWD, *d, 0755), 0);
	put_file("/t/a/ball", "ball");
	put_file("/t/a/d/in", "inside");
	hosted_rcu_drain();
	before = hosted_pages_in_use();
	assert_int_equal(pipe_create(0, &r, &w), 0);
	words[5] = w;
	for (int i = 0; i < ARRAY_SIZE(bodies); i++)
		assert_int_equal(pthread_create(&threads[i], NULL, bodies[i], words[i]), 0);
	read_all(r);
	for (int i = 0; i < ARRAY_SIZE(bodies); i++)
		pthread_join(threads[i], &times[i]);
	assert_true(times[1] && times[2]);
	expect_file("/t/a/ball", "ball");
	expect_file("/t/a/d/in", "inside");
	assert_int_equal(path_rmdir(AT_FDCWD, "/t/m"), 0);
	assert_int_equal(path_rmdir(AT_FDCWD, "/t/b"), 0);
	hosted_rcu_drain();
	assert_true(hosted_pages_in_use() <= before);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(all_at_once) };

	return cmocka_run_group_tests(tests, vfs_boot, NULL);
}
