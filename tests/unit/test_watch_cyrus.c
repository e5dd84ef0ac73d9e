/* Tests of cyrus.c and cyrus_event.c: datagrams, whom they come from, sessions.
 */
#include "cyrus.h"

#include <errno.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>

#include "cyrus_event.h"
#include "scratch.h"

#define LOGIN                                                                  \
	"{\"event\":\"Login\",\"timestamp\":\"2026-11-22T03:53:55.5+00:00\","  \
	"\"service\":\"imap\",\"clientIP\":\"192.0.2.7\",\"clientPort\":1,"    \
	"\"pid\":7,\"user\":\"joe\"}"

enum {
	NOW = 1900000000,
	STAMP = 1795319635, /* 2026-11-22T03:53:55Z */
	NOBODY = 65534,
	WAIT_US = 10000,
	WAITS_MAX = 1000,
	QUEUED = 5,
	SENDERS = 20, /* more than the queue holds */
};

static struct event event;
static struct cyrus *cyrus;
static struct event heard[64];
static int heard_count;
static char path[] = "notify.sock";

/* ---- datagrams ----------------------------------------------------------- */

/* As Cyrus builds one, around the JSON; its length. */
static size_t build(char *out, size_t size, const char *class, const char *json)
{
	int len = snprintf(out, size, "external%c%s%c%c%c%c0%c%s", 0, class, 0,
			   0, 0, 0, 0, json);

	assert_in_range(len, 0, size - 1);
	return (size_t)len + 1;
}

static enum cyrus_result parse(const char *json)
{
	char data[CYRUS_DATAGRAM_MAX];

	return cyrus_event_parse(data, build(data, sizeof data, "EVENT", json),
				 NOW, &event);
}

static void login(void **state)
{
	(void)state;
	assert_int_equal(parse(LOGIN), CYRUS_EVENT);
	assert_int_equal(event.kind, EVENT_LOGIN);
	assert_int_equal(event.time_s, STAMP);
	assert_string_equal(event.address, "192.0.2.7");
	assert_string_equal(event.user, "joe");
	assert_string_equal(event.service, "imap");
	assert_int_equal(parse("{\"event\":\"Logout\"}"), CYRUS_EVENT);
	assert_int_equal(event.kind, EVENT_LOGOUT);
	assert_int_equal(parse("{\"event\":\"MessageNew\"}"), CYRUS_OTHER);
}

static void addresses(void **state)
{
	(void)state;
	assert_int_equal(parse("{\"event\":\"Login\",\"clientIP\":"
			       "\"::ffff:192.0.2.7\"}"),
			 CYRUS_EVENT);
	assert_string_equal(event.address, "192.0.2.7");
	assert_int_equal(event.time_s, NOW);
	assert_string_equal(event.user, "");
	assert_string_equal(event.service, "");
	assert_int_equal(
	    parse("{\"event\":\"Login\",\"clientIP\":\"2001:DB8::0:7\"}"),
	    CYRUS_EVENT);
	assert_string_equal(event.address, "2001:db8::7");
	assert_int_equal(parse("{\"event\":\"Login\"}"), CYRUS_NOADDRESS);
	assert_int_equal(parse("{\"event\":\"Login\",\"clientIP\":7}"),
			 CYRUS_NOADDRESS);
	assert_int_equal(
	    parse("{\"event\":\"Login\",\"clientIP\":\"localhost\"}"),
	    CYRUS_NOADDRESS);
	assert_int_equal(
	    parse("{\"event\":\"Login\",\"clientIP\":\"192.0.2.7 \"}"),
	    CYRUS_NOADDRESS);
}

static enum cyrus_result service(const char *name)
{
	char json[128];

	snprintf(json, sizeof json,
		 "{\"event\":\"Login\",\"clientIP\":\"192.0.2.7\","
		 "\"service\":%s}",
		 name);
	return parse(json);
}

static void services(void **state)
{
	(void)state;
	assert_int_equal(service("\"imaps\""), CYRUS_EVENT);
	assert_string_equal(event.service, "imap");
	assert_int_equal(service("\"pop3s\""), CYRUS_EVENT);
	assert_string_equal(event.service, "pop3");
	assert_int_equal(service("\"http\""), CYRUS_SERVICE);
	assert_int_equal(service("\"\""), CYRUS_SERVICE);
	assert_int_equal(service("3"), CYRUS_SERVICE);
}

/* A login is one, whatever its name looks like. */
static void users(void **state)
{
	char json[512], longest[DRAC_USER_MAX + 2];

	(void)state;
	assert_int_equal(parse("{\"event\":\"Login\",\"clientIP\":\"192.0.2.7\""
			       ",\"user\":\"a\\nb\"}"),
			 CYRUS_EVENT);
	assert_string_equal(event.user, "");
	for (int more = 0; more < 2; more++) {
		memset(longest, 'u', sizeof longest);
		longest[DRAC_USER_MAX + more] = '\0';
		snprintf(json, sizeof json,
			 "{\"event\":\"Login\",\"clientIP\":\"192.0.2.7\","
			 "\"user\":\"%s\"}",
			 longest);
		assert_int_equal(parse(json), CYRUS_EVENT);
		assert_int_equal(strlen(event.user), more ? 0 : DRAC_USER_MAX);
	}
}

static void times(void **state)
{
	(void)state;
	assert_int_equal(parse("{\"event\":\"Login\",\"clientIP\":\"192.0.2.7\""
			       ",\"timestamp\":\"2099-01-01T00:00:00.0Z\"}"),
			 CYRUS_EVENT);
	assert_int_equal(event.time_s, NOW);
	assert_int_equal(parse("{\"event\":\"Login\",\"clientIP\":\"192.0.2.7\""
			       ",\"timestamp\":\"yesterday\"}"),
			 CYRUS_EVENT);
	assert_int_equal(event.time_s, NOW);
}

static void malformed(void **state)
{
	char data[CYRUS_DATAGRAM_MAX];
	size_t len = build(data, sizeof data, "EVENT", LOGIN);

	(void)state;
	for (size_t cut = 0; cut < len; cut++)
		assert_int_equal(cyrus_event_parse(data, cut, NOW, &event),
				 CYRUS_MALFORMED);
	assert_int_equal(parse("[]"), CYRUS_MALFORMED);
	assert_int_equal(parse("{}"), CYRUS_MALFORMED);
	assert_int_equal(parse("{\"event\":7}"), CYRUS_MALFORMED);
	assert_int_equal(parse("{\"event\":\"Login\",\"clientIP\":\"192.0.2.7\""
			       ",\"clientIP\":\"192.0.2.8\"}"),
			 CYRUS_MALFORMED);
	assert_int_equal(parse(LOGIN "x"), CYRUS_MALFORMED);
	len = build(data, sizeof data, "MAIL", LOGIN);
	assert_int_equal(cyrus_event_parse(data, len, NOW, &event),
			 CYRUS_OTHER);
}

/* Options stand before the message, as many as the count says. */
static void options(void **state)
{
	static const char two[] = "m\0EVENT\0\0\0\0002\0a\0b\0" LOGIN;
	static const char many[] = "m\0EVENT\0\0\0\0009999999999\0" LOGIN;
	static const char minus[] = "m\0EVENT\0\0\0\0-1\0" LOGIN;

	(void)state;
	assert_int_equal(cyrus_event_parse(two, sizeof two, NOW, &event),
			 CYRUS_EVENT);
	assert_int_equal(cyrus_event_parse(many, sizeof many, NOW, &event),
			 CYRUS_MALFORMED);
	assert_int_equal(cyrus_event_parse(minus, sizeof minus, NOW, &event),
			 CYRUS_MALFORMED);
}

/* ---- the socket ---------------------------------------------------------- */

static void hear(void *ctx, const struct event *what)
{
	assert_ptr_equal(ctx, heard);
	assert_in_range(heard_count, 0, 63);
	heard[heard_count++] = *what;
}

static int begin(void **state)
{
	(void)state;
	heard_count = 0;
	unlink(path);
	cyrus = cyrus_open_as("notify.sock,1", getuid(), getgid(), hear, heard);
	return cyrus == NULL;
}

static int end(void **state)
{
	(void)state;
	cyrus_close(cyrus);
	cyrus = NULL;
	return access(path, F_OK) == 0;
}

/* As Cyrus does: a socket for each datagram. It may have to wait. */
static int say(const char *json)
{
	struct sockaddr_un to = {.sun_family = AF_UNIX};
	char data[CYRUS_DATAGRAM_MAX];
	size_t len = build(data, sizeof data, "EVENT", json);
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	ssize_t sent;

	memcpy(to.sun_path, path, sizeof path);
	sent = sendto(fd, data, len, 0, (struct sockaddr *)&to, sizeof to);
	close(fd);
	return sent == (ssize_t)len ? 0 : errno;
}

/* As fork(2); the child does not outlive a test that fails. */
static pid_t fork_child(void)
{
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0)
		prctl(PR_SET_PDEATHSIG, SIGKILL);
	return pid;
}

/* A process that says so as uid and stays until it is killed. */
static pid_t speaker(const char *json, uid_t uid)
{
	int done[2];
	pid_t pid;
	char told;

	assert_int_equal(pipe(done), 0);
	pid = fork_child();
	if (pid == 0) {
		if (uid != getuid() && setuid(uid) != 0)
			_exit(1);
		prctl(PR_SET_PDEATHSIG, SIGKILL); /* setuid(2) clears it */
		told = (char)say(json);
		if (write(done[1], &told, 1) == 1)
			pause();
		_exit(0);
	}
	close(done[1]);
	while (read(done[0], &told, 1) < 0 && errno == EINTR)
		;
	close(done[0]);
	return pid;
}

static void end_speaker(pid_t pid)
{
	kill(pid, SIGKILL);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
}

/* Ticks until so many were heard. */
static void tick_until(int count)
{
	for (int i = 0; heard_count < count && i < WAITS_MAX; i++) {
		usleep(WAIT_US);
		cyrus_tick(cyrus);
	}
	assert_int_equal(heard_count, count);
}

/* Ticks for more than one interval. */
static void tick_on(void)
{
	for (int i = 0; i < 220; i++) {
		usleep(WAIT_US);
		cyrus_tick(cyrus);
	}
}

static void refreshed_until_logout(void **state)
{
	(void)state;
	assert_int_equal(say(LOGIN), 0);
	cyrus_read(cyrus);
	assert_int_equal(heard_count, 1);
	assert_string_equal(heard[0].address, "192.0.2.7");
	assert_int_equal(heard[0].time_s, STAMP);
	tick_until(3);
	assert_string_equal(heard[2].address, "192.0.2.7");
	assert_string_equal(heard[2].user, "joe");
	assert_true(heard[2].time_s != STAMP);
	/* The process has another client now. */
	assert_int_equal(
	    say("{\"event\":\"Login\",\"clientIP\":\"192.0.2.8\"}"), 0);
	cyrus_read(cyrus);
	tick_until(5);
	assert_string_equal(heard[4].address, "192.0.2.8");
	assert_int_equal(say("{\"event\":\"Logout\"}"), 0);
	cyrus_read(cyrus);
	tick_on();
	assert_int_equal(heard_count, 5);
}

static void forgotten_with_process(void **state)
{
	pid_t pid = speaker(LOGIN, getuid());

	(void)state;
	cyrus_read(cyrus);
	assert_int_equal(heard_count, 1);
	tick_until(2);
	end_speaker(pid);
	tick_on();
	assert_int_equal(heard_count, 2);
}

static void strangers(void **state)
{
	pid_t pid;
	const char *text;

	(void)state;
	if (getuid() != 0)
		skip(); /* cannot become somebody else */
	/* Even one who can write to it. */
	assert_int_equal(chmod(path, 0666), 0);
	assert_int_equal(chmod(scratch_dir, 0755), 0);
	pid = speaker(LOGIN, NOBODY);
	capture_begin();
	cyrus_read(cyrus);
	text = capture_end();
	assert_contains(text, "uid=65534");
	assert_int_equal(heard_count, 0);
	end_speaker(pid);
}

/* One read empties the queue: Cyrus waits when it is full. */
static void all_at_once(void **state)
{
	(void)state;
	for (int i = 0; i < QUEUED; i++)
		assert_int_equal(say(LOGIN), 0);
	cyrus_read(cyrus);
	assert_int_equal(heard_count, QUEUED);
}

static void many_at_once(void **state)
{
	pid_t pid[SENDERS];
	int done = 0;

	(void)state;
	for (int i = 0; i < SENDERS; i++) {
		pid[i] = fork_child();
		if (pid[i] == 0)
			_exit(say(LOGIN));
	}
	for (int i = 0; heard_count < SENDERS && i < WAITS_MAX; i++) {
		cyrus_read(cyrus);
		usleep(WAIT_US);
	}
	assert_int_equal(heard_count, SENDERS);
	for (int i = 0; i < SENDERS; i++) {
		assert_int_equal(waitpid(pid[i], &done, 0), pid[i]);
		assert_int_equal(done, 0);
	}
	tick_on(); /* they are gone */
	assert_int_equal(heard_count, SENDERS);
}

static void places(void **state)
{
	struct stat st;
	struct cyrus *second;
	int fd;

	(void)state;
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	/* In use. */
	capture_begin();
	second = cyrus_open_as(path, getuid(), getgid(), hear, heard);
	assert_contains(capture_end(), "another process reads it");
	assert_null(second);
	assert_int_equal(say(LOGIN), 0);
	/* Left behind. */
	assert_int_equal(rename(path, "aside"), 0);
	fd = socket(AF_UNIX, SOCK_DGRAM, 0);
	struct sockaddr_un stale = {.sun_family = AF_UNIX,
				    .sun_path = "stale.sock"};
	assert_int_equal(bind(fd, (struct sockaddr *)&stale, sizeof stale), 0);
	close(fd);
	second = cyrus_open_as("stale.sock", getuid(), getgid(), hear, heard);
	assert_non_null(second);
	cyrus_close(second);
	/* Somebody's file. */
	scratch_write("file", "precious");
	capture_begin();
	second = cyrus_open_as("file", getuid(), getgid(), hear, heard);
	assert_contains(capture_end(), "no socket");
	assert_null(second);
	assert_int_equal(stat("file", &st), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(login),
	    cmocka_unit_test(addresses),
	    cmocka_unit_test(services),
	    cmocka_unit_test(users),
	    cmocka_unit_test(times),
	    cmocka_unit_test(malformed),
	    cmocka_unit_test(options),
	    cmocka_unit_test_setup_teardown(refreshed_until_logout, begin, end),
	    cmocka_unit_test_setup_teardown(forgotten_with_process, begin, end),
	    cmocka_unit_test_setup_teardown(strangers, begin, end),
	    cmocka_unit_test_setup_teardown(all_at_once, begin, end),
	    cmocka_unit_test_setup_teardown(many_at_once, begin, end),
	    cmocka_unit_test_setup_teardown(places, begin, end),
	};

	return cmocka_run_group_tests(tests, scratch_setup, scratch_teardown);
}
