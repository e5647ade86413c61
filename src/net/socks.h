/* SPDX-License-Identifier: Apache-2.0
 * socks - connecting through a SOCKS5 proxy, for clients.
 *
 * Owns:    nothing; the options are borrowed for the call.
 * Threads: any; blocks up to the deadline.
 * Bounds:  names of SOCKS_TEXT_MAX bytes, in what is sent and what comes.
 * Trust:   the proxy sees where we go, and is trusted with nothing else: TLS
 *          goes through it end to end.
 * Spec:    RFC 1928, CONNECT only; RFC 1929.
 */
#ifndef NJ_NET_SOCKS_H
#define NJ_NET_SOCKS_H

#include <stdint.h>

#include "base/err.h"
#include "base/secret.h"

#define SOCKS_PORT     1080
#define SOCKS_TEXT_MAX 255

struct socks_opts {
	const char *host;
	uint16_t port;
	const char *user;	       /* NULL: no authentication is offered */
	const struct secret *password; /* NULL: an empty one */
};

/* As dial_tcp; the proxy resolves host. */
NJ_MUST enum nj_err
dial_socks(const struct socks_opts *o, const char *host, uint16_t port,
    const char *bind_address, int timeout_ms, int *out, struct nj_why *why);

#endif
