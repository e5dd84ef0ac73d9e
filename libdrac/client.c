/*
 * client: handles and the order in which servers are tried. The only state
 * that threads share is the kept connection; whoever needs it takes it out of
 * the handle, others open one of their own meanwhile.
 */
#include "client.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

#include "drac_prot.h"
#include "endpoint.h"
#include "lookup.h"
#include "message.h"
#include "server.h"

struct kept {
	struct drac_endpoint endpoint; /* fd -1: none */
	size_t server;
	pid_t pid; /* a child of fork() must not read its parent's answers */
};

struct drac {
	pthread_mutex_t lock; /* over users and kept */
	unsigned int users;
	struct kept kept;
	int64_t budget_ns;
	size_t count;
	struct drac_server server[];
};

/* One drac_run() under way. */
struct run {
	struct drac *drac;
	const struct drac_request *request;
	struct drac_outcome *outcome;
	int64_t deadline_ns;
	int refusal; /* the first one; 0: none */
};

enum verdict { ACCEPTED, REFUSED, FAILED };

/* ---- handles ---------------------------------------------------------------
 */

struct drac *drac_open(const char *servers, unsigned int budget_ms)
{
	struct drac *drac;

	if (budget_ms > DRAC_BUDGET_MAX_MS) {
		drac_message("budget is above %d ms", DRAC_BUDGET_MAX_MS);
		return NULL;
	}
	if (servers == NULL)
		servers = "";
	drac = calloc(1, sizeof *drac +
			     drac_server_room(servers) * sizeof *drac->server);
	if (drac == NULL) {
		drac_message("out of memory");
		return NULL;
	}
	drac->count = drac_server_parse(servers, drac->server);
	if (drac->count == 0) {
		const struct rpc_err error = {.re_status = RPC_UNKNOWNHOST};

		drac_message_create(servers, &error);
		free(drac);
		return NULL;
	}
	pthread_mutex_init(&drac->lock, NULL);
	drac->users = 1;
	drac->kept.endpoint.fd = -1;
	drac->budget_ns =
	    (budget_ms ? budget_ms : DRAC_BUDGET_MS) * DRAC_NS_PER_MS;
	return drac;
}

void drac_hold(struct drac *drac)
{
	pthread_mutex_lock(&drac->lock);
	drac->users++;
	pthread_mutex_unlock(&drac->lock);
}

void drac_close(struct drac *drac)
{
	unsigned int users;

	if (drac == NULL)
		return;
	pthread_mutex_lock(&drac->lock);
	users = --drac->users;
	pthread_mutex_unlock(&drac->lock);
	if (users > 0)
		return;
	drac_endpoint_close(&drac->kept.endpoint);
	pthread_mutex_destroy(&drac->lock);
	free(drac);
}

/* ---- the kept connection ----------------------------------------------- */

static bool take(struct drac *drac, bool stream, struct kept *kept)
{
	bool usable;

	pthread_mutex_lock(&drac->lock);
	*kept = drac->kept;
	usable = kept->endpoint.fd >= 0 && (!stream || kept->endpoint.stream);
	if (usable)
		drac->kept.endpoint.fd = -1;
	pthread_mutex_unlock(&drac->lock);
	if (usable && kept->pid != getpid()) {
		drac_endpoint_close(&kept->endpoint);
		usable = false;
	}
	return usable;
}

/* The newest stays. */
static void keep(struct drac *drac, const struct kept *kept)
{
	struct drac_endpoint old;

	pthread_mutex_lock(&drac->lock);
	old = drac->kept.endpoint;
	drac->kept = *kept;
	pthread_mutex_unlock(&drac->lock);
	drac_endpoint_close(&old);
}

/* ---- one server ---------------------------------------------------------- */

/* A failed call says more than a connection that failed after it. */
static void note_failure(struct run *run, int kind, size_t server,
			 const struct rpc_err *error)
{
	struct drac_outcome *outcome = run->outcome;

	if (kind == DRAC_NO_SERVER && outcome->answer == DRAC_NO_ANSWER)
		return;
	outcome->answer = kind;
	outcome->server = run->drac->server[server].name;
	outcome->error = *error;
}

static enum verdict judge(struct run *run, const void *result)
{
	int answer;

	memcpy(&answer, result, sizeof answer);
	if (answer == ADD_PERM || answer == ADD_SYSERR) {
		if (run->refusal == 0)
			run->refusal = answer;
		return REFUSED;
	}
	/* No enum of the protocol is negative; ours for no answer are. */
	run->outcome->answer = answer < 0 ? ADD_UNKOWN : answer;
	return ACCEPTED;
}

/* Calls, and keeps or closes the connection. */
static enum verdict try_call(struct run *run, struct kept *kept,
			     int64_t deadline_ns)
{
	const struct drac_request *request = run->request;
	const struct drac_call *call = &request->call;
	struct rpc_err error;
	enum clnt_stat status;

	status = drac_call_run(kept->endpoint.fd, kept->endpoint.stream, call,
			       deadline_ns, &error);
	run->outcome->older =
	    status == RPC_PROGVERSMISMATCH && request->older != NULL;
	if (run->outcome->older) {
		call = request->older;
		status = drac_call_run(kept->endpoint.fd, kept->endpoint.stream,
				       call, deadline_ns, &error);
	}
	if (status != RPC_SUCCESS) {
		drac_endpoint_close(&kept->endpoint);
		note_failure(run, DRAC_NO_ANSWER, kept->server, &error);
		return FAILED;
	}
	keep(run->drac, kept);
	return judge(run, call->result);
}

static enum verdict try_address(struct run *run, size_t server,
				const struct sockaddr_storage *address,
				int64_t deadline_ns)
{
	const struct drac_request *request = run->request;
	struct kept kept = {.server = server, .pid = getpid()};
	struct rpc_err error;

	if (!drac_endpoint_open(&kept.endpoint, address, request->stream,
				request->call.version, deadline_ns, &error)) {
		note_failure(run, DRAC_NO_SERVER, server, &error);
		return FAILED;
	}
	if (request->open_only) {
		keep(run->drac, &kept);
		run->outcome->answer = 0;
		return ACCEPTED;
	}
	return try_call(run, &kept, deadline_ns);
}

/* The addresses of a server, with its port. */
static bool find_addresses(const struct drac_server *server,
			   int64_t deadline_ns, struct drac_addresses *found,
			   struct rpc_err *error)
{
	if (server->host[0] == '\0') {
		struct sockaddr_un local = {.sun_family = AF_UNIX};

		memcpy(local.sun_path, server->path, sizeof local.sun_path);
		memcpy(&found->address[0], &local, sizeof local);
		found->count = 1;
		return true;
	}
	if (!drac_lookup(server->host, deadline_ns, found, error))
		return false;
	for (size_t i = 0; i < found->count; i++)
		drac_endpoint_set_port(&found->address[i], server->port);
	return true;
}

/* When this much of the time is over, others have their turn. */
static int64_t share(int64_t deadline_ns, size_t others)
{
	int64_t now_ns = drac_now_ns();

	return now_ns + (deadline_ns - now_ns) / (int64_t)(others + 1);
}

static enum verdict try_server(struct run *run, size_t server,
			       int64_t deadline_ns)
{
	struct drac_addresses found;
	struct rpc_err error;
	enum verdict verdict = FAILED;

	if (!find_addresses(&run->drac->server[server], deadline_ns, &found,
			    &error)) {
		note_failure(run, DRAC_NO_SERVER, server, &error);
		return FAILED;
	}
	for (size_t i = 0; i < found.count && verdict == FAILED; i++)
		verdict = try_address(run, server, &found.address[i],
				      share(deadline_ns, found.count - i - 1));
	return verdict;
}

/* ---- all servers --------------------------------------------------------- */

static enum verdict try_servers(struct run *run)
{
	struct drac *drac = run->drac;
	size_t refused = drac->count;
	enum verdict verdict = FAILED;
	struct kept kept;

	/* Half of the time: the port may have changed meanwhile. */
	if (!run->request->open_only &&
	    take(drac, run->request->stream, &kept)) {
		verdict = try_call(run, &kept, share(run->deadline_ns, 1));
		if (verdict == REFUSED)
			refused = kept.server;
	}
	for (size_t i = 0; i < drac->count && verdict != ACCEPTED; i++)
		if (i != refused)
			verdict = try_server(
			    run, i,
			    share(run->deadline_ns, drac->count - i - 1));
	return verdict;
}

int drac_run(struct drac *drac, const struct drac_request *request,
	     struct drac_outcome *outcome)
{
	struct run run = {
	    .drac = drac,
	    .request = request,
	    .outcome = outcome,
	    .deadline_ns = drac_now_ns() + drac->budget_ns,
	};

	memset(outcome, 0, sizeof *outcome);
	outcome->answer = DRAC_NO_SERVER;
	if (try_servers(&run) != ACCEPTED && run.refusal != 0)
		outcome->answer = run.refusal;
	return outcome->answer;
}
