/* mailclient: see mailclient.h. */
#include "mailclient.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>

#include "text.h"

enum { V4_AT = 12 }; /* where a v4-mapped address has its four bytes */

static bool write_v6(const struct in6_addr *address,
		     char out[DRAC_ADDRESS_SIZE])
{
	const char *text =
	    IN6_IS_ADDR_V4MAPPED(address)
		? inet_ntop(AF_INET, &address->s6_addr[V4_AT], out,
			    DRAC_ADDRESS_SIZE)
		: inet_ntop(AF_INET6, address, out, DRAC_ADDRESS_SIZE);
	return text != NULL;
}

static bool write_v4(const struct in_addr *address, char out[DRAC_ADDRESS_SIZE])
{
	return inet_ntop(AF_INET, address, out, DRAC_ADDRESS_SIZE) != NULL;
}

bool mailclient_from_text(const char *text, char out[DRAC_ADDRESS_SIZE])
{
	struct in_addr v4;
	struct in6_addr v6;

	out[0] = '\0';
	if (text == NULL)
		return false;
	if (inet_pton(AF_INET, text, &v4) == 1)
		return write_v4(&v4, out);
	return inet_pton(AF_INET6, text, &v6) == 1 && write_v6(&v6, out);
}

bool mailclient_from_peer(int fd, char out[DRAC_ADDRESS_SIZE])
{
	struct sockaddr_storage peer;
	struct sockaddr_in v4;
	struct sockaddr_in6 v6;
	socklen_t len = sizeof peer;

	out[0] = '\0';
	memset(&peer, 0, sizeof peer);
	if (getpeername(fd, (struct sockaddr *)&peer, &len) != 0)
		return false;
	memcpy(&v4, &peer, sizeof v4);
	memcpy(&v6, &peer, sizeof v6);
	if (peer.ss_family == AF_INET)
		return write_v4(&v4.sin_addr, out);
	return peer.ss_family == AF_INET6 && write_v6(&v6.sin6_addr, out);
}

const char *mailclient_name(const char *name, size_t max)
{
	size_t len = name ? strnlen(name, max + 1) : 0;

	return len <= max && text_is_clean(name, len) ? name : NULL;
}
