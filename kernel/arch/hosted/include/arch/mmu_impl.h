/* SPDX-License-Identifier: MIT
 *
 * The hosted machine has no page tables of its own; what names their entries uses x86-64's format.
 */
#include "../../../x86_64/include/arch/mmu_impl.h"
