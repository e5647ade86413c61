/* SPDX-License-Identifier: Apache-2.0
 * The plain stream over a socket pair.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "net/stream.h"

static void
streams(struct stream *s[2])
{
	int fd[2];

	assert_int_equal(
	    socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fd), 0);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(stream_tcp_new(fd[i], &s[i]), NJ_OK);
		assert_int_equal(stream_fd(s[i]), fd[i]);
		assert_int_equal(stream_handshake(s[i]), NJ_OK);
	}
}

static void
bytes_pass(void **state)
{
	struct iovec iov[3] = { { (void *)(uintptr_t) "ab", 2 }, { NULL, 0 },
		{ (void *)(uintptr_t) "cde", 3 } };
	struct stream *s[2];
	uint8_t buf[16];
	size_t n = 9;

	streams(s);
	assert_int_equal(stream_read(s[0], buf, sizeof buf, &n), NJ_AGAIN);
	assert_int_equal(stream_write(s[0], buf, 0, &n), NJ_OK);
	assert_int_equal(n, 0);
	assert_int_equal(
	    stream_write(s[0], (const uint8_t *)"xyz", 3, &n), NJ_OK);
	assert_int_equal(stream_writev(s[0], iov, 3, &n), NJ_OK);
	assert_int_equal(n, 5);
	assert_int_equal(stream_read(s[1], buf, sizeof buf, &n), NJ_OK);
	assert_int_equal(n, 8);
	assert_memory_equal(buf, "xyzabcde", 8);
	assert_false(stream_pending(s[1]));
	assert_int_equal(stream_wants(s[1]), 0);
	assert_null(stream_tls(s[1]));
	assert_int_equal(stream_flush(s[1]), NJ_OK);
	assert_string_equal(stream_why(s[1])->what, "");
	stream_free(s[0]);
	stream_free(s[1]);
}

static void
ends(void **state)
{
	struct stream *s[2];
	uint8_t buf[16];
	size_t n = 0;

	streams(s);
	stream_shutdown(s[0]);
	assert_int_equal(stream_read(s[1], buf, sizeof buf, &n), NJ_EOF);
	/* The other direction is still open. */
	assert_int_equal(stream_write(s[1], buf, 4, &n), NJ_OK);
	assert_int_equal(stream_read(s[0], buf, sizeof buf, &n), NJ_OK);
	stream_free(s[0]);
	assert_int_equal(stream_write(s[1], buf, 4, &n), NJ_IO);
	assert_int_equal(errno, EPIPE);
	assert_non_null(strstr(stream_why(s[1])->what, "sending"));
	stream_free(s[1]);
	stream_free(NULL);
}

static void
a_full_peer(void **state)
{
	static uint8_t big[1 << 20];
	struct stream *s[2];
	size_t n = 0, all = 0;
	enum nj_err e;

	streams(s);
	while (!(e = stream_write(s[0], big, sizeof big, &n)))
		all += n;
	assert_int_equal(e, NJ_AGAIN);
	assert_true(all > 0);
	while (all > 0 && !stream_read(s[1], big, sizeof big, &n))
		all -= n;
	assert_int_equal(all, 0);
	stream_free(s[0]);
	stream_free(s[1]);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(bytes_pass),
		cmocka_unit_test(ends),
		cmocka_unit_test(a_full_peer),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
