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

/* Delivers, and stores when it is retained and may be.  How many filters
 * matched. */
size_t route(struct shard *sh, struct msg *m);
/* Retained store only; NJ_FULL when the quota is reached. */
NJ_MUST enum nj_err route_retain(struct shard *sh, struct msg *m);
/* Posts what has gathered. */
void route_post(struct shard *sh);
/* Some shard is behind with its mail. */
bool route_congested(const struct shard *sh);
/* Delivers a parcel from another shard and frees it. */
void route_parcel(struct shard *sh, struct letter *l);

/* Shared subscriptions: joining, leaving and being there, told to the group's
 * home shard. */
enum group_op { GROUP_JOIN, GROUP_LEAVE, GROUP_ONLINE, GROUP_OFFLINE };
NJ_MUST enum nj_err
route_group(struct shard *sh, struct targets *t, enum group_op op,
    struct slice name, uint64_t session, uint32_t id_opts, bool online);
void route_group_letter(struct shard *sh, struct letter *l);

#endif
