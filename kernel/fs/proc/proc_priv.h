/* SPDX-License-Identifier: MIT
 *
 * Between the files of proc: tables of text files of the root and of a process, and the tasks that inodes stand for.
 *
 * Ownership: an inode below /proc/PID holds its struct pid, never a task: a folder of a dead process stays openable and
 * its files answer ESRCH.
 */
#ifndef PROC_PRIV_H
#define PROC_PRIV_H

#include <mm/mm.h>
#include <process/process.h>
#include <vfs/textfile.h>

void proc_root_init(void); /* registers the files of the root */

struct task_file {
	const char *name;
	u16 mode; /* type included: S_IFREG | 0444, S_IFLNK | 0777 */
	/* Regular files. */
	int (*show)(struct task *t, struct strbuf *out);
	int (*set)(struct task *t, char *text, size_t len);
	/* Links: the path behind them, counted. */
	int (*follow)(struct task *t, struct path *out);
	const struct file_ops *ops; /* instead of show and set */
	bool mounts;                /* poll tells when the tree of mounts changes */
};
extern const struct task_file proc_task_files[]; /* ends with a NULL name */

struct task *proc_task_of(const struct inode *i); /* counted; NULL: has ended */

/* ---- memory.c, and what it needs of task.c ---- */
extern const struct file_ops proc_mem_ops, proc_pagemap_ops;
int proc_show_auxv(struct task *t, struct strbuf *out);
int proc_show_smaps(struct task *t, struct strbuf *out);
int proc_show_smaps_rollup(struct task *t, struct strbuf *out);
int proc_show_numa_maps(struct task *t, struct strbuf *out);
const char *proc_vma_label(const struct vma *v, struct mapping_name *name);            /* maps' last word, or NULL */
void proc_add_vma(struct strbuf *out, const struct vma *v, struct mapping_name *name); /* a line of maps */

#define KIB(pages) ((unsigned long long)(pages) << (PAGE_SHIFT - 10))
#define HZ         100 /* USER_HZ: what times in /proc count */
#define TICKS(ns)  ((unsigned long long)((ns) / (NSEC_PER_SEC / HZ)))

#endif
