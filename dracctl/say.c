/* say: see say.h. */
#include "say.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "../dracd/text.h"

enum {
	MINUTE_S = 60,
	HOUR_S = 60 * MINUTE_S,
	DAY_S = 24 * HOUR_S,
	ASCII_FIRST = ' ',
	ASCII_LAST = '~'
};

void say_error(const char *format, ...)
{
	va_list args;

	fputs("dracctl: ", stderr);
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fputc('\n', stderr);
}

void say_clean(char *text)
{
	if (text_is_clean(text, strlen(text)))
		return;
	for (; *text != '\0'; text++)
		if (*text < ASCII_FIRST || *text > ASCII_LAST)
			*text = '?';
}

void say_clean_entry(struct drac_entry *entry)
{
	say_clean(entry->user);
	say_clean(entry->service);
	say_clean(entry->caller);
}

const char *say_span(int64_t span_s, char out[SAY_SPAN_SIZE])
{
	long long s = span_s > 0 ? span_s : 0;

	if (s < MINUTE_S)
		snprintf(out, SAY_SPAN_SIZE, "%llds", s);
	else if (s < HOUR_S)
		snprintf(out, SAY_SPAN_SIZE, "%lldm%02llds", s / MINUTE_S,
			 s % MINUTE_S);
	else if (s < DAY_S)
		snprintf(out, SAY_SPAN_SIZE, "%lldh%02lldm", s / HOUR_S,
			 s % HOUR_S / MINUTE_S);
	else
		snprintf(out, SAY_SPAN_SIZE, "%lldd%02lldh", s / DAY_S,
			 s % DAY_S / HOUR_S);
	return out;
}

const char *say_time(int64_t time_s, char out[SAY_TIME_SIZE])
{
	time_t when = (time_t)time_s;
	struct tm tm;

	if (localtime_r(&when, &tm) == NULL ||
	    strftime(out, SAY_TIME_SIZE, "%Y-%m-%d %H:%M:%S", &tm) == 0)
		snprintf(out, SAY_TIME_SIZE, "?");
	return out;
}
