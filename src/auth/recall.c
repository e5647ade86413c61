/* SPDX-License-Identifier: Apache-2.0 */
#include "auth/recall.h"

#include <pthread.h>
#include <stdlib.h>

#include "auth/scram.h"
#include "base/hash.h"
#include "base/rand.h"
#include "base/secret.h"

struct seen {
	uint64_t user; /* its hash; 0: free */
	uint8_t digest[SCRAM_KEY];
};

struct set {
	struct seen v[RECALL_WAYS];
	uint32_t next; /* to be forgotten */
};

struct recall {
	uint8_t key[SCRAM_KEY];
	pthread_mutex_t lock; /* sets */
	struct set *sets;     /* NULL: none yet */
	uint32_t n;	      /* a power of two */
};

enum nj_err
recall_new(size_t users, struct recall **out)
{
	struct recall *r = calloc(1, sizeof *r);

	if (!r)
		return NJ_NOMEM;
	for (r->n = 1;
	     r->n < users / (RECALL_WAYS / 2) && r->n < RECALL_SETS_MAX;)
		r->n *= 2;
	(void)pthread_mutex_init(&r->lock, NULL);
	rand_bytes(r->key, sizeof r->key);
	*out = r;
	return NJ_OK;
}

void
recall_free(struct recall *r)
{
	if (!r)
		return;
	if (r->sets)
		secret_wipe(r->sets, r->n * sizeof *r->sets);
	free(r->sets);
	secret_wipe(r->key, sizeof r->key);
	(void)pthread_mutex_destroy(&r->lock);
	free(r);
}

static uint64_t
hash_of(struct slice user)
{
	return hash_bytes(user) | 1;
}

/* Each under a key made by the one before, so that nothing of one can pass for
 * something of the next. */
static enum nj_err
digest_of(const struct recall *r, struct slice user, struct slice known_by,
    struct slice password, uint8_t out[SCRAM_KEY])
{
	uint8_t a[SCRAM_KEY], b[SCRAM_KEY];
	enum nj_err e;

	if (!(e = scram_hmac(slice_of(r->key, sizeof r->key), user, a)) &&
	    !(e = scram_hmac(slice_of(a, sizeof a), known_by, b)))
		e = scram_hmac(slice_of(b, sizeof b), password, out);
	secret_wipe(a, sizeof a);
	secret_wipe(b, sizeof b);
	return e;
}

bool
recall_knows(struct recall *r, struct slice user, struct slice known_by,
    struct slice password)
{
	uint64_t h = hash_of(user);
	struct seen mine = { .user = 0 };
	uint8_t digest[SCRAM_KEY] = { 0 };
	bool same;

	if (password.n == 0)
		return false;
	(void)pthread_mutex_lock(&r->lock);
	for (unsigned i = 0; r->sets && i < RECALL_WAYS; i++)
		if (r->sets[(h >> 1) & (r->n - 1)].v[i].user == h)
			mine = r->sets[(h >> 1) & (r->n - 1)].v[i];
	(void)pthread_mutex_unlock(&r->lock);
	/* for a name that is nobody's too: it must not be faster */
	same = digest_of(r, user, known_by, password, digest) == NJ_OK &&
	    secret_eq(slice_of(digest, sizeof digest),
		slice_of(mine.digest, sizeof mine.digest)) &&
	    mine.user != 0;
	secret_wipe(&mine, sizeof mine);
	secret_wipe(digest, sizeof digest);
	return same;
}

static void
put(struct set *s, const struct seen *mine)
{
	unsigned at = s->next;

	for (unsigned i = 0; i < RECALL_WAYS; i++)
		if (s->v[i].user == mine->user) {
			s->v[i] = *mine;
			return;
		}
	s->v[at] = *mine;
	s->next = (at + 1) % RECALL_WAYS;
}

void
recall_note(struct recall *r, struct slice user, struct slice known_by,
    struct slice password)
{
	struct seen mine = { .user = hash_of(user) };

	if (password.n == 0 ||
	    digest_of(r, user, known_by, password, mine.digest) != NJ_OK)
		return;
	(void)pthread_mutex_lock(&r->lock);
	if (!r->sets)
		r->sets = calloc(r->n, sizeof *r->sets);
	if (r->sets)
		put(&r->sets[(mine.user >> 1) & (r->n - 1)], &mine);
	(void)pthread_mutex_unlock(&r->lock);
	secret_wipe(&mine, sizeof mine);
}
