/*
 * map_lmdb_check: see map_impl.h. Follows the format of LMDB 0.9 (mdb.c there):
 * a file begins with two meta pages, of which the one with the later
 * transaction counts; it names the roots of two trees, the free pages by
 * transaction and the table. Every page of both must be where and what it
 * should be, belong to one place only, and have its keys in order. Never
 * writes.
 */
#include "map_impl.h"

#ifdef HAVE_LMDB

#include <errno.h>
#include <fcntl.h>
#include <lmdb.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
	MAGIC_VERSION = 1,
	PAGE_MIN = 512,
	PAGE_MAX = 65536,
	DEPTH_MAX = 32, /* CURSOR_STACK */
	KEY_MAX = 511,  /* MDB_MAXKEYSIZE */
};
#define MAGIC UINT32_C(0xBEEFC0DE)
#define NO_PAGE SIZE_MAX

enum page_flags {
	PAGE_BRANCH = 0x01,
	PAGE_LEAF = 0x02,
	PAGE_OVERFLOW = 0x04,
	PAGE_META = 0x08,
};

enum { NODE_BIG = 0x01 }; /* the value is in overflow pages */

struct page_header {
	size_t number;
	uint16_t pad, flags;
	union {
		struct {
			uint16_t lower, upper; /* the free room */
		};
		uint32_t pages; /* of a value */
	};
};

/* A branch has the low 48 bits of a page in the first three members. */
struct node_header {
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
	uint16_t high, low;
#else
	uint16_t low, high;
#endif
	uint16_t flags, key_len;
};

struct tree {
	uint32_t pad; /* the first tree's: size of a page */
	uint16_t flags, depth;
	size_t branch_pages, leaf_pages, overflow_pages, entries, root;
};

struct meta {
	uint32_t magic, version;
	void *address;
	size_t map_size;
	struct tree free, table;
	size_t last_page, transaction;
};

struct meta_page {
	struct page_header header;
	struct meta meta;
};

struct check {
	int fd;
	struct meta meta;
	size_t page_size;
	uint8_t *seen; /* a bit a page */
	/* of the tree that is being walked */
	const struct tree *tree;
	size_t entries;
	uint8_t key[KEY_MAX];        /* the last one */
	size_t key_len;              /* 0: none yet */
	uint8_t used[PAGE_MAX / 16]; /* of a page, a bit for two bytes */
	bool may_repeat; /* it was a branch's, so the leaf may have it too */
};

static int read_at(int fd, void *to, size_t len, off_t offset)
{
	ssize_t got = pread(fd, to, len, offset);
	if (got < 0)
		return errno;
	return (size_t)got == len ? 0 : MDB_CORRUPTED;
}

static bool is_meta(const struct meta_page *page)
{
	size_t size = page->meta.free.pad;
	return page->header.flags == PAGE_META && page->meta.magic == MAGIC &&
	       size >= PAGE_MIN && size <= PAGE_MAX && (size & (size - 1)) == 0;
}

static int read_metas(struct check *c)
{
	struct meta_page page[2];
	int error = read_at(c->fd, &page[0], sizeof(page[0]), 0);
	if (error != 0)
		return error;
	if (!is_meta(&page[0]))
		return MDB_INVALID;
	c->page_size = page[0].meta.free.pad;
	error = read_at(c->fd, &page[1], sizeof(page[1]), (off_t)c->page_size);
	if (error != 0)
		return error;
	if (!is_meta(&page[1]) || page[1].meta.free.pad != c->page_size)
		return MDB_INVALID;
	if (page[0].meta.version != MAGIC_VERSION ||
	    page[1].meta.version != MAGIC_VERSION)
		return MDB_VERSION_MISMATCH;
	c->meta = page[0].meta.transaction < page[1].meta.transaction
		      ? page[1].meta
		      : page[0].meta;
	return 0;
}

/* False: not a page of data, or one that somebody has already. */
static bool claim(struct check *c, size_t page)
{
	if (page < 2 || page > c->meta.last_page ||
	    c->seen[page / 8] & 1 << page % 8)
		return false;
	c->seen[page / 8] |= (uint8_t)(1 << page % 8);
	return true;
}

static int read_page(struct check *c, size_t number, uint8_t *page)
{
	return read_at(c->fd, page, c->page_size,
		       (off_t)(number * c->page_size));
}

static struct page_header header_of(const uint8_t *page)
{
	struct page_header header;
	memcpy(&header, page, sizeof(header));
	return header;
}

/* ---- nodes --------------------------------------------------------------- */

struct node {
	size_t child;         /* of a branch */
	size_t value_len;     /* of a leaf */
	const uint8_t *key;   /* key_len bytes, then the value */
	size_t key_len, room; /* from the key to the end of the page */
	uint16_t flags;
};

/* False: it is not within the page. */
static bool node_at(const struct check *c, const uint8_t *page, size_t i,
		    struct node *node)
{
	struct page_header header = header_of(page);
	struct node_header raw;
	uint16_t offset;
	memcpy(&offset, page + sizeof(header) + i * sizeof(offset),
	       sizeof(offset));
	if (offset < header.upper || offset % 2 != 0 ||
	    offset + sizeof(raw) > c->page_size)
		return false;
	memcpy(&raw, page + offset, sizeof(raw));
	*node = (struct node){
	    .child = (size_t)((uint64_t)raw.flags << 32 |
			      (uint64_t)raw.high << 16 | raw.low),
	    .value_len = (size_t)raw.high << 16 | raw.low,
	    .key = page + offset + sizeof(raw),
	    .key_len = raw.key_len,
	    .room = c->page_size - offset - sizeof(raw),
	    .flags = raw.flags,
	};
	return node->key_len <= node->room && node->key_len <= KEY_MAX;
}

/* What a node takes of its page; a long list is elsewhere. */
static size_t node_size(const struct node *node, bool leaf)
{
	size_t size = sizeof(struct node_header) + node->key_len;
	if (leaf)
		size +=
		    node->flags & NODE_BIG ? sizeof(size_t) : node->value_len;
	return size + size % 2;
}

/*
 * Whether the nodes fill what is not free, and do not overlap: LMDB moves them
 * without looking.
 */
static bool nodes_fill(struct check *c, const uint8_t *page, size_t count,
		       bool leaf)
{
	size_t taken = c->page_size - header_of(page).upper, filled = 0;
	memset(c->used, 0, sizeof(c->used));
	for (size_t i = 0; i < count; i++) {
		struct node node;
		if (!node_at(c, page, i, &node))
			return false;
		size_t size = node_size(&node, leaf);
		size_t at =
		    (size_t)(node.key - page) - sizeof(struct node_header);
		if (size > c->page_size - at)
			return false;
		filled += size;
		for (size_t two = at / 2; two < (at + size) / 2; two++) {
			if (c->used[two / 8] & 1 << two % 8)
				return false;
			c->used[two / 8] |= (uint8_t)(1 << two % 8);
		}
	}
	return filled == taken;
}

static int compare(const struct check *c, const struct node *node)
{
	size_t len = node->key_len < c->key_len ? node->key_len : c->key_len;
	int order = 0;
	if (c->tree->flags & MDB_INTEGERKEY) {
		size_t a, b;
		memcpy(&a, node->key, sizeof(a));
		memcpy(&b, c->key, sizeof(b));
		return (a > b) - (a < b);
	}
	order = memcmp(node->key, c->key, len);
	return order ? order
		     : (node->key_len > c->key_len) -
			   (node->key_len < c->key_len);
}

/* Whether the key comes after the last one, which it then is. */
static bool key_follows(struct check *c, const struct node *node, bool leaf)
{
	if (node->key_len == 0 || (c->tree->flags & MDB_INTEGERKEY &&
				   node->key_len != sizeof(size_t)))
		return false;
	if (c->key_len > 0) {
		int order = compare(c, node);
		if (order < 0 || (order == 0 && !(leaf && c->may_repeat)))
			return false;
	}
	memcpy(c->key, node->key, node->key_len);
	c->key_len = node->key_len;
	c->may_repeat = !leaf;
	return true;
}

/* ---- what a leaf holds --------------------------------------------------- */

/* Free pages, the last one first, behind their count. */
static bool claim_list(struct check *c, const uint8_t *list, size_t len)
{
	size_t count, page, before = 0;
	if (len < sizeof(count))
		return false;
	memcpy(&count, list, sizeof(count));
	if (count > len / sizeof(page) - 1)
		return false;
	while (count > 0) {
		memcpy(&page, list + count-- * sizeof(page), sizeof(page));
		if (page <= before || !claim(c, page))
			return false;
		before = page;
	}
	return true;
}

static int claim_long_list(struct check *c, const struct node *node)
{
	struct page_header header;
	size_t first;
	if (node->room < node->key_len + sizeof(first))
		return MDB_CORRUPTED;
	memcpy(&first, node->key + node->key_len, sizeof(first));
	if (first < 2 || first > c->meta.last_page)
		return MDB_CORRUPTED;
	off_t at = (off_t)(first * c->page_size);
	int error = read_at(c->fd, &header, sizeof(header), at);
	if (error != 0)
		return error;
	if (header.flags != PAGE_OVERFLOW || header.number != first ||
	    header.pages > c->meta.last_page ||
	    node->value_len + sizeof(header) > header.pages * c->page_size)
		return MDB_CORRUPTED;
	for (size_t i = 0; i < header.pages; i++)
		if (!claim(c, first + i))
			return MDB_CORRUPTED;
	uint8_t *list = malloc(node->value_len + 1);
	if (list == NULL)
		return ENOMEM;
	error =
	    read_at(c->fd, list, node->value_len, at + (off_t)sizeof(header));
	if (error == 0 && !claim_list(c, list, node->value_len))
		error = MDB_CORRUPTED;
	free(list);
	return error;
}

static int check_leaf_node(struct check *c, const struct node *node)
{
	c->entries++;
	if (!key_follows(c, node, true))
		return MDB_CORRUPTED;
	bool of_free = c->tree == &c->meta.free;
	if (of_free && node->flags == NODE_BIG)
		return claim_long_list(c, node);
	/* a map has short values only */
	if (node->flags != 0 || node->value_len > node->room - node->key_len)
		return MDB_CORRUPTED;
	return !of_free ||
		       claim_list(c, node->key + node->key_len, node->value_len)
		   ? 0
		   : MDB_CORRUPTED;
}

/* ---- trees --------------------------------------------------------------- */

static int check_page(struct check *c, size_t number, int depth);

static int check_nodes(struct check *c, const uint8_t *page, size_t count,
		       int depth)
{
	int error = nodes_fill(c, page, count, depth == 1) ? 0 : MDB_CORRUPTED;
	for (size_t i = 0; i < count && error == 0; i++) {
		struct node node;
		if (!node_at(c, page, i, &node))
			error = MDB_CORRUPTED;
		else if (depth == 1)
			error = check_leaf_node(c, &node);
		else if (i > 0 && !key_follows(c, &node, false))
			error = MDB_CORRUPTED; /* the first has no key */
		else
			error = check_page(c, node.child, depth - 1);
	}
	return error;
}

/* depth: 1 for a leaf. */
static int check_page(struct check *c, size_t number, int depth)
{
	if (!claim(c, number))
		return MDB_CORRUPTED;
	uint8_t *page = malloc(c->page_size);
	if (page == NULL)
		return ENOMEM;
	int error = read_page(c, number, page);
	struct page_header header = {0};
	if (error == 0)
		header = header_of(page);
	if (error == 0 &&
	    (header.number != number ||
	     header.flags != (depth == 1 ? PAGE_LEAF : PAGE_BRANCH) ||
	     header.lower <= sizeof(header) || header.lower % 2 != 0 ||
	     header.lower > header.upper || header.upper > c->page_size))
		error = MDB_CORRUPTED;
	if (error == 0)
		error = check_nodes(c, page,
				    (header.lower - sizeof(header)) / 2, depth);
	free(page);
	return error;
}

static int check_tree(struct check *c, const struct tree *tree)
{
	c->tree = tree;
	c->entries = c->key_len = 0;
	c->may_repeat = false;
	if (tree->root == NO_PAGE)
		return tree->depth == 0 && tree->entries == 0 ? 0
							      : MDB_CORRUPTED;
	if (tree->depth == 0 || tree->depth > DEPTH_MAX)
		return MDB_CORRUPTED;
	int error = check_page(c, tree->root, tree->depth);
	return error == 0 && c->entries != tree->entries ? MDB_CORRUPTED
							 : error;
}

static int check_trees(struct check *c)
{
	struct stat st;
	if (fstat(c->fd, &st) != 0)
		return errno;
	/* The first tree's flags hold those of the environment as well. */
	if (c->meta.table.flags != 0 ||
	    (c->meta.free.flags & ~MDB_NOSUBDIR) != MDB_INTEGERKEY)
		return MDB_INCOMPATIBLE;
	/* Its last pages may have been freed before they were written. */
	if (c->meta.last_page < 1 ||
	    c->meta.last_page / 2 > (size_t)st.st_size / c->page_size)
		return MDB_CORRUPTED;
	c->seen = calloc(c->meta.last_page / 8 + 1, 1);
	if (c->seen == NULL)
		return ENOMEM;
	int error = check_tree(c, &c->meta.table);
	if (error == 0)
		error = check_tree(c, &c->meta.free);
	free(c->seen);
	return error;
}

int map_lmdb_check(const char *path)
{
	struct check c = {.fd = open(path, O_RDONLY | O_CLOEXEC)};
	if (c.fd < 0)
		return errno;
	int error = read_metas(&c);
	if (error == 0)
		error = check_trees(&c);
	close(c.fd);
	return error;
}

#else
typedef int map_lmdb_check_is_not_built; /* ISO C wants something */
#endif
