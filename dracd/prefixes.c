/*
 * prefixes: see prefixes.h. Owns a node for each slot.
 */
#include "prefixes.h"

#include <bsd/sys/tree.h>
#include <stdlib.h>
#include <string.h>

#include "slabs.h"

struct node {
	RB_ENTRY(node) link;
	struct address prefix;
	int64_t expiry_s;
	bool linked;
};
RB_HEAD(nodes, node);

struct prefixes {
	struct nodes nodes;
	struct address mask;
	struct slabs slots; /* of struct node */
};

/* The latest expiry of a prefix comes first. */
static int node_compare(const struct node *a, const struct node *b)
{
	int order = memcmp(&a->prefix, &b->prefix, sizeof(a->prefix));

	if (order == 0)
		order =
		    (a->expiry_s < b->expiry_s) - (a->expiry_s > b->expiry_s);
	if (order == 0)
		order = ((uintptr_t)a > (uintptr_t)b) -
			((uintptr_t)a < (uintptr_t)b);
	return order;
}

RB_GENERATE_INTERNAL(nodes, node, link, node_compare,
		     __attribute__((unused)) static)

struct prefixes *prefixes_create(uint32_t bits)
{
	struct prefixes *prefixes = calloc(1, sizeof(*prefixes));

	if (prefixes == NULL)
		return NULL;
	RB_INIT(&prefixes->nodes);
	prefixes->slots.size = sizeof(struct node);
	for (uint32_t i = 0; i < bits; i++)
		prefixes->mask.byte[i / 8] |= (uint8_t)(0x80 >> i % 8);
	return prefixes;
}

void prefixes_free(struct prefixes *prefixes)
{
	if (prefixes == NULL)
		return;
	slabs_free(&prefixes->slots);
	free(prefixes);
}

static struct address masked(const struct prefixes *prefixes,
			     const struct address *address)
{
	struct address prefix;

	for (size_t i = 0; i < sizeof(prefix.byte); i++)
		prefix.byte[i] = address->byte[i] & prefixes->mask.byte[i];
	return prefix;
}

/* NULL: nobody has made room for it. */
static struct node *node_at(const struct prefixes *prefixes, uint32_t slot)
{
	return slabs_at(&prefixes->slots, slot);
}

bool prefixes_reserve(struct prefixes *prefixes, uint32_t slot)
{
	return slabs_reserve(&prefixes->slots, slot);
}

void prefixes_clear(struct prefixes *prefixes, uint32_t slot)
{
	struct node *node = node_at(prefixes, slot);

	if (node == NULL || !node->linked)
		return;
	RB_REMOVE(nodes, &prefixes->nodes, node);
	node->linked = false;
}

void prefixes_set(struct prefixes *prefixes, uint32_t slot,
		  const struct address *address, int64_t expiry_s)
{
	struct node *node = node_at(prefixes, slot);

	prefixes_clear(prefixes, slot);
	node->prefix = masked(prefixes, address);
	node->expiry_s = expiry_s;
	node->linked = true;
	RB_INSERT(nodes, &prefixes->nodes, node);
}

void prefixes_step(struct prefixes *prefixes, int64_t step_s)
{
	struct node *node;

	RB_FOREACH (node, nodes, &prefixes->nodes)
		node->expiry_s += step_s;
}

int64_t prefixes_latest(struct prefixes *prefixes,
			const struct address *address)
{
	struct node wanted = {.prefix = masked(prefixes, address),
			      .expiry_s = INT64_MAX};
	const struct node *node = RB_NFIND(nodes, &prefixes->nodes, &wanted);

	return node != NULL && address_equal(&node->prefix, &wanted.prefix)
		   ? node->expiry_s
		   : 0;
}
