/* notify: what a service manager hears, by a path and by an abstract name. */
#include "notify.h"

#include <stddef.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "scratch.h"

static int manager(const char *name, size_t len)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0);

	memcpy(address.sun_path, name, len);
	assert_int_equal(
	    bind(fd, (struct sockaddr *)&address,
		 (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len)),
	    0);
	return fd;
}

static const char *heard(int fd)
{
	static char text[256];
	ssize_t len = recv(fd, text, sizeof text - 1, 0);

	text[len > 0 ? len : 0] = '\0';
	return text;
}

static void told(void **state)
{
	char name[64];
	unsigned long long when_us;

	(void)state;
	snprintf(name, sizeof name, "@notify-%d", getpid());
	for (int abstract = 0; abstract < 2; abstract++) {
		char place[64];

		snprintf(place, sizeof place, "%s", abstract ? name : "notify");
		if (abstract)
			place[0] = '\0';
		int fd = manager(place, strlen(abstract ? name : "notify"));
		char here[4096];

		assert_non_null(getcwd(here, sizeof here - 8));
		setenv("NOTIFY_SOCKET",
		       abstract ? name : strcat(here, "/notify"), 1);
		notify_ready();
		assert_string_equal(heard(fd), "READY=1");
		notify_reloading();
		assert_int_equal(sscanf(heard(fd),
					"RELOADING=1\nMONOTONIC_USEC=%llu",
					&when_us),
				 1);
		assert_true(when_us > 0);
		notify_stopping();
		assert_string_equal(heard(fd), "STOPPING=1");
		setenv("WATCHDOG_USEC", "1000000", 1);
		notify_alive(); /* looks at it once */
		assert_string_equal(heard(fd), "WATCHDOG=1");
		close(fd);
	}
	notify_ready(); /* it has gone */
	unsetenv("NOTIFY_SOCKET");
	notify_ready();
	setenv("NOTIFY_SOCKET", "nowhere", 1);
	notify_ready();
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(told)};

	return cmocka_run_group_tests(tests, scratch_setup, scratch_teardown);
}
