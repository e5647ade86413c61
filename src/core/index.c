/* SPDX-License-Identifier: Apache-2.0
 * A filter is a node of the tree whose value is a list of targets, one for
 * each shard that has any; every targets on the list holds its node once.
 */
#include "core/index.h"

#include <assert.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "core/index_impl.h"
#include "core/memo.h"
#include "core/tree.h"

#define MATCH_MIN  16
#define MEMO_AFTER 1000 /* matches, before remembering them pays */

static struct node *
node_of(const struct filter *f)
{
	return (struct node *)(uintptr_t)f;
}

static struct filter *
filter_of(struct node *n)
{
	return (struct filter *)(void *)n;
}

static void
targets_free(void *p)
{
	struct targets *t = p;

	if (t->subs != home_sub(t))
		free(t->subs);
	free(t);
}

static void
targets_free_list(void *p)
{
	struct targets *t = p;

	while (t) {
		struct targets *next = atomic_load(&t->next);

		targets_free(t);
		t = next;
	}
}

/* Its parts that one thread writes and others read have lines of their own. */
static struct index *
index_alloc(void)
{
	struct index *ix = aligned_alloc(_Alignof(struct index), sizeof *ix);

	if (ix)
		memset(ix, 0, sizeof *ix);
	return ix;
}

enum nj_err
index_new(const struct index_opts *opts, struct index **out)
{
	struct index *ix;
	enum nj_err e;

	if (!(ix = index_alloc()))
		return NJ_NOMEM;
	if ((e = tree_init(&ix->tree, false,
		 opts->retire_seen ? opts->retire_seen : opts->retire,
		 opts->arg))) {
		free(ix);
		return e;
	}
	(void)pthread_mutex_init(&ix->lock, NULL);
	ix->shards = opts->shards;
	ix->retire = opts->retire;
	ix->arg = opts->arg;
	atomic_init(&ix->changes, 1);
	*out = ix;
	return NJ_OK;
}

void
index_free(struct index *ix)
{
	if (!ix)
		return;
	tree_fini(&ix->tree, targets_free_list);
	(void)pthread_mutex_destroy(&ix->lock);
	free(ix);
}

/* A walk through the levels of one topic.  They are cut and hashed when first
 * needed: most walks end early, or reuse a level on several branches. */
struct walk {
	const struct tree *tree;
	struct slice rest;
	bool more; /* rest holds another level */
	bool dollar;
	unsigned cut; /* levels in lv */
	unsigned top; /* entries in todo */
	struct level lv[TOPIC_LEVELS_MAX];
	/* A step leaves at most the "+" branch for later, one a level. */
	struct {
		struct node *node;
		unsigned depth;
	} todo[TOPIC_LEVELS_MAX + 1];
};

/* Whether the topic has a level at this depth, which is then in lv. */
static bool
walk_level(struct walk *w, unsigned depth)
{
	struct level *lv = &w->lv[depth];

	if (depth < w->cut)
		return true;
	if (!topic_next(&w->rest, &w->more, &lv->text))
		return false;
	lv->hash = tree_level_hash(lv->text);
	w->cut++;
	return true;
}

static enum nj_err
match_grow(struct match *m)
{
	uint32_t cap = m->cap ? m->cap * 2 : MATCH_MIN;
	struct filter **v = reallocarray(m->v, cap, sizeof(struct filter *));

	if (!v)
		return NJ_NOMEM;
	m->cap = cap;
	m->v = v;
	return NJ_OK;
}

static enum nj_err
match_add(struct match *m, struct node *n)
{
	enum nj_err e;

	if (!n || !node_value(n))
		return NJ_OK;
	if (m->n == m->cap && (e = match_grow(m)))
		return e;
	m->v[m->n++] = filter_of(n);
	return NJ_OK;
}

/* Follows one branch to its end, leaving its "+" side branches in todo. */
static enum nj_err
walk_branch(struct walk *w, struct node *n, unsigned depth, struct match *m)
{
	const struct tree *t = w->tree;
	const uint32_t limit = m->max_work ? m->max_work : UINT32_MAX;

	for (;; depth++) {
		/* [MQTT-4.7.2-1] */
		bool wild = depth > 0 || !w->dollar;
		struct node *plus;
		enum nj_err e;

		if (++m->work > limit)
			return NJ_FULL;
		/* "#" includes the parent level (4.7.1.2). */
		if (wild && (e = match_add(m, tree_hash(t, n))))
			return e;
		if (!walk_level(w, depth))
			return match_add(m, n);
		if (wild && (plus = tree_plus(t, n))) {
			assert(w->top <= TOPIC_LEVELS_MAX);
			w->todo[w->top].node = plus;
			w->todo[w->top++].depth = depth + 1;
		}
		if (!(n = tree_child(t, n, &w->lv[depth])))
			return NJ_OK;
	}
}

static enum nj_err
walk(const struct index *ix, struct slice topic, struct match *m)
{
	struct walk w;
	size_t slashes = 0;
	enum nj_err e;

	/* Only a long topic can have too many levels. */
	for (size_t i = 0; topic.n >= TOPIC_LEVELS_MAX && i < topic.n; i++)
		slashes += topic.p[i] == '/';
	if (slashes >= TOPIC_LEVELS_MAX)
		return NJ_TOOBIG;
	w.tree = &ix->tree;
	w.rest = topic;
	w.more = true;
	w.dollar = topic.n > 0 && topic.p[0] == '$';
	w.cut = 0;
	w.top = 0;
	e = walk_branch(&w, ix->tree.root, 0, m);
	while (!e && w.top > 0) {
		w.top--;
		e = walk_branch(&w, w.todo[w.top].node, w.todo[w.top].depth, m);
	}
	return e;
}

_Static_assert(MEMO_FILTERS <= MATCH_MIN, "a first walk makes room");

enum nj_err
index_match(struct index *ix, struct slice topic, struct match *m)
{
	/* Read before the walk: what changes during it makes the memo old. */
	uint64_t hash = 0,
		 changes =
		     atomic_load_explicit(&ix->changes, memory_order_acquire);
	struct memo *memo = NULL;
	enum nj_err e;

	m->n = 0;
	m->work = 0;
	if (m->memos && (memo = memo_at(m->memos, topic, &hash)) &&
	    memo_knows(memo, topic, hash, changes)) {
		for (; m->n < memo->n; m->n++)
			m->v[m->n] = memo->v[m->n];
		return NJ_OK;
	}
	if ((e = walk(ix, topic, m)))
		return e;
	if (memo)
		memo_learn(memo, topic, hash, changes, m->v, m->n);
	else if (!m->memos && ++m->used >= MEMO_AFTER) {
		m->memos = memos_new();
		m->used = 0;
	}
	return NJ_OK;
}

void
match_fini(struct match *m)
{
	memos_free(m->memos);
	free(m->v);
	*m = (struct match){ 0 };
}

struct targets *
filter_targets(const struct filter *f)
{
	return node_value(node_of(f));
}

struct targets *
filter_targets_of(const struct filter *f, unsigned shard)
{
	struct targets *t = filter_targets(f);

	while (t && t->shard != shard)
		t = atomic_load_explicit(&t->next, memory_order_acquire);
	return t;
}

size_t
filter_text(const struct filter *f, uint8_t *dst, size_t size)
{
	return node_text(node_of(f), dst, size);
}

/* After the change can be seen, and before what went is retired. */
static void
filters_changed(struct index *ix, uint64_t more)
{
	ix->filters += more;
	atomic_fetch_add_explicit(&ix->changes, 1, memory_order_release);
}

/* Puts an empty targets of the shard on the node's list. */
static struct targets *
targets_add(struct index *ix, struct node *n, unsigned shard)
{
	struct targets *was = node_value(n);
	struct home *h = calloc(1, sizeof *h);
	struct targets *t;

	if (!h)
		return NULL;
	t = &h->targets;
	atomic_init(&t->next, was);
	t->filter = filter_of(n);
	atomic_init(&t->live, 0);
	t->shard = (uint16_t)shard;
	t->cap = 1;
	t->subs = &h->one;
	atomic_store_explicit(&n->value, t, memory_order_release);
	if (!was)
		filters_changed(ix, 1);
	index_count(&ix->bytes, sizeof *h);
	return t;
}

enum nj_err
index_room(struct index *ix, struct targets *t, uint32_t cap)
{
	bool inside = t->subs == home_sub(t);
	struct sub *to = reallocarray(inside ? NULL : t->subs, cap, sizeof *to);

	if (!to)
		return NJ_NOMEM;
	if (inside)
		memcpy(to, t->subs, t->n * sizeof *to);
	index_count(&ix->bytes,
	    ((int64_t)cap - (inside ? 0 : (int64_t)t->cap)) *
		(int64_t)sizeof *to);
	t->cap = cap;
	t->subs = to;
	return NJ_OK;
}

static void
targets_unlink(struct index *ix, struct targets *t)
{
	struct node *n = node_of(t->filter);
	struct targets *next =
	    atomic_load_explicit(&t->next, memory_order_relaxed);
	struct targets *at = node_value(n);
	size_t size = sizeof(struct home);

	if (at == t) {
		atomic_store_explicit(&n->value, next, memory_order_release);
		if (!next)
			filters_changed(ix, UINT64_MAX);
	} else {
		while (
		    atomic_load_explicit(&at->next, memory_order_relaxed) != t)
			at = atomic_load_explicit(
			    &at->next, memory_order_relaxed);
		atomic_store_explicit(&at->next, next, memory_order_release);
	}
	if (t->subs != home_sub(t))
		size += t->cap * sizeof(struct sub);
	index_count(&ix->bytes, -(int64_t)size);
	if (ix->retire)
		ix->retire(ix->arg, targets_free, t, size);
	else
		targets_free(t);
	tree_drop(&ix->tree, n);
}

enum nj_err
index_hold(
    struct index *ix, unsigned shard, struct slice filter, struct targets **out)
{
	struct targets *t;
	struct node *n;
	enum nj_err e;

	assert(shard < ix->shards);
	(void)pthread_mutex_lock(&ix->lock);
	if ((e = tree_hold(&ix->tree, filter, &n)))
		goto out;
	if ((t = filter_targets_of(filter_of(n), shard))) {
		tree_drop(&ix->tree, n); /* t has its own hold */
	} else if (!(t = targets_add(ix, n, shard))) {
		tree_drop(&ix->tree, n);
		e = NJ_NOMEM;
		goto out;
	}
	atomic_fetch_add_explicit(&t->live, 1, memory_order_relaxed);
	*out = t;
out:
	(void)pthread_mutex_unlock(&ix->lock);
	return e;
}

/* With the lock, so that it needs no read-side section. */
enum nj_err
index_find(
    struct index *ix, unsigned shard, struct slice filter, struct targets **out)
{
	struct targets *t = NULL;
	struct node *n;

	(void)pthread_mutex_lock(&ix->lock);
	if ((n = tree_find(&ix->tree, filter)))
		t = filter_targets_of(filter_of(n), shard);
	(void)pthread_mutex_unlock(&ix->lock);
	if (!t)
		return NJ_NOTFOUND;
	*out = t;
	return NJ_OK;
}

void
index_release(struct index *ix, struct targets *t)
{
	(void)pthread_mutex_lock(&ix->lock);
	if (atomic_fetch_sub_explicit(&t->live, 1, memory_order_acq_rel) == 1)
		targets_unlink(ix, t);
	(void)pthread_mutex_unlock(&ix->lock);
}

void
index_stats(struct index *ix, struct index_stats *out)
{
	(void)pthread_mutex_lock(&ix->lock);
	out->filters = ix->filters;
	(void)pthread_mutex_unlock(&ix->lock);
	out->subscriptions =
	    atomic_load_explicit(&ix->subscriptions, memory_order_relaxed);
	out->bytes = atomic_load_explicit(&ix->bytes, memory_order_relaxed) +
	    atomic_load_explicit(&ix->tree.bytes, memory_order_relaxed);
}
