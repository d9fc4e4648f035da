/* SPDX-License-Identifier: MIT
 *
 * Problem: mdadm asks for most of what it shows, and people change journal modes and start checks, by files below
 * /sys/block/mdN/md.
 *
 * Idea: a table of files an array and a table of files a device. A file that Linux can write and we cannot is only
 * readable, so that a write fails with EACCES instead of being believed.
 *
 *      md/       array_state level layout chunk_size raid_disks component_size metadata_version degraded sync_action
 * ... md/dev-X/ state slot offset size errors, block -> the device
 *
 * Contract: Documentation/admin-guide/md.rst of Linux 6.1 for names and words.
 *
 * Locks: a->lock in each.
 */
#include <core/clock.h>
#include <core/log.h>
#include <alloc/slab.h>
#include <lib/err.h>
#include <lib/string.h>
#include <task/task.h>
#include "trace.h"

static struct md_array *array_of(struct attr_dir *dir)
{
	return dir->owner;
}

static bool word_is(char *text, size_t len, const char *word)
{
	if (len && text[len - 1] == '\n')
		text[len - 1] = '\0';
	return !strcmp(text, word);
}

/* ---- the array's ------------------------------------------------------------------------------------------------ */

enum array_file {
	STATE,
	LEVEL,
	LAYOUT,
	CHUNK,
	DISKS,
	COMPONENT,
	VERSION,
	DEGRADED,
	ACTION,
	COMPLETED,
	MISMATCHES,
	RESYNC_START,
	SAFE_DELAY,
	ARRAY_SIZE_FILE,
	CACHE_SIZE,
	CACHE_ACTIVE,
	JOURNAL_MODE,
	POLICY,
	RESHAPE_POSITION,
	READ_ERRORS,
	LAST_ACTION,
	SPEED,
	SPEED_MIN,
	SPEED_MAX,
	SUSPEND_LO,
	SUSPEND_HI,
};

static const char *state_word(const struct md_array *a, const struct md_status *st)
{
	if (!a->running)
		return list_empty(&a->disks) ? "clear" : "inactive";
	if (a->read_only || st->read_only)
		return "readonly";
	return st->clean ? "clean" : "active";
}

const char *md_sync_name(const struct md_array *a, const struct md_status *st)
{
	switch (st->sync) {
	case MD_SYNC_RESYNC: return "resync";
	case MD_SYNC_CHECK: return "check";
	case MD_SYNC_REPAIR: return "repair";
	case MD_SYNC_RECOVER: return "recovery";
	case MD_SYNC_NONE: break;
	}
	return "idle";
}

static const char *action_word(const struct md_array *a, enum md_sync kind)
{
	if (kind == MD_SYNC_NONE && a->frozen)
		return "frozen";
	return kind == MD_SYNC_RECOVER ? "recover" : md_sync_name(a, &(struct md_status){ .sync = kind });
}

static void show_speed_limit(const struct md_array *a, bool most, struct strbuf *out)
{
	strbuf_add(out, "%u (%s)\n", md_speed_limit(a, most),
		   (most ? a->speed_max : a->speed_min) ? "local" : "system");
}

static void show_completed(const struct md_array *a, const struct md_status *st, struct strbuf *out)
{
	if (st->sync == MD_SYNC_NONE)
		strbuf_add(out, "none\n");
	else
		strbuf_add(out, "%llu / %llu\n", (unsigned long long)st->sync_position,
			   (unsigned long long)a->geo.member_sectors);
}

static int show_running(const struct md_array *a, const struct md_status *st, enum array_file file, struct strbuf *out)
{
	bool journal = a->slot[MD_JOURNAL_SLOT] != NULL, wants_journal = a->truth.features & MD_FEATURE_JOURNAL;

	switch (file) {
	case LEVEL: strbuf_add(out, "%s\n", md_level_name(a->geo.level)); break;
	case LAYOUT: strbuf_add(out, "%u\n", a->geo.layout); break;
	case CHUNK: strbuf_add(out, "%u\n", a->geo.chunk << SECTOR_SHIFT); break;
	case DISKS: strbuf_add(out, "%u\n", a->geo.disks); break;
	case COMPONENT: strbuf_add(out, "%llu\n", (unsigned long long)a->geo.member_sectors / 2); break;
	case DEGRADED: strbuf_add(out, "%d\n", __builtin_popcountll(st->failed)); break;
	case ACTION: strbuf_add(out, "%s\n", action_word(a, st->sync)); break;
	case LAST_ACTION:
		strbuf_add(out, "%s\n", a->last_sync == MD_SYNC_NONE ? "none" : action_word(a, a->last_sync));
		break;
	case SPEED:
		if (st->sync == MD_SYNC_NONE)
			strbuf_add(out, "none\n");
		else
			strbuf_add(out, "%llu\n", (unsigned long long)md_speed(a, st));
		break;
	case COMPLETED: show_completed(a, st, out); break;
	case MISMATCHES: strbuf_add(out, "%llu\n", (unsigned long long)st->mismatches); break;
	case RESYNC_START:
		strbuf_add(out, st->parity_good == MD_CLEAN ? "none\n" : "%llu\n", (unsigned long long)st->parity_good);
		break;
	case CACHE_SIZE: strbuf_add(out, "%u\n", st->stripes); break;
	case CACHE_ACTIVE: strbuf_add(out, "%u\n", st->cached); break;
	case JOURNAL_MODE:
		if (journal)
			strbuf_add(out, a->mode == MD_WRITE_BACK ? "write-through [write-back]\n"
								 : "[write-through] write-back\n");
		break;
	case POLICY:
		strbuf_add(out, "%s\n",
			   wants_journal   ? "journal"
			   : st->ppl       ? "ppl"
			   : st->bitmap    ? "bitmap"
			   : a->geo.parity ? "resync"
					   : "none");
		break;
	default: break;
	}
	return 0;
}

static int show_array(struct attr_dir *dir, const struct attr *attr, struct strbuf *out)
{
	struct md_array *a = array_of(dir);
	struct md_status st;

	mutex_lock(&a->lock);
	md_snapshot(a, &st);
	switch ((enum array_file)attr->data) {
	case STATE: strbuf_add(out, "%s\n", state_word(a, &st)); break;
	case VERSION:
		if (a->announced || a->running)
			strbuf_add(out, "1.%u\n", a->super_minor);
		else
			strbuf_add(out, "none\n");
		break;
	case SAFE_DELAY:
		strbuf_add(out, "%llu.%03llu\n", (unsigned long long)(a->safe_ns / NSEC_PER_SEC),
			   (unsigned long long)(a->safe_ns % NSEC_PER_SEC / NSEC_PER_MSEC));
		break;
	case SPEED_MIN: show_speed_limit(a, false, out); break;
	case SPEED_MAX: show_speed_limit(a, true, out); break;
	case SUSPEND_LO: strbuf_add(out, "%llu\n", (unsigned long long)a->suspend_lo); break;
	case SUSPEND_HI: strbuf_add(out, "%llu\n", (unsigned long long)a->suspend_hi); break;
	case ARRAY_SIZE_FILE: strbuf_add(out, "default\n"); break;
	case RESHAPE_POSITION: strbuf_add(out, "none\n"); break;
	case READ_ERRORS: strbuf_add(out, "20\n"); break;
	default:
		if (a->running)
			show_running(a, &st, (enum array_file)attr->data, out);
		break;
	}
	mutex_unlock(&a->lock);
	return 0;
}

static int set_state(struct md_array *a, char *text, size_t len)
{
	if (word_is(text, len, "readonly"))
		return a->running ? md_array_set_read_only(a, true) : md_array_run(a, true);
	if (!strcmp(text, "clean") || !strcmp(text, "active") || !strcmp(text, "read-auto"))
		return a->running ? md_array_set_read_only(a, false) : md_array_run(a, false);
	if (!strcmp(text, "clear") || !strcmp(text, "inactive"))
		return md_array_stop(a);
	return fail(EINVAL, "no state that can be set: %s", text);
}

/* One that must be made goes on by itself after "idle", not after "frozen". */
static void end_pass(struct md_array *a, bool frozen)
{
	mutex_lock(&a->engine_lock);
	a->frozen = true;
	md_stop_sync(a->e);
	mutex_unlock(&a->engine_lock);
	md_kick(a);
	wait_event(&a->idle, READ_ONCE(a->last.sync) == MD_SYNC_NONE);
	mutex_lock(&a->engine_lock);
	a->frozen = frozen;
	mutex_unlock(&a->engine_lock);
	md_kick(a);
	md_changed(a);
}

int md_sync_action(struct md_array *a, const char *word)
{
	static const struct {
		const char *word;
		enum md_sync kind;
	} table[] = { { "check", MD_SYNC_CHECK },
		      { "repair", MD_SYNC_REPAIR },
		      { "resync", MD_SYNC_RESYNC },
		      { "recover", MD_SYNC_RECOVER } };
	int err = -EINVAL;

	if (!strcmp(word, "idle") || !strcmp(word, "frozen")) {
		end_pass(a, *word == 'f');
		return 0;
	}
	mutex_lock(&a->engine_lock);
	a->frozen = a->gave_up = false;
	for (unsigned i = 0; i < ARRAY_SIZE(table); i++)
		if (!strcmp(word, table[i].word))
			err = md_start_sync(a->e, table[i].kind);
	if (!err) {
		a->sync_start_ns = clock_ns();
		a->sync_start_position = 0;
		md_status(a->e, &a->last);
		md_pace_start(a, &a->last, a->sync_start_ns);
		if (trace_on(md_sync_start))
			md_trace_sync_start(a, a->last.sync);
	}
	mutex_unlock(&a->engine_lock);
	md_kick(a);
	return err;
}

static int set_mode(struct md_array *a, char *text, size_t len)
{
	enum md_journal_mode mode = word_is(text, len, "write-back") ? MD_WRITE_BACK : MD_WRITE_THROUGH;
	int err;

	if (!a->slot[MD_JOURNAL_SLOT])
		return -ENODEV;
	if (mode == MD_WRITE_THROUGH && strcmp(text, "write-through"))
		return fail(EINVAL, "write-through or write-back");
	mutex_lock(&a->engine_lock);
	err = md_set_mode(a->e, mode);
	if (!err)
		a->mode = mode;
	mutex_unlock(&a->engine_lock);
	return err;
}

static int set_policy(struct md_array *a, char *text, size_t len)
{
	bool ppl = word_is(text, len, "ppl");

	return ppl || !strcmp(text, "resync") ? md_array_set_ppl(a, ppl) : fail(EINVAL, "ppl or resync");
}

/* KiB/s, or "system". */
static int set_speed(u32 *limit, char *text, size_t len)
{
	u64 n = 0;

	if (!word_is(text, len, "system") && (str_to_u64(text, 10, &n) || !n || n > INT32_MAX))
		return fail(EINVAL, "a speed is KiB per second or \"system\"");
	*limit = (u32)n;
	return 0;
}

/* Seconds with up to three digits behind the point; 0: it stays dirty. */
static int set_safe_delay(struct md_array *a, char *text, size_t len)
{
	u64 whole, part = 0;
	char *dot = strchr(text, '.');

	(void)word_is(text, len, "");
	if (dot) {
		*dot++ = '\0';
		while (strlen(dot) > 3)
			dot[strlen(dot) - 1] = '\0';
		if (*dot && str_to_u64(dot, 10, &part))
			return -EINVAL;
		for (size_t i = strlen(dot); i < 3; i++)
			part *= 10;
	}
	if (str_to_u64(*text ? text : "0", 10, &whole) || whole > 1000)
		return fail(EINVAL, "a delay is seconds");
	a->safe_ns = whole * NSEC_PER_SEC + part * NSEC_PER_MSEC;
	md_kick(a);
	return 0;
}

static int set_number(struct md_array *a, enum array_file file, char *text, size_t len)
{
	u64 n = 0;

	if (!word_is(text, len, "max") && str_to_u64(text, 10, &n))
		return fail(EINVAL, "no number: %s", text);
	if (file == CACHE_SIZE)
		return md_array_set_stripes(a, n);
	if (file == SUSPEND_LO || file == SUSPEND_HI)
		return md_array_suspend(a, file == SUSPEND_LO ? n : a->suspend_lo,
					file == SUSPEND_HI ? n : a->suspend_hi);
	if (file == DISKS)
		return n && n <= MD_MAX_DISKS ? md_array_set_mirrors(a, (u32)n) : -EINVAL;
	return n > ~0ULL / 2 ? -EINVAL : md_array_set_size(a, n * 2);
}

static int set_array(struct attr_dir *dir, const struct attr *attr, char *text, size_t len)
{
	struct md_array *a = array_of(dir);
	int err;

	mutex_lock(&a->lock);
	if (attr->data == STATE)
		err = set_state(a, text, len);
	else if (!a->running)
		err = -ENODEV;
	else if (attr->data == JOURNAL_MODE)
		err = set_mode(a, text, len);
	else if (attr->data == POLICY)
		err = set_policy(a, text, len);
	else if (attr->data == SPEED_MIN || attr->data == SPEED_MAX)
		err = set_speed(attr->data == SPEED_MIN ? &a->speed_min : &a->speed_max, text, len);
	else if (attr->data == SAFE_DELAY)
		err = set_safe_delay(a, text, len);
	else if (attr->data == DISKS || attr->data == COMPONENT || attr->data == CACHE_SIZE ||
		 attr->data == SUSPEND_LO || attr->data == SUSPEND_HI)
		err = set_number(a, (enum array_file)attr->data, text, len);
	else
		err = word_is(text, len, "") ? -EINVAL : md_sync_action(a, text);
	mutex_unlock(&a->lock);
	return err;
}

#define READ(file, n)                                                                                                  \
	&(const struct attr)                                                                                           \
	{                                                                                                              \
		.name = file, .mode = 0444, .show = show_array, .data = n                                              \
	}
#define WRITE(file, n)                                                                                                 \
	&(const struct attr)                                                                                           \
	{                                                                                                              \
		.name = file, .mode = 0644, .show = show_array, .set = set_array, .data = n                            \
	}
static const struct attr *const array_attrs[] = {
	WRITE("array_state", STATE),
	READ("level", LEVEL),
	READ("layout", LAYOUT),
	READ("chunk_size", CHUNK),
	WRITE("raid_disks", DISKS),
	WRITE("component_size", COMPONENT),
	READ("metadata_version", VERSION),
	READ("degraded", DEGRADED),
	WRITE("sync_action", ACTION),
	READ("sync_completed", COMPLETED),
	READ("mismatch_cnt", MISMATCHES),
	READ("resync_start", RESYNC_START),
	WRITE("safe_mode_delay", SAFE_DELAY),
	READ("last_sync_action", LAST_ACTION),
	READ("sync_speed", SPEED),
	WRITE("sync_speed_min", SPEED_MIN),
	WRITE("sync_speed_max", SPEED_MAX),
	READ("array_size", ARRAY_SIZE_FILE),
	WRITE("stripe_cache_size", CACHE_SIZE),
	WRITE("suspend_lo", SUSPEND_LO),
	WRITE("suspend_hi", SUSPEND_HI),
	READ("stripe_cache_active", CACHE_ACTIVE),
	WRITE("journal_mode", JOURNAL_MODE),
	WRITE("consistency_policy", POLICY),
	READ("reshape_position", RESHAPE_POSITION),
	READ("max_read_errors", READ_ERRORS),
	NULL,
};

static u64 version(struct attr_dir *dir, const struct attr *attr)
{
	bool tells = attr->data == STATE || attr->data == ACTION || attr->data == DEGRADED;

	return tells ? READ_ONCE(array_of(dir)->version) + 1 : 0;
}

static const struct attr_dir_ops array_ops = { .version = version };

int md_files_add(struct md_array *a)
{
	return attr_dir_init(&a->attr, &a->block.attr, "md", array_attrs, &array_ops, a);
}

/* ---- a device's ------------------------------------------------------------------------------------------------- */

enum disk_file { DISK_STATE, SLOT, OFFSET, SIZE, ERRORS, RECOVERY_START, BAD_BLOCKS, PPL_SECTOR, PPL_SIZE };

static void show_disk_state(const struct md_array *a, const struct md_disk *d, struct strbuf *out)
{
	static const struct {
		unsigned bit;
		const char *word;
	} table[] = { { MD_DISK_FAULTY, "faulty" },
		      { MD_DISK_SYNC, "in_sync" },
		      { MD_DISK_JOURNAL, "journal" },
		      { MD_DISK_WRITEMOSTLY, "write_mostly" },
		      { MD_DISK_FAILFAST, "failfast" } };
	u32 role = md_disk_role(a, d);
	const char *sep = "";

	for (unsigned i = 0; i < ARRAY_SIZE(table); i++)
		if (role & 1U << table[i].bit) {
			strbuf_add(out, "%s%s", sep, table[i].word);
			sep = ",";
		}
	if (!(role & (1U << MD_DISK_FAULTY | 1U << MD_DISK_SYNC | 1U << MD_DISK_JOURNAL)))
		strbuf_add(out, "%sspare", sep);
	strbuf_add(out, "%s%s\n", d->wants_replacement ? ",want_replacement" : "",
		   md_disk_is_heir(d) ? ",replacement" : "");
}

static void show_bad_blocks(struct md_array *a, const struct md_disk *d, struct strbuf *out)
{
	const struct md_bad *b;

	mutex_lock(&a->engine_lock);
	b = a->e ? md_bad_blocks(a->e, d->slot) : NULL;
	for (u32 i = 0; b && i < b->n; i++)
		strbuf_add(out, "%llu %u\n", (unsigned long long)b->range[i].sector, b->range[i].sectors);
	mutex_unlock(&a->engine_lock);
}

static int show_disk(struct attr_dir *dir, const struct attr *attr, struct strbuf *out)
{
	struct md_disk *d = dir->owner;
	struct md_array *a = d->a;

	mutex_lock(&a->lock);
	switch ((enum disk_file)attr->data) {
	case DISK_STATE: show_disk_state(a, d, out); break;
	case SLOT:
		if (d->slot == MD_JOURNAL_SLOT)
			strbuf_add(out, "journal\n");
		else if (d->slot == MD_NO_SLOT)
			strbuf_add(out, "none\n");
		else
			strbuf_add(out, "%u\n", md_disk_position(d));
		break;
	case OFFSET: strbuf_add(out, "%llu\n", (unsigned long long)d->sb.data_offset); break;
	case SIZE: strbuf_add(out, "%llu\n", (unsigned long long)d->sb.data_size / 2); break;
	case ERRORS: strbuf_add(out, "%d\n", atomic_read(&d->errors)); break;
	case RECOVERY_START: strbuf_add(out, "none\n"); break;
	case BAD_BLOCKS: show_bad_blocks(a, d, out); break;
	case PPL_SECTOR: strbuf_add(out, "%llu\n", (unsigned long long)d->ppl_sector); break;
	case PPL_SIZE: strbuf_add(out, "%u\n", d->ppl_sectors); break;
	}
	mutex_unlock(&a->lock);
	return 0;
}

/* "failfast", "-failfast", "writemostly", "-writemostly". */
static int set_flag(struct md_array *a, struct md_disk *d, const char *word)
{
	bool off = *word == '-';
	u8 flag = !strcmp(word + off, "failfast") ? FailFast1 : !strcmp(word + off, "writemostly") ? WriteMostly1 : 0;
	int err;

	if (!flag)
		return fail(EINVAL, "%s: no state that can be set: %s", d->name, word);
	if (d->slot >= MD_MAX_DISKS)
		return fail(EINVAL, "%s is in no slot", d->name);
	mutex_lock(&a->engine_lock);
	err = md_set_devflags(a->e, d->slot, off ? 0 : flag, off ? flag : 0);
	if (!err)
		d->sb.devflags = (u8)(off ? d->sb.devflags & ~flag : d->sb.devflags | flag);
	mutex_unlock(&a->engine_lock);
	md_kick(a);
	return err;
}

static int set_disk_state(struct attr_dir *dir, const struct attr *attr, char *text, size_t len)
{
	struct md_disk *d = dir->owner;
	struct md_array *a = d->a;
	int err;

	mutex_lock(&a->lock);
	if (!a->running || dir->removed)
		err = -ENODEV;
	else if (word_is(text, len, "faulty"))
		err = md_disk_fail(a, d);
	else if (!strcmp(text, "re-add"))
		err = md_disk_readd(a, d);
	else if (!strcmp(text, "want_replacement") || !strcmp(text, "-want_replacement"))
		err = md_disk_replace(a, d, *text != '-');
	else if (!strcmp(text, "remove"))
		err = md_disk_remove(a, d->dev->rdev);
	else
		err = set_flag(a, d, text);
	mutex_unlock(&a->lock);
	return err;
}

/* Of a spare. */
static int set_disk_slot(struct attr_dir *dir, const struct attr *attr, char *text, size_t len)
{
	struct md_disk *d = dir->owner;
	u64 slot = MD_NO_SLOT;
	int err;

	if (!word_is(text, len, "none") && (str_to_u64(text, 10, &slot) || slot >= MD_MAX_DISKS))
		return fail(EINVAL, "%s: no slot: %s", d->name, text);
	mutex_lock(&d->a->lock);
	err = d->a->running && !dir->removed ? md_disk_mean(d->a, d, (u32)slot) : -ENODEV;
	mutex_unlock(&d->a->lock);
	return err;
}

/* The superblock has 16 bits for each. */
static int set_disk_ppl(struct attr_dir *dir, const struct attr *attr, char *text, size_t len)
{
	struct md_disk *d = dir->owner;
	struct md_status st;
	u64 n;
	int err = 0;

	(void)word_is(text, len, "");
	if (str_to_u64(text, 10, &n) ||
	    (attr->data == PPL_SIZE ? n > UINT16_MAX : n - d->sb.super_offset + 32768 > UINT16_MAX))
		return fail(EINVAL, "%s: no place for a partial parity log: %s", d->name, text);
	mutex_lock(&d->a->lock);
	md_snapshot(d->a, &st);
	if (st.ppl && d->slot != MD_NO_SLOT)
		err = -EBUSY;
	else if (attr->data == PPL_SIZE)
		d->ppl_sectors = (u32)n;
	else
		d->ppl_sector = n;
	mutex_unlock(&d->a->lock);
	return err;
}

#define DISK_READ(file, n)                                                                                             \
	&(const struct attr)                                                                                           \
	{                                                                                                              \
		.name = file, .mode = 0444, .show = show_disk, .data = n                                               \
	}
static const struct attr *const disk_attrs[] = {
	&(const struct attr){
		.name = "state", .mode = 0644, .show = show_disk, .set = set_disk_state, .data = DISK_STATE },
	&(const struct attr){ .name = "slot", .mode = 0644, .show = show_disk, .set = set_disk_slot, .data = SLOT },
	DISK_READ("offset", OFFSET),
	DISK_READ("size", SIZE),
	DISK_READ("errors", ERRORS),
	DISK_READ("recovery_start", RECOVERY_START),
	DISK_READ("bad_blocks", BAD_BLOCKS),
	&(const struct attr){
		.name = "ppl_sector", .mode = 0644, .show = show_disk, .set = set_disk_ppl, .data = PPL_SECTOR },
	&(const struct attr){
		.name = "ppl_size", .mode = 0644, .show = show_disk, .set = set_disk_ppl, .data = PPL_SIZE },
	NULL,
};

static void release_disk(struct attr_dir *dir)
{
	kfree(dir->owner);
}

static const struct attr_dir_ops disk_ops = { .release = release_disk };

int md_disk_files_add(struct md_disk *d)
{
	int err = attr_dir_init(&d->attr, &d->a->attr, d->name, disk_attrs, &disk_ops, d);

	return err ? err : attr_link_add(&d->attr, "block", &d->dev->attr);
}
