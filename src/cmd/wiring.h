/* SPDX-License-Identifier: Apache-2.0
 * wiring - from a configuration to the open ports, certificates and
 *          authenticators that the broker is handed.
 *
 * Owns:    the open listeners, and the password files until the chains have
 *          them.
 * Threads: the main thread.
 */
#ifndef NJ_CMD_WIRING_H
#define NJ_CMD_WIRING_H

#include "base/workers.h"
#include "broker/opts.h"
#include "conf/conf.h"
#include "net/listener.h"

struct wiring {
	struct listener *listeners; /* one each of the configuration */
	size_t n;
	unsigned shards;
	struct secret **passphrases; /* of their keys, NULL where none; kept
					 * for reloads */
	char *ca_dir;		     /* our own CA's; NULL: none */
	char *ca_list;		     /* its list of revoked ones */
	struct est_opts est;	     /* for listeners that enrol */
	struct tls_staples *staples; /* of certificates with a responder */
};

/* Opens every listener; NJ_IO and the like with *why naming the line.  user is
 * who will serve, whose Unix sockets then are; NULL: whoever we are. */
NJ_MUST enum nj_err wiring_open(const struct conf *c, const char *user,
    unsigned shards, struct wiring *w, struct nj_why *why);
void wiring_close(struct wiring *w);

/*
 * Ports for the broker: certificates loaded, chains built.  old is what the
 * broker has now (a reload), or NULL.  The references in (*out)[i] are the
 * caller's until the broker takes them; wiring_ports_free drops them.
 */
NJ_MUST enum nj_err
wiring_ports(const struct conf *c, struct wiring *w, struct workers *workers,
    const struct port_opts *old, struct port_opts **out, struct nj_why *why);
/* What a reload read of users, groups and roles holds from now on. */
void wiring_adopt(const struct port_opts *v, size_t n);
void wiring_ports_free(struct port_opts *v, size_t n);

void wiring_limits(const struct conf *c, struct broker_limits *out);

#endif
