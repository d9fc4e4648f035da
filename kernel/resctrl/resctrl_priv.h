/* SPDX-License-Identifier: MIT
 *
 * What the files of this part share. All under the caller's lock, except label, control and group_of_cpu, arrays of
 * single words that the context switch reads.
 */
#ifndef RESCTRL_PRIV_H
#define RESCTRL_PRIV_H

#include <resctrl/resctrl.h>

#define GROUP_NONE RESCTRL_ANY

enum group_mode { MODE_SHAREABLE, MODE_EXCLUSIVE };

typedef u32 value_set[RESCTRL_MAX_ROWS][RESCTRL_MAX_DOMAINS];

struct row {
	char name[8];
	enum resctrl_resource_id id;
	enum resctrl_half half;
	int peer; /* the row of the other half, or -1 */
};

struct group {
	char name[RESCTRL_NAME_MAX + 1];
	u16 id;
	u16 parent; /* of a monitor group; else GROUP_NONE */
	u16 cls;    /* of a monitor group: its parent's */
	u16 tag;    /* 0: nothing is monitored, or the default group */
	u64 cpus;   /* default group: those of no other; of a monitor group: some of its parent's */
	enum group_mode mode;
};

struct class
{
	unsigned groups; /* 0: free */
	value_set value; /* what the back end enforces now, used or not */
};

struct resctrl {
	struct resctrl_backend *be;
	const struct resctrl_host_ops *host;
	void *ctx;
	unsigned nr_cpus;
	u64 online;
	bool mounted;
	u32 generation[RESCTRL_MAX_GROUPS];
	struct group *group[RESCTRL_MAX_GROUPS]; /* by number; 0 is the default group */
	unsigned nr_rows;
	struct row row[RESCTRL_MAX_ROWS];
	unsigned nr_classes;
	struct class *cls;             /* RESCTRL_MAX_CLASSES */
	u32 label[RESCTRL_MAX_GROUPS]; /* of each group: class, tag, and whether a CPU's comes before it */
	u16 control[RESCTRL_MAX_GROUPS];
	u16 group_of_cpu[64];
	u16 *free_tags; /* monitored: longest unused first */
	unsigned nr_free_tags;
	u64 busy_bytes;   /* a tag that has more than this in some cache is not used again yet */
	char scratch[16]; /* the name of a directory, for resctrl_readdir */
	char status[256]; /* info/last_cmd_status; empty means ok */
};

/* Where a node is. */
enum dir_kind {
	DIR_GROUP,      /* the root, a group, a monitor group */
	DIR_INFO,       /* info */
	DIR_ROW,        /* info/L3 */
	DIR_MONITOR,    /* info/L3_MON */
	DIR_MON_GROUPS, /* GROUP/mon_groups */
	DIR_MON_DATA,   /* GROUP/mon_data */
	DIR_MON_DOMAIN, /* GROUP/mon_data/mon_L3_00 */
};

struct resctrl_file {
	const char *name;
	u16 perm;
	int (*show)(struct resctrl *r, struct group *g, unsigned index, struct strbuf *out);
	int (*store)(struct resctrl *r, struct group *g, const char *text, size_t len);
	enum resctrl_event event; /* 0, or what must be counted for the file to be there */
};

static inline bool is_monitor_group(const struct group *g)
{
	return g->parent != GROUP_NONE;
}
static inline bool is_monitored(const struct resctrl *r)
{
	return r->be->mon.events;
}

/* core.c */
int resctrl_refuse(struct resctrl *r, int err, const char *fmt, ...) __printf(3, 4);
static inline struct resctrl_resource *row_resource(struct resctrl *r, unsigned row)
{
	return &r->be->res[r->row[row].id];
}
/* Domains that have CPUs, by rising id: resctrl_domain_after(res, -1) is the first, -1 the end. */
int resctrl_domain_after(const struct resctrl_resource *res, int d);
u32 resctrl_row_full(struct resctrl *r, unsigned row);
/* Gives the group these values; -ENOSPC when no class is left. */
int resctrl_group_set_values(struct resctrl *r, struct group *g, const value_set value);
/* What others than g hold of a row's domain: all of them, or the exclusive groups only. */
u32 resctrl_others_hold(struct resctrl *r, const struct group *g, unsigned row, unsigned domain, bool exclusive_only);

void resctrl_set_cpus(struct resctrl *r, struct group *g, u64 cpus);
struct group *resctrl_find_named(struct resctrl *r, u16 parent, const char *name, size_t len);

/* files.c: the files of a kind of directory, in one array; *n of them */
const struct resctrl_file *resctrl_files(struct resctrl *r, const struct resctrl_node *dir, unsigned *n);

/* monitor.c */
int resctrl_monitor_begin(struct resctrl *r); /* at mount: -ENOMEM */
void resctrl_monitor_end(struct resctrl *r);
int resctrl_tag_take(struct resctrl *r, u16 *out); /* -ENOSPC; -EBUSY: all free ones still have something cached */
void resctrl_tag_give(struct resctrl *r, u16 tag);
extern const struct resctrl_file resctrl_monitor_files[], resctrl_event_files[];
#define MONITOR_FILES 3
#define EVENT_FILES   3

/* text.c: the notations of control files */
struct slice {
	const char *p;
	size_t n;
};
struct slice resctrl_slice_of(const char *text, size_t len);          /* up to the first NUL */
bool resctrl_slice_cut(struct slice *s, char at, struct slice *head); /* false: no `at`, head is all of s */
struct slice resctrl_slice_trim(struct slice s);
bool resctrl_slice_is(struct slice s, const char *word);
int resctrl_slice_number(struct slice s, unsigned base, u64 *out);
int resctrl_slice_signed(struct slice s, unsigned base, s64 *out);
int resctrl_cpus_parse_mask(struct slice s, unsigned nr_cpus, u64 *out);
int resctrl_cpus_parse_list(struct slice s, unsigned nr_cpus, u64 *out);
void resctrl_cpus_show_mask(u64 cpus, unsigned nr_cpus, struct strbuf *out);
void resctrl_cpus_show_list(u64 cpus, struct strbuf *out);

/* schemata.c */
int resctrl_schemata_store(struct resctrl *r, struct group *g, const char *text, size_t len);
int resctrl_schemata_show(struct resctrl *r, struct group *g, struct strbuf *out);
int resctrl_size_show(struct resctrl *r, struct group *g, struct strbuf *out);
int resctrl_mode_store(struct resctrl *r, struct group *g, const char *text, size_t len);
/* Values for a new group: all that is unused or shareable. */
int resctrl_initial_values(struct resctrl *r, const struct group *g, value_set out);

#endif
