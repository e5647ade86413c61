/* SPDX-License-Identifier: Apache-2.0
 * Our own TLS client: keys in place of certificates, its options.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <openssl/err.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "site.h"

static unsigned
give_psk(SSL *ssl, const char *identity, unsigned char *psk, unsigned max)
{
	static const uint8_t key[4] = { 0xde, 0xad, 0xbe, 0xef };

	if (strcmp(identity, "dev1") != 0 || max < sizeof key)
		return 0;
	memcpy(psk, key, sizeof key);
	return sizeof key;
}

/* Our client against a server of another make that knows only a key. */
static void
pre_shared_key(void **state)
{
	static const struct {
		const char *identity, *key;
		bool good;
	} rows[] = { { "dev1", "deadbeef", true }, { "dev1", "0bad", false },
		{ "nobody", "deadbeef", false } };
	static const int versions[] = { 12, 13 };
	SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());
	struct stream_scratch *sc = NULL;
	struct nj_why why = { 0 };

	SSL_CTX_set_psk_server_callback(ctx, give_psk);
	assert_int_equal(stream_scratch_new(&sc), NJ_OK);
	for (size_t i = 0; i < 6; i++) {
		struct tls_client_opts o = {
			.psk_identity = rows[i / 2].identity,
			.psk_hex = rows[i / 2].key,
			.max = (enum tls_min)versions[i % 2],
		};
		struct tls_client *c = NULL;
		struct stream *s = NULL;
		SSL *ssl = SSL_new(ctx);
		enum nj_err e = NJ_AGAIN;
		int fd[2];

		assert_int_equal(
		    socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fd), 0);
		if (tls_client_new(&o, &c, &why))
			fail_msg("%s", why.what);
		assert_int_equal(
		    tls_connect(c, fd[0], "localhost", false, sc, &s), NJ_OK);
		(void)SSL_set_fd(ssl, fd[1]);
		SSL_set_accept_state(ssl);
		for (int k = 0; k < 6 && e == NJ_AGAIN; k++) {
			e = stream_handshake(s);
			if (SSL_do_handshake(ssl) != 1 && ERR_peek_error() != 0)
				(void)shutdown(fd[1], SHUT_WR);
			ERR_clear_error();
		}
		assert_int_equal(e, rows[i / 2].good ? NJ_OK : NJ_TLS);
		if (e)
			assert_true(stream_why(s)->what[0]);
		stream_free(s);
		SSL_free(ssl);
		(void)close(fd[1]);
		tls_client_free(c);
	}
	stream_scratch_free(sc);
	SSL_CTX_free(ctx);
}

static void
bad_client_options(void **state)
{
	const struct {
		struct tls_client_opts o;
		const char *word;
	} rows[] = {
		{ { .min = TLS_MIN_12 }, "which CA" },
		{ { .cafile = "/nowhere.crt" }, "/nowhere.crt" },
		{ { .cafile = certs_path(&certs, "ca.crt"),
		      .certfile = certs_path(&certs, "dev1.crt") },
		    "both --cert and --key" },
		{ { .cafile = certs_path(&certs, "ca.crt"),
		      .certfile = certs_path(&certs, "dev1.crt"),
		      .keyfile = certs_path(&certs, "dev2.key") },
		    "is not the key of" },
		{ { .psk_identity = "x", .psk_hex = "xyz" }, "hexadecimal" },
		{ { .psk_hex = "aabb" }, "--psk-identity" },
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct tls_client *c = NULL;
		struct nj_why why = { 0 };

		assert_int_not_equal(
		    tls_client_new(&rows[i].o, &c, &why), NJ_OK);
		assert_null(c);
		if (!strstr(why.what, rows[i].word))
			fail_msg("\"%s\" lacks \"%s\"", why.what, rows[i].word);
	}
}

/* A folder of CAs, hashed names or not; insecure forgives only the name; the
 * key log is private. */
static void
client_odds_and_ends(void **state)
{
	struct tls_server *t = server_new(PLAIN, NULL);
	struct tls_client_opts o = { .capath = certs.dir,
		.insecure = true,
		.keylog = certs_path(&certs, "keys.log") };
	struct tls_client *c = NULL;
	struct nj_why why = { 0 };
	struct stat st;
	struct pair p;

	if (tls_client_new(&o, &c, &why))
		fail_msg("%s", why.what);
	pair_ours(&p, t, c, "another.example", false);
	must(&p);
	pair_fini(&p);
	assert_int_equal(stat(o.keylog, &st), 0);
	assert_true(st.st_size > 100);
	assert_int_equal(st.st_mode & 0777, 0600);
	tls_client_free(c);
	/* Another CA is still refused. */
	o = (struct tls_client_opts){
		.cafile = certs_path(&certs, "otherca.crt"), .insecure = true
	};
	assert_int_equal(tls_client_new(&o, &c, &why), NJ_OK);
	pair_ours(&p, t, c, "localhost", false);
	pair_handshake(&p);
	assert_int_equal(p.ce, NJ_TLS);
	pair_fini(&p);
	tls_client_free(c);
	tls_server_unref(t);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(pre_shared_key),
		cmocka_unit_test(bad_client_options),
		cmocka_unit_test(client_odds_and_ends),
	};
	int r;

	site_init();
	r = cmocka_run_group_tests(tests, NULL, NULL);
	certs_fini(&certs);
	return r;
}
