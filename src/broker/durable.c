/* SPDX-License-Identifier: Apache-2.0
 */
#include "broker/durable.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/ring.h"
#include "broker/conn.h"
#include "broker/internal.h"
#include "broker/paging.h"
#include "broker/retaining.h"
#include "broker/sessions.h"
#include "broker/shard.h"
#include "broker/storing.h"
#include "wire/encode.h"

static void
on_idle_over(struct timer *t, uint64_t now)
{
	(void)now;
	LIST_OWNER(t, struct durable, idle)->idle_over = true;
}

static void
on_hope_over(struct timer *t, uint64_t now)
{
	(void)now;
	LIST_OWNER(t, struct durable, hope)->hope_over = true;
}

/* Who waits for that is looked at when the turn ends. */
static void
on_reread_over(struct timer *t, uint64_t now)
{
	(void)t;
	(void)now;
}

enum nj_err
durable_init(struct shard *sh, struct store *store)
{
	struct durable *d = &sh->durable;
	enum nj_err e;

	list_init(&d->keep.pages);
	list_init(&d->keep.parked);
	list_init(&d->untaken);
	list_init(&d->saving);
	list_init(&d->wills);
	if (!store)
		return NJ_OK;
	if ((e = batch_new(&storing_msgs, &d->open)))
		return e;
	for (; d->n_spare < BATCHES_OUT; d->n_spare++)
		if ((e = batch_new(&storing_msgs, &d->spare[d->n_spare])))
			return e;
	d->store = store;
	d->idle.fn = on_idle_over;
	d->hope.fn = on_hope_over;
	d->reread.fn = on_reread_over;
	d->look.fn = on_reread_over;
	d->keep.ticket = d->promise_first = 1;
	d->kept_turn = d->may_keep = d->may_forget = KEPT_TURN;
	d->keep.into = d->keep.own = d->open;
	sh->home.keep = &d->keep;
	return NJ_OK;
}

/* Gates. */

static enum nj_err
push_gate(struct durable *d)
{
	if (d->gate_n == d->gate_cap) {
		struct gate *g = ring_double(
		    d->gates, sizeof *g, d->gate_head, d->gate_n, &d->gate_cap);

		if (!g)
			return NJ_NOMEM;
		d->gates = g;
		d->gate_head = 0;
	}
	d->gates[(d->gate_head + d->gate_n) & (d->gate_cap - 1)] = d->gate;
	d->gate_n++;
	d->gate = (struct gate){ 0 };
	return NJ_OK;
}

struct gate *
durable_gate(struct durable *d, uint64_t number)
{
	uint64_t at = number - d->gate_first;

	assert(at <= d->gate_n);
	return at == d->gate_n
	    ? &d->gate
	    : &d->gates[(d->gate_head + at) & (d->gate_cap - 1)];
}

/* Promises. */

static enum nj_err
grow(struct durable *d)
{
	struct promise *v =
	    ring_double(d->v, sizeof *v, d->head, d->n, &d->cap);

	if (!v)
		return NJ_NOMEM;
	d->v = v;
	d->head = 0;
	return NJ_OK;
}

/* After many there are few again. */
static void
give_back(struct durable *d)
{
	if (d->n == 0 && ring_is_large(sizeof *d->v, d->cap)) {
		free(d->v);
		d->v = NULL;
		d->head = d->cap = 0;
	}
	if (d->gate_n == 0 && ring_is_large(sizeof *d->gates, d->gate_cap)) {
		free(d->gates);
		d->gates = NULL;
		d->gate_head = d->gate_cap = 0;
	}
	received_give_back(d);
}

/* Its number, or 0. */
static uint64_t
push(struct conn *c, const struct promise *p)
{
	struct durable *d = &c->shard->durable;

	bool unheard = c->link.closing || c->leaves;

	if (unheard || (d->n == d->cap && grow(d))) {
		if (!unheard)
			conn_doom(c, "out of memory");
		free(p->bytes);
		return 0;
	}
	d->v[(d->head + d->n) & (d->cap - 1)] = *p;
	d->gate.n++;
	c->link.held++;
	c->pubacks += p->type == MQTT_PUBACK;
	return d->promise_first + d->n++;
}

void
durable_promise(struct conn *c, enum mqtt_type type, uint16_t id, uint8_t code)
{
	(void)push(c,
	    &(struct promise){
		.conn = c, .type = (uint8_t)type, .id = id, .code = code });
}

void
durable_promise_bytes(struct conn *c, uint8_t *bytes, uint32_t len)
{
	(void)push(
	    c, &(struct promise){ .conn = c, .bytes = bytes, .len = len });
}

uint64_t
durable_promise_to_go_on(struct conn *c)
{
	c->saving = true;
	return push(c, &(struct promise){ .conn = c });
}

void
durable_go_on_now(struct conn *c, uint64_t number)
{
	struct durable *d = &c->shard->durable;
	uint64_t at = number - d->promise_first;
	struct promise *p = &d->v[(d->head + (uint32_t)at) & (d->cap - 1)];

	assert(at < d->n && p->conn == c && p->type == 0 && !p->bytes);
	p->conn = NULL;
	c->link.held--; /* what is answered from now on is not behind it */
	conn_saved(c);
}

/* It promises nothing, and is only to come after the PUBACKs before it
 * [MQTT-4.6.0-2]: who is refused again and again needs no place for that. */
static bool
is_mere_refusal(const struct conn *c, enum mqtt_type type, enum mqtt_rc code)
{
	return type == MQTT_PUBACK && code >= 0x80 && c->pubacks == 0 &&
	    !c->leaves && !c->gone;
}

enum nj_err
durable_ack(struct conn *c, enum mqtt_type type, uint16_t id, enum mqtt_rc code)
{
	if (!durable_must_wait(&c->shard->durable, &c->link) ||
	    is_mere_refusal(c, type, code))
		return link_ack(&c->link, type, id, (uint8_t)code);
	durable_promise(c, type, id, (uint8_t)code);
	return NJ_OK;
}

static void
send_bytes(struct conn *c, const struct promise *p)
{
	if (c->link.closing)
		return;
	link_kick(&c->link);
	c->link.packets++;
	if (buf_put(&c->link.out, p->bytes, p->len))
		conn_doom(c, "out of memory");
}

/* False: no memory. */
static bool
keep_word(struct conn *c, const struct promise *p)
{
	if (p->bytes) {
		send_bytes(c, p);
	} else if (p->type == 0) {
		conn_saved(c);
	} else if (p->type == MQTT_PUBLISH) {
		if (c->session && c->session->link == &c->link)
			session_send_held(c->session, p->id);
	} else {
		return link_ack(&c->link, p->type, p->id, p->code) != NJ_NOMEM;
	}
	return true;
}

/* The connection may have ended since. */
static void
fulfil(struct promise *p, bool failed)
{
	struct conn *c = p->conn;

	if (!c)
		return;
	c->link.held--;
	c->pubacks -= p->type == MQTT_PUBACK;
	if (c->state == CONN_DEAD) {
		if (c->link.held == 0 && c->buried)
			free(c);
	} else if (failed || !keep_word(c, p)) {
		conn_doom(c, "out of memory");
	} else if (c->parting && c->link.held == 0) {
		conn_parted(c);
	}
	free(p->bytes);
}

void
durable_puback_now(struct durable *d, uint32_t at, uint8_t code)
{
	struct promise *p = &d->v[(d->head + at) & (d->cap - 1)], now = *p;

	assert(at < d->n && p->conn && p->type == MQTT_PUBACK);
	p->conn = NULL;
	now.code = code;
	fulfil(&now, false);
}

/* All that the first gate waits for is on disk. */
static bool
may_open(const struct durable *d)
{
	const struct gate *g;

	if (d->gate_n == 0)
		return false;
	g = &d->gates[d->gate_head];
	return g->pledges == 0 && g->ticket <= d->keep.done;
}

/* The first gate's; what is sent may promise more, at this turn's gate.  False:
 * the rest has to wait for another turn. */
static bool
open_gate(struct durable *d)
{
	struct gate *g = &d->gates[d->gate_head];

	for (; g->n > 0; g->n--) {
		struct promise p = d->v[d->head];

		if (d->may_keep == 0)
			return false;
		d->may_keep--;
		d->given_up -= d->given_up > 0;
		d->refused -= d->refused > 0;
		d->head = (d->head + 1) & (d->cap - 1);
		d->n--;
		d->promise_first++;
		fulfil(&p, g->failed);
	}
	d->gate_head = (d->gate_head + 1) & (d->gate_cap - 1);
	d->gate_n--;
	d->gate_first++;
	return true;
}

static void
open_gates(struct durable *d)
{
	while (may_open(d) && open_gate(d))
		atomic_store_explicit(
		    &d->gate_open, d->gate_first, memory_order_release);
}

uint64_t
durable_gate_end(const struct durable *d)
{
	return d->gate_first + d->gate_n +
	    (d->gate.n > 0 || d->gate.pledges > 0);
}

/* Batches. */

static bool
is_full(const struct durable *d)
{
	return d->keep.bytes + d->open->bytes + d->under_way + d->places_bytes >
	    KEEP_BYTES;
}

static void
set_busy(struct durable *d)
{
	d->keep.busy = d->keep.done < d->submitted || batch_urgent(d->open) ||
	    d->gate_n > 0;
	d->keep.full = is_full(d);
	atomic_store_explicit(&d->behind, d->keep.full, memory_order_relaxed);
}

/* What is on disk need not be in memory, nor count as if it was. */
static void
forget_written(struct durable *d)
{
	struct store_batch *b;

	while ((b = d->written) && batch_clear_some(b, &d->may_forget)) {
		d->written = b->next;
		d->under_way -= b->weight;
		if (d->n_spare + d->n_out < BATCHES_OUT)
			d->spare[d->n_spare++] = b;
		else
			batch_free(b);
	}
}

/* b is on disk. */
static void
add_written(struct durable *d, struct store_batch *b)
{
	b->next = NULL;
	if (d->written)
		d->written_last->next = b;
	else
		d->written = b;
	d->written_last = b;
	forget_written(d);
	/* without memory it is its own successor, when it is forgotten */
	if (d->written && d->n_spare + d->n_out < BATCHES_OUT &&
	    batch_new(&storing_msgs, &d->spare[d->n_spare]) == NJ_OK)
		d->n_spare++;
}

void
durable_turn_begins(struct shard *sh)
{
	struct durable *d = &sh->durable;

	d->may_keep = d->may_forget = sh->stopping ? UINT32_MAX : d->kept_turn;
}

bool
durable_goes_on(const struct durable *d)
{
	return d->store && d->open &&
	    (d->written || may_open(d) ||
		(!d->keep.stuck && !list_empty(&d->wills)));
}

/* Nothing of it is left to be written: its company need not wait. */
static void
drop_empty(struct shard *sh)
{
	struct durable *d = &sh->durable;

	if (d->hope.at && d->lost > 0)
		d->lost--;
	timer_stop(&sh->home.timers, &d->hope);
	d->hope_over = false;
	batch_clear(d->open);
	d->keep.bytes = 0;
	d->submitted = d->keep.done = d->keep.ticket++;
	pledge_company(sh, d->open, true);
}

void
durable_flush(struct shard *sh)
{
	struct durable *d = &sh->durable;

	if (!d->store || !d->open ||
	    (d->open->live == 0 && !d->open->companions))
		return;
	timer_stop(&sh->home.timers, &d->idle);
	timer_stop(&sh->home.timers, &d->hope);
	d->idle_over = d->hope_over = false;
	d->submitted = d->open->ticket = d->keep.ticket++;
	d->open->owner = sh->home.shard;
	d->open->weight = d->keep.bytes + d->open->bytes;
	d->under_way += d->open->weight;
	d->n_out++;
	d->keep.bytes = 0;
	store_submit(d->store, d->open);
	/* at the very end there is none any more */
	d->open = d->n_spare > 0 ? d->spare[--d->n_spare] : NULL;
	d->keep.into = d->keep.own = d->open;
}

static void
close_gate(struct shard *sh)
{
	struct durable *d = &sh->durable;

	if (d->gate.n == 0 && d->gate.pledges == 0)
		return;
	d->gate.ticket = d->open->n > 0 ? d->keep.ticket : d->submitted;
	if (push_gate(d))
		/* without memory its promises wait for the next one's */
		return;
	pledge_close_own(sh);
}

/* The latest gate is one of what is recorded and not submitted yet. */
static bool
is_awaited(const struct durable *d)
{
	uint32_t last = d->gate_head + d->gate_n - 1;

	return d->gate_n > 0 &&
	    d->gates[last & (d->gate_cap - 1)].ticket == d->keep.ticket;
}

/* Whether what is recorded goes to the store now: somebody waits for it, or it
 * has waited long enough.  While the store has some of this shard's that is not
 * so: a commit for this alone would come between that and the next. */
static bool
is_due(struct shard *sh)
{
	struct durable *d = &sh->durable;

	if (is_full(d) || batch_urgent(d->open) || is_awaited(d) ||
	    d->open->companions || !list_empty(&d->keep.pages) ||
	    d->open->live >= IDLE_MAX || sh->stopping)
		return true;
	if (d->keep.done != d->submitted) {
		d->idle_over = false;
		return false;
	}
	if (d->idle_over)
		return true;
	return !d->idle.at &&
	    timer_set(&sh->home.timers, &d->idle, sh->home.now_ms + IDLE_MS);
}

/* All of it may be acknowledged before it is written. */
static bool
may_vanish(const struct store_batch *b)
{
	if (b->n > HOPE_RECS)
		return false;
	for (uint32_t i = 0; i < b->n; i++) {
		const struct store_rec *r = &b->v[i];

		if (r->kind != REC_NONE && r->kind != REC_QUEUE_END &&
		    (r->kind != REC_QUEUE || r->qos != 1))
			return false;
	}
	return true;
}

/*
 * Whether what is due is kept back for a moment.  A client that is there
 * acknowledges a message sooner than most disks have it; of a lone message the
 * publisher so gets its answer without any.  While the store has something of
 * this shard's there is nothing to win: the next commit waits for that.
 */
static bool
is_hopeful(struct shard *sh)
{
	struct durable *d = &sh->durable;
	bool may = d->keep.done == d->submitted && !sh->stopping &&
	    !is_full(d) && list_empty(&d->keep.pages) && may_vanish(d->open);

	if (!batch_urgent(d->open))
		return false; /* what was hoped for has come */
	if (d->hope_over || (d->hope.at && !may)) {
		d->lost = d->lost + 2 < HOPE_LOST ? d->lost + 2 : HOPE_LOST;
		d->skips = 1u << d->lost;
		return false;
	}
	if (!may)
		return false;
	if (d->hope.at)
		return true;
	if (d->skips > 0) {
		d->skips--;
		return false;
	}
	return timer_set(&sh->home.timers, &d->hope,
		   sh->home.now_ms + HOPE_MS) == NJ_OK;
}

void
durable_turn(struct shard *sh)
{
	struct durable *d = &sh->durable;

	if (!d->open) /* there is no store, or not any more */
		return;
	pledge_again(sh);
	if (d->n_owed > 0 && d->store)
		owed_again(sh);
	close_gate(sh);
	if (!d->store) {
		/* it is closed: what comes now would have come too late */
		batch_clear(d->open);
		pledge_company(sh, d->open, false);
		return;
	}
	d->keep.stuck = store_state(d->store) != STORE_OK;
	if (!d->keep.stuck) {
		if (d->places)
			retaining_fini(d);
		sessions_keep_wills(sh);
	}
	if (!d->keep.stuck && !d->reread.at)
		list_splice(&d->keep.pages, &d->keep.parked);
	else if ((!list_empty(&d->keep.parked) || !list_empty(&d->wills)) &&
	    !d->look.at)
		/* nothing else may wake it when there is room; without memory
		 * some other turn finds it */
		(void)!timer_set(
		    &sh->home.timers, &d->look, sh->home.now_ms + REREAD_MS);
	if (d->open->live > 0) {
		if (d->n_spare > 0 && is_due(sh) && !is_hopeful(sh))
			durable_flush(sh);
	} else if (d->keep.done == d->submitted &&
	    (d->open->n > 0 || d->open->companions)) {
		drop_empty(sh);
	}
	open_gates(d);
	if (!d->open)
		return;
	forget_written(d);
	give_back(d);
	/* a page has what was submitted before it was asked for */
	if (!list_empty(&d->keep.pages) &&
	    (d->open->live == 0 || d->keep.stuck))
		paging_ask(sh);
	set_busy(d);
}

void
durable_stored(struct shard *sh, struct letter *l)
{
	struct durable *d = &sh->durable;
	struct store_batch *b = (struct store_batch *)l;

	d->n_out--;
	if (b->ticket == 0) { /* it never came to the disk */
		pledge_company(sh, b, false);
		batch_free(b);
		return;
	}
	d->keep.done = b->ticket;
	pledge_company(sh, b, true);
	if (!d->open) {
		d->under_way -= b->weight;
		batch_free(b); /* the broker is going away */
		return;
	}
	add_written(d, b);
	open_gates(d);
	set_busy(d);
}

void
durable_closed(struct shard *sh)
{
	sh->durable.store = NULL;
}

bool
durable_behind(const struct shard *sh)
{
	const struct broker *b = sh->broker;

	/* in a turn of many publishers much comes together */
	if (sh->durable.open && is_full(&sh->durable))
		return true;
	for (unsigned i = 0; i < b->n; i++)
		if (atomic_load_explicit(
			&b->shards[i].durable.behind, memory_order_relaxed))
			return true;
	return false;
}

bool
durable_congested(const struct shard *sh)
{
	/* while nothing can be written at all, what must be is refused */
	return sh->durable.store &&
	    store_state(sh->durable.store) == STORE_OK && durable_behind(sh);
}

void
durable_fini(struct shard *sh)
{
	struct durable *d = &sh->durable;
	struct store_batch *b;

	while (d->n > 0) {
		struct promise p = d->v[d->head];

		d->head = (d->head + 1) & (d->cap - 1);
		d->n--;
		if (p.conn && --p.conn->link.held == 0 && p.conn->buried)
			free(p.conn);
		free(p.bytes);
	}
	owed_fini(d);
	received_fini(d);
	retaining_fini(d);
	free(d->v);
	free(d->gates);
	batch_free(d->open);
	while (d->n_spare > 0)
		batch_free(d->spare[--d->n_spare]);
	while ((b = d->written)) {
		d->written = b->next;
		batch_free(b);
	}
	d->v = NULL;
	d->gates = NULL;
	d->open = NULL;
}
