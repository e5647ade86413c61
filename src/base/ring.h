/* SPDX-License-Identifier: Apache-2.0
 * ring - room for a queue in one array: n things of one size from head on, and from
 *        the array's end on at its start again.
 *
 * The queue is its owner's: it indexes with & (cap - 1), cap being a power of two, or
 * 0 for no array yet.
 * Threads: the owner's.  Errors: NULL is want of memory, and nothing has changed.
 */
#ifndef NJ_BASE_RING_H
#define NJ_BASE_RING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* An empty one of more bytes than these gives them back. */
#define RING_KEPT ((size_t)1024 * 1024)

/* Instead of v, which is freed: twice the room, new things zero, and what is there from
 * index 0 on; *cap is the new one. */
void *
ring_double(void *v, size_t size, uint32_t head, uint32_t n, uint32_t *cap);

/* Whether an array of so many is worth freeing, as nothing is in it. */
static inline bool
ring_is_large(size_t size, uint32_t cap)
{
	return (uint64_t)size * cap > RING_KEPT;
}

#endif
