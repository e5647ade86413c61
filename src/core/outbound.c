/* SPDX-License-Identifier: Apache-2.0
 *
 * A session's messages on their way to its client: sent, queued, acknowledged.
 */
#include "core/session.h"

#include <assert.h>

#include "base/log.h"
#include "base/text.h"
#include "core/full.h"
#include "core/keep.h"
#include "core/tail.h"

/* Acknowledgements between asking for a line of memory and needing it. */
#define AHEAD 8

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

/* The client does not take one so large, which is as if it had been delivered
 * [MQTT-3.1.2-25]; of what its mount hides nothing is said. */
static void
count_unseen(struct session *s, const struct delivery *d)
{
	if (!link_hides(s->link, d->msg))
		session_dropped(s, DROP_SIZE);
	else if (d->qos > 0)
		count_add(&s->home->counts.dropped, 1);
}

/* On the wire, for the first time on this connection. */
static void
send(struct session *s, struct delivery *d, bool dup)
{
	enum nj_err e = link_publish(s->link, d, dup, s->home->now_ms);

	if (e == NJ_OK) {
		count_sent(s, d, dup);
	} else if (e == NJ_TOOBIG) {
		count_unseen(s, d);
		s->inflight_bytes -= d->msg->payload_len;
		if (s->kept)
			keep_end(s, d);
		inflight_done(&s->out, d);
	} else {
		/* on the next connection */
		if (!dup)
			d->held = HELD_FIRST;
		if (e == NJ_NOMEM)
			s->link->ops->fail(s->link);
	}
}

/* Sends now, or when what was recorded before is on disk; nothing overtakes what
 * waits for that [MQTT-4.6.0-6]. */
static void
send_or_hold(struct session *s, struct delivery *d, bool dup, bool hold)
{
	if (!hold && s->link->held == 0) {
		send(s, d, dup);
		return;
	}
	d->held = dup ? HELD_AGAIN : HELD_FIRST;
	s->link->ops->later(s->link, MQTT_PUBLISH, d->pid, RC_SUCCESS);
}

/* An earlier life of the broker may have sent it. */
static bool
is_known(const struct session *s, const struct delivery *d)
{
	return s->kept && d->key && d->key <= s->kept->known &&
	    d->rec == UINT32_MAX;
}

/* There was no memory to record something of it that has to be before it is sent. */
static bool
is_unrecorded(const struct session *s, const struct delivery *d)
{
	return s->kept &&
	    (d->unkept ||
		(d->key > s->kept->sent && d->state != DELIVERY_WAIT_PUBCOMP));
}

/* Puts a QoS 1 or 2 delivery in flight and on the wire; d is moved. */
static enum nj_err
send_new(struct session *s, struct delivery *d)
{
	struct delivery *at;
	uint16_t want = 0;
	bool hold = false, dup = false;
	enum nj_err e;

	/* without a record it would be forgotten by a crash, and its identifier
	 * with it, which its client remembers at QoS 2 */
	if (s->kept && !d->key && !keep_add(s, d))
		return NJ_NOMEM;
	if (s->kept)
		want = kept_pid(d->key);
	d->state = d->qos == 1 ? DELIVERY_WAIT_PUBACK : DELIVERY_WAIT_PUBREC;
	if ((e = inflight_add(&s->out, d, want, &at)))
		return e;
	s->out.waiting++;
	s->inflight_bytes += at->msg->payload_len;
	if (want) {
		dup = is_known(s, at);
		hold = keep_sends(s, at, want);
	}
	send_or_hold(s, at, dup, hold);
	return NJ_OK;
}

void
session_send_held(struct session *s, uint16_t pid)
{
	struct delivery *d = inflight_find(&s->out, pid);
	uint32_t n = s->out.n;
	bool dup;

	if (!pid && s->kept) {
		s->kept->waits0 = false;
		session_pump(s);
	}
	if (!s->link || !d || !d->held)
		return;
	/* to wait once more would have what is behind it overtake it
	 * [MQTT-4.6.0-6]: on the next connection */
	if (is_unrecorded(s, d)) {
		s->link->ops->fail(s->link);
		return;
	}
	dup = d->held == HELD_AGAIN;
	d->held = 0;
	send(s, d, dup);
	/* it was too large for its client: its place is free */
	if (s->out.n < n)
		session_pump(s);
}

/*
 * What an earlier life of the broker has sent, or may have, is in flight, and does not
 * count.  What moves from another member of its group had a place there, and finds one
 * here beyond the limits.  So many times those: members that come, are given as
 * much as they may have, and go again must not fill one who stays without end.
 */
#define MOVED_TIMES 128u

static enum drop_cause
queue_limit(const struct session *s, const struct delivery *d)
{
	const struct session_limits *lim = &s->home->limits;
	bool promised = d->msg->promised && d->qos > 0;
	/* a retained one may also be asked for, again and again */
	uint64_t times = d->moved || promised ? MOVED_TIMES : 1;
	uint64_t n, bytes, known;

	/* its publisher is told that it is here: full_check() refuses the next,
	 * when it knows, and only what is under way until then comes on top */
	if (promised && !d->retain && !d->moved)
		return DROP_NONE;
	n = session_queued(s);
	bytes = session_queued_bytes(s);
	if ((known = session_known(s))) {
		bytes -= bytes / n * known;
		n -= known;
	}
	if (lim->max_queued && n / times >= lim->max_queued)
		return DROP_MESSAGES;
	return !lim->max_queued_bytes ||
		(bytes + delivery_size(d)) / times <= lim->max_queued_bytes
	    ? DROP_NONE
	    : DROP_BYTES;
}

bool
session_is_behind(const struct session *s)
{
	const struct session_limits *lim = &s->home->limits;
	uint64_t n = session_queued(s);

	return (lim->max_queued && n * 2 >= lim->max_queued) ||
	    (n > 0 && lim->max_queued_bytes &&
		session_queued_bytes(s) * 2 >= lim->max_queued_bytes);
}

/* It had so many before, and so many bytes. */
static void
count_dequeued(struct session *s, uint32_t n, uint64_t bytes)
{
	struct session_counts *c = &s->home->counts;

	count_add(&c->queued, -(uint64_t)(n - s->queue.n));
	count_add(&c->queued_bytes, -(bytes - s->queue.bytes));
	if (s->kept)
		s->home->keep->queued -= bytes - s->queue.bytes;
	if (s->full)
		full_check(s);
}

/* The oldest makes place; false: none can. */
static bool
drop_oldest(struct session *s)
{
	struct kept *k = s->kept;
	/* what its client may know is in flight, and not dropped */
	uint64_t known = k ? k->known : 0, bytes = s->queue.bytes;
	const struct delivery *oldest = queue_above(&s->queue, known);
	uint32_t n = s->queue.n;
	struct delivery d;

	if (!oldest)
		return k && tail_drop_oldest(s);
	if (k && oldest->key >= kept_sure_below(k))
		return false;
	if (!queue_pop_above(&s->queue, known, &d))
		return false;
	count_dequeued(s, n, bytes);
	if (k)
		keep_end(s, &d);
	delivery_fini(&d);
	return true;
}

/* The limit for which there is none. */
static enum drop_cause
make_room(struct session *s, const struct delivery *d)
{
	enum drop_cause limit;

	while ((limit = queue_limit(s, d))) {
		if (s->home->limits.drop_policy != DROP_OLDEST ||
		    !drop_oldest(s))
			return limit;
		session_dropped(s, limit);
	}
	return DROP_NONE;
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
		if (s->kept)
			s->home->keep->queued += s->queue.bytes - before;
	}
	return e;
}

bool
session_dequeue(struct session *s, struct delivery *d)
{
	uint32_t n = s->queue.n;
	uint64_t bytes = s->queue.bytes;

	if (!queue_pop(&s->queue, d))
		return false;
	count_dequeued(s, n, bytes);
	return true;
}

void
session_sift(
    struct session *s, bool (*takes)(void *arg, struct delivery *d), void *arg)
{
	uint32_t n = s->queue.n;
	uint64_t bytes = s->queue.bytes;

	queue_sift(&s->queue, takes, arg);
	count_dequeued(s, n, bytes);
}

/* An entry of a kept session, on disk in any case; d is moved. */
static bool
enqueue_kept(struct session *s, struct delivery *d)
{
	if (!d->key && !keep_add(s, d))
		return false;
	if (!tail_keeps(s) || session_requeue(s, d))
		tail_put(s, d);
	return true;
}

/* d is moved or dropped. */
static void
enqueue(struct session *s, struct delivery *d)
{
	enum drop_cause limit = make_room(s, d);

	d->state = DELIVERY_QUEUED;
	if (!limit &&
	    (s->kept ? enqueue_kept(s, d)
		     : (s->overdue == 0 && session_requeue(s, d) == NJ_OK) ||
			overdue_keep(s, d) == NJ_OK)) {
		full_check(s);
		return;
	}
	session_dropped(s, limit ? limit : DROP_MEMORY);
	delivery_fini(d);
}

/* What describes a delivery, and nothing else. */
static struct delivery
copy_of(const struct delivery *what)
{
	return (struct delivery){
		.msg = what->msg,
		.ids = what->ids,
		.qos = what->qos,
		.retain = what->retain,
		.moved = what->moved,
		.share = what->share,
	};
}

/* QoS 0 that came while the client was away may wait for the window behind
 * others still: nothing overtakes it [MQTT-4.6.0-6]. */
static bool
must_queue0(const struct session *s)
{
	return s->queue.n0 > 0 || s->overdue > 0 ||
	    (s->kept && s->kept->tail_n > 0 && s->home->limits.queue_qos0) ||
	    (!s->link && s->home->limits.queue_qos0 && s->expiry_s);
}

/* QoS 0 that link_publish() did not take. */
static void
lose(struct session *s, const struct delivery *d, enum nj_err e)
{
	if (e == NJ_TOOBIG)
		count_unseen(s, d);
	else if (e == NJ_NOMEM)
		session_dropped(s, DROP_MEMORY);
}

static void
deliver_qos0(struct session *s, const struct delivery *what)
{
	enum nj_err e;

	if (must_queue0(s)) {
		struct delivery d = copy_of(what);

		msg_ref(d.msg);
		enqueue(s, &d);
		return;
	}
	if (s->link) {
		if (link_congested(s->link))
			session_dropped(s, DROP_OUTPUT);
		else if (!(e = link_publish(
			       s->link, what, false, s->home->now_ms)))
			count_sent(s, what, false);
		else
			lose(s, what, e);
	}
	ids_free(what->ids);
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

/* Of those that are in hand, if there is one left. */
static inline void
take_ref(struct home *h, struct msg *m)
{
	if (h->in_hand == m && h->n_in_hand > 0)
		h->n_in_hand--;
	else
		msg_ref(m);
}

/* Whether the next of QoS 1 or 2 waits for others, for the window or for the
 * client. */
static bool
must_wait(struct session *s, const struct msg *m)
{
	return !s->link || s->queue.n > 0 || s->out.resend_n > 0 ||
	    s->overdue > 0 || (s->kept && tail_first(s)) || !window_open(s, m);
}

/* As send_new(), of a session that is not kept, and without a copy on the way:
 * reading it back would wait for all that was written before. */
static enum nj_err
send_plain(struct session *s, const struct delivery *what)
{
	struct delivery *at;
	enum nj_err e = inflight_place(&s->out, 0, &at);

	if (e)
		return e;
	*at = (struct delivery){
		.msg = what->msg,
		.ids = what->ids,
		.seq = at->seq,
		.pid = at->pid,
		.qos = what->qos,
		.retain = what->retain,
		.moved = what->moved,
		.state = what->qos == 1 ? DELIVERY_WAIT_PUBACK
					: DELIVERY_WAIT_PUBREC,
		.share = what->share,
	};
	take_ref(s->home, at->msg);
	s->out.waiting++;
	s->inflight_bytes += at->msg->payload_len;
	send_or_hold(s, at, false, false);
	return NJ_OK;
}

void
session_deliver(struct session *s, const struct delivery *what)
{
	struct delivery d;
	bool waits;

	if (!session_may_read(s, what->msg) || s->ended) {
		ids_free(what->ids);
		return;
	}
	if (what->qos == 0) {
		deliver_qos0(s, what);
		return;
	}
	waits = must_wait(s, what->msg);
	if (!waits && !s->kept && send_plain(s, what) == NJ_OK)
		return;
	d = copy_of(what);
	take_ref(s->home, d.msg);
	if (waits) {
		enqueue(s, &d);
	} else if (!s->kept || send_new(s, &d)) {
		enqueue(s, &d);
		look_again(s);
	}
}

static void
release(struct session *s, const struct delivery *d)
{
	struct link *l = s->link;

	if (!d->unkept && s->kept && s->home->keep->busy)
		l->ops->later(l, MQTT_PUBREL, d->pid, RC_SUCCESS);
	else if (d->unkept ||
	    link_ack(l, MQTT_PUBREL, d->pid, RC_SUCCESS) == NJ_NOMEM)
		l->ops->fail(l);
}

static void
await_pubcomp(struct session *s, struct delivery *d)
{
	s->inflight_bytes -= d->msg->payload_len;
	msg_unref(d->msg);
	d->msg = NULL;
	d->state = DELIVERY_WAIT_PUBCOMP;
	if (s->kept)
		keep_state(s, d);
}

/* The right to read it was taken away while the client was away.  At QoS 2 the
 * client may remember the identifier, and is told to forget it. */
static void
take_back(struct session *s, struct delivery *d, bool known)
{
	session_dropped(s, DROP_RIGHT);
	if (d->qos == 2 && known) {
		await_pubcomp(s, d);
		release(s, d);
		return;
	}
	s->inflight_bytes -= d->msg->payload_len;
	if (s->kept)
		keep_end(s, d);
	inflight_done(&s->out, d);
}

/* Sends an interrupted exchange again [MQTT-4.4.0-1]. */
static void
resend(struct session *s, struct delivery *d)
{
	bool known = d->held != HELD_NEVER, late = is_unrecorded(s, d);

	d->unsent = 0;
	s->out.waiting++;
	if (late && !keep_stands(s, d)) {
		s->link->ops->fail(s->link);
		return;
	}
	d->held = 0;
	if (d->state == DELIVERY_WAIT_PUBCOMP)
		release(s, d);
	else if (!session_may_read(s, d->msg))
		take_back(s, d, known);
	else /* [MQTT-3.3.1-1] */
		send_or_hold(s, d, known,
		    s->kept &&
			(late || (d->qos == 2 && s->home->keep->busy) ||
			    (!known && keep_is_early(s, d))));
}

/* An earlier life of the broker sent it with another identifier than its own, which is
 * on disk, and what it sent before is read again only now. */
static bool
comes_later(const struct session *s, const struct delivery *d)
{
	const struct kept *k = s->kept;

	if (!k || !d->key || d->state == DELIVERY_WAIT_PUBCOMP)
		return false;
	return s->queue.n > 0 ? queue_first(&s->queue)->key < d->key
			      : k->tail_n > 0 && k->tail_from < d->key;
}

/* Sends again what an earlier connection left.  False: some of that has to wait for
 * the window, and no other overtakes it [MQTT-4.6.0-1]. */
static bool
resend_all(struct session *s)
{
	struct delivery *d;

	while (s->out.resend_n > 0 && s->out.waiting < s->link->window &&
	    (d = inflight_next_unsent(&s->out))) {
		if (comes_later(s, d))
			return true;
		resend(s, d);
	}
	return s->out.resend_n == 0;
}

static bool
expired(const struct session *s, const struct msg *m)
{
	return m->expires_at <= s->home->now_ms;
}

/* d of the queue is done with; there is room in flight.  At QoS 2 the client may
 * know its identifier, and is told to forget it. */
static void
finish_queued(struct session *s, struct delivery *d)
{
	struct delivery *at;

	if (d->qos == 2 && is_known(s, d)) {
		d->state = DELIVERY_WAIT_PUBREC;
		if (inflight_add(&s->out, d, kept_pid(d->key), &at) == NJ_OK) {
			s->out.waiting++;
			s->inflight_bytes += at->msg->payload_len;
			await_pubcomp(s, at);
			release(s, at);
			return;
		}
	}
	if (s->kept)
		keep_end(s, d);
	delivery_fini(d);
}

/* Whether the first of the queue, of QoS 0, waits for the disk. */
static bool
must_wait0(struct session *s)
{
	const struct delivery *d = queue_first(&s->queue);

	if (!d || d->qos > 0 || !s->kept || is_known(s, d) ||
	    keep_may_send0(s, d))
		return false;
	if (!s->kept->waits0)
		s->link->ops->later(s->link, MQTT_PUBLISH, 0, RC_SUCCESS);
	s->kept->waits0 = true;
	return true;
}

/* One more was taken out and not sent; false: the rest has to wait for another
 * turn.  A queue may hold millions that have expired. */
static bool
may_skip_more(struct session *s)
{
	if (s->home->may_skip > 0)
		s->home->may_skip--;
	return s->home->may_skip > 0 || overdue_keep(s, NULL);
}

void
session_pump(struct session *s)
{
	struct session_counts *c = &s->home->counts;
	struct delivery d;
	enum nj_err e;
	uint32_t had;
	bool may, skip;

	if (!s->link || s->link->closing)
		return;
	while (resend_all(s) && s->queue.n > 0) {
		if (s->kept && !tail_may_send(s))
			return;
		if (!window_open(s, queue_first(&s->queue)->msg))
			return;
		if (inflight_reserve(&s->out)) {
			look_again(s);
			return;
		}
		if (must_wait0(s) || !session_dequeue(s, &d))
			return;
		/* the right may have been taken away while it waited */
		may = session_may_read(s, d.msg);
		had = s->out.n;
		skip = true;
		/* [MQTT-3.3.2-5]; what was begun is finished */
		if (expired(s, d.msg) &&
		    !(d.qos == 2 && s->kept && kept_is_known(s->kept, &d))) {
			count_add(&c->expired, 1);
			finish_queued(s, &d);
		} else if (may && d.qos == 0 && !is_known(s, &d)) {
			e = link_publish(s->link, &d, false, s->home->now_ms);
			if ((skip = e != NJ_OK))
				lose(s, &d, e);
			else
				count_sent(s, &d, false);
			finish_queued(s, &d);
		} else if (!may || d.qos == 0 || send_new(s, &d)) {
			session_dropped(s,
			    !may	 ? DROP_RIGHT
				: !d.qos ? DROP_ONCE
					 : DROP_MEMORY);
			finish_queued(s, &d);
		} else { /* or its client does not take one so large */
			skip = s->out.n == had;
		}
		if (skip && !may_skip_more(s))
			return;
	}
	if (s->kept)
		tail_ask(s);
}

static void
end_one(struct session *s, struct delivery *d)
{
	if (d->msg)
		s->inflight_bytes -= d->msg->payload_len;
	if (s->kept)
		keep_end(s, d);
	inflight_done(&s->out, d);
}

static void
finish(struct session *s, struct delivery *d)
{
	end_one(s, d);
	session_pump(s);
}

void
session_puback_row(struct session *s, const uint16_t *pids, size_t n)
{
	struct delivery *d;
	bool any = false;

	for (size_t i = 0; i < n && i < AHEAD; i++)
		inflight_prefetch(&s->out, pids[i]);
	for (size_t i = 0; i < n; i++) {
		if (i + AHEAD < n)
			inflight_prefetch(&s->out, pids[i + AHEAD]);
		/* An acknowledgement of nothing is tolerated: it may be
		 * late. */
		d = inflight_find(&s->out, pids[i]);
		if (!d || d->state != DELIVERY_WAIT_PUBACK || d->held)
			continue;
		end_one(s, d);
		any = true;
	}
	if (any)
		session_pump(s);
}

void
session_puback(struct session *s, uint16_t pid)
{
	const uint16_t row[] = { pid };

	session_puback_row(s, row, 1);
}

enum mqtt_rc
session_pubrec(struct session *s, uint16_t pid, uint8_t code)
{
	struct delivery *d = inflight_find(&s->out, pid);

	if (!d || d->qos != 2 || d->held)
		return RC_PACKET_ID_NOT_FOUND;
	if (code >= 0x80) {
		/* the receiver wants no more of it [MQTT-4.3.3] */
		finish(s, d);
		return RC_UNSPECIFIED;
	}
	if (d->state == DELIVERY_WAIT_PUBREC)
		await_pubcomp(s, d);
	else if (d->unkept)
		keep_state(s, d);
	return RC_SUCCESS;
}

void
session_pubcomp(struct session *s, uint16_t pid)
{
	struct delivery *d = inflight_find(&s->out, pid);

	if (d && d->state == DELIVERY_WAIT_PUBCOMP)
		finish(s, d);
}
