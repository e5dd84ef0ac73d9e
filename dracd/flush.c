/*
 * flush: see flush.h. Shares with the loop: a queue under a mutex that is held
 * for pointer moves only, and atomic numbers. Never logs more than a line an
 * error; never touches what the loop owns.
 */
#include "flush.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "log.h"

enum {
	/* With a flush of up to 100 ms no more than a second can be lost. */
	FLUSH_INTERVAL_MS = 900,
	ASIDE_MAX = 64,
};

enum work { SYNC, REMOVE, SET_ASIDE };

struct job {
	struct job *next;
	enum work work;
	int fd; /* SYNC: of a segment of ours; -1: by its name */
	char name[];
};

struct queue {
	struct job *first, **last;
};

struct flush {
	pthread_t thread;
	pthread_mutex_t mutex;
	pthread_cond_t wake;
	int dir_fd;
	/* under the mutex */
	struct job *active; /* of the active segment; freed by the thread */
	bool created;       /* the directory has a name more */
	bool stop;
	unsigned mended; /* so many failures are of no account any more */
	struct queue queue;
	/* the thread's: what is to be removed, in this order */
	struct queue old;
	atomic_bool dirty;
	atomic_uint failures;
};

static void queue_init(struct queue *queue)
{
	queue->first = NULL;
	queue->last = &queue->first;
}

static void append(struct queue *queue, struct job *job)
{
	job->next = NULL;
	*queue->last = job;
	queue->last = &job->next;
}

static struct job *take(struct queue *queue)
{
	struct job *job = queue->first;
	if (job != NULL && (queue->first = job->next) == NULL)
		queue_init(queue);
	return job;
}

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

static bool sync_job(const struct flush *flush, const struct job *job)
{
	int fd = job->fd;
	if (fd < 0)
		fd = openat(flush->dir_fd, job->name, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return errno == ENOENT;
	bool done = sync_data(fd);
	close(fd);
	return done;
}

static bool sync_directory(const struct flush *flush)
{
	static struct log_limit limit;
	if (fsync(flush->dir_fd) == 0)
		return true;
	if (log_allowed(&limit))
		log_errno(LOG_ERR, "journal directory cannot be flushed");
	return false;
}

static bool set_aside(const struct flush *flush, const char *name)
{
	char aside[ASIDE_MAX];
	snprintf(aside, sizeof(aside), "%s.damaged", name);
	if (renameat(flush->dir_fd, name, flush->dir_fd, aside) != 0)
		return false;
	log_write(LOG_NOTICE,
		  "journal segment=%s set aside as %s; it may be removed", name,
		  aside);
	return true;
}

static bool remove_one(const struct flush *flush, const struct job *job)
{
	static struct log_limit limit;
	bool done = job->work == SET_ASIDE
			? set_aside(flush, job->name)
			: unlinkat(flush->dir_fd, job->name, 0) == 0;
	if (!done && errno != ENOENT) {
		if (log_allowed(&limit))
			log_errno(LOG_WARNING,
				  "journal segment=%s cannot be removed",
				  job->name);
		return false;
	}
	return sync_directory(flush);
}

/*
 * Each is gone for good before the next one goes: it may hold the put that a
 * later one takes back.
 */
static void remove_old(struct flush *flush)
{
	while (flush->old.first != NULL && remove_one(flush, flush->old.first))
		free(take(&flush->old));
}

/*
 * One round, without the mutex: what was waiting when it began. Nothing is
 * removed before all that may have taken its place is on the disk. False: the
 * directory has to be flushed once more.
 */
static bool flush_all(struct flush *flush, struct queue *queue, int fd,
		      bool created, unsigned mended)
{
	bool done = true;
	struct job *job;
	while ((job = take(queue)) != NULL) {
		if (job->work != SYNC) {
			append(&flush->old, job);
			continue;
		}
		done = sync_job(flush, job) && done;
		free(job);
	}
	if (fd >= 0 && atomic_exchange(&flush->dirty, false) &&
	    !sync_data(fd)) {
		flush_dirty(flush); /* again in the next round */
		done = false;
	}
	bool named = !created || sync_directory(flush);
	if (!done || !named)
		atomic_fetch_add(&flush->failures, 1);
	else if (atomic_load(&flush->failures) == mended)
		remove_old(flush);
	return named;
}

static struct timespec after_ms(struct timespec time, int ms)
{
	time.tv_nsec += ms * 1000000L;
	time.tv_sec += time.tv_nsec / 1000000000;
	time.tv_nsec %= 1000000000;
	return time;
}

static void *run(void *context)
{
	struct flush *flush = context;
	struct timespec begun = {0};
	pthread_mutex_lock(&flush->mutex);
	while (!flush->stop && flush->active == NULL)
		pthread_cond_wait(&flush->wake, &flush->mutex);
	/* The first round at once: what was found has been waiting. */
	for (bool stop = false; !stop;) {
		struct timespec until = after_ms(begun, FLUSH_INTERVAL_MS);
		while (!flush->stop &&
		       pthread_cond_timedwait(&flush->wake, &flush->mutex,
					      &until) != ETIMEDOUT)
			;
		clock_gettime(CLOCK_MONOTONIC, &begun);
		stop = flush->stop;
		struct queue queue;
		queue_init(&queue);
		for (struct job *job; (job = take(&flush->queue)) != NULL;)
			append(&queue, job);
		int fd = flush->active != NULL ? flush->active->fd : -1;
		bool created = flush->created;
		unsigned mended = flush->mended;
		flush->created = false;
		pthread_mutex_unlock(&flush->mutex);
		bool named = flush_all(flush, &queue, fd, created, mended);
		pthread_mutex_lock(&flush->mutex);
		flush->created = flush->created || !named;
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
	queue_init(&flush->queue);
	queue_init(&flush->old);
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
	if (flush->active != NULL)
		close(flush->active->fd);
	free(flush->active);
	for (struct job *job; (job = take(&flush->old)) != NULL;)
		free(job); /* the next start reads it once more */
	pthread_cond_destroy(&flush->wake);
	pthread_mutex_destroy(&flush->mutex);
	free(flush);
}

static struct job *job_create(enum work work, int fd, const char *name)
{
	size_t size = strlen(name) + 1;
	struct job *job = malloc(sizeof(*job) + size);
	if (job != NULL) {
		job->work = work;
		job->fd = fd;
		memcpy(job->name, name, size);
	}
	return job;
}

bool flush_segment(struct flush *flush, int fd)
{
	struct job *job = job_create(SYNC, fd, "");
	if (job == NULL)
		return false;
	pthread_mutex_lock(&flush->mutex);
	if (flush->active != NULL)
		append(&flush->queue, flush->active);
	flush->active = job;
	flush->created = true;
	pthread_cond_signal(&flush->wake);
	pthread_mutex_unlock(&flush->mutex);
	return true;
}

void flush_dirty(struct flush *flush)
{
	atomic_store(&flush->dirty, true);
}

static bool enqueue(struct flush *flush, enum work work, const char *name)
{
	struct job *job = job_create(work, -1, name);
	if (job == NULL)
		return false;
	pthread_mutex_lock(&flush->mutex);
	append(&flush->queue, job);
	pthread_mutex_unlock(&flush->mutex);
	return true;
}

bool flush_found(struct flush *flush, const char *name)
{
	return enqueue(flush, SYNC, name);
}

bool flush_remove(struct flush *flush, const char *name, bool damaged)
{
	return enqueue(flush, damaged ? SET_ASIDE : REMOVE, name);
}

unsigned flush_failures(const struct flush *flush)
{
	return atomic_load(&flush->failures);
}

void flush_mended(struct flush *flush, unsigned failures)
{
	pthread_mutex_lock(&flush->mutex);
	flush->mended = failures;
	pthread_mutex_unlock(&flush->mutex);
}
