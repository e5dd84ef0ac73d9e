/*
 * setting: the text of one setting and what it means. Each function returns
 * NULL when the text is right, else what is wrong with it and what would be
 * right, for a message; the result is then not set. Nothing is logged here.
 */
#ifndef DRACD_SETTING_H
#define DRACD_SETTING_H

#include "config.h"

/* "90", "90s", "30m", "1h", "2d": 1 s to CONFIG_LIFETIME_MAX_S. */
const char *setting_duration(const char *text, int64_t *seconds);
/* -e of the command line: whole minutes, the same range. */
const char *setting_minutes(const char *text, int64_t *seconds);

/*
 * A path made absolute from the directory in which the first call was made,
 * because the daemon changes to /. *path is the caller's to free.
 */
const char *setting_path(const char *text, char **path);
/* "btree:/path"; nul and capacity are left alone. map->path: as above. */
const char *setting_map(const char *text, struct map_config *map);
/* "udp:127.0.0.1:5901", "tcp:[::1]", "udp:*", "unix:/path". */
const char *setting_listen(const char *text, struct listen_config *listen);
/* "unix:/path", "tcp:127.0.0.1:5902": the same, without UDP. */
const char *setting_lookup(const char *text, struct listen_config *lookup);
void setting_listen_free(struct listen_config *listen);

#endif
