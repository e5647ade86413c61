/* SPDX-License-Identifier: Apache-2.0 */
#include "rough.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "pki/ca.h"
#include "pki/explain.h"
#include "pki/key.h"
#include "pki/registry.h"

static char dir[64];
static struct secret *pass, *wrong;

static int
setup(void **state)
{
	(void)state;
	rough_mkdir(dir);
	pass = rough_secret("correct horse");
	wrong = rough_secret("wrong");
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	secret_free(pass);
	secret_free(wrong);
	rough_rmdir(dir);
	return 0;
}

static struct pki_ca *
make(void)
{
	const struct pki_ca_opts o = { .name = "Home" };
	struct nj_why why = { 0 };
	struct pki_ca *ca = NULL;

	if (pki_ca_init(dir, &o, pass, &ca, &why))
		fail_msg("%s", why.what);
	return ca;
}

static void
made(void **state)
{
	struct pki_ca *ca;
	char name[64];

	(void)state;
	assert_false(pki_ca_exists(dir));
	ca = make();
	assert_true(pki_ca_exists(dir));
	assert_true(pki_ca_is_unlocked(ca));
	assert_int_equal(rough_mode(rough_path(dir, "pki")), 0700);
	assert_int_equal(rough_mode(rough_path(dir, "pki/ca.key")), 0600);
	assert_int_equal(rough_mode(rough_path(dir, "pki/registry")), 0600);
	assert_true(pki_key_is_encrypted(rough_path(dir, "pki/ca.key")));
	pki_short_name(pki_ca_root(ca), name, sizeof(name));
	assert_string_equal(name, "Home");
	assert_int_equal(sk_X509_num(pki_ca_chain(ca)), 0);
	pki_ca_lock(ca);
	assert_false(pki_ca_is_unlocked(ca));
	pki_ca_free(ca);
}

static void
never_overwritten(void **state)
{
	const struct pki_ca_opts o = { 0 };
	struct nj_why why = { 0 };
	struct pki_ca *ca = make(), *other = NULL;
	char before[96], after[96];

	(void)state;
	pki_fingerprint(pki_ca_root(ca), before);
	pki_ca_free(ca);
	assert_int_equal(pki_ca_init(dir, &o, pass, &other, &why), NJ_EXISTS);
	assert_null(other);
	assert_int_equal(pki_ca_open(dir, &ca, &why), NJ_OK);
	pki_fingerprint(pki_ca_root(ca), after);
	assert_string_equal(before, after);
	pki_ca_free(ca);
}

static void
unlocking(void **state)
{
	const struct pki_cert_spec spec = {
		.profile = PKI_DEVICE, .cn = "x", .days = 1
	};
	struct nj_why why = { 0 };
	struct pki_ca *ca = make();
	X509 *x = NULL;

	(void)state;
	pki_ca_free(ca);
	ca = NULL;
	assert_int_equal(pki_ca_open(dir, &ca, &why), NJ_OK);
	assert_false(pki_ca_is_unlocked(ca));
	assert_int_equal(pki_ca_issue(ca, &spec, "x", &x, &why), NJ_DENIED);
	assert_int_equal(pki_ca_unlock(ca, wrong, &why), NJ_DENIED);
	assert_int_equal(pki_ca_unlock(ca, NULL, &why), NJ_DENIED);
	assert_false(pki_ca_is_unlocked(ca));
	assert_int_equal(pki_ca_unlock(ca, pass, &why), NJ_OK);
	assert_true(pki_ca_is_unlocked(ca));
	pki_ca_free(ca);
}

static void
refusals(void **state)
{
	struct nj_why why = { 0 };
	struct pki_ca *ca = make();
	EVP_PKEY *key = NULL;

	(void)state;
	pki_ca_free(ca);
	ca = NULL;
	assert_int_equal(chmod(rough_path(dir, "pki"), 0750), 0);
	assert_int_equal(pki_ca_open(dir, &ca, &why), NJ_DENIED);
	assert_non_null(strstr(why.mend, "chmod 700"));
	assert_int_equal(chmod(rough_path(dir, "pki"), 0700), 0);

	assert_int_equal(pki_ca_open(dir, &ca, &why), NJ_OK);
	assert_int_equal(chmod(rough_path(dir, "pki/ca.key"), 0644), 0);
	assert_int_equal(pki_ca_unlock(ca, pass, &why), NJ_DENIED);
	assert_non_null(strstr(why.mend, "chmod"));

	/* Another CA's key. */
	assert_int_equal(pki_key_new_p256(&key), NJ_OK);
	assert_int_equal(unlink(rough_path(dir, "pki/ca.key")), 0);
	assert_int_equal(
	    pki_key_store(rough_path(dir, "pki/ca.key"), key, pass, &why),
	    NJ_OK);
	EVP_PKEY_free(key);
	assert_int_equal(pki_ca_unlock(ca, pass, &why), NJ_INVALID);
	assert_non_null(strstr(why.what, "is not the key of"));
	pki_ca_free(ca);
	ca = NULL;

	assert_int_equal(
	    pki_ca_open(rough_path(dir, "absent"), &ca, &why), NJ_NOTFOUND);
	assert_non_null(strstr(why.mend, "nightjar ca init"));
}

static void
bad_names(void **state)
{
	static const char *const names[] = { "", "a\nb",
		"0123456789012345678901234567890123456789012345678901234567890"
		"1234" };

	(void)state;
	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
		const struct pki_ca_opts o = { .name = names[i] };
		struct pki_ca *ca = NULL;

		assert_int_equal(
		    pki_ca_init(dir, &o, pass, &ca, NULL), NJ_INVALID);
		assert_false(pki_ca_exists(dir));
	}
}

/* Interrupted before ca.crt was there: begun anew.  Lost after certificates
 * were issued: refused. */
static void
half_made(void **state)
{
	const struct pki_ca_opts o = { 0 };
	struct pki_cert_spec spec = {
		.profile = PKI_DEVICE, .cn = "x", .days = 1
	};
	struct nj_why why = { 0 };
	struct pki_ca *ca = make();
	EVP_PKEY *key = NULL;
	X509 *x = NULL;

	(void)state;
	pki_ca_free(ca);
	ca = NULL;
	assert_int_equal(unlink(rough_path(dir, "pki/ca.crt")), 0);
	assert_int_equal(pki_ca_init(dir, &o, pass, &ca, &why), NJ_OK);
	assert_int_equal(pki_key_new_p256(&key), NJ_OK);
	spec.key = key;
	assert_int_equal(pki_ca_issue(ca, &spec, "x", &x, &why), NJ_OK);
	X509_free(x);
	EVP_PKEY_free(key);
	pki_ca_free(ca);
	ca = NULL;
	assert_int_equal(unlink(rough_path(dir, "pki/ca.crt")), 0);
	assert_int_equal(pki_ca_init(dir, &o, pass, &ca, &why), NJ_EXISTS);
	assert_non_null(strstr(why.mend, "backup"));
	assert_null(ca);
}

static bool
count_one(void *arg, const struct registry_entry *e)
{
	unsigned *n = arg;

	(void)e;
	++*n;
	return true;
}

/* What cannot be written down is not issued. */
static void
no_registry_no_certificate(void **state)
{
	struct pki_cert_spec spec = {
		.profile = PKI_DEVICE, .cn = "x", .days = 1
	};
	struct nj_why why = { 0 };
	struct pki_ca *ca = make();
	EVP_PKEY *key = NULL;
	X509 *x = NULL;
	unsigned n = 0;

	(void)state;
	assert_int_equal(pki_key_new_p256(&key), NJ_OK);
	spec.key = key;
	assert_int_equal(pki_ca_issue(ca, &spec, "x", &x, &why), NJ_OK);
	X509_free(x);
	x = NULL;
	assert_int_equal(
	    registry_each(pki_ca_registry(ca), count_one, &n, &why), NJ_OK);
	assert_int_equal(n, 2);
	assert_int_equal(
	    file_write(pki_ca_registry(ca), LIT("damaged\n"), 0600, NULL),
	    NJ_OK);
	assert_int_equal(pki_ca_issue(ca, &spec, "x", &x, &why), NJ_INVALID);
	assert_null(x);
	EVP_PKEY_free(key);
	pki_ca_free(ca);
}

#define CASE(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(made),
		CASE(never_overwritten),
		CASE(unlocking),
		CASE(refusals),
		CASE(bad_names),
		CASE(half_made),
		CASE(no_registry_no_certificate),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
