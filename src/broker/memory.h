/* SPDX-License-Identifier: Apache-2.0
 * memory - the heap against memory_limit.
 *
 * Above the limit new connections and new messages are refused; what is there
 * is served, and it goes on by itself once clients have taken their messages.
 *
 * Threads: memory_check shard 0; memory_full any.
 * Bounds:  looked at once a second, so the heap may pass the limit by what a
 *          second brings.
 * Cost:    what is resident or swapped out the system knows.  What of it is
 *          handed out only malloc does, who looks at each free block, 0.1 s for
 *          a million of them: it is asked when more is used than the limit, and
 *          the more seldom the longer it took.
 */
#ifndef NJ_BROKER_MEMORY_H
#define NJ_BROKER_MEMORY_H

#include <stdbool.h>
#include <stdint.h>

#include "broker/internal.h"

/* Before the broker's files are out of reach; memory_fini. */
void memory_init(struct broker *b);
void memory_fini(struct broker *b);
/* Bytes of memory that are the process's own: nothing that the system would have
 * to count, whatever else the heap is full of. */
uint64_t memory_heap(const struct broker *b);
/* limit 0: none. */
void memory_check(struct broker *b, uint64_t limit);

static inline bool
memory_full(struct broker *b)
{
	return atomic_load_explicit(&b->memory_full, memory_order_relaxed);
}

#endif
