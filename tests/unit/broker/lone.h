/* SPDX-License-Identifier: Apache-2.0
 * lone - a shard without its broker, and a store that is the test's: it says that it
 *        is in whatever state, and does nothing.
 *
 * Owns:    the shard; lone_end frees it.
 * Threads: the test's.
 */
#ifndef NJ_TESTS_BROKER_LONE_H
#define NJ_TESTS_BROKER_LONE_H

#include "broker/shard.h"
#include "store/store.h"

struct lone {
	struct shard *shard;
	struct index *index;
	struct store *store;	/* not to be looked into */
	enum store_state state; /* of it */
};

extern struct lone lone;

/* One of so many shards, with nothing in it; its clock shows 1000. */
NJ_MUST enum nj_err lone_begin(unsigned shards);
/* Its sessions are gone, and nothing of it is with the store. */
void lone_end(void);
/* So much later: its timers, and what it does with its store once a turn. */
void lone_turn(unsigned after_ms);
/* A session that has its place in the store. */
NJ_MUST enum nj_err lone_kept(const char *id, struct session **out);

#endif
