/* SPDX-License-Identifier: MIT
 *
 * Between the files of device: the folders of the machine's nodes, which those of CPUs and of memory are linked to.
 */
#ifndef DEVICE_PRIV_H
#define DEVICE_PRIV_H

#include <arch/numa.h>
#include <core/attr.h>

int node_dirs_make(struct attr_dir *system);
/* dir/nodeM -> the node's folder, and in it name -> dir. name must stay. */
int node_link(unsigned node, struct attr_dir *dir, const char *name);

#endif
