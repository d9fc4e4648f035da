/* SPDX-License-Identifier: MIT
 *
 * Problem: ipcs(1) and administrators look at System V objects, and set limits, through files.
 *
 * Idea: tables in the attribute tree: /proc/sysvipc has a line an object of the reader's namespace; /proc/sys/kernel
 * and /proc/sys/fs/mqueue have the namespace's limits, each row an offset into struct ipc_ns.
 *
 * Contract: proc_sysvipc(5), proc_sys_kernel(5), mq_overview(7).
 *
 * Locks: none: limits are single words.
 */
#include <asm/msgbuf.h>
#include <asm/sembuf.h>
#include <asm/shmbuf.h>
#include <core/attr.h>
#include <core/init.h>
#include <lib/printf.h>
#include "ipc_priv.h"

/* ---- /proc/sysvipc ------------------------------------------------------------------------------------------- */

static void shm_line(struct ipc_object *o, void *arg)
{
	struct shmid64_ds d;
	u64 resident = shm_fill(o, &d);

	strbuf_add(arg, "%10d %10d  %4o %21lu %5u %5u  %5lu %5u %5u %5u %5u %10lu %10lu %10lu %21llu %21u\n", o->key,
		   o->id, o->mode, (ulong)d.shm_segsz, d.shm_cpid, d.shm_lpid, (ulong)d.shm_nattch, d.shm_perm.uid,
		   d.shm_perm.gid, d.shm_perm.cuid, d.shm_perm.cgid, (ulong)d.shm_atime, (ulong)d.shm_dtime,
		   (ulong)d.shm_ctime, (unsigned long long)resident, 0U);
}

static void sem_line(struct ipc_object *o, void *arg)
{
	struct semid64_ds d;

	sem_fill(o, &d);
	strbuf_add(arg, "%10d %10d  %4o %10lu %5u %5u %5u %5u %10lu %10lu\n", o->key, o->id, o->mode,
		   (ulong)d.sem_nsems, d.sem_perm.uid, d.sem_perm.gid, d.sem_perm.cuid, d.sem_perm.cgid,
		   (ulong)d.sem_otime, (ulong)d.sem_ctime);
}

static void msg_line(struct ipc_object *o, void *arg)
{
	struct msqid64_ds d;

	msg_fill(o, &d);
	strbuf_add(arg, "%10d %10d  %4o  %10lu %10lu %5u %5u %5u %5u %5u %5u %10lu %10lu %10lu\n", o->key, o->id,
		   o->mode, d.msg_cbytes, d.msg_qnum, d.msg_lspid, d.msg_lrpid, d.msg_perm.uid, d.msg_perm.gid,
		   d.msg_perm.cuid, d.msg_perm.cgid, (ulong)d.msg_stime, (ulong)d.msg_rtime, (ulong)d.msg_ctime);
}

static int show_table(struct attr_dir *dir, const struct attr *a, struct strbuf *out)
{
	static void (*const lines[])(struct ipc_object *, void *) = { shm_line, sem_line, msg_line };
	static const char *const heads[] = {
		"       key      shmid perms                  size  cpid  lpid nattch   uid   gid  cuid  cgid      "
		"atime      "
		"dtime      ctime                   rss                  swap\n",
		"       key      semid perms      nsems   uid   gid  cuid  cgid      otime      ctime\n",
		"       key      msqid perms      cbytes       qnum lspid lrpid   uid   gid  cuid  cgid      stime     "
		" rtime      "
		"ctime\n"
	};

	strbuf_add(out, "%s", heads[a->data]);
	ipc_for_each(a->data, lines[a->data], out);
	return 0;
}

/* ---- limits ---------------------------------------------------------------------------------------------------- */

static void *field(const struct attr *a)
{
	return (char *)ipc_ns_current() + a->data;
}

static int show32(struct attr_dir *dir, const struct attr *a, struct strbuf *out)
{
	strbuf_add(out, "%d\n", *(int *)field(a));
	return 0;
}

static int show64(struct attr_dir *dir, const struct attr *a, struct strbuf *out)
{
	strbuf_add(out, "%llu\n", *(unsigned long long *)field(a));
	return 0;
}

static char *trim(char *text)
{
	size_t n = strlen(text);

	while (n && (text[n - 1] == '\n' || text[n - 1] == ' ' || text[n - 1] == '\t'))
		text[--n] = '\0';
	while (*text == ' ' || *text == '\t')
		text++;
	return text;
}

static int set32(struct attr_dir *dir, const struct attr *a, char *text, size_t len)
{
	s64 v;
	int err = str_to_s64(trim(text), 0, &v);

	if (err || v < 0 || v > INT32_MAX)
		return -EINVAL;
	WRITE_ONCE(*(u32 *)field(a), v);
	return 0;
}

/* The number of objects cannot be more than there are slots. */
static int set_count(struct attr_dir *dir, const struct attr *a, char *text, size_t len)
{
	u64 v;

	if (str_to_u64(trim(text), 0, &v) || v > IPC_SLOTS)
		return -EINVAL;
	WRITE_ONCE(*(u32 *)field(a), v);
	return 0;
}

static int set64(struct attr_dir *dir, const struct attr *a, char *text, size_t len)
{
	u64 v;

	if (str_to_u64(trim(text), 0, &v))
		return -EINVAL;
	WRITE_ONCE(*(u64 *)field(a), v);
	return 0;
}

static int show_sem(struct attr_dir *dir, const struct attr *a, struct strbuf *out)
{
	struct ipc_ns *ns = ipc_ns_current();

	strbuf_add(out, "%u\t%u\t%u\t%u\n", ns->sem_per_set, ns->sem_total, ns->sem_ops, ns->sem_sets);
	return 0;
}

static int set_sem(struct attr_dir *dir, const struct attr *a, char *text, size_t len)
{
	struct ipc_ns *ns = ipc_ns_current();
	u32 *const fields[] = { &ns->sem_per_set, &ns->sem_total, &ns->sem_ops, &ns->sem_sets };
	u64 v[4];
	unsigned n;

	for (n = 0; n < ARRAY_SIZE(v) && *(text = trim(text)); n++) {
		char *next = text;

		while (*next && *next != '\t' && *next != ' ')
			next++;
		if (*next)
			*next++ = '\0';
		if (str_to_u64(text, 0, &v[n]) || v[n] > (n == 3 ? IPC_SLOTS : INT32_MAX))
			return -EINVAL;
		text = next;
	}
	while (n--)
		WRITE_ONCE(*fields[n], v[n]);
	return 0;
}

#define TABLE(file, kind)                                                                                              \
	&(const struct attr)                                                                                           \
	{                                                                                                              \
		.name = file, .mode = 0444, .show = show_table, .data = kind                                           \
	}
#define LIMIT(file, member, bits, setter)                                                                              \
	&(const struct attr)                                                                                           \
	{                                                                                                              \
		.name = file, .mode = 0644, .show = show##bits, .set = setter, .data = offsetof(struct ipc_ns, member) \
	}

static const struct attr *const tables[] = { TABLE("shm", IPC_SHM), TABLE("sem", IPC_SEM), TABLE("msg", IPC_MSG),
					     NULL };
static const struct attr *const kernel_files[] = {
	LIMIT("shmmax", shm_max_bytes, 64, set64),
	LIMIT("shmall", shm_max_pages, 64, set64),
	LIMIT("shmmni", shm_max, 32, set_count),
	LIMIT("shm_rmid_forced", shm_remove_orphans, 32, set32),
	LIMIT("msgmax", msg_bytes, 32, set32),
	LIMIT("msgmnb", msg_queue_bytes, 32, set32),
	LIMIT("msgmni", msg_queues, 32, set_count),
	LIMIT("shm_next_id", table[IPC_SHM].next_id, 32, set32),
	LIMIT("sem_next_id", table[IPC_SEM].next_id, 32, set32),
	LIMIT("msg_next_id", table[IPC_MSG].next_id, 32, set32),
	&(const struct attr){ .name = "sem", .mode = 0644, .show = show_sem, .set = set_sem },
	NULL,
};
static const struct attr *const mqueue_files[] = {
	LIMIT("queues_max", mq_queues, 32, set32),
	LIMIT("msg_max", mq_messages, 32, set32),
	LIMIT("msgsize_max", mq_bytes, 32, set32),
	LIMIT("msg_default", mq_messages_default, 32, set32),
	LIMIT("msgsize_default", mq_bytes_default, 32, set32),
	NULL,
};

static void files_init(void)
{
	ensure(!attr_folder_add(&attr_proc_root, "sysvipc", tables));
	ensure(!attr_folder_add(&attr_sysctl_root, "kernel", kernel_files));
	ensure(!attr_folder_add(&attr_sysctl_root, "fs/mqueue", mqueue_files));
}
PART_INIT(late, files_init);
