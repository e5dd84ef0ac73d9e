/*
 * libdrac_dlclose: what happens in a program that loads the library, as PAM
 * does, and closes it while a lookup that was given up is still under way.
 * Prints the message, and "alone" when the lookup's thread has ended.
 *
 *	libdrac_dlclose LIBRARY SERVER
 */
#include <dlfcn.h>
#include <err.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "threads.h"

enum { TICK_NS = 10000000, WAIT_S = 15 };

typedef int dracauth_function(char *, unsigned long, char **);

int main(int argc, char **argv)
{
	const struct timespec tick = {.tv_nsec = TICK_NS};
	size_t before = threads_now() + THREADS_SANITIZER;
	time_t end = time(NULL) + WAIT_S;
	dracauth_function *function;
	char *message = NULL;
	void *library;
	void *symbol;

	if (argc != 3)
		errx(2, "usage: libdrac_dlclose library server");
	library = dlopen(argv[1], RTLD_NOW);
	if (library == NULL || (symbol = dlsym(library, "dracauth")) == NULL)
		errx(1, "%s", dlerror());
	memcpy(&function, &symbol, sizeof function);
	function(argv[2], 0x01020304, &message);
	puts(message);
	if (threads_now() == before)
		errx(1, "no lookup is under way");
	dlclose(library);
	while (threads_now() > before && time(NULL) < end)
		nanosleep(&tick, NULL);
	if (threads_now() > before)
		errx(1, "the lookup does not end");
	puts("alone");
	return 0;
}
