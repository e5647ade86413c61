/* SPDX-License-Identifier: Apache-2.0
 */
#include "core/fanout.h"

#include <assert.h>
#include <stdlib.h>

/* Receivers between asking for a line of memory and needing it. */
#define AHEAD 4
/* Receivers that are in no near cache. */
#define MANY 1000

void
fanout_fini(struct fanout *f)
{
	free(f->v);
	*f = (struct fanout){ 0 };
}

enum nj_err
fanout_reserve(struct fanout *f)
{
	uint32_t cap = f->cap ? f->cap * 2 : 64;
	struct hit *v = realloc(f->v, cap * sizeof *v);

	if (!v)
		return NJ_NOMEM;
	f->v = v;
	f->cap = cap;
	return NJ_OK;
}

/* [MQTT-3.8.3-3]: not to the connection that published it. */
static bool
is_own(const struct sub *sub, const struct msg *m)
{
	return (sub->id_opts & SUB_NO_LOCAL) && m->from != 0 &&
	    m->from == sub->session->number;
}

static bool
keeps_retain(const struct sub *sub, const struct msg *m)
{
	return (sub->id_opts & SUB_RAP) && m->retain;
}

static void
deliver_one(const struct home *h, struct msg *m, const struct sub *sub)
{
	struct delivery d = {
		.msg = m,
		.qos = fanout_qos(h, m, sub->id_opts) & 3,
		.retain = keeps_retain(sub, m),
	};

	if (SUB_ID(sub))
		ids_add(&d.ids, SUB_ID(sub));
	session_deliver(sub->session, &d);
}

/* One atomic operation for all who may keep the message, instead of one each. */
static void
take_in_hand(struct home *h, struct msg *m, uint32_t n)
{
	assert(!h->in_hand);
	if (m->qos == 0 || n < 2)
		return;
	msg_ref_n(m, n);
	h->in_hand = m;
	h->n_in_hand = n;
}

/* The caller has one of his own. */
static void
empty_hand(struct home *h)
{
	if (h->n_in_hand > 0)
		msg_unref_n(h->in_hand, h->n_in_hand);
	h->in_hand = NULL;
	h->n_in_hand = 0;
}

/* A session some places further on, and what of it one nearer is about to need:
 * hundreds of them are in no near cache. */
NJ_PREFETCHES void
prefetch(const struct targets *t, uint32_t i)
{
	if (i + 2 * AHEAD < t->n)
		session_prefetch(t->subs[i + 2 * AHEAD].session);
	if (i + AHEAD < t->n)
		session_prefetch_place(t->subs[i + AHEAD].session);
}

/* Of QoS 0 less is needed: it pays where there are thousands. */
NJ_PREFETCHES void
prefetch_many(const struct targets *t, uint32_t i)
{
	if (i + 2 * AHEAD < t->n)
		__builtin_prefetch(t->subs[i + 2 * AHEAD].session);
	if (i + AHEAD < t->n)
		session_prefetch_link(t->subs[i + AHEAD].session);
}

static inline size_t
deliver_unless_own(struct home *h, struct msg *m, const struct sub *sub)
{
	if (is_own(sub, m))
		return 0;
	deliver_one(h, m, sub);
	return 1;
}

/* The common case: no other filter matched, so nothing can overlap. */
static size_t
deliver_list(struct home *h, struct msg *m, const struct targets *t)
{
	size_t n = 0;

	if (m->qos == 0 && t->n <= MANY) {
		for (uint32_t i = 0; i < t->n; i++)
			n += deliver_unless_own(h, m, &t->subs[i]);
		return n;
	}
	for (uint32_t i = 0; i < t->n; i++) {
		if (m->qos > 0)
			prefetch(t, i);
		else
			prefetch_many(t, i);
		n += deliver_unless_own(h, m, &t->subs[i]);
	}
	return n;
}

static struct hit *
hit_of(struct fanout *f, struct home *h, struct session *s)
{
	struct hit *hit;

	/* the epoch wraps: a mark is believed only if the hit agrees */
	if (s->mark == h->epoch && s->hit < f->n && f->v[s->hit].session == s)
		return &f->v[s->hit];
	if (f->n == f->cap && fanout_reserve(f))
		return NULL;
	s->mark = h->epoch;
	s->hit = f->n;
	hit = &f->v[f->n++];
	*hit = (struct hit){ .session = s };
	return hit;
}

/* A session for which there is no memory here gets overlapping messages apart,
 * as 3.3.4 allows. */
static void
gather(struct fanout *f, struct home *h, struct msg *m, const struct targets *t)
{
	for (uint32_t i = 0; i < t->n; i++) {
		const struct sub *sub = &t->subs[i];
		uint8_t qos = fanout_qos(h, m, sub->id_opts);
		struct hit *hit;

		if (is_own(sub, m))
			continue;
		if (!(hit = hit_of(f, h, sub->session))) {
			deliver_one(h, m, sub);
			continue;
		}
		if (qos > hit->qos)
			hit->qos = qos;
		hit->retain |= keeps_retain(sub, m);
		ids_add(&hit->ids, SUB_ID(sub));
	}
}

size_t
fanout_deliver(struct fanout *f, struct home *h, struct msg *m,
    struct targets *const *t, unsigned n)
{
	if (n == 1) {
		size_t got;

		take_in_hand(h, m, t[0]->n);
		got = deliver_list(h, m, t[0]);
		empty_hand(h);
		return got;
	}
	h->epoch++;
	f->n = 0;
	for (unsigned i = 0; i < n; i++)
		gather(f, h, m, t[i]);
	take_in_hand(h, m, f->n);
	for (uint32_t i = 0; i < f->n; i++) {
		const struct hit *hit = &f->v[i];

		session_deliver(hit->session,
		    &(struct delivery){
			.msg = m,
			.ids = hit->ids,
			.qos = hit->qos & 3,
			.retain = hit->retain,
		    });
	}
	empty_hand(h);
	return f->n;
}
