/* SPDX-License-Identifier: MIT
 *
 * The dispatch table, generated from kernel/abi/syscalls.tbl.
 */
#include <abi/syscall_table.S>
