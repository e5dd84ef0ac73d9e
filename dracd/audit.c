/* audit: see audit.h. Owns the ring of events, and what limits the lines. */
#include "audit.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "log.h"

enum {
	LINES_PER_S = 50,
	DENIALS_PER_S = 16, /* events; strangers must not fill the ring */
	WHO_QUOTED_MAX = 1200,
};

/* So much of something in a second. */
struct budget {
	int64_t second_s;
	uint64_t used;
};

struct audit {
	struct events *events;
	struct budget lines, debug_lines, denials;
	/* one for each reason, so that none hides another */
	struct log_limit caller_denied, address_denied, key_denied;
	struct log_limit limit_reached;
};

struct audit *audit_create(void)
{
	struct audit *audit = calloc(1, sizeof(*audit));
	if (audit != NULL && (audit->events = events_create()) != NULL)
		return audit;
	free(audit);
	return NULL;
}

void audit_free(struct audit *audit)
{
	if (audit == NULL)
		return;
	events_free(audit->events);
	free(audit);
}

const struct events *audit_events(const struct audit *audit)
{
	return audit->events;
}

/* what: whose lines are left out when there are too many; NULL: nobody's. */
static bool may_have(struct budget *budget, uint64_t per_s, const char *what)
{
	int64_t now_s = clock_monotonic_s();
	if (now_s != budget->second_s) {
		if (budget->used > per_s && what != NULL)
			log_write(LOG_INFO, "%s: lines left out=%" PRIu64, what,
				  budget->used - per_s);
		budget->second_s = now_s;
		budget->used = 0;
	}
	return budget->used++ < per_s;
}

static bool may_speak(struct audit *audit)
{
	return may_have(&audit->lines, LINES_PER_S, "authorize and remove");
}

static bool may_mutter(struct audit *audit)
{
	return may_have(&audit->debug_lines, LINES_PER_S, "refresh and expire");
}

/* ---- events -------------------------------------------------------------- */

static void copy_name(char *to, size_t size, const char *from)
{
	size_t len = strnlen(from, size - 1);
	memcpy(to, from, len);
	to[len] = '\0';
}

static struct event *note(struct audit *audit, enum event_kind kind,
			  const struct address *caller, const struct who *who)
{
	struct event *event = events_add(audit->events);
	event->kind = kind;
	event->time_s = clock_wall_s();
	event->caller = *caller;
	copy_name(event->user, sizeof(event->user), who_user(who));
	copy_name(event->service, sizeof(event->service), who_service(who));
	return event;
}

static void note_entry(struct audit *audit, enum event_kind kind,
		       const struct entry *entry, const struct address *caller)
{
	struct event *event = note(audit, kind, caller, entry->who);
	event->address = entry->address;
	event->expiry_s = entry->expiry_s;
	event->first_s = entry_first_s(entry);
	event->last_s = entry->last_s;
	event->adds = entry_adds(entry);
}

static void note_denial(struct audit *audit, const struct address *caller,
			const struct address *address, const struct who *who)
{
	if (!may_have(&audit->denials, DENIALS_PER_S, NULL))
		return;
	struct event *event = note(audit, EVENT_DENY, caller, who);
	event->address = address ? *address : (struct address){{0}};
	event->expiry_s = 0;
	event->first_s = event->last_s = event->adds = 0;
}

/* ---- lines --------------------------------------------------------------- */

/* The address may relay. */
static void write_grant(int priority, const char *what,
			const struct entry *entry, const struct address *by)
{
	char address[ADDRESS_TEXT_MAX], caller[CALLER_TEXT_MAX];
	char user[WHO_QUOTED_MAX], service[WHO_QUOTED_MAX];
	log_write(priority,
		  "%s address=%s expiry=%" PRIu32
		  " caller=%s user=%s service=%s adds=%" PRIu32,
		  what, address_text(&entry->address, address), entry->expiry_s,
		  caller_text(by, caller),
		  log_quote(who_user(entry->who), user, sizeof(user)),
		  log_quote(who_service(entry->who), service, sizeof(service)),
		  entry_adds(entry));
}

/* It may not any more: what there was to tell about it. */
static void write_end(int priority, const char *what, const struct entry *entry,
		      const struct address *by)
{
	char address[ADDRESS_TEXT_MAX], caller[CALLER_TEXT_MAX];
	char user[WHO_QUOTED_MAX], service[WHO_QUOTED_MAX];
	log_write(priority,
		  "%s address=%s caller=%s user=%s service=%s first=%" PRIu32
		  " last=%" PRIu32 " adds=%" PRIu32,
		  what, address_text(&entry->address, address),
		  caller_text(by, caller),
		  log_quote(who_user(entry->who), user, sizeof(user)),
		  log_quote(who_service(entry->who), service, sizeof(service)),
		  entry_first_s(entry), entry->last_s, entry_adds(entry));
}

void audit_authorize(struct audit *audit, const struct entry *entry,
		     const struct address *by)
{
	note_entry(audit, EVENT_AUTHORIZE, entry, by);
	if (may_speak(audit))
		write_grant(LOG_INFO, "authorize", entry, by);
}

void audit_refresh(struct audit *audit, const struct entry *entry,
		   const struct address *by)
{
	note_entry(audit, EVENT_REFRESH, entry, by);
	if (may_mutter(audit))
		write_grant(LOG_DEBUG, "refresh", entry, by);
}

void audit_remove(struct audit *audit, const struct entry *entry,
		  const struct address *by)
{
	note_entry(audit, EVENT_REMOVE, entry, by);
	if (may_speak(audit))
		write_end(LOG_INFO, "remove", entry, by);
}

void audit_expire(struct audit *audit, const struct entry *entry,
		  const struct address *caller)
{
	note_entry(audit, EVENT_EXPIRE, entry, caller);
	if (may_mutter(audit))
		write_end(LOG_DEBUG, "expire", entry, caller);
}

void audit_deny(struct audit *audit, const struct address *caller,
		const struct address *address, const char *reason)
{
	char by[CALLER_TEXT_MAX], text[ADDRESS_TEXT_MAX];
	struct log_limit *limit =
	    address ? &audit->address_denied : &audit->caller_denied;
	note_denial(audit, caller, address, NULL);
	if (!log_allowed(limit))
		return;
	if (address == NULL)
		log_write(LOG_WARNING, "deny caller=%s reason=\"%s\"",
			  caller_text(caller, by), reason);
	else
		log_write(LOG_WARNING,
			  "deny address=%s caller=%s reason=\"%s\"",
			  address_text(address, text), caller_text(caller, by),
			  reason);
}

void audit_deny_key(struct audit *audit, const struct address *caller,
		    const char *key, const char *reason)
{
	char by[CALLER_TEXT_MAX];
	note_denial(audit, caller, NULL, NULL);
	if (log_allowed(&audit->key_denied))
		log_write(LOG_WARNING, "deny caller=%s key=%s reason=\"%s\"",
			  caller_text(caller, by), key ? key : "?", reason);
}

void audit_deny_limit(struct audit *audit, const struct address *caller,
		      const struct address *address, const struct who *who,
		      uint32_t max)
{
	char by[CALLER_TEXT_MAX], text[ADDRESS_TEXT_MAX], user[WHO_QUOTED_MAX];
	note_denial(audit, caller, address, who);
	if (log_allowed(&audit->limit_reached))
		log_write(
		    LOG_WARNING,
		    "deny address=%s caller=%s user=%s "
		    "reason=\"max-addresses-per-user reached\" limit=%" PRIu32,
		    address_text(address, text), caller_text(caller, by),
		    log_quote(who_user(who), user, sizeof(user)), max);
}
