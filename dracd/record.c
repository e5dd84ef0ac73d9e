/* record: see record.h. */
#include "record.h"

#include <stdlib.h>
#include <string.h>

bool who_create(char **who, const char *user, size_t user_len,
		const char *service, size_t service_len)
{
	*who = NULL;
	if (user_len + service_len == 0)
		return true;
	char *text = malloc(user_len + service_len + 2);
	if (text == NULL)
		return false;
	*who = text;
	if (user_len > 0)
		text = mempcpy(text, user, user_len);
	*text++ = '\0';
	if (service_len > 0)
		text = mempcpy(text, service, service_len);
	*text = '\0';
	return true;
}

const char *who_user(const char *who)
{
	return who ? who : "";
}

const char *who_service(const char *who)
{
	return who ? who + strlen(who) + 1 : "";
}

bool who_equal(const char *a, const char *b)
{
	return strcmp(who_user(a), who_user(b)) == 0 &&
	       strcmp(who_service(a), who_service(b)) == 0;
}

struct record record_of(const struct entry *entry)
{
	const char *user = who_user(entry->who);
	const char *service = who_service(entry->who);
	return (struct record){
	    .type = RECORD_PUT,
	    .address = entry->address,
	    .expiry_s = entry->expiry_s,
	    .user = user,
	    .service = service,
	    .user_len = (uint8_t)strlen(user),
	    .service_len = (uint8_t)strlen(service),
	};
}
