/* SPDX-License-Identifier: Apache-2.0
 * listener - see listener.h.
 */
#include "net/listener.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/text.h"
#include "net/portowner.h"

#define ADDRESSES_MAX 16 /* that one name may give */
#define ACCEPT_TRIES  16 /* connections that ended before they were taken */

/* -- opening ------------------------------------------------------------- */

static void
explain_bind(
    const struct addrinfo *a, uint16_t port, int err, struct nj_why *why)
{
	char where[80], owner[96];

	nj_addr_print(a->ai_addr, where, sizeof where);
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
set_port(struct sockaddr *sa, uint16_t port)
{
	if (sa->sa_family == AF_INET6)
		((struct sockaddr_in6 *)(void *)sa)->sin6_port = htons(port);
	else
		((struct sockaddr_in *)(void *)sa)->sin_port = htons(port);
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

/* A bound socket, or -1 with errno. */
static int
bind_one(const struct addrinfo *a, const struct listener_opts *o, bool share)
{
	int on = 1, idle = KEEPALIVE_IDLE_S, err, fd;
	int v6only = o->v6only || !o->address;

	fd =
	    socket(a->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -1;
	if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) == 0 &&
	    (!share ||
		setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on) ==
		    0) &&
	    (a->ai_family != AF_INET6 ||
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &v6only,
		    sizeof v6only) == 0) &&
	    (!o->device ||
		setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, o->device,
		    (socklen_t)strlen(o->device)) == 0) &&
	    /* Accepted sockets inherit it. */
	    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) == 0 &&
	    setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on) == 0 &&
	    setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof idle) ==
		0 &&
	    bind(fd, a->ai_addr, a->ai_addrlen) == 0)
		return fd;
	err = errno;
	(void)close(fd);
	errno = err;
	return -1;
}

/* One socket a shard on one address. */
static enum nj_err
open_address(const struct addrinfo *a, const struct listener_opts *o,
    struct listener *l, struct nj_why *why)
{
	int *fds = &l->fds[l->n * l->shards];
	int backlog = o->backlog > 0 ? o->backlog : SOMAXCONN;
	int probe, err;

	set_port(a->ai_addr, l->port);
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
		set_port(a->ai_addr, l->port);
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
add_where(struct listener *l, const struct addrinfo *a)
{
	size_t at = strlen(l->where);
	char one[80];

	nj_addr_print(a->ai_addr, one, sizeof one);
	(void)snprintf(l->where + at, sizeof l->where - at, "%s%s",
	    at ? " and " : "", one);
}

static bool
same_address(const struct addrinfo *a, const struct addrinfo *b)
{
	return a->ai_addrlen == b->ai_addrlen &&
	    memcmp(a->ai_addr, b->ai_addr, a->ai_addrlen) == 0;
}

static enum nj_err
open_all(struct addrinfo *list, const struct listener_opts *o,
    struct listener *l, struct nj_why *why)
{
	struct nj_why first = { 0 }, one = { 0 };
	enum nj_err e = NJ_INVALID, bad = NJ_OK;

	for (struct addrinfo *a = list; a; a = a->ai_next) {
		struct addrinfo *b = list;

		while (b != a && !same_address(a, b))
			b = b->ai_next;
		if (b != a || l->n == ADDRESSES_MAX)
			continue;
		e = open_address(a, o, l, &one);
		if (e == NJ_OK) {
			add_where(l, a);
			l->n++;
			continue;
		}
		/* A machine without IPv6 still has the other. */
		if (!o->address && a->ai_family == AF_INET6 &&
		    (errno == EAFNOSUPPORT || errno == EADDRNOTAVAIL))
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

static enum nj_err
resolve(
    const struct listener_opts *o, struct addrinfo **out, struct nj_why *why)
{
	struct addrinfo hints = { .ai_family = o->family,
		.ai_socktype = SOCK_STREAM,
		.ai_flags = AI_PASSIVE };
	char esc[TEXT_ESC];
	int r = getaddrinfo(o->address, o->address ? NULL : "0", &hints, out);

	if (r == 0)
		return NJ_OK;
	why_set(why, "address \"%s\": %s",
	    o->address ? text_esc(esc, sizeof esc, slice_str(o->address)) : "",
	    r == EAI_SYSTEM ? strerror(errno) : gai_strerror(r));
	why_mend(why, "give an address of this machine, or none to take all");
	return NJ_INVALID;
}

static enum nj_err
open_tcp(const struct listener_opts *o, struct listener *l, struct nj_why *why)
{
	struct addrinfo *list = NULL;
	enum nj_err e = resolve(o, &list, why);

	if (e)
		return e;
	l->port = o->any_port ? 0 : o->port;
	e = open_all(list, o, l, why);
	/* The port the kernel chose on one address may be taken on another. */
	for (int i = 0; e && o->any_port && i < 8; i++) {
		for (unsigned k = 0; k < l->n * l->shards; k++) {
			(void)close(l->fds[k]);
			l->fds[k] = -1;
		}
		l->n = 0;
		l->port = 0;
		l->where[0] = '\0';
		e = open_all(list, o, l, why);
	}
	freeaddrinfo(list);
	return e;
}

/* -- Unix sockets -------------------------------------------------------- */

/* Whether somebody serves there already. */
static bool
unix_alive(const struct sockaddr_un *un)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	int r;

	if (fd < 0)
		return false;
	r = connect(fd, (const struct sockaddr *)un, sizeof *un);
	r = r == 0 || errno == EAGAIN;
	(void)close(fd);
	return r;
}

static enum nj_err
unix_clear(const struct sockaddr_un *un, const char *esc, struct nj_why *why)
{
	struct stat st;

	if (lstat(un->sun_path, &st) != 0)
		return NJ_OK;
	if (!S_ISSOCK(st.st_mode)) {
		why_set(why, "%s exists and is no socket", esc);
		why_mend(why, "choose another path, or move the file away");
		return NJ_INVALID;
	}
	if (unix_alive(un)) {
		why_set(why, "%s is served by another program", esc);
		why_mend(why, "stop that program, or choose another path");
		return NJ_INVALID;
	}
	(void)unlink(un->sun_path); /* left by one that ended badly */
	return NJ_OK;
}

static enum nj_err
open_unix(const struct listener_opts *o, struct listener *l, struct nj_why *why)
{
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	char esc[TEXT_ESC];
	struct stat st;
	enum nj_err e;

	(void)text_esc(esc, sizeof esc, slice_str(o->address));
	if (strlen(o->address) >= sizeof un.sun_path) {
		why_set(why, "the socket path %s is longer than %zu bytes", esc,
		    sizeof un.sun_path - 1);
		return NJ_INVALID;
	}
	memcpy(un.sun_path, o->address, strlen(o->address) + 1);
	if ((e = unix_clear(&un, esc, why)))
		return e;
	if (!(l->path = strdup(o->address)))
		return NJ_NOMEM;
	l->n = 1;
	l->fds[0] =
	    socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (l->fds[0] < 0 ||
	    bind(l->fds[0], (struct sockaddr *)&un, sizeof un) != 0 ||
	    (o->mode && chmod(un.sun_path, o->mode) != 0) ||
	    lstat(un.sun_path, &st) != 0 ||
	    listen(l->fds[0], o->backlog > 0 ? o->backlog : SOMAXCONN) != 0)
		goto fail;
	l->path_dev = st.st_dev;
	l->path_ino = st.st_ino;
	l->path_made = st.st_mtim;
	/* SO_REUSEPORT is not for these: the shards share one queue. */
	for (unsigned i = 1; i < l->shards; i++)
		if ((l->fds[i] = dup(l->fds[0])) < 0)
			goto fail;
	(void)snprintf(l->where, sizeof l->where, "unix %.120s", esc);
	return NJ_OK;
fail:
	why_set(why, "listening on %s: %s", esc, strerror(errno));
	why_mend(why, "the folder must exist and be writable for this user");
	return NJ_INVALID;
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
	struct stat st;

	for (unsigned i = 0; l->fds && i < l->n * l->shards; i++)
		if (l->fds[i] >= 0)
			(void)close(l->fds[i]);
	if (l->path && l->path_ino && lstat(l->path, &st) == 0 &&
	    st.st_dev == l->path_dev && st.st_ino == l->path_ino &&
	    st.st_mtim.tv_sec == l->path_made.tv_sec &&
	    st.st_mtim.tv_nsec == l->path_made.tv_nsec)
		(void)unlink(l->path);
	free(l->fds);
	free(l->path);
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
	nj_addr_print((struct sockaddr *)&ss, peer, peer_size);
	*out = got;
	return NJ_OK;
}
