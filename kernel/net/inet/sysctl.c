/* SPDX-License-Identifier: MIT
 *
 * Problem: network programs read how this host behaves, and routers and container runtimes set a few switches, in
 * /proc/sys/net.
 *
 * Idea: rows of constants for what is built in, and rows that point into the namespace of who looks for what can be
 * changed. Only what is obeyed has a file.
 *
 * Contract: the names and forms of ip-sysctl in Linux's documentation; tcp(7), ip(7), socket(7).
 *
 * Locks: none; a setting is one word.
 */
#include <core/attr.h>
#include <core/init.h>
#include <core/log.h>
#include <lib/err.h>
#include <net/net.h>

#include "inet_priv.h"

#define BIND_MOST 65535

static struct inet_net *mine(void)
{
	return inet_of(net_of_current());
}

static int show_text(struct attr_dir *dir, const struct attr *a, struct strbuf *out)
{
	strbuf_add(out, "%s\n", (const char *)a->data);
	return 0;
}

/* a->data: 0 for IPv4, 1 for IPv6. */
static int show_forward(struct attr_dir *dir, const struct attr *a, struct strbuf *out)
{
	strbuf_add(out, "%d\n", mine()->forward[a->data]);
	return 0;
}

static int set_forward(struct attr_dir *dir, const struct attr *a, char *text, size_t len)
{
	u32 v;
	int err = attr_parse_u32(text, len, 0, INT32_MAX, &v);

	if (!err)
		WRITE_ONCE(mine()->forward[a->data], v != 0);
	return err;
}

static int show_unprivileged(struct attr_dir *dir, const struct attr *a, struct strbuf *out)
{
	strbuf_add(out, "%u\n", mine()->unprivileged_from);
	return 0;
}

static int set_unprivileged(struct attr_dir *dir, const struct attr *a, char *text, size_t len)
{
	u32 v;
	int err = attr_parse_u32(text, len, 0, BIND_MOST, &v);

	if (!err)
		WRITE_ONCE(mine()->unprivileged_from, v);
	return err;
}

static int show_cookies(struct attr_dir *dir, const struct attr *a, struct strbuf *out)
{
	strbuf_add(out, "%u\n", mine()->tcp.cookies);
	return 0;
}

static int set_cookies(struct attr_dir *dir, const struct attr *a, char *text, size_t len)
{
	u32 v;
	int err = attr_parse_u32(text, len, 0, 2, &v);

	if (!err)
		WRITE_ONCE(mine()->tcp.cookies, v);
	return err;
}

#define IS(file, text)                                                                                                 \
	&(const struct attr)                                                                                           \
	{                                                                                                              \
		.name = file, .mode = 0444, .show = show_text, .data = (ulong)(text)                                   \
	}
#define SET(file, show_fn, set_fn, value)                                                                              \
	&(const struct attr)                                                                                           \
	{                                                                                                              \
		.name = file, .mode = 0644, .show = show_fn, .set = set_fn, .data = value                              \
	}

static const struct attr *const ipv4_attrs[] = {
	SET("ip_forward", show_forward, set_forward, 0),
	SET("ip_unprivileged_port_start", show_unprivileged, set_unprivileged, 0),
	SET("tcp_syncookies", show_cookies, set_cookies, 0),
	IS("icmp_echo_ignore_all", "0"),
	IS("icmp_echo_ignore_broadcasts", "1"),
	IS("ip_default_ttl", "64"),
	IS("ip_local_port_range", "32768\t60999"),
	IS("tcp_available_congestion_control", "reno cubic"),
	IS("tcp_allowed_congestion_control", "reno cubic"),
	IS("tcp_congestion_control", "cubic"),
	IS("tcp_fastopen", "0"),
	IS("tcp_fin_timeout", "60"),
	IS("tcp_keepalive_intvl", "75"),
	IS("tcp_keepalive_probes", "9"),
	IS("tcp_keepalive_time", "7200"),
	IS("tcp_l3mdev_accept", "0"),
	IS("tcp_retries2", "15"),
	IS("tcp_rmem", "4096\t131072\t6291456"),
	IS("tcp_sack", "1"),
	IS("tcp_syn_retries", "6"),
	IS("tcp_synack_retries", "5"),
	IS("tcp_timestamps", "1"),
	IS("tcp_window_scaling", "1"),
	IS("udp_l3mdev_accept", "0"),
	IS("raw_l3mdev_accept", "1"),
	NULL,
};
static const struct attr *const all4_attrs[] = { SET("forwarding", show_forward, set_forward, 0), NULL };
static const struct attr *const all6_attrs[] = { SET("forwarding", show_forward, set_forward, 1),
						 IS("disable_ipv6", "0"), NULL };
static const struct attr *const core_attrs[] = {
	IS("somaxconn", "4096"),
	IS("netdev_max_backlog", "4096"),
	IS("rmem_default", "212992"),
	IS("rmem_max", "212992"),
	IS("wmem_default", "212992"),
	IS("wmem_max", "212992"),
	NULL,
};

static void inet_sysctl_init(void)
{
	ensure(!attr_sysctl_add("net/ipv4", ipv4_attrs));
	ensure(!attr_sysctl_add("net/ipv4/conf/all", all4_attrs));
	ensure(!attr_sysctl_add("net/ipv6/conf/all", all6_attrs));
	ensure(!attr_sysctl_add("net/core", core_attrs));
}
PART_INIT(late, inet_sysctl_init);
