/* SPDX-License-Identifier: Apache-2.0 */
#include "rough.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "pki/csr.h"
#include "pki/enrol.h"
#include "pki/key.h"
#include "pki/pending.h"
#include "pki/registry.h"
#include "pki/token.h"

static char dir[64];
static struct secret *pass;
static struct pki_ca *ca;

static int
setup(void **state)
{
	const struct pki_ca_opts o = { .name = "Home" };
	struct nj_why why = { 0 };

	(void)state;
	rough_mkdir(dir);
	pass = rough_secret("correct horse");
	return pki_ca_init(dir, &o, pass, &ca, &why);
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

/* A request by a new key, DER, and the hash of that key. */
static void
request(const char *id, struct buf *der, char spki[65])
{
	X509_REQ *req = X509_REQ_new();
	EVP_PKEY *key = NULL;
	unsigned char *p = NULL;
	struct pki_csr csr;
	int n;

	assert_int_equal(pki_key_new_p256(&key), NJ_OK);
	assert_true(X509_NAME_add_entry_by_txt(X509_REQ_get_subject_name(req),
	    "CN", MBSTRING_ASC, (const unsigned char *)id, -1, -1, 0));
	assert_true(X509_REQ_set_pubkey(req, key));
	assert_true(X509_REQ_sign(req, key, EVP_sha256()) > 0);
	n = i2d_X509_REQ(req, &p);
	assert_true(n > 0);
	assert_int_equal(buf_put(der, p, (size_t)n), NJ_OK);
	assert_int_equal(pki_csr_open(buf_slice(der), &csr, NULL), NJ_OK);
	memcpy(spki, csr.spki, 65);
	pki_csr_fini(&csr);
	OPENSSL_free(p);
	EVP_PKEY_free(key);
	X509_REQ_free(req);
}

static void
token_with(const char *what, unsigned uses, bool approve,
    char hash[PKI_TOKEN_HASH + 1])
{
	struct pki_token t = { .uses = uses,
		.approve = approve,
		.expires = (int64_t)time(NULL) + 60 };
	char secret[PKI_TOKEN_SECRET + 1];

	memcpy(t.what, what, strlen(what) + 1);
	assert_int_equal(pki_token_make(dir, &t, secret, NULL), NJ_OK);
	assert_true(pki_token_hash(slice_str(secret), hash));
}

static void
token_for(const char *what, unsigned uses, char hash[PKI_TOKEN_HASH + 1])
{
	token_with(what, uses, false, hash);
}

static enum enrol_result
ask(const char *hash, const struct buf *der, X509 **out)
{
	const struct enrol_ask a = { .token = slice_str(hash),
		.csr = buf_slice(der) };
	char id[PKI_ID_MAX + 1];
	struct nj_why why = { 0 };

	*out = NULL;
	return enrol(ca, &a, out, id, &why);
}

/* The power went between the token and the certificate. */
static void
a_promise_is_kept(void **state)
{
	struct buf mine = { 0 }, other = { 0 };
	char hash[PKI_TOKEN_HASH + 1], spki[65], others[65];
	struct pki_token_use u;
	X509 *x, *again;

	(void)state;
	token_for("promised", 1, hash);
	request("promised", &mine, spki);
	request("promised", &other, others);
	assert_int_equal(pki_token_open(dir, slice_str(hash), &u, NULL), NJ_OK);
	assert_int_equal(pki_token_is_good(&u, NULL), NJ_OK);
	assert_int_equal(pki_token_spend(&u, spki, NULL), NJ_OK);
	pki_token_close(&u);
	assert_int_equal(ask(hash, &other, &x), ENROL_DENIED);
	assert_int_equal(ask(hash, &mine, &x), ENROL_OK);
	assert_int_equal(ask(hash, &other, &again), ENROL_DENIED);
	assert_int_equal(ask(hash, &mine, &again), ENROL_OK);
	assert_int_equal(X509_cmp(x, again), 0);
	X509_free(again);
	X509_free(x);
	buf_fini(&mine);
	buf_fini(&other);
}

/* A use is one key's, however often it asks. */
static void
uses_are_counted_by_key(void **state)
{
	static const char *const ids[] = { "n-1", "n-2", "n-3" };
	char hash[PKI_TOKEN_HASH + 1], spki[65];
	enum enrol_result want[] = { ENROL_OK, ENROL_OK, ENROL_DENIED };
	struct buf der[3] = { { 0 }, { 0 }, { 0 } };
	X509 *x;

	(void)state;
	token_for("n-*", 2, hash);
	for (size_t i = 0; i < 3; i++)
		request(ids[i], &der[i], spki);
	for (size_t round = 0; round < 3; round++)
		for (size_t i = 0; i < 3; i++) {
			assert_int_equal(ask(hash, &der[i], &x), want[i]);
			X509_free(x);
		}
	for (size_t i = 0; i < 3; i++)
		buf_fini(&der[i]);
}

/* Another CA may give a certificate the serial of ours. */
static void
a_serial_alone_renews_nothing(void **state)
{
	char hash[PKI_TOKEN_HASH + 1], spki[65], none[65];
	struct buf der = { 0 }, next = { 0 };
	struct enrol_ask a = { .token = { 0 } };
	char id[PKI_ID_MAX + 1];
	struct nj_why why = { 0 };
	X509 *x, *new = NULL;
	BIGNUM *bn;
	char *hex;

	(void)state;
	token_for("owner", 1, hash);
	request("owner", &der, spki);
	request("owner", &next, none);
	assert_int_equal(ask(hash, &der, &x), ENROL_OK);
	bn = ASN1_INTEGER_to_BN(X509_get0_serialNumber(x), NULL);
	hex = BN_bn2hex(bn);
	memcpy(a.serial, hex, strlen(hex) + 1);
	a.csr = buf_slice(&next);
	memcpy(a.spki, none, sizeof a.spki);
	assert_int_equal(enrol(ca, &a, &new, id, &why), ENROL_DENIED);
	memcpy(a.spki, spki, sizeof a.spki);
	assert_int_equal(enrol(ca, &a, &new, id, &why), ENROL_OK);
	X509_free(new);
	X509_free(x);
	OPENSSL_free(hex);
	BN_free(bn);
	buf_fini(&der);
	buf_fini(&next);
}

static void
forget(const char *hash)
{
	char name[PKI_TOKEN_NAME + 1];

	(void)snprintf(name, sizeof name, "%.32s", hash);
	assert_int_equal(pki_token_remove(dir, name, NULL), NJ_OK);
}

/* No more wait than the token has uses; nor does what nobody can fetch, or what
 * was denied a day ago, stay in the queue. */
static void
the_queue_is_emptied(void **state)
{
	char first[PKI_TOKEN_HASH + 1], second[PKI_TOKEN_HASH + 1], spki[65];
	struct buf der[4] = { { 0 }, { 0 }, { 0 }, { 0 } };
	static const char *const ids[] = { "q-1", "q-2", "q-3", "q-2" };
	struct pending p;
	X509 *x;

	(void)state;
	token_with("q-*", 2, true, first);
	token_with("q-*", 2, true, second);
	for (size_t i = 0; i < 4; i++)
		request(ids[i], &der[i], spki);
	assert_int_equal(ask(first, &der[0], &x), ENROL_WAIT);
	assert_int_equal(ask(first, &der[1], &x), ENROL_WAIT);
	assert_int_equal(ask(first, &der[2], &x), ENROL_REFUSED);
	assert_int_equal(ask(second, &der[2], &x), ENROL_WAIT);
	/* another key of the same name waits while the first one does */
	assert_int_equal(ask(second, &der[3], &x), ENROL_REFUSED);
	assert_int_equal(ask(first, &der[1], &x), ENROL_WAIT);
	/* one that was denied makes room */
	assert_int_equal(pending_decide(dir, "q-1", false, NULL), NJ_OK);
	assert_int_equal(ask(first, &der[0], &x), ENROL_DENIED);
	pending_sweep(dir, (int64_t)time(NULL));
	assert_int_equal(pending_load(dir, "q-1", &p), NJ_OK);
	pending_sweep(dir, (int64_t)time(NULL) + PENDING_DENIED_S + 1);
	assert_int_equal(pending_load(dir, "q-1", &p), NJ_NOTFOUND);
	assert_int_equal(pending_load(dir, "q-2", &p), NJ_OK);
	/* with its token it goes, at once where another wants the place */
	forget(first);
	assert_int_equal(ask(second, &der[3], &x), ENROL_WAIT);
	forget(second);
	enrol_sweep(ca);
	assert_int_equal(pending_load(dir, "q-2", &p), NJ_NOTFOUND);
	assert_int_equal(pending_load(dir, "q-3", &p), NJ_NOTFOUND);
	for (size_t i = 0; i < 4; i++)
		buf_fini(&der[i]);
}

static bool
is_free(void *arg, const struct pki_token *t)
{
	char *folder = pki_path(dir, "pki/tokens");
	int fd = open(folder, O_RDONLY | O_DIRECTORY);

	(void)t;
	++*(unsigned *)arg;
	assert_true(fd >= 0);
	assert_int_equal(flock(fd, LOCK_EX | LOCK_NB), 0);
	(void)close(fd);
	free(folder);
	return true;
}

/* Who lists tokens to a pager that waits holds up nobody. */
static void
a_list_holds_no_lock(void **state)
{
	char hash[PKI_TOKEN_HASH + 1];
	unsigned n = 0;

	(void)state;
	for (int i = 0; i < 20; i++)
		token_for("listed", 1, hash);
	assert_int_equal(pki_token_each(dir, is_free, &n, NULL), NJ_OK);
	assert_true(n >= 20);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_promise_is_kept),
		cmocka_unit_test(uses_are_counted_by_key),
		cmocka_unit_test(a_serial_alone_renews_nothing),
		cmocka_unit_test(the_queue_is_emptied),
		cmocka_unit_test(a_list_holds_no_lock),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
