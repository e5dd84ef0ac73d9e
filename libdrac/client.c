/*
 * client: handles and the order in which servers are tried. The only state
 * that threads share is the kept connection; whoever needs it takes it out of
 * the handle, others open one of their own meanwhile.
 */
#include "client.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
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

/* Whether the key file of no name may be there or not, and this one is not. */
static bool may_go_unsigned(const struct drac_server *server, int number)
{
	return server->key_name[0] == '\0' && server->key_path[0] == '\0' &&
	       (number == ENOENT || number == ENOTDIR || number == EACCES);
}

/*
 * What calls of the server are signed with. *use: key, or NULL for nothing.
 * The file is read for each call, so that a new one needs no restart. False:
 * fault says what is wrong.
 */
static bool find_key(const struct drac_server *server,
		     struct drac_sign_key *key,
		     const struct drac_sign_key **use,
		     char fault[DRAC_FAULT_MAX])
{
	const char *path =
	    server->key_path[0] != '\0' ? server->key_path : DRAC_SIGN_FILE;
	char why[DRAC_SIGN_FAULT_MAX];

	*use = NULL;
	if (server->host[0] == '\0')
		return true;
	if (drac_sign_read(path, geteuid(), (gid_t)-1, key, why) != NULL) {
		if (may_go_unsigned(server, errno))
			return true;
		snprintf(fault, DRAC_FAULT_MAX, "%.*s: %s", DRAC_KEY_PATH_MAX,
			 path, why);
		return false;
	}
	*use = key;
	if (key->name[0] == '\0')
		memcpy(key->name, server->key_name, sizeof key->name);
	if (key->name[0] == '\0')
		snprintf(fault, DRAC_FAULT_MAX,
			 "%.*s: no name of the key before the secret",
			 DRAC_KEY_PATH_MAX, path);
	else if (server->key_name[0] != '\0' &&
		 strcmp(server->key_name, key->name) != 0)
		snprintf(fault, DRAC_FAULT_MAX, "%.*s: it has key %s, not %s",
			 DRAC_KEY_PATH_MAX, path, key->name, server->key_name);
	else
		return true;
	explicit_bzero(key, sizeof *key);
	return false;
}

static enum clnt_stat call_signed(struct run *run, const struct kept *kept,
				  const struct drac_sign_key *key,
				  const struct drac_call **call,
				  int64_t deadline_ns, struct rpc_err *error)
{
	const struct drac_request *request = run->request;
	enum clnt_stat status;

	*call = &request->call;
	status = drac_call_run(kept->endpoint.fd, kept->endpoint.stream, *call,
			       key, deadline_ns, error);
	run->outcome->older =
	    status == RPC_PROGVERSMISMATCH && request->older != NULL;
	if (!run->outcome->older)
		return status;
	*call = request->older;
	return drac_call_run(kept->endpoint.fd, kept->endpoint.stream, *call,
			     key, deadline_ns, error);
}

/* Calls, and keeps or closes the connection. */
static enum verdict try_call(struct run *run, struct kept *kept,
			     int64_t deadline_ns)
{
	const struct drac_call *call = NULL;
	const struct drac_sign_key *key = NULL;
	struct drac_sign_key room;
	char fault[DRAC_FAULT_MAX] = "", name[sizeof room.name] = "";
	struct rpc_err error;
	enum clnt_stat status;

	if (find_key(&run->drac->server[kept->server], &room, &key, fault)) {
		status =
		    call_signed(run, kept, key, &call, deadline_ns, &error);
		if (key != NULL) {
			memcpy(name, key->name, sizeof name);
			explicit_bzero(&room, sizeof room);
		}
	} else {
		status = drac_fail(&error, RPC_AUTHERROR, 0);
	}
	if (status != RPC_SUCCESS) {
		drac_endpoint_close(&kept->endpoint);
		note_failure(run, DRAC_NO_ANSWER, kept->server, &error);
		memcpy(run->outcome->key, name, sizeof name);
		memcpy(run->outcome->fault, fault, sizeof fault);
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
	bool stream = request->stream || run->drac->server[server].stream;
	struct kept kept = {.server = server, .pid = getpid()};
	struct rpc_err error;

	if (!drac_endpoint_open(&kept.endpoint, address, stream,
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

char *drac_outcome_message(const char *prefix,
			   const struct drac_outcome *outcome)
{
	char text[DRAC_SIGN_FAULT_MAX];

	if (outcome->fault[0] != '\0')
		return drac_message("%s: %s", prefix, outcome->fault);
	if (outcome->key[0] == '\0' ||
	    outcome->error.re_status != RPC_AUTHERROR)
		return drac_message_call(prefix, &outcome->error);
	if (outcome->error.re_why == AUTH_INVALIDRESP)
		return drac_message(
		    "%s: the server's answer is not signed by key %s", prefix,
		    outcome->key);
	snprintf(text, sizeof text, "%s",
		 drac_message_call(prefix, &outcome->error));
	return drac_message("%s; key %s", text, outcome->key);
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
