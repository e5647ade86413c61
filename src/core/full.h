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

/* The session's queue, or its subscriptions, have changed. */
void full_check(struct session *s);
/* Its subscriptions are about to change; full_check follows. */
void full_forget(struct session *s);
/* A racy reading: one more may slip in. */
bool filter_full(const struct filter *f);

#endif
