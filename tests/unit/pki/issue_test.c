/* SPDX-License-Identifier: Apache-2.0 */
#include "rough.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "pki/explain.h"
#include "pki/issue.h"
#include "pki/key.h"

static char dir[64];
static struct secret *pass;
static struct pki_ca *ca;

static int
setup(void **state)
{
	const struct pki_ca_opts o = { 0 };

	(void)state;
	rough_mkdir(dir);
	pass = rough_secret("correct horse");
	assert_int_equal(pki_ca_init(dir, &o, pass, &ca, NULL), NJ_OK);
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	pki_ca_free(ca);
	secret_free(pass);
	rough_rmdir(dir);
	return 0;
}

static struct pki_names
names_of(const char *a, const char *b)
{
	struct pki_names s = { 0 };

	assert_int_equal(pki_names_add(&s, a, NULL), NJ_OK);
	if (b)
		assert_int_equal(pki_names_add(&s, b, NULL), NJ_OK);
	return s;
}

static X509 *
first_of(const char *name)
{
	STACK_OF(X509) *chain = NULL;
	X509 *x;

	assert_int_equal(
	    pki_chain_load(rough_path(dir, name), &chain, NULL), NJ_OK);
	x = sk_X509_shift(chain);
	sk_X509_pop_free(chain, X509_free);
	return x;
}

static void
server_life(void **state)
{
	struct pki_names box = names_of("box", "10.0.0.1");
	struct pki_names moved = names_of("box", "10.0.0.2");
	struct pki_names less = names_of("10.0.0.1", NULL);
	uint8_t before[32], after[32];
	char reason[300];
	X509 *x;

	(void)state;
	assert_true(pki_server_due(ca, &box, reason, sizeof(reason)));
	assert_string_equal(reason, "there is none yet");
	assert_int_equal(pki_server_issue(ca, &box, 0, NULL), NJ_OK);
	assert_false(pki_server_due(ca, &box, reason, sizeof(reason)));
	assert_int_equal(rough_mode(rough_path(dir, "server")), 0700);
	assert_int_equal(
	    rough_mode(rough_path(dir, "server/server.key")), 0600);
	x = first_of("server/server.crt");
	assert_true(pki_matches_host(x, "box"));
	assert_int_equal(pki_spki_sha256(x, before), NJ_OK);
	X509_free(x);

	/* A name that is gone may come back; an address is another's soon. */
	assert_false(pki_server_due(ca, &less, reason, sizeof(reason)));
	assert_true(pki_server_due(ca, &moved, reason, sizeof(reason)));
	assert_string_equal(reason, "the address 10.0.0.2 is new");
	less = names_of("box", NULL);
	assert_true(pki_server_due(ca, &less, reason, sizeof(reason)));
	assert_string_equal(
	    reason, "the address 10.0.0.1 is no longer this machine's");

	assert_int_equal(pki_server_issue(ca, &moved, 0, NULL), NJ_OK);
	assert_false(pki_server_due(ca, &moved, reason, sizeof(reason)));
	x = first_of("server/server.crt");
	assert_int_equal(pki_spki_sha256(x, after), NJ_OK);
	assert_memory_equal(
	    before, after, sizeof(before)); /* renew, not rekey */
	assert_false(pki_matches_host(x, "10.0.0.1"));
	X509_free(x);
}

static void
server_is_due(void **state)
{
	struct pki_names box = names_of("box", NULL);
	const struct pki_ca_opts o = { 0 };
	struct pki_ca *other = NULL;
	char reason[300], dir2[64];
	EVP_PKEY *key = NULL;
	X509 *old;

	(void)state;
	assert_int_equal(pki_server_issue(ca, &box, 0, NULL), NJ_OK);

	/* A crash between a new key and its certificate. */
	assert_int_equal(pki_key_new_p256(&key), NJ_OK);
	assert_int_equal(pki_key_store(rough_path(dir, "server/server.key"),
			     key, NULL, NULL),
	    NJ_OK);
	EVP_PKEY_free(key);
	assert_true(pki_server_due(ca, &box, reason, sizeof(reason)));
	assert_non_null(strstr(reason, "does not belong"));
	assert_int_equal(pki_server_issue(ca, &box, 0, NULL), NJ_OK);
	assert_false(pki_server_due(ca, &box, reason, sizeof(reason)));

	/* Another CA. */
	rough_mkdir(dir2);
	assert_int_equal(pki_ca_init(dir2, &o, pass, &other, NULL), NJ_OK);
	assert_int_equal(pki_server_issue(other, &box, 0, NULL), NJ_OK);
	old = first_of("server/server.crt");
	assert_int_equal(pki_chain_store(rough_path(dir2, "server/server.crt"),
			     old, NULL, 0644, NULL),
	    NJ_OK);
	X509_free(old);
	assert_true(pki_server_due(other, &box, reason, sizeof(reason)));
	pki_ca_free(other);
	rough_rmdir(dir2);
}

static void
extra_names(void **state)
{
	struct pki_names s = names_of("broker.example.org", "10.9.9.9");
	struct pki_names read = { 0 };
	struct nj_why why = { 0 };

	(void)state;
	assert_int_equal(pki_server_extra(dir, &read, &why), NJ_OK);
	assert_int_equal(read.n, 0);
	assert_int_equal(pki_server_set_extra(dir, &s, &why), NJ_OK);
	assert_int_equal(pki_server_extra(dir, &read, &why), NJ_OK);
	assert_int_equal(read.n, 2);
	assert_string_equal(read.v[0].text, "broker.example.org");
	assert_int_equal(file_write(rough_path(dir, "server/names"),
			     LIT("good\nbad name\n"), 0644, NULL),
	    NJ_OK);
	assert_int_equal(pki_server_extra(dir, &read, &why), NJ_INVALID);
	assert_non_null(strstr(why.what, "server/names"));
}

static void
device(void **state)
{
	struct pki_device_opts o = { .id = "dev1" };
	struct nj_why why = { 0 };
	char uri[100], got[200];
	X509 *x;

	(void)state;
	assert_int_equal(pki_device_issue(ca, &o, &why), NJ_OK);
	assert_true(pki_device_exists(dir, "dev1"));
	assert_int_equal(rough_mode(rough_path(dir, "devices/dev1")), 0700);
	assert_int_equal(
	    rough_mode(rough_path(dir, "devices/dev1/client.key")), 0600);
	x = first_of("devices/dev1/client.crt");
	pki_subject(x, got, sizeof(got));
	assert_string_equal(got, "CN=dev1");
	pki_names_text(x, got, sizeof(got));
	(void)snprintf(uri, sizeof(uri), "urn:nightjar:%s:device:dev1",
	    pki_ca_short_id(ca));
	assert_string_equal(got, uri);
	X509_free(x);
	x = first_of("devices/dev1/ca.crt");
	assert_int_equal(X509_cmp(x, pki_ca_root(ca)), 0);
	X509_free(x);

	o.id = "../dev1";
	assert_int_equal(pki_device_issue(ca, &o, &why), NJ_INVALID);
	o.id = ".old";
	assert_int_equal(pki_device_issue(ca, &o, &why), NJ_INVALID);
}

static void
device_again(void **state)
{
	struct pki_device_opts o = { .id = "dev1" };
	struct nj_why why = { 0 };
	uint8_t before[32], after[32];
	char serial[48], old[128];
	X509 *x;

	(void)state;
	assert_int_equal(pki_device_issue(ca, &o, &why), NJ_OK);
	x = first_of("devices/dev1/client.crt");
	assert_int_equal(pki_spki_sha256(x, before), NJ_OK);
	pki_serial(x, serial, sizeof(serial));
	X509_free(x);
	assert_int_equal(pki_device_issue(ca, &o, &why), NJ_EXISTS);
	assert_non_null(strstr(why.mend, "--again"));

	o.again = true;
	assert_int_equal(pki_device_issue(ca, &o, &why), NJ_OK);
	x = first_of("devices/dev1/client.crt");
	assert_int_equal(pki_spki_sha256(x, after), NJ_OK);
	X509_free(x);
	assert_memory_not_equal(before, after, sizeof(before));
	(void)snprintf(
	    old, sizeof(old), "devices/.old/dev1-%s/client.key", serial);
	assert_int_equal(rough_mode(rough_path(dir, old)), 0600);

	/* Its folder went away, as to the device: the registry knows. */
	o.again = false;
	rough_rmdir(rough_path(dir, "devices/dev1"));
	assert_int_equal(pki_device_issue(ca, &o, &why), NJ_EXISTS);
	assert_non_null(strstr(why.what, "valid until"));
	o.again = true;
	assert_int_equal(pki_device_issue(ca, &o, &why), NJ_OK);
}

/* A crash after the registry and before the folder got its name: the next try
 * names it.  One before the registry: nobody ever had that, and it is made
 * anew. */
static void
device_interrupted(void **state)
{
	const struct pki_device_opts o = { .id = "dev1" },
				     two = { .id = "dev2" };
	struct nj_why why = { 0 };
	uint8_t before[32], after[32];
	X509 *x;

	(void)state;
	assert_int_equal(pki_device_issue(ca, &o, &why), NJ_OK);
	x = first_of("devices/dev1/client.crt");
	assert_int_equal(pki_spki_sha256(x, before), NJ_OK);
	X509_free(x);
	assert_int_equal(rename(rough_path(dir, "devices/dev1"),
			     rough_path(dir, "devices/.new-dev1")),
	    0);
	assert_false(pki_device_exists(dir, "dev1"));
	assert_int_equal(pki_device_issue(ca, &o, &why), NJ_OK);
	x = first_of("devices/dev1/client.crt");
	assert_int_equal(pki_spki_sha256(x, after), NJ_OK);
	X509_free(x);
	assert_memory_equal(before, after, sizeof(before));

	assert_int_equal(rename(rough_path(dir, "devices/dev1"),
			     rough_path(dir, "devices/.new-dev2")),
	    0);
	assert_int_equal(pki_device_issue(ca, &two, &why), NJ_OK);
	x = first_of("devices/dev2/client.crt");
	assert_int_equal(pki_spki_sha256(x, after), NJ_OK);
	X509_free(x);
	assert_memory_not_equal(before, after, sizeof(before));
}

static void
device_with_passphrase(void **state)
{
	struct secret *mine = rough_secret("device's own");
	struct pki_names ips = names_of("10.0.0.7", NULL);
	const struct pki_device_opts o = {
		.id = "dev1", .pass = mine, .names = &ips, .days = 30
	};
	struct nj_why why = { 0 };
	EVP_PKEY *key = NULL;
	X509 *x;

	(void)state;
	assert_int_equal(pki_device_issue(ca, &o, &why), NJ_OK);
	assert_true(
	    pki_key_is_encrypted(rough_path(dir, "devices/dev1/client.key")));
	assert_int_equal(
	    pki_key_load(rough_path(dir, "devices/dev1/client.key"), mine, true,
		&key, &why),
	    NJ_OK);
	x = first_of("devices/dev1/client.crt");
	assert_int_equal(X509_check_private_key(x, key), 1);
	assert_true(pki_matches_host(x, "10.0.0.7"));
	X509_free(x);
	EVP_PKEY_free(key);
	secret_free(mine);
}

#define CASE(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(server_life),
		CASE(server_is_due),
		CASE(extra_names),
		CASE(device),
		CASE(device_again),
		CASE(device_interrupted),
		CASE(device_with_passphrase),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
