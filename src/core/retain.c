/* SPDX-License-Identifier: Apache-2.0
 * A linked tree of topics, whose values are messages.  Each level of a filter
 * eats one level of the tree, so a walk needs no stack: the depth says which
 * part of the filter led to a node, and the node knows its parent.
 *
 * Messages that expire stand in a heap of timers, so that sweeping costs
 * nothing while none is due.
 *
 * Where the topics of the last messages are is remembered, so that a value that
 * changes again and again is not looked for level by level.
 */
#include "core/retain.h"

#include <assert.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/map.h"
#include "base/timer.h"
#include "core/tree.h"

#define RECENT 1024

/* It has a message, whose topic is the node's. */
struct recent {
	uint64_t hash;
	struct node *node; /* NULL: none */
};

struct retain {
	struct tree tree;
	pthread_mutex_t lock; /* writers of the tree, timers */
	struct timers timers;
	uint64_t max_count, max_bytes;
	uint32_t max_owned;
	uint64_t order;		      /* of the last change; under the lock */
	struct map owners;	      /* who has any, by name; under the lock */
	struct recent recent[RECENT]; /* under the lock */
	_Atomic(uint64_t) count, bytes;
};

struct owner {
	uint32_t n; /* messages */
	uint32_t len;
	uint8_t name[];
};

static struct slice
owner_name(const void *value)
{
	const struct owner *o = value;

	return slice_of(o->name, o->len);
}

/* NULL in *out: not counted.  It may be was. */
static enum nj_err
owner_get(
    struct retain *r, struct slice name, struct owner *was, struct owner **out)
{
	struct owner *o;

	*out = NULL;
	if (!r->max_owned || name.n == 0 || name.n > UINT16_MAX)
		return NJ_OK;
	*out = was && slice_eq(owner_name(was), name)
	    ? was
	    : map_get(&r->owners, name);
	if (*out)
		return NJ_OK;
	if (!(o = malloc(sizeof *o + name.n)))
		return NJ_NOMEM;
	o->n = 0;
	o->len = (uint32_t)name.n;
	memcpy(o->name, name.p, name.n);
	if (map_put(&r->owners, o)) {
		free(o);
		return NJ_NOMEM;
	}
	*out = o;
	return NJ_OK;
}

/* An owner of nothing is forgotten. */
static void
owner_check(struct retain *r, struct owner *o)
{
	if (!o || o->n > 0)
		return;
	(void)map_del(&r->owners, owner_name(o));
	free(o);
}

/* The topic's message is o's from now on; NULL: nobody's. */
static void
owner_set(struct retain *r, struct node *n, struct owner *o)
{
	struct owner *was = linked_of(n)->owner;

	if (o == was)
		return;
	if (o)
		o->n++;
	linked_of(n)->owner = o;
	if (was)
		was->n--;
	owner_check(r, was);
}

/* Only the fields of struct timer that matter are used: it is looked at under
 * the lock, never run. */
static void
never_run(struct timer *t, uint64_t now_ms)
{
	(void)t;
	(void)now_ms;
	assert(!"retained messages are dropped by retain_sweep");
}

static void
unref_later(void *p)
{
	msg_unref(p);
}

enum nj_err
retain_new(const struct retain_opts *o, struct retain **out)
{
	struct retain *r;
	enum nj_err e;

	if (!(r = calloc(1, sizeof *r)))
		return NJ_NOMEM;
	if ((e = tree_init(&r->tree, true, o->retire, o->arg))) {
		free(r);
		return e;
	}
	(void)pthread_mutex_init(&r->lock, NULL);
	r->max_count = o->max_count;
	r->max_bytes = o->max_bytes;
	r->max_owned = o->max_owned;
	map_init(&r->owners, owner_name);
	*out = r;
	return NJ_OK;
}

void
retain_free(struct retain *r)
{
	struct owner *o;
	size_t at = 0;

	if (!r)
		return;
	while ((o = map_next(&r->owners, &at)))
		free(o);
	map_fini(&r->owners);
	timers_fini(&r->timers);
	tree_fini(&r->tree, unref_later);
	(void)pthread_mutex_destroy(&r->lock);
	free(r);
}

uint64_t
retain_count(const struct retain *r)
{
	return atomic_load_explicit(&r->count, memory_order_relaxed);
}

uint64_t
retain_bytes(const struct retain *r)
{
	return atomic_load_explicit(&r->bytes, memory_order_relaxed);
}

static void
account(struct retain *r, const struct msg *gone, const struct msg *come)
{
	uint64_t n = (uint64_t)(come != NULL) - (gone != NULL);
	uint64_t bytes =
	    (come ? msg_size(come) : 0) - (gone ? msg_size(gone) : 0);

	atomic_fetch_add_explicit(&r->count, n, memory_order_relaxed);
	atomic_fetch_add_explicit(&r->bytes, bytes, memory_order_relaxed);
}

static bool
fits(const struct retain *r, const struct msg *gone, const struct msg *come)
{
	if (!gone && r->max_count && retain_count(r) >= r->max_count)
		return false;
	return !r->max_bytes ||
	    retain_bytes(r) - (gone ? msg_size(gone) : 0) + msg_size(come) <=
	    r->max_bytes;
}

/* Arms or stops the timer before the message is seen; what fails changes
 * nothing. */
static enum nj_err
date(struct retain *r, struct node *n, const struct msg *m)
{
	struct timer *t = &linked_of(n)->timer;

	if (!m || m->expires_at == MSG_NEVER) {
		timer_stop(&r->timers, t);
		return NJ_OK;
	}
	t->fn = never_run;
	return timer_set(&r->timers, t, m->expires_at);
}

static struct recent *
recent_at(struct retain *r, struct slice topic, uint64_t *hash)
{
	*hash = hash_quick(topic);
	return &r->recent[*hash & (RECENT - 1)];
}

/* The topic's node, if it has a message and is among them; else NULL. */
static struct node *
recent_find(struct retain *r, struct slice topic)
{
	uint64_t hash;
	const struct recent *x = recent_at(r, topic, &hash);

	if (!x->node || x->hash != hash ||
	    !slice_eq(msg_topic(node_value(x->node)), topic))
		return NULL;
	return x->node;
}

static void
recent_note(struct retain *r, struct slice topic, struct node *n)
{
	uint64_t hash;
	struct recent *x = recent_at(r, topic, &hash);

	*x = (struct recent){ hash, n };
}

static void
recent_forget(struct retain *r, struct slice topic, const struct node *n)
{
	uint64_t hash;
	struct recent *x = recent_at(r, topic, &hash);

	if (x->node == n)
		x->node = NULL;
}

/* The node goes when it has no message; the message's hold is the node's. */
static void
drop_value(struct retain *r, struct node *n)
{
	struct msg *was = node_value(n);

	recent_forget(r, msg_topic(was), n);
	timer_stop(&r->timers, &linked_of(n)->timer);
	owner_set(r, n, NULL);
	atomic_store_explicit(&n->value, NULL, memory_order_release);
	account(r, was, NULL);
	tree_retire(&r->tree, unref_later, was, msg_size(was));
	tree_drop(&r->tree, n);
}

/* Whether o may have the message of n. */
static bool
may_own(const struct retain *r, const struct node *n, const struct owner *o)
{
	const struct linked *l = linked_of((struct node *)(uintptr_t)n);

	return !o || o == l->owner || o->n < r->max_owned;
}

/* m becomes the message of n, which is held or has one. */
static enum nj_err
put_at(struct retain *r, struct node *n, struct msg *m, struct owner *o)
{
	struct msg *was = node_value(n);
	enum nj_err e = !may_own(r, n, o) ? NJ_BUSY
	    : !fits(r, was, m)		  ? NJ_FULL
					  : date(r, n, m);

	if (e)
		return e;
	owner_set(r, n, o);
	atomic_store_explicit(&n->value, msg_ref(m), memory_order_release);
	account(r, was, m);
	if (was)
		tree_retire(&r->tree, unref_later, was, msg_size(was));
	return NJ_OK;
}

static enum nj_err
put_value(struct retain *r, struct msg *m, struct slice owner)
{
	struct node *n = recent_find(r, msg_topic(m));
	bool had, known = n != NULL;
	struct owner *o = NULL;
	enum nj_err e;

	e = owner_get(r, owner, known ? linked_of(n)->owner : NULL, &o);
	if (!e && !known)
		e = tree_hold(&r->tree, msg_topic(m), &n);
	if (!e) {
		had = node_value(n) != NULL;
		e = put_at(r, n, m, o);
		if (!e && !known)
			recent_note(r, msg_topic(m), n);
		/* one hold a message is enough */
		if (!known && (e || had))
			tree_drop(&r->tree, n);
	}
	owner_check(r, o);
	return e;
}

enum nj_err
retain_set(struct retain *r, struct msg *m)
{
	return retain_set_for(r, m, SLICE_NONE);
}

enum nj_err
retain_set_for(struct retain *r, struct msg *m, struct slice owner)
{
	uint64_t order;

	return retain_change(r, m, owner, &order);
}

void
retain_order_from(struct retain *r, uint64_t order)
{
	r->order = order;
}

enum nj_err
retain_change(
    struct retain *r, struct msg *m, struct slice owner, uint64_t *order)
{
	enum nj_err e = NJ_OK;
	struct node *n;

	*order = 0;
	(void)pthread_mutex_lock(&r->lock);
	if (m->payload_len > 0) {
		if (!(e = put_value(r, m, owner)))
			*order = ++r->order;
	} else if ((n = tree_find(&r->tree, msg_topic(m))) && node_value(n)) {
		drop_value(r, n);
		*order = ++r->order;
	}
	(void)pthread_mutex_unlock(&r->lock);
	return e;
}

size_t
retain_sweep(struct retain *r, uint64_t now_ms, size_t budget,
    void (*gone)(void *arg, const struct msg *m, uint64_t order), void *arg)
{
	struct timers *ts = &r->timers;
	size_t dropped = 0;

	(void)pthread_mutex_lock(&r->lock);
	for (; dropped < budget; dropped++) {
		struct timer *t = timers_first(ts);
		struct linked *l;

		if (!t || t->due > now_ms)
			break;
		l = (struct linked *)(void *)((char *)t -
		    offsetof(struct linked, timer));
		r->order++;
		if (gone)
			gone(arg, node_value(&l->node), r->order);
		drop_value(r, &l->node);
	}
	(void)pthread_mutex_unlock(&r->lock);
	return dropped;
}

/* A filter being walked.  Level i leads from a node at depth i to those at
 * depth i + 1. */
struct walk {
	const struct tree *tree;
	uint64_t now_ms;
	bool (*fn)(void *arg, struct msg *m);
	void *arg;
	unsigned levels; /* the last "#" excluded */
	bool tail;	 /* it ended in "#" */
	bool plus[TOPIC_LEVELS_MAX];
	struct level lv[TOPIC_LEVELS_MAX];
};

static bool
walk_init(struct walk *w, struct slice filter)
{
	struct slice level;
	bool more = true;

	w->levels = 0;
	w->tail = false;
	while (topic_next(&filter, &more, &level)) {
		if (w->tail || w->levels == TOPIC_LEVELS_MAX)
			return false;
		if (slice_is(level, "#")) {
			w->tail = true;
			continue;
		}
		w->plus[w->levels] = slice_is(level, "+");
		w->lv[w->levels].text = level;
		w->lv[w->levels++].hash = tree_level_hash(level);
	}
	return true;
}

/* Whether to go on. */
static bool
emit(const struct walk *w, const struct node *n)
{
	struct msg *m = node_value(n);

	return !m || m->expires_at <= w->now_ms || w->fn(w->arg, m);
}

/* [MQTT-4.7.2-1] */
static struct node *
skip_dollar(struct node *n, unsigned depth)
{
	while (n && depth == 1 && n->len > 0 && n->text[0] == '$')
		n = node_next(n);
	return n;
}

/* The first node one level below n that the filter leads to. */
static struct node *
down(const struct walk *w, struct node *n, unsigned depth)
{
	if (depth < w->levels && !w->plus[depth])
		return tree_child(w->tree, n, &w->lv[depth]);
	if (depth < w->levels || w->tail)
		return skip_dollar(node_first(n), depth + 1);
	return NULL;
}

/* The next sibling that the filter leads to as well. */
static struct node *
across(const struct walk *w, struct node *n, unsigned depth)
{
	if (depth == 0 || (depth <= w->levels && !w->plus[depth - 1]))
		return NULL;
	return skip_dollar(node_next(n), depth);
}

/* Stays on n, which is not emitted yet, until the next portion; false when n
 * has been removed meanwhile. */
static bool
stay(struct retain *r, struct retain_walk *rw, struct node *n, unsigned depth)
{
	bool held;

	(void)pthread_mutex_lock(&r->lock);
	held = tree_hold_node(n);
	(void)pthread_mutex_unlock(&r->lock);
	if (held) {
		rw->at = n;
		rw->depth = depth;
	}
	return held;
}

void
retain_walk_end(struct retain *r, struct retain_walk *w)
{
	struct node *n = w->at;

	if (!n)
		return;
	*w = (struct retain_walk){ 0 };
	(void)pthread_mutex_lock(&r->lock);
	tree_drop(&r->tree, n);
	(void)pthread_mutex_unlock(&r->lock);
}

/* What follows n in the walk; NULL at its end. */
static struct node *
next_node(const struct walk *w, struct node *n, unsigned *depth)
{
	struct node *next = down(w, n, *depth);

	if (next) {
		++*depth;
		return next;
	}
	while (!(next = across(w, n, *depth))) {
		if ((*depth)-- == 0)
			return NULL;
		n = n->parent;
	}
	return next;
}

bool
retain_step(struct retain *r, struct retain_walk *rw, struct slice filter,
    uint64_t now_ms, uint32_t *budget, bool (*fn)(void *arg, struct msg *m),
    void *arg)
{
	struct walk w;
	struct node *n = rw->at ? rw->at : r->tree.root;
	unsigned depth = rw->at ? rw->depth : 0;

	w.tree = &r->tree;
	w.now_ms = now_ms;
	w.fn = fn;
	w.arg = arg;
	/* inside the read-side section n stays readable */
	retain_walk_end(r, rw);
	if (!walk_init(&w, filter))
		return true;
	while (n) {
		bool enough = *budget == 0;

		/* "a/#" includes "a" (4.7.1.2). */
		if (!enough && depth >= w.levels)
			enough = !emit(&w, n);
		if (enough && stay(r, rw, n, depth))
			return false;
		*budget -= *budget > 0;
		n = next_node(&w, n, &depth);
	}
	return true;
}

void
retain_match(struct retain *r, struct slice filter, uint64_t now_ms,
    bool (*fn)(void *arg, struct msg *m), void *arg)
{
	struct retain_walk w = { 0 };
	uint32_t budget = UINT32_MAX;

	(void)retain_step(r, &w, filter, now_ms, &budget, fn, arg);
	retain_walk_end(r, &w);
}
