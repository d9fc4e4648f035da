/* SPDX-License-Identifier: MIT
 *
 * Namespaces as processes use them: unshare(2), setns(2), the flags of clone(2), and the descriptors by which they are
 * named (/proc/PID/ns). The objects are in task/ns.h.
 */
#ifndef PROCESS_NAMESPACES_H
#define PROCESS_NAMESPACES_H

#include <linux/utsname.h>
#include <task/user_ns.h>

struct file;
struct path;
struct process;

/* Host and domain name of current's namespace, and the constant names of the system, which boot sets. */
struct uts_ns {
	struct ns ns;
	struct new_utsname name; /* nodename, domainname under the part's lock */
};
extern struct uts_ns uts_first;
void uts_get(struct new_utsname *out);
/* -EPERM without CAP_SYS_ADMIN over the namespace. name: less than 65 bytes. */
int __must_check uts_set_name(bool domain, const char *name);

int __must_check namespaces_unshare(u64 flags);                  /* unshare(2) */
int __must_check namespaces_enter(struct ns *n, unsigned flags); /* setns(2): flags 0 or the kind's */

/* A path whose inode stands for n (of which it takes a reference): the target of /proc/PID/ns/X. */
int __must_check ns_path(struct ns *n, struct path *out);
struct ns *ns_of_file(const struct file *f);              /* not counted; NULL: it is something else */
void ns_describe(const struct ns *n, struct strbuf *out); /* "uts:[4026531838]" */

#endif
