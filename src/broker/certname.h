/* SPDX-License-Identifier: Apache-2.0
 * certname - what a client's certificate says of it on its listener: its name,
 *            the identifiers that are its own, the address it was made for.
 *
 * Threads: the connection's shard.
 */
#ifndef NJ_BROKER_CERTNAME_H
#define NJ_BROKER_CERTNAME_H

#include "broker/conn.h"

struct principal;

/* The name; empty: none.  Borrowed from the connection or its port. */
struct slice certname_of(const struct conn *c);
/* The ID that our own CA gave it, where the port's clients come from that;
 * empty: none. */
struct slice certname_device(const struct conn *c);
/* There is a certificate that was found good, whether or not it has a name. */
bool certname_has(const struct conn *c);
/* Why a client may not come from where it does (peer_check), for the log; NULL:
 * it may. */
const char *certname_objection(const struct conn *c);
/* Which identifiers who may have (certificate_clientid); CERT_ID_OWN, _SAME or
 * _ANY. */
enum cert_id certname_binds(const struct conn *c, const struct principal *who);
bool certname_is_own(enum cert_id how, struct slice name, struct slice id);

#endif
