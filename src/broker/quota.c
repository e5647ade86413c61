/* SPDX-License-Identifier: Apache-2.0
 */
#include "broker/quota.h"

#include <stdlib.h>

#include "base/hash.h"
#include "base/log.h"
#include "broker/guard.h"
#include "broker/internal.h"
#include "broker/shard.h"

#define MILLI	  1000u
#define MINUTE_MS 60000u
#define WAYS	  4

/* A user with sessions that wait. */
struct waiting_user {
	uint64_t identity;
	uint32_t n;
	struct list sessions; /* longest away first */
};

static struct slice
identity_of(const void *value)
{
	const struct waiting_user *u = value;

	return slice_of(&u->identity, sizeof u->identity);
}

void
quota_init(struct quota *q)
{
	list_init(&q->waiting);
	map_init(&q->users, identity_of);
}

void
quota_fini(struct quota *q)
{
	struct waiting_user *u;
	size_t at = 0;

	while ((u = map_next(&q->users, &at)))
		free(u);
	map_fini(&q->users);
}

/* Sessions. */

static struct waiting_user *
user_of(struct quota *q, uint64_t identity)
{
	struct waiting_user *u =
	    map_get(&q->users, slice_of(&identity, sizeof identity));

	if (u || !(u = calloc(1, sizeof *u)))
		return u;
	u->identity = identity;
	list_init(&u->sessions);
	if (map_put(&q->users, u)) {
		free(u);
		return NULL;
	}
	return u;
}

/* What one shard keeps for a user: clients spread evenly. */
static uint32_t
share_of(const struct shard *sh)
{
	uint32_t max = sh->limits.max_waiting_per_user, n = sh->broker->n;

	return max / n + (max % n != 0);
}

struct session *
quota_wait(struct shard *sh, struct session *s)
{
	struct quota *q = &sh->quota;
	struct waiting_user *u =
	    user_of(q, guard_identity(s->who, session_id(s)));

	list_push(&q->waiting, &s->waiting);
	if (!u) { /* it counts for nobody */
		nj_log(LOG_T_ERROR, "Out of memory: a session is not counted");
		return NULL;
	}
	s->user = u;
	u->n++;
	list_push(&u->sessions, &s->waiting_own);
	if (!sh->limits.max_waiting_per_user || u->n <= share_of(sh))
		return NULL;
	return LIST_OWNER(u->sessions.next, struct session, waiting_own);
}

void
quota_back(struct shard *sh, struct session *s)
{
	struct waiting_user *u = s->user;

	list_remove(&s->waiting);
	list_remove(&s->waiting_own);
	s->user = NULL;
	if (!u || --u->n > 0)
		return;
	(void)map_del(&sh->quota.users, identity_of(u));
	free(u);
}

struct session *
quota_oldest(struct shard *sh)
{
	struct list *all = &sh->quota.waiting;

	return list_empty(all) ? NULL
			       : LIST_OWNER(all->next, struct session, waiting);
}

/* Wills: a bucket a client that holds a minute's worth. */

uint64_t
quota_will_key(struct slice client_id, uint64_t identity)
{
	return hash_bytes(client_id) ^ (identity << 1 | identity >> 63);
}

/* The client's bucket, filled up to now; a new one is full, and one that was
 * not seen for a minute is as good as new. */
static struct will_bucket *
bucket_of(struct shard *sh, uint64_t key)
{
	struct will_bucket *row =
	    &sh->quota.wills[key % (WILL_BUCKETS / WAYS) * WAYS];
	struct will_bucket *b = row;
	uint64_t now = sh->home.now_ms, passed;
	uint64_t full = (uint64_t)sh->limits.max_wills_per_minute * MILLI;

	for (unsigned i = 0; i < WAYS; i++) {
		if (row[i].key == key) {
			b = &row[i];
			break;
		}
		if (row[i].at_ms < b->at_ms)
			b = &row[i];
	}
	passed = b->key == key && now - b->at_ms < MINUTE_MS ? now - b->at_ms
							     : MINUTE_MS;
	if (b->key != key)
		*b = (struct will_bucket){ .key = key };
	b->at_ms = now;
	b->tokens +=
	    passed * sh->limits.max_wills_per_minute * MILLI / MINUTE_MS;
	if (b->tokens > full)
		b->tokens = full;
	return b;
}

bool
quota_will_ok(struct shard *sh, uint64_t key)
{
	return !sh->limits.max_wills_per_minute ||
	    bucket_of(sh, key)->tokens >= MILLI;
}

void
quota_will_sent(struct shard *sh, uint64_t key)
{
	struct will_bucket *b;

	if (!sh->limits.max_wills_per_minute)
		return;
	b = bucket_of(sh, key);
	b->tokens -= b->tokens < MILLI ? b->tokens : MILLI;
}
