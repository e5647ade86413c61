/* SPDX-License-Identifier: Apache-2.0
 * on_subscribe - SUBSCRIBE and UNSUBSCRIBE.
 *
 * Spec: MQTT 5.0 3.8 to 3.11, 4.7, 4.8.
 */
#include <assert.h>
#include <stdlib.h>

#include "auth/decide.h"
#include "base/log.h"
#include "base/text.h"
#include "broker/conn.h"
#include "broker/guard.h"
#include "broker/route.h"
#include "broker/sessions.h"
#include "core/rc.h"
#include "wire/decode.h"
#include "wire/encode.h"
#include "wire/topic.h"

/* What one entry of the list came to: the code for the SUBACK, and whether
 * retained messages are to follow. */
struct result {
	uint8_t code;
	bool send_retained;
};

static uint32_t
id_opts(const struct subscription *s, uint32_t id, uint8_t qos)
{
	return id << 4 | (s->no_local ? SUB_NO_LOCAL : 0) |
	    (s->retain_as_published ? SUB_RAP : 0) | qos;
}

static bool
quota_left(struct conn *c)
{
	uint32_t max = c->shard->limits.session.max_subscriptions;
	struct session *s = c->session;

	return !max || s->subs.n + s->n_shared < max;
}

/* 0x8F for a filter that is none; the inner filter of a shared one. */
static enum mqtt_rc
check_filter(struct conn *c, const struct subscription *s, struct slice *group,
    struct slice *filter)
{
	struct decision rule;
	char name[TEXT_ESC], t[TEXT_ESC];
	enum nj_err e;

	*group = SLICE_NONE;
	*filter = s->filter;
	e = topic_share(s->filter, group, filter);
	if (e == NJ_NOTFOUND)
		*group = SLICE_NONE;
	if ((e && e != NJ_NOTFOUND) || !topic_filter_ok(*filter))
		return RC_TOPIC_FILTER_INVALID;
	if (!decide(c->session->who, ACTION_SUBSCRIBE, *filter, &rule)) {
		if (guard_may_log(
			c->shard, &c->shard->refusals, GUARD_REFUSALS))
			nj_log(LOG_T_NOTICE,
			    "Subscribe of %s to '%s' refused: %s",
			    conn_name(c, name, sizeof name),
			    text_esc(t, sizeof t, s->filter), rule.text);
		return RC_NOT_AUTHORIZED;
	}
	return RC_SUCCESS;
}

static enum nj_err
forget(struct conn *c, struct slice whole, bool shared)
{
	if (shared)
		return sessions_unjoin(c->shard, c->session, whole);
	return subs_del(&c->session->subs, c->shard->broker->index,
	    c->shard->home.shard, whole);
}

/* One entry. */
static struct result
subscribe_one(struct conn *c, const struct subscription *s, uint32_t id)
{
	struct shard *sh = c->shard;
	uint8_t qos =
	    s->qos < conn_port(c)->max_qos ? s->qos : conn_port(c)->max_qos;
	struct slice group, filter;
	enum mqtt_rc rc = check_filter(c, s, &group, &filter);
	bool existed = false, full;
	enum nj_err e;

	if (rc)
		return (struct result){ (uint8_t)rc, false };
	full = !quota_left(c);
	if (group.n)
		e = sessions_join(sh, c->session, s->filter, group, filter,
		    id_opts(s, id, qos), &existed);
	else
		e = subs_put(&c->session->subs, sh->broker->index,
		    sh->home.shard, filter, c->session, id_opts(s, id, qos),
		    &existed);
	if (e)
		return (struct result){ (uint8_t)rc_of(e), false };
	if (full && !existed) { /* replacing one stays possible */
		(void)forget(c, s->filter, group.n > 0);
		return (struct result){ RC_QUOTA_EXCEEDED, false };
	}
	/* 3.8.3.1: shared subscriptions get no retained messages */
	return (struct result){
		.code = qos,
		.send_retained = !group.n &&
		    (s->retain_handling == 0 ||
			(s->retain_handling == 1 && !existed)),
	};
}

struct retained_for {
	struct session *session;
	uint32_t id_opts; /* identifier and QoS, as struct sub has them */
};

static bool
send_retained(void *arg, struct msg *m)
{
	const struct retained_for *r = arg;
	struct decision rule;
	struct delivery d = { .msg = m, .retain = true };

	if (!decide(r->session->who, ACTION_RECEIVE, msg_topic(m), &rule))
		return true;
	ids_add(&d.ids, r->id_opts >> 4);
	d.qos = fanout_qos(r->session->home, m, r->id_opts) & 3;
	session_deliver(r->session, &d);
	return true;
}

static void
log_subscribe(struct conn *c, const struct subscription *s, uint8_t code)
{
	char name[TEXT_ESC], t[TEXT_ESC];

	nj_log(LOG_T_SUBSCRIBE, "%s %u %s%s%s", conn_name(c, name, sizeof name),
	    s->qos, text_esc(t, sizeof t, s->filter), code >= 0x80 ? ": " : "",
	    code >= 0x80 ? rc_name(code) : "");
}

static size_t
count_entries(const struct subscribe *s, enum mqtt_ver v)
{
	struct slice list = s->list;
	struct subscription one;
	size_t n = 0;

	while (next_subscription(&list, v, &one))
		n++;
	return n;
}

/* 3.1.1 knows 0x80 only (3.9.3 of 3.1.1). */
static uint8_t
code_for(const struct conn *c, uint8_t code)
{
	return c->version != MQTT5 && code >= 0x80 ? 0x80 : code;
}

/* [MQTT-3.1.2-24]: an answer that the client does not take ends it; there is
 * no other way to tell it what became of its packet. */
static bool
answer_fits(struct conn *c, size_t n_codes)
{
	if (link_fits(&c->link, 2 + 1 + (uint32_t)n_codes))
		return true;
	conn_end(c, RC_PACKET_TOO_LARGE,
	    "the answer to its %zu filters is larger than its maximum packet "
	    "size",
	    n_codes);
	return false;
}

static enum nj_err
say_suback(struct conn *c, uint16_t id, const struct result *r, size_t n)
{
	struct suback a = { .id = id };
	uint8_t *codes;
	char name[TEXT_ESC];
	enum nj_err e;

	if (!answer_fits(c, n))
		return NJ_OK;
	if (!(codes = malloc(n)))
		return NJ_NOMEM;
	for (size_t i = 0; i < n; i++)
		codes[i] = code_for(c, r[i].code);
	a.codes = slice_of(codes, n);
	nj_log(LOG_T_DEBUG, "Sending SUBACK to %s",
	    conn_name(c, name, sizeof name));
	link_kick(&c->link);
	c->link.packets++;
	e = encode_suback(&c->link.out, c->version, &a);
	free(codes);
	return e;
}

/* Retained messages come after the SUBACK, entry by entry. */
static void
say_retained(struct conn *c, const struct subscribe *s, const struct result *r,
    uint32_t id)
{
	struct shard *sh = c->shard;
	struct slice list = s->list;
	struct subscription one;

	for (size_t i = 0; next_subscription(&list, c->version, &one); i++) {
		struct retained_for to = { c->session, id << 4 | r[i].code };

		if (r[i].send_retained)
			retain_match(sh->broker->retain, one.filter,
			    sh->home.now_ms, send_retained, &to);
	}
}

enum nj_err
on_subscribe(struct conn *c, const struct frame *f)
{
	struct subscribe s;
	struct slice list;
	struct subscription one;
	struct result *r;
	uint32_t id = 0;
	size_t n, i;
	enum nj_err e;

	if ((e = decode_subscribe(f->body, c->version, &s)))
		return e;
	n = count_entries(&s, c->version);
	assert(n > 0); /* decode saw to it [MQTT-3.8.3-2] */
	if (!(r = calloc(n, sizeof *r)))
		return NJ_NOMEM;
	if (c->version == MQTT5 && props_has(&s.props, PROP_SUBSCRIPTION_ID))
		id = s.props.subscription_id;
	list = s.list;
	for (i = 0; i < n && next_subscription(&list, c->version, &one); i++) {
		r[i] = subscribe_one(c, &one, id);
		log_subscribe(c, &one, r[i].code);
	}
	if ((e = say_suback(c, s.id, r, n)) == NJ_OK && c->state == CONN_LIVE)
		say_retained(c, &s, r, id);
	free(r);
	return e;
}

static uint8_t
unsubscribe_one(struct conn *c, struct slice filter)
{
	struct slice group, inner;
	char name[TEXT_ESC], t[TEXT_ESC];
	enum nj_err e = topic_share(filter, &group, &inner);

	nj_log(LOG_T_UNSUBSCRIBE, "%s %s", conn_name(c, name, sizeof name),
	    text_esc(t, sizeof t, filter));
	if (e && (e != NJ_NOTFOUND || !topic_filter_ok(filter)))
		return RC_TOPIC_FILTER_INVALID;
	e = forget(c, filter, e == NJ_OK);
	return e == NJ_OK ? RC_SUCCESS : RC_NO_SUBSCRIPTION_EXISTED;
}

enum nj_err
on_unsubscribe(struct conn *c, const struct frame *f)
{
	struct subscribe s;
	struct suback a;
	struct slice filter, list;
	struct buf codes = { 0 };
	enum nj_err e;

	if ((e = decode_unsubscribe(f->body, c->version, &s)))
		return e;
	list = s.list;
	while (next_unsubscription(&list, &filter))
		if ((e = buf_put_u8(&codes, unsubscribe_one(c, filter))))
			goto out;
	if (!answer_fits(c, buf_len(&codes)))
		goto out;
	a = (struct suback){ .id = s.id, .codes = buf_slice(&codes) };
	link_kick(&c->link);
	c->link.packets++;
	e = encode_unsuback(&c->link.out, c->version, &a);
out:
	buf_fini(&codes);
	return e;
}
