/* record: see record.h. */
#include "record.h"

#include <string.h>

struct record record_of(const struct table *table, const struct entry *entry)
{
	const char *user = who_user(entry->who);
	const char *service = who_service(entry->who);
	return (struct record){
	    .type = RECORD_PUT,
	    .address = entry->address,
	    .expiry_s = entry->expiry_s,
	    .first_s = entry_first_s(entry),
	    .last_s = entry->last_s,
	    .adds = entry_adds(entry),
	    .caller = *table_caller(table, entry->caller),
	    .user = user,
	    .service = service,
	    .user_len = (uint8_t)strlen(user),
	    .service_len = (uint8_t)strlen(service),
	};
}
