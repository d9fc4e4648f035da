/* SPDX-License-Identifier: MIT
 *
 * Problem: ifconfig, route, DHCP clients and a thousand programs ask for and set devices and IPv4 addresses by calls
 * that carry one fixed structure.
 *
 * Idea: a table-like switch over struct ifreq; sets go the same way as netlink's (net/inet.h, net/device.h).
 *
 * Contract: netdevice(7), rtnetlink's older sister: SIOCADDRT and SIOCDELRT with struct rtentry. Aliases (eth0:1) name
 * the address with that label.
 *
 * Locks: net_config_lock around each call.
 */
#include <arch/user.h>
#include <lib/err.h>
#include <lib/string.h>
#include <linux/capability.h>
#include <linux/if.h>
#include <linux/if_addr.h>
#include <linux/if_arp.h>
#include <linux/in.h>
#include <linux/route.h>
#include <linux/sockios.h>
#include <task/user_ns.h>

#include "inet_priv.h"

#define SETTABLE (IFF_UP | IFF_NOARP | IFF_PROMISC | IFF_ALLMULTI | IFF_DEBUG | IFF_NOTRAILERS)

static u32 get_v4(const struct sockaddr *a)
{
	struct sockaddr_in in;

	memcpy(&in, a, sizeof(in));
	return in.sin_addr.s_addr;
}

static void put_v4(struct sockaddr *a, u32 addr)
{
	struct sockaddr_in in = { .sin_family = PF_INET, .sin_addr.s_addr = addr };

	memcpy(a, &in, sizeof(*a));
}

/* The IPv4 address that the name stands for: its label, or the device's first. */
static struct inet_address *first_address(struct net_device *d, const char *label)
{
	struct inet_address *a;
	bool alias = strchr(label, ':') != NULL;

	list_for_each_entry (a, inet_addresses(d->net), link)
		if (a->dev == d && ip_addr_is_v4(&a->addr) && (!alias || !strcmp(a->label, label)))
			return a;
	return NULL;
}

static u32 mask_of(u8 prefix)
{
	return prefix ? host32(~0U << (32 - prefix)) : 0;
}

static int get_address(struct net_device *d, unsigned cmd, struct ifreq *r)
{
	const struct inet_address *a = first_address(d, r->ifr_name);

	if (!a)
		return -EADDRNOTAVAIL;
	put_v4(&r->ifr_addr, cmd == SIOCGIFADDR      ? a->addr.w[3]
			     : cmd == SIOCGIFDSTADDR ? a->peer.w[3]
			     : cmd == SIOCGIFNETMASK ? mask_of(a->prefix)
						     : a->broadcast.w[3]);
	return 0;
}

static u8 class_prefix(u32 addr)
{
	u32 first = host32(addr) >> 24;

	return first < 128 ? 8 : first < 192 ? 16 : 24;
}

/* The address is taken out and put in again as changed. */
static int set_address(struct net_device *d, unsigned cmd, const struct ifreq *r)
{
	struct inet_address *old = first_address(d, r->ifr_name), a = { .dev = d };
	u32 value = get_v4(&r->ifr_addr);
	int err;

	if (r->ifr_addr.sa_family != PF_INET && cmd != SIOCSIFNETMASK)
		return -EINVAL;
	if (!old && cmd != SIOCSIFADDR)
		return -EADDRNOTAVAIL;
	if (old)
		a = *old;
	if (cmd == SIOCSIFADDR) {
		a.addr = a.peer = ip_addr_v4(value);
		a.prefix = class_prefix(value);
		a.broadcast = ip_addr_v4(d->flags & IFF_BROADCAST ? value | ~mask_of(a.prefix) : 0);
		a.scope = d->flags & IFF_LOOPBACK ? RT_SCOPE_HOST : RT_SCOPE_UNIVERSE;
		a.flags = IFA_F_PERMANENT;
		a.valid_s = a.preferred_s = ~0U;
		str_copy(a.label, r->ifr_name, sizeof(a.label));
	} else if (cmd == SIOCSIFNETMASK) {
		if (value != mask_of((u8)__builtin_popcount(value)))
			return -EINVAL;
		a.prefix = (u8)__builtin_popcount(value);
		if (a.broadcast.w[3])
			a.broadcast = ip_addr_v4(a.addr.w[3] | ~value);
	} else if (cmd == SIOCSIFBRDADDR) {
		a.broadcast = ip_addr_v4(value);
	} else {
		a.peer = ip_addr_v4(value);
	}
	if (old) {
		err = inet_address_remove(d, &old->addr, old->prefix);
		if (err)
			return err;
	}
	if (cmd == SIOCSIFADDR && !value)
		return 0;
	err = inet_address_add(&a);
	if (!err && cmd == SIOCSIFADDR)
		err = net_device_set_flags(d, IFF_UP, IFF_UP);
	return err;
}

static int get(struct net_device *d, unsigned cmd, struct ifreq *r)
{
	switch (cmd) {
	case SIOCGIFADDR:
	case SIOCGIFDSTADDR:
	case SIOCGIFBRDADDR:
	case SIOCGIFNETMASK: return get_address(d, cmd, r);
	case SIOCGIFFLAGS: r->ifr_flags = (short)d->flags; return 0;
	case SIOCGIFMTU: r->ifr_mtu = (int)d->mtu; return 0;
	case SIOCGIFINDEX: r->ifr_ifindex = (int)d->ifindex; return 0;
	case SIOCGIFMETRIC: r->ifr_metric = 0; return 0;
	case SIOCGIFTXQLEN: r->ifr_qlen = (int)d->queue_length; return 0;
	case SIOCGIFMAP: memset(&r->ifr_map, 0, sizeof(r->ifr_map)); return 0;
	case SIOCGIFHWADDR:
		r->ifr_hwaddr.sa_family = d->type;
		memset(r->ifr_hwaddr.sa_data, 0, sizeof(r->ifr_hwaddr.sa_data));
		memcpy(r->ifr_hwaddr.sa_data, d->address, ETHERNET_ADDRESS);
		return 0;
	}
	return cmd == SIOCETHTOOL ? -EOPNOTSUPP : -EINVAL;
}

static int set(struct net_device *d, unsigned cmd, const struct ifreq *r)
{
	switch (cmd) {
	case SIOCSIFADDR:
	case SIOCSIFDSTADDR:
	case SIOCSIFBRDADDR:
	case SIOCSIFNETMASK: return set_address(d, cmd, r);
	case SIOCSIFFLAGS: return net_device_set_flags(d, (u16)r->ifr_flags, SETTABLE);
	case SIOCSIFMTU: return net_device_set_mtu(d, (u32)r->ifr_mtu);
	case SIOCSIFTXQLEN: d->queue_length = (u32)r->ifr_qlen; return 0;
	case SIOCSIFNAME: return net_device_rename(d, r->ifr_newname);
	case SIOCSIFHWADDR:
		if (d->flags & IFF_UP)
			return -EBUSY;
		if (r->ifr_hwaddr.sa_family != d->type || d->flags & IFF_LOOPBACK || r->ifr_hwaddr.sa_data[0] & 1)
			return -EINVAL;
		memcpy(d->address, r->ifr_hwaddr.sa_data, ETHERNET_ADDRESS);
		return 0;
	}
	return -EINVAL;
}

/* All addresses of IPv4, as many as fit; without a buffer only how many bytes they take. */
static long list_addresses(struct net *n, void __user *arg)
{
	const struct inet_address *a;
	struct ifconf c;
	int at = 0;

	if (user_get(&c, arg, sizeof(c)))
		return -EFAULT;
	list_for_each_entry (a, inet_addresses(n), link) {
		struct ifreq r = { .ifr_ifrn.ifrn_name = { 0 } };

		if (!ip_addr_is_v4(&a->addr))
			continue;
		str_copy(r.ifr_name, a->label, sizeof(r.ifr_name));
		put_v4(&r.ifr_addr, a->addr.w[3]);
		if (c.ifc_buf && at + (int)sizeof(r) > c.ifc_len)
			break;
		if (c.ifc_buf && user_put((__force void __user *)(c.ifc_buf + at), &r, sizeof(r)))
			return -EFAULT;
		at += sizeof(r);
	}
	c.ifc_len = at;
	return user_put(arg, &c, sizeof(c));
}

static long route_call(struct net *n, unsigned cmd, const void __user *arg)
{
	struct rtentry e;
	struct inet_route r;
	char name[NET_NAME_MAX];

	if (user_get(&e, arg, sizeof(e)))
		return -EFAULT;
	if (e.rt_dst.sa_family != PF_INET)
		return -EAFNOSUPPORT;
	r = (struct inet_route){ .prefix = ip_addr_v4(get_v4(&e.rt_dst)),
				 .length = e.rt_flags & RTF_HOST ? 32 : (u8)__builtin_popcount(get_v4(&e.rt_genmask)),
				 .type = e.rt_flags & RTF_REJECT ? RTN_UNREACHABLE : RTN_UNICAST,
				 .protocol = RTPROT_BOOT,
				 .scope = e.rt_flags & RTF_GATEWAY ? RT_SCOPE_UNIVERSE : RT_SCOPE_LINK,
				 .table = RT_TABLE_MAIN,
				 .priority = e.rt_metric > 0 ? (u32)e.rt_metric - 1 : 0,
				 .mtu = e.rt_flags & RTF_MTU ? (u32)e.rt_mtu : 0,
				 .has_gateway = e.rt_flags & RTF_GATEWAY,
				 .gateway = ip_addr_v4(get_v4(&e.rt_gateway)) };
	if (e.rt_dev) {
		if (user_get_string(name, (__force const void __user *)e.rt_dev, sizeof(name)) < 0)
			return -EFAULT;
		r.dev = net_device_by_name(n, name);
		if (!r.dev)
			return -ENODEV;
	}
	if (cmd == SIOCADDRT)
		return inet_route_add(n, &r, false, false);
	r.protocol = 0;
	return inet_route_remove(n, &r, false);
}

static bool is_set(unsigned cmd)
{
	switch (cmd) {
	case SIOCSIFADDR:
	case SIOCSIFDSTADDR:
	case SIOCSIFBRDADDR:
	case SIOCSIFNETMASK:
	case SIOCSIFFLAGS:
	case SIOCSIFMTU:
	case SIOCSIFTXQLEN:
	case SIOCSIFNAME:
	case SIOCSIFHWADDR: return true;
	}
	return false;
}

static bool is_get(unsigned cmd)
{
	switch (cmd) {
	case SIOCGIFADDR:
	case SIOCGIFDSTADDR:
	case SIOCGIFBRDADDR:
	case SIOCGIFNETMASK:
	case SIOCGIFFLAGS:
	case SIOCGIFMTU:
	case SIOCGIFINDEX:
	case SIOCGIFMETRIC:
	case SIOCGIFTXQLEN:
	case SIOCGIFMAP:
	case SIOCETHTOOL:
	case SIOCGIFHWADDR: return true;
	}
	return false;
}

static struct net_device *named(struct net *n, const char *name)
{
	char plain[NET_NAME_MAX];
	char *colon;

	str_copy(plain, name, sizeof(plain));
	colon = strchr(plain, ':');
	if (colon)
		*colon = '\0';
	return net_device_by_name(n, plain);
}

static long device_call(struct net *n, unsigned cmd, void __user *arg)
{
	struct net_device *d;
	struct ifreq r;
	int err;

	if (user_get(&r, arg, sizeof(r)))
		return -EFAULT;
	r.ifr_name[sizeof(r.ifr_name) - 1] = '\0';
	if (cmd == SIOCGIFNAME) {
		d = net_device_find(n, (u32)r.ifr_ifindex);
		if (d)
			memcpy(r.ifr_name, d->name, sizeof(r.ifr_name));
	} else {
		d = named(n, r.ifr_name);
	}
	if (!d)
		return -ENODEV;
	if (cmd == SIOCGIFNAME)
		err = 0;
	else
		err = is_set(cmd) ? set(d, cmd, &r) : get(d, cmd, &r);
	return err || is_set(cmd) ? err : user_put(arg, &r, sizeof(r));
}

long inet_interface_ioctl(struct socket *s, unsigned cmd, ulong arg)
{
	struct net *n = s->net;
	long err;

	if ((is_set(cmd) || cmd == SIOCADDRT || cmd == SIOCDELRT) && !ns_capable(n->ns.owner, CAP_NET_ADMIN))
		return -EPERM;
	if (!is_set(cmd) && !is_get(cmd) && cmd != SIOCGIFNAME && cmd != SIOCGIFCONF && cmd != SIOCADDRT &&
	    cmd != SIOCDELRT)
		return -ENOTTY;
	mutex_lock(&net_config_lock);
	if (cmd == SIOCGIFCONF)
		err = list_addresses(n, (void __user *)arg);
	else if (cmd == SIOCADDRT || cmd == SIOCDELRT)
		err = route_call(n, cmd, (const void __user *)arg);
	else
		err = device_call(n, cmd, (void __user *)arg);
	mutex_unlock(&net_config_lock);
	return err;
}
