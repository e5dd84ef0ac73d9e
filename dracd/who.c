/* who: see who.h. */
#include "who.h"

#include <stdlib.h>
#include <string.h>

static struct who *create(const char *user, size_t user_len,
			  const char *service, size_t service_len)
{
	struct who *who = malloc(sizeof(*who) + user_len + service_len + 2);
	if (who == NULL)
		return NULL;
	char *text = who->names;
	who->first_s = 0;
	who->adds = 1;
	if (user_len > 0)
		text = mempcpy(text, user, user_len);
	*text++ = '\0';
	if (service_len > 0)
		text = mempcpy(text, service, service_len);
	*text = '\0';
	return who;
}

bool who_create(struct who **who, const char *user, size_t user_len,
		const char *service, size_t service_len)
{
	*who = NULL;
	if (user_len + service_len == 0)
		return true;
	*who = create(user, user_len, service, service_len);
	return *who != NULL;
}

struct who *who_nameless(void)
{
	return create(NULL, 0, NULL, 0);
}

const char *who_user(const struct who *who)
{
	return who ? who->names : "";
}

const char *who_service(const struct who *who)
{
	return who ? who->names + strlen(who->names) + 1 : "";
}

bool who_equal(const struct who *a, const struct who *b)
{
	return strcmp(who_user(a), who_user(b)) == 0 &&
	       strcmp(who_service(a), who_service(b)) == 0;
}
