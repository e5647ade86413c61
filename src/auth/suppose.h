/* SPDX-License-Identifier: Apache-2.0
 * suppose - what would be decided about somebody who is not here, in words.
 *
 * Owns:    nothing.
 * Threads: any; pure.
 */
#ifndef NJ_AUTH_SUPPOSE_H
#define NJ_AUTH_SUPPOSE_H

#include "auth/decide.h"

struct supposed {
	struct slice user; /* proved; empty: anonymous */
	struct slice client_id;
	struct slice address;  /* an IP address; empty: not known */
	struct slice listener; /* "0.0.0.0:8883", or only "8883" */
	struct slice groups;   /* each ended by '\n' */
	struct slice topics;   /* of its token; jwt.h */
	bool has_topics;
	enum action what;
	struct slice topic;
};

/* "publish", "subscribe", "receive". */
bool suppose_action(struct slice word, enum action *out);
/* NJ_INVALID: an address or topic that is none. */
NJ_MUST enum nj_err suppose_check(const struct supposed *s, struct nj_why *why);
/* Of what passed that check.  rules: its acl (and roles) are asked; who and
 * client_id are not looked at. */
bool suppose_decide(
    const struct supposed *s, const struct asker *rules, struct decision *out);
/* A sentence: "user 'alice' may publish to 'a/b'". */
void suppose_text(const struct supposed *s, bool may,
    const struct decision *why, char *dst, size_t size);

#endif
