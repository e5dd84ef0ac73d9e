/*
 * daemon: see daemon.h. The only room that knows all the others; it decides
 * when, they decide what.
 */
#include "daemon.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "clock.h"
#include "journal.h"
#include "keys.h"
#include "log.h"
#include "loop.h"
#include "maps.h"
#include "notify.h"
#include "reload.h"
#include "restore.h"
#include "rpcbind.h"
#include "service.h"
#include "stats.h"
#include "stream.h"
#include "timebase.h"
#include "turn.h"
#include "udp.h"

enum {
	UNSET_MS = 300, /* for rpcbind at exit */
	/*
	 * With durability "disk" what arrives while others are read shares
	 * their fdatasync; so many rounds at most.
	 */
	GATHER_ROUNDS = 8,
};

struct daemon {
	struct config *config;
	struct keys *keys;
	struct access *access;
	struct bounds *bounds;
	int argc;
	char *const *argv;

	struct table *table;
	struct journal *journal;
	struct maps *maps;
	struct turn *turn;
	struct stats stats;
	struct audit *audit;
	struct service service;

	struct loop *loop;
	struct udp **udp;
	size_t udp_count;
	struct streams *streams;
	struct rpcbind *rpcbind;
	struct watch signals, tick, expiry;
	struct timebase timebase;
	int64_t armed_s; /* what the expiry timer waits for; 0: nothing */
	int64_t started_ns;
	bool stop;
};

#define DAEMON_OF(watch, member)                                               \
	((struct daemon *)(void *)((char *)(watch)-offsetof(struct daemon,     \
							    member)))

/* ---- signals and timers ----------------------------------------------------
 */

static void reload(struct daemon *daemon)
{
	struct config *new = NULL;
	notify_reloading();
	bool done = config_load(daemon->argc, daemon->argv, &new) == 0;
	if (done) {
		reload_apply(&daemon->service, daemon->config, new);
		done = keys_reload(daemon->keys, new);
		config_free(new);
	}
	if (!access_reload(daemon->access))
		done = false;
	log_write(done ? LOG_NOTICE : LOG_ERR, "reload: %s",
		  done ? "done" : "errors; what was wrong stays as it was");
	notify_ready();
}

static void signals_ready(struct watch *watch, uint32_t events)
{
	struct daemon *daemon = DAEMON_OF(watch, signals);
	struct signalfd_siginfo info;
	(void)events;
	while (read(watch->fd, &info, sizeof(info)) == (ssize_t)sizeof(info)) {
		if (info.ssi_signo == SIGHUP)
			reload(daemon);
		else
			daemon->stop = true;
	}
}

/* Reads a timer; whether it went off, or its clock was set, is the same. */
static void drain(int fd)
{
	uint64_t count;
	ssize_t got = read(fd, &count, sizeof(count));
	(void)got;
}

static void tick_ready(struct watch *watch, uint32_t events)
{
	struct daemon *daemon = DAEMON_OF(watch, tick);
	(void)events;
	drain(watch->fd);
	access_refresh(daemon->access);
	streams_reap(daemon->streams);
	rpcbind_tick(daemon->rpcbind);
	turn_check_maps(daemon->turn);
	daemon->stats.journal_bytes = journal_bytes(daemon->journal);
	daemon->stats.map_bytes = maps_bytes(daemon->maps);
	daemon->stats.uptime_s =
	    (uint64_t)((clock_running_ns() - daemon->started_ns) /
		       CLOCK_NS_PER_S);
	notify_alive();
}

static void expiry_ready(struct watch *watch, uint32_t events)
{
	struct daemon *daemon = DAEMON_OF(watch, expiry);
	(void)events;
	drain(watch->fd);
	daemon->armed_s = 0;
}

/* Wakes the loop at the next expiry, or when somebody sets the clock. */
static void arm_expiry(struct daemon *daemon)
{
	int64_t next_s = turn_next_expiry(daemon->turn);
	/* What is due already is the turn's: it knows what it waits for. */
	if (next_s == daemon->armed_s || next_s <= daemon->service.now_s)
		return;
	/* Our seconds may begin later than those of the wall clock, or sooner.
	 */
	int64_t wall_ns = next_s * CLOCK_NS_PER_S + daemon->timebase.ahead_ns;
	struct itimerspec when = {.it_value.tv_sec = wall_ns / CLOCK_NS_PER_S,
				  .it_value.tv_nsec = wall_ns % CLOCK_NS_PER_S};
	if (timerfd_settime(daemon->expiry.fd,
			    TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET, &when,
			    NULL) == 0)
		daemon->armed_s = next_s;
}

static bool watch_timer(struct daemon *daemon, struct watch *watch,
			clockid_t clock,
			void (*ready)(struct watch *, uint32_t))
{
	watch->fd = timerfd_create(clock, TFD_NONBLOCK | TFD_CLOEXEC);
	watch->ready = ready;
	return watch->fd >= 0 && loop_add(daemon->loop, watch, EPOLLIN);
}

static bool watch_time_and_signals(struct daemon *daemon)
{
	sigset_t set;
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGHUP);
	daemon->signals.fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
	daemon->signals.ready = signals_ready;
	struct itimerspec second = {.it_value.tv_sec = 1,
				    .it_interval.tv_sec = 1};
	return daemon->signals.fd >= 0 &&
	       loop_add(daemon->loop, &daemon->signals, EPOLLIN) &&
	       watch_timer(daemon, &daemon->tick, CLOCK_MONOTONIC,
			   tick_ready) &&
	       timerfd_settime(daemon->tick.fd, 0, &second, NULL) == 0 &&
	       watch_timer(daemon, &daemon->expiry, CLOCK_REALTIME,
			   expiry_ready);
}

/* ---- passes ----------------------------------------------------------------
 */

static int timeout_ms(struct daemon *daemon)
{
	if (streams_have_more(daemon->streams))
		return 0;
	return turn_timeout_ms(daemon->turn, daemon->service.now_s);
}

static void gather(struct daemon *daemon)
{
	for (int i = 0; i < GATHER_ROUNDS && turn_is_open(daemon->turn) &&
			loop_wait(daemon->loop, 0) > 0;
	     i++) {
		daemon->service.now_s = timebase_now_s(&daemon->timebase);
		loop_dispatch(daemon->loop);
	}
}

static void look_at_clock(struct daemon *daemon)
{
	static struct log_limit limit;
	int64_t step_s = timebase_step(&daemon->timebase);
	daemon->service.now_s = timebase_now_s(&daemon->timebase);
	if (step_s == 0)
		return;
	turn_step(daemon->turn, step_s);
	if (log_allowed(&limit))
		log_write(LOG_NOTICE,
			  "clock stepped by %+lld s: entries keep the time "
			  "they have left, entries=%u",
			  (long long)step_s, table_count(daemon->table));
}

static void pass(struct daemon *daemon)
{
	struct service *service = &daemon->service;
	uint64_t calls = service->calls;
	loop_wait(daemon->loop, timeout_ms(daemon));
	look_at_clock(daemon);
	streams_more(daemon->streams);
	loop_dispatch(daemon->loop);
	if (daemon->config->durability == DURABILITY_DISK)
		gather(daemon);
	turn_commit(daemon->turn, service->now_s, calls == service->calls);
	streams_settle(daemon->streams);
	for (size_t i = 0; i < daemon->udp_count; i++)
		udp_flush(daemon->udp[i]);
	arm_expiry(daemon);
}

void daemon_run(struct daemon *daemon)
{
	notify_ready();
	log_write(LOG_NOTICE, "dracd %s serves: entries=%u lifetime=%llds",
		  DRACD_VERSION, table_count(daemon->table),
		  (long long)daemon->config->lifetime_s);
	while (!daemon->stop)
		pass(daemon);
	log_write(LOG_NOTICE, "dracd stops: entries=%u",
		  table_count(daemon->table));
	notify_stopping();
}

/* ---- start and stop
 * ---------------------------------------------------------- */

static bool serve_bound(struct daemon *daemon, struct bound *bound)
{
	int fd = bound->fd;
	bound->fd = -1;
	if (bound->transport != LISTEN_UDP)
		return streams_listen(
		    daemon->streams, fd, bound->transport == LISTEN_UNIX,
		    bound->lookup ? STREAM_SOCKETMAP : STREAM_RPC);
	struct udp **grown = reallocarray(daemon->udp, daemon->udp_count + 1,
					  sizeof(struct udp *));
	if (grown == NULL) {
		close(fd);
		return false;
	}
	daemon->udp = grown;
	struct udp *udp =
	    udp_open(daemon->loop, &daemon->service, fd, bound->wildcard);
	if (udp != NULL)
		daemon->udp[daemon->udp_count++] = udp;
	return udp != NULL;
}

static bool serve_all(struct daemon *daemon)
{
	for (size_t i = 0; i < daemon->bounds->count; i++)
		if (!serve_bound(daemon, &daemon->bounds->bound[i]))
			return false;
	return true;
}

static struct table *create_table(const struct config *config)
{
	struct table *table = table_create();
	if (table == NULL || config->ipv6_prefix == CONFIG_IPV6_PREFIX_MAX ||
	    table_share_prefix(table, config->ipv6_prefix))
		return table;
	table_free(table);
	return NULL;
}

/* What was restored had been acknowledged. */
static void grant_all(struct table *table)
{
	uint32_t slots = table_slots(table);
	for (uint32_t slot = 1; slot <= slots; slot++) {
		const struct entry *entry = table_at(table, slot);
		if (entry != NULL)
			table_grant(table, entry);
	}
}

/* False is logged, or a matter of memory or descriptors: errno. */
static bool open_rooms(struct daemon *daemon)
{
	bool verify;
	timebase_begin(&daemon->timebase);
	daemon->table = create_table(daemon->config);
	if (daemon->table == NULL)
		return false;
	daemon->journal =
	    restore(daemon->config, daemon->table, &daemon->timebase, &verify);
	if (daemon->journal == NULL) {
		if (errno != ENOMEM)
			errno = 0; /* it has been logged */
		return false;
	}
	daemon->maps = maps_open(daemon->config, daemon->table, verify);
	if (daemon->maps == NULL)
		return false;
	grant_all(daemon->table);
	if (daemon->config->max_addresses_per_user > 0 &&
	    !table_know_users(daemon->table))
		return false;
	daemon->audit = audit_create();
	if (daemon->audit == NULL)
		return false;
	daemon->turn = turn_create(
	    daemon->config, daemon->table, daemon->journal, daemon->maps,
	    &daemon->stats, daemon->audit, service_answer);
	daemon->loop = loop_create();
	if (daemon->turn == NULL || daemon->loop == NULL)
		return false;
	daemon->service = (struct service){
	    .config = daemon->config,
	    .access = daemon->access,
	    .keys = daemon->keys,
	    .table = daemon->table,
	    .turn = daemon->turn,
	    .stats = &daemon->stats,
	    .audit = daemon->audit,
	};
	daemon->streams = streams_create(daemon->loop, &daemon->service);
	if (daemon->config->rpcbind)
		daemon->rpcbind = rpcbind_create(daemon->loop, daemon->bounds);
	return daemon->streams != NULL && watch_time_and_signals(daemon) &&
	       serve_all(daemon);
}

struct daemon *daemon_create(struct config *config, struct keys *keys,
			     struct access *access, struct bounds *bounds,
			     int argc, char *const argv[])
{
	struct daemon *daemon = calloc(1, sizeof(*daemon));
	if (daemon == NULL) {
		log_errno(LOG_CRIT, "dracd cannot start");
		access_close(access);
		keys_free(keys);
		config_free(config);
		return NULL;
	}
	*daemon = (struct daemon){
	    .config = config,
	    .keys = keys,
	    .access = access,
	    .bounds = bounds,
	    .argc = argc,
	    .argv = argv,
	    .started_ns = clock_running_ns(),
	    .signals.fd = -1,
	    .tick.fd = -1,
	    .expiry.fd = -1,
	};
	errno = 0;
	if (open_rooms(daemon))
		return daemon;
	if (errno != 0)
		log_errno(LOG_CRIT, "dracd cannot start");
	daemon_free(daemon);
	return NULL;
}

static void close_fd(int fd)
{
	if (fd >= 0)
		close(fd);
}

/*
 * The maps are closed before the journal says that all is well. What was held
 * is answered while there are still connections to answer.
 */
void daemon_free(struct daemon *daemon)
{
	bool serving = daemon->streams != NULL && daemon->turn != NULL;
	turn_free(daemon->turn);
	for (size_t i = 0; i < daemon->udp_count; i++)
		udp_close(daemon->udp[i]);
	free(daemon->udp);
	streams_free(daemon->streams);
	rpcbind_free(daemon->rpcbind);
	if (daemon->config->rpcbind && serving)
		rpcbind_unset(UNSET_MS);
	maps_close(daemon->maps);
	if (daemon->journal != NULL)
		journal_close(daemon->journal,
			      serving ? maps_stamp(daemon->config) : 0);
	table_free(daemon->table);
	audit_free(daemon->audit);
	close_fd(daemon->signals.fd);
	close_fd(daemon->tick.fd);
	close_fd(daemon->expiry.fd);
	loop_free(daemon->loop);
	access_close(daemon->access);
	keys_free(daemon->keys);
	config_free(daemon->config);
	free(daemon);
}
