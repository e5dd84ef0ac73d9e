/*
 * world: a service with a real table, turn, journal and map in a scratch
 * directory, for the targets that call it. It is made once; each input ends
 * with world_expire_all(), so that the next one finds it as it was.
 */
#ifndef TESTS_FUZZ_WORLD_H
#define TESTS_FUZZ_WORLD_H

#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "../unit/clock_at.h"
#include "maps.h"
#include "restore.h"
#include "scratch.h"
#include "service.h"

enum {
	WORLD_NOW = 1900000000,
	WORLD_LATER_S = 2 * CONFIG_LIFETIME_MAX_S, /* nothing lives so long */
	WORLD_COMMITS_MAX = 100, /* by then all is answered, or expired */
	WORLD_COMMIT_MS = 100,   /* from one to the next, when all expire */
};

static char world_map_file[256], world_journal_dir[256], world_allow_file[256];
static struct map_config world_map = {.type = MAP_BTREE,
				      .path = world_map_file};
static struct prefix world_never;
static struct stats world_stats;
static struct config config = {
    .maps = &world_map,
    .map_count = 1,
    .journal = world_journal_dir,
    .lifetime_s = 1800,
    .never = &world_never,
    .never_count = 1,
    .max_entries = 16,
};
static struct service service = {.config = &config, .stats = &world_stats};
static struct journal *world_journal;
static struct timebase world_clock;
static struct maps *world_maps;

/* Instead of waiting: the monotonic clock is so much ahead. */
static int64_t world_ahead_ms;

int clock_gettime(clockid_t clock, struct timespec *now)
{
	int result = (int)syscall(SYS_clock_gettime, clock, now);

	if (clock != CLOCK_REALTIME) {
		now->tv_nsec += world_ahead_ms % 1000 * 1000000;
		now->tv_sec +=
		    world_ahead_ms / 1000 + now->tv_nsec / 1000000000;
		now->tv_nsec %= 1000000000;
	}
	return result;
}

static inline void world_end(void)
{
	turn_free(service.turn);
	maps_close(world_maps);
	journal_close(world_journal, 0);
	table_free(service.table);
	audit_free(service.audit);
	access_close(service.access);
}

static inline void world_begin(void)
{
	bool verify;

	scratch_begin();
	scratch_path(world_map_file, "map.db");
	scratch_path(world_allow_file, "none"); /* this host may call */
	require(mkdir(scratch_path(world_journal_dir, "journal"), 0700) == 0);
	require(prefix_from_text(&world_never, "192.0.2.128/25"));
	service.access = access_open(world_allow_file, false, NULL);
	require(service.access != NULL);
	service.table = table_create();
	require(service.table != NULL);
	world_clock = clock_at(WORLD_NOW);
	world_journal = restore(&config, service.table, &world_clock, &verify);
	require(world_journal != NULL);
	world_maps = maps_open(&config, service.table, verify);
	require(world_maps != NULL);
	service.audit = audit_create();
	require(service.audit != NULL);
	service.turn =
	    turn_create(&config, service.table, world_journal, world_maps,
			&world_stats, service.audit, service_answer);
	require(service.turn != NULL);
	service.now_s = WORLD_NOW;
	atexit(world_end);
}

/* As if nobody had called again for ages. */
static inline void world_expire_all(void)
{
	service.now_s = WORLD_NOW + WORLD_LATER_S;
	for (int i = 0; i < WORLD_COMMITS_MAX && table_count(service.table) > 0;
	     i++) {
		turn_commit(service.turn, service.now_s, true);
		world_ahead_ms += WORLD_COMMIT_MS;
	}
	require(table_count(service.table) == 0);
	service.now_s = WORLD_NOW;
}

#endif
