/* SPDX-License-Identifier: Apache-2.0
 * fence - frees memory that other shards may still see.
 *
 * A reader holds such memory in two ways: inside its loop turn (an RCU
 * read-side section), or as a pointer in a letter that a shard has not taken
 * yet.  So first a grace period passes, after which no new letter can name the
 * memory; then a fence goes to every mailbox, and once all have been taken no
 * older letter is left.
 *
 * What no letter names, since whoever keeps it beyond the turn takes a reference
 * (retained messages and their topics), needs none of that: each shard frees
 * itself what its turns have retired (base/grace.h).
 *
 * Threads: fence_retire and fence_retire_seen any registered RCU thread; the
 *          fences are posted by liburcu's own thread; fence_passed on the shards.
 * Bounds:  past SEEN_HIGH bytes that wait for other shards' turns a shard's
 *          clients pause when they have retained a message.
 */
#ifndef NJ_BROKER_FENCE_H
#define NJ_BROKER_FENCE_H

#include "base/mailbox.h"

struct broker;
struct shard;

#define SEEN_HIGH ((size_t)4 * 1024 * 1024)
/* With more a shard does not sleep for long: nobody else frees it. */
#define SEEN_IDLE ((size_t)64 * 1024)

/* The index_retire_fn of the broker; arg is the struct broker.  Without
 * memory for the bookkeeping the block lives as long as the broker; past
 * LATE_MAX of them it is leaked. */
void fence_retire(void *arg, void (*free_fn)(void *), void *p, size_t size);
/* The same for what no letter names. */
void
fence_retire_seen(void *arg, void (*free_fn)(void *), void *p, size_t size);
/* Around a turn of the shard, on the thread that runs it; and around its sleep,
 * between turns. */
void fence_turn_begins(struct shard *sh);
void fence_turn_ends(struct shard *sh);
void fence_sleep(struct shard *sh);
void fence_awake(struct shard *sh);
/* Bytes that the shard's earlier turns have retired, and which other shards'
 * turns may still see. */
size_t fence_waits(const struct shard *sh);
/* Frees what nobody has any more, and what would take long, on liburcu's thread:
 * by a shard, before it ends. */
void fence_free_elsewhere(struct broker *b, void (*free_fn)(void *), void *p);
void fence_free_late(struct broker *b);
void fence_passed(struct letter *l);
/* Waits until everything retired so far has its fences in the mailboxes. */
void fence_barrier(struct broker *b);

#endif
