/*
 * libdrac_classic: the eight classic calls, one after the other, as a program
 * makes them that was written for DRAC 1.12: with prototypes of its own and no
 * header of ours. For each step one line: return code, milliseconds, message.
 *
 *	libdrac_classic step...
 *	auth SERVER ADDRESS | conn SERVER | send ADDRESS | disc
 *	auth6 SERVER ADDRESS | conn6 SERVER | send6 ADDRESS | disc6
 *	null		the next step passes no errmsg
 *	pause		prints "paused", waits for a line on standard input
 */
#include <arpa/inet.h>
#include <err.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <time.h>

extern int dracauth(char *server, unsigned long userip, char **errmsg);
extern int dracconn(char *server, char **errmsg);
extern int dracsend(unsigned long userip, char **errmsg);
extern int dracdisc(char **errmsg);
extern int dracauth6(char *server, unsigned char *userip6, char **errmsg);
extern int dracconn6(char *server, char **errmsg);
extern int dracsend6(unsigned char *userip6, char **errmsg);
extern int dracdisc6(char **errmsg);

static char **argument;

static char *next(void)
{
	if (*argument == NULL)
		errx(2, "the last step is not complete");
	return *argument++;
}

static unsigned long next4(void)
{
	return inet_addr(next());
}

static unsigned char *next6(void)
{
	static unsigned char address[16];

	if (inet_pton(AF_INET6, next(), address) != 1)
		errx(2, "not an IPv6 address");
	return address;
}

static int step(const char *name, char **errmsg)
{
	char *server;

	if (strcmp(name, "auth") == 0) {
		server = next();
		return dracauth(server, next4(), errmsg);
	}
	if (strcmp(name, "auth6") == 0) {
		server = next();
		return dracauth6(server, next6(), errmsg);
	}
	if (strcmp(name, "conn") == 0)
		return dracconn(next(), errmsg);
	if (strcmp(name, "conn6") == 0)
		return dracconn6(next(), errmsg);
	if (strcmp(name, "send") == 0)
		return dracsend(next4(), errmsg);
	if (strcmp(name, "send6") == 0)
		return dracsend6(next6(), errmsg);
	if (strcmp(name, "disc") == 0)
		return dracdisc(errmsg);
	if (strcmp(name, "disc6") == 0)
		return dracdisc6(errmsg);
	errx(2, "%s: no such step", name);
}

static double now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec * 1e3 + (double)now.tv_nsec / 1e6;
}

static void pause_here(void)
{
	char line[80];

	puts("paused");
	if (fgets(line, sizeof line, stdin) == NULL)
		errx(2, "standard input ended");
}

int main(int argc, char **argv)
{
	int null = 0;

	(void)argc;
	setvbuf(stdout, NULL, _IOLBF, 0);
	for (argument = argv + 1; *argument != NULL;) {
		const char *name = next();
		char *message = (char *)"(untouched)";
		double begin_ms = now_ms();
		int result;

		if (strcmp(name, "pause") == 0) {
			pause_here();
			continue;
		}
		if (strcmp(name, "null") == 0) {
			null = 1;
			continue;
		}
		result = step(name, null ? NULL : &message);
		printf("%d\t%.1f\t%s\n", result, now_ms() - begin_ms,
		       message ? message : "(null pointer)");
		null = 0;
	}
	return 0;
}
