/* SPDX-License-Identifier: Apache-2.0 */
#include "rough.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "pki/cert.h"
#include "pki/explain.h"
#include "pki/issue.h"
#include "pki/key.h"
#include "pki/upkeep.h"

#define DAY 86400

static char dir[64];
static struct secret *pass;
static struct pki_ca *ca;
static int64_t wall_s; /* what the clock says */
static unsigned unlocks;

static uint64_t
fake_mono(void *arg)
{
	(void)arg;
	return (uint64_t)wall_s * 1000;
}

static int64_t
fake_wall(void *arg)
{
	(void)arg;
	return wall_s * 1000;
}

static const struct clock fake = { .mono_ms = fake_mono, .wall_ms = fake_wall };

static enum nj_err
unlock(void *arg, struct pki_ca *c, struct nj_why *why)
{
	unlocks++;
	return pki_ca_unlock(c, arg, why);
}

static X509 *
served(void)
{
	STACK_OF(X509) *chain = NULL;
	X509 *x;

	assert_int_equal(
	    pki_chain_load(rough_path(dir, "server/server.crt"), &chain, NULL),
	    NJ_OK);
	x = sk_X509_shift(chain);
	sk_X509_pop_free(chain, X509_free);
	return x;
}

static void
dates(int64_t *from, int64_t *to)
{
	X509 *x = served();

	assert_true(pki_cert_dates(x, from, to));
	X509_free(x);
}

static int
setup(void **state)
{
	const struct pki_ca_opts o = { 0 };
	struct pki_names names = { 0 };

	(void)state;
	rough_mkdir(dir);
	pass = rough_secret("correct horse");
	assert_int_equal(pki_ca_init(dir, &o, pass, &ca, NULL), NJ_OK);
	pki_names_collect(&names);
	assert_int_equal(pki_server_issue(ca, &names, 0, NULL), NJ_OK);
	pki_ca_lock(ca);
	wall_s = (int64_t)time(NULL);
	unlocks = 0;
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

static struct upkeep
new_upkeep(void)
{
	return (struct upkeep){
		.clock = &fake, .addresses = -1, .unlock = unlock, .arg = pass
	};
}

static void
at_two_thirds(void **state)
{
	struct upkeep u = new_upkeep();
	struct nj_why why = { 0 };
	int64_t from, to;

	(void)state;
	dates(&from, &to);
	assert_int_equal((to - from) / DAY, PKI_SERVER_DAYS);
	assert_int_equal(upkeep_server(&u, ca, &why), UPKEEP_GOOD);
	wall_s = from + (to - from) / 3 * 2 - 1;
	assert_int_equal(upkeep_server(&u, ca, &why), UPKEEP_GOOD);
	assert_int_equal(unlocks, 0); /* the key was not needed */
	wall_s++;
	assert_int_equal(upkeep_server(&u, ca, &why), UPKEEP_MADE);
	assert_int_equal(unlocks, 1);
	assert_string_equal(why.what, "two thirds of its lifetime are over");
	assert_non_null(strstr(why.mend, "localhost"));
	/* by that clock, and for the shorter life */
	dates(&from, &to);
	assert_true(from <= wall_s && wall_s - from <= 3600);
	assert_int_equal((to - from) / DAY, PKI_SERVER_KEPT_DAYS);
	assert_int_equal(upkeep_server(&u, ca, &why), UPKEEP_GOOD);
	/* the next one is for no longer */
	wall_s = from + (to - from) / 3 * 2;
	assert_int_equal(upkeep_server(&u, ca, &why), UPKEEP_MADE);
	dates(&from, &to);
	assert_int_equal((to - from) / DAY, PKI_SERVER_KEPT_DAYS);
}

static void
both_keys(void **state)
{
	struct upkeep u = new_upkeep();
	struct nj_why why = { 0 };
	STACK_OF(X509) *chain = NULL;
	int64_t from, to;

	(void)state;
	assert_int_equal(pki_server_add_rsa(dir, NULL), NJ_OK);
	dates(&from, &to);
	wall_s = from + (to - from) / 3 * 2;
	assert_int_equal(upkeep_server(&u, ca, &why), UPKEEP_MADE);
	assert_int_equal(
	    pki_chain_load(
		rough_path(dir, "server/server-rsa.crt"), &chain, NULL),
	    NJ_OK);
	assert_true(
	    EVP_PKEY_is_a(X509_get0_pubkey(sk_X509_value(chain, 0)), "RSA"));
	sk_X509_pop_free(chain, X509_free);
}

static void
names_change(void **state)
{
	struct upkeep u = new_upkeep();
	struct pki_names asked = { 0 };
	struct nj_why why = { 0 };
	X509 *x;

	(void)state;
	assert_int_equal(pki_names_add(&asked, "mq.example.org", NULL), NJ_OK);
	assert_int_equal(pki_names_add(&asked, "192.0.2.7", NULL), NJ_OK);
	assert_int_equal(pki_server_set_extra(dir, &asked, NULL), NJ_OK);
	assert_int_equal(upkeep_server(&u, ca, &why), UPKEEP_MADE);
	assert_non_null(strstr(why.what, "is new"));
	x = served();
	assert_true(pki_matches_host(x, "mq.example.org"));
	assert_true(pki_matches_host(x, "192.0.2.7"));
	X509_free(x);
	/* The address goes again; the name, which DNS may have given, stays. */
	asked.n = 0;
	assert_int_equal(pki_server_set_extra(dir, &asked, NULL), NJ_OK);
	assert_int_equal(upkeep_server(&u, ca, &why), UPKEEP_LATER);
	assert_non_null(strstr(why.what, "192.0.2.7"));
	wall_s += UPKEEP_PAUSE_S;
	assert_int_equal(upkeep_server(&u, ca, &why), UPKEEP_MADE);
	x = served();
	assert_true(pki_matches_host(x, "mq.example.org"));
	assert_false(pki_matches_host(x, "192.0.2.7"));
	X509_free(x);
}

/* That they cannot be asked for is not that there are none. */
static void
addresses_unknown(void **state)
{
	struct upkeep u = new_upkeep();
	struct nj_why why = { 0 };
	X509 *before = served(), *after;

	(void)state;
	u.addresses = open("/dev/null", O_RDWR);
	assert_true(u.addresses >= 0);
	assert_int_equal(upkeep_server(&u, ca, &why), UPKEEP_FAILED);
	assert_non_null(strstr(why.what, "addresses"));
	after = served();
	assert_int_equal(X509_cmp(before, after), 0);
	assert_int_equal(unlocks, 0);
	(void)close(u.addresses);
	X509_free(after);
	X509_free(before);
}

/* Who can make addresses come and go does not fill the registry. */
static void
bounded(void **state)
{
	struct upkeep u = new_upkeep();
	struct pki_names asked = { 0 };
	struct nj_why why = { 0 };
	unsigned made = 0;
	char text[32];

	(void)state;
	for (unsigned i = 0; i < 2 * UPKEEP_DAY_MAX; i++) {
		asked.n = 0;
		(void)snprintf(text, sizeof text, "192.0.2.%u", i + 1);
		assert_int_equal(pki_names_add(&asked, text, NULL), NJ_OK);
		assert_int_equal(
		    pki_server_set_extra(dir, &asked, NULL), NJ_OK);
		wall_s += UPKEEP_PAUSE_S;
		made += upkeep_server(&u, ca, &why) == UPKEEP_MADE;
	}
	assert_int_equal(made, UPKEEP_DAY_MAX);
	wall_s += DAY;
	assert_int_equal(upkeep_server(&u, ca, &why), UPKEEP_MADE);
}

static void
left_alone(void **state)
{
	const struct pki_ca_opts o = { 0 };
	struct upkeep u = new_upkeep();
	struct nj_why why = { 0 };
	struct pki_ca *other = NULL;
	char dir2[64];
	int64_t from, to;

	(void)state;
	dates(&from, &to);
	/* a clock that is not set yet */
	wall_s = 100 * DAY;
	assert_int_equal(upkeep_server(&u, ca, &why), UPKEEP_GOOD);
	/* without the key */
	wall_s = from + (to - from) / 3 * 2;
	u.unlock = NULL;
	assert_int_equal(upkeep_server(&u, ca, &why), UPKEEP_FAILED);
	assert_non_null(strstr(why.what, "cannot be made anew"));
	/* what another CA made */
	u.unlock = unlock;
	rough_mkdir(dir2);
	assert_int_equal(pki_ca_init(dir2, &o, pass, &other, NULL), NJ_OK);
	assert_int_equal(
	    rename(rough_path(dir, "server"), rough_path(dir2, "server")), 0);
	assert_int_equal(upkeep_server(&u, other, &why), UPKEEP_GOOD);
	/* none at all */
	assert_int_equal(upkeep_server(&u, ca, &why), UPKEEP_GOOD);
	pki_ca_free(other);
	rough_rmdir(dir2);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(at_two_thirds, setup, teardown),
		cmocka_unit_test_setup_teardown(both_keys, setup, teardown),
		cmocka_unit_test_setup_teardown(names_change, setup, teardown),
		cmocka_unit_test_setup_teardown(
		    addresses_unknown, setup, teardown),
		cmocka_unit_test_setup_teardown(bounded, setup, teardown),
		cmocka_unit_test_setup_teardown(left_alone, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
