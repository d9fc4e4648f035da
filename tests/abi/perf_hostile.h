/* SPDX-License-Identifier: MIT
 *
 * The answers of Linux 6.1 (Debian) to the calls of perf_hostile.c; made there by `perf_hostile print`.
 */
/* clang-format off */
	"b.c.bbbb.vcbbbbbbb..vb.c.v.vcc...cv..b.ccccccf..cbbf.....b.ccvfccccb.v.cvvvc.vfcvvcev.c..btco.ccvb.b"
	"tbbc...b.bcbvb.bvvcocebc.c.b...ccbbvvbvbcc..t.vvcbccbcbb.cvbcbc..bvv..vc.....vt.f.c.c.c..cvvc.c...cv"
	"vv....c.cb.tc...ov.vv.v.fvc.....ccb..ccc..vcv.vv.fbv.cvvc.cc..v.cvbbcccb...vtbcocc...f..b.b.v....vcv"
	"cc....cevv.bftbbc.cvccvcfb.v..bbtccvb..cc.cbcvb.bbf.c.v.cv.cv.b.eb..v.v..vcvv.t...v..vvcb.cc.cvov.vv"
	"c.fvb.vc...cv..c..vbcc..c.vv..t.ccv.vocvvvvvf.bc.vcv..vfcvc.cf.b..ccv.cbvbvtcbbc..bc.v.vccv.vccc..tf"
	"...vfv...bbtcfc..c.bbvvcccc.ctv.vc.c...cf....vcccccc..v.v.occv..bcvt.fbff.c.vvvcct..ccf.cvvv..cv.vvf",
