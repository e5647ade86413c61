/* SPDX-License-Identifier: Apache-2.0 */
#include "base/cowmap.h"

#include <assert.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"

#define BUCKETS_MIN 16
#define BUCKETS_MAX (1u << 24)
/* Values a bucket on average before there are twice as many. */
#define LOAD 12

struct cow_slot {
	uint64_t hash;
	void *value;
};

struct cow_bucket {
	atomic_uint refs;
	uint32_t n, cap;
	struct cow_slot v[];
};

void
cowmap_init(struct cowmap *m, const struct cow_ops *ops)
{
	*m = (struct cowmap){ .ops = ops };
}

static void
bucket_unref(const struct cowmap *m, struct cow_bucket *b)
{
	if (!b ||
	    atomic_fetch_sub_explicit(&b->refs, 1, memory_order_acq_rel) != 1)
		return;
	for (uint32_t i = 0; i < b->n; i++)
		m->ops->unref(b->v[i].value);
	free(b);
}

void
cowmap_fini(struct cowmap *m)
{
	for (uint32_t i = 0; i < m->n_buckets; i++)
		bucket_unref(m, m->v[i]);
	free(m->v);
	cowmap_init(m, m->ops);
}

enum nj_err
cowmap_copy(struct cowmap *dst, const struct cowmap *src)
{
	*dst = *src;
	dst->v = NULL;
	if (src->n_buckets == 0)
		return NJ_OK;
	if (!(dst->v = malloc(src->n_buckets * sizeof(*dst->v)))) {
		cowmap_init(dst, src->ops);
		return NJ_NOMEM;
	}
	for (uint32_t i = 0; i < src->n_buckets; i++)
		if ((dst->v[i] = src->v[i]))
			atomic_fetch_add_explicit(
			    &src->v[i]->refs, 1, memory_order_relaxed);
	return NJ_OK;
}

static struct cow_slot *
find(const struct cowmap *m, uint64_t hash, struct slice key)
{
	struct cow_bucket *b =
	    m->n_buckets ? m->v[hash & (m->n_buckets - 1)] : NULL;

	for (uint32_t i = 0; b && i < b->n; i++)
		if (b->v[i].hash == hash &&
		    slice_eq(m->ops->key_of(b->v[i].value), key))
			return &b->v[i];
	return NULL;
}

void *
cowmap_get(const struct cowmap *m, struct slice key)
{
	const struct cow_slot *s =
	    m->n_buckets ? find(m, hash_bytes(key), key) : NULL;

	return s ? s->value : NULL;
}

/* A bucket of its own for m, with room for one more. */
static enum nj_err
bucket_own(struct cowmap *m, uint32_t at)
{
	struct cow_bucket *b = m->v[at], *own;
	uint32_t n = b ? b->n : 0, cap = b ? b->cap : 0;

	if (b && atomic_load_explicit(&b->refs, memory_order_acquire) == 1 &&
	    n < cap)
		return NJ_OK;
	if (n == cap)
		cap = cap ? cap * 2 : 4;
	if (!(own = malloc(sizeof *own + cap * sizeof own->v[0])))
		return NJ_NOMEM;
	atomic_init(&own->refs, 1);
	own->n = n;
	own->cap = cap;
	for (uint32_t i = 0; i < n; i++) {
		own->v[i] = b->v[i];
		m->ops->ref(own->v[i].value);
	}
	bucket_unref(m, b);
	m->v[at] = own;
	return NJ_OK;
}

/* Twice the buckets, none of them shared. */
static enum nj_err
grow(struct cowmap *m)
{
	struct cowmap big = { .ops = m->ops };
	enum nj_err e = NJ_OK;

	big.n_buckets = m->n_buckets ? m->n_buckets * 2 : BUCKETS_MIN;
	if (!(big.v = calloc(big.n_buckets, sizeof(*big.v))))
		return NJ_NOMEM;
	for (uint32_t i = 0; i < m->n_buckets && !e; i++) {
		const struct cow_bucket *b = m->v[i];

		for (uint32_t k = 0; b && k < b->n && !e; k++) {
			uint32_t to =
			    (uint32_t)(b->v[k].hash & (big.n_buckets - 1));

			if ((e = bucket_own(&big, to)))
				break;
			m->ops->ref(b->v[k].value);
			big.v[to]->v[big.v[to]->n++] = b->v[k];
		}
	}
	if (e) {
		cowmap_fini(&big);
		return e;
	}
	big.n = m->n;
	cowmap_fini(m);
	*m = big;
	return NJ_OK;
}

enum nj_err
cowmap_put(struct cowmap *m, void *value)
{
	struct slice key = m->ops->key_of(value);
	uint64_t hash = hash_bytes(key);
	struct cow_slot *s;
	uint32_t at;
	enum nj_err e;

	if (m->n >= (size_t)m->n_buckets * LOAD && m->n_buckets < BUCKETS_MAX &&
	    (e = grow(m)))
		return e;
	at = (uint32_t)(hash & (m->n_buckets - 1));
	if ((e = bucket_own(m, at)))
		return e;
	m->ops->ref(value);
	if ((s = find(m, hash, key))) {
		m->ops->unref(s->value);
		s->value = value;
		return NJ_OK;
	}
	m->v[at]->v[m->v[at]->n++] = (struct cow_slot){ hash, value };
	m->n++;
	return NJ_OK;
}

enum nj_err
cowmap_del(struct cowmap *m, struct slice key)
{
	uint64_t hash = hash_bytes(key);
	struct cow_bucket *b;
	struct cow_slot *s;
	uint32_t at;
	enum nj_err e;

	if (!find(m, hash, key))
		return NJ_NOTFOUND;
	at = (uint32_t)(hash & (m->n_buckets - 1));
	if ((e = bucket_own(m, at)))
		return e;
	b = m->v[at];
	s = find(m, hash, key);
	assert(s); /* it was there before */
	m->ops->unref(s->value);
	*s = b->v[--b->n];
	m->n--;
	return NJ_OK;
}

void *
cowmap_next(const struct cowmap *m, struct cow_at *at)
{
	for (; at->bucket < m->n_buckets; at->bucket++, at->place = 0)
		if (m->v[at->bucket] && at->place < m->v[at->bucket]->n)
			return m->v[at->bucket]->v[at->place++].value;
	return NULL;
}

void *
cowmap_next_new(
    const struct cowmap *m, const struct cowmap *was, struct cow_at *at)
{
	for (; at->bucket < m->n_buckets; at->bucket++, at->place = 0) {
		const struct cow_bucket *b = m->v[at->bucket];

		if (!b ||
		    (was->n_buckets == m->n_buckets && was->v[at->bucket] == b))
			continue;
		while (at->place < b->n) {
			const struct cow_slot *s = &b->v[at->place++], *old;

			old = find(was, s->hash, m->ops->key_of(s->value));
			if (!old || old->value != s->value)
				return s->value;
		}
	}
	return NULL;
}
