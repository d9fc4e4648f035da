/* SPDX-License-Identifier: MIT
 *
 * The answers of Linux 6.1 (Debian) to the requests of perf_attr.c; made there by `perf_attr print`.
 */
/* clang-format off */
	/* a round */
	".vvzvvzvvevvenzzvvvvvoezvvvvvvznnvzvvvbzvvv.nbvnnnnvvvvnvnznvv.v..vzvvvzvvvvvzvv.bznv.vvvvnbvzvoznzv",
	/* a round */
	"aaazaaavvevveaaavvavvoeavvvvvvaaavzavabavvaaaavanaavvvvavaaavv.vaavavavzvavaazvvabaaaavvvanavavoaaav",
	/* a round */
	"avvzvvzvvevvenzzvvvvvoezvvvvvvznnvzvvvbzvvv.nbvnnnnvvvvnvnznvv.v..vzvvvzvvvvvzvv.bznv.vvvvnbvzvoznzv",
	/* a round */
	".vvzvvzvvevvenzzvvvvvoezvvvvvvznnvzvvvbzvvv.nbvnnnnvvvvnvnznvv.v..vzvvvzvvvvvzvv.bznv.vvvvnbvzvoznzv",
	/* a round */
	".vvzvvzvvevvenzzvvvvvoezvvvvvvznnvzvvvbzvvv.nbvnnnnvvvvnvnznvv.v..vzvvvzvvvvvzvv.bznv.vvvvnbvzvoznzv",
