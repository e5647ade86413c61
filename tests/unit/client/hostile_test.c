/* SPDX-License-Identifier: Apache-2.0
 * A broker that means harm, or is broken: every packet here ends the
 * connection with a reason, whether it comes at once or byte by byte.
 */
#include "peer.h"

#include <sys/socket.h>
#include <unistd.h>

struct row {
	const char *why;
	enum mqtt_ver v;
	struct slice bytes;
	enum nj_err want;
};

#define B(s)                                        \
	{                                           \
		(const uint8_t *)(s), sizeof(s) - 1 \
	}

static const struct row rows[] = {
	{ "SUBACK without codes", MQTT311, B("\x90\x02\0\1"), NJ_MALFORMED },
	{ "SUBACK without codes", MQTT5, B("\x90\x03\0\1\0"), NJ_MALFORMED },
	{ "SUBACK without anything", MQTT311, B("\x90\0"), NJ_MALFORMED },
	{ "SUBACK with too many codes", MQTT311, B("\x90\x04\0\1\0\0"),
	    NJ_PROTOCOL },
	{ "SUBACK of another id", MQTT311, B("\x90\x03\0\7\0"), NJ_PROTOCOL },
	{ "SUBACK with QoS 3", MQTT311, B("\x90\x03\0\1\3"), NJ_MALFORMED },
	{ "UNSUBACK nobody asked for", MQTT311, B("\xb0\x02\0\1"),
	    NJ_PROTOCOL },
	{ "a second CONNACK", MQTT311, B("\x20\x02\0\0"), NJ_PROTOCOL },
	{ "PUBLISH with QoS 3", MQTT311, B("\x36\x05\0\1t\0\1"), NJ_MALFORMED },
	{ "PUBLISH with id 0", MQTT311, B("\x32\x05\0\1t\0\0"), NJ_PROTOCOL },
	{ "PUBLISH without topic", MQTT311, B("\x30\x02\0\0"), NJ_PROTOCOL },
	{ "PUBLISH with a wildcard", MQTT311, B("\x30\x03\0\1#"), NJ_PROTOCOL },
	{ "PUBLISH with a topic behind its end", MQTT311, B("\x30\x03\0\x05t"),
	    NJ_MALFORMED },
	{ "PUBLISH whose topic is no UTF-8", MQTT311, B("\x30\x03\0\1\xff"),
	    NJ_MALFORMED },
	{ "PUBLISH with a NUL in its topic", MQTT311, B("\x30\x03\0\1\0"),
	    NJ_MALFORMED },
	{ "alias 0", MQTT5, B("\x30\x07\0\1t\3\x23\0\0"), NJ_PROTOCOL },
	{ "alias above the maximum", MQTT5, B("\x30\x07\0\1t\3\x23\0\3"),
	    NJ_PROTOCOL },
	{ "alias without a topic", MQTT5, B("\x30\x06\0\0\3\x23\0\1"),
	    NJ_PROTOCOL },
	{ "no topic and no alias", MQTT5, B("\x30\x03\0\0\0"), NJ_PROTOCOL },
	{ "properties longer than the packet", MQTT5, B("\x30\x04\0\1t\x7f"),
	    NJ_MALFORMED },
	{ "CONNECT from a broker", MQTT311, B("\x10\0"), NJ_PROTOCOL },
	{ "SUBSCRIBE from a broker", MQTT311, B("\x82\x06\0\1\0\1t\0"),
	    NJ_PROTOCOL },
	{ "PINGREQ from a broker", MQTT311, B("\xc0\0"), NJ_PROTOCOL },
	{ "DISCONNECT below 5.0", MQTT311, B("\xe0\0"), NJ_PROTOCOL },
	{ "AUTH", MQTT5, B("\xf0\0"), NJ_PROTOCOL },
	{ "AUTH below 5.0", MQTT311, B("\xf0\0"), NJ_MALFORMED },
	{ "type 0", MQTT311, B("\0\0"), NJ_MALFORMED },
	{ "PINGRESP with a body", MQTT311, B("\xd0\1x"), NJ_MALFORMED },
	{ "a length of five bytes", MQTT311, B("\x30\xff\xff\xff\xff\1"),
	    NJ_MALFORMED },
	{ "a length not in its shortest form", MQTT311, B("\x30\x80\0"),
	    NJ_MALFORMED },
	{ "more than we take", MQTT311, B("\x30\xff\xff\xff\x7f"), NJ_TOOBIG },
	{ "more than we said we take", MQTT5, B("\x30\xe9\x07"), NJ_TOOBIG },
	{ "PUBACK with a code of others", MQTT5, B("\x40\3\0\1\x8d"),
	    NJ_MALFORMED },
	{ "DISCONNECT: shutting down", MQTT5, B("\xe0\1\x8b"), NJ_DENIED },
	{ "HTTP", MQTT311, B("HTTP/1.1 400 Bad Request\r\n\r\n"),
	    NJ_MALFORMED },
};

static void
start(struct peer *p, enum mqtt_ver v)
{
	struct props props = { .seen = PROP_BIT(PROP_TOPIC_ALIAS_MAX) |
		    PROP_BIT(PROP_MAX_PACKET_SIZE) | PROP_BIT(PROP_RECEIVE_MAX),
		.topic_alias_max = 2,
		.max_packet_size = 1000,
		.receive_max = 2 };
	struct client_opts o = { .version = v,
		.client_id = "c",
		.props = v == MQTT5 ? &props : NULL,
		.max_packet = 100000 };
	struct subscription s = { .filter = LIT("t") };

	peer_new(p, &o);
	peer_accept(p, v);
	assert_int_equal(client_subscribe(p->c, &s, 1, NULL, NULL), NJ_OK);
	assert_int_equal(peer_settle(p), NJ_OK);
	(void)peer_got(p);
}

/* Which of the two a fault is, is for the tests of wire/ to know. */
static enum nj_err
broken(enum nj_err e)
{
	return e == NJ_MALFORMED ? NJ_PROTOCOL : e;
}

static void
check(const struct row *r, const struct peer *p, enum nj_err e)
{
	if (broken(e) != broken(r->want) || !p->why.what[0] ||
	    client_connected(p->c)) {
		print_error("%s: got \"%s\" (%s), wanted \"%s\"\n", r->why,
		    nj_strerror(e), p->why.what, nj_strerror(r->want));
		fail();
	}
}

static void
refuses(void **state)
{
	for (size_t i = 0; i < LEN(rows); i++) {
		struct peer p;

		start(&p, rows[i].v);
		peer_send(&p, rows[i].bytes);
		check(&rows[i], &p, peer_settle(&p));
		peer_free(&p);
	}
}

static void
refuses_byte_by_byte(void **state)
{
	for (size_t i = 0; i < LEN(rows); i++) {
		enum nj_err e = NJ_OK;
		struct peer p;

		start(&p, rows[i].v);
		for (size_t n = 0; !e && n < rows[i].bytes.n; n++) {
			peer_send(&p, slice_of(rows[i].bytes.p + n, 1));
			e = client_step(p.c, 100, &p.why);
		}
		check(&rows[i], &p, e);
		peer_free(&p);
	}
}

/* MQTT 5.0 4.13: the broker is told. */
static void
complains(void **state)
{
	struct peer p;

	start(&p, MQTT5);
	peer_send(&p, LIT("\x30\x03\0\0\0"));
	assert_int_equal(peer_settle(&p), NJ_PROTOCOL);
	peer_expect("DISCONNECT", peer_got(&p), "e0 01 82");
	peer_free(&p);
	start(&p, MQTT311);
	peer_send(&p, LIT("\x30\x02\0\0"));
	assert_int_equal(peer_settle(&p), NJ_PROTOCOL);
	peer_expect("nothing below 5.0", peer_got(&p), "");
	peer_free(&p);
}

/* [MQTT-3.3.4-9]: more QoS 2 in flight than we allowed. */
static void
counts_what_is_in_flight(void **state)
{
	struct peer p;

	start(&p, MQTT5);
	peer_send(&p, LIT("\x34\6\0\1t\0\1\0\x34\6\0\1t\0\2\0"));
	assert_int_equal(peer_settle(&p), NJ_OK);
	peer_send(&p, LIT("\x34\6\0\1t\0\3\0"));
	assert_int_equal(peer_settle(&p), NJ_PROTOCOL);
	peer_free(&p);
}

static void
before_connack(void **state)
{
	static const struct row early[] = {
		{ "PUBLISH first", MQTT311, B("\x30\3\0\1t"), NJ_PROTOCOL },
		{ "PINGRESP first", MQTT311, B("\xd0\0"), NJ_PROTOCOL },
		{ "CONNACK of one byte", MQTT311, B("\x20\1\0"), NJ_MALFORMED },
		{ "CONNACK with reserved flags", MQTT311, B("\x20\2\2\0"),
		    NJ_MALFORMED },
		{ "CONNACK with code 9", MQTT311, B("\x20\2\0\x09"),
		    NJ_MALFORMED },
		{ "a session that was not asked for", MQTT311, B("\x20\2\1\0"),
		    NJ_PROTOCOL },
		{ "receive maximum 0", MQTT5, B("\x20\6\0\0\3\x21\0\0"),
		    NJ_PROTOCOL },
		{ "not authorized", MQTT311, B("\x20\2\0\5"), NJ_DENIED },
		{ "not authorized", MQTT5, B("\x20\3\0\x87\0"), NJ_DENIED },
		{ "a TLS alert", MQTT311, B("\x15\3\1\0\2\2\x46"), NJ_TLS },
		{ "the end", MQTT311, B(""), NJ_EOF },
	};

	for (size_t i = 0; i < LEN(early); i++) {
		struct client_opts o = { .version = early[i].v };
		struct peer p;
		int fds[2];

		peer_new(&p, &o);
		assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
		p.fd = fds[0];
		peer_send(&p, early[i].bytes);
		if (early[i].want == NJ_EOF)
			assert_int_equal(shutdown(p.fd, SHUT_WR), 0);
		check(&early[i], &p,
		    client_connect_fd(p.c, fds[1], 2000, &p.why));
		peer_free(&p);
	}
}

/* Nobody answers: the deadline holds. */
static void
silence(void **state)
{
	struct client_opts o = { .version = MQTT311 };
	struct peer p;
	int fds[2];

	peer_new(&p, &o);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
	p.fd = fds[0];
	assert_int_equal(
	    client_connect_fd(p.c, fds[1], 50, &p.why), NJ_TIMEOUT);
	peer_free(&p);
}

/* [MQTT-3.1.2-24] the other way: a broker that answers no ping is gone. */
static void
no_pingresp(void **state)
{
	struct client_opts o = { .version = MQTT311, .keep_alive = 1 };
	enum nj_err e = NJ_OK;
	struct peer p;

	peer_new(&p, &o);
	peer_accept(&p, MQTT311);
	for (unsigned i = 0; !e && i < 20; i++)
		e = client_step(p.c, 500, &p.why);
	assert_int_equal(e, NJ_TIMEOUT);
	peer_expect("PINGREQ", peer_got(&p), "c0 00");
	peer_free(&p);
}

/* A broker that sends and never reads: our answers do not grow for ever. */
static void
never_reads(void **state)
{
	struct client_opts o = { .version = MQTT311 };
	static uint8_t many[7 * 512];
	size_t sent = 0;
	struct peer p;

	for (size_t i = 0; i < sizeof many; i += 7)
		memcpy(many + i, "\x32\5\0\1t\0\1", 7);
	peer_new(&p, &o);
	peer_accept(&p, MQTT311);
	for (unsigned i = 0; i < 20000; i++) {
		ssize_t n =
		    write(p.fd, many + sent % 7, sizeof many - sent % 7);

		if (n > 0)
			sent += (size_t)n;
		assert_int_equal(client_step(p.c, 0, &p.why), NJ_OK);
		assert_true(client_unsent(p.c) < 2 * CLIENT_UNSENT_MAX);
		if (n < 0 && client_unsent(p.c) > CLIENT_UNSENT_MAX)
			break;
	}
	assert_true(client_unsent(p.c) > CLIENT_UNSENT_MAX);
	peer_free(&p);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(refuses),
		cmocka_unit_test(refuses_byte_by_byte),
		cmocka_unit_test(complains),
		cmocka_unit_test(counts_what_is_in_flight),
		cmocka_unit_test(before_connack),
		cmocka_unit_test(silence),
		cmocka_unit_test(no_pingresp),
		cmocka_unit_test(never_reads),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
