/* SPDX-License-Identifier: Apache-2.0
 * queue - deliveries that wait for room in the window or for the client.
 *
 * Owns:    its deliveries.  Zeroed: empty.
 * Threads: the home shard.
 * Bounds:  the caller's (count and bytes are kept for it).
 */
#ifndef NJ_CORE_QUEUE_H
#define NJ_CORE_QUEUE_H

#include "core/delivery.h"

/* Some of them; none of it moves when another is needed. */
struct queue_block;

struct queue {
	uint32_t n;
	uint32_t n0;	     /* of them, at QoS 0 */
	uint32_t head, tail; /* in the first block; behind, in the last */
	struct queue_block *first, *last;
	uint64_t bytes;
};

/* Moves *d in on NJ_OK. */
NJ_MUST enum nj_err queue_push(struct queue *q, const struct delivery *d);
/* The oldest; NULL: there is none. */
struct delivery *queue_first(const struct queue *q);
/* Moves the oldest out; false when empty. */
bool queue_pop(struct queue *q, struct delivery *out);
/* The oldest whose key is above that one, or that has none; NULL: there is none. */
struct delivery *queue_above(const struct queue *q, uint64_t key);
/* Moves it out; false: there is none.  Work: those before it. */
bool queue_pop_above(struct queue *q, uint64_t key, struct delivery *out);
/* Moves out all for which takes says so, the oldest first; the rest stays in order, and
 * no memory is needed.  takes leaves the queue alone. */
void queue_sift(
    struct queue *q, bool (*takes)(void *arg, struct delivery *d), void *arg);
/* Those that came by this shared subscription came by none. */
void queue_forget_share(struct queue *q, uint8_t share);
void queue_clear(struct queue *q);

#endif
