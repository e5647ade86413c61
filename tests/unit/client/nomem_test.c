/* SPDX-License-Identifier: Apache-2.0
 * Each allocation failed in turn: the client says so, loses at most the
 * connection, and leaks nothing.  Linked with --wrap for the allocator.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "client/client.h"
#include "net/wskey.h"

static long left = -1; /* allocations that still succeed; -1: all */

static bool
refuse(void)
{
	if (left < 0)
		return false;
	return left == 0 || left-- == 0;
}

void *__real_malloc(size_t n);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t n);
char *__real_strdup(const char *s);
char *__real_strndup(const char *s, size_t n);
void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t n);
char *__wrap_strdup(const char *s);
char *__wrap_strndup(const char *s, size_t n);

void *
__wrap_malloc(size_t n)
{
	return refuse() ? NULL : __real_malloc(n);
}

void *
__wrap_calloc(size_t n, size_t size)
{
	return refuse() ? NULL : __real_calloc(n, size);
}

void *
__wrap_realloc(void *p, size_t n)
{
	return refuse() ? NULL : __real_realloc(p, n);
}

char *
__wrap_strdup(const char *s)
{
	return refuse() ? NULL : __real_strdup(s);
}

char *
__wrap_strndup(const char *s, size_t n)
{
	return refuse() ? NULL : __real_strndup(s, n);
}

/* CONNACK with an id, an alias learnt and used, QoS 2, every answer. */
#define BROKER                                                          \
	"\x20\x08\0\0\5\x12\0\2"                                        \
	"ab"                                                            \
	"\x30\x08\0\1t\3\x23\0\1x\x34\x09\0\0\0\7\3\x23\0\1y\x62\2\0\7" \
	"\x90\4\0\1\0\0\xb0\4\0\2\0\0\x40\2\0\3\x50\2\0\4\x70\2\0\4"

static enum nj_err
talk(struct client *c)
{
	struct subscription s = { .filter = LIT("t") };
	struct publish p = { .topic = LIT("t"), .payload = LIT("x") };
	struct slice u = LIT("t");
	struct nj_why why;
	enum nj_err e;

	if ((e = client_subscribe(c, &s, 1, NULL, NULL)) ||
	    (e = client_unsubscribe(c, &u, 1, NULL, NULL)))
		return e;
	for (p.qos = 1; p.qos <= 2; p.qos++)
		if ((e = client_publish(c, &p, NULL)))
			return e;
	for (unsigned i = 0; i < 3; i++)
		if ((e = client_step(c, 0, &why)))
			return e;
	if ((e = client_disconnect(c, 0, NULL)))
		return e;
	while ((e = client_step(c, 0, &why)) == NJ_OK)
		;
	return e;
}

static enum nj_err
life(int peer, int fd)
{
	static const struct client_events none;
	static const struct socks_opts proxy = { .host = "s", .user = "v" };
	struct props props = { .seen = PROP_BIT(PROP_TOPIC_ALIAS_MAX),
		.topic_alias_max = 2 };
	struct client_opts o = { .version = MQTT5,
		.username = "u",
		.bind_address = "b",
		.unix_path = "p",
		.proxy = &proxy,
		.props = &props,
		.events = &none };
	struct client *c = NULL;
	struct nj_why why;
	enum nj_err e = client_new(&o, &c, &why);

	if (e) {
		(void)close(fd);
		return e;
	}
	/* CONNACK is there before; the rest comes when it was asked for. */
	assert_true(write(peer, BROKER, 10) == 10);
	if (!(e = client_connect_fd(c, fd, 1000, &why))) {
		assert_true(write(peer, &BROKER[10], sizeof BROKER - 11) > 0);
		e = talk(c);
	}
	client_free(c);
	return e;
}

/* A WebSocket server: agrees, accepts, pings, and reads to the end. */
static _Noreturn void
serve(int fd)
{
	static const uint8_t said[] = "\x89\x01p\x82\x05\x20\x03\0\0\0";
	char request[1024], accept[WS_ACCEPT_SIZE], answer[512];
	size_t n = 0;
	char *key;

	left = -1;
	while (
	    n < sizeof request - 1 && (n < 4 || !strstr(request, "\r\n\r\n"))) {
		if (read(fd, request + n, 1) != 1)
			_exit(1);
		request[++n] = '\0';
	}
	if (!(key = strstr(request, "Sec-WebSocket-Key: ")) ||
	    ws_accept_of(slice_of(key + 19, 24), accept))
		_exit(1);
	n = (size_t)snprintf(answer, sizeof answer,
	    "HTTP/1.1 101 x\r\nUpgrade: websocket\r\nConnection: upgrade\r\n"
	    "Sec-WebSocket-Protocol: mqtt\r\nSec-WebSocket-Accept: %s\r\n\r\n",
	    accept);
	if (write(fd, answer, n) != (ssize_t)n ||
	    write(fd, said, sizeof said - 1) != sizeof said - 1)
		_exit(1);
	while (read(fd, request, sizeof request) > 0)
		if (memchr(request, 0x88, 1)) /* a Close: enough */
			break;
	_exit(0);
}

static enum nj_err
life_over_websocket(int fd)
{
	struct client_opts o = { .version = MQTT5, .websocket = true };
	struct publish p = { .topic = LIT("t"), .payload = LIT("x") };
	struct client *c = NULL;
	struct nj_why why;
	enum nj_err e = client_new(&o, &c, &why);

	if (e) {
		(void)close(fd);
		return e;
	}
	if (!(e = client_connect_fd(c, fd, 5000, &why)) &&
	    !(e = client_publish(c, &p, NULL)) &&
	    !(e = client_disconnect(c, 0, NULL)))
		while ((e = client_step(c, 100, &why)) == NJ_OK)
			;
	client_free(c);
	return e;
}

static void
websocket_each_in_turn(void **state)
{
	enum nj_err e = NJ_NOMEM;
	long n;

	for (n = 0; e == NJ_NOMEM; n++) {
		int fds[2], status;
		pid_t child;

		assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
		if ((child = fork()) == 0) {
			(void)close(fds[1]);
			serve(fds[0]);
		}
		assert_true(child > 0);
		(void)close(fds[0]);
		left = n;
		e = life_over_websocket(fds[1]);
		left = -1;
		assert_int_equal(waitpid(child, &status, 0), child);
	}
	assert_int_equal(e, NJ_EOF);
	assert_true(n > 10);
}

static void
each_in_turn(void **state)
{
	enum nj_err e = NJ_NOMEM;
	long n;

	for (n = 0; e == NJ_NOMEM; n++) {
		int fds[2];

		assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
		left = n;
		e = life(fds[0], fds[1]);
		left = -1;
		(void)close(fds[0]);
	}
	assert_int_equal(e, NJ_EOF);
	assert_true(n > 10);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_in_turn),
		cmocka_unit_test(websocket_each_in_turn),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
