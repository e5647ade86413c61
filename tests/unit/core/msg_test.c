/* SPDX-License-Identifier: Apache-2.0 */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/buf.h"
#include "core/msg.h"
#include "wire/decode.h"
#include "wire/frame.h"

#define LARGE  70000 /* bytes of payload */
#define LEN(a) (sizeof(a) / sizeof *(a))

static void
msg_lays_out(void **state)
{
	struct publish p = {
		.payload = LIT("hello"), .qos = 2, .retain = true
	};
	struct msg *m = NULL;

	(void)state;
	assert_int_equal(msg_new(&p, LIT("a/b"), 7, &m), NJ_OK);
	assert_true(slice_is(msg_topic(m), "a/b"));
	assert_true(slice_is(msg_payload(m), "hello"));
	assert_int_equal(msg_props(m).n, 0);
	assert_memory_equal(m->data, "\0\3a/bhello", 10);
	assert_int_equal(m->qos, 2);
	assert_true(m->retain);
	assert_int_equal(m->expires_at, MSG_NEVER);
	assert_int_equal(m->from, 0);
	assert_int_equal(msg_size(m), sizeof *m + 10);
	(void)msg_ref(m);
	msg_ref_n(m, 2);
	for (unsigned i = 0; i < 4; i++)
		msg_unref(m);
	msg_unref(NULL);
}

/* [MQTT-3.3.2-4], -15, -16, -17, -18, -20 pass on; alias, identifiers and
 * expiry are the broker's to write anew. */
static void
msg_passes_properties(void **state)
{
	const uint64_t bits = PROP_BIT(PROP_USER);
	const uint64_t hop = PROP_BIT(PROP_TOPIC_ALIAS);
	const struct {
		const char *why;
		uint64_t seen;
		struct slice raw, want;
	} rows[] = {
		{ "none", 0, LIT(""), LIT("") },
		{ "all stay", bits, LIT("\x26\0\1a\0\1b\x01\x01"),
		    LIT("\x26\0\1a\0\1b\x01\x01") },
		{ "alias goes", hop, LIT("\x23\0\5"), LIT("") },
		{ "expiry in the middle", bits | PROP_BIT(PROP_MESSAGE_EXPIRY),
		    LIT("\x26\0\1a\0\1b\x02\0\0\0\7\x26\0\1a\0\1c"),
		    LIT("\x26\0\1a\0\1b\x26\0\1a\0\1c") },
		{ "identifiers go", PROP_BIT(PROP_SUBSCRIPTION_ID),
		    LIT("\x0b\x80\x01\x03\0\3abc\x0b\x07"),
		    LIT("\x03\0\3abc") },
		{ "request and response", hop,
		    LIT("\x08\0\1r\x23\0\1\x09\0\2\0\xff"),
		    LIT("\x08\0\1r\x09\0\2\0\xff") },
		{ "a will's delay goes", PROP_BIT(PROP_WILL_DELAY),
		    LIT("\x18\0\0\0\1\x01\0"), LIT("\x01\0") },
	};

	(void)state;
	for (size_t i = 0; i < LEN(rows); i++) {
		struct publish p = { .payload = LIT("p") };
		struct msg *m = NULL;

		p.props.seen = rows[i].seen;
		p.props.raw = rows[i].raw;
		assert_int_equal(msg_new(&p, LIT("t"), 0, &m), NJ_OK);
		if (!slice_eq(msg_props(m), rows[i].want))
			fail_msg("%s", rows[i].why);
		assert_true(slice_is(msg_payload(m), "p"));
		msg_unref(m);
	}
}

static void
msg_refuses(void **state)
{
	const struct {
		const char *why;
		struct slice raw;
	} rows[] = {
		{ "cut expiry", LIT("\x02\0\0") },
		{ "cut user property", LIT("\x26\0\1a\0\2b") },
		{ "not for a publish", LIT("\x11\0\0\0\0") },
		{ "unknown", LIT("\x7f") },
	};

	(void)state;
	for (size_t i = 0; i < LEN(rows); i++) {
		struct publish p = { .payload = LIT("p") };
		struct msg *m = NULL;

		p.props.seen = PROP_BIT(PROP_MESSAGE_EXPIRY);
		p.props.raw = rows[i].raw;
		if (msg_new(&p, LIT("t"), 0, &m) == NJ_OK)
			fail_msg("%s", rows[i].why);
		assert_null(m);
	}
}

static void
msg_dates_expiry(void **state)
{
	const struct {
		uint64_t now;
		uint32_t seconds;
		uint64_t want;
	} rows[] = {
		{ 500, 0, 500 },
		{ 500, 1, 1500 },
		{ 0, UINT32_MAX, UINT64_C(4294967295000) },
	};

	(void)state;
	for (size_t i = 0; i < LEN(rows); i++) {
		struct publish p = { 0 };
		struct msg *m = NULL;

		p.props.seen = PROP_BIT(PROP_MESSAGE_EXPIRY);
		p.props.message_expiry = rows[i].seconds;
		assert_int_equal(msg_new(&p, LIT("t"), rows[i].now, &m), NJ_OK);
		assert_int_equal(m->expires_at, rows[i].want);
		assert_int_equal(m->payload_len, 0);
		msg_unref(m);
	}
}

#define SHARERS 4
#define SHARED	20000

static void *
let_go(void *arg)
{
	struct msg **all = arg;

	for (unsigned i = 0; i < SHARED; i++) {
		assert_true(slice_is(msg_payload(all[i]), "x"));
		msg_unref(all[i]);
	}
	return NULL;
}

static void
msg_is_shared(void **state)
{
	static struct msg *all[SHARED];
	pthread_t threads[SHARERS];

	(void)state;
	for (unsigned i = 0; i < SHARED; i++) {
		struct publish p = { .payload = LIT("x") };

		assert_int_equal(msg_new(&p, LIT("t"), 0, &all[i]), NJ_OK);
		msg_ref_n(all[i], SHARERS - 1);
	}
	for (unsigned i = 0; i < SHARERS; i++)
		assert_int_equal(
		    pthread_create(&threads[i], NULL, let_go, all), 0);
	for (unsigned i = 0; i < SHARERS; i++)
		assert_int_equal(pthread_join(threads[i], NULL), 0);
}

struct received {
	const char *why;
	enum mqtt_ver v;
	uint8_t flags;
	struct slice head; /* topic, identifier, properties */
	bool room, adopted;
};

/* A PUBLISH with r's head before a large payload. */
static void
packet_of(const struct received *r, struct buf *b)
{
	uint8_t first = (uint8_t)(MQTT_PUBLISH << 4 | r->flags), len[4];
	size_t n =
	    (size_t)(varint_write(len, (uint32_t)(r->head.n + LARGE)) - len);

	assert_int_equal(buf_put_u8(b, first), NJ_OK);
	assert_int_equal(buf_put(b, len, n), NJ_OK);
	assert_int_equal(buf_put_slice(b, r->head), NJ_OK);
	for (unsigned i = 0; i < LARGE; i++)
		assert_int_equal(buf_put_u8(b, (uint8_t)(i % 251)), NJ_OK);
}

/* The same message, whether it was copied from the packet or is it. */
static void
adopt_one(const struct received *r, struct slice packet, struct buf *room)
{
	struct msg *copy = NULL, *m = NULL;
	struct slice in;
	struct publish p;
	struct frame f;

	assert_int_equal(buf_put_slice(room, packet), NJ_OK);
	in = buf_slice(room);
	assert_int_equal(frame_take(&in, 0, &f), NJ_OK);
	assert_int_equal(decode_publish(f.flags, f.body, r->v, &p), NJ_OK);
	assert_int_equal(msg_new(&p, p.topic, 7, &copy), NJ_OK);
	if (msg_adopt(room, &p, p.topic, 7, &m) != r->adopted)
		fail_msg("%s", r->why);
	assert_int_equal(buf_len(room), r->adopted ? 0 : packet.n);
	if (m) {
		assert_int_equal(msg_size(m), msg_size(copy));
		assert_int_equal(m->qos, copy->qos);
		assert_int_equal(m->retain, copy->retain);
		assert_int_equal(m->expires_at, copy->expires_at);
		assert_int_equal(m->topic_len, copy->topic_len);
		assert_int_equal(m->payload_len, LARGE);
		assert_int_equal(m->props_len, copy->props_len);
		assert_memory_equal(
		    m->data, copy->data, msg_size(m) - sizeof *m);
	}
	msg_unref(m);
	msg_unref(copy);
}

static void
msg_is_received_in_place(void **state)
{
#define USER "\x26\0\1a\0\1b"
	const struct received rows[] = {
		{ "QoS 0", MQTT311, 0, LIT("\0\3a/b"), true, true },
		{ "QoS 1", MQTT311, 2, LIT("\0\3a/b\0\7"), true, true },
		{ "QoS 2, DUP", MQTT31, 12, LIT("\0\1t\1\0"), true, true },
		{ "5.0, nothing", MQTT5, 0, LIT("\0\3a/b\0"), true, true },
		{ "5.0, a property", MQTT5, 2, LIT("\0\3a/b\0\7\7" USER), true,
		    true },
		{ "longer than the topic", MQTT5, 4,
		    LIT("\0\1t\0\7\x15" USER USER USER), true, true },
		{ "longer than there is room", MQTT5, 0,
		    LIT("\0\1t\x38" USER USER USER USER USER USER USER USER),
		    false, false },
		{ "expiry is not passed on", MQTT5, 0,
		    LIT("\0\1t\5\x02\0\0\0\7"), true, false },
	};

	(void)state;
	for (size_t i = 0; i < LEN(rows); i++) {
		const struct received *r = &rows[i];
		struct buf packet = { 0 }, room = { 0 };
		struct slice whole, begun;
		struct frame f;

		packet_of(r, &packet);
		whole = buf_slice(&packet);
		begun = slice_of(whole.p, whole.n - 1);
		assert_int_equal(frame_take(&begun, 0, &f), NJ_AGAIN);
		if (msg_room(begun, &f, r->v, &room) != r->room)
			fail_msg("%s", r->why);
		if (r->room)
			adopt_one(r, whole, &room);
		buf_fini(&room);
		/* only what has all before the payload */
		begun.n = whole.n - LARGE - 1;
		assert_false(msg_room(begun, &f, r->v, &room));
		buf_fini(&packet);
	}
}

/* Nor is what stands elsewhere taken for it. */
static void
msg_adopts_its_own(void **state)
{
	const struct received r = { "", MQTT311, 0, LIT("\0\1t"), true, true };
	struct publish p = { .payload = LIT("elsewhere") };
	struct buf packet = { 0 }, room = { 0 };
	struct slice in;
	struct frame f;
	struct msg *m;

	(void)state;
	assert_false(msg_adopt(&room, &p, LIT("t"), 0, &m));
	packet_of(&r, &packet);
	in = slice_of(packet.p, buf_len(&packet) - 1);
	assert_int_equal(frame_take(&in, 0, &f), NJ_AGAIN);
	assert_true(msg_room(in, &f, MQTT311, &room));
	assert_int_equal(buf_put_slice(&room, buf_slice(&packet)), NJ_OK);
	assert_false(msg_adopt(&room, &p, LIT("t"), 0, &m));
	in = buf_slice(&room);
	assert_int_equal(frame_take(&in, 0, &f), NJ_OK);
	assert_int_equal(decode_publish(0, f.body, MQTT311, &p), NJ_OK);
	assert_false(msg_adopt(&room, &p, LIT("another"), 0, &m));
	assert_true(msg_adopt(&room, &p, LIT("u"), 0, &m));
	assert_true(slice_is(msg_topic(m), "u"));
	assert_int_equal(msg_payload(m).n, LARGE);
	msg_unref(m);
	buf_fini(&packet);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(msg_lays_out),
		cmocka_unit_test(msg_passes_properties),
		cmocka_unit_test(msg_refuses),
		cmocka_unit_test(msg_dates_expiry),
		cmocka_unit_test(msg_is_shared),
		cmocka_unit_test(msg_is_received_in_place),
		cmocka_unit_test(msg_adopts_its_own),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
