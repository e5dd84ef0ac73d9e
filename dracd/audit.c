/* audit: see audit.h. Owns the count of lines in this second. */
#include "audit.h"

#include <inttypes.h>
#include <stdio.h>

#include "clock.h"
#include "log.h"
#include "record.h"

enum { LINES_PER_S = 50, WHO_QUOTED_MAX = 1200 };

const char *audit_caller(const struct origin *origin,
			 char buf[ADDRESS_TEXT_MAX])
{
	if (!origin->local)
		return address_text(&origin->caller, buf);
	snprintf(buf, ADDRESS_TEXT_MAX, "local");
	return buf;
}

static bool may_speak(void)
{
	static int64_t second_s;
	static uint64_t lines;
	int64_t now_s = clock_monotonic_s();
	if (now_s != second_s) {
		if (lines > LINES_PER_S)
			log_write(
			    LOG_INFO,
			    "authorize and remove: lines left out=%" PRIu64,
			    lines - LINES_PER_S);
		second_s = now_s;
		lines = 0;
	}
	return lines++ < LINES_PER_S;
}

void audit_authorize(const struct entry *entry, const struct origin *origin)
{
	char address[ADDRESS_TEXT_MAX], caller[ADDRESS_TEXT_MAX];
	char user[WHO_QUOTED_MAX], service[WHO_QUOTED_MAX];
	if (!may_speak())
		return;
	log_write(LOG_INFO,
		  "authorize address=%s expiry=%" PRId64
		  " caller=%s user=%s service=%s",
		  address_text(&entry->address, address), entry->expiry_s,
		  audit_caller(origin, caller),
		  log_quote(who_user(entry->who), user, sizeof(user)),
		  log_quote(who_service(entry->who), service, sizeof(service)));
}

void audit_remove(const struct entry *entry, const struct origin *origin)
{
	char address[ADDRESS_TEXT_MAX], caller[ADDRESS_TEXT_MAX];
	if (may_speak())
		log_write(LOG_INFO, "remove address=%s caller=%s",
			  address_text(&entry->address, address),
			  audit_caller(origin, caller));
}
