/* SPDX-License-Identifier: MIT
 *
 * Problem: a recording starts in the middle of the life of processes; names and mappings that they have already would
 * be unknown in the report.
 *
 * Idea: write FORK, COMM and MMAP2 records for what /proc shows, with time 0, as if the kernel had told. The FORK
 * carries the bit that says "do not copy the parent's mappings", since the real ones follow.
 *
 * Contract: recorder_priv.h. A process that ends meanwhile is left out. Locks: none.
 */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>
#include "recorder_priv.h"

struct rec {
	struct perf_event_header h;
	u8 body[4096 + 256];
};

static void emit(struct pw *w, struct rec *r, u32 type, u16 misc, size_t body, unsigned trailer)
{
	size_t size = sizeof(r->h) + ALIGN_UP(body, (size_t)8) + trailer;

	memset(r->body + body, 0, size - sizeof(r->h) - body);
	r->h = (struct perf_event_header){ type, misc, size };
	pw_write(w, r, size);
}

static size_t put_name(u8 *p, const char *name)
{
	size_t n = min(strlen(name), (size_t)4000);

	memcpy(p, name, n);
	p[n] = 0;
	return n + 1;
}

/* The address of the kernel's first symbol; 0 if hidden. */
static u64 kernel_start(u64 *end)
{
	FILE *f = fopen("/proc/kallsyms", "re");
	char line[256], name[128];
	u64 start = 0;
	unsigned long long addr;

	*end = 0;
	while (f && fgets(line, sizeof(line), f) && !(start && *end)) {
		if (sscanf(line, "%llx %*c %127s", &addr, name) != 2)
			continue;
		if (!strcmp(name, "_text"))
			start = addr;
		else if (!strcmp(name, "_etext"))
			*end = addr;
	}
	if (f)
		fclose(f);
	return start;
}

void synth_kernel(struct pw *w, unsigned trailer)
{
	struct rec r;
	u64 end, start = kernel_start(&end);
	u64 words[4] = { UINT32_MAX, start, end > start ? end - start : 1ull << 30, start };

	if (!start)
		return;
	memcpy(r.body, words, sizeof(words)); /* pid -1, tid 0 */
	emit(w, &r, PERF_RECORD_MMAP, PERF_RECORD_MISC_KERNEL,
	     sizeof(words) + put_name(r.body + sizeof(words), "[kernel.kallsyms]_text"), trailer);
}

static bool read_status(s32 pid, s32 tid, char *comm, s32 *ppid)
{
	char path[64], line[256];
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/status", pid, tid);
	f = fopen(path, "re");
	if (!f)
		return false;
	*comm = 0;
	*ppid = 0;
	while (fgets(line, sizeof(line), f)) {
		if (!strncmp(line, "Name:\t", 6))
			snprintf(comm, 16, "%.*s", (int)strcspn(line + 6, "\n"), line + 6);
		if (sscanf(line, "PPid:\t%d", ppid) == 1)
			break;
	}
	fclose(f);
	return *comm;
}

static void synth_thread(struct pw *w, s32 pid, s32 tid, unsigned trailer)
{
	struct rec r;
	char comm[16];
	s32 ppid;

	if (!read_status(pid, tid, comm, &ppid))
		return;
	if (pid != tid)
		ppid = pid;
	memcpy(r.body, (s32[]){ pid, ppid, tid, ppid, 0, 0 }, 24);
	emit(w, &r, PERF_RECORD_FORK, 1 << 13, 24, trailer);
	memcpy(r.body, (s32[]){ pid, tid }, 8);
	emit(w, &r, PERF_RECORD_COMM, 0, 8 + put_name(r.body + 8, comm), trailer);
}

struct map_line {
	u64 start, end, offset, inode;
	unsigned major, minor;
	char perms[8], path[4096];
};

static void synth_map(struct pw *w, s32 pid, const struct map_line *m, unsigned trailer)
{
	struct rec r;
	bool exec = m->perms[2] == 'x';
	u32 prot = (m->perms[0] == 'r') | (m->perms[1] == 'w') << 1 | exec << 2;
	u32 flags = m->perms[3] == 's' ? 1 : 2; /* MAP_SHARED, MAP_PRIVATE */

	memcpy(r.body, (s32[]){ pid, pid }, 8);
	memcpy(r.body + 8, (u64[]){ m->start, m->end - m->start, m->offset }, 24);
	memcpy(r.body + 32, (u32[]){ m->major, m->minor }, 8);
	memcpy(r.body + 40, (u64[]){ m->inode, 0 }, 16);
	memcpy(r.body + 56, (u32[]){ prot, flags }, 8);
	emit(w, &r, PERF_RECORD_MMAP2, PERF_RECORD_MISC_USER | (exec ? 0 : PERF_RECORD_MISC_MMAP_DATA),
	     64 + put_name(r.body + 64, *m->path ? m->path : "//anon"), trailer);
}

static void synth_maps(struct pw *w, s32 pid, bool data_maps, unsigned trailer)
{
	char path[64], line[4400];
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/maps", pid);
	f = fopen(path, "re");
	while (f && fgets(line, sizeof(line), f)) {
		struct map_line m = { 0 };
		unsigned long long start, end, offset, inode;

		if (sscanf(line, "%llx-%llx %7s %llx %x:%x %llu %4095[^\n]", &start, &end, m.perms, &offset, &m.major,
			   &m.minor, &inode, m.path) < 7)
			continue;
		m.start = start;
		m.end = end;
		m.offset = offset;
		m.inode = inode;
		if (m.perms[2] == 'x' || data_maps)
			synth_map(w, pid, &m, trailer);
	}
	if (f)
		fclose(f);
}

void synth_process(struct pw *w, s32 pid, bool data_maps, unsigned trailer)
{
	char path[64];
	struct dirent *d;
	DIR *dir;

	synth_thread(w, pid, pid, trailer);
	synth_maps(w, pid, data_maps, trailer);
	snprintf(path, sizeof(path), "/proc/%d/task", pid);
	dir = opendir(path);
	while (dir && (d = readdir(dir))) {
		s32 tid = atoi(d->d_name);

		if (tid > 0 && tid != pid)
			synth_thread(w, pid, tid, trailer);
	}
	if (dir)
		closedir(dir);
}

void synth_all(struct pw *w, bool data_maps, unsigned trailer)
{
	DIR *dir = opendir("/proc");
	struct dirent *d;

	while (dir && (d = readdir(dir)))
		if (atoi(d->d_name) > 0)
			synth_process(w, atoi(d->d_name), data_maps, trailer);
	if (dir)
		closedir(dir);
}
