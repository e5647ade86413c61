/* SPDX-License-Identifier: Apache-2.0
 * srv - where DNS says a domain's MQTT brokers are.
 *
 * Owns:    nothing.
 * Threads: any; srv_lookup blocks.
 * Bounds:  SRV_MAX targets; more are not looked at.
 * Trust:   the answer is whoever's who can write DNS: it says where to
 *          connect, never which name a certificate must have (RFC 6125 6.2.1).
 * Spec:    RFC 2782.
 */
#ifndef NJ_NET_SRV_H
#define NJ_NET_SRV_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/rand.h"
#include "base/slice.h"

#define SRV_MAX	 32
#define SRV_NAME 256

struct srv_target {
	uint16_t priority, weight, port;
	char host[SRV_NAME];
};

struct srv_list {
	char domain[SRV_NAME]; /* that the records are of */
	unsigned n;
	struct srv_target v[SRV_MAX];
};

/*
 * _mqtt._tcp of the domain, with TLS _secure-mqtt._tcp, in the order in which
 * they are to be tried.  domain NULL: those of resolv.conf.  NJ_NOTFOUND: there
 * are none, or the domain says that there is no broker.
 */
NJ_MUST enum nj_err srv_lookup(const char *domain, bool tls, int timeout_ms,
    struct srv_list *out, struct nj_why *why);

/* For srv_lookup and its tests: the records of a DNS message, as they come. */
NJ_MUST enum nj_err
srv_take_answer(struct slice msg, const char *service, struct srv_list *out);
/* By priority, and among equals by chance and weight. */
void srv_order(struct srv_list *l, struct rng *r);

#endif
