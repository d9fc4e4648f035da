/* SPDX-License-Identifier: MIT
 *
 * Problem: what the work of a file system costs: names, small files, what must be safe on the disk.
 *
 * Idea: the calls that programs make on a mounted file system whose disk is memory, so that under -icount guest time is
 * the instructions of the kernel and of the program. Names and unlinking are followed by a sync of their own row, as
 * otherwise a file system that only puts work off would look fast.
 *
 * Contract: fsrows FOLDER ARCHIVE; prints `row instructions-an-operation`. ARCHIVE is unpacked by busybox tar. Linked
 * with SQLite.
 *
 * Locks: none.
 */
#include <fcntl.h>
#include <sqlite3.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define NAMES   10000
#define INSERTS 200

static uint64_t begin;

static void check(int good, const char *what)
{
	if (good)
		return;
	perror(what);
	exit(1);
}

static uint64_t now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000ULL + t.tv_nsec;
}

static void show(const char *row, unsigned operations)
{
	printf("%s %llu\n", row, (unsigned long long)((now() - begin) / operations));
	fflush(stdout);
	begin = now();
}

static void synced(const char *row)
{
	sync();
	show(row, 1);
}

static const char *name_of(int i)
{
	static char name[32];

	snprintf(name, sizeof(name), "many/file-%05d", i);
	return name;
}

static void names(void)
{
	struct stat st;

	check(!mkdir("many", 0700), "mkdir");
	begin = now();
	for (int i = 0; i < NAMES; i++) {
		int fd = open(name_of(i), O_CREAT | O_WRONLY | O_EXCL, 0600);

		check(fd >= 0, "create");
		close(fd);
	}
	show("create", NAMES);
	synced("sync_after_create");
	for (int i = 0; i < NAMES; i++)
		check(!stat(name_of(i), &st), "stat");
	show("stat", NAMES);
	for (int i = 0; i < NAMES; i++)
		check(!unlink(name_of(i)), "unlink");
	show("unlink", NAMES);
	synced("sync_after_unlink");
}

static void writes(void)
{
	static char block[1 << 20];
	int fd = open("big", O_CREAT | O_RDWR, 0600);

	check(fd >= 0, "big");
	begin = now();
	for (int i = 0; i < 8; i++) {
		check(pwrite(fd, block, sizeof(block), (off_t)i << 20) == sizeof(block), "write");
		check(!fsync(fd), "fsync");
	}
	show("write_1MiB_fsync", 8);
	for (int i = 0; i < INSERTS; i++) {
		check(pwrite(fd, block, 4096, (off_t)i * 4096) == 4096, "write");
		check(!fdatasync(fd), "fdatasync");
	}
	show("overwrite_4KiB_fdatasync", INSERTS);
	for (int i = 0; i < 8; i++)
		check(pread(fd, block, sizeof(block), (off_t)i << 20) == sizeof(block), "read");
	show("read_1MiB_cached", 8);
	close(fd);
}

static void untar(const char *archive)
{
	int status;
	pid_t child;

	begin = now();
	child = fork();
	if (!child) {
		execl("/bin/busybox", "tar", "-xf", archive, (char *)NULL);
		_exit(127);
	}
	check(waitpid(child, &status, 0) == child && !status, "tar");
	sync();
	show("untar_and_sync", 1);
}

static void sqlite(const char *row, const char *journal)
{
	char sql[128];
	sqlite3 *db;

	unlink("db");
	check(!sqlite3_open("db", &db), "sqlite3_open");
	snprintf(sql, sizeof(sql),
		 "PRAGMA journal_mode=%s; PRAGMA synchronous=FULL; CREATE TABLE t(k INTEGER PRIMARY KEY, v TEXT)",
		 journal);
	check(!sqlite3_exec(db, sql, NULL, NULL, NULL), sql);
	begin = now();
	for (int i = 0; i < INSERTS; i++) {
		snprintf(sql, sizeof(sql), "INSERT INTO t VALUES(%d, 'the value of row %d')", i, i);
		check(!sqlite3_exec(db, sql, NULL, NULL, NULL), sql);
	}
	show(row, INSERTS);
	sqlite3_close(db);
}

int main(int argc, char **argv)
{
	check(argc == 3 && !chdir(argv[1]), "fsrows FOLDER ARCHIVE");
	names();
	writes();
	untar(argv[2]);
	sqlite("sqlite_insert_journal", "DELETE");
	sqlite("sqlite_insert_wal", "WAL");
	return 0;
}
