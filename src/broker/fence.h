/* SPDX-License-Identifier: Apache-2.0
 * fence - frees memory that other shards may still see.
 *
 * A reader holds such memory in two ways: inside its loop turn (an RCU
 * read-side section), or as a pointer in a letter that a shard has not taken
 * yet.  So first a grace period passes, after which no new letter can name the
 * memory; then a fence goes to every mailbox, and once all have been taken no
 * older letter is left.
 *
 * Threads: fence_retire any registered RCU thread; the fences are posted by
 *          liburcu's own thread; fence_passed on the shards.
 */
#ifndef NJ_BROKER_FENCE_H
#define NJ_BROKER_FENCE_H

#include "base/mailbox.h"

struct broker;

/* The index_retire_fn of the broker; arg is the struct broker.  Without
 * memory for the bookkeeping the block lives as long as the broker; past
 * LATE_MAX of them it is leaked. */
void fence_retire(void *arg, void (*free_fn)(void *), void *p);
/* Frees what nobody has any more, and what would take long, on liburcu's thread:
 * by a shard, before it ends. */
void fence_free_elsewhere(struct broker *b, void (*free_fn)(void *), void *p);
void fence_free_late(struct broker *b);
void fence_passed(struct letter *l);
/* Waits until everything retired so far has its fences in the mailboxes. */
void fence_barrier(struct broker *b);

#endif
