/* SPDX-License-Identifier: MIT
 *
 * The answers of Linux 6.1 (Debian) to the requests of perf_attr.c; made there by `perf_attr print`.
 */
/* clang-format off */
	/* a round */
	".vvzvvzvvevvenzzvvvvvoezvvvvvvznnvzvvvbzvvv.nbvnnnnvvvvnvnznvv.v..vzvvvzvvvvvzvv.bznv.vvvvnbvzvoznzv"
	"zvzvnvzvvvzzzn.v..vv.nvvvzvnnv.vv.ovvzvvvvvvvvzzvvvzzv.oozz.vzvvvzvvvzvvbvvvzzvvzzvvvzzzv.vvzzno.v.v"
	"vvvvzvzvzezvzvvvvnvoveenvvvvz.vvv.vvzzvbvvvvvvvnvzbzvzv.ezze.zvvzv.vbvnvvvvvn.v.v.zvvvvvvv.ze.vvvvzv",
	/* a round */
	"aaazaaavvevveaaavvavvoeavvvvvvaaavzavabavvaaaavanaavvvvavaaavv.vaavavavzvavaazvvabaaaavvvanavavoaaav"
	"zvavnvaavvazan.v..vv.aaavavanaavaaovvzavavvvvvzzvavaavaaaaaavavvvzavvzvaavvazzavzavavzaaa.vvzaaaaaav"
	"avvvzaaaaezvzvvvvavaveeavvvaa.vva.avaavbaavvvavnvzazazvaezzeazvaavaabaavvvvva.v.vaavvvvaavaze.vvvvav",
	/* a round */
	"avvzvvzvvevvenzzvvvvvoezvvvvvvznnvzvvvbzvvv.nbvnnnnvvvvnvnznvv.v..vzvvvzvvvvvzvv.bznv.vvvvnbvzvoznzv"
	"zvzvnvzvvvzzzn.v..vv.nvvvzvnnv.vv.ovvzvvvvvvvvzzvvvzzv.oozz.vzvvvzvvvzvvbvvvzzvvzzvvvzzzv.vvzzno.v.v"
	"vvvvzvzvzezvzvvvvnvoveenvvvvz.vvv.vvzzvbvvvvvvvnvzbzvzv.ezzeazvvzv.vbvnvvvvvn.v.v.zvvvvvvvaze.vvvvzv",
	/* a round */
	".vvzvvzvvevvenzzvvvvvoezvvvvvvznnvzvvvbzvvv.nbvnnnnvvvvnvnznvv.v..vzvvvzvvvvvzvv.bznv.vvvvnbvzvoznzv"
	"zvzvnvzvvvzzzn.v..vv.nvvvzvnnv.vv.ovvzvvvvvvvvzzvvvzzv.oozz.vzvvvzvvvzvvbvvvzzvvzzvvvzzzv.vvzzno.v.v"
	"vvvvzvzvzezvzvvvvnvoveenvvvvz.vvv.vvzzvbvvvvvvvnvzbzvzv.ezze.zvvzv.vbvnvvvvvn.v.v.zvvvvvvv.ze.vvvvzv",
	/* a round */
	".vvzvvzvvevvenzzvvvvvoezvvvvvvznnvzvvvbzvvv.nbvnnnnvvvvnvnznvv.v..vzvvvzvvvvvzvv.bznv.vvvvnbvzvoznzv"
	"zvzvnvzvvvzzzn.v..vv.nvvvzvnnv.vv.ovvzvvvvvvvvzzvvvzzv.oozz.vzvvvzvvvzvvbvvvzzvvzzvvvzzzv.vvzzno.v.v"
	"vvvvzvzvzezvzvvvvnvoveenvvvvz.vvv.vvzzvbvvvvvvvnvzbzvzv.ezze.zvvzv.vbvnvvvvvn.v.v.zvvvvvvv.ze.vvvvzv",
