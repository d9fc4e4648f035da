/* SPDX-License-Identifier: MIT
 *
 * What arrays tell to listeners; each call stands behind trace_on of its event.
 */
#ifndef MD_GLUE_TRACE_H
#define MD_GLUE_TRACE_H

#include <core/trace.h>
#include "md_glue.h"

enum md_trace_end { MD_TRACE_DONE, MD_TRACE_ENDED, MD_TRACE_GAVE_UP };

void md_trace_member_io(const struct md_array *a, const struct md_disk *d, const struct md_rq *rq);
void md_trace_member_failed(const struct md_array *a, const struct md_disk *d, u32 slot);
void md_trace_sync_start(const struct md_array *a, enum md_sync kind);
void md_trace_sync_end(const struct md_array *a, enum md_sync kind, enum md_trace_end how);

#endif
