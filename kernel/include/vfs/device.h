/* SPDX-License-Identifier: MIT
 *
 * Character devices by number, and the names under /dev that their drivers ask for. devtmpfs shows the names.
 */
#ifndef VFS_DEVICE_H
#define VFS_DEVICE_H

#include <vfs/vfs.h>

#define DEV(major, minor) ((u32)(((minor)&0xff) | (((major)&0xfff) << 8) | (((minor) & ~0xffu) << 12)))
#define DEV_MAJOR(d)      (((d) >> 8) & 0xfff)
#define DEV_MINOR(d)      (((d)&0xff) | (((d) >> 12) & 0xfff00))
#define DEV_TRACED(d)     (DEV_MAJOR(d) << 20 | DEV_MINOR(d)) /* as dev_t is in records of events */

struct chrdev {
	u32 dev;   /* DEV() of the first */
	u32 count; /* of minors */
	const char *name;
	const struct file_ops *ops; /* f->inode->rdev tells the minor */
	struct list link;
};
void chrdev_register(struct chrdev *c); /* lives forever */
const struct file_ops *chrdev_find(u32 dev);
int chrdev_show(struct strbuf *out); /* /proc/devices */

/* A node under /dev, e.g. "input/event0". mode has the type (S_IFCHR, S_IFBLK). name is copied. */
int devnode_add(const char *name, u16 mode, u32 dev);
void devnode_remove(const char *name);
struct devnode_sink { /* devtmpfs */
	void (*add)(const char *name, u16 mode, u32 dev);
	void (*remove)(const char *name);
};
void devnode_set_sink(const struct devnode_sink *s); /* gets all names so far */

/* Block devices come later through the same call (block/). */
extern const struct file_ops *block_file_ops;

#endif
