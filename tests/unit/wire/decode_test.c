/* SPDX-License-Identifier: Apache-2.0 */
#include "rows.h"

#include "wire/codes.h"
#include "wire/decode.h"

static enum nj_err
decode_any(
    enum mqtt_type type, uint8_t flags, struct slice body, enum mqtt_ver v)
{
	union {
		struct connect connect;
		struct connack connack;
		struct publish publish;
		struct ack ack;
		struct subscribe subscribe;
		struct suback suback;
		struct disconnect disconnect;
	} u;

	switch (type) {
	case MQTT_CONNECT:
		return decode_connect(body, &u.connect);
	case MQTT_CONNACK:
		return decode_connack(body, v, &u.connack);
	case MQTT_PUBLISH:
		return decode_publish(flags, body, v, &u.publish);
	case MQTT_PUBACK:
	case MQTT_PUBREC:
	case MQTT_PUBREL:
	case MQTT_PUBCOMP:
		return decode_ack(type, body, v, &u.ack);
	case MQTT_SUBSCRIBE:
		return decode_subscribe(body, v, &u.subscribe);
	case MQTT_SUBACK:
		return decode_suback(body, v, &u.suback);
	case MQTT_UNSUBSCRIBE:
		return decode_unsubscribe(body, v, &u.subscribe);
	case MQTT_UNSUBACK:
		return decode_unsuback(body, v, &u.suback);
	case MQTT_DISCONNECT:
		return decode_disconnect(body, v, &u.disconnect);
	case MQTT_AUTH:
		return decode_auth(body, &u.disconnect);
	case MQTT_PINGREQ:
	case MQTT_PINGRESP:
		return decode_empty(body);
	}
	return NJ_UNSUPPORTED;
}

/* Whole packets.  whole: shorter lengths at which they are whole as well;
 * bare: lengths at which the list that must not be empty is.  tail: may go on
 * with one more byte. */
static const struct packet {
	const char *why;
	enum mqtt_type type;
	uint8_t flags;
	enum mqtt_ver v;
	struct slice body;
	bool tail;
	int whole[4], bare[1];
} packets[] = {
	{ "CONNECT 5", MQTT_CONNECT, 0, MQTT5,
	    B("\0\4MQTT\5\xf6\0\x3c\7\x27\0\0\1\0\x19\0\0\2id\0\0\1t\0\2pl"
	      "\0\1u\0\2pw"),
	    false, { 0 }, { 0 } },
	{ "CONNECT 5 will", MQTT_CONNECT, 0, MQTT5,
	    B("\0\4MQTT\5\xf6\0\x3c\0\0\2id\5\x18\0\0\0\1\0\1t\0\2pl\0\1u"
	      "\0\2pw"),
	    false, { 0 }, { 0 } },
	{ "CONNECT 3.1.1", MQTT_CONNECT, 0, MQTT311,
	    B("\0\4MQTT\4\xf6\0\x3c\0\2id\0\1t\0\2pl\0\1u\0\2pw"), false, { 0 },
	    { 0 } },
	/* 3.1: the end of the packet overrules the flags */
	{ "CONNECT 3.1", MQTT_CONNECT, 0, MQTT31,
	    B("\0\6MQIsdp\3\xf6\0\x3c\0\2id\0\1t\0\2pl\0\1u\0\2pw"), false,
	    { 23, 26 }, { 0 } },
	{ "CONNACK 5", MQTT_CONNACK, 0, MQTT5, B("\1\0\3\x21\0\1"), false,
	    { 0 }, { 0 } },
	{ "CONNACK 3.1.1", MQTT_CONNACK, 0, MQTT311, B("\1\0"), false, { 0 },
	    { 0 } },
	{ "PUBLISH 5", MQTT_PUBLISH, 0x0b, MQTT5, B("\0\1t\0\7\2\1\1"), true,
	    { 0 }, { 0 } },
	{ "PUBLISH 5 alias", MQTT_PUBLISH, 0, MQTT5, B("\0\0\3\x23\0\1"), true,
	    { 0 }, { 0 } },
	{ "PUBLISH 3.1.1", MQTT_PUBLISH, 0x04, MQTT311, B("\0\1t\0\7"), true,
	    { 0 }, { 0 } },
	{ "PUBACK 5", MQTT_PUBACK, 0, MQTT5, B("\0\7\x10\4\x1f\0\1r"), false,
	    { 2, 3 }, { 0 } },
	{ "PUBREC 5", MQTT_PUBREC, 0, MQTT5, B("\0\7\x80\4\x1f\0\1r"), false,
	    { 2, 3 }, { 0 } },
	{ "PUBREL 5", MQTT_PUBREL, 2, MQTT5, B("\0\7\x92\4\x1f\0\1r"), false,
	    { 2, 3 }, { 0 } },
	{ "PUBCOMP 5", MQTT_PUBCOMP, 0, MQTT5, B("\0\7\x92\4\x1f\0\1r"), false,
	    { 2, 3 }, { 0 } },
	{ "PUBACK 3.1.1", MQTT_PUBACK, 0, MQTT311, B("\0\7"), false, { 0 },
	    { 0 } },
	{ "PUBREL 3.1", MQTT_PUBREL, 2, MQTT31, B("\0\7"), false, { 0 },
	    { 0 } },
	{ "SUBSCRIBE 5", MQTT_SUBSCRIBE, 2, MQTT5,
	    B("\0\7\2\x0b\5\0\1a\x2e\0\3b/+\0"), false, { 9 }, { 5 } },
	{ "SUBSCRIBE 3.1.1", MQTT_SUBSCRIBE, 2, MQTT311,
	    B("\0\7\0\1a\2\0\1b\0"), false, { 6 }, { 2 } },
	{ "SUBACK 5", MQTT_SUBACK, 0, MQTT5, B("\0\7\0\2\x80"), false, { 4 },
	    { 3 } },
	{ "SUBACK 3.1.1", MQTT_SUBACK, 0, MQTT311, B("\0\7\2\x80"), false,
	    { 3 }, { 2 } },
	{ "UNSUBSCRIBE 5", MQTT_UNSUBSCRIBE, 2, MQTT5, B("\0\7\0\0\1a\0\3b/+"),
	    false, { 6 }, { 3 } },
	{ "UNSUBSCRIBE 3.1.1", MQTT_UNSUBSCRIBE, 2, MQTT311,
	    B("\0\7\0\1a\0\1b"), false, { 5 }, { 2 } },
	{ "UNSUBACK 5", MQTT_UNSUBACK, 0, MQTT5, B("\0\7\0\x11\x87"), false,
	    { 4 }, { 3 } },
	{ "UNSUBACK 3.1.1", MQTT_UNSUBACK, 0, MQTT311, B("\0\7"), false, { 0 },
	    { 0 } },
	{ "PINGREQ", MQTT_PINGREQ, 0, MQTT5, B(""), false, { 0 }, { 0 } },
	{ "PINGRESP", MQTT_PINGRESP, 0, MQTT311, B(""), false, { 0 }, { 0 } },
	{ "DISCONNECT 5", MQTT_DISCONNECT, 0, MQTT5, B("\x04\5\x11\0\0\0\1"),
	    false, { -1, 1 }, { 0 } },
	{ "DISCONNECT 3.1.1", MQTT_DISCONNECT, 0, MQTT311, B(""), false, { 0 },
	    { 0 } },
	{ "AUTH", MQTT_AUTH, 0, MQTT5, B("\x18\4\x15\0\1m"), false, { -1 },
	    { 0 } },
};

/* -1 stands for 0, which fills the arrays. */
static bool
listed(const int *list, size_t n, size_t len)
{
	for (size_t i = 0; i < n; i++)
		if (list[i] != 0 && (size_t)(list[i] < 0 ? 0 : list[i]) == len)
			return true;
	return false;
}

static void
every_truncation(void **state)
{
	(void)state;
	for (size_t i = 0; i < LEN(packets); i++) {
		const struct packet *p = &packets[i];

		for (size_t n = 0; n <= p->body.n; n++) {
			struct slice s = tight(slice_of(p->body.p, n));
			enum nj_err e = decode_any(p->type, p->flags, s, p->v);
			char why[64];

			(void)snprintf(
			    why, sizeof why, "%s, %zu bytes", p->why, n);
			if (n == p->body.n ||
			    listed(p->whole, LEN(p->whole), n))
				check_err(why, e, NJ_OK);
			else if (listed(p->bare, LEN(p->bare), n))
				check_err(why, e, NJ_PROTOCOL);
			else
				check_true(why,
				    e == NJ_TRUNCATED || e == NJ_MALFORMED);
			tight_free(s);
		}
	}
}

static void
one_byte_more(void **state)
{
	(void)state;
	for (size_t i = 0; i < LEN(packets); i++) {
		const struct packet *p = &packets[i];
		uint8_t b[128] = { 0 };
		struct slice s;
		enum nj_err e;

		memcpy(b, p->body.p, p->body.n);
		b[p->body.n] = 0x7f; /* no code, no length */
		s = tight(slice_of(b, p->body.n + 1));
		e = decode_any(p->type, p->flags, s, p->v);
		check_true(p->why,
		    p->tail ? e == NJ_OK
			    : e == NJ_MALFORMED || e == NJ_TRUNCATED ||
			    ((p->type == MQTT_SUBACK ||
				 p->type == MQTT_UNSUBACK) &&
				e != NJ_OK));
		tight_free(s);
	}
}

static void
connect_rejects(void **state)
{
	const struct {
		const char *why;
		struct slice in;
		enum nj_err want;
	} rows[] = {
		/* [MQTT-3.1.2-1], [MQTT-3.1.2-2] */
		{ "name mqtt", B("\0\4mqtt\5\2\0\0\0\0\0"), NJ_UNSUPPORTED },
		{ "name HTTP", B("\0\4HTTP\4\2\0\0\0\0"), NJ_UNSUPPORTED },
		{ "name empty", B("\0\0\5\2\0\0\0\0\0"), NJ_UNSUPPORTED },
		{ "MQIsdp 4", B("\0\6MQIsdp\4\2\0\0\0\0"), NJ_UNSUPPORTED },
		{ "MQTT 3", B("\0\4MQTT\3\2\0\0\0\0"), NJ_UNSUPPORTED },
		{ "version 6", B("\0\4MQTT\6\2\0\0\0\0\0"), NJ_UNSUPPORTED },
		{ "version 0", B("\0\4MQTT\0\2\0\0\0\0\0"), NJ_UNSUPPORTED },
		{ "bridge 5", B("\0\4MQTT\x85\2\0\0\0\0\0"), NJ_UNSUPPORTED },
		/* [MQTT-3.1.2-3] */
		{ "reserved flag", B("\0\4MQTT\5\3\0\0\0\0\0"), NJ_MALFORMED },
		{ "reserved flag 3.1.1", B("\0\4MQTT\4\3\0\0\0\0"),
		    NJ_MALFORMED },
		{ "reserved flag 3.1", B("\0\6MQIsdp\3\3\0\0\0\0"), NJ_OK },
		/* [MQTT-3.1.2-7], [MQTT-3.1.2-8], [MQTT-3.1.2-13] */
		{ "will qos, no will", B("\0\4MQTT\5\x0a\0\0\0\0\0"),
		    NJ_MALFORMED },
		{ "will retain, no will", B("\0\4MQTT\5\x22\0\0\0\0\0"),
		    NJ_MALFORMED },
		{ "will qos 3", B("\0\4MQTT\5\x1e\0\0\0\0\0\0\0\1t\0\0"),
		    NJ_MALFORMED },
		{ "will qos 2", B("\0\4MQTT\5\x16\0\0\0\0\0\0\0\1t\0\0"),
		    NJ_OK },
		/* [MQTT-3.1.2-6], [MQTT-3.1.2-9] */
		{ "will missing", B("\0\4MQTT\5\6\0\0\0\0\0"), NJ_TRUNCATED },
		/* [MQTT-3.1.2-17], [MQTT-3.1.2-19] */
		{ "user missing", B("\0\4MQTT\5\x82\0\0\0\0\0"), NJ_TRUNCATED },
		{ "password missing", B("\0\4MQTT\5\x42\0\0\0\0\0"),
		    NJ_TRUNCATED },
		/* [MQTT-3.1.2-16], [MQTT-3.1.2-18] */
		{ "user not announced", B("\0\4MQTT\5\2\0\0\0\0\0\0\1u"),
		    NJ_MALFORMED },
		{ "password alone 5", B("\0\4MQTT\5\x42\0\0\0\0\0\0\1p"),
		    NJ_OK },
		{ "password alone 3.1.1", B("\0\4MQTT\4\x42\0\0\0\0\0\1p"),
		    NJ_PROTOCOL },
		{ "password alone 3.1", B("\0\6MQIsdp\3\x42\0\0\0\0\0\1p"),
		    NJ_PROTOCOL },
		{ "user missing 3.1", B("\0\6MQIsdp\3\x82\0\0\0\0"), NJ_OK },
		{ "client id not UTF-8", B("\0\4MQTT\5\2\0\0\0\0\1\xff"),
		    NJ_MALFORMED },
		/* [MQTT-3.1.3-11], [MQTT-3.1.3-12] */
		{ "will topic NUL", B("\0\4MQTT\5\6\0\0\0\0\0\0\0\1\0\0\0"),
		    NJ_MALFORMED },
		{ "user not UTF-8", B("\0\4MQTT\5\x82\0\0\0\0\0\0\1\x80"),
		    NJ_MALFORMED },
		{ "password any bytes",
		    B("\0\4MQTT\5\xc2\0\0\0\0\0\0\1u"
		      "\0\2\0\xff"),
		    NJ_OK },
		{ "will property in CONNECT",
		    B("\0\4MQTT\5\2\0\0\5\x18\0\0\0\1\0\0"), NJ_MALFORMED },
		{ "CONNECT property in will",
		    B("\0\4MQTT\5\6\0\0\0\0\0\3\x21\0\1\0\1t\0\0"),
		    NJ_MALFORMED },
	};

	(void)state;
	for (size_t i = 0; i < LEN(rows); i++) {
		struct slice s = tight(rows[i].in);
		struct connect c = { 0 };

		check_err(rows[i].why, decode_connect(s, &c), rows[i].want);
		if (rows[i].want == NJ_UNSUPPORTED)
			assert_int_equal((uint8_t)c.version, s.p[2 + s.p[1]]);
		tight_free(s);
	}
}

static void
connect_fields(void **state)
{
	struct connect c;

	(void)state;
	check_err("5", decode_connect(packets[1].body, &c), NJ_OK);
	assert_int_equal(c.version, MQTT5);
	assert_true(c.clean_start && c.has_will && c.has_username &&
	    c.has_password && !c.bridge);
	assert_int_equal(c.keep_alive, 60);
	check_slice("id", c.client_id, LIT("id"));
	assert_int_equal(c.will.qos, 2);
	assert_true(c.will.retain);
	assert_int_equal(c.will.props.will_delay, 1);
	check_slice("topic", c.will.topic, LIT("t"));
	check_slice("payload", c.will.payload, LIT("pl"));
	check_slice("user", c.username, LIT("u"));
	check_slice("password", c.password, LIT("pw"));
	check_err("bridge",
	    decode_connect(slice_of("\0\4MQTT\x84\2\0\0\0\0", 12), &c), NJ_OK);
	assert_true(c.bridge && c.version == MQTT311 && !c.has_will);
	check_err("bridge 3.1",
	    decode_connect(slice_of("\0\6MQIsdp\x83\2\0\0\0\0", 14), &c),
	    NJ_OK);
	assert_true(c.bridge && c.version == MQTT31);
	check_err("3.1, flag without name",
	    decode_connect(slice_of("\0\6MQIsdp\3\xc2\0\0\0\0", 14), &c),
	    NJ_OK);
	assert_false(c.has_username || c.has_password);
}

static void
rejects(void **state)
{
	const struct {
		const char *why;
		enum mqtt_type type;
		uint8_t flags;
		enum mqtt_ver v;
		struct slice in;
		enum nj_err want;
	} rows[] = {
		/* [MQTT-3.2.2-1], [-6], [-8] */
		{ "connack flags", MQTT_CONNACK, 0, MQTT5, B("\2\0\0"),
		    NJ_MALFORMED },
		{ "connack flags 3.1.1", MQTT_CONNACK, 0, MQTT311, B("\x80\0"),
		    NJ_MALFORMED },
		{ "connack flags 3.1", MQTT_CONNACK, 0, MQTT31, B("\x80\0"),
		    NJ_OK },
		{ "connack refused with session", MQTT_CONNACK, 0, MQTT5,
		    B("\1\x87\0"), NJ_PROTOCOL },
		{ "connack code 1", MQTT_CONNACK, 0, MQTT5, B("\0\1\0"),
		    NJ_PROTOCOL },
		{ "connack 3 code 5", MQTT_CONNACK, 0, MQTT311, B("\0\5"),
		    NJ_OK },
		{ "connack 3 code 6", MQTT_CONNACK, 0, MQTT311, B("\0\6"),
		    NJ_PROTOCOL },
		/* [MQTT-3.3.1-2], [MQTT-3.3.1-4] */
		{ "qos 3", MQTT_PUBLISH, 0x06, MQTT311, B("\0\1a\0\1"),
		    NJ_MALFORMED },
		{ "dup at qos 0", MQTT_PUBLISH, 0x08, MQTT311, B("\0\1a"),
		    NJ_MALFORMED },
		/* [MQTT-2.2.1-3], [MQTT-2.2.1-4] */
		{ "publish id 0", MQTT_PUBLISH, 0x02, MQTT311, B("\0\1a\0\0"),
		    NJ_PROTOCOL },
		/* [MQTT-3.3.2-1], [MQTT-4.7.3-1] */
		{ "topic not UTF-8", MQTT_PUBLISH, 0, MQTT311, B("\0\1\xff"),
		    NJ_MALFORMED },
		{ "topic empty", MQTT_PUBLISH, 0, MQTT311, B("\0\0"),
		    NJ_PROTOCOL },
		{ "topic empty, no alias", MQTT_PUBLISH, 0, MQTT5, B("\0\0\0"),
		    NJ_PROTOCOL },
		{ "puback id 0", MQTT_PUBACK, 0, MQTT311, B("\0\0"),
		    NJ_PROTOCOL },
		{ "puback 3.1.1 with code", MQTT_PUBACK, 0, MQTT311,
		    B("\0\1\0"), NJ_MALFORMED },
		/* [MQTT-3.4.2-1], [MQTT-3.5.2-1], [MQTT-3.6.2-1],
		 * [MQTT-3.7.2-1] */
		{ "puback code 0x92", MQTT_PUBACK, 0, MQTT5, B("\0\1\x92"),
		    NJ_PROTOCOL },
		{ "pubrec code 1", MQTT_PUBREC, 0, MQTT5, B("\0\1\1"),
		    NJ_PROTOCOL },
		{ "pubrel code 0x10", MQTT_PUBREL, 2, MQTT5, B("\0\1\x10"),
		    NJ_PROTOCOL },
		{ "pubcomp code 0x80", MQTT_PUBCOMP, 0, MQTT5, B("\0\1\x80"),
		    NJ_PROTOCOL },
		{ "subscribe id 0", MQTT_SUBSCRIBE, 2, MQTT5,
		    B("\0\0\0\0\1a\0"), NJ_PROTOCOL },
		/* [MQTT-3.8.3-2], [MQTT-3.8.3-3] */
		{ "subscribe to nothing", MQTT_SUBSCRIBE, 2, MQTT5, B("\0\1\0"),
		    NJ_PROTOCOL },
		/* [MQTT-3.8.3-1] */
		{ "filter not UTF-8", MQTT_SUBSCRIBE, 2, MQTT5,
		    B("\0\1\0\0\1\xff\0"), NJ_MALFORMED },
		/* [MQTT-3.8.3-5] */
		{ "reserved option", MQTT_SUBSCRIBE, 2, MQTT5,
		    B("\0\1\0\0\1a\x40"), NJ_MALFORMED },
		{ "reserved option", MQTT_SUBSCRIBE, 2, MQTT5,
		    B("\0\1\0\0\1a\x80"), NJ_MALFORMED },
		{ "qos 3", MQTT_SUBSCRIBE, 2, MQTT5, B("\0\1\0\0\1a\3"),
		    NJ_PROTOCOL },
		{ "retain handling 3", MQTT_SUBSCRIBE, 2, MQTT5,
		    B("\0\1\0\0\1a\x30"), NJ_PROTOCOL },
		{ "options 3.1.1", MQTT_SUBSCRIBE, 2, MQTT311, B("\0\1\0\1a\4"),
		    NJ_MALFORMED },
		{ "qos 3 3.1.1", MQTT_SUBSCRIBE, 2, MQTT311, B("\0\1\0\1a\3"),
		    NJ_MALFORMED },
		{ "bad second entry", MQTT_SUBSCRIBE, 2, MQTT311,
		    B("\0\1\0\1a\0\0\1b\3"), NJ_MALFORMED },
		/* [3.1.1: MQTT-4.7.1-2], [3.1.1: MQTT-4.7.1-3] */
		{ "bad filter 3.1.1", MQTT_SUBSCRIBE, 2, MQTT311,
		    B("\0\1\0\1a\0\0\2a#\0"), NJ_PROTOCOL },
		{ "bad filter 3.1", MQTT_SUBSCRIBE, 2, MQTT31,
		    B("\0\1\0\2a+\0"), NJ_PROTOCOL },
		{ "bad inner filter 3.1.1", MQTT_SUBSCRIBE, 2, MQTT311,
		    B("\0\1\0\x0b$share/g/a#\0"), NJ_PROTOCOL },
		{ "bad filter 5.0", MQTT_SUBSCRIBE, 2, MQTT5,
		    B("\0\1\0\0\2a#\0"), NJ_OK },
		{ "unsubscribe bad filter 3.1.1", MQTT_UNSUBSCRIBE, 2, MQTT311,
		    B("\0\1\0\3#/a"), NJ_PROTOCOL },
		/* [MQTT-3.8.3-4] */
		{ "no local, shared", MQTT_SUBSCRIBE, 2, MQTT5,
		    B("\0\1\0\0\x0a$share/g/f\4"), NJ_PROTOCOL },
		{ "shared", MQTT_SUBSCRIBE, 2, MQTT5,
		    B("\0\1\0\0\x0a$share/g/f\x29"), NJ_OK },
		/* [MQTT-3.9.3-1], [MQTT-3.9.3-2] */
		{ "suback of nothing", MQTT_SUBACK, 0, MQTT5, B("\0\1\0"),
		    NJ_PROTOCOL },
		{ "suback of nothing 3.1.1", MQTT_SUBACK, 0, MQTT311, B("\0\1"),
		    NJ_PROTOCOL },
		{ "suback code 3", MQTT_SUBACK, 0, MQTT5, B("\0\1\0\3"),
		    NJ_PROTOCOL },
		{ "suback 3.1.1 code 0x87", MQTT_SUBACK, 0, MQTT311,
		    B("\0\1\x87"), NJ_PROTOCOL },
		/* [MQTT-3.10.3-1], [MQTT-3.10.3-2] */
		{ "unsubscribe nothing", MQTT_UNSUBSCRIBE, 2, MQTT5,
		    B("\0\1\0"), NJ_PROTOCOL },
		{ "unsubscribe not UTF-8", MQTT_UNSUBSCRIBE, 2, MQTT311,
		    B("\0\1\0\1\xc0"), NJ_MALFORMED },
		/* [MQTT-3.11.3-1], [MQTT-3.11.3-2] */
		{ "unsuback of nothing", MQTT_UNSUBACK, 0, MQTT5, B("\0\1\0"),
		    NJ_PROTOCOL },
		{ "unsuback code 1", MQTT_UNSUBACK, 0, MQTT5, B("\0\1\0\1"),
		    NJ_PROTOCOL },
		{ "unsuback 3.1.1 code", MQTT_UNSUBACK, 0, MQTT311, B("\0\1\0"),
		    NJ_MALFORMED },
		/* [MQTT-3.14.2-1] */
		{ "disconnect code 1", MQTT_DISCONNECT, 0, MQTT5, B("\1"),
		    NJ_PROTOCOL },
		{ "disconnect 3.1.1 code", MQTT_DISCONNECT, 0, MQTT311, B("\0"),
		    NJ_MALFORMED },
		/* [MQTT-3.15.2-1] */
		{ "auth code 1", MQTT_AUTH, 0, MQTT5, B("\1\4\x15\0\1m"),
		    NJ_PROTOCOL },
		{ "auth code alone", MQTT_AUTH, 0, MQTT5, B("\x18"),
		    NJ_TRUNCATED },
		{ "auth without method", MQTT_AUTH, 0, MQTT5, B("\x18\0"),
		    NJ_PROTOCOL },
		{ "ping with body", MQTT_PINGREQ, 0, MQTT5, B("\0"),
		    NJ_MALFORMED },
	};

	(void)state;
	for (size_t i = 0; i < LEN(rows); i++) {
		struct slice s = tight(rows[i].in);

		check_err(rows[i].why,
		    decode_any(rows[i].type, rows[i].flags, s, rows[i].v),
		    rows[i].want);
		tight_free(s);
	}
}

static void
lists(void **state)
{
	struct subscription sub;
	struct subscribe s;
	struct slice filter;

	(void)state;
	check_err("subscribe",
	    decode_subscribe(
		slice_of("\0\7\2\x0b\5\0\1a\x2e\0\3b/+\0", 15), MQTT5, &s),
	    NJ_OK);
	assert_int_equal(s.id, 7);
	assert_int_equal(s.props.subscription_id, 5);
	assert_true(next_subscription(&s.list, MQTT5, &sub));
	check_slice("first", sub.filter, LIT("a"));
	assert_int_equal(sub.qos, 2);
	assert_true(sub.no_local && sub.retain_as_published);
	assert_int_equal(sub.retain_handling, 2);
	assert_true(next_subscription(&s.list, MQTT5, &sub));
	check_slice("second", sub.filter, LIT("b/+"));
	assert_true(sub.qos == 0 && !sub.no_local);
	assert_false(next_subscription(&s.list, MQTT5, &sub));
	check_err("unsubscribe",
	    decode_unsubscribe(slice_of("\0\7\0\1a\0\1b", 8), MQTT311, &s),
	    NJ_OK);
	assert_true(next_unsubscription(&s.list, &filter));
	check_slice("first", filter, LIT("a"));
	assert_true(next_unsubscription(&s.list, &filter));
	check_slice("second", filter, LIT("b"));
	assert_false(next_unsubscription(&s.list, &filter));
}

/* Each code in each packet against the rows of table 2-6. */
static void
reason_codes(void **state)
{
	/* A connack, p puback/pubrec, r pubrel/pubcomp, s suback, u unsuback,
	 * d disconnect, h auth */
	static const char *const in[256] = {
		[0x00] = "Aprsudh",
		[0x01] = "s",
		[0x02] = "s",
		[0x04] = "d",
		[0x10] = "p",
		[0x11] = "u",
		[0x18] = "h",
		[0x19] = "h",
		[0x80] = "Apsud",
		[0x81] = "Ad",
		[0x82] = "Ad",
		[0x83] = "Apsud",
		[0x84] = "A",
		[0x85] = "A",
		[0x86] = "A",
		[0x87] = "Apsud",
		[0x88] = "A",
		[0x89] = "Ad",
		[0x8a] = "A",
		[0x8b] = "d",
		[0x8c] = "Ad",
		[0x8d] = "d",
		[0x8e] = "d",
		[0x8f] = "sud",
		[0x90] = "Apd",
		[0x91] = "psu",
		[0x92] = "r",
		[0x93] = "d",
		[0x94] = "d",
		[0x95] = "Ad",
		[0x96] = "d",
		[0x97] = "Apsd",
		[0x98] = "d",
		[0x99] = "Apd",
		[0x9a] = "Ad",
		[0x9b] = "Ad",
		[0x9c] = "Ad",
		[0x9d] = "Ad",
		[0x9e] = "sd",
		[0x9f] = "Ad",
		[0xa0] = "d",
		[0xa1] = "sd",
		[0xa2] = "sd",
	};
	static const char letter[16] = {
		[MQTT_CONNACK] = 'A',
		[MQTT_PUBACK] = 'p',
		[MQTT_PUBREC] = 'p',
		[MQTT_PUBREL] = 'r',
		[MQTT_PUBCOMP] = 'r',
		[MQTT_SUBACK] = 's',
		[MQTT_UNSUBACK] = 'u',
		[MQTT_DISCONNECT] = 'd',
		[MQTT_AUTH] = 'h',
	};

	(void)state;
	for (unsigned t = 1; t < 16; t++) {
		for (unsigned c = 0; c < 256; c++) {
			bool want =
			    letter[t] && in[c] && strchr(in[c], letter[t]);

			if (code_ok((enum mqtt_type)t, MQTT5, (uint8_t)c) !=
			    want) {
				print_error("type %u code %#x\n", t, c);
				fail();
			}
		}
	}
}

static void
puback_rows(void **state)
{
	const struct {
		const char *what;
		struct slice in;
		size_t n, left;
	} rows[] = {
		{ "nothing", LIT(""), 0, 0 },
		{ "one", LIT("\x40\2\0\1"), 1, 0 },
		{ "two and a part", LIT("\x40\2\0\1\x40\2\0\2\x40\2\0"), 2, 3 },
		{ "as many as asked for",
		    LIT("\x40\2\0\1\x40\2\0\2\x40\2\0\3\x40\2\0\4"), 3, 4 },
		{ "with a code", LIT("\x40\2\0\1\x40\3\0\2\0"), 1, 5 },
		{ "a longer length", LIT("\x40\x82\0\0\1"), 0, 5 },
		{ "identifier 0", LIT("\x40\2\0\1\x40\2\0\0"), 1, 4 },
		{ "flags", LIT("\x41\2\0\1"), 0, 4 },
		{ "another packet", LIT("\x40\2\1\0\x50\2\0\1"), 1, 4 },
	};
	uint16_t ids[3];

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct slice in = rows[i].in;
		size_t n = take_puback_row(&in, ids, 3);

		if (n != rows[i].n || in.n != rows[i].left)
			fail_msg("%s: %zu, %zu left", rows[i].what, n, in.n);
	}
	(void)take_puback_row(
	    &(struct slice){ .p = (const uint8_t *)"\x40\2\1\2", .n = 4 }, ids,
	    3);
	assert_int_equal(ids[0], 258);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(puback_rows),
		cmocka_unit_test(every_truncation),
		cmocka_unit_test(one_byte_more),
		cmocka_unit_test(connect_rejects),
		cmocka_unit_test(connect_fields),
		cmocka_unit_test(rejects),
		cmocka_unit_test(lists),
		cmocka_unit_test(reason_codes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
