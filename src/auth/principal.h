/* SPDX-License-Identifier: Apache-2.0
 * principal - who a client was found to be.
 *
 * Owns:    copies of its strings, in its own allocation; reference counted.
 * Threads: immutable once shared; any thread may hold a reference.
 */
#ifndef NJ_AUTH_PRINCIPAL_H
#define NJ_AUTH_PRINCIPAL_H

#include <stdatomic.h>
#include <stdbool.h>

#include "auth/enrolling.h"
#include "base/cidr.h"
#include "base/err.h"
#include "base/slice.h"

struct principal {
	atomic_uint refs;
	uint64_t epoch;	      /* by principal_new; epoch.h */
	bool bridge;	      /* said so in CONNECT; nothing proves it */
	struct slice name;    /* proved user name; empty: anonymous */
	struct slice claimed; /* the user name of CONNECT, proved or not */
	struct slice client_id;
	struct slice address;  /* printed, with port */
	struct slice listener; /* printed */
	struct slice subject;  /* of the certificate; empty: none */
	struct slice device;   /* the ID its own CA gave it; empty: none */
	struct slice groups;   /* each ended by '\n' */
	/* address for comparing (cidr.h), by principal_new; a Unix socket has
	 * none */
	uint8_t ip[CIDR_BYTES];
	bool has_ip;
	bool has_topics;     /* it may use only those */
	struct slice topics; /* of its token; see auth/jwt.h */
	int64_t expires;     /* Unix seconds; 0: it does not */
	bool certified;	     /* a certificate says the name */
	enum enrolling right;
	struct slice enrols; /* with that: which device; empty: none */
	struct slice token;  /* with ENROLLING_NEW: the hash of its token */
	const char *by;	     /* the authenticator that said so; static */
	uint8_t text[];
};

/* The same, to be changed in some of it and copied; borrows from p. */
void principal_view(const struct principal *p, struct principal *out);
/* Copies the slices of *from (refs and ip are ignored). */
NJ_MUST enum nj_err
principal_new(const struct principal *from, struct principal **out);
struct principal *principal_ref(struct principal *p);
void principal_unref(struct principal *p); /* NULL is fine */
/* A printed address for comparing: "192.0.2.1:4711", "[::1]:4711". */
bool principal_address(struct slice printed, uint8_t ip[CIDR_BYTES]);

#endif
