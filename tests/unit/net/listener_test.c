/* SPDX-License-Identifier: Apache-2.0
 * Listeners and dialling over loopback and Unix sockets.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "net/listener.h"

static int
accept_any(const struct listener *l, char *peer, size_t size)
{
	struct pollfd p[64];
	int fd = -1;

	for (unsigned i = 0; i < l->n * l->shards; i++)
		p[i] = (struct pollfd){ .fd = l->fds[i], .events = POLLIN };
	assert_true(poll(p, l->n * l->shards, 60000) > 0);
	for (unsigned i = 0; i < l->n * l->shards && fd < 0; i++)
		if (p[i].revents &&
		    listener_accept(p[i].fd, true, &fd, peer, size))
			fd = -1;
	return fd;
}

static void
both_kinds_of_address(void **state)
{
	static const char *const hosts[] = { "127.0.0.1", "::1" };
	struct listener_opts o = { .any_port = true };
	struct listener l;
	struct nj_why why = { 0 };
	char peer[80];

	if (listener_open(&o, 2, &l, &why))
		fail_msg("%s", why.what);
	assert_true(l.port > 0);
	for (size_t i = 0; i < l.n && i < 2; i++) {
		int c = -1, s;

		assert_int_equal(
		    dial_tcp(hosts[i], l.port, NULL, 1000, &c, &why), NJ_OK);
		s = accept_any(&l, peer, sizeof peer);
		assert_true(s >= 0);
		assert_memory_equal(
		    peer, i ? "[::1]:" : "127.0.0.1:", i ? 6 : 10);
		(void)close(c);
		(void)close(s);
	}
	listener_close(&l);
}

static void
nothing_waits(void **state)
{
	struct listener_opts o = { .address = "127.0.0.1", .any_port = true };
	struct listener l;
	struct nj_why why = { 0 };
	char peer[80], where[80];
	int fd;

	assert_int_equal(listener_open(&o, 1, &l, &why), NJ_OK);
	assert_int_equal(
	    listener_accept(l.fds[0], true, &fd, peer, sizeof peer), NJ_AGAIN);
	(void)snprintf(where, sizeof where, "127.0.0.1:%u", l.port);
	assert_string_equal(l.where, where);
	listener_close(&l);
}

/* Also when both would use SO_REUSEPORT. */
static void
a_port_in_use_names_its_holder(void **state)
{
	struct listener_opts o = { .address = "127.0.0.1", .any_port = true };
	struct listener a, b;
	struct nj_why why = { 0 };
	char self[32];

	assert_int_equal(listener_open(&o, 2, &a, &why), NJ_OK);
	o.any_port = false;
	o.port = a.port;
	for (unsigned shards = 1; shards <= 2; shards++) {
		assert_int_equal(
		    listener_open(&o, shards, &b, &why), NJ_INVALID);
		(void)snprintf(self, sizeof self, "(process %d)", getpid());
		assert_non_null(strstr(why.what, self));
		assert_non_null(strstr(why.mend, "port"));
	}
	listener_close(&a);
}

static void
addresses_not_ours(void **state)
{
	struct listener_opts o = { .address = "192.0.2.1", .any_port = true };
	struct listener l;
	struct nj_why why = { 0 };
	int fd;

	assert_int_equal(listener_open(&o, 1, &l, &why), NJ_INVALID);
	assert_non_null(strstr(why.what, "no address of this machine"));
	o.address = "no host/of that name";
	assert_int_equal(listener_open(&o, 1, &l, &why), NJ_INVALID);
	assert_non_null(strstr(why.what, "no host/of that name"));
	assert_int_not_equal(
	    dial_tcp("127.0.0.1", 1, NULL, 500, &fd, &why), NJ_OK);
	assert_non_null(strstr(why.what, "nothing listens"));
}

static void
no_descriptors_left(void **state)
{
	struct listener_opts o = { .address = "127.0.0.1", .any_port = true };
	struct listener l;
	struct nj_why why = { 0 };
	char peer[80];
	struct rlimit few = { 64, 64 }, before;
	int c = -1, s, fill[64], n = 0;

	assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
	few.rlim_max = before.rlim_max;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);

	assert_int_equal(listener_open(&o, 1, &l, &why), NJ_OK);
	assert_int_equal(
	    dial_tcp("127.0.0.1", l.port, NULL, 1000, &c, &why), NJ_OK);
	while (n < 64 && (fill[n] = dup(c)) >= 0)
		n++;
	assert_int_equal(
	    listener_accept(l.fds[0], true, &s, peer, sizeof peer), NJ_FULL);
	while (n > 0)
		(void)close(fill[--n]);
	assert_int_equal(
	    listener_accept(l.fds[0], true, &s, peer, sizeof peer), NJ_OK);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
	(void)close(s);
	(void)close(c);
	listener_close(&l);
}

static void
unix_sockets(void **state)
{
	char dir[] = "/tmp/nj-net-XXXXXX", path[64], peer[80];
	struct listener_opts o = { .address = path, .mode = 0600 };
	struct listener a, b;
	struct nj_why why = { 0 };
	struct stat st;
	char self[80];
	int c = -1, s = -1;

	assert_non_null(mkdtemp(dir));
	(void)snprintf(path, sizeof path, "%s/sock", dir);
	if (listener_open(&o, 2, &a, &why))
		fail_msg("%s", why.what);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	assert_int_equal(listener_open(&o, 1, &b, &why), NJ_INVALID);
	assert_non_null(strstr(why.what, "another program"));
	assert_int_equal(dial_unix(path, &c, &why), NJ_OK);
	assert_int_equal(
	    listener_accept(a.fds[1], true, &s, peer, sizeof peer), NJ_OK);
	(void)snprintf(self, sizeof self, "unix (process %d, user %u)",
	    (int)getpid(), (unsigned)getuid());
	assert_string_equal(peer, self);
	(void)close(c);
	(void)close(s);
	/* One that ended badly leaves its path: taken over, and then not
	 * removed by the first. */
	for (int i = 0; i < 2; i++)
		(void)close(a.fds[i]);
	a.fds[0] = a.fds[1] = -1;
	assert_int_equal(listener_open(&o, 1, &b, &why), NJ_OK);
	listener_close(&a);
	assert_int_equal(stat(path, &st), 0);
	listener_close(&b);
	assert_int_not_equal(stat(path, &st), 0);
	assert_int_equal(dial_unix(path, &c, &why), NJ_IO);
	(void)rmdir(dir);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(both_kinds_of_address),
		cmocka_unit_test(nothing_waits),
		cmocka_unit_test(a_port_in_use_names_its_holder),
		cmocka_unit_test(addresses_not_ours),
		cmocka_unit_test(no_descriptors_left),
		cmocka_unit_test(unix_sockets),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
