/*
 * watcher: all rooms put together: reads the sources, reports, remembers.
 */
#ifndef WATCH_WATCHER_H
#define WATCH_WATCHER_H

#include "options.h"
#include "patterns.h"

struct watcher;

/*
 * patterns is the watcher's from now on, also if it fails: NULL after logging.
 * options must last as long. TERM, INT and HUP must be blocked.
 */
struct watcher *watcher_create(const struct options *options,
			       struct patterns *patterns);
void watcher_free(struct watcher *watcher);

/* Until TERM or INT. HUP reads the patterns anew. */
void watcher_run(struct watcher *watcher);

#endif
