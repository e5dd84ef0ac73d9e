/*
 * mapread: reads maps as MTAs do (mta.h), one process a reader, and checks each
 * answer against what the test says is true. For
 * tests/integration/test_model.py.
 *
 *	mapread TRUTH PAUSE_US SEED STYLE:PLACE ...
 *
 *	sendmail:MAP  keeps the map open for a session, locks each lookup, and
 *	              opens it anew when its time of change is a later second
 *	postfix:MAP   locks, too; looks at that time between its clients only,
 *	              and asks for shorter keys when it finds nothing
 *	exim:MAP      opens it for each lookup, takes no lock, and compares the
 *	              value with the clock
 *	socketmap:SOCKET
 *
 * TRUTH is a file that the test maps and writes while this runs: struct truth
 * and its slots. A slot says between which seconds its address ends; an answer
 * is wrong when it is impossible for all of them, and an error is what would be
 * a 451. A slot that has changed meanwhile says nothing ("unknown"). While the
 * test itself has spoilt the maps or stopped the daemon, what is wrong is
 * "excused"; sessions end then, since one of sendmail that keeps the old file
 * is known to go on with it.
 *
 * A reader that takes no lock may meet a page split under way. What exim got
 * wrong is asked again under the lock, and counted as "torn" if right then.
 *
 * Prints a line of JSON when the test ends it; the first wrong answers go to
 * standard error. Exit status 1 if there were any, or errors.
 */
#include <err.h>
#include <inttypes.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "mta.h"

enum {
	READERS_MAX = 8,
	ADDRESS_MAX = 48,
	GRACE_S = 10, /* until what has expired must have left a map */
	SLACK_S = 1,  /* the daemon reads the clock once a pass */
	SHOWN_MAX = 5,
};

/* An address, and the seconds between which it ends; 0: not authorized. */
struct slot {
	_Atomic uint32_t sequence; /* odd: being written */
	uint32_t unused;
	_Atomic int64_t low_s, high_s;
	_Atomic int64_t shared_low_s, shared_high_s; /* by ipv6-prefix */
	char text[ADDRESS_MAX];                      /* RFC 5952 */
	char full[ADDRESS_MAX];                      /* uncompressed */
};

struct counts {
	uint64_t lookups, found, missed, unknown, excused, torn, wrong, errors,
	    sessions, reopened;
};

/* Mirrored in tests/integration/model.py. */
struct truth {
	_Atomic uint32_t stop;
	_Atomic uint32_t spoilt; /* odd: the maps are not the daemon's */
	_Atomic uint32_t down;   /* odd: no daemon runs */
	uint32_t slots, hot;     /* every other question is about a hot one */
	uint32_t unused;
	_Atomic int64_t up_since_s;
	struct counts counts[READERS_MAX];
	struct slot slot[];
};

struct reader {
	struct mta mta;
	const struct style *style;
	struct truth *truth;
	struct counts *counts;
	uint32_t spoilt; /* as of the last question */
	int shown;
};

struct question {
	const struct slot *slot;
	uint32_t sequence, spoilt, down;
	int64_t low_s, high_s, begin_s;
};

/* Not time(), which is late by a tick of the kernel. */
static int64_t wall_s(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return now.tv_sec;
}

/* ---- judging ---- */

static struct question question_new(const struct reader *r,
				    const struct slot *slot)
{
	return (struct question){
	    .slot = slot,
	    .sequence = atomic_load(&slot->sequence),
	    .spoilt = atomic_load(&r->truth->spoilt),
	    .down = atomic_load(&r->truth->down),
	    .low_s = atomic_load(r->style->socket ? &slot->shared_low_s
						  : &slot->low_s),
	    .high_s = atomic_load(r->style->socket ? &slot->shared_high_s
						   : &slot->high_s),
	    .begin_s = wall_s(),
	};
}

/* Whether the truth has held still since the question. */
static bool is_known(const struct question *q)
{
	return q->sequence % 2 == 0 &&
	       atomic_load(&q->slot->sequence) == q->sequence;
}

/* From when on it may not be found any more. */
static int64_t gone_s(const struct reader *r, const struct question *q)
{
	int64_t up_s = atomic_load(&r->truth->up_since_s);

	if (q->high_s == 0)
		return 0;
	if (r->style->by_clock)
		return q->high_s + SLACK_S;
	if (q->down % 2 == 1 || atomic_load(&r->truth->down) != q->down)
		return INT64_MAX; /* nobody purges */
	return (q->high_s > up_s ? q->high_s : up_s) + GRACE_S;
}

/* NULL: the answer may be right. Else what it should have been. */
static const char *judge(const struct reader *r, const struct question *q,
			 enum answer answer)
{
	int64_t end_s = wall_s(), expiry_s;
	char *end;

	if (answer == FAILED)
		return "an answer";
	if (answer == MISSED)
		return end_s < q->low_s ? "found" : NULL;
	if (q->begin_s >= gone_s(r, q))
		return "not found";
	expiry_s = strtoll(r->mta.value, &end, 10);
	if (end == r->mta.value || *end != '\0' || expiry_s > q->high_s)
		return "an expiry that was asked for";
	return NULL;
}

static bool is_excused(const struct reader *r, const struct question *q)
{
	if (r->style->socket)
		return q->down % 2 == 1 ||
		       atomic_load(&r->truth->down) != q->down;
	return q->spoilt % 2 == 1 ||
	       atomic_load(&r->truth->spoilt) != q->spoilt;
}

static void complain(struct reader *r, const struct question *q,
		     enum answer answer, const char *wanted)
{
	static const char *const name[] = {
	    [FOUND] = "found", [MISSED] = "not found", [FAILED] = "error in"};

	if (r->shown++ >= SHOWN_MAX)
		return;
	fprintf(stderr,
		"%s:%s: %s: %s %s %s; wanted: %s (ends %" PRId64 "..%" PRId64
		", asked %" PRId64 ", now %" PRId64 ")\n",
		r->style->name, r->mta.place, q->slot->text, name[answer],
		answer == FAILED ? r->mta.complaint : "",
		answer == MISSED ? "" : r->mta.value, wanted, q->low_s,
		q->high_s, q->begin_s, wall_s());
}

static enum answer ask(struct reader *r, const struct slot *slot)
{
	r->mta.value[0] = '\0';
	return r->style->ask(&r->mta, slot->text, slot->full);
}

/* Asks again where nothing can be half written. */
static bool is_torn(struct reader *r, const struct slot *slot)
{
	int fd = open(r->mta.place, O_RDONLY | O_CLOEXEC);
	struct question q;
	enum answer answer;
	bool right;

	if (fd < 0)
		return false;
	flock(fd, LOCK_SH);
	q = question_new(r, slot);
	answer = ask(r, slot);
	right =
	    (answer != FAILED && !is_known(&q)) || judge(r, &q, answer) == NULL;
	close(fd);
	return right;
}

static void look_up(struct reader *r)
{
	struct counts *counts = r->counts;
	uint32_t hot = below(&r->mta, 2), slots = r->truth->slots;
	const struct slot *slot =
	    &r->truth->slot[below(&r->mta, hot ? r->truth->hot : slots)];
	struct question q = question_new(r, slot);
	enum answer answer;
	const char *wanted;

	if (q.spoilt != r->spoilt)
		r->mta.fresh = true;
	r->spoilt = q.spoilt;
	answer = ask(r, slot);
	wanted = judge(r, &q, answer);
	counts->lookups++;
	counts->found += answer == FOUND;
	counts->missed += answer == MISSED;
	if (answer != FAILED && !is_known(&q)) {
		counts->unknown++;
	} else if (wanted != NULL && is_excused(r, &q)) {
		counts->excused++;
	} else if (wanted != NULL && !r->style->locks && is_torn(r, slot)) {
		counts->torn++;
	} else if (wanted != NULL) {
		complain(r, &q, answer, wanted);
		counts->wrong += answer != FAILED;
		counts->errors += answer == FAILED;
	}
	counts->sessions = r->mta.sessions;
	counts->reopened = r->mta.reopened;
}

/* ---- all of them ---- */

static void parse_reader(struct reader *r, char *text)
{
	char *colon = strchr(text, ':');

	if (colon == NULL)
		errx(2, "%s: not style:place", text);
	*colon = '\0';
	r->mta.place = colon + 1;
	r->mta.socket = -1;
	for (size_t i = 0; i < sizeof styles / sizeof *styles; i++)
		if (strcmp(styles[i].name, text) == 0)
			r->style = &styles[i];
	if (r->style == NULL)
		errx(2, "%s: no such style", text);
}

static _Noreturn void run(struct reader *r, uint32_t pause_us)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	while (atomic_load(&r->truth->stop) == 0) {
		look_up(r);
		usleep(1 + below(&r->mta, 2 * pause_us + 1));
	}
	_exit(r->counts->wrong + r->counts->errors > 0);
}

static void report(const struct reader *r, int count)
{
	for (int i = 0; i < count; i++) {
		const struct counts *c = r[i].counts;

		printf("%s\"%s:%s\": {\"lookups\": %ju, \"found\": %ju, "
		       "\"missed\": %ju, \"unknown\": %ju, \"excused\": %ju, "
		       "\"torn\": %ju, \"wrong\": %ju, \"errors\": %ju, "
		       "\"sessions\": %ju, \"reopened\": %ju}",
		       i ? ", " : "{", r[i].style->name, r[i].mta.place,
		       (uintmax_t)c->lookups, (uintmax_t)c->found,
		       (uintmax_t)c->missed, (uintmax_t)c->unknown,
		       (uintmax_t)c->excused, (uintmax_t)c->torn,
		       (uintmax_t)c->wrong, (uintmax_t)c->errors,
		       (uintmax_t)c->sessions, (uintmax_t)c->reopened);
	}
	printf("}\n");
}

static struct truth *truth_map(const char *path)
{
	struct stat st;
	void *truth;
	int fd = open(path, O_RDWR | O_CLOEXEC);

	if (fd < 0 || fstat(fd, &st) != 0)
		err(1, "%s", path);
	truth = mmap(NULL, (size_t)st.st_size, PROT_READ | PROT_WRITE,
		     MAP_SHARED, fd, 0);
	if (truth == MAP_FAILED)
		err(1, "%s", path);
	close(fd);
	return truth;
}

int main(int argc, char **argv)
{
	struct reader readers[READERS_MAX] = {0};
	int count = argc - 4, worst = 0, status;
	struct truth *truth;

	if (count < 1 || count > READERS_MAX)
		errx(2, "usage: mapread TRUTH PAUSE_US SEED STYLE:PLACE ...");
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	truth = truth_map(argv[1]);
	for (int i = 0; i < count; i++) {
		struct reader *r = &readers[i];
		pid_t child;

		parse_reader(r, argv[4 + i]);
		r->truth = truth;
		r->counts = &truth->counts[i];
		r->mta.seed =
		    (unsigned)strtoul(argv[3], NULL, 10) + (unsigned)i;
		child = fork();
		if (child < 0)
			err(1, "fork");
		if (child == 0)
			run(r, (uint32_t)strtoul(argv[2], NULL, 10));
	}
	while (wait(&status) > 0) {
		if (!WIFEXITED(status))
			warnx("a reader died: status %#x", (unsigned)status);
		if (status != 0)
			worst = 1;
	}
	report(readers, count);
	return worst;
}
