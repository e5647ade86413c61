/* SPDX-License-Identifier: Apache-2.0 */
#include "auth/homes.h"

#include <stdatomic.h>
#include <stdlib.h>

#include "base/hash.h"

#define WAYS 4u

struct homes {
	_Atomic uint64_t v[HOMES_MAX]; /* hashes; 0: free */
};

enum nj_err
homes_new(struct homes **out)
{
	/* pages that nobody writes to take no memory */
	*out = calloc(1, sizeof(**out));
	return *out ? NJ_OK : NJ_NOMEM;
}

void
homes_free(struct homes *h)
{
	free(h);
}

static uint64_t
key_of(struct slice name, struct slice address)
{
	uint64_t h = hash_bytes(name);

	if (address.n == 16)
		address.n = 8;
	else if (address.n != 4)
		address = LIT("here");
	return (h << 21 | h >> 43) ^ hash_bytes(address);
}

bool
homes_has(const struct homes *h, struct slice name, struct slice address)
{
	uint64_t k = key_of(name, address);
	size_t from = k % (HOMES_MAX / WAYS) * WAYS;

	for (size_t i = from; i < from + WAYS; i++)
		if (atomic_load_explicit(&h->v[i], memory_order_relaxed) == k)
			return k != 0;
	return false;
}

void
homes_add(struct homes *h, struct slice name, struct slice address)
{
	uint64_t k = key_of(name, address);
	size_t from = k % (HOMES_MAX / WAYS) * WAYS;

	if (homes_has(h, name, address))
		return;
	for (size_t i = from; i < from + WAYS; i++)
		if (atomic_load_explicit(&h->v[i], memory_order_relaxed) == 0) {
			atomic_store_explicit(
			    &h->v[i], k, memory_order_relaxed);
			return;
		}
	/* the upper bits say which makes place: they are nobody's choice */
	atomic_store_explicit(
	    &h->v[from + (k >> 62) % WAYS], k, memory_order_relaxed);
}
