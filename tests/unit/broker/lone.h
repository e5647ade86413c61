/* SPDX-License-Identifier: Apache-2.0
 * lone - a shard with as much of a broker as it asks for, and a store that is the
 *        test's: it says that it is in whatever state, takes batches, and does nothing.
 *
 * Owns:    the shard; lone_end frees it.
 * Threads: the test's.
 */
#ifndef NJ_TESTS_BROKER_LONE_H
#define NJ_TESTS_BROKER_LONE_H

#include "broker/internal.h"
#include "broker/shard.h"
#include "store/store.h"

struct lone {
	struct shard *shard;
	struct broker broker; /* of so many shards, of which it has that one */
	struct index *index;
	struct store *store;	/* not to be looked into */
	enum store_state state; /* of it */
	struct store_batch *given[BATCHES_OUT];
	unsigned n_given; /* with the store */
};

extern struct lone lone;

/* One of so many shards, with nothing in it; its clock shows 1000. */
NJ_MUST enum nj_err lone_begin(unsigned shards);
/* Its sessions are gone; that something of it is with the store fails the test. */
void lone_end(void);
/* So much later: its timers, and what it does with its store once a turn. */
void lone_turn(unsigned after_ms);
/* All that is with the store is on disk. */
void lone_stored(void);
/* A session that has its place in the store. */
NJ_MUST enum nj_err lone_kept(const char *id, struct session **out);
/* lone_begin, with such a session, "a", and a message of QoS 2 to "t". */
NJ_MUST enum nj_err
lone_begin_with(unsigned shards, struct session **s, struct msg **m);
/* For the link of a client that the test looks at. */
void lone_on_kick(struct link *l);
void lone_on_flush(struct link *l);

#endif
