/* SPDX-License-Identifier: Apache-2.0 */
#include "rough.h"

#include <openssl/bn.h>
#include <openssl/x509_vfy.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/file.h"
#include "pki/cert.h"
#include "pki/explain.h"
#include "pki/key.h"

static EVP_PKEY *ca_key, *key;
static X509 *ca;

static int
setup(void **state)
{
	struct pki_cert_spec spec = {
		.profile = PKI_ROOT, .cn = "Test CA", .days = PKI_ROOT_DAYS
	};

	(void)state;
	assert_int_equal(pki_key_new_p256(&ca_key), NJ_OK);
	assert_int_equal(pki_key_new_p256(&key), NJ_OK);
	spec.key = ca_key;
	assert_int_equal(pki_cert_make(&spec, NULL, ca_key, &ca, NULL), NJ_OK);
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	X509_free(ca);
	EVP_PKEY_free(key);
	EVP_PKEY_free(ca_key);
	return 0;
}

static X509 *
issue(enum pki_profile profile, const struct pki_names *names, unsigned days)
{
	const struct pki_cert_spec spec = { .profile = profile,
		.key = key,
		.cn = "dev1",
		.uri = profile == PKI_DEVICE ? "urn:nightjar:0123:device:dev1"
					     : NULL,
		.names = names,
		.days = days };
	struct nj_why why = { 0 };
	X509 *x = NULL;

	if (pki_cert_make(&spec, ca, ca_key, &x, &why))
		fail_msg("%s", why.what);
	return x;
}

/* The chain check with every strictness there is: an X509_V_* code. */
static int
verify(X509 *x, X509 *root, int purpose)
{
	X509_STORE *store = X509_STORE_new();
	X509_STORE_CTX *ctx = X509_STORE_CTX_new();
	int code;

	assert_int_equal(X509_STORE_add_cert(store, root), 1);
	X509_STORE_set_flags(
	    store, X509_V_FLAG_X509_STRICT | X509_V_FLAG_CHECK_SS_SIGNATURE);
	assert_int_equal(X509_STORE_CTX_init(ctx, store, x, NULL), 1);
	X509_STORE_CTX_set_purpose(ctx, purpose);
	(void)X509_verify_cert(ctx);
	code = X509_STORE_CTX_get_error(ctx);
	X509_STORE_CTX_free(ctx);
	X509_STORE_free(store);
	return code;
}

static void
chains(void **state)
{
	struct pki_names names = { 0 };
	X509 *server, *device;

	(void)state;
	assert_int_equal(pki_names_add(&names, "box.lan", NULL), NJ_OK);
	assert_int_equal(pki_names_add(&names, "10.0.0.1", NULL), NJ_OK);
	assert_int_equal(pki_names_add(&names, "fd00::2", NULL), NJ_OK);
	server = issue(PKI_SERVER, &names, 90);
	device = issue(PKI_DEVICE, NULL, 365);
	assert_int_equal(
	    verify(server, ca, X509_PURPOSE_SSL_SERVER), X509_V_OK);
	assert_int_equal(
	    verify(device, ca, X509_PURPOSE_SSL_CLIENT), X509_V_OK);
	assert_int_equal(verify(server, ca, X509_PURPOSE_SSL_CLIENT),
	    X509_V_ERR_INVALID_PURPOSE);
	assert_int_equal(verify(device, ca, X509_PURPOSE_SSL_SERVER),
	    X509_V_ERR_INVALID_PURPOSE);
	assert_int_equal(pki_judge(ca, PKI_USE_CA, "ca", NULL), NJ_OK);
	assert_int_equal(pki_judge(server, PKI_USE_SERVER, "s", NULL), NJ_OK);
	assert_int_equal(pki_judge(device, PKI_USE_CLIENT, "d", NULL), NJ_OK);
	assert_true(pki_matches_host(server, "box.lan"));
	assert_true(pki_matches_host(server, "10.0.0.1"));
	assert_true(pki_matches_host(server, "fd00::2"));
	assert_false(pki_matches_host(server, "10.0.0.2"));
	/* The common name does not count beside host names. */
	assert_false(pki_matches_host(server, "dev1"));
	X509_free(device);
	X509_free(server);
}

static void
root_profile(void **state)
{
	(void)state;
	(void)X509_check_purpose(ca, -1, 0);
	assert_int_equal(X509_get_pathlen(ca), 1);
	assert_int_equal(
	    X509_get_key_usage(ca), KU_KEY_CERT_SIGN | KU_CRL_SIGN);
	assert_int_equal(X509_get_version(ca), X509_VERSION_3);
	for (int nid = 0; nid < 2; nid++) {
		int at = X509_get_ext_by_NID(
		    ca, nid ? NID_key_usage : NID_basic_constraints, -1);

		assert_true(at >= 0);
		assert_int_equal(
		    X509_EXTENSION_get_critical(X509_get_ext(ca, at)), 1);
	}
	assert_non_null(X509_get0_subject_key_id(ca));
}

static void
leaf_profile(void **state)
{
	X509 *x = issue(PKI_DEVICE, NULL, 365);
	GENERAL_NAMES *san;
	int64_t from, to, now = (int64_t)time(NULL);
	int md;

	(void)state;
	(void)X509_check_purpose(x, -1, 0);
	assert_int_equal(X509_get_key_usage(x), KU_DIGITAL_SIGNATURE);
	assert_int_equal(X509_get_extended_key_usage(x), XKU_SSL_CLIENT);
	assert_int_equal(ASN1_OCTET_STRING_cmp(X509_get0_authority_key_id(x),
			     X509_get0_subject_key_id(ca)),
	    0);
	assert_int_equal(X509_get_signature_info(x, &md, NULL, NULL, NULL), 1);
	assert_int_equal(md, NID_sha256);
	assert_true(pki_cert_dates(x, &from, &to));
	assert_in_range(now - 3600 - from, 0, 5);
	assert_in_range(to - now - 365 * 86400 + 5, 0, 10);
	san = X509_get_ext_d2i(x, NID_subject_alt_name, NULL, NULL);
	assert_int_equal(sk_GENERAL_NAME_num(san), 1);
	assert_int_equal(sk_GENERAL_NAME_value(san, 0)->type, GEN_URI);
	GENERAL_NAMES_free(san);
	X509_free(x);
}

static void
serials(void **state)
{
	char seen[64][48];

	(void)state;
	for (size_t i = 0; i < 64; i++) {
		X509 *x = issue(PKI_DEVICE, NULL, 1);
		BIGNUM *bn =
		    ASN1_INTEGER_to_BN(X509_get0_serialNumber(x), NULL);

		assert_false(BN_is_negative(bn));
		assert_in_range(BN_num_bits(bn), 64, 127);
		BN_free(bn);
		pki_serial(x, seen[i], sizeof(seen[i]));
		for (size_t j = 0; j < i; j++)
			assert_string_not_equal(seen[i], seen[j]);
		X509_free(x);
	}
}

static void
days_and_ends(void **state)
{
	struct pki_cert_spec spec = {
		.profile = PKI_ROOT, .key = ca_key, .cn = "short", .days = 10
	};
	struct nj_why why = { 0 };
	X509 *brief = NULL, *x = NULL, *expired;
	int64_t from, to, ca_to;

	(void)state;
	/* Never past the end of its issuer. */
	assert_int_equal(
	    pki_cert_make(&spec, NULL, ca_key, &brief, &why), NJ_OK);
	spec.profile = PKI_DEVICE;
	spec.key = key;
	spec.days = 365;
	assert_int_equal(pki_cert_make(&spec, brief, ca_key, &x, &why), NJ_OK);
	assert_true(pki_cert_dates(brief, &from, &ca_to));
	assert_true(pki_cert_dates(x, &from, &to));
	assert_int_equal(to, ca_to);
	X509_free(x);
	x = NULL;

	spec.days = 0;
	assert_int_equal(
	    pki_cert_make(&spec, ca, ca_key, &x, &why), NJ_INVALID);
	spec.days = PKI_DAYS_MAX + 1;
	assert_int_equal(
	    pki_cert_make(&spec, ca, ca_key, &x, &why), NJ_INVALID);

	expired =
	    rough_cert(&(struct rough){ .from_days = -9, .to_days = -1 }, NULL);
	spec.days = 1;
	assert_int_equal(
	    pki_cert_make(&spec, expired, ca_key, &x, &why), NJ_INVALID);
	assert_non_null(strstr(why.what, "expired"));
	assert_null(x);
	X509_free(expired);
	X509_free(brief);
}

static void
ids(void **state)
{
	static const struct {
		const char *id;
		bool good;
	} rows[] = {
		{ "a", true },
		{ "9", true },
		{ "sensor-1.kitchen_A", true },
		{ "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
		  "aaaa",
		    true },
		{ "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
		  "aaaaa",
		    false },
		{ "", false },
		{ ".a", false },
		{ "a.", false },
		{ "-a", false },
		{ "a-", false },
		{ "..", false },
		{ "../x", false },
		{ "a/b", false },
		{ "a b", false },
		{ "a\n", false },
		{ "a+", false },
		{ "#", false },
		{ "\xc3\xa4", false },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		struct nj_why why = { 0 };

		if ((pki_check_id(rows[i].id, &why) == NJ_OK) != rows[i].good)
			fail_msg("'%s'", rows[i].id);
		if (!rows[i].good)
			assert_non_null(strstr(why.mend, "1 to 64"));
	}
}

static void
ca_ids(void **state)
{
	char id[PKI_CA_ID + 1];
	uint8_t a[32], b[32];

	(void)state;
	assert_int_equal(pki_ca_id(ca, id), NJ_OK);
	assert_int_equal(strlen(id), PKI_CA_ID);
	assert_int_equal(pki_spki_sha256(ca, a), NJ_OK);
	assert_int_equal(pki_key_spki_sha256(ca_key, b), NJ_OK);
	assert_memory_equal(a, b, sizeof(a));
}

static void
chain_files(void **state)
{
	STACK_OF(X509) *chain = sk_X509_new_null(), *read = NULL;
	struct nj_why why = { 0 };
	X509 *x = issue(PKI_DEVICE, NULL, 1);
	char dir[64];

	(void)state;
	rough_mkdir(dir);
	assert_true(sk_X509_push(chain, ca) > 0);
	assert_int_equal(
	    pki_chain_store(rough_path(dir, "c"), x, chain, 0644, &why), NJ_OK);
	assert_int_equal(
	    pki_chain_load(rough_path(dir, "c"), &read, &why), NJ_OK);
	assert_int_equal(sk_X509_num(read), 2);
	assert_int_equal(X509_cmp(sk_X509_value(read, 0), x), 0);
	assert_int_equal(X509_cmp(sk_X509_value(read, 1), ca), 0);
	sk_X509_pop_free(read, X509_free);
	read = NULL;
	for (int i = 0; i < 3; i++) {
		static const char *const bad[] = { "", "hello",
			"-----BEGIN CERTIFICATE-----\nMIIBAA==\n"
			"-----END CERTIFICATE-----\n" };

		assert_int_equal(file_write(rough_path(dir, "bad"),
				     slice_str(bad[i]), 0644, NULL),
		    NJ_OK);
		assert_int_equal(
		    pki_chain_load(rough_path(dir, "bad"), &read, &why),
		    NJ_INVALID);
		assert_null(read);
	}
	assert_non_null(strstr(why.what, "damaged"));
	sk_X509_free(chain);
	X509_free(x);
	rough_rmdir(dir);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(chains),
		cmocka_unit_test(root_profile),
		cmocka_unit_test(leaf_profile),
		cmocka_unit_test(serials),
		cmocka_unit_test(days_and_ends),
		cmocka_unit_test(ids),
		cmocka_unit_test(ca_ids),
		cmocka_unit_test(chain_files),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
