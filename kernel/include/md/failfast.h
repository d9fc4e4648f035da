/* SPDX-License-Identifier: MIT
 *
 * What an error of a member means. A member marked failfast (FailFast1 in its superblock, mdadm --failfast) has a
 * transport that already did its retries: the first error fails it, so that the array goes on at once. Without the
 * mark a read error is repaired by rewriting the sector. The last copy never fails: its error goes to the caller.
 * Pure functions.
 */
#ifndef MD_FAILFAST_H
#define MD_FAILFAST_H

#include <lib/types.h>

struct md_failfast_in {
	bool failfast;
	bool others_can_serve; /* the array still works without this member */
};

enum md_error_action { MD_FAIL_MEMBER, MD_REPAIR, MD_REPORT };

enum md_error_action md_failfast_read(const struct md_failfast_in *in);
enum md_error_action md_failfast_write(const struct md_failfast_in *in);

#endif
