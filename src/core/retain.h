/* SPDX-License-Identifier: Apache-2.0
 * retain - the last retained message of every topic.
 *
 * Owns:    one reference on each message.
 * Threads: retain_set any thread (one mutex); retain_match and retain_step any
 *          thread inside an RCU read-side section; a reference the table drops
 *          is dropped through opts.retire, so a reader may msg_ref what it
 *          sees.
 * Bounds:  max_count messages and max_bytes, then NJ_FULL; max_owned messages
 *          of one owner, then NJ_BUSY.
 * Spec:    MQTT 5.0 3.3.1.3, 3.8.3.1.
 */
#ifndef NJ_CORE_RETAIN_H
#define NJ_CORE_RETAIN_H

#include "core/index.h"
#include "core/msg.h"

struct retain;

struct retain_opts {
	uint64_t max_count, max_bytes; /* 0: no limit */
	uint32_t max_owned;	       /* of one owner; 0: no limit */
	index_retire_fn *retire;
	void *arg;
};

NJ_MUST enum nj_err
retain_new(const struct retain_opts *o, struct retain **out);
void retain_free(struct retain *r);
/* Takes its own reference.  An empty payload deletes [MQTT-3.3.1-6], [-7]. */
NJ_MUST enum nj_err retain_set(struct retain *r, struct msg *m);
/* The same, counted as owner's: who put the last message of a topic owns it.
 * An empty owner is not counted. */
NJ_MUST enum nj_err
retain_set_for(struct retain *r, struct msg *m, struct slice owner);
/* The same; *order is this change's place among all, 0: there was none. */
NJ_MUST enum nj_err retain_change(
    struct retain *r, struct msg *m, struct slice owner, uint64_t *order);
/* Those to come are above; once, at the start. */
void retain_order_from(struct retain *r, uint64_t order);
/* Calls fn for every stored message whose topic matches and that has not
 * expired at now_ms; stops when fn returns false.  Wildcards never match $
 * topics at the first level. */
void retain_match(struct retain *r, struct slice filter, uint64_t now_ms,
    bool (*fn)(void *arg, struct msg *m), void *arg);

/* A walk in portions.  Zeroed: not begun.  Between portions it keeps the topic
 * it stands on in the tree; retain_walk_end lets go of it before its time. */
struct retain_walk {
	struct node *at;
	unsigned depth;
};
/*
 * Goes on with the walk over what matches the filter, which stays the same from
 * portion to portion.  True: it is over.  False: *budget nodes were looked at,
 * or fn returned false; the next portion begins with that message.
 */
bool retain_step(struct retain *r, struct retain_walk *w, struct slice filter,
    uint64_t now_ms, uint32_t *budget, bool (*fn)(void *arg, struct msg *m),
    void *arg);
void retain_walk_end(struct retain *r, struct retain_walk *w);
/* Drops up to budget expired messages, going round; how many were dropped.
 * gone is told of each, under the lock, unless it is NULL. */
size_t retain_sweep(struct retain *r, uint64_t now_ms, size_t budget,
    void (*gone)(void *arg, const struct msg *m, uint64_t order), void *arg);
uint64_t retain_count(const struct retain *r);
uint64_t retain_bytes(const struct retain *r);

#endif
