/* SPDX-License-Identifier: Apache-2.0
 * on_publish - a message from a client: checked, routed, acknowledged.
 *
 * Spec: MQTT 5.0 3.3, 4.3; MQTT 3.1.1 3.3.
 */
#include <stdlib.h>

#include "auth/decide.h"
#include "base/log.h"
#include "base/text.h"
#include "broker/conn.h"
#include "broker/control.h"
#include "broker/denied.h"
#include "broker/enroll.h"
#include "broker/guard.h"
#include "broker/memory.h"
#include "broker/mounted.h"
#include "broker/paging.h"
#include "broker/route.h"
#include "broker/sessions.h"
#include "broker/source.h"
#include "core/full.h"
#include "core/rc.h"
#include "wire/decode.h"
#include "wire/topic.h"

/* Connections that end as there is room again: so many a turn, and so often. */
#define AWAY_TURN 64u
#define AWAY_MS	  10

/* Who waits for a PUBACK when the disk takes nothing is refused after so long; so many
 * a turn. */
#define REFUSE_MS   1000
#define REFUSE_TURN 4096u

/* 3.3.2.3.4: an alias stands for a topic name of this connection. */
static enum nj_err
set_alias(struct conn *c, uint16_t alias, struct slice topic)
{
	struct slice *slot = &c->aliases[alias - 1];
	uint8_t *copy;

	if (slice_eq(*slot, topic))
		return NJ_OK;
	if (!(copy = malloc(topic.n)))
		return NJ_NOMEM;
	memcpy(copy, topic.p, topic.n);
	free((void *)(uintptr_t)slot->p);
	*slot = slice_of(copy, topic.n);
	return NJ_OK;
}

/* The topic, through its alias or not.  False: the connection was ended. */
static bool
resolve_topic(struct conn *c, const struct publish *p, struct slice *topic)
{
	uint16_t alias = p->props.topic_alias;

	*topic = p->topic;
	if (!p->plain && p->topic.n && !topic_name_ok(p->topic)) {
		conn_end(c, RC_TOPIC_NAME_INVALID,
		    "published to a topic name that is not valid "
		    "(wildcards, or too many levels)");
		return false;
	}
	if (c->version != MQTT5 || !props_has(&p->props, PROP_TOPIC_ALIAS))
		return true;
	if (alias == 0 || alias > c->alias_max) { /* [MQTT-3.3.2-8], [-9] */
		conn_end(c, RC_TOPIC_ALIAS_INVALID,
		    "topic alias %u is not "
		    "within 1 to %u",
		    alias, c->alias_max);
		return false;
	}
	if (!c->aliases &&
	    !(c->aliases = calloc(c->alias_max, sizeof *c->aliases))) {
		conn_end(c, RC_IMPLEMENTATION_SPECIFIC, "out of memory");
		return false;
	}
	if (p->topic.n) {
		if (set_alias(c, alias, p->topic) == NJ_OK)
			return true;
		conn_end(c, RC_IMPLEMENTATION_SPECIFIC, "out of memory");
		return false;
	}
	*topic = c->aliases[alias - 1];
	if (topic->n == 0) {
		conn_end(c, RC_PROTOCOL_ERROR,
		    "topic alias %u was not set "
		    "before",
		    alias);
		return false;
	}
	return true;
}

/* What the CONNACK said is not to be had. */
static bool
check_service(struct conn *c, const struct publish *p)
{
	if (p->qos > conn_port(c)->max_qos) { /* [MQTT-3.2.2-11] */
		conn_end(c, RC_QOS_NOT_SUPPORTED,
		    "published with QoS %u "
		    "(max_qos)",
		    p->qos);
		return false;
	}
	if (p->retain && !c->shard->limits.retain_available) {
		conn_end(c, RC_RETAIN_NOT_SUPPORTED, /* [MQTT-3.2.2-14] */
		    "published a retained message (retain_available)");
		return false;
	}
	return true;
}

static void
trace_ack(const struct conn *c, const struct publish *p, enum mqtt_rc rc)
{
	char name[TEXT_ESC];

	nj_log_write(LOG_T_DEBUG, "Sending %s to %s (m%u, rc%u)",
	    p->qos == 1 ? "PUBACK" : "PUBREC", conn_name(c, name, sizeof name),
	    p->id, (unsigned)rc);
}

static enum nj_err
acknowledge(struct conn *c, const struct publish *p, enum mqtt_rc rc)
{
	if (p->qos == 0)
		return NJ_OK;
	/* 3.1.1 has no way to say no: the message is acknowledged and not
	 * passed on (3.3.5 of 3.1.1) */
	if (log_on(LOG_T_DEBUG))
		trace_ack(c, p, rc);
	return durable_ack(
	    c, p->qos == 1 ? MQTT_PUBACK : MQTT_PUBREC, p->id, rc);
}

static void
log_refused(struct conn *c, struct slice topic, const char *why)
{
	char name[TEXT_ESC], t[TEXT_ESC];

	count_add(&c->shard->counts.publish_refused, 1);
	if (!guard_may_log(c->shard, &c->shard->refusals, GUARD_REFUSALS))
		return;
	nj_log(LOG_T_NOTICE, "Publish of %s to '%s' refused: %s",
	    conn_name(c, name, sizeof name), text_esc(t, sizeof t, topic), why);
}

static bool
somebody_is_full(const struct shard *sh)
{
	for (uint32_t i = 0; i < sh->match.n; i++)
		if (filter_full(sh->match.v[i]))
			return true;
	return false;
}

/* What of a message of QoS 2 is done when it is answered. */
struct begun {
	bool together; /* it is one piece of the store's with what it causes */
	bool recorded; /* its identifier is */
};

/* Finds who gets it, and keeps it if it is retained; NULL, or the limit that
 * stands against it. */
static const char *
cannot_take(struct conn *c, struct msg *m, uint16_t pid, struct begun *begun)
{
	uint64_t who;

	switch (route_match(c->shard, m)) {
	case NJ_OK:
		break;
	case NJ_FULL:
		return "finding its subscribers would take too long "
		       "(max_match_work)";
	default:
		return "out of memory";
	}
	if (m->qos > 0 && c->shard->home.limits.drop_policy == DROP_REFUSE) {
		if (somebody_is_full(c->shard))
			return "a subscriber's queue is full "
			       "(max_queued_messages, max_queued_bytes, "
			       "queue_full_policy)";
		m->promised = true;
	}
	/* what it is known by and where it goes: on disk both, or neither; so
	 * without memory for the one it goes nowhere */
	if (m->qos == 2 && c->session->kept) {
		if (route_leaves(c->shard))
			begun->together = together_begin(c->shard);
		received_keep(c->shard, c->session, pid);
		if (c->shard->durable.keep.failed)
			return "out of memory";
		begun->recorded = true;
	}
	if (!m->retain)
		return NULL;
	who = source_identity(c->session);
	switch (route_retain(c->shard, m, slice_of(&who, sizeof who))) {
	case NJ_OK:
		return NULL;
	case NJ_BUSY:
		return "its user has retained as many messages as one may "
		       "(max_retained_messages_per_user)";
	default:
		return "the limit of retained messages is reached "
		       "(max_retained_messages, max_retained_bytes)";
	}
}

/*
 * While the store cannot be written, who can be told is told.  Others get no
 * acknowledgement until it can; of a damaged store no end is to be waited for, and
 * they are sent away at once.  Where there is no memory for more, what they send
 * is not taken, nor what comes behind it on that connection, as that would be
 * another order [MQTT-4.6.0-1]; all else of theirs goes on.  They send it again on
 * their next connection [MQTT-4.4.0-1], so this one ends when the store can be
 * written, and not before: until then they could only say the same again.
 */
static bool
cannot_be_kept(const struct conn *c, const struct publish *p)
{
	const struct durable *d = &c->shard->durable;
	enum store_state is;

	if (p->qos > 0 && list_linked(&c->untaken))
		return true;
	if (!d->store || (p->qos == 0 && !p->retain) ||
	    (is = store_state(d->store)) == STORE_OK)
		return false;
	if (p->qos > 0 && (c->version == MQTT5 || is == STORE_DAMAGED))
		return true;
	return durable_behind(c->shard);
}

static bool
is_damaged(const struct shard *sh)
{
	const struct store *store = sh->durable.store;

	return store && store_state(store) == STORE_DAMAGED;
}

/* What is on its way to the disk before it is waited for: after that its
 * acknowledgements have left.  To a damaged store nothing is. */
static void
send_away(struct durable *d, bool damaged)
{
	struct list *at, later;

	list_init(&later);
	for (unsigned i = 0; i < AWAY_TURN && (at = list_pop(&d->untaken));
	     i++) {
		struct conn *c = LIST_OWNER(at, struct conn, untaken);

		if (damaged)
			conn_end(c, RC_QUOTA_EXCEEDED,
			    "the store is damaged, and what it sent is not "
			    "taken");
		else if (d->gate_first < c->untaken_until)
			list_push(&later, at);
		else
			conn_end(c, RC_QUOTA_EXCEEDED,
			    "there is room again for what it sent and was "
			    "not taken");
	}
	list_splice(&d->untaken, &later);
}

/* Whether its client waits for an answer to what it said.  PUBREL and messages, which
 * wait for the disk too, are none. */
static bool
is_answer(const struct promise *p)
{
	return p->conn &&
	    (p->bytes || p->type == 0 || p->type == MQTT_PUBACK ||
		p->type == MQTT_PUBREC || p->type == MQTT_PUBCOMP);
}

/* What waits for a damaged store would wait for ever.  What of it was looked at
 * stays where it is, as others may still speak of its gate. */
static void
send_away_promised(struct durable *d)
{
	unsigned n = 0;

	for (; n < AWAY_TURN && d->given_up < d->n; d->given_up++) {
		const struct promise *p =
		    &d->v[(d->head + d->given_up) & (d->cap - 1)];

		if (!is_answer(p) || p->conn->state != CONN_LIVE ||
		    p->conn->link.closing)
			continue;
		conn_end(p->conn, RC_QUOTA_EXCEEDED,
		    "the store is damaged, and what it sent is not on disk");
		n++;
	}
}

/* What is said of QoS 1, in the order of what it is said of [MQTT-4.6.0-2]: of what would
 * have to be on disk, that it is not taken.  3.1.1 has no word for that.  At QoS 2 its
 * client might send it anew, and it would come twice. */
static bool
may_refuse(const struct promise *p)
{
	return p->conn && p->type == MQTT_PUBACK && p->conn->version == MQTT5 &&
	    p->conn->state == CONN_LIVE && !p->conn->link.closing;
}

/* The disk takes nothing. */
static void
refuse_promised(struct shard *sh)
{
	struct durable *d = &sh->durable;
	uint64_t now = sh->home.now_ms, due;
	unsigned n = 0;

	if (!d->refuse_at)
		d->refuse_at = now + REFUSE_MS;
	for (; now >= d->refuse_at && n < REFUSE_TURN && d->refused < d->n;
	     d->refused++) {
		const struct promise *p =
		    &d->v[(d->head + d->refused) & (d->cap - 1)];

		if (!may_refuse(p))
			continue;
		durable_puback_now(d, d->refused,
		    p->code < 0x80 ? RC_QUOTA_EXCEEDED : p->code);
		n++;
	}
	if (d->refused == d->n || d->look.at)
		return;
	due = now < d->refuse_at ? d->refuse_at : now + AWAY_MS;
	/* others look then whether there is room again; without memory some other
	 * turn finds them */
	(void)!timer_set(&sh->home.timers, &d->look,
	    due < now + REREAD_MS ? due : now + REREAD_MS);
}

void
publish_turn(struct shard *sh)
{
	struct durable *d = &sh->durable;
	enum store_state is = d->store ? store_state(d->store) : STORE_OK;
	bool now = is == STORE_OK || is == STORE_DAMAGED;

	if (is == STORE_DAMAGED)
		send_away_promised(d);
	if (!now)
		refuse_promised(sh);
	else if (d->refuse_at)
		d->refuse_at = d->refused = 0;
	if (list_empty(&d->untaken))
		return;
	if (now)
		send_away(d, is == STORE_DAMAGED);
	/* without memory some other turn finds them */
	if (!list_empty(&d->untaken) && !d->look.at)
		(void)!timer_set(&sh->home.timers, &d->look,
		    sh->home.now_ms + (now ? AWAY_MS : REREAD_MS));
}

/* Whether the packet has become its message.  A retained one has more in it
 * (source.h). */
static bool
adopt(struct shard *sh, const struct publish *p, struct slice topic,
    struct msg **out)
{
	return sh->packet && !p->retain &&
	    msg_adopt(sh->packet, p, topic, sh->home.now_ms, out);
}

/* Stores and routes; the reason code for the sender. */
static enum mqtt_rc
take(struct conn *c, const struct publish *p, struct slice topic,
    struct begun *begun)
{
	struct shard *sh = c->shard;
	struct decision rule;
	const char *why;
	struct msg *m;
	size_t n;

	if (sh->limits.message_size_limit &&
	    p->payload.n > sh->limits.message_size_limit) {
		log_refused(c, topic, "payload above message_size_limit");
		return RC_QUOTA_EXCEEDED; /* 0x95 is not for PUBACK */
	}
	if (!sessions_may(c->session, ACTION_PUBLISH, topic, &rule)) {
		count_add(&c->shard->counts.publish_refused, 1);
		denied_log(c, ACTION_PUBLISH, topic, rule.text);
		return RC_NOT_AUTHORIZED;
	}
	if (cannot_be_kept(c, p)) {
		count_add(&sh->counts.store_refused, 1);
		log_refused(c, topic, "the store cannot be written");
		if (c->version != MQTT5 && p->qos > 0 &&
		    !list_linked(&c->untaken) && !is_damaged(sh)) {
			c->untaken_until = durable_gate_end(&sh->durable);
			list_push(&sh->durable.untaken, &c->untaken);
		}
		return RC_QUOTA_EXCEEDED;
	}
	if (memory_full(sh->broker)) {
		log_refused(c, topic, "memory_limit is reached");
		return RC_QUOTA_EXCEEDED;
	}
	if (!adopt(sh, p, topic, &m) &&
	    source_msg_new(c->session, p, topic, sh->home.now_ms, &m)) {
		log_refused(c, topic, "out of memory");
		return RC_QUOTA_EXCEEDED;
	}
	topic = msg_topic(m);
	m->from = c->session->number;
	if ((why = cannot_take(c, m, p->id, begun))) {
		log_refused(c, topic, why);
		msg_unref(m);
		return RC_QUOTA_EXCEEDED;
	}
	if (route_out(sh, m, &n)) {
		log_refused(c, topic, "out of memory");
		msg_unref(m);
		return RC_QUOTA_EXCEEDED;
	}
	msg_unref(m);
	return n > 0 ? RC_SUCCESS : RC_NO_MATCHING_SUBSCRIBERS;
}

/*
 * It was here before.  On a damaged store its identifier may be known in memory only,
 * and never be on disk: MQTT 5 has a way to say that it was not taken, after which
 * the client may use it anew (4.3.3).  All others wait, and are sent away there.
 */
static enum nj_err
acknowledge_again(struct conn *c, uint16_t pid, struct slice topic)
{
	struct shard *sh = c->shard;
	struct keep *k = &sh->durable.keep;
	bool dirty = k->dirty, damaged = is_damaged(sh);
	uint64_t gate = 0;

	if (!c->session->kept || !k->busy ||
	    (damaged && !received_waits(sh, c->session, pid, &gate)))
		return durable_ack(c, MQTT_PUBREC, pid, RC_SUCCESS);
	if (c->version != MQTT5 || !damaged) {
		k->dirty = true; /* it may not be on disk yet */
		return durable_ack(c, MQTT_PUBREC, pid, RC_SUCCESS);
	}
	received_undo(sh, c->session, pid, gate);
	k->dirty = dirty; /* that need not be on disk before it is said */
	count_add(&sh->counts.store_refused, 1);
	log_refused(c, topic, "the store cannot be written");
	return durable_ack(c, MQTT_PUBREC, pid, RC_QUOTA_EXCEEDED);
}

/* [MQTT-4.3.3-10], [-12]: a message is taken once for each time its identifier
 * is used; until PUBREL the same identifier is the same message.  False: it
 * was here before, or the connection was ended. */
static bool
first_time(
    struct conn *c, const struct publish *p, struct slice topic, enum nj_err *e)
{
	struct idset *in = &c->session->in;

	*e = NJ_OK;
	if (idset_has(in, p->id)) {
		*e = acknowledge_again(c, p->id, topic);
		return false;
	}
	if (c->version == MQTT5 && c->shard->limits.receive_max &&
	    c->open_qos2 >= (int32_t)c->shard->limits.receive_max) {
		conn_end(c, RC_RECEIVE_MAX_EXCEEDED,
		    "more than %u QoS 2 "
		    "messages without PUBREL",
		    c->shard->limits.receive_max);
		return false; /* [MQTT-3.3.4-7] */
	}
	if ((*e = idset_add(in, p->id)))
		return false;
	/* 4.9: what an earlier connection left open does not count, and
	 * gives room when it is released */
	c->open_qos2++;
	return true;
}

static void
trace_received(
    const struct conn *c, const struct publish *p, struct slice topic)
{
	char name[TEXT_ESC], t[TEXT_ESC];

	nj_log_write(LOG_T_DEBUG,
	    "Received PUBLISH from %s (d%d, q%d, r%d, m%u, '%s', ... "
	    "(%zu bytes))",
	    conn_name(c, name, sizeof name), p->dup, p->qos, p->retain, p->id,
	    text_esc(t, sizeof t, topic), p->payload.n);
}

/* What became of it. */
static enum nj_err
finish(struct conn *c, const struct publish *p, enum mqtt_rc rc,
    struct begun begun)
{
	struct keep *k = &c->shard->durable.keep;
	enum nj_err e;

	if (p->qos == 2 && rc >= RC_UNSPECIFIED &&
	    (c->version == MQTT5 || rc == RC_QUOTA_EXCEEDED)) {
		/* 4.3.3: it ends here; sent again it is a new message */
		idset_del(&c->session->in, p->id);
		c->open_qos2--;
		if (begun.recorded)
			keep_note(k,
			    batch_released(
				k->into, c->session->kept->id, p->id));
	} else if (p->qos == 2 && c->session->kept && !begun.recorded) {
		received_keep(c->shard, c->session, p->id);
	}
	if (begun.together)
		together_end(c->shard);
	if (rc == RC_NOT_AUTHORIZED && c->version != MQTT5 &&
	    c->shard->limits.deny_ends) {
		conn_end(c, rc, "it may not publish there");
		return NJ_OK;
	}
	if (rc == RC_QUOTA_EXCEEDED && c->version != MQTT5 && p->qos > 0) {
		/* it cannot be told, and must not believe it was taken */
		if (!list_linked(&c->untaken))
			conn_end(c, rc, "a message of it could not be taken");
		return NJ_OK;
	}
	if (c->version != MQTT5 ||
	    (p->qos == 2 && rc == RC_NO_MATCHING_SUBSCRIBERS))
		rc = RC_SUCCESS;
	e = acknowledge(c, p, rc);
	return e == NJ_EOF ? NJ_OK : e;
}

static void
control_done(struct conn *c, uint8_t qos, uint16_t id, enum mqtt_rc rc)
{
	struct publish p = { .qos = qos, .id = id };
	enum nj_err e = finish(c, &p, rc, (struct begun){ 0 });

	if (e)
		conn_end(c, rc_of(e), "%s", nj_strerror(e));
}

/* A command, which nobody gets but the broker. */
static enum nj_err
to_broker(struct conn *c, const struct publish *p, struct slice topic)
{
	struct asker asker = sessions_asker(c->session);
	struct decision rule;

	if (!decide(&asker, ACTION_PUBLISH, topic, &rule)) {
		denied_log(c, ACTION_PUBLISH, topic, rule.text);
		return finish(c, p, RC_NOT_AUTHORIZED, (struct begun){ 0 });
	}
	switch (control_take(c, p, topic, control_done)) {
	case NJ_AGAIN:
		return NJ_OK;
	case NJ_OK:
		return finish(c, p, RC_SUCCESS, (struct begun){ 0 });
	default:
		log_refused(c, topic, "too many commands are under way");
		return finish(c, p, RC_QUOTA_EXCEEDED, (struct begun){ 0 });
	}
}

/* It is well formed and its topic known. */
static enum nj_err
publish(struct conn *c, const struct publish *p, struct slice topic)
{
	struct begun begun = { .together = false };
	enum mqtt_rc rc;
	enum nj_err e;

	if (log_on(LOG_T_DEBUG))
		trace_received(c, p, topic);
	if (p->qos == 2 && !first_time(c, p, topic, &e))
		return e;
	if (topic.p[0] == '$' && control_is_topic(topic))
		return to_broker(c, p, topic);
	if (enrolling_is_topic(topic))
		return finish(c, p, enroll_publish(c, p, topic), begun);
	rc = take(c, p, topic, &begun);
	if (p->qos == 0 && rc < RC_UNSPECIFIED)
		return NJ_OK; /* nobody waits to hear of it */
	return finish(c, p, rc, begun);
}

static enum nj_err
publish_mounted(struct conn *c, struct publish *p, struct slice topic)
{
	struct mounted own = { 0 };
	enum nj_err e = mounted_publish(c->link.mount, p, &topic, &own);

	if (e == NJ_INVALID) {
		conn_end(c, RC_TOPIC_NAME_INVALID,
		    "published to a topic that is too long or too deep");
		e = NJ_OK;
	} else if (e == NJ_OK) {
		e = publish(c, p, topic);
	}
	mounted_fini(&own);
	return e;
}

enum nj_err
on_publish(struct conn *c, const struct frame *f)
{
	struct shard_counts *n = &c->shard->counts;
	struct publish p;
	struct slice topic;
	enum nj_err e;

	if ((e = decode_publish(f->flags, f->body, c->version, &p)))
		return e;
	if (c->version == MQTT5 && props_has(&p.props, PROP_SUBSCRIPTION_ID))
		return NJ_PROTOCOL; /* [MQTT-3.3.4-6] */
	c->publishes = true;
	count_add(&n->publish_in, 1);
	count_add(&n->publish_in_bytes, p.payload.n);
	if (!resolve_topic(c, &p, &topic) || !check_service(c, &p))
		return NJ_OK;
	return c->link.mount ? publish_mounted(c, &p, topic)
			     : publish(c, &p, topic);
}
