/* SPDX-License-Identifier: Apache-2.0 */
#include "rows.h"

#include "wire/http.h"

#define LINE "GET /mqtt HTTP/1.1\r\n"
#define HOST "Host: broker.example:9001\r\n"
#define UP   "Upgrade: websocket\r\nConnection: Upgrade\r\n"
#define KEY  "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
#define V13  "Sec-WebSocket-Version: 13\r\n"
#define MQTT "Sec-WebSocket-Protocol: mqtt\r\n"
#define ALL  LINE HOST UP KEY V13 MQTT

static const struct {
	const char *why;
	struct slice in;
	unsigned status;  /* 0: taken */
	const char *says; /* the subprotocol when it was taken */
} rows[] = {
	{ "plain", B(ALL "\r\n"), 0, "mqtt" },
	{ "no blanks, other cases",
	    B("GET / HTTP/1.1\r\nhOST:x\r\nUPGRADE:WebSocket\r\n"
	      "connection:keep-alive, UPGRADE\r\n"
	      "sec-websocket-key:dGhlIHNhbXBsZSBub25jZQ==\r\n"
	      "sec-websocket-version:13\r\n"
	      "sec-websocket-protocol:mqtt\r\n\r\n"),
	    0, "mqtt" },
	{ "more blanks",
	    B(LINE HOST UP KEY "Sec-WebSocket-Version: \t 13 \t\r\n" MQTT
			       "\r\n"),
	    0, "mqtt" },
	{ "of several subprotocols",
	    B(LINE HOST UP KEY V13
		"Sec-WebSocket-Protocol: chat, mqttv3.1, mqtt\r\n\r\n"),
	    0, "mqtt" },
	{ "mqttv3.1",
	    B(LINE HOST UP KEY V13 "Sec-WebSocket-Protocol: mqttv3.1\r\n\r\n"),
	    0, "mqttv3.1" },
	{ "in two fields",
	    B(LINE HOST UP KEY V13 "Sec-WebSocket-Protocol: chat\r\n" MQTT
				   "\r\n"),
	    0, "mqtt" },
	{ "extensions are not taken up",
	    B(ALL "Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n"), 0,
	    "mqtt" },
	{ "an empty body", B(ALL "Content-Length: 0\r\n\r\n"), 0, "mqtt" },
	{ "a proxy's target",
	    B("GET http://x/mqtt HTTP/1.1\r\n" HOST UP KEY V13 MQTT "\r\n"), 0,
	    "mqtt" },
	{ "bytes above 0x7f in a value", B(ALL "X: \xff\r\n\r\n"), 0, "mqtt" },

	{ "a page", B(LINE HOST "\r\n"), 426, "without WebSocket" },
	{ "upgrade to something else",
	    B(LINE HOST "Upgrade: h2c\r\nConnection: Upgrade\r\n" KEY V13 MQTT
			"\r\n"),
	    426, "without WebSocket" },
	{ "Connection without upgrade",
	    B(LINE HOST
		"Upgrade: websocket\r\nConnection: close\r\n" KEY V13 MQTT
		"\r\n"),
	    426, "without WebSocket" },
	{ "version 8",
	    B(LINE HOST UP KEY "Sec-WebSocket-Version: 8\r\n" MQTT "\r\n"), 426,
	    "not 13" },
	{ "version 013",
	    B(LINE HOST UP KEY "Sec-WebSocket-Version: 013\r\n" MQTT "\r\n"),
	    426, "not 13" },
	{ "no version", B(LINE HOST UP KEY MQTT "\r\n"), 400, "Version" },
	{ "no key", B(LINE HOST UP V13 MQTT "\r\n"), 400, "Key" },
	{ "a short key",
	    B(LINE HOST UP V13 MQTT "Sec-WebSocket-Key: dGhl\r\n\r\n"), 400,
	    "Key" },
	{ "a key that is no base64",
	    B(LINE HOST UP V13 MQTT
		"Sec-WebSocket-Key: dGhlIHNhbXBs!SBub25jZQ==\r\n\r\n"),
	    400, "Key" },
	{ "no subprotocol", B(LINE HOST UP KEY V13 "\r\n"), 400,
	    "subprotocol" },
	{ "another subprotocol",
	    B(LINE HOST UP KEY V13
		"Sec-WebSocket-Protocol: MQTT, mqttx\r\n\r\n"),
	    400, "subprotocol" },
	{ "no host", B(LINE UP KEY V13 MQTT "\r\n"), 400, "Host" },
	{ "POST", B("POST / HTTP/1.1\r\n" HOST UP KEY V13 MQTT "\r\n"), 405,
	    "GET" },
	{ "get", B("get / HTTP/1.1\r\n" HOST UP KEY V13 MQTT "\r\n"), 405,
	    "GET" },
	{ "HTTP/1.0", B("GET / HTTP/1.0\r\n" HOST "\r\n"), 505, "1.1" },
	{ "HTTP/2", B("PRI * HTTP/2.0\r\n\r\n"), 505, "1.1" },
	{ "no version of HTTP", B("GET /\r\n\r\n"), 400, "first line" },
	{ "no target", B("GET  HTTP/1.1\r\n\r\n"), 400, "first line" },
	{ "a control in the target", B("GET /\x01 HTTP/1.1\r\n\r\n"), 400,
	    "first line" },
	{ "two blanks", B("GET / HTTP/1.1 x\r\n\r\n"), 505, "1.1" },
	{ "an asterisk", B("GET * HTTP/1.1\r\n" HOST "\r\n"), 400, "path" },

	/* another request in the same bytes */
	{ "chunks", B(ALL "Transfer-Encoding: chunked\r\n\r\n"), 400, "body" },
	{ "a body", B(ALL "Content-Length: 5\r\n\r\nhello"), 400, "body" },
	{ "two lengths",
	    B(ALL "Content-Length: 0\r\nContent-Length: 0\r\n\r\n"), 400,
	    "twice" },
	{ "two hosts in one",
	    B(LINE "Host: a.example, b.example\r\n" UP KEY V13 MQTT "\r\n"),
	    400, "Host is no" },
	{ "a host with a user", B(LINE "Host: a@b\r\n" UP KEY V13 MQTT "\r\n"),
	    400, "Host is no" },
	{ "an IPv6 host",
	    B(LINE "Host: [fd00::1]:8884\r\n" UP KEY V13 MQTT "\r\n"), 0,
	    "mqtt" },
	{ "an empty host", B(LINE "Host:\r\n" UP KEY V13 MQTT "\r\n"), 0,
	    "mqtt" },
	{ "two hosts", B(ALL HOST "\r\n"), 400, "twice" },
	{ "two keys", B(ALL KEY "\r\n"), 400, "twice" },
	{ "two upgrades", B(ALL "Upgrade: websocket\r\n\r\n"), 400, "twice" },
	{ "two versions", B(ALL V13 "\r\n"), 400, "twice" },
	{ "two origins", B(ALL "Origin: a\r\norigin: b\r\n\r\n"), 400,
	    "twice" },
	{ "a blank before the colon", B(ALL "X : y\r\n\r\n"), 400,
	    "no header" },
	{ "no colon", B(ALL "X\r\n\r\n"), 400, "no header" },
	{ "no name", B(ALL ": x\r\n\r\n"), 400, "no header" },
	{ "folded", B(ALL "X: y\r\n z\r\n\r\n"), 400, "folded" },
	{ "only LF", B("GET / HTTP/1.1\nHost: x\n\n"), 400, "CRLF" },
	{ "an LF inside", B(ALL "X: y\n\r\n"), 400, "CRLF" },
	{ "a CR inside", B(ALL "X: y\rz: a\r\n\r\n"), 400, "CR stands" },
	{ "NUL", B(ALL "X: a\0b\r\n\r\n"), 400, "control" },
	{ "DEL", B(ALL "X: a\x7f\r\n\r\n"), 400, "control" },
};

static void
requests(void **state)
{
	(void)state;
	for (size_t i = 0; i < LEN(rows); i++) {
		struct slice s = tight(rows[i].in), at = s;
		struct http_upgrade u;
		enum nj_err e = http_take_upgrade(&at, HTTP_HEAD_USUAL, &u);
		const char *says = e ? u.why : u.protocol;

		check_err(rows[i].why, e, rows[i].status ? NJ_PROTOCOL : NJ_OK);
		if (u.status != rows[i].status || !strstr(says, rows[i].says)) {
			print_error("%s: %u %s\n", rows[i].why, u.status, says);
			fail();
		}
		check_true(rows[i].why, e ? at.n == s.n : at.n == 0);
		tight_free(s);
	}
}

/* Whatever its pieces, a request is judged alike, and not before its end. */
static void
pieces(void **state)
{
	(void)state;
	for (size_t i = 0; i < LEN(rows); i++)
		for (size_t n = 0; n < rows[i].in.n; n++) {
			struct slice s = tight(slice_of(rows[i].in.p, n));
			struct slice at = s;
			struct http_upgrade u;
			enum nj_err e =
			    http_take_upgrade(&at, HTTP_HEAD_USUAL, &u);

			tight_free(s);
			check_true(rows[i].why, e != NJ_OK);
			if (e == NJ_PROTOCOL)
				check_true(
				    rows[i].why, u.status == rows[i].status);
		}
}

static void
what_it_says(void **state)
{
	struct slice in =
	    LIT(ALL "Origin: https://example.org\r\n\r\n\x82\x80");
	struct http_upgrade u;

	(void)state;
	assert_int_equal(http_take_upgrade(&in, HTTP_HEAD_USUAL, &u), NJ_OK);
	check_slice("target", u.target, LIT("/mqtt"));
	check_slice("host", u.host, LIT("broker.example:9001"));
	check_slice("origin", u.origin, LIT("https://example.org"));
	check_slice("key", u.key, LIT("dGhlIHNhbXBsZSBub25jZQ=="));
	check_slice("rest", in, LIT("\x82\x80"));
}

static void
strangers(void **state)
{
	const struct slice firsts[] = { B("\x10"), B("\x16\x03\x01"),
		B("\r\nGET"), B("\0"), B(" GET"), B("\xff"), B("1") };

	(void)state;
	for (size_t i = 0; i < LEN(firsts); i++) {
		struct slice in = firsts[i];
		struct http_upgrade u;

		assert_int_equal(
		    http_take_upgrade(&in, HTTP_HEAD_USUAL, &u), NJ_PROTOCOL);
		assert_int_equal(u.status, 0);
	}
}

static void
bounds(void **state)
{
	struct buf b = { 0 };
	struct http_upgrade u;
	struct slice in;

	(void)state;
	assert_int_equal(buf_put_slice(&b, LIT(ALL "X: ")), NJ_OK);
	while (buf_len(&b) < HTTP_HEAD_USUAL - 4)
		assert_int_equal(buf_put_u8(&b, 'x'), NJ_OK);
	in = buf_slice(&b);
	assert_int_equal(http_take_upgrade(&in, HTTP_HEAD_USUAL, &u), NJ_AGAIN);
	assert_int_equal(buf_put_slice(&b, LIT("\r\n\r\n")), NJ_OK);
	in = buf_slice(&b);
	assert_int_equal(http_take_upgrade(&in, HTTP_HEAD_USUAL, &u), NJ_OK);
	buf_truncate(&b, HTTP_HEAD_USUAL - 4);
	assert_int_equal(buf_put_slice(&b, LIT("x\r\n\r\n")), NJ_OK);
	in = buf_slice(&b);
	assert_int_equal(
	    http_take_upgrade(&in, HTTP_HEAD_USUAL, &u), NJ_PROTOCOL);
	assert_int_equal(u.status, 431);
	buf_fini(&b);

	assert_int_equal(buf_put_slice(&b, LIT(ALL)), NJ_OK);
	for (int i = 6; i < HTTP_FIELDS_MAX; i++)
		assert_int_equal(buf_put_slice(&b, LIT("X: y\r\n")), NJ_OK);
	assert_int_equal(buf_put_slice(&b, LIT("\r\n")), NJ_OK);
	in = buf_slice(&b);
	assert_int_equal(http_take_upgrade(&in, HTTP_HEAD_USUAL, &u), NJ_OK);
	buf_truncate(&b, buf_len(&b) - 2);
	assert_int_equal(buf_put_slice(&b, LIT("X: y\r\n\r\n")), NJ_OK);
	in = buf_slice(&b);
	assert_int_equal(
	    http_take_upgrade(&in, HTTP_HEAD_USUAL, &u), NJ_PROTOCOL);
	assert_int_equal(u.status, 431);
	buf_fini(&b);
}

#define ACCEPT "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
#define AGREED "HTTP/1.1 101 Switching Protocols\r\n"
#define PROOF  "Sec-WebSocket-Accept: " ACCEPT "\r\n"

/* RFC 6455 4.1, what a client must check of the answer. */
static void
answers(void **state)
{
	const struct {
		const char *why;
		struct slice in;
		unsigned status;
		const char *says; /* NULL: taken */
	} answer_rows[] = {
		{ "plain", B(AGREED UP PROOF MQTT "\r\n"), 101, NULL },
		{ "other cases and fields",
		    B("HTTP/1.1 101\r\nupgrade:WebSocket\r\nSERVER: x\r\n"
		      "connection: keep-alive, upgrade\r\n" PROOF MQTT "\r\n"),
		    101, NULL },
		{ "no extension",
		    B(AGREED UP PROOF MQTT "Sec-WebSocket-Extensions:\r\n\r\n"),
		    101, NULL },
		{ "refused", B("HTTP/1.1 403 Forbidden\r\n\r\n"), 403,
		    "does not agree" },
		{ "refused by an older one", B("HTTP/1.0 404 x\r\n\r\n"), 404,
		    "does not agree" },
		{ "HTTP/1.0", B("HTTP/1.0 101 x\r\n" UP PROOF MQTT "\r\n"), 101,
		    "not HTTP/1.1" },
		{ "no status", B("HTTP/1.1 10 x\r\n\r\n"), 0, "no status" },
		{ "letters", B("HTTP/1.1 1o1 x\r\n\r\n"), 0, "no status" },
		{ "nothing like it", B("SSH-2.0-x\r\n\r\n"), 0,
		    "not HTTP/1.1" },
		{ "no text", B("\x20\x02\x00\x00"), 0, "no HTTP" },
		{ "no upgrade",
		    B(AGREED "Connection: Upgrade\r\n" PROOF MQTT "\r\n"), 101,
		    "does not upgrade" },
		{ "another upgrade",
		    B(AGREED
			"Upgrade: h2c\r\nConnection: Upgrade\r\n" PROOF MQTT
			"\r\n"),
		    101, "does not upgrade" },
		{ "no connection",
		    B(AGREED "Upgrade: websocket\r\n" PROOF MQTT "\r\n"), 101,
		    "does not upgrade" },
		{ "no proof", B(AGREED UP MQTT "\r\n"), 101, "our key" },
		{ "a wrong proof",
		    B(AGREED UP "Sec-WebSocket-Accept: "
				"S3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n" MQTT "\r\n"),
		    101, "our key" },
		{ "twice", B(AGREED UP PROOF PROOF MQTT "\r\n"), 101, "twice" },
		{ "an extension",
		    B(AGREED UP PROOF MQTT
			"Sec-WebSocket-Extensions: x\r\n\r\n"),
		    101, "extension" },
		{ "no subprotocol", B(AGREED UP PROOF "\r\n"), 101,
		    "subprotocol" },
		{ "another subprotocol",
		    B(AGREED UP PROOF "Sec-WebSocket-Protocol: x\r\n\r\n"), 101,
		    "subprotocol" },
		{ "a folded line", B(AGREED UP " x\r\n\r\n"), 101, "no field" },
		{ "no colon", B(AGREED "x\r\n\r\n"), 101, "no field" },
		{ "a CR alone", B(AGREED "X: a\rb\r\n\r\n"), 101, "no HTTP" },
		{ "no CR", B("HTTP/1.1 101\n\n"), 0, "no HTTP" },
	};

	(void)state;
	for (size_t i = 0; i < LEN(answer_rows); i++) {
		struct slice all = answer_rows[i].in, in;
		const char *why = answer_rows[i].why;
		struct http_answer a;
		size_t n = 0;
		enum nj_err e;

		do { /* in pieces it is the same */
			in = slice_of(all.p, n);
			e = http_take_answer(&in, ACCEPT, &a);
		} while (e == NJ_AGAIN && n++ < all.n);
		check_err(why, e, answer_rows[i].says ? NJ_PROTOCOL : NJ_OK);
		check_true(why, a.status == answer_rows[i].status);
		check_true(why, in.n == 0 || e);
		check_true(why, !e || strstr(a.why, answer_rows[i].says));
	}
}

static void
phrases(void **state)
{
	(void)state;
	assert_string_equal(http_phrase(426), "Upgrade Required");
	assert_string_equal(http_phrase(403), "Forbidden");
	assert_string_equal(http_phrase(77), "Internal Server Error");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(requests),
		cmocka_unit_test(pieces),
		cmocka_unit_test(what_it_says),
		cmocka_unit_test(strangers),
		cmocka_unit_test(bounds),
		cmocka_unit_test(answers),
		cmocka_unit_test(phrases),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
