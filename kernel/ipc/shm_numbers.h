/* SPDX-License-Identifier: MIT
 *
 * Numbers of shmget(2), shmat(2) and shmctl(2): linux/shm.h includes a header of the C library, which the kernel has
 * none of. Source: that header and the manual pages.
 */
#ifndef IPC_SHM_NUMBERS_H
#define IPC_SHM_NUMBERS_H

#define SHM_HUGETLB   04000
#define SHM_NORESERVE 010000 /* of shmget */
#define SHM_RDONLY    010000
#define SHM_RND       020000
#define SHM_REMAP     040000
#define SHM_EXEC      0100000
#define SHM_LOCK      11
#define SHM_UNLOCK    12
#define SHM_STAT      13
#define SHM_INFO      14
#define SHM_STAT_ANY  15

/* In shm_perm.mode: goes with the last detach; shall not be swapped out. */
#define SHM_DEST   01000
#define SHM_LOCKED 02000

struct shm_usage { /* struct shm_info */
	int used_ids;
	__kernel_ulong_t shm_tot, shm_rss, shm_swp, swap_attempts, swap_successes;
};

#endif
