/* SPDX-License-Identifier: Apache-2.0
 * Lists of CAs that clients send: known from the first of them on, however many there
 * are; and more lists than can be.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lists.h"

#define CAS (REVOKED_SENT_MAX + 4)

/* A CA that clients send: its list is hashed for the first of them, and known when
 * it is read again. */
static void
lists_of_cas_that_are_sent(void **state)
{
	static const int versions[] = { 12, 13 };

	for (size_t i = 0; i < 2; i++) {
		X509_CRL *crl = list_of("middle", "under2");
		struct tls_client *c = client_new("under", versions[i]);
		struct tls_server *t;
		struct tls_revoked *r;

		certs_crl_put(&certs, "sent.pem", "middle", crl);
		t = server_of("sent.pem");
		r = tls_server_revoked(t);
		assert_int_equal(known(r), 0);
		assert_int_equal(met(r), 0);
		assert_false(visit(t, c));
		assert_int_equal(met(r), 1);
		tamper(sk_X509_CRL_value(r->crls, 0));
		assert_true(visit(t, c));
		let_in(t, "under");
		refused(t, "under2", "revoked");
		assert_int_equal(met(r), 1);
		tls_revoked_unref(r);
		renew(t);
		assert_int_equal(known(t->revoked), 1);
		assert_int_equal(sk_X509_num(t->revoked->sent), 1);
		tamper(sk_X509_CRL_value(t->revoked->crls, 0));
		let_in(t, "under");
		assert_true(visit(t, c));
		refused(t, "under2", "revoked");
		assert_int_equal(met(t->revoked), 0);
		tls_client_free(c);
		tls_server_unref(t);
	}
}

/* Two visits, the second of which resumes. */
static void
comes_back(struct tls_server *t, const char *client)
{
	struct tls_client *c = client_new(client, 13);

	assert_false(visit(t, c));
	if (!visit(t, c))
		fail_msg("%s does not resume", client);
	tls_client_free(c);
}

/* PREFIX and a number; a static array of a few. */
static const char *
nth(const char *prefix, int i)
{
	static char names[8][32];
	static unsigned at;
	char *p = names[at++ % 8];

	(void)snprintf(p, sizeof names[0], "%s%d", prefix, i);
	return p;
}

static void
file_of(char *dst, size_t size, const char *name)
{
	(void)snprintf(dst, size, "%s.crt", name);
}

/* A device of that name, that sends this certificate of its CA. */
static void
device(const char *name, const char *ca, const char *sent)
{
	char crt[64], ca_crt[64];

	certs_make(&certs,
	    &(struct cert_spec){
		.name = name, .eku = "clientAuth", .issuer = ca });
	file_of(crt, sizeof crt, name);
	file_of(ca_crt, sizeof ca_crt, sent);
	append(crt, ca_crt);
}

static void
add_list(const char *to, const char *ca, const char *revoked)
{
	certs_crl_put(&certs, "one.pem", ca, list_of(ca, revoked));
	append(to, "one.pem");
}

/* However many CAs clients send, each with a list: all of their clients come back by
 * tickets; and of those whose lists are gone the last ones are known. */
static void
many_cas_that_are_sent(void **state)
{
	struct tls_server *t;

	(void)unlink(certs_path(&certs, "many.pem"));
	(void)unlink(certs_path(&certs, "two.pem"));
	for (int i = 0; i < CAS; i++) {
		const char *ca = nth("m", i);

		certs_make(&certs,
		    &(struct cert_spec){
			.name = ca, .ca = true, .issuer = "ca" });
		device(nth("d", i), ca, ca);
		add_list("many.pem", ca, "dev2");
		if (i == 0 || i == CAS - 1)
			add_list("two.pem", ca, nth("d", i));
	}
	t = server_of("many.pem");
	for (int i = 0; i < CAS; i++)
		comes_back(t, nth("d", i));
	renew(t);
	assert_int_equal(known(t->revoked), CAS);
	assert_int_equal(sk_X509_num(t->revoked->sent), CAS);
	for (int i = 0; i < 2; i++) {
		free((void *)(uintptr_t)t->lists.crlfile);
		t->lists.crlfile = strdup(certs_path(&certs, "two.pem"));
		renew(t);
		assert_int_equal(known(t->revoked), 2);
		assert_int_equal(
		    sk_X509_num(t->revoked->sent), REVOKED_SENT_MAX + 2);
	}
	refused(t, "d0", "revoked");
	refused(t, nth("d", CAS - 1), "revoked");
	refused(t, "d1", "there is no CRL of its issuer");
	tls_server_unref(t);
}

/* Who has a CA's key can make as many certificates of it as he likes: it is one. */
static void
many_certificates_of_one_ca(void **state)
{
	struct tls_server *t;

	(void)unlink(certs_path(&certs, "many.pem"));
	certs_make(&certs,
	    &(struct cert_spec){ .name = "late", .ca = true, .issuer = "ca" });
	device("latedev", "late", "late");
	add_list("many.pem", "middle", "under2");
	add_list("many.pem", "late", "dev2");
	t = server_of("many.pem");
	for (int i = 0; i < CAS; i++) {
		certs_make(&certs,
		    &(struct cert_spec){ .name = nth("v", i),
			.cn = "Issuing CA",
			.key_of = "middle",
			.ca = true,
			.issuer = "ca" });
		device(nth("u", i), "middle", nth("v", i));
		comes_back(t, nth("u", i));
	}
	comes_back(t, "latedev");
	assert_int_equal(met(t->revoked), 2);
	renew(t);
	assert_int_equal(sk_X509_num(t->revoked->sent), 2);
	refused(t, "under2", "revoked");
	tls_server_unref(t);
}

/* A file of so many that are all the same. */
static void
put_often(const char *file, X509_CRL *crl, unsigned n)
{
	FILE *to = fopen(certs_path(&certs, file), "w"), *from;
	char text[1024];
	size_t len;

	certs_crl_put(&certs, "one.pem", "otherca", crl);
	from = fopen(certs_path(&certs, "one.pem"), "r");
	assert_true(to && from);
	len = fread(text, 1, sizeof text, from);
	for (unsigned i = 0; i < n; i++)
		assert_int_equal(fwrite(text, 1, len, to), len);
	assert_int_equal(fclose(to), 0);
	(void)fclose(from);
}

/* One more than can be counted. */
static void
too_many_lists(void **state)
{
	STACK_OF(X509_CRL) *crls = sk_X509_CRL_new_null();
	X509_CRL *crl = list_of("otherca", "dev2");
	struct tls_server *t = server_of(NULL);
	struct tls_revoked *r = NULL;
	struct nj_why why = { 0 };

	for (unsigned i = 0; i <= REVOKED_LISTS_MAX; i++)
		assert_true(X509_CRL_up_ref(crl) == 1 &&
		    sk_X509_CRL_push(crls, crl) > 0);
	assert_int_equal(
	    tls_revoked_new(&crls, NULL, t->cas, NULL, &r, &why), NJ_TOOBIG);
	assert_string_equal(
	    why.what, "there are more than 65536 revocation lists");
	assert_non_null(strstr(why.mend, "crlfile"));
	X509_CRL_free(sk_X509_CRL_pop(crls));
	assert_int_equal(
	    tls_revoked_new(&crls, NULL, t->cas, NULL, &r, &why), NJ_OK);
	tls_revoked_unref(r);
	tls_server_unref(t);
	put_often("many.pem", crl, REVOKED_LISTS_MAX + 1);
	refuses_to_start("many.pem", "there are more than 65536");
}

int
main(void)
{
	static const struct cert_spec more[] = {
		{ .name = "under", .eku = "clientAuth", .issuer = "middle" },
		{ .name = "under2", .eku = "clientAuth", .issuer = "middle" },
	};
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(lists_of_cas_that_are_sent),
		cmocka_unit_test(many_cas_that_are_sent),
		cmocka_unit_test(many_certificates_of_one_ca),
		cmocka_unit_test(too_many_lists),
	};
	int r;

	site_init();
	for (size_t i = 0; i < sizeof more / sizeof *more; i++)
		certs_make(&certs, &more[i]);
	append("cas.pem", "ca.crt");
	append("under.crt", "middle.crt");
	append("under2.crt", "middle.crt");
	r = cmocka_run_group_tests(tests, NULL, NULL);
	certs_fini(&certs);
	return r;
}
