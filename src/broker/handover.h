/* SPDX-License-Identifier: Apache-2.0
 * handover - what lies on disk of shared subscriptions goes from a member that
 *            is away, or has ended, to others: a walk through its tail in pages.
 *
 * What a page brings leaves this queue and enters others in one transaction, and
 * the next page is asked for when that is on its way.  A client that comes back
 * ends the walk of its session.  A session that has ended stays until its walk
 * is done: known by its number only, and marked in the store, so that the next
 * start goes on with it; then its end is recorded, with the last of its messages.
 *
 * Owns:    struct handover is its session's.
 * Threads: the session's shard.
 * Bounds:  a page a session, as paging.h; ENDED_MAX sessions that have ended,
 *          above that what is on disk ends with its session.
 * Spec:    MQTT 5.0 4.8.2.
 */
#ifndef NJ_BROKER_HANDOVER_H
#define NJ_BROKER_HANDOVER_H

#include "broker/shard.h"

#define ENDED_MAX 65536u

/* To members that are connected and kept: what came by this share of s, whose
 * client is away.  Without memory it stays. */
void handover_recall(struct shard *sh, struct session *s, uint8_t share);
/* To any: s is ending.  False: there is nothing, or no memory for it.  While the
 * broker stops it begins at the next start. */
bool handover_begin(struct shard *sh, struct session *s);
/* The same of one that had ended when the broker did, and of what it was sent. */
bool handover_go_on(struct shard *sh, struct session *s);
/* Its client is back, or the others are gone. */
void handover_stop(struct session *s);
/* Where its next page is to be read from, and up to where; false: not now. */
bool handover_wants(
    struct shard *sh, struct session *s, uint64_t *from, uint64_t *upto);
/* That page has come: n entries, moved; there is no other below upto.  s may be
 * gone afterwards. */
void handover_page(struct shard *sh, struct session *s, struct delivery *v,
    uint32_t n, uint64_t from, uint64_t upto);
/* It cannot be read. */
void handover_failed(struct shard *sh, struct session *s, enum nj_err e);

#endif
