/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "net/httphear.h"

#define MAX  (256u * 1024)
#define STEP 4096

/* What a server sends, some bytes a time, and what comes then. */
struct script {
	struct slice rest;
	size_t step;
	enum nj_err end;
};

static enum nj_err
more(void *arg, uint8_t *at, size_t room, size_t *n)
{
	struct script *s = arg;

	*n = s->step < room ? s->step : room;
	if (*n > s->rest.n)
		*n = s->rest.n;
	if (*n == 0)
		return s->end;
	memcpy(at, s->rest.p, *n);
	s->rest = slice_of(s->rest.p + *n, s->rest.n - *n);
	return NJ_OK;
}

static void
answers(void **state)
{
	static const struct {
		const char *head;
		size_t body; /* letters behind it */
		enum nj_err end, want;
		size_t heard;
	} rows[] = {
		{ "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", 5, NJ_IO,
		    NJ_OK, 5 },
		/* what comes behind it is none of it */
		{ "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", 9, NJ_IO,
		    NJ_OK, 5 },
		{ "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", 0, NJ_IO,
		    NJ_OK, 0 },
		/* to the end of the connection: none, some, and as much as has
		 * the buffer grow for the call that hears of the end */
		{ "HTTP/1.0 200 OK\r\n\r\n", 0, NJ_EOF, NJ_OK, 0 },
		{ "HTTP/1.0 200 OK\r\n\r\n", 1, NJ_EOF, NJ_OK, 1 },
		{ "HTTP/1.0 200 OK\r\n\r\n", STEP - 19, NJ_EOF, NJ_OK,
		    STEP - 19 },
		{ "HTTP/1.0 200 OK\r\n\r\n", MAX, NJ_EOF, NJ_OK, MAX },
		{ "HTTP/1.1 200 OK\r\nContent-Length: 262144\r\n\r\n", MAX,
		    NJ_EOF, NJ_OK, MAX },
		/* cut off */
		{ "", 0, NJ_EOF, NJ_EOF, 0 },
		{ "HTTP/1.0 200 OK\r\n", 0, NJ_EOF, NJ_EOF, 0 },
		{ "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", 4, NJ_EOF,
		    NJ_EOF, 0 },
		{ "HTTP/1.0 200 OK\r\n\r\n", 9000, NJ_TLS, NJ_TLS, 0 },
		{ "HTTP/1.0 200 OK\r\n\r\n", 9, NJ_TIMEOUT, NJ_TIMEOUT, 0 },
		/* too much */
		{ "HTTP/1.0 200 OK\r\n\r\n", MAX + 1, NJ_EOF, NJ_TOOBIG, 0 },
		{ "HTTP/1.1 200 OK\r\nContent-Length: 262145\r\n\r\n", 1,
		    NJ_EOF, NJ_TOOBIG, 0 },
		{ "HTTP/1.1 200 OK\r\nContent-Length: 4294967301\r\n\r\n", 5,
		    NJ_EOF, NJ_PROTOCOL, 0 },
		/* no answer */
		{ "\r\n\r\n", 0, NJ_EOF, NJ_PROTOCOL, 0 },
		{ "SSH-2.0-x\r\n", 0, NJ_EOF, NJ_EOF, 0 },
		{ "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", 5,
		    NJ_EOF, NJ_PROTOCOL, 0 },
		{ "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5"
		  "\r\n\r\n",
		    5, NJ_EOF, NJ_PROTOCOL, 0 },
	};
	static const size_t steps[] = { 1, 7, STEP };
	static uint8_t text[MAX + 256];

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		for (size_t k = 0; k < sizeof steps / sizeof *steps; k++) {
			size_t n = strlen(rows[i].head);
			struct script s = { slice_of(text, n + rows[i].body),
				steps[k], rows[i].end };
			struct http_response r = { 0 };
			struct buf body = { 0 };
			enum nj_err e;

			memcpy(text, rows[i].head, n);
			memset(text + n, 'b', rows[i].body);
			e = http_hear(more, &s, MAX, &r, &body);
			if (e != rows[i].want ||
			    buf_len(&body) != rows[i].heard)
				fail_msg("row %zu by %zu: %s, %zu bytes", i,
				    steps[k], nj_strerror(e), buf_len(&body));
			for (size_t at = 0; at < buf_len(&body); at++)
				assert_int_equal(buf_slice(&body).p[at], 'b');
			assert_true(e || r.status == 200);
			buf_fini(&body);
		}
}

/* A head that has no end is not read for ever. */
static void
endless_head(void **state)
{
	static uint8_t text[HTTP_HEAD_MAX + 4 * STEP];
	struct script s = { slice_of(text, sizeof text), STEP, NJ_EOF };
	struct http_response r = { 0 };
	struct buf body = { 0 };

	(void)state;
	memset(text, 'a', sizeof text);
	assert_int_equal(http_hear(more, &s, MAX, &r, &body), NJ_PROTOCOL);
	assert_true(s.rest.n >= 3 * STEP);
	assert_int_equal(buf_len(&body), 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(answers),
		cmocka_unit_test(endless_head) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
