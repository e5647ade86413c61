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
		cmocka_unit_test(phrases),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
