/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "net/httppost.h"

static void
urls(void **state)
{
	static const struct {
		const char *text, *host, *path;
		unsigned port; /* 0: refused */
	} rows[] = {
		{ "http://ocsp.example", "ocsp.example", "/", 80 },
		{ "HTTP://ocsp.example/a/b?c=d#e", "ocsp.example", "/a/b?c=d",
		    80 },
		{ "http://127.0.0.1:8080/", "127.0.0.1", "/", 8080 },
		{ "http://[::1]:81/x", "::1", "/x", 81 },
		{ "http://[::1]", "::1", "/", 80 },
		{ "https://ocsp.example/", NULL, NULL, 0 },
		{ "ftp://ocsp.example/", NULL, NULL, 0 },
		{ "http://", NULL, NULL, 0 },
		{ "http://:80/", NULL, NULL, 0 },
		{ "http://a:0/", NULL, NULL, 0 },
		{ "http://a:65536/", NULL, NULL, 0 },
		{ "http://a:12345678/", NULL, NULL, 0 },
		{ "http://a:x/", NULL, NULL, 0 },
		{ "http://user@a/", NULL, NULL, 0 },
		{ "http://[::1/", NULL, NULL, 0 },
		{ "http://[::1]x/", NULL, NULL, 0 },
		{ "http://a/b c", NULL, NULL, 0 },
		{ "http://a/b\r\nX: y", NULL, NULL, 0 },
		{ "http://a/\xc3\xa4", NULL, NULL, 0 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct http_url u = { .port = 0 };
		enum nj_err e = http_url_parse(rows[i].text, &u);

		if ((e == NJ_OK) != (rows[i].port != 0))
			fail_msg("%s: %d", rows[i].text, (int)e);
		if (e)
			continue;
		assert_string_equal(u.host, rows[i].host);
		assert_string_equal(u.path, rows[i].path);
		assert_int_equal(u.port, rows[i].port);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(urls) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
