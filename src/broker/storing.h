/* SPDX-License-Identifier: Apache-2.0
 * storing - the broker's side of the store: opening it, its messages, what it
 *           reports; and everything that was stored, taken up at the start.
 *
 * Threads: storing_open, storing_load and storing_close: the main one, before
 *          the shards run and after.  The callbacks: the store's.
 */
#ifndef NJ_BROKER_STORING_H
#define NJ_BROKER_STORING_H

#include "base/err.h"
#include "store/store.h"

struct broker;

extern const struct store_msg_ops storing_msgs;

/* NJ_OK with b->store NULL: nothing is to be kept. */
NJ_MUST enum nj_err storing_open(struct broker *b, struct nj_why *why);
/* Sessions on their shards, subscriptions, retained messages; then the store
 * takes batches. */
NJ_MUST enum nj_err storing_load(struct broker *b, struct nj_why *why);
/* A date in the past as the broker's clock has it: now at the latest, whatever the
 * calendar says; long ago is 0. */
uint64_t storing_past(const struct broker *b, int64_t wall_ms);
/* What was submitted is written. */
void storing_close(struct broker *b);

#endif
