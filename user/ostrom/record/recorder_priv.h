/* SPDX-License-Identifier: MIT
 *
 * What recorder.c and synth.c share.
 */
#ifndef RECORD_RECORDER_PRIV_H
#define RECORD_RECORDER_PRIV_H

#include "perfdata/writer.h"
#include "recorder.h"

/* Records for what existed before the recording: the kernel's mapping, threads, names, mappings. */
void synth_kernel(struct pw *w, unsigned trailer_bytes);
void synth_process(struct pw *w, s32 pid, bool data_maps, unsigned trailer_bytes);
void synth_all(struct pw *w, bool data_maps, unsigned trailer_bytes);

#endif
