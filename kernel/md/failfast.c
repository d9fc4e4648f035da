/* SPDX-License-Identifier: MIT
 *
 * Problem: a dying disk that retries for minutes stalls an array that could do without it; an array that throws out
 * its last disk at the first hiccup loses everything.
 *
 * Idea: two facts decide: is the member marked failfast, and can the others serve.
 *
 *			failfast	not		(others can serve; otherwise always REPORT for writes,
 *	read error	FAIL_MEMBER	REPAIR		 and REPAIR, that is: report what cannot be rebuilt, for
 *	write error	FAIL_MEMBER	FAIL_MEMBER	 reads)
 *
 * Contract: md/failfast.h.
 *
 * Locks: none.
 */
#include <md/failfast.h>

enum md_error_action md_failfast_read(const struct md_failfast_in *in)
{
	return in->failfast && in->others_can_serve ? MD_FAIL_MEMBER : MD_REPAIR;
}

enum md_error_action md_failfast_write(const struct md_failfast_in *in)
{
	return in->others_can_serve ? MD_FAIL_MEMBER : MD_REPORT;
}
