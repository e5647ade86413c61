/* SPDX-License-Identifier: Apache-2.0
 * hash - SipHash-1-3 with a per-process random key, for tables whose keys a
 *        peer chooses; and fast mixing for keys it does not.
 *
 * Threads: hash_seed once at start (tests seed with a constant); then
 *          read-only.
 */
#ifndef NJ_BASE_HASH_H
#define NJ_BASE_HASH_H

#include <stdint.h>

#include "base/slice.h"

void hash_seed(uint64_t k0, uint64_t k1);
/* A key from the kernel's random source. */
void hash_seed_random(void);
uint64_t hash_bytes(struct slice s);

#endif
