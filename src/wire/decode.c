/* SPDX-License-Identifier: Apache-2.0 */
#include "wire/decode.h"

#include "wire/codes.h"
#include "wire/topic.h"

#define BRIDGE_BIT 0x80

/* 3.1.2.3 connect flags. */
enum {
	CF_RESERVED = 0x01,
	CF_CLEAN_START = 0x02,
	CF_WILL = 0x04,
	CF_WILL_QOS_SHIFT = 3,
	CF_WILL_QOS = 0x18,
	CF_WILL_RETAIN = 0x20,
	CF_PASSWORD = 0x40,
	CF_USERNAME = 0x80
};

/* 3.8.3.1 subscription options. */
enum {
	SO_QOS = 0x03,
	SO_NO_LOCAL = 0x04,
	SO_RETAIN_AS_PUBLISHED = 0x08,
	SO_RETAIN_HANDLING_SHIFT = 4,
	SO_RETAIN_HANDLING = 0x30,
	SO_RESERVED = 0xc0
};

static void
no_props(struct props *p)
{
	p->seen = 0;
	p->raw = p->extra = SLICE_NONE;
}

/* 1.5.4 UTF-8 string. */
static enum nj_err
take_str(struct slice *s, struct slice *out)
{
	enum nj_err e = take_bin(s, out);

	if (e)
		return e;
	return utf8_ok(*out) ? NJ_OK : NJ_MALFORMED; /* [MQTT-1.5.4-1] */
}

/* Nothing below 5.0, where there are no properties. */
static enum nj_err
take_props_of(
    struct slice *s, enum mqtt_ver v, enum props_in where, struct props *out)
{
	if (v == MQTT5)
		return take_props(s, where, out);
	no_props(out);
	return NJ_OK;
}

static enum nj_err
take_id(struct slice *s, uint16_t *id)
{
	enum nj_err e = take_u16(s, id);

	if (e)
		return e;
	return *id != 0 ? NJ_OK : NJ_PROTOCOL; /* [MQTT-2.2.1-3], [-4] */
}

static enum nj_err
take_end(struct slice s)
{
	return s.n == 0 ? NJ_OK : NJ_MALFORMED;
}

/* 3.1.2.1, 3.1.2.2; 3.1 said MQIsdp and 3. */
static enum nj_err
take_version(struct slice *s, struct connect *c, uint8_t *asked)
{
	struct slice name;
	uint8_t version;
	enum nj_err e;

	if ((e = take_bin(s, &name)) || (e = take_u8(s, asked)))
		return e;
	version = *asked;
	if ((version & ~BRIDGE_BIT) == MQTT31 ||
	    (version & ~BRIDGE_BIT) == MQTT311) {
		c->bridge = version & BRIDGE_BIT;
		version &= (uint8_t)~BRIDGE_BIT;
	}
	c->version = (enum mqtt_ver)version;
	if (version == MQTT31)
		return slice_is(name, "MQIsdp") ? NJ_OK : NJ_UNSUPPORTED;
	if (version == MQTT311 || version == MQTT5)
		return slice_is(name, "MQTT") ? NJ_OK : NJ_UNSUPPORTED;
	return NJ_UNSUPPORTED; /* [MQTT-3.1.2-1], [-2] */
}

static enum nj_err
take_connect_flags(struct slice *s, struct connect *c)
{
	bool strict = c->version != MQTT31; /* 3.1 says nothing of these */
	uint8_t f = 0;
	enum nj_err e = take_u8(s, &f);

	if (e)
		return e;
	if (strict && (f & CF_RESERVED))
		return NJ_MALFORMED; /* [MQTT-3.1.2-3] */
	c->clean_start = f & CF_CLEAN_START;
	c->has_will = f & CF_WILL;
	c->has_username = f & CF_USERNAME;
	c->has_password = f & CF_PASSWORD;
	if (!c->has_will && strict && (f & (CF_WILL_QOS | CF_WILL_RETAIN)))
		return NJ_MALFORMED; /* [MQTT-3.1.2-7], [-8] */
	if (c->has_will) {
		c->will.qos = (f & CF_WILL_QOS) >> CF_WILL_QOS_SHIFT;
		c->will.retain = f & CF_WILL_RETAIN;
		if (c->will.qos > 2)
			return NJ_MALFORMED; /* 3.1.2.6 */
	}
	if (c->version != MQTT5 && c->has_password && !c->has_username)
		return NJ_PROTOCOL; /* [3.1.1: MQTT-3.1.2-22] */
	return NJ_OK;
}

static enum nj_err
take_will(struct slice *s, struct connect *c)
{
	enum nj_err e;

	if (!c->has_will)
		return NJ_OK;
	/* [MQTT-3.1.2-9], [MQTT-3.1.3-11] */
	if ((e = take_props_of(s, c->version, IN_WILL, &c->will.props)) ||
	    (e = take_str(s, &c->will.topic)))
		return e;
	return take_bin(s, &c->will.payload);
}

static enum nj_err
take_login(struct slice *s, struct connect *c)
{
	enum nj_err e;

	/* 3.1, 3.1: the end of the packet has precedence over these flags. */
	if (c->version == MQTT31 && s->n == 0)
		c->has_username = c->has_password = false;
	if (c->has_username && (e = take_str(s, &c->username)))
		return e; /* [MQTT-3.1.3-12] */
	if (c->version == MQTT31 && s->n == 0)
		c->has_password = false;
	return c->has_password ? take_bin(s, &c->password) : NJ_OK;
}

/* What stands behind name and version. */
static enum nj_err
take_rest(struct slice body, struct connect *c)
{
	enum nj_err e;

	/* [MQTT-3.1.3-1] */
	if ((e = take_connect_flags(&body, c)) ||
	    (e = take_u16(&body, &c->keep_alive)) ||
	    (e = take_props_of(&body, c->version, IN_CONNECT, &c->props)) ||
	    (e = take_str(&body, &c->client_id)) || (e = take_will(&body, c)) ||
	    (e = take_login(&body, c)))
		return e;
	return take_end(body);
}

enum nj_err
decode_connect(struct slice body, struct connect *out)
{
	struct connect c = { 0 };
	uint8_t asked = 0;
	enum nj_err e = take_version(&body, &c, &asked);

	if (e == NJ_UNSUPPORTED) {
		struct connect as5 = { .version = MQTT5 };

		out->version = (enum mqtt_ver)asked;
		out->like5 = asked >= MQTT5 && !take_rest(body, &as5);
	}
	if (e)
		return e;
	out->version = c.version; /* for a refusal in the client's own */
	if ((e = take_rest(body, &c)))
		return e;
	*out = c;
	return NJ_OK;
}

enum nj_err
decode_connack(struct slice body, enum mqtt_ver v, struct connack *out)
{
	struct connack c = { 0 };
	uint8_t flags = 0;
	enum nj_err e;

	if ((e = take_u8(&body, &flags)) || (e = take_u8(&body, &c.code)) ||
	    (e = take_props_of(&body, v, IN_CONNACK, &c.props)) ||
	    (e = take_end(body)))
		return e;
	if (v == MQTT31)
		flags = 0; /* reserved, and of any value */
	if (flags & ~1)
		return NJ_MALFORMED; /* [MQTT-3.2.2-1] */
	c.session_present = flags & 1;
	if (!code_ok(MQTT_CONNACK, v, c.code) ||
	    (c.session_present && c.code != 0)) /* [MQTT-3.2.2-6] */
		return NJ_PROTOCOL;
	*out = c;
	return NJ_OK;
}

enum nj_err
decode_publish(
    uint8_t flags, struct slice body, enum mqtt_ver v, struct publish *out)
{
	uint8_t qos = (flags >> 1) & 0x03;
	bool dup = flags & 0x08, plain;
	struct slice topic;
	uint16_t id = 0;
	enum nj_err e;

	if (qos > 2 || (dup && qos == 0))
		return NJ_MALFORMED;	   /* [MQTT-3.3.1-4], [-2] */
	if ((e = take_bin(&body, &topic))) /* [MQTT-3.3.2-1] */
		return e;
	plain = topic_is_plain(topic);
	if (!plain && !utf8_ok(topic)) /* [MQTT-1.5.4-1] */
		return NJ_MALFORMED;
	if ((qos > 0 && (e = take_id(&body, &id))) ||
	    (e = take_props_of(&body, v, IN_PUBLISH, &out->props)))
		return e;
	/* 3.3.2.1: only an alias may stand for the name [MQTT-4.7.3-1]. */
	if (topic.n == 0 && !props_has(&out->props, PROP_TOPIC_ALIAS))
		return NJ_PROTOCOL;
	out->dup = dup;
	out->qos = qos;
	out->retain = flags & 0x01;
	out->plain = plain;
	out->id = id;
	out->topic = topic;
	out->payload = body;
	return NJ_OK;
}

/* PUBACK, PUBREC, PUBREL and PUBCOMP have the packet type's own number as
 * their enum props_in. */
enum nj_err
decode_ack(
    enum mqtt_type type, struct slice body, enum mqtt_ver v, struct ack *out)
{
	uint16_t id = 0;
	uint8_t code = 0;
	enum nj_err e = take_id(&body, &id);

	if (e)
		return e;
	/* 3.4.2.1: code and properties may be left out from the end. */
	no_props(&out->props);
	if (v == MQTT5 && body.n > 0) {
		if ((e = take_u8(&body, &code)))
			return e;
		if (!code_ok(type, v, code))
			return NJ_PROTOCOL;
		if (body.n > 0 &&
		    (e = take_props(&body, (enum props_in)type, &out->props)))
			return e;
	}
	if ((e = take_end(body)))
		return e;
	out->id = id;
	out->code = code;
	return NJ_OK;
}

size_t
take_puback_row(struct slice *in, uint16_t *ids, size_t max)
{
	size_t n = 0;

	while (n < max && in->n >= PUBACK_SHORT &&
	    in->p[0] == MQTT_PUBACK << 4 && in->p[1] == PUBACK_SHORT - 2) {
		uint16_t id = (uint16_t)(in->p[2] << 8 | in->p[3]);

		if (id == 0) /* [MQTT-2.2.1-3] */
			break;
		ids[n++] = id;
		in->p += PUBACK_SHORT;
		in->n -= PUBACK_SHORT;
	}
	return n;
}

static enum nj_err
take_options(struct slice *s, enum mqtt_ver v, struct subscription *sub)
{
	uint8_t o = 0;
	enum nj_err e = take_u8(s, &o);

	if (e)
		return e;
	if (v != MQTT5) {
		/* [3.1.1: MQTT-3.8.3-4] */
		sub->qos = o;
		return o > 2 ? NJ_MALFORMED : NJ_OK;
	}
	if (o & SO_RESERVED)
		return NJ_MALFORMED; /* [MQTT-3.8.3-5] */
	sub->qos = o & SO_QOS;
	sub->no_local = o & SO_NO_LOCAL;
	sub->retain_as_published = o & SO_RETAIN_AS_PUBLISHED;
	sub->retain_handling =
	    (o & SO_RETAIN_HANDLING) >> SO_RETAIN_HANDLING_SHIFT;
	if (sub->qos > 2 || sub->retain_handling > 2)
		return NJ_PROTOCOL; /* 3.8.3.1 */
	return NJ_OK;
}

static enum nj_err
take_subscription(struct slice *s, enum mqtt_ver v, struct subscription *out)
{
	struct subscription sub = { 0 };
	enum nj_err e;

	if ((e = take_str(s, &sub.filter)) || /* [MQTT-3.8.3-1] */
	    (e = take_options(s, v, &sub)))
		return e;
	if (sub.no_local && slice_has_prefix(sub.filter, LIT("$share/")))
		return NJ_PROTOCOL; /* [MQTT-3.8.3-4] */
	*out = sub;
	return NJ_OK;
}

/*
 * Below 5.0 a filter that is none is a protocol violation, for which there is
 * no code: the connection ends [3.1.1: MQTT-4.7.1-2], [3.1.1: MQTT-4.8.0-1].
 * In 5.0 each filter has a code of its own.
 */
static enum nj_err
check_filter(struct slice filter, enum mqtt_ver v)
{
	struct slice group, inner;
	enum nj_err e;

	if (v == MQTT5)
		return NJ_OK;
	e = topic_share(filter, &group, &inner);
	if (e == NJ_NOTFOUND)
		return topic_filter_ok(filter) ? NJ_OK : NJ_PROTOCOL;
	return e ? NJ_PROTOCOL : NJ_OK;
}

enum nj_err
decode_subscribe(struct slice body, enum mqtt_ver v, struct subscribe *out)
{
	struct subscribe s = { 0 };
	struct slice list;
	enum nj_err e;

	if ((e = take_id(&body, &s.id)) ||
	    (e = take_props_of(&body, v, IN_SUBSCRIBE, &s.props)))
		return e;
	if (body.n == 0)
		return NJ_PROTOCOL; /* [MQTT-3.8.3-2], [-3] */
	for (list = body; list.n > 0;) {
		struct subscription sub;

		if ((e = take_subscription(&list, v, &sub)) ||
		    (e = check_filter(sub.filter, v)))
			return e;
	}
	s.list = body;
	*out = s;
	return NJ_OK;
}

enum nj_err
decode_unsubscribe(struct slice body, enum mqtt_ver v, struct subscribe *out)
{
	struct subscribe s = { 0 };
	struct slice list;
	enum nj_err e;

	if ((e = take_id(&body, &s.id)) ||
	    (e = take_props_of(&body, v, IN_UNSUBSCRIBE, &s.props)))
		return e;
	if (body.n == 0)
		return NJ_PROTOCOL; /* [MQTT-3.10.3-2] */
	for (list = body; list.n > 0;) {
		struct slice filter;

		if ((e = take_str(&list, &filter)) || /* [MQTT-3.10.3-1] */
		    (e = check_filter(filter, v)))
			return e;
	}
	s.list = body;
	*out = s;
	return NJ_OK;
}

bool
next_subscription(struct slice *list, enum mqtt_ver v, struct subscription *out)
{
	return list->n > 0 && take_subscription(list, v, out) == NJ_OK;
}

bool
next_unsubscription(struct slice *list, struct slice *filter)
{
	return list->n > 0 && take_bin(list, filter) == NJ_OK;
}

/* SUBACK and UNSUBACK, but for the latter below 5.0. */
static enum nj_err
decode_codes(
    enum mqtt_type type, struct slice body, enum mqtt_ver v, struct suback *out)
{
	struct suback s = { 0 };
	enum nj_err e;

	if ((e = take_id(&body, &s.id)) ||
	    (e = take_props_of(&body, v, (enum props_in)type, &s.props)))
		return e;
	/* One for each filter, of which there was at least one. */
	if (body.n == 0 || !codes_ok(type, v, body))
		return NJ_PROTOCOL; /* [MQTT-3.9.3-1], [MQTT-3.11.3-1] */
	s.codes = body;
	*out = s;
	return NJ_OK;
}

enum nj_err
decode_suback(struct slice body, enum mqtt_ver v, struct suback *out)
{
	return decode_codes(MQTT_SUBACK, body, v, out);
}

enum nj_err
decode_unsuback(struct slice body, enum mqtt_ver v, struct suback *out)
{
	struct suback s = { 0 };
	enum nj_err e;

	if (v == MQTT5)
		return decode_codes(MQTT_UNSUBACK, body, v, out);
	if ((e = take_id(&body, &s.id)) || (e = take_end(body)))
		return e;
	*out = s;
	return NJ_OK;
}

enum nj_err
decode_disconnect(struct slice body, enum mqtt_ver v, struct disconnect *out)
{
	struct disconnect d = { 0 };
	enum nj_err e;

	/* 3.14.2.1, 3.14.2.2.1: both may be left out from the end. */
	if (v == MQTT5 && body.n > 0) {
		if ((e = take_u8(&body, &d.code)))
			return e;
		if (!code_ok(MQTT_DISCONNECT, v, d.code))
			return NJ_PROTOCOL;
		if (body.n > 0 &&
		    (e = take_props(&body, IN_DISCONNECT, &d.props)))
			return e;
	}
	if ((e = take_end(body)))
		return e;
	*out = d;
	return NJ_OK;
}

enum nj_err
decode_auth(struct slice body, struct disconnect *out)
{
	struct disconnect d = { 0 };
	enum nj_err e;

	/* 3.15.2.1: both may be left out, but only together. */
	if (body.n > 0) {
		if ((e = take_u8(&body, &d.code)) ||
		    (e = take_props(&body, IN_AUTH, &d.props)) ||
		    (e = take_end(body)))
			return e;
		if (!code_ok(MQTT_AUTH, MQTT5, d.code) ||
		    !props_has(&d.props, PROP_AUTH_METHOD))
			return NJ_PROTOCOL; /* 3.15.2.2.2 */
	}
	*out = d;
	return NJ_OK;
}

enum nj_err
decode_empty(struct slice body)
{
	return take_end(body);
}
