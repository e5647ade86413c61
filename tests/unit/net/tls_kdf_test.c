/* SPDX-License-Identifier: Apache-2.0
 * The key schedules of a shard's context against the library's own, and the
 * early secret of RFC 8448.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <openssl/core_names.h>
#include <openssl/kdf.h>
#include <openssl/params.h>
#include <string.h>

#include "base/rand.h"
#include "net/tls_impl.h"

#define OUT_MAX 700
#define ROUNDS	300

static int
derive(OSSL_LIB_CTX *lib, const char *name, const OSSL_PARAM *params,
    uint8_t *out, size_t n)
{
	EVP_KDF *kdf = EVP_KDF_fetch(lib, name, NULL);
	EVP_KDF_CTX *c = kdf ? EVP_KDF_CTX_new(kdf) : NULL;
	int r = c ? EVP_KDF_derive(c, out, n, params) : -1;

	EVP_KDF_CTX_free(c);
	EVP_KDF_free(kdf);
	return r;
}

/* Both say the same, which is returned. */
static int
same(const char *name, const OSSL_PARAM *params, size_t n)
{
	uint8_t ours[OUT_MAX] = { 0 }, theirs[OUT_MAX] = { 0 };
	int a = derive(tls_lib(0), name, params, ours, n);
	int b = derive(NULL, name, params, theirs, n);

	assert_int_equal(a, b);
	assert_memory_equal(ours, theirs, sizeof ours);
	return a;
}

static size_t
below(size_t n)
{
	uint32_t r;

	rand_bytes(&r, sizeof r);
	return r % n;
}

static OSSL_PARAM
bytes(const char *name, uint8_t *p, size_t n)
{
	rand_bytes(p, n);
	return OSSL_PARAM_construct_octet_string(name, p, n);
}

static OSSL_PARAM
text(const char *name, const char *s)
{
	return OSSL_PARAM_construct_utf8_string(name, (char *)(uintptr_t)s, 0);
}

static OSSL_PARAM
label_of(const char *name, const char *s)
{
	return OSSL_PARAM_construct_octet_string(
	    name, (void *)(uintptr_t)s, strlen(s));
}

static const char *
digest(bool big)
{
	static const char *const names[] = { "SHA256", "SHA2-256", "SHA384",
		"SHA2-384" };

	return names[below(2) + 2 * big];
}

static void
test_expand(void **state)
{
	for (int i = 0; i < ROUNDS; i++) {
		uint8_t key[48], data[48];
		bool big = below(2);
		int mode = EVP_KDF_HKDF_MODE_EXPAND_ONLY;
		OSSL_PARAM p[8], *at = p;

		*at++ = OSSL_PARAM_construct_int(OSSL_KDF_PARAM_MODE, &mode);
		*at++ = text(OSSL_KDF_PARAM_DIGEST, digest(big));
		*at++ = bytes(OSSL_KDF_PARAM_KEY, key, big ? 48 : 32);
		*at++ = label_of(OSSL_KDF_PARAM_PREFIX, "tls13 ");
		*at++ = label_of(OSSL_KDF_PARAM_LABEL, i & 1 ? "key" : "c hs");
		if (below(2))
			*at++ = bytes(OSSL_KDF_PARAM_DATA, data, below(49));
		*at = OSSL_PARAM_construct_end();
		assert_int_equal(same("TLS13-KDF", p, 1 + below(OUT_MAX)), 1);
	}
}

static void
test_extract(void **state)
{
	for (int i = 0; i < ROUNDS; i++) {
		uint8_t key[64], salt[48];
		bool big = below(2);
		int mode = EVP_KDF_HKDF_MODE_EXTRACT_ONLY;
		size_t n = big ? 48 : 32;
		OSSL_PARAM p[8], *at = p;

		*at++ = OSSL_PARAM_construct_int(OSSL_KDF_PARAM_MODE, &mode);
		*at++ = text(OSSL_KDF_PARAM_DIGEST, digest(big));
		if (below(2))
			*at++ = bytes(OSSL_KDF_PARAM_KEY, key, 1 + below(64));
		if (below(2))
			*at++ = bytes(OSSL_KDF_PARAM_SALT, salt, n);
		*at++ = label_of(OSSL_KDF_PARAM_PREFIX, "tls13 ");
		*at++ = label_of(OSSL_KDF_PARAM_LABEL, "derived");
		*at = OSSL_PARAM_construct_end();
		assert_int_equal(same("TLS13-KDF", p, n), 1);
	}
}

static void
test_prf(void **state)
{
	for (int i = 0; i < ROUNDS; i++) {
		uint8_t secret[300], seed[2][64];
		OSSL_PARAM p[8], *at = p;

		*at++ = text(OSSL_KDF_PARAM_DIGEST, digest(below(2)));
		/* longer than a block: a shared key's premaster secret */
		*at++ = bytes(OSSL_KDF_PARAM_SECRET, secret, 1 + below(300));
		*at++ = label_of(OSSL_KDF_PARAM_SEED, "master secret");
		*at++ = bytes(OSSL_KDF_PARAM_SEED, seed[0], 1 + below(64));
		*at++ = OSSL_PARAM_construct_octet_string(
		    OSSL_KDF_PARAM_SEED, NULL, 0);
		*at++ = bytes(OSSL_KDF_PARAM_SEED, seed[1], 1 + below(64));
		*at = OSSL_PARAM_construct_end();
		assert_int_equal(same("TLS1-PRF", p, 1 + below(OUT_MAX)), 1);
	}
}

/* RFC 8448 3: the early secret where no key is shared. */
static void
test_known(void **state)
{
	static const uint8_t early[] = "\x33\xad\x0a\x1c\x60\x7e\xc0\x3b\x09"
				       "\xe6\xcd\x98\x93\x68\x0c\xe2\x10\xad"
				       "\xf3\x00\xaa\x1f\x26\x60\xe1\xb2\x2e"
				       "\x10\xf1\x70\xf9\x2a";
	int mode = EVP_KDF_HKDF_MODE_EXTRACT_ONLY;
	uint8_t out[32];
	OSSL_PARAM p[] = { OSSL_PARAM_construct_int(OSSL_KDF_PARAM_MODE, &mode),
		text(OSSL_KDF_PARAM_DIGEST, "SHA2-256"),
		label_of(OSSL_KDF_PARAM_PREFIX, "tls13 "),
		label_of(OSSL_KDF_PARAM_LABEL, "derived"),
		OSSL_PARAM_construct_end() };

	assert_int_equal(derive(tls_lib(0), "TLS13-KDF", p, out, 32), 1);
	assert_memory_equal(out, early, 32);
}

static void
test_refused(void **state)
{
	uint8_t key[32] = { 0 }, out[64];
	int mode = EVP_KDF_HKDF_MODE_EXPAND_ONLY;
	OSSL_PARAM bad[] = { OSSL_PARAM_construct_int(
				 OSSL_KDF_PARAM_MODE, &mode),
		text(OSSL_KDF_PARAM_DIGEST, "SHA1"),
		OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_KEY, key, 32),
		OSSL_PARAM_construct_end() };
	OSSL_PARAM none[] = { text(OSSL_KDF_PARAM_DIGEST, "SHA256"),
		OSSL_PARAM_construct_end() };

	assert_int_not_equal(derive(tls_lib(0), "TLS13-KDF", bad, out, 32), 1);
	assert_int_not_equal(derive(tls_lib(0), "TLS13-KDF", none, out, 32), 1);
	assert_int_not_equal(derive(tls_lib(0), "TLS1-PRF", none, out, 32), 1);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_expand),
		cmocka_unit_test(test_extract),
		cmocka_unit_test(test_prf),
		cmocka_unit_test(test_known),
		cmocka_unit_test(test_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
