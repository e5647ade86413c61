/* SPDX-License-Identifier: Apache-2.0
 * index - which filters match a topic, and who on which shard holds them.
 *
 * A tree of topic levels, shared by all shards: readers walk it without
 * locks, writers take one mutex.  Every filter has, for each shard with
 * subscribers, one struct targets, whose list belongs to that shard alone.
 *
 * Owns:    nodes, filters, targets.  Sessions are borrowed by struct sub.
 * Threads: index_match and what it returns: any thread inside an RCU
 *          read-side section (liburcu QSBR: until its next quiescent state;
 *          a shard has one per loop turn).  index_hold and index_release: any
 *          thread.  subs_*: the session's home shard.
 * Retire:  memory a reader may still see is handed to opts.retire, which
 *          frees it when no shard can hold it any more: after a grace period
 *          and after every shard has taken the letters posted before.
 * Bounds:  TOPIC_LEVELS_MAX levels; quotas are the callers'.
 * Cost:    match depends on the topic's levels and the number of matching
 *          filters, not on how many others there are.
 * Spec:    MQTT 5.0 4.7, 4.8.2, 3.8.
 */
#ifndef NJ_CORE_INDEX_H
#define NJ_CORE_INDEX_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/slice.h"

struct index;
struct filter;
struct session;
struct group;
struct memos;

typedef void
index_retire_fn(void *arg, void (*free_fn)(void *), void *p, size_t size);

struct index_opts {
	unsigned shards;	 /* 1.. */
	index_retire_fn *retire; /* NULL: free at once (one thread) */
	/* Of the tree's nodes and tables, which no letter names: readers see
	 * them in their turns only.  NULL: as retire. */
	index_retire_fn *retire_seen;
	void *arg;
};

/* One subscription as fan-out reads it: 16 bytes. */
struct sub {
	struct session *session;
	uint32_t id_opts; /* identifier << 4 | SUB_* | QoS */
	uint32_t spare;
};

#define SUB_QOS	     0x3u
#define SUB_NO_LOCAL 0x4u
#define SUB_RAP	     0x8u		 /* retain as published */
#define SUB_ID(s)    ((s)->id_opts >> 4) /* 0: none */

/* One shard's subscribers of one filter. */
struct targets {
	_Atomic(struct targets *) next; /* another shard's, same filter */
	struct filter *filter;
	atomic_uint live; /* subscribers and holds; 0: skip it */
	atomic_uint full; /* subscribers whose queue is; full.h */
	uint16_t shard;
	/* below: only the shard itself */
	uint32_t n, cap;
	struct sub *subs;
	struct group *groups; /* shared subscriptions homed here; share.h */
};

NJ_MUST enum nj_err
index_new(const struct index_opts *opts, struct index **out);
/* Frees at once; no reader may be left. */
void index_free(struct index *ix);

/* Filters that match, in no order.  A zeroed one is empty; keep and reuse it,
 * index_match starts by emptying it.  One that is used often remembers what
 * the last topics matched (memo.h), so it belongs to one index. */
struct match {
	struct filter **v;
	uint32_t n, cap;
	uint32_t used;
	uint32_t work;	   /* nodes the last walk looked at */
	uint32_t max_work; /* then NJ_FULL; 0: no limit */
	struct memos *memos;
};
NJ_MUST enum nj_err
index_match(struct index *ix, struct slice topic, struct match *m);
void match_fini(struct match *m);

/* The first shard's targets; go on with ->next (acquire). */
struct targets *filter_targets(const struct filter *f);
/* This shard's, or NULL. */
struct targets *filter_targets_of(const struct filter *f, unsigned shard);
/* The filter's text, written to dst (up to size bytes); its full length. */
size_t filter_text(const struct filter *f, uint8_t *dst, size_t size);

/* Keeps a shard's targets of a filter alive without a subscriber. */
NJ_MUST enum nj_err index_hold(struct index *ix, unsigned shard,
    struct slice filter, struct targets **out);
void index_release(struct index *ix, struct targets *t);

/* bytes: nodes, table, targets, subs and the sessions' slots. */
struct index_stats {
	uint64_t filters, subscriptions, bytes;
};
void index_stats(struct index *ix, struct index_stats *out);

/* A session's own set of (non-shared) subscriptions.  Zeroed: empty. */
struct subref {
	struct targets *targets; /* NULL: empty slot */
	uint32_t at;		 /* place in targets->subs */
};
struct subs {
	struct subref *slots;
	uint32_t n, cap;
	struct subs_old *old; /* NULL: it is not being moved */
};

/* Adds or replaces (id and options); *existed says which.  The filter must be
 * valid and not shared.  full, here and below: the session counts in
 * targets.full of those it has. */
NJ_MUST enum nj_err
subs_put(struct subs *ss, struct index *ix, unsigned shard, struct slice filter,
    struct session *session, uint32_t id_opts, bool full, bool *existed);
/* Whether there is one; then *id_opts (NULL: it does not matter) are its. */
bool subs_has(const struct subs *ss, struct index *ix, unsigned shard,
    struct slice filter, uint32_t *id_opts);
/* NJ_NOTFOUND when there is none. */
NJ_MUST enum nj_err subs_del(struct subs *ss, struct index *ix, unsigned shard,
    struct slice filter, bool full);
/* Drops all, and frees the slots. */
void subs_clear(struct subs *ss, struct index *ix);
/* Drops at most so many, beginning at *at (0, then what it was left as; nothing
 * may be put meanwhile).  How many; ss->n says how many are left. */
uint32_t subs_clear_some(
    struct subs *ss, struct index *ix, uint32_t *at, uint32_t most, bool full);
/* Of a large table nothing is left to be moved: until it grows or shrinks again,
 * deleting moves later ones to an earlier place only within a run. */
void subs_settle(struct subs *ss, struct index *ix);
/*
 * A look at each, some at a time: all that are there from its begin to its end
 * are met once at least.  Between two portions, and of the one that was met last,
 * they may end; more may come.  Zeroed: it begins.
 */
struct subs_look {
	uint32_t first, left, cap;
};
/* The next, NULL: that was all, or *most, which it counts down, is used up. */
const struct sub *subs_look(struct subs *ss, struct index *ix,
    struct subs_look *l, uint32_t *most, struct filter **filter);
/* Whether that was all. */
bool subs_looked(const struct subs *ss, const struct subs_look *l);
/* Start with *at = 0; NULL at the end.  Nothing may be put or deleted
 * between. */
const struct sub *
subs_next(const struct subs *ss, uint32_t *at, struct filter **filter);

/* Implemented with struct session: where its subs are.  Removing one session
 * from targets->subs moves another's entry, whose subref must follow. */
struct subs *session_subs(struct session *s);

#endif
