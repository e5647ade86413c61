/* SPDX-License-Identifier: Apache-2.0
 * overdue - messages that were acknowledged to their sender and found no memory
 *           for a place in a session's queue.  They wait here, in memory that was
 *        there before, until there is some.
 *
 * While a session has one here, everything for it goes this way, so that the
 * order stays.
 *
 * Owns:    their references.
 * Threads: the home shard.
 * Bounds:  OVERDUE_MAX a shard, then they are dropped and counted.
 */
#ifndef NJ_CORE_OVERDUE_H
#define NJ_CORE_OVERDUE_H

#include "core/delivery.h"

#define OVERDUE_MAX 1024

struct session;
struct home;

struct overdue_one {
	uint64_t session;  /* its number: it may be gone by then */
	struct delivery d; /* without a message: look at its queue again */
};

/* A ring.  Zeroed: empty. */
struct overdue {
	uint32_t at, n;
	struct overdue_one v[OVERDUE_MAX];
};

/* Moves *d in; NULL: only a look at the queue.  NJ_FULL: not taken. */
NJ_MUST enum nj_err overdue_keep(struct session *s, const struct delivery *d);
/* Once a turn: as many as there is memory for. */
void overdue_retry(struct home *h);
void overdue_clear(struct overdue *l);

#endif
