/* SPDX-License-Identifier: Apache-2.0
 * hash - SipHash-1-3 with a per-process random key, for tables whose keys a
 *        peer chooses; and one without a key, for shortcuts.
 *
 * Threads: hash_seed once at start (tests seed with a constant); then
 *          read-only.
 */
#ifndef NJ_BASE_HASH_H
#define NJ_BASE_HASH_H

#include <stdint.h>
#include <string.h>

#include "base/slice.h"

void hash_seed(uint64_t k0, uint64_t k1);
/* A key from the kernel's random source. */
void hash_seed_random(void);
uint64_t hash_bytes(struct slice s);

/*
 * Quick, and not keyed: where whoever makes keys collide loses nothing but a
 * shortcut.
 */
static inline uint64_t
hash_quick(struct slice s)
{
	const uint64_t k = UINT64_C(0x9fb21c651e98df25);
	uint64_t h = s.n * k, v;
	size_t i = 0;

	for (; i + 8 <= s.n; i += 8) {
		memcpy(&v, s.p + i, 8);
		h = (h ^ v) * k;
		h ^= h >> 32;
	}
	if (s.n >= 8) {
		memcpy(&v, s.p + s.n - 8, 8); /* overlaps */
		h = (h ^ v) * k;
	} else {
		for (; i < s.n; i++)
			h = (h ^ s.p[i]) * k;
	}
	/* The last bytes stand in the high bits; the place is in the low. */
	h = (h ^ h >> 32) * k;
	return h ^ h >> 29;
}

#endif
