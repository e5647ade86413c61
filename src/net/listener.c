/* SPDX-License-Identifier: Apache-2.0
 * listener - see listener.h.
 */
#include "net/listener.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/text.h"
#include "net/portowner.h"

#define ADDRESSES_MAX 16 /* that one name, or one interface, may give */
#define ACCEPT_TRIES  16 /* connections that ended before they were taken */

/* -- opening ------------------------------------------------------------- */

/* One address to listen on. */
struct place {
	union {
		struct sockaddr sa;
		struct sockaddr_in in;
		struct sockaddr_in6 in6;
	} at;
	socklen_t len;
	const char *device; /* SO_BINDTODEVICE; NULL: any */
	bool again;	    /* the same address as before, another device */
};

struct places {
	struct place v[ADDRESSES_MAX];
	unsigned n;
};

static void
explain_bind(const struct place *a, uint16_t port, int err, struct nj_why *why)
{
	char where[80], owner[96];

	nj_addr_print(&a->at.sa, where, sizeof where);
	switch (err) {
	case EADDRINUSE:
		if (port_owner(port, owner, sizeof owner)) {
			why_set(why, "%s is in use by %s", where, owner);
			why_mend(why,
			    "stop that program, or choose another "
			    "port (listener PORT)");
		} else {
			why_set(why, "%s is in use by another program", where);
			why_mend(why,
			    "\"ss -ltnp\" as root shows which; or "
			    "choose another port");
		}
		break;
	case EACCES:
		why_set(
		    why, "port %u needs root or CAP_NET_BIND_SERVICE", port);
		why_mend(why,
		    "choose a port above 1023, or start as root with "
		    "\"user\" set");
		break;
	case EADDRNOTAVAIL:
		why_set(why, "%s is no address of this machine", where);
		why_mend(why,
		    "\"ip address\" lists them; without an address "
		    "the listener takes all");
		break;
	default:
		why_set(why, "listening on %s: %s", where, strerror(err));
	}
}

static void
set_port(struct place *a, uint16_t port)
{
	if (a->at.sa.sa_family == AF_INET6)
		a->at.in6.sin6_port = htons(port);
	else
		a->at.in.sin_port = htons(port);
}

static uint16_t
bound_port(int fd)
{
	union {
		struct sockaddr sa;
		struct sockaddr_in in;
		struct sockaddr_in6 in6;
	} u = { 0 };
	socklen_t n = sizeof u;

	if (getsockname(fd, &u.sa, &n) != 0)
		return 0;
	return ntohs(
	    u.sa.sa_family == AF_INET6 ? u.in6.sin6_port : u.in.sin_port);
}

/* A peer that vanished without a word is asked for after so long, for clients
 * that want no keep alive of MQTT's. */
#define KEEPALIVE_IDLE_S 600

/* A system that does not let us name the interface has the address alone. */
static bool
bind_device(int fd, const char *device)
{
	return !device ||
	    setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, device,
		(socklen_t)strlen(device)) == 0 ||
	    errno == EPERM || errno == ENOPROTOOPT;
}

/* A bound socket, or -1 with errno. */
static int
bind_one(const struct place *a, const struct listener_opts *o, bool share)
{
	int on = 1, idle = KEEPALIVE_IDLE_S, err, fd;
	int v6only = o->v6only || !o->address;
	bool v6 = a->at.sa.sa_family == AF_INET6;

	fd = socket(
	    a->at.sa.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -1;
	if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) == 0 &&
	    (!share ||
		setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on) ==
		    0) &&
	    (!v6 ||
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &v6only,
		    sizeof v6only) == 0) &&
	    bind_device(fd, a->device) &&
	    /* Accepted sockets inherit it. */
	    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) == 0 &&
	    setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on) == 0 &&
	    setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof idle) ==
		0 &&
	    bind(fd, &a->at.sa, a->len) == 0)
		return fd;
	err = errno;
	(void)close(fd);
	errno = err;
	return -1;
}

/* One socket a shard on one address. */
static enum nj_err
open_address(struct place *a, const struct listener_opts *o, struct listener *l,
    struct nj_why *why)
{
	int *fds = &l->fds[l->n * l->shards];
	int backlog = o->backlog > 0 ? o->backlog : SOMAXCONN;
	int probe, err;

	set_port(a, l->port);
	/* SO_REUSEPORT would let two brokers of one user share a port without
	 * a word: a socket without it finds out first. */
	if (l->shards > 1 && l->port) {
		if ((probe = bind_one(a, o, false)) < 0)
			goto fail;
		(void)close(probe);
	}
	for (unsigned i = 0; i < l->shards; i++) {
		if ((fds[i] = bind_one(a, o, l->shards > 1)) < 0 ||
		    listen(fds[i], backlog) != 0)
			goto fail;
		if (!l->port)
			l->port = bound_port(fds[i]);
		set_port(a, l->port);
	}
	return NJ_OK;
fail:
	err = errno;
	explain_bind(a, l->port, err, why);
	for (unsigned i = 0; i < l->shards; i++) {
		if (fds[i] >= 0)
			(void)close(fds[i]);
		fds[i] = -1;
	}
	errno = err;
	return err == EMFILE || err == ENFILE ? NJ_FULL : NJ_INVALID;
}

static void
add_where(struct listener *l, const struct place *a)
{
	size_t at = strlen(l->where);
	char one[80];

	nj_addr_print(&a->at.sa, one, sizeof one);
	(void)snprintf(l->where + at, sizeof l->where - at, "%s%s",
	    at ? " and " : "", one);
}

static bool
same_address(const struct place *a, const struct sockaddr *sa)
{
	if (a->at.sa.sa_family != sa->sa_family)
		return false;
	if (sa->sa_family == AF_INET)
		return a->at.in.sin_addr.s_addr ==
		    ((const struct sockaddr_in *)(const void *)sa)
			->sin_addr.s_addr;
	return memcmp(&a->at.in6.sin6_addr,
		   &((const struct sockaddr_in6 *)(const void *)sa)->sin6_addr,
		   sizeof a->at.in6.sin6_addr) == 0;
}

static enum nj_err
open_all(struct places *p, const struct listener_opts *o, struct listener *l,
    struct nj_why *why)
{
	struct nj_why first = { 0 }, one = { 0 };
	enum nj_err e = NJ_INVALID, bad = NJ_OK;

	for (unsigned i = 0; i < p->n; i++) {
		struct place *a = &p->v[i];

		e = open_address(a, o, l, &one);
		if (e == NJ_OK) {
			if (!a->again)
				add_where(l, a);
			l->n++;
			continue;
		}
		/* A machine without IPv6 still has the other. */
		if (!o->address && !o->device &&
		    a->at.sa.sa_family == AF_INET6 &&
		    (errno == EAFNOSUPPORT || errno == EADDRNOTAVAIL))
			continue;
		/* Where the interface could not be named, one is enough; and
		 * a link-local address is found on its interface only. */
		if (a->again)
			continue;
		if (!bad) {
			bad = e;
			first = one;
		}
	}
	if (!bad && l->n > 0)
		return NJ_OK;
	if (why)
		*why = bad ? first : one;
	return bad ? bad : e;
}

/* Adds an address; false where there is no room. */
static bool
add_place(
    struct places *p, const struct sockaddr *sa, const char *device, bool again)
{
	struct place *a = &p->v[p->n];

	for (unsigned i = 0; i < p->n && !again; i++)
		if (same_address(&p->v[i], sa))
			return true;
	if (p->n == ADDRESSES_MAX)
		return false;
	*a = (struct place){ .device = device, .again = again };
	a->len = sa->sa_family == AF_INET6 ? sizeof a->at.in6 : sizeof a->at.in;
	memcpy(&a->at, sa, a->len);
	p->n++;
	return true;
}

static enum nj_err
resolve(const struct listener_opts *o, struct places *out, struct nj_why *why)
{
	struct addrinfo hints = { .ai_family = o->family,
		.ai_socktype = SOCK_STREAM,
		.ai_flags = AI_PASSIVE };
	struct addrinfo *list = NULL;
	char esc[TEXT_ESC];
	int r = getaddrinfo(o->address, o->address ? NULL : "0", &hints, &list);

	if (r == 0) {
		for (struct addrinfo *a = list; a; a = a->ai_next)
			if (a->ai_family == AF_INET || a->ai_family == AF_INET6)
				(void)add_place(out, a->ai_addr, NULL, false);
		freeaddrinfo(list);
		return NJ_OK;
	}
	why_set(why, "address \"%s\": %s",
	    o->address ? text_esc(esc, sizeof esc, slice_str(o->address)) : "",
	    r == EAI_SYSTEM ? strerror(errno) : gai_strerror(r));
	why_mend(why, "give an address of this machine, or none to take all");
	return NJ_INVALID;
}

/* -- one interface ------------------------------------------------------- */

static bool
is_wanted(const struct listener_opts *o, const struct places *named,
    const struct sockaddr *sa)
{
	if (!sa || (sa->sa_family != AF_INET && sa->sa_family != AF_INET6) ||
	    (o->family != AF_UNSPEC && o->family != sa->sa_family))
		return false;
	for (unsigned i = 0; i < named->n; i++)
		if (same_address(&named->v[i], sa))
			return true;
	return !o->address;
}

static const char *
loopback_of(const struct ifaddrs *list)
{
	for (const struct ifaddrs *i = list; i; i = i->ifa_next)
		if (i->ifa_flags & IFF_LOOPBACK)
			return i->ifa_name;
	return NULL;
}

static bool
is_device(const struct ifaddrs *i, const char *device)
{
	return i->ifa_name && strcmp(i->ifa_name, device) == 0;
}

static void
explain_device(const struct listener_opts *o, const struct ifaddrs *list,
    struct nj_why *why)
{
	char esc[TEXT_ESC], host[TEXT_ESC];
	bool is_there = false;

	(void)text_esc(esc, sizeof esc, slice_str(o->device));
	for (const struct ifaddrs *i = list; i; i = i->ifa_next)
		is_there |= is_device(i, o->device);
	if (!is_there)
		why_set(why, "there is no interface %s", esc);
	else if (o->address)
		why_set(why, "the interface %s does not have the address %s",
		    esc, text_esc(host, sizeof host, slice_str(o->address)));
	else
		why_set(why, "the interface %s has no%s address", esc,
		    o->family == AF_INET	? " IPv4"
			: o->family == AF_INET6 ? " IPv6"
						: "");
	why_mend(
	    why, "\"ip address\" shows the interfaces and their addresses");
}

/*
 * The addresses of the interface, and only what comes in by it: an address
 * alone would be answered on any.  This machine's own programs come by the
 * loopback interface, whatever address they name.
 */
static enum nj_err
resolve_device(const struct listener_opts *o, struct places *out,
    struct ifaddrs *list, struct nj_why *why)
{
	struct places named = { .n = 0 };
	const char *self = loopback_of(list);
	enum nj_err e;

	assert(o->device);
	if (o->address && (e = resolve(o, &named, why)))
		return e;
	for (const struct ifaddrs *i = list; i; i = i->ifa_next) {
		if (!is_device(i, o->device) ||
		    !is_wanted(o, &named, i->ifa_addr))
			continue;
		(void)add_place(out, i->ifa_addr, o->device, false);
		if (self && !(i->ifa_flags & IFF_LOOPBACK))
			(void)add_place(out, i->ifa_addr, self, true);
	}
	if (out->n > 0)
		return NJ_OK;
	explain_device(o, list, why);
	return NJ_INVALID;
}

static enum nj_err
open_tcp(const struct listener_opts *o, struct listener *l, struct nj_why *why)
{
	struct ifaddrs *list = NULL;
	struct places p = { .n = 0 };
	enum nj_err e = NJ_OK;

	if (o->device && getifaddrs(&list) != 0) {
		why_set(why, "the interfaces: %s", strerror(errno));
		return NJ_INVALID;
	}
	e = o->device ? resolve_device(o, &p, list, why) : resolve(o, &p, why);
	if (e)
		goto out;
	l->port = o->any_port ? 0 : o->port;
	e = open_all(&p, o, l, why);
	/* The port the kernel chose on one address may be taken on another. */
	for (int i = 0; e && o->any_port && i < 8; i++) {
		for (unsigned k = 0; k < l->n * l->shards; k++) {
			(void)close(l->fds[k]);
			l->fds[k] = -1;
		}
		l->n = 0;
		l->port = 0;
		l->where[0] = '\0';
		e = open_all(&p, o, l, why);
	}
out:
	if (list)
		freeifaddrs(list);
	return e;
}

/* -- Unix sockets -------------------------------------------------------- */

static enum nj_err
open_unix(const struct listener_opts *o, struct listener *l, struct nj_why *why)
{
	const struct unixpath_opts u = {
		.path = o->address,
		.mode = o->mode,
		.uid = o->owned ? o->uid : (uid_t)-1,
		.gid = o->owned ? o->gid : (gid_t)-1,
		.backlog = o->backlog > 0 ? o->backlog : SOMAXCONN,
	};
	char esc[TEXT_ESC];
	enum nj_err e;

	l->n = 1;
	if ((e = unixpath_open(&u, &l->un, &l->fds[0], why)))
		return e;
	/* SO_REUSEPORT is not for these: the shards share one queue. */
	for (unsigned i = 1; i < l->shards; i++)
		if ((l->fds[i] = dup(l->fds[0])) < 0) {
			why_set(why, "no more descriptors");
			return NJ_FULL;
		}
	(void)snprintf(l->where, sizeof l->where, "unix %.120s",
	    text_esc(esc, sizeof esc, slice_str(o->address)));
	return NJ_OK;
}

/* -- the module ---------------------------------------------------------- */

enum nj_err
listener_open(const struct listener_opts *o, unsigned shards,
    struct listener *out, struct nj_why *why)
{
	struct listener l = { .shards = shards };
	bool local = o->address && o->port == 0 && !o->any_port;
	size_t n = (size_t)shards * (local ? 1 : ADDRESSES_MAX);
	enum nj_err e;

	if (!(l.fds = malloc(n * sizeof *l.fds)))
		return NJ_NOMEM;
	memset(l.fds, 0xff, n * sizeof *l.fds); /* -1: none */
	e = local ? open_unix(o, &l, why) : open_tcp(o, &l, why);
	if (e) {
		listener_close(&l);
		return e;
	}
	*out = l;
	return NJ_OK;
}

void
listener_close(struct listener *l)
{
	for (unsigned i = 0; l->fds && i < l->n * l->shards; i++)
		if (l->fds[i] >= 0)
			(void)close(l->fds[i]);
	unixpath_remove(&l->un);
	free(l->fds);
	memset(l, 0, sizeof *l);
}

enum nj_err
listener_accept(int fd, bool nodelay, int *out, char *peer, size_t peer_size)
{
	struct sockaddr_storage ss = { 0 };
	socklen_t n = sizeof ss;
	int off = 0, got = -1;

	for (int i = 0; i < ACCEPT_TRIES && got < 0; i++) {
		n = sizeof ss;
		got = accept4(fd, (struct sockaddr *)&ss, &n,
		    SOCK_NONBLOCK | SOCK_CLOEXEC);
		if (got >= 0)
			break;
		if (errno == EAGAIN || errno == EWOULDBLOCK)
			return NJ_AGAIN;
		if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS ||
		    errno == ENOMEM)
			return NJ_FULL;
		if (errno == EBADF || errno == EINVAL || errno == ENOTSOCK ||
		    errno == EOPNOTSUPP || errno == EFAULT)
			return NJ_IO;
		/* ECONNABORTED and whatever else the network reports of the
		 * connection, not of us (accept(2)). */
	}
	if (got < 0)
		return NJ_AGAIN;
	if (!nodelay && ss.ss_family != AF_UNIX)
		(void)setsockopt(
		    got, IPPROTO_TCP, TCP_NODELAY, &off, sizeof off);
	if (ss.ss_family == AF_UNIX)
		unixpath_peer(got, peer, peer_size);
	else
		nj_addr_print((struct sockaddr *)&ss, peer, peer_size);
	*out = got;
	return NJ_OK;
}

bool
listener_is(const struct listener *l, struct slice name)
{
	char port[8];

	(void)snprintf(port, sizeof port, "%u", l->port);
	return slice_is(name, l->where) || (l->port && slice_is(name, port)) ||
	    (strncmp(l->where, "unix ", 5) == 0 &&
		slice_is(name, l->where + 5));
}
