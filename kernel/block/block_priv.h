/* SPDX-License-Identifier: MIT
 *
 * What the files of the block part say to each other.
 */
#ifndef BLOCK_PRIV_H
#define BLOCK_PRIV_H

#include <alloc/slab.h>
#include <block/block.h>

struct io;

/* bio.c: the bio is over; tells its parent or its owner. */
void block_bio_init(void);
void block_bio_finish(struct bio *b, int status);
/* queue.c */
void block_queue_submit(struct bio *b);
int __must_check block_queues_init(struct block_dev *d, unsigned nr, unsigned depth);
void block_queues_free(struct block_dev *d);
void block_queues_kill(struct block_dev *d);
void block_queue_go(struct bio *b);          /* past the tenants */
bool block_queue_joins(const struct bio *b); /* would go with the request that the caller's plug held back last */
/* tenants.c: who pays for a bio, and when it may go. */
int __must_check block_tenants_join(struct bio *b); /* -EAGAIN: BIO_NOWAIT would wait */
void block_tenants_join_child(struct bio *child, struct bio *parent);
void block_tenants_submit(struct bio *b); /* block_queue_go, now or later */
void block_tenants_finished(struct bio *b);
int __must_check block_share_init(struct block_dev *d);
void block_share_open(struct block_dev *d); /* the disk is dead: nobody waits any more */
void block_share_free(struct block_dev *d);
/* policy.c: throttling before, statistics after, polling while a bio is under way. */
int __must_check block_policy_admit(struct bio *b); /* 0, or -EAGAIN for BIO_NOWAIT; may sleep */
void block_policy_completed(struct bio *b, u64 took_ns);
void block_policy_finished(struct bio *b);
void block_policy_poll(struct bio *b); /* returns when finished, or when it is to be left to the interrupt */
void block_policy_sleep(struct bio *b);
bool block_policy_always_polls(const struct block_dev *d); /* not adaptive: io_poll_delay is -1 or a time */
void block_wait_finished(struct bio *b);                   /* bio.c */
int __must_check block_policy_init(struct block_dev *d);
void block_policy_free(struct block_dev *d);
/* policy.c's files of queue/ */
extern const struct attr block_attr_io_poll, block_attr_io_poll_delay, block_attr_wbt_lat_usec, block_attr_poll_stat;
/* sysfs.c */
void block_stat_line(struct block_dev *d, struct strbuf *out); /* the 17 numbers of stat and diskstats */
int __must_check block_attrs_add(struct block_dev *d, struct attr_dir *parent);
/* direct.c: bytes moved, or -errno; advances io */
ssize_t block_direct_rw(struct block_dev *d, struct io *io, enum block_op op);
/* file.c: /dev/NAME */
struct block_dev *block_dev_of(const struct file *f); /* an open device node */
int __must_check block_node_add(struct block_dev *d);
bool block_file_free(
	struct block_dev *d); /* the last reference is gone. False: it is still mapped and stays for good */
extern const struct attr_dir_ops block_attr_ops;
void block_file_init(void);
void block_node_remove(struct block_dev *d);
/* dev.c, partition.c */
void block_partitions_scan(struct block_dev *d); /* by a worker */
/* partitions.c: BLKPG's three. -EBUSY (overlaps, exists, in use), -ENXIO (no such), -EINVAL (outside the disk). */
int __must_check block_partition_add(struct block_dev *disk, unsigned number, u64 start, u64 sectors);
int __must_check block_partition_remove(struct block_dev *disk, unsigned number);
int __must_check block_partition_resize(struct block_dev *disk, unsigned number, u64 start, u64 sectors);
void block_partitions_drop(struct block_dev *disk); /* all, used or not: the disk goes */
/* dev.c: in the list, with files and a node; and out of all that. */
int __must_check block_publish(struct block_dev *d, struct attr_dir *parent);
void block_unpublish(struct block_dev *d);
u32 block_extended_number(void); /* for who has no numbers of its own */
/* ioctl.c */
long block_ioctl(struct file *f, unsigned cmd, ulong arg);
/* erase.c: BLKDISCARD and kin on a range of bytes; fallocate */
long block_erase_ioctl(struct file *f, unsigned cmd, ulong arg);
int block_fallocate(struct file *f, int mode, s64 off, s64 len);

#endif
