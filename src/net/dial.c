/* SPDX-License-Identifier: Apache-2.0
 * dial - connecting, for clients; declared in listener.h.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/text.h"
#include "net/listener.h"
#include "net/portowner.h"

static enum nj_err
resolve(
    const char *host, uint16_t port, struct addrinfo **out, struct nj_why *why)
{
	struct addrinfo hints = { .ai_family = AF_UNSPEC,
		.ai_socktype = SOCK_STREAM,
		.ai_flags = AI_ADDRCONFIG };
	char service[8], esc[TEXT_ESC];
	int r;

	(void)snprintf(service, sizeof service, "%u", port);
	r = getaddrinfo(host, service, &hints, out);
	if (r == EAI_NONAME || r == EAI_ADDRFAMILY) {
		/* ADDRCONFIG hides loopback on a machine without network. */
		hints.ai_flags = 0;
		r = getaddrinfo(host, service, &hints, out);
	}
	if (r == 0)
		return NJ_OK;
	why_set(why, "no address is known for \"%s\": %s",
	    text_esc(esc, sizeof esc, slice_str(host)),
	    r == EAI_SYSTEM ? strerror(errno) : gai_strerror(r));
	if (strstr(host, "://"))
		why_mend(why,
		    "write the host alone (-h HOST -p PORT), without what "
		    "stands before :// and with it");
	else if (host[0] == '[' && strchr(host, ']'))
		why_mend(why,
		    "write the address without brackets: -h %.*s (they are "
		    "for URLs: mqtts://[ADDRESS]:PORT)",
		    (int)strcspn(host + 1, "]"), host + 1);
	else if (strchr(host, ':'))
		why_mend(why, "give the port apart: -h HOST -p PORT");
	else
		why_mend(why,
		    "look at the spelling of the host's name, or use its "
		    "address");
	return NJ_NOTFOUND;
}

/* 0, or an errno. */
static int
wait_connected(int fd, int64_t left_ms)
{
	struct pollfd p = { .fd = fd, .events = POLLOUT };
	int err = 0, r;
	socklen_t n = sizeof err;

	do
		r = poll(&p, 1, left_ms > 0 ? (int)left_ms : 0);
	while (r < 0 && errno == EINTR);
	if (r == 0)
		return ETIMEDOUT;
	if (r < 0 || getsockopt(fd, SOL_SOCKET, SO_ERROR, &err, &n) != 0)
		return errno;
	return err;
}

static int
bind_from(int fd, int family, const char *address)
{
	struct addrinfo hints = { .ai_family = family,
		.ai_socktype = SOCK_STREAM,
		.ai_flags = AI_PASSIVE };
	struct addrinfo *a = NULL;
	int err = 0;

	if (getaddrinfo(address, NULL, &hints, &a) != 0)
		return EADDRNOTAVAIL;
	if (bind(fd, a->ai_addr, a->ai_addrlen) != 0)
		err = errno;
	freeaddrinfo(a);
	return err;
}

/* A connected descriptor, or minus an errno. */
static int
try_one(const struct addrinfo *a, const char *bind_address, uint64_t deadline)
{
	int on = 1, err = 0, fd;

	fd =
	    socket(a->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
	if (bind_address)
		err = bind_from(fd, a->ai_family, bind_address);
	if (!err && connect(fd, a->ai_addr, a->ai_addrlen) != 0)
		err = errno == EINPROGRESS
		    ? wait_connected(
			  fd, (int64_t)(deadline - clock_mono(&clock_system)))
		    : errno;
	if (!err)
		return fd;
	(void)close(fd);
	return -err;
}

static void
explain(const char *host, uint16_t port, int err, struct nj_why *why)
{
	char esc[TEXT_ESC];

	(void)text_esc(esc, sizeof esc, slice_str(host));
	switch (err) {
	case ECONNREFUSED:
		why_set(why, "nothing listens on %s port %u", esc, port);
		why_mend(why,
		    "look whether the broker runs, and on which "
		    "port");
		break;
	case ETIMEDOUT:
		why_set(why, "%s port %u does not answer", esc, port);
		why_mend(why,
		    "a firewall may drop the packets, or the address "
		    "may be wrong");
		break;
	case EINVAL:
		/* what Linux says of an address of a link, without the link */
		why_set(why, "connecting to %s port %u: %s", esc, port,
		    strerror(err));
		why_mend(why,
		    "addresses that begin with fe80 need the interface behind "
		    "them: fe80::1%%eth0 (\"ip link\" lists them); better, "
		    "connect to another address or name of the broker");
		break;
	case EADDRNOTAVAIL:
		why_set(why,
		    "the address to connect from is no address of "
		    "this machine");
		why_mend(why, "\"ip address\" lists them");
		break;
	default:
		why_set(why, "connecting to %s port %u: %s", esc, port,
		    strerror(err));
	}
}

enum nj_err
dial_tcp(const char *host, uint16_t port, const char *bind_address,
    int timeout_ms, int *out, struct nj_why *why)
{
	uint64_t deadline = clock_mono(&clock_system) +
	    (uint64_t)(timeout_ms > 0 ? timeout_ms : 0);
	struct addrinfo *list = NULL;
	int r = -ETIMEDOUT;
	enum nj_err e = resolve(host, port, &list, why);

	if (e)
		return e;
	for (const struct addrinfo *a = list; a && r < 0; a = a->ai_next) {
		if (a != list && clock_mono(&clock_system) >= deadline)
			break;
		r = try_one(a, bind_address, deadline);
	}
	freeaddrinfo(list);
	if (r >= 0) {
		*out = r;
		return NJ_OK;
	}
	explain(host, port, -r, why);
	errno = -r;
	return -r == ETIMEDOUT ? NJ_TIMEOUT : NJ_IO;
}

enum nj_err
dial_unix(const char *path, int *out, struct nj_why *why)
{
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	size_t n = strlen(path);
	char esc[TEXT_ESC];
	int fd;

	(void)text_esc(esc, sizeof esc, slice_str(path));
	if (n >= sizeof un.sun_path) {
		why_set(why, "the socket path %s is longer than %zu bytes", esc,
		    sizeof un.sun_path - 1);
		return NJ_INVALID;
	}
	memcpy(un.sun_path, path, n + 1);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd >= 0 && connect(fd, (struct sockaddr *)&un, sizeof un) == 0) {
		*out = fd;
		return NJ_OK;
	}
	why_set(why, "connecting to %s: %s", esc, strerror(errno));
	why_mend(why, "look whether the broker runs and listens there");
	if (fd >= 0)
		(void)close(fd);
	return NJ_IO;
}
