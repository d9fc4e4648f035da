/* SPDX-License-Identifier: MIT
 *
 * Rules of a fault device. One rule a line, as people write it:
 *
 *   ACTION [op=read|write|flush|discard|zeroes|any] [sectors=FIRST[-LAST]] [after=N] [count=N] [error=NAME|NUMBER]
 *          [us=N] [keep=SECTORS] [mode=drop|fail]
 *
 *   fail    the request fails with `error` (EIO); nothing is transferred
 *   delay   it goes down `us` microseconds later
 *   drop    a write, discard or flush that is acknowledged and never done
 *   tear    of a write only the first `keep` sectors (half of it) are done; acknowledged, or `error`
 *   hang    it does not end until the rules are cleared
 *   cut     the power fails: this write and all later ones are lost; acknowledged (mode=drop) or, like all reads too,
 * they fail with EIO (mode=fail)
 *
 * A rule that matches is passed over `after` times, then acts `count` times (0: for ever). The first that acts decides.
 */
#ifndef FAULT_RULES_H
#define FAULT_RULES_H

#include <lib/printf.h>
#include <lib/types.h>

enum fault_action { FAULT_NONE, FAULT_FAIL, FAULT_DELAY, FAULT_DROP, FAULT_TEAR, FAULT_HANG, FAULT_CUT, FAULT_ACTIONS };
enum fault_op { FAULT_READ, FAULT_WRITE, FAULT_FLUSH, FAULT_DISCARD, FAULT_ZEROES, FAULT_OPS };

struct fault_rule {
	u8 action; /* enum fault_action */
	u8 ops;    /* BIT(enum fault_op) */
	bool cut_fails;
	int error;       /* -errno, 0: acknowledged */
	u64 first, last; /* sectors, inclusive */
	u64 after, count;
	u64 delay_ns;
	u64 keep; /* sectors; ~0: half */
	u64 seen, acted;
};

/* One line, terminated (a line feed at the end is allowed); it is changed. -EINVAL. */
int __must_check fault_rule_parse(char *line, struct fault_rule *out);
void fault_rule_show(const struct fault_rule *r, struct strbuf *out);
/* A request comes by: does the rule act on it now? Counts. */
bool fault_rule_acts(struct fault_rule *r, enum fault_op op, u64 sector, u64 sectors);

#endif
