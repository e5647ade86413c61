/* SPDX-License-Identifier: Apache-2.0
 *
 * What one shard owes another before it may acknowledge; durable.h.
 */
#include <assert.h>
#include <stdlib.h>

#include "broker/durable.h"
#include "broker/internal.h"
#include "broker/shard.h"
#include "broker/storing.h"

struct part {
	struct letter letter; /* LETTER_PART */
	struct pledge *pledge;
	struct keep_part part; /* batch NULL: nothing there */
	struct store_batch batch;
};

struct pledge {
	struct letter letter; /* LETTER_PLEDGE */
	atomic_uint refs;
	unsigned home;
	uint64_t gate;
	atomic_bool failed; /* a record found no memory */
	bool together;
	bool arrived; /* home, and waits for those of earlier turns */
	unsigned n_parts;
	struct part parts[]; /* one a shard, when together */
};

#define COMPANY_MIN 16u

/* A batch's company: pledges whose records it has. */
struct company {
	uint32_t n, cap;
	struct pledge *v[];
};

struct pledge *
pledge_ref(struct pledge *p)
{
	atomic_fetch_add_explicit(&p->refs, 1, memory_order_relaxed);
	return p;
}

static bool
last(struct pledge *p)
{
	return atomic_fetch_sub_explicit(&p->refs, 1, memory_order_acq_rel) ==
	    1;
}

static void
pledge_free(struct pledge *p)
{
	for (unsigned i = 0; i < p->n_parts; i++) {
		if (p->parts[i].part.batch)
			batch_fini(&p->parts[i].batch);
		free(p->parts[i].part.v);
	}
	free(p);
}

/* A place in b's company. */
static enum nj_err
company_reserve(struct store_batch *b)
{
	struct company *c = b->companions, *more;
	uint32_t cap = c ? c->cap * 2 : COMPANY_MIN;

	if (c && c->n < c->cap)
		return NJ_OK;
	if (!(more = realloc(c, sizeof *c + cap * sizeof(c->v[0]))))
		return NJ_NOMEM;
	if (!c)
		more->n = 0;
	more->cap = cap;
	b->companions = more;
	return NJ_OK;
}

/* Its records go to disk with the open batch: all of them, and who waits for
 * them is told.  False: there is no memory, and nothing was done. */
static bool
write_parts(struct shard *sh, struct gate *g)
{
	struct durable *d = &sh->durable;
	struct pledge *p = g->together;
	struct company *c;
	uint32_t n = 0;

	for (unsigned i = 0; i < p->n_parts; i++)
		if (p->parts[i].part.batch)
			n += p->parts[i].part.batch->n;
	if (batch_reserve(d->open, n) || company_reserve(d->open))
		return false;
	g->pledges--;
	g->together = NULL;
	if (atomic_load(&p->failed))
		g->failed = true;
	for (unsigned i = 0; i < p->n_parts; i++) {
		struct store_batch *b = p->parts[i].part.batch;

		if (b && b->live > 0)
			batch_append(d->open, b);
		/* it may be long until it is on disk */
		if (b)
			batch_fini(b);
		p->parts[i].part.batch = NULL;
		d->keep.bytes += p->parts[i].part.bytes;
	}
	g->ticket = d->keep.ticket;
	atomic_store_explicit(&p->refs, 1, memory_order_relaxed);
	c = d->open->companions;
	c->v[c->n++] = p;
	return true;
}

/* Those that are home, up to the first that is not. */
static void
write_arrived(struct shard *sh)
{
	struct durable *d = &sh->durable;

	d->together_stuck = false;
	if (d->together_from < d->gate_first)
		d->together_from = d->gate_first;
	for (;; d->together_from++) {
		struct gate *g = durable_gate(d, d->together_from);

		if (g->together && !g->together->arrived)
			break;
		d->together_stuck = g->together && !write_parts(sh, g);
		/* this turn's may begin one yet */
		if (d->together_stuck ||
		    d->together_from == d->gate_first + d->gate_n)
			break;
	}
}

void
pledge_again(struct shard *sh)
{
	if (sh->durable.together_stuck)
		write_arrived(sh);
}

/* Everyone has put its records where they go.  What goes together does so in
 * the order of the turns that began it: a session's end may be in one, and its
 * beginning in one before. */
static void
come_home(struct shard *sh, struct pledge *p)
{
	struct durable *d = &sh->durable;
	struct gate *g = durable_gate(d, p->gate);

	assert(g->pledges > 0);
	if (!p->together) {
		g->pledges--;
		if (atomic_load(&p->failed))
			g->failed = true;
		pledge_free(p);
		return;
	}
	p->arrived = true;
	write_arrived(sh);
}

void
pledge_home(struct shard *sh, struct letter *l)
{
	come_home(sh, (struct pledge *)l);
}

static void
send_home(struct broker *b, struct pledge *p)
{
	p->letter.kind = LETTER_PLEDGE;
	shard_post(&b->shards[p->home], &p->letter);
}

static void
unref(struct shard *sh, struct pledge *p)
{
	if (!p || !last(p))
		return;
	if (p->home == sh->home.shard)
		come_home(sh, p);
	else
		send_home(sh->broker, p);
}

/* p goes with the records of the open batch; its reference is taken over. */
void
pledge_join(struct shard *sh, struct pledge *p)
{
	struct store_batch *b = sh->durable.open;
	struct company *c = b->companions;

	if (c && c->n > 0 && c->v[c->n - 1] == p) {
		unref(sh, p); /* not the last */
		return;
	}
	if (company_reserve(b)) {
		atomic_store(&p->failed, true);
		unref(sh, p);
		return;
	}
	c = b->companions;
	c->v[c->n++] = p;
}

/* Each shard learns that its part is on disk. */
static void
distribute(struct shard *sh, struct pledge *p)
{
	unsigned n = 0;

	for (unsigned i = 0; i < p->n_parts; i++)
		n += p->parts[i].part.n > 0;
	if (n == 0) {
		pledge_free(p);
		return;
	}
	atomic_store(&p->refs, n);
	for (unsigned i = 0; n > 0 && i < p->n_parts; i++) {
		struct part *x = &p->parts[i];

		if (x->part.n == 0)
			continue;
		n--;
		x->letter.kind = LETTER_PART;
		x->pledge = p;
		/* the last one's may free p */
		if (i == sh->home.shard)
			pledge_part(sh, &x->letter);
		else
			shard_post(&sh->broker->shards[i], &x->letter);
	}
}

/* The end of its session came to the disk before it.  Without memory that is
 * recorded once more, which ends what is there of it. */
static void
too_late(struct shard *sh, const struct kept_entry *x)
{
	struct keep *k = &sh->durable.keep;
	enum nj_err e = x->key ? batch_queue_end(k->into, x->id, x->key)
			       : batch_released(k->into, x->id, x->pid);

	keep_note(k, e);
	if (e)
		owe_end(sh, 0, x->id, NULL);
}

void
pledge_part(struct shard *sh, struct letter *l)
{
	struct part *x = (struct part *)l;
	struct pledge *p = x->pledge;

	for (uint32_t i = 0; i < x->part.n; i++) {
		struct session *s =
		    session_by_number(&sh->home, x->part.v[i].session);

		if (s && s->kept)
			kept_is_sure(s->kept, x->part.v[i].key);
		else if (!sh->stopping)
			too_late(sh, &x->part.v[i]);
		/* one look when all of its are sure */
		if (s &&
		    (i + 1 == x->part.n ||
			x->part.v[i + 1].session != s->number))
			session_pump(s);
	}
	if (last(p))
		pledge_free(p);
}

void
pledge_company_home(struct broker *to, struct store_batch *b)
{
	struct company *c = b->companions;
	uint32_t left = 0;

	for (uint32_t i = 0; c && i < c->n; i++) {
		struct pledge *p = c->v[i];

		if (p->together || p->home == b->owner)
			c->v[left++] = p;
		else if (last(p))
			send_home(to, p);
	}
	if (c)
		c->n = left;
}

void
pledge_company(struct shard *sh, struct store_batch *b, bool on_disk)
{
	struct company *c = b->companions;

	b->companions = NULL;
	for (uint32_t i = 0; c && i < c->n; i++) {
		struct pledge *p = c->v[i];

		if (p->together && !on_disk)
			pledge_free(p);
		else if (p->together)
			distribute(sh, p);
		else
			unref(sh, p);
	}
	free(c);
}

/* The turn's own. */

static struct pledge *
own(struct shard *sh, bool together)
{
	struct durable *d = &sh->durable;
	unsigned n = together ? sh->broker->n : 0;
	struct pledge *p = d->own[together];

	if (p)
		return p;
	if (!(p = calloc(1, sizeof *p + n * sizeof p->parts[0])))
		return NULL;
	atomic_init(&p->refs, 1);
	p->home = sh->home.shard;
	p->gate = d->gate_first + d->gate_n;
	p->together = together;
	p->n_parts = n;
	d->gate.pledges++;
	/* before anything that it is for leaves this shard */
	atomic_store_explicit(
	    &d->gate_end, durable_gate_end(d), memory_order_release);
	if (together)
		d->gate.together = p;
	d->own[together] = p;
	return p;
}

void
pledge_close_own(struct shard *sh)
{
	struct durable *d = &sh->durable;

	for (unsigned i = 0; i < 2; i++) {
		struct pledge *p = d->own[i];

		d->own[i] = NULL;
		unref(sh, p);
	}
}

struct pledge *
pledge_for(struct shard *sh, const struct msg *m)
{
	struct durable *d = &sh->durable;
	struct pledge *p;

	if (!d->store ||
	    (m->qos == 0 && !sh->home.limits.upgrade_qos && !d->foreign))
		return NULL;
	p = d->foreign ? d->foreign : own(sh, d->keep.part != NULL);
	if (!p) {
		d->keep.failed = true;
		return NULL;
	}
	d->keep.dirty = true;
	return pledge_ref(p);
}

void
pledge_unref(struct shard *sh, struct pledge *p)
{
	unref(sh, p);
}

/* Records go to this shard's part of p: never elsewhere for want of memory, as they
 * could come to the disk without those that they go with, and QoS 2 twice to who
 * gets it by them. */
static void
enter(struct shard *sh, struct pledge *p)
{
	struct durable *d = &sh->durable;
	struct part *x = &p->parts[sh->home.shard];

	if (!x->part.batch) {
		batch_init(&storing_msgs, &x->batch);
		x->part.batch = &x->batch;
	}
	d->keep.part = &x->part;
	d->keep.into = x->part.batch;
	d->part_gate = p->home == sh->home.shard ? p->gate + 1 : UINT64_MAX;
}

static void
leave(struct durable *d)
{
	d->keep.part = NULL;
	d->keep.into = d->open;
}

void
pledge_begin(struct shard *sh, struct pledge *p)
{
	struct durable *d = &sh->durable;

	assert(!d->foreign);
	d->foreign = p;
	d->keep.dirty = d->keep.failed = false;
	if (p && p->together)
		enter(sh, p);
}

void
pledge_end(struct shard *sh)
{
	struct durable *d = &sh->durable;
	struct pledge *p = d->foreign;

	if (!p)
		return;
	d->foreign = NULL;
	if (d->keep.failed)
		atomic_store(&p->failed, true);
	d->keep.failed = false;
	leave(d);
	if (d->keep.dirty && !p->together)
		pledge_join(sh, p);
	else
		unref(sh, p);
	d->keep.dirty = false;
}

bool
together_begin(struct shard *sh)
{
	struct durable *d = &sh->durable;
	struct pledge *p;

	/* alone, all of a turn's records are in one transaction anyway; and
	 * what belongs to another's stays there */
	if (!d->store || sh->broker->n == 1 || d->foreign || d->keep.part)
		return false;
	if (!(p = own(sh, true))) {
		d->keep.failed = true;
		return false;
	}
	enter(sh, p);
	return true;
}

uint64_t
together_number(const struct shard *sh)
{
	return sh->durable.gate_first + sh->durable.gate_n;
}

bool
together_pending(struct shard *sh, uint64_t number)
{
	struct durable *d = &sh->durable;

	return d->store && number >= d->gate_first &&
	    durable_gate(d, number)->together;
}

bool
together_again(struct shard *sh, uint64_t number)
{
	struct durable *d = &sh->durable;
	struct pledge *p = d->store && number >= d->gate_first
	    ? durable_gate(d, number)->together
	    : NULL;

	if (!p || d->foreign || d->keep.part)
		return together_begin(sh);
	enter(sh, p);
	return true;
}

void
together_ends(struct shard *sh, uint64_t who, uint64_t number)
{
	struct durable *d = &sh->durable;
	unsigned at = d->ends_at++ % ENDS_MAX;

	d->ends[at].who = who;
	d->ends[at].number = number;
}

bool
together_after_end(struct shard *sh, uint64_t who, uint64_t *number)
{
	struct durable *d = &sh->durable;

	for (unsigned i = 1; i <= ENDS_MAX && i <= d->ends_at; i++) {
		unsigned at = (d->ends_at - i) % ENDS_MAX;

		if (d->ends[at].who != who)
			continue;
		*number = d->ends[at].number;
		return together_pending(sh, *number) &&
		    together_again(sh, *number);
	}
	return false;
}

void
together_end(struct shard *sh)
{
	leave(&sh->durable);
}
