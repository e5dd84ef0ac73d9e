/*
 * flush: see flush.h. Shares with the loop: a queue under a mutex that is held
 * for pointer moves only, and one atomic flag. Never logs more than a line an
 * error; never touches what the loop owns.
 */
#include "flush.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "log.h"

enum { FLUSH_INTERVAL_S = 1 };

/* A segment that has been written in full, or a name to remove. */
struct job {
	struct job *next;
	int fd; /* -1: remove name */
	char name[];
};

struct flush {
	pthread_t thread;
	pthread_mutex_t mutex;
	pthread_cond_t wake;
	int dir_fd;
	/* under the mutex */
	int fd;       /* of the active segment, or -1 */
	bool created; /* the directory has a name more */
	bool stop;
	struct job *first, **last;
	atomic_bool dirty;
};

static bool sync_data(int fd)
{
	static struct log_limit limit;
	if (fdatasync(fd) == 0)
		return true;
	if (log_allowed(&limit))
		log_errno(LOG_ERR,
			  "journal cannot be flushed to disk; entries survive "
			  "a crash of dracd but not of the system");
	return false;
}

static void remove_name(const struct flush *flush, const char *name)
{
	if (unlinkat(flush->dir_fd, name, 0) != 0 && errno != ENOENT)
		log_errno(LOG_WARNING, "journal segment=%s cannot be removed",
			  name);
}

/*
 * One round, without the mutex: what was waiting when it began. Nothing is
 * removed before all that may have taken its place is on the disk.
 */
static void flush_all(struct flush *flush, struct job *jobs, int fd,
		      bool created)
{
	for (struct job *job = jobs; job != NULL; job = job->next)
		if (job->fd >= 0) {
			sync_data(job->fd);
			close(job->fd);
		}
	if (fd >= 0 && atomic_exchange(&flush->dirty, false) && !sync_data(fd))
		flush_dirty(flush); /* again in the next round */
	if (created && fsync(flush->dir_fd) != 0)
		log_errno(LOG_ERR, "journal directory cannot be flushed");
	while (jobs != NULL) {
		struct job *next = jobs->next;
		if (jobs->fd < 0)
			remove_name(flush, jobs->name);
		free(jobs);
		jobs = next;
	}
}

static void *run(void *context)
{
	struct flush *flush = context;
	pthread_mutex_lock(&flush->mutex);
	for (bool stop = false; !stop;) {
		struct timespec until;
		clock_gettime(CLOCK_MONOTONIC, &until);
		until.tv_sec += FLUSH_INTERVAL_S;
		while (!flush->stop &&
		       pthread_cond_timedwait(&flush->wake, &flush->mutex,
					      &until) != ETIMEDOUT)
			;
		stop = flush->stop;
		struct job *jobs = flush->first;
		flush->first = NULL;
		flush->last = &flush->first;
		/* a copy, so that the loop may retire the fd meanwhile */
		int fd = flush->fd >= 0 && atomic_load(&flush->dirty)
			     ? dup(flush->fd)
			     : -1;
		bool created = flush->created;
		flush->created = false;
		pthread_mutex_unlock(&flush->mutex);
		flush_all(flush, jobs, fd, created);
		if (fd >= 0)
			close(fd);
		pthread_mutex_lock(&flush->mutex);
	}
	pthread_mutex_unlock(&flush->mutex);
	return NULL;
}

struct flush *flush_start(int dir_fd)
{
	struct flush *flush = calloc(1, sizeof(*flush));
	if (flush == NULL)
		return NULL;
	flush->dir_fd = dir_fd;
	flush->fd = -1;
	flush->last = &flush->first;
	pthread_mutex_init(&flush->mutex, NULL);
	pthread_condattr_t attributes;
	pthread_condattr_init(&attributes);
	pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
	pthread_cond_init(&flush->wake, &attributes);
	pthread_condattr_destroy(&attributes);

	sigset_t all, old;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	int error = pthread_create(&flush->thread, NULL, run, flush);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (error == 0)
		return flush;
	free(flush);
	errno = error;
	return NULL;
}

void flush_stop(struct flush *flush)
{
	if (flush == NULL)
		return;
	pthread_mutex_lock(&flush->mutex);
	flush->stop = true;
	pthread_cond_signal(&flush->wake);
	pthread_mutex_unlock(&flush->mutex);
	pthread_join(flush->thread, NULL);
	if (flush->fd >= 0)
		close(flush->fd);
	pthread_cond_destroy(&flush->wake);
	pthread_mutex_destroy(&flush->mutex);
	free(flush);
}

static void append(struct flush *flush, struct job *job)
{
	*flush->last = job;
	flush->last = &job->next;
}

static struct job *job_create(int fd, const char *name)
{
	size_t size = strlen(name) + 1;
	struct job *job = malloc(sizeof(*job) + size);
	if (job != NULL) {
		job->next = NULL;
		job->fd = fd;
		memcpy(job->name, name, size);
	}
	return job;
}

void flush_segment(struct flush *flush, int fd)
{
	pthread_mutex_lock(&flush->mutex);
	if (flush->fd >= 0) {
		struct job *job = job_create(flush->fd, "");
		if (job != NULL) {
			append(flush, job);
		} else { /* out of memory: wait for the disk instead */
			sync_data(flush->fd);
			close(flush->fd);
		}
	}
	flush->fd = fd;
	flush->created = true;
	pthread_mutex_unlock(&flush->mutex);
}

void flush_dirty(struct flush *flush)
{
	atomic_store(&flush->dirty, true);
}

void flush_unlink(struct flush *flush, const char *name)
{
	struct job *job = job_create(-1, name);
	if (job == NULL) { /* out of memory: wait for the disk instead */
		unlinkat(flush->dir_fd, name, 0);
		return;
	}
	pthread_mutex_lock(&flush->mutex);
	append(flush, job);
	pthread_mutex_unlock(&flush->mutex);
}
