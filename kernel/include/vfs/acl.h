/* SPDX-License-Identifier: MIT
 *
 * Access lists of files (POSIX.1e draft 17, acl(5)): rights of single users and groups beside the mode's three.
 *
 * Value: the bytes of the attributes system.posix_acl_access and _default as programs see them: version 2 (u32), then
 * entries of tag (u16), rights (u16), number (u32). Ownership: inode->acl is the inode's, under RCU; a list is never
 * changed once others may see it.
 */
#ifndef VFS_ACL_H
#define VFS_ACL_H

#include <vfs/vfs.h>

struct acl;

/* NULL: what the mode says is all. -EINVAL: not a list as acl(5) has it; -ENOMEM. */
int __must_check acl_parse(const void *value, size_t bytes, struct acl **out);
void acl_free(struct acl *a); /* NULL is allowed */
struct acl *__must_check acl_copy(const struct acl *a);
size_t acl_bytes(const struct acl *a);
void acl_value(const struct acl *a, void *out); /* acl_bytes of them */
/* The mode's nine bits are what the list says of owner, mask (or group) and others; and the reverse (chmod). */
u16 acl_to_mode(const struct acl *a, u16 mode);
void acl_from_mode(struct acl *a, u16 mode);
/* A new file below a folder with this default list: the copy becomes its access list, cut to what `mode` asks for. */
void acl_inherit(struct acl *a, u16 *mode);
bool acl_is_minimal(const struct acl *a); /* the mode says it all */

/* Who is not the owner: 0, or -EACCES. Under RCU. */
int __must_check acl_check(const struct acl *a, const struct inode *i, unsigned may);
void inode_set_acl(struct inode *i, struct acl *a); /* takes it over; NULL: none */

#endif
