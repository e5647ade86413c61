/* SPDX-License-Identifier: Apache-2.0 */
#include "peer.h"

#include <sys/socket.h>
#include <unistd.h>

static void
options_refused(void **state)
{
	struct secret *pw = NULL;
	struct will will = { .topic = LIT("w"), .payload = LIT("gone") };

	assert_int_equal(secret_new(LIT("pw"), &pw), NJ_OK);
	const struct {
		const char *why;
		struct client_opts o;
		enum nj_err want;
	} rows[] = {
		{ "nothing said", { .host = NULL }, NJ_OK },
		{ "3.1 without id", { .version = MQTT31 }, NJ_INVALID },
		{ "3.1 with a long id",
		    { .version = MQTT31,
			.client_id = "123456789012345678901234" },
		    NJ_INVALID },
		{ "3.1 with 23 bytes of id",
		    { .version = MQTT31,
			.client_id = "12345678901234567890123" },
		    NJ_OK },
		{ "a session without id", { .persistent = true }, NJ_INVALID },
		{ "the same in 5.0", { .persistent = true, .version = MQTT5 },
		    NJ_OK },
		{ "a password without user", { .password = pw }, NJ_INVALID },
		{ "the same in 5.0", { .password = pw, .version = MQTT5 },
		    NJ_OK },
		{ "a will", { .will = &will }, NJ_OK },
	};

	for (size_t i = 0; i < LEN(rows); i++) {
		struct nj_why why = { .what = "" };
		struct client *c = NULL;
		enum nj_err e = client_new(&rows[i].o, &c, &why);

		if (e != rows[i].want || (e && !why.what[0])) {
			print_error(
			    "%s: \"%s\"\n", rows[i].why, nj_strerror(e));
			fail();
		}
		client_free(c);
	}
	secret_free(pw);
}

static void
connect_packet(void **state)
{
	struct secret *pw = NULL;
	struct will will = {
		.topic = LIT("w"), .payload = LIT("g"), .qos = 1, .retain = true
	};
	struct client_opts o = { .client_id = "id",
		.username = "u",
		.keep_alive = 10,
		.will = &will };
	struct peer p;
	int fds[2];

	assert_int_equal(secret_new(LIT("pw"), &pw), NJ_OK);
	o.password = pw;
	peer_new(&p, &o);
	secret_free(pw); /* it was copied */
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
	p.fd = fds[0];
	peer_send(&p, LIT("\x20\2\0\0"));
	assert_int_equal(client_connect_fd(p.c, fds[1], 2000, &p.why), NJ_OK);
	peer_expect("CONNECT", peer_got(&p),
	    "10 1b 00 04 4d 51 54 54 04 ee 00 0a 00 02 69 64 00 01 77 00 01 67 "
	    "00 01 75 00 02 70 77");
	peer_free(&p);
}

static void
connack_is_kept(void **state)
{
	struct client_opts o = { .version = MQTT5, .keep_alive = 60 };
	struct peer p;

	peer_new(&p, &o);
	/* assigned client id "abc", server keep alive 1 */
	peer_connect(&p,
	    LIT("\x20\x0c\0\0\x09\x12\0\3"
		"abc\x13\0\1"));
	assert_string_equal(client_id(p.c), "abc");
	assert_false(client_session_present(p.c));
	assert_true(client_connected(p.c));
	assert_null(client_tls(p.c));
	/* [MQTT-3.1.2-21]: a ping after its second, not after our minute. */
	for (unsigned i = 0; i < 10; i++)
		assert_int_equal(client_step(p.c, 120, &p.why), NJ_OK);
	peer_expect("PINGREQ", peer_got(&p), "c0 00");
	peer_send(&p, LIT("\xd0\0"));
	assert_int_equal(peer_settle(&p), NJ_OK);
	peer_free(&p);
}

static void
requests(void **state)
{
	struct subscription s[] = { { .filter = LIT("a"), .qos = 1 },
		{ .filter = LIT("b/#"), .qos = 2 } };
	struct slice u[] = { LIT("a") };
	struct client_opts o = { .version = MQTT311 };
	uint16_t id = 0;
	struct peer p;

	peer_new(&p, &o);
	assert_int_equal(client_subscribe(p.c, s, 2, NULL, NULL), NJ_EOF);
	peer_accept(&p, MQTT311);
	assert_int_equal(client_subscribe(p.c, s, 0, NULL, NULL), NJ_INVALID);
	assert_int_equal(client_subscribe(p.c, s, 2, NULL, &id), NJ_OK);
	assert_int_equal(client_unsubscribe(p.c, u, 1, NULL, NULL), NJ_OK);
	assert_int_equal(peer_settle(&p), NJ_OK);
	peer_expect("packets", peer_got(&p),
	    "82 0c 00 01 00 01 61 01 00 03 62 2f 23 02 a2 05 00 02 00 01 61");
	peer_send(&p, LIT("\xb0\2\0\2\x90\4\0\1\1\x80"));
	assert_int_equal(peer_settle(&p), NJ_OK);
	peer_expect("answers", p.log, "[unsubscribed 2 0][subscribed 1 1 128]");
	assert_int_equal(client_unanswered(p.c), 0);
	for (unsigned i = 0; i < CLIENT_REQUESTS_MAX; i++)
		assert_int_equal(
		    client_subscribe(p.c, s, 1, NULL, NULL), NJ_OK);
	assert_int_equal(client_subscribe(p.c, s, 1, NULL, NULL), NJ_FULL);
	peer_free(&p);
}

/* A thousand packets at once, and the same byte by byte. */
static void
fragments(void **state)
{
	struct client_opts o = { .version = MQTT311 };
	struct buf all = { 0 };
	struct peer p;

	for (unsigned i = 0; i < 300; i++)
		assert_int_equal(buf_put(&all, "\x32\6\0\1t\0\1x", 8), NJ_OK);
	for (unsigned way = 0; way < 2; way++) {
		size_t step = way ? 1 : buf_len(&all);

		peer_new(&p, &o);
		peer_accept(&p, MQTT311);
		for (size_t at = 0; at < buf_len(&all); at += step) {
			peer_send(&p, slice_of(buf_slice(&all).p + at, step));
			assert_int_equal(client_step(p.c, 0, &p.why), NJ_OK);
		}
		assert_int_equal(strlen(p.log), 300 * strlen("[t=x q1]"));
		peer_free(&p);
	}
	buf_fini(&all);
}

static void
disconnect(void **state)
{
	struct client_opts o = { .version = MQTT5 };
	struct props props = { .seen = PROP_BIT(PROP_SESSION_EXPIRY),
		.session_expiry = 7 };
	struct peer p;

	peer_new(&p, &o);
	assert_int_equal(client_step(p.c, 0, &p.why), NJ_EOF);
	assert_int_equal(client_disconnect(p.c, 0, NULL), NJ_EOF);
	peer_accept(&p, MQTT5);
	assert_int_equal(
	    client_disconnect(p.c, RC_DISCONNECT_WITH_WILL, &props), NJ_OK);
	assert_false(client_connected(p.c));
	assert_int_equal(peer_settle(&p), NJ_EOF);
	peer_expect("DISCONNECT", peer_got(&p), "e0 07 04 05 11 00 00 00 07");
	assert_int_equal(client_fd(p.c), -1);
	peer_free(&p);
}

static void
lost(void **state)
{
	struct client_opts o = { .version = MQTT311 };
	struct peer p;

	peer_new(&p, &o);
	peer_accept(&p, MQTT311);
	assert_int_equal(shutdown(p.fd, SHUT_RDWR), 0);
	assert_int_equal(peer_settle(&p), NJ_EOF);
	assert_non_null(strstr(p.why.what, "connection lost"));
	assert_true(p.why.mend[0] != '\0');
	peer_free(&p);
}

static void
beside(void **state)
{
	struct client_opts o = { .version = MQTT311 };
	struct peer p;
	bool readable = true;
	int fds[2];

	assert_int_equal(pipe(fds), 0);
	peer_new(&p, &o);
	peer_accept(&p, MQTT311);
	assert_int_equal(
	    client_step_beside(p.c, 0, fds[0], &readable, &p.why), NJ_OK);
	assert_false(readable);
	assert_int_equal(write(fds[1], "x", 1), 1);
	assert_int_equal(
	    client_step_beside(p.c, -1, fds[0], &readable, &p.why), NJ_OK);
	assert_true(readable);
	peer_free(&p);
	close(fds[0]);
	close(fds[1]);
}

static void
nobody_listens(void **state)
{
	struct client_opts o = { .unix_path = "/nonexistent/socket" };
	struct peer p;

	peer_new(&p, &o);
	assert_int_not_equal(client_connect(p.c, 1000, &p.why), NJ_OK);
	assert_true(p.why.what[0] != '\0');
	peer_free(&p);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(options_refused),
		cmocka_unit_test(connect_packet),
		cmocka_unit_test(connack_is_kept),
		cmocka_unit_test(requests),
		cmocka_unit_test(fragments),
		cmocka_unit_test(disconnect),
		cmocka_unit_test(lost),
		cmocka_unit_test(beside),
		cmocka_unit_test(nobody_listens),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
