/* SPDX-License-Identifier: Apache-2.0
 * pool - blocks that are taken and given back millions of times a second, kept
 *        on a list of the thread that gave them back.
 *
 * About a third of what malloc and free cost for a message: no shared bins,
 * no coalescing, and the block that is in the cache comes first.  Large ones
 * would also go back to the system again and again, and cost faults.
 *
 * Owns:    up to POOL_KEEP bytes a size class and thread, and POOL_KEEP_LARGE of
 *          all that are larger than POOL_BLOCK; they are freed when the thread
 *          ends.
 * Threads: any; a block may be given back by another thread than took it.
 * Bounds:  blocks of at most POOL_LARGE bytes are kept, others go to free.
 * Note:    built with AddressSanitizer nothing is kept, so that it sees every
 *          use after the end.
 */
#ifndef NJ_BASE_POOL_H
#define NJ_BASE_POOL_H

#include <stddef.h>

#define POOL_BLOCK	512
#define POOL_KEEP	131072
#define POOL_LARGE	131072
#define POOL_KEEP_LARGE 1048576

/* NULL without memory.  Not cleared. */
void *pool_get(size_t size);
/* size as it was asked for. */
void pool_put(void *p, size_t size);

#endif
