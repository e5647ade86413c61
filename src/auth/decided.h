/* SPDX-License-Identifier: Apache-2.0
 * decided - what decide() said of late about one client and its topics.
 *
 * An answer holds under the epochs it was given under (epoch.h): who the client
 * is, the rules of its listener, the state of the roles.  When one of them is
 * another all answers are forgotten, so a change takes effect at once.
 *
 * Owns:    copies of topics.
 * Threads: its session's shard.
 * Bounds:  DECIDED_WAYS topics of at most DECIDED_TOPIC_MAX bytes; the oldest
 *          makes place.  No memory before the first question.
 */
#ifndef NJ_AUTH_DECIDED_H
#define NJ_AUTH_DECIDED_H

#include "auth/decide.h"

#define DECIDED_WAYS	  8u
#define DECIDED_TOPIC_MAX 256u

struct decided;

/* NULL without memory, which is as good, but slower. */
struct decided *decided_new(void);
void decided_free(struct decided *d); /* NULL is fine */
/* decide(), for publishing and receiving; d may be NULL.  What *why points to
 * lives as long as a's rules. */
bool decided_ask(struct decided *d, const struct asker *a, enum action what,
    struct slice topic, struct decision *why);

#endif
