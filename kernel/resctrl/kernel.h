/* SPDX-License-Identifier: MIT
 *
 * Between the files of the kernel's half. One machine has one resctrl; it exists from boot on where a back end does.
 */
#ifndef RESCTRL_KERNEL_H
#define RESCTRL_KERNEL_H

#include <resctrl/cat.h>
#include <resctrl/colour.h>
#include <task/mutex.h>

struct tenant;

extern struct resctrl *resctrl_machine;         /* NULL: no back end */
extern struct resctrl_backend *resctrl_backend; /* its back end */
extern struct mutex resctrl_lock;               /* RANK_RESCTRL: around every call of the core, and of what follows */

/* mount.c */
int resctrl_fs_init(void);
/* Tenants as users: the core counts as mounted until each has called resctrl_end. -ENOMEM. */
int __must_check resctrl_begin(void);
void resctrl_end(void);
/* A group below the root, seen in the file system too, if that is mounted. -EEXIST, -ENOSPC, -EBUSY, -ENOMEM. */
int __must_check resctrl_group_make(const char *name, u16 *group);
void resctrl_group_drop(u16 group);

/* tenant.c */
bool tenant_owns_group(u16 group);

/* place.c. -ENODEV: no cache has colours here. */
int place_create(struct resctrl_backend **out);
void place_again(void); /* tasks changed their class: looks for pages of wrong colours, soon */
/* For cache.stat: the tenant's pages by colour, and how moving goes. No lock. */
void place_show(const struct tenant *t, struct strbuf *out);

/* host.c: at the first and the last user; the context switch's hook and what else costs something. */
void host_begin(void);
void host_end(void);
void host_tasks_changed(u16 group);      /* tasks carry this group's number now */
unsigned host_class_of_group(u16 group); /* of a task of that group that is not running, CPUs aside */

#endif
