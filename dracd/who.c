/*
 * who: see who.h. Owns the memory of all of them: there may be a million, of
 * some twenty bytes each, to which malloc(3) adds a third. They come out of
 * slabs, and wait on a list for the next one of their size; nothing is given
 * back.
 */
#include "who.h"

#include <stdlib.h>
#include <string.h>

enum {
	GRAIN = sizeof(uint32_t), /* sizes are a multiple of it */
	SIZES = 132, /* that there are, the longest names included */
	SLAB = 64 * 1024,
};

static size_t grains(size_t user_len, size_t service_len)
{
	size_t size = sizeof(struct who) + user_len + service_len + 2;
	return (size + GRAIN - 1) / GRAIN;
}

#ifndef __SANITIZE_ADDRESS__
/* What is unused begins with the address of the next; it need not be aligned.
 */
static struct {
	void *slabs;
	char *at;
	size_t left;       /* in the newest slab */
	void *free[SIZES]; /* by grains */
} pool;

static void push(void **list, void *memory)
{
	memcpy(memory, list, sizeof(*list));
	*list = memory;
}

static void *pop(void **list)
{
	void *memory = *list;
	if (memory != NULL)
		memcpy(list, memory, sizeof(*list));
	return memory;
}

static bool add_slab(void)
{
	char *slab = malloc(SLAB);
	if (slab == NULL)
		return false;
	push(&pool.slabs, slab);
	pool.at = slab + sizeof(void *);
	pool.left = SLAB - sizeof(void *);
	return true;
}

static void *take(size_t count)
{
	void *memory = pop(&pool.free[count]);
	if (memory != NULL)
		return memory;
	if (pool.left < count * GRAIN && !add_slab())
		return NULL;
	memory = pool.at;
	pool.at += count * GRAIN;
	pool.left -= count * GRAIN;
	return memory;
}

static void give(void *memory, size_t count)
{
	push(&pool.free[count], memory);
}
#else /* so that what is wrong with one of them is seen */
static void *take(size_t count)
{
	return malloc(count * GRAIN);
}

static void give(void *memory, size_t count)
{
	(void)count;
	free(memory);
}
#endif

void who_free(struct who *who)
{
	if (who != NULL)
		give(who,
		     grains(strlen(who_user(who)), strlen(who_service(who))));
}

static struct who *create(const char *user, size_t user_len,
			  const char *service, size_t service_len)
{
	struct who *who = take(grains(user_len, service_len));
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
