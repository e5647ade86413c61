/* SPDX-License-Identifier: Apache-2.0
 * jwt - JSON Web Tokens: who signed them, for whom, until when, and what they
 *       say of a client.
 *
 * Owns:    a checked token's strings (jwt_fini).
 * Threads: pure.
 * Bounds:  JWT_MAX bytes, JWT_SKEW_MAX seconds, JWT_GROUPS_MAX groups and
 *          JWT_TOPICS_MAX filters.
 * Spec:    RFC 7519, RFC 7515 (compact form), RFC 8725.
 */
#ifndef NJ_AUTH_JWT_H
#define NJ_AUTH_JWT_H

#include <stdbool.h>
#include <stdint.h>

#include "auth/jwk.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/slice.h"

#define JWT_MAX	       16384
#define JWT_SKEW_MAX   300
#define JWT_GROUPS_MAX 64
#define JWT_GROUP_MAX  255
#define JWT_TOPICS_MAX 256
#define JWT_NAME_MAX   1024

/* What is asked of a token; NULL: not asked. */
struct jwt_rules {
	const struct jwk_set *keys;
	const char *issuer;   /* iss is it */
	const char *audience; /* aud is or has it; without, aud must not be */
	uint32_t skew_s;      /* that clocks may differ */
	/* claims by name; username is required to be there, the others count
	 * only if they are named here */
	const char *username, *client_id, *groups, *topics;
};

struct jwt {
	int64_t expires; /* Unix seconds, with the skew: no longer */
	bool has_topics; /* only those */
	struct buf name, client_id;
	struct buf groups; /* each ended by '\n' */
	struct buf topics; /* each 'P' or 'S', the filter and '\n' */
};

/* Whether a password looks like a token, good or not. */
bool jwt_looks_like_one(struct slice s);
/*
 * Checks a token.  NJ_MALFORMED: it is none.  NJ_DENIED: not for us, or not
 * signed by whom we know.  NJ_TIMEOUT: good once, or not yet.  *why says what
 * is wrong, and has nothing of the token in it that would be of use.
 */
NJ_MUST enum nj_err jwt_check(struct slice token, const struct jwt_rules *r,
    int64_t now, struct jwt *out, struct nj_why *why);
void jwt_fini(struct jwt *t);

/* Whether a list as above lets publish to a name, or receive by it. */
bool jwt_topics_allow(struct slice topics, bool publish, struct slice name);
/* Whether something of what matches the filter may be received; *each: not
 * all. */
bool jwt_topics_cover(struct slice topics, struct slice filter, bool *each);

#endif
