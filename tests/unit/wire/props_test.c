/* SPDX-License-Identifier: Apache-2.0 */
#include "rows.h"

#include "wire/frame.h"
#include "wire/props.h"

/* Table 2-4 once more, in letters: C connect, A connack, P publish, a acks
 * (PUBACK to PUBCOMP, SUBACK, UNSUBACK), S subscribe, U unsubscribe,
 * D disconnect, H auth, W will. */
static const struct known {
	enum mqtt_prop id;
	struct slice value; /* a valid one */
	const char *in;
} known[] = {
	{ PROP_PAYLOAD_FORMAT, B("\1"), "PW" },
	{ PROP_MESSAGE_EXPIRY, B("\1\2\3\4"), "PW" },
	{ PROP_CONTENT_TYPE, B("\0\4text"), "PW" },
	{ PROP_RESPONSE_TOPIC, B("\0\3a/b"), "PW" },
	{ PROP_CORRELATION_DATA, B("\0\2\0\xff"), "PW" },
	{ PROP_SUBSCRIPTION_ID, B("\x80\1"), "PS" },
	{ PROP_SESSION_EXPIRY, B("\xff\xff\xff\xff"), "CAD" },
	{ PROP_ASSIGNED_CLIENT_ID, B("\0\1i"), "A" },
	{ PROP_SERVER_KEEP_ALIVE, B("\0\x3c"), "A" },
	{ PROP_AUTH_METHOD, B("\0\1m"), "CAH" },
	{ PROP_REQUEST_PROBLEM, B("\0"), "C" },
	{ PROP_WILL_DELAY, B("\0\0\0\0"), "W" },
	{ PROP_REQUEST_RESPONSE, B("\1"), "C" },
	{ PROP_RESPONSE_INFO, B("\0\1r"), "A" },
	{ PROP_SERVER_REFERENCE, B("\0\1h"), "AD" },
	{ PROP_REASON_STRING, B("\0\3why"), "AaDH" },
	{ PROP_RECEIVE_MAX, B("\0\1"), "CA" },
	{ PROP_TOPIC_ALIAS_MAX, B("\0\0"), "CA" },
	{ PROP_TOPIC_ALIAS, B("\xff\xff"), "P" },
	{ PROP_MAX_QOS, B("\1"), "A" },
	{ PROP_RETAIN_AVAILABLE, B("\0"), "A" },
	{ PROP_USER, B("\0\1n\0\1v"), "CAPaSUDHW" },
	{ PROP_MAX_PACKET_SIZE, B("\0\0\0\1"), "CA" },
	{ PROP_WILDCARD_AVAILABLE, B("\1"), "A" },
	{ PROP_SUB_ID_AVAILABLE, B("\1"), "A" },
	{ PROP_SHARED_AVAILABLE, B("\1"), "A" },
};

static const struct {
	enum props_in where;
	char letter;
} places[] = {
	{ IN_CONNECT, 'C' },
	{ IN_CONNACK, 'A' },
	{ IN_PUBLISH, 'P' },
	{ IN_PUBACK, 'a' },
	{ IN_PUBREC, 'a' },
	{ IN_PUBREL, 'a' },
	{ IN_PUBCOMP, 'a' },
	{ IN_SUBSCRIBE, 'S' },
	{ IN_SUBACK, 'a' },
	{ IN_UNSUBSCRIBE, 'U' },
	{ IN_UNSUBACK, 'a' },
	{ IN_DISCONNECT, 'D' },
	{ IN_AUTH, 'H' },
	{ IN_WILL, 'W' },
};

/* A list of n times the property, with its length. */
static void
put_list(struct buf *b, enum mqtt_prop id, struct slice value, unsigned n)
{
	uint8_t len[4];
	size_t size = (1 + value.n) * n;
	size_t len_n = (size_t)(varint_write(len, (uint32_t)size) - len);

	*b = (struct buf){ 0 };
	assert_int_equal(buf_put(b, len, len_n), NJ_OK);
	while (n-- > 0) {
		assert_int_equal(buf_put_u8(b, (uint8_t)id), NJ_OK);
		assert_int_equal(buf_put_slice(b, value), NJ_OK);
	}
}

static enum nj_err
take_list(enum mqtt_prop id, struct slice value, unsigned n,
    enum props_in where, struct props *out)
{
	struct buf b;
	struct slice s;
	enum nj_err e;

	put_list(&b, id, value, n);
	s = buf_slice(&b);
	e = take_props(&s, where, out);
	assert_int_equal(s.n, e ? buf_len(&b) : 0);
	buf_fini(&b);
	return e;
}

static bool
repeats(enum mqtt_prop id, enum props_in where)
{
	return id == PROP_USER ||
	    (id == PROP_SUBSCRIPTION_ID && where == IN_PUBLISH);
}

/* Every property in every packet, once and twice. */
static void
table_2_4(void **state)
{
	(void)state;
	for (size_t i = 0; i < LEN(known); i++) {
		for (size_t k = 0; k < LEN(places); k++) {
			bool in = strchr(known[i].in, places[k].letter);
			enum props_in where = places[k].where;
			struct props p;
			char why[32];

			(void)snprintf(
			    why, sizeof why, "%#x in %d", known[i].id, where);
			check_err(why,
			    take_list(
				known[i].id, known[i].value, 1, where, &p),
			    in ? NJ_OK : NJ_MALFORMED);
			if (in)
				assert_true(p.seen == PROP_BIT(known[i].id));
			check_err(why,
			    take_list(
				known[i].id, known[i].value, 2, where, &p),
			    !in				      ? NJ_MALFORMED
				: repeats(known[i].id, where) ? NJ_OK
							      : NJ_PROTOCOL);
		}
	}
}

/* Each property cut short everywhere: the list says how long it is, so what
 * ends early is malformed; a list that is not all there is truncated. */
static void
truncations(void **state)
{
	(void)state;
	for (size_t i = 0; i < LEN(known); i++) {
		for (size_t cut = 0; cut < known[i].value.n; cut++) {
			struct slice v = slice_of(known[i].value.p, cut);

			for (size_t k = 0; k < LEN(places); k++) {
				struct props p;
				enum nj_err e = take_list(
				    known[i].id, v, 1, places[k].where, &p);

				check_err("cut", e, NJ_MALFORMED);
			}
		}
		for (size_t n = 0; n < 2 + known[i].value.n; n++) {
			struct props p = { .seen = 99 };
			struct slice s, at;
			struct buf b;

			put_list(&b, known[i].id, known[i].value, 1);
			s = at = tight(slice_of(buf_slice(&b).p, n));
			check_err("whole list", take_props(&at, IN_PUBLISH, &p),
			    NJ_TRUNCATED);
			assert_int_equal(p.seen, 99);
			tight_free(s);
			buf_fini(&b);
		}
	}
}

static void
unknown_ids(void **state)
{
	(void)state;
	for (unsigned id = 0; id < 256; id++) {
		static const uint8_t zeros[64] = { 0, 1, 'x', 0, 1, 'y' };
		bool is_known = id == PROP_AUTH_DATA;
		struct props p;

		for (size_t i = 0; i < LEN(known); i++)
			is_known |= known[i].id == id;
		if (is_known)
			continue;
		for (size_t k = 0; k < LEN(places); k++)
			for (size_t n = 0; n < 8; n++)
				assert_int_equal(
				    take_list(id, slice_of(zeros, n), 1,
					places[k].where, &p),
				    NJ_MALFORMED);
	}
}

static void
values(void **state)
{
	const struct {
		const char *why;
		struct slice in; /* with the length */
		enum props_in where;
		enum nj_err want;
	} rows[] = {
		{ "none", B("\0"), IN_PUBLISH, NJ_OK },
		{ "no length", B(""), IN_PUBLISH, NJ_TRUNCATED },
		{ "half a length", B("\x80"), IN_PUBLISH, NJ_TRUNCATED },
		{ "long length", B("\x82\0\1\1"), IN_PUBLISH, NJ_MALFORMED },
		{ "long id", B("\3\x81\0\1"), IN_PUBLISH, NJ_MALFORMED },
		{ "length past the packet", B("\3\1\1"), IN_PUBLISH,
		    NJ_TRUNCATED },
		{ "payload format 2", B("\2\1\2"), IN_PUBLISH, NJ_PROTOCOL },
		{ "request problem 2", B("\2\x17\2"), IN_CONNECT, NJ_PROTOCOL },
		{ "request response 255", B("\2\x19\xff"), IN_CONNECT,
		    NJ_PROTOCOL },
		{ "max qos 2", B("\2\x24\2"), IN_CONNACK, NJ_PROTOCOL },
		{ "retain available 2", B("\2\x25\2"), IN_CONNACK,
		    NJ_PROTOCOL },
		{ "wildcards 2", B("\2\x28\2"), IN_CONNACK, NJ_PROTOCOL },
		{ "ids 2", B("\2\x29\2"), IN_CONNACK, NJ_PROTOCOL },
		{ "shared 2", B("\2\x2a\2"), IN_CONNACK, NJ_PROTOCOL },
		{ "receive max 0", B("\3\x21\0\0"), IN_CONNECT, NJ_PROTOCOL },
		{ "max packet 0", B("\5\x27\0\0\0\0"), IN_CONNECT,
		    NJ_PROTOCOL },
		/* [MQTT-3.3.2-7], [MQTT-3.3.2-8] */
		{ "alias 0", B("\3\x23\0\0"), IN_PUBLISH, NJ_OK },
		{ "id 0", B("\2\x0b\0"), IN_SUBSCRIBE, NJ_PROTOCOL },
		{ "id 0 too long", B("\3\x0b\x80\0"), IN_SUBSCRIBE,
		    NJ_MALFORMED },
		{ "id 268435455", B("\5\x0b\xff\xff\xff\x7f"), IN_SUBSCRIBE,
		    NJ_OK },
		{ "id of five bytes", B("\6\x0b\xff\xff\xff\xff\1"),
		    IN_SUBSCRIBE, NJ_MALFORMED },
		/* [MQTT-3.3.2-13], [MQTT-3.3.2-14] */
		{ "response topic empty", B("\3\x08\0\0"), IN_PUBLISH,
		    NJ_PROTOCOL },
		{ "response topic #", B("\4\x08\0\1#"), IN_PUBLISH,
		    NJ_PROTOCOL },
		{ "response topic a/+", B("\6\x08\0\3a/+"), IN_WILL,
		    NJ_PROTOCOL },
		{ "response topic not UTF-8", B("\4\x08\0\1\xff"), IN_PUBLISH,
		    NJ_MALFORMED },
		/* [MQTT-3.3.2-19] */
		{ "content type NUL", B("\4\x03\0\1\0"), IN_PUBLISH,
		    NJ_MALFORMED },
		/* [MQTT-1.5.7-1] */
		{ "user name surrogate", B("\x08\x26\0\3\xed\xa0\x80\0\0"),
		    IN_PUBLISH, NJ_MALFORMED },
		{ "user value bad", B("\6\x26\0\0\0\1\xff"), IN_PUBLISH,
		    NJ_MALFORMED },
		{ "user both empty", B("\5\x26\0\0\0\0"), IN_PUBLISH, NJ_OK },
		{ "auth data alone", B("\3\x16\0\0"), IN_AUTH, NJ_PROTOCOL },
		{ "auth data alone", B("\4\x16\0\1x"), IN_CONNECT,
		    NJ_PROTOCOL },
		{ "auth data first", B("\x07\x16\0\0\x15\0\1m"), IN_CONNECT,
		    NJ_OK },
		{ "auth data second", B("\x08\x15\0\1m\x16\0\1\0"), IN_CONNACK,
		    NJ_OK },
		{ "auth data elsewhere", B("\3\x16\0\0"), IN_PUBLISH,
		    NJ_MALFORMED },
	};

	(void)state;
	for (size_t i = 0; i < LEN(rows); i++) {
		struct slice s = tight(rows[i].in), at = s;
		struct props p;

		check_err(rows[i].why, take_props(&at, rows[i].where, &p),
		    rows[i].want);
		assert_int_equal(at.n, rows[i].want ? s.n : 0);
		tight_free(s);
	}
}

static void
fields(void **state)
{
	struct slice s = B("\x12\2\0\0\1\0\3\0\1t\x23\0\7\x0b\5\x0b\6\1\1rest");
	struct slice at;
	struct props p;
	uint32_t id = 0;

	(void)state;
	check_err("take", take_props(&s, IN_PUBLISH, &p), NJ_OK);
	check_slice("rest", s, slice_str("rest"));
	assert_int_equal(p.message_expiry, 256);
	check_slice("content type", p.content_type, slice_str("t"));
	assert_int_equal(p.topic_alias, 7);
	assert_int_equal(p.payload_format, 1);
	assert_int_equal(p.subscription_id, 5);
	assert_int_equal(p.extra.n, 0);
	assert_int_equal(p.raw.n, 18);
	at = p.raw;
	check_err("id", props_next_id(&at, &id), NJ_OK);
	assert_int_equal(id, 5);
	check_err("id", props_next_id(&at, &id), NJ_OK);
	assert_int_equal(id, 6);
	check_err("end", props_next_id(&at, &id), NJ_NOTFOUND);
}

/* [MQTT-3.3.2-18]: in order, and no more than the bound. */
static void
user_properties(void **state)
{
	struct buf b = { 0 }, list = { 0 };
	struct slice at, n, v, s;
	struct props p;
	char text[16];

	(void)state;
	for (unsigned i = 0; i < PROPS_USER_MAX; i++) {
		(void)snprintf(text, sizeof text, "k%u", i);
		check_err("put",
		    props_put_user(&b, slice_str(text), slice_str("v")), NJ_OK);
	}
	p = (struct props){ .extra = buf_slice(&b) };
	check_err("list", props_put(&list, &p), NJ_OK);
	s = buf_slice(&list);
	check_err("at the bound", take_props(&s, IN_PUBLISH, &p), NJ_OK);
	at = p.raw;
	for (unsigned i = 0; i < PROPS_USER_MAX; i++) {
		(void)snprintf(text, sizeof text, "k%u", i);
		check_err("next", props_next_user(&at, &n, &v), NJ_OK);
		check_slice("name", n, slice_str(text));
		check_slice("value", v, slice_str("v"));
	}
	check_err("end", props_next_user(&at, &n, &v), NJ_NOTFOUND);
	check_err("one more", props_put_user(&b, LIT("k"), LIT("v")), NJ_OK);
	p = (struct props){ .extra = buf_slice(&b) };
	buf_truncate(&list, 0);
	check_err("list", props_put(&list, &p), NJ_OK);
	s = buf_slice(&list);
	check_err("past the bound", take_props(&s, IN_PUBLISH, &p), NJ_TOOBIG);
	buf_fini(&b);
	buf_fini(&list);
}

/* Identifiers for extra, and what no list has. */
static void
identifiers(void **state)
{
	struct buf b = { 0 }, list = { 0 };
	struct slice at, n, v, s;
	struct props p;
	uint32_t id = 0;

	(void)state;
	for (uint32_t i = 1; i <= MQTT_VARINT_MAX; i = i * 127 + 1)
		check_err("put", props_put_id(&b, i), NJ_OK);
	p = (struct props){ .extra = buf_slice(&b) };
	check_err("list", props_put(&list, &p), NJ_OK);
	s = buf_slice(&list);
	check_err("take", take_props(&s, IN_PUBLISH, &p), NJ_OK);
	at = p.raw;
	for (uint32_t i = 1; i <= MQTT_VARINT_MAX; i = i * 127 + 1) {
		check_err("next", props_next_id(&at, &id), NJ_OK);
		assert_int_equal(id, i);
	}
	check_err("end", props_next_id(&at, &id), NJ_NOTFOUND);
	buf_fini(&b);
	buf_fini(&list);
	at = LIT("\x26\0");
	check_err("broken", props_next_user(&at, &n, &v), NJ_MALFORMED);
	at = LIT("\x7f");
	check_err("unknown", props_next_id(&at, &id), NJ_MALFORMED);
	p = (struct props){ .seen = PROP_BIT(0x3f) };
	assert_true(props_size(&p) == PROPS_UNWRITABLE);
	p = (struct props){ .seen = PROP_BIT(0x04) };
	assert_true(props_size(&p) == PROPS_UNWRITABLE);
}

/* Every property is written as it was read. */
static void
identity(void **state)
{
	(void)state;
	for (size_t i = 0; i < LEN(known); i++) {
		struct buf in, out = { 0 };
		enum props_in where = IN_CONNECT;
		struct props p, q;
		struct slice s;

		if (known[i].id == PROP_USER)
			continue; /* from extra only: above */
		for (size_t k = 0; k < LEN(places); k++)
			if (strchr(known[i].in, places[k].letter))
				where = places[k].where;
		put_list(&in, known[i].id, known[i].value, 1);
		s = buf_slice(&in);
		check_err("take", take_props(&s, where, &p), NJ_OK);
		check_err("put", props_put(&out, &p), NJ_OK);
		check_slice("bytes", buf_slice(&out), buf_slice(&in));
		assert_int_equal(props_size(&p), buf_len(&in) - 1);
		s = buf_slice(&out);
		check_err("again", take_props(&s, where, &q), NJ_OK);
		assert_true(p.seen == q.seen);
		buf_fini(&in);
		buf_fini(&out);
	}
}

static void
unwritable(void **state)
{
	static uint8_t big[65536];
	const struct {
		const char *why;
		struct props p;
		enum nj_err want;
	} rows[] = {
		{ "string",
		    { .seen = PROP_BIT(PROP_REASON_STRING),
			.reason_string = { big, sizeof big } },
		    NJ_TOOBIG },
		{ "string at the bound",
		    { .seen = PROP_BIT(PROP_REASON_STRING),
			.reason_string = { big, 65535 } },
		    NJ_OK },
		{ "not there", { .reason_string = { big, sizeof big } },
		    NJ_OK },
		{ "identifier",
		    { .seen = PROP_BIT(PROP_SUBSCRIPTION_ID),
			.subscription_id = MQTT_VARINT_MAX + 1 },
		    NJ_TOOBIG },
		{ "extra", { .extra = { big, 1u << 28 } }, NJ_TOOBIG },
	};
	struct buf b = { 0 };

	(void)state;
	for (size_t i = 0; i < LEN(rows); i++) {
		size_t before = buf_len(&b);

		check_err(rows[i].why, props_put(&b, &rows[i].p), rows[i].want);
		if (rows[i].want)
			assert_int_equal(buf_len(&b), before);
	}
	check_err("name", props_put_user(&b, slice_of(big, 65536), LIT("")),
	    NJ_TOOBIG);
	check_err("value", props_put_user(&b, LIT(""), slice_of(big, 65536)),
	    NJ_TOOBIG);
	check_err("id", props_put_id(&b, MQTT_VARINT_MAX + 1), NJ_TOOBIG);
	buf_fini(&b);
	check_err("NULL is none", props_put(&b, NULL), NJ_OK);
	check_slice("NULL", buf_slice(&b), LIT("\0")); /* [MQTT-2.2.2-1] */
	buf_fini(&b);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(table_2_4),
		cmocka_unit_test(truncations),
		cmocka_unit_test(unknown_ids),
		cmocka_unit_test(values),
		cmocka_unit_test(fields),
		cmocka_unit_test(user_properties),
		cmocka_unit_test(identifiers),
		cmocka_unit_test(identity),
		cmocka_unit_test(unwritable),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
