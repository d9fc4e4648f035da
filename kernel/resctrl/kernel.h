/* SPDX-License-Identifier: MIT
 *
 * Between the files of the kernel's half. One machine has one resctrl; it exists from boot on where a back end does.
 */
#ifndef RESCTRL_KERNEL_H
#define RESCTRL_KERNEL_H

#include <resctrl/cat.h>
#include <resctrl/colour.h>
#include <task/mutex.h>

struct task;

extern struct resctrl *resctrl_machine; /* NULL: no back end */
extern struct mutex resctrl_lock;       /* RANK_RESCTRL: around every call of the core */

/* mount.c */
int resctrl_fs_init(void);

/* place.c. -ENODEV: no cache has colours here. */
int place_create(struct resctrl_backend **out);
void place_again(void); /* tasks changed their class: looks for pages of wrong colours, soon */

/* host.c: at mount and unmount; the context switch's hook and what else costs something. */
void host_begin(void);
void host_quiet(void); /* before host_end, without resctrl_lock: what runs by itself has stopped */
void host_end(void);
unsigned host_class_of_group(u16 group); /* of a task of that group that is not running, CPUs aside */

#endif
