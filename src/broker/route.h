/* SPDX-License-Identifier: Apache-2.0
 * route - from one published message to everyone it is for.
 *
 * The topic is matched once, here.  What this shard's sessions get is
 * delivered at once; every other shard with subscribers gets one entry in the
 * parcel that is posted to it when the turn ends (or when the parcel is full).
 *
 * Threads: the publisher's shard; route_parcel on the receiver's.
 * Bounds:  MAIL_HIGH letters waiting at a shard, then publishers here pause.
 * Spec:    MQTT 5.0 3.3.4, 4.6, 4.7, 4.8.
 */
#ifndef NJ_BROKER_ROUTE_H
#define NJ_BROKER_ROUTE_H

#include "broker/shard.h"

#define PARCEL_WORDS 8192
#define MAIL_HIGH    64

/* In two steps: who gets it, and giving it to them.  NJ_FULL: its topic would
 * cost more than max_match_work, and nobody gets it.  route_out follows
 * without another match between; *n filters matched.  When it fails for want
 * of memory, nobody gets it, and it must not be acknowledged. */
NJ_MUST enum nj_err route_match(struct shard *sh, struct msg *m);
NJ_MUST enum nj_err route_out(struct shard *sh, struct msg *m, size_t *n);
/* Whether what was matched goes to other shards, or may. */
bool route_leaves(const struct shard *sh);
/* Both, for messages that nobody waits to hear about. */
void route(struct shard *sh, struct msg *m);
/* What was taken over and found no memory on its way is sent on; once a turn. */
void route_retry(struct shard *sh);
/* Room for what is usual, so that there always is some. */
NJ_MUST enum nj_err route_init(struct shard *sh);
void route_fini(struct shard *sh);
/* Retained store only.  NJ_FULL: its quota is reached; NJ_BUSY: the owner's. */
NJ_MUST enum nj_err
route_retain(struct shard *sh, struct msg *m, struct slice owner);
/* Whether a session of this shard is subscribed to that topic, by whatever
 * filter. */
bool
route_reaches(struct shard *sh, const struct session *s, struct slice topic);
/* Posts what has gathered. */
void route_post(struct shard *sh);
/* The same for one shard: what was routed to it so far goes before what is
 * posted next. */
void route_post_to(struct shard *sh, unsigned to);
/* Some shard is behind with its mail. */
bool route_congested(const struct shard *sh);
/* Delivers a parcel from another shard and frees it. */
void route_parcel(struct shard *sh, struct letter *l);

/* How a message moves between the members of a group. */
struct route_move {
	uint64_t from; /* the session it was with */
	bool kept; /* as that one was: to a connected one that is, if any, */
	bool back; /* else to from again, as long as that is a member */
	bool disk; /* it was read there, and not in memory */
	bool last; /* the broker stops: to one that is kept, or to nobody */
};

/* To another member of a group than the one it was with. */
void route_moved(struct shard *sh, struct group *g, struct msg *m,
    const struct route_move *how);

#endif
