/* SPDX-License-Identifier: MIT
 *
 * Problem: what stands on disks (RAID, file systems, databases) must be tested with disks that fail, are late, tear a
 * write or lose power, at a request of the test's choosing.
 *
 * Idea: a disk over another one. Each bio is compared with a short list of rules (rules.h) and goes down unchanged,
 * later, in part, or not at all. All is set from user space, by files.
 *
 *      bio --> rules --none--> down --> done            delay: a timer, then down        hang: a list, until cleared
 *                |--fail--> error     |--drop--> done   tear: the first part goes down
 *                '--cut--> from now on no write goes down
 *
 * Contract: /sys/kernel/fault_block/add takes the name of a disk or partition, which it claims (EBUSY), and makes the
 * next /dev/fltN over it; remove takes fltN (EBUSY while in use), unplug takes it in any case. In
 * /sys/block/fltN/fault: `rules` (each line written adds one, "clear" removes all and lets go what hangs), `cut` (0,
 * drop, fail: set and shown), `stat`.
 *
 * Locks: list_lock (RANK_SUBSYS) for the disks; disk->lock (RANK_DRIVER, irqsave) for rules, counters and held bios.
 */
#include <alloc/slab.h>
#include <block/block.h>
#include <core/clock.h>
#include <core/init.h>
#include <core/irq.h>
#include <core/log.h>
#include <lib/err.h>
#include <lib/printf.h>
#include <lib/string.h>
#include <task/mutex.h>
#include <task/timer.h>

#include "rules.h"

#define MAX_RULES 32

enum cut { CUT_NOT, CUT_DROP, CUT_FAIL };
static const char *const cut_names[] = { "0", "drop", "fail" };

struct fault {
	struct block_dev block;
	struct block_dev *below; /* counted, claimed */
	struct attr_dir files;
	unsigned number;
	struct list link; /* list_lock */

	struct spinlock lock;
	struct fault_rule rules[MAX_RULES];
	unsigned nr_rules;
	enum cut cut;
	u64 requests[FAULT_OPS], acted[FAULT_ACTIONS];
	struct list hanging, due; /* struct passage */
	struct deferred send;
};

struct passage { /* of a bio */
	struct bio below;
	struct fault *disk;
	struct bio *bio;
	struct list link;
	struct timer timer;
	int error;           /* reported even if what went down succeeded */
	struct bio_vec *cut; /* the owner's vector that ends early while the bio is below, and by how much */
	u32 cut_bytes;
};

static LIST(disks);
static struct mutex list_lock = MUTEX_INIT(list_lock, RANK_SUBSYS);

static enum fault_op op_of(const struct bio *b)
{
	static const u8 op[BLOCK_OPS] = { [BLOCK_READ] = FAULT_READ,
					  [BLOCK_WRITE] = FAULT_WRITE,
					  [BLOCK_FLUSH] = FAULT_FLUSH,
					  [BLOCK_DISCARD] = FAULT_DISCARD,
					  [BLOCK_WRITE_ZEROES] = FAULT_ZEROES };
	return op[b->op];
}

/* ---- ways of a bio ------------------------------------------------------------------------------------------------
 */

static void passed(struct bio *below)
{
	struct passage *p = container_of(below, struct passage, below);
	struct bio *b = p->bio;
	int err = below->status ? below->status : p->error;

	if (p->cut)
		p->cut->bytes += p->cut_bytes;
	kfree(p);
	block_complete(b, err);
}

static struct passage *passage_make(struct fault *f, struct bio *b)
{
	struct passage *p = kzalloc(sizeof(*p), ALLOC_ATOMIC);

	if (!p)
		return NULL;
	p->disk = f;
	p->bio = b;
	p->below = (struct bio){ .dev = f->below,
				 .op = b->op,
				 .sector = b->sector,
				 .bytes = b->bytes,
				 .vecs = b->vecs,
				 .nr_vecs = b->nr_vecs,
				 /* never throttled here, nobody polls us: it may be sent from a deferred job */
				 .flags = (b->flags & ~(BIO_HIPRI | BIO_NOWAIT)) | BIO_DIRECT,
				 .done = passed };
	return p;
}

static void down(struct passage *p)
{
	block_submit(&p->below);
}

static void send_due(struct deferred *d)
{
	struct fault *f = container_of(d, struct fault, send);
	struct passage *p, *next;
	LIST(due);
	ulong irq = spin_lock_irqsave(&f->lock);

	list_splice_tail_init(&f->due, &due);
	spin_unlock_irqrestore(&f->lock, irq);
	list_for_each_entry_safe (p, next, &due, link)
		down(p);
}

static void on_timer(struct timer *t)
{
	struct passage *p = container_of(t, struct passage, timer);
	struct fault *f = p->disk;

	spin_lock(&f->lock);
	list_add_tail(&p->link, &f->due);
	spin_unlock(&f->lock);
	deferred_queue(&f->send);
}

static void delay(struct passage *p, u64 ns)
{
	timer_init(&p->timer, on_timer);
	timer_arm(&p->timer, clock_ns() + ns, 0);
}

/* Only the first sectors go down: bytes and the last vector say where it ends. False: none. */
static bool shorten(struct passage *p, u64 keep_sectors)
{
	u32 block = p->below.dev->whole->limits.logical_block;
	u64 half = p->below.bytes >> SECTOR_SHIFT >> 1;
	u64 want = min(keep_sectors == ~0ULL ? half : keep_sectors, (u64)p->below.bytes >> SECTOR_SHIFT);
	u32 bytes = ALIGN_DOWN((u32)(want << SECTOR_SHIFT), block), got = 0;
	unsigned n = 0;

	p->below.bytes = bytes;
	while (got < bytes)
		got += p->below.vecs[n++].bytes;
	p->below.nr_vecs = n;
	if (got > bytes) {
		p->cut = &p->below.vecs[n - 1];
		p->cut_bytes = got - bytes;
		p->cut->bytes -= p->cut_bytes;
	}
	return bytes;
}

/* What is to happen; a copy of the rule that decides. */
static struct fault_rule decide(struct fault *f, const struct bio *b)
{
	struct fault_rule none = { .action = FAULT_NONE };
	enum fault_op op = op_of(b);
	struct fault_rule *r = &none;
	struct fault_rule out;
	ulong irq = spin_lock_irqsave(&f->lock);

	f->requests[op]++;
	for (unsigned i = 0; i < f->nr_rules && r == &none && !f->cut; i++)
		if (fault_rule_acts(&f->rules[i], op, b->sector, b->bytes >> SECTOR_SHIFT))
			r = &f->rules[i];
	if (r->action == FAULT_CUT)
		f->cut = r->cut_fails ? CUT_FAIL : CUT_DROP;
	out = *r;
	if (f->cut)
		out = (struct fault_rule){ .action = f->cut == CUT_FAIL ? FAULT_FAIL
						     : op == FAULT_READ ? FAULT_NONE
									: FAULT_DROP,
					   .error = -EIO };
	f->acted[out.action]++;
	spin_unlock_irqrestore(&f->lock, irq);
	return out;
}

static void act(struct fault *f, struct passage *p, const struct fault_rule *r)
{
	ulong irq;

	switch (r->action) {
	case FAULT_DELAY: delay(p, r->delay_ns); return;
	case FAULT_HANG:
		irq = spin_lock_irqsave(&f->lock);
		list_add_tail(&p->link, &f->hanging);
		spin_unlock_irqrestore(&f->lock, irq);
		return;
	case FAULT_TEAR:
		p->error = r->error;
		if (!shorten(p, r->keep)) {
			passed(&p->below);
			return;
		}
		break;
	}
	down(p);
}

static void submit(struct bio *b)
{
	struct fault *f = b->dev->whole->priv;
	struct fault_rule r = decide(f, b);
	struct passage *p;

	if (r.action == FAULT_FAIL || r.action == FAULT_DROP) {
		block_complete(b, r.action == FAULT_FAIL ? r.error : 0);
		return;
	}
	p = passage_make(f, b);
	if (!p)
		block_complete(b, -ENOMEM);
	else
		act(f, p, &r);
}

/* ---- /sys/block/fltN/fault --------------------------------------------------------------------------------------- */

static int show_rules(struct attr_dir *dir, const struct attr *a, struct strbuf *out)
{
	struct fault *f = dir->owner;
	ulong irq = spin_lock_irqsave(&f->lock);

	for (unsigned i = 0; i < f->nr_rules; i++)
		fault_rule_show(&f->rules[i], out);
	spin_unlock_irqrestore(&f->lock, irq);
	return 0;
}

static void clear_rules(struct fault *f)
{
	ulong irq = spin_lock_irqsave(&f->lock);

	f->nr_rules = 0;
	list_splice_tail_init(&f->hanging, &f->due);
	spin_unlock_irqrestore(&f->lock, irq);
	deferred_queue(&f->send);
}

static int add_rules(struct fault *f, const struct fault_rule *rules, unsigned n)
{
	ulong irq = spin_lock_irqsave(&f->lock);
	int err = f->nr_rules + n <= MAX_RULES ? 0 : -ENOSPC;

	for (unsigned i = 0; i < n && !err; i++)
		f->rules[f->nr_rules++] = rules[i];
	spin_unlock_irqrestore(&f->lock, irq);
	return err;
}

static int set_rules(struct attr_dir *dir, const struct attr *a, char *text, size_t len)
{
	struct fault_rule *rules;
	unsigned n = 0;
	int err = 0;

	if (str_starts(text, "clear")) {
		clear_rules(dir->owner);
		return 0;
	}
	rules = kcalloc(MAX_RULES, sizeof(*rules), ALLOC_KERNEL);
	if (!rules)
		return -ENOMEM;
	while (*text && !err) {
		char *line = text;

		while (*text && *text != '\n')
			text++;
		if (*text)
			*text++ = '\0';
		if (!*line)
			continue;
		err = n < MAX_RULES ? fault_rule_parse(line, &rules[n++]) : -ENOSPC;
	}
	if (!err)
		err = add_rules(dir->owner, rules, n);
	kfree(rules);
	return err;
}

static int show_cut(struct attr_dir *dir, const struct attr *a, struct strbuf *out)
{
	strbuf_add(out, "%s\n", cut_names[((struct fault *)dir->owner)->cut]);
	return 0;
}

static int set_cut(struct attr_dir *dir, const struct attr *a, char *text, size_t len)
{
	if (len && text[len - 1] == '\n')
		text[len - 1] = '\0';
	for (unsigned i = 0; i < ARRAY_SIZE(cut_names); i++)
		if (!strcmp(text, cut_names[i])) {
			WRITE_ONCE(((struct fault *)dir->owner)->cut, i);
			return 0;
		}
	return fail(EINVAL, "not 0, drop or fail");
}

static int show_stat(struct attr_dir *dir, const struct attr *a, struct strbuf *out)
{
	const struct fault *f = dir->owner;

	strbuf_add(out, "read %llu write %llu flush %llu discard %llu zeroes %llu\n",
		   (unsigned long long)f->requests[FAULT_READ], (unsigned long long)f->requests[FAULT_WRITE],
		   (unsigned long long)f->requests[FAULT_FLUSH], (unsigned long long)f->requests[FAULT_DISCARD],
		   (unsigned long long)f->requests[FAULT_ZEROES]);
	strbuf_add(out, "failed %llu delayed %llu dropped %llu torn %llu hung %llu\n",
		   (unsigned long long)f->acted[FAULT_FAIL], (unsigned long long)f->acted[FAULT_DELAY],
		   (unsigned long long)f->acted[FAULT_DROP], (unsigned long long)f->acted[FAULT_TEAR],
		   (unsigned long long)f->acted[FAULT_HANG]);
	return 0;
}

static const struct attr rules_attr = { "rules", 0644, show_rules, set_rules, NULL, 0 };
static const struct attr cut_attr = { "cut", 0644, show_cut, set_cut, NULL, 0 };
static const struct attr stat_attr = { "stat", 0444, show_stat, NULL, NULL, 0 };
static const struct attr *const disk_files[] = { &rules_attr, &cut_attr, &stat_attr, NULL };

/* ---- disks
 * ----------------------------------------------------------------------------------------------------------- */

static void disk_free(struct block_dev *d)
{
	struct fault *f = d->priv;

	block_release(f->below, f);
	block_put(f->below);
	kfree(f);
}

static const struct block_driver driver = { .submit = submit, .free = disk_free };

static void disk_init(struct fault *f, struct block_dev *below)
{
	spin_init(&f->lock, RANK_DRIVER);
	list_init(&f->hanging);
	list_init(&f->due);
	deferred_init(&f->send, send_due);
	f->below = below;
	f->block.priv = f;
	f->block.driver = &driver;
	f->block.sectors = below->sectors;
	f->block.limits = below->whole->limits;
	f->block.limits.read_only = block_is_read_only(below);
	f->block.limits.timeout_ns = 0;
	str_format(f->block.name, sizeof(f->block.name), "flt%u", f->number);
}

static int start(struct fault *f)
{
	int err = block_prepare(&f->block, 0, 0);

	if (err)
		return err;
	err = block_add(&f->block);
	if (err)
		return err;
	if (attr_link_add(&f->block.slaves, f->below->name, &f->below->attr) ||
	    attr_link_add(&f->below->holders, f->block.name, &f->block.attr))
		log_warn("%s: no links in /sys", f->block.name);
	return attr_dir_init(&f->files, &f->block.attr, "fault", disk_files, NULL, f);
}

static unsigned free_number(void)
{
	struct fault *f;
	unsigned n = 0;

	list_for_each_entry (f, &disks, link)
		n = max(n, f->number + 1);
	return n;
}

/* below: counted, becomes the disk's, also on failure. */
static int add(struct block_dev *below)
{
	struct fault *f = kzalloc(sizeof(*f), ALLOC_KERNEL);
	int err = f ? block_claim(below, f) : -ENOMEM;

	if (err) {
		block_put(below);
		kfree(f);
		return err;
	}
	mutex_lock(&list_lock);
	f->number = free_number();
	disk_init(f, below);
	err = start(f);
	if (!err)
		list_add_tail(&f->link, &disks);
	mutex_unlock(&list_lock);
	return err;
}

static int set_add(struct attr_dir *dir, const struct attr *a, char *text, size_t len)
{
	struct block_dev *below;

	if (len && text[len - 1] == '\n')
		text[len - 1] = '\0';
	below = block_find_name(text);
	if (!below)
		return fail(ENODEV, "no disk '%s'", text);
	return add(below);
}

static bool is_used(struct fault *f)
{
	return atomic_read(&f->block.openers) || f->block.holder || block_partitions_used(&f->block);
}

static int remove_named(char *text, size_t len, bool used_too)
{
	struct fault *f, *found = NULL;
	int err = -ENODEV;

	if (len && text[len - 1] == '\n')
		text[len - 1] = '\0';
	mutex_lock(&list_lock);
	list_for_each_entry (f, &disks, link)
		if (!strcmp(f->block.name, text))
			found = f;
	if (found)
		err = !used_too && is_used(found) ? -EBUSY : 0;
	if (!err)
		list_del(&found->link);
	mutex_unlock(&list_lock);
	if (err)
		return err;
	clear_rules(found);
	attr_link_remove(&found->below->holders, found->block.name);
	block_remove(&found->block);
	return 0;
}

static int set_remove(struct attr_dir *dir, const struct attr *a, char *text, size_t len)
{
	return remove_named(text, len, false);
}

/* As a disk that is pulled out while it is mounted. */
static int set_unplug(struct attr_dir *dir, const struct attr *a, char *text, size_t len)
{
	return remove_named(text, len, true);
}

static const struct attr add_attr = { "add", 0200, NULL, set_add, NULL, 0 };
static const struct attr remove_attr = { "remove", 0200, NULL, set_remove, NULL, 0 };
static const struct attr unplug_attr = { "unplug", 0200, NULL, set_unplug, NULL, 0 };
static const struct attr *const files[] = { &add_attr, &remove_attr, &unplug_attr, NULL };

static void fault_init(void)
{
	if (attr_folder_add(&attr_sys_root, "kernel/fault_block", files))
		log_warn("fault: no files in /sys");
}
PART_INIT(driver, fault_init);
