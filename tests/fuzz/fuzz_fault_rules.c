/* SPDX-License-Identifier: MIT
 *
 * Problem: rules of a fault device are text from user space.
 *
 * Idea: any bytes as a line; what is taken must show as a line that is taken again and means the same.
 *
 * Contract: libFuzzer under ASan and UBSan. Locks: none.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <lib/err.h>
#include "../../kernel/drivers/fault/rules.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *line = malloc(size + 1), text[512], *comment;
	struct fault_rule r, again;
	struct strbuf out;

	memcpy(line, data, size);
	line[size] = '\0';
	if (!fault_rule_parse(line, &r)) {
		strbuf_init(&out, text, sizeof(text));
		fault_rule_show(&r, &out);
		comment = strchr(text, '#');
		if (comment)
			*comment = '\0';
		/* Sets of some operations have no name of their own and are not shown. */
		if (fault_rule_parse(text, &again) || again.first != r.first || again.last != r.last ||
		    again.after != r.after || again.count != r.count || again.error != r.error || again.ops != r.ops)
			abort();
	}
	free(line);
	return 0;
}
