/* SPDX-License-Identifier: Apache-2.0
 * TLS streams: what is agreed, who the peer is, resumption and its limits,
 * and streams under awkward circumstances.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <openssl/err.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "certs.h"
#include "net/loop.h"
#include "pair.h"

static struct certs certs;

static const struct cert_spec specs[] = {
	{ .name = "ca", .cn = "Test CA", .ca = true },
	{ .name = "otherca", .cn = "Other CA", .ca = true },
	{ .name = "server",
	    .san = "DNS:localhost,IP:127.0.0.1",
	    .eku = "serverAuth",
	    .issuer = "ca" },
	{ .name = "rsaserver",
	    .san = "DNS:localhost",
	    .eku = "serverAuth",
	    .issuer = "ca",
	    .rsa = 2048 },
	{ .name = "dev1",
	    .san = "URI:urn:nightjar:x:device:dev1,DNS:dev1.lan",
	    .eku = "clientAuth",
	    .issuer = "ca" },
	{ .name = "dev2", .eku = "clientAuth", .issuer = "ca" },
	{ .name = "rsadev", .eku = "clientAuth", .issuer = "ca", .rsa = 2048 },
	{ .name = "p384dev",
	    .eku = "clientAuth",
	    .issuer = "ca",
	    .p384 = true },
	{ .name = "eddev",
	    .eku = "clientAuth",
	    .issuer = "ca",
	    .ed25519 = true },
	{ .name = "edserver",
	    .san = "DNS:localhost",
	    .eku = "serverAuth",
	    .issuer = "ca",
	    .ed25519 = true },
	{ .name = "p384server",
	    .san = "DNS:localhost",
	    .eku = "serverAuth",
	    .issuer = "ca",
	    .p384 = true },
	{ .name = "ends",
	    .eku = "clientAuth",
	    .issuer = "ca",
	    .from_days = -3,
	    .to_days = 1 },
};

enum { PLAIN = 0, MTLS = 1, CRL = 2, WANT = 4, NO_TICKETS = 8, ONLY13 = 16 };

static struct tls_server *
server_new(unsigned flags, const struct tls_server *previous)
{
	struct tls_server_opts o = { .certfile =
					 certs_path(&certs, "server.crt"),
		.keyfile = certs_path(&certs, "server.key"),
		.cafile =
		    flags & (MTLS | WANT) ? certs_path(&certs, "ca.crt") : NULL,
		.crlfile = flags & CRL ? certs_path(&certs, "crl.pem") : NULL,
		.require_certificate = flags & MTLS,
		.want_certificate = flags & WANT,
		.min = flags & ONLY13 ? TLS_MIN_13 : TLS_MIN_12,
		.tickets = flags & NO_TICKETS ? 0 : 1,
		.ticket_rotate_s = 3600,
		.previous = previous };
	struct nj_why why = { 0 };
	struct tls_server *t = NULL;

	if (tls_server_new(&o, 1, &t, &why))
		fail_msg("%s", why.what);
	return t;
}

static struct tls_client *
client_new(const char *cert, int max)
{
	char crt[32], key[32];
	struct tls_client_opts o = { .cafile = certs_path(&certs, "ca.crt"),
		.max = (enum tls_min)max,
		.alpn = "mqtt" };
	struct tls_client *c = NULL;
	struct nj_why why = { 0 };

	if (cert) {
		(void)snprintf(crt, sizeof crt, "%s.crt", cert);
		(void)snprintf(key, sizeof key, "%s.key", cert);
		o.certfile = certs_path(&certs, crt);
		o.keyfile = certs_path(&certs, key);
	}
	if (tls_client_new(&o, &c, &why))
		fail_msg("%s", why.what);
	return c;
}

static void
must(struct pair *p)
{
	pair_handshake(p);
	if (p->se || p->ce)
		fail_msg("server: %s; client: %s", stream_why(p->server)->what,
		    p->client ? stream_why(p->client)->what : "");
}

/* One whole connection with a word each way; whether it resumed. */
static bool
visit(struct tls_server *t, struct tls_client *c)
{
	struct pair p;
	bool resumed;

	pair_ours(&p, t, c, "localhost", true);
	must(&p);
	pair_say(p.client, p.server, "ping");
	pair_say(p.server, p.client, "pong");
	resumed = stream_tls(p.server)->resumed;
	assert_int_equal(resumed, stream_tls(p.client)->resumed);
	pair_fini(&p);
	return resumed;
}

static void
peers_know_each_other(void **state)
{
	static const int versions[] = { 12, 13 };
	struct tls_server *t = server_new(MTLS, NULL);

	for (size_t i = 0; i < 2; i++) {
		struct tls_client *c = client_new("dev1", versions[i]);
		const struct tls_peer *peer;
		struct pair p;

		pair_ours(&p, t, c, "localhost", false);
		assert_null(stream_tls(p.server));
		must(&p);
		peer = stream_tls(p.server);
		assert_true(peer->has_cert);
		assert_false(peer->resumed);
		assert_string_equal(peer->version, i ? "TLSv1.3" : "TLSv1.2");
		assert_string_equal(peer->cipher,
		    i ? "TLS_AES_128_GCM_SHA256"
		      : "ECDHE-ECDSA-AES128-GCM-SHA256");
		assert_string_equal(peer->alpn, "mqtt");
		assert_string_equal(peer->sni, "localhost");
		assert_string_equal(peer->cn, "dev1");
		assert_string_equal(peer->subject, "CN=dev1");
		assert_string_equal(
		    peer->san_uri, "urn:nightjar:x:device:dev1");
		assert_string_equal(peer->san_dns, "dev1.lan");
		assert_string_equal(peer->san_email, "");
		assert_true(strlen(peer->serial) >= 8);
		assert_true(peer->not_after > 0);
		assert_memory_not_equal(
		    peer->cert_sha256, peer->spki_sha256, 32);
		assert_string_equal(stream_tls(p.client)->cn, "server");
		pair_say(p.client, p.server, "hello");
		pair_say(p.server, p.client, "world");
		pair_fini(&p);
		tls_client_free(c);
	}
	tls_server_unref(t);
}

static void
no_certificate_is_fine_when_only_wanted(void **state)
{
	struct tls_server *t = server_new(WANT, NULL);
	struct tls_client *c = client_new(NULL, 0);
	struct pair p;

	pair_ours(&p, t, c, "127.0.0.1", false);
	must(&p);
	assert_false(stream_tls(p.server)->has_cert);
	assert_string_equal(stream_tls(p.server)->cn, "");
	assert_string_equal(stream_tls(p.server)->sni, "");
	pair_fini(&p);
	tls_client_free(c);
	tls_server_unref(t);
}

static void
resumption(void **state)
{
	static const int versions[] = { 12, 13 };

	for (size_t i = 0; i < 2; i++)
		for (unsigned flags = PLAIN; flags <= MTLS; flags++) {
			struct tls_server *t = server_new(flags, NULL);
			struct tls_client *c =
			    client_new(flags ? "dev1" : NULL, versions[i]);

			assert_false(visit(t, c));
			assert_true(visit(t, c));
			/* Two more generations keep old tickets good... */
			tls_server_rotate(t);
			tls_server_rotate(t);
			assert_true(visit(t, c));
			/* ...and that visit brought a new ticket. */
			tls_server_rotate(t);
			assert_true(visit(t, c));
			/* A third forgets. */
			for (int k = 0; k < 3; k++)
				tls_server_rotate(t);
			assert_false(visit(t, c));
			assert_true(visit(t, c));
			tls_client_free(c);
			tls_server_unref(t);
		}
}

static void
resumed_peers_are_known(void **state)
{
	struct tls_server *t = server_new(MTLS, NULL);
	struct tls_client *c = client_new("dev1", 0);
	struct pair p;

	assert_false(visit(t, c));
	pair_ours(&p, t, c, "localhost", true);
	must(&p);
	assert_true(stream_tls(p.server)->resumed);
	assert_true(stream_tls(p.server)->has_cert);
	assert_string_equal(stream_tls(p.server)->cn, "dev1");
	pair_fini(&p);
	tls_client_free(c);
	tls_server_unref(t);
}

static void
no_tickets_no_resumption(void **state)
{
	static const int versions[] = { 12, 13 };

	for (size_t i = 0; i < 2; i++) {
		struct tls_server *t = server_new(NO_TICKETS, NULL);
		struct tls_client *c = client_new(NULL, versions[i]);

		assert_false(visit(t, c));
		assert_false(visit(t, c));
		tls_client_free(c);
		tls_server_unref(t);
	}
}

/* [SECURITY 53] */
static void
tickets_stay_with_their_listener(void **state)
{
	static const int versions[] = { 12, 13 };

	for (size_t i = 0; i < 2; i++) {
		struct tls_server *open = server_new(PLAIN, NULL);
		struct tls_server *mtls = server_new(MTLS, NULL);
		struct tls_server *sharing = server_new(MTLS, open);
		struct tls_client *c = client_new(NULL, versions[i]);
		struct pair p;

		assert_false(visit(open, c));
		assert_true(visit(open, c));
		pair_ours(&p, mtls, c, "localhost", true);
		pair_handshake(&p);
		assert_int_equal(p.se, NJ_TLS);
		assert_non_null(
		    strstr(stream_why(p.server)->what, "no certificate"));
		pair_fini(&p);
		/* Not even when a reload hands the keys over. */
		assert_true(visit(open, c));
		pair_ours(&p, sharing, c, "localhost", true);
		pair_handshake(&p);
		assert_int_equal(p.se, NJ_TLS);
		pair_fini(&p);
		tls_client_free(c);
		tls_server_unref(open);
		tls_server_unref(mtls);
		tls_server_unref(sharing);
	}
}

/* [SECURITY 53] Revoked between two visits: the ticket is not good any more. */
static void
revoked_after_a_visit(void **state)
{
	static const char *const revoked[] = { "dev2", NULL };
	static const int versions[] = { 12, 13 };

	certs_crl(&certs, "crl.pem", "ca", 30, revoked);
	for (size_t i = 0; i < 2; i++) {
		struct tls_server *before = server_new(MTLS, NULL);
		struct tls_server *after = server_new(MTLS | CRL, before);
		struct tls_client *good = client_new("dev1", versions[i]);
		struct tls_client *bad = client_new("dev2", versions[i]);
		struct pair p;

		assert_false(visit(before, good));
		assert_false(visit(before, bad));
		assert_true(visit(before, bad));
		assert_true(visit(after, good));
		pair_ours(&p, after, bad, "localhost", true);
		pair_handshake(&p);
		assert_int_equal(p.se, NJ_TLS);
		assert_non_null(strstr(stream_why(p.server)->what, "revoked"));
		assert_non_null(strstr(stream_why(p.server)->what, "dev2"));
		pair_fini(&p);
		tls_client_free(good);
		tls_client_free(bad);
		tls_server_unref(before);
		tls_server_unref(after);
	}
}

static void
tickets_die_with_a_change_of_trust(void **state)
{
	struct tls_server *before = server_new(MTLS, NULL), *after;
	struct tls_client *c = client_new("dev1", 0);
	struct tls_server_opts o = { .certfile =
					 certs_path(&certs, "server.crt"),
		.keyfile = certs_path(&certs, "server.key"),
		.cafile = certs_path(&certs, "otherca.crt"),
		.require_certificate = true,
		.tickets = 1,
		.previous = before };
	struct nj_why why;
	struct pair p;

	assert_int_equal(tls_server_new(&o, 1, &after, &why), NJ_OK);
	assert_false(visit(before, c));
	pair_ours(&p, after, c, "localhost", true);
	pair_handshake(&p);
	assert_int_equal(p.se, NJ_TLS);
	assert_non_null(strstr(stream_why(p.server)->what, "Test CA"));
	pair_fini(&p);
	tls_client_free(c);
	tls_server_unref(before);
	tls_server_unref(after);
}

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

static void
every_kind_of_certificate(void **state)
{
	static const struct {
		const char *server, *client;
	} rows[] = { { "rsaserver", "rsadev" }, { "p384server", "p384dev" },
		{ "edserver", "eddev" }, { "server", "rsadev" } };
	static const int versions[] = { 12, 13 };
	char crt[32], key[32];

	for (size_t i = 0; i < 8; i++) {
		struct tls_server_opts o = { .cafile =
						 certs_path(&certs, "ca.crt"),
			.require_certificate = true,
			.tickets = 1,
			.ticket_rotate_s = 1 };
		struct tls_server *t = NULL;
		struct tls_client *c =
		    client_new(rows[i / 2].client, versions[i % 2]);
		struct nj_why why = { 0 };
		struct pair p;

		(void)snprintf(crt, sizeof crt, "%s.crt", rows[i / 2].server);
		(void)snprintf(key, sizeof key, "%s.key", rows[i / 2].server);
		o.certfile = certs_path(&certs, crt);
		o.keyfile = certs_path(&certs, key);
		if (tls_server_new(&o, 2, &t, &why))
			fail_msg("%s", why.what);
		assert_false(visit(t, c));
		assert_true(visit(t, c));
		pair_ours(&p, t, c, "localhost", true);
		must(&p);
		assert_string_equal(
		    stream_tls(p.server)->cn, rows[i / 2].client);
		pair_fini(&p);
		tls_client_free(c);
		tls_server_unref(t);
	}
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

struct shard_run {
	pthread_t thread;
	unsigned shard;
	struct tls_server *t;
	struct tls_client *c;
	int resumed;
};

static void *
run_shard(void *arg)
{
	struct shard_run *r = arg;

	pair_shard = r->shard;
	for (int i = 0; i < 40; i++)
		r->resumed += visit(r->t, r->c);
	return NULL;
}

/* Shards share the ticket keys and nothing else. */
static void
two_shards_at_once(void **state)
{
	struct tls_server_opts o = { .certfile =
					 certs_path(&certs, "server.crt"),
		.keyfile = certs_path(&certs, "server.key"),
		.cafile = certs_path(&certs, "ca.crt"),
		.require_certificate = true,
		.tickets = 1,
		.ticket_rotate_s = 3600 };
	struct shard_run r[2];
	struct tls_server *t = NULL;
	struct nj_why why;

	assert_int_equal(tls_server_new(&o, 2, &t, &why), NJ_OK);
	for (unsigned i = 0; i < 2; i++) {
		r[i] = (struct shard_run){
			.shard = i, .t = t, .c = client_new("dev1", 0)
		};
		assert_int_equal(
		    pthread_create(&r[i].thread, NULL, run_shard, &r[i]), 0);
	}
	for (int i = 0; i < 3; i++)
		tls_server_rotate(t);
	for (unsigned i = 0; i < 2; i++) {
		assert_int_equal(pthread_join(r[i].thread, NULL), 0);
		assert_true(r[i].resumed > 30);
	}
	/* A ticket of one shard opens the other. */
	pair_shard = 1;
	assert_true(visit(t, r[0].c));
	pair_shard = 0;
	assert_true(visit(t, r[0].c));
	tls_client_free(r[0].c);
	tls_client_free(r[1].c);
	tls_server_unref(t);
}

static void
make_all(void)
{
	certs_init(&certs);
	for (size_t i = 0; i < sizeof specs / sizeof *specs; i++)
		certs_make(&certs, &specs[i]);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(peers_know_each_other),
		cmocka_unit_test(no_certificate_is_fine_when_only_wanted),
		cmocka_unit_test(resumption),
		cmocka_unit_test(resumed_peers_are_known),
		cmocka_unit_test(no_tickets_no_resumption),
		cmocka_unit_test(tickets_stay_with_their_listener),
		cmocka_unit_test(revoked_after_a_visit),
		cmocka_unit_test(tickets_die_with_a_change_of_trust),
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
		cmocka_unit_test(every_kind_of_certificate),
		cmocka_unit_test(two_shards_at_once),
		cmocka_unit_test(small_records),
		cmocka_unit_test(long_after_the_handshake),
		cmocka_unit_test(key_updates_with_a_certificate),
		cmocka_unit_test(pre_shared_key),
		cmocka_unit_test(bad_client_options),
		cmocka_unit_test(client_odds_and_ends),
	};
	int r;

	make_all();
	r = cmocka_run_group_tests(tests, NULL, NULL);
	certs_fini(&certs);
	return r;
}
