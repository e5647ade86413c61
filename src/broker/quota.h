/* SPDX-License-Identifier: Apache-2.0
 * quota - what one user may leave behind: sessions that wait for their client,
 *         and wills sent in a loop.
 *
 * Sessions of clients that are away stand in two queues, the shard's and their
 * user's, longest away first.  A user over its limit loses its own oldest; when
 * the broker is full the shard's oldest makes place (threat-model.md says why).
 *
 * Owns:    the users that have sessions waiting, and a table of wills.
 * Threads: the sessions' home shard.
 * Bounds:  max_offline_sessions_per_user, a shard's share of it;
 *          max_wills_per_minute; WILL_BUCKETS clients remembered, then the
 *          longest unseen of four is forgotten.
 */
#ifndef NJ_BROKER_QUOTA_H
#define NJ_BROKER_QUOTA_H

#include "base/list.h"
#include "base/map.h"
#include "core/session.h"

#define WILL_BUCKETS 1024

struct shard;

struct will_bucket {
	uint64_t key;	 /* client and user */
	uint64_t at_ms;	 /* of the count */
	uint64_t tokens; /* thousandths of a will */
};

struct quota {
	struct list waiting; /* sessions, longest away first */
	struct map users;    /* struct waiting_user */
	struct will_bucket wills[WILL_BUCKETS];
};

void quota_init(struct quota *q);
void quota_fini(struct quota *q);

/* The client is away and the session stays.  The session that has to go for
 * it, or NULL. */
struct session *quota_wait(struct shard *sh, struct session *s);
/* It is back, or the session ends. */
void quota_back(struct shard *sh, struct session *s);
/* The one that is away longest, to make place for a new one; NULL: none. */
struct session *quota_oldest(struct shard *sh);

/* A client and its user, for quota_will_*. */
uint64_t quota_will_key(struct slice client_id, uint64_t identity);
/* Whether a client may leave another will now. */
bool quota_will_ok(struct shard *sh, uint64_t key);
void quota_will_sent(struct shard *sh, uint64_t key);

#endif
