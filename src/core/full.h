/* SPDX-License-Identifier: Apache-2.0
 * full - which filters have a subscriber whose queue is full, so that a
 *        publisher can be refused before anybody gets its message.
 *
 * Only with the drop policy DROP_REFUSE.
 *
 * Threads: full_check and full_forget: the session's shard; filter_full: any.
 */
#ifndef NJ_CORE_FULL_H
#define NJ_CORE_FULL_H

#include "core/session.h"

/* The session's queue has changed.  It marks all its subscriptions when it is
 * full from now on, or not any more; subs_put and subs_del see to what comes and
 * goes meanwhile. */
void full_check(struct session *s);
/* Its queue counts no more. */
void full_forget(struct session *s);
/* A racy reading, and it knows no sizes: what is taken because of it has a place
 * beyond the limits (msg.promised). */
bool filter_full(const struct filter *f);

#endif
