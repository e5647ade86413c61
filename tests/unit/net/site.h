/* SPDX-License-Identifier: Apache-2.0
 * site - a CA, a broker's and some devices' certificates, and both ends of
 *        TLS made of them.
 *
 * Owns:    struct certs certs, made by site_init.
 * Threads: site_init first; then any.
 */
#ifndef NJ_TEST_NET_SITE_H
#define NJ_TEST_NET_SITE_H

#include "certs.h"
#include "pair.h"

extern struct certs certs;

enum { PLAIN = 0, MTLS = 1, CRL = 2, WANT = 4, NO_TICKETS = 8, ONLY13 = 16 };

void site_init(void);
struct tls_server *
server_new(unsigned flags, const struct tls_server *previous);
/* cert: NULL or a name; max: 12, 13 or 0. */
struct tls_client *client_new(const char *cert, int max);
/* Both handshakes end well. */
void must(struct pair *p);
/* One whole connection with a word each way; whether it resumed. */
bool visit(struct tls_server *t, struct tls_client *c);

#endif
