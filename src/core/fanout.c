/* SPDX-License-Identifier: Apache-2.0
 */
#include "core/fanout.h"

#include <stdlib.h>

void
fanout_fini(struct fanout *f)
{
	free(f->v);
	*f = (struct fanout){ 0 };
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

/* The common case: no other filter matched, so nothing can overlap. */
static size_t
deliver_list(struct home *h, struct msg *m, const struct targets *t)
{
	struct delivery d = { .msg = m };
	size_t n = 0;

	for (uint32_t i = 0; i < t->n; i++) {
		const struct sub *sub = &t->subs[i];

		if (is_own(sub, m))
			continue;
		d.ids = 0;
		if (SUB_ID(sub))
			ids_add(&d.ids, SUB_ID(sub));
		d.qos = fanout_qos(h, m, sub->id_opts) & 3;
		d.retain = keeps_retain(sub, m);
		session_deliver(sub->session, &d);
		n++;
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
	if (f->n == f->cap) {
		uint32_t cap = f->cap ? f->cap * 2 : 64;
		struct hit *v = realloc(f->v, cap * sizeof *v);

		if (!v)
			return NULL;
		f->v = v;
		f->cap = cap;
	}
	s->mark = h->epoch;
	s->hit = f->n;
	hit = &f->v[f->n++];
	*hit = (struct hit){ .session = s };
	return hit;
}

static void
gather(struct fanout *f, struct home *h, const struct msg *m,
    const struct targets *t)
{
	for (uint32_t i = 0; i < t->n; i++) {
		const struct sub *sub = &t->subs[i];
		uint8_t qos = fanout_qos(h, m, sub->id_opts);
		struct hit *hit;

		if (is_own(sub, m) || !(hit = hit_of(f, h, sub->session)))
			continue;
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
	if (n == 1)
		return deliver_list(h, m, t[0]);
	h->epoch++;
	f->n = 0;
	for (unsigned i = 0; i < n; i++)
		gather(f, h, m, t[i]);
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
	return f->n;
}
