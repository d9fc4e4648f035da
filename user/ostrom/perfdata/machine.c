/* SPDX-License-Identifier: MIT
 *
 * Problem: a report on another machine, next week, must know where the recording was made: CPUs, nodes, kernel, formats
 * of tracepoints.
 *
 * Idea: each feature section is a few files of /proc, /sys and tracefs in the layout that perf's header.c reads
 * (documented in perf.data-file-format.txt). A file that cannot be read leaves its section out; no report depends on
 * all of them.
 *
 * Contract: writer.h. Locks: none.
 */
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/utsname.h>
#include <unistd.h>
#include "ksyms.h"
#include "memory.h"
#include "writer.h"

/* A small file's text, terminated; "" if it cannot be read. The caller frees. */
static char *read_text(const char *path, size_t *bytes)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	size_t n = 0, room = 1 << 16;
	char *buf = malloc(room + 1);
	ssize_t got = 1;

	while (buf && fd >= 0 && got > 0) {
		if (n == room) {
			char *grown = realloc(buf, (room *= 2) + 1);

			if (!grown)
				break;
			buf = grown;
		}
		got = read(fd, buf + n, room - n);
		n += max(got, (ssize_t)0);
	}
	if (fd >= 0)
		close(fd);
	if (buf)
		buf[n] = 0;
	if (bytes)
		*bytes = n;
	return buf;
}

static void put_file_value(struct pw *w, enum pd_feature feat, const char *path, const char *key)
{
	char *text = read_text(path, NULL), *p = text ? strstr(text, key) : NULL;

	if (p) {
		p += strlen(key);
		p += strspn(p, " \t:");
		p[strcspn(p, "\n")] = 0;
		pw_put_string(w, feat, p);
	}
	free(text);
}

static u64 number_in(const char *path, const char *key)
{
	char *text = read_text(path, NULL), *p = text ? strstr(text, key) : NULL;
	u64 v = 0;

	if (p)
		v = strtoull(p + strlen(key) + strspn(p + strlen(key), " \t:"), NULL, 10);
	free(text);
	return v;
}

static void put_cpuid(struct pw *w)
{
	char *text = read_text("/proc/cpuinfo", NULL);
	char vendor[32] = "", id[96];
	unsigned family = 0, model = 0, stepping = 0;
	char *p;

	if (!text)
		return;
	if ((p = strstr(text, "vendor_id")))
		sscanf(p, "vendor_id : %31s", vendor);
	if ((p = strstr(text, "cpu family")))
		sscanf(p, "cpu family : %u", &family);
	if ((p = strstr(text, "model\t")))
		sscanf(p, "model : %u", &model);
	if ((p = strstr(text, "stepping")))
		sscanf(p, "stepping : %u", &stepping);
	snprintf(id, sizeof(id), "%s,%u,%u,%u", vendor, family, model, stepping);
	pw_put_string(w, PD_FEAT_CPUID, id);
	free(text);
}

static void put_nodes(struct pw *w)
{
	u32 nodes[64], nr = 0;

	for (u32 i = 0; i < ARRAY_SIZE(nodes); i++) {
		char path[96];

		snprintf(path, sizeof(path), "/sys/devices/system/node/node%u", i);
		if (!access(path, F_OK))
			nodes[nr++] = i;
	}
	pw_put_u32(w, PD_FEAT_NUMA_TOPOLOGY, max(nr, 1u));
	for (u32 i = 0; i < nr; i++) {
		char path[96];
		char *cpus;

		snprintf(path, sizeof(path), "/sys/devices/system/node/node%u/meminfo", nodes[i]);
		pw_put_u32(w, PD_FEAT_NUMA_TOPOLOGY, nodes[i]);
		pw_put_u64(w, PD_FEAT_NUMA_TOPOLOGY, number_in(path, "MemTotal"));
		pw_put_u64(w, PD_FEAT_NUMA_TOPOLOGY, number_in(path, "MemFree"));
		snprintf(path, sizeof(path), "/sys/devices/system/node/node%u/cpulist", nodes[i]);
		cpus = read_text(path, NULL);
		if (cpus)
			cpus[strcspn(cpus, "\n")] = 0;
		pw_put_string(w, PD_FEAT_NUMA_TOPOLOGY, cpus ? cpus : "");
		free(cpus);
	}
	if (!nr) { /* a kernel without NUMA: one node of everything */
		char cpus[32];

		snprintf(cpus, sizeof(cpus), "0-%ld", sysconf(_SC_NPROCESSORS_CONF) - 1);
		pw_put_u32(w, PD_FEAT_NUMA_TOPOLOGY, 0);
		pw_put_u64(w, PD_FEAT_NUMA_TOPOLOGY, number_in("/proc/meminfo", "MemTotal"));
		pw_put_u64(w, PD_FEAT_NUMA_TOPOLOGY, number_in("/proc/meminfo", "MemFree"));
		pw_put_string(w, PD_FEAT_NUMA_TOPOLOGY, cpus);
	}
}

/* Memory blocks are links in a node's folder: memory3 is the fourth. */
static u64 read_blocks(u32 node, u64 *bits, u64 room)
{
	char path[96];
	u64 nr = 0;
	DIR *d;

	snprintf(path, sizeof(path), "/sys/devices/system/node/node%u", node);
	d = opendir(path);
	for (struct dirent *e; d && (e = readdir(d));) {
		u64 n;

		if (sscanf(e->d_name, "memory%" SCNu64, &n) == 1 && n < room) {
			bits[n / 64] |= 1ull << n % 64;
			nr = max(nr, n + 1);
		}
	}
	if (d)
		closedir(d);
	return nr;
}

static void put_memory(struct pw *w)
{
	char *size = read_text("/sys/devices/system/memory/block_size_bytes", NULL);
	u64 room = 1 << 16, *bits = calloc(PD_NODES, room / 8); /* so many for each node */
	u64 nr[PD_NODES], nodes = 0;

	for (u32 i = 0; bits && i < PD_NODES; i++) {
		nr[i] = read_blocks(i, bits + i * room / 64, room);
		nodes += nr[i] != 0;
	}
	if (size && bits && nodes) {
		pw_put_u64(w, PD_FEAT_MEM_TOPOLOGY, 1);
		pw_put_u64(w, PD_FEAT_MEM_TOPOLOGY, strtoull(size, NULL, 16));
		pw_put_u64(w, PD_FEAT_MEM_TOPOLOGY, nodes);
	}
	for (u32 i = 0; size && bits && i < PD_NODES; i++) {
		if (!nr[i])
			continue;
		pw_put_u64(w, PD_FEAT_MEM_TOPOLOGY, i);
		pw_put_u64(w, PD_FEAT_MEM_TOPOLOGY, nr[i]);
		pw_put_u64(w, PD_FEAT_MEM_TOPOLOGY, nr[i]); /* of the node, and of the bit map */
		pw_put(w, PD_FEAT_MEM_TOPOLOGY, bits + i * room / 64, (nr[i] + 63) / 64 * 8);
	}
	free(bits);
	free(size);
}

/* The kernel's build id, as one record of the BUILD_ID section. */
static void put_kernel_build_id(struct pw *w)
{
	struct {
		struct perf_event_header h;
		s32 pid;
		u8 id[20], id_bytes, pad[3];
		char name[24];
	} r = { .h = { PD_BUILD_ID, PERF_RECORD_MISC_KERNEL | (1 << 15), sizeof(r) },
		.pid = -1,
		.name = "[kernel.kallsyms]" };

	r.id_bytes = kernel_running_id(r.id);
	if (r.id_bytes)
		pw_put(w, PD_FEAT_BUILD_ID, &r, sizeof(r));
}

void pw_machine_features(struct pw *w, int argc, char **argv)
{
	struct utsname u;

	if (!uname(&u)) {
		pw_put_string(w, PD_FEAT_HOSTNAME, u.nodename);
		pw_put_string(w, PD_FEAT_OSRELEASE, u.release);
		pw_put_string(w, PD_FEAT_ARCH, u.machine);
	}
	pw_put_string(w, PD_FEAT_VERSION, "ostrom");
	pw_put_u32(w, PD_FEAT_NRCPUS, sysconf(_SC_NPROCESSORS_CONF));
	pw_put_u32(w, PD_FEAT_NRCPUS, sysconf(_SC_NPROCESSORS_ONLN));
	put_file_value(w, PD_FEAT_CPUDESC, "/proc/cpuinfo", "model name");
	put_cpuid(w);
	pw_put_u64(w, PD_FEAT_TOTAL_MEM, number_in("/proc/meminfo", "MemTotal"));
	pw_put_u32(w, PD_FEAT_CMDLINE, argc);
	for (int i = 0; i < argc; i++)
		pw_put_string(w, PD_FEAT_CMDLINE, argv[i]);
	put_nodes(w);
	put_memory(w);
	put_kernel_build_id(w);
	pw_event_desc(w);
}

/* ---- tracepoint formats ---- */

static void put_sized_file(struct pw *w, const char *dir, const char *name, bool wide)
{
	char path[512];
	size_t n;
	char *text;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	text = read_text(path, &n);
	n = text ? n : 0;
	if (wide)
		pw_put_u64(w, PD_FEAT_TRACING_DATA, n);
	else
		pw_put_u32(w, PD_FEAT_TRACING_DATA, n);
	pw_put(w, PD_FEAT_TRACING_DATA, text, n);
	free(text);
}

static bool first_of_system(const struct pw *w, u32 i)
{
	size_t n = strcspn(w->events[i].name, ":") + 1;

	if (w->events[i].attr.type != PERF_TYPE_TRACEPOINT)
		return false;
	for (u32 k = 0; k < i; k++)
		if (w->events[k].attr.type == PERF_TYPE_TRACEPOINT && !strncmp(w->events[k].name, w->events[i].name, n))
			return false;
	return true;
}

static void put_system(struct pw *w, const char *tracefs, u32 first)
{
	const char *name = w->events[first].name;
	size_t n = strcspn(name, ":");
	u32 count = 0;

	pw_put(w, PD_FEAT_TRACING_DATA, name, n);
	pw_put(w, PD_FEAT_TRACING_DATA, "", 1);
	for (u32 i = first; i < w->nr_events; i++)
		count += !strncmp(w->events[i].name, name, n + 1);
	pw_put_u32(w, PD_FEAT_TRACING_DATA, count);
	for (u32 i = first; i < w->nr_events; i++) {
		char file[256];

		if (strncmp(w->events[i].name, name, n + 1))
			continue;
		snprintf(file, sizeof(file), "events/%.*s/%s/format", (int)n, name, w->events[i].name + n + 1);
		put_sized_file(w, tracefs, file, true);
	}
}

void pw_tracing_data(struct pw *w, const char *tracefs)
{
	static const char magic[] = "\x17\x08\x44tracing0.6\0\0\x08";
	u32 systems = 0;

	for (u32 i = 0; i < w->nr_events; i++)
		systems += first_of_system(w, i);
	if (!systems)
		return;
	pw_put(w, PD_FEAT_TRACING_DATA, magic, sizeof(magic) - 1);
	pw_put_u32(w, PD_FEAT_TRACING_DATA, sysconf(_SC_PAGESIZE));
	pw_put(w, PD_FEAT_TRACING_DATA, "header_page", 12);
	put_sized_file(w, tracefs, "events/header_page", true);
	pw_put(w, PD_FEAT_TRACING_DATA, "header_event", 13);
	put_sized_file(w, tracefs, "events/header_event", true);
	pw_put_u32(w, PD_FEAT_TRACING_DATA, 0);
	pw_put_u32(w, PD_FEAT_TRACING_DATA, systems);
	for (u32 i = 0; i < w->nr_events; i++)
		if (first_of_system(w, i))
			put_system(w, tracefs, i);
	pw_put_u32(w, PD_FEAT_TRACING_DATA, 0); /* kallsyms: perf reads the running kernel's */
	put_sized_file(w, tracefs, "printk_formats", false);
	put_sized_file(w, tracefs, "saved_cmdlines", true);
}
