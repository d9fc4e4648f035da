/* SPDX-License-Identifier: MIT
 *
 * Problem: after failures the devices disagree about who is in the array; using one that missed writes gives old
 * data for new, and overwriting a foreign one destroys another array.
 *
 * Idea: one truth (highest event count), one pass of judging each device against it. Nothing is written here.
 *
 * Contract: md/assemble.h.
 *
 * Locks: none.
 */
#include <linux/raid/md_p.h>
#include <core/log.h>
#include <lib/err.h>
#include <lib/string.h>
#include <md/assemble.h>

static enum md_verdict take_slot(struct md_plan *p, u32 slot, u32 i, const struct md_super *sb)
{
	bool is_heir = sb->features & MD_FEATURE_REPLACEMENT;
	u32 *who = is_heir ? &p->heir[slot] : &p->member[slot];

	if (*who != MD_NO_SLOT)
		return MD_DUPLICATE;
	*who = i;
	(is_heir ? p->heir_whole : p->in_sync)[slot] = !(sb->features & MD_FEATURE_RECOVERY_OFFSET);
	return is_heir ? MD_USED_AS_HEIR : MD_USED;
}

static enum md_verdict judge(const struct md_super *truth, const struct md_super *sb, struct md_plan *p, u32 i)
{
	u16 role;

	if (memcmp(truth->set_uuid, sb->set_uuid, 16) || truth->level != sb->level ||
	    truth->raid_disks != sb->raid_disks)
		return MD_FOREIGN;
	if (sb->dev_number >= truth->max_dev)
		return MD_NOT_LISTED;
	role = truth->roles[sb->dev_number];
	if (role == MD_ROLE_JOURNAL) {
		if (sb->events + 1 < truth->events)
			return MD_STALE;
		if (p->journal != MD_NO_SLOT)
			return MD_DUPLICATE;
		p->journal = i;
		return MD_JOURNAL_DEV;
	}
	if (role == MD_ROLE_FAULTY)
		return MD_STALE;
	if (role >= truth->raid_disks)
		return MD_SPARE;
	if (sb->events + 1 < truth->events)
		return MD_STALE;
	return take_slot(p, role, i, sb);
}

/* Heirs whose member is not here are the members. */
static void promote_heirs(struct md_plan *p, u32 disks, enum md_verdict *verdict)
{
	for (u32 i = 0; i < disks; i++) {
		if (p->member[i] != MD_NO_SLOT || p->heir[i] == MD_NO_SLOT)
			continue;
		p->member[i] = p->heir[i];
		p->in_sync[i] = p->heir_whole[i];
		p->heir[i] = MD_NO_SLOT;
		verdict[p->member[i]] = MD_USED;
	}
}

int md_assemble(const struct md_super *const *sb, u32 n, struct md_plan *p, enum md_verdict *verdict)
{
	const struct md_super *truth = NULL;

	*p = (struct md_plan){ .journal = MD_NO_SLOT };
	for (u32 i = 0; i < MD_MAX_DISKS; i++)
		p->member[i] = p->heir[i] = MD_NO_SLOT;
	for (u32 i = 0; i < n; i++) {
		if (truth && sb[i]->events <= truth->events)
			continue;
		truth = sb[i];
		p->newest = i;
	}
	if (!truth)
		return fail(EINVAL, "no superblock");
	if (truth->raid_disks > MD_MAX_DISKS)
		return fail(EINVAL, "%u members are more than %u", truth->raid_disks, MD_MAX_DISKS);
	for (u32 i = 0; i < n; i++)
		verdict[i] = judge(truth, sb[i], p, i);
	promote_heirs(p, truth->raid_disks, verdict);
	for (u32 i = 0; i < truth->raid_disks; i++)
		if (p->member[i] == MD_NO_SLOT || !p->in_sync[i])
			p->missing_slots |= BIT(i);
	p->missing = (u32)__builtin_popcountll(p->missing_slots);
	p->needs_journal = truth->features & MD_FEATURE_JOURNAL && p->journal == MD_NO_SLOT;
	p->dirty = truth->resync_offset != MD_CLEAN;
	return 0;
}

const char *md_verdict_text(enum md_verdict v)
{
	switch (v) {
	case MD_USED: return "active";
	case MD_USED_AS_HEIR: return "to replace a member";
	case MD_JOURNAL_DEV: return "journal";
	case MD_SPARE: return "spare";
	case MD_STALE: return "stale: it missed writes or was failed";
	case MD_FOREIGN: return "of another array";
	case MD_DUPLICATE: return "a second copy of a member";
	case MD_NOT_LISTED: return "not listed in the newest superblock";
	}
	return "unknown";
}
