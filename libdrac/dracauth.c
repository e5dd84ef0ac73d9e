/*
 * dracauth: the classic calls of DRAC 1.12 and the stubs that its library
 * showed, with the same return codes and texts. Each call is a request of the
 * bounded client; the only state is the process's two connections.
 */
#include <arpa/inet.h>
#include <pthread.h>
#include <string.h>

#include "client.h"
#include "drac.h"
#include "drac_prot.h"
#include "message.h"

enum { STUB_TIMEOUT_S = 25 }; /* of what rpcgen makes */

/* One address, as version 1 or as version 2. */
struct add {
	struct drac_request request;
	drac_add_parm v4;
	drac_add_parm6 v6;
	addstat answer;
};

static pthread_mutex_t connection_lock = PTHREAD_MUTEX_INITIALIZER;
static struct drac *connection4, *connection6;

static void say(char **errmsg, const char *text)
{
	if (errmsg != NULL)
		*errmsg = (char *)text;
}

/* ---- requests ------------------------------------------------------------ */

static void prepare(struct add *add, uint32_t version)
{
	memset(add, 0, sizeof *add);
	add->request.call = (struct drac_call){
	    .program = DRACPROG,
	    .version = version,
	    .procedure = DRACPROC_ADD,
	    .decode = (xdrproc_t)xdr_addstat,
	    .result = &add->answer,
	    .result_size = sizeof add->answer,
	};
}

static void prepare4(struct add *add, unsigned long userip)
{
	prepare(add, DRACVERS);
	/* Some callers pass a struct in_addr: only 32 bits are defined. */
	add->v4.ip_addr = ntohl((uint32_t)userip);
	add->request.call.encode = (xdrproc_t)xdr_drac_add_parm;
	add->request.call.arguments = &add->v4;
}

static void prepare6(struct add *add, const unsigned char *userip6)
{
	prepare(add, DRACVERS6);
	memcpy(add->v6.ip_addr6, userip6, sizeof add->v6.ip_addr6);
	add->request.call.encode = (xdrproc_t)xdr_drac_add_parm6;
	add->request.call.arguments = &add->v6;
}

static int report(const struct drac_outcome *outcome, char **errmsg)
{
	switch (outcome->answer) {
	case DRAC_NO_SERVER:
		say(errmsg,
		    drac_message_create(outcome->server, &outcome->error));
		return outcome->answer;
	case DRAC_NO_ANSWER:
		say(errmsg, drac_outcome_message("call failed", outcome));
		return outcome->answer;
	case ADD_SUCCESS:
		say(errmsg, "Server reports add succeeded");
		return outcome->answer;
	case ADD_PERM:
		say(errmsg, "Server reports permission denied");
		return outcome->answer;
	case ADD_SYSERR:
		say(errmsg, "Server reports system error");
		return outcome->answer;
	default:
		say(errmsg, "Server reports unknown error");
		return ADD_UNKOWN;
	}
}

static int auth(const char *server, struct add *add, char **errmsg)
{
	struct drac *drac = drac_open(server, DRAC_BUDGET_MS);
	struct drac_outcome outcome;
	int result;

	if (drac == NULL) {
		say(errmsg, drac_message_last());
		return DRAC_NO_SERVER;
	}
	drac_run(drac, &add->request, &outcome);
	result = report(&outcome, errmsg);
	drac_close(drac);
	return result;
}

/* ---- connections --------------------------------------------------------- */

/* Puts another one, or none, in its place; returns the old one. */
static struct drac *exchange(struct drac **connection, struct drac *drac)
{
	struct drac *old;

	pthread_mutex_lock(&connection_lock);
	old = *connection;
	*connection = drac;
	pthread_mutex_unlock(&connection_lock);
	return old;
}

static int conn(struct drac **connection, const char *server, uint32_t version,
		char **errmsg)
{
	struct drac *drac = drac_open(server, DRAC_BUDGET_MS);
	struct drac_outcome outcome = {.answer = DRAC_NO_SERVER};
	const struct drac_request request = {
	    .call.version = version,
	    .open_only = true,
	};

	if (drac == NULL) {
		say(errmsg, drac_message_last());
	} else if (drac_run(drac, &request, &outcome) == 0) {
		say(errmsg, "Connect succeeded");
	} else {
		report(&outcome, errmsg);
		drac_close(drac);
		drac = NULL;
	}
	drac_close(exchange(connection, drac));
	return outcome.answer;
}

static int transmit(struct drac **connection, struct add *add, char **errmsg)
{
	struct drac_outcome outcome;
	struct drac *drac;
	int result;

	pthread_mutex_lock(&connection_lock);
	drac = *connection;
	if (drac != NULL)
		drac_hold(drac);
	pthread_mutex_unlock(&connection_lock);
	if (drac == NULL) {
		say(errmsg, "Not connected");
		return DRAC_NO_SERVER;
	}
	/* It was connected: whatever fails now is the call. */
	if (drac_run(drac, &add->request, &outcome) == DRAC_NO_SERVER)
		outcome.answer = DRAC_NO_ANSWER;
	result = report(&outcome, errmsg);
	drac_close(drac);
	return result;
}

static int disc(struct drac **connection, char **errmsg)
{
	struct drac *drac = exchange(connection, NULL);

	if (drac == NULL) {
		say(errmsg, "Not connected");
		return DRAC_NO_SERVER;
	}
	drac_close(drac);
	say(errmsg, "Disconnect succeeded");
	return 0;
}

/* ---- the eight calls -------------------------------------------------------
 */

int dracauth(const char *server, unsigned long userip, char **errmsg)
{
	struct add add;

	prepare4(&add, userip);
	return auth(server, &add, errmsg);
}

int dracauth6(const char *server, const unsigned char *userip6, char **errmsg)
{
	struct add add;

	prepare6(&add, userip6);
	return auth(server, &add, errmsg);
}

int dracconn(const char *server, char **errmsg)
{
	return conn(&connection4, server, DRACVERS, errmsg);
}

int dracconn6(const char *server, char **errmsg)
{
	return conn(&connection6, server, DRACVERS6, errmsg);
}

int dracsend(unsigned long userip, char **errmsg)
{
	struct add add;

	prepare4(&add, userip);
	return transmit(&connection4, &add, errmsg);
}

int dracsend6(const unsigned char *userip6, char **errmsg)
{
	struct add add;

	prepare6(&add, userip6);
	return transmit(&connection6, &add, errmsg);
}

int dracdisc(char **errmsg)
{
	return disc(&connection4, errmsg);
}

int dracdisc6(char **errmsg)
{
	return disc(&connection6, errmsg);
}

/* ---- stubs on the caller's own CLIENT --------------------------------------
 */

static addstat *stub(CLIENT *client, xdrproc_t encode, void *argument)
{
	static _Thread_local addstat answer;
	const struct timeval timeout = {.tv_sec = STUB_TIMEOUT_S};

	memset(&answer, 0, sizeof answer);
	return clnt_call(client, DRACPROC_ADD, encode, argument,
			 (xdrproc_t)xdr_addstat, (caddr_t)&answer,
			 timeout) == RPC_SUCCESS
		   ? &answer
		   : NULL;
}

addstat *dracproc_add_1(drac_add_parm *argument, CLIENT *client)
{
	return stub(client, (xdrproc_t)xdr_drac_add_parm, argument);
}

addstat *dracproc_add_2(drac_add_parm6 *argument, CLIENT *client)
{
	return stub(client, (xdrproc_t)xdr_drac_add_parm6, argument);
}
