/* SPDX-License-Identifier: Apache-2.0
 * Publishes of QoS 1 and 2 between the first sending and the broker's last
 * word (MQTT 5.0 4.3, 4.4), and the calls that make requests.
 */
#include <stdlib.h>
#include <string.h>

#include "client/impl.h"
#include "wire/encode.h"
#include "wire/topic.h"

struct flight **
client_flight(struct client *c, uint16_t id)
{
	/* Answers come in order, so that it is nearly always the first. */
	for (struct flight **at = &c->flights; *at; at = &(*at)->next)
		if ((*at)->id == id)
			return at;
	return NULL;
}

static bool
id_in_use(struct client *c, uint16_t id)
{
	for (size_t i = 0; i < c->n_requests; i++)
		if (c->requests[i].id == id)
			return true;
	return client_flight(c, id) != NULL;
}

/* [MQTT-2.2.1-3], [MQTT-2.2.1-4] */
enum nj_err
client_take_id(struct client *c, uint16_t *id)
{
	for (unsigned tries = 0; tries < CLIENT_IDS; tries++) {
		if (++c->next_id == 0)
			c->next_id = 1;
		if (!id_in_use(c, c->next_id)) {
			*id = c->next_id;
			return NJ_OK;
		}
	}
	return NJ_FULL;
}

static size_t
quota(const struct client *c)
{
	return c->max_inflight < c->server_receive_max ? c->max_inflight
						       : c->server_receive_max;
}

enum nj_err
client_put_ack(struct client *c, enum mqtt_type type, uint16_t id, uint8_t code)
{
	static const char *const names[] = {
		[MQTT_PUBACK] = "PUBACK",
		[MQTT_PUBREC] = "PUBREC",
		[MQTT_PUBREL] = "PUBREL",
		[MQTT_PUBCOMP] = "PUBCOMP",
	};
	struct ack a = { .id = id, .code = c->ver == MQTT5 ? code : 0 };
	size_t before = buf_len(&c->out);
	enum nj_err e;

	if (type == MQTT_PUBREL || type == MQTT_PUBCOMP)
		client_trace(c, "sending %s (m%u)", names[type], id);
	else
		client_trace(
		    c, "sending %s (m%u, rc%u)", names[type], id, code);
	if ((e = encode_ack(&c->out, type, c->ver, &a)))
		return e;
	if (buf_len(&c->out) - before <= c->server_max_packet)
		return NJ_OK;
	buf_truncate(&c->out, before); /* [MQTT-3.2.2-15] */
	return client_blame(
	    c, NJ_PROTOCOL, "%s is longer than it takes", names[type]);
}

/* Sends a flight's packet again, as its state wants it; to a broker that lost
 * the session it is a new one. */
static enum nj_err
flight_send(struct client *c, struct flight *f)
{
	enum nj_err e;

	if (f->state == AWAIT_PUBCOMP) {
		e = client_put_ack(c, MQTT_PUBREL, f->id, RC_SUCCESS);
	} else {
		if (c->session_present)
			f->packet[0] |= 0x08; /* [MQTT-3.3.1-1] */
		e = buf_put(&c->out, f->packet, f->len);
	}
	if (e)
		return e;
	f->sent = true;
	c->n_sent++;
	return NJ_OK;
}

/* Sends what waits for the broker's receive maximum [MQTT-4.9.0-2]. */
static enum nj_err
pump(struct client *c)
{
	enum nj_err e;

	for (struct flight *f = c->flights; f && c->n_sent < quota(c);
	     f = f->next)
		if (!f->sent && (e = flight_send(c, f)))
			return e;
	return NJ_OK;
}

void
client_flight_end(struct client *c, struct flight **at, const struct ack *ack)
{
	struct flight *f = *at;
	uint16_t id = f->id;

	if (!(*at = f->next))
		c->last = at;
	c->n_flights--;
	if (f->sent)
		c->n_sent--;
	free(f);
	/* Out of memory is found again by the next packet. */
	if (c->state == LINK_UP && c->n_sent < c->n_flights)
		(void)!pump(c);
	if (c->on->on_published)
		c->on->on_published(c->arg, id, ack->code, &ack->props);
}

enum nj_err
client_resume(struct client *c)
{
	static const struct ack done = { 0 };
	struct flight **at = &c->flights;

	c->n_sent = 0;
	for (struct flight *f = c->flights; f; f = f->next) {
		f->sent = false;
		if (!c->session_present)
			f->packet[0] &= (uint8_t)~0x08;
	}
	/* To a broker that lost the session they are new publishes, but for
	 * those that it had taken over already. */
	while (*at) {
		if (!c->session_present && (*at)->state == AWAIT_PUBCOMP)
			client_flight_end(c, at, &done);
		else
			at = &(*at)->next;
	}
	return pump(c);
}

static enum nj_err
publish_allowed(const struct client *c, const struct publish *p)
{
	if (c->state != LINK_UP)
		return NJ_EOF;
	if (!topic_name_ok(p->topic) &&
	    !(p->topic.n == 0 && props_has(&p->props, PROP_TOPIC_ALIAS)))
		return NJ_INVALID;
	if (props_has(&p->props, PROP_RESPONSE_TOPIC) &&
	    !topic_name_ok(p->props.response_topic)) /* [MQTT-3.3.2-14] */
		return NJ_INVALID;
	/* [MQTT-3.2.2-17], [MQTT-3.2.2-18], [MQTT-3.3.2-8], [MQTT-3.3.2-9] */
	if (props_has(&p->props, PROP_TOPIC_ALIAS) && c->ver == MQTT5 &&
	    (p->props.topic_alias == 0 ||
		p->props.topic_alias > c->server_alias_max))
		return NJ_UNSUPPORTED;
	if (p->qos > c->server_max_qos || (p->retain && !c->server_retain))
		return NJ_UNSUPPORTED; /* [MQTT-3.2.2-11], [MQTT-3.2.2-14] */
	if (p->qos > 0 && c->n_flights >= quota(c))
		return NJ_FULL;
	if (buf_len(&c->out) > CLIENT_UNSENT_MAX)
		return NJ_FULL;
	return NJ_OK;
}

/* Keeps the packet that starts at `at` of the unsent bytes. */
static enum nj_err
flight_keep(struct client *c, const struct publish *p, size_t at)
{
	struct slice all = buf_slice(&c->out);
	size_t len = all.n - at;
	struct flight *f = all.p ? malloc(sizeof *f + len) : NULL;

	if (!f)
		return NJ_NOMEM;
	*f = (struct flight){
		.state = p->qos == 1 ? AWAIT_PUBACK : AWAIT_PUBREC,
		.id = p->id,
		.sent = true,
		.len = (uint32_t)len,
	};
	memcpy(f->packet, all.p + at, len);
	*c->last = f;
	c->last = &f->next;
	c->n_flights++;
	c->n_sent++;
	return NJ_OK;
}

enum nj_err
client_publish(struct client *c, const struct publish *in, uint16_t *id)
{
	struct publish p = *in;
	size_t before = buf_len(&c->out);
	enum nj_err e;

	p.dup = false;
	p.id = 0;
	if ((e = publish_allowed(c, &p)))
		return e;
	if (p.qos > 0 && (e = client_take_id(c, &p.id)))
		return e;
	if ((e = encode_publish(&c->out, c->ver, &p)))
		return e;
	/* [MQTT-3.2.2-15] */
	if (buf_len(&c->out) - before > c->server_max_packet)
		e = NJ_TOOBIG;
	else if (p.qos > 0)
		e = flight_keep(c, &p, before);
	if (e) {
		buf_truncate(&c->out, before);
		return e;
	}
	client_trace(c,
	    "sending PUBLISH (d0, q%u, r%u, m%u, '%.*s', ... (%zu "
	    "bytes))",
	    p.qos, p.retain, p.id, (int)p.topic.n, (const char *)p.topic.p,
	    p.payload.n);
	if (id)
		*id = p.id;
	return NJ_OK;
}

/* What no broker accepts, and what this one has said that it does not. */
static enum nj_err
filter_allowed(const struct client *c, struct slice filter)
{
	struct slice group, rest = filter;
	enum nj_err e;

	if (!topic_filter_ok(filter))
		return NJ_INVALID; /* [MQTT-4.7.1-1], [MQTT-4.7.3-1] */
	if ((e = topic_share(filter, &group, &rest)) == NJ_MALFORMED)
		return NJ_INVALID; /* [MQTT-4.8.2-1], [MQTT-4.8.2-2] */
	if (c->ver != MQTT5)
		return NJ_OK;
	if (e == NJ_OK && !c->server_shared) /* 3.2.2.3.13 */
		return NJ_UNSUPPORTED;
	if (e)
		rest = filter;
	if (!c->server_wildcards && rest.n > 0 && /* [MQTT-3.2.2-21] */
	    (memchr(rest.p, '#', rest.n) || memchr(rest.p, '+', rest.n)))
		return NJ_UNSUPPORTED;
	return NJ_OK;
}

static enum nj_err
filters_allowed(const struct client *c, const struct subscription *subs,
    size_t n, const struct props *props)
{
	enum nj_err e;

	if (props && props_has(props, PROP_SUBSCRIPTION_ID) &&
	    !c->server_sub_ids) /* 3.2.2.3.12 */
		return NJ_UNSUPPORTED;
	for (size_t i = 0; i < n; i++)
		if ((e = filter_allowed(c, subs[i].filter)))
			return e;
	return NJ_OK;
}

static enum nj_err
request_allowed(struct client *c, size_t n, uint16_t *id)
{
	if (c->state != LINK_UP)
		return NJ_EOF;
	if (n == 0)
		return NJ_INVALID; /* [MQTT-3.8.3-2] */
	if (c->n_requests == CLIENT_REQUESTS_MAX)
		return NJ_FULL;
	return client_take_id(c, id);
}

static enum nj_err
request_sent(
    struct client *c, const struct request *r, size_t before, uint16_t *id)
{
	if (buf_len(&c->out) - before > c->server_max_packet) {
		buf_truncate(&c->out, before);
		return NJ_TOOBIG;
	}
	c->requests[c->n_requests++] = *r;
	if (id)
		*id = r->id;
	return NJ_OK;
}

enum nj_err
client_subscribe(struct client *c, const struct subscription *subs, size_t n,
    const struct props *props, uint16_t *id)
{
	struct request r = { .type = MQTT_SUBSCRIBE, .n = n };
	size_t before = buf_len(&c->out);
	enum nj_err e;

	if ((e = request_allowed(c, n, &r.id)) ||
	    (e = filters_allowed(c, subs, n, props)) ||
	    (e = encode_subscribe(&c->out, c->ver, r.id, props, subs, n)) ||
	    (e = request_sent(c, &r, before, id)))
		return e;
	for (size_t i = 0; i < n; i++)
		client_trace(c,
		    "sending SUBSCRIBE (Mid: %u, Topic: %.*s, QoS: %u, "
		    "Options: 0x%02x)",
		    r.id, (int)subs[i].filter.n, (const char *)subs[i].filter.p,
		    subs[i].qos,
		    (subs[i].no_local ? 4u : 0u) |
			(subs[i].retain_as_published ? 8u : 0u) |
			(unsigned)subs[i].retain_handling << 4);
	return NJ_OK;
}

enum nj_err
client_unsubscribe(struct client *c, const struct slice *filters, size_t n,
    const struct props *props, uint16_t *id)
{
	struct request r = { .type = MQTT_UNSUBSCRIBE, .n = n };
	size_t before = buf_len(&c->out);
	enum nj_err e;

	if ((e = request_allowed(c, n, &r.id)) ||
	    (e = encode_unsubscribe(
		 &c->out, c->ver, r.id, props, filters, n)) ||
	    (e = request_sent(c, &r, before, id)))
		return e;
	for (size_t i = 0; i < n; i++)
		client_trace(c, "sending UNSUBSCRIBE (Mid: %u, Topic: %.*s)",
		    r.id, (int)filters[i].n, (const char *)filters[i].p);
	return NJ_OK;
}
