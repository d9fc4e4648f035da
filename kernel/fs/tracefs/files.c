/* SPDX-License-Identifier: MIT
 *
 * Problem: tracing is controlled by two dozen small files with words of their own.
 *
 * Idea: one table of files a kind of folder; each file's show and set find the instance by the folder's owner.
 * Everything is read and checked before anything changes.
 *
 * Contract: Documentation/trace/ftrace.rst and events.rst of Linux. `nop` is the only tracer.
 *
 * Locks: trace_mutex around changes.
 */
#include "tracefs_priv.h"
#include <alloc/slab.h>
#include <arch/cpu.h>
#include <core/clock.h>
#include <core/log.h>
#include <lib/err.h>
#include <lib/printf.h>
#include <lib/string.h>

static struct trace_instance *instance_of(const struct attr_dir *d)
{
	return trace_dir_of(d)->instance;
}

/* Without leading and trailing space, in place. */
static char *trim(char *s)
{
	size_t n;

	while (*s == ' ' || *s == '\t' || *s == '\n')
		s++;
	for (n = strlen(s); n && (s[n - 1] == ' ' || s[n - 1] == '\n' || s[n - 1] == '\t'); n--)
		s[n - 1] = 0;
	return s;
}

static int parse_number(const char *s, u64 *out)
{
	u64 v = 0;

	if (!*s)
		return -EINVAL;
	for (; *s; s++) {
		if (*s < '0' || *s > '9' || v > 1ULL << 40)
			return -EINVAL;
		v = v * 10 + (u64)(*s - '0');
	}
	*out = v;
	return 0;
}

/* ---- numbers and words --------------------------------------------------------------------------------------------
 */

static int show_on(struct attr_dir *d, const struct attr *a, struct strbuf *out)
{
	strbuf_add(out, "%d\n", instance_of(d)->on);
	return 0;
}

static int set_on(struct attr_dir *d, const struct attr *a, char *text, size_t len)
{
	struct trace_instance *t = instance_of(d);
	u64 v;
	int err = parse_number(trim(text), &v);

	if (err)
		return err;
	WRITE_ONCE(t->on, v != 0);
	if (!v)
		waitq_wake(&t->readers, -1, 0);
	return 0;
}

static int show_kb(struct attr_dir *d, const struct attr *a, struct strbuf *out)
{
	struct trace_instance *t = instance_of(d);

	strbuf_add(out, trace_expanded(t) ? "%u\n" : "7 (expanded: %u)\n", t->buffer_kb);
	return 0;
}

static int set_kb(struct attr_dir *d, const struct attr *a, char *text, size_t len)
{
	struct trace_instance *t = instance_of(d);
	u64 v;
	int err = parse_number(trim(text), &v);

	if (err || !v)
		return -EINVAL;
	if (v > 1 << 20)
		return -ENOMEM;
	mutex_lock(&trace_mutex);
	err = trace_resize(t, (u32)v);
	mutex_unlock(&trace_mutex);
	return err;
}

static int show_total_kb(struct attr_dir *d, const struct attr *a, struct strbuf *out)
{
	struct trace_instance *t = instance_of(d);

	strbuf_add(out, "%u\n", trace_expanded(t) ? t->buffer_kb * cpu_count() : 7 * cpu_count());
	return 0;
}

static const char *const clocks[] = { "local", "global", "perf", "mono", "mono_raw", "boot", "counter" };

static int show_clock(struct attr_dir *d, const struct attr *a, struct strbuf *out)
{
	_Static_assert(ARRAY_SIZE(clocks) == TRACE_CLOCK_COUNTER + 1, "counter is the last");
	for (unsigned i = 0; i < ARRAY_SIZE(clocks); i++)
		strbuf_add(out, instance_of(d)->clock == i ? "%s[%s]" : "%s%s", i ? " " : "", clocks[i]);
	strbuf_add(out, "\n");
	return 0;
}

static int set_clock(struct attr_dir *d, const struct attr *a, char *text, size_t len)
{
	struct trace_instance *t = instance_of(d);

	text = trim(text);
	for (unsigned i = 0; i < ARRAY_SIZE(clocks); i++)
		if (!strcmp(text, clocks[i])) { /* old times mean something else */
			t->clock = i;
			trace_clear(t, -1);
			return 0;
		}
	return fail(EINVAL, "tracefs: no clock %s", text);
}

static int show_tracer(struct attr_dir *d, const struct attr *a, struct strbuf *out)
{
	strbuf_add(out, "nop\n");
	return 0;
}

static int set_tracer(struct attr_dir *d, const struct attr *a, char *text, size_t len)
{
	return strcmp(trim(text), "nop") ? fail(EINVAL, "tracefs: no tracer %s", text) : 0;
}

static int show_nothing(struct attr_dir *d, const struct attr *a, struct strbuf *out)
{
	return 0;
}

static int show_comms(struct attr_dir *d, const struct attr *a, struct strbuf *out)
{
	trace_list_comms(out);
	return 0;
}

/* ---- options ------------------------------------------------------------------------------------------------------
 */

static const struct {
	const char *name;
	u32 bit;
} options[] = { { "overwrite", OPTION_OVERWRITE }, { "markers", OPTION_MARKERS }, { "irq-info", OPTION_IRQ_INFO } };

static void set_option(struct trace_instance *t, u32 bit, bool on)
{
	mutex_lock(&trace_mutex);
	t->options = on ? t->options | bit : t->options & ~bit;
	for (unsigned i = 0; i < cpu_count() && bit == OPTION_OVERWRITE; i++)
		WRITE_ONCE(t->cpus[i].ring.keep_old, !on);
	mutex_unlock(&trace_mutex);
}

static int show_options(struct attr_dir *d, const struct attr *a, struct strbuf *out)
{
	for (unsigned i = 0; i < ARRAY_SIZE(options); i++)
		strbuf_add(out, "%s%s\n", instance_of(d)->options & options[i].bit ? "" : "no", options[i].name);
	return 0;
}

static int set_options(struct attr_dir *d, const struct attr *a, char *text, size_t len)
{
	bool off;

	text = trim(text);
	off = !strncmp(text, "no", 2);
	for (unsigned i = 0; i < ARRAY_SIZE(options); i++)
		if (!strcmp(text + (off ? 2 : 0), options[i].name)) {
			set_option(instance_of(d), options[i].bit, !off);
			return 0;
		}
	return fail(EINVAL, "tracefs: no option %s", text);
}

static int show_option(struct attr_dir *d, const struct attr *a, struct strbuf *out)
{
	strbuf_add(out, "%d\n", !!(instance_of(d)->options & (u32)a->data));
	return 0;
}

static int set_one_option(struct attr_dir *d, const struct attr *a, char *text, size_t len)
{
	u64 v;
	int err = parse_number(trim(text), &v);

	if (err || v > 1)
		return -EINVAL;
	set_option(instance_of(d), (u32)a->data, v);
	return 0;
}

/* ---- events -------------------------------------------------------------------------------------------------------
 */

/* Which events: one, or those of a system, or all. */
static bool selects(const struct trace_dir *d, unsigned kind, unsigned id)
{
	const struct trace_event *e;

	if (kind == 0)
		return d->what == id;
	e = trace_event(id);
	return e && (kind == 2 || !strcmp(e->system, trace_event(d->what)->system));
}

static int show_enable(struct attr_dir *dir, const struct attr *a, struct strbuf *out)
{
	const struct trace_dir *d = trace_dir_of(dir);
	unsigned on = 0, off = 0;

	for (unsigned id = TRACE_FIRST_ID; id < TRACE_IDS_END; id++) {
		if (!selects(d, (unsigned)a->data, id))
			continue;
		if (d->instance->enabled[id - TRACE_FIRST_ID])
			on++;
		else
			off++;
	}
	strbuf_add(out, "%s\n", on && off ? "X" : on ? "1" : "0");
	return 0;
}

static int set_enable(struct attr_dir *dir, const struct attr *a, char *text, size_t len)
{
	const struct trace_dir *d = trace_dir_of(dir);
	u64 v;
	int err = parse_number(trim(text), &v);

	if (err || v > 1)
		return -EINVAL;
	mutex_lock(&trace_mutex);
	for (unsigned id = TRACE_FIRST_ID; id < TRACE_IDS_END && !err; id++)
		if (selects(d, (unsigned)a->data, id))
			err = trace_enable(d->instance, id, v);
	mutex_unlock(&trace_mutex);
	return err;
}

static int show_filter(struct attr_dir *dir, const struct attr *a, struct strbuf *out)
{
	const struct trace_dir *d = trace_dir_of(dir);
	const char *text;

	mutex_lock(&trace_mutex);
	text = d->instance->filter_texts[d->what - TRACE_FIRST_ID];
	strbuf_add(out, "%s\n", text ? text : "none");
	mutex_unlock(&trace_mutex);
	return 0;
}

static int set_filter(struct attr_dir *dir, const struct attr *a, char *text, size_t len)
{
	const struct trace_dir *d = trace_dir_of(dir);
	int err;

	mutex_lock(&trace_mutex);
	err = trace_set_filter(d->instance, d->what, trim(text));
	mutex_unlock(&trace_mutex);
	return err;
}

/* Of a system: the events that have all fields take it; if none does, it is wrong. */
static int set_system_filter(struct attr_dir *dir, const struct attr *a, char *text, size_t len)
{
	const struct trace_dir *d = trace_dir_of(dir);
	int err = -EINVAL;

	text = trim(text);
	mutex_lock(&trace_mutex);
	for (unsigned id = TRACE_FIRST_ID; id < TRACE_IDS_END; id++)
		if (selects(d, 1, id) && !trace_set_filter(d->instance, id, text))
			err = 0;
	mutex_unlock(&trace_mutex);
	return err;
}

static int show_system_filter(struct attr_dir *dir, const struct attr *a, struct strbuf *out)
{
	strbuf_add(
		out,
		"### global filter ###\n# Use this to set filters for multiple events.\n# Only events with the given "
		"fields will be affected.\n# If no events are modified, an error message will be displayed here\n");
	return 0;
}

static int show_id(struct attr_dir *dir, const struct attr *a, struct strbuf *out)
{
	strbuf_add(out, "%u\n", trace_dir_of(dir)->what);
	return 0;
}

static int show_format(struct attr_dir *dir, const struct attr *a, struct strbuf *out)
{
	trace_describe(trace_dir_of(dir)->what, out);
	return 0;
}

static int show_available(struct attr_dir *dir, const struct attr *a, struct strbuf *out)
{
	for (unsigned id = TRACE_FIRST_ID; id < TRACE_IDS_END; id++) {
		const struct trace_event *e = trace_event(id);

		if (e)
			strbuf_add(out, "%s:%s\n", e->system, e->name);
	}
	return 0;
}

static int show_set_event(struct attr_dir *dir, const struct attr *a, struct strbuf *out)
{
	for (unsigned id = TRACE_FIRST_ID; id < TRACE_IDS_END; id++)
		if (instance_of(dir)->enabled[id - TRACE_FIRST_ID])
			strbuf_add(out, "%s:%s\n", trace_event(id)->system, trace_event(id)->name);
	return 0;
}

static bool name_matches(const char *pattern, size_t n, const char *name)
{
	if (!n || (n == 1 && *pattern == '*'))
		return true;
	if (pattern[n - 1] == '*')
		return !strncmp(pattern, name, n - 1);
	return strlen(name) == n && !memcmp(pattern, name, n);
}

static bool hits(const struct trace_event *e, const char *name, const char *colon)
{
	if (colon)
		return name_matches(name, (size_t)(colon - name), e->system) &&
		       name_matches(colon + 1, strlen(colon + 1), e->name);
	return name_matches(name, strlen(name), e->system) || name_matches(name, strlen(name), e->name);
}

/* SYSTEM:EVENT, SYSTEM:, :EVENT, or a name of either; a leading ! turns off. trace_mutex held. */
static int apply_word(struct trace_instance *t, const char *word, bool check_only)
{
	bool off = *word == '!';
	const char *name = word + off, *colon = strchr(name, ':');
	int err = -EINVAL;

	if (!*name)
		return -EINVAL;
	for (unsigned id = TRACE_FIRST_ID; id < TRACE_IDS_END; id++) {
		const struct trace_event *e = trace_event(id);
		bool hit = e && hits(e, name, colon);

		if (!hit)
			continue;
		err = check_only ? 0 : trace_enable(t, id, !off);
		if (err)
			break;
	}
	return err;
}

static int apply_words(struct trace_instance *t, char *text, size_t len, bool check_only)
{
	int err = 0;

	for (size_t at = 0; at < len && !err;) {
		size_t n = strnlen(text + at, len - at);

		if (n)
			err = apply_word(t, text + at, check_only);
		at += n + 1;
	}
	return err;
}

static int set_set_event(struct attr_dir *dir, const struct attr *a, char *text, size_t len)
{
	int err;

	for (size_t i = 0; i < len; i++)
		if (text[i] == ' ' || text[i] == '\n' || text[i] == '\t' || text[i] == ',')
			text[i] = 0;
	mutex_lock(&trace_mutex);
	err = apply_words(instance_of(dir), text, len, true);
	if (!err)
		err = apply_words(instance_of(dir), text, len, false);
	mutex_unlock(&trace_mutex);
	return err;
}

static int clear_events(struct attr_dir *dir, const struct attr *a)
{
	struct trace_instance *t = instance_of(dir);
	int err = 0;

	mutex_lock(&trace_mutex);
	for (unsigned id = TRACE_FIRST_ID; id < TRACE_IDS_END && !err; id++)
		err = trace_enable(t, id, false);
	mutex_unlock(&trace_mutex);
	return err;
}

/* ---- layout ---------------------------------------------------------------------------------------------------------
 */

static int show_header_page(struct attr_dir *dir, const struct attr *a, struct strbuf *out)
{
	strbuf_add(out, "\tfield: u64 timestamp;\toffset:0;\tsize:8;\tsigned:0;\n"
			"\tfield: local_t commit;\toffset:8;\tsize:8;\tsigned:1;\n"
			"\tfield: int overwrite;\toffset:8;\tsize:1;\tsigned:1;\n"
			"\tfield: char data;\toffset:16;\tsize:4080;\tsigned:1;\n");
	return 0;
}

static int show_header_event(struct attr_dir *dir, const struct attr *a, struct strbuf *out)
{
	strbuf_add(out, "# compressed entry header\n\ttype_len    :    5 bits\n\ttime_delta  :   27 bits\n"
			"\tarray       :   32 bits\n\n\tpadding     : type == 29\n\ttime_extend : type == 30\n"
			"\ttime_stamp : type == 31\n\tdata max type_len  == 28\n");
	return 0;
}

static int show_print_format(struct attr_dir *dir, const struct attr *a, struct strbuf *out)
{
	strbuf_add(out,
		   "name: print\nID: %u\nformat:\n\tfield:unsigned short common_type;\toffset:0;\tsize:2;\tsigned:0;\n"
		   "\tfield:unsigned char common_flags;\toffset:2;\tsize:1;\tsigned:0;\n"
		   "\tfield:unsigned char common_preempt_count;\toffset:3;\tsize:1;\tsigned:0;\n"
		   "\tfield:int common_pid;\toffset:4;\tsize:4;\tsigned:1;\n\n"
		   "\tfield:unsigned long ip;\toffset:8;\tsize:8;\tsigned:0;\n"
		   "\tfield:char buf[];\toffset:16;\tsize:0;\tsigned:1;\n\n"
		   "print fmt: \"%%ps: %%s\", (void *)REC->ip, REC->buf\n",
		   TRACE_PRINT_ID);
	return 0;
}

static int show_print_id(struct attr_dir *dir, const struct attr *a, struct strbuf *out)
{
	strbuf_add(out, "%u\n", TRACE_PRINT_ID);
	return 0;
}

static void add_seconds(struct strbuf *out, const char *what, u64 ns)
{
	strbuf_add(out, "%s: %5llu.%06llu\n", what, (unsigned long long)(ns / NSEC_PER_SEC),
		   (unsigned long long)(ns % NSEC_PER_SEC / 1000));
}

static int show_stats(struct attr_dir *dir, const struct attr *a, struct strbuf *out)
{
	struct trace_instance *t = instance_of(dir);
	struct trace_cpu *c = &t->cpus[trace_dir_of(dir)->what];
	struct trace_found f = { 0 };
	struct trace_ring r = { 0 };
	u64 bytes = 0;
	ulong irq = spin_lock_irqsave(&c->lock);

	if (c->ring.nr) {
		r = c->ring;
		bytes = trace_ring_bytes(&c->ring);
		(void)trace_ring_peek(&c->ring, &f);
	}
	spin_unlock_irqrestore(&c->lock, irq);
	strbuf_add(out, "entries: %llu\noverrun: %llu\ncommit overrun: 0\nbytes: %llu\n",
		   (unsigned long long)trace_ring_entries(&r), (unsigned long long)r.overrun,
		   (unsigned long long)bytes);
	add_seconds(out, "oldest event ts", f.ns);
	add_seconds(out, "now ts", trace_now(t));
	strbuf_add(out, "dropped events: %llu\nread events: %llu\n", (unsigned long long)r.dropped,
		   (unsigned long long)r.read_events);
	return 0;
}

static int clear_trace(struct attr_dir *dir, const struct attr *a)
{
	trace_clear(instance_of(dir), a->data ? (int)trace_dir_of(dir)->what : -1);
	return 0;
}

static int set_trace(struct attr_dir *dir, const struct attr *a, char *text, size_t len)
{
	return clear_trace(dir, a);
}

int trace_truncate(struct attr_dir *dir, const struct attr *a)
{
	return a->set == set_trace ? clear_trace(dir, a) : a->set == set_set_event ? clear_events(dir, a) : 0;
}

/* ---- tables ---------------------------------------------------------------------------------------------------------
 */

#define FILE_(label, ...)                                                                                              \
	&(const struct attr)                                                                                           \
	{                                                                                                              \
		.name = label, __VA_ARGS__                                                                             \
	}
#define SHOW(label, fn)      FILE_(label, .mode = 0440, .show = fn)
#define BOTH(label, get, to) FILE_(label, .mode = 0640, .show = get, .set = to)

#define INSTANCE_FILES                                                                                                 \
	BOTH("tracing_on", show_on, set_on), BOTH("buffer_size_kb", show_kb, set_kb),                                  \
		SHOW("buffer_total_size_kb", show_total_kb), BOTH("trace_clock", show_clock, set_clock),               \
		BOTH("current_tracer", show_tracer, set_tracer), SHOW("available_tracers", show_tracer),               \
		BOTH("trace_options", show_options, set_options),                                                      \
		FILE_("set_event", .mode = 0640, .show = show_set_event, .set = set_set_event),                        \
		FILE_("trace", .mode = 0640, .show = trace_show, .set = set_trace),                                    \
		FILE_("trace_pipe", .mode = 0440, .file_ops = &trace_pipe_ops),                                        \
		FILE_("trace_marker", .mode = 0220, .file_ops = &trace_marker_ops)

const struct attr *const trace_instance_files[] = { INSTANCE_FILES, NULL };
const struct attr *const trace_root_files[] = { INSTANCE_FILES, SHOW("available_events", show_available),
						SHOW("printk_formats", show_nothing),
						SHOW("saved_cmdlines", show_comms), NULL };
const struct attr *const trace_cpu_files[] = {
	FILE_("trace", .mode = 0640, .show = trace_show, .set = set_trace, .data = 1),
	FILE_("trace_pipe", .mode = 0440, .file_ops = &trace_pipe_ops, .data = 1),
	FILE_("trace_pipe_raw", .mode = 0440, .file_ops = &trace_raw_ops, .data = 1),
	SHOW("stats", show_stats),
	SHOW("buffer_size_kb", show_kb),
	NULL
};
const struct attr *const trace_event_files[] = { SHOW("id", show_id), SHOW("format", show_format),
						 FILE_("enable", .mode = 0640, .show = show_enable, .set = set_enable),
						 BOTH("filter", show_filter, set_filter), NULL };
const struct attr *const trace_system_files[] = { FILE_("enable", .mode = 0640, .show = show_enable, .set = set_enable,
							.data = 1),
						  BOTH("filter", show_system_filter, set_system_filter), NULL };
const struct attr *const trace_events_files[] = {
	FILE_("enable", .mode = 0640, .show = show_enable, .set = set_enable, .data = 2),
	SHOW("header_page", show_header_page), SHOW("header_event", show_header_event), NULL
};
const struct attr *const trace_option_files[] = {
	FILE_("overwrite", .mode = 0640, .show = show_option, .set = set_one_option, .data = OPTION_OVERWRITE),
	FILE_("markers", .mode = 0640, .show = show_option, .set = set_one_option, .data = OPTION_MARKERS),
	FILE_("irq-info", .mode = 0640, .show = show_option, .set = set_one_option, .data = OPTION_IRQ_INFO), NULL
};
const struct attr *const trace_print_files[] = { SHOW("id", show_print_id), SHOW("format", show_print_format), NULL };
