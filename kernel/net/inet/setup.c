/* SPDX-License-Identifier: MIT
 *
 * Problem: a machine without a network manager still wants its address when its first program starts.
 *
 * Idea: ip= on the command line, in the form that Linux has: ip=dhcp, ip=off, or
 * ip=ADDRESS:SERVER:GATEWAY:MASK:HOST:DEVICE:HOW:DNS:DNS with parts left out at will. The client is four datagrams on
 * an ordinary socket. What was learnt about name servers is in /proc/net/pnp.
 *
 * Contract: ip(7) for the sockets; Linux's Documentation/admin-guide/nfs/nfsroot.rst for the form. A lease is not
 * renewed.
 *
 * Locks: net_config_lock while something is changed; runs once, late in the boot.
 */
#include <alloc/slab.h>
#include <arch/boot.h>
#include <core/clock.h>
#include <core/init.h>
#include <core/log.h>
#include <core/random.h>
#include <lib/err.h>
#include <lib/printf.h>
#include <lib/string.h>
#include <linux/if_addr.h>
#include <linux/if.h>
#include <linux/in.h>
#include <net/inet.h>

#include "dhcp.h"
#include "inet_priv.h"

#define CLIENT_PORT 68
#define SERVER_PORT 67
#define TRIES       4
#define WAIT_NS     NSEC_PER_SEC

struct wish {
	u32 address, gateway, mask;
	u32 dns[DHCP_SERVERS];
	char device[NET_NAME_MAX];
	bool dhcp, off;
};

static struct dhcp_lease learnt;

/* ---- the word ------------------------------------------------------------------------------------------------------
 */

static bool parse_v4(const char *s, u32 *out)
{
	u8 b[4];

	for (unsigned i = 0; i < 4; i++) {
		unsigned v = 0, digits = 0;

		for (; *s >= '0' && *s <= '9' && digits < 4; s++, digits++)
			v = v * 10 + (unsigned)(*s - '0');
		if (!digits || v > 255 || *s != (i < 3 ? '.' : '\0'))
			return false;
		b[i] = (u8)v;
		s++;
	}
	memcpy(out, b, sizeof(*out));
	return true;
}

/* The next part up to a colon, terminated; NULL: no more. */
static char *next_part(char **at)
{
	char *part = *at, *end;

	if (!part)
		return NULL;
	end = strchr(part, ':');
	if (end)
		*end++ = '\0';
	*at = end;
	return part;
}

static bool is_method(const char *s)
{
	return !strcmp(s, "dhcp") || !strcmp(s, "on") || !strcmp(s, "any") || !strcmp(s, "both");
}

static bool parse(char *text, struct wish *w)
{
	u32 *addresses[] = { &w->address, NULL, &w->gateway, &w->mask, NULL, NULL, NULL, &w->dns[0], &w->dns[1] };
	char *part;

	*w = (struct wish){ .dhcp = is_method(text), .off = !strcmp(text, "off") || !strcmp(text, "none") };
	if (w->dhcp || w->off)
		return true;
	for (unsigned i = 0; i < ARRAY_SIZE(addresses) && (part = next_part(&text)); i++) {
		if (addresses[i] && *part && !parse_v4(part, addresses[i]))
			return false;
		if (i == 5)
			str_copy(w->device, part, sizeof(w->device));
		if (i == 6)
			w->dhcp = is_method(part);
	}
	w->dhcp = w->dhcp || !w->address;
	return true;
}

/* ---- DHCP -----------------------------------------------------------------------------------------------------------
 */

static void name_v4(struct sock_addr *a, u32 addr, u16 port)
{
	struct sockaddr_in in = { .sin_family = PF_INET, .sin_port = host16(port), .sin_addr.s_addr = addr };

	memcpy(a->bytes, &in, sizeof(in));
	a->len = sizeof(in);
}

static int send_message(struct socket *s, u8 *message)
{
	struct sock_addr to;
	struct sock_msg m = { .addr = &to };
	ssize_t n;

	name_v4(&to, INADDR_BROADCAST, SERVER_PORT);
	iter_kernel(&m.iter, message, DHCP_LEAST);
	n = s->ops->send(s, &m);
	return n < 0 ? (int)n : 0;
}

/* Waits for a message of this kind. */
static bool await(struct socket *s, u8 kind, u32 transaction, const u8 *mac, u8 *buf, struct dhcp_lease *out)
{
	u64 end = clock_ns() + WAIT_NS;

	while (clock_ns() < end) {
		struct sock_msg m = { .flags = 0 };
		ssize_t n;

		s->receive_timeout_ns = end - clock_ns();
		iter_kernel(&m.iter, buf, 1500);
		n = s->ops->receive(s, &m);
		if (n > 0 && dhcp_parse(buf, (size_t)n, transaction, mac, out) && out->kind == kind)
			return true;
	}
	return false;
}

static bool converse(struct socket *s, const u8 *mac, u8 *buf, struct dhcp_lease *out)
{
	u32 transaction = (u32)random_u64();
	struct dhcp_lease offer;

	for (unsigned i = 0; i < TRIES; i++) {
		dhcp_build(buf, DHCP_DISCOVER, transaction, mac, NULL);
		if (send_message(s, buf) || !await(s, DHCP_OFFER, transaction, mac, buf, &offer))
			continue;
		dhcp_build(buf, DHCP_REQUEST, transaction, mac, &offer);
		if (!send_message(s, buf) && await(s, DHCP_ACK, transaction, mac, buf, out))
			return true;
	}
	return false;
}

static bool ask(struct net_device *d, struct dhcp_lease *out)
{
	struct socket *s;
	struct sock_addr a;
	u8 *buf = kmalloc(1500, ALLOC_KERNEL);
	bool got = false;

	if (!buf || socket_create(PF_INET, SOCK_DGRAM, 0, &s)) {
		kfree(buf);
		return false;
	}
	s->bound_ifindex = d->ifindex;
	s->broadcast = true;
	name_v4(&a, INADDR_ANY, CLIENT_PORT);
	if (!s->ops->bind(s, &a))
		got = converse(s, d->address, buf, out);
	socket_free(s);
	kfree(buf);
	return got;
}

/* ---- applying
 * --------------------------------------------------------------------------------------------------------- */

static u8 prefix_of(u32 address, u32 mask)
{
	u32 first = net_host32(address) >> 24;

	if (mask)
		return (u8)__builtin_popcount(mask);
	return first < 128 ? 8 : first < 192 ? 16 : 24;
}

static void apply(struct net_device *d, u32 address, u32 mask, u32 gateway, u16 mtu)
{
	u8 prefix = prefix_of(address, mask);
	u32 hosts = prefix >= 31 ? 0 : net_host32(~0U >> prefix);
	struct inet_address a = { .dev = d,
				  .addr = ip_addr_v4(address),
				  .peer = ip_addr_v4(address),
				  .broadcast = ip_addr_v4(hosts ? address | hosts : 0),
				  .prefix = prefix,
				  .scope = RT_SCOPE_UNIVERSE,
				  .flags = IFA_F_PERMANENT,
				  .valid_s = ~0U,
				  .preferred_s = ~0U };
	struct inet_route r = { .prefix = ip_addr_v4(0),
				.type = RTN_UNICAST,
				.protocol = RTPROT_BOOT,
				.table = RT_TABLE_MAIN,
				.has_gateway = true,
				.gateway = ip_addr_v4(gateway),
				.dev = d };
	int err;

	mutex_lock(&net_config_lock);
	err = inet_address_add(&a);
	if (!err && gateway)
		err = inet_route_add(d->net, &r, false, false);
	if (!err && mtu >= d->least_mtu && mtu < d->mtu)
		err = net_device_set_mtu(d, mtu);
	mutex_unlock(&net_config_lock);
	if (err)
		log_warn("ip=: %s: error %d", d->name, -err);
}

static struct net_device *raise_device(const char *name)
{
	struct net_device *d, *found = NULL;

	mutex_lock(&net_config_lock);
	list_for_each_entry (d, &net_init_ns.devices, link)
		if (!found && !(d->flags & IFF_LOOPBACK) && (!*name || !strcmp(name, d->name)))
			found = d;
	if (found && net_device_set_flags(found, IFF_UP, IFF_UP))
		found = NULL;
	mutex_unlock(&net_config_lock);
	return found;
}

static int show_learnt(struct net *n, struct strbuf *out)
{
	static const char form[] = "nameserver %u.%u.%u.%u\n";

	if (n != &net_init_ns)
		return 0;
	if (learnt.domain[0])
		strbuf_add(out, "domain %s\n", learnt.domain);
	for (unsigned i = 0; i < DHCP_SERVERS; i++) {
		const u8 *b = (const u8 *)&learnt.dns[i];

		if (learnt.dns[i])
			strbuf_add(out, form, b[0], b[1], b[2], b[3]);
	}
	return 0;
}

static struct net_file pnp = { .name = "pnp", .show = show_learnt };

static void setup(void)
{
	char text[256];
	struct net_device *d;
	struct wish w;

	net_file_register(&pnp);
	if (!boot_param("ip", text, sizeof(text)))
		return;
	if (!parse(text, &w)) {
		log_warn("ip=: not understood");
		return;
	}
	if (w.off)
		return;
	d = raise_device(w.device);
	if (!d) {
		log_warn("ip=: no network device%s%s", w.device[0] ? " " : "", w.device);
		return;
	}
	memcpy(learnt.dns, w.dns, sizeof(learnt.dns));
	if (w.dhcp) {
		if (!ask(d, &learnt)) {
			log_warn("ip=: no DHCP server answered on %s", d->name);
			return;
		}
		w.address = learnt.address;
		w.mask = learnt.mask;
		w.gateway = learnt.gateway;
	}
	apply(d, w.address, w.mask, w.gateway, learnt.mtu);
}
PART_INIT(late, setup);
