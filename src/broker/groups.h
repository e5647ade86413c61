/* SPDX-License-Identifier: Apache-2.0
 * groups - shared subscriptions across shards: a session tells a group's home
 *          that it joins, leaves, comes and goes; what it can no longer
 *          deliver moves to another member.
 *
 * A message belongs to the member it was given to until that member is gone:
 * - its session ends: what was not sent, and QoS 1 that was not acknowledged,
 *   goes to other members; a QoS 2 exchange that has begun ends with the
 *   session [MQTT-4.8.2-4], [-5];
 * - it is away while another member is connected: what was not sent goes to
 *   those who are there, when it leaves or when the first of them comes.  What
 *   is on disk goes to members only that are kept there, too: what was durable
 *   stays so.
 * QoS 2 of a session that is not on disk goes when its publisher's identifier is
 * there: else a member that is kept could have it on disk before, and after a crash
 * once more from the publisher.
 * What is on its way to a member that has gone or left the group goes to another.
 * What lies on disk is handed over in pages, while all else goes on (handover.h).
 * While the broker stops, QoS 1 of sessions that are not on disk goes to one that
 * is, and what is on disk stays there: the next start goes on.
 *
 * Threads: letters; the session's shard and the group's home.
 * Bounds:  GROUPS_RECALL members are asked when the first comes; moved messages
 *          had a place in a queue and keep one, up to MOVED_TIMES its limit;
 *          HELD_MAX messages of a shard are held back, more go at once.
 * Spec:    MQTT 5.0 4.8.2.
 */
#ifndef NJ_BROKER_GROUPS_H
#define NJ_BROKER_GROUPS_H

#include "broker/shard.h"

#define GROUPS_RECALL 64

enum group_op {
	GROUP_JOIN,
	GROUP_QUIT,  /* nothing comes to it any more; its letters may */
	GROUP_LEAVE, /* the last of its letters, a member or not */
	GROUP_ONLINE,
	GROUP_OFFLINE
};

/* The session's side. */
NJ_MUST enum nj_err groups_tell(struct shard *sh, struct targets *t,
    enum group_op op, struct slice name, const struct membership *who);
/* Leaving needs no memory: its letter is there since it joined, in x->leave.
 * The hold on x->targets is given back. */
struct letter *groups_letter(struct slice name);
void groups_leave(struct shard *sh, uint64_t session, struct shared_sub *x);
/* Before the session leaves its groups and is freed. */
void groups_hand_over(struct shard *sh, struct session *s);
/* What could be handed over only now goes; how many letters that were. */
size_t groups_held(struct shard *sh);

/* What came by x, on its way to other members.  NULL without memory. */
struct moved_letter;
struct moved_letter *groups_moving(
    const struct session *s, const struct shared_sub *x, uint32_t most);
/* fn of session_take_shared; arg: the letter. */
void groups_move(void *arg, struct delivery *d);
/* On its way; from_disk: and whether it stays with s if there is nobody who is
 * connected and kept. */
void groups_moving_go(struct shard *sh, struct moved_letter *l);
void groups_moving_from_disk(struct moved_letter *l, bool back);

void groups_take(struct shard *sh, struct letter *l);	  /* LETTER_GROUP */
void groups_recalled(struct shard *sh, struct letter *l); /* LETTER_RECALL */
void groups_moved(struct shard *sh, struct letter *l);	  /* LETTER_MOVED */

static inline struct slice
shared_group(const struct shared_sub *x)
{
	return slice_of(x->filter + x->group_at, x->group_len);
}

#endif
