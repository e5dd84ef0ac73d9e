/*
 * watcher: the loop. Logs are read only when dracd has taken what was read
 * before; how far they have been read is saved only then. So the logs
 * themselves are the queue while dracd is away.
 */
#include "watcher.h"

#include <signal.h>
#include <stdlib.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "clock.h"
#include "log.h"
#include "loop.h"
#include "notify.h"
#include "report.h"
#include "source.h"
#include "state.h"

enum { TICK_MS = 1000 };

struct watcher {
	const struct options *options;
	struct source_world world;
	struct loop *loop;
	struct report *report;
	struct watch signals;
	struct watch *wake; /* one a source */
	struct source **source;
	size_t count;
	json_t *saved;  /* what is in the state file */
	bool reported;  /* since the state was saved */
	int64_t tick_s; /* monotonic */
	struct log_limit save_limit;
	bool stopping, reloading;
};

/* ---- descriptors --------------------------------------------------------- */

static void signal_ready(struct watch *watch, uint32_t events)
{
	struct watcher *watcher =
	    (struct watcher *)((char *)watch -
			       offsetof(struct watcher, signals));
	struct signalfd_siginfo info;

	(void)events;
	while (read(watch->fd, &info, sizeof info) == sizeof info) {
		if (info.ssi_signo == SIGHUP)
			watcher->reloading = true;
		else
			watcher->stopping = true;
	}
}

/* Every pass reads all sources; this only ends the waiting. */
static void source_ready(struct watch *watch, uint32_t events)
{
	(void)watch;
	(void)events;
}

static bool open_signals(struct watcher *watcher)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGHUP);
	watcher->signals = (struct watch){
	    signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK), signal_ready};
	return watcher->signals.fd >= 0 &&
	       loop_add(watcher->loop, &watcher->signals, EPOLLIN);
}

/*
 * Edge-triggered, since a log that has to wait for dracd stays readable. What
 * must not wait is read until it is empty.
 */
static bool open_source(struct watcher *watcher, const char *text)
{
	size_t at = watcher->count;
	struct source *source = source_open(
	    text, json_object_get(watcher->saved, text), &watcher->world);

	if (source == NULL)
		return false;
	watcher->source[watcher->count++] = source;
	watcher->wake[at] = (struct watch){source_fd(source), source_ready};
	if (watcher->wake[at].fd < 0 ||
	    loop_add(watcher->loop, &watcher->wake[at], EPOLLIN | EPOLLET))
		return true;
	log_errno(LOG_ERR, "%s cannot be watched", text);
	return false;
}

/* ---- life ---------------------------------------------------------------- */

static void take_event(void *ctx, const struct event *event)
{
	struct watcher *watcher = ctx;

	watcher->reported = true;
	report_event(watcher->report, event);
}

struct watcher *watcher_create(const struct options *options,
			       struct patterns *patterns)
{
	struct watcher *watcher = calloc(1, sizeof *watcher);
	bool ready;

	if (watcher == NULL) {
		log_errno(LOG_ERR, "dracwatch cannot start");
		patterns_free(patterns);
		return NULL;
	}
	*watcher = (struct watcher){
	    .options = options,
	    .world = {patterns, take_event, watcher},
	    .signals.fd = -1,
	    .loop = loop_create(),
	    .source = calloc(options->source_count, sizeof(struct source *)),
	    .wake = calloc(options->source_count, sizeof(struct watch)),
	};
	ready = watcher->loop != NULL && watcher->source != NULL &&
		watcher->wake != NULL && open_signals(watcher);
	if (!ready)
		log_errno(LOG_ERR, "dracwatch cannot start");
	ready = ready &&
		(watcher->saved = state_load(options->state)) != NULL &&
		(watcher->report = report_open(options->servers)) != NULL;
	for (size_t i = 0; ready && i < options->source_count; i++)
		ready = open_source(watcher, options->source[i]);
	if (ready)
		return watcher;
	watcher_free(watcher);
	return NULL;
}

void watcher_free(struct watcher *watcher)
{
	if (watcher == NULL)
		return;
	for (size_t i = 0; i < watcher->count; i++)
		source_close(watcher->source[i]);
	free(watcher->source);
	free(watcher->wake);
	report_close(watcher->report);
	json_decref(watcher->saved);
	if (watcher->signals.fd >= 0)
		close(watcher->signals.fd);
	loop_free(watcher->loop);
	patterns_free(watcher->world.patterns);
	free(watcher);
}

/* ---- passes -------------------------------------------------------------- */

/* What the state file does not name on the command line any more goes. */
static void save(struct watcher *watcher)
{
	json_t *state = json_object();

	for (size_t i = 0; i < watcher->count; i++) {
		json_t *saved = source_save(watcher->source[i]);

		if (saved != NULL)
			json_object_set_new(
			    state, source_name(watcher->source[i]), saved);
	}
	if (json_equal(state, watcher->saved)) {
		json_decref(state);
	} else if (state_save(watcher->options->state, state)) {
		json_decref(watcher->saved);
		watcher->saved = state;
	} else {
		if (log_allowed(&watcher->save_limit))
			log_errno(LOG_WARNING,
				  "state=%s cannot be written: a restart would "
				  "read logs again",
				  watcher->options->state);
		json_decref(state);
	}
	watcher->reported = false;
}

/* One source after the other, so that a busy one does not starve the others. */
static bool read_sources(struct watcher *watcher)
{
	bool more = false;

	for (size_t i = 0; i < watcher->count; i++) {
		struct source *source = watcher->source[i];

		if (source_can_wait(source) && report_pending(watcher->report))
			continue;
		more = source_read(source) || more;
		report_run(watcher->report);
	}
	return more;
}

static void reload(struct watcher *watcher)
{
	struct patterns *patterns = patterns_load(watcher->options->patterns);

	watcher->reloading = false;
	if (patterns == NULL) {
		log_write(LOG_ERR, "reload: the patterns stay as they were");
		return;
	}
	patterns_free(watcher->world.patterns);
	watcher->world.patterns = patterns;
	log_write(LOG_NOTICE, "reload: done");
}

/* True: once a second. */
static bool tick(struct watcher *watcher)
{
	int64_t now_s = clock_monotonic_s();

	if (now_s == watcher->tick_s)
		return false;
	watcher->tick_s = now_s;
	for (size_t i = 0; i < watcher->count; i++)
		source_tick(watcher->source[i]);
	notify_alive();
	return true;
}

/* True: there is more to do at once. */
static bool pass(struct watcher *watcher)
{
	bool more = read_sources(watcher);
	bool ticked = tick(watcher);
	bool all_sent = report_run(watcher->report);

	if (all_sent && (watcher->reported || ticked))
		save(watcher);
	return all_sent ? more : !report_waits(watcher->report);
}

void watcher_run(struct watcher *watcher)
{
	bool more = false;

	log_write(LOG_NOTICE, "dracwatch %s watches: sources=%zu",
		  DRACD_VERSION, watcher->count);
	save(watcher); /* from here on nothing is lost */
	notify_ready();
	while (!watcher->stopping) {
		more = pass(watcher);
		loop_wait(watcher->loop, more ? 0 : TICK_MS);
		loop_dispatch(watcher->loop);
		if (watcher->reloading)
			reload(watcher);
	}
	notify_stopping();
	pass(watcher);
	if (!report_pending(watcher->report))
		save(watcher);
	log_write(LOG_NOTICE, "dracwatch stops");
}
