/* SPDX-License-Identifier: Apache-2.0
 */
#include "core/session.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/text.h"

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
	*h = (struct home){ .shard = shard, .index = ix };
	map_init(&h->sessions, id_of);
	map_init(&h->numbers, number_of);
}

void
home_fini(struct home *h)
{
	assert(h->sessions.n == 0);
	overdue_clear(&h->overdue);
	map_fini(&h->sessions);
	map_fini(&h->numbers);
	timers_fini(&h->timers);
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
	*out = s;
	return NJ_OK;
}

static void
will_free(struct session_will *w)
{
	if (w)
		msg_unref(w->msg);
	free(w);
}

void
session_free(struct session *s)
{
	struct home *h;

	if (!s)
		return;
	h = s->home;
	assert(!s->link && !s->shared);
	timer_stop(&h->timers, &s->timer);
	map_del(&h->sessions, session_id(s));
	map_del(&h->numbers, number_of(s));
	subs_clear(&s->subs, h->index);
	count_add(&h->counts.queued, -(uint64_t)s->queue.n);
	count_add(&h->counts.queued_bytes, -s->queue.bytes);
	queue_clear(&s->queue);
	inflight_clear(&s->out);
	idset_fini(&s->in);
	will_free(s->will);
	free(s->mount);
	free(s);
}

struct subs *
session_subs(struct session *s)
{
	return &s->subs;
}

static void
trace_sent(const struct session *s, const struct delivery *d, bool dup)
{
	char id[TEXT_ESC], topic[TEXT_ESC];

	nj_log_write(LOG_T_DEBUG,
	    "Sending PUBLISH to %s (d%d, q%d, r%d, m%u, '%s', ... (%u bytes))",
	    text_esc(id, sizeof id, session_id(s)), dup, d->qos, d->retain,
	    d->pid, text_esc(topic, sizeof topic, msg_topic(d->msg)),
	    d->msg->payload_len);
}

static void
count_sent(struct session *s, const struct delivery *d, bool dup)
{
	struct session_counts *c = &s->home->counts;

	count_add(&c->sent, 1);
	count_add(&c->sent_bytes, d->msg->payload_len);
	if (log_on(LOG_T_DEBUG))
		trace_sent(s, d, dup);
}

static bool
window_open(struct session *s, const struct msg *next)
{
	const struct session_limits *lim = &s->home->limits;

	if (s->out.waiting >= s->link->window)
		return false;
	if (lim->max_inflight_bytes && s->out.waiting > 0 &&
	    s->inflight_bytes + next->payload_len > lim->max_inflight_bytes)
		return false;
	return !link_congested(s->link);
}

/* Puts a QoS 1 or 2 delivery in flight and on the wire; d is moved. */
static enum nj_err
send_new(struct session *s, struct delivery *d)
{
	struct delivery *at;
	enum nj_err e;

	d->state = d->qos == 1 ? DELIVERY_WAIT_PUBACK : DELIVERY_WAIT_PUBREC;
	if ((e = inflight_add(&s->out, d, &at)))
		return e;
	s->out.waiting++;
	s->inflight_bytes += at->msg->payload_len;
	e = link_publish(s->link, at, false, s->home->now_ms);
	if (e == NJ_OK) {
		count_sent(s, at, false);
		return NJ_OK;
	}
	s->inflight_bytes -= at->msg->payload_len;
	if (e == NJ_TOOBIG) {
		/* as if it had been delivered [MQTT-3.1.2-25] */
		count_add(&s->home->counts.dropped, 1);
		inflight_done(&s->out, at);
		return NJ_OK;
	}
	/* The connection is going away: it is sent again on the next. */
	s->inflight_bytes += at->msg->payload_len;
	if (e == NJ_NOMEM)
		s->link->ops->fail(s->link);
	return NJ_OK;
}

static bool
queue_has_room(const struct session *s, const struct delivery *d)
{
	const struct session_limits *lim = &s->home->limits;

	if (d->moved) /* it had a place, and gave that up */
		return true;
	if (lim->max_queued && s->queue.n >= lim->max_queued)
		return false;
	return !lim->max_queued_bytes ||
	    s->queue.bytes + delivery_size(d) <= lim->max_queued_bytes;
}

enum nj_err
session_requeue(struct session *s, const struct delivery *d)
{
	struct session_counts *c = &s->home->counts;
	uint64_t before = s->queue.bytes;
	enum nj_err e = queue_push(&s->queue, d);

	if (e == NJ_OK) {
		count_add(&c->queued, 1);
		count_add(&c->queued_bytes, s->queue.bytes - before);
	}
	return e;
}

/* d is moved or dropped. */
static void
enqueue(struct session *s, struct delivery *d)
{
	d->state = DELIVERY_QUEUED;
	if (queue_has_room(s, d) &&
	    ((s->overdue == 0 && session_requeue(s, d) == NJ_OK) ||
		overdue_keep(s, d) == NJ_OK))
		return;
	count_add(&s->home->counts.dropped, 1);
	delivery_fini(d);
}

static void
deliver_qos0(struct session *s, struct delivery *d)
{
	/* Those that came while the client was away may wait for the window
	 * behind others still: nothing overtakes them [MQTT-4.6.0-6]. */
	if (s->queue.n0 > 0 || s->overdue > 0 ||
	    (!s->link && s->home->limits.queue_qos0 && s->expiry_s)) {
		msg_ref(d->msg);
		enqueue(s, d);
		return;
	}
	if (!s->link) {
		ids_free(d->ids);
		return;
	}
	if (link_congested(s->link))
		count_add(&s->home->counts.dropped, 1);
	else if (link_publish(s->link, d, false, s->home->now_ms) == NJ_OK)
		count_sent(s, d, false);
	ids_free(d->ids);
}

/* Nothing may be in flight whose end would bring us back. */
static void
look_again(struct session *s)
{
	if (overdue_keep(s, NULL))
		nj_log(LOG_T_ERROR,
		    "Out of memory: a queue waits for the next "
		    "message to its client");
}

void
session_deliver(struct session *s, const struct delivery *what)
{
	struct delivery d = {
		.msg = what->msg,
		.ids = what->ids,
		.qos = what->qos,
		.retain = what->retain,
		.moved = what->moved,
		.share = what->share,
	};

	if (!session_may_read(s, d.msg)) {
		ids_free(d.ids);
		return;
	}
	if (d.qos == 0) {
		deliver_qos0(s, &d);
		return;
	}
	msg_ref(d.msg);
	if (!s->link || s->queue.n > 0 || s->out.resend_n > 0 ||
	    s->overdue > 0 || !window_open(s, d.msg)) {
		enqueue(s, &d);
		return;
	}
	if (send_new(s, &d)) {
		enqueue(s, &d);
		look_again(s);
	}
}

/* Sends an interrupted exchange again [MQTT-4.4.0-1]. */
static void
resend(struct session *s, struct delivery *d)
{
	enum nj_err e;

	d->unsent = 0;
	s->out.waiting++;
	if (d->state == DELIVERY_WAIT_PUBCOMP) {
		e = link_ack(s->link, MQTT_PUBREL, d->pid, RC_SUCCESS);
	} else {
		/* [MQTT-3.3.1-1] */
		e = link_publish(s->link, d, true, s->home->now_ms);
		if (e == NJ_OK)
			count_sent(s, d, true);
	}
	if (e == NJ_TOOBIG) {
		s->inflight_bytes -= d->msg->payload_len;
		inflight_done(&s->out, d);
	} else if (e == NJ_NOMEM) {
		s->link->ops->fail(s->link);
	}
}

static bool
expired(const struct session *s, const struct msg *m)
{
	return m->expires_at <= s->home->now_ms;
}

void
session_pump(struct session *s)
{
	struct session_counts *c = &s->home->counts;
	struct delivery *again, d;
	bool may;

	if (!s->link || s->link->closing)
		return;
	while (s->out.waiting < s->link->window &&
	    (again = inflight_next_unsent(&s->out)))
		resend(s, again);
	while (s->queue.n > 0 && s->out.resend_n == 0) {
		uint64_t before = s->queue.bytes;

		if (!window_open(s, s->queue.v[s->queue.head].msg))
			return;
		if (inflight_reserve(&s->out)) {
			look_again(s);
			return;
		}
		if (!queue_pop(&s->queue, &d))
			return;
		count_add(&c->queued, (uint64_t)-1);
		count_add(&c->queued_bytes, -(before - s->queue.bytes));
		/* the right may have been taken away while it waited */
		may = session_may_read(s, d.msg);
		if (expired(s, d.msg)) { /* [MQTT-3.3.2-5] */
			count_add(&c->expired, 1);
			delivery_fini(&d);
		} else if (may && d.qos == 0) {
			if (link_publish(s->link, &d, false, s->home->now_ms) ==
			    NJ_OK)
				count_sent(s, &d, false);
			delivery_fini(&d);
		} else if (!may || send_new(s, &d)) {
			count_add(&c->dropped, 1);
			delivery_fini(&d);
		}
	}
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
	s->offline_since = s->home->now_ms;
}

static void
finish(struct session *s, struct delivery *d)
{
	if (d->msg)
		s->inflight_bytes -= d->msg->payload_len;
	inflight_done(&s->out, d);
	session_pump(s);
}

void
session_puback(struct session *s, uint16_t pid)
{
	struct delivery *d = inflight_find(&s->out, pid);

	/* An acknowledgement of nothing is tolerated: it may be late. */
	if (d && d->state == DELIVERY_WAIT_PUBACK)
		finish(s, d);
}

enum mqtt_rc
session_pubrec(struct session *s, uint16_t pid, uint8_t code)
{
	struct delivery *d = inflight_find(&s->out, pid);

	if (!d || d->qos != 2)
		return RC_PACKET_ID_NOT_FOUND;
	if (code >= 0x80) {
		/* the receiver wants no more of it [MQTT-4.3.3] */
		finish(s, d);
		return RC_UNSPECIFIED;
	}
	if (d->state == DELIVERY_WAIT_PUBREC) {
		s->inflight_bytes -= d->msg->payload_len;
		msg_unref(d->msg);
		d->msg = NULL;
		d->state = DELIVERY_WAIT_PUBCOMP;
	}
	return RC_SUCCESS;
}

void
session_pubcomp(struct session *s, uint16_t pid)
{
	struct delivery *d = inflight_find(&s->out, pid);

	if (d && d->state == DELIVERY_WAIT_PUBCOMP)
		finish(s, d);
}

static bool
came_by(const struct delivery *d, uint8_t share)
{
	return d->share != 0 && (share == 0 || d->share == share);
}

/* QoS 1 only: a QoS 2 exchange ends where it began [MQTT-4.8.2-5]. */
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
		if (d->state != DELIVERY_WAIT_PUBACK || !came_by(d, share))
			continue;
		out = *d;
		d->msg = NULL;
		d->ids = 0;
		s->inflight_bytes -= out.msg->payload_len;
		inflight_done(&s->out, d);
		fn(arg, &out);
	}
}

void
session_take_shared(struct session *s, uint8_t share, bool sent,
    void (*fn)(void *arg, struct delivery *d), void *arg)
{
	struct session_counts *c = &s->home->counts;
	uint64_t n = s->queue.n, bytes = s->queue.bytes;
	struct delivery d;

	if (sent)
		take_inflight(s, share, fn, arg);
	/* round once: what stays is put behind, where there is room for it */
	for (uint64_t i = 0; i < n && queue_pop(&s->queue, &d); i++)
		if (came_by(&d, share))
			fn(arg, &d);
		else if (queue_push(&s->queue, &d) && overdue_keep(s, &d)) {
			count_add(&c->dropped, 1);
			delivery_fini(&d);
		}
	count_add(&c->queued, s->queue.n - n);
	count_add(&c->queued_bytes, s->queue.bytes - bytes);
}

void
session_keep_shared(struct session *s, uint8_t share)
{
	struct queue *q = &s->queue;

	for (uint32_t i = 0; i < q->n; i++) {
		struct delivery *d = &q->v[(q->head + i) & (q->cap - 1)];

		if (d->share == share)
			d->share = 0;
	}
	for (uint32_t i = 0; i < s->out.cap; i++)
		if (s->out.v[i].pid && s->out.v[i].share == share)
			s->out.v[i].share = 0;
}
