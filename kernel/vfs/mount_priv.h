/* SPDX-License-Identifier: MIT
 *
 * Between mount.c and propagate.c. All with mount_lock held.
 */
#ifndef MOUNT_PRIV_H
#define MOUNT_PRIV_H

#include <vfs/mount.h>

struct mount_peers {
	int id;
	struct list members, slaves; /* mount->peer_link, slave_link */
	bool met;                    /* during one walk */
};

/* How a copy takes part in what its original does. */
enum mount_copy {
	MOUNT_COPY_BIND,  /* a peer, or slave of the same; what is unbindable is left out */
	MOUNT_COPY_PEER,  /* the same, unbindable ones too: for a namespace */
	MOUNT_COPY_SLAVE, /* only gets changes */
};

/* Flags that belong to a mount; the others are the super's. */
#define MOUNT_FLAGS                                                                                                    \
	(MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC | MS_NOATIME | MS_NODIRATIME | MS_RELATIME | MS_STRICTATIME)

/* ---- mount.c ---- */
struct mount *mount_alloc(struct super *s, struct dentry *root, unsigned flags); /* NULL; takes over s's reference */
/* m goes on top of what is at `at`; fresh: a mount of what is there already is refused. Takes over m's reference. */
int __must_check mount_graft(struct mount *m, const struct path *at, bool fresh);
struct mount *mount_next_in_tree(struct mount *m, struct mount *top);
/* The copy of the mount tree from `top` on, whose root is `root`; only mounts below root. */
int __must_check mount_copy_tree(struct mount *top, struct dentry *root, bool recursive, enum mount_copy how,
				 struct mount **out);
/* Takes a tree apart: its mounts are added to `dead`, children before their parents, for the caller to put unlocked. */
void mount_dissolve(struct mount *top, struct list *dead);
void mount_attach(struct mount *m, struct mount *parent, struct dentry *at);
void mount_join_ns(struct mount *m, struct mount_ns *ns);
void mount_join_tree(struct mount *top, struct mount_ns *ns); /* all but top */
void mount_changed(struct mount_ns *ns);
void mount_free_dead(struct list *dead);

/* ---- propagate.c ---- */
void mount_inherit(struct mount *copy, struct mount *from, enum mount_copy how);
void mount_leave_peers(struct mount *m);
void mount_leave_master(struct mount *m);
int __must_check mount_set_type(struct mount *top, unsigned type, bool recursive); /* MS_SHARED ...; -ENOMEM */
bool mount_has_unbindable(struct mount *top);
/* The tree m is about to be attached at a dentry of `parent`: attaches copies wherever parent's changes go. -ENOMEM:
 * nothing was attached. */
int __must_check mount_propagate(struct mount *m, struct mount *parent, struct dentry *at);
/* The tree is about to be taken apart: what its peers have at the same places goes to `dead`. */
void mount_propagate_umount(struct mount *top, struct list *dead);

#endif
