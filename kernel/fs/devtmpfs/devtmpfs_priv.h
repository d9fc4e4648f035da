/* SPDX-License-Identifier: MIT
 *
 * devtmpfs: its two files.
 */
#ifndef DEVTMPFS_PRIV_H
#define DEVTMPFS_PRIV_H

void memory_devices_init(void);

#endif
