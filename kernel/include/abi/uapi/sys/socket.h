/* SPDX-License-Identifier: MIT
 *
 * What <linux/if.h> takes from a C library: an address in its general form (socket(2)).
 */
#ifndef ABI_SYS_SOCKET_H
#define ABI_SYS_SOCKET_H

#include <linux/socket.h>

struct sockaddr {
	__kernel_sa_family_t sa_family;
	char sa_data[14];
};

#endif
