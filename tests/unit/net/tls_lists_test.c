/* SPDX-License-Identifier: Apache-2.0
 * Foreign lists of revoked certificates: what is known of them before any
 * handshake, and that each is judged as the library alone would.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lists.h"

#define MANY 130000 /* more than 4 MiB of them */

static void
extend(X509_CRL *crl, const char *name, const char *value)
{
	X509V3_CTX ctx;
	X509_EXTENSION *e;

	X509V3_set_ctx(&ctx, certs_get(&certs, "ca"), NULL, NULL, crl, 0);
	X509V3_set_ctx_nodb(&ctx);
	e = X509V3_EXT_conf(NULL, &ctx, name, value);
	if (!e || !X509_CRL_add_ext(crl, e, -1))
		fail_msg("%s: %s", name, value);
	X509_EXTENSION_free(e);
}

/* Says by whose key it is signed. */
static void
name_key(X509_CRL *crl, const char *ca)
{
	X509V3_CTX ctx;
	X509_EXTENSION *e;

	X509V3_set_ctx(&ctx, certs_get(&certs, ca), NULL, NULL, crl, 0);
	X509V3_set_ctx_nodb(&ctx);
	e = X509V3_EXT_conf(
	    NULL, &ctx, "authorityKeyIdentifier", "keyid:always");
	assert_true(e && X509_CRL_add_ext(crl, e, -1));
	X509_EXTENSION_free(e);
}

/* What the library says of them without us. */
static int
library_says(const char *crlfile, const char *client)
{
	X509_STORE *store = X509_STORE_new();
	X509_STORE_CTX *ctx = X509_STORE_CTX_new();
	STACK_OF(X509) *sent = sk_X509_new_null();
	int said;

	if (X509_STORE_load_locations(
		store, certs_path(&certs, "cas.pem"), NULL) != 1 ||
	    X509_STORE_load_locations(
		store, certs_path(&certs, crlfile), NULL) != 1)
		fail_msg("%s cannot be read", crlfile);
	(void)X509_STORE_set_flags(store, X509_V_FLAG_CRL_CHECK);
	(void)sk_X509_push(sent, certs_get(&certs, "middle"));
	(void)X509_STORE_CTX_init(ctx, store, certs_get(&certs, client), sent);
	said = X509_verify_cert(ctx) == 1 ? X509_V_OK
					  : X509_STORE_CTX_get_error(ctx);
	sk_X509_free(sent);
	X509_STORE_CTX_free(ctx);
	X509_STORE_free(store);
	return said;
}

/* A list on which dev2 stands, or who else is named last. */
static const struct {
	const char *why, *ca, *signer;
	struct {
		const char *name, *value;
	} ext[2], entry; /* entry: of who is revoked */
	size_t good;	 /* signatures known before any handshake */
	int want;
	const char *word; /* NULL: whoever is not on it is let in */
	const char *client, *revoked;
} rows[] = {
	{ .why = "as they are", .good = 1 },
	{ .why = "that names its key, critically",
	    .ext = { { "authorityKeyIdentifier", "critical,keyid:always" } },
	    .good = 1 },
	{ .why = "that names another key",
	    .ext = { { "authorityKeyIdentifier",
		"critical,DER:30:06:80:04:01:02:03:04" } },
	    .want = X509_V_ERR_UNABLE_TO_GET_CRL,
	    .word = "there is no CRL of its issuer" },
	{ .why = "with a reason, critically",
	    .entry = { "CRLReason", "critical,DER:0A:01:01" },
	    .good = 1,
	    .want = X509_V_ERR_UNHANDLED_CRITICAL_CRL_EXTENSION,
	    .word = "" },
	{ .why = "with a reason",
	    .entry = { "CRLReason", "DER:0A:01:01" },
	    .good = 1 },
	{ .why = "with a number",
	    .ext = { { "crlNumber", "DER:02:01:07" } },
	    .good = 1 },
	{ .why = "of another CA of that name",
	    .signer = "otherca",
	    .want = X509_V_ERR_CRL_SIGNATURE_FAILURE,
	    .word = "not signed by its issuer" },
	{ .why = "of another CA",
	    .ca = "otherca",
	    .signer = "otherca",
	    .good = 1,
	    .want = X509_V_ERR_UNABLE_TO_GET_CRL,
	    .word = "there is no CRL of its issuer" },
	{ .why = "of a CA that may not sign any",
	    .ca = "nolists",
	    .signer = "nolists",
	    .want = X509_V_ERR_KEYUSAGE_NO_CRL_SIGN,
	    .word = "",
	    .client = "lone",
	    .revoked = "lone2" },
	{ .why = "of CAs only",
	    .ext = { { "issuingDistributionPoint", "critical,onlyCA:TRUE" } },
	    .want = X509_V_ERR_DIFFERENT_CRL_SCOPE,
	    .word = "" },
	{ .why = "of no CAs",
	    .ext = { { "issuingDistributionPoint",
		"critical,onlyuser:TRUE" } } },
	{ .why = "of some reasons",
	    .ext = { { "issuingDistributionPoint",
		"critical,onlysomereasons:keyCompromise" } },
	    .want = X509_V_ERR_UNABLE_TO_GET_CRL,
	    .word = "there is no CRL of its issuer" },
	{ .why = "that names its own CA with an entry",
	    .entry = { "certificateIssuer", "ca" },
	    .good = 1 },
	{ .why = "with what nobody knows",
	    .ext = { { "1.2.3.4.5", "critical,DER:05:00" } },
	    .good = 1,
	    .want = X509_V_ERR_UNHANDLED_CRITICAL_CRL_EXTENSION,
	    .word = "" },
	{ .why = "of a CA that clients send",
	    .ca = "middle",
	    .signer = "middle",
	    .client = "under",
	    .revoked = "under2" },
};

/* The name of that CA: the library knows no text for it. */
static X509_EXTENSION *
entry_issuer(const char *ca)
{
	GENERAL_NAMES *names = sk_GENERAL_NAME_new_null();
	GENERAL_NAME *name = GENERAL_NAME_new();
	X509_EXTENSION *e;

	GENERAL_NAME_set0_value(name, GEN_DIRNAME,
	    X509_NAME_dup(X509_get_subject_name(certs_get(&certs, ca))));
	(void)sk_GENERAL_NAME_push(names, name);
	e = X509V3_EXT_i2d(NID_certificate_issuer, 1, names);
	GENERAL_NAMES_free(names);
	return e;
}

static void
extend_entry(X509_CRL *crl, const char *name, const char *value)
{
	X509V3_CTX ctx;
	X509_EXTENSION *e;

	X509V3_set_ctx_nodb(&ctx);
	e = strcmp(name, "certificateIssuer") == 0
	    ? entry_issuer(value)
	    : X509V3_EXT_conf(NULL, &ctx, name, value);
	if (!e ||
	    !X509_REVOKED_add_ext(
		sk_X509_REVOKED_value(X509_CRL_get_REVOKED(crl), 0), e, -1))
		fail_msg("%s: %s", name, value);
	X509_EXTENSION_free(e);
}

static const char *
make(size_t i)
{
	static char file[32];
	X509_CRL *crl = list_of(rows[i].ca ? rows[i].ca : "ca",
	    rows[i].revoked ? rows[i].revoked : "dev2");

	if (rows[i].entry.name)
		extend_entry(crl, rows[i].entry.name, rows[i].entry.value);

	for (size_t k = 0; k < 2 && rows[i].ext[k].name; k++)
		extend(crl, rows[i].ext[k].name, rows[i].ext[k].value);
	(void)snprintf(file, sizeof file, "list%zu.pem", i);
	certs_crl_put(
	    &certs, file, rows[i].signer ? rows[i].signer : "ca", crl);
	return file;
}

/* [SECURITY 53] */
static void
judged_as_by_the_library(void **state)
{
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		const char *file = make(i);
		const char *client = rows[i].client ? rows[i].client : "dev1";
		const char *gone = rows[i].revoked ? rows[i].revoked : "dev2";
		struct tls_server *t = server_of(file);
		struct tls_revoked *r = tls_server_revoked(t);
		int says = library_says(file, client);

		if (says != rows[i].want || known(r) != rows[i].good)
			fail_msg("%s: %s, %zu", rows[i].why,
			    X509_verify_cert_error_string(says), known(r));
		tls_revoked_unref(r);
		if (!rows[i].word) {
			let_in(t, client);
			refused(t, gone, "revoked");
		} else {
			refused(t, client, rows[i].word);
			refused(t, gone, rows[i].word);
		}
		tls_server_unref(t);
	}
}

/* [SECURITY 53] A ticket from before the list opens what a full handshake would: at once
 * where the signature is known, else from the second time. */
static void
tickets_as_by_the_library(void **state)
{
	for (size_t i = 0; i < 2 * sizeof rows / sizeof *rows; i++) {
		const char *file = make(i / 2);
		const char *client = rows[i / 2].client;
		struct tls_client *c =
		    client_new(client ? client : "dev1", i % 2 ? 13 : 12);
		struct tls_server *before = server_of(NULL), *t;
		bool resumed;

		assert_false(visit(before, c));
		assert_true(visit(before, c));
		t = reloaded(file, before);
		if (rows[i / 2].word) {
			stays_out(t, c);
		} else {
			resumed = visit(t, c);
			if (resumed != (rows[i / 2].good == 1) || !visit(t, c))
				fail_msg("%s: %s", rows[i / 2].why,
				    resumed ? "resumed" : "not resumed");
		}
		tls_client_free(c);
		tls_server_unref(t);
		tls_server_unref(before);
	}
}

/* [SECURITY 53] RFC 5280 5.2.5, 5.3.3: a list that speaks of others' certificates, or
 * does not say of which, is refused, and is not taken at a renewal. */
static void
lists_of_several_cas(void **state)
{
	static const char indirect[] = "is an indirect one",
			  unclear[] = "in a form that can be read";
	static const struct {
		const char *flag, *of, *flag2, *word;
	} lists[] = { { "critical,indirectCRL:TRUE", NULL, NULL, indirect },
		{ "critical,indirectCRL:TRUE", "otherca", NULL, indirect },
		{ NULL, "otherca", NULL, indirect },
		{ "critical,DER:04:00", NULL, NULL, unclear },
		{ "DER:30:03:81:01", "otherca", NULL, unclear },
		{ "critical,onlyuser:TRUE", NULL, "onlyCA:TRUE", unclear } };

	for (size_t i = 0; i < sizeof lists / sizeof *lists; i++) {
		X509_CRL *crl = list_of("ca", "dev2");
		struct tls_server *t = server_of(make(0));
		struct nj_why why = { 0 };
		bool changed = false;

		if (lists[i].flag)
			extend(crl, "issuingDistributionPoint", lists[i].flag);
		if (lists[i].flag2)
			extend(crl, "issuingDistributionPoint", lists[i].flag2);
		if (lists[i].of)
			extend_entry(crl, "certificateIssuer", lists[i].of);
		certs_crl_put(&certs, "several.pem", "ca", crl);
		refuses_to_start("several.pem", lists[i].word);
		free((void *)(uintptr_t)t->lists.crlfile);
		t->lists.crlfile = strdup(certs_path(&certs, "several.pem"));
		assert_int_equal(
		    tls_server_renew_lists(t, &changed, &why), NJ_INVALID);
		assert_non_null(strstr(why.what, lists[i].word));
		assert_true(why.mend[0]);
		let_in(t, "dev1");
		refused(t, "dev2", "revoked");
		tls_server_unref(t);
	}
}

/* parts.pem: lists of one CA, each of what names its place. */
static void
put_parts(size_t n)
{
	static const char *const places[] = {
		"critical,fullname:URI:http://lists/1",
		"critical,fullname:URI:http://lists/2"
	};

	(void)unlink(certs_path(&certs, "parts.pem"));
	for (size_t i = 0; i < n; i++) {
		X509_CRL *crl = list_of("ca", "dev2");

		extend(crl, "issuingDistributionPoint", places[i]);
		certs_crl_put(&certs, "one.pem", "ca", crl);
		append("parts.pem", "one.pem");
	}
}

/* [SECURITY 53] Who is on none that holds does not come back by a ticket because another
 * part's does. */
static void
lists_in_parts(void **state)
{
	static const int versions[] = { 12, 13 };
	ASN1_TIME *past = X509_gmtime_adj(NULL, -60);

	for (size_t i = 0; i < 2; i++) {
		struct tls_client *c1 = client_new("part1", versions[i]);
		struct tls_client *c2 = client_new("part2", versions[i]);
		struct tls_server *t;

		put_parts(1);
		t = server_of("parts.pem");
		assert_false(visit(t, c1));
		assert_true(visit(t, c1));
		refused(t, "part2", "");
		put_parts(2);
		renew(t);
		assert_false(visit(t, c1));
		assert_true(visit(t, c1));
		assert_false(visit(t, c2));
		assert_true(visit(t, c2));
		(void)X509_CRL_set1_nextUpdate(
		    sk_X509_CRL_value(t->revoked->crls, 1), past);
		assert_true(visit(t, c1));
		refused(t, "part2", "");
		stays_out(t, c2);
		put_parts(1); /* that of the other is gone */
		renew(t);
		assert_false(visit(t, c1));
		assert_true(visit(t, c1));
		refused(t, "part2", "");
		stays_out(t, c2);
		tls_client_free(c1);
		tls_client_free(c2);
		tls_server_unref(t);
	}
	ASN1_TIME_free(past);
}

/* A list that says what is new since another one. */
static void
what_is_new_is_the_librarys(void **state)
{
	X509_CRL *crl = list_of("ca", "dev2");
	struct tls_server *t;
	struct tls_revoked *r;

	extend(crl, "crlNumber", "DER:02:01:08");
	extend(crl, "deltaCRL", "critical,DER:02:01:07");
	certs_crl_put(&certs, "delta.pem", "ca", crl);
	t = server_of("delta.pem");
	r = tls_server_revoked(t);
	assert_int_equal(known(r), 0);
	tls_revoked_unref(r);
	if (library_says("delta.pem", "dev1") == X509_V_OK)
		let_in(t, "dev1");
	else
		refused(t, "dev1", "");
	refused(t, "dev2", "");
	tls_server_unref(t);
}

/* What ends, or has not begun, while a broker runs. */
static void
dates_are_looked_at(void **state)
{
	struct tls_server *t = server_of(make(0));
	struct tls_revoked *r = tls_server_revoked(t);
	X509_CRL *crl = sk_X509_CRL_value(r->crls, 0);
	ASN1_TIME *at = ASN1_TIME_new();

	let_in(t, "dev1");
	(void)X509_gmtime_adj(at, -60);
	(void)X509_CRL_set1_nextUpdate(crl, at);
	refused(t, "dev1", "has expired");
	(void)X509_gmtime_adj(at, DAY);
	(void)X509_CRL_set1_nextUpdate(crl, at);
	let_in(t, "dev1");
	(void)X509_gmtime_adj(at, 60 * 60);
	(void)X509_CRL_set1_lastUpdate(crl, at);
	refused(t, "dev1", "is not valid yet");
	ASN1_TIME_free(at);
	tls_revoked_unref(r);
	tls_server_unref(t);
}

/* A signature that was found good is not looked at again, and one that was not
 * opens nothing. */
static void
signatures_are_looked_at_once(void **state)
{
	struct tls_server *t = server_of(make(0));
	struct tls_revoked *r = tls_server_revoked(t), *none = NULL;
	STACK_OF(X509_CRL) *crls = sk_X509_CRL_new_null();
	X509_CRL *copy = X509_CRL_dup(sk_X509_CRL_value(r->crls, 0));
	struct nj_why why = { 0 };

	tamper(sk_X509_CRL_value(r->crls, 0));
	let_in(t, "dev1");
	refused(t, "dev2", "revoked");
	tls_revoked_unref(r);
	tamper(copy);
	assert_true(copy && sk_X509_CRL_push(crls, copy));
	assert_int_equal(
	    tls_revoked_new(&crls, NULL, t->cas, NULL, &none, &why), NJ_OK);
	assert_int_equal(known(none), 0);
	/* in the place of the other */
	r = t->revoked;
	t->revoked = none;
	refused(t, "dev1", "not signed by its issuer");
	refused(t, "dev2", "not signed by its issuer");
	tls_revoked_unref(r);
	tls_server_unref(t);
}

/* A list of more than 4 MiB, in no order. */
static void
long_lists(void **state)
{
	X509_CRL *crl = list_of("ca", "dev2");
	ASN1_TIME *at = ASN1_TIME_new();
	struct tls_server *t;
	struct stat st;

	(void)X509_gmtime_adj(at, -DAY);
	for (uint64_t i = 0; i < MANY; i++) {
		X509_REVOKED *one = X509_REVOKED_new();
		ASN1_INTEGER *serial = ASN1_INTEGER_new();

		(void)ASN1_INTEGER_set_uint64(
		    serial, (UINT64_C(1) << 62) + i * 7919 % MANY);
		(void)X509_REVOKED_set_serialNumber(one, serial);
		(void)X509_REVOKED_set_revocationDate(one, at);
		(void)X509_CRL_add0_revoked(crl, one);
		ASN1_INTEGER_free(serial);
	}
	ASN1_TIME_free(at);
	certs_crl_put(&certs, "long.pem", "ca", crl);
	assert_int_equal(stat(certs_path(&certs, "long.pem"), &st), 0);
	assert_true(st.st_size > 4L * 1024 * 1024);
	t = server_of("long.pem");
	assert_int_equal(t->revoked->n, MANY + 1);
	assert_int_equal(known(t->revoked), 1);
	let_in(t, "dev1");
	refused(t, "dev2", "revoked");
	tls_server_unref(t);
}

/* reload.pem, with those named. */
static void
put_list(const char *const *revoked)
{
	(void)unlink(certs_path(&certs, "reload.pem"));
	certs_crl(&certs, "reload.pem", "ca", 30, revoked);
}

/* Each reload leaves one behind that somebody still uses: they look up what is in
 * the newest lists, and no other list is kept. */
static void
former_ones_have_the_new_lists(void **state)
{
	static const char *const none[] = { NULL },
				 *const gone[] = { "dev2", NULL };
	struct tls_server *t[4];
	struct tls_revoked *first;
	struct nj_why why = { 0 };
	bool changed = false;

	put_list(none);
	t[0] = server_of("reload.pem");
	first = tls_server_revoked(t[0]);
	let_in(t[0], "dev2");
	for (int i = 1; i < 4; i++) {
		if (i == 2)
			put_list(gone);
		t[i] = reloaded("reload.pem", t[i - 1]);
		tls_server_bury(t[i]);
		/* it is the second that takes dev2 away from all */
		for (int k = 0; k <= i; k++) {
			assert_ptr_equal(t[k]->revoked, t[i]->revoked);
			if (i < 2)
				let_in(t[k], "dev2");
			else
				refused(t[k], "dev2", "revoked");
			let_in(t[k], "dev1");
		}
		assert_int_equal(atomic_load(&t[i]->revoked->refs), i + 1);
	}
	assert_int_equal(atomic_load(&first->refs), 1);
	tls_revoked_unref(first);
	/* a new file without a reload */
	put_list(none);
	assert_int_equal(tls_server_renew_lists(t[3], &changed, &why), NJ_OK);
	assert_true(changed);
	assert_int_equal(atomic_load(&t[3]->revoked->refs), 4);
	let_in(t[0], "dev2");
	for (int i = 0; i < 4; i++)
		tls_server_unref(t[i]);
}

/* Lists that come or go with a reload come or go for the former one as well. */
static void
former_ones_without_lists(void **state)
{
	static const char *const gone[] = { "dev2", NULL };
	struct tls_server *with, *without, *again;

	put_list(gone);
	with = server_of("reload.pem");
	refused(with, "dev2", "revoked");
	without = reloaded(NULL, with);
	tls_server_bury(without);
	let_in(with, "dev2");
	let_in(without, "dev2");
	again = reloaded("reload.pem", without);
	tls_server_bury(again);
	refused(with, "dev2", "revoked");
	refused(without, "dev2", "revoked");
	let_in(without, "dev1");
	tls_server_unref(with);
	tls_server_unref(without);
	tls_server_unref(again);
}

/* What the former one's handshakes come to is what the new one's do: whoever has no list
 * stays out, too. */
static void
former_ones_ask_for_lists(void **state)
{
	static const int versions[] = { 12, 13 };

	for (size_t i = 0; i < 2; i++) {
		struct tls_client *c = client_new("dev1", versions[i]);
		struct tls_server *without = server_of(NULL), *with;

		assert_false(visit(without, c));
		certs_crl_put(&certs, "others.pem", "otherca",
		    list_of("otherca", "dev2"));
		with = reloaded("others.pem", without);
		tls_server_bury(with);
		refused(with, "dev1", "there is no CRL of its issuer");
		refused(without, "dev1", "there is no CRL of its issuer");
		stays_out(without, c);
		stays_out(with, c);
		tls_client_free(c);
		tls_server_unref(without);
		tls_server_unref(with);
	}
}

/* rolled.pem: lists of the old key and of the new one; NULL: without one. */
static void
put_both(const char *gone_old, const char *gone_new)
{
	static const char *const keys[] = { "rootold", "rootnew" };
	const char *const gone[] = { gone_old, gone_new };

	(void)unlink(certs_path(&certs, "rolled.pem"));
	for (size_t i = 0; i < 2; i++) {
		X509_CRL *crl = gone[i] ? list_of(keys[i], gone[i]) : NULL;

		if (!crl)
			continue;
		name_key(crl, keys[i]);
		certs_crl_put(&certs, "one.pem", keys[i], crl);
		append("rolled.pem", "one.pem");
	}
}

/* [SECURITY 53] An old key and a new one of one name: a list speaks of what its key
 * has signed. */
static void
two_cas_of_one_name(void **state)
{
	static const int versions[] = { 12, 13 };

	for (size_t i = 0; i < 2; i++) {
		struct tls_client *old = client_new("devold", versions[i]);
		struct tls_client *new = client_new("devnew", versions[i]);
		struct tls_server *t;
		struct pair p;

		put_both("devnew", "devold"); /* the other's each */
		t = server_of("rolled.pem");
		assert_false(visit(t, old));
		assert_true(visit(t, old));
		assert_false(visit(t, new));
		assert_true(visit(t, new));
		pair_ours(&p, t, new, "localhost", false);
		must(&p);
		assert_int_equal(
		    tls_server_peer_is_revoked(t, stream_tls(p.server)),
		    TLS_REVOKED_NONE);
		put_both("server", "devnew");
		renew(t);
		assert_int_equal(
		    tls_server_peer_is_revoked(t, stream_tls(p.server)),
		    TLS_REVOKED_ITSELF);
		pair_fini(&p);
		stays_out(t, new);
		assert_true(visit(t, old));
		put_both("server", NULL);
		renew(t);
		stays_out(t, new);
		assert_true(visit(t, old));
		put_both(NULL, "server");
		renew(t);
		assert_true(visit(t, new));
		stays_out(t, old);
		tls_client_free(old);
		tls_client_free(new);
		tls_server_unref(t);
	}
}

/* It knows the new root only. */
static struct tls_server *
rolled(void)
{
	struct tls_server_opts o = { .certfile =
					 certs_path(&certs, "server.crt"),
		.keyfile = certs_path(&certs, "server.key"),
		.cafile = certs_path(&certs, "rootnew.crt"),
		.crlfile = certs_path(&certs, "rolled.pem"),
		.require_certificate = true,
		.min = TLS_MIN_12,
		.tickets = 1,
		.ticket_rotate_s = 3600 };
	struct tls_server *t = NULL;
	struct nj_why why = { 0 };

	if (tls_server_new(&o, 1, &t, &why))
		fail_msg("%s", why.what);
	return t;
}

/* Lists of both keys, and who is connected by the old one; want: what becomes of
 * him. */
static void
put_and_ask(struct tls_server *t, struct pair *p, const char *gone_old,
    const char *gone_new, enum tls_revoked_who want)
{
	const struct tls_peer *peer = stream_tls(p->server);

	put_both(gone_old, gone_new);
	renew(t);
	assert_int_equal(tls_server_peer_is_revoked(t, peer), want);
	assert_int_equal(tls_server_listed_good(t, peer->listed, 0, true),
	    want == TLS_REVOKED_NONE);
}

/* [SECURITY 53] The new key has certified the old one, and signs the list of what
 * both have issued (RFC 4210 4.4). */
static void
an_old_key_below_the_new_one(void **state)
{
	static const int versions[] = { 12, 13 };

	for (size_t i = 0; i < 2; i++) {
		struct tls_client *c = client_new("devcross", versions[i]);
		struct tls_server *t;
		struct pair p;

		put_both(NULL, "server");
		t = rolled();
		assert_false(visit(t, c));
		assert_true(visit(t, c));
		pair_ours(&p, t, c, "localhost", false);
		must(&p);
		put_and_ask(t, &p, NULL, "server", TLS_REVOKED_NONE);
		put_and_ask(t, &p, NULL, "crossold", TLS_REVOKED_ABOVE);
		stays_out(t, c);
		put_and_ask(t, &p, NULL, "devcross", TLS_REVOKED_ITSELF);
		stays_out(t, c);
		/* and an old list that still holds beside it */
		put_and_ask(t, &p, "server", "devcross", TLS_REVOKED_ITSELF);
		stays_out(t, c);
		refused(t, "devcross", "revoked");
		put_and_ask(t, &p, "devcross", "server", TLS_REVOKED_ITSELF);
		stays_out(t, c);
		put_and_ask(t, &p, NULL, "server", TLS_REVOKED_NONE);
		let_in(t, "devcross");
		pair_fini(&p);
		tls_client_free(c);
		tls_server_unref(t);
	}
}

/* The list of a key that is not trusted any more is nothing to the new one. */
static void
the_list_of_an_old_key(void **state)
{
	struct tls_server *t;

	put_both("devnew", "server");
	t = rolled();
	let_in(t, "devnew");
	refused(t, "devold", "");
	put_both("devnew", "devnew");
	renew(t);
	refused(t, "devnew", "revoked");
	tls_server_unref(t);
}

int
main(void)
{
	static const struct cert_spec more[] = {
		{ .name = "rootold", .cn = "Rolled CA", .ca = true },
		{ .name = "rootnew", .cn = "Rolled CA", .ca = true },
		{ .name = "devold", .eku = "clientAuth", .issuer = "rootold" },
		{ .name = "devnew", .eku = "clientAuth", .issuer = "rootnew" },
		{ .name = "crossold",
		    .cn = "Rolled CA",
		    .ca = true,
		    .issuer = "rootnew",
		    .key_of = "rootold" },
		{ .name = "devcross",
		    .eku = "clientAuth",
		    .issuer = "rootold" },
		{ .name = "part1",
		    .eku = "clientAuth",
		    .crldp = "URI:http://lists/1",
		    .issuer = "ca" },
		{ .name = "part2",
		    .eku = "clientAuth",
		    .crldp = "URI:http://lists/2",
		    .issuer = "ca" },
		{ .name = "nolists",
		    .cn = "CA without lists",
		    .ca = true,
		    .no_lists = true },
		{ .name = "lone", .eku = "clientAuth", .issuer = "nolists" },
		{ .name = "lone2", .eku = "clientAuth", .issuer = "nolists" },
		{ .name = "under", .eku = "clientAuth", .issuer = "middle" },
		{ .name = "under2", .eku = "clientAuth", .issuer = "middle" },
	};
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(judged_as_by_the_library),
		cmocka_unit_test(tickets_as_by_the_library),
		cmocka_unit_test(lists_of_several_cas),
		cmocka_unit_test(lists_in_parts),
		cmocka_unit_test(what_is_new_is_the_librarys),
		cmocka_unit_test(dates_are_looked_at),
		cmocka_unit_test(signatures_are_looked_at_once),
		cmocka_unit_test(long_lists),
		cmocka_unit_test(former_ones_have_the_new_lists),
		cmocka_unit_test(former_ones_without_lists),
		cmocka_unit_test(former_ones_ask_for_lists),
		cmocka_unit_test(two_cas_of_one_name),
		cmocka_unit_test(an_old_key_below_the_new_one),
		cmocka_unit_test(the_list_of_an_old_key),
	};
	int r;

	site_init();
	for (size_t i = 0; i < sizeof more / sizeof *more; i++)
		certs_make(&certs, &more[i]);
	append("cas.pem", "ca.crt");
	append("cas.pem", "otherca.crt");
	append("cas.pem", "nolists.crt");
	append("cas.pem", "rootold.crt");
	append("cas.pem", "rootnew.crt");
	append("devcross.crt", "crossold.crt");
	append("under.crt", "middle.crt");
	append("under2.crt", "middle.crt");
	r = cmocka_run_group_tests(tests, NULL, NULL);
	certs_fini(&certs);
	return r;
}
