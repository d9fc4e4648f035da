/* SPDX-License-Identifier: MIT
 *
 * Attributes of a netlink request (netlink(7), linux/rtnetlink.h). Each goes to the end of the message, for which the
 * caller has room; h->nlmsg_len is its length so far.
 */
#ifndef TESTS_ABI_NETLINK_H
#define TESTS_ABI_NETLINK_H

#include <linux/rtnetlink.h>
#include <string.h>

static inline struct rtattr *netlink_add(struct nlmsghdr *h, int type, const void *data, size_t len)
{
	struct rtattr *a = (struct rtattr *)((char *)h + NLMSG_ALIGN(h->nlmsg_len));

	a->rta_type = (unsigned short)type;
	a->rta_len = (unsigned short)RTA_LENGTH(len);
	if (len)
		memcpy(RTA_DATA(a), data, len);
	h->nlmsg_len = NLMSG_ALIGN(h->nlmsg_len) + RTA_ALIGN(a->rta_len);
	return a;
}

/* What was added since `nest` lies in it. */
static inline void netlink_end(struct nlmsghdr *h, struct rtattr *nest)
{
	nest->rta_len = (unsigned short)((char *)h + h->nlmsg_len - (char *)nest);
}

#endif
