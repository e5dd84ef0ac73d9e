/* cyrus_event: see cyrus_event.h. Depth and size are bounded by the datagram.
 */
#include "cyrus_event.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "line.h"
#include "mailclient.h"
#include "text.h"

enum { STAMP_ROOM = 64, FIELDS_BEFORE_CLASS = 1, FIELDS_BEFORE_COUNT = 3 };

/* What has not been taken yet. */
struct fields {
	const char *at, *end;
};

/* The next field without its NUL; NULL: there is none. */
static const char *take(struct fields *fields)
{
	const char *field = fields->at;
	const char *nul =
	    memchr(field, '\0', (size_t)(fields->end - fields->at));

	if (nul == NULL)
		return NULL;
	fields->at = nul + 1;
	return field;
}

static bool skip(struct fields *fields, unsigned long count)
{
	while (count > 0 && take(fields) != NULL)
		count--;
	return count == 0;
}

/*
 * imap/notify.c: method, class, priority, user, mailbox, count, so many
 * options, message; each ends in a NUL. NULL: it is not such a datagram.
 */
static const char *message_of(const char *data, size_t len, const char **class)
{
	struct fields fields = {data, data + len};
	const char *count;
	char *end;
	unsigned long options;

	if (!skip(&fields, FIELDS_BEFORE_CLASS) ||
	    (*class = take(&fields)) == NULL ||
	    !skip(&fields, FIELDS_BEFORE_COUNT) ||
	    (count = take(&fields)) == NULL || *count < '0' || *count > '9')
		return NULL;
	options = strtoul(count, &end, 10);
	return *end == '\0' && skip(&fields, options) ? take(&fields) : NULL;
}

/* NULL: it is not there, or no string. */
static const char *member(const json_t *object, const char *name)
{
	return json_string_value(json_object_get(object, name));
}

static bool begins(const char *text, const char *start)
{
	return strncmp(text, start, strlen(start)) == 0;
}

/*
 * Cyrus gives the name in cyrus.conf: imap, imaps, imaplocal, pop3, pop3s. Not
 * told (event_extra_params): only imapd and pop3d send such events.
 */
static const char *service_of(const json_t *object)
{
	const char *name = member(object, "service");

	if (name == NULL)
		return json_object_get(object, "service") == NULL ? "" : NULL;
	if (begins(name, "imap"))
		return "imap";
	return begins(name, "pop") ? "pop3" : NULL;
}

/* A name that dracd would not take is left out; the login counts. */
static void copy_user(const json_t *object, char out[DRAC_USER_MAX + 1])
{
	const char *user = member(object, "user");
	size_t len = user != NULL ? strlen(user) : 0;

	if (len > DRAC_USER_MAX || !text_is_clean(user, len))
		len = 0;
	if (len > 0)
		memcpy(out, user, len);
	out[len] = '\0';
}

/* The stamp is that of a log line. */
static int64_t time_of(const json_t *object, int64_t now_s)
{
	const char *stamp = member(object, "timestamp");
	char text[STAMP_ROOM];
	struct line line;
	int len = stamp != NULL
		      ? snprintf(text, sizeof text, "%s cyrus: -", stamp)
		      : -1;

	if (len < 0 || (size_t)len >= sizeof text ||
	    !line_parse(text, (size_t)len, now_s, &line))
		return now_s;
	return line.time_s < now_s ? line.time_s : now_s;
}

static enum cyrus_result login(const json_t *object, int64_t now_s,
			       struct event *event)
{
	const char *service = service_of(object);

	if (service == NULL)
		return CYRUS_SERVICE;
	if (!mailclient_from_text(member(object, "clientIP"), event->address))
		return CYRUS_NOADDRESS;
	event->kind = EVENT_LOGIN;
	event->time_s = time_of(object, now_s);
	snprintf(event->service, sizeof event->service, "%s", service);
	copy_user(object, event->user);
	return CYRUS_EVENT;
}

static enum cyrus_result from_object(const json_t *object, int64_t now_s,
				     struct event *event)
{
	const char *name = member(object, "event");

	if (name == NULL)
		return CYRUS_MALFORMED;
	if (strcmp(name, "Login") == 0)
		return login(object, now_s, event);
	event->kind = EVENT_LOGOUT;
	return strcmp(name, "Logout") == 0 ? CYRUS_EVENT : CYRUS_OTHER;
}

enum cyrus_result cyrus_event_parse(const char *data, size_t len, int64_t now_s,
				    struct event *event)
{
	const char *class, *message;
	enum cyrus_result result;
	json_t *object;

	*event = (struct event){0};
	message = message_of(data, len, &class);
	if (message == NULL)
		return CYRUS_MALFORMED;
	if (strcmp(class, "EVENT") != 0)
		return CYRUS_OTHER;
	object = json_loads(message, JSON_REJECT_DUPLICATES, NULL);
	result = json_is_object(object) ? from_object(object, now_s, event)
					: CYRUS_MALFORMED;
	json_decref(object);
	return result;
}
