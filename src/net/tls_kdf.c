/* SPDX-License-Identifier: Apache-2.0
 * tls_kdf - the key schedules of TLS 1.3 and 1.2, for the provider of a shard's
 *           library context.
 *
 * A handshake derives some twenty secrets.  For each of them OpenSSL 3.0 fetches
 * the digest by its name, copies every input, and makes and wipes an HMAC that
 * consists of three contexts: a multiple of the two or three hashes that it
 * is.  Here the digests are fetched once for each context, nothing is copied,
 * and one digest context does it.
 *
 * libssl hands everything over with the call that derives; there are no
 * parameters to keep.
 *
 * Threads: a context made for one derivation, by the thread that needs it.
 * Spec:    RFC 2104; RFC 5869 2; RFC 8446 7.1; RFC 5246 5.
 */
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>
#include <stdatomic.h>
#include <string.h>
#include <strings.h>

#include "base/secret.h"
#include "net/tls_impl.h"

#define HASH_MAX   48  /* SHA-384 */
#define BLOCK_MAX  128 /* of it */
#define LABEL_MAX  255
#define PARTS_MAX  8
#define EXPAND_MAX 255 /* blocks; RFC 5869 2.3 */

struct hash {
	EVP_MD *md;
	size_t len, block;
	uint8_t of_nothing[HASH_MAX];
};

/* The digests of one provider's context, by what its functions are called
 * with. */
struct home {
	void *provctx;
	struct hash sha256, sha384;
};

static struct home homes[TLS_LIBS_MAX];
static atomic_uint n_homes; /* those below it are whole, and never change */

struct kdf {
	const struct home *home;
	EVP_MD_CTX *md;
};

/* Some bytes that follow one another. */
struct parts {
	struct slice v[PARTS_MAX];
	unsigned n;
};

/* What a call came with. */
struct asked {
	const struct hash *hash;
	int mode;
	struct slice key, salt, prefix, label, data;
	struct parts seed;
};

/* -- HMAC ----------------------------------------------------------------- */

static bool
put_key(EVP_MD_CTX *c, const struct hash *h, struct slice key, uint8_t with)
{
	uint8_t pad[BLOCK_MAX];
	bool ok;

	memset(pad, with, h->block);
	for (size_t i = 0; i < key.n; i++)
		pad[i] ^= key.p[i];
	ok = EVP_DigestInit_ex2(c, h->md, NULL) == 1 &&
	    EVP_DigestUpdate(c, pad, h->block) == 1;
	secret_wipe(pad, sizeof pad);
	return ok;
}

static bool
hmac(EVP_MD_CTX *c, const struct hash *h, struct slice key,
    const struct parts *in, uint8_t out[HASH_MAX])
{
	uint8_t inner[HASH_MAX], short_key[HASH_MAX];
	bool ok = true;

	if (key.n > h->block) {
		ok = EVP_DigestInit_ex2(c, h->md, NULL) == 1 &&
		    EVP_DigestUpdate(c, key.p, key.n) == 1 &&
		    EVP_DigestFinal_ex(c, short_key, NULL) == 1;
		key = slice_of(short_key, h->len);
	}
	ok = ok && put_key(c, h, key, 0x36);
	for (unsigned i = 0; i < in->n && ok; i++)
		ok = EVP_DigestUpdate(c, in->v[i].p, in->v[i].n) == 1;
	ok = ok && EVP_DigestFinal_ex(c, inner, NULL) == 1 &&
	    put_key(c, h, key, 0x5c) &&
	    EVP_DigestUpdate(c, inner, h->len) == 1 &&
	    EVP_DigestFinal_ex(c, out, NULL) == 1;
	secret_wipe(inner, sizeof inner);
	secret_wipe(short_key, sizeof short_key);
	return ok;
}

static void
add(struct parts *p, const void *bytes, size_t n)
{
	p->v[p->n++] = slice_of(bytes, n);
}

/* -- TLS 1.3 -------------------------------------------------------------- */

/* HKDF-Expand-Label. */
static bool
expand(EVP_MD_CTX *c, const struct hash *h, struct slice key,
    const struct asked *a, struct slice data, uint8_t *out, size_t n)
{
	uint8_t lens[3] = { (uint8_t)(n >> 8), (uint8_t)n,
		(uint8_t)(a->prefix.n + a->label.n) };
	uint8_t data_len = (uint8_t)data.n, turn[HASH_MAX], count = 0;
	bool ok = n <= EXPAND_MAX * h->len &&
	    a->prefix.n + a->label.n <= LABEL_MAX && data.n <= UINT8_MAX;

	while (ok && n > 0) {
		size_t part = n < h->len ? n : h->len;
		struct parts in = { 0 };

		if (count++ > 0)
			add(&in, turn, h->len);
		add(&in, lens, sizeof lens);
		add(&in, a->prefix.p, a->prefix.n);
		add(&in, a->label.p, a->label.n);
		add(&in, &data_len, 1);
		add(&in, data.p, data.n);
		add(&in, &count, 1);
		if ((ok = hmac(c, h, key, &in, turn)))
			memcpy(out, turn, part);
		out += part;
		n -= part;
	}
	secret_wipe(turn, sizeof turn);
	return ok;
}

/* The next secret of the schedule; the one before it is the salt, and the
 * first has none. */
static bool
extract(EVP_MD_CTX *c, const struct asked *a, uint8_t *out, size_t n)
{
	static const uint8_t zeros[HASH_MAX];
	const struct hash *h = a->hash;
	uint8_t derived[HASH_MAX], secret[HASH_MAX];
	struct slice salt = SLICE_NONE;
	struct parts in = { 0 };
	bool ok = n == h->len;

	if (ok && a->salt.p) {
		ok = expand(c, h, a->salt, a, slice_of(h->of_nothing, h->len),
		    derived, h->len);
		salt = slice_of(derived, h->len);
	}
	if (a->key.p)
		add(&in, a->key.p, a->key.n);
	else
		add(&in, zeros, h->len);
	if (ok && (ok = hmac(c, h, salt, &in, secret)))
		memcpy(out, secret, n);
	secret_wipe(derived, sizeof derived);
	secret_wipe(secret, sizeof secret);
	return ok;
}

/* -- TLS 1.2 -------------------------------------------------------------- */

/* P_hash: A(i) = HMAC(key, A(i-1)), of which each is hashed with the seed. */
static bool
prf(EVP_MD_CTX *c, const struct asked *a, uint8_t *out, size_t n)
{
	const struct hash *h = a->hash;
	uint8_t chain[HASH_MAX], turn[HASH_MAX];
	bool ok = hmac(c, h, a->key, &a->seed, chain);

	while (ok && n > 0) {
		size_t part = n < h->len ? n : h->len;
		struct parts in = { 0 }, last = { 0 };

		add(&in, chain, h->len);
		for (unsigned i = 0; i < a->seed.n; i++)
			add(&in, a->seed.v[i].p, a->seed.v[i].n);
		add(&last, chain, h->len);
		if ((ok = hmac(c, h, a->key, &in, turn)))
			memcpy(out, turn, part);
		out += part;
		n -= part;
		if (ok && n > 0)
			ok = hmac(c, h, a->key, &last, chain);
	}
	secret_wipe(chain, sizeof chain);
	secret_wipe(turn, sizeof turn);
	return ok;
}

/* -- what the library calls ----------------------------------------------- */

static const struct hash *
hash_of(const struct home *home, const OSSL_PARAM *p)
{
	static const char *const sha256[] = { "SHA2-256", "SHA256", "SHA-256" };
	static const char *const sha384[] = { "SHA2-384", "SHA384", "SHA-384" };

	for (size_t i = 0; i < 3; i++) {
		if (strcasecmp(p->data, sha256[i]) == 0)
			return &home->sha256;
		if (strcasecmp(p->data, sha384[i]) == 0)
			return &home->sha384;
	}
	return NULL;
}

/* False: not a call of libssl's. */
static bool
take_param(const struct home *home, const OSSL_PARAM *p, struct asked *a)
{
	const struct {
		const char *name;
		struct slice *to;
	} bytes[] = { { OSSL_KDF_PARAM_KEY, &a->key },
		{ OSSL_KDF_PARAM_SECRET, &a->key },
		{ OSSL_KDF_PARAM_SALT, &a->salt },
		{ OSSL_KDF_PARAM_PREFIX, &a->prefix },
		{ OSSL_KDF_PARAM_LABEL, &a->label },
		{ OSSL_KDF_PARAM_DATA, &a->data } };
	struct slice s = slice_of(p->data, p->data_size);

	if (strcmp(p->key, OSSL_KDF_PARAM_DIGEST) == 0)
		return p->data_type == OSSL_PARAM_UTF8_STRING && p->data &&
		    (a->hash = hash_of(home, p));
	if (strcmp(p->key, OSSL_KDF_PARAM_MODE) == 0)
		return OSSL_PARAM_get_int(p, &a->mode) == 1;
	if (p->data_type != OSSL_PARAM_OCTET_STRING)
		return false;
	if (strcmp(p->key, OSSL_KDF_PARAM_SEED) == 0) {
		if (s.n == 0)
			return true;
		if (a->seed.n + 1 == PARTS_MAX)
			return false; /* prf adds one */
		a->seed.v[a->seed.n++] = s;
		return true;
	}
	for (size_t i = 0; i < sizeof bytes / sizeof *bytes; i++)
		if (strcmp(p->key, bytes[i].name) == 0) {
			*bytes[i].to = s;
			return true;
		}
	return false;
}

static bool
take_params(struct kdf *k, const OSSL_PARAM *p, struct asked *a)
{
	*a = (struct asked){ .mode = -1 };
	for (; p && p->key; p++)
		if (!take_param(k->home, p, a))
			return false;
	return a->hash && (k->md || (k->md = EVP_MD_CTX_new()));
}

static void *
kdf_new(void *provctx)
{
	unsigned n = atomic_load_explicit(&n_homes, memory_order_acquire);
	struct kdf *k;

	for (unsigned i = 0; i < n; i++)
		if (homes[i].provctx == provctx) {
			if ((k = OPENSSL_zalloc(sizeof *k)))
				k->home = &homes[i];
			return k;
		}
	return NULL;
}

static void
kdf_free(void *arg)
{
	struct kdf *k = arg;

	if (!k)
		return;
	EVP_MD_CTX_free(k->md);
	OPENSSL_free(k);
}

static int
derive_13(void *arg, unsigned char *out, size_t n, const OSSL_PARAM params[])
{
	struct kdf *k = arg;
	struct asked a;

	if (!take_params(k, params, &a) || n == 0)
		return 0;
	switch (a.mode) {
	case EVP_KDF_HKDF_MODE_EXTRACT_ONLY:
		return extract(k->md, &a, out, n);
	case EVP_KDF_HKDF_MODE_EXPAND_ONLY:
		return a.key.p &&
		    expand(k->md, a.hash, a.key, &a, a.data, out, n);
	default:
		return 0;
	}
}

static int
derive_12(void *arg, unsigned char *out, size_t n, const OSSL_PARAM params[])
{
	struct kdf *k = arg;
	struct asked a;

	return take_params(k, params, &a) && a.key.p && a.seed.n > 0 && n > 0 &&
	    prf(k->md, &a, out, n);
}

const OSSL_DISPATCH tls_kdf_13[] = {
	{ OSSL_FUNC_KDF_NEWCTX, (void (*)(void))kdf_new },
	{ OSSL_FUNC_KDF_FREECTX, (void (*)(void))kdf_free },
	{ OSSL_FUNC_KDF_DERIVE, (void (*)(void))derive_13 },
	{ 0, NULL },
};

const OSSL_DISPATCH tls_kdf_12[] = {
	{ OSSL_FUNC_KDF_NEWCTX, (void (*)(void))kdf_new },
	{ OSSL_FUNC_KDF_FREECTX, (void (*)(void))kdf_free },
	{ OSSL_FUNC_KDF_DERIVE, (void (*)(void))derive_12 },
	{ 0, NULL },
};

static bool
hash_init(struct hash *h, OSSL_LIB_CTX *lib, const char *name, size_t block)
{
	unsigned n = 0;

	h->block = block;
	if (!(h->md = EVP_MD_fetch(lib, name, NULL)) ||
	    !EVP_Digest("", 0, h->of_nothing, &n, h->md, NULL))
		return false;
	h->len = n;
	return true;
}

enum nj_err
tls_kdf_add(OSSL_LIB_CTX *lib, void *provctx)
{
	unsigned n = atomic_load(&n_homes);
	struct home *h = &homes[n];

	if (n == TLS_LIBS_MAX)
		return NJ_FULL;
	if (!hash_init(&h->sha256, lib, "SHA256", 64) ||
	    !hash_init(&h->sha384, lib, "SHA384", BLOCK_MAX)) {
		EVP_MD_free(h->sha256.md);
		EVP_MD_free(h->sha384.md);
		*h = (struct home){ 0 };
		return NJ_CRYPTO;
	}
	h->provctx = provctx;
	atomic_store_explicit(&n_homes, n + 1, memory_order_release);
	return NJ_OK;
}
