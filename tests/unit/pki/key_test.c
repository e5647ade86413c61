/* SPDX-License-Identifier: Apache-2.0 */
#include "rough.h"

#include <openssl/pem.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/file.h"
#include "pki/key.h"

static char dir[64];

static int
setup(void **state)
{
	(void)state;
	rough_mkdir(dir);
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	rough_rmdir(dir);
	return 0;
}

static void
round_trip(void **state)
{
	struct secret *pass = rough_secret("correct horse");
	struct secret *wrong = rough_secret("wrong");
	const char *path = rough_path(dir, "k");
	EVP_PKEY *key = NULL, *again = NULL;
	struct nj_why why = { 0 };

	(void)state;
	assert_int_equal(pki_key_new_p256(&key), NJ_OK);
	for (int encrypted = 0; encrypted < 2; encrypted++) {
		assert_int_equal(
		    pki_key_store(path, key, encrypted ? pass : NULL, &why),
		    NJ_OK);
		assert_int_equal(rough_mode(path), 0600);
		assert_int_equal(pki_key_is_encrypted(path), encrypted);
		assert_int_equal(
		    pki_key_load(path, pass, true, &again, &why), NJ_OK);
		assert_int_equal(EVP_PKEY_eq(key, again), 1);
		EVP_PKEY_free(again);
		again = NULL;
	}
	assert_int_equal(
	    pki_key_load(path, NULL, true, &again, &why), NJ_DENIED);
	assert_non_null(strstr(why.what, "encrypted"));
	assert_int_equal(
	    pki_key_load(path, wrong, true, &again, &why), NJ_DENIED);
	assert_non_null(strstr(why.what, "does not open"));
	assert_null(again);
	EVP_PKEY_free(key);
	secret_free(wrong);
	secret_free(pass);
}

/* What `openssl genrsa -des3` of the second document leaves, in its old and
 * new form. */
static void
old_forms(void **state)
{
	struct secret *pass = rough_secret("hello");
	EVP_PKEY *key = NULL, *again = NULL;
	unsigned char text[] = "hello";
	struct nj_why why = { 0 };

	(void)state;
	assert_int_equal(pki_key_new_rsa(2048, &key), NJ_OK);
	for (int form = 0; form < 2; form++) {
		const char *path = rough_path(dir, "old");
		BIO *f = BIO_new_file(path, "w");

		assert_non_null(f);
		if (form == 0)
			assert_int_equal(
			    PEM_write_bio_PKCS8PrivateKey(f, key,
				EVP_des_ede3_cbc(), NULL, 0, NULL, text),
			    1);
		else
			assert_int_equal(
			    PEM_write_bio_PrivateKey_traditional(f, key,
				EVP_des_ede3_cbc(), text, 5, NULL, NULL),
			    1);
		assert_int_equal(BIO_free(f), 1);
		assert_true(pki_key_is_encrypted(path));
		assert_int_equal(
		    pki_key_load(path, NULL, false, &again, &why), NJ_DENIED);
		assert_int_equal(
		    pki_key_load(path, pass, false, &again, &why), NJ_OK);
		assert_int_equal(EVP_PKEY_eq(key, again), 1);
		EVP_PKEY_free(again);
		again = NULL;
	}
	EVP_PKEY_free(key);
	secret_free(pass);
}

static void
not_a_key(void **state)
{
	static const struct {
		const char *text, *says;
	} rows[] = {
		{ "", "is empty" },
		{ "hello\n", "no private key in PEM form" },
		{ "-----BEGIN CERTIFICATE-----\nAAAA\n"
		  "-----END CERTIFICATE-----\n",
		    "holds a certificate, not a private key" },
		{ "-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n", "request" },
		{ "-----BEGIN PUBLIC KEY-----\nAAAA\n", "a public key" },
		{ "-----BEGIN PRIVATE KEY-----\nAAAA\n"
		  "-----END PRIVATE KEY-----\n",
		    "damaged" },
		{ "-----BEGIN PRIVATE KEY-----\n", "cut off" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		const char *path = rough_path(dir, "none");
		struct nj_why why = { 0 };
		EVP_PKEY *key = NULL;

		assert_int_equal(
		    file_write(path, slice_str(rows[i].text), 0600, &why),
		    NJ_OK);
		assert_int_equal(
		    pki_key_load(path, NULL, true, &key, &why), NJ_INVALID);
		if (!strstr(why.what, rows[i].says))
			fail_msg("row %zu: %s", i, why.what);
		assert_null(key);
	}
}

static void
open_to_others(void **state)
{
	const char *path = rough_path(dir, "open");
	struct nj_why why = { 0 };
	EVP_PKEY *key = NULL;

	(void)state;
	assert_int_equal(pki_key_new_p256(&key), NJ_OK);
	assert_int_equal(pki_key_store(path, key, NULL, &why), NJ_OK);
	EVP_PKEY_free(key);
	key = NULL;
	assert_int_equal(chmod(path, 0640), 0);
	assert_int_equal(pki_key_load(path, NULL, true, &key, &why), NJ_DENIED);
	assert_non_null(strstr(why.mend, "chmod"));
	assert_int_equal(pki_key_load(path, NULL, false, &key, &why), NJ_OK);
	EVP_PKEY_free(key);
	key = NULL;
	assert_int_equal(
	    pki_key_load(rough_path(dir, "absent"), NULL, true, &key, &why),
	    NJ_NOTFOUND);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(round_trip),
		cmocka_unit_test(old_forms),
		cmocka_unit_test(not_a_key),
		cmocka_unit_test(open_to_others),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
