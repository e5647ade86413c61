/* SPDX-License-Identifier: Apache-2.0
 * tail - the part of a kept session's queue that is on disk only.
 *
 * While the client is away all of its queue is there; while it is connected,
 * what finds no place in memory.  It is read in pages, in order, behind what is
 * in memory.
 *
 * Threads: the home shard.
 */
#ifndef NJ_CORE_TAIL_H
#define NJ_CORE_TAIL_H

#include "core/session.h"

/* d, which is an entry, is on disk only from now on. */
void tail_put(struct session *s, struct delivery *d);
/* The same for all of the queue in memory: the client has gone. */
void tail_take_queue(struct session *s);
/* Whether another entry goes to the queue in memory. */
bool tail_keeps(const struct session *s);
/* Whether a message has to stand behind entries of the session. */
static inline bool
tail_first(const struct session *s)
{
	return s->kept->tail_n > 0 || s->home->keep->part != NULL;
}
/* Whether the first entry of the queue in memory may be sent. */
bool tail_may_send(struct session *s);
/* Whether a page is wanted: little is left in memory. */
bool tail_wants(const struct session *s);
/* Then it is asked for. */
void tail_ask(struct session *s);
/* The oldest, which is dropped; false: there is none that may. */
bool tail_drop_oldest(struct session *s);
/* One that a page brought goes elsewhere. */
void tail_gives(struct session *s, const struct delivery *d);
/* A page has come: n entries, moved.  There is no other from from to below
 * upto. */
void tail_page(struct session *s, struct delivery *v, uint32_t n, uint64_t from,
    uint64_t upto);

#endif
