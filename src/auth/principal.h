/* SPDX-License-Identifier: Apache-2.0
 * principal - who a connection is, once that has been established.
 *
 * Owns:    copies of all its strings, in one allocation.
 * Threads: immutable; references may be taken and given back anywhere.
 * Bounds:  what the slices given to principal_new have.
 */
#ifndef NJ_AUTH_PRINCIPAL_H
#define NJ_AUTH_PRINCIPAL_H

#include <stdatomic.h>
#include <stdbool.h>

#include "base/err.h"
#include "base/slice.h"

/* What vouches for the name. */
enum principal_by {
	BY_NOTHING,	/* anonymous: name is empty */
	BY_PASSWORD,
	BY_CERTIFICATE
};

struct principal {
	atomic_uint refs;
	enum principal_by by;
	bool bridge;	/* said so in CONNECT; nothing proves it */
	struct slice name;
	struct slice claimed;	/* the user name in CONNECT, proved or not */
	struct slice client_id;
	struct slice address;	/* of the peer, in text */
	struct slice listener;
	struct slice cert_subject, cert_cn;	/* empty without certificate */
};

/* Copies what is filled in; refs is ignored.  principal_unref. */
NJ_MUST enum nj_err principal_new(const struct principal *what,
    struct principal **out);
struct principal *principal_ref(struct principal *p);
void principal_unref(struct principal *p);

#endif
