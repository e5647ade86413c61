/* SPDX-License-Identifier: Apache-2.0
 * What the broker sends.  Nothing of it is believed before it is checked: a
 * packet that the protocol does not allow here ends the connection.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "client/impl.h"
#include "wire/decode.h"
#include "wire/topic.h"

typedef enum nj_err receive_fn(struct client *c, const struct frame *f);

enum nj_err
client_blame(struct client *c, enum nj_err e, const char *fmt, ...)
{
	char text[256];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	why_set(
	    &c->why, "the broker at %s broke the protocol: %s", c->where, text);
	why_mend(&c->why,
	    "check that this port is one for MQTT, not for "
	    "WebSocket or HTTP");
	return e == NJ_TRUNCATED ? NJ_MALFORMED : e;
}

enum nj_err
client_blame_as(struct client *c, enum mqtt_rc code, const char *fmt, ...)
{
	char text[256];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	c->fault = (uint8_t)code;
	return client_blame(c, NJ_PROTOCOL, "%s", text);
}

/* Writes who refused, why, and what the broker itself said about it. */
static void
why_refused(struct client *c, const char *what, enum mqtt_type type,
    uint8_t code, const struct props *p)
{
	char said[TEXT_ESC] = "";

	if (props_has(p, PROP_REASON_STRING))
		text_esc(said, sizeof said, p->reason_string);
	else if (props_has(p, PROP_SERVER_REFERENCE))
		text_esc(said, sizeof said, p->server_reference);
	why_set(&c->why, "the broker at %s %s: %s%s%s%s", c->where, what,
	    client_reason(type, c->ver, code), said[0] ? " (" : "", said,
	    said[0] ? ")" : "");
	why_mend(&c->why, "%s", client_reason_mend(c->ver, code));
}

static enum nj_err
keep_connack(struct client *c, const struct connack *k)
{
	const struct props *p = &k->props;

	c->session_present = k->session_present;
	c->server_max_qos = props_has(p, PROP_MAX_QOS) ? p->max_qos : 2;
	c->server_retain =
	    !props_has(p, PROP_RETAIN_AVAILABLE) || p->retain_available;
	c->server_receive_max =
	    props_has(p, PROP_RECEIVE_MAX) ? p->receive_max : UINT16_MAX;
	c->server_max_packet = props_has(p, PROP_MAX_PACKET_SIZE)
	    ? p->max_packet_size
	    : UINT32_MAX;
	c->server_alias_max =
	    props_has(p, PROP_TOPIC_ALIAS_MAX) ? p->topic_alias_max : 0;
	c->server_wildcards =
	    !props_has(p, PROP_WILDCARD_AVAILABLE) || p->wildcard_available;
	c->server_sub_ids =
	    !props_has(p, PROP_SUB_ID_AVAILABLE) || p->sub_id_available;
	c->server_shared =
	    !props_has(p, PROP_SHARED_AVAILABLE) || p->shared_available;
	c->ping_after = props_has(p, PROP_SERVER_KEEP_ALIVE)
	    ? p->server_keep_alive
	    : /* [MQTT-3.1.2-21] */
	    c->keep_alive;
	if (props_has(p, PROP_ASSIGNED_CLIENT_ID)) {
		char *id = strndup((const char *)p->assigned_client_id.p,
		    p->assigned_client_id.n);

		if (!id)
			return NJ_NOMEM;
		free(c->id);
		c->id = id;
	}
	return NJ_OK;
}

static enum nj_err
on_connack(struct client *c, const struct frame *f)
{
	struct connack k;
	enum nj_err e;

	if (c->state != LINK_OPENING)
		return client_blame(c, NJ_PROTOCOL, "a second CONNACK");
	if ((e = decode_connack(f->body, c->ver, &k)))
		return client_blame(c, e, "malformed CONNACK");
	c->code = k.code;
	if (k.code != 0) {
		client_trace(c, "received CONNACK (%u)", k.code);
		why_refused(c, "refused the connection", MQTT_CONNACK, k.code,
		    &k.props);
		return NJ_DENIED;
	}
	/* 3.1 has no such flag: what was asked to be kept is taken for kept. */
	if (c->ver == MQTT31)
		k.session_present = c->persistent;
	if (k.session_present && !c->persistent)
		return client_blame(c, NJ_PROTOCOL,
		    "it kept a session that was not asked for"); /* 3.2.2.1.1 */
	if ((e = client_auth_accepted(c, &k.props)) ||
	    (e = keep_connack(c, &k)))
		return e;
	client_trace(c, "received CONNACK (%u)", k.code);
	if (!c->session_present && c->received) {
		memset(c->received, 0, CLIENT_IDS / 8);
		c->n_received = 0;
	}
	c->state = LINK_UP;
	if ((e = client_resume(c)))
		return e;
	if (c->on->on_connected)
		c->on->on_connected(c->arg, &k);
	return NJ_OK;
}

void
client_aliases_free(struct client *c)
{
	for (size_t i = 0; c->aliases && i < c->alias_max; i++)
		buf_fini(&c->aliases[i]);
	free(c->aliases);
	c->aliases = NULL;
}

/* Fills in the topic of an alias, or remembers it (MQTT 5.0 3.3.2.3.4). */
static enum nj_err
resolve_alias(struct client *c, struct publish *p)
{
	uint16_t a = p->props.topic_alias;
	struct buf *topic;

	if (a == 0 || a > c->alias_max)
		return client_blame_as(c, RC_TOPIC_ALIAS_INVALID,
		    "topic alias %u, of at most %u", a,
		    c->alias_max); /* [MQTT-3.1.2-26], [MQTT-3.1.2-27] */
	if (!c->aliases &&
	    !(c->aliases = calloc(c->alias_max, sizeof *c->aliases)))
		return NJ_NOMEM;
	topic = &c->aliases[a - 1];
	if (p->topic.n == 0) {
		if (buf_len(topic) == 0)
			return client_blame_as(c, RC_PROTOCOL_ERROR,
			    "topic alias %u, which has no topic", a);
		p->topic = buf_slice(topic);
		return NJ_OK;
	}
	buf_truncate(topic, 0);
	return buf_put_slice(topic, p->topic);
}

static bool
received_before(const struct client *c, uint16_t id)
{
	return c->received && (c->received[id / 64] >> (id % 64) & 1);
}

/* Notes a QoS 2 id until its PUBREL; blames more than we allowed for. */
static enum nj_err
received_add(struct client *c, uint16_t id)
{
	if (!c->received && !(c->received = calloc(1, CLIENT_IDS / 8)))
		return NJ_NOMEM;
	if (c->ver == MQTT5 && c->n_received >= c->receive_max)
		return client_blame_as(c, RC_RECEIVE_MAX_EXCEEDED,
		    "more than %u messages in flight",
		    c->receive_max); /* 3.3.4 */
	c->received[id / 64] |= UINT64_C(1) << (id % 64);
	c->n_received++;
	return NJ_OK;
}

static enum nj_err
check_publish(struct client *c, const struct frame *f, struct publish *p)
{
	enum nj_err e;

	if ((e = decode_publish(f->flags, f->body, c->ver, p)))
		return client_blame(c, e, "malformed PUBLISH");
	if (p->topic.n > 0 && !topic_name_ok(p->topic))
		return client_blame_as(c, RC_TOPIC_NAME_INVALID,
		    "a PUBLISH with an invalid topic"); /* [MQTT-3.3.2-2] */
	if (c->ver == MQTT5 && props_has(&p->props, PROP_TOPIC_ALIAS))
		return resolve_alias(c, p);
	if (p->topic.n == 0)
		return client_blame(c, NJ_PROTOCOL, "a PUBLISH without topic");
	return NJ_OK;
}

static enum nj_err
on_publish(struct client *c, const struct frame *f)
{
	struct publish p;
	enum nj_err e;
	bool again;

	if ((e = check_publish(c, f, &p)))
		return e;
	client_trace(c,
	    "received PUBLISH (d%u, q%u, r%u, m%u, '%.*s', ... "
	    "(%zu bytes))",
	    p.dup, p.qos, p.retain, p.id, (int)p.topic.n,
	    (const char *)p.topic.p, p.payload.n);
	again = p.qos == 2 && received_before(c, p.id);
	if (c->hold && !again)
		return NJ_OK;
	if (p.qos == 2 && !again && (e = received_add(c, p.id)))
		return e;
	if (!again && c->on->on_message)
		c->on->on_message(c->arg, &p);
	if (p.qos == 1)
		return client_put_ack(c, MQTT_PUBACK, p.id, RC_SUCCESS);
	if (p.qos == 2)
		return client_put_ack(c, MQTT_PUBREC, p.id, RC_SUCCESS);
	return NJ_OK;
}

/* 3.1.2.11.7: we asked not to be told [MQTT-3.1.2-29]. */
static enum nj_err
check_told(struct client *c, const char *name, const struct props *p)
{
	if (c->no_problem_info &&
	    (props_has(p, PROP_REASON_STRING) || props_has(p, PROP_USER)))
		return client_blame(c, NJ_PROTOCOL,
		    "%s with the reason that we asked not to have", name);
	return NJ_OK;
}

static enum nj_err
take_ack(
    struct client *c, const struct frame *f, const char *name, struct ack *a)
{
	enum nj_err e = decode_ack((enum mqtt_type)f->type, f->body, c->ver, a);

	if (e)
		return client_blame(c, e, "malformed %s", name);
	if ((e = check_told(c, name, &a->props)))
		return e;
	if (c->ver != MQTT5 &&
	    (f->type == MQTT_PUBREC || f->type == MQTT_PUBREL))
		client_trace(c, "received %s (Mid: %u)", name, a->id);
	else
		client_trace(
		    c, "received %s (Mid: %u, RC:%u)", name, a->id, a->code);
	return NJ_OK;
}

static enum nj_err
on_puback(struct client *c, const struct frame *f)
{
	struct flight **fl;
	struct ack a;
	enum nj_err e;

	if ((e = take_ack(c, f, "PUBACK", &a)))
		return e;
	/* One that we do not know is of an earlier connection. */
	if (!(fl = client_flight(c, a.id)))
		return NJ_OK;
	if ((*fl)->state != AWAIT_PUBACK || !(*fl)->sent)
		return client_blame(c, NJ_PROTOCOL,
		    "PUBACK of a message that "
		    "awaits none");
	client_flight_end(c, fl, &a);
	return NJ_OK;
}

static enum nj_err
on_pubrec(struct client *c, const struct frame *f)
{
	struct flight **fl;
	struct ack a;
	enum nj_err e;

	if ((e = take_ack(c, f, "PUBREC", &a)))
		return e;
	if (!(fl = client_flight(c, a.id)))
		return a.code >= RC_UNSPECIFIED
		    ? NJ_OK
		    : client_put_ack(
			  c, MQTT_PUBREL, a.id, RC_PACKET_ID_NOT_FOUND);
	if ((*fl)->state == AWAIT_PUBACK || !(*fl)->sent)
		return client_blame(c, NJ_PROTOCOL,
		    "PUBREC of a message that "
		    "awaits none");
	if (a.code >= RC_UNSPECIFIED) { /* [MQTT-4.3.3-4] */
		client_flight_end(c, fl, &a);
		return NJ_OK;
	}
	(*fl)->state = AWAIT_PUBCOMP;
	return client_put_ack(c, MQTT_PUBREL, a.id, RC_SUCCESS);
}

static enum nj_err
on_pubcomp(struct client *c, const struct frame *f)
{
	struct flight **fl;
	struct ack a;
	enum nj_err e;

	if ((e = take_ack(c, f, "PUBCOMP", &a)))
		return e;
	if (!(fl = client_flight(c, a.id)))
		return NJ_OK;
	if ((*fl)->state != AWAIT_PUBCOMP)
		return client_blame(c, NJ_PROTOCOL,
		    "PUBCOMP of a message that "
		    "awaits none");
	client_flight_end(c, fl, &a);
	return NJ_OK;
}

static enum nj_err
on_pubrel(struct client *c, const struct frame *f)
{
	uint8_t code = RC_SUCCESS;
	struct ack a;
	enum nj_err e;

	if ((e = take_ack(c, f, "PUBREL", &a)))
		return e;
	if (received_before(c, a.id)) {
		c->received[a.id / 64] &= ~(UINT64_C(1) << (a.id % 64));
		c->n_received--;
	} else {
		code = RC_PACKET_ID_NOT_FOUND;
	}
	return client_put_ack(c, MQTT_PUBCOMP, a.id, code);
}

/* Takes the request that an answer is for out of the table. */
static enum nj_err
take_request(struct client *c, enum mqtt_type type, uint16_t id,
    const char *name, struct request *out)
{
	for (size_t i = 0; i < c->n_requests; i++) {
		struct request *r = &c->requests[i];

		if (r->id != id || r->type != type)
			continue;
		*out = *r;
		*r = c->requests[--c->n_requests];
		return NJ_OK;
	}
	return client_blame(c, NJ_PROTOCOL,
	    "%s %u, which nothing was asked "
	    "with",
	    name, id);
}

static enum nj_err
on_suback(struct client *c, const struct frame *f)
{
	struct suback s;
	struct request r = { .n = 0 };
	enum nj_err e;

	if ((e = decode_suback(f->body, c->ver, &s)))
		return client_blame(c, e, "malformed SUBACK");
	client_trace(c, "received SUBACK");
	if ((e = check_told(c, "SUBACK", &s.props)) ||
	    (e = take_request(c, MQTT_SUBSCRIBE, s.id, "SUBACK", &r)))
		return e;
	if (s.codes.n != r.n) /* [MQTT-3.8.4-6] */
		return client_blame(c, NJ_PROTOCOL,
		    "SUBACK with %zu codes for %zu filters", s.codes.n, r.n);
	if (c->on->on_subscribed)
		c->on->on_subscribed(c->arg, s.id, s.codes, &s.props);
	return NJ_OK;
}

static enum nj_err
on_unsuback(struct client *c, const struct frame *f)
{
	struct suback s;
	struct request r = { .n = 0 };
	enum nj_err e;

	if ((e = decode_unsuback(f->body, c->ver, &s)))
		return client_blame(c, e, "malformed UNSUBACK");
	client_trace(c, "received UNSUBACK");
	if ((e = check_told(c, "UNSUBACK", &s.props)) ||
	    (e = take_request(c, MQTT_UNSUBSCRIBE, s.id, "UNSUBACK", &r)))
		return e;
	if (c->ver == MQTT5 && s.codes.n != r.n) /* [MQTT-3.11.3-1] */
		return client_blame(c, NJ_PROTOCOL,
		    "UNSUBACK with %zu codes for %zu filters", s.codes.n, r.n);
	if (c->on->on_unsubscribed)
		c->on->on_unsubscribed(c->arg, s.id, s.codes, &s.props);
	return NJ_OK;
}

static enum nj_err
on_pingresp(struct client *c, const struct frame *f)
{
	enum nj_err e = decode_empty(f->body);

	if (e)
		return client_blame(c, e, "malformed PINGRESP");
	client_trace(c, "received PINGRESP");
	c->ping_sent = 0;
	return NJ_OK;
}

static enum nj_err
on_disconnect(struct client *c, const struct frame *f)
{
	struct disconnect d;
	enum nj_err e;

	if (c->ver != MQTT5)
		return client_blame(c, NJ_PROTOCOL, "a DISCONNECT");
	if ((e = decode_disconnect(f->body, c->ver, &d)))
		return client_blame(c, e, "malformed DISCONNECT");
	client_trace(c, "received DISCONNECT (%u)", d.code);
	if (d.code == RC_DISCONNECT_WITH_WILL ||
	    props_has(&d.props, PROP_SESSION_EXPIRY)) /* [MQTT-3.14.2-2] */
		return client_blame(
		    c, NJ_PROTOCOL, "a DISCONNECT as only clients send");
	c->code = d.code;
	why_refused(
	    c, "ended the connection", MQTT_DISCONNECT, d.code, &d.props);
	return NJ_DENIED;
}

static receive_fn *const receivers[16] = {
	[MQTT_CONNACK] = on_connack,
	[MQTT_PUBLISH] = on_publish,
	[MQTT_PUBACK] = on_puback,
	[MQTT_PUBREC] = on_pubrec,
	[MQTT_PUBREL] = on_pubrel,
	[MQTT_PUBCOMP] = on_pubcomp,
	[MQTT_SUBACK] = on_suback,
	[MQTT_UNSUBACK] = on_unsuback,
	[MQTT_PINGRESP] = on_pingresp,
	[MQTT_DISCONNECT] = on_disconnect,
	[MQTT_AUTH] = client_auth_receive,
};

enum nj_err
client_receive(struct client *c, const struct frame *f)
{
	receive_fn *fn = receivers[f->type & 15];

	if (!fn || (f->type == MQTT_AUTH && c->ver != MQTT5))
		return client_blame(c, NJ_PROTOCOL,
		    "a packet of type %u, which only clients send", f->type);
	if (c->state == LINK_OPENING && f->type != MQTT_CONNACK &&
	    f->type != MQTT_AUTH) /* [MQTT-3.2.0-1] */
		return client_blame(c, NJ_PROTOCOL,
		    "a packet of type %u "
		    "before CONNACK",
		    f->type);
	return fn(c, f);
}
