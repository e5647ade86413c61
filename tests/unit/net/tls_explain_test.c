/* SPDX-License-Identifier: Apache-2.0
 * Every way a handshake fails, and the words each is told in.
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

#include "certs.h"
#include "pair.h"

static struct certs certs;

static void
make_all(void)
{
	static const struct cert_spec specs[] = {
		{ .name = "ca", .cn = "Test CA", .ca = true },
		{ .name = "otherca", .cn = "Other CA", .ca = true },
		{ .name = "server",
		    .san = "DNS:localhost,IP:127.0.0.1",
		    .eku = "serverAuth",
		    .issuer = "ca" },
		{ .name = "dev1", .eku = "clientAuth", .issuer = "ca" },
		{ .name = "revoked1", .eku = "clientAuth", .issuer = "ca" },
		{ .name = "foreign", .eku = "clientAuth", .issuer = "otherca" },
		{ .name = "expired",
		    .eku = "clientAuth",
		    .issuer = "ca",
		    .from_days = -20,
		    .to_days = -3 },
		{ .name = "early",
		    .eku = "clientAuth",
		    .issuer = "ca",
		    .from_days = 3,
		    .to_days = 20 },
		{ .name = "wronguse", .eku = "serverAuth", .issuer = "ca" },
		{ .name = "smallkey",
		    .eku = "clientAuth",
		    .issuer = "ca",
		    .rsa = 1024 },
		{ .name = "newline",
		    .cn = "dev\nname",
		    .eku = "clientAuth",
		    .issuer = "ca" },
		{ .name = "nul",
		    .cn = "dev\0evil",
		    .cn_len = 8,
		    .eku = "clientAuth",
		    .issuer = "ca" },
		{ .name = "wild",
		    .cn = "#",
		    .eku = "clientAuth",
		    .issuer = "ca" },
		{ .name = "wildsan",
		    .san = "DNS:*",
		    .eku = "clientAuth",
		    .issuer = "ca" },
		{ .name = "otherserver",
		    .cn = "server",
		    .san = "DNS:localhost",
		    .eku = "serverAuth",
		    .issuer = "otherca" },
		{ .name = "oldserver",
		    .san = "DNS:localhost",
		    .eku = "serverAuth",
		    .issuer = "ca",
		    .from_days = -20,
		    .to_days = -3 },
		{ .name = "weakserver",
		    .san = "DNS:localhost",
		    .eku = "serverAuth",
		    .issuer = "ca",
		    .rsa = 1024 },
		{ .name = "weakca", .ca = true, .rsa = 1024 },
	};
	static const char *const revoked[] = { "revoked1", NULL };
	static const char *const none[] = { NULL };

	certs_init(&certs);
	for (size_t i = 0; i < sizeof specs / sizeof *specs; i++)
		certs_make(&certs, &specs[i]);
	certs_crl(&certs, "crl.pem", "otherca", 30, none);
	certs_crl(&certs, "crl.pem", "ca", 30, revoked);
	certs_crl(&certs, "oldcrl.pem", "ca", -2, none);
}

static struct tls_server *
server_with(const struct tls_server_opts *o)
{
	struct nj_why why = { 0 };
	struct tls_server *t = NULL;

	if (tls_server_new(o, 1, &t, &why))
		fail_msg("%s", why.what);
	return t;
}

static struct tls_server *
server_new(bool mtls, bool crl, int min)
{
	struct tls_server_opts o = { .certfile =
					 certs_path(&certs, "server.crt"),
		.keyfile = certs_path(&certs, "server.key"),
		.cafile = mtls ? certs_path(&certs, "ca.crt") : NULL,
		.crlfile = crl ? certs_path(&certs, "crl.pem") : NULL,
		.require_certificate = mtls,
		.min = (enum tls_min)min,
		.tickets = 1,
		.ticket_rotate_s = 3600 };

	return server_with(&o);
}

static const char *
file_of(const char *name, const char *suffix)
{
	char file[64];

	(void)snprintf(file, sizeof file, "%s.%s", name, suffix);
	return certs_path(&certs, file);
}

static SSL_CTX *
openssl_client(const char *cert, int min, int max)
{
	SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());

	SSL_CTX_set_security_level(ctx, 0);
	assert_int_equal(SSL_CTX_set_min_proto_version(ctx, min), 1);
	assert_int_equal(SSL_CTX_set_max_proto_version(ctx, max), 1);
	if (cert) {
		assert_int_equal(SSL_CTX_use_certificate_file(ctx,
				     file_of(cert, "crt"), SSL_FILETYPE_PEM),
		    1);
		assert_int_equal(SSL_CTX_use_PrivateKey_file(ctx,
				     file_of(cert, "key"), SSL_FILETYPE_PEM),
		    1);
	}
	return ctx;
}

static void
expect(const char *why, const struct stream *s, const char *word1,
    const char *word2)
{
	const struct nj_why *w = stream_why(s);

	if (!strstr(w->what, word1) ||
	    (word2 && !strstr(w->what, word2) && !strstr(w->mend, word2)))
		fail_msg("%s: \"%s\" / \"%s\" lacks \"%s\" or \"%s\"", why,
		    w->what, w->mend, word1, word2 ? word2 : "");
	if (getenv("NJ_TEST_SHOW"))
		print_message(
		    "%s:\n    %s\n    -> %s\n", why, w->what, w->mend);
}

/* -- client certificates that are refused -------------------------------- */

static void
client_certificates(void **state)
{
	static const struct {
		const char *cert, *word1, *word2;
	} rows[] = {
		{ NULL, "no certificate", "nightjar ca device" },
		{ "foreign", "foreign", "Other CA" },
		{ "expired", "expired", "nightjar" },
		{ "early", "not valid before", NULL },
		{ "revoked1", "revoked", "revoked1" },
		{ "wronguse", "wronguse", "client" },
		{ "smallkey", "smallkey", NULL },
		{ "newline", "control character", "dev\\x0aname" },
		{ "nul", "control character", "dev\\x00evil" },
		{ "wild", "wildcard", NULL },
		{ "wildsan", "wildcard", NULL },
	};
	static const int versions[] = { TLS1_2_VERSION, TLS1_3_VERSION };
	struct tls_server *t = server_new(true, true, TLS_MIN_12);

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		for (size_t v = 0; v < 2; v++) {
			SSL_CTX *ctx = openssl_client(
			    rows[i].cert, versions[v], versions[v]);
			struct pair p;

			pair_openssl(&p, t, ctx, "localhost");
			pair_handshake(&p);
			assert_int_equal(p.se, NJ_TLS);
			expect(rows[i].cert ? rows[i].cert : "none", p.server,
			    rows[i].word1, rows[i].word2);
			assert_null(stream_tls(p.server));
			pair_fini(&p);
			SSL_CTX_free(ctx);
		}
	tls_server_unref(t);
}

/* -- what the client cannot do ------------------------------------------- */

static int
trust_nobody(int ok, X509_STORE_CTX *ctx)
{
	return ok;
}

static void
nothing_shared(void **state)
{
	static const uint8_t alpn[] = "\2h2";
	struct tls_server *t = server_new(false, false, TLS_MIN_12);
	struct tls_server *t13 = server_new(false, false, TLS_MIN_13);
	SSL_CTX *ctx[6] = {
		openssl_client(NULL, TLS1_1_VERSION, TLS1_1_VERSION),
		openssl_client(NULL, TLS1_2_VERSION, TLS1_2_VERSION),
		openssl_client(NULL, TLS1_2_VERSION, TLS1_2_VERSION),
		openssl_client(NULL, TLS1_3_VERSION, TLS1_3_VERSION),
		openssl_client(NULL, TLS1_3_VERSION, TLS1_3_VERSION),
		openssl_client(NULL, TLS1_3_VERSION, TLS1_3_VERSION),
	};
	const struct {
		const char *why;
		struct tls_server *t;
		SSL_CTX *ctx;
		const char *word1, *word2;
	} rows[] = {
		{ "TLS 1.1", t, ctx[0], "at most TLS 1.1", "TLS 1.2 and 1.3" },
		{ "1.2 to 1.3", t13, ctx[1], "at most TLS 1.2",
		    "TLS 1.3 only" },
		{ "cipher", t, ctx[2], "no shared cipher", NULL },
		{ "group", t, ctx[3], "no shared key exchange group", "P-256" },
		{ "signature", t, ctx[4], "no shared signature algorithm",
		    NULL },
		{ "alpn", t, ctx[5], "application protocol", "mqtt" },
	};

	(void)SSL_CTX_set_cipher_list(ctx[2], "AES256-SHA");
	(void)SSL_CTX_set1_groups_list(ctx[3], "X448");
	(void)SSL_CTX_set1_sigalgs_list(ctx[4], "RSA-PSS+SHA256");
	(void)SSL_CTX_set_alpn_protos(ctx[5], alpn, 3);
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct pair p;

		pair_openssl(&p, rows[i].t, rows[i].ctx, "localhost");
		pair_handshake(&p);
		assert_int_equal(p.se, NJ_TLS);
		expect(rows[i].why, p.server, rows[i].word1, rows[i].word2);
		pair_fini(&p);
	}
	for (size_t i = 0; i < 6; i++)
		SSL_CTX_free(ctx[i]);
	tls_server_unref(t);
	tls_server_unref(t13);
}

/* -- the client refuses us ----------------------------------------------- */

static void
client_refuses(void **state)
{
	static const int versions[] = { TLS1_2_VERSION, TLS1_3_VERSION };
	struct tls_server *t = server_new(false, false, TLS_MIN_12);

	for (size_t v = 0; v < 2; v++) {
		SSL_CTX *ctx = openssl_client(NULL, versions[v], versions[v]);
		struct pair p;

		SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, trust_nobody);
		pair_openssl(&p, t, ctx, "localhost");
		pair_handshake(&p);
		assert_int_equal(p.se, NJ_TLS);
		expect(
		    "unknown ca", p.server, "does not trust the CA", "ca.crt");
		pair_fini(&p);

		assert_int_equal(
		    SSL_CTX_load_verify_file(ctx, certs_path(&certs, "ca.crt")),
		    1);
		pair_openssl(&p, t, ctx, "broker.example");
		assert_int_equal(SSL_set1_host(p.ssl, "broker.example"), 1);
		pair_handshake(&p);
		assert_int_equal(p.se, NJ_TLS);
		expect("name", p.server, "another name than localhost",
		    "asked for broker.example");
		pair_fini(&p);
		SSL_CTX_free(ctx);
	}
	tls_server_unref(t);
}

/* -- bytes that are not TLS ---------------------------------------------- */

static void
other_protocols(void **state)
{
	static const struct {
		const char *bytes;
		size_t n;
		const char *word1, *word2;
	} rows[] = {
		{ "\x10\x0e\0\4MQTT\4\2\0\x3c\0\2ab", 16,
		    "plain MQTT on a TLS port", "--cafile" },
		{ "\x10", 1, "plain MQTT on a TLS port", NULL },
		{ "GET / HTTP/1.1\r\n", 16, "plain HTTP", "wss://" },
		{ "PROXY TCP4 1.2.3.4", 18, "PROXY protocol", NULL },
		{ "\x80\x2e\1\0\2", 5, "SSL 2.0", NULL },
		{ "hello\033[31m", 10, "not TLS", "hello\\x1b" },
		{ "\x15\3\3\0\2\2\50", 7, "not TLS", NULL },
		{ "\x16\3\1\0\4\2\0\0\0", 9, "not with a ClientHello", NULL },
		{ "\x16\3\1\0\0", 5, "not with a ClientHello", NULL },
		{ "\x16\3\1\0\4\1\0\x50\0", 9, "larger than", NULL },
	};
	struct tls_server *t = server_new(false, false, TLS_MIN_12);

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct pair p;

		pair_raw(&p, t);
		assert_int_equal(
		    send(p.raw, rows[i].bytes, rows[i].n, 0), rows[i].n);
		pair_handshake(&p);
		assert_int_equal(p.se, NJ_TLS);
		expect(rows[i].bytes, p.server, rows[i].word1, rows[i].word2);
		/* Nothing helps an attacker. */
		assert_int_equal(recv(p.raw, (char[8]){ 0 }, 8, 0), 0);
		pair_fini(&p);
	}
	tls_server_unref(t);
	assert_true(stream_looks_like_tls(LIT("\x16\3\1")));
	assert_false(stream_looks_like_tls(LIT("\x10\x0e\0")));
	assert_false(stream_looks_like_tls(SLICE_NONE));
}

static void
closed_early(void **state)
{
	struct tls_server *t = server_new(false, false, TLS_MIN_12);
	SSL_CTX *ctx = openssl_client(NULL, TLS1_3_VERSION, TLS1_3_VERSION);
	struct pair p;

	pair_raw(&p, t);
	assert_int_equal(send(p.raw, "\x16\3\1\1", 4, 0), 4);
	assert_int_equal(stream_handshake(p.server), NJ_AGAIN);
	(void)shutdown(p.raw, SHUT_WR);
	assert_int_equal(stream_handshake(p.server), NJ_EOF);
	expect("in the hello", p.server, "whole ClientHello", NULL);
	pair_fini(&p);

	pair_openssl(&p, t, ctx, "h");
	(void)SSL_do_handshake(p.ssl);
	assert_int_equal(stream_handshake(p.server), NJ_AGAIN);
	(void)shutdown(p.raw, SHUT_WR);
	assert_int_equal(stream_handshake(p.server), NJ_TLS);
	expect("after our certificate", p.server, "during the handshake",
	    "localhost");
	pair_fini(&p);
	SSL_CTX_free(ctx);
	tls_server_unref(t);
}

/* -- our own client ------------------------------------------------------ */

struct client_row {
	const char *why, *cafile, *cert, *host;
	bool mtls;
	int max;
	const char *word1, *word2;
};

static void
run_client_row(const struct client_row *r)
{
	struct tls_server *t = server_new(r->mtls, false, TLS_MIN_12);
	struct tls_client_opts o = { .cafile = certs_path(&certs, r->cafile),
		.certfile = r->cert ? file_of(r->cert, "crt") : NULL,
		.keyfile = r->cert ? file_of(r->cert, "key") : NULL,
		.max = (enum tls_min)r->max };
	struct tls_client *c = NULL;
	struct nj_why why;
	struct pair p;
	uint8_t byte;
	size_t n;

	assert_int_equal(tls_client_new(&o, &c, &why), NJ_OK);
	pair_ours(&p, t, c, r->host, false);
	pair_handshake(&p);
	assert_int_equal(p.se, NJ_TLS);
	/* A TLS 1.3 client learns of it when it reads. */
	if (p.ce == NJ_OK)
		p.ce = stream_read(p.client, &byte, 1, &n);
	assert_int_equal(p.ce, NJ_TLS);
	expect(r->why, p.client, r->word1, r->word2);
	pair_fini(&p);
	tls_client_free(c);
	tls_server_unref(t);
}

static void
our_client(void **state)
{
	static const struct client_row rows[] = {
		{ "name", "ca.crt", NULL, "futro-s450", false, 0,
		    "valid for localhost", "futro-s450" },
		{ "address", "ca.crt", NULL, "192.168.1.20", false, 0,
		    "127.0.0.1", "192.168.1.20" },
		{ "unknown ca", "otherca.crt", NULL, "localhost", false, 0,
		    "not trusted", "--cafile" },
		{ "no certificate", "ca.crt", NULL, "localhost", true, 0,
		    "requires a client certificate", "--cert" },
		{ "no certificate, 1.2", "ca.crt", NULL, "localhost", true, 12,
		    "client certificate", "--cert" },
		{ "foreign", "ca.crt", "foreign", "localhost", true, 0,
		    "does not trust", "--cert" },
		{ "expired", "ca.crt", "expired", "localhost", true, 0,
		    "expired", NULL },
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		run_client_row(&rows[i]);
}

static void
our_client_meets_plain(void **state)
{
	struct tls_client_opts o = { .cafile = certs_path(&certs, "ca.crt") };
	struct tls_client *c = NULL;
	struct stream_scratch *sc = NULL;
	struct stream *s = NULL;
	struct nj_why why;
	int fd[2];

	assert_int_equal(stream_scratch_new(&sc), NJ_OK);
	assert_int_equal(tls_client_new(&o, &c, &why), NJ_OK);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(
		    socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fd), 0);
		assert_int_equal(
		    tls_connect(c, fd[0], "localhost", false, sc, &s), NJ_OK);
		assert_int_equal(stream_handshake(s), NJ_AGAIN);
		if (i == 0)
			assert_int_equal(
			    send(fd[1], "HTTP/1.1 400 Bad\r\n", 18, 0), 18);
		(void)shutdown(fd[1], SHUT_WR);
		assert_int_equal(stream_handshake(s), NJ_TLS);
		expect("plain", s,
		    i == 0 ? "does not speak TLS" : "closed the connection",
		    "8883");
		stream_free(s);
		(void)close(fd[1]);
	}
	tls_client_free(c);
	stream_scratch_free(sc);
}

/* -- what is refused at the start ---------------------------------------- */

struct told {
	int fatal, doubts;
	char all[8192];
};

static void
on_fault(void *arg, bool fatal, const struct nj_why *why)
{
	struct told *t = arg;
	size_t at = strlen(t->all);

	t->fatal += fatal;
	t->doubts += !fatal;
	(void)snprintf(t->all + at, sizeof t->all - at, "%s -> %s\n", why->what,
	    why->mend);
}

static void
bad_configurations(void **state)
{
	const struct {
		const char *why;
		struct tls_server_opts o;
		const char *word1, *word2;
	} rows[] = {
		{ "missing",
		    { .certfile = "/nowhere.crt", .keyfile = "/no.key" },
		    "/nowhere.crt", "/no.key" },
		{ "pair",
		    { .certfile = certs_path(&certs, "server.crt"),
			.keyfile = certs_path(&certs, "dev1.key") },
		    "is not the key of", "nightjar ca server" },
		{ "expired",
		    { .certfile = certs_path(&certs, "oldserver.crt"),
			.keyfile = certs_path(&certs, "oldserver.key") },
		    "expired", "nightjar ca" },
		{ "weak",
		    { .certfile = certs_path(&certs, "weakserver.crt"),
			.keyfile = certs_path(&certs, "weakserver.key"),
			.cafile = certs_path(&certs, "weakca.crt") },
		    "1024", "nightjar ca init" },
		{ "no ca",
		    { .certfile = certs_path(&certs, "server.crt"),
			.keyfile = certs_path(&certs, "server.key"),
			.require_certificate = true },
		    "require_certificate", "cafile" },
		{ "key as cert",
		    { .certfile = certs_path(&certs, "server.key"),
			.keyfile = certs_path(&certs, "server.key") },
		    "holds a private key", NULL },
		{ "old crl",
		    { .certfile = certs_path(&certs, "server.crt"),
			.keyfile = certs_path(&certs, "server.key"),
			.cafile = certs_path(&certs, "ca.crt"),
			.crlfile = certs_path(&certs, "oldcrl.pem") },
		    "revocation list ended", NULL },
		{ "cert as crl",
		    { .certfile = certs_path(&certs, "server.crt"),
			.keyfile = certs_path(&certs, "server.key"),
			.cafile = certs_path(&certs, "ca.crt"),
			.crlfile = certs_path(&certs, "ca.crt") },
		    "no certificate revocation list", NULL },
		{ "ciphers",
		    { .certfile = certs_path(&certs, "server.crt"),
			.keyfile = certs_path(&certs, "server.key"),
			.ciphers = "AES256-SHA" },
		    "AES256-SHA", "delete the line" },
		{ "suites",
		    { .certfile = certs_path(&certs, "server.crt"),
			.keyfile = certs_path(&certs, "server.key"),
			.ciphersuites = "TLS_NONE" },
		    "TLS_NONE", NULL },
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct tls_server *t = NULL;
		struct nj_why why = { 0 };
		struct told told = { 0 };

		assert_int_equal(
		    tls_server_new(&rows[i].o, 1, &t, &why), NJ_INVALID);
		assert_null(t);
		assert_true(why.what[0]);
		tls_server_check(&rows[i].o, on_fault, &told);
		assert_true(told.fatal >= 1);
		if (!strstr(told.all, rows[i].word1) ||
		    (rows[i].word2 && !strstr(told.all, rows[i].word2)))
			fail_msg("%s: %s", rows[i].why, told.all);
		if (getenv("NJ_TEST_SHOW"))
			print_message("%s:\n%s", rows[i].why, told.all);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(client_certificates),
		cmocka_unit_test(nothing_shared),
		cmocka_unit_test(client_refuses),
		cmocka_unit_test(other_protocols),
		cmocka_unit_test(closed_early),
		cmocka_unit_test(our_client),
		cmocka_unit_test(our_client_meets_plain),
		cmocka_unit_test(bad_configurations),
	};
	int r;

	make_all();
	r = cmocka_run_group_tests(tests, NULL, NULL);
	certs_fini(&certs);
	return r;
}
