/*
 * keys: the keys of dracd.conf(5), by name, and what each has signed lately.
 */
#ifndef DRACD_KEYS_H
#define DRACD_KEYS_H

#include <stdbool.h>

#include "config.h"
#include "seen.h"

/*
 * Lives as long as the daemon, whatever a reload does: calls that are held
 * point to it.
 */
struct key {
	bool active;
	char *path;
	struct drac_sign_key secret;
	struct seen *seen;
	struct key *next;
};

struct keys;

/*
 * Reads the files, as root if we are root. NULL: has been logged. With -t a
 * file that this user may not open is only a warning.
 */
struct keys *keys_open(const struct config *config);
/*
 * Reads them again. A file that cannot be opened any more, now that we are
 * nobody special, leaves its key as it was, and that is logged. On any other
 * error all stays as it was, and false is returned.
 */
bool keys_reload(struct keys *keys, const struct config *config);
void keys_free(struct keys *keys);

/* NULL: no such key. keys may be NULL. */
struct key *keys_find(const struct keys *keys, const char *name);

#endif
