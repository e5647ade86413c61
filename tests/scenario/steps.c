/* SPDX-License-Identifier: Apache-2.0
 * steps - what a client does.
 */
#include <stdlib.h>
#include <string.h>

#include "script.h"
#include "wire/decode.h"
#include "wire/encode.h"

static bool
send_buf(struct script *s, struct peer *p, struct buf *b, enum nj_err e)
{
	bool ok = false;

	if (e)
		(void)script_fail(s, "cannot be encoded: %s", nj_strerror(e));
	else if (p->fd < 0)
		(void)script_fail(s, "%s is not connected", p->name);
	else if (!(ok = peer_send(p, &s->world, buf_slice(b))))
		(void)script_fail(
		    s, "the broker reads nothing from %s", p->name);
	buf_fini(b);
	if (ok)
		script_settle(s);
	return ok;
}

/* Numbers among the properties: the word of each. */
struct number {
	const char *word;
	enum mqtt_prop id;
	size_t at;
	unsigned size;
};

#define NUM(word, id, field)                              \
	{                                                 \
		word, id, offsetof(struct props, field),  \
		    sizeof(((struct props *)NULL)->field) \
	}

static void
put_numbers(struct words *w, struct props *p, const struct number *v, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		long x = words_num(w, v[i].word, -1);
		uint8_t *at = (uint8_t *)p + v[i].at;

		if (x < 0)
			continue;
		p->seen |= PROP_BIT(v[i].id);
		if (v[i].size == 1)
			*at = (uint8_t)x;
		else if (v[i].size == 2)
			*(uint16_t *)(void *)at = (uint16_t)x;
		else
			*(uint32_t *)(void *)at = (uint32_t)x;
	}
}

/* CONNECT. */

static const struct number connect_numbers[] = {
	NUM("expiry", PROP_SESSION_EXPIRY, session_expiry),
	NUM("recvmax", PROP_RECEIVE_MAX, receive_max),
	NUM("maxpkt", PROP_MAX_PACKET_SIZE, max_packet_size),
	NUM("aliasmax", PROP_TOPIC_ALIAS_MAX, topic_alias_max),
	NUM("problem", PROP_REQUEST_PROBLEM, request_problem),
};

static const struct number will_numbers[] = {
	NUM("willdelay", PROP_WILL_DELAY, will_delay),
	NUM("willexpiry", PROP_MESSAGE_EXPIRY, message_expiry),
};

#define COUNT(v) (sizeof(v) / sizeof *(v))

static struct slice
text_opt(struct words *w, const char *name, bool *has)
{
	const char *v = words_opt(w, name);

	*has = v != NULL;
	return v ? slice_str(v) : SLICE_NONE;
}

static void
put_auth(struct words *w, struct props *p)
{
	bool has;

	p->auth_method = text_opt(w, "method", &has);
	p->seen |= has ? PROP_BIT(PROP_AUTH_METHOD) : 0;
	p->auth_data = text_opt(w, "data", &has);
	p->seen |= has ? PROP_BIT(PROP_AUTH_DATA) : 0;
}

static void
read_connect(struct words *w, const struct peer *p, struct connect *k)
{
	bool has;

	*k = (struct connect){ .version = MQTT5 };
	if (words_flag(w, "v4"))
		k->version = MQTT311;
	else if (words_flag(w, "v3"))
		k->version = MQTT31;
	else
		(void)words_flag(w, "v5");
	k->bridge = words_flag(w, "bridge");
	k->clean_start = words_num(w, "clean", 1) != 0;
	k->keep_alive = (uint16_t)words_num(w, "keepalive", 0);
	k->client_id = text_opt(w, "id", &has);
	if (!has)
		k->client_id = slice_str(p->name);
	k->username = text_opt(w, "user", &k->has_username);
	k->password = text_opt(w, "pass", &k->has_password);
	k->will.topic = text_opt(w, "will", &k->has_will);
	k->will.payload = text_opt(w, "willmsg", &has);
	k->will.qos = (uint8_t)words_num(w, "willqos", 0);
	k->will.retain = words_flag(w, "willretain");
	put_numbers(w, &k->props, connect_numbers, COUNT(connect_numbers));
	put_numbers(w, &k->will.props, will_numbers, COUNT(will_numbers));
	k->will.props.response_topic = text_opt(w, "willresponse", &has);
	k->will.props.seen |= has ? PROP_BIT(PROP_RESPONSE_TOPIC) : 0;
	put_auth(w, &k->props);
}

static const struct number connack_numbers[] = {
	NUM("keepalive", PROP_SERVER_KEEP_ALIVE, server_keep_alive),
	NUM("recvmax", PROP_RECEIVE_MAX, receive_max),
	NUM("maxqos", PROP_MAX_QOS, max_qos),
	NUM("retain", PROP_RETAIN_AVAILABLE, retain_available),
	NUM("maxpkt", PROP_MAX_PACKET_SIZE, max_packet_size),
	NUM("aliasmax", PROP_TOPIC_ALIAS_MAX, topic_alias_max),
	NUM("expiry", PROP_SESSION_EXPIRY, session_expiry),
};

/* -1: it is not there. */
static long
get_number(const struct props *p, const struct number *n)
{
	const uint8_t *at = (const uint8_t *)p + n->at;

	if (!props_has(p, n->id))
		return -1;
	return n->size == 1 ? *at
	    : n->size == 2  ? *(const uint16_t *)(const void *)at
			    : (long)*(const uint32_t *)(const void *)at;
}

static bool
check_connack(struct script *s, struct peer *p)
{
	struct words *w = &s->wanted;
	long code = words_num(w, "code", 0), present;
	struct connack a;
	struct frame f;
	enum nj_err e;

	if (!take_or_fail(s, p, MQTT_CONNACK, &f))
		return false;
	if ((e = decode_connack(f.body, p->version, &a)))
		return script_fail(s, "CONNACK: %s", nj_strerror(e));
	if (!props_has(&a.props, PROP_REASON_STRING))
		a.props.reason_string = SLICE_NONE;
	if (a.code != code)
		return script_fail(s, "CONNACK with 0x%02x, not 0x%02lx: %.*s",
		    a.code, (unsigned long)code, (int)a.props.reason_string.n,
		    (const char *)a.props.reason_string.p);
	if (code)
		return expect_closed(s, p);
	if (!auth_is(s, &a.props, w))
		return false;
	present = words_num(w, "present", 0);
	if (a.session_present != (present != 0))
		return script_fail(
		    s, "session present is %d", a.session_present);
	for (size_t i = 0; i < COUNT(connack_numbers); i++) {
		const struct number *n = &connack_numbers[i];
		const char *want = words_opt(w, n->word);

		if (want && get_number(&a.props, n) != strtol(want, NULL, 0))
			return script_fail(
			    s, "%s is %ld", n->word, get_number(&a.props, n));
	}
	if (words_flag(w, "assigned") !=
	    props_has(&a.props, PROP_ASSIGNED_CLIENT_ID))
		return script_fail(s, "an identifier was%s assigned",
		    props_has(&a.props, PROP_ASSIGNED_CLIENT_ID) ? "" : " not");
	return true;
}

bool
wants_nothing(struct script *s)
{
	return s->has_wanted && words_flag(&s->wanted, "nothing");
}

/* A TCP connection without a word yet. */
static bool
do_open(struct script *s, struct peer *p)
{
	peer_close(p);
	p->version = words_flag(&s->said, "v4") ? MQTT311 : MQTT5;
	p->fd = world_connect(&s->world, (int)words_num(&s->said, "sndbuf", 0));
	if (p->fd < 0)
		return script_fail(s, "no socket");
	script_settle(s);
	return true;
}

static bool
do_connect(struct script *s, struct peer *p)
{
	struct connect k;
	struct buf b = { 0 };
	enum nj_err e;

	read_connect(&s->said, p, &k);
	if (!words_flag(&s->said, "here") && !do_open(s, p))
		return false;
	p->version = k.version;
	e = encode_connect(&b, &k);
	if (!send_buf(s, p, &b, e))
		return false;
	if (wants_nothing(s))
		return true;
	if (words_flag(&s->wanted, "closed"))
		return expect_closed(s, p);
	return check_connack(s, p);
}

/* connack: what a connect that waited for nothing got after all. */
static bool
do_connack(struct script *s, struct peer *p)
{
	return check_connack(s, p);
}

/* AUTH. */

static bool
do_auth(struct script *s, struct peer *p)
{
	struct disconnect d = { .code = RC_CONTINUE_AUTH };
	struct buf b = { 0 };
	long code;
	enum nj_err e;

	if (words_next_num(&s->said, &code))
		d.code = (uint8_t)code;
	put_auth(&s->said, &d.props);
	e = encode_auth(&b, &d);
	return send_buf(s, p, &b, e);
}

/* SUBSCRIBE, UNSUBSCRIBE. */

static bool
check_codes(
    struct script *s, struct peer *p, unsigned type, size_t n, long otherwise)
{
	struct suback a;
	struct frame f;
	enum nj_err e;

	if (!take_or_fail(s, p, type, &f))
		return false;
	e = type == MQTT_SUBACK ? decode_suback(f.body, p->version, &a)
				: decode_unsuback(f.body, p->version, &a);
	if (e)
		return script_fail(s, "SUBACK: %s", nj_strerror(e));
	if (a.id != p->last_id)
		return script_fail(s, "answers packet %u", a.id);
	if (type == MQTT_UNSUBACK && p->version != MQTT5)
		return true;
	if (a.codes.n != n)
		return script_fail(
		    s, "%zu codes for %zu filters", a.codes.n, n);
	for (size_t i = 0; i < n; i++) {
		long want = otherwise;

		if (s->has_wanted && !words_next_num(&s->wanted, &want))
			return script_fail(s, "a code for every filter");
		if (a.codes.p[i] != want)
			return script_fail(s, "code %zu is 0x%02x, not 0x%02lx",
			    i + 1, a.codes.p[i], (unsigned long)want);
	}
	return true;
}

static bool
do_subscribe(struct script *s, struct peer *p)
{
	struct words *w = &s->said;
	struct subscription v[WORDS], one = { 0 };
	struct props props = { 0 };
	const char *filter;
	struct buf b = { 0 };
	size_t n = 0;
	enum nj_err e;

	one.qos = (uint8_t)words_num(w, "qos", 0);
	one.retain_handling = (uint8_t)words_num(w, "rh", 0);
	one.no_local = words_flag(w, "nolocal");
	one.retain_as_published = words_flag(w, "rap");
	props.subscription_id = (uint32_t)words_num(w, "id", 0);
	if (props.subscription_id)
		props.seen = PROP_BIT(PROP_SUBSCRIPTION_ID);
	while ((filter = words_next(w))) {
		v[n] = one;
		v[n++].filter = slice_str(filter);
	}
	e = encode_subscribe(&b, p->version, peer_next_id(p), &props, v, n);
	if (!send_buf(s, p, &b, e))
		return false;
	return wants_nothing(s) || check_codes(s, p, MQTT_SUBACK, n, one.qos);
}

static bool
do_unsubscribe(struct script *s, struct peer *p)
{
	struct slice v[WORDS];
	const char *filter;
	struct buf b = { 0 };
	size_t n = 0;
	enum nj_err e;

	while ((filter = words_next(&s->said)))
		v[n++] = slice_str(filter);
	e = encode_unsubscribe(&b, p->version, peer_next_id(p), NULL, v, n);
	if (!send_buf(s, p, &b, e))
		return false;
	return wants_nothing(s) || check_codes(s, p, MQTT_UNSUBACK, n, 0);
}

/* PUBLISH. */

static const struct number publish_numbers[] = {
	NUM("alias", PROP_TOPIC_ALIAS, topic_alias),
	NUM("expiry", PROP_MESSAGE_EXPIRY, message_expiry),
	NUM("format", PROP_PAYLOAD_FORMAT, payload_format),
};

/* The code of an acknowledgement; without one wanted, both that say it was
 * taken will do. */
static bool
check_ack(struct script *s, struct peer *p, unsigned type, uint16_t id)
{
	struct frame f;
	struct ack a;
	long want;
	enum nj_err e;

	if (!take_or_fail(s, p, type, &f))
		return false;
	if ((e = decode_ack((enum mqtt_type)type, f.body, p->version, &a)))
		return script_fail(s, "acknowledgement: %s", nj_strerror(e));
	if (a.id != id)
		return script_fail(
		    s, "acknowledges packet %u, not %u", a.id, id);
	if (words_next_num(&s->wanted, &want) ? a.code != want
					      : a.code >= RC_UNSPECIFIED)
		return script_fail(s, "acknowledged with 0x%02x", a.code);
	return true;
}

static bool
send_ack(struct script *s, struct peer *p, enum mqtt_type type, uint16_t id,
    uint8_t code)
{
	struct ack a = { .id = id, .code = code };
	struct buf b = { 0 };
	enum nj_err e = encode_ack(&b, type, p->version, &a);

	return send_buf(s, p, &b, e);
}

static bool
check_published(struct script *s, struct peer *p, const struct publish *m)
{
	if (m->qos == 0 || wants_nothing(s))
		return true;
	if (m->qos == 1)
		return check_ack(s, p, MQTT_PUBACK, m->id);
	if (words_flag(&s->wanted, "pubrec"))
		return check_ack(s, p, MQTT_PUBREC, m->id);
	if (!check_ack(s, p, MQTT_PUBREC, m->id))
		return false;
	if (s->has_wanted) /* one code: the exchange ended there, or not */
		for (unsigned i = 0; i < s->wanted.n; i++)
			if (strtol(s->wanted.v[i], NULL, 0) >= RC_UNSPECIFIED)
				return true;
	return send_ack(s, p, MQTT_PUBREL, m->id, 0) &&
	    check_ack(s, p, MQTT_PUBCOMP, m->id);
}

static bool
read_publish(struct script *s, struct peer *p, struct publish *m,
    struct buf *extra, struct buf *big)
{
	struct words *w = &s->said;
	const char *name = words_opt(w, "as"), *id = words_opt(w, "id");
	const char *topic, *text, *user = words_opt(w, "user");
	long size = words_num(w, "size", 0);
	bool has;

	m->qos = (uint8_t)words_num(w, "qos", 0);
	m->dup = words_flag(w, "dup");
	m->retain = words_flag(w, "retain");
	put_numbers(w, &m->props, publish_numbers, COUNT(publish_numbers));
	m->props.content_type = text_opt(w, "type", &has);
	m->props.seen |= has ? PROP_BIT(PROP_CONTENT_TYPE) : 0;
	m->props.response_topic = text_opt(w, "response", &has);
	m->props.seen |= has ? PROP_BIT(PROP_RESPONSE_TOPIC) : 0;
	if (user && strchr(user, ':') &&
	    props_put_user(extra,
		slice_of(user, (size_t)(strchr(user, ':') - user)),
		slice_str(strchr(user, ':') + 1)) == NJ_OK)
		m->props.extra = buf_slice(extra);
	topic = words_next(w);
	text = words_next(w);
	if (!topic)
		return script_fail(s, "publish TOPIC [PAYLOAD]");
	m->topic = slice_str(topic);
	m->payload = text ? slice_str(text) : SLICE_NONE;
	for (long i = 0; i < size; i++)
		if (buf_put_u8(big, 'x'))
			return script_fail(s, "no memory");
	if (size)
		m->payload = buf_slice(big);
	if (m->qos == 0)
		return true;
	if (id ? !script_id(s, id, &m->id) : !(m->id = peer_next_id(p)))
		return false;
	return !name || script_name_id(s, name, m->id);
}

static bool
do_publish(struct script *s, struct peer *p)
{
	struct publish m = { 0 };
	struct buf b = { 0 }, extra = { 0 }, big = { 0 };
	enum nj_err e;
	bool ok;

	if ((ok = read_publish(s, p, &m, &extra, &big))) {
		e = encode_publish(&b, p->version, &m);
		ok = send_buf(s, p, &b, e) && check_published(s, p, &m);
	}
	buf_fini(&extra);
	buf_fini(&big);
	return ok;
}

/* burst N TOPIC: N messages in one write, payloads "0" and up. */
static bool
do_burst(struct script *s, struct peer *p)
{
	uint8_t qos = (uint8_t)words_num(&s->said, "qos", 0);
	long size = words_num(&s->said, "size", 0), n;
	const char *topic;
	struct buf b = { 0 };
	enum nj_err e = NJ_OK;
	uint16_t first = (uint16_t)(p->last_id + 1);
	char text[8192];

	if (!words_next_num(&s->said, &n) || !(topic = words_next(&s->said)) ||
	    size >= (long)sizeof text)
		return script_fail(s, "burst N TOPIC");
	for (long i = 0; i < n && e == NJ_OK; i++) {
		struct publish m = {
			.topic = slice_str(topic),
			.qos = qos,
			.id = qos ? peer_next_id(p) : 0,
		};
		int k = snprintf(text, sizeof text, "%ld", i);

		while (k < size)
			text[k++] = ' ';
		m.payload = slice_of(text, (size_t)k);
		e = encode_publish(&b, p->version, &m);
	}
	if (!send_buf(s, p, &b, e))
		return false;
	for (long i = 0; qos == 1 && i < n && !s->has_wanted; i++)
		if (!check_ack(s, p, MQTT_PUBACK, (uint16_t)(first + i)))
			return false;
	(void)wants_nothing(s);
	return true;
}

/* The rest. */

static bool
do_ack(struct script *s, struct peer *p, enum mqtt_type type)
{
	uint8_t code = (uint8_t)words_num(&s->said, "code", 0);
	const char *id = words_next(&s->said);
	uint16_t n;

	return id && script_id(s, id, &n) && send_ack(s, p, type, n, code);
}

static bool
do_puback(struct script *s, struct peer *p)
{
	return do_ack(s, p, MQTT_PUBACK);
}

static bool
do_pubrec(struct script *s, struct peer *p)
{
	return do_ack(s, p, MQTT_PUBREC);
}

static bool
do_pubrel(struct script *s, struct peer *p)
{
	return do_ack(s, p, MQTT_PUBREL);
}

static bool
do_pubcomp(struct script *s, struct peer *p)
{
	return do_ack(s, p, MQTT_PUBCOMP);
}

static bool
do_ping(struct script *s, struct peer *p)
{
	struct buf b = { 0 };
	struct frame f;
	enum nj_err e = encode_ping(&b, MQTT_PINGREQ);

	if (!send_buf(s, p, &b, e))
		return false;
	return wants_nothing(s) || take_or_fail(s, p, MQTT_PINGRESP, &f);
}

/* Without -> the broker only closes; with it, it answers with that code. */
static bool
do_disconnect(struct script *s, struct peer *p)
{
	struct disconnect d = {
		.code = (uint8_t)words_num(&s->said, "code", 0),
	};
	long expiry = words_num(&s->said, "expiry", -1), want;
	struct buf b = { 0 };
	enum nj_err e;

	if (expiry >= 0) {
		d.props.seen = PROP_BIT(PROP_SESSION_EXPIRY);
		d.props.session_expiry = (uint32_t)expiry;
	}
	e = encode_disconnect(&b, p->version, &d);
	if (!send_buf(s, p, &b, e))
		return false;
	if (s->has_wanted && words_next_num(&s->wanted, &want))
		return expect_disconnect(s, p, want);
	return expect_closed(s, p);
}

static bool
do_drop(struct script *s, struct peer *p)
{
	peer_close(p);
	script_settle(s);
	return true;
}

static bool
do_send(struct script *s, struct peer *p)
{
	struct buf b = { 0 }, all = { 0 };
	const char *hex;
	enum nj_err e = NJ_OK;
	struct slice once;
	long times = words_num(&s->said, "times", 1);

	while ((hex = words_next(&s->said)))
		for (; hex[0] && hex[1] && e == NJ_OK; hex += 2) {
			char pair[3] = { hex[0], hex[1], '\0' };

			e = buf_put_u8(&b, (uint8_t)strtoul(pair, NULL, 16));
		}
	once = buf_slice(&b);
	for (; times > 1 && e == NJ_OK; times--)
		e = buf_put_slice(&all, once);
	if (e == NJ_OK)
		e = buf_put_slice(&b, buf_slice(&all));
	buf_fini(&all);
	return send_buf(s, p, &b, e);
}

static bool
do_stall(struct script *s, struct peer *p)
{
	p->stalled = true;
	return true;
}

static bool
do_go(struct script *s, struct peer *p)
{
	p->stalled = false;
	script_settle(s);
	return true;
}

bool
step_peer(struct script *s, struct peer *p, const char *verb)
{
	static const struct {
		const char *verb;
		bool (*fn)(struct script *s, struct peer *p);
	} steps[] = {
		{ "open", do_open },
		{ "connect", do_connect },
		{ "connack", do_connack },
		{ "subscribe", do_subscribe },
		{ "unsubscribe", do_unsubscribe },
		{ "publish", do_publish },
		{ "burst", do_burst },
		{ "puback", do_puback },
		{ "pubrec", do_pubrec },
		{ "pubrel", do_pubrel },
		{ "pubcomp", do_pubcomp },
		{ "ping", do_ping },
		{ "auth", do_auth },
		{ "disconnect", do_disconnect },
		{ "drop", do_drop },
		{ "send", do_send },
		{ "stall", do_stall },
		{ "go", do_go },
		{ "expect", step_expect },
	};

	for (size_t i = 0; i < COUNT(steps); i++)
		if (strcmp(verb, steps[i].verb) == 0)
			return steps[i].fn(s, p);
	return script_fail(s, "a client cannot '%s'", verb);
}
