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

struct queue {
	uint32_t n;
	uint32_t n0; /* of them, at QoS 0 */
	uint32_t head, cap;
	struct delivery *v; /* ring */
	uint64_t bytes;
};

/* Moves *d in on NJ_OK. */
NJ_MUST enum nj_err queue_push(struct queue *q, const struct delivery *d);
/* Moves the oldest out; false when empty. */
bool queue_pop(struct queue *q, struct delivery *out);
void queue_clear(struct queue *q);

#endif
