/* SPDX-License-Identifier: Apache-2.0
 */
#include "core/session.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "core/full.h"
#include "core/tail.h"

static struct slice
id_of(const void *value)
{
	return session_id(value);
}

static struct slice
number_of(const void *value)
{
	const struct session *s = value;

	return slice_of(&s->number, sizeof s->number);
}

void
home_init(struct home *h, unsigned shard, struct index *ix)
{
	*h = (struct home){
		.shard = shard,
		.index = ix,
		.may_forget = FORGET_TURN,
		.may_skip = SKIP_TURN,
	};
	map_init(&h->sessions, id_of);
	map_init(&h->numbers, number_of);
	list_init(&h->all);
}

void
home_fini(struct home *h)
{
	assert(h->sessions.n == 0 && h->numbers.n == 0);
	home_end_some(h, true);
	overdue_clear(&h->overdue);
	drops_end(h);
	map_fini(&h->sessions);
	map_fini(&h->numbers);
	timers_fini(&h->timers);
	tables_fini(&h->tables);
}

struct session *
session_find(const struct home *h, struct slice id)
{
	return map_get(&h->sessions, id);
}

struct session *
session_by_number(const struct home *h, uint64_t number)
{
	return map_get(&h->numbers, slice_of(&number, sizeof number));
}

enum nj_err
session_new(struct home *h, struct slice id, struct session **out)
{
	struct session *s;
	enum nj_err e;

	if (id.n > UINT16_MAX)
		return NJ_TOOBIG;
	if (!(s = calloc(1, sizeof *s + id.n)))
		return NJ_NOMEM;
	s->home = h;
	s->out.tables = &h->tables;
	s->number = (uint64_t)h->shard << 48 | ++h->next_number;
	s->id_len = (uint16_t)id.n;
	if (id.n)
		memcpy(s->id, id.p, id.n);
	if ((e = map_put(&h->sessions, s))) {
		free(s);
		return e;
	}
	if ((e = map_put(&h->numbers, s))) {
		map_del(&h->sessions, id);
		free(s);
		return e;
	}
	s->walked = h->mark;
	list_push(&h->all, &s->all);
	*out = s;
	return NJ_OK;
}

static void
will_free(struct session_will *w)
{
	if (!w)
		return;
	list_remove(&w->unkept);
	msg_unref(w->msg);
	free(w);
}

/* What waited for it. */
static bool
forget_queued(struct session *s, uint32_t *left)
{
	struct delivery d;

	for (; s->queue.n > 0 && *left > 0; --*left)
		for (unsigned i = 0; i < FORGET_QUEUED; i++)
			if (queue_pop(&s->queue, &d))
				delivery_fini(&d);
	if (s->queue.n > 0)
		return false;
	queue_clear(&s->queue);
	return true;
}

/* The last of it: at most *left of its subscriptions, or as much else; whether
 * it is gone. */
static bool
forget(struct session *s, uint32_t *left)
{
	if (!forget_queued(s, left))
		return false;
	*left -= subs_clear_some(
	    &s->subs, s->home->index, &s->forget_at, *left, s->full);
	if (s->subs.n > 0)
		return false;
	free(s);
	return true;
}

/* Nobody has it any more but the lists of its subscriptions. */
static void
end_later(struct session *s)
{
	struct home *h = s->home;

	s->ended = true;
	s->check_reads = false;
	s->expiry_s = 0;
	s->kept = NULL;
	s->acl = NULL;
	s->roles = NULL;
	s->decided = NULL;
	s->mount = NULL;
	s->will = NULL;
	s->after = h->ending;
	h->ending = s;
}

void
home_end_some(struct home *h, bool all)
{
	uint32_t left = all ? UINT32_MAX : FORGET_TURN;

	while (left > 0 && h->ending) {
		struct session *s = h->ending, *after = s->after;

		if (forget(s, &left))
			h->ending = after;
	}
	h->may_forget = left;
	h->may_skip = SKIP_TURN;
}

void
session_end_name(struct session *s)
{
	struct home *h = s->home;

	timer_stop(&h->timers, &s->timer);
	map_del(&h->sessions, session_id(s));
	full_forget(s);
	s->ended = true;
}

void
session_free(struct session *s)
{
	struct home *h;

	if (!s)
		return;
	h = s->home;
	assert(!s->link && !s->shared);
	if (!s->ended) {
		timer_stop(&h->timers, &s->timer);
		map_del(&h->sessions, session_id(s));
	}
	map_del(&h->numbers, number_of(s));
	list_remove(&s->all);
	count_add(&h->counts.queued, -session_queued(s));
	count_add(&h->counts.queued_bytes, -session_queued_bytes(s));
	if (s->kept)
		h->keep->queued -= s->queue.bytes;
	kept_free(s->kept);
	inflight_clear(&s->out);
	idset_fini(&s->in);
	will_free(s->will);
	free(s->mount);
	if (!forget(s, &h->may_forget))
		end_later(s);
}

struct subs *
session_subs(struct session *s)
{
	return &s->subs;
}

enum nj_err
session_attach(struct session *s, struct link *l)
{
	enum nj_err e;

	assert(!s->link);
	if ((e = inflight_restart(&s->out)))
		return e;
	/* it keeps its place, so that it can be armed without memory when the
	 * client goes */
	if ((e = timer_set(&s->home->timers, &s->timer, UINT64_MAX)))
		return e;
	s->version = l->version;
	l->mount = s->mount;
	s->link = l;
	return NJ_OK;
}

void
session_detach(struct session *s)
{
	if (s->link)
		s->link->mount = NULL;
	s->link = NULL;
	for (uint32_t i = 0; i < s->out.cap; i++) {
		struct delivery *d = &s->out.v[i];

		d->held = d->held == HELD_FIRST || d->held == HELD_NEVER
		    ? HELD_NEVER
		    : 0;
	}
	if (s->kept) {
		s->kept->waits0 = false;
		tail_take_queue(s);
	}
	s->offline_since = s->home->now_ms;
}

static bool
came_by(const struct delivery *d, uint8_t share)
{
	return d->share != 0 && (share == 0 || d->share == share);
}

/* A QoS 2 exchange ends where it began [MQTT-4.8.2-5]. */
static bool
may_move(const struct delivery *d)
{
	return d->state == DELIVERY_WAIT_PUBACK ||
	    (d->state == DELIVERY_WAIT_PUBREC && d->held == HELD_NEVER);
}

static void
take_inflight(struct session *s, uint8_t share,
    void (*fn)(void *arg, struct delivery *d), void *arg)
{
	struct delivery *d, out;

	/* in the order of first sending; without memory they are lost, as
	 * the standard lets them be */
	if (inflight_restart(&s->out))
		return;
	while ((d = inflight_next_unsent(&s->out))) {
		d->unsent = 0;
		s->out.waiting++;
		if (!may_move(d) || !came_by(d, share))
			continue;
		out = *d;
		d->msg = NULL;
		d->ids = 0;
		s->inflight_bytes -= out.msg->payload_len;
		inflight_done(&s->out, d);
		if (s->kept)
			keep_moved(s, &out);
		fn(arg, &out);
	}
}

/* Not this shard's to give away yet. */
static bool
is_unsure(const struct session *s, const struct delivery *d)
{
	return s->kept && d->key >= kept_sure_below(s->kept);
}

/* What session_take_shared looks for. */
struct taking {
	struct session *s;
	uint8_t share;
	void (*fn)(void *arg, struct delivery *d);
	void *arg;
};

static bool
takes(void *arg, struct delivery *d)
{
	const struct taking *t = arg;

	if (!came_by(d, t->share) || is_unsure(t->s, d))
		return false;
	if (t->s->kept)
		keep_moved(t->s, d);
	t->fn(t->arg, d);
	return true;
}

void
session_take_shared(struct session *s, uint8_t share, bool sent,
    void (*fn)(void *arg, struct delivery *d), void *arg)
{
	struct taking t = { .s = s, .share = share, .fn = fn, .arg = arg };

	if (sent)
		take_inflight(s, share, fn, arg);
	session_sift(s, takes, &t);
}

void
session_keep_shared(struct session *s, uint8_t share)
{
	if (s->kept) {
		keep_note(s->home->keep,
		    batch_share_end(s->home->keep->into, s->kept->id, share));
		kept_touch(s->kept, s->home->keep, 0);
	}
	queue_forget_share(&s->queue, share);
	for (uint32_t i = 0; i < s->out.cap; i++)
		if (s->out.v[i].pid && s->out.v[i].share == share)
			s->out.v[i].share = 0;
}
