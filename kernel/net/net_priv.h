/* SPDX-License-Identifier: MIT
 *
 * Between the files of the socket layer and the devices.
 */
#ifndef NET_PRIV_H
#define NET_PRIV_H

struct net;

/* loopback.c */
int __must_check net_loopback_add(struct net *n);
/* device.c: unregisters what n owns; devices of hardware go back to the first namespace. Waits for readers. */
void net_devices_remove(struct net *n);

#endif
