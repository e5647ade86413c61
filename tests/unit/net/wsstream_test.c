/* SPDX-License-Identifier: Apache-2.0
 * WebSocket over a socket pair and over TLS; the test plays the client byte by
 * byte.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/buf.h"
#include "net/loop.h"
#include "net/wsstream.h"
#include "site.h"
#include "wire/ws.h"

#define ROWS(a) (sizeof(a) / sizeof *(a))
#define KEY	"\x11\x22\x33\x44"
#define REQUEST(more)                                     \
	"GET /mqtt HTTP/1.1\r\nHost: x\r\n"               \
	"Upgrade: websocket\r\nConnection: Upgrade\r\n"   \
	"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n" \
	"Sec-WebSocket-Version: 13\r\n"                   \
	"Sec-WebSocket-Protocol: mqtt\r\n" more "\r\n"
/* RFC 6455 1.3 has the key and what it becomes. */
#define ANSWER                                                   \
	"HTTP/1.1 101 Switching Protocols\r\n"                   \
	"Upgrade: websocket\r\nConnection: Upgrade\r\n"          \
	"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n" \
	"Sec-WebSocket-Protocol: mqtt\r\n\r\n"

struct ws_pair {
	struct stream *s;
	int raw;
};

static void
ws_open(struct ws_pair *p, const struct ws_opts *o)
{
	static const struct ws_opts none;
	struct stream *inner = NULL;
	int fd[2];

	assert_int_equal(
	    socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fd), 0);
	assert_int_equal(stream_tcp_new(fd[0], &inner), NJ_OK);
	assert_int_equal(stream_ws_new(&inner, o ? o : &none, &p->s), NJ_OK);
	assert_null(inner);
	assert_int_equal(stream_fd(p->s), fd[0]);
	p->raw = fd[1];
}

static void
ws_end(struct ws_pair *p)
{
	stream_free(p->s);
	if (p->raw >= 0)
		(void)close(p->raw);
}

static void
say(struct ws_pair *p, struct slice s)
{
	assert_int_equal(send(p->raw, s.p, s.n, MSG_NOSIGNAL), s.n);
}

/* All that came, at once. */
static struct slice
hear(struct ws_pair *p)
{
	static uint8_t got[1 << 20];
	size_t at = 0;
	ssize_t n;

	while ((n = recv(p->raw, got + at, sizeof got - at, 0)) > 0)
		at += (size_t)n;
	return slice_of(got, at);
}

static void
heard(struct ws_pair *p, struct slice want)
{
	struct slice got = hear(p);

	if (slice_eq(got, want))
		return;
	print_error(
	    "heard %zu bytes: %.*s\n", got.n, (int)got.n, (const char *)got.p);
	fail();
}

static void
ws_upgraded(struct ws_pair *p, const struct ws_opts *o)
{
	ws_open(p, o);
	say(p, LIT(REQUEST("")));
	assert_int_equal(stream_handshake(p->s), NJ_OK);
	heard(p, LIT(ANSWER));
}

static void
request_in_pieces(void **state)
{
	static const char text[] = REQUEST("");
	struct ws_pair p;

	ws_open(&p, NULL);
	assert_int_equal(stream_handshake(p.s), NJ_AGAIN);
	for (size_t i = 0; i < sizeof text - 2; i++) {
		say(&p, slice_of(text + i, 1));
		assert_int_equal(stream_handshake(p.s), NJ_AGAIN);
		assert_int_equal(stream_wants(p.s), LOOP_IN);
	}
	say(&p, LIT("\n"));
	assert_int_equal(stream_handshake(p.s), NJ_OK);
	assert_int_equal(stream_handshake(p.s), NJ_OK);
	heard(&p, LIT(ANSWER));
	assert_false(stream_pending(p.s));
	assert_int_equal(stream_wants(p.s), 0);
	assert_null(stream_tls(p.s));
	ws_end(&p);
}

/* What came together with the request is not lost. */
static void
data_with_the_request(void **state)
{
	struct ws_pair p;
	uint8_t got[64];
	size_t n = 0;

	ws_open(&p, NULL);
	say(&p, LIT(REQUEST("") "\x82\x82" KEY "\x70\x40\x82\x81" KEY));
	assert_int_equal(stream_handshake(p.s), NJ_OK);
	assert_true(stream_pending(p.s));
	for (int i = 0; i < 2; i++) {
		assert_int_equal(stream_read(p.s, got, 1, &n), NJ_OK);
		assert_int_equal(got[0], 'a' + i);
	}
	assert_int_equal(stream_read(p.s, got, 1, &n), NJ_AGAIN);
	assert_false(stream_pending(p.s));
	say(&p, LIT("\x72"));
	assert_int_equal(stream_read(p.s, got, sizeof got, &n), NJ_OK);
	assert_int_equal(n, 1);
	assert_int_equal(got[0], 'c');
	ws_end(&p);
}

static void
refused(void **state)
{
	static const struct {
		struct slice in;
		const char *answer, *why;
	} rows[] = {
		{ LIT("GET / HTTP/1.1\r\nHost: x\r\n\r\n"), "HTTP/1.1 426 ",
		    "HTTP request without WebSocket upgrade" },
		{ LIT("POST / HTTP/1.1\r\nHost: x\r\n\r\n"), "HTTP/1.1 405 ",
		    "not GET" },
		{ LIT("GET / HTTP/1.1\nHost: x\n\n"), "HTTP/1.1 400 ", "CRLF" },
		{ LIT(REQUEST("Origin: http://evil\\\r\n")), "HTTP/1.1 403 ",
		    "Origin http://evil\\x5c is not allowed by "
		    "websockets_origin" },
		{ LIT(REQUEST("Origin: https://a.example/\r\n")),
		    "HTTP/1.1 403 ", "not allowed" },
		{ LIT(REQUEST("Origin: https://a\r\n")), "HTTP/1.1 403 ",
		    "not allowed" },
		{ LIT(REQUEST("Origin: \r\n")), "HTTP/1.1 403 ",
		    "not allowed" },
		{ LIT("\x10\x20"), "", "MQTT without WebSocket" },
		{ LIT("\x16\x03\x01"), "", "TLS to a plain" },
		{ LIT("\x01"), "", "0x01" },
	};
	const struct ws_opts o = { .origins =
				       "https://a.example\nhttps://b.example" };

	for (size_t i = 0; i < ROWS(rows); i++) {
		struct ws_pair p;
		struct slice got;
		size_t n;

		ws_open(&p, &o);
		say(&p, rows[i].in);
		assert_int_equal(stream_handshake(p.s), NJ_PROTOCOL);
		if (!strstr(stream_why(p.s)->what, rows[i].why)) {
			print_error("%s\n", stream_why(p.s)->what);
			fail();
		}
		assert_int_equal(stream_handshake(p.s), NJ_PROTOCOL);
		assert_int_not_equal(
		    stream_write(p.s, (const uint8_t *)"x", 1, &n), NJ_OK);
		stream_shutdown(p.s);
		got = hear(&p);
		assert_true(slice_has_prefix(got, slice_str(rows[i].answer)));
		assert_int_equal(got.n == 0, rows[i].answer[0] == '\0');
		if (got.n) /* and no frame behind the text */
			assert_int_equal(got.p[got.n - 1], '\n');
		ws_end(&p);
	}
}

static void
origins(void **state)
{
	static const char *const good[] = { REQUEST(""),
		REQUEST("Origin: https://a.example\r\n"),
		REQUEST("Origin: HTTPS://B.example\r\n") };
	const struct ws_opts o = { .origins =
				       "https://a.example\nhttps://b.example" };

	for (size_t i = 0; i < ROWS(good); i++) {
		struct ws_pair p;

		ws_open(&p, &o);
		say(&p, slice_str(good[i]));
		assert_int_equal(stream_handshake(p.s), NJ_OK);
		ws_end(&p);
	}
}

static void
client_leaves_early(void **state)
{
	struct ws_pair p;

	ws_open(&p, NULL);
	say(&p, LIT("GET / HT"));
	(void)close(p.raw);
	p.raw = -1;
	assert_int_equal(stream_handshake(p.s), NJ_EOF);
	assert_string_equal(stream_why(p.s)->what, "");
	ws_end(&p);
}

/* A frame for each packet: there are clients that need it. */
static void
frames_follow_packets(void **state)
{
	static const uint8_t packets[] = "\xd0\x00\x40\x02\x00\x07\x30\x03\x00"
					 "\x01t\xd0";
	struct iovec v[2] = { { (void *)(uintptr_t)packets, 2 },
		{ (void *)(uintptr_t)(packets + 2), 4 } };
	struct ws_pair p;
	size_t n = 0;

	ws_upgraded(&p, NULL);
	assert_int_equal(stream_write(p.s, packets, 12, &n), NJ_OK);
	assert_int_equal(n, 12);
	heard(&p,
	    LIT("\x82\x02\xd0\x00\x82\x04\x40\x02\x00\x07\x82\x05\x30\x03\x00"
		"\x01t\x82\x01\xd0"));
	assert_int_equal(stream_writev(p.s, v, 2, &n), NJ_OK);
	assert_int_equal(n, 6);
	heard(&p, LIT("\x82\x02\xd0\x00\x82\x04\x40\x02\x00\x07"));
	ws_end(&p);
}

static void
controls(void **state)
{
	struct ws_pair p;
	uint8_t got[64];
	size_t n = 0;

	ws_upgraded(&p, NULL);
	say(&p, LIT("\x89\x82" KEY "\x79\x4b\x82\x81" KEY "\x70"));
	assert_int_equal(stream_read(p.s, got, sizeof got, &n), NJ_OK);
	assert_int_equal(n, 1);
	assert_int_equal(got[0], 'a');
	heard(&p, LIT("\x8a\x02hi"));
	/* only controls: nothing to read */
	say(&p, LIT("\x89\x80" KEY "\x8a\x80" KEY));
	assert_int_equal(stream_read(p.s, got, sizeof got, &n), NJ_AGAIN);
	heard(&p, LIT("\x8a\x00"));
	/* the client's Close comes back, behind the data before it and what
	 * is answered to that */
	say(&p, LIT("\x82\x81" KEY "\x70\x88\x82" KEY "\x12\xcb"));
	assert_int_equal(stream_read(p.s, got, sizeof got, &n), NJ_OK);
	assert_true(stream_pending(p.s));
	assert_int_equal(stream_read(p.s, got, sizeof got, &n), NJ_EOF);
	assert_int_equal(stream_read(p.s, got, sizeof got, &n), NJ_EOF);
	assert_int_equal(
	    stream_write(p.s, (const uint8_t *)"\x40\x02\x00\x01", 4, &n),
	    NJ_OK);
	assert_int_equal(n, 4);
	stream_shutdown(p.s);
	heard(&p,
	    LIT("\x82\x04\x40\x02\x00\x01"
		"\x88\x02\x03\xe9"));
	assert_int_equal(stream_write(p.s, got, 3, &n), NJ_OK);
	assert_int_equal(n, 3);
	heard(&p, SLICE_NONE);
	ws_end(&p);
	/* ours */
	ws_upgraded(&p, NULL);
	stream_shutdown(p.s);
	stream_shutdown(p.s);
	heard(&p, LIT("\x88\x02\x03\xe8"));
	assert_int_equal(stream_write(p.s, got, 1, &n), NJ_EOF);
	say(&p, LIT("\x89\x80" KEY "\x82\x81" KEY "\x70"));
	assert_int_equal(stream_read(p.s, got, sizeof got, &n), NJ_OK);
	say(&p, LIT("\x88\x82" KEY "\x12\xca"));
	assert_int_equal(stream_read(p.s, got, sizeof got, &n), NJ_EOF);
	heard(&p, SLICE_NONE);
	ws_end(&p);
}

/* Who ended without a Close gets none: its end has code 1006 by then
 * (RFC 6455 7.1.5), and most would answer with a reset. */
static void
ends_without_a_close(void **state)
{
	struct ws_pair p;
	uint8_t got[64];
	size_t n = 0;

	ws_upgraded(&p, NULL);
	assert_int_equal(stream_read(p.s, got, sizeof got, &n), NJ_AGAIN);
	say(&p, LIT("\x82\x81" KEY "\x70"));
	assert_int_equal(shutdown(p.raw, SHUT_WR), 0);
	assert_int_equal(stream_read(p.s, got, sizeof got, &n), NJ_OK);
	assert_int_equal(n, 1);
	assert_int_equal(stream_read(p.s, got, sizeof got, &n), NJ_EOF);
	stream_shutdown(p.s);
	heard(&p, SLICE_NONE);
	assert_int_equal(recv(p.raw, got, sizeof got, 0), 0);
	ws_end(&p);
}

static void
faults(void **state)
{
	static const struct {
		struct slice in;
		size_t data;
		const char *close, *why;
	} rows[] = {
		{ LIT("\x82\x01x"), 0, "\x03\xea", "not masked" },
		{ LIT("\x81\x80" KEY), 0, "\x03\xeb", "text" },
		{ LIT("\x82\x81" KEY "\x70\x80\x80" KEY), 1, "\x03\xea",
		    "continues" },
		{ LIT("\x82\x89" KEY), 0, "\x03\xf1", "long" },
	};
	const struct ws_opts o = { .max_message = 8 };

	for (size_t i = 0; i < ROWS(rows); i++) {
		struct ws_pair p;
		struct slice got;
		uint8_t b[64];
		size_t n = 0;

		ws_upgraded(&p, &o);
		say(&p, rows[i].in);
		if (rows[i].data) {
			assert_int_equal(
			    stream_read(p.s, b, sizeof b, &n), NJ_OK);
			assert_int_equal(n, rows[i].data);
			assert_true(stream_pending(p.s));
		}
		assert_int_equal(
		    stream_read(p.s, b, sizeof b, &n), NJ_PROTOCOL);
		assert_non_null(strstr(stream_why(p.s)->what, rows[i].why));
		assert_int_equal(
		    stream_read(p.s, b, sizeof b, &n), NJ_PROTOCOL);
		stream_shutdown(p.s);
		got = hear(&p);
		assert_true(got.n > 4);
		assert_int_equal(got.p[0], 0x88);
		assert_memory_equal(got.p + 2, rows[i].close, 2);
		assert_int_equal(got.n, 2 + got.p[1]);
		ws_end(&p);
	}
}

static void
a_flood(void **state)
{
	static uint8_t pongs[12 * 12000], b[4096];
	struct ws_pair p;
	size_t n = 0;

	for (size_t i = 0; i < sizeof pongs; i += 6)
		memcpy(pongs + i, "\x8a\x80" KEY, 6);
	ws_upgraded(&p, NULL);
	say(&p, slice_of(pongs, sizeof pongs));
	assert_int_equal(stream_read(p.s, b, sizeof b, &n), NJ_PROTOCOL);
	assert_non_null(strstr(stream_why(p.s)->what, "flood"));
	assert_memory_equal(hear(&p).p + 2, "\x03\xf0", 2);
	ws_end(&p);
}

/* Takes the frames off what the broker sent: data, and "10:" for a pong. */
static void
parse_server(struct slice in, struct buf *data, struct buf *order)
{
	while (in.n > 0) {
		uint64_t len;
		size_t at = 2;

		assert_true(in.n >= 2);
		len = in.p[1];
		if (len == 126 || len == 127) {
			at = len == 126 ? 4 : 10;
			len = 0;
			for (size_t i = 2; i < at; i++)
				len = len << 8 | in.p[i];
		}
		assert_true(in.n - at >= len);
		if (in.p[0] == 0x82)
			assert_int_equal(
			    buf_put(data, in.p + at, (size_t)len), NJ_OK);
		assert_int_equal(
		    buf_printf(order, "%u:", in.p[0] & 15u), NJ_OK);
		in = slice_of(in.p + at + len, in.n - at - (size_t)len);
	}
}

/* Small packets are copied for one write, as many as there is room for, large
 * ones are not: the frames are the same. */
static void
small_beside_large(void **state)
{
	static const uint16_t sizes[] = { 10, 1024, 1025, 1023, 5, 16000, 7,
		1020, 3000 };
	static uint8_t packets[200000];
	struct buf all = { 0 }, data = { 0 }, order = { 0 };
	size_t len = 0, at = 0, n = 0, count = 0;
	struct ws_pair p;

	for (; len + 16000 <= sizeof packets; count++) {
		size_t size = count < 40
		    ? 1000
		    : sizes[count % (sizeof sizes / sizeof *sizes)];
		size_t rest = size - 2 > 127 ? size - 3 : size - 2;
		size_t i = len;

		memset(packets + len, (int)count, size);
		packets[i++] = 0x30;
		for (; rest > 127; rest >>= 7)
			packets[i++] = (uint8_t)(rest | 128);
		packets[i] = (uint8_t)rest;
		len += size;
	}
	ws_upgraded(&p, NULL);
	while (at < len) {
		enum nj_err e = stream_write(p.s, packets + at, len - at, &n);

		assert_true(e == NJ_OK || e == NJ_AGAIN);
		at += e ? 0 : n;
		assert_int_equal(buf_put_slice(&all, hear(&p)), NJ_OK);
	}
	while (stream_flush(p.s) != NJ_OK)
		assert_int_equal(buf_put_slice(&all, hear(&p)), NJ_OK);
	assert_int_equal(buf_put_slice(&all, hear(&p)), NJ_OK);
	parse_server(buf_slice(&all), &data, &order);
	assert_int_equal(buf_len(&data), len);
	assert_memory_equal(data.p, packets, len);
	assert_int_equal(buf_len(&order), 2 * count);
	buf_fini(&all);
	buf_fini(&data);
	buf_fini(&order);
	ws_end(&p);
}

/* The client does not read: a frame stops half way, pings are answered behind
 * it, with the newest alone. */
static void
a_full_peer(void **state)
{
	static uint8_t big[1 << 21], b[64];
	struct buf all = { 0 }, data = { 0 }, order = { 0 };
	struct ws_pair p;
	size_t at = 0, n = 0;
	enum nj_err e;

	for (size_t i = 0; i < sizeof big; i++)
		big[i] = (uint8_t)(i * 31 + i / 1000);
	/* one PUBLISH */
	memcpy(big, "\x30\xfc\xff\x7f", 4);
	ws_upgraded(&p, NULL);
	while (!(e = stream_write(p.s, big + at, sizeof big - at, &n)))
		at += n;
	assert_int_equal(e, NJ_AGAIN);
	say(&p, LIT("\x89\x81" KEY "\x70\x89\x81" KEY "\x73"));
	assert_int_equal(stream_read(p.s, b, sizeof b, &n), NJ_AGAIN);
	assert_int_equal(stream_flush(p.s), NJ_OK); /* nothing may leave */
	for (;;) {
		struct slice got = hear(&p);

		assert_int_equal(buf_put_slice(&all, got), NJ_OK);
		if (at == sizeof big && stream_flush(p.s) == NJ_OK &&
		    got.n == 0)
			break;
		if (at < sizeof big &&
		    !stream_write(p.s, big + at, sizeof big - at, &n))
			at += n;
	}
	parse_server(buf_slice(&all), &data, &order);
	assert_int_equal(buf_len(&data), sizeof big);
	assert_memory_equal(data.p, big, sizeof big);
	assert_int_equal(order.len, 5);
	assert_memory_equal(order.p, "2:10:", 5);
	buf_fini(&all);
	buf_fini(&data);
	buf_fini(&order);
	ws_end(&p);
}

/* Small packets into a socket that takes a few bytes more each time: heads are
 * cut anywhere, and nothing is lost. */
static void
cut_anywhere(void **state)
{
	static uint8_t many[300000];
	struct buf all = { 0 }, data = { 0 }, order = { 0 };
	struct ws_pair p;
	size_t at = 0, n = 0;
	int small = 4608;

	for (size_t i = 0; i < sizeof many; i += 150) {
		memset(many + i, (int)(i / 150), 150);
		memcpy(many + i, "\x30\x93\x01", 3); /* 147 bytes follow */
	}
	ws_upgraded(&p, NULL);
	assert_int_equal(setsockopt(stream_fd(p.s), SOL_SOCKET, SO_SNDBUF,
			     &small, sizeof small),
	    0);
	while (at < sizeof many || stream_flush(p.s) != NJ_OK) {
		uint8_t some[997];
		ssize_t r;

		while (at < sizeof many &&
		    !stream_write(p.s, many + at, sizeof many - at, &n))
			at += n;
		while ((r = recv(p.raw, some, sizeof some, 0)) > 0)
			assert_int_equal(buf_put(&all, some, (size_t)r), NJ_OK);
	}
	assert_int_equal(buf_put_slice(&all, hear(&p)), NJ_OK);
	parse_server(buf_slice(&all), &data, &order);
	assert_int_equal(buf_len(&data), sizeof many);
	assert_memory_equal(data.p, many, sizeof many);
	assert_int_equal(order.len, 2 * sizeof many / 150);
	buf_fini(&all);
	buf_fini(&data);
	buf_fini(&order);
	ws_end(&p);
}

/* One port for both: the first byte decides, and nothing of it is lost. */
static void
either(void **state)
{
	static const char text[] = REQUEST("");
	const struct ws_opts o = { .mqtt_too = true, .origins = "https://a" };
	uint8_t got[64];
	struct ws_pair p;
	size_t n = 0;

	ws_open(&p, &o);
	assert_int_equal(stream_handshake(p.s), NJ_AGAIN);
	assert_int_equal(stream_wants(p.s), LOOP_IN);
	say(&p, LIT("\x10"));
	assert_int_equal(stream_handshake(p.s), NJ_OK);
	assert_int_equal(stream_handshake(p.s), NJ_OK);
	assert_true(stream_pending(p.s));
	assert_int_equal(stream_wants(p.s), 0);
	say(&p, LIT("GET"));
	assert_int_equal(stream_read(p.s, got, sizeof got, &n), NJ_OK);
	assert_int_equal(n, 1);
	assert_false(stream_pending(p.s));
	assert_int_equal(stream_read(p.s, got, sizeof got, &n), NJ_OK);
	assert_int_equal(n, 3);
	assert_memory_equal(got, "GET", 3);
	assert_int_equal(
	    stream_write(p.s, (const uint8_t *)"\x20\0", 2, &n), NJ_OK);
	assert_int_equal(stream_flush(p.s), NJ_OK);
	stream_end_code(p.s, WS_CODE_GOING);
	stream_shutdown(p.s);
	heard(&p, LIT("\x20\0")); /* no frame, and no Close */
	assert_int_equal(recv(p.raw, got, 1, 0), 0);
	ws_end(&p);

	ws_open(&p, &o);
	for (size_t i = 0; i < sizeof text - 1; i++) {
		assert_int_equal(stream_handshake(p.s), NJ_AGAIN);
		say(&p, slice_of(text + i, 1));
	}
	assert_int_equal(stream_handshake(p.s), NJ_OK);
	heard(&p, LIT(ANSWER));
	ws_end(&p);
}

/* The Close says what it was told to, and the first fault counts. */
static void
end_codes(void **state)
{
	struct ws_pair p;
	uint8_t got[64];
	size_t n = 0;

	ws_upgraded(&p, NULL);
	stream_end_code(p.s, WS_CODE_GOING);
	stream_shutdown(p.s);
	heard(&p, LIT("\x88\x02\x03\xe9"));
	ws_end(&p);
	ws_upgraded(&p, NULL);
	say(&p, LIT("\x81\x80" KEY));
	assert_int_equal(stream_read(p.s, got, sizeof got, &n), NJ_PROTOCOL);
	stream_end_code(p.s, WS_CODE_INTERNAL);
	stream_shutdown(p.s);
	assert_memory_equal(hear(&p).p + 2, "\x03\xeb", 2);
	ws_end(&p);
}

/* A page says where it is from. */
static void
pages(void **state)
{
	static const struct {
		const char *origins, *request;
		bool from_page;
	} rows[] = {
		{ NULL, REQUEST(""), false },
		{ NULL, REQUEST("Origin: https://a\r\n"), true },
		{ NULL, REQUEST("Origin: null\r\n"), true },
		{ NULL, REQUEST("Origin:\r\n"), true },
		{ "https://a", REQUEST("Origin: https://a\r\n"), true },
		{ "https://a", REQUEST(""), false },
	};

	for (size_t i = 0; i < ROWS(rows); i++) {
		const struct ws_opts o = { .origins = rows[i].origins };
		struct ws_pair p;

		ws_open(&p, &o);
		say(&p, slice_str(rows[i].request));
		assert_int_equal(stream_handshake(p.s), NJ_OK);
		assert_int_equal(stream_from_page(p.s), rows[i].from_page);
		ws_end(&p);
	}
}

/* The same over TLS, moved to another thread's scratch in between. */
static void
over_tls(void **state)
{
	struct tls_server *t = server_new(MTLS, NULL);
	struct tls_client *c = client_new("dev1", 0);
	const struct ws_opts none = { 0 };
	struct stream_scratch *other = NULL;
	struct stream *inner;
	struct pair p;
	uint8_t got[1024];
	size_t n = 0;

	assert_int_equal(stream_scratch_new(&other), NJ_OK);
	pair_ours(&p, t, c, "localhost", false);
	inner = p.server;
	assert_int_equal(stream_ws_new(&inner, &none, &p.server), NJ_OK);
	for (int i = 0; i < 20 && p.ce == NJ_AGAIN; i++) {
		p.ce = stream_handshake(p.client);
		p.se = stream_handshake(p.server);
		assert_int_equal(p.se, NJ_AGAIN); /* no request yet */
	}
	assert_int_equal(p.ce, NJ_OK);
	assert_int_equal(
	    stream_write(p.client,
		(const uint8_t *)REQUEST("") "\x82\x82" KEY "\x70\x40",
		sizeof REQUEST("") - 1 + 8, &n),
	    NJ_OK);
	assert_int_equal(stream_handshake(p.server), NJ_OK);
	assert_string_equal(stream_tls(p.server)->cn, "dev1");
	stream_move(p.server, other);
	assert_true(stream_pending(p.server));
	assert_int_equal(stream_read(p.server, got, sizeof got, &n), NJ_OK);
	assert_int_equal(n, 2);
	assert_memory_equal(got, "ab", 2);
	assert_int_equal(
	    stream_write(p.server, (const uint8_t *)"\xd0\0", 2, &n), NJ_OK);
	assert_int_equal(n, 2);
	stream_shutdown(p.server);
	assert_int_equal(stream_flush(p.server), NJ_OK);
	n = 0;
	for (size_t k = 0; !stream_read(p.client, got + n, sizeof got - n, &k);)
		n += k;
	assert_int_equal(n, sizeof ANSWER - 1 + 8);
	assert_memory_equal(got, ANSWER "\x82\x02\xd0\0\x88\x02\x03\xe8", n);
	pair_fini(&p);
	stream_scratch_free(other);
	tls_client_free(c);
	tls_server_unref(t);
}

static int
setup(void **state)
{
	site_init();
	return 0;
}

static int
teardown(void **state)
{
	certs_fini(&certs);
	return 0;
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(request_in_pieces),
		cmocka_unit_test(data_with_the_request),
		cmocka_unit_test(refused),
		cmocka_unit_test(origins),
		cmocka_unit_test(client_leaves_early),
		cmocka_unit_test(frames_follow_packets),
		cmocka_unit_test(small_beside_large),
		cmocka_unit_test(controls),
		cmocka_unit_test(ends_without_a_close),
		cmocka_unit_test(faults),
		cmocka_unit_test(a_flood),
		cmocka_unit_test(a_full_peer),
		cmocka_unit_test(cut_anywhere),
		cmocka_unit_test(either),
		cmocka_unit_test(end_codes),
		cmocka_unit_test(pages),
		cmocka_unit_test(over_tls),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
