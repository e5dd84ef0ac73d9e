/*
 * draccall: authorize one address, as a POP server or a login script would.
 * Written against the classic prototypes alone. Exit status 0, or 1 with the
 * library's message on standard error.
 *
 *	draccall server address
 */
#include <arpa/inet.h>
#include <err.h>
#include <stdio.h>

extern int dracauth(char *server, unsigned long userip, char **errmsg);
extern int dracauth6(char *server, unsigned char *userip6, char **errmsg);

int main(int argc, char **argv)
{
	struct in6_addr v6;
	struct in_addr v4;
	char *message = NULL;
	int result;

	if (argc != 3)
		errx(2, "usage: draccall server address");
	if (inet_pton(AF_INET, argv[2], &v4) == 1)
		result = dracauth(argv[1], v4.s_addr, &message);
	else if (inet_pton(AF_INET6, argv[2], &v6) == 1)
		result = dracauth6(argv[1], v6.s6_addr, &message);
	else
		errx(2, "%s: not an address", argv[2]);
	if (result != 0)
		errx(1, "%s", message);
	puts(message);
	return 0;
}
