/* SPDX-License-Identifier: Apache-2.0
 * expect - what a client must have received.
 */
#include <stdlib.h>
#include <string.h>

#include "script.h"
#include "wire/decode.h"
#include "wire/encode.h"

static const char *const names[16] = { "-", "CONNECT", "CONNACK", "PUBLISH",
	"PUBACK", "PUBREC", "PUBREL", "PUBCOMP", "SUBSCRIBE", "SUBACK",
	"UNSUBSCRIBE", "UNSUBACK", "PINGREQ", "PINGRESP", "DISCONNECT",
	"AUTH" };

static struct slice
reason(const struct disconnect *d)
{
	return props_has(&d->props, PROP_REASON_STRING) ? d->props.reason_string
							: SLICE_NONE;
}

bool
take_or_fail(struct script *s, struct peer *p, unsigned type, struct frame *out)
{
	struct frame f;
	struct disconnect d;

	if (peer_take(p, type, out))
		return true;
	if (!peer_take(p, 0, &f))
		return script_fail(s, "%s got no %s%s", p->name, names[type],
		    p->eof ? "; the broker has closed" : "");
	if (f.type == MQTT_DISCONNECT &&
	    decode_disconnect(f.body, MQTT5, &d) == NJ_OK)
		return script_fail(s,
		    "%s got no %s but DISCONNECT 0x%02x: %.*s", p->name,
		    names[type], d.code, (int)reason(&d).n,
		    (const char *)reason(&d).p);
	return script_fail(
	    s, "%s got no %s but %s", p->name, names[type], names[f.type]);
}

/* The next packet, which must be of that type. */
static bool
next_is(struct script *s, struct peer *p, unsigned type, struct frame *out)
{
	if (!peer_take(p, 0, out))
		return take_or_fail(s, p, type, out);
	if (out->type == type)
		return true;
	return script_fail(
	    s, "%s got %s, not %s", p->name, names[out->type], names[type]);
}

bool
expect_closed(struct script *s, struct peer *p)
{
	struct frame f;

	if (peer_take(p, 0, &f))
		return script_fail(
		    s, "%s got %s before the end", p->name, names[f.type]);
	if (!p->eof)
		return script_fail(s, "%s is still connected", p->name);
	peer_close(p);
	script_settle(s);
	return true;
}

bool
expect_disconnect(struct script *s, struct peer *p, long code)
{
	struct disconnect d;
	struct frame f;
	enum nj_err e;

	if (!next_is(s, p, MQTT_DISCONNECT, &f))
		return false;
	if ((e = decode_disconnect(f.body, p->version, &d)))
		return script_fail(s, "DISCONNECT: %s", nj_strerror(e));
	if (d.code != code)
		return script_fail(s, "DISCONNECT 0x%02x: %.*s", d.code,
		    (int)reason(&d).n, (const char *)reason(&d).p);
	return expect_closed(s, p);
}

bool
auth_is(struct script *s, const struct props *p, struct words *w)
{
	const char *method = words_opt(w, "method"),
		   *data = words_opt(w, "data");
	bool has_m = props_has(p, PROP_AUTH_METHOD);
	bool has_d = props_has(p, PROP_AUTH_DATA);

	if (has_m != (method != NULL) ||
	    (method && !slice_is(p->auth_method, method)))
		return script_fail(s, "method is '%.*s'",
		    has_m ? (int)p->auth_method.n : 0,
		    has_m ? (const char *)p->auth_method.p : "");
	if (has_d != (data != NULL) || (data && !slice_is(p->auth_data, data)))
		return script_fail(s, "data is '%.*s'",
		    has_d ? (int)p->auth_data.n : 0,
		    has_d ? (const char *)p->auth_data.p : "");
	return true;
}

static bool
expect_auth(struct script *s, struct peer *p)
{
	struct disconnect d;
	struct frame f;
	long code;
	enum nj_err e;

	if (!words_next_num(&s->said, &code))
		return script_fail(s, "expect auth CODE");
	if (!next_is(s, p, MQTT_AUTH, &f))
		return false;
	if ((e = decode_auth(f.body, &d)))
		return script_fail(s, "AUTH: %s", nj_strerror(e));
	if (d.code != code)
		return script_fail(s, "AUTH 0x%02x", d.code);
	return auth_is(s, &d.props, &s->said);
}

/* PUBLISH. */

static bool
number_is(struct script *s, const char *what, long is, long want)
{
	return is == want ||
	    script_fail(s, "%s is %ld, not %ld", what, is, want);
}

static bool
text_is(struct script *s, const char *what, struct slice is, const char *want)
{
	if (!want)
		want = "";
	return slice_is(is, want) ||
	    script_fail(s, "%s is '%.*s', not '%s'", what, (int)is.n,
		(const char *)is.p, want);
}

static int
by_value(const void *a, const void *b)
{
	const long *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

/* "5,7": these subscription identifiers, in any order. */
static bool
ids_are(struct script *s, const struct publish *m)
{
	const char *want = words_opt(&s->said, "ids");
	struct slice at = m->props.seen ? m->props.raw : SLICE_NONE;
	long is[64], should[64];
	size_t n = 0, k = 0;
	uint32_t id;

	while (n < 64 && props_next_id(&at, &id) == NJ_OK)
		is[n++] = id;
	for (; want && *want && k < 64; want += *want == ',') {
		char *end;

		should[k++] = strtol(want, &end, 10);
		want = end;
	}
	qsort(is, n, sizeof *is, by_value);
	qsort(should, k, sizeof *should, by_value);
	if (n != k || (n && memcmp(is, should, n * sizeof *is) != 0))
		return script_fail(
		    s, "%zu identifiers (first %ld)", n, n ? is[0] : 0);
	return true;
}

/* The topic an alias stands for; "" when it was never set. */
static bool
resolve(struct script *s, struct peer *p, struct publish *m)
{
	uint16_t alias;

	if (!props_has(&m->props, PROP_TOPIC_ALIAS))
		return true;
	alias = m->props.topic_alias;
	if (alias == 0 || alias > PEER_ALIASES)
		return script_fail(s, "topic alias %u", alias);
	if (m->topic.n == 0)
		m->topic = slice_str(p->alias[alias]);
	else
		snprintf(p->alias[alias], sizeof p->alias[0], "%.*s",
		    (int)m->topic.n, (const char *)m->topic.p);
	return true;
}

static bool
send_ack(struct script *s, struct peer *p, enum mqtt_type type, uint16_t id)
{
	struct ack a = { .id = id };
	struct buf b = { 0 };
	bool ok = encode_ack(&b, type, p->version, &a) == NJ_OK &&
	    peer_send(p, &s->world, buf_slice(&b));

	buf_fini(&b);
	if (!ok)
		return script_fail(s, "cannot acknowledge");
	script_settle(s);
	return true;
}

/* Says that the message was taken, as its QoS asks. */
static bool
acknowledge(struct script *s, struct peer *p, uint8_t qos, uint16_t id)
{
	struct frame f;

	if (qos == 0)
		return true;
	if (qos == 1)
		return send_ack(s, p, MQTT_PUBACK, id);
	return send_ack(s, p, MQTT_PUBREC, id) &&
	    take_or_fail(s, p, MQTT_PUBREL, &f) &&
	    send_ack(s, p, MQTT_PUBCOMP, id);
}

static bool
id_is(struct script *s, const struct publish *m)
{
	const char *id = words_opt(&s->said, "id");
	const char *as = words_opt(&s->said, "as");
	uint16_t want;

	if (id &&
	    (!script_id(s, id, &want) ||
		!number_is(s, "packet identifier", m->id, want)))
		return false;
	return !as || script_name_id(s, as, m->id);
}

static bool
user_is(struct script *s, const struct publish *m)
{
	const char *want = words_opt(&s->said, "user");
	struct slice at = m->props.seen ? m->props.raw : SLICE_NONE;
	struct slice name, value;
	char text[128] = "";

	if (props_next_user(&at, &name, &value) == NJ_OK)
		snprintf(text, sizeof text, "%.*s:%.*s", (int)name.n,
		    (const char *)name.p, (int)value.n, (const char *)value.p);
	return text_is(s, "user property", slice_str(text), want);
}

static struct slice
text_of(const struct props *p, enum mqtt_prop id, struct slice field)
{
	return props_has(p, id) ? field : SLICE_NONE;
}

/* All that is not named must be absent or 0. */
static bool
props_are(struct script *s, const struct publish *m)
{
	struct words *w = &s->said;
	const struct props *p = &m->props;

	return number_is(s, "expiry",
		   props_has(p, PROP_MESSAGE_EXPIRY) ? (long)p->message_expiry
						     : -1,
		   words_num(w, "expiry", -1)) &&
	    number_is(s, "format",
		props_has(p, PROP_PAYLOAD_FORMAT) ? p->payload_format : -1,
		words_num(w, "format", -1)) &&
	    text_is(s, "content type",
		text_of(p, PROP_CONTENT_TYPE, p->content_type),
		words_opt(w, "type")) &&
	    text_is(s, "response topic",
		text_of(p, PROP_RESPONSE_TOPIC, p->response_topic),
		words_opt(w, "response")) &&
	    user_is(s, m) && ids_are(s, m);
}

/* alias=N, "aliased" for any, "bare" where the topic is left out; "anyhow"
 * when none of it matters. */
static bool
alias_is(struct script *s, const struct publish *m, bool bare)
{
	struct words *w = &s->said;
	long is =
	    props_has(&m->props, PROP_TOPIC_ALIAS) ? m->props.topic_alias : 0;
	long want = words_num(w, "alias", 0);

	if (words_flag(w, "anyhow"))
		return true;
	if (words_flag(w, "aliased") && is)
		want = is;
	return number_is(s, "alias", is, want) &&
	    number_is(s, "topic left out", bare, words_flag(w, "bare"));
}

static bool
take_publish(struct script *s, struct peer *p, struct publish *m)
{
	struct frame f;
	enum nj_err e;

	if (!next_is(s, p, MQTT_PUBLISH, &f))
		return false;
	if ((e = decode_publish(f.flags, f.body, p->version, m)))
		return script_fail(s, "PUBLISH: %s", nj_strerror(e));
	return true;
}

static bool
expect_publish(struct script *s, struct peer *p)
{
	struct words *w = &s->said;
	struct publish m;
	const char *topic;
	long size;
	bool bare;

	if (!take_publish(s, p, &m))
		return false;
	bare = m.topic.n == 0;
	if (!resolve(s, p, &m) ||
	    !number_is(s, "QoS", m.qos, words_num(w, "qos", 0)) ||
	    !number_is(s, "retain", m.retain, words_flag(w, "retain")) ||
	    !number_is(s, "dup", m.dup, words_flag(w, "dup")) ||
	    !alias_is(s, &m, bare) || !id_is(s, &m) || !props_are(s, &m))
		return false;
	size = words_num(w, "size", -1);
	if (size >= 0 && !number_is(s, "size", (long)m.payload.n, size))
		return false;
	bare = words_flag(w, "noack");
	topic = words_next(w);
	if (!text_is(s, "topic", m.topic, topic) ||
	    (size < 0 && !text_is(s, "payload", m.payload, words_next(w))))
		return false;
	return bare || acknowledge(s, p, m.qos, m.id);
}

/* burst N TOPIC [from=]: the messages of a burst, in order, all of them. */
static bool
expect_burst(struct script *s, struct peer *p)
{
	long n, from = words_num(&s->said, "from", 0);
	long qos = words_num(&s->said, "qos", 0);
	bool dup = words_flag(&s->said, "dup");
	bool noack = words_flag(&s->said, "noack");
	const char *topic;
	struct publish m;
	char text[24];

	if (!words_next_num(&s->said, &n) || !(topic = words_next(&s->said)))
		return script_fail(s, "burst N TOPIC");
	for (long i = from; i < from + n; i++) {
		snprintf(text, sizeof text, "%ld", i);
		if (!take_publish(s, p, &m) || !resolve(s, p, &m) ||
		    !text_is(s, "topic", m.topic, topic) ||
		    !number_is(s, "QoS", m.qos, qos) ||
		    !number_is(s, "dup", m.dup, dup))
			return false;
		while (m.payload.n && m.payload.p[m.payload.n - 1] == ' ')
			m.payload.n--;
		if (!text_is(s, "payload", m.payload, text) ||
		    (!noack && !acknowledge(s, p, m.qos, m.id)))
			return false;
	}
	return true;
}

/* some TOPIC min= [max=]: how many messages of a topic wait, whichever. */
static bool
expect_some(struct script *s, struct peer *p)
{
	long min = words_num(&s->said, "min", 1);
	long max = words_num(&s->said, "max", 1000000), n = 0;
	const char *topic = words_next(&s->said);
	struct publish m;
	struct frame f;

	while (peer_take(p, MQTT_PUBLISH, &f)) {
		if (decode_publish(f.flags, f.body, p->version, &m) ||
		    !resolve(s, p, &m) || !text_is(s, "topic", m.topic, topic))
			return script_fail(s, "a PUBLISH that is wrong");
		n++;
	}
	if (n < min || n > max)
		return script_fail(s, "%ld messages", n);
	return true;
}

static bool
expect_ack(struct script *s, struct peer *p, unsigned type)
{
	const char *as = words_opt(&s->said, "as");
	long code = words_num(&s->said, "code", 0);
	const char *id = words_next(&s->said);
	uint16_t want;
	struct frame f;
	struct ack a;

	if (!next_is(s, p, type, &f))
		return false;
	if (decode_ack((enum mqtt_type)type, f.body, p->version, &a))
		return script_fail(s, "a broken %s", names[type]);
	if (id &&
	    (!script_id(s, id, &want) ||
		!number_is(s, "packet identifier", a.id, want)))
		return false;
	return number_is(s, "code", a.code, code) &&
	    (!as || script_name_id(s, as, a.id));
}

static bool
expect_nothing(struct script *s, struct peer *p)
{
	struct frame f;
	struct publish m = { 0 };

	script_settle(s);
	if (!peer_take(p, 0, &f))
		return p->fd < 0 || !p->eof ||
		    script_fail(s, "%s was closed", p->name);
	if (f.type == MQTT_PUBLISH &&
	    decode_publish(f.flags, f.body, p->version, &m) == NJ_OK)
		return script_fail(s, "%s got '%.*s' of %.*s", p->name,
		    (int)m.payload.n, (const char *)m.payload.p, (int)m.topic.n,
		    (const char *)m.topic.p);
	return script_fail(s, "%s got %s", p->name, names[f.type]);
}

bool
step_expect(struct script *s, struct peer *p)
{
	const char *what = words_next(&s->said);
	long code;

	if (!what)
		return script_fail(s, "expect what?");
	if (p->fd < 0)
		return script_fail(s, "%s is not connected", p->name);
	script_settle(s);
	if (strcmp(what, "publish") == 0)
		return expect_publish(s, p);
	if (strcmp(what, "burst") == 0)
		return expect_burst(s, p);
	if (strcmp(what, "some") == 0)
		return expect_some(s, p);
	if (strcmp(what, "nothing") == 0)
		return expect_nothing(s, p);
	if (strcmp(what, "auth") == 0)
		return expect_auth(s, p);
	if (strcmp(what, "closed") == 0)
		return expect_closed(s, p);
	if (strcmp(what, "disconnect") == 0)
		return words_next_num(&s->said, &code) &&
		    expect_disconnect(s, p, code);
	for (unsigned type = MQTT_PUBACK; type <= MQTT_PUBCOMP; type++)
		if (strcasecmp(what, names[type]) == 0)
			return expect_ack(s, p, type);
	return script_fail(s, "cannot expect '%s'", what);
}
