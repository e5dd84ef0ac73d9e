/*
 * draconce: how fast programs that link libdrac authorize: dracauth() again
 * and again, each a connection of its own, from one process or several.
 * Written against the classic prototypes alone. Prints one line of JSON.
 *
 *	draconce processes seconds server [base]
 *
 * Addresses begin at 80.0.0.0 + base, so that each run can have new ones.
 */
#include <arpa/inet.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "measure.h"

enum {
	PROCESSES_MAX = 64,
	SAMPLES_MAX = 1 << 18, /* a process */
	ADDRESS_BASE = 0x50000000,
	ADDRESS_STEP = 1 << 20, /* between processes */
};

extern int dracauth(char *server, unsigned long userip, char **errmsg);

/* In memory that the processes share. */
struct tally {
	size_t count;
	size_t failures;
	char message[128]; /* of the last failure */
	uint32_t ns[SAMPLES_MAX];
};

static void run(struct tally *tally, unsigned long base, double seconds,
		char *server)
{
	int64_t start_ns = now_ns(), begin_ns = start_ns;

	while ((double)(begin_ns - start_ns) < seconds * NS_PER_S &&
	       tally->count < SAMPLES_MAX) {
		char *message = NULL;
		int64_t end_ns;

		if (dracauth(server, htonl((uint32_t)(base + tally->count)),
			     &message) != 0) {
			tally->failures++;
			snprintf(tally->message, sizeof tally->message, "%s",
				 message ? message : "(null)");
		}
		end_ns = now_ns();
		tally->ns[tally->count++] = (uint32_t)(end_ns - begin_ns);
		begin_ns = end_ns;
	}
}

static void report(const struct tally *tally, size_t processes,
		   int64_t start_ns)
{
	struct samples all = {0};
	double elapsed_s = (double)(now_ns() - start_ns) / NS_PER_S;
	const char *message = "";
	size_t failures = 0;

	for (size_t p = 0; p < processes; p++) {
		for (size_t i = 0; i < tally[p].count; i++)
			samples_add(&all, 0, tally[p].ns[i]);
		failures += tally[p].failures;
		if (tally[p].failures > 0)
			message = tally[p].message;
	}
	printf("{\"clients\": %zu, \"calls\": %zu, \"rate\": %.0f, "
	       "\"failures\": %zu, \"message\": \"%s\", ",
	       processes, all.count, (double)all.count / elapsed_s, failures,
	       message);
	samples_print(&all, 0);
	printf("}\n");
	free(all.ns);
}

int main(int argc, char **argv)
{
	struct tally *tally;
	size_t processes;
	unsigned long base;
	int64_t start_ns;

	if (argc != 4 && argc != 5)
		errx(2, "usage: draconce processes seconds server [base]");
	base = ADDRESS_BASE + (argc > 4 ? strtoul(argv[4], NULL, 10) : 0);
	processes = strtoul(argv[1], NULL, 10);
	if (processes < 1 || processes > PROCESSES_MAX)
		errx(2, "1 to %d processes", PROCESSES_MAX);
	tally = mmap(NULL, processes * sizeof *tally, PROT_READ | PROT_WRITE,
		     MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (tally == MAP_FAILED)
		err(1, "memory");
	start_ns = now_ns();
	for (size_t p = 0; p < processes; p++) {
		pid_t child = fork();

		if (child < 0)
			err(1, "fork");
		if (child == 0) {
			run(&tally[p], base + p * ADDRESS_STEP,
			    strtod(argv[2], NULL), argv[3]);
			_exit(0);
		}
	}
	while (wait(NULL) > 0)
		;
	report(tally, processes, start_ns);
	return 0;
}
