/* SPDX-License-Identifier: Apache-2.0
 * listener - bound sockets, one for every shard.
 *
 * Owns:    its descriptors and a Unix socket's path (removed when closed, if
 *          it is still ours).
 * Threads: opened and closed by the main thread; each shard accepts on its own
 *          descriptor.
 */
#ifndef NJ_NET_LISTENER_H
#define NJ_NET_LISTENER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/slice.h"
#include "net/unixpath.h"

struct listener_opts {
	const char *address; /* name or address; NULL: all; for port 0 the
				 * path of a Unix socket */
	uint16_t port;	     /* 0: Unix socket */
	bool any_port;	     /* port 0 means: let the kernel choose (tests) */
	const char *device;  /* only addresses of this interface, and only what
			      * comes in by it or from this machine */
	int family;	     /* AF_UNSPEC, AF_INET, AF_INET6 */
	int backlog;
	bool v6only;   /* address "::" takes no IPv4 (without an address
			 * there is a socket of each kind anyway) */
	unsigned mode; /* of a Unix socket's path; 0: UNIXPATH_MODE */
	bool owned;    /* give the path to */
	uid_t uid;
	gid_t gid;
};

/* A name may give several sockets (127.0.0.1 and ::1): n * shards of them. */
struct listener {
	int *fds; /* [i * shards + shard] */
	unsigned n, shards;
	uint16_t port;	 /* as bound */
	char where[128]; /* for the log: "0.0.0.0:8883", "unix /run/x" */
	struct unixpath un;
};

/* *why says who holds the port where that can be found, and what to do. */
NJ_MUST enum nj_err listener_open(const struct listener_opts *o,
    unsigned shards, struct listener *out, struct nj_why *why);
void listener_close(struct listener *l);
/* Whether people call it so: "8883", "0.0.0.0:8883", "/run/x". */
bool listener_is(const struct listener *l, struct slice name);
/*
 * One connection, non-blocking and close-on-exec; NJ_AGAIN when none waits;
 * NJ_FULL when the process or machine is out of descriptors.  peer is the
 * printed address, port included ("[::1]:4711", "unix (process 812, user 1000)").  Sockets come with
 * TCP_NODELAY from their listener, so that nodelay costs no system call.
 */
NJ_MUST enum nj_err
listener_accept(int fd, bool nodelay, int *out, char *peer, size_t peer_size);
/* For clients: connects with a deadline; resolves names (blocking). */
NJ_MUST enum nj_err dial_tcp(const char *host, uint16_t port,
    const char *bind_address, int timeout_ms, int *out, struct nj_why *why);
NJ_MUST enum nj_err dial_unix(const char *path, int *out, struct nj_why *why);

#endif
