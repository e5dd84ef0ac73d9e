/*
 * map_lmdb_reader: a map of LMDB as Postfix reads it, for the tests of
 * map_lmdb, which say in config what map it is.
 */
#ifndef TESTS_MAP_LMDB_READER_H
#define TESTS_MAP_LMDB_READER_H

#include <lmdb.h>

#include "map_damage.h"

#define PATH "map.lmdb"
#define ASIDE PATH ".damaged"

enum { POSTFIX_MAP_BYTES = 16 << 20 };

static char path[] = PATH;

/* A setup of cmocka. */
static inline int setup(void **state)
{
	(void)state;
	unlink(PATH);
	unlink(ASIDE);
	config = (struct map_config){.type = MAP_LMDB, .path = path};
	return 0;
}

/* As Postfix opens it. */
static inline MDB_env *env_open(const char *file)
{
	MDB_env *env;

	assert_int_equal(mdb_env_create(&env), 0);
	assert_int_equal(mdb_env_set_mapsize(env, POSTFIX_MAP_BYTES), 0);
	assert_int_equal(mdb_env_open(env, file,
				      MDB_NOSUBDIR | MDB_NOLOCK | MDB_RDONLY,
				      0644),
			 0);
	return env;
}

static inline MDB_txn *env_begin(MDB_env *env, MDB_dbi *dbi)
{
	MDB_txn *txn;
	int error = mdb_txn_begin(env, NULL, MDB_RDONLY, &txn);

	if (error == MDB_MAP_RESIZED) { /* so does Postfix */
		assert_int_equal(mdb_env_set_mapsize(env, 0), 0);
		error = mdb_txn_begin(env, NULL, MDB_RDONLY, &txn);
	}
	assert_int_equal(error, 0);
	assert_int_equal(mdb_dbi_open(txn, NULL, 0, dbi), 0);
	return txn;
}

/* value NULL: no such key. len: of both with their NUL, if they have one. */
static inline void env_assert(MDB_env *env, const char *key, const char *value,
			      size_t nul)
{
	MDB_dbi dbi;
	MDB_txn *txn = env_begin(env, &dbi);
	char copy[64];
	MDB_val k = {strlen(key) + nul, copy}, v;

	strcpy(copy, key);
	if (value == NULL) {
		assert_int_equal(mdb_get(txn, dbi, &k, &v), MDB_NOTFOUND);
	} else {
		assert_int_equal(mdb_get(txn, dbi, &k, &v), 0);
		assert_int_equal(v.mv_size, strlen(value) + nul);
		assert_memory_equal(v.mv_data, value, v.mv_size);
	}
	mdb_txn_abort(txn);
}

static inline void assert_value(const char *file, const char *key,
				const char *value)
{
	MDB_env *env = env_open(file);

	env_assert(env, key, value, 0);
	mdb_env_close(env);
}

static inline size_t entries(const char *file)
{
	MDB_env *env = env_open(file);
	MDB_stat stat;

	assert_int_equal(mdb_env_stat(env, &stat), 0);
	mdb_env_close(env);
	return stat.ms_entries;
}

static inline void look_up(void *reader, const char *key, const char *value)
{
	env_assert(reader, key, value, 0);
}

static inline void assert_says_the_same(void)
{
	MDB_env *env = env_open(PATH);
	size_t keys = look_up_all(look_up, env);

	mdb_env_close(env);
	assert_int_equal(entries(PATH), keys);
	assert_int_equal(map_verify(&config), 0);
}

static inline void put_numbered(uint32_t from, uint32_t to)
{
	for (uint32_t i = from; i < to; i++) {
		struct address a = numbered(i);

		assert_int_equal(map_put(map, &a, EXPIRY_S), 0);
	}
}

#endif
