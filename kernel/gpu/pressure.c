/* SPDX-License-Identifier: MIT
 *
 * Problem: whoever shares a GPU wants to know how much of the time a control group waits for it, as for CPU, memory
 * and I/O.
 *
 * Idea: a leaf of the scheduler (the clients of one group, or one virtual GPU) waits if it has jobs queued and none at
 * the device: the device serves others, or a cap holds it. Its own second frame behind its first is no pressure. After
 * each step of the device the leaves whose state has changed tell the tenant tree, where task/psi.c adds up the time:
 * "some" of a group: a leaf of it, or below it, waits; "full": and none of them is served.
 *
 * Contract: gpu_priv.h. While nobody looks at any pressure it costs a patched-out branch; measuring begins with the
 * next step after somebody has.
 *
 * Locks: dev->lock.
 */
#include <core/log.h>
#include "gpu_priv.h"

static void tell(struct gpu_queue_leaf *l, struct tenant *t)
{
	bool served = l->entity.running, waits = l->entity.queued && !served;

	if (waits == l->told_waits && served == l->told_served)
		return;
	psi_device_change(t, waits - l->told_waits, served - l->told_served);
	l->told_waits = waits;
	l->told_served = served;
}

void gpu_pressure_update(struct gpu_dev *d)
{
	struct gpu_node *n;
	struct gpu_client *c;

	assert(mutex_is_held(&d->lock));
	if (!static_branch(&psi_key))
		return;
	list_for_each_entry (n, &d->nodes, link)
		tell(&n->leaf, n->tenant);
	list_for_each_entry (c, &d->clients, link)
		if (c->has_own_leaf)
			tell(&c->own, c->tenant);
}
