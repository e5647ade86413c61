/* SPDX-License-Identifier: Apache-2.0
 * index_impl - what index.c and index_subs.c share.
 *
 * Threads: lock guards the tree's writers, the lists of targets and filters;
 *          the atomics are counters for index_stats.
 */
#ifndef NJ_CORE_INDEX_IMPL_H
#define NJ_CORE_INDEX_IMPL_H

#include <pthread.h>

#include "core/index.h"
#include "core/tree.h"

struct index {
	/* Moves, after the fact, whenever a filter comes or goes.  Read for
	 * every message, so not on a line with what writers write more. */
	_Alignas(64) _Atomic(uint64_t) changes;
	struct tree tree;
	pthread_mutex_t lock;
	uint64_t filters;
	_Atomic(uint64_t) subscriptions, bytes;
	unsigned shards;
	index_retire_fn *retire; /* of targets */
	void *arg;
};

/* Most filters have one subscriber: it needs no array of its own. */
struct home {
	struct targets targets;
	struct sub one;
};

static inline struct sub *
home_sub(struct targets *t)
{
	return &((struct home *)(void *)t)->one;
}

/* The shard's targets of a filter, which somebody holds; NJ_NOTFOUND. */
NJ_MUST enum nj_err index_find(struct index *ix, unsigned shard,
    struct slice filter, struct targets **out);

/* Makes t->subs an array of cap entries, not fewer than t->n. */
NJ_MUST enum nj_err
index_room(struct index *ix, struct targets *t, uint32_t cap);

static inline void
index_count(_Atomic(uint64_t) *counter, int64_t by)
{
	atomic_fetch_add_explicit(counter, (uint64_t)by, memory_order_relaxed);
}

#endif
