/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd/port.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdint.h>
#include <sys/socket.h>
#include <unistd.h>

#include "net/portowner.h"

static void
say_holder(unsigned port, struct nj_why *why)
{
	char who[160];

	if (port_owner((uint16_t)port, who, sizeof(who)))
		why_set(why, "port %u is taken: %s listens there", port, who);
	else
		why_set(why, "port %u is taken by another program%s", port,
		    geteuid() == 0 ? "" : ", one of another user");
	why_mend(why,
	    "end that program, or choose another port with "
	    "--port %u",
	    port < 65535 ? port + 1 : port - 1);
}

static enum nj_err
try_bind(int family, unsigned port)
{
	struct sockaddr_in6 in6 = { .sin6_family = AF_INET6,
		.sin6_port = htons((uint16_t)port),
		.sin6_addr = in6addr_any };
	struct sockaddr_in in = { .sin_family = AF_INET,
		.sin_port = htons((uint16_t)port),
		.sin_addr.s_addr = htonl(INADDR_ANY) };
	const struct sockaddr *sa = (const struct sockaddr *)&in;
	socklen_t size = sizeof(in);
	enum nj_err e = NJ_OK;
	int on = 1, off = 0, fd;

	if ((fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0)) < 0)
		return NJ_UNSUPPORTED;
	/* As servers do, so that connections that just ended do not count. */
	(void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (family == AF_INET6) {
		(void)setsockopt(
		    fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off));
		sa = (const struct sockaddr *)&in6;
		size = sizeof(in6);
	}
	if (bind(fd, sa, size) != 0 || listen(fd, 1) != 0)
		e = errno == EADDRINUSE ? NJ_BUSY
		    : errno == EACCES	? NJ_DENIED
					: NJ_UNSUPPORTED;
	(void)close(fd);
	return e;
}

enum nj_err
port_check(unsigned port, struct nj_why *why)
{
	enum nj_err e = try_bind(AF_INET6, port);

	if (e == NJ_UNSUPPORTED) /* no IPv6 here */
		e = try_bind(AF_INET, port);
	if (e == NJ_BUSY) {
		say_holder(port, why);
	} else if (e == NJ_DENIED) {
		why_set(why, "only root may listen on port %u", port);
		why_mend(why,
		    "choose one from 1024 on: nightjar up --port "
		    "8883");
	} else {
		e = NJ_OK; /* what else there is, the listener itself says */
	}
	return e;
}
