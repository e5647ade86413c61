/* SPDX-License-Identifier: Apache-2.0
 * tls_lib - a library context for each shard, with little in it.
 *
 * OpenSSL 3.0 finds out how to read a public key by asking every decoder it
 * knows, some fifty of them, each time it parses a certificate, and on the way
 * copies the list of all algorithms there are, of any kind; and whenever it
 * makes a key it looks through the names of them all.  That is more than all
 * the cryptography of a handshake.  So the provider of a shard's context is the
 * default one with only what TLS 1.2 and 1.3 and certificates need; and shards
 * that have a context each do not wait for each other's locks.
 *
 * Contexts live as long as the process: the library's own clean-up at a
 * thread's end would touch one that was freed by another thread.
 */
#include <openssl/core_dispatch.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/provider.h>
#include <pthread.h>
#include <string.h>

#include "net/tls_impl.h"

#define KEPT_MAX 24 /* algorithms of an operation */

/* An operation of which only some algorithms are kept, by their first names. */
struct kept {
	int operation;
	const char *names[KEPT_MAX];
};

/* The ciphers are those of libssl's table that are in the default provider:
 * also the retired ones, so that an operator who names them is told that they
 * are not served, and not that there are none of that name. */
static const struct kept kept[] = {
	{ OSSL_OP_DIGEST,
	    { "SHA1", "SHA2-224", "SHA2-256", "SHA2-384", "SHA2-512",
		"SHA2-512/224", "SHA2-512/256", "SHA3-224", "SHA3-256",
		"SHA3-384", "SHA3-512", "SHAKE-256", "MD5", "MD5-SHA1" } },
	{ OSSL_OP_CIPHER,
	    { "AES-128-GCM", "AES-256-GCM", "ChaCha20-Poly1305", "AES-128-CCM",
		"AES-256-CCM", "ARIA-128-GCM", "ARIA-256-GCM", "AES-128-CBC",
		"AES-256-CBC", "CAMELLIA-128-CBC", "CAMELLIA-256-CBC",
		"DES-EDE3-CBC", "NULL" } },
	{ OSSL_OP_MAC, { "HMAC" } },
	{ OSSL_OP_KDF, { "HKDF", "TLS13-KDF", "TLS1-PRF" } },
	{ OSSL_OP_KEYMGMT,
	    { "RSA", "RSA-PSS", "EC", "X25519", "X448", "ED25519", "ED448",
		"HMAC", "TLS1-PRF", "HKDF" } },
	{ OSSL_OP_KEYEXCH, { "ECDH", "X25519", "X448", "TLS1-PRF", "HKDF" } },
	{ OSSL_OP_SIGNATURE, { "RSA", "ED25519", "ED448", "ECDSA", "HMAC" } },
	/* of public keys in certificates; see is_wanted */
	{ OSSL_OP_DECODER,
	    { "EC", "RSA", "RSA-PSS", "ED25519", "ED448", "DER" } },
};
#define KINDS (sizeof kept / sizeof *kept)

/* What the wrapping provider needs: made once with the first context, then
 * read only.  The provider's functions get no place of ours to keep it in,
 * since what they are called with is the default provider's own context. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static OSSL_LIB_CTX *libs[TLS_LIBS_MAX];
static OSSL_ALGORITHM few[KINDS][KEPT_MAX + 1];

static bool
is_wanted(const struct kept *k, const OSSL_ALGORITHM *a)
{
	size_t n = strcspn(a->algorithm_names, ":");

	if (k->operation == OSSL_OP_DECODER &&
	    (!strstr(a->property_definition, "input=der") ||
		!strstr(
		    a->property_definition, "structure=SubjectPublicKeyInfo")))
		return false;
	for (size_t i = 0; i < KEPT_MAX && k->names[i]; i++)
		if (strlen(k->names[i]) == n &&
		    memcmp(a->algorithm_names, k->names[i], n) == 0)
			return true;
	return false;
}

static OSSL_FUNC_provider_query_operation_fn *query_all;
static OSSL_DISPATCH table[32];

static const OSSL_ALGORITHM *
query_few(void *provctx, int operation, int *no_store)
{
	const OSSL_ALGORITHM *all = query_all(provctx, operation, no_store);

	for (size_t i = 0; i < KINDS; i++)
		if (kept[i].operation == operation && few[i][0].algorithm_names)
			return few[i];
	return all;
}

/* The context that the provider lives in ends with the process. */
static void
no_teardown(void *provctx)
{
}

/* The algorithms that are our own. */
static const OSSL_DISPATCH *
better(const OSSL_ALGORITHM *a)
{
	return strcmp(a->algorithm_names, "TLS13-KDF") == 0 ? tls_kdf_13
	    : strcmp(a->algorithm_names, "TLS1-PRF") == 0   ? tls_kdf_12
							    : a->implementation;
}

static void
choose(const struct kept *k, OSSL_ALGORITHM *to, void *provctx)
{
	int no_store = 0;
	const OSSL_ALGORITHM *a = query_all(provctx, k->operation, &no_store);

	for (size_t n = 0; a && a->algorithm_names && n < KEPT_MAX; a++) {
		if (!is_wanted(k, a))
			continue;
		to[n] = *a;
		if (k->operation == OSSL_OP_KDF)
			to[n].implementation = better(a);
		n++;
	}
}

/* The default provider's functions with the two above in their places. */
static bool
copy_table(const OSSL_DISPATCH *from, void *provctx)
{
	size_t n = 0;

	for (; from->function_id; from++) {
		if (n + 1 == sizeof table / sizeof *table)
			return false;
		table[n] = *from;
		if (from->function_id == OSSL_FUNC_PROVIDER_QUERY_OPERATION) {
			query_all = OSSL_FUNC_provider_query_operation(from);
			table[n].function = (void (*)(void))query_few;
		} else if (from->function_id == OSSL_FUNC_PROVIDER_TEARDOWN)
			table[n].function = (void (*)(void))no_teardown;
		n++;
	}
	if (!query_all)
		return false;
	for (size_t i = 0; i < KINDS; i++)
		choose(&kept[i], few[i], provctx);
	return true;
}

static int
provider_init(const OSSL_CORE_HANDLE *handle, const OSSL_DISPATCH *in,
    const OSSL_DISPATCH **out, void **provctx)
{
	OSSL_LIB_CTX *home = OSSL_LIB_CTX_new();
	OSSL_PROVIDER *p = home ? OSSL_PROVIDER_load(home, "default") : NULL;

	if (!p) {
		OSSL_LIB_CTX_free(home);
		return 0;
	}
	*provctx = OSSL_PROVIDER_get0_provider_ctx(p);
	if ((!query_all &&
		!copy_table(OSSL_PROVIDER_get0_dispatch(p), *provctx)) ||
	    tls_kdf_add(home, *provctx))
		return 0;
	*out = table;
	return 1;
}

static OSSL_LIB_CTX *
lib_make(void)
{
	OSSL_LIB_CTX *l = OSSL_LIB_CTX_new();

	/* Later versions remember which decoder fits; and 3.5 gets no random
	 * numbers from a provider whose context is another's. */
	if (OpenSSL_version_num() >= 0x30200000UL)
		return l;
	if (l && OSSL_PROVIDER_add_builtin(l, "shard", provider_init) &&
	    OSSL_PROVIDER_load(l, "shard"))
		return l;
	OSSL_LIB_CTX_free(l);
	ERR_clear_error();
	return NULL;
}

OSSL_LIB_CTX *
tls_lib(unsigned shard)
{
	OSSL_LIB_CTX **l = &libs[shard % TLS_LIBS_MAX], *found;

	(void)pthread_mutex_lock(&lock);
	if (!*l)
		*l = lib_make();
	found = *l;
	(void)pthread_mutex_unlock(&lock);
	return found;
}

/* -- what was loaded, made anew in a context ----------------------------- */

X509 *
tls_lib_cert(OSSL_LIB_CTX *lib, X509 *x)
{
	unsigned char *der = NULL;
	int n = i2d_X509(x, &der);
	const unsigned char *p = der;
	X509 *y = n > 0 ? X509_new_ex(lib, NULL) : NULL;

	if (y && !d2i_X509(&y, &p, n))
		y = NULL; /* freed by it */
	OPENSSL_free(der);
	return y;
}

EVP_PKEY *
tls_lib_key(OSSL_LIB_CTX *lib, EVP_PKEY *key)
{
	OSSL_PARAM *params = NULL;
	EVP_PKEY *copy = NULL;
	EVP_PKEY_CTX *c =
	    EVP_PKEY_CTX_new_from_name(lib, EVP_PKEY_get0_type_name(key), NULL);

	if (c && EVP_PKEY_todata(key, EVP_PKEY_KEYPAIR, &params) == 1 &&
	    EVP_PKEY_fromdata_init(c) == 1 &&
	    EVP_PKEY_fromdata(c, &copy, EVP_PKEY_KEYPAIR, params) != 1)
		copy = NULL;
	OSSL_PARAM_free(params); /* wipes what was secret */
	EVP_PKEY_CTX_free(c);
	return copy;
}
