/*
 * main: the command line, what must be done as root, and the way into the
 * background. Owns nothing that lives longer than the start.
 */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <unistd.h>

#include "access.h"
#include "config.h"
#include "daemon.h"
#include "keys.h"
#include "listen.h"
#include "log.h"
#include "map.h"
#include "rights.h"
#include "rpcbind.h"

enum {
	SPARE_DESCRIPTORS = 64, /* sockets, maps, journal, timers */
	UNSET_MS = 1000,        /* for rpcbind at start */
};

/*
 * Before anything else is opened: 0, 1 and 2 exist, files are readable by the
 * MTAs, and no signal interrupts what it must not.
 */
static void settle_in(void)
{
	sigset_t set;
	int fd = open("/dev/null", O_RDWR);
	while (fd >= 0 && fd <= STDERR_FILENO)
		fd = dup(fd);
	if (fd > STDERR_FILENO)
		close(fd);
	umask(022);
	signal(SIGPIPE, SIG_IGN);
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGHUP);
	sigprocmask(SIG_BLOCK, &set, NULL);
}

/* Descriptors for all connections; fewer connections if there are not enough */
static void fit_descriptors(struct config *config)
{
	struct rlimit limit;
	rlim_t wanted = (rlim_t)config->max_connections + SPARE_DESCRIPTORS;
	if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= wanted)
		return;
	struct rlimit more = {wanted, wanted > limit.rlim_max ? wanted
							      : limit.rlim_max};
	if (setrlimit(RLIMIT_NOFILE, &more) == 0)
		return;
	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit);
	if (limit.rlim_cur >= wanted)
		return;
	config->max_connections =
	    limit.rlim_cur > 2 * SPARE_DESCRIPTORS
		? (uint32_t)limit.rlim_cur - SPARE_DESCRIPTORS
		: SPARE_DESCRIPTORS;
	log_write(LOG_WARNING,
		  "only %llu descriptors allowed: max-connections=%u",
		  (unsigned long long)limit.rlim_cur, config->max_connections);
}

/*
 * The child goes on; the parent waits to hear how its start went, so that
 * whoever started us learns it from the exit status.
 */
static int go_background(void)
{
	int channel[2];
	unsigned char status = EX_SOFTWARE;
	if (pipe2(channel, O_CLOEXEC) != 0) {
		log_errno(LOG_CRIT, "cannot go to the background");
		exit(EX_OSERR);
	}
	switch (fork()) {
	case -1:
		log_errno(LOG_CRIT, "cannot go to the background");
		exit(EX_OSERR);
	case 0:
		close(channel[0]);
		setsid();
		return channel[1];
	default:
		close(channel[1]);
		ssize_t got = read(channel[0], &status, 1);
		_exit(got == 1 ? status : EX_SOFTWARE);
	}
}

static void report(int channel, unsigned char status)
{
	if (channel < 0)
		return;
	ssize_t written = write(channel, &status, 1);
	(void)written;
	close(channel);
}

/* Syslog from here on; the terminal is not ours any more. */
static void detach(bool foreground)
{
	if (chdir("/") != 0)
		log_errno(LOG_WARNING, "cannot change to /");
	if (foreground)
		return;
	log_open("dracd", false);
	int fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return;
	for (int std = STDIN_FILENO; std <= STDERR_FILENO; std++)
		dup2(fd, std);
	close(fd);
}

/* What needs root; then we are nobody special. */
static bool prepare(struct config *config, const struct access *access,
		    struct bounds *bounds)
{
	struct identity identity;
	if (!rights_find(config, &identity) ||
	    !rights_prepare(config, &identity))
		return false;
	fit_descriptors(config);
	if (!listen_open(config, access, identity.uid, identity.gid, bounds))
		return false;
	if (config->rpcbind)
		rpcbind_unset(UNSET_MS);
	return rights_drop(&identity);
}

int main(int argc, char *argv[])
{
	struct config *config;
	struct bounds bounds = {0};
	settle_in();
	log_open("dracd", true);
	int error = config_load(argc, argv, &config);
	if (error != 0)
		return error;
	struct keys *keys = keys_open(config);
	struct access *access =
	    keys == NULL
		? NULL
		: access_open(config->allow_file, config->hosts_access, keys);
	if (access == NULL || config->check_only) {
		error = access ? EX_OK : EX_CONFIG;
		if (access != NULL)
			puts("dracd: configuration and access list are good");
		access_close(access);
		keys_free(keys);
		config_free(config);
		return error;
	}
	access_set_readers(access, config->read_allow,
			   config->read_allow_count);
	int channel = config->foreground ? -1 : go_background();
	bool foreground = config->foreground;
	map_library_init();
	struct daemon *daemon = NULL;
	if (prepare(config, access, &bounds)) {
		daemon =
		    daemon_create(config, keys, access, &bounds, argc, argv);
	} else {
		access_close(access);
		keys_free(keys);
		config_free(config);
	}
	if (daemon == NULL) {
		listen_close(&bounds);
		report(channel, EX_UNAVAILABLE);
		return EX_UNAVAILABLE;
	}
	detach(foreground);
	report(channel, EX_OK);
	daemon_run(daemon);
	daemon_free(daemon);
	listen_close(&bounds);
	return EX_OK;
}
