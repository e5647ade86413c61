/* SPDX-License-Identifier: Apache-2.0
 * call - a question to shards from a thread that is none of theirs.
 *
 * A function runs on each shard asked, in portions of a turn each, and writes
 * what it found as bytes; the asker waits for all of them, or until its
 * patience is over: then the call is dropped, and what comes late is freed.
 *
 * Owns:    a call belongs to its asker and to the shards that have not
 *          answered; the last of them frees it.
 * Threads: call_shards and call_free any thread but a shard's; call_take,
 *          calls_step and calls_fini the shard's.
 * Bounds:  CALL_PORTION things looked at a portion, by the functions' own
 *          counting; an answer: the function's to bound.
 */
#ifndef NJ_BROKER_CALL_H
#define NJ_BROKER_CALL_H

#include "base/buf.h"
#include "base/list.h"
#include "base/mailbox.h"
#include "broker/broker.h"
#include "broker/shard.h"

#define CALL_PORTION 256
#define CALL_ALL     UINT32_MAX

struct call;

/* One shard's part. */
struct call_part {
	struct letter letter;
	struct list pending; /* in shard.calls */
	struct call *call;
	struct buf out;	       /* the answer */
	size_t at;	       /* the function's own, 0 at first */
	size_t mark;	       /* the same */
	uint32_t count;	       /* the same */
	struct subs_look look; /* the same */
	enum nj_err e;	       /* the same; not NJ_OK: it has no answer */
};

/* On the shard's thread, inside a turn.  False: there is more to do in the
 * next one. */
typedef bool call_fn(struct shard *sh, struct slice in, struct call_part *p);

/*
 * Asks one shard or CALL_ALL; `in` is copied.  NJ_TIMEOUT when not all have
 * answered in time, NJ_NOMEM, or the first error of a part.  *out is freed
 * with call_free.
 */
NJ_MUST enum nj_err call_shards(struct broker *b, uint32_t which, call_fn *fn,
    struct slice in, unsigned timeout_ms, struct call **out);
/* The nth part's answer; false: there is none. */
bool call_answer(const struct call *c, unsigned nth, struct slice *out);
/* What it counted; 0 where there is no such part. */
uint32_t call_count(const struct call *c, unsigned nth);
void call_free(struct call *c); /* NULL is fine */

/* The shard's side. */
void call_take(struct shard *sh, struct letter *l);
/* One portion of each that is under way. */
void calls_step(struct shard *sh);
/* None goes on: what was asked for is not to be had any more. */
void calls_fini(struct shard *sh);

#endif
