/* SPDX-License-Identifier: Apache-2.0
 * alias - outbound topic aliases of one connection.
 *
 * Aliases are given in the order of first use; once all are given, a new topic
 * takes over one of them, so that the table goes on as a small cache of what
 * is busy.
 *
 * Owns:    one reference on a message of each topic it knows.
 * Threads: the home shard.
 * Bounds:  the lower of the client's Topic Alias Maximum and ours.
 * Spec:    MQTT 5.0 3.1.2.11.5, 3.3.2.3.4.
 */
#ifndef NJ_CORE_ALIAS_H
#define NJ_CORE_ALIAS_H

#include <stdbool.h>
#include <stdint.h>

#include "core/msg.h"

struct alias_slot {
	uint64_t hash;
	struct msg *msg; /* any message of that topic */
};

/* Zeroed: gives none. */
struct aliases {
	struct alias_slot *slots; /* alias - 1; made at first use */
	uint16_t *index;	  /* aliases by hash; 0: free */
	uint32_t index_cap;
	uint16_t max, n;
};

void aliases_fini(struct aliases *a);
/* The alias of m's topic; *known when the client has it already.  0: none
 * (no aliases, or no memory). */
uint16_t aliases_find(
    struct aliases *a, const struct msg *m, bool *known, uint64_t *hash);
/* The client was told: alias, as found, now stands for m's topic. */
void
aliases_set(struct aliases *a, uint16_t alias, struct msg *m, uint64_t hash);

#endif
