/* SPDX-License-Identifier: MIT
 *
 * Problem: sockets are found by paths in the file system, or by abstract names that need no file.
 *
 * Idea: a path's inode points to the socket bound to it; abstract names are a list of each network namespace. One lock
 * guards both directions, and a look-up takes a reference on the socket under it.
 *
 * Contract: unix(7), "Address format". A socket's name stays until it is closed; the file stays until somebody unlinks
 * it.
 *
 * Locks: names_lock (RANK_SUBSYS) guards the giving of names, inode->pipe of sockets and the list. A name that has been
 * given is read without it, by each message: its bytes stay as they are, and the length comes after them.
 */
#include <lib/err.h>
#include <lib/printf.h>
#include <lib/string.h>
#include <linux/fcntl.h>
#include <net/unix.h>
#include <vfs/names.h>
#include <vfs/uapi.h>
#include "unix_priv.h"

#define HEAD 2 /* bytes of the family */

static struct mutex names_lock = MUTEX_INIT(names_lock, RANK_SUBSYS);
static LIST(abstract);
static LIST(all);

void unix_enlist(struct unix_sock *u, struct socket *s)
{
	mutex_lock(&names_lock);
	u->socket = s;
	list_add_tail(&u->all_link, &all);
	mutex_unlock(&names_lock);
}

void unix_own(struct unix_sock *u, struct socket *s)
{
	mutex_lock(&names_lock);
	u->socket = s;
	mutex_unlock(&names_lock);
}

void unix_sockets_show(struct net *n, int (*fn)(const struct unix_socket_view *v, void *arg), void *arg)
{
	struct unix_socket_view v;
	struct unix_sock *u;

	mutex_lock(&names_lock);
	list_for_each_entry (u, &all, all_link) {
		if (u->net != n)
			continue;
		unix_view(u, &v);
		if (fn(&v, arg))
			break;
	}
	mutex_unlock(&names_lock);
}

static bool is_abstract(const struct sock_addr *a)
{
	return a->len > HEAD && !a->bytes[HEAD];
}

static int check(const struct sock_addr *a)
{
	u16 family;

	if (a->len < HEAD || a->len > HEAD + UNIX_PATH_MAX)
		return -EINVAL;
	memcpy(&family, a->bytes, HEAD);
	return family == PF_UNIX ? 0 : -EINVAL;
}

static void path_of(const struct sock_addr *a, char path[UNIX_PATH_MAX + 1])
{
	memcpy(path, a->bytes + HEAD, a->len - HEAD);
	path[a->len - HEAD] = '\0';
}

static struct unix_sock *find_abstract(struct net *net, const struct sock_addr *a)
{
	struct unix_sock *u;

	list_for_each_entry (u, &abstract, abstract_link)
		if (u->net == net && u->name.len == a->len && !memcmp(u->name.bytes, a->bytes, a->len))
			return u;
	return NULL;
}

static void give_name(struct unix_sock *u, const struct sock_addr *a)
{
	memcpy(u->name.bytes, a->bytes, sizeof(a->bytes));
	__atomic_store_n(&u->name.len, a->len, __ATOMIC_RELEASE);
}

static int bind_abstract(struct unix_sock *u, const struct sock_addr *a)
{
	int err = 0;

	mutex_lock(&names_lock);
	if (u->name.len)
		err = -EINVAL;
	else if (find_abstract(u->net, a))
		err = -EADDRINUSE;
	if (!err) {
		give_name(u, a);
		list_add(&u->abstract_link, &abstract);
	}
	mutex_unlock(&names_lock);
	return err;
}

int unix_auto_bind(struct unix_sock *u)
{
	static atomic_t next;
	struct sock_addr a = { .len = HEAD + 6 };
	u16 family = PF_UNIX;
	char digits[8];
	int err;

	if (u->name.len)
		return 0;
	do {
		memcpy(a.bytes, &family, HEAD);
		a.bytes[HEAD] = '\0';
		str_format(digits, sizeof(digits), "%05x", atomic_add_return(&next, 1) & 0xfffff);
		memcpy(a.bytes + HEAD + 1, digits, 5);
		err = bind_abstract(u, &a);
	} while (err == -EADDRINUSE);
	return err;
}

static int bind_path(struct unix_sock *u, const struct sock_addr *a)
{
	struct sock_addr ended = *a;
	char path[UNIX_PATH_MAX + 1];
	struct inode *i;
	int err;

	path_of(a, path);
	if (u->name.len)
		return -EINVAL;
	err = path_make_socket(path, 0777, &i);
	if (err)
		return err;
	ended.len = HEAD + strlen(path) + 1;
	ended.bytes[ended.len - 1] = '\0';
	mutex_lock(&names_lock);
	if (u->name.len) { /* by another thread meanwhile; the file stays, as that of a closed socket does */
		err = -EINVAL;
	} else {
		i->pipe = u;
		u->inode = i;
		give_name(u, &ended);
	}
	mutex_unlock(&names_lock);
	if (err)
		inode_put(i);
	return err;
}

int unix_bind(struct socket *s, const struct sock_addr *a)
{
	struct unix_sock *u = unix_of(s);
	int err = check(a);

	if (err)
		return err;
	if (a->len == HEAD)
		return unix_auto_bind(u);
	return is_abstract(a) ? bind_abstract(u, a) : bind_path(u, a);
}

void unix_unbind(struct unix_sock *u)
{
	struct inode *i;

	mutex_lock(&names_lock);
	i = u->inode;
	if (i)
		i->pipe = NULL;
	else if (u->name.len)
		list_del(&u->abstract_link);
	u->inode = NULL;
	u->name.len = 0;
	u->socket = NULL;
	list_del_init(&u->all_link);
	mutex_unlock(&names_lock);
	inode_put(i);
}

static int find_path(const struct sock_addr *a, struct unix_sock **out)
{
	char name[UNIX_PATH_MAX + 1];
	struct inode *i;
	struct path p;
	int err;

	path_of(a, name);
	err = path_lookup(AT_FDCWD, name, LOOKUP_FOLLOW, &p);
	if (err)
		return err;
	i = p.dentry->inode;
	err = inode_permission(i, MAY_WRITE);
	if (!err && !S_ISSOCK(i->mode))
		err = -ECONNREFUSED;
	mutex_lock(&names_lock);
	*out = err ? NULL : i->pipe;
	if (*out)
		unix_get(*out);
	mutex_unlock(&names_lock);
	path_put(&p);
	return err ? err : *out ? 0 : -ECONNREFUSED;
}

int unix_find(struct unix_sock *from, const struct sock_addr *a, struct unix_sock **out)
{
	int err = check(a);

	if (err || a->len == HEAD)
		return err ? err : -ECONNREFUSED;
	if (is_abstract(a)) {
		mutex_lock(&names_lock);
		*out = find_abstract(from->net, a);
		if (*out)
			unix_get(*out);
		mutex_unlock(&names_lock);
		err = *out ? 0 : -ECONNREFUSED;
	} else {
		err = find_path(a, out);
	}
	if (!err && (*out)->type != from->type) {
		unix_put(*out);
		err = -EPROTOTYPE;
	}
	return err;
}

void unix_name(struct unix_sock *u, struct sock_addr *out)
{
	u16 family = PF_UNIX;

	out->len = __atomic_load_n(&u->name.len, __ATOMIC_ACQUIRE);
	if (out->len) {
		memcpy(out->bytes, u->name.bytes, sizeof(out->bytes));
	} else {
		memcpy(out->bytes, &family, HEAD);
		out->len = HEAD;
	}
}
