/* SPDX-License-Identifier: MIT
 *
 * Pressure: how much of the time tasks of a tenant lose because a resource is short. "some": at least one waits;
 * "full": nobody gets anything done meanwhile. Unused it costs a patched-out branch: measuring begins when somebody
 * first looks at a tenant's pressure, or asks to be told. Source of the formats: Linux,
 * Documentation/accounting/psi.rst.
 *
 * Threading: show and trigger calls sleep; marking is for current.
 */
#ifndef TASK_PSI_H
#define TASK_PSI_H

#include <core/static_branch.h>
#include <lib/printf.h>
#include <task/wait.h>

enum psi_kind { PSI_IO, PSI_MEMORY, PSI_CPU, PSI_TASK_KINDS, PSI_GPU = PSI_TASK_KINDS, PSI_KINDS };

struct rq;
struct task;
struct tenant;
struct psi_trigger;

/* What of a tenant does what on one CPU: under that CPU's run queue lock. */
struct psi_cpu {
	u16 waiting, stalled, runnable, stalled_runnable, running; /* tasks: for I/O, for memory, ... */
	u8 state;                                                  /* bit kind * 2 + full: now so */
	u64 since, ns[PSI_TASK_KINDS * 2], busy_ns;                /* busy: some task is there at all */
};

/* Of a tenant and all below it at devices that serve one at a time, GPUs: psi_lock of psi.c. */
struct psi_device {
	u32 waiting, served; /* users */
	u64 since, ns[2];
};

DECLARE_STATIC_KEY(psi_key);

/* current waits for memory (reclaims, reads from swap) from begin to end; may nest. */
void psi_stall_begin(void);
void psi_stall_end(void);
/* current's next sleeps are for I/O. */
void psi_io_begin(void);
void psi_io_end(void);

/* Of t: so many more (or fewer) users wait for a GPU while it serves others, and are served. Any context; after psi_key
 * says that somebody looks. */
void psi_device_change(struct tenant *t, s32 waiting, s32 served);

int __must_check psi_show(struct tenant *t, enum psi_kind k, struct strbuf *out); /* -ENOMEM */
/* text: "some|full THRESHOLD_US WINDOW_US". -EINVAL, -ENOMEM. */
int __must_check psi_trigger_create(struct tenant *t, enum psi_kind k, char *text, struct psi_trigger **out);
void psi_trigger_free(struct psi_trigger *tr);
struct waitq *psi_trigger_wait(struct psi_trigger *tr);
bool psi_trigger_take(struct psi_trigger *tr); /* it has fired since the last call; its tenant is gone: always */

/* ---- for tenant.c and the scheduler, with the run queue locked ---- */
void psi_tenant_gone(struct tenant *t);
void psi_change(struct rq *q, struct task *t, u8 clear, u8 set, u64 now); /* PSI_T_* */
#define PSI_T_WAITING  BIT(0)
#define PSI_T_STALLED  BIT(1)
#define PSI_T_RUNNABLE BIT(2)
#define PSI_T_RUNNING  BIT(3)
#define PSI_T_ALL      15

#endif
