/* SPDX-License-Identifier: Apache-2.0
 * share - the groups of shared subscriptions, kept by a group's home shard.
 *
 * Owns:    groups and members.  A member is known by its session's number,
 *          whose top bits name the shard it lives on.
 * Threads: the group's home shard.
 * Bounds:  one member a session and group; cost of each call is constant.
 * Spec:    MQTT 5.0 4.8.2.
 */
#ifndef NJ_CORE_SHARE_H
#define NJ_CORE_SHARE_H

#include "base/map.h"
#include "core/index.h"

struct member {
	uint64_t session;
	uint32_t id_opts;
	uint32_t at;   /* place in the group's array */
	uint8_t share; /* as the session numbers it; 0: not at all */
	bool kept;     /* the session outlives the process */
	bool waits;    /* what has a QoS waits for it while it is away */
};

struct group {
	struct group *next, *prev; /* same filter, another name */
	struct targets *targets;
	uint64_t number; /* unique on this shard */
	struct map by_session;
	/* the connected ones first, of these the kept ones; then those for whom
	 * something waits; n_waiting: of these three */
	struct member **v;
	uint32_t n, n_online, n_kept, n_waiting, cap;
	uint32_t turn; /* of the round robin */
	size_t key_len;
	uint8_t key[]; /* the targets' address and the name */
};

/* All groups homed on one shard. */
struct groups {
	struct map by_number, by_key;
	uint64_t next_number;
	uint64_t members; /* for $SYS, which reads it from shard 0 */
};

void groups_init(struct groups *gs);
/* Frees groups that are left. */
void groups_fini(struct groups *gs);
struct group *groups_find(struct groups *gs, uint64_t number);

struct group *
group_find(struct groups *gs, struct targets *t, struct slice name);

/* What a session is in a group. */
struct membership {
	uint64_t session;
	uint32_t id_opts;
	uint8_t share;
	bool online, kept, waits;
};

/* Adds or replaces (NJ_EXISTS).  A session that may be a member holds t. */
NJ_MUST enum nj_err group_join(struct groups *gs, struct targets *t,
    struct slice name, const struct membership *who);
/* NJ_NOTFOUND: was no member. */
NJ_MUST enum nj_err group_leave(
    struct groups *gs, struct targets *t, struct slice name, uint64_t session);
void group_online(struct groups *gs, struct targets *t, struct slice name,
    uint64_t session, bool online);
/* NULL: is none. */
const struct member *group_find_member(const struct group *g, uint64_t session);
/* The next member, connected ones first, and those before the others for whom
 * something can wait; one that is not `not` if there is a choice.  NULL when the
 * group is empty. */
struct member *group_pick(struct group *g, uint64_t not );
/* Those that may be picked stand before this place. */
static inline uint32_t
group_takers(const struct group *g)
{
	if (g->n_waiting > 0)
		return g->n_waiting;
	return g->n;
}
/* The one behind m, that was picked and is the asked-th to say no: connected ones
 * until all were asked, then those that are away.  NULL: all were. */
struct member *
group_pick_after(struct group *g, const struct member *m, uint32_t asked);
/* The next connected one that is kept, and not `not`; NULL: there is none. */
struct member *group_pick_kept(struct group *g, uint64_t not );
/* The same, or one that is away, and kept, and for whom something waits. */
struct member *group_pick_lasting(struct group *g, uint64_t not );

#endif
