/* columns: see columns.h. */
#include "columns.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>
#include <wchar.h>

#include "say.h"

enum {
	ADDRESS,
	LEFT,
	USER,
	SERVICE,
	CALLER,
	ADDS,
	FIRST,
	LAST,
	CELL_SIZE = DRAC_USER_MAX + 1,
	GAP = 2,
	NAME_MIN = 8, /* not cut below that */
	LEFT_WIDTH = sizeof "366d00h" - 1,
	WHEN_WIDTH = sizeof "Nov 22 04:25" - 1,
	RECENT_S = 182 * 24 * 3600,
};

_Static_assert(LAST + 1 == COLUMNS_COUNT, "a name for each column");

static const char *const titles[] = {"ADDRESS", "LEFT", "USER",  "SERVICE",
				     "CALLER",  "ADDS", "FIRST", "LAST"};

/* ---- cells --------------------------------------------------------------- */

/* As ls(1) has it: the time, or, half a year away, the year. */
static void write_when(int64_t time_s, int64_t now_s, char out[CELL_SIZE])
{
	time_t when = (time_t)time_s;
	bool recent = time_s > now_s - RECENT_S && time_s < now_s + RECENT_S;
	struct tm tm;

	if (time_s == 0 || localtime_r(&when, &tm) == NULL ||
	    strftime(out, CELL_SIZE, recent ? "%b %e %H:%M" : "%b %e  %Y",
		     &tm) == 0)
		snprintf(out, CELL_SIZE, "-");
}

static void write_text(const char *text, char out[CELL_SIZE])
{
	snprintf(out, CELL_SIZE, "%s", *text != '\0' ? text : "-");
}

static void write_cell(const struct columns *columns,
		       const struct drac_entry *entry, int column,
		       char out[CELL_SIZE])
{
	char span[SAY_SPAN_SIZE];

	switch (column) {
	case ADDRESS:
		write_text(entry->address, out);
		break;
	case LEFT:
		write_text(say_span(entry->expiry_s - columns->now_s, span),
			   out);
		break;
	case USER:
		write_text(entry->user, out);
		break;
	case SERVICE:
		write_text(entry->service, out);
		break;
	case CALLER:
		write_text(entry->caller, out);
		break;
	case ADDS:
		snprintf(out, CELL_SIZE, "%" PRIu64, entry->adds);
		break;
	case FIRST:
		write_when(entry->first_s, columns->now_s, out);
		break;
	default:
		write_when(entry->last_s, columns->now_s, out);
	}
}

/* ---- characters ---------------------------------------------------------- */

/* Marks of direction and order would let a name rearrange its row. */
static bool is_shown(wchar_t c)
{
	return wcwidth(c) >= 0 && !(c >= 0x200b && c <= 0x200f) &&
	       !(c >= 0x2028 && c <= 0x202e) && !(c >= 0x2060 && c <= 0x206f);
}

/* One character: its bytes, what to print for it, and its columns. */
static size_t next_char(const char *text, const char **shown, size_t *shown_len,
			int *width)
{
	mbstate_t state = {0};
	wchar_t c;
	size_t len = mbrtowc(&c, text, strlen(text), &state);
	bool good = len != (size_t)-1 && len != (size_t)-2 && is_shown(c);

	if (len == (size_t)-1 || len == (size_t)-2)
		len = 1;
	*shown = good ? text : "?";
	*shown_len = good ? len : 1;
	*width = good ? wcwidth(c) : 1;
	return len;
}

/* Most names, and a million of them is not rare. */
static bool is_plain(const char *text)
{
	while (*text >= ' ' && *text <= '~')
		text++;
	return *text == '\0';
}

static int text_width(const char *text)
{
	const char *shown;
	size_t shown_len;
	int width, all = 0;

	if (is_plain(text))
		return (int)strlen(text);
	while (*text != '\0') {
		text += next_char(text, &shown, &shown_len, &width);
		all += width;
	}
	return all;
}

static void print_cell(const char *text, int room, bool pad)
{
	bool cut = text_width(text) > room;
	int left = room - (cut ? 1 : 0);
	const char *shown;
	size_t shown_len;
	int width;

	if (!cut && is_plain(text)) {
		left -= (int)strlen(text);
		fputs(text, stdout);
		text = "";
	}
	while (*text != '\0') {
		text += next_char(text, &shown, &shown_len, &width);
		if (width > left)
			break;
		fwrite(shown, 1, shown_len, stdout);
		left -= width;
	}
	if (cut)
		putchar('~');
	if (pad)
		printf("%*s", left, "");
}

/* ---- the table ----------------------------------------------------------- */

void columns_begin(struct columns *columns, int64_t now_s)
{
	columns->now_s = now_s;
	columns->adds = 0;
	for (int i = 0; i < COLUMNS_COUNT; i++)
		columns->width[i] = (int)strlen(titles[i]);
	columns->width[LEFT] = LEFT_WIDTH;
	columns->width[FIRST] = WHEN_WIDTH;
	columns->width[LAST] = WHEN_WIDTH;
}

static void widen(struct columns *columns, int column, int width)
{
	if (width > columns->width[column])
		columns->width[column] = width;
}

void columns_measure(struct columns *columns, const struct drac_entry *entry)
{
	char cell[CELL_SIZE];

	widen(columns, ADDRESS, text_width(entry->address));
	widen(columns, USER, text_width(entry->user));
	widen(columns, SERVICE, text_width(entry->service));
	widen(columns, CALLER, text_width(entry->caller));
	if (entry->adds > columns->adds) {
		columns->adds = entry->adds;
		write_cell(columns, entry, ADDS, cell);
		widen(columns, ADDS, text_width(cell));
	}
}

static int whole_width(const struct columns *columns)
{
	int all = -GAP;

	for (int i = 0; i < COLUMNS_COUNT; i++)
		if (columns->width[i] > 0)
			all += columns->width[i] + GAP;
	return all;
}

static void cut_name(struct columns *columns, int column, int screen)
{
	int *width = &columns->width[column];
	int surplus = whole_width(columns) - screen;

	if (surplus <= 0 || *width <= NAME_MIN)
		return;
	*width = *width - surplus > NAME_MIN ? *width - surplus : NAME_MIN;
}

/* 0: not a terminal. */
static int screen_width(void)
{
	enum { UNKNOWN_WIDTH = 80 };
	struct winsize size;

	if (!isatty(STDOUT_FILENO))
		return 0;
	if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_col == 0)
		return UNKNOWN_WIDTH;
	return size.ws_col;
}

void columns_fit(struct columns *columns, bool header)
{
	static const int least_first[] = {LAST, FIRST, ADDS, CALLER, SERVICE};
	int screen = screen_width();

	if (screen > 0 && whole_width(columns) > screen)
		columns->width[LAST] = 0;
	if (screen > 0) {
		cut_name(columns, USER, screen);
		cut_name(columns, CALLER, screen);
		cut_name(columns, SERVICE, screen);
	}
	for (size_t i = 0; screen > 0 && whole_width(columns) > screen &&
			   i < sizeof least_first / sizeof *least_first;
	     i++)
		columns->width[least_first[i]] = 0;
	if (!header)
		return;
	for (int i = 0; i < COLUMNS_COUNT; i++)
		if (columns->width[i] > 0)
			printf("%*s%-*s", i > 0 ? GAP : 0, "",
			       columns->width[i], titles[i]);
	putchar('\n');
}

void columns_row(const struct columns *columns, const struct drac_entry *entry)
{
	char cell[CELL_SIZE];
	int last = COLUMNS_COUNT - 1;

	while (last > 0 && columns->width[last] == 0)
		last--;
	for (int i = 0; i <= last; i++) {
		if (columns->width[i] == 0)
			continue;
		write_cell(columns, entry, i, cell);
		printf("%*s", i > 0 ? GAP : 0, "");
		print_cell(cell, columns->width[i], i < last);
	}
	putchar('\n');
}
