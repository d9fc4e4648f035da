/* SPDX-License-Identifier: MIT
 *
 * Problem: a recording of a large program has dozens of contended lines; one wants to look at one after the other,
 * beside the whole.
 *
 * Idea: two panes: the lines, worst first, one row each; below, the paragraph of words.c for the chosen one, which
 * scrolls. The text is words.c's own, so that nothing is said in two ways.
 *
 *   up, down, j, k, page keys: choose; [ ]: scroll the text; s: order by moves or by samples; q: end
 *
 * Contract: words.h. The terminal is put back however it ends.
 *
 * Locks: none.
 */
#include <errno.h>
#include <ncurses.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>
#include "ostrom.h"
#include "words.h"

struct view {
	const struct c2c_analysis *c;
	u32 *order; /* reports as shown */
	u32 chosen, first;
	bool by_samples;
	char *text; /* of the chosen line */
	u32 scroll;
	int list_rows; /* of the upper pane */
};

/* ---- the text --------------------------------------------------------------------------------------------------- */

/* What words.c writes about a line; NULL without memory. */
static char *text_of(const struct c2c_analysis *c, u32 report, u32 no)
{
	int fd = memfd_create("view", MFD_CLOEXEC);
	struct out *o = malloc(sizeof(*o));
	off_t bytes = -1;
	char *text = NULL;

	if (fd >= 0 && o) {
		out_init(o, fd);
		words_line(o, c, &c->reports[report], no);
		if (!out_flush(o))
			bytes = lseek(fd, 0, SEEK_END);
	}
	if (bytes >= 0)
		text = calloc(1, (size_t)bytes + 1);
	if (text && pread(fd, text, (size_t)bytes, 0) != bytes) {
		free(text);
		text = NULL;
	}
	free(o);
	if (fd >= 0)
		close(fd);
	return text;
}

static void choose(struct view *v, u32 row)
{
	v->chosen = row;
	v->scroll = 0;
	free(v->text);
	v->text = text_of(v->c, v->order[row], v->order[row] + 1);
}

static int by_samples(const void *a, const void *b, void *arg)
{
	const struct line_report *reports = arg;
	u64 x = reports[*(const u32 *)a].samples, y = reports[*(const u32 *)b].samples;

	return x != y ? (x > y ? -1 : 1) : (int)*(const u32 *)a - (int)*(const u32 *)b;
}

static void sort(struct view *v)
{
	for (u32 i = 0; i < v->c->nr_reports; i++)
		v->order[i] = i; /* analyse.c's order: moves */
	if (v->by_samples)
		qsort_r(v->order, v->c->nr_reports, sizeof(u32), by_samples, v->c->reports);
	v->first = 0;
	choose(v, 0);
}

/* ---- drawing --------------------------------------------------------------------------------------------------- */

static void put_row(const struct view *v, int y, u32 row)
{
	const struct line_report *r = &v->c->reports[v->order[row]];
	char field[300] = "";

	if (r->nr_parts)
		words_field(&r->parts[0], field, sizeof(field));
	if (row == v->chosen)
		attron(A_REVERSE);
	mvprintw(y, 0, " %4u  %-6s %7.2f%% %9llu %9llu  %#14llx  %-*.*s", v->order[row] + 1,
		 r->kind == LINE_TRUE_SHARING ? "true" : "false",
		 v->c->samples ? 100.0 * (double)r->samples / (double)v->c->samples : 0, (unsigned long long)r->travels,
		 (unsigned long long)r->samples, (unsigned long long)r->addr, max(COLS - 60, 1), max(COLS - 60, 1),
		 field);
	attroff(A_REVERSE);
}

static void put_text(const struct view *v, int top)
{
	const char *p = v->text ? v->text : "no memory for its text\n";
	u32 line = 0;

	for (; *p; line++) {
		const char *end = strchrnul(p, '\n');
		int y = top + (int)line - (int)v->scroll;

		if (line >= v->scroll && y < LINES - 1)
			mvaddnstr(y, 0, p, (int)min(end - p, (ptrdiff_t)COLS));
		p = *end ? end + 1 : end;
	}
}

static void draw(struct view *v)
{
	u32 n = v->c->nr_reports;

	v->list_rows = max(min((int)n, (LINES - 4) / 2), 1);
	if (v->chosen < v->first)
		v->first = v->chosen;
	if (v->chosen >= v->first + (u32)v->list_rows)
		v->first = v->chosen - (u32)v->list_rows + 1;
	erase();
	attron(A_BOLD);
	mvprintw(0, 0, " line  sharing  share     moves   samples         address  field");
	attroff(A_BOLD);
	for (int i = 0; i < v->list_rows && v->first + (u32)i < n; i++)
		put_row(v, 1 + i, v->first + (u32)i);
	mvhline(1 + v->list_rows, 0, ACS_HLINE, COLS);
	put_text(v, 2 + v->list_rows);
	mvprintw(LINES - 1, 0, "%u of %u lines, by %s   up/down choose  [ ] scroll  s order  q end", v->chosen + 1, n,
		 v->by_samples ? "samples" : "moves");
	refresh();
}

/* ---- keys ----------------------------------------------------------------------------------------------------- */

static void move_by(struct view *v, int rows)
{
	int at = (int)v->chosen + rows;

	choose(v, (u32)min(max(at, 0), (int)v->c->nr_reports - 1));
}

/* False: the end. */
static bool on_key(struct view *v, int key)
{
	switch (key) {
	case KEY_UP:
	case 'k': move_by(v, -1); break;
	case KEY_DOWN:
	case 'j': move_by(v, 1); break;
	case KEY_PPAGE: move_by(v, -v->list_rows); break;
	case KEY_NPAGE: move_by(v, v->list_rows); break;
	case KEY_HOME: choose(v, 0); break;
	case KEY_END: choose(v, v->c->nr_reports - 1); break;
	case '[': v->scroll -= v->scroll ? 1 : 0; break;
	case ']': v->scroll++; break;
	case 's':
		v->by_samples = !v->by_samples;
		sort(v);
		break;
	case ERR: /* the terminal is gone */
	case 'q':
	case 27: return false;
	default: break;
	}
	return true;
}

int view_run(const struct c2c_analysis *c)
{
	struct view v = { .c = c };
	SCREEN *screen;

	if (!c->nr_reports) {
		say_error("no cache line is fought over");
		return 0;
	}
	v.order = calloc(c->nr_reports, sizeof(u32));
	screen = v.order && isatty(STDOUT_FILENO) ? newterm(NULL, stdout, stdin) : NULL;
	if (!screen) {
		say_error("--tui needs a terminal");
		free(v.order);
		return -ENOTTY;
	}
	set_term(screen);
	cbreak();
	noecho();
	keypad(stdscr, TRUE);
	set_escdelay(50);
	curs_set(0);
	sort(&v);
	do
		draw(&v);
	while (on_key(&v, getch()));
	endwin();
	delscreen(screen);
	free(v.text);
	free(v.order);
	return 0;
}
