/* SPDX-License-Identifier: MIT
 *
 * Problem: a worker that was taken over can still burn processor time and memory of the machine, and who did it should
 * be seen where people look for that.
 *
 * Idea: each worker lives in a control group of its own, a folder ostrom-gpu-TENANT in the folder that we were given
 * (--cgroup), or else in our own group, if we may make folders there. Where the controllers are on, it gets limits:
 * memory for all that may be charged and for the driver besides, and a number of threads. With --cgroup they are turned
 * on, which Linux allows in a group without processes (systemd: Delegate=yes, and DelegateSubgroup= for the server).
 *
 * Contract: gpu.h; cgroup v2. What cannot be had is left out silently: the worker's other confinement does not depend
 * on it. Locks: none; called from the broker's loop.
 */
#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>
#include "gpu.h"

#define DRIVER_BYTES (512ull << 20) /* the renderer, the driver and what they allocate beyond the charge rule */
#define THREADS_MAX  "256"

static void set(const char *folder, const char *name, const char *text)
{
	char path[352];

	snprintf(path, sizeof(path), "%s/%s", folder, name);
	write_text(path, text);
}

/* Our own group's folder in the unified hierarchy. */
static bool own_group(char *path, size_t size)
{
	static const char *const roots[] = { "/sys/fs/cgroup", "/sys/fs/cgroup/unified" };
	char line[256], own[200] = "";
	struct stat st;
	FILE *f = fopen("/proc/self/cgroup", "re");

	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "0::%199[^\n]", own) == 1)
			break;
	if (f)
		fclose(f);
	for (u32 i = 0; own[0] && i < ARRAY_SIZE(roots); i++) {
		char probe[300];

		snprintf(probe, sizeof(probe), "%s/cgroup.procs", roots[i]);
		snprintf(path, size, "%s%s", roots[i], own);
		if (!stat(probe, &st) && !stat(path, &st))
			return true;
	}
	return false;
}

void cgroup_open(struct broker *b)
{
	static char own[256];

	if (b->cgroup) {
		set(b->cgroup, "cgroup.subtree_control", "+memory");
		set(b->cgroup, "cgroup.subtree_control", "+pids");
		set(b->cgroup, "cgroup.subtree_control", "+cpu");
	} else if (own_group(own, sizeof(own))) {
		b->cgroup = own;
	}
}

static bool folder_of(const struct tenant *t, char *path, size_t size)
{
	if (!t->broker->cgroup)
		return false;
	snprintf(path, size, "%s/ostrom-gpu-%s", t->broker->cgroup, t->name);
	return true;
}

void cgroup_create(struct tenant *t)
{
	char path[320];

	if (!folder_of(t, path, sizeof(path)) || (mkdir(path, 0755) && errno != EEXIST))
		return;
	set(path, "pids.max", THREADS_MAX);
	cgroup_limit(t);
}

void cgroup_limit(const struct tenant *t)
{
	char path[320], bytes[24];

	if (!folder_of(t, path, sizeof(path)))
		return;
	snprintf(bytes, sizeof(bytes), "%llu", (unsigned long long)(t->account.limits.memory_bytes + DRIVER_BYTES));
	set(path, "memory.max", bytes);
}

void cgroup_enter(const struct tenant *t)
{
	char path[320];

	if (folder_of(t, path, sizeof(path)))
		set(path, "cgroup.procs", "0");
}

void cgroup_remove(const struct tenant *t)
{
	char path[320];

	if (folder_of(t, path, sizeof(path)))
		rmdir(path);
}
