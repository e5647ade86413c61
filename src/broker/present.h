/* SPDX-License-Identifier: Apache-2.0
 * present - who is connected as which user, for the answers of dynamic
 *           security to getClient and listClients.
 *
 * Owns:    what it found.
 * Threads: any but a shard's: it waits for shards, PRESENT_PATIENCE_MS.
 * Bounds:  PRESENT_MAX clients a shard; who is beyond that is not told of.
 */
#ifndef NJ_BROKER_PRESENT_H
#define NJ_BROKER_PRESENT_H

#include "auth/rolebase.h"
#include "broker/inspect.h"

#define PRESENT_MAX	    20000u
#define PRESENT_PATIENCE_MS 2000u

/* Zeroed: nothing is known. */
struct present {
	struct client_list list;
	struct rolebase_here *v;
	size_t n;
};

/* Looks, if the commands ask for it, and says so in *who, which borrows from
 * *p.  Without memory, or when shards are too busy, nothing is known. */
void present_look(struct present *p, struct broker *b, struct slice commands,
    struct rolebase_admin *who);
void present_fini(struct present *p);

#endif
