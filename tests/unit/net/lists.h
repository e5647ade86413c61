/* SPDX-License-Identifier: Apache-2.0
 * lists - lists of revoked certificates for the tests of TLS, listeners that have them,
 *         and whom these let in.
 *
 * Owns:    nothing; see site.h.
 * Threads: one test.
 */
#ifndef NJ_TEST_NET_LISTS_H
#define NJ_TEST_NET_LISTS_H

#include "net/tls_foreign.h"
#include "net/tls_impl.h"
#include "site.h"

#define DAY 86400L

/* Requires certificates of cas.pem; crlfile: of the folder, or NULL. */
struct tls_server *
reloaded(const char *crlfile, const struct tls_server *previous);
struct tls_server *server_of(const char *crlfile);
/* Because of that. */
void refuses_to_start(const char *crlfile, const char *word);
void renew(struct tls_server *t);
/* Lists whose signature was found good when they were read, and those whose CA a
 * handshake has shown. */
size_t known(const struct tls_revoked *r);
size_t met(const struct tls_revoked *r);
/* With this word in the log; "": any. */
void refused(struct tls_server *t, const char *client, const char *word);
void let_in(struct tls_server *t, const char *client);
/* Neither by a ticket nor anew. */
void stays_out(struct tls_server *t, struct tls_client *c);

/* That CA's, with one on it; not signed yet. */
X509_CRL *list_of(const char *ca, const char *revoked);
void append(const char *to, const char *from);
void tamper(const X509_CRL *crl);

#endif
