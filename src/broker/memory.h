/* SPDX-License-Identifier: Apache-2.0
 * memory - the heap against memory_limit.
 *
 * Above the limit new connections and new messages are refused; what is there
 * is served, and it goes on by itself once clients have taken their messages.
 *
 * Threads: memory_check shard 0; memory_full any.
 * Bounds:  looked at once a second, so the heap may pass the limit by what a
 *          second brings.
 */
#ifndef NJ_BROKER_MEMORY_H
#define NJ_BROKER_MEMORY_H

#include <stdbool.h>
#include <stdint.h>

#include "broker/internal.h"

/* Bytes handed out by malloc and not given back. */
uint64_t memory_heap(void);
/* limit 0: none. */
void memory_check(struct broker *b, uint64_t limit);

static inline bool
memory_full(struct broker *b)
{
	return atomic_load_explicit(&b->memory_full, memory_order_relaxed);
}

#endif
