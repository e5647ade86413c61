/* SPDX-License-Identifier: Apache-2.0 */
#include "rough.h"

#include <openssl/ocsp.h>
#include <string.h>
#include <time.h>

#include "base/buf.h"
#include "pki/ocsp.h"

#define HOUR 3600

static X509 *ca, *leaf, *helper, *stranger;
static EVP_PKEY *ca_key, *helper_key, *stranger_key;
static int64_t now; /* what the test's clock says */

static int
setup(void **state)
{
	struct rough r = { .cn = "CA",
		.constraints = "critical,CA:TRUE",
		.ku = "critical,keyCertSign,cRLSign" };
	EVP_PKEY *key = NULL;

	(void)state;
	now = (int64_t)time(NULL);
	ca = rough_cert(&r, &ca_key);
	stranger = rough_cert(&r, &stranger_key);
	r = (struct rough){ .cn = "leaf",
		.san = "DNS:leaf",
		.issuer = ca,
		.issuer_key = ca_key };
	leaf = rough_cert(&r, &key);
	EVP_PKEY_free(key);
	r.cn = "helper";
	r.eku = "OCSPSigning";
	helper = rough_cert(&r, &helper_key);
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	X509_free(ca);
	X509_free(leaf);
	X509_free(helper);
	X509_free(stranger);
	EVP_PKEY_free(ca_key);
	EVP_PKEY_free(helper_key);
	EVP_PKEY_free(stranger_key);
	return 0;
}

/* An answer about leaf, from and until relative to now; until 0: not said. */
static void
answer(X509 *by, EVP_PKEY *key, const EVP_MD *md, int status, int64_t from,
    int64_t until, struct buf *out)
{
	OCSP_BASICRESP *b = OCSP_BASICRESP_new();
	OCSP_CERTID *id = OCSP_cert_to_id(EVP_sha1(), leaf, ca);
	ASN1_TIME *t1 = ASN1_TIME_set(NULL, (time_t)(now + from));
	ASN1_TIME *t2 =
	    until ? ASN1_TIME_set(NULL, (time_t)(now + until)) : NULL;
	ASN1_TIME *gone = status == V_OCSP_CERTSTATUS_REVOKED
	    ? ASN1_TIME_set(NULL, (time_t)now - HOUR)
	    : NULL;
	OCSP_RESPONSE *r;
	unsigned char *der = NULL;
	int n;

	assert_non_null(OCSP_basic_add1_status(
	    b, id, status, OCSP_REVOKED_STATUS_KEYCOMPROMISE, gone, t1, t2));
	assert_int_equal(OCSP_basic_sign(b, by, key, md, NULL, 0), 1);
	r = OCSP_response_create(OCSP_RESPONSE_STATUS_SUCCESSFUL, b);
	n = i2d_OCSP_RESPONSE(r, &der);
	assert_true(n > 0);
	assert_int_equal(buf_put(out, der, (size_t)n), NJ_OK);
	OPENSSL_free(der);
	OCSP_RESPONSE_free(r);
	OCSP_BASICRESP_free(b);
	OCSP_CERTID_free(id);
	ASN1_TIME_free(t1);
	ASN1_TIME_free(t2);
	ASN1_TIME_free(gone);
}

static void
times(void **state)
{
	static const struct {
		const char *why;
		int64_t from, until,
		    later; /* later: how much it is looked at */
		enum nj_err want;
	} rows[] = {
		{ "now", -HOUR, HOUR, 0, NJ_OK },
		{ "at its last second", -HOUR, HOUR, HOUR - 1, NJ_OK },
		{ "ended", -HOUR, HOUR, HOUR, NJ_INVALID },
		{ "a clock that is a little behind", 200, HOUR, 0, NJ_OK },
		{ "from the future", 400, HOUR, 0, NJ_INVALID },
		{ "without an end", -60, 0, 0, NJ_OK },
		{ "without an end, and old", -60, 0, HOUR, NJ_INVALID },
	};
	struct pki_ocsp o;
	struct nj_why why;

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct buf b = { 0 };
		enum nj_err e;

		why = (struct nj_why){ 0 };
		answer(ca, ca_key, EVP_sha256(), V_OCSP_CERTSTATUS_GOOD,
		    rows[i].from, rows[i].until, &b);
		e = pki_ocsp_check(
		    buf_slice(&b), leaf, ca, now + rows[i].later, &o, &why);
		if (e != rows[i].want)
			fail_msg("%s: %d %s", rows[i].why, (int)e, why.what);
		buf_fini(&b);
	}
}

static void
signers(void **state)
{
	const struct {
		const char *why;
		X509 *by;
		EVP_PKEY *key;
		const EVP_MD *md;
		enum nj_err want;
	} rows[] = {
		{ "the CA", ca, ca_key, EVP_sha256(), NJ_OK },
		{ "whom it let", helper, helper_key, EVP_sha256(), NJ_OK },
		{ "another of that name", stranger, stranger_key, EVP_sha256(),
		    NJ_DENIED },
		{ "by SHA-1", ca, ca_key, EVP_sha1(), NJ_DENIED },
	};
	struct pki_ocsp o;
	struct nj_why why;

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct buf b = { 0 };
		enum nj_err e;

		why = (struct nj_why){ 0 };
		answer(rows[i].by, rows[i].key, rows[i].md,
		    V_OCSP_CERTSTATUS_GOOD, -1, HOUR, &b);
		e = pki_ocsp_check(buf_slice(&b), leaf, ca, now, &o, &why);
		if (e != rows[i].want)
			fail_msg("%s: %d %s", rows[i].why, (int)e, why.what);
		buf_fini(&b);
	}
}

static void
revoked(void **state)
{
	struct buf b = { 0 };
	struct nj_why why = { 0 };
	struct pki_ocsp o;

	(void)state;
	answer(
	    ca, ca_key, EVP_sha256(), V_OCSP_CERTSTATUS_REVOKED, -1, HOUR, &b);
	assert_int_equal(
	    pki_ocsp_check(buf_slice(&b), leaf, ca, now, &o, &why), NJ_OK);
	assert_int_equal(o.status, PKI_OCSP_REVOKED);
	assert_int_equal(o.revoked_at, now - HOUR);
	assert_string_equal(o.reason, "keyCompromise");
	for (size_t n = 0; n < buf_len(&b); n++) /* every truncation */
		assert_int_not_equal(
		    pki_ocsp_check(slice_of(b.p, n), leaf, ca, now, &o, &why),
		    NJ_OK);
	buf_fini(&b);
}

static void
when_to_ask(void **state)
{
	static const struct {
		const char *why;
		int64_t from, until; /* both 0: there is no answer */
		unsigned failures;
		int64_t want; /* from now */
	} rows[] = {
		{ "nothing yet", 0, 0, 0, 0 },
		{ "half of a day", 0, 86400, 0, 43200 },
		{ "half of what is left", -80000, 20000, 0, 10000 },
		{ "soon, but not at once", -10, 4, 0, PKI_OCSP_SOON_S },
		{ "a failure", 0, 0, 1, 60 },
		{ "a second", 0, 0, 2, 120 },
		{ "many", 0, 0, 7, PKI_OCSP_LATE_S },
		{ "countless", 0, 0, 4000000000u, PKI_OCSP_LATE_S },
		{ "many, but it ends", -80000, 400, 20, 200 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct pki_ocsp o = { .from = now + rows[i].from,
			.until = now + rows[i].until };
		int64_t at = pki_ocsp_next(
		    rows[i].until ? &o : NULL, rows[i].failures, now);

		if (at - now != rows[i].want)
			fail_msg(
			    "%s: %lld", rows[i].why, (long long)(at - now));
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(times),
		cmocka_unit_test(signers),
		cmocka_unit_test(revoked),
		cmocka_unit_test(when_to_ask),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
