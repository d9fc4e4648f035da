/* SPDX-License-Identifier: MIT
 *
 * Problem: samples carry the number of a cgroup; who reads them later needs its name.
 *
 * Idea: an event that asks for it, a cgroup made while it listens: the ring has one record, with the folder's inode
 * number and its path.
 *
 * Contract: abi.h. Root; cgroup2 is mounted if it is not yet.
 *
 * Locks: none.
 */
#include <fcntl.h>
#include <linux/perf_event.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include "abi.h"

static char root[256];

static int find_root(void)
{
	char line[1024], kind[64];
	FILE *f = fopen("/proc/mounts", "re");
	int found = 0;

	while (f && !found && fgets(line, sizeof(line), f))
		found = sscanf(line, "%*s %255s %63s", root, kind) == 2 && !strcmp(kind, "cgroup2");
	if (f)
		fclose(f);
	if (found)
		return 0;
	strcpy(root, "/tmp/abi-cgroup");
	mkdir(root, 0755);
	return mount("none", root, "cgroup2", 0, NULL);
}

CASE(named)
{
	struct perf_event_attr a = { .type = PERF_TYPE_SOFTWARE,
				     .size = sizeof(a),
				     .config = PERF_COUNT_SW_DUMMY,
				     .sample_period = 1,
				     .sample_type = PERF_SAMPLE_TID | PERF_SAMPLE_TIME,
				     .sample_id_all = 1,
				     .cgroup = 1 };
	int fd = (int)syscall(SYS_perf_event_open, &a, 0, -1, -1, 0), found = 0;
	struct perf_event_mmap_page *page = mmap(NULL, 2 * 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	char path[320];
	struct stat st;

	want(fd >= 0 && page != MAP_FAILED && !find_root());
	snprintf(path, sizeof(path), "%s/abi-perf-%d", root, (int)getpid());
	want(!mkdir(path, 0755) && !stat(path, &st));
	rmdir(path);
	for (uint64_t at = 0; at + 16 <= page->data_head;) {
		const struct perf_event_header *h = (const void *)((const char *)page + 4096 + at);
		const uint64_t *id = (const uint64_t *)(h + 1);

		if (h->type == PERF_RECORD_CGROUP)
			found += *id == st.st_ino && !strcmp((const char *)(id + 1), strrchr(path, '/')) &&
				 h->size % 8 == 0;
		at += h->size;
	}
	want_eq(found, 1);
	close(fd);
}

int main(void)
{
	RUN(named);
	return abi_status();
}
