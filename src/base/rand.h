/* SPDX-License-Identifier: Apache-2.0
 * rand - randomness from the kernel, and a seedable source for code that must
 *        be replayable.
 *
 * Threads: rand_bytes any; a struct rng belongs to one owner.
 */
#ifndef NJ_BASE_RAND_H
#define NJ_BASE_RAND_H

#include <stddef.h>
#include <stdint.h>

/* Never fails: aborts when the kernel has no randomness. */
void rand_bytes(void *p, size_t n);

/* xorshift; for choices, never for secrets. */
struct rng {
	uint64_t s;
};

void rng_seed(struct rng *r, uint64_t seed);
uint64_t rng_next(struct rng *r);

#endif
