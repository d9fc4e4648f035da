/* SPDX-License-Identifier: MIT
 *
 * Between the files of tenants.
 */
#ifndef TENANT_PRIV_H
#define TENANT_PRIV_H

#include <task/tenant.h>

void tenant_protect_children(struct tenant *t, bool is_top); /* the tree held */
void tenant_note_peak(struct share *s, s64 use);
void tenant_take_back(struct tenant *from, struct tenant *to, enum resource r, u64 n); /* up to, without, `to` */

#endif
