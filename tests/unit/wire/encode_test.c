/* SPDX-License-Identifier: Apache-2.0 */
#include "rows.h"

#include "wire/decode.h"
#include "wire/encode.h"
#include "wire/frame.h"

/* What was written, without its fixed header, which is checked. */
static struct slice
body_of(const struct buf *b, enum mqtt_type type, uint8_t flags)
{
	struct slice s = buf_slice(b);
	struct frame f;

	check_err("frame", frame_take(&s, 0, &f), NJ_OK);
	assert_int_equal(s.n, 0);
	assert_int_equal(f.type, type);
	assert_int_equal(f.flags, flags);
	return f.body;
}

static const enum mqtt_ver versions[] = { MQTT31, MQTT311, MQTT5 };

static void
connect_identity(void **state)
{
	struct connect in = {
		.clean_start = true,
		.has_will = true,
		.has_username = true,
		.has_password = true,
		.keep_alive = 0x1234,
		.client_id = B("id"),
		.username = B("u"),
		.password = B("p"),
		.will = { .topic = B("t"),
		    .payload = B("x"),
		    .qos = 2,
		    .retain = true,
		    .props = { .seen = PROP_BIT(PROP_WILL_DELAY),
			.will_delay = 9 } },
		.props = { .seen = PROP_BIT(PROP_RECEIVE_MAX),
		    .receive_max = 3 },
	};

	(void)state;
	for (unsigned i = 0; i < 3 * 32; i++) {
		struct connect out;
		struct buf b = { 0 };

		in.version = versions[i % 3];
		in.bridge = (i & 1) && in.version != MQTT5;
		in.clean_start = i & 2;
		in.has_will = i & 4;
		in.has_username = i & 8;
		in.has_password = (i & 16) && in.has_username;
		check_err("encode", encode_connect(&b, &in), NJ_OK);
		check_err("decode",
		    decode_connect(body_of(&b, MQTT_CONNECT, 0), &out), NJ_OK);
		assert_int_equal(out.version, in.version);
		assert_int_equal(out.bridge, in.bridge);
		assert_int_equal(out.clean_start, in.clean_start);
		assert_int_equal(out.has_will, in.has_will);
		assert_int_equal(out.has_username, in.has_username);
		assert_int_equal(out.has_password, in.has_password);
		assert_int_equal(out.keep_alive, in.keep_alive);
		check_slice("id", out.client_id, in.client_id);
		if (in.has_will) {
			check_slice("will", out.will.topic, in.will.topic);
			check_slice("will", out.will.payload, in.will.payload);
			assert_int_equal(out.will.qos, 2);
			assert_true(out.will.retain);
		}
		if (in.version == MQTT5) {
			assert_int_equal(out.props.receive_max, 3);
			if (in.has_will)
				assert_int_equal(out.will.props.will_delay, 9);
		}
		if (in.has_username)
			check_slice("user", out.username, in.username);
		if (in.has_password)
			check_slice("password", out.password, in.password);
		buf_fini(&b);
	}
}

/* What each packet is in bytes. */
static void
bytes(void **state)
{
	const struct connack refused = { .code = 0x87 };
	const struct connack resumed = { .session_present = true };
	const struct publish qos0 = { .topic = B("a/b"), .payload = B("xy") };
	const struct publish qos2 = { .topic = B("t"),
		.qos = 2,
		.dup = true,
		.retain = true,
		.id = 0x1234,
		.props = { .seen = PROP_BIT(PROP_TOPIC_ALIAS) |
			PROP_BIT(PROP_PAYLOAD_FORMAT),
		    .topic_alias = 5,
		    .payload_format = 1,
		    .extra = B("\x0b\7") } };
	const struct ack ok = { .id = 7 };
	const struct ack code = { .id = 7, .code = 0x80 };
	const struct ack reason = { .id = 7,
		.props = { .seen = PROP_BIT(PROP_REASON_STRING),
		    .reason_string = B("r") } };
	const struct subscription subs[] = {
		{ .filter = B("a"),
		    .qos = 2,
		    .no_local = true,
		    .retain_as_published = true,
		    .retain_handling = 2 },
		{ .filter = B("b") },
	};
	const struct slice filters[] = { B("a"), B("b") };
	const struct suback codes = { .id = 7, .codes = B("\0\x11") };
	const struct props sub_id = { .seen = PROP_BIT(PROP_SUBSCRIPTION_ID),
		.subscription_id = 300 };
	const struct disconnect none = { 0 }, bye = { .code = 4 };
	const struct disconnect expiry = {
		.props = { .seen = PROP_BIT(PROP_SESSION_EXPIRY),
		    .session_expiry = 1 },
	};
	const struct disconnect auth = { .code = 0x18,
		.props = { .seen = PROP_BIT(PROP_AUTH_METHOD),
		    .auth_method = B("m") } };
	struct buf b = { 0 };

#define WRITES(call, lit)                                    \
	do {                                                 \
		check_err(#call, call, NJ_OK);               \
		check_slice(#call, buf_slice(&b), LIT(lit)); \
		buf_truncate(&b, 0);                         \
	} while (0)

	(void)state;
	WRITES(encode_connack(&b, MQTT5, &refused), "\x20\3\0\x87\0");
	WRITES(encode_connack(&b, MQTT311, &resumed), "\x20\2\1\0");
	WRITES(encode_connack(&b, MQTT31, &resumed), "\x20\2\0\0");
	WRITES(encode_publish(&b, MQTT311, &qos0), "\x30\7\0\3a/bxy");
	WRITES(encode_publish(&b, MQTT5, &qos0), "\x30\x08\0\3a/b\0xy");
	WRITES(encode_publish(&b, MQTT311, &qos2), "\x3d\5\0\1t\x12\x34");
	WRITES(encode_publish(&b, MQTT5, &qos2),
	    "\x3d\x0d\0\1t\x12\x34\7\1\1\x23\0\5\x0b\7");
	WRITES(encode_ack(&b, MQTT_PUBACK, MQTT5, &ok), "\x40\2\0\7");
	WRITES(encode_ack(&b, MQTT_PUBREC, MQTT5, &code), "\x50\3\0\7\x80");
	WRITES(encode_ack(&b, MQTT_PUBREL, MQTT311, &code), "\x62\2\0\7");
	WRITES(encode_ack(&b, MQTT_PUBCOMP, MQTT5, &reason),
	    "\x70\x08\0\7\0\4\x1f\0\1r");
	WRITES(encode_ack(&b, MQTT_PUBCOMP, MQTT31, &reason), "\x70\2\0\7");
	WRITES(encode_subscribe(&b, MQTT5, 7, &sub_id, subs, 2),
	    "\x82\x0e\0\7\3\x0b\xac\2\0\1a\x2e\0\1b\0");
	WRITES(encode_subscribe(&b, MQTT5, 7, NULL, subs, 1),
	    "\x82\7\0\7\0\0\1a\x2e");
	WRITES(encode_subscribe(&b, MQTT311, 7, &sub_id, subs, 2),
	    "\x82\x0a\0\7\0\1a\2\0\1b\0");
	WRITES(encode_unsubscribe(&b, MQTT5, 7, NULL, filters, 2),
	    "\xa2\x09\0\7\0\0\1a\0\1b");
	WRITES(encode_unsubscribe(&b, MQTT31, 7, NULL, filters, 1),
	    "\xa2\5\0\7\0\1a");
	WRITES(encode_suback(&b, MQTT5, &codes), "\x90\5\0\7\0\0\x11");
	WRITES(encode_suback(&b, MQTT311, &codes), "\x90\4\0\7\0\x11");
	WRITES(encode_unsuback(&b, MQTT5, &codes), "\xb0\5\0\7\0\0\x11");
	WRITES(encode_unsuback(&b, MQTT311, &codes), "\xb0\2\0\7");
	WRITES(encode_disconnect(&b, MQTT5, &none), "\xe0\0");
	WRITES(encode_disconnect(&b, MQTT5, &bye), "\xe0\1\4");
	WRITES(encode_disconnect(&b, MQTT5, &expiry), "\xe0\7\0\5\x11\0\0\0\1");
	WRITES(encode_disconnect(&b, MQTT311, &bye), "\xe0\0");
	WRITES(encode_auth(&b, &none), "\xf0\0");
	WRITES(encode_auth(&b, &auth), "\xf0\6\x18\4\x15\0\1m");
	WRITES(encode_ping(&b, MQTT_PINGREQ), "\xc0\0");
	WRITES(encode_ping(&b, MQTT_PINGRESP), "\xd0\0");
	buf_fini(&b);
}

/* Lengths around each step of the variable byte integer. */
static void
publish_sizes(void **state)
{
	static const uint32_t sizes[] = { 0, 1, 120, 127, 128, 129, 16380,
		16383, 16384, 16385, 2097148, 2097151, 2097152, 2097153 };
	uint8_t *payload = calloc(1, 2097153);

	(void)state;
	assert_non_null(payload);
	for (size_t i = 0; i < LEN(sizes); i++) {
		struct publish p = { .topic = B("t"),
			.payload = { payload, sizes[i] } };
		struct publish q;
		struct buf b = { 0 };

		check_err("encode", encode_publish(&b, MQTT5, &p), NJ_OK);
		check_err("decode",
		    decode_publish(0, body_of(&b, MQTT_PUBLISH, 0), MQTT5, &q),
		    NJ_OK);
		assert_int_equal(q.payload.n, sizes[i]);
		buf_fini(&b);
	}
	free(payload);
}

/* Nothing is left in the buffer when a packet cannot be written. */
static void
refusals(void **state)
{
	static uint8_t big[65536];
	const struct slice s = { big, sizeof big };
	const struct slice huge = { big, (size_t)1 << 28 };
	const struct publish topic = { .topic = s };
	const struct publish payload = { .topic = B("t"), .payload = huge };
	const struct publish prop = { .topic = B("t"),
		.props = {
		    .seen = PROP_BIT(PROP_CONTENT_TYPE), .content_type = s } };
	const struct connect id = { .version = MQTT5, .client_id = s };
	const struct connect user = {
		.version = MQTT5, .has_username = true, .username = s
	};
	const struct connect will = { .version = MQTT5,
		.has_will = true,
		.will = { .topic = B("t"), .payload = s } };
	const struct ack ack = { .id = 1,
		.props = { .seen = PROP_BIT(PROP_REASON_STRING),
		    .reason_string = s } };
	const struct disconnect d = { .props = ack.props };
	const struct subscription sub = { .filter = s };
	const struct suback codes = { .id = 1, .codes = huge };
	struct buf b = { 0 };

	(void)state;
	check_err("before", buf_put(&b, "x", 1), NJ_OK);
	check_err("topic", encode_publish(&b, MQTT5, &topic), NJ_TOOBIG);
	check_err("payload", encode_publish(&b, MQTT5, &payload), NJ_TOOBIG);
	check_err("prop", encode_publish(&b, MQTT5, &prop), NJ_TOOBIG);
	check_err("prop below 5", encode_publish(&b, MQTT311, &prop), NJ_OK);
	buf_truncate(&b, 1);
	check_err("id", encode_connect(&b, &id), NJ_TOOBIG);
	check_err("user", encode_connect(&b, &user), NJ_TOOBIG);
	check_err("will", encode_connect(&b, &will), NJ_TOOBIG);
	check_err("ack", encode_ack(&b, MQTT_PUBACK, MQTT5, &ack), NJ_TOOBIG);
	check_err("bye", encode_disconnect(&b, MQTT5, &d), NJ_TOOBIG);
	check_err("auth", encode_auth(&b, &d), NJ_TOOBIG);
	check_err(
	    "filter", encode_subscribe(&b, MQTT5, 1, NULL, &sub, 1), NJ_TOOBIG);
	check_err(
	    "filter", encode_unsubscribe(&b, MQTT5, 1, NULL, &s, 1), NJ_TOOBIG);
	check_err("codes", encode_suback(&b, MQTT5, &codes), NJ_TOOBIG);
	check_err("no filter", encode_subscribe(&b, MQTT5, 1, NULL, NULL, 0),
	    NJ_PROTOCOL);
	check_err("no filter", encode_unsubscribe(&b, MQTT5, 1, NULL, NULL, 0),
	    NJ_PROTOCOL);
	check_slice("untouched", buf_slice(&b), LIT("x"));
	buf_fini(&b);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(connect_identity),
		cmocka_unit_test(bytes),
		cmocka_unit_test(publish_sizes),
		cmocka_unit_test(refusals),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
