/* SPDX-License-Identifier: MIT
 *
 * For file systems that are a tmpfs with more (devtmpfs): fills a super as tmpfs' mount does.
 */
#ifndef FS_TMPFS_H
#define FS_TMPFS_H

struct super;
int tmpfs_fill_super(struct super *s, const char *source, const char *data);

#endif
