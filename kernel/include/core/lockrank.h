/* SPDX-License-Identifier: MIT
 *
 * The one list of lock ranks, outermost first. A lock may be taken only while all held locks have a smaller rank.
 * docs/locks.md is generated from it; add a row where your lock nests, with what it protects. Sleeping locks (mutex,
 * rwlock) and spin locks share the list; a sleeping lock never comes after a spin lock.
 */
#ifndef CORE_LOCKRANK_H
#define CORE_LOCKRANK_H

/* RANK(name, kind, what it protects) */
#define LOCK_RANKS(RANK)                                                                                               \
	RANK(FILE_POS, sleep, "a file's position")                                                                     \
	RANK(TEXT_FILE, sleep, "the text of an open /proc or control file")                                            \
	RANK(MOUNT_TREE, sleep, "the mount tree of a namespace")                                                       \
	RANK(EXEC, sleep, "credentials of a process against exec and ptrace")                                          \
	RANK(ASYNC, sleep, "who hears of open files by signals")                                                       \
	RANK(VCPU, sleep, "one virtual CPU, while a thread runs it")                                                   \
	RANK(HOTPLUG, sleep, "which PCI functions there are, and which drivers have them")                             \
	RANK(MDEV, sleep, "mediated devices: their parents, types and names")                                          \
	RANK(SUBSYS, sleep, "a subsystem's configuration (perf contexts, bpf attach, md array, vfio group, kvm vm)")   \
	RANK(VFIO_DEVICE, sleep, "one virtual device behind vfio: its registers and queues")                           \
	RANK(NET_CONFIG, sleep, "devices, addresses and routes of all network namespaces")                             \
	RANK(DISK, sleep, "which partitions a disk has")                                                               \
	RANK(PIPE, sleep, "the buffers of one pipe")                                                                   \
	RANK(STREAM, sleep, "the one reader of a TCP socket")                                                          \
	RANK(INODE, sleep, "one inode's contents and, for a folder, its names")                                        \
	RANK(CGROUP, sleep, "the tenant tree's shape and its files")                                                   \
	RANK(ATTACH, sleep, "which eBPF programs are attached to which cgroups")                                       \
	RANK(VFIO_MAP, sleep, "a container's map of a program's memory")                                               \
	RANK(MM, sleep, "an address space's VMAs")                                                                     \
	RANK(MAPPING, sleep, "a mapping's list of VMAs")                                                               \
	RANK(DRM, sleep, "handles and objects of a DRM client")                                                        \
	RANK(FS, sleep, "a file system's allocation state")                                                            \
	RANK(RESCTRL, sleep, "groups and masks of cache allocation")                                                   \
	RANK(JOURNAL, sleep, "a journal's running transaction")                                                        \
	RANK(DEVICE, sleep, "a device's state")                                                                        \
	RANK(LEAF_SLEEP, sleep, "innermost sleeping locks")                                                            \
	RANK(TASKLIST, spin, "the family tree, groups and sessions of processes, pid tables")                          \
	RANK(SIGHAND, spin, "signal handlers and queues of a process")                                                 \
	RANK(FUTEX, spin, "one futex bucket")                                                                          \
	RANK(PI, spin, "who waits for whose priority-inheriting lock")                                                 \
	RANK(RENAME, spin, "the moment in which a dentry changes its name")                                            \
	RANK(DENTRY, spin, "a dentry's name and children")                                                             \
	RANK(ICACHE, spin, "inode and dentry hash buckets")                                                            \
	RANK(FILES, spin, "a descriptor table")                                                                        \
	RANK(SOCKET, spin, "a socket's queues")                                                                        \
	RANK(SOCKET_QUEUE, spin, "packets that wait at one socket")                                                    \
	RANK(NEIGHBOUR, spin, "link addresses of neighbours, packets that wait for them, fragments")                   \
	RANK(TTY, spin, "a terminal's buffers")                                                                        \
	RANK(PAGECACHE, spin, "the tree of one page cache")                                                            \
	RANK(VMA, spin, "small state of a VMA or an mm (anon family lists, counters)")                                 \
	RANK(PTE, spin, "one leaf page table")                                                                         \
	RANK(DIRTY, spin, "dirty lists of a device's writeback")                                                       \
	RANK(SHARES, spin, "the list of disks as tenants' shares")                                                     \
	RANK(BLOCK, spin, "a block queue's software and hardware queues")                                              \
	RANK(DRIVER, spin, "a driver's rings and registers")                                                           \
	RANK(SUBSYS_SPIN, spin, "innermost lock of a subsystem (perf ring, bpf map bucket, attr lists)")               \
	RANK(WAITQ, spin, "a wait queue")                                                                              \
	RANK(EPOLL, spin, "an epoll's ready list")                                                                     \
	RANK(IRQCHIP, spin, "interrupt controllers of a virtual machine")                                              \
	RANK(WORK, spin, "work queues, deferred lists")                                                                \
	RANK(TIMER, spin, "a CPU's timers")                                                                            \
	RANK(TASK, spin, "one task's scheduling state")                                                                \
	RANK(RUNQUEUE, spin, "a CPU's run queue")                                                                      \
	RANK(TENANT, spin, "shares of a tenant")                                                                       \
	RANK(PERF, spin, "a perf context's events")                                                                    \
	RANK(PERF_RING, spin, "the write position of a perf or trace ring")                                            \
	RANK(KMAP, spin, "kernel address space outside the direct map")                                                \
	RANK(SLAB, spin, "a slab cache's shared lists")                                                                \
	RANK(CHUNKS, spin, "making descriptors of memory, and memory reserved at boot")                                \
	RANK(PAGES, spin, "the free lists of a node")                                                                  \
	RANK(TLB, spin, "a flush in flight")                                                                           \
	RANK(LEAF_SPIN, spin, "innermost: nothing is taken inside")                                                    \
	RANK(LOG, spin, "the log ring and consoles")                                                                   \
	RANK(CONSOLE, spin, "the rings of a console that also prints the log")

enum lock_rank {
	RANK_NONE,
#define RANK_ENUM_(name, kind, what) RANK_##name,
	LOCK_RANKS(RANK_ENUM_)
#undef RANK_ENUM_
		RANK_COUNT
};

#endif
