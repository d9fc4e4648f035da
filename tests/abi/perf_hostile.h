/* SPDX-License-Identifier: MIT
 *
 * The answers of Linux 6.1 (Debian) to the calls of perf_hostile.c; made there by `perf_hostile print`.
 */
/* clang-format off */
	"",
