/* SPDX-License-Identifier: MIT
 *
 * The records of a recording as they are, in the form of perf's -D.
 */
#ifndef PERFDATA_DUMP_H
#define PERFDATA_DUMP_H

#include "out.h"
#include "perfdata.h"

/* 0 or -errno. A reader that has seen enough (a closed pipe) is no error. */
int pd_dump(struct pd_file *f, struct out *o);

#endif
