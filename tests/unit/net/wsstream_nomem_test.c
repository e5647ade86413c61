/* SPDX-License-Identifier: Apache-2.0
 * The life of a WebSocket with each allocation failed in turn: it ends with
 * NJ_NOMEM or goes on whole, and nothing leaks.  Linked with --wrap for the
 * allocator.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "net/wsstream.h"

#define KEY "\x11\x22\x33\x44"
#define HEAD                                              \
	"GET /mqtt HTTP/1.1\r\nHost: x\r\n"               \
	"Upgrade: websocket\r\nConnection: Upgrade\r\n"   \
	"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n" \
	"Sec-WebSocket-Version: 13\r\n"                   \
	"Sec-WebSocket-Protocol: mqtt\r\n"

static unsigned left = UINT32_MAX; /* allocations until one fails */
static bool failed;

void *__real_malloc(size_t n);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t n);
char *__real_strdup(const char *s);
void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t n);
char *__wrap_strdup(const char *s);

static bool
fails(void)
{
	if (left == UINT32_MAX || left-- > 0)
		return false;
	left = UINT32_MAX;
	return failed = true;
}

void *
__wrap_malloc(size_t n)
{
	return fails() ? NULL : __real_malloc(n);
}

void *
__wrap_calloc(size_t n, size_t size)
{
	return fails() ? NULL : __real_calloc(n, size);
}

void *
__wrap_realloc(void *p, size_t n)
{
	return fails() ? NULL : __real_realloc(p, n);
}

char *
__wrap_strdup(const char *s)
{
	return fails() ? NULL : __real_strdup(s);
}

static void
say(int fd, struct slice s)
{
	assert_int_equal(send(fd, s.p, s.n, MSG_NOSIGNAL), s.n);
}

static void
swallow(int fd)
{
	uint8_t waste[4096];

	while (recv(fd, waste, sizeof waste, 0) > 0)
		;
}

/* A request in two pieces, MQTT of either kind, or a page's that may not. */
static enum nj_err
begin(struct stream *s, int raw, const char *request)
{
	size_t half = strlen(request) / 2;
	enum nj_err e;

	say(raw, slice_of(request, half));
	if ((e = stream_handshake(s)) != NJ_AGAIN)
		return e;
	say(raw, slice_str(request + half));
	return stream_handshake(s);
}

/* Frames of data with pings between them, more than the socket takes. */
static enum nj_err
talk(struct stream *s, int raw)
{
	static uint8_t big[300000];
	uint8_t got[64];
	size_t n = 0, at = 0;
	enum nj_err e;

	say(raw, LIT("\x89\x82" KEY "\x79\x4b\x82\x81" KEY "\x70"));
	if ((e = stream_read(s, got, sizeof got, &n)))
		return e;
	memcpy(big, "\x30\xfc\xff\x7f", 4);
	while (!(e = stream_write(s, big + at, sizeof big - at, &n)) &&
	    at + n < sizeof big)
		at += n;
	if (e != NJ_AGAIN)
		return e;
	say(raw, LIT("\x89\x81" KEY "\x70"));
	if ((e = stream_read(s, got, sizeof got, &n)) != NJ_AGAIN)
		return e;
	while (at < sizeof big) {
		swallow(raw);
		if ((e = stream_write(s, big + at, sizeof big - at, &n)) &&
		    e != NJ_AGAIN)
			return e;
		at += e ? 0 : n;
	}
	swallow(raw);
	if ((e = stream_flush(s)))
		return e;
	say(raw, LIT("\x88\x82" KEY "\x12\xca"));
	return stream_read(s, got, sizeof got, &n);
}

/* What the last step said. */
static enum nj_err
life(const struct ws_opts *o, const char *request, bool talks)
{
	struct stream *inner = NULL, *s = NULL;
	int fd[2], small = 4608;
	enum nj_err e;

	assert_int_equal(
	    socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fd), 0);
	assert_int_equal(
	    setsockopt(fd[0], SOL_SOCKET, SO_SNDBUF, &small, sizeof small), 0);
	if ((e = stream_tcp_new(fd[0], &inner))) {
		(void)close(fd[0]);
	} else if ((e = stream_ws_new(&inner, o, &s))) {
		assert_non_null(inner); /* still the caller's */
		stream_free(inner);
	} else {
		e = begin(s, fd[1], request);
		if (!e && talks)
			e = talk(s, fd[1]);
		stream_shutdown(s);
		stream_free(s);
	}
	(void)close(fd[1]);
	return e;
}

static void
each_failed_in_turn(void **state)
{
	static const struct {
		struct ws_opts o;
		const char *request;
		bool talks;
		enum nj_err end;
	} rows[] = {
		{ { .origins = "https://a\nhttps://b" },
		    HEAD "Origin: https://b\r\n\r\n", true, NJ_EOF },
		{ { .origins = "https://a" }, HEAD "Origin: https://b\r\n\r\n",
		    false, NJ_PROTOCOL },
		{ { .mqtt_too = true }, HEAD "\r\n", true, NJ_EOF },
		{ { .mqtt_too = true, .origins = "https://a" }, "\x10\x00",
		    false, NJ_OK },
		{ { .max_head = 1 }, HEAD "\r\n", false, NJ_PROTOCOL },
		{ { 0 }, "\x16\x03", false, NJ_PROTOCOL },
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		unsigned k = 0;
		enum nj_err e;

		do {
			left = k++;
			failed = false;
			e = life(&rows[i].o, rows[i].request, rows[i].talks);
			left = UINT32_MAX;
			/* where only words are lost it ends as it would */
			if (e != rows[i].end)
				assert_true(failed && e == NJ_NOMEM);
		} while (failed && k < 1000);
		assert_int_equal(e, rows[i].end);
		assert_in_range(k, 3, 999);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_failed_in_turn),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
