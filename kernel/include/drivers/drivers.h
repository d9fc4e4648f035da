/* SPDX-License-Identifier: MIT
 *
 * Boot: each driver says that it exists, before the buses are scanned.
 */
#ifndef DRIVERS_DRIVERS_H
#define DRIVERS_DRIVERS_H

void virtio_blk_register(void);
void nvme_register(void);
void nullblk_init(void); /* null-block devices named by nullblk= on the command line */

#endif
