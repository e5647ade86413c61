/* SPDX-License-Identifier: Apache-2.0
 * TLS streams under awkward circumstances: cut, damaged and large input, and
 * their ends.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <openssl/err.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "net/loop.h"
#include "site.h"

/* -- awkward arrivals ---------------------------------------------------- */

/* The client's bytes reach the server one by one. */
static void
one_byte_at_a_time(void **state)
{
	struct tls_server *t = server_new(PLAIN, NULL);
	SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
	SSL *ssl = SSL_new(ctx);
	BIO *in = BIO_new(BIO_s_mem()), *out = BIO_new(BIO_s_mem());
	struct pair p;
	uint8_t buf[4096];
	size_t n = 0;
	ssize_t r;

	pair_raw(&p, t);
	SSL_set_bio(ssl, in, out);
	SSL_set_connect_state(ssl);
	for (int round = 0; round < 4; round++) {
		char *bytes;
		long len;

		(void)SSL_do_handshake(ssl);
		if (round == 2)
			assert_int_equal(SSL_write(ssl, "hello", 5), 5);
		len = BIO_get_mem_data(out, &bytes);
		for (long i = 0; i < len; i++) {
			assert_int_equal(send(p.raw, bytes + i, 1, 0), 1);
			if (p.se == NJ_AGAIN)
				p.se = stream_handshake(p.server);
			else if (i < len - 1)
				assert_int_equal(
				    stream_read(p.server, buf, sizeof buf, &n),
				    NJ_AGAIN);
		}
		(void)BIO_reset(out);
		while ((r = recv(p.raw, buf, sizeof buf, 0)) > 0)
			assert_int_equal(BIO_write(in, buf, (int)r), r);
	}
	assert_int_equal(p.se, NJ_OK);
	assert_int_equal(stream_read(p.server, buf, sizeof buf, &n), NJ_OK);
	assert_int_equal(n, 5);
	assert_memory_equal(buf, "hello", 5);
	SSL_free(ssl);
	SSL_CTX_free(ctx);
	pair_fini(&p);
	tls_server_unref(t);
}

/* A hello cut into records of 7 bytes is one all the same. */
static void
hello_in_many_records(void **state)
{
	struct tls_server *t = server_new(PLAIN, NULL);
	SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
	SSL *ssl = SSL_new(ctx);
	BIO *in = BIO_new(BIO_s_mem()), *out = BIO_new(BIO_s_mem());
	struct pair p;
	char *bytes;
	long len;

	pair_raw(&p, t);
	SSL_set_bio(ssl, in, out);
	SSL_set_connect_state(ssl);
	(void)SSL_set_tlsext_host_name(ssl, "cut.example");
	(void)SSL_do_handshake(ssl);
	len = BIO_get_mem_data(out, &bytes);
	for (long i = 5; i < len; i += 7) {
		char rec[12] = { 0x16, 3, 1, 0, 7 };
		long k = len - i < 7 ? len - i : 7;

		rec[4] = (char)k;
		memcpy(rec + 5, bytes + i, (size_t)k);
		assert_int_equal(send(p.raw, rec, (size_t)k + 5, 0), k + 5);
		if (i % 3 == 0)
			assert_int_equal(stream_handshake(p.server), NJ_AGAIN);
	}
	assert_int_equal(stream_handshake(p.server), NJ_AGAIN);
	assert_true(recv(p.raw, (char[512]){ 0 }, 512, 0) > 100);
	SSL_free(ssl);
	SSL_CTX_free(ctx);
	pair_fini(&p);
	tls_server_unref(t);
}

/* The first packet may come together with the end of the handshake. */
static void
data_behind_the_handshake(void **state)
{
	struct tls_server *t = server_new(PLAIN, NULL);
	SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
	struct pair p;
	uint8_t buf[64];
	size_t n = 0;

	pair_openssl(&p, t, ctx, NULL);
	(void)SSL_do_handshake(p.ssl);
	assert_int_equal(stream_handshake(p.server), NJ_AGAIN);
	assert_int_equal(SSL_do_handshake(p.ssl), 1);
	assert_int_equal(SSL_write(p.ssl, "connect", 7), 7);
	assert_int_equal(stream_handshake(p.server), NJ_OK);
	assert_true(stream_pending(p.server));
	assert_int_equal(stream_read(p.server, buf, sizeof buf, &n), NJ_OK);
	assert_int_equal(n, 7);
	assert_false(stream_pending(p.server));
	assert_int_equal(stream_read(p.server, buf, sizeof buf, &n), NJ_AGAIN);
	pair_fini(&p);
	SSL_CTX_free(ctx);
	tls_server_unref(t);
}

static void
garbage_after_the_handshake(void **state)
{
	struct tls_server *t = server_new(PLAIN, NULL);
	SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
	struct pair p;
	uint8_t buf[64];
	size_t n = 0;

	pair_openssl(&p, t, ctx, NULL);
	must(&p);
	assert_int_equal(send(p.raw,
			     "\x17\3\3\0\x20garbage-garbage-garbage-"
			     "garbage",
			     37, 0),
	    37);
	assert_int_equal(stream_read(p.server, buf, sizeof buf, &n), NJ_TLS);
	assert_true(stream_why(p.server)->what[0]);
	assert_int_equal(stream_read(p.server, buf, sizeof buf, &n), NJ_TLS);
	assert_int_equal(stream_write(p.server, buf, 1, &n), NJ_TLS);
	pair_fini(&p);
	SSL_CTX_free(ctx);
	tls_server_unref(t);
}

/* [SECURITY 33] */
static void
key_update_flood(void **state)
{
	struct tls_server *t = server_new(PLAIN, NULL);
	SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
	struct pair p;
	uint8_t buf[64];
	size_t n = 0;
	enum nj_err e = NJ_AGAIN;
	int sent = 0;

	pair_openssl(&p, t, ctx, NULL);
	must(&p);
	/* One now and then is right. */
	for (int i = 0; i < 100; i++) {
		assert_int_equal(
		    SSL_key_update(p.ssl, SSL_KEY_UPDATE_REQUESTED), 1);
		assert_int_equal(SSL_write(p.ssl, "x", 1), 1);
		assert_int_equal(
		    stream_read(p.server, buf, sizeof buf, &n), NJ_OK);
		(void)SSL_read(p.ssl, buf, sizeof buf);
	}
	for (; sent < 200 && e == NJ_AGAIN; sent++) {
		(void)SSL_key_update(p.ssl, SSL_KEY_UPDATE_NOT_REQUESTED);
		if (SSL_do_handshake(p.ssl) != 1)
			break;
		if (sent % 7 == 0)
			e = stream_read(p.server, buf, sizeof buf, &n);
	}
	assert_int_equal(e, NJ_TLS);
	assert_in_range(sent, 20, 60);
	assert_non_null(strstr(stream_why(p.server)->what, "KeyUpdate"));
	pair_fini(&p);
	SSL_CTX_free(ctx);
	tls_server_unref(t);
}

static void
renegotiation_is_refused(void **state)
{
	struct tls_server *t = server_new(PLAIN, NULL);
	SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
	struct pair p;
	uint8_t buf[64];
	size_t n = 0;

	(void)SSL_CTX_set_max_proto_version(ctx, TLS1_2_VERSION);
	pair_openssl(&p, t, ctx, NULL);
	must(&p);
	assert_int_equal(SSL_renegotiate(p.ssl), 1);
	(void)SSL_do_handshake(p.ssl);
	assert_int_equal(stream_read(p.server, buf, sizeof buf, &n), NJ_AGAIN);
	assert_int_not_equal(SSL_do_handshake(p.ssl), 1);
	pair_fini(&p);
	SSL_CTX_free(ctx);
	tls_server_unref(t);
}

/* -- amounts ------------------------------------------------------------- */

#define BIG (3 * 1024 * 1024)

static uint8_t
byte_at(size_t i)
{
	return (uint8_t)(i * 7 + (i >> 9));
}

/* A peer that does not read blocks the writer within the bound; all arrives
 * in order once it reads. */
static void
large_writes(void **state)
{
	struct tls_server *t = server_new(PLAIN, NULL);
	struct tls_client *c = client_new(NULL, 0);
	uint8_t *src = malloc(BIG), *dst = malloc(BIG);
	size_t sent = 0, got = 0, n = 0;
	enum nj_err e = NJ_OK;
	struct pair p;

	assert_non_null(src);
	assert_non_null(dst);
	for (size_t i = 0; i < BIG; i++)
		src[i] = byte_at(i);
	pair_ours(&p, t, c, "localhost", false);
	must(&p);
	while (!(e = stream_write(p.server, src + sent, BIG - sent, &n)))
		sent += n;
	assert_int_equal(e, NJ_AGAIN);
	assert_true(sent < BIG);
	assert_int_equal(stream_wants(p.server), LOOP_OUT);
	assert_int_equal(stream_flush(p.server), NJ_AGAIN);
	for (int i = 0; got < BIG && i < 100000; i++) {
		/* Small and odd sizes leave records half taken. */
		e = stream_read(p.client, dst + got,
		    BIG - got < 10007 ? BIG - got : 10007, &n);
		if (!e)
			got += n;
		if (!stream_flush(p.server) && sent < BIG &&
		    !stream_write(p.server, src + sent, BIG - sent, &n))
			sent += n;
	}
	assert_int_equal(got, BIG);
	assert_memory_equal(src, dst, BIG);
	assert_int_equal(stream_wants(p.server), 0);
	pair_fini(&p);
	free(src);
	free(dst);
	tls_client_free(c);
	tls_server_unref(t);
}

static void
pieces(void **state)
{
	struct tls_server *t = server_new(PLAIN, NULL);
	struct tls_client *c = client_new(NULL, 0);
	static uint8_t src[100000], dst[120000];
	const size_t cuts[] = { 0, 1, 1, 5, 300, 20000, 20000, 70000, 100000 };
	struct iovec iov[8];
	size_t n = 0, got = 0;
	struct pair p;

	for (size_t i = 0; i < sizeof src; i++)
		src[i] = byte_at(i);
	for (size_t i = 0; i < 8; i++)
		iov[i] = (struct iovec){ src + cuts[i], cuts[i + 1] - cuts[i] };
	pair_ours(&p, t, c, "localhost", false);
	must(&p);
	assert_int_equal(stream_writev(p.server, iov, 8, &n), NJ_OK);
	assert_int_equal(n, sizeof src);
	while (got < sizeof src) {
		assert_int_equal(
		    stream_read(p.client, dst + got, sizeof dst - got, &n),
		    NJ_OK);
		got += n;
	}
	assert_int_equal(got, sizeof src);
	assert_memory_equal(src, dst, sizeof src);
	pair_fini(&p);
	tls_client_free(c);
	tls_server_unref(t);
}

/* -- ends and moves ------------------------------------------------------ */

static void
orderly_end(void **state)
{
	struct tls_server *t = server_new(PLAIN, NULL);
	struct tls_client *c = client_new(NULL, 0);
	uint8_t buf[64];
	size_t n = 0;
	struct pair p;

	pair_ours(&p, t, c, "localhost", false);
	must(&p);
	assert_int_equal(
	    stream_write(p.client, (const uint8_t *)"bye", 3, &n), NJ_OK);
	stream_shutdown(p.client);
	assert_int_equal(stream_read(p.server, buf, sizeof buf, &n), NJ_OK);
	assert_int_equal(n, 3);
	assert_int_equal(stream_read(p.server, buf, sizeof buf, &n), NJ_EOF);
	assert_int_equal(stream_read(p.server, buf, sizeof buf, &n), NJ_EOF);
	pair_fini(&p);
	/* Just gone: the end too, MQTT tells whether it was a good one. */
	pair_ours(&p, t, c, "localhost", false);
	must(&p);
	stream_free(p.client);
	p.client = NULL;
	assert_int_equal(stream_read(p.server, buf, sizeof buf, &n), NJ_EOF);
	pair_fini(&p);
	tls_client_free(c);
	tls_server_unref(t);
}

static void
moved_to_another_thread(void **state)
{
	struct tls_server *t = server_new(PLAIN, NULL);
	struct tls_client *c = client_new(NULL, 0);
	struct stream_scratch *other = NULL, *first;
	struct pair p;

	pair_ours(&p, t, c, "localhost", false);
	must(&p);
	pair_say(p.client, p.server, "before");
	assert_int_equal(stream_scratch_new(&other), NJ_OK);
	stream_move(p.server, other);
	pair_say(p.client, p.server, "after");
	pair_say(p.server, p.client, "after");
	stream_move(p.client, other);
	first = p.scratch;
	p.scratch = other;
	stream_scratch_free(first);
	pair_say(p.client, p.server, "the first is gone");
	pair_say(p.server, p.client, "the first is gone");
	pair_fini(&p);
	tls_client_free(c);
	tls_server_unref(t);
}

static void
ours_outlives_the_listener(void **state)
{
	struct tls_server *t = server_new(PLAIN, NULL);
	struct tls_client *c = client_new(NULL, 0);
	struct pair p;

	pair_ours(&p, t, c, "localhost", false);
	must(&p);
	tls_server_unref(t);
	pair_say(p.client, p.server, "still there");
	pair_fini(&p);
	tls_client_free(c);
}

/* A client with little memory asks for small records (RFC 6066 4), and it has
 * a certificate: what the connection sheds must not take the limit along. */
static void
small_records(void **state)
{
	static const int versions[] = { TLS1_2_VERSION, TLS1_3_VERSION };
	static uint8_t src[5000], dst[5000];
	struct tls_server *t = server_new(MTLS, NULL);

	for (size_t v = 0; v < 2; v++) {
		SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
		struct pair p;
		uint8_t head[5];
		size_t n = 0;

		(void)SSL_CTX_set_max_proto_version(ctx, versions[v]);
		assert_int_equal(
		    SSL_CTX_use_certificate_file(
			ctx, certs_path(&certs, "dev1.crt"), SSL_FILETYPE_PEM),
		    1);
		assert_int_equal(
		    SSL_CTX_use_PrivateKey_file(
			ctx, certs_path(&certs, "dev1.key"), SSL_FILETYPE_PEM),
		    1);
		assert_int_equal(SSL_CTX_set_tlsext_max_fragment_length(
				     ctx, TLSEXT_max_fragment_length_512),
		    1);
		pair_openssl(&p, t, ctx, NULL);
		must(&p);
		assert_string_equal(stream_tls(p.server)->cn, "dev1");
		assert_int_equal(
		    stream_write(p.server, src, sizeof src, &n), NJ_OK);
		assert_int_equal(recv(p.raw, head, 5, MSG_PEEK), 5);
		assert_true((head[3] << 8 | head[4]) <= 512 + 64);
		for (size_t got = 0; got < sizeof src; got += n)
			assert_int_equal(
			    SSL_read_ex(p.ssl, dst + got, sizeof dst - got, &n),
			    1);
		assert_memory_equal(src, dst, sizeof src);
		pair_fini(&p);
		SSL_CTX_free(ctx);
	}
	tls_server_unref(t);
}

/* After the certificate is shed the connection is as good as any. */
static void
long_after_the_handshake(void **state)
{
	static const int versions[] = { 12, 13 };
	struct tls_server *t = server_new(MTLS, NULL);

	for (size_t v = 0; v < 2; v++) {
		struct tls_client *c = client_new("dev1", versions[v]);
		SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
		static uint8_t src[40000], dst[40000];
		size_t n = 0;
		struct pair p;

		pair_ours(&p, t, c, "localhost", false);
		must(&p);
		for (int i = 0; i < 20; i++) {
			size_t got = 0;

			src[i] = (uint8_t)i;
			assert_int_equal(
			    stream_write(p.server, src, sizeof src, &n), NJ_OK);
			while (got < sizeof src) {
				assert_int_equal(
				    stream_read(p.client, dst + got,
					sizeof dst - got, &n),
				    NJ_OK);
				got += n;
			}
			assert_memory_equal(src, dst, sizeof src);
			pair_say(p.client, p.server, "again");
		}
		stream_shutdown(p.server);
		assert_int_equal(stream_read(p.client, dst, 1, &n), NJ_EOF);
		pair_fini(&p);
		tls_client_free(c);
		SSL_CTX_free(ctx);
	}
	tls_server_unref(t);
}

static void
key_updates_with_a_certificate(void **state)
{
	struct tls_server *t = server_new(MTLS, NULL);
	SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
	struct pair p;
	uint8_t buf[64];
	size_t n = 0;

	assert_int_equal(SSL_CTX_use_certificate_file(ctx,
			     certs_path(&certs, "dev1.crt"), SSL_FILETYPE_PEM),
	    1);
	assert_int_equal(SSL_CTX_use_PrivateKey_file(ctx,
			     certs_path(&certs, "dev1.key"), SSL_FILETYPE_PEM),
	    1);
	pair_openssl(&p, t, ctx, NULL);
	must(&p);
	for (int i = 0; i < 5; i++) {
		assert_int_equal(
		    SSL_key_update(p.ssl, SSL_KEY_UPDATE_REQUESTED), 1);
		assert_int_equal(SSL_write(p.ssl, "x", 1), 1);
		assert_int_equal(
		    stream_read(p.server, buf, sizeof buf, &n), NJ_OK);
		assert_int_equal(stream_write(p.server, buf, n, &n), NJ_OK);
		assert_int_equal(SSL_read(p.ssl, buf, sizeof buf), 1);
	}
	pair_fini(&p);
	SSL_CTX_free(ctx);
	tls_server_unref(t);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(one_byte_at_a_time),
		cmocka_unit_test(hello_in_many_records),
		cmocka_unit_test(data_behind_the_handshake),
		cmocka_unit_test(garbage_after_the_handshake),
		cmocka_unit_test(key_update_flood),
		cmocka_unit_test(renegotiation_is_refused),
		cmocka_unit_test(large_writes),
		cmocka_unit_test(pieces),
		cmocka_unit_test(orderly_end),
		cmocka_unit_test(moved_to_another_thread),
		cmocka_unit_test(ours_outlives_the_listener),
		cmocka_unit_test(small_records),
		cmocka_unit_test(long_after_the_handshake),
		cmocka_unit_test(key_updates_with_a_certificate),
	};
	int r;

	site_init();
	r = cmocka_run_group_tests(tests, NULL, NULL);
	certs_fini(&certs);
	return r;
}
