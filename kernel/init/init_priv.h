/* SPDX-License-Identifier: MIT
 *
 * Between kmain.c and initcalls.c.
 */
#ifndef INIT_PRIV_H
#define INIT_PRIV_H

void init_run(void); /* every PART_INIT, by level */

#endif
