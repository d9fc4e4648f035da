/* SPDX-License-Identifier: MIT
 *
 * Problem: a hundred columns of letters show the rough shape only.
 *
 * Idea: the same lanes as one HTML file that needs nothing else: an SVG whose rectangles are runs of equal buckets,
 * with the task, the time and the share as a tooltip, names in a column beside it, and a slider that stretches time. A
 * task has one colour everywhere, made from its number.
 *
 * Contract: timeline.h. Names come from the recording and are escaped. Locks: none.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include "timeline.h"

#define ROW 18 /* px of a lane */

static const char head[] =
	"<!DOCTYPE html>\n<meta charset=\"utf-8\">\n<title>timehist</title>\n<style>\n"
	"body{font:13px sans-serif;margin:16px;background:#fff;color:#222}\n"
	".t{display:flex}.n{flex:none;text-align:right;padding-right:8px;white-space:nowrap}\n"
	".n div{height:18px;line-height:18px}.s{overflow-x:auto;flex:auto;border-left:1px solid #999}\n"
	"svg{display:block}.k span{display:inline-block;width:12px;height:12px;margin:0 4px 0 14px}\n</style>\n";

static const char *const state_colours[] = { "#2a7", "#e33", "#fa3", "#dde" };
static const char *const state_words[] = { "runs", "is ready, does not run", "waits for I/O", "sleeps" };

static void put_escaped(struct out *o, const char *s)
{
	for (; *s; s++)
		if (*s == '<' || *s == '>' || *s == '&' || *s == '"' || (u8)*s < 0x20)
			out_printf(o, "&#%u;", (u8)*s);
		else
			out_char(o, *s);
}

static void put_rect(struct out *o, const struct timeline *t, u32 from, u32 to, u32 row, const char *fill)
{
	out_printf(o, "<rect x=\"%u\" y=\"%u\" width=\"%u\" height=\"%u\" fill=\"%s\"><title>", from, row * ROW + 1,
		   to - from, ROW - 2, fill);
	out_ms(o, timeline_at(t, from) - t->start, 1);
	out_str(o, "to ");
	out_ms(o, timeline_at(t, to) - t->start, 1);
	out_str(o, "ms: ");
}

static void put_cpu_lane(struct out *o, const struct timeline *t, const struct cpu_bucket *b, u32 row)
{
	for (u32 i = 0, end; i < t->width; i = end) {
		const struct cpu_share *s = timeline_main_task(&b[i]), *next;
		u64 ns = 0;
		char fill[32];

		for (end = i; end < t->width; end++) {
			next = timeline_main_task(&b[end]);
			if (!s != !next || (s && s->who != next->who))
				break;
			ns += next ? next->ns : 0;
		}
		if (!s)
			continue;
		snprintf(fill, sizeof(fill), "hsl(%u 65%% 60%%)", (u32)s->who->tid * 47 % 360);
		put_rect(o, t, i, end, row, fill);
		put_escaped(o, pd_thread_label((struct pd_thread *)s->who));
		out_printf(o, " %.0f %%</title></rect>\n", 100.0 * ns / (timeline_at(t, end) - timeline_at(t, i)));
	}
}

static void put_task_lane(struct out *o, const struct timeline *t, const struct task_lane *l, u32 row)
{
	for (u32 i = 0, end; i < t->width; i = end) {
		enum lane_state s = timeline_main_state(&l->buckets[i]);

		for (end = i + 1; end < t->width && timeline_main_state(&l->buckets[end]) == s; end++)
			;
		if (s == NR_LANE_STATES)
			continue;
		put_rect(o, t, i, end, row, state_colours[s]);
		out_printf(o, "%s</title></rect>\n", state_words[s]);
	}
}

static void put_names(struct out *o, const struct timeline *t, struct task_lane *const *list, u32 nr)
{
	out_str(o, "<div class=\"n\">");
	for (u32 c = 0; c < t->nr_cpus; c++)
		if (t->cpus[c])
			out_printf(o, "<div>CPU %u</div>", c);
	out_str(o, "<div></div>");
	for (u32 k = 0; k < nr; k++) {
		out_printf(o, "<div style=\"border-right:6px solid hsl(%u 65%% 60%%);padding-right:4px\">",
			   (u32)list[k]->who->tid * 47 % 360);
		put_escaped(o, pd_thread_label((struct pd_thread *)list[k]->who));
		out_str(o, "</div>");
	}
	out_str(o, "</div>\n");
}

static void put_intro(struct out *o, const struct timeline *t, u32 nr)
{
	out_str(o, head);
	out_printf(o, "<h1>%.3f ms, %u tasks</h1>\n<p>From ", (double)(t->end - t->start) / 1e6, t->nr_tasks);
	out_time_us(o, t->start, 1);
	out_str(o, " to ");
	out_time_us(o, t->end, 1);
	out_printf(o, " of the recording's clock; the %u tasks that ran most. Point at a rectangle for more.</p>\n",
		   nr);
	out_str(o, "<p class=\"k\">CPUs show the task that ran most; a task");
	for (u32 i = 0; i < NR_LANE_STATES; i++)
		out_printf(o, "<span style=\"background:%s\"></span>%s", state_colours[i], state_words[i]);
	out_str(o, "</p>\n<p>stretch time <input type=\"range\" min=\"1\" max=\"40\" value=\"1\" oninput=\"var "
		   "s=document.querySelector('svg');s.style.width=this.value*100+'%'\"></p>\n");
}

static void put_picture(struct out *o, const struct timeline *t, struct task_lane *const *list, u32 nr)
{
	u32 row = 0, rows = nr + 1;

	for (u32 c = 0; c < t->nr_cpus; c++)
		rows += t->cpus[c] != NULL;
	out_str(o, "<div class=\"t\">");
	put_names(o, t, list, nr);
	out_printf(o,
		   "<div class=\"s\"><svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %u %u\" "
		   "preserveAspectRatio=\"none\" style=\"width:100%%;height:%upx\" shape-rendering=\"crispEdges\">\n",
		   t->width, rows * ROW, rows * ROW);
	for (u32 c = 0; c < t->nr_cpus; c++)
		if (t->cpus[c])
			put_cpu_lane(o, t, t->cpus[c], row++);
	row++;
	for (u32 k = 0; k < nr; k++)
		put_task_lane(o, t, list[k], row++);
	out_str(o, "</svg></div></div>\n");
}

int timeline_html(struct timehist *th, const char *path)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666), err;
	struct out *o = malloc(sizeof(*o));
	struct task_lane **list;
	u32 nr;

	if (fd < 0 || !o) {
		err = fd < 0 ? -errno : -ENOMEM;
		free(o);
		return err;
	}
	out_init(o, fd);
	list = timeline_busiest(th->timeline, &nr);
	if (list) {
		put_intro(o, th->timeline, nr);
		put_picture(o, th->timeline, list, nr);
	}
	err = list ? out_flush(o) : -ENOMEM;
	if (close(fd) && !err)
		err = -errno;
	free(list);
	free(o);
	return err;
}
