/* users: see users.h. Owns a node for each slot, and each user's name. */
#include "users.h"

#include <bsd/sys/tree.h>
#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "slabs.h"

enum { NONE = 0 }; /* no slot */

struct user {
	RB_ENTRY(user) link;
	const char *name;
	uint32_t first, last; /* slots */
	char text[];
};
RB_HEAD(user_tree, user);

struct node {
	struct user *user; /* NULL: nobody's */
	uint32_t last_s;
	uint32_t prev, next;
};

struct users {
	struct user_tree tree;
	struct slabs nodes;
};

static int user_compare(const struct user *a, const struct user *b)
{
	return strcmp(a->name, b->name);
}

RB_GENERATE_INTERNAL(user_tree, user, link, user_compare,
		     __attribute__((unused)) static)

struct users *users_create(void)
{
	struct users *users = calloc(1, sizeof(*users));

	if (users != NULL)
		users->nodes.size = sizeof(struct node);
	return users;
}

void users_free(struct users *users)
{
	struct user *user;

	if (users == NULL)
		return;
	while ((user = RB_MIN(user_tree, &users->tree)) != NULL) {
		RB_REMOVE(user_tree, &users->tree, user);
		free(user);
	}
	slabs_free(&users->nodes);
	free(users);
}

bool users_reserve(struct users *users, uint32_t slot)
{
	return slabs_reserve(&users->nodes, slot);
}

static struct user *find(struct users *users, const char *name)
{
	struct user wanted = {.name = name};

	return RB_FIND(user_tree, &users->tree, &wanted);
}

static struct user *create(struct users *users, const char *name)
{
	size_t size = strlen(name) + 1;
	struct user *user = malloc(sizeof(*user) + size);

	if (user == NULL)
		return NULL;
	memcpy(user->text, name, size);
	user->name = user->text;
	user->first = user->last = NONE;
	RB_INSERT(user_tree, &users->tree, user);
	return user;
}

static struct node *node_at(const struct users *users, uint32_t slot)
{
	return slabs_at(&users->nodes, slot);
}

bool users_join(struct users *users, uint32_t slot, const char *name,
		uint32_t last_s)
{
	struct node *node = node_at(users, slot);
	struct user *user = find(users, name);

	if (user == NULL && (user = create(users, name)) == NULL)
		return false;
	uint32_t prev = user->last, next = NONE;
	while (prev != NONE && node_at(users, prev)->last_s > last_s) {
		next = prev;
		prev = node_at(users, prev)->prev;
	}
	*node = (struct node){user, last_s, prev, next};
	*(prev ? &node_at(users, prev)->next : &user->first) = slot;
	*(next ? &node_at(users, next)->prev : &user->last) = slot;
	return true;
}

void users_leave(struct users *users, uint32_t slot)
{
	struct node *node = node_at(users, slot);

	if (node == NULL || node->user == NULL)
		return;
	struct user *user = node->user;
	uint32_t prev = node->prev, next = node->next;
	*(prev ? &node_at(users, prev)->next : &user->first) = next;
	*(next ? &node_at(users, next)->prev : &user->last) = prev;
	node->user = NULL;
	if (user->first != NONE)
		return;
	RB_REMOVE(user_tree, &users->tree, user);
	free(user);
}

void users_step(struct users *users, uint32_t slots, int64_t step_s)
{
	for (uint32_t slot = 1; slot < slots; slot++) {
		struct node *node = node_at(users, slot);
		if (node != NULL)
			node->last_s = clock_fit(node->last_s + step_s);
	}
}

uint32_t users_first(struct users *users, const char *name)
{
	const struct user *user = find(users, name);

	return user ? user->first : NONE;
}

uint32_t users_next(const struct users *users, uint32_t slot)
{
	return node_at(users, slot)->next;
}
