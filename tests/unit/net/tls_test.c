/* SPDX-License-Identifier: Apache-2.0
 * Handshakes of TLS: what is agreed, who the peer is, resumption and its
 * limits.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "net/tls_impl.h"
#include "site.h"

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

/* certfile holds the leaf alone; the CA between it and the root stands only
 * among the CAs of the clients. */
static void
chain_is_completed_from_cafile(void **state)
{
	struct tls_server_opts o = { .certfile =
					 certs_path(&certs, "below.crt"),
		.keyfile = certs_path(&certs, "below.key"),
		.cafile = certs_path(&certs, "middle.crt"),
		.min = TLS_MIN_12,
		.tickets = 1,
		.ticket_rotate_s = 3600 };
	struct tls_client *c = client_new(NULL, 0);
	struct nj_why why = { 0 };
	struct tls_server *t = NULL;
	struct pair p;

	(void)state;
	if (tls_server_new(&o, 1, &t, &why))
		fail_msg("%s", why.what);
	pair_ours(&p, t, c, "localhost", false);
	must(&p);
	pair_fini(&p);
	tls_client_free(c);
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

/* A session of TLS 1.2 keeps its cipher: one that is not served any more is not taken
 * up again. */
static void
tickets_die_with_their_ciphers(void **state)
{
	static const char *const ciphers[] = { "ECDHE-ECDSA-CHACHA20-POLY1305",
		"ECDHE-ECDSA-AES256-GCM-SHA384" };
	struct tls_server *t[2] = { NULL };
	struct tls_client *c = client_new("dev1", 12);
	struct pair p;

	for (size_t i = 0; i < 2; i++) {
		struct tls_server_opts o = { .certfile = certs_path(
						 &certs, "server.crt"),
			.keyfile = certs_path(&certs, "server.key"),
			.cafile = certs_path(&certs, "ca.crt"),
			.require_certificate = true,
			.min = TLS_MIN_12,
			.ciphers = ciphers[i],
			.tickets = 1,
			.ticket_rotate_s = 3600,
			.previous = i ? t[0] : NULL };
		struct nj_why why = { 0 };

		assert_int_equal(tls_server_new(&o, 1, &t[i], &why), NJ_OK);
	}
	assert_false(visit(t[0], c));
	assert_true(visit(t[0], c));
	pair_ours(&p, t[1], c, "localhost", true);
	must(&p);
	assert_false(stream_tls(p.server)->resumed);
	assert_string_equal(stream_tls(p.server)->cipher, ciphers[1]);
	pair_fini(&p);
	tls_client_free(c);
	tls_server_unref(t[0]);
	tls_server_unref(t[1]);
}

/* A reload replaces the listener's, twice, while a connection stays. */
static void
former_ones_are_buried(void **state)
{
	struct tls_server *first = server_new(PLAIN, NULL), *second, *third;
	struct tls_client *c = client_new(NULL, 0);
	struct pair p;

	pair_ours(&p, first, c, "localhost", false);
	must(&p);
	second = server_new(PLAIN, first);
	tls_server_unref(first);
	third = server_new(PLAIN, second);
	tls_server_unref(second);
	assert_ptr_equal(third->former, second);
	assert_ptr_equal(second->former, first);
	/* nobody has the second */
	tls_server_bury(third);
	assert_ptr_equal(third->former, first);
	tls_server_bury(third);
	assert_ptr_equal(third->former, first);
	pair_say(p.client, p.server, "still here");
	pair_fini(&p);
	assert_ptr_equal(third->former, first);
	tls_server_bury(third);
	assert_null(third->former);
	/* the last of all frees them, too */
	first = server_new(PLAIN, third);
	tls_server_unref(third);
	second = server_new(PLAIN, first);
	pair_ours(&p, first, c, "localhost", false);
	must(&p);
	tls_server_unref(first);
	tls_server_unref(second);
	pair_say(p.server, p.client, "still here");
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

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(peers_know_each_other),
		cmocka_unit_test(chain_is_completed_from_cafile),
		cmocka_unit_test(no_certificate_is_fine_when_only_wanted),
		cmocka_unit_test(resumption),
		cmocka_unit_test(resumed_peers_are_known),
		cmocka_unit_test(no_tickets_no_resumption),
		cmocka_unit_test(tickets_stay_with_their_listener),
		cmocka_unit_test(revoked_after_a_visit),
		cmocka_unit_test(tickets_die_with_a_change_of_trust),
		cmocka_unit_test(tickets_die_with_their_ciphers),
		cmocka_unit_test(former_ones_are_buried),
		cmocka_unit_test(every_kind_of_certificate),
		cmocka_unit_test(two_shards_at_once),
	};
	int r;

	site_init();
	r = cmocka_run_group_tests(tests, NULL, NULL);
	certs_fini(&certs);
	return r;
}
