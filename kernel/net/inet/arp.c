/* SPDX-License-Identifier: MIT
 *
 * Problem: IPv4 neighbours ask for our link address and answer when we ask for theirs.
 *
 * Idea: one packet form both ways. Whoever asks us has told his own addresses: he is learnt. Others' talk only
 * refreshes what is known already.
 *
 * Contract: inet_priv.h. Format: RFC 826. Announcements (RFC 5227) refresh.
 *
 * Locks: neighbour_lock inside neighbour_heard; RCU.
 */
#include <lib/err.h>
#include <lib/string.h>
#include <linux/if_arp.h>
#include <linux/if_ether.h>

#include "inet_priv.h"

struct arp { /* for Ethernet and IPv4 */
	u16 hardware, protocol;
	u8 hardware_len, protocol_len;
	u16 operation;
	u8 sender_mac[ETHERNET_ADDRESS];
	u32 sender;
	u8 target_mac[ETHERNET_ADDRESS];
	u32 target;
} __packed;

static void send(struct net_device *d, u16 operation, u32 sender, u32 target, const u8 *target_mac, const u8 *to)
{
	struct packet *p = packet_alloc(sizeof(struct arp), ALLOC_ATOMIC);
	struct arp *a;

	if (!p)
		return;
	a = packet_put(p, sizeof(*a));
	*a = (struct arp){ .hardware = host16(ARPHRD_ETHER),
			   .protocol = host16(ETH_P_IP),
			   .hardware_len = ETHERNET_ADDRESS,
			   .protocol_len = 4,
			   .operation = host16(operation),
			   .sender = sender,
			   .target = target };
	memcpy(a->sender_mac, d->address, ETHERNET_ADDRESS);
	if (target_mac)
		memcpy(a->target_mac, target_mac, ETHERNET_ADDRESS);
	p->protocol = ETH_P_ARP;
	net_device_send(d, p, to);
}

void arp_ask(struct net_device *d, const struct ip_addr *target, const u8 *mac)
{
	struct ip_addr source = ip_addr_v4(0);

	(void)!ip_source_of(d, target, &source);
	send(d, ARPOP_REQUEST, source.w[3], target->w[3], NULL, mac ? mac : d->broadcast);
}

void arp_input(struct packet *p)
{
	struct net_device *d = p->dev;
	struct ip_addr sender, target;
	struct arp a;
	bool ours;

	if (packet_len(p) < sizeof(a) || d->type != ARPHRD_ETHER) {
		packet_free(p);
		return;
	}
	memcpy(&a, p->data, sizeof(a));
	packet_free(p);
	if (a.hardware != host16(ARPHRD_ETHER) || a.protocol != host16(ETH_P_IP) ||
	    a.hardware_len != ETHERNET_ADDRESS || a.protocol_len != 4)
		return;
	sender = ip_addr_v4(a.sender);
	target = ip_addr_v4(a.target);
	ours = ip_device_has(d, &target);
	if (a.sender && !ip_device_has(d, &sender))
		neighbour_heard(d, &sender, a.sender_mac, ours && a.operation == host16(ARPOP_REQUEST),
				ours && a.operation == host16(ARPOP_REPLY), true);
	if (ours && a.operation == host16(ARPOP_REQUEST))
		send(d, ARPOP_REPLY, a.target, a.sender, a.sender_mac, a.sender_mac);
}
