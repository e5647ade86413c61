/* SPDX-License-Identifier: Apache-2.0
 * QoS 1 and 2 both ways, and what becomes of them when the connection is lost.
 */
#include "peer.h"

static void
up(struct peer *p, enum mqtt_ver v, bool persistent)
{
	struct client_opts o = { .version = v,
		.client_id = "c",
		.persistent = persistent,
		.max_inflight = 2 };

	peer_new(p, &o);
	peer_accept(p, v);
}

static uint16_t
publish(struct peer *p, uint8_t qos, enum nj_err want)
{
	struct publish m = {
		.topic = LIT("t"), .payload = LIT("x"), .qos = qos
	};
	uint16_t id = 77;

	assert_int_equal(client_publish(p->c, &m, &id), want);
	if (!want)
		assert_int_equal(peer_settle(p), NJ_OK);
	return id;
}

static void
say(struct peer *p, struct slice s)
{
	peer_send(p, s);
	assert_int_equal(peer_settle(p), NJ_OK);
}

static void
outgoing_qos0(void **state)
{
	struct peer p;

	up(&p, MQTT311, false);
	assert_int_equal(publish(&p, 0, NJ_OK), 0);
	peer_expect("PUBLISH", peer_got(&p), "30 04 00 01 74 78");
	assert_int_equal(client_unanswered(p.c), 0);
	peer_free(&p);
}

static void
outgoing_qos1(void **state)
{
	struct peer p;

	up(&p, MQTT311, false);
	assert_int_equal(publish(&p, 1, NJ_OK), 1);
	peer_expect("PUBLISH", peer_got(&p), "32 06 00 01 74 00 01 78");
	assert_int_equal(client_unanswered(p.c), 1);
	say(&p, LIT("\x40\2\0\1"));
	peer_expect("the end", p.log, "[published 1 0]");
	assert_int_equal(client_unanswered(p.c), 0);
	/* One of an earlier connection disturbs nobody. */
	say(&p, LIT("\x40\2\0\1"));
	peer_expect("the same", p.log, "[published 1 0]");
	peer_free(&p);
}

/* [MQTT-4.3.3-1] to [MQTT-4.3.3-7] */
static void
outgoing_qos2(void **state)
{
	struct peer p;

	up(&p, MQTT311, false);
	assert_int_equal(publish(&p, 2, NJ_OK), 1);
	peer_expect("PUBLISH", peer_got(&p), "34 06 00 01 74 00 01 78");
	say(&p, LIT("\x50\2\0\1"));
	peer_expect("PUBREL", peer_got(&p), "62 02 00 01");
	say(&p, LIT("\x50\2\0\1"));
	peer_expect("PUBREL again", peer_got(&p), "62 02 00 01");
	peer_expect("not yet", p.log, "");
	say(&p, LIT("\x70\2\0\1"));
	peer_expect("the end", p.log, "[published 1 0]");
	peer_free(&p);
}

static void
outgoing_wrong_answers(void **state)
{
	const struct {
		const char *why;
		uint8_t qos;
		struct slice bytes;
	} rows[] = {
		{ "PUBREC of QoS 1", 1, LIT("\x50\2\0\1") },
		{ "PUBCOMP of QoS 1", 1, LIT("\x70\2\0\1") },
		{ "PUBACK of QoS 2", 2, LIT("\x40\2\0\1") },
		{ "PUBCOMP before PUBREC", 2, LIT("\x70\2\0\1") },
	};

	for (size_t i = 0; i < LEN(rows); i++) {
		struct peer p;

		up(&p, MQTT311, false);
		(void)publish(&p, rows[i].qos, NJ_OK);
		peer_send(&p, rows[i].bytes);
		assert_int_equal(peer_settle(&p), NJ_PROTOCOL);
		peer_free(&p);
	}
}

/* [MQTT-4.3.3-4]: a PUBREC that refuses is the end. */
static void
outgoing_refused(void **state)
{
	struct peer p;

	up(&p, MQTT5, false);
	(void)publish(&p, 2, NJ_OK);
	(void)peer_got(&p);
	say(&p, LIT("\x50\3\0\1\x87"));
	peer_expect("no PUBREL", peer_got(&p), "");
	peer_expect("refused", p.log, "[published 1 135]");
	assert_int_equal(client_unanswered(p.c), 0);
	/* A PUBREC of what we do not know is answered so (3.6.2.1). */
	say(&p, LIT("\x50\2\0\x09"));
	peer_expect("PUBREL", peer_got(&p), "62 03 00 09 92");
	peer_free(&p);
}

static void
outgoing_window(void **state)
{
	struct peer p;

	up(&p, MQTT311, false);
	(void)publish(&p, 1, NJ_OK);
	(void)publish(&p, 2, NJ_OK);
	(void)publish(&p, 1, NJ_FULL);
	(void)publish(&p, 0, NJ_OK);
	say(&p, LIT("\x40\2\0\1"));
	assert_int_equal(publish(&p, 1, NJ_OK), 3);
	peer_free(&p);
}

/* What the broker said in CONNACK is kept to. */
static void
limits_of_the_broker(void **state)
{
	struct client_opts o = { .version = MQTT5 };
	static uint8_t big[200];
	struct publish m = { .topic = LIT("t"),
		.payload = { big, sizeof big } };
	struct peer p;

	peer_new(&p, &o);
	/* receive maximum 1, maximum QoS 1, no retain, packets of 100 bytes */
	peer_connect(
	    &p, LIT("\x20\x0f\0\0\x0c\x21\0\1\x24\1\x25\0\x27\0\0\0\x64"));
	(void)publish(&p, 2, NJ_UNSUPPORTED);
	(void)publish(&p, 1, NJ_OK);
	(void)publish(&p, 1, NJ_FULL);
	assert_int_equal(client_publish(p.c, &m, NULL), NJ_TOOBIG);
	m.payload.n = 1;
	m.retain = true;
	assert_int_equal(client_publish(p.c, &m, NULL), NJ_UNSUPPORTED);
	m.retain = false;
	m.topic = LIT("a/#");
	assert_int_equal(client_publish(p.c, &m, NULL), NJ_INVALID);
	peer_free(&p);
}

static void
incoming_qos1(void **state)
{
	struct peer p;

	up(&p, MQTT311, false);
	say(&p, LIT("\x32\6\0\1t\0\x0ax"));
	peer_expect("delivered", p.log, "[t=x q1]");
	peer_expect("PUBACK", peer_got(&p), "40 02 00 0a");
	peer_free(&p);
}

/* [MQTT-4.3.3-8] to [MQTT-4.3.3-13] */
static void
incoming_qos2(void **state)
{
	struct peer p;

	up(&p, MQTT311, false);
	say(&p, LIT("\x34\6\0\1t\0\x0ax"));
	peer_expect("PUBREC", peer_got(&p), "50 02 00 0a");
	assert_int_equal(client_unanswered(p.c), 1);
	say(&p, LIT("\x3c\6\0\1t\0\x0ax"));
	peer_expect("PUBREC again", peer_got(&p), "50 02 00 0a");
	say(&p, LIT("\x62\2\0\x0a"));
	peer_expect("PUBCOMP", peer_got(&p), "70 02 00 0a");
	peer_expect("delivered once", p.log, "[t=x q2]");
	assert_int_equal(client_unanswered(p.c), 0);
	say(&p, LIT("\x62\2\0\x0a"));
	peer_expect("PUBCOMP again", peer_got(&p), "70 02 00 0a");
	say(&p, LIT("\x34\6\0\1t\0\x0ay"));
	peer_expect("a new one", p.log, "[t=x q2][t=y q2]");
	peer_free(&p);
}

static void
incoming_unknown_pubrel(void **state)
{
	struct peer p;

	up(&p, MQTT5, false);
	say(&p, LIT("\x62\2\0\x0a"));
	peer_expect("PUBCOMP", peer_got(&p), "70 03 00 0a 92");
	peer_free(&p);
}

static void
incoming_alias(void **state)
{
	struct props props = { .seen = PROP_BIT(PROP_TOPIC_ALIAS_MAX),
		.topic_alias_max = 2 };
	struct client_opts o = { .version = MQTT5, .props = &props };
	struct peer p;

	peer_new(&p, &o);
	peer_accept(&p, MQTT5);
	say(&p, LIT("\x30\x08\0\1t\3\x23\0\2x\x30\x07\0\0\3\x23\0\2y"));
	say(&p, LIT("\x30\x08\0\1u\3\x23\0\2z\x30\x07\0\0\3\x23\0\2a"));
	peer_expect("topics", p.log, "[t=x q0][t=y q0][u=z q0][u=a q0]");
	/* They end with the connection [MQTT-3.3.2-7]. */
	peer_send(&p, LIT("\xe0\0"));
	assert_int_equal(peer_settle(&p), NJ_DENIED);
	peer_accept(&p, MQTT5);
	peer_send(&p, LIT("\x30\x07\0\0\3\x23\0\2y"));
	assert_int_equal(peer_settle(&p), NJ_PROTOCOL);
	peer_free(&p);
}

/* After client_hold nothing new is taken, but what was begun is ended. */
static void
hold(void **state)
{
	struct peer p;

	up(&p, MQTT311, false);
	p.hold = true;
	say(&p, LIT("\x34\6\0\1t\0\1x\x32\6\0\1t\0\2y\x34\6\0\1t\0\3z"));
	peer_expect("one only", p.log, "[t=x q2]");
	peer_expect("PUBREC of it", peer_got(&p), "50 02 00 01");
	say(&p, LIT("\x62\2\0\1"));
	peer_expect("PUBCOMP of it", peer_got(&p), "70 02 00 01");
	assert_int_equal(client_unanswered(p.c), 0);
	peer_free(&p);
}

/* DISCONNECT goes behind the acknowledgement of the message that caused it. */
static void
disconnect_within(void **state)
{
	struct peer p;

	up(&p, MQTT311, false);
	p.disconnect = true;
	p.answer = "a";
	peer_send(&p, LIT("\x32\6\0\1t\0\1x\x32\6\0\1t\0\2y"));
	assert_int_equal(peer_settle(&p), NJ_EOF);
	peer_expect("order", peer_got(&p), "30 03 00 01 61 40 02 00 01 e0 00");
	peer_expect("nothing after it", p.log, "[t=x q1]");
	peer_free(&p);
}

/* What the client sent last while connecting. */
static void
ends(const struct peer *p, const char *want)
{
	size_t n = strlen(p->opening), w = strlen(want);

	peer_expect("opening", n > w ? p->opening + n - w : "", want);
}

/* The broker kept the session: the same again, with DUP [MQTT-4.4.0-1]. */
static void
resume(void **state)
{
	struct peer p;

	up(&p, MQTT311, true);
	(void)publish(&p, 2, NJ_OK);
	(void)publish(&p, 1, NJ_OK);
	say(&p, LIT("\x50\2\0\1"));
	say(&p, LIT("\x34\6\0\1t\0\x0ax"));
	(void)peer_got(&p);
	peer_send(&p, LIT("\0\0"));
	assert_int_equal(peer_settle(&p), NJ_MALFORMED);
	assert_int_equal(client_unanswered(p.c), 3);
	peer_connect(&p, LIT("\x20\2\1\0"));
	assert_true(client_session_present(p.c));
	assert_int_equal(peer_settle(&p), NJ_OK);
	ends(&p, "62 02 00 01 3a 06 00 01 74 00 02 78");
	/* The one of the broker's is known, too. */
	say(&p, LIT("\x3c\6\0\1t\0\x0ax"));
	peer_expect("not again", p.log, "");
	say(&p, LIT("\x70\2\0\1\x40\2\0\2"));
	peer_expect("the end", p.log, "[published 1 0][published 2 0]");
	peer_free(&p);
}

/* It did not: what it had not taken over is published anew. */
static void
resume_lost(void **state)
{
	struct peer p;

	up(&p, MQTT311, true);
	(void)publish(&p, 2, NJ_OK);
	(void)publish(&p, 1, NJ_OK);
	say(&p, LIT("\x50\2\0\1"));
	(void)peer_got(&p);
	peer_send(&p, LIT("\0\0"));
	assert_int_equal(peer_settle(&p), NJ_MALFORMED);
	p.log[0] = '\0';
	peer_accept(&p, MQTT311);
	assert_int_equal(peer_settle(&p), NJ_OK);
	ends(&p, "32 06 00 01 74 00 02 78");
	assert_int_equal(client_unanswered(p.c), 1);
	peer_free(&p);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(outgoing_qos0),
		cmocka_unit_test(outgoing_qos1),
		cmocka_unit_test(outgoing_qos2),
		cmocka_unit_test(outgoing_wrong_answers),
		cmocka_unit_test(outgoing_refused),
		cmocka_unit_test(outgoing_window),
		cmocka_unit_test(limits_of_the_broker),
		cmocka_unit_test(incoming_qos1),
		cmocka_unit_test(incoming_qos2),
		cmocka_unit_test(incoming_unknown_pubrel),
		cmocka_unit_test(incoming_alias),
		cmocka_unit_test(hold),
		cmocka_unit_test(disconnect_within),
		cmocka_unit_test(resume),
		cmocka_unit_test(resume_lost),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
