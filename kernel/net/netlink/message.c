/* SPDX-License-Identifier: MIT
 *
 * Problem: messages are trees of attributes with lengths that a program chose, and answers may be longer than a
 * datagram.
 *
 * Idea: reading fills a table of pointers by type, after each length is checked. Writing makes one message in a scratch
 * buffer and then appends it to the current datagram, or begins another: a message is never split.
 *
 * Contract: netlink_priv.h. Format: netlink(7): header, fixed part, attributes, all aligned to 4.
 *
 * Locks: none.
 */
#include "netlink_priv.h"

#define ALIGN4(n) (((n) + 3U) & ~3U)

int nl_parse(const void *at, size_t len, unsigned most, struct nl_attrs *out)
{
	const u8 *p = at;

	memset(out, 0, sizeof(*out));
	while (len >= NLA_HDRLEN) {
		const struct nlattr *a = (const struct nlattr *)p;
		u16 type = a->nla_type & NLA_TYPE_MASK;
		size_t step;

		if (a->nla_len < NLA_HDRLEN || a->nla_len > len)
			return fail(EINVAL, "netlink attribute of %u bytes, %zu are left", a->nla_len, len);
		if (type <= most && type < NL_ATTRS)
			out->of[type] = a;
		step = min((size_t)ALIGN4(a->nla_len), len);
		p += step;
		len -= step;
	}
	return 0;
}

u32 nl_u32(const struct nlattr *a, u32 otherwise)
{
	u32 v = otherwise;

	if (a && nl_len(a) >= sizeof(v))
		memcpy(&v, nl_data(a), sizeof(v));
	return v;
}

bool nl_text(const struct nlattr *a, char *out, size_t room)
{
	size_t n = a ? strnlen(nl_data(a), nl_len(a)) : 0;

	if (!n || n >= room)
		return false;
	memcpy(out, nl_data(a), n);
	out[n] = '\0';
	return true;
}

bool nl_addr(const struct nlattr *a, u8 family, struct ip_addr *out)
{
	u32 v4;

	if (!a || nl_len(a) < (family == PF_INET ? 4U : 16U))
		return false;
	if (family == PF_INET) {
		memcpy(&v4, nl_data(a), sizeof(v4));
		*out = ip_addr_v4(v4);
	} else {
		memcpy(out, nl_data(a), sizeof(*out));
	}
	return true;
}

/* ---- writing
 * ---------------------------------------------------------------------------------------------------------- */

int nl_reply_begin(struct nl_reply *r, const struct nl_request *q)
{
	*r = (struct nl_reply){ .message = kmalloc(NL_MESSAGE_MOST, ALLOC_KERNEL) };
	if (q) {
		r->to = q->from;
		r->port = q->from->port;
		r->seq = q->h->nlmsg_seq;
	}
	return r->message ? 0 : -ENOMEM;
}

static void *grow(struct nl_reply *r, size_t n)
{
	u8 *at = r->message + r->len;

	if (r->overflow || ALIGN4(n) > NL_MESSAGE_MOST - r->len) {
		r->overflow = true;
		return NULL;
	}
	memset(at, 0, ALIGN4(n));
	r->len += ALIGN4(n);
	return at;
}

void *nl_begin(struct nl_reply *r, u16 type, u16 flags, size_t body)
{
	struct nlmsghdr *h;

	r->len = 0;
	r->overflow = false;
	h = grow(r, sizeof(*h) + body);
	*h = (struct nlmsghdr){ .nlmsg_type = type, .nlmsg_flags = flags, .nlmsg_seq = r->seq, .nlmsg_pid = r->port };
	return h + 1;
}

void nl_put(struct nl_reply *r, u16 type, const void *data, size_t len)
{
	struct nlattr *a = grow(r, NLA_HDRLEN + len);

	if (!a)
		return;
	a->nla_type = type;
	a->nla_len = (u16)(NLA_HDRLEN + len);
	memcpy((u8 *)a + NLA_HDRLEN, data, len);
}

void nl_put_u32(struct nl_reply *r, u16 type, u32 v)
{
	nl_put(r, type, &v, sizeof(v));
}

void nl_put_u8(struct nl_reply *r, u16 type, u8 v)
{
	nl_put(r, type, &v, sizeof(v));
}

void nl_put_text(struct nl_reply *r, u16 type, const char *text)
{
	nl_put(r, type, text, strlen(text) + 1);
}

void nl_put_addr(struct nl_reply *r, u16 type, const struct ip_addr *a)
{
	if (ip_addr_is_v4(a))
		nl_put(r, type, &a->w[3], sizeof(a->w[3]));
	else
		nl_put(r, type, a, sizeof(*a));
}

u32 nl_nest(struct nl_reply *r, u16 type)
{
	u32 at = r->len;

	nl_put(r, type, NULL, 0);
	return at;
}

void nl_nest_end(struct nl_reply *r, u32 nest)
{
	if (!r->overflow)
		((struct nlattr *)(r->message + nest))->nla_len = (u16)(r->len - nest);
}

static void flush(struct nl_reply *r)
{
	if (r->buf)
		nl_queue(r->to, r->buf);
	r->buf = NULL;
}

void nl_end(struct nl_reply *r)
{
	struct nlmsghdr *h = (struct nlmsghdr *)r->message;
	u32 room = max((u32)NL_DATAGRAM, r->len);

	if (r->overflow) {
		r->error = -EMSGSIZE;
		return;
	}
	h->nlmsg_len = r->len;
	if (!r->to)
		return; /* a notification stays in the scratch buffer */
	if (r->buf && r->buf->len + r->len > NL_DATAGRAM)
		flush(r);
	if (!r->buf) {
		r->buf = kmalloc_paid_like(r->to, sizeof(*r->buf) + room, ALLOC_ATOMIC);
		if (!r->buf) {
			r->error = -ENOMEM;
			return;
		}
		*r->buf = (struct nl_buf){ .len = 0 };
		list_init(&r->buf->link);
	}
	memcpy(r->buf->data + r->buf->len, r->message, r->len);
	r->buf->len += r->len;
}

void nl_reply_end(struct nl_reply *r, bool done, int result)
{
	if (done) {
		int *code = nl_begin(r, NLMSG_DONE, NLM_F_MULTI, sizeof(*code));

		*code = result ? result : r->error;
		nl_end(r);
	}
	if (r->to)
		flush(r);
	kfree(r->message);
	r->message = NULL;
}
