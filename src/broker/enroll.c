/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/enroll.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "auth/base64.h"
#include "auth/decide.h"
#include "base/log.h"
#include "base/text.h"
#include "broker/denied.h"
#include "broker/guard.h"
#include "broker/question.h"
#include "broker/route.h"
#include "broker/sessions.h"
#include "core/rc.h"
#include "pki/csr.h"
#include "pki/pkcs7.h"
#include "wire/topic.h"

/* Where an answer goes, and how. */
struct reply {
	char id[PKI_ID_MAX + 1];
	enum enrolling_op op;
	enum enrolling_form form;
	struct buf topic, correlation; /* the client's own; empty: none */
};

struct enroll {
	struct question q;
	struct conn *conn; /* NULL: gone */
	struct reply to;
};

struct answer {
	unsigned status;
	const char *type;
	struct slice body;
};

static void
reply_fini(struct reply *r)
{
	buf_fini(&r->topic);
	buf_fini(&r->correlation);
}

static void
enroll_free(struct enroll *e)
{
	question_fini(&e->q);
	reply_fini(&e->to);
	free(e);
}

void
enroll_abandon(struct conn *c)
{
	if (c->enroll)
		c->enroll->conn = NULL; /* freed when its letter comes */
	c->enroll = NULL;
}

/* -- answers ---------------------------------------------------------------- */

static NJ_MUST enum nj_err
put_prop(struct buf *b, enum mqtt_prop id, struct slice s)
{
	enum nj_err e;

	if ((e = buf_put_u8(b, (uint8_t)id)) ||
	    (e = buf_put_u16(b, (uint16_t)s.n)))
		return e;
	return buf_put_slice(b, s);
}

/* In wire form, as a message has them (msg.h). */
static NJ_MUST enum nj_err
put_props(const struct reply *to, const struct answer *a, struct buf *raw,
    struct props *out)
{
	char status[16];
	enum nj_err e;

	(void)snprintf(status, sizeof status, "%u", a->status);
	if ((e = buf_put_u8(raw, PROP_PAYLOAD_FORMAT)) ||
	    (e = buf_put_u8(raw, 1)) ||
	    (e = put_prop(raw, PROP_CONTENT_TYPE, slice_str(a->type))) ||
	    (e = props_put_user(raw, LIT("status"), slice_str(status))))
		return e;
	out->seen = PROP_BIT(PROP_PAYLOAD_FORMAT) |
	    PROP_BIT(PROP_CONTENT_TYPE) | PROP_BIT(PROP_USER);
	if (buf_len(&to->correlation) > 0) {
		if ((e = put_prop(raw, PROP_CORRELATION_DATA,
			 buf_slice(&to->correlation))))
			return e;
		out->seen |= PROP_BIT(PROP_CORRELATION_DATA);
	}
	out->raw = buf_slice(raw);
	return NJ_OK;
}

static NJ_MUST enum nj_err
make_topic(const struct reply *to, unsigned status, struct buf *out)
{
	if (buf_len(&to->topic) > 0)
		return buf_put_slice(out, buf_slice(&to->topic));
	return buf_printf(out, ENROLLING_REPLY "%s/%s/%s", to->id,
	    enrolling_op_name(to->op),
	    status == 200	? "ok"
		: status == 202 ? "wait"
				: "error");
}

/* c: who asked, or NULL when it is gone. */
static void
send(struct shard *sh, struct conn *c, const struct reply *to, struct msg *m)
{
	struct slice topic = msg_topic(m);
	const char *rule;
	bool heard = false;

	/* to others that are the same device; what everybody may know, and
	 * where a client alone listens, is for who asked */
	if (strcmp(to->id, ENROLLING_NO_ID) != 0 &&
	    enrolling_may_read(
		ENROLLING_BESIDES, slice_str(to->id), topic, &rule)) {
		heard = c && route_reaches(sh, c->session, topic);
		route(sh, m);
	}
	if (c && !heard)
		session_deliver(c->session, &(struct delivery){ .msg = m });
}

static void
say(struct shard *sh, struct conn *c, const struct reply *to,
    const struct answer *a)
{
	struct publish p = { .qos = 1, .payload = a->body };
	struct buf raw = { 0 }, topic = { 0 };
	struct msg *m = NULL;

	if (c && (c->state != CONN_LIVE || c->link.closing))
		c = NULL;
	if (put_props(to, a, &raw, &p.props) ||
	    make_topic(to, a->status, &topic) ||
	    msg_new(&p, buf_slice(&topic), sh->home.now_ms, &m)) {
		if (c)
			conn_end(
			    c, RC_IMPLEMENTATION_SPECIFIC, "out of memory");
	} else {
		send(sh, c, to, m);
	}
	msg_unref(m);
	buf_fini(&topic);
	buf_fini(&raw);
}

/* "401 the token is ...", and what mends it in a second line. */
static void
say_words(struct shard *sh, struct conn *c, const struct reply *to,
    unsigned status, const char *what, const char *mend)
{
	char text[sizeof(struct nj_why) + 48];
	int n = snprintf(text, sizeof text, "%u %s\n%s%s%s", status, what,
	    mend[0] ? "To mend it: " : "", mend, mend[0] ? "\n" : "");

	say(sh, c, to,
	    &(struct answer){ status, "text/plain; charset=utf-8",
		slice_of(text, n > 0 ? (size_t)n : 0) });
}

static void
refuse(struct conn *c, const struct reply *to, unsigned status,
    const char *what, const char *mend)
{
	char name[TEXT_ESC];

	conn_failed(c, FAILURE_ENROLMENT, false, what, mend);
	if (guard_may_log(c->shard, &c->shard->refusals, GUARD_REFUSALS))
		nj_log(LOG_T_NOTICE,
		    "Enrolment for %s (%s) by MQTT refused (%u): %s", c->peer,
		    conn_name(c, name, sizeof name), status, what);
	say_words(c->shard, c, to, status, what, mend);
}

/* One certificate a line, in base64. */
static NJ_MUST enum nj_err
put_ders(struct slice ders, struct buf *out)
{
	struct slice der = SLICE_NONE;
	enum nj_err e = NJ_OK;

	while (!e && ders.n > 0 && !(e = take_bin(&ders, &der))) {
		char *text = malloc(BASE64_SIZE(der.n) + 1);
		size_t n;

		if (!text)
			return NJ_NOMEM;
		n = base64_encode(text, der, true);
		if (!(e = buf_put(out, text, n)))
			e = buf_put_u8(out, '\n');
		free(text);
	}
	return e;
}

static void
say_certs(struct shard *sh, struct conn *c, const struct reply *to,
    struct slice certs, bool one)
{
	static const char *const types[] = {
		[ENROLLING_PEM] = "application/x-pem-file",
		[ENROLLING_DER] = "application/pkix-cert",
		[ENROLLING_P7] = "application/pkcs7-mime",
	};
	struct answer a = { 200, types[to->form], SLICE_NONE };
	struct buf body = { 0 };
	enum nj_err e = NJ_UNSUPPORTED;

	switch (to->form) {
	case ENROLLING_PEM:
		e = question_pem(certs, &body);
		break;
	case ENROLLING_DER:
		e = put_ders(certs, &body);
		break;
	case ENROLLING_P7:
		e = pkcs7_of(certs, one, &body);
		break;
	}
	a.body = buf_slice(&body);
	if (e)
		say_words(sh, c, to, 503, "the answer could not be made", "");
	else
		say(sh, c, to, &a);
	buf_fini(&body);
}

static void
say_attributes(struct conn *c, const struct reply *to)
{
	struct answer a = { 200, "application/csrattrs", SLICE_NONE };
	struct buf text = { 0 };

	if (pki_base64_put(&text, question_attributes())) {
		say_words(
		    c->shard, c, to, 503, "the answer could not be made", "");
	} else {
		a.body = buf_slice(&text);
		say(c->shard, c, to, &a);
	}
	buf_fini(&text);
}

static void
say_answer(struct shard *sh, struct enroll *e)
{
	const struct question *q = &e->q;
	const struct nj_why *why = &q->answer.why;
	unsigned status = question_status(q);
	struct conn *c = e->conn;
	char text[96];

	question_log(q, q->from, " by MQTT");
	switch (q->answer.result) {
	case ENROL_OK:
		say_certs(sh, c, &e->to, buf_slice(&q->answer.certs),
		    q->op != QUESTION_CACERTS);
		return;
	case ENROL_WAIT:
		(void)snprintf(text, sizeof text,
		    "%u The request waits for approval.\nRetry-After: %d\n",
		    status, ENROL_RETRY_S);
		say(sh, c, &e->to,
		    &(struct answer){
			status, "text/plain; charset=utf-8", slice_str(text) });
		return;
	case ENROL_DENIED:
		if (c)
			guard_login_failed(c);
		break;
	case ENROL_REFUSED:
		break;
	case ENROL_FAILED:
		/* why it failed is the operator's to know */
		say_words(sh, c, &e->to, status,
		    "no certificate can be issued now; the broker's log says "
		    "why",
		    "");
		return;
	}
	if (c)
		refuse(c, &e->to, status, why->what, why->mend);
	else
		say_words(sh, c, &e->to, status, why->what, why->mend);
}

void
enroll_answered(struct shard *sh, struct letter *l)
{
	struct enroll *e = LIST_OWNER(l, struct enroll, q.letter);
	struct keep *keep = &sh->durable.keep;
	struct conn *c = e->conn;

	if (c)
		c->enroll = NULL;
	keep->dirty = keep->failed = false;
	say_answer(sh, e);
	if (c && keep->failed)
		conn_doom(c, "out of memory");
	enroll_free(e);
}

/* -- requests --------------------------------------------------------------- */

/* A DER request as it is, or in base64, or as PEM. */
static NJ_MUST enum nj_err
take_request(struct slice body, struct buf *out)
{
	if (body.n > ENROLL_REQUEST_MAX)
		return NJ_TOOBIG;
	if (body.n > 0 && body.p[0] == 0x30 && body.n <= PKI_CSR_MAX &&
	    memchr(body.p, 0, body.n))
		return buf_put_slice(out, body);
	return pki_base64_take(body, PKI_CSR_MAX, out);
}

/* So many a minute, as of whole minutes. */
static bool
too_many(struct conn *c)
{
	uint64_t minute = c->shard->home.now_ms / 60000;

	if (c->enroll_minute != (uint32_t)minute) {
		c->enroll_minute = (uint32_t)minute;
		c->enroll_count = 0;
	}
	if (c->enroll_count >= ENROLL_PER_MINUTE)
		return true;
	c->enroll_count++;
	return false;
}

/* Gives *to away when it succeeds. */
static void
ask(struct conn *c, struct reply *to, struct slice body)
{
	static const enum question_op ops[] = {
		[ENROLLING_CACERTS] = QUESTION_CACERTS,
		[ENROLLING_ATTRIBUTES] = QUESTION_ATTRIBUTES,
		[ENROLLING_ENROLL] = QUESTION_ENROLL,
		[ENROLLING_REENROLL] = QUESTION_REENROLL,
	};
	const struct principal *who = c->session->who;
	struct enroll *n = calloc(1, sizeof *n);
	enum nj_err e;

	if (!n) {
		conn_end(c, RC_IMPLEMENTATION_SPECIFIC, "out of memory");
		return;
	}
	n->q.shard = c->shard;
	n->q.op = ops[to->op];
	n->q.opts = conn_port(c)->enroll;
	memcpy(n->q.from, c->peer, sizeof n->q.from);
	memcpy(n->q.name, to->id, sizeof n->q.name);
	if (n->q.op == QUESTION_ENROLL && who->token.n == PKI_TOKEN_HASH)
		memcpy(n->q.token, who->token.p, who->token.n);
	if (n->q.op == QUESTION_REENROLL && !question_take_cert(&n->q, c)) {
		refuse(c, to, 403,
		    "renewing takes the certificate that is "
		    "renewed",
		    "connect with it");
	} else if (n->q.op != QUESTION_CACERTS &&
	    (e = take_request(body, &n->q.csr))) {
		refuse(c, to, e == NJ_TOOBIG ? 413 : 400,
		    "the message is no certificate request",
		    "send the request (PKCS#10) as PEM, or its DER in base64");
	} else {
		n->conn = c;
		n->to = *to;
		if (question_ask(&n->q, LETTER_ENROLL) == NJ_OK) {
			*to = (struct reply){ 0 }; /* moved */
			c->enroll = n;
			return;
		}
		n->to = (struct reply){ 0 };
		refuse(c, to, 503, "too many ask at once",
		    "try again in some seconds");
	}
	enroll_free(n);
}

/* MQTT 5 4.10: what the client wants of its answer; false: it was ended. */
static bool
take_reply(struct conn *c, const struct publish *p, struct reply *to)
{
	const struct principal *who = c->session->who;
	const struct props *props = &p->props;

	(void)snprintf(to->id, sizeof to->id, "%.*s", (int)who->enrols.n,
	    who->enrols.n ? (const char *)who->enrols.p : "");
	if (!to->id[0])
		(void)snprintf(to->id, sizeof to->id, "%s", ENROLLING_NO_ID);
	if (props_has(props, PROP_RESPONSE_TOPIC) &&
	    topic_name_ok(props->response_topic) &&
	    buf_put_slice(&to->topic, props->response_topic))
		return false;
	if (props_has(props, PROP_CORRELATION_DATA) &&
	    buf_put_slice(&to->correlation, props->correlation_data))
		return false;
	return true;
}

enum mqtt_rc
enroll_publish(struct conn *c, const struct publish *p, struct slice topic)
{
	struct asker asker = sessions_asker(c->session);
	enum mqtt_rc rc = RC_SUCCESS;
	struct reply to = { .op = ENROLLING_CACERTS };
	struct decision rule;
	bool known = enrolling_request(topic, &to.op, &to.form);
	bool may = decide(&asker, ACTION_PUBLISH, topic, &rule);

	if (!conn_port(c)->enroll || !known) {
		denied_log(c, ACTION_PUBLISH, topic,
		    known ? "there is no enrolment on this listener (enroll)"
			  : rule.text);
		return RC_NOT_AUTHORIZED;
	}
	if (!take_reply(c, p, &to)) {
		rc = RC_IMPLEMENTATION_SPECIFIC;
	} else if (!may) {
		refuse(c, &to, 403, rule.text, "");
		rc = RC_NOT_AUTHORIZED;
	} else if (too_many(c) || guard_login_wait(c) > 0) {
		refuse(c, &to, 429,
		    "too many requests, or failed attempts "
		    "from this address",
		    "wait a minute");
	} else if (c->enroll) {
		refuse(c, &to, 429, "another request is under way",
		    "wait for its answer");
	} else if (to.op == ENROLLING_ATTRIBUTES) {
		say_attributes(c, &to);
	} else {
		ask(c, &to, p->payload);
	}
	reply_fini(&to);
	return rc;
}
